/* SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer.h"

#include "keys.h"
#include "pretokenize.h"
#include "unicode.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS (1u << 21) /* several times the largest vocabularies */
#define BYTES 256
#define ALPHABET 324       /* code points from 0 that stand for bytes or not */
#define NO_NODE UINT32_MAX /* the end of a list of nodes */
#define NOT_A_BYTE UINT16_MAX
#define MIN_ROOM 256 /* bytes: most words are far shorter */

/* The tokens that end a text, a turn, a message, or what fills a gap in code; the first is eos. */
static const char *const end_keys[] = {
    "tokenizer.ggml.eos_token_id",     "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id",
};
#define ENDS (sizeof end_keys / sizeof *end_keys)

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_LAST = 6 };

typedef struct token {
    gguf_string bytes;
    int32_t id;
    uint8_t type;
} token;

typedef struct merge {
    int32_t left, right;
    int32_t rank; /* its place in the file: the lower, the earlier */
    int32_t id;   /* of both together */
} merge;

struct tokenizer {
    pretokenize_rule rule;
    bool whole_words; /* a word that is a token is not merged from its bytes */
    bool add_bos;
    int32_t bos;
    int32_t ends[ENDS]; /* TOKENIZER_NONE where the file has none */
    int32_t n_tokens;
    char *bytes;   /* of all tokens */
    token *tokens; /* index = id */
    token *sorted; /* the normal ones by bytes; of equal ones the lowest id */
    size_t n_sorted;
    token *special; /* control and user-defined ones by bytes */
    size_t n_special;
    merge *merges; /* by left and right */
    size_t n_merges;
    int32_t byte_ids[BYTES]; /* the token of a single byte, or TOKENIZER_NONE */
};

/* ---- The vocabulary, while it is read ---- */

typedef struct loader {
    tokenizer *t;
    const gguf *file;
    uint16_t alphabet[ALPHABET]; /* the byte that a code point stands for, or NOT_A_BYTE */
    model_error *error;
} loader;

/* GPT-2 writes each byte of a token as a visible character: those of Latin-1 that are visible stand for
 * themselves, the other 68 bytes are U+0100 and the following in their order. */
static void make_alphabet(uint16_t alphabet[ALPHABET])
{
    size_t next = BYTES;

    for (size_t i = 0; i < ALPHABET; i++)
        alphabet[i] = NOT_A_BYTE;
    for (uint16_t byte = 0; byte < BYTES; byte++) {
        const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        alphabet[visible ? byte : next++] = byte;
    }
}

/* The bytes that `text` stands for, no more than it has itself; false if it is not all in the alphabet. */
static bool decode_text(const loader *l, gguf_string text, char *out, size_t *length)
{
    const unsigned char *at = (const unsigned char *)text.text;

    *length = 0;
    for (size_t i = 0; i < text.length;) {
        const unicode_char c = unicode_first(at + i, text.length - i);
        if (c.code >= ALPHABET || l->alphabet[c.code] == NOT_A_BYTE) return false;
        out[(*length)++] = (char)l->alphabet[c.code];
        i += c.length;
    }
    return true;
}

static int compare_bytes(const void *a, const void *b)
{
    const token *x = a;
    const token *y = b;
    const size_t common = x->bytes.length < y->bytes.length ? x->bytes.length : y->bytes.length;
    const int order = memcmp(x->bytes.text, y->bytes.text, common);

    if (order != 0) return order;
    return (x->bytes.length > y->bytes.length) - (x->bytes.length < y->bytes.length);
}

static int compare_tokens(const void *a, const void *b)
{
    const int order = compare_bytes(a, b);

    return order != 0 ? order : (((const token *)a)->id > ((const token *)b)->id ? 1 : -1);
}

static int32_t find_token(const tokenizer *t, const void *bytes, size_t length)
{
    const token wanted = { .bytes = { bytes, length } };
    const token *found = bsearch(&wanted, t->sorted, t->n_sorted, sizeof *t->sorted, compare_bytes);

    return found ? found->id : TOKENIZER_NONE;
}

/* Sort and leave out those that equal one with a lower id. Returns how many stay. */
static size_t sort_tokens(token *list, size_t count)
{
    size_t kept = 0;

    qsort(list, count, sizeof *list, compare_tokens);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_bytes(&list[kept - 1], &list[i]) != 0) list[kept++] = list[i];
    }
    return kept;
}

