/* SPDX-License-Identifier: Apache-2.0 */
/* The self-check: what the other kernels rely on, tried out. It is a single kernel, since some compilers take
 * as long for a small one as for a large one. */

#include "shared/canonical.h"
#include "shared/handover.h"
#include "vectors/lanes.h"

/* It uses the vectors. */
#include "shared/check_case.h"

/* How many times a loop goes round when asked for `turns`: at least one driver ends all loops of a work-item
 * after 65535 iterations. `seed` keeps the compiler from working it out. */
CLS_FN uint cls_count_turns(uint turns, uint seed)
{
    uint n = 0, x = seed | 1u;

    while (x != 0 && n < turns) {
        x = x * 1664525u + 2u * n + 1013904224u | 1u;
        n++;
    }
    return n;
}

/* cases [items]. words [items, CLS_CHECK_WORDS] takes every primitive of the canonical arithmetic on one case
 * a work-item, folded into one word each. Then each group adds the products of its words in local memory,
 * across a barrier, with carries between 32-bit halves: sums [groups, 2]. With `together` the last group adds
 * up all groups' sums, for `seen` [2]. turns takes what cls_count_turns() says of itself. arrived is 0 before
 * and after. Global size: items, a multiple of 64. */
__kernel __attribute__((reqd_work_group_size(CLS_CHECK_GROUP, 1, 1))) CLS_ONE_BY_ONE void cls_check(
    __global const cls_check_case *restrict cases, __global uint *restrict words, __global uint *sums,
    __global uint *seen, __global uint *turns, __global uint *arrived, uint together)
{
    __local uint low, high;
    const uint i = get_global_id(0), lid = get_local_id(0);
    uint out[CLS_CHECK_WORDS];

    if (lid == 0) low = high = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    cls_check_words(cases[i], out);
    for (uint w = 0; w < CLS_CHECK_EDITED; w++)
        words[i * CLS_CHECK_WORDS + w] = out[w];
    cls_check_facts(cases[i], out);
    for (uint w = CLS_CHECK_EDITED; w < CLS_CHECK_WORDS; w++)
        words[i * CLS_CHECK_WORDS + w] = out[w];
    const ulong mass = (ulong)out[CLS_CHECK_RANDOM] * out[CLS_CHECK_PRODUCT];
    const uint add = (uint)mass, before = atomic_add(&low, add);
    atomic_add(&high, (uint)(mass >> 32) + (before + add < before));
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lid != 0) return;

    sums[2 * get_group_id(0)] = low;
    sums[2 * get_group_id(0) + 1] = high;
    if (i == 0) *turns = cls_count_turns(*turns, out[CLS_CHECK_RANDOM]);
    if (!together || !cls_is_last(arrived, get_num_groups(0))) return;
    ulong all = 0;
    for (uint g = 0; g < get_num_groups(0); g++)
        all += (ulong)sums[2 * g + 1] << 32 | sums[2 * g];
    seen[0] = (uint)all;
    seen[1] = (uint)(all >> 32);
}
