/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of `clsample bench`: the fastest read-only maximum that we know how to write for a device. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LANES 256u
#define MAX_PER_UNIT 32u /* groups for each compute unit */
#define MOST_LAYOUTS 16
#define TUNE_WARM 3u
#define TUNE_REPS 50u
#define TUNE_TIME 1e6 /* microseconds, after which one repetition is enough */

extern const unsigned char cls_embedded_bench[];

static size_t most_groups(const cli_device *device)
{
    return (size_t)MAX_PER_UNIT * (device->info->compute_units ? device->info->compute_units : 1);
}

static size_t lanes_of(const cli_device *device)
{
    size_t lanes = LANES;

    while (lanes > 1 && lanes > device->info->max_work_group)
        lanes /= 2;
    return lanes;
}

static int fail_build(cli *c, cl_program program, cl_device_id id, cl_int error)
{
    size_t size = 0;

    free(c->log);
    c->log = NULL;
    clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *log = calloc(1, size + 1);
    if (log && clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, size, log, NULL) == CL_SUCCESS) {
        c->log = log;
        log = NULL;
    }
    free(log);
    return cli_fail_opencl(c, error, "clBuildProgram bench.cl");
}

static int build(cli *c, const cli_device *device, uint32_t dtype, bench_floor *floor)
{
    const char *text = (const char *)cls_embedded_bench;
    const cl_device_id id = device->info->device_id;
    cl_int error = CL_SUCCESS;
    char options[96];

    floor->max_local = lanes_of(device);
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DBENCH_DTYPE=%u -DBENCH_LANES=%u", (unsigned)dtype,
             (unsigned)floor->max_local);
    floor->program = clCreateProgramWithSource(device->context, 1, &text, NULL, &error);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clCreateProgramWithSource bench.cl");
    error = clBuildProgram(floor->program, 1, &id, options, NULL, NULL);
    if (error != CL_SUCCESS) return fail_build(c, floor->program, id, error);
    floor->stretch = clCreateKernel(floor->program, "bench_stretch", &error);
    if (error == CL_SUCCESS) floor->lanes = clCreateKernel(floor->program, "bench_lanes", &error);
    if (error == CL_SUCCESS) floor->empty = clCreateKernel(floor->program, "bench_empty", &error);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clCreateKernel bench.cl");
}

int bench_floor_open(cli *c, const cli_device *device, const cli_logits *logits, bench_floor *floor)
{
    cl_int error = CL_SUCCESS;

    *floor = (bench_floor){ .program = NULL };
    const int code = build(c, device, logits->dtype, floor);
    if (code != CLI_DONE) return code;
    const size_t bytes = (most_groups(device) + logits->rows) * cli_dtype_size(logits->dtype);
    floor->best = clCreateBuffer(device->context, CL_MEM_WRITE_ONLY, bytes, NULL, &error);
    if (error == CL_SUCCESS) error = clSetKernelArg(floor->empty, 0, sizeof floor->best, &floor->best);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clCreateBuffer maxima");
}

void bench_floor_close(bench_floor *floor)
{
    if (floor->best) clReleaseMemObject(floor->best);
    if (floor->empty) clReleaseKernel(floor->empty);
    if (floor->lanes) clReleaseKernel(floor->lanes);
    if (floor->stretch) clReleaseKernel(floor->stretch);
    if (floor->program) clReleaseProgram(floor->program);
    *floor = (bench_floor){ .program = NULL };
}

static cl_int run(cl_command_queue queue, cl_kernel kernel, size_t global, size_t local)
{
    const cl_int error = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &local, 0, NULL, NULL);

    return error == CL_SUCCESS ? clFinish(queue) : error;
}

cl_int bench_floor_use(const bench_floor *floor, cl_mem mem)
{
    return clSetKernelArg(floor->kernel, 0, sizeof mem, &mem);
}

cl_int bench_floor_run(const cli_device *device, const bench_floor *floor)
{
    return run(device->queue, floor->kernel, floor->global, floor->local);
}

cl_int bench_empty_run(const cli_device *device, const bench_floor *floor)
{
    return run(device->queue, floor->empty, 1, 1);
}

/* ---- Tuning ---- */

typedef struct layout {
    cl_kernel kernel;
    size_t groups;
    uint32_t chunks;
    double times[TUNE_REPS];
    double median;
} layout;

/* Lay `kernel` out over `groups`, or as many as there is work for. */
static void lay_out(layout *to, cl_kernel kernel, const cli_logits *l, size_t groups)
{
    const size_t most_chunks = (l->vocab + 63) / 64;
    size_t chunks = (groups + l->rows - 1) / l->rows;

    if (chunks > most_chunks) chunks = most_chunks;
    to->kernel = kernel;
    to->groups = groups < chunks * l->rows ? groups : chunks * l->rows;
    to->chunks = (uint32_t)chunks;
}

/* Both kernels in 1 group, and 1, 2, 4, ... for each compute unit. Returns how many layouts there are. */
static size_t list_layouts(const cli_device *device, const bench_floor *floor, const cli_logits *l,
                           layout *list)
{
    const cl_kernel kernels[2] = { floor->stretch, floor->lanes };
    const size_t units = most_groups(device) / MAX_PER_UNIT;
    size_t count = 0;

    for (size_t i = 0; i < 2; i++) {
        const size_t first = count;
        for (size_t groups = 1; groups <= most_groups(device) && count < MOST_LAYOUTS;
             groups = groups < units ? units : 2 * groups) {
            lay_out(&list[count], kernels[i], l, groups);
            if (count == first || list[count].groups != list[count - 1].groups) count++;
        }
    }
    return count;
}