static bool read_token_count(const loader *l, gguf_array *tokens)
{
    if (!gguf_get_strings(l->file, "tokenizer.ggml.tokens", tokens, l->error)) return false;
    if (tokens->count >= 1 && tokens->count <= MAX_TOKENS) return true;
    return model_fail(l->error, "%s: tokenizer.ggml.tokens has %" PRIu64 " tokens; 1 to %u are allowed",
                      gguf_path(l->file), tokens->count, MAX_TOKENS);
}

/* Types are optional: without them all tokens are normal. */
static bool read_types(const loader *l)
{
    static const char key[] = "tokenizer.ggml.token_type";
    gguf_array types = { 0 };

    if (!gguf_has(l->file, key)) return true;
    if (!gguf_get_numbers(l->file, key, &types, l->error)) return false;
    if (types.count != (uint64_t)l->t->n_tokens) {
        return model_fail(l->error,
                          "%s: %s has %" PRIu64 " entries; as many as tokens, %" PRId32 ", are wanted",
                          gguf_path(l->file), key, types.count, l->t->n_tokens);
    }
    for (int32_t id = 0; id < l->t->n_tokens; id++) {
        const int64_t type = gguf_array_i64(&types, (uint64_t)id);
        if (type < 0 || type > TYPE_LAST) {
            return model_fail(l->error, "%s: %s of token %" PRId32 " is %" PRId64 "; 0 to %d are allowed",
                              gguf_path(l->file), key, id, type, TYPE_LAST);
        }
        l->t->tokens[id].type = (uint8_t)type;
    }
    return true;
}

static bool is_special(const token *k)
{
    return k->type == TYPE_CONTROL || k->type == TYPE_USER_DEFINED;
}

/* Copy each token's bytes to `at`: those that its text stands for, or of special ones the text. */
static void place_tokens(const loader *l, gguf_array texts, char *at)
{
    tokenizer *t = l->t;
    gguf_string text;

    for (int32_t id = 0; gguf_next_string(&texts, &text); id++) {
        token *k = &t->tokens[id];
        size_t length = 0;
        const bool encoded = !is_special(k) && decode_text(l, text, at, &length);
        if (!encoded) {
            length = text.length;
            memcpy(at, text.text, length);
        }
        k->id = id;
        k->bytes = (gguf_string){ at, length };
        at += length;
        if (length == 0) continue;
        if (is_special(k)) t->special[t->n_special++] = *k;
        if (encoded && k->type == TYPE_NORMAL) t->sorted[t->n_sorted++] = *k;
    }
}

static bool load_tokens(const loader *l)
{
    tokenizer *t = l->t;
    gguf_array texts = { 0 };
    gguf_string text;
    size_t total = 0;

    if (!read_token_count(l, &texts)) return false;
    for (gguf_array rest = texts; gguf_next_string(&rest, &text);)
        total += text.length;
    t->n_tokens = (int32_t)texts.count;
    t->bytes = malloc(total + 1);
    t->tokens = calloc((size_t)texts.count, sizeof *t->tokens);
    t->sorted = calloc((size_t)texts.count, sizeof *t->sorted);
    t->special = calloc((size_t)texts.count, sizeof *t->special);
    if (!t->bytes || !t->tokens || !t->sorted || !t->special) return model_fail_memory(l->error);
    for (int32_t id = 0; id < t->n_tokens; id++)
        t->tokens[id].type = TYPE_NORMAL;
    if (!read_types(l)) return false;
    place_tokens(l, texts, t->bytes);
    t->n_sorted = sort_tokens(t->sorted, t->n_sorted);
    t->n_special = sort_tokens(t->special, t->n_special);
    for (unsigned byte = 0; byte < BYTES; byte++)
        t->byte_ids[byte] = find_token(t, &(unsigned char){ (unsigned char)byte }, 1);
    return true;
}

/* ---- Merges, while they are read ---- */

static int compare_pairs(const void *a, const void *b)
{
    const merge *x = a;
    const merge *y = b;

    if (x->left != y->left) return x->left > y->left ? 1 : -1;
    return (x->right > y->right) - (x->right < y->right);
}

static int compare_merges(const void *a, const void *b)
{
    const int order = compare_pairs(a, b);

    return order != 0 ? order : (((const merge *)a)->rank > ((const merge *)b)->rank ? 1 : -1);
}

static const merge *find_merge(const tokenizer *t, int32_t left, int32_t right)
{
    const merge wanted = { .left = left, .right = right };

    return bsearch(&wanted, t->merges, t->n_merges, sizeof *t->merges, compare_pairs);
}

