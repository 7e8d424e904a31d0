/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "terminal.h"

#include <errno.h>
#include <float.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_OPTION 256 /* getopt's code of option 0: above any character */
#define CACHE_PATH 4096  /* bytes */
#define HELP_COLUMN 26   /* where the help's explanations begin */
#define HELP_WIDTH 100   /* columns of the help, as far as it breaks lines itself */

/* ---- Memory ---- */

struct cli_block {
    void *memory;
    cli_block *next;
};

void *cli_keep(cli *c, const void *old, size_t bytes)
{
    cli_block *block = old ? c->kept : NULL;

    while (block && block->memory != old)
        block = block->next;
    if (!block) {
        block = calloc(1, sizeof *block);
        if (!block) return NULL;
        block->next = c->kept;
        c->kept = block;
    }
    void *memory = realloc(block->memory, bytes);
    if (memory) block->memory = memory;
    return memory;
}

static void release_kept(cli *c)
{
    while (c->kept) {
        cli_block *block = c->kept;
        c->kept = block->next;
        free(block->memory);
        free(block);
    }
}

/* ---- How a command ends ---- */

int cli_fail(cli *c, int exit_code, const char *code, const char *format, ...)
{
    va_list args;

    snprintf(c->code, sizeof c->code, "%s", code);
    va_start(args, format);
    cli_mark_cut(c->message, sizeof c->message, vsnprintf(c->message, sizeof c->message, format, args));
    va_end(args);
    return exit_code;
}

void cli_mark_cut(char *text, size_t size, int length)
{
    if (length >= 0 && (size_t)length >= size && size > strlen("...")) strcpy(text + size - 4, "...");
}

int cli_fail_memory(cli *c)
{
    return cli_fail(c, CLI_FAILED, "E_MEMORY", "out of host memory");
}

int cli_fail_library(cli *c)
{
    const clsample_error *e = clsample_last_error();
    const bool device = e->status == CLSAMPLE_E_NO_DEVICE || e->status == CLSAMPLE_E_DEVICE;

    if (e->log[0]) {
        free(c->log);
        c->log = strdup(e->log);
    }
    return cli_fail(c, device ? CLI_NO_DEVICE : CLI_FAILED, clsample_status_name(e->status), "%s",
                    e->message);
}

int cli_fail_opencl(cli *c, cl_int error, const char *call)
{
    return cli_fail(c, CLI_FAILED, clsample_status_name(CLSAMPLE_E_OPENCL), "%s failed with OpenCL error %d",
                    call, (int)error);
}

int cli_result(cli *c, json_t *object)
{
    if (!object) return cli_fail_memory(c);
    json_decref(c->result);
    c->result = object;
    return CLI_DONE;
}

/* The failure as {"error": ...}, beside what the command already has to say. */
static bool add_error(cli *c)
{
    json_t *error = json_pack("{s:s, s:o}", "code", c->code, "message", cli_json_text(c->message));

    if (!c->result) c->result = json_object();
    if (error && c->log) json_object_set_new(error, "log", cli_json_text(c->log));
    return json_object_set_new(c->result, "error", error) == 0;
}

/* False if out of memory, which is told instead. */
static bool print_json(cli *c, bool failed)
{
    const size_t flags =
        JSON_REAL_PRECISION(9); /* as many digits as a float needs to be read back unchanged */

    char *text = failed && !add_error(c) ? NULL : json_dumps(c->result, flags);

    if (text) {
        terminal_write_json(stdout, text, strlen(text));
        putchar('\n');
        free(text);
        return true;
    }
    if (!failed && !c->result) return true; /* nothing to say */
    puts("{\"error\": {\"code\": \"E_MEMORY\", \"message\": \"out of host memory\"}}");
    return false;
}

