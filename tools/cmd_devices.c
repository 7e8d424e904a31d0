/* SPDX-License-Identifier: Apache-2.0 */
/* clsample devices: what there is, what of it can be used, and what a command would use. */
#include "cli.h"
#include "terminal.h"

#include <inttypes.h>
#include <string.h>

typedef struct listing {
    clsample_devices *list;
    size_t count;
    bool found;    /* a device matches the selection */
    size_t chosen; /* its index */
    char why[256]; /* why it is chosen */
} listing;

/* Each check may compile kernels, which can take seconds: say so where somebody watches. */
static void check_all(const listing *l)
{
    const bool watched = terminal_moves(stderr);

    for (size_t i = 0; i < l->count; i++) {
        const clsample_device_info *info = clsample_devices_info(l->list, i);
        if (!info->usable) continue;
        if (watched) {
            terminal_clear_line(stderr);
            terminal_print(stderr, "checking %s %s", info->selector, info->name);
        }
        clsample_devices_check(l->list, i); /* the outcome is in the info */
    }
    if (watched) terminal_clear_line(stderr);
}

/* Which device a command with the same selection would use. */
static int choose(cli *c, const char *option, listing *l)
{
    const char *source = NULL;
    const char *selector = cli_selector(option, &source);

    const clsample_status status = clsample_devices_select(l->list, selector, &l->chosen);
    l->found = status == CLSAMPLE_OK;
    if (selector) {
        const int length = snprintf(l->why, sizeof l->why, "%s is \"%s\"", source, selector);
        cli_mark_cut(l->why, sizeof l->why, length);
    } else {
        snprintf(l->why, sizeof l->why, "it is the best-ranked usable device");
    }
    if (status != CLSAMPLE_E_NO_DEVICE) return l->found ? CLI_DONE : cli_fail_library(c);
    if (l->count == 0) return cli_fail_library(c);
    return cli_fail(c, CLI_NO_DEVICE, clsample_status_name(status),
                    "no usable device%s%s; the list says what there is "
                    "and why each was refused",
                    selector ? " matches: " : "", selector ? l->why : "");
}

/* ---- JSON ---- */

static json_t *json_device(const clsample_device_info *d, bool is_default)
{
    json_t *head = json_pack("{s:s, s:o, s:o, s:o, s:s, s:b, s:o, s:s, s:b, s:I}", "selector", d->selector,
                             "platform", cli_json_text(d->platform), "name", cli_json_text(d->name), "vendor",
                             cli_json_text(d->vendor), "type", d->type, "usable", d->usable, "reason",
                             cli_json_text(d->reason), "self_check", d->self_check, "default",
                             (int)is_default, "rank", (json_int_t)d->rank);
    json_t *rest = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b}", "driver",
                             cli_json_text(d->driver), "opencl", cli_json_text(d->opencl), "opencl_c",
                             cli_json_text(d->opencl_c), "compute_units", (json_int_t)d->compute_units,
                             "local_memory", (json_int_t)d->local_memory, "global_memory",
                             (json_int_t)d->global_memory, "max_allocation", (json_int_t)d->max_allocation,
                             "max_work_group", (json_int_t)d->max_work_group, "fp16", d->fp16, "denormals",
                             d->denormals, "fma", d->fma, "simulator", d->simulator);

    if (!head || !rest || json_object_update(head, rest) != 0) {
        json_decref(head);
        head = NULL;
    }
    json_decref(rest);
    return head;
}

static json_t *json_chosen(const listing *l)
{
    return l->found ? json_string(clsample_devices_info(l->list, l->chosen)->selector) : json_null();
}

static int give_json(cli *c, const listing *l)
{
    json_t *devices = json_array();

    for (size_t i = 0; i < l->count; i++) {
        const bool is_default = l->found && i == l->chosen;
        if (!cli_json_append(devices, json_device(clsample_devices_info(l->list, i), is_default))) {
            json_decref(devices);
            return cli_fail_memory(c);
        }
    }
    return cli_result(c, json_pack("{s:o, s:o, s:o}", "devices", devices, "chosen", json_chosen(l),
                                   "chosen_because", l->found ? cli_json_text(l->why) : json_null()));
}

