/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a context: scratch that a batch needs, parameters on their way to the device, and the
 * blocking call's buffers. All of it only grows. */
#include "context.h"

#include <stdlib.h>

static void release_mem(cl_mem mem)
{
    if (mem) clReleaseMemObject(mem);
}

/* The copy of a host's plans may go once no command reads it any more, which is when the buffer goes. */
static void CL_CALLBACK free_plans(cl_mem mem, void *plans)
{
    (void)mem;
    free(plans);
}

static void free_staging(cls_staging *s)
{
    if (s->done) clReleaseEvent(s->done);
    if (s->mem) clReleaseMemObject(s->mem);
    free(s);
}

void cls_give_up_staging(clsample_ctx *ctx, cls_staging *staging)
{
    cls_staging **at = &ctx->staging;

    while (*at != staging)
        at = &(*at)->next;
    *at = staging->next;
    free_staging(staging);
}

void cls_free_memory(clsample_ctx *ctx)
{
    while (ctx->staging) {
        cls_staging *s = ctx->staging;
        ctx->staging = s->next;
        free_staging(s);
    }
    release_mem(ctx->scratch.mem);
    release_mem(ctx->arrived);
    release_mem(ctx->extras);
    release_mem(ctx->host_logits);
    release_mem(ctx->host_results);
}

/* What a form of the kernels needs. */
static size_t scratch_size(bool vectors, uint32_t rows, uint32_t vocab)
{
    const size_t begin = CLS_CANDIDATES_OFFSET((size_t)rows, cls_tiles(vocab), cls_blocks(vocab));
    return begin + (vectors ? rows * sizeof(cl_uint) * CLS_CANDIDATE_WORDS * cls_candidates_room(vocab) : 0);
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

uint32_t cls_windows(const cls_tuning *tuning, uint32_t rows)
{
    return tuning->vectors ? CLS_MAX(tuning->groups, rows) : 0;
}

static size_t extras_size(const clsample_ctx *ctx, uint32_t rows, uint32_t vocab)
{
    return CLS_EXTRAS_SIZE((size_t)cls_windows(&ctx->tuning, rows), rows, cls_tiles(vocab));
}

clsample_status cls_make_extras(clsample_ctx *ctx, uint32_t rows, uint32_t vocab, cl_mem *extras)
{
    return replace_mem(ctx, extras, extras_size(ctx, rows, vocab), "clCreateBuffer extras");
}

clsample_status cls_need_extras(clsample_ctx *ctx, uint32_t rows, uint32_t vocab)
{
    const size_t size = extras_size(ctx, rows, vocab);
    clsample_status st = CLSAMPLE_OK;

    if (size <= ctx->extras_size) return st;
    ctx->extras_size = 0;
    CLS_TRY(cls_make_extras(ctx, rows, vocab, &ctx->extras));
    ctx->extras_size = size;
cleanup:
    return st;
}

/* Has the last command that reads it ended? */
static clsample_status check_staging(const cls_staging *s, bool *is_free)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int status = CL_COMPLETE;

    if (s->done)
        CLS_CL(clGetEventInfo(s->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL),
               "clGetEventInfo parameters");
    *is_free = status <= CL_COMPLETE;
cleanup:
    return st;
}

static clsample_status make_staging(clsample_ctx *ctx, uint32_t rows, cls_staging *s)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;
    cls_plan_row *plans = malloc(rows * sizeof *plans);

    if (!plans) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the parameters of %u rows", (unsigned)rows);
    s->mem = clCreateBuffer(ctx->context, CL_MEM_READ_ONLY, rows * sizeof *plans, NULL, &err);
    CLS_CL(err, "clCreateBuffer parameters");
    CLS_CL(clSetMemObjectDestructorCallback(s->mem, free_plans, plans), "clSetMemObjectDestructorCallback");
    s->rows = rows;
    s->host = plans;
    plans = NULL; /* the buffer's now */
cleanup:
    free(plans);
    return st;
}

clsample_status cls_need_staging(clsample_ctx *ctx, uint32_t rows, cls_staging **out)
{
    clsample_status st = CLSAMPLE_OK;
    cls_staging *fresh = NULL;
    bool is_free = false;

    for (cls_staging *s = ctx->staging; s; s = s->next) {
        if (s->rows < rows) continue;
        CLS_TRY(check_staging(s, &is_free));
        if (!is_free) continue;
        if (s->done) clReleaseEvent(s->done);
        s->done = NULL;
        *out = s;
        return CLSAMPLE_OK;
    }
    fresh = calloc(1, sizeof *fresh);
    if (!fresh) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the parameters of %u rows", (unsigned)rows);
    CLS_TRY(make_staging(ctx, rows, fresh));
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
