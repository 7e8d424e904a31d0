/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: what is asked of a whole row where its candidates do not suffice. */
#ifndef CLS_GROUPS_ROW_H
#define CLS_GROUPS_ROW_H

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "group.h"
#include "tile.h"

/* ---- Weights ---- */

/* Write the exponents of all blocks where the summary did not, if `on`. What others still read of the row's
 * numbers, for an op before, comes first. */
CLS_FN void cls_row_measure(cls_row *row, int on)
{
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    on = on && row->summed == CLS_SUMS_NONE;
    for (uint b = on ? get_local_id(0) : row->blocks; b < row->blocks; b += CLS_WG)
        row->place.exponent[b] = cls_weigh(cls_block_max(row, b), row->measure.scale).exponent;
    if (on) row->summed = CLS_SUMS_EXPONENTS;
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
}

CLS_CALLED ulong cls_token_mass(const cls_row *row, uint key, uint id)
{
    return cls_weight_mass(&row->measure, cls_pack(&row->measure, key, row->place.exponent[id / CLS_BLOCK]));
}

/* ---- What is kept, and the draw ---- */

CLS_FN ulong cls_block_mass(const cls_row *row, uint b)
{
    const uint shift = (uint)row->measure.exponent - (uint)row->place.exponent[b];
    return cls_units_mass(&row->measure, row->place.sum[b], min(shift, 63u));
}

/* The mass of a share of the blocks, whose sums are those of all their tokens; *count takes their number. */
CLS_FN ulong cls_row_all(const cls_row *row, cls_share share, uint *count)
{
    ulong mass = 0;

    for (uint b = share.begin; b < share.end; b++) {
        if (b % CLS_TILE_BLOCKS == 0) *count += row->place.live[b / CLS_TILE_BLOCKS] & CLS_LIVE_COUNT;
        mass += cls_block_mass(row, b);
    }
    return mass;
}

/* Replace the sums of a share of the blocks by those of what the cut keeps, and return its mass; *count takes
 * its number. As long as all is kept the summary has both. */
CLS_CALLED ulong cls_row_keep(const cls_row *row, cls_share share, const cls_cut *cut, uint *count)
{
    const int all = row->summed == CLS_SUMS_WHOLE && !row->measure.saturated && cut->key == CLS_KEY_LOWEST &&
                    cut->id == CLS_NO_ID;
    ulong mass = 0;

    *count = 0;
    if (all) return cls_row_all(row, share, count);
    for (uint b = share.begin; b < share.end; b++) {
        const int exponent = row->place.exponent[b];
        const int none = row->place.key[b / CLS_TILE_BLOCKS] < cut->key;
        uint units = 0;
#pragma unroll 1 /* as in cls_floor_of */
        for (uint id = none ? row->vocab : b * CLS_BLOCK; id < min((b + 1) * CLS_BLOCK, row->vocab); id++) {
            const uint key = cls_key_at(row, id);
            if (!cls_kept(key, id, cut)) continue;
            units += CLS_UNITS(cls_pack(&row->measure, key, exponent));
            ++*count;
        }
        row->place.sum[b] = units;
        mass += cls_block_mass(row, b);
    }
    return mass;
}

/* The token kept in a share of the blocks whose running mass, from `sum` on, first exceeds `target`, which
 * lies in there; *mass takes its own. */
CLS_CALLED uint cls_row_draw(const cls_row *row, cls_share share, const cls_cut *cut, ulong sum, ulong target,
                             ulong *mass)
{
    ulong before = sum, after;
    uint b = share.begin, units = 0, id;

    for (;; b++) {
        after = sum + cls_block_mass(row, b);
        if (after > target) break;
        sum = after;
    }
    const uint shift = min((uint)row->measure.exponent - (uint)row->place.exponent[b], 63u);
    for (id = b * CLS_BLOCK, after = sum; after <= target; id++) {
        const uint key = cls_key_at(row, id);
        if (!cls_kept(key, id, cut)) continue;
        units += CLS_UNITS(cls_pack(&row->measure, key, row->place.exponent[b]));
        before = after;
        after = sum + cls_units_mass(&row->measure, units, shift);
    }
    *mass = after - before;
    return id - 1;
}

#endif
