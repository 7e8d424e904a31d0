/* SPDX-License-Identifier: Apache-2.0 */
/* What calls ask of the driver: launches, other commands and buffers are counted, those of the library by
 * what the linker puts in their place (--wrap). A call without news is its launches alone. */
#include "common.h"
#include "model.h"
#include "programs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 2, MOST_VOCAB = 700 };

static uint32_t vocab; /* of a row: more than one group's */

/* ---- Counting ---- */

typedef struct counts {
    unsigned launches, commands, buffers;
} counts;

static counts now;

#define WRAP(type, name, parameters, arguments, count) \
    type __real_##name parameters;                     \
    type __wrap_##name parameters;                     \
    type __wrap_##name parameters                      \
    {                                                  \
        now.count++;                                   \
        return __real_##name arguments;                \
    }
WRAP(cl_mem, clCreateBuffer, (cl_context c, cl_mem_flags flags, size_t size, void *host, cl_int *error),
     (c, flags, size, host, error), buffers)
WRAP(cl_int, clEnqueueNDRangeKernel,
     (cl_command_queue q, cl_kernel kernel, cl_uint dimensions, const size_t *offset, const size_t *global,
      const size_t *local, cl_uint n, const cl_event *list, cl_event *event),
     (q, kernel, dimensions, offset, global, local, n, list, event), launches)
WRAP(cl_int, clEnqueueWriteBuffer,
     (cl_command_queue q, cl_mem mem, cl_bool block, size_t offset, size_t size, const void *host, cl_uint n,
      const cl_event *list, cl_event *event),
     (q, mem, block, offset, size, host, n, list, event), commands)
WRAP(cl_int, clEnqueueReadBuffer,
     (cl_command_queue q, cl_mem mem, cl_bool block, size_t offset, size_t size, void *host, cl_uint n,
      const cl_event *list, cl_event *event),
     (q, mem, block, offset, size, host, n, list, event), commands)
WRAP(cl_int, clEnqueueFillBuffer,
     (cl_command_queue q, cl_mem mem, const void *pattern, size_t pattern_size, size_t offset, size_t size,
      cl_uint n, const cl_event *list, cl_event *event),
     (q, mem, pattern, pattern_size, offset, size, n, list, event), commands)
WRAP(cl_int, clEnqueueMarkerWithWaitList,
     (cl_command_queue q, cl_uint n, const cl_event *list, cl_event *event), (q, n, list, event), commands)

static void check_counts(counts got, counts want, const char *what)
{
    ck_assert_msg(memcmp(&got, &want, sizeof got) == 0,
                  "%s: %u launches, %u other commands, %u buffers; instead of %u, %u, %u", what, got.launches,
                  got.commands, got.buffers, want.launches, want.commands, want.buffers);
}

/* ---- Calls ---- */

static float x[2][ROWS * MOST_VOCAB];

static void make_rows(void)
{
    vocab = test_scaled("logits of a row", MOST_VOCAB, MOST_VOCAB, 270);
    for (int k = 0; k < 2; k++)
        for (uint32_t r = 0; r < ROWS; r++)
            row_random(x[k] + r * vocab, vocab, SHAPE_NORMAL, 10 * (uint64_t)k + r);
}

/* A context, and a call on it again and again. */
typedef struct caller {
    clsample_ctx *ctx;
    cl_command_queue queue;
    cl_mem masked;
    clsample_logits in;
    clsample_output out;
    unsigned launches; /* of one choice */
} caller;

/* The simulator has the form for GPUs, where a choice is two launches whatever is forced. */
static bool is_the_same(bool two_launches)
{
    return two_launches && dev.speed == SPEED_SIMULATED;
}

