/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a GGUF file, as its tokenizer, as a text for that tokenizer, as a chat template,
 * and as a model. */
#include "fuzz.h"

#include "model/chat.h"
#include "model/llama_internal.h"
#include "model/tokenizer.h"
#include "model/unicode.h"

#include "common.h"
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

static void encode_chat(const gguf *file, const tokenizer *t, const unsigned char *text, size_t length)
{
    model_error error = { .message = "" };
    tokenizer_ids ids = { 0 };

    require(chat_encode(file, t, (const char *)text, length, &ids, &error) ? ids.count > 2
                                                                           : error.message[0] != 0);
    tokenizer_ids_free(&ids);
}

/* Every matrix that is found has the size that the shape asks for. */
static void read_model(const gguf *file)
{
    static llama_tensors tensors;
    model_error error = { .message = "" };
    llama_shape shape;

    if (!llama_read_shape(file, &shape, &error) || !llama_find_tensors(file, &shape, &tensors, &error)) {
        require(error.message[0] != 0);
        return;
    }
    require(shape.heads % shape.kv_heads == 0 && tensors.head->dims[1] == shape.vocab);
    for (uint32_t i = 0; i < shape.layers; i++)
        require(tensors.layer[i].down->dims[0] == shape.ff && tensors.layer[i].down->dims[1] == shape.dim);
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
        read_model(file);
        if (tokenizer_open(file, &t, &error)) {
            encode(t, bytes + size - length, length);
            encode_chat(file, t, bytes + size - length, length);
        }
    }
    require(t || error.message[0] != 0);
    tokenizer_close(t);
    gguf_close(file);
    free(bytes);
    return 0;
}

/* Three vocabularies with a text, and two models. */
unsigned char *fuzz_seed(unsigned i, size_t *size)
{
    static const char *const rules[] = { "gpt-2", "smollm", "llama-bpe" };
    static const char text[] = "hello world, don't  \n <|end|>[[x]] 2026";
    static const tiny_shape shapes[] = {
        { .layers = 1,
          .dim = 32,
          .heads = 2,
          .kv_heads = 1,
          .head = 16,
          .ff = 32,
          .vocab = 40,
          .context = 64,
          .rope = 16,
          .base = 10000.0f,
          .types = { 2, 3, 8, 1, 30, 0 } },
        { .layers = 2,
          .dim = 32,
          .heads = 2,
          .kv_heads = 2,
          .head = 16,
          .ff = 32,
          .vocab = 33,
          .context = 64,
          .rope = 8,
          .base = 500.0f,
          .scaling = 2.0f,
          .tied = true,
          .factors = true,
          .types = { 8, 8, 8, 8, 8, 8 } },
    };
    gguf_writer w = { 0 };

    if (i >= COUNT(rules) + COUNT(shapes)) return NULL;
    if (i < COUNT(rules)) {
        w = tiny_tokenizer_file(rules[i]);
        gw_bytes(&w, text, sizeof text - 1);
    } else {
        tiny_model m = tiny_model_make(&shapes[i - COUNT(rules)], i);
        gw_bytes(&w, m.file.bytes, m.file.size);
        tiny_model_free(&m);
    }
    *size = w.size;
    return w.bytes;
}
