/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels agree on about texts that are generated, as in interface.h. */
#ifndef CLS_TEXTS_H
#define CLS_TEXTS_H

#ifndef __OPENCL_VERSION__
#include "interface.h"
#endif

/* How a row ended: clsample_finish, as far as the device decides it. */
#define CLS_FINISH_NONE 0u
#define CLS_FINISH_EOS 1u
#define CLS_FINISH_STOP 2u
#define CLS_FINISH_LENGTH 3u
#define CLS_FINISH_NO_TOKEN 6u

/* A row on its way. */
typedef struct cls_text_row {
    cls_uint length; /* tokens that it has */
    cls_uint prompt; /* ... when it began */
    cls_uint limit;  /* ... at most */
    cls_uint finish;
} cls_text_row;

/* What a step gave a row, for the host to look at. Of a row that had ended before it means nothing. */
typedef struct cls_text_token {
    int token;
    float logprob;
    cls_uint kept;
    cls_uint finish;
    cls_uint status; /* the sampler's, as in cls_result */
} cls_text_token;

/* What ends texts, all rows alike. */
typedef struct cls_text_ends {
    cls_uint stride; /* of the ids */
    cls_uint eos;    /* how many */
    cls_uint stops;  /* sequences */
    cls_uint min_tokens;
} cls_text_ends;

#endif
