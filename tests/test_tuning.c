/* SPDX-License-Identifier: Apache-2.0 */
/* A stored tuning: a new context takes it where its own options leave something open, whatever is stored
 * draws the same tokens, and a file that is not as the library wrote it counts for nothing. Each test has a
 * folder of its own. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 512
#define WORDS 4 /* of a tuning: flags, work_group, lanes, groups; 4 bytes each, the lowest first */

static char folder[PATH_ROOM / 2];

static void make_folder(void)
{
    test_make_folder(folder, sizeof folder);
}

/* The name of the one tuning in the folder; false if there is none. */
static bool find_tuning(char *name, size_t size)
{
    DIR *dir = opendir(folder);
    bool found = false;

    for (const struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir)) {
        found = strstr(e->d_name, ".tuning") != NULL;
        if (found) snprintf(name, size, "%s", e->d_name);
    }
    if (dir) closedir(dir);
    return found;
}

static void remove_folder(void)
{
    char path[2 * PATH_ROOM];
    DIR *dir = opendir(folder);

    for (const struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        (void)unlink(path);
    }
    if (dir) closedir(dir);
    (void)rmdir(folder);
}

/* ---- What a context works with ---- */

static clsample_options options_of(uint32_t flags, uint32_t work_group, uint32_t lanes, uint32_t groups)
{
    return (clsample_options){ .size = sizeof(clsample_options),
                               .flags = flags,
                               .cache_dir = folder,
                               .work_group = work_group,
                               .lanes = lanes,
                               .groups = groups };
}

/* What a new context with these options works with. */
static clsample_options tuning_with(clsample_options options)
{
    clsample_options got = CLSAMPLE_OPTIONS_INIT;
    clsample_ctx *ctx = NULL;

    options.flags |= CLSAMPLE_NO_SELF_CHECK;
    ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
    ck_ok(clsample_get_tuning(ctx, &got));
    clsample_destroy(ctx);
    ck_assert_ptr_null(got.cache_dir);
    return got;
}

static bool same(clsample_options a, clsample_options b)
{
    return a.flags == b.flags && a.work_group == b.work_group && a.lanes == b.lanes && a.groups == b.groups;
}

static clsample_options the_default(void)
{
    clsample_options options = options_of(0, 0, 0, 0);

    options.cache_dir = NULL;
    return tuning_with(options);
}

/* Unlike the device's default in every field, and as good as any where only results count. */
static clsample_options another(void)
{
    const clsample_options usual = the_default();
    const bool vectors = usual.flags & CLSAMPLE_FORCE_VECTORS;

    return options_of(vectors ? CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_TWO_LAUNCHES : CLSAMPLE_FORCE_GROUPS,
                      usual.work_group == 64 ? 32 : 64, usual.lanes == 8 ? 4 : 8, usual.groups + 3);
}

static void store(clsample_options options)
{
    ck_ok(clsample_store_tuning(dev.id, &options));
}

START_TEST(stored_is_taken)
{
    char name[PATH_ROOM];
    const clsample_options usual = the_default();
    const clsample_options stored = another();

    ck_assert(same(tuning_with(options_of(0, 0, 0, 0)), usual));
    store(stored);
    ck_assert(same(tuning_with(options_of(0, 0, 0, 0)), stored));
    ck_assert(same(the_default(), usual)); /* it belongs to the folder */
    store(options_of(0, 0, 0, 5));         /* takes the place of all of the former */
    const clsample_options groups = tuning_with(options_of(0, 0, 0, 0));
    ck_assert_uint_eq(groups.groups, 5);
    ck_assert_uint_eq(groups.lanes, usual.lanes);
    ck_assert_uint_eq(groups.flags, usual.flags);
    store(options_of(0, 0, 0, 0));
    ck_assert(same(tuning_with(options_of(0, 0, 0, 0)), usual));
    ck_assert(!find_tuning(name, sizeof name));
}
END_TEST

START_TEST(options_win)
{
    const clsample_options usual = the_default();
    const clsample_options stored = another();
    const uint32_t forms = CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_GROUPS;

    store(stored);
    const clsample_options sizes = tuning_with(options_of(0, 16, 16, 1));
    ck_assert_uint_eq(sizes.flags, stored.flags);
    ck_assert_uint_eq(sizes.work_group, 16);
    ck_assert_uint_eq(sizes.lanes, 16);
    ck_assert_uint_eq(sizes.groups, 1);
    ck_assert(same(tuning_with(options_of(usual.flags, usual.work_group, usual.lanes, usual.groups)), usual));
    const clsample_options other = tuning_with(options_of(~usual.flags & forms, 0, 0, 0));
    ck_assert_uint_eq(other.flags & forms, ~usual.flags & forms);
    ck_assert_uint_eq(other.groups, stored.groups);
}
END_TEST

/* ---- The promise ---- */

