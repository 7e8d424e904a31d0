/* SPDX-License-Identifier: Apache-2.0 */
/* The summary in the form for CPUs: one work-item a tile, in lanes. It is the only pass that needs every
 * logit. */
#ifndef CLS_VECTORS_SUMMARY_H
#define CLS_VECTORS_SUMMARY_H

#include "../shared/canonical.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "lanes.h"
#include "tile.h"

/* A block or tile with NaN, or masked, or extreme logits, or of any size: one by one. */
CLS_FN uint cls_summarize_any(const cls_row *row, __global const cls_raw *x, uint t, int sums,
                              cls_scale scale)
{
    const uint size = min(CLS_TILE, row->vocab - t * CLS_TILE);
    uint largest = CLS_KEY_MASKED, live = 0, nan = 0;

    for (uint begin = 0; begin < size; begin += CLS_BLOCK) {
        const uint b = t * CLS_TILE_BLOCKS + begin / CLS_BLOCK, end = min(begin + CLS_BLOCK, size);
        const uint key_max = cls_max_key(x + begin, end - begin);
        const int exponent = cls_weigh(key_max, scale).exponent;
        uint sum = 0;
        for (uint i = begin; i < end; i++) {
            const uint bits = cls_bits(x[i]), key = cls_key(bits);
            if ((bits & 0x7fffffffu) > 0x7f800000u) nan = CLS_LIVE_NAN;
            if (key == CLS_KEY_MASKED) continue;
            live++;
            if (sums) sum += cls_in_block(cls_weigh(key, scale), exponent);
        }
        if (sums) row->place.sum[b] = sum;
        if (sums) row->place.exponent[b] = exponent;
        largest = max(largest, key_max);
    }
    row->place.key[t] = largest;
    return live | nan;
}

/* Maxima are those of bits: of floats that are not negative they sort as signed integers; where all are
 * negative the largest has the smallest. -inf, and after it NaN, are the largest as unsigned integers. */

/* The largest key of a tile; 0 if it holds NaN. */
CLS_FN uint cls_tile_max(__global const cls_raw *x)
{
    cls_raw_ints top = CLS_RAW_LEAST;
    cls_raw_uints wide = 0;

    for (uint i = 0; i < CLS_TILE; i += CLS_RAW_LANES) {
        const cls_raw_ints bits = CLS_LOAD_RAW(x, i);
        top = max(top, bits);
        wide = max(wide, cls_raw_uints_of(bits));
    }
    int largest = cls_max_raw(top);
    if (largest > CLS_RAW_INFINITY || any(wide > CLS_RAW_MASKED)) return 0;
    if (largest < 0) {
        top = ~CLS_RAW_LEAST;
        for (uint i = 0; i < CLS_TILE; i += CLS_RAW_LANES)
            top = min(top, CLS_LOAD_RAW(x, i));
        largest = ~cls_max_raw(~top);
    }
    return cls_key(cls_bits((cls_raw)largest));
}

/* The largest logit of each block of a tile, NaN where there is NaN of one sign, 0 if there is any of the
 * other; *masked takes whether any is -inf. */
CLS_FN int cls_block_maxima(__global const cls_raw *x, float4 *largest, int *masked)
{
    cls_ints top[CLS_TILE_BLOCKS];
    cls_uints wide = 0;

#pragma unroll
    for (uint b = 0; b < CLS_TILE_BLOCKS; b++) {
        top[b] = INT_MIN;
        for (uint i = b * CLS_BLOCK; i < (b + 1) * CLS_BLOCK; i += CLS_LANES) {
            const cls_ints bits = CLS_LOAD(x, i);
            top[b] = max(top[b], bits);
            wide = max(wide, cls_uints_of(bits));
        }
    }
    int4 most = cls_max_four(top);
    if (any(most < 0)) {
#pragma unroll
        for (uint b = 0; b < CLS_TILE_BLOCKS; b++) {
            top[b] = INT_MAX;
            for (uint i = b * CLS_BLOCK; i < (b + 1) * CLS_BLOCK; i += CLS_LANES)
                top[b] = min(top[b], CLS_LOAD(x, i));
        }
        most = most < 0 ? cls_min_four(top) : most;
    }
    *largest = as_float4(most);
    *masked = any(wide == CLS_BITS_MASKED);
    return !any(wide > CLS_BITS_MASKED);
}

/* As cls_weigh_small has them. */
CLS_FN int4 cls_small_exponents(float4 x, cls_scale scale)
{
    return as_int4(fma(x, (float4)scale.c, (float4)CLS_MAGIC)) - CLS_MAGIC_BITS;
}

/* The sums of the blocks of tile t, whose largest logits are plain, or -inf. */
CLS_FN void cls_sum_blocks(__global const cls_raw *x, uint t, cls_scale scale, float4 largest,
                           const cls_place *place)
{
    const int4 exponent = cls_small_exponents(largest, scale);
    const int each[CLS_TILE_BLOCKS] = { exponent.x, exponent.y, exponent.z, exponent.w };
    cls_uints sum[CLS_TILE_BLOCKS];

#pragma unroll
    for (uint b = 0; b < CLS_TILE_BLOCKS; b++) {
        sum[b] = 0;
        for (uint i = b * CLS_BLOCK; i < (b + 1) * CLS_BLOCK; i += CLS_LANES)
            sum[b] += cls_in_block_lanes(CLS_LOAD(x, i), scale, (cls_ints)each[b]);
    }
    vstore4(cls_sum_four(sum), t, place->sum);
    vstore4(exponent, t, place->exponent);
}

CLS_FN uint cls_count_live(__global const cls_raw *x)
{
    cls_ints count = 0;

    for (uint i = 0; i < CLS_TILE; i += CLS_LANES)
        count += cls_ones(cls_order(CLS_LOAD(x, i)) > CLS_SIGNED_MASKED);
    return cls_sum_lanes(cls_uints_of(count));
}

/* A whole tile with its sums, its largest key included; 0 if it takes the other way. *live takes the number
 * of its tokens. */
CLS_FN uint cls_tile_sums(__global const cls_raw *x, uint t, cls_scale scale, const cls_place *place,
                          uint *live)
{
    float4 largest;
    int masked;

    const int numbers = cls_block_maxima(x, &largest, &masked);
    const int4 plain = (largest < scale.small && largest > scale.small * -0.99f) || largest == -INFINITY;
    if (!numbers || !all(plain)) return 0;
    cls_sum_blocks(x, t, scale, largest, place);
    if (masked) *live = cls_count_live(x);
    const uint2 two = max((uint2)(cls_key(as_uint(largest.x)), cls_key(as_uint(largest.y))),
                          (uint2)(cls_key(as_uint(largest.z)), cls_key(as_uint(largest.w))));
    return max(two.x, two.y);
}

/* Tile t of a row, whose logits are x; returns what is to be known of how many are no masked ones. */
CLS_FN uint cls_summarize(const cls_row *row, __global const cls_raw *x, uint t, int sums, cls_scale scale)
{
    uint key = 0, live = CLS_TILE;

    if ((t + 1) * CLS_TILE <= row->vocab)
        key = sums ? cls_tile_sums(x, t, scale, &row->place, &live) : cls_tile_max(x);
    if (key == 0) return cls_summarize_any(row, x, t, sums, scale);
    row->place.key[t] = key;
    return live;
}

#endif
