/* SPDX-License-Identifier: Apache-2.0 */
/* The choice in the form for GPUs: one work-group a row turns the summary into a token. The cuts of the
 * filters are looked for among candidates, the tokens above a floor that the tiles' maxima suggest; where a
 * cut lies below the floor, or the candidates do not fit, in the row itself. */

#define CLS_GUESSED 128u /* tiles' maxima above the floor for top-p alone, at most half of the work-items' */

/* The outcome of one way of choosing. */
typedef struct cls_drawn {
    uint id, kept;
    ulong mass, total;
} cls_drawn;

/* The item that found the token tells the others. */
CLS_FN void cls_share_drawn(__local cls_near *near, cls_drawn *drawn)
{
    CLS_BARRIER();
    drawn->id = near->place;
    drawn->mass = near->before;
    CLS_BARRIER();
}

/* The mass of the whole row, if the summary has it. */
CLS_FN ulong cls_row_whole(const cls_row *row)
{
    const uint blocks = row->summed && !row->measure.saturated ? row->blocks : 0;
    ulong mass = 0;

    for (uint b = get_local_id(0); b < blocks; b += CLS_WG) {
        const uint shift = (uint)row->measure.exponent - (uint)row->place.exponent[b];
        mass += cls_units_mass(&row->measure, row->place.sum[b], min(shift, 63u));
    }
    return cls_group_sum(mass, &row->near->group);
}

/* ---- Among candidates ---- */

/* Where candidates begin among which the cuts are, or most likely are; `start` = the lowest key that is kept,
 * min-p's early cut included. */
CLS_FN uint cls_approach(const cls_row *row, __local const cls_plan_row *plan, uint start)
{
    const int top_k = (plan->flags & CLS_PLAN_TOP_K) != 0;
    const int top_p = plan->flags & CLS_PLAN_TOP_P && !top_k;
    const uint wanted = top_k ? plan->top_k : top_p ? min(CLS_GUESSED, (uint)CLS_WG / 2) : 0;

    return cls_floor_of(row, start, wanted <= min((uint)CLS_WG, row->tiles) ? wanted : 0);
}

/* The candidate that is drawn lies in this share. */
CLS_CALLED void cls_near_draw(const cls_row *row, const cls_cut *cut, cls_share share, ulong sum,
                              ulong target)
{
    ulong mass = 0;
    uint i = share.begin;

    for (; (mass = cls_increment(row, cut, i)) + sum <= target; i++)
        sum += mass;
    row->near->place = row->near->id[i];
    row->near->before = mass;
}

/* Filters and draw among the candidates; 0 if they do not suffice. One loop holds the stages, so that
 * compilers meet each piece once. */
