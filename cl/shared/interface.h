/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels agree on: constants, and the structs that travel between them. Read as C11 by the
 * host and as OpenCL C 1.2 by the device, so every field is 32 bits wide and no struct needs padding. */
#ifndef CLS_INTERFACE_H
#define CLS_INTERFACE_H

#include "canonical.h"
#include "facts.h"

#ifndef CLS_CANDIDATES_OFF /* 1: for tests, where cuts are looked for in the whole row */
#define CLS_CANDIDATES_OFF 0
#endif
#ifndef CLS_EXTRAS /* 1: kernels for what not every plan needs, compiled apart */
#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define CLS_EXTRAS 0
#else
#define CLS_EXTRAS 1 /* the host knows all */
#endif
#endif

/* Results per row: clsample_row_status. */
#define CLS_ROW_OK 0u
#define CLS_ROW_NAN_IGNORED 1u
#define CLS_ROW_NO_TOKEN 2u
#define CLS_ROW_FALLBACK 3u

/* How logits are stored: clsample_dtype, the value of CLS_DTYPE when a program is built. */
#define CLS_F32 0
#define CLS_F16 1
#define CLS_BF16 2
/* As kernels work on them: with extras always as floats, since an edited logit may be no half. */
#if CLS_EXTRAS
#define CLS_RAW_DTYPE CLS_F32
#else
#define CLS_RAW_DTYPE CLS_DTYPE
#endif

/* ---- A plan: a short program of samplers, the same for host and kernels ---- */

/* A step of it, with its numbers; floats are given by their bits. What it does to what is kept: */
typedef struct cls_op {
    cls_uint code, arg[3];
} cls_op;
/* A code says what kind of op it is, ... */
#define CLS_OP_BOUND 0x100u /* keeps tokens from a threshold on: cls_bound() of bounds.h */
#define CLS_OP_LIMIT 0x200u /* keeps a number of tokens, or a mass */
/* ... what of the facts about what is kept it needs, and whether kernels must be compiled with CLS_EXTRAS. */
#define CLS_NEED_MASS 0x1000u
#define CLS_NEED_MOMENTS 0x2000u
#define CLS_NEED_MEAN 0x4000u
#define CLS_OP_EXTRA 0x8000u
#define CLS_OP_DRAW CLS_NEED_MASS /* the end: a token is drawn */
#define CLS_OP_SCALE 1u           /* weigh what is kept anew; as cls_scale: c, c_lo, small */
/* By rank: k, exact (1: ties of the k-th are cut, smaller ids first). */
#define CLS_OP_COUNT (CLS_OP_LIMIT | 1u)
/* By rank: p * 2^64 low, high, inclusive (1: with the token that crosses it). */
#define CLS_OP_MASS (CLS_OP_LIMIT | CLS_NEED_MASS | 2u)
/* By distance from the mean logit: p * 2^64 low, high, temperature * ln 2. */
#define CLS_OP_DISTANCE (CLS_OP_LIMIT | CLS_OP_EXTRA | CLS_NEED_MASS | CLS_NEED_MEAN | 3u)

#define CLS_OPS_MAX 16u

/* plan.flags */
#define CLS_PLAN_GREEDY 1u  /* the largest logit; nothing else is read, and there are no ops */
#define CLS_PLAN_SUMS 2u    /* the mass of the whole row is needed: the summary must add weights */
#define CLS_PLAN_MOMENTS 4u /* ... and those of its logits */
#define CLS_PLAN_EXTRAS 8u  /* needs kernels that are compiled with CLS_EXTRAS */

/* One row's parameters, worked out by the host. */
typedef struct cls_plan_row {
    cls_uint flags, n_ops;
    cls_uint seed_lo, seed_hi;
    cls_uint step_lo, step_hi;
    cls_uint stream;
    cls_uint edits, n_edits; /* the first of its edits in the call's list, and their number */
    float temperature;       /* divides what clsample_enqueue_filter writes */
    float inverse;           /* 1 / temperature, rounded */
    cls_uint reserved;
    cls_scale scale; /* of weights, until an op changes it, ... */
    cls_scale draw;  /* ... and after the last op, when a token is drawn */
    cls_op op[CLS_OPS_MAX];
} cls_plan_row;

CLS_FN void cls_op_scale(cls_op op, cls_scale *scale)
{
    scale->c = cls_float_of(op.arg[0]);
    scale->c_lo = cls_float_of(op.arg[1]);
    scale->small = cls_float_of(op.arg[2]);
    scale->limit = scale->small * 0x1p14f;
}

/* A change of one logit, before everything else: a row's edits are in the order of ids, one a token at most.
 * `add` are the bits of what is added; -inf bans the token. */
typedef struct cls_edit {
    cls_uint id, add;
} cls_edit;

/* What the choice left behind for one row: which tokens are kept, and how they are weighed. What is kept is
 * an interval of the order of tokens, which has larger keys first and equal ones by id: from the first token
 * with the key `high` and an id of at least `high_id` to the last one with the key `key` and an id of at most
 * `id`. */
