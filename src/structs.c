/* SPDX-License-Identifier: Apache-2.0 */
/* Structs of the caller, whose version may be another than the library's. */
#include "internal.h"

#include <string.h>

/* A struct larger than this never had its size set: no version of any of them comes near. */
#define CLS_STRUCT_MAX 4096u

clsample_status cls_copy_struct(void *to, size_t known, size_t minimum, const void *from, const char *name)
{
    const unsigned char *bytes = from;
    const uint32_t own_size = (uint32_t)known;
    uint32_t size = 0;

    if (!from) return cls_fail(CLSAMPLE_E_ARGUMENT, "%s is NULL", name);
    memcpy(&size, from, sizeof size); /* the caller's struct may be of another version, so not by its type */
    if (size < minimum || size > CLS_STRUCT_MAX)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "%s.size is %u, allowed are %zu to %u bytes: set the struct by its _INIT macro", name,
                        (unsigned)size, minimum, CLS_STRUCT_MAX);
    /* A newer caller that leaves the newer fields at 0 asks for nothing new. */
    for (size_t i = known; i < size; i++) {
        if (bytes[i])
            return cls_fail(CLSAMPLE_E_VERSION,
                            "%s sets byte %zu, past the %zu bytes that clsample " CLSAMPLE_VERSION " knows",
                            name, i, known);
    }
    memcpy(to, from, CLS_MIN(size, known));
    memcpy(to, &own_size, sizeof own_size); /* the copy is whole, whatever the caller's was */
    return CLSAMPLE_OK;
}
