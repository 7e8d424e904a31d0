/* SPDX-License-Identifier: Apache-2.0 */
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

static bool is_at(const text_stream *s, size_t at, const char *stop, size_t length)
{
    return length <= s->length - at && memcmp(s->text + at, stop, length) == 0;
}

/* Cut the text before a stop that begins at `from` or later. */
static void look_for_stops(text_stream *s, size_t from)
{
    for (size_t at = from; at < s->length; at++) {
        for (size_t i = 0; i < s->stops->count; i++) {
            if (!is_at(s, at, s->stops->text[i], strlen(s->stops->text[i]))) continue;
            s->length = at;
            s->stopped = true;
            return;
        }
    }
}

/* Where the beginning of a stop stands at the text's end; the text's length if none does. */
static size_t first_doubt(const text_stream *s)
{
    for (size_t at = s->shown; at < s->length; at++) {
        for (size_t i = 0; i < s->stops->count; i++) {
            const size_t left = s->length - at;
            if (left < strlen(s->stops->text[i]) && is_at(s, at, s->stops->text[i], left)) return at;
        }
    }
    return s->length;
}

static void show(text_stream *s, size_t end)
{
    if (s->to && end > s->shown) {
        fwrite(s->text + s->shown, 1, end - s->shown, s->to);
        fflush(s->to);
    }
    s->shown = end;
}

/* A stop can only begin where nothing has been shown yet. */
static void take(text_stream *s, size_t n)
{
    s->length += n;
    look_for_stops(s, s->shown);
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
