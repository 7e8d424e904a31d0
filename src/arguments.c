/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of a job, checked before anything is enqueued. */
#include "job.h"

size_t cls_element_size(uint32_t dtype)
{
    return dtype == CLSAMPLE_F32 ? 4 : 2;
}

clsample_status cls_check_mem(const clsample_ctx *ctx, cl_mem mem, size_t offset, size_t align, size_t need,
                              const char *name)
{
    clsample_status st = CLSAMPLE_OK;
    cl_context context = NULL;
    cl_mem_object_type type = CL_MEM_OBJECT_BUFFER;
    size_t size = 0;

    CLS_CL(clGetMemObjectInfo(mem, CL_MEM_TYPE, sizeof type, &type, NULL), "clGetMemObjectInfo");
    CLS_CL(clGetMemObjectInfo(mem, CL_MEM_CONTEXT, sizeof context, &context, NULL), "clGetMemObjectInfo");
    CLS_CL(clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof size, &size, NULL), "clGetMemObjectInfo");
    if (type != CL_MEM_OBJECT_BUFFER)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "%s is an image or a pipe; it must be a buffer", name);
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
    *bytes = ((l->rows - 1) * l->stride + l->vocab) * cls_element_size(l->dtype);
    return CLSAMPLE_OK;
}

clsample_status cls_check_logits(const clsample_logits *from, clsample_logits *to, size_t *bytes)
{
    *to = (clsample_logits)CLSAMPLE_LOGITS_INIT;
    if (!from) return cls_fail(CLSAMPLE_E_ARGUMENT, "logits is NULL; it must point to a clsample_logits");
    const clsample_status st = cls_copy_struct(to, sizeof *to, CLS_LOGITS_SIZE_1, from, "logits");
    return st == CLSAMPLE_OK ? check_shape(to, bytes) : st;
}

clsample_status cls_check_input(cls_job *job, const clsample_logits *from)
{
    clsample_logits *l = &job->logits;
    size_t bytes = 0;
    clsample_status st = cls_check_logits(from, l, &bytes);

    if (st != CLSAMPLE_OK) return st;
    if (!l->mem) return cls_fail(CLSAMPLE_E_ARGUMENT, "logits.mem is NULL; it must be a buffer");
    st = cls_check_mem(job->ctx, l->mem, l->offset, cls_element_size(l->dtype), bytes, "logits.mem");
    if (st == CLSAMPLE_OK && l->fallback)
        st = cls_check_mem(job->ctx, l->fallback, l->fallback_offset, cls_element_size(l->dtype), bytes,
                           "logits.fallback");
    return st;
}

/* Kernels take no two of their buffers to overlap. */
static clsample_status check_apart(const cls_job *job, cl_mem mem, size_t offset, size_t size,
                                   const char *name)
{
    const clsample_logits *l = &job->logits;
    const size_t bytes = ((l->rows - 1) * l->stride + l->vocab) * cls_element_size(l->dtype);

    if ((mem == l->mem && offset < l->offset + bytes && l->offset < offset + size) ||
        (mem == l->fallback && offset < l->fallback_offset + bytes && l->fallback_offset < offset + size))
        return cls_fail(CLSAMPLE_E_ARGUMENT, "%s overlaps the logits; it must lie apart from them", name);
    return CLSAMPLE_OK;
}

static clsample_status check_one_output(const cls_job *job, cl_mem mem, size_t offset, size_t align,
                                        size_t need, const char *name)
{
    const clsample_status st = cls_check_mem(job->ctx, mem, offset, align, need, name);
    return st == CLSAMPLE_OK ? check_apart(job, mem, offset, need, name) : st;
}

clsample_status cls_check_output(cls_job *job, const clsample_output *from)
{
    clsample_output *o = &job->output;
    const size_t rows = job->logits.rows;
    clsample_status st;

    *o = (clsample_output)CLSAMPLE_OUTPUT_INIT;
    if (!from) return cls_fail(CLSAMPLE_E_ARGUMENT, "output is NULL; it must point to a clsample_output");
    if ((st = cls_copy_struct(o, sizeof *o, CLS_OUTPUT_SIZE_1, from, "output")) != CLSAMPLE_OK) return st;
    if (o->reserved)
        return cls_fail(CLSAMPLE_E_VERSION, "output.reserved is %u; this library knows only 0",
                        (unsigned)o->reserved);
    if (!o->tokens && !o->results)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "output.tokens and output.results are both NULL; at least one must be a "
                        "buffer");
    if (o->tokens) st = check_one_output(job, o->tokens, o->tokens_offset, 4, rows * 4, "output.tokens");
    if (st == CLSAMPLE_OK && o->results)
        st = check_one_output(job, o->results, o->results_offset, sizeof(clsample_result),
                              rows * sizeof(clsample_result), "output.results");
    if (st == CLSAMPLE_OK && o->tokens && o->tokens == o->results &&
        o->tokens_offset < o->results_offset + rows * sizeof(clsample_result) &&
        o->results_offset < o->tokens_offset + rows * 4)
        st = cls_fail(CLSAMPLE_E_ARGUMENT, "output.tokens and output.results overlap; they must lie apart");
    return st;
}

clsample_status cls_check_queue(cls_job *job, cl_command_queue queue, cl_uint n_wait,
                                const cl_event *wait_list)
{
    clsample_status st = CLSAMPLE_OK;
    cl_command_queue_properties properties = 0;
    cl_context context = NULL;
    cl_device_id device = NULL;

    if (!queue) return cls_fail(CLSAMPLE_E_ARGUMENT, "queue is NULL; it must be a command queue");
    if ((st = cls_check_wait_list(job->ctx, n_wait, wait_list)) != CLSAMPLE_OK) return st;
    job->queue = queue;
    job->n_wait = n_wait;
    job->wait_list = wait_list;
    job->in_order = job->ctx->last_in_order;
    if (queue == job->ctx->last_queue)
        return st; /* checked before; it lives on, since the context holds it */
    CLS_CL(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL),
           "clGetCommandQueueInfo");
    CLS_CL(clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL),
           "clGetCommandQueueInfo");
    CLS_CL(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL),
           "clGetCommandQueueInfo");
    if (context != job->ctx->context || device != job->ctx->device)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "queue belongs to another %s than the one given to clsample_create",
                        context != job->ctx->context ? "OpenCL context" : "device");
    job->in_order = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
cleanup:
    return st;
}

clsample_status cls_check_out(const cls_job *job, cl_mem out, size_t offset)
{
    const size_t size = (size_t)job->logits.rows * job->logits.vocab * sizeof(cl_float);

    if (!out) return cls_fail(CLSAMPLE_E_ARGUMENT, "out is NULL; it must be a buffer");
    return check_one_output(job, out, offset, sizeof(cl_float), size, "out");
}
