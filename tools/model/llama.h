/* SPDX-License-Identifier: Apache-2.0 */
/* A language model of the Llama architecture, from a GGUF file, on an OpenCL device: from tokens to the
 * logits of the next one, for a batch of rows, each with a text of its own.
 *
 * Weights stay as the file has them (F32, F16, BF16, Q8_0, Q4_0, Q4_1), arithmetic is in float32. What a
 * row gives depends on its own tokens and on the steps in which they came, not on the other rows; the last
 * bits may differ between devices. docs/model.md says how it works.
 *
 * Use a llama from one thread at a time.
 *
 */
#ifndef LLAMA_H
#define LLAMA_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include "gguf.h"

#include <CL/cl.h>

typedef struct llama llama;

/* Which kernels run the model; both give the same but for the last bits. */
typedef enum llama_form {
    LLAMA_FORM_AUTO,    /* by device */
    LLAMA_FORM_VECTORS, /* a work-item has many rows of a matrix, in vectors: for CPUs */
    LLAMA_FORM_GROUPS   /* a group has 16 rows of a matrix: for GPUs */
} llama_form;

#define LLAMA_NO_GEMM UINT32_MAX
#define LLAMA_MAX_ROWS 1024u

/* Zero is a default for each. */
typedef struct llama_options {
    uint32_t rows;    /* texts at a time, up to LLAMA_MAX_ROWS; 0 = 1 */
    uint32_t context; /* tokens that a row may have, up to what the model allows; 0 = that many */
    llama_form form;
    /* New tokens of a row from which on CLBlast multiplies; 0 = 48, LLAMA_NO_GEMM = never, and so it is where
     * the build has no CLBlast. */
    uint32_t gemm_from;
    const char *cache_dir; /* folder for compiled kernels, NULL = none; borrowed for the call */
} llama_options;

/* Read the model of `file`, which may be closed afterwards, onto a device. Blocks until the weights are
 * there. `queue` is in-order and of that context and device; it and the context are retained. On failure
 * *out is NULL and `error` says why; clsample_last_error() has the compiler's log where the kernels were
 * refused. */
bool llama_open(const gguf *file, cl_context context, cl_device_id device, cl_command_queue queue,
                const llama_options *options, llama **out, model_error *error);
/* NULL is fine. Commands that are enqueued still run to their end. */
void llama_close(llama *l);

uint32_t llama_rows(const llama *l);
/* Logits of a row: ids are below this. */
uint32_t llama_vocab(const llama *l);
/* Tokens that a row may have. */
uint32_t llama_context(const llama *l);
/* Bytes of the device's memory for the weights, and for everything: weights, keys and values, working
 * memory. */
size_t llama_weight_bytes(const llama *l);
size_t llama_device_bytes(const llama *l);
/* "vectors" or "groups", whatever was asked for. */
const char *llama_form_name(const llama *l);

/* One step. All is borrowed for the call, buffers until the commands ended. */
typedef struct llama_step {
    /* int32 [rows, stride]: each row's tokens from its first on. They are read on the device, by the
     * commands of this step: the host need not know them. An id outside the vocabulary counts as 0. */
    cl_mem ids;
    size_t ids_offset; /* bytes, a multiple of 4 */
    uint32_t stride;   /* ids from one row to the next, at least the longest row's length */
    /* [rows]: tokens that a row has now, up to llama_context(), and how many of them, at the end, are new
     * since the row's last step: all in its first step, or for a new text in its place; 0 leaves the row
     * out. Tokens may be given up: what comes before the new ones may be shorter than the row was. */
    const uint32_t *lengths, *fresh;
    /* float32 [rows, llama_vocab()]: those after each row's last token. A row that is left out keeps what is
     * there. NULL = none are wanted. */
    cl_mem logits;
    size_t logits_offset; /* bytes, a multiple of 4 */
    cl_uint n_wait;       /* events to wait for */
    const cl_event *wait_list;
    cl_event *event; /* NULL, or where the last command's event goes, owned by the caller; NULL on failure */
} llama_step;

/* Enqueue a step. Does not block, but for the first long prompt, at which CLBlast compiles its kernels.
 * Where each row has one new token nothing is allocated either, unless CLBlast multiplies with a float32
 * output matrix. A long prompt may be brought in several steps, for the sake of progress. After a failure
 * commands may still run: finish the queue before buffers are freed, and begin the rows anew. */
bool llama_enqueue(llama *l, const llama_step *step, model_error *error);

#endif
