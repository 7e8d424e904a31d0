/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: the candidates, all tokens of a row from a floor on, in local memory. They are sorted by
 * id for sums in that order, and by rank for the filters' cuts. */
#ifndef CLS_GROUP_NEAR_H
#define CLS_GROUP_NEAR_H

#define CLS_ROOM 1024u      /* candidates that local memory holds, a power of two */
#define CLS_HIT_TILES 1024u /* tiles that it can list; more have more candidates than there is room for */

/* The row before anything is chosen, and where the outcome goes. */
typedef struct cls_given {
    __global const cls_raw *logits;
    cls_place place;
    uint vocab, tiles, blocks;
    cls_cut cut;
    __global int *token;         /* may be null */
    __global cls_result *result; /* likewise */
} cls_given;

typedef struct cls_near {
    cls_group group;
    /* Here, and not in registers, of which some GPUs have too few: what is needed a word at a time, all
     * along, or again at the end. */
    cls_plan_row plan;
    cls_given given;
    ulong sorted[CLS_ROOM];               /* by id, then by rank: see cls_sort_by_rank */
    uint key[CLS_ROOM], weight[CLS_ROOM]; /* by id; weights as cls_pack has them */
    uint id[CLS_ROOM];
    uint tile[CLS_HIT_TILES];
    uint low[256], high[256]; /* a histogram, for the row */
    uint hits, count;
    uint found, place;
    ulong before;
} cls_near;

/* What is known of a row's blocks. */
#define CLS_SUMS_NONE 0
#define CLS_SUMS_EXPONENTS 1
#define CLS_SUMS_WHOLE 2 /* and, until a cut changes them, the sums of all their tokens: the summary's */

/* The row that is chosen from. */
typedef struct cls_row {
    __global const cls_raw *logits;
    cls_place place;
    uint vocab, tiles, blocks;
    cls_measure measure;
    int summed; /* at this measure: CLS_SUMS_... */
    __local cls_near *near;
    uint count; /* of candidates, at most CLS_ROOM; 0 if they did not fit */
    uint floor;
} cls_row;

/* ---- The largest logit ---- */

CLS_FN uint cls_row_max(const cls_row *row, int *nan)
{
    uint largest = CLS_KEY_MASKED, bad = 0;

    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG) {
        largest = max(largest, row->place.key[t]);
        bad |= row->place.live[t] & CLS_LIVE_NAN;
    }
    *nan = cls_group_max(bad, &row->near->group) != 0;
    return cls_group_max(largest, &row->near->group);
}

/* The smallest id that has the key, which is the row's largest. */
CLS_FN uint cls_first_id(const cls_row *row, uint key)
{
    uint first = CLS_NO_ID, id = CLS_NO_ID;

    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG)
        if (row->place.key[t] == key) first = min(first, t);
    first = cls_group_min(first, &row->near->group);
    for (uint i = get_local_id(0); i < CLS_TILE && first * CLS_TILE + i < row->vocab; i += CLS_WG)
        if (cls_load_key(row->logits, first * CLS_TILE + i) == key) id = min(id, first * CLS_TILE + i);
    return cls_group_min(id, &row->near->group);
}

/* ---- To gather ---- */

/* Does the key with this number come before another in rank? */
CLS_FN uint cls_is_ahead(uint key, uint number, uint other_key, uint other)
{
    return key > other_key || (key == other_key && number < other);
}

/* A key that at least `wanted` tokens reach, as long as so many work-items have one: each takes the largest
 * of its tiles, and the one with that rank among them knows. Else `start`. */
CLS_FN uint cls_floor_of(const cls_row *row, uint start, uint wanted)
{
    __local cls_near *near = row->near;
    const uint lid = get_local_id(0);
    uint mine = CLS_KEY_MASKED, rank = 1;

    for (uint t = wanted ? lid : row->tiles; t < row->tiles; t += CLS_WG)
        mine = max(mine, row->place.key[t]);
    CLS_BARRIER();
    near->key[lid] = mine;
    near->found = start;
    CLS_BARRIER();
#pragma unroll 1 /* else it takes AMD's compiler more registers than there are */
    for (uint i = wanted ? 0 : CLS_WG; i < CLS_WG; i += 4) {
        const uint4 key = vload4(0, near->key + i);
        rank += cls_is_ahead(key.x, i, mine, lid) + cls_is_ahead(key.y, i + 1, mine, lid) +
                cls_is_ahead(key.z, i + 2, mine, lid) + cls_is_ahead(key.w, i + 3, mine, lid);
    }
    if (rank == wanted) near->found = max(start, mine);
    CLS_BARRIER();
    return near->found;
}

