/* SPDX-License-Identifier: Apache-2.0 */
/* clsample: from a language model's logits to the next token, on any OpenCL device.
 *
 *     clsample_ctx *ctx = NULL;
 *     clsample_params p = CLSAMPLE_PARAMS_INIT;
 *     clsample_logits in = CLSAMPLE_LOGITS_INIT;
 *     clsample_output out = CLSAMPLE_OUTPUT_INIT;
 *
 *     clsample_create(context, device, NULL, &ctx);       the application's own context and device
 *     p.temperature = 0.8f; p.top_k = 50; p.seed = 7;
 *     in.mem = logits; in.rows = 1; in.vocab = in.stride = 49152;
 *     out.tokens = tokens;                                an int32 a row, in a buffer
 *     clsample_enqueue(ctx, queue, &p, 1, &in, &out, 0, NULL, NULL);
 *
 * The promise: the same logits, parameters and seed give the same token, log-probability bits and count on
 * every device, driver, work-group size and batch. docs/design.md says how it is kept.
 *
 * Threads: use a clsample_ctx or a clsample_devices from one thread at a time; different ones may be used by
 * different threads at the same time, on the same device too.
 *
 * Versions: structs begin with their size, set by their _INIT macro, and fields are only ever appended; the
 * library takes a shorter struct (missing fields get their defaults) and refuses a longer one in which a byte
 * that it does not know is set. Status values never change.
 */
#ifndef CLSAMPLE_H
#define CLSAMPLE_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>
#include <stddef.h>
#include <stdint.h>

#if defined(CLSAMPLE_STATIC) || !defined(__GNUC__)
#define CLSAMPLE_API
#else
#define CLSAMPLE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Tables, structs and their comments are laid out by hand. */
/* clang-format off */

#define CLSAMPLE_VERSION_MAJOR 0
#define CLSAMPLE_VERSION_MINOR 1
#define CLSAMPLE_VERSION_PATCH 0
#define CLSAMPLE_VERSION "0.1.0"

/** "MAJOR.MINOR.PATCH" of the library that is linked. */
CLSAMPLE_API const char *clsample_version(void);

/* ---- Status ---------------------------------------------------------------------------------------- */

/* The only list of status codes: the enum, the names and the texts come from it. */
#define CLSAMPLE_STATUS_MAP(X)                                                             \
    X(OK, 0, "success")                                                                    \
    X(E_ARGUMENT, -1, "null handle, zero size or value out of range")                      \
    X(E_BUFFER, -2, "buffer smaller than the shape needs, or wrongly aligned")             \
    X(E_VERSION, -3, "a struct sets a field or flag that this library is too old to know") \
    X(E_MEMORY, -4, "out of host memory")                                                  \
    X(E_OPENCL, -5, "an OpenCL call failed")                                               \
    X(E_BUILD, -6, "the device's compiler refused the kernels")                            \
    X(E_DEVICE, -7, "the device cannot be used")                                           \
    X(E_NO_DEVICE, -8, "no usable device matches the selection")                           \
    X(E_MODEL, -9, "the application's model reported a failure")

typedef enum clsample_status {
#define CLSAMPLE_STATUS_ENUM(name, value, text) CLSAMPLE_##name = (value),
    CLSAMPLE_STATUS_MAP(CLSAMPLE_STATUS_ENUM)
#undef CLSAMPLE_STATUS_ENUM
        CLSAMPLE_STATUS_FORCE_INT = 0x7fffffff
} clsample_status;

/** "E_ARGUMENT" for CLSAMPLE_E_ARGUMENT; "E_UNKNOWN" for a value that is not in the list. Never NULL. */
CLSAMPLE_API const char *clsample_status_name(clsample_status status);
/** The list's sentence for a status; never NULL. clsample_last_error() says more about one failure. */
CLSAMPLE_API const char *clsample_status_text(clsample_status status);

