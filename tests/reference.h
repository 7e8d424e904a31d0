/* SPDX-License-Identifier: Apache-2.0 */
/* The samplers once more, as directly as they can be written: a sort, exp, and sums in double. It shares no
 * code with the library or its kernels; clsample.h is its specification.
 *
 * What is kept is always an interval of the tokens in order of falling logits, equal ones by id. A decision
 * that is nearer to flipping than `slack` is left open: then each end of the interval lies between two
 * bounds. */
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

/* Bias and bans on a row of logits, in place: what ref_open must be given under such params. */
void ref_edit(const clsample_params *params, float *x);

/* Of `order`, up to but without `last`. */
typedef struct ref_interval {
    uint32_t first, last;
} ref_interval;

/* Each end lies between that of `low` and that of `high`; with all of `order` for a row without live tokens
 * both are empty. False `known`: too much was open for a later stage, and nothing is said. */
typedef struct ref_kept {
    ref_interval low, high;
    bool known;
} ref_kept;

/* What the samplers keep. `alone` = clsample_enqueue_filter, where min_p 1 is a filter under every rule.
 * Greedy keeps the first. With slack 0 nothing is open; REF_SLACK is right for a device. */
ref_kept ref_filter(const ref_row *row, const clsample_params *params, bool alone, double slack);
/* Is nothing open? */
bool ref_is_certain(const ref_kept *kept);
/* What is kept if all sums were exact. */
ref_interval ref_exact(const ref_row *row, const clsample_params *params, bool alone);
/* Probabilities [vocab] by id if `kept` is what is drawn from. */
void ref_probabilities(const ref_row *row, const clsample_params *params, ref_interval kept, double *p);
/* Natural logarithm of one token's. */
double ref_logprob(const ref_row *row, const clsample_params *params, ref_interval kept, uint32_t token);
/* The temperature that counts: within [1e-9, 1e12]. */
double ref_temperature(const clsample_params *params);

/* Of the chi-square distribution with `degrees` of freedom: the probability of a value above x. */
double ref_chi_square_tail(double x, double degrees);

#endif
