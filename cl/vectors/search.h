/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: where in a row a limit is passed, if its candidates do not tell. Samples of the row give
 * a guess, the row is parted there, and new candidates tell. Exact amounts above several thresholds help
 * where a guess was wrong, or too wide. */
#ifndef CLS_VECTORS_SEARCH_H
#define CLS_VECTORS_SEARCH_H

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "candidates.h"
#include "lanes.h"
#include "row.h"

#define CLS_THRESHOLDS 8u

/* ---- Ranges and thresholds ---- */

/* A range of keys, from `low` on and below `high`, and how it is parted: keys lie as dense as floats do,
 * which is wrong around 0, and so do values, where a few tokens stand far above the rest. */
typedef struct cls_range {
    uint low, high;
    int by_key;
} cls_range;

/* The logit of a key; of one beyond them all, the finite one that comes nearest. */
CLS_FN float cls_key_value(uint key)
{
    return cls_float_of(cls_key_bits(min(max(key, CLS_KEY_LOWEST), CLS_KEY_INFINITY - 1)));
}
CLS_FN uint cls_key_between(uint low, uint high, float part)
{
    return cls_key(cls_bits_of(cls_key_value(low) * (1.0f - part) + cls_key_value(high) * part));
}

/* Keys that part a range evenly, ascending; `ends`: with its ends. By value none but the end lies further
 * below the range's top than 16 binary digits of weight, where little mass is left. */
CLS_FN void cls_thresholds(const cls_range *in, int ends, cls_scale scale, uint *threshold)
{
    const float far = cls_key_value(in->high) - min(16.0f / scale.c, 1e30f);
    const uint begin = max(in->low, cls_key(cls_bits_of(far)));
    const uint first = ends ? 0 : 1, parts = ends ? CLS_THRESHOLDS - 1 : CLS_THRESHOLDS + 1;
    uint least = in->low;

#pragma unroll 1
    for (uint j = 0; j < CLS_THRESHOLDS; j++) {
        const uint key = in->by_key ? in->low + (uint)((ulong)(in->high - in->low) * (j + first) / parts)
                                    : cls_key_between(begin, in->high, (float)(j + first) / (float)parts);
        least = threshold[j] = min(max(key, least), in->high);
    }
    if (ends) threshold[0] = in->low;
    if (ends) threshold[CLS_THRESHOLDS - 1] = in->high;
}

/* Did a range lose half of itself, so that it is worth going on the same way? */
CLS_FN int cls_shrinks(const cls_range *before, const cls_range *after)
{
    return after->high - after->low <= (before->high - before->low) / 2;
}

/* ---- What lies above several keys at once ---- */

CLS_FN void cls_amounts_any(const cls_row *row, uint t, const cls_cut *cut, const cls_limit *limit,
                            const uint *threshold, ulong *amount)
{
    __global const cls_raw *x = cls_tile(row, t);
    const uint begin = t * CLS_TILE, n = min(CLS_TILE, row->vocab - begin);
    int exponent = 0;

    for (uint i = 0; i < n; i++) {
        const uint key = cls_key_at(x, i), rank = cls_rank(limit, key);
        if (limit->masses && i % CLS_BLOCK == 0) exponent = cls_block_exponent(row, (begin + i) / CLS_BLOCK);
        if (rank < threshold[0] || !cls_kept(key, begin + i, cut)) continue;
        const ulong mass =
            limit->masses ? cls_weight_mass(&row->measure, cls_pack(&row->measure, key, exponent)) : 1;
#pragma unroll 1
        for (uint j = 0; j < CLS_THRESHOLDS; j++)
            amount[j] += rank >= threshold[j] ? mass : 0;
    }
}
/* Of a block of a plain tile, whose logits are x and begin with token `begin`. */
CLS_FN void cls_amounts_plain(const cls_row *row, __global const cls_raw *x, uint begin, const cls_cut *cut,
                              const cls_limit *limit, int exponent, const int *least, ulong4 *amount)
{
    const int masses = limit->masses;
    const uint shift = masses ? min((uint)row->measure.exponent - (uint)exponent, 63u) : CLS_GUARD_BITS;
    /* What the shift takes beyond the guard bits goes before tokens are added. */
    const uint first = shift > CLS_GUARD_BITS ? min(shift - CLS_GUARD_BITS, 31u) : 0;
    const uint left = CLS_GUARD_BITS - min(shift, CLS_GUARD_BITS);
    cls_uints sum[CLS_THRESHOLDS];

#pragma unroll
    for (uint j = 0; j < CLS_THRESHOLDS; j++)
        sum[j] = 0;
    for (uint i = 0; i < CLS_BLOCK; i += CLS_LANES) {
        const cls_ints bits = CLS_LOAD(x, i), order = cls_rank_lanes(limit, bits);
        cls_uints units = 1;
        if (masses) units = cls_in_block_lanes(bits, row->measure.scale, (cls_ints)exponent) >> first;
        if (cut->id != CLS_NO_ID || cls_is_by_distance(limit))
            units &= cls_uints_of(cls_kept_lanes(cls_signed_lanes(bits), begin + i, cut));
#pragma unroll
        for (uint j = 0; j < CLS_THRESHOLDS; j++)
            sum[j] += units & cls_uints_of(order >= least[j]);
    }
    amount[0] += convert_ulong4(cls_sum_four(sum)) << left;
    amount[1] += convert_ulong4(cls_sum_four(sum + 4)) << left;
}

