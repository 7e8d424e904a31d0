/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline's commands: summary and pick for each batch, once more for rows that need the fallback logits,
 * and the mask where the filters' outcome is wanted for every token. */
#include "context.h"

#include <string.h>

/* One call, checked and ready to be enqueued. */
typedef struct cls_step {
    clsample_ctx *ctx;
    clsample_logits logits;
    clsample_output output;
    cls_plan_row plan;  /* for the whole batch ... */
    cls_staging *plans; /* ... unless there is one for each row */

    cl_command_queue queue;
    bool in_order;
    cl_uint n_wait; /* what the next command waits for */
    const cl_event *wait_list;
    cl_event gate[3];      /* the first command's, where it is more than the caller's list */
    bool wants_event, any; /* any = a command was enqueued */
    cl_event last;         /* of the command before, on an in-order queue only if somebody wants it */
} cls_step;

/* ---- Arguments ---- */

static size_t element_size(uint32_t dtype)
{
    return dtype == CLSAMPLE_F32 ? 4 : 2;
}

static clsample_status check_mem(const clsample_ctx *ctx, cl_mem mem, size_t offset, size_t align,
                                 size_t need, const char *name)
{
    clsample_status st = CLSAMPLE_OK;
    cl_context context = NULL;
    size_t size = 0;

    CLS_CL(clGetMemObjectInfo(mem, CL_MEM_CONTEXT, sizeof context, &context, NULL), "clGetMemObjectInfo");
    CLS_CL(clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof size, &size, NULL), "clGetMemObjectInfo");
    if (context != ctx->context)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "%s is a buffer of another OpenCL context than the one given to "
                        "clsample_create",
                        name);
    if (offset % align != 0)
        return cls_fail(CLSAMPLE_E_BUFFER, "the offset of %s is %zu bytes; it must be a multiple of %zu",
                        name, offset, align);
    if (offset > size || size - offset < need)
        return cls_fail(CLSAMPLE_E_BUFFER, "%s holds %zu bytes; the shape needs %zu from offset %zu on", name,
                        size, need, offset);
cleanup:
    return st;
}

static clsample_status check_shape(clsample_logits *l, size_t *bytes)
{
    if (l->dtype > CLSAMPLE_BF16)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "logits.dtype is %u; it must be a clsample_dtype, 0 to 2",
                        (unsigned)l->dtype);
    if (l->rows == 0) return cls_fail(CLSAMPLE_E_ARGUMENT, "logits.rows is 0; it must be at least 1");
    if (l->vocab == 0 || l->vocab > CLSAMPLE_MAX_VOCAB)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "logits.vocab is %u; it must be from 1 to %u",
                        (unsigned)l->vocab, CLSAMPLE_MAX_VOCAB);
    if (l->stride == 0) l->stride = l->vocab;
    if (l->stride < l->vocab)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "logits.stride is %zu; it must be 0 or at least the vocab, %u",
                        l->stride, (unsigned)l->vocab);
    if (l->stride > (SIZE_MAX / 4 - l->vocab) / l->rows)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "logits.stride is %zu; %u such rows do not fit the address space", l->stride,
                        (unsigned)l->rows);
    *bytes = ((l->rows - 1) * l->stride + l->vocab) * element_size(l->dtype);
    return CLSAMPLE_OK;
}

clsample_status cls_check_logits(const clsample_logits *from, clsample_logits *to, size_t *bytes)
{
    *to = (clsample_logits)CLSAMPLE_LOGITS_INIT;
    if (!from) return cls_fail(CLSAMPLE_E_ARGUMENT, "logits is NULL; it must point to a clsample_logits");
    const clsample_status st = cls_copy_struct(to, sizeof *to, sizeof *to, from, "logits");
    return st == CLSAMPLE_OK ? check_shape(to, bytes) : st;
}

static clsample_status check_input(cls_step *step, const clsample_logits *from)
{
    clsample_logits *l = &step->logits;
    size_t bytes = 0;
    clsample_status st = cls_check_logits(from, l, &bytes);

    if (st != CLSAMPLE_OK) return st;
    if (!l->mem) return cls_fail(CLSAMPLE_E_ARGUMENT, "logits.mem is NULL; it must be a buffer");
    st = check_mem(step->ctx, l->mem, l->offset, element_size(l->dtype), bytes, "logits.mem");
    if (st == CLSAMPLE_OK && l->fallback)
        st = check_mem(step->ctx, l->fallback, l->fallback_offset, element_size(l->dtype), bytes,
                       "logits.fallback");
    return st;
}

