/* SPDX-License-Identifier: Apache-2.0 */
#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ENTRIES 262144u /* keys, and tensors: far above any model, and it bounds what is allocated */
#define MAX_KEY_LENGTH 65535u
#define MAX_TENSOR_NAME 255u
#define MIN_KEY_BYTES 14u    /* of the file: length, 1 character, type, 1 byte of value */
#define MIN_TENSOR_BYTES 33u /* length, 1 character, n_dims, 1 dimension, type, offset */
#define DEFAULT_ALIGNMENT 32u
#define MIN_ALIGNMENT 8u /* what the header promises */
#define MAX_ALIGNMENT 65536u

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, VALUE_TYPES };

static const struct {
    const char *name;
    uint8_t bytes; /* 0 where the length is in the file */
} value_types[VALUE_TYPES] = {
    [U8] = { "uint8", 1 },      [I8] = { "int8", 1 },     [U16] = { "uint16", 2 },  [I16] = { "int16", 2 },
    [U32] = { "uint32", 4 },    [I32] = { "int32", 4 },   [F32] = { "float32", 4 }, [BOOL] = { "bool", 1 },
    [STRING] = { "string", 0 }, [ARRAY] = { "array", 0 }, [U64] = { "uint64", 8 },  [I64] = { "int64", 8 },
    [F64] = { "float64", 8 },
};

static const struct {
    const char *name;
    uint16_t elements; /* of a block */
    uint16_t bytes;
    bool supported;
} tensor_types[] = {
    [GGUF_F32] = { "F32", 1, 4, true },     [GGUF_F16] = { "F16", 1, 2, true },
    [GGUF_Q4_0] = { "Q4_0", 32, 18, true }, [GGUF_Q4_1] = { "Q4_1", 32, 20, true },
    [6] = { "Q5_0", 32, 22, false },        [7] = { "Q5_1", 32, 24, false },
    [GGUF_Q8_0] = { "Q8_0", 32, 34, true }, [9] = { "Q8_1", 32, 36, false },
    [10] = { "Q2_K", 256, 84, false },      [11] = { "Q3_K", 256, 110, false },
    [12] = { "Q4_K", 256, 144, false },     [13] = { "Q5_K", 256, 176, false },
    [14] = { "Q6_K", 256, 210, false },     [15] = { "Q8_K", 256, 292, false },
    [16] = { "IQ2_XXS", 256, 66, false },   [17] = { "IQ2_XS", 256, 74, false },
    [18] = { "IQ3_XXS", 256, 98, false },   [19] = { "IQ1_S", 256, 50, false },
    [20] = { "IQ4_NL", 32, 18, false },     [21] = { "IQ3_S", 256, 110, false },
    [22] = { "IQ2_S", 256, 82, false },     [23] = { "IQ4_XS", 256, 136, false },
    [24] = { "I8", 1, 1, false },           [25] = { "I16", 1, 2, false },
    [26] = { "I32", 1, 4, false },          [27] = { "I64", 1, 8, false },
    [28] = { "F64", 1, 8, false },          [29] = { "IQ1_M", 256, 56, false },
    [GGUF_BF16] = { "BF16", 1, 2, true },   [34] = { "TQ1_0", 256, 54, false },
    [35] = { "TQ2_0", 256, 66, false },     [39] = { "MXFP4", 32, 17, false },
};
#define TENSOR_TYPES (sizeof tensor_types / sizeof *tensor_types)

typedef struct entry {
    gguf_string name;
    uint32_t type;              /* of the value; of an array its elements' */
    bool array;                 /* `count` elements follow one another at `value` */
    uint64_t count;             /* 1 if no array */
    const unsigned char *value; /* of a string its length comes first */
} entry;

typedef struct tensor {
    gguf_tensor info;
    uint64_t offset; /* bytes from the start of the data */
} tensor;

struct gguf {
    char *path;
    const unsigned char *bytes;
    size_t size;
    bool mapped;   /* `bytes` is ours to unmap */
    entry *keys;   /* sorted by name, as are the tensors */
    size_t n_keys; /* complete ones */
    tensor *tensors;
    size_t n_tensors;
};

/* Reads the file from front to back. After a failure it is not to be used. */
typedef struct reader {
    const gguf *file;
    size_t at; /* offset of the next byte, at most file->size */
    model_error *error;
} reader;

