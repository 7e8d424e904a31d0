/* SPDX-License-Identifier: Apache-2.0 */
/* CLS_LANES logits at a time, 4, 8 or 16, for devices whose compilers map vector types to registers. The host
 * sets CLS_LANES, but for the self-check; no result depends on it. */
#ifndef CLS_LANES_H
#define CLS_LANES_H

#include "../shared/canonical.h"
#include "../shared/interface.h"

#ifndef CLS_LANES
#define CLS_LANES 4
#endif

#define CLS_JOIN_(a, b) a##b
#define CLS_JOIN(a, b) CLS_JOIN_(a, b)
typedef CLS_JOIN(int, CLS_LANES) cls_ints;
typedef CLS_JOIN(uint, CLS_LANES) cls_uints;
typedef CLS_JOIN(float, CLS_LANES) cls_floats;
typedef CLS_JOIN(ulong, CLS_LANES) cls_ulongs;
#define cls_ints_of CLS_JOIN(as_int, CLS_LANES)
#define cls_uints_of CLS_JOIN(as_uint, CLS_LANES)
#define cls_floats_of CLS_JOIN(as_float, CLS_LANES)
#define cls_to_ints CLS_JOIN(convert_int, CLS_LANES)
#define cls_to_uints CLS_JOIN(convert_uint, CLS_LANES)
#define cls_to_ulongs CLS_JOIN(convert_ulong, CLS_LANES)
#define cls_vload CLS_JOIN(vload, CLS_LANES)
#define cls_vstore CLS_JOIN(vstore, CLS_LANES)

#if CLS_LANES == 16
#define CLS_LANE_NUMBERS ((cls_ints)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#elif CLS_LANES == 8
#define CLS_LANE_NUMBERS ((cls_ints)(0, 1, 2, 3, 4, 5, 6, 7))
#else
#define CLS_LANE_NUMBERS ((cls_ints)(0, 1, 2, 3))
#endif

/* The bits of floats from `id` on. vload_half is exact and needs no cl_khr_fp16; a signalling NaN may become
 * a quiet one, which is NaN all the same. */
#if CLS_DTYPE == CLS_F32
#define CLS_LOAD_STORED(row, id) cls_ints_of(cls_vload(0, (row) + (id)))
#elif CLS_DTYPE == CLS_F16
#define CLS_LOAD_STORED(row, id) \
    cls_ints_of(CLS_JOIN(vload_half, CLS_LANES)(0, (__global const half *)((row) + (id))))
#else
#define CLS_LOAD_STORED(row, id) cls_ints_of(cls_to_uints(cls_vload(0, (row) + (id))) << 16)
#endif
#if CLS_EXTRAS
#define CLS_LOAD(row, id) cls_ints_of(cls_vload(0, (row) + (id)))
#else
#define CLS_LOAD(row, id) CLS_LOAD_STORED(row, id)
#endif

/* The bits as they lie there, which sort like those of floats: for maxima, since halves take less room. */
#if CLS_RAW_DTYPE == CLS_F32
#define CLS_RAW_LANES CLS_LANES
#define CLS_RAW_INFINITY 0x7f800000
#define CLS_RAW_MASKED CLS_BITS_MASKED
#define CLS_RAW_LEAST INT_MIN
typedef cls_ints cls_raw_ints;
typedef cls_uints cls_raw_uints;
#define cls_raw_uints_of cls_uints_of
#define CLS_LOAD_RAW(row, id) CLS_LOAD(row, id)
#define cls_max_raw cls_max_lane
#else
#define CLS_RAW_LANES 16u
#define CLS_RAW_INFINITY (CLS_RAW_DTYPE == CLS_F16 ? 0x7c00 : 0x7f80)
#define CLS_RAW_MASKED ((ushort)(CLS_RAW_DTYPE == CLS_F16 ? 0xfc00 : 0xff80))
#define CLS_RAW_LEAST ((short)-0x8000)
typedef short16 cls_raw_ints;
typedef ushort16 cls_raw_uints;
#define cls_raw_uints_of as_ushort16
#define CLS_LOAD_RAW(row, id) as_short16(vload16(0, (row) + (id)))
#define cls_max_raw(v) cls_max16(convert_int16(v))
#endif

