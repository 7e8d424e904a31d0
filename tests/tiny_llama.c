/* SPDX-License-Identifier: Apache-2.0 */
/* Models with random weights of every type, and what they give, in double and by the textbook: no cache,
 * no blocks, no operands. */
#include "common.h"
#include "tiny_model.h"

#include "model/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Also for programs that are no tests. */
static void *room_for(size_t bytes)
{
    void *p = malloc(bytes);

    if (!p) abort();
    return p;
}

/* ---- Weights ---- */

typedef struct builder {
    tiny_model *m;
    test_rng rng;
    gguf_writer names, data; /* tensors' entries, and their data */
    uint64_t tensors, matrices;
} builder;

static void put_u16(gguf_writer *w, uint16_t bits)
{
    const unsigned char bytes[2] = { (unsigned char)(bits & 0xFF), (unsigned char)(bits >> 8) };

    gw_bytes(w, bytes, sizeof bytes);
}

/* A half near x, and what it stands for. */
static double put_half(gguf_writer *w, double x)
{
    const uint16_t bits = half_from_float((float)x);

    put_u16(w, bits);
    return (double)half_to_float(bits);
}

/* 32 weights of about `size`. One block in eight has a scale so small that it is denormal as a half, and
 * scales of either sign come up. */
static void put_block(builder *b, uint32_t type, double size, double *out)
{
    gguf_writer *w = &b->data;
    const bool small = rng_below(&b->rng, 8) == 0;
    const double sign = rng_below(&b->rng, 2) ? 1.0 : -1.0;
    const double steps = type == GGUF_Q8_0 ? 127.0 : 8.0;
    const double scale = put_half(w, sign * (small ? 3e-5 : 1.7 * size / steps));
    const double least = type == GGUF_Q4_1 ? put_half(w, -sign * 1.7 * size) : -8.0 * scale;
    unsigned char bytes[32];

    for (uint32_t i = 0; i < (type == GGUF_Q8_0 ? 32u : 16u); i++) {
        bytes[i] = (unsigned char)rng_below(&b->rng, 256);
        if (type == GGUF_Q8_0) {
            out[i] = scale * (double)(signed char)bytes[i];
        } else {
            out[i] = scale * (bytes[i] & 15) + least;
            out[i + 16] = scale * (bytes[i] >> 4) + least;
        }
    }
    gw_bytes(w, bytes, type == GGUF_Q8_0 ? 32 : 16);
}

static void put_floats(builder *b, uint32_t type, double size, double *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float x = (float)(size * rng_normal(&b->rng));
        if (type == GGUF_F16) {
            out[i] = put_half(&b->data, (double)x);
        } else if (type == GGUF_BF16) {
            put_u16(&b->data, bf16_from_float(x));
            out[i] = (double)bf16_to_float(bf16_from_float(x));
        } else {
            gw_f32(&b->data, x);
            out[i] = (double)x;
        }
    }
}

static void put_entry(builder *b, const char *name, uint32_t cols, uint32_t rows, uint32_t type)
{
    gw_align(&b->data, 32);
    gw_tensor(&b->names, name, rows > 0 ? 2 : 1, (uint64_t[]){ cols, rows }, type, b->data.size);
    b->tensors++;
}

/* A matrix of the next type, scaled so that products are of about the size of what they are made from. */
static double *put_matrix(builder *b, const char *name, uint32_t rows, uint32_t cols)
{
    const uint32_t type = b->m->shape->types[b->matrices++ % TINY_TYPES];
    const double size = 1.0 / sqrt((double)cols);
    double *weights = room_for(sizeof *weights * rows * cols);

    put_entry(b, name, cols, rows, type);
    if (gguf_block_elements(type) == 1) {
        put_floats(b, type, size, weights, (size_t)rows * cols);
    } else {
        for (size_t i = 0; i < (size_t)rows * cols; i += 32)
            put_block(b, type, size, weights + i);
    }
    return weights;
}

/* Positive numbers around 1. */
static double *put_list(builder *b, const char *name, uint32_t count)
{
    double *list = room_for(sizeof *list * count);

    put_entry(b, name, count, 0, GGUF_F32);
    for (uint32_t i = 0; i < count; i++) {
        const float x = (float)(0.5 + rng_unit(&b->rng));
        gw_f32(&b->data, x);
        list[i] = (double)x;
    }
    return list;
}

