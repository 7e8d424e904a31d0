/* SPDX-License-Identifier: Apache-2.0 */
/* Every form of the kernels, whatever the device that it is made for, gives the bits of the model: vectors
 * and groups of any size, one launch or two, cuts found among candidates or in the row.
 *
 * Environment: CLSAMPLE_TEST_FORMS, names of `forms` between commas; unset = all. */
#include "common.h"
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    clsample_options options; /* beside those of test_options() */
} forms[] = {
    { "vectors-4", { .flags = CLSAMPLE_FORCE_VECTORS, .lanes = 4 } },
    { "vectors-8", { .flags = CLSAMPLE_FORCE_VECTORS, .lanes = 8, .groups = 1 } },
    { "vectors-16", { .flags = CLSAMPLE_FORCE_VECTORS, .lanes = 16, .groups = 64 } },
    { "vectors-two", { .flags = CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_TWO_LAUNCHES, .groups = 7 } },
    { "vectors-row", { .flags = CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_ROW_SEARCH } },
    { "groups-8", { .flags = CLSAMPLE_FORCE_GROUPS, .work_group = 8 } },
    { "groups-64", { .flags = CLSAMPLE_FORCE_GROUPS, .work_group = 64 } },
    { "groups-256", { .flags = CLSAMPLE_FORCE_GROUPS, .work_group = 256 } },
    { "groups-row", { .flags = CLSAMPLE_FORCE_GROUPS | CLSAMPLE_FORCE_ROW_SEARCH, .work_group = 64 } },
};

/* Filters alone and together; cuts among few tokens and among nearly all, through ties and beside them; for
 * each of the rules. */
static const struct {
    float temperature, min_p;
    uint32_t top_k;
    float top_p;
} setting[] = {
    { 0.8f, 0.05f, 50, 0.95f }, { 1.0f, 0.0f, 0, 1.0f },       { 1.0f, 0.0f, 0, 0.9f },
    { 0.7f, 0.02f, 0, 1.0f },   { 1.5f, 0.0f, 40, 1.0f },      { 0.0f, 0.0f, 0, 1.0f },
    { 0.3f, 0.5f, 3, 0.5f },    { 2.0f, 0.0f, 3000, 0.99f },   { 1e-6f, 0.0f, 0, 0.5f },
    { 50.0f, 0.9f, 0, 0.999f }, { 0.8f, 0.9999999f, 7, 0.7f }, { 5.0f, 0.0f, 900, 0.4f },
};

static bool is_wanted(const char *name)
{
    const char *list = getenv("CLSAMPLE_TEST_FORMS");
    const size_t length = strlen(name);

    for (const char *at = list; at && *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
        if (strcspn(at, ",") == length && strncmp(at, name, length) == 0) return true;
    if (list) printf("left out: form %s (CLSAMPLE_TEST_FORMS is %s)\n", name, list);
    return !list;
}

static clsample_ctx *open_form(int form)
{
    clsample_options options = test_options();
    clsample_ctx *ctx = NULL;

    options.flags |= forms[form].options.flags;
    options.lanes = forms[form].options.lanes;
    options.groups = forms[form].options.groups;
    options.work_group = forms[form].options.work_group;
    ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
    return ctx;
}

/* One row of this size and shape, for each of some settings. False if the device cannot do rows of this size.
 * */
static bool check_row(clsample_ctx *ctx, int form, uint32_t vocab, test_shape shape, size_t first,
                      size_t step)
{
    float *x = test_alloc(vocab * sizeof *x);
    clsample_logits in = logits_of(NULL, CLSAMPLE_F32, 1, vocab);
    bool fits = true;

    row_random(x, vocab, shape, 4000 + vocab + shape);
    for (size_t set = first; fits && set < COUNT(setting); set += step) {
        clsample_params p = params_of(setting[set].temperature, setting[set].min_p, setting[set].top_k,
                                      setting[set].top_p, (uint32_t)(set + shape) % 4);
        clsample_result got;
        p.seed = vocab;
        p.step = set;
        const clsample_result want = model_draw(x, vocab, &p);
        fits = clsample_sample(ctx, &p, 1, &in, x, &got) == CLSAMPLE_OK;
        if (!fits && clsample_last_error()->status == CLSAMPLE_E_DEVICE) break; /* its loops are too short */
        REQUIRE(fits, "%s: %s", forms[form].name, clsample_last_error()->message);
        REQUIRE(memcmp(&got, &want, sizeof got) == 0,
                "%s, %s row of %u, setting %zu: token %d status %u logprob %a kept %u instead of %d %u %a %u",
                forms[form].name, shape_name(shape), (unsigned)vocab, set, (int)got.token,
                (unsigned)got.status, (double)got.logprob, (unsigned)got.kept, (int)want.token,
                (unsigned)want.status, (double)want.logprob, (unsigned)want.kept);
    }
    free(x);
    return fits;
}

START_TEST(every_form)
{
    static const uint32_t size[] = { 1, 64, 255, 257, 1000, 5001, 40000 };
    const uint32_t sizes = test_scaled("sizes of every_form", COUNT(size), 6, 5);
    const uint32_t sets = test_scaled("settings of every_form", 6, 1, 1);
    const size_t step = COUNT(setting) / sets;

    if (!is_wanted(forms[_i].name)) return;
    clsample_ctx *ctx = open_form(_i);
    for (uint32_t s = 0; s < sizes; s++) {
        for (uint32_t shape = 0; shape < SHAPE_COUNT; shape++) {
            if (check_row(ctx, _i, size[s], (test_shape)shape, (s + shape) % step, step)) continue;
            printf("left out: %s with %u logits (%s)\n", forms[_i].name, (unsigned)size[s],
                   clsample_last_error()->message);
            break;
        }
    }
    clsample_destroy(ctx);
}
END_TEST

static Suite *forms_suite(void)
{
    Suite *suite = suite_create("forms");
    TCase *t = tcase_create("model");

    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, every_form, 0, (int)COUNT(forms));
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(forms_suite);
}
