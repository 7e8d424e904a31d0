/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: what is asked of a whole row where its candidates do not suffice. */
#ifndef CLS_GROUP_ROW_H
#define CLS_GROUP_ROW_H

/* ---- Weights ---- */

/* Write the exponents of all blocks where the summary did not, if `on`. */
CLS_FN void cls_row_measure(const cls_row *row, int on)
{
    for (uint b = on ? get_local_id(0) : row->blocks; b < row->blocks; b += CLS_WG) {
        const uint key_max = cls_max_key(row->logits, b * CLS_BLOCK, min((b + 1) * CLS_BLOCK, row->vocab));
        row->place.exponent[b] = cls_weigh(key_max, row->measure.scale).exponent;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

CLS_CALLED ulong cls_token_mass(const cls_row *row, uint key, uint id)
{
    return cls_weight_mass(&row->measure, cls_pack(&row->measure, key, row->place.exponent[id / CLS_BLOCK]));
}

/* ---- Where a limit is passed: a radix search, 8 bits of the keys at a time ---- */

/* A 64-bit sum in two 32-bit halves: no 64-bit atomics are needed, and the carry arrives whatever the
 * order. */
CLS_FN void cls_add(__local uint *low, __local uint *high, ulong value)
{
    const uint add = (uint)value;
    const uint before = atomic_add(low, add);
    const uint rest = (uint)(value >> 32) + (before + add < before);
    if (rest) atomic_add(high, rest);
}

/* One digit's histogram: of the kept keys that begin with `prefix`, their number or their mass. */
CLS_FN void cls_histogram(const cls_row *row, const cls_cut *cut, uint prefix, uint shift, int masses)
{
    __local cls_near *near = row->near;
    const uint mask = shift == 24 ? 0 : ~0u << (shift + 8);

    CLS_BARRIER();
    for (uint i = get_local_id(0); i < 256; i += CLS_WG)
        near->low[i] = near->high[i] = 0;
    CLS_BARRIER();
    for (uint id = get_local_id(0); id < row->vocab; id += CLS_WG) {
        if (row->place.key[id / CLS_TILE] < max(cut->key, prefix)) continue;
        const uint key = cls_load_key(row->logits, id), digit = key >> shift & 255u;
        if ((key & mask) != prefix || !cls_kept(key, id, cut)) continue;
        cls_add(&near->low[digit], &near->high[digit], masses ? cls_token_mass(row, key, id) : 1);
    }
    CLS_BARRIER();
}

/* Find in a histogram the digit at which the sum from the top on, from *above on, exceeds `most`; the lowest
 * if none does. *above takes the sum above it. */
CLS_FN uint cls_find_digit(__local cls_near *near, ulong most, ulong *above)
{
    const cls_share bins = cls_share_of(256); /* counted from the top */
    ulong mine = 0, total;

    for (uint i = bins.begin; i < bins.end; i++)
        mine += (ulong)near->high[255 - i] << 32 | near->low[255 - i];
    ulong sum = *above + cls_group_scan(mine, &near->group, &total);
    const int last = bins.begin < bins.end && bins.end == 256;
    if (bins.begin < bins.end && sum <= most && (sum + mine > most || last)) {
        uint digit = 255 - bins.begin;
        for (; digit > 0; digit--) {
            const ulong bin = (ulong)near->high[digit] << 32 | near->low[digit];
            if (sum + bin > most) break;
            sum += bin;
        }
        near->found = digit;
        near->before = sum;
    }
    CLS_BARRIER();
    *above = near->before;
    return near->found;
}

/* Walk the kept ties of `key` in a share of the tokens in the order of ids, adding their number or mass to
 * `sum`, which is returned. *first takes the id of the first one and *first_mass what it adds; *last the id
 * of the last one that comes below the limit. Ids stay as they are if there is none. */
CLS_CALLED ulong cls_walk_ties(const cls_row *row, const cls_cut *cut, uint key, const cls_limit *limit,
                               cls_share share, ulong sum, uint *first, ulong *first_mass, uint *last)
{
    for (uint id = share.begin; id < share.end; id++) {
        if (row->place.key[id / CLS_TILE] < key || cls_load_key(row->logits, id) != key) continue;
        if (!cls_kept(key, id, cut)) continue;
        const ulong mass = limit->masses ? cls_token_mass(row, key, id) : 1;
        if (*first == CLS_NO_ID) {
            *first = id;
            *first_mass = mass;
        }
        if (cls_is_below(sum, limit)) *last = id;
        sum += mass;
    }
    return sum;
}

/* The smallest key above this one; the largest possible if there is none, as above CLS_NO_ID. */
CLS_FN uint cls_next_key(const cls_row *row, uint key)
{
    uint next = CLS_NO_ID;

    for (uint id = key == CLS_NO_ID ? row->vocab : get_local_id(0); id < row->vocab; id += CLS_WG) {
        if (row->place.key[id / CLS_TILE] <= key) continue;
        const uint k = cls_load_key(row->logits, id);
        if (k > key) next = min(next, k);
    }
    return cls_group_min(next, &row->near->group);
}

/* Move the cut to where the limit is passed, as the rule for ties asks. Without `on` nothing happens, but the
 * barriers are met all the same. */
CLS_FN void cls_row_cut(const cls_row *row, const cls_limit *limit, int on, cls_cut *cut)
{
    __local cls_near *near = row->near;
    const cls_share share = cls_share_of(on ? row->vocab : 0);
    uint key = 0, first, last, lowest = CLS_NO_ID;
    ulong above = 0, first_mass = 0, ties, before = 0;
    int stays = 0;

    for (uint shift = on ? 24 : 32; shift < 32; shift -= 8) {
        cls_histogram(row, cut, key, shift, limit->masses);
        key |= cls_find_digit(near, limit->most, &above) << shift;
    }
    /* First the sum of the ties before this share, then with it the last tie that stays. */
    for (uint turn = 0; turn < 2; turn++) {
        first = last = CLS_NO_ID;
        const ulong from = above + before;
        const ulong here =
            cls_walk_ties(row, cut, key, limit, share, from, &first, &first_mass, &last) - from;
        before = cls_group_scan(here, &near->group, &ties);
        lowest = cls_group_min(first, &near->group);
        if (first == lowest) near->before = first_mass;
        CLS_BARRIER();
        stays = cls_passer_stays(limit, above, near->before, key == row->measure.key_max);
        last = cls_group_max(last == CLS_NO_ID ? 0 : last, &near->group);
    }
    const uint next = cls_next_key(row, on && !stays ? key : CLS_NO_ID);
    if (!on || lowest == CLS_NO_ID) return;
    cut->key = stays ? key : next;
    cut->id = stays && limit->exact ? last : CLS_NO_ID;
}

/* ---- What is kept, and the draw ---- */

/* Replace the sums of a share of the blocks by those of what the cut keeps, and return its mass; *count takes
 * its number. As long as all is kept the summary has both. */
CLS_CALLED ulong cls_row_keep(const cls_row *row, cls_share share, const cls_cut *cut, uint *count)
{
    const int all = row->summed == CLS_SUMS_WHOLE && !row->measure.saturated && cut->key == CLS_KEY_LOWEST &&
                    cut->id == CLS_NO_ID;
    ulong mass = 0;
    uint n = 0;

    for (uint b = share.begin; b < share.end; b++) {
        const int exponent = row->place.exponent[b];
        const uint shift = (uint)row->measure.exponent - (uint)exponent;
        const int none = all || row->place.key[b / CLS_TILE_BLOCKS] < cut->key;
        uint units = all ? row->place.sum[b] : 0;
        if (all && b % CLS_TILE_BLOCKS == 0) n += row->place.live[b / CLS_TILE_BLOCKS] & CLS_LIVE_COUNT;
#pragma unroll 1 /* as in cls_floor_of */
        for (uint id = none ? row->vocab : b * CLS_BLOCK; id < min((b + 1) * CLS_BLOCK, row->vocab); id++) {
            const uint key = cls_load_key(row->logits, id);
            if (!cls_kept(key, id, cut)) continue;
            units += CLS_UNITS(cls_pack(&row->measure, key, exponent));
            n++;
        }
        if (!all) row->place.sum[b] = units;
        mass += cls_units_mass(&row->measure, units, min(shift, 63u));
    }
    *count = n;
    return mass;
}

/* The token kept in a share of the blocks whose running mass, from `sum` on, first exceeds `target`, which
 * lies in there; *mass takes its own. */
CLS_CALLED uint cls_row_draw(const cls_row *row, cls_share share, const cls_cut *cut, ulong sum, ulong target,
                             ulong *mass)
{
    ulong before = sum, after;
    uint b = share.begin, shift, units = 0, id;

    for (;; b++) {
        shift = min((uint)row->measure.exponent - (uint)row->place.exponent[b], 63u);
        after = sum + cls_units_mass(&row->measure, row->place.sum[b], shift);
        if (after > target) break;
        sum = after;
    }
    for (id = b * CLS_BLOCK, after = sum; after <= target; id++) {
        const uint key = cls_load_key(row->logits, id);
        if (!cls_kept(key, id, cut)) continue;
        units += CLS_UNITS(cls_pack(&row->measure, key, row->place.exponent[b]));
        before = after;
        after = sum + cls_units_mass(&row->measure, units, shift);
    }
    *mass = after - before;
    return id - 1;
}

#endif
