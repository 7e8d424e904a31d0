/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and their order: wait lists, events, out-of-order queues, calls in flight, threads, and the
 * options and shapes that must not change a bit of the outcome. */
#include "common.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 300, MOST_ROWS = 65 };

/* Parameters that use every stage. */
static clsample_params all_stages(void)
{
    clsample_params p = params_of(0.9f, 0.01f, 60, 0.95f, CLSAMPLE_RULES_SEED);

    p.seed = 11;
    return p;
}

static void check_equal(const clsample_result *a, const clsample_result *b, uint32_t rows, const char *what)
{
    for (uint32_t r = 0; r < rows; r++)
        REQUIRE(memcmp(&a[r], &b[r], sizeof a[r]) == 0,
                "%s: row %lu: token %d of %lu, logprob %a; and %d of %lu, %a", what, (unsigned long)r,
                (int)a[r].token, (unsigned long)a[r].kept, (double)a[r].logprob, (int)b[r].token,
                (unsigned long)b[r].kept, (double)b[r].logprob);
}

static clsample_output results_at(cl_mem mem, size_t offset)
{
    clsample_output out = CLSAMPLE_OUTPUT_INIT;

    out.results = mem;
    out.results_offset = offset;
    return out;
}

static float *rows_of(uint32_t rows, uint32_t vocab, uint64_t seed)
{
    float *x = test_alloc((size_t)rows * vocab * sizeof *x);

    for (uint32_t r = 0; r < rows; r++)
        row_random(x + (size_t)r * vocab, vocab, (test_shape)((r + seed) % SHAPE_COUNT), seed * 1000 + r);
    return x;
}

/* ---- Waiting ---- */

/* Nothing runs before the gate opens: with it closed the logits are replaced, and the draw sees the new ones.
 * Both kinds of queue, and a staging of parameters a row, which is a command of its own. */
START_TEST(waits_for_the_list)
{
    const bool ordered = _i % 2 == 0, own = _i / 2 % 2 == 1;
    cl_command_queue queue = ordered ? NULL : dev_make_queue(true);
    float *before = rows_of(3, VOCAB, 1), *after = rows_of(3, VOCAB, 2);
    clsample_params p[3] = { all_stages(), all_stages(), all_stages() };
    clsample_result want[3], got[3];
    cl_int error = CL_SUCCESS, status = CL_COMPLETE;
    cl_event gates[2] = { NULL, NULL }, done = NULL;

    if (!ordered && !queue) { goto cleanup; }
    host_draw(p, own ? 3 : 1, after, 3, VOCAB, want);
    const clsample_logits in =
        logits_of(dev_upload(before, 3 * VOCAB * sizeof *before), CLSAMPLE_F32, 3, VOCAB);
    const clsample_output out = results_at(dev_buffer(sizeof got), 0);
    dev_poison(out.results, sizeof got);
    for (int i = 0; i < 2; i++) {
        gates[i] = clCreateUserEvent(dev.context, &error);
        ck_cl(error);
    }
    ck_ok(clsample_enqueue(dev.ctx, ordered ? dev.queue : queue, p, own ? 3 : 1, &in, &out, 2, gates, &done));
    /* A simulator runs commands inside this call, so it would wait for the gates for ever. */
    if (dev.speed != SPEED_SIMULATED) { ck_cl(clFlush(ordered ? dev.queue : queue)); }
    ck_cl(clSetUserEventStatus(gates[0], CL_COMPLETE));

    /* By a second queue, since this one is behind the gate. It only writes: Intel's CPU runtime 2026.2 may
     * lose a later command of the first queue for good if a busy machine reads on the second. */
    cl_command_queue side = clCreateCommandQueue(dev.context, dev.id, 0, &error);
    ck_cl(error);
    ck_cl(clEnqueueWriteBuffer(side, in.mem, CL_TRUE, 0, 3 * VOCAB * sizeof *after, after, 0, NULL, NULL));
    ck_cl(clGetEventInfo(done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL));
    ck_assert_msg(status > CL_COMPLETE, "done before all events of the wait list were complete");
    ck_cl(clSetUserEventStatus(gates[1], CL_COMPLETE));
    ck_cl(clWaitForEvents(1, &done));
    dev_download(out.results, 0, got, sizeof got);
    check_equal(got, want, 3, "after the gate");
    for (int i = 0; i < 2; i++)
        ck_cl(clReleaseEvent(gates[i]));
    ck_cl(clReleaseEvent(done));
    ck_cl(clReleaseCommandQueue(side));
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(out.results));
cleanup:
    if (queue) { ck_cl(clReleaseCommandQueue(queue)); }
    free(before);
    free(after);
}
END_TEST

