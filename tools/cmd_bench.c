/* SPDX-License-Identifier: Apache-2.0 */
/* clsample bench: how long the pipeline takes beside what any pipeline must do, reading the logits once. */
#include "bench.h"
#include "terminal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_REPS 1000000u
#define SECONDS 1.0
#define SWEEP_SECONDS 0.1
#define MOST_BYTES ((uint64_t)1 << 30) /* of logits: --sweep skips larger shapes */
#define MOST_SIZES 8
#define MOST_SETTINGS 16
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Everything that is to be measured on each device: all combinations. */
typedef struct grid {
    uint32_t dtypes[MOST_SIZES], vocabs[MOST_SIZES], rows[MOST_SIZES];
    size_t n_dtypes, n_vocabs, n_rows;
    bench_setting settings[MOST_SETTINGS]; /* those of one kind stand together */
    size_t n_settings;
} grid;

typedef struct bench {
    const char *selector;
    cli_input in;
    uint32_t vocab, rows, dtype, kind; /* 0 or CLI_UNSET where not given */
    const char *save;
    clsample_params params;
    uint32_t biases; /* 0 = not given */
    float seconds;   /* 0 = not given */
    uint32_t reps;   /* 0 = not given */
    bool sweep, cold, csv;

    grid grid;
    bool progress;
    bool single; /* one configuration: with --json an object of its own */
    bool headed; /* the table has its head */
    size_t done, total;
    json_t *runs, *skipped; /* with --json unless `single`; owned */
} bench;

/* ---- What to measure ---- */

static void fill_sizes(uint32_t *to, size_t *count, const uint32_t *all, size_t n)
{
    memcpy(to, all, n * sizeof *to);
    *count = n;
}

static bool params_given(const bench *b)
{
    const clsample_params *p = &b->params;
    const clsample_sampler_entry *e;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        if (sampling_is_set(p, e)) return true;
    return b->biases || p->flags || p->rules != CLSAMPLE_RULES_SEED || p->order[0];
}

static void fill_settings(grid *g)
{
    static const struct {
        const char *name;
        uint32_t kind, flags;
        float temperature, min_p;
        uint32_t top_k;
        float top_p, typical_p, top_n_sigma;
        uint32_t biases;
    } all[] = {
        { "greedy", BENCH_LLM, CLSAMPLE_GREEDY, 1.0f, 0.0f, 0, 1.0f, 1.0f, 0.0f, 0 },
        { "temperature", BENCH_LLM, 0, 0.8f, 0.0f, 0, 1.0f, 1.0f, 0.0f, 0 },
        { "min-p", BENCH_LLM, 0, 0.8f, 0.05f, 0, 1.0f, 1.0f, 0.0f, 0 },
        { "top-k", BENCH_LLM, 0, 0.8f, 0.0f, 50, 1.0f, 1.0f, 0.0f, 0 },
        { "top-p", BENCH_LLM, 0, 0.8f, 0.0f, 0, 0.9f, 1.0f, 0.0f, 0 },
        { "all four", BENCH_LLM, 0, 0.8f, 0.05f, 50, 0.9f, 1.0f, 0.0f, 0 },
        { "typical", BENCH_LLM, 0, 0.8f, 0.0f, 50, 1.0f, 0.9f, 0.0f, 0 },
        { "top-n-sigma", BENCH_LLM, 0, 0.8f, 0.0f, 0, 1.0f, 1.0f, 1.0f, 0 },
        { "bias 300", BENCH_LLM, 0, 0.8f, 0.0f, 0, 1.0f, 1.0f, 0.0f, 300 },
        { "flat top-p", BENCH_FLAT, 0, 1.0f, 0.0f, 0, 0.9f, 1.0f, 0.0f, 0 },
    };

    for (size_t i = 0; i < COUNT(all); i++) {
        clsample_params p = CLSAMPLE_PARAMS_INIT;
        p.flags = all[i].flags;
        p.temperature = all[i].temperature;
        p.min_p = all[i].min_p;
        p.top_k = all[i].top_k;
        p.top_p = all[i].top_p;
        p.typical_p = all[i].typical_p;
        p.top_n_sigma = all[i].top_n_sigma;
        g->settings[i] = (bench_setting){ all[i].name, all[i].kind, p, all[i].biases };
    }
    g->n_settings = COUNT(all);
}

