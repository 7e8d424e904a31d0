/* SPDX-License-Identifier: Apache-2.0 */
/* The same step again and again: what is reserved beforehand, scratch memory of the application's own, no
 * allocation after the first call, and recorded steps. Calls of malloc and clCreateBuffer by the library are
 * counted: the linker puts those of this file in their place (--wrap). */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 9, STEPS = 4 };

static uint32_t vocab_size(void)
{
    return test_scaled("logits of a row", 5000, 5000, 130);
}

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

/* ---- A batch with different parameters in each row ---- */

typedef struct batch {
    uint32_t vocab;
    float *x;
    clsample_params params[ROWS];
    clsample_bias bias[ROWS][2];
    int32_t banned[ROWS];
    clsample_logits in;
    clsample_output out;
    clsample_result want[STEPS][ROWS]; /* of the plain call, step by step */
} batch;

static void read_results(const batch *b, clsample_result *results)
{
    dev_download(b->out.results, 0, results, ROWS * sizeof *results);
}

/* One row is masked; with `fallback` it is taken from other logits, in a second pass that draws at the same
 * step. */
static void open_batch(batch *b, bool per_row, bool fallback)
{
    const uint32_t vocab = vocab_size();
    const size_t bytes = (size_t)ROWS * vocab * sizeof *b->x;

    memset(b, 0, sizeof *b);
    b->vocab = vocab;
    b->x = test_alloc(bytes);
    for (uint32_t r = 0; r < ROWS; r++) {
        row_random(b->x + (size_t)r * vocab, vocab, (test_shape)(r % SHAPE_COUNT), 60 + r);
        b->params[r] = params_of(0.7f + 0.1f * (float)r, r % 2 ? 0.02f : 0.0f, r % 3 ? 30 : 0,
                                 r % 4 ? 0.9f : 1.0f, per_row ? r % 4 : 0);
        b->params[r].seed = per_row ? r : 5;
        b->params[r].step = per_row && r == 3 ? UINT32_MAX - 1 : 40; /* one carries into the upper half */
        b->params[r].stream = r;
    }
    b->in = logits_of(NULL, CLSAMPLE_F32, ROWS, vocab);
    if (fallback) b->in.fallback = dev_upload(b->x, bytes);
    for (uint32_t i = 0; i < vocab; i++)
        b->x[4 * (size_t)vocab + i] = -INFINITY;
    b->in.mem = dev_upload(b->x, bytes);
    b->out = (clsample_output)CLSAMPLE_OUTPUT_INIT;
    b->out.results = dev_buffer(ROWS * sizeof(clsample_result));
}

/* Edits for each row, and all that needs kernels of its own. */
static void add_edits(batch *b)
{
    for (uint32_t r = 0; r < ROWS; r++) {
        clsample_params *p = &b->params[r];
        b->bias[r][0] = (clsample_bias){ (int32_t)(r * 13), 5.0f };
        b->bias[r][1] = (clsample_bias){ (int32_t)b->vocab - 1, -INFINITY };
        b->banned[r] = (int32_t)(r * 7);
        p->bias = b->bias[r];
        p->n_bias = r % 3;
        p->banned = &b->banned[r];
        p->n_banned = r != 2;
        p->typical_p = r % 2 ? 0.9f : 1.0f;
        p->top_n_sigma = r % 3 == 1 ? 2.0f : 0.0f;
    }
    b->params[0] = b->params[1]; /* which has all, if it is for all rows */
}

static void close_batch(batch *b)
{
    ck_cl(clReleaseMemObject(b->in.mem));
    if (b->in.fallback) ck_cl(clReleaseMemObject(b->in.fallback));
    ck_cl(clReleaseMemObject(b->out.results));
    free(b->x);
}

static void draw_plainly(batch *b, uint32_t n_params)
{
    clsample_params p[ROWS];

    memcpy(p, b->params, sizeof p);
    for (uint32_t s = 0; s < STEPS; s++) {
        ck_ok(clsample_enqueue(dev.ctx, dev.queue, p, n_params, &b->in, &b->out, 0, NULL, NULL));
        read_results(b, b->want[s]);
        for (uint32_t r = 0; r < ROWS; r++)
            p[r].step++;
    }
}

static void check_results(const clsample_result *got, const clsample_result *want, uint32_t step)
{
    for (uint32_t r = 0; r < ROWS; r++)
        REQUIRE(memcmp(&got[r], &want[r], sizeof got[r]) == 0,
                "step %u, row %u: token %d, kept %u, logprob %a instead of %d, %u, %a", (unsigned)step,
                (unsigned)r, (int)got[r].token, (unsigned)got[r].kept, (double)got[r].logprob,
                (int)want[r].token, (unsigned)want[r].kept, (double)want[r].logprob);
}

