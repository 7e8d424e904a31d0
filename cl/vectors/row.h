/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: what is asked of a whole row where its candidates do not suffice. Tiles whose largest
 * key cannot count are passed over. */
#ifndef CLS_VECTORS_ROW_H
#define CLS_VECTORS_ROW_H

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "candidates.h"
#include "lanes.h"
#include "summary.h"

/* The exponent of a block: from its largest key, where the summary did not keep it. */
CLS_FN int cls_block_exponent(const cls_row *row, uint b)
{
    if (row->place.key[b / CLS_TILE_BLOCKS] >= row->weighed) return row->place.exponent[b];
    return cls_weigh(cls_max_key(cls_block(row, b), cls_block_size(row, b)), row->measure.scale).exponent;
}

/* Can cls_in_block_lanes weigh the blocks of tile t? All that is -inf weighs nothing either way. */
CLS_FN int cls_tile_is_plain(const cls_row *row, uint t)
{
    return !row->measure.saturated && (t + 1) * CLS_TILE <= row->vocab && !cls_tile_has_nan(row, t) &&
           cls_is_plain(row->place.key[t], row->measure.scale);
}

/* The exponents of the blocks of a plain tile. For a block whose largest logit is not plain itself, or -inf,
 * it may be any that leaves nothing of the block. */
CLS_FN void cls_tile_exponents(const cls_row *row, uint t, int *exponent)
{
    float4 largest;
    int masked;

    if (row->place.key[t] >= row->weighed) {
        vstore4(vload4(t, row->place.exponent), 0, exponent);
        return;
    }
    cls_block_maxima(cls_tile(row, t), &largest, &masked);
    vstore4(cls_small_exponents(largest, row->measure.scale), 0, exponent);
}

CLS_FN cls_ints cls_kept_lanes(cls_ints key, uint id, const cls_cut *cut)
{
    const int least = cls_signed(cut->key);

    if (cut->id == CLS_NO_ID) return key >= least;
    return (key > least) | ((key == least) & (CLS_LANE_NUMBERS + (int)id <= (int)cut->id));
}

/* ---- To part a row by a cut ---- */

/* In one pass: the sums of blocks become those of what the cut keeps, and the candidates all other tokens
 * from the key `low` on. */
typedef struct cls_part {
    const cls_cut *cut;
    uint low;
    uint count;     /* candidates so far */
    cls_ints kept;  /* number of tokens that the cut keeps, lane by lane, ... */
    uint kept_any;  /* ... and of those counted one by one */
    ulong4 mass;    /* theirs, each token's cut to an integer by itself, block by block ... */
    ulong mass_any; /* ... and one by one */
} cls_part;

/* What is kept of block b, whose exponent this is: its sum, and the sum without the bits that a token's mass
 * loses. Returns what becomes candidates. */
CLS_FN ulong cls_part_block(const cls_row *row, __global const cls_raw *x, uint b, int exponent, uint lost,
                            cls_part *part, cls_uints *sum, cls_uints *own)
{
    const int least = cls_least_order(part->cut->key), low = cls_least_order(part->low);
    cls_uints mark[CLS_MARKS];

    *sum = *own = 0;
#pragma unroll
    for (uint q = 0; q < CLS_MARKS; q++) {
        mark[q] = 0;
#pragma unroll
        for (uint i = 0; i < CLS_MARKED; i += CLS_LANES) {
            const uint at = q * CLS_MARKED + i;
            const cls_ints bits = CLS_LOAD(x, at), order = cls_order(bits);
            cls_ints kept = order >= least;
            if (part->cut->id != CLS_NO_ID)
                kept = cls_kept_lanes(cls_signed_lanes(bits), b * CLS_BLOCK + at, part->cut);
            const cls_uints units =
                cls_in_block_lanes(bits, row->measure.scale, (cls_ints)exponent) & cls_uints_of(kept);
            *sum += units;
            *own += units >> lost;
            part->kept += cls_ones(kept);
            mark[q] |= cls_mark((order >= low) & ~kept, i);
        }
    }
    return cls_marked(mark);
}
/* A plain tile. */
CLS_FN void cls_part_plain(const cls_row *row, uint t, cls_part *part)
{
    cls_uints sum[CLS_TILE_BLOCKS], own[CLS_TILE_BLOCKS];
    int exponent[CLS_TILE_BLOCKS];
    uint lost[CLS_TILE_BLOCKS];

    cls_tile_exponents(row, t, exponent);
    /* What the shift takes beyond the guard bits goes before tokens are added. (Vectors beside vectors:
     * Oclgrind takes a number for the first lane's alone.) */
    const uint4 guard = CLS_GUARD_BITS;
    const uint4 shift = min(as_uint4(row->measure.exponent - vload4(0, exponent)), (uint4)63);
    vstore4(min(max(shift, guard) - guard, (uint4)31), 0, lost);
#pragma unroll 1
    for (uint i = 0; i < CLS_TILE_BLOCKS; i++) {
        const uint b = t * CLS_TILE_BLOCKS + i;
        __global const cls_raw *x = cls_block(row, b);
        const ulong hits = cls_part_block(row, x, b, exponent[i], lost[i], part, sum + i, own + i);
        part->count = cls_append(row, x, b, hits, exponent[i], part->count);
    }
    part->mass += convert_ulong4(cls_sum_four(own)) << convert_ulong4(guard - min(shift, guard));
    vstore4(cls_sum_four(sum), t, row->place.sum);
    vstore4(vload4(0, exponent), t, row->place.exponent);
}

