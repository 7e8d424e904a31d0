/* SPDX-License-Identifier: Apache-2.0 */
/* The model's kernels for devices with many small processors, such as GPUs: a group has one tile of a
 * matrix. A work-item adds up one of its 16 rows, over the blocks of one of SLICES slices; neighbours read
 * neighbours. Every barrier is passed by the whole group, outside of loops and branches. */

#include "llama_base.cl"
#include "llama_layout.h"

typedef __global const float *floats;

#define WORKERS (TILE * SLICES) /* items of a group; SLICES is COLUMNS at least */

/* Each function adds a row of block b, times the columns x of n values, to `sum`. */
FN void dot_q4(const uint type, __global const uchar *block, const uint row, const floats *x, const uint n,
               const uint b, float *sum)
{
    const float scale = half_float(scale_bits(block, 0, row));
    const float least = type == LLAMA_Q4_1 ? half_float(scale_bits(block, 1, row)) : -8.0f * scale;
    __global const uint *words = (__global const uint *)(block + 2u * LLAMA_SCALES(type) * TILE);
    float parts[COLUMNS];

    for (uint c = 0; c < COLUMNS; c++)
        parts[c] = 0.0f;
    for (uint w = 0; w < 4u; w++) {
        const uint eight = words[w * TILE + row];
        for (uint k = 0; k < 4u; k++) {
            const float low = (float)(eight >> (8u * k) & 15u), high = (float)(eight >> (8u * k + 4u) & 15u);
            for (uint c = 0; c < COLUMNS; c++) {
                floats at = x[c] + b * BLOCK + 4u * w + k;
                parts[c] = MAD(low, at[0], MAD(high, at[BLOCK / 2u], parts[c]));
            }
        }
    }
    for (uint c = 0; c < COLUMNS; c++) {
        const float total = x[c][n + 2u * b] + x[c][n + 2u * b + 1u];
        sum[c] = MAD(scale, parts[c], MAD(least, total, sum[c]));
    }
}

FN void dot_q8(__global const uchar *block, const uint row, const floats *x, const uint b, float *sum)
{
    const float scale = half_float(scale_bits(block, 0, row));
    __global const uint *words = (__global const uint *)(block + 2u * TILE);
    float parts[COLUMNS];

    for (uint c = 0; c < COLUMNS; c++)
        parts[c] = 0.0f;
    for (uint w = 0; w < BLOCK / 4u; w++) {
        const float4 four = convert_float4(as_char4(words[w * TILE + row]));
        for (uint c = 0; c < COLUMNS; c++) {
            floats at = x[c] + b * BLOCK + 4u * w;
            parts[c] = MAD(four.x, at[0], MAD(four.y, at[1], parts[c]));
            parts[c] = MAD(four.z, at[2], MAD(four.w, at[3], parts[c]));
        }
    }
    for (uint c = 0; c < COLUMNS; c++)
        sum[c] = MAD(scale, parts[c], sum[c]);
}

FN void dot_float(const uint type, __global const uchar *block, const uint row, const floats *x, const uint b,
                  float *sum)
{
    float weights[BLOCK];

    decode_block(type, block, row, weights);
    for (uint c = 0; c < COLUMNS; c++) {
        for (uint i = 0; i < BLOCK; i++)
            sum[c] = MAD(weights[i], x[c][b * BLOCK + i], sum[c]);
    }
}

/* The item's part of a tile's products with columns of n values, into parts[column][slice][row]. */
FN void product(const uint type, __global const uchar *matrix, const uint tile, const floats *x, const uint n,
                __local float *parts)
{
    const uint row = get_local_id(0) % TILE, slice = get_local_id(0) / TILE;
    const uint bytes = LLAMA_BLOCK_BYTES(type);
    __global const uchar *blocks = matrix + (size_t)tile * (n / BLOCK) * bytes;
    float sum[COLUMNS];

    for (uint c = 0; c < COLUMNS; c++)
        sum[c] = 0.0f;
    for (uint b = slice; b < n / BLOCK; b += SLICES) {
        switch (type) {
#if HAS(LLAMA_Q4_0) || HAS(LLAMA_Q4_1)
        case LLAMA_Q4_0:
        case LLAMA_Q4_1: dot_q4(type, blocks + b * bytes, row, x, n, b, sum); break;
#endif
#if HAS(LLAMA_Q8_0)
        case LLAMA_Q8_0: dot_q8(blocks + b * bytes, row, x, b, sum); break;
#endif
#if HAS(LLAMA_F32) || HAS(LLAMA_F16) || HAS(LLAMA_BF16)
        default: dot_float(type, blocks + b * bytes, row, x, b, sum); break;
#endif
        }
    }
    for (uint c = 0; c < COLUMNS; c++)
        parts[(c * SLICES + slice) * TILE + row] = sum[c];
}

