/* SPDX-License-Identifier: Apache-2.0 */
/* Time one configuration of `clsample bench`, or two contexts for `clsample tune`. What is compared takes
 * turns, so that other work on the machine slows it all alike. */
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
#define COLD_BYTES ((uint64_t)1 << 30) /* more than caches have, and read before anything comes again */

enum { FLOOR, PIPELINE, LAUNCH, SERIES }; /* of `clsample bench` */
enum { FIRST, SECOND, CONTEXTS };         /* of `clsample tune` */

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
    cl_mem *copies; /* [n_copies] of the logits; owned */
    size_t n_copies, next;
    clsample_logits in;
    clsample_output out;
    int32_t *tokens; /* [rows]; owned, as is out.tokens */
    bench_floor floor;
    clsample_ctx *contexts[CONTEXTS]; /* NULL, or what takes turns instead of floor, pipeline and launch */
    int32_t *others;                  /* [rows], the tokens of the first of them; owned */
    double *times[SERIES];            /* owned */
    size_t room, count;
};

/* From enqueue to the tokens on the host. */
static int run_pipeline(cli *c, bench_job *j, clsample_ctx *ctx)
{
    const size_t bytes = j->in.rows * sizeof *j->tokens;

    if (clsample_enqueue(ctx, j->device->queue, &j->params, 1, &j->in, &j->out, 0, NULL, NULL) != CLSAMPLE_OK)
        return cli_fail_library(c);
    const cl_int error =
        clEnqueueReadBuffer(j->device->queue, j->out.tokens, CL_TRUE, 0, bytes, j->tokens, 0, NULL, NULL);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clEnqueueReadBuffer tokens");
}

static int run_one(cli *c, bench_job *j, int series)
{
    if (j->contexts[FIRST]) return run_pipeline(c, j, j->contexts[series]);
    if (series == PIPELINE) return run_pipeline(c, j, j->ctx);
    const cl_int error =
        series == FLOOR ? bench_floor_run(j->device, &j->floor) : bench_empty_run(j->device, &j->floor);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clEnqueueNDRangeKernel of bench.cl");
}

/* The copy that has not been read for longest. */
static int use_next_copy(cli *c, bench_job *j)
{
    if (j->n_copies == 1) return CLI_DONE;
    j->in.mem = j->copies[j->next];
    j->next = (j->next + 1) % j->n_copies;
    const cl_int error = bench_floor_use(&j->floor, j->in.mem);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clSetKernelArg of bench.cl");
}

/* What is measured in turns, once each at the same step; `times` (may be NULL) is by series. Two contexts
 * must draw the same tokens, or one of them is of no use. */
static int run_turn(cli *c, bench_job *j, double *times)
{
    const size_t bytes = j->in.rows * sizeof *j->tokens;
    const bool two = j->contexts[FIRST] != NULL;

    j->params.step++;
    for (int i = 0; i < (two ? CONTEXTS : SERIES); i++) {
        int code = use_next_copy(c, j);
        if (code != CLI_DONE) return code;
        const double start = bench_now();
        code = run_one(c, j, i);
        if (code != CLI_DONE) return code;
        if (times) times[i] = bench_now() - start;
        if (two && i == FIRST) memcpy(j->others, j->tokens, bytes);
    }
    if (!two || memcmp(j->others, j->tokens, bytes) == 0) return CLI_DONE;
    return cli_fail(c, CLI_FAILED, "E_DEVICE", "two tunings drew different tokens: the driver is at fault");
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
        double times[SERIES] = { 0 };
        if ((code = run_turn(c, j, times)) != CLI_DONE) return code;
        for (int i = 0; i < SERIES; i++)
            j->times[i][j->count] = times[i];
        j->count++;
    }
    return code;
}

static int warm_up(cli *c, bench_job *j, double seconds)
{
    const double end = bench_now() + seconds * 1e6;
    int code = CLI_DONE;

    for (int i = 0; i < WARM && code == CLI_DONE && (i < 1 || bench_now() < end); i++)
        code = run_turn(c, j, NULL);
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
    clsample_ctx *ctx = NULL;
    int code = CLI_DONE;

    options.cache_dir = cache;
    const double start = bench_now();
    if (clsample_create(j->device->context, j->device->info->device_id, &options, &ctx) != CLSAMPLE_OK)
        code = cli_fail_library(c);
    if (code == CLI_DONE) code = run_pipeline(c, j, ctx);
    *ms = (bench_now() - start) * 1e-3;
    clsample_destroy(ctx);
    return code;
}

