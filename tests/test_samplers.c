/* SPDX-License-Identifier: Apache-2.0 */
/* The list of samplers: that it says of each what the header, the defaults and the checks of calls say, and
 * what is on. Needs no device. */
#include "common.h"
#include "internal.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLER_ENTRY(name, number, text) { number, text },
static const struct {
    int number;
    const char *name;
} mapped[] = { CLSAMPLE_SAMPLER_MAP(SAMPLER_ENTRY) };
#undef SAMPLER_ENTRY

enum { SAMPLERS = COUNT(mapped), RULES = CLSAMPLE_RULES_LLAMA_CPP + 1 };

static const clsample_sampler_entry *entry(uint32_t index)
{
    const clsample_sampler_entry *e = clsample_sampler_info(index);
    ck_assert_ptr_nonnull(e);
    return e;
}

static clsample_params plain(void)
{
    return (clsample_params)CLSAMPLE_PARAMS_INIT;
}

/* A sampler's number, or how many elements it has. */
static double get(const clsample_params *p, const clsample_sampler_entry *e)
{
    const unsigned char *at = (const unsigned char *)p + (e->count_offset ? e->count_offset : e->offset);
    uint32_t number;
    float value;

    memcpy(&number, at, sizeof number);
    memcpy(&value, at, sizeof value);
    return e->type == CLSAMPLE_TYPE_FLOAT ? (double)value : number;
}

static void set(clsample_params *p, const clsample_sampler_entry *e, double to)
{
    unsigned char *at = (unsigned char *)p + (e->count_offset ? e->count_offset : e->offset);
    const float value = (float)to;

    if (e->type == CLSAMPLE_TYPE_FLOAT) {
        memcpy(at, &value, sizeof value);
    } else {
        const uint32_t number = (uint32_t)to;
        memcpy(at, &number, sizeof number);
    }
}

/* To something that is in every range, and off in none. */
static void turn_on(clsample_params *p, const clsample_sampler_entry *e)
{
    static const clsample_bias bias = { 3, 1.0f };
    static const int32_t banned = 4;

    set(p, e, e->type == CLSAMPLE_TYPE_FLOAT ? 0.5 : 1);
    if (e->type == CLSAMPLE_TYPE_BIAS) p->bias = &bias;
    if (e->type == CLSAMPLE_TYPE_IDS) p->banned = &banned;
}

static bool is_in_range(const clsample_sampler_entry *e, double value)
{
    return (e->above ? value > e->least : value >= e->least) && value <= e->most;
}

/* ---- The list ---- */

START_TEST(numbers_and_names)
{
    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        ck_assert_int_eq((int)e->sampler, (int)i + 1);
        ck_assert_int_eq((int)e->sampler, mapped[i].number);
        ck_assert_str_eq(e->name, mapped[i].name);
        ck_assert_ptr_eq(clsample_sampler_info(i), e);
    }
    ck_assert_ptr_null(clsample_sampler_info(SAMPLERS));
    ck_assert_ptr_null(clsample_sampler_info(UINT32_MAX));
}
END_TEST

/* No two share memory, and what has a count is an edit. */
START_TEST(fields)
{
    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        const size_t size = e->count_offset ? sizeof(void *) : sizeof(uint32_t);
        ck_assert_uint_ge(e->offset, offsetof(clsample_params, temperature));
        ck_assert_uint_le(e->offset + size, offsetof(clsample_params, order));
        ck_assert_uint_le(e->count_offset + sizeof(uint32_t), sizeof(clsample_params));
        ck_assert((e->kind == CLSAMPLE_KIND_EDIT) == (e->count_offset != 0));
        for (uint32_t k = 0; k < i; k++)
            ck_assert(e->offset + size <= entry(k)->offset || e->offset > entry(k)->offset);
    }
}
END_TEST

