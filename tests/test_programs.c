/* SPDX-License-Identifier: Apache-2.0 */
/* Bias and bans, top-n-sigma, typical, and orders of the caller's own: known answers, what published
 * implementations keep, and random programs on random rows against the model and the reference. */
#include "common.h"
#include "comparing.h"
#include "golden_samplers.h"
#include "model.h"
#include "programs.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_same(const clsample_result *got, const clsample_result *want, const char *what)
{
    REQUIRE(memcmp(got, want, sizeof *got) == 0,
            "%s: token %d status %u logprob %a kept %u instead of %d %u %a %u", what, (int)got->token,
            (unsigned)got->status, (double)got->logprob, (unsigned)got->kept, (int)want->token,
            (unsigned)want->status, (double)want->logprob, (unsigned)want->kept);
}

/* ---- Known answers: what is kept ---- */

enum { MOST = 8 };
#define ALL 0xffu
#define M (-INFINITY)

/* One sampler alone; `kept` has a bit for each id. */
static const struct {
    const char *what;
    uint32_t vocab;
    float x[MOST], typical_p, top_n_sigma;
    uint32_t kept;
} known[] = {
    { "typical, all equal", 5, { 1, 1, 1, 1, 1 }, 0.3f, 0, 0x1f },
    { "typical, one token", 1, { 2 }, 0.5f, 0, 1 },
    { "typical, one that is finite", 3, { M, 1, M }, 0.3f, 0, 2 },
    { "typical, +inf", 4, { INFINITY, 0, INFINITY, 1 }, 0.1f, 0, 5 },
    /* Probabilities 0.3, 0.1 ...: entropy 1.973, surprisals 1.204 and 2.303. */
    { "typical, the most probable goes", 8, { 1.0986123f, 0, 0, 0, 0, 0, 0, 0 }, 0.5f, 0, 0xfe },
    { "typical, but not if its mass is needed", 8, { 1.0986123f, 0, 0, 0, 0, 0, 0, 0 }, 0.71f, 0, ALL },
    { "typical, NaN is masked", 8, { 1.0986123f, NAN, 0, 0, 0, 0, 0, 0 }, 0.4f, 0, 0xfc },
    /* Probabilities 0.731 and 0.269: surprisals 0.313 and 1.313 about 0.582. */
    { "typical, one of two", 2, { 0, 1 }, 0.7f, 0, 2 },
    { "typical, both of two", 2, { 0, 1 }, 0.8f, 0, 3 },
    { "typical, least mass", 2, { 0, 1 }, 1e-30f, 0, 2 },
    { "sigma, all equal", 5, { 0.3f, 0.3f, 0.3f, 0.3f, 0.3f }, 1, 1, 0x1f },
    { "sigma, one token", 1, { -7 }, 1, 0.5f, 1 },
    { "sigma, one that is finite", 3, { M, 1, M }, 1, 0.5f, 2 },
    { "sigma, +inf", 4, { INFINITY, 0, INFINITY, 1 }, 1, 1, 5 },
    /* The population's deviation is 0.8165; the sample's 1, and 0 or all tokens counted in another yet. */
    { "sigma of the population", 3, { 1, 0, -1 }, 1, 2.1f, 3 },
    { "sigma without what is masked", 8, { 1, 0, -1, M, M, NAN, M, M }, 1, 2.1f, 3 },
    { "sigma, all of it", 8, { 1, 0, -1, M, M, NAN, M, M }, 1, 2.5f, 7 },
    { "sigma, the threshold itself stays", 2, { 1, -1 }, 1, 2, 3 },
    { "sigma, above the threshold", 2, { 1, -1 }, 1, 1.999f, 1 },
    { "sigma, ties of the largest", 4, { 0, 2, 1, 2 }, 1, 1e-30f, 10 },
    { "sigma, all tokens", 4, { -FLT_MAX, 2, 1, FLT_MAX }, 1, FLT_MAX, 15 },
    { "sigma, half the floats", 2, { -FLT_MAX, FLT_MAX }, 1, 1, 2 },
    { "sigma, all floats", 2, { -FLT_MAX, FLT_MAX }, 1, 2, 3 },
    { "sigma 0", 3, { 1, 0, -1 }, 1, 0, 7 },
    { "sigma below 0", 3, { 1, 0, -1 }, 1, -1, 7 },
};

