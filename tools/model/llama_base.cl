/* SPDX-License-Identifier: Apache-2.0 */
/* What both forms of the model's kernels share: weights decoded one by one, the beginning of a batch, and
 * the steps between the matrix products of a prompt. OpenCL C 1.2, no extension.
 *
 * The host defines the model's shape: DIM, HEADS, KV_HEADS, HEAD (values of a head), FF, VOCAB, CONTEXT (a
 * multiple of 16); TYPES, a bit for each type of weights that products meet, and ALL_TYPES, the
 * embedding's too; and of the device: VECTORS, 1 if a work-item has many rows of a matrix; GROUP,
 * work-items a group of the kernels here; COLUMNS, how many columns a pass over a matrix takes; FMA, 1 if
 * the driver says that it is fast; DENORMALS, 1 if they are not flushed.
 *
 * Sums are of floats, in the order that is written here, so two devices may differ in their last bits, but
 * a column's result does not depend on the others of its batch. */
#include "llama_layout.h"

#pragma OPENCL FP_CONTRACT OFF

#define FN static inline
#define TILE LLAMA_TILE
#define BLOCK LLAMA_BLOCK
#define QUERY (HEADS * HEAD)     /* rows of the query matrix */
#define SHARED (KV_HEADS * HEAD) /* rows of the key matrix, and of the value matrix */
/* A column's queries, keys and values are tiles one after another: where the latter two begin. */
#define KEY_TILE (QUERY / TILE)
#define VALUE_TILE ((QUERY + SHARED) / TILE)
#define HAS(type) (((TYPES >> (type)) & 1u) != 0u)
#define KNOWS(type) (((ALL_TYPES >> (type)) & 1u) != 0u)
#if FMA
#define MAD(a, b, c) fma(a, b, c)
#else
#define MAD(a, b, c) mad(a, b, c)
#endif
#define ITEMS(n) __attribute__((reqd_work_group_size(n, 1, 1)))

/* ---- Weights ---- */

/* The float16 with these bits. No weight is infinite or NaN, but one in a damaged file has to show. */
FN float half_float(const ushort half_bits)
{
    const uint bits = half_bits & 0x7fffu;
    const float small = (float)bits * 0x1p-24f;
    const float normal = as_float((bits << 13) + (bits < 0x7c00u ? 0x38000000u : 0x70000000u));
    const float size = bits < 0x400u ? small : normal;

    return half_bits & 0x8000u ? -size : size;
}

FN float bf16_float(const ushort bits)
{
    return as_float((uint)bits << 16);
}

/* Bytes of a row that lie together. */
FN uint unit_of(const uint type)
{
    return !VECTORS || type == LLAMA_F32 ? 4u : type == LLAMA_F16 || type == LLAMA_BF16 ? 2u : 1u;
}

/* Where byte j of row r is among the weights of a block. */
FN uint place(const uint j, const uint r, const uint unit)
{
    return j / unit * unit * TILE + r * unit + j % unit;
}

FN ushort scale_bits(__global const uchar *block, const uint which, const uint r)
{
    return ((__global const ushort *)block)[which * TILE + r];
}

FN ushort two_bytes(__global const uchar *weights, const uint j, const uint r, const uint unit)
{
    return *(__global const ushort *)(weights + place(j, r, unit));
}