/* ---- Memory ---- */

static clsample_ctx *open_context(void)
{
    clsample_options options = test_options();
    clsample_ctx *ctx = NULL;

    options.flags |= CLSAMPLE_FORCE_COMMAND_BUFFERS;
    ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
    return ctx;
}

/* What a call takes of memory. */
static unsigned allocated(clsample_ctx *ctx, const batch *b, uint32_t n_params)
{
    const unsigned before = allocations;
    const clsample_status status =
        clsample_enqueue(ctx, dev.queue, b->params, n_params, &b->in, &b->out, 0, NULL, NULL);
    const unsigned used = allocations - before; /* before an assertion allocates some */

    ck_ok(status);
    ck_cl(clFinish(dev.queue));
    return used;
}

/* After the first call of a shape, or clsample_reserve, no call of it or a smaller one allocates anything. */
START_TEST(nothing_is_allocated)
{
    batch b;
    clsample_result got[ROWS];
    clsample_ctx *ctx = open_context();

    open_batch(&b, true, true);
    draw_plainly(&b, ROWS);
    if (_i == 0)
        ck_ok(clsample_reserve(ctx, CLSAMPLE_F32, ROWS, vocab_size()));
    else
        allocated(ctx, &b, ROWS);
    for (int s = STEPS; s >= 0; s--)
        ck_assert_uint_eq(allocated(ctx, &b, s % 2 ? 1 : ROWS), 0);
    read_results(&b, got);
    check_results(got, b.want[0], 0);
    close_batch(&b);
    clsample_destroy(ctx);
}
END_TEST

/* The same with edits, as long as they are the same, and with other samplers that need kernels of their own:
 * parameters for each row, or for all; after clsample_prepare, or the first call. */
START_TEST(nothing_is_allocated_for_edits)
{
    const uint32_t n_params = _i & 1 ? ROWS : 1;
    batch b;
    clsample_result got[ROWS];
    clsample_ctx *ctx = open_context();

    open_batch(&b, true, true);
    add_edits(&b);
    draw_plainly(&b, n_params);
    if (_i & 2)
        ck_ok(clsample_prepare(ctx, b.params, n_params, &b.in));
    else
        allocated(ctx, &b, n_params);
    for (uint32_t s = 0; s < STEPS; s++) {
        for (uint32_t r = 0; r < ROWS; r++)
            b.params[r].step += s > 0;
        ck_assert_uint_eq(allocated(ctx, &b, n_params), 0);
        read_results(&b, got);
        check_results(got, b.want[s], s);
    }
    b.bias[1][0].add = -1.0f;
    ck_assert_uint_gt(allocated(ctx, &b, n_params), 0);
    ck_assert_uint_eq(allocated(ctx, &b, n_params), 0);
    close_batch(&b);
    clsample_destroy(ctx);
}
END_TEST

/* At most a tenth of the logits' bytes, float16 ones too, and 64 KiB a row. */
START_TEST(scratch_is_small)
{
    static const uint32_t vocabs[] = { 1, 255, 256, 257, 49152, 128256, CLSAMPLE_MAX_VOCAB };

    for (size_t i = 0; i < COUNT(vocabs); i++) {
        const size_t size = clsample_scratch_size(1, vocabs[i]);
        ck_assert_uint_gt(size, 0);
        ck_assert_uint_le(size, (size_t)vocabs[i] * 2 / 10 + 65536);
        ck_assert_uint_le(clsample_scratch_size(1000, vocabs[i]), 1000 * size);
    }
    ck_assert_uint_eq(clsample_scratch_size(0, 100), 0);
    ck_assert_uint_eq(clsample_scratch_size(1, 0), 0);
    ck_assert_uint_eq(clsample_scratch_size(1, CLSAMPLE_MAX_VOCAB + 1), 0);
}
END_TEST

