/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-level BPE with the vocabulary and merges that a GGUF file carries (tokenizer.ggml.model "gpt2").
 *
 * A text is cut into words (pretokenize.h), a word into bytes, and neighbours are merged, the pair of the
 * lowest rank first and of equal ones the leftmost, until no pair is left that the file merges. Method:
 * Sennrich et al., arXiv:1508.07909, on bytes as in GPT-2.
 */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include "gguf.h"

typedef struct tokenizer tokenizer;

#define TOKENIZER_NONE (-1)            /* no token */
#define TOKENIZER_MAX_TEXT (16u << 20) /* bytes of a text; encoding it may take 50 times as much memory */

/* Read the tokenizer of `file`, which may be closed afterwards. On failure *out is NULL and `error` says why.
 * A tokenizer is never changed: threads may share it. */
bool tokenizer_open(const gguf *file, tokenizer **out, model_error *error);
/* NULL is fine. */
void tokenizer_close(tokenizer *t);

/* How many ids there are, from 0. */
int32_t tokenizer_size(const tokenizer *t);
/* The bytes of a token, maybe a part of a character (utf8_stream of unicode.h puts them together); of a
 * control token its name, such as <|im_end|>. Empty for what is no id. The bytes live as long as the
 * tokenizer. */
gguf_string tokenizer_bytes(const tokenizer *t, int32_t id);
/* It marks a place in the text, such as the beginning of a message, and is no text itself. */
bool tokenizer_is_control(const tokenizer *t, int32_t id);
/* A model says with it that its text or its turn is over: the file's end-of-text, end-of-turn or
 * end-of-message token, what stands around gaps in code that are filled, or a control token with one of their
 * usual names. */
bool tokenizer_is_end(const tokenizer *t, int32_t id);
/* The file's tokens for the beginning and the end of a text, or TOKENIZER_NONE. */
int32_t tokenizer_bos(const tokenizer *t);
int32_t tokenizer_eos(const tokenizer *t);

typedef enum tokenizer_flags {
    /* Names of control tokens in the text stand for these tokens; without this flag they are text. Tokens
     * that the file calls user-defined are found either way. */
    TOKENIZER_SPECIAL = 1,
    /* Begin with the beginning-of-text token if the file asks for that. */
    TOKENIZER_START = 2
} tokenizer_flags;

/* Zero at first; freed with tokenizer_ids_free(). */
typedef struct tokenizer_ids {
    int32_t *list;
    size_t count;
    size_t room;
} tokenizer_ids;

void tokenizer_ids_free(tokenizer_ids *ids);

/* Append the ids of text[0..length), which need not be UTF-8. The bytes of the ids together are the text
 * again. Fails if the text is too long, or has a byte that the vocabulary has no token for: some lack a few
 * control characters and what never stands in UTF-8. `ids` is then as before. The time grows as n log n. */
bool tokenizer_encode(const tokenizer *t, const void *text, size_t length, unsigned flags, tokenizer_ids *ids,
                      model_error *error);

#endif
