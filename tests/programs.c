/* SPDX-License-Identifier: Apache-2.0 */
#include "programs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void program_begin(test_program *program)
{
    program->p = params_default();
    program->p.bias = program->bias;
    program->p.banned = program->banned;
}

void program_add_bias(test_program *program, int32_t id, float add)
{
    ck_assert_uint_lt(program->p.n_bias, PROGRAM_EDITS);
    program->bias[program->p.n_bias++] = (clsample_bias){ id, add };
}

void program_ban(test_program *program, int32_t id)
{
    ck_assert_uint_lt(program->p.n_banned, PROGRAM_EDITS);
    program->banned[program->p.n_banned++] = id;
}

/* ---- At random ---- */

static const uint8_t all_stages[] = { CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_MIN_P,
                                      CLSAMPLE_SAMPLER_TOP_K,       CLSAMPLE_SAMPLER_TOP_P,
                                      CLSAMPLE_SAMPLER_TYPICAL_P,   CLSAMPLE_SAMPLER_TOP_N_SIGMA };

static void shuffle_order(clsample_params *p, test_rng *r)
{
    memcpy(p->order, all_stages, sizeof all_stages);
    for (uint32_t i = COUNT(all_stages) - 1; i > 0; i--) {
        const uint32_t other = rng_below(r, i + 1);
        const uint8_t sampler = p->order[i];

        p->order[i] = p->order[other];
        p->order[other] = sampler;
    }
}

/* Some ids come twice. */
static void random_edits(test_program *program, test_rng *r, uint32_t vocab)
{
    static const float add[] = { 0.5f, -0.25f, 3.0f, -7.5f, 100.0f, -100.0f, 1e-3f, -INFINITY };
    const uint32_t biases = rng_below(r, 12), bans = rng_below(r, 4);
    const uint32_t pool = vocab < 8 ? vocab : 8;
    int32_t ids[8];

    for (uint32_t i = 0; i < pool; i++)
        ids[i] = (int32_t)rng_below(r, vocab);
    for (uint32_t i = 0; i < biases; i++)
        program_add_bias(program, ids[rng_below(r, pool)], add[rng_below(r, COUNT(add))]);
    for (uint32_t i = 0; i < bans; i++)
        program_ban(program, (int32_t)rng_below(r, vocab));
}

void program_random(test_program *program, test_rng *r, uint32_t vocab)
{
    static const float t[] = { 0.3f, 0.7f, 0.8f, 1.0f, 1.0f, 1.5f, 4.0f };
    static const float min_p[] = { 0.0f, 0.0f, 0.0f, 1e-4f, 0.02f, 0.1f, 0.999f };
    static const uint32_t k[] = { 0, 0, 0, 0, 1, 2, 10, 50, 300, 3000 };
    static const float p[] = { 1.0f, 1.0f, 1.0f, 1e-6f, 0.3f, 0.7f, 0.9f, 0.95f, 0.9999f };
    static const float n[] = { 0.0f, 0.0f, -1.0f, 1e-3f, 0.5f, 1.0f, 1.7f, 3.0f };
    clsample_params *out = &program->p;

    program_begin(program);
    out->rules = rng_below(r, 4);
    out->temperature = t[rng_below(r, COUNT(t))];
    out->min_p = min_p[rng_below(r, COUNT(min_p))];
    out->top_k = k[rng_below(r, COUNT(k))];
    out->top_p = p[rng_below(r, COUNT(p))];
    out->typical_p = p[rng_below(r, COUNT(p))];
    out->top_n_sigma = n[rng_below(r, COUNT(n))];
    out->seed = rng_next(r);
    out->step = rng_next(r);
    out->stream = rng_below(r, 1000);
    if (rng_below(r, 4) == 0) { random_edits(program, r, vocab); }
    if (rng_below(r, 4) == 0) { shuffle_order(out, r); }
}

/* ---- Known ---- */