START_TEST(same_tokens)
{
    enum { VOCAB = 5001, ROWS = SHAPE_COUNT };
    const uint32_t settings = test_scaled("settings of a tuning", 3, 0, 1);
    clsample_options options = options_of(0, 0, 0, 0);
    const clsample_logits in = logits_of(NULL, CLSAMPLE_F32, ROWS, VOCAB);
    clsample_ctx *ctx = NULL;

    if (settings == 0) return; /* its compiler would take a minute */
    float *x = test_alloc(ROWS * VOCAB * sizeof *x);
    for (uint32_t r = 0; r < ROWS; r++)
        row_random(x + (size_t)r * VOCAB, VOCAB, (test_shape)r, 90 + r);
    store(another());
    ck_ok(clsample_create(dev.context, dev.id, &options, &ctx));
    for (uint32_t set = 0; set < settings; set++) {
        const clsample_params p = params_of(set == 2 ? 0.0f : 0.8f, set == 0 ? 0.05f : 0.0f,
                                            set == 0 ? 50 : 0, set == 2 ? 1.0f : 0.9f, set);
        clsample_result want[ROWS], got[ROWS];
        ck_ok(clsample_sample(dev.ctx, &p, 1, &in, x, want));
        ck_ok(clsample_sample(ctx, &p, 1, &in, x, got));
        ck_assert_mem_eq(got, want, sizeof want);
    }
    clsample_destroy(ctx);
    free(x);
}
END_TEST

/* ---- Files that count for nothing, and are no error ---- */

static void check_ignored(const char *what)
{
    cls_fail(CLSAMPLE_E_BUFFER, "stays");
    ck_assert_msg(same(tuning_with(options_of(0, 0, 0, 0)), the_default()), "taken although %s", what);
    ck_assert_int_eq(clsample_last_error()->status, CLSAMPLE_E_BUFFER);
    ck_assert_str_eq(clsample_last_error()->message, "stays");
}

/* The stored tuning's path. */
static void tuning_path(char *path, size_t size)
{
    char name[PATH_ROOM];

    ck_assert(find_tuning(name, sizeof name));
    ck_assert_int_lt(snprintf(path, size, "%s/%s", folder, name), (int)size);
}

