/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels compiled from the embedded sources, or taken from the cache. A cached binary is found by a hash
 * over all that goes into it: source, options, library, platform, driver, device. If the driver refuses one,
 * it is built again. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What to build ---- */

#define DECLARE(number, name, file) CLS_EMBEDDED_DECLARE(name)
#define SOURCE(number, name, file) [number] = CLS_EMBEDDED(name, file),
CLS_SOURCE_MAP(DECLARE)
static const cls_embedded sources[CLS_SRC_COUNT] = { CLS_SOURCE_MAP(SOURCE) };

#define OPTIONS_ROOM 1024u /* bytes */

/* One call of cls_program_build; nothing in it is owned. */
typedef struct build {
    cl_context context;
    cl_device_id device;
    const char *cache_dir; /* NULL = no cache */
    const cls_embedded *source;
    char options[OPTIONS_ROOM];
    char key[CLS_HASH_DIGITS + sizeof ".clbin"];
} build;

/* Drivers may crash on a binary that another version of them made, so whatever tells versions apart is in
 * it. */
static void make_key(build *b)
{
    cls_hash h;

    cls_hash_begin(&h);
    cls_hash_field(&h, b->source->bytes, *b->source->size);
    cls_hash_field(&h, b->options, strlen(b->options));
    cls_hash_device(&h, b->device);
    cls_hash_end(&h, b->key);
    memcpy(b->key + CLS_HASH_DIGITS, ".clbin", sizeof ".clbin");
}

/* No option may change arithmetic: the same bits on every device are the point of the kernels. */
static clsample_status make_build(build *b, const char *options)
{
    const int length = snprintf(b->options, sizeof b->options, "-cl-std=CL1.2%s%s",
                                options && options[0] ? " " : "", options ? options : "");

    if (length < 0 || (size_t)length >= sizeof b->options)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "build options of %d bytes, at most %u are allowed", length,
                        OPTIONS_ROOM - 1);
    if (b->cache_dir) make_key(b);
    return CLSAMPLE_OK;
}

/* ---- From the cache ---- */

/* NULL if there is no entry, or none that the driver takes: that one is dropped. */
static cl_program load(const build *b)
{
    size_t size = 0;
    cl_int error = CL_SUCCESS, refused = CL_SUCCESS;
    size_t kernels = 0;

    unsigned char *bytes = cls_cache_load(b->cache_dir, b->key, &size);
    if (!bytes) return NULL;
    const unsigned char *binary = bytes;
    cl_program program =
        clCreateProgramWithBinary(b->context, 1, &b->device, &size, &binary, &refused, &error);
    if (error == CL_SUCCESS) error = refused;
    if (error == CL_SUCCESS) error = clBuildProgram(program, 1, &b->device, b->options, NULL, NULL);
    if (error == CL_SUCCESS)
        error = clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof kernels, &kernels, NULL);
    free(bytes);
    /* A program without kernels was built from something else. */
    if (error == CL_SUCCESS && kernels > 0) return program;

    if (program) clReleaseProgram(program);
    cls_cache_drop(b->cache_dir, b->key);
    return NULL;
}

/* Some compilers finish only when a kernel is made, so make all once, that the binary may have everything. */
static void finish_kernels(cl_program program)
{
    cl_uint n = 0;

    if (clCreateKernelsInProgram(program, 0, NULL, &n) != CL_SUCCESS || n == 0) return;
    cl_kernel *kernels = calloc(n, sizeof *kernels);
    if (!kernels) return;
    if (clCreateKernelsInProgram(program, n, kernels, NULL) == CL_SUCCESS) {
        for (cl_uint i = 0; i < n; i++)
            clReleaseKernel(kernels[i]);
    }
    free(kernels);
}

/* The device's place among those of the program, which belongs to all devices of the context; `n` if it
 * fails. */
static cl_uint place_of(cl_program program, cl_device_id device, cl_uint n)
{
    cl_uint place = n;
    cl_device_id *devices = calloc(n, sizeof *devices);

    if (devices &&
        clGetProgramInfo(program, CL_PROGRAM_DEVICES, n * sizeof *devices, devices, NULL) == CL_SUCCESS) {
        for (place = 0; place < n && devices[place] != device; place++) {}
    }
    free(devices);
    return place;
}

