/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: where what is kept ends, and what it amounts to. The cuts are looked for among
 * candidates, the tokens above a floor that the tiles' maxima suggest; where a cut lies below the floor, or
 * the candidates do not fit, the row is narrowed to others. */
#ifndef CLS_VECTORS_FIND_H
#define CLS_VECTORS_FIND_H

#include "../shared/bounds.h"
#include "../shared/cuts.h"
#include "candidates.h"
#include "lanes.h"
#include "row.h"
#include "search.h"
#include "tile.h"

/* ---- The largest logit ---- */

/* The largest key of the row; *nan takes whether any logit is NaN. */
CLS_FN uint cls_row_max(const cls_row *row, int *nan)
{
    cls_uints key_max = 0, live = 0;
    uint largest = 0, bad = 0, t = 0;

    for (; t + CLS_LANES <= row->tiles; t += CLS_LANES) {
        key_max = max(key_max, cls_vload(0, row->place.key + t));
        live |= cls_vload(0, row->place.live + t);
    }
    for (; t < row->tiles; t++) {
        largest = max(largest, row->place.key[t]);
        bad |= row->place.live[t];
    }
    *nan = (bad & CLS_LIVE_NAN) || any(cls_ints_of((live & CLS_LIVE_NAN) != 0));
    const int lanes = cls_max_lane(cls_ints_of(key_max ^ 0x80000000u));
    return max(largest, (uint)lanes ^ 0x80000000u);
}

/* The smallest id that has the key, which is the row's largest. */
CLS_FN uint cls_first_id(const cls_row *row, uint key)
{
    uint t = 0, i = 0;

    while (t + CLS_LANES <= row->tiles && !any(cls_vload(0, row->place.key + t) == key))
        t += CLS_LANES;
    while (row->place.key[t] != key)
        t++;
    __global const cls_raw *x = cls_tile(row, t);
    const uint n = min(CLS_TILE, row->vocab - t * CLS_TILE);
    while (i + CLS_LANES <= n && !any(cls_signed_lanes(CLS_LOAD(x, i)) == cls_signed(key)))
        i += CLS_LANES;
    while (cls_key_at(x, i) != key)
        i++;
    return t * CLS_TILE + i;
}

/* ---- The floor of the candidates ---- */

CLS_CALLED uint cls_tiles_from(const cls_row *row, uint key)
{
    const cls_ints least = cls_signed(key);
    cls_ints count = 0;
    uint t = 0, n = 0;

    for (; t + CLS_LANES <= row->tiles; t += CLS_LANES)
        count += cls_ones(cls_ints_of(cls_vload(0, row->place.key + t) ^ 0x80000000u) >= least);
    for (; t < row->tiles; t++)
        n += row->place.key[t] >= key;
    return n + cls_sum_lanes(cls_uints_of(count));
}

/* A key from `low` on that at least `wanted` tiles reach, and not many more; `low` if no more do. At least so
 * many tokens reach it too. */
CLS_FN uint cls_floor_of(const cls_row *row, uint low, uint wanted)
{
    uint high = row->measure.key_max + 1;

    while (high - low > 1) {
        const uint middle = low + (high - low) / 2, n = cls_tiles_from(row, middle);
        if (n < wanted) {
            high = middle;
        } else {
            low = middle;
            if (n <= wanted + wanted / 8) break;
        }
    }
    return low;
}

#define CLS_FEW 2048u          /* tokens that are few enough to be looked at one by one */
#define CLS_FEW_TILES 64u      /* in which candidates are looked for without further ado */
#define CLS_GUESSED_BITS 11.0f /* for top-p alone, those of more than 2^-11 of the largest weight, ... */
#define CLS_GUESSED_TILES 96u  /* ... or if these are not few, of so many tiles */

/* A floor for a limit of mass that comes first, when nothing is known beforehand; `start` if no candidates
 * can do: each has at most the largest one's mass. */