/* Kernels take no two of their buffers to overlap. */
static clsample_status check_apart(const cls_step *step, cl_mem mem, size_t offset, size_t size,
                                   const char *name)
{
    const clsample_logits *l = &step->logits;
    const size_t bytes = ((l->rows - 1) * l->stride + l->vocab) * element_size(l->dtype);

    if ((mem == l->mem && offset < l->offset + bytes && l->offset < offset + size) ||
        (mem == l->fallback && offset < l->fallback_offset + bytes && l->fallback_offset < offset + size))
        return cls_fail(CLSAMPLE_E_ARGUMENT, "%s overlaps the logits; it must lie apart from them", name);
    return CLSAMPLE_OK;
}

static clsample_status check_one_output(const cls_step *step, cl_mem mem, size_t offset, size_t align,
                                        size_t need, const char *name)
{
    const clsample_status st = check_mem(step->ctx, mem, offset, align, need, name);
    return st == CLSAMPLE_OK ? check_apart(step, mem, offset, need, name) : st;
}

static clsample_status check_output(cls_step *step, const clsample_output *from)
{
    clsample_output *o = &step->output;
    const size_t rows = step->logits.rows;
    clsample_status st;

    *o = (clsample_output)CLSAMPLE_OUTPUT_INIT;
    if (!from) return cls_fail(CLSAMPLE_E_ARGUMENT, "output is NULL; it must point to a clsample_output");
    if ((st = cls_copy_struct(o, sizeof *o, sizeof *o, from, "output")) != CLSAMPLE_OK) return st;
    if (o->reserved)
        return cls_fail(CLSAMPLE_E_VERSION, "output.reserved is %u; this library knows only 0",
                        (unsigned)o->reserved);
    if (!o->tokens && !o->results)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "output.tokens and output.results are both NULL; at least one must be a "
                        "buffer");
    if (o->tokens) st = check_one_output(step, o->tokens, o->tokens_offset, 4, rows * 4, "output.tokens");
    if (st == CLSAMPLE_OK && o->results)
        st = check_one_output(step, o->results, o->results_offset, sizeof(clsample_result),
                              rows * sizeof(clsample_result), "output.results");
    if (st == CLSAMPLE_OK && o->tokens && o->tokens == o->results &&
        o->tokens_offset < o->results_offset + rows * sizeof(clsample_result) &&
        o->results_offset < o->tokens_offset + rows * 4)
        st = cls_fail(CLSAMPLE_E_ARGUMENT, "output.tokens and output.results overlap; they must lie apart");
    return st;
}

static clsample_status check_queue(cls_step *step, cl_command_queue queue, cl_uint n_wait,
                                   const cl_event *wait_list)
{
    clsample_status st = CLSAMPLE_OK;
    cl_command_queue_properties properties = 0;
    cl_context context = NULL;
    cl_device_id device = NULL;

    if (!queue) return cls_fail(CLSAMPLE_E_ARGUMENT, "queue is NULL; it must be a command queue");
    if ((n_wait == 0) != (wait_list == NULL))
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "n_wait is %u and wait_list is %s; both or neither must be given", (unsigned)n_wait,
                        wait_list ? "not NULL" : "NULL");
    step->queue = queue;
    step->n_wait = n_wait;
    step->wait_list = wait_list;
    step->in_order = step->ctx->last_in_order;
    if (queue == step->ctx->last_queue)
        return st; /* checked before; it lives on, since the context holds it */
    CLS_CL(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL),
           "clGetCommandQueueInfo");
    CLS_CL(clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL),
           "clGetCommandQueueInfo");
    CLS_CL(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL),
           "clGetCommandQueueInfo");
    if (context != step->ctx->context || device != step->ctx->device)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "queue belongs to another %s than the one given to clsample_create",
                        context != step->ctx->context ? "OpenCL context" : "device");
    step->in_order = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
cleanup:
    return st;
}