/* Adds the slices up, after a barrier: totals[column][row]. */
FN void add_slices(__local const float *parts, __local float *totals)
{
    const uint row = get_local_id(0) % TILE, c = get_local_id(0) / TILE;
    float sum = 0.0f;

    if (c >= COLUMNS) return;
    for (uint s = 0; s < SLICES; s++)
        sum += parts[(c * SLICES + s) * TILE + row];
    totals[c * TILE + row] = sum;
}

FN void take_columns(__global const float *operand, const uint n, const uint first, const uint columns,
                     floats *x)
{
    for (uint c = 0; c < COLUMNS; c++)
        x[c] = operand + (size_t)min(first + c, columns - 1u) * LLAMA_OPERAND(n);
}

/* Group (t, i) has tile t and columns i * COLUMNS and the following. After the second barrier an item for
 * each column goes on with the tile's 16 results. `share` is for the other form. */

/* Global: (QUERY + 2 SHARED) / 16 groups, groups for the columns. */
__kernel ITEMS(WORKERS) void llama_query(__global const uchar *restrict query, const uint query_type,
                                         __global const uchar *restrict key, const uint key_type,
                                         __global const uchar *restrict value, const uint value_type,
                                         __global const float *restrict operand, const float epsilon,
                                         __global const uint *restrict table,
                                         __global const float *restrict turns,
                                         __global float *restrict queries, __global float *restrict keys,
                                         __global float *restrict values, const uint share)
{
    __local float parts[COLUMNS * WORKERS], totals[COLUMNS * TILE];
    const uint tile = get_group_id(0), columns = table[0];
    const uint column = get_group_id(1) * COLUMNS + get_local_id(0);
    floats x[COLUMNS];

    take_columns(operand, DIM, get_group_id(1) * COLUMNS, columns, x);
    __global const uchar *matrix = tile < KEY_TILE ? query : tile < VALUE_TILE ? key : value;
    const uint type = tile < KEY_TILE ? query_type : tile < VALUE_TILE ? key_type : value_type;
    const uint before = tile < KEY_TILE ? 0u : tile < VALUE_TILE ? KEY_TILE : VALUE_TILE;
    product(type, matrix, tile - before, x, DIM, parts);
    barrier(CLK_LOCAL_MEM_FENCE);
    add_slices(parts, totals);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (get_local_id(0) < COLUMNS && column < columns) {
        const float scale = norm_scale(operand + (size_t)column * LLAMA_OPERAND(DIM), epsilon);
        put_tile(tile, vload16(get_local_id(0), totals) * scale, column, table[LLAMA_TABLE_ROW(column)],
                 table[LLAMA_TABLE_POSITION(column)], turns, queries, keys, values);
    }
}

/* How a query meets the key of a position. */
FN float score_of(floats query, floats keys, const uint position)
{
    floats key = keys + (size_t)(position / TILE) * TILE * HEAD + position % TILE;
    float sum = 0.0f;

    for (uint i = 0; i < HEAD; i++)
        sum = MAD(query[i], key[i * TILE], sum);
    return sum * (1.0f / sqrt((float)HEAD));
}

#define READERS LLAMA_READERS

/* The softmax of all scores, which stand in scratch, [columns, HEADS, CONTEXT], meanwhile. A group has a head
 * of a column. Global: HEADS groups, columns. */
__kernel ITEMS(READERS) void llama_attention(__global const float *restrict queries,
                                             __global const float *restrict keys,
                                             __global const float *restrict values,
                                             __global const uint *restrict table,
                                             __global float *restrict attended,
                                             __global float *restrict scratch)
{
    __local float tops[READERS], totals[READERS], outs[HEAD];
    const uint head = get_group_id(0), column = get_group_id(1), me = get_local_id(0);
    const uint end = table[LLAMA_TABLE_POSITION(column)] + 1u;
    const size_t cache = cache_at(table[LLAMA_TABLE_ROW(column)], head / (HEADS / KV_HEADS));
    __global float *parts = scratch + ((size_t)column * HEADS + head) * CONTEXT;
    __global float *out = attended + (size_t)column * LLAMA_OPERAND(QUERY);
    float top = -INFINITY, total = 0.0f, sum = 0.0f;

    for (uint p = me; p < end; p += READERS) {
        parts[p] = score_of(queries + (size_t)column * QUERY + head * HEAD, keys + cache, p);
        top = fmax(top, parts[p]);
    }
    tops[me] = top;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < READERS; i++)
        top = fmax(top, tops[i]);
    for (uint p = me; p < end; p += READERS) {
        parts[p] = exp(parts[p] - top);
        total += parts[p];
    }
    totals[me] = total;
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    for (uint i = 0; i < READERS; i++)
        sum += totals[i];
    for (uint i = me; i < HEAD; i += READERS) {
        float v = 0.0f;
        for (uint p = 0; p < end; p++)
            v = MAD(parts[p], values[cache + (size_t)p * HEAD + i], v);
        out[head * HEAD + i] = outs[i] = v / sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = me; i < HEAD / TILE; i += READERS)
        out[QUERY + head * (HEAD / TILE) + i] = sum16(vload16(i, outs));
}