START_TEST(known_sets)
{
    const uint32_t vocab = known[_i].vocab;
    float masked[MOST];
    clsample_params p = params_of(1.0f, 0.0f, 0, 1.0f, (uint32_t)_i % 4);
    clsample_result drawn;
    uint32_t kept = 0;

    p.typical_p = known[_i].typical_p;
    p.top_n_sigma = known[_i].top_n_sigma;
    host_filter(&p, 1, known[_i].x, 1, vocab, CLSAMPLE_MASKED_LOGITS, masked);
    for (uint32_t i = 0; i < vocab; i++)
        kept |= masked[i] != -INFINITY ? 1u << i : 0;
    ck_assert_msg(kept == known[_i].kept, "%s: ids 0x%x instead of 0x%x", known[_i].what, (unsigned)kept,
                  (unsigned)known[_i].kept);
    host_draw(&p, 1, known[_i].x, 1, vocab, &drawn);
    const clsample_result want = model_draw(known[_i].x, vocab, &p);
    check_same(&drawn, &want, known[_i].what);
}
END_TEST

/* An interval with ties at both ends. Weights 8, 3 (three times), 1 (20 times), 0.001: the mean of the
 * logits is 0.715, so that the distances are 1.364, 0.384, 0.715 and 7.6. */
START_TEST(typical_between_ties)
{
    static const struct {
        float p;
        uint32_t count;
        bool first; /* the most probable token stays */
    } want[] = { { 0.2f, 3, false }, { 0.5f, 23, false }, { 0.79f, 24, true }, { 0.99999f, 25, true } };
    clsample_params p = params_default();
    float x[25], masked[25];

    for (uint32_t i = 0; i < 25; i++)
        x[i] = i % 8 == 1 && i < 24 ? logf(3.0f) : i == 7 ? logf(8.0f) : i == 11 ? logf(0.001f) : 0.0f;
    for (size_t i = 0; i < COUNT(want); i++) {
        p.typical_p = want[i].p;
        host_filter(&p, 1, x, 1, 25, CLSAMPLE_MASKED_LOGITS, masked);
        ck_assert_uint_eq(count_kept(masked, 25), want[i].count);
        ck_assert_int_eq(masked[7] != -INFINITY, want[i].first);
        ck_assert(masked[1] == x[1] && masked[9] == x[9] && masked[17] == x[17]);
    }
}
END_TEST

/* ---- Known answers: edits ---- */

enum { TOKENS = 4 };