/* One of each, or all of what is not given. */
static void fill_grid(bench *b)
{
    static const uint32_t dtypes[] = { CLSAMPLE_F32, CLSAMPLE_F16, CLSAMPLE_BF16 };
    static const uint32_t vocabs[] = { 1024, 4096, 16384, 49152, 131072, 262144, 1048576 };
    static const uint32_t rows[] = { 1, 4, 16, 64, 256, 1024 };
    grid *g = &b->grid;

    g->dtypes[0] = b->dtype == CLI_UNSET ? CLSAMPLE_F32 : b->dtype;
    g->vocabs[0] = b->vocab ? b->vocab : 49152;
    g->rows[0] = b->rows ? b->rows : 1;
    g->settings[0] = (bench_setting){ "given", b->kind == CLI_UNSET ? (uint32_t)BENCH_LLM : b->kind,
                                      b->params, b->biases };
    if (b->in.file) g->settings[0].kind = CLI_UNSET;
    g->n_dtypes = g->n_vocabs = g->n_rows = g->n_settings = 1;
    if (!b->sweep) return;
    if (b->dtype == CLI_UNSET) fill_sizes(g->dtypes, &g->n_dtypes, dtypes, COUNT(dtypes));
    if (!b->vocab) fill_sizes(g->vocabs, &g->n_vocabs, vocabs, COUNT(vocabs));
    if (!b->rows) fill_sizes(g->rows, &g->n_rows, rows, COUNT(rows));
    if (b->kind == CLI_UNSET && !params_given(b)) fill_settings(g);
}

/* ---- Reports ---- */

static int report(cli *c, bench *b, const bench_result *r)
{
    if (c->json) {
        if (b->single) return cli_result(c, bench_json(r));
        return cli_json_append(b->runs, bench_json(r)) ? CLI_DONE : cli_fail_memory(c);
    }
    if (b->csv) {
        if (!b->headed) bench_print_csv_head();
        bench_print_csv_row(r);
    } else if (b->single) {
        bench_print(r);
    } else {
        if (!b->headed) bench_print_table_head();
        bench_print_table_row(r);
    }
    b->headed = true;
    fflush(stdout); /* a sweep takes long, and may be read as it goes */
    return CLI_DONE;
}

static int report_skip(cli *c, bench *b, const cli_device *device, const cli_logits *l, const char *why)
{
    b->done += b->grid.n_settings;
    if (!c->json) {
        fprintf(stderr, "skipped %s, %s, %" PRIu32 " x %" PRIu32 ": %s\n", device->info->selector,
                bench_dtype_names[l->dtype], l->rows, l->vocab, why);
        return CLI_DONE;
    }
    json_t *skip = json_pack("{s:s, s:s, s:I, s:I, s:s}", "device", device->info->selector, "dtype",
                             bench_dtype_names[l->dtype], "vocab", (json_int_t)l->vocab, "rows",
                             (json_int_t)l->rows, "reason", why);
    return cli_json_append(b->skipped, skip) ? CLI_DONE : cli_fail_memory(c);
}

static void show_progress(const bench *b, const cli_device *device, const cli_logits *l, const char *what)
{
    if (!b->progress) return;
    terminal_clear_line(stderr);
    fprintf(stderr, "%zu of %zu: %s, %s, %" PRIu32 " x %" PRIu32 ", %s", b->done + 1, b->total,
            device->info->selector, bench_dtype_names[l->dtype], l->rows, l->vocab, what);
}

static void clear_progress(const bench *b)
{
    if (b->progress) terminal_clear_line(stderr);
}

/* ---- Measuring ---- */

static int save_logits(cli *c, const char *name, const cli_logits *l)
{
    const size_t bytes = (size_t)l->rows * l->vocab * cli_dtype_size(l->dtype);
    FILE *file = fopen(name, "wb");
    bool ok = file && fwrite(l->data, 1, bytes, file) == bytes;

    if (file && fclose(file) != 0) ok = false;
    return ok ? CLI_DONE : cli_fail(c, CLI_FAILED, "E_OUTPUT", "--save-logits %s: cannot be written", name);
}

/* The settings from `first` on that use these logits. */
static int measure_settings(cli *c, bench *b, bench_job *job, const cli_device *device, const cli_logits *l,
                            size_t first)
{
    const grid *g = &b->grid;
    const double seconds = b->seconds > 0 ? (double)b->seconds : b->single ? SECONDS : SWEEP_SECONDS;
    int code = CLI_DONE;

    for (size_t i = first; code == CLI_DONE && i < g->n_settings; i++) {
        bench_setting setting = g->settings[i];
        bench_result result;
        if (setting.kind != g->settings[first].kind) break;
        show_progress(b, device, l, setting.name);
        if (setting.biases) code = bench_add_biases(c, setting.biases, l->vocab, &setting.params);
        if (code == CLI_DONE) code = bench_measure(c, job, &setting, seconds, b->reps, b->single, &result);
        clear_progress(b);
        b->done++;
        if (code == CLI_DONE) code = report(c, b, &result);
    }
    return code;
}

