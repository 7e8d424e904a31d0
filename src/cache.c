/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled binaries on disk. What lies here gets executed, so only files that nobody else can have written
 * are read: folder and file must belong to the effective user and be writable by no one else. A checksum
 * guards against damage, not against attacks. Nothing is ever removed but what a driver refused. The default
 * folder is chosen here too.
 *
 * An entry: the header's HEAD_SIZE bytes (magic, then little-endian fields), the key, the binary; no byte
 * more. */
#define _POSIX_C_SOURCE 200809L
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "clsample"
#define FORMAT 1u                      /* raised with every change of the layout */
#define PAYLOAD_MAX ((size_t)64 << 20) /* bytes; programs of this library are far below a megabyte */
#define KEY_MAX 200u                   /* bytes; a temporary name adds up to 40, and file systems allow 255 */
#define PATH_ROOM 4096u

enum { AT_FORMAT = 8, AT_KEY_SIZE = 12, AT_SIZE = 16, AT_CHECKSUM = 24, HEAD_SIZE = 32 };

/* Little-endian on every host, so that machines can share a home folder. */
static void put(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

/* FNV-1a, 64 bits, continued from `hash`. */
static uint64_t fnv(uint64_t hash, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

/* The header that belongs in front of `key` and `bytes`: a stored one is good if it is the same. */
static void make_head(unsigned char head[HEAD_SIZE], const char *key, const unsigned char *bytes, size_t size)
{
    const size_t key_size = strlen(key);

    /* The checksum covers the fields before it, then the key, then the binary. */
    memcpy(head, MAGIC, AT_FORMAT);
    put(head + AT_FORMAT, FORMAT, 4);
    put(head + AT_KEY_SIZE, key_size, 4);
    put(head + AT_SIZE, size, 8);
    const uint64_t hash = fnv(0xcbf29ce484222325u, head, AT_CHECKSUM);
    put(head + AT_CHECKSUM, fnv(fnv(hash, (const unsigned char *)key, key_size), bytes, size), 8);
}

/* ---- Files ---- */

/* Of files and folders alike; that others may read does no harm. */
static bool is_safe(const struct stat *about)
{
    return about->st_uid == geteuid() && (about->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* A descriptor of the folder, -1 if it is missing or not safe. Files are opened relative to it, so that
 * nobody can swap the folder after it was found safe. */
static int open_dir(const char *dir)
{
    struct stat about;

    if (!dir || !dir[0]) return -1;
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &about) != 0 || !is_safe(&about))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A plain name, so that no key leads out of the folder. */
static bool is_key(const char *key)
{
    return key && key[0] && key[0] != '.' && !strchr(key, '/') && strlen(key) <= KEY_MAX;
}

/* The folder and its missing parents, all 0700; that it failed shows when the folder is opened. */
static void make_dirs(const char *dir)
{
    char path[PATH_ROOM];
    const size_t length = strlen(dir);

    if (length == 0 || length >= sizeof path) return;
    memcpy(path, dir, length + 1);
    for (size_t i = 1; i < length; i++) {
        if (path[i] != '/') continue;
        path[i] = '\0';
        (void)mkdir(path, S_IRWXU);
        path[i] = '/';
    }
    (void)mkdir(path, S_IRWXU);
}

/* False at the end of the file, too: what is wanted is `size` bytes. */
static bool read_all(int fd, unsigned char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t got = read(fd, bytes, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        bytes += got;
        size -= (size_t)got;
    }
    return true;
}

static bool write_all(int fd, const unsigned char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t got = write(fd, bytes, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        bytes += got;
        size -= (size_t)got;
    }
    return true;
}

/* ---- Entries ---- */

/* The size of the binary in an open file that is `key`'s by its length, 0 if it cannot be. */
static size_t payload_size(int fd, size_t key_size)
{
    struct stat about;
    const size_t around = HEAD_SIZE + key_size;

    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || !is_safe(&about)) return 0;
    if (about.st_size <= (off_t)around || about.st_size > (off_t)(around + PAYLOAD_MAX)) return 0;
    return (size_t)about.st_size - around;
}

/* The binary, or NULL with *size 0. Memory is asked for only after the file's real size was seen, so a
 * damaged header cannot ask for more. */
static unsigned char *read_entry(int fd, const char *key, size_t *size)
{
    const size_t key_size = strlen(key);
    unsigned char head[HEAD_SIZE], wanted[HEAD_SIZE];
    char stored_key[KEY_MAX];

    *size = payload_size(fd, key_size);
    unsigned char *bytes = *size > 0 ? malloc(*size) : NULL;
    bool good = bytes && read_all(fd, head, HEAD_SIZE) &&
                read_all(fd, (unsigned char *)stored_key, key_size) && read_all(fd, bytes, *size) &&
                memcmp(stored_key, key, key_size) == 0;
    if (good) {
        make_head(wanted, key, bytes, *size);
        good = memcmp(head, wanted, HEAD_SIZE) == 0;
    }
    if (good) return bytes;
    free(bytes);
    *size = 0;
    return NULL;
}

unsigned char *cls_cache_load(const char *dir, const char *key, size_t *size)
{
    unsigned char *bytes = NULL;

    *size = 0;
    if (!is_key(key)) return NULL;
    const int folder = open_dir(dir);
    if (folder < 0) return NULL;
    /* Non-blocking: a pipe of that name must not stop us. */
    const int fd = openat(folder, key, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        bytes = read_entry(fd, key, size);
        close(fd);
    }
    close(folder);
    return bytes;
}

/* A new file of a name that no other writer has, in `folder` itself (mkstemp would go by the folder's
 * path). */
static int make_temporary(int folder, const char *key, char *name, size_t size)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    for (int attempt = 0; attempt < 16; attempt++) {
        snprintf(name, size, "%s.%ld.%ld.tmp", key, (long)getpid(), now.tv_nsec + attempt);
        const int fd =
            openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* All or nothing: readers see the old file or the new one. Not synced to disk: what a power cut leaves fails
 * its checksum, and is built again. */
static void write_entry(int folder, const char *key, const unsigned char *bytes, size_t size)
{
    unsigned char head[HEAD_SIZE];
    char name[KEY_MAX + 64];

    const int fd = make_temporary(folder, key, name, sizeof name);
    if (fd < 0) return;
    make_head(head, key, bytes, size);
    const bool whole = write_all(fd, head, HEAD_SIZE) &&
                       write_all(fd, (const unsigned char *)key, strlen(key)) && write_all(fd, bytes, size);
    const bool closed = close(fd) == 0; /* where some network file systems tell that the disk is full */
    if (!whole || !closed || renameat(folder, name, folder, key) != 0) (void)unlinkat(folder, name, 0);
}

void cls_cache_store(const char *dir, const char *key, const unsigned char *bytes, size_t size)
{
    if (!dir || !dir[0] || !is_key(key) || !bytes || size == 0 || size > PAYLOAD_MAX) return;
    make_dirs(dir);
    const int folder = open_dir(dir);
    if (folder < 0) return;
    write_entry(folder, key, bytes, size);
    close(folder);
}

void cls_cache_drop(const char *dir, const char *key)
{
    if (!is_key(key)) return;
    const int folder = open_dir(dir);
    if (folder < 0) return;
    (void)unlinkat(folder, key, 0);
    close(folder);
}

/* ---- The default cache folder ---- */

/* The value of a variable; NULL if it is unset or empty, which the XDG specification says is the same. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

clsample_status clsample_default_cache_dir(char *dir, size_t size)
{
    const char *own = getenv("CLSAMPLE_CACHE");
    const char *xdg = environment("XDG_CACHE_HOME"), *home = environment("HOME");
    int length = 0;

    if (!dir) return cls_fail(CLSAMPLE_E_ARGUMENT, "dir is NULL");
    if (own) /* set but empty: no folder, as for "off" */
        length = snprintf(dir, size, "%s", strcmp(own, "off") == 0 ? "" : own);
    else if (xdg && xdg[0] == '/') /* its specification has relative paths ignored */
        length = snprintf(dir, size, "%s/clsample", xdg);
    else
        length = snprintf(dir, size, "%s%s", home ? home : "", home ? "/.cache/clsample" : "");
    if (length >= 0 && (size_t)length < size) return CLSAMPLE_OK;

    if (size > 0) dir[0] = '\0';
    return cls_fail(CLSAMPLE_E_BUFFER, "size is %zu bytes, the path of the cache folder needs %d", size,
                    length + 1);
}
