/* SPDX-License-Identifier: Apache-2.0 */
/* The choice in the form for GPUs: one work-group a row turns the summary into a token. */

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "candidates.h"
#include "find.h"
#include "group.h"

/* Over the functions of what is above: */
#include "../shared/run.h"

/* ---- The kernel ---- */

/* Row r's plan to local memory, by one work-item. */
CLS_FN void cls_keep_plan(const cls_call *call, __global const cls_plan_row *plans,
                          __global const cls_row_state *states, uint r, __local cls_plan_row *plan)
{
    cls_plan_row found; /* in registers, but for the ops */

    cls_find_plan(call, plans, states, r, &found);
    plan->flags = found.flags;
    plan->n_ops = found.n_ops;
    plan->seed_lo = found.seed_lo;
    plan->seed_hi = found.seed_hi;
    plan->step_lo = found.step_lo;
    plan->step_hi = found.step_hi;
    plan->stream = found.stream;
    plan->edits = found.edits;
    plan->n_edits = found.n_edits;
    plan->scale = found.scale;
#pragma unroll /* a number that is not known beforehand would keep them all in private memory */
    for (uint i = 0; i < CLS_OPS_MAX; i++) {
        if (i >= found.n_ops) continue;
        if (call->own_plans)
            plan->op[i] = plans[r].op[i];
        else
            plan->op[i] = call->plan.op[i];
    }
}

/* Of a row whose largest logit has this key, which is not masked. */
CLS_FN void cls_choose_row(cls_row *row, CLS_PLAN *plan, cls_cut *cut, cls_result *result)
{
    cls_set_measure(&row->measure, cut->key_max, plan->scale);
    row->summed = plan->flags & CLS_PLAN_SUMS ? CLS_SUMS_WHOLE : CLS_SUMS_NONE;
    cls_run(row, plan, cut, result);
}

/* The outcome, as long as nothing has been drawn. */
CLS_FN void cls_store(__local cls_shared *s, const cls_cut *cut, const cls_result *result)
{
    s->id = (uint)result->token;
    *s->place.cut = *cut;
    if (s->token) *s->token = result->token;
    if (s->result) *s->result = *result;
}
/* What a draw changes of it: so nothing else is kept in registers until then. */
CLS_FN void cls_store_drawn(const cls_row *row, const cls_cut *cut, const cls_result *result)
{
    __local const cls_shared *s = row->shared;
    __global cls_cut *to = s->place.cut;

    to->key = cut->key;
    to->id = cut->id;
    to->high = cut->high;
    to->key_max = row->measure.key_max;
    to->mass_lo = cut->mass_lo;
    to->mass_hi = cut->mass_hi;
    if (s->token) *s->token = result->token;
    if (!s->result) return;
    s->result->token = result->token;
    s->result->logprob = result->logprob;
    s->result->kept = result->kept;
}

/* logits [rows, stride]. plans [rows], states [rows]: or null. scratch: as cls_summary left it; its cuts take
 * what the rows keep. tokens int32 [rows] and results [rows] take the outcome: either may be null.
 * history: see cls_advance. edits, extras: only for plans that need them. Global size: CLS_WG, rows. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1))) CLS_ONE_BY_ONE void cls_choice(
    __global const cls_stored *restrict logits, __global const cls_plan_row *restrict plans,
    __global uchar *restrict scratch, cls_call call, __global cls_row_state *restrict states,
    __global const cls_edit *restrict edits, __global uchar *restrict extras, __global int *restrict tokens,
    __global cls_result *restrict results, __global int *restrict history)
{
    __local cls_shared s;
    const uint r = get_group_id(1);
    cls_row row = { .logits = logits + call.offset + r * call.stride,
                    .vocab = call.vocab,
                    .tiles = cls_tiles(call.vocab),
                    .blocks = cls_blocks(call.vocab),
                    .shared = &s };
    cls_cut cut;
    cls_result result;
    int nan;

    row.place = cls_place_of(scratch, call.scratch_offset, r, get_num_groups(1), call.vocab);
    if (call.fallback && row.place.cut->status != CLS_ROW_NO_TOKEN) {
        if (get_local_id(0) == 0 && states) /* they come with one or the other */
            cls_advance(&call, states, history, r,
                        tokens ? tokens[call.tokens_offset + r] : results[call.results_offset + r].token);
        return;
    }

    if (get_local_id(0) == 0) {
        cls_keep_plan(&call, plans, states, r, &s.plan);
        s.vocab = call.vocab;
        s.logits = row.logits;
        s.place = row.place;
        s.token = tokens ? tokens + call.tokens_offset + r : tokens;
        s.result = results ? results + call.results_offset + r : results;
        s.state = call.advance && states ? states + r : 0;
#if CLS_EXTRAS
        s.edits = edits + s.plan.edits;
        s.moments = cls_moments_of(extras, &call, r);
#endif
        s.history = history ? history + r * (size_t)call.history_stride : history;
    }
#if CLS_EXTRAS
    row.high = CLS_NO_ID;
#endif
    cls_start(&cut, &result);
    CLS_BARRIER(); /* the door asks for the edits */
    const uint key_max = cls_row_max(&row, &nan), id = cls_first_id(&row, key_max);
    const int greedy = (s.plan.flags & CLS_PLAN_GREEDY) != 0;
    if (key_max != CLS_KEY_MASKED) cls_start_with(key_max, id, greedy, call.fallback, nan, &cut, &result);
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE); /* all have read the status of the first pass */
    if (get_local_id(0) == 0) cls_store(&s, &cut, &result);
    if (key_max != CLS_KEY_MASKED && !greedy) {
        cls_choose_row(&row, &s.plan, &cut, &result);
        if (get_local_id(0) == 0) cls_store_drawn(&row, &cut, &result);
    }
    if (get_local_id(0) != 0) return;
    if (s.state) cls_advance_row(s.state, s.history, (int)s.id);
}
