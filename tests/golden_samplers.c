/* SPDX-License-Identifier: Apache-2.0 */
/* A line of data/samplers.jsonl is a case: `logits` (null is -inf), `stages` with their parameters, the
 * tokens before in `history`, and as `result` either the ids that are `kept`, or all `logits`. Of a chain it
 * has how many logits are finite `after` each stage, the kept ids, and of the first of these their logits and
 * probabilities. Every case was computed by the implementation that `peer` names in float32 and in float64,
 * and no boundary is nearer than 1e-4.
 * The least numbers of tokens that some implementations keep are such that they change nothing.
 *
 * A new sampler is a line in `names`, and its cases are lines of the file. */
#include "golden_samplers.h"

#include "comparing.h"
#include "programs.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 3e-6 /* of max(1, |logit|): the worst implementation's own is 2e-6 */

/* A case's stage, the key of its parameter, and the field that takes it. */
static const struct {
    const char *stage, *key;
    clsample_sampler sampler;
} names[] = {
    { "temperature", "temperature", CLSAMPLE_SAMPLER_TEMPERATURE },
    { "min_p", "p", CLSAMPLE_SAMPLER_MIN_P },
    { "top_k", "k", CLSAMPLE_SAMPLER_TOP_K },
    { "top_p", "p", CLSAMPLE_SAMPLER_TOP_P },
    { "typical", "p", CLSAMPLE_SAMPLER_TYPICAL_P },
    { "top_n_sigma", "n", CLSAMPLE_SAMPLER_TOP_N_SIGMA },
    { "logit_bias", "bias", CLSAMPLE_SAMPLER_BIAS },
    { "sequence_bias", "sequences", CLSAMPLE_SAMPLER_BIAS },
    { "suppress_tokens", "tokens", CLSAMPLE_SAMPLER_BANNED },
};

static json_t *cases; /* an array */

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The place in `names`, COUNT(names) if it is not there. */
static size_t find_name(const json_t *stage)
{
    size_t i = 0;

    while (i < COUNT(names) && strcmp(names[i].stage, text_at(stage, "sampler")) != 0)
        i++;
    return i;
}

/* The first sampler of a case that is not known, NULL if all are. */
static const char *unknown_of(const json_t *line)
{
    const json_t *stages = json_object_get(line, "stages");

    for (size_t i = 0; i < json_array_size(stages); i++)
        if (find_name(json_array_get(stages, i)) == COUNT(names))
            return text_at(json_array_get(stages, i), "sampler");
    return NULL;
}

static void print_unknown(void)
{
    json_t *counts = json_object();
    const char *name;
    json_t *n;

    for (size_t i = 0; i < json_array_size(cases); i++) {
        const char *unknown = unknown_of(json_array_get(cases, i));
        if (unknown)
            json_object_set_new(counts, unknown,
                                json_integer(json_integer_value(json_object_get(counts, unknown)) + 1));
    }
    json_object_foreach(counts, name, n)
        printf("left out: %d cases with %s, which is not known\n", (int)json_integer_value(n), name);
    json_decref(counts);
}

static void load(void)
{
    json_error_t error;
    json_t *line = NULL;
    FILE *f = data_open("samplers.jsonl");

    cases = json_array();
    while ((line = json_loadf(f, JSON_DISABLE_EOF_CHECK, &error)) != NULL)
        ck_assert_int_eq(json_array_append_new(cases, line), 0);
    fclose(f);
    ck_assert_uint_ge(json_array_size(cases), 80);
    print_unknown();
}

static void unload(void)
{
    json_decref(cases);
}

/* The number of an element; null is -inf. */
static double number(const json_t *element)
{
    return json_is_null(element) ? -INFINITY : json_number_value(element);
}

/* ---- Stages to parameters ---- */

/* Do all ids but the last end the history? Then the sequence is about the next token. */
static bool continues(const json_t *ids, const json_t *history)
{
    const size_t n = json_array_size(ids) - 1, known = json_array_size(history);

    for (size_t i = 0; i < n; i++)
        if (n > known || json_integer_value(json_array_get(ids, i)) !=
                             json_integer_value(json_array_get(history, known - n + i)))
            return false;
    return true;
}

