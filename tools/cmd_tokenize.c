/* SPDX-License-Identifier: Apache-2.0 */
/* clsample tokenize: the tokens that a model reads a text as. */
#include "cli.h"
#include "model/tokenizer.h"
#include "model/unicode.h"
#include "model_error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct tokenize {
    const char *model; /* --model */
    bool special;      /* --special */
    char *text;        /* owned */
    size_t length;
    tokenizer *tokenizer;
    tokenizer_ids ids;
} tokenize;

/* ---- The text ---- */

static int read_input(cli *c, tokenize *t)
{
    /* One byte more than a text may have is refused as too long. */
    t->text = (char *)cli_read_bytes(stdin, TOKENIZER_MAX_TEXT + 1, &t->length);
    if (!t->text) return cli_fail_memory(c);
    if (ferror(stdin)) return cli_fail_input(c, "standard input cannot be read: %s", strerror(errno));
    return CLI_DONE;
}

static int take_text(cli *c, const cli_options *o, tokenize *t)
{
    if (o->n_args == 0) return cli_fail_usage(c, "no text given; TEXT is wanted, or - for standard input");
    if (strcmp(o->args[0], "-") == 0) return read_input(c, t);
    t->text = strdup(o->args[0]);
    if (!t->text) return cli_fail_memory(c);
    t->length = strlen(t->text);
    return CLI_DONE;
}

/* ---- The result ---- */

static int run_tokenize(cli *c, tokenize *t)
{
    const unsigned flags = TOKENIZER_START | (t->special ? TOKENIZER_SPECIAL : 0u);
    model_error error;
    gguf *file = NULL;

    const bool ok = gguf_open(t->model, &file, &error) && tokenizer_open(file, &t->tokenizer, &error) &&
                    tokenizer_encode(t->tokenizer, t->text, t->length, flags, &t->ids, &error);
    gguf_close(file);
    return ok ? CLI_DONE : cli_fail_model(c, &error);
}

static int give_json(cli *c, const tokenize *t)
{
    json_t *ids = json_array();

    for (size_t i = 0; i < t->ids.count; i++) {
        if (!cli_json_append(ids, json_integer(t->ids.list[i]))) {
            json_decref(ids);
            return cli_fail_memory(c);
        }
    }
    return cli_result(c, json_pack("{s:o}", "ids", ids));
}

/* Characters as they are, but for control characters and parts of characters, which are shown byte by
 * byte. */
static void print_piece(gguf_string piece)
{
    const unsigned char *bytes = (const unsigned char *)piece.text;

    putchar('"');
    for (size_t i = 0; i < piece.length;) {
        const unicode_char ch = unicode_first(bytes + i, piece.length - i);
        const bool broken = ch.length == 1 && bytes[i] >= 0x80;
        if (broken || ch.code < ' ' || (ch.code >= 0x7F && ch.code < 0xA0)) {
            for (size_t k = 0; k < ch.length; k++)
                printf("\\x%02X", bytes[i + k]);
        } else {
            if (ch.code == '"' || ch.code == '\\') putchar('\\');
            fwrite(bytes + i, 1, ch.length, stdout);
        }
        i += ch.length;
    }
    puts("\"");
}

static int give_text(const tokenize *t)
{
    for (size_t i = 0; i < t->ids.count; i++) {
        printf("%6" PRId32 "  ", t->ids.list[i]);
        print_piece(tokenizer_bytes(t->tokenizer, t->ids.list[i]));
    }
    return CLI_DONE;
}

int cmd_tokenize(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "--model F.gguf [options] TEXT",
        .purpose =
            "The tokens that a model reads a text as, one a line: id and characters. TEXT - is standard\n"
            "input, which is taken as it is, with the newline at its end.",
        .max_args = 1,
    };
    tokenize t = { 0 };

    cli_add_model(&o, &t.model);
    cli_add(&o, (cli_option){ .kind = CLI_SWITCH,
                              .name = "special",
                              .target = &t.special,
                              .help = "<|im_end|> and the like in TEXT are the tokens of that name" });
    cli_add_common(&o, c);
    int code = cli_parse(c, &o, argc, argv);
    if (code != CLI_GO) return code;
    if (!t.model) return cli_fail_usage(c, "no model given; --model F.gguf is wanted");
    code = take_text(c, &o, &t);
    if (code == CLI_DONE) code = run_tokenize(c, &t);
    if (code == CLI_DONE) code = c->json ? give_json(c, &t) : give_text(&t);
    tokenizer_ids_free(&t.ids);
    tokenizer_close(t.tokenizer);
    free(t.text);
    return code;
}
