/* SPDX-License-Identifier: Apache-2.0 */
/* The form for CPUs: the candidates, all tokens of a row within a range of keys, in the order of ids, and
 * what is asked of them. */
#ifndef CLS_VECTOR_NEAR_H
#define CLS_VECTOR_NEAR_H

/* Up to a whole number of lanes, unused candidates have the key and the weight 0, so that they never count.
 * */
typedef struct cls_near {
    __global uint *key, *id; /* [room] */
    __global uint *weight;   /* as cls_pack has it */
    uint room;
} cls_near;

CLS_FN cls_near cls_near_of(__global uchar *scratch, ulong offset, uint r, uint rows, uint vocab)
{
    const uint room = cls_near_room(vocab);
    const ulong begin = offset + CLS_NEAR_OFFSET((ulong)rows, cls_tiles(vocab), cls_blocks(vocab)) +
                        r * (ulong)(CLS_NEAR_WORDS * sizeof(uint) * room);
    const cls_near near = { (__global uint *)(scratch + begin),
                            (__global uint *)(scratch + begin + sizeof(uint) * room),
                            (__global uint *)(scratch + begin + sizeof(uint) * 2 * room), room };
    return near;
}

/* The row that is chosen from. */
typedef struct cls_row {
    __global const cls_raw *logits;
    cls_place place;
    uint vocab, tiles;
    cls_measure measure;
    uint weighed; /* tiles with a key of at least this have the exponents of their blocks, at this measure */
    /* The sums of blocks are those of all tokens from sums_key on, sums_count in number, and the candidates
     * all others from sums_low on. If sums_low is CLS_NO_ID, nothing is said. */
    uint sums_key, sums_low, sums_count;
    cls_near near;
    uint count; /* of candidates */
    int have;   /* they are all tokens from `floor` on */
    int due;    /* those are to be gathered before the next stage */
    uint floor;
} cls_row;

CLS_FN int cls_tile_has_nan(const cls_row *row, uint t)
{
    return (row->place.live[t] & CLS_LIVE_NAN) != 0;
}

CLS_FN void cls_drop_candidates(cls_row *row)
{
    row->count = 0;
    row->have = 0;
    row->sums_low = row->sums_key;
}

/* ---- To gather ---- */

/* The logits of block b that `hits` has a bit for become candidates, from place n on, with the block's
 * exponent instead of weights for now. Returns the place after the last; nothing is written if that is beyond
 * the room. */
CLS_FN uint cls_append(const cls_row *row, uint b, ulong hits, int exponent, uint n)
{
    const uint end = n + (uint)popcount(hits);

    if (end > row->near.room) return end;
    for (; hits != 0; hits &= hits - 1, n++) {
        const uint id = b * CLS_BLOCK + 63 - (uint)clz(hits & -hits);
        row->near.key[n] = cls_load_key(row->logits, id);
        row->near.id[n] = id;
        row->near.weight[n] = (uint)exponent;
    }
    return end;
}

/* Which logits of block b have at least this key; *key_max takes the largest key of the block. */
CLS_FN ulong cls_hits_any(const cls_row *row, uint b, uint floor, uint *key_max)
{
    const uint end = min((b + 1) * CLS_BLOCK, row->vocab);
    ulong hits = 0;

    for (uint id = b * CLS_BLOCK; id < end; id++)
        hits |= (ulong)(cls_load_key(row->logits, id) >= floor) << id % CLS_BLOCK;
    *key_max = cls_max_key(row->logits, b * CLS_BLOCK, end);
    return hits;
}
CLS_FN ulong cls_hits_lanes(const cls_row *row, uint b, uint floor, uint *key_max)
{
    const int least = cls_least_order(floor);
    cls_ints top = INT_MIN;
    cls_uints mark[CLS_MARKS];

#pragma unroll
    for (uint q = 0; q < CLS_MARKS; q++) {
        mark[q] = 0;
#pragma unroll
        for (uint i = 0; i < CLS_MARKED; i += CLS_LANES) {
            const cls_ints order = cls_order(CLS_LOAD(row->logits, b * CLS_BLOCK + q * CLS_MARKED + i));
            mark[q] |= cls_mark(order >= least, i);
            top = max(top, order);
        }
    }
    const ulong hits = cls_marked(mark);
    if (hits != 0) *key_max = cls_order_key(cls_max_lane(top));
    return hits;
}

