/* SPDX-License-Identifier: Apache-2.0 */
/* The list of samplers, from which checks, plans, the command's options and bindings are made, and the op
 * that each becomes. Every rounding here is that of doubles and floats, once a call, and worked out in
 * integers (real.h), so that no host has its own. */
#include "samplers.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* 0x1.DIGITS p exponent */
#define CLS_DOUBLE(digits, exponent) ((cls_real){ 0x1##digits##ull << 10, (exponent)-62, false })
#define CLS_LOG2_E CLS_DOUBLE(71547652b82fe, 0)
#define CLS_LN_2 CLS_DOUBLE(62e42fefa39ef, -1)
#define CLS_TEMPERATURE_MIN CLS_DOUBLE(12e0be826d695, -30) /* 1e-9: the article divides by at least that */
#define CLS_TEMPERATURE_MAX CLS_DOUBLE(d1a94a2000000, 39)  /* 1e12: no product of logits is denormal */
#define CLS_BAND CLS_TEMPERATURE_MIN                       /* the article's EPSILON */

/* Bits of floats. */
#define CLS_BITS_MIN 0x3089705fu /* the largest one that is at most 1e-9 */
#define CLS_BITS_MAX 0x5368d4a5u /* ... and 1e12 */

static cls_real product(cls_real a, cls_real b)
{
    return cls_real_rounded(cls_real_product(a, b), 53);
}
static cls_real quotient(cls_real a, cls_real b)
{
    return cls_real_rounded(cls_real_quotient(a, b), 53);
}

/* `value` as the sum of two floats. A second one below 2^smallest becomes 0, so that the device never
 * multiplies into a denormal. */
static void split(cls_real value, int smallest, float *hi, float *lo)
{
    const cls_real first = cls_real_rounded(value, 24);
    const cls_real second = cls_real_rounded(cls_real_difference(value, first), 24);
    *hi = cls_real_float(first);
    *lo = second.exponent + 62 < smallest ? 0.0f : cls_real_float(second);
}

cls_real cls_clamped_temperature(float temperature)
{
    const uint32_t bits = cls_bits_of(temperature);
    if (bits <= CLS_BITS_MIN) return CLS_TEMPERATURE_MIN;
    if (bits > CLS_BITS_MAX) return CLS_TEMPERATURE_MAX;
    return cls_real_of(temperature);
}

cls_scale cls_make_scale(cls_real temperature)
{
    const cls_real c = quotient(CLS_LOG2_E, temperature);
    cls_scale s;
    split(c, -80, &s.c, &s.c_lo);
    s.small = cls_real_float(quotient(cls_real_of(0x1p16f), c));
    s.limit = s.small * 0x1p14f;
    return s;
}

/* ---- Ops ---- */

static void make_temperature(const cls_making *m, cls_op *op)
{
    const cls_scale s = cls_make_scale(m->temperature);
    *op = (cls_op){ CLS_OP_SCALE, { cls_bits_of(s.c), cls_bits_of(s.c_lo), cls_bits_of(s.small) } };
}

/* The largest probability is at least 1 / vocab, so that a min_p up to 1 - 1e-9 vocab keeps all that the band
 * does. From 1/2 on a float is a multiple of 2^-24, and below that this is never true. */
static bool needs_band(const cls_making *m)
{
    const uint64_t below_1 = (1u << 24) - (uint32_t)(m->params->min_p * 0x1p24f);
    return m->params->rules == CLSAMPLE_RULES_SEED && below_1 * 1000000000u < (uint64_t)m->vocab << 24;
}
static bool min_p_is_on(const cls_making *m)
{
    const clsample_params *p = m->params;
    return cls_key(cls_bits_of(p->min_p)) > cls_key(0) &&
           (p->min_p < 1.0f || p->rules != CLSAMPLE_RULES_SEED || m->filter);
}
static void make_min_p(const cls_making *m, cls_op *op)
{
    float hi, lo;

    split(product(m->in_force, cls_real_log(m->params->min_p)), -100, &hi, &lo);
    *op = (cls_op){ CLS_OP_MARGIN, { cls_bits_of(hi), cls_bits_of(lo), 0 } };
    if (!needs_band(m)) return;
    op->code = CLS_OP_BAND;
    op->arg[2] = cls_bits_of(cls_real_float(product(m->in_force, CLS_BAND)));
}

