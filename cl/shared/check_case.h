/* SPDX-License-Identifier: Apache-2.0 */
/* One case of the self-check, worked out by host and device from the same text. */
#ifndef CLS_CHECK_CASE_H
#define CLS_CHECK_CASE_H

#include "facts.h"

#define CLS_CHECK_GROUP 64
/* What the kernel is compiled with: where vectors are used, they are tried. */
#define CLS_CHECK_OPTIONS(cpu) ((cpu) ? "-DCLS_CHECK_VECTORS" : "")

typedef struct cls_check_case {
    cls_uint bits; /* of a logit */
    cls_uint seed;
    cls_scale scale;
    float min_p_hi, min_p_lo;
    float divisor, inverse; /* a temperature, and 1 / that */
} cls_check_case;

enum {
    CLS_CHECK_KEY,
    CLS_CHECK_HALF,
    CLS_CHECK_EXPONENT,
    CLS_CHECK_MANTISSA,
    CLS_CHECK_LANES,
    CLS_CHECK_MASS,
    CLS_CHECK_MIN_P,
    CLS_CHECK_BAND,
    CLS_CHECK_QUOTIENT,
    CLS_CHECK_RANDOM,
    CLS_CHECK_PRODUCT,
    CLS_CHECK_RATIO,
    CLS_CHECK_LOG,
    CLS_CHECK_FMA,
    CLS_CHECK_EDITED, /* the first of cls_check_facts() */
    CLS_CHECK_FIXED,
    CLS_CHECK_MOMENTS,
    CLS_CHECK_SIGMA,
    CLS_CHECK_WEIGHTED,
    CLS_CHECK_GAP,
    CLS_CHECK_NEARNESS,
    CLS_CHECK_INTERVAL,
    CLS_CHECK_WORDS
};

CLS_FN cls_uint cls_fold(cls_ulong x)
{
    return (cls_uint)(x ^ (x >> 32));
}

/* An fma whose exact result lies next to a tie, less than 2^-35 of a unit from it: a sum that is rounded to a
 * double first, or a product that is rounded by itself, goes the other way. */
CLS_FN float cls_near_tie(cls_uint seed)
{
    const cls_uint n = (seed & 63u) | 1u;
    const float a = cls_float_of(0x3f800000u + n), b = cls_float_of(0x33800000u - 2 * n); /* 1 and 2^-24 */
    const float odd = cls_float_of(0x3f800001u | (seed >> 9 & 0x7ffffeu));
    return cls_fma(seed & 256u ? -a : a, b, odd);
}

/* Four weights of a block, the third of them of -inf, each in units that its place makes larger. */
CLS_FN cls_uint cls_weigh_four(cls_check_case c, cls_uint key, cls_weight w)
{
    const int block = w.exponent + (int)(c.seed & 15);
    if (!cls_is_plain(key, c.scale)) return 0;
#ifdef CLS_CHECK_VECTORS
    const int bits = (int)cls_key_bits(key);
    return cls_sum_lanes(cls_in_block_lanes((cls_ints)(bits, bits, (int)CLS_BITS_MASKED, bits), c.scale,
                                            block + CLS_LANE_NUMBERS));
#else
    return cls_in_block(w, block) + cls_in_block(w, block + 1) + cls_in_block(w, block + 3);
#endif
}

/* A logit divided by a temperature: one whose quotient is no denormal, or 0. */
CLS_FN float cls_divided(cls_check_case c, cls_uint key)
{
    return cls_divide(cls_addend(cls_key_bits(key)), c.divisor, c.inverse);
}

/* In two parts, so that a device need not hold all words at once. */
CLS_FN void cls_check_words(cls_check_case c, cls_uint *out)
{
    const cls_uint key = cls_key(c.bits), finite = key < CLS_KEY_LOWEST ? CLS_KEY_LOWEST : key;
    const cls_weight w = cls_weigh(key, c.scale);
    const cls_ulong r = cls_random(c.seed, ~c.seed, c.bits, 7, c.seed >> 16);
    const cls_ulong whole = (r >> 2) | 1, part = (whole >> (c.seed & 31)) | 1;
    cls_ulong low;
    const cls_ulong high = cls_mul64(r, whole, &low);

    out[CLS_CHECK_KEY] = key;
    out[CLS_CHECK_HALF] = cls_half_bits(c.seed >> 16);
    out[CLS_CHECK_EXPONENT] = (cls_uint)w.exponent;
    out[CLS_CHECK_MANTISSA] = w.mantissa;
    out[CLS_CHECK_LANES] = cls_weigh_four(c, key, w);
    out[CLS_CHECK_MASS] =
        cls_fold(cls_mass(cls_in_block(w, w.exponent + (int)(c.seed & 15)), 0, (int)(c.seed >> 4 & 31)));
    out[CLS_CHECK_MIN_P] = cls_min_p_key(finite, c.min_p_hi, c.min_p_lo);
    out[CLS_CHECK_BAND] = cls_band_key(finite, c.scale, cls_times(c.divisor, 1e-9f), whole);
    out[CLS_CHECK_QUOTIENT] = cls_bits_of(cls_divided(c, key));
    out[CLS_CHECK_RANDOM] = cls_fold(r);
    out[CLS_CHECK_PRODUCT] = cls_fold(high) ^ cls_fold(low);
    out[CLS_CHECK_RATIO] = cls_bits_of(cls_ratio(part, whole));
    out[CLS_CHECK_LOG] = cls_bits_of(cls_log_ratio(part, whole));
    out[CLS_CHECK_FMA] = cls_bits_of(cls_near_tie(c.seed));
}

