/* SPDX-License-Identifier: Apache-2.0 */
/* A program of somebody else. It calls into every part of the library that works without a device. */
#include <clsample.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    clsample_params params = CLSAMPLE_PARAMS_INIT;
    clsample_devices *list = NULL;
    clsample_result result;

    if (strcmp(clsample_version(), CLSAMPLE_VERSION) != 0) {
        printf("header %s, library %s\n", CLSAMPLE_VERSION, clsample_version());
        return 1;
    }
    if (clsample_devices_open(NULL, &list) != CLSAMPLE_OK) {
        printf("%s\n", clsample_last_error()->message);
        return 1;
    }
    clsample_devices_close(list);
    if (clsample_sample(NULL, &params, 1, NULL, NULL, &result) != CLSAMPLE_E_ARGUMENT) {
        puts("a context that is NULL was taken");
        return 1;
    }
    return 0;
}
