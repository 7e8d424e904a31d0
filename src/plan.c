/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters checked, and turned into a plan: the samplers that are on, in the order asked for, as ops. */
#include "samplers.h"

#include <string.h>

/* The order that counts, as numbers of samplers that end with 0. */
typedef struct sampler_order {
    uint8_t sampler[CLSAMPLE_MAX_ORDER + 1];
} sampler_order;

static void order_of_rules(uint32_t rules, sampler_order *order)
{
    const clsample_sampler_entry *e;

    *order = (sampler_order){ { 0 } };
    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        if (e->place[rules]) order->sampler[e->place[rules] - 1] = (uint8_t)e->sampler;
}

static bool contains(const sampler_order *order, uint32_t sampler)
{
    return memchr(order->sampler, (int)sampler, CLSAMPLE_MAX_ORDER) != NULL;
}

static clsample_status check_named(const sampler_order *order, uint32_t index)
{
    for (size_t i = 0; order->sampler[i]; i++) {
        const uint8_t number = order->sampler[i];
        const cls_sampler *s = cls_sampler_of(number);
        if (!s || !s->make)
            return cls_fail(CLSAMPLE_E_ARGUMENT,
                            "params[%u].order[%zu] is %u; it must be a clsample_sampler that is no edit",
                            (unsigned)index, i, (unsigned)number);
        if (memchr(order->sampler, number, i))
            return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].order names %s twice; once is allowed",
                            (unsigned)index, s->entry.name);
    }
    return CLSAMPLE_OK;
}

static clsample_status find_order(const cls_making *m, uint32_t index, sampler_order *order)
{
    const clsample_params *p = m->params;
    const clsample_sampler_entry *e;

    if (p->order[0] == 0) {
        order_of_rules(p->rules, order);
        return CLSAMPLE_OK;
    }
    *order = (sampler_order){ { 0 } };
    for (size_t i = 0; i < CLSAMPLE_MAX_ORDER && p->order[i]; i++)
        order->sampler[i] = p->order[i];
    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++) {
        const bool neutral = e->sampler == CLSAMPLE_SAMPLER_TEMPERATURE && p->temperature == 1.0f;
        if (e->kind != CLSAMPLE_KIND_EDIT && !neutral && !contains(order, e->sampler) &&
            cls_sampler_on(cls_sampler_of(e->sampler), m))
            return cls_fail(CLSAMPLE_E_ARGUMENT,
                            "params[%u].order leaves out %s, which is on; name it, or turn it off",
                            (unsigned)index, e->name);
    }
    return check_named(order, index);
}

static clsample_status check_params(const clsample_params *p, uint32_t index)
{
    const clsample_sampler_entry *e;

    if (p->flags & ~CLSAMPLE_GREEDY)
        return cls_fail(CLSAMPLE_E_VERSION,
                        "params[%u].flags is 0x%x; this library knows only CLSAMPLE_GREEDY (0x1)",
                        (unsigned)index, (unsigned)p->flags);
    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++) {
        const clsample_status st = cls_check_sampler(cls_sampler_of(e->sampler), p, index);
        if (st != CLSAMPLE_OK) return st;
    }
    if ((p->n_bias && !p->bias) || (p->n_banned && !p->banned))
        return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].%s is NULL, but it is to have %u elements",
                        (unsigned)index, p->n_bias && !p->bias ? "bias" : "banned",
                        (unsigned)(p->n_bias && !p->bias ? p->n_bias : p->n_banned));
    if (p->n_bias > CLSAMPLE_MAX_EDITS || p->n_banned > CLSAMPLE_MAX_EDITS - p->n_bias)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "params[%u].n_bias and n_banned are %u and %u; at most %u are allowed together",
                        (unsigned)index, (unsigned)p->n_bias, (unsigned)p->n_banned, CLSAMPLE_MAX_EDITS);
    if (p->rules > CLSAMPLE_RULES_LLAMA_CPP)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "params[%u].rules is %u; it must be a clsample_rules, 0 to %u",
                        (unsigned)index, (unsigned)p->rules, (unsigned)CLSAMPLE_RULES_LLAMA_CPP);
    return CLSAMPLE_OK;
}

/* ---- The program ---- */

/* A scale that nothing was measured at before it might as well be the first thing. */
static bool measures_before(const cls_plan_row *plan)
{
    for (cls_uint i = 0; i < plan->n_ops; i++)
        if (plan->op[i].code & CLS_NEED_MASS) return true;
    return false;
}

static void add_op(cls_making *m, const cls_sampler *s, cls_plan_row *out)
{
    cls_op *op = &out->op[out->n_ops];

    s->make(m, op);
    if (op->code != CLS_OP_SCALE) {
        out->n_ops++;
        return;
    }
    m->in_force = m->temperature;
    cls_op_scale(*op, &out->draw);
    if (!measures_before(out))
        cls_op_scale(*op, &out->scale);
    else if (m->params->temperature != 1.0f)
        out->n_ops++;
}

