/* SPDX-License-Identifier: Apache-2.0 */
/* A step in the form for CPUs: groups of one work-item, which works on lanes. Some groups share a row's
 * summary; the one that ends last turns it into a token. */

#include "../shared/canonical.h"
#include "../shared/cuts.h"
#include "../shared/edits.h"
#include "../shared/handover.h"
#include "../shared/interface.h"
#include "../shared/row.h"
#include "candidates.h"
#include "facts.h"
#include "find.h"
#include "lanes.h"
#include "summary.h"
#include "tile.h"

/* Over the functions of what is above: */
#include "../shared/run.h"

/* ---- The choice ---- */

CLS_CALLED void cls_choose_row(cls_row *row, CLS_PLAN *plan, uint fallback, cls_cut *cut, cls_result *result)
{
    const int greedy = (plan->flags & CLS_PLAN_GREEDY) != 0;
    int nan;

    cls_start(cut, result);
    const uint key_max = cls_row_max(row, &nan);
    if (key_max == CLS_KEY_MASKED) return;
    cls_start_with(key_max, cls_first_id(row, key_max), greedy, fallback, nan, cut, result);
    if (greedy) return;
    cls_set_measure(&row->measure, key_max, plan->scale);
    const int sums = (plan->flags & CLS_PLAN_SUMS) != 0;
    row->weighed = sums ? 0 : CLS_NO_ID;
    row->sums_key = row->sums_low = sums && !row->measure.saturated ? cut->key : CLS_NO_ID;
    row->sums_count = sums ? cls_live(row) : 0;
#if CLS_EXTRAS
    row->have_moments = (plan->flags & CLS_PLAN_MOMENTS) != 0;
#endif
    cls_run(row, plan, cut, result);
}

/* ---- The kernel ---- */

/* PoCL compiles a kernel's body three times, for three ways to start it, but what it calls only once. */

/* A tile from the row as it lies there. */
CLS_FN void cls_summarize_plain(const cls_row *row, CLS_PLAN *plan, uint t)
{
    __global const cls_raw *x = (__global const cls_raw *)row->logits + t * CLS_TILE;

    row->place.live[t] = cls_summarize(row, x, t, (plan->flags & CLS_PLAN_SUMS) != 0, plan->scale);
}

#if CLS_EXTRAS
/* Tile t through the door; its edits begin with number `edit` if there are any. Returns where the next tile's
 * do. */
CLS_FN uint cls_summarize_edited(const cls_row *row, CLS_PLAN *plan, uint t, uint edit)
{
    const cls_cut everything = { .key = CLS_KEY_LOWEST, .id = CLS_NO_ID };
    const int sums = (plan->flags & CLS_PLAN_SUMS) != 0;
    uint next = edit;

    while (next < row->n_edits && row->edits[next].id < (t + 1) * CLS_TILE)
        next++;
    __global const cls_raw *x = cls_tile_with(row, t, edit, next == edit);
    const uint live = cls_summarize(row, x, t, sums, plan->scale);
    row->place.live[t] = live | (next == edit ? 0 : edit + 1) << CLS_LIVE_EDITS_SHIFT;
    if (plan->flags & CLS_PLAN_MOMENTS) cls_write_moments(row, x, t, &everything);
    return next;
}

/* The sum of block b, edited from number `edit` on, where the reference of what there was may have changed.
 * Returns 0 if that takes the long way. */
