/* SPDX-License-Identifier: Apache-2.0 */
/* The model's kernels for devices that work on vectors: a work-item has whole tiles, and a vector holds a
 * number of each of its 16 rows. There are no barriers, so that a group of one work-item costs nothing.
 *
 * An item takes the tiles [share * i, share * (i + 1)) of a matrix, for COLUMNS columns at a time: the
 * weights of its share are read from memory once, and for the other columns from its cache. */

#include "llama_base.cl"
#include "llama_layout.h"

typedef __global const float *floats;

/* Columns of a prompt that share the keys and values which are read. */
#define TOGETHER LLAMA_TOGETHER

/* Where vectors are registers, and not loops of their own. */
#define UNROLL (GROUP == 1)

/* The float16 with these bits, in vectors; infinities and NaN are such, as in half_float(). */
FN float16 half_floats(const ushort16 half_bits)
{
    const uint16 bits = convert_uint16(half_bits);
    const uint16 size = (bits & 0x7fffu) << 13;
    /* The sign, and the whole exponent of infinities and NaN. */
    const uint16 high = (bits & 0x8000u) << 16 | (as_uint16(size >= 0x7c00u << 13) & 0x7f800000u);
#if DENORMALS
    return as_float16(as_uint16(as_float16(size) * 0x1p112f) | high);
#else
    const uint16 normal = size + 0x38000000u;
    const uint16 small = as_uint16(convert_float16(bits & 0x7fffu) * 0x1p-24f);
    return as_float16(select(normal, small, (bits & 0x7fffu) < 0x400u) | high);
#endif
}

/* Each function adds a tile's 16 rows times the columns x to `sum`. `n` is the columns' length. */
#if HAS(LLAMA_Q4_0) || HAS(LLAMA_Q4_1)
FN void dot_q4(const uint type, __global const uchar *block, const floats *x, const uint n, float16 *sum)
{
    for (uint b = 0; b < n / BLOCK; b++, block += LLAMA_BLOCK_BYTES(type)) {
        __global const ushort *scales = (__global const ushort *)block;
        __global const uchar *weights = block + 2u * LLAMA_SCALES(type) * TILE;
        const float16 scale = half_floats(vload16(0, scales));
        const float16 least = type == LLAMA_Q4_1 ? half_floats(vload16(1, scales)) : -8.0f * scale;
        float16 low[COLUMNS], high[COLUMNS];

#pragma unroll
        for (uint c = 0; c < COLUMNS; c++)
            low[c] = high[c] = 0.0f;
#if UNROLL
#pragma unroll
#endif
        for (uint j = 0; j < BLOCK / 2u; j++) {
            const uint16 two = convert_uint16(vload16(j, weights));
            const float16 first = convert_float16(as_int16(two & 15u));
            const float16 second = convert_float16(as_int16(two >> 4));
#pragma unroll
            for (uint c = 0; c < COLUMNS; c++) {
                low[c] = MAD(first, (float16)(x[c][b * BLOCK + j]), low[c]);
                high[c] = MAD(second, (float16)(x[c][b * BLOCK + BLOCK / 2u + j]), high[c]);
            }
        }
#pragma unroll
        for (uint c = 0; c < COLUMNS; c++) {
            const float total = x[c][n + 2u * b] + x[c][n + 2u * b + 1u];
            sum[c] = MAD(scale, low[c] + high[c], MAD(least, (float16)(total), sum[c]));
        }
    }
}
#endif

#if HAS(LLAMA_Q8_0)
FN void dot_q8(__global const uchar *block, const floats *x, const uint n, float16 *sum)
{
    for (uint b = 0; b < n / BLOCK; b++, block += LLAMA_BLOCK_BYTES(LLAMA_Q8_0)) {
        const float16 scale = half_floats(vload16(0, (__global const ushort *)block));
        __global const char *weights = (__global const char *)block + 2u * TILE;
        float16 even[COLUMNS], odd[COLUMNS];

#pragma unroll
        for (uint c = 0; c < COLUMNS; c++)
            even[c] = odd[c] = 0.0f;
#if UNROLL
#pragma unroll
#endif
        for (uint j = 0; j < BLOCK; j += 2u) {
            const float16 first = convert_float16(vload16(j, weights));
            const float16 second = convert_float16(vload16(j + 1u, weights));
#pragma unroll
            for (uint c = 0; c < COLUMNS; c++) {
                even[c] = MAD(first, (float16)(x[c][b * BLOCK + j]), even[c]);
                odd[c] = MAD(second, (float16)(x[c][b * BLOCK + j + 1u]), odd[c]);
            }
        }
#pragma unroll
        for (uint c = 0; c < COLUMNS; c++)
            sum[c] = MAD(scale, even[c] + odd[c], sum[c]);
    }
}
#endif

