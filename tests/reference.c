/* SPDX-License-Identifier: Apache-2.0 */
/* See reference.h. */
#include "reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define REF_MIN(a, b) ((a) < (b) ? (a) : (b))
#define REF_MAX(a, b) ((a) > (b) ? (a) : (b))

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

/* ---- Edits ---- */

/* The float nearest to the sum, which a double holds well enough to be rounded once more; beyond the floats
 * the largest of its sign. What is below 2^-60 counts as nothing. */
static float ref_plus(float a, float b)
{
    const double x = fabsf(a) < 0x1p-60f ? 0.0 : (double)a, y = fabsf(b) < 0x1p-60f ? 0.0 : (double)b;
    const float sum = (float)(x + y);

    return isinf(sum) ? copysignf(FLT_MAX, sum) : sum;
}

/* The sum of the biases of place i's token, which are added up in their order; false if an earlier one is of
 * the same token. */
static bool ref_bias_of(const clsample_params *params, uint32_t i, float *sum)
{
    const int32_t id = params->bias[i].id;

    for (uint32_t k = 0; k < i; k++)
        if (params->bias[k].id == id) { return false; }
    *sum = params->bias[i].add;
    for (uint32_t k = i + 1; k < params->n_bias; k++) {
        const float add = params->bias[k].add;

        if (params->bias[k].id == id) { *sum = isinf(add) || isinf(*sum) ? -INFINITY : ref_plus(*sum, add); }
    }
    return true;
}