static const struct {
    const char *what;
    float x[TOKENS];
    uint32_t n_bias, n_banned;
    clsample_bias bias[5];
    int32_t banned[5];
    float want[TOKENS]; /* as the filter alone writes them */
    uint32_t status;
} edited[] = {
    { "added", { 1, 2, 3, 4 }, 1, 0, { { 1, 0.5f } }, { 0 }, { 1, 2.5f, 3, 4 }, CLSAMPLE_ROW_OK },
    { "rounded once",
      { 16777216.0f, 0.1f, 3, 4 },
      2,
      0,
      { { 0, 1 }, { 1, 0.2f } },
      { 0 },
      { 16777216.0f, 0.1f + 0.2f, 3, 4 },
      CLSAMPLE_ROW_OK },
    { "twice", { 1, 2, 3, 4 }, 3, 0, { { 1, 1 }, { 2, 9 }, { 1, 0.5f } }, { 0 }, { 1, 3.5f, 12, 4 }, 0 },
    { "to nothing", { 1, 5, 3, 4 }, 1, 0, { { 1, -5 } }, { 0 }, { 1, 0, 3, 4 }, 0 },
    { "on masked tokens",
      { M, NAN, 1, 0 },
      4,
      0,
      { { 0, 5 }, { 1, 5 }, { 2, 5 }, { 3, 5 } },
      { 0 },
      { M, M, 6, 5 },
      CLSAMPLE_ROW_NAN_IGNORED },
    { "on +inf", { INFINITY, 2, 3, 4 }, 1, 0, { { 0, -9 } }, { 0 }, { INFINITY, M, M, M }, 0 },
    { "-inf on +inf", { INFINITY, 2, 3, 4 }, 1, 0, { { 0, M } }, { 0 }, { M, 2, 3, 4 }, 0 },
    { "ban of +inf", { INFINITY, 2, 3, 4 }, 0, 1, { { 0, 0 } }, { 0 }, { M, 2, 3, 4 }, 0 },
    { "ban beats bias", { 1, 2, 3, 4 }, 1, 1, { { 1, 100 } }, { 1 }, { 1, M, 3, 4 }, 0 },
    { "ban twice", { 1, 2, 3, 4 }, 0, 2, { { 0, 0 } }, { 3, 3 }, { 1, 2, 3, M }, 0 },
    { "-inf, then more", { 1, 2, 3, 4 }, 2, 0, { { 1, M }, { 1, 5 } }, { 0 }, { 1, M, 3, 4 }, 0 },
    { "more, then -inf", { 1, 2, 3, 4 }, 2, 0, { { 1, 5 }, { 1, M } }, { 0 }, { 1, M, 3, 4 }, 0 },
    { "beyond the floats",
      { 3e38f, -3e38f, 0, 0 },
      2,
      0,
      { { 0, 3e38f }, { 1, -3e38f } },
      { 0 },
      { FLT_MAX, -FLT_MAX, 0, 0 },
      0 },
    { "biases beyond the floats",
      { 0, 0, 0, 0 },
      4,
      0,
      { { 0, 3e38f }, { 1, -3e38f }, { 0, 3e38f }, { 1, -3e38f } },
      { 0 },
      { FLT_MAX, -FLT_MAX, 0, 0 },
      0 },
    { "ban of everything", { 1, 2, 3, 4 }, 0, 4, { { 0, 0 } }, { 3, 1, 0, 2 }, { M, M, M, M }, 2 },
    { "ban of all that is left", { M, 2, NAN, 4 }, 1, 1, { { 3, M } }, { 1 }, { M, M, M, M }, 2 },
    { "last token", { 1, 2, 3, 4 }, 1, 1, { { 3, 1 } }, { 0 }, { M, 2, 3, 5 }, 0 },
};

START_TEST(known_edits)
{
    float masked[TOKENS];
    clsample_params p = params_default();
    clsample_result drawn, greedy;
    uint32_t kept = 0;
    int32_t best = CLSAMPLE_NO_TOKEN;

    p.bias = edited[_i].bias;
    p.n_bias = edited[_i].n_bias;
    p.banned = edited[_i].banned;
    p.n_banned = edited[_i].n_banned;
    host_filter(&p, 1, edited[_i].x, 1, TOKENS, CLSAMPLE_MASKED_LOGITS, masked);
    for (int32_t i = 0; i < TOKENS; i++) {
        ck_assert_msg(masked[i] == edited[_i].want[i], "%s: logit %d is %a", edited[_i].what, (int)i,
                      (double)masked[i]);
        kept += masked[i] != M;
        if (masked[i] != M && (best < 0 || masked[i] > masked[best])) { best = i; }
    }
    host_draw(&p, 1, edited[_i].x, 1, TOKENS, &drawn);
    ck_assert_msg(drawn.status == edited[_i].status && drawn.kept == kept, "%s: status %u, %u kept",
                  edited[_i].what, (unsigned)drawn.status, (unsigned)drawn.kept);
    const clsample_result want = model_draw(edited[_i].x, TOKENS, &p);
    check_same(&drawn, &want, edited[_i].what);
    p.temperature = 0.0f;
    host_draw(&p, 1, edited[_i].x, 1, TOKENS, &greedy);
    ck_assert_msg(greedy.token == best && greedy.status == edited[_i].status, "%s: greedy %d, status %u",
                  edited[_i].what, (int)greedy.token, (unsigned)greedy.status);
}
END_TEST

/* ---- Fallback ---- */

/* What is banned stays banned there and bias counts, but no filter does; without bans the row's own logits
 * would do. */
