/* SPDX-License-Identifier: Apache-2.0 */
/* The samplers as the library sees them: each turns its field of the params into one op of a plan. */
#ifndef CLS_SAMPLERS_H
#define CLS_SAMPLERS_H

#include "internal.h"

#include "../cl/shared/bounds.h"
#include "real.h"

/* What a sampler may ask when it makes its op. */
typedef struct cls_making {
    const clsample_params *params;
    uint32_t vocab;
    bool filter;          /* for clsample_enqueue_filter, where min_p 1 is a filter under every rule */
    cls_real temperature; /* params.temperature within what counts, where it is not 0 ... */
    cls_real in_force;    /* ... and what has divided the logits by now: 1, or that */
} cls_making;

typedef struct cls_sampler {
    clsample_sampler_entry entry;
    /* Does it change anything? NULL: unless its field has the value `off`. */
    bool (*is_on)(const cls_making *m);
    void (*make)(const cls_making *m, cls_op *op); /* NULL for edits, which are no ops */
} cls_sampler;

/* By the flag, or by a temperature of 0. */
bool cls_is_greedy(const clsample_params *p);
/* By number; NULL for what is no sampler. */
const cls_sampler *cls_sampler_of(uint32_t sampler);
bool cls_sampler_on(const cls_sampler *s, const cls_making *m);
/* The range of its field; `index` is the params' for the message. */
clsample_status cls_check_sampler(const cls_sampler *s, const clsample_params *p, uint32_t index);

/* The temperature that counts, from 1e-9 to 1e12. */
cls_real cls_clamped_temperature(float temperature);
cls_scale cls_make_scale(cls_real temperature);

#endif
