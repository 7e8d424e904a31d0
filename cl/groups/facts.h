/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: facts about what is kept that only some samplers ask for, and the upper end that one of
 * them sets. */
#ifndef CLS_GROUPS_FACTS_H
#define CLS_GROUPS_FACTS_H

#include "../shared/bounds.h"
#include "../shared/cuts.h"
#include "../shared/facts.h"
#include "candidates.h"
#include "group.h"
#include "row.h"

#if CLS_EXTRAS

/* ---- Sums, in the memory of the histogram: in any order, which takes less to compile than scans ---- */

#define CLS_SUMS 3u

CLS_FN void cls_clear_sums(__local cls_shared *s)
{
    CLS_BARRIER();
    for (uint i = get_local_id(0); i < CLS_SUMS; i += CLS_WG)
        s->low[i] = s->high[i] = 0;
    CLS_BARRIER();
}

/* ---- Moments of the logits ---- */

/* Of what the cut keeps of tile t. */
CLS_CALLED void cls_tile_moments(const cls_row *row, const cls_cut *cut, uint t, cls_moments *m)
{
    const cls_moments none = { 0, 0, 0, 0 };
    const uint begin = t * CLS_TILE, end = min(begin + CLS_TILE, row->vocab);

    *m = none;
    for (uint id = begin; id < end; id++) {
        const uint bits = cls_bits_at(row, id);
        if (cls_kept(cls_key(bits), id, cut)) m->reference = max(m->reference, cls_magnitude_exponent(bits));
    }
    for (uint id = begin; id < end; id++) {
        const uint bits = cls_bits_at(row, id);
        if (cls_kept(cls_key(bits), id, cut)) cls_moments_take(m, bits);
    }
}

/* The summary has them as long as all is kept. */
CLS_FN void cls_find_moments(cls_row *row, const cls_cut *cut, cls_facts *facts)
{
    __local cls_shared *s = row->shared;
    const int all = s->plan.flags & CLS_PLAN_MOMENTS && cut->key == CLS_KEY_LOWEST && cut->id == CLS_NO_ID &&
                    cut->high == CLS_NO_ID;
    const cls_moments none = { 0, 0, 0, 0 };
    cls_moments mine = none;

    cls_find_row(row);
    cls_clear_sums(s);
    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG) {
        if (row->place.key[t] < cut->key) continue;
        if (!all) {
            cls_moments tile;
            cls_tile_moments(row, cut, t, &tile);
            s->moments[t] = tile;
        }
        mine.reference = max(mine.reference, s->moments[t].reference);
    }
    mine.reference = cls_group_max(mine.reference, &s->group);
    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG) {
        const cls_moments tile = s->moments[t];
        if (row->place.key[t] >= cut->key) cls_moments_add(&mine, &tile);
    }
    atomic_add(&s->low[0], mine.count);
    cls_add(&s->low[1], &s->high[1], (ulong)mine.sum);
    cls_add(&s->low[2], &s->high[2], mine.squares);
    CLS_BARRIER();
    facts->moments.count = s->low[0];
    facts->moments.reference = mine.reference;
    facts->moments.sum = (long)cls_bin(s, 1);
    facts->moments.squares = cls_bin(s, 2);
}

/* ---- The mean of the logits, by weight ---- */

/* Add what the cut keeps of block b. */
CLS_CALLED void cls_add_block(const cls_row *row, const cls_cut *cut, uint b, cls_mean *mean)
{
    const int exponent = row->place.exponent[b];
    const uint shift = (uint)row->measure.exponent - (uint)exponent;
    ulong weighted = 0;
    uint units = 0;

    for (uint id = b * CLS_BLOCK; id < min((b + 1) * CLS_BLOCK, row->vocab); id++) {
        const uint key = cls_key_at(row, id);
        if (!cls_kept(key, id, cut)) continue;
        const cls_weight w = cls_weigh(key, row->measure.scale);
        weighted += cls_weighted(w, exponent);
        units += cls_in_block(w, exponent);
    }
    cls_mean_add_block(mean, weighted, units, shift);
}

/* None of a saturated row. */
CLS_FN void cls_find_mean(cls_row *row, const cls_op *op, const cls_cut *cut, cls_facts *facts)
{
    __local cls_shared *s = row->shared;
    const cls_measure *m = &row->measure;
    const uint blocks = m->saturated ? 0 : row->blocks;
    cls_mean mine = { 0, 0 }, mean;

    cls_find_row(row);
    cls_clear_sums(s);
    cls_row_measure(row, !m->saturated);
    for (uint b = get_local_id(0); b < blocks; b += CLS_WG)
        if (row->place.key[b / CLS_TILE_BLOCKS] >= cut->key) cls_add_block(row, cut, b, &mine);
    cls_add(&s->low[0], &s->high[0], mine.weighted);
    cls_add(&s->low[1], &s->high[1], mine.units);
    CLS_BARRIER();
    mean.weighted = cls_bin(s, 0);
    mean.units = cls_bin(s, 1);
    facts->gap = cls_mean_gap(&mean, m->key_max, m->scale, as_float(op->arg[2]));
}

/* ---- The upper end ---- */

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
        uint key = CLS_KEY_MASKED;
        row->place.live[t] |= CLS_LIVE_ABOVE;
        for (uint id = t * CLS_TILE; id < min((t + 1) * CLS_TILE, row->vocab); id++)
            key = max(key, cls_key_at(row, id));
        row->place.key[t] = key;
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
#endif