static int time_builds(cli *c, bench_job *j, bench_result *result)
{
    const char *base = getenv("TMPDIR");
    char folder[512];
    double filling = 0;

    const int length =
        snprintf(folder, sizeof folder, "%s/clsample-bench-XXXXXX", base && base[0] ? base : "/tmp");
    cli_mark_cut(folder, sizeof folder, length); /* which mkdtemp() refuses */
    if (!mkdtemp(folder)) return cli_fail(c, CLI_FAILED, "E_OUTPUT", "%s: cannot be made", folder);
    int code = time_build(c, j, NULL, &result->build_cold_ms);
    if (code == CLI_DONE) code = time_build(c, j, folder, &filling);
    if (code == CLI_DONE) code = time_build(c, j, folder, &result->build_warm_ms);
    remove_folder(folder);
    return code;
}

/* ---- All of it ---- */

/* The copies that are made so far count even after a failure: bench_close() releases them. */
static int upload(cli *c, bench_job *j, bool cold)
{
    const cli_logits *l = j->logits;
    const size_t bytes = (size_t)l->rows * l->vocab * cli_dtype_size(l->dtype);
    const size_t wanted = cold ? 1 + (size_t)((COLD_BYTES + bytes - 1) / bytes) : 1;

    j->copies = calloc(wanted, sizeof *j->copies);
    if (!j->copies) return cli_fail_memory(c);
    for (; j->n_copies < wanted; j->n_copies++) {
        j->copies[j->n_copies] = cli_upload(c, j->device, l->data, bytes, "clCreateBuffer logits");
        if (!j->copies[j->n_copies]) return CLI_FAILED;
    }
    j->in.mem = j->copies[0];
    return CLI_DONE;
}

static int prepare(cli *c, bench_job *j, bool cold)
{
    const cli_logits *l = j->logits;
    const size_t token_bytes = l->rows * sizeof *j->tokens;
    cl_int error = CL_SUCCESS;

    j->in.dtype = l->dtype;
    j->in.rows = l->rows;
    j->in.vocab = l->vocab;
    j->tokens = malloc(token_bytes);
    j->others = malloc(token_bytes);
    if (!j->tokens || !j->others || !grow(j)) return cli_fail_memory(c);
    const int code = upload(c, j, cold);
    if (code != CLI_DONE) return code;
    j->out.tokens = clCreateBuffer(j->device->context, CL_MEM_WRITE_ONLY, token_bytes, NULL, &error);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clCreateBuffer tokens");
}

/* The floor is only made for those who measure it. */
static int prepare_floor(cli *c, bench_job *j)
{
    if (j->floor.kernel) return CLI_DONE;
    bench_floor_close(&j->floor);
    const int code = bench_floor_open(c, j->device, j->logits, &j->floor);
    return code == CLI_DONE ? bench_floor_tune(c, j->device, j->logits, j->in.mem, &j->floor) : code;
}

bench_job *bench_open(cli *c, const cli_device *device, const cli_logits *logits, bool cold, int *code)
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
    *code = prepare(c, j, cold);
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
    for (size_t i = 0; i < j->n_copies; i++)
        clReleaseMemObject(j->copies[i]);
    free(j->copies);
    free(j->tokens);
    free(j->others);
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
    int code = prepare_floor(c, j);
    if (code == CLI_DONE && builds) code = time_builds(c, j, r);
    if (code == CLI_DONE) code = warm_up(c, j, seconds);
    if (code == CLI_DONE) code = run_turns(c, j, seconds, reps);
    if (code != CLI_DONE) return code;
    r->floor = bench_summary(j->times[FLOOR], j->count);
    r->pipeline = bench_summary(j->times[PIPELINE], j->count);
    r->launch = bench_summary(j->times[LAUNCH], j->count);
    r->ratio = r->pipeline.median / r->floor.median;
    r->reps = j->count;
    r->scratch_bytes = clsample_scratch_size(j->in.rows, j->in.vocab);
    r->floor_groups = j->floor.global / j->floor.local;
    r->floor_local = j->floor.local;
    r->copies = j->n_copies;
    return CLI_DONE;
}

int bench_compare(cli *c, bench_job *j, const bench_setting *setting, clsample_ctx *first,
                  clsample_ctx *second, double seconds, bench_stats stats[2])
{
    j->params = setting->params;
    j->contexts[FIRST] = first;
    j->contexts[SECOND] = second;
    int code = warm_up(c, j, seconds);
    if (code == CLI_DONE) code = run_turns(c, j, seconds, 0);
    for (int i = 0; code == CLI_DONE && i < CONTEXTS; i++)
        stats[i] = bench_summary(j->times[i], j->count);
    j->contexts[FIRST] = j->contexts[SECOND] = NULL;
    return code;
}
