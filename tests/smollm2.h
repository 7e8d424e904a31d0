/* SPDX-License-Identifier: Apache-2.0 */
/* The real model that tools/model/fetch gets, and what it is known to answer (tests/data/smollm2.json). */
#ifndef SMOLLM2_H
#define SMOLLM2_H

#include <jansson.h>

/* The model's file: what CLSAMPLE_TEST_MODEL names, else where tools/model/fetch puts it. NULL, with the
 * reason printed, if it is not there. */
const char *smollm2_path(void);
/* The array `part` of the known answers, "tokenizer" or "model"; a new reference. */
json_t *smollm2_answers(const char *part);

#endif
