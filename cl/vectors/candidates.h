/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: the candidates, all tokens of a row within a range of keys, in the order of ids, and
 * what is asked of them. */
#ifndef CLS_VECTORS_CANDIDATES_H
#define CLS_VECTORS_CANDIDATES_H

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "lanes.h"
#include "tile.h"

CLS_FN cls_candidates cls_candidates_of(__global uchar *scratch, ulong offset, uint r, uint rows, uint vocab)
{
    const uint room = cls_candidates_room(vocab);
    const ulong begin = offset + CLS_CANDIDATES_OFFSET((ulong)rows, cls_tiles(vocab), cls_blocks(vocab)) +
                        r * (ulong)(CLS_CANDIDATE_WORDS * sizeof(uint) * room);
    const cls_candidates candidates = { (__global uint *)(scratch + begin),
                                        (__global uint *)(scratch + begin + sizeof(uint) * room),
                                        (__global uint *)(scratch + begin + sizeof(uint) * 2 * room), room };
    return candidates;
}

CLS_FN int cls_tile_has_nan(const cls_row *row, uint t)
{
    return (row->place.live[t] & CLS_LIVE_NAN) != 0;
}

CLS_FN void cls_drop_candidates(cls_row *row)
{
    row->count = 0;
    row->have = 0;
    row->sums_low = row->sums_key;
}

/* Are the candidates all that the cut keeps, and perhaps more? */
CLS_FN int cls_candidates_cover(const cls_row *row, const cls_cut *cut)
{
    return row->have && row->floor <= cut->key;
}

/* ---- To gather ---- */

/* The logits x of block b that `hits` has a bit for become candidates, from place n on, with the block's
 * exponent instead of weights for now. Returns the place after the last; nothing is written if that is beyond
 * the room. */
CLS_FN uint cls_append(const cls_row *row, __global const cls_raw *x, uint b, ulong hits, int exponent,
                       uint n)
{
    const uint end = n + (uint)popcount(hits);

    if (end > row->candidates.room) return end;
    for (; hits != 0; hits &= hits - 1, n++) {
        const uint i = 63 - (uint)clz(hits & -hits);
        row->candidates.key[n] = cls_key_at(x, i);
        row->candidates.id[n] = b * CLS_BLOCK + i;
        row->candidates.weight[n] = (uint)exponent;
    }
    return end;
}

/* Which of a block's n logits have at least this key; *key_max takes the largest key of the block. */
CLS_FN ulong cls_hits_any(__global const cls_raw *x, uint n, uint floor, uint *key_max)
{
    ulong hits = 0;

    for (uint i = 0; i < n; i++)
        hits |= (ulong)(cls_key_at(x, i) >= floor) << i;
    *key_max = cls_max_key(x, n);
    return hits;
}
CLS_FN ulong cls_hits_lanes(__global const cls_raw *x, uint floor, uint *key_max)
{
    const int least = cls_least_order(floor);
    cls_ints top = INT_MIN;
    cls_uints mark[CLS_MARKS];

#pragma unroll
    for (uint q = 0; q < CLS_MARKS; q++) {
        mark[q] = 0;
#pragma unroll
        for (uint i = 0; i < CLS_MARKED; i += CLS_LANES) {
            const cls_ints order = cls_order(CLS_LOAD(x, q * CLS_MARKED + i));
            mark[q] |= cls_mark(order >= least, i);
            top = max(top, order);
        }
    }
    const ulong hits = cls_marked(mark);
    if (hits != 0) *key_max = cls_order_key(cls_max_lane(top));
    return hits;
}