/* When the event is complete, so is the outcome, also of the filters alone. */
START_TEST(event_means_done)
{
    cl_command_queue queue = _i ? dev_make_queue(true) : NULL;
    float *x = rows_of(4, VOCAB, 3), *masked = test_alloc(4 * VOCAB * sizeof *masked);
    float *want_masked = test_alloc(4 * VOCAB * sizeof *masked);
    const clsample_params p = all_stages();
    clsample_result want[4], got[4];
    cl_event done[2] = { NULL, NULL };
    cl_int status = -1;

    if (_i && !queue) { goto cleanup; }
    host_draw(&p, 1, x, 4, VOCAB, want);
    host_filter(&p, 1, x, 4, VOCAB, CLSAMPLE_MASKED_LOGITS, want_masked);
    const clsample_logits in = logits_of(dev_upload(x, 4 * VOCAB * sizeof *x), CLSAMPLE_F32, 4, VOCAB);
    const clsample_output out = results_at(dev_buffer(sizeof got), 0);
    cl_mem mask = dev_buffer(4 * VOCAB * sizeof *masked);
    ck_ok(clsample_enqueue(dev.ctx, queue ? queue : dev.queue, &p, 1, &in, &out, 0, NULL, &done[0]));
    ck_ok(clsample_enqueue_filter(dev.ctx, queue ? queue : dev.queue, &p, 1, &in, CLSAMPLE_MASKED_LOGITS,
                                  mask, 0, 0, NULL, &done[1]));
    ck_cl(clWaitForEvents(2, done));
    for (int i = 0; i < 2; i++) {
        ck_cl(clGetEventInfo(done[i], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL));
        ck_assert_int_eq(status, CL_COMPLETE);
        ck_cl(clReleaseEvent(done[i]));
    }
    dev_download(out.results, 0, got, sizeof got);
    dev_download(mask, 0, masked, 4 * VOCAB * sizeof *masked);
    check_equal(got, want, 4, "after the event");
    ck_assert_mem_eq(masked, want_masked, 4 * VOCAB * sizeof *masked);
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(out.results));
    ck_cl(clReleaseMemObject(mask));
cleanup:
    if (queue) { ck_cl(clReleaseCommandQueue(queue)); }
    free(x);
    free(masked);
    free(want_masked);
}
END_TEST

/* ---- In flight ---- */

typedef struct flight {
    uint32_t rows, steps;
    bool edits; /* others in each step */
    clsample_bias bias[MOST_ROWS][2];
    int32_t banned[MOST_ROWS];
    clsample_logits in;
    clsample_result *want, *got; /* [steps * rows] */
    cl_mem results;
} flight;

static void flight_edits(flight *f, uint32_t r, uint32_t step, clsample_params *p)
{
    f->bias[r][0] = (clsample_bias){ (int32_t)(step * 31 % VOCAB), 4.0f };
    f->bias[r][1] = (clsample_bias){ (int32_t)(r * 17 % VOCAB), 0.5f + (float)step };
    f->banned[r] = (int32_t)((step + r) % VOCAB);
    p->bias = f->bias[r];
    p->n_bias = 1 + (step + r) % 2;
    p->banned = &f->banned[r];
    p->n_banned = r % 2;
}

