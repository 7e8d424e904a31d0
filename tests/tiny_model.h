/* SPDX-License-Identifier: Apache-2.0 */
/* Small GGUF files for the tests: a vocabulary of bytes and a few words, and models with random weights. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "gguf_writer.h"

#include <stdbool.h>

/* Ids of the vocabulary: a byte's id is its value, then come these. */
enum {
    TINY_HE = 256,
    TINY_LL,
    TINY_HELL,
    TINY_HELLO,
    TINY_SPACE_W,
    TINY_OR,
    TINY_LD,
    TINY_SPACE_WOR,
    TINY_SPACE_WORLD,
    TINY_SPACES, /* two blanks */
    TINY_WORLD,  /* no merge leads to it: only a tokenizer that takes whole words finds it */
    TINY_START,  /* <|start|>, control, begins a text */
    TINY_END,    /* <|end|>, control, ends a text */
    TINY_END_2,  /* <|end|>> , control: a longer name that begins like another */
    TINY_IM_END, /* <|im_end|>, control */
    TINY_USER,   /* [[x]], user-defined */
    TINY_VOCAB
};

/* The keys of a tokenizer; `pre` is tokenizer.ggml.pre. */
#define TINY_TOKENIZER_KEYS 9u
void tiny_put_tokenizer(gguf_writer *w, const char *pre);
/* A whole file with that tokenizer and no tensors; its bytes are freed by the caller. */
gguf_writer tiny_tokenizer_file(const char *pre);

/* ---- Models ---- */

#define TINY_TYPES 6u
#define TINY_MATRICES 7u /* of a layer */
#define TINY_LAYERS 4u   /* at most */

typedef struct tiny_shape {
    const char *name;
    uint32_t layers, dim, heads, kv_heads, head, ff, vocab, context, rope;
    float base, scaling;        /* scaling 0: no such keys */
    bool old_key;               /* scaling under the key of older files, which have no type */
    bool tied, factors;         /* no output matrix of its own; divisors of the angles */
    uint32_t types[TINY_TYPES]; /* ggml's, of one matrix after the other, over and over */
} tiny_shape;

enum { TINY_QUERY, TINY_KEY, TINY_VALUE, TINY_OUTPUT, TINY_GATE, TINY_UP, TINY_DOWN };

/* A whole file, and the weights that it stands for, as exactly as they are. */
typedef struct tiny_model {
    const tiny_shape *shape;
    gguf_writer file;
    double *embedding, *head, *norm,
        *factors; /* head is the embedding where they are one; factors may be NULL */
    double *attention_norm[TINY_LAYERS], *feed_norm[TINY_LAYERS];
    double *matrix[TINY_LAYERS][TINY_MATRICES]; /* [rows, cols] */
} tiny_model;

/* With a tokenizer too. Everything is freed with tiny_model_free(). */
tiny_model tiny_model_make(const tiny_shape *shape, uint64_t seed);
void tiny_model_free(tiny_model *m);
/* The logits after the last of `n` tokens, in double, by the textbook. */
void tiny_model_logits(const tiny_model *m, const int32_t *tokens, uint32_t n, double *logits);

#endif
