/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"
#include "text_stream.h"

#include <stdlib.h>
#include <string.h>

static bool make_room(text_stream *s, size_t more)
{
    if (s->room - s->length >= more) return true;
    const size_t room = 2 * s->room + more;
    char *text = realloc(s->text, room);
    if (!text) {
        s->failed = true;
        return false;
    }
    s->text = text;
    s->room = room;
    return true;
}

/* Cut the text before the stop that is complete first, whatever pieces it came in: one that ends after the
 * first `from` bytes. Of two that end together it is the longer one. One that was complete while it was early
 * is passed over, but its bytes may be the beginning of another. */
static void look_for_stops(text_stream *s, size_t from)
{
    for (size_t end = from + 1; !s->early && !s->stopped && end <= s->length; end++) {
        size_t begin = end;
        for (size_t i = 0; i < s->stops->count; i++) {
            const size_t n = strlen(s->stops->text[i]);
            if (n <= end && end - n < begin && memcmp(s->text + end - n, s->stops->text[i], n) == 0)
                begin = end - n;
        }
        s->stopped = begin < end;
        if (s->stopped) s->length = begin;
    }
}

/* Where a stop stands at the text's end that is not complete yet; the text's length if none does. */
static size_t first_doubt(const text_stream *s)
{
    for (size_t at = s->shown; at < s->length; at++) {
        const size_t left = s->length - at;
        for (size_t i = 0; i < s->stops->count; i++)
            if (strlen(s->stops->text[i]) > left && memcmp(s->stops->text[i], s->text + at, left) == 0)
                return at;
    }
    return s->length;
}

static void show(text_stream *s, size_t end)
{
    if (s->to && end > s->shown) {
        terminal_write(s->to, s->text + s->shown, end - s->shown);
        fflush(s->to);
    }
    s->shown = end;
}

static void take(text_stream *s, size_t n)
{
    const size_t before = s->length;

    s->length += n;
    look_for_stops(s, before);
    show(s, s->stopped ? s->length : first_doubt(s));
}

void text_stream_push(text_stream *s, const void *bytes, size_t n)
{
    if (!s->stopped && make_room(s, UTF8_ROOM(n)))
        take(s, utf8_push(&s->utf8, bytes, n, s->text + s->length));
}

void text_stream_end(text_stream *s)
{
    if (!s->stopped && make_room(s, UTF8_ROOM(0))) take(s, utf8_flush(&s->utf8, s->text + s->length));
    show(s, s->length);
}

void text_stream_free(text_stream *s)
{
    free(s->text);
}
