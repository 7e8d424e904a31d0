/* SPDX-License-Identifier: Apache-2.0 */
#include "unicode.h"

#include <stdbool.h>
#include <string.h>

typedef struct code_range {
    uint32_t first, last;
} code_range;

#include "unicode_ranges.inc"

#define REPLACEMENT 0xFFFDu
static const char replacement[] = "\xEF\xBF\xBD";

static bool among(uint32_t code, const code_range *ranges, size_t count)
{
    size_t low = 0;

    while (low < count) {
        const size_t middle = low + (count - low) / 2;
        if (code > ranges[middle].last) {
            low = middle + 1;
        } else if (code < ranges[middle].first) {
            count = middle;
        } else {
            return true;
        }
    }
    return false;
}

static bool is_space(uint32_t code)
{
    if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
           code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

static unicode_class class_of(uint32_t code)
{
    if (is_space(code)) return UNICODE_SPACE;
    if (among(code, letters, sizeof letters / sizeof *letters)) return UNICODE_LETTER;
    if (among(code, numbers, sizeof numbers / sizeof *numbers)) return UNICODE_NUMBER;
    return UNICODE_OTHER;
}

/* Bytes of a sequence that begins with `lead`, 0 if none does, and the range of its second byte: no overlong
 * forms, no surrogates, nothing past U+10FFFF. Table 3-7 of the Unicode standard. */
static size_t sequence_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) return 3;
    return lead < 0xF5 ? 4 : 0;
}

/* How many bytes at the beginning belong to one well-formed sequence, and whether it is whole. */
static size_t sequence_prefix(const unsigned char *bytes, size_t n, bool *whole)
{
    unsigned char low = 0;
    unsigned char high = 0;
    const size_t length = sequence_length(bytes[0], &low, &high);
    size_t good = length > 0;

    while (good > 0 && good < length && good < n && bytes[good] >= low && bytes[good] <= high) {
        good++;
        low = 0x80;
        high = 0xBF;
    }
    *whole = length > 0 && good == length;
    return good;
}

unicode_char unicode_first(const unsigned char *text, size_t length)
{
    static const unsigned char lead_bits[] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
    unicode_char c = { .length = 1, .code = REPLACEMENT, .class = UNICODE_OTHER };
    bool whole = false;

    if (length == 0) return (unicode_char){ .class = UNICODE_END };
    const size_t n = sequence_prefix(text, length, &whole);
    if (!whole) return c;
    c.length = n;
    c.code = text[0] & lead_bits[n];
    for (size_t i = 1; i < n; i++)
        c.code = c.code << 6 | (text[i] & 0x3Fu);
    c.class = class_of(c.code);
    return c;
}

size_t unicode_encode(uint32_t code, unsigned char out[4])
{
    static const unsigned char lead_mark[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    const size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = n; i-- > 1;) {
        out[i] = (unsigned char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (unsigned char)(lead_mark[n] | code);
    return n;
}

/* ---- Streams ---- */

static void drop_held(utf8_stream *s, size_t n)
{
    s->n_held -= n;
    memmove(s->held, s->held + n, s->n_held);
}

/* Give out what is held, as far as it is decided. */
static size_t settle(utf8_stream *s, char *out)
{
    size_t written = 0;
    bool whole = false;

    while (s->n_held > 0) {
        const size_t good = sequence_prefix(s->held, s->n_held, &whole);
        if (good == s->n_held && !whole) break;
        const size_t done = good > 0 ? good : 1;
        const size_t size = whole ? good : sizeof replacement - 1;
        memcpy(out + written, whole ? (const char *)s->held : replacement, size);
        written += size;
        drop_held(s, done);
    }
    return written;
}

size_t utf8_push(utf8_stream *stream, const void *bytes, size_t n, char *out)
{
    const unsigned char *from = bytes;
    size_t written = 0;

    for (size_t i = 0; i < n; i++) {
        stream->held[stream->n_held++] = from[i];
        written += settle(stream, out + written);
    }
    return written;
}

size_t utf8_flush(utf8_stream *stream, char out[3])
{
    if (stream->n_held == 0) return 0;
    memcpy(out, replacement, sizeof replacement - 1);
    stream->n_held = 0;
    return sizeof replacement - 1;
}