/* Any other, one by one. */
CLS_FN void cls_part_any(const cls_row *row, uint t, cls_part *part)
{
    for (uint b = t * CLS_TILE_BLOCKS; b < min((t + 1) * CLS_TILE_BLOCKS, cls_blocks(row->vocab)); b++) {
        const int exponent = cls_block_exponent(row, b);
        __global const cls_raw *x = cls_block(row, b);
        const uint n = cls_block_size(row, b);
        uint sum = 0;
        ulong hits = 0;
        for (uint i = 0; i < n; i++) {
            const uint key = cls_key_at(x, i);
            if (!cls_kept(key, b * CLS_BLOCK + i, part->cut)) {
                hits |= (ulong)(key >= part->low) << i;
                continue;
            }
            const uint weight = cls_pack(&row->measure, key, exponent);
            sum += CLS_UNITS(weight);
            part->mass_any += cls_weight_mass(&row->measure, weight);
            part->kept_any++;
        }
        part->count = cls_append(row, x, b, hits, exponent, part->count);
        row->place.sum[b] = sum;
        row->place.exponent[b] = exponent;
    }
}

CLS_FN void cls_clear_sums(const cls_row *row, uint t)
{
    for (uint b = t * CLS_TILE_BLOCKS; b < min((t + 1) * CLS_TILE_BLOCKS, cls_blocks(row->vocab)); b++)
        row->place.sum[b] = 0;
}

/* Part the row. Returns whether there is room for the candidates; if not, there are none, and no sums. *mass
 * takes the mass of what the cut keeps, token by token, as limits count it. */
CLS_CALLED int cls_row_part(cls_row *row, const cls_cut *cut, uint low, ulong *mass)
{
    const uint lowest = min(low, cut->key);
    cls_part part = { cut, low, 0, 0, 0, 0, 0 };

    cls_drop_candidates(row);
    row->sums_key = row->sums_low = CLS_NO_ID;
    for (uint t = 0; t < row->tiles && part.count <= row->candidates.room; t++) {
        if (row->place.key[t] < lowest)
            cls_clear_sums(row, t);
        else if (cls_tile_is_plain(row, t))
            cls_part_plain(row, t, &part);
        else
            cls_part_any(row, t, &part);
    }
    if (part.count > row->candidates.room) return 0;
    row->weighed = min(row->weighed, lowest);
    row->sums_key = cut->id == CLS_NO_ID ? cut->key : CLS_NO_ID;
    row->sums_low = min(low, row->sums_key);
    row->sums_count = part.kept_any + cls_sum_lanes(cls_uints_of(part.kept));
    row->count = part.count;
    cls_weigh_candidates(row, low);
    *mass = part.mass_any + cls_total4(part.mass);
    return 1;
}

/* ---- What the cut keeps ---- */

