/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: what is asked of a whole row where its candidates do not suffice. Tiles whose largest
 * key cannot count are passed over. */
#ifndef CLS_VECTOR_ROW_H
#define CLS_VECTOR_ROW_H

/* The exponent of a block: from its largest key, where the summary did not keep it. */
CLS_FN int cls_block_exponent(const cls_row *row, uint b)
{
    if (row->summed) return row->place.exponent[b];
    const uint key = cls_max_key(row->logits, b * CLS_BLOCK, min((b + 1) * CLS_BLOCK, row->vocab));
    return cls_weigh(key, row->measure.scale).exponent;
}

/* Can cls_in_block_lanes weigh the blocks of tile t? All that is -inf weighs nothing either way. */
CLS_FN int cls_tile_is_plain(const cls_row *row, uint t)
{
    return !row->measure.saturated && (t + 1) * CLS_TILE <= row->vocab && !cls_tile_has_nan(row, t) &&
           cls_is_plain(row->place.key[t], row->measure.scale);
}

/* The exponents of the blocks of a plain tile. For a block whose largest logit is not plain itself, or -inf,
 * it may be any that leaves nothing of the block. */
CLS_FN void cls_tile_exponents(const cls_row *row, uint t, int *exponent)
{
    float4 largest;
    int masked;

    if (row->summed) {
        vstore4(vload4(t, row->place.exponent), 0, exponent);
        return;
    }
    cls_block_maxima(row->logits + t * CLS_TILE, &largest, &masked);
    vstore4(cls_near_exponents(largest, row->measure.scale), 0, exponent);
}

CLS_FN cls_ints cls_kept_lanes(cls_ints key, uint id, const cls_cut *cut)
{
    const int least = cls_signed(cut->key);

    if (cut->id == CLS_NO_ID) return key >= least;
    return (key > least) | ((key == least) & (CLS_LANE_NUMBERS + (int)id <= (int)cut->id));
}

/* ---- What the cut keeps of a tile ---- */

/* Of a plain tile, whose sums this writes; `count` takes numbers lane by lane. */
CLS_FN void cls_keep_plain(const cls_row *row, uint t, const cls_cut *cut, cls_ints *count)
{
    const int least = cls_least_order(cut->key);
    cls_uints sum[CLS_TILE_BLOCKS];
    int exponent[CLS_TILE_BLOCKS];

    cls_tile_exponents(row, t, exponent);
#pragma unroll 1
    for (uint b = 0; b < CLS_TILE_BLOCKS; b++) {
        const uint begin = t * CLS_TILE + b * CLS_BLOCK;
        sum[b] = 0;
        for (uint id = begin; id < begin + CLS_BLOCK; id += CLS_LANES) {
            const cls_ints bits = CLS_LOAD(row->logits, id);
            cls_ints kept = cls_order(bits) >= least;
            if (cut->id != CLS_NO_ID) kept = cls_kept_lanes(cls_signed_lanes(bits), id, cut);
            sum[b] +=
                cls_in_block_lanes(bits, row->measure.scale, (cls_ints)exponent[b]) & cls_uints_of(kept);
            *count += cls_ones(kept);
        }
    }
    vstore4(cls_sum_four(sum), t, row->place.sum);
    vstore4(vload4(0, exponent), t, row->place.exponent);
}

/* Of any other, one by one; returns their number. */
CLS_FN uint cls_keep_any(const cls_row *row, uint t, const cls_cut *cut)
{
    uint count = 0;

    for (uint b = t * CLS_TILE_BLOCKS; b < min((t + 1) * CLS_TILE_BLOCKS, cls_blocks(row->vocab)); b++) {
        const int exponent = cls_block_exponent(row, b);
        uint sum = 0;
        for (uint id = b * CLS_BLOCK; id < min((b + 1) * CLS_BLOCK, row->vocab); id++) {
            const uint key = cls_load_key(row->logits, id);
            if (!cls_kept(key, id, cut)) continue;
            sum += CLS_UNITS(cls_pack(&row->measure, key, exponent));
            count++;
        }
        row->place.sum[b] = sum;
        row->place.exponent[b] = exponent;
    }
    return count;
}

