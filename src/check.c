/* SPDX-License-Identifier: Apache-2.0 */
/* The known-answer test of a device: the canonical arithmetic on logits of every size, special values and
 * ties of rounding, against the host's results from the same source; and sums in local memory. */
#include "internal.h"

#include "../cl/check_case.h"

#include <stdlib.h>

#define CLS_CHECK_CASES 1024u
#define CLS_CHECK_GROUP 64u
#define CLS_CHECK_TURNS 200000u

/* What each word of cls_check_words() is about. */
static const char *const primitive[CLS_CHECK_WORDS] = {
    "the key of a logit",  "the exponent of a weight", "the mantissa of a weight",
    "the mass of a token", "a min-p threshold",        "a Philox random number",
    "a 128-bit product",   "a ratio of masses",        "a logarithm of masses",
};

typedef struct cls_check {
    cls_check_case cases[CLS_CHECK_CASES];
    cls_uint words[CLS_CHECK_CASES][CLS_CHECK_WORDS];
    cl_ulong masses[CLS_CHECK_GROUP];
    cls_uint sums[2];
    cls_uint turns;

    cl_program program;
    cl_command_queue queue;
    cl_kernel arithmetic, adding, loop;
    cl_mem case_mem, word_mem, mass_mem, sum_mem, turn_mem;
} cls_check;

/* Logits of all exponents and signs, special values first; temperatures from 1/128 to 1. */
static void make_cases(cls_check *c)
{
    static const cls_uint special[] = {
        0x00000000u, 0x80000000u, 0x00000001u, 0x80000001u, 0x007fffffu, 0x00800000u,
        0x7f7fffffu, 0xff7fffffu, 0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc00001u,
        0x3f800000u, 0xbf800000u, 0x21800000u, 0x217fffffu,
    };
    cls_uint state = 1;

    for (cls_uint i = 0; i < CLS_CHECK_CASES; i++) {
        cls_check_case *k = &c->cases[i];
        state = state * 1664525u + 1013904223u;
        k->seed = state ^ state >> 15;
        const float wide = (float)((int)(k->seed >> 8) - (1 << 23)) * 0x1p-18f; /* -32 to 32 */
        k->bits = i < CLS_COUNT(special) ? special[i] : i % 4 ? cls_bits_of(wide) : k->seed * 2654435761u;
        k->scale.c = 1.44269502f * (float)(1u << i % 8);
        k->scale.c_lo = 1.92596303e-8f * (float)(1u << i % 8);
        k->scale.limit = 0x1p30f / k->scale.c;
        k->min_p_hi = -3.0f - (float)(i % 64) * 0.25f;
        k->min_p_lo = (i & 1 ? -1.0f : 0.0f) * 1e-8f;
    }
    for (cls_uint i = 0; i < CLS_CHECK_GROUP; i++)
        c->masses[i] = 0xfedcba9876543210u >> i % 7;
}

static clsample_status make_objects(cls_check *c, cl_context context, cl_device_id device,
                                    const char *cache_dir)
{
    const cl_mem_flags in = CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;

    CLS_TRY(cls_program_build(context, device, cache_dir, CLS_SRC_CHECK, "", &c->program));
    c->queue = clCreateCommandQueue(context, device, 0, &err);
    CLS_CL(err, "clCreateCommandQueue");
    c->arithmetic = clCreateKernel(c->program, "cls_check", &err);
    CLS_CL(err, "clCreateKernel cls_check");
    c->adding = clCreateKernel(c->program, "cls_check_sums", &err);
    CLS_CL(err, "clCreateKernel cls_check_sums");
    c->loop = clCreateKernel(c->program, "cls_check_loop", &err);
    CLS_CL(err, "clCreateKernel cls_check_loop");
    c->case_mem = clCreateBuffer(context, in, sizeof c->cases, c->cases, &err);
    CLS_CL(err, "clCreateBuffer cases");
    c->word_mem = clCreateBuffer(context, CL_MEM_WRITE_ONLY, sizeof c->words, NULL, &err);
    CLS_CL(err, "clCreateBuffer words");
    c->mass_mem = clCreateBuffer(context, in, sizeof c->masses, c->masses, &err);
    CLS_CL(err, "clCreateBuffer masses");
    c->sum_mem = clCreateBuffer(context, CL_MEM_WRITE_ONLY, sizeof c->sums, NULL, &err);
    CLS_CL(err, "clCreateBuffer sums");
    c->turn_mem = clCreateBuffer(context, CL_MEM_WRITE_ONLY, sizeof c->turns, NULL, &err);
    CLS_CL(err, "clCreateBuffer turns");
cleanup:
    return st;
}

