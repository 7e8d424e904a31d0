/* SPDX-License-Identifier: Apache-2.0 */
/* Drivers that fail, played by fake_icd.c: they are listed with the reason, never chosen, and crash nothing.
 * Each test runs in a process of its own, since an OpenCL loader looks for drivers once. CLS_FAKE_ICD is the
 * path of the driver. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "internal.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 512

static char folder[PATH_ROOM / 4];

/* A folder for the loader, which names the one driver, if there is to be one; the cache goes there too. */
static void make_folder(void)
{
    char path[PATH_ROOM];

    test_make_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/fake.icd", folder);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fprintf(f, "%s\n", CLS_FAKE_ICD), 0);
    ck_assert_int_eq(fclose(f), 0);
}

/* The entry of the cache, or "" if there is none, in `key`; `drop` removes all files. */
static void look(char key[PATH_ROOM], bool drop)
{
    char path[PATH_ROOM];
    DIR *dir = opendir(folder);

    ck_assert_ptr_nonnull(dir);
    key[0] = '\0';
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (strstr(e->d_name, ".clbin")) snprintf(key, PATH_ROOM, "%.300s", e->d_name);
        snprintf(path, sizeof path, "%s/%.300s", folder, e->d_name);
        if (drop && e->d_name[0] != '.') ck_assert_int_eq(unlink(path), 0);
    }
    closedir(dir);
}

static void remove_folder(void)
{
    char key[PATH_ROOM];

    look(key, true);
    ck_assert_int_eq(rmdir(folder), 0);
}

static clsample_devices *open_list(const char *modes)
{
    clsample_devices *list = NULL;

    ck_assert_int_eq(setenv("CLS_FAKE_MODES", modes, 1), 0);
    ck_assert_int_eq(setenv("OCL_ICD_VENDORS", folder, 1), 0);
    ck_assert_int_eq(setenv("OCL_ICD_PLATFORM_SORT", "none", 1), 0); /* one loader's own idea */
    ck_assert_int_eq(unsetenv("OCL_ICD_FILENAMES"), 0);
    ck_assert_int_eq(clsample_devices_open(NULL, &list), CLSAMPLE_OK);
    ck_assert_ptr_nonnull(list);
    return list;
}

static const clsample_device_info *only(clsample_devices *list, const char *selector)
{
    ck_assert_uint_eq(clsample_devices_count(list), 1);
    const clsample_device_info *info = clsample_devices_info(list, 0);
    ck_assert_str_eq(info->selector, selector);
    return info;
}

/* No selection gets the only entry, and the message says why. */
static void never_chosen(clsample_devices *list, const char *why)
{
    static const char *const selectors[] = { NULL, "0:0", "0:-", "gpu", "e" };
    const clsample_device_info *info = clsample_devices_info(list, 0);
    clsample_ctx *ctx = NULL;

    for (size_t i = 0; i < CLS_COUNT(selectors); i++) {
        size_t index = 99;
        ck_assert_int_eq(clsample_devices_select(list, selectors[i], &index), CLSAMPLE_E_NO_DEVICE);
        ck_assert_uint_eq(index, 99);
        ck_assert_msg(strstr(clsample_last_error()->message, why) != NULL, "%s",
                      clsample_last_error()->message);
    }
    ck_assert_int_eq(info->usable, 0);
    ck_assert_uint_eq(info->rank, 0);
    ck_assert_int_eq(info->is_default, 0);
    ck_assert_ptr_nonnull(strstr(info->reason, why));
    ck_assert_int_eq(clsample_devices_check(list, 0), CLSAMPLE_E_DEVICE);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, why));
    /* Refused before the context is looked at. */
    ck_assert_int_eq(clsample_devices_create(list, 0, (cl_context)list, &ctx), CLSAMPLE_E_DEVICE);
    ck_assert_ptr_null(ctx);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, why));
}

START_TEST(no_platform)
{
    clsample_devices *list = open_list("none");
    size_t index = 0;

    ck_assert_uint_eq(clsample_devices_count(list), 0);
    ck_assert_ptr_null(clsample_devices_info(list, 0));
    ck_assert_int_eq(clsample_devices_select(list, NULL, &index), CLSAMPLE_E_NO_DEVICE);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "no OpenCL platform"));
    clsample_devices_close(list);
}
END_TEST

