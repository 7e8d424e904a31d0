/* SPDX-License-Identifier: Apache-2.0 */
/* A device's kernels and scratch memory. */
#include "context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLS_LOCAL_MEMORY (32u * 1024u)
#define CLS_WORK_GROUP_MAX 256u
#define CLS_BLOCK_GROUP_MAX 64u /* so many blocks fit the local memory */
/* For a CPU compiler that makes vectors of work-items: llvmpipe loses the results of smaller groups. */
#define CLS_ROW_GROUP_LANES 8u

void cls_device_string(cl_device_id device, cl_device_info what, char *out, size_t size)
{
    size_t need = 0;

    out[0] = 0;
    if (clGetDeviceInfo(device, what, 0, NULL, &need) != CL_SUCCESS || need == 0 || need > 65536) return;
    char *text = malloc(need + 1);
    if (!text) return;
    if (clGetDeviceInfo(device, what, need, text, NULL) == CL_SUCCESS) {
        text[need] = 0;
        snprintf(out, size, "%s", text);
    }
    free(text);
}

static clsample_status device_uint(cl_device_id device, cl_device_info what, const char *name, uint64_t *out)
{
    union {
        cl_bool flag;
        cl_uint word;
        cl_ulong wide;
        size_t size;
    } value = { .wide = 0 };
    size_t got = 0;
    const cl_int err = clGetDeviceInfo(device, what, sizeof value, &value, &got);

    if (err != CL_SUCCESS)
        return cls_fail(CLSAMPLE_E_DEVICE, "clGetDeviceInfo %s failed: %s (%d)", name, cls_cl_error_name(err),
                        (int)err);
    *out = got == sizeof value.word ? value.word : value.wide;
    return CLSAMPLE_OK;
}

clsample_status cls_device_usable(cl_device_id device)
{
    static const struct {
        cl_device_info what;
        const char *name;
        uint64_t least;
        const char *without;
    } need[] = {
        { CL_DEVICE_AVAILABLE, "CL_DEVICE_AVAILABLE", 1, "the driver says that it is not available" },
        { CL_DEVICE_COMPILER_AVAILABLE, "CL_DEVICE_COMPILER_AVAILABLE", 1, "it has no compiler for kernels" },
        { CL_DEVICE_ENDIAN_LITTLE, "CL_DEVICE_ENDIAN_LITTLE", 1, "it is big-endian" },
        { CL_DEVICE_LOCAL_MEM_SIZE, "CL_DEVICE_LOCAL_MEM_SIZE", CLS_LOCAL_MEMORY,
          "it has less than 32 KiB of local memory" },
        { CL_DEVICE_MAX_PARAMETER_SIZE, "CL_DEVICE_MAX_PARAMETER_SIZE", 256,
          "it takes less than 256 bytes of kernel arguments" },
    };

    for (size_t i = 0; i < CLS_COUNT(need); i++) {
        uint64_t value = 0;
        const clsample_status st = device_uint(device, need[i].what, need[i].name, &value);
        if (st != CLSAMPLE_OK) return st;
        if (value < need[i].least)
            return cls_fail(CLSAMPLE_E_DEVICE, "the device cannot be used: %s", need[i].without);
    }
    return CLSAMPLE_OK;
}

/* PoCL 3.1 needs 20 s to compile cls_pick for groups of 2, and more than ten minutes for groups of 8. */
static bool is_pocl(cl_device_id device)
{
    char version[256];

    cls_device_string(device, CL_DEVICE_VERSION, version, sizeof version);
    return strstr(version, "PoCL") != NULL;
}

/* One row is chosen by one group. A CPU device runs a group's items one after another on one core: a single
 * one that works on vectors is best, unless the compiler makes vectors of neighbouring items and reports a
 * native width of 1. A GPU wants many. */
