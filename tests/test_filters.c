/* SPDX-License-Identifier: Apache-2.0 */
/* The filters: known answers, what published implementations keep, and random rows against the reference. */
#include "common.h"
#include "comparing.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static golden_case *golden;
static size_t n_golden;

static void load(void)
{
    golden = golden_load(&n_golden);
}

static void unload(void)
{
    golden_free(golden, n_golden);
    print_seen();
}

/* ---- Known answers ---- */

static const float worked[5] = { 3.5f, 3.1f, 2.9f, 2.0f, -0.5f };
static const struct {
    const char *stage;
    float temperature, min_p;
    uint32_t top_k;
    float top_p;
    uint32_t kept; /* the first so many of the five */
} worked_stages[] = {
    { "temperature", 0.8f, 0.0f, 0, 1.0f, 5 },
    { "min-p", 0.8f, 0.1f, 0, 1.0f, 4 },
    { "top-k", 0.8f, 0.1f, 3, 1.0f, 3 },
    { "top-p", 0.8f, 0.1f, 3, 0.7f, 1 },
};

/* The example of the article that the rules come from, in one call each. */
START_TEST(worked_example)
{
    const clsample_params p =
        params_of(worked_stages[_i].temperature, worked_stages[_i].min_p, worked_stages[_i].top_k,
                  worked_stages[_i].top_p, CLSAMPLE_RULES_SEED);
    outcome o = run_rows(&p, worked, 1, 5);

    ck_assert_uint_eq(count_kept(o.masked, 5), worked_stages[_i].kept);
    ck_assert_uint_eq(o.results[0].kept, worked_stages[_i].kept);
    check_row(worked, 5, &p, &o, 0, worked_stages[_i].stage);
    outcome_free(&o);
}
END_TEST

/* The same in four calls, each fed with the masked logits of the one before. */
START_TEST(worked_example_chained)
{
    float x[5];

    memcpy(x, worked, sizeof x);
    for (size_t i = 0; i < COUNT(worked_stages); i++) {
        clsample_params p = params_default();

        if (i == 0) { p.temperature = worked_stages[i].temperature; }
        if (i == 1) { p.min_p = worked_stages[i].min_p; }
        if (i == 2) { p.top_k = worked_stages[i].top_k; }
        if (i == 3) { p.top_p = worked_stages[i].top_p; }
        host_filter(&p, 1, x, 1, 5, CLSAMPLE_MASKED_LOGITS, x);
        for (uint32_t t = 0; t < 5; t++)
            ck_assert_msg((x[t] != -INFINITY) == (t < worked_stages[i].kept), "%s: token %lu",
                          worked_stages[i].stage, (unsigned long)t);
    }
}
END_TEST

/* Sums of equal weights are exact, so these boundaries are too: the sum may equal top_p. */
static const struct {
    const char *what;
    uint32_t vocab, rules, top_k;
    float top_p;
    uint32_t kept;
} ties[] = {
    { "seed: all ties of the one kept token", 8, CLSAMPLE_RULES_SEED, 0, 0.25f, 8 },
    { "seed: ties of the k-th", 1000, CLSAMPLE_RULES_SEED, 3, 1.0f, 1000 },
    { "transformers: two eighths reach a quarter", 8, CLSAMPLE_RULES_TRANSFORMERS, 0, 0.25f, 2 },
    { "transformers: half of 1000", 1000, CLSAMPLE_RULES_TRANSFORMERS, 0, 0.5f, 500 },
    { "transformers: ties of the k-th, then top-p", 1000, CLSAMPLE_RULES_TRANSFORMERS, 3, 0.5f, 500 },
    { "vllm: just above a quarter takes a third", 8, CLSAMPLE_RULES_VLLM, 0, 0.2500001f, 3 },
    { "vllm: ties of the k-th", 1000, CLSAMPLE_RULES_VLLM, 3, 1.0f, 1000 },
    { "llama.cpp: exactly k", 1000, CLSAMPLE_RULES_LLAMA_CPP, 3, 1.0f, 3 },
    { "llama.cpp: exactly k, half of it", 1000, CLSAMPLE_RULES_LLAMA_CPP, 300, 0.5f, 150 },
    { "llama.cpp: k of one", 64, CLSAMPLE_RULES_LLAMA_CPP, 1, 1.0f, 1 },
};
START_TEST(ties_exact)
{
    const clsample_params p = params_of(0.7f, 0.0f, ties[_i].top_k, ties[_i].top_p, ties[_i].rules);
    const uint32_t n = ties[_i].vocab;
    float *x = test_alloc(n * sizeof *x);

    for (uint32_t i = 0; i < n; i++)
        x[i] = 1.25f;
    outcome o = run_rows(&p, x, 1, n);
    ck_assert_msg(o.results[0].kept == ties[_i].kept, "%s: %lu", ties[_i].what,
                  (unsigned long)o.results[0].kept);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_msg((o.masked[i] != -INFINITY) == (i < ties[_i].kept), "%s: token %lu", ties[_i].what,
                      (unsigned long)i);
    outcome_free(&o);
    free(x);
}
END_TEST

