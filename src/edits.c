/* SPDX-License-Identifier: Apache-2.0 */
/* The edits of a batch: what its params add to logits and ban, as sorted lists in a buffer. They are made
 * anew only where they differ from those of the call before, so that a call without news sends nothing. */
#include "context.h"

#include "real.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- What they were made from ---- */

void cls_free_edits(cls_edits *e)
{
    if (e->mem) clReleaseMemObject(e->mem);
    free(e->counts);
    free(e->first);
    free(e->bias);
    free(e->banned);
    *e = (cls_edits){ .mem = NULL };
}

static bool is_same(const cls_edits *e, const clsample_params *sets, uint32_t n, uint32_t vocab)
{
    const clsample_bias *bias = e->bias;
    const int32_t *banned = e->banned;

    if (e->vocab != vocab || e->sets != n) return false;
    for (uint32_t i = 0; i < n; i++) {
        clsample_params p;
        if (cls_copy_params(sets, i, &p) != CLSAMPLE_OK) return false;
        if (p.n_bias != e->counts[2 * i] || p.n_banned != e->counts[2 * i + 1]) return false;
        if (p.n_bias && memcmp(p.bias, bias, p.n_bias * sizeof *bias) != 0) return false;
        if (p.n_banned && memcmp(p.banned, banned, p.n_banned * sizeof *banned) != 0) return false;
        bias += p.n_bias;
        banned += p.n_banned;
    }
    return true;
}

static clsample_status check_id(int32_t id, uint32_t vocab, uint32_t index, const char *field, uint32_t i,
                                const char *part)
{
    if (id >= 0 && (uint32_t)id < vocab) return CLSAMPLE_OK;
    return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].%s[%u]%s is %d; it must be a token, 0 to %u",
                    (unsigned)index, field, (unsigned)i, part, (int)id, (unsigned)vocab - 1);
}

static clsample_status check_edits(const clsample_params *p, uint32_t index, uint32_t vocab)
{
    clsample_status st = CLSAMPLE_OK;

    for (uint32_t i = 0; i < p->n_bias; i++) {
        const cls_uint bits = cls_bits_of(p->bias[i].add);
        CLS_TRY(check_id(p->bias[i].id, vocab, index, "bias", i, ".id"));
        if ((bits & 0x7fffffffu) >= 0x7f800000u && bits != CLS_BITS_MASKED)
            return cls_fail(CLSAMPLE_E_ARGUMENT,
                            "params[%u].bias[%u].add is %g; it must be finite, or -inf, which bans",
                            (unsigned)index, (unsigned)i, (double)p->bias[i].add);
    }
    for (uint32_t i = 0; i < p->n_banned; i++)
        CLS_TRY(check_id(p->banned[i], vocab, index, "banned", i, ""));
cleanup:
    return st;
}

/* Check all sets, and count. */
static clsample_status count_edits(const clsample_params *sets, uint32_t n, uint32_t vocab, size_t *bias,
                                   size_t *banned)
{
    clsample_status st = CLSAMPLE_OK;

    *bias = *banned = 0;
    for (uint32_t i = 0; i < n; i++) {
        clsample_params p;
        CLS_TRY(cls_copy_params(sets, i, &p));
        CLS_TRY(check_edits(&p, i, vocab));
        *bias += p.n_bias;
        *banned += p.n_banned;
    }
cleanup:
    return st;
}

static clsample_status keep_source(const clsample_params *sets, uint32_t n, size_t n_bias, size_t n_banned,
                                   cls_edits *e)
{
    e->counts = calloc(2 * (size_t)n, sizeof *e->counts);
    e->first = calloc(2 * ((size_t)n + 1), sizeof *e->first);
    e->bias = calloc(n_bias + 1, sizeof *e->bias);
    e->banned = calloc(n_banned + 1, sizeof *e->banned);
    if (!e->counts || !e->first || !e->bias || !e->banned)
        return cls_fail(CLSAMPLE_E_MEMORY, "no memory for %zu edits", n_bias + n_banned);
    n_bias = n_banned = 0;
    for (uint32_t i = 0; i < n; i++) {
        clsample_params p;
        const clsample_status st = cls_copy_params(sets, i, &p);
        if (st != CLSAMPLE_OK) return st;
        e->counts[2 * i] = p.n_bias;
        e->counts[2 * i + 1] = p.n_banned;
        if (p.n_bias) memcpy(e->bias + n_bias, p.bias, p.n_bias * sizeof *p.bias);
        if (p.n_banned) memcpy(e->banned + n_banned, p.banned, p.n_banned * sizeof *p.banned);
        n_bias += p.n_bias;
        n_banned += p.n_banned;
    }
    return CLSAMPLE_OK;
}

/* ---- Lists ---- */

/* An edit with its number in its set, by which several of one id stay in their order. */
typedef struct numbered_edit {
    cls_edit edit;
    uint32_t number;
} numbered_edit;

