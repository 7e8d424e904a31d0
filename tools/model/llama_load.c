/* SPDX-License-Identifier: Apache-2.0 */
#include "llama_internal.h"

#include <math.h>
#include <stdlib.h>

/* Bytes of `rows` rows on the device, whole tiles. */
static size_t packed_bytes(uint32_t type, uint64_t rows, uint64_t cols)
{
    if (type == LLAMA_PLAIN) return (size_t)(rows * cols * sizeof(float));
    return (size_t)((rows + LLAMA_TILE - 1) / LLAMA_TILE * (cols / LLAMA_BLOCK) * LLAMA_BLOCK_BYTES(type));
}

/* Some tiles from the file, by way of `staging`. The file is read when the command runs: the caller waits for
 * all of them. */
static bool pack_tiles(llama *l, const llama_matrix *m, const gguf_tensor *t, uint32_t first, uint32_t tiles,
                       cl_mem staging, model_error *error)
{
    const size_t row_bytes = t->bytes / m->rows;
    const uint32_t left = m->rows - first * LLAMA_TILE;
    const cl_uint rows = left < tiles * LLAMA_TILE ? left : tiles * LLAMA_TILE;
    const cl_uint blocks = m->cols / LLAMA_BLOCK;
    const unsigned char *from = (const unsigned char *)t->data + (size_t)first * LLAMA_TILE * row_bytes;
    const llama_argument arguments[] = { LLAMA_ARG(staging), LLAMA_ARG(m->type), LLAMA_ARG(blocks),
                                         LLAMA_ARG(rows),    LLAMA_ARG(m->mem),  LLAMA_ARG(first),
                                         LLAMA_ARGS_END };

    const cl_int code =
        clEnqueueWriteBuffer(l->queue, staging, CL_FALSE, 0, rows * row_bytes, from, 0, NULL, NULL);
    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clEnqueueWriteBuffer weights");
    return llama_set(l->kernels.pack, arguments, error) &&
           llama_launch(l, l->kernels.pack, l->vectors ? 1 : blocks, tiles, l->group, error);
}

static bool load_matrix(llama *l, const gguf_tensor *t, bool plain, llama_matrix *m, cl_mem staging,
                        model_error *error)
{
    m->type = plain ? LLAMA_PLAIN : t->type;
    m->cols = (uint32_t)t->dims[0];
    m->rows = (uint32_t)t->dims[1];
    const size_t bytes = packed_bytes(m->type, m->rows, m->cols);
    m->mem = llama_buffer(l, bytes, "weights", error);
    if (!m->mem) return false;
    l->weight_bytes += bytes;
    if (plain) {
        const cl_int code =
            clEnqueueWriteBuffer(l->queue, m->mem, CL_FALSE, 0, bytes, t->data, 0, NULL, NULL);
        return code == CL_SUCCESS || llama_fail_cl(error, code, "clEnqueueWriteBuffer weights");
    }
    const uint32_t tiles = (m->rows + LLAMA_TILE - 1) / LLAMA_TILE;
    const size_t tile_bytes = t->bytes / m->rows * LLAMA_TILE;
    const uint32_t most = tile_bytes > LLAMA_STAGING ? 1 : (uint32_t)(LLAMA_STAGING / tile_bytes);
    for (uint32_t first = 0; first < tiles; first += most) {
        const uint32_t count = tiles - first < most ? tiles - first : most;
        if (!pack_tiles(l, m, t, first, count, staging, error)) return false;
    }
    return true;
}

static bool load_list(llama *l, const gguf_tensor *t, cl_mem *mem, model_error *error)
{
    *mem = llama_buffer(l, t->bytes, "norm weights", error);
    if (!*mem) return false;
    l->weight_bytes += t->bytes;
    const cl_int code = clEnqueueWriteBuffer(l->queue, *mem, CL_FALSE, 0, t->bytes, t->data, 0, NULL, NULL);
    return code == CL_SUCCESS || llama_fail_cl(error, code, "clEnqueueWriteBuffer norm weights");
}

static bool load_layer(llama *l, const llama_tensors_layer *t, llama_layer *layer, cl_mem staging,
                       model_error *error)
{
    return load_list(l, t->attention_norm, &layer->attention_norm, error) &&
           load_matrix(l, t->query, false, &layer->query, staging, error) &&
           load_matrix(l, t->key, false, &layer->key, staging, error) &&
           load_matrix(l, t->value, false, &layer->value, staging, error) &&
           load_matrix(l, t->output, false, &layer->output, staging, error) &&
           load_list(l, t->feed_norm, &layer->feed_norm, error) &&
           load_matrix(l, t->gate, false, &layer->gate, staging, error) &&
           load_matrix(l, t->up, false, &layer->up, staging, error) &&
           load_matrix(l, t->down, false, &layer->down, staging, error);
}

