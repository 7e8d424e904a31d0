/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: the candidates, all tokens of a row from a floor on, in local memory. They are sorted by
 * id for sums in that order, and by rank for limits. */
#ifndef CLS_GROUPS_CANDIDATES_H
#define CLS_GROUPS_CANDIDATES_H

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "group.h"
#include "tile.h"

/* ---- To gather ---- */

/* List the tiles that reach the floor, in any order, if `on`. */
CLS_FN void cls_list_tiles(const cls_row *row, uint on)
{
    __local cls_shared *s = row->shared;

    for (uint t = on ? get_local_id(0) : row->tiles; t < row->tiles; t += CLS_WG) {
        if (row->place.key[t] < row->floor) continue;
        const uint at = atomic_inc(&s->hits);
        if (at < CLS_HIT_TILES) s->tile[at] = t;
    }
    CLS_BARRIER();
}

/* Gather the tokens from the floor on, as (id, key) in any order. */
CLS_FN void cls_collect(const cls_row *row, uint tiles)
{
    __local cls_shared *s = row->shared;

    for (uint i = get_local_id(0); i < tiles * CLS_TILE; i += CLS_WG) {
        const uint id = s->tile[i / CLS_TILE] * CLS_TILE + i % CLS_TILE;
        if (id >= row->vocab) continue;
        const uint key = cls_key_at(row, id);
        if (key < row->floor) continue;
        const uint at = atomic_inc(&s->count);
        if (at < CLS_ROOM) s->candidates.sorted[at] = (ulong)id << 32 | key;
    }
    CLS_BARRIER();
}

CLS_FN uint cls_power_above(uint n)
{
    uint power = 1;

    while (power < n)
        power *= 2;
    return power;
}

/* Pad n numbers with such as sort behind all others, and sort. */
CLS_FN void cls_sort(const cls_row *row, uint n)
{
    const uint room = n ? cls_power_above(n) : 0;

    for (uint i = n + get_local_id(0); i < room; i += CLS_WG)
        row->shared->candidates.sorted[i] = ULONG_MAX;
    cls_group_sort(row->shared->candidates.sorted, room);
}

/* If it is to do, take the tokens from the floor on as candidates, in the order of ids, if they fit. There
 * are no hits before. */
CLS_FN void cls_gather(cls_row *row)
{
    __local cls_shared *s = row->shared;
    const uint on = row->todo & CLS_TO_GATHER;

    cls_find_row(row);
    cls_list_tiles(row, on);
    const uint hits = s->hits;
    cls_collect(row, hits <= CLS_HIT_TILES ? hits : 0);
    const uint found = s->count, n = hits <= CLS_HIT_TILES && found <= CLS_ROOM ? found : 0;
    if (on) {
        row->count = n;
        row->todo = CLS_TO_WEIGH | CLS_TO_RANK;
    }
    cls_sort(row, n);
    for (uint i = get_local_id(0); i < n; i += CLS_WG) {
        s->candidates.id[i] = (uint)(s->candidates.sorted[i] >> 32);
        s->candidates.key[i] = (uint)s->candidates.sorted[i];
    }
    CLS_BARRIER();
}

/* Are the candidates all that the cut keeps, and perhaps more? */
CLS_FN int cls_candidates_cover(const cls_row *row, const cls_cut *cut)
{
    return row->count > 0 && row->floor <= cut->key;
}

/* ---- Weights ---- */

CLS_CALLED uint cls_candidate_weight(const cls_row *row, uint i)
{
    const uint key_max = cls_block_max(row, row->shared->candidates.id[i] / CLS_BLOCK);
    const int exponent = cls_weigh(key_max, row->measure.scale).exponent;

    return cls_pack(&row->measure, row->shared->candidates.key[i], exponent);
}

/* Weigh the candidates at the row's measure, where they are not yet. */
CLS_FN void cls_weigh_candidates(cls_row *row)
{
    const uint n = row->todo & CLS_TO_WEIGH ? row->count : 0;

    for (uint i = get_local_id(0); i < n; i += CLS_WG)
        row->shared->candidates.weight[i] = cls_candidate_weight(row, i);
    row->todo &= ~CLS_TO_WEIGH;
    CLS_BARRIER();
}

/* What candidate i adds to the mass of what the cut keeps, in the order of ids: the weights of a block are
 * added before they become mass. 0 if it is not kept. */
CLS_FN ulong cls_increment(const cls_row *row, const cls_cut *cut, uint i)
{
    __local const cls_candidates *c = &row->shared->candidates;
    const uint weight = c->weight[i], block = c->id[i] / CLS_BLOCK;
    uint before = 0;

    if (!cls_kept(c->key[i], c->id[i], cut)) return 0;
    for (uint j = i; j > 0 && c->id[j - 1] / CLS_BLOCK == block; j--)
        if (cls_kept(c->key[j - 1], c->id[j - 1], cut)) before += CLS_UNITS(c->weight[j - 1]);
    return cls_units_mass(&row->measure, before + CLS_UNITS(weight), CLS_SHIFT(weight)) -
           cls_units_mass(&row->measure, before, CLS_SHIFT(weight));
}

/* The mass of the candidates of a share that the cut keeps; *count takes their number. */
CLS_CALLED ulong cls_candidates_kept(const cls_row *row, cls_share share, const cls_cut *cut, uint *count)
{
    __local const cls_candidates *c = &row->shared->candidates;
    ulong mass = 0;

    *count = 0;
    for (uint i = share.begin; i < share.end; i++) {
        mass += cls_increment(row, cut, i);
        *count += cls_kept(c->key[i], c->id[i], cut);
    }
    return mass;
}

