/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizer, with a vocabulary of bytes and a few words: merges, words, special tokens, bytes in and out,
 * UTF-8 in pieces, and files that are wrong. Needs no device. */
#include "model/tokenizer.h"

#include "model/pretokenize.h"
#include "model/unicode.h"

#include "common.h"
#include "tiny_model.h"

#include <stdlib.h>
#include <string.h>

static model_error error;

static tokenizer *open_tiny(const char *pre)
{
    gguf_writer w = tiny_tokenizer_file(pre);
    gguf *file = NULL;
    tokenizer *t = NULL;

    ck_assert_msg(gguf_open_memory(w.bytes, w.size, "tiny.gguf", &file, &error), "%s", error.message);
    ck_assert_msg(tokenizer_open(file, &t, &error), "%s", error.message);
    gguf_close(file); /* the tokenizer lives on */
    free(w.bytes);
    return t;
}

static void check_ids(const char *text, const tokenizer_ids *got, const int32_t *want)
{
    size_t n = 0;

    while (want[n] >= 0)
        n++;
    ck_assert_msg(got->count == n, "\"%s\": %zu ids instead of %zu", text, got->count, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(got->list[i] == want[i], "\"%s\": id %zu is %d instead of %d", text, i,
                      (int)got->list[i], (int)want[i]);
}

/* ---- Known answers ---- */

static const struct known {
    const char *pre, *text;
    unsigned flags;
    int32_t ids[16]; /* up to -1 */
} known[] = {
    { "gpt-2", "", 0, { -1 } },
    { "gpt-2", "hello", 0, { TINY_HELLO, -1 } },
    { "gpt-2", "helllo", 0, { TINY_HELL, 'l', 'o', -1 } }, /* of equal ranks the leftmost pair first */
    { "gpt-2", "hello world", 0, { TINY_HELLO, TINY_SPACE_WORLD, -1 } },
    { "gpt-2", "world", 0, { 'w', TINY_OR, TINY_LD, -1 } },
    { "llama-bpe", "world", 0, { TINY_WORLD, -1 } },
    { "gpt-2", "   hello", 0, { TINY_SPACES, ' ', TINY_HELLO, -1 } },
    { "gpt-2", "a1b23", 0, { 'a', '1', 'b', '2', '3', -1 } },
    { "smollm", "hello12", 0, { TINY_HELLO, '1', '2', -1 } },
    { "gpt-2", "\xC3\xA9", 0, { 0xC3, 0xA9, -1 } },
    { "gpt-2", "<|end|>", 0, { '<', '|', 'e', 'n', 'd', '|', '>', -1 } },
    { "gpt-2", "<|end|>", TOKENIZER_SPECIAL, { TINY_END, -1 } },
    { "gpt-2", "<|end|>>", TOKENIZER_SPECIAL, { TINY_END_2, -1 } }, /* the longest name */
    { "gpt-2", "<|end|><", TOKENIZER_SPECIAL, { TINY_END, '<', -1 } },
    { "gpt-2", "<|end|", TOKENIZER_SPECIAL, { '<', '|', 'e', 'n', 'd', '|', -1 } },
    { "gpt-2", "a<|start|>b", TOKENIZER_SPECIAL, { 'a', TINY_START, 'b', -1 } },
    { "gpt-2", "[[x]]hello", 0, { TINY_USER, TINY_HELLO, -1 } }, /* found without being asked for */
    { "gpt-2", "hello", TOKENIZER_START, { TINY_HELLO, -1 } },   /* the file says: no beginning */
};

START_TEST(known_answers)
{
    const struct known *k = &known[_i];
    tokenizer *t = open_tiny(k->pre);
    tokenizer_ids ids = { 0 };

    ck_assert_msg(tokenizer_encode(t, k->text, strlen(k->text), k->flags, &ids, &error), "%s", error.message);
    check_ids(k->text, &ids, k->ids);
    tokenizer_ids_free(&ids);
    tokenizer_close(t);
}
END_TEST

START_TEST(tokens)
{
    tokenizer *t = open_tiny("gpt-2");

    ck_assert_int_eq(tokenizer_size(t), TINY_VOCAB);
    for (int32_t byte = 0; byte < 256; byte++) {
        const gguf_string s = tokenizer_bytes(t, byte);
        ck_assert(s.length == 1 && (unsigned char)s.text[0] == byte);
    }
    ck_assert(gguf_string_is(tokenizer_bytes(t, TINY_SPACE_WORLD), " world"));
    ck_assert(gguf_string_is(tokenizer_bytes(t, TINY_END), "<|end|>"));
    ck_assert(gguf_string_is(tokenizer_bytes(t, -1), "") &&
              gguf_string_is(tokenizer_bytes(t, TINY_VOCAB), ""));
    ck_assert(tokenizer_is_control(t, TINY_START) && !tokenizer_is_control(t, TINY_USER));
    ck_assert(!tokenizer_is_control(t, -1) && !tokenizer_is_control(t, TINY_VOCAB));
    ck_assert(tokenizer_is_end(t, TINY_END) && tokenizer_is_end(t, TINY_IM_END));
    ck_assert(!tokenizer_is_end(t, TINY_START) && !tokenizer_is_end(t, -1));
    ck_assert_int_eq(tokenizer_bos(t), TINY_START);
    ck_assert_int_eq(tokenizer_eos(t), TINY_END);
    tokenizer_close(t);
    tokenizer_close(NULL);
}
END_TEST

/* Ids are appended, and stay as they were where encoding fails. */
START_TEST(appends)
{
    tokenizer *t = open_tiny("gpt-2");
    tokenizer_ids ids = { 0 };
    char *long_text = test_alloc(TOKENIZER_MAX_TEXT + 1);

    memset(long_text, 'x', TOKENIZER_MAX_TEXT + 1);
    ck_assert(tokenizer_encode(t, "hello", 5, 0, &ids, &error));
    ck_assert(tokenizer_encode(t, " world", 6, 0, &ids, &error));
    check_ids("hello world", &ids, (const int32_t[]){ TINY_HELLO, TINY_SPACE_WORLD, -1 });
    ck_assert(!tokenizer_encode(t, long_text, TOKENIZER_MAX_TEXT + 1, 0, &ids, &error));
    ck_assert_str_eq(error.message, "the text has 16777217 bytes; at most 16777216 are allowed");
    ck_assert_uint_eq(ids.count, 2);
    free(long_text);
    tokenizer_ids_free(&ids);
    tokenizer_close(t);
}
END_TEST

/* One long word: the time must not grow with the square of its length. */
START_TEST(long_word)
{
    const size_t n = 1u << 20;
    tokenizer *t = open_tiny("gpt-2");
    tokenizer_ids ids = { 0 };
    char *text = test_alloc(n);

    for (size_t i = 0; i < n; i++)
        text[i] = "hell"[i % 4];
    ck_assert(tokenizer_encode(t, text, n, TOKENIZER_SPECIAL, &ids, &error));
    ck_assert_uint_eq(ids.count, n / 4);
    for (size_t i = 0; i < ids.count; i++)
        REQUIRE(ids.list[i] == TINY_HELL, "id %zu is %d", i, (int)ids.list[i]);
    free(text);
    tokenizer_ids_free(&ids);
    tokenizer_close(t);
}
END_TEST

/* ---- Words ---- */

/* Cuts of the rules' regular expressions, as Python's regex module makes them. | separates words. */
static const struct {
    pretokenize_rule rule;
    const char *text, *cut;
} cuts[] = {
    { PRETOKENIZE_GPT2, "don't I'LL 've", "don|'t| I|'|LL| '|ve" },
    { PRETOKENIZE_GPT2, "a  b\n\n c \t", "a| | b|\n\n| c| \t" },
    { PRETOKENIZE_GPT2, "x=12, y", "x|=|12|,| y" },
    { PRETOKENIZE_GPT2, "\xC3\xA9t\xC3\xA9\xC2\xA0!", "\xC3\xA9t\xC3\xA9|\xC2\xA0|!" },
    { PRETOKENIZE_GPT2, "\xE6\x97\xA5 \xF0\x9F\x9A\x80", "\xE6\x97\xA5| \xF0\x9F\x9A\x80" },
    /* Letters of Unicode 15.1 and 16, a digit of 16 */
    { PRETOKENIZE_GPT2, "\xF0\xAE\xAF\xB0's", "\xF0\xAE\xAF\xB0|'s" },
    { PRETOKENIZE_GPT2, "\xF0\x90\x97\x80's", "\xF0\x90\x97\x80|'s" },
    { PRETOKENIZE_GPT2, "a\xF0\x90\xB5\x80'", "a|\xF0\x90\xB5\x80|'" },
    { PRETOKENIZE_GPT2,
      "a\xFF\xFE"
      "b",
      "a|\xFF\xFE|b" },
    { PRETOKENIZE_SMOLLM, "a 12  3b", "a| |1|2|  |3|b" },
    { PRETOKENIZE_SMOLLM, "\xD9\xA3\xC2\xBD", "\xD9\xA3|\xC2\xBD" },
    { PRETOKENIZE_LLAMA_BPE, "DON'T a1234567", "DON|'T| a|123|456|7" },
    { PRETOKENIZE_LLAMA_BPE, "(a) b.\n\nc  \n d", "(a|)| b|.\n\n|c|  \n| d" },
    { PRETOKENIZE_LLAMA_BPE, "a   b", "a|  | b" },
};

START_TEST(known_words)
{
    pretokenizer p = { .rule = cuts[_i].rule,
                       .text = (const unsigned char *)cuts[_i].text,
                       .length = strlen(cuts[_i].text) };
    const unsigned char *word = NULL;
    size_t length = 0;
    char got[128] = "";
    size_t used = 0;

    while (pretokenize_next(&p, &word, &length)) {
        if (used > 0) got[used++] = '|';
        memcpy(got + used, word, length);
        used += length;
    }
    got[used] = 0;
    ck_assert_str_eq(got, cuts[_i].cut);
}
END_TEST

/* ---- Properties ---- */

/* Bytes that are more often than not something that the rules know. */
static void random_text(test_rng *r, unsigned char *text, size_t n)
{
    static const char often[] = "hello world  \t\r\n'sStT<|end|>[[x]]0129.,\xC3\xA9\xE2\x80\x83\xF0\x9F";

    for (size_t i = 0; i < n; i++)
        text[i] = rng_below(r, 4) == 0 ? (unsigned char)rng_below(r, 256)
                                       : (unsigned char)often[rng_below(r, sizeof often - 1)];
}

static void append_bytes(const tokenizer *t, const tokenizer_ids *ids, char *out, size_t room, size_t *length)
{
    *length = 0;
    for (size_t i = 0; i < ids->count; i++) {
        const gguf_string s = tokenizer_bytes(t, ids->list[i]);
        ck_assert_uint_le(*length + s.length, room);
        memcpy(out + *length, s.text, s.length);
        *length += s.length;
    }
}

START_TEST(round_trip)
{
    static const char *const rules[] = { "gpt-2", "smollm", "llama-bpe" };
    test_rng r = { 3000u + (uint64_t)_i };
    unsigned char text[300];
    char back[sizeof text];
    const size_t n = rng_below(&r, sizeof text + 1);
    size_t length = 0;

    random_text(&r, text, n);
    tokenizer *t = open_tiny(rules[_i % 3]);
    for (unsigned flags = 0; flags <= TOKENIZER_SPECIAL; flags++) {
        tokenizer_ids ids = { 0 };
        ck_assert_msg(tokenizer_encode(t, text, n, flags, &ids, &error), "%s", error.message);
        append_bytes(t, &ids, back, sizeof back, &length);
        ck_assert_msg(length == n && memcmp(back, text, n) == 0, "seed %d, flags %u", 3000 + _i, flags);
        for (size_t i = 0; i < ids.count; i++)
            REQUIRE(flags || !tokenizer_is_control(t, ids.list[i]), "a control token, unasked");
        tokenizer_ids_free(&ids);
    }
    tokenizer_close(t);
}
END_TEST

/* ---- UTF-8 in pieces ---- */

static const struct {
    const char *in, *out; /* with every byte pushed alone */
} streams[] = {
    { "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80z", "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80z" },
    { "\xFF", "\xEF\xBF\xBD" },
    { "\x80"
      "a",
      "\xEF\xBF\xBD"
      "a" },
    { "\xC3", "\xEF\xBF\xBD" }, /* never becomes whole */
    { "\xE2\x82"
      "a",
      "\xEF\xBF\xBD"
      "a" },                                                    /* one mark for a broken sequence */
    { "\xF0\x9F\x9A\xC3\xA9", "\xEF\xBF\xBD\xC3\xA9" },         /* broken by the next one's beginning */
    { "\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD" },                 /* overlong */
    { "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, /* a surrogate */
    { "\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" },
};

START_TEST(streams_bytes)
{
    utf8_stream s = { 0 };
    char out[64];
    size_t used = 0;

    for (const char *p = streams[_i].in; *p; p++)
        used += utf8_push(&s, p, 1, out + used);
    used += utf8_flush(&s, out + used);
    out[used] = 0;
    ck_assert_str_eq(out, streams[_i].out);
}
END_TEST

/* However a text is cut, the same comes out, no more than the promised room, and it is UTF-8. */
START_TEST(streams_in_pieces)
{
    test_rng r = { 4000u + (uint64_t)_i };
    unsigned char text[100];
    char whole[UTF8_ROOM(sizeof text) + 3], pieces[sizeof whole];
    const size_t n = rng_below(&r, sizeof text + 1);
    utf8_stream a = { 0 }, b = { 0 };
    size_t used = 0;

    random_text(&r, text, n);
    size_t length = utf8_push(&a, text, n, whole);
    length += utf8_flush(&a, whole + length);
    for (size_t at = 0, step = 0; at < n; at += step) {
        step = rng_below(&r, 5);
        step = step < n - at ? step : n - at;
        const size_t written = utf8_push(&b, text + at, step, pieces + used);
        ck_assert_uint_le(written, UTF8_ROOM(step));
        used += written;
    }
    used += utf8_flush(&b, pieces + used);
    ck_assert_msg(used == length && memcmp(whole, pieces, length) == 0, "seed %d", 4000 + _i);
    for (size_t at = 0; at < length;) {
        const unicode_char c = unicode_first((const unsigned char *)whole + at, length - at);
        ck_assert_msg((unsigned char)whole[at] < 0x80 || c.length > 1, "seed %d: not UTF-8", 4000 + _i);
        at += c.length;
    }
}
END_TEST

START_TEST(encodes_code_points)
{
    static const uint32_t codes[] = { 0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF };

    for (size_t i = 0; i < COUNT(codes); i++) {
        unsigned char bytes[4];
        const size_t n = unicode_encode(codes[i], bytes);
        const unicode_char c = unicode_first(bytes, n);
        ck_assert_uint_eq(c.length, n);
        ck_assert_uint_eq(c.code, codes[i]);
    }
}
END_TEST

/* ---- Wrong files ---- */

static void put_tokens(gguf_writer *w, const char *a, const char *b, const char *c)
{
    gw_array(w, "tokenizer.ggml.tokens", GW_STRING, 3), gw_string(w, a), gw_string(w, b), gw_string(w, c);
}

static void put_merge(gguf_writer *w, const char *text)
{
    gw_array(w, "tokenizer.ggml.merges", GW_STRING, 1), gw_string(w, text);
}

static void put_model(gguf_writer *w)
{
    gw_key_string(w, "tokenizer.ggml.model", "gpt2");
    gw_key_string(w, "tokenizer.ggml.pre", "gpt-2");
}

static void put_nothing(gguf_writer *w)
{
    (void)w;
}

static void put_other_model(gguf_writer *w)
{
    gw_key_string(w, "tokenizer.ggml.model", "llama");
}

static void put_other_rules(gguf_writer *w)
{
    gw_key_string(w, "tokenizer.ggml.model", "gpt2"), gw_key_string(w, "tokenizer.ggml.pre", "qwen2\n");
}

static void put_no_tokens(gguf_writer *w)
{
    put_model(w), gw_array(w, "tokenizer.ggml.tokens", GW_STRING, 0);
}

static void put_no_merges(gguf_writer *w)
{
    put_model(w), put_tokens(w, "a", "b", "ab");
}

static void put_few_types(gguf_writer *w)
{
    put_no_merges(w), gw_array(w, "tokenizer.ggml.token_type", GW_I32, 1), gw_u32(w, 1);
}

static void put_bad_type(gguf_writer *w)
{
    put_no_merges(w), gw_array(w, "tokenizer.ggml.token_type", GW_I32, 3);
    gw_u32(w, 1), gw_u32(w, 7), gw_u32(w, 1);
}

static void put_unknown_merge(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "a c");
}

static void put_blankless_merge(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "ab");
}

