/* SPDX-License-Identifier: Apache-2.0 */
/* The summary: the only pass that reads every logit. For each block of CLS_BLOCK logits it writes a
 * cls_block. One work-item a block, in two forms with the same results:
 *   CLS_VECTORS 1  for CPU devices, whose compilers map the four 16-wide loads of a block to vector registers
 *   CLS_VECTORS 0  for the others: the group copies its blocks to local memory first, neighbours reading
 *                  neighbours, and each item then walks its own block there */

#if CLS_VECTORS
#define CLS_NEAR __global const cls_raw
#define CLS_NEAR_BITS(word) cls_bits(word)
#else
#define CLS_NEAR __local const uint /* local memory holds floats' bits */
#define CLS_NEAR_BITS(word) (word)
#endif

/* Any block, short or with NaN or masked logits: one by one. */
CLS_FN void cls_block_any(CLS_NEAR *logits, uint n, uint sums, cls_scale scale, cls_block *found)
{
    uint key_max = CLS_KEY_MASKED, live = 0, nan = 0, sum = 0;

    for (uint i = 0; i < n; i++) {
        const uint bits = CLS_NEAR_BITS(logits[i]), key = cls_key(bits);
        key_max = max(key_max, key);
        live += key != CLS_KEY_MASKED;
        if ((bits & 0x7fffffffu) > 0x7f800000u) nan = CLS_LIVE_NAN;
    }
    if (sums && key_max != CLS_KEY_MASKED) {
        const int reference = cls_weigh(key_max, scale).exponent;
        for (uint i = 0; i < n; i++)
            sum += cls_in_block(cls_weigh(cls_key(CLS_NEAR_BITS(logits[i])), scale), reference);
    }
    found->key_max = key_max;
    found->sum = sum;
    found->live = live | nan;
}

#if CLS_VECTORS

