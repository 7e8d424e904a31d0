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

/* A row's part of the scratch memory. */
typedef struct cls_place {
    __global cls_cut *cut;
    __global uint *key, *live; /* [tiles] */
    __global uint *sum;        /* [blocks] */
    __global int *exponent;    /* [blocks] */
} cls_place;

/* In bytes from the start: rusticl (Mesa 22.3) takes a pointer that moves on by such a number of elements for
 * the pointer itself. */
CLS_FN cls_place cls_place_of(__global uchar *scratch, ulong offset, uint r, uint rows, uint vocab)
{
    const uint blocks = cls_blocks(vocab), tiles = cls_tiles(vocab);
    const ulong rest = offset + rows * sizeof(cls_cut) + r * (ulong)(2 * sizeof(uint) * (tiles + blocks));
    const cls_place place = { (__global cls_cut *)(scratch + offset) + r, (__global uint *)(scratch + rest),
                              (__global uint *)(scratch + rest + sizeof(uint) * tiles),
                              (__global uint *)(scratch + rest + sizeof(uint) * 2 * tiles),
                              (__global int *)(scratch + rest + sizeof(uint) * (2 * tiles + blocks)) };
    return place;
}

/* Row r's plan. In the fallback pass it has no filters: the draw's scale is the one that counts then. */
CLS_FN void cls_find_plan(const cls_call *call, __global const cls_plan_row *plans, uint r,
                          cls_plan_row *plan)
{
    *plan = call->plan;
    if (call->has_plans != CLS_PLANS_NONE)
        *plan = plans[r];
    else
        plan->stream += r;
    if (!call->fallback) return;
    plan->flags = (plan->flags & CLS_PLAN_GREEDY) | CLS_PLAN_SUMS;
    plan->filter = plan->draw;
}

/* By one work-item, when nobody reads row r's plan any more. */
CLS_FN void cls_move_plan(const cls_call *call, __global cls_plan_row *plans, uint r)
{
    if (call->has_plans != CLS_PLANS_MOVE) return;
    plans[r].step_lo++;
    if (plans[r].step_lo == 0) plans[r].step_hi++;
}

/* The key of the largest logit from `begin` to `end` - 1, by one work-item. */
CLS_FN uint cls_max_key(__global const cls_raw *row, uint begin, uint end)
{
    uint key = CLS_KEY_MASKED;

    for (uint id = begin; id < end; id++)
        key = max(key, cls_load_key(row, id));
    return key;
}

#endif
