/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's source files share. Its layers, top to bottom; each file calls only those below it
 * (tests/layers reads this list, and the object files):
 *   generate.c   the loop that generates texts
 *   request.c    what is asked of it, checked
 *   sample.c     the blocking call on host memory
 *   reserve.c    what calls need, made before them or given
 *   enqueue.c    the calls that enqueue a job
 *   record.c     jobs enqueued again and again
 *   rows.c       the parameters of a batch's rows
 *   commands.c   a job's kernels with their arguments
 *   tape.c       command buffers
 *   arguments.c  the caller's buffers and queue, checked
 *   devices.c    the list of devices, which makes contexts to check them
 *   context.c    contexts made and destroyed
 *   kernels.c    a context's kernels, compiled when they are needed
 *   memory.c     its scratch and staging memory
 *   edits.c      what its calls add to logits and ban
 *   events.c     the caller's events, checked, and those of the calls before
 *   check.c      the self-check
 *   tuning.c     how a device is used best
 *   plan.c       parameters to what the kernels read
 *   samplers.c   the list of samplers
 *   real.c       arithmetic that hangs on no host
 *   program.c    kernels compiled
 *   cache.c      what lies on disk
 *   hash.c       its names
 *   limits.c     what a device says of itself
 *   structs.c    structs of the caller, whatever their version
 *   error.c      failures noted for the caller */
#ifndef CLS_INTERNAL_H
#define CLS_INTERNAL_H

#include "clsample.h"

#include "../cl/shared/interface.h"
#include "shared.h"

#include <stdbool.h>
#include <stddef.h>

#define CLS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CLS_MAX(a, b) ((a) > (b) ? (a) : (b))
#if defined(__GNUC__)
#define CLS_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define CLS_PRINTF(at, first)
#endif
#define CLS_COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- error.c ---- */

/* Note a failure for clsample_last_error() and return its status. `format` is printf's. */
clsample_status cls_fail(clsample_status status, const char *format, ...) CLS_PRINTF(2, 3);
/* The same for an OpenCL call: E_OPENCL, the code, its name, and the call. */
clsample_status cls_fail_cl(cl_int error, const char *call);
/* The same for a build: E_BUILD with the compiler's log (cut to fit). */
clsample_status cls_fail_build(cl_int error, const char *call, const char *log);
/* A success leaves the caller's note as it was: what failed on the way is not the call's failure. */
void cls_restore_error(const clsample_error *saved);

/* On failure note it, set `st`, leave: the only macro that jumps. */
#define CLS_CL(expression, call)                  \
    do {                                          \
        const cl_int cls_error_ = (expression);   \
        if (cls_error_ != CL_SUCCESS) {           \
            st = cls_fail_cl(cls_error_, (call)); \
            goto cleanup;                         \
        }                                         \
    } while (0)
#define CLS_TRY(expression)                      \
    do {                                         \
        st = (expression);                       \
        if (st != CLSAMPLE_OK) { goto cleanup; } \
    } while (0)

/* ---- structs.c ---- */

/* Copy a versioned struct of the caller over `to`, which holds the defaults: at most `known` bytes, refusing
 * a size below `minimum` (E_ARGUMENT) and set bytes past `known` (E_VERSION). Every such struct begins with
 * its size as uint32_t. `name` is for the message. */
clsample_status cls_copy_struct(void *to, size_t known, size_t minimum, const void *from, const char *name);
/* What the first version that had a struct knew of it: the least that a call takes, for ever. */
#define CLS_SIZE_TO(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))
#define CLS_OPTIONS_SIZE_1 CLS_SIZE_TO(clsample_options, lanes) /* which was reserved then, so 0 */
#define CLS_PARAMS_SIZE_1 CLS_SIZE_TO(clsample_params, rules)
#define CLS_LOGITS_SIZE_1 CLS_SIZE_TO(clsample_logits, fallback_offset)
#define CLS_OUTPUT_SIZE_1 CLS_SIZE_TO(clsample_output, results_offset)
#define CLS_GENERATION_SIZE_1 CLS_SIZE_TO(clsample_generation, token_user)
#define CLS_TEXTS_SIZE_1 CLS_SIZE_TO(clsample_texts, finish)

/* ---- cache.c: compiled binaries on disk ---- */

/* Load the binary stored under `key` (a file name without folder) in `dir`. Returns malloc'd bytes, owned by
 * the caller, or NULL if there is none that is whole and ours. */
unsigned char *cls_cache_load(const char *dir, const char *key, size_t *size);
/* Store a binary: makes `dir` (0700) if missing, writes a temporary file (0600), renames it. Failure is
 * silent: the cache only saves time. */
void cls_cache_store(const char *dir, const char *key, const unsigned char *bytes, size_t size);
/* Remove an entry that the driver refused. */
void cls_cache_drop(const char *dir, const char *key);