/* Plans for the whole batch into step->plan, or one a row into a staging area. */
static clsample_status make_plans(cls_step *step, const clsample_params *params, uint32_t n_params,
                                  bool filter)
{
    const uint32_t rows = step->logits.rows, vocab = step->logits.vocab;
    clsample_status st = CLSAMPLE_OK;

    if (params && n_params != 1 && n_params != rows)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "n_params is %u; it must be 1, or logits.rows, %u",
                        (unsigned)n_params, (unsigned)rows);
    /* For a single row both readings give the same token, since row 0 draws with its own stream. */
    if (!params || n_params == 1) return cls_plan(params, 0, vocab, filter, &step->plan);
    st = cls_need_staging(step->ctx, rows, &step->plans);
    for (uint32_t r = 0; st == CLSAMPLE_OK && r < rows; r++)
        st = cls_plan(params, r, vocab, filter, &step->plans->host[r]);
    return st;
}

/* ---- Commands ---- */

/* Work out what the first command waits for: the caller's list, the call before, which used the same scratch,
 * and the plans' way to the device. An in-order queue knows most of that by itself. */
static clsample_status open_gate(cls_step *step)
{
    clsample_ctx *ctx = step->ctx;
    clsample_status st = CLSAMPLE_OK;
    const bool other_queue = ctx->last_queue && ctx->last_queue != step->queue;
    cl_uint n = 0;

    if (step->plans) {
        const size_t size = step->logits.rows * sizeof *step->plans->host;
        CLS_CL(clEnqueueWriteBuffer(step->queue, step->plans->mem, CL_FALSE, 0, size, step->plans->host, 0,
                                    NULL, &step->plans->done),
               "clEnqueueWriteBuffer parameters");
        if (!step->in_order) {
            CLS_CL(clRetainEvent(step->plans->done), "clRetainEvent");
            step->gate[n++] = step->plans->done;
        }
    }
    if (ctx->last_queue && (!step->in_order || other_queue)) {
        if (!ctx->last)
            CLS_CL(clEnqueueMarkerWithWaitList(ctx->last_queue, 0, NULL, &ctx->last),
                   "clEnqueueMarkerWithWaitList");
        if (other_queue) CLS_CL(clFlush(ctx->last_queue), "clFlush");
        CLS_CL(clRetainEvent(ctx->last), "clRetainEvent");
        step->gate[n++] = ctx->last;
    }
    if (n > 0 && step->n_wait > 0) {
        CLS_CL(clEnqueueMarkerWithWaitList(step->queue, step->n_wait, step->wait_list, &step->gate[n]),
               "clEnqueueMarkerWithWaitList");
        n++;
    }
    if (n > 0) {
        step->n_wait = n;
        step->wait_list = step->gate;
    }
cleanup:
    return st;
}

typedef struct cls_arg {
    size_t size;
    const void *value;
} cls_arg;
#define CLS_ARG(variable)             \
    {                                 \
        sizeof(variable), &(variable) \
    }
#define CLS_MEM_ARG(mem)                      \
    {                                         \
        sizeof(cl_mem), (mem) ? &(mem) : NULL \
    }

/* Enqueue a kernel after the step's commands before it: `groups` for each row. */
static clsample_status enqueue_kernel(cls_step *step, cl_kernel kernel, const cls_arg *args, cl_uint n_args,
                                      uint32_t groups, size_t group, const char *call)
{
    clsample_status st = CLSAMPLE_OK;
    const size_t global[2] = { groups * group, step->logits.rows }, local[2] = { group, 1 };
    cl_event done = NULL;

    for (cl_uint i = 0; i < n_args; i++)
        CLS_CL(clSetKernelArg(kernel, i, args[i].size, args[i].value), "clSetKernelArg");
    CLS_CL(clEnqueueNDRangeKernel(step->queue, kernel, 2, NULL, global, local, step->n_wait, step->wait_list,
                                  step->wants_event ? &done : NULL),
           call);
    if (step->last) clReleaseEvent(step->last);
    step->last = done;
    step->n_wait = step->in_order ? 0 : 1;
    step->wait_list = step->in_order ? NULL : &step->last;
    step->any = true;
cleanup:
    return st;
}

static uint32_t summary_groups(const clsample_logits *l)
{
    return (l->vocab + 1023) / 1024;
}