/* A float32 output matrix stays as it is, for CLBlast; so does an embedding that is none, since of that
 * single rows are read. */
static bool load_ends(llama *l, const llama_tensors *t, cl_mem staging, model_error *error)
{
    const bool same = t->head == t->embedding;
    const bool plain_head = t->head->type == GGUF_F32 && l->gemm_from != LLAMA_NO_GEMM;
    const bool plain = t->embedding->type == GGUF_F32 && (!same || plain_head);

    if (!load_matrix(l, t->embedding, plain, &l->embedding, staging, error)) return false;
    if (!same) return load_matrix(l, t->head, plain_head, &l->head, staging, error);
    const cl_int code = clRetainMemObject(l->embedding.mem);
    if (code != CL_SUCCESS) return llama_fail_cl(error, code, "clRetainMemObject");
    l->head = l->embedding;
    return true;
}

/* Cosines and sines of the angles of every position, worked out in double: each value of a head has its
 * pair's cosine, and its pair's sine with the sign that it takes. Values past shape.rope stay as they are. */
static void fill_turns(const llama *l, const llama_tensors *t, float *turns)
{
    const llama_shape *s = &l->shape;
    const float *factors = t->rope_factors ? t->rope_factors->data : NULL;

    for (uint32_t pair = 0; pair < s->head / 2; pair++) {
        const double factor = factors && pair < s->rope / 2 ? (double)factors[pair] : 1.0;
        const double speed =
            pow((double)s->rope_base, -2.0 * pair / s->rope) / (factor * (double)s->rope_divisor);
        for (uint32_t position = 0; position < l->room; position++) {
            const double angle = pair < s->rope / 2 ? position * speed : 0.0;
            float *cosines = turns + (size_t)position * 2 * s->head + 2 * pair;
            float *sines = cosines + s->head;
            cosines[0] = cosines[1] = (float)cos(angle);
            sines[0] = (float)-sin(angle);
            sines[1] = (float)sin(angle);
        }
    }
}

static bool load_turns(llama *l, const llama_tensors *t, model_error *error)
{
    const size_t bytes = (size_t)l->room * 2 * l->shape.head * sizeof(float);
    cl_int code = CL_SUCCESS;

    l->turns = llama_buffer(l, bytes, "angles", error);
    if (!l->turns) return false;
    float *turns = malloc(bytes);
    if (!turns) return model_fail_memory(error);
    fill_turns(l, t, turns);
    code = clEnqueueWriteBuffer(l->queue, l->turns, CL_TRUE, 0, bytes, turns, 0, NULL, NULL);
    free(turns);
    return code == CL_SUCCESS || llama_fail_cl(error, code, "clEnqueueWriteBuffer angles");
}

/* Bytes of the largest tile that a file can have. */
static size_t largest_tile(const llama_shape *s)
{
    const size_t wide = s->ff > s->dim ? s->ff : s->dim;
    const size_t queries = (size_t)s->heads * s->head;

    return LLAMA_TILE * sizeof(float) * (queries > wide ? queries : wide);
}

bool llama_load(llama *l, const llama_tensors *tensors, model_error *error)
{
    const size_t counted = l->device_bytes;
    const size_t tile = largest_tile(&l->shape);
    cl_mem staging = llama_buffer(l, tile > LLAMA_STAGING ? tile : LLAMA_STAGING, "staging", error);
    bool ok = staging != NULL;

    l->device_bytes = counted; /* it is gone soon */
    ok = ok && load_ends(l, tensors, staging, error) && load_list(l, tensors->norm, &l->norm, error);
    for (uint32_t i = 0; i < l->shape.layers && ok; i++)
        ok = load_layer(l, &tensors->layer[i], &l->layer[i], staging, error);
    ok = ok && load_turns(l, tensors, error);
    /* In any case: the file may be gone when this returns. */
    const cl_int code = clFinish(l->queue);
    if (ok && code != CL_SUCCESS) ok = llama_fail_cl(error, code, "clFinish");
    if (staging) clReleaseMemObject(staging);
    return ok;
}