/* The bits of a float of either sign, from 2^-8 to 2^24 in magnitude. */
CLS_FN cls_uint cls_some_logit(cls_uint seed)
{
    return (seed & CLS_BITS_SIGN) | (0x3b800000u + (seed & 0x0fffffffu));
}

/* The moments of a row that has two tiles: one of three tokens, the other of any sums. */
CLS_FN void cls_check_moments(cls_check_case c, cls_ulong r, cls_moments *row)
{
    const cls_uint other = cls_some_logit(c.seed);
    const cls_uint own = cls_magnitude_exponent(c.bits), more = cls_magnitude_exponent(other);
    cls_moments few = { 0, own > more ? own : more, 0, 0 };
    cls_moments tile = { (cls_uint)(r & 255u) + 1, few.reference, (cls_long)(r >> 32) - 0x80000000, r >> 9 };

    cls_moments_take(&few, c.bits);
    cls_moments_take(&few, other);
    cls_moments_take(&few, other ^ (c.seed & CLS_BITS_SIGN));
    tile.reference -= c.seed >> 5 & (few.reference > 63 ? 63u : 0);
    row->count = 0;
    row->reference = few.reference;
    row->sum = 0;
    row->squares = 0;
    cls_moments_add(row, &few);
    cls_moments_add(row, &tile);
}

CLS_FN void cls_check_facts(cls_check_case c, cls_uint *out)
{
    const cls_ulong r = (cls_ulong)(c.bits ^ c.seed) * 0x9e3779b97f4a7c15u;
    const cls_uint key = cls_key(c.bits), other = cls_key(cls_some_logit(c.seed)), shift = c.seed & 31;
    const cls_uint top = key > other && key < CLS_KEY_INFINITY ? key : other, low = key < other ? key : other;
    const cls_weight w = cls_weigh(key, c.scale);
    const cls_ulong weighted = cls_weighted(w, w.exponent + (int)(shift & 7));
    cls_mean mean = { r >> 3, r >> (6 - (c.seed & 3)) };
    cls_moments row;

    cls_check_moments(c, r, &row);
    cls_mean_add_block(&mean, weighted, w.mantissa, shift);
    const cls_uint gap = cls_mean_gap(&mean, top, c.scale, c.divisor);
    const cls_uint nearness = cls_nearness(low < CLS_KEY_LOWEST ? CLS_KEY_LOWEST : low, top, gap);
    out[CLS_CHECK_EDITED] = cls_edited(c.bits, shift ? cls_some_logit(c.seed) : CLS_BITS_MASKED);
    out[CLS_CHECK_FIXED] =
        (cls_uint)cls_fixed(c.bits, 255) ^ (cls_uint)cls_fixed(cls_some_logit(c.seed), 160);
    out[CLS_CHECK_MOMENTS] = row.count ^ cls_fold((cls_ulong)row.sum) ^ cls_fold(row.squares);
    out[CLS_CHECK_SIGMA] = cls_sigma_key(top, &row, cls_bits_of(c.inverse));
    out[CLS_CHECK_WEIGHTED] = cls_fold(mean.weighted) ^ cls_fold(mean.units);
    out[CLS_CHECK_GAP] = gap;
    out[CLS_CHECK_NEARNESS] = nearness;
    out[CLS_CHECK_INTERVAL] = 0;
    if (c.seed & 0xf00u) return; /* this one takes the host longer */
    cls_uint begin, end;
    cls_nearness_interval(top, gap, nearness, &begin, &end);
    out[CLS_CHECK_INTERVAL] = 3 * begin ^ end;
}

#endif
