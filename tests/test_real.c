/* SPDX-License-Identifier: Apache-2.0 */
/* The host's arithmetic: right, and the same whatever a host's libm (test_real_libm), compiler options
 * (test_real_fast, test_real_x87) and the state of the floating-point unit make of its floats.
 *
 * Environment: CLSAMPLE_TEST_LONG  set: look at the logarithm of every float */
#include "common.h"
#include "float_modes.h"
#include "samplers.h"

#include "../cl/shared/check_case.h"
#include "../src/real.c" /* for the bits that a logarithm is rounded from */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a over what every_mode works out. Those of plans and logarithms are what a model in Python has, with
 * fractions for the doubles and mpmath for the logarithms; those of words are what the same text gives with
 * glibc's fmaf; that of programs was recorded when there were such. A change of one breaks the promise, as in
 * test_exact.c. */
#define PLANS_DIGEST 0x1b90542235165793ull
#define PROGRAMS_DIGEST 0x9a96497dd46ce1ecull
#define WORDS_DIGEST 0xaf050e660e93ac3cull
#define MORE_WORDS_DIGEST 0x7fa6b1be3fdf7e95ull
#define LOGS_DIGEST 0x584e42adf01f4cdaull

static uint64_t random_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 16 ^ *state >> 40;
}

static uint64_t digest(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * 0x100000001b3ull;
    return hash;
}

/* ---- fma, beside one that keeps all bits ---- */

#define WORDS 20
#define UNIT (-298) /* twice the exponent of the smallest float */

/* A sum of floats' products in units of 2^-298, in words of 32 bits, the lowest first; negative as in two's
 * complement. */
typedef struct big {
    uint32_t word[WORDS];
} big;

