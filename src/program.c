/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels compiled from the embedded sources, or taken from the cache. A cached binary is found by a hash
 * over all that goes into it: sources, options, library, platform, driver, device. If the driver refuses one,
 * it is built again. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- SHA-256 (FIPS 180-4): no two builds share a name ---- */

typedef struct hash {
    uint32_t state[8];
    unsigned char block[64];
    uint64_t size; /* bytes so far */
} hash;

static const uint32_t hash_start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
static const uint32_t hash_round[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

static uint32_t turn(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

static void hash_block(hash *h)
{
    uint32_t w[64], s[8];

    for (int i = 0; i < 16; i++) {
        const unsigned char *at = h->block + 4 * i;
        w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, h->state, sizeof s);
    for (int i = 0; i < 64; i++) {
        const uint32_t a = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
                           ((s[4] & s[5]) ^ (~s[4] & s[6])) + hash_round[i] + w[i];
        const uint32_t b = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
                           ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += a;
        s[0] = a + b;
    }
    for (int i = 0; i < 8; i++)
        h->state[i] += s[i];
}

static void hash_bytes(hash *h, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        h->block[h->size++ % 64] = bytes[i];
        if (h->size % 64 == 0) hash_block(h);
    }
}

static void hash_number(hash *h, uint64_t number)
{
    unsigned char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (56 - 8 * i));
    hash_bytes(h, bytes, sizeof bytes);
}

/* With its length in front, so that no two lists of fields look alike. */
static void hash_field(hash *h, const void *bytes, size_t size)
{
    hash_number(h, size);
    hash_bytes(h, bytes, size);
}

/* A one bit, zeros, and the length in bits fill the last block. Writes 64 hexadecimal digits, without a 0 at
 * the end. */
static void hash_end(hash *h, char *digits)
{
    const uint64_t bits = h->size * 8;

    hash_bytes(h, (const unsigned char *)"\x80", 1);
    while (h->size % 64 != 56)
        hash_bytes(h, (const unsigned char *)"", 1);
    hash_number(h, bits);
    for (int i = 0; i < 64; i++)
        digits[i] = "0123456789abcdef"[h->state[i / 8] >> (28 - 4 * (i % 8)) & 15u];
}

/* ---- What to build ---- */

/* Made by the build from the files of cl/. */
#define CLS_TEXT_MAP(X) X(canonical) X(interface) X(row) X(check_case) X(summary) X(pick) X(mask) X(check)
#define CLS_TEXT_DECLARE(name)                    \
    extern const unsigned char cls_text_##name[]; \
    extern const size_t cls_text_##name##_size;
CLS_TEXT_MAP(CLS_TEXT_DECLARE)

#define TEXT(name)                               \
    {                                            \
        cls_text_##name, &cls_text_##name##_size \
    }

static const cls_program_source sources[CLS_SRC_COUNT] = {
    [CLS_SRC_SUMMARY] = { "summary.cl", { TEXT(canonical), TEXT(interface), TEXT(row), TEXT(summary) } },
    [CLS_SRC_PICK] = { "pick.cl", { TEXT(canonical), TEXT(interface), TEXT(row), TEXT(pick) } },
    [CLS_SRC_MASK] = { "mask.cl", { TEXT(canonical), TEXT(interface), TEXT(row), TEXT(mask) } },
    [CLS_SRC_CHECK] = { "check.cl", { TEXT(canonical), TEXT(interface), TEXT(check_case), TEXT(check) } },
};

#define OPTIONS_ROOM 1024u /* bytes */
#define NAME_ROOM 1024u    /* bytes of a driver's string that count for the key */

/* One call of cls_program_build; nothing in it is owned. */
typedef struct job {
    cl_context context;
    cl_device_id device;
    const char *cache_dir; /* NULL = no cache */
    const char *name;      /* the file that is compiled */
    cl_uint texts;
    const char *text[CLS_TEXTS_MAX];
    size_t size[CLS_TEXTS_MAX];
    char options[OPTIONS_ROOM];
    char key[64 + sizeof ".clbin"];
} job;