static void flight_params(flight *f, uint32_t step, clsample_params *p)
{
    for (uint32_t r = 0; r < f->rows; r++) {
        p[r] = all_stages();
        p[r].step = step;
        p[r].stream = 100 * r;
        p[r].top_k = 20 + r;
        if (f->edits) { flight_edits(f, r, step, &p[r]); }
    }
}

/* What each step gives on its own. */
static void flight_open(flight *f, uint32_t rows, uint32_t steps)
{
    float *x = rows_of(rows, VOCAB, 4);
    clsample_params p[MOST_ROWS];

    f->rows = rows;
    f->steps = steps;
    f->in = logits_of(dev_upload(x, rows * VOCAB * sizeof *x), CLSAMPLE_F32, rows, VOCAB);
    f->want = test_alloc((size_t)rows * steps * sizeof *f->want);
    f->got = test_alloc((size_t)rows * steps * sizeof *f->got);
    f->results = dev_buffer((size_t)rows * steps * sizeof *f->got);
    dev_poison(f->results, (size_t)rows * steps * sizeof *f->got);
    for (uint32_t s = 0; s < steps; s++) {
        flight_params(f, s, p);
        dev_draw(p, rows, &f->in, f->want + (size_t)s * rows);
    }
    free(x);
}

/* Compare, once the queue is finished. */
static void flight_close(flight *f, const char *what)
{
    dev_download(f->results, 0, f->got, (size_t)f->rows * f->steps * sizeof *f->got);
    check_equal(f->got, f->want, f->rows * f->steps, what);
    ck_cl(clReleaseMemObject(f->in.mem));
    ck_cl(clReleaseMemObject(f->results));
    free(f->want);
    free(f->got);
}

/* Many steps without a wait between them: the parameters change, and are the caller's again after each call.
 * Kind 0: in-order queue; 1: out-of-order; 2: two queues in turns; 3: a mix of parameters a row and a
 * batch's. From 4 on the same with edits, which change too. */
START_TEST(steps_in_flight)
{
    cl_command_queue queues[2] = { dev.queue, dev.queue }, extra = NULL;
    cl_int error = CL_SUCCESS;
    clsample_params p[MOST_ROWS], batch = all_stages();
    const int kind = _i % 4;
    flight f = { .edits = _i >= 4 };

    if (f.edits && kind < 3 && dev.speed == SPEED_SIMULATED) {
        printf("left out: edits in queues of kind %d (simulated device)\n", kind);
        return;
    }
    if (kind == 1) { extra = dev_make_queue(true); }
    if (kind == 2) { extra = clCreateCommandQueue(dev.context, dev.id, 0, &error); }
    ck_cl(error);
    if (kind == 1 && !extra) { return; }
    if (extra) { queues[1] = extra; }
    if (kind == 1) { queues[0] = extra; }
    flight_open(&f, test_scaled("rows of steps_in_flight", 5, 5, 2),
                test_scaled("steps_in_flight", 64, 16, 3));
    cl_mem other = dev_buffer(f.rows * sizeof *f.got);
    const clsample_output aside = results_at(other, 0);
    for (uint32_t s = 0; s < f.steps; s++) {
        const clsample_output out = results_at(f.results, (size_t)s * f.rows * sizeof *f.got);

        flight_params(&f, s, p);
        ck_ok(clsample_enqueue(dev.ctx, queues[s % 2], p, f.rows, &f.in, &out, 0, NULL, NULL));
        memset(p, POISON, sizeof p);
        memset(f.bias, POISON, sizeof f.bias);
        memset(f.banned, POISON, sizeof f.banned);
        if (kind == 3) {
            ck_ok(clsample_enqueue(dev.ctx, queues[s % 2], &batch, 1, &f.in, &aside, 0, NULL, NULL));
        }
    }
    ck_cl(clFinish(queues[0]));
    ck_cl(clFinish(queues[1]));
    flight_close(&f, "in flight");
    ck_cl(clReleaseMemObject(other));
    if (extra) { ck_cl(clReleaseCommandQueue(extra)); }
}
END_TEST

