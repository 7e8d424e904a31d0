/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of GGUF files: every type of value and of tensor, and wrong files, each of which ends in a
 * sentence. Needs no device. */
#define _POSIX_C_SOURCE 200809L
#include "model/gguf.h"

#include "common.h"
#include "gguf_writer.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static model_error error;

/* ---- A file with everything ---- */

static const struct {
    const char *name;
    uint32_t type;
    uint64_t cols;
    size_t bytes; /* of one row */
} tensors[] = {
    { "f32", GGUF_F32, 3, 12 },    { "f16", GGUF_F16, 3, 6 },     { "bf16", GGUF_BF16, 5, 10 },
    { "q8_0", GGUF_Q8_0, 64, 68 }, { "q4_0", GGUF_Q4_0, 64, 36 }, { "q4_1", GGUF_Q4_1, 64, 40 },
    { "q6_k", 14, 256, 210 },      { "mxfp4", 39, 32, 17 },       { "i8", 24, 7, 7 },
};

static void put_scalars(gguf_writer *w)
{
    gw_key(w, "u8", GW_U8), gw_bytes(w, "\xFE", 1);
    gw_key(w, "i8", GW_I8), gw_bytes(w, "\xFE", 1);
    gw_key(w, "u16", GW_U16), gw_bytes(w, "\x01\xFF", 2);
    gw_key(w, "i16", GW_I16), gw_bytes(w, "\x01\x7F", 2);
    gw_key_u32(w, "u32", UINT32_MAX);
    gw_key(w, "i32", GW_I32), gw_u32(w, (uint32_t)-5);
    gw_key(w, "f32", GW_F32), gw_f32(w, 1.5f);
    gw_key_bool(w, "yes", 1);
    gw_key_bool(w, "no", 0);
    gw_key_string(w, "text", "a word");
    gw_key_string(w, "empty", "");
    gw_key(w, "u64", GW_U64), gw_u64(w, UINT64_MAX);
    gw_key(w, "i64", GW_I64), gw_u64(w, 77);
    gw_key(w, "f64", GW_F64), gw_f64(w, 0.25);
}
#define N_SCALARS 14u

static void put_arrays(gguf_writer *w)
{
    gw_array(w, "words", GW_STRING, 3), gw_string(w, "one"), gw_string(w, ""), gw_string(w, "three");
    gw_array(w, "none", GW_STRING, 0);
    gw_array(w, "bytes", GW_I8, 2), gw_bytes(w, "\x7F\x80", 2);
    gw_array(w, "ints", GW_I32, 2), gw_u32(w, 9), gw_u32(w, (uint32_t)-9);
    gw_array(w, "floats", GW_F32, 3), gw_f32(w, -2.75f), gw_f32(w, 1e30f), gw_u32(w, 0x7FC00000u);
    gw_array(w, "longs", GW_U64, 1), gw_u64(w, UINT64_MAX);
    gw_array(w, "bools", GW_BOOL, 2), gw_bytes(w, "\0\1", 2);
}
#define N_ARRAYS 7u

/* Two rows of each type; the bytes of tensor i are all i + 1. */
static void put_tensors(gguf_writer *w, size_t alignment)
{
    uint64_t offset = 0;

    for (size_t i = 0; i < COUNT(tensors); i++) {
        gw_tensor(w, tensors[i].name, 2, (uint64_t[]){ tensors[i].cols, 2 }, tensors[i].type, offset);
        offset += (2 * tensors[i].bytes + alignment - 1) / alignment * alignment;
    }
    for (size_t i = 0; i < COUNT(tensors); i++) {
        const unsigned char byte = (unsigned char)(i + 1);
        gw_align(w, alignment);
        for (size_t k = 0; k < 2 * tensors[i].bytes; k++)
            gw_bytes(w, &byte, 1);
    }
}