static void put_layer(builder *b, uint32_t layer)
{
    static const char *const names[TINY_MATRICES] = { "attn_q",   "attn_k", "attn_v",  "attn_output",
                                                      "ffn_gate", "ffn_up", "ffn_down" };
    const tiny_shape *s = b->m->shape;
    const uint32_t queries = s->heads * s->head, shared = s->kv_heads * s->head;
    const uint32_t rows[TINY_MATRICES] = { queries, shared, shared, s->dim, s->ff, s->ff, s->dim };
    const uint32_t cols[TINY_MATRICES] = { s->dim, s->dim, s->dim, queries, s->dim, s->dim, s->ff };
    char name[64];

    snprintf(name, sizeof name, "blk.%u.attn_norm.weight", layer);
    b->m->attention_norm[layer] = put_list(b, name, s->dim);
    snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", layer);
    b->m->feed_norm[layer] = put_list(b, name, s->dim);
    for (uint32_t i = 0; i < TINY_MATRICES; i++) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", layer, names[i]);
        b->m->matrix[layer][i] = put_matrix(b, name, rows[i], cols[i]);
    }
}

static bool has_type(const tiny_shape *s)
{
    return s->scaling > 0 && !s->old_key;
}

static void put_keys(gguf_writer *w, const tiny_shape *s)
{
    gw_key_string(w, "general.architecture", "llama");
    gw_key_u32(w, "llama.block_count", s->layers);
    gw_key_u32(w, "llama.embedding_length", s->dim);
    gw_key_u32(w, "llama.feed_forward_length", s->ff);
    gw_key_u32(w, "llama.context_length", s->context);
    gw_key_u32(w, "llama.attention.head_count", s->heads);
    gw_key_u32(w, "llama.attention.head_count_kv", s->kv_heads);
    gw_key_u32(w, "llama.attention.key_length", s->head);
    gw_key_u32(w, "llama.attention.value_length", s->head);
    gw_key_u32(w, "llama.rope.dimension_count", s->rope);
    gw_key(w, "llama.rope.freq_base", GW_F32), gw_f32(w, s->base);
    gw_key(w, "llama.attention.layer_norm_rms_epsilon", GW_F32), gw_f32(w, 1e-5f);
    if (s->scaling > 0) {
        const char *factor = s->old_key ? "llama.rope.scale_linear" : "llama.rope.scaling.factor";
        if (has_type(s)) gw_key_string(w, "llama.rope.scaling.type", "linear");
        gw_key(w, factor, GW_F32), gw_f32(w, s->scaling);
    }
}

static uint64_t count_keys(const tiny_shape *s)
{
    return TINY_TOKENIZER_KEYS + 12 + (s->scaling > 0) + has_type(s);
}

tiny_model tiny_model_make(const tiny_shape *s, uint64_t seed)
{
    tiny_model m = { .shape = s };
    builder b = { .m = &m, .rng = { seed } };

    m.embedding = put_matrix(&b, "token_embd.weight", s->vocab, s->dim);
    m.norm = put_list(&b, "output_norm.weight", s->dim);
    m.head = s->tied ? m.embedding : put_matrix(&b, "output.weight", s->vocab, s->dim);
    if (s->factors) m.factors = put_list(&b, "rope_freqs.weight", s->rope / 2);
    for (uint32_t i = 0; i < s->layers; i++)
        put_layer(&b, i);
    gw_header(&m.file, 3, b.tensors, count_keys(s));
    tiny_put_tokenizer(&m.file, "smollm");
    put_keys(&m.file, s);
    gw_bytes(&m.file, b.names.bytes, b.names.size);
    gw_align(&m.file, 32);
    gw_bytes(&m.file, b.data.bytes, b.data.size);
    free(b.names.bytes);
    free(b.data.bytes);
    return m;
}

void tiny_model_free(tiny_model *m)
{
    if (m->head != m->embedding) free(m->head);
    free(m->embedding);
    free(m->norm);
    free(m->factors);
    for (uint32_t l = 0; l < m->shape->layers; l++) {
        free(m->attention_norm[l]);
        free(m->feed_norm[l]);
        for (uint32_t i = 0; i < TINY_MATRICES; i++)
            free(m->matrix[l][i]);
    }
    free(m->file.bytes);
    *m = (tiny_model){ 0 };
}

/* ---- The textbook ---- */

static void multiply(const double *matrix, uint32_t rows, uint32_t cols, const double *x, double *y)
{
    for (uint32_t r = 0; r < rows; r++) {
        y[r] = 0;
        for (uint32_t c = 0; c < cols; c++)
            y[r] += matrix[(size_t)r * cols + c] * x[c];
    }
}