/* ---- hash.c: names of what is stored ---- */

typedef struct cls_hash {
    uint32_t state[8];
    unsigned char block[64];
    uint64_t size; /* bytes so far */
} cls_hash;
#define CLS_HASH_DIGITS 64u

/* Begins with the library's version. */
void cls_hash_begin(cls_hash *h);
/* Bytes with their length in front, so that no two lists of fields look alike. */
void cls_hash_field(cls_hash *h, const void *bytes, size_t size);
/* Whatever tells a device, its driver, and their versions apart. */
void cls_hash_device(cls_hash *h, cl_device_id device);
/* Writes CLS_HASH_DIGITS hexadecimal digits, without a 0 at the end. */
void cls_hash_end(cls_hash *h, char *digits);

/* ---- program.c: kernels compiled from embedded source, or taken from the cache ---- */

/* The kernels of the library, X(number, embedded name, file): each file is a program of its own. Those of
 * GPUs are a summary and a choice, that of CPUs does both. */
#define CLS_SOURCE_MAP(X)                                      \
    X(CLS_SRC_STEP, vectors_step, "cl/vectors/step.cl")        \
    X(CLS_SRC_SUMMARY, groups_summary, "cl/groups/summary.cl") \
    X(CLS_SRC_CHOICE, groups_choice, "cl/groups/choice.cl")    \
    X(CLS_SRC_MASK, mask, "cl/mask.cl")                        \
    X(CLS_SRC_CHECK, check, "cl/check.cl")                     \
    X(CLS_SRC_GENERATE, generate, "cl/generate.cl")
#define CLS_SOURCE_NUMBER(number, name, file) number,
typedef enum cls_source { CLS_SOURCE_MAP(CLS_SOURCE_NUMBER) CLS_SRC_COUNT } cls_source;

/* cls_program_compile() (shared.h) of one of them. */
clsample_status cls_program_build(cl_context context, cl_device_id device, const char *cache_dir,
                                  cls_source source, const char *options, cl_program *program);

/* ---- plan.c ---- */

/* Check the caller's params (`rows` sets of `size` bytes each, or NULL) and turn set `index` into what the
 * kernels read. `vocab` clamps top_k. `filter` = for clsample_enqueue_filter, where min_p 1 is a filter. */
clsample_status cls_plan(const clsample_params *params, uint32_t index, uint32_t vocab, bool filter,
                         cls_plan_row *out);

/* A plan that was made, and what for. */
typedef struct cls_planned {
    clsample_params params; /* but for seed, step and stream */
    uint32_t vocab;         /* 0: none was */
    bool filter;
    cls_plan_row plan;
} cls_planned;
/* cls_plan of set 0, from the last one if nothing but seed, step and stream differs. */
clsample_status cls_plan_again(cls_planned *last, const clsample_params *params, uint32_t vocab, bool filter,
                               cls_plan_row *out);
/* Set `index` of the caller's params, with defaults for what they are too short to have. */
clsample_status cls_copy_params(const clsample_params *params, uint32_t index, clsample_params *p);

/* ---- check.c ---- */

/* What the self-check finds out beside whether the device can be trusted. */
typedef struct cls_abilities {
    uint32_t
        loop_limit;  /* iterations after which the driver ends a work-item's loops; UINT32_MAX if it seems to
                            have no such limit */
    bool hands_over; /* the last group of a launch sees what the others wrote (handover.h) */
} cls_abilities;

/* The known-answer test of the device: OK, or E_DEVICE with a sentence that says which primitive gave what
 * instead of what, if its `arithmetic` is asked for. Blocks. */
clsample_status cls_self_check(cl_context context, cl_device_id device, const char *cache_dir,
                               bool arithmetic, bool cpu, cls_abilities *found);

/* ---- limits.c ---- */

/* clGetDeviceInfo of a string: always ends in 0, cut to `size`; "" on error. */
void cls_device_string(cl_device_id device, cl_device_info what, char *out, size_t size);
/* The same of a number, whatever its width; E_DEVICE with the driver's error, for which `name` is `what`. */
clsample_status cls_device_uint(cl_device_id device, cl_device_info what, const char *name, uint64_t *out);
/* E_DEVICE with the reason if the device cannot be used: no compiler, not available, 32 KiB of local memory
 * or room for kernel arguments missing, big-endian. */
clsample_status cls_device_usable(cl_device_id device);
/* Whether a device has an extension: the whole name. */
bool cls_device_has(cl_device_id device, const char *extension);
/* Whether a device is one of the context's; any value will do for it. Drivers crash on those of others. */
clsample_status cls_is_device_of(cl_context context, cl_device_id device, bool *found);
/* Whether a driver is PoCL, which some things are not left to. E_DEVICE if it does not say what it is: to
 * take that for a no would let it crash, or give wrong tokens. */
clsample_status cls_is_pocl(cl_device_id device, bool *pocl);

#endif
