/* SPDX-License-Identifier: Apache-2.0 */
/* One case of the self-check, worked out by host and device from the same text. */
#ifndef CLS_CHECK_CASE_H
#define CLS_CHECK_CASE_H

#ifndef __OPENCL_VERSION__
#include "canonical.h"
#endif

#define CLS_CHECK_GROUP 64

typedef struct cls_check_case {
    cls_uint bits; /* of a logit */
    cls_uint seed;
    cls_scale scale;
    float min_p_hi, min_p_lo;
    cls_uint reserved;
} cls_check_case;

enum {
    CLS_CHECK_KEY,
    CLS_CHECK_EXPONENT,
    CLS_CHECK_MANTISSA,
    CLS_CHECK_MASS,
    CLS_CHECK_MIN_P,
    CLS_CHECK_RANDOM,
    CLS_CHECK_PRODUCT,
    CLS_CHECK_RATIO,
    CLS_CHECK_LOG,
    CLS_CHECK_FMA,
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

CLS_FN void cls_check_words(cls_check_case c, cls_uint *out)
{
    const cls_uint key = cls_key(c.bits);
    const cls_weight w = cls_weigh(key, c.scale);
    const cls_ulong r = cls_random(c.seed, ~c.seed, c.bits, 7, c.seed >> 16);
    const cls_ulong whole = (r >> 2) | 1, part = (whole >> (c.seed & 31)) | 1;
    cls_ulong low;
    const cls_ulong high = cls_mul64(r, whole, &low);

    out[CLS_CHECK_KEY] = key;
    out[CLS_CHECK_EXPONENT] = (cls_uint)w.exponent;
    out[CLS_CHECK_MANTISSA] = w.mantissa;
    out[CLS_CHECK_MASS] =
        cls_fold(cls_mass(cls_in_block(w, w.exponent + (int)(c.seed & 15)), 0, (int)(c.seed >> 4 & 31)));
    out[CLS_CHECK_MIN_P] = cls_min_p_key(key < CLS_KEY_LOWEST ? CLS_KEY_LOWEST : key, c.min_p_hi, c.min_p_lo);
    out[CLS_CHECK_RANDOM] = cls_fold(r);
    out[CLS_CHECK_PRODUCT] = cls_fold(high) ^ cls_fold(low);
    out[CLS_CHECK_RATIO] = cls_bits_of(cls_ratio(part, whole));
    out[CLS_CHECK_LOG] = cls_bits_of(cls_log_ratio(part, whole));
    out[CLS_CHECK_FMA] = cls_bits_of(cls_near_tie(c.seed));
}

#endif
