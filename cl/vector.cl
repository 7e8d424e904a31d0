/* SPDX-License-Identifier: Apache-2.0 */
/* A step in the form for CPUs: groups of one work-item, which works on lanes. Some groups share a row's
 * summary; the one that ends last turns it into a token. The cuts of the filters are looked for among
 * candidates, the tokens above a floor that the tiles' maxima suggest; where a cut lies below the floor, or
 * the candidates do not fit, the row is narrowed to others. */

/* ---- The largest logit ---- */

/* The largest key of the row; *nan takes whether any logit is NaN. */
CLS_FN uint cls_row_max(const cls_row *row, int *nan)
{
    cls_uints key_max = 0, live = 0;
    uint largest = 0, bad = 0, t = 0;

    for (; t + CLS_LANES <= row->tiles; t += CLS_LANES) {
        key_max = max(key_max, cls_vload(0, row->place.key + t));
        live |= cls_vload(0, row->place.live + t);
    }
    for (; t < row->tiles; t++) {
        largest = max(largest, row->place.key[t]);
        bad |= row->place.live[t];
    }
    *nan = (bad & CLS_LIVE_NAN) || any(cls_ints_of((live & CLS_LIVE_NAN) != 0));
    const int lanes = cls_max_lane(cls_ints_of(key_max ^ 0x80000000u));
    return max(largest, (uint)lanes ^ 0x80000000u);
}

/* The smallest id that has the key, which is the row's largest. */
CLS_FN uint cls_first_id(const cls_row *row, uint key)
{
    uint t = 0, id;

    while (t + CLS_LANES <= row->tiles && !any(cls_vload(0, row->place.key + t) == key))
        t += CLS_LANES;
    while (row->place.key[t] != key)
        t++;
    id = t * CLS_TILE;
    while (id + CLS_LANES <= row->vocab &&
           !any(cls_signed_lanes(CLS_LOAD(row->logits, id)) == cls_signed(key)))
        id += CLS_LANES;
    while (cls_load_key(row->logits, id) != key)
        id++;
    return id;
}

/* ---- The floor of the candidates ---- */

CLS_CALLED uint cls_tiles_from(const cls_row *row, uint key)
{
    const cls_ints least = cls_signed(key);
    cls_ints count = 0;
    uint t = 0, n = 0;

    for (; t + CLS_LANES <= row->tiles; t += CLS_LANES)
        count += cls_ones(cls_ints_of(cls_vload(0, row->place.key + t) ^ 0x80000000u) >= least);
    for (; t < row->tiles; t++)
        n += row->place.key[t] >= key;
    return n + cls_sum_lanes(cls_uints_of(count));
}

/* A key from `low` on that at least `wanted` tiles reach, and not many more; `low` if no more do. At least so
 * many tokens reach it too. */
CLS_FN uint cls_floor_of(const cls_row *row, uint low, uint wanted)
{
    uint high = row->measure.key_max + 1;

    while (high - low > 1) {
        const uint middle = low + (high - low) / 2, n = cls_tiles_from(row, middle);
        if (n < wanted) {
            high = middle;
        } else {
            low = middle;
            if (n <= wanted + wanted / 8) break;
        }
    }
    return low;
}

#define CLS_FEW 2048u          /* tokens that are few enough to be looked at one by one */
#define CLS_FEW_TILES 64u      /* in which candidates are looked for without further ado */
#define CLS_GUESSED_BITS 11.0f /* for top-p alone, those of more than 2^-11 of the largest weight, ... */
#define CLS_GUESSED_TILES 96u  /* ... or if these are not few, of so many tiles */

/* A floor for top-p alone, of which nothing is known beforehand; `start` if no candidates can do: each has at
 * most the largest one's mass. */
CLS_FN uint cls_guess_floor(const cls_row *row, const cls_plan_row *plan, uint start, ulong whole)
{
    const cls_measure *m = &row->measure;
    const ulong most = m->saturated ? CLS_HOT_MASS : cls_mass(cls_weigh(m->key_max, m->scale).mantissa, 0, 0);
    cls_limit limit;

    cls_limit_mass(plan, whole, &limit);
    if (limit.most / CLS_FEW >= most) return start;
    return max(start, cls_min_p_key(m->key_max, -CLS_GUESSED_BITS / m->scale.c, 0.0f));
}

