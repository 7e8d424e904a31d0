/* SPDX-License-Identifier: Apache-2.0 */
/* The choice: one work-group a row turns the block summaries into a token. Every filter keeps a prefix of the
 * descending order of (logit, smaller id first), so a filter is a cut: a key, and an id among its ties. The
 * cut of each filter is searched digit by digit over the keys, with counts for top-k and masses for top-p.
 * The search first walks candidates, the tokens above a floor taken from the block maxima, in local memory;
 * if the cut lies below the floor, or the candidates do not fit, it walks the row, reading only blocks whose
 * maximum reaches the digits that are already known. Nothing is sorted. Both ways give the same cut.
 *
 * All sums are of integers, so their order, and with it CLS_WG, changes nothing. Barriers stand in code that
 * the whole group reaches: every branch around one hangs on values that all work-items share. */

#if CLS_WG > 1
#define CLS_BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define CLS_GLOBAL_BARRIER() barrier(CLK_GLOBAL_MEM_FENCE)
#else
#define CLS_BARRIER() /* a group of one has nobody to wait for */
#define CLS_GLOBAL_BARRIER()
#endif

/* Intel's CPU runtime (2026.2) makes vectors of neighbouring work-items, and wrong sums where barriers stand
 * in branches of a loop: told not to, it is right. The others do not know the attribute. */
#if defined(__has_attribute)
#if __has_attribute(intel_vec_len_hint)
#define CLS_ONE_BY_ONE __attribute__((intel_vec_len_hint(1)))
#endif
#endif
#ifndef CLS_ONE_BY_ONE
#define CLS_ONE_BY_ONE
#endif

#define CLS_NEAR_TOKENS 1024u /* candidates that local memory holds */

typedef struct cls_shared {
    ulong wide[CLS_WG + 1];
    uint low[256], high[256];
    uint key[CLS_NEAR_TOKENS], id[CLS_NEAR_TOKENS]; /* the candidates, in the order of ids ... */
    ushort chunk[CLS_NEAR_TOKENS + 1];              /* ... and where those of one block begin */
    ulong sum;
    uint max, token, digit;
} cls_shared;

/* A row, or its candidates: the same walks serve both. A chunk is the tokens of one block: all of them in the
 * row, those from the floor on among the candidates. */
typedef struct cls_row {
    __global const cls_raw *logits;
    __global const cls_block *block;
    __local cls_shared *s;
    uint vocab, blocks;
    uint near;  /* number of chunks of candidates; 0: the row itself is walked */
    uint floor; /* smallest key of a candidate */
    uint key_max;
    int saturated; /* at the scale in use */
    int exponent;  /* reference of the row's masses, likewise */
    cls_scale scale;
} cls_row;

CLS_FN uint cls_chunks(const cls_row *row)
{
    return row->near ? row->near : row->blocks;
}
CLS_FN uint cls_chunk_begin(const cls_row *row, uint c)
{
    return row->near ? row->s->chunk[c] : c * CLS_BLOCK;
}
CLS_FN uint cls_chunk_end(const cls_row *row, uint c)
{
    return row->near ? row->s->chunk[c + 1] : min((c + 1) * CLS_BLOCK, row->vocab);
}
CLS_FN uint cls_chunk_max(const cls_row *row, uint c)
{
    return row->block[row->near ? row->s->id[row->s->chunk[c]] / CLS_BLOCK : c].key_max;
}
CLS_FN uint cls_key_at(const cls_row *row, uint at)
{
    return row->near ? row->s->key[at] : cls_load_key(row->logits, at);
}
CLS_FN uint cls_id_at(const cls_row *row, uint at)
{
    return row->near ? row->s->id[at] : at;
}

/* A share of n chunks, in the order of ids: work-item i has the i-th. */
typedef struct cls_share {
    uint begin, end;
} cls_share;
CLS_FN cls_share cls_share_of(uint n)
{
    const uint share = (n + CLS_WG - 1) / CLS_WG;
    const uint begin = min((uint)get_local_id(0) * share, n);
    const cls_share s = { begin, min(begin + share, n) };
    return s;
}