static bool top_k_is_on(const cls_making *m)
{
    return m->params->top_k > 0 && m->params->top_k < m->vocab;
}
static void make_top_k(const cls_making *m, cls_op *op)
{
    *op = (cls_op){ CLS_OP_COUNT, { m->params->top_k, m->params->rules == CLSAMPLE_RULES_LLAMA_CPP, 0 } };
}

/* p * 2^64 into two args. */
static void set_mass(cls_op *op, float p)
{
    const uint64_t scaled = (uint64_t)(p * 0x1p64f), limit = CLS_MAX(scaled, 1u);
    op->arg[0] = (uint32_t)limit;
    op->arg[1] = (uint32_t)(limit >> 32);
}
static void make_top_p(const cls_making *m, cls_op *op)
{
    *op = (cls_op){ CLS_OP_MASS, { 0, 0, m->params->rules != CLSAMPLE_RULES_SEED } };
    set_mass(op, m->params->top_p);
}

static void make_typical_p(const cls_making *m, cls_op *op)
{
    *op = (cls_op){ CLS_OP_DISTANCE, { 0, 0, cls_bits_of(cls_real_float(product(m->in_force, CLS_LN_2))) } };
    set_mass(op, m->params->typical_p);
}

static bool top_n_sigma_is_on(const cls_making *m)
{
    return cls_key(cls_bits_of(m->params->top_n_sigma)) > cls_key(0);
}
static void make_top_n_sigma(const cls_making *m, cls_op *op)
{
    *op = (cls_op){ CLS_OP_SIGMA, { cls_bits_of(m->params->top_n_sigma), 0, 0 } };
}

/* ---- The list ---- */

#define FIELD(field) .name = #field, .offset = offsetof(clsample_params, field)
#define COUNTED(field) FIELD(field), .count_offset = offsetof(clsample_params, n_##field)
/* By rules: seed, transformers, vllm, llama.cpp. */
#define PLACES(...) .place = { __VA_ARGS__ }

/* By number, from 1 on. A row says all that is known of a sampler. */
/* clang-format off */
static const cls_sampler samplers[] = {
    { { CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_KIND_SCALE, CLSAMPLE_TYPE_FLOAT, FIELD(temperature),
        .option = "temperature", .alias = "temp", .value = "T",
        .least = 0, .most = FLT_MAX, .off = NAN, .standard = 1,
        .range = "finite and at least 0 (0 is greedy)",
        .help = "divide the logits by T; 0 is greedy", PLACES(1, 1, 1, 6) },
      .make = make_temperature },
    { { CLSAMPLE_SAMPLER_MIN_P, CLSAMPLE_KIND_BOUND, CLSAMPLE_TYPE_FLOAT, FIELD(min_p),
        .option = "min-p", .alias = "", .value = "P",
        .least = 0, .most = 1, .off = 0, .standard = 0, .range = "from 0 (off) to 1",
        .help = "keep tokens of at least P times the best one's probability; 0 is off", PLACES(3, 5, 3, 5) },
      .is_on = min_p_is_on, .make = make_min_p },
    { { CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_KIND_LIMIT, CLSAMPLE_TYPE_UINT32, FIELD(top_k),
        .option = "top-k", .alias = "", .value = "K",
        .least = 0, .most = UINT32_MAX, .off = 0, .standard = 0, .range = "from 0 (off) on",
        .help = "keep the K best tokens; 0 is off", PLACES(4, 3, 4, 2) },
      .is_on = top_k_is_on, .make = make_top_k },
    { { CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_KIND_LIMIT, CLSAMPLE_TYPE_FLOAT, FIELD(top_p),
        .option = "top-p", .alias = "", .value = "P",
        .least = 0, .above = 1, .most = 1, .off = 1, .standard = 1,
        .range = "above 0 and at most 1 (1 is off)",
        .help = "keep the best tokens that make up P; 1 is off", PLACES(5, 4, 5, 4) },
      .make = make_top_p },
    { { CLSAMPLE_SAMPLER_TYPICAL_P, CLSAMPLE_KIND_LIMIT, CLSAMPLE_TYPE_FLOAT, FIELD(typical_p),
        .option = "typical", .alias = "typical-p", .value = "P",
        .least = 0, .above = 1, .most = 1, .off = 1, .standard = 1,
        .range = "above 0 and at most 1 (1 is off)",
        .help = "keep the tokens nearest to the mean logit that make up P; 1 is off", PLACES(6, 6, 6, 3) },
      .make = make_typical_p },
    { { CLSAMPLE_SAMPLER_TOP_N_SIGMA, CLSAMPLE_KIND_BOUND, CLSAMPLE_TYPE_FLOAT, FIELD(top_n_sigma),
        .option = "top-n-sigma", .alias = "top-nsigma", .value = "N",
        .least = -FLT_MAX, .most = FLT_MAX, .off = 0, .standard = 0, .range = "finite (0 or less is off)",
        .help = "keep logits within N standard deviations of the largest; 0 is off", PLACES(2, 2, 2, 1) },
      .is_on = top_n_sigma_is_on, .make = make_top_n_sigma },
    { { CLSAMPLE_SAMPLER_BIAS, CLSAMPLE_KIND_EDIT, CLSAMPLE_TYPE_BIAS, COUNTED(bias),
        .option = "logit-bias", .alias = "", .value = "ID+B,...",
        .range = "at most 1048576 ids and bans together",
        .help = "add to logits, as in 15043+1,29-0.5,7-inf; -inf bans; lists add up" },
      .is_on = NULL },
    { { CLSAMPLE_SAMPLER_BANNED, CLSAMPLE_KIND_EDIT, CLSAMPLE_TYPE_IDS, COUNTED(banned),
        .option = "ban", .alias = "", .value = "ID,...", .range = "at most 1048576 ids and biases together",
        .help = "never draw these tokens; lists add up" },
      .is_on = NULL },
};
/* clang-format on */

