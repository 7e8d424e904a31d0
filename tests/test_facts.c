/* SPDX-License-Identifier: Apache-2.0 */
/* Edits, moments, means and the nearness to a mean, on the host: known answers, the ends of what floats can
 * be, sums that no order changes, and errors within the bounds of docs/design.md. */
#include "common.h"
#include "internal.h"

#include "../cl/shared/facts.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TILE 256u
#define MANY CLSAMPLE_MAX_VOCAB

static cls_uint key_of(float x)
{
    return cls_key(cls_bits_of(x));
}

static cls_uint largest_key(const float *x, uint32_t n)
{
    cls_uint key = CLS_KEY_MASKED;
    for (uint32_t i = 0; i < n; i++)
        key = CLS_MAX(key, key_of(x[i]));
    return key;
}

/* ---- Edits ---- */

START_TEST(edits)
{
    static const cls_uint known[][3] = {
        /* bits, add, what comes out */
        { 0x3f800000u, 0x40000000u, 0x40400000u }, /* 1 + 2 */
        { 0x3f800000u, 0x33800000u, 0x3f800000u }, /* ties: to even */
        { 0x3f800001u, 0x33800000u, 0x3f800002u },
        { 0x3f800000u, 0xbf800000u, 0x00000000u }, /* to 0, never -0 */
        { 0x80000000u, 0x80000000u, 0x00000000u },
        { 0x3f800000u, 0x00000000u, 0x3f800000u },
        { 0xff800000u, 0x3f800000u, 0xff800000u }, /* masked: stays */
        { 0xff800000u, 0xff800000u, 0xff800000u },
        { 0x7fc00000u, 0x3f800000u, 0x7fc00000u },
        { 0xffc00001u, 0xff800000u, 0xffc00001u },
        { 0x3f800000u, 0xff800000u, 0xff800000u }, /* banned */
        { 0x7f800000u, 0xff800000u, 0xff800000u },
        { 0x7f800000u, 0xff7fffffu, 0x7f800000u }, /* +inf stays */
        { 0x7f7fffffu, 0x7f7fffffu, 0x7f7fffffu }, /* nothing else is infinite */
        { 0xff7fffffu, 0xff7fffffu, 0xff7fffffu },
        { 0xff7fffffu, 0x7f7fffffu, 0x00000000u },
        { 0x7f7fffffu, 0x73000000u, 0x7f7fffffu },
        { 0x00000001u, 0x00000001u, 0x00000000u }, /* below 2^-60: 0 */
        { 0x217fffffu, 0x217fffffu, 0x00000000u },
        { 0x21800000u, 0x217fffffu, 0x21800000u },
        { 0x3f800000u, 0x807fffffu, 0x3f800000u },
        { 0x21800001u, 0xa1800000u, 0x16000000u }, /* the least sum: 2^-83 */
    };

    for (size_t i = 0; i < COUNT(known); i++)
        ck_assert_msg(cls_edited(known[i][0], known[i][1]) == known[i][2], "%08x + %08x is %08x, not %08x",
                      (unsigned)known[i][0], (unsigned)known[i][1],
                      (unsigned)cls_edited(known[i][0], known[i][1]), (unsigned)known[i][2]);
}
END_TEST

/* ---- Moments ---- */

START_TEST(fixed_points)
{
    static const struct {
        cls_uint bits, reference;
        int x;
    } known[] = {
        { 0x3f800000u, 127, 0x800000 },  { 0xbf800000u, 127, -0x800000 }, { 0x3fffffffu, 127, 0xffffff },
        { 0x3fffffffu, 128, 0x7fffff },  { 0xbfffffffu, 128, -0x7fffff }, /* towards 0 */
        { 0x3f800000u, 150, 1 },         { 0x3f800000u, 151, 0 },         { 0x3f800000u, 254, 0 },
        { 0x00000001u, 1, 1 },           { 0x807fffffu, 1, -0x7fffff },   { 0x00800000u, 1, 0x800000 },
        { 0x00000001u, 2, 0 },           { 0x00000000u, 1, 0 },           { 0x80000000u, 254, 0 },
        { 0xff7fffffu, 254, -0xffffff },
    };

    for (size_t i = 0; i < COUNT(known); i++)
        ck_assert_int_eq(cls_fixed(known[i].bits, known[i].reference), known[i].x);
    ck_assert_uint_eq(cls_magnitude_exponent(0), 1);
    ck_assert_uint_eq(cls_magnitude_exponent(0x807fffffu), 1);
    ck_assert_uint_eq(cls_magnitude_exponent(0x00800000u), 1);
    ck_assert_uint_eq(cls_magnitude_exponent(0xff7fffffu), 254);
}
END_TEST