CLS_FN int cls_choose_near(cls_row *row, ulong whole, cls_cut *cut, cls_drawn *drawn)
{
    __local cls_near *near = row->near;
    __local const cls_plan_row *plan = &near->plan;
    const uint stages = cls_stages_of(plan->flags), start = cut->key;
    const uint min_p = cls_min_p_key(row->measure.key_max, plan->min_p_hi, plan->min_p_lo);
    uint weighed = 0, ranked = 0;
    ulong before = 0, mine = 0;
    uint count = 0;
    cls_share share = { 0, 0 };
    cls_limit limit;

    row->floor = cls_approach(row, plan, stages & CLS_STAGE_MIN_P ? max(start, min_p) : start);
    cls_gather(row);
    int enough = row->count > 0 && (whole || !(stages & CLS_STAGE_BAND));
    for (uint left = stages; left; left &= left - 1) {
        const uint stage = left & -left, n = enough ? row->count : 0;
        if (stage == CLS_STAGE_SCALE) cls_set_measure(&row->measure, row->measure.key_max, plan->draw);
        if (stage == CLS_STAGE_SCALE) weighed = 0;
        cls_weigh_candidates(row, weighed ? 0 : n);
        cls_sort_by_rank(row, stage & CLS_STAGES_LIMIT && !ranked ? n : 0);
        weighed = 1;
        ranked |= stage & CLS_STAGES_LIMIT;
        if (stage & (CLS_STAGE_MIN_P | CLS_STAGE_LATE_MIN_P)) cls_raise_cut(cut, min_p);
        if (stage == CLS_STAGE_BAND)
            cls_raise_cut(cut, min(min_p, cls_band_key(&row->measure, plan->band, whole)));
        if (stage == CLS_STAGE_TOP_K && n) {
            if (plan->top_k > n && row->floor > cut->key) enough = 0;
            cls_near_top_k(row, plan->top_k, plan->flags & CLS_PLAN_TOP_K_EXACT, cut);
        }
        share = cls_share_of(stage & CLS_STAGES_MEASURE ? n : 0);
        mine = cls_share_kept(row, cut, share, &count);
        before = cls_group_scan(mine, &near->group, &drawn->total);
        if (stage == CLS_STAGE_TOP_P && row->floor > cut->key) {
            drawn->total = whole;
            if (!whole) enough = 0;
        }
        const cls_plan_row now = *plan;
        cls_limit_mass(&now, drawn->total, &limit);
        cls_near_top_p(row, &limit, stage == CLS_STAGE_TOP_P && enough ? n : 0, cut);
        if (stage & CLS_STAGES_LIMIT && row->floor > cut->key) enough = 0;
    }
    drawn->kept = (uint)cls_group_sum(count, &near->group);
    const cls_plan_row last = *plan;
    const ulong target = cls_target(&last, drawn->total);
    CLS_BARRIER();
    if (enough && before <= target && target < before + mine) cls_near_draw(row, cut, share, before, target);
    cls_share_drawn(near, drawn);
    return enough;
}

/* ---- In the row ---- */

/* As if nothing had been looked for among candidates. */
CLS_FN void cls_begin_anew(cls_row *row, cls_cut *cut)
{
    __local const cls_near *near = row->near;

    *cut = near->given.cut;
    row->logits = near->given.logits;
    row->place = near->given.place;
    row->vocab = near->given.vocab;
    row->tiles = near->given.tiles;
    row->blocks = near->given.blocks;
    cls_set_measure(&row->measure, cut->key_max, near->plan.filter);
    row->summed = near->plan.flags & CLS_PLAN_SUMS ? CLS_SUMS_WHOLE : CLS_SUMS_NONE;
}

/* The same for the whole row. */
CLS_FN void cls_choose_far(cls_row *row, cls_cut *cut, cls_drawn *drawn)
{
    __local cls_near *near = row->near;
    __local const cls_plan_row *plan = &near->plan;
    const uint stages = cls_stages_of(plan->flags);
    const uint min_p = cls_min_p_key(row->measure.key_max, plan->min_p_hi, plan->min_p_lo);
    ulong before = 0, mine = 0;
    uint count = 0;
    cls_share share = { 0, 0 };
    cls_limit limit;

    for (uint left = stages; left; left &= left - 1) {
        const uint stage = left & -left;
        if (stage == CLS_STAGE_SCALE) {
            cls_set_measure(&row->measure, row->measure.key_max, plan->draw);
            row->summed = CLS_SUMS_NONE;
        }
        const int measures = (stage & CLS_STAGES_MEASURE) != 0;
        cls_row_measure(row, measures && !row->summed);
        if (measures && !row->summed) row->summed = CLS_SUMS_EXPONENTS;
        share = cls_share_of(measures ? row->blocks : 0);
        mine = cls_row_keep(row, share, cut, &count);
        before = cls_group_scan(mine, &near->group, &drawn->total);
        if (stage & (CLS_STAGE_MIN_P | CLS_STAGE_LATE_MIN_P)) cls_raise_cut(cut, min_p);
        if (stage == CLS_STAGE_BAND)
            cls_raise_cut(cut, min(min_p, cls_band_key(&row->measure, plan->band, drawn->total)));
        const cls_plan_row now = *plan;
        if (stage == CLS_STAGE_TOP_P)
            cls_limit_mass(&now, drawn->total, &limit);
        else
            cls_limit_count(&now, &limit);
        cls_row_cut(row, &limit, (stage & CLS_STAGES_LIMIT) != 0, cut);
    }
    drawn->kept = (uint)cls_group_sum(count, &near->group);
    const cls_plan_row last = *plan;
    const ulong target = cls_target(&last, drawn->total);
    CLS_BARRIER();
    if (before <= target && target < before + mine) {
        ulong mass;
        near->place = cls_row_draw(row, share, cut, before, target, &mass);
        near->before = mass;
    }
    cls_share_drawn(near, drawn);
}

