/* SPDX-License-Identifier: Apache-2.0 */
/* Logits and words from the command line, from .npy files, and from files without a header. */
#include "cli.h"
#include "terminal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK \
    ((size_t)1 << 20) /* bytes read at first; a false header must not cost more memory than its file */
#define MAX_HEADER ((size_t)1 << 20) /* bytes; real headers have 118 */
#define MAX_DIMS 4                   /* dimensions told apart in messages; 2 are taken */

static const char *const dtype_names[] = { "f32", "f16", "bf16", NULL };

void cli_add_input(cli_options *o, cli_input *in)
{
    cli_add_heading(o, "Input: --logits or --logits-file");
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "logits",
                             .value = "X,X,...",
                             .target = (void *)&in->list,
                             .help = "one row of numbers, inf, -inf or nan" });
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "logits-file",
                             .value = "F",
                             .target = (void *)&in->file,
                             .help = ".npy of float32, float16 or bfloat16, [vocab] or [rows, vocab]; - is\n"
                                     "standard input" });
    cli_add(o, (cli_option){ .kind = CLI_CHOICE,
                             .name = "raw",
                             .value = "TYPE",
                             .target = &in->raw,
                             .choices = dtype_names,
                             .help = "the file has no header, only little-endian f32, f16 or bf16" });
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "vocab",
                             .value = "V",
                             .target = &in->vocab,
                             .min = 1,
                             .max = CLSAMPLE_MAX_VOCAB,
                             .help = "with --raw: logits in a row" });
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "row",
                             .value = "I",
                             .target = &in->row,
                             .max = CLI_UNSET - 1.0,
                             .help = "take row I of the file alone" });
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "tokens",
                             .value = "F",
                             .target = (void *)&in->tokens,
                             .help = ".json array of strings: the texts to show beside token ids" });
}

size_t cli_dtype_size(uint32_t dtype)
{
    return dtype == CLSAMPLE_F32 ? 4 : 2;
}

/* ---- One row in place ---- */

static int parse_list(cli *c, const char *list, cli_logits *out)
{
    size_t count = 1;
    uint32_t i = 0;

    for (const char *p = list; *p; p++)
        count += *p == ',';
    if (count > CLSAMPLE_MAX_VOCAB) {
        return cli_fail_usage(c, "--logits has %zu numbers; allowed are 1 to %u", count, CLSAMPLE_MAX_VOCAB);
    }
    float *row = calloc(count, sizeof *row);
    if (!row) return cli_fail_memory(c);
    out->data = (unsigned char *)row;
    for (const char *p = list;; p++) {
        p += strspn(p, " ");
        const size_t whole = strcspn(p, ",");
        size_t length = whole;
        while (length > 0 && p[length - 1] == ' ')
            length--;
        if (!cli_parse_float(p, length, true, &row[i])) {
            return cli_fail_usage(c,
                                  "--logits: number %" PRIu32
                                  " is \"%.*s\"; allowed are numbers that fit a float, "
                                  "inf, -inf and nan, with commas between them",
                                  i, (int)(length < 60 ? length : 60), p);
        }
        i++;
        p += whole;
        if (!*p) break;
    }
    out->dtype = CLSAMPLE_F32;
    out->rows = 1;
    out->vocab = i;
    return CLI_DONE;
}

/* ---- The header of an .npy file: a Python dictionary in text ----
 *
 * Taken is what numpy and the writers in other languages make of float32, float16 and bfloat16:
 *
 *   version        1.0, 2.0, 3.0; padding of any length
 *   dictionary     keys in any order, either kind of quotes, with or without a comma at the end
 *   descr          f4, f2, and V2 or bfloat16 for bfloat16, of which numpy itself has no type; before it
 *                  <, =, | or nothing for little-endian, or > for big-endian, which is converted
 *   shape          (5,), (5L,) of Python 2, (5), (1, 5), (2, 5)
 *   fortran_order  False or True: the rows come out the same
 *
 * Refused is what would have to be rounded (float64), guessed (integers, three dimensions, none) or skipped
 * (further keys), rows without logits, and more or fewer bytes than the shape says. */

