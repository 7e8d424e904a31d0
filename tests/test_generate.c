/* SPDX-License-Identifier: Apache-2.0 */
/* The loop that generates texts: the article's own cases, and that both forms, every batch and every kind of
 * queue give the same. The models are kernels of a few lines, whose logits the host can work out too. Calls
 * of the library that allocate are counted: the linker puts those of this file in their place (--wrap). */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 40, DEAD = 39, MOST_ROWS = 16, MOST_LENGTH = 32 };

/* ---- Allocations, which are counted ---- */

static unsigned allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
cl_mem __real_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
cl_mem __wrap_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}
cl_mem __wrap_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error)
{
    allocations++;
    return __real_clCreateBuffer(context, flags, size, host, error);
}

/* ---- Models ---- */

/* Each is launched for one row, which has `n` tokens. `next` is the article's: 10 for the id after the last,
 * 0 for the others. `noise` has logits that hang on the last two tokens and the length; after DEAD all are
 * masked. `holes` is `next` with NaN for id 7 in each third step, and for all ids after 10 tokens. They read
 * ids that only the device knows. */
static const char source[] =
    "__kernel void next(__global const int *ids, uint stride, uint vocab, uint r, uint n,\n"
    "                   __global float *logits)\n"
    "{\n"
    "    const uint v = get_global_id(0);\n"
    "    logits[r * vocab + v] = v == (uint)(ids[r * stride + n - 1] + 1) % vocab ? 10.0f : 0.0f;\n"
    "}\n"
    "__kernel void noise(__global const int *ids, uint stride, uint vocab, uint r, uint n,\n"
    "                    __global float *logits)\n"
    "{\n"
    "    const uint v = get_global_id(0), last = (uint)ids[r * stride + n - 1];\n"
    "    const uint older = n > 1 ? (uint)ids[r * stride + n - 2] : 0;\n"
    "    uint h = v * 2654435761u ^ last * 2246822519u ^ older * 3266489917u ^ n * 668265263u;\n"
    "    h = (h ^ h >> 15) * 739982445u;\n"
    "    h = (h ^ h >> 12) & 2047u;\n"
    "    logits[r * vocab + v] = last == 39u ? -INFINITY : (float)h * 0.00390625f;\n"
    "}\n"
    "__kernel void holes(__global const int *ids, uint stride, uint vocab, uint r, uint n,\n"
    "                    __global float *logits)\n"
    "{\n"
    "    const uint v = get_global_id(0);\n"
    "    const float x = v == (uint)(ids[r * stride + n - 1] + 1) % vocab ? 10.0f : 0.0f;\n"
    "    logits[r * vocab + v] = n == 10u || (v == 7u && n % 3u == 0u) ? NAN : x;\n"
    "}\n";

/* The same of `noise` on the host. */
static float noise_at(const int32_t *ids, uint32_t n, uint32_t v)
{
    const uint32_t last = (uint32_t)ids[n - 1], older = n > 1 ? (uint32_t)ids[n - 2] : 0;
    uint32_t h = v * 2654435761u ^ last * 2246822519u ^ older * 3266489917u ^ n * 668265263u;

    h = (h ^ h >> 15) * 739982445u;
    h = (h ^ h >> 12) & 2047u;
    return last == DEAD ? -INFINITY : (float)h * 0.00390625f;
}

typedef struct mock {
    cl_kernel kernel;
    uint32_t calls;
    uint32_t fail_at;      /* the call that fails, counted from 1; 0 = none */
    bool forget;           /* the event */
    bool break_event;      /* hand back one that has failed */
    unsigned before, last; /* allocations at the second call, and at the last */
} mock;

static cl_program program;

/* One row's launch, after the one before if it was a row's too: *event is then replaced. */
static int launch_row(const mock *m, const clsample_model_step *s, uint32_t r, cl_event *event)
{
    const size_t global = s->vocab;
    const struct {
        size_t size;
        const void *value;
    } arguments[] = { { sizeof s->ids, &s->ids },          { sizeof s->stride, &s->stride },
                      { sizeof s->vocab, &s->vocab },      { sizeof r, &r },
                      { sizeof(cl_uint), &s->lengths[r] }, { sizeof s->logits, &s->logits } };
    const cl_event before = *event;

    for (cl_uint i = 0; i < COUNT(arguments); i++)
        if (clSetKernelArg(m->kernel, i, arguments[i].size, arguments[i].value) != CL_SUCCESS) return 1;
    *event = NULL;
    const cl_int error =
        clEnqueueNDRangeKernel(s->queue, m->kernel, 1, NULL, &global, NULL, before ? 1 : s->n_wait,
                               before ? &before : s->wait_list, s->event ? event : NULL);
    if (before) clReleaseEvent(before);
    return error == CL_SUCCESS ? 0 : 2;
}