START_TEST(platform_without_devices)
{
    clsample_devices *list = open_list("empty");
    const clsample_device_info *info = only(list, "0:-");

    ck_assert_str_eq(info->platform, "empty");
    ck_assert_str_eq(info->type, "none");
    ck_assert_str_eq(info->name, "");
    ck_assert_ptr_null(info->device_id);
    ck_assert_ptr_nonnull(info->platform_id);
    ck_assert_str_eq(info->reason, "the platform has no devices");
    never_chosen(list, "the platform has no devices");
    clsample_devices_close(list);
}
END_TEST

START_TEST(platform_answers_nothing)
{
    clsample_devices *list = open_list("mute");
    const clsample_device_info *info = only(list, "0:-");

    ck_assert_str_eq(info->platform, "");
    ck_assert_str_eq(info->reason, "clGetDeviceIDs failed: CL_OUT_OF_RESOURCES (-5)");
    never_chosen(list, "CL_OUT_OF_RESOURCES (-5)");
    clsample_devices_close(list);
}
END_TEST

START_TEST(device_answers_nothing)
{
    clsample_devices *list = open_list("silent");
    const clsample_device_info *info = only(list, "0:0");

    ck_assert_str_eq(info->platform, "silent");
    ck_assert_str_eq(info->name, "");
    ck_assert_str_eq(info->type, "none");
    ck_assert_uint_eq(info->compute_units, 0);
    ck_assert_ptr_nonnull(info->device_id);
    never_chosen(list, "CL_OUT_OF_RESOURCES (-5)");
    clsample_devices_close(list);
}
END_TEST

START_TEST(device_without_compiler)
{
    clsample_devices *list = open_list("no-compiler");
    const clsample_device_info *info = only(list, "0:0");

    ck_assert_str_eq(info->type, "gpu");
    ck_assert_uint_eq(strlen(info->name), sizeof info->name - 1);
    ck_assert_uint_eq(info->compute_units, 8);
    ck_assert_int_eq(info->fma, 1);
    ck_assert_int_eq(info->denormals, 0);
    ck_assert_int_eq(info->fp16, 0);
    never_chosen(list, "compiler");
    ck_assert_str_eq(info->self_check, "not run");
    clsample_devices_close(list);
}
END_TEST

/* Nothing speaks against it until it is tried. */
START_TEST(device_without_context)
{
    clsample_devices *list = open_list("no-context");
    const clsample_device_info *info = only(list, "0:0");

    ck_assert_int_eq(info->usable, 1);
    ck_assert_uint_eq(info->rank, 1);
    ck_assert_str_eq(info->reason, "");
    never_chosen(list, "clCreateContext failed: CL_OUT_OF_RESOURCES (-5)");
    ck_assert_str_eq(info->self_check, "not run");
    clsample_devices_close(list);
}
END_TEST

START_TEST(device_refuses_source)
{
    clsample_devices *list = open_list("no-build");
    const clsample_device_info *info = only(list, "0:0");

    ck_assert_int_eq(info->usable, 1);
    never_chosen(list, "cl/check.cl:2: error: refused on purpose");
    ck_assert_str_eq(info->self_check, "not run");
    clsample_devices_close(list);
}
END_TEST

START_TEST(build_log_is_kept)
{
    clsample_devices *list = open_list("no-build");
    const clsample_error *e = clsample_last_error();
    cl_device_id device = only(list, "0:0")->device_id;
    cl_program program = NULL;

    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    ck_assert_int_eq(cls_program_build(context, device, folder, CLS_SRC_CHECK, "", &program),
                     CLSAMPLE_E_BUILD);
    ck_assert_int_eq(e->cl_error, CL_BUILD_PROGRAM_FAILURE);
    ck_assert_uint_eq(strlen(e->log), sizeof e->log - 1);
    ck_assert_ptr_nonnull(strstr(e->log, "cl/check.cl:1: warning: it is late\n"));
    clReleaseContext(context);
    clsample_devices_close(list);
}
END_TEST

