/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: the row, and the one door to its logits. */
#ifndef CLS_GROUPS_TILE_H
#define CLS_GROUPS_TILE_H

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/edits.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "group.h"

#define CLS_ROOM 1024u      /* candidates that local memory holds, a power of two */
#define CLS_HIT_TILES 1024u /* tiles that it can list; more have more candidates than there is room for */

#define CLS_PLAN __local const cls_plan_row           /* where a plan lies, ... */
#define CLS_SCALE(row) ((row)->shared->measure.scale) /* ... and the scale in force */

typedef struct cls_candidates {
    ulong sorted[CLS_ROOM];               /* by id, then by rank: see cls_sort_by_rank */
    uint key[CLS_ROOM], weight[CLS_ROOM]; /* by id; weights as cls_pack has them */
    uint id[CLS_ROOM];
} cls_candidates;

/* What a group's work-items share, in local memory. */
typedef struct cls_shared {
    cls_group group;
    /* Here, and not in registers, of which some GPUs have too few: what is needed a word at a time, or again
     * at the end. */
    cls_plan_row plan;
    cls_measure measure;
    uint vocab;
    __global const cls_stored *logits;
    cls_place place;               /* its cut is where the outcome goes; */
    __global int *token;           /* may be null, */
    __global cls_result *result;   /* ... as may this, */
    __global cls_row_state *state; /* ... this, */
    __global int *history;         /* ... and this */
    cls_candidates candidates;
    uint tile[CLS_HIT_TILES]; /* that have candidates */
    uint hits, count;         /* tiles, candidates */
    uint low[256], high[256]; /* a histogram, for the row */
    uint found, id;
    ulong before;
    uint kept;
#if CLS_EXTRAS
    __global const cls_edit *edits; /* the row's, plan.n_edits in number */
    __global cls_moments *moments;  /* [tiles] */
#endif
} cls_shared;

/* What is known of a row's blocks. */
#define CLS_SUMS_NONE 0
#define CLS_SUMS_EXPONENTS 1
#define CLS_SUMS_WHOLE 2 /* and, until a cut changes them, the sums of all their tokens: the summary's */

#define CLS_TO_GATHER 1u
#define CLS_TO_WEIGH 2u
#define CLS_TO_RANK 4u

/* The row that is chosen from. */
typedef struct cls_row {
    __global const cls_stored *logits;
    cls_place place;
    uint vocab, tiles, blocks;
    cls_measure measure;
    int summed; /* at this measure: CLS_SUMS_... */
    __local cls_shared *shared;
    uint floor; /* of the candidates */
    uint count; /* of them, at most CLS_ROOM; 0 if they did not fit */
    uint todo;  /* with them, CLS_TO_...: before the next op, or when it is needed */
#if CLS_EXTRAS
    uint high; /* what lies above counts as masked: CLS_NO_ID, nothing */
#endif
} cls_row;

/* ---- The door: every read of a logit goes through it ---- */

#if CLS_EXTRAS
/* Edited, and without what lies above the upper end. */
CLS_CALLED uint cls_bits_at(const cls_row *row, uint id)
{
    __local const cls_shared *s = row->shared;
    const uint live = row->place.live[id / CLS_TILE], first = live >> CLS_LIVE_EDITS_SHIFT;
    uint bits = cls_stored_bits(row->logits[id]);

    if (first)
        bits = cls_edited_by(s->edits, first - 1, min(first - 1 + CLS_TILE, s->plan.n_edits), id, bits);
    return live & CLS_LIVE_ABOVE && cls_key(bits) > row->high ? CLS_BITS_MASKED : bits;
}
#else
CLS_FN uint cls_bits_at(const cls_row *row, uint id)
{
    return cls_stored_bits(row->logits[id]);
}
#endif
CLS_FN uint cls_key_at(const cls_row *row, uint id)
{
    return cls_key(cls_bits_at(row, id));
}
/* The key of the largest of n logits from token `id` on, as far as the row goes, by one work-item. */
CLS_FN uint cls_max_key(const cls_row *row, uint id, uint n)
{
    const uint end = min(id + n, row->vocab);
    uint key = CLS_KEY_MASKED;

    for (; id < end; id++)
        key = max(key, cls_key_at(row, id));
    return key;
}
CLS_FN uint cls_block_max(const cls_row *row, uint b)
{
    return cls_max_key(row, b * CLS_BLOCK, CLS_BLOCK);
}

/* Take what says where the row is anew from local memory: where it is not needed, it is in no registers. */
CLS_FN void cls_find_row(cls_row *row)
{
    row->logits = row->shared->logits;
    row->place = row->shared->place;
    row->measure = row->shared->measure;
    row->vocab = row->shared->vocab;
    row->tiles = cls_tiles(row->vocab);
    row->blocks = cls_blocks(row->vocab);
}

#endif
