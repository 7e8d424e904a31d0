/* SPDX-License-Identifier: Apache-2.0 */
/* A device's kernels and scratch memory. */
#include "context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLS_LOCAL_MEMORY (32u * 1024u)
#define CLS_WORK_GROUP_MIN 8u /* llvmpipe loses the results of smaller groups */
#define CLS_WORK_GROUP_MAX 256u
#define CLS_GROUPS_A_UNIT 2u /* so that a core that is busy otherwise does less */
#define CLS_GROUPS_MAX 4096u

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

/* A CPU device runs a group's items one after another on one core: a single one that works on vectors is
 * best, unless the compiler makes vectors of neighbouring items and reports a native width of 1. A GPU wants
 * many. */
static clsample_status choose_tuning(clsample_ctx *ctx, const clsample_options *options)
{
    uint64_t type = 0, width = 0, largest = 0, units = 0;
    cls_tuning *t = &ctx->tuning;
    clsample_status st = device_uint(ctx->device, CL_DEVICE_TYPE, "CL_DEVICE_TYPE", &type);

    if (st == CLSAMPLE_OK)
        st = device_uint(ctx->device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT,
                         "CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT", &width);
    if (st == CLSAMPLE_OK)
        st = device_uint(ctx->device, CL_DEVICE_MAX_WORK_GROUP_SIZE, "CL_DEVICE_MAX_WORK_GROUP_SIZE",
                         &largest);
    if (st == CLSAMPLE_OK)
        st = device_uint(ctx->device, CL_DEVICE_MAX_COMPUTE_UNITS, "CL_DEVICE_MAX_COMPUTE_UNITS", &units);
    if (st != CLSAMPLE_OK) return st;
    if (options->work_group > largest)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.work_group is %u; this device takes at most %llu",
                        (unsigned)options->work_group, (unsigned long long)largest);
    const bool cpu = type & CL_DEVICE_TYPE_CPU;
    t->vectors = options->flags & CLSAMPLE_FORCE_VECTORS  ? true
                 : options->flags & CLSAMPLE_FORCE_GROUPS ? false
                                                          : cpu && width > 1;
    t->cpu = cpu;
    t->lanes = options->lanes ? options->lanes : width >= 16 ? 16 : width >= 8 ? 8 : 4;
    t->groups = options->groups ? options->groups
                                : (uint32_t)CLS_MIN(CLS_GROUPS_A_UNIT * CLS_MAX(units, 1u), CLS_GROUPS_MAX);
    t->one_launch = !(options->flags & CLSAMPLE_FORCE_TWO_LAUNCHES);
    t->work_group = options->work_group ? options->work_group : CLS_WORK_GROUP_MAX;
    while (t->work_group > largest && t->work_group > CLS_WORK_GROUP_MIN)
        t->work_group /= 2;
    t->no_candidates = options->flags & CLSAMPLE_FORCE_ROW_SEARCH;
    t->command_buffers = !cpu || options->flags & CLSAMPLE_FORCE_COMMAND_BUFFERS;
    return CLSAMPLE_OK;
}

#define CLS_KNOWN_FLAGS                                                                                      \
    (CLSAMPLE_NO_SELF_CHECK | CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_GROUPS | CLSAMPLE_FORCE_TWO_LAUNCHES | \
     CLSAMPLE_FORCE_ROW_SEARCH | CLSAMPLE_FORCE_COMMAND_BUFFERS)

static clsample_status check_sizes(const clsample_options *o)
{
    if (o->work_group && (o->work_group < CLS_WORK_GROUP_MIN || o->work_group > CLS_WORK_GROUP_MAX ||
                          (o->work_group & (o->work_group - 1))))
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "options.work_group is %u; it must be 0 (by device) or a power of two from %u to %u",
                        (unsigned)o->work_group, CLS_WORK_GROUP_MIN, CLS_WORK_GROUP_MAX);
    if (o->lanes && o->lanes != 4 && o->lanes != 8 && o->lanes != 16)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.lanes is %u; it must be 0 (by device), 4, 8 or 16",
                        (unsigned)o->lanes);
    if (o->groups > CLS_GROUPS_MAX)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.groups is %u; it must be 0 (by device) or 1 to %u",
                        (unsigned)o->groups, CLS_GROUPS_MAX);
    return CLSAMPLE_OK;
}