/* A whole vocabulary of ties. The seed rules keep all of them, the others cut at an id: top_p at the first
 * sum that reaches it, which is exact since n / 2^17 of the weights add up without rounding. */
START_TEST(flat_vocabulary)
{
    static const struct {
        bool top_k, top_p;
    } on[] = { { false, true }, { true, false }, { true, true } };
    const uint32_t n = test_scaled("flat_vocabulary logits", 131072, 131072, 512);
    const uint32_t k = (uint32_t)((uint64_t)n * 100000 / 131072), rules = (uint32_t)_i % 4;
    const bool top_k = on[_i / 4].top_k, top_p = on[_i / 4].top_p;
    const clsample_params p = params_of(1.0f, 0.0f, top_k ? k : 0, top_p ? 0.9f : 1.0f, rules);
    const uint32_t after_k = top_k && rules == CLSAMPLE_RULES_LLAMA_CPP ? k : n;
    const uint32_t after_p =
        top_p && rules != CLSAMPLE_RULES_SEED ? (uint32_t)ceil(0.9f * (double)after_k) : after_k;
    float *x = test_alloc(n * sizeof *x);
    clsample_result r;

    for (uint32_t i = 0; i < n; i++)
        x[i] = 0.25f;
    host_draw(&p, 1, x, 1, n, &r);
    ck_assert_msg(r.kept == after_p, "rules %lu, top_k %lu, top_p %g: kept %lu instead of %lu",
                  (unsigned long)rules, (unsigned long)p.top_k, (double)p.top_p, (unsigned long)r.kept,
                  (unsigned long)after_p);
    ck_assert(r.token >= 0 && (uint32_t)r.token < after_p);
    ck_assert_double_le(fabs((double)r.logprob + log(after_p)), 1e-6);
    free(x);
}
END_TEST

/* The most logits that a row may have. A driver that ends long loops (Mesa's llvmpipe) must be found out, not
 * trusted: its device refuses such a row. */
START_TEST(largest_vocabulary)
{
    const uint32_t n = test_scaled("largest_vocabulary", CLSAMPLE_MAX_VOCAB, CLSAMPLE_MAX_VOCAB, 8192);
    const clsample_params p = params_of(1.0f, 0.0f, 2, 0.9f, CLSAMPLE_RULES_LLAMA_CPP);
    float *x = test_alloc(n * sizeof *x);
    clsample_logits in = logits_of(NULL, CLSAMPLE_F32, 1, n);
    clsample_result r;

    for (uint32_t i = 0; i < n; i++)
        x[i] = i == n - 1 ? 9.0f : -9.0f;
    const clsample_status status = clsample_sample(dev.ctx, &p, 1, &in, x, &r);
    if (status == CLSAMPLE_E_DEVICE && dev.speed == SPEED_SLOW) {
        printf("left out: a row of %lu logits: %s\n", (unsigned long)n, clsample_last_error()->message);
        ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "ends a work-item's loops"));
    } else {
        ck_ok(status);
        ck_assert_int_eq(r.token, (int32_t)n - 1);
    }
    free(x);
}
END_TEST