START_TEST(listing_leaves_the_note)
{
    cls_fail(CLSAMPLE_E_BUFFER, "stays");
    clsample_devices *list = open_list("empty,mute,silent,no-compiler");
    ck_assert_int_eq(clsample_last_error()->status, CLSAMPLE_E_BUFFER);
    ck_assert_str_eq(clsample_last_error()->message, "stays");
    clsample_devices_close(list);
}
END_TEST

/* All at once: each has its entry, and a line in the message. */
START_TEST(all_listed)
{
    static const char *const selectors[] = { "0:-", "1:-", "2:0", "3:0", "4:0", "5:0" };
    clsample_devices *list = open_list("empty,mute,silent,no-compiler,no-context,no-build");
    const char *message = clsample_last_error()->message;
    size_t index = 0;

    ck_assert_uint_eq(clsample_devices_count(list), CLS_COUNT(selectors));
    ck_assert_int_eq(clsample_devices_select(list, NULL, &index), CLSAMPLE_E_NO_DEVICE);
    for (size_t i = 0; i < CLS_COUNT(selectors); i++) {
        const clsample_device_info *info = clsample_devices_info(list, i);
        char line[64];
        ck_assert_str_eq(info->selector, selectors[i]);
        ck_assert_int_eq(info->usable, 0);
        snprintf(line, sizeof line, "\n  %s %.40s / ", selectors[i], info->platform);
        ck_assert_msg(strstr(message, line) != NULL, "%s: %s", line, message);
    }
    clsample_devices_close(list);
}
END_TEST

/* What was not tried because something else was asked for is "not selected". */
START_TEST(no_match)
{
    clsample_devices *list = open_list("empty,no-context");
    const char *message = clsample_last_error()->message;
    size_t index = 0;

    ck_assert_int_eq(clsample_devices_select(list, "unheard of", &index), CLSAMPLE_E_NO_DEVICE);
    ck_assert_ptr_nonnull(strstr(message, "\"unheard of\""));
    ck_assert_ptr_nonnull(strstr(message, "0:- empty / : the platform has no devices"));
    ck_assert_ptr_nonnull(strstr(message, "1:0 no-context / contextless: not selected"));
    ck_assert_int_eq(clsample_devices_info(list, 1)->usable, 1);
    clsample_devices_close(list);
}
END_TEST

/* Custom devices, which "all" leaves out, are listed after the others. */
static const struct {
    const char *name, *type;
    uint32_t rank;
} ranked[] = {
    { "small cpu", "cpu", 6 }, { "large cpu", "cpu", 5 },    { "llvmpipe", "gpu", 7 },
    { "Oclgrind", "gpu", 8 },  { "small gpu", "gpu", 2 },    { "large gpu", "gpu", 1 },
    { "twin gpu", "gpu", 3 },  { "fpga", "accelerator", 4 }, { "custom chip", "custom", 0 },
};

START_TEST(ranks)
{
    clsample_devices *list = open_list("many");

    ck_assert_uint_eq(clsample_devices_count(list), CLS_COUNT(ranked));
    for (size_t i = 0; i < CLS_COUNT(ranked); i++) {
        const clsample_device_info *info = clsample_devices_info(list, i);
        ck_assert_str_eq(info->name, ranked[i].name);
        ck_assert_str_eq(info->type, ranked[i].type);
        ck_assert_msg(info->rank == ranked[i].rank, "%s: rank %u", info->name, (unsigned)info->rank);
        ck_assert_int_eq(info->simulator, strcmp(info->name, "Oclgrind") == 0);
    }
    /* One that fails leaves its rank to the next. */
    ck_assert_int_eq(clsample_devices_check(list, 4), CLSAMPLE_E_DEVICE);
    ck_assert_uint_eq(clsample_devices_info(list, 4)->rank, 0);
    ck_assert_uint_eq(clsample_devices_info(list, 5)->rank, 1);
    ck_assert_uint_eq(clsample_devices_info(list, 6)->rank, 2);
    clsample_devices_close(list);
}
END_TEST

