/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into tests of what generates text: memory that nobody has written holds bytes of 0xFF, which are
 * NaN as floats of every width and no token's id, so that whoever reads it gives another result or none. Left
 * alone it is mostly zeros, which go unnoticed. That is every buffer of the device that is made without
 * contents, those of other libraries too, and what the process allocates, which is where the devices of a CPU
 * have their buffers and scratch memory. */
#define _GNU_SOURCE /* RTLD_NEXT */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define UNWRITTEN 0xFF

/* The function of that name that would be called without this one. */
static void find(const char *name, void *function)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found) abort();
    memcpy(function, &found, sizeof found);
}

static void *fill(void *memory, size_t size)
{
    return memory ? memset(memory, UNWRITTEN, size) : NULL;
}

void *malloc(size_t size)
{
    static void *(*next)(size_t);

    if (!next) find("malloc", &next);
    return fill(next(size), size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    static void *(*next)(size_t, size_t);

    if (!next) find("aligned_alloc", &next);
    return fill(next(alignment, size), size);
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
    static void *(*next)(size_t, size_t);

    if (!next) find("memalign", &next);
    return fill(next(alignment, size), size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    static int (*next)(void **, size_t, size_t);

    if (!next) find("posix_memalign", &next);
    const int code = next(memory, alignment, size);
    if (code == 0) fill(*memory, size);
    return code;
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error)
{
    static cl_mem (*next)(cl_context, cl_mem_flags, size_t, void *, cl_int *);

    if (!next) find("clCreateBuffer", &next);
    void *contents = host || size == 0 ? NULL : malloc(size);
    const cl_mem mem = contents ? next(context, flags | CL_MEM_COPY_HOST_PTR, size, contents, error)
                                : next(context, flags, size, host, error);
    free(contents);
    return mem;
}