/* Min-p 1 under the seed rules: off in a draw, the most probable tokens in the filter alone. */
START_TEST(min_p_one)
{
    static const float x[6] = { 1.0f, 3.0f, -2.0f, 3.0f, 2.999f, -INFINITY };
    static const uint32_t drawn[4] = { 5, 2, 2, 2 };

    for (uint32_t rules = 0; rules < 4; rules++) {
        const clsample_params p = params_of(1.0f, 1.0f, 0, 1.0f, rules);
        outcome o = run_rows(&p, x, 1, 6);

        ck_assert_uint_eq(o.results[0].kept, drawn[rules]);
        ck_assert_uint_eq(count_kept(o.masked, 6), 2);
        ck_assert_float_eq(o.masked[1], 3.0f);
        ck_assert_float_eq(o.masked[3], 3.0f);
        ck_assert_float_eq(o.p[1], 0.5f);
        outcome_free(&o);
    }
}
END_TEST

/* Under the seed rules min-p keeps what is within 1e-9 of the largest probability. With n nearly equal logits
 * that is a logit within n * 1e-9; the others demand the fraction itself. */
START_TEST(min_p_band)
{
    const uint32_t n = test_scaled("min_p_band vocabulary", 262144, 32768, 4096);
    const float min_p = _i == 0 ? 1.0f : 0.9999999f, near = -0.5e-9f * (float)n, far = -2e-9f * (float)n;
    float *x = test_alloc(n * sizeof *x);

    for (uint32_t i = 0; i < n; i++)
        x[i] = i % 2 ? near : far;
    x[n / 3] = 0.0f;
    for (uint32_t rules = 0; rules < 3; rules += 2) { /* seed, vllm */
        const clsample_params p = params_of(1.0f, min_p, 0, 1.0f, rules);
        const uint32_t odd = n / 2 - (n / 3) % 2, want = rules == CLSAMPLE_RULES_SEED ? odd + 1 : 1;
        outcome o = run_rows(&p, x, 1, n);

        ck_assert_uint_eq(count_kept(o.masked, n), want);
        if (min_p < 1.0f) { ck_assert_uint_eq(o.results[0].kept, want); }
        outcome_free(&o);
    }
    free(x);
}
END_TEST

START_TEST(top_k_above_vocab)
{
    static const uint32_t k[] = { 5, 6, 1000, 1048577, 0xffffffffu };
    static const float x[5] = { 0.5f, -INFINITY, 2.0f, 1.0f, -3.0f };

    for (uint32_t rules = 0; rules < 4; rules++) {
        const clsample_params p = params_of(0.9f, 0.0f, k[_i], 1.0f, rules);
        outcome o = run_rows(&p, x, 1, 5);

        ck_assert_uint_eq(o.results[0].kept, 4);
        check_row(x, 5, &p, &o, 0, "top_k above the vocabulary");
        outcome_free(&o);
    }
}
END_TEST

/* ---- What is written ---- */

/* Logits of every size, denormals too, over temperatures of every size. */
START_TEST(masked_logits_are_rounded_once)
{
    enum { N = 1024 };
    static const float t[] = { 0.8f, 1.0f, 3.0f, 1e-9f, 1e12f, 0.1f, 7.25e5f, 1e-3f, 1.9999999f };
    const clsample_params p = params_of(t[_i], 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);
    test_rng r = { 77u + (uint64_t)_i };
    float x[N], masked[N];

    for (size_t i = 0; i < N; i++) {
        const uint32_t bits = (uint32_t)rng_next(&r);

        memcpy(&x[i], &bits, sizeof bits);
        if (!isfinite(x[i])) { x[i] = -0.0f; }
    }
    host_filter(&p, 1, x, 1, N, CLSAMPLE_MASKED_LOGITS, masked);
    check_values(x, masked, N, t[_i], "random bits");
    ck_assert_uint_eq(count_kept(masked, N), N);
}
END_TEST

