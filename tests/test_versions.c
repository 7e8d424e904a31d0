/* SPDX-License-Identifier: Apache-2.0 */
/* Programs built against the first version that had a struct, with a library of a later version: every
 * struct has grown by a field (tests/CMakeLists.txt makes that library). The structs here are those of
 * then, for ever, each in memory of exactly its size. */
#include "common.h"
#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 2, VOCAB = 300, LENGTH = 6 };

/* Of 0.1.0. */
typedef struct options_1 {
    uint32_t size, flags;
    const char *cache_dir;
    uint32_t work_group, reserved;
} options_1;
typedef struct params_1 {
    uint32_t size, flags;
    float temperature, min_p;
    uint32_t top_k;
    float top_p;
    uint64_t seed, step;
    uint32_t stream, rules;
} params_1;
typedef struct logits_1 {
    uint32_t size, dtype;
    cl_mem mem;
    size_t offset;
    uint32_t rows, vocab;
    size_t stride;
    cl_mem fallback;
    size_t fallback_offset;
} logits_1;
typedef struct output_1 {
    uint32_t size, reserved;
    cl_mem tokens;
    size_t tokens_offset;
    cl_mem results;
    size_t results_offset;
} output_1;
/* Of the version after it, as the rest. */
typedef struct params_2 {
    uint32_t size, flags;
    float temperature, min_p;
    uint32_t top_k;
    float top_p;
    uint64_t seed, step;
    uint32_t stream, rules;
    float typical_p, top_n_sigma;
    const clsample_bias *bias;
    const int32_t *banned;
    uint32_t n_bias, n_banned;
    uint8_t order[16];
} params_2;
typedef struct generation_1 {
    uint32_t size, flags;
    clsample_model_fn model;
    void *model_user;
    uint32_t vocab, prompts;
    const int32_t *ids;
    const uint32_t *lengths;
    uint32_t ids_stride, samples;
    const clsample_params *params;
    uint32_t n_params, max_length, max_new_tokens, min_tokens, n_eos;
    const int32_t *eos;
    uint32_t n_stops;
    const uint32_t *stop_lengths;
    const int32_t *stop_ids;
    int32_t pad;
    uint32_t check_every;
    clsample_token_fn token;
    void *token_user;
} generation_1;
typedef struct texts_1 {
    uint32_t size, stride;
    int32_t *ids;
    float *logprobs;
    uint32_t *lengths, *finish;
} texts_1;

/* What a call gets: memory of the size, so that a read past it is seen by a sanitizer. */
static void *exactly(const void *bytes, size_t size)
{
    return memcpy(test_alloc(size), bytes, size);
}

static struct {
    float x[ROWS * VOCAB];
    cl_mem mem, results, masked;
    options_1 *options;
    params_1 *params; /* [ROWS] */
    logits_1 *logits;
    output_1 *output;
} made;

static void make_structs(void)
{
    const clsample_options now = test_options();
    const options_1 plain = { .size = sizeof plain,
                              .cache_dir = now.cache_dir,
                              .work_group = now.work_group };
    const params_1 one = { sizeof one, 0, 0.9f, 0.01f, 60, 0.95f, 3, 1, 5, CLSAMPLE_RULES_SEED };
    const params_1 params[ROWS] = { one,
                                    { sizeof one, 0, 1.5f, 0.0f, 0, 0.8f, 4, 0, 9, CLSAMPLE_RULES_VLLM } };

    for (uint32_t r = 0; r < ROWS; r++)
        row_random(made.x + r * VOCAB, VOCAB, SHAPE_NORMAL, r + 1);
    made.mem = dev_upload(made.x, sizeof made.x);
    made.results = dev_buffer(ROWS * sizeof(clsample_result));
    made.masked = dev_buffer(sizeof made.x);
    const logits_1 logits = { .size = sizeof logits, .mem = made.mem, .rows = ROWS, .vocab = VOCAB };
    const output_1 output = { .size = sizeof output, .results = made.results };
    made.options = exactly(&plain, sizeof plain);
    made.params = exactly(params, sizeof params);
    made.logits = exactly(&logits, sizeof logits);
    made.output = exactly(&output, sizeof output);
}

