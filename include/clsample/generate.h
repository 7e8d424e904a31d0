/* SPDX-License-Identifier: Apache-2.0 */
/* Whole texts: the loop round a model of the application, from prompts to tokens. */
#ifndef CLSAMPLE_GENERATE_H
#define CLSAMPLE_GENERATE_H

#include "sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tables, structs and their comments are laid out by hand. */
/* clang-format off */

/* ---- The application's model ----------------------------------------------------------------------- */

/* One step of the application's model: from the tokens of every row to the logits of the next one. */
typedef struct clsample_model_step {
    uint32_t size;   /**< bytes that the library filled */
    uint32_t rows;
    uint32_t stride; /**< ids from one row to the next */
    uint32_t vocab;
    cl_command_queue queue;      /**< where the step's commands go */
    cl_mem ids;                  /**< int32 [rows, stride]: each row's tokens from its first on, to be read by
                                      commands alone: the host may not know them yet. What a row that has
                                      ended shows past its end may be the pad id: take it as any token */
    const uint32_t *lengths;     /**< [rows]: tokens that a row has now */
    const uint32_t *fresh;       /**< [rows]: how many of them, at the end, came since the row's last step:
                                      first the whole prompt, then 1; 0 leaves the row out. A model without
                                      a cache ignores it but for the 0 */
    cl_mem logits;               /**< float32 [rows, vocab], to be filled with those after each row's last
                                      token; the row of one that is left out may keep what is there */
    cl_uint n_wait;              /**< events to wait for; 0 on an in-order queue */
    const cl_event *wait_list;
    cl_event *event;             /**< NULL on an in-order queue; else the last command's event must be put
                                      there, which the library releases */
} clsample_model_step;
/** Enqueue a step on its queue, without waiting for it: what clsample_generate calls once a step. Everything
 * in `step` is borrowed, its arrays for the call, its buffers until the commands ended.
 * @return 0, or an error code of the application's own, which ends the generation with E_MODEL */
typedef int (*clsample_model_fn)(void *user, const clsample_model_step *step);

/* ---- Tokens as they come --------------------------------------------------------------------------- */

#define CLSAMPLE_FINISH_MAP(X)                                                                      \
    X(NONE, 0, "none")           /* not ended: what the token callback sees but for the last */     \
    X(EOS, 1, "eos")             /* the last token is one of `eos` */                               \
    X(STOP, 2, "stop")           /* the last tokens are a stop sequence */                          \
    X(LENGTH, 3, "length")       /* max_length or max_new_tokens */                                 \
    X(CALLBACK, 4, "callback")   /* the token callback stopped the row */                           \
    X(CANCELLED, 5, "cancelled") /* the token callback cancelled all, or the call failed */         \
    X(NO_TOKEN, 6, "no_token")   /* every logit was masked, or NaN */                               \
    X(PROMPT, 7, "prompt")       /* the prompt ends with one of `eos`: nothing was generated */
typedef enum clsample_finish {
#define CLSAMPLE_FINISH_ENUM(name, value, text) CLSAMPLE_FINISH_##name = (value),
    CLSAMPLE_FINISH_MAP(CLSAMPLE_FINISH_ENUM)
#undef CLSAMPLE_FINISH_ENUM
} clsample_finish;
/** "eos", "length", ..., or "unknown". Never NULL. */
CLSAMPLE_API const char *clsample_finish_name(uint32_t finish);

/* A token as the callback gets it. */
typedef struct clsample_token {
    uint32_t size;     /**< bytes that the library filled */
    uint32_t row;
    uint32_t position; /**< in the row, prompt included */
    int32_t token;
    float logprob;     /**< as in clsample_result */
    uint32_t kept;     /**< as in clsample_result */
    uint32_t finish;   /**< a clsample_finish: not NONE if the row ends with this token */
    uint32_t status;   /**< a clsample_row_status: OK, or NAN_IGNORED if the model gave NaN among the logits
                            that the token was drawn from. NO_TOKEN never: such a row ends without a call */
} clsample_token;
typedef enum clsample_next {
    CLSAMPLE_CONTINUE = 0,
    CLSAMPLE_STOP_ROW = 1, /**< the row ends with this token, the others go on */
    CLSAMPLE_CANCEL = 2    /**< every row ends with its last token that was shown */
} clsample_next;
/** Called for every token that is generated, when the host looks: step by step, in a step row by row. */
typedef clsample_next (*clsample_token_fn)(void *user, const clsample_token *token);

/* ---- Texts ----------------------------------------------------------------------------------------- */

#define CLSAMPLE_EAGER 1u             /**< generation.flags: look at each token before the next step */
#define CLSAMPLE_SAMPLE_STREAM 65536u /**< between the random streams of a prompt's samples */
#define CLSAMPLE_MAX_TEXTS 65536u     /**< prompts, samples, and rows */

/** What to generate. Pointers are borrowed for the call.
 *
 * There are prompts * samples rows; row = prompt * samples + sample. Row (prompt i, sample j) draws its token
 * number k, counted from 0 after the prompt, at params.step + k: one random number a token. Its stream is
 * params.stream + i + 65536 j with one set of params for all, and params[i].stream + 65536 j with one for
 * each prompt: it hangs neither on how many prompts or samples there are, nor on what other rows do, so the
 * row can be had again alone. Give prompts with params of their own different seeds or streams. */