static void flip_bit(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    const int byte = fgetc(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    ck_assert_int_ne(fputc(byte ^ 1, f), EOF);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(damaged)
{
    char path[2 * PATH_ROOM];
    struct stat about;

    store(another());
    tuning_path(path, sizeof path);
    ck_assert_int_eq(stat(path, &about), 0);
    for (long at = 0; at < (long)about.st_size; at += 9) {
        flip_bit(path, at);
        check_ignored("a bit is wrong");
        flip_bit(path, at);
    }
    ck_assert(same(tuning_with(options_of(0, 0, 0, 0)), another()));
    ck_assert_int_eq(truncate(path, about.st_size - 1), 0);
    check_ignored("its end is cut off");
    ck_assert_int_eq(truncate(path, 0), 0);
    check_ignored("it is empty");
}
END_TEST

/* Whole entries, as another version of the library may have left them under the same name. */
START_TEST(foreign)
{
    static const struct {
        uint32_t word[WORDS];
        size_t size;
        const char *what;
    } wrong[] = {
        { { CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_GROUPS, 0, 0, 0 }, 16, "it has both forms" },
        { { CLSAMPLE_NO_SELF_CHECK, 0, 0, 0 }, 16, "its flag is none of a tuning" },
        { { 1u << 31, 0, 0, 0 }, 16, "its flag is unknown" },
        { { 0, 3, 0, 0 }, 16, "work_group is 3" },
        { { 0, 0, 5, 0 }, 16, "lanes is 5" },
        { { 0, 0, 0, 5000 }, 16, "groups is 5000" },
        { { CLSAMPLE_FORCE_VECTORS, 16, 4, 1 }, 15, "it is too short" },
    };
    char name[PATH_ROOM];

    store(another());
    ck_assert(find_tuning(name, sizeof name));
    for (size_t i = 0; i < COUNT(wrong); i++) {
        unsigned char bytes[4 * WORDS];
        for (size_t b = 0; b < sizeof bytes; b++)
            bytes[b] = (unsigned char)(wrong[i].word[b / 4] >> 8 * (b % 4));
        cls_cache_store(folder, name, bytes, wrong[i].size);
        check_ignored(wrong[i].what);
    }
}
END_TEST

START_TEST(unsafe)
{
    char path[2 * PATH_ROOM];

    store(another());
    tuning_path(path, sizeof path);
    ck_assert_int_eq(chmod(path, 0666), 0);
    check_ignored("others can write to the file");
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(chmod(folder, 0777), 0);
    check_ignored("others can write to the folder");
    ck_assert_int_eq(chmod(folder, 0700), 0);
    ck_assert(same(tuning_with(options_of(0, 0, 0, 0)), another()));
}
END_TEST

/* A size that the device does not take cannot come from this device; it is cut to what it takes. */
START_TEST(too_large)
{
    const clsample_options usual = the_default();
    size_t largest = 0;

    ck_cl(clGetDeviceInfo(dev.id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof largest, &largest, NULL));
    store(options_of(0, 256, 0, 0));
    ck_assert_uint_eq(tuning_with(options_of(0, 0, 0, 0)).work_group, CLS_MIN(largest, 256));
    ck_assert_uint_eq(tuning_with(options_of(0, 0, 0, 0)).lanes, usual.lanes);
}
END_TEST

/* ---- What is refused ---- */

static void check_refused(cl_device_id device, const clsample_options *options, clsample_status want,
                          const char *text)
{
    const clsample_status got = clsample_store_tuning(device, options);
    const clsample_error *e = clsample_last_error();

    ck_assert_msg(got == want, "%s instead of %s for: %s", clsample_status_name(got),
                  clsample_status_name(want), text);
    ck_assert_int_eq(e->status, want);
    ck_assert_msg(strstr(e->message, text) != NULL, "no \"%s\" in: %s", text, e->message);
}

START_TEST(refused)
{
    static const struct {
        clsample_options options; /* with the folder */
        clsample_status status;
        const char *text;
    } wrong[] = {
        { { .flags = CLSAMPLE_FORCE_ROW_SEARCH }, CLSAMPLE_E_ARGUMENT, "options.flags is 0x10; only" },
        { { .flags = CLSAMPLE_NO_SELF_CHECK }, CLSAMPLE_E_ARGUMENT, "options.flags is 0x1; only" },
        { { .flags = CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_GROUPS }, CLSAMPLE_E_ARGUMENT, "at most one" },
        { { .flags = 1u << 20 }, CLSAMPLE_E_VERSION, "options.flags is 0x100000" },
        { { .reserved = 1 }, CLSAMPLE_E_VERSION, "options.reserved is 1" },
        { { .work_group = 12 }, CLSAMPLE_E_ARGUMENT, "options.work_group is 12" },
        { { .lanes = 2 }, CLSAMPLE_E_ARGUMENT, "options.lanes is 2" },
        { { .groups = 4097 }, CLSAMPLE_E_ARGUMENT, "options.groups is 4097" },
    };
    clsample_options options = options_of(0, 64, 0, 0);
    char name[PATH_ROOM], path[2 * PATH_ROOM];

    for (size_t i = 0; i < COUNT(wrong); i++) {
        clsample_options o = wrong[i].options;
        o.size = sizeof o;
        o.cache_dir = folder;
        check_refused(dev.id, &o, wrong[i].status, wrong[i].text);
    }
    check_refused(NULL, &options, CLSAMPLE_E_ARGUMENT, "device is NULL");
    check_refused(dev.id, NULL, CLSAMPLE_E_ARGUMENT, "options.cache_dir is NULL");
    options.cache_dir = "";
    check_refused(dev.id, &options, CLSAMPLE_E_ARGUMENT, "options.cache_dir is \"\"");
    options.cache_dir = path; /* below a file nothing can be made, whoever tries */
    snprintf(path, sizeof path, "%s/file", folder);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fclose(f), 0);
    check_refused(dev.id, &options, CLSAMPLE_E_ARGUMENT, "it must be a folder of yours");
    options.cache_dir = folder;
    ck_assert_int_eq(chmod(folder, 0770), 0);
    check_refused(dev.id, &options, CLSAMPLE_E_ARGUMENT, "it must be a folder of yours");
    ck_assert_int_eq(chmod(folder, 0700), 0);
    ck_assert(!find_tuning(name, sizeof name));
}
END_TEST

START_TEST(wrong_question)
{
    clsample_options options = CLSAMPLE_OPTIONS_INIT;

    ck_assert_int_eq(clsample_get_tuning(NULL, &options), CLSAMPLE_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "ctx is NULL"));
    ck_assert_int_eq(clsample_get_tuning(dev.ctx, NULL), CLSAMPLE_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "options is NULL"));
    options.size = 8;
    ck_assert_int_eq(clsample_get_tuning(dev.ctx, &options), CLSAMPLE_E_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "options.size is 8"));
}
END_TEST

static Suite *tuning_suite(void)
{
    Suite *suite = suite_create("tuning");
    TCase *t = tcase_create("stored");

    tcase_set_timeout(t, 0);
    tcase_add_checked_fixture(t, make_folder, remove_folder);
    tcase_add_test(t, stored_is_taken);
    tcase_add_test(t, options_win);
    tcase_add_test(t, same_tokens);
    tcase_add_test(t, damaged);
    tcase_add_test(t, foreign);
    tcase_add_test(t, unsafe);
    tcase_add_test(t, too_large);
    tcase_add_test(t, refused);
    tcase_add_test(t, wrong_question);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(tuning_suite);
}
