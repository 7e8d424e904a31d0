/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#define UNWRITTEN 0xFF /* four of these are NaN: a logit that is added to what was there shows */

session session_open(gguf *file, const llama_options *options)
{
    const clsample_options cache = test_options();
    llama_options o = *options;
    session s = { 0 };
    model_error error;

    o.cache_dir = cache.cache_dir;
    ck_assert_msg(llama_open(file, dev.context, dev.id, dev.queue, &o, &s.model, &error), "%s\n%s",
                  error.message, clsample_last_error()->log);
    gguf_close(file);
    s.rows = llama_rows(s.model);
    s.stride = llama_context(s.model);
    s.vocab = llama_vocab(s.model);
    const size_t ids = s.rows * s.stride * sizeof(int32_t), logits = s.rows * s.vocab * sizeof(float);
    s.ids = dev_buffer(SESSION_GUARD + ids);
    s.logits = dev_buffer(logits + 2 * SESSION_GUARD);
    s.host_ids = test_alloc(ids);
    s.host_logits = test_alloc(logits);
    s.lengths = calloc(s.rows, sizeof *s.lengths);
    s.fresh = calloc(s.rows, sizeof *s.fresh);
    ck_assert(s.lengths && s.fresh);
    memset(s.host_ids, 0xFF, ids);
    return s;
}

void session_close(session *s)
{
    llama_close(s->model);
    ck_cl(clReleaseMemObject(s->ids));
    ck_cl(clReleaseMemObject(s->logits));
    free(s->host_ids);
    free(s->host_logits);
    free(s->lengths);
    free(s->fresh);
}

llama_step session_step(const session *s)
{
    const llama_step step = { .ids = s->ids,
                              .ids_offset = SESSION_GUARD,
                              .stride = s->stride,
                              .lengths = s->lengths,
                              .fresh = s->fresh,
                              .logits = s->logits,
                              .logits_offset = SESSION_GUARD };

    return step;
}

static size_t logits_size(const session *s)
{
    return s->rows * s->vocab * sizeof(float) + 2 * SESSION_GUARD;
}

void session_spoil(const session *s)
{
    unsigned char *bytes = test_alloc(logits_size(s));

    memset(bytes, UNWRITTEN, logits_size(s));
    ck_cl(clEnqueueWriteBuffer(dev.queue, s->logits, CL_TRUE, 0, logits_size(s), bytes, 0, NULL, NULL));
    free(bytes);
}

bool session_is_unwritten(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;

    for (size_t i = 0; i < size; i++)
        if (b[i] != UNWRITTEN) return false;
    return true;
}

void session_run(session *s)
{
    const size_t size = logits_size(s), logits = size - 2 * SESSION_GUARD;
    unsigned char *all = test_alloc(size);
    const llama_step step = session_step(s);
    model_error error;

    session_spoil(s);
    ck_cl(clEnqueueWriteBuffer(dev.queue, s->ids, CL_TRUE, SESSION_GUARD,
                               s->rows * s->stride * sizeof(int32_t), s->host_ids, 0, NULL, NULL));
    ck_assert_msg(llama_enqueue(s->model, &step, &error), "%s", error.message);
    dev_download(s->logits, 0, all, size);
    ck_assert(session_is_unwritten(all, SESSION_GUARD));
    ck_assert(session_is_unwritten(all + SESSION_GUARD + logits, SESSION_GUARD));
    memcpy(s->host_logits, all + SESSION_GUARD, logits);
    free(all);
}

const float *session_logits(const session *s, uint32_t row)
{
    return s->host_logits + (size_t)row * s->vocab;
}