#if CLS_DTYPE == CLS_F32
#define CLS_LOAD16(row, id) as_int16(vload16(0, (row) + (id)))
#elif CLS_DTYPE == CLS_F16
CLS_FN int16 cls_half_bits16(uint16 h)
{
    const uint16 sign = (h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    const uint16 normal = (magnitude << 13) + 0x38000000u;
    const uint16 special = 0x7f800000u | (magnitude & 0x3ffu) << 13;
    const uint16 tiny = as_uint16(convert_float16(magnitude) * 0x1p-24f);
    const uint16 finite = select(tiny, normal, magnitude >= 0x400u);
    return as_int16(sign | select(finite, special, magnitude >= 0x7c00u));
}
#define CLS_LOAD16(row, id) cls_half_bits16(convert_uint16(vload16(0, (row) + (id))))
#else
#define CLS_LOAD16(row, id) as_int16(convert_uint16(vload16(0, (row) + (id))) << 16)
#endif

/* Floats' bits as signed integers in the same order; -0 comes just below +0, NaN beyond the infinities. */
#define CLS_SIGNED(bits) ((bits) ^ (((bits) >> 31) & 0x7fffffff))
#define CLS_SIGNED_INFINITY 0x7f800000
#define CLS_SIGNED_MASKED ((int)(CLS_KEY_MASKED ^ 0x80000000u))

/* cls_weigh and cls_in_block, sixteen at a time; `bits` hold no NaN. */
CLS_FN uint16 cls_in_block16(int16 bits, cls_scale scale, int reference)
{
    const float16 limit = scale.limit;
    const int16 tiny = (bits & 0x7fffffff) < 0x21800000;
    const float16 x = clamp(as_float16(bits & ~tiny), -limit, limit);
    const float16 hi = x * scale.c;
    const float16 lo = fma(x, (float16)scale.c_lo, fma(x, (float16)scale.c, -hi));
    const float16 n = ceil(hi);
    const float16 g = (n - hi) - lo;
    const float16 k = floor(g);
    const float16 f = g - k;
    const int16 exponent = convert_int16(n) - convert_int16(k);
    float16 m = fma((float16)0x1.c94f1cp-14f, f, (float16)-0x1.4e2be0p-10f);
    m = fma(m, f, (float16)0x1.39e400p-7f);
    m = fma(m, f, (float16)-0x1.c69488p-5f);
    m = fma(m, f, (float16)0x1.ebfac0p-3f);
    m = fma(m, f, (float16)-0x1.62e42cp-1f);
    m = fma(m, f, (float16)1.0f);
    return as_uint16(convert_int16(m * 0x1p25f)) >> min((uint)reference - as_uint16(exponent), 31u);
}

CLS_FN uint cls_sum16(uint16 v)
{
    const uint8 a = v.lo + v.hi;
    const uint4 b = a.lo + a.hi;
    return b.x + b.y + b.z + b.w;
}
CLS_FN int cls_max16(int16 v)
{
    const int8 a = max(v.lo, v.hi);
    const int4 b = max(a.lo, a.hi);
    return max(max(b.x, b.y), max(b.z, b.w));
}

CLS_FN void cls_block_fast(__global const cls_raw *row, uint begin, uint sums, cls_scale scale,
                           cls_block *found)
{
    const int16 a = CLS_LOAD16(row, begin), b = CLS_LOAD16(row, begin + 16);
    const int16 c = CLS_LOAD16(row, begin + 32), d = CLS_LOAD16(row, begin + 48);
    const int16 sa = CLS_SIGNED(a), sb = CLS_SIGNED(b), sc = CLS_SIGNED(c), sd = CLS_SIGNED(d);
    const int largest = cls_max16(max(max(sa, sb), max(sc, sd)));
    const int smallest = ~cls_max16(~min(min(sa, sb), min(sc, sd)));

    if (largest > CLS_SIGNED_INFINITY || smallest <= CLS_SIGNED_MASKED) {
        cls_block_any(row + begin, CLS_BLOCK, sums, scale, found);
        return;
    }
    found->sum = 0;
    found->live = CLS_BLOCK;
    found->key_max = (largest == -1 ? 0u : (uint)largest) ^ 0x80000000u;
    if (sums) {
        const int reference = cls_weigh(found->key_max, scale).exponent;
        found->sum = cls_sum16(cls_in_block16(a, scale, reference) + cls_in_block16(b, scale, reference) +
                               cls_in_block16(c, scale, reference) + cls_in_block16(d, scale, reference));
    }
}

#endif

/* logits [rows, stride] from element `offset`; block [rows, blocks]; cut [rows], read only in the
 * fallback pass, which is for rows that got no token. Global size: blocks rounded up to the group, rows. */
__kernel __attribute__((reqd_work_group_size(CLS_WG, 1, 1)))
void cls_summary(
    __global const cls_raw *restrict logits, ulong offset, ulong stride, uint vocab, uint blocks,
    uint fallback, cls_plan_row plan, __global const cls_plan_row *restrict plans,
    __global const cls_cut *restrict cut, __global cls_block *restrict block)
{
    const uint b = get_global_id(0), r = get_global_id(1);
    __global const cls_raw *row = logits + offset + r * stride;
    const uint begin = b * CLS_BLOCK, end = min(begin + CLS_BLOCK, vocab);

    if (fallback && cut[r].status != CLS_ROW_NO_TOKEN) return;
#if !CLS_VECTORS
    __local uint near[CLS_WG * (CLS_BLOCK + 1)]; /* one word between blocks keeps them in different banks */
    const uint first = get_group_id(0) * CLS_WG * CLS_BLOCK;
    for (uint i = get_local_id(0); i < CLS_WG * CLS_BLOCK && first + i < vocab; i += CLS_WG)
        near[i + i / CLS_BLOCK] = cls_bits(row[first + i]);
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    if (b >= blocks) return;

    const uint flags = plans ? plans[r].flags : plan.flags;
    const cls_scale filter = plans ? plans[r].filter : plan.filter;
    const cls_scale draw = plans ? plans[r].draw : plan.draw;
    const cls_scale scale = fallback ? draw : filter;
    const uint sums = fallback || flags & CLS_PLAN_SUMS;
    cls_block s;

#if CLS_VECTORS
    if (end - begin == CLS_BLOCK)
        cls_block_fast(row, begin, sums, scale, &s);
    else
        cls_block_any(row + begin, end - begin, sums, scale, &s);
#else
    cls_block_any(near + get_local_id(0) * (CLS_BLOCK + 1), end - begin, sums, scale, &s);
#endif
    block[r * (size_t)blocks + b] = s;
}
