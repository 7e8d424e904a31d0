/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include "common.h"
#include "internal.h"

#include "../cl/shared/bounds.h"

#include "../cl/shared/facts.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    cls_uint key, id;
} entry;

/* What is kept are the tokens order[first] to order[last - 1]. Those before `first` are as if masked. */
typedef struct model {
    uint32_t vocab, blocks;
    entry *order;  /* tokens that are not masked, best first */
    uint32_t live; /* of them */
    uint32_t first, last;
    cls_uint *block_max; /* largest key of each block */
    cls_uint *sum;       /* room for one a block */
    bool nan;
    /* At a scale: */
    cls_scale scale;
    cls_uint key_max;
    bool saturated;
    int exponent;        /* reference of the row's masses */
    int *block_exponent; /* of each block's */
    cls_uint *units;     /* of tokens in the order of ranks; so many of them are weighed: */
    uint32_t weighed;
} model;

/* ---- A row in order ---- */

/* Sort by falling key, least significant byte first; what has the same key keeps its order, that of ids. */
static void sort_by_rank(entry *list, uint32_t n)
{
    entry *from = list, *to = test_alloc(n * sizeof *to);

    for (uint32_t shift = 0; shift < 32; shift += 8) {
        uint32_t start[257] = { 0 };
        for (uint32_t i = 0; i < n; i++)
            start[256 - (from[i].key >> shift & 255)]++;
        for (uint32_t byte = 0; byte < 256; byte++)
            start[byte + 1] += start[byte];
        for (uint32_t i = 0; i < n; i++)
            to[start[255 - (from[i].key >> shift & 255)]++] = from[i];
        entry *const swap = from;
        from = to;
        to = swap;
    }
    free(to); /* after four turns what was allocated */
}

/* Add the sums of each token's biases, added up in their order, and ban what is banned. */
static void edit(cls_uint *bits, const clsample_params *p)
{
    bool *seen = test_alloc(p->n_bias * sizeof *seen);

    for (uint32_t i = 0; i < p->n_bias; i++)
        seen[i] = false;
    for (uint32_t i = 0; i < p->n_bias; i++) {
        cls_uint sum = cls_bits_of(p->bias[i].add);
        for (uint32_t k = i + 1; k < p->n_bias && !seen[i]; k++) {
            if (p->bias[k].id != p->bias[i].id) continue;
            sum = cls_edited(sum, cls_bits_of(p->bias[k].add));
            seen[k] = true;
        }
        if (!seen[i]) bits[p->bias[i].id] = cls_edited(bits[p->bias[i].id], sum);
    }
    for (uint32_t i = 0; i < p->n_banned; i++)
        bits[p->banned[i]] = cls_edited(bits[p->banned[i]], CLS_BITS_MASKED);
    free(seen);
}

static void find_block_maxima(model *m)
{
    for (uint32_t b = 0; b < m->blocks; b++)
        m->block_max[b] = CLS_KEY_MASKED;
    for (uint32_t i = m->first; i < m->live; i++) {
        cls_uint *most = &m->block_max[m->order[i].id / CLS_BLOCK];
        *most = CLS_MAX(*most, m->order[i].key);
    }
}

static void open_model(model *m, const float *x, uint32_t vocab, const clsample_params *p)
{
    *m = (model){ .vocab = vocab, .blocks = (vocab + CLS_BLOCK - 1) / CLS_BLOCK };
    m->order = test_alloc(vocab * sizeof *m->order);
    m->block_max = test_alloc(m->blocks * sizeof *m->block_max);
    m->sum = test_alloc(m->blocks * sizeof *m->sum);
    m->block_exponent = test_alloc(m->blocks * sizeof *m->block_exponent);
    m->units = test_alloc(vocab * sizeof *m->units);
    cls_uint *bits = test_alloc(vocab * sizeof *bits);
    memcpy(bits, x, vocab * sizeof *bits);
    edit(bits, p);
    for (uint32_t id = 0; id < vocab; id++) {
        const cls_uint key = cls_key(bits[id]);
        m->nan = m->nan || (bits[id] & 0x7fffffffu) > 0x7f800000u;
        if (key != CLS_KEY_MASKED) m->order[m->live++] = (entry){ key, id };
    }
    free(bits);
    sort_by_rank(m->order, m->live);
}

