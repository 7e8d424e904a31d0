/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: facts about what is kept that only some samplers ask for. */
#ifndef CLS_GROUPS_FACTS_H
#define CLS_GROUPS_FACTS_H

#include "../shared/bounds.h"
#include "../shared/cuts.h"
#include "../shared/facts.h"
#include "group.h"
#include "row.h"
#include "search.h"
#include "tile.h"

#if CLS_EXTRAS

/* Sums are added up in bins of the histogram: in any order, which takes less to compile than scans. */

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
    cls_clear_bins(s);
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
    cls_clear_bins(s);
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

#endif
#endif