CLS_FN uint cls_guess_floor(const cls_row *row, const cls_op *op, uint start)
{
    const cls_measure *m = &row->measure;
    const ulong most = m->saturated ? CLS_HOT_MASS : cls_mass(cls_weigh(m->key_max, m->scale).mantissa, 0, 0);
    cls_limit limit;

    cls_limit_mass(op, row->weighed == 0 ? cls_sums_mass(row) : 0, &limit);
    if (limit.most / CLS_FEW >= most) return start;
    return max(start, cls_min_p_key(m->key_max, -CLS_GUESSED_BITS / m->scale.c, 0.0f));
}

/* Choose the floor of candidates among which the program's cuts are, or most likely are, from the margins
 * before its first limit and that limit; cut->key is the lowest key that is kept. */
CLS_FN void cls_begin(cls_row *row, CLS_PLAN *plan, const cls_cut *cut)
{
    uint start = cut->key, i = 0, wanted = 0;

#if CLS_CANDIDATES_OFF
    return;
#endif
    if (plan->n_ops == 0) return;
    for (; i < plan->n_ops && plan->op[i].code == CLS_OP_MARGIN; i++)
        start = max(start, cls_min_p_key(row->measure.key_max, as_float(plan->op[i].arg[0]),
                                         as_float(plan->op[i].arg[1])));
    const cls_op op = plan->op[min(i, plan->n_ops - 1)];
    uint floor = start;
    if (op.code == CLS_OP_COUNT && op.arg[0] <= row->tiles) wanted = op.arg[0];
    if (op.code == CLS_OP_MASS) floor = cls_guess_floor(row, &op, start);
    if (op.code == CLS_OP_MASS && floor > start) wanted = min(CLS_GUESSED_TILES, row->tiles / 2);
    if (wanted && cls_tiles_from(row, floor) > CLS_FEW_TILES) floor = cls_floor_of(row, floor, wanted);
    row->floor = floor;
    row->due = floor > CLS_KEY_LOWEST || row->vocab <= row->candidates.room;
}

/* ---- Where a limit is passed ---- */

/* What is met on a walk in the order of ids over the tokens from `key` on. */
typedef struct cls_crossing {
    uint key;
    ulong above, sum; /* what is kept above the key; and with its ties so far */
    uint ties, last;  /* their number; the id of the last one that comes below the limit */
    ulong first_mass;
    uint next; /* the smallest key above */
} cls_crossing;

CLS_FN void cls_pass_token(cls_crossing *p, const cls_limit *limit, uint key, uint id, ulong mass)
{
    if (key > p->key) {
        p->next = min(p->next, key);
        return;
    }
    if (p->ties++ == 0) p->first_mass = mass;
    if (cls_is_below(p->sum, limit)) p->last = id;
    p->sum += mass;
}
CLS_FN void cls_pass_candidates(const cls_row *row, const cls_cut *cut, const cls_limit *limit,
                                cls_crossing *p)
{
    for (uint i = 0; i < row->count; i++) {
        const uint key = row->candidates.key[i], id = row->candidates.id[i];
        if (key >= p->key && cls_kept(key, id, cut))
            cls_pass_token(p, limit, key, id,
                           limit->masses ? cls_weight_mass(&row->measure, row->candidates.weight[i]) : 1);
    }
}
/* The same for all ties of a key that are too many to be candidates. */
CLS_FN void cls_pass_row(const cls_row *row, const cls_cut *cut, const cls_limit *limit, cls_crossing *p)
{
    for (uint t = 0; t < row->tiles; t++) {
        if (row->place.key[t] < p->key) continue;
        __global const cls_raw *x = cls_tile(row, t);
        for (uint id = t * CLS_TILE; id < min((t + 1) * CLS_TILE, row->vocab); id++) {
            const uint key = cls_key_at(x, id - t * CLS_TILE);
            if (key < p->key || !cls_kept(key, id, cut)) continue;
            ulong mass = 1;
            if (limit->masses && key == p->key)
                mass = cls_weight_mass(&row->measure,
                                       cls_pack(&row->measure, key, cls_block_exponent(row, id / CLS_BLOCK)));
            cls_pass_token(p, limit, key, id, mass);
        }
    }
}