CLS_FN ulong cls_block_mass(const cls_row *row, uint b)
{
    const uint shift = (uint)row->measure.exponent - (uint)row->place.exponent[b];
    return cls_units_mass(&row->measure, row->place.sum[b], min(shift, 63u));
}
/* Of CLS_LANES blocks, each, in a row that is not saturated. */
CLS_FN cls_ulongs cls_block_masses(const cls_row *row, uint b)
{
    const cls_uints shift = cls_uints_of(row->measure.exponent - cls_vload(0, row->place.exponent + b));
    const cls_ulongs sum = cls_to_ulongs(cls_vload(0, row->place.sum + b));
    return (sum << CLS_GUARD_BITS) >> cls_to_ulongs(min(shift, (cls_uints)63));
}

/* The mass of all blocks' sums. */
CLS_FN ulong cls_sums_mass(const cls_row *row)
{
    const uint blocks = cls_blocks(row->vocab);
    cls_ulongs masses = 0;
    ulong mass = 0;
    uint b = 0;

    for (; !row->measure.saturated && b + CLS_LANES <= blocks; b += CLS_LANES)
        masses += cls_block_masses(row, b);
    for (; b < blocks; b++)
        mass += cls_block_mass(row, b);
    return mass + cls_total_lanes(masses);
}

/* The mass of the whole row, from the summary's sums, which a saturated row does not use. *count takes the
 * number of its tokens. */
CLS_FN ulong cls_row_whole(const cls_row *row, ulong *count)
{
    uint n = 0;

    for (uint t = 0; t < row->tiles; t++)
        n += row->place.live[t] & CLS_LIVE_COUNT;
    *count = n;
    return cls_sums_mass(row);
}

/* Replace the sums of blocks by those of what the cut keeps, and return its mass; *count takes its number. */
CLS_FN ulong cls_row_keep(cls_row *row, const cls_cut *cut, ulong *count)
{
    cls_ints lanes = 0;
    uint n = 0;

    for (uint t = 0; t < row->tiles; t++) {
        if (row->place.key[t] < cut->key) {
            for (uint b = t * CLS_TILE_BLOCKS; b < min((t + 1) * CLS_TILE_BLOCKS, cls_blocks(row->vocab));
                 b++)
                row->place.sum[b] = 0;
        } else if (cls_tile_is_plain(row, t)) {
            cls_keep_plain(row, t, cut, &lanes);
        } else {
            n += cls_keep_any(row, t, cut);
        }
    }
    row->summed = 1;
    *count = n + cls_sum_lanes(cls_uints_of(lanes));
    return cls_sums_mass(row);
}

/* The block in which the running mass exceeds the target, once the sums of blocks are those of what is kept;
 * *done takes that of the blocks before. There is one. */
CLS_FN uint cls_row_find(const cls_row *row, ulong target, ulong *done)
{
    const uint blocks = row->measure.saturated ? 0 : cls_blocks(row->vocab);
    ulong sum = 0, after;
    uint b = 0;

    for (; b + CLS_LANES <= blocks; b += CLS_LANES) {
        after = sum + cls_total_lanes(cls_block_masses(row, b));
        if (after > target) break;
        sum = after;
    }
    for (;; b++) {
        after = sum + cls_block_mass(row, b);
        if (after > target) break;
        sum = after;
    }
    *done = sum;
    return b;
}

/* The kept token whose running mass first exceeds the target; *mass takes its own. */
CLS_FN uint cls_row_draw(const cls_row *row, const cls_cut *cut, ulong target, ulong *mass)
{
    ulong done, before, after;
    const uint b = cls_row_find(row, target, &done);
    const int exponent = row->place.exponent[b];
    const uint shift = min((uint)row->measure.exponent - (uint)exponent, 63u);
    uint id = b * CLS_BLOCK, units = 0;

    for (before = after = done; after <= target; id++) {
        const uint key = cls_load_key(row->logits, id);
        if (!cls_kept(key, id, cut)) continue;
        units += CLS_UNITS(cls_pack(&row->measure, key, exponent));
        before = after;
        after = done + cls_units_mass(&row->measure, units, shift);
    }
    *mass = after - before;
    return id - 1;
}

/* ---- Thresholds: what lies above several keys at once ---- */

#define CLS_THRESHOLDS 8u
#define CLS_SAMPLE 16u       /* of so many tiles one is looked at for a first guess ... */
#define CLS_SAMPLE_TILES 96u /* ... in a row of so many or more */

/* A range of keys, from `low` on and below `high`, and how it is parted: keys lie as dense as floats do,
 * which is wrong around 0, and so do values, where a few tokens stand far above the rest. */
typedef struct cls_range {
    uint low, high;
    int by_key;
} cls_range;

/* Keys that part a range evenly, ascending; `ends`: with its ends. By value none but the end lies further
 * below the range's top than 32 binary digits of weight, where little mass is left. */
