/* SPDX-License-Identifier: Apache-2.0 */
/* Writes GGUF files into memory for the tests, also wrong ones: what is put is not checked. Ends the program
 * where memory runs out. */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

/* Types of metadata values. */
enum {
    GW_U8,
    GW_I8,
    GW_U16,
    GW_I16,
    GW_U32,
    GW_I32,
    GW_F32,
    GW_BOOL,
    GW_STRING,
    GW_ARRAY,
    GW_U64,
    GW_I64,
    GW_F64
};

/* Zero at first; `bytes` is freed by the caller. */
typedef struct gguf_writer {
    unsigned char *bytes;
    size_t size;
    size_t room;
} gguf_writer;

void gw_bytes(gguf_writer *w, const void *bytes, size_t size);
void gw_u32(gguf_writer *w, uint32_t value);
void gw_u64(gguf_writer *w, uint64_t value);
void gw_f32(gguf_writer *w, float value);
void gw_f64(gguf_writer *w, double value);
void gw_string(gguf_writer *w, const char *text);

void gw_header(gguf_writer *w, uint32_t version, uint64_t tensors, uint64_t keys);
/* A key up to its value, which follows. */
void gw_key(gguf_writer *w, const char *name, uint32_t type);
/* A key up to the first element of its array. */
void gw_array(gguf_writer *w, const char *name, uint32_t type, uint64_t count);
/* Whole keys. */
void gw_key_u32(gguf_writer *w, const char *name, uint32_t value);
void gw_key_string(gguf_writer *w, const char *name, const char *value);
void gw_key_bool(gguf_writer *w, const char *name, unsigned char value);
/* A tensor's entry; `dims` has n_dims elements. */
void gw_tensor(gguf_writer *w, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
               uint64_t offset);
/* Zeros up to a multiple of `alignment`. */
void gw_align(gguf_writer *w, size_t alignment);
/* A malloc'd copy of the first `size` bytes, none longer, so that a sanitizer sees what reads past its
 * end. */
unsigned char *gw_copy(const gguf_writer *w, size_t size);

#endif
