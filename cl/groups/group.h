/* SPDX-License-Identifier: Apache-2.0 */
/* The form for GPUs: what a work-group's items work out together. Barriers stand in straight code, in loops
 * that all items go round equally often, and in few branches, which all take alike: compilers for CPUs handle
 * those badly. The host sets CLS_WG, a power of two. */
#ifndef CLS_GROUP_H
#define CLS_GROUP_H

#include "../shared/canonical.h"

#define CLS_BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define CLS_RUNS 16u /* in which a large group adds, side by side */

typedef struct cls_group {
    ulong sum[CLS_WG + 1];
    ulong run[CLS_RUNS + 1];
    uint max;
} cls_group;

CLS_FN uint cls_group_max(uint value, __local cls_group *g)
{
    CLS_BARRIER();
    if (get_local_id(0) == 0) g->max = 0;
    CLS_BARRIER();
    atomic_max(&g->max, value);
    CLS_BARRIER();
    return g->max;
}
CLS_FN uint cls_group_min(uint value, __local cls_group *g)
{
    return ~cls_group_max(~value, g);
}

/* Replace n numbers by the sums of those before each, and return the sum of all. By one work-item. */
CLS_FN ulong cls_running_sums(__local ulong *number, uint n)
{
    ulong sum = 0;

    for (uint i = 0; i < n; i++) {
        const ulong next = number[i];
        number[i] = sum;
        sum += next;
    }
    return sum;
}

/* Sum of what the work-items before this one bring; *total takes the sum of all. Few work-items add many
 * numbers each: two barriers for any size of group, and far less to compile than a tree. */
CLS_FN ulong cls_group_scan(ulong value, __local cls_group *g, ulong *total)
{
    const uint lid = get_local_id(0);
    CLS_BARRIER();
    g->sum[lid] = value;
    CLS_BARRIER();
#if CLS_WG >= 4 * CLS_RUNS
    const uint run = CLS_WG / CLS_RUNS;
    if (lid < CLS_RUNS) g->run[lid] = cls_running_sums(g->sum + lid * run, run);
    CLS_BARRIER();
    if (lid == 0) g->run[CLS_RUNS] = cls_running_sums(g->run, CLS_RUNS);
    CLS_BARRIER();
    *total = g->run[CLS_RUNS];
    return g->run[lid / run] + g->sum[lid];
#else
    if (lid == 0) g->sum[CLS_WG] = cls_running_sums(g->sum, CLS_WG);
    CLS_BARRIER();
    *total = g->sum[CLS_WG];
    return g->sum[lid];
#endif
}
/* What the last scan gave to work-item i, or the sum of all for i = CLS_WG. */
CLS_FN ulong cls_group_scanned(__local const cls_group *g, uint i)
{
#if CLS_WG >= 4 * CLS_RUNS
    return g->run[i / (CLS_WG / CLS_RUNS)] + (i < CLS_WG ? g->sum[i] : 0);
#else
    return g->sum[i];
#endif
}

/* A share of n things, in their order: work-item i has the i-th. */
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

/* Sort n numbers, a power of two, ascending: Batcher, "Sorting networks and their applications", 1968. */
CLS_FN void cls_group_sort(__local ulong *number, uint n)
{
    for (uint size = 2; size <= n; size *= 2) {
        for (uint step = size / 2; step > 0; step /= 2) {
            CLS_BARRIER();
            for (uint i = get_local_id(0); i < n / 2; i += CLS_WG) {
                const uint a = 2 * i - (i & (step - 1)), b = a + step;
                const ulong x = number[a], y = number[b];
                const int up = (a & size) == 0;
                number[a] = (x > y) == up ? y : x;
                number[b] = (x > y) == up ? x : y;
            }
        }
    }
    CLS_BARRIER();
}

#endif
