/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs recorded once and enqueued many times. Their plans lie on the device, where each moves on to the next
 * step when it was used, so that nothing has to be set between two repetitions. */
#include "job.h"

#include <stdlib.h>

struct clsample_recording {
    cls_job job;
    cl_command_queue queue; /* the job's, once it is retained */
    cls_tape tape;          /* without a buffer the job is enqueued */
    cls_scratch scratch;
    cls_edits edits;
    cl_mem plans, states, extras, arrived;
    cls_previous previous; /* the repetition before */
};

/* PoCL 3.1 runs the kernels of a command buffer in the wrong order, or not at all, if there are several. */
static bool is_reliable(const cls_tape *t, const cls_tuning *tuning)
{
    return t->count == 1 || !tuning->pocl;
}

/* Record the job. Without command buffers, or where one fails, the job is enqueued instead. */
static void record(clsample_recording *r)
{
    const clsample_error saved = *clsample_last_error();
    const cls_tuning *tuning = &r->job.ctx->tuning;
    cls_tape *t = &r->tape;

    if (!tuning->command_buffers || !cls_tape_begin(t, r->job.ctx->device, r->job.queue)) return;
    r->job.tape = t;
    if (cls_command_choices(&r->job) != CLSAMPLE_OK || !cls_tape_end(t) || !is_reliable(t, tuning))
        cls_tape_drop(t);
    r->job.tape = NULL;
    cls_restore_error(&saved);
}

/* Each row's state before its first step. */
static clsample_status make_states(clsample_recording *r, const cls_row_params *params,
                                   const cls_plan_row *plans, const cls_history *history)
{
    const uint32_t rows = r->job.logits.rows;
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;

    cls_row_state *states = calloc(rows, sizeof *states);
    if (!states) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the states of %u rows", (unsigned)rows);
    for (uint32_t i = 0; i < rows; i++) {
        if (history) states[i] = history->states[i];
        states[i].step_lo = plans[i].step_lo;
        states[i].step_hi = plans[i].step_hi;
        states[i].edits = plans[i].edits;
        states[i].n_edits = plans[i].n_edits;
        cls_hold_edits(&r->edits, cls_set_of_row(params, i), &states[i]);
    }
    r->states = clCreateBuffer(r->job.ctx->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                               rows * sizeof *states, states, &err);
    CLS_CL(err, "clCreateBuffer states");
    r->job.states = r->states;
cleanup:
    free(states);
    return st;
}

static clsample_status make_plans(clsample_recording *r, const cls_row_params *params,
                                  const cls_history *history)
{
    const uint32_t rows = r->job.logits.rows;
    clsample_status st = cls_check_n_params(params, rows);
    cl_int err = CL_SUCCESS;

    if (st != CLSAMPLE_OK) return st;
    cls_plan_row *plans = malloc(rows * sizeof *plans);
    if (!plans) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the parameters of %u rows", (unsigned)rows);
    CLS_TRY(cls_plan_rows(params, &r->job.logits, false, plans, rows));
    CLS_TRY(cls_edit_rows(&r->job, params, history, &r->edits, plans, rows));
    r->plans = clCreateBuffer(r->job.ctx->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                              rows * sizeof *plans, plans, &err);
    CLS_CL(err, "clCreateBuffer parameters");
    r->job.plans = r->plans;
    CLS_TRY(make_states(r, params, plans, history));
cleanup:
    free(plans);
    return st;
}

clsample_status cls_record(clsample_ctx *ctx, cl_command_queue queue, const cls_row_params *params,
                           const cls_history *history, const clsample_logits *logits,
                           const clsample_output *output, clsample_recording **recording)
{
    clsample_status st = CLSAMPLE_OK;
    clsample_recording *r = calloc(1, sizeof *r);

    if (!r) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for a recording of %zu bytes", sizeof *r);
    cls_job *job = &r->job;
    job->ctx = ctx;
    CLS_TRY(cls_check_queue(job, queue, 0, NULL));
    CLS_TRY(cls_check_input(job, logits));
    CLS_TRY(cls_check_output(job, output));
    CLS_TRY(make_plans(r, params, history));
    CLS_TRY(cls_need_kernels(ctx, &job->logits, job->needs_extras, false));
    CLS_TRY(cls_make_scratch(ctx, job->logits.rows, job->logits.vocab, &r->scratch));
    CLS_TRY(cls_make_arrived(ctx, &r->arrived));
    if (job->needs_extras) CLS_TRY(cls_make_extras(ctx, job->logits.rows, job->logits.vocab, &r->extras));
    CLS_CL(clRetainCommandQueue(queue), "clRetainCommandQueue");
    r->queue = queue;
    job->scratch = &r->scratch;
    job->arrived = r->arrived;
    job->extras = r->extras;
    if (history) {
        job->history = history->ids;
        job->history_stride = history->stride;
    }
    record(r);
    *recording = r;
    r = NULL;
cleanup:
    clsample_recording_free(r);
    return st;
}