/* A context may go while its commands wait: they run to their end. */
START_TEST(destroy_while_waiting)
{
    const clsample_options options = test_options();
    clsample_params p[MOST_ROWS];
    clsample_ctx *ctx = NULL;
    cl_int error = CL_SUCCESS;
    cl_event gate = clCreateUserEvent(dev.context, &error);
    flight f = { .edits = _i == 1 };

    ck_cl(error);
    ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
    flight_open(&f, 4, 3);
    for (uint32_t s = 0; s < f.steps; s++) {
        const clsample_output out = results_at(f.results, (size_t)s * f.rows * sizeof *f.got);

        flight_params(&f, s, p);
        ck_ok(clsample_enqueue(ctx, dev.queue, p, f.rows, &f.in, &out, 1, &gate, NULL));
    }
    clsample_destroy(ctx);
    ck_cl(clSetUserEventStatus(gate, CL_COMPLETE));
    ck_cl(clFinish(dev.queue));
    flight_close(&f, "after clsample_destroy");
    ck_cl(clReleaseEvent(gate));
}
END_TEST

/* ---- Threads ---- */

typedef struct worker {
    clsample_ctx *ctx;
    const float *x;
    uint32_t rows, steps;
    clsample_params p;
    clsample_result *got; /* [steps * rows] */
    clsample_status status;
    clsample_status noted; /* after a failure on purpose */
} worker;

/* Check is not for threads other than its own: what fails is noted. */
static void *work(void *argument)
{
    worker *w = argument;
    clsample_logits in = logits_of(NULL, CLSAMPLE_F32, w->rows, VOCAB);

    for (uint32_t s = 0; s < w->steps && w->status == CLSAMPLE_OK; s++) {
        w->p.step = s;
        w->status = clsample_sample(w->ctx, &w->p, 1, &in, w->x, w->got + (size_t)s * w->rows);
    }
    in.vocab = 0;
    (void)clsample_sample(w->ctx, &w->p, 1, &in, w->x, w->got);
    w->noted = clsample_last_error()->status;
    return NULL;
}

/* Two contexts in two threads, on one device and one OpenCL context: the same as one after the other. Each
 * thread has its own note of failures. */
START_TEST(two_threads)
{
    enum { ROWS = 6 };
    const uint32_t steps = test_scaled("two_threads steps", 40, 10, 2);

    if (dev.speed == SPEED_SIMULATED) { /* Oclgrind aborts when a second thread starts a kernel */
        printf("left out: two_threads (simulated device)\n");
        return;
    }
    const clsample_options options = test_options();
    float *x = rows_of(ROWS, VOCAB, 5);
    worker w[2];
    pthread_t thread[2];
    clsample_result want[ROWS];
    const clsample_status before = clsample_last_error()->status;

    for (int i = 0; i < 2; i++) {
        w[i] = (worker){ NULL,        x,          ROWS, steps, all_stages(), test_alloc(steps * sizeof want),
                         CLSAMPLE_OK, CLSAMPLE_OK };
        w[i].p.seed = 70 + (uint64_t)i;
        ck_ok(clsample_create(dev.context, dev.id, &options, &w[i].ctx));
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_int_eq(clsample_last_error()->status, before);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(w[i].status, CLSAMPLE_OK);
        ck_assert_int_eq(w[i].noted, CLSAMPLE_E_ARGUMENT);
        for (uint32_t s = 0; s < steps; s++) {
            w[i].p.step = s;
            host_draw(&w[i].p, 1, x, ROWS, VOCAB, want);
            check_equal(w[i].got + (size_t)s * ROWS, want, ROWS, "in a thread");
        }
        clsample_destroy(w[i].ctx);
        free(w[i].got);
    }
    free(x);
}
END_TEST

/* ---- What must not matter ---- */

