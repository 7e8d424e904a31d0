/* SPDX-License-Identifier: Apache-2.0 */
/* An OpenCL driver that fails on purpose, for the ICD loader to find. The environment variable CLS_FAKE_MODES
 * lists, with commas, the platforms that it offers, in this file's order (see `platforms`). */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fails: every query; to have a compiler; clCreateContext; clBuildProgram of a source;
 * clCreateProgramWithBinary; clBuildProgram of a binary; to take more than 64 work-items in a group. */
enum {
    FAULT_INFO = 1,
    FAULT_COMPILER = 2,
    FAULT_CONTEXT = 4,
    FAULT_BUILD = 8,
    FAULT_BINARY = 16,
    FAULT_LATE = 32,
    FAULT_NARROW = 64
};

/* Every object of a driver begins with the table by which the loader calls it. */
static cl_icd_dispatch dispatch;

struct _cl_device_id {
    cl_icd_dispatch *dispatch;
    const char *name;
    cl_device_type type;
    cl_uint units;
    unsigned faults;
};
struct _cl_platform_id {
    cl_icd_dispatch *dispatch;
    const char *mode; /* also the platform's name */
    struct _cl_device_id *devices;
    cl_uint count;
    cl_int error; /* of clGetDeviceIDs */
    int mute;     /* answers only what the loader asks */
};

#define LONG_NAME                                                                                     \
    "A device whose name is longer than any that the list of devices has room for, since it goes on " \
    "and on, past all that a sensible maker would print on the box that it is sold in, to the end"
/* What a terminal would obey: an escape sequence, the same begun by one character and by one byte, others. */
#define NAME_THAT_ACTS      \
    "acts \x1b[2J \xc2\x9b" \
    "1m \x9b"               \
    "2m \x7f\r\a end"
#define DEVICE(name, type, units, faults)                     \
    {                                                         \
        &dispatch, name, CL_DEVICE_TYPE_##type, units, faults \
    }

static struct _cl_device_id silent[] = { DEVICE("never told", GPU, 8, FAULT_INFO) };
static struct _cl_device_id no_compiler[] = { DEVICE(LONG_NAME, GPU, 8, FAULT_COMPILER) };
static struct _cl_device_id no_context[] = { DEVICE("contextless", GPU, 8, FAULT_CONTEXT) };
static struct _cl_device_id no_build[] = { DEVICE("buildless", GPU, 8, FAULT_BUILD) };
static struct _cl_device_id many[] = {
    DEVICE("small cpu", CPU, 4, FAULT_CONTEXT),        DEVICE("large cpu", CPU, 16, FAULT_CONTEXT),
    DEVICE("llvmpipe", GPU, 99, FAULT_CONTEXT),        DEVICE("Oclgrind", GPU, 99, FAULT_CONTEXT),
    DEVICE("small gpu", GPU, 8, FAULT_CONTEXT),        DEVICE("large gpu", GPU, 64, FAULT_CONTEXT),
    DEVICE("twin gpu", GPU, 8, FAULT_CONTEXT),         DEVICE("fpga", ACCELERATOR, 99, FAULT_CONTEXT),
    DEVICE("custom chip", CUSTOM, 99, FAULT_COMPILER),
};
static struct _cl_device_id whole[] = { DEVICE("builds", GPU, 8, 0) };
static struct _cl_device_id refuses[] = { DEVICE("refuses", GPU, 8, FAULT_BINARY) };
static struct _cl_device_id late[] = { DEVICE("refuses late", GPU, 8, FAULT_LATE) };
static struct _cl_device_id acts[] = { DEVICE(NAME_THAT_ACTS, GPU, 8, FAULT_CONTEXT) };
static struct _cl_device_id narrow[] = { DEVICE("narrow", GPU, 8, FAULT_NARROW) };
#define COUNT(array) ((cl_uint)(sizeof(array) / sizeof *(array)))

