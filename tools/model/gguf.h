/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of GGUF files, versions 2 and 3, little-endian: typed metadata and tensors by name.
 *
 * The file is mapped read-only and checked as a whole when it is opened: every count, length, type and
 * offset. What the calls give afterwards points into the mapping and lives until gguf_close(). An open file
 * may be read from several threads. It must not be shortened meanwhile: a mapping cannot survive that.
 *
 * Format: docs/gguf.md of the ggml project. Stricter here: no arrays in arrays, names of keys and of tensors
 * differ, tensors have 1 to 4 dimensions none of which is 0.
 */
#ifndef GGUF_H
#define GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MODEL_FORMAT(string, first) __attribute__((format(printf, string, first)))
#else
#define MODEL_FORMAT(string, first)
#endif

/* ---- Failures ---- */

/* A sentence that names the file, the place in it, the value, and what is allowed. Printable ASCII, but for
 * the path. */
typedef struct model_error {
    bool out_of_memory;
    char message[1024];
} model_error;

/* Note a failure; always false, so that a check can end in `return model_fail(...)`. */
MODEL_FORMAT(2, 3) bool model_fail(model_error *error, const char *format, ...);
bool model_fail_memory(model_error *error);

/* ---- Files ---- */

typedef struct gguf gguf;

/* Bytes of the file, not ended by a 0 and not checked to be UTF-8. */
typedef struct gguf_string {
    const char *text;
    size_t length;
} gguf_string;

/* Open and check `path`. On failure *out is NULL and `error` says why. */
bool gguf_open(const char *path, gguf **out, model_error *error);
/* The same for a file in memory, which is borrowed until gguf_close(). `bytes` is aligned as malloc() does
 * it; `name` stands for the path in messages and is copied. */
bool gguf_open_memory(const void *bytes, size_t size, const char *name, gguf **out, model_error *error);
/* NULL is fine. */
void gguf_close(gguf *file);
/* As given to gguf_open(). */
const char *gguf_path(const gguf *file);

/* Bytes that gguf_quote() may need. */
#define GGUF_QUOTED 80
/* `string` for a message: cut to what fits, anything but printable ASCII as question marks. Returns `out`. */
const char *gguf_quote(gguf_string string, char out[GGUF_QUOTED]);
bool gguf_string_is(gguf_string string, const char *text);

/* ---- Metadata: false if the key is missing, of another type or out of range; then *out is untouched ---- */

bool gguf_has(const gguf *file, const char *key);
/* Integers of every width and sign are taken where the value fits: writers differ in what they choose. */
bool gguf_get_u32(const gguf *file, const char *key, uint32_t *out, model_error *error);
bool gguf_get_u64(const gguf *file, const char *key, uint64_t *out, model_error *error);
/* float32, or float64 rounded to it; NaN and infinities are given as they are. */
bool gguf_get_f32(const gguf *file, const char *key, float *out, model_error *error);
bool gguf_get_bool(const gguf *file, const char *key, bool *out, model_error *error);
bool gguf_get_string(const gguf *file, const char *key, gguf_string *out, model_error *error);

typedef struct gguf_array {
    uint64_t count;
    uint32_t type; /* of the elements, as in the file */
    const unsigned char *bytes;
} gguf_array;

/* An array of strings, for gguf_next_string(). */
bool gguf_get_strings(const gguf *file, const char *key, gguf_array *out, model_error *error);
/* Take the first string off the array; false when it is empty. */
bool gguf_next_string(gguf_array *array, gguf_string *out);
/* An array of integers, floats or bools, for gguf_array_i64() and gguf_array_f64(). */
bool gguf_get_numbers(const gguf *file, const char *key, gguf_array *out, model_error *error);
/* Element `i`, below count. As an integer: floats lose their fraction and stay within int64_t, NaN is 0, and
 * a uint64 above INT64_MAX is INT64_MAX. */
int64_t gguf_array_i64(const gguf_array *array, uint64_t i);
double gguf_array_f64(const gguf_array *array, uint64_t i);

/* All keys, in the order of their names. */
size_t gguf_key_count(const gguf *file);
gguf_string gguf_key_name(const gguf *file, size_t i);
/* A key's value as a number, whatever its type: a bool is 0 or 1, a string or an array 0 if it is empty, else
 * NaN. */
double gguf_key_number(const gguf *file, size_t i);
/* The value for a message: 4, 0.5, true, "text", an array of 3. Returns `out`. */
const char *gguf_key_show(const gguf *file, size_t i, char out[GGUF_QUOTED]);

/* ---- Tensors ---- */

/* Those that weights may have here. The other types of ggml are known by name and size only. */
typedef enum gguf_type {
    GGUF_F32 = 0,
    GGUF_F16 = 1,
    GGUF_Q4_0 = 2, /* blocks of 32: float16 scale, 16 bytes of nibbles */
    GGUF_Q4_1 = 3, /* blocks of 32: float16 scale, float16 minimum, 16 bytes of nibbles */
    GGUF_Q8_0 = 8, /* blocks of 32: float16 scale, 32 signed bytes */
    GGUF_BF16 = 30
} gguf_type;

/* "Q4_1", or NULL for a number that no type has. */
const char *gguf_type_name(uint32_t type);
/* One of gguf_type. */
bool gguf_type_supported(uint32_t type);
/* Elements and bytes of a block; 1 element where values stand alone, 0 for a number that no type has. */
uint32_t gguf_block_elements(uint32_t type);
uint32_t gguf_block_bytes(uint32_t type);

#define GGUF_MAX_DIMS 4

typedef struct gguf_tensor {
    gguf_string name;
    uint32_t type;   /* a gguf_type, or another number that gguf_type_name() knows */
    uint32_t n_dims; /* 1 to 4 */
    /* dims[0] runs fastest and is a whole number of blocks: a matrix of `rows` rows of `cols` has dims
     * { cols, rows, 1, 1 }. Those past n_dims are 1. */
    uint64_t dims[GGUF_MAX_DIMS];
    const void *data; /* little-endian, aligned to 8 bytes at least; NULL only if the struct is unset */
    size_t bytes;
} gguf_tensor;

/* The tensor of that name, or NULL. */
const gguf_tensor *gguf_find_tensor(const gguf *file, const char *name);
/* The same, of a supported type; a failure says what is wrong. */
bool gguf_get_tensor(const gguf *file, const char *name, const gguf_tensor **out, model_error *error);
/* All of them, in the order of their names. */
size_t gguf_tensor_count(const gguf *file);
const gguf_tensor *gguf_tensor_at(const gguf *file, size_t i);

#endif