static void put_large_id(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "a b"), gw_key_u32(w, "tokenizer.ggml.eos_token_id", 3);
}

static void put_no_bos(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "a b"), gw_key_bool(w, "tokenizer.ggml.add_bos_token", 1);
}

static void put_end(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "a b"), gw_key_bool(w, "tokenizer.ggml.add_eos_token", 1);
}

static void put_blank(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "a b"), gw_key_bool(w, "tokenizer.ggml.add_space_prefix", 1);
}

static void put_charsmap(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "a b"), gw_array(w, "tokenizer.ggml.precompiled_charsmap", GW_U8, 2);
    gw_bytes(w, "ab", 2);
}

static void put_unknown(gguf_writer *w)
{
    put_no_merges(w), put_merge(w, "a b"), gw_key_string(w, "tokenizer.ggml.brand_new", "yes");
}

static const struct {
    uint64_t keys;
    void (*put)(gguf_writer *w);
    const char *message; /* a part of it */
} wrong[] = {
    { 0, put_nothing, "the key \"tokenizer.ggml.model\" (a string) is missing" },
    { 1, put_other_model, "tokenizer.ggml.model is \"llama\"; \"gpt2\" (byte-level BPE) is supported" },
    { 2, put_other_rules, "tokenizer.ggml.pre is \"qwen2?\"; \"gpt-2\", \"smollm\" and \"llama-bpe\" are" },
    { 3, put_no_tokens, "tokenizer.ggml.tokens has 0 tokens; 1 to 2097152 are allowed" },
    { 3, put_no_merges, "the key \"tokenizer.ggml.merges\" (an array of strings) is missing" },
    { 4, put_few_types, "tokenizer.ggml.token_type has 1 entries; as many as tokens, 3, are wanted" },
    { 4, put_bad_type, "tokenizer.ggml.token_type of token 1 is 7; 0 to 6 are allowed" },
    { 4, put_unknown_merge, "tokenizer.ggml.merges has \"a c\" at 0; allowed are two tokens" },
    { 4, put_blankless_merge, "tokenizer.ggml.merges has \"ab\" at 0; allowed are two tokens" },
    { 5, put_large_id, "tokenizer.ggml.eos_token_id is 3; ids from 0 to 2 are allowed" },
    { 5, put_end, "key \"tokenizer.ggml.add_eos_token\" is true; 0, false or nothing is supported" },
    { 5, put_blank, "key \"tokenizer.ggml.add_space_prefix\" is true; 0, false or nothing is supported" },
    { 5, put_charsmap,
      "key \"tokenizer.ggml.precompiled_charsmap\" is an array of 2; 0, false or nothing is supported" },
    { 5, put_unknown, "key \"tokenizer.ggml.brand_new\", which is \"yes\", is not known" },
    { 5, put_no_bos, "texts are to begin with a token, but tokenizer.ggml.bos_token_id is missing" },
};

