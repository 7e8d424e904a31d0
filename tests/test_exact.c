/* SPDX-License-Identifier: Apache-2.0 */
/* The promise: every device gives the tokens, log-probability bits, counts and statuses of the model, for
 * real and random rows, whatever the dtype, the work-group size or the batch. What all runs must agree on
 * with one another and with every later version is in one digest. */
#include "common.h"
#include "float_modes.h"
#include "model.h"
#include "programs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a over the results of real_rows, all settings in order. A change of it breaks the promise for
 * everybody who stored a seed: it needs a new major version. */
#define REAL_ROWS_DIGEST 0x802250e54b815e13ull

static const struct {
    float temperature, min_p;
    uint32_t top_k;
    float top_p;
} setting[] = {
    { 0.8f, 0.05f, 50, 0.95f }, { 1.0f, 0.0f, 0, 1.0f },     { 1.0f, 0.0f, 0, 0.9f },
    { 0.7f, 0.02f, 0, 1.0f },   { 1.5f, 0.0f, 40, 1.0f },    { 0.0f, 0.0f, 0, 1.0f },
    { 0.3f, 0.5f, 3, 0.5f },    { 2.0f, 0.0f, 5000, 0.99f }, { 1e-6f, 0.0f, 0, 0.5f },
    { 50.0f, 0.9f, 0, 0.3f },   { 1.0f, 1.0f, 0, 1.0f },     { 0.8f, 0.9999999f, 7, 0.7f },
};

static void same(const clsample_result *got, const clsample_result *want, const char *what, unsigned long row,
                 unsigned long set)
{
    REQUIRE(memcmp(got, want, sizeof *got) == 0,
            "%s, row %lu, setting %lu: token %d status %u logprob %a kept %u instead of %d %u %a %u", what,
            row, set, (int)got->token, (unsigned)got->status, (double)got->logprob, (unsigned)got->kept,
            (int)want->token, (unsigned)want->status, (double)want->logprob, (unsigned)want->kept);
}

static clsample_params params_at(size_t set, uint32_t rules, uint64_t seed, uint32_t row)
{
    clsample_params p = params_of(setting[set].temperature, setting[set].min_p, setting[set].top_k,
                                  setting[set].top_p, rules);
    p.seed = seed;
    p.step = set;
    p.stream = row;
    return p;
}

static uint64_t digest(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * 0x100000001b3ull;
    return hash;
}

/* The same for programs of the samplers that came later. */
#define REAL_PROGRAMS_DIGEST 0x65be7c1f38d3fe6dull

START_TEST(real_rows)
{
    uint32_t rows, vocab;
    float *x = npy_load("rocket_logits.npy", &rows, &vocab);
    const uint32_t used = test_scaled("real rows", rows, 3, 1);
    const uint32_t sets = test_scaled("settings of real rows", COUNT(setting), COUNT(setting), 3);
    clsample_result *got = test_alloc(rows * sizeof *got);
    uint64_t hash = 0xcbf29ce484222325ull;

    for (size_t set = 0; set < sets; set++) {
        clsample_params p = params_at(set, CLSAMPLE_RULES_SEED, 20261124, 0);
        host_draw(&p, 1, x, used, vocab, got);
        for (uint32_t r = 0; r < used; r++) {
            p.stream = r;
            const clsample_result want = model_draw(x + (size_t)r * vocab, vocab, &p);
            same(&got[r], &want, "real", r, set);
        }
        hash = digest(hash, got, used * sizeof *got);
    }
    if (used == rows && sets == COUNT(setting))
        ck_assert_msg(hash == REAL_ROWS_DIGEST,
                      "the digest of the real rows is 0x%016llx instead of 0x%016llx",
                      (unsigned long long)hash, (unsigned long long)REAL_ROWS_DIGEST);
    free(got);
    free(x);
}
END_TEST

START_TEST(real_programs)
{
    enum { ROWS = 5 };
    uint32_t rows, vocab;
    float *x = npy_load("rocket_logits.npy", &rows, &vocab);
    const uint32_t used = test_scaled("real rows of programs", ROWS, 1, 1);
    const uint32_t sets = test_scaled("programs of real rows", PROGRAM_KNOWN, 4, 1);
    clsample_result got[ROWS];
    uint64_t hash = 0xcbf29ce484222325ull;
    test_program program;

    for (size_t set = 0; set < sets; set++) {
        program_known(&program, set, vocab);
        program.p.seed = 20261126;
        host_draw(&program.p, 1, x, used, vocab, got);
        for (uint32_t r = 0; r < used; r++) {
            program.p.stream = r;
            const clsample_result want = model_draw(x + (size_t)r * vocab, vocab, &program.p);
            same(&got[r], &want, "real, program", r, set);
        }
        hash = digest(hash, got, used * sizeof *got);
    }
    if (used == ROWS && sets == PROGRAM_KNOWN)
        ck_assert_msg(hash == REAL_PROGRAMS_DIGEST,
                      "the digest of programs on the real rows is 0x%016llx instead of 0x%016llx",
                      (unsigned long long)hash, (unsigned long long)REAL_PROGRAMS_DIGEST);
    free(x);
}
END_TEST

