/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Which stages there are ---- */

static void plan_stages(const clsample_params *p, explanation *e)
{
    const clsample_sampler_entry *list[SAMPLING_MOST];
    clsample_params so_far = CLSAMPLE_PARAMS_INIT;

    so_far.rules = p->rules;
    memcpy(so_far.order, p->order, sizeof so_far.order);
    e->count = sampling_list(p, list);
    for (size_t i = 0; i < e->count; i++) {
        sampling_copy(&so_far, p, list[i]);
        e->stages[i] = (explain_stage){ .sampler = list[i], .params = so_far };
    }
}

/* ---- Running them ---- */

/* One row of the uploaded logits. */
static clsample_logits row_logits(const explain *x, uint32_t row)
{
    clsample_logits in = CLSAMPLE_LOGITS_INIT;

    in.mem = x->mem;
    in.dtype = x->logits.dtype;
    in.rows = 1;
    in.vocab = x->logits.vocab;
    in.offset = (size_t)row * in.vocab * cli_dtype_size(in.dtype);
    return in;
}

static int run_filter(cli *c, const explain *x, uint32_t row, const clsample_params *params,
                      clsample_filter_output what, float *to)
{
    const clsample_logits in = row_logits(x, row);

    if (clsample_enqueue_filter(x->device->ctx, x->device->queue, params, 1, &in, what, x->filtered, 0, 0,
                                NULL, NULL) != CLSAMPLE_OK)
        return cli_fail_library(c);
    const cl_int error = clEnqueueReadBuffer(x->device->queue, x->filtered, CL_TRUE, 0, in.vocab * sizeof *to,
                                             to, 0, NULL, NULL);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clEnqueueReadBuffer filtered logits");
}

/* Collect what the masked logits leave: what is not -inf, and nothing else, is in the cut that a draw with
 * the same parameters draws from. A probability may round to 0. */
static int keep_tokens(cli *c, const explain *x, explain_stage *s)
{
    size_t kept = 0;

    for (uint32_t i = 0; i < x->logits.vocab; i++)
        kept += x->masked[i] > -INFINITY;
    s->tokens = calloc(kept ? kept : 1, sizeof *s->tokens);
    if (!s->tokens) return cli_fail_memory(c);
    for (uint32_t i = 0; i < x->logits.vocab; i++)
        if (x->masked[i] > -INFINITY) s->tokens[s->kept++] = (explain_token){ i, x->masked[i], x->probs[i] };
    return CLI_DONE;
}

/* The tokens that an edit names. */
static bool *mark_edited(const explain_stage *s, uint32_t vocab)
{
    const clsample_params *p = &s->params;
    bool *edited = calloc(vocab, sizeof *edited);

    for (uint32_t i = 0; edited && s->sampler->type == CLSAMPLE_TYPE_BIAS && i < p->n_bias; i++)
        edited[p->bias[i].id] = true;
    for (uint32_t i = 0; edited && s->sampler->type == CLSAMPLE_TYPE_IDS && i < p->n_banned; i++)
        edited[p->banned[i]] = true;
    return edited;
}

/* What an edit did to the logits that the one before it left. Only what it names has changed: beside an
 * infinite logit all others are masked, and come back when that one is banned. */
static int compare_logits(cli *c, const explain *x, explain_stage *s)
{
    const uint32_t vocab = x->logits.vocab;
    bool *edited = mark_edited(s, vocab);
    size_t count = 0;

    for (uint32_t i = 0; edited && i < vocab; i++) {
        edited[i] = edited[i] && x->masked[i] != x->before[i];
        count += edited[i];
    }
    s->changed = calloc(count ? count : 1, sizeof *s->changed);
    for (uint32_t i = 0; edited && s->changed && i < vocab; i++)
        if (edited[i]) s->changed[s->n_changed++] = (explain_change){ i, x->before[i], x->masked[i] };
    memcpy(x->before, x->masked, vocab * sizeof *x->before);
    free(edited);
    return edited && s->changed ? CLI_DONE : cli_fail_memory(c);
}

