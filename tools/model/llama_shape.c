/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"
#include "llama_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_ROOM 64 /* bytes of a tensor's name */

/* ---- Metadata ---- */

/* A whole number: its key, what is allowed, and the default where it may be missing (0 = it may not). */
typedef struct field {
    const char *key;
    uint32_t *to;
    uint32_t min, max, multiple, missing;
} field;

static bool read_field(const gguf *file, const field *f, model_error *error)
{
    *f->to = f->missing;
    if ((f->missing == 0 || gguf_has(file, f->key)) && !gguf_get_u32(file, f->key, f->to, error))
        return false;
    if (*f->to >= f->min && *f->to <= f->max && *f->to % f->multiple == 0) return true;
    return model_fail(error,
                      "%s: key \"%s\" is %" PRIu32 "; multiples of %" PRIu32 " from %" PRIu32 " to %" PRIu32
                      " are supported",
                      gguf_path(file), f->key, *f->to, f->multiple, f->min, f->max);
}

static bool read_fields(const gguf *file, const field *list, size_t count, model_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!read_field(file, &list[i], error)) return false;
    }
    return true;
}

static bool read_float(const gguf *file, const char *key, float min, float max, float missing, float *to,
                       model_error *error)
{
    *to = missing;
    if ((missing == 0.0f || gguf_has(file, key)) && !gguf_get_f32(file, key, to, error)) return false;
    if (*to >= min && *to <= max) return true; /* NaN is not */
    return model_fail(error, "%s: key \"%s\" is %g; %g to %g are supported", gguf_path(file), key,
                      (double)*to, (double)min, (double)max);
}

/* A string that is one of two, or with `second` NULL just the first. */
static bool read_word(const gguf *file, const char *key, const char *first, const char *second,
                      gguf_string *text, model_error *error)
{
    char shown[GGUF_QUOTED];

    if (!gguf_get_string(file, key, text, error)) return false;
    if (gguf_string_is(*text, first) || (second && gguf_string_is(*text, second))) return true;
    return model_fail(error, "%s: key \"%s\" is \"%s\"; supported is \"%s\"%s%s%s", gguf_path(file), key,
                      gguf_quote(*text, shown), first, second ? " or \"" : "", second ? second : "",
                      second ? "\"" : "");
}

/* What scores are multiplied with: 0 stands for the root that all models here have. */
static bool check_scale(const gguf *file, const llama_shape *s, model_error *error)
{
    static const char key[] = "llama.attention.scale";
    const float usual = 1.0f / sqrtf((float)s->head);
    float scale = 0.0f;

    if (!gguf_has(file, key)) return true;
    if (!gguf_get_f32(file, key, &scale, error)) return false;
    if (scale == 0.0f || fabsf(scale - usual) <= 1e-6f * usual) return true;
    return model_fail(error, "%s: key \"%s\" is %g; 0 and %g are supported", gguf_path(file), key,
                      (double)scale, (double)usual);
}

/* The heads' sizes, which follow from others unless the file gives them. */
static bool read_heads(const gguf *file, llama_shape *s, model_error *error)
{
    const field heads[] = {
        { "llama.attention.head_count", &s->heads, 1, 1024, 1, 0 },
    };
    if (!read_fields(file, heads, 1, error)) return false;
    uint32_t value_length = 0;
    const uint32_t usual = s->dim / s->heads;
    const field sizes[] = {
        { "llama.attention.head_count_kv", &s->kv_heads, 1, s->heads, 1, s->heads },
        { "llama.attention.key_length", &s->head, 16, 512, 16, usual > 0 ? usual : 1 },
    };
    if (!read_fields(file, sizes, sizeof sizes / sizeof *sizes, error)) return false;
    const field rest[] = {
        { "llama.attention.value_length", &value_length, s->head, s->head, 1, s->head },
        { "llama.rope.dimension_count", &s->rope, 2, s->head, 2, s->head },
    };
    if (!read_fields(file, rest, sizeof rest / sizeof *rest, error) || !check_scale(file, s, error))
        return false;
    if (s->heads % s->kv_heads == 0 && s->heads * s->head % LLAMA_BLOCK == 0) return true;
    return model_fail(error,
                      "%s: %" PRIu32 " heads of %" PRIu32 " values for %" PRIu32
                      " of keys: the first must be a multiple of the last, and their values one of %u",
                      gguf_path(file), s->heads, s->head, s->kv_heads, LLAMA_BLOCK);
}

/* A factor without a type is a linear one, and files from before there were types have it under a key of its
 * own, which counts where the other is missing. */
