/* SPDX-License-Identifier: Apache-2.0 */
/* The whole choice in plain C, to the bit: the arithmetic of cl/shared/canonical.h with the simplest
 * algorithm there is, a sort of the row. It shows what every device must give, where reference.h shows what
 * is right. */
#ifndef CLSAMPLE_TESTS_MODEL_H
#define CLSAMPLE_TESTS_MODEL_H

#include "clsample.h"

#include <stdbool.h>

/* The outcome of one row of float32 logits; `params` are the row's own. */
clsample_result model_draw(const float *x, uint32_t vocab, const clsample_params *params);
/* The same with fallback logits of the same size, which may be NULL. */
clsample_result model_draw_fallback(const float *x, const float *fallback, uint32_t vocab,
                                    const clsample_params *params);
/* Which tokens clsample_enqueue_filter keeps: [vocab]. */
void model_keep(const float *x, uint32_t vocab, const clsample_params *params, bool *kept);

#endif