static clsample_status run_arithmetic(cls_check *c)
{
    const size_t cases = CLS_CHECK_CASES, group = CLS_CHECK_GROUP;
    clsample_status st = CLSAMPLE_OK;

    CLS_CL(clSetKernelArg(c->arithmetic, 0, sizeof c->case_mem, &c->case_mem), "clSetKernelArg cls_check");
    CLS_CL(clSetKernelArg(c->arithmetic, 1, sizeof c->word_mem, &c->word_mem), "clSetKernelArg cls_check");
    CLS_CL(clSetKernelArg(c->adding, 0, sizeof c->mass_mem, &c->mass_mem), "clSetKernelArg cls_check_sums");
    CLS_CL(clSetKernelArg(c->adding, 1, sizeof c->sum_mem, &c->sum_mem), "clSetKernelArg cls_check_sums");
    CLS_CL(clEnqueueNDRangeKernel(c->queue, c->arithmetic, 1, NULL, &cases, NULL, 0, NULL, NULL),
           "clEnqueueNDRangeKernel cls_check");
    CLS_CL(clEnqueueNDRangeKernel(c->queue, c->adding, 1, NULL, &group, &group, 0, NULL, NULL),
           "clEnqueueNDRangeKernel cls_check_sums");
    CLS_CL(clEnqueueReadBuffer(c->queue, c->word_mem, CL_TRUE, 0, sizeof c->words, c->words, 0, NULL, NULL),
           "clEnqueueReadBuffer words");
    CLS_CL(clEnqueueReadBuffer(c->queue, c->sum_mem, CL_TRUE, 0, sizeof c->sums, c->sums, 0, NULL, NULL),
           "clEnqueueReadBuffer sums");
cleanup:
    return st;
}

static clsample_status run_loop(cls_check *c, uint32_t *limit)
{
    const cl_uint turns = CLS_CHECK_TURNS, seed = 12345;
    const size_t one = 1;
    clsample_status st = CLSAMPLE_OK;

    CLS_CL(clSetKernelArg(c->loop, 0, sizeof turns, &turns), "clSetKernelArg cls_check_loop");
    CLS_CL(clSetKernelArg(c->loop, 1, sizeof seed, &seed), "clSetKernelArg cls_check_loop");
    CLS_CL(clSetKernelArg(c->loop, 2, sizeof c->turn_mem, &c->turn_mem), "clSetKernelArg cls_check_loop");
    CLS_CL(clEnqueueNDRangeKernel(c->queue, c->loop, 1, NULL, &one, NULL, 0, NULL, NULL),
           "clEnqueueNDRangeKernel cls_check_loop");
    CLS_CL(clEnqueueReadBuffer(c->queue, c->turn_mem, CL_TRUE, 0, sizeof c->turns, &c->turns, 0, NULL, NULL),
           "clEnqueueReadBuffer turns");
    *limit = c->turns == CLS_CHECK_TURNS ? UINT32_MAX : c->turns;
cleanup:
    return st;
}

static clsample_status compare(const cls_check *c)
{
    cl_ulong sum = 0;

    for (cls_uint i = 0; i < CLS_CHECK_CASES; i++) {
        cls_uint want[CLS_CHECK_WORDS];
        cls_check_words(c->cases[i], want);
        for (cls_uint w = 0; w < CLS_CHECK_WORDS; w++)
            if (c->words[i][w] != want[w])
                return cls_fail(CLSAMPLE_E_DEVICE,
                                "the self-check failed: %s is 0x%08x instead of 0x%08x for case %u",
                                primitive[w], (unsigned)c->words[i][w], (unsigned)want[w], (unsigned)i);
    }
    for (cls_uint i = 0; i < CLS_CHECK_GROUP; i++)
        sum += c->masses[i];
    if (c->sums[0] != (cls_uint)sum || c->sums[1] != (cls_uint)(sum >> 32))
        return cls_fail(CLSAMPLE_E_DEVICE,
                        "the self-check failed: a sum in local memory is 0x%08x%08x instead of 0x%016llx",
                        (unsigned)c->sums[1], (unsigned)c->sums[0], (unsigned long long)sum);
    return CLSAMPLE_OK;
}

static void free_check(cls_check *c)
{
    const cl_mem mem[] = { c->case_mem, c->word_mem, c->mass_mem, c->sum_mem, c->turn_mem };

    for (size_t i = 0; i < CLS_COUNT(mem); i++)
        if (mem[i]) clReleaseMemObject(mem[i]);
    if (c->arithmetic) clReleaseKernel(c->arithmetic);
    if (c->adding) clReleaseKernel(c->adding);
    if (c->loop) clReleaseKernel(c->loop);
    if (c->queue) clReleaseCommandQueue(c->queue);
    if (c->program) clReleaseProgram(c->program);
    free(c);
}

clsample_status cls_self_check(cl_context context, cl_device_id device, const char *cache_dir,
                               bool arithmetic, uint32_t *loop_limit)
{
    clsample_status st = CLSAMPLE_OK;
    cls_check *c = calloc(1, sizeof *c);

    if (!c) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the self-check (%zu bytes)", sizeof *c);
    make_cases(c);
    CLS_TRY(make_objects(c, context, device, cache_dir));
    CLS_TRY(run_loop(c, loop_limit));
    if (!arithmetic) goto cleanup;
    CLS_TRY(run_arithmetic(c));
    st = compare(c);
cleanup:
    free_check(c);
    return st;
}
