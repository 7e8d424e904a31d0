/* SPDX-License-Identifier: Apache-2.0 */
/* What host and kernels agree on about texts that are generated, as in interface.h. */
#ifndef CLS_TEXTS_H
#define CLS_TEXTS_H

#include "interface.h"

/* How a row ended: clsample_finish, as far as the device decides it; cls_row_state.finish. */
#define CLS_FINISH_NONE 0u
#define CLS_FINISH_EOS 1u
#define CLS_FINISH_STOP 2u
#define CLS_FINISH_LENGTH 3u
#define CLS_FINISH_NO_TOKEN 6u

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