static gguf_writer whole_file(uint32_t version)
{
    gguf_writer w = { 0 };

    gw_header(&w, version, COUNT(tensors), N_SCALARS + N_ARRAYS + 1);
    put_scalars(&w);
    gw_key_u32(&w, "general.alignment", 64);
    put_arrays(&w);
    put_tensors(&w, 64);
    return w;
}

static gguf *open_ok(const gguf_writer *w)
{
    gguf *file = NULL;

    ck_assert_msg(gguf_open_memory(w->bytes, w->size, "test.gguf", &file, &error), "%s", error.message);
    return file;
}

/* ---- Values ---- */

static const struct {
    const char *key;
    uint64_t value;
    bool fits_u32;
} integers[] = {
    { "u8", 254, true },         { "u16", 0xFF01, true },      { "i16", 0x7F01, true },
    { "u32", UINT32_MAX, true }, { "u64", UINT64_MAX, false }, { "i64", 77, true },
};

START_TEST(reads_integers)
{
    gguf_writer w = whole_file(3);
    gguf *file = open_ok(&w);
    uint64_t value = 0;
    uint32_t small = 1;

    ck_assert(gguf_get_u64(file, integers[_i].key, &value, &error));
    ck_assert_uint_eq(value, integers[_i].value);
    ck_assert_int_eq(gguf_get_u32(file, integers[_i].key, &small, &error), integers[_i].fits_u32);
    ck_assert_uint_eq(small, integers[_i].fits_u32 ? (uint32_t)value : 1);
    gguf_close(file);
    free(w.bytes);
}
END_TEST

START_TEST(reads_other_scalars)
{
    gguf_writer w = whole_file(2);
    gguf *file = open_ok(&w);
    gguf_string text = { 0 };
    float number = 0;
    bool flag = false;

    ck_assert(gguf_get_f32(file, "f32", &number, &error) && number == 1.5f);
    ck_assert(gguf_get_f32(file, "f64", &number, &error) && number == 0.25f);
    ck_assert(gguf_get_bool(file, "yes", &flag, &error) && flag);
    ck_assert(gguf_get_bool(file, "no", &flag, &error) && !flag);
    ck_assert(gguf_get_string(file, "text", &text, &error) && gguf_string_is(text, "a word"));
    ck_assert(gguf_get_string(file, "empty", &text, &error) && gguf_string_is(text, ""));
    ck_assert(gguf_has(file, "no") && !gguf_has(file, "n") && !gguf_has(file, ""));
    ck_assert_str_eq(gguf_path(file), "test.gguf");
    gguf_close(file);
    free(w.bytes);
}
END_TEST

START_TEST(reads_arrays)
{
    static const char *const words[] = { "one", "", "three" };
    gguf_writer w = whole_file(3);
    gguf *file = open_ok(&w);
    gguf_array a = { 0 };
    gguf_string word = { 0 };

    ck_assert(gguf_get_strings(file, "words", &a, &error));
    for (size_t i = 0; i < COUNT(words); i++)
        ck_assert(gguf_next_string(&a, &word) && gguf_string_is(word, words[i]));
    ck_assert(!gguf_next_string(&a, &word));
    ck_assert(gguf_get_strings(file, "none", &a, &error) && !gguf_next_string(&a, &word));
    ck_assert(gguf_get_numbers(file, "bytes", &a, &error) && a.count == 2);
    ck_assert(gguf_array_i64(&a, 0) == 127 && gguf_array_i64(&a, 1) == -128);
    ck_assert(gguf_get_numbers(file, "ints", &a, &error));
    ck_assert(gguf_array_i64(&a, 1) == -9 && gguf_array_f64(&a, 1) == -9.0);
    ck_assert(gguf_get_numbers(file, "floats", &a, &error));
    ck_assert(gguf_array_i64(&a, 0) == -2 && gguf_array_f64(&a, 0) == -2.75);
    ck_assert(gguf_array_i64(&a, 1) == INT64_MAX && gguf_array_i64(&a, 2) == 0);
    ck_assert(gguf_get_numbers(file, "longs", &a, &error));
    ck_assert(gguf_array_i64(&a, 0) == INT64_MAX && gguf_array_f64(&a, 0) == 18446744073709551616.0);
    ck_assert(gguf_get_numbers(file, "bools", &a, &error) && gguf_array_i64(&a, 1) == 1);
    gguf_close(file);
    free(w.bytes);
}
END_TEST