const clsample_sampler_entry *clsample_sampler_info(uint32_t index)
{
    return index < CLS_COUNT(samplers) ? &samplers[index].entry : NULL;
}

const cls_sampler *cls_sampler_of(uint32_t sampler)
{
    return sampler > 0 && sampler <= CLS_COUNT(samplers) ? &samplers[sampler - 1] : NULL;
}

/* ---- What is set ---- */

static uint32_t word_at(const clsample_params *p, size_t offset)
{
    uint32_t word;
    memcpy(&word, (const unsigned char *)p + offset, sizeof word);
    return word;
}
/* A float as a number that sorts like it: compared as floats denormals would be 0 where the caller has them
 * flushed. */
static cls_uint key_of(double exact)
{
    return cls_key(cls_bits_of((float)exact));
}

bool cls_is_greedy(const clsample_params *p)
{
    return p->flags & CLSAMPLE_GREEDY || cls_key(cls_bits_of(p->temperature)) == cls_key(0);
}

bool cls_sampler_on(const cls_sampler *s, const cls_making *m)
{
    const clsample_sampler_entry *e = &s->entry;

    if (s->is_on) return s->is_on(m);
    if (e->count_offset) return word_at(m->params, e->count_offset) > 0;
    if (isnan(e->off)) return true;
    return cls_key(word_at(m->params, e->offset)) != key_of(e->off);
}

int clsample_sampler_is_on(const clsample_params *params, uint32_t sampler)
{
    const cls_sampler *s = cls_sampler_of(sampler);
    clsample_params p = CLSAMPLE_PARAMS_INIT;
    const cls_making m = { .params = &p, .vocab = UINT32_MAX };

    if (!params || !s) return 0;
    memcpy(&p, params, CLS_MIN(params->size, sizeof p)); /* fields that the caller does not know are off */
    if (cls_is_greedy(&p) && s->entry.kind != CLSAMPLE_KIND_EDIT)
        return sampler == CLSAMPLE_SAMPLER_TEMPERATURE;
    return cls_sampler_on(s, &m);
}

clsample_status cls_check_sampler(const cls_sampler *s, const clsample_params *p, uint32_t index)
{
    const clsample_sampler_entry *e = &s->entry;
    const uint32_t bits = word_at(p, e->offset);
    const cls_uint key = cls_key(bits), least = key_of(e->least), most = key_of(e->most);

    if (e->type != CLSAMPLE_TYPE_FLOAT) return CLSAMPLE_OK;
    if ((bits & 0x7fffffffu) <= 0x7f800000u && key >= least + (cls_uint)e->above && key <= most)
        return CLSAMPLE_OK;
    return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].%s is %g; it must be %s", (unsigned)index, e->name,
                    (double)cls_float_of(bits), e->range);
}
