/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the model share. Layers, top to bottom; each calls only those below it:
 *   llama.c         open and close
 *   llama_step.c    a step's commands
 *   llama_load.c    weights brought to the device
 *   llama_gemm.c    products of matrices, through CLBlast
 *   llama_device.c  kernels compiled and launched, buffers
 *   llama_shape.c   what the file says about the model */
#ifndef LLAMA_INTERNAL_H
#define LLAMA_INTERNAL_H

#include "llama.h"
#include "llama_layout.h"

#define LLAMA_MAX_LAYERS 512u

/* ---- llama_shape.c ---- */

typedef struct llama_shape {
    uint32_t layers;
    uint32_t dim;      /* values of a token between layers, a multiple of 32 */
    uint32_t heads;    /* of queries */
    uint32_t kv_heads; /* of keys and of values; divides heads */
    uint32_t head;     /* values of a head, a multiple of 16 */
    uint32_t ff;       /* values inside the feed-forward part, a multiple of 32 */
    uint32_t vocab;
    uint32_t context;   /* tokens that it was made for */
    uint32_t rope;      /* values of a head that are turned; even */
    float rope_base;    /* the angles' base */
    float rope_divisor; /* of positions; 1 unless the file asks for linear scaling */
    float epsilon;      /* of the norms */
} llama_shape;

/* A layer's tensors, checked: types are supported and sizes fit the shape. */
typedef struct llama_tensors_layer {
    const gguf_tensor *attention_norm, *query, *key, *value, *output, *feed_norm, *gate, *up, *down;
} llama_tensors_layer;

typedef struct llama_tensors {
    const gguf_tensor *embedding, *norm, *head; /* head is the embedding where the file has none */
    const gguf_tensor *rope_factors;            /* NULL, or divisors of the angles, a pair each */
    llama_tensors_layer layer[LLAMA_MAX_LAYERS];
} llama_tensors;

/* Both check everything that they give. */
bool llama_read_shape(const gguf *file, llama_shape *shape, model_error *error);
/* shape->vocab is set from the embedding. A tensor that no part of the model is fails. */
bool llama_find_tensors(const gguf *file, llama_shape *shape, llama_tensors *tensors, model_error *error);

/* ---- The model on the device ---- */

typedef struct llama_matrix {
    cl_mem mem;
    cl_uint type; /* LLAMA_Q4_1, ... */
    uint32_t rows, cols;
} llama_matrix;

typedef struct llama_layer {
    llama_matrix query, key, value, output, gate, up, down;
    cl_mem attention_norm, feed_norm;
    cl_mem keys, values;                      /* [rows, kv_heads, context * head] each */
    cl_kernel ask, attend, join, feed, leave; /* a decoding step's, with their arguments set */
} llama_layer;

/* Kernels that are not a layer's own; arguments are set with each call. */
typedef struct llama_kernels {
    cl_kernel begin_list, begin_range, normalize, store, gate, unpack, scale, head, pack;
    cl_kernel attend_prompt; /* vectors alone */
} llama_kernels;

/* Work that is under way, for `columns` tokens at a time. */
typedef struct llama_work {
    cl_mem table;    /* LLAMA_TABLE(columns) uint32 */
    cl_mem x;        /* [columns, dim]: tokens between layers */
    cl_mem normed;   /* operand of dim values */
    cl_mem queries;  /* [columns, heads * head] */
    cl_mem attended; /* operand of heads * head values */
    cl_mem fed;      /* operand of ff values */
    cl_mem scores;   /* groups: [columns, heads, context]; vectors: a byte */
    cl_mem raw;      /* products of a prompt: [columns, the widest] */
    cl_mem
        weights; /* a part of a matrix as floats, LLAMA_UNPACKED of them at most unless one tile has more */
} llama_work;

