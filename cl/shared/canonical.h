/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical arithmetic: everything that decides a token, in a form that gives the same bits on every
 * device. Integers, comparisons, and single IEEE operations that OpenCL's full profile rounds correctly (+,
 * -, *, fma, floor, conversions); no exp, no log, no division of floats, no sum of floats whose order
 * could matter, nothing that contracts, and no result that hangs on a denormal. docs/design.md has the
 * proofs.
 *
 * One source for both sides: the host's C11 compiler reads this file too (the self-check and the tests
 * compare it with the device). There each operation that rounds is worked out in integers (src/real.h), and
 * must therefore be written as one of the macros below; what is exact may stand as it is. */
#ifndef CLS_CANONICAL_H
#define CLS_CANONICAL_H

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__) /* clang without a device: the latter */
#pragma OPENCL FP_CONTRACT OFF
#define CLS_FN static inline /* one place to work around a compiler */
/* Set for CPUs, whose compilers put whole functions where they are called, many times over. */
#if CLS_KEEP_CALLS
#define CLS_CALLED static __attribute__((noinline))
#else
#define CLS_CALLED static inline
#endif
/* Intel's runtime for CPUs makes vectors of neighbouring work-items, even of a group of one, and gets
 * barriers wrong at that, unless told not to. The others do not know the attribute. */