START_TEST(texts)
{
    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        const char *const lines[] = { e->name, e->option, e->value, e->range, e->help };
        for (size_t k = 0; k < COUNT(lines); k++) {
            const size_t length = strlen(lines[k]);
            ck_assert_msg(length > 0 && !strchr(lines[k], '\n'), "text %zu of %s", k, e->name);
            ck_assert_msg(lines[k] == e->value || lines[k][length - 1] != '.', "%s is half a sentence",
                          lines[k]); /* a value may go on, ... */
        }
        for (const char *c = e->option; *c; c++)
            ck_assert_msg(islower((unsigned char)*c) || *c == '-', "--%s", e->option);
        for (uint32_t k = 0; k < SAMPLERS; k++) {
            ck_assert_str_ne(e->option, entry(k)->alias);
            ck_assert(k == i || strcmp(e->option, entry(k)->option) != 0);
            ck_assert(k == i || !e->alias[0] || strcmp(e->alias, entry(k)->alias) != 0);
        }
    }
}
END_TEST

START_TEST(defaults_are_off)
{
    const clsample_params p = plain();

    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        ck_assert_msg(get(&p, e) == e->standard, "%s", e->name);
        ck_assert_msg(isnan(e->off) ? e->sampler == CLSAMPLE_SAMPLER_TEMPERATURE : e->off == e->standard,
                      "%s", e->name);
    }
    ck_assert(!p.bias && !p.banned);
}
END_TEST

START_TEST(ranges)
{
    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        if (e->kind == CLSAMPLE_KIND_EDIT) {
            ck_assert_msg(e->least == 0 && e->most == 0 && e->above == 0 && e->off == 0, "%s", e->name);
            continue;
        }
        ck_assert_msg(e->least < e->most && (e->above == 0 || e->above == 1), "%s", e->name);
        ck_assert_msg(is_in_range(e, e->standard), "%s", e->name);
        ck_assert_msg(isnan(e->off) || is_in_range(e, e->off), "%s", e->name);
    }
}
END_TEST

static clsample_status check(const clsample_sampler_entry *e, float value)
{
    clsample_params p = plain();
    cls_plan_row unused;

    set(&p, e, (double)value);
    return cls_plan(&p, 0, 100, false, &unused);
}

static void refuse(const clsample_sampler_entry *e, float value)
{
    ck_assert_msg(check(e, value) == CLSAMPLE_E_ARGUMENT, "%s %g", e->name, (double)value);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, e->name));
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, e->range));
}

/* What the list says of a range is what a call takes. */
START_TEST(ranges_are_those_of_calls)
{
    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        const float least = (float)e->least, most = (float)e->most;
        if (e->type != CLSAMPLE_TYPE_FLOAT) continue;
        if (e->above) refuse(e, least);
        ck_ok(check(e, e->above ? nextafterf(least, INFINITY) : least));
        ck_ok(check(e, most));
        refuse(e, nextafterf(least, -INFINITY));
        refuse(e, nextafterf(most, INFINITY));
        refuse(e, INFINITY);
        refuse(e, NAN);
        refuse(e, -NAN);
    }
}
END_TEST

/* ---- Orders ---- */

/* The sampler at a place of an order, from 1 on; NULL if there is none, and none may share it. */
static const clsample_sampler_entry *at_place(uint32_t rules, uint32_t place)
{
    const clsample_sampler_entry *found = NULL;

    for (uint32_t i = 0; i < SAMPLERS; i++) {
        if (entry(i)->place[rules] != place) continue;
        ck_assert_msg(!found, "rules %u have two samplers at place %u", rules, place);
        found = entry(i);
    }
    return found;
}

START_TEST(places)
{
    uint32_t ordered = 0;

    ck_assert_uint_eq(COUNT(entry(0)->place), RULES);
    for (uint32_t i = 0; i < SAMPLERS; i++)
        ordered += entry(i)->kind != CLSAMPLE_KIND_EDIT;
    ck_assert_uint_le(ordered, CLSAMPLE_MAX_ORDER);
    for (uint32_t r = 0; r < RULES; r++) {
        for (uint32_t place = 1; place <= ordered; place++)
            ck_assert_msg(at_place(r, place) != NULL, "rules %u have nothing at place %u", r, place);
        for (uint32_t i = 0; i < SAMPLERS; i++)
            ck_assert((entry(i)->kind == CLSAMPLE_KIND_EDIT) == (entry(i)->place[r] == 0));
    }
}
END_TEST

/* ---- What is on ---- */

