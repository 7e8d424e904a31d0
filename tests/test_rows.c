/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are not ordinary: NaN, infinities, all masked, extreme logits and temperatures, fallbacks,
 * strides; and that a row knows nothing of its neighbours. */
#include "common.h"
#include "reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ANY (-2) /* as a token: whichever */

static clsample_result draw_one(const clsample_params *p, const float *x, uint32_t vocab)
{
    clsample_result result;

    host_draw(p, 1, x, 1, vocab, &result);
    return result;
}

static void check_same(const clsample_result *a, const clsample_result *b, uint32_t rows, const char *what)
{
    for (uint32_t r = 0; r < rows; r++)
        ck_assert_msg(memcmp(&a[r], &b[r], sizeof a[r]) == 0,
                      "%s: row %lu: token %d status %lu logprob %a kept %lu, and %d %lu %a %lu", what,
                      (unsigned long)r, (int)a[r].token, (unsigned long)a[r].status, (double)a[r].logprob,
                      (unsigned long)a[r].kept, (int)b[r].token, (unsigned long)b[r].status,
                      (double)b[r].logprob, (unsigned long)b[r].kept);
}

/* ---- Known answers ---- */

#define MIN_F32 (-FLT_MAX) /* what frameworks write to mask a token */

/* Eight logits; the rest of the table is a draw's outcome at temperature 1 without filters. */
static const struct {
    const char *what;
    float x[8];
    uint32_t status, kept;
    int32_t token, greedy;
} known[] = {
    { "one NaN", { 1, NAN, 2, 0, 0, 0, 0, 0 }, CLSAMPLE_ROW_NAN_IGNORED, 7, ANY, 2 },
    { "NaN of either sign", { NAN, -NAN, 2, NAN, NAN, NAN, NAN, NAN }, CLSAMPLE_ROW_NAN_IGNORED, 1, 2, 2 },
    { "NaN and -inf", { NAN, -INFINITY, NAN, NAN, NAN, NAN, -4, NAN }, CLSAMPLE_ROW_NAN_IGNORED, 1, 6, 6 },
    { "all NaN", { NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN }, CLSAMPLE_ROW_NO_TOKEN, 0, -1, -1 },
    { "all -inf",
      { -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY },
      CLSAMPLE_ROW_NO_TOKEN,
      0,
      -1,
      -1 },
    { "NaN and -inf, no token",
      { -INFINITY, NAN, -INFINITY, -INFINITY, NAN, -INFINITY, -INFINITY, -INFINITY },
      CLSAMPLE_ROW_NO_TOKEN,
      0,
      -1,
      -1 },
    { "+inf takes all", { 1, 3e38f, 2, INFINITY, 0, NAN, 0, -INFINITY }, CLSAMPLE_ROW_NAN_IGNORED, 1, 3, 3 },
    { "three +inf", { INFINITY, FLT_MAX, 2, INFINITY, 0, INFINITY, 0, 0 }, CLSAMPLE_ROW_OK, 3, ANY, 0 },
    { "one far above", { 3e38f, -3e38f, 2e38f, 0, 0, 0, 0, 0 }, CLSAMPLE_ROW_OK, 8, 0, 0 },
    { "masked by the lowest float",
      { MIN_F32, MIN_F32, MIN_F32, 5, MIN_F32, MIN_F32, MIN_F32, MIN_F32 },
      CLSAMPLE_ROW_OK,
      8,
      3,
      3 },
    { "all at the lowest float",
      { MIN_F32, MIN_F32, MIN_F32, MIN_F32, MIN_F32, MIN_F32, MIN_F32, MIN_F32 },
      CLSAMPLE_ROW_OK,
      8,
      ANY,
      0 },
    { "only one above -inf, and it the lowest",
      { -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, MIN_F32, -INFINITY, -INFINITY },
      CLSAMPLE_ROW_OK,
      1,
      5,
      5 },
    { "largest half", { -65504, 65504, -65504, 0, 0, 65500, 0, 0 }, CLSAMPLE_ROW_OK, 8, ANY, 1 },
    { "zeros of either sign", { -0.0f, 0.0f, -0.0f, 0.0f, -1, -1, -1, -1 }, CLSAMPLE_ROW_OK, 8, ANY, 0 },
    { "denormals in order",
      { 1e-45f, 0, 4e-45f, 3e-45f, -1e-45f, 1e-45f, 0, -0.0f },
      CLSAMPLE_ROW_OK,
      8,
      ANY,
      2 },
    { "negative denormals",
      { -4e-45f, -3e-45f, -1e-40f, -1e-38f, -4e-45f, -5e-39f, -1, -1 },
      CLSAMPLE_ROW_OK,
      8,
      ANY,
      1 },
    { "a denormal above -0", { -0.0f, -1e-45f, 1e-45f, 0, 0, 0, 0, 0 }, CLSAMPLE_ROW_OK, 8, ANY, 2 },
};

