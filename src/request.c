/* SPDX-License-Identifier: Apache-2.0 */
/* What clsample_generate is asked for: each value checked, each default put in its place. */
#include "request.h"

#include <string.h>

#define CLS_ARTICLE_LENGTH 20u /* the article's default of max_length */
#define CLS_CHECK_EVERY 8u
#define CLS_CHECK_EVERY_MAX 4096u
#define CLS_ENDS_MAX 65536u /* ids that end texts, and stop sequences with their lengths */

uint32_t cls_prompt_length(const cls_request *q, uint32_t i)
{
    return q->ask.lengths ? q->ask.lengths[i] : q->ask.ids_stride;
}

bool cls_ends_text(const cls_request *q, int32_t id)
{
    for (uint32_t i = 0; i < q->ask.n_eos; i++)
        if (q->ask.eos[i] == id) return true;
    return false;
}

/* ---- Checks ---- */

static clsample_status check_id(const cls_request *q, int32_t id, const char *what, uint32_t i)
{
    if (id >= 0 && (uint32_t)id < q->ask.vocab) return CLSAMPLE_OK;
    return cls_fail(CLSAMPLE_E_ARGUMENT, "%s[%u] is %d; it must be a token, 0 to %u", what, (unsigned)i,
                    (int)id, (unsigned)q->ask.vocab - 1);
}

static clsample_status check_shape(cls_request *q)
{
    const clsample_generation *a = &q->ask;

    if (a->flags & ~CLSAMPLE_EAGER)
        return cls_fail(CLSAMPLE_E_VERSION,
                        "generation.flags is 0x%x; this library knows only CLSAMPLE_EAGER (0x1)",
                        (unsigned)a->flags);
    if (!a->model) return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.model is NULL; it must be a function");
    if (a->vocab == 0 || a->vocab > CLSAMPLE_MAX_VOCAB)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.vocab is %u; it must be from 1 to %u",
                        (unsigned)a->vocab, CLSAMPLE_MAX_VOCAB);
    if (a->prompts == 0 || a->prompts > CLSAMPLE_MAX_TEXTS)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.prompts is %u; it must be from 1 to %u",
                        (unsigned)a->prompts, CLSAMPLE_MAX_TEXTS);
    if (a->samples == 0 || a->samples > CLSAMPLE_MAX_TEXTS / a->prompts)
        return cls_fail(
            CLSAMPLE_E_ARGUMENT, "generation.samples is %u; it must be from 1 to %u with %u prompts",
            (unsigned)a->samples, (unsigned)(CLSAMPLE_MAX_TEXTS / a->prompts), (unsigned)a->prompts);
    if (a->params && a->n_params != 1 && a->n_params != a->prompts)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "generation.n_params is %u; it must be 1, or generation.prompts, %u",
                        (unsigned)a->n_params, (unsigned)a->prompts);
    if (a->check_every > CLS_CHECK_EVERY_MAX)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.check_every is %u; it must be from 0 (%u) to %u",
                        (unsigned)a->check_every, CLS_CHECK_EVERY, CLS_CHECK_EVERY_MAX);
    q->rows = a->prompts * a->samples;
    q->eager = a->flags & CLSAMPLE_EAGER;
    q->check_every = q->eager ? 1 : a->check_every ? a->check_every : CLS_CHECK_EVERY;
    return CLSAMPLE_OK;
}

static clsample_status check_prompt(const cls_request *q, uint32_t i)
{
    const uint32_t length = cls_prompt_length(q, i);

    if (length == 0 || length > q->ask.ids_stride)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "generation.lengths[%u] is %u; it must be from 1 to generation.ids_stride, %u",
                        (unsigned)i, (unsigned)length, (unsigned)q->ask.ids_stride);
    for (uint32_t k = 0; k < length; k++) {
        const int32_t id = q->ask.ids[(size_t)i * q->ask.ids_stride + k];
        if (id < 0 || (uint32_t)id >= q->ask.vocab)
            return cls_fail(CLSAMPLE_E_ARGUMENT,
                            "generation.ids has %d at %u of prompt %u; it must be a token, 0 to %u", (int)id,
                            (unsigned)k, (unsigned)i, (unsigned)q->ask.vocab - 1);
    }
    return CLSAMPLE_OK;
}

static clsample_status check_prompts(cls_request *q)
{
    clsample_status st = CLSAMPLE_OK;
    uint64_t longest = 0;

    if (!q->ask.ids)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.ids is NULL; it must point to the prompts' tokens");
    if (q->ask.ids_stride == 0)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.ids_stride is 0; it must be at least 1");
    for (uint32_t i = 0; st == CLSAMPLE_OK && i < q->ask.prompts; i++) {
        st = check_prompt(q, i);
        longest = CLS_MAX(longest, cls_prompt_length(q, i));
    }
    if (st != CLSAMPLE_OK) return st;
    const uint64_t asked = q->ask.max_new_tokens ? longest + q->ask.max_new_tokens : CLS_ARTICLE_LENGTH;
    const uint64_t length = q->ask.max_length ? q->ask.max_length : asked;
    if (length > INT32_MAX)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "generation asks for rows of up to %llu tokens; at most %d are possible",
                        (unsigned long long)length, INT32_MAX);
    q->stride = (uint32_t)length;
    return CLSAMPLE_OK;
}