/* The smallest key above this one, which is not the largest. */
CLS_FN uint cls_next_key(const cls_row *row, uint key)
{
    const cls_ints above = cls_signed(key);
    cls_ints next = INT_MAX;
    uint last = CLS_NO_ID;

    for (uint t = 0; t < row->tiles; t++) {
        const uint n = min(CLS_TILE, row->vocab - t * CLS_TILE);
        uint i = 0;
        if (row->place.key[t] <= key) continue;
        __global const cls_raw *x = cls_tile(row, t);
        for (; i + CLS_LANES <= n; i += CLS_LANES) {
            const cls_ints k = cls_signed_lanes(CLS_LOAD(x, i));
            next = k > above && k <= CLS_SIGNED_INFINITY ? min(next, k) : next; /* not NaN */
        }
        for (; i < n; i++) {
            const uint k = cls_key_at(x, i);
            if (k > key) last = min(last, k);
        }
    }
    return min(last, (uint)~cls_max_lane(~next) ^ 0x80000000u);
}

/* Is the limit passed among the candidates? Narrows the range of the search either way. */
CLS_FN int cls_candidates_pass(const cls_row *row, const cls_limit *limit, cls_search *h)
{
    const uint low = max(h->in.low, row->floor);
    const ulong amount = cls_candidates_amount(row, limit, low);

    if (amount > limit->most) {
        h->in.low = low;
        return 1;
    }
    h->in.high = low;
    h->above = amount;
    h->look = h->in;
    return 0;
}

/* By rank, as the rule for ties asks. */
CLS_FN void cls_find_by_rank(cls_row *row, const cls_limit *limit, cls_cut *cut)
{
    const cls_range all = { cut->key, row->measure.key_max + 1, 0 };
    cls_search h = { all, limit->total, 0, all, CLS_UNKNOWN };
    const int inside = row->have && cls_candidates_pass(row, limit, &h);

    if (!inside && cls_candidates_cover(row, cut)) return; /* nothing passes it */
    if (!inside) cls_narrow(row, cut, limit, &h);
    cls_crossing p = { h.in.low, h.above, 0, 0, 0, 0, CLS_NO_ID };
    if (row->count) p.key = cls_search_candidates(row, limit, h.in.low, h.in.high, &p.above);
    p.sum = p.above;
    if (row->count)
        cls_pass_candidates(row, cut, limit, &p);
    else
        cls_pass_row(row, cut, limit, &p);
    if (p.ties == 0) return;
    const int stays = cls_passer_stays(limit, p.above, p.first_mass, p.key == row->measure.key_max);
    if (!stays && p.next == CLS_NO_ID) p.next = cls_next_key(row, p.key);
    cls_raise_cut_to(cut, stays ? p.key : p.next, stays && limit->exact ? p.last : CLS_NO_ID);
    if (inside && cut->id != CLS_NO_ID) cls_forget_candidates(row, cut);
    /* Sums tell the rest, unless all that is kept can be had among candidates again, for little. */
    row->due = !inside && row->sums_low <= cut->key && row->sums_count + row->count <= CLS_FEW;
    if (!inside) row->floor = cut->key;
}

/* From the filters' measure to the draw's, or to that of what is left. */
CLS_FN void cls_rescale(cls_row *row, cls_scale scale, const cls_cut *cut)
{
    cls_set_measure(&row->measure, row->measure.key_max, scale);
    row->weighed = CLS_NO_ID;
    row->sums_key = CLS_NO_ID;
    cls_drop_candidates(row);
    row->due = 1;
    row->floor = cut->key;
}