/** What the calling thread's last failed call of this library has to say. */
typedef struct clsample_error {
    clsample_status status; /**< OK if no call of this thread failed yet */
    cl_int cl_error;        /**< the OpenCL code under E_OPENCL, E_BUILD or E_DEVICE, else CL_SUCCESS */
    char cl_call[64];       /**< the OpenCL call that failed, e.g. "clCreateBuffer scratch", else "" */
    char message[1024];     /**< a sentence: which argument, its value, what is allowed */
    char log[8192];         /**< E_BUILD: the compiler's log (its first 8 KiB), else "" */
} clsample_error;

/** Never NULL. Owned by the calling thread, overwritten by its next failure, left alone by a success. */
CLSAMPLE_API const clsample_error *clsample_last_error(void);

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

/* ---- Sampling -------------------------------------------------------------------------------------- */

#define CLSAMPLE_GREEDY 1u /**< params.flags: the largest raw logit, like temperature 0 */
#define CLSAMPLE_MAX_VOCAB 1048576u
#define CLSAMPLE_NO_TOKEN (-1)

/* Whose order of filters, treatment of ties, and top-p boundary. x is a logit, p a probability.
 *  SEED          temperature, min-p, top-k, top-p. Ties of the k-th logit stay; top-p keeps tokens while the
 *                sum of probabilities, largest first, is at most top_p, always the first, and ties of the
 *                last kept one; min-p keeps p >= min_p * max and p >= max - 1e-9; min_p 1 is off.
 *                Source: the article's code (jax-layers, generation_utils.py), sums and ties made exact.
 *  TRANSFORMERS  temperature, top-k (ties stay), top-p up to and with the token that reaches top_p, min-p.
 *  VLLM          temperature, min-p, top-k (ties stay), top-p up to and with the token that reaches top_p.
 *  LLAMA_CPP     top-k (exactly k), top-p up to and with the token that reaches top_p, min-p, temperature.
 * Where a boundary cuts through equal logits, the smaller token ids stay. */
typedef enum clsample_rules {
    CLSAMPLE_RULES_SEED = 0,
    CLSAMPLE_RULES_TRANSFORMERS = 1,
    CLSAMPLE_RULES_VLLM = 2,
    CLSAMPLE_RULES_LLAMA_CPP = 3
} clsample_rules;

typedef struct clsample_params {
    uint32_t size;     /**< bytes; set by CLSAMPLE_PARAMS_INIT */
    uint32_t flags;    /**< 0 (default) or CLSAMPLE_GREEDY; an unknown bit is E_VERSION */
    float temperature; /**< divides the logits; 0 = greedy; default 1. Finite and not negative; above 0 it
                            counts as at least 1e-9 (as in the article) and at most 1e12 */
    float min_p;       /**< fraction of the best token's probability, [0, 1]; 0 = off (default). Source:
                            Nguyen et al., arXiv:2407.01082 */
    uint32_t top_k;    /**< tokens kept; 0 = off (default); above vocab = vocab. Source: Fan et al.,
                            arXiv:1805.04833 */
    float top_p;       /**< probability mass kept, (0, 1]; 1 = off (default). Source: Holtzman et al.,
                            arXiv:1904.09751 */
    uint64_t seed;     /**< any value; default 0 */
    uint64_t step;     /**< number of the token within its text; default 0. The random number of a draw is
                            a function of seed, step and stream alone */
    uint32_t stream;   /**< default 0. Params for a whole batch: row r draws with stream + r (mod 2^32).
                            Params per row: as given, so that a row draws the same token in any slot of any
                            batch */
    uint32_t rules;    /**< a clsample_rules; default CLSAMPLE_RULES_SEED */
} clsample_params;
#define CLSAMPLE_PARAMS_INIT { sizeof(clsample_params), 0, 1.0f, 0.0f, 0, 1.0f, 0, 0, 0, CLSAMPLE_RULES_SEED }

typedef enum clsample_dtype {
    CLSAMPLE_F32 = 0, /**< IEEE binary32 */
    CLSAMPLE_F16 = 1, /**< IEEE binary16, read as bits: the device needs no cl_khr_fp16 */
    CLSAMPLE_BF16 = 2 /**< the upper half of a binary32 */
} clsample_dtype;

