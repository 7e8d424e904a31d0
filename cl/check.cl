/* SPDX-License-Identifier: Apache-2.0 */
/* The self-check: every primitive of the canonical arithmetic on one case a work-item, folded into one word
 * per primitive, which the host compares with its own. */

/* cases [items] and words [items, CLS_CHECK_WORDS]. Global size: items. */
__kernel void cls_check(__global const cls_check_case *restrict cases, __global uint *restrict words)
{
    const uint i = get_global_id(0);
    uint out[CLS_CHECK_WORDS];
    cls_check_words(cases[i], out);
    for (uint w = 0; w < CLS_CHECK_WORDS; w++)
        words[i * CLS_CHECK_WORDS + w] = out[w];
}

/* How many times a loop goes round when asked for `turns`: at least one driver ends all loops of a work-item
 * after 65535 iterations. `seed` keeps the compiler from working it out. */
__kernel void cls_check_loop(uint turns, uint seed, __global uint *restrict count)
{
    uint n = 0, x = seed;
    while (x != 0 && n < turns) {
        x = x * 1664525u + 2u * n + 1013904224u | 1u;
        n++;
    }
    *count = n;
}

/* Sums in local memory across barriers, with carries between 32-bit halves: what the choice relies on beside
 * the arithmetic. One group of 64; sums [2] takes the low and high word of the sum of all masses. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void cls_check_sums(
    __global const ulong *restrict masses, __global uint *restrict sums)
{
    __local uint low, high;
    const uint lid = get_local_id(0);

    if (lid == 0) low = high = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint add = (uint)masses[lid], before = atomic_add(&low, add);
    atomic_add(&high, (uint)(masses[lid] >> 32) + (before + add < before));
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lid == 0) {
        sums[0] = low;
        sums[1] = high;
    }
}