/* From exponents to weights. */
CLS_FN void cls_weigh_near_lanes(const cls_row *row, uint i)
{
    const cls_measure *m = &row->measure;
    const cls_near *near = &row->near;
    const cls_uints key = cls_vload(0, near->key + i);
    const cls_ints bits = cls_ints_of(key ^ (cls_uints_of(~(cls_ints_of(key) >> 31)) | 0x80000000u));
    const cls_ints exponent = cls_ints_of(cls_vload(0, near->weight + i));
    const cls_uints shift = min(cls_uints_of(m->exponent - exponent), (cls_uints)63);
    const cls_uints units = cls_in_block_lanes(bits, m->scale, exponent);

    cls_vstore(units | shift << 26, 0, near->weight + i);
}
CLS_FN void cls_weigh_candidates(const cls_row *row, uint lowest)
{
    const cls_near *near = &row->near;
    const int plain = !row->measure.saturated && cls_is_plain(row->measure.key_max, row->measure.scale) &&
                      cls_is_plain(lowest, row->measure.scale);

    for (uint i = 0; plain && i < row->count; i += CLS_LANES)
        cls_weigh_near_lanes(row, i);
    for (uint i = plain ? row->count : 0; i < row->count; i++)
        near->weight[i] = cls_pack(&row->measure, near->key[i], (int)near->weight[i]);
    for (uint i = row->count; i % CLS_LANES != 0; i++)
        near->key[i] = near->weight[i] = 0;
}

/* The candidates of a tile, from place n on; returns the place after the last. */
CLS_FN uint cls_gather_tile(const cls_row *row, uint t, uint floor, uint n)
{
    const int lanes = (t + 1) * CLS_TILE <= row->vocab && !cls_tile_has_nan(row, t);
    const uint end = min((t + 1) * CLS_TILE_BLOCKS, cls_blocks(row->vocab));

    for (uint b = t * CLS_TILE_BLOCKS; b < end && n <= row->near.room; b++) {
        uint key_max = CLS_KEY_MASKED;
        const ulong hits =
            lanes ? cls_hits_lanes(row, b, floor, &key_max) : cls_hits_any(row, b, floor, &key_max);
        if (hits != 0) n = cls_append(row, b, hits, cls_weigh(key_max, row->measure.scale).exponent, n);
    }
    return n;
}

/* Take all tokens from a key on as candidates; none if there is no room for them. */
CLS_FN void cls_gather(cls_row *row, uint floor)
{
    uint n = 0;

    cls_drop_candidates(row);
    row->floor = floor;
    for (uint t = 0; t < row->tiles && n <= row->near.room; t++) {
        while (t + CLS_LANES <= row->tiles && !any(cls_vload(0, row->place.key + t) >= floor))
            t += CLS_LANES;
        if (t < row->tiles && row->place.key[t] >= floor) n = cls_gather_tile(row, t, floor, n);
    }
    if (n > row->near.room) return;
    row->count = n;
    row->have = 1;
    cls_weigh_candidates(row, floor);
}

/* ---- To search ---- */

