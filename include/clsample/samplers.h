/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a draw: the samplers, their parameters, and the list that tells programs of them. */
#ifndef CLSAMPLE_SAMPLERS_H
#define CLSAMPLE_SAMPLERS_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tables, structs and their comments are laid out by hand. */
/* clang-format off */

/* Every sampler: its number, which never changes, and its name, that of its field in clsample_params. */
#define CLSAMPLE_SAMPLER_MAP(X)      \
    X(TEMPERATURE, 1, "temperature") \
    X(MIN_P, 2, "min_p")             \
    X(TOP_K, 3, "top_k")             \
    X(TOP_P, 4, "top_p")             \
    X(TYPICAL_P, 5, "typical_p")     \
    X(TOP_N_SIGMA, 6, "top_n_sigma") \
    X(BIAS, 7, "bias")               \
    X(BANNED, 8, "banned")
typedef enum clsample_sampler {
    CLSAMPLE_SAMPLER_NONE = 0, /**< ends params.order */
#define CLSAMPLE_SAMPLER_ENUM(name, value, text) CLSAMPLE_SAMPLER_##name = (value),
    CLSAMPLE_SAMPLER_MAP(CLSAMPLE_SAMPLER_ENUM)
#undef CLSAMPLE_SAMPLER_ENUM
} clsample_sampler;

/* ---- Parameters ------------------------------------------------------------------------------------ */

/** params.flags: the largest logit, like temperature 0. Bias and bans count, no other sampler does. */
#define CLSAMPLE_GREEDY 1u

/* Whose order of samplers, treatment of ties, and top-p boundary. x is a logit, p a probability.
 *  SEED          temperature, top-n-sigma, min-p, top-k, top-p, typical. Ties of the k-th logit stay; top-p
 *                keeps tokens while the sum of probabilities, largest first, is at most top_p, always the
 *                first, and ties of the last kept one; min-p keeps p >= min_p * max and p >= max - 1e-9;
 *                min_p 1 is off.
 *                Source: the article's code (jax-layers, generation_utils.py), sums and ties made exact.
 *  TRANSFORMERS  temperature, top-n-sigma, top-k (ties stay), top-p up to and with the token that reaches
 *                top_p, min-p, typical.
 *  VLLM          temperature, top-n-sigma, min-p, top-k (ties stay), top-p up to and with the token that
 *                reaches top_p, typical.
 *  LLAMA_CPP     top-n-sigma, top-k (exactly k), typical, top-p up to and with the token that reaches top_p,
 *                min-p, temperature.
 * Bias and bans come before all of them. What an original lacks (typical: SEED, VLLM; top-n-sigma: all but
 * LLAMA_CPP) stands where it changes least of what the original does. Where a boundary cuts through equal
 * logits, the smaller token ids stay. */
typedef enum clsample_rules {
    CLSAMPLE_RULES_SEED = 0,
    CLSAMPLE_RULES_TRANSFORMERS = 1,
    CLSAMPLE_RULES_VLLM = 2,
    CLSAMPLE_RULES_LLAMA_CPP = 3
} clsample_rules;

#define CLSAMPLE_MAX_ORDER 16       /**< samplers in params.order */
#define CLSAMPLE_MAX_EDITS 1048576u /**< biases and bans of one clsample_params, together */

/** A token and what is added to its logit, before all other samplers: x + add, rounded to a float32 once,
 * whatever the logits' dtype. Of either, what is smaller than 2^-60 counts as 0; a sum beyond the floats is
 * the largest float of its sign. A logit that is masked or NaN stays so, and +inf stays +inf unless `add` is
 * -inf. */
typedef struct clsample_bias {
    int32_t id; /**< from 0 to vocab - 1, else E_ARGUMENT */
    float add;  /**< finite, or -inf, which bans the token; NaN and +inf are E_ARGUMENT */
} clsample_bias;

/** How tokens are drawn. By default from all of them, at temperature 1. A value out of its range, NaN
 * included, is E_ARGUMENT. */