START_TEST(known_rows)
{
    const float *x = known[_i].x;
    const uint32_t steps = test_scaled("known_rows steps", 40, 5, 5);
    clsample_params p = params_default(), greedy = params_default();
    ref_row ref;

    greedy.temperature = 0.0f;
    const clsample_result g = draw_one(&greedy, x, 8);
    ck_assert_msg(g.token == known[_i].greedy, "%s: greedy %d", known[_i].what, (int)g.token);
    ck_assert_msg(g.status == known[_i].status, "%s: greedy status %lu", known[_i].what,
                  (unsigned long)g.status);
    ck_assert_uint_eq(g.kept, known[_i].greedy < 0 ? 0 : 1);
    ck_assert_float_eq(g.logprob, known[_i].greedy < 0 ? -INFINITY : 0.0f);

    ck_assert(ref_open(&ref, x, 8));
    for (p.step = 0; p.step < steps; p.step++) {
        const clsample_result d = draw_one(&p, x, 8);

        ck_assert_msg(d.status == known[_i].status, "%s: status %lu", known[_i].what,
                      (unsigned long)d.status);
        ck_assert_msg(d.kept == known[_i].kept, "%s: kept %lu", known[_i].what, (unsigned long)d.kept);
        ck_assert_msg(known[_i].token == ANY || d.token == known[_i].token, "%s: %d", known[_i].what,
                      (int)d.token);
        if (d.token == CLSAMPLE_NO_TOKEN) { ck_assert_float_eq(d.logprob, -INFINITY); }
        if (d.token < 0) { continue; }
        ck_assert_double_le(
            fabs((double)d.logprob - ref_logprob(&ref, &p, (ref_interval){ 0, d.kept }, (uint32_t)d.token)),
            1e-6);
    }
    ref_close(&ref);
}
END_TEST

/* The filter's view of the same rows: nothing where nothing is kept, and no NaN ever. */
START_TEST(known_rows_filtered)
{
    const float *x = known[_i].x;
    const clsample_params p = params_default();
    float masked[8], prob[8], sum = 0.0f;

    host_filter(&p, 1, x, 1, 8, CLSAMPLE_MASKED_LOGITS, masked);
    host_filter(&p, 1, x, 1, 8, CLSAMPLE_PROBABILITIES, prob);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert(!isnan(masked[i]) && prob[i] >= 0.0f && prob[i] <= 1.0f);
        ck_assert(masked[i] == -INFINITY || masked[i] == x[i]);
        ck_assert(masked[i] != -INFINITY || prob[i] == 0.0f);
        kept += masked[i] != -INFINITY;
        sum += prob[i];
    }
    ck_assert_msg(kept == known[_i].kept, "%s: %lu", known[_i].what, (unsigned long)kept);
    ck_assert_float_le(fabsf(sum - (kept ? 1.0f : 0.0f)), 1e-6f);
}
END_TEST

