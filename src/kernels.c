/* SPDX-License-Identifier: Apache-2.0 */
/* A context's kernels, each compiled when a call first needs it. */
#include "context.h"

#include <stdio.h>

/* Loop iterations on the longest way through a choice. In the form for GPUs a work-item goes some 20 times
 * over its share of the tokens, and sorts, scans and gathers; in the other a single one goes over all blocks.
 * */
static uint64_t most_turns(const cls_tuning *t, uint32_t vocab)
{
    const uint64_t blocks = cls_blocks(vocab), group = t->work_group;

    if (t->vectors) return 24 * blocks * (CLS_BLOCK / t->lanes + 16) + 16384;
    return 21 * ((blocks + group - 1) / group) * CLS_BLOCK + 8192 + 262144 / group;
}

static clsample_status check_loops(const clsample_ctx *ctx, uint32_t vocab)
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

static clsample_status make_kernel(clsample_ctx *ctx, cls_source source, const char *options,
                                   const char *name, cl_kernel *kernel)
{
    clsample_status st = CLSAMPLE_OK;
    cl_program program = NULL;
    cl_int err = CL_SUCCESS;

    CLS_TRY(cls_program_build(ctx->context, ctx->device, ctx->cache_dir, source, options, &program));
    *kernel = clCreateKernel(program, name, &err);
    CLS_CL(err, name);
cleanup:
    if (program) clReleaseProgram(program); /* the kernel keeps it */
    return st;
}

/* What kernels are compiled for. */
typedef struct kernel_use {
    uint32_t dtype;
    bool extras;
} kernel_use;

static clsample_status need_kernel(clsample_ctx *ctx, kernel_use use, cls_source source, uint32_t group,
                                   const char *name, cl_kernel *kernel)
{
    char options[192];

    if (*kernel) return CLSAMPLE_OK;
    /* PoCL takes two minutes to optimize the form for GPUs, whose many barriers cut a kernel into as many
     * loops, for a CPU that is better off with the other form. */
    const bool plain = source == CLS_SRC_CHOICE && ctx->tuning.cpu && ctx->tuning.pocl;
    snprintf(options, sizeof options,
             "-DCLS_DTYPE=%u -DCLS_EXTRAS=%d -DCLS_WG=%u -DCLS_LANES=%u -DCLS_KEEP_CALLS=%d "
             "-DCLS_CANDIDATES_OFF=%d%s",
             (unsigned)use.dtype, use.extras, (unsigned)group, (unsigned)ctx->tuning.lanes, ctx->tuning.cpu,
             ctx->tuning.no_candidates, plain ? " -cl-opt-disable" : "");
    return make_kernel(ctx, source, options, name, kernel);
}

clsample_status cls_need_kernels(clsample_ctx *ctx, const clsample_logits *shape, bool extras, bool mask)
{
    const kernel_use use = { .dtype = shape->dtype, .extras = extras };
    cls_kernels *k = &ctx->kernels[shape->dtype][extras];
    const cls_tuning *t = &ctx->tuning;
    clsample_status st = CLSAMPLE_OK;

    CLS_TRY(check_loops(ctx, shape->vocab));
    if (t->vectors) {
        CLS_TRY(need_kernel(ctx, use, CLS_SRC_STEP, t->vector_group, "cls_step", &k->step));
    } else {
        CLS_TRY(need_kernel(ctx, use, CLS_SRC_SUMMARY, t->work_group, "cls_summary", &k->summary));
        CLS_TRY(need_kernel(ctx, use, CLS_SRC_CHOICE, t->work_group, "cls_choice", &k->choice));
    }
    if (mask) CLS_TRY(need_kernel(ctx, use, CLS_SRC_MASK, CLS_BLOCK, "cls_mask", &k->mask));
cleanup:
    return st;
}

clsample_status cls_need_text_kernels(clsample_ctx *ctx)
{
    return ctx->finish ? CLSAMPLE_OK : make_kernel(ctx, CLS_SRC_GENERATE, NULL, "cls_finish", &ctx->finish);
}

static void release_kernel(cl_kernel kernel)
{
    if (kernel) clReleaseKernel(kernel);
}

void cls_free_kernels(clsample_ctx *ctx)
{
    for (size_t i = 0; i < 2 * CLS_DTYPES; i++) {
        const cls_kernels *k = &ctx->kernels[i / 2][i % 2];
        release_kernel(k->step);
        release_kernel(k->summary);
        release_kernel(k->choice);
        release_kernel(k->mask);
    }
    release_kernel(ctx->finish);
}