/* Global: DIM / 16 groups, groups for the columns. */
__kernel ITEMS(WORKERS) void llama_add(__global const uchar *restrict matrix, const uint type,
                                       __global const float *restrict operand, const uint n,
                                       __global const uint *restrict table, __global float *restrict x,
                                       __global const float *restrict norm, __global float *restrict normed,
                                       const uint share)
{
    __local float parts[COLUMNS * WORKERS], totals[COLUMNS * TILE];
    const uint tile = get_group_id(0), columns = table[0];
    const uint column = get_group_id(1) * COLUMNS + get_local_id(0);
    floats in[COLUMNS];

    take_columns(operand, n, get_group_id(1) * COLUMNS, columns, in);
    product(type, matrix, tile, in, n, parts);
    barrier(CLK_LOCAL_MEM_FENCE);
    add_slices(parts, totals);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (get_local_id(0) < COLUMNS && column < columns) {
        __global float *to = x + (size_t)column * DIM;
        const float16 v = vload16(tile, to) + vload16(get_local_id(0), totals);
        vstore16(v, tile, to);
        put_normed(normed + (size_t)column * LLAMA_OPERAND(DIM), tile, v, norm);
    }
}

/* Global: FF / 16 groups, groups for the columns. */
__kernel ITEMS(WORKERS) void llama_feed(__global const uchar *restrict gate, const uint gate_type,
                                        __global const uchar *restrict up, const uint up_type,
                                        __global const float *restrict operand, const float epsilon,
                                        __global const uint *restrict table, __global float *restrict fed,
                                        const uint share)
{
    /* Of the gate, then of the other. */
    __local float parts[2u * COLUMNS * WORKERS], totals[2u * COLUMNS * TILE];
    const uint tile = get_group_id(0), columns = table[0];
    const uint column = get_group_id(1) * COLUMNS + get_local_id(0);
    floats x[COLUMNS];

    take_columns(operand, DIM, get_group_id(1) * COLUMNS, columns, x);
    for (uint i = 0; i < 2u; i++)
        product(i == 0 ? gate_type : up_type, i == 0 ? gate : up, tile, x, DIM,
                parts + i * COLUMNS * WORKERS);
    barrier(CLK_LOCAL_MEM_FENCE);
    add_slices(parts, totals);
    add_slices(parts + COLUMNS * WORKERS, totals + COLUMNS * TILE);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (get_local_id(0) < COLUMNS && column < columns) {
        const float scale = norm_scale(operand + (size_t)column * LLAMA_OPERAND(DIM), epsilon);
        const float16 gate_sum = vload16(get_local_id(0), totals);
        const float16 up_sum = vload16(COLUMNS + get_local_id(0), totals);
        const float16 v = swiglu(gate_sum * scale, up_sum * scale);
        put_fed(fed + (size_t)column * LLAMA_OPERAND(FF), tile, v);
    }
}

/* Global: a group for each 16 of VOCAB, groups for the columns. */
__kernel ITEMS(WORKERS) void llama_head(__global const uchar *restrict matrix, const uint type,
                                        __global const float *restrict operand, const float epsilon,
                                        __global const uint *restrict table, const uint share,
                                        const uint columns, __global float *restrict logits,
                                        const ulong offset)
{
    __local float parts[COLUMNS * WORKERS], totals[COLUMNS * TILE];
    const uint tile = get_group_id(0), me = get_local_id(0);
    const uint column = get_group_id(1) * COLUMNS + me / TILE, token = tile * TILE + me % TILE;
    floats x[COLUMNS];

    take_columns(operand, DIM, get_group_id(1) * COLUMNS, columns, x);
    product(type, matrix, tile, x, DIM, parts);
    barrier(CLK_LOCAL_MEM_FENCE);
    add_slices(parts, totals);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (me < COLUMNS * TILE && column < columns && token < VOCAB) {
        const float scale = norm_scale(operand + (size_t)column * LLAMA_OPERAND(DIM), epsilon);
        logits[offset + (size_t)table[LLAMA_TABLE_ROW(column)] * VOCAB + token] = totals[me] * scale;
    }
}

/* As in the other form; an item has a block of one row. Global: the rows of the tiles, rounded up to whole
 * groups, blocks of 32 columns. */
__kernel ITEMS(GROUP) void llama_unpack(__global const uchar *restrict matrix, const uint type, const uint n,
                                        const uint first, const uint tiles, __global float *restrict out)
{
    const uint row = get_global_id(0), b = get_global_id(1);
    float weights[BLOCK];

    if (row >= tiles * TILE) return;
    decode_row(type, matrix, first * TILE + row, b, n / BLOCK, weights);
    for (uint i = 0; i < BLOCK; i++)
        out[((size_t)b * BLOCK + i) * tiles * TILE + row] = weights[i];
}