/* A user event that has failed, in the place of another. */
static cl_event failed_event(cl_event event)
{
    cl_int error = CL_SUCCESS;
    const cl_event failed = clCreateUserEvent(dev.context, &error);

    ck_cl(error);
    ck_cl(clSetUserEventStatus(failed, CL_OUT_OF_RESOURCES));
    if (event) ck_cl(clReleaseEvent(event));
    return failed;
}

static int run_mock(void *user, const clsample_model_step *s)
{
    mock *m = user;
    cl_event event = NULL;
    int code = 0;

    m->last = allocations;
    if (++m->calls == 2) m->before = allocations;
    if (m->calls == m->fail_at) return 42;
    for (uint32_t r = 0; code == 0 && r < s->rows; r++)
        if (s->fresh[r] > 0) code = launch_row(m, s, r, &event);
    if (m->break_event && s->event) event = failed_event(event);
    if (m->forget && event) clReleaseEvent(event);
    if (s->event && !m->forget) *s->event = event;
    return code;
}

static mock mock_of(const char *name)
{
    cl_int error = CL_SUCCESS;
    mock m = { 0 };

    m.kernel = clCreateKernel(program, name, &error);
    ck_cl(error);
    return m;
}

static void build_models(void)
{
    const char *text = source;
    cl_int error = CL_SUCCESS;

    program = clCreateProgramWithSource(dev.context, 1, &text, NULL, &error);
    ck_cl(error);
    ck_cl(clBuildProgram(program, 1, &dev.id, "-cl-std=CL1.2", NULL, NULL));
}

static void drop_models(void)
{
    clReleaseProgram(program);
}

/* ---- What is generated ---- */

typedef struct texts {
    int32_t ids[MOST_ROWS][MOST_LENGTH];
    float logprobs[MOST_ROWS][MOST_LENGTH];
    uint32_t lengths[MOST_ROWS], finish[MOST_ROWS];
} texts;

static clsample_generation generation_of(mock *m, uint32_t vocab, const int32_t *ids, uint32_t prompts,
                                         uint32_t stride)
{
    clsample_generation g = CLSAMPLE_GENERATION_INIT;

    g.model = run_mock;
    g.model_user = m;
    g.vocab = vocab;
    g.ids = ids;
    g.prompts = prompts;
    g.ids_stride = stride;
    return g;
}

static clsample_status try_on(cl_command_queue queue, const clsample_generation *g, texts *t)
{
    clsample_texts out = CLSAMPLE_TEXTS_INIT;

    memset(t, POISON, sizeof *t);
    out.stride = MOST_LENGTH;
    out.ids = t->ids[0];
    out.logprobs = t->logprobs[0];
    out.lengths = t->lengths;
    out.finish = t->finish;
    return clsample_generate(dev.ctx, queue, g, &out);
}

static void generate(const clsample_generation *g, texts *t)
{
    ck_ok(try_on(dev.queue, g, t));
}

static void check_row(const texts *a, uint32_t i, const texts *b, uint32_t k, uint32_t length,
                      const char *what)
{
    ck_assert_msg(a->lengths[i] == b->lengths[k] && a->finish[i] == b->finish[k],
                  "%s: row %u has %u tokens, %s; row %u has %u, %s", what, (unsigned)i,
                  (unsigned)a->lengths[i], clsample_finish_name(a->finish[i]), (unsigned)k,
                  (unsigned)b->lengths[k], clsample_finish_name(b->finish[k]));
    ck_assert_msg(memcmp(a->ids[i], b->ids[k], length * sizeof(int32_t)) == 0, "%s: ids of rows %u, %u", what,
                  (unsigned)i, (unsigned)k);
    ck_assert_msg(memcmp(a->logprobs[i], b->logprobs[k], length * sizeof(float)) == 0,
                  "%s: log-probabilities of rows %u, %u", what, (unsigned)i, (unsigned)k);
}

/* ---- The article's cases ---- */

