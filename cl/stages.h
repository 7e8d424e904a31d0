/* SPDX-License-Identifier: Apache-2.0 */
/* What both forms of the choice share: the numbers that one stage hands to the next. Every filter keeps a
 * prefix of the order of tokens (larger logit first, then smaller id), so a filter is a cut: a key, and an id
 * among its ties. */
#ifndef CLS_STAGES_H
#define CLS_STAGES_H

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

/* ---- Stages ---- */

/* Those of a plan, as bits in their order. */
#define CLS_STAGE_MIN_P 1u
#define CLS_STAGE_BAND 2u
#define CLS_STAGE_TOP_K 4u
#define CLS_STAGE_TOP_P 8u
#define CLS_STAGE_LATE_MIN_P 16u
#define CLS_STAGE_SCALE 32u /* from the filters' to the draw's */
#define CLS_STAGE_DRAW 64u
/* These need the mass of what is kept before them, ... */
#define CLS_STAGES_MEASURE (CLS_STAGE_BAND | CLS_STAGE_TOP_P | CLS_STAGE_DRAW)
/* ... and these look for a limit of it. */
#define CLS_STAGES_LIMIT (CLS_STAGE_TOP_K | CLS_STAGE_TOP_P)

CLS_FN uint cls_stages_of(uint flags)
{
    uint stages = CLS_STAGE_DRAW;

    if (flags & CLS_PLAN_MIN_P_LATE)
        stages |= CLS_STAGE_LATE_MIN_P;
    else if (flags & CLS_PLAN_MIN_P)
        stages |= flags & CLS_PLAN_MIN_P_BAND ? CLS_STAGE_BAND : CLS_STAGE_MIN_P;
    if (flags & CLS_PLAN_TOP_K) stages |= CLS_STAGE_TOP_K;
    if (flags & CLS_PLAN_TOP_P) stages |= CLS_STAGE_TOP_P;
    if (flags & CLS_PLAN_TWO_SCALES) stages |= CLS_STAGE_SCALE;
    return stages;
}

/* The article's band of min-p: what is within 1e-9 of the largest probability stays, a threshold of
 * -T ln(1 - 1e-9 whole / largest), as a series. The quotient is of integers, so it is the same everywhere. */
CLS_FN uint cls_band_key(const cls_measure *m, float band, ulong whole)
{
    const ulong top = m->saturated ? CLS_HOT_MASS : cls_mass(cls_weigh(m->key_max, m->scale).mantissa, 0, 0);
    const float q = (float)(uint)(whole / (top >> 8)) * 0x1p-8f;
    const float y = q * 1e-9f;
    const float series = fma(y, fma(y, 0.333333343f, 0.5f), 1.0f);
    return cls_min_p_key(m->key_max, -(q * band) * series, 0.0f);
}

/* What a cut may keep: a number of tokens (top-k), or mass (top-p). A prefix of amount a is within if
 * a <= most, and below if a < most, or a == most and `through`. `exact` cuts through ties. */
typedef struct cls_limit {
    ulong most;
    int masses, through, exact;
} cls_limit;

CLS_FN void cls_limit_count(const cls_plan_row *plan, cls_limit *limit)
{
    limit->most = plan->top_k - 1;
    limit->masses = 0;
    limit->through = 1;
    limit->exact = (plan->flags & CLS_PLAN_TOP_K_EXACT) != 0;
}
/* The limit of a mass is the floor of top_p * total. */
CLS_FN void cls_limit_mass(const cls_plan_row *plan, ulong total, cls_limit *limit)
{
    ulong fraction;
    limit->most = cls_mul64(total, (ulong)plan->top_p_hi << 32 | plan->top_p_lo, &fraction);
    limit->masses = 1;
    limit->through = fraction != 0;
    limit->exact = (plan->flags & CLS_PLAN_TOP_P_INCL) != 0;
}
CLS_FN int cls_is_below(ulong amount, const cls_limit *limit)
{
    return amount < limit->most || (limit->through && amount == limit->most);
}
/* Does the token that passes the limit, after `above`, stay? Counts are passed by the last token that stays;
 * the largest logit stays anyhow. */
CLS_FN int cls_passer_stays(const cls_limit *limit, ulong above, ulong mass, int largest)
{
    if (!limit->masses || largest) return 1;
    return limit->exact ? cls_is_below(above, limit) : above + mass <= limit->most;
}

/* Where the draw falls in what is kept: a token is drawn if the running mass up to it is the first above
 * this. */
CLS_FN ulong cls_target(const cls_plan_row *plan, ulong total)
{
    ulong unused;
    return cls_mul64(cls_random(plan->seed_lo, plan->seed_hi, plan->step_lo, plan->step_hi, plan->stream),
                     total, &unused);
}

/* ---- The outcome ---- */

CLS_FN void cls_start(cls_cut *cut, cls_result *result)
{
    const cls_cut nothing = { CLS_KEY_INFINITY, 0, CLS_KEY_MASKED, 0, 0, CLS_ROW_NO_TOKEN, CLS_NO_ID, 0 };
    const cls_result none = { -1, CLS_ROW_NO_TOKEN, -INFINITY, 0 };
    *cut = nothing;
    *result = none;
}
/* The largest logit, before anything is drawn: what a greedy choice ends with. */
CLS_FN void cls_start_with(uint key_max, uint id, int fallback, int nan, cls_cut *cut, cls_result *result)
{
    const cls_result greedy = { (int)id,
                                fallback ? CLS_ROW_FALLBACK
                                : nan    ? CLS_ROW_NAN_IGNORED
                                         : CLS_ROW_OK,
                                0.0f, 1 };
    *result = greedy;
    cut->key = key_max == CLS_KEY_INFINITY ? CLS_KEY_INFINITY : CLS_KEY_LOWEST;
    cut->id = CLS_NO_ID;
    cut->key_max = key_max;
    cut->greedy = id;
    cut->status = greedy.status;
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
