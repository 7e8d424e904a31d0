/* SPDX-License-Identifier: Apache-2.0 */
/* Steps recorded once and enqueued many times. Their plans lie on the device, where each moves on to the next
 * step when it was used, so that nothing has to be set between two repetitions. */
#include "step.h"

#include <stdlib.h>
#include <string.h>

/* ---- cl_khr_command_buffer. Its header changed from version to version; what is used here did not ---- */

typedef void *cls_buffer; /* cl_command_buffer_khr */
#define CLS_DEVICE_COMMAND_BUFFER_CAPABILITIES 0x12A9
#define CLS_CAPABLE_OF_SIMULTANEOUS_USE ((cl_bitfield)1 << 2)
#define CLS_COMMAND_BUFFER_FLAGS 0x1293
#define CLS_SIMULTANEOUS_USE ((cl_bitfield)1 << 0)

typedef cls_buffer(CL_API_CALL *cls_create_fn)(cl_uint, const cl_command_queue *, const cl_bitfield *,
                                               cl_int *);
typedef cl_int(CL_API_CALL *cls_buffer_fn)(cls_buffer);
typedef cl_int(CL_API_CALL *cls_kernel_fn)(cls_buffer, cl_command_queue, const void *, cl_kernel, cl_uint,
                                           const size_t *, const size_t *, const size_t *, cl_uint,
                                           const cl_uint *, cl_uint *, void *);
typedef cl_int(CL_API_CALL *cls_enqueue_fn)(cl_uint, cl_command_queue *, cls_buffer, cl_uint,
                                            const cl_event *, cl_event *);

struct cls_tape {
    cls_buffer buffer; /* NULL: there is none, and the step is enqueued */
    bool simultaneous; /* it may be enqueued again before it has ended */
    cl_uint count;     /* of kernels recorded */
    cl_uint last;      /* synchronization point of the last */
    cls_create_fn create;
    cls_buffer_fn finalize, release;
    cls_kernel_fn kernel;
    cls_enqueue_fn enqueue;
};

struct clsample_recording {
    cls_step step;
    cl_command_queue queue; /* the step's, once it is retained */
    cls_tape tape;
    cls_scratch scratch;
    cl_mem plans, arrived;
    cls_previous previous; /* the repetition before */
};

/* ISO C has no conversion from a pointer to an object to one to a function; POSIX promises this one. */
static bool find(cl_platform_id platform, const char *name, void *function)
{
    void *found = clGetExtensionFunctionAddressForPlatform(platform, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

static bool find_functions(cls_tape *t, cl_device_id device)
{
    cl_platform_id platform = NULL;
    cl_bitfield capabilities = 0;

    if (!cls_device_has(device, "cl_khr_command_buffer")) return false;
    if (clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL) != CL_SUCCESS)
        return false;
    if (clGetDeviceInfo(device, CLS_DEVICE_COMMAND_BUFFER_CAPABILITIES, sizeof capabilities, &capabilities,
                        NULL) != CL_SUCCESS)
        return false;
    t->simultaneous = capabilities & CLS_CAPABLE_OF_SIMULTANEOUS_USE;
    return find(platform, "clCreateCommandBufferKHR", &t->create) &&
           find(platform, "clFinalizeCommandBufferKHR", &t->finalize) &&
           find(platform, "clReleaseCommandBufferKHR", &t->release) &&
           find(platform, "clCommandNDRangeKernelKHR", &t->kernel) &&
           find(platform, "clEnqueueCommandBufferKHR", &t->enqueue);
}

clsample_status cls_tape_kernel(cls_tape *t, cl_kernel kernel, const size_t *global, const size_t *local)
{
    const cl_uint before = t->last;
    const cl_int err = t->kernel(t->buffer, NULL, NULL, kernel, 2, NULL, global, local, t->count ? 1 : 0,
                                 t->count ? &before : NULL, &t->last, NULL);
    t->count++;
    return err == CL_SUCCESS ? CLSAMPLE_OK : cls_fail_cl(err, "clCommandNDRangeKernelKHR");
}

static void drop_buffer(cls_tape *t)
{
    if (t->buffer) t->release(t->buffer);
    t->buffer = NULL;
}

/* PoCL 3.1 runs the kernels of a command buffer in the wrong order, or not at all, if there are several. */
static bool is_reliable(const cls_tape *t, const cls_tuning *tuning)
{
    return t->count == 1 || !tuning->pocl;
}

/* Record the step. Without command buffers, or where one fails, the step is enqueued instead. */
static void record(clsample_recording *r)
{
    const cl_bitfield flags[] = { CLS_COMMAND_BUFFER_FLAGS, CLS_SIMULTANEOUS_USE, 0 };
    const clsample_error saved = *clsample_last_error();
    cls_tape *t = &r->tape;
    cl_int err = CL_SUCCESS;

    if (!r->step.ctx->tuning.command_buffers || !find_functions(t, r->step.ctx->device)) return;
    t->buffer = t->create(1, &r->step.queue, t->simultaneous ? flags : NULL, &err);
    if (err != CL_SUCCESS) t->buffer = NULL;
    if (!t->buffer) return;
    r->step.tape = t;
    if (cls_command_choices(&r->step) != CLSAMPLE_OK || t->finalize(t->buffer) != CL_SUCCESS ||
        !is_reliable(t, &r->step.ctx->tuning))
        drop_buffer(t);
    r->step.tape = NULL;
    cls_restore_error(&saved);
}

/* ---- The recording ---- */

static clsample_status make_plans(clsample_recording *r, const clsample_params *params, uint32_t n_params)
{
    const uint32_t rows = r->step.logits.rows;
    const bool own = params && n_params > 1;
    clsample_status st = cls_check_n_params(params, n_params, rows);
    cl_int err = CL_SUCCESS;

    if (st != CLSAMPLE_OK) return st;
    cls_plan_row *plans = malloc(rows * sizeof *plans);
    if (!plans) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the parameters of %u rows", (unsigned)rows);
    for (uint32_t i = 0; i < rows; i++) {
        CLS_TRY(cls_plan(params, own ? i : 0, r->step.logits.vocab, false, &plans[i]));
        if (!own) plans[i].stream += i;
    }
    r->plans = clCreateBuffer(r->step.ctx->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                              rows * sizeof *plans, plans, &err);
    CLS_CL(err, "clCreateBuffer parameters");
    r->step.plans = r->plans;
    r->step.has_plans = CLS_PLANS_MOVE;
cleanup:
    free(plans);
    return st;
}

clsample_status clsample_record(clsample_ctx *ctx, cl_command_queue queue, const clsample_params *params,
                                uint32_t n_params, const clsample_logits *logits,
                                const clsample_output *output, clsample_recording **recording)
{
    clsample_status st = CLSAMPLE_OK;

    if (!recording)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "recording is NULL; it must point to where the recording goes");
    *recording = NULL;
    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    clsample_recording *r = calloc(1, sizeof *r);
    if (!r) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for a recording of %zu bytes", sizeof *r);
    cls_step *step = &r->step;
    step->ctx = ctx;
    CLS_TRY(cls_check_queue(step, queue, 0, NULL));
    CLS_TRY(cls_check_input(step, logits));
    CLS_TRY(cls_check_output(step, output));
    CLS_TRY(cls_need_step(step, false));
    CLS_TRY(make_plans(r, params, n_params));
    CLS_TRY(cls_make_scratch(ctx, step->logits.rows, step->logits.vocab, &r->scratch));
    CLS_TRY(cls_make_arrived(ctx, &r->arrived));
    CLS_CL(clRetainCommandQueue(queue), "clRetainCommandQueue");
    r->queue = queue;
    step->scratch = &r->scratch;
    step->arrived = r->arrived;
    record(r);
    *recording = r;
    r = NULL;
cleanup:
    clsample_recording_free(r);
    return st;
}