static cl_int use_layout(bench_floor *floor, const layout *chosen, const cli_logits *l, cl_mem mem)
{
    const cl_kernel kernel = chosen->kernel;

    floor->kernel = kernel;
    floor->chunks = chosen->chunks;
    floor->local = kernel == floor->lanes ? floor->max_local : 1;
    floor->global = chosen->groups * floor->local;
    cl_int error = clSetKernelArg(kernel, 0, sizeof mem, &mem);
    if (error == CL_SUCCESS) error = clSetKernelArg(kernel, 1, sizeof l->rows, &l->rows);
    if (error == CL_SUCCESS) error = clSetKernelArg(kernel, 2, sizeof l->vocab, &l->vocab);
    if (error == CL_SUCCESS) error = clSetKernelArg(kernel, 3, sizeof floor->chunks, &floor->chunks);
    if (error == CL_SUCCESS) error = clSetKernelArg(kernel, 4, sizeof floor->best, &floor->best);
    return error;
}

/* Run the layouts in turns, so that noise hits all alike; the first turns do not count. */
static cl_int time_layouts(const cli_device *device, bench_floor *floor, const cli_logits *l, cl_mem mem,
                           layout *list, size_t count)
{
    const double begin = bench_now();
    size_t reps = 0;

    for (size_t turn = 0; turn < TUNE_WARM + TUNE_REPS; turn++) {
        if (turn > TUNE_WARM && bench_now() - begin > TUNE_TIME) break;
        reps = turn < TUNE_WARM ? 0 : turn - TUNE_WARM;
        for (size_t i = 0; i < count; i++) {
            cl_int error = use_layout(floor, &list[i], l, mem);
            const double start = bench_now();
            if (error == CL_SUCCESS) error = bench_floor_run(device, floor);
            if (error != CL_SUCCESS) return error;
            list[i].times[reps] = bench_now() - start;
        }
    }
    for (size_t i = 0; i < count; i++)
        list[i].median = bench_summary(list[i].times, reps + 1).median;
    return CL_SUCCESS;
}

/* The order of stored logits as integers: NaN aside, larger numbers have larger keys. */
static int32_t key_at(const unsigned char *data, size_t i, uint32_t dtype)
{
    int32_t wide = 0;
    int16_t narrow = 0;

    if (dtype == CLSAMPLE_F32) {
        memcpy(&wide, data + 4 * i, sizeof wide);
        return wide < 0 ? wide ^ INT32_MAX : wide;
    }
    memcpy(&narrow, data + 2 * i, sizeof narrow);
    return narrow < 0 ? narrow ^ INT16_MAX : narrow;
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* The key of maximum `i` as the kernels leave it: a float, or a key already. */
static int32_t result_at(const unsigned char *best, size_t i, uint32_t dtype)
{
    int16_t narrow = 0;

    if (dtype == CLSAMPLE_F32) return key_at(best, i, dtype);
    memcpy(&narrow, best + 2 * i, sizeof narrow);
    return narrow;
}

/* Compare each row's maximum with the host's. */
static int check(cli *c, const cli_device *device, const cli_logits *l, const bench_floor *floor)
{
    const size_t tasks = (size_t)l->rows * floor->chunks;
    const size_t bytes = tasks * cli_dtype_size(l->dtype);
    unsigned char *best = malloc(bytes);
    cl_int error = CL_SUCCESS;
    int code = CLI_DONE;

    if (!best) return cli_fail_memory(c);
    error = clEnqueueReadBuffer(device->queue, floor->best, CL_TRUE, 0, bytes, best, 0, NULL, NULL);
    if (error != CL_SUCCESS) code = cli_fail_opencl(c, error, "clEnqueueReadBuffer maxima");
    for (uint32_t row = 0; row < l->rows && code == CLI_DONE; row++) {
        const unsigned char *data = l->data + (size_t)row * l->vocab * cli_dtype_size(l->dtype);
        int32_t want = INT32_MIN, got = INT32_MIN;
        for (uint32_t i = 0; i < l->vocab; i++)
            want = larger(want, key_at(data, i, l->dtype));
        for (uint32_t i = 0; i < floor->chunks; i++)
            got = larger(got, result_at(best, (size_t)row * floor->chunks + i, l->dtype));
        if (got != want) {
            code = cli_fail(c, CLI_FAILED, "E_DEVICE",
                            "the maximum of row %" PRIu32 " that this device finds is not its maximum", row);
        }
    }
    free(best);
    return code;
}

int bench_floor_tune(cli *c, const cli_device *device, const cli_logits *logits, cl_mem mem,
                     bench_floor *floor)
{
    layout list[MOST_LAYOUTS];
    size_t best = 0;

    const size_t count = list_layouts(device, floor, logits, list);
    cl_int error = time_layouts(device, floor, logits, mem, list, count);
    for (size_t i = 1; i < count && error == CL_SUCCESS; i++) {
        if (list[i].median < list[best].median) best = i;
    }
    if (error == CL_SUCCESS) error = use_layout(floor, &list[best], logits, mem);
    if (error == CL_SUCCESS) error = bench_floor_run(device, floor);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clEnqueueNDRangeKernel of bench.cl");
    return check(c, device, logits, floor);
}
