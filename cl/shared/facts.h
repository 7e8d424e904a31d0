/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the tokens that are kept: the deviation of their logits, the mean of their logits, and how
 * near to it each is. Canonical arithmetic, for host and kernels, as in canonical.h: integers are added up,
 * so that no order of tokens, work-items or shares matters. docs/design.md has the proofs. */
#ifndef CLS_FACTS_H
#define CLS_FACTS_H

#include "canonical.h"

/* ---- Moments: the logits of a set of tokens, as fixed-point numbers ---- */

/* Of a tile of CLS_TILE logits, in units of 2^(reference - 150), all exact: the sums of the numbers and of
 * their squares. Of a row: the same in units of 2^(reference - 158), and for squares of
 * 2^(2 * reference - 294). The reference is the largest cls_magnitude_exponent() of the set. */
typedef struct cls_moments {
    cls_uint count, reference;
    cls_long sum;
    cls_ulong squares;
} cls_moments;

/* The exponent of a finite float's last bit, plus 150. */
CLS_FN cls_uint cls_magnitude_exponent(cls_uint bits)
{
    const cls_uint field = bits >> 23 & 255u;
    return field ? field : 1;
}
/* A finite float in units of 2^(reference - 150), cut towards 0; below 2^24. */
CLS_FN int cls_fixed(cls_uint bits, cls_uint reference)
{
    const cls_uint hidden = bits & 0x7f800000u ? 0x800000u : 0;
    const cls_uint shift = reference - cls_magnitude_exponent(bits);
    const int magnitude = (int)(((bits & 0x7fffffu) | hidden) >> (shift > 31 ? 31 : shift));
    return bits & CLS_BITS_SIGN ? -magnitude : magnitude;
}
/* A token of a tile whose reference is set. */
CLS_FN void cls_moments_take(cls_moments *tile, cls_uint bits)
{
    const int x = cls_fixed(bits, tile->reference);
    tile->count++;
    tile->sum += x;
    tile->squares += (cls_ulong)((cls_long)x * x);
}
/* A tile of a row whose reference is set. Each tile is rounded down by itself. */
CLS_FN void cls_moments_add(cls_moments *row, const cls_moments *tile)
{
    const cls_uint shift = row->reference - tile->reference;
    const cls_uint by = shift > 63 ? 63 : shift, twice = shift > 31 ? 63 : 2 * shift;
    const cls_long sum = tile->sum * 256;
    row->count += tile->count;
    row->sum += sum < 0 ? ~(~sum >> by) : sum >> by;
    row->squares += (tile->squares >> 6) >> twice;
}

/* The integer square root. */
CLS_CALLED cls_uint cls_root(cls_ulong x)
{
    cls_uint root = 0;
    for (cls_uint bit = 0x80000000u; bit != 0; bit >>= 1) {
        const cls_uint more = root | bit;
        if ((cls_ulong)more * more <= x) root = more;
    }
    return root;
}
/* The deviation of a row's logits as root * 2^(exponent + reference - 158) / count, root in [2^31, 2^32), or
 * 0 if all are equal. The square, count * squares * 2^22 - sum^2, is exact. */
CLS_FN cls_uint cls_spread(const cls_moments *row, int *exponent)
{
    const cls_ulong sum = (cls_ulong)row->sum; /* 2^64 too large if that is negative */
    cls_ulong lower, low_square;
    cls_ulong upper = cls_mul64(row->squares, (cls_ulong)row->count << 22, &lower);
    const cls_ulong high_square = cls_mul64(sum, sum, &low_square) - (row->sum < 0 ? 2 * sum : 0);

    *exponent = 0;
    if (upper < high_square || (upper == high_square && lower <= low_square)) return 0;
    upper -= high_square + (lower < low_square);
    lower -= low_square;
    int zeros = (upper ? cls_leading_zeros(upper) : 64 + cls_leading_zeros(lower)) & ~1;
    *exponent = 32 - zeros / 2;
    if (zeros >= 64) {
        upper = lower;
        lower = 0;
        zeros -= 64;
    }
    return cls_root(upper << zeros | (lower >> 1) >> (63 - zeros));
}
/* The deviation as a float; below 2^-60 it is 0. */
CLS_FN float cls_sigma(const cls_moments *row)
{
    int exponent, shift;
    const cls_uint root = cls_spread(row, &shift);
    if (root == 0) return 0.0f;
    const cls_ulong q = cls_quotient(root, row->count, &exponent); /* from 2^31 to 2^33 */
    const cls_uint bits = cls_bits_of(cls_float((cls_uint)(q >> 1)));
    const int move = exponent + shift + (int)row->reference - 158 - 31;
    if ((int)(bits >> 23) + move < 127 - 60) return 0.0f;
    return cls_float_of((cls_uint)((int)bits + move * (1 << 23)));
}
/* The smallest key whose logit is at least that of `key_max` minus n deviations; n, above 0, as bits. Rows
 * with +inf, and with a single token, have no such threshold: nothing is below it. */