static void drop_structs(void)
{
    free(made.options);
    free(made.params);
    free(made.logits);
    free(made.output);
    clReleaseMemObject(made.mem);
    clReleaseMemObject(made.results);
    clReleaseMemObject(made.masked);
}

#define PARAMS ((const clsample_params *)(const void *)made.params)
#define LOGITS ((const clsample_logits *)(const void *)made.logits)
#define OUTPUT ((const clsample_output *)(const void *)made.output)
#define OPTIONS ((const clsample_options *)(const void *)made.options)

static void check_results(const clsample_result *got)
{
    for (uint32_t r = 0; r < ROWS; r++) {
        clsample_params p = CLSAMPLE_PARAMS_INIT;
        memcpy(&p, &made.params[r], sizeof made.params[r]);
        p.size = sizeof p;
        const clsample_result want = model_draw(made.x + r * VOCAB, VOCAB, &p);
        ck_assert_mem_eq(&got[r], &want, sizeof want);
    }
}

static void check_output(void)
{
    clsample_result got[ROWS];

    ck_cl(clFinish(dev.queue));
    dev_download(made.results, 0, got, sizeof got);
    check_results(got);
    dev_poison(made.results, sizeof got);
}

START_TEST(steps)
{
    clsample_result got[ROWS];
    clsample_recording *recording = NULL;

    ck_ok(clsample_sample(dev.ctx, PARAMS, ROWS, LOGITS, made.x, got));
    check_results(got);
    ck_ok(clsample_enqueue(dev.ctx, dev.queue, PARAMS, ROWS, LOGITS, OUTPUT, 0, NULL, NULL));
    check_output();
    ck_ok(clsample_record(dev.ctx, dev.queue, PARAMS, ROWS, LOGITS, OUTPUT, &recording));
    ck_ok(clsample_replay(recording, 0, NULL, NULL));
    check_output();
    clsample_recording_free(recording);
    ck_ok(clsample_enqueue_filter(dev.ctx, dev.queue, PARAMS, ROWS, LOGITS, CLSAMPLE_PROBABILITIES,
                                  made.masked, 0, 0, NULL, NULL));
    ck_cl(clFinish(dev.queue));
}
END_TEST

/* All that the second version of params has. */
START_TEST(programs)
{
    static const clsample_bias bias[] = { { 17, 3.0f }, { 18, -INFINITY } };
    static const int32_t banned[] = { 5 };
    const params_2 all = { .size = sizeof all,
                           .temperature = 0.8f,
                           .min_p = 0.01f,
                           .top_k = 90,
                           .top_p = 0.95f,
                           .seed = 6,
                           .rules = CLSAMPLE_RULES_VLLM,
                           .typical_p = 0.9f,
                           .top_n_sigma = 2.0f,
                           .bias = bias,
                           .banned = banned,
                           .n_bias = COUNT(bias),
                           .n_banned = COUNT(banned),
                           .order = { CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_TYPICAL_P,
                                      CLSAMPLE_SAMPLER_TOP_N_SIGMA, CLSAMPLE_SAMPLER_TEMPERATURE,
                                      CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_MIN_P } };
    params_2 *params = exactly(&all, sizeof all);
    const clsample_params *given = (const clsample_params *)(const void *)params;
    clsample_result got[ROWS];

    ck_ok(clsample_prepare(dev.ctx, given, 1, LOGITS));
    ck_ok(clsample_sample(dev.ctx, given, 1, LOGITS, made.x, got));
    for (uint32_t r = 0; r < ROWS; r++) {
        const clsample_result want = model_draw(made.x + r * VOCAB, VOCAB, given);
        ck_assert_mem_eq(&got[r], &want, sizeof want);
        params->stream++;
    }
    ck_assert_int_eq(clsample_sampler_is_on(given, CLSAMPLE_SAMPLER_BANNED), 1);
    free(params);
}
END_TEST