static clsample_status choose_groups(clsample_ctx *ctx, uint32_t wanted)
{
    uint64_t type = 0, width = 0, largest = 0;
    clsample_status st = device_uint(ctx->device, CL_DEVICE_TYPE, "CL_DEVICE_TYPE", &type);

    if (st == CLSAMPLE_OK)
        st = device_uint(ctx->device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT,
                         "CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT", &width);
    if (st == CLSAMPLE_OK)
        st = device_uint(ctx->device, CL_DEVICE_MAX_WORK_GROUP_SIZE, "CL_DEVICE_MAX_WORK_GROUP_SIZE",
                         &largest);
    if (st != CLSAMPLE_OK) return st;
    if (wanted > CLS_WORK_GROUP_MAX || (wanted & (wanted - 1)) != 0)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "options.work_group is %u; it must be 0 (by device) or a power of two up to %u",
                        (unsigned)wanted, CLS_WORK_GROUP_MAX);
    if (wanted > largest)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.work_group is %u; this device takes at most %llu",
                        (unsigned)wanted, (unsigned long long)largest);
    const bool cpu = type & CL_DEVICE_TYPE_CPU;
    ctx->vectors = cpu && width > 1;
    ctx->block_group = wanted         ? CLS_MIN(wanted, CLS_BLOCK_GROUP_MAX)
                       : ctx->vectors ? 16
                                      : CLS_BLOCK_GROUP_MAX;
    ctx->row_group = wanted ? wanted : ctx->vectors ? 1 : CLS_WORK_GROUP_MAX;
    if (cpu && !ctx->vectors) ctx->row_group = CLS_MAX(ctx->row_group, CLS_ROW_GROUP_LANES);
    if (is_pocl(ctx->device)) ctx->row_group = 1;
    ctx->block_group = CLS_MIN(ctx->block_group, (uint32_t)largest);
    while (ctx->row_group > largest)
        ctx->row_group /= 2;
    return CLSAMPLE_OK;
}

static clsample_status check_options(const clsample_options *options, clsample_options *out)
{
    *out = (clsample_options)CLSAMPLE_OPTIONS_INIT;
    if (!options) return CLSAMPLE_OK;
    const clsample_status st = cls_copy_struct(out, sizeof *out, sizeof *out, options, "options");
    if (st != CLSAMPLE_OK) return st;
    if (out->flags & ~CLSAMPLE_NO_SELF_CHECK || out->reserved)
        return cls_fail(CLSAMPLE_E_VERSION,
                        "options.flags is 0x%x and options.reserved is %u; this library knows only "
                        "CLSAMPLE_NO_SELF_CHECK (0x1) and 0",
                        (unsigned)out->flags, (unsigned)out->reserved);
    return CLSAMPLE_OK;
}

clsample_status clsample_create(cl_context context, cl_device_id device, const clsample_options *options,
                                clsample_ctx **out)
{
    clsample_status st = CLSAMPLE_OK;
    clsample_options opt;

    if (!out) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must point to where the context goes");
    *out = NULL;
    if (!context || !device)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "%s is NULL; it must be an OpenCL %s",
                        context ? "device" : "context", context ? "device" : "context");
    if ((st = check_options(options, &opt)) != CLSAMPLE_OK) return st;
    if ((st = cls_device_usable(device)) != CLSAMPLE_OK) return st;

    clsample_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for a context of %zu bytes", sizeof *ctx);
    CLS_CL(clRetainContext(context), "clRetainContext");
    ctx->context = context;
    ctx->loop_limit = UINT32_MAX;
    ctx->device = device; /* a root device needs no reference; a sub-device lives as long as its context */
    if (opt.cache_dir && opt.cache_dir[0]) {
        const size_t size = strlen(opt.cache_dir) + 1;
        ctx->cache_dir = malloc(size);
        if (!ctx->cache_dir) {
            st = cls_fail(CLSAMPLE_E_MEMORY, "no memory for options.cache_dir (%zu bytes)", size);
            goto cleanup;
        }
        memcpy(ctx->cache_dir, opt.cache_dir, size);
    }
    CLS_TRY(choose_groups(ctx, opt.work_group));
    CLS_TRY(cls_self_check(context, device, ctx->cache_dir, !(opt.flags & CLSAMPLE_NO_SELF_CHECK),
                           &ctx->loop_limit));
    *out = ctx;
    ctx = NULL;