/* A selection tries what it matches, and nothing else. */
START_TEST(tries_only_matches)
{
    static const struct {
        const char *selector, *tried;
    } cases[] = {
        { "GPU", "  xxxxx  " },   { "cpu", "xx       " },         { "Accelerator", "       x " },
        { "0:3", "   x     " },   { "MANY / twin", "      x  " }, { "0:33", "         " },
        { "small", "x   x    " },
    };
    for (size_t i = 0; i < CLS_COUNT(cases); i++) {
        clsample_devices *list = open_list("many");
        size_t index = 0;
        ck_assert_int_eq(clsample_devices_select(list, cases[i].selector, &index), CLSAMPLE_E_NO_DEVICE);
        for (size_t k = 0; k + 1 < CLS_COUNT(ranked); k++)
            ck_assert_msg(clsample_devices_info(list, k)->usable == (cases[i].tried[k] == ' '), "%s: %zu",
                          cases[i].selector, k);
        clsample_devices_close(list);
    }
}
END_TEST

/* ---- Cached binaries ---- */

/* The binary that the cache holds: the driver writes into it how often it compiled. */
static void expect_binary(const char *want)
{
    char key[PATH_ROOM];
    size_t size = 0;

    look(key, false);
    unsigned char *bytes = cls_cache_load(folder, key, &size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(size, strlen(want));
    ck_assert_int_eq(memcmp(bytes, want, size), 0);
    free(bytes);
}

/* A driver that takes its binary back compiles once; one that refuses it, at once or late, compiles again,
 * and the cache gets the new binary. */
static const struct {
    const char *mode, *second;
} caches[] = {
    { "whole", "build 1" },
    { "refuses", "build 2" },
    { "late", "build 2" },
};

START_TEST(binary_taken_or_refused)
{
    clsample_devices *list = open_list(caches[_i].mode);
    cl_device_id device = only(list, "0:0")->device_id;
    const cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    cl_program program = NULL;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(cls_program_build(context, device, folder, CLS_SRC_CHECK, "", &program),
                         CLSAMPLE_OK);
        ck_assert_ptr_nonnull(program);
        clReleaseProgram(program);
        expect_binary(i == 0 ? "build 1" : caches[_i].second);
    }
    clReleaseContext(context);
    clsample_devices_close(list);
}
END_TEST

/* What its options ask for is refused by name, before anything is built. */
START_TEST(group_too_large)
{
    clsample_devices *list = open_list("narrow");
    cl_device_id device = only(list, "0:0")->device_id;
    const cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    clsample_options options = CLSAMPLE_OPTIONS_INIT;
    clsample_ctx *ctx = NULL;

    options.work_group = 128;
    ck_assert_int_eq(clsample_create(context, device, &options, &ctx), CLSAMPLE_E_ARGUMENT);
    ck_assert_ptr_null(ctx);
    ck_assert_str_eq(clsample_last_error()->message,
                     "options.work_group is 128; this device takes at most 64");
    clReleaseContext(context);
    clsample_devices_close(list);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("bad drivers");
    TCase *t = tcase_create("bad drivers");

    tcase_add_checked_fixture(t, make_folder, remove_folder);
    tcase_add_test(t, no_platform);
    tcase_add_test(t, platform_without_devices);
    tcase_add_test(t, platform_answers_nothing);
    tcase_add_test(t, device_answers_nothing);
    tcase_add_test(t, device_without_compiler);
    tcase_add_test(t, device_without_context);
    tcase_add_test(t, device_refuses_source);
    tcase_add_test(t, build_log_is_kept);
    tcase_add_test(t, listing_leaves_the_note);
    tcase_add_test(t, all_listed);
    tcase_add_test(t, no_match);
    tcase_add_test(t, ranks);
    tcase_add_test(t, tries_only_matches);
    tcase_add_test(t, group_too_large);
    tcase_add_loop_test(t, binary_taken_or_refused, 0, (int)CLS_COUNT(caches));
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());

    srunner_set_fork_status(r, CK_FORK); /* nothing here has called OpenCL before the fork */
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
