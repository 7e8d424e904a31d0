/* SPDX-License-Identifier: Apache-2.0 */
/* The real model on a device: logits and greedy tokens as its weights in float32 give them. Skipped
 * without the file, and left out on slow devices and simulators, which would take hours. */
#include "session.h"
#include "smollm2.h"

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

static session open_session(const llama_options *options)
{
    llama_options o = *options;
    gguf *file = NULL;

    o.context = CONTEXT;
    ck_assert_msg(gguf_open(path, &file, &error), "%s", error.message);
    return session_open(file, &o);
}

/* Put the tokens of an array at the row's end. */
static void append(session *s, uint32_t row, const json_t *ids)
{
    s->fresh[row] = (uint32_t)json_array_size(ids);
    for (uint32_t i = 0; i < s->fresh[row]; i++)
        s->host_ids[row * s->stride + s->lengths[row]++] =
            (int32_t)json_integer_value(json_array_get(ids, i));
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
        const double got = (double)session_logits(s, row)[id];
        const double off = fabs(got - json_real_value(json_array_get(want, i)));
        ck_assert_msg(off <= TOLERANCE, "logit of %d: %g, which is off by %g", id, got, off);
        *worst = off > *worst ? off : *worst;
    }
}

/* Each row a prompt, as often as there are rows; then one greedy token after the other, `steps` of them. */
static void run_prompts(const llama_options *options, uint32_t first, uint32_t steps)
{
    session s = open_session(options);
    const uint32_t rows = s.rows;
    double worst = 0;

    for (uint32_t r = 0; r < rows; r++)
        append(&s, r, json_object_get(json_array_get(answers, first + r), "prompt_ids"));
    session_run(&s);
    for (uint32_t r = 0; r < rows; r++)
        check_logits(&s, r, json_array_get(answers, first + r), &worst);
    for (uint32_t i = 0; i < steps; i++) {
        for (uint32_t r = 0; r < rows; r++) {
            const json_t *greedy = json_object_get(json_array_get(answers, first + r), "greedy_ids");
            const int32_t want = (int32_t)json_integer_value(json_array_get(greedy, i));
            const int32_t got = largest(session_logits(&s, r), s.vocab);
            ck_assert_msg(got == want, "prompt %u, token %u: %d instead of %d", first + r, i, (int)got,
                          (int)want);
            s.host_ids[r * s.stride + s.lengths[r]++] = got;
            s.fresh[r] = 1;
        }
        if (i + 1 < steps) session_run(&s);
    }
    printf("%s, %u rows from prompt %u: logits off by at most %.2g\n", llama_form_name(s.model), rows, first,
           worst);
    ck_assert_uint_le(llama_weight_bytes(s.model), file_bytes + file_bytes * 3 / 20);
    session_close(&s);
}

START_TEST(prompts_alone)
{
    const llama_options options = { 0 };

    if ((uint32_t)_i < test_scaled("prompts", 4, 0, 0)) run_prompts(&options, (uint32_t)_i, 24);
}
END_TEST

START_TEST(prompts_together)
{
    const llama_options options = { .rows = (uint32_t)json_array_size(answers) };

    if (test_scaled("prompts", 4, 0, 0) == 4) run_prompts(&options, 0, 24);
}
END_TEST

/* The other form of the kernels, and every prompt through CLBlast. */
START_TEST(prompts_otherwise)
{
    const llama_options options = { .form = _i ? LLAMA_FORM_GROUPS : LLAMA_FORM_VECTORS, .gemm_from = 2 };

    if (test_scaled("prompts", 4, 0, 0) == 4) run_prompts(&options, 0, 6);
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