CLS_FN int cls_sum_edited(const cls_row *row, CLS_PLAN *plan, uint b, uint edit)
{
    cls_ints x[CLS_BLOCK / CLS_LANES], top = INT_MIN;
    cls_uints sum = 0;

    if ((b + 1) * CLS_BLOCK > row->vocab || cls_tile_has_nan(row, b / CLS_TILE_BLOCKS)) return 0;
    for (uint i = 0; i < CLS_BLOCK / CLS_LANES; i++) {
        const uint id = b * CLS_BLOCK + i * CLS_LANES;
        const cls_uints bits = cls_uints_of(CLS_LOAD_STORED(row->logits, id));
        x[i] = cls_ints_of(cls_edit_lanes(row, bits, id, &edit));
        top = max(top, cls_order(x[i]));
    }
    const uint key = cls_order_key(cls_max_lane(top));
    if (key == CLS_KEY_MASKED || !cls_is_plain(key, plan->scale)) return 0;
    const int exponent = cls_weigh(key, plan->scale).exponent;
    for (uint i = 0; i < CLS_BLOCK / CLS_LANES; i++)
        sum += cls_in_block_lanes(x[i], plan->scale, (cls_ints)exponent);
    row->place.exponent[b] = exponent;
    row->place.sum[b] = cls_sum_lanes(sum);
    return 1;
}

/* An edit, from `before` to `after`, in the sum of its block, unless that is *summed, which has all its
 * edits; it is summed anew if its reference may change. Returns 0 if that takes the long way. */
CLS_FN int cls_edit_sum(const cls_row *row, CLS_PLAN *plan, uint edit, uint before, uint after, uint *summed)
{
    const uint id = row->edits[edit].id, b = id / CLS_BLOCK;
    const int exponent = row->place.exponent[b], gone = after == CLS_KEY_MASKED;

    if (before == CLS_KEY_MASKED) return 1;
    row->place.live[id / CLS_TILE] -= gone;
    if (b == *summed) return 1;
    const cls_weight old = cls_weigh(before, plan->scale), next = cls_weigh(after, plan->scale);
    if (old.exponent >= exponent || (!gone && next.exponent > exponent)) {
        *summed = b;
        while (edit > 0 && row->edits[edit - 1].id >= b * CLS_BLOCK)
            edit--;
        return cls_sum_edited(row, plan, b, edit);
    }
    row->place.sum[b] += (gone ? 0 : cls_in_block(next, exponent)) - cls_in_block(old, exponent);
    return 1;
}

/* Put the edits of a share of the tiles, from number `edit` on and below token `end`, into its summary, which
 * was made without. Most change a number or two; where a tile's largest logit changes the tile is looked at
 * again. */
CLS_FN void cls_edit_share(const cls_row *row, CLS_PLAN *plan, uint edit, uint end)
{
    __global const cls_edit *edits = row->edits;
    __global const cls_stored *logits = row->logits;
    __global uint *keys = row->place.key, *lives = row->place.live;
    const int sums = (plan->flags & CLS_PLAN_SUMS) != 0;
    uint summed = CLS_NO_ID; /* the block that has all its edits */

    while (edit < row->n_edits && edits[edit].id < end) {
        const cls_edit e = edits[edit];
        const uint t = e.id / CLS_TILE, bits = cls_stored_bits(logits[e.id]);
        const uint before = cls_key(bits), after = cls_key(cls_edited(bits, e.add));
        const uint live = lives[t], largest = keys[t], first = live >> CLS_LIVE_EDITS_SHIFT;
        lives[t] = live | (first ? 0 : edit + 1) << CLS_LIVE_EDITS_SHIFT;
        keys[t] = max(largest, after);
        int done = before != largest;
        if (done && sums) done = cls_edit_sum(row, plan, edit, before, after, &summed);
        edit = done ? edit + 1 : cls_summarize_edited(row, plan, t, first ? first - 1 : edit);
    }
}
#endif

