/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include "common.h"
#include "internal.h"

#include <stdlib.h>

typedef struct entry {
    cls_uint key, id;
} entry;

typedef struct model {
    uint32_t vocab, blocks;
    entry *order;        /* tokens that are not masked, best first */
    uint32_t live;       /* of them */
    cls_uint *block_max; /* largest key of each block */
    cls_uint *sum;       /* room for one a block */
    /* At a scale: */
    cls_scale scale;
    bool saturated;
    int exponent;        /* reference of the row's masses */
    int *block_exponent; /* of each block's */
    uint32_t weighed;    /* so many of the best tokens are */
    cls_uint *units;     /* theirs, in the order of ranks */
} model;

static int by_rank(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void open_model(model *m, const float *x, uint32_t vocab, bool *nan)
{
    m->vocab = vocab;
    m->blocks = (vocab + CLS_BLOCK - 1) / CLS_BLOCK;
    m->order = test_alloc(vocab * sizeof *m->order);
    m->block_max = test_alloc(m->blocks * sizeof *m->block_max);
    m->sum = test_alloc(m->blocks * sizeof *m->sum);
    m->block_exponent = test_alloc(m->blocks * sizeof *m->block_exponent);
    m->units = test_alloc(vocab * sizeof *m->units);
    m->live = 0;
    *nan = false;
    for (uint32_t b = 0; b < m->blocks; b++)
        m->block_max[b] = CLS_KEY_MASKED;
    for (uint32_t id = 0; id < vocab; id++) {
        const cls_uint key = cls_key(cls_bits_of(x[id]));
        *nan = *nan || x[id] != x[id];
        m->block_max[id / CLS_BLOCK] = CLS_MAX(m->block_max[id / CLS_BLOCK], key);
        if (key != CLS_KEY_MASKED) m->order[m->live++] = (entry){ key, id };
    }
    qsort(m->order, m->live, sizeof *m->order, by_rank);
}

static void close_model(model *m)
{
    free(m->order);
    free(m->block_max);
    free(m->sum);
    free(m->block_exponent);
    free(m->units);
}

static void rescale(model *m, cls_scale scale)
{
    m->scale = scale;
    m->saturated = cls_saturated(m->order[0].key, scale);
    m->exponent = cls_weigh(m->order[0].key, scale).exponent;
    for (uint32_t b = 0; b < m->blocks; b++)
        m->block_exponent[b] = cls_weigh(m->block_max[b], scale).exponent;
    m->weighed = 0;
}

/* Weigh the best n tokens, if they are not yet. */
static void weigh(model *m, uint32_t n)
{
    for (; m->weighed < n; m->weighed++) {
        const entry e = m->order[m->weighed];
        m->units[m->weighed] =
            m->saturated ? e.key == m->order[0].key
                         : cls_in_block(cls_weigh(e.key, m->scale), m->block_exponent[e.id / CLS_BLOCK]);
    }
}

static cls_ulong block_mass(const model *m, uint32_t b, cls_uint units)
{
    return m->saturated ? units * CLS_HOT_MASS : cls_mass(units, m->block_exponent[b], m->exponent);
}

/* Mass of the best n tokens: sums within blocks first, as the definition asks. */
static cls_ulong mass_of(model *m, uint32_t n)
{
    cls_ulong mass = 0;

    weigh(m, n);
    for (uint32_t b = 0; b < m->blocks; b++)
        m->sum[b] = 0;
    for (uint32_t i = 0; i < n; i++)
        m->sum[m->order[i].id / CLS_BLOCK] += m->units[i];
    for (uint32_t b = 0; b < m->blocks; b++)
        if (m->sum[b]) mass += block_mass(m, b, m->sum[b]);
    return mass;
}

/* So many more than the best n that all ties of the n-th are in. */
static uint32_t with_ties(const model *m, uint32_t n)
{
    while (n > 0 && n < m->live && m->order[n].key == m->order[n - 1].key)
        n++;
    return n;
}

static uint32_t min_p(model *m, const cls_plan_row *plan, uint32_t n)
{
    cls_uint key = cls_min_p_key(m->order[0].key, plan->min_p_hi, plan->min_p_lo);
    uint32_t kept = 0;

    if (plan->flags & CLS_PLAN_MIN_P_BAND) {
        const cls_ulong top = m->saturated ? CLS_HOT_MASS
                                           : (cls_ulong)cls_weigh(m->order[0].key, m->scale).mantissa
                                                 << CLS_GUARD_BITS;
        const float q = cls_float((cls_uint)(mass_of(m, n) / (top >> 8))) * 0x1p-8f;
        const float y = cls_times(q, 1e-9f);
        const float series = cls_fma(y, cls_fma(y, 0.333333343f, 0.5f), 1.0f);
        const cls_uint band =
            cls_min_p_key(m->order[0].key, cls_times(-cls_times(q, plan->band), series), 0.0f);
        key = CLS_MIN(key, band);
    }
    while (kept < n && m->order[kept].key >= key)
        kept++;
    return kept;
}

static uint32_t top_k(const model *m, const cls_plan_row *plan, uint32_t n)
{
    if (plan->top_k >= n) return n;
    return plan->flags & CLS_PLAN_TOP_K_EXACT ? plan->top_k : CLS_MIN(n, with_ties(m, plan->top_k));
}

static uint32_t top_p(model *m, const cls_plan_row *plan, uint32_t n)
{
    cls_ulong fraction, sum = 0;
    const cls_ulong p = (cls_ulong)plan->top_p_hi << 32 | plan->top_p_lo;
    const cls_ulong limit = cls_mul64(mass_of(m, n), p, &fraction);
    const bool inclusive = plan->flags & CLS_PLAN_TOP_P_INCL;

    for (uint32_t i = 0; i < n; i++) {
        const cls_ulong mass = block_mass(m, m->order[i].id / CLS_BLOCK, m->units[i]);
        const bool enters = inclusive ? sum < limit || (sum == limit && fraction) : sum + mass <= limit;
        if (!enters && i > 0) return inclusive ? i : CLS_MIN(n, with_ties(m, i));
        sum += mass;
        if (!enters) return inclusive ? 1 : CLS_MIN(n, with_ties(m, 1));
    }
    return n;
}

/* The first of the best n, in the order of ids, whose running mass exceeds the target. */
static void draw(model *m, const cls_plan_row *plan, uint32_t n, clsample_result *result)
{
    cls_ulong unused;
    const cls_ulong total = mass_of(m, n);
    const cls_ulong u = cls_random(plan->seed_lo, plan->seed_hi, plan->step_lo, plan->step_hi, plan->stream);
    const cls_ulong target = cls_mul64(u, total, &unused);
    cls_uint *kept = test_alloc(m->vocab * sizeof *kept); /* units of what is, by id */
    cls_ulong done = 0, before = 0;                       /* mass of earlier blocks; up to the token before */

    for (uint32_t id = 0; id < m->vocab; id++)
        kept[id] = 0;
    for (uint32_t i = 0; i < n; i++)
        kept[m->order[i].id] = m->units[i];
    for (uint32_t b = 0; b < m->blocks; b++) {
        cls_uint units = 0;
        for (uint32_t id = b * CLS_BLOCK; id < m->vocab && id < (b + 1) * CLS_BLOCK; id++) {
            units += kept[id];
            const cls_ulong running = done + block_mass(m, b, units);
            if (running > target) {
                result->token = (int32_t)id;
                result->logprob = cls_log_ratio(running - before, total);
                free(kept);
                return;
            }
            before = running;
        }
        done = before;
    }
    ck_abort_msg("model: no token's running mass exceeds the target");
}

static uint32_t filter(model *m, const cls_plan_row *plan)
{
    const bool late = plan->flags & CLS_PLAN_MIN_P_LATE, on = plan->flags & CLS_PLAN_MIN_P;
    uint32_t n = m->order[0].key == CLS_KEY_INFINITY ? with_ties(m, 1) : m->live;

    if (on && !late) n = min_p(m, plan, n);
    if (plan->flags & CLS_PLAN_TOP_K) n = top_k(m, plan, n);
    if (plan->flags & CLS_PLAN_TOP_P) n = top_p(m, plan, n);
    if (on && late) n = min_p(m, plan, n);
    return n;
}

clsample_result model_draw(const float *x, uint32_t vocab, const clsample_params *params)
{
    clsample_result result = { CLSAMPLE_NO_TOKEN, CLSAMPLE_ROW_NO_TOKEN, cls_float_of(0xff800000u), 0 };
    cls_plan_row plan;
    model m;
    bool nan;

    ck_ok(cls_plan(params, 0, vocab, false, &plan));
    open_model(&m, x, vocab, &nan);
    if (m.live > 0) {
        result = (clsample_result){ (int32_t)m.order[0].id, nan ? CLSAMPLE_ROW_NAN_IGNORED : CLSAMPLE_ROW_OK,
                                    0.0f, 1 };
        if (!(plan.flags & CLS_PLAN_GREEDY)) {
            rescale(&m, plan.filter);
            result.kept = filter(&m, &plan);
            if (plan.flags & CLS_PLAN_TWO_SCALES) rescale(&m, plan.draw);
            draw(&m, &plan, result.kept, &result);
        }
    }
    close_model(&m);
    return result;
}
