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

/* As clsample_result. */
typedef struct cls_result {
    int token;
    cls_uint status;
    float logprob;
    cls_uint kept;
} cls_result;

#endif
