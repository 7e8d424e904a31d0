/* SPDX-License-Identifier: Apache-2.0 */
/* clsample generate: what its two files share, the command (cmd_generate.c) and the run (generate_run.c). */
#ifndef GENERATE_RUN_H
#define GENERATE_RUN_H

#include "text_stream.h"

#include "model/llama.h"
#include "model/tokenizer.h"

typedef struct generate {
    /* Options */
    const char *model, *prompt, *prompt_file, *selector;
    bool chat, special, echo, eager;
    uint32_t max_tokens, min_tokens, samples;
    uint32_t context; /* 0 = the model's */
    cli_list stops;
    clsample_params params;

    char *text; /* the prompt, not ended by a 0; owned */
    size_t length;

    /* The model; owned */
    gguf *file;
    tokenizer *tokenizer;
    tokenizer_ids prompt_ids, ends; /* ends: what ends a text */
    cli_device device;
    llama *llama;

    /* The texts; owned */
    text_stream *streams; /* [samples] */
    uint32_t stride;      /* tokens of a text, prompt included, at most */
    int32_t *ids;         /* [samples, stride] */
    float *logprobs;      /* [samples, stride] */
    uint32_t *lengths, *finish;
    uint32_t *nan_tokens; /* [samples]: tokens that were drawn while logits were NaN */

    /* The run */
    cl_mem logits;    /* those of the last step; owned */
    bool interrupted; /* by Ctrl-C */
    model_error error;
    double begin, prompt_end, last_token; /* seconds of a clock */
    double sampling;                      /* seconds of a step beside the model; 0 = not measured */
} generate;

/* Make the texts, shown on standard output as they come if there is one and no --json. The device, the model
 * and everything above are there. Returns an exit code; where Ctrl-C ended it, 0 with `interrupted`. */
int generate_run(cli *c, generate *g);

/* Tokens that were generated, of all texts together, and those that were drawn while logits were NaN. */
uint64_t generate_count(const generate *g);
uint64_t generate_nan_count(const generate *g);
/* Tokens a second after the first; 0 where there were none. */
double generate_speed(const generate *g);
/* The part of a step that is not the model's, 0 to 1; negative if it was not measured. */
double generate_share(const generate *g);
/* "eos", "stop", "length", ... */
const char *generate_finish(const generate *g, uint32_t sample);

#endif