START_TEST(bans_hold_in_the_fallback)
{
    enum { ROWS = 4, VOCAB = 100 };
    static const uint32_t status[ROWS] = { CLSAMPLE_ROW_OK, CLSAMPLE_ROW_FALLBACK, CLSAMPLE_ROW_FALLBACK,
                                           CLSAMPLE_ROW_NO_TOKEN };
    const uint32_t steps = test_scaled("steps of bans_hold_in_the_fallback", 30, 2, 1);
    float x[ROWS * VOCAB], other[ROWS * VOCAB], masked[ROWS * VOCAB];
    clsample_params p[ROWS];
    clsample_result got[ROWS];
    test_program program;

    program_known(&program, 3, VOCAB);
    for (int32_t id = 0; id < 40; id++)
        program_ban(&program, id);
    for (uint32_t i = 0; i < ROWS * VOCAB; i++) {
        /* All that row 1 has is banned, row 2 has nothing; neither has 3, nor its fallback. */
        x[i] = i / VOCAB == 0 || (i / VOCAB == 1 && i % VOCAB < 40) ? 0.01f * (float)(i % 37) : M;
        other[i] = i / VOCAB == 3 && i % VOCAB >= 40 ? M : 0.1f * (float)(i % 23);
    }
    clsample_logits in = logits_of(dev_upload(x, sizeof x), CLSAMPLE_F32, ROWS, VOCAB);
    in.fallback = dev_upload(other, sizeof other);
    for (uint32_t step = 0; step < steps; step++) {
        for (uint32_t r = 0; r < ROWS; r++) {
            p[r] = program.p;
            p[r].step = step;
            p[r].stream = r;
        }
        dev_draw(p, ROWS, &in, got);
        for (uint32_t r = 0; r < ROWS; r++) {
            const clsample_result want = model_draw_fallback(x + r * VOCAB, other + r * VOCAB, VOCAB, &p[r]);
            ck_assert_uint_eq(got[r].status, status[r]);
            ck_assert(got[r].token >= 40 || r == 3);
            check_same(&got[r], &want, "fallback");
        }
    }
    dev_filter(&program.p, 1, &in, CLSAMPLE_MASKED_LOGITS, masked);
    ref_edit(&program.p, other + VOCAB);
    check_values(other + VOCAB, masked + VOCAB, VOCAB, program.p.temperature, "fallback");
    for (uint32_t i = 0; i < VOCAB; i++)
        ck_assert((masked[VOCAB + i] == M) == (other[VOCAB + i] == M));
    ck_cl(clReleaseMemObject(in.mem));
    ck_cl(clReleaseMemObject(in.fallback));
}
END_TEST

/* ---- Orders ---- */

/* Weights 4, 3, 2, 1, or 8, 1, 1, of which an order keeps so many. */
static const struct {
    const char *what;
    bool eight;
    float temperature;
    uint32_t top_k;
    float top_p;
    uint8_t order[3];
    uint32_t kept;
} orders[] = {
    { "top-k, top-p", false, 1.0f, 3, 0.75f, { CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_TOP_P }, 2 },
    { "top-p, top-k", false, 1.0f, 3, 0.75f, { CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_TOP_K }, 3 },
    { "top-p, temperature",
      true,
      3.0f,
      0,
      0.7f,
      { CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_TEMPERATURE },
      1 },
    { "temperature, top-p",
      true,
      3.0f,
      0,
      0.7f,
      { CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_TOP_P },
      2 },
};

START_TEST(order_counts)
{
    float x[4] = { logf(3.0f), logf(1.0f), logf(4.0f), logf(2.0f) };
    clsample_params p =
        params_of(orders[_i].temperature, 0.0f, orders[_i].top_k, orders[_i].top_p, CLSAMPLE_RULES_VLLM);
    clsample_result drawn;

    if (orders[_i].eight) {
        x[0] = logf(1.0f);
        x[2] = logf(8.0f);
        x[3] = M;
    }
    memcpy(p.order, orders[_i].order, sizeof orders[_i].order);
    host_draw(&p, 1, x, 1, 4, &drawn);
    ck_assert_msg(drawn.kept == orders[_i].kept, "%s: %u kept", orders[_i].what, (unsigned)drawn.kept);
}
END_TEST

