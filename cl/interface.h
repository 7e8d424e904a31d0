/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels agree on: constants, and the structs that travel between them. Read as C11 by the
 * host and as OpenCL C 1.2 by the device, so every field is 32 bits wide and no struct needs padding. */
#ifndef CLS_INTERFACE_H
#define CLS_INTERFACE_H

#ifndef __OPENCL_VERSION__ /* the device gets the shared headers one after another */
#include "canonical.h"
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

/* plan.flags */
#define CLS_PLAN_GREEDY 1u       /* the largest logit; nothing else is read */
#define CLS_PLAN_MIN_P 2u        /* keep logits above the largest plus min_p_hi + min_p_lo */
#define CLS_PLAN_MIN_P_LATE 4u   /* ... after top-p instead of before top-k */
#define CLS_PLAN_MIN_P_BAND 8u   /* ... and what is within 1e-9 of the largest probability */
#define CLS_PLAN_TOP_K 16u       /* keep top_k tokens */
#define CLS_PLAN_TOP_K_EXACT 32u /* ... cutting through ties, smaller ids first, instead of keeping them */
#define CLS_PLAN_TOP_P 64u       /* keep the mass top_p, without the token that crosses it */
#define CLS_PLAN_TOP_P_INCL 128u /* ... with it, cutting through ties */
#define CLS_PLAN_SUMS 256u       /* the mass of the whole row is needed: the summary must add weights */
#define CLS_PLAN_TWO_SCALES 512u /* ... at the filters' scale, which is not the draw's */

/* One row's parameters, worked out by the host. */
typedef struct cls_plan_row {
    cls_uint flags;
    cls_uint top_k;
    cls_uint top_p_lo, top_p_hi; /* top_p * 2^64 */
    cls_uint seed_lo, seed_hi;
    cls_uint step_lo, step_hi;
    cls_uint stream;
    float min_p_hi, min_p_lo; /* temperature * ln(min_p), at the filters' temperature */
    float band;               /* temperature * 1e-9, likewise */
    cls_scale filter;         /* weights for the filters ... */
    cls_scale draw;           /* ... and for the draw: they differ if temperature is last */
    float temperature;        /* divides what clsample_enqueue_filter writes */
    float inverse;            /* 1 / temperature, rounded */
} cls_plan_row;

/* What the choice left behind for one row: which tokens are kept, and how they are weighed. A token is kept
 * if its key is above `key`, or equal to it with an id of at most `id`. */
typedef struct cls_cut {
    cls_uint key, id;
    cls_uint key_max;
    cls_uint mass_lo, mass_hi; /* of what is kept, at the draw's scale */
    cls_uint status;
    cls_uint greedy;
    cls_uint reserved;
} cls_cut;

/* What the summary says of a tile of CLS_TILE logits: in one array its largest key, in another how many of
 * its logits are not masked (only if the plan asks for sums), and whether one is NaN. */
#define CLS_TILE 256u
#define CLS_TILE_BLOCKS (CLS_TILE / CLS_BLOCK)
#define CLS_LIVE_COUNT 0x1ffu
#define CLS_LIVE_NAN 0x200u

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
#define CLS_NEAR_WORDS 3u /* of a candidate */
#define CLS_NEAR_OFFSET(rows, tiles, blocks) (((rows)*CLS_ROW_SCRATCH(tiles, blocks) + 63) / 64 * 64)
CLS_FN cls_uint cls_near_room(cls_uint vocab)
{
    if (vocab < 2048) return (vocab + 15) / 16 * 16;
    if (vocab < 24 * 2048) return 2048;
    return vocab < 24 * 5376 ? vocab / 24 / 16 * 16 : 5376;
}

/* What a launch of cls_step does. */
#define CLS_PHASE_ALL 0u     /* everything: each row is chosen by the group that finds the others done */
#define CLS_PHASE_SUMMARY 1u /* the first of two launches */
#define CLS_PHASE_CHOICE 2u  /* the second */

/* Where a row's plan is. */
#define CLS_PLANS_NONE 0u  /* the call's is for all rows */
#define CLS_PLANS_GIVEN 1u /* there is one for each row */
#define CLS_PLANS_MOVE 2u  /* ... which moves on to the next step when it was used */

/* What a launch is told beside its buffers. Offsets and stride are in elements. */
typedef struct cls_call {
    cls_ulong offset, stride; /* of the logits */
    cls_ulong scratch_offset; /* in bytes */
    cls_ulong tokens_offset, results_offset;
    cls_uint vocab;
    cls_uint
        fallback;   /* 1: only rows that got no token are chosen again, from these logits, without filters */
    cls_uint phase; /* CLS_PHASE_... */
    cls_uint has_plans; /* CLS_PLANS_... */
    cls_uint ahead;     /* 0, or how many tiles ahead a CPU fetches logits from memory */
    cls_uint reserved;
    cls_plan_row plan;
} cls_call;

/* As clsample_result. */
typedef struct cls_result {
    int token;
    cls_uint status;
    float logprob;
    cls_uint kept;
} cls_result;

#endif
