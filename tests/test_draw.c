/* SPDX-License-Identifier: Apache-2.0 */
/* Draws follow the distribution that they should: chi-square tests against probabilities in double, and how
 * near the device's own probabilities come to them. Everything is seeded, and the same on every device. */
#include "common.h"
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A chi-square test fails if a value as large has a probability below this: of the twelve tests here one in
 * 8e4 would fail for right draws. The tail is Q(degrees / 2, x / 2), the regularized upper incomplete gamma
 * function, which ref_chi_square_tail computes by series and continued fraction; so no table of critical
 * values is needed. */
#define FALSE_ALARM 1e-6
#define LEAST_EXPECTED 5.0 /* draws in a bin, the usual limit for the chi-square approximation */

/* Each with one kept set, whatever the rounding: the tests say so if not. */
enum { SETTINGS = 6 };
static const struct {
    const char *what;
    float temperature, min_p;
    uint32_t top_k;
    float top_p;
    uint32_t rules;
    float typical_p;
    bool edits;
} settings[SETTINGS] = {
    { "plain", 1.0f, 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED, 1.0f, false },
    { "min-p", 1.5f, 0.02f, 0, 1.0f, CLSAMPLE_RULES_VLLM, 1.0f, false },
    { "top-k", 0.8f, 0.0f, 50, 1.0f, CLSAMPLE_RULES_LLAMA_CPP, 1.0f, false },
    { "top-p", 1.2f, 0.0f, 0, 0.9f, CLSAMPLE_RULES_TRANSFORMERS, 1.0f, false },
    { "all", 0.8f, 0.05f, 50, 0.95f, CLSAMPLE_RULES_SEED, 1.0f, false },
    { "bias and typical", 1.1f, 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED, 0.8f, true },
};
static const clsample_bias bias[] = { { 3, 1.5f }, { 40, -2.0f }, { 3, 0.25f }, { 17, -INFINITY } };
static const int32_t banned[] = { 5, 60 };

static clsample_params setting(int i)
{
    clsample_params p = params_of(settings[i].temperature, settings[i].min_p, settings[i].top_k,
                                  settings[i].top_p, settings[i].rules);

    p.seed = 0x5eed0000u + (uint64_t)i;
    p.typical_p = settings[i].typical_p;
    if (settings[i].edits) {
        p.bias = bias;
        p.n_bias = COUNT(bias);
        p.banned = banned;
        p.n_banned = COUNT(banned);
    }
    return p;
}

/* A row as the samplers see it, after the edits. */
static void open_edited(ref_row *row, const clsample_params *p, const float *x, uint32_t vocab)
{
    float *edited = test_alloc(vocab * sizeof *edited);

    memcpy(edited, x, vocab * sizeof *x);
    ref_edit(p, edited);
    ck_assert(ref_open(row, edited, vocab));
    free(edited);
}

/* ---- The real logits ---- */

static float *rocket;
static uint32_t rocket_rows, rocket_vocab;

static void load(void)
{
    rocket = npy_load("rocket_logits.npy", &rocket_rows, &rocket_vocab);
}

static void unload(void)
{
    free(rocket);
}

/* ---- Counting draws ---- */

/* steps * copies draws from the same row: `copies` of it in a batch, each with its stream; all steps in
 * flight. */
static void count_draws(clsample_params p, const float *x, uint32_t vocab, uint32_t copies, uint32_t steps,
                        uint32_t *count)
{
    const uint32_t n = copies * steps;
    float *rows = test_alloc((size_t)copies * vocab * sizeof *rows);
    int32_t *tokens = test_alloc(n * sizeof *tokens);
    clsample_output out = CLSAMPLE_OUTPUT_INIT;

    for (uint32_t r = 0; r < copies; r++)
        memcpy(rows + (size_t)r * vocab, x, vocab * sizeof *x);
    const clsample_logits in =
        logits_of(dev_upload(rows, (size_t)copies * vocab * sizeof *rows), CLSAMPLE_F32, copies, vocab);
    out.tokens = dev_buffer(n * sizeof *tokens);
    for (p.step = 0; p.step < steps; p.step++) {
        out.tokens_offset = (size_t)p.step * copies * sizeof *tokens;
        ck_ok(clsample_enqueue(dev.ctx, dev.queue, &p, 1, &in, &out, 0, NULL, NULL));
    }
    dev_download(out.tokens, 0, tokens, n * sizeof *tokens);
    memset(count, 0, vocab * sizeof *count);
    for (uint32_t i = 0; i < n; i++) {
        REQUIRE(tokens[i] >= 0 && (uint32_t)tokens[i] < vocab, "token %d", (int)tokens[i]);
        count[tokens[i]]++;
    }
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(out.tokens));
    free(tokens);
    free(rows);
}