/* Logits whose quotient no float holds are kept as any other, so that the filter alone says what a draw
 * does, also stage by stage. */
START_TEST(quotients_beyond_floats)
{
    static const float rows[][4] = {
        { 1.0f, 2.0f, -FLT_MAX, -INFINITY },   { -FLT_MAX, -FLT_MAX, -INFINITY, -FLT_MAX },
        { FLT_MAX, 1.0f, -FLT_MAX, 0x1p127f }, { 0x1p127f, -0x1p127f, 0x1p-149f, NAN },
        { INFINITY, FLT_MAX, 1.0f, INFINITY },
    };
    static const float t[] = { 0.5f, 1e-9f, 0.99999994f, 1e-3f };
    clsample_params p = params_of(t[_i], 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);

    for (size_t row = 0; row < COUNT(rows); row++) {
        float masked[4], again[4], prob[4];
        clsample_result drawn;

        host_draw(&p, 1, rows[row], 1, 4, &drawn);
        host_filter(&p, 1, rows[row], 1, 4, CLSAMPLE_MASKED_LOGITS, masked);
        host_filter(&p, 1, rows[row], 1, 4, CLSAMPLE_PROBABILITIES, prob);
        ck_assert_uint_eq(count_kept(masked, 4), drawn.kept);
        ck_assert(masked[drawn.token] > -INFINITY);
        for (size_t i = 0; i < 4; i++) {
            ck_assert(masked[i] < INFINITY || rows[row][i] == INFINITY);
            ck_assert(masked[i] > -INFINITY || prob[i] == 0.0f);
        }
        p.temperature = 1.0f;
        host_filter(&p, 1, masked, 1, 4, CLSAMPLE_MASKED_LOGITS, again);
        ck_assert_uint_eq(count_kept(again, 4), drawn.kept);
        p.temperature = t[_i];
    }
}
END_TEST

/* Temperatures outside [1e-9, 1e12] count as these. */
START_TEST(temperature_clamped)
{
    static const float x[3] = { 1.0f, -2.0f, 0.25f };
    static const float t[][2] = { { 1e-30f, 1e-9f }, { 1e-45f, 1e-9f }, { 3e38f, 1e12f } };
    float masked[3];
    const clsample_params p = params_of(t[_i][0], 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);

    host_filter(&p, 1, x, 1, 3, CLSAMPLE_MASKED_LOGITS, masked);
    check_values(x, masked, 3, t[_i][1], "clamped");
}
END_TEST

START_TEST(greedy_filter)
{
    static const float x[5] = { -1.0f, 2.5f, NAN, 2.5f, 0.0f };
    clsample_params p[2] = { params_of(0.0f, 0.5f, 3, 0.5f, CLSAMPLE_RULES_SEED),
                             params_of(0.5f, 0.0f, 0, 1.0f, CLSAMPLE_RULES_LLAMA_CPP) };
    float masked[5], prob[5];

    p[1].flags = CLSAMPLE_GREEDY;
    host_filter(&p[_i], 1, x, 1, 5, CLSAMPLE_MASKED_LOGITS, masked);
    host_filter(&p[_i], 1, x, 1, 5, CLSAMPLE_PROBABILITIES, prob);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_float_eq(masked[i], i == 1 ? 2.5f : -INFINITY);
        ck_assert_float_eq(prob[i], i == 1 ? 1.0f : 0.0f);
    }
}
END_TEST

/* ---- Published implementations ---- */

