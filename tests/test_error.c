/* SPDX-License-Identifier: Apache-2.0 */
/* Names, texts, the noted failure, versioned structs, the default cache folder. Needs no device. */
#define _POSIX_C_SOURCE 200809L
#include "internal.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names ---- */

static const struct {
    clsample_status status;
    int value;
    const char *name;
} statuses[] = {
    { CLSAMPLE_OK, 0, "OK" },
    { CLSAMPLE_E_ARGUMENT, -1, "E_ARGUMENT" },
    { CLSAMPLE_E_BUFFER, -2, "E_BUFFER" },
    { CLSAMPLE_E_VERSION, -3, "E_VERSION" },
    { CLSAMPLE_E_MEMORY, -4, "E_MEMORY" },
    { CLSAMPLE_E_OPENCL, -5, "E_OPENCL" },
    { CLSAMPLE_E_BUILD, -6, "E_BUILD" },
    { CLSAMPLE_E_DEVICE, -7, "E_DEVICE" },
    { CLSAMPLE_E_NO_DEVICE, -8, "E_NO_DEVICE" },
    { CLSAMPLE_E_MODEL, -9, "E_MODEL" },
};

START_TEST(status_known)
{
    ck_assert_int_eq((int)statuses[_i].status, statuses[_i].value);
    ck_assert_str_eq(clsample_status_name(statuses[_i].status), statuses[_i].name);
    ck_assert_uint_gt(strlen(clsample_status_text(statuses[_i].status)), 5);
    ck_assert_str_ne(clsample_status_text(statuses[_i].status), "unknown status");
}
END_TEST

START_TEST(status_texts_differ)
{
    for (size_t i = 0; i < CLS_COUNT(statuses); i++) {
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(clsample_status_text(statuses[i].status),
                             clsample_status_text(statuses[k].status));
    }
}
END_TEST

START_TEST(status_unknown)
{
    static const int unknown[] = { 1, -10, 1000, CLSAMPLE_STATUS_FORCE_INT };

    for (size_t i = 0; i < CLS_COUNT(unknown); i++) {
        ck_assert_str_eq(clsample_status_name((clsample_status)unknown[i]), "E_UNKNOWN");
        ck_assert_str_eq(clsample_status_text((clsample_status)unknown[i]), "unknown status");
    }
}
END_TEST

START_TEST(row_status)
{
    ck_assert_str_eq(clsample_row_status_name(CLSAMPLE_ROW_OK), "ok");
    ck_assert_str_eq(clsample_row_status_name(CLSAMPLE_ROW_NAN_IGNORED), "nan_ignored");
    ck_assert_str_eq(clsample_row_status_name(CLSAMPLE_ROW_NO_TOKEN), "no_token");
    ck_assert_str_eq(clsample_row_status_name(CLSAMPLE_ROW_FALLBACK), "fallback");
    ck_assert_str_eq(clsample_row_status_name(4), "unknown");
    ck_assert_str_eq(clsample_row_status_name(0xffffffffu), "unknown");
}
END_TEST

START_TEST(version)
{
    char parts[32];

    snprintf(parts, sizeof parts, "%d.%d.%d", CLSAMPLE_VERSION_MAJOR, CLSAMPLE_VERSION_MINOR,
             CLSAMPLE_VERSION_PATCH);
    ck_assert_str_eq(clsample_version(), CLSAMPLE_VERSION);
    ck_assert_str_eq(clsample_version(), parts);
}
END_TEST