/* The blocking call on host memory, which ignores mem, offset and fallback, like the enqueued one. */
START_TEST(blocking_like_enqueued)
{
    static const uint32_t vocabs[] = { 1, 64, 65, 300, 2000, 100 }; /* growing, and back */
    const uint32_t types = test_scaled("types of blocking_like_enqueued", 3, 2, 2);

    for (uint32_t dtype = 0; dtype < types; dtype++) {
        for (uint32_t v = 0; v < COUNT(vocabs); v++) {
            const uint32_t rows = 1 + v, stride = vocabs[v] + v % 3;
            float *x = rows_of(rows, stride, 7);
            void *host = dtype_convert(x, (size_t)rows * stride, dtype);
            const size_t bytes = (size_t)rows * stride * dtype_size(dtype);
            clsample_params p = all_stages();
            clsample_result want[COUNT(vocabs)], got[COUNT(vocabs)];
            clsample_logits in = logits_of(dev_upload(host, bytes), dtype, rows, vocabs[v]);

            in.stride = stride;
            dev_draw(&p, 1, &in, want);
            ck_cl(clReleaseMemObject(in.mem));
            in.mem = NULL;
            in.offset = 3;
            in.fallback_offset = 5;
            ck_ok(clsample_sample(dev.ctx, &p, 1, &in, host, got));
            check_equal(got, want, rows, "blocking");
            free(host);
            free(x);
        }
    }
}
END_TEST

/* Row r of a batch with its own parameters, for batches of every size up to 65. */
START_TEST(rows_1_to_65)
{
    const uint32_t vocab = test_scaled("logits of rows_1_to_65", 130, 130, 40);
    const uint32_t step = 64 / test_scaled("batches of rows_1_to_65", 64, 16, 2);
    float *x = rows_of(MOST_ROWS, vocab, 8);
    clsample_params p[MOST_ROWS];
    clsample_result all[MOST_ROWS], some[MOST_ROWS];

    for (uint32_t r = 0; r < MOST_ROWS; r++) {
        p[r] = all_stages();
        p[r].stream = r;
    }
    host_draw(p, MOST_ROWS, x, MOST_ROWS, vocab, all);
    for (uint32_t rows = 1; rows <= MOST_ROWS; rows += step) {
        host_draw(p, rows, x, rows, vocab, some);
        check_equal(some, all, rows, "fewer rows");
    }
    free(x);
}
END_TEST

/* Shapes that grow and shrink while earlier calls still wait: the scratch memory is made anew under them. */
START_TEST(growing_shapes)
{
    static const uint32_t rows[] = { 1, 3, 2, 9, 1, 17 }, vocabs[] = { 70, 64, 900, 300, 2000, 129 };
    const clsample_options options = test_options();
    const clsample_params p = all_stages();
    clsample_ctx *ctx = NULL;
    cl_int error = CL_SUCCESS;
    cl_event gate = clCreateUserEvent(dev.context, &error);
    cl_mem in[COUNT(rows)], results[COUNT(rows)];
    clsample_result want[COUNT(rows)][17], got[17];

    ck_cl(error);
    ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
    for (size_t i = 0; i < COUNT(rows); i++) {
        float *x = rows_of(rows[i], vocabs[i], 9 + i);

        host_draw(&p, 1, x, rows[i], vocabs[i], want[i]);
        in[i] = dev_upload(x, (size_t)rows[i] * vocabs[i] * sizeof *x);
        results[i] = dev_buffer(rows[i] * sizeof *got);
        free(x);
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        const clsample_logits logits = logits_of(in[i], CLSAMPLE_F32, rows[i], vocabs[i]);
        const clsample_output out = results_at(results[i], 0);

        ck_ok(clsample_enqueue(ctx, dev.queue, &p, 1, &logits, &out, 1, &gate, NULL));
    }
    ck_cl(clSetUserEventStatus(gate, CL_COMPLETE));
    for (size_t i = 0; i < COUNT(rows); i++) {
        dev_download(results[i], 0, got, rows[i] * sizeof *got);
        check_equal(got, want[i], rows[i], "a shape among others");
        ck_cl(clReleaseMemObject(in[i]));
        ck_cl(clReleaseMemObject(results[i]));
    }
    clsample_destroy(ctx);
    ck_cl(clReleaseEvent(gate));
}
END_TEST

