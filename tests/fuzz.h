/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target and the driver fuzz_main.c share. A target also runs under libFuzzer, without that
 * driver:
 *   clang -fsanitize=fuzzer,address tests/fuzz_model.c ... */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Run the code under test on any bytes. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Input `i` to start from, malloc'd; NULL past the last. */
unsigned char *fuzz_seed(unsigned i, size_t *size);

#endif