/* The application's scratch: the same results, and not a byte outside of it is touched. */
START_TEST(own_scratch)
{
    enum { AROUND = 256 };
    const size_t need = clsample_scratch_size(ROWS, vocab_size()), size = need + 2 * AROUND;
    unsigned char *bytes = test_alloc(size);
    const cl_mem mem = dev_buffer(size);
    clsample_ctx *ctx = open_context();
    clsample_options tuning = CLSAMPLE_OPTIONS_INIT;
    batch b;
    clsample_result got[ROWS];

    open_batch(&b, true, true);
    draw_plainly(&b, ROWS);
    dev_poison(mem, size);
    ck_ok(clsample_set_scratch(ctx, mem, AROUND, need));
    ck_ok(clsample_enqueue(ctx, dev.queue, b.params, ROWS, &b.in, &b.out, 0, NULL, NULL));
    read_results(&b, got);
    check_results(got, b.want[0], 0);
    dev_download(mem, 0, bytes, size);
    ck_assert(is_poison(bytes, AROUND) && is_poison(bytes + AROUND + need, AROUND));
    ck_assert(!is_poison(bytes + AROUND, need));

    /* The form for GPUs needs less than that. */
    ck_ok(clsample_get_tuning(ctx, &tuning));
    ck_ok(clsample_set_scratch(ctx, mem, AROUND, tuning.flags & CLSAMPLE_FORCE_VECTORS ? need - 16 : 48));
    ck_assert_int_eq(clsample_enqueue(ctx, dev.queue, b.params, ROWS, &b.in, &b.out, 0, NULL, NULL),
                     CLSAMPLE_E_BUFFER);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "scratch"));
    ck_assert_int_eq(clsample_reserve(ctx, CLSAMPLE_F32, ROWS, vocab_size()), CLSAMPLE_E_BUFFER);
    ck_ok(clsample_set_scratch(ctx, NULL, 0, 0));
    ck_ok(clsample_enqueue(ctx, dev.queue, b.params, ROWS, &b.in, &b.out, 0, NULL, NULL));
    read_results(&b, got);
    check_results(got, b.want[0], 0);
    clsample_destroy(ctx);
    ck_cl(clReleaseMemObject(mem));
    free(bytes);
    close_batch(&b);
}
END_TEST

START_TEST(wrong_memory)
{
    const cl_mem mem = dev_buffer(4096);

    ck_assert_int_eq(clsample_reserve(NULL, 0, 1, 1), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_reserve(dev.ctx, 3, 1, 1), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_reserve(dev.ctx, 0, 0, 1), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_reserve(dev.ctx, 0, 1, 0), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_set_scratch(NULL, mem, 0, 4096), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_set_scratch(dev.ctx, mem, 8, 64), CLSAMPLE_E_BUFFER);
    ck_assert_int_eq(clsample_set_scratch(dev.ctx, mem, 16, 4096), CLSAMPLE_E_BUFFER);
    ck_cl(clReleaseMemObject(mem));
}
END_TEST

/* ---- Recordings ---- */

/* Each repetition gives what the plain call gives at the next step: with parameters for all or for each row,
 * on queues of both kinds, one at a time or all enqueued ahead, in one pass or with a second one, with edits
 * or without. */
START_TEST(recorded_like_plain)
{
    const bool per_row = _i & 1, ahead = _i & 4;

    /* Both values of each. */
    if (test_scaled("recorded_like_plain", 32, 32, 2) < 32 && _i % 31 != 0) return;
    const cl_command_queue queue = dev_make_queue(_i & 2);
    clsample_ctx *ctx = open_context();
    clsample_recording *recording = NULL;
    clsample_result got[ROWS];
    cl_event event = NULL;
    batch b;

    if (!queue) { /* the device need not have them */
        clsample_destroy(ctx);
        return;
    }
    open_batch(&b, per_row, _i & 8);
    if (_i & 16) add_edits(&b);
    draw_plainly(&b, per_row ? ROWS : 1);
    ck_ok(clsample_record(ctx, queue, b.params, per_row ? ROWS : 1, &b.in, &b.out, &recording));
    memset(b.bias, POISON, sizeof b.bias); /* the recording has its own */
    memset(b.banned, POISON, sizeof b.banned);
    printf("recording %d: %s\n", _i, clsample_recording_is_native(recording) ? "command buffer" : "plain");
    for (uint32_t s = 0; s < STEPS; s++) {
        if (event) ck_cl(clReleaseEvent(event));
        const unsigned before = allocations;
        const clsample_status status = clsample_replay(recording, 0, NULL, &event);
        const unsigned used = allocations - before; /* before an assertion allocates some */
        ck_ok(status);
        ck_assert_uint_eq(used, 0);
        if (ahead && s + 1 < STEPS) continue;
        ck_cl(clWaitForEvents(1, &event));
        read_results(&b, got);
        check_results(got, b.want[s], s);
    }
    ck_cl(clReleaseEvent(event));
    clsample_recording_free(recording);
    clsample_destroy(ctx);
    ck_cl(clReleaseCommandQueue(queue));
    close_batch(&b);
}
END_TEST

