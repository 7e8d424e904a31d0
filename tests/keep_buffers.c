/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded where Oclgrind looks for uninitialized memory: no buffer is given back. Oclgrind 21.10 hands the
 * address of a released buffer to the next one, but what it knows of it is still the old one's, so that it
 * reports what was written and what was not. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

cl_int clReleaseMemObject(cl_mem mem)
{
    return mem ? CL_SUCCESS : CL_INVALID_MEM_OBJECT;
}
