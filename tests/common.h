/* SPDX-License-Identifier: Apache-2.0 */
/* What the device tests share: one device, random rows, the test data, and calls of the library whose outputs
 * lie between guard words. A helper that fails ends the running test with a message, so callers need not
 * check.
 *
 * Environment:
 *   CLSAMPLE_TEST_DEVICE  a selector as clsample_devices_select takes it; unset = the best device
 *   CLSAMPLE_TEST_SPEED   "full", "slow" or "simulated": how much to ask of it; unset = by its name
 *   CLSAMPLE_TEST_DATA    the folder of the test data; unset = the one set at build time
 *   CLSAMPLE_CACHE        the folder for compiled kernels, "off" for none
 * */
#ifndef CLSAMPLE_TESTS_COMMON_H
#define CLSAMPLE_TESTS_COMMON_H

#include "clsample.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define POISON 0xCA /* outputs hold this byte before a call: what was not written shows */

/* ck_cl: an OpenCL call must work. ck_ok: a call of the library must, else its message is shown. */
#define ck_cl(expression) ck_assert_int_eq((expression), CL_SUCCESS)
#define ck_ok(expression)                                                                \
    do {                                                                                 \
        const clsample_status ck_status_ = (expression);                                 \
        ck_assert_msg(ck_status_ == CLSAMPLE_OK, "%s: %s: %s", #expression,              \
                      clsample_status_name(ck_status_), clsample_last_error()->message); \
    } while (0)

/* ck_assert_msg for inner loops: costs nothing while it holds. */
#define REQUIRE(condition, ...)                          \
    do {                                                 \
        if (!(condition)) { ck_abort_msg(__VA_ARGS__); } \
    } while (0)

/* ---- The device ---- */

/* How much work a device gets: the same kinds everywhere, but fewer and smaller cases where it is slow. */
typedef enum test_speed {
    SPEED_FULL,     /* a GPU, or a CPU whose driver compiles for it */
    SPEED_SLOW,     /* a GPU played by a CPU, or a sanitizer: some 30 times slower */
    SPEED_SIMULATED /* each instruction interpreted: some 1000 times slower */
} test_speed;

typedef struct test_device {
    cl_device_id id;
    cl_context context;
    cl_command_queue queue; /* in-order */
    clsample_ctx *ctx;
    char name[256]; /* "platform / device" */
    test_speed speed;
} test_device;
extern test_device dev;

/* Run the suite on the device: the whole main() of a test program. 0 passed, 1 failed, 77 no device to test
 * on. */
int test_main(Suite *(*make)(void));
/* The number for the device's speed. One below `full` is printed: "left out: what, 4 instead of 100 (slow
 * device)". */
uint32_t test_scaled(const char *what, uint32_t full, uint32_t slow, uint32_t simulated);
/* Options as test_main uses them: the cache folder of the environment, and small groups on a simulator. */
clsample_options test_options(void);

/* ---- Random numbers and rows ---- */

typedef struct test_rng {
    uint64_t state; /* any value is a seed */
} test_rng;
uint64_t rng_next(test_rng *r);
/* In [0, 1), 53 bits. */
double rng_unit(test_rng *r);
/* Below n, which is at least 1; its bias is below n / 2^64. */
uint32_t rng_below(test_rng *r, uint32_t n);
double rng_normal(test_rng *r);

typedef enum test_shape {
    SHAPE_NORMAL,
    SHAPE_FLAT,     /* all within +-0.2: the case without a small nucleus */
    SHAPE_PEAKY,    /* a few logits far above the rest, as a language model gives */
    SHAPE_TIES,     /* multiples of 1/2: many equal logits */
    SHAPE_MASKED,   /* two thirds are -inf */
    SHAPE_NEGATIVE, /* around -80 */
    SHAPE_WIDE,     /* hundreds apart: one token has it all */
    SHAPE_COUNT
} test_shape;
const char *shape_name(test_shape shape);
void row_random(float *x, size_t n, test_shape shape, uint64_t seed);

/* Round to nearest even, and back; NaN stays NaN. */
uint16_t half_from_float(float x);
float half_to_float(uint16_t h);
uint16_t bf16_from_float(float x);
float bf16_to_float(uint16_t h);
/* The elements of `dtype` nearest to x, as a buffer would hold them: malloc'd, n elements. */
void *dtype_convert(const float *x, size_t n, uint32_t dtype);
size_t dtype_size(uint32_t dtype);

/* malloc that ends the test instead of returning NULL. */
void *test_alloc(size_t bytes);
/* Make a folder of a test's own where temporary files go; `path`, of `size` bytes, takes its name. */
void test_make_folder(char *path, size_t size);

/* ---- Test data: for use inside tests and their fixtures, as all helpers that check ---- */

/* A file of tests/data for reading, for fclose(). */
FILE *data_open(const char *file);

/* A float32 [rows, columns] array of a .npy file, version 1, malloc'd. */
float *npy_load(const char *file, uint32_t *rows, uint32_t *columns);

typedef struct id_set {
    bool present; /* the case says nothing about this set if false */
    uint32_t count;
    int32_t *ids; /* ascending */
} id_set;

/* A line of filters.jsonl: what three published implementations keep of the same logits. */
typedef struct golden_case {
    char name[64];
    uint32_t vocab;
    float *x;
    clsample_params params; /* seed rules */
    int32_t greedy;
    id_set min_p, top_k, top_p; /* after each stage of the article's code that is on */
    id_set kept;                /* after the last */
    uint32_t n_probs;
    double *probs; /* of the first n_probs ids of `kept` */
    id_set transformers, llama_cpp;
} golden_case;
golden_case *golden_load(size_t *count);
void golden_free(golden_case *cases, size_t count);

/* ---- Calls of the library ---- */

/* A queue of the device; NULL if it has none that are out of order, which it need not have. */
cl_command_queue dev_make_queue(bool out_of_order);
cl_mem dev_buffer(size_t bytes);
cl_mem dev_upload(const void *host, size_t bytes);
void dev_download(cl_mem mem, size_t offset, void *host, size_t bytes);
/* Fill with POISON. */
void dev_poison(cl_mem mem, size_t bytes);
/* Is every byte still POISON? */
bool is_poison(const void *bytes, size_t size);

clsample_params params_default(void);
clsample_params params_of(float temperature, float min_p, uint32_t top_k, float top_p, uint32_t rules);
clsample_logits logits_of(cl_mem mem, uint32_t dtype, uint32_t rows, uint32_t vocab);

/* A token for each row, through clsample_enqueue on dev.queue, into results[rows]. Checks that both output
 * buffers agree and that the guard words round them are whole. */
void dev_draw(const clsample_params *params, uint32_t n_params, const clsample_logits *in,
              clsample_result *results);
/* The same for float32 rows of the host. */
void host_draw(const clsample_params *params, uint32_t n_params, const float *x, uint32_t rows,
               uint32_t vocab, clsample_result *results);
/* clsample_enqueue_filter into out[rows * vocab], between guard words. */
void dev_filter(const clsample_params *params, uint32_t n_params, const clsample_logits *in,
                clsample_filter_output what, float *out);
void host_filter(const clsample_params *params, uint32_t n_params, const float *x, uint32_t rows,
                 uint32_t vocab, clsample_filter_output what, float *out);

#endif