CLS_FN void cls_rescale(cls_row *row, cls_scale scale)
{
    row->scale = scale;
    row->saturated = cls_saturated(row->key_max, scale);
    row->exponent = cls_weigh(row->key_max, scale).exponent;
}
CLS_FN int cls_kept(uint key, uint id, const cls_cut *cut)
{
    return key > cut->key || (key == cut->key && id <= cut->id);
}
CLS_FN ulong cls_token_mass(const cls_row *row, uint key, int block_exponent)
{
    if (row->saturated) return key == row->key_max ? CLS_HOT_MASS : 0;
    return cls_mass(cls_in_block(cls_weigh(key, row->scale), block_exponent), block_exponent, row->exponent);
}
/* Mass of a sum of weights in units of block b, or of a number of tokens in a saturated row. */
CLS_FN ulong cls_block_mass(const cls_row *row, uint sum, int block_exponent)
{
    return row->saturated ? sum * CLS_HOT_MASS : cls_mass(sum, block_exponent, row->exponent);
}
CLS_FN uint cls_token_unit(const cls_row *row, uint key, int block_exponent)
{
    return row->saturated ? key == row->key_max : cls_in_block(cls_weigh(key, row->scale), block_exponent);
}

/* ---- Group-wide sums ---- */

CLS_FN uint cls_group_max(uint value, __local cls_shared *s)
{
    CLS_BARRIER();
    if (get_local_id(0) == 0) s->max = 0;
    CLS_BARRIER();
    atomic_max(&s->max, value);
    CLS_BARRIER();
    return s->max;
}
/* Sum of what the work-items before this one bring; *total takes the sum of all. One work-item adds: that is
 * CLS_WG additions between two barriers, and far less to compile than a tree. */
CLS_FN ulong cls_group_scan(ulong value, __local cls_shared *s, ulong *total)
{
    const uint lid = get_local_id(0);
    CLS_BARRIER();
    s->wide[lid] = value;
    CLS_BARRIER();
    if (lid == 0) {
        ulong sum = 0;
        for (uint i = 0; i < CLS_WG; i++) {
            const ulong next = s->wide[i];
            s->wide[i] = sum;
            sum += next;
        }
        s->wide[CLS_WG] = sum;
    }
    CLS_BARRIER();
    *total = s->wide[CLS_WG];
    return s->wide[lid];
}

/* ---- The search over keys ---- */

/* A 64-bit sum in two 32-bit halves: no 64-bit atomics are needed, and the carry arrives whatever the
 * order. */
CLS_FN void cls_add(__local uint *low, __local uint *high, ulong value)
{
#if CLS_WG == 1
    const uint before = *low;
    *low = before + (uint)value;
    *high += (uint)(value >> 32) + (*low < before);
#else
    const uint add = (uint)value;
    const uint before = atomic_add(low, add);
    const uint carry = before + add < before;
    const uint rest = (uint)(value >> 32) + carry;
    if (rest) atomic_add(high, rest);
#endif
}

/* One digit's histogram: of the kept keys that begin with `prefix`, their number or their mass. */
CLS_FN void cls_histogram(const cls_row *row, const cls_cut *cut, uint prefix, uint mask, uint shift,
                          int masses, __local cls_shared *s)
{
    for (uint c = get_local_id(0); c < cls_chunks(row); c += CLS_WG) {
        const uint block_max = cls_chunk_max(row, c);
        if (block_max < max(cut->key, prefix)) continue;
        const int exponent = cls_weigh(block_max, row->scale).exponent;
        for (uint at = cls_chunk_begin(row, c); at < cls_chunk_end(row, c); at++) {
            const uint key = cls_key_at(row, at), digit = key >> shift & 255u;
            if ((key & mask) != prefix || !cls_kept(key, cls_id_at(row, at), cut)) continue;
            cls_add(&s->low[digit], &s->high[digit], masses ? cls_token_mass(row, key, exponent) : 1);
        }
    }
}

/* Clear the histogram, and find in it the digit at which the sum from the top on exceeds `limit`: s->digit,
 * or 0 for the lowest digit if none does; s->sum is then the sum above that digit. */
CLS_FN void cls_clear(__local cls_shared *s)
{
    for (uint i = get_local_id(0); i < 256; i += CLS_WG)
        s->low[i] = s->high[i] = 0;
}
CLS_FN void cls_find_digit(__local cls_shared *s, ulong limit)
{
    ulong sum = s->sum;
    uint digit = 255;

    for (; digit > 0; digit--) {
        const ulong bin = (ulong)s->high[digit] << 32 | s->low[digit];
        if (sum + bin > limit) break;
        sum += bin;
    }
    s->digit = digit;
    s->sum = sum;
}

