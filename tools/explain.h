/* SPDX-License-Identifier: Apache-2.0 */
/* What each sampler that is on makes of a row of logits, one after another, and the token that is drawn then.
 * Who shows it brings the logits, the parameters and the device. */
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include "sampling.h"

typedef struct explain_token {
    uint32_t id;
    float logit; /* after the stage */
    float prob;  /* in the distribution that is left after the stage */
} explain_token;

typedef struct explain_change {
    uint32_t id;
    float before, after; /* -inf: masked */
} explain_change;

typedef struct explain_stage {
    const clsample_sampler_entry *sampler;
    clsample_params params; /* this sampler and those before it, all others off; its lists are borrowed */
    explain_token *tokens;  /* by ascending id; owned */
    size_t kept;
    explain_change *changed; /* of an edit: those that differ, by ascending id; owned */
    size_t n_changed;
} explain_stage;

typedef struct explanation {
    uint32_t row; /* its number in the file */
    explain_stage stages[SAMPLING_MOST];
    size_t count; /* one at least */
    clsample_result drawn, greedy;
} explanation;

/* Zeroed but for the first three, which are the caller's and outlive it. */
typedef struct explain {
    cli_logits logits;
    clsample_params params;
    const cli_device *device;
    cl_mem mem;            /* all logits */
    cl_mem filtered;       /* float [vocab]: a stage's outcome */
    cl_mem results;        /* clsample_result [2]: drawn, greedy */
    float *masked, *probs; /* [vocab]: the same on the host; owned */
    float *before;         /* [vocab]: what the last edit left of the logits; owned */
} explain;

/* Bring the logits onto the device and make room; explain_free() is due either way. Returns an exit code. */
int explain_load(cli *c, explain *x);
/* Explain one row, from 0 on of those loaded; explanation_free() is due either way. Returns an exit code. */
int explain_run(cli *c, const explain *x, uint32_t row, explanation *e);
void explanation_free(explanation *e);
void explain_free(explain *x);

#endif
