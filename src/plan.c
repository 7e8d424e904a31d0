/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters checked, and turned into what the kernels read. Every rounding here is of host doubles, once a
 * call, and the same for every device. */
#include "internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define CLS_LOG2_E 1.4426950408889634074
#define CLS_TEMPERATURE_MIN 1e-9 /* the article divides by max(temperature, 1e-9) */
#define CLS_TEMPERATURE_MAX 1e12 /* keeps products of logits above 2^-60 out of the denormals */
#define CLS_BAND 1e-9            /* the article's EPSILON */

static clsample_status check_params(const clsample_params *p, uint32_t index)
{
    if (p->flags & ~CLSAMPLE_GREEDY)
        return cls_fail(CLSAMPLE_E_VERSION,
                        "params[%u].flags is 0x%x; this library knows only CLSAMPLE_GREEDY (0x1)",
                        (unsigned)index, (unsigned)p->flags);
    if (!(p->temperature >= 0.0f && p->temperature <= FLT_MAX))
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "params[%u].temperature is %g; it must be finite and at least 0 (0 is greedy)",
                        (unsigned)index, (double)p->temperature);
    if (!(p->min_p >= 0.0f && p->min_p <= 1.0f))
        return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].min_p is %g; it must be from 0 (off) to 1",
                        (unsigned)index, (double)p->min_p);
    if (!(p->top_p > 0.0f && p->top_p <= 1.0f))
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "params[%u].top_p is %g; it must be above 0 and at most 1 (1 is off)",
                        (unsigned)index, (double)p->top_p);
    if (p->rules > CLSAMPLE_RULES_LLAMA_CPP)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].rules is %u; it must be a clsample_rules, 0 to %u",
                        (unsigned)index, (unsigned)p->rules, (unsigned)CLSAMPLE_RULES_LLAMA_CPP);
    return CLSAMPLE_OK;
}

/* `value` as the sum of two floats; what is too small to matter beside a float of 2^-60 becomes 0, so that
 * the device never multiplies into a denormal. */
static void split(double value, double smallest, float *hi, float *lo)
{
    const double bounded = value < -(double)FLT_MAX ? -(double)FLT_MAX : value;
    *hi = fabs(bounded) < smallest ? 0.0f : (float)bounded;
    *lo = (float)(bounded - (double)*hi);
    if (fabs(*lo) < smallest * 0x1p-40 || *hi == 0.0f) *lo = 0.0f;
}

static cls_scale make_scale(double temperature)
{
    const double c = CLS_LOG2_E / temperature;
    cls_scale s;
    split(c, 0x1p-40, &s.c, &s.c_lo);
    s.near = (float)(0x1p16 / c);
    s.limit = (float)(0x1p30 / c);
    return s;
}

static void plan_min_p(const clsample_params *p, double temperature, uint32_t vocab, bool filter,
                       cls_plan_row *out)
{
    const bool seed_rules = p->rules == CLSAMPLE_RULES_SEED;
    if (p->min_p == 0.0f || (p->min_p == 1.0f && seed_rules && !filter)) return;

    out->flags |= CLS_PLAN_MIN_P;
    if (p->rules == CLSAMPLE_RULES_TRANSFORMERS || p->rules == CLSAMPLE_RULES_LLAMA_CPP)
        out->flags |= CLS_PLAN_MIN_P_LATE;
    /* The largest probability is at least 1 / vocab, so a smaller min_p keeps all that the band does. */
    if (seed_rules && (double)p->min_p > 1.0 - CLS_BAND * vocab) out->flags |= CLS_PLAN_MIN_P_BAND;
    split(temperature * log((double)p->min_p), 0x1p-60, &out->min_p_hi, &out->min_p_lo);
    out->band = (float)(temperature * CLS_BAND);
}

static void plan_top_p(const clsample_params *p, cls_plan_row *out)
{
    if (p->top_p == 1.0f) return;
    const uint64_t scaled = (uint64_t)ldexp((double)p->top_p, 64);
    const uint64_t limit = CLS_MAX(scaled, 1u);
    out->flags |= CLS_PLAN_TOP_P | (p->rules == CLSAMPLE_RULES_SEED ? 0u : CLS_PLAN_TOP_P_INCL);
    out->top_p_lo = (uint32_t)limit;
    out->top_p_hi = (uint32_t)(limit >> 32);
}

static void plan_filters(const clsample_params *p, double temperature, uint32_t vocab, bool filter,
                         cls_plan_row *out)
{
    const double filter_temperature = p->rules == CLSAMPLE_RULES_LLAMA_CPP ? 1.0 : temperature;

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
    if (out->flags & CLS_PLAN_TOP_P && filter_temperature != temperature) {
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
    if (p.flags & CLSAMPLE_GREEDY || p.temperature == 0.0f) {
        out->flags = CLS_PLAN_GREEDY;
        out->filter = out->draw = make_scale(1.0);
        return CLSAMPLE_OK;
    }
    const double temperature = fmin(fmax((double)p.temperature, CLS_TEMPERATURE_MIN), CLS_TEMPERATURE_MAX);
    out->temperature = (float)temperature;
    out->inverse = (float)(1.0 / (double)out->temperature);
    plan_filters(&p, temperature, vocab, filter, out);
    return CLSAMPLE_OK;
}