CLS_FN cls_uint cls_sigma_key(cls_uint key_max, const cls_moments *row, cls_uint n)
{
    if (key_max == CLS_KEY_INFINITY || row->count < 2) return CLS_KEY_LOWEST;
    const float margin = cls_times(cls_addend(n), cls_sigma(row));
    const cls_uint bits = cls_bits_of(margin);
    if (bits >= CLS_BITS_INFINITY) return CLS_KEY_LOWEST;
    return cls_addend(bits) > 0.0f ? cls_min_p_key(key_max, -margin, 0.0f) : key_max;
}

/* ---- The mean of the logits, weighed: how far it lies below the largest ---- */

/* In binary digits, which a temperature and ln 2 make logits. `weighted` is the sum of each token's weight
 * times its digits below 2^(exponent of the row + 1), `units` that of the weights, in units of 2^-16 both. */
typedef struct cls_mean {
    cls_ulong weighted, units;
} cls_mean;

/* 1 - f in units of 2^-16; `type` is float, or that of many, as for CLS_EXP2_POLYNOMIAL. */
#define CLS_FRACTION_BELOW(type, f) cls_fma(f, (type)-0x1p16f, (type)0x1p16f)

/* How many digits a weight lies below 2^(its exponent + 1), in units of 2^-16. */
CLS_FN cls_uint cls_fraction_below(cls_weight w)
{
    return (cls_uint)CLS_FRACTION_BELOW(float, w.fraction);
}
/* ... below 2^(its block's exponent + 1). Any number if they are more than 2^15: there are no units then. */
CLS_FN cls_uint cls_digits_below(cls_weight w, int block_exponent)
{
    return (((cls_uint)block_exponent - (cls_uint)w.exponent) << 16) + cls_fraction_below(w);
}
/* A token's units times its digits: of a block these are added up, below 2^49, as its units are. */
CLS_FN cls_ulong cls_weighted(cls_weight w, int block_exponent)
{
    return (cls_ulong)cls_in_block(w, block_exponent) * cls_digits_below(w, block_exponent);
}
/* A block of a row, `shift` below the row's exponent. Each is rounded down by itself. */
CLS_FN void cls_mean_add_block(cls_mean *mean, cls_ulong weighted, cls_uint units, cls_uint shift)
{
    const cls_uint by = shift > 63 ? 63 : shift;
    const cls_ulong scaled = ((cls_ulong)units << 16) >> by;
    mean->weighted += (weighted >> by) + shift * scaled;
    mean->units += scaled;
}
/* The mean's digits below 2^(exponent of the row + 1), in units of 2^-24, cut. */
CLS_FN cls_uint cls_mean_below(const cls_mean *mean)
{
    if (mean->units == 0) return 0;
    cls_uint below = (cls_uint)(mean->weighted / mean->units);
    cls_ulong rest = mean->weighted - below * mean->units;
    for (int i = 0; i < 24; i++) {
        const int more = (rest <<= 1) >= mean->units;
        below = below << 1 | (cls_uint)more;
        if (more) rest -= mean->units;
    }
    return below;
}
/* How far the mean lies below the largest logit, the bits of a float; `digit` is temperature * ln 2. */
CLS_FN cls_uint cls_mean_gap(const cls_mean *mean, cls_uint key_max, cls_scale s, float digit)
{
    const cls_uint below = cls_mean_below(mean), top = cls_fraction_below(cls_weigh(key_max, s)) << 8;
    return cls_bits_of(below > top ? cls_times(cls_float(below - top) * 0x1p-24f, digit) : 0.0f);
}

/* ---- Nearness to the mean: another order of tokens ---- */

/* How far a logit lies below the mean, which is `gap` below that of `key_max`; above it is negative. It never
 * grows with the key. `key_max` is not that of +inf. */
CLS_FN float cls_below_mean(cls_uint key, cls_uint key_max, cls_uint gap)
{
    const float below_max = cls_minus(cls_addend(cls_key_bits(key_max)), cls_addend(cls_key_bits(key)));
    return cls_minus(below_max, cls_float_of(gap));
}
/* The nearer, the larger; CLS_BITS_INFINITY at most. */
CLS_FN cls_uint cls_nearness(cls_uint key, cls_uint key_max, cls_uint gap)
{
    return CLS_BITS_INFINITY - (cls_bits_of(cls_below_mean(key, key_max, gap)) & ~CLS_BITS_SIGN);
}
/* The first key up to `key_max` whose logit's place below the mean has at most the key `place`; key_max + 1
 * if there is none. */
CLS_CALLED cls_uint cls_first_below(cls_uint key_max, cls_uint gap, cls_uint place)
{
    cls_uint low = CLS_KEY_LOWEST, end = key_max + 1;
    while (low < end) {
        const cls_uint middle = low + (end - low) / 2;
        if (cls_key(cls_bits_of(cls_below_mean(middle, key_max, gap))) <= place)
            end = middle;
        else
            low = middle + 1;
    }
    return low;
}
/* The keys up to `key_max` with a nearness of at least `rank`: from *low to *high. If there are none, *low is
 * *high + 1. */
CLS_FN void cls_nearness_interval(cls_uint key_max, cls_uint gap, cls_uint rank, cls_uint *low,
                                  cls_uint *high)
{
    const cls_uint most = CLS_BITS_INFINITY - rank;
    *low = cls_first_below(key_max, gap, cls_key(most));
    *high = cls_first_below(key_max, gap, cls_key(most | CLS_BITS_SIGN) - 1) - 1;
}

#endif