/* A command buffer that cannot be enqueued twice at a time must have ended. */
static bool buffer_is_free(const clsample_recording *r)
{
    cl_int status = CL_COMPLETE;

    if (!r->tape.buffer) return false;
    if (r->tape.simultaneous) return true;
    const cl_event *last = cls_last_event(&r->previous.events);
    if (!last) return !r->previous.unknown;
    return clGetEventInfo(*last, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
               CL_SUCCESS &&
           status <= CL_COMPLETE;
}

/* Both ways leave their events in the step; so does a way that fails after its first launch. */
static clsample_status enqueue_again(clsample_recording *r)
{
    cls_step *step = &r->step;
    cl_event done = NULL;

    if (!buffer_is_free(r)) return cls_command_choices(step);
    const cl_int err = r->tape.enqueue(0, NULL, r->tape.buffer, step->n_wait, step->wait_list,
                                       step->wants_event ? &done : NULL);
    if (err != CL_SUCCESS) return cls_fail_cl(err, "clEnqueueCommandBufferKHR");
    cls_add_event(&step->events, done);
    step->any = true;
    return CLSAMPLE_OK;
}

/* What the repetition waits for: the caller's list, and the one before. An in-order queue knows that by
 * itself. */
static clsample_status open_gate(clsample_recording *r, cls_gate *gate)
{
    clsample_status st = CLSAMPLE_OK;

    if (r->step.in_order) return st;
    CLS_TRY(cls_find_previous(r->step.ctx, &r->previous, r->step.queue));
    const cl_event *last = cls_last_event(&r->previous.events);
    CLS_TRY(cls_open_gate(&r->step, last, last ? 1 : 0, gate));
cleanup:
    return st;
}

clsample_status clsample_replay(clsample_recording *r, cl_uint n_wait, const cl_event *wait_list,
                                cl_event *event)
{
    clsample_status st = CLSAMPLE_OK;
    cls_gate gate;

    if (event) *event = NULL;
    if (!r) return cls_fail(CLSAMPLE_E_ARGUMENT, "recording is NULL; it must come from clsample_record");
    cls_step *step = &r->step;
    if ((st = cls_check_wait_list(step->ctx, n_wait, wait_list)) != CLSAMPLE_OK) return st;
    step->n_wait = n_wait;
    step->wait_list = wait_list;
    step->wants_event = event || !step->in_order || (r->tape.buffer && !r->tape.simultaneous);
    step->any = false;
    CLS_TRY(open_gate(r, &gate));
    st = enqueue_again(r);
    /* What was enqueued is what the next repetition follows, also if a later part of it failed. */
    if (step->any) cls_set_previous(&r->previous, &step->events);
    if (st == CLSAMPLE_OK && event) cls_share_previous(&r->previous, event);
cleanup:
    cls_release_events(&step->events); /* of a marker, if no command came behind it */
    step->wait_list = NULL;
    return st;
}

int clsample_recording_is_native(const clsample_recording *recording)
{
    return recording && recording->tape.buffer;
}

void clsample_recording_free(clsample_recording *r)
{
    if (!r) return;
    drop_buffer(&r->tape);
    cls_release_events(&r->previous.events);
    if (r->scratch.mem) clReleaseMemObject(r->scratch.mem);
    if (r->arrived) clReleaseMemObject(r->arrived);
    if (r->plans) clReleaseMemObject(r->plans);
    if (r->queue) clReleaseCommandQueue(r->queue);
    free(r);
}