/** Logits in a buffer of the application: [rows, stride] row-major, the first `vocab` of each row are used.
 * -inf is masked. NaN counts as -inf and is reported. Tokens at +inf share the whole mass. Equal logits
 * rank by token id; -0 equals +0; a denormal keeps its order also where the device flushes it. */
typedef struct clsample_logits {
    uint32_t size;          /**< bytes; set by CLSAMPLE_LOGITS_INIT */
    uint32_t dtype;         /**< a clsample_dtype; default CLSAMPLE_F32 */
    cl_mem mem;             /**< borrowed, read only; must stay valid until the commands ended */
    size_t offset;          /**< of the first logit, in bytes; a multiple of the element's size */
    uint32_t rows;          /**< at least 1 */
    uint32_t vocab;         /**< 1 to CLSAMPLE_MAX_VOCAB */
    size_t stride;          /**< elements from one row to the next, at least vocab; 0 (default) = vocab */
    cl_mem fallback;        /**< NULL (default), or logits of the same shape that are used, with the same
                                 parameters but no filter, for a row of `mem` whose logits are all masked */
    size_t fallback_offset; /**< in bytes, like offset */
} clsample_logits;
#define CLSAMPLE_LOGITS_INIT { sizeof(clsample_logits), CLSAMPLE_F32, NULL, 0, 0, 0, 0, NULL, 0 }

#define CLSAMPLE_ROW_STATUS_MAP(X)                                                        \
    X(OK, 0, "ok")                                                                        \
    X(NAN_IGNORED, 1, "nan_ignored") /* a token was chosen, NaN logits counted as -inf */ \
    X(NO_TOKEN, 2, "no_token")       /* every logit is masked: token -1, kept 0 */        \
    X(FALLBACK, 3, "fallback")       /* the token comes from the fallback logits */
typedef enum clsample_row_status {
#define CLSAMPLE_ROW_ENUM(name, value, text) CLSAMPLE_ROW_##name = (value),
    CLSAMPLE_ROW_STATUS_MAP(CLSAMPLE_ROW_ENUM)
#undef CLSAMPLE_ROW_ENUM
} clsample_row_status;
/** "ok", "nan_ignored", "no_token", "fallback", or "unknown". Never NULL. */
CLSAMPLE_API const char *clsample_row_status_name(uint32_t row_status);

/** One row's outcome, 16 bytes, as it lies in the results buffer. */
typedef struct clsample_result {
    int32_t token;   /**< below vocab, or CLSAMPLE_NO_TOKEN */
    uint32_t status; /**< a clsample_row_status */
    float logprob;   /**< natural logarithm of the probability with which this token was drawn, in the
                          filtered distribution; 0 when greedy, -inf without a token; absolute error below
                          1e-6 */
    uint32_t kept;   /**< tokens in the distribution that was drawn from; 1 when greedy */
} clsample_result;

/** Where the outcome goes: at least one of the two buffers. Neither may overlap the logits. */
typedef struct clsample_output {
    uint32_t size;         /**< bytes; set by CLSAMPLE_OUTPUT_INIT */
    uint32_t reserved;     /**< 0 */
    cl_mem tokens;         /**< NULL, or int32 [rows]: ready as the next step's input */
    size_t tokens_offset;  /**< in bytes, a multiple of 4 */
    cl_mem results;        /**< NULL, or clsample_result [rows] */
    size_t results_offset; /**< in bytes, a multiple of 16 */
} clsample_output;
#define CLSAMPLE_OUTPUT_INIT { sizeof(clsample_output), 0, NULL, 0, NULL, 0 }

