/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows token by token: put together to UTF-8, watched for texts that end it, and shown as far as
 * it cannot become one of these any more. */
#ifndef TEXT_STREAM_H
#define TEXT_STREAM_H

#include "cli.h"
#include "model/unicode.h"

typedef struct text_stream {
    FILE *to;              /* where it is shown, or NULL */
    const cli_list *stops; /* the text ends before the one of these that is complete first, once not early */
    utf8_stream utf8;
    char *text; /* owned, not ended by a 0 */
    size_t length, room;
    size_t shown; /* bytes of it */
    bool early;   /* set by the owner: stops that are complete meanwhile do not end the text */
    bool stopped; /* one of `stops` came */
    bool failed;  /* out of memory: what came then is missing */
} text_stream;

/* Take bytes in; after `stopped` they are dropped. */
void text_stream_push(text_stream *s, const void *bytes, size_t n);
/* The text is over: what was held back is shown. */
void text_stream_end(text_stream *s);
void text_stream_free(text_stream *s);

#endif
