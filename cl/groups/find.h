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
#include "search.h"
#include "tile.h"

/* Tiles' maxima above the floor for a limit of mass, at most half of the work-items'. */
#define CLS_GUESSED 128u

/* ---- The largest logit ---- */

CLS_FN uint cls_row_max(const cls_row *row, int *nan)
{
    uint largest = CLS_KEY_MASKED, bad = 0;

    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG) {
        largest = max(largest, row->place.key[t]);
        bad |= row->place.live[t] & CLS_LIVE_NAN;
    }
    *nan = cls_group_max(bad, &row->shared->group) != 0;
    return cls_group_max(largest, &row->shared->group);
}

/* The smallest id that has the key, which is the row's largest. */
CLS_FN uint cls_first_id(const cls_row *row, uint key)
{
    uint first = CLS_NO_ID, id = CLS_NO_ID;

    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG)
        if (row->place.key[t] == key) first = min(first, t);
    first = cls_group_min(first, &row->shared->group);
    for (uint i = get_local_id(0); i < CLS_TILE && first * CLS_TILE + i < row->vocab; i += CLS_WG)
        if (cls_key_at(row, first * CLS_TILE + i) == key) id = min(id, first * CLS_TILE + i);
    return cls_group_min(id, &row->shared->group);
}

/* ---- Candidates ---- */

/* Does the key with this number come before another in rank? */
CLS_FN uint cls_is_ahead(uint key, uint number, uint other_key, uint other)
{
    return key > other_key || (key == other_key && number < other);
}

/* A key that at least `wanted` tokens reach, as long as so many work-items have one: each takes the largest
 * of its tiles, and the one with that rank among them knows. Else `start`. */
CLS_FN uint cls_floor_of(const cls_row *row, uint start, uint wanted)
{
    __local cls_shared *s = row->shared;
    __local uint *largest = s->candidates.key;
    const uint lid = get_local_id(0);
    uint mine = CLS_KEY_MASKED, rank = 1;

    for (uint t = wanted ? lid : row->tiles; t < row->tiles; t += CLS_WG)
        mine = max(mine, row->place.key[t]);
    CLS_BARRIER();
    largest[lid] = mine;
    s->found = start;
    CLS_BARRIER();
#pragma unroll 1 /* else it takes AMD's compiler more registers than there are */
    for (uint i = wanted ? 0 : CLS_WG; i < CLS_WG; i += 4) {
        const uint4 key = vload4(0, largest + i);
        rank += cls_is_ahead(key.x, i, mine, lid) + cls_is_ahead(key.y, i + 1, mine, lid) +
                cls_is_ahead(key.z, i + 2, mine, lid) + cls_is_ahead(key.w, i + 3, mine, lid);
    }
    if (rank == wanted) s->found = max(start, mine);
    CLS_BARRIER();
    return s->found;
}

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

/* ---- What cls_run asks for ---- */

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

#if CLS_EXTRAS
/* What lies above `high` counts as masked from now on: tiles that have such tokens get other largest keys,
 * and the row is measured by the largest that is left. */
CLS_FN void cls_mask_above(cls_row *row, uint high, cls_cut *cut)
{
    int nan;

    cls_find_row(row);
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE); /* others may still read the largest keys */
    row->high = cut->high = high;
    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG) {
        if (row->place.key[t] <= high) continue;
        row->place.live[t] |= CLS_LIVE_ABOVE;
        row->place.key[t] = cls_max_key(row, t * CLS_TILE, CLS_TILE);
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    cut->key_max = cls_row_max(row, &nan);
    cls_set_measure(&row->measure, cut->key_max, row->measure.scale);
    row->summed = CLS_SUMS_NONE;
    row->count = 0;
}

/* Keep what has this nearness to the mean, at least. */
CLS_FN void cls_keep_nearest(cls_row *row, const cls_limit *limit, uint nearness, cls_cut *cut)
{
    uint low, high;

    cls_nearness_interval(limit->key_max, limit->gap, nearness, &low, &high);
    cls_raise_cut(cut, low);
    if (high < row->measure.key_max) cls_mask_above(row, high, cut);
    row->floor = cut->key;
    if (!CLS_CANDIDATES_OFF) row->todo |= CLS_TO_GATHER;
}
#endif

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
    cls_raise_cut_to(cut, rank, id);
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
