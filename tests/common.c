/* SPDX-License-Identifier: Apache-2.0 */
/* See common.h. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef CLSAMPLE_TEST_DATA
#define CLSAMPLE_TEST_DATA "tests/data"
#endif
#define GUARD 64u /* bytes of poison before and after each output: keeps every alignment that is asked for */

#define SIMULATED_GROUP 16u

test_device dev;

/* ---- The device ---- */

clsample_options test_options(void)
{
    static char folder[4096];
    clsample_options options = CLSAMPLE_OPTIONS_INIT;

    if (clsample_default_cache_dir(folder, sizeof folder) == CLSAMPLE_OK && folder[0] != '\0')
        options.cache_dir = folder;
    /* Each work-item costs a simulator as much as the next, be there work for it or not. */
    if (dev.speed == SPEED_SIMULATED) { options.work_group = SIMULATED_GROUP; }
    return options;
}

/* llvmpipe runs a GPU's code on a CPU. */
static test_speed speed_of(const clsample_device_info *info)
{
    static const char *const names[] = { "full", "slow", "simulated" };
    const char *asked = getenv("CLSAMPLE_TEST_SPEED");

    for (int i = 0; asked && i < (int)COUNT(names); i++)
        if (strcmp(asked, names[i]) == 0) { return (test_speed)i; }
    if (info->simulator) { return SPEED_SIMULATED; }
    return strstr(info->name, "llvmpipe") ? SPEED_SLOW : SPEED_FULL;
}

/* Choose the device that the environment asks for; false with the reason printed if there is none. */
static bool dev_choose(void)
{
    const clsample_options options = test_options();
    clsample_devices *list = NULL;
    size_t index = 0;
    bool found = false;

    if (clsample_devices_open(&options, &list) == CLSAMPLE_OK &&
        clsample_devices_select(list, getenv("CLSAMPLE_TEST_DEVICE"), &index) == CLSAMPLE_OK) {
        const clsample_device_info *info = clsample_devices_info(list, index);

        dev.id = info->device_id;
        dev.speed = speed_of(info);
        snprintf(dev.name, sizeof dev.name, "%.120s / %.120s", info->platform, info->name);
        found = true;
    } else {
        printf("no device to test on: %s\n", clsample_last_error()->message);
    }
    clsample_devices_close(list);
    return found;
}

static void dev_close(void)
{
    clsample_destroy(dev.ctx);
    if (dev.queue) { clReleaseCommandQueue(dev.queue); }
    if (dev.context) { clReleaseContext(dev.context); }
}

/* The OpenCL objects of the chosen device. A device that was chosen must also work: failing here is no
 * skip. */
static bool dev_open(void)
{
    const clsample_options options = test_options();
    cl_int error = CL_SUCCESS;

    dev.context = clCreateContext(NULL, 1, &dev.id, NULL, NULL, &error);
    if (error == CL_SUCCESS) { dev.queue = clCreateCommandQueue(dev.context, dev.id, 0, &error); }
    if (error != CL_SUCCESS) {
        printf("%s: no context or queue: %d\n", dev.name, (int)error);
        return false;
    }
    if (clsample_create(dev.context, dev.id, &options, &dev.ctx) != CLSAMPLE_OK) {
        printf("%s: %s\n%s\n", dev.name, clsample_last_error()->message, clsample_last_error()->log);
        return false;
    }
    return true;
}

int test_main(Suite *(*make)(void))
{
    int failed = 1;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!dev_choose()) { return 77; }
    printf("device: %s\n", dev.name);
    if (dev.speed == SPEED_SIMULATED)
        printf("left out: the device's own work-group size, %u unless a test says otherwise\n",
               SIMULATED_GROUP);
    if (dev_open()) {
        SRunner *runner = srunner_create(make());

        srunner_set_fork_status(runner, CK_NOFORK); /* OpenCL state does not survive a fork */
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
    }
    dev_close();
    return failed == 0 ? 0 : 1;
}