/** Enqueue the choice of one token per row. Does not block, copy logits, or wait for the device. The first
 * call of a larger shape grows the scratch memory (a twentieth of the bytes of float32 logits, and on CPUs
 * up to 63 KiB a row); the first of a dtype compiles its kernels. Calls of one context run on the device in
 * the order in which they were enqueued.
 *
 * @param queue     in-order or out-of-order, of the context's OpenCL context and device; borrowed
 * @param params    NULL = defaults for the whole batch
 * @param n_params  1: `params` is for the whole batch; rows: one for each row, each with the size of the
 *                  first. Ignored if `params` is NULL
 * @param logits, output  see there; borrowed for the call, their buffers until the commands ended
 * @param n_wait, wait_list  events to wait for, of the same OpenCL context; NULL if and only if n_wait is 0.
 *                  One whose command has failed is E_OPENCL
 * @param event     NULL, or the last command's event, owned by the caller; NULL is stored on failure
 * @return OK; E_ARGUMENT; E_VERSION; E_BUFFER; E_MEMORY; E_BUILD; E_DEVICE if its driver cannot loop over so
 *         many logits; E_OPENCL: earlier commands of the call may still run then, finish the queue before you
 *         free the buffers. Later calls are as good as before: they follow what was enqueued, but do not hang
 *         on the outcome of a call that failed, at once or later on the device */
CLSAMPLE_API clsample_status clsample_enqueue(clsample_ctx *ctx, cl_command_queue queue,
                                              const clsample_params *params, uint32_t n_params,
                                              const clsample_logits *logits, const clsample_output *output,
                                              cl_uint n_wait, const cl_event *wait_list, cl_event *event);

/** Do now what the first call of a shape does: compile the kernels of `dtype`, a clsample_dtype, and make the
 * scratch memory. Later calls of this shape or a smaller one then allocate nothing. Blocks.
 * @return OK; E_ARGUMENT; E_BUFFER if the application's scratch is too small; E_MEMORY; E_BUILD; E_DEVICE;
 *         E_OPENCL */
CLSAMPLE_API clsample_status clsample_reserve(clsample_ctx *ctx, uint32_t dtype, uint32_t rows,
                                              uint32_t vocab);
/** Bytes of scratch memory that a call of this shape needs at most, whatever the device: a twentieth of the
 * bytes of float32 logits, and up to 63 KiB a row. 0 for a shape that no call takes. */
CLSAMPLE_API size_t clsample_scratch_size(uint32_t rows, uint32_t vocab);
/** Let the context use `size` bytes of the application's own buffer as scratch memory, from `offset` on, a
 * multiple of 16. Nothing else may use that part of it while commands of this context run.
 * @param mem borrowed until it is replaced or the context destroyed; NULL = the context makes its own again
 * @return OK; E_ARGUMENT; E_BUFFER; E_OPENCL */
CLSAMPLE_API clsample_status clsample_set_scratch(clsample_ctx *ctx, cl_mem mem, size_t offset, size_t size);

/** clsample_enqueue for host memory: copies the logits to the device, samples, and waits.
 * @param host    what the buffer of `logits` would hold; its mem, offset and fallback fields are ignored
 * @param results [rows], written only on OK
 * @return as clsample_enqueue */
CLSAMPLE_API clsample_status clsample_sample(clsample_ctx *ctx,
                                             const clsample_params *params, uint32_t n_params,
                                             const clsample_logits *logits, const void *host,
                                             clsample_result *results);

/* ---- Recorded steps -------------------------------------------------------------------------------- */

typedef struct clsample_recording clsample_recording; /* opaque: a step to be repeated */

/** Record a step, to be enqueued on `queue` again and again with one short call. Each repetition reads the
 * logits that are in the buffer then, and draws at the next step, from params.step on: the device counts them
 * itself. The tokens are those of clsample_enqueue. A command buffer (cl_khr_command_buffer) is used where
 * the device has them and gains by them. The recording has scratch memory of its own. Arguments as for
 * clsample_enqueue.
 * @param recording owned by the caller: clsample_recording_free, before the context is destroyed
 * @return as clsample_enqueue; *recording is NULL on failure */
CLSAMPLE_API clsample_status clsample_record(clsample_ctx *ctx, cl_command_queue queue,
                                             const clsample_params *params, uint32_t n_params,
                                             const clsample_logits *logits, const clsample_output *output,
                                             clsample_recording **recording);
/** Enqueue the recorded step. Does not block or allocate. Repetitions run on the device one after another.
 * One that fails is no step: the next repetition draws what it would have drawn.
 * @param n_wait, wait_list, event  as for clsample_enqueue
 * @return OK; E_ARGUMENT; E_OPENCL */
