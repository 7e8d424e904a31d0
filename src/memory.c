/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a context: scratch that a batch needs, parameters on their way to the device, and the
 * blocking call's buffers. All of it only grows. */
#include "context.h"

#include <stdlib.h>

static void release_mem(cl_mem mem)
{
    if (mem) clReleaseMemObject(mem);
}

static void free_staging(cls_staging *s)
{
    if (s->done) clReleaseEvent(s->done);
    if (s->mem) clReleaseMemObject(s->mem);
    free(s->host);
    free(s);
}

static void CL_CALLBACK staging_done(cl_event event, cl_int status, void *staging)
{
    (void)event;
    (void)status;
    free_staging(staging);
}

/* Host memory that a command may still read goes when that command has ended. */
static void release_staging(cls_staging *s)
{
    cl_int status = CL_COMPLETE;

    if (s->done &&
        clGetEventInfo(s->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
            CL_SUCCESS &&
        status > CL_COMPLETE && clSetEventCallback(s->done, CL_COMPLETE, staging_done, s) == CL_SUCCESS)
        return;
    free_staging(s);
}

void cls_free_memory(clsample_ctx *ctx)
{
    while (ctx->staging) {
        cls_staging *s = ctx->staging;
        ctx->staging = s->next;
        release_staging(s);
    }
    release_mem(ctx->scratch.mem);
    release_mem(ctx->arrived);
    release_mem(ctx->host_logits);
    release_mem(ctx->host_results);
}

/* What a form of the kernels needs. */
static size_t scratch_size(bool vectors, uint32_t rows, uint32_t vocab)
{
    const size_t begin = CLS_NEAR_OFFSET((size_t)rows, cls_tiles(vocab), cls_blocks(vocab));
    return begin + (vectors ? rows * sizeof(cl_uint) * CLS_NEAR_WORDS * cls_near_room(vocab) : 0);
}

size_t clsample_scratch_size(uint32_t rows, uint32_t vocab)
{
    if (vocab == 0 || vocab > CLSAMPLE_MAX_VOCAB) return 0;
    return scratch_size(true, rows, vocab);
}

/* The groups that share a row count themselves there. */
clsample_status cls_make_arrived(clsample_ctx *ctx, cl_mem *arrived)
{
    clsample_status st = CLSAMPLE_OK;
    const size_t size = ctx->tuning.groups * sizeof(cl_uint);
    cl_int err = CL_SUCCESS;

    void *zeros = calloc(1, size);
    if (!zeros) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for %u counters", (unsigned)ctx->tuning.groups);
    *arrived = clCreateBuffer(ctx->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, size, zeros, &err);
    CLS_CL(err, "clCreateBuffer counters");
cleanup:
    free(zeros);
    return st;
}

/* Replace *mem by a buffer of `size` bytes. The old one lives on under commands that still use it. */
static clsample_status replace_mem(clsample_ctx *ctx, cl_mem *mem, size_t size, const char *call)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;
    const cl_mem fresh = clCreateBuffer(ctx->context, CL_MEM_READ_WRITE, size, NULL, &err);

    CLS_CL(err, call);
    release_mem(*mem);
    *mem = fresh;
cleanup:
    return st;
}

clsample_status cls_make_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab, cls_scratch *scratch)
{
    const size_t size = scratch_size(ctx->tuning.vectors, rows, vocab);
    clsample_status st = CLSAMPLE_OK;

    scratch->size = scratch->offset = 0;
    CLS_TRY(replace_mem(ctx, &scratch->mem, size, "clCreateBuffer scratch"));
    scratch->size = size;
cleanup:
    return st;
}

clsample_status cls_need_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab)
{
    const size_t size = scratch_size(ctx->tuning.vectors, rows, vocab);
    cls_scratch *s = &ctx->scratch;
    clsample_status st = CLSAMPLE_OK;

    if (!ctx->arrived) CLS_TRY(cls_make_arrived(ctx, &ctx->arrived));
    if (size <= s->size) return CLSAMPLE_OK;
    if (s->borrowed)
        return cls_fail(CLSAMPLE_E_BUFFER,
                        "the scratch memory given has %zu bytes; %u rows of %u logits need %zu", s->size,
                        (unsigned)rows, (unsigned)vocab, size);
    CLS_TRY(cls_make_scratch(ctx, rows, vocab, s));
cleanup:
    return st;
}

