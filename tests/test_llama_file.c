/* SPDX-License-Identifier: Apache-2.0 */
/* What a GGUF file says about a Llama model, and what is refused, each with a sentence. Needs no device. */
#include "model/llama_internal.h"

#include "common.h"
#include "tiny_model.h"

#include <stdlib.h>
#include <string.h>

#define MISSING UINT32_MAX /* as a value: the key is left out */

static model_error error;

/* ---- A file that is right, but for one key or tensor ---- */

/* A layer, dim 64, four heads of 16 for two of keys, ff 96, 40 tokens. */
static const struct {
    const char *name;
    uint32_t value;
} numbers[] = {
    { "llama.block_count", 1 },          { "llama.embedding_length", 64 },
    { "llama.feed_forward_length", 96 }, { "llama.context_length", 128 },
    { "llama.attention.head_count", 4 }, { "llama.attention.head_count_kv", 2 },
};

static const struct {
    const char *name;
    uint32_t cols, rows;
} tensors[] = {
    { "token_embd.weight", 64, 40 },        { "output_norm.weight", 64, 1 },
    { "blk.0.attn_norm.weight", 64, 1 },    { "blk.0.attn_q.weight", 64, 64 },
    { "blk.0.attn_k.weight", 64, 32 },      { "blk.0.attn_v.weight", 64, 32 },
    { "blk.0.attn_output.weight", 64, 64 }, { "blk.0.ffn_norm.weight", 64, 1 },
    { "blk.0.ffn_gate.weight", 64, 96 },    { "blk.0.ffn_up.weight", 64, 96 },
    { "blk.0.ffn_down.weight", 96, 64 },
};

/* The one thing that differs: a number, a string or a float by its key, or a tensor by its name. */
typedef struct change {
    const char *key;
    uint32_t number;
    const char *text;
    float x;
    bool none;          /* and llama.rope.scaling.type is "none" */
    const char *tensor; /* "" as a new name leaves it out */
    const char *name;
    uint32_t cols, rows, type;
} change;

static bool is_key(const change *c, const char *name)
{
    return c->key && strcmp(c->key, name) == 0;
}

static uint64_t put_numbers(gguf_writer *w, const change *c)
{
    uint64_t count = 0;
    bool known = !c->key || c->text || c->x != 0.0f;

    for (size_t i = 0; i < COUNT(numbers); i++) {
        const bool changed = is_key(c, numbers[i].name);
        known = known || changed;
        if (changed && c->number == MISSING) continue;
        gw_key_u32(w, numbers[i].name, changed ? c->number : numbers[i].value);
        count++;
    }
    if (known) return count;
    gw_key_u32(w, c->key, c->number);
    return count + 1;
}

static uint64_t put_keys(gguf_writer *w, const change *c)
{
    static const char architecture[] = "general.architecture",
                      epsilon[] = "llama.attention.layer_norm_rms_epsilon";
    uint64_t count = put_numbers(w, c) + 2;

    gw_key_string(w, architecture, is_key(c, architecture) ? c->text : "llama");
    gw_key(w, epsilon, GW_F32);
    gw_f32(w, is_key(c, epsilon) ? c->x : 1e-5f);
    if (is_key(c, architecture) || is_key(c, epsilon)) return count;
    if (c->none) gw_key_string(w, "llama.rope.scaling.type", "none"), count++;
    if (c->key && c->text) gw_key_string(w, c->key, c->text), count++;
    if (c->key && c->x != 0.0f) gw_key(w, c->key, GW_F32), gw_f32(w, c->x), count++;
    return count;
}

static uint64_t put_tensor(gguf_writer *w, const char *name, uint32_t cols, uint32_t rows, uint32_t type,
                           uint64_t *offset)
{
    if (!name[0]) return 0;
    gw_tensor(w, name, 2, (uint64_t[]){ cols, rows }, type, *offset);
    const uint32_t elements = gguf_block_elements(type);
    *offset += ((uint64_t)cols / elements * gguf_block_bytes(type) * rows + 31) / 32 * 32;
    return 1;
}

static uint64_t put_tensors(gguf_writer *w, const change *c, uint64_t *bytes)
{
    uint64_t count = 0;
    bool known = !c->tensor;

    for (size_t i = 0; i < COUNT(tensors); i++) {
        const bool changed = c->tensor && strcmp(c->tensor, tensors[i].name) == 0;
        known = known || changed;
        count += changed ? put_tensor(w, c->name ? c->name : c->tensor, c->cols, c->rows, c->type, bytes)
                         : put_tensor(w, tensors[i].name, tensors[i].cols, tensors[i].rows, GGUF_F32, bytes);
    }
    return known ? count : count + put_tensor(w, c->tensor, c->cols, c->rows, c->type, bytes);
}

