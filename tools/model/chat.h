/* SPDX-License-Identifier: Apache-2.0 */
/* A chat of a single turn, in the form that a model was trained with. */
#ifndef CHAT_H
#define CHAT_H

#include "tokenizer.h"

/* Append the ids of the turn text[0..length), up to where the answer begins, by the template that the file
 * carries (tokenizer.chat_template). Two are known, ChatML with and without a system message of its own; one
 * that is neither is refused with a sentence, since a turn that looks otherwise than in the training gives
 * bad answers without a word. Names of control tokens in the text are text. */
bool chat_encode(const gguf *file, const tokenizer *t, const char *text, size_t length, tokenizer_ids *ids,
                 model_error *error);

#endif
