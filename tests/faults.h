/* SPDX-License-Identifier: Apache-2.0 */
/* Read before each of the library's own files when test_faults compiles them: every place that calls OpenCL
 * or allocates becomes a site, which counts its visits, counts what it takes and gives back, and can be
 * told to fail. Sites lie in a section of their own, so that those which no test visits are known too. */
#ifndef CLSAMPLE_TESTS_FAULTS_H
#define CLSAMPLE_TESTS_FAULTS_H

#include "clsample.h"

#include <CL/cl_ext.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct fault_site {
    const char *call, *file;
    int line;
    unsigned visits, failures;
    unsigned now; /* visits since fault_arm() */
} fault_site;

/* What is counted: references that the library holds, and memory. */
typedef enum fault_kind {
    FAULT_CONTEXT,
    FAULT_QUEUE,
    FAULT_PROGRAM,
    FAULT_KERNEL,
    FAULT_MEM,
    FAULT_EVENT,
    FAULT_BUFFER, /* of commands, cl_khr_command_buffer */
    FAULT_HOST,
    FAULT_KINDS
} fault_kind;

/* Count a visit: does this call fail? */
bool fault_here(fault_site *site);
/* Count a reference that was taken, and hand it on. */
void *fault_hold(fault_kind kind, void *object);
cl_int fault_took(fault_kind kind, cl_int error, cl_uint n);
void fault_gave(fault_kind kind, const void *object);
cl_int fault_gave_event(cl_int error, const cl_event *event);
/* What a device said, changed as fault_hide() asks for. */
cl_int fault_told(cl_int error, cl_device_info what, void *value);
/* An extension's function, as one that can fail. */
void *fault_function(fault_site *site, cl_platform_id platform, const char *name);

#ifdef FAULT_SITES
#define FAULT_STRING_(x) #x
#define FAULT_SITE(name)                                                                        \
    __extension__({                                                                             \
        static fault_site site_ = { name, __FILE__, __LINE__, 0, 0, 0 };                        \
        static fault_site *const place_ __attribute__((section("fault_sites"), used)) = &site_; \
        (void)place_;                                                                           \
        &site_;                                                                                 \
    })
#define FAULT_FAILS(name) fault_here(FAULT_SITE(name))

/* A status. */
#define FAULT_STATUS(name, ...) (FAULT_FAILS(#name) ? CL_OUT_OF_RESOURCES : name(__VA_ARGS__))
/* A build that fails leaves a log, so it is made. */
#define clBuildProgram(...)                                                                  \
    (FAULT_FAILS("clBuildProgram") ? (clBuildProgram(__VA_ARGS__), CL_BUILD_PROGRAM_FAILURE) \
                                   : clBuildProgram(__VA_ARGS__))
#define clFinish(...) FAULT_STATUS(clFinish, __VA_ARGS__)
#define clFlush(...) FAULT_STATUS(clFlush, __VA_ARGS__)
#define clGetCommandQueueInfo(...) FAULT_STATUS(clGetCommandQueueInfo, __VA_ARGS__)
#define clGetContextInfo(...) FAULT_STATUS(clGetContextInfo, __VA_ARGS__)
#define clGetDeviceIDs(...) FAULT_STATUS(clGetDeviceIDs, __VA_ARGS__)
#define clGetDeviceInfo(device, what, size, value, got) \
    (FAULT_FAILS("clGetDeviceInfo")                     \
         ? CL_OUT_OF_RESOURCES                          \
         : fault_told(clGetDeviceInfo(device, what, size, value, got), what, value))
#define clGetEventInfo(...) FAULT_STATUS(clGetEventInfo, __VA_ARGS__)
#define clGetMemObjectInfo(...) FAULT_STATUS(clGetMemObjectInfo, __VA_ARGS__)
#define clGetPlatformIDs(...) FAULT_STATUS(clGetPlatformIDs, __VA_ARGS__)
#define clGetPlatformInfo(...) FAULT_STATUS(clGetPlatformInfo, __VA_ARGS__)
#define clGetProgramBuildInfo(...) FAULT_STATUS(clGetProgramBuildInfo, __VA_ARGS__)
#define clGetProgramInfo(...) FAULT_STATUS(clGetProgramInfo, __VA_ARGS__)
#define clSetMemObjectDestructorCallback(...) FAULT_STATUS(clSetMemObjectDestructorCallback, __VA_ARGS__)
#define clSetKernelArg(...) FAULT_STATUS(clSetKernelArg, __VA_ARGS__)
#define clWaitForEvents(...) FAULT_STATUS(clWaitForEvents, __VA_ARGS__)

