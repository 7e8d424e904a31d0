/* SPDX-License-Identifier: Apache-2.0 */
/* clsample tune: which way of using a device is fastest there, measured and stored for the library to take.
 *
 * The search goes along one coordinate after another, from the best found so far. Each trial takes turns with
 * the device's default, so that what else the machine does slows both, and what counts is the geometric mean
 * of its times over the default's. The winner of many noisy trials was partly lucky: it is measured again. */
#include "bench.h"
#include "terminal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VOCAB 128256u
#define SECONDS 0.2f
#define LEAST_GAIN 0.03 /* what is not faster by that much is taken for noise */
#define CACHE_PATH 4096
#define MOST_GROUPS 4096u /* options.groups */
#define MOST_TRIALS 32
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    const char *name;
    uint32_t flags;
    float min_p;
    uint32_t top_k;
    float top_p;
} settings[] = {
    { "all four", 0, 0.05f, 50, 0.95f },
    { "greedy", CLSAMPLE_GREEDY, 0.0f, 0, 1.0f },
    { "top-p", 0, 0.0f, 0, 0.9f },
};
static const uint32_t shapes[] = { 1, 32 }; /* rows */
#define CELLS (COUNT(settings) * COUNT(shapes))

/* A way of using the device, as clsample_get_tuning() tells it, and its times beside the default's. */
typedef struct trial {
    clsample_options options;
    double build_ms;
    double default_us[CELLS], us[CELLS]; /* medians; those of a shape stand together */
    double score;                        /* NAN if it cannot be used */
    char reason[128];                    /* why not */
} trial;

typedef struct tune {
    const char *selector;
    uint32_t vocab;
    float seconds;
    bool all, dry_run, reset;

    bool progress;
    char cache[CACHE_PATH];
    cli_device device;
    cli_logits logits[COUNT(shapes)]; /* data is owned */
    bench_job *jobs[COUNT(shapes)];
    clsample_ctx *standard; /* uses the device in the default way */
    uint32_t longest;       /* row that it takes */
    trial trials[MOST_TRIALS];
    size_t count;
    const trial *best; /* of the trials; the first is the default against itself */
    trial again;       /* the best, measured once more */
    double margin;     /* a score must be this far below 1 */
    bool stored;
} tune;

/* ---- Reports ---- */

static bool has_vectors(const clsample_options *o)
{
    return o->flags & CLSAMPLE_FORCE_VECTORS;
}

static int launches(const clsample_options *o)
{
    return has_vectors(o) && !(o->flags & CLSAMPLE_FORCE_TWO_LAUNCHES) ? 1 : 2;
}

static void describe(const clsample_options *o, char *text, size_t size)
{
    if (has_vectors(o))
        snprintf(text, size, "vectors of %" PRIu32 " lanes, %" PRIu32 " groups, %d launch%s", o->lanes,
                 o->groups, launches(o), launches(o) == 1 ? "" : "es");
    else
        snprintf(text, size, "groups of %" PRIu32 " work-items", o->work_group);
}

static void show_progress(const tune *t, const clsample_options *o, const char *what)
{
    char text[128];

    if (!t->progress) return;
    describe(o, text, sizeof text);
    terminal_clear_line(stderr);
    fprintf(stderr, "%zu: %s, %s", t->count + 1, text, what);
}

static void clear_progress(const tune *t)
{
    if (t->progress) terminal_clear_line(stderr);
}

static void print_head(const tune *t)
{
    printf("vocab %" PRIu32
           ", f32, llm logits; the first line in microseconds, the others as its multiples\n\n"
           "%36s",
           t->vocab, "setting");
    for (size_t i = 0; i < CELLS; i++)
        printf(" %9s", settings[i % COUNT(settings)].name);
    printf("\n%-8s %5s %6s %5s %8s", "form", "lanes", "groups", "items", "launches");
    for (size_t i = 0; i < CELLS; i++)
        printf(" %4s %4" PRIu32, "rows", shapes[i / COUNT(settings)]);
    printf(" %7s\n", "score");
}