static const struct {
    const char *what;
    float temperature;
    uint32_t max_length;
    int32_t prompt[2], eos, want[8];
    uint32_t length, finish;
} article[] = {
    { "greedy", 0, 7, { 1, 2 }, 9, { 1, 2, 3, 4, 5, 6, 7 }, 7, CLSAMPLE_FINISH_LENGTH },
    { "greedy, eos", 0, 7, { 5, 6 }, 9, { 5, 6, 7, 8, 9, 0, 0 }, 5, CLSAMPLE_FINISH_EOS },
    { "cold", 0.01f, 6, { 1, 2 }, 9, { 1, 2, 3, 4, 5, 6 }, 6, CLSAMPLE_FINISH_LENGTH },
    { "cold, eos", 0.01f, 6, { 5, 6 }, 9, { 5, 6, 7, 8, 9, 0 }, 5, CLSAMPLE_FINISH_EOS },
    { "short", 0, 4, { 1, 2 }, 9, { 1, 2, 3, 4 }, 4, CLSAMPLE_FINISH_LENGTH },
    { "pads", 0, 8, { 5, 6 }, 9, { 5, 6, 7, 8, 9, 0, 0, 0 }, 5, CLSAMPLE_FINISH_EOS },
    { "no eos", 0, 8, { 5, 6 }, -1, { 5, 6, 7, 8, 9, 0, 1, 2 }, 8, CLSAMPLE_FINISH_LENGTH },
    { "eos at the very end", 0, 5, { 5, 6 }, 9, { 5, 6, 7, 8, 9 }, 5, CLSAMPLE_FINISH_EOS },
    { "as long as allowed", 0, 2, { 1, 2 }, 9, { 1, 2 }, 2, CLSAMPLE_FINISH_LENGTH },
    { "longer", 0, 1, { 1, 2 }, 9, { 1 }, 1, CLSAMPLE_FINISH_LENGTH },
    { "prompt ends with eos", 0, 5, { 1, 9 }, 9, { 1, 9, 0, 0, 0 }, 2, CLSAMPLE_FINISH_PROMPT },
    { "eos earlier in the prompt", 0, 4, { 9, 1 }, 9, { 9, 1, 2, 3 }, 4, CLSAMPLE_FINISH_LENGTH },
};