/* Ties are cut by id also between zeros of either sign, and denormals are no ties of 0. */
START_TEST(zeros_and_denormals_cut)
{
    static const float zeros[4] = { -0.0f, 0.0f, -0.0f, -1e-45f };
    clsample_params p = params_of(1.0f, 0.0f, 1, 1.0f, CLSAMPLE_RULES_LLAMA_CPP);
    clsample_result r = draw_one(&p, zeros, 4);

    ck_assert_int_eq(r.token, 0);
    ck_assert_uint_eq(r.kept, 1);
    p.rules = CLSAMPLE_RULES_SEED;
    r = draw_one(&p, zeros, 4);
    ck_assert_uint_eq(r.kept, 3);
    p.top_k = 3;
    p.rules = CLSAMPLE_RULES_VLLM;
    r = draw_one(&p, zeros, 4);
    ck_assert_uint_eq(r.kept, 3);
}
END_TEST

/* Every filter leaves the tokens at +inf, and them alone, to share the draw. */
START_TEST(infinite_with_filters)
{
    static const float x[6] = { INFINITY, 3e38f, INFINITY, 0.0f, NAN, -INFINITY };
    clsample_params p = params_of(0.5f, 0.1f, _i % 2 ? 2 : 0, _i / 2 ? 0.9f : 1.0f, CLSAMPLE_RULES_SEED);
    const uint32_t steps = test_scaled("infinite_with_filters steps", 40, 5, 5);
    uint32_t seen[6] = { 0 };

    for (p.rules = 0; p.rules < 4; p.rules++) {
        for (p.step = 0; p.step < steps; p.step++) {
            const clsample_result r = draw_one(&p, x, 6);

            ck_assert_msg(r.token == 0 || r.token == 2, "rules %lu: %d", (unsigned long)p.rules,
                          (int)r.token);
            ck_assert_uint_le(r.kept, 2);
            seen[r.token]++;
        }
    }
    ck_assert(seen[0] > 0 && seen[2] > 0);
}
END_TEST

/* ---- Temperatures ---- */

/* Near 0 the best token has all the mass, ties share it; and nothing overflows. */
START_TEST(tiny_temperature)
{
    static const float t[] = { 1e-9f, 1e-30f, 1e-45f, 1e-6f };
    static const float x[6] = { -3.0f, 7.25f, 7.24f, 7.25f, -1e30f, 2.0f };
    clsample_params p = params_of(t[_i], 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);
    const uint32_t steps = test_scaled("tiny_temperature steps", 20, 8, 6);
    uint32_t seen[6] = { 0 };

    for (p.rules = 0; p.rules < 4; p.rules++) {
        for (p.step = 0; p.step < steps; p.step++) {
            const clsample_result r = draw_one(&p, x, 6);

            ck_assert_uint_eq(r.kept, 6);
            ck_assert_msg(r.token == 1 || r.token == 3, "T %g drew %d", (double)t[_i], (int)r.token);
            ck_assert_float_le(fabsf(r.logprob - logf(0.5f)), 1e-6f);
            seen[r.token]++;
        }
    }
    ck_assert(seen[1] > 0 && seen[3] > 0);
}
END_TEST

/* As the temperature grows all live tokens become equally probable. */
START_TEST(huge_temperature)
{
    static const float t[] = { 1e9f, 1e12f, FLT_MAX };
    static const float x[6] = { -3.0f, 7.25f, 80.0f, -INFINITY, 0.0f, 2.0f };
    clsample_params p = params_of(t[_i], 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);
    const uint32_t steps = test_scaled("huge_temperature steps", 100, 40, 40);
    uint32_t seen[6] = { 0 };

    for (p.step = 0; p.step < steps; p.step++) {
        const clsample_result r = draw_one(&p, x, 6);

        ck_assert_uint_eq(r.kept, 5);
        ck_assert_int_ne(r.token, 3);
        ck_assert_float_le(fabsf(r.logprob - logf(0.2f)), 1e-6f);
        seen[r.token]++;
    }
    /* A token of probability 1/5 is missed in 100 draws once in 5e9, in 40 once in 7,500. */
    ck_assert(seen[0] && seen[1] && seen[2] && seen[4] && seen[5]);
}
END_TEST

