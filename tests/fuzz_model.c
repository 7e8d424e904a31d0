/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a GGUF file, as its tokenizer, and as a text for that tokenizer. */
#include "fuzz.h"

#include "model/tokenizer.h"
#include "model/unicode.h"

#include "tiny_model.h"

#include <stdlib.h>
#include <string.h>

#define TEXT 512u /* bytes at the end of the input that are also the text */

static void require(bool condition)
{
    if (!condition) abort();
}

/* Whatever an open file offers can be read. Returns a sum, so that no compiler drops it. */
static unsigned touch(const gguf *file)
{
    unsigned sum = 0;

    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        const unsigned char *bytes = t->data;
        sum += t->bytes > 0 ? bytes[0] + bytes[t->bytes - 1] : 0;
    }
    return sum;
}

/* The bytes of the ids are the text. */
static void check_ids(const tokenizer *t, const tokenizer_ids *ids, const unsigned char *text, size_t length)
{
    utf8_stream stream = { 0 };
    size_t at = 0;

    for (size_t i = 0; i < ids->count; i++) {
        const gguf_string piece = tokenizer_bytes(t, ids->list[i]);
        require(piece.length <= length - at && memcmp(text + at, piece.text, piece.length) == 0);
        at += piece.length;
        char *out = malloc(UTF8_ROOM(piece.length));
        require(out && utf8_push(&stream, piece.text, piece.length, out) <= UTF8_ROOM(piece.length));
        free(out);
    }
    require(at == length);
}

static void encode(const tokenizer *t, const unsigned char *text, size_t length)
{
    for (unsigned flags = 0; flags <= TOKENIZER_SPECIAL; flags++) {
        model_error error = { .message = "" };
        tokenizer_ids ids = { 0 };
        if (tokenizer_encode(t, text, length, flags, &ids, &error)) {
            check_ids(t, &ids, text, length);
        } else {
            require(error.message[0] != 0);
        }
        tokenizer_ids_free(&ids);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_error error = { .message = "" };
    gguf *file = NULL;
    tokenizer *t = NULL;
    const size_t length = size < TEXT ? size : TEXT;
    static volatile unsigned sum;

    /* A copy of just this size: aligned, and a sanitizer sees what is read past its end. */
    unsigned char *bytes = malloc(size > 0 ? size : 1);
    require(bytes != NULL);
    if (size > 0) memcpy(bytes, data, size);
    if (gguf_open_memory(bytes, size, "fuzz.gguf", &file, &error)) {
        sum += touch(file);
        if (tokenizer_open(file, &t, &error)) encode(t, bytes + size - length, length);
    }
    require(t || error.message[0] != 0);
    tokenizer_close(t);
    gguf_close(file);
    free(bytes);
    return 0;
}

unsigned char *fuzz_seed(unsigned i, size_t *size)
{
    static const char *const rules[] = { "gpt-2", "smollm", "llama-bpe" };
    static const char text[] = "hello world, don't  \n <|end|>[[x]] 2026";

    if (i >= sizeof rules / sizeof *rules) return NULL;
    gguf_writer w = tiny_tokenizer_file(rules[i]);
    gw_bytes(&w, text, sizeof text - 1);
    *size = w.size;
    return w.bytes;
}