typedef struct npy {
    char descr[32]; /* e.g. "<f4" */
    bool fortran;
    bool swapped; /* big-endian */
    size_t dims;  /* may be above MAX_DIMS, which bounds `shape` */
    uint64_t shape[MAX_DIMS];
    bool has_descr, has_fortran, has_shape;
} npy;

typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *s)
{
    while (s->at < s->end && isspace((unsigned char)*s->at))
        s->at++;
}

static bool accept_text(cursor *s, const char *text)
{
    const size_t n = strlen(text);

    skip_space(s);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, text, n) != 0) return false;
    s->at += n;
    return true;
}

/* A string in single or double quotes, without escapes; false if it does not fit. Python 2 may have written
 * a u before it. */
static bool parse_string(cursor *s, char *out, size_t size)
{
    size_t n = 0;

    skip_space(s);
    if (s->at < s->end && *s->at == 'u') s->at++;
    if (s->at >= s->end || (*s->at != '\'' && *s->at != '"')) return false;
    const char quote = *s->at++;
    while (s->at < s->end && *s->at != quote && n + 1 < size)
        out[n++] = *s->at++;
    out[n] = 0;
    return s->at < s->end && *s->at++ == quote;
}

static bool parse_bool(cursor *s, bool *value)
{
    *value = accept_text(s, "True");
    return *value || accept_text(s, "False");
}

/* A whole number; Python 2 wrote an L after it. */
static bool parse_size(cursor *s, uint64_t *value)
{
    skip_space(s);
    if (s->at >= s->end || !isdigit((unsigned char)*s->at)) return false;
    for (*value = 0; s->at < s->end && isdigit((unsigned char)*s->at); s->at++) {
        const uint64_t digit = (uint64_t)(*s->at - '0');
        if (*value > (UINT64_MAX - digit) / 10) return false;
        *value = *value * 10 + digit;
    }
    if (s->at < s->end && *s->at == 'L') s->at++;
    return true;
}

static bool parse_shape(cursor *s, npy *header)
{
    uint64_t size = 0;

    header->dims = 0;
    if (!accept_text(s, "(")) return false;
    while (!accept_text(s, ")")) {
        if (!parse_size(s, &size)) return false;
        if (header->dims < MAX_DIMS) header->shape[header->dims] = size;
        header->dims++;
        if (!accept_text(s, ",")) return accept_text(s, ")");
    }
    return true;
}

static bool parse_entry(cursor *s, npy *header)
{
    char key[32];
    bool *seen = NULL;
    bool ok = false;

    if (!parse_string(s, key, sizeof key) || !accept_text(s, ":")) return false;
    if (strcmp(key, "descr") == 0) {
        seen = &header->has_descr;
        ok = parse_string(s, header->descr, sizeof header->descr);
    } else if (strcmp(key, "fortran_order") == 0) {
        seen = &header->has_fortran;
        ok = parse_bool(s, &header->fortran);
    } else if (strcmp(key, "shape") == 0) {
        seen = &header->has_shape;
        ok = parse_shape(s, header);
    }
    if (!ok || *seen) return false;
    return *seen = true;
}

static bool parse_header(const char *text, size_t length, npy *header)
{
    cursor s = { text, text + length };

    if (!accept_text(&s, "{")) return false;
    while (!accept_text(&s, "}")) {
        if (!parse_entry(&s, header)) return false;
        if (!accept_text(&s, ",")) {
            if (!accept_text(&s, "}")) return false;
            break;
        }
    }
    skip_space(&s);
    return s.at == s.end && header->has_descr && header->has_fortran && header->has_shape;
}

/* ---- Reading files ---- */

typedef struct source {
    FILE *file;
    const char *name; /* for messages */
} source;

unsigned char *cli_read_bytes(FILE *file, size_t limit, size_t *count)
{
    size_t room = limit < CHUNK ? limit : CHUNK;
    unsigned char *bytes = malloc(room ? room : 1);

    *count = 0;
    while (bytes) {
        *count += fread(bytes + *count, 1, room - *count, file);
        if (*count < room || room == limit) break;
        room = room > limit / 2 ? limit : room * 2;
        unsigned char *more = realloc(bytes, room);
        if (!more) free(bytes);
        bytes = more;
    }
    return bytes;
}

