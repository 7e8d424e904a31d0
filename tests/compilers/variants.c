/* SPDX-License-Identifier: Apache-2.0 */
/* Every program that the library builds for a GPU, written out for compilers that run without one.
 *
 * usage: variants FOLDER [all]
 * Writes the source of each to FOLDER/NUMBER.cl and prints a line of its number and its build options. The
 * type of the logits only changes how they are loaded: it is float32, and with "all" every type in turn.
 *
 * No list of kernels is kept here. The library builds them all itself, for a device that this file plays: the
 * OpenCL calls below take the place of the loader's, and remember what they are asked to compile. */
#include "context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIANTS 256u     /* different programs that there is room for */
#define OPTIONS_ROOM 512u /* bytes */

struct _cl_program {
    char *text;
};
static struct {
    char *text;
    char options[OPTIONS_ROOM];
} variants[VARIANTS];
static size_t variant_count;

/* Handles that are only passed round. */
static char anything;
#define DEVICE ((cl_device_id)(void *)&anything)
#define CONTEXT ((cl_context)(void *)&anything)

static void die(const char *what)
{
    fprintf(stderr, "variants: %s\n", what);
    exit(1);
}

/* ---- The device: a GPU without preferences ---- */

static cl_int answer(const void *value, size_t size, size_t room, void *out, size_t *size_ret)
{
    if (out && room < size) return CL_INVALID_VALUE;
    if (out) memcpy(out, value, size);
    if (size_ret) *size_ret = size;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t room,
                                                void *out, size_t *size_ret)
{
    const cl_device_type type = CL_DEVICE_TYPE_GPU;
    const cl_platform_id none = NULL; /* its functions are the loader's */
    const cl_ulong local = 65536;
    const size_t size = 1024;
    const cl_uint one = 1;

    (void)device;
    switch (what) {
    case CL_DEVICE_NAME:
    case CL_DEVICE_VENDOR:
    case CL_DEVICE_EXTENSIONS:
    case CL_DRIVER_VERSION: return answer("", 1, room, out, size_ret);
    case CL_DEVICE_VERSION: return answer("OpenCL 1.2 ", sizeof "OpenCL 1.2 ", room, out, size_ret);
    case CL_DEVICE_OPENCL_C_VERSION:
        return answer("OpenCL C 1.2 ", sizeof "OpenCL C 1.2 ", room, out, size_ret);
    case CL_DEVICE_PLATFORM: return answer(&none, sizeof none, room, out, size_ret);
    case CL_DEVICE_TYPE: return answer(&type, sizeof type, room, out, size_ret);
    case CL_DEVICE_LOCAL_MEM_SIZE: return answer(&local, sizeof local, room, out, size_ret);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
    case CL_DEVICE_MAX_PARAMETER_SIZE: return answer(&size, sizeof size, room, out, size_ret);
    default: return answer(&one, sizeof one, room, out, size_ret); /* flags, and the width of vectors */
    }
}

/* ---- Programs ---- */

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithSource(cl_context context, cl_uint count,
                                                              const char **texts, const size_t *sizes,
                                                              cl_int *error)
{
    size_t size = 0;
    cl_program program = malloc(sizeof *program);

    (void)context;
    for (cl_uint i = 0; i < count; i++)
        size += sizes[i];
    if (program) program->text = malloc(size + 1);
    if (!program || !program->text) die("no memory for a program");
    size = 0;
    for (cl_uint i = 0; i < count; i++) {
        memcpy(program->text + size, texts[i], sizes[i]);
        size += sizes[i];
    }
    program->text[size] = 0;
    *error = CL_SUCCESS;
    return program;
}