/* The mass of the whole row is needed if an op reads masses before any has cut the row. */
static void set_flags(cls_plan_row *out)
{
    const cls_uint code = out->n_ops ? out->op[0].code : CLS_OP_DRAW;

    if (code & CLS_NEED_MASS) out->flags |= CLS_PLAN_SUMS;
    if (code & CLS_NEED_MOMENTS) out->flags |= CLS_PLAN_MOMENTS;
    for (cls_uint i = 0; i < out->n_ops; i++)
        if (out->op[i].code & CLS_OP_EXTRA) out->flags |= CLS_PLAN_EXTRAS;
}

static clsample_status make_program(const clsample_params *p, uint32_t index, uint32_t vocab, bool filter,
                                    cls_plan_row *out)
{
    cls_making m = { .params = p, .vocab = vocab, .filter = filter, .in_force = cls_real_of(1.0f) };
    sampler_order order;

    const clsample_status st = find_order(&m, index, &order);
    if (st != CLSAMPLE_OK) return st;
    out->scale = out->draw = cls_make_scale(m.in_force);
    if (cls_is_greedy(p)) {
        out->flags = CLS_PLAN_GREEDY;
        return CLSAMPLE_OK;
    }
    m.temperature = cls_clamped_temperature(p->temperature);
    out->temperature = cls_real_float(m.temperature);
    out->inverse =
        cls_real_float(cls_real_rounded(cls_real_quotient(m.in_force, cls_real_of(out->temperature)), 53));
    for (size_t i = 0; order.sampler[i]; i++) {
        const cls_sampler *s = cls_sampler_of(order.sampler[i]);
        if (cls_sampler_on(s, &m)) add_op(&m, s, out);
    }
    set_flags(out);
    return CLSAMPLE_OK;
}

clsample_status cls_copy_params(const clsample_params *params, uint32_t index, clsample_params *p)
{
    *p = (clsample_params)CLSAMPLE_PARAMS_INIT;
    if (!params) return CLSAMPLE_OK;
    const unsigned char *set = (const unsigned char *)params + (size_t)index * params->size;
    uint32_t size;
    memcpy(&size, set, sizeof size);
    if (size != params->size)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "params[%u].size is %u, but params[0].size is %u; they must be equal",
                        (unsigned)index, (unsigned)size, (unsigned)params->size);
    return cls_copy_struct(p, sizeof *p, CLS_PARAMS_SIZE_1, set, "params");
}

/* What a plan draws with: all of it that may change from call to call at no cost. */
static void set_draw(const clsample_params *p, cls_plan_row *out)
{
    out->seed_lo = (uint32_t)p->seed;
    out->seed_hi = (uint32_t)(p->seed >> 32);
    out->step_lo = (uint32_t)p->step;
    out->step_hi = (uint32_t)(p->step >> 32);
    out->stream = p->stream;
}

static clsample_status make_plan(const clsample_params *p, uint32_t index, uint32_t vocab, bool filter,
                                 cls_plan_row *out)
{
    clsample_status st = check_params(p, index);

    *out = (cls_plan_row){ .temperature = 1.0f, .inverse = 1.0f };
    if (st == CLSAMPLE_OK) st = make_program(p, index, vocab, filter, out);
    if (p->n_bias || p->n_banned) out->flags |= CLS_PLAN_EXTRAS;
    set_draw(p, out);
    return st;
}

clsample_status cls_plan(const clsample_params *params, uint32_t index, uint32_t vocab, bool filter,
                         cls_plan_row *out)
{
    clsample_params p;
    const clsample_status st = cls_copy_params(params, index, &p);

    return st == CLSAMPLE_OK ? make_plan(&p, index, vocab, filter, out) : st;
}

clsample_status cls_plan_again(cls_planned *last, const clsample_params *params, uint32_t vocab, bool filter,
                               cls_plan_row *out)
{
    clsample_params p, asked;
    clsample_status st = cls_copy_params(params, 0, &p);

    if (st != CLSAMPLE_OK) return st;
    asked = p;
    p.seed = p.step = p.stream = 0;
    if (last->vocab != vocab || last->filter != filter || memcmp(&last->params, &p, sizeof p) != 0) {
        last->vocab = 0;
        if ((st = make_plan(&p, 0, vocab, filter, &last->plan)) != CLSAMPLE_OK) return st;
        *last = (cls_planned){ .params = p, .vocab = vocab, .filter = filter, .plan = last->plan };
    }
    *out = last->plan;
    set_draw(&asked, out);
    return st;
}