uint32_t test_scaled(const char *what, uint32_t full, uint32_t slow, uint32_t simulated)
{
    static const char *said[64]; /* a loop test asks each time */
    const uint32_t n = dev.speed == SPEED_FULL ? full : dev.speed == SPEED_SLOW ? slow : simulated;
    size_t i = 0;

    while (i < COUNT(said) && said[i] && strcmp(said[i], what) != 0)
        i++;
    if (n >= full || i == COUNT(said) || said[i]) { return n; }
    said[i] = what;
    printf("left out: %s, %lu instead of %lu (%s device)\n", what, (unsigned long)n, (unsigned long)full,
           dev.speed == SPEED_SLOW ? "slow" : "simulated");
    return n;
}

/* ---- Random numbers and rows ---- */

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t rng_next(test_rng *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double rng_unit(test_rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

uint32_t rng_below(test_rng *r, uint32_t n)
{
    return (uint32_t)(rng_next(r) % n);
}

/* Box and Muller's method; 1 - u keeps the logarithm finite. */
double rng_normal(test_rng *r)
{
    const double radius = sqrt(-2.0 * log(1.0 - rng_unit(r)));

    return radius * cos(6.283185307179586 * rng_unit(r));
}

const char *shape_name(test_shape shape)
{
    static const char *const name[SHAPE_COUNT] = { "normal", "flat",     "peaky", "ties",
                                                   "masked", "negative", "wide" };

    return name[shape];
}

static double shaped(test_rng *r, test_shape shape)
{
    const double z = rng_normal(r);

    switch (shape) {
    case SHAPE_FLAT: return z * 0.05;
    case SHAPE_PEAKY: return rng_below(r, 40) == 0 ? 8.0 + 3.0 * z : z;
    case SHAPE_TIES: return floor(z * 4.0) / 2.0;
    case SHAPE_MASKED: return rng_below(r, 3) == 0 ? 3.0 * z : -INFINITY;
    case SHAPE_NEGATIVE: return -80.0 + 2.0 * z;
    case SHAPE_WIDE: return 500.0 * z;
    default: return 3.0 * z;
    }
}

void row_random(float *x, size_t n, test_shape shape, uint64_t seed)
{
    test_rng r = { seed };

    for (size_t i = 0; i < n; i++)
        x[i] = (float)shaped(&r, shape);
    /* At least one token is not masked. */
    if (shape == SHAPE_MASKED) { x[rng_below(&r, (uint32_t)n)] = 1.0f; }
}

static uint32_t float_bits(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

static float bits_float(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof x);
    return x;
}

uint16_t half_from_float(float x)
{
    const uint16_t sign = (uint16_t)(float_bits(x) >> 16 & 0x8000u);
    const double a = fabs((double)x);
    int e = 0;

    if (isnan(x)) { return (uint16_t)(sign | 0x7E00u); }
    if (a >= 65520.0) { return (uint16_t)(sign | 0x7C00u); }
    /* In units of the last place, 2^-24 for denormals; rint rounds to even, and a carry moves up the
     * exponent. */
    frexp(a, &e);
    if (a < 0x1p-14) { return (uint16_t)(sign + (uint16_t)rint(a * 0x1p24)); }
    return (uint16_t)(sign + (uint16_t)((e + 13) << 10) + (uint16_t)rint(ldexp(a, 11 - e)));
}

float half_to_float(uint16_t h)
{
    const int e = h >> 10 & 31, m = h & 1023;
    double a = ldexp(1024 + m, e - 25);

    if (e == 0) { a = ldexp(m, -24); }
    if (e == 31) { a = m ? NAN : INFINITY; }
    return (float)(h & 0x8000u ? -a : a);
}

uint16_t bf16_from_float(float x)
{
    const uint32_t u = float_bits(x);

    if (isnan(x)) { return (uint16_t)(u >> 16 | 0x40u); }
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
}

float bf16_to_float(uint16_t h)
{
    return bits_float((uint32_t)h << 16);
}

size_t dtype_size(uint32_t dtype)
{
    return dtype == CLSAMPLE_F32 ? 4 : 2;
}

void *dtype_convert(const float *x, size_t n, uint32_t dtype)
{
    void *out = test_alloc(n * dtype_size(dtype));
    uint16_t *half = out;

    if (dtype == CLSAMPLE_F32) { return memcpy(out, x, n * sizeof *x); }
    for (size_t i = 0; i < n; i++)
        half[i] = dtype == CLSAMPLE_F16 ? half_from_float(x[i]) : bf16_from_float(x[i]);
    return out;
}

void *test_alloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);

    ck_assert_msg(p != NULL, "out of host memory: %zu bytes", bytes);
    return p;
}

