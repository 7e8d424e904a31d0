/* SPDX-License-Identifier: Apache-2.0 */
/* What commands wait for: the caller's events, checked, and those of the calls before. */
#include "job.h"

clsample_status cls_check_event(const clsample_ctx *ctx, cl_event event, cls_event_state *state)
{
    clsample_status st = CLSAMPLE_OK;
    cl_context context = NULL;
    cl_int status = CL_COMPLETE;

    CLS_CL(clGetEventInfo(event, CL_EVENT_CONTEXT, sizeof context, &context, NULL), "clGetEventInfo");
    CLS_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL),
           "clGetEventInfo");
    *state = context != ctx->context ? CLS_EVENT_FOREIGN
             : status < CL_COMPLETE  ? CLS_EVENT_FAILED
             : status == CL_COMPLETE ? CLS_EVENT_COMPLETE
                                     : CLS_EVENT_PENDING;
cleanup:
    return st;
}

clsample_status cls_fail_wait(const char *call)
{
    return cls_fail_cl(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, call);
}

clsample_status cls_check_wait_list(const clsample_ctx *ctx, cl_uint n_wait, const cl_event *wait_list)
{
    clsample_status st = CLSAMPLE_OK;
    cls_event_state state = CLS_EVENT_PENDING;

    if ((n_wait == 0) != (wait_list == NULL))
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "n_wait is %u and wait_list is %s; both or neither must be given", (unsigned)n_wait,
                        wait_list ? "not NULL" : "NULL");
    for (cl_uint i = 0; i < n_wait; i++) {
        if (!wait_list[i])
            return cls_fail(CLSAMPLE_E_ARGUMENT, "wait_list[%u] is NULL; it must be an event", (unsigned)i);
        CLS_TRY(cls_check_event(ctx, wait_list[i], &state));
        if (state == CLS_EVENT_FOREIGN)
            return cls_fail(CLSAMPLE_E_ARGUMENT,
                            "wait_list[%u] is an event of another OpenCL context than the one given to "
                            "clsample_create",
                            (unsigned)i);
        if (state == CLS_EVENT_FAILED) return cls_fail_wait("the command of an event of wait_list");
    }
cleanup:
    return st;
}

/* ---- The events of a call ---- */

void cls_release_events(cls_events *events)
{
    for (; events->n > 0; events->n--)
        clReleaseEvent(events->event[events->n - 1]);
}

void cls_add_event(cls_events *events, cl_event event)
{
    if (event) events->event[events->n++] = event;
}

const cl_event *cls_last_event(const cls_events *events)
{
    return events->n > 0 ? &events->event[events->n - 1] : NULL;
}

/* ---- What the next call follows ---- */

clsample_status cls_find_previous(const clsample_ctx *ctx, cls_previous *previous, cl_command_queue queue)
{
    const cl_event *last = cls_last_event(&previous->events);
    clsample_status st = CLSAMPLE_OK;
    cls_event_state state = CLS_EVENT_PENDING;
    cl_event marker = NULL;

    if (last) CLS_TRY(cls_check_event(ctx, *last, &state));
    if (state == CLS_EVENT_COMPLETE) clWaitForEvents(1, last);
    if (state != CLS_EVENT_PENDING) cls_release_events(&previous->events);
    if (previous->events.n == 0 && previous->unknown) {
        CLS_CL(clEnqueueMarkerWithWaitList(queue, 0, NULL, &marker), "clEnqueueMarkerWithWaitList");
        cls_add_event(&previous->events, marker);
        previous->unknown = false;
    }
cleanup:
    return st;
}

void cls_set_previous(cls_previous *previous, cls_events *events)
{
    cls_release_events(&previous->events);
    *previous = (cls_previous){ .events = *events, .unknown = events->n == 0 };
    events->n = 0;
}

void cls_share_previous(cls_previous *previous, cl_event *event)
{
    const cl_event *last = cls_last_event(&previous->events);

    *event = last ? *last : NULL;
    if (!last || clRetainEvent(*last) == CL_SUCCESS) return;
    previous->events.n--; /* the caller's */
    cls_release_events(&previous->events);
    previous->unknown = true;
}

/* ---- What a call's first command waits for ---- */

clsample_status cls_open_gate(cls_job *job, const cl_event *own, cl_uint n_own, cls_gate *gate)
{
    clsample_status st = CLSAMPLE_OK;
    cl_event marker = NULL;
    cl_uint n = 0;

    if (n_own == 0) return st;
    for (cl_uint i = 0; i < n_own; i++)
        gate->list[n++] = own[i];
    if (job->n_wait > CLS_GATE_ROOM - n) {
        CLS_CL(clEnqueueMarkerWithWaitList(job->queue, job->n_wait, job->wait_list, &marker),
               "clEnqueueMarkerWithWaitList");
        cls_add_event(&job->events, marker);
        gate->list[n++] = marker;
    } else {
        for (cl_uint i = 0; i < job->n_wait; i++)
            gate->list[n++] = job->wait_list[i];
    }
    job->n_wait = n;
    job->wait_list = gate->list;
cleanup:
    return st;
}
