/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels compiled and cached, on the device under test. Each test has an empty cache folder of its own. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 512
#define KEY_LENGTH (64 + sizeof ".clbin" - 1) /* a SHA-256 in hexadecimal, and the ending */

static char folder[PATH_ROOM / 4];

static void make_folder(void)
{
    test_make_folder(folder, sizeof folder);
}

/* The entries of the folder; the name of one of them in `key` if that is not NULL. `drop`: removes them
 * too. */
static size_t look(char key[PATH_ROOM], bool drop)
{
    char path[PATH_ROOM];
    size_t n = 0;
    DIR *dir = opendir(folder);

    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] == '.') continue;
        n++;
        if (key) snprintf(key, PATH_ROOM, "%.300s", e->d_name);
        snprintf(path, sizeof path, "%s/%.300s", folder, e->d_name);
        if (drop) ck_assert_int_eq(unlink(path), 0);
    }
    closedir(dir);
    return n;
}

static void remove_folder(void)
{
    look(NULL, true);
    ck_assert_int_eq(rmdir(folder), 0);
}

#define CHECK "-DCLS_LANES=4" /* what the self-check is compiled with at least */
static const struct {
    cls_source source;
    const char *options, *kernel;
} programs[] = {
    { CLS_SRC_CHECK, CHECK, "cls_check" },
    { CLS_SRC_SUMMARY, "-DCLS_DTYPE=0 -DCLS_WG=64", "cls_summary" },
    { CLS_SRC_MASK, "-DCLS_DTYPE=2 -DCLS_EXTRAS=1", "cls_mask" },
    { CLS_SRC_STEP, "-DCLS_DTYPE=1 -DCLS_LANES=4 -DCLS_WG=8", "cls_step" },
};

/* A program that is whole: its kernel can be made and knows its arguments. Returns their number. */
static cl_uint build(int which, const char *dir)
{
    cl_program program = NULL;
    cl_uint arguments = 0;
    cl_int error = CL_SUCCESS;

    ck_ok(cls_program_build(dev.context, dev.id, dir, programs[which].source, programs[which].options,
                            &program));
    cl_kernel kernel = clCreateKernel(program, programs[which].kernel, &error);
    ck_cl(error);
    ck_cl(clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof arguments, &arguments, NULL));
    ck_cl(clReleaseKernel(kernel));
    ck_cl(clReleaseProgram(program));
    return arguments;
}

/* What n programs leave in the folder. */
static size_t entries(size_t n)
{
    bool pocl = false;

    if (cls_is_pocl(dev.id, &pocl) != CLSAMPLE_OK) return SIZE_MAX; /* no count is right */
    return pocl ? 0 : n;
}

START_TEST(cold_then_cached)
{
    char key[PATH_ROOM];
    size_t before = 0, after = 0;

    const cl_uint arguments = build(_i, folder);
    ck_assert_uint_ge(arguments, 2);
    ck_assert_uint_eq(look(key, false), entries(1));
    if (entries(1) == 0) return;
    ck_assert_uint_eq(strlen(key), KEY_LENGTH);
    ck_assert_str_eq(key + 64, ".clbin");
    unsigned char *first = cls_cache_load(folder, key, &before);
    ck_assert_ptr_nonnull(first);

    ck_assert_uint_eq(build(_i, folder), arguments);
    unsigned char *second = cls_cache_load(folder, key, &after);
    ck_assert_uint_eq(look(NULL, false), 1);
    ck_assert(second && before == after && memcmp(first, second, before) == 0);
    free(first);
    free(second);
}
END_TEST

/* The self-check runs on what was compiled, then on what was loaded. */
START_TEST(cached_kernels_compute)
{
    clsample_options options = CLSAMPLE_OPTIONS_INIT;

    options.cache_dir = folder;
    for (int i = 0; i < 2; i++) {
        clsample_ctx *ctx = NULL;
        ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
        clsample_destroy(ctx);
        ck_assert_uint_eq(look(NULL, false), entries(1));
    }
}
END_TEST

START_TEST(no_cache)
{
    build(0, NULL);
    build(0, "");
    build(0, "/proc/nonexistent/clsample");
    ck_assert_uint_eq(look(NULL, false), 0);
}
END_TEST

/* Another option, or another source, is another entry. */
START_TEST(entries_apart)
{
    cl_program program = NULL;

    build(0, folder);
    ck_ok(cls_program_build(dev.context, dev.id, folder, CLS_SRC_CHECK, CHECK " -DCLS_UNUSED=1", &program));
    ck_cl(clReleaseProgram(program));
    ck_assert_uint_eq(look(NULL, false), entries(2));
    ck_ok(cls_program_build(dev.context, dev.id, folder, CLS_SRC_CHECK, CHECK " -DCLS_UNUSED=2", &program));
    ck_cl(clReleaseProgram(program));
    ck_assert_uint_eq(look(NULL, false), entries(3));
}
END_TEST

/* A file that was damaged on disk: built again, and whole afterwards. That a driver refuses a whole one is
 * tested on a fake driver: real ones may crash on what is not theirs. */
START_TEST(damaged_entry)
{
    char key[PATH_ROOM], path[2 * PATH_ROOM];
    size_t size = 0;

    build(0, folder);
    ck_assert_uint_eq(look(key, false), entries(1));
    if (entries(1) == 0) return;
    snprintf(path, sizeof path, "%s/%s", folder, key);
    ck_assert_int_eq(truncate(path, 300), 0);
    ck_assert_ptr_null(cls_cache_load(folder, key, &size));
    build(0, folder);
    unsigned char *bytes = cls_cache_load(folder, key, &size);
    ck_assert_ptr_nonnull(bytes);
    free(bytes);
}
END_TEST

static const char *const broken[] = { CHECK " -DCLS_CHECK_WORDS=+", CHECK " -Duint=" };

START_TEST(broken_source)
{
    const clsample_error *e = clsample_last_error();
    cl_program program = (cl_program)&folder;

    ck_assert_int_eq(cls_program_build(dev.context, dev.id, folder, CLS_SRC_CHECK, broken[_i], &program),
                     CLSAMPLE_E_BUILD);
    ck_assert_ptr_null(program);
    ck_assert_int_eq(e->status, CLSAMPLE_E_BUILD);
    ck_assert_int_ne(e->cl_error, CL_SUCCESS);
    ck_assert_str_eq(e->cl_call, "clBuildProgram cl/check.cl");
    ck_assert_uint_gt(strlen(e->log), 10);
    ck_assert_uint_eq(look(NULL, false), 0);
}
END_TEST

START_TEST(options_too_long)
{
    char options[2000];
    cl_program program = NULL;

    memset(options, ' ', sizeof options - 1);
    options[sizeof options - 1] = '\0';
    ck_assert_int_eq(cls_program_build(dev.context, dev.id, folder, CLS_SRC_CHECK, options, &program),
                     CLSAMPLE_E_ARGUMENT);
    ck_assert_ptr_null(program);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("program");
    TCase *t = tcase_create("program");

    if (entries(1) == 0) printf("left out: entries of the cache, which this driver keeps itself\n");
    tcase_add_checked_fixture(t, make_folder, remove_folder);
    tcase_add_loop_test(t, cold_then_cached, 0, (int)test_scaled("programs", CLS_COUNT(programs), 3, 4));
    tcase_add_test(t, cached_kernels_compute);
    tcase_add_test(t, no_cache);
    tcase_add_test(t, entries_apart);
    tcase_add_test(t, damaged_entry);
    tcase_add_loop_test(t, broken_source, 0, (int)CLS_COUNT(broken));
    tcase_add_test(t, options_too_long);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return test_main(suite);
}