/* The largest key such that what is kept at or above it, counted or weighed, is more than `limit`; the lowest
 * kept key or less if all that is kept is not. *above takes what is kept strictly above that key. */
CLS_FN uint cls_search(const cls_row *row, const cls_cut *cut, int masses, ulong limit, __local cls_shared *s,
                       ulong *above)
{
    uint prefix = 0, mask = 0;

    CLS_BARRIER();
    if (get_local_id(0) == 0) s->sum = 0;
    for (uint pass = 0; pass < 4; pass++) {
        const uint shift = 24 - 8 * pass;
        cls_clear(s);
        CLS_BARRIER();
        cls_histogram(row, cut, prefix, mask, shift, masses, s);
        CLS_BARRIER();
        if (get_local_id(0) == 0) cls_find_digit(s, limit);
        CLS_BARRIER();
        prefix |= s->digit << shift;
        mask |= 255u << shift;
    }
    *above = s->sum;
    return prefix;
}

/* ---- Ties ---- */

/* Walk the kept ties of `key` in a share of the chunks in the order of ids, adding their number or mass to
 * `sum`, which is returned. *first takes the id of the first one and *first_mass what it adds; *last the id
 * of the last one that is met with a sum below `limit`, or equal to it if `through`. Ids stay as they are if
 * there is none. */
CLS_FN ulong cls_walk_ties(const cls_row *row, const cls_cut *cut, uint key, int masses, cls_share share,
                           ulong sum, ulong limit, int through, uint *first, ulong *first_mass, uint *last)
{
    for (uint c = share.begin; c < share.end; c++) {
        const uint block_max = cls_chunk_max(row, c);
        if (block_max < key) continue;
        const int exponent = cls_weigh(block_max, row->scale).exponent;
        for (uint at = cls_chunk_begin(row, c); at < cls_chunk_end(row, c); at++) {
            const uint id = cls_id_at(row, at);
            if (cls_key_at(row, at) != key || !cls_kept(key, id, cut)) continue;
            const ulong mass = masses ? cls_token_mass(row, key, exponent) : 1;
            if (*first == CLS_NO_ID) {
                *first = id;
                *first_mass = mass;
            }
            if (sum < limit || (through && sum == limit)) *last = id;
            sum += mass;
        }
    }
    return sum;
}

/* This work-item's smallest key above `key`. */
CLS_FN uint cls_next_key(const cls_row *row, uint key)
{
    uint next = row->key_max;

    for (uint c = get_local_id(0); c < cls_chunks(row); c += CLS_WG) {
        if (cls_chunk_max(row, c) <= key) continue;
        for (uint at = cls_chunk_begin(row, c); at < cls_chunk_end(row, c); at++) {
            const uint k = cls_key_at(row, at);
            if (k > key) next = min(next, k);
        }
    }
    return next;
}

/* ---- The mass of what a cut keeps ---- */

/* Of one chunk, what the cut keeps: the sum of its weights in units of the block, and the number of tokens.
 * `whole`: the cut keeps the row, whose sums are in the summary; the chunks are then blocks. */
CLS_FN uint cls_kept_in_chunk(const cls_row *row, uint c, const cls_cut *cut, int whole, uint *count)
{
    const uint block_max = cls_chunk_max(row, c);
    uint sum = 0, n = 0;

    if (whole && !row->saturated) {
        n = row->block[c].live & CLS_LIVE_COUNT;
        sum = row->block[c].sum;
    } else if (block_max >= cut->key) {
        const int exponent = cls_weigh(block_max, row->scale).exponent;
        for (uint at = cls_chunk_begin(row, c); at < cls_chunk_end(row, c); at++) {
            const uint key = cls_key_at(row, at);
            if (!cls_kept(key, cls_id_at(row, at), cut)) continue;
            sum += cls_token_unit(row, key, exponent);
            n++;
        }
    }
    *count = n;
    return n ? sum : 0;
}

