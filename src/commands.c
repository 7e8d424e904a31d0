/* SPDX-License-Identifier: Apache-2.0 */
/* A job's kernels, in the form that the device takes, enqueued or recorded. */
#include "job.h"

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

/* Enqueue or record a kernel after the job's commands before it: `groups` for each row. */
static clsample_status command_kernel(cls_job *job, cl_kernel kernel, const cls_arg *args, cl_uint n_args,
                                      uint32_t groups, size_t group, const char *call)
{
    clsample_status st = CLSAMPLE_OK;
    const size_t global[2] = { groups * group, job->logits.rows }, local[2] = { group, 1 };
    cl_event done = NULL;

    for (cl_uint i = 0; i < n_args; i++)
        CLS_CL(clSetKernelArg(kernel, i, args[i].size, args[i].value), "clSetKernelArg");
    if (job->tape) return cls_tape_kernel(job->tape, kernel, global, local);
    CLS_CL(clEnqueueNDRangeKernel(job->queue, kernel, 2, NULL, global, local, job->n_wait, job->wait_list,
                                  job->wants_event ? &done : NULL),
           call);
    cls_add_event(&job->events, done);
    job->n_wait = job->in_order ? 0 : 1;
    job->wait_list = job->in_order ? NULL : cls_last_event(&job->events);
    job->any = true;
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

static cls_call make_call(const cls_job *job, cl_uint fallback)
{
    const clsample_logits *l = &job->logits;
    const size_t bytes = (size_t)l->rows * l->vocab * cls_element_size(l->dtype);
    const bool last = fallback || !l->fallback; /* rows' states move on in the last pass */

    return (cls_call){ .offset = (fallback ? l->fallback_offset : l->offset) / cls_element_size(l->dtype),
                       .stride = l->stride,
                       .scratch_offset = job->scratch->offset,
                       .tokens_offset = job->output.tokens_offset / sizeof(cl_int),
                       .results_offset = job->output.results_offset / sizeof(clsample_result),
                       .vocab = l->vocab,
                       .fallback = fallback,
                       .phase = CLS_PHASE_ALL,
                       .own_plans = job->plans != NULL,
                       .advance = last,
                       .windows = cls_windows(&job->ctx->tuning, l->rows),
                       .history_stride = job->history_stride,
                       .ahead = bytes > CLS_CACHED_BYTES ? CLS_AHEAD : 0,
                       .plan = job->plan };
}

/* Summary and choice. The fallback pass reads the other logits, for rows that got no token. */
static clsample_status command_choice(cls_job *job, cl_uint fallback)
{
    clsample_ctx *ctx = job->ctx;
    const clsample_logits *l = &job->logits;
    const cls_kernels *k = &ctx->kernels[l->dtype][job->needs_extras];
    const cls_tuning *t = &ctx->tuning;
    const cl_mem logits = fallback ? l->fallback : l->mem;
    const uint32_t groups = groups_a_row(t, l);
    cls_call call = make_call(job, fallback);
    const cls_arg args[] = {
        CLS_ARG(logits),
        CLS_MEM_ARG(job->plans),
        CLS_ARG(job->scratch->mem),
        CLS_ARG(call),
        CLS_MEM_ARG(job->states),
        CLS_MEM_ARG(job->edits),
        CLS_MEM_ARG(job->extras),
        /* and for the choice */
        CLS_MEM_ARG(job->output.tokens),
        CLS_MEM_ARG(job->output.results),
        CLS_MEM_ARG(job->history),
        /* and for both in one */
        CLS_ARG(job->arrived),
    };
    const cl_uint n_step = CLS_COUNT(args), n_choice = n_step - 1, n_summary = n_choice - 3;
    clsample_status st = CLSAMPLE_OK;

    if (!t->vectors) {
        CLS_TRY(command_kernel(job, k->summary, args, n_summary, summary_groups(l), t->work_group,
                               "clEnqueueNDRangeKernel cls_summary"));
        CLS_TRY(command_kernel(job, k->choice, args, n_choice, 1, t->work_group,
                               "clEnqueueNDRangeKernel cls_choice"));
        return st;
    }
    if (groups > 1 && !t->one_launch) {
        call.phase = CLS_PHASE_SUMMARY;
        CLS_TRY(command_kernel(job, k->step, args, n_step, groups, t->vector_group,
                               "clEnqueueNDRangeKernel cls_step"));
        call.phase = CLS_PHASE_CHOICE;
        CLS_TRY(command_kernel(job, k->step, args, n_step, 1, t->vector_group,
                               "clEnqueueNDRangeKernel cls_step"));
    } else {
        CLS_TRY(command_kernel(job, k->step, args, n_step, groups, t->vector_group,
                               "clEnqueueNDRangeKernel cls_step"));
    }
cleanup:
    return st;
}

clsample_status cls_command_mask(cls_job *job, cl_uint what, cl_mem out, size_t out_offset)
{
    const clsample_logits *l = &job->logits;
    const cl_ulong fallback_offset = l->fallback_offset / cls_element_size(l->dtype);
    const cl_ulong out_first = out_offset / sizeof(cl_float);
    const cls_call call = make_call(job, 0);
    const cls_arg args[] = {
        CLS_ARG(l->mem),
        CLS_MEM_ARG(job->plans),
        CLS_ARG(job->scratch->mem),
        CLS_ARG(call),
        CLS_MEM_ARG(job->states),
        CLS_MEM_ARG(job->edits),
        CLS_MEM_ARG(job->extras),
        CLS_MEM_ARG(l->fallback),
        CLS_ARG(fallback_offset),
        CLS_ARG(what),
        CLS_ARG(out),
        CLS_ARG(out_first),
    };
    return command_kernel(job, job->ctx->kernels[l->dtype][job->needs_extras].mask, args, CLS_COUNT(args),
                          cls_blocks(l->vocab), CLS_BLOCK, "clEnqueueNDRangeKernel cls_mask");
}

clsample_status cls_command_choices(cls_job *job)
{
    const clsample_status st = command_choice(job, 0);
    return st == CLSAMPLE_OK && job->logits.fallback ? command_choice(job, 1) : st;
}
