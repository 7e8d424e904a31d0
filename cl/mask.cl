/* SPDX-License-Identifier: Apache-2.0 */
/* The filters' outcome for every token: what cls_pick left in `cut`, applied to the row. */

#define CLS_MASKED_LOGITS 0u
#define CLS_PROBABILITIES 1u

/* x / divisor, correctly rounded wherever the quotient is normal: a division of OpenCL is not. (Markstein,
 * "Computation of elementary functions on the IBM RISC System/6000 processor", 1990; `inverse` is the rounded
 * reciprocal.) */
CLS_FN float cls_divide(float x, float divisor, float inverse)
{
    const float q = x * inverse;
    const float rest = fma(-q, divisor, x);
    return isfinite(q) && isfinite(rest) ? fma(rest, inverse, q) : q;
}

CLS_FN float cls_probability(uint key, uint block_max, cls_cut cut, cls_scale scale)
{
    const ulong total = (ulong)cut.mass_hi << 32 | cut.mass_lo;
    const int exponent = cls_weigh(block_max, scale).exponent;
    const int row_exponent = cls_weigh(cut.key_max, scale).exponent;

    if (cls_saturated(cut.key_max, scale)) return key == cut.key_max ? cls_ratio(CLS_HOT_MASS, total) : 0.0f;
    return cls_ratio(cls_mass(cls_in_block(cls_weigh(key, scale), exponent), exponent, row_exponent), total);
}

/* logits and fallback [rows, stride]: fallback may be null. out float [rows, vocab] from element `out_offset`
 * on. block [rows, blocks] and cut [rows] as cls_pick left them. Global size: vocab rounded up to the group,
 * rows. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1)))
void cls_mask(
    __global const cls_raw *restrict logits, ulong offset, __global const cls_raw *restrict fallback,
    ulong fallback_offset, ulong stride, uint vocab, uint blocks, cls_plan_row plan,
    __global const cls_plan_row *restrict plans, __global const cls_block *restrict block,
    __global const cls_cut *restrict cuts, uint what, __global float *restrict out, ulong out_offset)
{
    const uint id = get_global_id(0), r = get_global_id(1);
    if (id >= vocab) return;

    const cls_cut cut = cuts[r];
    const cls_plan_row p = plans ? plans[r] : plan;
    const int second = cut.status == CLS_ROW_FALLBACK;
    __global const cls_raw *row = (second ? fallback + fallback_offset : logits + offset) + r * stride;
    const uint bits = cls_bits(row[id]), key = cls_key(bits);
    const int greedy = (p.flags & CLS_PLAN_GREEDY) != 0;
    const int kept = cut.status != CLS_ROW_NO_TOKEN &&
                     (greedy ? id == cut.greedy : key > cut.key || (key == cut.key && id <= cut.id));
    float value = what == CLS_PROBABILITIES ? 0.0f : -INFINITY;

    if (kept && what == CLS_PROBABILITIES)
        value = greedy
                    ? 1.0f
                    : cls_probability(key, block[r * (size_t)blocks + id / CLS_BLOCK].key_max, cut, p.draw);
    else if (kept)
        value = greedy || p.temperature == 1.0f ? as_float(bits)
                                                : cls_divide(as_float(bits), p.temperature, p.inverse);
    out[out_offset + r * (size_t)vocab + id] = value;
}