/* Chi-square over the kept tokens from the best on; those that are too rare for a bin of their own share the
 * last, and that one joins the bin before it if it is still too rare. */
static double chi_square(const ref_row *row, const double *p, ref_interval kept, const uint32_t *count,
                         double draws, uint32_t *bins)
{
    double x = 0.0, wanted = 0.0, got = 0.0, last_wanted = 0.0, last_got = 0.0;

    *bins = 0;
    for (uint32_t i = kept.first; i < kept.last; i++) {
        wanted += p[row->order[i]] * draws;
        got += count[row->order[i]];
        if (wanted < LEAST_EXPECTED) { continue; }
        if (*bins > 0) { x += (last_got - last_wanted) * (last_got - last_wanted) / last_wanted; }
        ++*bins;
        last_wanted = wanted;
        last_got = got;
        wanted = got = 0.0;
    }
    last_wanted += wanted;
    last_got += got;
    return x + (last_got - last_wanted) * (last_got - last_wanted) / last_wanted;
}

static void check_draws(int i, const float *x, uint32_t vocab, uint32_t copies, uint32_t steps,
                        const char *what)
{
    const clsample_params p = setting(i);
    uint32_t *count = test_alloc(vocab * sizeof *count), bins = 0;
    double *q = test_alloc(vocab * sizeof *q);
    ref_row ref;

    open_edited(&ref, &p, x, vocab);
    const ref_kept any = ref_filter(&ref, &p, false, REF_SLACK);
    const ref_interval kept = any.low;
    ck_assert(ref_is_certain(&any));
    ref_probabilities(&ref, &p, kept, q);
    count_draws(p, x, vocab, copies, steps, count);
    for (uint32_t id = 0; id < vocab; id++)
        REQUIRE(count[id] == 0 || q[id] > 0.0, "%s, %s: drew %lu, which is filtered out", what,
                settings[i].what, (unsigned long)id);

    const double chi = chi_square(&ref, q, kept, count, (double)copies * steps, &bins);
    const double tail = bins > 1 ? ref_chi_square_tail(chi, bins - 1.0) : 1.0;
    printf("%s, %s: %lu draws, %lu kept, %lu bins, chi-square %.1f, as large by chance %.3g\n", what,
           settings[i].what, (unsigned long)copies * steps, (unsigned long)(kept.last - kept.first),
           (unsigned long)bins, chi, tail);
    ck_assert(tail >= FALSE_ALARM);
    ref_close(&ref);
    free(q);
    free(count);
}

/* The n largest logits of a row, in the order of their ids. */
static float *best_of(const float *row, uint32_t vocab, uint32_t n)
{
    float *best = test_alloc(n * sizeof *best);
    uint32_t found = 0, ties = n;
    ref_row ref;

    ck_assert(ref_open(&ref, row, vocab));
    const float least = row[ref.order[n - 1]];
    for (uint32_t i = 0; i < n && row[ref.order[i]] > least; i++)
        ties--;
    for (uint32_t id = 0; id < vocab; id++) {
        if (row[id] > least || (row[id] == least && ties > 0)) {
            if (row[id] == least) { ties--; }
            best[found++] = row[id];
        }
    }
    ck_assert_uint_eq(found, n);
    ref_close(&ref);
    return best;
}

/* 100,000 draws from a language model's logits, the best 2048 of a row: for each setting one that leaves
 * choice. */
START_TEST(draws_of_real_logits)
{
    static const size_t row[SETTINGS] = { 0, 3, 6, 5, 14, 0 };
    const uint32_t vocab = test_scaled("real logits", 2048, 512, 64);
    const uint32_t steps = test_scaled("steps of draws of real logits", 200, 2, 1);
    float *x = best_of(rocket + row[_i] * rocket_vocab, rocket_vocab, vocab);

    check_draws(_i, x, vocab, test_scaled("rows a step", 500, 250, 24), steps, "real logits");
    free(x);
}
END_TEST