/* List the tiles that reach the floor, in any order. */
CLS_FN void cls_list_tiles(const cls_row *row)
{
    __local cls_near *near = row->near;

    CLS_BARRIER();
    if (get_local_id(0) == 0) near->hits = near->count = 0;
    CLS_BARRIER();
    for (uint t = get_local_id(0); t < row->tiles; t += CLS_WG) {
        if (row->place.key[t] < row->floor) continue;
        const uint at = atomic_inc(&near->hits);
        if (at < CLS_HIT_TILES) near->tile[at] = t;
    }
    CLS_BARRIER();
}

/* Gather the tokens from the floor on, as (id, key) in any order. */
CLS_FN void cls_collect(const cls_row *row, uint tiles)
{
    __local cls_near *near = row->near;

    for (uint i = get_local_id(0); i < tiles * CLS_TILE; i += CLS_WG) {
        const uint id = near->tile[i / CLS_TILE] * CLS_TILE + i % CLS_TILE;
        if (id >= row->vocab) continue;
        const uint key = cls_load_key(row->logits, id);
        if (key < row->floor) continue;
        const uint at = atomic_inc(&near->count);
        if (at < CLS_ROOM) near->sorted[at] = (ulong)id << 32 | key;
    }
    CLS_BARRIER();
}

CLS_FN uint cls_power_above(uint n)
{
    uint power = 1;

    while (power < n)
        power *= 2;
    return power;
}

/* Pad n numbers with such as sort behind all others, and sort. */
CLS_FN void cls_sort(const cls_row *row, uint n)
{
    const uint room = n ? cls_power_above(n) : 0;

    for (uint i = n + get_local_id(0); i < room; i += CLS_WG)
        row->near->sorted[i] = ULONG_MAX;
    cls_group_sort(row->near->sorted, room);
}

/* Take the tokens from the floor on as candidates, in the order of ids, if they fit. */
CLS_FN void cls_gather(cls_row *row)
{
    __local cls_near *near = row->near;

    cls_list_tiles(row);
    const uint hits = near->hits;
    cls_collect(row, hits <= CLS_HIT_TILES ? hits : 0);
    const uint n = hits <= CLS_HIT_TILES ? near->count : CLS_ROOM + 1;
    row->count = n <= CLS_ROOM ? n : 0;
    cls_sort(row, row->count);
    for (uint i = get_local_id(0); i < row->count; i += CLS_WG) {
        near->id[i] = (uint)(near->sorted[i] >> 32);
        near->key[i] = (uint)near->sorted[i];
    }
    CLS_BARRIER();
}

/* ---- Weights ---- */

CLS_CALLED uint cls_candidate_weight(const cls_row *row, uint i)
{
    const uint begin = row->near->id[i] / CLS_BLOCK * CLS_BLOCK;
    const uint key_max = cls_max_key(row->logits, begin, min(begin + CLS_BLOCK, row->vocab));

    return cls_pack(&row->measure, row->near->key[i], cls_weigh(key_max, row->measure.scale).exponent);
}

/* Weigh the first n candidates at the row's measure. */
CLS_FN void cls_weigh_candidates(const cls_row *row, uint n)
{
    for (uint i = get_local_id(0); i < n; i += CLS_WG)
        row->near->weight[i] = cls_candidate_weight(row, i);
    CLS_BARRIER();
}

/* What candidate i adds to the mass of what the cut keeps, in the order of ids: the weights of a block are
 * added before they become mass. 0 if it is not kept. */
CLS_FN ulong cls_increment(const cls_row *row, const cls_cut *cut, uint i)
{
    __local const cls_near *near = row->near;
    const uint weight = near->weight[i], block = near->id[i] / CLS_BLOCK;
    uint before = 0;

    if (!cls_kept(near->key[i], near->id[i], cut)) return 0;
    for (uint j = i; j > 0 && near->id[j - 1] / CLS_BLOCK == block; j--)
        if (cls_kept(near->key[j - 1], near->id[j - 1], cut)) before += CLS_UNITS(near->weight[j - 1]);
    return cls_units_mass(&row->measure, before + CLS_UNITS(weight), CLS_SHIFT(weight)) -
           cls_units_mass(&row->measure, before, CLS_SHIFT(weight));
}