void test_make_folder(char *path, size_t size)
{
    const char *base = getenv("TMPDIR");
    const int length = snprintf(path, size, "%s/clsample-test-XXXXXX", base && base[0] ? base : "/tmp");

    ck_assert_msg(length > 0 && (size_t)length < size, "TMPDIR is too long");
    ck_assert_msg(mkdtemp(path) != NULL, "%s: cannot be made", path);
}

/* ---- Test data ---- */

FILE *data_open(const char *file)
{
    const char *folder = getenv("CLSAMPLE_TEST_DATA");
    char path[4096];
    FILE *f = NULL;

    snprintf(path, sizeof path, "%s/%s", folder ? folder : CLSAMPLE_TEST_DATA, file);
    f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot open %s; CLSAMPLE_TEST_DATA names its folder", path);
    return f;
}

/* Magic, version 1.0, length of the header in two bytes, then a Python dictionary as text. */
float *npy_load(const char *file, uint32_t *rows, uint32_t *columns)
{
    FILE *f = data_open(file);
    unsigned char start[10];
    char header[1024] = "";
    unsigned long r = 0, c = 0;

    ck_assert_uint_eq(fread(start, 1, sizeof start, f), sizeof start);
    const size_t length = start[8] + 256u * start[9];
    ck_assert_msg(memcmp(start, "\x93NUMPY\1", 7) == 0 && length < sizeof header, "%s: not a short .npy",
                  file);
    ck_assert_uint_eq(fread(header, 1, length, f), length);
    const char *shape = strstr(header, "'shape':");
    ck_assert_msg(strstr(header, "'<f4'") && strstr(header, "False") && shape, "%s: %s", file, header);
    ck_assert_msg(sscanf(shape, "'shape': (%lu, %lu)", &r, &c) == 2, "%s: %s", file, shape);

    float *x = test_alloc(r * c * sizeof *x);
    ck_assert_uint_eq(fread(x, sizeof *x, r * c, f), r * c);
    fclose(f);
    *rows = (uint32_t)r;
    *columns = (uint32_t)c;
    return x;
}

/* The array of ids at `key` of `object`; not present if either is missing. */
static id_set golden_ids(const json_t *object, const char *key)
{
    const json_t *array = json_object_get(object, key);
    id_set set = { array != NULL, (uint32_t)json_array_size(array), NULL };

    if (!array) { return set; }
    set.ids = test_alloc(set.count * sizeof *set.ids);
    for (uint32_t i = 0; i < set.count; i++)
        set.ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return set;
}

static float golden_number(const json_t *line, const char *key)
{
    return (float)json_number_value(json_object_get(line, key));
}

/* The logits, where null stands for -inf, and the probabilities of the tokens that are kept. */
static void golden_arrays(golden_case *g, const json_t *line)
{
    const json_t *logits = json_object_get(line, "logits");
    const json_t *probs = json_object_get(json_object_get(line, "seed"), "probs");

    g->vocab = (uint32_t)json_array_size(logits);
    g->x = test_alloc(g->vocab * sizeof *g->x);
    for (uint32_t i = 0; i < g->vocab; i++) {
        const json_t *v = json_array_get(logits, i);
        g->x[i] = json_is_null(v) ? -INFINITY : (float)json_number_value(v);
    }
    g->n_probs = (uint32_t)json_array_size(probs);
    ck_assert_uint_le(g->n_probs, g->kept.count);
    g->probs = test_alloc(g->n_probs * sizeof *g->probs);
    for (uint32_t i = 0; i < g->n_probs; i++)
        g->probs[i] = json_number_value(json_array_get(probs, i));
}

