/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces that a text is cut into before pairs of bytes are merged: no token reaches across a cut.
 *
 * The rules are those that tokenizer.ggml.pre names. As regular expressions, alternatives in order:
 *   gpt-2      's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   smollm     each \p{N} is a word; gpt-2 for each stretch between them, as if it were a text of its own
 *   llama-bpe  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 *              \s*[\r\n]+|\s+(?!\S)|\s+
 */
#ifndef PRETOKENIZE_H
#define PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum pretokenize_rule {
    PRETOKENIZE_GPT2,
    PRETOKENIZE_SMOLLM,
    PRETOKENIZE_LLAMA_BPE
} pretokenize_rule;

typedef struct pretokenizer {
    pretokenize_rule rule;
    const unsigned char *text; /* any bytes: what is not UTF-8 counts as punctuation */
    size_t length;
    size_t at;          /* where the next word begins; 0 at first */
    size_t stretch_end; /* smollm: of the digits or of what lies between them; 0 at first */
} pretokenizer;

/* The next word, one byte at least; false after the last. All of them together are the text. The time for a
 * whole text grows with its length. */
bool pretokenize_next(pretokenizer *p, const unsigned char **word, size_t *length);

#endif
