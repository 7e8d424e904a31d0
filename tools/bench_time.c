/* SPDX-License-Identifier: Apache-2.0 */
/* Time one configuration of `clsample bench`. The floor, the pipeline and the empty kernel take turns, so
 * that other work on the machine slows all three alike. */
#include "bench.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WARM 20
#define LEAST_REPS 3
#define MOST_REPS 1000000u

enum { FLOOR, PIPELINE, LAUNCH, SERIES };

double bench_now(void)
{
    struct timespec now = { 0, 0 };

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

bench_stats bench_summary(double *times, size_t count)
{
    if (count == 0) return (bench_stats){ NAN, NAN, NAN, NAN };
    qsort(times, count, sizeof *times, compare);
    return (bench_stats){ times[0], times[count / 4], times[count / 2], times[count - 1 - count / 4] };
}

/* ---- The pipeline ---- */

struct bench_job {
    const cli_device *device;
    const cli_logits *logits;
    clsample_ctx *ctx;
    clsample_params params;
    clsample_logits in;
    clsample_output out;
    int32_t *tokens; /* [rows]; owned, as is out.tokens */
    bench_floor floor;
    double *times[SERIES]; /* owned */
    size_t room, count;
};

/* From enqueue to the tokens on the host. */
static int run_pipeline(cli *c, bench_job *j)
{
    const size_t bytes = j->in.rows * sizeof *j->tokens;

    j->params.step++;
    if (clsample_enqueue(j->ctx, j->device->queue, &j->params, 1, &j->in, &j->out, 0, NULL, NULL) !=
        CLSAMPLE_OK)
        return cli_fail_library(c);
    const cl_int error =
        clEnqueueReadBuffer(j->device->queue, j->out.tokens, CL_TRUE, 0, bytes, j->tokens, 0, NULL, NULL);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clEnqueueReadBuffer tokens");
}

static int run_one(cli *c, bench_job *j, int series)
{
    if (series == PIPELINE) return run_pipeline(c, j);
    const cl_int error =
        series == FLOOR ? bench_floor_run(j->device, &j->floor) : bench_empty_run(j->device, &j->floor);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clEnqueueNDRangeKernel of bench.cl");
}

static bool grow(bench_job *j)
{
    const size_t room = j->room ? 2 * j->room : 256;

    for (int i = 0; i < SERIES; i++) {
        double *more = realloc(j->times[i], room * sizeof *more);
        if (!more) return false;
        j->times[i] = more;
    }
    j->room = room;
    return true;
}

static int run_turns(cli *c, bench_job *j, double seconds, uint32_t reps)
{
    int code = CLI_DONE;
    const double end = bench_now() + seconds * 1e6;
    const size_t most = reps ? reps : MOST_REPS;

    j->count = 0;
    while (j->count < most && (reps || j->count < LEAST_REPS || bench_now() < end)) {
        if (j->count == j->room && !grow(j)) return cli_fail_memory(c);
        for (int i = 0; i < SERIES; i++) {
            const double start = bench_now();
            if ((code = run_one(c, j, i)) != CLI_DONE) return code;
            j->times[i][j->count] = bench_now() - start;
        }
        j->count++;
    }
    return code;
}

static int warm_up(cli *c, bench_job *j, double seconds)
{
    const double end = bench_now() + seconds * 1e6;
    int code = CLI_DONE;

    for (int i = 0; i < WARM && code == CLI_DONE && (i < 1 || bench_now() < end); i++) {
        for (int k = 0; k < SERIES && code == CLI_DONE; k++)
            code = run_one(c, j, k);
    }
    return code;
}

/* ---- The builds ---- */

static void remove_folder(const char *folder)
{
    char path[1024];
    const struct dirent *entry = NULL;
    DIR *d = opendir(folder);

    while (d && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (d) closedir(d);
    rmdir(folder);
}

/* Milliseconds from clsample_create() to the first tokens on the host, in a context of its own. */
static int time_build(cli *c, bench_job *j, const char *cache, double *ms)
{
    clsample_options options = CLSAMPLE_OPTIONS_INIT;
    clsample_ctx *const kept = j->ctx;
    int code = CLI_DONE;

    options.cache_dir = cache;
    j->ctx = NULL;
    const double start = bench_now();
    if (clsample_create(j->device->context, j->device->info->device_id, &options, &j->ctx) != CLSAMPLE_OK)
        code = cli_fail_library(c);
    if (code == CLI_DONE) code = run_pipeline(c, j);
    *ms = (bench_now() - start) * 1e-3;
    clsample_destroy(j->ctx);
    j->ctx = kept;
    return code;
}

static int time_builds(cli *c, bench_job *j, bench_result *result)
{
    const char *base = getenv("TMPDIR");
    char folder[512];
    double filling = 0;

    snprintf(folder, sizeof folder, "%s/clsample-bench-XXXXXX", base && base[0] ? base : "/tmp");
    if (!mkdtemp(folder)) return cli_fail(c, CLI_FAILED, "E_OUTPUT", "%s: cannot be made", folder);
    int code = time_build(c, j, NULL, &result->build_cold_ms);
    if (code == CLI_DONE) code = time_build(c, j, folder, &filling);
    if (code == CLI_DONE) code = time_build(c, j, folder, &result->build_warm_ms);
    remove_folder(folder);
    return code;
}

/* ---- All of it ---- */

/* What clsample_enqueue() keeps on the device for such a call. */
static uint64_t scratch_bytes(const clsample_logits *logits)
{
    const uint64_t blocks = (logits->vocab + 63) / 64;

    return (12 * blocks + 32) * logits->rows;
}

static int prepare(cli *c, bench_job *j)
{
    const cli_logits *l = j->logits;
    const size_t bytes = (size_t)l->rows * l->vocab * cli_dtype_size(l->dtype);
    const size_t token_bytes = l->rows * sizeof *j->tokens;
    cl_int error = CL_SUCCESS;

    j->in.dtype = l->dtype;
    j->in.rows = l->rows;
    j->in.vocab = l->vocab;
    j->tokens = malloc(token_bytes);
    if (!j->tokens || !grow(j)) return cli_fail_memory(c);
    j->in.mem = cli_upload(c, j->device, l->data, bytes, "clCreateBuffer logits");
    if (!j->in.mem) return CLI_FAILED;
    j->out.tokens = clCreateBuffer(j->device->context, CL_MEM_WRITE_ONLY, token_bytes, NULL, &error);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clCreateBuffer tokens");
    const int code = bench_floor_open(c, j->device, l, &j->floor);
    return code == CLI_DONE ? bench_floor_tune(c, j->device, l, j->in.mem, &j->floor) : code;
}

bench_job *bench_open(cli *c, const cli_device *device, const cli_logits *logits, int *code)
{
    bench_job *j = calloc(1, sizeof *j);

    if (!j) {
        *code = cli_fail_memory(c);
        return NULL;
    }
    j->device = device;
    j->logits = logits;
    j->ctx = device->ctx;
    j->in = (clsample_logits)CLSAMPLE_LOGITS_INIT;
    j->out = (clsample_output)CLSAMPLE_OUTPUT_INIT;
    *code = prepare(c, j);
    if (*code != CLI_DONE) {
        bench_close(j);
        return NULL;
    }
    return j;
}

void bench_close(bench_job *j)
{
    if (!j) return;
    clFinish(j->device->queue); /* after a failure earlier commands may still use the buffers */
    bench_floor_close(&j->floor);
    if (j->out.tokens) clReleaseMemObject(j->out.tokens);
    if (j->in.mem) clReleaseMemObject(j->in.mem);
    free(j->tokens);
    for (int i = 0; i < SERIES; i++)
        free(j->times[i]);
    free(j);
}

int bench_measure(cli *c, bench_job *j, const bench_setting *setting, double seconds, uint32_t reps,
                  bool builds, bench_result *r)
{
    *r = (bench_result){ .device = j->device,
                         .logits = j->logits,
                         .setting = setting,
                         .build_cold_ms = NAN,
                         .build_warm_ms = NAN };
    j->params = setting->params;
    int code = builds ? time_builds(c, j, r) : CLI_DONE;
    if (code == CLI_DONE) code = warm_up(c, j, seconds);
    if (code == CLI_DONE) code = run_turns(c, j, seconds, reps);
    if (code != CLI_DONE) return code;
    r->floor = bench_summary(j->times[FLOOR], j->count);
    r->pipeline = bench_summary(j->times[PIPELINE], j->count);
    r->launch = bench_summary(j->times[LAUNCH], j->count);
    r->ratio = r->pipeline.median / r->floor.median;
    r->reps = j->count;
    r->scratch_bytes = scratch_bytes(&j->in);
    r->floor_groups = j->floor.global / j->floor.local;
    r->floor_local = j->floor.local;
    return CLI_DONE;
}