typedef struct clsample_generation {
    uint32_t size;             /**< bytes; set by CLSAMPLE_GENERATION_INIT */
    uint32_t flags;            /**< 0 (default) or CLSAMPLE_EAGER; an unknown bit is E_VERSION */
    clsample_model_fn model;
    void *model_user;          /**< handed to `model` */
    uint32_t vocab;            /**< logits of a row, 1 to CLSAMPLE_MAX_VOCAB */
    uint32_t prompts;          /**< 1 to CLSAMPLE_MAX_TEXTS, with samples too */
    const int32_t *ids;        /**< [prompts, ids_stride]: the prompts' tokens, each from 0 to vocab - 1 */
    const uint32_t *lengths;   /**< [prompts]: tokens of each prompt, at least 1; NULL = all ids_stride */
    uint32_t ids_stride;       /**< ids from one prompt to the next, at least the longest one's length */
    uint32_t samples;          /**< texts for each prompt; default 1 */
    const clsample_params *params; /**< NULL = defaults */
    uint32_t n_params;         /**< 1 (default): for all; prompts: one for each. Ignored if params is NULL */
    uint32_t max_length;       /**< tokens of a row, prompt included; 0 (default) = the longest prompt +
                                    max_new_tokens, or without that 20, as in the article. A prompt of as
                                    many or more is cut to that, and its row ends at once, with "length" */
    uint32_t max_new_tokens;   /**< tokens to generate for a row at most; 0 (default) = as many as fit */
    uint32_t min_tokens;       /**< before so many new tokens eos cannot be drawn, its logits are set to -inf,
                                    and stop sequences do not count; default 0 */
    uint32_t n_eos;            /**< default 0: nothing ends a text but its length */
    const int32_t *eos;        /**< [n_eos] ids that end a row, each from 0 to vocab - 1 */
    uint32_t n_stops;          /**< default 0 */
    const uint32_t *stop_lengths; /**< [n_stops]: tokens of each stop sequence, at least 1 */
    const int32_t *stop_ids;   /**< the sequences, one after the other. A row ends when its new tokens end
                                    with one; it stays in the text */
    int32_t pad;               /**< fills a row after its end; any value; default 0 */
    uint32_t check_every;      /**< steps that are enqueued before the host looks, 1 to 4096; 0 (default) = 8.
                                    As many again may be under way then, so up to 2 * check_every - 1 steps
                                    are in vain after the last row has ended. Ignored if eager */
    clsample_token_fn token;   /**< NULL (default), or called for each token */
    void *token_user;          /**< handed to `token` */
} clsample_generation;
#define CLSAMPLE_GENERATION_INIT                                                                     \
    { sizeof(clsample_generation), 0, NULL, NULL, 0, 0, NULL, NULL, 0, 1, NULL, 1, 0, 0, 0, 0, NULL, \
      0, NULL, NULL, 0, 0, NULL, NULL }

/** Where the texts go: arrays of the application, of prompts * samples rows. Each may be NULL. */
typedef struct clsample_texts {
    uint32_t size;      /**< bytes; set by CLSAMPLE_TEXTS_INIT */
    uint32_t stride;    /**< elements from one row to the next in ids and logprobs, at least max_length (what
                             it stands for, if that is 0) */
    int32_t *ids;       /**< [rows, stride]: prompt, new tokens, the end of text among them, then pads up to
                             max_length */
    float *logprobs;    /**< [rows, stride]: of each new token, at its place in ids; 0 elsewhere */
    uint32_t *lengths;  /**< [rows]: tokens of each row, prompt included */
    uint32_t *finish;   /**< [rows]: why it ended, a clsample_finish */
} clsample_texts;
#define CLSAMPLE_TEXTS_INIT { sizeof(clsample_texts), 0, NULL, NULL, NULL, NULL }

/** Generate texts: call the model, draw a token for each row, append it, until every row has ended. Blocks;
 * everything is allocated before the first step. Tokens go from the sampler into the next step's ids on the
 * device; the host looks every few steps while the device goes on, or, with CLSAMPLE_EAGER, after each. Both
 * forms give the same tokens, log-probabilities and reasons, as long as the logits of a row hang on nothing
 * but its own tokens. A step takes one small launch beside the model's and the sampler's.
 *
 * The rules are those of the article's `generate`, with its pads and its one end of text, which is written
 * once. Where they are not: each row has a length, parameters and a random number of its own, there may be
 * several eos, the loop ends when all rows have, and temperature 0 is greedy instead of refused.
 *
 * @param queue in-order or out-of-order, of the context's OpenCL context and device; idle again on return,
 *              with whatever else was enqueued on it
 * @return OK, also if the token callback cancelled; E_ARGUMENT; E_VERSION; E_BUFFER if texts.stride is too
 *         small; E_MEMORY; E_MODEL with the application's error code in the message; E_BUILD; E_DEVICE;
 *         E_OPENCL. Once the steps began `texts` holds what was looked at, also on failure, and nothing that
 *         was enqueued still runs */
CLSAMPLE_API clsample_status clsample_generate(clsample_ctx *ctx, cl_command_queue queue,
                                               const clsample_generation *generation,
                                               const clsample_texts *texts);

/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