/* The context's form, with one launch or with two. */
static void open_caller(caller *c, bool two_launches, bool out_of_order)
{
    clsample_options options = test_options(), told = CLSAMPLE_OPTIONS_INIT;

    *c = (caller){ .queue = dev_make_queue(out_of_order), .out = CLSAMPLE_OUTPUT_INIT };
    options.groups = 8; /* so that a row has several */
    if (two_launches) options.flags |= CLSAMPLE_FORCE_TWO_LAUNCHES;
    ck_ok(clsample_create(dev.context, dev.id, &options, &c->ctx));
    ck_ok(clsample_get_tuning(c->ctx, &told));
    c->launches = told.flags & (CLSAMPLE_FORCE_GROUPS | CLSAMPLE_FORCE_TWO_LAUNCHES) ? 2 : 1;
    c->in = logits_of(dev_upload(x[0], sizeof x[0]), CLSAMPLE_F32, ROWS, vocab);
    c->out.results = dev_buffer(ROWS * sizeof(clsample_result));
    c->masked = dev_buffer(sizeof x[0]);
}

static void close_caller(caller *c)
{
    clsample_destroy(c->ctx);
    ck_cl(clReleaseMemObject(c->in.mem));
    if (c->in.fallback) ck_cl(clReleaseMemObject(c->in.fallback));
    ck_cl(clReleaseMemObject(c->out.results));
    ck_cl(clReleaseMemObject(c->masked));
    if (c->queue) ck_cl(clReleaseCommandQueue(c->queue));
}

static void check_results(const caller *c, const clsample_params *params, uint32_t n_params)
{
    clsample_result got[ROWS];

    dev_download(c->out.results, 0, got, sizeof got);
    for (uint32_t r = 0; r < ROWS; r++) {
        clsample_params p = params[n_params == 1 ? 0 : r];
        if (n_params == 1) p.stream += r;
        const clsample_result want =
            model_draw_fallback(x[0] + r * vocab, c->in.fallback ? x[1] + r * vocab : NULL, vocab, &p);
        ck_assert_msg(memcmp(&got[r], &want, sizeof want) == 0, "row %u: token %d instead of %d, %s",
                      (unsigned)r, (int)got[r].token, (int)want.token, program_text(&p));
    }
}

/* What a call took, whose results are right. */
static counts call(const caller *c, const clsample_params *params, uint32_t n_params)
{
    const counts before = now;
    const clsample_status st =
        clsample_enqueue(c->ctx, c->queue, params, n_params, &c->in, &c->out, 0, NULL, NULL);
    const counts took = { now.launches - before.launches, now.commands - before.commands,
                          now.buffers - before.buffers };

    ck_ok(st);
    ck_cl(clFinish(c->queue));
    check_results(c, params, n_params);
    return took;
}

static counts filter(const caller *c, const clsample_params *params)
{
    const counts before = now;
    const clsample_status st = clsample_enqueue_filter(c->ctx, c->queue, params, 1, &c->in,
                                                       CLSAMPLE_PROBABILITIES, c->masked, 0, 0, NULL, NULL);
    const counts took = { now.launches - before.launches, now.commands - before.commands,
                          now.buffers - before.buffers };

    ck_ok(st);
    ck_cl(clFinish(c->queue));
    return took;
}

/* ---- One set of parameters ---- */

/* Only seed, step and stream change, and the lists lie elsewhere. */
static void repeat(const caller *c, test_program *program)
{
    test_program copy = *program;

    copy.p.bias = copy.bias;
    copy.p.banned = copy.banned;
    for (uint32_t i = 0; i < 4; i++) {
        clsample_params *p = i % 2 ? &copy.p : &program->p;
        p->step = i;
        p->seed = i == 2 ? 77 : p->seed;
        p->stream = i == 3 ? 5 : p->stream;
        check_counts(call(c, p, 1), (counts){ .launches = c->launches }, program_text(p));
    }
}

START_TEST(without_news)
{
    const bool out_of_order = _i & 1, two_launches = _i & 2;
    const uint32_t n = test_scaled("programs", PROGRAM_KNOWN, PROGRAM_KNOWN, 3);
    test_program program;
    caller c;

    if (is_the_same(two_launches)) return;
    open_caller(&c, two_launches, out_of_order);
    for (uint32_t k = 0; c.queue && k < n; k++) {
        program_known(&program, k, vocab);
        call(&c, &program.p, 1);
        repeat(&c, &program);
    }
    close_caller(&c);
}
END_TEST

