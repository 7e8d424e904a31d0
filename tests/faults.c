/* SPDX-License-Identifier: Apache-2.0 */
/* See faults.h. */
#include "fault_sweep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Where the linker puts the sites of all files. */
extern fault_site *const __start_fault_sites[];
extern fault_site *const __stop_fault_sites[];

static atomic_int held[FAULT_KINDS];
static fault_plan plan;
static unsigned fired;
static const fault_site *last_failed;
static pthread_t tester; /* what a driver's thread calls is counted, and never fails */
static bool armed;

void fault_arm(const fault_plan *wanted)
{
    for (fault_site *const *at = __start_fault_sites; at < __stop_fault_sites; at++)
        (*at)->now = 0;
    tester = pthread_self();
    plan = *wanted;
    fired = 0;
    armed = true;
}

unsigned fault_disarm(void)
{
    armed = false;
    return fired;
}

const char *fault_name(void)
{
    static char name[160];

    if (!last_failed) return "nothing failed";
    snprintf(name, sizeof name, "%s of %s:%d", last_failed->call, fault_file(last_failed), last_failed->line);
    return name;
}

/* Does the visit to this site count? */
static bool is_wanted(const fault_site *site)
{
    if (plan.visits && site->now > plan.visits) return false;
    if (fired > 0) return true;
    return (!plan.file || strcmp(fault_file(site), plan.file) == 0) &&
           (!plan.call || strcmp(site->call, plan.call) == 0);
}

bool fault_here(fault_site *site)
{
    if (!armed || !pthread_equal(tester, pthread_self())) return false;
    site->visits++;
    site->now++;
    if (plan.first == 0 || !is_wanted(site) || --plan.first > 0) return false;
    plan.first = plan.second;
    plan.second = 0;
    fired++;
    last_failed = site;
    site->failures++;
    return true;
}

/* ---- What is held ---- */

void fault_count(int counts[FAULT_KINDS])
{
    for (int i = 0; i < FAULT_KINDS; i++)
        counts[i] = atomic_load(&held[i]);
}

void *fault_hold(fault_kind kind, void *object)
{
    if (object) atomic_fetch_add(&held[kind], 1);
    return object;
}

cl_int fault_took(fault_kind kind, cl_int error, cl_uint n)
{
    if (error == CL_SUCCESS) atomic_fetch_add(&held[kind], (int)n);
    return error;
}

void fault_gave(fault_kind kind, const void *object)
{
    if (object) atomic_fetch_sub(&held[kind], 1);
}

cl_int fault_gave_event(cl_int error, const cl_event *event)
{
    if (error == CL_SUCCESS && event) atomic_fetch_add(&held[FAULT_EVENT], 1);
    return error;
}

/* ---- What devices say ---- */

#define COMMAND_BUFFER_CAPABILITIES 0x12A9
#define SIMULTANEOUS_USE ((cl_bitfield)1 << 2)

static bool hide_pocl, hide_simultaneous_use;

void fault_hide(bool pocl, bool simultaneous_use)
{
    hide_pocl = pocl;
    hide_simultaneous_use = simultaneous_use;
}

cl_int fault_told(cl_int error, cl_device_info what, void *value)
{
    if (error != CL_SUCCESS || !value) return error;
    if (hide_pocl && what == CL_DEVICE_VERSION) {
        char *name = strstr(value, "PoCL");
        if (name) name[0] = 'X';
    }
    if (hide_simultaneous_use && what == COMMAND_BUFFER_CAPABILITIES)
        *(cl_bitfield *)value &= ~SIMULTANEOUS_USE;
    return error;
}

/* ---- Memory ---- */

void *fault_moved(void *p, size_t size)
{
    void *moved = realloc(p, size);

    if (!p) fault_hold(FAULT_HOST, moved);
    return moved;
}

void fault_free(void *p)
{
    fault_gave(FAULT_HOST, p);
    free(p);
}

/* ---- The functions of cl_khr_command_buffer ---- */

/* Their sites are in src/tape.c, where they are called through pointers. */
#define FAULT_EXTENSION(name)                                            \
    static fault_site name##_site = { #name, "src/tape.c", 0, 0, 0, 0 }; \
    static fault_site *const name##_place __attribute__((section("fault_sites"), used)) = &name##_site

