/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that enqueue a job: what the first command waits for, and what the next call will. */
#include "job.h"

/* One call. */
typedef struct cls_enqueue {
    cls_job job;
    cls_staging *staging; /* of plans, if there is one for each row */
    cls_gate gate;
    cl_command_queue held; /* the job's queue, retained, if the call before used another */
} cls_enqueue;

/* A plan for the whole batch into the job, or one a row into a staging area. For a single row both readings
 * give the same token, since row 0 draws with its own stream. */
static clsample_status make_plans(cls_enqueue *e, const cls_row_params *params, bool filter)
{
    cls_job *job = &e->job;
    const clsample_logits *l = &job->logits;
    clsample_status st = CLSAMPLE_OK;

    CLS_TRY(cls_check_n_params(params, l->rows));
    const bool one = cls_is_one_set(params);
    if (!one) CLS_TRY(cls_need_staging(job->ctx, l->rows, &e->staging));
    cls_plan_row *plans = one ? &job->plan : e->staging->host;
    if (one)
        CLS_TRY(cls_plan_again(&job->ctx->planned, params->sets, l->vocab, filter, plans));
    else
        CLS_TRY(cls_plan_rows(params, l, filter, plans, l->rows));
    CLS_TRY(cls_edit_rows(job, params, NULL, &job->ctx->edits, plans, one ? 1 : l->rows));
    if (!one) job->plans = e->staging->mem;
cleanup:
    return st;
}

/* Work out what the first command waits for: the caller's list, the call before, which used the same scratch,
 * and the plans' way to the device. An in-order queue knows most of that by itself. */
static clsample_status open_gate(cls_enqueue *e)
{
    cls_job *job = &e->job;
    clsample_ctx *ctx = job->ctx;
    clsample_status st = CLSAMPLE_OK;
    const bool other_queue = ctx->last_queue && ctx->last_queue != job->queue;
    cl_event own[2];
    cl_uint n = 0;

    if (ctx->last_queue != job->queue) {
        CLS_CL(clRetainCommandQueue(job->queue), "clRetainCommandQueue");
        e->held = job->queue;
    }
    if (e->staging) {
        const size_t size = job->logits.rows * sizeof *e->staging->host;
        CLS_CL(clEnqueueWriteBuffer(job->queue, e->staging->mem, CL_FALSE, 0, size, e->staging->host, 0, NULL,
                                    &e->staging->done),
               "clEnqueueWriteBuffer parameters");
        if (!job->in_order) own[n++] = e->staging->done;
    }
    if (ctx->last_queue && (!job->in_order || other_queue)) {
        CLS_TRY(cls_find_previous(ctx, &ctx->previous, ctx->last_queue));
        if (other_queue) CLS_CL(clFlush(ctx->last_queue), "clFlush");
        const cl_event *last = cls_last_event(&ctx->previous.events);
        if (last) own[n++] = *last;
    }
    CLS_TRY(cls_open_gate(job, own, n, &e->gate));
cleanup:
    return st;
}

/* The staging area is free again when the last command that reads it has ended. Where that cannot be noted,
 * it is given up. */
static void close_staging(cls_enqueue *e)
{
    cls_staging *s = e->staging;
    const cl_event *last = cls_last_event(&e->job.events);

    if (!s || !last) return;
    if (clRetainEvent(*last) != CL_SUCCESS) {
        cls_give_up_staging(e->job.ctx, s);
        return;
    }
    clReleaseEvent(s->done);
    s->done = *last;
}

/* Keep what the next call waits for, hand the caller the event, and drop the rest. What was enqueued counts,
 * also if a later part of the call failed. */
static clsample_status close_call(cls_enqueue *e, clsample_status st, cl_event *event)
{
    cls_job *job = &e->job;
    clsample_ctx *ctx = job->ctx;

    if (!job->any) {
        cls_release_events(&job->events);
        if (e->held) clReleaseCommandQueue(e->held);
        return st;
    }
    close_staging(e);
    cls_set_previous(&ctx->previous, &job->events);
    if (st == CLSAMPLE_OK && event) cls_share_previous(&ctx->previous, event);
    if (e->held) {
        if (ctx->last_queue) clReleaseCommandQueue(ctx->last_queue);
        ctx->last_queue = e->held;
        ctx->last_in_order = job->in_order;
    }
    return st;
}

/* The commands that both calls begin with, once the arguments are known to be good. */
static clsample_status enqueue_choices(cls_enqueue *e, bool mask)
{
    cls_job *job = &e->job;
    clsample_ctx *ctx = job->ctx;
    clsample_status st = CLSAMPLE_OK;

    CLS_TRY(cls_need_kernels(ctx, &job->logits, job->needs_extras, mask));
    CLS_TRY(cls_need_scratch(ctx, job->logits.rows, job->logits.vocab));
    if (job->needs_extras) CLS_TRY(cls_need_extras(ctx, job->logits.rows, job->logits.vocab));
    job->extras = ctx->extras;
    job->scratch = &ctx->scratch;
    job->arrived = ctx->arrived;
    CLS_TRY(open_gate(e));
    CLS_TRY(cls_command_choices(job));
cleanup:
    return st;
}

clsample_status clsample_enqueue(clsample_ctx *ctx, cl_command_queue queue, const clsample_params *params,
                                 uint32_t n_params, const clsample_logits *logits,
                                 const clsample_output *output, cl_uint n_wait, const cl_event *wait_list,
                                 cl_event *event)
{
    clsample_status st = CLSAMPLE_OK;
    const cls_row_params sets = { .sets = params, .n = n_params, .samples = 1 };
    cls_enqueue e = { .job = { .ctx = ctx } };

    if (event) *event = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    CLS_TRY(cls_check_queue(&e.job, queue, n_wait, wait_list));
    CLS_TRY(cls_check_input(&e.job, logits));
    CLS_TRY(cls_check_output(&e.job, output));
    CLS_TRY(make_plans(&e, &sets, false));
    e.job.wants_event = event || e.staging || !e.job.in_order;
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
    const cls_row_params sets = { .sets = params, .n = n_params, .samples = 1 };
    cls_enqueue e = { .job = { .ctx = ctx } };

    if (event) *event = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    if (what != CLSAMPLE_MASKED_LOGITS && what != CLSAMPLE_PROBABILITIES)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "what is %d; it must be a clsample_filter_output, 0 or 1",
                        (int)what);
    CLS_TRY(cls_check_queue(&e.job, queue, n_wait, wait_list));
    CLS_TRY(cls_check_input(&e.job, logits));
    CLS_TRY(cls_check_out(&e.job, out, out_offset));
    CLS_TRY(make_plans(&e, &sets, true));
    e.job.wants_event = event || e.staging || !e.job.in_order;
    CLS_TRY(enqueue_choices(&e, true));
    CLS_TRY(cls_command_mask(&e.job, (cl_uint)what, out, out_offset));
cleanup:
    return close_call(&e, st, event);
}
