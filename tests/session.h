/* SPDX-License-Identifier: Apache-2.0 */
/* A language model at work on the device under test, with guards around what it may write. */
#ifndef SESSION_H
#define SESSION_H

#include "common.h"

#include "model/llama.h"

#define SESSION_GUARD 64u /* bytes before the ids, before and after the logits */

typedef struct session {
    llama *model;
    uint32_t rows, stride, vocab;
    cl_mem ids, logits;
    int32_t *host_ids;  /* [rows, stride] */
    float *host_logits; /* [rows, vocab] */
    uint32_t *lengths, *fresh;
} session;

/* Takes the file. Rows have no tokens; their places have ids that no model has. */
session session_open(gguf *file, const llama_options *options);
void session_close(session *s);
/* The step that lengths and fresh ask for. */
llama_step session_step(const session *s);
/* Fill the logits and their guards with NaN. */
void session_spoil(const session *s);
/* Are these bytes of the logits, or of their guards, as session_spoil() left them? */
bool session_is_unwritten(const void *bytes, size_t size);
/* Spoil the logits and take the step; they come to the host. */
void session_run(session *s);
const float *session_logits(const session *s, uint32_t row);

#endif
