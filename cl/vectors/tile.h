/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: the row, and the one door to its logits. */
#ifndef CLS_VECTORS_TILE_H
#define CLS_VECTORS_TILE_H

#include "../shared/cuts.h"
#include "../shared/edits.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "lanes.h"

/* Candidates: tokens of a range of keys, in the order of ids. Up to a whole number of lanes, unused ones have
 * the key and the weight 0, so that they never count. */
typedef struct cls_candidates {
    __global uint *key, *id; /* [room] */
    __global uint *weight;   /* as cls_pack has it */
    uint room;
} cls_candidates;

#define CLS_PLAN const cls_plan_row /* where a plan lies */

/* The row that is chosen from. */
typedef struct cls_row {
    __global const cls_stored *logits;
    cls_place place;
    uint vocab, tiles;
    cls_measure measure;
    uint weighed; /* tiles with a key of at least this have the exponents of their blocks, at this measure */
    /* The sums of blocks are those of all tokens from sums_key on, sums_count in number, and the candidates
     * all others from sums_low on. If sums_low is CLS_NO_ID, nothing is said. */
    uint sums_key, sums_low, sums_count;
    cls_candidates candidates;
    uint count; /* of candidates */
    int have;   /* they are all tokens from `floor` on */
    int due;    /* those are to be gathered before the next op */
    uint floor;
#if CLS_EXTRAS
    __global const cls_edit *edits;
    uint n_edits;
    __global uint *window;         /* CLS_WINDOW_WORDS */
    __global cls_moments *moments; /* [tiles] */
    uint high, high_id;            /* what lies above counts as masked: CLS_NO_ID and 0, nothing */
    int have_moments;              /* the summary has them, and all of the row is kept */
#endif
} cls_row;

#if CLS_EXTRAS
/* The logits from token `id` on, edited. *edit is the number of the first edit from there on, and takes that
 * of the first behind them. */
CLS_FN cls_uints cls_edit_lanes(const cls_row *row, cls_uints bits, uint id, uint *edit)
{
    for (; *edit < row->n_edits && row->edits[*edit].id < id + CLS_LANES; ++*edit) {
        const cls_edit e = row->edits[*edit];
        const cls_ints here = CLS_LANE_NUMBERS == (int)(e.id - id);
        bits = select(bits, (cls_uints)cls_edited(cls_stored_bits(row->logits[e.id]), e.add), here);
    }
    return bits;
}

/* Copy tile t as it counts into the row's window: edited, and without what lies above the upper end. Edits
 * are made in lanes, since vectors are loaded late that numbers were stored into. */
CLS_CALLED void cls_fill_window(const cls_row *row, uint t, uint edit)
{
    const uint begin = t * CLS_TILE, n = min(CLS_TILE, row->vocab - begin);
    __global const cls_stored *from = row->logits + begin;
    __global uint *to = row->window;
    uint i = 0;

    for (; i + CLS_LANES <= n; i += CLS_LANES)
        cls_vstore(cls_edit_lanes(row, cls_uints_of(CLS_LOAD_STORED(from, i)), begin + i, &edit), 0, to + i);
    for (; i < n; i++) {
        const int here = edit < row->n_edits && row->edits[edit].id == begin + i;
        to[i] = here ? cls_edited(cls_stored_bits(from[i]), row->edits[edit].add) : cls_stored_bits(from[i]);
        edit += here;
    }
    for (i = row->high != CLS_NO_ID ? 0 : n; i < n; i++)
        if (cls_is_above(cls_key(to[i]), begin + i, row->high, row->high_id)) to[i] = CLS_BITS_MASKED;
    to[CLS_TILE] = t;
}
#endif

/* The logits of tile t. What another call gave before may be gone. With edits from number `edit` on; `same` =
 * it has none, and nothing above the upper end. */