START_TEST(draws_of_random_logits)
{
    static const test_shape shape[SETTINGS] = { SHAPE_NORMAL, SHAPE_TIES,     SHAPE_MASKED,
                                                SHAPE_FLAT,   SHAPE_NEGATIVE, SHAPE_NORMAL };
    const uint32_t vocab = test_scaled("random logits", 1000, 500, 65);
    const uint32_t steps = test_scaled("steps of draws of random logits", 40, 2, 1);
    float x[1000];

    row_random(x, vocab, shape[_i], 31 + (uint64_t)_i);
    check_draws(_i, x, vocab, test_scaled("rows a step", 500, 250, 24), steps, shape_name(shape[_i]));
}
END_TEST

/* Two tokens of probability 1/2: each bit of the draw counts, so do the streams next to each other. */
START_TEST(fair_coin)
{
    enum { ROWS = 256 };
    const uint32_t steps = test_scaled("fair_coin steps", 256, 8, 1);
    static float x[ROWS * 2];
    clsample_params p = params_default();
    clsample_result r[ROWS];
    uint32_t heads = 0, changes = 0, n = 0;
    int32_t last = 0;

    for (p.step = 0; p.step < steps; p.step++) {
        host_draw(&p, 1, x, ROWS, 2, r);
        for (uint32_t i = 0; i < ROWS; i++, n++) {
            heads += (uint32_t)r[i].token;
            changes += r[i].token != last;
            last = r[i].token;
        }
    }
    /* Both are binomial with 1/2: five standard deviations, about one false alarm in 1e6. */
    printf("fair coin: %lu heads and %lu changes in %lu\n", (unsigned long)heads, (unsigned long)changes,
           (unsigned long)n);
    ck_assert_double_le(fabs(heads - n / 2.0), 5.0 * sqrt(n / 4.0));
    ck_assert_double_le(fabs(changes - n / 2.0), 5.0 * sqrt(n / 4.0));
}
END_TEST

/* ---- Accuracy ---- */

/* Total variation distance of CLSAMPLE_PROBABILITIES from the exact ones: how much the draw can differ. The
 * bound is that on a mass. */
START_TEST(distribution_is_accurate)
{
    const uint32_t vocab = test_scaled("logits of distribution_is_accurate", rocket_vocab, 8192, 512);
    const uint32_t rows = test_scaled("rows of distribution_is_accurate", rocket_rows, 4, 2);
    const clsample_params p = setting(_i);
    float *prob = test_alloc(vocab * sizeof *prob);
    double *q = test_alloc(vocab * sizeof *q), worst = 0.0;

    for (uint32_t r = 0; r < rows; r++) {
        const float *x = rocket + (size_t)r * rocket_vocab;
        double distance = 0.0;
        ref_row ref;

        host_filter(&p, 1, x, 1, vocab, CLSAMPLE_PROBABILITIES, prob);
        open_edited(&ref, &p, x, vocab);
        ref_probabilities(&ref, &p, ref_exact(&ref, &p, true), q);
        for (uint32_t i = 0; i < vocab; i++)
            distance += fabs((double)prob[i] - q[i]) / 2.0;
        worst = fmax(worst, distance);
        ref_close(&ref);
    }
    printf("total variation distance, %s: at most %.3g in %lu rows\n", settings[_i].what, worst,
           (unsigned long)rows);
    ck_assert_double_lt(worst, REF_SLACK);
    free(prob);
    free(q);
}
END_TEST

/* The weights themselves: blocks of 64 equal logits lose nothing to the blocks' common exponent, so a
 * probability's ratio to the largest is that of two weights. The bound is the sum of those on the weights (2
 * * 1.5e-7), on the output's rounding and quotient (2 * 6e-8 + 2^-29), and on the mass's last bit at 2^-14 of
 * the largest (2^-28). */
