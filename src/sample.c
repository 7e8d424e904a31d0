/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking call on host memory: the same pipeline behind a copy in and a copy out. */
#include "job.h"

clsample_status clsample_sample(clsample_ctx *ctx, const clsample_params *params, uint32_t n_params,
                                const clsample_logits *logits, const void *host, clsample_result *results)
{
    clsample_status st = CLSAMPLE_OK;
    clsample_logits in;
    clsample_output out = CLSAMPLE_OUTPUT_INIT;
    size_t bytes = 0;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    if (!host || !results)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "%s is NULL; it must point to %s", host ? "results" : "host",
                        host ? "one clsample_result a row" : "the logits");
    CLS_TRY(cls_check_logits(logits, &in, &bytes));
    CLS_TRY(cls_need_host(ctx, bytes, in.rows));
    in.mem = ctx->host_logits;
    in.fallback = NULL;
    in.offset = in.fallback_offset = 0;
    out.results = ctx->host_results;
    /* Blocking: `host` is the caller's again even if the enqueue fails. */
    CLS_CL(clEnqueueWriteBuffer(ctx->queue, in.mem, CL_TRUE, 0, bytes, host, 0, NULL, NULL),
           "clEnqueueWriteBuffer logits");
    CLS_TRY(clsample_enqueue(ctx, ctx->queue, params, n_params, &in, &out, 0, NULL, NULL));
    CLS_CL(clEnqueueReadBuffer(ctx->queue, out.results, CL_TRUE, 0, in.rows * sizeof *results, results, 0,
                               NULL, NULL),
           "clEnqueueReadBuffer results");
cleanup:
    return st;
}