/* What is kept from each threshold on, counted or weighed, in each `step`-th tile. */
CLS_CALLED void cls_amounts(const cls_row *row, const cls_cut *cut, const cls_limit *limit,
                            const uint *threshold, uint step, ulong *amount)
{
    const int by_distance = cls_is_by_distance(limit);
    const uint lowest = by_distance ? cut->key : max(threshold[0], cut->key);
    ulong4 sums[CLS_THRESHOLDS / 4] = { 0, 0 };
    int least[CLS_THRESHOLDS], exponent[CLS_TILE_BLOCKS] = { 0, 0, 0, 0 };

#pragma unroll
    for (uint j = 0; j < CLS_THRESHOLDS; j++) {
        amount[j] = 0;
        least[j] = by_distance ? (int)threshold[j] : cls_least_order(max(threshold[j], cut->key));
    }
    for (uint t = 0; t < row->tiles; t += step) {
        if (row->place.key[t] < lowest) continue;
        if (!cls_tile_is_plain(row, t)) {
            cls_amounts_any(row, t, cut, limit, threshold, amount);
            continue;
        }
        if (limit->masses) cls_tile_exponents(row, t, exponent);
        __global const cls_raw *x = cls_tile(row, t);
#pragma unroll 1
        for (uint b = 0; b < CLS_TILE_BLOCKS; b++)
            cls_amounts_plain(row, x + b * CLS_BLOCK, t * CLS_TILE + b * CLS_BLOCK, cut, limit, exponent[b],
                              least, sums);
    }
    vstore4(vload4(0, amount) + sums[0], 0, amount);
    vstore4(vload4(1, amount) + sums[1], 1, amount);
}

/* ---- The search ---- */

/* A search for the key at which a limit is passed: what is kept from there on is more than the limit. */
typedef struct cls_search {
    cls_range in;       /* where it is for certain */
    ulong below, above; /* what is kept from in.low on, and from in.high on */
    cls_range look;     /* where it is looked for */
    float expected;     /* tokens there */
} cls_search;

#define CLS_UNKNOWN 1e30f /* tokens: too many */

/* What a token with this key amounts to, about. */
CLS_FN float cls_about(const cls_row *row, const cls_limit *limit, uint key)
{
    const cls_weight w = cls_weigh(key, row->measure.scale);

    if (!limit->masses) return 1.0f;
    if (row->measure.saturated) return (float)CLS_HOT_MASS;
    return max((float)cls_mass(w.mantissa, w.exponent, row->measure.exponent), 1.0f);
}

/* ---- A guess from samples ---- */

/* Nothing here hangs on anything but speed. */

#define CLS_SAMPLED_TILES 96u /* in smaller rows a sample is not worth its while */
#define CLS_FINE_STEP 8u      /* of so many tiles the last sample has one, but not much more than ... */
#define CLS_FINE_TILES 128u   /* ... so many; the coarse ones have ... */
#define CLS_COARSER 8u        /* ... so many times fewer */
#define CLS_COARSE_TURNS 3u
#define CLS_SIGMAS 3.0f /* how many standard deviations the limit may lie beside where a sample has it */

