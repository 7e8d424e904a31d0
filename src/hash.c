/* SPDX-License-Identifier: Apache-2.0 */
/* Names for what the cache holds: SHA-256 (FIPS 180-4), so that no two builds share one. */
#include "internal.h"

#include <string.h>

#define NAME_ROOM 1024u /* bytes of a driver's string that count for the key */

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

static void hash_block(cls_hash *h)
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

static void hash_bytes(cls_hash *h, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        h->block[h->size++ % 64] = bytes[i];
        if (h->size % 64 == 0) hash_block(h);
    }
}

static void hash_number(cls_hash *h, uint64_t number)
{
    unsigned char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (56 - 8 * i));
    hash_bytes(h, bytes, sizeof bytes);
}

void cls_hash_field(cls_hash *h, const void *bytes, size_t size)
{
    hash_number(h, size);
    hash_bytes(h, bytes, size);
}

void cls_hash_begin(cls_hash *h)
{
    *h = (cls_hash){ .size = 0 };
    memcpy(h->state, hash_start, sizeof h->state);
    cls_hash_field(h, CLSAMPLE_VERSION, strlen(CLSAMPLE_VERSION));
}

/* A one bit, zeros, and the length in bits fill the last block. */
void cls_hash_end(cls_hash *h, char *digits)
{
    const uint64_t bits = h->size * 8;

    hash_bytes(h, (const unsigned char *)"\x80", 1);
    while (h->size % 64 != 56)
        hash_bytes(h, (const unsigned char *)"", 1);
    hash_number(h, bits);
    for (int i = 0; i < 64; i++)
        digits[i] = "0123456789abcdef"[h->state[i / 8] >> (28 - 4 * (i % 8)) & 15u];
}

/* A string that the driver does not give counts as empty. */
static void hash_platform(cls_hash *h, cl_device_id device)
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
        cls_hash_field(h, value, strlen(value));
    }
}

void cls_hash_device(cls_hash *h, cl_device_id device)
{
    static const cl_device_info what[] = { CL_DEVICE_NAME, CL_DEVICE_VENDOR, CL_DRIVER_VERSION,
                                           CL_DEVICE_VERSION, CL_DEVICE_OPENCL_C_VERSION };
    cl_uint address_bits = 0;
    char value[NAME_ROOM];

    hash_platform(h, device);
    for (size_t i = 0; i < CLS_COUNT(what); i++) {
        cls_device_string(device, what[i], value, sizeof value);
        cls_hash_field(h, value, strlen(value));
    }
    if (clGetDeviceInfo(device, CL_DEVICE_ADDRESS_BITS, sizeof address_bits, &address_bits, NULL) !=
        CL_SUCCESS)
        address_bits = 0;
    hash_number(h, address_bits);
    hash_number(h, sizeof(void *)); /* of the host: a 32-bit process may share the folder */
}