static const struct {
    float temperature, min_p;
    uint32_t top_k;
    float top_p, typical_p, top_n_sigma;
    uint32_t rules;
    bool edits;
    uint8_t order[CLSAMPLE_MAX_ORDER];
} known[PROGRAM_KNOWN] = {
    { 1.0f, 0.0f, 0, 1.0f, 0.9f, 0.0f, CLSAMPLE_RULES_TRANSFORMERS, false, { 0 } },
    { 1.0f, 0.0f, 0, 1.0f, 1.0f, 1.0f, CLSAMPLE_RULES_LLAMA_CPP, false, { 0 } },
    { 1.0f, 0.0f, 0, 1.0f, 1.0f, 0.0f, CLSAMPLE_RULES_SEED, true, { 0 } },
    { 0.7f, 0.02f, 900, 0.95f, 0.6f, 2.0f, CLSAMPLE_RULES_LLAMA_CPP, true, { 0 } },
    { 1.3f, 0.0f, 0, 1.0f, 0.3f, 0.0f, CLSAMPLE_RULES_SEED, false, { 0 } },
    { 0.8f, 0.05f, 50, 0.95f, 0.95f, 1.5f, CLSAMPLE_RULES_SEED, false, { 0 } },
    { 1.5f, 0.0f, 3000, 1.0f, 1.0f, 0.5f, CLSAMPLE_RULES_VLLM, true, { 0 } },
    { 1.0f,
      0.0f,
      700,
      0.99f,
      0.9f,
      0.0f,
      CLSAMPLE_RULES_TRANSFORMERS,
      false,
      { CLSAMPLE_SAMPLER_TYPICAL_P, CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_TOP_P } },
    { 2.0f,
      1e-3f,
      0,
      0.9f,
      0.5f,
      1.0f,
      CLSAMPLE_RULES_LLAMA_CPP,
      false,
      { CLSAMPLE_SAMPLER_TYPICAL_P, CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_TOP_N_SIGMA,
        CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_MIN_P } },
    { 0.0f, 0.0f, 0, 1.0f, 0.5f, 1.0f, CLSAMPLE_RULES_SEED, true, { 0 } },
    { 0.6f,
      0.0f,
      5000,
      0.8f,
      1.0f,
      0.3f,
      CLSAMPLE_RULES_SEED,
      true,
      { CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_TOP_K,
        CLSAMPLE_SAMPLER_TOP_N_SIGMA } },
    { 0.9f, 0.9999999f, 0, 1.0f, 0.7f, 0.0f, CLSAMPLE_RULES_SEED, false, { 0 } },
};

void program_known(test_program *program, size_t index, uint32_t vocab)
{
    clsample_params *p = &program->p;

    program_begin(program);
    p->temperature = known[index].temperature;
    p->min_p = known[index].min_p;
    p->top_k = known[index].top_k;
    p->top_p = known[index].top_p;
    p->typical_p = known[index].typical_p;
    p->top_n_sigma = known[index].top_n_sigma;
    p->rules = known[index].rules;
    p->step = index;
    memcpy(p->order, known[index].order, sizeof p->order);
    for (uint32_t i = 0; known[index].edits && i < 9; i++) {
        const uint32_t id = i * 0x9e3779b9u % vocab;

        if (i < 2)
            program_ban(program, (int32_t)id);
        else
            program_add_bias(program, (int32_t)id, i == 2 ? -INFINITY : 5.0f - 1.5f * (float)i);
    }
}

const char *program_text(const clsample_params *p)
{
    static char text[400];
    int n = snprintf(text, sizeof text, "T %g min_p %g top_k %u top_p %g typical %g sigma %g rules %u order",
                     (double)p->temperature, (double)p->min_p, (unsigned)p->top_k, (double)p->top_p,
                     (double)p->typical_p, (double)p->top_n_sigma, (unsigned)p->rules);

    for (size_t i = 0; i < CLSAMPLE_MAX_ORDER && p->order[i]; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %u", (unsigned)p->order[i]);
    for (uint32_t i = 0; i < p->n_bias && n < 300; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, ", %d%+g", (int)p->bias[i].id,
                      (double)p->bias[i].add);
    snprintf(text + n, sizeof text - (size_t)n, ", %u banned", (unsigned)p->n_banned);
    return text;
}