/* "left right" into ids; `scratch` has room for the text. */
static bool read_merge(const loader *l, gguf_string text, char *scratch, merge *out)
{
    const char *blank = text.length > 1 ? memchr(text.text + 1, ' ', text.length - 1) : NULL;
    const size_t split = blank ? (size_t)(blank - text.text) : 0;
    const gguf_string left = { text.text, split };
    const gguf_string right = { text.text + split + 1, blank ? text.length - split - 1 : 0 };
    size_t n_left = 0;
    size_t n_right = 0;
    char shown[GGUF_QUOTED];

    if (blank && decode_text(l, left, scratch, &n_left) &&
        decode_text(l, right, scratch + n_left, &n_right)) {
        out->left = find_token(l->t, scratch, n_left);
        out->right = find_token(l->t, scratch + n_left, n_right);
        out->id = find_token(l->t, scratch, n_left + n_right);
        if (out->left >= 0 && out->right >= 0 && out->id >= 0) return true;
    }
    return model_fail(l->error,
                      "%s: tokenizer.ggml.merges has \"%s\" at %" PRId32
                      "; allowed are two tokens with a blank between them that together are a token",
                      gguf_path(l->file), gguf_quote(text, shown), out->rank);
}

static bool read_merges(const loader *l, gguf_array texts)
{
    tokenizer *t = l->t;
    gguf_string text;
    size_t longest = 0;
    bool ok = true;

    for (gguf_array rest = texts; gguf_next_string(&rest, &text);)
        longest = text.length > longest ? text.length : longest;
    char *scratch = malloc(longest + 1);
    if (!scratch) return model_fail_memory(l->error);
    for (; ok && gguf_next_string(&texts, &text); t->n_merges++) {
        t->merges[t->n_merges].rank = (int32_t)t->n_merges;
        ok = read_merge(l, text, scratch, &t->merges[t->n_merges]);
    }
    free(scratch);
    return ok;
}

static bool load_merges(const loader *l)
{
    static const char key[] = "tokenizer.ggml.merges";
    tokenizer *t = l->t;
    gguf_array texts = { 0 };
    size_t kept = 0;

    if (!gguf_get_strings(l->file, key, &texts, l->error)) return false;
    if (texts.count > MAX_TOKENS) {
        return model_fail(l->error, "%s: %s has %" PRIu64 " entries; at most %u are allowed",
                          gguf_path(l->file), key, texts.count, MAX_TOKENS);
    }
    t->merges = calloc((size_t)texts.count + 1, sizeof *t->merges);
    if (!t->merges) return model_fail_memory(l->error);
    if (!read_merges(l, texts)) return false;
    qsort(t->merges, t->n_merges, sizeof *t->merges, compare_merges);
    for (size_t i = 0; i < t->n_merges; i++) { /* of a pair that is there twice the first counts */
        if (kept == 0 || compare_pairs(&t->merges[kept - 1], &t->merges[i]) != 0) {
            t->merges[kept++] = t->merges[i];
        }
    }
    t->n_merges = kept;
    return true;
}

/* ---- What else the file says ---- */

/* Which files these rules are for. Sources: the regular expressions in the tokenizer.json of each model. */
static bool load_rules(const loader *l)
{
    static const struct {
        const char *name;
        pretokenize_rule rule;
        bool whole_words, add_bos;
    } rules[] = {
        { "gpt-2", PRETOKENIZE_GPT2, false, false },
        { "smollm", PRETOKENIZE_SMOLLM, false, false },
        { "llama-bpe", PRETOKENIZE_LLAMA_BPE, true, true },
    };
    tokenizer *t = l->t;
    gguf_string name;
    char shown[GGUF_QUOTED];

    if (!gguf_get_string(l->file, "tokenizer.ggml.model", &name, l->error)) return false;
    if (!gguf_string_is(name, "gpt2")) {
        return model_fail(l->error,
                          "%s: tokenizer.ggml.model is \"%s\"; \"gpt2\" (byte-level BPE) is supported",
                          gguf_path(l->file), gguf_quote(name, shown));
    }
    if (!gguf_get_string(l->file, "tokenizer.ggml.pre", &name, l->error)) return false;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!gguf_string_is(name, rules[i].name)) continue;
        t->rule = rules[i].rule;
        t->whole_words = rules[i].whole_words;
        t->add_bos = rules[i].add_bos;
        return true;
    }
    return model_fail(
        l->error, "%s: tokenizer.ggml.pre is \"%s\"; \"gpt-2\", \"smollm\" and \"llama-bpe\" are supported",
        gguf_path(l->file), gguf_quote(name, shown));
}