/* OpenCL 1.2 gives codes -1 to -19 and -30 to -68, the ICD loader -1001, and no other. */
START_TEST(cl_names)
{
    const char *unknown = "unknown OpenCL error";

    ck_assert_str_eq(cls_cl_error_name(CL_SUCCESS), "CL_SUCCESS");
    ck_assert_str_eq(cls_cl_error_name(-5), "CL_OUT_OF_RESOURCES");
    ck_assert_str_eq(cls_cl_error_name(-11), "CL_BUILD_PROGRAM_FAILURE");
    ck_assert_str_eq(cls_cl_error_name(-54), "CL_INVALID_WORK_GROUP_SIZE");
    ck_assert_str_eq(cls_cl_error_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR");
    for (cl_int code = -1100; code < 100; code++) {
        const bool known =
            code == 0 || code == -1001 || (code <= -1 && code >= -19) || (code <= -30 && code >= -68);
        ck_assert_msg((strcmp(cls_cl_error_name(code), unknown) != 0) == known, "code %d: %s", (int)code,
                      cls_cl_error_name(code));
    }
}
END_TEST

/* ---- The noted failure ---- */

START_TEST(fail_notes)
{
    const clsample_error *e = clsample_last_error();

    ck_assert_int_eq(cls_fail(CLSAMPLE_E_BUFFER, "tokens has %d bytes, %s are needed", 12, "16"),
                     CLSAMPLE_E_BUFFER);
    ck_assert_int_eq(e->status, CLSAMPLE_E_BUFFER);
    ck_assert_int_eq(e->cl_error, CL_SUCCESS);
    ck_assert_str_eq(e->message, "tokens has 12 bytes, 16 are needed");
    ck_assert_str_eq(e->cl_call, "");
    ck_assert_str_eq(e->log, "");
    ck_assert_ptr_eq(e, clsample_last_error());
}
END_TEST

START_TEST(fail_cl_notes)
{
    const clsample_error *e = clsample_last_error();

    ck_assert_int_eq(cls_fail_cl(CL_INVALID_CONTEXT, "clCreateBuffer scratch"), CLSAMPLE_E_OPENCL);
    ck_assert_int_eq(e->status, CLSAMPLE_E_OPENCL);
    ck_assert_int_eq(e->cl_error, CL_INVALID_CONTEXT);
    ck_assert_str_eq(e->cl_call, "clCreateBuffer scratch");
    ck_assert_str_eq(e->message, "clCreateBuffer scratch failed: CL_INVALID_CONTEXT (-34)");
    ck_assert_int_eq(cls_fail_cl(-9999, "clFlush"), CLSAMPLE_E_OPENCL);
    ck_assert_str_eq(e->message, "clFlush failed: unknown OpenCL error (-9999)");
}
END_TEST

static const struct {
    const char *log, *want;
} logs[] = {
    { "\n  \na.cl:1: warning: w\na.cl:2: error: e\nmore\n", ": a.cl:2: error: e" },
    { "error: at once", ": error: at once" },
    { "  only a remark\r\nand another", ": only a remark" },
    { " \n\n", "" },
    { "", "" },
    { NULL, "" },
};

START_TEST(fail_build_quotes)
{
    const clsample_error *e = clsample_last_error();
    char want[256];

    ck_assert_int_eq(cls_fail_build(CL_BUILD_PROGRAM_FAILURE, "clBuildProgram", logs[_i].log),
                     CLSAMPLE_E_BUILD);
    snprintf(want, sizeof want, "clBuildProgram failed: CL_BUILD_PROGRAM_FAILURE (-11)%s", logs[_i].want);
    ck_assert_str_eq(e->message, want);
    ck_assert_str_eq(e->log, logs[_i].log ? logs[_i].log : "");
    ck_assert_int_eq(e->cl_error, CL_BUILD_PROGRAM_FAILURE);
}
END_TEST

/* Every text too long by far ends in "..." and a 0 within its field. */
START_TEST(texts_are_cut)
{
    const clsample_error *e = clsample_last_error();
    static char text[20000];

    memset(text, 'a', sizeof text - 1);
    cls_fail_build(CL_BUILD_PROGRAM_FAILURE, text, text);
    ck_assert_uint_eq(strlen(e->cl_call), sizeof e->cl_call - 1);
    ck_assert_uint_eq(strlen(e->message), sizeof e->message - 1);
    ck_assert_uint_eq(strlen(e->log), sizeof e->log - 1);
    ck_assert_str_eq(e->log + strlen(e->log) - 4, "a...");
    ck_assert_str_eq(e->message + strlen(e->message) - 4, "a...");
    cls_fail(CLSAMPLE_E_ARGUMENT, "%s", text);
    ck_assert_str_eq(e->message + strlen(e->message) - 4, "a...");
    cls_fail_cl(CL_INVALID_VALUE, text);
    ck_assert_str_eq(e->cl_call + strlen(e->cl_call) - 4, "a...");
}
END_TEST

/* A text that just fits is whole; one byte more is cut. `_i`: bytes more than fit. */
START_TEST(text_at_the_limit)
{
    const clsample_error *e = clsample_last_error();
    char text[sizeof e->message + 1];
    const size_t length = sizeof e->message - 1 + (size_t)_i;

    memset(text, 'a', length);
    text[length] = '\0';
    cls_fail(CLSAMPLE_E_ARGUMENT, "%s", text);
    ck_assert_uint_eq(strlen(e->message), sizeof e->message - 1);
    ck_assert_int_eq(strstr(e->message, "...") != NULL, _i > 0);
}
END_TEST

/* Characters of three bytes: whatever the shift, none is cut in two. */
START_TEST(text_keeps_characters)
{
    const clsample_error *e = clsample_last_error();
    char text[1200];
    size_t at = 0;

    while (at < (size_t)_i)
        text[at++] = 'a';
    for (; at + 3 < sizeof text; at += 3)
        memcpy(text + at, "\xe2\x82\xac", 3);
    text[at] = '\0';
    cls_fail(CLSAMPLE_E_ARGUMENT, "%s", text);
    const size_t kept = strlen(e->message) - 3;
    ck_assert_str_eq(e->message + kept, "...");
    ck_assert_uint_eq((kept - (size_t)_i) % 3, 0);
    ck_assert_uint_gt(kept, sizeof e->message - 8);
}
END_TEST

START_TEST(own_message_as_argument)
{
    cls_fail(CLSAMPLE_E_OPENCL, "inner");
    cls_fail(CLSAMPLE_E_DEVICE, "outer: %s", clsample_last_error()->message);
    ck_assert_str_eq(clsample_last_error()->message, "outer: inner");
}
END_TEST

START_TEST(success_leaves_the_note)
{
    char dir[4096];

    cls_fail(CLSAMPLE_E_ARGUMENT, "stays");
    ck_assert_int_eq(clsample_default_cache_dir(dir, sizeof dir), CLSAMPLE_OK);
    ck_assert_str_eq(clsample_last_error()->message, "stays");
}
END_TEST

typedef struct thread_look {
    clsample_status before;
    const clsample_error *at;
    char after[32];
} thread_look;

static void *fail_in_thread(void *data)
{
    thread_look *look = data;

    look->at = clsample_last_error();
    look->before = look->at->status;
    cls_fail(CLSAMPLE_E_MEMORY, "theirs");
    snprintf(look->after, sizeof look->after, "%.31s", look->at->message);
    return NULL;
}

START_TEST(note_per_thread)
{
    thread_look look[2];
    pthread_t thread[2];

    cls_fail(CLSAMPLE_E_BUFFER, "ours");
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, fail_in_thread, &look[i]), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(look[i].before, CLSAMPLE_OK);
        ck_assert_ptr_ne(look[i].at, clsample_last_error());
        ck_assert_str_eq(look[i].after, "theirs");
    }
    ck_assert_int_eq(clsample_last_error()->status, CLSAMPLE_E_BUFFER);
    ck_assert_str_eq(clsample_last_error()->message, "ours");
}
END_TEST

