/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 and the classes of characters that tokenizers tell apart. */
#ifndef UNICODE_H
#define UNICODE_H

#include <stddef.h>
#include <stdint.h>

typedef enum unicode_class {
    UNICODE_END,    /* of the text: no character */
    UNICODE_LETTER, /* \p{L} */
    UNICODE_NUMBER, /* \p{N} */
    UNICODE_SPACE,  /* \s: the property White_Space */
    UNICODE_OTHER   /* the rest, and bytes that are not UTF-8, each for itself */
} unicode_class;

typedef struct unicode_char {
    size_t length; /* bytes; 0 at the end of the text, 1 where they are not UTF-8 */
    uint32_t code; /* the code point; U+FFFD where the bytes are not UTF-8 */
    unicode_class class;
} unicode_char;

/* The first character of text[0..length). */
unicode_char unicode_first(const unsigned char *text, size_t length);
/* Bytes of `code` as UTF-8, 1 to 4. `code` is at most U+10FFFF. */
size_t unicode_encode(uint32_t code, unsigned char out[4]);

/* Text that comes in pieces which may begin and end inside a character, as tokens do. What goes out is UTF-8
 * always: a sequence waits until it is whole; one that turns out wrong becomes one U+FFFD, as in browsers.
 * All zero is the state at the beginning. */
typedef struct utf8_stream {
    unsigned char held[4]; /* the beginning of a sequence */
    size_t n_held;         /* at most 3 between calls */
} utf8_stream;

/* Bytes that utf8_push() may write for `n` bytes: U+FFFD takes three. */
#define UTF8_ROOM(n) (3 * (n) + 3)
/* Take n bytes in; returns how many were written to `out`. */
size_t utf8_push(utf8_stream *stream, const void *bytes, size_t n, char *out);
/* The text is over: what is still held becomes U+FFFD. Returns how many bytes were written, 0 or 3. */
size_t utf8_flush(utf8_stream *stream, char out[3]);

#endif