/* The 32 weights of row r of a block. */
FN void decode_block(const uint type, __global const uchar *block, const uint r, float *out)
{
    const uint unit = unit_of(type);
    __global const uchar *weights = block + 2u * LLAMA_SCALES(type) * TILE;

    if (KNOWS(LLAMA_F32) && type == LLAMA_F32) {
        for (uint i = 0; i < BLOCK; i++)
            out[i] = ((__global const float *)weights)[i * TILE + r];
    } else if ((KNOWS(LLAMA_F16) | KNOWS(LLAMA_BF16)) && (type == LLAMA_F16 || type == LLAMA_BF16)) {
        for (uint i = 0; i < BLOCK; i++) {
            const ushort bits = two_bytes(weights, 2u * i, r, unit);
            out[i] = type == LLAMA_F16 ? half_float(bits) : bf16_float(bits);
        }
    } else if (KNOWS(LLAMA_Q8_0) && type == LLAMA_Q8_0) {
        const float scale = half_float(scale_bits(block, 0, r));
        for (uint i = 0; i < BLOCK; i++)
            out[i] = scale * (float)(char)weights[place(i, r, unit)];
    } else if (KNOWS(LLAMA_Q4_0) | KNOWS(LLAMA_Q4_1)) {
        const float scale = half_float(scale_bits(block, 0, r));
        const float least = type == LLAMA_Q4_1 ? half_float(scale_bits(block, 1, r)) : -8.0f * scale;
        for (uint i = 0; i < BLOCK / 2u; i++) {
            const uint two = weights[place(i, r, unit)];
            out[i] = MAD(scale, (float)(two & 15u), least);
            out[i + BLOCK / 2u] = MAD(scale, (float)(two >> 4), least);
        }
    }
}

/* Columns block * 32 and the following of a row, which has `blocks` of them. */
FN void decode_row(const uint type, __global const uchar *matrix, const uint row, const uint block,
                   const uint blocks, float *out)
{
    if (KNOWS(LLAMA_PLAIN) && type == LLAMA_PLAIN) {
        __global const float *plain = (__global const float *)matrix + ((size_t)row * blocks + block) * BLOCK;
        for (uint i = 0; i < BLOCK; i++)
            out[i] = plain[i];
    } else {
        const size_t at = ((size_t)(row / TILE) * blocks + block) * LLAMA_BLOCK_BYTES(type);
        decode_block(type, matrix + at, row % TILE, out);
    }
}

/* Rows of the file into tiles, from tile `first` on. raw: `rows` rows of `blocks` blocks as the file has
 * them. A work-item takes the 16 rows of a block. Global: any number of items a tile, tiles. */
__kernel ITEMS(GROUP) void llama_pack(__global const uchar *restrict raw, const uint type, const uint blocks,
                                      const uint rows, __global uchar *restrict matrix, const uint first)
{
    const uint tile = get_global_id(1);
    const uint unit = unit_of(type), scales = LLAMA_SCALES(type), weights = LLAMA_WEIGHTS(type);
    const uint raw_bytes = 2u * scales + weights;

    for (uint b = get_global_id(0); b < blocks; b += get_global_size(0)) {
        __global uchar *out = matrix + ((size_t)(first + tile) * blocks + b) * LLAMA_BLOCK_BYTES(type);
        for (uint r = 0; r < TILE; r++) {
            const uint row = tile * TILE + r;
            __global const uchar *in = raw + ((size_t)row * blocks + b) * raw_bytes;
            for (uint s = 0; s < scales; s++)
                ((__global ushort *)out)[s * TILE + r] = row < rows ? ((__global const ushort *)in)[s] : 0;
            for (uint j = 0; j < weights; j++)
                out[2u * scales * TILE + place(j, r, unit)] = row < rows ? in[2u * scales + j] : 0;
        }
    }
}

/* ---- Operands ---- */

/* 1 over the root of the mean square that stands with a column of DIM values. */
FN float norm_scale(__global const float *column, const float epsilon)
{
    __global const float *squares = column + DIM + DIM / TILE;
    float sum = 0.0f;

    for (uint i = 0; i < DIM / TILE; i++)
        sum += squares[i];
    return 1.0f / sqrt(sum / (float)DIM + epsilon);
}

/* The sum of 16 values in the order that both forms use. */
FN float sum16(const float16 v)
{
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;

    return c.x + c.y;
}

/* 16 values of x, from 16 t on, as those of an operand for the matrices that come after the norm. */
FN void put_normed(__global float *operand, const uint t, const float16 x, __global const float *norm)
{
    const float16 v = x * vload16(t, norm);

    vstore16(v, t, operand);
    operand[DIM + t] = sum16(v);
    operand[DIM + DIM / TILE + t] = sum16(x * x);
}