static struct _cl_platform_id platforms[] = {
    { &dispatch, "empty", NULL, 0, CL_SUCCESS, 0 },
    { &dispatch, "mute", NULL, 0, CL_OUT_OF_RESOURCES, 1 },
    { &dispatch, "silent", silent, COUNT(silent), CL_SUCCESS, 0 },
    { &dispatch, "no-compiler", no_compiler, COUNT(no_compiler), CL_SUCCESS, 0 },
    { &dispatch, "no-context", no_context, COUNT(no_context), CL_SUCCESS, 0 },
    { &dispatch, "no-build", no_build, COUNT(no_build), CL_SUCCESS, 0 },
    { &dispatch, "many", many, COUNT(many), CL_SUCCESS, 0 },
    { &dispatch, "whole", whole, COUNT(whole), CL_SUCCESS, 0 },
    { &dispatch, "refuses", refuses, COUNT(refuses), CL_SUCCESS, 0 },
    { &dispatch, "late", late, COUNT(late), CL_SUCCESS, 0 },
    { &dispatch, "acts", acts, COUNT(acts), CL_SUCCESS, 0 },
    { &dispatch, "narrow", narrow, COUNT(narrow), CL_SUCCESS, 0 },
};

/* One object of each kind is enough. */
struct _cl_context {
    cl_icd_dispatch *dispatch;
    cl_device_id device;
};
struct _cl_command_queue {
    cl_icd_dispatch *dispatch;
};
struct _cl_mem {
    cl_icd_dispatch *dispatch;
};
struct _cl_kernel {
    cl_icd_dispatch *dispatch;
};
struct _cl_program {
    cl_icd_dispatch *dispatch;
    int from_binary;
    int builds; /* from source, since the process began */
};
static struct _cl_context the_context = { &dispatch, NULL };
static struct _cl_command_queue the_queue = { &dispatch };
static struct _cl_mem the_mem = { &dispatch };
static struct _cl_kernel the_kernel = { &dispatch };
static struct _cl_program the_program = { &dispatch, 0, 0 };

/* ---- Queries ---- */

static cl_int answer(const void *value, size_t size, size_t room, void *out, size_t *size_ret)
{
    if (out && room < size) return CL_INVALID_VALUE;
    if (out) memcpy(out, value, size);
    if (size_ret) *size_ret = size;
    return CL_SUCCESS;
}

static cl_int answer_text(const char *text, size_t room, void *out, size_t *size_ret)
{
    return answer(text, strlen(text) + 1, room, out, size_ret);
}

static cl_int CL_API_CALL get_platform_info(cl_platform_id platform, cl_platform_info what, size_t room,
                                            void *out, size_t *size_ret)
{
    if (what == CL_PLATFORM_EXTENSIONS) return answer_text("cl_khr_icd", room, out, size_ret);
    if (what == CL_PLATFORM_ICD_SUFFIX_KHR) return answer_text("FAKE", room, out, size_ret);
    if (platform->mute) return CL_OUT_OF_HOST_MEMORY;
    if (what == CL_PLATFORM_NAME) return answer_text(platform->mode, room, out, size_ret);
    if (what == CL_PLATFORM_VERSION) return answer_text("OpenCL 1.2 fake", room, out, size_ret);
    if (what == CL_PLATFORM_PROFILE) return answer_text("FULL_PROFILE", room, out, size_ret);
    return what == CL_PLATFORM_VENDOR ? answer_text("nobody", room, out, size_ret) : CL_INVALID_VALUE;
}

/* "All" leaves out custom devices, as the standard has it. */
static int is_asked(cl_device_type asked, cl_device_type type)
{
    if (asked == CL_DEVICE_TYPE_ALL) return type != CL_DEVICE_TYPE_CUSTOM;
    return (asked & type) != 0;
}

static cl_int CL_API_CALL get_device_ids(cl_platform_id platform, cl_device_type type, cl_uint room,
                                         cl_device_id *devices, cl_uint *count)
{
    cl_uint n = 0;

    if (platform->error != CL_SUCCESS) return platform->error;
    for (cl_uint i = 0; i < platform->count; i++) {
        if (!is_asked(type, platform->devices[i].type)) continue;
        if (devices && n < room) devices[n] = &platform->devices[i];
        n++;
    }
    if (count) *count = n;
    return n > 0 ? CL_SUCCESS : CL_DEVICE_NOT_FOUND;
}

