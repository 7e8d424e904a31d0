/* SPDX-License-Identifier: Apache-2.0 */
/* Samplers in the command: all that it knows of them is the library's list, clsample_sampler_info(). */
#ifndef SAMPLING_H
#define SAMPLING_H

#include "cli.h"

/* Of samplers in the list. */
#define SAMPLING_ONE_MORE(name, value, text) +1
enum { SAMPLING_MOST = 0 CLSAMPLE_SAMPLER_MAP(SAMPLING_ONE_MORE) };
#undef SAMPLING_ONE_MORE

/* An option for each sampler of the list, then --order, --greedy, --seed, --step and --rules. What options
 * hold as lists lives until cli_finish(). */
void cli_add_sampling(cli_options *o, clsample_params *params);

/* "seed", "transformers", "vllm", "llama.cpp": a clsample_rules by name. */
const char *cli_rules_name(uint32_t rules);

/* The samplers that are on, in the order in which they work: those that change single logits, then those of
 * the order in force. Temperature is always among them. Returns how many. */
size_t sampling_list(const clsample_params *p, const clsample_sampler_entry *list[SAMPLING_MOST]);
/* Whether it is greedy, so that all but edits and temperature are off. */
bool sampling_is_greedy(const clsample_params *p);

/* Of a field that is one number; 0 for a list. */
double sampling_value(const clsample_params *p, const clsample_sampler_entry *e);
/* Elements of a field that is a list; 0 for a number. */
uint32_t sampling_count(const clsample_params *p, const clsample_sampler_entry *e);
/* Whether its field differs from the default. */
bool sampling_is_set(const clsample_params *p, const clsample_sampler_entry *e);
/* Take a sampler's field over; with temperature goes CLSAMPLE_GREEDY. A list is borrowed. */
void sampling_copy(clsample_params *to, const clsample_params *from, const clsample_sampler_entry *e);
/* "top-k 50", "logit-bias of 300", "greedy". */
void sampling_print(FILE *to, const clsample_params *p, const clsample_sampler_entry *e);
/* All that are on, with `separator` between them. */
void sampling_print_all(FILE *to, const clsample_params *p, const char *separator);

#endif