static void order_of_rules(clsample_params *p)
{
    const clsample_sampler_entry *e;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        if (e->place[p->rules]) { p->order[e->place[p->rules] - 1] = (uint8_t)e->sampler; }
}

/* The order of the rules, spelled out, gives the same bits. */
START_TEST(order_of_the_rules)
{
    enum { MOST_LOGITS = 700 };
    const uint32_t vocab = test_scaled("logits of order_of_the_rules", MOST_LOGITS, MOST_LOGITS, 70);
    float x[MOST_LOGITS], masked[2][MOST_LOGITS];
    clsample_result drawn[2];

    row_random(x, vocab, SHAPE_NORMAL, 12);
    for (uint32_t rules = 0; rules < 4; rules++) {
        clsample_params p = params_of(0.8f, 0.01f, 300, 0.95f, rules);
        p.typical_p = 0.9f;
        p.top_n_sigma = 2.5f;
        for (size_t i = 0; i < 2; i++) {
            host_draw(&p, 1, x, 1, vocab, &drawn[i]);
            host_filter(&p, 1, x, 1, vocab, CLSAMPLE_MASKED_LOGITS, masked[i]);
            order_of_rules(&p);
        }
        check_same(&drawn[1], &drawn[0], "the rules' order");
        ck_assert_mem_eq(masked[0], masked[1], vocab * sizeof *masked[0]);
    }
}
END_TEST

/* Top-n-sigma is about the logits as they are: temperature before or after it changes nothing. */
START_TEST(sigma_before_or_after_temperature)
{
    enum { VOCAB = 300 };
    static const uint8_t order[2][2] = { { CLSAMPLE_SAMPLER_TOP_N_SIGMA, CLSAMPLE_SAMPLER_TEMPERATURE },
                                         { CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_TOP_N_SIGMA } };
    float x[VOCAB];
    clsample_params p = params_of(0.37f, 0.0f, 0, 1.0f, CLSAMPLE_RULES_SEED);
    clsample_result drawn[2];

    p.top_n_sigma = 1.3f;
    row_random(x, VOCAB, SHAPE_PEAKY, 77);
    for (size_t i = 0; i < 2; i++) {
        memcpy(p.order, order[i], sizeof order[i]);
        host_draw(&p, 1, x, 1, VOCAB, &drawn[i]);
    }
    check_same(&drawn[1], &drawn[0], "top-n-sigma after temperature");
}
END_TEST

/* ---- Wrong parameters ---- */

static void check_refused(const clsample_params *p, const char *name, const char *allowed)
{
    static const float x[TOKENS];
    const clsample_logits in = logits_of(NULL, CLSAMPLE_F32, 1, TOKENS);
    const clsample_error *e = clsample_last_error();
    clsample_result drawn = { 0, 0, 0.0f, 0 };

    ck_assert_msg(clsample_sample(dev.ctx, p, 1, &in, x, &drawn) == CLSAMPLE_E_ARGUMENT, "%s: taken", name);
    ck_assert_int_eq(e->status, CLSAMPLE_E_ARGUMENT);
    ck_assert_msg(strstr(e->message, name) && strstr(e->message, allowed), "no \"%s\" and \"%s\" in: %s",
                  name, allowed, e->message);
}

START_TEST(wrong_edits)
{
    static const struct {
        clsample_bias bias;
        int32_t banned;
        const char *name, *allowed;
    } wrong[] = {
        { { -1, 1 }, 0, "bias[1].id is -1", "3" },
        { { 4, 1 }, 0, "bias[1].id is 4", "3" },
        { { INT32_MAX, 1 }, 0, "bias[1].id is 2147483647", "3" },
        { { 1, NAN }, 0, "bias[1].add is ", "finite" },
        { { 1, INFINITY }, 0, "bias[1].add is inf", "finite" },
        { { 1, 1 }, -1, "banned[1] is -1", "3" },
        { { 1, 1 }, 4, "banned[1] is 4", "3" },
    };
    clsample_bias bias[2] = { { 0, 1 }, { 0, 1 } };
    int32_t banned[2] = { 0, 0 };
    clsample_params p = params_default();

    for (size_t i = 0; i < COUNT(wrong); i++) {
        bias[1] = wrong[i].bias;
        banned[1] = wrong[i].banned;
        p.bias = bias;
        p.banned = banned;
        p.n_bias = p.n_banned = 2;
        check_refused(&p, wrong[i].name, wrong[i].allowed);
    }
    p.n_bias = CLSAMPLE_MAX_EDITS;
    p.n_banned = 1;
    check_refused(&p, "n_bias", "1048576");
    p.n_bias = p.n_banned = 0xffffffffu;
    check_refused(&p, "n_bias", "1048576");
    p.n_bias = p.n_banned = 1;
    p.bias = NULL;
    check_refused(&p, "bias is NULL", "1 elements");
    p.n_bias = 0;
    p.banned = NULL;
    check_refused(&p, "banned is NULL", "1 elements");
}
END_TEST