static int by_id(const void *left, const void *right)
{
    const numbered_edit *a = left, *b = right;
    if (a->edit.id != b->edit.id) return a->edit.id < b->edit.id ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Sort n edits into `out`, one a token: what is added to it adds up; its number is returned. */
static uint32_t merge(numbered_edit *all, uint32_t n, cls_edit *out)
{
    uint32_t count = 0;

    qsort(all, n, sizeof *all, by_id);
    for (uint32_t i = 0; i < n; i++) {
        const cls_edit e = all[i].edit;
        if (count == 0 || out[count - 1].id != e.id)
            out[count++] = e;
        else
            out[count - 1].add = cls_edited(out[count - 1].add, e.add);
    }
    return count;
}

static uint32_t add_bans(const int32_t *ids, uint32_t n, numbered_edit *all, uint32_t count)
{
    for (uint32_t i = 0; i < n; i++, count++)
        all[count] = (numbered_edit){ { (cls_uint)ids[i], CLS_BITS_MASKED }, count };
    return count;
}

/* The lists of all sets, behind one another, from number `at` on; `held` ids are banned too. Returns the
 * number after the last. */
static uint32_t list_edits(const cls_edits *e, const cls_history *held, numbered_edit *all, cls_edit *list,
                           uint32_t at, uint32_t *first)
{
    const clsample_bias *bias = e->bias;
    const int32_t *banned = e->banned;

    for (uint32_t i = 0; i < e->sets; i++) {
        const uint32_t n_bias = e->counts[2 * i], n_banned = e->counts[2 * i + 1];
        uint32_t n = 0;
        for (; n < n_bias; n++)
            all[n] = (numbered_edit){ { (cls_uint)bias[n].id, cls_bits_of(bias[n].add) }, n };
        n = add_bans(banned, n_banned, all, n);
        if (held) n = add_bans(held->held, held->n_held, all, n);
        bias += n_bias;
        banned += n_banned;
        first[i] = at;
        at += merge(all, n, list + at);
    }
    first[e->sets] = at;
    return at;
}

/* `room`: edits of all sets, once or, if some are held, twice. */
static clsample_status make_list(clsample_ctx *ctx, const cls_history *held, size_t room, cls_edits *e)
{
    clsample_status st = CLSAMPLE_OK;
    cl_int err = CL_SUCCESS;
    numbered_edit *all = calloc(room, sizeof *all);
    cls_edit *list = calloc(room, sizeof *list);

    if (!all || !list) {
        st = cls_fail(CLSAMPLE_E_MEMORY, "no memory for %zu edits", room);
        goto cleanup;
    }
    uint32_t n = list_edits(e, NULL, all, list, 0, e->first);
    if (held) n = list_edits(e, held, all, list, n, e->first + e->sets + 1);
    e->mem =
        clCreateBuffer(ctx->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, n * sizeof *list, list, &err);
    CLS_CL(err, "clCreateBuffer edits");
cleanup:
    free(list);
    free(all);
    return st;
}

clsample_status cls_need_edits(clsample_ctx *ctx, const clsample_params *sets, uint32_t n, uint32_t vocab,
                               const cls_history *held, cls_edits *e)
{
    size_t n_bias = 0, n_banned = 0;
    clsample_status st = CLSAMPLE_OK;

    if (is_same(e, sets, n, vocab)) return st;
    cls_free_edits(e);
    CLS_TRY(count_edits(sets, n, vocab, &n_bias, &n_banned));
    const uint64_t own = (uint64_t)n_bias + n_banned;
    const uint64_t room = held ? 2 * own + (uint64_t)n * held->n_held : own;
    if (room > UINT32_MAX) /* which is as far as kernels count */
        CLS_TRY(cls_fail(CLSAMPLE_E_MEMORY, "no memory for %llu edits of %u rows", (unsigned long long)room,
                         (unsigned)n));
    CLS_TRY(keep_source(sets, n, n_bias, n_banned, e));
    e->sets = n;
    e->until = held ? held->until : 0;
    if (room > 0) CLS_TRY(make_list(ctx, held, (size_t)room, e));
    e->vocab = vocab;
cleanup:
    if (st != CLSAMPLE_OK) cls_free_edits(e);
    return st;
}

void cls_place_edits(const cls_edits *e, uint32_t set, cls_plan_row *plan)
{
    plan->edits = e->first[set];
    plan->n_edits = e->first[set + 1] - e->first[set];
    if (e->until > 0) plan->flags |= CLS_PLAN_EXTRAS;
}

void cls_hold_edits(const cls_edits *e, uint32_t set, cls_row_state *state)
{
    if (e->until == 0 || state->length - state->prompt >= e->until) return;
    const cls_uint *first = e->first + e->sets + 1;
    state->later = state->edits;
    state->n_later = state->n_edits;
    state->edits = first[set];
    state->n_edits = first[set + 1] - first[set];
    state->until = e->until;
}