CLS_FN void cls_thresholds(const cls_range *in, int ends, cls_scale scale, uint *threshold)
{
    const float top = cls_float_of(cls_key_bits(min(in->high, CLS_KEY_INFINITY - 1)));
    const float low = cls_float_of(cls_key_bits(max(in->low, CLS_KEY_LOWEST)));
    const float begin = max(low, top - min(32.0f / scale.c, 1e30f));
    const uint first = ends ? 0 : 1, parts = ends ? CLS_THRESHOLDS - 1 : CLS_THRESHOLDS + 1;
    uint least = in->low;

#pragma unroll 1
    for (uint j = 0; j < CLS_THRESHOLDS; j++) {
        const float part = (float)(j + first) / (float)parts;
        const uint key = in->by_key ? in->low + (uint)((ulong)(in->high - in->low) * (j + first) / parts)
                                    : cls_key(cls_bits_of(begin * (1.0f - part) + top * part));
        least = threshold[j] = min(max(key, least), in->high);
    }
    if (ends) threshold[0] = in->low;
    if (ends) threshold[CLS_THRESHOLDS - 1] = in->high;
}

CLS_FN void cls_amounts_any(const cls_row *row, uint t, const cls_cut *cut, int masses, const uint *threshold,
                            ulong *amount)
{
    int exponent = 0;

    for (uint id = t * CLS_TILE; id < min((t + 1) * CLS_TILE, row->vocab); id++) {
        const uint key = cls_load_key(row->logits, id);
        if (masses && id % CLS_BLOCK == 0) exponent = cls_block_exponent(row, id / CLS_BLOCK);
        if (key < threshold[0] || !cls_kept(key, id, cut)) continue;
        const ulong mass =
            masses ? cls_weight_mass(&row->measure, cls_pack(&row->measure, key, exponent)) : 1;
#pragma unroll 1
        for (uint j = 0; j < CLS_THRESHOLDS; j++)
            amount[j] += key >= threshold[j] ? mass : 0;
    }
}
/* Of a block of a plain tile. */
CLS_FN void cls_amounts_plain(const cls_row *row, uint begin, const cls_cut *cut, int masses, int exponent,
                              const int *least, ulong4 *amount)
{
    const uint shift = masses ? min((uint)row->measure.exponent - (uint)exponent, 63u) : CLS_GUARD_BITS;
    /* A token's mass is cut to an integer by itself: what the shift takes beyond the guard bits goes first.
     * */
    const uint first = shift > CLS_GUARD_BITS ? min(shift - CLS_GUARD_BITS, 31u) : 0;
    const uint left = CLS_GUARD_BITS - min(shift, CLS_GUARD_BITS);
    cls_uints sum[CLS_THRESHOLDS];

#pragma unroll
    for (uint j = 0; j < CLS_THRESHOLDS; j++)
        sum[j] = 0;
    for (uint id = begin; id < begin + CLS_BLOCK; id += CLS_LANES) {
        const cls_ints bits = CLS_LOAD(row->logits, id), order = cls_order(bits);
        cls_uints units = 1;
        if (masses) units = cls_in_block_lanes(bits, row->measure.scale, (cls_ints)exponent) >> first;
        if (cut->id != CLS_NO_ID) units &= cls_uints_of(cls_kept_lanes(cls_signed_lanes(bits), id, cut));
#pragma unroll
        for (uint j = 0; j < CLS_THRESHOLDS; j++)
            sum[j] += units & cls_uints_of(order >= least[j]);
    }
    amount[0] += convert_ulong4(cls_sum_four(sum)) << left;
    amount[1] += convert_ulong4(cls_sum_four(sum + 4)) << left;
}

/* What is kept from each threshold on, counted or weighed, in each `step`-th tile. */
CLS_FN void cls_amounts(const cls_row *row, const cls_cut *cut, int masses, const uint *threshold, uint step,
                        ulong *amount)
{
    const uint lowest = max(threshold[0], cut->key);
    ulong4 sums[CLS_THRESHOLDS / 4] = { 0, 0 };
    int least[CLS_THRESHOLDS], exponent[CLS_TILE_BLOCKS] = { 0, 0, 0, 0 };

#pragma unroll
    for (uint j = 0; j < CLS_THRESHOLDS; j++) {
        amount[j] = 0;
        least[j] = cls_least_order(max(threshold[j], cut->key));
    }
    for (uint t = 0; t < row->tiles; t += step) {
        if (row->place.key[t] < lowest) continue;
        if (!cls_tile_is_plain(row, t)) {
            cls_amounts_any(row, t, cut, masses, threshold, amount);
            continue;
        }
        if (masses) cls_tile_exponents(row, t, exponent);
#pragma unroll 1
        for (uint b = 0; b < CLS_TILE_BLOCKS; b++)
            cls_amounts_plain(row, t * CLS_TILE + b * CLS_BLOCK, cut, masses, exponent[b], least, sums);
    }
    vstore4(vload4(0, amount) + sums[0], 0, amount);
    vstore4(vload4(1, amount) + sums[1], 1, amount);
}