/* A new object. */
#define FAULT_NEW(name, kind, type, error, ...)                                 \
    ((type)(FAULT_FAILS(#name) ? (*(error) = CL_OUT_OF_RESOURCES, (void *)NULL) \
                               : fault_hold((kind), name(__VA_ARGS__, (error)))))
#define clCreateBuffer(a, b, c, d, error) FAULT_NEW(clCreateBuffer, FAULT_MEM, cl_mem, error, a, b, c, d)
#define clCreateCommandQueue(a, b, c, error) \
    FAULT_NEW(clCreateCommandQueue, FAULT_QUEUE, cl_command_queue, error, a, b, c)
#define clCreateContext(a, b, c, d, e, error) \
    FAULT_NEW(clCreateContext, FAULT_CONTEXT, cl_context, error, a, b, c, d, e)
#define clCreateKernel(a, b, error) FAULT_NEW(clCreateKernel, FAULT_KERNEL, cl_kernel, error, a, b)
#define clCreateProgramWithBinary(a, b, c, d, e, f, error) \
    FAULT_NEW(clCreateProgramWithBinary, FAULT_PROGRAM, cl_program, error, a, b, c, d, e, f)
#define clCreateProgramWithSource(a, b, c, d, error) \
    FAULT_NEW(clCreateProgramWithSource, FAULT_PROGRAM, cl_program, error, a, b, c, d)
#define clCreateKernelsInProgram(a, n, kernels, got) \
    (FAULT_FAILS("clCreateKernelsInProgram")         \
         ? CL_OUT_OF_RESOURCES                       \
         : fault_took(FAULT_KERNEL, clCreateKernelsInProgram(a, n, kernels, got), n))

/* A command, whose event is an object too. */
#define FAULT_COMMAND(name, event, ...) \
    (FAULT_FAILS(#name) ? CL_OUT_OF_RESOURCES : fault_gave_event(name(__VA_ARGS__, (event)), (event)))
#define clEnqueueFillBuffer(a, b, c, d, e, f, g, h, event) \
    FAULT_COMMAND(clEnqueueFillBuffer, event, a, b, c, d, e, f, g, h)
#define clEnqueueMarkerWithWaitList(a, b, c, event) FAULT_COMMAND(clEnqueueMarkerWithWaitList, event, a, b, c)
#define clEnqueueNDRangeKernel(a, b, c, d, e, f, g, h, event) \
    FAULT_COMMAND(clEnqueueNDRangeKernel, event, a, b, c, d, e, f, g, h)
#define clEnqueueReadBuffer(a, b, c, d, e, f, g, h, event) \
    FAULT_COMMAND(clEnqueueReadBuffer, event, a, b, c, d, e, f, g, h)
#define clEnqueueWriteBuffer(a, b, c, d, e, f, g, h, event) \
    FAULT_COMMAND(clEnqueueWriteBuffer, event, a, b, c, d, e, f, g, h)

/* One reference more. */
#define FAULT_RETAIN(name, kind, object) \
    (FAULT_FAILS(#name) ? CL_OUT_OF_RESOURCES : fault_took((kind), name(object), 1))
#define clRetainCommandQueue(x) FAULT_RETAIN(clRetainCommandQueue, FAULT_QUEUE, x)
#define clRetainContext(x) FAULT_RETAIN(clRetainContext, FAULT_CONTEXT, x)
#define clRetainEvent(x) FAULT_RETAIN(clRetainEvent, FAULT_EVENT, x)
#define clRetainMemObject(x) FAULT_RETAIN(clRetainMemObject, FAULT_MEM, x)

/* One less (the object is evaluated twice), which counts also if the driver says that it failed. */
#define FAULT_RELEASE(name, kind, object) \
    (fault_gave((kind), (object)), FAULT_FAILS(#name) ? (name(object), CL_OUT_OF_RESOURCES) : name(object))
#define clReleaseCommandQueue(x) FAULT_RELEASE(clReleaseCommandQueue, FAULT_QUEUE, x)
#define clReleaseContext(x) FAULT_RELEASE(clReleaseContext, FAULT_CONTEXT, x)
#define clReleaseEvent(x) FAULT_RELEASE(clReleaseEvent, FAULT_EVENT, x)
#define clReleaseKernel(x) FAULT_RELEASE(clReleaseKernel, FAULT_KERNEL, x)
#define clReleaseMemObject(x) FAULT_RELEASE(clReleaseMemObject, FAULT_MEM, x)
#define clReleaseProgram(x) FAULT_RELEASE(clReleaseProgram, FAULT_PROGRAM, x)

#define clGetExtensionFunctionAddressForPlatform(platform, name) \
    fault_function(FAULT_SITE("clGetExtensionFunctionAddressForPlatform"), platform, name)

#define malloc(size) (FAULT_FAILS("malloc") ? NULL : fault_hold(FAULT_HOST, malloc(size)))
#define calloc(n, size) (FAULT_FAILS("calloc") ? NULL : fault_hold(FAULT_HOST, calloc(n, size)))
#define realloc(p, size) (FAULT_FAILS("realloc") ? NULL : fault_moved(p, size))
#define free(p) fault_free(p)
void *fault_moved(void *p, size_t size);
void fault_free(void *p);
#endif

#endif