static int fail_read(cli *c, const source *s)
{
    return cli_fail_input(c, "%s: cannot be read: %s", s->name, strerror(errno));
}

/* Read the fixed start and the header's text; *text is owned by the caller, also on failure. */
static int read_header(cli *c, const source *s, unsigned char **text, size_t *length)
{
    unsigned char start[12] = { 0 };
    size_t got = fread(start, 1, 10, s->file);

    if (ferror(s->file)) return fail_read(c, s);
    if (got < 6 || memcmp(start, "\x93NUMPY", 6) != 0) {
        return cli_fail_input(
            c,
            "%s: does not begin as an .npy file does; save it with numpy.save, or give --raw and "
            "--vocab for a file without a header",
            s->name);
    }
    if (got == 10 && (start[6] < 1 || start[6] > 3)) {
        return cli_fail_input(c, "%s: .npy format version %d.%d; versions 1 to 3 can be read", s->name,
                              start[6], start[7]);
    }
    if (got == 10 && start[6] > 1) got += fread(start + 10, 1, 2, s->file);
    const size_t fixed = got >= 7 && start[6] > 1 ? 12 : 10;
    size_t size = (size_t)start[8] | (size_t)start[9] << 8;
    if (fixed == 12) size |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    if (got == fixed && size > MAX_HEADER) {
        return cli_fail_input(c, "%s: an .npy header of %zu bytes; at most %zu can be read", s->name, size,
                              MAX_HEADER);
    }
    if (got == fixed) {
        *text = cli_read_bytes(s->file, size, length);
        if (!*text) return cli_fail_memory(c);
    }
    if (got < fixed || *length < size) {
        return cli_fail_input(c, "%s: ends within the .npy header; write the file again", s->name);
    }
    return CLI_DONE;
}

/* "(16, 49152)" for messages. */
static const char *shape_text(const npy *header, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "(");

    for (size_t i = 0; i < header->dims && i < MAX_DIMS && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%" PRIu64, i ? ", " : "", header->shape[i]);
    }
    if (used < size) {
        snprintf(text + used, size - used, "%s)",
                 header->dims > MAX_DIMS ? ", ..."
                 : header->dims == 1     ? ","
                                         : "");
    }
    return text;
}

static int check_dtype(cli *c, const source *s, npy *header, cli_logits *out)
{
    static const struct {
        const char *name;
        uint32_t dtype;
    } types[] = {
        { "f4", CLSAMPLE_F32 }, { "f2", CLSAMPLE_F16 }, { "V2", CLSAMPLE_BF16 }, { "bfloat16", CLSAMPLE_BF16 }
    };
    const char *name = header->descr + (header->descr[0] && strchr("<>=|", header->descr[0]));

    header->swapped = header->descr[0] == '>';
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(name, types[i].name) != 0) continue;
        out->dtype = types[i].dtype;
        return CLI_DONE;
    }
    return cli_fail_input(c,
                          "%s: its values are '%s'; allowed are '<f4' (float32), '<f2' (float16) and '<V2' "
                          "(bfloat16), also big-endian; convert them with array.astype('<f4')",
                          s->name, header->descr);
}

static int check_shape(cli *c, const source *s, const npy *header, cli_logits *out)
{
    char shape[128];

    shape_text(header, shape, sizeof shape);
    if (header->dims < 1 || header->dims > 2) {
        return cli_fail_input(c,
                              "%s: shape %s; allowed are [vocab] and [rows, vocab]; reshape it with "
                              "array.reshape(-1, vocab)",
                              s->name, shape);
    }
    const uint64_t rows = header->dims == 2 ? header->shape[0] : 1;
    const uint64_t vocab = header->shape[header->dims - 1];
    if (rows < 1 || rows >= CLI_UNSET || vocab < 1 || vocab > CLSAMPLE_MAX_VOCAB) {
        return cli_fail_input(c, "%s: shape %s; allowed are 1 to %" PRIu32 " rows of 1 to %u logits", s->name,
                              shape, CLI_UNSET - 1, CLSAMPLE_MAX_VOCAB);
    }
    out->rows = (uint32_t)rows;
    out->vocab = (uint32_t)vocab;
    return CLI_DONE;
}