typedef void *buffer;
static buffer(CL_API_CALL *real_create)(cl_uint, const cl_command_queue *, const cl_bitfield *, cl_int *);
static cl_int(CL_API_CALL *real_finalize)(buffer);
static cl_int(CL_API_CALL *real_release)(buffer);
static cl_int(CL_API_CALL *real_kernel)(buffer, cl_command_queue, const void *, cl_kernel, cl_uint,
                                        const size_t *, const size_t *, const size_t *, cl_uint,
                                        const cl_uint *, cl_uint *, void *);
static cl_int(CL_API_CALL *real_enqueue)(cl_uint, cl_command_queue *, buffer, cl_uint, const cl_event *,
                                         cl_event *);
FAULT_EXTENSION(clCreateCommandBufferKHR);
FAULT_EXTENSION(clFinalizeCommandBufferKHR);
FAULT_EXTENSION(clReleaseCommandBufferKHR);
FAULT_EXTENSION(clCommandNDRangeKernelKHR);
FAULT_EXTENSION(clEnqueueCommandBufferKHR);

static buffer CL_API_CALL create(cl_uint n, const cl_command_queue *queues, const cl_bitfield *properties,
                                 cl_int *error)
{
    if (!fault_here(&clCreateCommandBufferKHR_site))
        return fault_hold(FAULT_BUFFER, real_create(n, queues, properties, error));
    *error = CL_OUT_OF_RESOURCES;
    return NULL;
}
static cl_int CL_API_CALL finalize(buffer b)
{
    return fault_here(&clFinalizeCommandBufferKHR_site) ? CL_OUT_OF_RESOURCES : real_finalize(b);
}
static cl_int CL_API_CALL release(buffer b)
{
    fault_gave(FAULT_BUFFER, b);
    const cl_int error = real_release(b);
    return fault_here(&clReleaseCommandBufferKHR_site) ? CL_OUT_OF_RESOURCES : error;
}
static cl_int CL_API_CALL kernel(buffer b, cl_command_queue queue, const void *properties, cl_kernel k,
                                 cl_uint dimensions, const size_t *offset, const size_t *global,
                                 const size_t *local, cl_uint n_wait, const cl_uint *wait, cl_uint *point,
                                 void *handle)
{
    if (fault_here(&clCommandNDRangeKernelKHR_site)) return CL_OUT_OF_RESOURCES;
    return real_kernel(b, queue, properties, k, dimensions, offset, global, local, n_wait, wait, point,
                       handle);
}
static cl_int CL_API_CALL enqueue(cl_uint n, cl_command_queue *queues, buffer b, cl_uint n_wait,
                                  const cl_event *wait, cl_event *event)
{
    if (fault_here(&clEnqueueCommandBufferKHR_site)) return CL_OUT_OF_RESOURCES;
    return fault_gave_event(real_enqueue(n, queues, b, n_wait, wait, event), event);
}

/* ISO C has no conversion from a pointer to a function to one to an object; POSIX promises this one. */
void *fault_function(fault_site *site, cl_platform_id platform, const char *name)
{
    if (fault_here(site)) return NULL;
    void *found = clGetExtensionFunctionAddressForPlatform(platform, name);
    if (!found) return NULL;
    static const struct {
        const char *name;
        void (*own)(void);
        void *real;
    } functions[] = {
        { "clCreateCommandBufferKHR", (void (*)(void))create, &real_create },
        { "clFinalizeCommandBufferKHR", (void (*)(void))finalize, &real_finalize },
        { "clReleaseCommandBufferKHR", (void (*)(void))release, &real_release },
        { "clCommandNDRangeKernelKHR", (void (*)(void))kernel, &real_kernel },
        { "clEnqueueCommandBufferKHR", (void (*)(void))enqueue, &real_enqueue },
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcmp(name, functions[i].name) != 0) continue;
        memcpy(functions[i].real, &found, sizeof found);
        memcpy(&found, &functions[i].own, sizeof found);
    }
    return found;
}

/* ---- The sites ---- */

const char *fault_file(const fault_site *site)
{
    const char *found = strstr(site->file, "/src/");

    return found ? found + 1 : site->file;
}

static int by_place(const void *a, const void *b)
{
    const fault_site *x = *(fault_site *const *)a, *y = *(fault_site *const *)b;
    const int file = strcmp(x->file, y->file);

    return file ? file : (x->line > y->line) - (x->line < y->line);
}

size_t fault_list(fault_site **sites, size_t room)
{
    const size_t n = (size_t)(__stop_fault_sites - __start_fault_sites);

    if (n <= room) {
        memcpy(sites, __start_fault_sites, n * sizeof *sites);
        qsort(sites, n, sizeof *sites, by_place);
    }
    return n;
}