/* The same with fallback logits, which take a second choice, and for the filter call, which takes a launch
 * more. */
START_TEST(other_calls_without_news)
{
    test_program program;
    caller c;

    open_caller(&c, false, false);
    program_known(&program, 3, vocab);
    filter(&c, &program.p);
    check_counts(filter(&c, &program.p), (counts){ .launches = c.launches + 1 }, "filter");
    c.in.fallback = dev_upload(x[1], sizeof x[1]);
    call(&c, &program.p, 1);
    program.p.step = 9;
    check_counts(call(&c, &program.p, 1), (counts){ .launches = 2 * c.launches }, "fallback");
    close_caller(&c);
}
END_TEST

/* ---- What is new ---- */

/* Another bias, ban or order of them is a buffer, and no command; another number is nothing. */
START_TEST(one_buffer_for_other_edits)
{
    test_program program;
    caller c;

    open_caller(&c, false, false);
    program_known(&program, 5, vocab);
    program_add_bias(&program, 3, 1.0f);
    program_ban(&program, 4);
    call(&c, &program.p, 1);
    const counts none = { .launches = c.launches }, one = { .launches = c.launches, .buffers = 1 };
    program.bias[0].add = 2.0f;
    check_counts(call(&c, &program.p, 1), one, "another bias");
    program.bias[0].id = 33;
    check_counts(call(&c, &program.p, 1), one, "of another token");
    program.banned[0] = 5;
    check_counts(call(&c, &program.p, 1), one, "another ban");
    program_ban(&program, 6);
    check_counts(call(&c, &program.p, 1), one, "one more");
    program.p.n_bias = 0;
    check_counts(call(&c, &program.p, 1), one, "none of the biases");
    program.p.n_banned = 0;
    check_counts(call(&c, &program.p, 1), none, "no edit at all");
    program.p.temperature = 0.9f;
    program.p.typical_p = 0.8f;
    check_counts(call(&c, &program.p, 1), none, "other numbers");
    program.p.typical_p = 1.0f;
    program.p.top_n_sigma = 0.0f;
    call(&c, &program.p, 1);
    program.p.typical_p = 0.8f;
    check_counts(call(&c, &program.p, 1), none, "after a call without extras");
    close_caller(&c);
}
END_TEST

/* Parameters a row are written at each call; their edits are not, if they are the same. */
START_TEST(a_set_for_each_row)
{
    test_program program[ROWS];
    clsample_params p[ROWS];
    caller c;

    open_caller(&c, false, false);
    for (uint32_t r = 0; r < ROWS; r++) {
        program_known(&program[r], 2 + r, vocab);
        p[r] = program[r].p;
    }
    call(&c, p, ROWS);
    p[1].step = 8;
    const counts written = { .launches = c.launches, .commands = 1 };
    check_counts(call(&c, p, ROWS), written, "the same edits");
    program[1].bias[1].add = 7.0f;
    check_counts(call(&c, p, ROWS), (counts){ c.launches, 1, 1 }, "others");
    close_caller(&c);
}
END_TEST

/* clsample_prepare makes what the first call would. */
START_TEST(prepared)
{
    test_program program[ROWS];
    clsample_params p[ROWS];
    caller c;

    open_caller(&c, false, false);
    for (uint32_t r = 0; r < ROWS; r++) {
        program_known(&program[r], 3 + 3 * r, vocab);
        p[r] = program[r].p;
    }
    clsample_logits shape = c.in;
    shape.mem = NULL;
    ck_ok(clsample_prepare(c.ctx, p, _i ? ROWS : 1, &shape));
    p[0].step = 3;
    check_counts(call(&c, p, _i ? ROWS : 1), (counts){ c.launches, _i ? 1 : 0, 0 }, "the first call");
    close_caller(&c);
}
END_TEST

/* ---- Recorded steps ---- */