CLSAMPLE_API clsample_status clsample_replay(clsample_recording *recording, cl_uint n_wait,
                                             const cl_event *wait_list, cl_event *event);
/** 1 if a command buffer is used, else 0; 0 for NULL. */
CLSAMPLE_API int clsample_recording_is_native(const clsample_recording *recording);
/** Free a recording; NULL is fine. Repetitions already enqueued still run to their end. */
CLSAMPLE_API void clsample_recording_free(clsample_recording *recording);

/* ---- Generation ------------------------------------------------------------------------------------ */

/* One step of the application's model: from the tokens of every row to the logits of the next one. */
typedef struct clsample_model_step {
    uint32_t size;   /**< bytes that the library filled */
    uint32_t rows;
    uint32_t stride; /**< ids from one row to the next */
    uint32_t vocab;
    cl_command_queue queue;      /**< where the step's commands go */
    cl_mem ids;                  /**< int32 [rows, stride]: each row's tokens from its first on, to be read by
                                      commands alone: the host may not know them yet. What a row that has
                                      ended shows past its end may be the pad id: take it as any token */
    const uint32_t *lengths;     /**< [rows]: tokens that a row has now */
    const uint32_t *fresh;       /**< [rows]: how many of them, at the end, came since the row's last step:
                                      first the whole prompt, then 1; 0 leaves the row out. A model without
                                      a cache ignores it but for the 0 */
    cl_mem logits;               /**< float32 [rows, vocab], to be filled with those after each row's last
                                      token; the row of one that is left out may keep what is there */
    cl_uint n_wait;              /**< events to wait for; 0 on an in-order queue */
    const cl_event *wait_list;
    cl_event *event;             /**< NULL on an in-order queue; else the last command's event must be put
                                      there, which the library releases */
} clsample_model_step;
/** Enqueue a step on its queue, without waiting for it: what clsample_generate calls once a step. Everything
 * in `step` is borrowed, its arrays for the call, its buffers until the commands ended.
 * @return 0, or an error code of the application's own, which ends the generation with E_MODEL */
typedef int (*clsample_model_fn)(void *user, const clsample_model_step *step);

#define CLSAMPLE_FINISH_MAP(X)                                                                      \
    X(NONE, 0, "none")           /* not ended: what the token callback sees but for the last */     \
    X(EOS, 1, "eos")             /* the last token is one of `eos` */                               \
    X(STOP, 2, "stop")           /* the last tokens are a stop sequence */                          \
    X(LENGTH, 3, "length")       /* max_length or max_new_tokens */                                 \
    X(CALLBACK, 4, "callback")   /* the token callback stopped the row */                           \
    X(CANCELLED, 5, "cancelled") /* the token callback cancelled all, or the call failed */         \
    X(NO_TOKEN, 6, "no_token")   /* every logit was masked, or NaN */                               \
    X(PROMPT, 7, "prompt")       /* the prompt ends with one of `eos`: nothing was generated */
typedef enum clsample_finish {
#define CLSAMPLE_FINISH_ENUM(name, value, text) CLSAMPLE_FINISH_##name = (value),
    CLSAMPLE_FINISH_MAP(CLSAMPLE_FINISH_ENUM)
#undef CLSAMPLE_FINISH_ENUM
} clsample_finish;
/** "eos", "length", ..., or "unknown". Never NULL. */
CLSAMPLE_API const char *clsample_finish_name(uint32_t finish);

/* A token as the callback gets it. */
typedef struct clsample_token {
    uint32_t size;     /**< bytes that the library filled */
    uint32_t row;
    uint32_t position; /**< in the row, prompt included */
    int32_t token;
    float logprob;     /**< as in clsample_result */
    uint32_t kept;     /**< as in clsample_result */
    uint32_t finish;   /**< a clsample_finish: not NONE if the row ends with this token */
    uint32_t status;   /**< a clsample_row_status: OK, or NAN_IGNORED if the model gave NaN among the logits
                            that the token was drawn from. NO_TOKEN never: such a row ends without a call */
} clsample_token;
typedef enum clsample_next {
    CLSAMPLE_CONTINUE = 0,
    CLSAMPLE_STOP_ROW = 1, /**< the row ends with this token, the others go on */
    CLSAMPLE_CANCEL = 2    /**< every row ends with its last token that was shown */
} clsample_next;
/** Called for every token that is generated, when the host looks: step by step, in a step row by row. */
typedef clsample_next (*clsample_token_fn)(void *user, const clsample_token *token);

