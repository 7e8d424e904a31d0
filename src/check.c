/* SPDX-License-Identifier: Apache-2.0 */
/* The known-answer test of a device: the canonical arithmetic on logits of every size, special values and
 * ties of rounding, against the host's results from the same source; and sums in local memory. */
#include "internal.h"

#include "../cl/shared/check_case.h"

#include <stdlib.h>

#define CLS_CHECK_CASES 1024u
#define CLS_CHECK_GROUPS (CLS_CHECK_CASES / CLS_CHECK_GROUP)
#define CLS_CHECK_TURNS 70000u /* one driver stops at 65535 */

/* What each word of cls_check_words() is about. */
static const char *const primitive[CLS_CHECK_WORDS] = {
    [CLS_CHECK_KEY] = "the key of a logit",
    [CLS_CHECK_HALF] = "a half as a float",
    [CLS_CHECK_EXPONENT] = "the exponent of a weight",
    [CLS_CHECK_MANTISSA] = "the mantissa of a weight",
    [CLS_CHECK_LANES] = "a sum of four weights at a time",
    [CLS_CHECK_MASS] = "the mass of a token",
    [CLS_CHECK_MIN_P] = "a min-p threshold",
    [CLS_CHECK_BAND] = "a min-p threshold with the band",
    [CLS_CHECK_QUOTIENT] = "a logit divided by a temperature",
    [CLS_CHECK_RANDOM] = "a Philox random number",
    [CLS_CHECK_PRODUCT] = "a 128-bit product",
    [CLS_CHECK_RATIO] = "a ratio of masses",
    [CLS_CHECK_LOG] = "a logarithm of masses",
    [CLS_CHECK_FMA] = "an fma near a tie",
    [CLS_CHECK_EDITED] = "a logit with a bias",
    [CLS_CHECK_FIXED] = "a logit as a fixed-point number",
    [CLS_CHECK_MOMENTS] = "the moments of logits",
    [CLS_CHECK_SIGMA] = "a threshold in deviations",
    [CLS_CHECK_WEIGHTED] = "a sum of weighted logits",
    [CLS_CHECK_GAP] = "a mean of logits",
    [CLS_CHECK_NEARNESS] = "a nearness to the mean",
    [CLS_CHECK_INTERVAL] = "an interval around the mean",
};

/* What the kernel writes beside the words. */
typedef struct cls_check_report {
    cls_uint sums[CLS_CHECK_GROUPS][2];
    cls_uint seen[2], turns, arrived;
} cls_check_report;

enum { CASES, WORDS, SUMS, SEEN, TURNS, ARRIVED, BUFFERS };

typedef struct cls_check {
    cls_check_case cases[CLS_CHECK_CASES];
    cls_uint words[CLS_CHECK_CASES][CLS_CHECK_WORDS];
    cls_check_report report;

    cl_program program;
    cl_command_queue queue;
    cl_kernel kernel;
    cl_mem mem[BUFFERS];
} cls_check;

/* Logits of all exponents and signs, special values first; temperatures from 1/128 to 1 for weights, and from
 * 2^-7 to 2^3 as divisors. */
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
        k->scale.small = 0x1p16f / k->scale.c;
        k->scale.limit = 0x1p30f / k->scale.c;
        k->min_p_hi = -3.0f - (float)(i % 64) * 0.25f;
        k->min_p_lo = (i & 1 ? -1.0f : 0.0f) * 1e-8f;
        k->divisor = cls_float_of(0x3c000000u + k->seed % 0x05000000u);
        k->inverse = 1.0f / k->divisor;
    }
    c->report.turns = CLS_CHECK_TURNS;
}

static clsample_status make_objects(cls_check *c, cl_context context, cl_device_id device,
                                    const char *cache_dir, bool cpu)
{
    const struct {
        size_t size;
        void *host;
    } buffer[BUFFERS] = {
        [CASES] = { sizeof c->cases, c->cases },
        [WORDS] = { sizeof c->words, c->words },
        [SUMS] = { sizeof c->report.sums, c->report.sums },
        [SEEN] = { sizeof c->report.seen, c->report.seen },
        [TURNS] = { sizeof c->report.turns, &c->report.turns },
        [ARRIVED] = { sizeof c->report.arrived, &c->report.arrived },
    };
    const cl_uint together = cpu;
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;

    CLS_TRY(
        cls_program_build(context, device, cache_dir, CLS_SRC_CHECK, CLS_CHECK_OPTIONS(cpu), &c->program));
    c->queue = clCreateCommandQueue(context, device, 0, &err);
    CLS_CL(err, "clCreateCommandQueue");
    c->kernel = clCreateKernel(c->program, "cls_check", &err);
    CLS_CL(err, "clCreateKernel cls_check");
    for (cl_uint i = 0; i < BUFFERS; i++) {
        c->mem[i] = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, buffer[i].size,
                                   buffer[i].host, &err);
        CLS_CL(err, "clCreateBuffer self-check");
        CLS_CL(clSetKernelArg(c->kernel, i, sizeof c->mem[i], &c->mem[i]), "clSetKernelArg cls_check");
    }
    CLS_CL(clSetKernelArg(c->kernel, BUFFERS, sizeof together, &together), "clSetKernelArg cls_check");
