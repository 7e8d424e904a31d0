/* SPDX-License-Identifier: Apache-2.0 */
/* Binaries on disk: what was stored comes back whole, and nothing else ever does. Needs no device. Each test
 * has an empty folder of its own, `base`. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include "internal.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY "0123abcd.clbin"
#define HEAD_SIZE 32 /* bytes before the key */
#define PATH_ROOM 512

static char base[PATH_ROOM / 4], folder[PATH_ROOM / 2], file[PATH_ROOM];

static void make_base(void)
{
    test_make_folder(base, sizeof base);
    snprintf(folder, sizeof folder, "%s/a/b", base);
    snprintf(file, sizeof file, "%s/" KEY, folder);
    umask(022);
}

/* Removes all below `path`, which holds no more than a few levels. */
static void remove_tree(const char *path)
{
    char inner[PATH_ROOM];
    struct stat about;

    if (lstat(path, &about) != 0) return;
    if (!S_ISDIR(about.st_mode)) {
        (void)unlink(path);
        return;
    }
    (void)chmod(path, 0700);
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) < (int)sizeof inner) remove_tree(inner);
    }
    closedir(dir);
    (void)rmdir(path);
}

static void remove_base(void)
{
    remove_tree(base);
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *dir = opendir(folder);

    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir))
        n += e->d_name[0] != '.';
    if (dir) closedir(dir);
    return n;
}

static unsigned mode_of(const char *path)
{
    struct stat about;
    ck_assert_int_eq(stat(path, &about), 0);
    return (unsigned)(about.st_mode & 07777);
}

static void fill(unsigned char *bytes, size_t size, unsigned start)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(start + 31 * i);
}

static bool is_there(const char *key)
{
    size_t size = 77;
    unsigned char *bytes = cls_cache_load(folder, key, &size);
    const bool there = bytes != NULL;

    ck_assert(there || size == 0);
    free(bytes);
    return there;
}

/* A stored entry of 100 bytes, whose file is HEAD_SIZE + strlen(KEY) + 100 bytes long. */
static void store_small(void)
{
    unsigned char bytes[100];

    fill(bytes, sizeof bytes, 1);
    cls_cache_store(folder, KEY, bytes, sizeof bytes);
    ck_assert(is_there(KEY));
}

