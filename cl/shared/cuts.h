/* SPDX-License-Identifier: Apache-2.0 */
/* What both forms of the choice share: the numbers that one op hands to the next. Every sampler that is no
 * edit keeps an interval of the order of tokens (larger logit first, then smaller id), so it is a cut. What
 * lies above a cut's upper end counts as masked where logits are read, so that nothing here asks for it. */
#ifndef CLS_CUTS_H
#define CLS_CUTS_H

#include "bounds.h"
#include "canonical.h"
#include "interface.h"

#if CLS_EXTRAS
/* Does a token lie above the upper end of what is kept? */
CLS_FN int cls_is_above(uint key, uint id, uint high, uint high_id)
{
    return key > high || (key == high && id < high_id);
}
#endif
CLS_FN int cls_kept(uint key, uint id, const cls_cut *cut)
{
    return key > cut->key || (key == cut->key && id <= cut->id);
}

/* A cut moves only upwards. */
CLS_FN void cls_raise_cut(cls_cut *cut, uint key)
{
    if (key <= cut->key) return;
    cut->key = key;
    cut->id = CLS_NO_ID;
}
/* To a place that a limit found, from the cut's own key on. Of ties that another limit went through some are
 * cut already. */
CLS_FN void cls_raise_cut_to(cls_cut *cut, uint key, uint id)
{
    cut->id = key == cut->key ? min(id, cut->id) : id;
    cut->key = key;
}

/* ---- Weights of single tokens ---- */

/* A row's weights are measured by its largest key. */
typedef struct cls_measure {
    cls_scale scale;
    uint key_max;
    int saturated;
    int exponent; /* reference of the row's masses */
} cls_measure;

CLS_FN void cls_set_measure(cls_measure *m, uint key_max, cls_scale scale)
{
    m->scale = scale;
    m->key_max = key_max;
    m->saturated = cls_saturated(key_max, scale);
    m->exponent = cls_weigh(key_max, scale).exponent;
}

/* A weight in one word: 26 bits of units of the token's block, and above them how far these lie below the
 * row's. In a saturated row each of the largest is one unit. */
CLS_FN uint cls_pack(const cls_measure *m, uint key, int block_exponent)
{
    const uint shift = (uint)m->exponent - (uint)block_exponent;
    if (m->saturated) return key == m->key_max;
    return cls_in_block(cls_weigh(key, m->scale), block_exponent) | min(shift, 63u) << 26;
}
#define CLS_UNITS(weight) ((weight)&0x3ffffffu)
#define CLS_SHIFT(weight) ((weight) >> 26)

/* The mass of a sum of units. */
CLS_FN ulong cls_units_mass(const cls_measure *m, uint units, uint shift)
{
    return m->saturated ? units * CLS_HOT_MASS : ((ulong)units << CLS_GUARD_BITS) >> shift;
}
CLS_FN ulong cls_weight_mass(const cls_measure *m, uint weight)
{
    return cls_units_mass(m, CLS_UNITS(weight), CLS_SHIFT(weight));
}

/* ---- Limits ---- */

/* What a cut may keep: a number of tokens (top-k), or mass (top-p). A prefix of amount a is within if
 * a <= most, and below if a < most, or a == most and `through`. `exact` cuts through ties. */
typedef struct cls_limit {
    ulong most;
    ulong total; /* what is kept before amounts to at most that */
    int masses, through, exact;
#if CLS_EXTRAS
    int by_distance; /* from the mean, instead of by rank: */
    uint key_max, gap;
#endif
} cls_limit;

