/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that enqueue a step: what the first command waits for, and what the next call will. */
#include "step.h"

/* One call. */
typedef struct cls_enqueue {
    cls_step step;
    cls_staging *staging; /* of plans, if there is one for each row */
    cls_gate gate;
    cl_command_queue held; /* the step's queue, retained, if the call before used another */
} cls_enqueue;

/* Plans for the whole batch into the step, or one a row into a staging area. */
static clsample_status make_plans(cls_enqueue *e, const clsample_params *params, uint32_t n_params,
                                  bool filter)
{
    cls_step *step = &e->step;
    const uint32_t rows = step->logits.rows, vocab = step->logits.vocab;
    clsample_status st = cls_check_n_params(params, n_params, rows);

    if (st != CLSAMPLE_OK) return st;
    /* For a single row both readings give the same token, since row 0 draws with its own stream. */
    if (!params || n_params == 1) return cls_plan(params, 0, vocab, filter, &step->plan);
    st = cls_need_staging(step->ctx, rows, &e->staging);
    for (uint32_t r = 0; st == CLSAMPLE_OK && r < rows; r++)
        st = cls_plan(params, r, vocab, filter, &e->staging->host[r]);
    if (st != CLSAMPLE_OK) return st;
    step->plans = e->staging->mem;
    step->has_plans = CLS_PLANS_GIVEN;
    return st;
}

/* Work out what the first command waits for: the caller's list, the call before, which used the same scratch,
 * and the plans' way to the device. An in-order queue knows most of that by itself. */
static clsample_status open_gate(cls_enqueue *e)
{
    cls_step *step = &e->step;
    clsample_ctx *ctx = step->ctx;
    clsample_status st = CLSAMPLE_OK;
    const bool other_queue = ctx->last_queue && ctx->last_queue != step->queue;
    cl_event own[2];
    cl_uint n = 0;

    if (ctx->last_queue != step->queue) {
        CLS_CL(clRetainCommandQueue(step->queue), "clRetainCommandQueue");
        e->held = step->queue;
    }
    if (e->staging) {
        const size_t size = step->logits.rows * sizeof *e->staging->host;
        CLS_CL(clEnqueueWriteBuffer(step->queue, e->staging->mem, CL_FALSE, 0, size, e->staging->host, 0,
                                    NULL, &e->staging->done),
               "clEnqueueWriteBuffer parameters");
        if (!step->in_order) own[n++] = e->staging->done;
    }
    if (ctx->last_queue && (!step->in_order || other_queue)) {
        CLS_TRY(cls_find_previous(ctx, &ctx->previous, ctx->last_queue));
        if (other_queue) CLS_CL(clFlush(ctx->last_queue), "clFlush");
        const cl_event *last = cls_last_event(&ctx->previous.events);
        if (last) own[n++] = *last;
    }
    CLS_TRY(cls_open_gate(step, own, n, &e->gate));
cleanup:
    return st;
}

/* The staging area is free again when the last command that reads it has ended. Where that cannot be noted,
 * it is given up. */
static void close_staging(cls_enqueue *e)
{
    cls_staging *s = e->staging;
    const cl_event *last = cls_last_event(&e->step.events);

    if (!s || !last) return;
    if (clRetainEvent(*last) != CL_SUCCESS) {
        cls_give_up_staging(e->step.ctx, s);
        return;
    }
    clReleaseEvent(s->done);
    s->done = *last;
}

/* Keep what the next call waits for, hand the caller the event, and drop the rest. What was enqueued counts,
 * also if a later part of the call failed. */
static clsample_status close_call(cls_enqueue *e, clsample_status st, cl_event *event)
{
    cls_step *step = &e->step;
    clsample_ctx *ctx = step->ctx;

    if (!step->any) {
        cls_release_events(&step->events);
        if (e->held) clReleaseCommandQueue(e->held);
        return st;
    }
    close_staging(e);
    cls_set_previous(&ctx->previous, &step->events);
    if (st == CLSAMPLE_OK && event) cls_share_previous(&ctx->previous, event);
    if (e->held) {
        if (ctx->last_queue) clReleaseCommandQueue(ctx->last_queue);
        ctx->last_queue = e->held;
        ctx->last_in_order = step->in_order;
    }
    return st;
}

/* The commands that both calls begin with, once the arguments are known to be good. */
static clsample_status enqueue_choices(cls_enqueue *e, bool mask)
{
    cls_step *step = &e->step;
    clsample_ctx *ctx = step->ctx;
    clsample_status st = CLSAMPLE_OK;

    CLS_TRY(cls_need_step(step, mask));
    CLS_TRY(cls_need_scratch(ctx, step->logits.rows, step->logits.vocab));
    step->scratch = &ctx->scratch;
    step->arrived = ctx->arrived;
    CLS_TRY(open_gate(e));
    CLS_TRY(cls_command_choices(step));
cleanup:
    return st;
}

clsample_status clsample_enqueue(clsample_ctx *ctx, cl_command_queue queue, const clsample_params *params,
                                 uint32_t n_params, const clsample_logits *logits,
                                 const clsample_output *output, cl_uint n_wait, const cl_event *wait_list,
                                 cl_event *event)
{
    clsample_status st = CLSAMPLE_OK;
    cls_enqueue e = { .step = { .ctx = ctx } };

    if (event) *event = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    CLS_TRY(cls_check_queue(&e.step, queue, n_wait, wait_list));
    CLS_TRY(cls_check_input(&e.step, logits));
    CLS_TRY(cls_check_output(&e.step, output));
    CLS_TRY(make_plans(&e, params, n_params, false));
    e.step.wants_event = event || e.staging || !e.step.in_order;
    CLS_TRY(enqueue_choices(&e, false));
cleanup:
    return close_call(&e, st, event);
}

clsample_status clsample_enqueue_filter(clsample_ctx *ctx, cl_command_queue queue,
                                        const clsample_params *params, uint32_t n_params,
                                        const clsample_logits *logits, clsample_filter_output what,
                                        cl_mem out, size_t out_offset, cl_uint n_wait,
                                        const cl_event *wait_list, cl_event *event)
{
    clsample_status st = CLSAMPLE_OK;
    cls_enqueue e = { .step = { .ctx = ctx } };

    if (event) *event = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    if (what != CLSAMPLE_MASKED_LOGITS && what != CLSAMPLE_PROBABILITIES)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "what is %d; it must be a clsample_filter_output, 0 or 1",
                        (int)what);
    CLS_TRY(cls_check_queue(&e.step, queue, n_wait, wait_list));
    CLS_TRY(cls_check_input(&e.step, logits));
    CLS_TRY(cls_check_out(&e.step, out, out_offset));
    CLS_TRY(make_plans(&e, params, n_params, true));
    e.step.wants_event = event || e.staging || !e.step.in_order;
    CLS_TRY(enqueue_choices(&e, true));
    CLS_TRY(cls_command_mask(&e.step, (cl_uint)what, out, out_offset));
cleanup:
    return close_call(&e, st, event);
}