static void big_add(big *b, uint64_t mantissa, int shift, bool negative)
{
    uint64_t carry = negative;
    uint32_t part[WORDS] = { 0 };

    for (int i = 0; i < 64; i++)
        if (mantissa >> i & 1) part[(shift + i) / 32] |= 1u << (shift + i) % 32;
    for (int i = 0; i < WORDS; i++) {
        carry += (uint64_t)b->word[i] + (negative ? ~part[i] : part[i]);
        b->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static bool big_bit(const big *b, int i)
{
    return i >= 0 && b->word[i / 32] >> i % 32 & 1;
}

static bool big_any_below(const big *b, int end)
{
    for (int i = 0; i < end; i++)
        if (big_bit(b, i)) return true;
    return false;
}

static uint32_t big_rounded(big b, bool negative_zero)
{
    const bool negative = b.word[WORDS - 1] >> 31;
    int top = 32 * WORDS - 1;

    for (int i = 0; negative && i < WORDS; i++)
        b.word[i] = ~b.word[i];
    if (negative) big_add(&b, 1, 0, false);
    while (top >= 0 && !big_bit(&b, top))
        top--;
    if (top < 0) return (uint32_t)negative_zero << 31;
    const int unit = CLS_MAX(top - 23, -149 - UNIT); /* of the float */
    uint32_t bits = 0;
    for (int i = 0; i < 24; i++)
        bits |= (uint32_t)big_bit(&b, unit + i) << i;
    if (big_bit(&b, unit - 1) && (big_any_below(&b, unit - 1) || bits & 1)) bits++;
    bits += (uint32_t)(unit + UNIT + 149) << 23; /* a carry goes to the exponent, as does the highest bit */
    return (uint32_t)negative << 31 | CLS_MIN(bits, 0x7f800000u);
}

static uint32_t exact_fma(uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t bits[3] = { a, b, c };
    uint64_t m[3];
    int e[3];
    big sum = { { 0 } };

    for (int i = 0; i < 3; i++) {
        const int field = bits[i] >> 23 & 255;
        m[i] = (bits[i] & 0x7fffffu) | (field ? 0x800000u : 0);
        e[i] = CLS_MAX(field, 1) - 150;
    }
    big_add(&sum, m[0] * m[1], e[0] + e[1] - UNIT, (a ^ b) >> 31);
    big_add(&sum, m[2], e[2] - UNIT, c >> 31);
    return big_rounded(sum, (m[0] == 0 || m[1] == 0) && m[2] == 0 && (a ^ b) >> 31 && c >> 31);
}

/* Floats with few and with many bits, near to one another and far, and all that is special but NaN and
 * infinity. */
static uint32_t operand(uint64_t *state)
{
    static const uint32_t fraction[] = { 0, 1, 2, 0x400000, 0x3fffff, 0x400001, 0x7ffffe, 0x7fffff };
    static const uint32_t exponent[] = { 0, 1, 2, 24, 103, 126, 127, 128, 150, 151, 230, 254 };
    const uint64_t r = random_bits(state);
    const uint32_t f = r & 1   ? fraction[(r >> 8) % COUNT(fraction)]
                       : r & 2 ? (uint32_t)(r >> 8) & 0x7ff000u
                               : (uint32_t)(r >> 8) & 0x7fffffu;
    const uint32_t e = r & 4   ? exponent[(r >> 32) % COUNT(exponent)]
                       : r & 8 ? 115 + (uint32_t)(r >> 32) % 24
                               : (uint32_t)(r >> 32) % 255;

    return (uint32_t)(r >> 4 & 1) << 31 | e << 23 | f;
}

static void check_fma(uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t want = exact_fma(a, b, c);
    const uint32_t got = cls_bits_of(cls_fma(cls_float_of(a), cls_float_of(b), cls_float_of(c)));

    REQUIRE(got == want, "fma(%08x, %08x, %08x) is %08x instead of %08x", (unsigned)a, (unsigned)b,
            (unsigned)c, (unsigned)got, (unsigned)want);
}

START_TEST(fma_rounds_once)
{
    uint64_t state = 1;

    for (int i = 0; i < 1000000; i++) {
        const uint32_t a = operand(&state), b = operand(&state);
        check_fma(a, b, operand(&state));
        if (i % 4) continue;
        /* The product's own bits cancel, or nearly. */
        const uint32_t product = exact_fma(a, b, 0x80000000u);
        if ((product & 0x7fffffffu) < 0x7f7fffffu) {
            check_fma(a, b, product ^ 0x80000000u);
            check_fma(a, b, (product ^ 0x80000000u) + 1);
            check_fma(a, b, product);
        }
    }
}
END_TEST

START_TEST(fma_known)
{
    static const uint32_t known[][4] = {
        /* Two roundings give 3f800000 and 3f800002: ties that a bit far below decides. */
        { 0x3f800001u, 0x33800000u, 0x3f800000u, 0x3f800001u },
        { 0x3f7fffffu, 0x33800000u, 0x3f800001u, 0x3f800001u },
        { 0x3f800000u, 0x33800000u, 0x3f800000u, 0x3f800000u }, /* ties: to even */
        { 0x3f800000u, 0x33800000u, 0x3f800001u, 0x3f800002u },
        { 0x00000001u, 0x3f000000u, 0x00000000u, 0x00000000u }, /* half of the least float */
        { 0x00000003u, 0x3f000000u, 0x00000000u, 0x00000002u },
        { 0x00000001u, 0x00000001u, 0x00800000u, 0x00800000u },
        { 0x00000001u, 0x80000001u, 0x00800000u, 0x00800000u },
        { 0x007fffffu, 0x3f800000u, 0x00000001u, 0x00800000u }, /* to the first normal one */
        { 0x7f7fffffu, 0x40000000u, 0xff7fffffu, 0x7f7fffffu }, /* the product alone is too large */
        { 0x7f7fffffu, 0x3f800000u, 0x73000000u, 0x7f800000u }, /* a tie with what would be 2^128 */
        { 0x7f7fffffu, 0x3f800000u, 0x72ffffffu, 0x7f7fffffu },
        { 0x3f800000u, 0x3f800000u, 0xbf800000u, 0x00000000u }, /* zeros */
        { 0x80000000u, 0x3f800000u, 0x80000000u, 0x80000000u },
        { 0x80000000u, 0x3f800000u, 0x00000000u, 0x00000000u },
        { 0x7f800000u, 0x3f800000u, 0xff7fffffu, 0x7f800000u }, /* infinities and NaN */
        { 0x7f800000u, 0xbf800000u, 0xff800000u, 0xff800000u },
        { 0x3f800000u, 0x3f800000u, 0xff800000u, 0xff800000u },
        { 0x7f800000u, 0x3f800000u, 0xff800000u, 0x7fc00000u },
        { 0x7f800000u, 0x00000000u, 0x3f800000u, 0x7fc00000u },
        { 0x3f800000u, 0xffc00001u, 0x3f800000u, 0x7fc00000u },
        { 0x00000000u, 0x00000000u, 0x7f800001u, 0x7fc00000u },
    };

    for (size_t i = 0; i < COUNT(known); i++)
        ck_assert_uint_eq(cls_bits_of(cls_fma(cls_float_of(known[i][0]), cls_float_of(known[i][1]),
                                              cls_float_of(known[i][2]))),
                          known[i][3]);
}
END_TEST

/* What the self-check asks of a device: the nearest float is the odd one that was added to. */
START_TEST(near_ties)
{
    for (uint32_t seed = 0; seed < 1u << 16; seed += 97)
        ck_assert_uint_eq(cls_bits_of(cls_near_tie(seed << 8 | seed)),
                          0x3f800001u | ((seed << 8 | seed) >> 9 & 0x7ffffeu));
}
END_TEST

/* Sums and products are an fma with 1 or -0. */
START_TEST(single_operations)
{
    static const float floors[][2] = { { 2.5f, 2.0f },
                                       { -2.5f, -3.0f },
                                       { -0.25f, -1.0f },
                                       { 0.75f, 0.0f },
                                       { 8388607.5f, 8388607.0f },
                                       { -1.0f, -1.0f },
                                       { -8388607.5f, -8388608.0f },
                                       { 1e30f, 1e30f },
                                       { -1e-40f, -1.0f },
                                       { 0.99999994f, 0.0f } };

    for (size_t i = 0; i < COUNT(floors); i++)
        ck_assert_uint_eq(cls_bits_of(cls_floor(floors[i][0])), cls_bits_of(floors[i][1]));
    ck_assert_uint_eq(cls_bits_of(cls_plus(16777216.0f, 1.0f)), cls_bits_of(16777216.0f));
    ck_assert_uint_eq(cls_bits_of(cls_plus(16777216.0f, 3.0f)), cls_bits_of(16777220.0f));
    ck_assert_uint_eq(cls_bits_of(cls_minus(1.0f, 0x1p-25f)), cls_bits_of(1.0f));
    ck_assert_uint_eq(cls_bits_of(cls_times(0.1f, 0.1f)), 0x3c23d70bu);
    ck_assert_uint_eq(cls_bits_of(cls_times(3.0f, 0x1p-149f)), 3);
    ck_assert_uint_eq(cls_bits_of(cls_float(0)), 0);
    ck_assert_uint_eq(cls_bits_of(cls_float(0x7fffffff)), cls_bits_of(0x1p31f));
    ck_assert_uint_eq(cls_bits_of(cls_float(0xffffff7fu)), 0x4f7fffffu);
    ck_assert_uint_eq(cls_bits_of(cls_float(-16777217)), cls_bits_of(-16777216.0f));
    ck_assert_uint_eq(cls_bits_of(cls_float(-16777219)), cls_bits_of(-16777220.0f));
}
END_TEST

/* No token hangs on it. */
START_TEST(sign_of_zeros)
{
#ifdef __FAST_MATH__
    printf("left out: the sign of zeros (-ffast-math leaves it open)\n");
#else
    const float zero = cls_float_of(0), minus_zero = cls_float_of(0x80000000u);

    ck_assert_uint_eq(cls_bits_of(cls_minus(zero, zero)), 0);
    ck_assert_uint_eq(cls_bits_of(cls_minus(minus_zero, zero)), 0x80000000u);
    ck_assert_uint_eq(cls_bits_of(cls_plus(minus_zero, zero)), 0);
    ck_assert_uint_eq(cls_bits_of(cls_times(minus_zero, 3.0f)), 0x80000000u);
    ck_assert_uint_eq(cls_bits_of(cls_floor(minus_zero)), 0x80000000u);
#endif
}
END_TEST

/* ---- Logarithms ---- */

/* The bits of the double that a number with at most 53 bits is. */
static uint64_t double_bits(cls_real r)
{
    if (r.mantissa == 0) return (uint64_t)r.negative << 63;
    return (uint64_t)r.negative << 63 | (uint64_t)(r.exponent + 62 + 1023) << 52 |
           (r.mantissa >> 10 & 0xfffffffffffffu);
}

START_TEST(known_logarithms)
{
    /* From mpmath 1.3.0 with 300 bits. Of the last five glibc 2.36 has three wrong, and the other two are
     * closest to a tie. */
    static const struct {
        uint32_t x;
        uint64_t ln;
    } known[] = {
        { 0x3f800000u, 0 },
        { 0x3f7fffffu, 0xbe70000008000005u },
        { 0x3f7ffffeu, 0xbe80000010000015u },
        { 0x3f733333u, 0xbfaa431dc7963435u },
        { 0x3f3504f4u, 0xbfd62e42b6d81641u },
        { 0x3f3504f3u, 0xbfd62e43115a8fb4u },
        { 0x3f000000u, 0xbfe62e42fefa39efu },
        { 0x3dcccccdu, 0xc0026bb1b9b55516u },
        { 0x3d4ccccdu, 0xc007f7427973e392u },
        { 0x3ca3d70au, 0xc00f4bd2baac1bb0u },
        { 0x33800000u, 0xc030a2b23f3bab73u },
        { 0x00800000u, 0xc055d589f2fe5107u },
        { 0x007fffffu, 0xc055d589f37e5108u },
        { 0x00000001u, 0xc059d1d9fccf4770u },
        { 0x3f1d200fu, 0xbfdf3d97bc101948u },
        { 0x3f6cd3eau, 0xbfb3ed98df201024u },
        { 0x3e95fb20u, 0xbff3a522b242efb1u },
        { 0x10789909u, 0xc0504bd9ece9d4b8u },
        { 0x236c5516u, 0xc04372b60a21dbacu },
    };

    for (size_t i = 0; i < COUNT(known); i++)
        ck_assert_msg(double_bits(cls_real_log(cls_float_of(known[i].x))) == known[i].ln,
                      "ln of %08x is %016llx instead of %016llx", (unsigned)known[i].x,
                      (unsigned long long)double_bits(cls_real_log(cls_float_of(known[i].x))),
                      (unsigned long long)known[i].ln);
}
END_TEST

/* How far the bits of a logarithm that rounding to 53 takes away are from a tie, in units of 2^-120. */
static uint64_t from_tie(wide log)
{
    const int length = log.high ? 128 - cls_leading_zeros(log.high) : 64 - cls_leading_zeros(log.low);
    const int cut = length - 53; /* from 43 to 74 */
    const wide half =
        cut > 64 ? (wide){ (cls_ulong)1 << (cut - 65), 0 } : (wide){ 0, (cls_ulong)1 << (cut - 1) };
    const wide rest = cut > 64    ? (wide){ log.high & (((cls_ulong)1 << (cut - 64)) - 1), log.low }
                      : cut == 64 ? (wide){ 0, log.low }
                                  : (wide){ 0, log.low & (((cls_ulong)1 << cut) - 1) };
    const bool above = rest.high > half.high || (rest.high == half.high && rest.low >= half.low);
    const wide off = above ? wide_difference(rest, half) : wide_difference(half, rest);

    return off.high ? UINT64_MAX : off.low;
}

/* Every logarithm is farther from a tie than it may be off, so that it is rounded as the exact one. Those of
 * m 2^-n and of m share what takes long. */
START_TEST(logarithms_round_right)
{
    const bool all = getenv("CLSAMPLE_TEST_LONG") != NULL;
    const uint32_t step = all ? 1 : 1009;
    uint64_t closest = UINT64_MAX;
    uint32_t closest_m = 0, closest_n = 0;

    if (!all) printf("left out: all but every 1009th mantissa (CLSAMPLE_TEST_LONG is not set)\n");
    for (uint32_t m = 1u << 23; m < 1u << 24; m += step) {
        const uint32_t one = m > CLS_SQRT2 ? 1u << 24 : 1u << 23;
        const wide first = minus_log(m, one, 0);
        for (uint32_t n = m <= CLS_SQRT2 ? 1 : 0; n < 150; n++) {
            wide log;
            log.high = cls_mul64(CLS_LN2_LOW, n, &log.low) + CLS_LN2_HIGH * n;
            log = wide_sum(log, first); /* which is negative where m is above one: it wraps around */
            const uint64_t off = from_tie(log);
            REQUIRE(off > 2 + n, "-ln(%u 2^-%u / %u) is %llu units from a tie", (unsigned)m, (unsigned)n,
                    (unsigned)one, (unsigned long long)off);
            if (off / (2 + n) >= closest) continue;
            closest = off / (2 + n);
            closest_m = m;
            closest_n = n;
        }
    }
    printf("the closest to a tie is %.0f times as far as it may be off: -ln(%u 2^-%u)\n", (double)closest,
           (unsigned)closest_m, (unsigned)closest_n);
}
END_TEST

/* ---- Random numbers ---- */

/* The known answers published with Random123: of the four words that it gives, two are used. */
START_TEST(philox)
{
    FILE *f = data_open("philox.txt");
    char line[256];
    int known = 0;

    while (fgets(line, sizeof line, f)) {
        unsigned c[4], k[2], want[4];
        if (line[0] == '#') continue;
        ck_assert_int_eq(sscanf(line, "%x %x %x %x %x %x %x %x %x %x", &c[0], &c[1], &c[2], &c[3], &k[0],
                                &k[1], &want[0], &want[1], &want[2], &want[3]),
                         10);
        ck_assert_uint_eq(cls_philox(c[0], c[1], c[2], c[3], k[0], k[1]), (uint64_t)want[1] << 32 | want[0]);
        known++;
    }
    fclose(f);
    ck_assert_int_eq(known, 3);
    ck_assert_uint_eq(cls_random(0, 0, 0, 0, 0), 0xe169c58d6627e8d5u);
    ck_assert_uint_eq(cls_random(1, 2, 3, 4, 5), cls_philox(3, 4, 5, 0, 1, 2));
}
END_TEST

/* ---- The same in every mode ---- */

/* a / b in integers. */
static float fraction(uint32_t a, uint32_t b)
{
    return cls_real_float(cls_real_quotient(normal(a, 0, false), normal(b, 0, false)));
}

/* A plan as 0.1.0 had it, when there were four filters, each in a place of its own. PLANS_DIGEST is that of
 * these, made out of today's ops. */
typedef struct plan_1 {
    uint32_t flags, top_k, top_p_lo, top_p_hi, seed_lo, seed_hi, step_lo, step_hi, stream;
    float min_p_hi, min_p_lo, band;
    cls_scale filter, draw;
    float temperature, inverse;
} plan_1;
enum {
    GREEDY = 1,
    MIN_P = 2,
    MIN_P_LATE = 4,
    MIN_P_BAND = 8,
    TOP_K = 16,
    TOP_K_EXACT = 32,
    TOP_P = 64,
    TOP_P_INCLUSIVE = 128,
    SUMS = 256,
    TWO_SCALES = 512
};

/* Its band was there whether it was used or not: the temperature in force at min-p, times 1e-9. */
static float band_1(const clsample_params *p)
{
    const cls_real least = cls_clamped_temperature(0.0f);
    const cls_real in_force =
        p->rules == CLSAMPLE_RULES_LLAMA_CPP ? cls_real_of(1.0f) : cls_clamped_temperature(p->temperature);
    return cls_real_float(cls_real_rounded(cls_real_product(in_force, least), 53));
}

static void take_op(const clsample_params *p, cls_op op, plan_1 *old)
{
    const bool late = p->rules == CLSAMPLE_RULES_TRANSFORMERS || p->rules == CLSAMPLE_RULES_LLAMA_CPP;

    if (op.code == CLS_OP_MARGIN || op.code == CLS_OP_BAND) {
        old->flags |= MIN_P | (late ? MIN_P_LATE : 0u) | (op.code == CLS_OP_BAND ? MIN_P_BAND : 0u);
        old->min_p_hi = cls_float_of(op.arg[0]);
        old->min_p_lo = cls_float_of(op.arg[1]);
        old->band = band_1(p);
        ck_assert(op.arg[2] == (op.code == CLS_OP_BAND ? cls_bits_of(old->band) : 0));
    } else if (op.code == CLS_OP_COUNT) {
        old->flags |= TOP_K | (op.arg[1] ? TOP_K_EXACT : 0u);
        old->top_k = op.arg[0];
    } else if (op.code == CLS_OP_MASS) {
        old->flags |= TOP_P | (op.arg[2] ? TOP_P_INCLUSIVE : 0u);
        old->top_p_lo = op.arg[0];
        old->top_p_hi = op.arg[1];
    } else {
        ck_assert_uint_eq(op.code, CLS_OP_SCALE);
        old->flags |= TWO_SCALES;
    }
}

static plan_1 plan_as_it_was(const clsample_params *p, const cls_plan_row *plan)
{
    plan_1 old = { .flags = (plan->flags & CLS_PLAN_GREEDY ? GREEDY : 0u) |
                            (plan->flags & CLS_PLAN_SUMS ? SUMS : 0u),
                   .seed_lo = plan->seed_lo,
                   .seed_hi = plan->seed_hi,
                   .step_lo = plan->step_lo,
                   .step_hi = plan->step_hi,
                   .stream = plan->stream,
                   .filter = plan->scale,
                   .draw = plan->draw,
                   .temperature = plan->temperature,
                   .inverse = plan->inverse };

    ck_assert((plan->flags & ~(CLS_PLAN_GREEDY | CLS_PLAN_SUMS)) == 0);
    for (uint32_t i = 0; i < plan->n_ops; i++)
        take_op(p, plan->op[i], &old);
    return old;
}

/* Parameters of every size, denormals too. */
static clsample_params any_params(uint64_t *state, uint32_t i, uint64_t r)
{
    clsample_params p = CLSAMPLE_PARAMS_INIT;
    const uint32_t t = (uint32_t)random_bits(state), q = (uint32_t)random_bits(state);

    p.temperature = cls_float_of(r & 1 ? 0x3c000000u + t % 0x05000000u : t % 0x7f800000u);
    p.min_p = cls_float_of(r & 2   ? (uint32_t)random_bits(state) % 0x3f800001u
                           : r & 4 ? 0x3f800000u - (uint32_t)(r >> 8) % 30000u
                                   : cls_bits_of(fraction(i % 100, 100)));
    p.top_p = cls_float_of(r & 8 ? 1 + q % 0x3f800000u : 0x3f800000u - q % 0x01000000u);
    p.top_k = (uint32_t)(r >> 32) % 100;
    p.rules = (uint32_t)(r >> 4) % 4;
    return p;
}

/* What a plan makes of them. */
static uint64_t plans_digest(void)
{
    uint64_t state = 2, hash = 0xcbf29ce484222325u;

    for (uint32_t i = 0; i < 100000; i++) {
        const uint64_t r = random_bits(&state);
        const clsample_params p = any_params(&state, i, r);
        cls_plan_row plan;
        ck_ok(cls_plan(&p, 0, 1 + (uint32_t)(r >> 12) % CLSAMPLE_MAX_VOCAB, r >> 6 & 1, &plan));
        const plan_1 old = plan_as_it_was(&p, &plan);
        hash = digest(hash, &old, sizeof old);
    }
    return hash;
}

/* All samplers, each by chance, in an order that is chance too. */
static void shuffle_samplers(uint64_t *state, clsample_params *p)
{
    uint32_t n = 0;

    for (uint8_t s = 1; clsample_sampler_info(s - 1u); s++) {
        if (clsample_sampler_info(s - 1u)->kind == CLSAMPLE_KIND_EDIT) continue;
        const uint32_t at = (uint32_t)random_bits(state) % (n + 1);
        p->order[n++] = p->order[at];
        p->order[at] = s;
    }
}

static uint64_t programs_digest(void)
{
    uint64_t state = 4, hash = 0xcbf29ce484222325u;

    for (uint32_t i = 0; i < 20000; i++) {
        const uint64_t r = random_bits(&state);
        clsample_params p = any_params(&state, i, r);
        cls_plan_row plan;
        p.typical_p = r & 16 ? 1.0f : cls_float_of(1 + (uint32_t)random_bits(&state) % 0x3f800000u);
        p.top_n_sigma = r & 32 ? 0.0f : cls_float_of((uint32_t)random_bits(&state) % 0x7f800000u);
        if (r & 64) p.typical_p = fraction(i % 100 + 1, 100);
        if (r & 128) shuffle_samplers(&state, &p);
        ck_ok(cls_plan(&p, 0, 1 + (uint32_t)(r >> 12) % CLSAMPLE_MAX_VOCAB, r >> 9 & 1, &plan));
        hash = digest(hash, &plan.flags, sizeof plan.flags);
        hash = digest(hash, plan.op, plan.n_ops * sizeof *plan.op);
        hash = digest(hash, &plan.scale, sizeof plan.scale);
        hash = digest(hash, &plan.draw, sizeof plan.draw);
        hash = digest(hash, &plan.temperature, sizeof plan.temperature);
        hash = digest(hash, &plan.inverse, sizeof plan.inverse);
    }
    return hash;
}

/* Logits of every kind, with weights near and far. */
static cls_check_case any_case(uint64_t *state, uint32_t i)
{
    const uint64_t r = random_bits(state);
    cls_check_case c = { .bits = (uint32_t)r, .seed = (uint32_t)random_bits(state) };
    clsample_params p = CLSAMPLE_PARAMS_INIT;
    cls_plan_row plan;

    if (i % 3) c.bits = (c.bits & 0x87ffffffu) | 0x40000000u; /* magnitudes from 2 to 2^17 */
    p.temperature = cls_float_of(0x3c000000u + (uint32_t)(r >> 16) % 0x05000000u);
    p.min_p = cls_float_of(1 + (uint32_t)random_bits(state) % 0x3f800000u);
    ck_ok(cls_plan(&p, 0, 1000, false, &plan));
    c.scale = plan.draw;
    c.min_p_hi = cls_float_of(plan.op[0].arg[0]);
    c.min_p_lo = cls_float_of(plan.op[0].arg[1]);
    c.divisor = plan.temperature;
    c.inverse = plan.inverse;
    return c;
}

/* The words of the self-check: those that 0.1.0 had, and all others. */
typedef struct word_digests {
    uint64_t first, more;
} word_digests;

static word_digests digest_words(void)
{
    static const int first[] = { CLS_CHECK_KEY,   CLS_CHECK_EXPONENT, CLS_CHECK_MANTISSA, CLS_CHECK_MASS,
                                 CLS_CHECK_MIN_P, CLS_CHECK_RANDOM,   CLS_CHECK_PRODUCT,  CLS_CHECK_RATIO,
                                 CLS_CHECK_LOG,   CLS_CHECK_FMA };
    word_digests d = { 0xcbf29ce484222325u, 0xcbf29ce484222325u };
    uint64_t state = 3;

    for (uint32_t i = 0; i < 20000; i++) {
        const cls_check_case c = any_case(&state, i);
        cls_uint words[CLS_CHECK_WORDS];
        bool is_first[CLS_CHECK_WORDS] = { false };
        cls_check_words(c, words);
        cls_check_facts(c, words);
        for (size_t w = 0; w < COUNT(first); w++) {
            d.first = digest(d.first, &words[first[w]], sizeof *words);
            is_first[first[w]] = true;
        }
        for (size_t w = 0; w < CLS_CHECK_WORDS; w++)
            if (!is_first[w]) d.more = digest(d.more, &words[w], sizeof *words);
    }
    return d;
}

/* i / 10^6, as a user may write min_p. */
static uint64_t logs_digest(void)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (uint32_t i = 1; i < 1000000; i += 7) {
        const uint64_t bits = double_bits(cls_real_log(fraction(i, 1000000)));
        hash = digest(hash, &bits, sizeof bits);
    }
    return hash;
}

START_TEST(every_mode)
{
    float_mode_set((size_t)_i);
    const uint64_t plans = plans_digest(), programs = programs_digest(), logs = logs_digest();
    const word_digests words = digest_words();
    float_mode_set(0);
    ck_assert_msg(plans == PLANS_DIGEST && programs == PROGRAMS_DIGEST && logs == LOGS_DIGEST,
                  "%s: the digests are 0x%016llx of plans, 0x%016llx of programs, 0x%016llx of logarithms",
                  float_mode[_i].name, (unsigned long long)plans, (unsigned long long)programs,
                  (unsigned long long)logs);
    ck_assert_msg(words.first == WORDS_DIGEST && words.more == MORE_WORDS_DIGEST,
                  "%s: the digests are 0x%016llx of the first words, 0x%016llx of the others",
                  float_mode[_i].name, (unsigned long long)words.first, (unsigned long long)words.more);
}
END_TEST

static Suite *real_suite(void)
{
    Suite *suite = suite_create("real");
    TCase *t = tcase_create("arithmetic");

    tcase_set_timeout(t, 0);
    tcase_add_test(t, fma_rounds_once);
    tcase_add_test(t, fma_known);
    tcase_add_test(t, near_ties);
    tcase_add_test(t, single_operations);
    tcase_add_test(t, sign_of_zeros);
    tcase_add_test(t, known_logarithms);
    tcase_add_test(t, logarithms_round_right);
    tcase_add_test(t, philox);
    tcase_add_loop_test(t, every_mode, 0, (int)COUNT(float_mode));
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(real_suite());

    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
