/* SPDX-License-Identifier: Apache-2.0 */
/* The summary's kernel in the form for GPUs. */

#include "../shared/edits.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "summary.h"

/* logits [rows, stride]. plans [rows], states [rows]: or null. Of the scratch memory all but the cut is
 * written; the cut is read in the fallback pass, which is for rows that got no token. edits, extras: only for
 * plans that need them. Global size: CLS_WG for each stretch, rows. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1))) CLS_ONE_BY_ONE void cls_summary(
    __global const cls_stored *restrict logits, __global const cls_plan_row *restrict plans,
    __global uchar *restrict scratch, cls_call call, __global const cls_row_state *restrict states,
    __global const cls_edit *restrict edits, __global uchar *restrict extras)
{
    __local cls_stretch s;
    const uint r = get_group_id(1), lid = get_local_id(0), begin = get_group_id(0) * CLS_STRETCH;
    const uint n = min(CLS_STRETCH, call.vocab - begin);
    __global const cls_stored *row = logits + call.offset + r * call.stride + begin;
    const cls_place place = cls_place_of(scratch, call.scratch_offset, r, get_num_groups(1), call.vocab);
    cls_plan_row plan;

    if (call.fallback && place.cut->status != CLS_ROW_NO_TOKEN) return;
    cls_find_plan(&call, plans, states, r, &plan);

    for (uint i = lid; i < CLS_STRETCH; i += CLS_WG)
        s.bits[i + i / CLS_PART] = i < n ? cls_stored_bits(row[i]) : CLS_BITS_MASKED;
    barrier(CLK_LOCAL_MEM_FENCE);
#if CLS_EXTRAS
    cls_edit_stretch(&s, edits + plan.edits, plan.n_edits, begin);
    cls_sum_moments(&s, n, (plan.flags & CLS_PLAN_MOMENTS) != 0,
                    cls_moments_of(extras, &call, r) + begin / CLS_TILE);
#endif
    for (uint p = lid; p < CLS_PARTS; p += CLS_WG)
        cls_summarize_part(&s, p);
    barrier(CLK_LOCAL_MEM_FENCE);
    const int sums = (plan.flags & CLS_PLAN_SUMS) != 0;
    for (uint p = sums ? lid : CLS_PARTS; p < CLS_PARTS; p += CLS_WG)
        cls_sum_part(&s, p, plan.scale);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint b = lid; sums && b * CLS_BLOCK < n; b += CLS_WG)
        cls_write_block(&s, b, begin / CLS_BLOCK + b, plan.scale, &place);
    for (uint t = lid; t * CLS_TILE < n; t += CLS_WG) {
        const uint to = begin / CLS_TILE + t;
        cls_write_tile(&s, t, to, &place);
#if CLS_EXTRAS
        place.live[to] |= cls_edits_of_tile(edits + plan.edits, plan.n_edits, to);
#endif
    }
}