static void close_model(model *m)
{
    free(m->order);
    free(m->block_max);
    free(m->sum);
    free(m->block_exponent);
    free(m->units);
}

/* So many more than up to `last` that all ties of the last are in. */
static uint32_t with_ties(const model *m, uint32_t last)
{
    while (last > 0 && last < m->live && m->order[last].key == m->order[last - 1].key)
        last++;
    return last;
}

/* ---- Masses ---- */

static void rescale(model *m, cls_scale scale)
{
    m->scale = scale;
    m->key_max = m->order[m->first].key;
    m->saturated = cls_saturated(m->key_max, scale);
    m->exponent = cls_weigh(m->key_max, scale).exponent;
    for (uint32_t b = 0; b < m->blocks; b++)
        m->block_exponent[b] = cls_weigh(m->block_max[b], scale).exponent;
    m->weighed = m->first;
}

/* The upper end moves down. */
static void lower(model *m, uint32_t first)
{
    m->first = first;
    find_block_maxima(m);
    rescale(m, m->scale);
}

static cls_uint block_of(const model *m, uint32_t i)
{
    return m->order[i].id / CLS_BLOCK;
}

/* Weigh what is kept, if it is not yet. */
static void weigh(model *m)
{
    for (; m->weighed < m->last; m->weighed++) {
        const uint32_t i = m->weighed;
        const cls_uint key = m->order[i].key;
        m->units[i] = m->saturated
                          ? key == m->key_max
                          : cls_in_block(cls_weigh(key, m->scale), m->block_exponent[block_of(m, i)]);
    }
}

static cls_ulong block_mass(const model *m, uint32_t b, cls_uint units)
{
    return m->saturated ? units * CLS_HOT_MASS : cls_mass(units, m->block_exponent[b], m->exponent);
}

/* Mass of a token by itself. */
static cls_ulong mass_at(const model *m, uint32_t i)
{
    return block_mass(m, block_of(m, i), m->units[i]);
}

/* Mass of what is kept: sums within blocks first, as the definition asks. */
static cls_ulong whole_mass(model *m)
{
    cls_ulong mass = 0;

    weigh(m);
    for (uint32_t b = 0; b < m->blocks; b++)
        m->sum[b] = 0;
    for (uint32_t i = m->first; i < m->last; i++)
        m->sum[block_of(m, i)] += m->units[i];
    for (uint32_t b = 0; b < m->blocks; b++)
        if (m->sum[b]) mass += block_mass(m, b, m->sum[b]);
    return mass;
}

/* ---- Bounds ---- */

static void keep_from(model *m, cls_uint key)
{
    while (m->last > m->first + 1 && m->order[m->last - 1].key < key)
        m->last--;
}

/* Sums of a tile's logits in units of its largest magnitude, then those of tiles in units of the row's. */
static void find_moments(const model *m, cls_moments *all)
{
    const cls_uint n = cls_tiles(m->vocab);
    cls_moments *tile = test_alloc(n * sizeof *tile);

    *all = (cls_moments){ .reference = 0 };
    for (cls_uint t = 0; t < n; t++)
        tile[t] = *all;
    for (uint32_t i = m->first; i < m->last; i++) {
        const cls_uint magnitude = cls_magnitude_exponent(cls_key_bits(m->order[i].key));
        cls_uint *reference = &tile[m->order[i].id / CLS_TILE].reference;
        *reference = CLS_MAX(*reference, magnitude);
        all->reference = CLS_MAX(all->reference, magnitude);
    }
    for (uint32_t i = m->first; i < m->last; i++)
        cls_moments_take(&tile[m->order[i].id / CLS_TILE], cls_key_bits(m->order[i].key));
    for (cls_uint t = 0; t < n; t++)
        if (tile[t].count) cls_moments_add(all, &tile[t]);
    free(tile);
}

static void bound(model *m, const cls_op *op)
{
    cls_facts facts = { .key_max = m->key_max };

    if (op->code & CLS_NEED_MASS) facts.mass = whole_mass(m);
    if (op->code & CLS_NEED_MOMENTS) find_moments(m, &facts.moments);
    keep_from(m, cls_bound(op, m->scale, &facts));
}

