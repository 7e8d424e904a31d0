/* SPDX-License-Identifier: Apache-2.0 */
/* A row of logits in device memory and its block summaries, for every kernel that reads logits. The host sets
 * CLS_DTYPE (CLS_F32, CLS_F16 or CLS_BF16). Half types are read as bits: no cl_khr_fp16 is needed. */
#ifndef CLS_ROW_H
#define CLS_ROW_H

#if CLS_DTYPE == CLS_F32
typedef uint cls_raw;
#else
typedef ushort cls_raw;
#endif

/* Binary16 to the bits of the same float. The smallest halves become normal floats, so nothing is flushed. */
CLS_FN uint cls_half_bits(uint h)
{
    const uint sign = (h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) return sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
    if (magnitude >= 0x400u) return sign | ((magnitude << 13) + 0x38000000u);
    return sign | as_uint((float)magnitude * 0x1p-24f);
}

/* A stored logit as the bits of a float. */
CLS_FN uint cls_bits(cls_raw raw)
{
#if CLS_DTYPE == CLS_F32
    return raw;
#elif CLS_DTYPE == CLS_F16
    return cls_half_bits(raw);
#else
    return (uint)raw << 16;
#endif
}
CLS_FN uint cls_load_key(__global const cls_raw *row, uint id)
{
    return cls_key(cls_bits(row[id]));
}

/* What the summary says of a block: its largest key; the sum of its weights in units of the block if the plan
 * asks for it, else 0; how many of its logits are not masked, and whether one is NaN. */
typedef struct cls_block {
    uint key_max, sum, live;
} cls_block;
#define CLS_LIVE_COUNT 0x7fu
#define CLS_LIVE_NAN 0x80u

#endif
