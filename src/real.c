/* SPDX-License-Identifier: Apache-2.0 */
#include "real.h"

#include "internal.h"

#define CLS_LONG_TERMS 12u
#define CLS_SQRT2 11863283u                          /* in units of 2^-23 */
#define CLS_LN2_HIGH ((cls_ulong)0x00b17217f7d1cf79) /* units of 2^-56, and ... */
#define CLS_LN2_LOW ((cls_ulong)0xabc9e3b39803f2f6)  /* ... of 2^-120 */

/* ---- Mantissas ---- */

/* x / 2^n; whatever is lost sets the lowest bit. */
static uint64_t shifted(uint64_t x, int n)
{
    if (n == 0) return x;
    return n > 63 ? x != 0 : x >> n | (x << (64 - n) != 0);
}

static cls_real normal(uint64_t mantissa, int exponent, bool negative)
{
    if (mantissa == 0) return (cls_real){ 0, 0, negative };
    const int room = cls_leading_zeros(mantissa) - 1;
    const uint64_t moved = room < 0 ? shifted(mantissa, 1) : mantissa << room;
    return (cls_real){ moved, exponent - room, negative };
}

cls_real cls_real_rounded(cls_real x, int bits)
{
    const uint64_t unit = (uint64_t)1 << (63 - bits), below = x.mantissa & (unit - 1);
    const uint64_t down = x.mantissa - below;
    const bool up = below > unit / 2 || (below == unit / 2 && down & unit);

    return normal(up ? down + unit : down, x.exponent, x.negative);
}

/* ---- Floats ---- */

cls_real cls_real_of(float x)
{
    const uint32_t bits = cls_bits_of(x), fraction = bits & 0x7fffffu;
    const int exponent = bits >> 23 & 255;

    if (exponent == 0) return normal(fraction, -149, bits >> 31);
    return (cls_real){ (uint64_t)(fraction | 0x800000u) << 39, exponent - 150 - 39, bits >> 31 };
}

float cls_real_float(cls_real x)
{
    const uint32_t sign = (uint32_t)x.negative << 31;
    const int exponent = x.exponent + 62, bits = exponent < -126 ? 150 + exponent : 24; /* of the mantissa */

    if (bits < 0) return cls_float_of(sign);
    const cls_real r = cls_real_rounded(x, bits);
    if (r.mantissa == 0) return cls_float_of(sign);
    if (r.exponent > 127 - 62) return cls_float_of(sign | 0x7f800000u);
    if (r.exponent < -126 - 62) return cls_float_of(sign | (uint32_t)shifted(r.mantissa, -149 - r.exponent));
    return cls_float_of(sign | ((uint32_t)(r.mantissa >> 39) + ((uint32_t)(r.exponent + 62 + 126) << 23)));
}

float cls_real_from(int64_t n)
{
    return cls_real_float(normal((uint64_t)(n < 0 ? -n : n), 0, n < 0));
}

/* ---- Operations ---- */

cls_real cls_real_product(cls_real a, cls_real b)
{
    cls_ulong low;
    const cls_ulong high = cls_mul64(a.mantissa, b.mantissa, &low);

    return normal(high << 1 | low >> 63 | (low << 1 != 0), a.exponent + b.exponent + 63,
                  a.negative != b.negative);
}

/* Where bits are lost the smaller one is far below the other, whose lowest bit is 0: so the result's lowest
 * bit is set, and no bit of it moves up. */
static cls_real sum(cls_real a, cls_real b)
{
    if (b.mantissa == 0)
        return (cls_real){ a.mantissa, a.exponent, a.negative && (a.mantissa || b.negative) };
    if (a.mantissa == 0) return b;
    if (a.exponent < b.exponent) return sum(b, a);
    const uint64_t other = shifted(b.mantissa, a.exponent - b.exponent);
    if (a.negative == b.negative) return normal(a.mantissa + other, a.exponent, a.negative);
    if (a.mantissa < other) return normal(other - a.mantissa, a.exponent, b.negative);
    return normal(a.mantissa - other, a.exponent, a.negative && a.mantissa != other);
}

cls_real cls_real_difference(cls_real a, cls_real b)
{
    b.negative = !b.negative;
    return sum(a, b);
}

/* Eleven bits of the quotient at a time, 55 in all. */
cls_real cls_real_quotient(cls_real a, cls_real b)
{
    const uint64_t divisor = b.mantissa >> 10;
    uint64_t rest = a.mantissa >> 10, quotient = rest / divisor;

    for (int i = 0; i < 5; i++) {
        rest = rest % divisor << 11;
        quotient = quotient << 11 | rest / divisor;
    }
    return normal(quotient << 1 | (rest % divisor != 0), a.exponent - b.exponent - 56,
                  a.negative != b.negative);
}

/* The same where an operand is infinite or NaN. */
static float special_fma(uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t infinity = 0x7f800000u, x = a & ~0x80000000u, y = b & ~0x80000000u, z = c & ~0x80000000u;
    const uint32_t product = infinity | ((a ^ b) & 0x80000000u);
    const bool infinite = x == infinity || y == infinity; /* is the product? */

    if (x > infinity || y > infinity || z > infinity || (infinite && (x == 0 || y == 0)) ||
        (infinite && z == infinity && product != c))
        return cls_float_of(0x7fc00000u);
    return cls_float_of(infinite ? product : c);
}

/* The product's 48 bits are exact. */
float cls_real_fma(float a, float b, float c)
{
    const uint32_t x = cls_bits_of(a), y = cls_bits_of(b), z = cls_bits_of(c), exponent = 0x7f800000u;

    if ((x & exponent) == exponent || (y & exponent) == exponent || (z & exponent) == exponent)
        return special_fma(x, y, z);
    return cls_real_float(sum(cls_real_product(cls_real_of(a), cls_real_of(b)), cls_real_of(c)));
}