/* Mass and number of what the cut keeps in a share of the chunks. */
CLS_FN ulong cls_kept_in_share(const cls_row *row, cls_share share, const cls_cut *cut, int whole,
                               ulong *count)
{
    ulong mass = 0, all = 0;

    for (uint c = share.begin; c < share.end; c++) {
        uint n;
        const uint sum = cls_kept_in_chunk(row, c, cut, whole, &n);
        if (n) mass += cls_block_mass(row, sum, cls_weigh(cls_chunk_max(row, c), row->scale).exponent);
        all += n;
    }
    *count = all;
    return mass;
}

/* ---- The draw ---- */

/* The token kept in a share whose running mass, from `sum` on, first exceeds `target`, which lies in there:
 * s->token, and s->sum its mass. */
CLS_FN void cls_draw(const cls_row *row, cls_share share, const cls_cut *cut, int whole, ulong sum,
                     ulong target, __local cls_shared *s)
{
    ulong before = sum;
    int found = 0;

    for (uint c = share.begin; c < share.end && !found; c++) {
        uint units = 0, n;
        const uint all = cls_kept_in_chunk(row, c, cut, whole, &n);
        const int exponent = cls_weigh(cls_chunk_max(row, c), row->scale).exponent;
        const ulong mass = n ? cls_block_mass(row, all, exponent) : 0;
        if (sum + mass <= target) {
            sum += mass;
            before = sum;
            continue;
        }
        for (uint at = cls_chunk_begin(row, c); at < cls_chunk_end(row, c) && !found; at++) {
            const uint key = cls_key_at(row, at), id = cls_id_at(row, at);
            if (!cls_kept(key, id, cut)) continue;
            units += cls_token_unit(row, key, exponent);
            const ulong running = sum + cls_block_mass(row, units, exponent);
            found = running > target;
            if (found) {
                s->token = id;
                s->sum = running - before;
            }
            before = running;
        }
    }
}

/* ---- The candidates ---- */

/* A lower bound for the `wanted`-th largest key, from the first 16 bits of the block maxima: at least so many
 * reach it. There must be that many blocks. */
CLS_FN uint cls_floor_of(const cls_row *row, uint wanted, __local cls_shared *s)
{
    uint prefix = 0;

    CLS_BARRIER();
    if (get_local_id(0) == 0) s->sum = 0;
    for (uint pass = 0; pass < 2; pass++) {
        const uint shift = 24 - 8 * pass;
        cls_clear(s);
        CLS_BARRIER();
        for (uint b = get_local_id(0); b < row->blocks; b += CLS_WG) {
            const uint key = row->block[b].key_max, digit = key >> shift & 255u;
            if (pass == 0 || key >> 24 == prefix >> 24) cls_add(&s->low[digit], &s->high[digit], 1);
        }
        CLS_BARRIER();
        if (get_local_id(0) == 0) cls_find_digit(s, wanted - 1);
        CLS_BARRIER();
        prefix |= s->digit << shift;
    }
    return prefix;
}

/* Gather the tokens from `floor_key` on as candidates, in the order of ids: row->near is their number of
 * chunks, or 0 if they are more than local memory holds. */
CLS_FN void cls_gather(cls_row *row, uint floor_key, __local cls_shared *s)
{
    const cls_share share = cls_share_of(row->blocks);
    uint chunks = 0, tokens = 0;
    ulong total;

    for (uint b = share.begin; b < share.end && tokens <= CLS_NEAR_TOKENS; b++) {
        if (row->block[b].key_max < floor_key) continue;
        const uint end = min((b + 1) * CLS_BLOCK, row->vocab);
        chunks++;
        for (uint id = b * CLS_BLOCK; id < end; id++)
            tokens += cls_load_key(row->logits, id) >= floor_key;
    }
    const ulong before = cls_group_scan((ulong)chunks << 32 | tokens, s, &total);
    const int fits = (uint)total <= CLS_NEAR_TOKENS;
    uint chunk = (uint)(before >> 32), at = (uint)before;
    for (uint b = share.begin; fits && b < share.end; b++) {
        if (row->block[b].key_max < floor_key) continue;
        const uint end = min((b + 1) * CLS_BLOCK, row->vocab);
        s->chunk[chunk++] = (ushort)at;
        for (uint id = b * CLS_BLOCK; id < end; id++) {
            const uint key = cls_load_key(row->logits, id);
            if (key < floor_key) continue;
            s->key[at] = key;
            s->id[at++] = id;
        }
    }
    if (fits && get_local_id(0) == 0) s->chunk[total >> 32] = (ushort)total;
    CLS_BARRIER();
    row->near = fits ? (uint)(total >> 32) : 0;
    row->floor = floor_key;
}