/* Choose the floor of candidates among which the filters' cuts are, or most likely are; `start` = the lowest
 * key that is kept, min-p's early cut included. */
CLS_FN void cls_approach(cls_row *row, const cls_plan_row *plan, uint start)
{
    const int top_k = (plan->flags & CLS_PLAN_TOP_K) != 0;
    const int top_p = plan->flags & CLS_PLAN_TOP_P && !top_k;
    uint floor = start, wanted = 0;

#if CLS_CANDIDATES_OFF
    return;
#endif
    if (top_p) floor = cls_guess_floor(row, plan, start, row->weighed == 0 ? cls_sums_mass(row) : 0);
    if (top_k && plan->top_k <= row->tiles) wanted = plan->top_k;
    if (top_p && floor > start) wanted = min(CLS_GUESSED_TILES, row->tiles / 2);
    if (wanted && cls_tiles_from(row, floor) > CLS_FEW_TILES) floor = cls_floor_of(row, floor, wanted);
    row->floor = floor;
    row->due = floor > CLS_KEY_LOWEST || row->vocab <= row->near.room;
}

/* ---- Where a limit is passed ---- */

/* What is met on a walk in the order of ids over the tokens from `key` on. */
typedef struct cls_passage {
    uint key;
    ulong above, sum; /* what is kept above the key; and with its ties so far */
    uint ties, last;  /* their number; the id of the last one that comes below the limit */
    ulong first_mass;
    uint next; /* the smallest key above */
} cls_passage;

CLS_FN void cls_meet(cls_passage *p, const cls_limit *limit, uint key, uint id, ulong mass)
{
    if (key > p->key) {
        p->next = min(p->next, key);
        return;
    }
    if (p->ties++ == 0) p->first_mass = mass;
    if (cls_is_below(p->sum, limit)) p->last = id;
    p->sum += mass;
}
CLS_FN void cls_pass_near(const cls_row *row, const cls_cut *cut, const cls_limit *limit, cls_passage *p)
{
    for (uint i = 0; i < row->count; i++) {
        const uint key = row->near.key[i], id = row->near.id[i];
        if (key >= p->key && cls_kept(key, id, cut))
            cls_meet(p, limit, key, id,
                     limit->masses ? cls_weight_mass(&row->measure, row->near.weight[i]) : 1);
    }
}
/* The same for all ties of a key that are too many to be candidates. */
CLS_FN void cls_pass_row(const cls_row *row, const cls_cut *cut, const cls_limit *limit, cls_passage *p)
{
    for (uint t = 0; t < row->tiles; t++) {
        if (row->place.key[t] < p->key) continue;
        for (uint id = t * CLS_TILE; id < min((t + 1) * CLS_TILE, row->vocab); id++) {
            const uint key = cls_load_key(row->logits, id);
            if (key < p->key || !cls_kept(key, id, cut)) continue;
            ulong mass = 1;
            if (limit->masses && key == p->key)
                mass = cls_weight_mass(&row->measure,
                                       cls_pack(&row->measure, key, cls_block_exponent(row, id / CLS_BLOCK)));
            cls_meet(p, limit, key, id, mass);
        }
    }
}

/* The smallest key above this one, which is not the largest. */
CLS_FN uint cls_next_key(const cls_row *row, uint key)
{
    const cls_ints above = cls_signed(key);
    cls_ints next = INT_MAX;
    uint last = CLS_NO_ID;

    for (uint t = 0; t < row->tiles; t++) {
        const uint end = min((t + 1) * CLS_TILE, row->vocab);
        uint id = t * CLS_TILE;
        if (row->place.key[t] <= key) continue;
        for (; id + CLS_LANES <= end; id += CLS_LANES) {
            const cls_ints k = cls_signed_lanes(CLS_LOAD(row->logits, id));
            next = k > above && k <= CLS_SIGNED_INFINITY ? min(next, k) : next; /* not NaN */
        }
        for (; id < end; id++) {
            const uint k = cls_load_key(row->logits, id);
            if (k > key) last = min(last, k);
        }
    }
    return min(last, (uint)~cls_max_lane(~next) ^ 0x80000000u);
}

/* Is the limit passed among the candidates? Narrows the range of the hunt either way. */
CLS_FN int cls_near_passes(const cls_row *row, const cls_limit *limit, cls_hunt *h)
{
    const uint low = max(h->in.low, row->floor);
    const ulong amount = cls_near_amount(row, limit->masses, low);

    if (amount > limit->most) {
        h->in.low = low;
        return 1;
    }
    h->in.high = low;
    h->above = amount;
    h->look = h->in;
    return 0;
}