/* ---- Limits ---- */

static void count(model *m, const cls_op *op)
{
    if (op->arg[0] >= m->last - m->first) return;
    const uint32_t end = m->first + op->arg[0];
    m->last = op->arg[1] ? end : CLS_MIN(m->last, with_ties(m, end));
}

/* The limit of a mass is the floor of p times the whole; `through` if that cut a fraction off. */
static cls_ulong limit_of(model *m, const cls_op *op, bool *through)
{
    cls_ulong fraction;
    const cls_ulong most = cls_mul64(whole_mass(m), (cls_ulong)op->arg[1] << 32 | op->arg[0], &fraction);

    *through = fraction != 0;
    return most;
}

static void mass(model *m, const cls_op *op)
{
    bool through;
    const cls_ulong most = limit_of(m, op, &through);
    const bool inclusive = op->arg[2];
    cls_ulong sum = 0;

    for (uint32_t i = m->first; i < m->last; i++) {
        const cls_ulong next = sum + mass_at(m, i);
        const bool enters = inclusive ? sum < most || (sum == most && through) : next <= most;
        if (!enters) {
            const uint32_t end = CLS_MAX(i, m->first + 1);
            m->last = inclusive ? end : CLS_MIN(m->last, with_ties(m, end));
            return;
        }
        sum = next;
    }
}

/* How far the mean logit lies below the largest; the units of blocks are summed up. */
static cls_uint find_gap(const model *m, const cls_op *op)
{
    cls_ulong *weighted = test_alloc(m->blocks * sizeof *weighted);
    cls_mean mean = { 0, 0 };

    for (uint32_t b = 0; b < m->blocks; b++)
        weighted[b] = 0;
    for (uint32_t i = m->first; i < m->last; i++) {
        const uint32_t b = block_of(m, i);
        weighted[b] += cls_weighted(cls_weigh(m->order[i].key, m->scale), m->block_exponent[b]);
    }
    for (uint32_t b = 0; b < m->blocks; b++)
        if (m->sum[b])
            cls_mean_add_block(&mean, weighted[b], m->sum[b],
                               (cls_uint)m->exponent - (cls_uint)m->block_exponent[b]);
    free(weighted);
    return cls_mean_gap(&mean, m->key_max, m->scale, cls_float_of(op->arg[2]));
}

/* The least rank that stays: that of the token which passes the limit, or the one after it if what is nearer
 * has reached it already. `near` is what is kept by falling rank, its ids places in the order of logits. */
static cls_uint least_rank(const model *m, const entry *near, uint32_t n, cls_ulong most, bool through)
{
    cls_ulong above = 0;

    for (uint32_t i = 0, next; i < n; i = next) {
        cls_ulong sum = above;
        for (next = i; next < n && near[next].key == near[i].key; next++)
            sum += mass_at(m, near[next].id);
        if (sum > most) {
            const bool below = above < most || (above == most && through);
            return near[i].key + (above > 0 && !below);
        }
        above = sum;
    }
    return 0;
}

static void distance(model *m, const cls_op *op)
{
    const uint32_t n = m->last - m->first;
    bool through;

    if (m->saturated) return;
    const cls_ulong most = limit_of(m, op, &through);
    const cls_uint gap = find_gap(m, op);
    entry *near = test_alloc(n * sizeof *near);
    for (uint32_t i = 0; i < n; i++)
        near[i] = (entry){ cls_nearness(m->order[m->first + i].key, m->key_max, gap), m->first + i };
    sort_by_rank(near, n);
    const cls_uint least = least_rank(m, near, n, most, through);
    uint32_t first = m->last, last = m->first, kept = 0;
    for (; kept < n && near[kept].key >= least; kept++) {
        first = CLS_MIN(first, near[kept].id);
        last = CLS_MAX(last, near[kept].id + 1);
    }
    free(near);
    REQUIRE(kept > 0 && kept == last - first, "model: what is nearest is no interval");
    m->last = last;
    if (first > m->first) lower(m, first);
}

/* ---- The program ---- */