static bool read_rope(const gguf *file, llama_shape *s, model_error *error)
{
    static const char type[] = "llama.rope.scaling.type", old[] = "llama.rope.scale_linear";
    const char *factor = "llama.rope.scaling.factor";
    const bool typed = gguf_has(file, type);
    gguf_string scaling;

    s->rope_divisor = 1.0f;
    if (!read_float(file, "llama.rope.freq_base", 1.0f, 1e12f, 10000.0f, &s->rope_base, error)) return false;
    if (typed && !read_word(file, type, "none", "linear", &scaling, error)) return false;
    if (typed && gguf_string_is(scaling, "none")) return true;
    if (!gguf_has(file, factor) && gguf_has(file, old)) factor = old;
    if (!typed && !gguf_has(file, factor)) return true;
    return read_float(file, factor, 1.0f, 1e6f, 0.0f, &s->rope_divisor, error);
}

/* All keys of the architecture that are known, in whose list docs/model.md gives the reasons. */
static const known_key llama_keys[] = {
    /* Read above */
    { "block_count", KEY_ANY },
    { "context_length", KEY_ANY },
    { "embedding_length", KEY_ANY },
    { "expert_count", KEY_ANY },
    { "feed_forward_length", KEY_ANY },
    { "tensor_data_layout", KEY_ANY },
    { "vocab_size", KEY_ANY },
    { "attention.head_count", KEY_ANY },
    { "attention.head_count_kv", KEY_ANY },
    { "attention.key_length", KEY_ANY },
    { "attention.layer_norm_rms_epsilon", KEY_ANY },
    { "attention.scale", KEY_ANY },
    { "attention.sliding_window", KEY_ANY },
    { "attention.value_length", KEY_ANY },
    { "rope.dimension_count", KEY_ANY },
    { "rope.freq_base", KEY_ANY },
    { "rope.scale_linear", KEY_ANY },
    { "rope.scaling.factor", KEY_ANY },
    { "rope.scaling.type", KEY_ANY },
    /* Without effect: of another norm, of embeddings, of scalings that are refused */
    { "attention.layer_norm_epsilon", KEY_ANY },
    { "pooling_type", KEY_ANY },
    { "rope.scaling.finetuned", KEY_ANY },
    { "rope.scaling.original_context_length", KEY_ANY },
    { "rope.scaling.yarn_beta_fast", KEY_ANY },
    { "rope.scaling.yarn_beta_slow", KEY_ANY },
    /* Not supported */
    { "attn_logit_softcapping", KEY_ZERO },
    { "embedding_scale", KEY_ZERO_OR_ONE },
    { "expert_feed_forward_length", KEY_ZERO },
    { "expert_group_count", KEY_ZERO },
    { "expert_group_used_count", KEY_ZERO },
    { "expert_shared_count", KEY_ZERO },
    { "expert_shared_feed_forward_length", KEY_ZERO },
    { "expert_used_count", KEY_ZERO },
    { "expert_weights_norm", KEY_ZERO },
    { "expert_weights_scale", KEY_ZERO_OR_ONE },
    { "final_logit_softcapping", KEY_ZERO },
    { "leading_dense_block_count", KEY_ZERO },
    { "logit_scale", KEY_ZERO_OR_ONE },
    { "nextn_predict_layers", KEY_ZERO },
    { "residual_scale", KEY_ZERO_OR_ONE },
    { "router_logit_softcapping", KEY_ZERO },
    { "swin_norm", KEY_ZERO },
    { "use_parallel_residual", KEY_ZERO },
    { "attention.causal", KEY_ONE },
    { "attention.clamp_kqv", KEY_ZERO },
    { "attention.max_alibi_bias", KEY_ZERO },
    { "attention.sliding_window_pattern", KEY_ZERO },
    { "attention.temperature_length", KEY_ZERO },
    { "attention.temperature_scale", KEY_ZERO },
    { "rope.dimension_sections", KEY_ZERO },
    { "rope.scale", KEY_ONE },
    { "rope.scaling.alpha", KEY_ZERO },
    { "rope.scaling.attn_factor", KEY_ONE },
    { "rope.scaling.yarn_attn_factor", KEY_ONE },
    { "rope.scaling.yarn_ext_factor", KEY_ZERO },
    { "rope.scaling.yarn_log_multiplier", KEY_ZERO },
};

/* Rows of queries and keys lie so that the values which are turned together are neighbours: the first name is
 * what the format calls that, the second what it calls a file that does not say. */
