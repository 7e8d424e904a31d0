/* SPDX-License-Identifier: Apache-2.0 */
/* What the peer programs in C share: arguments, logits, timing, and the talk with compare.py.
 *
 * A peer is started as `PROGRAM FILE ROWS VOCAB TEMPERATURE MIN_P TOP_K TOP_P SECONDS [SELECTOR]`. It prints
 * one line of JSON that names its cases, then measures case N for each line "N" that it reads, and ends with
 * its input. */
#ifndef PEER_H
#define PEER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PEER_WARM 20
#define PEER_LEAST 3
#define PEER_MOST 1000000

typedef struct peer {
    int rows, vocab, top_k;
    float temperature, min_p, top_p;
    double seconds;
    const char *selector; /* NULL if not given */
    float *logits;        /* [rows, vocab]; owned */
} peer;

static inline double peer_now(void)
{
    struct timespec now = { 0, 0 };

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

/* A peer that cannot run says why and ends; compare.py prints it as a skip. */
static inline void peer_die(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static inline peer peer_open(int argc, char **argv)
{
    peer p = { .rows = 0 };

    if (argc < 9) peer_die("too few arguments; compare.py starts this program");
    p.rows = atoi(argv[2]);
    p.vocab = atoi(argv[3]);
    p.temperature = strtof(argv[4], NULL);
    p.min_p = strtof(argv[5], NULL);
    p.top_k = atoi(argv[6]);
    p.top_p = strtof(argv[7], NULL);
    p.seconds = strtod(argv[8], NULL);
    p.selector = argc > 9 ? argv[9] : NULL;
    const size_t count = (size_t)p.rows * (size_t)p.vocab;
    FILE *file = fopen(argv[1], "rb");
    p.logits = malloc(count * sizeof *p.logits);
    if (!file || !p.logits || fread(p.logits, sizeof *p.logits, count, file) != count)
        peer_die("the file of logits cannot be read");
    fclose(file);
    return p;
}

static inline int peer_compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Time `run` for p->seconds and print the quartiles in microseconds. */
static inline void peer_measure(const peer *p, void (*run)(void *state), void *state)
{
    double *times = NULL;
    size_t count = 0, room = 0;

    for (int i = 0; i < PEER_WARM; i++)
        run(state);
    const double end = peer_now() + p->seconds * 1e6;
    while (count < PEER_MOST && (count < PEER_LEAST || peer_now() < end)) {
        if (count == room) {
            room = room ? 2 * room : 1024;
            times = realloc(times, room * sizeof *times);
            if (!times) peer_die("out of memory");
        }
        const double start = peer_now();
        run(state);
        times[count++] = peer_now() - start;
    }
    qsort(times, count, sizeof *times, peer_compare);
    printf("{\"min\": %.3f, \"q1\": %.3f, \"median\": %.3f, \"q3\": %.3f, \"reps\": %zu}\n", times[0],
           times[count / 4], times[count / 2], times[count - 1 - count / 4], count);
    fflush(stdout);
    free(times);
}

/* The next case that is asked for, or -1. */
static inline int peer_next(void)
{
    char line[32];

    return fgets(line, sizeof line, stdin) ? atoi(line) : -1;
}

#endif