/* ---- The beginning of a batch ---- */

/* Column `column` is the token at `position` of row `row`: its embedding, and its entry in the table. An
 * id that the vocabulary lacks counts as 0. */
FN void begin(__global const int *ids, const uint stride, const uint row, const uint position,
              const uint column, const uint type, __global const uchar *embedding, __global const float *norm,
              __global float *x, __global float *operand, __global uint *table)
{
    const uint id = (uint)ids[(size_t)row * stride + position]; /* a negative one becomes a large one */
    const uint token = id < VOCAB ? id : 0u;

    for (uint b = get_global_id(0); b < DIM / BLOCK; b += get_global_size(0)) {
        float values[BLOCK];
        decode_row(type, embedding, token, b, DIM / BLOCK, values);
        for (uint t = 0; t < BLOCK / TILE; t++) {
            const float16 v = vload16(t, values);
            vstore16(v, b * (BLOCK / TILE) + t, x + (size_t)column * DIM);
            put_normed(operand + (size_t)column * LLAMA_OPERAND(DIM), b * (BLOCK / TILE) + t, v, norm);
        }
    }
    if (get_global_id(0) == 0) {
        table[LLAMA_TABLE_ROW(column)] = row;
        table[LLAMA_TABLE_POSITION(column)] = position;
    }
}

/* Columns first, first + 1, ... of `columns` are the given places. ids: [rows, stride] from `offset` on.
 * Global: any number of items, places. */
__kernel ITEMS(GROUP) void llama_begin_list(__global const int *restrict ids, const ulong offset,
                                            const uint stride, const uint16 rows, const uint16 positions,
                                            const uint first, const uint columns, const uint type,
                                            __global const uchar *restrict embedding,
                                            __global const float *restrict norm, __global float *restrict x,
                                            __global float *restrict operand, __global uint *restrict table)
{
    const uint i = get_global_id(1);
    uint row[LLAMA_LIST], position[LLAMA_LIST];

    vstore16(rows, 0, row);
    vstore16(positions, 0, position);
    if (i == 0 && get_global_id(0) == 0) table[0] = columns;
    begin(ids + offset, stride, row[i], position[i], first + i, type, embedding, norm, x, operand, table);
}

/* Columns are the places from `start` on of one row, the last of them in column 0. Global: any number of
 * items, columns. */
__kernel ITEMS(GROUP) void llama_begin_range(__global const int *restrict ids, const ulong offset,
                                             const uint stride, const uint row, const uint start,
                                             const uint type, __global const uchar *restrict embedding,
                                             __global const float *restrict norm, __global float *restrict x,
                                             __global float *restrict operand, __global uint *restrict table)
{
    const uint i = get_global_id(1), columns = get_global_size(1);
    const uint position = start + (i == 0 ? columns : i) - 1u;

    if (i == 0 && get_global_id(0) == 0) table[0] = columns;
    begin(ids + offset, stride, row, position, i, type, embedding, norm, x, operand, table);
}

/* ---- Between the products of a prompt ---- */

/* The operand for the matrices that come next. Global: any number of items, columns. */
__kernel ITEMS(GROUP) void llama_normalize(__global const float *restrict x,
                                           __global const float *restrict norm,
                                           __global float *restrict operand)
{
    const uint column = get_global_id(1);

    for (uint t = get_global_id(0); t < DIM / TILE; t += get_global_size(0))
        put_normed(operand + (size_t)column * LLAMA_OPERAND(DIM), t, vload16(t, x + (size_t)column * DIM),
                   norm);
}

/* Columns as the output matrix takes them, all scaled: out is [columns, DIM]. Global: any number of items,
 * columns. */
__kernel ITEMS(GROUP) void llama_scale(__global const float *restrict operand, const float epsilon,
                                       __global float *restrict out)
{
    const uint column = get_global_id(1);
    __global const float *in = operand + (size_t)column * LLAMA_OPERAND(DIM);
    const float scale = norm_scale(in, epsilon);

    for (uint t = get_global_id(0); t < DIM / TILE; t += get_global_size(0))
        vstore16(vload16(t, in) * scale, t, out + (size_t)column * DIM);
}