static int read_values(cli *c, const source *s, cli_logits *out)
{
    const size_t row = out->vocab * cli_dtype_size(out->dtype);
    size_t got = 0;

    if (out->rows > SIZE_MAX / row) return cli_fail_memory(c);
    const size_t want = out->rows * row;
    out->data = cli_read_bytes(s->file, want, &got);
    if (!out->data) return cli_fail_memory(c);
    if (ferror(s->file)) return fail_read(c, s);
    if (got < want) {
        return cli_fail_input(c,
                              "%s: ends after %zu of the %zu bytes of %" PRIu32 " rows of %" PRIu32
                              " logits; write "
                              "the file again",
                              s->name, got, want, out->rows, out->vocab);
    }
    if (getc(s->file) != EOF) {
        return cli_fail_input(c,
                              "%s: more bytes follow the %zu of %" PRIu32 " rows of %" PRIu32
                              " logits; write one "
                              "array a file",
                              s->name, want, out->rows, out->vocab);
    }
    return CLI_DONE;
}

static void swap_bytes(const cli_logits *l)
{
    const size_t size = cli_dtype_size(l->dtype), bytes = size * l->rows * l->vocab;

    for (size_t i = 0; i < bytes; i += size) {
        for (size_t k = 0; k < size / 2; k++) {
            const unsigned char byte = l->data[i + k];
            l->data[i + k] = l->data[i + size - 1 - k];
            l->data[i + size - 1 - k] = byte;
        }
    }
}

/* From columns to rows. With one row or one column they are the same bytes. */
static int transpose(cli *c, cli_logits *l)
{
    const size_t size = cli_dtype_size(l->dtype);

    if (l->rows == 1 || l->vocab == 1) return CLI_DONE;
    unsigned char *rows = malloc(size * l->rows * l->vocab);
    if (!rows) return cli_fail_memory(c);
    for (size_t row = 0; row < l->rows; row++) {
        for (size_t i = 0; i < l->vocab; i++)
            memcpy(rows + (row * l->vocab + i) * size, l->data + (i * l->rows + row) * size, size);
    }
    free(l->data);
    l->data = rows;
    return CLI_DONE;
}

static int read_npy(cli *c, const source *s, cli_logits *out)
{
    npy header = { .dims = 0 };
    unsigned char *text = NULL;
    size_t length = 0;
    int code = read_header(c, s, &text, &length);

    if (code == CLI_DONE && !parse_header((const char *)text, length, &header)) {
        code = cli_fail_input(
            c,
            "%s: its .npy header is not a dictionary of one type, fortran_order and shape, but "
            "\"%.*s\"; write the file again",
            s->name, (int)(length < 80 ? length : 80), (const char *)text);
    }
    if (code == CLI_DONE) code = check_dtype(c, s, &header, out);
    if (code == CLI_DONE) code = check_shape(c, s, &header, out);
    if (code == CLI_DONE) code = read_values(c, s, out);
    if (code == CLI_DONE && header.swapped) swap_bytes(out);
    if (code == CLI_DONE && header.fortran) code = transpose(c, out);
    free(text);
    return code;
}

static int read_raw(cli *c, const source *s, const cli_input *in, cli_logits *out)
{
    const size_t row = in->vocab * cli_dtype_size(in->raw);
    size_t got = 0;

    out->data = cli_read_bytes(s->file, PTRDIFF_MAX, &got);
    if (!out->data) return cli_fail_memory(c);
    if (ferror(s->file)) return fail_read(c, s);
    if (got == 0 || got % row != 0 || got / row >= CLI_UNSET) {
        return cli_fail_input(
            c,
            "%s: %zu bytes are not a whole number of rows of %zu bytes (--raw %s --vocab %" PRIu32
            "); check both options",
            s->name, got, row, dtype_names[in->raw], in->vocab);
    }
    out->dtype = in->raw;
    out->vocab = in->vocab;
    out->rows = (uint32_t)(got / row);
    return CLI_DONE;
}