START_TEST(replays)
{
    test_program program;
    clsample_recording *recording = NULL;
    caller c;

    if (is_the_same(_i)) return;
    open_caller(&c, _i, false);
    program_known(&program, 3, vocab);
    ck_ok(clsample_record(c.ctx, c.queue, &program.p, 1, &c.in, &c.out, &recording));
    for (uint32_t step = 0; step < 3; step++) {
        const counts before = now;
        const clsample_status st = clsample_replay(recording, 0, NULL, NULL);
        const counts took = { now.launches - before.launches, now.commands - before.commands,
                              now.buffers - before.buffers };
        const bool native = clsample_recording_is_native(recording);
        ck_ok(st);
        ck_cl(clFinish(c.queue));
        check_counts(took, (counts){ .launches = native ? 0 : c.launches }, "replay");
        program.p.step = 3 + step;
        check_results(&c, &program.p, 1);
    }
    clsample_recording_free(recording);
    close_caller(&c);
}
END_TEST

/* ---- Texts ---- */

enum { PROMPT = 2, MIN_TOKENS = 3, LENGTH = 12, EVERY = 4 };

/* What was counted when the model returned, and between that and its next call. */
typedef struct steps {
    counts left, took[LENGTH];
    uint32_t n;
} steps;

static int model(void *user, const clsample_model_step *s)
{
    steps *all = user;
    const size_t size = (size_t)s->rows * s->vocab * sizeof(float);

    if (all->n > 0)
        all->took[all->n - 1] =
            (counts){ now.launches - all->left.launches, now.commands - all->left.commands,
                      now.buffers - all->left.buffers };
    all->n++;
    const cl_int error =
        clEnqueueWriteBuffer(s->queue, s->logits, CL_TRUE, 0, size, x[0], s->n_wait, s->wait_list, s->event);
    all->left = now;
    return error != CL_SUCCESS;
}

/* A step is the sampler's launches and cls_finish, before min_tokens too; the host reads a list now and
 * then. */
START_TEST(texts)
{
    static const int32_t prompts[ROWS * PROMPT] = { 1, 2, 3, 4 }, eos = 9;
    int32_t ids[ROWS * LENGTH];
    clsample_generation g = CLSAMPLE_GENERATION_INIT;
    clsample_texts out = CLSAMPLE_TEXTS_INIT;
    clsample_params p = params_of(0.9f, 0.1f, 0, 1.0f, CLSAMPLE_RULES_SEED);
    steps all = { .n = 0 };
    caller c;

    if (is_the_same(_i & 1)) return;
    open_caller(&c, _i & 1, false);
    g.model = model;
    g.model_user = &all;
    g.vocab = vocab;
    g.prompts = ROWS;
    g.ids = prompts;
    g.ids_stride = PROMPT;
    g.params = &p;
    g.max_length = LENGTH;
    g.min_tokens = _i & 2 ? MIN_TOKENS : 0;
    g.n_eos = 1;
    g.eos = &eos;
    g.check_every = EVERY;
    out.ids = ids;
    out.stride = LENGTH;
    ck_ok(clsample_generate(c.ctx, c.queue, &g, &out));
    ck_assert_uint_gt(all.n, MIN_TOKENS + 1);
    for (uint32_t i = 0; i + 1 < all.n; i++) {
        const unsigned read = i % EVERY == EVERY - 1;
        check_counts(all.took[i], (counts){ c.launches + 1, read, 0 }, "a step");
    }
    close_caller(&c);
}
END_TEST

static Suite *commands_suite(void)
{
    Suite *suite = suite_create("commands");
    TCase *t = tcase_create("commands");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_unchecked_fixture(t, make_rows, NULL);
    tcase_add_loop_test(t, without_news, 0, 4);
    tcase_add_test(t, other_calls_without_news);
    tcase_add_test(t, one_buffer_for_other_edits);
    tcase_add_test(t, a_set_for_each_row);
    tcase_add_loop_test(t, prepared, 0, 2);
    tcase_add_loop_test(t, replays, 0, 2);
    tcase_add_loop_test(t, texts, 0, 4);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(commands_suite);
}