static gguf_writer file_with(const change *c)
{
    gguf_writer keys = { 0 }, entries = { 0 }, w = { 0 };
    uint64_t bytes = 0;
    const uint64_t n_keys = put_keys(&keys, c), n_tensors = put_tensors(&entries, c, &bytes);

    gw_header(&w, 3, n_tensors, n_keys);
    gw_bytes(&w, keys.bytes, keys.size);
    gw_bytes(&w, entries.bytes, entries.size);
    gw_align(&w, 32);
    for (uint64_t i = 0; i < bytes; i++)
        gw_bytes(&w, "", 1);
    free(keys.bytes);
    free(entries.bytes);
    return w;
}

/* Reads the file that has this change. */
static bool read_file(const change *c, llama_shape *shape)
{
    gguf_writer w = file_with(c);
    gguf *file = NULL;
    llama_tensors *t = test_alloc(sizeof *t);

    ck_assert_msg(gguf_open_memory(w.bytes, w.size, "test.gguf", &file, &error), "%s", error.message);
    const bool ok = llama_read_shape(file, shape, &error) && llama_find_tensors(file, shape, t, &error);
    if (ok) ck_assert(t->embedding && t->head && t->norm && t->layer[0].down);
    gguf_close(file);
    free(t);
    free(w.bytes);
    return ok;
}

/* ---- Tests ---- */

START_TEST(reads_what_is_there)
{
    llama_shape s;

    ck_assert_msg(read_file(&(change){ 0 }, &s), "%s", error.message);
    ck_assert(s.layers == 1 && s.dim == 64 && s.heads == 4 && s.kv_heads == 2 && s.head == 16 && s.ff == 96);
    ck_assert(s.vocab == 40 && s.context == 128 && s.rope == 16 && s.rope_base == 10000.0f);
    ck_assert(s.rope_divisor == 1.0f && s.epsilon == 1e-5f);
}
END_TEST

/* A factor is linear scaling, under either key, unless the file says that there is none. */
START_TEST(reads_scalings)
{
    static const char *const keys[] = { "llama.rope.scaling.factor", "llama.rope.scale_linear" };
    llama_shape s;

    for (size_t i = 0; i < COUNT(keys); i++) {
        ck_assert_msg(read_file(&(change){ .key = keys[i], .x = 4.0f }, &s), "%s", error.message);
        ck_assert_msg(s.rope_divisor == 4.0f, "%s: %g", keys[i], (double)s.rope_divisor);
        ck_assert(read_file(&(change){ .key = keys[i], .x = 4.0f, .none = true }, &s));
        ck_assert(s.rope_divisor == 1.0f);
    }
}
END_TEST

/* Keys without effect, and others with the one value that is supported. */
START_TEST(reads_what_does_not_matter)
{
    static const change fine[] = {
        { .key = "general.quantization_version", .number = 2 },
        { .key = "general.something.new", .number = 7 },
        { .key = "general.type", .text = "model" },
        { .key = "split.count", .number = 1 },
        { .key = "another.logit_scale", .number = 3 },
        { .key = "llama.attention.causal", .number = 1 },
        { .key = "llama.attention.clamp_kqv", .number = 0 },
        { .key = "llama.attention.layer_norm_epsilon", .x = 1e-5f },
        { .key = "llama.attention.scale", .x = 0.25f },
        { .key = "llama.expert_used_count", .number = 0 },
        { .key = "llama.logit_scale", .x = 1.0f },
        { .key = "llama.pooling_type", .number = 1 },
        { .key = "llama.rope.scaling.attn_factor", .x = 1.0f },
        { .key = "llama.rope.scaling.original_context_length", .number = 64 },
        { .key = "llama.tensor_data_layout", .text = "Meta AI original pth" },
        { .key = "llama.tensor_data_layout", .text = "reference" },
        { .key = "llama.vocab_size", .number = 40 },
    };
    llama_shape s;

    for (size_t i = 0; i < COUNT(fine); i++)
        ck_assert_msg(read_file(&fine[i], &s), "%s", error.message);
}
END_TEST

START_TEST(reads_what_may_differ)
{
    llama_shape s;

    ck_assert(read_file(&(change){ .key = "llama.rope.freq_base", .x = 5e5f }, &s) && s.rope_base == 5e5f);
    ck_assert(read_file(&(change){ .key = "llama.rope.dimension_count", .number = 8 }, &s) && s.rope == 8);
    ck_assert(read_file(&(change){ .key = "llama.rope.scaling.type", .text = "none" }, &s));
    ck_assert(read_file(&(change){ .key = "llama.attention.sliding_window", .number = 50 }, &s));
    ck_assert_uint_eq(s.context, 50);
    ck_assert(read_file(&(change){ .key = "llama.expert_count", .number = 0 }, &s));
    ck_assert(
        read_file(&(change){ .tensor = "output.weight", .cols = 64, .rows = 40, .type = GGUF_Q4_0 }, &s));
    ck_assert(read_file(&(change){ .tensor = "rope_freqs.weight", .cols = 8, .rows = 1 }, &s));
}
END_TEST