int cli_finish(cli *c, int exit_code)
{
    const char *space = c->command[0] ? " " : "";
    const bool failed = exit_code != CLI_DONE;

    fflush(stdout); /* data before messages where both go to one terminal */
    if (failed) terminal_print(stderr, "clsample%s%s: %s\n", space, c->command, c->message);
    if (failed && c->log) terminal_print(stderr, "%s\n", c->log);
    if (c->json && !print_json(c, failed)) exit_code = CLI_FAILED;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "clsample%s%s: cannot write to standard output: %s\n", space, c->command,
                strerror(errno));
        exit_code = CLI_FAILED;
    }
    json_decref(c->result);
    free(c->log);
    release_kept(c);
    return exit_code;
}

/* ---- Numbers ---- */

/* Only what strtod() is to see: no space, no hexadecimal, no "infinity" by surprise. */
static bool plain_number(const char *text, size_t length)
{
    return length > 0 && strspn(text, "+-.0123456789eE") >= length;
}

static bool special_number(const char *text, size_t length)
{
    static const char *const names[] = { "inf", "infinity", "nan" };
    const size_t sign = length > 0 && (text[0] == '-' || text[0] == '+');

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (length - sign != strlen(names[i])) continue;
        size_t same = 0;
        while (same < length - sign && (text[sign + same] | 0x20) == names[i][same])
            same++;
        if (same == length - sign) return true;
    }
    return false;
}

bool cli_parse_float(const char *text, size_t length, bool special, float *value)
{
    char *end = NULL;

    if (!plain_number(text, length) && !(special && special_number(text, length))) return false;
    errno = 0;
    *value = strtof(text, &end);
    if (end != text + length) return false;
    if (errno == ERANGE && fabsf(*value) > 1) return false;
    if (errno == ERANGE && *value == 0) *value = text[0] == '-' ? -FLT_MIN : FLT_MIN;
    return true;
}

static bool parse_u64(const char *text, uint64_t *value)
{
    char *end = NULL;

    if (!text[0] || text[strspn(text, "0123456789")]) return false;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end) return false;
    *value = number;
    return true;
}

static bool parse_u32(const char *text, double min, double max, uint32_t *value)
{
    uint64_t number = 0;

    if (!parse_u64(text, &number) || (double)number < min || (double)number > max) return false;
    *value = (uint32_t)number;
    return true;
}

/* The range is checked before the number is rounded to a float. */
static bool parse_ranged_float(const cli_option *o, const char *text)
{
    float number = 0;

    if (!cli_parse_float(text, strlen(text), false, &number)) return false;
    const double exact = strtod(text, NULL);
    if (exact > o->max || exact < o->min || (o->above && number <= (float)o->min)) return false;
    *(float *)o->target = number + 0.0f; /* -0 becomes 0 */
    return true;
}

static bool parse_choice(const cli_option *o, const char *text)
{
    for (uint32_t i = 0; o->choices[i]; i++) {
        if (strcmp(text, o->choices[i]) == 0) {
            *(uint32_t *)o->target = i;
            return true;
        }
    }
    return false;
}

/* ---- Options ---- */

void cli_add(cli_options *o, cli_option option)
{
    if (o->count == o->room) {
        const size_t room = 2 * o->room + 32;
        cli_option *list = realloc(o->list, room * sizeof *list);
        o->failed = o->failed || !list;
        if (!list) return;
        o->list = list;
        o->room = room;
    }
    o->list[o->count++] = option;
}

void cli_add_heading(cli_options *o, const char *text)
{
    cli_add(o, (cli_option){ .kind = CLI_HEADING, .name = text });
}

void cli_add_common(cli_options *o, cli *c)
{
    cli_add_heading(o, "Output");
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "json",
                             .target = &c->json,
                             .help = "print one JSON object, also on failure" });
    cli_add(
        o, (cli_option){ .kind = CLI_SWITCH, .name = "help", .target = &o->help, .help = "print this text" });
}

void cli_add_model(cli_options *o, const char **model)
{
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "model",
                             .value = "F.gguf",
                             .target = (void *)model,
                             .help = "the model, a GGUF file with a byte-level BPE tokenizer" });
}

void cli_add_device(cli_options *o, const char **selector)
{
    cli_add_heading(o, "Device");
    cli_add(o,
            (cli_option){ .kind = CLI_TEXT,
                          .name = "device",
                          .value = "SEL",
                          .target = (void *)selector,
                          .help = "P:D as `clsample devices` numbers them, cpu, gpu, accelerator, or a part\n"
                                  "of \"platform / device\"; else CLSAMPLE_DEVICE, else the best" });
}

