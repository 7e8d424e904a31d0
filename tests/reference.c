/* SPDX-License-Identifier: Apache-2.0 */
/* See reference.h. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

/* ---- A row in order ---- */

typedef struct ref_token {
    double x;
    uint32_t id;
} ref_token;

static int ref_compare(const void *a, const void *b)
{
    const ref_token *s = a, *t = b;

    if (s->x != t->x) { return s->x > t->x ? -1 : 1; }
    return s->id < t->id ? -1 : 1;
}

bool ref_open(ref_row *row, const float *x, uint32_t vocab)
{
    ref_token *sorted = malloc(vocab * sizeof *sorted);

    row->vocab = vocab;
    row->live = 0;
    row->order = malloc(vocab * sizeof *row->order);
    row->x = malloc(vocab * sizeof *row->x);
    if (!sorted || !row->order || !row->x) {
        free(sorted);
        return false;
    }
    for (uint32_t id = 0; id < vocab; id++) {
        row->x[id] = isnan(x[id]) ? -INFINITY : (double)x[id];
        if (row->x[id] > -INFINITY) { sorted[row->live++] = (ref_token){ row->x[id], id }; }
    }
    qsort(sorted, row->live, sizeof *sorted, ref_compare);
    for (uint32_t i = 0; i < row->live; i++)
        row->order[i] = sorted[i].id;
    /* Beside a token at +inf the others are as good as masked. */
    while (row->live > 0 && sorted[0].x == INFINITY && sorted[row->live - 1].x != INFINITY)
        row->live--;
    free(sorted);
    return true;
}

void ref_close(ref_row *row)
{
    free(row->order);
    free(row->x);
    row->order = NULL;
    row->x = NULL;
}

/* ---- Weights ---- */

double ref_temperature(const clsample_params *params)
{
    const double t = (double)params->temperature;

    return t < 1e-9 ? 1e-9 : t > 1e12 ? 1e12 : t;
}

static bool ref_greedy(const clsample_params *params)
{
    return (params->flags & CLSAMPLE_GREEDY) != 0 || params->temperature == 0.0f;
}

/* The weight of the i-th best token, relative to the best. The difference of two +inf is none. */
static double ref_weight(const ref_row *row, double temperature, uint32_t i)
{
    const double best = row->x[row->order[0]], x = row->x[row->order[i]];

    return x == best ? 1.0 : exp((x - best) / temperature);
}

static double ref_mass(const ref_row *row, double temperature, uint32_t kept)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < kept; i++)
        sum += ref_weight(row, temperature, i);
    return sum;
}

/* Is the i-th best token's logit the same as that of the token before it? */
static bool ref_tied(const ref_row *row, uint32_t i)
{
    return row->x[row->order[i]] == row->x[row->order[i - 1]];
}

/* ---- Filters: from the first n tokens to fewer; n is at least 1, and so is what is kept ---- */

typedef struct ref_filters {
    double temperature;
    double min_p, top_p;
    uint32_t top_k;
    double slack;
    uint32_t rules;
} ref_filters;

/* Keep w >= min_p; under the seed rules also what is within 1e-9 of the largest probability, 1 / mass. The
 * threshold on one logit needs no sum, so the device decides it to 1e-9 or better; the band does. */
static uint32_t ref_min_p(const ref_row *row, const ref_filters *f, uint32_t n)
{
    double threshold = f->min_p * (1.0 - f->slack * 1e-3);
    uint32_t kept = 1;

    if (f->rules == CLSAMPLE_RULES_SEED) {
        const double band = (1.0 - 1e-9 * ref_mass(row, f->temperature, n)) * (1.0 - f->slack * 0.2);

        if (band < threshold) { threshold = band; }
    }
    while (kept < n && (ref_tied(row, kept) || ref_weight(row, f->temperature, kept) >= threshold))
        kept++;
    return kept;
}

static uint32_t ref_top_k(const ref_row *row, const ref_filters *f, uint32_t n)
{
    uint32_t kept = f->top_k < n ? f->top_k : n;

    while (f->rules != CLSAMPLE_RULES_LLAMA_CPP && kept < n && ref_tied(row, kept))
        kept++;
    return kept;
}

