/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of tokens: logits in, results out, enqueued, blocking, or recorded, and the filters alone. */
#ifndef CLSAMPLE_SAMPLING_H
#define CLSAMPLE_SAMPLING_H

#include "device.h"
#include "samplers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tables, structs and their comments are laid out by hand. */
/* clang-format off */

#define CLSAMPLE_MAX_VOCAB 1048576u
#define CLSAMPLE_NO_TOKEN (-1)

/* ---- Logits and results ---------------------------------------------------------------------------- */

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
    cl_mem fallback;        /**< NULL (default), or logits of the same shape that are used for a row of `mem`
                                 whose logits are all masked, by the caller or by bans, with the same
                                 parameters but of the samplers bias, bans and temperature alone */
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
 * up to 63 KiB a row); the first of a dtype compiles its kernels, and the first with bias, bans, top-n-sigma
 * or typical those that know them (clsample_prepare does all of that before). Biases and bans that are not
 * those of the call before, by what the lists hold, take a buffer of their own. Calls of one context run on
 * the device in the order in which they were enqueued.
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

/** Do now what the first call of a kind does: compile the kernels that calls with such params and logits
 * need, and make the scratch memory and the room for their parameters. Later calls then compile and allocate
 * nothing, as long as dtype and samplers are the same, rows and vocab no more, and biases and bans the same:
 * others take a small buffer in the first call that has them. Kernels that know bias, bans, top-n-sigma and
 * typical are compiled apart from those of all other calls, so what is not prepared for them costs the first
 * call that has one a compilation. Blocks.
 * @param params, n_params  as for clsample_enqueue, NULL too; of every set what samplers are on, and the
 *               biases and bans, count
 * @param logits dtype, rows and vocab, and whether fallback is set, count; mem may be NULL, and no buffer is
 *               looked at. Borrowed for the call
 * @return OK; E_ARGUMENT; E_VERSION; E_BUFFER if the application's scratch is too small; E_MEMORY; E_BUILD;
 *         E_DEVICE if its driver cannot loop over so many logits; E_OPENCL */
CLSAMPLE_API clsample_status clsample_prepare(clsample_ctx *ctx,
                                              const clsample_params *params, uint32_t n_params,
                                              const clsample_logits *logits);
/** clsample_prepare for default params, one set for each row, and so for all calls without bias, bans,
 * top-n-sigma and typical. Blocks.
 * @param dtype a clsample_dtype
 * @return as clsample_prepare */
CLSAMPLE_API clsample_status clsample_reserve(clsample_ctx *ctx, uint32_t dtype, uint32_t rows,
                                              uint32_t vocab);
/** Bytes of scratch memory that a call of this shape needs at most, whatever the device: a twentieth of the
 * bytes of float32 logits, and up to 63 KiB a row. 0 for a shape that no call takes. What bias, bans,
 * top-n-sigma and typical take beside it the context keeps itself: less than a fortieth of those bytes, and
 * on CPUs about 1 KiB a work-group. */
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

/* ---- Filters alone --------------------------------------------------------------------------------- */

/* What clsample_enqueue_filter writes. */
typedef enum clsample_filter_output {
    CLSAMPLE_MASKED_LOGITS = 0, /**< (logit + bias) / temperature where kept, -inf where not and nowhere else:
                                     a finite logit stays finite, a quotient beyond the floats is the largest
                                     of its sign. Sum and quotient are each correctly rounded, but for the
                                     last bit of quotients near the denormals */
    CLSAMPLE_PROBABILITIES = 1  /**< each token's probability in the distribution that a draw would use */
} clsample_filter_output;

/** Enqueue the samplers alone, without a draw: turn one on in `params` and the others off to run one stage.
 * Temperature 1 leaves kept logits as they are, but for their bias; 0 and CLSAMPLE_GREEDY keep the one greedy
 * token, unscaled. A row whose logits are all masked gives -inf or 0 everywhere, unless `logits` has a
 * fallback. Unlike in clsample_enqueue, min_p 1 is a filter under the seed rules too: it keeps the most
 * probable tokens, as the article's stage does when it is called alone.
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

/* ---- Recorded steps -------------------------------------------------------------------------------- */

typedef struct clsample_recording clsample_recording; /* opaque: a step to be repeated */

/** Record a step, to be enqueued on `queue` again and again with one short call. Each repetition reads the
 * logits that are in the buffer then, and draws at the next step, from params.step on: the device counts them
 * itself. The tokens are those of clsample_enqueue. A command buffer (cl_khr_command_buffer) is used where
 * the device has them and gains by them. The recording has scratch memory of its own, and a copy
 * of the parameters, biases and bans included. Arguments as for clsample_enqueue.
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

/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
