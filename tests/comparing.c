/* SPDX-License-Identifier: Apache-2.0 */
#include "comparing.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    uint32_t exact, open, unknown; /* rows whose set was certain, with a boundary nearer than REF_SLACK, and
                                      with too many of them before a later stage */
} seen;

void print_seen(void)
{
    printf("rows compared exactly: %lu; within bounds, a boundary being closer than %g: %lu; not: %lu\n",
           (unsigned long)seen.exact, REF_SLACK, (unsigned long)seen.open, (unsigned long)seen.unknown);
}

uint32_t count_kept(const float *masked, uint32_t vocab)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < vocab; i++)
        n += masked[i] != -INFINITY;
    return n;
}

void check_ids(const float *masked, uint32_t vocab, const id_set *want, const char *name, const char *what)
{
    if (!want->present) { return; }
    ck_assert_msg(count_kept(masked, vocab) == want->count, "%s %s: %lu kept instead of %lu", name, what,
                  (unsigned long)count_kept(masked, vocab), (unsigned long)want->count);
    for (uint32_t i = 0; i < want->count; i++)
        REQUIRE(masked[want->ids[i]] != -INFINITY, "%s %s: %d is missing", name, what, (int)want->ids[i]);
}

/* The kept tokens are neighbours in the reference's order. */
static ref_interval find_kept(const ref_row *row, const float *masked, const char *what)
{
    const uint32_t n = count_kept(masked, row->vocab);
    ref_interval kept = { 0, 0 };

    while (kept.first < row->live && masked[row->order[kept.first]] == -INFINITY)
        kept.first++;
    kept.last = kept.first + n;
    REQUIRE(kept.last <= row->live, "%s: a masked token is kept", what);
    for (uint32_t i = kept.first; i < kept.last; i++)
        REQUIRE(masked[row->order[i]] != -INFINITY, "%s: %lu, the %luth best, is missing", what,
                (unsigned long)row->order[i], (unsigned long)i);
    return kept;
}

static void check_kept(const ref_kept *want, ref_interval got, const char *what)
{
    if (!want->known) { return; }
    ck_assert_msg(got.first >= want->low.first && got.first <= want->high.first,
                  "%s: kept from the %luth best on instead of %lu to %lu", what, (unsigned long)got.first,
                  (unsigned long)want->low.first, (unsigned long)want->high.first);
    ck_assert_msg(got.last >= want->low.last && got.last <= want->high.last,
                  "%s: kept up to the %luth best instead of %lu to %lu", what, (unsigned long)got.last,
                  (unsigned long)want->low.last, (unsigned long)want->high.last);
}

/* `quotient` of x, which is finite if x is. */
static float largest_finite(float x, float quotient)
{
    return isfinite(x) && isinf(quotient) ? copysignf(FLT_MAX, quotient) : quotient;
}

/* Is y the float nearest to x / temperature, to the bit? Where a device that flushes denormals meets one, in
 * the quotient or in the remainder of so small an x, the last bit or a value of denormal size may be lost. */
static bool is_quotient(float y, float x, float temperature)
{
    const float want = largest_finite(x, x / temperature);
    const double error = fabs((double)y - (double)want);

    if (temperature == 1.0f || (fabsf(x) >= 0x1p-100f && fabsf(want) >= 0x1p-126f))
        return memcmp(&want, &y, sizeof want) == 0;
    return error <= fabs((double)want) * 0x1p-23 || error < 0x1p-125;
}

void check_values(const float *x, const float *masked, uint32_t vocab, float temperature, const char *what)
{
    for (uint32_t i = 0; i < vocab; i++) {
        if (masked[i] == -INFINITY) { continue; }
        REQUIRE(is_quotient(masked[i], x[i], temperature), "%s: logit %lu is %a instead of %a / %a = %a",
                what, (unsigned long)i, (double)masked[i], (double)x[i], (double)temperature,
                (double)(x[i] / temperature));
    }
}

/* A probability may lose REF_UNIT of the largest, and win REF_SLACK of itself through the sum (see
 * reference.h). */
