/* SPDX-License-Identifier: Apache-2.0 */
/* What the command's model runner shares with the library beside its public header: kernels that are
 * compiled once and then come from the cache, and the names of OpenCL's errors. It is no part of the
 * interface. */
#ifndef CLS_SHARED_H
#define CLS_SHARED_H

#include "clsample.h"

/* A file of kernels with all that it includes: what the build made of it (cmake/embed.cmake). */
typedef struct cls_embedded {
    const char *file; /* for messages */
    const unsigned char *bytes;
    const size_t *size;
} cls_embedded;
/* Its initializer; `name` is the file's path without the topmost folder and the ending, with _ for /. */
#define CLS_EMBEDDED(name, file)                               \
    {                                                          \
        file, cls_embedded_##name, &cls_embedded_##name##_size \
    }
#define CLS_EMBEDDED_DECLARE(name)                    \
    extern const unsigned char cls_embedded_##name[]; \
    extern const size_t cls_embedded_##name##_size;

/* Compile a program for one device, or load it from `cache_dir` (NULL = no cache; PoCL has one of
 * its own and uses none of ours). `options` are the -D
 * switches; those that every build needs are added. On success *program is owned by the caller. Failures
 * are noted for clsample_last_error(); E_BUILD carries the log. */
clsample_status cls_program_compile(cl_context context, cl_device_id device, const char *cache_dir,
                                    const cls_embedded *source, const char *options, cl_program *program);

/* "CL_OUT_OF_RESOURCES" for -5; "unknown OpenCL error" for what is not in OpenCL 1.2. */
const char *cls_cl_error_name(cl_int error);

#endif