/* The candidate kept in a share whose running mass, from `sum` on, first exceeds `target`, which lies in
 * there; *mass takes its own. */
CLS_CALLED uint cls_draw_candidate(const cls_row *row, cls_share share, const cls_cut *cut, ulong sum,
                                   ulong target, ulong *mass)
{
    uint i = share.begin;
    ulong mine;

    for (; (mine = cls_increment(row, cut, i)) + sum <= target; i++)
        sum += mine;
    *mass = mine;
    return row->shared->candidates.id[i];
}

/* ---- Limits ---- */

/* Sort the candidates by rank, where they are not yet: larger ones first, then smaller ids. Each element has
 * its place in the order of ids in the lower half. */
CLS_FN void cls_sort_by_rank(cls_row *row, const cls_limit *limit)
{
    __local cls_candidates *c = &row->shared->candidates;
    const uint n = row->todo & CLS_TO_RANK || cls_is_by_distance(limit) ? row->count : 0;

    for (uint i = get_local_id(0); i < n; i += CLS_WG)
        c->sorted[i] = (ulong)~cls_rank(limit, c->key[i]) << 32 | i;
    row->todo = cls_is_by_distance(limit) ? row->todo | CLS_TO_RANK : row->todo & ~CLS_TO_RANK;
    cls_sort(row, n);
}
CLS_FN uint cls_rank_at(const cls_row *row, uint i)
{
    return ~(uint)(row->shared->candidates.sorted[i] >> 32);
}
CLS_FN uint cls_ranked_id(const cls_row *row, uint i)
{
    return row->shared->candidates.id[(uint)row->shared->candidates.sorted[i]];
}
CLS_FN int cls_ranked_kept(const cls_row *row, const cls_cut *cut, uint i)
{
#if CLS_EXTRAS
    const uint key = row->shared->candidates.key[(uint)row->shared->candidates.sorted[i]];
#else
    const uint key = cls_rank_at(row, i);
#endif
    return cls_kept(key, cls_ranked_id(row, i), cut);
}
/* What it counts for a limit; 0 if it is not kept. */
CLS_FN ulong cls_ranked_amount(const cls_row *row, const cls_limit *limit, const cls_cut *cut, uint i)
{
    __local const cls_candidates *c = &row->shared->candidates;

    if (!cls_ranked_kept(row, cut, i)) return 0;
    return limit->masses ? cls_weight_mass(&row->measure, c->weight[(uint)c->sorted[i]]) : 1;
}

/* The first candidate with the rank at which the limit is passed, which is that of number i or of a later
 * one. *sum is what is kept before i, and takes what is kept before that rank. */
CLS_FN uint cls_passing_candidate(const cls_row *row, const cls_limit *limit, const cls_cut *cut, uint i,
                                  ulong *sum)
{
    for (;; i++) {
        const ulong amount = cls_ranked_amount(row, limit, cut, i);
        if (*sum + amount > limit->most) break;
        *sum += amount;
    }
    const uint rank = cls_rank_at(row, i);
    for (; i > 0 && cls_rank_at(row, i - 1) == rank; i--)
        *sum -= cls_ranked_amount(row, limit, cut, i - 1);
    return i;
}

/* The limit is passed by the candidate of number i or a later one, `sum` being what is kept before i: *rank
 * and *id take where the cut belongs, as the rule for ties asks. */
CLS_CALLED void cls_pass_candidates(const cls_row *row, const cls_limit *limit, const cls_cut *cut, uint i,
                                    ulong sum, uint *rank, uint *id)
{
    const uint first = cls_passing_candidate(row, limit, cut, i, &sum), passing = cls_rank_at(row, first);

    *rank = passing;
    *id = CLS_NO_ID;
#if CLS_EXTRAS
    if (limit->by_distance) {
        *rank = cls_last_nearness(limit, passing, sum);
        return;
    }
#endif
    if (!cls_passer_stays(limit, sum, cls_ranked_amount(row, limit, cut, first),
                          passing == row->measure.key_max)) {
        *rank = cls_rank_at(row, first - 1);
        return;
    }
    if (!limit->exact) return;
    *id = 0;
    for (i = first; i < row->count && cls_rank_at(row, i) == passing && cls_ranked_kept(row, cut, i); i++) {
        if (cls_is_below(sum, limit)) *id = cls_ranked_id(row, i);
        sum += cls_ranked_amount(row, limit, cut, i);
    }
}

/* Find where the running amount of the candidates, by rank, passes the limit; 0 if it does not. The work-item
 * that finds it hands it over. By distance they must be all that is kept. */
CLS_FN int cls_find_candidate(cls_row *row, const cls_limit *limit, const cls_cut *cut, uint *rank, uint *id)
{
    __local cls_shared *s = row->shared;
    const int on = !cls_is_by_distance(limit) || cls_candidates_cover(row, cut);
    const cls_share share = cls_share_of(on ? row->count : 0);
    ulong mine = 0, total;

    cls_sort_by_rank(row, limit);
    for (uint i = share.begin; i < share.end; i++)
        mine += cls_ranked_amount(row, limit, cut, i);
    const ulong sum = cls_group_scan(mine, &s->group, &total);
    if (sum <= limit->most && sum + mine > limit->most) {
        cls_pass_candidates(row, limit, cut, share.begin, sum, rank, id);
        s->found = *rank;
        s->id = *id;
    }
    CLS_BARRIER();
    *rank = s->found;
    *id = s->id;
    return total > limit->most;
}

#endif