#define LLAMA_SHARES 4u           /* of a matrix, for each compute unit: a slow one gets fewer of them */
#define LLAMA_LIST_MAX 32u        /* columns of a batch for our own kernels */
#define LLAMA_CHUNK 128u          /* columns of a prompt at a time, for CLBlast */
#define LLAMA_UNPACKED (1u << 21) /* floats */
#define LLAMA_STAGING ((size_t)4 << 20) /* bytes of the file on their way at a time */

struct llama {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
    llama_shape shape;
    uint32_t rows;
    uint32_t length; /* tokens of a row */
    uint32_t room;   /* the same, rounded up to whole tiles */
    bool vectors;
    uint32_t group;     /* work-items: of the kernels in llama_base.cl, and of all with vectors */
    uint32_t slices;    /* groups: of a tile */
    uint32_t pass;      /* columns that a pass over a matrix takes */
    uint32_t units;     /* compute units */
    uint32_t gemm_from; /* LLAMA_NO_GEMM = never */
    uint32_t columns;   /* of the work */
    size_t weight_bytes, device_bytes;
    cl_program program;
    llama_kernels kernels;
    llama_matrix embedding, head; /* the same buffer where they are one, each with a reference */
    cl_mem norm;                  /* the last one's weights */
    cl_mem turns;                 /* [length, 2, head]: cosines and sines, for llama_base.cl's turn() */
    llama_layer *layer;           /* [shape.layers] */
    llama_work work;
    uint32_t *known; /* [rows]: tokens whose keys and values are there */
};

/* ---- llama_device.c ---- */

/* A failed OpenCL call: always false. `call` is like "clCreateBuffer weights". */
bool llama_fail_cl(model_error *error, cl_int code, const char *call);
/* A buffer of the device, counted. NULL on failure, which is noted. */
cl_mem llama_buffer(llama *l, size_t bytes, const char *what, model_error *error);
/* Compile the kernels for the model's shape and types of weights. */
bool llama_build(llama *l, const llama_tensors *tensors, const char *cache_dir, model_error *error);
/* How many of a matrix's tiles a work-item takes, with vectors. */
uint32_t llama_share(const llama *l, uint32_t tiles);

/* Set a kernel's arguments, from its first on; size 0 ends them. */
typedef struct llama_argument {
    size_t size;
    const void *value;
} llama_argument;
#define LLAMA_ARG(lvalue)         \
    {                             \
        sizeof(lvalue), &(lvalue) \
    }
#define LLAMA_ARGS_END \
    {                  \
        0, NULL        \
    }
bool llama_set(cl_kernel kernel, const llama_argument *arguments, model_error *error);
/* Enqueue a kernel for `items` work-items, rounded up to whole groups of `group`, times `columns`. */
bool llama_launch(llama *l, cl_kernel kernel, size_t items, size_t columns, size_t group, model_error *error);

/* ---- llama_load.c ---- */

/* Bring the weights to the device, and wait for them. */
bool llama_load(llama *l, const llama_tensors *tensors, model_error *error);

/* ---- llama_gemm.c ---- */

/* Is CLBlast part of this build? */
bool llama_gemm_there(void);
/* Choose CLBlast's parameters for the device, where its own database has none that are any good. */
bool llama_gemm_tune(const llama *l, model_error *error);
/* out[m, n] (+)= a[m, k] b[k, n], row-major, rows a_stride and out_stride floats apart. Where it does not add
 * it does not matter what lies in `out`. */
typedef struct llama_gemm {
    cl_mem a, b, out;
    size_t m, n, k;
    size_t a_stride, out_stride, out_offset; /* floats */
    bool add;                                /* to what is there */
} llama_gemm;
bool llama_gemm_enqueue(const llama *l, const llama_gemm *g, model_error *error);
/* y = a[rows, cols] x, all plain floats, from these offsets on, whatever lies in y. */
typedef struct llama_gemv {
    cl_mem a, x, y;
    size_t rows, cols, x_offset, y_offset; /* floats */
} llama_gemv;
bool llama_gemv_enqueue(const llama *l, const llama_gemv *g, model_error *error);

#endif