START_TEST(refuses_wrong_files)
{
    gguf_writer w = { 0 };
    gguf *file = NULL;
    tokenizer *t = NULL;

    gw_header(&w, 3, 0, wrong[_i].keys);
    wrong[_i].put(&w);
    ck_assert_msg(gguf_open_memory(w.bytes, w.size, "wrong.gguf", &file, &error), "%s", error.message);
    ck_assert(!tokenizer_open(file, &t, &error) && !t);
    ck_assert_msg(strncmp(error.message, "wrong.gguf: ", 12) == 0, "%s", error.message);
    ck_assert_msg(strstr(error.message, wrong[_i].message) != NULL, "\"%s\" lacks \"%s\"", error.message,
                  wrong[_i].message);
    gguf_close(file);
    free(w.bytes);
}
END_TEST

/* A vocabulary without all bytes cannot say everything. */
START_TEST(names_a_missing_byte)
{
    gguf_writer w = { 0 };
    gguf *file = NULL;
    tokenizer *t = NULL;
    tokenizer_ids ids = { 0 };

    gw_header(&w, 3, 0, 4);
    put_no_merges(&w), put_merge(&w, "a b");
    ck_assert(gguf_open_memory(w.bytes, w.size, "few.gguf", &file, &error));
    ck_assert_msg(tokenizer_open(file, &t, &error), "%s", error.message);
    ck_assert(tokenizer_encode(t, "abba", 4, 0, &ids, &error));
    check_ids("abba", &ids, (const int32_t[]){ 2, 1, 0, -1 });
    ck_assert(!tokenizer_encode(t, "ab.a", 4, 0, &ids, &error));
    ck_assert_str_eq(error.message, "the text has 0x2E at byte 2, which this model has no token for");
    ck_assert_uint_eq(ids.count, 3);
    tokenizer_ids_free(&ids);
    tokenizer_close(t);
    gguf_close(file);
    free(w.bytes);
}
END_TEST