static int read_file(cli *c, const cli_input *in, cli_logits *out)
{
    const bool standard = strcmp(in->file, "-") == 0;
    const source s = { standard ? stdin : fopen(in->file, "rb"), standard ? "standard input" : in->file };

    if (!s.file) return cli_fail_input(c, "%s: cannot be opened: %s", s.name, strerror(errno));
    const int code = in->raw == CLI_UNSET ? read_npy(c, &s, out) : read_raw(c, &s, in, out);
    if (!standard) fclose(s.file);
    return code;
}

static int take_row(cli *c, uint32_t row, cli_logits *out)
{
    const size_t bytes = out->vocab * cli_dtype_size(out->dtype);

    if (row >= out->rows) {
        return cli_fail_usage(c, "--row %" PRIu32 ": allowed is 0 to %" PRIu32 ", the rows that there are",
                              row, out->rows - 1);
    }
    memmove(out->data, out->data + row * bytes, bytes);
    out->rows = 1;
    out->first_row = row;
    return CLI_DONE;
}

/* ---- Texts of tokens ---- */

static int load_texts(cli *c, const char *name, cli_logits *out)
{
    json_error_t error;
    json_t *texts =
        json_load_file(name, JSON_ALLOW_NUL, &error); /* some vocabularies have a token for byte 0 */

    if (!texts && error.line < 0) return cli_fail_input(c, "--tokens: %s", error.text);
    if (!texts) return cli_fail_input(c, "--tokens %s: line %d: %s", name, error.line, error.text);
    out->texts = texts;
    if (!json_is_array(texts)) {
        return cli_fail_input(
            c, "--tokens %s: not an array; allowed is an array of strings, index = token id", name);
    }
    for (size_t i = 0; i < json_array_size(texts); i++) {
        if (!json_is_string(json_array_get(texts, i))) {
            return cli_fail_input(
                c,
                "--tokens %s: element %zu is not a string; allowed is an array of strings, index = "
                "token id",
                name, i);
        }
    }
    return CLI_DONE;
}

static const json_t *find_text(const cli_logits *logits, int32_t token)
{
    return token < 0 ? NULL : json_array_get(logits->texts, (size_t)token);
}

json_t *cli_token_text(const cli_logits *logits, int32_t token)
{
    json_t *text = token < 0 ? NULL : json_array_get(logits->texts, (size_t)token);

    return text ? json_incref(text) : json_null();
}

void cli_print_token_text(FILE *to, const cli_logits *logits, int32_t token)
{
    const json_t *text = find_text(logits, token);

    if (!text) return;
    fputs(" \"", to);
    terminal_quote(to, json_string_value(text), json_string_length(text));
    putc('"', to);
}

/* ---- All of it ---- */

static int check_usage(cli *c, const cli_input *in)
{
    if (!in->list == !in->file) {
        return cli_fail_usage(c, "%s of --logits and --logits-file given; allowed is one of them",
                              in->list ? "both" : "none");
    }
    if (in->raw != CLI_UNSET && !in->file) {
        return cli_fail_usage(c, "--raw %s: allowed only with --logits-file", dtype_names[in->raw]);
    }
    if ((in->raw != CLI_UNSET) != (in->vocab != 0)) {
        return cli_fail_usage(c, "--raw and --vocab: allowed only together");
    }
    return CLI_DONE;
}

int cli_logits_load(cli *c, const cli_input *in, cli_logits *out)
{
    int code = check_usage(c, in);

    if (code == CLI_DONE) code = in->list ? parse_list(c, in->list, out) : read_file(c, in, out);
    if (code == CLI_DONE && in->row != CLI_UNSET) code = take_row(c, in->row, out);
    if (code == CLI_DONE && in->tokens) code = load_texts(c, in->tokens, out);
    if (code != CLI_DONE) cli_logits_free(out);
    return code;
}

void cli_logits_free(cli_logits *logits)
{
    free(logits->data);
    json_decref(logits->texts);
    *logits = (cli_logits){ .data = NULL };
}