START_TEST(reads_tensors)
{
    gguf_writer w = whole_file(3);
    gguf *file = open_ok(&w);

    ck_assert_uint_eq(gguf_tensor_count(file), COUNT(tensors));
    for (size_t i = 0; i < COUNT(tensors); i++) {
        const gguf_tensor *t = gguf_find_tensor(file, tensors[i].name);
        ck_assert_ptr_nonnull(t);
        ck_assert_uint_eq(t->type, tensors[i].type);
        ck_assert_uint_eq(t->n_dims, 2);
        ck_assert(t->dims[0] == tensors[i].cols && t->dims[1] == 2 && t->dims[2] == 1 && t->dims[3] == 1);
        ck_assert_uint_eq(t->bytes, 2 * tensors[i].bytes);
        ck_assert_uint_eq((size_t)((const unsigned char *)t->data - w.bytes) % 64, 0);
        for (size_t k = 0; k < t->bytes; k++)
            ck_assert_uint_eq(((const unsigned char *)t->data)[k], i + 1);
    }
    ck_assert_ptr_null(gguf_find_tensor(file, "f"));
    gguf_close(file);
    free(w.bytes);
}
END_TEST

START_TEST(tensor_types)
{
    ck_assert_str_eq(gguf_type_name(GGUF_Q4_1), "Q4_1");
    ck_assert(gguf_type_supported(GGUF_BF16) && !gguf_type_supported(14));
    ck_assert(gguf_block_elements(GGUF_Q8_0) == 32 && gguf_block_bytes(GGUF_Q8_0) == 34);
    ck_assert_ptr_null(gguf_type_name(4)); /* a number that ggml has retired */
    ck_assert_ptr_null(gguf_type_name(UINT32_MAX));
    ck_assert(gguf_block_elements(40) == 0 && gguf_block_bytes(40) == 0 && !gguf_type_supported(40));
}
END_TEST

START_TEST(file_without_tensors)
{
    gguf_writer w = { 0 };

    gw_header(&w, 3, 0, 0);
    gguf *file = open_ok(&w);
    ck_assert_uint_eq(gguf_tensor_count(file), 0);
    gguf_close(file);
    free(w.bytes);
}
END_TEST

/* ---- What is refused when it is asked for ---- */

static void expect(const char *part)
{
    ck_assert_msg(strstr(error.message, part) != NULL, "\"%s\" lacks \"%s\"", error.message, part);
    ck_assert(!error.out_of_memory);
}

START_TEST(getters_refuse)
{
    gguf_writer w = whole_file(3);
    gguf *file = open_ok(&w);
    const gguf_tensor *t = NULL;
    gguf_string text = { 0 };
    gguf_array a = { 0 };
    uint32_t n = 5;
    float x = 0;
    bool b = false;

    ck_assert(!gguf_get_u32(file, "nothing", &n, &error));
    expect("test.gguf: the key \"nothing\" (an integer) is missing");
    ck_assert(!gguf_get_u32(file, "i8", &n, &error));
    expect("key \"i8\" is -2; 0 to 4294967295 are allowed");
    ck_assert(!gguf_get_u32(file, "u64", &n, &error));
    expect("key \"u64\" is 18446744073709551615; 0 to 4294967295 are allowed");
    ck_assert(!gguf_get_u32(file, "f32", &n, &error) && n == 5);
    expect("key \"f32\" is of type float32; wanted is an integer");
    ck_assert(!gguf_get_u32(file, "ints", &n, &error));
    expect("key \"ints\" is of type array of int32; wanted is an integer");
    ck_assert(!gguf_get_f32(file, "u8", &x, &error));
    ck_assert(!gguf_get_bool(file, "u8", &b, &error));
    ck_assert(!gguf_get_string(file, "words", &text, &error));
    ck_assert(!gguf_get_strings(file, "text", &a, &error));
    ck_assert(!gguf_get_strings(file, "ints", &a, &error));
    ck_assert(!gguf_get_numbers(file, "words", &a, &error));
    expect("key \"words\" is of type array of string; wanted is an array of numbers");
    ck_assert(!gguf_get_tensor(file, "nothing", &t, &error));
    expect("the tensor \"nothing\" is missing");
    ck_assert(!gguf_get_tensor(file, "q6_k", &t, &error) && !t);
    expect("tensor \"q6_k\" is of type Q6_K; F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are supported");
    ck_assert(gguf_get_tensor(file, "q4_1", &t, &error) && t);
    gguf_close(file);
    free(w.bytes);
}
END_TEST