/* ---- The kernel ---- */

/* logits [rows, stride]. plans [rows], or null. scratch: as cls_summary left it; its cuts take what the rows
 * keep. tokens int32 [rows] and results [rows] take the outcome: either may be null. Global size: CLS_WG,
 * rows. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1))) CLS_ONE_BY_ONE void cls_choice(
    __global const cls_raw *restrict logits, __global cls_plan_row *plans, __global uchar *restrict scratch,
    cls_call call, __global int *restrict tokens, __global cls_result *restrict results)
{
    __local cls_near near;
    const uint r = get_group_id(1);
    cls_row row = { .logits = logits + call.offset + r * call.stride,
                    .vocab = call.vocab,
                    .tiles = cls_tiles(call.vocab),
                    .blocks = cls_blocks(call.vocab),
                    .near = &near };
    cls_cut cut;
    cls_result result;
    int nan;

    row.place = cls_place_of(scratch, call.scratch_offset, r, get_num_groups(1), call.vocab);
    if (call.fallback && row.place.cut->status != CLS_ROW_NO_TOKEN) {
        if (get_local_id(0) == 0) cls_move_plan(&call, plans, r);
        return;
    }

    if (get_local_id(0) == 0) {
        cls_plan_row found;
        cls_find_plan(&call, plans, r, &found);
        near.plan = found;
        near.given.token = tokens ? tokens + call.tokens_offset + r : tokens;
        near.given.result = results ? results + call.results_offset + r : results;
    }
    cls_start(&cut, &result);
    const uint key_max = cls_row_max(&row, &nan), id = cls_first_id(&row, key_max);
    if (key_max != CLS_KEY_MASKED) cls_start_with(key_max, id, call.fallback, nan, &cut, &result);
    const int draws = key_max != CLS_KEY_MASKED && !(near.plan.flags & CLS_PLAN_GREEDY);
    if (get_local_id(0) == 0) {
        near.given.logits = row.logits;
        near.given.place = row.place;
        near.given.vocab = row.vocab;
        near.given.tiles = row.tiles;
        near.given.blocks = row.blocks;
        near.given.cut = cut;
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE); /* all have read the status of the first pass */
    if (draws) {
        cls_drawn drawn;
        cls_set_measure(&row.measure, key_max, near.plan.filter);
        row.summed = near.plan.flags & CLS_PLAN_SUMS ? CLS_SUMS_WHOLE : CLS_SUMS_NONE;
        const ulong whole = cls_row_whole(&row);
        int done = 0;
#if !CLS_CANDIDATES_OFF
        /* Without a filter there is no cut to look for. */
        if (cls_stages_of(near.plan.flags) != CLS_STAGE_DRAW)
            done = cls_choose_near(&row, whole, &cut, &drawn);
#endif
        if (!done) {
            cls_begin_anew(&row, &cut);
            cls_choose_far(&row, &cut, &drawn);
        }
        cls_set_drawn(&cut, &result, drawn.id, drawn.mass, drawn.total, drawn.kept);
    }
    if (get_local_id(0) != 0) return;
    *near.given.place.cut = cut;
    if (near.given.token) *near.given.token = result.token;
    if (near.given.result) *near.given.result = result;
    cls_move_plan(&call, plans, r);
}