static int run_stage(cli *c, const explain *x, uint32_t row, explain_stage *s)
{
    int code = run_filter(c, x, row, &s->params, CLSAMPLE_MASKED_LOGITS, x->masked);

    if (code == CLI_DONE) code = run_filter(c, x, row, &s->params, CLSAMPLE_PROBABILITIES, x->probs);
    if (code == CLI_DONE) code = keep_tokens(c, x, s);
    if (code == CLI_DONE && s->sampler->kind == CLSAMPLE_KIND_EDIT) code = compare_logits(c, x, s);
    return code;
}

/* What the first edit is compared with: NaN and -inf alike as -inf. */
static int read_before(cli *c, const explain *x, uint32_t row, const explanation *e)
{
    const clsample_params nothing = CLSAMPLE_PARAMS_INIT;

    if (e->stages[0].sampler->kind != CLSAMPLE_KIND_EDIT) return CLI_DONE;
    return run_filter(c, x, row, &nothing, CLSAMPLE_MASKED_LOGITS, x->before);
}

/* The draw with all samplers, and the greedy choice. */
static int run_draws(cli *c, const explain *x, uint32_t row, explanation *e)
{
    const clsample_logits in = row_logits(x, row);
    clsample_output out = CLSAMPLE_OUTPUT_INIT;
    clsample_params params = x->params;
    clsample_result results[2];

    out.results = x->results;
    params.stream = x->logits.first_row + row;
    for (size_t i = 0; i < 2; i++) {
        out.results_offset = i * sizeof *results;
        if (clsample_enqueue(x->device->ctx, x->device->queue, &params, 1, &in, &out, 0, NULL, NULL) !=
            CLSAMPLE_OK)
            return cli_fail_library(c);
        params.flags |= CLSAMPLE_GREEDY;
    }
    const cl_int error =
        clEnqueueReadBuffer(x->device->queue, x->results, CL_TRUE, 0, sizeof results, results, 0, NULL, NULL);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clEnqueueReadBuffer results");
    e->drawn = results[0];
    e->greedy = results[1];
    return CLI_DONE;
}

int explain_run(cli *c, const explain *x, uint32_t row, explanation *e)
{
    e->row = x->logits.first_row + row;
    plan_stages(&x->params, e);
    /* First, since it alone is sure to be refused if the parameters are wrong as a whole. */
    int code = run_draws(c, x, row, e);
    if (code == CLI_DONE) code = read_before(c, x, row, e);
    for (size_t i = 0; i < e->count && code == CLI_DONE; i++)
        code = run_stage(c, x, row, &e->stages[i]);
    return code;
}

void explanation_free(explanation *e)
{
    for (size_t i = 0; i < e->count; i++) {
        free(e->stages[i].tokens);
        free(e->stages[i].changed);
    }
    e->count = 0;
}

/* ---- Loading ---- */

int explain_load(cli *c, explain *x)
{
    const size_t row = x->logits.vocab * sizeof(float);
    const size_t bytes = (size_t)x->logits.rows * x->logits.vocab * cli_dtype_size(x->logits.dtype);
    cl_int error = CL_SUCCESS;

    x->masked = malloc(row);
    x->probs = malloc(row);
    x->before = malloc(row);
    if (!x->masked || !x->probs || !x->before) return cli_fail_memory(c);
    x->mem = cli_upload(c, x->device, x->logits.data, bytes, "clCreateBuffer logits");
    if (!x->mem) return CLI_FAILED;
    x->filtered = clCreateBuffer(x->device->context, CL_MEM_READ_WRITE, row, NULL, &error);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clCreateBuffer filtered logits");
    x->results =
        clCreateBuffer(x->device->context, CL_MEM_READ_WRITE, 2 * sizeof(clsample_result), NULL, &error);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clCreateBuffer results");
}

void explain_free(explain *x)
{
    if (x->device->queue) clFinish(x->device->queue); /* after a failure commands may still use the buffers */
    if (x->results) clReleaseMemObject(x->results);
    if (x->filtered) clReleaseMemObject(x->filtered);
    if (x->mem) clReleaseMemObject(x->mem);
    free(x->probs);
    free(x->masked);
    free(x->before);
}
