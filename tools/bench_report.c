/* SPDX-License-Identifier: Apache-2.0 */
/* How `clsample bench` shows what it measured: JSON, text, a table, CSV. */
#include "bench.h"
#include "terminal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *const bench_dtype_names[] = { "f32", "f16", "bf16", NULL };
const char *const bench_kind_names[] = { "llm", "flat", NULL };

static const char *logits_name(const bench_result *r)
{
    return r->setting->kind == CLI_UNSET ? "file" : bench_kind_names[r->setting->kind];
}

/* ---- JSON ---- */

static json_t *json_stats(const bench_stats *s)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "min", cli_json_number(s->min), "q1",
                     cli_json_number(s->quarter), "median", cli_json_number(s->median), "q3",
                     cli_json_number(s->three_quarters));
}

/* The names of those that are on, in the order in which they work. */
static json_t *json_samplers(const clsample_params *p)
{
    const clsample_sampler_entry *list[SAMPLING_MOST];
    const size_t count = sampling_list(p, list);
    json_t *names = json_array();

    for (size_t i = 0; i < count; i++) {
        if (!cli_json_append(names, json_string(list[i]->name))) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}

/* The field of each sampler, on or off; of a list its length. */
static json_t *json_params(const bench_result *r)
{
    const clsample_params *p = &r->setting->params;
    const clsample_sampler_entry *e;
    json_t *object = json_pack("{s:b, s:s, s:o}", "greedy", sampling_is_greedy(p), "rules",
                               cli_rules_name(p->rules), "samplers", json_samplers(p));

    for (uint32_t i = 0; object && (e = clsample_sampler_info(i)); i++) {
        const double number = e->count_offset ? sampling_count(p, e) : sampling_value(p, e);
        json_t *value = e->type == CLSAMPLE_TYPE_FLOAT ? json_real(number) : json_integer((json_int_t)number);
        if (json_object_set_new(object, e->name, value) == 0) continue;
        json_decref(object);
        object = NULL;
    }
    return object;
}

json_t *bench_json(const bench_result *r)
{
    const cli_logits *l = r->logits;

    return json_pack(
        "{s:o, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o,"
        " s:I, s:I, s:I}",
        "device", cli_json_device(r->device->info), "driver", r->device->info->driver, "version",
        clsample_version(), "vocab", (json_int_t)l->vocab, "rows", (json_int_t)l->rows, "dtype",
        bench_dtype_names[l->dtype], "logits", logits_name(r), "setting", r->setting->name, "params",
        json_params(r), "floor_us", cli_json_number(r->floor.median), "launch_us",
        cli_json_number(r->launch.median), "pipeline_us", cli_json_number(r->pipeline.median), "ratio",
        cli_json_number(r->ratio), "build_cold_ms", cli_json_number(r->build_cold_ms), "build_warm_ms",
        cli_json_number(r->build_warm_ms), "scratch_bytes", (json_int_t)r->scratch_bytes, "repetitions",
        (json_int_t)r->reps, "floor", json_stats(&r->floor), "launch", json_stats(&r->launch), "pipeline",
        json_stats(&r->pipeline), "floor_groups", (json_int_t)r->floor_groups, "floor_group_size",
        (json_int_t)r->floor_local, "copies", (json_int_t)r->copies);
}

/* ---- Text ---- */

static void print_stats(const char *name, const bench_stats *s)
{
    printf("%-10s %10.1f %10.1f %10.1f %10.1f\n", name, s->median, s->min, s->quarter, s->three_quarters);
}

void bench_print(const bench_result *r)
{
    const cli_logits *l = r->logits;
    const double bytes = (double)l->rows * l->vocab * (double)cli_dtype_size(l->dtype);

    printf("rows %" PRIu32 ", vocab %" PRIu32 ", %s, %s logits, ", l->rows, l->vocab,
           bench_dtype_names[l->dtype], logits_name(r));
    sampling_print_all(stdout, &r->setting->params, ", ");
    if (!sampling_is_greedy(&r->setting->params))
        printf(", rules %s", cli_rules_name(r->setting->params.rules));
    printf("\n%zu repetitions, microseconds\n\n%-10s %10s %10s %10s %10s\n", r->reps, "", "median", "min",
           "1/4", "3/4");
    print_stats("pipeline", &r->pipeline);
    print_stats("floor", &r->floor);
    print_stats("launch", &r->launch);
    printf("\nratio      %10.2f  (pipeline / floor; the floor reads %.2f GB/s, %zu groups of %zu)\n",
           r->ratio, bytes / r->floor.median * 1e-3, r->floor_groups, r->floor_local);
    if (isfinite(r->build_cold_ms)) {
        printf("build cold %10.1f ms, with clsample's cache %.1f ms\n", r->build_cold_ms, r->build_warm_ms);
    }
    printf("scratch    %10" PRIu64 " bytes\n", r->scratch_bytes);
    if (r->copies > 1) printf("copies     %10zu of the logits, in turns\n", r->copies);
}

void bench_print_table_head(void)
{
    printf("%-8s %-5s %8s %5s %-12s %10s %10s %10s %7s\n", "device", "dtype", "vocab", "rows", "setting",
           "launch", "floor", "pipeline", "ratio");
}

void bench_print_table_row(const bench_result *r)
{
    const cli_logits *l = r->logits;

    printf("%-8s %-5s %8" PRIu32 " %5" PRIu32 " %-12s %10.1f %10.1f %10.1f %7.2f\n",
           r->device->info->selector, bench_dtype_names[l->dtype], l->vocab, l->rows, r->setting->name,
           r->launch.median, r->floor.median, r->pipeline.median, r->ratio);
}

/* A name between double quotes, as CSV has it. */
static void print_quoted(const char *text)
{
    putchar('"');
    while (*text) {
        const size_t length = strcspn(text + 1, "\"") + 1;
        if (*text == '"') putchar('"');
        terminal_write(stdout, text, length);
        text += length;
    }
    putchar('"');
}

void bench_print_csv_head(void)
{
    printf("selector,platform,name,driver,dtype,vocab,rows,logits,setting,temperature,min_p,top_k,top_p,"
           "rules,repetitions,launch_us,floor_us,pipeline_us,pipeline_min_us,pipeline_q1_us,pipeline_q3_us,"
           "ratio,scratch_bytes,copies,samplers\n");
}

void bench_print_csv_row(const bench_result *r)
{
    const cli_logits *l = r->logits;
    const clsample_params *p = &r->setting->params;

    printf("%s,", r->device->info->selector);
    print_quoted(r->device->info->platform);
    putchar(',');
    print_quoted(r->device->info->name);
    putchar(',');
    print_quoted(r->device->info->driver);
    printf(",%s,%" PRIu32 ",%" PRIu32 ",%s,%s,", bench_dtype_names[l->dtype], l->vocab, l->rows,
           logits_name(r), r->setting->name);
    printf("%g,%g,%" PRIu32 ",%g,%s,", p->flags & CLSAMPLE_GREEDY ? 0.0 : (double)p->temperature,
           (double)p->min_p, p->top_k, (double)p->top_p, cli_rules_name(p->rules));
    printf("%zu,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.4f,%" PRIu64 ",%zu,\"", r->reps, r->launch.median,
           r->floor.median, r->pipeline.median, r->pipeline.min, r->pipeline.quarter,
           r->pipeline.three_quarters, r->ratio, r->scratch_bytes, r->copies);
    sampling_print_all(stdout, p, "; ");
    puts("\"");
}
