/* SPDX-License-Identifier: Apache-2.0 */
/* Failures noted for the caller, one note a thread; names and texts. */
#include "internal.h"

#include <CL/cl_ext.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room to make a message in: more than the note has, so that a cut shows there. */
#define CLS_MESSAGE_ROOM (sizeof last_error.message + 4)

/* The only state of the library outside its handles. */
static _Thread_local clsample_error last_error;

const clsample_error *clsample_last_error(void)
{
    return &last_error;
}

void cls_restore_error(const clsample_error *saved)
{
    last_error = *saved;
}

const char *clsample_version(void)
{
    return CLSAMPLE_VERSION;
}

/* ---- Failures ---- */

/* Copy and end in "..." if `from` does not fit; a UTF-8 character is kept whole, so that JSON made of it is
 * valid. */
static void copy_cut(char *to, size_t size, const char *from)
{
    const size_t length = strlen(from);

    if (length < size) {
        memcpy(to, from, length + 1);
        return;
    }
    size_t end = size - sizeof "...";
    /* 10xxxxxx continues a character. */
    while (end > 0 && ((unsigned char)from[end] & 0xc0u) == 0x80u)
        end--;
    memcpy(to, from, end);
    memcpy(to + end, "...", sizeof "...");
}

/* The only place that writes the note; no argument may point into it. */
static void note(clsample_status status, cl_int error, const char *call, const char *message, const char *log)
{
    last_error.status = status;
    last_error.cl_error = error;
    copy_cut(last_error.cl_call, sizeof last_error.cl_call, call);
    copy_cut(last_error.message, sizeof last_error.message, message);
    copy_cut(last_error.log, sizeof last_error.log, log);
}

clsample_status cls_fail(clsample_status status, const char *format, ...)
{
    char message[CLS_MESSAGE_ROOM]; /* apart from the note, whose own message may be an argument */
    va_list arguments;

    va_start(arguments, format);
    /* An encoding error of the C library is no reason to lose the status. */
    if (vsnprintf(message, sizeof message, format, arguments) < 0) message[0] = '\0';
    va_end(arguments);
    note(status, CL_SUCCESS, "", message, "");
    return status;
}

/* "clCreateBuffer scratch failed: CL_OUT_OF_RESOURCES (-5)" */
clsample_status cls_fail_cl(cl_int error, const char *call)
{
    char message[CLS_MESSAGE_ROOM];

    snprintf(message, sizeof message, "%s failed: %s (%d)", call, cls_cl_error_name(error), (int)error);
    note(CLSAMPLE_E_OPENCL, error, call, message, "");
    return CLSAMPLE_E_OPENCL;
}

/* The line of a compiler's log that says most, not ended by a 0: the first with "error", else the first that
 * is not blank. */
static const char *telling_line(const char *log, size_t *length)
{
    const char *line = log + strspn(log, " \t\r\n");
    const char *error = strstr(line, "error");

    while (error && error > line && error[-1] != '\n')
        error--;
    if (error) line = error;
    *length = strcspn(line, "\r\n");
    return line;
}

/* The message quotes a line of the log, since many callers show only the message. */
clsample_status cls_fail_build(cl_int error, const char *call, const char *log)
{
    char message[CLS_MESSAGE_ROOM];
    size_t length = 0;

    if (!log) log = "";
    const char *line = telling_line(log, &length);
    snprintf(message, sizeof message, "%s failed: %s (%d)%s%.*s", call, cls_cl_error_name(error), (int)error,
             length > 0 ? ": " : "", (int)CLS_MIN(length, sizeof message), line);
    note(CLSAMPLE_E_BUILD, error, call, message, log);
    return CLSAMPLE_E_BUILD;
}

/* ---- Names: each list is in the header, so that no code can lack its name or text ---- */

const char *clsample_status_name(clsample_status status)
{
    switch (status) {
#define CLS_CASE(name, value, text) \
    case CLSAMPLE_##name: return #name;
        CLSAMPLE_STATUS_MAP(CLS_CASE)
#undef CLS_CASE
    default: return "E_UNKNOWN";
    }
}

const char *clsample_status_text(clsample_status status)
{
    switch (status) {
#define CLS_CASE(name, value, text) \
    case CLSAMPLE_##name: return text;
        CLSAMPLE_STATUS_MAP(CLS_CASE)
#undef CLS_CASE
    default: return "unknown status";
    }
}

const char *clsample_finish_name(uint32_t finish)
{
    switch (finish) {
#define CLS_CASE(name, value, text) \
    case CLSAMPLE_FINISH_##name: return text;
        CLSAMPLE_FINISH_MAP(CLS_CASE)
#undef CLS_CASE
    default: return "unknown";
    }
}

const char *clsample_row_status_name(uint32_t row_status)
{
    switch (row_status) {
#define CLS_CASE(name, value, text) \
    case CLSAMPLE_ROW_##name: return text;
        CLSAMPLE_ROW_STATUS_MAP(CLS_CASE)
#undef CLS_CASE
    default: return "unknown";
    }
}

