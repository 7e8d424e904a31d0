/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the clsample command share: how a command ends, its options, its input, its device, JSON.
 *
 * A command returns an exit code. What went wrong goes into its `cli` with cli_fail(), what it found into
 * cli.result (with --json) or to standard output (without); main() reports both, so that --json always prints
 * exactly one object.
 */
#ifndef CLI_H
#define CLI_H

#include "clsample.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#if defined(__GNUC__)
#define CLI_FORMAT(string, first) __attribute__((format(printf, string, first)))
#else
#define CLI_FORMAT(string, first)
#endif

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NO_DEVICE = 3 };

#define CLI_GO (-1)      /* cli_parse(): nothing to report yet, run the command */
#define CLI_MESSAGE 2048 /* bytes of an error message */
#define CLI_UNSET UINT32_MAX

/* ---- How a command ends ---- */

typedef struct cli_block cli_block;

typedef struct cli {
    const char *command;       /* its name, "" before one is known */
    bool json;                 /* --json */
    json_t *result;            /* with --json: the object to print; owned */
    char code[32];             /* of the failure: a status of the library, E_USAGE, E_INPUT or E_OUTPUT */
    char message[CLI_MESSAGE]; /* what failed: which argument or file, its value, what is allowed */
    char *log;                 /* the device compiler's log, or NULL; owned */
    cli_block *kept;           /* what cli_keep() gave; owned */
} cli;

/* Note a failure and return `exit_code`. A later call replaces the note. */
CLI_FORMAT(4, 5) int cli_fail(cli *c, int exit_code, const char *code, const char *format, ...);
/* The three kinds that need no name of their own: wrong usage, bad input data, no memory left. */
#define cli_fail_usage(c, ...) cli_fail(c, CLI_USAGE, "E_USAGE", __VA_ARGS__)
#define cli_fail_input(c, ...) cli_fail(c, CLI_FAILED, "E_INPUT", __VA_ARGS__)
int cli_fail_memory(cli *c);
/* A text that snprintf() found to have `length` bytes, in room for `size`: one that was cut ends in "...". */
void cli_mark_cut(char *text, size_t size, int length);
/* Note the library's last failure: exit code 3 where a device is at fault, else 1. */
int cli_fail_library(cli *c);
/* Note a failed OpenCL call, e.g. "clCreateBuffer logits". */
int cli_fail_opencl(cli *c, cl_int error, const char *call);
/* Memory that lives until cli_finish(): new, or for `old`, which came from here, grown or moved by realloc().
 * NULL: out of memory, and `old` is as it was. */
void *cli_keep(cli *c, const void *old, size_t bytes);
/* Report the failure or the result, free both, and return the exit code of the process: `exit_code`, or 1 if
 * standard output could not be written. */
int cli_finish(cli *c, int exit_code);
/* cli.result = `object`, whose reference is taken; NULL means out of memory. Returns the exit code. */
int cli_result(cli *c, json_t *object);

/* ---- Options: one table a command, made of groups ---- */

typedef enum cli_kind {
    CLI_HEADING, /* no option: a line of the help */
    CLI_SWITCH,  /* bool, set to true */
    CLI_BIT,     /* uint32_t, in which `bit` is set */
    CLI_TEXT,    /* const char * into argv */
    CLI_LIST,    /* cli_list, to which each is appended */
    CLI_CHOICE,  /* uint32_t, index into `choices` */
    CLI_U32,     /* uint32_t from min to max */
    CLI_U64,     /* uint64_t, any */
    CLI_FLOAT,   /* float from min to max */
    CLI_READ     /* what `read` makes of it */
} cli_kind;

typedef struct cli_option {
    cli_kind kind;
    const char *name;  /* without the dashes; of a heading its text */
    const char *alias; /* another name; NULL or "" if it has none */
    const char *value; /* what the help calls the value; NULL if it takes none */
    const char *help;
    void *target;               /* of the type that `kind` names; holds the default beforehand */
    double min, max;            /* CLI_U32, CLI_FLOAT: what is allowed, both ends included */
    bool above;                 /* CLI_FLOAT: `min` itself is not allowed */
    uint32_t bit;               /* CLI_BIT */
    const char *const *choices; /* CLI_CHOICE: ends with NULL */
    const double *standard;     /* what the help calls the default after its text; NULL: `help` has it */
    /* CLI_READ: take `text` into `target`. Returns CLI_GO, or the exit code of a failure that it notes. */
    int (*read)(cli *c, const struct cli_option *o, const char *text);
} cli_option;

/* Values of an option that may be given more than once. */
#define CLI_MAX_LIST 16
typedef struct cli_list {
    const char *text[CLI_MAX_LIST]; /* into argv */
    size_t count;
} cli_list;

typedef struct cli_options {
    const char *usage;   /* what follows "clsample COMMAND" */
    const char *purpose; /* a sentence or two for the help */
    cli_option *list;    /* owned until cli_parse(), which frees it */
    size_t count, room;
    bool failed;  /* out of memory: cli_parse() says so */
    int max_args; /* arguments allowed besides options */
    char **args;  /* after cli_parse(): those given, `n_args` of them */
    int n_args;
    bool help; /* --help was given */
} cli_options;