/* An id that may be missing. */
static bool load_id(const loader *l, const char *key, int32_t *id)
{
    uint32_t value = 0;

    *id = TOKENIZER_NONE;
    if (!gguf_has(l->file, key)) return true;
    if (!gguf_get_u32(l->file, key, &value, l->error)) return false;
    if (value >= (uint32_t)l->t->n_tokens) {
        return model_fail(l->error, "%s: %s is %" PRIu32 "; ids from 0 to %" PRId32 " are allowed",
                          gguf_path(l->file), key, value, l->t->n_tokens - 1);
    }
    *id = (int32_t)value;
    return true;
}

static bool load_settings(const loader *l)
{
    static const char add_bos[] = "tokenizer.ggml.add_bos_token";
    tokenizer *t = l->t;

    for (size_t i = 0; i < ENDS; i++) {
        if (!load_id(l, end_keys[i], &t->ends[i])) return false;
    }
    if (!load_id(l, "tokenizer.ggml.bos_token_id", &t->bos)) return false;
    if (gguf_has(l->file, add_bos) && !gguf_get_bool(l->file, add_bos, &t->add_bos, l->error)) return false;
    if (t->add_bos && t->bos == TOKENIZER_NONE) {
        return model_fail(l->error,
                          "%s: texts are to begin with a token, but tokenizer.ggml.bos_token_id is missing",
                          gguf_path(l->file));
    }
    return true;
}

/* All keys of tokenizers that are known, in whose list docs/model.md gives the reasons. */
static const known_key tokenizer_keys[] = {
    /* Read above */
    { "add_bos_token", KEY_ANY },
    { "bos_token_id", KEY_ANY },
    { "eom_token_id", KEY_ANY },
    { "eos_token_id", KEY_ANY },
    { "eot_token_id", KEY_ANY },
    { "fim_pad_token_id", KEY_ANY },
    { "fim_rep_token_id", KEY_ANY },
    { "fim_sep_token_id", KEY_ANY },
    { "merges", KEY_ANY },
    { "model", KEY_ANY },
    { "pre", KEY_ANY },
    { "token_type", KEY_ANY },
    { "tokens", KEY_ANY },
    /* Without effect: names of tokens that no text is given, and what other kinds of tokenizers have */
    { "added_tokens", KEY_ANY },
    { "cls_token_id", KEY_ANY },
    { "fim_mid_token_id", KEY_ANY },
    { "fim_pre_token_id", KEY_ANY },
    { "fim_suf_token_id", KEY_ANY },
    { "mask_token_id", KEY_ANY },
    { "middle_token_id", KEY_ANY },
    { "padding_token_id", KEY_ANY },
    { "prefix_token_id", KEY_ANY },
    { "scores", KEY_ANY },
    { "separator_token_id", KEY_ANY },
    { "seperator_token_id", KEY_ANY },
    { "suffix_token_id", KEY_ANY },
    { "token_type_count", KEY_ANY },
    { "unknown_token_id", KEY_ANY },
    /* Not supported */
    { "add_eos_token", KEY_ZERO },
    { "add_sep_token", KEY_ZERO },
    { "add_space_prefix", KEY_ZERO },
    { "escape_whitespaces", KEY_ZERO },
    { "normalizer.lowercase", KEY_ZERO },
    { "normalizer.strip_accents", KEY_ZERO },
    { "precompiled_charsmap", KEY_ZERO },
    { "remove_extra_whitespaces", KEY_ZERO },
    { "suppress_tokens", KEY_ZERO },
    { "treat_whitespace_as_suffix", KEY_ZERO },
};

static bool load(const loader *l)
{
    return load_rules(l) && load_tokens(l) && load_merges(l) && load_settings(l) &&
           keys_check(l->file, "tokenizer.ggml.", tokenizer_keys,
                      sizeof tokenizer_keys / sizeof *tokenizer_keys, l->error);
}

bool tokenizer_open(const gguf *file, tokenizer **out, model_error *error)
{
    loader l = { .file = file, .error = error };

    *out = NULL;
    make_alphabet(l.alphabet);
    l.t = calloc(1, sizeof *l.t);
    if (!l.t) return model_fail_memory(error);
    const bool ok = load(&l);
    if (ok) {
        *out = l.t;
    } else {
        tokenizer_close(l.t);
    }
    return ok;
}