START_TEST(wrong_numbers)
{
    static const struct {
        float typical_p, top_n_sigma;
        const char *name, *allowed;
    } wrong[] = {
        { 0, 0, "typical_p is 0", "at most 1" },           { -1, 0, "typical_p is -1", "at most 1" },
        { 1.0000001f, 0, "typical_p is 1", "at most 1" },  { NAN, 0, "typical_p is ", "at most 1" },
        { 1, NAN, "top_n_sigma is ", "finite" },           { 1, INFINITY, "top_n_sigma is inf", "finite" },
        { 1, -INFINITY, "top_n_sigma is -inf", "finite" },
    };
    clsample_params p = params_default();

    for (size_t i = 0; i < COUNT(wrong); i++) {
        p.typical_p = wrong[i].typical_p;
        p.top_n_sigma = wrong[i].top_n_sigma;
        check_refused(&p, wrong[i].name, wrong[i].allowed);
    }
}
END_TEST

/* All samplers that an order can name are on. */
static clsample_params all_on(void)
{
    clsample_params p = params_of(0.5f, 0.1f, 2, 0.9f, CLSAMPLE_RULES_SEED);

    p.typical_p = 0.9f;
    p.top_n_sigma = 2.0f;
    return p;
}

START_TEST(wrong_orders)
{
    static const struct {
        uint8_t order[3];
        const char *name, *allowed;
    } wrong[] = {
        { { 99 }, "order[0] is 99", "clsample_sampler" },
        { { CLSAMPLE_SAMPLER_TOP_K, 255 }, "order[1] is 255", "clsample_sampler" },
        { { CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_BIAS }, "order[1] is 7", "no edit" },
        { { CLSAMPLE_SAMPLER_BANNED }, "order[0] is 8", "no edit" },
        { { CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_TOP_K },
          "order names top_k twice",
          "once" },
    };
    const clsample_sampler_entry *e;
    clsample_params p = params_default();

    for (size_t i = 0; i < COUNT(wrong); i++) {
        memset(p.order, 0, sizeof p.order);
        memcpy(p.order, wrong[i].order, sizeof wrong[i].order);
        check_refused(&p, wrong[i].name, wrong[i].allowed);
    }
    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++) {
        size_t at = 0;

        if (e->kind == CLSAMPLE_KIND_EDIT) { continue; }
        p = all_on();
        order_of_rules(&p);
        at = (size_t)((uint8_t *)memchr(p.order, (int)e->sampler, sizeof p.order) - p.order);
        memmove(p.order + at, p.order + at + 1, sizeof p.order - at - 1);
        check_refused(&p, e->name, "leaves out");
    }
}
END_TEST

/* What an order need not name, and what comes behind its end. */
START_TEST(good_orders)
{
    static const float x[TOKENS] = { 1, 2, 3, 4 };
    static const uint8_t after[] = { CLSAMPLE_SAMPLER_TOP_K, 0, 99, 99 };
    clsample_params p = params_of(1.0f, 0.0f, 2, 1.0f, CLSAMPLE_RULES_SEED);
    clsample_result drawn;

    memcpy(p.order, after, sizeof after);
    host_draw(&p, 1, x, 1, TOKENS, &drawn);
    ck_assert_uint_eq(drawn.kept, 2);
    p = params_default();
    p.order[0] = CLSAMPLE_SAMPLER_TYPICAL_P; /* which is off */
    host_draw(&p, 1, x, 1, TOKENS, &drawn);
    ck_assert_uint_eq(drawn.kept, 4);
    p = params_default();
    p.temperature = 0.0f;
    p.order[0] = CLSAMPLE_SAMPLER_TEMPERATURE;
    host_draw(&p, 1, x, 1, TOKENS, &drawn);
    ck_assert_int_eq(drawn.token, 3);
}
END_TEST

