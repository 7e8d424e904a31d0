/* SPDX-License-Identifier: Apache-2.0 */
/* The summary in the form for GPUs: a work-group a stretch of CLS_STRETCH logits, which are copied to local
 * memory first, neighbours reading neighbours. */
#ifndef CLS_GROUPS_SUMMARY_H
#define CLS_GROUPS_SUMMARY_H

#include "../shared/canonical.h"
#include "../shared/edits.h"
#include "../shared/facts.h"
#include "../shared/interface.h"
#include "../shared/row.h"

#define CLS_STRETCH (4u * CLS_TILE)
#define CLS_PART 16u /* logits of a work-item; a word between two parts keeps them in different banks */
#define CLS_PARTS (CLS_STRETCH / CLS_PART)
#define CLS_BLOCK_PARTS (CLS_BLOCK / CLS_PART)
#define CLS_TILE_PARTS (CLS_TILE / CLS_PART)

typedef struct cls_stretch {
    uint bits[CLS_PARTS * (CLS_PART + 1)];
    uint key_max[CLS_PARTS], live[CLS_PARTS], sum[CLS_PARTS];
#if CLS_EXTRAS
    cls_moments moments[CLS_PARTS];
#endif
} cls_stretch;

/* The largest key of `n` parts from `p` on. */
CLS_FN uint cls_parts_max(__local const cls_stretch *s, uint p, uint n)
{
    uint key = CLS_KEY_MASKED;

    for (uint i = 0; i < n; i++)
        key = max(key, s->key_max[p + i]);
    return key;
}

CLS_FN void cls_summarize_part(__local cls_stretch *s, uint p)
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

#if CLS_EXTRAS
/* ---- Edits ---- */

/* Edit the stretch's logits, which begin with token `begin`. */
CLS_FN void cls_edit_stretch(__local cls_stretch *s, __global const cls_edit *edits, uint n_edits, uint begin)
{
    for (uint e = cls_edit_from(edits, 0, n_edits, begin) + get_local_id(0); e < n_edits; e += CLS_WG) {
        const uint i = edits[e].id - begin;
        if (i >= CLS_STRETCH) break;
        s->bits[i + i / CLS_PART] = cls_edited(s->bits[i + i / CLS_PART], edits[e].add);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
/* Where those of tile t begin, as a tile's `live` has it. */
CLS_FN uint cls_edits_of_tile(__global const cls_edit *edits, uint n_edits, uint t)
{
    const uint e = cls_edit_from(edits, 0, n_edits, t * CLS_TILE);
    const int none = e == n_edits || edits[e].id >= (t + 1) * CLS_TILE;

    return none ? 0 : (e + 1) << CLS_LIVE_EDITS_SHIFT;
}

/* ---- Moments ---- */

CLS_FN void cls_find_reference(__local cls_stretch *s, uint p)
{
    uint reference = 0;

    for (uint i = 0; i < CLS_PART; i++) {
        const uint bits = s->bits[p * (CLS_PART + 1) + i];
        if (cls_key(bits) != CLS_KEY_MASKED) reference = max(reference, cls_magnitude_exponent(bits));
    }
    s->moments[p].reference = reference;
}
/* The largest reference of a part's tile. */
CLS_FN uint cls_tile_reference(__local const cls_stretch *s, uint p)
{
    uint reference = 0;

    for (uint i = p / CLS_TILE_PARTS * CLS_TILE_PARTS; i < (p / CLS_TILE_PARTS + 1) * CLS_TILE_PARTS; i++)
        reference = max(reference, s->moments[i].reference);
    return reference;
}
CLS_FN void cls_take_part(__local cls_stretch *s, uint p)
{
    cls_moments m = { 0, cls_tile_reference(s, p), 0, 0 };

    for (uint i = 0; i < CLS_PART; i++) {
        const uint bits = s->bits[p * (CLS_PART + 1) + i];
        if (cls_key(bits) != CLS_KEY_MASKED) cls_moments_take(&m, bits);
    }
    s->moments[p].count = m.count;
    s->moments[p].sum = m.sum;
    s->moments[p].squares = m.squares;
}
CLS_FN void cls_write_moments(__local const cls_stretch *s, uint t, __global cls_moments *to)
{
    cls_moments m = { 0, cls_tile_reference(s, t * CLS_TILE_PARTS), 0, 0 };

    for (uint i = t * CLS_TILE_PARTS; i < (t + 1) * CLS_TILE_PARTS; i++) {
        m.count += s->moments[i].count;
        m.sum += s->moments[i].sum;
        m.squares += s->moments[i].squares;
    }
    *to = m;
}
/* Of the stretch's tiles: `to` is the first one's. */
CLS_FN void cls_sum_moments(__local cls_stretch *s, uint n, int on, __global cls_moments *to)
{
    const uint parts = on ? CLS_PARTS : 0;

    for (uint p = get_local_id(0); p < parts; p += CLS_WG)
        cls_find_reference(s, p);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint p = get_local_id(0); p < parts; p += CLS_WG)
        cls_take_part(s, p);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint t = get_local_id(0); on && t * CLS_TILE < n; t += CLS_WG)
        cls_write_moments(s, t, to + t);
}
#endif

#endif