#define CLSAMPLE_EAGER 1u             /**< generation.flags: look at each token before the next step */
#define CLSAMPLE_SAMPLE_STREAM 65536u /**< between the random streams of a prompt's samples */
#define CLSAMPLE_MAX_TEXTS 65536u     /**< prompts, samples, and rows */

/** What to generate. Pointers are borrowed for the call.
 *
 * There are prompts * samples rows; row = prompt * samples + sample. Row (prompt i, sample j) draws its token
 * number k, counted from 0 after the prompt, at params.step + k: one random number a token. Its stream is
 * params.stream + i + 65536 j with one set of params for all, and params[i].stream + 65536 j with one for
 * each prompt: it hangs neither on how many prompts or samples there are, nor on what other rows do, so the
 * row can be had again alone. Give prompts with params of their own different seeds or streams. */
typedef struct clsample_generation {
    uint32_t size;             /**< bytes; set by CLSAMPLE_GENERATION_INIT */
    uint32_t flags;            /**< 0 (default) or CLSAMPLE_EAGER; an unknown bit is E_VERSION */
    clsample_model_fn model;
    void *model_user;          /**< handed to `model` */
    uint32_t vocab;            /**< logits of a row, 1 to CLSAMPLE_MAX_VOCAB */
    uint32_t prompts;          /**< 1 to CLSAMPLE_MAX_TEXTS, with samples too */
    const int32_t *ids;        /**< [prompts, ids_stride]: the prompts' tokens, each from 0 to vocab - 1 */
    const uint32_t *lengths;   /**< [prompts]: tokens of each prompt, at least 1; NULL = all ids_stride */
    uint32_t ids_stride;       /**< ids from one prompt to the next, at least the longest one's length */
    uint32_t samples;          /**< texts for each prompt; default 1 */
    const clsample_params *params; /**< NULL = defaults */
    uint32_t n_params;         /**< 1 (default): for all; prompts: one for each. Ignored if params is NULL */
    uint32_t max_length;       /**< tokens of a row, prompt included; 0 (default) = the longest prompt +
                                    max_new_tokens, or without that 20, as in the article. A prompt of as
                                    many or more is cut to that, and its row ends at once, with "length" */
    uint32_t max_new_tokens;   /**< tokens to generate for a row at most; 0 (default) = as many as fit */
    uint32_t min_tokens;       /**< before so many new tokens eos cannot be drawn, its logits are set to -inf,
                                    and stop sequences do not count; default 0 */
    uint32_t n_eos;            /**< default 0: nothing ends a text but its length */
    const int32_t *eos;        /**< [n_eos] ids that end a row, each from 0 to vocab - 1 */
    uint32_t n_stops;          /**< default 0 */
    const uint32_t *stop_lengths; /**< [n_stops]: tokens of each stop sequence, at least 1 */
    const int32_t *stop_ids;   /**< the sequences, one after the other. A row ends when its new tokens end
                                    with one; it stays in the text */
    int32_t pad;               /**< fills a row after its end; any value; default 0 */
    uint32_t check_every;      /**< steps that are enqueued before the host looks, 1 to 4096; 0 (default) = 8.
                                    As many again may be under way then, so up to 2 * check_every - 1 steps
                                    are in vain after the last row has ended. Ignored if eager */
    clsample_token_fn token;   /**< NULL (default), or called for each token */
    void *token_user;          /**< handed to `token` */
} clsample_generation;
#define CLSAMPLE_GENERATION_INIT                                                                     \
    { sizeof(clsample_generation), 0, NULL, NULL, 0, 0, NULL, NULL, 0, 1, NULL, 1, 0, 0, 0, 0, NULL, \
      0, NULL, NULL, 0, 0, NULL, NULL }