typedef struct cls_cut {
    cls_uint key, id;
    cls_uint high, high_id;    /* CLS_NO_ID and 0: from the largest on */
    cls_uint key_max;          /* of what is kept, the largest */
    cls_uint mass_lo, mass_hi; /* of what is kept, at the draw's scale */
    cls_uint status;
} cls_cut;

/* What the summary says of a tile of CLS_TILE logits: in one array its largest key, in another how many of
 * its logits are not masked (only if the plan asks for sums), and whether one is NaN. */
#define CLS_TILE 256u
#define CLS_TILE_BLOCKS (CLS_TILE / CLS_BLOCK)
#define CLS_LIVE_COUNT 0x1ffu
#define CLS_LIVE_NAN 0x200u
#define CLS_LIVE_ABOVE 0x400u /* of the tile something lies above the upper end of what is kept */
/* With edits also where those of the tile begin: the number in the row's list, from 1 on; 0: it has none. */
#define CLS_LIVE_EDITS_SHIFT 11u

/* What it says of a block of CLS_BLOCK logits, if the plan asks for sums, in two more arrays: that of its
 * weights in units of the block, and the exponent of these units. Of a block that is all masked the sum is 0,
 * the exponent any. */

CLS_FN cls_uint cls_blocks(cls_uint vocab)
{
    return (vocab + CLS_BLOCK - 1) / CLS_BLOCK;
}
CLS_FN cls_uint cls_tiles(cls_uint vocab)
{
    return (vocab + CLS_TILE - 1) / CLS_TILE;
}
/* A row's scratch: its cut, the keys and counts of its tiles, the sums and exponents of its blocks. The cuts
 * of all rows come first, then the rest row by row. */
#define CLS_ROW_SCRATCH(tiles, blocks) (sizeof(cls_cut) + ((tiles) + (blocks)) * 2 * sizeof(cls_uint))

/* In the form for CPUs the rows' candidates follow, from a multiple of 64 bytes on: room for so many of each
 * row, a multiple of 16. Larger rows need more, since what a sample of them says is less exact in tokens. */
#define CLS_CANDIDATE_WORDS 3u /* of a candidate */
#define CLS_CANDIDATES_OFFSET(rows, tiles, blocks) (((rows)*CLS_ROW_SCRATCH(tiles, blocks) + 63) / 64 * 64)
CLS_FN cls_uint cls_candidates_room(cls_uint vocab)
{
    if (vocab < 2048) return (vocab + 15) / 16 * 16;
    if (vocab < 24 * 2048) return 2048;
    return vocab < 24 * 5376 ? vocab / 24 / 16 * 16 : 5376;
}

/* What a launch of cls_step does. */
#define CLS_PHASE_ALL 0u     /* everything: each row is chosen by the group that finds the others done */
#define CLS_PHASE_SUMMARY 1u /* the first of two launches */
#define CLS_PHASE_CHOICE 2u  /* the second */

/* What a launch is told beside its buffers. Offsets and stride are in elements. */
typedef struct cls_call {
    cls_ulong offset, stride; /* of the logits */
    cls_ulong scratch_offset; /* in bytes */
    cls_ulong tokens_offset, results_offset;
    cls_uint vocab;
    cls_uint fallback;  /* 1: only rows that got no token are chosen again, from these logits, with no ops */
    cls_uint phase;     /* CLS_PHASE_... */
    cls_uint own_plans; /* 1: there is a plan for each row; 0: the one below is for all */
    cls_uint advance;   /* 1: this launch ends the step of rows that have a state */
    cls_uint ahead;     /* 0, or how many tiles ahead a CPU fetches logits from memory */
    cls_uint windows;   /* so many at the beginning of the memory for extras */
    cls_uint history_stride;
    cls_plan_row plan;
} cls_call;

/* What goes from one step of a row to the next, where steps are repeated: moved on by the launch that
 * draws. */
typedef struct cls_row_state {
    cls_uint step_lo, step_hi; /* of the next draw */
    cls_uint length, prompt;   /* tokens that the row has, and that it had when it began */
    cls_uint limit;            /* ... that its history has room for */
    cls_uint finish;           /* not 0: it has ended, and what is drawn counts for nothing any more */
    cls_uint edits, n_edits;   /* of the next draw, as in its plan, whose own do not count then; ... */
    cls_uint later, n_later;   /* ... these take their place when the row has ... */
    cls_uint until;            /* ... so many new tokens; 0: never */
} cls_row_state;

/* Memory for extras. In the form for CPUs a window for each group: a tile with its edits, and its number.
 * Then the moments of each row's tiles. */
#define CLS_WINDOW_WORDS (CLS_TILE + 16u)
#define CLS_EXTRAS_SIZE(windows, rows, tiles) \
    ((windows)*CLS_WINDOW_WORDS * sizeof(cls_uint) + (rows) * (size_t)(tiles) * sizeof(cls_moments))

/* As clsample_result. */
typedef struct cls_result {
    int token;
    cls_uint status;
    float logprob;
    cls_uint kept;
} cls_result;

#endif
