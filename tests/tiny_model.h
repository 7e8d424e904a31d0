/* SPDX-License-Identifier: Apache-2.0 */
/* Small GGUF files for the tests: a vocabulary of bytes and a few words. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "gguf_writer.h"

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
#define TINY_TOKENIZER_KEYS 8u
void tiny_put_tokenizer(gguf_writer *w, const char *pre);
/* A whole file with that tokenizer and no tensors; its bytes are freed by the caller. */
gguf_writer tiny_tokenizer_file(const char *pre);

#endif