/* Pairs of an id, or a sequence of ids, and a value. */
static void add_biases(test_program *program, const json_t *pairs, const json_t *history)
{
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i), *id = json_array_get(pair, 0);
        const float add = (float)number(json_array_get(pair, 1));

        if (json_is_array(id) && !continues(id, history)) { continue; }
        if (json_is_array(id)) { id = json_array_get(id, json_array_size(id) - 1); }
        program_add_bias(program, (int32_t)json_integer_value(id), add);
    }
}

static void set_field(test_program *program, clsample_sampler sampler, const json_t *value,
                      const json_t *history)
{
    const clsample_sampler_entry *e = clsample_sampler_info(sampler - 1u);
    unsigned char *field = (unsigned char *)&program->p + e->offset;
    const float real = (float)number(value);
    const uint32_t whole = (uint32_t)json_integer_value(value);

    ck_assert_int_eq(e->sampler, sampler);
    switch (e->type) {
    case CLSAMPLE_TYPE_FLOAT: memcpy(field, &real, sizeof real); break;
    case CLSAMPLE_TYPE_UINT32: memcpy(field, &whole, sizeof whole); break;
    case CLSAMPLE_TYPE_BIAS: add_biases(program, value, history); break;
    case CLSAMPLE_TYPE_IDS:
        for (size_t i = 0; i < json_array_size(value); i++)
            program_ban(program, (int32_t)json_integer_value(json_array_get(value, i)));
        break;
    default: ck_abort_msg("golden case: a field of type %d", (int)e->type);
    }
}

/* Turn on what a stage asks for, and name it in the order. */
static void add_stage(test_program *program, const json_t *stage, const json_t *history)
{
    const size_t places = strlen((const char *)program->p.order), i = find_name(stage);

    ck_assert_uint_lt(i, COUNT(names));
    set_field(program, names[i].sampler, json_object_get(stage, names[i].key), history);
    if (clsample_sampler_info(names[i].sampler - 1u)->kind != CLSAMPLE_KIND_EDIT)
        program->p.order[places] = (uint8_t)names[i].sampler;
}

/* Temperatures of 0 or less are greedy. */
static void make_program(test_program *program, const json_t *line, size_t stages)
{
    static const struct {
        const char *peer;
        clsample_rules rules;
    } peers[] = { { "llama.cpp", CLSAMPLE_RULES_LLAMA_CPP },
                  { "transformers", CLSAMPLE_RULES_TRANSFORMERS },
                  { "vllm", CLSAMPLE_RULES_VLLM } };

    program_begin(program);
    for (size_t i = 0; i < COUNT(peers); i++)
        if (strcmp(peers[i].peer, text_at(line, "peer")) == 0) { program->p.rules = peers[i].rules; }
    for (size_t i = 0; i < stages; i++)
        add_stage(program, json_array_get(json_object_get(line, "stages"), i),
                  json_object_get(line, "history"));
    if (program->p.temperature < 0.0f) { program->p.temperature = 0.0f; }
}

/* ---- Comparing ---- */

static id_set ids_of(const json_t *array)
{
    id_set set = { array != NULL, (uint32_t)json_array_size(array), NULL };

    set.ids = test_alloc(set.count * sizeof *set.ids);
    for (uint32_t i = 0; i < set.count; i++)
        set.ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return set;
}

static void check_kept_ids(const float *masked, uint32_t vocab, const json_t *line)
{
    id_set kept = ids_of(json_object_get(json_object_get(line, "result"), "kept"));

    check_ids(masked, vocab, &kept, text_at(line, "name"), "golden");
    free(kept.ids);
}