/* OpenCL 1.2's codes, and the ICD loader's own. Later versions have more, for calls that are not made
 * here. */
#define CLS_CODE(code) (code), #code
static const struct {
    cl_int code;
    const char *name;
} cl_errors[] = {
    { CLS_CODE(CL_SUCCESS) },
    { CLS_CODE(CL_DEVICE_NOT_FOUND) },
    { CLS_CODE(CL_DEVICE_NOT_AVAILABLE) },
    { CLS_CODE(CL_COMPILER_NOT_AVAILABLE) },
    { CLS_CODE(CL_MEM_OBJECT_ALLOCATION_FAILURE) },
    { CLS_CODE(CL_OUT_OF_RESOURCES) },
    { CLS_CODE(CL_OUT_OF_HOST_MEMORY) },
    { CLS_CODE(CL_PROFILING_INFO_NOT_AVAILABLE) },
    { CLS_CODE(CL_MEM_COPY_OVERLAP) },
    { CLS_CODE(CL_IMAGE_FORMAT_MISMATCH) },
    { CLS_CODE(CL_IMAGE_FORMAT_NOT_SUPPORTED) },
    { CLS_CODE(CL_BUILD_PROGRAM_FAILURE) },
    { CLS_CODE(CL_MAP_FAILURE) },
    { CLS_CODE(CL_MISALIGNED_SUB_BUFFER_OFFSET) },
    { CLS_CODE(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) },
    { CLS_CODE(CL_COMPILE_PROGRAM_FAILURE) },
    { CLS_CODE(CL_LINKER_NOT_AVAILABLE) },
    { CLS_CODE(CL_LINK_PROGRAM_FAILURE) },
    { CLS_CODE(CL_DEVICE_PARTITION_FAILED) },
    { CLS_CODE(CL_KERNEL_ARG_INFO_NOT_AVAILABLE) },
    { CLS_CODE(CL_INVALID_VALUE) },
    { CLS_CODE(CL_INVALID_DEVICE_TYPE) },
    { CLS_CODE(CL_INVALID_PLATFORM) },
    { CLS_CODE(CL_INVALID_DEVICE) },
    { CLS_CODE(CL_INVALID_CONTEXT) },
    { CLS_CODE(CL_INVALID_QUEUE_PROPERTIES) },
    { CLS_CODE(CL_INVALID_COMMAND_QUEUE) },
    { CLS_CODE(CL_INVALID_HOST_PTR) },
    { CLS_CODE(CL_INVALID_MEM_OBJECT) },
    { CLS_CODE(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR) },
    { CLS_CODE(CL_INVALID_IMAGE_SIZE) },
    { CLS_CODE(CL_INVALID_SAMPLER) },
    { CLS_CODE(CL_INVALID_BINARY) },
    { CLS_CODE(CL_INVALID_BUILD_OPTIONS) },
    { CLS_CODE(CL_INVALID_PROGRAM) },
    { CLS_CODE(CL_INVALID_PROGRAM_EXECUTABLE) },
    { CLS_CODE(CL_INVALID_KERNEL_NAME) },
    { CLS_CODE(CL_INVALID_KERNEL_DEFINITION) },
    { CLS_CODE(CL_INVALID_KERNEL) },
    { CLS_CODE(CL_INVALID_ARG_INDEX) },
    { CLS_CODE(CL_INVALID_ARG_VALUE) },
    { CLS_CODE(CL_INVALID_ARG_SIZE) },
    { CLS_CODE(CL_INVALID_KERNEL_ARGS) },
    { CLS_CODE(CL_INVALID_WORK_DIMENSION) },
    { CLS_CODE(CL_INVALID_WORK_GROUP_SIZE) },
    { CLS_CODE(CL_INVALID_WORK_ITEM_SIZE) },
    { CLS_CODE(CL_INVALID_GLOBAL_OFFSET) },
    { CLS_CODE(CL_INVALID_EVENT_WAIT_LIST) },
    { CLS_CODE(CL_INVALID_EVENT) },
    { CLS_CODE(CL_INVALID_OPERATION) },
    { CLS_CODE(CL_INVALID_GL_OBJECT) },
    { CLS_CODE(CL_INVALID_BUFFER_SIZE) },
    { CLS_CODE(CL_INVALID_MIP_LEVEL) },
    { CLS_CODE(CL_INVALID_GLOBAL_WORK_SIZE) },
    { CLS_CODE(CL_INVALID_PROPERTY) },
    { CLS_CODE(CL_INVALID_IMAGE_DESCRIPTOR) },
    { CLS_CODE(CL_INVALID_COMPILER_OPTIONS) },
    { CLS_CODE(CL_INVALID_LINKER_OPTIONS) },
    { CLS_CODE(CL_INVALID_DEVICE_PARTITION_COUNT) },
    { CLS_CODE(CL_PLATFORM_NOT_FOUND_KHR) },
};

const char *cls_cl_error_name(cl_int error)
{
    for (size_t i = 0; i < CLS_COUNT(cl_errors); i++) {
        if (cl_errors[i].code == error) return cl_errors[i].name;
    }
    return "unknown OpenCL error";
}