/* All settings with one shape; `l` has the shape alone, or the data of a file. */
static int measure_shape(cli *c, bench *b, const cli_device *device, cli_logits *l)
{
    const grid *g = &b->grid;
    int code = CLI_DONE;

    for (size_t i = 0; code == CLI_DONE && i < g->n_settings; i++) {
        bench_job *job = NULL;
        if (i > 0 && g->settings[i].kind == g->settings[i - 1].kind) continue;
        show_progress(b, device, l, "preparing");
        if (!b->in.file) code = bench_make_logits(c, (bench_kind)g->settings[i].kind, l);
        if (code == CLI_DONE && b->save) code = save_logits(c, b->save, l);
        if (code == CLI_DONE) job = bench_open(c, device, l, b->cold, &code);
        clear_progress(b);
        if (code == CLI_DONE) code = measure_settings(c, b, job, device, l, i);
        bench_close(job);
        if (!b->in.file) {
            free(l->data);
            l->data = NULL;
        }
    }
    return code;
}

/* Why a sweep leaves a shape out, or NULL. */
static const char *too_large(const bench *b, const cli_device *device, const cli_logits *l)
{
    const uint64_t bytes = (uint64_t)l->rows * l->vocab * cli_dtype_size(l->dtype);

    if (!b->sweep) return NULL;
    if (bytes > MOST_BYTES) return "more than 1 GiB of logits";
    if (bytes > device->info->max_allocation) return "more than the device can allocate at once";
    if (bytes > device->info->global_memory / 2) return "more than half of the device's memory";
    return NULL;
}

static int measure_grid(cli *c, bench *b, const cli_device *device)
{
    const grid *g = &b->grid;
    int code = CLI_DONE;

    for (size_t i = 0; code == CLI_DONE && i < g->n_dtypes * g->n_vocabs * g->n_rows; i++) {
        cli_logits l = { .dtype = g->dtypes[i / g->n_rows / g->n_vocabs],
                         .vocab = g->vocabs[i / g->n_rows % g->n_vocabs],
                         .rows = g->rows[i % g->n_rows] };
        const char *why = too_large(b, device, &l);
        code = why ? report_skip(c, b, device, &l, why) : measure_shape(c, b, device, &l);
    }
    return code;
}

static int measure_device(cli *c, bench *b, const char *selector, cli_logits *file)
{
    cli_device device = { .list = NULL };

    int code = cli_device_open(c, selector, &device);
    if (code == CLI_DONE)
        code = b->in.file ? measure_shape(c, b, &device, file) : measure_grid(c, b, &device);
    cli_device_close(&device);
    return code;
}

/* Every usable device in turn. */
static int measure_all(cli *c, bench *b, cli_logits *file)
{
    clsample_devices *list = NULL;
    size_t usable = 0;

    int code = cli_devices_open(c, &list);
    for (size_t i = 0; i < clsample_devices_count(list); i++)
        usable += clsample_devices_check(list, i) == CLSAMPLE_OK;
    if (code == CLI_DONE && usable == 0) { /* the selection says why */
        code = measure_device(c, b, NULL, file);
    }
    b->total *= usable;
    for (size_t i = 0; code == CLI_DONE && i < clsample_devices_count(list); i++) {
        const clsample_device_info *info = clsample_devices_info(list, i);
        if (info->usable) code = measure_device(c, b, info->selector, file);
    }
    clsample_devices_close(list);
    return code;
}

static int run(cli *c, bench *b)
{
    const grid *g = &b->grid;
    const bool all = b->selector && strcmp(b->selector, "all") == 0;
    cli_logits file = { .data = NULL };
    int code = CLI_DONE;

    fill_grid(b);
    b->total = g->n_dtypes * g->n_vocabs * g->n_rows * g->n_settings;
    b->single = !b->sweep && !all;
    b->progress = !c->json && !b->single && terminal_moves(stderr);
    if (b->in.file) code = cli_logits_load(c, &b->in, &file);
    if (code == CLI_DONE && c->json && !b->single) {
        b->runs = json_array();
        b->skipped = json_array();
    }
    if (code == CLI_DONE) code = all ? measure_all(c, b, &file) : measure_device(c, b, b->selector, &file);
    if (code == CLI_DONE && c->json && !b->single) {
        code = cli_result(c, json_pack("{s:O, s:O}", "runs", b->runs, "skipped", b->skipped));
    }
    json_decref(b->runs);
    json_decref(b->skipped);
    cli_logits_free(&file);
    return code;
}

/* ---- Options ---- */