START_TEST(zero_temperature_is_greedy)
{
    enum { ROWS = 14, VOCAB = 333 };
    float *x = test_alloc(ROWS * VOCAB * sizeof *x);
    clsample_params p = params_of(0.0f, 0.3f, 7, 0.5f, CLSAMPLE_RULES_LLAMA_CPP), g = params_default();
    clsample_result zero[ROWS], flag[ROWS];
    ref_row ref;

    g.flags = CLSAMPLE_GREEDY;
    g.seed = 99;
    for (uint32_t r = 0; r < ROWS; r++)
        row_random(x + r * VOCAB, VOCAB, (test_shape)(r % SHAPE_COUNT), 40 + r);
    host_draw(&p, 1, x, ROWS, VOCAB, zero);
    host_draw(&g, 1, x, ROWS, VOCAB, flag);
    check_same(zero, flag, ROWS, "temperature 0 and CLSAMPLE_GREEDY");
    for (uint32_t r = 0; r < ROWS; r++) {
        ck_assert(ref_open(&ref, x + r * VOCAB, VOCAB));
        ck_assert_int_eq(zero[r].token, (int32_t)ref.order[0]);
        ck_assert_uint_eq(zero[r].kept, 1);
        ref_close(&ref);
    }
    free(x);
}
END_TEST

/* ---- Fallback ---- */

enum { F_ROWS = 6, F_VOCAB = 70 };

/* Rows 1 and 2 are masked, 3 is all NaN, 4 is masked here and in the fallback; 0 and 5 are fine. */
static void fallback_rows(float *x, float *other)
{
    for (uint32_t i = 0; i < F_ROWS * F_VOCAB; i++) {
        const uint32_t r = i / F_VOCAB;

        x[i] = r == 3 ? NAN : r >= 1 && r <= 4 ? -INFINITY : 0.01f * (float)(i % 37);
        other[i] = r == 4 ? -INFINITY : 0.1f * (float)(i % 23);
    }
    other[1 * F_VOCAB + 5] = NAN;
    other[2 * F_VOCAB] = -INFINITY;
}

/* The fallback draws what its own logits would without filters; what `p` filters in good rows stays
 * filtered. */
static void check_fallback(const clsample_params *p, const clsample_logits *in, const float *x,
                           const float *other)
{
    static const uint32_t status[F_ROWS] = { CLSAMPLE_ROW_OK,       CLSAMPLE_ROW_FALLBACK,
                                             CLSAMPLE_ROW_FALLBACK, CLSAMPLE_ROW_FALLBACK,
                                             CLSAMPLE_ROW_NO_TOKEN, CLSAMPLE_ROW_OK };
    clsample_params off = *p;
    clsample_result got[F_ROWS], plain[F_ROWS], spare[F_ROWS];

    off.min_p = 0.0f;
    off.top_k = 0;
    off.top_p = 1.0f;
    dev_draw(p, 1, in, got);
    host_draw(p, 1, x, F_ROWS, F_VOCAB, plain);
    host_draw(&off, 1, other, F_ROWS, F_VOCAB, spare);
    for (uint32_t r = 0; r < F_ROWS; r++) {
        clsample_result want = status[r] == CLSAMPLE_ROW_FALLBACK ? spare[r] : plain[r];

        want.status = status[r];
        check_same(&got[r], &want, 1, "fallback");
    }
}

