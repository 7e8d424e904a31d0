/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: facts about what is kept that only some samplers ask for. */
#ifndef CLS_VECTORS_FACTS_H
#define CLS_VECTORS_FACTS_H

#include "../shared/bounds.h"
#include "row.h"
#include "tile.h"

#if CLS_EXTRAS

/* ---- Moments of the logits ---- */

CLS_FN void cls_moments_any(__global const cls_raw *x, uint begin, uint n, const cls_cut *cut, cls_moments *m)
{
    const cls_moments none = { 0, 0, 0, 0 };

    *m = none;
    for (uint i = 0; i < n; i++)
        if (cls_kept(cls_key_at(x, i), begin + i, cut))
            m->reference = max(m->reference, cls_magnitude_exponent(cls_bits(x[i])));
    for (uint i = 0; i < n; i++)
        if (cls_kept(cls_key_at(x, i), begin + i, cut)) cls_moments_take(m, cls_bits(x[i]));
}

/* -1 where a logit is kept; never where it is NaN, which sorts beyond the infinities. */
CLS_FN cls_ints cls_numbers_kept(cls_ints bits, uint id, const cls_cut *cut)
{
    const cls_ints key = cls_signed_lanes(bits);
    return cls_kept_lanes(key, id, cut) & (key <= CLS_SIGNED_INFINITY);
}
CLS_FN cls_ints cls_exponent_lanes(cls_ints bits)
{
    return max((bits >> 23) & 255, (cls_ints)1);
}
/* A whole tile in lanes. */
CLS_FN void cls_moments_lanes(__global const cls_raw *x, uint begin, const cls_cut *cut, cls_moments *m)
{
    cls_ints top = 0, count = 0, sum = 0;
    cls_ulongs squares = 0;

    for (uint i = 0; i < CLS_TILE; i += CLS_LANES) {
        const cls_ints bits = CLS_LOAD(x, i);
        top = max(top, cls_exponent_lanes(bits) & cls_numbers_kept(bits, begin + i, cut));
    }
    const int reference = cls_max_lane(top);
    for (uint i = 0; i < CLS_TILE; i += CLS_LANES) {
        const cls_ints bits = CLS_LOAD(x, i), kept = cls_numbers_kept(bits, begin + i, cut);
        const cls_ints hidden = ((bits & 0x7f800000) != 0) & 0x800000, sign = bits >> 31;
        const cls_ints shift = min(max(reference - cls_exponent_lanes(bits), (cls_ints)0), (cls_ints)31);
        const cls_ints fixed = (((bits & 0x7fffff) | hidden) >> shift) & kept;
        const cls_ulongs wide = cls_to_ulongs(cls_uints_of(fixed));
        count += cls_ones(kept);
        sum += (fixed ^ sign) - sign;
        squares += wide * wide;
    }
    m->count = cls_sum_lanes(cls_uints_of(count));
    m->reference = (uint)reference;
    m->sum = (int)cls_sum_lanes(cls_uints_of(sum & 0xffff)) +
             ((long)(int)cls_sum_lanes(cls_uints_of(sum >> 16)) << 16);
    m->squares = cls_total_lanes(squares);
}
CLS_FN void cls_write_moments(const cls_row *row, __global const cls_raw *x, uint t, const cls_cut *cut)
{
    cls_moments m;

    if ((t + 1) * CLS_TILE <= row->vocab)
        cls_moments_lanes(x, t * CLS_TILE, cut, &m);
    else
        cls_moments_any(x, t * CLS_TILE, row->vocab - t * CLS_TILE, cut, &m);
    row->moments[t] = m;
}

CLS_CALLED void cls_find_moments(cls_row *row, const cls_cut *cut, cls_facts *facts)
{
    const int all = row->have_moments && cut->key == CLS_KEY_LOWEST && cut->id == CLS_NO_ID;
    const cls_moments none = { 0, 0, 0, 0 };
    cls_moments *m = &facts->moments;

    *m = none;
    for (uint t = 0; t < row->tiles; t++) {
        if (row->place.key[t] < cut->key) continue;
        if (!all) cls_write_moments(row, cls_tile(row, t), t, cut);
        m->reference = max(m->reference, row->moments[t].reference);
    }
    for (uint t = 0; t < row->tiles; t++) {
        const cls_moments tile = row->moments[t];
        if (row->place.key[t] >= cut->key) cls_moments_add(m, &tile);
    }
    row->have_moments = all;
}

/* ---- The mean of the logits, by weight ---- */

/* Of the kept logits of a block in a plain tile: *units takes the sum of their units, and what is returned is
 * that of cls_weighted. */
CLS_FN ulong cls_weighted_lanes(const cls_row *row, __global const cls_raw *x, uint begin, int exponent,
                                const cls_cut *cut, uint *units)
{
    const cls_scale s = row->measure.scale;
    cls_ulongs sum = 0;
    cls_uints all = 0;

    for (uint i = 0; i < CLS_BLOCK; i += CLS_LANES) {
        const cls_ints bits = CLS_LOAD(x, i), kept = cls_numbers_kept(bits, begin + i, cut);
        const cls_uints mine = cls_in_block_lanes(bits, s, (cls_ints)exponent) & cls_uints_of(kept);
        sum += cls_to_ulongs(mine) * cls_to_ulongs(cls_digits_below_lanes(bits, s, (cls_ints)exponent));
        all += mine;
    }
    *units = cls_sum_lanes(all);
    return cls_total_lanes(sum);
}
CLS_FN ulong cls_weighted_any(const cls_row *row, __global const cls_raw *x, uint begin, uint n, int exponent,
                              const cls_cut *cut, uint *units)
{
    ulong sum = 0;

    *units = 0;
    for (uint i = 0; i < n; i++) {
        if (!cls_kept(cls_key_at(x, i), begin + i, cut)) continue;
        const cls_weight w = cls_weigh(cls_key_at(x, i), row->measure.scale);
        sum += cls_weighted(w, exponent);
        *units += cls_in_block(w, exponent);
    }
    return sum;
}

CLS_CALLED void cls_find_mean(cls_row *row, const cls_op *op, const cls_cut *cut, cls_facts *facts)
{
    const cls_measure *m = &row->measure;
    cls_mean mean = { 0, 0 };

    facts->gap = 0;
    if (m->saturated) return;
    for (uint b = 0; b < cls_blocks(row->vocab); b++) {
        const uint t = b / CLS_TILE_BLOCKS;
        if (row->place.key[t] < cut->key) continue;
        __global const cls_raw *x = cls_block(row, b);
        const int exponent = cls_block_exponent(row, b);
        uint units;
        const ulong sum =
            cls_tile_is_plain(row, t)
                ? cls_weighted_lanes(row, x, b * CLS_BLOCK, exponent, cut, &units)
                : cls_weighted_any(row, x, b * CLS_BLOCK, cls_block_size(row, b), exponent, cut, &units);
        cls_mean_add_block(&mean, sum, units, (uint)m->exponent - (uint)exponent);
    }
    facts->gap = cls_mean_gap(&mean, m->key_max, m->scale, as_float(op->arg[2]));
}

#endif
#endif