/* A repetition waits for the caller's events, and the context's own calls may go on between them. */
START_TEST(recorded_waits)
{
    clsample_ctx *ctx = open_context();
    clsample_recording *recording = NULL;
    clsample_result got[ROWS];
    cl_event drawn = NULL;
    cl_int error = CL_SUCCESS;
    batch b;

    if (dev.speed == SPEED_SIMULATED) { /* it would wait inside clFlush */
        clsample_destroy(ctx);
        return;
    }
    open_batch(&b, true, true);
    draw_plainly(&b, ROWS);
    const cl_command_queue queue = dev_make_queue(0);
    const cl_event go = clCreateUserEvent(dev.context, &error);
    ck_cl(error);
    ck_ok(clsample_record(ctx, queue, b.params, ROWS, &b.in, &b.out, &recording));
    dev_poison(b.out.results, sizeof got);
    ck_ok(clsample_replay(recording, 1, &go, &drawn));
    ck_cl(clFlush(queue));
    read_results(&b, got); /* on another queue */
    ck_assert(is_poison(got, sizeof got));
    ck_cl(clSetUserEventStatus(go, CL_COMPLETE));
    ck_cl(clWaitForEvents(1, &drawn)); /* rusticl's clFinish does not wait for what was flushed before */
    read_results(&b, got);
    check_results(got, b.want[0], 0);
    clsample_recording_free(recording);
    clsample_destroy(ctx);
    ck_cl(clReleaseEvent(drawn));
    ck_cl(clReleaseEvent(go));
    ck_cl(clReleaseCommandQueue(queue));
    close_batch(&b);
}
END_TEST

START_TEST(wrong_recordings)
{
    clsample_recording *r = NULL;
    cl_event event = NULL;
    clsample_params p = params_default();
    batch b;

    open_batch(&b, false, false);
    ck_assert_int_eq(clsample_record(dev.ctx, dev.queue, &p, 1, &b.in, &b.out, NULL), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_record(NULL, dev.queue, &p, 1, &b.in, &b.out, &r), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_record(dev.ctx, NULL, &p, 1, &b.in, &b.out, &r), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_record(dev.ctx, dev.queue, &p, 2, &b.in, &b.out, &r), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_record(dev.ctx, dev.queue, &p, 1, NULL, &b.out, &r), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_record(dev.ctx, dev.queue, &p, 1, &b.in, NULL, &r), CLSAMPLE_E_ARGUMENT);
    p.top_p = 2;
    ck_assert_int_eq(clsample_record(dev.ctx, dev.queue, &p, 1, &b.in, &b.out, &r), CLSAMPLE_E_ARGUMENT);
    p = params_default();
    p.n_banned = 1;
    p.banned = &(const int32_t){ (int32_t)b.vocab };
    ck_assert_int_eq(clsample_record(dev.ctx, dev.queue, &p, 1, &b.in, &b.out, &r), CLSAMPLE_E_ARGUMENT);
    ck_assert_ptr_null(r);
    ck_assert_int_eq(clsample_replay(NULL, 0, NULL, &event), CLSAMPLE_E_ARGUMENT);
    ck_ok(clsample_record(dev.ctx, dev.queue, NULL, 0, &b.in, &b.out, &r));
    ck_assert_int_eq(clsample_replay(r, 1, NULL, &event), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_recording_is_native(NULL), 0);
    clsample_recording_free(r);
    clsample_recording_free(NULL);
    close_batch(&b);
}
END_TEST

static Suite *repeat_suite(void)
{
    Suite *suite = suite_create("repeat");
    TCase *memory = tcase_create("memory"), *recordings = tcase_create("recordings");

    tcase_set_timeout(memory, 0);
    tcase_add_loop_test(memory, nothing_is_allocated, 0, 2);
    tcase_add_loop_test(memory, nothing_is_allocated_for_edits, 0, 4);
    tcase_add_test(memory, scratch_is_small);
    tcase_add_test(memory, own_scratch);
    tcase_add_test(memory, wrong_memory);
    suite_add_tcase(suite, memory);
    tcase_set_timeout(recordings, 0);
    tcase_add_loop_test(recordings, recorded_like_plain, 0, 32);
    tcase_add_test(recordings, recorded_waits);
    tcase_add_test(recordings, wrong_recordings);
    suite_add_tcase(suite, recordings);
    return suite;
}

int main(void)
{
    return test_main(repeat_suite);
}