#if HAS(LLAMA_F32) || HAS(LLAMA_F16) || HAS(LLAMA_BF16)
FN float16 float_weights(const uint type, __global const uchar *weights, const uint j)
{
    if (type == LLAMA_F32) return vload16(j, (__global const float *)weights);
    const ushort16 bits = vload16(j, (__global const ushort *)weights);
    return type == LLAMA_F16 ? half_floats(bits) : as_float16(convert_uint16(bits) << 16);
}

FN void dot_float(const uint type, __global const uchar *weights, const floats *x, const uint n, float16 *sum)
{
    float16 even[COLUMNS], odd[COLUMNS];

#pragma unroll
    for (uint c = 0; c < COLUMNS; c++)
        even[c] = odd[c] = 0.0f;
    for (uint j = 0; j < n; j += 2u) {
        const float16 first = float_weights(type, weights, j);
        const float16 second = float_weights(type, weights, j + 1u);
#pragma unroll
        for (uint c = 0; c < COLUMNS; c++) {
            even[c] = MAD(first, (float16)(x[c][j]), even[c]);
            odd[c] = MAD(second, (float16)(x[c][j + 1u]), odd[c]);
        }
    }
#pragma unroll
    for (uint c = 0; c < COLUMNS; c++)
        sum[c] += even[c] + odd[c];
}
#endif

/* sum = tile `tile` of a matrix times the columns x of n values. */
FN void product(const uint type, __global const uchar *matrix, const uint tile, const floats *x, const uint n,
                float16 *sum)
{
    __global const uchar *block = matrix + (size_t)tile * (n / BLOCK) * LLAMA_BLOCK_BYTES(type);

#pragma unroll
    for (uint c = 0; c < COLUMNS; c++)
        sum[c] = 0.0f;
    switch (type) {
#if HAS(LLAMA_Q4_0)
    case LLAMA_Q4_0: dot_q4(LLAMA_Q4_0, block, x, n, sum); break;
#endif
#if HAS(LLAMA_Q4_1)
    case LLAMA_Q4_1: dot_q4(LLAMA_Q4_1, block, x, n, sum); break;
#endif
#if HAS(LLAMA_Q8_0)
    case LLAMA_Q8_0: dot_q8(block, x, n, sum); break;
#endif
#if HAS(LLAMA_F32)
    case LLAMA_F32: dot_float(LLAMA_F32, block, x, n, sum); break;
#endif
#if HAS(LLAMA_F16)
    case LLAMA_F16: dot_float(LLAMA_F16, block, x, n, sum); break;
#endif
#if HAS(LLAMA_BF16)
    case LLAMA_BF16: dot_float(LLAMA_BF16, block, x, n, sum); break;
#endif
    }
}

/* Columns first, first + 1, ... of an operand of n values; past the last of them the last again, whose
 * result is not used. */
FN void take_columns(__global const float *operand, const uint n, const uint first, const uint columns,
                     floats *x)
{
#pragma unroll
    for (uint c = 0; c < COLUMNS; c++)
        x[c] = operand + (size_t)min(first + c, columns - 1u) * LLAMA_OPERAND(n);
}

