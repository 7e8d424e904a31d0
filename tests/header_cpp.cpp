// SPDX-License-Identifier: Apache-2.0
// The public header as strict C++11: it includes what it needs, its macros initialise without narrowing, and
// what it declares links as C.
#include "clsample.h"

#include <cstring>

static_assert(sizeof(clsample_result) == 16, "a result is 16 bytes in the device's memory");
static_assert(sizeof(clsample_status) == sizeof(int), "a status travels as an int");

int main()
{
    const clsample_options options = CLSAMPLE_OPTIONS_INIT;
    const clsample_params params = CLSAMPLE_PARAMS_INIT;
    const clsample_logits logits = CLSAMPLE_LOGITS_INIT;
    const clsample_output output = CLSAMPLE_OUTPUT_INIT;
    const clsample_generation generation = CLSAMPLE_GENERATION_INIT;
    const clsample_texts texts = CLSAMPLE_TEXTS_INIT;
    const bool sizes = options.size == sizeof options && params.size == sizeof params &&
                       logits.size == sizeof logits && output.size == sizeof output &&
                       generation.size == sizeof generation && texts.size == sizeof texts;

    return sizes && std::strcmp(clsample_version(), CLSAMPLE_VERSION) == 0 ? 0 : 1;
}