/* Choose a floor that the filters' cut most likely lies above, and gather from there: min-p's threshold, the
 * k-th largest block maximum, or for top-p alone the maximum of rank CLS_TOP_P_BLOCKS. Where the cut lies
 * below all the same, a search among the candidates does not meet it, and the row itself is walked. */
#define CLS_TOP_P_BLOCKS 128u
CLS_FN void cls_approach(cls_row *row, const cls_plan_row *plan, uint flags, uint start, uint min_p,
                         __local cls_shared *s)
{
    const int early =
        (flags & (CLS_PLAN_MIN_P | CLS_PLAN_MIN_P_LATE | CLS_PLAN_MIN_P_BAND)) == CLS_PLAN_MIN_P;
    const uint wanted = flags & CLS_PLAN_TOP_K ? plan->top_k : flags & CLS_PLAN_TOP_P ? CLS_TOP_P_BLOCKS : 0;
    uint floor_key = early ? max(start, min_p) : start;

    for (uint turn = early ? 0 : 1; turn < 2 && row->near == 0; turn++) {
        if (turn == 1 && wanted && wanted <= row->blocks)
            floor_key = max(floor_key, cls_floor_of(row, wanted, s));
        if (turn == 0 || wanted) cls_gather(row, floor_key, s);
    }
}

/* ---- The stages ---- */

/* The article's band of min-p: what is within 1e-9 of the largest probability stays, a threshold of
 * -T ln(1 - 1e-9 whole / largest), as a series. The quotient is of integers, so it is the same everywhere. */
CLS_FN uint cls_band_key(const cls_row *row, float band, ulong whole)
{
    const ulong top =
        row->saturated ? CLS_HOT_MASS : cls_mass(cls_weigh(row->key_max, row->scale).mantissa, 0, 0);
    const float q = (float)(uint)(whole / (top >> 8)) * 0x1p-8f;
    const float y = q * 1e-9f;
    const float series = fma(y, fma(y, 0.333333343f, 0.5f), 1.0f);
    return cls_min_p_key(row->key_max, -(q * band) * series, 0.0f);
}

/* The search that top-k and top-p share. Top-k looks for the k-th largest logit, by counting. Top-p looks for
 * the logit that crosses top_p * total: a prefix of mass m is within if m <= limit, the product's floor, and
 * below if m < limit, or m == limit and the product has a fraction. 0 if the logit is not among the
 * candidates: nothing is changed then. */
CLS_FN int cls_cut_at(const cls_row *row, const cls_plan_row *plan, int masses, ulong total, cls_cut *cut,
                      __local cls_shared *s)
{
    const cls_share share = cls_share_of(cls_chunks(row));
    ulong fraction = 0, above, first_mass = 0, ties;
    uint first = CLS_NO_ID, last = CLS_NO_ID;
    const ulong part = cls_mul64(total, (ulong)plan->top_p_hi << 32 | plan->top_p_lo, &fraction);
    const ulong limit = masses ? part : plan->top_k - 1;
    const uint key = cls_search(row, cut, masses, limit, s, &above);
    const int exact =
        masses ? (plan->flags & CLS_PLAN_TOP_P_INCL) != 0 : (plan->flags & CLS_PLAN_TOP_K_EXACT) != 0;

    const int through = !masses || fraction != 0;
    const ulong here = cls_walk_ties(row, cut, key, masses, share, 0, 0, 0, &first, &first_mass, &last);
    const ulong before = cls_group_scan(here, s, &ties);
    const uint lowest = ~cls_group_max(~first, s); /* CLS_NO_ID: all that is kept is within the limit */

    if (first == lowest && first != CLS_NO_ID) s->sum = first_mass;
    CLS_BARRIER();
    first_mass = s->sum;
    const int within = exact ? above < limit || (above == limit && through) : above + first_mass <= limit;
    const int enters = !masses || within || key == row->key_max;
    last = 0;
    if (exact && enters)
        cls_walk_ties(row, cut, key, masses, share, above + before, limit, through, &first, &first_mass,
                      &last);
    last = cls_group_max(last, s);
    const uint next = ~cls_group_max(~cls_next_key(row, key), s);

    const int met = lowest != CLS_NO_ID || !row->near || cut->key >= row->floor;

    if (lowest != CLS_NO_ID) {
        cut->key = enters ? key : next;
        cut->id = exact && enters ? last : CLS_NO_ID;
    }
    return met;
}