/* Best effort: what fails here costs a compilation next time. */
static void store(const build *b, cl_program program)
{
    cl_uint n = 0;
    unsigned char **binaries = NULL;
    size_t *sizes = NULL;
    unsigned char *binary = NULL;

    finish_kernels(program);
    if (clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, sizeof n, &n, NULL) != CL_SUCCESS || n == 0) return;
    const cl_uint place = place_of(program, b->device, n);
    if (place == n) return;
    sizes = calloc(n, sizeof *sizes);
    binaries = calloc(n, sizeof *binaries); /* a NULL for a device leaves out its binary */
    if (!sizes || !binaries) goto cleanup;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, n * sizeof *sizes, sizes, NULL) != CL_SUCCESS)
        goto cleanup;
    binary = sizes[place] > 0 ? malloc(sizes[place]) : NULL;
    if (!binary) goto cleanup;
    binaries[place] = binary;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, n * sizeof *binaries, binaries, NULL) == CL_SUCCESS)
        cls_cache_store(b->cache_dir, b->key, binary, sizes[place]);
cleanup:
    free(binary);
    free(binaries);
    free(sizes);
}

/* ---- From source ---- */

/* E_BUILD with the log, which can be megabytes long; E_OPENCL where it is not the source that failed. */
static clsample_status fail_build(const build *b, cl_program program, cl_int error)
{
    size_t size = 0;
    char call[64], *log = NULL;

    snprintf(call, sizeof call, "clBuildProgram %s", b->source->file);
    if (error == CL_OUT_OF_HOST_MEMORY || error == CL_OUT_OF_RESOURCES) return cls_fail_cl(error, call);
    if (clGetProgramBuildInfo(program, b->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) == CL_SUCCESS &&
        size > 0)
        log = calloc(size + 1, 1);
    if (log && clGetProgramBuildInfo(program, b->device, CL_PROGRAM_BUILD_LOG, size, log, NULL) != CL_SUCCESS)
        log[0] = '\0';
    const clsample_status st = cls_fail_build(error, call, log);
    free(log);
    return st;
}

/* For one device only, even if the context has more. */
static clsample_status compile(build *b, cl_program *out)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int error = CL_SUCCESS;
    const char *text = (const char *)b->source->bytes;

    cl_program program = clCreateProgramWithSource(b->context, 1, &text, b->source->size, &error);
    CLS_CL(error, "clCreateProgramWithSource");
    error = clBuildProgram(program, 1, &b->device, b->options, NULL, NULL);
    if (error != CL_SUCCESS) CLS_TRY(fail_build(b, program, error));
    if (b->cache_dir) store(b, program);
    *out = program;
    program = NULL; /* the caller owns it now */
cleanup:
    if (program) clReleaseProgram(program);
    return st;
}

clsample_status cls_program_compile(cl_context context, cl_device_id device, const char *cache_dir,
                                    const cls_embedded *source, const char *options, cl_program *program)
{
    bool pocl = false;
    build b = { .context = context,
                .device = device,
                .source = source,
                .cache_dir = cache_dir && cache_dir[0] ? cache_dir : NULL };

    *program = NULL;
    /* PoCL keeps what it compiles itself, and compiles every kernel a second time when it is asked for a
     * binary, which at the first start would take longer than all the rest. */
    clsample_status st = b.cache_dir ? cls_is_pocl(device, &pocl) : CLSAMPLE_OK;
    if (pocl) b.cache_dir = NULL;
    if (st == CLSAMPLE_OK) st = make_build(&b, options);
    if (st != CLSAMPLE_OK) return st;
    if (b.cache_dir) *program = load(&b);
    return *program ? CLSAMPLE_OK : compile(&b, program);
}

clsample_status cls_program_build(cl_context context, cl_device_id device, const char *cache_dir,
                                  cls_source source, const char *options, cl_program *program)
{
    return cls_program_compile(context, device, cache_dir, &sources[source], options, program);
}
