/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <string.h>

static const struct {
    double values[2];
    const char *text;
} rules[] = {
    [KEY_ZERO] = { { 0, 0 }, "0, false or nothing is" },
    [KEY_ONE] = { { 1, 1 }, "1 or true is" },
    [KEY_ZERO_OR_ONE] = { { 0, 1 }, "0 and 1 are" },
    [KEY_TWO] = { { 2, 2 }, "2 is" },
};

static bool check_value(const gguf *file, size_t key, key_rule rule, model_error *error)
{
    const double value = gguf_key_number(file, key);
    char name[GGUF_QUOTED], shown[GGUF_QUOTED];

    if (rule == KEY_ANY || value == rules[rule].values[0] || value == rules[rule].values[1]) return true;
    return model_fail(error, "%s: key \"%s\" is %s; %s supported", gguf_path(file),
                      gguf_quote(gguf_key_name(file, key), name), gguf_key_show(file, key, shown),
                      rules[rule].text);
}

static bool check_listed(const gguf *file, size_t key, size_t prefix, const known_key *list, size_t count,
                         model_error *error)
{
    const gguf_string whole = gguf_key_name(file, key);
    const gguf_string name = { whole.text + prefix, whole.length - prefix };
    char quoted[GGUF_QUOTED], shown[GGUF_QUOTED];

    for (size_t i = 0; i < count; i++) {
        if (gguf_string_is(name, list[i].name)) return check_value(file, key, list[i].rule, error);
    }
    return model_fail(error, "%s: key \"%s\", which is %s, is not known, and the result may hang on it",
                      gguf_path(file), gguf_quote(whole, quoted), gguf_key_show(file, key, shown));
}

bool keys_check(const gguf *file, const char *prefix, const known_key *list, size_t count, model_error *error)
{
    const size_t length = strlen(prefix);

    for (size_t key = 0; key < gguf_key_count(file); key++) {
        const gguf_string name = gguf_key_name(file, key);
        if (name.length < length || memcmp(name.text, prefix, length) != 0) continue;
        if (!check_listed(file, key, length, list, count, error)) return false;
    }
    return true;
}

bool keys_check_one(const gguf *file, const char *name, key_rule rule, model_error *error)
{
    for (size_t key = 0; key < gguf_key_count(file); key++) {
        if (gguf_string_is(gguf_key_name(file, key), name)) return check_value(file, key, rule, error);
    }
    return true;
}