/* What a model for code fills gaps with is not text either. */
START_TEST(ends_of_gaps)
{
    gguf_writer w = { 0 };
    gguf *file = NULL;
    tokenizer *t = NULL;

    gw_header(&w, 3, 0, 6);
    put_no_merges(&w), put_merge(&w, "a b");
    gw_key_u32(&w, "tokenizer.ggml.fim_pad_token_id", 1);
    gw_key_u32(&w, "tokenizer.ggml.fim_pre_token_id", 2);
    ck_assert(gguf_open_memory(w.bytes, w.size, "gaps.gguf", &file, &error));
    ck_assert_msg(tokenizer_open(file, &t, &error), "%s", error.message);
    ck_assert(!tokenizer_is_end(t, 0) && tokenizer_is_end(t, 1) && !tokenizer_is_end(t, 2));
    ck_assert_int_eq(tokenizer_eos(t), TOKENIZER_NONE);
    tokenizer_close(t);
    gguf_close(file);
    free(w.bytes);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("tokenizer");
    TCase *t = tcase_create("tokenizer");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_loop_test(t, known_answers, 0, (int)COUNT(known));
    tcase_add_test(t, tokens);
    tcase_add_test(t, appends);
    tcase_add_test(t, long_word);
    tcase_add_loop_test(t, known_words, 0, (int)COUNT(cuts));
    tcase_add_loop_test(t, round_trip, 0, 300);
    tcase_add_loop_test(t, streams_bytes, 0, (int)COUNT(streams));
    tcase_add_loop_test(t, streams_in_pieces, 0, 300);
    tcase_add_test(t, encodes_code_points);
    tcase_add_loop_test(t, refuses_wrong_files, 0, (int)COUNT(wrong));
    tcase_add_test(t, names_a_missing_byte);
    tcase_add_test(t, ends_of_gaps);
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