/* "seed, vllm or llama.cpp" */
static int print_choices(const char *const *choices, char *text, size_t size)
{
    int used = 0;

    for (size_t i = 0; choices[i] && (size_t)used < size; i++) {
        const char *separator = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        used += snprintf(text + used, size - (size_t)used, "%s%s", separator, choices[i]);
    }
    return used;
}

/* What a value may be, as a phrase after "allowed is". */
static void allowed_values(const cli_option *o, char *text, size_t size)
{
    int length = 0;

    if (o->kind == CLI_FLOAT && o->min <= -FLT_MAX) {
        length = snprintf(text, size, "a finite number");
    } else if (o->kind == CLI_FLOAT) {
        length = snprintf(text, size, "a number %s %g%s %g", o->above ? "above" : "from", o->min,
                          o->above ? ", at most" : " to", o->max);
    } else if (o->kind == CLI_U32) {
        length = snprintf(text, size, "a whole number from %.0f to %.0f", o->min, o->max);
    } else if (o->kind == CLI_LIST) {
        length = snprintf(text, size, "a text of at least a character, %d times at most", CLI_MAX_LIST);
    } else if (o->kind == CLI_U64) {
        length = snprintf(text, size, "a whole number from 0 to %" PRIu64, UINT64_MAX);
    } else if (o->choices) {
        length = print_choices(o->choices, text, size);
    }
    cli_mark_cut(text, size, length);
}

/* An empty text would be found everywhere. */
static bool append_text(cli_list *list, const char *text)
{
    if (!text[0] || list->count == CLI_MAX_LIST) return false;
    list->text[list->count++] = text;
    return true;
}

static int set_option(cli *c, const cli_option *o, const char *text)
{
    char allowed[512] = "";
    bool ok = true;

    switch (o->kind) {
    case CLI_HEADING: break;
    case CLI_SWITCH: *(bool *)o->target = true; break;
    case CLI_BIT: *(uint32_t *)o->target |= o->bit; break;
    case CLI_TEXT: *(const char **)o->target = text; break;
    case CLI_LIST: ok = append_text(o->target, text); break;
    case CLI_CHOICE: ok = parse_choice(o, text); break;
    case CLI_U32: ok = parse_u32(text, o->min, o->max, o->target); break;
    case CLI_U64: ok = parse_u64(text, o->target); break;
    case CLI_FLOAT: ok = parse_ranged_float(o, text); break;
    case CLI_READ: return o->read(c, o, text);
    }
    if (ok) return CLI_GO;
    allowed_values(o, allowed, sizeof allowed);
    return cli_fail_usage(c, "--%s \"%s\": allowed is %s", o->name, text, allowed);
}

/* What getopt_long() refused: `code` is its answer, '?' or ':'. */
static int refuse_option(cli *c, const cli_options *o, int code, char **argv)
{
    if (code == ':' && optopt >= FIRST_OPTION) {
        const cli_option *option = &o->list[optopt - FIRST_OPTION];
        return cli_fail_usage(c, "--%s needs a value %s", option->name, option->value);
    }
    if (optopt >= FIRST_OPTION) {
        return cli_fail_usage(c, "%s: --%s takes no value", argv[optind - 1],
                              o->list[optopt - FIRST_OPTION].name);
    }
    if (optopt > 0) {
        return cli_fail_usage(c, "unknown option -%c; clsample %s --help lists the options", optopt,
                              c->command);
    }
    return cli_fail_usage(c, "unknown or ambiguous option %s; clsample %s --help lists the options",
                          argv[optind - 1], c->command);
}