/* Every shape at every boundary size under every rule set, with a sprinkle of special values. */
START_TEST(random_rows)
{
    static const uint32_t size[] = { 1,    2,    63,   64,   65,   127,   128,    129,
                                     1000, 1023, 1024, 1025, 4097, 16385, 151936, 262144 };
    const uint32_t vocab = size[_i];
    const bool wide = vocab > 4000;
    const uint32_t shapes = wide ? test_scaled("shapes of wide rows", SHAPE_COUNT, 2, 1)
                                 : test_scaled("shapes of rows", SHAPE_COUNT, 4, 2);
    const uint32_t some =
        wide ? test_scaled("settings of wide rows", 3, 1, 1) : test_scaled("settings of rows", 12, 2, 1);
    const uint32_t step = (uint32_t)COUNT(setting) / some;
    float *x = test_alloc(vocab * sizeof *x);

    for (uint32_t i = 0; i < shapes; i++) {
        const uint32_t shape = (i + (uint32_t)_i) % SHAPE_COUNT; /* each size begins with another one */
        test_rng rng = { 9000 + 100 * (uint64_t)_i + shape };
        row_random(x, vocab, (test_shape)shape, rng.state);
        if (shape % 2) x[rng_below(&rng, vocab)] = shape == 3 ? (float)NAN : -0.0f;
        for (uint32_t rules = 0; rules < 4; rules++) {
            for (size_t set = (rules + shape) % step; set < COUNT(setting); set += step) {
                const clsample_params p = params_at(set, rules, rng_next(&rng), shape);
                const clsample_result want = model_draw(x, vocab, &p);
                clsample_result got;
                host_draw(&p, 1, x, 1, vocab, &got);
                same(&got, &want, shape_name((test_shape)shape), vocab, set);
            }
        }
    }
    free(x);
}
END_TEST

/* A batch of rows with their own parameters, in each dtype, against the model of the rounded values. */
START_TEST(batch_and_dtype)
{
    enum { MOST_ROWS = 64 };
    const uint32_t vocab = test_scaled("logits of a batch's rows", 3001, 3001, 301);
    const uint32_t dtype = (uint32_t)_i;
    const uint32_t rows = dtype == CLSAMPLE_BF16
                              ? test_scaled("rows of a batch in bfloat16", MOST_ROWS, MOST_ROWS, 6)
                              : test_scaled("rows of a batch", MOST_ROWS, MOST_ROWS, 12);
    /* Their kernels take llvmpipe half a minute each. */
    const bool extras = dtype == CLSAMPLE_F32 || dev.speed != SPEED_SLOW;
    float *x = test_alloc(rows * vocab * sizeof *x);
    test_program *programs = test_alloc(rows * sizeof *programs);
    clsample_params p[MOST_ROWS];
    clsample_result got[MOST_ROWS];

    for (uint32_t r = 0; r < rows; r++) {
        row_random(x + r * vocab, vocab, (test_shape)(r % SHAPE_COUNT), 777 + r);
        program_known(&programs[r], r / 3 % PROGRAM_KNOWN, vocab);
        p[r] = r % 3 == 1 && extras ? programs[r].p : params_at(r % COUNT(setting), r % 4, r * 31, r);
    }
    if (!extras) printf("left out: programs of type %u (slow device)\n", (unsigned)dtype);
    void *stored = dtype_convert(x, rows * vocab, dtype);
    const cl_mem mem = dev_upload(stored, rows * vocab * dtype_size(dtype));
    const clsample_logits in = logits_of(mem, dtype, rows, vocab);
    dev_draw(p, rows, &in, got);
    for (uint32_t i = 0; i < rows * vocab; i++) {
        if (dtype == CLSAMPLE_F16) x[i] = half_to_float(half_from_float(x[i]));
        if (dtype == CLSAMPLE_BF16) x[i] = bf16_to_float(bf16_from_float(x[i]));
    }
    for (uint32_t r = 0; r < rows; r++) {
        const clsample_result want = model_draw(x + r * vocab, vocab, &p[r]);
        same(&got[r], &want, "batch", r, r % COUNT(setting));
    }
    ck_cl(clReleaseMemObject(mem));
    free(programs);
    free(stored);
    free(x);
}
END_TEST

