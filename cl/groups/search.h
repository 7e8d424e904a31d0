/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: where a limit is passed in a whole row, by a radix search, 8 bits of the ranks at a
 * time. */
#ifndef CLS_GROUPS_SEARCH_H
#define CLS_GROUPS_SEARCH_H

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/facts.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "group.h"
#include "row.h"
#include "tile.h"

/* A 64-bit sum in two 32-bit halves: no 64-bit atomics are needed, and the carry arrives whatever the
 * order. */
CLS_FN void cls_add(__local uint *low, __local uint *high, ulong value)
{
    const uint add = (uint)value;
    const uint before = atomic_add(low, add);
    const uint rest = (uint)(value >> 32) + (before + add < before);
    if (rest) atomic_add(high, rest);
}

/* All, also for those who need a few: any other number takes registers of its own for the whole kernel. */
CLS_FN void cls_clear_bins(__local cls_shared *s)
{
    CLS_BARRIER();
    for (uint i = get_local_id(0); i < 256; i += CLS_WG)
        s->low[i] = s->high[i] = 0;
    CLS_BARRIER();
}

/* One digit's histogram: of what is kept with a rank that begins with `prefix`, the number or the mass. */
CLS_FN void cls_histogram(const cls_row *row, const cls_limit *limit, const cls_cut *cut, uint prefix,
                          uint shift)
{
    __local cls_shared *s = row->shared;
    const uint mask = shift == 24 ? 0 : ~0u << (shift + 8);
    const uint least = cls_is_by_distance(limit) ? cut->key : max(cut->key, prefix);

    cls_clear_bins(s);
    for (uint id = get_local_id(0); id < row->vocab; id += CLS_WG) {
        if (row->place.key[id / CLS_TILE] < least) continue;
        const uint key = cls_key_at(row, id), rank = cls_rank(limit, key), digit = rank >> shift & 255u;
        if (!cls_kept(key, id, cut) || (rank & mask) != prefix) continue;
        cls_add(&s->low[digit], &s->high[digit], limit->masses ? cls_token_mass(row, key, id) : 1);
    }
    CLS_BARRIER();
}
CLS_FN ulong cls_bin(__local const cls_shared *s, uint digit)
{
    return (ulong)s->high[digit] << 32 | s->low[digit];
}

/* Find in a histogram the digit at which the sum from the top on, from *above on, exceeds `most`; the lowest
 * if none does. *above takes the sum above it. */
CLS_FN uint cls_find_digit(__local cls_shared *s, ulong most, ulong *above)
{
    const cls_share bins = cls_share_of(256); /* counted from the top */
    ulong mine = 0, total;

    for (uint i = bins.begin; i < bins.end; i++)
        mine += cls_bin(s, 255 - i);
    ulong sum = *above + cls_group_scan(mine, &s->group, &total);
    const int last = bins.begin < bins.end && bins.end == 256;
    if (bins.begin < bins.end && sum <= most && (sum + mine > most || last)) {
        uint digit = 255 - bins.begin;
        for (; digit > 0; digit--) {
            const ulong bin = cls_bin(s, digit);
            if (sum + bin > most) break;
            sum += bin;
        }
        s->found = digit;
        s->before = sum;
    }
    CLS_BARRIER();
    *above = s->before;
    return s->found;
}

/* The rank at which the limit is passed; *above takes what is kept above it. The lowest possible if it is
 * not. */
CLS_FN uint cls_search_row(const cls_row *row, const cls_limit *limit, const cls_cut *cut, ulong *above)
{
    uint rank = 0;

    *above = 0;
    for (uint shift = 24; shift < 32; shift -= 8) {
        cls_histogram(row, limit, cut, rank, shift);
        rank |= cls_find_digit(row->shared, limit->most, above) << shift;
    }
    return rank;
}

/* Walk the kept ties of `key` in a share of the tokens in the order of ids, adding their number or mass to
 * `sum`, which is returned. *first takes the id of the first one and *first_mass what it adds; *last the id
 * of the last one that comes below the limit. Ids stay as they are if there is none. */
CLS_CALLED ulong cls_walk_ties(const cls_row *row, const cls_cut *cut, uint key, const cls_limit *limit,
                               cls_share share, ulong sum, uint *first, ulong *first_mass, uint *last)
{
    for (uint id = share.begin; id < share.end; id++) {
        if (row->place.key[id / CLS_TILE] < key || cls_key_at(row, id) != key) continue;
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
        const uint k = cls_key_at(row, id);
        if (k > key) next = min(next, k);
    }
    return cls_group_min(next, &row->shared->group);
}

/* Find where the limit is passed, as the rule for ties asks; 0 if it is not. */
CLS_FN int cls_find_in_row(cls_row *row, const cls_limit *limit, const cls_cut *cut, uint *rank, uint *id)
{
    __local cls_shared *s = row->shared;
    const cls_share share = cls_share_of(row->vocab);
    uint first, last, lowest = CLS_NO_ID;
    ulong above, first_mass = 0, ties, before = 0;
    int stays = 0;

    cls_find_row(row);
    const uint key = cls_search_row(row, limit, cut, &above);
#if CLS_EXTRAS
    if (limit->by_distance) {
        *rank = cls_last_nearness(limit, key, above);
        return above + cls_bin(s, key & 255) > limit->most;
    }
#endif
    /* First the sum of the ties before this share, then with it the last tie that stays. */
    for (uint turn = 0; turn < 2; turn++) {
        first = last = CLS_NO_ID;
        const ulong from = above + before;
        const ulong here =
            cls_walk_ties(row, cut, key, limit, share, from, &first, &first_mass, &last) - from;
        before = cls_group_scan(here, &s->group, &ties);
        lowest = cls_group_min(first, &s->group);
        if (first == lowest) s->before = first_mass;
        CLS_BARRIER();
        stays = cls_passer_stays(limit, above, s->before, key == row->measure.key_max);
        last = cls_group_max(last == CLS_NO_ID ? 0 : last, &s->group);
    }
    const uint next = cls_next_key(row, stays ? CLS_NO_ID : key);
    *rank = stays ? key : next;
    *id = stays && limit->exact ? last : CLS_NO_ID;
    return lowest != CLS_NO_ID;
}

#endif
