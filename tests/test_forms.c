/* SPDX-License-Identifier: Apache-2.0 */
/* Every form of the kernels, whatever the device that it is made for, gives the bits of the model: vectors
 * and groups of any size, one launch or two, cuts found among candidates or in the row.
 *
 * Environment: CLSAMPLE_TEST_FORMS, names of `forms` between commas; unset = all. */
#include "common.h"
#include "model.h"
#include "programs.h"

#include <math.h>
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

typedef struct test_setting {
    float temperature, min_p;
    uint32_t top_k;
    float top_p;
} test_setting;

/* Filters alone and together; cuts among few tokens and among nearly all, through ties and beside them; for
 * each of the rules. */
static const test_setting setting[] = {
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

/* A row of this kind, with these parameters, in scratch memory in which nothing is of any use. False if the
 * device cannot do rows of this size. */
static bool check_params(clsample_ctx *ctx, int form, const float *x, uint32_t vocab, const char *kind,
                         const clsample_params *p)
{
    const size_t size = clsample_scratch_size(1, vocab);
    const cl_mem scratch = dev_buffer(size);
    clsample_logits in = logits_of(NULL, CLSAMPLE_F32, 1, vocab);
    clsample_result got;

    dev_poison(scratch, size);
    ck_ok(clsample_set_scratch(ctx, scratch, 0, size));
    const bool done = clsample_sample(ctx, p, 1, &in, x, &got) == CLSAMPLE_OK;
    ck_ok(clsample_set_scratch(ctx, NULL, 0, 0));
    ck_cl(clReleaseMemObject(scratch));
    if (!done && clsample_last_error()->status == CLSAMPLE_E_DEVICE)
        return false; /* its loops are too short */
    REQUIRE(done, "%s: %s", forms[form].name, clsample_last_error()->message);
    const clsample_result want = model_draw(x, vocab, p);
    REQUIRE(memcmp(&got, &want, sizeof got) == 0,
            "%s, %s row of %u, %s: token %d status %u logprob %a kept %u instead of %d %u %a %u",
            forms[form].name, kind, (unsigned)vocab, program_text(p), (int)got.token, (unsigned)got.status,
            (double)got.logprob, (unsigned)got.kept, (int)want.token, (unsigned)want.status,
            (double)want.logprob, (unsigned)want.kept);
    return true;
}

static bool check_draw(clsample_ctx *ctx, int form, const float *x, uint32_t vocab, const char *kind,
                       const test_setting *set, uint32_t rules)
{
    clsample_params p = params_of(set->temperature, set->min_p, set->top_k, set->top_p, rules);

    p.seed = vocab;
    p.step = rules;
    return check_params(ctx, form, x, vocab, kind, &p);
}

/* One row of this size and shape, for each of some settings. */
static bool check_row(clsample_ctx *ctx, int form, uint32_t vocab, test_shape shape, size_t first,
                      size_t step)
{
    float *x = test_alloc(vocab * sizeof *x);
    bool fits = true;

    row_random(x, vocab, shape, 4000 + vocab + shape);
    for (size_t set = first; fits && set < COUNT(setting); set += step)
        fits = check_draw(ctx, form, x, vocab, shape_name(shape), &setting[set], (uint32_t)(set + shape) % 4);
    free(x);
    return fits;
}

START_TEST(every_form)
{
    static const uint32_t size[] = { 1, 64, 255, 257, 1000, 2048, 2049, 40000 };
    const uint32_t sizes = test_scaled("sizes of every_form", COUNT(size), 6, 4);
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

/* A limit whose ties stay, behind one that went through these ties: what is cut does not come back. */
static bool check_ties(clsample_ctx *ctx, int form, uint32_t vocab, float top_p, uint32_t k, uint32_t rules)
{
    static const uint8_t order[] = { CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_TOP_K };
    float *x = test_alloc(vocab * sizeof *x);
    clsample_params p = params_of(1.0f, 0.0f, k, top_p, rules);

    memcpy(p.order, order, sizeof order);
    for (uint32_t i = 0; i < vocab; i++)
        x[i] = i % 7 == 6 ? 4.0f : i % 2 ? 0.5f : -3.0f;
    const bool fits = check_params(ctx, form, x, vocab, "a row of ties", &p);
    free(x);
    return fits;
}

START_TEST(ties_stay_cut)
{
    static const uint32_t size[] = { 8, 700, 5000, 40000 };
    const uint32_t sizes = test_scaled("sizes of ties_stay_cut", COUNT(size), 3, 2);

    if (!is_wanted(forms[_i].name)) return;
    clsample_ctx *ctx = open_form(_i);
    for (uint32_t s = 0; s < sizes; s++) {
        const uint32_t rules = s % 2 ? CLSAMPLE_RULES_VLLM : CLSAMPLE_RULES_TRANSFORMERS;
        const bool fits = check_ties(ctx, _i, size[s], 0.3f, 1, rules) &&
                          check_ties(ctx, _i, size[s], 0.95f, size[s] / 7 + 1, rules);
        if (!fits) printf("left out: %s with %u logits\n", forms[_i].name, (unsigned)size[s]);
    }
    clsample_destroy(ctx);
}
END_TEST

/* Programs of the samplers that came later, which need kernels of their own: known ones, then at random. */
static bool check_programs(clsample_ctx *ctx, int form, uint32_t vocab, test_shape shape, uint32_t count)
{
    float *x = test_alloc(vocab * sizeof *x);
    test_rng r = { 5000 + 10 * (uint64_t)vocab + shape };
    test_program program;
    bool fits = true;

    row_random(x, vocab, shape, rng_next(&r));
    for (uint32_t i = 0; fits && i < count; i++) {
        if (i % 2)
            program_random(&program, &r, vocab);
        else
            program_known(&program, (shape + 3 * i + vocab) % PROGRAM_KNOWN, vocab);
        fits = check_params(ctx, form, x, vocab, shape_name(shape), &program.p);
    }
    free(x);
    return fits;
}

START_TEST(every_form_and_program)
{
    static const uint32_t size[] = { 257, 1, 1000, 2049, 64, 255, 2048, 40000 };
    const uint32_t sizes = test_scaled("sizes of every_form_and_program", COUNT(size), 4, 1);
    const uint32_t shapes = test_scaled("shapes of every_form_and_program", 4, 3, 1);
    const uint32_t count = test_scaled("programs of every_form_and_program", 4, 1, 1);

    if (!is_wanted(forms[_i].name)) return;
    clsample_ctx *ctx = open_form(_i);
    for (uint32_t s = 0; s < sizes; s++) {
        for (uint32_t i = 0; i < shapes; i++) {
            const test_shape shape = (test_shape)((i + s + (uint32_t)_i) % SHAPE_COUNT);
            if (check_programs(ctx, _i, size[s], shape, count)) continue;
            printf("left out: %s with %u logits (%s)\n", forms[_i].name, (unsigned)size[s],
                   clsample_last_error()->message);
            break;
        }
    }
    clsample_destroy(ctx);
}
END_TEST

/* Rows with programs of their own, of which some fall back, through the calls on buffers: what is drawn, and
 * with a null output what is kept. */
static void check_batch(const char *form, uint32_t vocab)
{
    enum { ROWS = 6 };
    const uint32_t rows = test_scaled("rows of batch_in_every_form", ROWS, ROWS, 3);
    float *x = test_alloc(2 * ROWS * vocab * sizeof *x), *other = x + ROWS * vocab;
    float *masked = test_alloc(ROWS * vocab * sizeof *masked);
    bool *kept = test_alloc(vocab * sizeof *kept);
    test_program *programs = test_alloc(ROWS * sizeof *programs);
    clsample_params p[ROWS];
    clsample_result got[ROWS];

    for (uint32_t r = 0; r < rows; r++) {
        row_random(x + r * vocab, vocab, (test_shape)(r % SHAPE_COUNT), 70 + r);
        row_random(other + r * vocab, vocab, SHAPE_NORMAL, 80 + r);
        for (uint32_t i = 0; i < vocab && r % 3 == 1; i++)
            x[r * vocab + i] = -INFINITY;
        program_known(&programs[r], 2 * r + r / 3, vocab);
        p[r] = programs[r].p;
    }
    clsample_logits in = logits_of(dev_upload(x, rows * vocab * sizeof *x), CLSAMPLE_F32, rows, vocab);
    in.fallback = dev_upload(other, rows * vocab * sizeof *other);
    dev_draw(p, rows, &in, got);
    dev_filter(p, rows, &in, CLSAMPLE_MASKED_LOGITS, masked);
    for (uint32_t r = 0; r < rows; r++) {
        const clsample_result want = model_draw_fallback(x + r * vocab, other + r * vocab, vocab, &p[r]);
        REQUIRE(memcmp(&got[r], &want, sizeof want) == 0, "%s, row %u: token %d kept %u instead of %d %u",
                form, (unsigned)r, (int)got[r].token, (unsigned)got[r].kept, (int)want.token,
                (unsigned)want.kept);
        model_keep(x + r * vocab, vocab, &p[r], kept);
        for (uint32_t i = 0; i < vocab && want.status != CLSAMPLE_ROW_FALLBACK; i++)
            REQUIRE((masked[r * vocab + i] != -INFINITY) == kept[i], "%s, row %u: token %u", form,
                    (unsigned)r, (unsigned)i);
    }
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(in.fallback));
    free(programs);
    free(kept);
    free(masked);
    free(x);
}

START_TEST(batch_in_every_form)
{
    clsample_ctx *const own = dev.ctx;

    if (!is_wanted(forms[_i].name)) return;
    dev.ctx = open_form(_i);
    check_batch(forms[_i].name, test_scaled("logits of batch_in_every_form", 3001, 601, 70));
    clsample_destroy(dev.ctx);
    dev.ctx = own;
}
END_TEST

/* ---- Rows that mislead ---- */

/* The form for CPUs looks at every eighth tile of 256 logits, and at fewer of them in large rows, to guess
 * where a filter cuts. A wrong guess must cost no more than time. */
typedef enum misleading {
    SAMPLE_HIGHER, /* every eighth tile lies higher than the others, ... */
    SAMPLE_LOWER,  /* ... or lower, ... */
    SAMPLE_MASKED, /* ... or is masked, ... */
    SAMPLE_ALONE,  /* ... or all others are, ... */
    SAMPLE_EQUAL,  /* ... or consists of ties */
    CLUMPS,        /* thousands of ties at each of a few logits */
    SOME_NAN,
    FAR_BELOW_ONE, /* one token has most of the mass, the others lie 18 binary digits lower */
    TWO_HILLS,     /* half of the tokens far above the other half */
    MISLEADING_COUNT
} misleading;

static const char *const misleading_name[MISLEADING_COUNT] = {
    "higher sample", "lower sample", "masked sample", "lone sample", "equal sample",
    "clumps",        "some NaN",     "far below one", "two hills",
};

static float mislead(misleading kind, size_t i, double z)
{
    const bool sampled = i / 256 % 8 == 0;

    switch (kind) {
    case SAMPLE_HIGHER: return (float)(z + (sampled ? 1.0 : 0.0));
    case SAMPLE_LOWER: return (float)(z - (sampled ? 1.0 : 0.0));
    case SAMPLE_MASKED: return sampled ? -INFINITY : (float)z;
    case SAMPLE_ALONE: return sampled ? (float)z : -INFINITY;
    case SAMPLE_EQUAL: return sampled ? -0.25f : (float)z;
    case CLUMPS: return (float)floor(z);
    case SOME_NAN: return i % 1000 == 999 ? NAN : (float)z;
    case FAR_BELOW_ONE: return i == 7777 ? 13.0f : (float)(0.3 * z);
    default: return (float)(0.1 * z + (i % 2 ? 30.0 : 0.0));
    }
}

START_TEST(wrong_guesses)
{
    const uint32_t size[] = { test_scaled("logits of wrong_guesses", 30001, 30001, 9001), 300000 };
    static const test_setting cut[] = {
        { 1.0f, 0.0f, 0, 0.9f },     { 1.0f, 0.0f, 9000, 1.0f }, { 1.0f, 0.0f, 9000, 0.5f },
        { 0.7f, 0.001f, 0, 0.97f },  { 1.0f, 0.0f, 0, 0.5f },    { 1.0f, 0.0f, 0, 0.99999f },
        { 1.0f, 0.0f, 25000, 0.9f },
    };
    const uint32_t sizes = test_scaled("sizes of wrong_guesses", COUNT(size), 1, 1);
    const uint32_t kinds = test_scaled("kinds of wrong_guesses", MISLEADING_COUNT, MISLEADING_COUNT, 1);
    const uint32_t sets = test_scaled("settings of wrong_guesses", COUNT(cut), 3, 2);

    if (!is_wanted(forms[_i].name)) return;
    clsample_ctx *ctx = open_form(_i);
    bool fits = true;
    for (uint32_t s = 0; fits && s < sizes; s++) {
        float *x = test_alloc(size[s] * sizeof *x);
        for (uint32_t kind = 0; fits && kind < kinds; kind += s == 0 ? 1 : 3) {
            test_rng r = { 77 };
            for (size_t i = 0; i < size[s]; i++)
                x[i] = mislead((misleading)kind, i, rng_normal(&r));
            for (uint32_t i = 0; fits && i < (s == 0 ? sets : 2); i++) {
                const size_t c = (kind + i * (COUNT(cut) / sets)) % COUNT(cut);
                fits =
                    check_draw(ctx, _i, x, size[s], misleading_name[kind], &cut[c], (uint32_t)(c + kind) % 4);
            }
        }
        if (!fits)
            printf("left out: %s with %u logits (%s)\n", forms[_i].name, (unsigned)size[s],
                   clsample_last_error()->message);
        free(x);
    }
    clsample_destroy(ctx);
}
END_TEST

/* ---- What the choice reads in the form for GPUs ---- */

/* Linked with --wrap: the choice gets these logits in the place of its own, unless null. */
static cl_mem choice_logits;

cl_int __real_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                     const size_t *offset, const size_t *global, const size_t *local,
                                     cl_uint n_wait, const cl_event *wait_list, cl_event *event);
