/* SPDX-License-Identifier: Apache-2.0 */
/* One step of sampling on its way to the device: what was checked, and what its commands need. Filled by
 * arguments.c, turned into commands by commands.c. */
#ifndef CLS_STEP_H
#define CLS_STEP_H

#include "context.h"

/* A command buffer of cl_khr_command_buffer that is being recorded. */
typedef struct cls_tape cls_tape;

typedef struct cls_step {
    clsample_ctx *ctx;
    clsample_logits logits;
    clsample_output output;
    cls_plan_row plan; /* for the whole batch ... */
    cl_mem plans;      /* ... or one for each row, borrowed, ... */
    cl_uint has_plans; /* ... as CLS_PLANS_... says */
    const cls_scratch *scratch;
    cl_mem arrived;

    cl_command_queue queue;
    bool in_order;
    cl_uint n_wait; /* what the next command waits for */
    const cl_event *wait_list;
    bool wants_event, any; /* any = a command was enqueued */
    cl_event last;         /* of the command before, on an in-order queue only if somebody wants it */
    cls_tape *tape;        /* commands are recorded there, instead; NULL = enqueued */
} cls_step;

/* ---- arguments.c ---- */

size_t cls_element_size(uint32_t dtype);
clsample_status cls_check_wait_list(cl_uint n_wait, const cl_event *wait_list);
clsample_status cls_check_queue(cls_step *step, cl_command_queue queue, cl_uint n_wait,
                                const cl_event *wait_list);
/* Logits and their buffers; `output` and `out` lie apart from them. */
clsample_status cls_check_input(cls_step *step, const clsample_logits *from);
clsample_status cls_check_output(cls_step *step, const clsample_output *from);
clsample_status cls_check_n_params(const clsample_params *params, uint32_t n_params, uint32_t rows);
clsample_status cls_check_out(const cls_step *step, cl_mem out, size_t offset);

/* ---- commands.c ---- */

/* What all that is to be enqueued needs of the device, but for the scratch. */
clsample_status cls_need_step(const cls_step *step, bool mask);
/* Summary and choice, once more for rows that need the fallback logits. */
clsample_status cls_command_choices(cls_step *step);
/* The filters' outcome for every token. */
clsample_status cls_command_mask(cls_step *step, cl_uint what, cl_mem out, size_t out_offset);

/* ---- record.c ---- */

/* Record a kernel whose arguments are set, after what was recorded before. */
clsample_status cls_tape_kernel(cls_tape *tape, cl_kernel kernel, const size_t *global, const size_t *local);

#endif
