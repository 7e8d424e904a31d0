/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target without libFuzzer: changes its seeds at random for some seconds. What is tried
 * depends on the seed number and the try's number alone, so that a failure can be repeated.
 *
 * usage: fuzz_NAME SECONDS [SEED [TRY]]
 *   SEED is 1 if not given; with TRY only that one is run, in this process, for a debugger. */
#include "fuzz.h"

#include "common.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_SIZE ((size_t)1 << 17) /* bytes of an input */
#define MAX_CHANGES 6u
#define HEADER ((size_t)256) /* bytes, more or less, that decide most */

typedef struct input {
    unsigned char bytes[MAX_SIZE];
    size_t size;
} input;

/* Numbers that counts, lengths and offsets go wrong with. */
static uint64_t odd_number(test_rng *r)
{
    static const uint64_t odd[] = {
        0,          1,         2,          UINT8_MAX,  UINT16_MAX,     INT32_MAX,
        UINT32_MAX, INT64_MAX, UINT64_MAX, 0x40000000, UINT64_MAX / 8, 0x100000000
    };

    return odd[rng_below(r, COUNT(odd))] + rng_below(r, 3) - 1;
}

static void overwrite(test_rng *r, input *in, size_t at)
{
    const size_t width = (size_t)1 << rng_below(r, 4);
    const uint64_t number = rng_below(r, 4) ? odd_number(r) : rng_below(r, 1024);

    for (size_t i = 0; i < width && at + i < in->size; i++)
        in->bytes[at + i] = (unsigned char)(number >> (8 * i));
}

/* Put a copy of some bytes before `at`. */
static void insert(test_rng *r, input *in, size_t at)
{
    unsigned char copy[64];
    const size_t from = rng_below(r, (uint32_t)in->size);
    size_t n = 1 + rng_below(r, sizeof copy);

    n = n > in->size - from ? in->size - from : n;
    if (n > MAX_SIZE - in->size) return;
    memcpy(copy, in->bytes + from, n);
    memmove(in->bytes + at + n, in->bytes + at, in->size - at);
    memcpy(in->bytes + at, copy, n);
    in->size += n;
}

static void take_out(test_rng *r, input *in, size_t at)
{
    size_t n = 1 + rng_below(r, 64);

    n = n > in->size - at ? in->size - at : n;
    memmove(in->bytes + at, in->bytes + at + n, in->size - at - n);
    in->size -= n;
}

static void change(test_rng *r, input *in)
{
    if (in->size == 0) return;
    /* Half of the changes go to the header and the first keys. */
    const size_t reach = rng_below(r, 2) && in->size > HEADER ? HEADER : in->size;
    const size_t at = rng_below(r, (uint32_t)reach);

    switch (rng_below(r, 6)) {
    case 0: in->bytes[at] = (unsigned char)(in->bytes[at] ^ (1u << rng_below(r, 8))); break;
    case 1: in->bytes[at] = (unsigned char)rng_next(r); break;
    case 2: insert(r, in, at); break;
    case 3: take_out(r, in, at); break;
    case 4:
        if (rng_below(r, 8) == 0) in->size = rng_below(r, (uint32_t)in->size + 1);
        break;
    default: overwrite(r, in, at); break;
    }
}

/* All seeds, made once. */
static input *seeds;
static unsigned n_seeds;

static void make_seeds(void)
{
    size_t size = 0;

    for (unsigned char *s = fuzz_seed(0, &size); s; s = fuzz_seed(n_seeds, &size)) {
        input *more = realloc(seeds, (n_seeds + 1) * sizeof *seeds);
        if (!more) abort();
        seeds = more;
        seeds[n_seeds].size = size < MAX_SIZE ? size : MAX_SIZE;
        memcpy(seeds[n_seeds++].bytes, s, size < MAX_SIZE ? size : MAX_SIZE);
        free(s);
    }
}

static void make_input(uint64_t seed, uint64_t try, input *in)
{
    test_rng r = { seed * UINT64_C(0x9E3779B97F4A7C15) + try };
    const input *start = &seeds[rng_below(&r, n_seeds)];

    in->size = start->size;
    memcpy(in->bytes, start->bytes, start->size);
    for (uint32_t i = 1 + rng_below(&r, MAX_CHANGES); i > 0; i--)
        change(&r, in);
}

/* Until the time is over; the number of the try under way stands in `progress`. */
static void run(uint64_t seed, double seconds, int progress)
{
    static input in;
    uint64_t try = 0;
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        if (pwrite(progress, &try, sizeof try, 0) != (ssize_t)sizeof try) abort();
        make_input(seed, try, &in);
        (void)LLVMFuzzerTestOneInput(in.bytes, in.size);
        clock_gettime(CLOCK_MONOTONIC, &now);
        try++;
    } while ((double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec) < seconds);
    printf("%" PRIu64 " tries with seed %" PRIu64 "\n", try, seed);
}

static int run_one(uint64_t seed, uint64_t try)
{
    static input in;

    make_input(seed, try, &in);
    return LLVMFuzzerTestOneInput(in.bytes, in.size);
}

/* In a process of its own: this one says which try it was that ended it. */
static int run_child(uint64_t seed, double seconds)
{
    FILE *progress = tmpfile();
    uint64_t try = 0;
    int status = 0;

    if (!progress) return EXIT_FAILURE;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        run(seed, seconds, fileno(progress));
        exit(EXIT_SUCCESS);
    }
    const bool passed = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
                        WEXITSTATUS(status) == EXIT_SUCCESS;
    if (!passed && pread(fileno(progress), &try, sizeof try, 0) == (ssize_t)sizeof try)
        printf("failed; arguments that repeat it: 0 %" PRIu64 " %" PRIu64 "\n", seed, try);
    fclose(progress);
    return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s SECONDS [SEED [TRY]]\n", argv[0]);
        return 2;
    }
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    make_seeds();
    const int code =
        argc > 3 ? run_one(seed, strtoull(argv[3], NULL, 10)) : run_child(seed, strtod(argv[1], NULL));
    free(seeds);
    return code;
}