static const char *device_text(cl_device_id device, cl_device_info what)
{
    switch (what) {
    case CL_DEVICE_NAME: return device->name;
    case CL_DEVICE_VENDOR: return "nobody";
    case CL_DRIVER_VERSION: return "1";
    case CL_DEVICE_VERSION: return "OpenCL 1.2 fake";
    case CL_DEVICE_OPENCL_C_VERSION: return "OpenCL C 1.2 fake";
    case CL_DEVICE_PROFILE: return "FULL_PROFILE";
    case CL_DEVICE_EXTENSIONS: return "cl_khr_fp16_lookalike cl_khr_byte_addressable_store";
    default: return NULL;
    }
}

/* The platform that lists the device. */
static cl_platform_id platform_of(cl_device_id device)
{
    for (cl_uint i = 0; i < COUNT(platforms); i++) {
        for (cl_uint k = 0; k < platforms[i].count; k++) {
            if (&platforms[i].devices[k] == device) return &platforms[i];
        }
    }
    return NULL;
}

static cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info what, size_t room, void *out,
                                          size_t *size_ret)
{
    static const size_t item_sizes[3] = { 1024, 1024, 1024 };
    const cl_bool yes = CL_TRUE, compiler = (device->faults & FAULT_COMPILER) == 0;
    const cl_uint bits = 64, dimensions = 3, one = 1;
    const cl_ulong memory = (cl_ulong)1 << 30, local = 65536, fp = CL_FP_FMA;
    const size_t size = 1024, group = device->faults & FAULT_NARROW ? 64 : 1024;
    const char *text = device_text(device, what);
    const cl_platform_id platform = platform_of(device);

    if (device->faults & FAULT_INFO) return CL_OUT_OF_RESOURCES;
    if (text) return answer_text(text, room, out, size_ret);
    switch (what) {
    case CL_DEVICE_PLATFORM: return answer(&platform, sizeof platform, room, out, size_ret);
    case CL_DEVICE_TYPE: return answer(&device->type, sizeof device->type, room, out, size_ret);
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        return answer(&device->units, sizeof device->units, room, out, size_ret);
    case CL_DEVICE_COMPILER_AVAILABLE: return answer(&compiler, sizeof compiler, room, out, size_ret);
    case CL_DEVICE_AVAILABLE:
    case CL_DEVICE_LINKER_AVAILABLE:
    case CL_DEVICE_ENDIAN_LITTLE: return answer(&yes, sizeof yes, room, out, size_ret);
    case CL_DEVICE_ADDRESS_BITS: return answer(&bits, sizeof bits, room, out, size_ret);
    case CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS:
        return answer(&dimensions, sizeof dimensions, room, out, size_ret);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES: return answer(item_sizes, sizeof item_sizes, room, out, size_ret);
    case CL_DEVICE_LOCAL_MEM_SIZE: return answer(&local, sizeof local, room, out, size_ret);
    case CL_DEVICE_GLOBAL_MEM_SIZE:
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE: return answer(&memory, sizeof memory, room, out, size_ret);
    case CL_DEVICE_SINGLE_FP_CONFIG: return answer(&fp, sizeof fp, room, out, size_ret);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE: return answer(&group, sizeof group, room, out, size_ret);
    case CL_DEVICE_MAX_PARAMETER_SIZE: return answer(&size, sizeof size, room, out, size_ret);
    default: return answer(&one, sizeof one, room, out, size_ret); /* whatever else the library may ask */
    }
}

/* ---- As much of a context as it takes to get to the compiler ---- */

static cl_context CL_API_CALL create_context(
    const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *data, cl_int *error)
{
    const int fails = count != 1 || devices[0]->faults & FAULT_CONTEXT;

    (void)properties;
    (void)notify;
    (void)data;
    if (error) *error = fails ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
    if (fails) return NULL;
    the_context.device = devices[0];
    return &the_context;
}