/* 1 in the lanes where a condition holds, else 0. (A call: Oclgrind has 255 for 1 where a compiler widens
 * bits.) */
#define cls_ones(condition) select((cls_ints)0, (cls_ints)1, condition)

/* ---- Across the lanes ---- */

CLS_FN int cls_max4(int4 v)
{
    const int2 a = max(v.lo, v.hi);
    return max(a.x, a.y);
}
CLS_FN int cls_max8(int8 v)
{
    return cls_max4(max(v.lo, v.hi));
}
CLS_FN int cls_max16(int16 v)
{
    return cls_max8(max(v.lo, v.hi));
}
#define cls_max_lane CLS_JOIN(cls_max, CLS_LANES)

CLS_FN uint cls_sum4(uint4 v)
{
    const uint2 a = v.lo + v.hi;
    return a.x + a.y;
}
CLS_FN uint cls_sum8(uint8 v)
{
    return cls_sum4(v.lo + v.hi);
}
CLS_FN uint cls_sum16(uint16 v)
{
    return cls_sum8(v.lo + v.hi);
}
#define cls_sum_lanes CLS_JOIN(cls_sum, CLS_LANES)

CLS_FN ulong cls_total4(ulong4 v)
{
    const ulong2 a = v.lo + v.hi;
    return a.x + a.y;
}
CLS_FN ulong cls_total8(ulong8 v)
{
    return cls_total4(v.lo + v.hi);
}
CLS_FN ulong cls_total16(ulong16 v)
{
    return cls_total8(v.lo + v.hi);
}
#define cls_total_lanes CLS_JOIN(cls_total, CLS_LANES)

