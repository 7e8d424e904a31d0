/* SPDX-License-Identifier: Apache-2.0 */
/* What `clsample bench` compares the pipeline with: a read-only maximum, written for speed alone, and an
 * empty kernel. OpenCL C 1.2. BENCH_DTYPE is a clsample_dtype.
 *
 * Rows are cut into `chunks` each; a task is one chunk of one row and leaves its maximum in best[task]. */

#if BENCH_DTYPE == 0
typedef float cell;
typedef float16 cells;
#define LOWEST (-INFINITY)
#define ORDERED(type, x) (x)
#else
typedef short cell;
typedef short16 cells;
#define LOWEST ((short)SHRT_MIN)
/* Half-precision bits of either kind, as integers in the order of the numbers: below 0 the rest is flipped.
 * */
#define ORDERED(type, x) ((type)((x) ^ (((x) >> (type)15) & (type)0x7fff)))
#endif
#define AT(i) ORDERED(cell, row[i])
#define AT16(i) ORDERED(cells, vload16(0, row + (i)))
#define LARGER(a, b) max(a, b)

/* The task's chunk: cells begin to end - 1 of `row`. */
#define FIND_CHUNK(task)                                                   \
    __global const cell *row = logits + (size_t)((task) / chunks) * vocab; \
    const uint size = ((vocab + chunks - 1) / chunks + 63) / 64 * 64;      \
    const uint begin = min((task) % chunks * size, vocab);                 \
    const uint end = min(begin + size, vocab)

/* For CPUs: one work-item a group, which reads a stretch of memory with vector instructions. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void bench_stretch(
    __global const cell *restrict logits, uint rows, uint vocab, uint chunks, __global cell *restrict best)
{
    const uint tasks = rows * chunks;

    for (uint task = get_group_id(0); task < tasks; task += get_num_groups(0)) {
        FIND_CHUNK(task);
        cells a = LOWEST, b = LOWEST, c = LOWEST, d = LOWEST;
        uint i = begin;
        for (; i + 64 <= end; i += 64) {
            a = LARGER(a, AT16(i));
            b = LARGER(b, AT16(i + 16));
            c = LARGER(c, AT16(i + 32));
            d = LARGER(d, AT16(i + 48));
        }
        for (; i < end; i++)
            a.s0 = LARGER(a.s0, AT(i));
        a = LARGER(LARGER(a, b), LARGER(c, d));
        a.lo = LARGER(a.lo, a.hi);
        a.lo.lo = LARGER(a.lo.lo, a.lo.hi);
        a.s01 = LARGER(a.s01, a.s23);
        best[task] = LARGER(a.s0, a.s1);
    }
}

/* For GPUs: neighbouring work-items read neighbouring cells. BENCH_LANES work-items, a power of two. */
__kernel __attribute__((reqd_work_group_size(BENCH_LANES, 1, 1))) void bench_lanes(
    __global const cell *restrict logits, uint rows, uint vocab, uint chunks, __global cell *restrict best)
{
    __local cell found[BENCH_LANES];
    const uint lane = get_local_id(0);
    const uint tasks = rows * chunks;

    for (uint task = get_group_id(0); task < tasks; task += get_num_groups(0)) {
        FIND_CHUNK(task);
        cell a = LOWEST, b = LOWEST, c = LOWEST, d = LOWEST;
        uint i = begin + lane;
        for (; i + 3 * BENCH_LANES < end; i += 4 * BENCH_LANES) {
            a = LARGER(a, AT(i));
            b = LARGER(b, AT(i + BENCH_LANES));
            c = LARGER(c, AT(i + 2 * BENCH_LANES));
            d = LARGER(d, AT(i + 3 * BENCH_LANES));
        }
        for (; i < end; i += BENCH_LANES)
            a = LARGER(a, AT(i));
        found[lane] = LARGER(LARGER(a, b), LARGER(c, d));
        for (uint n = BENCH_LANES / 2; n > 0; n /= 2) {
            barrier(CLK_LOCAL_MEM_FENCE);
            if (lane < n) found[lane] = LARGER(found[lane], found[lane + n]);
        }
        if (lane == 0) best[task] = found[0];
        barrier(CLK_LOCAL_MEM_FENCE); /* the next task writes `found` again */
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void bench_empty(__global cell *restrict best)
{
}
