/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds: samplers that keep the tokens from a threshold on, which facts about what is kept so far give. One
 * text for host and device. */
#ifndef CLS_BOUNDS_H
#define CLS_BOUNDS_H

#include "canonical.h"
#include "facts.h"
#include "interface.h"

/* The largest logit + (hi + lo): args hi, lo, at most 0. */
#define CLS_OP_MARGIN (CLS_OP_BOUND | 1u)
/* The same, and what is within 1e-9 of the largest probability: hi, lo, band. */
#define CLS_OP_BAND (CLS_OP_BOUND | CLS_NEED_MASS | 2u)
/* The largest logit - n deviations of the logits: n. */
#define CLS_OP_SIGMA (CLS_OP_BOUND | CLS_OP_EXTRA | CLS_NEED_MOMENTS | 3u)

/* What is kept so far: what the op at hand does not ask for may be anything. */
typedef struct cls_facts {
    cls_uint key_max; /* the largest key */
    cls_ulong mass;   /* of all that is kept */
    cls_ulong count;
#if CLS_EXTRAS
    cls_moments moments; /* of the logits */
    cls_uint gap;        /* of the mean logit below the largest, as the bits of a float */
#endif
} cls_facts;

/* The smallest key that stays; weights are those of `scale`. */
CLS_FN cls_uint cls_bound(const cls_op *op, cls_scale scale, const cls_facts *facts)
{
    const float first = cls_float_of(op->arg[0]), second = cls_float_of(op->arg[1]);

    if (op->code == CLS_OP_MARGIN) return cls_min_p_key(facts->key_max, first, second);
    if (op->code == CLS_OP_BAND) {
        const cls_uint margin = cls_min_p_key(facts->key_max, first, second);
        const cls_uint band = cls_band_key(facts->key_max, scale, cls_float_of(op->arg[2]), facts->mass);
        return margin < band ? margin : band;
    }
#if CLS_EXTRAS
    if (op->code == CLS_OP_SIGMA) return cls_sigma_key(facts->key_max, &facts->moments, op->arg[0]);
#endif
    return CLS_KEY_LOWEST;
}

#endif