static void rms_norm(const double *x, const double *weights, uint32_t n, double *y)
{
    double squares = 0;

    for (uint32_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    for (uint32_t i = 0; i < n; i++)
        y[i] = x[i] / sqrt(squares / n + (double)1e-5f) * weights[i];
}

/* Su et al., arXiv:2104.09864; pairs are neighbours, as GGUF files of this architecture have them. */
static void rotate(const tiny_model *m, double *heads, uint32_t count, uint32_t position)
{
    const tiny_shape *s = m->shape;

    for (uint32_t h = 0; h < count; h++) {
        for (uint32_t i = 0; i < s->rope / 2; i++) {
            double *pair = heads + h * s->head + 2 * i;
            const double x = pair[0], y = pair[1];
            double angle = position * pow((double)s->base, -2.0 * i / s->rope);
            if (m->factors) angle /= m->factors[i];
            if (s->scaling > 0) angle /= (double)s->scaling;
            pair[0] = x * cos(angle) - y * sin(angle);
            pair[1] = x * sin(angle) + y * cos(angle);
        }
    }
}

/* One head of one token over the first `n` keys and values, which are `stride` apart. */
static void attend(const double *query, const double *keys, const double *values, uint32_t n, size_t stride,
                   uint32_t head, double *out)
{
    double *weights = room_for(n * sizeof *weights);
    double largest = -INFINITY, sum = 0;

    for (uint32_t p = 0; p < n; p++) {
        weights[p] = 0;
        for (uint32_t i = 0; i < head; i++)
            weights[p] += query[i] * keys[p * stride + i] / sqrt((double)head);
        largest = fmax(largest, weights[p]);
    }
    for (uint32_t p = 0; p < n; p++) {
        weights[p] = exp(weights[p] - largest);
        sum += weights[p];
    }
    for (uint32_t i = 0; i < head; i++) {
        out[i] = 0;
        for (uint32_t p = 0; p < n; p++)
            out[i] += weights[p] / sum * values[p * stride + i];
    }
    free(weights);
}

/* x [n, dim] through the attention of a layer. */
static void attention(const tiny_model *m, uint32_t layer, double *x, uint32_t n)
{
    const tiny_shape *s = m->shape;
    const uint32_t queries = s->heads * s->head, shared = s->kv_heads * s->head;
    double *q = room_for(n * queries * sizeof *q), *k = room_for(n * shared * sizeof *k);
    double *v = room_for(n * shared * sizeof *v), *all = room_for(queries * sizeof *all);
    double *y = room_for(s->dim * sizeof *y);

    for (uint32_t t = 0; t < n; t++) {
        rms_norm(x + t * s->dim, m->attention_norm[layer], s->dim, y);
        multiply(m->matrix[layer][TINY_QUERY], queries, s->dim, y, q + t * queries);
        multiply(m->matrix[layer][TINY_KEY], shared, s->dim, y, k + t * shared);
        multiply(m->matrix[layer][TINY_VALUE], shared, s->dim, y, v + t * shared);
        rotate(m, q + t * queries, s->heads, t);
        rotate(m, k + t * shared, s->kv_heads, t);
    }
    for (uint32_t t = 0; t < n; t++) {
        for (uint32_t h = 0; h < s->heads; h++) {
            const size_t at = h / (s->heads / s->kv_heads) * s->head;
            attend(q + t * queries + h * s->head, k + at, v + at, t + 1, shared, s->head, all + h * s->head);
        }
        multiply(m->matrix[layer][TINY_OUTPUT], s->dim, queries, all, y);
        for (uint32_t i = 0; i < s->dim; i++)
            x[t * s->dim + i] += y[i];
    }
    free(q), free(k), free(v), free(all), free(y);
}

static void feed_forward(const tiny_model *m, uint32_t layer, double *x)
{
    const tiny_shape *s = m->shape;
    double *y = room_for(s->dim * sizeof *y);
    double *gate = room_for(s->ff * sizeof *gate), *up = room_for(s->ff * sizeof *up);

    rms_norm(x, m->feed_norm[layer], s->dim, y);
    multiply(m->matrix[layer][TINY_GATE], s->ff, s->dim, y, gate);
    multiply(m->matrix[layer][TINY_UP], s->ff, s->dim, y, up);
    for (uint32_t i = 0; i < s->ff; i++)
        gate[i] *= up[i] / (1 + exp(-gate[i]));
    multiply(m->matrix[layer][TINY_DOWN], s->dim, s->ff, gate, y);
    for (uint32_t i = 0; i < s->dim; i++)
        x[i] += y[i];
    free(y), free(gate), free(up);
}

void tiny_model_logits(const tiny_model *m, const int32_t *tokens, uint32_t n, double *logits)
{
    const tiny_shape *s = m->shape;
    double *x = room_for(n * s->dim * sizeof *x), *y = room_for(s->dim * sizeof *y);

    for (uint32_t t = 0; t < n; t++)
        memcpy(x + t * s->dim, m->embedding + (size_t)tokens[t] * s->dim, s->dim * sizeof *x);
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        attention(m, layer, x, n);
        for (uint32_t t = 0; t < n; t++)
            feed_forward(m, layer, x + t * s->dim);
    }
    rms_norm(x + (n - 1) * s->dim, m->norm, s->dim, y);
    multiply(m->head, s->vocab, s->dim, y, logits);
    free(x), free(y);
}