/* A string that the driver does not give counts as empty. */
static void hash_platform(hash *h, cl_device_id device)
{
    static const cl_platform_info what[] = { CL_PLATFORM_NAME, CL_PLATFORM_VERSION };
    cl_platform_id platform = NULL;
    char value[NAME_ROOM];

    if (clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL) != CL_SUCCESS)
        platform = NULL;
    for (size_t i = 0; i < CLS_COUNT(what); i++) {
        memset(value, 0, sizeof value);
        if (platform && clGetPlatformInfo(platform, what[i], sizeof value - 1, value, NULL) != CL_SUCCESS)
            value[0] = '\0';
        hash_field(h, value, strlen(value));
    }
}

static void hash_device(hash *h, cl_device_id device)
{
    static const cl_device_info what[] = { CL_DEVICE_NAME, CL_DEVICE_VENDOR, CL_DRIVER_VERSION,
                                           CL_DEVICE_VERSION, CL_DEVICE_OPENCL_C_VERSION };
    cl_uint address_bits = 0;
    char value[NAME_ROOM];

    for (size_t i = 0; i < CLS_COUNT(what); i++) {
        cls_device_string(device, what[i], value, sizeof value);
        hash_field(h, value, strlen(value));
    }
    if (clGetDeviceInfo(device, CL_DEVICE_ADDRESS_BITS, sizeof address_bits, &address_bits, NULL) !=
        CL_SUCCESS)
        address_bits = 0;
    hash_number(h, address_bits);
    hash_number(h, sizeof(void *)); /* of the host: a 32-bit process may share the folder */
}

/* Drivers may crash on a binary that another version of them made, so whatever tells versions apart is in
 * it. */
static void make_key(job *j)
{
    hash h = { { 0 }, { 0 }, 0 };

    memcpy(h.state, hash_start, sizeof h.state);
    hash_field(&h, CLSAMPLE_VERSION, strlen(CLSAMPLE_VERSION));
    for (size_t i = 0; i < j->texts; i++)
        hash_field(&h, j->text[i], j->size[i]);
    hash_field(&h, j->options, strlen(j->options));
    hash_platform(&h, j->device);
    hash_device(&h, j->device);
    hash_end(&h, j->key);
    memcpy(j->key + 64, ".clbin", sizeof ".clbin");
}

/* No option may change arithmetic: the same bits on every device are the point of the kernels. */
static clsample_status make_job(job *j, const cls_program_source *source, const char *options)
{
    const int length = snprintf(j->options, sizeof j->options, "-cl-std=CL1.2%s%s",
                                options && options[0] ? " " : "", options ? options : "");

    if (length < 0 || (size_t)length >= sizeof j->options)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "build options of %d bytes, at most %u are allowed", length,
                        OPTIONS_ROOM - 1);
    for (; j->texts < CLS_TEXTS_MAX && source->text[j->texts].bytes; j->texts++) {
        j->text[j->texts] = (const char *)source->text[j->texts].bytes;
        j->size[j->texts] = *source->text[j->texts].size;
    }
    j->name = source->name;
    if (j->cache_dir) make_key(j);
    return CLSAMPLE_OK;
}

/* ---- From the cache ---- */

/* NULL if there is no entry, or none that the driver takes: that one is dropped. */
static cl_program load(const job *j)
{
    size_t size = 0;
    cl_int error = CL_SUCCESS, refused = CL_SUCCESS;
    size_t kernels = 0;

    unsigned char *bytes = cls_cache_load(j->cache_dir, j->key, &size);
    if (!bytes) return NULL;
    const unsigned char *binary = bytes;
    cl_program program =
        clCreateProgramWithBinary(j->context, 1, &j->device, &size, &binary, &refused, &error);
    if (error == CL_SUCCESS) error = refused;
    if (error == CL_SUCCESS) error = clBuildProgram(program, 1, &j->device, j->options, NULL, NULL);
    if (error == CL_SUCCESS)
        error = clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof kernels, &kernels, NULL);
    free(bytes);
    /* A program without kernels was built from something else. */
    if (error == CL_SUCCESS && kernels > 0) return program;

    if (program) clReleaseProgram(program);
    cls_cache_drop(j->cache_dir, j->key);
    return NULL;
}

/* Some compilers finish only when a kernel is made, so make all once, that the binary may have everything. */
static void finish_kernels(cl_program program)
{
    cl_uint n = 0;

    if (clCreateKernelsInProgram(program, 0, NULL, &n) != CL_SUCCESS || n == 0) return;
    cl_kernel *kernels = calloc(n, sizeof *kernels);
    if (!kernels) return;
    if (clCreateKernelsInProgram(program, n, kernels, NULL) == CL_SUCCESS) {
        for (cl_uint i = 0; i < n; i++)
            clReleaseKernel(kernels[i]);
    }
    free(kernels);
}

