/* SPDX-License-Identifier: Apache-2.0 */
/* The public header comes first and alone: it includes what it needs, and strict C11 takes all of it. */
#include "clsample.h"

/* Included twice, it must be the same as once. */
#include "clsample.h"

#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(clsample_result) == 16, "a result is 16 bytes in the device's memory");
_Static_assert(sizeof(clsample_status) == sizeof(int), "a status travels as an int");

int main(void)
{
    const clsample_options options = CLSAMPLE_OPTIONS_INIT;
    const clsample_params params = CLSAMPLE_PARAMS_INIT;
    const clsample_logits logits = CLSAMPLE_LOGITS_INIT;
    const clsample_output output = CLSAMPLE_OUTPUT_INIT;
    const clsample_generation generation = CLSAMPLE_GENERATION_INIT;
    const clsample_texts texts = CLSAMPLE_TEXTS_INIT;
    char numbers[32];

    snprintf(numbers, sizeof numbers, "%d.%d.%d", CLSAMPLE_VERSION_MAJOR, CLSAMPLE_VERSION_MINOR,
             CLSAMPLE_VERSION_PATCH);
    if (strcmp(numbers, CLSAMPLE_VERSION) != 0 || strcmp(clsample_version(), CLSAMPLE_VERSION) != 0) {
        printf("versions differ: numbers %s, text %s, library %s\n", numbers, CLSAMPLE_VERSION,
               clsample_version());
        return 1;
    }
    if (options.size != sizeof options || params.size != sizeof params || logits.size != sizeof logits ||
        output.size != sizeof output || generation.size != sizeof generation || texts.size != sizeof texts) {
        puts("an _INIT macro sets a size other than its struct's");
        return 1;
    }
    return 0;
}