/* The article's code: the ids after each stage, then what a draw would use. */
START_TEST(golden_seed)
{
    const golden_case *g = &golden[_i];
    clsample_params p = params_of(g->params.temperature, g->params.min_p, 0, 1.0f, CLSAMPLE_RULES_SEED);
    float *masked = test_alloc(g->vocab * sizeof *masked);

    if (g->min_p.present) {
        host_filter(&p, 1, g->x, 1, g->vocab, CLSAMPLE_MASKED_LOGITS, masked);
        check_ids(masked, g->vocab, &g->min_p, g->name, "min-p");
    }
    if (g->top_k.present) {
        p.top_k = g->params.top_k;
        host_filter(&p, 1, g->x, 1, g->vocab, CLSAMPLE_MASKED_LOGITS, masked);
        check_ids(masked, g->vocab, &g->top_k, g->name, "top-k");
    }
    free(masked);

    outcome o = run_rows(&g->params, g->x, 1, g->vocab);
    check_ids(o.masked, g->vocab, &g->top_p, g->name, "top-p");
    check_ids(o.masked, g->vocab, &g->kept, g->name, "all");
    check_row(g->x, g->vocab, &g->params, &o, 0, g->name);
    /* The article's code computes in float32: two recorded cases, large logits over a small temperature,
     * are themselves 4.1e-5 from float64, which check_row above holds these rows to. */
    const bool coarse = !strcmp(g->name, "033-wide-1000") || !strcmp(g->name, "123-wide-4099");
    const double bound = coarse ? 5e-5 : 1e-5;
    for (uint32_t i = 0; i < g->n_probs; i++)
        ck_assert_double_le(fabs((double)o.p[g->kept.ids[i]] - g->probs[i]), g->probs[i] * bound + REF_UNIT);
    outcome_free(&o);
}
END_TEST

/* Transformers, llama.cpp, and every greedy choice. */
START_TEST(golden_peers)
{
    const golden_case *g = &golden[_i];
    clsample_params p[3] = { g->params, g->params, g->params };
    float *x = test_alloc(3 * g->vocab * sizeof *x), *masked = test_alloc(3 * g->vocab * sizeof *masked);

    for (size_t i = 0; i < 3; i++)
        memcpy(x + i * g->vocab, g->x, g->vocab * sizeof *x);
    p[0].rules = CLSAMPLE_RULES_TRANSFORMERS;
    p[1].rules = CLSAMPLE_RULES_LLAMA_CPP;
    p[2].flags = CLSAMPLE_GREEDY;
    host_filter(p, 3, x, 3, g->vocab, CLSAMPLE_MASKED_LOGITS, masked);
    check_ids(masked, g->vocab, &g->transformers, g->name, "transformers");
    check_ids(masked + g->vocab, g->vocab, &g->llama_cpp, g->name, "llama.cpp");
    int32_t best = g->greedy;
    const id_set greedy = { true, 1, &best };
    check_ids(masked + 2 * g->vocab, g->vocab, &greedy, g->name, "greedy");
    free(x);
    free(masked);
}
END_TEST

/* ---- Random rows ---- */

static const uint32_t sizes[] = { 1,    2,    63,   64,   65,   127,  128,   255,    256,    257,    1000,
                                  1023, 1024, 1025, 4095, 4096, 4099, 32768, 151936, 262144, 1048576 };

/* Each filter is off in about every third set. */
static clsample_params params_random(test_rng *r, uint32_t rules)
{
    static const float t[] = { 0.3f, 0.7f, 0.8f, 1.0f, 1.0f, 1.5f, 4.0f };
    static const float min_p[] = { 0.0f, 0.0f, 1e-4f, 0.02f, 0.1f, 0.5f, 0.999f };
    static const uint32_t k[] = { 0, 0, 1, 2, 10, 50, 300, 3000 };
    static const float top_p[] = { 1.0f, 1.0f, 1e-6f, 0.3f, 0.7f, 0.9f, 0.95f, 0.99f, 0.9999f };
    clsample_params p = params_of(t[rng_below(r, COUNT(t))], min_p[rng_below(r, COUNT(min_p))],
                                  k[rng_below(r, COUNT(k))], top_p[rng_below(r, COUNT(top_p))], rules);

    p.seed = rng_next(r);
    p.step = rng_next(r);
    return p;
}