/* The device's place among those of the program, which belongs to all devices of the context; `n` if it
 * fails. */
static cl_uint place_of(cl_program program, cl_device_id device, cl_uint n)
{
    cl_uint place = n;
    cl_device_id *devices = calloc(n, sizeof *devices);

    if (devices &&
        clGetProgramInfo(program, CL_PROGRAM_DEVICES, n * sizeof *devices, devices, NULL) == CL_SUCCESS) {
        for (place = 0; place < n && devices[place] != device; place++) {}
    }
    free(devices);
    return place;
}

/* Best effort: what fails here costs a compilation next time. */
static void store(const job *j, cl_program program)
{
    cl_uint n = 0;
    unsigned char **binaries = NULL;
    size_t *sizes = NULL;
    unsigned char *binary = NULL;

    finish_kernels(program);
    if (clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, sizeof n, &n, NULL) != CL_SUCCESS || n == 0) return;
    const cl_uint place = place_of(program, j->device, n);
    if (place == n) return;
    sizes = calloc(n, sizeof *sizes);
    binaries = calloc(n, sizeof *binaries); /* a NULL for a device leaves out its binary */
    if (!sizes || !binaries) goto cleanup;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, n * sizeof *sizes, sizes, NULL) != CL_SUCCESS)
        goto cleanup;
    binary = sizes[place] > 0 ? malloc(sizes[place]) : NULL;
    if (!binary) goto cleanup;
    binaries[place] = binary;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, n * sizeof *binaries, binaries, NULL) == CL_SUCCESS)
        cls_cache_store(j->cache_dir, j->key, binary, sizes[place]);
cleanup:
    free(binary);
    free(binaries);
    free(sizes);
}

/* ---- From source ---- */

/* E_BUILD with the log, which can be megabytes long; E_OPENCL where it is not the source that failed. */
static clsample_status fail_build(const job *j, cl_program program, cl_int error)
{
    size_t size = 0;
    char call[64], *log = NULL;

    snprintf(call, sizeof call, "clBuildProgram %s", j->name);
    if (error == CL_OUT_OF_HOST_MEMORY || error == CL_OUT_OF_RESOURCES) return cls_fail_cl(error, call);
    if (clGetProgramBuildInfo(program, j->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) == CL_SUCCESS &&
        size > 0)
        log = calloc(size + 1, 1);
    if (log && clGetProgramBuildInfo(program, j->device, CL_PROGRAM_BUILD_LOG, size, log, NULL) != CL_SUCCESS)
        log[0] = '\0';
    const clsample_status st = cls_fail_build(error, call, log);
    free(log);
    return st;
}

/* For one device only, even if the context has more. */
static clsample_status compile(job *j, cl_program *out)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int error = CL_SUCCESS;

    cl_program program = clCreateProgramWithSource(j->context, j->texts, j->text, j->size, &error);
    CLS_CL(error, "clCreateProgramWithSource");
    error = clBuildProgram(program, 1, &j->device, j->options, NULL, NULL);
    if (error != CL_SUCCESS) CLS_TRY(fail_build(j, program, error));
    if (j->cache_dir) store(j, program);
    *out = program;
    program = NULL; /* the caller owns it now */
cleanup:
    if (program) clReleaseProgram(program);
    return st;
}

clsample_status cls_program_compile(cl_context context, cl_device_id device, const char *cache_dir,
                                    const cls_program_source *source, const char *options,
                                    cl_program *program)
{
    job j = { .context = context,
              .device = device,
              .cache_dir = cache_dir && cache_dir[0] ? cache_dir : NULL };

    *program = NULL;
    const clsample_status st = make_job(&j, source, options);
    if (st != CLSAMPLE_OK) return st;
    if (j.cache_dir) *program = load(&j);
    return *program ? CLSAMPLE_OK : compile(&j, program);
}

clsample_status cls_program_build(cl_context context, cl_device_id device, const char *cache_dir,
                                  cls_source source, const char *options, cl_program *program)
{
    return cls_program_compile(context, device, cache_dir, &sources[source], options, program);
}
