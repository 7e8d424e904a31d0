/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters checked, and turned into what the kernels read. Every rounding here is that of doubles and
 * floats, once a call, and worked out in integers (real.h), so that no host has its own. */
#include "internal.h"

#include <string.h>

/* 0x1.DIGITS p exponent */
#define CLS_DOUBLE(digits, exponent) ((cls_real){ 0x1##digits##ull << 10, (exponent)-62, false })
#define CLS_LOG2_E CLS_DOUBLE(71547652b82fe, 0)
#define CLS_TEMPERATURE_MIN CLS_DOUBLE(12e0be826d695, -30) /* 1e-9: the article divides by at least that */
#define CLS_TEMPERATURE_MAX CLS_DOUBLE(d1a94a2000000, 39)  /* 1e12: no product of logits is denormal */
#define CLS_BAND CLS_TEMPERATURE_MIN                       /* the article's EPSILON */

/* Bits of floats. */
#define CLS_BITS_MIN 0x3089705fu /* the largest one that is at most 1e-9 */
#define CLS_BITS_MAX 0x5368d4a5u /* ... and 1e12 */
#define CLS_BITS_ONE 0x3f800000u
#define CLS_BITS_INFINITY 0x7f800000u

/* Those of a parameter, -0 being 0. They sort like numbers from 0 on; a negative one, or NaN, has more than
 * infinity. Compared as floats denormals would be 0 where the caller has them flushed. */
static uint32_t bits_of(float x)
{
    const uint32_t bits = cls_bits_of(x);
    return bits == 0x80000000u ? 0 : bits;
}

static clsample_status check_params(const clsample_params *p, uint32_t index)
{
    if (p->flags & ~CLSAMPLE_GREEDY)
        return cls_fail(CLSAMPLE_E_VERSION,
                        "params[%u].flags is 0x%x; this library knows only CLSAMPLE_GREEDY (0x1)",
                        (unsigned)index, (unsigned)p->flags);
    if (bits_of(p->temperature) >= CLS_BITS_INFINITY)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "params[%u].temperature is %g; it must be finite and at least 0 (0 is greedy)",
                        (unsigned)index, (double)p->temperature);
    if (bits_of(p->min_p) > CLS_BITS_ONE)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].min_p is %g; it must be from 0 (off) to 1",
                        (unsigned)index, (double)p->min_p);
    if (bits_of(p->top_p) == 0 || bits_of(p->top_p) > CLS_BITS_ONE)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "params[%u].top_p is %g; it must be above 0 and at most 1 (1 is off)",
                        (unsigned)index, (double)p->top_p);
    if (p->rules > CLSAMPLE_RULES_LLAMA_CPP)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].rules is %u; it must be a clsample_rules, 0 to %u",
                        (unsigned)index, (unsigned)p->rules, (unsigned)CLSAMPLE_RULES_LLAMA_CPP);
    return CLSAMPLE_OK;
}

static cls_real product(cls_real a, cls_real b)
{
    return cls_real_rounded(cls_real_product(a, b), 53);
}
static cls_real quotient(cls_real a, cls_real b)
{
    return cls_real_rounded(cls_real_quotient(a, b), 53);
}

