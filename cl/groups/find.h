/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: where what is kept ends, and what it amounts to. The cuts are looked for among
 * candidates, the tokens above a floor that the tiles' maxima suggest; where a cut lies below the floor, or
 * the candidates do not fit, in the row itself. */
#ifndef CLS_GROUPS_FIND_H
#define CLS_GROUPS_FIND_H

#include "../shared/bounds.h"
#include "../shared/cuts.h"
#include "candidates.h"
#include "facts.h"
#include "group.h"
#include "row.h"

#define CLS_GUESSED \
    128u /* tiles' maxima above the floor for a limit of mass, at most half of the work-items' */

/* ---- What cls_run asks for ---- */

/* Choose the floor of candidates among which the program's cuts are, or most likely are, from the margins
 * before its first limit and that limit. A program without ops has no cut to look for. */
CLS_FN void cls_begin(cls_row *row, CLS_PLAN *plan, const cls_cut *cut)
{
    uint i = 0, wanted = 0;

    row->floor = cut->key;
    row->count = row->todo = 0;
    for (; i < plan->n_ops && !(plan->op[i].code & CLS_OP_LIMIT); i++) {
        const float hi = as_float(plan->op[i].arg[0]), lo = as_float(plan->op[i].arg[1]);
        if (plan->op[i].code == CLS_OP_MARGIN)
            row->floor = max(row->floor, cls_min_p_key(row->measure.key_max, hi, lo));
    }
    if (i < plan->n_ops && plan->op[i].code == CLS_OP_COUNT) wanted = plan->op[i].arg[0];
    if (i < plan->n_ops && plan->op[i].code == CLS_OP_MASS) wanted = min(CLS_GUESSED, (uint)CLS_WG / 2);
    row->floor = cls_floor_of(row, row->floor, wanted <= min((uint)CLS_WG, row->tiles) ? wanted : 0);
    if (!CLS_CANDIDATES_OFF && plan->n_ops > 0) row->todo = CLS_TO_GATHER;
}

/* The barriers are met whether there is something to gather or not: PoCL writes out all that follows a branch
 * with barriers once for each of its ways, which for several in a row takes minutes. */
CLS_FN void cls_ready(cls_row *row)
{
    __local cls_shared *s = row->shared;

    CLS_BARRIER();
    if (get_local_id(0) == 0) {
        s->measure = row->measure; /* it may be another */
        s->hits = s->count = 0;
    }
    CLS_BARRIER();
    cls_gather(row);
}

CLS_FN void cls_rescale(cls_row *row, cls_scale scale, const cls_cut *cut)
{
    cls_set_measure(&row->measure, row->measure.key_max, scale);
    row->summed = CLS_SUMS_NONE;
    row->todo |= CLS_TO_WEIGH;
}

/* Each work-item adds what a share of the candidates or of the row's blocks keeps. */
CLS_FN cls_share cls_kept_share(const cls_row *row, const cls_cut *cut)
{
    return cls_share_of(cls_candidates_cover(row, cut) ? row->count : row->blocks);
}
CLS_FN void cls_find_mass(cls_row *row, const cls_cut *cut, cls_facts *facts)
{
    __local cls_shared *s = row->shared;
    const int covered = cls_candidates_cover(row, cut);
    const cls_share share = cls_kept_share(row, cut);
    uint count;

    cls_find_row(row);
    cls_weigh_candidates(row);
    if (get_local_id(0) == 0) s->kept = 0;
    cls_row_measure(row, !covered);
    const ulong mine =
        covered ? cls_candidates_kept(row, share, cut, &count) : cls_row_keep(row, share, cut, &count);
    atomic_add(&s->kept, count);
    cls_group_scan(mine, &s->group, &facts->mass);
    facts->count = s->kept;
}

CLS_FN void cls_find(cls_row *row, const cls_limit *limit, cls_cut *cut)
{
    const int covered = cls_candidates_cover(row, cut);
    uint rank, id;

    if (!cls_find_candidate(row, limit, cut, &rank, &id)) {
        if (covered || !cls_find_in_row(row, limit, cut, &rank, &id)) return;
        /* So few may fit. */
        if (!CLS_CANDIDATES_OFF && !limit->masses && limit->most < CLS_ROOM) row->todo |= CLS_TO_GATHER;
    }
#if CLS_EXTRAS
    if (limit->by_distance) {
        cls_keep_nearest(row, limit, rank, cut);
        return;
    }
#endif
    cut->key = rank;
    cut->id = id;
    if (row->todo & CLS_TO_GATHER) row->floor = rank;
}

/* After cls_find_mass, of what the same cut keeps: the shares and their sums are still known. */
CLS_FN uint cls_draw(cls_row *row, const cls_cut *cut, ulong target, ulong *mass)
{
    __local cls_shared *s = row->shared;
    const cls_share share = cls_kept_share(row, cut);
    const uint lid = get_local_id(0);
    const ulong before = cls_group_scanned(&s->group, lid);
    ulong mine = 0;

    cls_find_row(row);
    if (before <= target && target < cls_group_scanned(&s->group, lid + 1)) {
        s->id = cls_candidates_cover(row, cut) ? cls_draw_candidate(row, share, cut, before, target, &mine)
                                               : cls_row_draw(row, share, cut, before, target, &mine);
        s->before = mine;
    }
    CLS_BARRIER();
    *mass = s->before;
    return s->id;
}

#endif