cl_int __wrap_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                     const size_t *offset, const size_t *global, const size_t *local,
                                     cl_uint n_wait, const cl_event *wait_list, cl_event *event);

cl_int __wrap_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                     const size_t *offset, const size_t *global, const size_t *local,
                                     cl_uint n_wait, const cl_event *wait_list, cl_event *event)
{
    char name[32] = "";

    clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    if (choice_logits && strcmp(name, "cls_choice") == 0)
        ck_cl(clSetKernelArg(kernel, 0, sizeof choice_logits, &choice_logits));
    return __real_clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local, n_wait, wait_list,
                                         event);
}

/* A draw without filters has the sums of all blocks from the summary: of the logits it needs the tile of the
 * largest and the block of the token. What it gets are these tiles among NaN; on a simulator, which reports a
 * read beyond the end, nothing behind the last one. */
START_TEST(bare_draw_reads_little)
{
    enum { VOCAB = 5000, TILE = 256 };
    const bool ends = _i == 1; /* nearly all the mass is in the first tile */
    float *x = test_alloc(VOCAB * sizeof *x), *seen = test_alloc(VOCAB * sizeof *seen);
    const clsample_logits in = logits_of(NULL, CLSAMPLE_F32, 1, VOCAB);
    clsample_params p = params_of(0.9f, 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);
    size_t largest = 0, end = VOCAB;
    clsample_options options = test_options();
    clsample_ctx *ctx = NULL;
    clsample_result got;

    if (!is_wanted("groups-64")) {
        free(x);
        free(seen);
        return;
    }
    options.flags |= CLSAMPLE_FORCE_GROUPS;
    options.work_group = 64;
    ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
    row_random(x, VOCAB, SHAPE_FLAT, 31);
    for (size_t i = 0; i < VOCAB; i++) {
        if (ends && i >= TILE) x[i] -= 30.0f;
        if (x[i] > x[largest]) largest = i;
    }
    const clsample_result want = model_draw(x, VOCAB, &p);
    for (size_t i = 0; i < VOCAB; i++) {
        const bool needed = i / TILE == largest / TILE || i / TILE == (size_t)want.token / TILE;
        seen[i] = needed ? x[i] : NAN;
        if (needed && ends && dev.speed == SPEED_SIMULATED) end = i + 1;
    }
    choice_logits = dev_upload(seen, end * sizeof *seen);
    const clsample_status st = clsample_sample(ctx, &p, 1, &in, x, &got);
    ck_cl(clReleaseMemObject(choice_logits));
    choice_logits = NULL;
    ck_ok(st);
    ck_assert_msg(memcmp(&got, &want, sizeof got) == 0, "token %d logprob %a kept %u instead of %d %a %u",
                  (int)got.token, (double)got.logprob, (unsigned)got.kept, (int)want.token,
                  (double)want.logprob, (unsigned)want.kept);
    clsample_destroy(ctx);
    free(seen);
    free(x);
}
END_TEST

static Suite *forms_suite(void)
{
    Suite *suite = suite_create("forms");
    TCase *t = tcase_create("model");

    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, every_form, 0, (int)COUNT(forms));
    tcase_add_loop_test(t, ties_stay_cut, 0, (int)COUNT(forms));
    tcase_add_loop_test(t, every_form_and_program, 0, (int)COUNT(forms));
    tcase_add_loop_test(t, batch_in_every_form, 0, (int)COUNT(forms));
    tcase_add_loop_test(t, wrong_guesses, 0, (int)COUNT(forms));
    tcase_add_loop_test(t, bare_draw_reads_little, 0, 2);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(forms_suite);
}