START_TEST(quotes)
{
    char long_text[300];
    char out[GGUF_QUOTED];

    memset(long_text, 'x', sizeof long_text);
    ck_assert_str_eq(gguf_quote((gguf_string){ "a\n\x1B\xC3\xA4~", 6 }, out), "a????~");
    ck_assert_uint_eq(strlen(gguf_quote((gguf_string){ long_text, GGUF_QUOTED - 1 }, out)), GGUF_QUOTED - 1);
    ck_assert_uint_eq(strlen(gguf_quote((gguf_string){ long_text, sizeof long_text }, out)), GGUF_QUOTED - 1);
    ck_assert_str_eq(out + GGUF_QUOTED - 5, "x...");
}
END_TEST

/* ---- Wrong files ---- */

/* A file that is right but for one thing. `put` writes keys and tensors. */
static void put_nothing(gguf_writer *w)
{
    (void)w;
}

static void put_long_string(gguf_writer *w)
{
    gw_key(w, "k", GW_STRING), gw_u64(w, UINT64_MAX), gw_bytes(w, "abc", 3);
}

static void put_long_name(gguf_writer *w)
{
    gw_u64(w, UINT64_MAX - 7), gw_bytes(w, "abcdefghijklmn", 14);
}

static void put_no_name(gguf_writer *w)
{
    gw_key_u32(w, "", 1), gw_bytes(w, "", 1);
}

static void put_unknown_type(gguf_writer *w)
{
    gw_key(w, "k\nk", 13), gw_u64(w, 0);
}

static void put_unknown_array(gguf_writer *w)
{
    gw_array(w, "k", 4000000000u, 1), gw_u64(w, 0);
}

static void put_nested_array(gguf_writer *w)
{
    gw_array(w, "k", GW_ARRAY, 1), gw_u64(w, 0), gw_u64(w, 0);
}

static void put_many_strings(gguf_writer *w)
{
    gw_array(w, "k", GW_STRING, UINT64_MAX), gw_string(w, "");
}

static void put_many_doubles(gguf_writer *w)
{
    gw_array(w, "k", GW_F64, UINT64_C(1) << 61), gw_u64(w, 0);
}

static void put_bad_bool(gguf_writer *w)
{
    gw_key_bool(w, "k", 2);
}

static void put_bad_bools(gguf_writer *w)
{
    gw_array(w, "k", GW_BOOL, 2), gw_bytes(w, "\1\xFF", 2);
}

static void put_twice(gguf_writer *w)
{
    gw_key_u32(w, "k", 1), gw_key_u32(w, "k", 1);
}

static void put_alignment(gguf_writer *w)
{
    gw_key_u32(w, "general.alignment", 48);
}

static void put_no_alignment(gguf_writer *w)
{
    gw_key_u32(w, "general.alignment", 0);
}

static void put_text_alignment(gguf_writer *w)
{
    gw_key_string(w, "general.alignment", "32");
}

static void put_one(gguf_writer *w, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset)
{
    gw_tensor(w, "t", n_dims, dims, type, offset);
    gw_align(w, 32);
    gw_bytes(w, "0123456789abcdef0123456789abcdef", 32);
}