START_TEST(fallback)
{
    float x[F_ROWS * F_VOCAB], other[F_ROWS * F_VOCAB];
    clsample_params p = params_of(0.7f, 0.2f, 9, 0.6f, (uint32_t)_i % 4);
    const uint32_t steps = test_scaled("fallback steps", 5, 2, 1);
    float *padded = test_alloc(sizeof other + 12);

    fallback_rows(x, other);
    memset(padded, POISON, 12);
    memcpy(padded + 3, other, sizeof other);
    clsample_logits in = logits_of(dev_upload(x, sizeof x), CLSAMPLE_F32, F_ROWS, F_VOCAB);
    in.fallback = dev_upload(padded, sizeof other + 12);
    in.fallback_offset = 12;
    for (p.step = 0; p.step < steps; p.step++)
        check_fallback(&p, &in, x, other);
    p.temperature = 0.0f;
    check_fallback(&p, &in, x, other);
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(in.fallback));
    free(padded);
}
END_TEST

/* The filters alone: scaled fallback logits, unfiltered, in the rows that need them. */
START_TEST(fallback_filter)
{
    float x[F_ROWS * F_VOCAB], other[F_ROWS * F_VOCAB], masked[F_ROWS * F_VOCAB], prob[F_ROWS * F_VOCAB];
    const clsample_params p = params_of(0.5f, 0.2f, 9, 0.6f, CLSAMPLE_RULES_SEED);

    fallback_rows(x, other);
    clsample_logits in = logits_of(dev_upload(x, sizeof x), CLSAMPLE_F32, F_ROWS, F_VOCAB);
    in.fallback = dev_upload(other, sizeof other);
    dev_filter(&p, 1, &in, CLSAMPLE_MASKED_LOGITS, masked);
    dev_filter(&p, 1, &in, CLSAMPLE_PROBABILITIES, prob);
    for (uint32_t i = F_VOCAB; i < 5 * F_VOCAB; i++) {
        const float want = isnan(other[i]) ? -INFINITY : other[i] / 0.5f;

        ck_assert_float_eq(masked[i], want);
        ck_assert((prob[i] > 0.0f) == (want > -INFINITY));
    }
    for (uint32_t r = 1; r < 5; r++) {
        ref_row ref;
        double q[F_VOCAB];

        ck_assert(ref_open(&ref, other + r * F_VOCAB, F_VOCAB));
        ref_probabilities(&ref, &p, (ref_interval){ 0, ref.live }, q);
        for (uint32_t i = 0; i < F_VOCAB; i++)
            ck_assert_double_le(fabs((double)prob[r * F_VOCAB + i] - q[i]), 1e-6);
        ref_close(&ref);
    }
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(in.fallback));
}
END_TEST

/* ---- Rows and their neighbours ---- */

/* Nothing masked, filtered out, or without probability is ever drawn. */
START_TEST(never_drawn)
{
    enum { MOST_ROWS = 64, VOCAB = 130 };
    const uint32_t rows = test_scaled("never_drawn rows", MOST_ROWS, MOST_ROWS, 8);
    const uint32_t steps = test_scaled("never_drawn steps", 100, 4, 2);
    float *x = test_alloc(rows * VOCAB * sizeof *x);
    float *prob = test_alloc(rows * VOCAB * sizeof *prob);
    clsample_params p = params_of(0.9f, 0.0f, 0, _i % 2 ? 0.97f : 1.0f, (uint32_t)_i % 4);
    clsample_result results[MOST_ROWS];

    for (uint32_t r = 0; r < rows; r++)
        row_random(x + r * VOCAB, VOCAB, r % 2 ? SHAPE_MASKED : SHAPE_WIDE, 900 + r);
    host_filter(&p, 1, x, rows, VOCAB, CLSAMPLE_PROBABILITIES, prob);
    const clsample_logits in = logits_of(dev_upload(x, rows * VOCAB * sizeof *x), CLSAMPLE_F32, rows, VOCAB);
    for (p.step = 0; p.step < steps; p.step++) {
        dev_draw(&p, 1, &in, results);
        for (uint32_t r = 0; r < rows; r++) {
            const uint32_t at = r * VOCAB + (uint32_t)results[r].token;

            REQUIRE(results[r].token >= 0 && results[r].token < VOCAB, "token %d", (int)results[r].token);
            REQUIRE(x[at] > -INFINITY && prob[at] > 0.0f, "row %lu step %lu: %d, logit %g, probability %g",
                    (unsigned long)r, (unsigned long)p.step, (int)results[r].token, (double)x[at],
                    (double)prob[at]);
        }
    }
    ck_cl(clReleaseMemObject(in.mem));
    free(prob);
    free(x);
}
END_TEST

