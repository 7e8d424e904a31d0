/* SPDX-License-Identifier: Apache-2.0 */
/* What a device says of itself, and what of that the library needs. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLS_LOCAL_MEMORY (32u * 1024u)

void cls_device_string(cl_device_id device, cl_device_info what, char *out, size_t size)
{
    size_t need = 0;

    out[0] = 0;
    if (clGetDeviceInfo(device, what, 0, NULL, &need) != CL_SUCCESS || need == 0 || need > 65536) return;
    char *text = malloc(need + 1);
    if (!text) return;
    if (clGetDeviceInfo(device, what, need, text, NULL) == CL_SUCCESS) {
        text[need] = 0;
        snprintf(out, size, "%s", text);
    }
    free(text);
}

clsample_status cls_device_uint(cl_device_id device, cl_device_info what, const char *name, uint64_t *out)
{
    union {
        cl_bool flag;
        cl_uint word;
        cl_ulong wide;
        size_t size;
    } value = { .wide = 0 };
    size_t got = 0;
    const cl_int err = clGetDeviceInfo(device, what, sizeof value, &value, &got);

    if (err != CL_SUCCESS)
        return cls_fail(CLSAMPLE_E_DEVICE, "clGetDeviceInfo %s failed: %s (%d)", name, cls_cl_error_name(err),
                        (int)err);
    *out = got == sizeof value.word ? value.word : value.wide;
    return CLSAMPLE_OK;
}

clsample_status cls_device_usable(cl_device_id device)
{
    static const struct {
        cl_device_info what;
        const char *name;
        uint64_t least;
        const char *without;
    } need[] = {
        { CL_DEVICE_AVAILABLE, "CL_DEVICE_AVAILABLE", 1, "the driver says that it is not available" },
        { CL_DEVICE_COMPILER_AVAILABLE, "CL_DEVICE_COMPILER_AVAILABLE", 1, "it has no compiler for kernels" },
        { CL_DEVICE_ENDIAN_LITTLE, "CL_DEVICE_ENDIAN_LITTLE", 1, "it is big-endian" },
        { CL_DEVICE_LOCAL_MEM_SIZE, "CL_DEVICE_LOCAL_MEM_SIZE", CLS_LOCAL_MEMORY,
          "it has less than 32 KiB of local memory" },
        { CL_DEVICE_MAX_PARAMETER_SIZE, "CL_DEVICE_MAX_PARAMETER_SIZE", 1024,
          "it takes less than 1024 bytes of kernel arguments" },
    };

    for (size_t i = 0; i < CLS_COUNT(need); i++) {
        uint64_t value = 0;
        const clsample_status st = cls_device_uint(device, need[i].what, need[i].name, &value);
        if (st != CLSAMPLE_OK) return st;
        if (value < need[i].least)
            return cls_fail(CLSAMPLE_E_DEVICE, "the device cannot be used: %s", need[i].without);
    }
    return CLSAMPLE_OK;
}

bool cls_device_has(cl_device_id device, const char *extension)
{
    const size_t length = strlen(extension);
    size_t size = 0;
    bool found = false;

    if (clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, 0, NULL, &size) != CL_SUCCESS || size == 0)
        return false;
    char *list = calloc(size + 1, 1);
    if (list && clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, size, list, NULL) == CL_SUCCESS) {
        for (const char *word = list; *word && !found; word += strspn(word, " ")) {
            found = strcspn(word, " ") == length && strncmp(word, extension, length) == 0;
            word += strcspn(word, " ");
        }
    }
    free(list);
    return found;
}

clsample_status cls_is_device_of(cl_context context, cl_device_id device, bool *found)
{
    clsample_status st = CLSAMPLE_OK;
    cl_device_id *devices = NULL;
    size_t size = 0;

    *found = false;
    CLS_CL(clGetContextInfo(context, CL_CONTEXT_DEVICES, 0, NULL, &size), "clGetContextInfo devices");
    devices = malloc(size + 1);
    if (!devices)
        CLS_TRY(cls_fail(CLSAMPLE_E_MEMORY, "no memory for the context's devices (%zu bytes)", size));
    CLS_CL(clGetContextInfo(context, CL_CONTEXT_DEVICES, size, devices, NULL), "clGetContextInfo devices");
    for (size_t i = 0; i < size / sizeof *devices; i++)
        *found |= devices[i] == device;
cleanup:
    free(devices);
    return st;
}

clsample_status cls_is_pocl(cl_device_id device, bool *pocl)
{
    char version[256];

    cls_device_string(device, CL_DEVICE_VERSION, version, sizeof version);
    *pocl = strstr(version, "PoCL") != NULL;
    return version[0]
               ? CLSAMPLE_OK
               : cls_fail(CLSAMPLE_E_DEVICE, "the driver does not tell CL_DEVICE_VERSION of the device");
}