static void put_no_dims(gguf_writer *w)
{
    put_one(w, 0, NULL, GGUF_F32, 0);
}

static void put_five_dims(gguf_writer *w)
{
    put_one(w, 5, (uint64_t[]){ 1, 1, 1, 1, 1 }, GGUF_F32, 0);
}

static void put_zero_dim(gguf_writer *w)
{
    put_one(w, 2, (uint64_t[]){ 4, 0 }, GGUF_F32, 0);
}

static void put_part_of_block(gguf_writer *w)
{
    put_one(w, 1, (uint64_t[]){ 33 }, GGUF_Q4_0, 0);
}

static void put_overflow(gguf_writer *w)
{
    const uint64_t large = UINT64_C(1) << 32;

    put_one(w, 3, (uint64_t[]){ large, large, 4 }, GGUF_F32, 0);
}

static void put_large_row(gguf_writer *w)
{
    put_one(w, 1, (uint64_t[]){ UINT64_MAX }, GGUF_F32, 0);
}

static void put_odd_type(gguf_writer *w)
{
    put_one(w, 1, (uint64_t[]){ 1 }, 31, 0);
}

static void put_past_end(gguf_writer *w)
{
    put_one(w, 1, (uint64_t[]){ 9 }, GGUF_F32, 0);
}

static void put_far_offset(gguf_writer *w)
{
    put_one(w, 1, (uint64_t[]){ 1 }, GGUF_F32, UINT64_MAX - 31);
}

static void put_odd_offset(gguf_writer *w)
{
    put_one(w, 1, (uint64_t[]){ 1 }, GGUF_F32, 4);
}

static void put_twins(gguf_writer *w)
{
    gw_tensor(w, "t", 1, (uint64_t[]){ 1 }, GGUF_F32, 0);
    put_one(w, 1, (uint64_t[]){ 1 }, GGUF_F32, 0);
}