static void print_options(const clsample_options *o)
{
    if (has_vectors(o))
        printf("%-8s %5" PRIu32 " %6" PRIu32 " %5s %8d", "vectors", o->lanes, o->groups, "-", launches(o));
    else
        printf("%-8s %5s %6s %5" PRIu32 " %8d", "groups", "-", "-", o->work_group, launches(o));
}

static void print_trial(const tune *t, const trial *r)
{
    if (r == t->trials) {
        print_head(t);
        print_options(&r->options);
        for (size_t i = 0; i < CELLS; i++)
            printf(" %9.1f", r->default_us[i]);
        printf(" %7s\n", "default");
    }
    print_options(&r->options);
    for (size_t i = 0; i < CELLS && isfinite(r->score); i++)
        printf(" %9.3f", r->us[i] / r->default_us[i]);
    if (isfinite(r->score))
        printf(" %7.3f\n", r->score);
    else
        terminal_print(stdout, " left out: %s\n", r->reason);
    fflush(stdout); /* a slow compiler is waited for better with something to read */
}

static void print_end(const tune *t)
{
    char text[128];

    describe(&t->best->options, text, sizeof text);
    if (t->best == t->trials) {
        printf("\nnothing is faster than the default: %s\n", text);
    } else {
        printf("\nbest: %s, %.3f of the default's time when measured again\n", text, t->again.score);
        if (1 - t->again.score < t->margin)
            printf("that is within %.1f %%, which is taken for noise\n", 100 * t->margin);
    }
    if (t->dry_run)
        puts("nothing was changed (--dry-run)");
    else if (t->stored)
        terminal_print(stdout, "stored in %s\n", t->cache);
    else
        puts("nothing is stored for this device, which goes by its default");
}

static json_t *json_options(const clsample_options *o)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:i}", "form", has_vectors(o) ? "vectors" : "groups", "lanes",
                     (json_int_t)o->lanes, "groups", (json_int_t)o->groups, "work_group",
                     (json_int_t)o->work_group, "launches", launches(o));
}

static json_t *json_trial(const trial *r)
{
    json_t *cells = json_array();

    for (size_t i = 0; i < CELLS && isfinite(r->score); i++) {
        json_t *cell = json_pack("{s:s, s:I, s:o, s:o}", "setting", settings[i % COUNT(settings)].name,
                                 "rows", (json_int_t)shapes[i / COUNT(settings)], "default_us",
                                 cli_json_number(r->default_us[i]), "pipeline_us", cli_json_number(r->us[i]));
        if (!cli_json_append(cells, cell)) {
            json_decref(cells);
            return NULL;
        }
    }
    return json_pack("{s:o, s:o, s:o, s:s, s:o}", "tuning", json_options(&r->options), "score",
                     cli_json_number(r->score), "build_ms", cli_json_number(r->build_ms), "reason", r->reason,
                     "times", cells);
}

