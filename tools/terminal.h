/* SPDX-License-Identifier: Apache-2.0 */
/* What may go to a terminal. Text from elsewhere, from a file, a model, a driver or the command line, can
 * have control characters, which a terminal obeys: it goes through here. They are shown as C writes them;
 * what is not UTF-8 stays, but for bytes that are control characters by themselves. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

#if defined(__GNUC__)
#define TERMINAL_FORMAT(string, first) __attribute__((format(printf, string, first)))
#else
#define TERMINAL_FORMAT(string, first)
#endif

/* May escape sequences of our own go there? It must be a terminal, and TERM name one that is not dumb. */
bool terminal_moves(FILE *to);
/* Begin the line anew; only where the terminal moves. */
void terminal_clear_line(FILE *to);

/* Messages and tables: printf, with control characters shown, but for newline and tab. */
TERMINAL_FORMAT(2, 3) void terminal_print(FILE *to, const char *format, ...);
/* A text between quotes: newline, tab, quotes and backslashes are shown too. */
void terminal_quote(FILE *to, const char *text, size_t length);
/* Data that must come through a pipe as it is: control characters are shown on a terminal alone. */
void terminal_write(FILE *to, const char *text, size_t length);
/* The same for JSON, which stays JSON of the same meaning. */
void terminal_write_json(FILE *to, const char *json, size_t length);

#endif