/* A batch that no cache holds, of which CPUs fetch logits ahead: 34 MB, a few rows again and again. */
START_TEST(large_batch)
{
    enum { MOST_ROWS = 17, DIFFERENT = 3 };
    const uint32_t vocab = test_scaled("logits of a large batch's rows", 500001, 3001, 301);
    const uint32_t rows = test_scaled("rows of a large batch", MOST_ROWS, 3, 1);
    float *x = test_alloc((size_t)rows * vocab * sizeof *x);
    clsample_params p[MOST_ROWS];
    clsample_result got[MOST_ROWS];

    for (uint32_t r = 0; r < rows; r++) {
        const uint32_t as = r % DIFFERENT;
        if (r < DIFFERENT)
            row_random(x + (size_t)r * vocab, vocab, (test_shape)r, 888 + r);
        else
            memcpy(x + (size_t)r * vocab, x + (size_t)as * vocab, vocab * sizeof *x);
        p[r] = params_at(as, as, as * 17, as);
    }
    const cl_mem mem = dev_upload(x, (size_t)rows * vocab * sizeof *x);
    const clsample_logits in = logits_of(mem, CLSAMPLE_F32, rows, vocab);
    dev_draw(p, rows, &in, got);
    for (uint32_t r = 0; r < rows; r++) {
        const clsample_result want =
            r < DIFFERENT ? model_draw(x + (size_t)r * vocab, vocab, &p[r]) : got[r % DIFFERENT];
        same(&got[r], &want, "large batch", r, r % DIFFERENT);
    }
    ck_cl(clReleaseMemObject(mem));
    free(x);
}
END_TEST

/* An application that rounds upward, or flushes denormals, gets the same: from a context that is there, and
 * from one that is made then. */
START_TEST(callers_floats)
{
    enum { VOCAB = 5003 };
    static test_program programs[PROGRAM_KNOWN];
    const uint32_t sets =
        (uint32_t)COUNT(setting) + test_scaled("programs of callers_floats", PROGRAM_KNOWN, 2, 2);
    const clsample_options options = test_options();
    float *x = test_alloc(VOCAB * sizeof *x);
    clsample_ctx *ctx = NULL;

    if (dev.speed == SPEED_SIMULATED) {
        printf("left out: floats %s (a simulator computes in the caller's thread)\n", float_mode[_i].name);
        free(x);
        return;
    }
    row_random(x, VOCAB, SHAPE_PEAKY, 4242);
    for (size_t i = 0; i < PROGRAM_KNOWN; i++)
        program_known(&programs[i], i, VOCAB);
    float_mode_set((size_t)_i);
    const clsample_status st = clsample_create(dev.context, dev.id, &options, &ctx);
    float_mode_set(0);
    if (st == CLSAMPLE_E_DEVICE && dev.speed != SPEED_FULL)
        printf("left out: a context made with floats %s (the driver's threads took that over: %s)\n",
               float_mode[_i].name, clsample_last_error()->message);
    else
        ck_ok(st);
    for (uint32_t set = 0; set < sets; set++) {
        const clsample_params p =
            set < COUNT(setting) ? params_at(set, set % 4, set * 7, set) : programs[set - COUNT(setting)].p;
        const clsample_result want = model_draw(x, VOCAB, &p);
        clsample_logits in = logits_of(NULL, CLSAMPLE_F32, 1, VOCAB);
        for (int other = 0; other < (ctx ? 2 : 1); other++) {
            clsample_result got;
            float_mode_set((size_t)_i);
            const clsample_status done = clsample_sample(other ? ctx : dev.ctx, &p, 1, &in, x, &got);
            float_mode_set(0);
            ck_ok(done);
            same(&got, &want, float_mode[_i].name, (unsigned long)other, set);
        }
    }
    clsample_destroy(ctx);
    free(x);
}
END_TEST

static Suite *exact_suite(void)
{
    Suite *suite = suite_create("exact");
    TCase *recorded = tcase_create("recorded"), *t = tcase_create("model");

    tcase_set_timeout(recorded, 0);
    tcase_add_test(recorded, real_rows);
    tcase_add_test(recorded, real_programs);
    tcase_add_loop_test(recorded, callers_floats, 0, (int)COUNT(float_mode));
    suite_add_tcase(suite, recorded);
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, random_rows, 0, (int)test_scaled("sizes of rows", 16, 10, 8));
    tcase_add_loop_test(t, batch_and_dtype, 0, (int)test_scaled("types of a batch", 3, 2, 3));
    tcase_add_test(t, large_batch);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(exact_suite);
}
