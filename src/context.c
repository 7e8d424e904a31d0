/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts made and destroyed. */
#include "context.h"

#include <stdlib.h>
#include <string.h>

clsample_status cls_make_context(cl_context context, cl_device_id device, const clsample_options *options,
                                 const cls_abilities *known, clsample_ctx **out)
{
    clsample_status st = CLSAMPLE_OK;
    clsample_ctx *ctx = calloc(1, sizeof *ctx);

    if (!ctx) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for a context of %zu bytes", sizeof *ctx);
    CLS_CL(clRetainContext(context), "clRetainContext");
    ctx->context = context;
    ctx->device = device; /* a root device needs no reference; a sub-device lives as long as its context */
    if (options->cache_dir && options->cache_dir[0]) {
        const size_t size = strlen(options->cache_dir) + 1;
        ctx->cache_dir = malloc(size);
        if (!ctx->cache_dir) {
            st = cls_fail(CLSAMPLE_E_MEMORY, "no memory for options.cache_dir (%zu bytes)", size);
            goto cleanup;
        }
        memcpy(ctx->cache_dir, options->cache_dir, size);
    }
    CLS_TRY(cls_choose_tuning(device, options, &ctx->tuning));
    if (known) {
        ctx->abilities = *known;
    } else {
        CLS_TRY(cls_self_check(context, device, ctx->cache_dir, !(options->flags & CLSAMPLE_NO_SELF_CHECK),
                               ctx->tuning.cpu, &ctx->abilities));
    }
    if (!ctx->abilities.hands_over) ctx->tuning.one_launch = false;
    *out = ctx;
    ctx = NULL;
cleanup:
    clsample_destroy(ctx);
    return st;
}

clsample_status clsample_create(cl_context context, cl_device_id device, const clsample_options *options,
                                clsample_ctx **ctx)
{
    clsample_status st = CLSAMPLE_OK;
    clsample_options checked;
    bool has = false;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must point to where the context goes");
    *ctx = NULL;
    if (!context || !device)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "%s is NULL; it must be an OpenCL %s",
                        context ? "device" : "context", context ? "device" : "context");
    if ((st = cls_check_options(options, &checked)) != CLSAMPLE_OK) return st;
    if ((st = cls_is_device_of(context, device, &has)) != CLSAMPLE_OK) return st;
    if (!has)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "device is none of the context's; it must be one that the context was made for");
    if ((st = cls_device_usable(device)) != CLSAMPLE_OK) return st;
    return cls_make_context(context, device, &checked, NULL, ctx);
}

void clsample_destroy(clsample_ctx *ctx)
{
    if (!ctx) return;
    cls_free_kernels(ctx);
    cls_free_edits(&ctx->edits);
    cls_free_memory(ctx);
    cls_release_events(&ctx->previous.events);
    if (ctx->last_queue) clReleaseCommandQueue(ctx->last_queue);
    if (ctx->queue) clReleaseCommandQueue(ctx->queue);
    if (ctx->context) clReleaseContext(ctx->context);
    free(ctx->cache_dir);
    free(ctx);
}
