/* SPDX-License-Identifier: Apache-2.0 */
/* What clsample_generate is asked for, as its loop works with it. */
#ifndef CLS_REQUEST_H
#define CLS_REQUEST_H

#include "job.h"

#include "../cl/shared/texts.h"

/* What was asked for, with every default in its place. */
typedef struct cls_request {
    clsample_generation ask;
    clsample_texts texts;
    uint32_t rows;
    uint32_t stride;      /* max_length */
    uint32_t check_every; /* 1 if eager */
    bool eager;
    uint32_t n_ends; /* eos, and stop sequences with their lengths */
} cls_request;

/* Check and copy what the application asks for. `job` has the context, and takes what is found out about
 * the queue. */
clsample_status cls_check_request(cls_job *job, cl_command_queue queue, const clsample_generation *from,
                                  const clsample_texts *texts, cls_request *request);
/* Tokens of prompt `i`. */
uint32_t cls_prompt_length(const cls_request *q, uint32_t i);
/* `ends` as the kernels want them (cl/generate.cl). */
void cls_fill_ends(const cls_request *q, cl_int *ends);
/* Does a text end with this id? */
bool cls_ends_text(const cls_request *q, int32_t id);

#endif