/* Did a range lose half of itself, so that it is worth going on the same way? */
CLS_FN int cls_shrinks(const cls_range *before, const cls_range *after)
{
    return after->high - after->low <= (before->high - before->low) / 2;
}

/* A search for the range of the cut. */
typedef struct cls_hunt {
    cls_range in;         /* where it is for certain */
    cls_range look;       /* where it is looked for */
    uint step;            /* in each `step`-th tile: above 1 the amounts are a guess */
    uint turn;            /* counted from 0 for the guess, and again for the rest */
    ulong target, margin; /* of the guess */
    ulong above;          /* what is kept above in.high */
} cls_hunt;

#define CLS_GUESSES 8u

/* Narrow the guess by the amounts of a sample. A wrong guess costs time, nothing else. */
CLS_FN void cls_guess(cls_hunt *h, const uint *threshold, const ulong *amount, float share)
{
    const cls_range before = h->look;

    if (h->turn == 0) {
        h->target = (ulong)((float)amount[0] * share);
        h->margin = amount[0] / 96;
    }
#pragma unroll 1
    for (uint j = 0; j < CLS_THRESHOLDS; j++) {
        if (amount[j] >= h->target + h->margin) h->look.low = max(h->look.low, threshold[j]);
        if (amount[j] + h->margin <= h->target) h->look.high = min(h->look.high, threshold[j]);
    }
    h->turn++;
    if (h->look.low < h->look.high && h->turn < CLS_GUESSES) {
        if (cls_shrinks(&before, &h->look)) return;
        if (!before.by_key) {
            h->look.by_key = 1;
            return;
        }
    }
    if (h->look.low >= h->look.high) h->look = h->in; /* the sample says nothing */
    h->look.by_key = 0;
    h->step = 1;
    h->turn = 0;
}
/* Narrow the range by exact amounts, and look in all of it next. */
CLS_FN void cls_close_in(cls_hunt *h, const uint *threshold, const ulong *amount, ulong most)
{
    const cls_range before = h->in;

#pragma unroll 1
    for (uint j = 0; j < CLS_THRESHOLDS; j++) {
        if (amount[j] > most) {
            h->in.low = max(h->in.low, threshold[j]);
        } else if (threshold[j] < h->in.high) {
            h->in.high = threshold[j];
            h->above = amount[j];
        }
    }
    if (!cls_shrinks(&before, &h->in)) h->in.by_key = !h->in.by_key;
    h->look = h->in;
    h->turn++;
}

/* Narrow the row to candidates among which the cut is, *above being what is kept above them; or to a single
 * key with more ties than they hold, which is the answer then, and no candidates. Returns the lowest key of
 * the range. `total` is what all that is kept may amount to. */
CLS_FN uint cls_narrow(cls_row *row, const cls_cut *cut, const cls_limit *limit, ulong total, ulong *above)
{
    const cls_range whole = { cut->key, row->measure.key_max + 1, 0 };
    cls_hunt h = { whole, whole, row->tiles >= CLS_SAMPLE_TILES ? CLS_SAMPLE : 1, 0, 0, 0, 0 };
    uint threshold[CLS_THRESHOLDS];
    ulong amount[CLS_THRESHOLDS];

    row->have = row->count = 0;
    while (h.in.high - h.in.low > 1) {
        cls_thresholds(&h.look, h.turn == 0, row->measure.scale, threshold);
        cls_amounts(row, cut, limit->masses, threshold, h.step, amount);
        if (h.step > 1) {
            cls_guess(&h, threshold, amount, (float)limit->most / (float)total);
            continue;
        }
        cls_close_in(&h, threshold, amount, limit->most);
        if (h.in.high > h.in.low + 1 && cls_gather(row, h.in.low, h.in.high - 1)) break;
    }
    *above = h.above;
    return h.in.low;
}

#endif