/* Whether exactly this one is on, beside temperature, which always is; 0: none. */
static void require_only(const clsample_params *p, uint32_t sampler)
{
    for (uint32_t s = 1; s <= SAMPLERS; s++) {
        const int on = s == sampler || s == CLSAMPLE_SAMPLER_TEMPERATURE;
        ck_assert_msg(clsample_sampler_is_on(p, s) == on, "%s is%s on", entry(s - 1)->name, on ? " not" : "");
    }
}

START_TEST(on_and_off)
{
    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        clsample_params p = plain();
        for (uint32_t r = 0; r < RULES; r++) {
            p.rules = r;
            turn_on(&p, e);
            require_only(&p, e->sampler);
            if (!isnan(e->off)) set(&p, e, e->off);
            require_only(&p, 0);
        }
    }
}
END_TEST

START_TEST(greedy)
{
    for (uint32_t i = 0; i < SAMPLERS; i++) {
        const clsample_sampler_entry *e = entry(i);
        const uint32_t on = e->kind == CLSAMPLE_KIND_EDIT ? e->sampler : 0;
        clsample_params p = plain();
        turn_on(&p, e);
        p.flags = CLSAMPLE_GREEDY;
        require_only(&p, on);
        p.flags = 0;
        p.temperature = 0.0f;
        require_only(&p, on);
        p.temperature = -0.0f;
        require_only(&p, on);
    }
}
END_TEST

START_TEST(values_at_edges)
{
    clsample_params p = plain();

    p.min_p = 1.0f;
    for (uint32_t r = 0; r < RULES; r++) {
        p.rules = r;
        require_only(&p, r == CLSAMPLE_RULES_SEED ? 0 : CLSAMPLE_SAMPLER_MIN_P);
    }
    p = plain();
    p.min_p = -0.0f;
    require_only(&p, 0);
    p.min_p = 0x1p-149f;
    require_only(&p, CLSAMPLE_SAMPLER_MIN_P);
    p = plain();
    p.top_p = nextafterf(1.0f, 0.0f);
    require_only(&p, CLSAMPLE_SAMPLER_TOP_P);
    p = plain();
    p.top_n_sigma = -1.0f;
    require_only(&p, 0);
    p.top_n_sigma = FLT_MAX;
    require_only(&p, CLSAMPLE_SAMPLER_TOP_N_SIGMA);
    p = plain();
    p.temperature = 0x1p-149f; /* not greedy */
    p.top_k = 1;
    require_only(&p, CLSAMPLE_SAMPLER_TOP_K);
}
END_TEST

START_TEST(what_is_none)
{
    clsample_params p = plain();

    for (uint32_t i = 0; i < SAMPLERS; i++)
        turn_on(&p, entry(i));
    ck_assert_int_eq(clsample_sampler_is_on(&p, CLSAMPLE_SAMPLER_NONE), 0);
    ck_assert_int_eq(clsample_sampler_is_on(&p, SAMPLERS + 1), 0);
    ck_assert_int_eq(clsample_sampler_is_on(&p, UINT32_MAX), 0);
    for (uint32_t s = 1; s <= SAMPLERS; s++)
        ck_assert_int_eq(clsample_sampler_is_on(NULL, s), 0);
}
END_TEST

/* Params of the first version end before what came later, which is off then. */
START_TEST(of_an_older_version)
{
    clsample_params p = plain();
    void *old = test_alloc(CLS_PARAMS_SIZE_1);

    p.size = CLS_PARAMS_SIZE_1;
    p.top_k = 3;
    memcpy(old, &p, CLS_PARAMS_SIZE_1);
    require_only(old, CLSAMPLE_SAMPLER_TOP_K);
    free(old);
}
END_TEST

static Suite *samplers_suite(void)
{
    Suite *s = suite_create("samplers");
    TCase *t = tcase_create("samplers");

    tcase_add_test(t, numbers_and_names);
    tcase_add_test(t, fields);
    tcase_add_test(t, texts);
    tcase_add_test(t, defaults_are_off);
    tcase_add_test(t, ranges);
    tcase_add_test(t, ranges_are_those_of_calls);
    tcase_add_test(t, places);
    tcase_add_test(t, on_and_off);
    tcase_add_test(t, greedy);
    tcase_add_test(t, values_at_edges);
    tcase_add_test(t, what_is_none);
    tcase_add_test(t, of_an_older_version);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(samplers_suite());

    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