static bool check_layout(const gguf *file, model_error *error)
{
    static const char key[] = "llama.tensor_data_layout";
    gguf_string layout;

    return !gguf_has(file, key) || read_word(file, key, "Meta AI original pth", "reference", &layout, error);
}

static bool check_keys(const gguf *file, model_error *error)
{
    static const char type[] = "general.type";
    gguf_string what;

    if (gguf_has(file, type) && !read_word(file, type, "model", NULL, &what, error)) return false;
    return keys_check_one(file, "general.quantization_version", KEY_TWO, error) &&
           keys_check_one(file, "split.count", KEY_ZERO_OR_ONE, error) && check_layout(file, error) &&
           keys_check(file, "llama.", llama_keys, sizeof llama_keys / sizeof *llama_keys, error);
}

bool llama_read_shape(const gguf *file, llama_shape *s, model_error *error)
{
    uint32_t experts = 0, window = 0;
    gguf_string architecture;
    const field fields[] = {
        { "llama.block_count", &s->layers, 1, LLAMA_MAX_LAYERS, 1, 0 },
        { "llama.embedding_length", &s->dim, LLAMA_BLOCK, 65536, LLAMA_BLOCK, 0 },
        { "llama.feed_forward_length", &s->ff, LLAMA_BLOCK, 262144, LLAMA_BLOCK, 0 },
        { "llama.context_length", &s->context, 1, 1u << 20, 1, 0 },
        { "llama.expert_count", &experts, 0, UINT32_MAX, 1, UINT32_MAX },
        { "llama.attention.sliding_window", &window, 0, UINT32_MAX, 1, UINT32_MAX },
    };

    *s = (llama_shape){ 0 };
    if (!read_word(file, "general.architecture", "llama", NULL, &architecture, error)) return false;
    if (!read_fields(file, fields, sizeof fields / sizeof *fields, error)) return false;
    if (experts != UINT32_MAX && experts > 0) {
        return model_fail(error, "%s: a model of %" PRIu32 " experts; those without are supported",
                          gguf_path(file), experts);
    }
    /* Within its window such a model looks back to the beginning, like the others. */
    if (window > 0 && window < s->context) s->context = window;
    return read_heads(file, s, error) && read_rope(file, s, error) &&
           read_float(file, "llama.attention.layer_norm_rms_epsilon", 1e-12f, 1.0f, 0.0f, &s->epsilon,
                      error) &&
           check_keys(file, error);
}

/* ---- Tensors ---- */

/* A matrix of `rows` rows of `cols`, or with rows 1 a list. */
static bool check_size(const gguf *file, const gguf_tensor *t, uint64_t cols, uint64_t rows,
                       model_error *error)
{
    char name[GGUF_QUOTED];

    if (t->dims[0] == cols && t->dims[1] == rows && t->dims[2] == 1 && t->dims[3] == 1) return true;
    return model_fail(error,
                      "%s: tensor \"%s\" has the shape %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64
                      "; the metadata ask for %" PRIu64 " x %" PRIu64,
                      gguf_path(file), gguf_quote(t->name, name), t->dims[0], t->dims[1], t->dims[2],
                      t->dims[3], cols, rows);
}

static bool find_matrix(const gguf *file, const char *name, uint64_t cols, uint64_t rows,
                        const gguf_tensor **out, model_error *error)
{
    return gguf_get_tensor(file, name, out, error) && check_size(file, *out, cols, rows, error);
}

/* A list of floats: it is read by every kernel as it is. */
static bool find_list(const gguf *file, const char *name, uint64_t count, const gguf_tensor **out,
                      model_error *error)
{
    if (!find_matrix(file, name, count, 1, out, error)) return false;
    if ((*out)->type == GGUF_F32) return true;
    return model_fail(error, "%s: tensor \"%s\" is of type %s; F32 is supported", gguf_path(file), name,
                      gguf_type_name((*out)->type));
}

/* The tensors of a layer by the end of their names, with their place in llama_tensors_layer. */
#define LAYER_TENSORS 9u
typedef struct part {
    const char *name;
    const gguf_tensor **to;
    uint64_t cols, rows; /* rows 0: a list */
} part;

