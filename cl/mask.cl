/* SPDX-License-Identifier: Apache-2.0 */
/* The filters' outcome for every token: the cut that the choice left in scratch memory, the same that a draw
 * draws from, applied to the row. */

#include "shared/canonical.h"
#include "shared/cuts.h"
#include "shared/edits.h"
#include "shared/interface.h"
#include "shared/row.h"

#define CLS_MASKED_LOGITS 0u
#define CLS_PROBABILITIES 1u

/* A kept token's logit. A quotient beyond the floats is the largest of its sign: -inf says that a token is
 * not kept, and +inf keeps its equals alone. */
CLS_FN float cls_kept_logit(uint bits, const cls_plan_row *plan)
{
    const float x = as_float(bits);

    if (plan->temperature == 1.0f || x > FLT_MAX) return x;
    const float y = cls_divide(x, plan->temperature, plan->inverse);
    return y > FLT_MAX ? FLT_MAX : y < -FLT_MAX ? -FLT_MAX : y;
}

CLS_FN float cls_probability(uint key, uint block_max, cls_cut cut, cls_scale scale)
{
    const ulong total = (ulong)cut.mass_hi << 32 | cut.mass_lo;
    cls_measure m;

    cls_set_measure(&m, cut.key_max, scale);
    return cls_ratio(cls_weight_mass(&m, cls_pack(&m, key, cls_weigh(block_max, scale).exponent)), total);
}

/* logits and fallback [rows, stride]: fallback may be null. plans [rows], states [rows]: or null. out float
 * [rows, vocab] from element `out_offset` on. scratch as the choice left it. edits, extras: only for plans
 * that need them. Global size: CLS_BLOCK for each block, rows. */
__kernel __attribute__((reqd_work_group_size(CLS_BLOCK, 1, 1))) CLS_ONE_BY_ONE void cls_mask(
    __global const cls_stored *restrict logits, __global const cls_plan_row *restrict plans,
    __global uchar *restrict scratch, cls_call call, __global const cls_row_state *restrict states,
    __global const cls_edit *restrict edits, __global uchar *restrict extras,
    __global const cls_stored *restrict fallback, ulong fallback_offset, uint what,
    __global float *restrict out, ulong out_offset)
{
    __local uint block_max;
    const uint id = get_global_id(0), r = get_global_id(1);
    const cls_cut cut = ((__global const cls_cut *)(scratch + call.scratch_offset))[r];
    const int second = cut.status == CLS_ROW_FALLBACK;
    __global const cls_stored *row =
        (second ? fallback + fallback_offset : logits + call.offset) + r * call.stride;
    uint bits = id < call.vocab ? cls_stored_bits(row[id]) : CLS_BITS_MASKED;
    cls_plan_row p;

    cls_find_plan(&call, plans, states, r, &p);
#if CLS_EXTRAS
    bits = cls_edited_by(edits + p.edits, 0, p.n_edits, id, bits);
    if (cls_is_above(cls_key(bits), id, cut.high, cut.high_id)) bits = CLS_BITS_MASKED;
#endif
    const uint key = cls_key(bits);
    if (get_local_id(0) == 0) block_max = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    atomic_max(&block_max, key);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (id >= call.vocab) return;

    const int greedy = (p.flags & CLS_PLAN_GREEDY) != 0;
    const int kept = cut.status != CLS_ROW_NO_TOKEN && cls_kept(key, id, &cut);
    float value = what == CLS_PROBABILITIES ? 0.0f : -INFINITY;
    if (kept && what == CLS_PROBABILITIES)
        value = greedy ? 1.0f : cls_probability(key, block_max, cut, p.draw);
    else if (kept)
        value = greedy ? as_float(bits) : cls_kept_logit(bits, &p);
    out[out_offset + r * (size_t)call.vocab + id] = value;
}