void tokenizer_close(tokenizer *t)
{
    if (!t) return;
    free(t->merges);
    free(t->special);
    free(t->sorted);
    free(t->tokens);
    free(t->bytes);
    free(t);
}

/* ---- Tokens ---- */

int32_t tokenizer_size(const tokenizer *t)
{
    return t->n_tokens;
}

gguf_string tokenizer_bytes(const tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_tokens ? t->tokens[id].bytes : (gguf_string){ "", 0 };
}

bool tokenizer_is_control(const tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_tokens && t->tokens[id].type == TYPE_CONTROL;
}

bool tokenizer_is_end(const tokenizer *t, int32_t id)
{
    static const char *const names[] = { "<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>" };

    if (id < 0 || id >= t->n_tokens) return false;
    for (size_t i = 0; i < ENDS; i++) {
        if (id == t->ends[i]) return true;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (tokenizer_is_control(t, id) && gguf_string_is(t->tokens[id].bytes, names[i])) return true;
    }
    return false;
}

int32_t tokenizer_bos(const tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const tokenizer *t)
{
    return t->ends[0];
}

void tokenizer_ids_free(tokenizer_ids *ids)
{
    free(ids->list);
    *ids = (tokenizer_ids){ 0 };
}

/* ---- Encoding ---- */

/* A part of the word: a byte at first. Once merged into its left neighbour its id is TOKENIZER_NONE. */
typedef struct node {
    int32_t id;
    uint32_t left, right; /* neighbours, or NO_NODE */
} node;

/* Two neighbours that may be merged, unless one of them has changed since. */
typedef struct candidate {
    const merge *merge;
    uint32_t left; /* the left node; nodes are numbered from left to right */
} candidate;

typedef struct encoder {
    const tokenizer *t;
    const unsigned char *text;
    size_t length;
    unsigned flags;
    tokenizer_ids *ids;
    model_error *error;
    size_t room; /* bytes of the longest word so far, for which there are: */
    node *nodes; /* [room] */
    /* [2 * room], a binary heap, the best at 0. A word of n bytes begins with n - 1 candidates at most, and
     * each of up to n - 1 merges takes one and adds two. */
    candidate *heap;
    size_t n_heap;
} encoder;

static bool add_id(encoder *e, int32_t id)
{
    tokenizer_ids *ids = e->ids;

    if (ids->count == ids->room) {
        const size_t room = ids->room ? 2 * ids->room : 64;
        int32_t *list = realloc(ids->list, room * sizeof *list);
        if (!list) return model_fail_memory(e->error);
        ids->list = list;
        ids->room = room;
    }
    ids->list[ids->count++] = id;
    return true;
}

static bool make_room(encoder *e, size_t n)
{
    if (n <= e->room) return true;
    free(e->nodes);
    free(e->heap);
    e->room = n < MIN_ROOM ? MIN_ROOM : n;
    e->nodes = malloc(e->room * sizeof *e->nodes);
    e->heap = malloc(2 * e->room * sizeof *e->heap);
    return (e->nodes && e->heap) || model_fail_memory(e->error);
}

static bool before(candidate a, candidate b)
{
    if (a.merge->rank != b.merge->rank) return a.merge->rank < b.merge->rank;
    return a.left < b.left;
}