clsample_status clsample_record(clsample_ctx *ctx, cl_command_queue queue, const clsample_params *params,
                                uint32_t n_params, const clsample_logits *logits,
                                const clsample_output *output, clsample_recording **recording)
{
    const cls_row_params sets = { .sets = params, .n = n_params, .samples = 1 };

    if (!recording)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "recording is NULL; it must point to where the recording goes");
    *recording = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    return cls_record(ctx, queue, &sets, NULL, logits, output, recording);
}

/* A command buffer that cannot be enqueued twice at a time must have ended. */
static bool buffer_is_free(const clsample_recording *r)
{
    cl_int status = CL_COMPLETE;

    if (!r->tape.buffer) return false;
    if (r->tape.simultaneous) return true;
    const cl_event *last = cls_last_event(&r->previous.events);
    if (!last) return !r->previous.unknown;
    return clGetEventInfo(*last, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
               CL_SUCCESS &&
           status <= CL_COMPLETE;
}

/* Both ways leave their events in the job; so does a way that fails after its first launch. */
static clsample_status enqueue_again(clsample_recording *r)
{
    cls_job *job = &r->job;
    cl_event done = NULL;

    if (!buffer_is_free(r)) return cls_command_choices(job);
    const clsample_status st =
        cls_tape_enqueue(&r->tape, job->n_wait, job->wait_list, job->wants_event ? &done : NULL);
    if (st != CLSAMPLE_OK) return st;
    cls_add_event(&job->events, done);
    job->any = true;
    return CLSAMPLE_OK;
}

/* What the repetition waits for: the caller's list, and the one before. An in-order queue knows that by
 * itself. */
static clsample_status open_gate(clsample_recording *r, cls_gate *gate)
{
    clsample_status st = CLSAMPLE_OK;

    if (r->job.in_order) return st;
    CLS_TRY(cls_find_previous(r->job.ctx, &r->previous, r->job.queue));
    const cl_event *last = cls_last_event(&r->previous.events);
    CLS_TRY(cls_open_gate(&r->job, last, last ? 1 : 0, gate));
cleanup:
    return st;
}

clsample_status clsample_replay(clsample_recording *r, cl_uint n_wait, const cl_event *wait_list,
                                cl_event *event)
{
    clsample_status st = CLSAMPLE_OK;
    cls_gate gate;

    if (event) *event = NULL;
    if (!r) return cls_fail(CLSAMPLE_E_ARGUMENT, "recording is NULL; it must come from clsample_record");
    cls_job *job = &r->job;
    if ((st = cls_check_wait_list(job->ctx, n_wait, wait_list)) != CLSAMPLE_OK) return st;
    job->n_wait = n_wait;
    job->wait_list = wait_list;
    job->wants_event = event || !job->in_order || (r->tape.buffer && !r->tape.simultaneous);
    job->any = false;
    CLS_TRY(open_gate(r, &gate));
    st = enqueue_again(r);
    /* What was enqueued is what the next repetition follows, also if a later part of it failed. */
    if (job->any) cls_set_previous(&r->previous, &job->events);
    if (st == CLSAMPLE_OK && event) cls_share_previous(&r->previous, event);
cleanup:
    cls_release_events(&job->events); /* of a marker, if no command came behind it */
    job->wait_list = NULL;
    return st;
}

cl_mem cls_recording_states(const clsample_recording *recording)
{
    return recording->states;
}

int clsample_recording_is_native(const clsample_recording *recording)
{
    return recording && recording->tape.buffer;
}

void clsample_recording_free(clsample_recording *r)
{
    if (!r) return;
    cls_tape_drop(&r->tape);
    cls_release_events(&r->previous.events);
    if (r->scratch.mem) clReleaseMemObject(r->scratch.mem);
    if (r->arrived) clReleaseMemObject(r->arrived);
    if (r->plans) clReleaseMemObject(r->plans);
    if (r->states) clReleaseMemObject(r->states);
    if (r->extras) clReleaseMemObject(r->extras);
    cls_free_edits(&r->edits);
    if (r->queue) clReleaseCommandQueue(r->queue);
    free(r);
}