/* The groups that share a row's tiles in the form for CPUs. */
static uint32_t groups_a_row(const cls_tuning *t, const clsample_logits *l)
{
    const uint32_t groups = t->groups / l->rows;
    return CLS_MAX(CLS_MIN(groups, cls_tiles(l->vocab)), 1u);
}

static cls_call make_call(const cls_step *step, cl_uint fallback)
{
    const clsample_logits *l = &step->logits;

    return (cls_call){ .offset = (fallback ? l->fallback_offset : l->offset) / element_size(l->dtype),
                       .stride = l->stride,
                       .scratch_offset = step->ctx->scratch.offset,
                       .tokens_offset = step->output.tokens_offset / sizeof(cl_int),
                       .results_offset = step->output.results_offset / sizeof(clsample_result),
                       .vocab = l->vocab,
                       .fallback = fallback,
                       .phase = CLS_PHASE_ALL,
                       .has_plans = step->plans != NULL,
                       .plan = step->plan };
}

/* Summary and choice. The fallback pass reads the other logits, for rows that got no token. */
static clsample_status enqueue_choice(cls_step *step, cl_uint fallback)
{
    clsample_ctx *ctx = step->ctx;
    const clsample_logits *l = &step->logits;
    const cls_kernels *k = &ctx->kernels[l->dtype];
    const cls_tuning *t = &ctx->tuning;
    const cl_mem logits = fallback ? l->fallback : l->mem, plans = step->plans ? step->plans->mem : NULL;
    const uint32_t groups = groups_a_row(t, l);
    cls_call call = make_call(step, fallback);
    const cls_arg args[] = {
        CLS_ARG(logits),
        CLS_MEM_ARG(plans),
        CLS_ARG(ctx->scratch.mem),
        CLS_ARG(call),
        /* and for the choice */
        CLS_MEM_ARG(step->output.tokens),
        CLS_MEM_ARG(step->output.results),
        /* and for both in one */
        CLS_ARG(ctx->arrived),
    };
    const cl_uint n_step = CLS_COUNT(args), n_choice = n_step - 1, n_summary = n_choice - 2;
    clsample_status st = CLSAMPLE_OK;

    if (!t->vectors) {
        CLS_TRY(enqueue_kernel(step, k->summary, args, n_summary, summary_groups(l), t->work_group,
                               "clEnqueueNDRangeKernel cls_summary"));
        CLS_TRY(enqueue_kernel(step, k->choice, args, n_choice, 1, t->work_group,
                               "clEnqueueNDRangeKernel cls_choice"));
        return st;
    }
    if (groups > 1 && !t->one_launch) {
        call.phase = CLS_PHASE_SUMMARY;
        CLS_TRY(enqueue_kernel(step, k->step, args, n_step, groups, 1, "clEnqueueNDRangeKernel cls_step"));
        call.phase = CLS_PHASE_CHOICE;
        CLS_TRY(enqueue_kernel(step, k->step, args, n_step, 1, 1, "clEnqueueNDRangeKernel cls_step"));
    } else {
        CLS_TRY(enqueue_kernel(step, k->step, args, n_step, groups, 1, "clEnqueueNDRangeKernel cls_step"));
    }
cleanup:
    return st;
}

static clsample_status enqueue_mask(cls_step *step, cl_uint what, cl_mem out, size_t out_offset)
{
    const clsample_logits *l = &step->logits;
    const cl_mem plans = step->plans ? step->plans->mem : NULL;
    const cl_ulong fallback_offset = l->fallback_offset / element_size(l->dtype);
    const cl_ulong out_first = out_offset / sizeof(cl_float);
    const cls_call call = make_call(step, 0);
    const cls_arg args[] = {
        CLS_ARG(l->mem),
        CLS_MEM_ARG(plans),
        CLS_ARG(step->ctx->scratch.mem),
        CLS_ARG(call),
        CLS_MEM_ARG(l->fallback),
        CLS_ARG(fallback_offset),
        CLS_ARG(what),
        CLS_ARG(out),
        CLS_ARG(out_first),
    };
    return enqueue_kernel(step, step->ctx->kernels[l->dtype].mask, args, CLS_COUNT(args),
                          cls_blocks(l->vocab), CLS_BLOCK, "clEnqueueNDRangeKernel cls_mask");
}