/* The largest key of the row; s->token takes the smallest id that has it, *nan whether any logit is NaN. */
CLS_FN uint cls_row_max(const cls_row *row, __local cls_shared *s, int *nan)
{
    uint best = CLS_KEY_MASKED, bad = 0, first = CLS_NO_ID;

    for (uint b = get_local_id(0); b < row->blocks; b += CLS_WG) {
        best = max(best, row->block[b].key_max);
        bad |= row->block[b].live & CLS_LIVE_NAN;
    }
    const uint key_max = cls_group_max(best, s);
    *nan = cls_group_max(bad, s) != 0;
    for (uint b = get_local_id(0); b < row->blocks; b += CLS_WG)
        if (row->block[b].key_max == key_max) first = min(first, b);
    first = ~cls_group_max(~first, s);
    if (get_local_id(0) == 0) {
        uint id = first * CLS_BLOCK;
        while (cls_load_key(row->logits, id) != key_max)
            id++;
        s->token = id;
    }
    CLS_BARRIER();
    return key_max;
}

#define CLS_STAGE_MIN_P 0u
#define CLS_STAGE_TOP_K 1u
#define CLS_STAGE_TOP_P 2u
#define CLS_STAGE_DRAW 3u
#define CLS_STAGES 4u

/* Does this stage need the mass of what is kept before it? */
CLS_FN int cls_stage_measures(uint stage, uint flags)
{
    return stage == CLS_STAGE_DRAW || (stage == CLS_STAGE_TOP_P && flags & CLS_PLAN_TOP_P) ||
           (stage == CLS_STAGE_MIN_P && flags & CLS_PLAN_MIN_P_BAND);
}
CLS_FN int cls_stage_searches(uint stage, uint flags)
{
    return (stage == CLS_STAGE_TOP_K && flags & CLS_PLAN_TOP_K) ||
           (stage == CLS_STAGE_TOP_P && flags & CLS_PLAN_TOP_P);
}
/* Min-p's turn: first under most rules, last under some. */
CLS_FN int cls_stage_is_min_p(uint stage, uint flags)
{
    return flags & CLS_PLAN_MIN_P &&
           stage == (flags & CLS_PLAN_MIN_P_LATE ? CLS_STAGE_DRAW : CLS_STAGE_MIN_P);
}

