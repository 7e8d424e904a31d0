/* SPDX-License-Identifier: Apache-2.0 */
/* The real model's file and tokenizer: known ids for known texts, and files cut short or damaged, each of
 * which ends in a sentence. Needs no device; skipped without the file. */
#include "model/tokenizer.h"

#include "common.h"
#include "smollm2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KILOBYTE 1024u
#define IM_END 2 /* <|im_end|> */

static unsigned char *bytes; /* the file */
static size_t size;
static gguf *file;
static tokenizer *vocabulary;
static json_t *answers;

/* ---- Known texts ---- */

static void check_text(const json_t *answer, bool exact)
{
    const char *text = json_string_value(json_object_get(answer, "text"));
    const json_t *want = json_object_get(answer, "ids");
    model_error error;
    tokenizer_ids ids = { 0 };
    size_t at = 0;

    ck_assert_msg(
        tokenizer_encode(vocabulary, text, strlen(text), exact ? 0 : TOKENIZER_SPECIAL, &ids, &error), "%s",
        error.message);
    if (exact) ck_assert_msg(ids.count == json_array_size(want), "\"%s\": %zu ids", text, ids.count);
    for (size_t i = 0; i < ids.count; i++) {
        const gguf_string piece = tokenizer_bytes(vocabulary, ids.list[i]);
        if (exact) ck_assert_int_eq(ids.list[i], json_integer_value(json_array_get(want, i)));
        ck_assert_msg(strncmp(text + at, piece.text, piece.length) == 0, "\"%s\": not its text again", text);
        at += piece.length;
    }
    ck_assert_uint_eq(at, strlen(text));
    tokenizer_ids_free(&ids);
}

START_TEST(known_texts)
{
    for (size_t i = 0; i < json_array_size(answers); i++) {
        check_text(json_array_get(answers, i), true);
        check_text(json_array_get(answers, i), false);
    }
}
END_TEST

START_TEST(special_tokens)
{
    static const char text[] = "<|im_start|>user\nhi<|im_end|>";
    model_error error;
    tokenizer_ids ids = { 0 };

    ck_assert(tokenizer_encode(vocabulary, text, sizeof text - 1, TOKENIZER_SPECIAL, &ids, &error));
    ck_assert_uint_eq(ids.count, 5);
    ck_assert(ids.list[0] == 1 && ids.list[4] == IM_END);
    ck_assert_int_eq(tokenizer_eos(vocabulary), IM_END);
    ck_assert(tokenizer_is_end(vocabulary, IM_END) && tokenizer_is_end(vocabulary, 0));
    tokenizer_ids_free(&ids);
}
END_TEST

/* ---- Damaged files ---- */

/* Opens the file and its tokenizer; where that fails, a sentence must name the file. Returns whether it
 * did. */
static bool opens(const void *data, size_t length)
{
    model_error error = { .message = "" };
    gguf *damaged = NULL;
    tokenizer *t = NULL;
    const bool ok = gguf_open_memory(data, length, "damaged.gguf", &damaged, &error) &&
                    tokenizer_open(damaged, &t, &error);

    if (!ok)
        ck_assert_msg(strstr(error.message, "damaged.gguf") != NULL, "no sentence: \"%s\"", error.message);
    tokenizer_close(t);
    gguf_close(damaged);
    return ok;
}

/* Where the weights begin. */
static size_t header_size(void)
{
    size_t first = size;

    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const size_t at = (size_t)((const unsigned char *)gguf_tensor_at(file, i)->data - bytes);
        first = at < first ? at : first;
    }
    return first;
}

/* Cut at every kilobyte of the header, and at every megabyte of the weights, in the long tier at every
 * kilobyte of all. */
START_TEST(cut_files)
{
    const size_t step = getenv("CLSAMPLE_TEST_LONG") ? 1 : KILOBYTE;
    const size_t header = header_size();
    size_t cuts = 0;

    for (size_t at = 0; at < size; at += (at < header ? 1 : step) * KILOBYTE, cuts++)
        ck_assert_msg(!opens(bytes, at), "cut at %zu bytes, it opens", at);
    printf("%zu cuts\n", cuts);
}
END_TEST

/* Bytes of the header flipped, here and there: it opens or says why not. */
START_TEST(flipped_bytes)
{
    const size_t header = 2u << 20;
    test_rng r = { 5000u + (uint64_t)_i };
    unsigned char *copy = test_alloc(header);

    memcpy(copy, bytes, header);
    for (uint32_t i = 0; i <= rng_below(&r, 8); i++) {
        /* The first bytes hold the counts: half of the changes go there. */
        const uint32_t at = rng_below(&r, rng_below(&r, 2) ? 2048 : (uint32_t)header);
        copy[at] = (unsigned char)(copy[at] ^ (1u << rng_below(&r, 8)));
    }
    (void)opens(copy, header); /* the weights are missing, so it is refused at the latest there */
    free(copy);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("smollm2_text");
    TCase *t = tcase_create("smollm2_text");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_test(t, known_texts);
    tcase_add_test(t, special_tokens);
    tcase_add_test(t, cut_files);
    tcase_add_loop_test(t, flipped_bytes, 0, 100);
    suite_add_tcase(s, t);
    return s;
}

/* The whole file in memory, so that it can be cut anywhere. */
static bool read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    const bool found = f && fseek(f, 0, SEEK_END) == 0;
    const long end = found ? ftell(f) : -1;

    if (end > 0) bytes = malloc((size_t)end);
    if (bytes && fseek(f, 0, SEEK_SET) == 0) size = fread(bytes, 1, (size_t)end, f);
    if (f) fclose(f);
    return size > 0 && size == (size_t)end;
}

static int run(const char *path)
{
    model_error error = { .message = "" };
    int failed = 1;

    if (read_file(path) && gguf_open_memory(bytes, size, path, &file, &error) &&
        tokenizer_open(file, &vocabulary, &error)) {
        SRunner *r = srunner_create(suite());
        srunner_set_fork_status(r, CK_NOFORK);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
    } else {
        printf("%s cannot be read: %s\n", path, error.message);
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(void)
{
    const char *path = smollm2_path();

    if (!path) return 77;
    answers = smollm2_answers("tokenizer");
    const int code = run(path);
    json_decref(answers);
    tokenizer_close(vocabulary);
    gguf_close(file);
    free(bytes);
    return code;
}