/* ---- Random programs ---- */

/* Which tokens the filter alone keeps, against the model. */
static void check_masked(const float *x, uint32_t vocab, const clsample_params *p, const float *masked,
                         const char *what)
{
    bool *kept = test_alloc(vocab * sizeof *kept);

    model_keep(x, vocab, p, kept);
    for (uint32_t i = 0; i < vocab; i++)
        REQUIRE((masked[i] != -INFINITY) == kept[i], "%s: token %lu is %s", what, (unsigned long)i,
                kept[i] ? "missing" : "kept");
    free(kept);
}

/* Rows in one batch, each with a program of its own, against the model to the bit and the reference. */
static void check_batch(const float *x, uint32_t rows, uint32_t vocab, const test_program *programs,
                        const char *what)
{
    clsample_params *p = test_alloc(rows * sizeof *p);
    char text[600];

    for (uint32_t r = 0; r < rows; r++)
        p[r] = programs[r].p;
    outcome o = run_rows(p, x, rows, vocab);
    for (uint32_t r = 0; r < rows; r++) {
        const float *row = x + (size_t)r * vocab, *masked = o.masked + (size_t)r * vocab;
        const clsample_result want = model_draw(row, vocab, &p[r]);

        snprintf(text, sizeof text, "%s, row %lu of %lu logits, %s", what, (unsigned long)r,
                 (unsigned long)vocab, program_text(&p[r]));
        check_same(&o.results[r], &want, text);
        check_masked(row, vocab, &p[r], masked, text);
        if (want.status == CLSAMPLE_ROW_OK) { check_row(row, vocab, &p[r], &o, r, text); }
    }
    outcome_free(&o);
    free(p);
}

/* A row of each shape. */
START_TEST(random_programs)
{
    static const uint32_t sizes[] = { 1, 64, 257, 65, 256, 63, 255, 4097, 16385, 262144 };
    const uint32_t vocab = sizes[_i];
    const uint32_t rows = vocab > 100000 ? test_scaled("large rows of random_programs", 3, 1, 1)
                          : vocab > 4000 ? test_scaled("rows of random_programs", 14, 2, 1)
                                         : test_scaled("small rows of random_programs", 28, 7, 2);
    float *x = test_alloc((size_t)rows * vocab * sizeof *x);
    test_program *programs = test_alloc(rows * sizeof *programs);
    test_rng r = { 6000u + (uint64_t)_i };
    char what[40];

    for (uint32_t i = 0; i < rows; i++) {
        row_random(x + (size_t)i * vocab, vocab, (test_shape)((i + (uint32_t)_i) % SHAPE_COUNT),
                   rng_next(&r));
        program_random(&programs[i], &r, vocab);
    }
    snprintf(what, sizeof what, "seed %d", 6000 + _i);
    check_batch(x, rows, vocab, programs, what);
    free(programs);
    free(x);
}
END_TEST

/* Many small rows: more boundaries for the price. */
START_TEST(random_small_rows)
{
    enum { ROWS = 64 };
    const uint32_t rows = test_scaled("rows of random_small_rows", ROWS, ROWS, 8);
    test_rng r = { 8000u + (uint64_t)_i };
    const uint32_t vocab = 1 + rng_below(&r, test_scaled("logits of random_small_rows", 700, 300, 130));
    float *x = test_alloc(rows * vocab * sizeof *x);
    test_program *programs = test_alloc(rows * sizeof *programs);
    char what[40];

    for (uint32_t i = 0; i < rows; i++) {
        row_random(x + i * vocab, vocab, (test_shape)rng_below(&r, SHAPE_COUNT), rng_next(&r));
        program_random(&programs[i], &r, vocab);
    }
    snprintf(what, sizeof what, "seed %d", 8000 + _i);
    check_batch(x, rows, vocab, programs, what);
    free(programs);
    free(x);
}
END_TEST