/* ---- Failures ---- */

bool model_fail(model_error *error, const char *format, ...)
{
    va_list args;

    error->out_of_memory = false;
    va_start(args, format);
    const int length = vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    if (length >= (int)sizeof error->message) /* what is cut says so */
        memcpy(error->message + sizeof error->message - sizeof "...", "...", sizeof "...");
    return false;
}

bool model_fail_memory(model_error *error)
{
    model_fail(error, "out of host memory");
    error->out_of_memory = true;
    return false;
}

const char *gguf_quote(gguf_string string, char out[GGUF_QUOTED])
{
    static const char cut[] = "...";
    const bool fits = string.length < GGUF_QUOTED;
    const size_t shown = fits ? string.length : GGUF_QUOTED - sizeof cut;

    for (size_t i = 0; i < shown; i++) {
        const char c = string.text[i];
        out[i] = c;
        if (c < ' ' || c > '~') out[i] = '?';
    }
    memcpy(out + shown, fits ? "" : cut, fits ? 1 : sizeof cut);
    return out;
}

/* ---- Little-endian numbers and strings, at addresses that were checked ---- */

static uint64_t load(const unsigned char *bytes, unsigned count)
{
    uint64_t value = 0;

    for (unsigned i = count; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static double load_f32(const unsigned char *bytes)
{
    const uint32_t bits = (uint32_t)load(bytes, 4);
    float value = 0;

    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static double load_f64(const unsigned char *bytes)
{
    const uint64_t bits = load(bytes, 8);
    double value = 0;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static int64_t load_signed(const unsigned char *bytes, unsigned count)
{
    const uint64_t sign = UINT64_C(1) << (8 * count - 1);

    return (int64_t)((load(bytes, count) ^ sign) - sign);
}

static gguf_string load_string(const unsigned char *bytes)
{
    return (gguf_string){ (const char *)bytes + 8, (size_t)load(bytes, 8) };
}

bool gguf_string_is(gguf_string string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.text, text, string.length) == 0;
}

static int compare_strings(gguf_string a, gguf_string b)
{
    const int order = memcmp(a.text, b.text, a.length < b.length ? a.length : b.length);

    if (order != 0) return order;
    return (a.length > b.length) - (a.length < b.length);
}

/* ---- Reading with checks ---- */

static size_t left(const reader *r)
{
    return r->file->size - r->at;
}

/* Step over `bytes`, which `what` takes up. */
static bool take(reader *r, const char *what, uint64_t bytes, const unsigned char **out)
{
    if (bytes > left(r)) {
        return model_fail(r->error, "%s: byte %zu: %s takes %" PRIu64 " bytes, but the file ends after %zu",
                          r->file->path, r->at, what, bytes, left(r));
    }
    *out = r->file->bytes + r->at;
    r->at += (size_t)bytes;
    return true;
}

static bool take_u32(reader *r, const char *what, uint32_t *out)
{
    const unsigned char *bytes = NULL;

    if (!take(r, what, 4, &bytes)) return false;
    *out = (uint32_t)load(bytes, 4);
    return true;
}

static bool take_u64(reader *r, const char *what, uint64_t *out)
{
    const unsigned char *bytes = NULL;

    if (!take(r, what, 8, &bytes)) return false;
    *out = load(bytes, 8);
    return true;
}

static bool take_string(reader *r, const char *what, gguf_string *out)
{
    const unsigned char *bytes = NULL;
    uint64_t length = 0;

    if (!take_u64(r, what, &length) || !take(r, what, length, &bytes)) return false;
    *out = (gguf_string){ (const char *)bytes, (size_t)length };
    return true;
}

/* A string that names something: 1 to `max` bytes. */
static bool take_name(reader *r, const char *what, size_t max, gguf_string *out)
{
    const size_t start = r->at;

    if (!take_string(r, what, out)) return false;
    if (out->length == 0 || out->length > max) {
        return model_fail(r->error, "%s: byte %zu: %s has %zu bytes; allowed are 1 to %zu", r->file->path,
                          start, what, out->length, max);
    }
    return true;
}

/* How many of something follow, each of which takes `min_bytes` at least: what is allocated for them stays in
 * proportion to the file. */
static bool check_count(reader *r, const char *what, uint64_t count, uint64_t max, unsigned min_bytes)
{
    const uint64_t fit = left(r) / min_bytes;

    if (count <= max && count <= fit) return true;
    return model_fail(r->error, "%s: byte %zu: %" PRIu64 " %s; at most %" PRIu64 " %s", r->file->path, r->at,
                      count, what, count > max ? max : fit,
                      count > max ? "are allowed" : "fit into the rest of the file");
}

/* ---- Metadata ---- */

/* The value of `key` cannot be read: a sentence that begins with file, place and key. */
static bool fail_value(const reader *r, const entry *key, const char *problem, uint64_t value,
                       const char *allowed)
{
    char name[GGUF_QUOTED];

    return model_fail(r->error, "%s: byte %zu: key \"%s\" has %s %" PRIu64 "; %s", r->file->path, r->at,
                      gguf_quote(key->name, name), problem, value, allowed);
}

static bool check_bools(const reader *r, const entry *key)
{
    for (uint64_t i = 0; i < key->count; i++) {
        if (key->value[i] > 1) return fail_value(r, key, "a bool of", key->value[i], "0 and 1 are allowed");
    }
    return true;
}

/* Step over key->count values of key->type. */
static bool take_values(reader *r, entry *key)
{
    const unsigned width = value_types[key->type].bytes;
    gguf_string string;

    key->value = r->file->bytes + r->at;
    if (key->type == STRING) {
        if (!check_count(r, "strings", key->count, UINT64_MAX, 8)) return false;
        for (uint64_t i = 0; i < key->count; i++) {
            if (!take_string(r, "a string", &string)) return false;
        }
        return true;
    }
    if (!check_count(r, value_types[key->type].name, key->count, UINT64_MAX, width)) return false;
    r->at += (size_t)key->count * width;
    return key->type != BOOL || check_bools(r, key);
}

static bool take_entry(reader *r, entry *key)
{
    if (!take_name(r, "the name of a key", MAX_KEY_LENGTH, &key->name)) return false;
    if (!take_u32(r, "the type of a value", &key->type)) return false;
    key->count = 1;
    key->array = key->type == ARRAY;
    if (key->array) {
        if (!take_u32(r, "the type of an array", &key->type)) return false;
        if (!take_u64(r, "the length of an array", &key->count)) return false;
        if (key->type == ARRAY) {
            return fail_value(r, key, "an array of arrays of length", key->count, "they are not supported");
        }
    }
    if (key->type >= VALUE_TYPES) return fail_value(r, key, "type", key->type, "0 to 12 are allowed");
    return take_values(r, key);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_strings(((const entry *)a)->name, ((const entry *)b)->name);
}

static bool take_keys(reader *r, gguf *file, uint64_t count)
{
    char name[GGUF_QUOTED];

    if (!check_count(r, "keys", count, MAX_ENTRIES, MIN_KEY_BYTES)) return false;
    file->keys = calloc((size_t)count + 1, sizeof *file->keys);
    if (!file->keys) return model_fail_memory(r->error);
    for (; file->n_keys < count; file->n_keys++) {
        if (!take_entry(r, &file->keys[file->n_keys])) return false;
    }
    qsort(file->keys, file->n_keys, sizeof *file->keys, compare_entries);
    for (size_t i = 1; i < file->n_keys; i++) {
        if (compare_entries(&file->keys[i - 1], &file->keys[i]) == 0) {
            return model_fail(r->error, "%s: the key \"%s\" is there twice", file->path,
                              gguf_quote(file->keys[i].name, name));
        }
    }
    return true;
}

/* ---- Tensors ---- */

static bool type_known(uint32_t type)
{
    return type < TENSOR_TYPES && tensor_types[type].name;
}

const char *gguf_type_name(uint32_t type)
{
    return type_known(type) ? tensor_types[type].name : NULL;
}

bool gguf_type_supported(uint32_t type)
{
    return type_known(type) && tensor_types[type].supported;
}

uint32_t gguf_block_elements(uint32_t type)
{
    return type_known(type) ? tensor_types[type].elements : 0;
}

uint32_t gguf_block_bytes(uint32_t type)
{
    return type_known(type) ? tensor_types[type].bytes : 0;
}

static bool fail_tensor(const reader *r, const gguf_tensor *t, const char *problem, uint64_t value,
                        const char *allowed)
{
    char name[GGUF_QUOTED];

    return model_fail(r->error, "%s: tensor \"%s\" has %s %" PRIu64 "; %s", r->file->path,
                      gguf_quote(t->name, name), problem, value, allowed);
}

/* *product *= factor, unless that takes more than the file could hold. */
static bool multiply(const gguf *file, uint64_t *product, uint64_t factor)
{
    if (factor != 0 && *product > file->size / factor) return false;
    *product *= factor;
    return true;
}

/* Its bytes, from type and dimensions. */
static bool measure_tensor(const reader *r, gguf_tensor *t)
{
    const uint32_t elements = gguf_block_elements(t->type);
    uint64_t bytes = gguf_block_bytes(t->type);
    bool fits = multiply(r->file, &bytes, t->dims[0] / elements);
    char name[GGUF_QUOTED];

    if (t->dims[0] % elements != 0) {
        return fail_tensor(r, t, "a first dimension of", t->dims[0], "it must be whole blocks of its type");
    }
    for (uint32_t i = 1; i < t->n_dims; i++)
        fits = fits && multiply(r->file, &bytes, t->dims[i]);
    if (!fits) {
        return model_fail(r->error,
                          "%s: tensor \"%s\" of type %s and shape %" PRIu64 " x %" PRIu64 " x %" PRIu64
                          " x %" PRIu64 " is larger than the file of %zu bytes",
                          r->file->path, gguf_quote(t->name, name), gguf_type_name(t->type), t->dims[0],
                          t->dims[1], t->dims[2], t->dims[3], r->file->size);
    }
    t->bytes = (size_t)bytes;
    return true;
}

static bool take_dims(reader *r, gguf_tensor *t)
{
    if (!take_u32(r, "the number of dimensions", &t->n_dims)) return false;
    if (t->n_dims < 1 || t->n_dims > GGUF_MAX_DIMS) {
        return fail_tensor(r, t, "a number of dimensions of", t->n_dims, "1 to 4 are allowed");
    }
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        t->dims[i] = 1;
        if (i < t->n_dims && !take_u64(r, "a dimension", &t->dims[i])) return false;
        if (t->dims[i] == 0) return fail_tensor(r, t, "a dimension of", 0, "1 and more are allowed");
    }
    return true;
}

static bool take_tensor(reader *r, tensor *t)
{
    if (!take_name(r, "the name of a tensor", MAX_TENSOR_NAME, &t->info.name)) return false;
    if (!take_dims(r, &t->info)) return false;
    if (!take_u32(r, "the type of a tensor", &t->info.type)) return false;
    if (!type_known(t->info.type)) {
        return fail_tensor(r, &t->info, "type", t->info.type,
                           "ggml's numbers of 0 (F32) to 39 (MXFP4) are known");
    }
    if (!take_u64(r, "the offset of a tensor", &t->offset)) return false;
    return measure_tensor(r, &t->info);
}

static int compare_tensors(const void *a, const void *b)
{
    return compare_strings(((const tensor *)a)->info.name, ((const tensor *)b)->info.name);
}

static bool take_tensors(reader *r, gguf *file, uint64_t count)
{
    char name[GGUF_QUOTED];

    if (!check_count(r, "tensors", count, MAX_ENTRIES, MIN_TENSOR_BYTES)) return false;
    file->tensors = calloc((size_t)count + 1, sizeof *file->tensors);
    if (!file->tensors) return model_fail_memory(r->error);
    for (; file->n_tensors < count; file->n_tensors++) {
        if (!take_tensor(r, &file->tensors[file->n_tensors])) return false;
    }
    qsort(file->tensors, file->n_tensors, sizeof *file->tensors, compare_tensors);
    for (size_t i = 1; i < file->n_tensors; i++) {
        if (compare_tensors(&file->tensors[i - 1], &file->tensors[i]) == 0) {
            return model_fail(r->error, "%s: the tensor \"%s\" is there twice", file->path,
                              gguf_quote(file->tensors[i].info.name, name));
        }
    }
    return true;
}

/* The data begin at the next multiple of the alignment; each tensor lies on such a multiple, within the
 * file. */
static bool place_tensors(const reader *r, uint32_t alignment)
{
    const gguf *file = r->file;
    const size_t start = r->at + (alignment - r->at % alignment) % alignment;

    for (size_t i = 0; i < file->n_tensors; i++) {
        tensor *t = &file->tensors[i];
        if (t->offset % alignment != 0) {
            return fail_tensor(r, &t->info, "offset", t->offset,
                               "it must be a multiple of general.alignment");
        }
        if (start > file->size || t->offset > file->size - start ||
            t->info.bytes > file->size - start - (size_t)t->offset) {
            return fail_tensor(r, &t->info, "data that end past the file, at offset", t->offset,
                               "the file is cut short or damaged");
        }
        t->info.data = file->bytes + start + (size_t)t->offset;
    }
    return true;
}

/* ---- Opening ---- */

static bool take_header(reader *r, uint64_t *n_tensors, uint64_t *n_keys)
{
    const unsigned char *magic = NULL;
    uint32_t version = 0;

    if (!take(r, "the mark \"GGUF\"", 4, &magic)) return false;
    if (memcmp(magic, "GGUF", 4) != 0) {
        return model_fail(r->error, "%s is not a GGUF file: it does not begin with \"GGUF\"", r->file->path);
    }
    if (!take_u32(r, "the version", &version)) return false;
    if (version == UINT32_C(2) << 24 || version == UINT32_C(3) << 24) {
        return model_fail(r->error, "%s is a big-endian GGUF file; only little-endian ones are supported",
                          r->file->path);
    }
    if (version != 2 && version != 3) {
        return model_fail(r->error, "%s: byte 4: GGUF version %" PRIu32 "; 2 and 3 are supported",
                          r->file->path, version);
    }
    return take_u64(r, "the number of tensors", n_tensors) && take_u64(r, "the number of keys", n_keys);
}

static bool read_alignment(const gguf *file, uint32_t *alignment, model_error *error)
{
    static const char key[] = "general.alignment";

    *alignment = DEFAULT_ALIGNMENT;
    if (gguf_has(file, key) && !gguf_get_u32(file, key, alignment, error)) return false;
    if (*alignment >= MIN_ALIGNMENT && *alignment <= MAX_ALIGNMENT && (*alignment & (*alignment - 1)) == 0) {
        return true;
    }
    return model_fail(error, "%s: key \"%s\" is %" PRIu32 "; powers of two from %u to %u are allowed",
                      file->path, key, *alignment, MIN_ALIGNMENT, MAX_ALIGNMENT);
}

static bool parse(gguf *file, model_error *error)
{
    reader r = { .file = file, .error = error };
    uint64_t n_tensors = 0;
    uint64_t n_keys = 0;
    uint32_t alignment = 0;

    return take_header(&r, &n_tensors, &n_keys) && take_keys(&r, file, n_keys) &&
           take_tensors(&r, file, n_tensors) && read_alignment(file, &alignment, error) &&
           place_tensors(&r, alignment);
}

static bool map_file(gguf *file, model_error *error)
{
    struct stat status;
    bool ok = false;
    /* O_NONBLOCK: a FIFO without a writer is refused instead of waited for. */
    const int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &status) != 0) {
        model_fail(error, "cannot open %s: %s", file->path, strerror(errno));
        goto cleanup;
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0 || (off_t)(size_t)status.st_size != status.st_size) {
        model_fail(error, "%s is not a GGUF file: %s", file->path,
                   !S_ISREG(status.st_mode) ? "it is no regular file"
                   : status.st_size == 0    ? "it is empty"
                                            : "it is too large for this machine");
        goto cleanup;
    }
    file->size = (size_t)status.st_size;
    void *map = mmap(NULL, file->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        model_fail(error, "cannot map %s: %s", file->path, strerror(errno));
        goto cleanup;
    }
    file->bytes = map;
    file->mapped = true;
    ok = true;
cleanup:
    if (fd >= 0) close(fd);
    return ok;
}