/* Outputs at every offset that their alignment allows, and nothing else of their buffers touched. */
START_TEST(output_offsets)
{
    enum { ROWS = 3, BYTES = 256 };
    float *x = rows_of(ROWS, VOCAB, 10);
    const clsample_params p = all_stages();
    clsample_result want[ROWS];
    unsigned char tokens[BYTES], results[BYTES];
    clsample_output out = CLSAMPLE_OUTPUT_INIT;

    host_draw(&p, 1, x, ROWS, VOCAB, want);
    const clsample_logits in = logits_of(dev_upload(x, ROWS * VOCAB * sizeof *x), CLSAMPLE_F32, ROWS, VOCAB);
    out.tokens = dev_buffer(BYTES);
    out.results = dev_buffer(BYTES);
    for (size_t i = 0; i < 5; i++) {
        const size_t t_end = out.tokens_offset + ROWS * sizeof(int32_t),
                     r_end = out.results_offset + sizeof want;

        dev_poison(out.tokens, BYTES);
        dev_poison(out.results, BYTES);
        ck_ok(clsample_enqueue(dev.ctx, dev.queue, &p, 1, &in, &out, 0, NULL, NULL));
        dev_download(out.tokens, 0, tokens, BYTES);
        dev_download(out.results, 0, results, BYTES);
        for (uint32_t r = 0; r < ROWS; r++)
            ck_assert_mem_eq(tokens + out.tokens_offset + r * sizeof(int32_t), &want[r].token,
                             sizeof(int32_t));
        ck_assert_mem_eq(results + out.results_offset, want, sizeof want);
        ck_assert(is_poison(tokens, out.tokens_offset) && is_poison(tokens + t_end, BYTES - t_end));
        ck_assert(is_poison(results, out.results_offset) && is_poison(results + r_end, BYTES - r_end));
        out.tokens_offset += 4 + 8 * i;
        out.results_offset += 16 + 16 * i;
    }
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(out.tokens));
    ck_cl(clReleaseMemObject(out.results));
    free(x);
}
END_TEST

/* The logits are only read. */
START_TEST(logits_are_left_alone)
{
    enum { ROWS = 2 };
    float *x = rows_of(ROWS, VOCAB, 11), *after = test_alloc(ROWS * VOCAB * sizeof *after);
    const clsample_params p = all_stages();
    clsample_result results[ROWS];

    const clsample_logits in = logits_of(dev_upload(x, ROWS * VOCAB * sizeof *x), CLSAMPLE_F32, ROWS, VOCAB);
    dev_draw(&p, 1, &in, results);
    dev_filter(&p, 1, &in, CLSAMPLE_PROBABILITIES, after);
    dev_download(in.mem, 0, after, ROWS * VOCAB * sizeof *after);
    ck_assert_mem_eq(x, after, ROWS * VOCAB * sizeof *after);
    ck_cl(clReleaseMemObject(in.mem));
    free(after);
    free(x);
}
END_TEST

static Suite *make(void)
{
    Suite *s = suite_create("enqueue");
    TCase *order = tcase_create("order"), *same = tcase_create("same");

    tcase_add_loop_test(order, waits_for_the_list, 0, 4);
    tcase_add_loop_test(order, event_means_done, 0, 2);
    tcase_add_loop_test(order, steps_in_flight, 0, 8);
    tcase_add_loop_test(order, destroy_while_waiting, 0, 2);
    tcase_add_test(order, two_threads);
    suite_add_tcase(s, order);
    tcase_add_test(same, blocking_like_enqueued);
    tcase_add_test(same, rows_1_to_65);
    tcase_add_test(same, growing_shapes);
    tcase_add_test(same, output_offsets);
    tcase_add_test(same, logits_are_left_alone);
    suite_add_tcase(s, same);
    return s;
}

int main(void)
{
    return test_main(make);
}