static const struct wrong {
    uint32_t version;
    uint64_t tensors, keys;
    void (*put)(gguf_writer *w);
    const char *message; /* a part of it */
} wrong[] = {
    { 1, 0, 0, put_nothing, "byte 4: GGUF version 1; 2 and 3 are supported" },
    { 4, 0, 0, put_nothing, "byte 4: GGUF version 4; 2 and 3 are supported" },
    { 0x03000000, 0, 0, put_nothing, "is a big-endian GGUF file" },
    { 3, 0, UINT64_MAX, put_twice, "18446744073709551615 keys; at most 262144 are allowed" },
    { 3, 0, 262144, put_twice, "262144 keys; at most 2 fit into the rest of the file" },
    { 3, UINT64_MAX, 2, put_nothing, "2 keys; at most 0 fit" },
    { 3, UINT64_MAX, 0, put_nothing, "18446744073709551615 tensors; at most 262144 are allowed" },
    { 3, 200000, 0, put_past_end, "200000 tensors; at most 2 fit into the rest of the file" },
    { 3, 0, 1, put_long_string, "a string takes 18446744073709551615 bytes, but the file ends after 3" },
    { 3, 0, 1, put_long_name, "the name of a key takes 18446744073709551608 bytes" },
    { 3, 0, 1, put_no_name, "the name of a key has 0 bytes; allowed are 1 to 65535" },
    { 3, 0, 1, put_unknown_type, "key \"k?k\" has type 13; 0 to 12 are allowed" },
    { 3, 0, 1, put_unknown_array, "key \"k\" has type 4000000000; 0 to 12 are allowed" },
    { 3, 0, 1, put_nested_array, "an array of arrays of length 1; they are not supported" },
    { 3, 0, 1, put_many_strings, "18446744073709551615 strings; at most 1 fit" },
    { 3, 0, 1, put_many_doubles, "2305843009213693952 float64; at most 1 fit" },
    { 3, 0, 1, put_bad_bool, "key \"k\" has a bool of 2; 0 and 1 are allowed" },
    { 3, 0, 1, put_bad_bools, "key \"k\" has a bool of 255; 0 and 1 are allowed" },
    { 3, 0, 2, put_twice, "the key \"k\" is there twice" },
    { 3, 0, 1, put_alignment, "key \"general.alignment\" is 48; powers of two from 8 to 65536 are allowed" },
    { 3, 0, 1, put_no_alignment, "key \"general.alignment\" is 0; powers of two" },
    { 3, 0, 1, put_text_alignment, "key \"general.alignment\" is of type string; wanted is an integer" },
    { 3, 1, 0, put_no_dims, "tensor \"t\" has a number of dimensions of 0; 1 to 4 are allowed" },
    { 3, 1, 0, put_five_dims, "tensor \"t\" has a number of dimensions of 5; 1 to 4 are allowed" },
    { 3, 1, 0, put_zero_dim, "tensor \"t\" has a dimension of 0; 1 and more are allowed" },
    { 3, 1, 0, put_part_of_block, "tensor \"t\" has a first dimension of 33; it must be whole blocks" },
    { 3, 1, 0, put_overflow, "tensor \"t\" of type F32 and shape 4294967296 x 4294967296 x 4 x 1 is larger" },
    { 3, 1, 0, put_large_row, "tensor \"t\" of type F32 and shape 18446744073709551615 x 1 x 1 x 1 is" },
    { 3, 1, 0, put_odd_type, "tensor \"t\" has type 31; ggml's numbers of 0 (F32) to 39 (MXFP4) are known" },
    { 3, 1, 0, put_past_end, "tensor \"t\" has data that end past the file, at offset 0; the file is cut" },
    { 3, 1, 0, put_far_offset, "data that end past the file, at offset 18446744073709551584" },
    { 3, 1, 0, put_odd_offset, "tensor \"t\" has offset 4; it must be a multiple of general.alignment" },
    { 3, 2, 0, put_twins, "the tensor \"t\" is there twice" },
};

START_TEST(refuses_wrong_files)
{
    const struct wrong *c = &wrong[_i];
    gguf_writer w = { 0 };
    gguf *file = NULL;

    gw_header(&w, c->version, c->tensors, c->keys);
    c->put(&w);
    unsigned char *bytes = gw_copy(&w, w.size);
    ck_assert(!gguf_open_memory(bytes, w.size, "wrong.gguf", &file, &error));
    ck_assert_ptr_null(file);
    expect("wrong.gguf");
    expect(c->message);
    free(bytes);
    free(w.bytes);
}
END_TEST

/* Read all that an open file offers, so that a sanitizer sees a wrong address. Returns a sum of it. */
static unsigned touch(const gguf *file)
{
    unsigned sum = 0;

    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        for (size_t k = 0; k < t->bytes; k++)
            sum += ((const unsigned char *)t->data)[k];
    }
    static const char *const arrays[] = { "bytes", "ints", "floats", "longs", "bools" };
    for (size_t i = 0; i < COUNT(arrays); i++) {
        gguf_array a = { 0 };
        if (!gguf_get_numbers(file, arrays[i], &a, &error)) continue;
        for (uint64_t k = 0; k < a.count; k++)
            sum += (unsigned)gguf_array_i64(&a, k) + (gguf_array_f64(&a, k) > 0);
    }
    gguf_array words = { 0 };
    gguf_string word = { 0 };
    if (gguf_get_strings(file, "words", &words, &error)) {
        while (gguf_next_string(&words, &word)) {
            for (size_t k = 0; k < word.length; k++)
                sum += (unsigned char)word.text[k];
        }
    }
    return sum;
}

START_TEST(refuses_cut_files)
{
    gguf_writer w = whole_file(3);

    for (size_t size = 0; size < w.size; size++) {
        unsigned char *bytes = gw_copy(&w, size);
        gguf *file = NULL;
        error.message[0] = 0;
        ck_assert_msg(!gguf_open_memory(bytes, size, "cut.gguf", &file, &error), "opened with %zu bytes",
                      size);
        ck_assert_ptr_null(file);
        expect("cut.gguf");
        free(bytes);
    }
    free(w.bytes);
}
END_TEST

