/* SPDX-License-Identifier: Apache-2.0 */
/* The loop that generates texts. The device carries it: a step's token goes from the sampler into the ids
 * that the next step's model reads, by a kernel that also decides what has ended (cl/generate.cl) and keeps a
 * list of both for the host, which looks some steps later. Looking after each step, as the eager mode does,
 * is the same with a list of one step, and with no step enqueued ahead. */
#include "request.h"

#include <stdlib.h>

typedef struct cls_loop {
    cls_job job; /* for its context and what is known of the queue */
    cls_request q;
    uint32_t live;             /* rows that have not ended, as far as the host knows */
    uint32_t enqueued, looked; /* steps */
    bool any;                  /* a command was enqueued */

    uint32_t *lengths, *fresh; /* [rows]: what the model is told, as far as steps are enqueued */
    cls_row_state *row;        /* [rows]: as far as the host has looked */
    cls_text_token *seen;      /* [2 * check_every, rows]: halves of the list, in turns */

    cl_mem ids;    /* int32 [rows, stride] */
    cl_mem logits; /* float32 [rows, vocab] */
    cl_mem results, ends;
    cl_mem tokens; /* as `seen` */
    clsample_recording *recording;
    cl_event last;    /* out of order: of the command before */
    cl_event read[2]; /* of each half */
} cls_loop;

/* ---- Before the first step ---- */

/* A row whose prompt fills it, or ends with an end of text, has ended before it began. */
static void open_row(cls_loop *l, uint32_t r)
{
    const cls_request *q = &l->q;
    const uint32_t prompt = r / q->ask.samples, length = cls_prompt_length(q, prompt);
    const int32_t last = q->ask.ids[(size_t)prompt * q->ask.ids_stride + length - 1];
    const uint32_t most = q->ask.max_new_tokens;
    cls_row_state *row = &l->row[r];

    row->prompt = row->length = CLS_MIN(length, q->stride);
    row->limit = most && most < q->stride - row->length ? row->length + most : q->stride;
    row->finish = CLSAMPLE_FINISH_NONE;
    if (length >= q->stride)
        row->finish = CLSAMPLE_FINISH_LENGTH;
    else if (cls_ends_text(q, last))
        row->finish = CLSAMPLE_FINISH_PROMPT;
    l->lengths[r] = row->length;
    l->live += row->finish == CLSAMPLE_FINISH_NONE;
}

/* The prompt of row `r` and pads after it. */
static void fill_ids(const cls_loop *l, uint32_t r, int32_t *ids)
{
    const cls_request *q = &l->q;
    const int32_t *prompt = q->ask.ids + (size_t)(r / q->ask.samples) * q->ask.ids_stride;

    for (uint32_t i = 0; i < q->stride; i++)
        ids[i] = i < l->row[r].prompt ? prompt[i] : q->ask.pad;
}

/* What the application gets if nothing more happens. */
static void open_texts(const cls_loop *l)
{
    const clsample_texts *t = &l->q.texts;

    for (uint32_t r = 0; r < l->q.rows; r++) {
        if (t->ids) fill_ids(l, r, t->ids + (size_t)r * t->stride);
        for (uint32_t i = 0; t->logprobs && i < l->q.stride; i++)
            t->logprobs[(size_t)r * t->stride + i] = 0.0f;
    }
}

static clsample_status make_arrays(cls_loop *l)
{
    const uint32_t rows = l->q.rows;

    l->lengths = calloc(rows, sizeof *l->lengths);
    l->fresh = calloc(rows, sizeof *l->fresh);
    l->row = calloc(rows, sizeof *l->row);
    l->seen = calloc((size_t)rows * 2 * l->q.check_every, sizeof *l->seen);
    if (!l->lengths || !l->fresh || !l->row || !l->seen)
        return cls_fail(CLSAMPLE_E_MEMORY, "no memory for %u rows and lists of %u steps", (unsigned)rows,
                        (unsigned)l->q.check_every);
    for (uint32_t r = 0; r < rows; r++)
        open_row(l, r);
    return CLSAMPLE_OK;
}