clsample_status clsample_set_scratch(clsample_ctx *ctx, cl_mem mem, size_t offset, size_t size)
{
    clsample_status st = CLSAMPLE_OK;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    if (mem) CLS_TRY(cls_check_mem(ctx, mem, offset, 16, size, "scratch"));
    if (mem) CLS_CL(clRetainMemObject(mem), "clRetainMemObject");
    release_mem(ctx->scratch.mem);
    ctx->scratch = (cls_scratch){
        .mem = mem, .offset = mem ? offset : 0, .size = mem ? size : 0, .borrowed = mem != NULL
    };
cleanup:
    return st;
}

clsample_status clsample_reserve(clsample_ctx *ctx, uint32_t dtype, uint32_t rows, uint32_t vocab)
{
    clsample_logits shape = CLSAMPLE_LOGITS_INIT, checked;
    clsample_status st = CLSAMPLE_OK;
    cls_staging *unused = NULL;
    size_t bytes = 0;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    shape.dtype = dtype;
    shape.rows = rows;
    shape.vocab = vocab;
    CLS_TRY(cls_check_logits(&shape, &checked, &bytes));
    CLS_TRY(cls_check_loops(ctx, vocab));
    CLS_TRY(cls_need_kernels(ctx, dtype, false));
    CLS_TRY(cls_need_scratch(ctx, rows, vocab));
    CLS_TRY(cls_need_staging(ctx, rows, &unused));
cleanup:
    return st;
}

static bool staging_is_free(const cls_staging *s, uint32_t rows)
{
    cl_int status = CL_COMPLETE;

    if (s->rows < rows) return false;
    if (!s->done) return true;
    return clGetEventInfo(s->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
               CL_SUCCESS &&
           status <= CL_COMPLETE;
}

clsample_status cls_need_staging(clsample_ctx *ctx, uint32_t rows, cls_staging **out)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;
    cls_staging *fresh = NULL;

    for (cls_staging *s = ctx->staging; s; s = s->next) {
        if (!staging_is_free(s, rows)) continue;
        if (s->done) clReleaseEvent(s->done);
        s->done = NULL;
        *out = s;
        return CLSAMPLE_OK;
    }
    fresh = calloc(1, sizeof *fresh);
    if (fresh) fresh->host = malloc(rows * sizeof *fresh->host);
    if (!fresh || !fresh->host) {
        st = cls_fail(CLSAMPLE_E_MEMORY, "no memory for the parameters of %u rows", (unsigned)rows);
        goto cleanup;
    }
    fresh->mem = clCreateBuffer(ctx->context, CL_MEM_READ_ONLY, rows * sizeof *fresh->host, NULL, &err);
    CLS_CL(err, "clCreateBuffer parameters");
    fresh->rows = rows;
    fresh->next = ctx->staging;
    ctx->staging = *out = fresh;
    fresh = NULL;
cleanup:
    if (fresh) free_staging(fresh);
    return st;
}

clsample_status cls_need_host(clsample_ctx *ctx, size_t logits_size, uint32_t rows)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;

    if (!ctx->queue) {
        ctx->queue = clCreateCommandQueue(ctx->context, ctx->device, 0, &err);
        CLS_CL(err, "clCreateCommandQueue");
    }
    if (logits_size > ctx->host_logits_size) {
        ctx->host_logits_size = 0;
        CLS_TRY(replace_mem(ctx, &ctx->host_logits, logits_size, "clCreateBuffer logits"));
        ctx->host_logits_size = logits_size;
    }
    if (rows > ctx->host_rows) {
        ctx->host_rows = 0;
        CLS_TRY(
            replace_mem(ctx, &ctx->host_results, rows * sizeof(clsample_result), "clCreateBuffer results"));
        ctx->host_rows = rows;
    }
cleanup:
    return st;
}