/* `bytes` NULL: those of the file at `path`. */
static bool open_bytes(const char *path, const void *bytes, size_t size, gguf **out, model_error *error)
{
    *out = NULL;
    gguf *file = calloc(1, sizeof *file);
    if (file) file->path = strdup(path);
    bool ok = file && file->path;
    if (!ok) model_fail_memory(error);
    if (ok && bytes) {
        file->bytes = bytes;
        file->size = size;
    } else if (ok) {
        ok = map_file(file, error);
    }
    if (ok) ok = parse(file, error);
    if (ok) {
        *out = file;
    } else {
        gguf_close(file);
    }
    return ok;
}

bool gguf_open(const char *path, gguf **out, model_error *error)
{
    return open_bytes(path, NULL, 0, out, error);
}

bool gguf_open_memory(const void *bytes, size_t size, const char *name, gguf **out, model_error *error)
{
    return open_bytes(name, bytes, size, out, error);
}

void gguf_close(gguf *file)
{
    if (!file) return;
    if (file->mapped) munmap((void *)file->bytes, file->size);
    free(file->tensors);
    free(file->keys);
    free(file->path);
    free(file);
}

const char *gguf_path(const gguf *file)
{
    return file->path;
}

/* ---- Metadata, read ---- */

static const entry *find_key(const gguf *file, const char *name)
{
    const entry wanted = { .name = { name, strlen(name) } };

    return bsearch(&wanted, file->keys, file->n_keys, sizeof *file->keys, compare_entries);
}