/* One program with edits for all rows of a batch: row r draws with stream + r. */
START_TEST(one_program_for_all)
{
    enum { ROWS = 9, VOCAB = 333 };
    const uint32_t rows = test_scaled("rows of one_program_for_all", ROWS, ROWS, 2);
    float x[ROWS * VOCAB];
    clsample_result got[ROWS];
    test_program program;

    program_known(&program, _i ? 3 : 6, VOCAB);
    program.p.stream = 0xfffffffeu;
    for (uint32_t r = 0; r < rows; r++)
        row_random(x + r * VOCAB, VOCAB, (test_shape)(r % SHAPE_COUNT), 50 + r);
    host_draw(&program.p, 1, x, rows, VOCAB, got);
    for (uint32_t r = 0; r < rows; r++) {
        const clsample_result want = model_draw(x + r * VOCAB, VOCAB, &program.p);
        check_same(&got[r], &want, "one program");
        program.p.stream++;
    }
}
END_TEST

/* As many biases as a request may bring, in no order, and each token's more than once. */
START_TEST(many_edits)
{
    const uint32_t vocab = test_scaled("logits of many_edits", 128256, 4000, 300), n = vocab / 40;
    float *x = test_alloc(vocab * sizeof *x);
    clsample_bias *bias = test_alloc(n * sizeof *bias);
    int32_t *banned = test_alloc(n * sizeof *banned);
    clsample_params p = params_of(0.9f, 0.0f, 0, 0.97f, CLSAMPLE_RULES_TRANSFORMERS);
    test_rng r = { 4711 };
    clsample_result drawn;

    row_random(x, vocab, SHAPE_NORMAL, 99);
    for (uint32_t i = 0; i < n; i++) {
        bias[i] = (clsample_bias){ (int32_t)rng_below(&r, i % 2 ? vocab : 64), (float)rng_normal(&r) };
        banned[i] = (int32_t)rng_below(&r, vocab);
    }
    p.bias = bias;
    p.banned = banned;
    p.n_bias = p.n_banned = n;
    for (p.step = 0; p.step < (dev.speed == SPEED_SIMULATED ? 1 : 2); p.step++) {
        const clsample_result want = model_draw(x, vocab, &p);
        host_draw(&p, 1, x, 1, vocab, &drawn);
        check_same(&drawn, &want, "many edits");
    }
    free(banned);
    free(bias);
    free(x);
}
END_TEST

static Suite *make(void)
{
    Suite *s = suite_create("programs");
    TCase *t = tcase_create("known"), *wrong = tcase_create("wrong"), *random = tcase_create("random");

    tcase_add_loop_test(t, known_sets, 0, (int)COUNT(known));
    tcase_add_test(t, typical_between_ties);
    tcase_add_loop_test(t, known_edits, 0, (int)COUNT(edited));
    tcase_add_test(t, bans_hold_in_the_fallback);
    tcase_add_loop_test(t, order_counts, 0, (int)COUNT(orders));
    tcase_add_test(t, order_of_the_rules);
    tcase_add_test(t, sigma_before_or_after_temperature);
    suite_add_tcase(s, t);
    tcase_add_test(wrong, wrong_edits);
    tcase_add_test(wrong, wrong_numbers);
    tcase_add_test(wrong, wrong_orders);
    tcase_add_test(wrong, good_orders);
    suite_add_tcase(s, wrong);
    suite_add_tcase(s, golden_samplers());
    tcase_add_unchecked_fixture(random, NULL, print_seen);
    tcase_add_loop_test(random, random_programs, 0, (int)test_scaled("sizes of random_programs", 10, 9, 3));
    tcase_add_loop_test(random, random_small_rows, 0, (int)test_scaled("random_small_rows", 30, 2, 1));
    tcase_add_loop_test(random, one_program_for_all, 0,
                        (int)test_scaled("programs of one_program_for_all", 2, 2, 1));
    tcase_add_test(random, many_edits);
    suite_add_tcase(s, random);
    return s;
}

int main(void)
{
    return test_main(make);
}
