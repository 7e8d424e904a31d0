/* SPDX-License-Identifier: Apache-2.0 */
/* The real model on a device: logits and greedy tokens as its weights in float32 give them. Skipped
 * without the file, and left out on slow devices and simulators, which would take hours. */
#include "common.h"
#include "smollm2.h"

#include "model/llama.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 2e-3 /* of a logit */
#define CONTEXT 64u

static const char *path;
static json_t *answers;
static size_t file_bytes;
static model_error error;

typedef struct session {
    llama *model;
    cl_mem ids, logits;
    int32_t *host_ids; /* [rows, CONTEXT] */
    float *host_logits;
    uint32_t *lengths, *fresh;
} session;

static session open_session(const llama_options *options)
{
    const clsample_options cache = test_options();
    llama_options o = *options;
    session s = { 0 };
    gguf *file = NULL;

    o.context = CONTEXT;
    o.cache_dir = cache.cache_dir;
    ck_assert_msg(gguf_open(path, &file, &error), "%s", error.message);
    ck_assert_msg(llama_open(file, dev.context, dev.id, dev.queue, &o, &s.model, &error), "%s\n%s",
                  error.message, clsample_last_error()->log);
    gguf_close(file);
    const size_t rows = llama_rows(s.model), vocab = llama_vocab(s.model);
    s.ids = dev_buffer(rows * CONTEXT * sizeof(int32_t));
    s.logits = dev_buffer(rows * vocab * sizeof(float));
    s.host_ids = test_alloc(rows * CONTEXT * sizeof(int32_t));
    s.host_logits = test_alloc(rows * vocab * sizeof(float));
    s.lengths = calloc(rows, sizeof *s.lengths);
    s.fresh = calloc(rows, sizeof *s.fresh);
    ck_assert(s.lengths && s.fresh);
    memset(s.host_ids, 0, rows * CONTEXT * sizeof(int32_t));
    return s;
}

static void close_session(session *s)
{
    llama_close(s->model);
    ck_cl(clReleaseMemObject(s->ids));
    ck_cl(clReleaseMemObject(s->logits));
    free(s->host_ids);
    free(s->host_logits);
    free(s->lengths);
    free(s->fresh);
}

/* The step that lengths and fresh ask for; logits come to the host. */
static void run_step(session *s)
{
    const size_t rows = llama_rows(s->model), vocab = llama_vocab(s->model);
    const llama_step step = {
        .ids = s->ids, .stride = CONTEXT, .lengths = s->lengths, .fresh = s->fresh, .logits = s->logits
    };

    ck_cl(clEnqueueWriteBuffer(dev.queue, s->ids, CL_TRUE, 0, rows * CONTEXT * sizeof(int32_t), s->host_ids,
                               0, NULL, NULL));
    ck_assert_msg(llama_enqueue(s->model, &step, &error), "%s", error.message);
    dev_download(s->logits, 0, s->host_logits, rows * vocab * sizeof(float));
}

/* Put the tokens of an array at the row's end. */
static void append(session *s, uint32_t row, const json_t *ids)
{
    s->fresh[row] = (uint32_t)json_array_size(ids);
    for (uint32_t i = 0; i < s->fresh[row]; i++)
        s->host_ids[row * CONTEXT + s->lengths[row]++] = (int32_t)json_integer_value(json_array_get(ids, i));
}

static int32_t largest(const float *x, uint32_t n)
{
    int32_t best = 0;

    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = (int32_t)i;
    return best;
}

static void check_logits(const session *s, uint32_t row, const json_t *answer, double *worst)
{
    const json_t *ids = json_object_get(answer, "top20_ids"), *want = json_object_get(answer, "top20_logits");

    ck_assert_uint_eq(json_array_size(ids), 20);
    for (size_t i = 0; i < 20; i++) {
        const int id = (int)json_integer_value(json_array_get(ids, i));
        const double got = (double)s->host_logits[(size_t)row * llama_vocab(s->model) + (size_t)id];
        const double off = fabs(got - json_real_value(json_array_get(want, i)));
        ck_assert_msg(off <= TOLERANCE, "logit of %d: %g, which is off by %g", id, got, off);
        *worst = off > *worst ? off : *worst;
    }
}

/* Each row a prompt, as often as there are rows; then one greedy token after the other. */
static void run_prompts(const llama_options *options, uint32_t first)
{
    session s = open_session(options);
    const uint32_t rows = llama_rows(s.model), vocab = llama_vocab(s.model);
    const uint32_t steps = test_scaled("greedy tokens", 24, 2, 2);
    double worst = 0;

    for (uint32_t r = 0; r < rows; r++)
        append(&s, r, json_object_get(json_array_get(answers, first + r), "prompt_ids"));
    run_step(&s);
    for (uint32_t r = 0; r < rows; r++)
        check_logits(&s, r, json_array_get(answers, first + r), &worst);
    for (uint32_t i = 0; i < steps; i++) {
        for (uint32_t r = 0; r < rows; r++) {
            const json_t *greedy = json_object_get(json_array_get(answers, first + r), "greedy_ids");
            const int32_t want = (int32_t)json_integer_value(json_array_get(greedy, i));
            const int32_t got = largest(s.host_logits + (size_t)r * vocab, vocab);
            ck_assert_msg(got == want, "prompt %u, token %u: %d instead of %d", first + r, i, (int)got,
                          (int)want);
            s.host_ids[r * CONTEXT + s.lengths[r]++] = got;
            s.fresh[r] = 1;
        }
        if (i + 1 < steps) run_step(&s);
    }
    printf("%s, %u rows from prompt %u: logits off by at most %.2g\n", llama_form_name(s.model), rows, first,
           worst);
    ck_assert_uint_le(llama_weight_bytes(s.model), file_bytes + file_bytes * 3 / 20);
    close_session(&s);
}

START_TEST(prompts_alone)
{
    const llama_options options = { 0 };

    if ((uint32_t)_i < test_scaled("prompts", 4, 0, 0)) run_prompts(&options, (uint32_t)_i);
}
END_TEST

START_TEST(prompts_together)
{
    const llama_options options = { .rows = (uint32_t)json_array_size(answers) };

    if (test_scaled("prompts", 4, 0, 0) == 4) run_prompts(&options, 0);
}
END_TEST

/* The other form of the kernels, and every prompt through CLBlast. */
START_TEST(prompts_otherwise)
{
    const llama_options options = { .form = _i ? LLAMA_FORM_GROUPS : LLAMA_FORM_VECTORS, .gemm_from = 2 };

    if (test_scaled("prompts", 4, 0, 0) == 4) run_prompts(&options, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("smollm2");
    TCase *t = tcase_create("smollm2");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_loop_test(t, prompts_alone, 0, (int)json_array_size(answers));
    tcase_add_test(t, prompts_together);
    tcase_add_loop_test(t, prompts_otherwise, 0, 2);
    suite_add_tcase(s, t);
    return s;
}

static size_t size_of_file(void)
{
    FILE *f = fopen(path, "rb");
    const long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : 0;

    if (f) fclose(f);
    return size > 0 ? (size_t)size : 0;
}

int main(void)
{
    path = smollm2_path();
    if (!path) return 77;
    file_bytes = size_of_file();
    answers = smollm2_answers("model");
    const int code = test_main(suite);
    json_decref(answers);
    return code;
}