/* ---- Text ---- */

static const char *yes_no(int value)
{
    return value ? "yes" : "no";
}

/* "48 KiB", "7.8 GiB". */
static const char *bytes_text(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    snprintf(text, size, value < 10 && value > (double)(uint64_t)value ? "%.1f %s" : "%.0f %s", value,
             units[unit]);
    return text;
}

/* Length without the blanks that OpenCL's version strings end in. */
static int trimmed(const char *text)
{
    size_t length = strlen(text);

    while (length > 0 && text[length - 1] == ' ')
        length--;
    return (int)length;
}

static void print_details(const clsample_device_info *d)
{
    terminal_print(stdout, "        %.*s, %.*s, driver %.*s\n", trimmed(d->opencl), d->opencl,
                   trimmed(d->opencl_c), d->opencl_c, trimmed(d->driver), d->driver);
    if (!d->usable) terminal_print(stdout, "        refused: %s\n", d->reason);
}

static void print_device(const clsample_device_info *d, bool is_default)
{
    char rank[16] = "-", local[32], global[32];

    if (d->rank) snprintf(rank, sizeof rank, "%" PRIu32, d->rank);
    terminal_print(
        stdout, "%c %-5s %-11s %4s  %-7s %5" PRIu32 " %8s %8s %5" PRIu64 "  %-4s  %-6s  %-3s  %s / %s%s\n",
        is_default ? '*' : ' ', d->selector, d->type, rank, d->self_check, d->compute_units,
        bytes_text(d->local_memory, local, sizeof local), bytes_text(d->global_memory, global, sizeof global),
        d->max_work_group, yes_no(d->fp16), yes_no(d->denormals), yes_no(d->fma), d->platform, d->name,
        d->simulator ? " (simulator)" : "");
    if (d->device_id) print_details(d);
    if (!d->device_id) terminal_print(stdout, "        no device: %s\n", d->reason);
}

static void print_text(const listing *l)
{
    if (l->count == 0) return;
    printf("  %-5s %-11s %4s  %-7s %5s %8s %8s %5s  %-4s  %-6s  %-3s  %s\n", "", "type", "rank", "check",
           "units", "local", "global", "group", "fp16", "denorm", "fma", "platform / device");
    for (size_t i = 0; i < l->count; i++) {
        print_device(clsample_devices_info(l->list, i), l->found && i == l->chosen);
    }
    if (l->found) {
        terminal_print(stdout, "\n* %s is chosen because %s.\n",
                       clsample_devices_info(l->list, l->chosen)->selector, l->why);
    }
}

int cmd_devices(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "[options]",
        .purpose =
            "List every device of every OpenCL platform, check each with a short known-answer test, and say\n"
            "which one the other commands use (*). Columns: rank 1 is best; local and global memory; the\n"
            "largest work-group; half precision, float denormals and fused multiply-add in hardware, none\n"
            "of which is needed.",
    };
    listing l = { .list = NULL };
    const char *device = NULL;

    cli_add_device(&o, &device);
    cli_add_common(&o, c);
    int code = cli_parse(c, &o, argc, argv);
    if (code != CLI_GO) return code;
    code = cli_check_selector(c, device);
    if (code == CLI_DONE) code = cli_devices_open(c, &l.list);
    if (code != CLI_DONE) return code;
    l.count = clsample_devices_count(l.list);
    check_all(&l);
    code = choose(c, device, &l);
    if (code == CLI_DONE || code == CLI_NO_DEVICE) {
        const int printed = c->json ? give_json(c, &l) : CLI_DONE;
        if (!c->json) print_text(&l);
        if (printed != CLI_DONE) code = printed;
    }
    clsample_devices_close(l.list);
    return code;
}