static void check_probabilities(const ref_row *row, const clsample_params *params, ref_interval kept,
                                const float *p, const char *what)
{
    double *want = test_alloc(row->vocab * sizeof *want), sum = 0.0;

    ref_probabilities(row, params, kept, want);
    for (uint32_t i = 0; i < row->vocab; i++) {
        const double got = (double)p[i], error = fabs(got - want[i]);

        sum += got;
        REQUIRE(error <= want[i] * REF_SLACK + want[row->order[kept.first]] * REF_UNIT,
                "%s: probability of %lu is %.9g instead of %.9g", what, (unsigned long)i, got, want[i]);
        REQUIRE(want[i] > 0.0 || got == 0.0, "%s: %lu has a probability: %g", what, (unsigned long)i, got);
    }
    /* Each is rounded to 24 bits. */
    ck_assert_msg(fabs(sum - 1.0) < 1e-6, "%s: the probabilities add up to %.9g", what, sum);
    free(want);
}

/* A draw agrees with the set: its size, its token, its log-probability. */
static void check_result(const ref_row *row, const clsample_params *params, ref_interval kept,
                         const clsample_result *got, const float *masked, const char *what)
{
    const uint32_t n = kept.last - kept.first;

    ck_assert_msg(got->status == CLSAMPLE_ROW_OK, "%s: status %s", what,
                  clsample_row_status_name(got->status));
    ck_assert_msg(got->kept == n, "%s: %lu kept by the draw, %lu by the filter", what,
                  (unsigned long)got->kept, (unsigned long)n);
    ck_assert_msg(got->token >= 0 && (uint32_t)got->token < row->vocab && masked[got->token] != -INFINITY,
                  "%s: drew %d, which is not kept", what, (int)got->token);

    /* A rare token's weight lost up to REF_UNIT of the largest one's. */
    const double want = ref_logprob(row, params, kept, (uint32_t)got->token);
    const double best = ref_logprob(row, params, kept, row->order[kept.first]);
    const double allowed = REF_SLACK + 2.0 * exp(best - want) * REF_UNIT - want * 1e-7;
    ck_assert_msg(fabs((double)got->logprob - want) <= allowed, "%s: logprob %.9g instead of %.9g", what,
                  (double)got->logprob, want);
}

outcome run_rows(const clsample_params *params, const float *x, uint32_t rows, uint32_t vocab)
{
    const size_t n = (size_t)rows * vocab;
    const outcome o = { test_alloc(n * sizeof *o.masked), test_alloc(n * sizeof *o.p),
                        test_alloc(rows * sizeof *o.results) };

    host_filter(params, rows, x, rows, vocab, CLSAMPLE_MASKED_LOGITS, o.masked);
    host_filter(params, rows, x, rows, vocab, CLSAMPLE_PROBABILITIES, o.p);
    host_draw(params, rows, x, rows, vocab, o.results);
    return o;
}

void outcome_free(outcome *o)
{
    free(o->masked);
    free(o->p);
    free(o->results);
}

void check_row(const float *x, uint32_t vocab, const clsample_params *params, const outcome *o, size_t row,
               const char *what)
{
    const float *masked = o->masked + row * vocab;
    float *edited = test_alloc(vocab * sizeof *edited);
    ref_row ref;

    memcpy(edited, x, vocab * sizeof *x);
    ref_edit(params, edited);
    ck_assert(ref_open(&ref, edited, vocab));
    const ref_kept want = ref_filter(&ref, params, true, REF_SLACK);
    const ref_interval kept = find_kept(&ref, masked, what);
    *(ref_is_certain(&want) ? &seen.exact : want.known ? &seen.open : &seen.unknown) += 1;
    check_kept(&want, kept, what);
    check_values(edited, masked, vocab, params->temperature, what);
    check_probabilities(&ref, params, kept, o->p + row * vocab, what);
    check_result(&ref, params, kept, &o->results[row], masked, what);
    ref_close(&ref);
    free(edited);
}