void ref_edit(const clsample_params *params, float *x)
{
    float sum = 0.0f;

    for (uint32_t i = 0; i < params->n_bias; i++) {
        float *logit = &x[params->bias[i].id];

        if (!ref_bias_of(params, i, &sum) || isnan(*logit) || *logit == -INFINITY) { continue; }
        if (isinf(sum))
            *logit = -INFINITY;
        else if (*logit != INFINITY)
            *logit = ref_plus(*logit, sum);
    }
    for (uint32_t i = 0; i < params->n_banned; i++)
        if (!isnan(x[params->banned[i]])) { x[params->banned[i]] = -INFINITY; }
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

/* The weight of the i-th best token, relative to that at `top`. The difference of two +inf is none. */
static double ref_weight(const ref_row *row, double temperature, uint32_t top, uint32_t i)
{
    const double best = row->x[row->order[top]], x = row->x[row->order[i]];

    return x == best ? 1.0 : exp((x - best) / temperature);
}

static double ref_mass(const ref_row *row, double temperature, ref_interval of)
{
    double sum = 0.0;

    for (uint32_t i = of.first; i < of.last; i++)
        sum += ref_weight(row, temperature, of.first, i);
    return sum;
}

static double ref_logit(const ref_row *row, uint32_t i)
{
    return row->x[row->order[i]];
}

/* Is the i-th best token's logit the same as that of the token before it? */
static bool ref_tied(const ref_row *row, uint32_t i)
{
    return ref_logit(row, i) == ref_logit(row, i - 1);
}

/* ---- Stages: from an interval that is not empty to one within it that is not ---- */

typedef struct ref_stage {
    double temperature; /* in force */
    double slack;       /* 0 or above; negative keeps less, for cuts that ask for a sign */
    const clsample_params *p;
    bool alone;
} ref_stage;

/* Keep w >= min_p; under the seed rules also what is within 1e-9 of the largest probability, 1 / mass. The
 * threshold on one logit needs no sum, so the device decides it to 1e-9 or better; the band does. */
static uint32_t ref_min_p(const ref_row *row, const ref_stage *s, ref_interval given)
{
    double threshold = (double)s->p->min_p * (1.0 - s->slack * 1e-3);
    uint32_t last = given.first + 1;

    if (s->p->rules == CLSAMPLE_RULES_SEED) {
        const double band = (1.0 - 1e-9 * ref_mass(row, s->temperature, given)) * (1.0 - s->slack * 0.2);

        if (band < threshold) { threshold = band; }
    }
    while (last < given.last &&
           (ref_tied(row, last) || ref_weight(row, s->temperature, given.first, last) >= threshold))
        last++;
    return last;
}

static uint32_t ref_top_k(const ref_row *row, const ref_stage *s, ref_interval given)
{
    const uint32_t all = given.last - given.first, k = s->p->top_k;
    uint32_t last = given.first + (k < all ? k : all);

    while (s->p->rules != CLSAMPLE_RULES_LLAMA_CPP && last < given.last && ref_tied(row, last))
        last++;
    return last;
}

/* Seed: keep while the sum is at most top_p, then the ties of the last. Others: up to the one that reaches
 * it. */
static uint32_t ref_top_p(const ref_row *row, const ref_stage *s, ref_interval given)
{
    const double mass = ref_mass(row, s->temperature, given);
    const double goal = (double)s->p->top_p * (1.0 + s->slack) * mass;
    double sum = 1.0;
    uint32_t last = given.first + 1;

    if (s->p->rules == CLSAMPLE_RULES_SEED) {
        while (last < given.last && (sum += ref_weight(row, s->temperature, given.first, last)) <= goal)
            last++;
        while (last < given.last && ref_tied(row, last))
            last++;
    } else {
        while (last < given.last && sum < goal)
            sum += ref_weight(row, s->temperature, given.first, last++);
    }
    return last;
}

/* Of the logits in `of`: their population's deviation, and the largest magnitude. */
static double ref_deviation(const ref_row *row, ref_interval of, double *largest)
{
    const double n = of.last - of.first;
    double mean = 0.0, squares = 0.0;

    *largest = 0.0;
    for (uint32_t i = of.first; i < of.last; i++) {
        mean += ref_logit(row, i) / n;
        *largest = fmax(*largest, fabs(ref_logit(row, i)));
    }
    for (uint32_t i = of.first; i < of.last; i++)
        squares += (ref_logit(row, i) - mean) * (ref_logit(row, i) - mean) / n;
    return sqrt(squares);
}

/* Keep x >= largest - n deviations. The device cuts each logit to units of at most 2^-23 of the largest
 * magnitude u, which moves a deviation by one unit at most, and loses up to 64 square units of a tile's
 * sum of squares, which takes 8 units from it at most: together 10 units, here 2^-19 u. The
 * product and the threshold are rounded as floats, 2^-24 of each. */
static uint32_t ref_top_n_sigma(const ref_row *row, const ref_stage *s, ref_interval given)
{
    const double best = ref_logit(row, given.first), n = (double)s->p->top_n_sigma;
    uint32_t last = given.first + 1;
    double largest;

    if (best == INFINITY) { return given.last; }
    const double reach = n * ref_deviation(row, given, &largest);
    const double open = s->slack / REF_SLACK * (n * largest * 0x1p-19 + (reach + largest) * 0x1p-22);
    while (last < given.last && (ref_tied(row, last) || ref_logit(row, last) >= best - reach - open))
        last++;
    return last;
}

/* ---- Typical ---- */

static double ref_mean(const ref_row *row, const ref_stage *s, ref_interval of)
{
    const double best = ref_logit(row, of.first);
    double sum = 0.0;

    for (uint32_t i = of.first; i < of.last; i++)
        if (ref_logit(row, i) != best)
            sum += ref_weight(row, s->temperature, of.first, i) * (ref_logit(row, i) - best);
    return best + sum / ref_mass(row, s->temperature, of);
}

/* The tokens nearest to `centre` until their weights reach `goal`; all ties of the last distance stay. */
static ref_interval ref_nearest(const ref_row *row, const ref_stage *s, ref_interval given, double centre,
                                double goal)
{
    ref_interval near = { given.first, given.first };
    double sum = 0.0;

    while (near.first < given.last && ref_logit(row, near.first) > centre)
        near.first++;
    near.last = near.first;
    while (near.first == near.last || (sum < goal && (near.first > given.first || near.last < given.last))) {
        const double above = near.first > given.first ? ref_logit(row, near.first - 1) - centre : INFINITY;
        const double below = near.last < given.last ? centre - ref_logit(row, near.last) : INFINITY;
        const double distance = fmin(above, below);

        while (near.first > given.first && ref_logit(row, near.first - 1) - centre <= distance)
            sum += ref_weight(row, s->temperature, given.first, --near.first);
        while (near.last < given.last && centre - ref_logit(row, near.last) <= distance)
            sum += ref_weight(row, s->temperature, given.first, near.last++);
    }
    return near;
}

/* An end of what is kept may be any place between which and `at` neighbours are nearer than `eps`. */
static uint32_t ref_blur(const ref_row *row, ref_interval given, uint32_t at, double eps, int direction)
{
    while (at > given.first && at < given.last && eps > 0.0 &&
           ref_logit(row, at - 1) - ref_logit(row, at) <= eps)
        at += (uint32_t)direction;
    return at;
}

/* Keep the tokens whose logits are nearest to the mean logit, up to the one that reaches typical_p.
 *
 * What is open: the mean, since the device cuts each exponent to 2^-16 binary digits, and off a token's
 * weight what is below a unit of 2^-24.4 of its block's largest: 63 tokens of a block, each at most 25 digits
 * from the mean where that still counts, so 2^-16 + 63 * 25 * 2^-24.4 = 9e-5 digits, 6e-5 of the temperature;
 * and the sum. Moving the centre by d changes the radius by at most d, so both ends move the same way, and
 * the four corners bound all between them. Each distance is rounded as a float by itself: logits that are
 * nearer to each other than that may change places. */
static ref_kept ref_typical_p(const ref_row *row, const ref_stage *s, ref_interval given)
{
    const double best = ref_logit(row, given.first), mean = ref_mean(row, s, given);
    const double goal = (double)s->p->typical_p * ref_mass(row, s->temperature, given);
    const double part = s->slack / REF_SLACK;
    const double shift = part * (1e-4 * s->temperature + 0x1p-22 * (best - mean));
    ref_kept kept = { { given.last, given.last }, { given.first, given.first }, true };

    /* Nothing happens where the largest have all the mass by definition. */
    if (best == INFINITY || fabs(best) * 1.4426950408889634 >= 0x1p30 * s->temperature)
        return (ref_kept){ given, given, true };
    for (int corner = 0; corner < 4; corner++) {
        const double centre = mean + (corner & 1 ? shift : -shift);
        const ref_interval near =
            ref_nearest(row, s, given, centre, goal * (corner & 2 ? 1.0 + s->slack : 1.0 - s->slack));
        const double far = best - ref_logit(row, near.last - 1), eps = part * 0x1p-23 * (best - mean + far);

        kept.low.first = REF_MIN(kept.low.first, ref_blur(row, given, near.first, eps, -1));
        kept.high.first = REF_MAX(kept.high.first, ref_blur(row, given, near.first, eps, 1));
        kept.low.last = REF_MIN(kept.low.last, ref_blur(row, given, near.last, eps, -1));
        kept.high.last = REF_MAX(kept.high.last, ref_blur(row, given, near.last, eps, 1));
    }
    return kept;
}

/* ---- Orders ---- */

#define REF_STAGES 6

/* As clsample.h says them. */
static const uint8_t ref_order[][REF_STAGES] = {
    [CLSAMPLE_RULES_SEED] = { CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_TOP_N_SIGMA,
                              CLSAMPLE_SAMPLER_MIN_P, CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_TOP_P,
                              CLSAMPLE_SAMPLER_TYPICAL_P },
    [CLSAMPLE_RULES_TRANSFORMERS] = { CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_TOP_N_SIGMA,
                                      CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_MIN_P,
                                      CLSAMPLE_SAMPLER_TYPICAL_P },
    [CLSAMPLE_RULES_VLLM] = { CLSAMPLE_SAMPLER_TEMPERATURE, CLSAMPLE_SAMPLER_TOP_N_SIGMA,
                              CLSAMPLE_SAMPLER_MIN_P, CLSAMPLE_SAMPLER_TOP_K, CLSAMPLE_SAMPLER_TOP_P,
                              CLSAMPLE_SAMPLER_TYPICAL_P },
    [CLSAMPLE_RULES_LLAMA_CPP] = { CLSAMPLE_SAMPLER_TOP_N_SIGMA, CLSAMPLE_SAMPLER_TOP_K,
                                   CLSAMPLE_SAMPLER_TYPICAL_P, CLSAMPLE_SAMPLER_TOP_P, CLSAMPLE_SAMPLER_MIN_P,
                                   CLSAMPLE_SAMPLER_TEMPERATURE },
};

typedef uint32_t ref_cut(const ref_row *row, const ref_stage *s, ref_interval given);

/* What cuts the end alone: `last` after it. Those that `grow` keep more when they are given more. */
static const struct {
    ref_cut *cut;
    bool grows;
} ref_cuts[] = {
    [CLSAMPLE_SAMPLER_MIN_P] = { ref_min_p, true },
    [CLSAMPLE_SAMPLER_TOP_K] = { ref_top_k, true },
    [CLSAMPLE_SAMPLER_TOP_P] = { ref_top_p, true },
    [CLSAMPLE_SAMPLER_TYPICAL_P] = { NULL, false },
    [CLSAMPLE_SAMPLER_TOP_N_SIGMA] = { ref_top_n_sigma, false },
};

static bool ref_is_on(const ref_stage *s, uint32_t sampler)
{
    const clsample_params *p = s->p;

    switch (sampler) {
    case CLSAMPLE_SAMPLER_MIN_P:
        return p->min_p > 0.0f && (s->alone || p->rules != CLSAMPLE_RULES_SEED || p->min_p < 1.0f);
    case CLSAMPLE_SAMPLER_TOP_K: return p->top_k > 0;
    case CLSAMPLE_SAMPLER_TOP_P: return p->top_p < 1.0f;
    case CLSAMPLE_SAMPLER_TYPICAL_P: return p->typical_p < 1.0f;
    case CLSAMPLE_SAMPLER_TOP_N_SIGMA: return p->top_n_sigma > 0.0f;
    default: return false;
    }
}

static ref_kept ref_run(const ref_row *row, const ref_stage *s, uint32_t sampler, ref_interval given)
{
    ref_stage less = *s;

    if (!ref_cuts[sampler].cut) { return ref_typical_p(row, s, given); }
    less.slack = -s->slack;
    return (ref_kept){ { given.first, ref_cuts[sampler].cut(row, &less, given) },
                       { given.first, ref_cuts[sampler].cut(row, s, given) },
                       true };
}

static void ref_widen(ref_kept *all, const ref_kept *one)
{
    all->low.first = REF_MIN(all->low.first, one->low.first);
    all->low.last = REF_MIN(all->low.last, one->low.last);
    all->high.first = REF_MAX(all->high.first, one->high.first);
    all->high.last = REF_MAX(all->high.last, one->high.last);
}

/* Run a stage on all that it may be given: where it grows the least and the most are enough. */
static ref_kept ref_run_open(const ref_row *row, const ref_stage *s, uint32_t sampler, const ref_kept *given)
{
    enum { MOST = 16 };
    const uint32_t starts = given->high.first - given->low.first, ends = given->high.last - given->low.last;
    const bool corners = ref_cuts[sampler].grows && starts == 0;
    const uint32_t step = corners && ends > 0 ? ends : 1;
    ref_kept all = { { UINT32_MAX, UINT32_MAX }, { 0, 0 }, true };

    if (!corners && (starts >= MOST || ends >= MOST || (starts + 1) * (ends + 1) > MOST))
        return (ref_kept){ given->low, given->high, false };
    for (uint32_t first = given->low.first; first <= given->high.first; first++) {
        for (uint32_t last = given->low.last; last <= given->high.last; last += step) {
            if (first >= last) { continue; }
            const ref_kept one = ref_run(row, s, sampler, (ref_interval){ first, last });
            ref_widen(&all, &one);
        }
    }
    return all;
}

ref_kept ref_filter(const ref_row *row, const clsample_params *params, bool alone, double slack)
{
    const uint8_t *order = params->order[0] ? params->order : ref_order[params->rules];
    const size_t places = params->order[0] ? CLSAMPLE_MAX_ORDER : REF_STAGES;
    ref_stage s = { 1.0, slack, params, alone };
    ref_kept kept = { { 0, row->live }, { 0, row->live }, true };

    if (row->live > 1 && ref_greedy(params)) { return (ref_kept){ { 0, 1 }, { 0, 1 }, true }; }
    for (size_t i = 0; i < places && order[i] && row->live > 1 && kept.known; i++) {
        if (order[i] == CLSAMPLE_SAMPLER_TEMPERATURE) { s.temperature = ref_temperature(params); }
        if (ref_is_on(&s, order[i])) { kept = ref_run_open(row, &s, order[i], &kept); }
    }
    return kept;
}

bool ref_is_certain(const ref_kept *kept)
{
    return kept->known && kept->low.first == kept->high.first && kept->low.last == kept->high.last;
}

ref_interval ref_exact(const ref_row *row, const clsample_params *params, bool alone)
{
    return ref_filter(row, params, alone, 0.0).low;
}

void ref_probabilities(const ref_row *row, const clsample_params *params, ref_interval kept, double *p)
{
    const double t = ref_temperature(params), mass = ref_mass(row, t, kept);

    for (uint32_t id = 0; id < row->vocab; id++)
        p[id] = 0.0;
    for (uint32_t i = kept.first; i < kept.last; i++)
        p[row->order[i]] = ref_weight(row, t, kept.first, i) / mass;
}

double ref_logprob(const ref_row *row, const clsample_params *params, ref_interval kept, uint32_t token)
{
    const double t = ref_temperature(params), best = ref_logit(row, kept.first), x = row->x[token];
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