static const struct {
    change change;
    const char *message; /* a part of it */
} wrong[] = {
    { { .key = "general.architecture", .text = "gpt2" },
      "key \"general.architecture\" is \"gpt2\"; supported is \"llama\"" },
    { { .key = "llama.block_count", .number = MISSING },
      "the key \"llama.block_count\" (an integer) is missing" },
    { { .key = "llama.block_count", .number = 0 },
      "\"llama.block_count\" is 0; multiples of 1 from 1 to 512" },
    { { .key = "llama.block_count", .number = 2 }, "the tensor \"blk.1.attn_norm.weight\" is missing" },
    { { .key = "llama.block_count", .number = 513 }, "\"llama.block_count\" is 513" },
    { { .key = "llama.embedding_length", .number = 48 },
      "\"llama.embedding_length\" is 48; multiples of 32" },
    { { .key = "llama.embedding_length", .number = 4294967264u }, "from 32 to 65536 are supported" },
    { { .key = "llama.feed_forward_length", .number = 100 },
      "\"llama.feed_forward_length\" is 100; multiples" },
    { { .key = "llama.feed_forward_length", .number = 128 },
      "tensor \"blk.0.ffn_gate.weight\" has the shape 64 x 96 x 1 x 1; the metadata ask for 64 x 128" },
    { { .key = "llama.context_length", .number = 0 }, "\"llama.context_length\" is 0" },
    { { .key = "llama.attention.head_count", .number = 0 }, "\"llama.attention.head_count\" is 0" },
    { { .key = "llama.attention.head_count", .number = 3 },
      "\"llama.attention.key_length\" is 21; multiples of 16" },
    { { .key = "llama.attention.head_count_kv", .number = 3 }, "4 heads of 16 values for 3 of keys" },
    { { .key = "llama.attention.head_count_kv", .number = 5 }, "from 1 to 4 are supported" },
    { { .key = "llama.attention.key_length", .number = 32 },
      "tensor \"blk.0.attn_q.weight\" has the shape 64 x 64 x 1 x 1; the metadata ask for 64 x 128" },
    { { .key = "llama.attention.value_length", .number = 32 }, "\"llama.attention.value_length\" is 32" },
    { { .key = "llama.rope.dimension_count", .number = 7 },
      "\"llama.rope.dimension_count\" is 7; multiples of 2" },
    { { .key = "llama.rope.dimension_count", .number = 18 }, "from 2 to 16 are supported" },
    { { .key = "llama.rope.freq_base", .x = 0.5f }, "\"llama.rope.freq_base\" is 0.5" },
    { { .key = "llama.rope.scaling.type", .text = "yarn" },
      "is \"yarn\"; supported is \"none\" or \"linear\"" },
    { { .key = "llama.rope.scaling.type", .text = "linear" },
      "\"llama.rope.scaling.factor\" (a float) is missing" },
    { { .key = "llama.rope.scaling.type", .text = "longrope" }, "is \"longrope\"; supported is \"none\"" },
    { { .key = "llama.rope.scaling.factor", .x = 0.5f },
      "\"llama.rope.scaling.factor\" is 0.5; 1 to 1e+06 are supported" },
    { { .key = "llama.rope.scale_linear", .x = 0.5f },
      "\"llama.rope.scale_linear\" is 0.5; 1 to 1e+06 are supported" },
    { { .key = "llama.rope.scaling.attn_factor", .x = 1.25f },
      "key \"llama.rope.scaling.attn_factor\" is 1.25; 1 or true is supported" },
    { { .key = "llama.rope.scaling.yarn_ext_factor", .x = 1.0f },
      "key \"llama.rope.scaling.yarn_ext_factor\" is 1; 0, false or nothing is supported" },
    { { .key = "llama.attention.causal", .number = 0 },
      "\"llama.attention.causal\" is 0; 1 or true is supported" },
    { { .key = "llama.attention.clamp_kqv", .x = 8.0f },
      "\"llama.attention.clamp_kqv\" is 8; 0, false or nothing is supported" },
    { { .key = "llama.attention.scale", .x = 0.5f }, "scale\" is 0.5; 0 and 0.25 are supported" },
    { { .key = "llama.attention.sliding_window_pattern", .number = 4 },
      "pattern\" is 4; 0, false or nothing is supported" },
    { { .key = "llama.logit_scale", .x = 0.0625f },
      "\"llama.logit_scale\" is 0.0625; 0 and 1 are supported" },
    { { .key = "llama.logit_scale", .text = "x" }, "\"llama.logit_scale\" is \"x\"; 0 and 1 are supported" },
    { { .key = "llama.embedding_scale", .x = 12.0f }, "\"llama.embedding_scale\" is 12; 0 and 1" },
    { { .key = "llama.residual_scale", .x = 0.22f }, "\"llama.residual_scale\" is 0.22" },
    { { .key = "llama.final_logit_softcapping", .x = 30.0f },
      "softcapping\" is 30; 0, false or nothing is supported" },
    { { .key = "llama.use_parallel_residual", .number = 1 },
      "\"llama.use_parallel_residual\" is 1; 0, false" },
    { { .key = "llama.expert_used_count", .number = 2 },
      "\"llama.expert_used_count\" is 2; 0, false or nothing is supported" },
    { { .key = "llama.tensor_data_layout", .text = "other" },
      "is \"other\"; supported is \"Meta AI original pth\" or \"reference\"" },
    { { .key = "llama.vocab_size", .number = 41 },
      "\"llama.vocab_size\" is 41; multiples of 1 from 40 to 40" },
    { { .key = "llama.brand_new", .number = 7 },
      "key \"llama.brand_new\", which is 7, is not known, and the result may hang on it" },
    { { .key = "llama.hidden_activation", .text = "gelu" },
      "key \"llama.hidden_activation\", which is \"gelu\", is not known" },
    { { .key = "llama.", .number = 7 }, "key \"llama.\", which is 7, is not known" },
    { { .key = "general.quantization_version", .number = 1 }, "version\" is 1; 2 is supported" },
    { { .key = "general.type", .text = "adapter" },
      "\"general.type\" is \"adapter\"; supported is \"model\"" },
    { { .key = "split.count", .number = 3 }, "key \"split.count\" is 3; 0 and 1 are supported" },
    { { .key = "llama.attention.layer_norm_rms_epsilon", .x = 2.0f }, "epsilon\" is 2; 1e-12 to 1" },
    { { .key = "llama.expert_count", .number = 8 }, "a model of 8 experts; those without are supported" },
    { { .tensor = "blk.0.attn_q.weight", .name = "" }, "the tensor \"blk.0.attn_q.weight\" is missing" },
    { { .tensor = "blk.0.attn_q.weight", .cols = 64, .rows = 32 },
      "tensor \"blk.0.attn_q.weight\" has the shape 64 x 32 x 1 x 1; the metadata ask for 64 x 64" },
    { { .tensor = "blk.0.attn_q.weight", .cols = 256, .rows = 64, .type = 14 },
      "tensor \"blk.0.attn_q.weight\" is of type Q6_K; F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are supported" },
    { { .tensor = "output_norm.weight", .cols = 64, .rows = 1, .type = GGUF_F16 },
      "tensor \"output_norm.weight\" is of type F16; F32 is supported" },
    { { .tensor = "token_embd.weight", .cols = 32, .rows = 40 }, "the metadata ask for 64 x 40" },
    { { .tensor = "output.weight", .cols = 64, .rows = 41 }, "the metadata ask for 64 x 40" },
    { { .tensor = "blk.0.attn_q.bias", .cols = 64, .rows = 1 },
      "tensor \"blk.0.attn_q.bias\" is no part of a Llama model as it is supported here" },
    { { .tensor = "blk.1.attn_q.weight", .cols = 64, .rows = 64 },
      "tensor \"blk.1.attn_q.weight\" is no part" },
    { { .tensor = "blk.x", .cols = 64, .rows = 1 }, "tensor \"blk.x\" is no part" },
};

START_TEST(refuses_wrong_files)
{
    llama_shape s;

    ck_assert_msg(!read_file(&wrong[_i].change, &s), "not refused: %s", wrong[_i].message);
    ck_assert_msg(strncmp(error.message, "test.gguf: ", 11) == 0, "%s", error.message);
    ck_assert_msg(strstr(error.message, wrong[_i].message) != NULL, "\"%s\" lacks \"%s\"", error.message,
                  wrong[_i].message);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("llama_file");
    TCase *t = tcase_create("llama_file");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_test(t, reads_what_is_there);
    tcase_add_test(t, reads_what_may_differ);
    tcase_add_test(t, reads_scalings);
    tcase_add_test(t, reads_what_does_not_matter);
    tcase_add_loop_test(t, refuses_wrong_files, 0, (int)COUNT(wrong));
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
