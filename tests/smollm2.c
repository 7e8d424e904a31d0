/* SPDX-License-Identifier: Apache-2.0 */
#include "smollm2.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef CLSAMPLE_TEST_DATA
#define CLSAMPLE_TEST_DATA "tests/data"
#endif
#ifndef CLSAMPLE_TEST_MODEL
#define CLSAMPLE_TEST_MODEL "build/model/SmolLM2-135M-Instruct.Q4_1.gguf"
#endif

const char *smollm2_path(void)
{
    const char *named = getenv("CLSAMPLE_TEST_MODEL");
    const char *path = named ? named : CLSAMPLE_TEST_MODEL;

    if (access(path, R_OK) == 0) return path;
    printf("skipped: there is no %s; tools/model/fetch gets it\n", path);
    return NULL;
}

json_t *smollm2_answers(const char *part)
{
    const char *folder = getenv("CLSAMPLE_TEST_DATA");
    char path[4096];
    json_error_t error;

    snprintf(path, sizeof path, "%s/smollm2.json", folder ? folder : CLSAMPLE_TEST_DATA);
    json_t *all = json_load_file(path, 0, &error);
    json_t *found = json_incref(json_object_get(all, part));
    json_decref(all);
    if (!json_is_array(found)) {
        printf("%s: %s: no array \"%s\"\n", path, error.text, part);
        exit(EXIT_FAILURE);
    }
    return found;
}
