/* SPDX-License-Identifier: Apache-2.0 */
/* A part of the public header, HEADER_PART, alone: it includes what it and its macros need. */
#include HEADER_PART

/* Included twice, it must be the same as once. */
#include HEADER_PART

#ifdef CLSAMPLE_OPTIONS_INIT
clsample_options header_options = CLSAMPLE_OPTIONS_INIT;
#endif
#ifdef CLSAMPLE_PARAMS_INIT
clsample_params header_params = CLSAMPLE_PARAMS_INIT;
#endif
#ifdef CLSAMPLE_LOGITS_INIT
clsample_logits header_logits = CLSAMPLE_LOGITS_INIT;
#endif
#ifdef CLSAMPLE_OUTPUT_INIT
clsample_output header_output = CLSAMPLE_OUTPUT_INIT;
#endif
#ifdef CLSAMPLE_GENERATION_INIT
clsample_generation header_generation = CLSAMPLE_GENERATION_INIT;
#endif
#ifdef CLSAMPLE_TEXTS_INIT
clsample_texts header_texts = CLSAMPLE_TEXTS_INIT;
#endif

int header_version(void)
{
    return CLSAMPLE_VERSION_MAJOR + CLSAMPLE_OK;
}