/* ---- Versioned structs ---- */

typedef struct sized {
    uint32_t size, a, b, c;
} sized;
typedef struct longer {
    sized known;
    uint32_t more[2];
} longer;
#define SIZED_DEFAULT          \
    {                          \
        sizeof(sized), 1, 2, 3 \
    }
#define SIZED_MINIMUM 8u

static clsample_status copy(sized *to, const void *from)
{
    return cls_copy_struct(to, sizeof *to, SIZED_MINIMUM, from, "thing");
}

START_TEST(struct_same)
{
    const sized from = { sizeof from, 7, 8, 9 };
    sized to = SIZED_DEFAULT;

    ck_assert_int_eq(copy(&to, &from), CLSAMPLE_OK);
    ck_assert_int_eq(memcmp(&to, &from, sizeof to), 0);
}
END_TEST

START_TEST(struct_shorter_keeps_defaults)
{
    const sized from = { SIZED_MINIMUM, 7, 8, 9 };
    sized to = SIZED_DEFAULT;

    ck_assert_int_eq(copy(&to, &from), CLSAMPLE_OK);
    ck_assert_uint_eq(to.a, 7);
    ck_assert_uint_eq(to.b, 2);
    ck_assert_uint_eq(to.c, 3);
    ck_assert_uint_eq(to.size, sizeof to);
}
END_TEST

START_TEST(struct_longer_unset)
{
    const longer from = { { sizeof from, 7, 8, 9 }, { 0, 0 } };
    sized to[2] = { SIZED_DEFAULT, { 0xabababab, 0, 0, 0 } };

    ck_assert_int_eq(copy(to, &from), CLSAMPLE_OK);
    ck_assert_uint_eq(to[0].c, 9);
    ck_assert_uint_eq(to[0].size, sizeof to[0]);
    ck_assert_uint_eq(to[1].size, 0xabababab);
}
END_TEST

