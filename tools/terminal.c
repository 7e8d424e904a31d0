/* SPDX-License-Identifier: Apache-2.0 */
#include "model/unicode.h"
#include "terminal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DELETE 0x7f

typedef enum style {
    PLAIN,  /* newline and tab stay */
    QUOTED, /* nothing stays */
    IN_JSON /* what is left there by who wrote the JSON: DEL, and U+0080 to U+009F */
} style;

static bool is_terminal(FILE *to)
{
    const int file = fileno(to); /* -1 for a stream in memory */

    return file >= 0 && isatty(file);
}

bool terminal_moves(FILE *to)
{
    const char *name = getenv("TERM");

    return name && name[0] && strcmp(name, "dumb") != 0 && is_terminal(to);
}

void terminal_clear_line(FILE *to)
{
    fputs("\r\033[K", to);
}

/* ---- Control characters, shown ---- */

static void put_ascii(FILE *to, unsigned char byte, style how)
{
    static const char letters[] = "\a\b\f\n\r\t\v";
    const char *letter = byte ? strchr(letters, byte) : NULL;
    const bool stays = how != QUOTED && (byte == '\n' || byte == '\t');

    if (letter && !stays) {
        fprintf(to, "\\%c", "abfnrtv"[letter - letters]);
    } else if ((byte < ' ' && !stays) || byte == DELETE) {
        fprintf(to, how == IN_JSON ? "\\u00%02x" : "\\x%02x", byte);
    } else {
        if (how == QUOTED && (byte == '"' || byte == '\\')) putc('\\', to);
        putc(byte, to);
    }
}

static void put_text(FILE *to, const char *text, size_t length, style how)
{
    const unsigned char *bytes = (const unsigned char *)text;

    for (size_t i = 0; i < length;) {
        const unicode_char ch = unicode_first(bytes + i, length - i);
        if (bytes[i] < 0x80) {
            put_ascii(to, bytes[i], how);
        } else if (ch.length == 1 && bytes[i] < 0xa0) {
            fprintf(to, "\\x%02x", bytes[i]);
        } else if (ch.length > 1 && ch.code < 0xa0) {
            fprintf(to, "\\u%04x", (unsigned)ch.code);
        } else {
            fwrite(bytes + i, 1, ch.length, to);
        }
        i += ch.length;
    }
}

void terminal_print(FILE *to, const char *format, ...)
{
    char small[1024];
    char *text = small;
    va_list arguments;

    va_start(arguments, format);
    const int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof small) {
        text = malloc((size_t)length + 1);
        va_start(arguments, format);
        if (text) vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
        if (!text) text = strcpy(small, "out of host memory\n");
    }
    if (length >= 0) put_text(to, text, strlen(text), PLAIN);
    if (text != small) free(text);
}

void terminal_quote(FILE *to, const char *text, size_t length)
{
    put_text(to, text, length, QUOTED);
}

void terminal_write(FILE *to, const char *text, size_t length)
{
    if (is_terminal(to)) {
        put_text(to, text, length, PLAIN);
    } else {
        fwrite(text, 1, length, to);
    }
}

void terminal_write_json(FILE *to, const char *json, size_t length)
{
    if (is_terminal(to)) {
        put_text(to, json, length, IN_JSON);
    } else {
        fwrite(json, 1, length, to);
    }
}
