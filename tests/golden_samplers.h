/* SPDX-License-Identifier: Apache-2.0 */
/* What published implementations make of the same logits: data/samplers.jsonl. */
#ifndef CLSAMPLE_TESTS_GOLDEN_SAMPLERS_H
#define CLSAMPLE_TESTS_GOLDEN_SAMPLERS_H

#include <check.h>

TCase *golden_samplers(void);

#endif
