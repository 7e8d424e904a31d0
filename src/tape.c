/* SPDX-License-Identifier: Apache-2.0 */
/* Command buffers, where a device has them. */
#include "tape.h"

#include <string.h>

#define CLS_DEVICE_COMMAND_BUFFER_CAPABILITIES 0x12A9
#define CLS_CAPABLE_OF_SIMULTANEOUS_USE ((cl_bitfield)1 << 2)
#define CLS_COMMAND_BUFFER_FLAGS 0x1293
#define CLS_SIMULTANEOUS_USE ((cl_bitfield)1 << 0)

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

bool cls_tape_begin(cls_tape *t, cl_device_id device, cl_command_queue queue)
{
    const cl_bitfield flags[] = { CLS_COMMAND_BUFFER_FLAGS, CLS_SIMULTANEOUS_USE, 0 };
    cl_int err = CL_SUCCESS;

    if (!find_functions(t, device)) return false;
    t->buffer = t->create(1, &queue, t->simultaneous ? flags : NULL, &err);
    if (err != CL_SUCCESS) t->buffer = NULL;
    return t->buffer != NULL;
}

clsample_status cls_tape_kernel(cls_tape *t, cl_kernel kernel, const size_t *global, const size_t *local)
{
    const cl_uint before = t->last;
    const cl_int err = t->kernel(t->buffer, NULL, NULL, kernel, 2, NULL, global, local, t->count ? 1 : 0,
                                 t->count ? &before : NULL, &t->last, NULL);
    t->count++;
    return err == CL_SUCCESS ? CLSAMPLE_OK : cls_fail_cl(err, "clCommandNDRangeKernelKHR");
}

bool cls_tape_end(cls_tape *t)
{
    return t->finalize(t->buffer) == CL_SUCCESS;
}

clsample_status cls_tape_enqueue(const cls_tape *t, cl_uint n_wait, const cl_event *wait_list, cl_event *done)
{
    const cl_int err = t->enqueue(0, NULL, t->buffer, n_wait, wait_list, done);
    return err == CL_SUCCESS ? CLSAMPLE_OK : cls_fail_cl(err, "clEnqueueCommandBufferKHR");
}

void cls_tape_drop(cls_tape *t)
{
    if (t->buffer) t->release(t->buffer);
    t->buffer = NULL;
}