/* A row of each shape under each of the rules, all in one batch with a set of parameters a row. */
START_TEST(random_rows)
{
    const uint32_t vocab = sizes[_i], some = vocab > 1000000 ? 2 : vocab > 100000 ? 8 : SHAPE_COUNT * 4;
    const uint32_t most = vocab > 5000 ? test_scaled("random_rows, rows of above 5000", 28, 4, 2)
                                       : test_scaled("random_rows, rows of up to 5000", 28, 8, 2);
    const uint32_t rows = some < most ? some : most;
    float *x = test_alloc((size_t)rows * vocab * sizeof *x);
    clsample_params *p = test_alloc(rows * sizeof *p);
    test_rng r = { 1000u + (uint64_t)_i };
    char what[160];

    for (uint32_t i = 0; i < rows; i++) {
        row_random(x + (size_t)i * vocab, vocab, (test_shape)((i + (uint32_t)_i) % SHAPE_COUNT),
                   rng_next(&r));
        p[i] = params_random(&r, i % 4);
    }
    outcome o = run_rows(p, x, rows, vocab);
    for (uint32_t i = 0; i < rows; i++) {
        snprintf(
            what, sizeof what, "seed %d vocab %lu row %lu %s, T %g min_p %g top_k %lu top_p %g rules %lu",
            1000 + _i, (unsigned long)vocab, (unsigned long)i,
            shape_name((test_shape)((i + (uint32_t)_i) % SHAPE_COUNT)), (double)p[i].temperature,
            (double)p[i].min_p, (unsigned long)p[i].top_k, (double)p[i].top_p, (unsigned long)p[i].rules);
        check_row(x + (size_t)i * vocab, vocab, &p[i], &o, i, what);
    }
    outcome_free(&o);
    free(x);
    free(p);
}
END_TEST

/* Many small rows: more boundaries for the price. */
START_TEST(random_small_rows)
{
    enum { ROWS = 64 };
    test_rng r = { 5000u + (uint64_t)_i };
    const uint32_t vocab = 1 + rng_below(&r, test_scaled("random_small_rows vocabulary", 700, 700, 130));
    float *x = test_alloc(ROWS * vocab * sizeof *x);
    clsample_params p[ROWS];
    char what[80];

    for (uint32_t i = 0; i < ROWS; i++) {
        row_random(x + i * vocab, vocab, (test_shape)rng_below(&r, SHAPE_COUNT), rng_next(&r));
        p[i] = params_random(&r, rng_below(&r, 4));
    }
    outcome o = run_rows(p, x, ROWS, vocab);
    for (uint32_t i = 0; i < ROWS; i++) {
        snprintf(what, sizeof what, "seed %d vocab %lu row %lu", 5000 + _i, (unsigned long)vocab,
                 (unsigned long)i);
        check_row(x + i * vocab, vocab, &p[i], &o, i, what);
    }
    outcome_free(&o);
    free(x);
}
END_TEST

/* ---- Half types ---- */