static json_t *json_all(const tune *t)
{
    const clsample_device_info *info = t->device.info;
    json_t *list = json_array();

    for (size_t i = 0; i < t->count; i++) {
        if (!cli_json_append(list, json_trial(&t->trials[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:o, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:b}", "device", cli_json_device(info),
                     "driver", info->driver, "version", clsample_version(), "vocab", (json_int_t)t->vocab,
                     "trials", list, "default", json_options(&t->trials[0].options), "best",
                     json_options(&t->best->options), "score", cli_json_number(t->again.score), "margin",
                     cli_json_number(t->margin), "stored", t->stored);
}

/* ---- Trials ---- */

static clsample_status open_context(const tune *t, clsample_options options, clsample_ctx **ctx)
{
    options.cache_dir = t->cache;
    options.flags |= CLSAMPLE_NO_SELF_CHECK; /* the selection of the device ran it */
    return clsample_create(t->device.context, t->device.info->device_id, &options, ctx);
}

/* The longest row that a context takes, in powers of two: the loops of some drivers are too short for more,
 * sooner in small groups. */
static uint32_t longest_row(clsample_ctx *ctx)
{
    uint32_t vocab = CLSAMPLE_MAX_VOCAB;

    while (vocab > 1 && clsample_reserve(ctx, CLSAMPLE_F32, 1, vocab) != CLSAMPLE_OK)
        vocab /= 2;
    return vocab;
}

/* All settings and shapes; the score is the geometric mean of the ratios. */
static int measure(cli *c, tune *t, clsample_ctx *ctx, double seconds, trial *r)
{
    double sum = 0;

    for (size_t i = 0; i < CELLS; i++) {
        const size_t s = i % COUNT(settings);
        bench_setting setting = { settings[s].name, BENCH_LLM, CLSAMPLE_PARAMS_INIT, 0 };
        bench_stats stats[2];
        setting.params.flags = settings[s].flags;
        setting.params.temperature = 0.8f;
        setting.params.min_p = settings[s].min_p;
        setting.params.top_k = settings[s].top_k;
        setting.params.top_p = settings[s].top_p;
        show_progress(t, &r->options, settings[s].name);
        const int code =
            bench_compare(c, t->jobs[i / COUNT(settings)], &setting, t->standard, ctx, seconds, stats);
        if (code != CLI_DONE) return code;
        r->default_us[i] = stats[0].median;
        r->us[i] = stats[1].median;
        sum += log(r->us[i] / r->default_us[i]);
    }
    r->score = exp(sum / (double)CELLS);
    return CLI_DONE;
}

/* A context for the trial, compiled; false with the reason if it will not do. It must not refuse what the
 * default takes, or more than speed would hang on it. */
static bool open_trial(const tune *t, trial *r, clsample_ctx **ctx)
{
    const double start = bench_now();
    clsample_status status = open_context(t, r->options, ctx);

    if (status == CLSAMPLE_OK) status = clsample_reserve(*ctx, CLSAMPLE_F32, shapes[1], t->vocab);
    r->build_ms = (bench_now() - start) * 1e-3;
    if (status != CLSAMPLE_OK) {
        const int length = snprintf(r->reason, sizeof r->reason, "%s", clsample_last_error()->message);
        cli_mark_cut(r->reason, sizeof r->reason, length);
        return false;
    }
    const uint32_t longest = longest_row(*ctx);
    if (longest >= t->longest) return true;
    snprintf(r->reason, sizeof r->reason, "it takes no row of %" PRIu32 " logits, which the default does",
             t->longest);
    return false;
}

/* A trial that the device refuses is no failure. */
static int run_trial(cli *c, tune *t, double seconds, trial *r)
{
    clsample_ctx *ctx = NULL;
    int code = CLI_DONE;

    show_progress(t, &r->options, "compiling");
    r->score = NAN;
    if (open_trial(t, r, &ctx)) code = measure(c, t, ctx, seconds, r);
    clsample_destroy(ctx);
    clear_progress(t);
    return code;
}

static bool same_options(const clsample_options *a, const clsample_options *b)
{
    if (has_vectors(a) != has_vectors(b) || launches(a) != launches(b)) return false;
    return has_vectors(a) ? a->lanes == b->lanes && a->groups == b->groups : a->work_group == b->work_group;
}

static int try_options(cli *c, tune *t, clsample_options options)
{
    for (size_t i = 0; i < t->count; i++)
        if (same_options(&t->trials[i].options, &options)) return CLI_DONE;
    if (t->count == MOST_TRIALS)
        return cli_fail(c, CLI_FAILED, "E_ARGUMENT", "more than %d ways to try", MOST_TRIALS);
    trial *r = &t->trials[t->count];
    r->options = options;
    const int code = run_trial(c, t, (double)t->seconds, r);
    if (code != CLI_DONE) return code;
    t->count++;
    if (!c->json) print_trial(t, r);
    if (r->score < (t->best == t->trials ? 1.0 : t->best->score)) t->best = r; /* NAN is not */
    return CLI_DONE;
}

/* ---- The search ---- */

static int try_forms(cli *c, tune *t)
{
    clsample_options o = t->best->options;

    o.flags = has_vectors(&o) ? CLSAMPLE_FORCE_GROUPS : CLSAMPLE_FORCE_VECTORS;
    return t->all ? try_options(c, t, o) : CLI_DONE;
}

static int try_lanes(cli *c, tune *t)
{
    static const uint32_t lanes[] = { 4, 8, 16 };
    clsample_options o = t->best->options;
    int code = CLI_DONE;

    for (size_t i = 0; code == CLI_DONE && has_vectors(&o) && i < COUNT(lanes); i++) {
        o.lanes = lanes[i];
        code = try_options(c, t, o);
    }
    return code;
}

static int try_sizes(cli *c, tune *t)
{
    static const uint32_t sizes[] = { 64, 128, 256 };
    clsample_options o = t->best->options;
    int code = CLI_DONE;

    for (size_t i = 0; code == CLI_DONE && !has_vectors(&o) && i < COUNT(sizes); i++) {
        o.work_group = sizes[i];
        code = try_options(c, t, o);
    }
    return code;
}

static int try_groups(cli *c, tune *t)
{
    const uint32_t units = t->device.info->compute_units;
    clsample_options o = t->best->options;
    int code = CLI_DONE;

    for (uint32_t n = 1; code == CLI_DONE && has_vectors(&o) && n <= 8; n *= 2) {
        if (units == 0 || units > MOST_GROUPS / n) break;
        o.groups = n * units;
        code = try_options(c, t, o);
    }
    return code;
}

static int try_launches(cli *c, tune *t)
{
    clsample_options o = t->best->options;

    if (!has_vectors(&o) || launches(&o) == 2) return CLI_DONE;
    o.flags |= CLSAMPLE_FORCE_TWO_LAUNCHES;
    return try_options(c, t, o);
}

/* The default against itself comes first: how far from 1 that is, is what the machine cannot tell apart. */
static int search(cli *c, tune *t, clsample_options standard)
{
    t->best = t->trials;
    int code = try_options(c, t, standard);
    if (code != CLI_DONE) return code;
    if (!isfinite(t->trials[0].score)) return cli_fail(c, CLI_FAILED, "E_DEVICE", "%s", t->trials[0].reason);
    t->best = t->trials;
    t->margin = fmax(LEAST_GAIN, fabs(1 - t->trials[0].score));
    code = try_forms(c, t);
    if (code == CLI_DONE) code = try_lanes(c, t);
    if (code == CLI_DONE) code = try_sizes(c, t);
    if (code == CLI_DONE) code = try_groups(c, t);
    if (code == CLI_DONE) code = try_launches(c, t);
    if (code != CLI_DONE) return code;
    t->again = *t->best;
    return t->best == t->trials ? CLI_DONE : run_trial(c, t, 2 * (double)t->seconds, &t->again);
}

/* ---- What is stored ---- */

/* Store `options`, or with all of them 0 forget what was stored before. */
static int store(cli *c, const tune *t, clsample_options options)
{
    options.cache_dir = t->cache;
    return clsample_store_tuning(t->device.info->device_id, &options) == CLSAMPLE_OK ? CLI_DONE
                                                                                     : cli_fail_library(c);
}

static int store_best(cli *c, tune *t)
{
    const clsample_options nothing = CLSAMPLE_OPTIONS_INIT;
    clsample_options best = t->best->options;

    if (t->dry_run) return CLI_DONE;
    t->stored = t->best != t->trials && 1 - t->again.score >= t->margin;
    if (!t->stored) return store(c, t, nothing);
    if (has_vectors(&best))
        best.work_group = 0; /* what was not measured stays open */
    else
        best.lanes = best.groups = 0;
    return store(c, t, best);
}

static int forget(cli *c, tune *t)
{
    const clsample_options nothing = CLSAMPLE_OPTIONS_INIT;

    const int code = store(c, t, nothing);
    if (code != CLI_DONE) return code;
    if (c->json) {
        return cli_result(
            c, json_pack("{s:o, s:b}", "device", cli_json_device(t->device.info), "stored", false));
    }
    puts("nothing is stored for this device, which goes by its default");
    return CLI_DONE;
}

/* ---- All of it ---- */

/* The default is what a context without the folder chooses; with it, what is stored would count. */
static int find_default(cli *c, tune *t, clsample_options *standard)
{
    clsample_options options = CLSAMPLE_OPTIONS_INIT;
    clsample_ctx *ctx = NULL;

    options.flags = CLSAMPLE_NO_SELF_CHECK;
    *standard = options;
    clsample_status st = clsample_create(t->device.context, t->device.info->device_id, &options, &ctx);
    if (st == CLSAMPLE_OK) st = clsample_get_tuning(ctx, standard);
    clsample_destroy(ctx);
    if (st == CLSAMPLE_OK) st = open_context(t, *standard, &t->standard);
    if (st == CLSAMPLE_OK) t->longest = longest_row(t->standard);
    return st == CLSAMPLE_OK ? CLI_DONE : cli_fail_library(c);
}

static int prepare(cli *c, tune *t)
{
    int code = CLI_DONE;

    for (size_t i = 0; code == CLI_DONE && i < COUNT(shapes); i++) {
        cli_logits *l = &t->logits[i];
        *l = (cli_logits){ .dtype = CLSAMPLE_F32, .rows = shapes[i], .vocab = t->vocab };
        code = bench_make_logits(c, BENCH_LLM, l);
        if (code == CLI_DONE) t->jobs[i] = bench_open(c, &t->device, l, false, &code);
    }
    return code;
}

static int run(cli *c, tune *t)
{
    clsample_options standard;

    int code = cli_device_open(c, t->selector, &t->device);
    if (code == CLI_DONE && t->reset) return forget(c, t);
    if (code == CLI_DONE) code = find_default(c, t, &standard);
    if (code == CLI_DONE) code = prepare(c, t);
    if (code == CLI_DONE) code = search(c, t, standard);
    if (code == CLI_DONE) code = store_best(c, t);
    if (code != CLI_DONE) return code;
    if (c->json) return cli_result(c, json_all(t));
    print_end(t);
    return CLI_DONE;
}

static void release(tune *t)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        bench_close(t->jobs[i]);
        free(t->logits[i].data);
    }
    clsample_destroy(t->standard);
    cli_device_close(&t->device);
}

static void add_options(cli_options *o, tune *t)
{
    cli_add_heading(o, "Measuring (defaults in parentheses)");
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "vocab",
                             .value = "V",
                             .target = &t->vocab,
                             .min = 1,
                             .max = CLSAMPLE_MAX_VOCAB,
                             .help = "logits in a row (128256)" });
    cli_add(o, (cli_option){ .kind = CLI_FLOAT,
                             .name = "seconds",
                             .value = "S",
                             .target = &t->seconds,
                             .max = 3600,
                             .above = true,
                             .help = "for each of the six figures of a line (0.2)" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "all",
                             .target = &t->all,
                             .help = "try also the form that is not made for such a device, which some\n"
                                     "compilers take minutes for" });
    cli_add_heading(o, "What is stored");
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "dry-run",
                             .target = &t->dry_run,
                             .help = "measure, and leave it as it is" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "reset",
                             .target = &t->reset,
                             .help = "forget it, and measure nothing" });
}