/* Queries, keys and values of every column. Global: items for the (QUERY + 2 SHARED) / 16 tiles. */
__kernel ITEMS(GROUP) void llama_query(__global const uchar *restrict query, const uint query_type,
                                       __global const uchar *restrict key, const uint key_type,
                                       __global const uchar *restrict value, const uint value_type,
                                       __global const float *restrict operand, const float epsilon,
                                       __global const uint *restrict table,
                                       __global const float *restrict turns, __global float *restrict queries,
                                       __global float *restrict keys, __global float *restrict values,
                                       const uint share)
{
    const uint columns = table[0], begin = get_global_id(0) * share;
    const uint end = min(begin + share, (uint)(QUERY + 2u * SHARED) / TILE);
    floats x[COLUMNS];
    float16 sum[COLUMNS];

    for (uint first = 0; first < columns; first += COLUMNS) {
        take_columns(operand, DIM, first, columns, x);
        for (uint t = begin; t < end; t++) {
            __global const uchar *matrix = t < KEY_TILE ? query : t < VALUE_TILE ? key : value;
            const uint type = t < KEY_TILE ? query_type : t < VALUE_TILE ? key_type : value_type;
            const uint before = t < KEY_TILE ? 0u : t < VALUE_TILE ? KEY_TILE : VALUE_TILE;
            product(type, matrix, t - before, x, DIM, sum);
            for (uint c = 0; c < COLUMNS && first + c < columns; c++) {
                const uint row = table[LLAMA_TABLE_ROW(first + c)];
                const uint position = table[LLAMA_TABLE_POSITION(first + c)];
                put_tile(t, sum[c] * norm_scale(x[c], epsilon), first + c, row, position, turns, queries,
                         keys, values);
            }
        }
    }
}

FN float max16(const float16 v)
{
    const float8 a = fmax(v.lo, v.hi);
    const float4 b = fmax(a.lo, a.hi);
    const float2 c = fmax(b.lo, b.hi);

    return fmax(c.x, c.y);
}

/* A query's softmax, of the scores as they come: what is summed so far is scaled anew when a larger score
 * appears (Milakov and Gimelshein, arXiv:1805.02867). */
typedef struct softmax {
    float16 sum[HEAD / TILE]; /* of the values, each times its weight */
    float16 weights;          /* their sum, in 16 parts */
    float top;                /* the largest score so far */
} softmax;

/* How n queries meet 16 keys: TOGETHER sums at a time, however many queries they are for. Loops have a
 * fixed end here and below, so that they can be unrolled before `n` is known. */
FN void score(const uint n, const floats *queries, floats keys, float16 *scores)
{
    const uint sums = TOGETHER / n; /* of a query */
    float16 sum[TOGETHER];

#pragma unroll
    for (uint i = 0; i < TOGETHER; i++)
        sum[i] = 0.0f;
    for (uint at = 0; at < HEAD; at += sums) {
#pragma unroll
        for (uint i = 0; i < TOGETHER; i++) {
            const uint query = i / sums, value = at + i % sums;
            sum[i] = MAD(vload16(value, keys), (float16)(queries[query][value]), sum[i]);
        }
    }
#pragma unroll
    for (uint i = 0; i < TOGETHER; i++)
        scores[i / sums] = i % sums == 0 ? sum[i] : scores[i / sums] + sum[i];
#pragma unroll
    for (uint q = 0; q < TOGETHER; q++)
        if (q < n) scores[q] *= 1.0f / sqrt((float)HEAD);
}