CLS_FN ulong cls_block_mass(const cls_row *row, uint b)
{
    const uint shift = (uint)row->measure.exponent - (uint)row->place.exponent[b];
    return cls_units_mass(&row->measure, row->place.sum[b], min(shift, 63u));
}
/* Of CLS_LANES blocks, each, in a row that is not saturated. */
CLS_FN cls_ulongs cls_block_masses(const cls_row *row, uint b)
{
    const cls_uints shift = cls_uints_of(row->measure.exponent - cls_vload(0, row->place.exponent + b));
    const cls_ulongs sum = cls_to_ulongs(cls_vload(0, row->place.sum + b));
    return (sum << CLS_GUARD_BITS) >> cls_to_ulongs(min(shift, (cls_uints)63));
}

/* The mass of all blocks' sums. */
CLS_FN ulong cls_sums_mass(const cls_row *row)
{
    const uint blocks = cls_blocks(row->vocab);
    cls_ulongs masses = 0;
    ulong mass = 0;
    uint b = 0;

    for (; !row->measure.saturated && b + CLS_LANES <= blocks; b += CLS_LANES)
        masses += cls_block_masses(row, b);
    for (; b < blocks; b++)
        mass += cls_block_mass(row, b);
    return mass + cls_total_lanes(masses);
}

/* The number of the row's tokens, from the summary. */
CLS_FN uint cls_live(const cls_row *row)
{
    uint n = 0;

    for (uint t = 0; t < row->tiles; t++)
        n += row->place.live[t] & CLS_LIVE_COUNT;
    return n;
}

/* Do the sums of blocks and the candidates tell all that the cut keeps? */
CLS_FN int cls_sums_suffice(const cls_row *row, const cls_cut *cut)
{
    if (cut->key < row->sums_low || cut->key > row->sums_key) return 0;
    return cut->key < row->sums_key || cut->id == CLS_NO_ID;
}

/* Make the sums of blocks those of what the cut keeps, and return its mass; *count takes its number. */
CLS_FN ulong cls_row_keep(cls_row *row, const cls_cut *cut, ulong *count)
{
    ulong unused;

    if (!cls_sums_suffice(row, cut)) cls_row_part(row, cut, CLS_NO_ID, &unused);
    for (uint i = 0; i < row->count; i++) {
        const uint key = row->candidates.key[i], id = row->candidates.id[i];
        if (key >= row->sums_key || !cls_kept(key, id, cut)) continue;
        row->place.sum[id / CLS_BLOCK] += CLS_UNITS(row->candidates.weight[i]);
        row->sums_count++;
    }
    row->sums_key = row->sums_low = cut->id == CLS_NO_ID ? cut->key : CLS_NO_ID;
    *count = row->sums_count;
    return cls_sums_mass(row);
}

/* The block in which the running mass exceeds the target, once the sums of blocks are those of what is kept;
 * *done takes that of the blocks before. There is one. */
CLS_FN uint cls_row_find(const cls_row *row, ulong target, ulong *done)
{
    const uint blocks = row->measure.saturated ? 0 : cls_blocks(row->vocab);
    ulong sum = 0, after;
    uint b = 0;

    for (; b + CLS_LANES <= blocks; b += CLS_LANES) {
        after = sum + cls_total_lanes(cls_block_masses(row, b));
        if (after > target) break;
        sum = after;
    }
    for (;; b++) {
        after = sum + cls_block_mass(row, b);
        if (after > target) break;
        sum = after;
    }
    *done = sum;
    return b;
}

/* The kept token whose running mass first exceeds the target; *mass takes its own. */
CLS_FN uint cls_row_draw(const cls_row *row, const cls_cut *cut, ulong target, ulong *mass)
{
    ulong done, before, after;
    const uint b = cls_row_find(row, target, &done);
    const int exponent = row->place.exponent[b];
    const uint shift = min((uint)row->measure.exponent - (uint)exponent, 63u);
    __global const cls_raw *x = cls_block(row, b);
    uint id = b * CLS_BLOCK, units = 0;

    for (before = after = done; after <= target; id++) {
        const uint key = cls_key_at(x, id - b * CLS_BLOCK);
        if (!cls_kept(key, id, cut)) continue;
        units += CLS_UNITS(cls_pack(&row->measure, key, exponent));
        before = after;
        after = done + cls_units_mass(&row->measure, units, shift);
    }
    *mass = after - before;
    return id - 1;
}

#endif
