/* SPDX-License-Identifier: Apache-2.0 */
/* A plan's program run on one row: the interpreter of both forms. A form has the row, how its plan lies in
 * memory (CLS_PLAN), and these, which all work-items of a group call together:
 *   cls_begin(row, plan, cut)             before the first op
 *   cls_rescale(row, scale, cut)          weigh by another scale, measured by the largest key of the cut
 *   cls_ready(row)                        before each op, the draw included
 *   cls_find_mass(row, cut, facts)        the mass of what the cut keeps, and the number of its tokens
 *   cls_find_moments(row, cut, facts)     the moments of its logits
 *   cls_find_mean(row, op, cut, facts)    its mean logit
 *   cls_find(row, limit, cut)             move the cut to where a limit is passed
 *   cls_draw(row, cut, target, mass)      the token at which the running mass exceeds the target
 * Whether they look among candidates or in the whole row is their own affair. */
#ifndef CLS_RUN_H
#define CLS_RUN_H

#ifndef CLS_PLAN /* read alone, it is that of the form for CPUs */
#include "../vectors/facts.h"
#include "../vectors/find.h"
#endif

#ifndef CLS_SCALE /* where a form has the scale in force */
#define CLS_SCALE(row) ((row)->measure.scale)
#endif

CLS_FN void cls_find_facts(cls_row *row, const cls_op *op, const cls_cut *cut, cls_facts *facts)
{
    facts->key_max = row->measure.key_max;
    if (op->code & CLS_NEED_MASS) cls_find_mass(row, cut, facts);
#if CLS_EXTRAS
    if (op->code & CLS_NEED_MOMENTS) cls_find_moments(row, cut, facts);
    if (op->code & CLS_NEED_MEAN) cls_find_mean(row, op, cut, facts);
#endif
}

/* Of a row with a finite logit. One loop holds the ops, and which comes next is not known beforehand: so
 * compilers that put everything where it is called meet each piece once, which is worth seconds at start-up.
 * A greedy row has no ops and is not drawn from. */
CLS_FN void cls_run(cls_row *row, CLS_PLAN *plan, cls_cut *cut, cls_result *result)
{
    cls_facts facts;
    cls_limit limit;
    ulong mass = 0;

    facts.mass = facts.count = 0;
    cls_begin(row, plan, cut);
#pragma unroll 1
    for (uint i = 0; i <= plan->n_ops; i++) {
        cls_op op = { CLS_OP_DRAW, { 0, 0, 0 } };
        if (i < plan->n_ops) op = plan->op[i];
        if (op.code == CLS_OP_SCALE) {
            cls_scale scale;
            cls_op_scale(op, &scale);
            cls_rescale(row, scale, cut);
        }
        cls_ready(row);
        cls_find_facts(row, &op, cut, &facts);
        if (op.code & CLS_OP_BOUND) cls_raise_cut(cut, cls_bound(&op, CLS_SCALE(row), &facts));
        if (!(op.code & CLS_OP_LIMIT)) continue;
        cls_limit_of(&op, &facts, row->vocab, &limit);
        cls_find(row, &limit, cut);
    }
    const cls_draw_key draw = { plan->seed_lo, plan->seed_hi, plan->step_lo, plan->step_hi, plan->stream };
    const uint id = cls_draw(row, cut, cls_target(&draw, facts.mass), &mass);
    cls_set_drawn(cut, result, id, mass, facts.mass, facts.count);
}

#endif
