/* SPDX-License-Identifier: Apache-2.0 */
/* How groups of one launch hand over: each counts itself when it is done, and the last goes on with what all
 * have written. OpenCL C 1.2 does not promise that a group sees what another wrote, so this serves devices on
 * which an atomic operation orders all memory, as on CPUs; the self-check tries it, and where it fails a step
 * takes two launches. */
#ifndef CLS_HANDOVER_H
#define CLS_HANDOVER_H

#include "canonical.h"

/* Called once by one work-item of each of so many groups, after a barrier if there are more. The counter is 0
 * before and after. */
CLS_FN int cls_is_last(__global uint *arrived, uint groups)
{
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    const int last = atomic_inc(arrived) == groups - 1;
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    if (last) atomic_xchg(arrived, 0);
    return last;
}

#endif