#if defined(__has_attribute)
#if __has_attribute(intel_vec_len_hint)
#define CLS_ONE_BY_ONE __attribute__((intel_vec_len_hint(1)))
#endif
#endif
#ifndef CLS_ONE_BY_ONE
#define CLS_ONE_BY_ONE
#endif
#define cls_fma(a, b, c) fma(a, b, c)
#define cls_plus(a, b) ((a) + (b))
#define cls_minus(a, b) ((a) - (b))
#define cls_times(a, b) ((a) * (b))
#define cls_floor(x) floor(x)
#define cls_float(n) ((float)(n)) /* n is an integer */
#define cls_float_of(bits) as_float(bits)
#define cls_bits_of(x) as_uint(x)
typedef uint cls_uint;
typedef long cls_long;
typedef ulong cls_ulong;
#else
#include "../../src/real.h"
#include <stdint.h>
#include <string.h>
#define CLS_FN static inline
#define CLS_CALLED static inline
#define cls_fma(a, b, c) cls_real_fma(a, b, c)
#define cls_plus(a, b) cls_real_fma(a, 1.0f, b)
#define cls_minus(a, b) cls_real_fma(b, -1.0f, a)
#define cls_times(a, b) cls_real_fma(a, b, -0.0f)
#define cls_floor(x) cls_real_floor(x)
#define cls_float(n) cls_real_from(n)
typedef uint32_t cls_uint;
typedef int64_t cls_long;
typedef uint64_t cls_ulong;
CLS_FN float cls_float_of(cls_uint bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
CLS_FN cls_uint cls_bits_of(float x)
{
    cls_uint bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
#endif

/* ---- Keys: the order of logits as that of unsigned integers ---- */

#define CLS_BITS_MASKED 0xff800000u /* of a logit of -inf */
#define CLS_BITS_INFINITY 0x7f800000u
#define CLS_BITS_SIGN 0x80000000u
#define CLS_KEY_MASKED 0x007fffffu   /* -inf, and NaN */
#define CLS_KEY_LOWEST 0x00800000u   /* the most negative finite float */
#define CLS_KEY_INFINITY 0xff800000u /* +inf */
#define CLS_NO_ID 0xffffffffu

/* A float's bits to its key: larger logit, larger key; -0 is +0, NaN is -inf. The sign, which nothing can
 * foresee, is no condition: a processor that guesses would be wrong half the time. */
CLS_FN cls_uint cls_key(cls_uint bits)
{
    const cls_uint magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return CLS_KEY_MASKED;
    if (magnitude == 0) return 0x80000000u;
    return bits ^ ((0u - (bits >> 31)) | 0x80000000u);
}
CLS_FN cls_uint cls_key_bits(cls_uint key)
{
    return key ^ (((key >> 31) - 1u) | 0x80000000u);
}

/* Binary16 to the bits of the same float. The smallest halves become normal floats, so nothing is flushed. */
CLS_FN cls_uint cls_half_bits(cls_uint h)
{
    const cls_uint sign = (h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) return sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
    if (magnitude >= 0x400u) return sign | ((magnitude << 13) + 0x38000000u);
    return sign | cls_bits_of(cls_float(magnitude) * 0x1p-24f);
}

#define CLS_ADDEND_LEAST 0x21800000u /* 2^-60 */

/* A logit as what can be added to another: a magnitude below that counts as 0, so that no sum or difference
 * is a denormal. */
CLS_FN float cls_addend(cls_uint bits)
{
    return (bits & ~CLS_BITS_SIGN) < CLS_ADDEND_LEAST ? 0.0f : cls_float_of(bits);
}
/* A logit after an edit, as bits. What is masked stays so, whatever `add`; `add` of -inf masks; +inf stays
 * else, and no other logit becomes infinite. `add` is finite or -inf. */
CLS_FN cls_uint cls_edited(cls_uint bits, cls_uint add)
{
    const cls_uint range = 0x7e000000u - CLS_ADDEND_LEAST;

    /* Of magnitudes from the least to below 2^125, as nearly all are, the sum is all. */
    if ((bits & ~CLS_BITS_SIGN) - CLS_ADDEND_LEAST < range &&
        (add & ~CLS_BITS_SIGN) - CLS_ADDEND_LEAST < range) {
        const cls_uint usual = cls_bits_of(cls_plus(cls_float_of(bits), cls_float_of(add)));
        return (usual & ~CLS_BITS_SIGN) == 0 ? 0 : usual;
    }
    if (cls_key(bits) == CLS_KEY_MASKED || (bits == CLS_BITS_INFINITY && add != CLS_BITS_MASKED)) return bits;
    if (add == CLS_BITS_MASKED) return add;
    const cls_uint sum = cls_bits_of(cls_plus(cls_addend(bits), cls_addend(add)));
    const cls_uint magnitude = sum & ~CLS_BITS_SIGN;
    if (magnitude == 0) return 0;
    return magnitude == CLS_BITS_INFINITY ? sum - 1 : sum;
}

/* ---- Weights: 2^(x * log2(e) / temperature) as integers ---- */

#define CLS_BLOCK 64u      /* logits that share a reference exponent; part of the definition, not a tuning */
#define CLS_GUARD_BITS 17u /* fraction bits of a row's mass below a block's: 2^20 logits fit 2^63 */
#define CLS_HOT_MASS ((cls_ulong)1 << 42) /* each of the tokens that share a saturated row */

typedef struct cls_scale {
    float c, c_lo; /* log2(e) / temperature, as the sum of two floats */
    float small;   /* 2^16 / c: below it one fused step finds the exponent */
    float limit;   /* 2^30 / c: beyond it neighbouring floats are more than 2^60 apart in weight */
} cls_scale;

typedef struct cls_weight {
    int exponent;      /* x * log2(e) / temperature, to the nearest: weight = mantissa * 2^(exponent - 25) */
    cls_uint mantissa; /* 2^24.49 to 2^25.51, so that a block's sum fits 32 bits */
    float fraction;    /* what the exponent leaves of that: mantissa = 2^(25 + fraction) */
} cls_weight;

#define CLS_MAGIC 0x1.8p23f /* its sum with what is below 2^22 has that, as an integer, in its low bits */
#define CLS_MAGIC_BITS 0x4b400000

/* 2^(25 + f) for |f| up to 0.51: relative error below 8e-8 with each step rounded. Coefficients: least
 * maximum error with 2^25 fixed, so that f = 0 gives exactly that. `type` is float, or that of many. */
/* clang-format off */
#define CLS_EXP2_POLYNOMIAL(type, f)                                                                        \
    cls_fma(cls_fma(cls_fma(cls_fma(cls_fma(cls_fma((type)0x1.41fbbcp+12f, f, (type)0x1.5f3e54p+15f), f,    \
    (type)0x1.3b2d4cp+18f), f, (type)0x1.c6aee8p+20f), f, (type)0x1.ebfbdcp+22f), f,                        \
    (type)0x1.62e430p+24f), f, (type)0x1p+25f)
/* clang-format on */

/* The exponent is taken from x * c alone, so that it grows with x; what the product lost, and c_lo, go to the
 * fraction. No step hangs on a denormal: a fraction too small for a normal float gives 2^25, flushed or
 * not. */
CLS_FN cls_weight cls_weigh_small(float x, cls_scale s)
{
    const float t = cls_fma(x, s.c, CLS_MAGIC);
    const float f = cls_fma(x, s.c_lo, cls_fma(x, s.c, CLS_MAGIC - t));
    const cls_weight w = { (int)cls_bits_of(t) - CLS_MAGIC_BITS, (cls_uint)CLS_EXP2_POLYNOMIAL(float, f), f };
    return w;
}
/* The same value where the exponent has no room in a float's low bits: hi + lo is x * (c + c_lo). */
CLS_FN cls_weight cls_weigh_large(float x, cls_scale s)
{
    const float hi = cls_times(x, s.c);
    const float lo = cls_fma(x, s.c_lo, cls_fma(x, s.c, -hi));
    const float n = cls_floor(hi);
    const float g = cls_plus(cls_minus(hi, n), lo);
    const float k = cls_floor(cls_plus(g, 0.5f));
    const float f = cls_minus(g, k);
    const cls_weight w = { (int)n + (int)k, (cls_uint)CLS_EXP2_POLYNOMIAL(float, f), f };
    return w;
}
CLS_FN cls_weight cls_weigh(cls_uint key, cls_scale s)
{
    const float x = cls_float_of(cls_key_bits(key));
    const float most = x > s.limit ? s.limit : x < -s.limit ? -s.limit : x;
    return most < s.small && most > -s.small ? cls_weigh_small(most, s) : cls_weigh_large(most, s);
}

/* A token's weight in units of its block: the reference is the exponent of the block's largest logit. The
 * difference is never negative, but may be 2^31. */
CLS_FN cls_uint cls_in_block(cls_weight w, int block_exponent)
{
    const cls_uint shift = (cls_uint)block_exponent - (cls_uint)w.exponent;
    return w.mantissa >> (shift > 31 ? 31 : shift);
}
/* A sum within one block as mass of the row: the reference is the exponent of the row's largest logit. */
CLS_FN cls_ulong cls_mass(cls_uint block_sum, int block_exponent, int row_exponent)
{
    const cls_uint shift = (cls_uint)row_exponent - (cls_uint)block_exponent;
    return ((cls_ulong)block_sum << CLS_GUARD_BITS) >> (shift > 63 ? 63 : shift);
}
/* Can the weights of a block with this largest key be had from cls_weigh_small alone, as cls_in_block_lanes
 * does? Not for NaN. Its logits may still be far below -small: they are taken for -small, which is 500 binary
 * digits below the largest as well. */
CLS_FN int cls_is_plain(cls_uint key_max, cls_scale s)
{
    const float x = cls_float_of(cls_key_bits(key_max));
    return x < s.small && x > cls_times(s.small, -0.99f);
}

/* Is the largest logit beyond the limit? Then its ties share the whole mass, and everything else has none. */
CLS_FN int cls_saturated(cls_uint key_max, cls_scale s)
{
    const float x = cls_float_of(cls_key_bits(key_max));
    return x >= s.limit || x <= -s.limit;
}

/* ---- Min-p: a threshold on keys ---- */

/* The smallest key whose logit is at least that of `key_max` plus hi + lo (hi at most 0): s + e is x + hi
 * exactly (Knuth's two-sum), and a positive rest asks for the next float. Where s cancels to near 0, lo may
 * be worth more than one of its floats: the threshold is then off by at most |lo|, the same everywhere. */
CLS_FN cls_uint cls_min_p_key(cls_uint key_max, float hi, float lo)
{
    if (key_max == CLS_KEY_INFINITY) return key_max;
    const cls_uint bits = cls_key_bits(key_max);
    const float x = cls_addend(bits);
    const float s = cls_plus(x, hi);
    const float t = cls_minus(s, x);
    const float e = cls_plus(cls_minus(x, cls_minus(s, t)), cls_minus(hi, t));
    cls_uint key = cls_key(cls_bits_of(s));

    if (key < CLS_KEY_LOWEST) return CLS_KEY_LOWEST;
    if (cls_plus(e, lo) > 0.0f) key++;
    return key < key_max ? key : key_max;
}
/* The article's band of min-p: what is within 1e-9 of the largest probability stays, a threshold of
 * -T ln(1 - 1e-9 whole / largest), as a series; `band` is T * 1e-9. The quotient is of integers, so it is the
 * same everywhere. */
CLS_FN cls_uint cls_band_key(cls_uint key_max, cls_scale s, float band, cls_ulong whole)
{
    const cls_ulong top =
        cls_saturated(key_max, s) ? CLS_HOT_MASS : cls_mass(cls_weigh(key_max, s).mantissa, 0, 0);
    const float q = cls_float((cls_uint)(whole / (top >> 8))) * 0x1p-8f;
    const float y = cls_times(q, 1e-9f);
    const float series = cls_fma(y, cls_fma(y, 0.333333343f, 0.5f), 1.0f);
    return cls_min_p_key(key_max, cls_times(-cls_times(q, band), series), 0.0f);
}

/* ---- Logits as a caller gets them ---- */

CLS_FN int cls_is_finite(float x)
{
    return (cls_bits_of(x) & 0x7f800000u) != 0x7f800000u;
}
/* x / divisor, correctly rounded wherever the quotient is normal: a division of OpenCL is not. (Markstein,
 * "Computation of elementary functions on the IBM RISC System/6000 processor", 1990; `inverse` is the rounded
 * reciprocal.) */
CLS_FN float cls_divide(float x, float divisor, float inverse)
{
    const float q = cls_times(x, inverse);
    const float rest = cls_fma(-q, divisor, x);
    /* A sum of zeros has another sign on some devices: none is made. */
    return rest != 0.0f && cls_is_finite(q) && cls_is_finite(rest) ? cls_fma(rest, inverse, q) : q;
}

/* ---- Random numbers ---- */

CLS_FN cls_uint cls_mul_hi32(cls_uint a, cls_uint b)
{
    return (cls_uint)(((cls_ulong)a * b) >> 32);
}
/* High half of a 128-bit product; `low` takes the low half. */
CLS_FN cls_ulong cls_mul64(cls_ulong a, cls_ulong b, cls_ulong *low)
{
    const cls_ulong a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
    const cls_ulong middle = a1 * b0 + ((a0 * b0) >> 32);
    const cls_ulong carry = a0 * b1 + (middle & 0xffffffffu);
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (carry >> 32);
}

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the first 64 of its 128
 * bits for the counter (c0, c1, c2, c3) and the key (k0, k1). */
CLS_FN cls_ulong cls_philox(cls_uint c0, cls_uint c1, cls_uint c2, cls_uint c3, cls_uint k0, cls_uint k1)
{
    for (int round = 0; round < 10; round++) {
        const cls_uint hi0 = cls_mul_hi32(0xd2511f53u, c0), lo0 = 0xd2511f53u * c0;
        const cls_uint hi1 = cls_mul_hi32(0xcd9e8d57u, c2), lo1 = 0xcd9e8d57u * c2;
        c0 = hi1 ^ c1 ^ k0;
        c1 = lo1;
        c2 = hi0 ^ c3 ^ k1;
        c3 = lo0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return ((cls_ulong)c1 << 32) | c0;
}
/* A pure function, uniform over all 2^64 values. */
CLS_FN cls_ulong cls_random(cls_uint seed_lo, cls_uint seed_hi, cls_uint step_lo, cls_uint step_hi,
                            cls_uint stream)
{
    return cls_philox(step_lo, step_hi, stream, 0, seed_lo, seed_hi);
}

/* ---- Ratios and logarithms of masses ---- */

CLS_FN int cls_leading_zeros(cls_ulong x) /* x is not 0 */
{
#ifdef __OPENCL_VERSION__ /* halves take fewer registers */
    const cls_uint high = (cls_uint)(x >> 32);
    return (int)(high ? clz(high) : 32 + clz((cls_uint)x));
#else
    int n = 0;
    for (int step = 32; step > 0; step /= 2) {
        if ((x >> (64 - step)) == 0) {
            n += step;
            x <<= step;
        }
    }
    return n;
#endif
}
/* part / whole as q * 2^(exponent - 32), q in [2^31, 2^33]; part is not 0 and at most whole. The divisor is
 * cut to 32 bits: relative error below 2^-30. */
CLS_FN cls_ulong cls_quotient(cls_ulong part, cls_ulong whole, int *exponent)
{
    const int zp = cls_leading_zeros(part), zw = cls_leading_zeros(whole);
    *exponent = zw - zp;
    return (part << zp) / ((whole << zw) >> 32);
}
/* part / whole as a float at most 1. Below 2^-100 it is 0. */
CLS_FN float cls_ratio(cls_ulong part, cls_ulong whole)
{
    if (part == 0) return 0.0f;
    if (part == whole) return 1.0f;
    int exponent;
    const float q = cls_float((cls_uint)(cls_quotient(part, whole, &exponent) >> 2));
    const float r = q * cls_float_of((cls_uint)(127 + exponent - 30) << 23);
    return r < 1.0f ? r : 1.0f;
}
/* Natural logarithm of part / whole, at most 0, absolute error below 3e-7 + 1e-7 * |result|. The polynomial
 * is (ln(1 + y) - y) / y^2 on [sqrt(1/2) - 1, sqrt(2) - 1]. */
CLS_FN float cls_log_ratio(cls_ulong part, cls_ulong whole)
{
    if (part == whole) return 0.0f;
    int exponent;
    cls_uint q = (cls_uint)(cls_quotient(part, whole, &exponent) >> 2); /* 2^30 is 1; from 2^29 to 2^31 */
    /* Within a factor of sqrt(2) of 1: the bounds are 2^30.5 and 2^29.5. */
    if (q > 1518500250u) {
        q >>= 1;
        exponent++;
    } else if (q < 759250125u) {
        q <<= 1;
        exponent--;
    }
    const float y = cls_float((int)q - (1 << 30)) * 0x1p-30f;
    /* clang-format off */
    const float p = cls_fma(cls_fma(cls_fma(cls_fma(cls_fma(cls_fma(cls_fma(cls_fma(cls_fma(
        0.0672493129968643f, y, -0.1167598068714142f), y, 0.1190097630023956f), y, -0.1240735203027725f), y,
        0.1421767920255661f), y, -0.1666768789291382f), y, 0.2000222057104111f), y, -0.2500002682209015f), y,
        0.3333331048488617f), y, -0.5f);
    /* clang-format on */
    const float n = (float)exponent;
    const float ln = cls_fma(n, 0.693145752f, cls_fma(n, 1.42860677e-6f, cls_fma(cls_times(y, y), p, y)));
    return ln < 0.0f ? ln : 0.0f;
}

#endif
