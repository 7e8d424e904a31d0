/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys of a file are known. One that nobody reads may be what the result hangs on, such as a scaling
 * that would have to be followed: it is refused, not passed over. */
#ifndef KEYS_H
#define KEYS_H

#include "gguf.h"

typedef enum key_rule {
    KEY_ANY,         /* read by others, or without effect on the result */
    KEY_ZERO,        /* 0, false, or an empty string or array: what it stands for is not supported */
    KEY_ONE,         /* 1 or true, likewise */
    KEY_ZERO_OR_ONE, /* a factor, which some writers give as 0 where there is none */
    KEY_TWO
} key_rule;

typedef struct known_key {
    const char *name; /* after the prefix */
    key_rule rule;
} known_key;

/* Every key of `file` that begins with `prefix` is in the list and has a value that its rule takes. */
bool keys_check(const gguf *file, const char *prefix, const known_key *list, size_t count,
                model_error *error);
/* One key, if it is there. */
bool keys_check_one(const gguf *file, const char *name, key_rule rule, model_error *error);

#endif