/* Group g's share of the tiles. */
CLS_CALLED void cls_summarize_share(const cls_row *row, CLS_PLAN *plan, uint ahead, uint g, uint groups)
{
    const uint share = (row->tiles + groups - 1) / groups;
    const uint begin = min(g * share, row->tiles), end = min(begin + share, row->tiles);
#if CLS_EXTRAS
    const int plain = CLS_DTYPE == CLS_F32 && !(plan->flags & CLS_PLAN_MOMENTS); /* edits may come later */
    uint edit = cls_edit_from(row->edits, 0, row->n_edits, begin * CLS_TILE);
#endif

    for (uint t = begin; t < end; t++) {
        /* One load at a time keeps memory waiting, where no cache has the logits. */
        const int fetches = ahead && (t + ahead + 1) * CLS_TILE <= row->vocab;
        for (uint i = 0; fetches && i < CLS_TILE; i += 64 / sizeof(cls_stored))
            prefetch(row->logits + (t + ahead) * CLS_TILE + i, 1);
#if CLS_EXTRAS
        if (!plain) {
            edit = cls_summarize_edited(row, plan, t, edit);
            continue;
        }
#endif
        cls_summarize_plain(row, plan, t);
    }
#if CLS_EXTRAS
    if (plain) cls_edit_share(row, plan, edit, end * CLS_TILE);
#endif
}

/* logits [rows, stride]. plans [rows], or null. states [rows], or null. scratch: see CLS_ROW_SCRATCH; its
 * cuts take what the rows keep. tokens int32 [rows] and results [rows] take the outcome: either may be null.
 * history: see cls_advance. arrived [rows] is 0 before and after. edits: all that plans refer to. extras: see
 * CLS_EXTRAS_SIZE; both may be null without extras. Global size: any number of groups, which share each row's
 * tiles; rows. Of a group's items only the first works. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1))) CLS_ONE_BY_ONE void cls_step(
    __global const cls_stored *restrict logits, __global const cls_plan_row *plans, __global uchar *scratch,
    cls_call call, __global cls_row_state *states, __global const cls_edit *edits, __global uchar *extras,
    __global int *restrict tokens, __global cls_result *restrict results, __global int *history,
    __global uint *arrived)
{
    if (CLS_WG > 1 && get_local_id(0) != 0) return;
    const uint r = get_group_id(1), groups = get_num_groups(0), rows = get_num_groups(1);
    cls_row row = { .logits = logits + call.offset + r * call.stride,
                    .vocab = call.vocab,
                    .tiles = cls_tiles(call.vocab),
                    .floor = CLS_KEY_INFINITY };
    row.place = cls_place_of(scratch, call.scratch_offset, r, rows, call.vocab);
    row.candidates = cls_candidates_of(scratch, call.scratch_offset, r, rows, call.vocab);
    if (call.fallback && row.place.cut->status != CLS_ROW_NO_TOKEN) {
        const int token = tokens    ? tokens[call.tokens_offset + r]
                          : results ? results[call.results_offset + r].token
                                    : -1; /* of a filter, which has none */
        if (get_group_id(0) == 0 && call.phase != CLS_PHASE_SUMMARY)
            cls_advance(&call, states, history, r, token);
        return;
    }

    cls_plan_row plan;
    cls_find_plan(&call, plans, states, r, &plan);
#if CLS_EXTRAS
    row.edits = edits + plan.edits;
    row.n_edits = plan.n_edits;
    row.window = (__global uint *)extras + (r * groups + get_group_id(0)) * CLS_WINDOW_WORDS;
    row.window[CLS_TILE] = row.high = CLS_NO_ID;
    row.moments = (__global cls_moments *)((__global uint *)extras + call.windows * CLS_WINDOW_WORDS) +
                  r * (size_t)row.tiles;
#endif
    if (call.phase != CLS_PHASE_CHOICE) cls_summarize_share(&row, &plan, call.ahead, get_group_id(0), groups);
    if (call.phase == CLS_PHASE_SUMMARY) return;
    if (call.phase == CLS_PHASE_ALL && groups > 1 && !cls_is_last(arrived + r, groups)) return;

    cls_cut cut;
    cls_result result;
    cls_choose_row(&row, &plan, call.fallback, &cut, &result);
    *row.place.cut = cut;
    if (tokens) tokens[call.tokens_offset + r] = result.token;
    if (results) results[call.results_offset + r] = result;
    cls_advance(&call, states, history, r, result.token);
}