/* Spoiled neighbours change nothing: with a set of parameters a row, and with one for the batch. */
START_TEST(neighbours)
{
    enum { ROWS = 9, VOCAB = 200 };
    float *x = test_alloc(ROWS * VOCAB * sizeof *x);
    const clsample_params p = params_of(0.8f, 0.05f, 40, 0.9f, CLSAMPLE_RULES_SEED);
    clsample_result clean[ROWS], spoiled[ROWS];

    for (uint32_t r = 0; r < ROWS; r++)
        row_random(x + r * VOCAB, VOCAB, SHAPE_NORMAL, 60 + r);
    host_draw(&p, 1, x, ROWS, VOCAB, clean);
    for (uint32_t i = 0; i < VOCAB; i++) {
        x[1 * VOCAB + i] = NAN;
        x[3 * VOCAB + i] = -INFINITY;
        x[5 * VOCAB + i] = INFINITY;
        if (i % 3 == 0) { x[7 * VOCAB + i] = NAN; }
    }
    host_draw(&p, 1, x, ROWS, VOCAB, spoiled);
    for (uint32_t r = 0; r < ROWS; r += 2)
        check_same(&clean[r], &spoiled[r], 1, "beside spoiled rows");
    ck_assert_uint_eq(spoiled[1].status, CLSAMPLE_ROW_NO_TOKEN);
    ck_assert_uint_eq(spoiled[3].status, CLSAMPLE_ROW_NO_TOKEN);
    ck_assert_uint_eq(spoiled[5].status, CLSAMPLE_ROW_OK);
    ck_assert_uint_eq(spoiled[7].status, CLSAMPLE_ROW_NAN_IGNORED);
    free(x);
}
END_TEST

enum { SLOTS = 64, SLOT_VOCAB = 321 };

static void slot_rows(float *x, clsample_params *p)
{
    test_rng r = { 4242 };

    for (uint32_t i = 0; i < SLOTS; i++) {
        row_random(x + i * SLOT_VOCAB, SLOT_VOCAB, (test_shape)(i % SHAPE_COUNT), rng_next(&r));
        p[i] = params_of(0.5f + 0.1f * (float)(i % 9), i % 3 ? 0.02f : 0.0f, i % 5 * 7, i % 2 ? 0.9f : 1.0f,
                         i % 4);
        p[i].seed = rng_next(&r);
        p[i].step = rng_next(&r);
        p[i].stream = (uint32_t)rng_next(&r);
        if (i % 11 == 0) { p[i].flags = CLSAMPLE_GREEDY; }
    }
}

/* With parameters of its own a row gives the same in every slot of every batch. */
START_TEST(any_slot_any_batch)
{
    static float x[SLOTS * SLOT_VOCAB], back[SLOTS * SLOT_VOCAB];
    clsample_params p[SLOTS], q[SLOTS];
    clsample_result together[SLOTS], reversed[SLOTS], alone;
    const uint32_t slots = test_scaled("rows of any_slot_any_batch", SLOTS, SLOTS, SLOTS / 4);
    const uint32_t alones = test_scaled("rows drawn alone", SLOTS, SLOTS / 8, 2);

    slot_rows(x, p);
    for (uint32_t i = 0; i < slots; i++) {
        memcpy(back + (slots - 1 - i) * SLOT_VOCAB, x + i * SLOT_VOCAB, SLOT_VOCAB * sizeof *x);
        q[slots - 1 - i] = p[i];
    }
    host_draw(p, slots, x, slots, SLOT_VOCAB, together);
    host_draw(q, slots, back, slots, SLOT_VOCAB, reversed);
    for (uint32_t i = 0; i < slots; i++) {
        check_same(&together[i], &reversed[slots - 1 - i], 1, "another slot");
        if (i % (slots / alones) != 0) { continue; }
        host_draw(&p[i], 1, x + i * SLOT_VOCAB, 1, SLOT_VOCAB, &alone);
        check_same(&together[i], &alone, 1, "alone");
    }
}
END_TEST