static cls_real clamped(float temperature)
{
    if (bits_of(temperature) <= CLS_BITS_MIN) return CLS_TEMPERATURE_MIN;
    if (bits_of(temperature) > CLS_BITS_MAX) return CLS_TEMPERATURE_MAX;
    return cls_real_of(temperature);
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

static cls_scale make_scale(cls_real temperature)
{
    const cls_real c = quotient(CLS_LOG2_E, temperature);
    cls_scale s;
    split(c, -80, &s.c, &s.c_lo);
    s.near = cls_real_float(quotient(cls_real_of(0x1p16f), c));
    s.limit = s.near * 0x1p14f;
    return s;
}

/* The largest probability is at least 1 / vocab, so that a min_p up to 1 - 1e-9 vocab keeps all that the band
 * does. From 1/2 on a float is a multiple of 2^-24, and below that this is never true. */
static bool needs_band(float min_p, uint32_t vocab)
{
    const uint64_t below_1 = (1u << 24) - (uint32_t)(min_p * 0x1p24f);
    return below_1 * 1000000000u < (uint64_t)vocab << 24;
}

static void plan_min_p(const clsample_params *p, cls_real temperature, uint32_t vocab, bool filter,
                       cls_plan_row *out)
{
    const bool seed_rules = p->rules == CLSAMPLE_RULES_SEED;
    if (bits_of(p->min_p) == 0 || (p->min_p == 1.0f && seed_rules && !filter)) return;

    out->flags |= CLS_PLAN_MIN_P;
    if (p->rules == CLSAMPLE_RULES_TRANSFORMERS || p->rules == CLSAMPLE_RULES_LLAMA_CPP)
        out->flags |= CLS_PLAN_MIN_P_LATE;
    if (seed_rules && needs_band(p->min_p, vocab)) out->flags |= CLS_PLAN_MIN_P_BAND;
    split(product(temperature, cls_real_log(p->min_p)), -100, &out->min_p_hi, &out->min_p_lo);
    out->band = cls_real_float(product(temperature, CLS_BAND));
}

static void plan_top_p(const clsample_params *p, cls_plan_row *out)
{
    if (p->top_p == 1.0f) return;
    const uint64_t scaled = (uint64_t)(p->top_p * 0x1p64f);
    const uint64_t limit = CLS_MAX(scaled, 1u);
    out->flags |= CLS_PLAN_TOP_P | (p->rules == CLSAMPLE_RULES_SEED ? 0u : CLS_PLAN_TOP_P_INCL);
    out->top_p_lo = (uint32_t)limit;
    out->top_p_hi = (uint32_t)(limit >> 32);
}

static void plan_filters(const clsample_params *p, cls_real temperature, uint32_t vocab, bool filter,
                         cls_plan_row *out)
{
    const bool last = p->rules == CLSAMPLE_RULES_LLAMA_CPP; /* temperature is */
    const cls_real filter_temperature = last ? cls_real_of(1.0f) : temperature;

    plan_min_p(p, filter_temperature, vocab, filter, out);
    if (p->top_k > 0 && p->top_k < vocab) {
        out->flags |= CLS_PLAN_TOP_K | (p->rules == CLSAMPLE_RULES_LLAMA_CPP ? CLS_PLAN_TOP_K_EXACT : 0u);
        out->top_k = p->top_k;
    }
    plan_top_p(p, out);

    const bool early_cut = out->flags & CLS_PLAN_TOP_K ||
                           (out->flags & (CLS_PLAN_MIN_P | CLS_PLAN_MIN_P_LATE)) == CLS_PLAN_MIN_P;
    const bool any = out->flags & (CLS_PLAN_MIN_P | CLS_PLAN_TOP_K | CLS_PLAN_TOP_P);
    if (out->flags & CLS_PLAN_MIN_P_BAND || !any || (out->flags & CLS_PLAN_TOP_P && !early_cut))
        out->flags |= CLS_PLAN_SUMS;

    out->draw = make_scale(temperature);
    out->filter = out->draw;
    if (out->flags & CLS_PLAN_TOP_P && last && p->temperature != 1.0f) {
        out->filter = make_scale(filter_temperature);
        out->flags |= CLS_PLAN_TWO_SCALES;
    }
}

clsample_status cls_plan(const clsample_params *params, uint32_t index, uint32_t vocab, bool filter,
                         cls_plan_row *out)
{
    clsample_params p = CLSAMPLE_PARAMS_INIT;
    clsample_status st = CLSAMPLE_OK;

    *out = (cls_plan_row){ .temperature = 1.0f, .inverse = 1.0f };
    if (params) {
        const unsigned char *set = (const unsigned char *)params + (size_t)index * params->size;
        uint32_t size;
        memcpy(&size, set, sizeof size);
        if (size != params->size)
            return cls_fail(CLSAMPLE_E_ARGUMENT,
                            "params[%u].size is %u, but params[0].size is %u; they must be equal",
                            (unsigned)index, (unsigned)size, (unsigned)params->size);
        st = cls_copy_struct(&p, sizeof p, CLS_PARAMS_SIZE_1, set, "params");
        if (st == CLSAMPLE_OK) st = check_params(&p, index);
        if (st != CLSAMPLE_OK) return st;
    }
    out->seed_lo = (uint32_t)p.seed;
    out->seed_hi = (uint32_t)(p.seed >> 32);
    out->step_lo = (uint32_t)p.step;
    out->step_hi = (uint32_t)(p.step >> 32);
    out->stream = p.stream;
    if (p.flags & CLSAMPLE_GREEDY || bits_of(p.temperature) == 0) {
        out->flags = CLS_PLAN_GREEDY;
        out->filter = out->draw = make_scale(cls_real_of(1.0f));
        return CLSAMPLE_OK;
    }
    const cls_real temperature = clamped(p.temperature);
    out->temperature = cls_real_float(temperature);
    out->inverse = cls_real_float(quotient(cls_real_of(1.0f), cls_real_of(out->temperature)));
    plan_filters(&p, temperature, vocab, filter, out);
    return CLSAMPLE_OK;
}
