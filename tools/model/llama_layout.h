/* SPDX-License-Identifier: Apache-2.0 */
/* What the host and the kernels of the model must agree on: one text for C11 and OpenCL C 1.2.
 *
 * A matrix of `rows` rows of `cols` lies on the device in tiles of 16 rows, one after another; what is
 * missing of the last tile is zero. A tile is cut into blocks of 32 columns. A block holds, for each kind
 * of scale that its type has, the 16 rows' float16, and then the rows' weights, so that units of the rows
 * lie side by side:
 *
 *     byte j of row r's weights is byte  j / unit * unit * 16 + r * unit + j % unit
 *
 * The bytes of a row are those of the file. A unit is what one step reads of a row: a weight's bytes where
 * a work-item has many rows (vectors), 4 bytes where it has one (groups). The matrix has the size that it
 * has in the file.
 *
 */
#ifndef LLAMA_LAYOUT_H
#define LLAMA_LAYOUT_H

#define LLAMA_TILE 16u
#define LLAMA_BLOCK 32u

/* Types of weights: ggml's numbers, and float32 as it lies in the file, row after row. */
#define LLAMA_F32 0u
#define LLAMA_F16 1u
#define LLAMA_Q4_0 2u
#define LLAMA_Q4_1 3u
#define LLAMA_Q8_0 8u
#define LLAMA_BF16 30u
#define LLAMA_PLAIN 31u

/* Scales of a row's block, and bytes of its weights. */
#define LLAMA_SCALES(type) \
    ((type) == LLAMA_Q4_1 ? 2u : (type) == LLAMA_Q4_0 || (type) == LLAMA_Q8_0 ? 1u : 0u)
#define LLAMA_WEIGHTS(type)                               \
    ((type) == LLAMA_F32                           ? 128u \
     : (type) == LLAMA_F16 || (type) == LLAMA_BF16 ? 64u  \
     : (type) == LLAMA_Q8_0                        ? 32u  \
                                                   : 16u)
/* Bytes of 16 rows of a block. */
#define LLAMA_BLOCK_BYTES(type) (LLAMA_TILE * (2u * LLAMA_SCALES(type) + LLAMA_WEIGHTS(type)))

/* What a matrix is multiplied with, a column: `n` values, then for each 16 of them their sum, then for
 * each 16 the sum of the squares of what they were before the norm's weights. The consumer needs the sums
 * for weights with a minimum, and the squares for the norm. */
#define LLAMA_OPERAND(n) ((n) + (n) / 8u)

/* The table of a batch: how many columns it has, then each one's row and position. */
#define LLAMA_TABLE(columns) (1u + 2u * (columns))
#define LLAMA_TABLE_ROW(column) (1u + 2u * (column))
#define LLAMA_TABLE_POSITION(column) (2u + 2u * (column))

/* Columns that one launch of llama_begin_list takes. */
#define LLAMA_LIST 16u
/* Columns that an item of llama_attention_prompt takes, with vectors. */
#define LLAMA_TOGETHER 4u
/* Work-items of a group of llama_attention, in groups. */
#define LLAMA_READERS 64u

#endif
