/* SPDX-License-Identifier: Apache-2.0 */
/* A row's edits, which are in the order of ids, looked up one by one. */
#ifndef CLS_EDITS_H
#define CLS_EDITS_H

#include "canonical.h"
#include "interface.h"

#if CLS_EXTRAS
/* The first edit of token `id` or a later one, among those from number `low` to `high` - 1; `high` if there
 * is none. */
CLS_FN uint cls_edit_from(__global const cls_edit *edits, uint low, uint high, uint id)
{
    while (low < high) {
        const uint middle = low + (high - low) / 2;
        if (edits[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The bits of token id's logit after its edit, if it is among those. */
CLS_FN uint cls_edited_by(__global const cls_edit *edits, uint low, uint high, uint id, uint bits)
{
    const uint i = cls_edit_from(edits, low, high, id);

    return i < high && edits[i].id == id ? cls_edited(bits, edits[i].add) : bits;
}
#endif

#endif
