/* SPDX-License-Identifier: Apache-2.0 */
/* The summary in the form for GPUs: a work-group a stretch of CLS_STRETCH logits, which are copied to local
 * memory first, neighbours reading neighbours. */

#define CLS_STRETCH (4u * CLS_TILE)
#define CLS_PART 16u /* logits of a work-item; a word between two parts keeps them in different banks */
#define CLS_PARTS (CLS_STRETCH / CLS_PART)
#define CLS_BLOCK_PARTS (CLS_BLOCK / CLS_PART)
#define CLS_TILE_PARTS (CLS_TILE / CLS_PART)

typedef struct cls_stretch {
    uint bits[CLS_PARTS * (CLS_PART + 1)];
    uint key_max[CLS_PARTS], live[CLS_PARTS], sum[CLS_PARTS];
} cls_stretch;

/* The largest key of `n` parts from `p` on. */
CLS_FN uint cls_parts_max(__local const cls_stretch *s, uint p, uint n)
{
    uint key = CLS_KEY_MASKED;

    for (uint i = 0; i < n; i++)
        key = max(key, s->key_max[p + i]);
    return key;
}

CLS_FN void cls_look_at_part(__local cls_stretch *s, uint p)
{
    uint key_max = CLS_KEY_MASKED, live = 0, nan = 0;

    for (uint i = 0; i < CLS_PART; i++) {
        const uint bits = s->bits[p * (CLS_PART + 1) + i], key = cls_key(bits);
        key_max = max(key_max, key);
        live += key != CLS_KEY_MASKED;
        if ((bits & 0x7fffffffu) > 0x7f800000u) nan = CLS_LIVE_NAN;
    }
    s->key_max[p] = key_max;
    s->live[p] = live | nan;
}

/* Nothing is left of what is masked, nor of a block that is all masked. */
CLS_FN void cls_sum_part(__local cls_stretch *s, uint p, cls_scale scale)
{
    const uint key = cls_parts_max(s, p / CLS_BLOCK_PARTS * CLS_BLOCK_PARTS, CLS_BLOCK_PARTS);
    const int exponent = cls_weigh(key, scale).exponent;
    uint sum = 0;

    for (uint i = 0; i < CLS_PART; i++) {
        const uint mine = cls_key(s->bits[p * (CLS_PART + 1) + i]);
        if (mine != CLS_KEY_MASKED) sum += cls_in_block(cls_weigh(mine, scale), exponent);
    }
    s->sum[p] = sum;
}

/* Block b of the stretch, number `to` of the row. */
CLS_FN void cls_write_block(__local const cls_stretch *s, uint b, uint to, cls_scale scale,
                            const cls_place *place)
{
    const uint key = cls_parts_max(s, b * CLS_BLOCK_PARTS, CLS_BLOCK_PARTS);
    uint sum = 0;

    for (uint i = 0; i < CLS_BLOCK_PARTS; i++)
        sum += s->sum[b * CLS_BLOCK_PARTS + i];
    place->sum[to] = sum;
    place->exponent[to] = cls_weigh(key, scale).exponent;
}

CLS_FN void cls_write_tile(__local const cls_stretch *s, uint t, uint to, const cls_place *place)
{
    uint live = 0, nan = 0;

    for (uint i = t * CLS_TILE_PARTS; i < (t + 1) * CLS_TILE_PARTS; i++) {
        live += s->live[i] & CLS_LIVE_COUNT;
        nan |= s->live[i] & CLS_LIVE_NAN;
    }
    place->key[to] = cls_parts_max(s, t * CLS_TILE_PARTS, CLS_TILE_PARTS);
    place->live[to] = live | nan;
}

/* logits [rows, stride], plans [rows] or null. Of the scratch memory all but the cut is written; the cut is
 * read in the fallback pass, which is for rows that got no token. Global size: CLS_WG for each stretch, rows.
 * */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1))) CLS_ONE_BY_ONE void cls_summary(
    __global const cls_raw *restrict logits, __global const cls_plan_row *restrict plans,
    __global uchar *restrict scratch, cls_call call)
{
    __local cls_stretch s;
    const uint r = get_group_id(1), lid = get_local_id(0), begin = get_group_id(0) * CLS_STRETCH;
    const uint n = min(CLS_STRETCH, call.vocab - begin);
    __global const cls_raw *row = logits + call.offset + r * call.stride + begin;
    const cls_place place = cls_place_of(scratch, call.scratch_offset, r, get_num_groups(1), call.vocab);
    cls_plan_row plan;

    cls_find_plan(&call, plans, r, &plan);
    if (call.fallback && place.cut->status != CLS_ROW_NO_TOKEN) return;

    for (uint i = lid; i < CLS_STRETCH; i += CLS_WG)
        s.bits[i + i / CLS_PART] = i < n ? cls_bits(row[i]) : 0xff800000u;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint p = lid; p < CLS_PARTS; p += CLS_WG)
        cls_look_at_part(&s, p);
    barrier(CLK_LOCAL_MEM_FENCE);
    const int sums = (plan.flags & CLS_PLAN_SUMS) != 0;
    for (uint p = sums ? lid : CLS_PARTS; p < CLS_PARTS; p += CLS_WG)
        cls_sum_part(&s, p, plan.filter);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint b = lid; sums && b * CLS_BLOCK < n; b += CLS_WG)
        cls_write_block(&s, b, begin / CLS_BLOCK + b, plan.filter, &place);
    for (uint t = lid; t * CLS_TILE < n; t += CLS_WG)
        cls_write_tile(&s, t, begin / CLS_TILE + t, &place);
}