/* " (1; also --temp)", or "" if there is nothing to say. */
static void describe_rest(const cli_option *o, char *text, size_t size)
{
    const bool has_alias = o->alias && o->alias[0];
    char standard[32] = "";

    if (o->standard) snprintf(standard, sizeof standard, "%g%s", *o->standard, has_alias ? "; " : "");
    text[0] = 0;
    if (o->standard || has_alias)
        cli_mark_cut(text, size,
                     snprintf(text, size, " (%s%s%s)", standard, has_alias ? "also --" : "",
                              has_alias ? o->alias : ""));
}

/* One option of the help; a newline in its text goes on in the same column. */
static void print_option(FILE *to, const cli_option *o)
{
    const int left = fprintf(to, "  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
    const char *last = strrchr(o->help, '\n');
    char rest[128];

    fprintf(to, "%*s", left < HELP_COLUMN ? HELP_COLUMN - left : 1, "");
    for (const char *p = o->help; *p; p++) {
        putc(*p, to);
        if (*p == '\n') fprintf(to, "%*s", HELP_COLUMN, "");
    }
    describe_rest(o, rest, sizeof rest);
    if (HELP_COLUMN + strlen(last ? last + 1 : o->help) + strlen(rest) > HELP_WIDTH)
        fprintf(to, "\n%*s%s", HELP_COLUMN, "", rest + 1);
    else
        fputs(rest, to);
    putc('\n', to);
}

static void print_help(FILE *to, const cli *c, const cli_options *o)
{
    fprintf(to, "usage: clsample %s %s\n\n%s\n", c->command, o->usage, o->purpose);
    for (size_t i = 0; i < o->count; i++) {
        if (o->list[i].kind == CLI_HEADING) {
            fprintf(to, "\n%s\n", o->list[i].name);
        } else {
            print_option(to, &o->list[i]);
        }
    }
}

static int show_help(cli *c, const cli_options *o)
{
    char *text = NULL;
    size_t size = 0;
    int code = CLI_DONE;

    if (!c->json) {
        print_help(stdout, c, o);
        return CLI_DONE;
    }
    FILE *memory = open_memstream(&text, &size);
    if (!memory) return cli_fail_memory(c);
    print_help(memory, c, o);
    code = fclose(memory) == 0 ? cli_result(c, json_pack("{s:s}", "help", text)) : cli_fail_memory(c);
    free(text);
    return code;
}

/* The table in getopt's own form: names and aliases with the index of their option. */
static void fill_getopt(const cli_options *o, struct option *table)
{
    for (size_t i = 0; i < o->count; i++) {
        const cli_option *option = &o->list[i];
        const char *const names[] = { option->name, option->alias };
        for (size_t n = 0; n < 2 && option->kind != CLI_HEADING; n++) {
            if (!names[n] || !names[n][0]) continue;
            table->name = names[n];
            table->has_arg = option->value ? required_argument : no_argument;
            table->val = FIRST_OPTION + (int)i;
            table++;
        }
    }
}

static int read_options(cli *c, cli_options *o, const struct option *table, int argc, char **argv)
{
    int code = CLI_GO;
    int got = 0;

    opterr = 0;
    optind = 1;
    while (code == CLI_GO && (got = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
        if (got == 'h') {
            o->help = true;
        } else if (got >= FIRST_OPTION) {
            code = set_option(c, &o->list[got - FIRST_OPTION], optarg);
        } else {
            code = refuse_option(c, o, got, argv);
        }
    }
    if (code != CLI_GO) return code;
    if (o->help) return show_help(c, o);
    o->args = argv + optind;
    o->n_args = argc - optind;
    if (o->n_args > o->max_args) {
        return cli_fail_usage(c, "argument \"%s\" is one too many; clsample %s --help says what is taken",
                              o->args[o->max_args], c->command);
    }
    return CLI_GO;
}

int cli_parse(cli *c, cli_options *o, int argc, char **argv)
{
    struct option *table = o->failed ? NULL : calloc(2 * o->count + 1, sizeof *table);
    int code = CLI_GO;

    if (table) {
        fill_getopt(o, table);
        code = read_options(c, o, table, argc, argv);
    } else {
        code = cli_fail_memory(c);
    }
    free(table);
    free(o->list);
    o->list = NULL;
    o->count = o->room = 0;
    return code;
}

/* ---- Device ---- */

const char *cli_selector(const char *option, const char **source)
{
    const char *variable = getenv("CLSAMPLE_DEVICE");
    const bool from_variable = !option && variable && variable[0];

    if (source) *source = option ? "--device" : from_variable ? "CLSAMPLE_DEVICE" : NULL;
    return from_variable ? variable : option;
}

int cli_check_selector(cli *c, const char *option)
{
    if (!option || option[0]) return CLI_DONE;
    return cli_fail_usage(
        c, "--device \"\": allowed is P:D, cpu, gpu, accelerator or a part of a device's name");
}

int cli_devices_open(cli *c, clsample_devices **list)
{
    clsample_options options = CLSAMPLE_OPTIONS_INIT;
    char cache[CACHE_PATH];

    /* A folder whose path is too long costs the cache, nothing else. */
    if (clsample_default_cache_dir(cache, sizeof cache) == CLSAMPLE_OK) options.cache_dir = cache;
    return clsample_devices_open(&options, list) == CLSAMPLE_OK ? CLI_DONE : cli_fail_library(c);
}

static int select_device(cli *c, const char *selector, cli_device *device, size_t *index)
{
    const int code = cli_devices_open(c, &device->list);
    if (code != CLI_DONE) return code;
    if (clsample_devices_select(device->list, selector, index) != CLSAMPLE_OK) return cli_fail_library(c);
    device->info = clsample_devices_info(device->list, *index);
    if (!c->json) {
        terminal_print(stderr, "device %s %s / %s\n", device->info->selector, device->info->platform,
                       device->info->name);
    }
    return CLI_DONE;
}

int cli_device_open(cli *c, const char *selector, cli_device *device)
{
    cl_int error = CL_SUCCESS;
    size_t index = 0;

    int code = cli_check_selector(c, selector);
    if (code == CLI_DONE) code = select_device(c, cli_selector(selector, NULL), device, &index);
    if (code != CLI_DONE) return code;
    const cl_device_id id = device->info->device_id;
    const cl_context_properties properties[] = { CL_CONTEXT_PLATFORM,
                                                 (cl_context_properties)device->info->platform_id, 0 };
    device->context = clCreateContext(properties, 1, &id, NULL, NULL, &error);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clCreateContext");
    device->queue = clCreateCommandQueue(device->context, id, 0, &error);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clCreateCommandQueue");
    if (clsample_devices_create(device->list, index, device->context, &device->ctx) != CLSAMPLE_OK)
        return cli_fail_library(c);
    return CLI_DONE;
}

void cli_device_close(cli_device *device)
{
    clsample_destroy(device->ctx);
    if (device->queue) clReleaseCommandQueue(device->queue);
    if (device->context) clReleaseContext(device->context);
    clsample_devices_close(device->list);
}

cl_mem cli_upload(cli *c, const cli_device *device, const void *data, size_t bytes, const char *what)
{
    cl_int error = CL_SUCCESS;
    /* OpenCL 1.2 takes host memory as not const, but only reads it under this flag. */
    cl_mem mem = clCreateBuffer(device->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes,
                                (void *)(uintptr_t)data, &error);

    if (error != CL_SUCCESS) {
        cli_fail_opencl(c, error, what);
        return NULL;
    }
    return mem;
}

/* ---- JSON ---- */

json_t *cli_json_text(const char *text)
{
    json_t *string = json_string(text);
    char *copy = string ? NULL : strdup(text);

    if (!copy) return string;
    for (char *p = copy; *p; p++) {
        if ((unsigned char)*p >= 0x80) *p = '?';
    }
    string = json_string(copy);
    free(copy);
    return string;
}

json_t *cli_json_number(double number)
{
    return isfinite(number) ? json_real(number) : json_null();
}

json_t *cli_json_device(const clsample_device_info *info)
{
    return json_pack("{s:s, s:o, s:o}", "selector", info->selector, "platform", cli_json_text(info->platform),
                     "name", cli_json_text(info->name));
}

bool cli_json_append(json_t *array, json_t *value)
{
    return json_array_append_new(array, value) == 0;
}