/* Each of four vectors by itself, in a third of the operations that four times the above takes. */
#if CLS_LANES == 16
#define CLS_FOLD_ONCE(op, type, a, b) op((type##16)(a.lo, b.lo), (type##16)(a.hi, b.hi))
#define CLS_FOLD_FOUR(op, type, v)                                                        \
    const type##16 left = CLS_FOLD_ONCE(op, type, v[0], v[1]);                            \
    const type##16 right = CLS_FOLD_ONCE(op, type, v[2], v[3]);                           \
    const type##16 all = op((type##16)(left.lo.lo, left.hi.lo, right.lo.lo, right.hi.lo), \
                            (type##16)(left.lo.hi, left.hi.hi, right.lo.hi, right.hi.hi))
#elif CLS_LANES == 8
#define CLS_FOLD_FOUR(op, type, v) \
    const type##16 all =           \
        op((type##16)(v[0].lo, v[1].lo, v[2].lo, v[3].lo), (type##16)(v[0].hi, v[1].hi, v[2].hi, v[3].hi))
#else
#define CLS_FOLD_FOUR(op, type, v) const type##16 all = (type##16)(v[0], v[1], v[2], v[3])
#endif
#define CLS_ADD(a, b) ((a) + (b))
CLS_FN int4 cls_max_four(const cls_ints *v)
{
    CLS_FOLD_FOUR(max, int, v);
    const int8 pairs = max(all.even, all.odd);
    return max(pairs.even, pairs.odd);
}
CLS_FN int4 cls_min_four(const cls_ints *v)
{
    CLS_FOLD_FOUR(min, int, v);
    const int8 pairs = min(all.even, all.odd);
    return min(pairs.even, pairs.odd);
}
CLS_FN uint4 cls_sum_four(const cls_uints *v)
{
    CLS_FOLD_FOUR(CLS_ADD, uint, v);
    const uint8 pairs = all.even + all.odd;
    return pairs.even + pairs.odd;
}

/* A set of the logits of a block, CLS_MARKED of them in each of CLS_MARKS vectors: those at lane offset i and
 * in the lanes where `condition` is -1. */
#define CLS_MARKS 4u
#define CLS_MARKED (CLS_BLOCK / CLS_MARKS)
#define cls_mark(condition, i) \
    (cls_uints_of(condition) & ((cls_uints)1 << (cls_uints_of(CLS_LANE_NUMBERS) + (i))))
/* The set as bits, in the order of ids. */
CLS_FN ulong cls_marked(const cls_uints *mark)
{
    const ulong4 bits = convert_ulong4(cls_sum_four(mark));
    return bits.x | bits.y << CLS_MARKED | bits.z << 2 * CLS_MARKED | bits.w << 3 * CLS_MARKED;
}

/* ---- Keys, as signed integers, which vector units compare: a key with its highest bit turned ---- */

CLS_FN int cls_signed(uint key)
{
    return (int)(key ^ 0x80000000u);
}
#define CLS_SIGNED_MASKED ((int)(CLS_KEY_MASKED ^ 0x80000000u))
#define CLS_SIGNED_INFINITY 0x7f800000
/* Nearly that, for two operations: -0 comes just below +0, and NaN beyond the infinities. */
CLS_FN cls_ints cls_order(cls_ints bits)
{
    return bits ^ ((bits >> 31) & 0x7fffffff);
}
/* The least order of a logit with at least this key. */
CLS_FN int cls_least_order(uint key)
{
    return key == 0x80000000u ? -1 : cls_signed(key);
}
/* Exactly that, but for NaN. */
CLS_FN cls_ints cls_signed_lanes(cls_ints bits)
{
    const cls_ints order = cls_order(bits);
    return select(order, (cls_ints)0, order == -1);
}
/* The key of an order that is not NaN's. */
CLS_FN uint cls_order_key(int order)
{
    return (uint)(order == -1 ? 0 : order) ^ 0x80000000u;
}

/* ---- Weights ---- */

/* Those of a block that cls_is_plain: where cls_weigh has an exponent the bits of t, and the fraction. As
 * unsigned integers negative floats follow all others, and sort by magnitude. */
CLS_FN cls_floats cls_fraction_lanes(cls_ints bits, cls_scale scale, cls_uints *t)
{
    const cls_floats x = cls_floats_of(min(cls_uints_of(bits), (cls_uints)as_uint(-scale.small)));
    const cls_floats sum = fma(x, (cls_floats)scale.c, (cls_floats)CLS_MAGIC);
    *t = cls_uints_of(sum);
    return fma(x, (cls_floats)scale.c_lo, fma(x, (cls_floats)scale.c, (cls_floats)CLS_MAGIC - sum));
}
/* cls_weigh and cls_in_block. */
CLS_FN cls_uints cls_in_block_lanes(cls_ints bits, cls_scale scale, cls_ints reference)
{
    cls_uints t;
    const cls_floats f = cls_fraction_lanes(bits, scale, &t);
    const cls_floats m = CLS_EXP2_POLYNOMIAL(cls_floats, f);
    const cls_uints shift = cls_uints_of(reference + CLS_MAGIC_BITS) - t;
    return cls_uints_of(cls_to_ints(m)) >> min(shift, (cls_uints)31);
}
#if CLS_EXTRAS
/* cls_digits_below. */
CLS_FN cls_uints cls_digits_below_lanes(cls_ints bits, cls_scale scale, cls_ints reference)
{
    cls_uints t;
    const cls_floats f = cls_fraction_lanes(bits, scale, &t);
    const cls_uints below = cls_uints_of(cls_to_ints(CLS_FRACTION_BELOW(cls_floats, f)));
    return ((cls_uints_of(reference + CLS_MAGIC_BITS) - t) << 16) + below;
}
#endif

#endif