/* The limit of a mass is the floor of p * total. */
CLS_FN void cls_limit_mass(const cls_op *op, ulong total, cls_limit *limit)
{
    ulong fraction;
    limit->most = cls_mul64(total, (ulong)op->arg[1] << 32 | op->arg[0], &fraction);
    limit->total = total;
    limit->masses = 1;
    limit->through = fraction != 0;
    limit->exact = op->code == CLS_OP_MASS && op->arg[2];
}
CLS_FN void cls_limit_of(const cls_op *op, const cls_facts *facts, uint vocab, cls_limit *limit)
{
#if CLS_EXTRAS
    limit->by_distance = op->code == CLS_OP_DISTANCE;
    limit->key_max = facts->key_max;
    limit->gap = facts->gap;
#endif
    if (op->code != CLS_OP_COUNT) {
        cls_limit_mass(op, facts->mass, limit);
        return;
    }
    limit->most = op->arg[0] - 1;
    limit->total = vocab;
    limit->masses = 0;
    limit->through = 1;
    limit->exact = op->arg[1] != 0;
}
CLS_FN int cls_is_by_distance(const cls_limit *limit)
{
#if CLS_EXTRAS
    return limit->by_distance;
#else
    return 0;
#endif
}
/* What a limit goes by: tokens of larger ranks come first. */
CLS_FN uint cls_rank(const cls_limit *limit, uint key)
{
#if CLS_EXTRAS
    if (limit->by_distance) return cls_nearness(key, limit->key_max, limit->gap);
#endif
    return key;
}
CLS_FN int cls_is_below(ulong amount, const cls_limit *limit)
{
    return amount < limit->most || (limit->through && amount == limit->most);
}
#if CLS_EXTRAS
/* A limit by distance is passed at this nearness, after `above`: the least nearness that stays. */
CLS_FN uint cls_last_nearness(const cls_limit *limit, uint nearness, ulong above)
{
    return above == 0 || cls_is_below(above, limit) ? nearness : nearness + 1;
}
#endif
/* Does the token that passes the limit, after `above`, stay? Counts are passed by the last token that stays;
 * the largest logit stays anyhow. */
CLS_FN int cls_passer_stays(const cls_limit *limit, ulong above, ulong mass, int largest)
{
    if (!limit->masses || largest) return 1;
    return limit->exact ? cls_is_below(above, limit) : above + mass <= limit->most;
}

/* What a random number is made of. */
typedef struct cls_draw_key {
    uint seed_lo, seed_hi, step_lo, step_hi, stream;
} cls_draw_key;

/* Where the draw falls in what is kept: a token is drawn if the running mass up to it is the first above
 * this. */
CLS_FN ulong cls_target(const cls_draw_key *draw, ulong total)
{
    ulong unused;
    return cls_mul64(cls_random(draw->seed_lo, draw->seed_hi, draw->step_lo, draw->step_hi, draw->stream),
                     total, &unused);
}

/* ---- The outcome ---- */

CLS_FN void cls_start(cls_cut *cut, cls_result *result)
{
    const cls_cut nothing = { CLS_KEY_INFINITY, 0, CLS_NO_ID, 0, CLS_KEY_MASKED, 0, 0, CLS_ROW_NO_TOKEN };
    const cls_result none = { -1, CLS_ROW_NO_TOKEN, -INFINITY, 0 };
    *cut = nothing;
    *result = none;
}
/* The largest logit, before anything is drawn: what a greedy choice ends with. */
CLS_FN void cls_start_with(uint key_max, uint id, int greedy, int fallback, int nan, cls_cut *cut,
                           cls_result *result)
{
    const cls_result first = { (int)id,
                               fallback ? CLS_ROW_FALLBACK
                               : nan    ? CLS_ROW_NAN_IGNORED
                                        : CLS_ROW_OK,
                               0.0f, 1 };
    *result = first;
    cut->key = key_max == CLS_KEY_INFINITY || greedy ? key_max : CLS_KEY_LOWEST;
    cut->id = greedy ? id : CLS_NO_ID;
    cut->key_max = key_max;
    cut->status = first.status;
}
CLS_FN void cls_set_drawn(cls_cut *cut, cls_result *result, uint id, ulong mass, ulong total, ulong kept)
{
    cut->mass_lo = (uint)total;
    cut->mass_hi = (uint)(total >> 32);
    result->token = (int)id;
    result->logprob = cls_log_ratio(mass, total);
    result->kept = (uint)kept;
}

#endif