/* Each byte changed in several ways: the file opens and is sound, or a sentence says why not. */
START_TEST(survives_changed_bytes)
{
    static const unsigned char change[] = { 0x01, 0x04, 0x80, 0xFF };
    gguf_writer w = whole_file(3);
    unsigned sum = 0;
    size_t opened = 0;

    for (size_t at = 0; at < w.size; at++) {
        for (size_t i = 0; i < COUNT(change); i++) {
            unsigned char *bytes = gw_copy(&w, w.size);
            gguf *file = NULL;
            bytes[at] ^= change[i];
            error.message[0] = 0;
            if (gguf_open_memory(bytes, w.size, "changed.gguf", &file, &error)) {
                sum += touch(file);
                opened++;
            } else {
                expect("changed.gguf");
            }
            gguf_close(file);
            free(bytes);
        }
    }
    ck_assert_uint_gt(opened, 0);
    ck_assert_uint_ne(sum, 0);
    free(w.bytes);
}
END_TEST

/* ---- Files on disk ---- */

static char folder[256];

static void make_folder(void)
{
    test_make_folder(folder, sizeof folder);
}

static void remove_folder(void)
{
    rmdir(folder);
}

static const char *path_of(const char *name)
{
    static char path[sizeof folder + 32];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(maps_a_file)
{
    gguf_writer w = whole_file(3);
    const char *path = path_of("whole.gguf");
    gguf *file = NULL;

    write_file(path, w.bytes, w.size);
    ck_assert_msg(gguf_open(path, &file, &error), "%s", error.message);
    gguf *same = open_ok(&w);
    ck_assert_uint_eq(touch(file), touch(same));
    ck_assert_str_eq(gguf_path(file), path);
    gguf_close(same);
    gguf_close(file);
    unlink(path);
    free(w.bytes);
}
END_TEST

START_TEST(refuses_what_is_no_file)
{
    gguf *file = NULL;

    ck_assert(!gguf_open(path_of("missing"), &file, &error));
    expect("cannot open ");
    expect("/missing: ");
    ck_assert(!gguf_open(folder, &file, &error));
    expect("is not a GGUF file: it is no regular file");
    ck_assert_int_eq(mkfifo(path_of("pipe"), 0600), 0);
    ck_assert(!gguf_open(path_of("pipe"), &file, &error)); /* does not wait for a writer */
    expect("it is no regular file");
    unlink(path_of("pipe"));
    write_file(path_of("empty"), "", 0);
    ck_assert(!gguf_open(path_of("empty"), &file, &error));
    expect("is not a GGUF file: it is empty");
    write_file(path_of("empty"), "GGML and more", 13);
    ck_assert(!gguf_open(path_of("empty"), &file, &error));
    expect("it does not begin with \"GGUF\"");
    unlink(path_of("empty"));
    ck_assert_ptr_null(file);
    gguf_close(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("gguf");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_unchecked_fixture(t, make_folder, remove_folder);
    tcase_add_loop_test(t, reads_integers, 0, (int)COUNT(integers));
    tcase_add_test(t, reads_other_scalars);
    tcase_add_test(t, reads_arrays);
    tcase_add_test(t, reads_tensors);
    tcase_add_test(t, tensor_types);
    tcase_add_test(t, file_without_tensors);
    tcase_add_test(t, getters_refuse);
    tcase_add_test(t, quotes);
    tcase_add_loop_test(t, refuses_wrong_files, 0, (int)COUNT(wrong));
    tcase_add_test(t, refuses_cut_files);
    tcase_add_test(t, survives_changed_bytes);
    tcase_add_test(t, maps_a_file);
    tcase_add_test(t, refuses_what_is_no_file);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