/* Each option must be added before cli_parse(), which is due then. */
void cli_add(cli_options *o, cli_option option);
/* A line of its own in the help. */
void cli_add_heading(cli_options *o, const char *text);
/* --json and --help, which every command has. */
void cli_add_common(cli_options *o, cli *c);
/* --model. */
void cli_add_model(cli_options *o, const char **model);
/* --device. */
void cli_add_device(cli_options *o, const char **selector);
/* Read argv[1..] into the targets. Returns CLI_GO, or the exit code where the command ends here: --help, or
 * an option that is unknown, lacks a value, or has one that is not allowed. */
int cli_parse(cli *c, cli_options *o, int argc, char **argv);

/* The whole of text[0..length) as a float, after which no number may go on: digits, a point, an exponent, and
 * with `special` also inf and nan. False if it is anything else or too large. What is too small for a float
 * but not 0 gives the smallest normal float of its sign, so that it never means "off". */
bool cli_parse_float(const char *text, size_t length, bool special, float *value);

/* ---- Input: logits.c ---- */

typedef struct cli_input {
    const char *list;   /* --logits */
    const char *file;   /* --logits-file */
    const char *tokens; /* --tokens */
    uint32_t raw;       /* --raw: a clsample_dtype, or CLI_UNSET */
    uint32_t vocab;     /* --vocab, or 0 */
    uint32_t row;       /* --row, or CLI_UNSET */
} cli_input;
#define CLI_INPUT_INIT                            \
    {                                             \
        NULL, NULL, NULL, CLI_UNSET, 0, CLI_UNSET \
    }

typedef struct cli_logits {
    unsigned char *data; /* [rows, vocab], row-major, little-endian; owned */
    uint32_t dtype;      /* a clsample_dtype */
    uint32_t rows;
    uint32_t vocab;
    uint32_t first_row; /* number in the file of row 0: a row draws the same token alone and among all */
    json_t *texts;      /* of tokens: array of strings, index = token id, or NULL; owned */
} cli_logits;

/* Read at most `limit` bytes into memory that grows with what comes, and that the caller owns. NULL: out of
 * memory. ferror() says whether reading failed. */
unsigned char *cli_read_bytes(FILE *file, size_t limit, size_t *count);
void cli_add_input(cli_options *o, cli_input *in);
/* Read what the input options name. Returns an exit code; on failure nothing is left to free. */
int cli_logits_load(cli *c, const cli_input *in, cli_logits *out);
void cli_logits_free(cli_logits *logits);
/* Bytes of one logit. */
size_t cli_dtype_size(uint32_t dtype);
/* The text of a token as a new reference; JSON null where none is known. */
json_t *cli_token_text(const cli_logits *logits, int32_t token);
/* Print ` "text"` with control characters escaped; nothing where none is known. */
void cli_print_token_text(FILE *to, const cli_logits *logits, int32_t token);

/* ---- Device ---- */

typedef struct cli_device {
    clsample_devices *list;
    const clsample_device_info *info; /* of the chosen device; owned by the list */
    cl_context context;
    cl_command_queue queue; /* in-order */
    clsample_ctx *ctx;
} cli_device;

/* The selection in force: --device, else CLSAMPLE_DEVICE, else NULL. `source` (may be NULL) says which. */
const char *cli_selector(const char *option, const char **source);
/* Refuse an empty --device, which selects nothing. Returns an exit code. */
int cli_check_selector(cli *c, const char *option);
/* List the devices, with the kernel cache of the environment. */
int cli_devices_open(cli *c, clsample_devices **list);
/* Choose the device and make all that computing on it needs; names it on standard error unless --json.
 * Returns an exit code; cli_device_close() is due either way. */
int cli_device_open(cli *c, const char *selector, cli_device *device);
void cli_device_close(cli_device *device);
/* Copy host memory into a new read-only buffer; NULL on failure, which is noted. */
cl_mem cli_upload(cli *c, const cli_device *device, const void *data, size_t bytes, const char *what);

/* ---- JSON: new references, NULL when out of memory ---- */

/* A string; bytes that are not UTF-8 become question marks. */
json_t *cli_json_text(const char *text);
/* A number; null for inf and nan, which JSON lacks. */
json_t *cli_json_number(double number);
/* {"selector", "platform", "name"} */
json_t *cli_json_device(const clsample_device_info *info);
/* Append `value`, whose reference is taken; false if it or the array is NULL, or memory ran out. */
bool cli_json_append(json_t *array, json_t *value);

/* ---- Commands ---- */

int cmd_bench(cli *c, int argc, char **argv);
int cmd_devices(cli *c, int argc, char **argv);
int cmd_draw(cli *c, int argc, char **argv);
int cmd_explain(cli *c, int argc, char **argv);
int cmd_generate(cli *c, int argc, char **argv);
int cmd_tokenize(cli *c, int argc, char **argv);
int cmd_tune(cli *c, int argc, char **argv);

#endif
