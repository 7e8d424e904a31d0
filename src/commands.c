/* SPDX-License-Identifier: Apache-2.0 */
/* A step's kernels, in the form that the device takes, enqueued or recorded. */
#include "step.h"

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

/* Enqueue or record a kernel after the step's commands before it: `groups` for each row. */
static clsample_status command_kernel(cls_step *step, cl_kernel kernel, const cls_arg *args, cl_uint n_args,
                                      uint32_t groups, size_t group, const char *call)
{
    clsample_status st = CLSAMPLE_OK;
    const size_t global[2] = { groups * group, step->logits.rows }, local[2] = { group, 1 };
    cl_event done = NULL;

    for (cl_uint i = 0; i < n_args; i++)
        CLS_CL(clSetKernelArg(kernel, i, args[i].size, args[i].value), "clSetKernelArg");
    if (step->tape) return cls_tape_kernel(step->tape, kernel, global, local);
    CLS_CL(clEnqueueNDRangeKernel(step->queue, kernel, 2, NULL, global, local, step->n_wait, step->wait_list,
                                  step->wants_event ? &done : NULL),
           call);
    cls_add_event(&step->events, done);
    step->n_wait = step->in_order ? 0 : 1;
    step->wait_list = step->in_order ? NULL : cls_last_event(&step->events);
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

/* A batch of more than that is not in a cache. */
#define CLS_CACHED_BYTES ((size_t)32 << 20)
#define CLS_AHEAD 8u

static cls_call make_call(const cls_step *step, cl_uint fallback)
{
    const clsample_logits *l = &step->logits;
    const size_t bytes = (size_t)l->rows * l->vocab * cls_element_size(l->dtype);
    const bool last = fallback || !l->fallback; /* the plans move on in the last pass */

    return (cls_call){ .offset = (fallback ? l->fallback_offset : l->offset) / cls_element_size(l->dtype),
                       .stride = l->stride,
                       .scratch_offset = step->scratch->offset,
                       .tokens_offset = step->output.tokens_offset / sizeof(cl_int),
                       .results_offset = step->output.results_offset / sizeof(clsample_result),
                       .vocab = l->vocab,
                       .fallback = fallback,
                       .phase = CLS_PHASE_ALL,
                       .has_plans =
                           last || step->has_plans == CLS_PLANS_NONE ? step->has_plans : CLS_PLANS_GIVEN,
                       .ahead = bytes > CLS_CACHED_BYTES ? CLS_AHEAD : 0,
                       .plan = step->plan };
}

/* Summary and choice. The fallback pass reads the other logits, for rows that got no token. */
static clsample_status command_choice(cls_step *step, cl_uint fallback)
{
    clsample_ctx *ctx = step->ctx;
    const clsample_logits *l = &step->logits;
    const cls_kernels *k = &ctx->kernels[l->dtype];
    const cls_tuning *t = &ctx->tuning;
    const cl_mem logits = fallback ? l->fallback : l->mem;
    const uint32_t groups = groups_a_row(t, l);
    cls_call call = make_call(step, fallback);
    const cls_arg args[] = {
        CLS_ARG(logits),
        CLS_MEM_ARG(step->plans),
        CLS_ARG(step->scratch->mem),
        CLS_ARG(call),
        /* and for the choice */
        CLS_MEM_ARG(step->output.tokens),
        CLS_MEM_ARG(step->output.results),
        /* and for both in one */
        CLS_ARG(step->arrived),
    };
    const cl_uint n_step = CLS_COUNT(args), n_choice = n_step - 1, n_summary = n_choice - 2;
    clsample_status st = CLSAMPLE_OK;

    if (!t->vectors) {
        CLS_TRY(command_kernel(step, k->summary, args, n_summary, summary_groups(l), t->work_group,
                               "clEnqueueNDRangeKernel cls_summary"));
        CLS_TRY(command_kernel(step, k->choice, args, n_choice, 1, t->work_group,
                               "clEnqueueNDRangeKernel cls_choice"));
        return st;
    }
    if (groups > 1 && !t->one_launch) {
        call.phase = CLS_PHASE_SUMMARY;
        CLS_TRY(command_kernel(step, k->step, args, n_step, groups, t->vector_group,
                               "clEnqueueNDRangeKernel cls_step"));
        call.phase = CLS_PHASE_CHOICE;
        CLS_TRY(command_kernel(step, k->step, args, n_step, 1, t->vector_group,
                               "clEnqueueNDRangeKernel cls_step"));
    } else {
        CLS_TRY(command_kernel(step, k->step, args, n_step, groups, t->vector_group,
                               "clEnqueueNDRangeKernel cls_step"));
    }
cleanup:
    return st;
}

clsample_status cls_command_mask(cls_step *step, cl_uint what, cl_mem out, size_t out_offset)
{
    const clsample_logits *l = &step->logits;
    const cl_ulong fallback_offset = l->fallback_offset / cls_element_size(l->dtype);
    const cl_ulong out_first = out_offset / sizeof(cl_float);
    const cls_call call = make_call(step, 0);
    const cls_arg args[] = {
        CLS_ARG(l->mem),
        CLS_MEM_ARG(step->plans),
        CLS_ARG(step->scratch->mem),
        CLS_ARG(call),
        CLS_MEM_ARG(l->fallback),
        CLS_ARG(fallback_offset),
        CLS_ARG(what),
        CLS_ARG(out),
        CLS_ARG(out_first),
    };
    return command_kernel(step, step->ctx->kernels[l->dtype].mask, args, CLS_COUNT(args),
                          cls_blocks(l->vocab), CLS_BLOCK, "clEnqueueNDRangeKernel cls_mask");
}

clsample_status cls_need_step(const cls_step *step, bool mask)
{
    const clsample_status st = cls_check_loops(step->ctx, step->logits.vocab);
    return st == CLSAMPLE_OK ? cls_need_kernels(step->ctx, step->logits.dtype, mask) : st;
}

clsample_status cls_command_choices(cls_step *step)
{
    const clsample_status st = command_choice(step, 0);
    return st == CLSAMPLE_OK && step->logits.fallback ? command_choice(step, 1) : st;
}