static void add_shape(cli_options *o, bench *b)
{
    cli_add_heading(o, "Logits (defaults in parentheses)");
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "vocab",
                             .value = "V",
                             .target = &b->vocab,
                             .min = 1,
                             .max = CLSAMPLE_MAX_VOCAB,
                             .help = "logits in a row (49152)" });
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "rows",
                             .value = "B",
                             .target = &b->rows,
                             .min = 1,
                             .max = CLI_UNSET - 1.0,
                             .help = "rows in a batch (1)" });
    cli_add(o, (cli_option){ .kind = CLI_CHOICE,
                             .name = "dtype",
                             .value = "TYPE",
                             .target = &b->dtype,
                             .choices = bench_dtype_names,
                             .help = "f32, f16 or bf16 (f32)" });
    cli_add(o, (cli_option){ .kind = CLI_CHOICE,
                             .name = "logits",
                             .value = "KIND",
                             .target = &b->kind,
                             .choices = bench_kind_names,
                             .help = "llm: normal with deviation 2 and 60 tokens far above;\n"
                                     "flat: standard normal (llm)" });
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "logits-file",
                             .value = "F",
                             .target = (void *)&b->in.file,
                             .help = ".npy of float32, float16 or bfloat16, [vocab] or [rows, vocab],\n"
                                     "instead" });
    cli_add(o, (cli_option){ .kind = CLI_CHOICE,
                             .name = "raw",
                             .value = "TYPE",
                             .target = &b->in.raw,
                             .choices = bench_dtype_names,
                             .help = "the file has no header, only little-endian rows of --vocab" });
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "save-logits",
                             .value = "F",
                             .target = (void *)&b->save,
                             .help = "write them to a file without a header, for other programs" });
}

static void add_sampling(cli_options *o, bench *b)
{
    cli_add_sampling(o, &b->params);
    cli_add(o, (cli_option){
                   .kind = CLI_U32,
                   .name = "bias-count",
                   .value = "N",
                   .target = &b->biases,
                   .max = CLSAMPLE_MAX_EDITS,
                   .help = "add 2 or -2 to N logits all over the vocabulary, at most all of them (0)" });
}

static void add_measuring(cli_options *o, bench *b)
{
    cli_add_heading(o, "Measuring");
    cli_add(o,
            (cli_option){ .kind = CLI_FLOAT,
                          .name = "seconds",
                          .value = "S",
                          .target = &b->seconds,
                          .max = 3600,
                          .above = true,
                          .help = "for each configuration, 3 repetitions at least (1; 0.1 with --sweep)" });
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "reps",
                             .value = "N",
                             .target = &b->reps,
                             .min = 1,
                             .max = MAX_REPS,
                             .help = "so many repetitions instead" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "sweep",
                             .target = &b->sweep,
                             .help = "measure many sizes and settings, except what is given here" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "cold",
                             .target = &b->cold,
                             .help = "use 1 GiB of copies of the logits in turns, so that they come from\n"
                                     "memory and not from a cache" });
}

static int check_usage(cli *c, const bench *b)
{
    if (b->save && b->sweep) return cli_fail_usage(c, "--save-logits and --sweep: allowed is one of them");
    if (c->json && b->csv) return cli_fail_usage(c, "--json and --csv: allowed is one of them");
    if (b->in.raw != CLI_UNSET && !b->in.file) {
        return cli_fail_usage(c, "--raw %s: allowed only with --logits-file", bench_dtype_names[b->in.raw]);
    }
    if (!b->in.file) return CLI_DONE;
    if (b->rows || b->dtype != CLI_UNSET || b->kind != CLI_UNSET || b->sweep) {
        return cli_fail_usage(c, "--rows, --dtype, --logits and --sweep: not allowed with --logits-file, "
                                 "which says what there is");
    }
    if ((b->in.raw == CLI_UNSET) != (b->vocab == 0)) {
        return cli_fail_usage(c, "--raw and --vocab: with --logits-file allowed only together");
    }
    return CLI_DONE;
}

int cmd_bench(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "[options]",
        .purpose = "Time the whole pipeline, from the call to the tokens on the host, beside the floor: a "
                   "read-only\n"
                   "maximum over the same logits, the fastest that we know how to write for the device. "
                   "--device all\n"
                   "measures every usable device.",
    };
    bench b = { .in = CLI_INPUT_INIT, .dtype = CLI_UNSET, .kind = CLI_UNSET, .params = CLSAMPLE_PARAMS_INIT };

    add_shape(&o, &b);
    add_measuring(&o, &b);
    add_sampling(&o, &b);
    cli_add_device(&o, &b.selector);
    cli_add_common(&o, c);
    cli_add(&o, (cli_option){ .kind = CLI_SWITCH,
                              .name = "csv",
                              .target = &b.csv,
                              .help = "print comma-separated values" });
    int code = cli_parse(c, &o, argc, argv);
    if (code == CLI_GO)
        code = check_usage(c, &b);
    else
        return code;
    b.in.vocab = b.vocab;
    return code == CLI_DONE ? run(c, &b) : code;
}