/* Stop sequences; *ids takes how many ids they have together. */
static clsample_status check_stops(const cls_request *q, uint64_t *ids)
{
    const clsample_generation *a = &q->ask;

    if (a->n_stops > 0 && (!a->stop_lengths || !a->stop_ids))
        return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.%s is NULL, but there are %u stop sequences",
                        a->stop_lengths ? "stop_ids" : "stop_lengths", (unsigned)a->n_stops);
    for (uint32_t s = 0; s < a->n_stops; s++) {
        if (a->stop_lengths[s] == 0)
            return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.stop_lengths[%u] is 0; it must be at least 1",
                            (unsigned)s);
        *ids += a->stop_lengths[s];
    }
    return CLSAMPLE_OK;
}

static clsample_status check_ends(cls_request *q)
{
    const clsample_generation *a = &q->ask;
    clsample_status st = CLSAMPLE_OK;
    uint64_t stop_ids = 0;

    if (a->n_eos > 0 && !a->eos)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "generation.eos is NULL, but generation.n_eos is %u",
                        (unsigned)a->n_eos);
    CLS_TRY(check_stops(q, &stop_ids));
    if (a->n_eos + stop_ids + a->n_stops > CLS_ENDS_MAX)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "generation.eos and the stop sequences have %llu tokens; at most %u are allowed, "
                        "each sequence counting one more",
                        (unsigned long long)(a->n_eos + stop_ids), CLS_ENDS_MAX);
    for (uint32_t i = 0; i < a->n_eos; i++)
        CLS_TRY(check_id(q, a->eos[i], "generation.eos", i));
    for (uint32_t i = 0; i < stop_ids; i++)
        CLS_TRY(check_id(q, a->stop_ids[i], "generation.stop_ids", i));
    q->n_ends = (uint32_t)(a->n_eos + stop_ids + a->n_stops);
cleanup:
    return st;
}

static clsample_status check_params(const cls_request *q)
{
    const uint32_t n = q->ask.params ? q->ask.n_params : 1;
    clsample_status st = CLSAMPLE_OK;
    cls_plan_row unused;

    for (uint32_t i = 0; st == CLSAMPLE_OK && i < n; i++)
        st = cls_plan(q->ask.params, i, q->ask.vocab, false, &unused);
    return st;
}

static clsample_status check_texts(cls_request *q, const clsample_texts *from)
{
    q->texts = (clsample_texts)CLSAMPLE_TEXTS_INIT;
    const clsample_status st = cls_copy_struct(&q->texts, sizeof q->texts, CLS_TEXTS_SIZE_1, from, "texts");

    if (st != CLSAMPLE_OK) return st;
    if ((q->texts.ids || q->texts.logprobs) && q->texts.stride < q->stride)
        return cls_fail(CLSAMPLE_E_BUFFER, "texts.stride is %u; rows of up to %u tokens need as many",
                        (unsigned)q->texts.stride, (unsigned)q->stride);
    return CLSAMPLE_OK;
}

clsample_status cls_check_request(cls_job *job, cl_command_queue queue, const clsample_generation *from,
                                  const clsample_texts *texts, cls_request *q)
{
    clsample_status st = CLSAMPLE_OK;

    q->ask = (clsample_generation)CLSAMPLE_GENERATION_INIT;
    if (!job->ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must come from clsample_create");
    CLS_TRY(cls_check_queue(job, queue, 0, NULL));
    CLS_TRY(cls_copy_struct(&q->ask, sizeof q->ask, CLS_GENERATION_SIZE_1, from, "generation"));
    CLS_TRY(check_shape(q));
    CLS_TRY(check_prompts(q));
    CLS_TRY(check_ends(q));
    CLS_TRY(check_params(q));
    CLS_TRY(check_texts(q, texts));
cleanup:
    return st;
}

void cls_fill_ends(const cls_request *q, cl_int *ends)
{
    const int32_t *stop = q->ask.stop_ids;

    for (uint32_t i = 0; i < q->ask.n_eos; i++)
        *ends++ = q->ask.eos[i];
    for (uint32_t s = 0; s < q->ask.n_stops; s++) {
        const uint32_t length = q->ask.stop_lengths[s];
        *ends++ = (cl_int)length;
        memcpy(ends, stop, length * sizeof *ends);
        ends += length;
        stop += length;
    }
}