/* Parameters for the batch: row r draws with stream + r, which wraps. */
START_TEST(batch_streams)
{
    static const uint32_t streams[] = { 0, 1, 0xfffffffeu };
    static float x[5 * 100];
    clsample_params p = params_default(), own[5];
    clsample_result batch[5], rows[5];

    for (uint32_t i = 0; i < 5; i++)
        row_random(x + i * 100, 100, SHAPE_FLAT, 7); /* the same row five times */
    p.stream = streams[_i];
    p.seed = 0x123456789abcdef0u;
    p.step = 0xfedcba9876543210u;
    for (uint32_t i = 0; i < 5; i++) {
        own[i] = p;
        own[i].stream = p.stream + i;
    }
    host_draw(&p, 1, x, 5, 100, batch);
    host_draw(own, 5, x, 5, 100, rows);
    check_same(batch, rows, 5, "stream + r");
    ck_assert(batch[0].token != batch[1].token || batch[1].token != batch[2].token ||
              batch[2].token != batch[3].token);
}
END_TEST

/* NULL means the defaults for the whole batch, whatever n_params is. */
START_TEST(no_params)
{
    static float x[3 * 100];
    const clsample_params p = params_default();
    clsample_result a[3], b[3];

    row_random(x, COUNT(x), SHAPE_NORMAL, 8);
    host_draw(&p, 1, x, 3, 100, a);
    host_draw(NULL, 77, x, 3, 100, b);
    check_same(a, b, 3, "NULL params");
}
END_TEST

/* ---- Layout ---- */

/* The seed, the step and the stream each change the draw, in their high halves too. */
START_TEST(random_inputs_all_count)
{
    static float x[1000];
    clsample_params p[7];
    static float rows[7 * 1000];
    clsample_result r[7];
    uint32_t equal = 0;

    row_random(x, COUNT(x), SHAPE_FLAT, 9);
    for (uint32_t i = 0; i < 7; i++) {
        p[i] = params_default();
        memcpy(rows + i * COUNT(x), x, sizeof x);
    }
    p[1].seed = 1;
    p[2].seed = (uint64_t)1 << 32;
    p[3].step = 1;
    p[4].step = (uint64_t)1 << 32;
    p[5].stream = 1;
    p[6].stream = 0x80000000u;
    host_draw(p, 7, rows, 7, COUNT(x), r);
    for (uint32_t i = 0; i < 7; i++)
        for (uint32_t k = 0; k < i; k++)
            equal += r[i].token == r[k].token;
    /* Of 21 pairs over 1000 nearly equal tokens, three are equal by chance once in a million. */
    ck_assert_uint_le(equal, 2);
}
END_TEST

