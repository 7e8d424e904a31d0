/* SPDX-License-Identifier: Apache-2.0 */
#include "gguf_writer.h"

#include <stdlib.h>
#include <string.h>

void gw_bytes(gguf_writer *w, const void *bytes, size_t size)
{
    if (size > w->room - w->size) {
        w->room = 2 * (w->room + size);
        w->bytes = realloc(w->bytes, w->room);
        if (!w->bytes) abort();
    }
    memcpy(w->bytes + w->size, bytes, size);
    w->size += size;
}

static void put_number(gguf_writer *w, uint64_t value, unsigned count)
{
    unsigned char bytes[8];

    for (unsigned i = 0; i < count; i++)
        bytes[i] = (unsigned char)(value >> (8 * i) & 0xFF);
    gw_bytes(w, bytes, count);
}

void gw_u32(gguf_writer *w, uint32_t value)
{
    put_number(w, value, 4);
}

void gw_u64(gguf_writer *w, uint64_t value)
{
    put_number(w, value, 8);
}

void gw_f32(gguf_writer *w, float value)
{
    uint32_t bits = 0;

    memcpy(&bits, &value, sizeof bits);
    put_number(w, bits, 4);
}

void gw_f64(gguf_writer *w, double value)
{
    uint64_t bits = 0;

    memcpy(&bits, &value, sizeof bits);
    put_number(w, bits, 8);
}

void gw_string(gguf_writer *w, const char *text)
{
    gw_u64(w, strlen(text));
    gw_bytes(w, text, strlen(text));
}

void gw_header(gguf_writer *w, uint32_t version, uint64_t tensors, uint64_t keys)
{
    gw_bytes(w, "GGUF", 4);
    gw_u32(w, version);
    gw_u64(w, tensors);
    gw_u64(w, keys);
}

void gw_key(gguf_writer *w, const char *name, uint32_t type)
{
    gw_string(w, name);
    gw_u32(w, type);
}

void gw_array(gguf_writer *w, const char *name, uint32_t type, uint64_t count)
{
    gw_key(w, name, GW_ARRAY);
    gw_u32(w, type);
    gw_u64(w, count);
}

void gw_key_u32(gguf_writer *w, const char *name, uint32_t value)
{
    gw_key(w, name, GW_U32);
    gw_u32(w, value);
}

void gw_key_string(gguf_writer *w, const char *name, const char *value)
{
    gw_key(w, name, GW_STRING);
    gw_string(w, value);
}

void gw_key_bool(gguf_writer *w, const char *name, unsigned char value)
{
    gw_key(w, name, GW_BOOL);
    gw_bytes(w, &value, 1);
}

void gw_tensor(gguf_writer *w, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
               uint64_t offset)
{
    gw_string(w, name);
    gw_u32(w, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        gw_u64(w, dims[i]);
    gw_u32(w, type);
    gw_u64(w, offset);
}

void gw_align(gguf_writer *w, size_t alignment)
{
    while (w->size % alignment != 0)
        gw_bytes(w, "", 1);
}

unsigned char *gw_copy(const gguf_writer *w, size_t size)
{
    unsigned char *copy = malloc(size > 0 ? size : 1);

    if (!copy) abort();
    if (size > 0) memcpy(copy, w->bytes, size);
    return copy;
}
