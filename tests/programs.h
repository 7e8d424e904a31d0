/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters with the lists that they point to. */
#ifndef CLSAMPLE_TESTS_PROGRAMS_H
#define CLSAMPLE_TESTS_PROGRAMS_H

#include "common.h"

#define PROGRAM_EDITS 64

/* Not to be copied: p points into it. */
typedef struct test_program {
    clsample_params p;
    clsample_bias bias[PROGRAM_EDITS];
    int32_t banned[PROGRAM_EDITS];
} test_program;

/* The defaults, and no edits. */
void program_begin(test_program *program);
void program_add_bias(test_program *program, int32_t id, float add);
void program_ban(test_program *program, int32_t id);

/* Each sampler is on in about every second program, edits in every fourth, and so is an order of their own;
 * never greedy. Tokens that are banned are few, so that a row of many has others left. */
void program_random(test_program *program, test_rng *r, uint32_t vocab);
/* Others of a fixed list that has each sampler alone and in company; `vocab` limits the edits' ids. */
#define PROGRAM_KNOWN 12
void program_known(test_program *program, size_t index, uint32_t vocab);
/* For a message: a text of static memory. */
const char *program_text(const clsample_params *p);

#endif