/* Where a row's keys and values begin, for one of its heads. */
FN size_t cache_at(const uint row, const uint head)
{
    return ((size_t)row * KV_HEADS + head) * CONTEXT * HEAD;
}

/* 16 values of a head, from value `first` on, turned by the angles of the position. */
FN float16 turn(const float16 v, __global const float *turns, const uint position, const uint first)
{
    __global const float *angles = turns + (size_t)position * 2u * HEAD + first;

    return MAD(v, vload16(0, angles), v.s1032547698badcfe * vload16(0, angles + HEAD));
}

/* Keys of 16 positions lie side by side, so that a query meets 16 of them at once. */
FN void put_key(__global float *keys, const uint position, const uint first, const float16 v)
{
    __global float *to = keys + (size_t)(position / TILE) * TILE * HEAD + position % TILE;
    float values[TILE];

    vstore16(v, 0, values);
    for (uint i = 0; i < TILE; i++)
        to[(first + i) * TILE] = values[i];
}

/* Tile t of a column's queries, keys and values, one after another: turned, and put where attention reads. */
FN void put_tile(const uint t, const float16 v, const uint column, const uint row, const uint position,
                 __global const float *turns, __global float *queries, __global float *keys,
                 __global float *values)
{
    const uint at = t * TILE, first = at % HEAD;

    if (at < QUERY) {
        vstore16(turn(v, turns, position, first), t, queries + (size_t)column * QUERY);
    } else if (at < QUERY + SHARED) {
        put_key(keys + cache_at(row, (at - QUERY) / HEAD), position, first, turn(v, turns, position, first));
    } else {
        const uint head = (at - QUERY - SHARED) / HEAD;
        vstore16(v, 0, values + cache_at(row, head) + (size_t)position * HEAD + first);
    }
}

/* raw: [columns, QUERY + 2 SHARED], products with the operand that is still to be scaled. Global: any
 * number of items, columns. */
__kernel ITEMS(GROUP) void llama_store(__global const float *restrict raw,
                                       __global const float *restrict operand, const float epsilon,
                                       __global const uint *restrict table,
                                       __global const float *restrict turns, __global float *restrict queries,
                                       __global float *restrict keys, __global float *restrict values)
{
    const uint column = get_global_id(1);
    const uint row = table[LLAMA_TABLE_ROW(column)], position = table[LLAMA_TABLE_POSITION(column)];
    const float scale = norm_scale(operand + (size_t)column * LLAMA_OPERAND(DIM), epsilon);

    for (uint t = get_global_id(0); t < (QUERY + 2u * SHARED) / TILE; t += get_global_size(0)) {
        const float16 v = vload16(t, raw + (size_t)column * (QUERY + 2u * SHARED));
        put_tile(t, v * scale, column, row, position, turns, queries, keys, values);
    }
}

FN float16 swiglu(const float16 gate, const float16 up)
{
    return gate / (1.0f + exp(-gate)) * up;
}

FN void put_fed(__global float *column, const uint t, const float16 v)
{
    vstore16(v, t, column);
    column[FF + t] = sum16(v);
}

/* raw: [columns, 2 FF], the gate's products and then the other's. Global: any number of items, columns. */
__kernel ITEMS(GROUP) void llama_gate(__global const float *restrict raw,
                                      __global const float *restrict operand, const float epsilon,
                                      __global float *restrict fed)
{
    const uint column = get_global_id(1);
    const float scale = norm_scale(operand + (size_t)column * LLAMA_OPERAND(DIM), epsilon);
    __global const float *gate = raw + (size_t)column * 2u * FF;

    for (uint t = get_global_id(0); t < FF / TILE; t += get_global_size(0)) {
        const float16 v = swiglu(vload16(t, gate) * scale, vload16(t, gate + FF) * scale);
        put_fed(fed + (size_t)column * LLAMA_OPERAND(FF), t, v);
    }
}
