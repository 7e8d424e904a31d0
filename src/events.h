/* SPDX-License-Identifier: Apache-2.0 */
/* Events: the caller's, and those of the library's own calls. */
#ifndef CLS_EVENTS_H
#define CLS_EVENTS_H

#include "internal.h"

typedef struct cls_job cls_job; /* job.h */

/* The events of the commands of a call, in their order, where they are asked for. Those before the last
 * serve nobody any more, but are kept until the next call: PoCL 3.1 uses an event in the middle of a chain
 * that fails after it was given back. */
#define CLS_EVENTS_MAX 8u
typedef struct cls_events {
    cl_event event[CLS_EVENTS_MAX];
    cl_uint n;
} cls_events;

/* What a call must follow, since it shares memory with the call before. */
typedef struct cls_previous {
    cls_events events; /* of that call; none: nothing to follow ... */
    bool unknown;      /* ... or everything on its queue, since an in-order queue is asked for no event */
} cls_previous;

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
void cls_release_events(cls_events *events);
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

/* What the first command of a job waits for, where it is more than the caller's list. */
#define CLS_GATE_ROOM 16u
typedef struct cls_gate {
    cl_event list[CLS_GATE_ROOM];
} cls_gate;
/* Let the job's next command wait for `n_own` events, 2 at most, beside the caller's list: behind a marker
 * where that does not fit. The gate must last until that command is enqueued. */
clsample_status cls_open_gate(cls_job *job, const cl_event *own, cl_uint n_own, cls_gate *gate);

#endif