/* Move the cut to where the limit is passed, as the rule for ties asks. `total`: what is kept amounts to at
 * most that. */
CLS_FN void cls_cut_at(cls_row *row, const cls_limit *limit, ulong total, cls_cut *cut)
{
    const cls_range all = { cut->key, row->measure.key_max + 1, 0 };
    cls_hunt h = { all, total, 0, all, CLS_UNKNOWN };
    const int near = row->have && cls_near_passes(row, limit, &h);

    if (row->have && !near && row->floor <= cut->key) return; /* nothing passes it */
    if (!near) cls_narrow(row, cut, limit, &h);
    cls_passage p = { h.in.low, h.above, 0, 0, 0, 0, CLS_NO_ID };
    if (row->count) p.key = cls_near_search(row, limit, h.in.low, h.in.high, &p.above);
    p.sum = p.above;
    if (row->count)
        cls_pass_near(row, cut, limit, &p);
    else
        cls_pass_row(row, cut, limit, &p);
    if (p.ties == 0) return;
    const int stays = cls_passer_stays(limit, p.above, p.first_mass, p.key == row->measure.key_max);
    if (!stays && p.next == CLS_NO_ID) p.next = cls_next_key(row, p.key);
    cut->key = stays ? p.key : p.next;
    cut->id = stays && limit->exact ? p.last : CLS_NO_ID;
    if (near && cut->id != CLS_NO_ID) cls_near_drop(row, cut);
    /* Sums tell the rest, unless all that is kept can be had among candidates again, for little. */
    row->due = !near && row->sums_low <= cut->key && row->sums_count + row->count <= CLS_FEW;
    if (!near) row->floor = cut->key;
}

/* ---- The stages ---- */

/* The mass of what is kept, and its number. */
CLS_FN ulong cls_kept_mass(cls_row *row, const cls_cut *cut, ulong *count)
{
    if (row->have && cut->key >= row->floor) return cls_near_kept(row, cut, count);
    return cls_row_keep(row, cut, count);
}

/* From the filters' measure to the draw's. */
CLS_FN void cls_remeasure(cls_row *row, cls_scale scale, const cls_cut *cut)
{
    cls_set_measure(&row->measure, row->measure.key_max, scale);
    row->weighed = CLS_NO_ID;
    row->sums_key = CLS_NO_ID;
    cls_drop_candidates(row);
    row->due = 1;
    row->floor = cut->key;
}

/* Filters and draw of a row with a finite logit. One loop holds the stages, and which comes next is not known
 * beforehand: so compilers that put everything where it is called meet each piece once, which is worth
 * seconds at start-up. */
CLS_FN void cls_choose(cls_row *row, const cls_plan_row *plan, cls_cut *cut, cls_result *result)
{
    const uint stages = cls_stages_of(plan->flags), start = cut->key;
    const uint min_p = cls_min_p_key(row->measure.key_max, plan->min_p_hi, plan->min_p_lo);
    ulong total = 0, count = 0, mass = 0;
    cls_limit limit;

    if (stages != CLS_STAGE_DRAW)
        cls_approach(row, plan, stages & CLS_STAGE_MIN_P ? max(start, min_p) : start);
#pragma unroll 1
    for (uint left = stages; left; left &= left - 1) {
        const uint stage = left & -left;
        if (stage == CLS_STAGE_SCALE) cls_remeasure(row, plan->draw, cut);
        if (row->due) cls_gather(row, row->floor);
        row->due = 0;
        if (stage & CLS_STAGES_MEASURE) total = cls_kept_mass(row, cut, &count);
        if (stage & (CLS_STAGE_MIN_P | CLS_STAGE_LATE_MIN_P)) cls_raise_cut(cut, min_p);
        if (stage == CLS_STAGE_BAND)
            cls_raise_cut(cut, min(min_p, cls_band_key(&row->measure, plan->band, total)));
        if (stage == CLS_STAGE_TOP_K) cls_limit_count(plan, &limit);
        if (stage == CLS_STAGE_TOP_P) cls_limit_mass(plan, total, &limit);
        if (stage & CLS_STAGES_LIMIT)
            cls_cut_at(row, &limit, stage == CLS_STAGE_TOP_K ? row->vocab : total, cut);
    }
    const ulong target = cls_target(plan, total);
    const uint id = row->have && cut->key >= row->floor ? cls_near_draw(row, cut, target, &mass)
                                                        : cls_row_draw(row, cut, target, &mass);
    cls_set_drawn(cut, result, id, mass, total, count);
}