/* What some of a row's tiles say of a search. Its thresholds are the ends of the search's range, and between
 * them those of where the limit is looked for. */
typedef struct cls_sample {
    uint step;   /* every step-th tile is in it */
    float share; /* of what lies in the range, that above the limit */
    uint threshold[CLS_THRESHOLDS];
    ulong amount[CLS_THRESHOLDS];
    float target; /* the amount at which the limit is passed in the sample */
} cls_sample;

/* Returns 0 if the sample has nothing in the range. */
CLS_FN int cls_take_sample(const cls_row *row, const cls_cut *cut, const cls_limit *limit,
                           const cls_search *h, cls_sample *s)
{
    const uint last = CLS_THRESHOLDS - 1;
    const float tiles = (float)((row->tiles + s->step - 1) / s->step) / (float)row->tiles;

    cls_thresholds(&h->look, 1, row->measure.scale, s->threshold);
    s->threshold[1] = h->look.low;
    s->threshold[last - 1] = h->look.high;
    s->threshold[0] = h->in.low;
    s->threshold[last] = h->in.high;
    cls_amounts(row, cut, limit, s->threshold, s->step, s->amount);
    /* The mass in the range is known, but weights differ a lot: what the sample has of it says more. */
    const float all =
        limit->masses ? (float)(s->amount[0] - s->amount[last]) : (float)(h->below - h->above) * tiles;
    s->target = (float)s->amount[last] + s->share * all;
    return s->amount[0] > s->amount[last];
}

/* What the cells between thresholds add to the variance of the amount above the limit: those outside of where
 * it is looked for, or all. */
CLS_FN float cls_variance(const cls_row *row, const cls_limit *limit, const cls_sample *s,
                          const cls_range *look, int all)
{
    float variance = 0.0f;

#pragma unroll 1
    for (uint j = 1; j + 2 < CLS_THRESHOLDS; j++) {
        const uint low = s->threshold[j], high = s->threshold[j + 1];
        const float each = cls_about(row, limit, cls_key_between(low, high, 0.5f));
        const float mass = (float)(s->amount[j] - s->amount[j + 1]);
        const float left = 1.0f - s->share;
        if (low >= look->high)
            variance += mass * each * left * left;
        else if (high <= look->low)
            variance += mass * each * s->share * s->share;
        else if (all)
            variance += mass * each * s->share * left;
    }
    return variance;
}

/* Look between the thresholds that are beyond the target by a margin. */
CLS_FN void cls_look_closer(const cls_sample *s, float margin, cls_range *look)
{
    const cls_range before = *look;

#pragma unroll 1
    for (uint j = 0; j < CLS_THRESHOLDS; j++) {
        const uint from_top = CLS_THRESHOLDS - 1 - j;
        if ((float)s->amount[j] >= s->target + margin) look->low = max(before.low, s->threshold[j]);
        if ((float)s->amount[from_top] <= s->target - margin)
            look->high = min(before.high, s->threshold[from_top]);
    }
    look->high = max(look->high, look->low + 1);
}

/* The key from which on a sample has about this amount. */
CLS_FN uint cls_key_of_amount(const cls_sample *s, float amount)
{
    uint j = 0;

    while (j < CLS_THRESHOLDS - 1 && (float)s->amount[j + 1] >= amount)
        j++;
    if (j == CLS_THRESHOLDS - 1 || (float)s->amount[j] < amount) return s->threshold[j];
    const float part = ((float)s->amount[j] - amount) / (float)(s->amount[j] - s->amount[j + 1]);
    const uint key = cls_key_between(s->threshold[j], s->threshold[j + 1], part);
    return min(max(key, s->threshold[j]), s->threshold[j + 1]);
}

/* Guess where to look: some coarse samples find out between which thresholds, and how much they may be wrong,
 * a fine one finds the place. */