/** Where the texts go: arrays of the application, of prompts * samples rows. Each may be NULL. */
typedef struct clsample_texts {
    uint32_t size;      /**< bytes; set by CLSAMPLE_TEXTS_INIT */
    uint32_t stride;    /**< elements from one row to the next in ids and logprobs, at least max_length (what
                             it stands for, if that is 0) */
    int32_t *ids;       /**< [rows, stride]: prompt, new tokens, the end of text among them, then pads up to
                             max_length */
    float *logprobs;    /**< [rows, stride]: of each new token, at its place in ids; 0 elsewhere */
    uint32_t *lengths;  /**< [rows]: tokens of each row, prompt included */
    uint32_t *finish;   /**< [rows]: why it ended, a clsample_finish */
} clsample_texts;
#define CLSAMPLE_TEXTS_INIT { sizeof(clsample_texts), 0, NULL, NULL, NULL, NULL }

/** Generate texts: call the model, draw a token for each row, append it, until every row has ended. Blocks;
 * everything is allocated before the first step. Tokens go from the sampler into the next step's ids on the
 * device; the host looks every few steps while the device goes on, or, with CLSAMPLE_EAGER, after each. Both
 * forms give the same tokens, log-probabilities and reasons, as long as the logits of a row hang on nothing
 * but its own tokens. A step takes one small launch beside the model's and the sampler's, two before
 * min_tokens.
 *
 * The rules are those of the article's `generate`, with its pads and its one end of text, which is written
 * once. Where they are not: each row has a length, parameters and a random number of its own, there may be
 * several eos, the loop ends when all rows have, and temperature 0 is greedy instead of refused.
 *
 * @param queue in-order or out-of-order, of the context's OpenCL context and device; idle again on return,
 *              with whatever else was enqueued on it
 * @return OK, also if the token callback cancelled; E_ARGUMENT; E_VERSION; E_BUFFER if texts.stride is too
 *         small; E_MEMORY; E_MODEL with the application's error code in the message; E_BUILD; E_DEVICE;
 *         E_OPENCL. Once the steps began `texts` holds what was looked at, also on failure, and nothing that
 *         was enqueued still runs */
CLSAMPLE_API clsample_status clsample_generate(clsample_ctx *ctx, cl_command_queue queue,
                                               const clsample_generation *generation,
                                               const clsample_texts *texts);

/* ---- Filters alone --------------------------------------------------------------------------------- */

/* What clsample_enqueue_filter writes. */
typedef enum clsample_filter_output {
    CLSAMPLE_MASKED_LOGITS = 0, /**< logit / temperature where kept, -inf where not and nowhere else: a finite
                                     logit stays finite, a quotient beyond the floats is the largest of its
                                     sign. Correctly rounded, but for the last bit of quotients near the
                                     denormals */
    CLSAMPLE_PROBABILITIES = 1  /**< each token's probability in the distribution that a draw would use */
} clsample_filter_output;

/** Enqueue the filters alone, without a draw: set one filter in `params` and the others off to run one stage.
 * Temperature 1 leaves kept logits as they are; 0 and CLSAMPLE_GREEDY keep the one greedy token, unscaled. A
 * row whose logits are all masked gives -inf or 0 everywhere, unless `logits` has a fallback. Unlike in
 * clsample_enqueue, min_p 1 is a filter under the seed rules too: it keeps the most probable tokens, as the
 * article's stage does when it is called alone.
 * @param what   a clsample_filter_output
 * @param out    float32 [rows, vocab], row-major, not the logits' buffer; `out_offset` in bytes, a multiple
 *               of 4
 * The other parameters and the return value are as for clsample_enqueue. */
CLSAMPLE_API clsample_status clsample_enqueue_filter(clsample_ctx *ctx, cl_command_queue queue,
                                                     const clsample_params *params, uint32_t n_params,
                                                     const clsample_logits *logits,
                                                     clsample_filter_output what,
                                                     cl_mem out, size_t out_offset,
                                                     cl_uint n_wait, const cl_event *wait_list,
                                                     cl_event *event);

/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
