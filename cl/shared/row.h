/* SPDX-License-Identifier: Apache-2.0 */
/* A row of logits in device memory and its block summaries, for every kernel that reads logits. The host sets
 * CLS_DTYPE (CLS_F32, CLS_F16 or CLS_BF16). Half types are read as bits: no cl_khr_fp16 is needed. */
#ifndef CLS_ROW_H
#define CLS_ROW_H

#include "canonical.h"
#include "interface.h"

#if CLS_DTYPE == CLS_F32
typedef uint cls_stored;
#else
typedef ushort cls_stored;
#endif
/* As logits are worked on. */
#if CLS_EXTRAS
typedef uint cls_raw;
#define cls_bits(x) (x)
#else
typedef cls_stored cls_raw;
#define cls_bits(x) cls_stored_bits(x)
#endif

/* A stored logit as the bits of a float. */
CLS_FN uint cls_stored_bits(cls_stored x)
{
#if CLS_DTYPE == CLS_F32
    return x;
#elif CLS_DTYPE == CLS_F16
    return cls_half_bits(x);
#else
    return (uint)x << 16;
#endif
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

#if CLS_EXTRAS
/* The moments of row r's tiles. */
CLS_FN __global cls_moments *cls_moments_of(__global uchar *extras, const cls_call *call, uint r)
{
    const ulong windows = call->windows * (ulong)(CLS_WINDOW_WORDS * sizeof(uint));

    return (__global cls_moments *)(extras + windows +
                                    r * (ulong)(cls_tiles(call->vocab) * sizeof(cls_moments)));
}
#endif

/* Row r's plan, with the step and the edits of its state, and its own stream. In the fallback pass the ops
 * are left out; edits hold there too, so that what is banned is not drawn. */
CLS_FN void cls_find_plan(const cls_call *call, __global const cls_plan_row *plans,
                          __global const cls_row_state *states, uint r, cls_plan_row *plan)
{
    *plan = call->plan;
    if (call->own_plans)
        *plan = plans[r];
    else
        plan->stream += r;
    if (states) {
        const cls_row_state state = states[r];
        plan->step_lo = state.step_lo;
        plan->step_hi = state.step_hi;
        plan->edits = state.edits;
        plan->n_edits = state.n_edits;
    }
    if (!call->fallback) return;
    plan->scale = plan->draw;
    plan->n_ops = 0;
    plan->flags = (plan->flags & (CLS_PLAN_GREEDY | CLS_PLAN_EXTRAS)) | CLS_PLAN_SUMS;
}

/* What a row's next step is to know, now that this one has drawn a token, or -1. `history` is the row's, or
 * null. */
CLS_FN void cls_advance_row(__global cls_row_state *place, __global int *history, int token)
{
    cls_row_state state = *place;

    state.step_lo++;
    if (state.step_lo == 0) state.step_hi++;
    if (token >= 0 && state.finish == 0) {
        if (history && state.length < state.limit) history[state.length] = token;
        state.length++;
        if (state.length - state.prompt == state.until) {
            state.edits = state.later;
            state.n_edits = state.n_later;
        }
    }
    *place = state;
}
/* By one work-item, when row r has its token and nobody reads the state any more. history int32 [rows,
 * call.history_stride], or null. */
CLS_FN void cls_advance(const cls_call *call, __global cls_row_state *states, __global int *history, uint r,
                        int token)
{
    if (!call->advance || !states) return;
    cls_advance_row(states + r, history ? history + r * (size_t)call->history_stride : history, token);
}

#endif
