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
    cls_events events;     /* of the commands so far; on an in-order queue only if somebody wants them */
    cls_tape *tape;        /* commands are recorded there, instead; NULL = enqueued */
} cls_step;

/* ---- arguments.c ---- */

size_t cls_element_size(uint32_t dtype);
clsample_status cls_check_queue(cls_step *step, cl_command_queue queue, cl_uint n_wait,
                                const cl_event *wait_list);
/* Logits and their buffers; `output` and `out` lie apart from them. */
clsample_status cls_check_input(cls_step *step, const clsample_logits *from);
clsample_status cls_check_output(cls_step *step, const clsample_output *from);
clsample_status cls_check_n_params(const clsample_params *params, uint32_t n_params, uint32_t rows);
clsample_status cls_check_out(const cls_step *step, cl_mem out, size_t offset);

/* ---- events.c ---- */

/* A command must not be enqueued behind an event of another context, which some drivers take for one of
 * theirs, nor behind one that has failed: it would fail too or, on PoCL 3.1, wait for ever. */
typedef enum cls_event_state {
    CLS_EVENT_PENDING,
    CLS_EVENT_COMPLETE,
    CLS_EVENT_FAILED,
    CLS_EVENT_FOREIGN
} cls_event_state;
clsample_status cls_check_event(const clsample_ctx *ctx, cl_event event, cls_event_state *state);
/* E_OPENCL for a failed one; `call` says what it is of. */
clsample_status cls_fail_wait(const char *call);
/* Are all of a caller's list fine? */
clsample_status cls_check_wait_list(const clsample_ctx *ctx, cl_uint n_wait, const cl_event *wait_list);
/* Add the event of a command, or NULL if it was asked for none. */
void cls_add_event(cls_events *events, cl_event event);
/* NULL if there is none. */
const cl_event *cls_last_event(const cls_events *events);

/* Before commands that follow the call before: its events remain if its last is to be waited for. One that
 * has failed is dropped, since that call is over, and what does not hang on its outcome need not fail. So
 * is one that is complete, after a wait that returns at once: Intel's CPU runtime calls a command complete
 * that waited in vain, and runs nothing behind it. An event that is unknown becomes a marker behind all of
 * the queue. */
clsample_status cls_find_previous(const clsample_ctx *ctx, cls_previous *previous, cl_command_queue queue);
/* What the next call follows is a call with these events, which are handed over; without any: all of the
 * queue. */
void cls_set_previous(cls_previous *previous, cls_events *events);
/* Hand the caller the last event too. A reference that cannot be had is the one that the next call gives
 * up. */
void cls_share_previous(cls_previous *previous, cl_event *event);

/* What the first command of a step waits for, where it is more than the caller's list. */
#define CLS_GATE_ROOM 16u
typedef struct cls_gate {
    cl_event list[CLS_GATE_ROOM];
} cls_gate;
/* Let the step's next command wait for `n_own` events, 2 at most, beside the caller's list: behind a marker
 * where that does not fit. The gate must last until that command is enqueued. */
clsample_status cls_open_gate(cls_step *step, const cl_event *own, cl_uint n_own, cls_gate *gate);

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
