/* SPDX-License-Identifier: Apache-2.0 */
/* What the library makes of rows, held to the reference. */
#ifndef CLSAMPLE_TESTS_COMPARING_H
#define CLSAMPLE_TESTS_COMPARING_H

#include "common.h"
#include "reference.h"

/* What the three calls give for rows of the host, each with its own parameters. */
typedef struct outcome {
    float *masked, *p; /* [rows * vocab] */
    clsample_result *results;
} outcome;
outcome run_rows(const clsample_params *params, const float *x, uint32_t rows, uint32_t vocab);
void outcome_free(outcome *o);

/* One row of an outcome against the reference. `params` must not be greedy, or have the seed rules' min_p 1,
 * which a draw and the filter alone treat differently; and no logit NaN. */
void check_row(const float *x, uint32_t vocab, const clsample_params *params, const outcome *o, size_t row,
               const char *what);
/* How many rows could be compared how well. */
void print_seen(void);

uint32_t count_kept(const float *masked, uint32_t vocab);
/* Are these kept, and no others? Fine if the set is not present. */
void check_ids(const float *masked, uint32_t vocab, const id_set *want, const char *name, const char *what);
/* Kept logits are x / temperature; greedy leaves them unscaled (temperature 1). */
void check_values(const float *x, const float *masked, uint32_t vocab, float temperature, const char *what);

#endif