/* `host` NULL: nothing is in it yet. */
static clsample_status make_buffer(const cls_loop *l, size_t size, void *host, const char *call, cl_mem *mem)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;

    *mem = clCreateBuffer(l->job.ctx->context, CL_MEM_READ_WRITE | (host ? CL_MEM_COPY_HOST_PTR : 0), size,
                          host, &err);
    CLS_CL(err, call);
cleanup:
    return st;
}

static clsample_status make_ids(cls_loop *l)
{
    const size_t rows = l->q.rows, size = rows * l->q.stride * sizeof(cl_int);
    int32_t *ids = malloc(size);

    if (!ids) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for %zu rows of ids, %zu bytes", rows, size);
    for (uint32_t r = 0; r < l->q.rows; r++)
        fill_ids(l, r, ids + (size_t)r * l->q.stride);
    const clsample_status st = make_buffer(l, size, ids, "clCreateBuffer ids", &l->ids);
    free(ids);
    return st;
}

static clsample_status make_ends(cls_loop *l)
{
    const size_t size = CLS_MAX(l->q.n_ends, 1u) * sizeof(cl_int);
    cl_int *ends = calloc(1, size);

    if (!ends) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for stop sequences, %zu bytes", size);
    cls_fill_ends(&l->q, ends);
    const clsample_status st = make_buffer(l, size, ends, "clCreateBuffer ends", &l->ends);
    free(ends);
    return st;
}

static clsample_status make_recording(cls_loop *l)
{
    const clsample_generation *a = &l->q.ask;
    const cls_row_params params = { .sets = a->params, .n = a->n_params, .samples = a->samples };
    const cls_history texts = { .states = l->row,
                                .ids = l->ids,
                                .stride = l->q.stride,
                                .held = a->eos,
                                .n_held = a->n_eos,
                                .until = a->min_tokens };
    clsample_logits in = CLSAMPLE_LOGITS_INIT;
    clsample_output out = CLSAMPLE_OUTPUT_INIT;

    in.mem = l->logits;
    in.rows = l->q.rows;
    in.vocab = a->vocab;
    out.results = l->results;
    return cls_record(l->job.ctx, l->job.queue, &params, &texts, &in, &out, &l->recording);
}

/* A row that has ended before the first step never gets logits, but the sampler reads them. */
static clsample_status clear_logits(cls_loop *l, size_t size)
{
    const cl_float zero = 0.0f;
    clsample_status st = CLSAMPLE_OK;

    if (l->live == l->q.rows || l->live == 0) return st;
    CLS_CL(clEnqueueFillBuffer(l->job.queue, l->logits, &zero, sizeof zero, 0, size, 0, NULL,
                               l->job.in_order ? NULL : &l->last),
           "clEnqueueFillBuffer logits");
    l->any = true;
cleanup:
    return st;
}

static clsample_status make_device(cls_loop *l)
{
    const size_t rows = l->q.rows, logits = rows * l->q.ask.vocab * sizeof(cl_float);
    const size_t tokens = rows * 2 * l->q.check_every * sizeof *l->seen;
    clsample_status st = CLSAMPLE_OK;

    CLS_TRY(cls_need_text_kernels(l->job.ctx));
    CLS_TRY(make_ids(l));
    CLS_TRY(make_ends(l));
    CLS_TRY(make_buffer(l, logits, NULL, "clCreateBuffer logits", &l->logits));
    CLS_TRY(make_buffer(l, rows * sizeof(clsample_result), NULL, "clCreateBuffer results", &l->results));
    CLS_TRY(make_buffer(l, tokens, NULL, "clCreateBuffer tokens", &l->tokens));
    CLS_TRY(make_recording(l));
    CLS_TRY(clear_logits(l, logits));
cleanup:
    return st;
}

/* ---- A step ---- */

/* The next command waits for this event, which an in-order queue needs none of. */
static void follow(cls_loop *l, cl_event event)
{
    if (l->last) clReleaseEvent(l->last);
    l->last = event;
    l->any = true;
}

static cl_uint n_before(const cls_loop *l)
{
    return l->last ? 1 : 0;
}
static const cl_event *before(const cls_loop *l)
{
    return l->last ? &l->last : NULL;
}