/* The bits of candidates' keys, which are not NaN's. */
CLS_FN cls_ints cls_key_bits_lanes(cls_uints key)
{
    return cls_ints_of(key ^ (cls_uints_of(~(cls_ints_of(key) >> 31)) | 0x80000000u));
}
/* From exponents to weights. */
CLS_FN void cls_weigh_candidate_lanes(const cls_row *row, uint i)
{
    const cls_measure *m = &row->measure;
    const cls_candidates *c = &row->candidates;
    const cls_uints key = cls_vload(0, c->key + i);
    const cls_ints bits = cls_key_bits_lanes(key);
    const cls_ints exponent = cls_ints_of(cls_vload(0, c->weight + i));
    const cls_uints shift = min(cls_uints_of(m->exponent - exponent), (cls_uints)63);
    const cls_uints units = cls_in_block_lanes(bits, m->scale, exponent);

    cls_vstore(units | shift << 26, 0, c->weight + i);
}
CLS_FN void cls_weigh_candidates(const cls_row *row, uint lowest)
{
    const cls_candidates *c = &row->candidates;
    const int plain = !row->measure.saturated && cls_is_plain(row->measure.key_max, row->measure.scale) &&
                      cls_is_plain(lowest, row->measure.scale);

    for (uint i = 0; plain && i < row->count; i += CLS_LANES)
        cls_weigh_candidate_lanes(row, i);
    for (uint i = plain ? row->count : 0; i < row->count; i++)
        c->weight[i] = cls_pack(&row->measure, c->key[i], (int)c->weight[i]);
    for (uint i = row->count; i % CLS_LANES != 0; i++)
        c->key[i] = c->weight[i] = 0;
}

/* The candidates of a tile, from place n on; returns the place after the last. */
CLS_FN uint cls_gather_tile(const cls_row *row, uint t, uint floor, uint n)
{
    const int lanes = (t + 1) * CLS_TILE <= row->vocab && !cls_tile_has_nan(row, t);
    const uint end = min((t + 1) * CLS_TILE_BLOCKS, cls_blocks(row->vocab));
    __global const cls_raw *x = cls_tile_from(row, t, floor);

    for (uint b = t * CLS_TILE_BLOCKS; b < end && n <= row->candidates.room; b++, x += CLS_BLOCK) {
        uint key_max = CLS_KEY_MASKED;
        const ulong hits = lanes ? cls_hits_lanes(x, floor, &key_max)
                                 : cls_hits_any(x, cls_block_size(row, b), floor, &key_max);
        if (hits != 0) n = cls_append(row, x, b, hits, cls_weigh(key_max, row->measure.scale).exponent, n);
    }
    return n;
}

/* Take all tokens from a key on as candidates; none if there is no room for them. */
CLS_FN void cls_gather(cls_row *row, uint floor)
{
    uint n = 0;

    cls_drop_candidates(row);
    row->floor = floor;
    for (uint t = 0; t < row->tiles && n <= row->candidates.room; t++) {
        while (t + CLS_LANES <= row->tiles && !any(cls_vload(0, row->place.key + t) >= floor))
            t += CLS_LANES;
        if (t < row->tiles && row->place.key[t] >= floor) n = cls_gather_tile(row, t, floor, n);
    }
    if (n > row->candidates.room) return;
    row->count = n;
    row->have = 1;
    cls_weigh_candidates(row, floor);
}

/* ---- To search ---- */