/* The moments of n logits, tile by tile; `tile` takes them if it is not NULL. */
static cls_moments moments_of(const float *x, uint32_t n, cls_moments *tile)
{
    const uint32_t tiles = (n + TILE - 1) / TILE;
    cls_moments *all = tile ? tile : test_alloc(tiles * sizeof *all), row = { 0, 1, 0, 0 };

    for (uint32_t t = 0; t < tiles; t++) {
        const uint32_t end = CLS_MIN(n, (t + 1) * TILE);
        all[t] = (cls_moments){ 0, 1, 0, 0 };
        for (uint32_t i = t * TILE; i < end; i++)
            all[t].reference = CLS_MAX(all[t].reference, cls_magnitude_exponent(cls_bits_of(x[i])));
        for (uint32_t i = t * TILE; i < end; i++)
            cls_moments_take(&all[t], cls_bits_of(x[i]));
        row.reference = CLS_MAX(row.reference, all[t].reference);
    }
    for (uint32_t t = 0; t < tiles; t++)
        cls_moments_add(&row, &all[t]);
    if (!tile) free(all);
    return row;
}

static cls_uint threshold(const float *x, uint32_t n, float deviations)
{
    const cls_moments row = moments_of(x, n, NULL);
    return cls_sigma_key(largest_key(x, n), &row, cls_bits_of(deviations));
}