/* The same values as 16-bit floats and as float32 give the same bits everywhere. */
START_TEST(half_types_like_float)
{
    enum { ROWS = 4 };
    const uint32_t vocabs[] = { 1, 31, 64, 1000,
                                test_scaled("logits of half_types_like_float", 4099, 4099, 257) };
    const uint32_t dtype = _i < (int)COUNT(vocabs) ? CLSAMPLE_F16 : CLSAMPLE_BF16;
    const uint32_t vocab = vocabs[_i % (int)COUNT(vocabs)], n = ROWS * vocab;
    float *x = test_alloc(n * sizeof *x), *out[2];
    clsample_params p[ROWS];
    clsample_result results[2][ROWS];
    test_rng r = { 300u + (uint64_t)_i };

    for (uint32_t i = 0; i < ROWS; i++) {
        row_random(x + i * vocab, vocab, (test_shape)rng_below(&r, SHAPE_COUNT), rng_next(&r));
        p[i] = params_random(&r, i);
    }
    x[0] = 0x1p-20f; /* a denormal half */
    x[vocab + vocab / 2] = NAN;
    for (uint32_t i = 0; i < vocab; i++)
        x[2 * vocab + i] = -1.0f - fabsf(x[2 * vocab + i]);
    x[3 * vocab + vocab / 3] = INFINITY;
    uint16_t *half = dtype_convert(x, n, dtype);
    for (uint32_t i = 0; i < n; i++)
        x[i] = dtype == CLSAMPLE_F16 ? half_to_float(half[i]) : bf16_to_float(half[i]);
    const clsample_logits in[2] = { logits_of(dev_upload(x, n * sizeof *x), CLSAMPLE_F32, ROWS, vocab),
                                    logits_of(dev_upload(half, n * sizeof *half), dtype, ROWS, vocab) };
    for (size_t i = 0; i < 2; i++) {
        out[i] = test_alloc(2 * n * sizeof *out[i]);
        dev_filter(p, ROWS, &in[i], CLSAMPLE_MASKED_LOGITS, out[i]);
        dev_filter(p, ROWS, &in[i], CLSAMPLE_PROBABILITIES, out[i] + n);
        dev_draw(p, ROWS, &in[i], results[i]);
        ck_cl(clReleaseMemObject(in[i].mem));
    }
    ck_assert_mem_eq(out[0], out[1], 2 * n * sizeof *out[0]);
    ck_assert_mem_eq(results[0], results[1], sizeof results[0]);
    free(out[0]);
    free(out[1]);
    free(half);
    free(x);
}
END_TEST

static Suite *make(void)
{
    Suite *s = suite_create("filters");
    TCase *known = tcase_create("known"), *published = tcase_create("published"),
          *random = tcase_create("random");
    const int cases = (int)test_scaled("golden cases", 180, 18, 10);

    tcase_add_loop_test(known, worked_example, 0, (int)COUNT(worked_stages));
    tcase_add_test(known, worked_example_chained);
    tcase_add_loop_test(known, ties_exact, 0,
                        (int)test_scaled("cases of ties_exact", COUNT(ties), COUNT(ties), 4));
    tcase_add_loop_test(known, flat_vocabulary, 0, 12);
    tcase_add_test(known, largest_vocabulary);
    tcase_add_test(known, min_p_one);
    tcase_add_loop_test(known, min_p_band, 0, 2);
    tcase_add_loop_test(known, top_k_above_vocab, 0, 5);
    tcase_add_loop_test(known, masked_logits_are_rounded_once, 0, 9);
    tcase_add_loop_test(known, quotients_beyond_floats, 0, 4);
    tcase_add_loop_test(known, temperature_clamped, 0, 3);
    tcase_add_loop_test(known, greedy_filter, 0, 2);
    suite_add_tcase(s, known);
    tcase_add_unchecked_fixture(published, load, NULL);
    tcase_add_loop_test(published, golden_seed, 0, cases);
    tcase_add_loop_test(published, golden_peers, 0, cases);
    suite_add_tcase(s, published);
    tcase_add_unchecked_fixture(random, NULL, unload);
    tcase_add_loop_test(random, random_rows, 0, (int)test_scaled("random_rows sizes", COUNT(sizes), 19, 6));
    tcase_add_loop_test(random, random_small_rows, 0, (int)test_scaled("random_small_rows", 40, 4, 2));
    tcase_add_loop_test(random, half_types_like_float, 0,
                        (int)test_scaled("half_types_like_float", 10, 5, 8));
    suite_add_tcase(s, random);
    return s;
}

int main(void)
{
    return test_main(make);
}
