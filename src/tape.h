/* SPDX-License-Identifier: Apache-2.0 */
/* A command buffer of cl_khr_command_buffer: kernels that are recorded once and enqueued many times. */
#ifndef CLS_TAPE_H
#define CLS_TAPE_H

#include "internal.h"

/* The extension's header changed from version to version; what is used here did not. */
typedef void *cls_buffer; /* cl_command_buffer_khr */
typedef cls_buffer(CL_API_CALL *cls_create_fn)(cl_uint, const cl_command_queue *, const cl_bitfield *,
                                               cl_int *);
typedef cl_int(CL_API_CALL *cls_buffer_fn)(cls_buffer);
typedef cl_int(CL_API_CALL *cls_kernel_fn)(cls_buffer, cl_command_queue, const void *, cl_kernel, cl_uint,
                                           const size_t *, const size_t *, const size_t *, cl_uint,
                                           const cl_uint *, cl_uint *, void *);
typedef cl_int(CL_API_CALL *cls_enqueue_fn)(cl_uint, cl_command_queue *, cls_buffer, cl_uint,
                                            const cl_event *, cl_event *);

typedef struct cls_tape {
    cls_buffer buffer; /* NULL: there is none */
    bool simultaneous; /* it may be enqueued again before it has ended */
    cl_uint count;     /* of kernels recorded */
    cl_uint last;      /* synchronization point of the last */
    cls_create_fn create;
    cls_buffer_fn finalize, release;
    cls_kernel_fn kernel;
    cls_enqueue_fn enqueue;
} cls_tape;

/* Begin to record for a queue of the device; `t` is all 0. False, and nothing is noted, if it cannot be. */
bool cls_tape_begin(cls_tape *t, cl_device_id device, cl_command_queue queue);
/* Record a kernel whose arguments are set, after what was recorded before. */
clsample_status cls_tape_kernel(cls_tape *t, cl_kernel kernel, const size_t *global, const size_t *local);
/* Nothing more is recorded. Can it be enqueued? */
bool cls_tape_end(cls_tape *t);
/* `done` NULL: no event is asked for. */
clsample_status cls_tape_enqueue(const cls_tape *t, cl_uint n_wait, const cl_event *wait_list,
                                 cl_event *done);
/* Free the buffer, if there is one. */
void cls_tape_drop(cls_tape *t);

#endif