CLS_FN void cls_ready(cls_row *row)
{
    if (row->due) cls_gather(row, row->floor);
    row->due = 0;
}

CLS_FN void cls_find_mass(cls_row *row, const cls_cut *cut, cls_facts *facts)
{
    if (cls_candidates_cover(row, cut))
        facts->mass = cls_candidates_kept(row, cut, &facts->count);
    else
        facts->mass = cls_row_keep(row, cut, &facts->count);
}

CLS_FN uint cls_draw(const cls_row *row, const cls_cut *cut, ulong target, ulong *mass)
{
    return cls_candidates_cover(row, cut) ? cls_draw_candidate(row, cut, target, mass)
                                          : cls_row_draw(row, cut, target, mass);
}

#if CLS_EXTRAS
/* What lies above `high` counts as masked from now on: tiles that have such tokens get other largest keys,
 * and the row is measured by the largest that is left. */
CLS_FN void cls_mask_above(cls_row *row, uint high, cls_cut *cut)
{
    row->high = cut->high = high;
    row->high_id = cut->high_id = 0;
    row->window[CLS_TILE] = CLS_NO_ID;
    for (uint t = 0; t < row->tiles; t++) {
        if (row->place.key[t] <= high) continue;
        row->place.live[t] |= CLS_LIVE_ABOVE;
        row->place.key[t] = cls_max_key(cls_tile(row, t), min(CLS_TILE, row->vocab - t * CLS_TILE));
    }
    int nan;
    cut->key_max = row->measure.key_max = cls_row_max(row, &nan);
    cls_rescale(row, row->measure.scale, cut);
}

/* What is kept from each rank on, among candidates or in the row. */
CLS_FN void cls_amounts_kept(const cls_row *row, const cls_cut *cut, const cls_limit *limit,
                             const uint *threshold, ulong *amount)
{
    if (!cls_candidates_cover(row, cut)) {
        cls_amounts(row, cut, limit, threshold, 1, amount);
        return;
    }
#pragma unroll 1
    for (uint j = 0; j < CLS_THRESHOLDS; j++)
        amount[j] = cls_candidates_amount(row, limit, threshold[j]);
}

/* By distance from the mean: all ties of a rank stay. Of a saturated row, where only equals have mass,
 * all. */
CLS_CALLED void cls_find_by_distance(cls_row *row, const cls_limit *limit, cls_cut *cut)
{
    uint low = 0, high = 0x7f800001u, threshold[CLS_THRESHOLDS], low_key, high_key;
    ulong amount[CLS_THRESHOLDS], above = 0;

    if (row->measure.saturated) return;
    if (row->have) cls_forget_candidates(row, cut);
    for (int first = 1; high - low > 1; first = 0) {
        for (uint j = 0; j < CLS_THRESHOLDS; j++)
            threshold[j] = low + (uint)((ulong)(high - low) * (j + !first) / (CLS_THRESHOLDS + !first));
        cls_amounts_kept(row, cut, limit, threshold, amount);
        if (first && amount[0] <= limit->most) return;
        for (uint j = 0; j < CLS_THRESHOLDS; j++) {
            if (amount[j] > limit->most) {
                low = max(low, threshold[j]);
            } else if (threshold[j] < high) {
                high = threshold[j];
                above = amount[j];
            }
        }
    }
    const uint rank = cls_last_nearness(limit, low, above);
    cls_nearness_interval(limit->key_max, limit->gap, rank, &low_key, &high_key);
    cls_raise_cut(cut, low_key);
    if (high_key < row->measure.key_max) cls_mask_above(row, high_key, cut);
}
#endif

CLS_FN void cls_find(cls_row *row, const cls_limit *limit, cls_cut *cut)
{
#if CLS_EXTRAS
    if (limit->by_distance) {
        cls_find_by_distance(row, limit, cut);
        return;
    }
#endif
    cls_find_by_rank(row, limit, cut);
}

#endif