static void run_op(model *m, const cls_op *op)
{
    cls_scale scale;

    if (op->code & CLS_OP_BOUND) {
        bound(m, op);
        return;
    }
    switch (op->code) {
    case CLS_OP_COUNT: count(m, op); break;
    case CLS_OP_MASS: mass(m, op); break;
    case CLS_OP_DISTANCE: distance(m, op); break;
    case CLS_OP_SCALE:
        cls_op_scale(*op, &scale);
        rescale(m, scale);
        break;
    default: ck_abort_msg("model: op %u", (unsigned)op->code);
    }
}

/* The first that is kept, in the order of ids, whose running mass exceeds the target. */
static void draw(model *m, const cls_plan_row *plan, clsample_result *result)
{
    cls_ulong unused;
    const cls_ulong total = whole_mass(m);
    const cls_ulong u = cls_random(plan->seed_lo, plan->seed_hi, plan->step_lo, plan->step_hi, plan->stream);
    const cls_ulong target = cls_mul64(u, total, &unused);
    cls_uint *kept = test_alloc(m->vocab * sizeof *kept); /* units of what is, by id */
    cls_ulong done = 0, before = 0;                       /* mass of earlier blocks; up to the token before */

    for (uint32_t id = 0; id < m->vocab; id++)
        kept[id] = 0;
    for (uint32_t i = m->first; i < m->last; i++)
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

/* What is kept of a row that has tokens, from all of them; weighed at the draw's scale. */
static void run(model *m, const cls_plan_row *plan)
{
    const bool hot = m->order[0].key == CLS_KEY_INFINITY;

    m->first = 0;
    m->last = plan->flags & CLS_PLAN_GREEDY ? 1 : hot ? with_ties(m, 1) : m->live;
    find_block_maxima(m);
    rescale(m, plan->scale);
    for (cls_uint i = 0; i < plan->n_ops; i++)
        run_op(m, &plan->op[i]);
}

/* The plan of the fallback pass: edits and the draw's scale. */
static void drop_ops(cls_plan_row *plan)
{
    for (cls_uint i = 0; i < plan->n_ops; i++)
        if (plan->op[i].code == CLS_OP_SCALE) cls_op_scale(plan->op[i], &plan->scale);
    plan->n_ops = 0;
}

static clsample_result choose(model *m, const cls_plan_row *plan, uint32_t status)
{
    clsample_result result = { CLSAMPLE_NO_TOKEN, CLSAMPLE_ROW_NO_TOKEN, cls_float_of(CLS_BITS_MASKED), 0 };

    if (m->live == 0) return result;
    run(m, plan);
    result = (clsample_result){ (int32_t)m->order[0].id, status, 0.0f, m->last - m->first };
    if (!(plan->flags & CLS_PLAN_GREEDY)) draw(m, plan, &result);
    return result;
}

clsample_result model_draw_fallback(const float *x, const float *fallback, uint32_t vocab,
                                    const clsample_params *params)
{
    cls_plan_row plan;
    model m;

    ck_ok(cls_plan(params, 0, vocab, false, &plan));
    open_model(&m, x, vocab, params);
    clsample_result result = choose(&m, &plan, m.nan ? CLSAMPLE_ROW_NAN_IGNORED : CLSAMPLE_ROW_OK);
    close_model(&m);
    if (result.status != CLSAMPLE_ROW_NO_TOKEN || !fallback) return result;
    drop_ops(&plan);
    open_model(&m, fallback, vocab, params);
    result = choose(&m, &plan, CLSAMPLE_ROW_FALLBACK);
    close_model(&m);
    return result;
}

clsample_result model_draw(const float *x, uint32_t vocab, const clsample_params *params)
{
    return model_draw_fallback(x, NULL, vocab, params);
}

void model_keep(const float *x, uint32_t vocab, const clsample_params *params, bool *kept)
{
    cls_plan_row plan;
    model m;

    ck_ok(cls_plan(params, 0, vocab, true, &plan));
    open_model(&m, x, vocab, params);
    if (m.live > 0) run(&m, &plan);
    for (uint32_t id = 0; id < vocab; id++)
        kept[id] = false;
    for (uint32_t i = m.first; i < m.last; i++)
        kept[m.order[i].id] = true;
    close_model(&m);
}
