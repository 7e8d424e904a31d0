/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a model runs on the device that CLSAMPLE_TEST_DEVICE selects: no test, but the figures of
 * docs/model.md.
 *
 * usage: measure_llama MODEL.gguf [rows=N] [prompt=N] [steps=N] [form=vectors|groups] [gemm=N|never]
 * [repeat=N]
 *   A prompt of `prompt` tokens for each of `rows` rows, then `steps` steps of one token a row; the tokens do
 *   not matter, and nothing is sampled. The best of `repeat` runs counts.
 *
 */
#include "common.h"

#include "model/llama.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct measure {
    uint32_t rows, prompt, steps, repeat;
    llama_options options;
    llama *model;
    cl_mem ids, logits;
    uint32_t *lengths, *fresh;
} measure;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void give_up(const model_error *error)
{
    fprintf(stderr, "%s\n%s\n", error->message, clsample_last_error()->log);
    exit(EXIT_FAILURE);
}

static bool take(const char *argument, const char *name, uint32_t *value)
{
    const size_t n = strlen(name);

    if (strncmp(argument, name, n) != 0 || argument[n] != '=') return false;
    *value = (uint32_t)strtoul(argument + n + 1, NULL, 10);
    return true;
}

static bool take_argument(measure *m, const char *a)
{
    if (take(a, "rows", &m->rows) || take(a, "prompt", &m->prompt) || take(a, "steps", &m->steps))
        return true;
    if (take(a, "repeat", &m->repeat)) return true;
    if (strcmp(a, "gemm=never") == 0) {
        m->options.gemm_from = LLAMA_NO_GEMM;
    } else if (strcmp(a, "form=vectors") == 0) {
        m->options.form = LLAMA_FORM_VECTORS;
    } else if (strcmp(a, "form=groups") == 0) {
        m->options.form = LLAMA_FORM_GROUPS;
    } else if (!take(a, "gemm", &m->options.gemm_from)) {
        return false;
    }
    return true;
}

static void step(measure *m, uint32_t fresh)
{
    model_error error;

    for (uint32_t r = 0; r < m->rows; r++) {
        m->lengths[r] += fresh;
        m->fresh[r] = fresh;
    }
    const llama_step s = { .ids = m->ids,
                           .stride = m->prompt + m->steps,
                           .lengths = m->lengths,
                           .fresh = m->fresh,
                           .logits = m->logits };
    if (!llama_enqueue(m->model, &s, &error)) give_up(&error);
}

typedef struct seconds {
    double prompt, steps, enqueue; /* enqueue: that part of `steps` in which the host was busy */
} seconds;

static void run(measure *m, seconds *best)
{
    memset(m->lengths, 0, m->rows * sizeof *m->lengths);
    const double begin = now();
    step(m, m->prompt);
    clFinish(dev.queue);
    const double middle = now();
    for (uint32_t i = 0; i < m->steps; i++)
        step(m, 1);
    const double enqueued = now();
    clFinish(dev.queue);
    const double end = now();
    if (middle - begin < best->prompt) best->prompt = middle - begin;
    if (end - middle < best->steps) best->steps = end - middle;
    if (enqueued - middle < best->enqueue) best->enqueue = enqueued - middle;
}

static void make_buffers(measure *m)
{
    const size_t count = (size_t)m->rows * (m->prompt + m->steps);
    int32_t *ids = malloc(count * sizeof *ids);

    for (size_t i = 0; ids && i < count; i++)
        ids[i] = (int32_t)(i * 7919u % llama_vocab(m->model));
    m->ids = clCreateBuffer(dev.context, CL_MEM_COPY_HOST_PTR, count * sizeof *ids, ids, NULL);
    m->logits = clCreateBuffer(dev.context, CL_MEM_READ_WRITE,
                               sizeof(float) * m->rows * llama_vocab(m->model), NULL, NULL);
    m->lengths = calloc(m->rows, sizeof *m->lengths);
    m->fresh = calloc(m->rows, sizeof *m->fresh);
    free(ids);
    if (!m->ids || !m->logits || !m->lengths || !m->fresh) exit(EXIT_FAILURE);
}

static void report(measure *m, double load, size_t file_bytes)
{
    seconds best = { 1e30, 1e30, 1e30 };

    for (uint32_t i = 0; i < m->repeat; i++)
        run(m, &best);
    printf("%s, %s\n", dev.name, llama_form_name(m->model));
    printf("load %.2f s; weights %zu bytes, %.3f of the file; all %zu bytes\n", load,
           llama_weight_bytes(m->model), (double)llama_weight_bytes(m->model) / (double)file_bytes,
           llama_device_bytes(m->model));
    printf("%" PRIu32 " rows; prompt of %" PRIu32 ": %.1f ms, %.1f tokens/s; %" PRIu32
           " steps: %.3f ms each, %.1f tokens/s; enqueued in %.3f ms each\n",
           m->rows, m->prompt, 1e3 * best.prompt, m->rows * m->prompt / best.prompt, m->steps,
           1e3 * best.steps / m->steps, m->rows * m->steps / best.steps, 1e3 * best.enqueue / m->steps);
}

static size_t file_size(const char *path)
{
    FILE *f = fopen(path, "rb");
    const long size = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;

    if (f) fclose(f);
    return size > 0 ? (size_t)size : 1;
}

static const char *model_path;
static measure what = { .rows = 1, .prompt = 6, .steps = 128, .repeat = 3 };

START_TEST(figures)
{
    model_error error;
    gguf *file = NULL;
    const clsample_options cache = test_options();

    what.options.rows = what.rows;
    what.options.context = what.prompt + what.steps;
    what.options.cache_dir = cache.cache_dir;
    const double begin = now();
    if (!gguf_open(model_path, &file, &error) ||
        !llama_open(file, dev.context, dev.id, dev.queue, &what.options, &what.model, &error)) {
        give_up(&error);
    }
    const double load = now() - begin;
    gguf_close(file);
    make_buffers(&what);
    report(&what, load, file_size(model_path));
    clReleaseMemObject(what.ids);
    clReleaseMemObject(what.logits);
    llama_close(what.model);
    free(what.lengths);
    free(what.fresh);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("measure_llama");
    TCase *t = tcase_create("figures");

    tcase_set_timeout(t, 0);
    tcase_add_test(t, figures);
    suite_add_tcase(s, t);
    return s;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: measure_llama MODEL.gguf [rows=N] [prompt=N] [steps=N] [form=vectors|groups] "
                        "[gemm=N|never] [repeat=N]\n");
        return 2;
    }
    model_path = argv[1];
    for (int i = 2; i < argc; i++) {
        if (!take_argument(&what, argv[i])) {
            fprintf(stderr, "unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    return test_main(suite);
}