static void overwrite(long at, const void *bytes, size_t size)
{
    FILE *f = fopen(file, "r+b");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

/* ---- What comes back ---- */

static const size_t sizes[] = { 1, 63, 64, 65, 4096, 1000003 };

START_TEST(roundtrip)
{
    const size_t size = sizes[_i];
    size_t got_size = 0;
    unsigned char *bytes = malloc(size);

    ck_assert_ptr_nonnull(bytes);
    fill(bytes, size, 5);
    cls_cache_store(folder, KEY, bytes, size);
    unsigned char *got = cls_cache_load(folder, KEY, &got_size);
    ck_assert_ptr_nonnull(got);
    ck_assert_uint_eq(got_size, size);
    ck_assert_int_eq(memcmp(got, bytes, size), 0);
    ck_assert_uint_eq(count_files(), 1);
    free(got);
    free(bytes);
}
END_TEST

START_TEST(stored_again)
{
    unsigned char bytes[50];
    size_t size = 0;

    store_small();
    fill(bytes, sizeof bytes, 9);
    cls_cache_store(folder, KEY, bytes, sizeof bytes);
    unsigned char *got = cls_cache_load(folder, KEY, &size);
    ck_assert_uint_eq(size, sizeof bytes);
    ck_assert_int_eq(memcmp(got, bytes, size), 0);
    ck_assert_uint_eq(count_files(), 1);
    free(got);
}
END_TEST

START_TEST(keys_apart)
{
    store_small();
    ck_assert(!is_there("0123abce.clbin"));
    ck_assert(!is_there("0123abcd"));
}
END_TEST

START_TEST(dropped)
{
    store_small();
    cls_cache_drop(folder, KEY);
    ck_assert(!is_there(KEY));
    ck_assert_uint_eq(count_files(), 0);
    cls_cache_drop(folder, KEY);
    cls_cache_drop(NULL, KEY);
    cls_cache_drop("/nonexistent/clsample", KEY);
}
END_TEST

START_TEST(nothing_to_do)
{
    const unsigned char byte = 1;
    size_t size = 3;

    ck_assert_ptr_null(cls_cache_load(NULL, KEY, &size));
    ck_assert_ptr_null(cls_cache_load("", KEY, &size));
    ck_assert_uint_eq(size, 0);
    cls_cache_store(NULL, KEY, &byte, 1);
    cls_cache_store("", KEY, &byte, 1);
    cls_cache_store(folder, KEY, &byte, 0);
    cls_cache_store(folder, KEY, &byte, ((size_t)64 << 20) + 1); /* refused before a byte is read */
    ck_assert(!is_there(KEY));
}
END_TEST

/* A key is a plain file name. */
START_TEST(odd_keys)
{
    static const char *const keys[] = { "", ".", "..", ".hidden", "../" KEY, "a/" KEY, "/" KEY };
    const unsigned char byte = 1;
    char key[300];

    store_small();
    for (size_t i = 0; i < CLS_COUNT(keys); i++) {
        cls_cache_store(folder, keys[i], &byte, 1);
        ck_assert(!is_there(keys[i]));
        cls_cache_drop(folder, keys[i]);
    }
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    cls_cache_store(folder, key, &byte, 1);
    ck_assert(!is_there(key));
    ck_assert_uint_eq(count_files(), 1);
}
END_TEST

/* ---- Modes ---- */

START_TEST(modes)
{
    char parent[PATH_ROOM];

    store_small();
    snprintf(parent, sizeof parent, "%s/a", base);
    ck_assert_uint_eq(mode_of(parent), 0700);
    ck_assert_uint_eq(mode_of(folder), 0700);
    ck_assert_uint_eq(mode_of(file), 0600);
}
END_TEST

/* Folder or file that others may write to: neither read nor, for the folder, written. */
START_TEST(writable_by_others)
{
    static const mode_t open_to[] = { 0702, 0720, 0777, 01777 };
    unsigned char bytes[10] = { 0 };

    store_small();
    ck_assert_int_eq(chmod(folder, open_to[_i]), 0);
    ck_assert(!is_there(KEY));
    cls_cache_store(folder, "other", bytes, sizeof bytes);
    cls_cache_drop(folder, KEY);
    ck_assert_uint_eq(count_files(), 1);
    ck_assert_int_eq(chmod(folder, 0755), 0); /* to be read by others does no harm */
    ck_assert(is_there(KEY));

    ck_assert_int_eq(chmod(file, open_to[_i] & 0666), 0);
    ck_assert(!is_there(KEY));
}
END_TEST

START_TEST(not_writable)
{
    unsigned char bytes[10] = { 0 };

    store_small();
    ck_assert_int_eq(chmod(folder, 0500), 0);
    cls_cache_store(folder, "other", bytes, sizeof bytes);
    ck_assert_uint_eq(count_files(), geteuid() == 0 ? 2 : 1); /* root may write anywhere */
    ck_assert(is_there(KEY));
    cls_cache_store("/proc/nonexistent/clsample", KEY, bytes, sizeof bytes);
    snprintf(folder, sizeof folder, "%s/a/b/" KEY, base); /* a file where a folder should be */
    cls_cache_store(folder, KEY, bytes, sizeof bytes);
    ck_assert(!is_there(KEY));
}
END_TEST

/* Only root can give its files away, so only root can test it. */
START_TEST(owned_by_another)
{
    store_small();
    if (geteuid() != 0) return;
    ck_assert_int_eq(chown(file, 12345, 0), 0);
    ck_assert(!is_there(KEY));
    ck_assert_int_eq(chown(file, 0, 0), 0);
    ck_assert(is_there(KEY));
    ck_assert_int_eq(chown(folder, 12345, 0), 0);
    ck_assert(!is_there(KEY));
}
END_TEST

/* An entry that is a link is not followed, nor written through: the store replaces it. */
START_TEST(entry_is_a_link)
{
    char elsewhere[PATH_ROOM];

    store_small();
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", base);
    ck_assert_int_eq(rename(file, elsewhere), 0);
    ck_assert_int_eq(symlink(elsewhere, file), 0);
    ck_assert(!is_there(KEY));
    ck_assert_int_eq(unlink(elsewhere), 0);
    store_small();
    ck_assert_int_ne(access(elsewhere, F_OK), 0);
}
END_TEST

START_TEST(entry_is_no_file)
{
    store_small();
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(mkfifo(file, 0600), 0); /* must not block */
    ck_assert(!is_there(KEY));
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(mkdir(file, 0700), 0);
    ck_assert(!is_there(KEY));
}
END_TEST

/* ---- Damage ---- */

/* One bit anywhere: in each header field, the key, and the binary. `_i`: the byte. */
START_TEST(damaged)
{
    unsigned char byte = 0;
    FILE *f = NULL;

    store_small();
    f = fopen(file, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, _i, SEEK_SET), 0);
    ck_assert_uint_eq(fread(&byte, 1, 1, f), 1);
    fclose(f);
    byte ^= (unsigned char)(1u << (_i % 8));
    overwrite(_i, &byte, 1);
    ck_assert(!is_there(KEY));
}
END_TEST

