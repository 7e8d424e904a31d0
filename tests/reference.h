/* SPDX-License-Identifier: Apache-2.0 */
/* The filters once more, as directly as they can be written: a sort, exp, and sums in double. It shares no
 * code with the library or its kernels; clsample.h is its specification.
 *
 * Whatever the rules, a filter keeps a prefix of the tokens in order of falling logits, equal ones by id. So
 * a set of kept tokens is a number: how many of `order` it holds. A decision that is nearer to flipping than
 * `slack` is left open: asking with -slack and +slack gives the least and the most tokens that may be kept.
 * All stages keep more when they are given more, so that the two bound the whole chain. */
#ifndef CLSAMPLE_TESTS_REFERENCE_H
#define CLSAMPLE_TESTS_REFERENCE_H

#include "clsample.h"

#include <stdbool.h>

/* The device adds the weights of each block of 64 in units of at most 2^-23 of the largest, cutting the rest
 * off: it may lose 63 * 2^-23 = 7.5e-6 of a mass, and a weight is wrong by up to 1.5e-7 of itself. */
#define REF_UNIT 0x1p-23
#define REF_SLACK 8e-6

typedef struct ref_row {
    uint32_t vocab;
    uint32_t live;   /* tokens that are not masked: those at +inf alone, if there are any */
    uint32_t *order; /* their ids, best first */
    double *x;       /* [vocab] logits by id, NaN as -inf */
} ref_row;

/* False if out of memory; ref_close takes what is half made. */
bool ref_open(ref_row *row, const float *x, uint32_t vocab);
void ref_close(ref_row *row);

typedef struct ref_kept {
    uint32_t stage[3]; /* after each filter in the order of the rules; if off, the number before */
    uint32_t all;      /* after the last */
} ref_kept;

/* How many tokens the filters keep. `alone` = clsample_enqueue_filter, where min_p 1 is a filter under every
 * rule. Greedy keeps 1; a row without live tokens 0. */
ref_kept ref_filter(const ref_row *row, const clsample_params *params, bool alone, double slack);
/* Probabilities [vocab] by id if the first `kept` tokens are in the distribution. */
void ref_probabilities(const ref_row *row, const clsample_params *params, uint32_t kept, double *p);
/* Natural logarithm of one token's. */
double ref_logprob(const ref_row *row, const clsample_params *params, uint32_t kept, uint32_t token);
/* The temperature that counts: within [1e-9, 1e12]. */
double ref_temperature(const clsample_params *params);

/* Of the chi-square distribution with `degrees` of freedom: the probability of a value above x. */
double ref_chi_square_tail(double x, double degrees);

#endif