cleanup:
    clsample_destroy(ctx);
    return st;
}

static void free_staging(cls_staging *s)
{
    if (s->done) clReleaseEvent(s->done);
    if (s->mem) clReleaseMemObject(s->mem);
    free(s->host);
    free(s);
}

static void CL_CALLBACK staging_done(cl_event event, cl_int status, void *staging)
{
    (void)event;
    (void)status;
    free_staging(staging);
}

/* Host memory that a command may still read goes when that command has ended. */
static void release_staging(cls_staging *s)
{
    cl_int status = CL_COMPLETE;

    if (s->done &&
        clGetEventInfo(s->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
            CL_SUCCESS &&
        status > CL_COMPLETE && clSetEventCallback(s->done, CL_COMPLETE, staging_done, s) == CL_SUCCESS)
        return;
    free_staging(s);
}

static void release_mem(cl_mem mem)
{
    if (mem) clReleaseMemObject(mem);
}
static void release_kernel(cl_kernel kernel)
{
    if (kernel) clReleaseKernel(kernel);
}

void clsample_destroy(clsample_ctx *ctx)
{
    if (!ctx) return;
    for (size_t i = 0; i < CLS_DTYPES; i++) {
        release_kernel(ctx->kernels[i].summary);
        release_kernel(ctx->kernels[i].pick);
        release_kernel(ctx->kernels[i].mask);
    }
    while (ctx->staging) {
        cls_staging *s = ctx->staging;
        ctx->staging = s->next;
        release_staging(s);
    }
    release_mem(ctx->scratch.block);
    release_mem(ctx->scratch.cut);
    release_mem(ctx->host_logits);
    release_mem(ctx->host_results);
    if (ctx->last) clReleaseEvent(ctx->last);
    if (ctx->last_queue) clReleaseCommandQueue(ctx->last_queue);
    if (ctx->queue) clReleaseCommandQueue(ctx->queue);
    if (ctx->context) clReleaseContext(ctx->context);
    free(ctx->cache_dir);
    free(ctx);
}

/* ---- What a call needs ---- */

/* The longest way through cls_pick: each pass over a work-item's share of the tokens, the histograms and the
 * scans. */
clsample_status cls_check_loops(const clsample_ctx *ctx, uint32_t blocks)
{
    const uint64_t share = (blocks + ctx->row_group - 1) / ctx->row_group;
    const uint64_t turns = 24 * share * (CLS_BLOCK + 1) + 8192;

    if (turns <= ctx->loop_limit) return CLSAMPLE_OK;
    return cls_fail(
        CLSAMPLE_E_DEVICE,
        "the driver of this device ends a work-item's loops after %u iterations; %u logits a row with "
        "groups of %u may take %llu: use a larger work_group, a smaller vocab or another device",
        (unsigned)ctx->loop_limit, (unsigned)(blocks * CLS_BLOCK), (unsigned)ctx->row_group,
        (unsigned long long)turns);
}

static clsample_status need_kernel(clsample_ctx *ctx, uint32_t dtype, cls_source source, uint32_t group,
                                   const char *name, cl_kernel *kernel)
{
    clsample_status st = CLSAMPLE_OK;
    cl_program program = NULL;
    cl_int err = CL_SUCCESS;
    char options[96];

    if (*kernel) return CLSAMPLE_OK;
    snprintf(options, sizeof options, "-DCLS_DTYPE=%u -DCLS_WG=%u -DCLS_VECTORS=%d", (unsigned)dtype,
             (unsigned)group, ctx->vectors ? 1 : 0);
    CLS_TRY(cls_program_build(ctx->context, ctx->device, ctx->cache_dir, source, options, &program));
    *kernel = clCreateKernel(program, name, &err);
    CLS_CL(err, name);
cleanup:
    if (program) clReleaseProgram(program); /* the kernel keeps it */
    return st;
}

clsample_status cls_need_kernels(clsample_ctx *ctx, uint32_t dtype, bool mask)
{
    cls_kernels *k = &ctx->kernels[dtype];
    clsample_status st =
        need_kernel(ctx, dtype, CLS_SRC_SUMMARY, ctx->block_group, "cls_summary", &k->summary);

    if (st == CLSAMPLE_OK) st = need_kernel(ctx, dtype, CLS_SRC_PICK, ctx->row_group, "cls_pick", &k->pick);
    if (st == CLSAMPLE_OK && mask)
        st = need_kernel(ctx, dtype, CLS_SRC_MASK, ctx->block_group, "cls_mask", &k->mask);
    return st;
}

/* Replace *mem by a buffer of `size` bytes. The old one lives on under commands that still use it. */
static clsample_status replace_mem(clsample_ctx *ctx, cl_mem *mem, size_t size, const char *call)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;
    const cl_mem fresh = clCreateBuffer(ctx->context, CL_MEM_READ_WRITE, size, NULL, &err);

    CLS_CL(err, call);
    release_mem(*mem);
    *mem = fresh;
cleanup:
    return st;
}

