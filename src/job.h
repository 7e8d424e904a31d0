/* SPDX-License-Identifier: Apache-2.0 */
/* A job: what one call asks of the device, on its way there. It has what was checked, and what its commands
 * need. Filled by arguments.c, turned into commands by commands.c. */
#ifndef CLS_JOB_H
#define CLS_JOB_H

#include "context.h"
#include "tape.h"

struct cls_job {
    clsample_ctx *ctx;
    clsample_logits logits;
    clsample_output output;
    cls_plan_row plan; /* for the whole batch ... */
    cl_mem plans;      /* ... or one for each row, borrowed */
    cl_mem states;     /* of rows that go from step to step, borrowed, or NULL */
    cl_mem history;    /* what the states say that it is, or NULL */
    cl_uint history_stride;
    bool needs_extras; /* kernels with them, for edits and for what only some samplers ask: */
    cl_mem edits;      /* all that plans refer to, or NULL */
    cl_mem extras;     /* see CLS_EXTRAS_SIZE, or NULL */
    const cls_scratch *scratch;
    cl_mem arrived;

    cl_command_queue queue;
    bool in_order;
    cl_uint n_wait; /* what the next command waits for */
    const cl_event *wait_list;
    bool wants_event, any; /* any = a command was enqueued */
    cls_events events;     /* of the commands so far; on an in-order queue only if somebody wants them */
    cls_tape *tape;        /* commands are recorded there, instead; NULL = enqueued */
};

/* ---- arguments.c ---- */

/* Is a buffer of this context, has the offset that multiple, and does it hold `need` bytes from there on? */
clsample_status cls_check_mem(const clsample_ctx *ctx, cl_mem mem, size_t offset, size_t align, size_t need,
                              const char *name);
/* Copy and check what does not hang on a buffer; stride 0 becomes vocab. *bytes takes the extent of all
 * rows. */
clsample_status cls_check_logits(const clsample_logits *from, clsample_logits *to, size_t *bytes);
size_t cls_element_size(uint32_t dtype);
clsample_status cls_check_queue(cls_job *job, cl_command_queue queue, cl_uint n_wait,
                                const cl_event *wait_list);
/* Logits and their buffers; `output` and `out` lie apart from them. */
clsample_status cls_check_input(cls_job *job, const clsample_logits *from);
clsample_status cls_check_output(cls_job *job, const clsample_output *from);
clsample_status cls_check_out(const cls_job *job, cl_mem out, size_t offset);

/* ---- rows.c ---- */

/* The parameters of a batch's rows: of the samples of one prompt after another, if `samples` is not 1. */
typedef struct cls_row_params {
    const clsample_params *sets; /* NULL: the defaults, for all */
    uint32_t n;                  /* 1: one set for all, whose streams count prompts; or one for each prompt */
    uint32_t samples;
} cls_row_params;

/* Is that a number of sets for so many rows? */
clsample_status cls_check_n_params(const cls_row_params *p, uint32_t rows);
/* One set for all? Then the plan of row 0 is the whole batch's: kernels add a row's number to its stream. */
bool cls_is_one_set(const cls_row_params *p);
/* The number of a row's set. */
uint32_t cls_set_of_row(const cls_row_params *p, uint32_t row);
/* Check a row's set and make its plan; the same for all rows of these logits. */
clsample_status cls_plan_of_row(const cls_row_params *p, uint32_t row, uint32_t vocab, bool filter,
                                cls_plan_row *plan);
clsample_status cls_plan_rows(const cls_row_params *p, const clsample_logits *l, bool filter,
                              cls_plan_row *plans, uint32_t n);
/* Find out whether the job needs kernels with extras, and let the plans of its n rows, or the one of all,
 * have their edits, in *e. `held` NULL: nothing is. */
clsample_status cls_edit_rows(cls_job *job, const cls_row_params *p, const cls_history *held, cls_edits *e,
                              cls_plan_row *plans, uint32_t n);

/* ---- commands.c ---- */

/* Summary and choice, once more for rows that need the fallback logits. */
clsample_status cls_command_choices(cls_job *job);
/* The filters' outcome for every token. */
clsample_status cls_command_mask(cls_job *job, cl_uint what, cl_mem out, size_t out_offset);

/* ---- record.c ---- */

/* clsample_record for rows that may be samples of prompts, and continue a history if it is not NULL. */
clsample_status cls_record(clsample_ctx *ctx, cl_command_queue queue, const cls_row_params *params,
                           const cls_history *history, const clsample_logits *logits,
                           const clsample_output *output, clsample_recording **recording);
/* Its cls_row_state [rows]; borrowed. */
cl_mem cls_recording_states(const clsample_recording *recording);

#endif