/* 16 more scores, of which the first `count` are wanted; their weights. */
FN void take_scores(softmax *s, const float16 scores, const uint count, float *weights)
{
    const uint16 lanes = (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const float16 wanted = select(scores, (float16)(-INFINITY), lanes >= count);
    const float largest = max16(wanted);

    if (largest > s->top) {
        const float shrink = exp(s->top - largest);
#pragma unroll
        for (uint i = 0; i < HEAD / TILE; i++)
            s->sum[i] *= shrink;
        s->weights *= shrink;
        s->top = largest;
    }
    const float16 weight = exp(wanted - s->top);
    s->weights += weight;
    vstore16(weight, 0, weights);
}

/* A head of n columns of one row, n dividing TOGETHER: the keys and values are read once for all of them.
 * Past the last column it is the last again. */
FN void attend(const uint n, const uint head, const uint first, const uint columns,
               __global const float *all_queries, __global const float *keys, __global const float *values,
               __global const uint *table, __global float *attended)
{
    const size_t cache = cache_at(table[LLAMA_TABLE_ROW(first)], head / (HEADS / KV_HEADS));
    softmax s[TOGETHER];
    floats queries[TOGETHER];
    float weights[TOGETHER][TILE];
    float16 scores[TOGETHER];
    uint ends[TOGETHER], end = 0;

#pragma unroll
    for (uint q = 0; q < TOGETHER; q++) {
        if (q >= n) continue;
        const uint column = min(first + q, columns - 1u);
        queries[q] = all_queries + (size_t)column * QUERY + head * HEAD;
        ends[q] = table[LLAMA_TABLE_POSITION(column)] + 1u;
        end = max(end, ends[q]);
        s[q].top = -INFINITY;
        s[q].weights = 0.0f;
#pragma unroll
        for (uint i = 0; i < HEAD / TILE; i++)
            s[q].sum[i] = 0.0f;
    }
    for (uint at = 0; at < end; at += TILE) {
        score(n, queries, keys + cache + (size_t)at * HEAD, scores);
#pragma unroll
        for (uint q = 0; q < TOGETHER; q++)
            if (q < n) take_scores(&s[q], scores[q], ends[q] - min(at, ends[q]), weights[q]);
        for (uint p = 0; p < min(TILE, end - at); p++) {
#pragma unroll
            for (uint i = 0; i < HEAD / TILE; i++) {
                const float16 value = vload16(i, values + cache + (size_t)(at + p) * HEAD);
#pragma unroll
                for (uint q = 0; q < TOGETHER; q++)
                    if (q < n) s[q].sum[i] = MAD(value, (float16)(weights[q][p]), s[q].sum[i]);
            }
        }
    }
#pragma unroll
    for (uint q = 0; q < TOGETHER; q++) {
        if (q >= n) continue;
        __global float *out = attended + (size_t)min(first + q, columns - 1u) * LLAMA_OPERAND(QUERY);
#pragma unroll
        for (uint i = 0; i < HEAD / TILE; i++) {
            const float16 v = s[q].sum[i] / sum16(s[q].weights);
            vstore16(v, head * (HEAD / TILE) + i, out);
            out[QUERY + head * (HEAD / TILE) + i] = sum16(v);
        }
    }
}

/* Global: HEADS, rounded up to a whole group, columns. `scratch` is for the other form. */
__kernel ITEMS(GROUP) void llama_attention(__global const float *restrict queries,
                                           __global const float *restrict keys,
                                           __global const float *restrict values,
                                           __global const uint *restrict table,
                                           __global float *restrict attended,
                                           __global float *restrict scratch)
{
    const uint head = get_global_id(0), column = get_global_id(1);

    if (head < HEADS) attend(1u, head, column, column + 1u, queries, keys, values, table, attended);
}

/* The same for columns of one row. Global: HEADS, rounded up to a whole group, a quarter of the columns. */
__kernel ITEMS(GROUP) void llama_attention_prompt(__global const float *restrict queries,
                                                  __global const float *restrict keys,
                                                  __global const float *restrict values,
                                                  __global const uint *restrict table,
                                                  __global float *restrict attended,
                                                  __global float *restrict scratch)
{
    const uint head = get_global_id(0), first = get_global_id(1) * TOGETHER;

    if (head < HEADS) attend(TOGETHER, head, first, table[0], queries, keys, values, table, attended);
}

/* x += matrix times an operand of n values, and the operand for what comes next. Global: items for DIM / 16
 * tiles. */
__kernel ITEMS(GROUP) void llama_add(__global const uchar *restrict matrix, const uint type,
                                     __global const float *restrict operand, const uint n,
                                     __global const uint *restrict table, __global float *restrict x,
                                     __global const float *restrict norm, __global float *restrict normed,
                                     const uint share)
{
    const uint columns = table[0], begin = get_global_id(0) * share;
    const uint end = min(begin + share, (uint)DIM / TILE);
    floats in[COLUMNS];
    float16 sum[COLUMNS];

    for (uint first = 0; first < columns; first += COLUMNS) {
        take_columns(operand, n, first, columns, in);
        for (uint t = begin; t < end; t++) {
            product(type, matrix, t, in, n, sum);
            for (uint c = 0; c < COLUMNS && first + c < columns; c++) {
                __global float *to = x + (size_t)(first + c) * DIM;
                const float16 v = vload16(t, to) + sum[c];
                vstore16(v, t, to);
                put_normed(normed + (size_t)(first + c) * LLAMA_OPERAND(DIM), t, v, norm);
            }
        }
    }
}

/* The gate and the matrix beside it. Global: items for FF / 16 tiles. */
__kernel ITEMS(GROUP) void llama_feed(__global const uchar *restrict gate, const uint gate_type,
                                      __global const uchar *restrict up, const uint up_type,
                                      __global const float *restrict operand, const float epsilon,
                                      __global const uint *restrict table, __global float *restrict fed,
                                      const uint share)
{
    const uint columns = table[0], begin = get_global_id(0) * share;
    const uint end = min(begin + share, (uint)FF / TILE);
    floats x[COLUMNS];
    float16 sums[2u * COLUMNS]; /* of the gate, then of the other: one call for both halves the code */

    for (uint first = 0; first < columns; first += COLUMNS) {
        take_columns(operand, DIM, first, columns, x);
        for (uint t = begin; t < end; t++) {
            for (uint i = 0; i < 2u; i++)
                product(i == 0 ? gate_type : up_type, i == 0 ? gate : up, t, x, DIM, sums + i * COLUMNS);
            for (uint c = 0; c < COLUMNS && first + c < columns; c++) {
                const float scale = norm_scale(x[c], epsilon);
                const float16 v = swiglu(sums[c] * scale, sums[COLUMNS + c] * scale);
                put_fed(fed + (size_t)(first + c) * LLAMA_OPERAND(FF), t, v);
            }
        }
    }
}

/* Logits of the first `columns` columns; each goes to its row. Global: items for the tiles of VOCAB. */
__kernel ITEMS(GROUP) void llama_head(__global const uchar *restrict matrix, const uint type,
                                      __global const float *restrict operand, const float epsilon,
                                      __global const uint *restrict table, const uint share,
                                      const uint columns, __global float *restrict logits, const ulong offset)
{
    const uint begin = get_global_id(0) * share, end = min(begin + share, (uint)(VOCAB + TILE - 1u) / TILE);
    floats x[COLUMNS];
    float16 sum[COLUMNS];

    for (uint first = 0; first < columns; first += COLUMNS) {
        take_columns(operand, DIM, first, columns, x);
        for (uint t = begin; t < end; t++) {
            product(type, matrix, t, x, DIM, sum);
            for (uint c = 0; c < COLUMNS && first + c < columns; c++) {
                __global float *to = logits + offset + (size_t)table[LLAMA_TABLE_ROW(first + c)] * VOCAB;
                float values[TILE];
                vstore16(sum[c] * norm_scale(x[c], epsilon), 0, values);
                for (uint i = 0; i < TILE && t * TILE + i < VOCAB; i++)
                    to[t * TILE + i] = values[i];
            }
        }
    }
}

/* `tiles` tiles of a matrix of n columns, from tile `first` on, as floats, transposed: out is [n, 16 tiles].
 * Global: any number of items, tiles. */
__kernel ITEMS(GROUP) void llama_unpack(__global const uchar *restrict matrix, const uint type, const uint n,
                                        const uint first, const uint tiles, __global float *restrict out)
{
    const uint tile = get_global_id(1), width = tiles;
    const uint scales = LLAMA_SCALES(type);

    for (uint b = get_global_id(0); b < n / BLOCK; b += get_global_size(0)) {
        __global const uchar *block =
            matrix + ((size_t)(first + tile) * (n / BLOCK) + b) * LLAMA_BLOCK_BYTES(type);
        __global const uchar *weights = block + 2u * scales * TILE;
        __global float *to = out + (size_t)b * BLOCK * width * TILE;
        float16 scale = 1.0f, least = 0.0f;

        if (scales > 0u) scale = half_floats(vload16(0, (__global const ushort *)block));
        if (type == LLAMA_Q4_1) least = half_floats(vload16(1, (__global const ushort *)block));
        if (type == LLAMA_Q4_0) least = -8.0f * scale;
        for (uint j = 0; j < BLOCK; j++) {
            float16 v;
            if (HAS(LLAMA_Q8_0) && type == LLAMA_Q8_0) {
                v = convert_float16(vload16(j, (__global const char *)weights));
#if HAS(LLAMA_F32) || HAS(LLAMA_F16) || HAS(LLAMA_BF16)
            } else if (scales == 0u) {
                v = float_weights(type, weights, j);
#endif
            } else {
                const uint16 two = convert_uint16(vload16(j % (BLOCK / 2u), weights));
                v = convert_float16(j < BLOCK / 2u ? two & 15u : two >> 4);
            }
            vstore16(MAD(scale, v, least), tile, to + (size_t)j * width * TILE);
        }
    }
}