/* Every bit past the end counts. */
START_TEST(struct_longer_set)
{
    longer from = { { sizeof from, 7, 8, 9 }, { 0, 0 } };
    sized to = SIZED_DEFAULT;

    from.more[_i / 32] = 1u << (_i % 32);
    ck_assert_int_eq(copy(&to, &from), CLSAMPLE_E_VERSION);
    ck_assert_uint_eq(to.a, 1);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "thing"));
}
END_TEST

START_TEST(struct_bad_size)
{
    static const uint32_t sizes[] = { 0, 1, SIZED_MINIMUM - 1, 4097, 0xffffffffu };
    sized to = SIZED_DEFAULT, from = { 0, 7, 8, 9 };

    for (size_t i = 0; i < CLS_COUNT(sizes); i++) {
        from.size = sizes[i];
        ck_assert_int_eq(copy(&to, &from), CLSAMPLE_E_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "thing.size is "));
    }
    ck_assert_int_eq(copy(&to, NULL), CLSAMPLE_E_ARGUMENT);
    ck_assert_str_eq(clsample_last_error()->message, "thing is NULL");
    ck_assert_uint_eq(to.a, 1);
}
END_TEST

/* ---- The default cache folder ---- */

static const struct {
    const char *own, *xdg, *home, *want;
} folders[] = {
    { "/own", "/xdg", "/home/u", "/own" },
    { "off", "/xdg", "/home/u", "" },
    { "", "/xdg", "/home/u", "" },
    { "relative/own", NULL, NULL, "relative/own" },
    { NULL, "/xdg", "/home/u", "/xdg/clsample" },
    { NULL, "", "/home/u", "/home/u/.cache/clsample" },
    { NULL, "relative", "/home/u", "/home/u/.cache/clsample" },
    { NULL, NULL, "/home/u", "/home/u/.cache/clsample" },
    { NULL, NULL, "", "" },
    { NULL, NULL, NULL, "" },
};

static void set(const char *name, const char *value)
{
    ck_assert_int_eq(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

START_TEST(folder)
{
    char dir[64];
    const size_t need = strlen(folders[_i].want) + 1;

    set("CLSAMPLE_CACHE", folders[_i].own);
    set("XDG_CACHE_HOME", folders[_i].xdg);
    set("HOME", folders[_i].home);
    memset(dir, '?', sizeof dir);
    ck_assert_int_eq(clsample_default_cache_dir(dir, need), CLSAMPLE_OK);
    ck_assert_str_eq(dir, folders[_i].want);
    ck_assert_int_eq(dir[need], '?');

    ck_assert_int_eq(clsample_default_cache_dir(dir, need - 1), CLSAMPLE_E_BUFFER);
    ck_assert_int_eq(dir[need], '?');
    if (need > 1) ck_assert_str_eq(dir, "");
}
END_TEST

START_TEST(folder_null)
{
    ck_assert_int_eq(clsample_default_cache_dir(NULL, 10), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_last_error()->status, CLSAMPLE_E_ARGUMENT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("error");
    TCase *t = tcase_create("error");

    tcase_add_loop_test(t, status_known, 0, (int)CLS_COUNT(statuses));
    tcase_add_test(t, status_texts_differ);
    tcase_add_test(t, status_unknown);
    tcase_add_test(t, row_status);
    tcase_add_test(t, version);
    tcase_add_test(t, cl_names);
    tcase_add_test(t, fail_notes);
    tcase_add_test(t, fail_cl_notes);
    tcase_add_loop_test(t, fail_build_quotes, 0, (int)CLS_COUNT(logs));
    tcase_add_test(t, texts_are_cut);
    tcase_add_loop_test(t, text_at_the_limit, 0, 2);
    tcase_add_loop_test(t, text_keeps_characters, 0, 4);
    tcase_add_test(t, own_message_as_argument);
    tcase_add_test(t, success_leaves_the_note);
    tcase_add_test(t, note_per_thread);
    tcase_add_test(t, struct_same);
    tcase_add_test(t, struct_shorter_keeps_defaults);
    tcase_add_test(t, struct_longer_unset);
    tcase_add_loop_test(t, struct_longer_set, 0, 64);
    tcase_add_test(t, struct_bad_size);
    tcase_add_loop_test(t, folder, 0, (int)CLS_COUNT(folders));
    tcase_add_test(t, folder_null);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());

    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