/* Keep what the next call waits for, hand the caller the event, and drop the rest. */
static clsample_status close_step(cls_step *step, clsample_status st, cl_event *event)
{
    clsample_ctx *ctx = step->ctx;

    for (size_t i = 0; i < CLS_COUNT(step->gate); i++)
        if (step->gate[i]) clReleaseEvent(step->gate[i]);
    if (!step->any) return st;
    if (step->plans && step->last && clRetainEvent(step->last) == CL_SUCCESS) {
        clReleaseEvent(step->plans->done);
        step->plans->done = step->last;
    }
    if (st == CLSAMPLE_OK && event && step->last) {
        const cl_int err = clRetainEvent(step->last);
        if (err == CL_SUCCESS)
            *event = step->last;
        else
            st = cls_fail_cl(err, "clRetainEvent");
    }
    if (ctx->last) clReleaseEvent(ctx->last);
    ctx->last = step->last;
    if (ctx->last_queue != step->queue && clRetainCommandQueue(step->queue) == CL_SUCCESS) {
        if (ctx->last_queue) clReleaseCommandQueue(ctx->last_queue);
        ctx->last_queue = step->queue;
        ctx->last_in_order = step->in_order;
    }
    return st;
}

/* The commands that both calls begin with, once the arguments are known to be good. */
static clsample_status enqueue_choices(cls_step *step, bool mask)
{
    clsample_status st = CLSAMPLE_OK;

    CLS_TRY(cls_check_loops(step->ctx, step->logits.vocab));
    CLS_TRY(cls_need_kernels(step->ctx, step->logits.dtype, mask));
    CLS_TRY(cls_need_scratch(step->ctx, step->logits.rows, step->logits.vocab));
    CLS_TRY(open_gate(step));
    CLS_TRY(enqueue_choice(step, 0));
    if (step->logits.fallback) CLS_TRY(enqueue_choice(step, 1));
cleanup:
    return st;
}

clsample_status clsample_enqueue(clsample_ctx *ctx, cl_command_queue queue, const clsample_params *params,
                                 uint32_t n_params, const clsample_logits *logits,
                                 const clsample_output *output, cl_uint n_wait, const cl_event *wait_list,
                                 cl_event *event)
{
    clsample_status st = CLSAMPLE_OK;
    cls_step step = { .ctx = ctx };

    if (event) *event = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    CLS_TRY(check_queue(&step, queue, n_wait, wait_list));
    step.wants_event = event || n_params > 1 || !step.in_order;
    CLS_TRY(check_input(&step, logits));
    CLS_TRY(check_output(&step, output));
    CLS_TRY(make_plans(&step, params, n_params, false));
    CLS_TRY(enqueue_choices(&step, false));
cleanup:
    return close_step(&step, st, event);
}

clsample_status clsample_enqueue_filter(clsample_ctx *ctx, cl_command_queue queue,
                                        const clsample_params *params, uint32_t n_params,
                                        const clsample_logits *logits, clsample_filter_output what,
                                        cl_mem out, size_t out_offset, cl_uint n_wait,
                                        const cl_event *wait_list, cl_event *event)
{
    clsample_status st = CLSAMPLE_OK;
    cls_step step = { .ctx = ctx };

    if (event) *event = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    if (what != CLSAMPLE_MASKED_LOGITS && what != CLSAMPLE_PROBABILITIES)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "what is %d; it must be a clsample_filter_output, 0 or 1",
                        (int)what);
    if (!out) return cls_fail(CLSAMPLE_E_ARGUMENT, "out is NULL; it must be a buffer");
    CLS_TRY(check_queue(&step, queue, n_wait, wait_list));
    step.wants_event = event || n_params > 1 || !step.in_order;
    CLS_TRY(check_input(&step, logits));
    CLS_TRY(
        check_one_output(&step, out, out_offset, 4, (size_t)step.logits.rows * step.logits.vocab * 4, "out"));
    CLS_TRY(make_plans(&step, params, n_params, true));
    CLS_TRY(enqueue_choices(&step, true));
    CLS_TRY(enqueue_mask(&step, (cl_uint)what, out, out_offset));
cleanup:
    return close_step(&step, st, event);
}