/* What lies between and around the rows is neither read into the result nor needed. */
START_TEST(stride_and_offset)
{
    enum { ROWS = 5, MOST = 200 };
    static const struct {
        uint32_t vocab, stride, offset; /* in elements */
    } layout[] = { { 1, 2, 1 },     { 63, 65, 0 },   { 64, 127, 3 }, { 65, 66, 1 },
                   { 128, 131, 7 }, { 130, 200, 0 }, { 64, 64, 5 },  { 100, 0, 1 } };
    const int at = _i % (int)COUNT(layout);
    const uint32_t vocab = layout[at].vocab, dtype = (uint32_t)_i / COUNT(layout), offset = layout[at].offset;
    const uint32_t step = layout[at].stride ? layout[at].stride : vocab, n = offset + ROWS * step + 9;
    float compact[ROWS * MOST], *wide = test_alloc(n * sizeof *wide);
    const clsample_params p = params_of(0.9f, 0.01f, 50, 0.95f, CLSAMPLE_RULES_VLLM);
    clsample_result a[ROWS], b[ROWS];

    for (uint32_t i = 0; i < n; i++)
        wide[i] = i % 2 ? NAN : 60000.0f;
    row_random(compact, ROWS * vocab, SHAPE_NORMAL, 70u + (uint64_t)_i);
    for (uint32_t r = 0; r < ROWS; r++)
        memcpy(wide + offset + r * step, compact + r * vocab, vocab * sizeof *wide);

    void *packed = dtype_convert(compact, ROWS * vocab, dtype), *spread = dtype_convert(wide, n, dtype);
    const size_t size = dtype_size(dtype);
    clsample_logits in = logits_of(dev_upload(packed, size * ROWS * vocab), dtype, ROWS, vocab);
    clsample_logits far = logits_of(dev_upload(spread, size * n), dtype, ROWS, vocab);
    far.stride = layout[at].stride;
    far.offset = offset * size;
    dev_draw(&p, 1, &in, a);
    dev_draw(&p, 1, &far, b);
    check_same(a, b, ROWS, "stride and offset");
    dev_filter(&p, 1, &in, CLSAMPLE_MASKED_LOGITS, compact);
    dev_filter(&p, 1, &far, CLSAMPLE_MASKED_LOGITS, wide);
    ck_assert_mem_eq(compact, wide, ROWS * vocab * sizeof *wide);
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(far.mem));
    free(packed);
    free(spread);
    free(wide);
}
END_TEST

/* The last row needs no more than its vocabulary, though the stride is longer. */
START_TEST(last_row_is_not_padded)
{
    enum { ROWS = 3, VOCAB = 64, STRIDE = 100 };
    static float x[(ROWS - 1) * STRIDE + VOCAB];
    const clsample_params p = params_default();
    clsample_result r[ROWS];

    row_random(x, COUNT(x), SHAPE_NORMAL, 80);
    clsample_logits in = logits_of(dev_upload(x, sizeof x), CLSAMPLE_F32, ROWS, VOCAB);
    in.stride = STRIDE;
    dev_draw(&p, 1, &in, r);
    ck_assert_uint_eq(r[2].kept, VOCAB);
    ck_cl(clReleaseMemObject(in.mem));
}
END_TEST

static Suite *make(void)
{
    Suite *s = suite_create("rows");
    TCase *values = tcase_create("values"), *others = tcase_create("others");

    tcase_add_loop_test(values, known_rows, 0, (int)COUNT(known));
    tcase_add_loop_test(values, known_rows_filtered, 0, (int)COUNT(known));
    tcase_add_test(values, zeros_and_denormals_cut);
    tcase_add_loop_test(values, infinite_with_filters, 0, 4);
    tcase_add_loop_test(values, tiny_temperature, 0, 4);
    tcase_add_loop_test(values, huge_temperature, 0, 3);
    tcase_add_test(values, zero_temperature_is_greedy);
    tcase_add_loop_test(values, fallback, 0, 4);
    tcase_add_test(values, fallback_filter);
    suite_add_tcase(s, values);
    tcase_add_loop_test(others, never_drawn, 0, 4);
    tcase_add_test(others, neighbours);
    tcase_add_test(others, any_slot_any_batch);
    tcase_add_loop_test(others, batch_streams, 0, 3);
    tcase_add_test(others, no_params);
    tcase_add_test(others, random_inputs_all_count);
    tcase_add_loop_test(others, stride_and_offset, 0, (int)test_scaled("stride_and_offset", 24, 16, 17));
    tcase_add_test(others, last_row_is_not_padded);
    suite_add_tcase(s, others);
    return s;
}

int main(void)
{
    return test_main(make);
}