clsample_status cls_check_options(const clsample_options *options, clsample_options *out)
{
    *out = (clsample_options)CLSAMPLE_OPTIONS_INIT;
    if (!options) return CLSAMPLE_OK;
    const clsample_status st = cls_copy_struct(out, sizeof *out, sizeof *out, options, "options");
    if (st != CLSAMPLE_OK) return st;
    if (out->flags & ~CLS_KNOWN_FLAGS || out->reserved)
        return cls_fail(CLSAMPLE_E_VERSION,
                        "options.flags is 0x%x and options.reserved is %u; this library knows only the bits "
                        "0x%x and 0",
                        (unsigned)out->flags, (unsigned)out->reserved, CLS_KNOWN_FLAGS);
    if (out->flags & CLSAMPLE_FORCE_VECTORS && out->flags & CLSAMPLE_FORCE_GROUPS)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "options.flags is 0x%x; of FORCE_VECTORS and FORCE_GROUPS at most one may be set",
                        (unsigned)out->flags);
    return check_sizes(out);
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
    if ((st = cls_check_options(options, &opt)) != CLSAMPLE_OK) return st;
    if ((st = cls_device_usable(device)) != CLSAMPLE_OK) return st;

    clsample_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for a context of %zu bytes", sizeof *ctx);
    CLS_CL(clRetainContext(context), "clRetainContext");
    ctx->context = context;
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
    CLS_TRY(choose_tuning(ctx, &opt));
    CLS_TRY(cls_self_check(context, device, ctx->cache_dir, !(opt.flags & CLSAMPLE_NO_SELF_CHECK),
                           ctx->tuning.cpu, &ctx->abilities));
    if (!ctx->abilities.hands_over) ctx->tuning.one_launch = false;
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
        release_kernel(ctx->kernels[i].step);
        release_kernel(ctx->kernels[i].summary);
        release_kernel(ctx->kernels[i].choice);
        release_kernel(ctx->kernels[i].mask);
    }
    while (ctx->staging) {
        cls_staging *s = ctx->staging;
        ctx->staging = s->next;
        release_staging(s);
    }
    release_mem(ctx->scratch.mem);
    release_mem(ctx->arrived);
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

/* Loop iterations on the longest way through a choice. In the form for GPUs a work-item goes some 20 times
 * over its share of the tokens, and sorts, scans and gathers; in the other a single one goes over all blocks.
 * */
static uint64_t most_turns(const cls_tuning *t, uint32_t vocab)
{
    const uint64_t blocks = cls_blocks(vocab), group = t->work_group;

    if (t->vectors) return 24 * blocks * (CLS_BLOCK / t->lanes + 16) + 16384;
    return 21 * ((blocks + group - 1) / group) * CLS_BLOCK + 8192 + 262144 / group;
}

clsample_status cls_check_loops(const clsample_ctx *ctx, uint32_t vocab)
{
    const cls_tuning *t = &ctx->tuning;
    const uint64_t turns = most_turns(t, vocab);

    if (turns <= ctx->abilities.loop_limit) return CLSAMPLE_OK;
    return cls_fail(
        CLSAMPLE_E_DEVICE,
        "the driver of this device ends a work-item's loops after %u iterations; %u logits a row with "
        "groups of %u may take %llu: use a larger work_group, a smaller vocab or another device",
        (unsigned)ctx->abilities.loop_limit, (unsigned)vocab, (unsigned)(t->vectors ? 1 : t->work_group),
        (unsigned long long)turns);
}