static void golden_parse(golden_case *g, const json_t *line)
{
    const json_t *seed = json_object_get(line, "seed"), *stages = json_object_get(seed, "stages");

    snprintf(g->name, sizeof g->name, "%s", json_string_value(json_object_get(line, "name")));
    g->params =
        params_of(golden_number(line, "temperature"), golden_number(line, "min_p"),
                  (uint32_t)golden_number(line, "top_k"), golden_number(line, "top_p"), CLSAMPLE_RULES_SEED);
    g->greedy = (int32_t)json_integer_value(json_object_get(line, "greedy"));
    g->min_p = golden_ids(stages, "min_p");
    g->top_k = golden_ids(stages, "top_k");
    g->top_p = golden_ids(stages, "top_p");
    g->kept = golden_ids(seed, "kept");
    g->transformers = golden_ids(json_object_get(line, "transformers"), "kept");
    g->llama_cpp = golden_ids(json_object_get(line, "llama.cpp"), "kept");
    golden_arrays(g, line);
}

golden_case *golden_load(size_t *count)
{
    enum { MOST = 180 };
    FILE *f = data_open("filters.jsonl");
    golden_case *cases = test_alloc(MOST * sizeof *cases);
    json_error_t error;
    json_t *line = NULL;

    memset(cases, 0, MOST * sizeof *cases);
    *count = 0;
    /* One object ends at its brace, so the next call begins at the next line. */
    while ((line = json_loadf(f, JSON_DISABLE_EOF_CHECK, &error)) != NULL) {
        ck_assert_uint_lt(*count, MOST);
        golden_parse(&cases[(*count)++], line);
        json_decref(line);
    }
    fclose(f);
    ck_assert_msg(*count == MOST, "filters.jsonl: %zu cases: %s", *count, error.text);
    return cases;
}

void golden_free(golden_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        golden_case *g = &cases[i];
        id_set *const sets[] = { &g->min_p, &g->top_k, &g->top_p, &g->kept, &g->transformers, &g->llama_cpp };

        for (size_t k = 0; k < COUNT(sets); k++)
            free(sets[k]->ids);
        free(g->x);
        free(g->probs);
    }
    free(cases);
}

/* ---- Calls of the library ---- */

cl_command_queue dev_make_queue(bool out_of_order)
{
    cl_int error = CL_SUCCESS;
    const cl_command_queue queue = clCreateCommandQueue(
        dev.context, dev.id, out_of_order ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0, &error);

    if (out_of_order && error == CL_INVALID_QUEUE_PROPERTIES) { return NULL; }
    ck_cl(error);
    return queue;
}

cl_mem dev_buffer(size_t bytes)
{
    cl_int error = CL_SUCCESS;
    cl_mem mem = clCreateBuffer(dev.context, CL_MEM_READ_WRITE, bytes, NULL, &error);

    ck_cl(error);
    return mem;
}

cl_mem dev_upload(const void *host, size_t bytes)
{
    cl_mem mem = dev_buffer(bytes);

    ck_cl(clEnqueueWriteBuffer(dev.queue, mem, CL_TRUE, 0, bytes, host, 0, NULL, NULL));
    return mem;
}

void dev_download(cl_mem mem, size_t offset, void *host, size_t bytes)
{
    ck_cl(clEnqueueReadBuffer(dev.queue, mem, CL_TRUE, offset, bytes, host, 0, NULL, NULL));
}

/* Written from the host: filling on the device would run a kernel of the driver's. Finished, though the
 * call blocks: on Intel's CPU runtime 2026.2 a blocking write may still land after a kernel of another
 * queue that was enqueued later, or of the same one, if that is out of order. */
void dev_poison(cl_mem mem, size_t bytes)
{
    unsigned char *poison = test_alloc(bytes);

    memset(poison, POISON, bytes);
    ck_cl(clEnqueueWriteBuffer(dev.queue, mem, CL_TRUE, 0, bytes, poison, 0, NULL, NULL));
    ck_cl(clFinish(dev.queue));
    free(poison);
}