/* May a command wait for the one before, which may be the model's? */
static clsample_status check_before(const cls_loop *l)
{
    cls_event_state state = CLS_EVENT_PENDING;
    const clsample_status st = l->last ? cls_check_event(l->job.ctx, l->last, &state) : CLSAMPLE_OK;

    if (state == CLS_EVENT_FOREIGN)
        return cls_fail(CLSAMPLE_E_MODEL,
                        "generation.model put an event of another OpenCL context into step.event at step %u",
                        (unsigned)l->enqueued);
    return state == CLS_EVENT_FAILED ? cls_fail_wait("a command of this or an earlier step") : st;
}

/* Which rows take part, and what they have. */
static void tell_rows(cls_loop *l)
{
    for (uint32_t r = 0; r < l->q.rows; r++) {
        const cls_row_state *row = &l->row[r];
        const uint32_t length = row->prompt + l->enqueued;
        const bool on = row->finish == CLSAMPLE_FINISH_NONE && length < row->limit;
        l->fresh[r] = !on ? 0 : l->enqueued == 0 ? length : 1;
        if (on) l->lengths[r] = length;
    }
}

static clsample_status call_model(cls_loop *l)
{
    const clsample_generation *a = &l->q.ask;
    cl_event event = NULL;
    const clsample_model_step step = { .size = sizeof step,
                                       .rows = l->q.rows,
                                       .stride = l->q.stride,
                                       .vocab = a->vocab,
                                       .queue = l->job.queue,
                                       .ids = l->ids,
                                       .lengths = l->lengths,
                                       .fresh = l->fresh,
                                       .logits = l->logits,
                                       .n_wait = n_before(l),
                                       .wait_list = before(l),
                                       .event = l->job.in_order ? NULL : &event };

    tell_rows(l);
    l->any = true; /* whatever it returns */
    const int code = a->model(a->model_user, &step);
    if (event) follow(l, event);
    if (code != 0)
        return cls_fail(CLSAMPLE_E_MODEL, "generation.model returned %d at step %u; 0 is success", code,
                        (unsigned)l->enqueued);
    if (!event && !l->job.in_order)
        return cls_fail(CLSAMPLE_E_MODEL,
                        "generation.model put nothing into step.event at step %u; on an out-of-order queue "
                        "its last command's event must be there",
                        (unsigned)l->enqueued);
    return check_before(l);
}

/* Each row's work-item; the kernel's arguments are set. */
static clsample_status enqueue_rows(cls_loop *l, cl_kernel kernel, const char *call)
{
    const size_t global = l->q.rows;
    clsample_status st = CLSAMPLE_OK;
    cl_event event = NULL;

    CLS_TRY(check_before(l));
    CLS_CL(clEnqueueNDRangeKernel(l->job.queue, kernel, 1, NULL, &global, NULL, n_before(l), before(l),
                                  l->job.in_order ? NULL : &event),
           call);
    follow(l, event);
cleanup:
    return st;
}

static cls_text_ends ends_of(const cls_loop *l)
{
    return (cls_text_ends){ .stride = l->q.stride,
                            .eos = l->q.ask.n_eos,
                            .stops = l->q.ask.n_stops,
                            .min_tokens = l->q.ask.min_tokens };
}

static clsample_status enqueue_finish(cls_loop *l)
{
    const cl_kernel kernel = l->job.ctx->finish;
    const cl_uint slot = l->enqueued % (2 * l->q.check_every);
    const cl_mem states = cls_recording_states(l->recording);
    const cls_text_ends ends = ends_of(l);
    clsample_status st = CLSAMPLE_OK;

    CLS_CL(clSetKernelArg(kernel, 0, sizeof l->ids, &l->ids), "clSetKernelArg");
    CLS_CL(clSetKernelArg(kernel, 1, sizeof states, &states), "clSetKernelArg");
    CLS_CL(clSetKernelArg(kernel, 2, sizeof l->results, &l->results), "clSetKernelArg");
    CLS_CL(clSetKernelArg(kernel, 3, sizeof l->ends, &l->ends), "clSetKernelArg");
    CLS_CL(clSetKernelArg(kernel, 4, sizeof ends, &ends), "clSetKernelArg");
    CLS_CL(clSetKernelArg(kernel, 5, sizeof l->tokens, &l->tokens), "clSetKernelArg");
    CLS_CL(clSetKernelArg(kernel, 6, sizeof slot, &slot), "clSetKernelArg");
    CLS_TRY(enqueue_rows(l, kernel, "clEnqueueNDRangeKernel cls_finish"));
cleanup:
    return st;
}