CLS_FN __global const cls_raw *cls_tile_with(const cls_row *row, uint t, uint edit, int same)
{
#if CLS_EXTRAS
    if (row->window[CLS_TILE] == t) return row->window;
    if (CLS_DTYPE != CLS_F32 || !same) {
        cls_fill_window(row, t, edit);
        return row->window;
    }
    return (__global const cls_raw *)row->logits + t * CLS_TILE;
#else
    return row->logits + t * CLS_TILE;
#endif
}
/* The same once the summary has been made. */
CLS_FN __global const cls_raw *cls_tile(const cls_row *row, uint t)
{
#if CLS_EXTRAS
    const uint live = row->place.live[t], edit = live >> CLS_LIVE_EDITS_SHIFT;
    return cls_tile_with(row, t, edit ? edit - 1 : row->n_edits, !edit && !(live & CLS_LIVE_ABOVE));
#else
    return cls_tile_with(row, t, 0, 1);
#endif
}
/* The same for one who asks for tokens from the key `floor` on and their blocks' largest: a tile whose edits
 * lie below before and after is as good as it lies there. */
CLS_FN __global const cls_raw *cls_tile_from(const cls_row *row, uint t, uint floor)
{
#if CLS_EXTRAS
    const uint live = row->place.live[t];
    uint edit = (live >> CLS_LIVE_EDITS_SHIFT) - 1;

    if (CLS_DTYPE != CLS_F32 || live & CLS_LIVE_ABOVE) return cls_tile(row, t);
    for (; edit < row->n_edits && row->edits[edit].id < (t + 1) * CLS_TILE; edit++) {
        const uint bits = cls_stored_bits(row->logits[row->edits[edit].id]);
        const uint after = cls_edited(bits, row->edits[edit].add);
        if (max(cls_key(bits), cls_key(after)) >= floor) return cls_tile(row, t);
    }
    return (__global const cls_raw *)row->logits + t * CLS_TILE;
#else
    return cls_tile(row, t);
#endif
}
CLS_FN __global const cls_raw *cls_block(const cls_row *row, uint b)
{
    return cls_tile(row, b / CLS_TILE_BLOCKS) + b % CLS_TILE_BLOCKS * CLS_BLOCK;
}
CLS_FN uint cls_block_size(const cls_row *row, uint b)
{
    return min(CLS_BLOCK, row->vocab - b * CLS_BLOCK);
}

CLS_FN uint cls_key_at(__global const cls_raw *x, uint i)
{
    return cls_key(cls_bits(x[i]));
}
/* The key of the largest of n logits, by one work-item. */
CLS_FN uint cls_max_key(__global const cls_raw *x, uint n)
{
    uint key = CLS_KEY_MASKED;

    for (uint i = 0; i < n; i++)
        key = max(key, cls_key_at(x, i));
    return key;
}

/* ---- Ranks, in lanes ---- */

#if CLS_EXTRAS
/* As cls_addend. */
CLS_FN cls_floats cls_addend_lanes(cls_ints bits)
{
    return cls_floats_of(bits & ((bits & 0x7fffffff) >= (int)CLS_ADDEND_LEAST));
}
/* cls_rank by distance, which is not negative, of logits that are not NaN. */
CLS_FN cls_ints cls_rank_by_distance_lanes(const cls_limit *limit, cls_ints bits)
{
    const cls_floats x = cls_addend_lanes(bits);
    const cls_floats below = (cls_floats)cls_addend(cls_key_bits(limit->key_max)) - x;
    const cls_ints distance = cls_ints_of(below - (cls_floats)as_float(limit->gap)) & 0x7fffffff;
    return (cls_ints)CLS_BITS_INFINITY - distance;
}
#endif
/* Of a plain tile's logits: what least ranks are compared with. */
CLS_FN cls_ints cls_rank_lanes(const cls_limit *limit, cls_ints bits)
{
#if CLS_EXTRAS
    if (limit->by_distance) return cls_rank_by_distance_lanes(limit, bits);
#endif
    return cls_order(bits);
}

#endif