static void layer_parts(const llama_shape *s, llama_tensors_layer *l, part list[LAYER_TENSORS])
{
    const uint64_t queries = (uint64_t)s->heads * s->head;
    const uint64_t shared = (uint64_t)s->kv_heads * s->head;
    const part parts[LAYER_TENSORS] = {
        { "attn_norm.weight", &l->attention_norm, s->dim, 0 },
        { "attn_q.weight", &l->query, s->dim, queries },
        { "attn_k.weight", &l->key, s->dim, shared },
        { "attn_v.weight", &l->value, s->dim, shared },
        { "attn_output.weight", &l->output, queries, s->dim },
        { "ffn_norm.weight", &l->feed_norm, s->dim, 0 },
        { "ffn_gate.weight", &l->gate, s->dim, s->ff },
        { "ffn_up.weight", &l->up, s->dim, s->ff },
        { "ffn_down.weight", &l->down, s->ff, s->dim },
    };

    memcpy(list, parts, sizeof parts);
}

static bool find_layer(const gguf *file, const llama_shape *s, uint32_t layer, llama_tensors_layer *to,
                       model_error *error)
{
    part list[LAYER_TENSORS];
    char name[NAME_ROOM];

    layer_parts(s, to, list);
    for (size_t i = 0; i < LAYER_TENSORS; i++) {
        snprintf(name, sizeof name, "blk.%" PRIu32 ".%s", layer, list[i].name);
        const bool found = list[i].rows > 0
                               ? find_matrix(file, name, list[i].cols, list[i].rows, list[i].to, error)
                               : find_list(file, name, list[i].cols, list[i].to, error);
        if (!found) return false;
    }
    return true;
}

/* The embedding tells how many tokens there are. */
static bool find_embedding(const gguf *file, llama_shape *s, llama_tensors *t, model_error *error)
{
    const uint64_t most = 1u << 20; /* what clsample takes */

    if (!gguf_get_tensor(file, "token_embd.weight", &t->embedding, error)) return false;
    const uint64_t vocab = t->embedding->dims[1];
    if (vocab > most) {
        return model_fail(
            error, "%s: tensor \"token_embd.weight\" has %" PRIu64 " tokens; up to %" PRIu64 " are supported",
            gguf_path(file), vocab, most);
    }
    uint32_t said = 0;
    s->vocab = (uint32_t)vocab;
    const field size = { "llama.vocab_size", &said, s->vocab, s->vocab, 1, s->vocab };
    return read_field(file, &size, error) && check_size(file, t->embedding, s->dim, vocab, error);
}

/* Is a tensor one that find_layer() took? */
static bool is_layer_tensor(const gguf_tensor *t, const llama_shape *s)
{
    llama_tensors_layer layer;
    part list[LAYER_TENSORS];
    char name[NAME_ROOM];
    uint32_t number = 0;
    int used = 0;

    if (t->name.length >= sizeof name) return false;
    memcpy(name, t->name.text, t->name.length);
    name[t->name.length] = 0;
    if (sscanf(name, "blk.%9" SCNu32 ".%n", &number, &used) != 1 || used == 0 || number >= s->layers)
        return false;
    layer_parts(s, &layer, list);
    for (size_t i = 0; i < LAYER_TENSORS; i++) {
        if (strcmp(name + used, list[i].name) == 0) return true;
    }
    return false;
}

/* A bias, say, that nobody adds would give wrong text without a word. */
static bool check_no_others(const gguf *file, const llama_shape *s, const llama_tensors *t,
                            model_error *error)
{
    char name[GGUF_QUOTED];

    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const gguf_tensor *other = gguf_tensor_at(file, i);
        if (other == t->embedding || other == t->norm || other == t->head || other == t->rope_factors)
            continue;
        if (is_layer_tensor(other, s)) continue;
        return model_fail(error, "%s: tensor \"%s\" is no part of a Llama model as it is supported here",
                          gguf_path(file), gguf_quote(other->name, name));
    }
    return true;
}

bool llama_find_tensors(const gguf *file, llama_shape *s, llama_tensors *t, model_error *error)
{
    static const char head[] = "output.weight", factors[] = "rope_freqs.weight";

    memset(t, 0, sizeof *t);
    if (!find_embedding(file, s, t, error)) return false;
    if (!find_list(file, "output_norm.weight", s->dim, &t->norm, error)) return false;
    t->head = t->embedding;
    if (gguf_find_tensor(file, head) && !find_matrix(file, head, s->dim, s->vocab, &t->head, error))
        return false;
    if (gguf_find_tensor(file, factors) && !find_list(file, factors, s->rope / 2, &t->rope_factors, error)) {
        return false;
    }
    for (uint32_t i = 0; i < s->layers; i++) {
        if (!find_layer(file, s, i, &t->layer[i], error)) return false;
    }
    return check_no_others(file, s, t, error);
}