/* All stages of a row with a finite logit, in one loop, so that the code that walks it exists once. */
CLS_FN void cls_choose(cls_row *row, const cls_plan_row *plan, uint flags, uint stream, __local cls_shared *s,
                       cls_cut *cut, cls_result *result)
{
    const uint start = row->key_max == CLS_KEY_INFINITY ? row->key_max : CLS_KEY_LOWEST;
    const uint min_p = cls_min_p_key(row->key_max, plan->min_p_hi, plan->min_p_lo);

    cut->key = start;
    cut->id = CLS_NO_ID;
    cls_approach(row, plan, flags, start, min_p, s);
    for (uint stage = 0; stage < CLS_STAGES; stage++) {
        const uint near = row->near;
        ulong mass = 0, count = 0, total = 0, before = 0, kept = 0;
        int whole = 0;
        if (cls_stage_is_min_p(stage, flags) && stage == CLS_STAGE_DRAW && min_p > cut->key) {
            cut->key = min_p;
            cut->id = CLS_NO_ID;
        }
        if (stage == CLS_STAGE_DRAW) cls_rescale(row, plan->draw);
        if (cls_stage_measures(stage, flags)) {
            const int summed =
                flags & CLS_PLAN_SUMS && !(stage == CLS_STAGE_DRAW && flags & CLS_PLAN_TWO_SCALES);
            whole = summed && cut->key == start && cut->id == CLS_NO_ID;
            if (whole || cut->key < row->floor) row->near = 0;
            mass = cls_kept_in_share(row, cls_share_of(cls_chunks(row)), cut, whole, &count);
            before = cls_group_scan(mass, s, &total);
            cls_group_scan(count, s, &kept);
            if (stage != CLS_STAGE_DRAW) row->near = near;
        }
        if (cls_stage_is_min_p(stage, flags) && stage == CLS_STAGE_MIN_P) {
            const uint band = flags & CLS_PLAN_MIN_P_BAND ? cls_band_key(row, plan->band, total) : min_p;
            cut->key = max(cut->key, min(min_p, band));
        }
        if (cls_stage_searches(stage, flags) &&
            !cls_cut_at(row, plan, stage == CLS_STAGE_TOP_P, total, cut, s)) {
            row->near = 0;
            stage--;
        }
        if (stage == CLS_STAGE_DRAW) {
            ulong unused;
            const ulong u = cls_random(plan->seed_lo, plan->seed_hi, plan->step_lo, plan->step_hi, stream);
            const ulong target = cls_mul64(u, total, &unused);
            CLS_BARRIER();
            if (before <= target && target < before + mass)
                cls_draw(row, cls_share_of(cls_chunks(row)), cut, whole, before, target, s);
            CLS_BARRIER();
            cut->mass_lo = (uint)total;
            cut->mass_hi = (uint)(total >> 32);
            result->token = (int)s->token;
            result->logprob = cls_log_ratio(s->sum, total);
            result->kept = (uint)kept;
        }
    }
}

/* ---- The kernel ---- */

/* logits as in cls_summary, whose blocks this reads. cut [rows] takes what the row keeps; tokens
 * int32 [rows] and results [rows], from those elements on, the outcome: either may be null. In the fallback
 * pass only rows that got no token are chosen again, from these logits and without filters. Global size:
 * CLS_WG, rows. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1))) CLS_ONE_BY_ONE
void cls_pick(
    __global const cls_raw *restrict logits, ulong offset, ulong stride, uint vocab, uint blocks,
    uint fallback, cls_plan_row plan, __global const cls_plan_row *restrict plans,
    __global const cls_block *restrict block,
    __global cls_cut *restrict cuts, __global int *restrict tokens, ulong tokens_offset,
    __global cls_result *restrict results, ulong results_offset)
{
    __local cls_shared shared;
    const uint r = get_group_id(1); /* one group a row, which the compiler can see to be uniform */
    if (fallback && cuts[r].status != CLS_ROW_NO_TOKEN) return;

    cls_plan_row p = plan;
    if (plans) p = plans[r];
    const uint flags = fallback ? (p.flags & CLS_PLAN_GREEDY) | CLS_PLAN_SUMS : p.flags;
    cls_row row = { .logits = logits + offset + r * stride, .block = block + r * (size_t)blocks,
                    .s = &shared, .vocab = vocab, .blocks = blocks,
                    .scale = p.filter };
    cls_result result = { -1, CLS_ROW_NO_TOKEN, -INFINITY, 0 };
    cls_cut cut = { CLS_KEY_INFINITY, 0, CLS_KEY_MASKED, 0, 0, CLS_ROW_NO_TOKEN, CLS_NO_ID, 0 };
    int nan;

    row.key_max = cls_row_max(&row, &shared, &nan);
    cut.key_max = row.key_max;
    cut.greedy = shared.token;
    if (row.key_max != CLS_KEY_MASKED) {
        result.token = (int)cut.greedy;
        result.status = fallback ? CLS_ROW_FALLBACK : nan ? CLS_ROW_NAN_IGNORED : CLS_ROW_OK;
        result.logprob = 0.0f;
        result.kept = 1;
        if (!(flags & CLS_PLAN_GREEDY)) {
            cls_rescale(&row, fallback ? p.draw : p.filter);
            cls_choose(&row, &p, flags, plans ? p.stream : p.stream + r, &shared, &cut, &result);
        }
    }
    cut.status = result.status;
    CLS_GLOBAL_BARRIER(); /* all have read the status of the first pass */
    if (get_local_id(0) == 0) {
        cuts[r] = cut;
        if (tokens) tokens[tokens_offset + r] = result.token;
        if (results) results[results_offset + r] = result;
    }
}