/* Different contexts may build the same program: it counts once. */
CL_API_ENTRY cl_int CL_API_CALL clBuildProgram(cl_program program, cl_uint count, const cl_device_id *devices,
                                               const char *options,
                                               void(CL_CALLBACK *notify)(cl_program, void *), void *data)
{
    (void)count;
    (void)devices;
    (void)notify;
    (void)data;
    for (size_t i = 0; i < variant_count; i++)
        if (!strcmp(variants[i].options, options) && !strcmp(variants[i].text, program->text))
            return CL_SUCCESS;
    if (variant_count == VARIANTS || strlen(options) >= OPTIONS_ROOM)
        die("no room: raise VARIANTS or OPTIONS_ROOM");
    strcpy(variants[variant_count].options, options);
    variants[variant_count++].text = program->text;
    program->text = NULL; /* the list owns it now */
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseProgram(cl_program program)
{
    free(program->text);
    free(program);
    return CL_SUCCESS;
}

/* ---- What else it takes to make a context and its kernels ---- */

CL_API_ENTRY cl_kernel CL_API_CALL clCreateKernel(cl_program program, const char *name, cl_int *error)
{
    (void)name;
    (void)program;
    *error = CL_SUCCESS;
    return (cl_kernel)(void *)&anything;
}
CL_API_ENTRY cl_int CL_API_CALL clReleaseKernel(cl_kernel kernel)
{
    (void)kernel;
    return CL_SUCCESS;
}
CL_API_ENTRY cl_int CL_API_CALL clSetKernelArg(cl_kernel kernel, cl_uint index, size_t size,
                                               const void *value)
{
    (void)kernel;
    (void)index;
    (void)size;
    (void)value;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clGetContextInfo(cl_context context, cl_context_info what, size_t room,
                                                 void *out, size_t *size_ret)
{
    const cl_device_id device = DEVICE;

    (void)context;
    return what == CL_CONTEXT_DEVICES ? answer(&device, sizeof device, room, out, size_ret)
                                      : CL_INVALID_VALUE;
}
CL_API_ENTRY cl_int CL_API_CALL clRetainContext(cl_context context)
{
    (void)context;
    return CL_SUCCESS;
}
CL_API_ENTRY cl_int CL_API_CALL clReleaseContext(cl_context context)
{
    (void)context;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size,
                                               void *host, cl_int *error)
{
    (void)context;
    (void)flags;
    (void)size;
    (void)host;
    *error = CL_SUCCESS;
    return (cl_mem)(void *)&anything;
}
CL_API_ENTRY cl_int CL_API_CALL clReleaseMemObject(cl_mem mem)
{
    (void)mem;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_command_queue CL_API_CALL clCreateCommandQueue(cl_context context, cl_device_id device,
                                                               cl_command_queue_properties properties,
                                                               cl_int *error)
{
    (void)context;
    (void)device;
    (void)properties;
    *error = CL_SUCCESS;
    return (cl_command_queue)(void *)&anything;
}
CL_API_ENTRY cl_int CL_API_CALL clReleaseCommandQueue(cl_command_queue queue)
{
    (void)queue;
    return CL_SUCCESS;
}
CL_API_ENTRY cl_int CL_API_CALL clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
                                                       cl_uint dimensions, const size_t *offset,
                                                       const size_t *global, const size_t *local,
                                                       cl_uint n_wait, const cl_event *wait_list,
                                                       cl_event *event)
{
    (void)queue;
    (void)kernel;
    (void)dimensions;
    (void)offset;
    (void)global;
    (void)local;
    (void)n_wait;
    (void)wait_list;
    (void)event;
    return CL_SUCCESS;
}
CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
                                                    size_t offset, size_t size, void *out, cl_uint n_wait,
                                                    const cl_event *wait_list, cl_event *event)
{
    (void)queue;
    (void)mem;
    (void)blocking;
    (void)offset;
    (void)n_wait;
    (void)wait_list;
    (void)event;
    memset(out, 0, size);
    return CL_SUCCESS;
}

/* ---- The library at work ---- */

/* Whatever the library builds with these options; if not `all`, for float32 alone, and kernels with extras in
 * one size of group alone. The self-check's program is built on the way; its results would be wrong. */
static void build_all(clsample_options options, bool all)
{
    const uint32_t dtypes = all && !(options.flags & CLSAMPLE_FORCE_VECTORS) ? CLS_DTYPES : 1;
    clsample_ctx *ctx = NULL;

    options.size = sizeof options;
    options.flags |= CLSAMPLE_NO_SELF_CHECK;
    if (clsample_create(CONTEXT, DEVICE, &options, &ctx) != CLSAMPLE_OK) die(clsample_last_error()->message);
    ctx->abilities.loop_limit = UINT32_MAX;              /* which no kernel has found out here */
    const bool extras = all || options.work_group == 64; /* where the first one spills */
    for (uint32_t i = 0; i < 2 * dtypes; i++) {
        if (i % 2 && !extras) continue;
        const clsample_logits shape = { .dtype = i / 2, .rows = 1, .vocab = 1 };
        if (cls_need_kernels(ctx, &shape, i % 2, true) != CLSAMPLE_OK) die(clsample_last_error()->message);
    }
    if (cls_need_text_kernels(ctx) != CLSAMPLE_OK) die(clsample_last_error()->message);
    clsample_destroy(ctx);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    /* The form for GPUs in all sizes that it is tuned among. */
    static const clsample_options groups[] = {
        { .work_group = 64 },
        { .work_group = 128 },
        { .work_group = 256 },
    };
    static const clsample_options vectors = { .flags = CLSAMPLE_FORCE_VECTORS, .lanes = 4 };
    char path[4096];

    const bool all = argc == 3 && strcmp(argv[2], "all") == 0;
    if (argc != 2 && !all) die("usage: variants FOLDER [all]");
    for (size_t i = 0; i < CLS_COUNT(groups); i++)
        build_all(groups[i], all);
    build_all(vectors, all);
    for (size_t i = 0; i < variant_count; i++) {
        snprintf(path, sizeof path, "%s/%02zu.cl", argv[1], i + 1);
        write_text(path, variants[i].text);
        printf("%02zu %s\n", i + 1, variants[i].options);
        free(variants[i].text);
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