float cls_real_floor(float x)
{
    const uint32_t bits = cls_bits_of(x);
    const int exponent = (int)(bits >> 23 & 255) - 127;

    if (exponent >= 23) return x;
    const uint32_t fraction = exponent < 0 ? 0x7fffffffu : 0x7fffffu >> exponent;
    if ((bits & fraction) == 0) return x;
    if (exponent < 0) return cls_float_of(bits >> 31 ? 0xbf800000u : 0);
    return cls_float_of((bits + (bits >> 31 ? fraction : 0)) & ~fraction);
}

/* ---- The logarithm ---- */

/* Units of 2^-128, or what else is said. */
typedef struct wide {
    cls_ulong high, low;
} wide;

static wide wide_sum(wide a, wide b)
{
    const cls_ulong low = a.low + b.low;
    return (wide){ a.high + b.high + (low < a.low), low };
}
static wide wide_difference(wide a, wide b)
{
    return (wide){ a.high - b.high - (a.low < b.low), a.low - b.low };
}
/* The upper half of the product, at most 3 units too small. */
static wide wide_product(wide a, wide b)
{
    wide high;
    cls_ulong unused;
    high.high = cls_mul64(a.high, b.high, &high.low);
    high = wide_sum(high, (wide){ 0, cls_mul64(a.high, b.low, &unused) });
    return wide_sum(high, (wide){ 0, cls_mul64(a.low, b.high, &unused) });
}
/* a / b, a below b, in digits of 32 bits. */
static wide wide_ratio(uint32_t a, uint32_t b)
{
    cls_ulong digit[4], rest = a;

    for (int i = 0; i < 4; i++) {
        digit[i] = (rest << 32) / b;
        rest = (rest << 32) % b;
    }
    return (wide){ digit[0] << 32 | digit[1], digit[2] << 32 | digit[3] };
}

/* 1 / n for an odd n. */
#define CLS_REST(n) (UINT64_MAX % (n) + 1)
#define CLS_RECIPROCAL(n)                                                                    \
    {                                                                                        \
        UINT64_MAX / (n), CLS_REST(n) * (UINT64_MAX / (n)) + CLS_REST(n) * CLS_REST(n) / (n) \
    }
/* clang-format off */
static const wide reciprocal[] = {
    CLS_RECIPROCAL(3), CLS_RECIPROCAL(5), CLS_RECIPROCAL(7), CLS_RECIPROCAL(9), CLS_RECIPROCAL(11),
    CLS_RECIPROCAL(13), CLS_RECIPROCAL(15), CLS_RECIPROCAL(17), CLS_RECIPROCAL(19), CLS_RECIPROCAL(21),
    CLS_RECIPROCAL(23), CLS_RECIPROCAL(25), CLS_RECIPROCAL(27), CLS_RECIPROCAL(29), CLS_RECIPROCAL(31),
    CLS_RECIPROCAL(33), CLS_RECIPROCAL(35), CLS_RECIPROCAL(37), CLS_RECIPROCAL(39), CLS_RECIPROCAL(41),
    CLS_RECIPROCAL(43), CLS_RECIPROCAL(45), CLS_RECIPROCAL(47),
};
/* clang-format on */

/* Half of ln(a / b), a at least b: z (1 + w / 3 + w^2 / 5 + ...) with z = (a - b) / (a + b), at most 0.172,
 * and w = z^2. The terms left out add less than 2^-130. The last ones, which count less than 2^-61, are added
 * up in 64 bits. All in all the result is less than 8 units too small. */
static wide half_log(uint32_t a, uint32_t b)
{
    const wide z = wide_ratio(a - b, a + b), w = wide_product(z, z);
    wide rest = { 0, 0 };
    cls_ulong unused;
    size_t i = CLS_COUNT(reciprocal);

    while (i > CLS_LONG_TERMS)
        rest.high = cls_mul64(w.high, rest.high + reciprocal[--i].high, &unused);
    while (i > 0)
        rest = wide_product(w, wide_sum(rest, reciprocal[--i]));
    return wide_sum(z, wide_product(z, rest));
}

/* -ln(m 2^-n / one), for m / one from sqrt(1/2) to sqrt(2), in units of 2^-120: off by less than 2 + n. */
static wide minus_log(uint32_t m, uint32_t one, uint32_t n)
{
    const wide half = half_log(CLS_MAX(m, one), CLS_MIN(m, one));
    const wide log = { half.high >> 7, half.high << 57 | half.low >> 7 };
    wide powers;

    powers.high = cls_mul64(CLS_LN2_LOW, n, &powers.low) + CLS_LN2_HIGH * n;
    return m < one ? wide_sum(powers, log) : wide_difference(powers, log);
}

/* No logarithm of a float is as close to a tie of rounding as minus_log() may be off by: tests/test_real.c
 * looks at each of them, with CLSAMPLE_TEST_LONG. */
cls_real cls_real_log(float x)
{
    const cls_real r = cls_real_of(x);
    const uint32_t m = (uint32_t)(r.mantissa >> 39); /* from 2^23 to 2^24 - 1 */
    const bool above = m > CLS_SQRT2;
    const wide log = minus_log(m, above ? 1u << 24 : 1u << 23, (uint32_t)(-r.exponent - (above ? 63 : 62)));

    if (log.high == 0) return (cls_real){ 0, 0, false }; /* x is 1 */
    const int shift = cls_leading_zeros(log.high);
    const uint64_t upper = log.high << shift | log.low >> (64 - shift);
    return cls_real_rounded(normal(upper | 1, -56 - shift, true), 53);
}