cleanup:
    return st;
}

static clsample_status run(cls_check *c)
{
    const size_t items = CLS_CHECK_CASES, group = CLS_CHECK_GROUP;
    cls_check_report *r = &c->report;
    clsample_status st = CLSAMPLE_OK;

    CLS_CL(clEnqueueNDRangeKernel(c->queue, c->kernel, 1, NULL, &items, &group, 0, NULL, NULL),
           "clEnqueueNDRangeKernel cls_check");
    CLS_CL(clEnqueueReadBuffer(c->queue, c->mem[WORDS], CL_TRUE, 0, sizeof c->words, c->words, 0, NULL, NULL),
           "clEnqueueReadBuffer words");
    CLS_CL(clEnqueueReadBuffer(c->queue, c->mem[SUMS], CL_TRUE, 0, sizeof r->sums, r->sums, 0, NULL, NULL),
           "clEnqueueReadBuffer sums");
    CLS_CL(clEnqueueReadBuffer(c->queue, c->mem[SEEN], CL_TRUE, 0, sizeof r->seen, r->seen, 0, NULL, NULL),
           "clEnqueueReadBuffer sum of sums");
    CLS_CL(
        clEnqueueReadBuffer(c->queue, c->mem[TURNS], CL_TRUE, 0, sizeof r->turns, &r->turns, 0, NULL, NULL),
        "clEnqueueReadBuffer turns");
cleanup:
    return st;
}

static cl_ulong joined(const cls_uint *halves)
{
    return (cl_ulong)halves[1] << 32 | halves[0];
}

static clsample_status compare(const cls_check *c)
{
    cl_ulong sum = 0;

    for (cls_uint i = 0; i < CLS_CHECK_CASES; i++) {
        cls_uint want[CLS_CHECK_WORDS];
        cls_check_words(c->cases[i], want);
        cls_check_facts(c->cases[i], want);
        for (cls_uint w = 0; w < CLS_CHECK_WORDS; w++)
            if (c->words[i][w] != want[w])
                return cls_fail(CLSAMPLE_E_DEVICE,
                                "the self-check failed: %s is 0x%08x instead of 0x%08x for case %u",
                                primitive[w], (unsigned)c->words[i][w], (unsigned)want[w], (unsigned)i);
        sum += (cl_ulong)want[CLS_CHECK_RANDOM] * want[CLS_CHECK_PRODUCT];
        if ((i + 1) % CLS_CHECK_GROUP != 0) continue;
        const cl_ulong got = joined(c->report.sums[i / CLS_CHECK_GROUP]);
        if (got != sum)
            return cls_fail(CLSAMPLE_E_DEVICE,
                            "the self-check failed: a sum in local memory is 0x%016llx instead of 0x%016llx",
                            (unsigned long long)got, (unsigned long long)sum);
        sum = 0;
    }
    return CLSAMPLE_OK;
}

/* Did the last group see what the others wrote? */
static bool hands_over(const cls_check *c)
{
    cl_ulong sum = 0;

    for (cls_uint g = 0; g < CLS_CHECK_GROUPS; g++)
        sum += joined(c->report.sums[g]);
    return joined(c->report.seen) == sum;
}

static void free_check(cls_check *c)
{
    for (size_t i = 0; i < BUFFERS; i++)
        if (c->mem[i]) clReleaseMemObject(c->mem[i]);
    if (c->kernel) clReleaseKernel(c->kernel);
    if (c->queue) clReleaseCommandQueue(c->queue);
    if (c->program) clReleaseProgram(c->program);
    free(c);
}

clsample_status cls_self_check(cl_context context, cl_device_id device, const char *cache_dir,
                               bool arithmetic, bool cpu, cls_abilities *found)
{
    clsample_status st = CLSAMPLE_OK;
    cls_check *c = calloc(1, sizeof *c);

    if (!c) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the self-check (%zu bytes)", sizeof *c);
    make_cases(c);
    CLS_TRY(make_objects(c, context, device, cache_dir, cpu));
    CLS_TRY(run(c));
    found->loop_limit = c->report.turns >= CLS_CHECK_TURNS ? UINT32_MAX : c->report.turns;
    found->hands_over = cpu && hands_over(c);
    if (arithmetic) st = compare(c);
cleanup:
    free_check(c);
    return st;
}