static void push(encoder *e, candidate c)
{
    size_t at = e->n_heap++;

    while (at > 0 && before(c, e->heap[(at - 1) / 2])) {
        e->heap[at] = e->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    e->heap[at] = c;
}

static candidate pop(encoder *e)
{
    const candidate best = e->heap[0];
    const candidate last = e->heap[--e->n_heap];
    size_t at = 0;

    for (size_t child = 1; child < e->n_heap; child = 2 * at + 1) {
        if (child + 1 < e->n_heap && before(e->heap[child + 1], e->heap[child])) child++;
        if (!before(e->heap[child], last)) break;
        e->heap[at] = e->heap[child];
        at = child;
    }
    e->heap[at] = last;
    return best;
}

/* Node `left` and its right neighbour, if there is one and the file merges them, become a candidate. */
static void consider(encoder *e, uint32_t left)
{
    if (left == NO_NODE || e->nodes[left].right == NO_NODE) return;
    const merge *found = find_merge(e->t, e->nodes[left].id, e->nodes[e->nodes[left].right].id);
    if (found) push(e, (candidate){ found, left });
}

static bool still_there(const encoder *e, candidate c)
{
    const node *left = &e->nodes[c.left];

    return left->id == c.merge->left && left->right != NO_NODE && e->nodes[left->right].id == c.merge->right;
}

static void apply(encoder *e, candidate c)
{
    node *left = &e->nodes[c.left];
    node *right = &e->nodes[left->right];

    left->id = c.merge->id;
    left->right = right->right;
    right->id = TOKENIZER_NONE;
    if (left->right != NO_NODE) e->nodes[left->right].left = c.left;
    consider(e, left->left);
    consider(e, c.left);
}

static bool split_word(encoder *e, const unsigned char *word, size_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        const int32_t id = e->t->byte_ids[word[i]];
        if (id == TOKENIZER_NONE) {
            return model_fail(e->error, "the text has 0x%02X at byte %zu, which this model has no token for",
                              word[i], (size_t)(word - e->text) + i);
        }
        e->nodes[i] = (node){ id, i > 0 ? i - 1 : NO_NODE, i + 1 < length ? i + 1 : NO_NODE };
    }
    return true;
}

static bool encode_word(encoder *e, const unsigned char *word, size_t length)
{
    const int32_t whole = e->t->whole_words ? find_token(e->t, word, length) : TOKENIZER_NONE;

    if (whole != TOKENIZER_NONE) return add_id(e, whole);
    if (!make_room(e, length) || !split_word(e, word, length)) return false;
    e->n_heap = 0;
    for (uint32_t i = 0; i < length; i++)
        consider(e, i);
    while (e->n_heap > 0) {
        const candidate c = pop(e);
        if (still_there(e, c)) apply(e, c);
    }
    for (uint32_t i = 0; i != NO_NODE; i = e->nodes[i].right) {
        if (!add_id(e, e->nodes[i].id)) return false;
    }
    return true;
}

static bool encode_plain(encoder *e, size_t begin, size_t end)
{
    pretokenizer p = { .rule = e->t->rule, .text = e->text + begin, .length = end - begin };
    const unsigned char *word = NULL;
    size_t length = 0;

    while (pretokenize_next(&p, &word, &length)) {
        if (!encode_word(e, word, length)) return false;
    }
    return true;
}

/* The first of special[low..high) whose byte at `depth` is `byte` or more; all have one and agree before
 * it. */
static size_t lower_bound(const tokenizer *t, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((unsigned char)t->special[middle].bytes.text[depth] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest special token that begins at `at`, or NULL. Those that agree with the text so far are a
 * range of the sorted list, in which one that ends there comes first. */
static const token *special_at(const encoder *e, size_t at)
{
    const tokenizer *t = e->t;
    const token *longest = NULL;
    size_t low = 0;
    size_t high = t->n_special;

    for (size_t depth = 0; low < high; depth++) {
        const token *first = &t->special[low];
        if (first->bytes.length == depth) {
            if ((e->flags & TOKENIZER_SPECIAL) || first->type == TYPE_USER_DEFINED) longest = first;
            low++;
        }
        if (at + depth == e->length) break;
        const unsigned byte = e->text[at + depth];
        low = lower_bound(t, low, high, depth, byte);
        high = lower_bound(t, low, high, depth, byte + 1);
    }
    return longest;
}

static bool encode_text(encoder *e)
{
    size_t begin = 0; /* of the text since the last special token */

    if ((e->flags & TOKENIZER_START) && e->t->add_bos && !add_id(e, e->t->bos)) return false;
    for (size_t at = 0; at < e->length;) {
        const token *special = special_at(e, at);
        if (!special) {
            at++;
            continue;
        }
        if (!encode_plain(e, begin, at) || !add_id(e, special->id)) return false;
        at += special->bytes.length;
        begin = at;
    }
    return encode_plain(e, begin, e->length);
}

bool tokenizer_encode(const tokenizer *t, const void *text, size_t length, unsigned flags, tokenizer_ids *ids,
                      model_error *error)
{
    encoder e = { .t = t, .text = text, .length = length, .flags = flags, .ids = ids, .error = error };
    const size_t count = ids->count;

    if (length > TOKENIZER_MAX_TEXT) {
        return model_fail(error, "the text has %zu bytes; at most %u are allowed", length,
                          TOKENIZER_MAX_TEXT);
    }
    const bool ok = encode_text(&e);
    if (!ok) ids->count = count;
    free(e.heap);
    free(e.nodes);
    return ok;
}