static double deviation(const float *x, uint32_t n)
{
    double mean = 0, squares = 0;

    for (uint32_t i = 0; i < n; i++)
        mean += (double)x[i] / n;
    for (uint32_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    return sqrt(squares);
}

START_TEST(known_deviations)
{
    static const float pair[] = { 1, -1 }, four[] = { 1, 2, 3, 4 }, wide[] = { FLT_MAX, -FLT_MAX };
    static const float tiny[] = { 0x1p-149f, 0, -0x1p-140f }, mixed[] = { FLT_MAX, 1, 0x1p-149f, 0 };
    static const float least[] = { 0x1p-60f, -0x1p-60f }, less[] = { 0x1.fffffep-61f, -0x1.fffffep-61f };
    static const float same[] = { 0.7f, 0.7f, 0.7f, 0.7f, 0.7f }, one[] = { 3 };
    cls_moments row = moments_of(pair, 2, NULL);

    ck_assert_uint_eq(cls_bits_of(cls_sigma(&row)), cls_bits_of(1.0f));
    ck_assert_uint_eq(threshold(pair, 2, 1.0f), key_of(0));
    ck_assert_uint_eq(threshold(pair, 2, 2.0f), key_of(-1));
    row = moments_of(four, 4, NULL);
    ck_assert_uint_eq(cls_bits_of(cls_sigma(&row)), cls_bits_of(1.118033988749895f));
    ck_assert_uint_eq(threshold(four, 4, 1.0f), key_of(4 - 1.118033988749895f));
    ck_assert_uint_eq(threshold(wide, 2, 1.0f), key_of(0));
    ck_assert_uint_eq(threshold(wide, 2, 2.0f), CLS_KEY_LOWEST);       /* the product is infinite */
    ck_assert_uint_eq(threshold(wide, 2, 0x1p-126f), key_of(FLT_MAX)); /* a factor below 2^-60 is 0 */
    ck_assert_uint_eq(threshold(mixed, 4, 1.0f), key_of((float)(FLT_MAX * (1 - sqrt(3.0) / 4))));
    /* No deviation, or one below 2^-60: the ties of the largest. */
    ck_assert_uint_eq(threshold(same, 5, 3.0f), key_of(0.7f));
    ck_assert_uint_eq(threshold(tiny, 3, FLT_MAX), key_of(0x1p-149f));
    ck_assert_uint_eq(threshold(less, 2, 1.0f), key_of(less[0]));
    ck_assert_uint_eq(threshold(least, 2, 1.0f), key_of(0));
    /* Nothing happens. */
    ck_assert_uint_eq(threshold(one, 1, 1.0f), CLS_KEY_LOWEST);
    ck_assert_uint_eq(cls_sigma_key(CLS_KEY_INFINITY, &row, 0x3f800000u), CLS_KEY_LOWEST);
}
END_TEST

/* As many as there can be, as large as they can be. */
START_TEST(largest_moments)
{
    float *x = test_alloc(MANY * sizeof *x);

    for (uint32_t i = 0; i < MANY; i++)
        x[i] = i % 2 ? -FLT_MAX : FLT_MAX;
    ck_assert_uint_eq(threshold(x, MANY, 1.0f), key_of(0));
    for (uint32_t i = 0; i < MANY; i++)
        x[i] = FLT_MAX;
    const cls_moments row = moments_of(x, MANY, NULL);
    ck_assert_int_eq(row.sum, ((cls_long)0xffffff << 8) * MANY);
    ck_assert_uint_eq(row.squares, ((cls_ulong)0xffffff * 0xffffff) * (MANY / 64));
    ck_assert_uint_eq(threshold(x, MANY, 1.0f), key_of(FLT_MAX));
    x[MANY - 1] = -FLT_MAX; /* 2 sqrt((n - 1) / n^2) */
    ck_assert_float_eq_tol(cls_float_of(cls_key_bits(threshold(x, MANY, 1.0f))) / FLT_MAX, 1 - 0x1p-9f,
                           1e-6f);
    free(x);
}
END_TEST

/* Rows of all kinds. Returns their length; x has room for MANY. */
static uint32_t make_row(float *x, test_rng *r, int i)
{
    const uint32_t n = i % 8 == 7 ? 1 + rng_below(r, 200000) : 1 + rng_below(r, 5000);
    const double offset = i % 3 == 0 ? 0 : (rng_unit(r) - 0.5) * (i % 3 == 1 ? 20 : 2000);
    const double width = i % 5 == 4 ? pow(10, 12 * rng_unit(r) - 6) : 1 + 7 * rng_unit(r);

    for (uint32_t k = 0; k < n; k++)
        x[k] = (float)(offset + width * rng_normal(r));
    if (i % 4 == 3) x[rng_below(r, n)] += (float)(width * 30);
    return n;
}

/* docs/design.md: in units of 2^(reference - 150) cutting each logit moves the deviation by less than 1,
 * cutting the squares of tiles by 8 sqrt(tiles / n), cutting their sums by 0.1; roundings add 2^-23 of it. */
START_TEST(deviations_are_right)
{
    test_rng r = { 1 };
    float *x = test_alloc(MANY * sizeof *x);
    double worst = 0, worst_part = 0;

    for (int i = 0; i < 400; i++) {
        const uint32_t n = make_row(x, &r, i);
        const cls_moments row = moments_of(x, n, NULL);
        const double want = deviation(x, n), got = (double)cls_sigma(&row), off = fabs(got - want);
        const double tiles = (n + TILE - 1) / TILE, unit = ldexp(1, (int)row.reference - 150);
        const double bound = unit * (1.1 + 8 * sqrt(tiles / n)) + want * 0x1p-23;
        REQUIRE(off <= bound, "row %d of %u: %.9g instead of %.9g, off by %.3g of the bound", i, (unsigned)n,
                got, want, off / bound);
        worst_part = CLS_MAX(worst_part, off / bound);
        if (want > unit * 0x1p20) worst = CLS_MAX(worst, off / want);
    }
    printf("deviations: off by %.2g where they are wide, and by %.2g of the bound\n", worst, worst_part);
    free(x);
}
END_TEST

/* Shares of the tiles in any order, added up at the row's reference. */
START_TEST(moments_of_shares)
{
    test_rng r = { 2 };
    float *x = test_alloc(MANY * sizeof *x);
    cls_moments *tile = test_alloc(MANY / TILE * sizeof *tile);

    for (int i = 0; i < 100; i++) {
        const uint32_t n = make_row(x, &r, i), tiles = (n + TILE - 1) / TILE;
        for (uint32_t k = 0; k < n; k++)
            if (i % 2) x[k] *= (float)ldexp(1, (int)rng_below(&r, 200) - 100);
        const cls_moments want = moments_of(x, n, tile);
        cls_moments got[5] = { { 0 } };
        for (size_t s = 0; s < COUNT(got); s++)
            got[s].reference = want.reference;
        for (uint32_t t = tiles; t > 0; t--) {
            const uint32_t k = rng_below(&r, t);
            cls_moments_add(&got[rng_below(&r, COUNT(got))], &tile[k]);
            tile[k] = tile[t - 1];
        }
        for (size_t s = 1; s < COUNT(got); s++) {
            got[0].count += got[s].count;
            got[0].sum += got[s].sum;
            got[0].squares += got[s].squares;
        }
        ck_assert_uint_eq(got[0].count, n);
        ck_assert_int_eq(got[0].sum, want.sum);
        ck_assert_uint_eq(got[0].squares, want.squares);
    }
    free(x);
    free(tile);
}
END_TEST

START_TEST(roots)
{
    test_rng r = { 3 };

    for (int i = 0; i < 100000; i++) {
        const cls_ulong x = rng_next(&r) >> i % 64, root = cls_root(x);
        REQUIRE(root * root <= x && (root == UINT32_MAX || (root + 1) * (root + 1) > x), "root of %llx",
                (unsigned long long)x);
    }
    ck_assert_uint_eq(cls_root(0), 0);
    ck_assert_uint_eq(cls_root(UINT64_MAX), UINT32_MAX);
}
END_TEST

/* ---- The mean ---- */

static cls_scale scale_of(float temperature)
{
    const double c = 1.4426950408889634 / (double)temperature;
    const cls_scale s = { (float)c, (float)(c - (double)(float)c), (float)(0x1p16 / c), (float)(0x1p30 / c) };
    return s;
}

static cls_mean mean_of(const float *x, uint32_t n, cls_scale s)
{
    const int row_exponent = cls_weigh(largest_key(x, n), s).exponent;
    cls_mean mean = { 0, 0 };

    for (uint32_t b = 0; b < n; b += CLS_BLOCK) {
        const uint32_t end = CLS_MIN(n, b + CLS_BLOCK);
        const int exponent = cls_weigh(largest_key(x + b, end - b), s).exponent;
        cls_ulong weighted = 0;
        cls_uint units = 0;
        for (uint32_t i = b; i < end; i++) {
            const cls_weight w = cls_weigh(key_of(x[i]), s);
            weighted += cls_weighted(w, exponent);
            units += cls_in_block(w, exponent);
        }
        cls_mean_add_block(&mean, weighted, units, (cls_uint)(row_exponent - exponent));
    }
    return mean;
}

static float gap_of(const float *x, uint32_t n, float temperature)
{
    const cls_scale s = scale_of(temperature);
    const cls_mean mean = mean_of(x, n, s);
    return cls_float_of(cls_mean_gap(&mean, largest_key(x, n), s, temperature * 0.693147181f));
}

START_TEST(known_means)
{
    static const float one[] = { 3.7f }, same[] = { 0.3f, 0.3f, 0.3f }, far[] = { 1e4f, -1e4f, -FLT_MAX };
    static const float half[] = { 0, -0.693147181f }, tiny[] = { 0x1p-149f, -0x1p-149f };

    ck_assert_uint_eq(cls_bits_of(gap_of(one, 1, 0.8f)), 0);
    ck_assert_uint_eq(cls_bits_of(gap_of(same, 3, 0.7f)), 0);
    ck_assert_uint_eq(cls_bits_of(gap_of(far, 3, 1.0f)), 0);
    ck_assert_uint_eq(cls_bits_of(gap_of(tiny, 2, 1.0f)), 0);
    ck_assert_float_eq_tol(gap_of(half, 2, 1.0f), 0.693147181f / 3, 1e-5f);
}
END_TEST

/* Sums as large as they can be: all weights are the largest mantissa, or lie one and more digits below it. */
START_TEST(largest_means)
{
    const cls_scale s = scale_of(1.0f);
    float *x = test_alloc(MANY * sizeof *x), most = 0;

    for (int i = 0; i < 5000; i++)
        if (cls_weigh(key_of((float)i * 0.013f), s).mantissa > cls_weigh(key_of(most), s).mantissa)
            most = (float)i * 0.013f;
    for (float step = 0; step < 3; step++) {
        for (uint32_t i = 0; i < MANY; i++)
            x[i] = most - (i % CLS_BLOCK ? step : 0) * 0.693147181f;
        const cls_mean mean = mean_of(x, MANY, s);
        ck_assert_uint_gt(mean.units, (cls_ulong)1 << 59);
        ck_assert_uint_lt(mean.units, (cls_ulong)1 << 62);
        ck_assert_float_eq_tol(gap_of(x, MANY, 1.0f),
                               step * 0.693147181f * 63 / (float)(63 + ldexp(1, (int)step)), 2e-5f);
    }
    free(x);
}
END_TEST

/* docs/design.md: the bound is 9e-5 of a digit and 6e-6 of the gap. */
START_TEST(means_are_right)
{
    test_rng r = { 4 };
    float *x = test_alloc(MANY * sizeof *x);
    double worst = 0, worst_digits = 0;

    for (int i = 0; i < 400; i++) {
        const float temperature = (float)(0.1 + 4.9 * rng_unit(&r));
        uint32_t n = make_row(x, &r, i);
        const double top = (double)cls_float_of(cls_key_bits(largest_key(x, n)));
        double sum = 0, weighted = 0;
        for (uint32_t k = 0; k < n; k++) {
            const double weight = exp(((double)x[k] - top) / (double)temperature);
            sum += weight;
            weighted += weight * (top - (double)x[k]);
        }
        const double want = weighted / sum, got = (double)gap_of(x, n, temperature);
        const double digit = (double)temperature * 0.6931471805599453, off = fabs(got - want);
        const double bound = digit * 9e-5 + want * 6e-6;
        REQUIRE(off <= bound, "row %d of %u: %.9g instead of %.9g, off by %.3g of the bound", i, (unsigned)n,
                got, want, off / bound);
        worst_digits = CLS_MAX(worst_digits, off / digit);
        if (want > digit) worst = CLS_MAX(worst, off / want);
    }
    printf("means: off by %.2g digits; by %.2g where they are a digit or more below the largest\n",
           worst_digits, worst);
    free(x);
}
END_TEST

/* ---- Nearness ---- */

START_TEST(known_nearness)
{
    const cls_uint top = key_of(3), gap = cls_bits_of(2);

    ck_assert_uint_eq(cls_nearness(key_of(1), top, gap), CLS_BITS_INFINITY);
    ck_assert_uint_eq(cls_nearness(top, top, gap), CLS_BITS_INFINITY - cls_bits_of(2));
    ck_assert_uint_eq(cls_nearness(key_of(-1), top, gap), CLS_BITS_INFINITY - cls_bits_of(2));
    ck_assert_uint_eq(cls_nearness(key_of(1.5f), top, gap), CLS_BITS_INFINITY - cls_bits_of(0.5f));
    ck_assert_uint_eq(cls_nearness(key_of(-FLT_MAX), key_of(FLT_MAX), 0), 0);
    ck_assert_uint_eq(cls_nearness(key_of(0x1p-149f), key_of(0x1p-61f), 0), CLS_BITS_INFINITY);
    ck_assert_uint_eq(cls_nearness(key_of(-0.0f), key_of(0), 0), CLS_BITS_INFINITY);
}
END_TEST

static void check_interval(cls_uint top, cls_uint gap, cls_uint rank)
{
    cls_uint low, high;

    cls_nearness_interval(top, gap, rank, &low, &high);
    REQUIRE(low >= CLS_KEY_LOWEST && high <= top && low <= high + 1,
            "top %08x gap %08x rank %08x: %08x to %08x", (unsigned)top, (unsigned)gap, (unsigned)rank,
            (unsigned)low, (unsigned)high);
    if (low <= high)
        REQUIRE(cls_nearness(low, top, gap) >= rank && cls_nearness(high, top, gap) >= rank,
                "top %08x gap %08x rank %08x: an end is too far", (unsigned)top, (unsigned)gap,
                (unsigned)rank);
    REQUIRE((low == CLS_KEY_LOWEST || cls_nearness(low - 1, top, gap) < rank) &&
                (high == top || cls_nearness(high + 1, top, gap) < rank),
            "top %08x gap %08x rank %08x: an end is too near", (unsigned)top, (unsigned)gap, (unsigned)rank);
}

/* Pairs of a largest logit and a gap, of every size. */
static void make_gap(test_rng *r, int i, cls_uint *top, cls_uint *gap)
{
    const double spread = i % 3 ? 5 : pow(10, 20 * rng_unit(r) - 10);

    *top = key_of((float)(i % 4 ? spread * rng_normal(r) : 1000 * rng_normal(r)));
    *gap = i % 16 == 0 ? 0 : cls_bits_of((float)(spread * rng_unit(r)));
}

START_TEST(intervals)
{
    test_rng r = { 5 };

    for (int i = 0; i < 5000; i++) {
        cls_uint top, gap;
        make_gap(&r, i, &top, &gap);
        const cls_uint key = CLS_KEY_LOWEST + (cls_uint)(rng_unit(&r) * (top - CLS_KEY_LOWEST));
        const cls_uint rank = cls_nearness(i % 2 ? top - rng_below(&r, 1000) : key, top, gap);
        check_interval(top, gap, rank);
        check_interval(top, gap, rank + 1);
        check_interval(top, gap, CLS_BITS_INFINITY);
        check_interval(top, gap, 0);
    }
    check_interval(key_of(FLT_MAX), 0, 0);
    check_interval(key_of(FLT_MAX), cls_bits_of(FLT_MAX), 1);
    check_interval(CLS_KEY_LOWEST, 0, CLS_BITS_INFINITY);
}
END_TEST

/* Up to the mean nearness never falls from one float to the next, and from there on it never grows. */
START_TEST(nearness_has_one_top)
{
    test_rng r = { 6 };

    for (int i = 0; i < 500; i++) {
        cls_uint top, gap, low, high;
        make_gap(&r, i, &top, &gap);
        cls_nearness_interval(top, gap, CLS_BITS_INFINITY - cls_bits_of(cls_float_of(gap) * 1e-6f), &low,
                              &high);
        const cls_uint begin = CLS_MAX(low, CLS_KEY_LOWEST + 300) - 300;
        cls_uint before = 0;
        int falls = 0;
        for (cls_uint key = begin; key <= top && key < begin + 600; key++) {
            const cls_uint rank = cls_nearness(key, top, gap);
            REQUIRE(!falls || rank <= before, "top %08x gap %08x: nearness has two tops", (unsigned)top,
                    (unsigned)gap);
            falls = falls || rank < before;
            before = rank;
        }
    }
}
END_TEST

static Suite *facts_suite(void)
{
    Suite *suite = suite_create("facts");
    TCase *t = tcase_create("facts");

    tcase_set_timeout(t, 0);
    tcase_add_test(t, edits);
    tcase_add_test(t, fixed_points);
    tcase_add_test(t, known_deviations);
    tcase_add_test(t, largest_moments);
    tcase_add_test(t, deviations_are_right);
    tcase_add_test(t, moments_of_shares);
    tcase_add_test(t, roots);
    tcase_add_test(t, known_means);
    tcase_add_test(t, largest_means);
    tcase_add_test(t, means_are_right);
    tcase_add_test(t, known_nearness);
    tcase_add_test(t, intervals);
    tcase_add_test(t, nearness_has_one_top);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(facts_suite());

    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