bool is_poison(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;

    for (size_t i = 0; i < size; i++)
        if (b[i] != POISON) { return false; }
    return true;
}

clsample_params params_default(void)
{
    const clsample_params params = CLSAMPLE_PARAMS_INIT;

    return params;
}

clsample_params params_of(float temperature, float min_p, uint32_t top_k, float top_p, uint32_t rules)
{
    clsample_params params = CLSAMPLE_PARAMS_INIT;

    params.temperature = temperature;
    params.min_p = min_p;
    params.top_k = top_k;
    params.top_p = top_p;
    params.rules = rules;
    return params;
}

clsample_logits logits_of(cl_mem mem, uint32_t dtype, uint32_t rows, uint32_t vocab)
{
    clsample_logits in = CLSAMPLE_LOGITS_INIT;

    in.mem = mem;
    in.dtype = dtype;
    in.rows = rows;
    in.vocab = vocab;
    return in;
}

/* A poisoned buffer for `bytes` of output between guards. */
static cl_mem guarded_buffer(size_t bytes)
{
    cl_mem mem = dev_buffer(bytes + 2 * GUARD);

    dev_poison(mem, bytes + 2 * GUARD);
    return mem;
}

/* Copy what lies between the guards, which must be whole, and release the buffer. */
static void guarded_take(cl_mem mem, void *out, size_t bytes)
{
    unsigned char *all = test_alloc(bytes + 2 * GUARD);

    dev_download(mem, 0, all, bytes + 2 * GUARD);
    ck_cl(clReleaseMemObject(mem));
    ck_assert_msg(is_poison(all, GUARD), "written before the output's begin");
    ck_assert_msg(is_poison(all + GUARD + bytes, GUARD), "written past the output's end");
    memcpy(out, all + GUARD, bytes);
    free(all);
}

void dev_draw(const clsample_params *params, uint32_t n_params, const clsample_logits *in,
              clsample_result *results)
{
    clsample_output out = CLSAMPLE_OUTPUT_INIT;
    int32_t *tokens = test_alloc(in->rows * sizeof *tokens);

    out.tokens = guarded_buffer(in->rows * sizeof *tokens);
    out.results = guarded_buffer(in->rows * sizeof *results);
    out.tokens_offset = out.results_offset = GUARD;
    ck_ok(clsample_enqueue(dev.ctx, dev.queue, params, n_params, in, &out, 0, NULL, NULL));
    guarded_take(out.tokens, tokens, in->rows * sizeof *tokens);
    guarded_take(out.results, results, in->rows * sizeof *results);
    for (uint32_t r = 0; r < in->rows; r++)
        ck_assert_int_eq(tokens[r], results[r].token);
    free(tokens);
}

void host_draw(const clsample_params *params, uint32_t n_params, const float *x, uint32_t rows,
               uint32_t vocab, clsample_result *results)
{
    const clsample_logits in = logits_of(dev_upload(x, sizeof *x * rows * vocab), CLSAMPLE_F32, rows, vocab);

    dev_draw(params, n_params, &in, results);
    ck_cl(clReleaseMemObject(in.mem));
}

void dev_filter(const clsample_params *params, uint32_t n_params, const clsample_logits *in,
                clsample_filter_output what, float *out)
{
    const size_t bytes = sizeof *out * in->rows * in->vocab;
    cl_mem mem = guarded_buffer(bytes);

    ck_ok(clsample_enqueue_filter(dev.ctx, dev.queue, params, n_params, in, what, mem, GUARD, 0, NULL, NULL));
    guarded_take(mem, out, bytes);
}

void host_filter(const clsample_params *params, uint32_t n_params, const float *x, uint32_t rows,
                 uint32_t vocab, clsample_filter_output what, float *out)
{
    const clsample_logits in = logits_of(dev_upload(x, sizeof *x * rows * vocab), CLSAMPLE_F32, rows, vocab);

    dev_filter(params, n_params, &in, what, out);
    ck_cl(clReleaseMemObject(in.mem));
}