static clsample_status enqueue_step(cls_loop *l)
{
    clsample_status st = CLSAMPLE_OK;
    cl_event drawn = NULL;

    CLS_TRY(call_model(l));
    CLS_TRY(clsample_replay(l->recording, n_before(l), before(l), l->job.in_order ? NULL : &drawn));
    follow(l, drawn);
    CLS_TRY(enqueue_finish(l));
    l->enqueued++;
cleanup:
    return st;
}

/* ---- Looking ---- */

/* Steps that rows still want, all together. */
static uint32_t steps_wanted(const cls_loop *l)
{
    uint32_t steps = 0;

    for (uint32_t r = 0; r < l->q.rows; r++)
        if (l->row[r].finish == CLSAMPLE_FINISH_NONE)
            steps = CLS_MAX(steps, l->row[r].limit - l->row[r].prompt);
    return steps;
}

/* Enqueue up to check_every steps, and a copy of what they give. */
static clsample_status enqueue_steps(cls_loop *l, uint32_t wanted)
{
    const uint32_t first = l->enqueued % (2 * l->q.check_every);
    const uint32_t half = first / l->q.check_every, n = CLS_MIN(wanted - l->enqueued, l->q.check_every);
    const size_t step = l->q.rows * sizeof *l->seen;
    clsample_status st = CLSAMPLE_OK;

    for (uint32_t i = 0; i < n; i++)
        CLS_TRY(enqueue_step(l));
    CLS_TRY(check_before(l));
    CLS_CL(clEnqueueReadBuffer(l->job.queue, l->tokens, CL_FALSE, first * step, n * step,
                               l->seen + (size_t)first * l->q.rows, n_before(l), before(l), &l->read[half]),
           "clEnqueueReadBuffer tokens");
    CLS_CL(clFlush(l->job.queue), "clFlush");
cleanup:
    return st;
}

/* Append a token on the host's side, and show it to the application. */
static clsample_next take_token(cls_loop *l, uint32_t r, const cls_text_token *t)
{
    const clsample_texts *texts = &l->q.texts;
    cls_row_state *row = &l->row[r];
    const uint32_t position = row->length;
    const clsample_token token = { .size = sizeof token,
                                   .row = r,
                                   .position = position,
                                   .token = t->token,
                                   .logprob = t->logprob,
                                   .kept = t->kept,
                                   .finish = t->finish,
                                   .status = t->status };

    row->finish = t->finish;
    if (t->finish == CLS_FINISH_NO_TOKEN) return CLSAMPLE_CONTINUE;
    row->length++;
    if (texts->ids) texts->ids[(size_t)r * texts->stride + position] = t->token;
    if (texts->logprobs) texts->logprobs[(size_t)r * texts->stride + position] = t->logprob;
    if (!l->q.ask.token) return CLSAMPLE_CONTINUE;
    const clsample_next next = l->q.ask.token(l->q.ask.token_user, &token);
    if (next == CLSAMPLE_STOP_ROW && row->finish == CLSAMPLE_FINISH_NONE)
        row->finish = CLSAMPLE_FINISH_CALLBACK;
    return next;
}

/* Rows that have not ended end where they are. */
static void cancel(cls_loop *l)
{
    for (uint32_t r = 0; r < l->q.rows; r++)
        if (l->row[r].finish == CLSAMPLE_FINISH_NONE) l->row[r].finish = CLSAMPLE_FINISH_CANCELLED;
    l->live = 0;
}