/* ---- The kernel ---- */

/* PoCL compiles a kernel's body three times, for three ways to start it, but what it calls only once. */

/* Group g's share of the tiles. */
CLS_CALLED void cls_summarize_share(const cls_row *row, const cls_plan_row *plan, uint ahead, uint g,
                                    uint groups)
{
    const uint share = (row->tiles + groups - 1) / groups, begin = g * share;

    for (uint t = begin; t < min(begin + share, row->tiles); t++) {
        /* One load at a time keeps memory waiting, where no cache has the logits. */
        const int fetches = ahead && (t + ahead + 1) * CLS_TILE <= row->vocab;
        for (uint i = 0; fetches && i < CLS_TILE; i += 64 / sizeof(cls_raw))
            prefetch(row->logits + (t + ahead) * CLS_TILE + i, 1);
        cls_summarize(row->logits, row->vocab, t, plan->flags & CLS_PLAN_SUMS, plan->filter, &row->place);
    }
}

CLS_CALLED void cls_choose_row(cls_row *row, const cls_plan_row *plan, uint fallback, cls_cut *cut,
                               cls_result *result)
{
    int nan;

    cls_start(cut, result);
    const uint key_max = cls_row_max(row, &nan);
    if (key_max == CLS_KEY_MASKED) return;
    cls_start_with(key_max, cls_first_id(row, key_max), fallback, nan, cut, result);
    if (plan->flags & CLS_PLAN_GREEDY) return;
    cls_set_measure(&row->measure, key_max, plan->filter);
    const int sums = (plan->flags & CLS_PLAN_SUMS) != 0;
    row->weighed = sums ? 0 : CLS_NO_ID;
    row->sums_key = row->sums_low = sums && !row->measure.saturated ? cut->key : CLS_NO_ID;
    row->sums_count = sums ? cls_live(row) : 0;
    cls_choose(row, plan, cut, result);
}

/* logits [rows, stride]. plans [rows], or null. scratch: see CLS_ROW_SCRATCH; its cuts take what the rows
 * keep. tokens int32 [rows] and results [rows] take the outcome: either may be null. arrived [rows] is 0
 * before and after. Global size: any number of groups, which share each row's tiles; rows. Of a group's items
 * only the first works. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1))) CLS_ONE_BY_ONE void cls_step(
    __global const cls_raw *restrict logits, __global cls_plan_row *plans, __global uchar *scratch,
    cls_call call, __global int *restrict tokens, __global cls_result *restrict results,
    __global uint *arrived)
{
    if (CLS_WG > 1 && get_local_id(0) != 0) return;
    const uint r = get_group_id(1), groups = get_num_groups(0);
    cls_row row = { .logits = logits + call.offset + r * call.stride,
                    .vocab = call.vocab,
                    .tiles = cls_tiles(call.vocab),
                    .floor = CLS_KEY_INFINITY };
    row.place = cls_place_of(scratch, call.scratch_offset, r, get_num_groups(1), call.vocab);
    row.near = cls_near_of(scratch, call.scratch_offset, r, get_num_groups(1), call.vocab);
    if (call.fallback && row.place.cut->status != CLS_ROW_NO_TOKEN) {
        if (get_group_id(0) == 0 && call.phase != CLS_PHASE_SUMMARY) cls_move_plan(&call, plans, r);
        return;
    }

    cls_plan_row plan;
    cls_find_plan(&call, plans, r, &plan);
    if (call.phase != CLS_PHASE_CHOICE) cls_summarize_share(&row, &plan, call.ahead, get_group_id(0), groups);
    if (call.phase == CLS_PHASE_SUMMARY) return;
    if (call.phase == CLS_PHASE_ALL && groups > 1 && !cls_is_last(arrived + r, groups)) return;

    cls_cut cut;
    cls_result result;
    cls_choose_row(&row, &plan, call.fallback, &cut, &result);
    *row.place.cut = cut;
    if (tokens) tokens[call.tokens_offset + r] = result.token;
    if (results) results[call.results_offset + r] = result;
    cls_move_plan(&call, plans, r);
}
