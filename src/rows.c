/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a batch: which parameters each has, and with which stream it draws. */
#include "job.h"

clsample_status cls_check_n_params(const cls_row_params *p, uint32_t rows)
{
    if (p->sets && p->n != 1 && (uint64_t)p->n * p->samples != rows)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "n_params is %u; it must be 1, or logits.rows, %u",
                        (unsigned)p->n, (unsigned)rows);
    return CLSAMPLE_OK;
}

bool cls_is_one_set(const cls_row_params *p)
{
    return !p->sets || p->n == 1;
}

uint32_t cls_set_of_row(const cls_row_params *p, uint32_t row)
{
    return cls_is_one_set(p) ? 0 : row / p->samples;
}

clsample_status cls_plan_of_row(const cls_row_params *p, uint32_t row, uint32_t vocab, bool filter,
                                cls_plan_row *plan)
{
    const uint32_t prompt = row / p->samples, sample = row % p->samples;
    const clsample_status st = cls_plan(p->sets, cls_set_of_row(p, row), vocab, filter, plan);

    if (st == CLSAMPLE_OK) plan->stream += (cls_is_one_set(p) ? prompt : 0) + sample * CLSAMPLE_SAMPLE_STREAM;
    return st;
}

clsample_status cls_plan_rows(const cls_row_params *p, const clsample_logits *l, bool filter,
                              cls_plan_row *plans, uint32_t n)
{
    clsample_status st = CLSAMPLE_OK;

    for (uint32_t r = 0; st == CLSAMPLE_OK && r < n; r++)
        st = cls_plan_of_row(p, r, l->vocab, filter, &plans[r]);
    return st;
}

clsample_status cls_edit_rows(cls_job *job, const cls_row_params *p, const cls_history *held, cls_edits *e,
                              cls_plan_row *plans, uint32_t n)
{
    clsample_status st = CLSAMPLE_OK;

    if (held && (held->until == 0 || held->n_held == 0)) held = NULL;
    job->needs_extras = held != NULL;
    for (uint32_t r = 0; r < n; r++)
        job->needs_extras = job->needs_extras || plans[r].flags & CLS_PLAN_EXTRAS;
    if (!job->needs_extras) return st;
    CLS_TRY(cls_need_edits(job->ctx, p->sets, cls_is_one_set(p) ? 1 : p->n, job->logits.vocab, held, e));
    for (uint32_t r = 0; r < n; r++)
        cls_place_edits(e, cls_set_of_row(p, r), &plans[r]);
    job->edits = e->mem;
cleanup:
    return st;
}