START_TEST(weights_are_accurate)
{
    static const struct {
        float centre, temperature;
    } scale[] = { { 0.0f, 1.0f }, { 40.0f, 1.0f },     { -10000.0f, 0.7f },  { 20.0f, 0.05f },
                  { 0.0f, 1e6f }, { 1000.0f, 300.0f }, { -1e8f, 1234567.0f } };
    const uint32_t blocks = test_scaled("weights_are_accurate blocks", 1024, 64, 8), vocab = 64 * blocks;
    const clsample_params p = params_of(scale[_i].temperature, 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);
    float *x = test_alloc(vocab * sizeof *x), *prob = test_alloc(vocab * sizeof *prob), best = -INFINITY;
    test_rng r = { 500u + (uint64_t)_i };
    double worst = 0.0, best_p = 0.0;

    for (uint32_t i = 0; i < vocab; i++) {
        /* Within 10 temperatures of each other, so that all have mass. */
        if (i % 64 == 0) { x[i] = (float)(scale[_i].centre - rng_unit(&r) * 10.0 * scale[_i].temperature); }
        x[i] = x[i - i % 64];
        best = fmaxf(best, x[i]);
    }
    host_filter(&p, 1, x, 1, vocab, CLSAMPLE_PROBABILITIES, prob);
    for (uint32_t i = 0; i < vocab; i++)
        best_p = fmax(best_p, (double)prob[i]);
    for (uint32_t i = 0; i < vocab; i++) {
        const double want = exp(((double)x[i] - (double)best) / (double)p.temperature);

        worst = fmax(worst, fabs((double)prob[i] / best_p / want - 1.0));
    }
    printf("weights, logits about %g at temperature %g: largest relative error %.3g\n",
           (double)scale[_i].centre, (double)scale[_i].temperature, worst);
    ck_assert_double_lt(worst, 1e-6);
    free(prob);
    free(x);
}
END_TEST

/* Log-probabilities are those of the probabilities, to 1e-6. */
START_TEST(logprobs_are_accurate)
{
    enum { MOST = 64 };
    const uint32_t copies = test_scaled("copies of logprobs_are_accurate", MOST, MOST, 8);
    const uint32_t vocab = test_scaled("logits of logprobs_are_accurate", 2048, 1024, 128);
    const uint32_t steps = test_scaled("logprobs_are_accurate steps", 20, 2, 1);
    clsample_params p = setting(_i);
    float *x = test_alloc(copies * vocab * sizeof *x), *prob = test_alloc(vocab * sizeof *prob);
    clsample_result r[MOST];
    double worst = 0.0, worst_exact = 0.0;
    ref_row ref;

    for (uint32_t i = 0; i < copies; i++)
        memcpy(x + i * vocab, rocket, vocab * sizeof *x);
    host_filter(&p, 1, rocket, 1, vocab, CLSAMPLE_PROBABILITIES, prob);
    open_edited(&ref, &p, rocket, vocab);
    const ref_interval kept = ref_exact(&ref, &p, false);
    const clsample_logits in =
        logits_of(dev_upload(x, copies * vocab * sizeof *x), CLSAMPLE_F32, copies, vocab);
    for (p.step = 0; p.step < steps; p.step++) {
        dev_draw(&p, 1, &in, r);
        for (uint32_t i = 0; i < copies; i++) {
            const double got = (double)r[i].logprob, drawn = log((double)prob[r[i].token]);

            worst = fmax(worst, fabs(got - drawn));
            REQUIRE(r[i].kept == kept.last - kept.first, "%s: %lu kept", settings[_i].what,
                    (unsigned long)r[i].kept);
            worst_exact = fmax(worst_exact, fabs(got - ref_logprob(&ref, &p, kept, (uint32_t)r[i].token)));
        }
    }
    printf("log-probabilities, %s: off by %.3g, and %.3g from the exact ones\n", settings[_i].what, worst,
           worst_exact);
    ck_assert_double_lt(worst, 1e-6);
    ck_cl(clReleaseMemObject(in.mem));
    ref_close(&ref);
    free(prob);
    free(x);
}
END_TEST

static Suite *make(void)
{
    Suite *s = suite_create("draw");
    TCase *draws = tcase_create("draws"), *accuracy = tcase_create("accuracy");

    tcase_add_unchecked_fixture(draws, load, unload);
    tcase_add_loop_test(draws, draws_of_real_logits, 0, SETTINGS);
    tcase_add_loop_test(draws, draws_of_random_logits, 0, SETTINGS);
    tcase_add_test(draws, fair_coin);
    suite_add_tcase(s, draws);
    tcase_add_unchecked_fixture(accuracy, load, unload);
    tcase_add_loop_test(accuracy, distribution_is_accurate, 0, SETTINGS);
    tcase_add_loop_test(accuracy, weights_are_accurate, 0, 7);
    tcase_add_loop_test(accuracy, logprobs_are_accurate, 0, SETTINGS);
    suite_add_tcase(s, accuracy);
    return s;
}

int main(void)
{
    return test_main(make);
}