START_TEST(article_cases)
{
    mock m = mock_of("next");

    for (size_t i = 0; i < COUNT(article); i++) {
        clsample_params p = params_default();
        texts t;
        clsample_generation g = generation_of(&m, 10, article[i].prompt, 1, 2);
        p.temperature = article[i].temperature;
        g.params = &p;
        g.max_length = article[i].max_length;
        g.check_every = 2;
        g.n_eos = article[i].eos >= 0 ? 1 : 0;
        g.eos = &article[i].eos;
        g.flags = _i ? CLSAMPLE_EAGER : 0;
        generate(&g, &t);
        ck_assert_msg(memcmp(t.ids[0], article[i].want, g.max_length * sizeof(int32_t)) == 0, "%s: other ids",
                      article[i].what);
        ck_assert_msg(is_poison(&t.ids[0][g.max_length], 4), "%s: written past max_length", article[i].what);
        ck_assert_msg(t.lengths[0] == article[i].length && t.finish[0] == article[i].finish,
                      "%s: %u tokens, %s", article[i].what, (unsigned)t.lengths[0],
                      clsample_finish_name(t.finish[0]));
    }
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* Both of the article's rows at once, with its default length and another pad; a pad that is drawn is a
 * token like others. */
START_TEST(article_batch)
{
    static const int32_t prompts[2][2] = { { 1, 2 }, { 5, 6 } }, eos = 9;
    static const int32_t want[2][20] = {
        { 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3 },
        { 5, 6, 7, 8, 9, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3 },
    };
    mock m = mock_of("next");
    clsample_params p = params_default();
    clsample_generation g = generation_of(&m, 10, prompts[0], 2, 2);
    texts t;

    p.temperature = 0;
    g.params = &p;
    g.eos = &eos;
    g.n_eos = 1;
    g.pad = 3;
    generate(&g, &t);
    for (int r = 0; r < 2; r++)
        ck_assert(memcmp(t.ids[r], want[r], sizeof want[r]) == 0);
    ck_assert_uint_eq(t.lengths[0], 9);
    ck_assert_uint_eq(m.calls, 16); /* two lists of eight: it ends when all rows have */
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* ---- Rows of their own ---- */

static const int32_t prompts8[8][4] = { { 1 },  { 2, 3 },   { 4, 5, 6 }, { 7, 8, 9, 10 },
                                        { 11 }, { 12, 13 }, { 14, 7 },   { 15, 3, 8, 1 } };
static const uint32_t lengths8[8] = { 1, 2, 3, 4, 1, 2, 2, 4 };
static const int32_t ends8[] = { 21, 30 }, stops8[] = { 5, 17, 17, 4 };
static const uint32_t stop_lengths8[] = { 1, 2, 1 };

/* Both ends of text among them, and a token twice. */
static const clsample_bias bias8[] = { { 3, 2.5f }, { 21, 3.0f }, { 3, -0.5f }, { 30, -INFINITY } };
static const int32_t banned8[] = { 11, 3, 25 };

/* Everything at once: lengths, parameters, seeds, edits, two ends of text, stop sequences, min_tokens. */
static clsample_generation mixed(mock *m, uint32_t prompts, clsample_params p[8])
{
    clsample_generation g = generation_of(m, VOCAB, prompts8[0], prompts, 4);

    for (uint32_t i = 0; i < 8; i++) {
        p[i] = params_of(0.5f + 0.25f * (float)i, i % 2 ? 0.05f : 0, i % 3 ? 20 : 0, i % 4 ? 0.9f : 1, i % 4);
        p[i].seed = 100 + i;
        p[i].step = 5 * i;
        p[i].flags = i == 5 ? CLSAMPLE_GREEDY : 0;
        p[i].bias = bias8;
        p[i].n_bias = i % 3 == 1 ? COUNT(bias8) : 0;
        p[i].banned = banned8;
        p[i].n_banned = i % 4 == 1 ? COUNT(banned8) : 0;
        p[i].typical_p = i == 2 ? 0.9f : 1;
        p[i].top_n_sigma = i == 3 ? 1.5f : 0;
    }
    g.lengths = lengths8;
    g.params = p;
    g.n_params = prompts;
    g.max_length = 26;
    g.max_new_tokens = test_scaled("new tokens of a row", 23, 9, 5);
    g.n_eos = COUNT(ends8);
    g.eos = ends8;
    g.n_stops = COUNT(stop_lengths8);
    g.stop_lengths = stop_lengths8;
    g.stop_ids = stops8;
    g.min_tokens = 2;
    g.pad = -7;
    return g;
}

/* Every form, list and queue, one prompt or eight: the same tokens, log-probabilities, reasons. */
START_TEST(forms_agree)
{
    static const uint32_t every[] = { 3, 1, 8, 100 };
    const uint32_t prompts = _i ? 8 : 1;
    mock m = mock_of("noise");
    clsample_params p[8];
    texts want, got;
    clsample_generation g = mixed(&m, prompts, p);
    const uint32_t lists = test_scaled("lengths of lists", COUNT(every), 1, 1);

    g.flags = CLSAMPLE_EAGER;
    generate(&g, &want);
    g.flags = 0;
    for (uint32_t k = 0; k < 2 * lists; k++) {
        const cl_command_queue queue = dev_make_queue(k % 2);
        if (!queue) continue;
        g.check_every = every[k / 2];
        ck_ok(try_on(queue, &g, &got));
        for (uint32_t r = 0; r < prompts; r++)
            check_row(&want, r, &got, r, 26, "eager and resident");
        ck_cl(clReleaseCommandQueue(queue));
    }
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

START_TEST(alone_and_together)
{
    mock m = mock_of("noise");
    clsample_params p[8];
    texts together, alone;
    clsample_generation g = mixed(&m, 8, p);

    generate(&g, &together);
    for (uint32_t r = 0; r < test_scaled("rows alone", 8, 3, 2); r++) {
        g = mixed(&m, 1, p);
        g.ids = prompts8[r];
        g.lengths = &lengths8[r];
        g.params = &p[r];
        generate(&g, &alone);
        check_row(&together, r, &alone, 0, 26, "together and alone");
    }
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* Token by token what clsample_sample gives for the same logits: one random number a token. */
START_TEST(like_sample)
{
    mock m = mock_of("noise");
    clsample_params p[8];
    float x[VOCAB];
    texts t;
    clsample_generation g = mixed(&m, 8, p);

    generate(&g, &t);
    for (uint32_t r = 0; r < 8; r++) {
        for (uint32_t i = lengths8[r]; i < t.lengths[r]; i++) {
            clsample_result want;
            clsample_params own = p[r];
            own.step += i - lengths8[r];
            for (uint32_t v = 0; v < VOCAB; v++)
                x[v] = noise_at(t.ids[r], i, v);
            for (size_t e = 0; e < COUNT(ends8) && i - lengths8[r] < g.min_tokens; e++)
                x[ends8[e]] = -INFINITY;
            host_draw(&own, 1, x, 1, VOCAB, &want);
            ck_assert_msg(want.token == t.ids[r][i] &&
                              memcmp(&want.logprob, &t.logprobs[r][i], sizeof(float)) == 0,
                          "row %u, token %u: %d, %a instead of %d, %a", (unsigned)r, (unsigned)i,
                          (int)t.ids[r][i], (double)t.logprobs[r][i], (int)want.token, (double)want.logprob);
        }
    }
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* Sample j of prompt i is had alone with the stream that the header says, with one set of parameters for all
 * and with one for each prompt. */
START_TEST(samples_alone)
{
    const bool own = _i;
    mock m = mock_of("noise");
    clsample_params p[8], q;
    texts all, alone;
    clsample_generation g = mixed(&m, 2, p);

    if (!own) g.n_params = 1;
    g.samples = 3;
    generate(&g, &all);
    ck_assert(memcmp(all.ids[0], all.ids[1], sizeof all.ids[0]) != 0);
    ck_assert(memcmp(all.ids[1], all.ids[2], sizeof all.ids[0]) != 0);
    for (uint32_t row = 0; row < 6; row += test_scaled("samples alone", 6, 2, 2) == 6 ? 1 : 4) {
        const uint32_t i = row / 3, j = row % 3;
        g = mixed(&m, 1, p);
        g.ids = prompts8[i];
        g.lengths = &lengths8[i];
        q = p[own ? i : 0];
        q.stream += (own ? 0 : i) + CLSAMPLE_SAMPLE_STREAM * j;
        g.params = &q;
        generate(&g, &alone);
        check_row(&all, row, &alone, 0, 26, "a sample alone");
    }
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* ---- Ends ---- */

typedef struct ends_case {
    const char *what;
    int32_t eos[2];
    uint32_t n_eos;
    uint32_t stop_lengths[2];
    int32_t stops[6];
    uint32_t n_stops, min_tokens, max_new;
    uint32_t length, finish; /* of the row that begins with 1, 2 and counts up */
} ends_case;

static const ends_case ends[] = {
    { "the first of two eos", { 7, 5 }, 2, { 0 }, { 0 }, 0, 0, 0, 5, CLSAMPLE_FINISH_EOS },
    { "a stop sequence", { 0 }, 0, { 2 }, { 4, 5 }, 1, 0, 0, 5, CLSAMPLE_FINISH_STOP },
    { "the shorter of two", { 0 }, 0, { 3, 1 }, { 5, 6, 7, 6 }, 2, 0, 0, 6, CLSAMPLE_FINISH_STOP },
    { "none in the prompt", { 0 }, 0, { 2 }, { 2, 3 }, 1, 0, 9, 11, CLSAMPLE_FINISH_LENGTH },
    { "longer than the text", { 0 }, 0, { 6 }, { 1, 2, 3, 4, 5, 6 }, 1, 0, 9, 11, CLSAMPLE_FINISH_LENGTH },
    { "too early to stop", { 0 }, 0, { 1 }, { 4 }, 1, 3, 15, 14, CLSAMPLE_FINISH_STOP },
    { "eos before stop", { 5 }, 1, { 1 }, { 5 }, 1, 0, 0, 5, CLSAMPLE_FINISH_EOS },
    { "max_new_tokens", { 0 }, 0, { 0 }, { 0 }, 0, 0, 4, 6, CLSAMPLE_FINISH_LENGTH },
    { "stop at the last token", { 0 }, 0, { 1 }, { 5 }, 1, 0, 3, 5, CLSAMPLE_FINISH_STOP },
};

START_TEST(ends_of_texts)
{
    static const int32_t prompt[] = { 1, 2 };
    mock m = mock_of("next");

    for (size_t i = 0; i < COUNT(ends); i++) {
        const ends_case *e = &ends[i];
        clsample_params p = params_default();
        clsample_generation g = generation_of(&m, 10, prompt, 1, 2);
        texts t;
        p.flags = CLSAMPLE_GREEDY;
        g.params = &p;
        g.max_new_tokens = e->max_new ? e->max_new : 20;
        g.n_eos = e->n_eos;
        g.eos = e->eos;
        g.n_stops = e->n_stops;
        g.stop_lengths = e->stop_lengths;
        g.stop_ids = e->stops;
        g.min_tokens = e->min_tokens;
        g.check_every = 2;
        g.flags = _i ? CLSAMPLE_EAGER : 0;
        generate(&g, &t);
        ck_assert_msg(t.lengths[0] == e->length && t.finish[0] == e->finish, "%s: %u tokens, %s", e->what,
                      (unsigned)t.lengths[0], clsample_finish_name(t.finish[0]));
    }
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* An end of text that would be drawn is passed over before min_tokens, and the next best takes its place. */
START_TEST(not_before_min_tokens)
{
    static const int32_t prompt[] = { 1, 2 }, eos[] = { 3, 0 };
    static const int32_t want[] = { 1, 2, 1, 2, 3 }; /* 0 would be next: all others are equal */
    mock m = mock_of("next");
    clsample_params p = params_default();
    clsample_generation g = generation_of(&m, 10, prompt, 1, 2);
    texts t;

    p.flags = CLSAMPLE_GREEDY;
    g.params = &p;
    g.n_eos = 2;
    g.eos = eos;
    g.min_tokens = 2;
    generate(&g, &t);
    ck_assert_uint_eq(t.lengths[0], 5);
    ck_assert(memcmp(t.ids[0], want, sizeof want) == 0 && t.finish[0] == CLSAMPLE_FINISH_EOS);
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* A row whose logits are all masked ends, the others go on. */
START_TEST(no_token)
{
    static const int32_t prompts[3][2] = { { 1, 2 }, { 3, DEAD }, { 4, 5 } };
    mock m = mock_of("noise");
    clsample_generation g = generation_of(&m, VOCAB, prompts[0], 3, 2);
    const int32_t dead = DEAD;
    texts t;

    g.max_length = 12;
    g.eos = &dead;
    g.flags = _i ? CLSAMPLE_EAGER : 0;
    generate(&g, &t);
    ck_assert_uint_eq(t.finish[1], CLSAMPLE_FINISH_NO_TOKEN);
    ck_assert_uint_eq(t.lengths[1], 2);
    ck_assert_int_eq(t.ids[1][2], 0);
    ck_assert(t.lengths[0] > 2 && t.lengths[2] > 2);
    g.n_eos = 1;
    generate(&g, &t);
    ck_assert_uint_eq(t.finish[1], CLSAMPLE_FINISH_PROMPT);
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* ---- The callback ---- */

typedef struct watcher {
    uint32_t calls, steps[2], stop_at, cancel_at;
    bool in_order;
} watcher;

/* Row 1 is stopped at its token `stop_at`, all at the call `cancel_at`. */
static clsample_next watch(void *user, const clsample_token *token)
{
    watcher *w = user;
    const uint32_t step = token->position - 2;

    w->in_order = w->in_order && token->size == sizeof *token && step == w->steps[token->row] &&
                  (token->row == 0 || w->steps[0] >= step);
    w->steps[token->row] = step + 1;
    w->calls++;
    if (w->calls == w->cancel_at) return CLSAMPLE_CANCEL;
    return token->row == 1 && w->steps[1] == w->stop_at ? CLSAMPLE_STOP_ROW : CLSAMPLE_CONTINUE;
}

START_TEST(token_callback)
{
    static const int32_t prompts[2][2] = { { 1, 2 }, { 3, 4 } };
    mock m = mock_of("next");
    clsample_params p = params_default();
    clsample_generation g = generation_of(&m, VOCAB, prompts[0], 2, 2);
    watcher w = { .stop_at = 4, .in_order = true };
    texts t;

    p.flags = CLSAMPLE_GREEDY;
    g.params = &p;
    g.max_length = 14;
    g.token = watch;
    g.token_user = &w;
    g.flags = _i ? CLSAMPLE_EAGER : 0;
    generate(&g, &t);
    ck_assert(w.in_order && w.calls == 16);
    ck_assert(t.lengths[0] == 14 && t.finish[0] == CLSAMPLE_FINISH_LENGTH);
    ck_assert(t.lengths[1] == 6 && t.finish[1] == CLSAMPLE_FINISH_CALLBACK && t.ids[1][6] == 0);
    w = (watcher){ .cancel_at = 5, .in_order = true };
    generate(&g, &t);
    ck_assert(w.in_order && w.calls == 5);
    ck_assert(t.lengths[0] == 5 && t.finish[0] == CLSAMPLE_FINISH_CANCELLED);
    ck_assert(t.lengths[1] == 4 && t.finish[1] == CLSAMPLE_FINISH_CANCELLED && t.ids[1][4] == 0);
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* Counts the tokens, and those whose status is not what `holes` makes it. */
static clsample_next watch_status(void *user, const clsample_token *token)
{
    uint32_t *seen = user;
    const uint32_t want = token->position % 3 == 0 ? CLSAMPLE_ROW_NAN_IGNORED : CLSAMPLE_ROW_OK;

    seen[0]++;
    seen[1] += token->status != want;
    return CLSAMPLE_CONTINUE;
}

/* NaN among the logits is told with the token that is drawn without them, in every row and form; a row of
 * nothing else ends. */
START_TEST(nan_is_told)
{
    static const int32_t prompts[2][2] = { { 1, 2 }, { 3 } };
    static const uint32_t lengths[2] = { 2, 1 };
    mock m = mock_of("holes");
    clsample_generation g = generation_of(&m, VOCAB, prompts[0], 2, 2);
    uint32_t seen[2] = { 0 };
    texts t;

    g.lengths = lengths;
    g.max_length = 20;
    g.token = watch_status;
    g.token_user = seen;
    g.flags = _i ? CLSAMPLE_EAGER : 0;
    generate(&g, &t);
    ck_assert_uint_eq(seen[0], 17);
    ck_assert_uint_eq(seen[1], 0);
    for (int r = 0; r < 2; r++)
        ck_assert(t.lengths[r] == 10 && t.finish[r] == CLSAMPLE_FINISH_NO_TOKEN);
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* ---- Failures ---- */

/* The model fails in its first step or a later one: its code is in the sentence, what was looked at stays. */
START_TEST(model_fails)
{
    static const int32_t prompt[] = { 1, 2 };
    mock m = mock_of("next");
    clsample_generation g = generation_of(&m, VOCAB, prompt, 1, 2);
    texts t;

    g.max_length = 12;
    g.check_every = 3;
    g.flags = _i % 2 ? CLSAMPLE_EAGER : 0;
    m.fail_at = _i / 2 ? 8 : 1;
    ck_assert_int_eq(try_on(dev.queue, &g, &t), CLSAMPLE_E_MODEL);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "returned 42 at step"));
    ck_assert_uint_eq(t.finish[0], CLSAMPLE_FINISH_CANCELLED);
    ck_assert(m.fail_at == 1 ? t.lengths[0] == 2 : t.lengths[0] >= 5);
    m.fail_at = 0;
    generate(&g, &t);
    const cl_command_queue queue = dev_make_queue(true);
    if (queue) {
        m.forget = true;
        ck_assert_int_eq(try_on(queue, &g, &t), CLSAMPLE_E_MODEL);
        ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "step.event"));
        m.forget = false;
        m.break_event = true;
        ck_assert_int_eq(try_on(queue, &g, &t), CLSAMPLE_E_OPENCL);
        ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "FOR_EVENTS_IN_WAIT_LIST"));
        m.break_event = false;
        ck_ok(try_on(queue, &g, &t));
        ck_cl(clReleaseCommandQueue(queue));
    }
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

static const int32_t wrong_id = 10, right_ids[2] = { 1, 2 };
static const uint32_t nothing = 0, three = 3;
static clsample_params too_much = CLSAMPLE_PARAMS_INIT;

/* A field set wrongly, and what the sentence must say. */
#define WRONG(name, value)                           \
    static void wrong_##name(clsample_generation *g) \
    {                                                \
        g->name = (value);                           \
    }
WRONG(flags, 2)
WRONG(model, NULL)
WRONG(vocab, 0)
WRONG(prompts, 0)
WRONG(samples, 65537)
WRONG(n_params, 2)
WRONG(check_every, 4097)
WRONG(ids, NULL)
WRONG(ids_stride, 0)
WRONG(lengths, &nothing)
WRONG(max_length, UINT32_MAX)
WRONG(params, &too_much)
WRONG(size, 8)

static void wrong_prompt(clsample_generation *g)
{
    g->vocab = 2;
}
static void too_long(clsample_generation *g)
{
    g->lengths = &three;
}
static void wrong_eos(clsample_generation *g)
{
    g->n_eos = 1;
    g->eos = &wrong_id;
}
static void no_eos(clsample_generation *g)
{
    g->n_eos = 1;
}
static void no_stops(clsample_generation *g)
{
    g->n_stops = 1;
}
static void empty_stop(clsample_generation *g)
{
    g->n_stops = 1;
    g->stop_lengths = &nothing;
    g->stop_ids = right_ids;
}
static void wrong_stop(clsample_generation *g)
{
    static const uint32_t one = 1;
    g->n_stops = 1;
    g->stop_lengths = &one;
    g->stop_ids = &wrong_id;
}
static void wrong_bias(clsample_generation *g)
{
    static const clsample_bias bias = { 10, 1.0f };
    static clsample_params p = CLSAMPLE_PARAMS_INIT;
    p.bias = &bias;
    p.n_bias = 1;
    g->params = &p;
}
static void many_stops(clsample_generation *g)
{
    static const uint32_t many = 65536;
    g->n_stops = 1;
    g->stop_lengths = &many;
    g->stop_ids = right_ids;
}

static const struct {
    void (*spoil)(clsample_generation *g);
    clsample_status status;
    const char *says;
} wrong[] = {
    { wrong_flags, CLSAMPLE_E_VERSION, "generation.flags is 0x2; this library knows only CLSAMPLE_EAGER" },
    { wrong_model, CLSAMPLE_E_ARGUMENT, "generation.model is NULL; it must be a function" },
    { wrong_vocab, CLSAMPLE_E_ARGUMENT, "generation.vocab is 0; it must be from 1 to 1048576" },
    { wrong_prompts, CLSAMPLE_E_ARGUMENT, "generation.prompts is 0; it must be from 1 to 65536" },
    { wrong_samples, CLSAMPLE_E_ARGUMENT, "generation.samples is 65537; it must be from 1 to 65536" },
    { wrong_n_params, CLSAMPLE_E_ARGUMENT, "generation.n_params is 2; it must be 1, or generation.prompts" },
    { wrong_check_every, CLSAMPLE_E_ARGUMENT, "generation.check_every is 4097; it must be from 0" },
    { wrong_ids, CLSAMPLE_E_ARGUMENT, "generation.ids is NULL; it must point to the prompts' tokens" },
    { wrong_ids_stride, CLSAMPLE_E_ARGUMENT, "generation.ids_stride is 0; it must be at least 1" },
    { wrong_lengths, CLSAMPLE_E_ARGUMENT, "generation.lengths[0] is 0; it must be from 1 to" },
    { too_long, CLSAMPLE_E_ARGUMENT, "generation.lengths[0] is 3; it must be from 1 to" },
    { wrong_max_length, CLSAMPLE_E_ARGUMENT, "rows of up to 4294967295 tokens; at most 2147483647" },
    { wrong_params, CLSAMPLE_E_ARGUMENT, "params[0].top_p is 2; it must be above 0 and at most 1" },
    { wrong_size, CLSAMPLE_E_ARGUMENT, "generation.size is 8" },
    { wrong_prompt, CLSAMPLE_E_ARGUMENT,
      "generation.ids has 2 at 1 of prompt 0; it must be a token, 0 to 1" },
    { wrong_eos, CLSAMPLE_E_ARGUMENT, "generation.eos[0] is 10; it must be a token, 0 to 9" },
    { no_eos, CLSAMPLE_E_ARGUMENT, "generation.eos is NULL, but generation.n_eos is 1" },
    { no_stops, CLSAMPLE_E_ARGUMENT, "generation.stop_lengths is NULL, but there are 1 stop sequences" },
    { empty_stop, CLSAMPLE_E_ARGUMENT, "generation.stop_lengths[0] is 0; it must be at least 1" },
    { wrong_stop, CLSAMPLE_E_ARGUMENT, "generation.stop_ids[0] is 10; it must be a token, 0 to 9" },
    { wrong_bias, CLSAMPLE_E_ARGUMENT, "params[0].bias[0].id is 10; it must be a token, 0 to 9" },
    { many_stops, CLSAMPLE_E_ARGUMENT, "have 65536 tokens; at most 65536 are allowed" },
};

START_TEST(wrong_requests)
{
    mock m = mock_of("next");
    clsample_params p = params_default();
    clsample_texts out = CLSAMPLE_TEXTS_INIT;
    int32_t ids[7];

    too_much.top_p = 2;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        clsample_generation g = generation_of(&m, 10, right_ids, 1, 2);
        g.params = &p;
        wrong[i].spoil(&g);
        const clsample_status status = clsample_generate(dev.ctx, dev.queue, &g, &out);
        ck_assert_msg(status == wrong[i].status, "\"%s\": %s", wrong[i].says, clsample_status_name(status));
        ck_assert_msg(strstr(clsample_last_error()->message, wrong[i].says) != NULL,
                      "\"%s\" is not in \"%s\"", wrong[i].says, clsample_last_error()->message);
    }
    const clsample_generation g = generation_of(&m, 10, right_ids, 1, 2);
    ck_assert_int_eq(clsample_generate(NULL, dev.queue, &g, &out), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_generate(dev.ctx, NULL, &g, &out), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_generate(dev.ctx, dev.queue, NULL, &out), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_generate(dev.ctx, dev.queue, &g, NULL), CLSAMPLE_E_ARGUMENT);
    out.ids = ids;
    out.stride = 7;
    ck_assert_int_eq(clsample_generate(dev.ctx, dev.queue, &g, &out), CLSAMPLE_E_BUFFER);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "texts.stride is 7"));
    ck_assert_uint_eq(m.calls, 0);
    ck_assert_str_eq(clsample_finish_name(CLSAMPLE_FINISH_NO_TOKEN), "no_token");
    ck_assert_str_eq(clsample_finish_name(99), "unknown");
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* Every array of the texts may be missing. */
START_TEST(nothing_wanted)
{
    mock m = mock_of("next");
    const clsample_texts none = CLSAMPLE_TEXTS_INIT;
    clsample_generation g = generation_of(&m, 10, right_ids, 1, 2);

    ck_ok(clsample_generate(dev.ctx, dev.queue, &g, &none));
    ck_assert_uint_eq(m.calls, 18);
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

/* Nothing is allocated from the second step to the last. */
START_TEST(allocates_before_the_loop)
{
    mock m = mock_of("noise");
    clsample_params p[8];
    texts t;
    clsample_generation g = mixed(&m, 8, p);

    g.n_eos = g.n_stops = 0;
    g.flags = _i ? CLSAMPLE_EAGER : 0;
    generate(&g, &t);
    ck_assert_uint_ge(m.calls, g.max_new_tokens);
    ck_assert_uint_eq(m.last - m.before, 0);
    ck_cl(clReleaseKernel(m.kernel));
}
END_TEST

static Suite *generate_suite(void)
{
    Suite *suite = suite_create("generate");
    TCase *t = tcase_create("generate");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_unchecked_fixture(t, build_models, drop_models);
    tcase_add_loop_test(t, article_cases, 0, 2);
    tcase_add_test(t, article_batch);
    tcase_add_loop_test(t, forms_agree, 0, 2);
    tcase_add_test(t, alone_and_together);
    tcase_add_test(t, like_sample);
    tcase_add_loop_test(t, samples_alone, 0, 2);
    tcase_add_loop_test(t, ends_of_texts, 0, 2);
    tcase_add_test(t, not_before_min_tokens);
    tcase_add_loop_test(t, no_token, 0, 2);
    tcase_add_loop_test(t, token_callback, 0, 2);
    tcase_add_loop_test(t, nan_is_told, 0, 2);
    tcase_add_loop_test(t, model_fails, 0, 4);
    tcase_add_test(t, wrong_requests);
    tcase_add_test(t, nothing_wanted);
    tcase_add_loop_test(t, allocates_before_the_loop, 0, 2);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(generate_suite);
}