/* Seed: keep while the sum is at most top_p, then the ties of the last. Others: up to the one that reaches
 * it. */
static uint32_t ref_top_p(const ref_row *row, const ref_filters *f, uint32_t n)
{
    const double goal = f->top_p * (1.0 + f->slack) * ref_mass(row, f->temperature, n);
    double sum = 1.0;
    uint32_t kept = 1;

    if (f->rules == CLSAMPLE_RULES_SEED) {
        while (kept < n && (sum += ref_weight(row, f->temperature, kept)) <= goal)
            kept++;
        while (kept < n && ref_tied(row, kept))
            kept++;
    } else {
        while (kept < n && sum < goal)
            sum += ref_weight(row, f->temperature, kept++);
    }
    return kept;
}

/* The filters by rules: m(in-p), k, p. */
static const char *const ref_chain[] = {
    [CLSAMPLE_RULES_SEED] = "mkp",
    [CLSAMPLE_RULES_TRANSFORMERS] = "kpm",
    [CLSAMPLE_RULES_VLLM] = "mkp",
    [CLSAMPLE_RULES_LLAMA_CPP] = "kpm",
};

ref_kept ref_filter(const ref_row *row, const clsample_params *params, bool alone, double slack)
{
    const bool seed = params->rules == CLSAMPLE_RULES_SEED, last = params->rules == CLSAMPLE_RULES_LLAMA_CPP;
    const bool min_p = params->min_p > 0.0f && (alone || !seed || params->min_p < 1.0f);
    const ref_filters f = { last ? 1.0 : ref_temperature(params),
                            (double)params->min_p,
                            (double)params->top_p,
                            params->top_k,
                            slack,
                            params->rules };
    uint32_t n = row->live;
    ref_kept kept = { { 0, 0, 0 }, 0 };

    if (n > 1 && ref_greedy(params)) { n = 1; }
    for (int i = 0; i < 3; i++) {
        const char filter = ref_chain[params->rules][i];

        if (n > 1 && filter == 'm' && min_p) { n = ref_min_p(row, &f, n); }
        if (n > 1 && filter == 'k' && f.top_k > 0) { n = ref_top_k(row, &f, n); }
        if (n > 1 && filter == 'p' && f.top_p < 1.0) { n = ref_top_p(row, &f, n); }
        kept.stage[i] = n;
    }
    kept.all = n;
    return kept;
}

void ref_probabilities(const ref_row *row, const clsample_params *params, uint32_t kept, double *p)
{
    const double t = ref_temperature(params), mass = ref_mass(row, t, kept);

    for (uint32_t id = 0; id < row->vocab; id++)
        p[id] = 0.0;
    for (uint32_t i = 0; i < kept; i++)
        p[row->order[i]] = ref_weight(row, t, i) / mass;
}

double ref_logprob(const ref_row *row, const clsample_params *params, uint32_t kept, uint32_t token)
{
    const double t = ref_temperature(params), best = row->x[row->order[0]], x = row->x[token];
    const double mass = ref_mass(row, t, kept);

    if (x == best) { return -log(mass); }
    return (x - best) / t - log(mass);
}

/* ---- Chi-square ---- */

/* The upper regularized incomplete gamma function Q(a, x) at a = degrees / 2, x / 2: by the series of P = 1 -
 * Q below a + 1, by Lentz's continued fraction above, where each converges fast. */
double ref_chi_square_tail(double x, double degrees)
{
    const double a = degrees / 2.0, z = x / 2.0, scale = exp(a * log(z > 0.0 ? z : 1.0) - z - lgamma(a));

    if (z <= 0.0) { return 1.0; }
    if (z < a + 1.0) {
        double term = 1.0 / a, sum = term;

        for (int n = 1; n < 100000 && term > sum * 1e-16; n++)
            sum += term *= z / (a + n);
        return 1.0 - scale * sum;
    }
    double b = z + 1.0 - a, c = 1e300, d = 1.0 / b, h = d;
    for (int n = 1; n < 100000; n++) {
        const double an = -n * (n - a);

        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-15) { break; }
    }
    return scale * h;
}
