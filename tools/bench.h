/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `clsample bench` and `clsample tune` share. Times are in microseconds of
 * CLOCK_MONOTONIC. */
#ifndef BENCH_H
#define BENCH_H

#include "sampling.h"

/* ---- bench_logits.c: synthetic logits, the same on every machine ---- */

typedef enum bench_kind {
    BENCH_LLM, /* normal with deviation 2, and 60 tokens raised by 14 to 4, like a model sure of some words */
    BENCH_FLAT /* standard normal: nothing stands out, the hard case for top-p */
} bench_kind;

/* Fill logits->data for its dtype, rows and vocab. Row r repeats row r - n where n rows have 2^22 logits or
 * more: the generator is slow, and the device reads every row from its own memory all the same. */
int bench_make_logits(cli *c, bench_kind kind, cli_logits *logits);
/* Add 2 or -2 to so many logits, at most all, spread over the vocabulary: to what params.bias has already.
 * The list lives until cli_finish(). Returns an exit code. */
int bench_add_biases(cli *c, uint32_t count, uint32_t vocab, clsample_params *params);

/* ---- bench_floor.c: the read-only maximum, and the empty kernel ---- */

typedef struct bench_floor {
    cl_program program;
    cl_kernel stretch, lanes, empty;
    cl_mem best;
    cl_kernel kernel; /* the faster of the two, with its global and local size; borrowed */
    size_t global, local;
    uint32_t chunks;
    size_t max_local;
} bench_floor;

/* Build the kernels for a dtype and rows; bench_floor_close() is due either way. Returns an exit code. */
int bench_floor_open(cli *c, const cli_device *device, const cli_logits *logits, bench_floor *floor);
/* Try both kernels in several numbers of groups and keep the fastest; a failure if its maxima are wrong. */
int bench_floor_tune(cli *c, const cli_device *device, const cli_logits *logits, cl_mem mem,
                     bench_floor *floor);
void bench_floor_close(bench_floor *floor);
/* Read these logits from now on. */
cl_int bench_floor_use(const bench_floor *floor, cl_mem mem);
/* One run from enqueue to finish. */
cl_int bench_floor_run(const cli_device *device, const bench_floor *floor);
cl_int bench_empty_run(const cli_device *device, const bench_floor *floor);

/* ---- bench_time.c ---- */

double bench_now(void);

typedef struct bench_stats {
    double min, quarter, median, three_quarters;
} bench_stats;

/* Sorts `times` in place. */
bench_stats bench_summary(double *times, size_t count);

typedef struct bench_setting {
    const char *name;
    uint32_t kind; /* a bench_kind; CLI_UNSET where the logits come from a file */
    clsample_params params;
    uint32_t biases; /* logits that bench_add_biases() is to change */
} bench_setting;

typedef struct bench_result {
    const cli_device *device; /* what was measured */
    const cli_logits *logits;
    const bench_setting *setting;
    bench_stats floor, launch, pipeline;
    double ratio; /* median of the pipeline over median of the floor */
    size_t reps;
    double build_cold_ms, build_warm_ms; /* NAN if not measured */
    uint64_t scratch_bytes;
    size_t floor_groups, floor_local; /* the launch that was fastest */
    size_t copies;                    /* of the logits, read in turns */
} bench_result;

typedef struct bench_job bench_job; /* logits on a device */

/* `device` and `logits` must outlive the job. `cold` = so many copies of the logits in turns that each read
 * comes from memory, not from a cache. NULL on failure, which is noted, with its exit code in *code. */
bench_job *bench_open(cli *c, const cli_device *device, const cli_logits *logits, bool cold, int *code);
void bench_close(bench_job *job);
/* Measure for so many seconds, or if not 0 so many repetitions; `builds` = the compilation too. */
int bench_measure(cli *c, bench_job *job, const bench_setting *setting, double seconds, uint32_t reps,
                  bool builds, bench_result *result);
/* Measure the pipelines of two contexts of the job's device in turns. A failure if their tokens differ. */
int bench_compare(cli *c, bench_job *job, const bench_setting *setting, clsample_ctx *first,
                  clsample_ctx *second, double seconds, bench_stats stats[2]);

/* ---- bench_report.c ---- */

extern const char *const bench_dtype_names[]; /* by clsample_dtype; ends with NULL */
extern const char *const bench_kind_names[];  /* by bench_kind; ends with NULL */

/* The command's object for one configuration; NULL when out of memory. */
json_t *bench_json(const bench_result *r);
void bench_print(const bench_result *r);
void bench_print_table_head(void);
void bench_print_table_row(const bench_result *r);
void bench_print_csv_head(void);
void bench_print_csv_row(const bench_result *r);

#endif