clsample_status cls_need_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t blocks)
{
    cls_scratch *s = &ctx->scratch;
    const size_t all = (size_t)rows * blocks;
    clsample_status st = CLSAMPLE_OK;

    if (all > s->blocks) {
        s->blocks = 0;
        CLS_TRY(replace_mem(ctx, &s->block, all * 3 * sizeof(cl_uint),
                            "clCreateBuffer scratch of block summaries"));
        s->blocks = all;
    }
    if (rows > s->rows) {
        s->rows = 0;
        CLS_TRY(replace_mem(ctx, &s->cut, rows * sizeof(cls_cut), "clCreateBuffer scratch of rows"));
        s->rows = rows;
    }
cleanup:
    return st;
}

static bool staging_is_free(const cls_staging *s, uint32_t rows)
{
    cl_int status = CL_COMPLETE;

    if (s->rows < rows) return false;
    if (!s->done) return true;
    return clGetEventInfo(s->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL) ==
               CL_SUCCESS &&
           status <= CL_COMPLETE;
}

clsample_status cls_need_staging(clsample_ctx *ctx, uint32_t rows, cls_staging **out)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;
    cls_staging *fresh = NULL;

    for (cls_staging *s = ctx->staging; s; s = s->next) {
        if (!staging_is_free(s, rows)) continue;
        if (s->done) clReleaseEvent(s->done);
        s->done = NULL;
        *out = s;
        return CLSAMPLE_OK;
    }
    fresh = calloc(1, sizeof *fresh);
    if (fresh) fresh->host = malloc(rows * sizeof *fresh->host);
    if (!fresh || !fresh->host) {
        st = cls_fail(CLSAMPLE_E_MEMORY, "no memory for the parameters of %u rows", (unsigned)rows);
        goto cleanup;
    }
    fresh->mem = clCreateBuffer(ctx->context, CL_MEM_READ_ONLY, rows * sizeof *fresh->host, NULL, &err);
    CLS_CL(err, "clCreateBuffer parameters");
    fresh->rows = rows;
    fresh->next = ctx->staging;
    ctx->staging = *out = fresh;
    fresh = NULL;
cleanup:
    if (fresh) free_staging(fresh);
    return st;
}

clsample_status cls_need_host(clsample_ctx *ctx, size_t logits_size, uint32_t rows)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;

    if (!ctx->queue) {
        ctx->queue = clCreateCommandQueue(ctx->context, ctx->device, 0, &err);
        CLS_CL(err, "clCreateCommandQueue");
    }
    if (logits_size > ctx->host_logits_size) {
        ctx->host_logits_size = 0;
        CLS_TRY(replace_mem(ctx, &ctx->host_logits, logits_size, "clCreateBuffer logits"));
        ctx->host_logits_size = logits_size;
    }
    if (rows > ctx->host_rows) {
        ctx->host_rows = 0;
        CLS_TRY(
            replace_mem(ctx, &ctx->host_results, rows * sizeof(clsample_result), "clCreateBuffer results"));
        ctx->host_rows = rows;
    }
cleanup:
    return st;
}