static cl_int CL_API_CALL keep_context(cl_context context)
{
    (void)context;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_context_info(cl_context context, cl_context_info what, size_t room, void *out,
                                           size_t *size_ret)
{
    const cl_uint one = 1;

    if (what == CL_CONTEXT_NUM_DEVICES) return answer(&one, sizeof one, room, out, size_ret);
    if (what == CL_CONTEXT_DEVICES)
        return answer(&context->device, sizeof context->device, room, out, size_ret);
    return CL_INVALID_VALUE;
}

static cl_command_queue CL_API_CALL create_queue(cl_context context, cl_device_id device,
                                                 cl_command_queue_properties properties, cl_int *error)
{
    (void)context;
    (void)device;
    (void)properties;
    if (error) *error = CL_SUCCESS;
    return &the_queue;
}

static cl_int CL_API_CALL keep_queue(cl_command_queue queue)
{
    (void)queue;
    return CL_SUCCESS;
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t size, void *host,
                                        cl_int *error)
{
    (void)context;
    (void)flags;
    (void)size;
    (void)host;
    if (error) *error = CL_SUCCESS;
    return &the_mem;
}

static cl_int CL_API_CALL keep_mem(cl_mem mem)
{
    (void)mem;
    return CL_SUCCESS;
}

/* ---- Programs: their binary is a text that counts the builds from source ---- */

static cl_program CL_API_CALL create_program(cl_context context, cl_uint count, const char **texts,
                                             const size_t *sizes, cl_int *error)
{
    (void)context;
    (void)count;
    (void)texts;
    (void)sizes;
    the_program.from_binary = 0;
    if (error) *error = CL_SUCCESS;
    return &the_program;
}

static cl_program CL_API_CALL create_from_binary(cl_context context, cl_uint count,
                                                 const cl_device_id *devices, const size_t *sizes,
                                                 const unsigned char **binaries, cl_int *each, cl_int *error)
{
    const cl_int answer_code = context->device->faults & FAULT_BINARY ? CL_INVALID_BINARY : CL_SUCCESS;

    (void)count;
    (void)devices;
    (void)sizes;
    (void)binaries;
    the_program.from_binary = 1;
    if (each) *each = answer_code;
    if (error) *error = answer_code;
    return answer_code == CL_SUCCESS ? &the_program : NULL;
}

static cl_int CL_API_CALL keep_program(cl_program program)
{
    (void)program;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL build_program(cl_program program, cl_uint count, const cl_device_id *devices,
                                        const char *options, void(CL_CALLBACK *notify)(cl_program, void *),
                                        void *data)
{
    const unsigned fault = program->from_binary ? FAULT_LATE : FAULT_BUILD;

    (void)count;
    (void)options;
    (void)notify;
    (void)data;
    if (!program->from_binary) program->builds++;
    return devices[0]->faults & fault ? CL_BUILD_PROGRAM_FAILURE : CL_SUCCESS;
}

/* As if the context had two devices and only the second were built for; a binary that is asked for the first
 * would be too large for any memory. */
static cl_int CL_API_CALL get_program_info(cl_program program, cl_program_info what, size_t room, void *out,
                                           size_t *size_ret)
{
    char binary[32];
    const cl_uint n = 2;
    const cl_device_id devices[2] = { &many[0], the_context.device };
    const size_t kernels = 1, length = (size_t)snprintf(binary, sizeof binary, "build %d", program->builds);
    const size_t sizes[2] = { (size_t)-1, length };

    switch (what) {
    case CL_PROGRAM_NUM_DEVICES: return answer(&n, sizeof n, room, out, size_ret);
    case CL_PROGRAM_DEVICES: return answer(devices, sizeof devices, room, out, size_ret);
    case CL_PROGRAM_NUM_KERNELS: return answer(&kernels, sizeof kernels, room, out, size_ret);
    case CL_PROGRAM_BINARY_SIZES: return answer(sizes, sizeof sizes, room, out, size_ret);
    case CL_PROGRAM_BINARIES:
        if (!out || room < 2 * sizeof(unsigned char *) || ((unsigned char **)out)[0]) return CL_INVALID_VALUE;
        if (((unsigned char **)out)[1]) memcpy(((unsigned char **)out)[1], binary, length);
        return CL_SUCCESS;
    default: return CL_INVALID_VALUE;
    }
}

static cl_int CL_API_CALL create_kernels(cl_program program, cl_uint room, cl_kernel *kernels, cl_uint *count)
{
    (void)program;
    if (kernels && room > 0) kernels[0] = &the_kernel;
    if (count) *count = 1;
    return CL_SUCCESS;
}

static cl_kernel CL_API_CALL create_kernel(cl_program program, const char *name, cl_int *error)
{
    (void)program;
    (void)name;
    if (error) *error = CL_INVALID_KERNEL_NAME;
    return NULL;
}

static cl_int CL_API_CALL keep_kernel(cl_kernel kernel)
{
    (void)kernel;
    return CL_SUCCESS;
}

/* A warning, then an error, and in all more than clsample_error.log holds. */
static cl_int CL_API_CALL get_build_info(cl_program program, cl_device_id device, cl_program_build_info what,
                                         size_t room, void *out, size_t *size_ret)
{
    static const char start[] =
        "\ncl/check.cl:1: warning: it is late\ncl/check.cl:2: error: refused on purpose\n";
    static char log[20000];

    (void)program;
    (void)device;
    if (what != CL_PROGRAM_BUILD_LOG) return CL_INVALID_VALUE;
    memset(log, 'x', sizeof log - 1);
    memcpy(log, start, sizeof start - 1);
    return answer(log, sizeof log, room, out, size_ret);
}

/* ---- What the loader looks for ---- */

static cl_int CL_API_CALL get_platforms(cl_uint room, cl_platform_id *found, cl_uint *count)
{
    const char *modes = getenv("CLS_FAKE_MODES");
    cl_uint n = 0;

    for (cl_uint i = 0; modes && i < COUNT(platforms); i++) {
        if (!strstr(modes, platforms[i].mode)) continue;
        if (found && n < room) found[n] = &platforms[i];
        n++;
    }
    if (count) *count = n;
    return n > 0 ? CL_SUCCESS : CL_PLATFORM_NOT_FOUND_KHR;
}

static void fill_dispatch(void)
{
    dispatch.clGetPlatformIDs = get_platforms;
    dispatch.clGetPlatformInfo = get_platform_info;
    dispatch.clGetDeviceIDs = get_device_ids;
    dispatch.clGetDeviceInfo = get_device_info;
    dispatch.clCreateContext = create_context;
    dispatch.clRetainContext = keep_context;
    dispatch.clReleaseContext = keep_context;
    dispatch.clGetContextInfo = get_context_info;
    dispatch.clCreateCommandQueue = create_queue;
    dispatch.clRetainCommandQueue = keep_queue;
    dispatch.clReleaseCommandQueue = keep_queue;
    dispatch.clFlush = keep_queue;
    dispatch.clFinish = keep_queue;
    dispatch.clCreateBuffer = create_buffer;
    dispatch.clRetainMemObject = keep_mem;
    dispatch.clReleaseMemObject = keep_mem;
    dispatch.clCreateProgramWithSource = create_program;
    dispatch.clCreateProgramWithBinary = create_from_binary;
    dispatch.clGetProgramInfo = get_program_info;
    dispatch.clCreateKernelsInProgram = create_kernels;
    dispatch.clCreateKernel = create_kernel;
    dispatch.clRetainKernel = keep_kernel;
    dispatch.clReleaseKernel = keep_kernel;
    dispatch.clRetainProgram = keep_program;
    dispatch.clReleaseProgram = keep_program;
    dispatch.clBuildProgram = build_program;
    dispatch.clGetProgramBuildInfo = get_build_info;
}

/* C has no conversion from a function's address to an object's, but POSIX has them look alike. */
void *CL_API_CALL clGetExtensionFunctionAddress(const char *name)
{
    void *address = NULL;
    const clIcdGetPlatformIDsKHR_fn platforms_of = get_platforms;
    const cl_api_clGetPlatformInfo info_of = get_platform_info;

    fill_dispatch();
    if (strcmp(name, "clIcdGetPlatformIDsKHR") == 0) memcpy(&address, &platforms_of, sizeof address);
    if (strcmp(name, "clGetPlatformInfo") == 0) memcpy(&address, &info_of, sizeof address);
    return address;
}