/* A greedy row repeats the largest logit of the one that it is always given. */
static int model(void *user, const clsample_model_step *step)
{
    (void)user;
    return clEnqueueWriteBuffer(step->queue, step->logits, CL_FALSE, 0, VOCAB * sizeof *made.x, made.x,
                                step->n_wait, step->wait_list, step->event);
}

START_TEST(texts)
{
    static const int32_t prompt = 7;
    int32_t ids[LENGTH];
    const texts_1 out = { .size = sizeof out, .stride = LENGTH, .ids = ids };
    const generation_1 asked = { .size = sizeof asked,
                                 .model = model,
                                 .vocab = VOCAB,
                                 .prompts = 1,
                                 .ids = &prompt,
                                 .ids_stride = 1,
                                 .samples = 1,
                                 .params = PARAMS,
                                 .n_params = 1,
                                 .max_length = LENGTH };
    clsample_texts *to = exactly(&out, sizeof out);
    clsample_generation *generation = exactly(&asked, sizeof asked);
    const uint32_t flags = made.params[0].flags;

    made.params[0].flags = CLSAMPLE_GREEDY;
    ck_ok(clsample_generate(dev.ctx, dev.queue, generation, to));
    made.params[0].flags = flags;
    for (int i = 2; i < LENGTH; i++)
        ck_assert(ids[i] == ids[1] && made.x[ids[i]] >= made.x[i]);
    free(generation);
    free(to);
}
END_TEST

/* What is written is no more than the caller has. */
START_TEST(options)
{
    struct {
        options_1 told;
        unsigned char after[16];
    } t = { .told.size = sizeof t.told };
    clsample_devices *list = NULL;
    clsample_ctx *ctx = NULL;

    memset(t.after, POISON, sizeof t.after);
    ck_ok(clsample_create(dev.context, dev.id, OPTIONS, &ctx));
    ck_ok(clsample_get_tuning(ctx, (clsample_options *)(void *)&t));
    ck_assert(t.told.size == sizeof t.told && t.told.flags != 0 && t.told.work_group != 0);
    ck_assert(is_poison(t.after, sizeof t.after));
    clsample_destroy(ctx);
    ck_ok(clsample_devices_open(OPTIONS, &list));
    clsample_devices_close(list);
}
END_TEST

/* Smaller than the first version is no struct of any version. */
START_TEST(too_short)
{
    clsample_result got[ROWS];
    clsample_ctx *ctx = NULL;
    uint32_t *const sizes[] = { &made.params[0].size, &made.logits->size, &made.output->size,
                                &made.options->size };

    for (size_t i = 0; i < COUNT(sizes); i++) {
        *sizes[i] -= 4;
        const clsample_status st =
            i < 2    ? clsample_sample(dev.ctx, PARAMS, 1, LOGITS, made.x, got)
            : i == 2 ? clsample_enqueue(dev.ctx, dev.queue, NULL, 1, LOGITS, OUTPUT, 0, NULL, NULL)
                     : clsample_create(dev.context, dev.id, OPTIONS, &ctx);
        *sizes[i] += 4;
        ck_assert_int_eq(st, CLSAMPLE_E_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "size"));
    }
}
END_TEST

static Suite *versions_suite(void)
{
    Suite *suite = suite_create("versions");
    TCase *t = tcase_create("versions");

    tcase_add_unchecked_fixture(t, make_structs, drop_structs);
    tcase_add_test(t, steps);
    tcase_add_test(t, programs);
    tcase_add_test(t, texts);
    tcase_add_test(t, options);
    tcase_add_test(t, too_short);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(versions_suite);
}