static void take_step(cls_loop *l, const cls_text_token *tokens)
{
    for (uint32_t r = 0; l->live > 0 && r < l->q.rows; r++) {
        if (l->row[r].finish != CLSAMPLE_FINISH_NONE) continue;
        const clsample_next next = take_token(l, r, &tokens[r]);
        l->live -= l->row[r].finish != CLSAMPLE_FINISH_NONE;
        if (next != CLSAMPLE_CONTINUE && next != CLSAMPLE_STOP_ROW) cancel(l);
    }
}

/* Wait for the steps that were enqueued first, and see what they gave. */
static clsample_status look(cls_loop *l)
{
    const uint32_t first = l->looked % (2 * l->q.check_every), half = first / l->q.check_every;
    const uint32_t n = CLS_MIN(l->enqueued - l->looked, l->q.check_every);
    clsample_status st = CLSAMPLE_OK;

    CLS_CL(clWaitForEvents(1, &l->read[half]), "clWaitForEvents");
    clReleaseEvent(l->read[half]);
    l->read[half] = NULL;
    for (uint32_t i = 0; i < n; i++)
        take_step(l, l->seen + (size_t)(first + i) * l->q.rows);
    l->looked += n;
cleanup:
    return st;
}

/* The eager mode has one list under way, the other two, so that the device never waits for the host. */
static clsample_status run(cls_loop *l)
{
    const uint32_t ahead = (l->q.eager ? 1 : 2) * l->q.check_every;
    clsample_status st = CLSAMPLE_OK;

    while (l->live > 0) {
        const uint32_t wanted = steps_wanted(l);
        if (l->enqueued < wanted && l->enqueued - l->looked < ahead)
            CLS_TRY(enqueue_steps(l, wanted));
        else
            CLS_TRY(look(l));
    }
cleanup:
    return st;
}

/* ---- The end ---- */

/* Nothing may use the memory that goes now. clFinish is for drivers that refuse the marker: one of them does
 * not wait there for what was flushed before. */
static clsample_status settle(cls_loop *l)
{
    cl_event end = NULL;

    if (!l->any) return CLSAMPLE_OK;
    cl_int err = clEnqueueMarkerWithWaitList(l->job.queue, 0, NULL, &end);
    if (err == CL_SUCCESS) err = clWaitForEvents(1, &end);
    if (end) clReleaseEvent(end);
    if (err != CL_SUCCESS) err = clFinish(l->job.queue);
    return err == CL_SUCCESS ? CLSAMPLE_OK : cls_fail_cl(err, "clFinish");
}

static void close_texts(cls_loop *l)
{
    cancel(l); /* after a failure */
    for (uint32_t r = 0; r < l->q.rows; r++) {
        if (l->q.texts.lengths) l->q.texts.lengths[r] = l->row[r].length;
        if (l->q.texts.finish) l->q.texts.finish[r] = l->row[r].finish;
    }
}

static void free_loop(cls_loop *l)
{
    const cl_mem buffers[] = { l->ids, l->logits, l->results, l->ends, l->tokens };

    clsample_recording_free(l->recording);
    for (size_t i = 0; i < CLS_COUNT(buffers); i++)
        if (buffers[i]) clReleaseMemObject(buffers[i]);
    if (l->last) clReleaseEvent(l->last);
    for (size_t i = 0; i < CLS_COUNT(l->read); i++)
        if (l->read[i]) clReleaseEvent(l->read[i]);
    free(l->lengths);
    free(l->fresh);
    free(l->row);
    free(l->seen);
}

clsample_status clsample_generate(clsample_ctx *ctx, cl_command_queue queue,
                                  const clsample_generation *generation, const clsample_texts *texts)
{
    cls_loop l = { .job = { .ctx = ctx } };
    clsample_status st = CLSAMPLE_OK;

    CLS_TRY(cls_check_request(&l.job, queue, generation, texts, &l.q));
    CLS_TRY(make_arrays(&l));
    CLS_TRY(make_device(&l));
    open_texts(&l);
    st = run(&l);
    close_texts(&l);
cleanup:
    if (st == CLSAMPLE_OK) {
        st = settle(&l);
    } else {
        const clsample_error saved = *clsample_last_error(); /* the first failure is the one to tell */
        (void)settle(&l);
        cls_restore_error(&saved);
    }
    free_loop(&l);
    return st;
}