bool gguf_has(const gguf *file, const char *key)
{
    return find_key(file, key) != NULL;
}

/* The key is missing or has another type than `wanted` says. */
static bool fail_key(const gguf *file, const char *name, const char *wanted, model_error *error)
{
    const entry *key = find_key(file, name);

    if (!key) return model_fail(error, "%s: the key \"%s\" (%s) is missing", file->path, name, wanted);
    return model_fail(error, "%s: key \"%s\" is of type %s%s; wanted is %s", file->path, name,
                      key->array ? "array of " : "", value_types[key->type].name, wanted);
}

static bool is_integer(uint32_t type)
{
    return type <= I32 || type == U64 || type == I64;
}

static int64_t load_i64(uint32_t type, const unsigned char *at)
{
    const unsigned width = value_types[type].bytes;

    if (type == I8 || type == I16 || type == I32 || type == I64) return load_signed(at, width);
    const uint64_t value = load(at, width);
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

/* An integer from 0 to max. */
static bool get_unsigned(const gguf *file, const char *name, uint64_t max, uint64_t *out, model_error *error)
{
    const entry *key = find_key(file, name);

    if (!key || key->array || !is_integer(key->type)) return fail_key(file, name, "an integer", error);
    const int64_t value = load_i64(key->type, key->value);
    const uint64_t number = key->type == U64 ? load(key->value, 8) : (uint64_t)value;
    if (value < 0) {
        return model_fail(error, "%s: key \"%s\" is %" PRId64 "; 0 to %" PRIu64 " are allowed", file->path,
                          name, value, max);
    }
    if (number > max) {
        return model_fail(error, "%s: key \"%s\" is %" PRIu64 "; 0 to %" PRIu64 " are allowed", file->path,
                          name, number, max);
    }
    *out = number;
    return true;
}

bool gguf_get_u32(const gguf *file, const char *key, uint32_t *out, model_error *error)
{
    uint64_t value = 0;

    if (!get_unsigned(file, key, UINT32_MAX, &value, error)) return false;
    *out = (uint32_t)value;
    return true;
}

bool gguf_get_u64(const gguf *file, const char *key, uint64_t *out, model_error *error)
{
    return get_unsigned(file, key, UINT64_MAX, out, error);
}

bool gguf_get_f32(const gguf *file, const char *name, float *out, model_error *error)
{
    const entry *key = find_key(file, name);

    if (!key || key->array || (key->type != F32 && key->type != F64)) {
        return fail_key(file, name, "a float", error);
    }
    *out = (float)(key->type == F32 ? load_f32(key->value) : load_f64(key->value));
    return true;
}

bool gguf_get_bool(const gguf *file, const char *name, bool *out, model_error *error)
{
    const entry *key = find_key(file, name);

    if (!key || key->array || key->type != BOOL) return fail_key(file, name, "a bool", error);
    *out = key->value[0] != 0;
    return true;
}

bool gguf_get_string(const gguf *file, const char *name, gguf_string *out, model_error *error)
{
    const entry *key = find_key(file, name);

    if (!key || key->array || key->type != STRING) return fail_key(file, name, "a string", error);
    *out = load_string(key->value);
    return true;
}

static bool get_array(const gguf *file, const char *name, bool strings, gguf_array *out, model_error *error)
{
    const entry *key = find_key(file, name);

    if (!key || !key->array || (key->type == STRING) != strings) {
        return fail_key(file, name, strings ? "an array of strings" : "an array of numbers", error);
    }
    *out = (gguf_array){ .count = key->count, .type = key->type, .bytes = key->value };
    return true;
}

bool gguf_get_strings(const gguf *file, const char *key, gguf_array *out, model_error *error)
{
    return get_array(file, key, true, out, error);
}

bool gguf_next_string(gguf_array *array, gguf_string *out)
{
    if (array->count == 0) return false;
    *out = load_string(array->bytes);
    array->bytes += 8 + out->length;
    array->count--;
    return true;
}

bool gguf_get_numbers(const gguf *file, const char *key, gguf_array *out, model_error *error)
{
    return get_array(file, key, false, out, error);
}

static int64_t truncate_f64(double value)
{
    const double limit = 9223372036854775808.0; /* 2^63 */

    if (!(value > -limit)) return value <= -limit ? INT64_MIN : 0;
    return value >= limit ? INT64_MAX : (int64_t)value;
}

int64_t gguf_array_i64(const gguf_array *array, uint64_t i)
{
    const unsigned char *at = array->bytes + (size_t)i * value_types[array->type].bytes;

    if (array->type == F32) return truncate_f64(load_f32(at));
    if (array->type == F64) return truncate_f64(load_f64(at));
    return load_i64(array->type, at);
}

double gguf_array_f64(const gguf_array *array, uint64_t i)
{
    const unsigned char *at = array->bytes + (size_t)i * value_types[array->type].bytes;

    if (array->type == F32) return load_f32(at);
    if (array->type == F64) return load_f64(at);
    if (array->type == U64) return (double)load(at, 8);
    return (double)load_i64(array->type, at);
}

size_t gguf_key_count(const gguf *file)
{
    return file->n_keys;
}

gguf_string gguf_key_name(const gguf *file, size_t i)
{
    return file->keys[i].name;
}

double gguf_key_number(const gguf *file, size_t i)
{
    const entry *key = &file->keys[i];
    const gguf_array one = { .count = 1, .type = key->type, .bytes = key->value };

    if (!key->array && key->type != STRING) return gguf_array_f64(&one, 0);
    return (key->array ? key->count : load_string(key->value).length) == 0 ? 0.0 : NAN;
}

const char *gguf_key_show(const gguf *file, size_t i, char out[GGUF_QUOTED])
{
    const entry *key = &file->keys[i];
    const double number = gguf_key_number(file, i);
    char text[GGUF_QUOTED];

    if (key->array) {
        snprintf(out, GGUF_QUOTED, "an array of %" PRIu64, key->count);
    } else if (key->type == STRING) {
        snprintf(out, GGUF_QUOTED, "\"%.*s\"", GGUF_QUOTED - 3, gguf_quote(load_string(key->value), text));
    } else if (key->type == BOOL) {
        snprintf(out, GGUF_QUOTED, "%s", number != 0 ? "true" : "false");
    } else {
        snprintf(out, GGUF_QUOTED, "%.7g", number);
    }
    return out;
}

/* ---- Tensors, read ---- */

const gguf_tensor *gguf_find_tensor(const gguf *file, const char *name)
{
    const tensor wanted = { .info.name = { name, strlen(name) } };
    const tensor *found =
        bsearch(&wanted, file->tensors, file->n_tensors, sizeof *file->tensors, compare_tensors);

    return found ? &found->info : NULL;
}

bool gguf_get_tensor(const gguf *file, const char *name, const gguf_tensor **out, model_error *error)
{
    const gguf_tensor *found = gguf_find_tensor(file, name);

    if (!found) return model_fail(error, "%s: the tensor \"%s\" is missing", file->path, name);
    if (!gguf_type_supported(found->type)) {
        return model_fail(
            error, "%s: tensor \"%s\" is of type %s; F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are supported",
            file->path, name, gguf_type_name(found->type));
    }
    *out = found;
    return true;
}

size_t gguf_tensor_count(const gguf *file)
{
    return file->n_tensors;
}

const gguf_tensor *gguf_tensor_at(const gguf *file, size_t i)
{
    return &file->tensors[i].info;
}