static const int cuts[] = { 0,
                            1,
                            8,
                            HEAD_SIZE - 1,
                            HEAD_SIZE,
                            HEAD_SIZE + 5,
                            HEAD_SIZE + sizeof KEY - 1,
                            HEAD_SIZE + sizeof KEY,
                            HEAD_SIZE + sizeof KEY - 1 + 99 };

START_TEST(truncated)
{
    store_small();
    ck_assert_int_eq(truncate(file, cuts[_i]), 0);
    ck_assert(!is_there(KEY));
}
END_TEST

START_TEST(too_long)
{
    store_small();
    overwrite(HEAD_SIZE + sizeof KEY - 1 + 100, "", 1);
    ck_assert(!is_there(KEY));
}
END_TEST

/* Larger than any entry: ignored without being read. A sparse file, so that it costs no disk. */
START_TEST(oversize)
{
    store_small();
    ck_assert_int_eq(truncate(file, ((off_t)64 << 20) + 4096), 0);
    ck_assert(!is_there(KEY));
}
END_TEST

START_TEST(foreign)
{
    static const char text[] =
        "#!/bin/sh\n# a file that has nothing to do with this library, and is long enough\n";

    store_small();
    overwrite(0, text, sizeof text - 1);
    ck_assert(!is_there(KEY));
}
END_TEST

/* A whole entry under another's name, as after a mix-up of backups. */
START_TEST(renamed)
{
    char other[PATH_ROOM];

    store_small();
    snprintf(other, sizeof other, "%s/4567abcd.clbin", folder);
    ck_assert_int_eq(rename(file, other), 0);
    ck_assert(!is_there("4567abcd.clbin"));
}
END_TEST

/* ---- Several processes at once ---- */

#define WRITERS 6
#define ROUNDS 40
#define LARGE 50000

/* Each writer's binary is of one value, so that a mixed one would show. Returns how often reading went
 * wrong. */
static int write_and_read(unsigned char value)
{
    static unsigned char bytes[LARGE];
    int wrong = 0;

    memset(bytes, value, sizeof bytes);
    for (int i = 0; i < ROUNDS; i++) {
        size_t size = 0;
        cls_cache_store(folder, KEY, bytes, sizeof bytes - value);
        unsigned char *got = cls_cache_load(folder, KEY, &size);
        wrong += !got || size != sizeof bytes - got[0];
        for (size_t k = 1; got && k < size; k++)
            wrong += got[k] != got[0];
        free(got);
    }
    return CLS_MIN(wrong, 100);
}

START_TEST(many_writers)
{
    pid_t child[WRITERS];

    for (int i = 0; i < WRITERS; i++) {
        child[i] = fork();
        ck_assert_int_ge(child[i], 0);
        if (child[i] == 0) _exit(write_and_read((unsigned char)(i + 1)));
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = -1;
        ck_assert_int_eq(waitpid(child[i], &status, 0), child[i]);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "writer %d: status %d", i, status);
    }
    ck_assert_uint_eq(count_files(), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cache");
    TCase *t = tcase_create("cache");

    tcase_add_checked_fixture(t, make_base, remove_base);
    tcase_add_loop_test(t, roundtrip, 0, (int)CLS_COUNT(sizes));
    tcase_add_test(t, stored_again);
    tcase_add_test(t, keys_apart);
    tcase_add_test(t, dropped);
    tcase_add_test(t, nothing_to_do);
    tcase_add_test(t, odd_keys);
    tcase_add_test(t, modes);
    tcase_add_loop_test(t, writable_by_others, 0, 4);
    tcase_add_test(t, not_writable);
    tcase_add_test(t, owned_by_another);
    tcase_add_test(t, entry_is_a_link);
    tcase_add_test(t, entry_is_no_file);
    tcase_add_loop_test(t, damaged, 0, HEAD_SIZE + (int)sizeof KEY - 1 + 100);
    tcase_add_loop_test(t, truncated, 0, (int)CLS_COUNT(cuts));
    tcase_add_test(t, too_long);
    tcase_add_test(t, oversize);
    tcase_add_test(t, foreign);
    tcase_add_test(t, renamed);
    tcase_add_test(t, many_writers);
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