/* Which of the candidates from number i on have at least this rank: -1, else 0. */
CLS_FN cls_ints cls_reach(const cls_row *row, const cls_limit *limit, uint i, uint rank)
{
    const cls_uints key = cls_vload(0, row->candidates.key + i);
#if CLS_EXTRAS
    if (limit->by_distance) return cls_rank_lanes(limit, cls_key_bits_lanes(key)) >= (int)rank;
#endif
    return cls_ints_of(key ^ 0x80000000u) >= cls_signed(rank);
}
CLS_FN ulong cls_count_candidates(const cls_row *row, const cls_limit *limit, uint rank)
{
    cls_ints count = 0;

    for (uint i = 0; i < row->count; i += CLS_LANES)
        count += cls_ones(cls_reach(row, limit, i, rank));
    return cls_sum_lanes(cls_uints_of(count));
}
CLS_FN ulong cls_weigh_from(const cls_row *row, const cls_limit *limit, uint rank)
{
    cls_ulongs sum = 0;

    for (uint i = 0; i < row->count; i += CLS_LANES) {
        const cls_ints in = cls_reach(row, limit, i, rank);
        const cls_uints weight = cls_vload(0, row->candidates.weight + i) & cls_uints_of(in);
        if (row->measure.saturated)
            sum += cls_to_ulongs(weight) * CLS_HOT_MASS;
        else
            sum += (cls_to_ulongs(CLS_UNITS(weight)) << CLS_GUARD_BITS) >> cls_to_ulongs(CLS_SHIFT(weight));
    }
    return cls_total_lanes(sum);
}
/* What the candidates from a rank on amount to. */
CLS_FN ulong cls_candidates_amount(const cls_row *row, const cls_limit *limit, uint rank)
{
    return limit->masses ? cls_weigh_from(row, limit, rank) : cls_count_candidates(row, limit, rank);
}

/* The largest rank such that what is kept from there on is more than the limit; that from `low` on is, that
 * from `high` on is not. *above is what lies above the candidates, and takes what lies above that rank. */
CLS_FN uint cls_search_candidates(const cls_row *row, const cls_limit *limit, uint low, uint high,
                                  ulong *above)
{
    const ulong base = *above;

    while (high - low > 1) {
        const uint middle = low + (high - low) / 2;
        const ulong amount = base + cls_candidates_amount(row, limit, middle);
        if (amount > limit->most) {
            low = middle;
        } else {
            high = middle;
            *above = amount;
        }
    }
    return low;
}

/* Those that the cut does not keep no longer count. */
CLS_FN void cls_forget_candidates(const cls_row *row, const cls_cut *cut)
{
    for (uint i = 0; i < row->count; i++) {
        if (cls_kept(row->candidates.key[i], row->candidates.id[i], cut)) continue;
        row->candidates.key[i] = row->candidates.weight[i] = 0;
    }
}

/* ---- What is kept, and the draw ---- */

/* The mass of the candidates that the cut keeps, and their number. The weights of a block are added before
 * they become mass. */
CLS_FN ulong cls_candidates_kept(const cls_row *row, const cls_cut *cut, ulong *count)
{
    uint block = CLS_NO_ID, units = 0, shift = 0;
    ulong mass = 0, n = 0;

    for (uint i = 0; i < row->count; i++) {
        const uint weight = row->candidates.weight[i];
        if (!cls_kept(row->candidates.key[i], row->candidates.id[i], cut)) continue;
        if (row->candidates.id[i] / CLS_BLOCK != block) {
            mass += cls_units_mass(&row->measure, units, shift);
            block = row->candidates.id[i] / CLS_BLOCK;
            units = 0;
        }
        units += CLS_UNITS(weight);
        shift = CLS_SHIFT(weight);
        n++;
    }
    *count = n;
    return mass + cls_units_mass(&row->measure, units, shift);
}

/* The kept candidate whose running mass first exceeds the target; *mass takes its own. There is one. */
CLS_FN uint cls_draw_candidate(const cls_row *row, const cls_cut *cut, ulong target, ulong *mass)
{
    uint block = CLS_NO_ID, units = 0, i = 0;
    ulong done = 0, before = 0, after = 0;

    for (; i < row->count; i++) {
        const uint weight = row->candidates.weight[i];
        if (!cls_kept(row->candidates.key[i], row->candidates.id[i], cut)) continue;
        if (row->candidates.id[i] / CLS_BLOCK != block) {
            done = after;
            block = row->candidates.id[i] / CLS_BLOCK;
            units = 0;
        }
        units += CLS_UNITS(weight);
        before = after;
        after = done + cls_units_mass(&row->measure, units, CLS_SHIFT(weight));
        if (after > target) break;
    }
    *mass = after - before;
    return row->candidates.id[i];
}

#endif