/* Logit `id` is the one that the case gives. */
static void check_logit(const float *masked, int32_t id, const json_t *want, const char *name)
{
    const double got = (double)masked[id], right = number(want);

    if (right == -INFINITY)
        ck_assert_msg(got == right, "%s: %d is kept", name, (int)id);
    else
        ck_assert_msg(fabs(got - right) <= TOLERANCE * fmax(1.0, fabs(right)),
                      "%s: logit %d is %.9g, not %.9g", name, (int)id, got, right);
}

/* Of all tokens in order, or of the first that are kept. */
static void check_logits(const float *masked, const json_t *line)
{
    const json_t *result = json_object_get(line, "result"), *logits = json_object_get(result, "logits");
    const json_t *kept = json_object_get(result, "kept");

    for (size_t i = 0; i < json_array_size(logits); i++)
        check_logit(masked, kept ? (int32_t)json_integer_value(json_array_get(kept, i)) : (int32_t)i,
                    json_array_get(logits, i), text_at(line, "name"));
}

/* The implementations compute in float32. */
static void check_probs(const float *p, const json_t *line)
{
    const json_t *result = json_object_get(line, "result"), *probs = json_object_get(result, "probs");
    const json_t *kept = json_object_get(result, "kept");

    for (size_t i = 0; i < json_array_size(probs); i++) {
        const int32_t id = (int32_t)json_integer_value(json_array_get(kept, i));
        const double want = number(json_array_get(probs, i));

        ck_assert_msg(fabs((double)p[id] - want) <= want * 1e-5 + REF_UNIT, "%s: probability of %d is %.9g",
                      text_at(line, "name"), (int)id, (double)p[id]);
    }
}

/* ---- Cases ---- */

static float *logits_at(const json_t *line, uint32_t *vocab)
{
    const json_t *logits = json_object_get(line, "logits");
    float *x = NULL;

    *vocab = (uint32_t)json_array_size(logits);
    x = test_alloc(*vocab * sizeof *x);
    for (uint32_t i = 0; i < *vocab; i++)
        x[i] = (float)number(json_array_get(logits, i));
    return x;
}

/* Run the first `stages`, in the order of the case or in that of the rules. */
static void check_case(const json_t *line, size_t stages, bool own_order)
{
    const size_t all = json_array_size(json_object_get(line, "stages"));
    const json_t *after = json_object_get(json_object_get(line, "result"), "after");
    test_program program;
    uint32_t vocab;
    float *x = logits_at(line, &vocab), *out = test_alloc(vocab * sizeof *out);

    make_program(&program, line, stages);
    if (!own_order) { memset(program.p.order, 0, sizeof program.p.order); }
    host_filter(&program.p, 1, x, 1, vocab, CLSAMPLE_MASKED_LOGITS, out);
    if (after)
        ck_assert_uint_eq(count_kept(out, vocab),
                          (uint32_t)json_integer_value(json_array_get(after, stages - 1)));
    if (stages == all) {
        check_kept_ids(out, vocab, line);
        check_logits(out, line);
    }
    if (stages == all && after) {
        host_filter(&program.p, 1, x, 1, vocab, CLSAMPLE_PROBABILITIES, out);
        check_probs(out, line);
    }
    free(out);
    free(x);
}

/* Every fifth case, so that each of five has some of every sampler. */
START_TEST(published_results)
{
    const uint32_t most = test_scaled("logits of published results", 2000, 2000, 100);

    for (size_t i = (size_t)_i; i < json_array_size(cases); i += 5) {
        const json_t *line = json_array_get(cases, i);
        const size_t stages = json_array_size(json_object_get(line, "stages"));

        if (unknown_of(line) || json_array_size(json_object_get(line, "logits")) > most) { continue; }
        check_case(line, stages, false);
        for (size_t n = 1; n <= stages && stages > 1; n++)
            check_case(line, n, true);
    }
}
END_TEST

TCase *golden_samplers(void)
{
    TCase *t = tcase_create("published");

    tcase_add_unchecked_fixture(t, load, unload);
    tcase_add_loop_test(t, published_results, 0, (int)test_scaled("fifths of published results", 5, 2, 3));
    return t;
}