CLS_FN ulong cls_near_count(const cls_row *row, uint key)
{
    const cls_ints least = cls_signed(key);
    cls_ints count = 0;

    for (uint i = 0; i < row->count; i += CLS_LANES)
        count += cls_ones(cls_ints_of(cls_vload(0, row->near.key + i) ^ 0x80000000u) >= least);
    return cls_sum_lanes(cls_uints_of(count));
}
CLS_FN ulong cls_near_mass(const cls_row *row, uint key)
{
    const cls_ints least = cls_signed(key);
    cls_ulongs sum = 0;

    for (uint i = 0; i < row->count; i += CLS_LANES) {
        const cls_ints in = cls_ints_of(cls_vload(0, row->near.key + i) ^ 0x80000000u) >= least;
        const cls_uints weight = cls_vload(0, row->near.weight + i) & cls_uints_of(in);
        if (row->measure.saturated)
            sum += cls_to_ulongs(weight) * CLS_HOT_MASS;
        else
            sum += (cls_to_ulongs(CLS_UNITS(weight)) << CLS_GUARD_BITS) >> cls_to_ulongs(CLS_SHIFT(weight));
    }
    return cls_total_lanes(sum);
}
/* What the candidates from a key on amount to. */
CLS_FN ulong cls_near_amount(const cls_row *row, int masses, uint key)
{
    return masses ? cls_near_mass(row, key) : cls_near_count(row, key);
}

/* The largest key such that what is kept from there on is more than the limit; that from `low` on is, that
 * from `high` on is not. *above is what lies above the candidates, and takes what lies above that key. */
CLS_FN uint cls_near_search(const cls_row *row, const cls_limit *limit, uint low, uint high, ulong *above)
{
    const ulong base = *above;

    while (high - low > 1) {
        const uint middle = low + (high - low) / 2;
        const ulong amount = base + cls_near_amount(row, limit->masses, middle);
        if (amount > limit->most) {
            low = middle;
        } else {
            high = middle;
            *above = amount;
        }
    }
    return low;
}

/* Those that the cut does not keep no longer count. */
CLS_FN void cls_near_drop(const cls_row *row, const cls_cut *cut)
{
    for (uint i = 0; i < row->count; i++) {
        if (cls_kept(row->near.key[i], row->near.id[i], cut)) continue;
        row->near.key[i] = row->near.weight[i] = 0;
    }
}

/* ---- What is kept, and the draw ---- */

/* The mass of the candidates that the cut keeps, and their number. The weights of a block are added before
 * they become mass. */
CLS_FN ulong cls_near_kept(const cls_row *row, const cls_cut *cut, ulong *count)
{
    uint block = CLS_NO_ID, units = 0, shift = 0;
    ulong mass = 0, n = 0;

    for (uint i = 0; i < row->count; i++) {
        const uint weight = row->near.weight[i];
        if (!cls_kept(row->near.key[i], row->near.id[i], cut)) continue;
        if (row->near.id[i] / CLS_BLOCK != block) {
            mass += cls_units_mass(&row->measure, units, shift);
            block = row->near.id[i] / CLS_BLOCK;
            units = 0;
        }
        units += CLS_UNITS(weight);
        shift = CLS_SHIFT(weight);
        n++;
    }
    *count = n;
    return mass + cls_units_mass(&row->measure, units, shift);
}

/* The kept candidate whose running mass first exceeds the target; *mass takes its own. There is one. */
CLS_FN uint cls_near_draw(const cls_row *row, const cls_cut *cut, ulong target, ulong *mass)
{
    uint block = CLS_NO_ID, units = 0, i = 0;
    ulong done = 0, before = 0, after = 0;

    for (; i < row->count; i++) {
        const uint weight = row->near.weight[i];
        if (!cls_kept(row->near.key[i], row->near.id[i], cut)) continue;
        if (row->near.id[i] / CLS_BLOCK != block) {
            done = after;
            block = row->near.id[i] / CLS_BLOCK;
            units = 0;
        }
        units += CLS_UNITS(weight);
        before = after;
        after = done + cls_units_mass(&row->measure, units, CLS_SHIFT(weight));
        if (after > target) break;
    }
    *mass = after - before;
    return row->near.id[i];
}

#endif
