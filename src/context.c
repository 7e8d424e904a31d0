/* SPDX-License-Identifier: Apache-2.0 */
/* A device's kernels: a context made and destroyed, and what a call needs compiled. */
#include "context.h"

#include <stdio.h>
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

void cls_release_events(cls_events *events)
{
    for (; events->n > 0; events->n--)
        clReleaseEvent(events->event[events->n - 1]);
}

static void release_kernel(cl_kernel kernel)
{
    if (kernel) clReleaseKernel(kernel);
}

void clsample_destroy(clsample_ctx *ctx)
{
    if (!ctx) return;
    for (size_t i = 0; i < CLS_DTYPES; i++) {
        release_kernel(ctx->kernels[i].step);
        release_kernel(ctx->kernels[i].summary);
        release_kernel(ctx->kernels[i].choice);
        release_kernel(ctx->kernels[i].mask);
    }
    release_kernel(ctx->ban);
    release_kernel(ctx->append);
    cls_free_memory(ctx);
    cls_release_events(&ctx->previous.events);
    if (ctx->last_queue) clReleaseCommandQueue(ctx->last_queue);
    if (ctx->queue) clReleaseCommandQueue(ctx->queue);
    if (ctx->context) clReleaseContext(ctx->context);
    free(ctx->cache_dir);
    free(ctx);
}

/* ---- What a call needs ---- */

/* Loop iterations on the longest way through a choice. In the form for GPUs a work-item goes some 20 times
 * over its share of the tokens, and sorts, scans and gathers; in the other a single one goes over all blocks.
 * */
static uint64_t most_turns(const cls_tuning *t, uint32_t vocab)
{
    const uint64_t blocks = cls_blocks(vocab), group = t->work_group;

    if (t->vectors) return 24 * blocks * (CLS_BLOCK / t->lanes + 16) + 16384;
    return 21 * ((blocks + group - 1) / group) * CLS_BLOCK + 8192 + 262144 / group;
}

clsample_status cls_check_loops(const clsample_ctx *ctx, uint32_t vocab)
{
    const cls_tuning *t = &ctx->tuning;
    const uint64_t turns = most_turns(t, vocab);

    if (turns <= ctx->abilities.loop_limit) return CLSAMPLE_OK;
    return cls_fail(
        CLSAMPLE_E_DEVICE,
        "the driver of this device ends a work-item's loops after %u iterations; %u logits a row with "
        "groups of %u may take %llu: use a larger work_group, a smaller vocab or another device",
        (unsigned)ctx->abilities.loop_limit, (unsigned)vocab,
        (unsigned)(t->vectors ? t->vector_group : t->work_group), (unsigned long long)turns);
}

static clsample_status need_kernel(clsample_ctx *ctx, uint32_t dtype, cls_source source, uint32_t group,
                                   const char *name, cl_kernel *kernel)
{
    clsample_status st = CLSAMPLE_OK;
    cl_program program = NULL;
    cl_int err = CL_SUCCESS;
    char options[192];

    if (*kernel) return CLSAMPLE_OK;
    /* PoCL takes two minutes to optimize the form for GPUs, whose many barriers cut a kernel into as many
     * loops, for a CPU that is better off with the other form. */
    const bool plain = source == CLS_SRC_CHOICE && ctx->tuning.cpu && ctx->tuning.pocl;
    snprintf(options, sizeof options,
             "-DCLS_DTYPE=%u -DCLS_WG=%u -DCLS_LANES=%u -DCLS_KEEP_CALLS=%d -DCLS_CANDIDATES_OFF=%d%s",
             (unsigned)dtype, (unsigned)group, (unsigned)ctx->tuning.lanes, ctx->tuning.cpu,
             ctx->tuning.no_candidates, plain ? " -cl-opt-disable" : "");
    CLS_TRY(cls_program_build(ctx->context, ctx->device, ctx->cache_dir, source, options, &program));
    *kernel = clCreateKernel(program, name, &err);
    CLS_CL(err, name);
cleanup:
    if (program) clReleaseProgram(program); /* the kernel keeps it */
    return st;
}

clsample_status cls_need_kernels(clsample_ctx *ctx, uint32_t dtype, bool mask)
{
    cls_kernels *k = &ctx->kernels[dtype];
    const cls_tuning *t = &ctx->tuning;
    clsample_status st = CLSAMPLE_OK;

    if (t->vectors) {
        CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_VECTOR, t->vector_group, "cls_step", &k->step));
    } else {
        CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_SUMMARY, t->work_group, "cls_summary", &k->summary));
        CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_CHOICE, t->work_group, "cls_choice", &k->choice));
    }
    if (mask) CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_MASK, CLS_BLOCK, "cls_mask", &k->mask));
cleanup:
    return st;
}

clsample_status cls_need_text_kernels(clsample_ctx *ctx)
{
    clsample_status st = CLSAMPLE_OK;
    cl_program program = NULL;
    cl_int err = CL_SUCCESS;

    if (ctx->ban && ctx->append) return CLSAMPLE_OK;
    CLS_TRY(cls_program_build(ctx->context, ctx->device, ctx->cache_dir, CLS_SRC_GENERATE, NULL, &program));
    if (!ctx->ban) ctx->ban = clCreateKernel(program, "cls_ban", &err);
    CLS_CL(err, "clCreateKernel cls_ban");
    ctx->append = clCreateKernel(program, "cls_append", &err);
    CLS_CL(err, "clCreateKernel cls_append");
cleanup:
    if (program) clReleaseProgram(program); /* the kernels keep it */
    return st;
}