CLS_FN void cls_guess(const cls_row *row, const cls_cut *cut, const cls_limit *limit, cls_search *h)
{
    const uint step = max(CLS_FINE_STEP, row->tiles / CLS_FINE_TILES);
    cls_sample s = { .step = CLS_COARSER * step,
                     .share = (float)(limit->most - h->above) / (float)(h->below - h->above) };
    float variance = 0.0f;

#pragma unroll 1
    for (uint turn = 0; turn <= CLS_COARSE_TURNS; turn++) {
        if (turn == CLS_COARSE_TURNS) s.step = step;
        if (!cls_take_sample(row, cut, limit, h, &s)) {
            h->look = h->in;
            return;
        }
        if (turn == CLS_COARSE_TURNS) break;
        const float now = variance + cls_variance(row, limit, &s, &h->look, 1);
        cls_look_closer(&s, CLS_SIGMAS * sqrt(now), &h->look);
        variance += cls_variance(row, limit, &s, &h->look, turn == CLS_COARSE_TURNS - 1);
    }
    const float margin = CLS_SIGMAS * sqrt((float)CLS_COARSER * variance);
    h->look.low = cls_key_of_amount(&s, s.target + margin);
    h->look.high = max(cls_key_of_amount(&s, s.target - margin), h->look.low + 1);
    h->expected = 2.0f * margin * (float)step / cls_about(row, limit, h->look.low);
}

/* ---- Exact steps ---- */

/* Narrow the range by exact amounts from some thresholds on, ascending, and look in all of it next. */
CLS_FN void cls_close_in(const cls_row *row, const cls_limit *limit, const uint *threshold,
                         const ulong *amount, uint n, cls_search *h)
{
    const cls_range before = h->in;

#pragma unroll 1
    for (uint j = 0; j < n; j++) {
        if (amount[j] > limit->most && threshold[j] >= h->in.low) {
            h->in.low = threshold[j];
            h->below = amount[j];
        } else if (amount[j] <= limit->most && threshold[j] < h->in.high) {
            h->in.high = threshold[j];
            h->above = amount[j];
        }
    }
    if (!cls_shrinks(&before, &h->in)) h->in.by_key = !h->in.by_key;
    h->look = h->in;
    h->expected = (float)(h->below - h->above) / cls_about(row, limit, h->in.low);
}

CLS_FN void cls_close_in_by_amounts(const cls_row *row, const cls_cut *cut, const cls_limit *limit,
                                    cls_search *h)
{
    const int ends = h->look.low != h->in.low || h->look.high != h->in.high;
    uint threshold[CLS_THRESHOLDS];
    ulong amount[CLS_THRESHOLDS];

    cls_thresholds(&h->look, ends, row->measure.scale, threshold);
    cls_amounts(row, cut, limit, threshold, 1, amount);
    cls_close_in(row, limit, threshold, amount, CLS_THRESHOLDS, h);
}

/* Part the row at where it is looked for. Returns whether the limit is passed there, among candidates. */
CLS_FN int cls_close_in_by_part(cls_row *row, const cls_limit *limit, cls_search *h)
{
    const cls_cut top = { .key = h->look.high, .id = CLS_NO_ID };
    const uint threshold[2] = { h->look.low, h->look.high };
    ulong amount[2];

    if (!cls_row_part(row, &top, h->look.low, amount + 1)) {
        h->expected = CLS_UNKNOWN;
        return 0;
    }
    if (!limit->masses) amount[1] = row->sums_count;
    amount[0] = amount[1] + cls_candidates_amount(row, limit, h->look.low);
    cls_close_in(row, limit, threshold, amount, 2, h);
    return amount[0] > limit->most && amount[1] <= limit->most;
}

/* Narrow the row to candidates among which the limit is passed, h->in being their range then; or to a single
 * key with more ties than there is room for, and no candidates. */
CLS_FN void cls_narrow(cls_row *row, const cls_cut *cut, const cls_limit *limit, cls_search *h)
{
    if (row->tiles >= CLS_SAMPLED_TILES) cls_guess(row, cut, limit, h);
    while (h->in.high - h->in.low > 1) {
        if (h->expected > (float)row->candidates.room)
            cls_close_in_by_amounts(row, cut, limit, h);
        else if (cls_close_in_by_part(row, limit, h))
            return;
    }
    cls_drop_candidates(row);
}

#endif
