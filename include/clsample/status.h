/* SPDX-License-Identifier: Apache-2.0 */
/* What every part needs: the version, how functions are exported, and how calls fail. */
#ifndef CLSAMPLE_STATUS_H
#define CLSAMPLE_STATUS_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>
#include <stddef.h>
#include <stdint.h>

#if defined(CLSAMPLE_STATIC) || !defined(__GNUC__)
#define CLSAMPLE_API
#else
#define CLSAMPLE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Tables, structs and their comments are laid out by hand. */
/* clang-format off */

#define CLSAMPLE_VERSION_MAJOR 0
#define CLSAMPLE_VERSION_MINOR 1
#define CLSAMPLE_VERSION_PATCH 0
#define CLSAMPLE_VERSION "0.1.0"

/** "MAJOR.MINOR.PATCH" of the library that is linked. */
CLSAMPLE_API const char *clsample_version(void);

/* ---- Status ---------------------------------------------------------------------------------------- */

/* The only list of status codes: the enum, the names and the texts come from it. */
#define CLSAMPLE_STATUS_MAP(X)                                                             \
    X(OK, 0, "success")                                                                    \
    X(E_ARGUMENT, -1, "null handle, zero size or value out of range")                      \
    X(E_BUFFER, -2, "buffer smaller than the shape needs, or wrongly aligned")             \
    X(E_VERSION, -3, "a struct sets a field or flag that this library is too old to know") \
    X(E_MEMORY, -4, "out of host memory")                                                  \
    X(E_OPENCL, -5, "an OpenCL call failed")                                               \
    X(E_BUILD, -6, "the device's compiler refused the kernels")                            \
    X(E_DEVICE, -7, "the device cannot be used")                                           \
    X(E_NO_DEVICE, -8, "no usable device matches the selection")                           \
    X(E_MODEL, -9, "the application's model reported a failure")

typedef enum clsample_status {
#define CLSAMPLE_STATUS_ENUM(name, value, text) CLSAMPLE_##name = (value),
    CLSAMPLE_STATUS_MAP(CLSAMPLE_STATUS_ENUM)
#undef CLSAMPLE_STATUS_ENUM
        CLSAMPLE_STATUS_FORCE_INT = 0x7fffffff
} clsample_status;

/** "E_ARGUMENT" for CLSAMPLE_E_ARGUMENT; "E_UNKNOWN" for a value that is not in the list. Never NULL. */
CLSAMPLE_API const char *clsample_status_name(clsample_status status);
/** The list's sentence for a status; never NULL. clsample_last_error() says more about one failure. */
CLSAMPLE_API const char *clsample_status_text(clsample_status status);

/** What the calling thread's last failed call of this library has to say. */
typedef struct clsample_error {
    clsample_status status; /**< OK if no call of this thread failed yet */
    cl_int cl_error;        /**< the OpenCL code under E_OPENCL, E_BUILD or E_DEVICE, else CL_SUCCESS */
    char cl_call[64];       /**< the OpenCL call that failed, e.g. "clCreateBuffer scratch", else "" */
    char message[1024];     /**< a sentence: which argument, its value, what is allowed */
    char log[8192];         /**< E_BUILD: the compiler's log (its first 8 KiB), else "" */
} clsample_error;

/** Never NULL. Owned by the calling thread, overwritten by its next failure, left alone by a success. */
CLSAMPLE_API const clsample_error *clsample_last_error(void);

/* clang-format on */

#ifdef __cplusplus
}
#endif

#endif