/* The mass of the candidates of a share that the cut keeps; *count takes their number. */
CLS_CALLED ulong cls_share_kept(const cls_row *row, const cls_cut *cut, cls_share share, uint *count)
{
    ulong mass = 0;

    *count = 0;
    for (uint i = share.begin; i < share.end; i++) {
        mass += cls_increment(row, cut, i);
        *count += cls_kept(row->near->key[i], row->near->id[i], cut);
    }
    return mass;
}

/* ---- Cuts ---- */

/* Sort the candidates by rank: larger keys first, then smaller ids. Each element has its place in the order
 * of ids in the lower half. */
CLS_FN void cls_sort_by_rank(const cls_row *row, uint n)
{
    for (uint i = get_local_id(0); i < n; i += CLS_WG)
        row->near->sorted[i] = (ulong)~row->near->key[i] << 32 | i;
    cls_sort(row, n);
}
CLS_FN uint cls_ranked_key(const cls_row *row, uint rank)
{
    return ~(uint)(row->near->sorted[rank] >> 32);
}
CLS_FN uint cls_ranked_id(const cls_row *row, uint rank)
{
    return row->near->id[(uint)row->near->sorted[rank]];
}
CLS_FN ulong cls_ranked_mass(const cls_row *row, uint rank)
{
    return cls_weight_mass(&row->measure, row->near->weight[(uint)row->near->sorted[rank]]);
}

/* Move the cut to the top_k-th candidate, if so many are kept. */
CLS_FN void cls_near_top_k(const cls_row *row, uint top_k, int exact, cls_cut *cut)
{
    if (top_k > row->count || cls_ranked_key(row, top_k - 1) < cut->key) return;
    cut->key = cls_ranked_key(row, top_k - 1);
    cut->id = exact ? cls_ranked_id(row, top_k - 1) : CLS_NO_ID;
}

/* A candidate of this rank or a later one passes the limit of a mass, `sum` being what is kept before this
 * rank: move the cut there, as the rule for ties asks. */
CLS_CALLED void cls_near_pass(const cls_row *row, const cls_limit *limit, uint rank, ulong sum, cls_cut *cut)
{
    const cls_cut before = *cut;
    uint first, last = 0;

    for (;; rank++) {
        const ulong mass = cls_ranked_mass(row, rank);
        if (!cls_kept(cls_ranked_key(row, rank), cls_ranked_id(row, rank), cut)) continue;
        if (sum + mass > limit->most) break;
        sum += mass;
    }
    const uint key = cls_ranked_key(row, rank);
    for (first = rank; first > 0 && cls_ranked_key(row, first - 1) == key; first--)
        sum -= cls_ranked_mass(row, first - 1);
    const int stays = cls_passer_stays(limit, sum, cls_ranked_mass(row, first), key == row->measure.key_max);
    cut->key = stays ? key : cls_ranked_key(row, first - 1);
    cut->id = CLS_NO_ID;
    if (!stays || !limit->exact) return;
    for (uint i = first; i < row->count && cls_ranked_key(row, i) == key; i++) {
        if (!cls_kept(key, cls_ranked_id(row, i), &before)) break;
        if (cls_is_below(sum, limit)) last = cls_ranked_id(row, i);
        sum += cls_ranked_mass(row, i);
    }
    cut->id = last;
}

/* Find the candidate, of the `n` first in rank, at which their running mass passes the limit, and move the
 * cut. The work-item that finds it hands the cut over in near->low. */
CLS_FN void cls_near_top_p(const cls_row *row, const cls_limit *limit, uint n, cls_cut *cut)
{
    __local cls_near *near = row->near;
    const cls_share share = cls_share_of(n);
    ulong mine = 0, total;

    for (uint i = share.begin; i < share.end; i++)
        if (cls_kept(cls_ranked_key(row, i), cls_ranked_id(row, i), cut)) mine += cls_ranked_mass(row, i);
    ulong sum = cls_group_scan(mine, &near->group, &total);
    if (get_local_id(0) == 0) {
        near->low[0] = cut->key;
        near->low[1] = cut->id;
    }
    CLS_BARRIER();
    if (sum <= limit->most && sum + mine > limit->most) {
        cls_cut moved = *cut;
        cls_near_pass(row, limit, share.begin, sum, &moved);
        near->low[0] = moved.key;
        near->low[1] = moved.id;
    }
    CLS_BARRIER();
    cut->key = near->low[0];
    cut->id = near->low[1];
}

#endif