static int check_usage(cli *c, tune *t)
{
    if (t->reset && t->dry_run) { return cli_fail_usage(c, "--reset and --dry-run: allowed is one of them"); }
    if (clsample_default_cache_dir(t->cache, sizeof t->cache) != CLSAMPLE_OK) t->cache[0] = 0;
    if (t->cache[0] || t->dry_run) return CLI_DONE;
    return cli_fail(c, CLI_FAILED, "E_OUTPUT",
                    "there is no folder to store in: CLSAMPLE_CACHE must be one, or --dry-run given");
}

int cmd_tune(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "[options]",
        .purpose = "Measure which way of using the device is fastest, and store it in the folder of compiled "
                   "kernels,\n"
                   "where every program that uses that folder finds it. It counts for this version of "
                   "clsample and of the\n"
                   "driver. No token hangs on it.",
    };
    tune t = { .vocab = VOCAB, .seconds = SECONDS };

    add_options(&o, &t);
    cli_add_device(&o, &t.selector);
    cli_add_common(&o, c);
    int code = cli_parse(c, &o, argc, argv);
    if (code != CLI_GO) return code;
    t.progress = !c->json && terminal_moves(stderr);
    code = check_usage(c, &t);
    if (code == CLI_DONE) code = run(c, &t);
    release(&t);
    return code;
}