static clsample_status need_kernel(clsample_ctx *ctx, uint32_t dtype, cls_source source, uint32_t group,
                                   const char *name, cl_kernel *kernel)
{
    clsample_status st = CLSAMPLE_OK;
    cl_program program = NULL;
    cl_int err = CL_SUCCESS;
    char options[160];

    if (*kernel) return CLSAMPLE_OK;
    snprintf(options, sizeof options,
             "-DCLS_DTYPE=%u -DCLS_WG=%u -DCLS_LANES=%u -DCLS_KEEP_CALLS=%d -DCLS_CANDIDATES_OFF=%d",
             (unsigned)dtype, (unsigned)group, (unsigned)ctx->tuning.lanes, ctx->tuning.cpu,
             ctx->tuning.no_candidates);
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
    const cls_tuning *t = &ctx->tuning;
    clsample_status st = CLSAMPLE_OK;

    if (t->vectors) {
        CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_VECTOR, 1, "cls_step", &k->step));
    } else {
        CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_SUMMARY, t->work_group, "cls_summary", &k->summary));
        CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_CHOICE, t->work_group, "cls_choice", &k->choice));
    }
    if (mask) CLS_TRY(need_kernel(ctx, dtype, CLS_SRC_MASK, CLS_BLOCK, "cls_mask", &k->mask));
cleanup:
    return st;
}

size_t clsample_scratch_size(uint32_t rows, uint32_t vocab)
{
    if (vocab == 0 || vocab > CLSAMPLE_MAX_VOCAB) return 0;
    return rows * CLS_ROW_SCRATCH((size_t)cls_tiles(vocab), (size_t)cls_blocks(vocab));
}

/* The groups that share a row count themselves there. */
clsample_status cls_make_arrived(clsample_ctx *ctx, cl_mem *arrived)
{
    clsample_status st = CLSAMPLE_OK;
    const size_t size = ctx->tuning.groups * sizeof(cl_uint);
    cl_int err = CL_SUCCESS;

    void *zeros = calloc(1, size);
    if (!zeros) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for %u counters", (unsigned)ctx->tuning.groups);
    *arrived = clCreateBuffer(ctx->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, size, zeros, &err);
    CLS_CL(err, "clCreateBuffer counters");
cleanup:
    free(zeros);
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

clsample_status cls_make_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab, cls_scratch *scratch)
{
    const size_t size = clsample_scratch_size(rows, vocab);
    clsample_status st = CLSAMPLE_OK;

    scratch->size = scratch->offset = 0;
    CLS_TRY(replace_mem(ctx, &scratch->mem, size, "clCreateBuffer scratch"));
    scratch->size = size;
cleanup:
    return st;
}

clsample_status cls_need_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab)
{
    const size_t size = clsample_scratch_size(rows, vocab);
    cls_scratch *s = &ctx->scratch;
    clsample_status st = CLSAMPLE_OK;

    if (!ctx->arrived) CLS_TRY(cls_make_arrived(ctx, &ctx->arrived));
    if (size <= s->size) return CLSAMPLE_OK;
    if (s->borrowed)
        return cls_fail(CLSAMPLE_E_BUFFER,
                        "the scratch memory given has %zu bytes; %u rows of %u logits need %zu", s->size,
                        (unsigned)rows, (unsigned)vocab, size);
    CLS_TRY(cls_make_scratch(ctx, rows, vocab, s));
cleanup:
    return st;
}

clsample_status clsample_set_scratch(clsample_ctx *ctx, cl_mem mem, size_t offset, size_t size)
{
    clsample_status st = CLSAMPLE_OK;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    if (mem) CLS_TRY(cls_check_mem(ctx, mem, offset, 16, size, "scratch"));
    if (mem) CLS_CL(clRetainMemObject(mem), "clRetainMemObject");
    release_mem(ctx->scratch.mem);
    ctx->scratch = (cls_scratch){
        .mem = mem, .offset = mem ? offset : 0, .size = mem ? size : 0, .borrowed = mem != NULL
    };
cleanup:
    return st;
}

clsample_status clsample_reserve(clsample_ctx *ctx, uint32_t dtype, uint32_t rows, uint32_t vocab)
{
    clsample_logits shape = CLSAMPLE_LOGITS_INIT, checked;
    clsample_status st = CLSAMPLE_OK;
    cls_staging *unused = NULL;
    size_t bytes = 0;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    shape.dtype = dtype;
    shape.rows = rows;
    shape.vocab = vocab;
    CLS_TRY(cls_check_logits(&shape, &checked, &bytes));
    CLS_TRY(cls_check_loops(ctx, vocab));
    CLS_TRY(cls_need_kernels(ctx, dtype, false));
    CLS_TRY(cls_need_scratch(ctx, rows, vocab));
    CLS_TRY(cls_need_staging(ctx, rows, &unused));
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