typedef struct clsample_params {
    uint32_t size;     /**< bytes; set by CLSAMPLE_PARAMS_INIT */
    uint32_t flags;    /**< 0 (default) or CLSAMPLE_GREEDY; an unknown bit is E_VERSION */
    float temperature; /**< divides the logits; 0 = greedy; default 1. Finite and not negative; above 0 it
                            counts as at least 1e-9 (as in the article) and at most 1e12 */
    float min_p;       /**< fraction of the best token's probability, [0, 1]; 0 = off (default). Source:
                            Nguyen et al., arXiv:2407.01082 */
    uint32_t top_k;    /**< tokens kept; 0 = off (default); above vocab = vocab. Source: Fan et al.,
                            arXiv:1805.04833 */
    float top_p;       /**< probability mass kept, (0, 1]; 1 = off (default). Source: Holtzman et al.,
                            arXiv:1904.09751 */
    uint64_t seed;     /**< any value; default 0 */
    uint64_t step;     /**< number of the token within its text; default 0. The random number of a draw is
                            a function of seed, step and stream alone */
    uint32_t stream;   /**< default 0. Params for a whole batch: row r draws with stream + r (mod 2^32).
                            Params per row: as given, so that a row draws the same token in any slot of any
                            batch */
    uint32_t rules;    /**< a clsample_rules; default CLSAMPLE_RULES_SEED */
    float typical_p;   /**< probability mass kept of the most typical tokens, (0, 1]; 1 = off (default). The
                            nearer a logit is to the mean of the logits weighed by probability (the smaller
                            |ln p + entropy| is), the more typical. Tokens are kept up to and with the one
                            that reaches typical_p; all that are as near as that one stay, whatever the
                            rules. The most probable token may go. With +inf among the logits nothing is
                            cut. Source: Meister et al., arXiv:2202.00666 */
    float top_n_sigma; /**< keeps logits >= max - top_n_sigma * sigma. Finite; 0 or less = off (default).
                            sigma is the standard deviation (of a population) of the logits that are kept when
                            its turn comes, bias included, not divided by the temperature: what other samplers
                            have cut does not count, nor do masked ones and NaN. If all are equal all stay;
                            with +inf among them nothing is cut. Source: Tang et al., arXiv:2411.07641 */
    const clsample_bias *bias; /**< [n_bias], in any order; several of one id are summed up in theirs
                                    first. For the fallback logits too. NULL only if n_bias is 0; borrowed for
                                    the call */
    const int32_t *banned;     /**< [n_banned] ids, from 0 to vocab - 1 (else E_ARGUMENT), in any order,
                                    repeated ones too: never drawn, not even from the fallback logits,
                                    whatever their bias; a row that has no other token gets none. NULL only
                                    if n_banned is 0; borrowed for the call */
    uint32_t n_bias, n_banned; /**< 0 = off (default); together at most CLSAMPLE_MAX_EDITS */
    uint8_t order[CLSAMPLE_MAX_ORDER]; /**< samplers, each a clsample_sampler, in the order in which they
                                    are to work, up to the first 0. All 0 (default) = the order of the rules,
                                    whose ties and boundaries hold in any order. What stands before the
                                    temperature works at temperature 1. Bias and bans come first in any case.
                                    E_ARGUMENT if one is named that is no sampler, an edit, or named before,
                                    and if one is on that is not named, but for a temperature of 1, greedy or
                                    not; one that is off may be named */
} clsample_params;
#define CLSAMPLE_PARAMS_INIT                                                                     \
    { sizeof(clsample_params), 0, 1.0f, 0.0f, 0, 1.0f, 0, 0, 0, CLSAMPLE_RULES_SEED, 1.0f, 0.0f, \
      NULL, NULL, 0, 0, { 0 } }

/** Whether a sampler does anything in a draw with these params: a temperature of 0 and CLSAMPLE_GREEDY turn
 * off all but bias, bans and temperature itself, which always counts as on; under the seed rules min_p 1 is
 * off. Looks at values alone: neither their ranges nor params.order are checked, and a top_k of the
 * vocabulary's size, which is not known here, counts as on.
 * @param params  of any version, by its size; borrowed
 * @param sampler a clsample_sampler
 * @return 1 or 0; 0 for NULL and for what is no sampler */
CLSAMPLE_API int clsample_sampler_is_on(const clsample_params *params, uint32_t sampler);

/* ---- The list of samplers -------------------------------------------------------------------------- */

/* What a sampler does. Values never change. */
typedef enum clsample_sampler_kind {
    CLSAMPLE_KIND_EDIT = 0,  /**< changes single logits, before all others; has no place in an order */
    CLSAMPLE_KIND_BOUND = 1, /**< keeps tokens from a threshold on */
    CLSAMPLE_KIND_LIMIT = 2, /**< keeps so many tokens, or so much mass */
    CLSAMPLE_KIND_SCALE = 3  /**< divides all logits */
} clsample_sampler_kind;
/* The type of its field. Values never change. */
typedef enum clsample_field_type {
    CLSAMPLE_TYPE_FLOAT = 0,
    CLSAMPLE_TYPE_UINT32 = 1,
    CLSAMPLE_TYPE_BIAS = 2, /**< const clsample_bias *, with a uint32_t count */
    CLSAMPLE_TYPE_IDS = 3   /**< const int32_t *, with a uint32_t count */
} clsample_field_type;

/** A sampler and its field in clsample_params: for options, bindings and pages that list them all. Later
 * versions may append fields, so it is read where it lies and not copied. Texts are never NULL. */
typedef struct clsample_sampler_entry {
    clsample_sampler sampler;
    clsample_sampler_kind kind;
    clsample_field_type type;
    const char *name;    /**< of the sampler and of its field, "top_k" */
    const char *option;  /**< of the command, without the dashes, "top-k" */
    const char *alias;   /**< another name of the option, or "" */
    const char *value;   /**< what the help calls its value, "K" */
    const char *range;   /**< what is allowed, to go on after "must be": "from 0 (off) to 1" */
    const char *help;    /**< half a sentence on one line, without the default */
    size_t offset;       /**< of the field, in bytes */
    size_t count_offset; /**< of the field with the number of elements, 0 if it is one number */
    double least, most;  /**< what is allowed, both ends included ... */
    int above;           /**< ... but not `least` itself, if 1. All three are 0 for edits */
    double off;          /**< the value that turns it off, for edits that of the count; NaN if none does */
    double standard;     /**< the default, for edits that of the count */
    uint8_t place[4];    /**< by clsample_rules: its place in their order, from 1 on; 0 for edits */
} clsample_sampler_entry;
/** Sampler `index`, from 0 on, of a list that is ordered by number, without holes: that of sampler s is
 * s - 1. A later version may have more.
 * @return static memory, the same on every call and thread; NULL past the end */
CLSAMPLE_API const clsample_sampler_entry *clsample_sampler_info(uint32_t index);

/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
