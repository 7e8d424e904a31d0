/* SPDX-License-Identifier: Apache-2.0 */
/* The device: options, the list of devices, the context that all calls work with, and its tuning. */
#ifndef CLSAMPLE_DEVICE_H
#define CLSAMPLE_DEVICE_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tables, structs and their comments are laid out by hand. */
/* clang-format off */

/* ---- Options --------------------------------------------------------------------------------------- */

/* options.flags. What is forced never changes a result: it is for tests, tuning, and the search for a
 * driver's fault. */
#define CLSAMPLE_NO_SELF_CHECK 1u       /**< skip the known-answer test of the device */
#define CLSAMPLE_FORCE_VECTORS 2u       /**< the form for CPUs: a work-item works on vectors of logits */
#define CLSAMPLE_FORCE_GROUPS 4u        /**< the form for GPUs: a work-group shares the logits */
#define CLSAMPLE_FORCE_TWO_LAUNCHES 8u  /**< never one launch a step, which the form for CPUs can do */
#define CLSAMPLE_FORCE_ROW_SEARCH 16u   /**< look for top-k's and top-p's cuts in the whole row */
#define CLSAMPLE_FORCE_COMMAND_BUFFERS 32u /**< for recorded steps, also on CPUs, where calls are faster */

/** How to use a device. What is 0 is chosen by device, or from what clsample_store_tuning() stored for it in
 * cache_dir. Only speed hangs on it. */
typedef struct clsample_options {
    uint32_t size;         /**< bytes; set by CLSAMPLE_OPTIONS_INIT */
    uint32_t flags;        /**< 0 (default) or bits from above; an unknown bit is E_VERSION */
    const char *cache_dir; /**< folder for compiled kernels, made if missing; NULL (default) = no cache.
                                Borrowed for the call. What is wrong with it costs time, never an error */
    uint32_t work_group;   /**< form for GPUs: work-items a group, a power of two, 8 to 256 */
    uint32_t lanes;        /**< form for CPUs: logits in a vector, 4, 8 or 16 */
    uint32_t groups;       /**< form for CPUs: groups that share the rows of a batch, 1 to 4096 */
    uint32_t reserved;     /**< 0 */
} clsample_options;
#define CLSAMPLE_OPTIONS_INIT { sizeof(clsample_options), 0, NULL, 0, 0, 0, 0 }

/** Write the folder that the clsample command uses as options.cache_dir: the value of CLSAMPLE_CACHE if that
 * is set ("off" gives ""), else "clsample" in XDG_CACHE_HOME, else in the .cache folder of HOME, else "".
 * The only call of this library that reads the environment.
 * @return OK; E_ARGUMENT if `dir` is NULL; E_BUFFER if `size` bytes do not hold the path and its final 0. */
CLSAMPLE_API clsample_status clsample_default_cache_dir(char *dir, size_t size);

/* ---- Devices --------------------------------------------------------------------------------------- */

typedef struct clsample_devices clsample_devices; /* opaque: a list of what the ICD loader offers */

typedef struct clsample_device_info {
    char selector[16];         /**< "P:D", platform and device index */
    char platform[128];        /**< names as the driver gives them, cut to fit; "" where it gives none */
    char name[128];
    char vendor[128];
    char driver[128];
    char opencl[64];           /**< the device's OpenCL version string */
    char opencl_c[64];         /**< the device's OpenCL C version string */
    char type[16];             /**< "gpu", "cpu", "accelerator", "custom", or "none" */
    char reason[512];          /**< why it is unusable; "" if usable */
    char self_check[16];       /**< "passed", "failed", "not run" */
    int usable;                /**< 1 or 0; before the self-check, 1 means nothing speaks against it yet */
    int simulator;             /**< 1 for a simulator such as Oclgrind, which ranks after real devices */
    int is_default;            /**< 1 for the device that a NULL selection gave last */
    uint32_t rank;             /**< 1 is best; 0 = unusable */
    uint32_t compute_units;
    uint64_t local_memory;     /**< bytes */
    uint64_t global_memory;    /**< bytes */
    uint64_t max_allocation;   /**< bytes */
    uint64_t max_work_group;   /**< work-items */
    int fp16;                  /**< 1 if cl_khr_fp16; never needed */
    int denormals;             /**< 1 if float denormals are kept; never needed */
    int fma;                   /**< 1 if the driver reports a fused multiply-add in hardware; never needed */
    cl_platform_id platform_id;
    cl_device_id device_id;    /**< NULL for a platform without devices, which has an entry to say so */
} clsample_device_info;

