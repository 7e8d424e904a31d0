/* SPDX-License-Identifier: Apache-2.0 */
/* What calls need, made before them or given by the application. */
#include "job.h"

clsample_status clsample_set_scratch(clsample_ctx *ctx, cl_mem mem, size_t offset, size_t size)
{
    clsample_status st = CLSAMPLE_OK;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    if (mem) CLS_TRY(cls_check_mem(ctx, mem, offset, 16, size, "scratch"));
    if (mem) CLS_CL(clRetainMemObject(mem), "clRetainMemObject");
    if (ctx->scratch.mem) clReleaseMemObject(ctx->scratch.mem);
    ctx->scratch = (cls_scratch){
        .mem = mem, .offset = mem ? offset : 0, .size = mem ? size : 0, .borrowed = mem != NULL
    };
cleanup:
    return st;
}

clsample_status clsample_prepare(clsample_ctx *ctx, const clsample_params *params, uint32_t n_params,
                                 const clsample_logits *logits)
{
    const cls_row_params sets = { .sets = params, .n = n_params, .samples = 1 };
    cls_job job = { .ctx = ctx };
    cls_staging *unused = NULL;
    clsample_status st = CLSAMPLE_OK;
    size_t bytes = 0;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    CLS_TRY(cls_check_logits(logits, &job.logits, &bytes));
    CLS_TRY(cls_check_n_params(&sets, job.logits.rows));
    CLS_TRY(cls_need_staging(ctx, job.logits.rows, &unused));
    CLS_TRY(cls_plan_rows(&sets, &job.logits, false, unused->host, job.logits.rows));
    CLS_TRY(cls_edit_rows(&job, &sets, NULL, &ctx->edits, unused->host, job.logits.rows));
    CLS_TRY(cls_need_kernels(ctx, &job.logits, job.needs_extras, false));
    CLS_TRY(cls_need_scratch(ctx, job.logits.rows, job.logits.vocab));
    if (job.needs_extras) CLS_TRY(cls_need_extras(ctx, job.logits.rows, job.logits.vocab));
cleanup:
    return st;
}

clsample_status clsample_reserve(clsample_ctx *ctx, uint32_t dtype, uint32_t rows, uint32_t vocab)
{
    clsample_logits shape = CLSAMPLE_LOGITS_INIT;

    shape.dtype = dtype;
    shape.rows = rows;
    shape.vocab = vocab;
    return clsample_prepare(ctx, NULL, 1, &shape);
}
