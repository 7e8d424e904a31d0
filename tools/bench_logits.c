/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic logits from a counter: logit i of row r is a function of r and i alone. And biases for them. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TWO_PI 6.283185307179586477
#define PEAKS 60u
#define PEAK_TOP 14.0
#define PEAK_END 4.0
#define DISTINCT ((size_t)1 << 22) /* logits */
#define BIAS 2.0f
#define BIAS_ROW (UINT64_C(1) << 31) /* above those of logits */

/* The output function of SplitMix64 (Steele, Lea and Flood, 2014), applied to a counter. */
static uint64_t mix(uint64_t row, uint64_t index)
{
    uint64_t z = (row << 32 | index) * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0x2545f4914f6cdd1d);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Two standard normal numbers for each even index (Box and Muller). */
static void normal_pair(uint64_t row, uint64_t index, double *first, double *second)
{
    const uint64_t bits = mix(row, index);
    const double radius = sqrt(-2.0 * log(((double)(bits >> 32) + 0.5) * 0x1p-32));
    const double angle = TWO_PI * (double)(bits & UINT32_MAX) * 0x1p-32;

    *first = radius * cos(angle);
    *second = radius * sin(angle);
}

static bool contains(const uint32_t *list, uint32_t count, uint32_t value)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] == value) return true;
    }
    return false;
}

/* Raise some tokens of the row, each at most once. */
static void add_peaks(uint64_t row, float *x, uint32_t vocab)
{
    const uint32_t count = vocab < PEAKS ? vocab : PEAKS;
    uint32_t taken[PEAKS];
    uint64_t counter = UINT64_C(1) << 31; /* above the indices of logits */

    for (uint32_t i = 0; i < count; i++) {
        do {
            taken[i] = (uint32_t)(mix(row, counter++) % vocab);
        } while (contains(taken, i, taken[i]));
        x[taken[i]] += (float)(PEAK_TOP + (PEAK_END - PEAK_TOP) * i / (PEAKS - 1));
    }
}

static void make_row(bench_kind kind, uint64_t row, float *x, uint32_t vocab)
{
    const double deviation = kind == BENCH_LLM ? 2.0 : 1.0;

    for (uint32_t i = 0; i < vocab; i += 2) {
        double pair[2];
        normal_pair(row, i, &pair[0], &pair[1]);
        x[i] = (float)(deviation * pair[0]);
        if (i + 1 < vocab) x[i + 1] = (float)(deviation * pair[1]);
    }
    if (kind == BENCH_LLM) add_peaks(row, x, vocab);
}

/* `x` / 2^shift, to the nearest, ties to even. */
static uint32_t round_shift(uint32_t x, uint32_t shift)
{
    const uint32_t half = UINT32_C(1) << (shift - 1);

    return (x + half - 1 + (x >> shift & 1)) >> shift;
}

static uint16_t to_bf16(uint32_t bits)
{
    return (uint16_t)round_shift(bits, 16);
}

/* For numbers below 65504, as these logits are. */
static uint16_t to_f16(uint32_t bits)
{
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t exponent = bits >> 23 & 0xff;
    const uint32_t magnitude = bits & 0x7fffffff;

    if (exponent >= 113) return (uint16_t)(sign | round_shift(magnitude - (UINT32_C(112) << 23), 13));
    if (exponent < 102) return (uint16_t)sign;
    return (uint16_t)(sign | round_shift((bits & 0x7fffff) | 0x800000, 126 - exponent));
}

static void store_row(const float *x, uint32_t vocab, uint32_t dtype, unsigned char *to)
{
    if (dtype == CLSAMPLE_F32) {
        memcpy(to, x, vocab * sizeof *x);
        return;
    }
    for (uint32_t i = 0; i < vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        const uint16_t half = dtype == CLSAMPLE_F16 ? to_f16(bits) : to_bf16(bits);
        memcpy(to + 2 * (size_t)i, &half, sizeof half);
    }
}

int bench_make_logits(cli *c, bench_kind kind, cli_logits *logits)
{
    const size_t row_bytes = logits->vocab * cli_dtype_size(logits->dtype);
    const size_t distinct = (DISTINCT + logits->vocab - 1) / logits->vocab;
    float *x = malloc(logits->vocab * sizeof *x);

    if (logits->rows <= SIZE_MAX / row_bytes) logits->data = malloc(logits->rows * row_bytes);
    if (!x || !logits->data) {
        free(x);
        return cli_fail_memory(c);
    }
    for (size_t row = 0; row < logits->rows; row++) {
        unsigned char *to = logits->data + row * row_bytes;
        if (row < distinct) {
            make_row(kind, row, x, logits->vocab);
            store_row(x, logits->vocab, logits->dtype, to);
        } else {
            memcpy(to, to - distinct * row_bytes, row_bytes);
        }
    }
    free(x);
    return CLI_DONE;
}

/* One id in each of `count` equal parts of the vocabulary. */
int bench_add_biases(cli *c, uint32_t count, uint32_t vocab, clsample_params *params)
{
    const uint32_t given = params->n_bias, added = count < vocab ? count : vocab;
    clsample_bias *list = cli_keep(c, NULL, ((size_t)given + added + 1) * sizeof *list);

    if (!list) return cli_fail_memory(c);
    for (uint32_t i = 0; i < given; i++)
        list[i] = params->bias[i];
    for (uint32_t i = 0; i < added; i++) {
        const uint64_t first = (uint64_t)vocab * i / added, end = (uint64_t)vocab * (i + 1) / added;
        const uint64_t bits = mix(BIAS_ROW, i);
        list[given + i].id = (int32_t)(first + (bits >> 1) % (end - first));
        list[given + i].add = bits & 1 ? BIAS : -BIAS;
    }
    params->bias = list;
    params->n_bias = given + added;
    return CLI_DONE;
}