/** List every device of every platform, without computing on any: entries stay even when a driver fails,
 * with the reason. No platform at all is an empty list, not an error.
 * @param options NULL for the defaults; kept for the self-checks and for clsample_devices_create (cache_dir
 *                is copied)
 * @param list    owned by the caller: clsample_devices_close
 * @return OK, E_ARGUMENT, E_VERSION or E_MEMORY; *list is NULL on failure */
CLSAMPLE_API clsample_status clsample_devices_open(const clsample_options *options, clsample_devices **list);
/** Free a list and what it holds; NULL is fine. Infos from it are gone then. */
CLSAMPLE_API void clsample_devices_close(clsample_devices *list);
/** Number of entries; 0 for NULL. */
CLSAMPLE_API size_t clsample_devices_count(const clsample_devices *list);
/** Entry `index`, owned by the list; NULL if there is none. Calls below update it in place. */
CLSAMPLE_API const clsample_device_info *clsample_devices_info(const clsample_devices *list, size_t index);
/** Run the self-check of entry `index` once, and update its usable, reason, self_check, and all ranks.
 * @return OK if the device is usable, E_DEVICE if not (the reason is in the info), E_ARGUMENT, E_MEMORY */
CLSAMPLE_API clsample_status clsample_devices_check(clsample_devices *list, size_t index);
/** Choose a device: self-checks candidates from the best-ranked on, until one passes.
 * @param selector NULL: the best of all. "P:D", "cpu", "gpu", "accelerator", or a case-insensitive part of
 *                 "platform / device"
 * @param index    the entry chosen
 * @return OK; E_NO_DEVICE if nothing usable matches: the message lists what there is and why each was
 *         refused; E_ARGUMENT for a NULL list or index or an empty selector; E_MEMORY */
CLSAMPLE_API clsample_status clsample_devices_select(clsample_devices *list, const char *selector,
                                                     size_t *index);

/* ---- Context --------------------------------------------------------------------------------------- */

typedef struct clsample_ctx clsample_ctx; /* opaque: one device's kernels and scratch memory */

/** Make a context on the application's own OpenCL context and device. Compiles (or loads from the cache) the
 * kernels that the self-check needs and runs it: blocks, up to seconds without a cache. Both are retained.
 * @param device  one of the context's, or one of its sub-devices that the context was made for
 * @param options NULL for the defaults
 * @param ctx     owned by the caller: clsample_destroy
 * @return OK; E_ARGUMENT; E_VERSION; E_MEMORY; E_OPENCL; E_BUILD with the compiler's log; E_DEVICE if the
 *         device lacks a compiler, memory or work-items, or failed the self-check. *ctx is NULL on failure */
CLSAMPLE_API clsample_status clsample_create(cl_context context, cl_device_id device,
                                             const clsample_options *options, clsample_ctx **ctx);
/** Free a context; NULL is fine. Commands already enqueued still run to their end. */
CLSAMPLE_API void clsample_destroy(clsample_ctx *ctx);
/** clsample_create for a device of a list and with the list's options. What the list found out about the
 * device counts: a self-check that ran before, as clsample_devices_select ran it, is not run again, which
 * saves its part of the start.
 * @param context the application's own; one without the device of entry `index` is E_ARGUMENT
 * @return as clsample_create; E_DEVICE, with the reason, for an entry that is not usable */
CLSAMPLE_API clsample_status clsample_devices_create(clsample_devices *list, size_t index,
                                                     cl_context context, clsample_ctx **ctx);

/** Tell what a context works with: flags has FORCE_VECTORS or FORCE_GROUPS, and FORCE_TWO_LAUNCHES if a step
 * takes two launches in the form for CPUs; work_group, lanes and groups are not 0; cache_dir is NULL.
 * @return OK; E_ARGUMENT for a NULL */
CLSAMPLE_API clsample_status clsample_get_tuning(const clsample_ctx *ctx, clsample_options *options);
/** Store how a device is to be used: clsample_create with the same cache_dir takes it for what its own
 * options leave 0; its flags only if the options name no form. It counts for this version of the library and
 * of the device's driver. Tuning never changes a token.
 * @param options cache_dir, where it goes; of the flags FORCE_VECTORS, FORCE_GROUPS and FORCE_TWO_LAUNCHES;
 *                work_group, lanes and groups. All of those 0: forget what is stored
 * @return OK; E_ARGUMENT, also if the folder cannot be written or others can write to it; E_VERSION */
CLSAMPLE_API clsample_status clsample_store_tuning(cl_device_id device, const clsample_options *options);

/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
