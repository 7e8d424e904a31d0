/* SPDX-License-Identifier: Apache-2.0 */
/* clsample explain: what each filter keeps of a row of logits, and the probabilities after it. */
#include "cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define SHOWN 10     /* tokens listed for a stage in text */
#define BAR_WIDTH 32 /* characters for probability 1 */
#define MAX_STAGES 4

typedef enum stage_kind { TEMPERATURE, MIN_P, TOP_K, TOP_P } stage_kind;

static const char *const stage_names[] = { "temperature", "min_p", "top_k", "top_p" };

/* By clsample_rules. */
static const stage_kind stage_order[][MAX_STAGES] = {
    { TEMPERATURE, MIN_P, TOP_K, TOP_P },
    { TEMPERATURE, TOP_K, TOP_P, MIN_P },
    { TEMPERATURE, MIN_P, TOP_K, TOP_P },
    { TOP_K, TOP_P, MIN_P, TEMPERATURE },
};

typedef struct kept_token {
    uint32_t id;
    float logit; /* after the stage */
    float prob;  /* in the distribution that is left after the stage */
} kept_token;

typedef struct stage {
    stage_kind kind;
    clsample_params params; /* this stage and those before it, all others off */
    kept_token *tokens;     /* by ascending id; owned */
    size_t kept;
} stage;

typedef struct explanation {
    uint32_t row; /* its number in the file */
    stage stages[MAX_STAGES];
    size_t count;
    clsample_result drawn, greedy;
} explanation;

typedef struct explain {
    cli_logits logits;
    clsample_params params;
    cli_device device;
    cl_mem mem;            /* all logits */
    cl_mem filtered;       /* float [vocab]: a stage's outcome */
    cl_mem results;        /* clsample_result [2]: drawn, greedy */
    float *masked, *probs; /* [vocab]: the same on the host; owned */
} explain;

/* ---- Which stages there are ---- */

static bool is_greedy(const clsample_params *p)
{
    return (p->flags & CLSAMPLE_GREEDY) || p->temperature == 0;
}

/* Under the seed rules min-p 1 is off in a draw, though the filter alone would work. */
static bool is_on(const clsample_params *p, stage_kind kind)
{
    if (kind == TEMPERATURE) return true;
    if (is_greedy(p)) return false;
    if (kind == MIN_P) return p->min_p > 0 && !(p->rules == CLSAMPLE_RULES_SEED && p->min_p >= 1);
    return kind == TOP_K ? p->top_k > 0 : p->top_p < 1;
}

static void turn_on(clsample_params *to, const clsample_params *from, stage_kind kind)
{
    switch (kind) {
    case TEMPERATURE:
        to->temperature = from->temperature;
        to->flags = from->flags;
        break;
    case MIN_P: to->min_p = from->min_p; break;
    case TOP_K: to->top_k = from->top_k; break;
    case TOP_P: to->top_p = from->top_p; break;
    }
}

static void plan_stages(const clsample_params *p, explanation *e)
{
    clsample_params so_far = CLSAMPLE_PARAMS_INIT;

    so_far.rules = p->rules;
    e->count = 0;
    for (size_t i = 0; i < MAX_STAGES; i++) {
        const stage_kind kind = stage_order[p->rules][i];
        if (!is_on(p, kind)) continue;
        turn_on(&so_far, p, kind);
        e->stages[e->count++] = (stage){ .kind = kind, .params = so_far };
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

    if (clsample_enqueue_filter(x->device.ctx, x->device.queue, params, 1, &in, what, x->filtered, 0, 0, NULL,
                                NULL) != CLSAMPLE_OK) {
        return cli_fail_library(c);
    }
    const cl_int error = clEnqueueReadBuffer(x->device.queue, x->filtered, CL_TRUE, 0, in.vocab * sizeof *to,
                                             to, 0, NULL, NULL);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clEnqueueReadBuffer filtered logits");
}

/* Collect what the masked logits leave: what is not -inf, and nothing else, is in the cut that a draw with
 * the same parameters draws from. A probability may round to 0. */
static int keep_tokens(cli *c, const explain *x, stage *s)
{
    size_t kept = 0;

    for (uint32_t i = 0; i < x->logits.vocab; i++)
        kept += x->masked[i] > -INFINITY;
    s->tokens = calloc(kept ? kept : 1, sizeof *s->tokens);
    if (!s->tokens) return cli_fail_memory(c);
    for (uint32_t i = 0; i < x->logits.vocab; i++) {
        if (x->masked[i] > -INFINITY) { s->tokens[s->kept++] = (kept_token){ i, x->masked[i], x->probs[i] }; }
    }
    return CLI_DONE;
}

static int run_stage(cli *c, const explain *x, uint32_t row, stage *s)
{
    int code = run_filter(c, x, row, &s->params, CLSAMPLE_MASKED_LOGITS, x->masked);

    if (code == CLI_DONE) code = run_filter(c, x, row, &s->params, CLSAMPLE_PROBABILITIES, x->probs);
    if (code == CLI_DONE) code = keep_tokens(c, x, s);
    return code;
}

/* The draw with all filters, and the greedy choice. */
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
        if (clsample_enqueue(x->device.ctx, x->device.queue, &params, 1, &in, &out, 0, NULL, NULL) !=
            CLSAMPLE_OK) {
            return cli_fail_library(c);
        }
        params.flags |= CLSAMPLE_GREEDY;
    }
    const cl_int error =
        clEnqueueReadBuffer(x->device.queue, x->results, CL_TRUE, 0, sizeof results, results, 0, NULL, NULL);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clEnqueueReadBuffer results");
    e->drawn = results[0];
    e->greedy = results[1];
    return CLI_DONE;
}

static int explain_row(cli *c, const explain *x, uint32_t row, explanation *e)
{
    int code = CLI_DONE;

    e->row = x->logits.first_row + row;
    plan_stages(&x->params, e);
    for (size_t i = 0; i < e->count && code == CLI_DONE; i++)
        code = run_stage(c, x, row, &e->stages[i]);
    return code == CLI_DONE ? run_draws(c, x, row, e) : code;
}

static void free_explanation(explanation *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->stages[i].tokens);
}

static int prepare(cli *c, explain *x)
{
    const size_t bytes = (size_t)x->logits.rows * x->logits.vocab * cli_dtype_size(x->logits.dtype);
    cl_int error = CL_SUCCESS;

    x->masked = calloc(x->logits.vocab, sizeof *x->masked);
    x->probs = calloc(x->logits.vocab, sizeof *x->probs);
    if (!x->masked || !x->probs) return cli_fail_memory(c);
    x->mem = cli_upload(c, &x->device, x->logits.data, bytes, "clCreateBuffer logits");
    if (!x->mem) return CLI_FAILED;
    x->filtered =
        clCreateBuffer(x->device.context, CL_MEM_READ_WRITE, x->logits.vocab * sizeof(float), NULL, &error);
    if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clCreateBuffer filtered logits");
    x->results =
        clCreateBuffer(x->device.context, CL_MEM_READ_WRITE, 2 * sizeof(clsample_result), NULL, &error);
    return error == CL_SUCCESS ? CLI_DONE : cli_fail_opencl(c, error, "clCreateBuffer results");
}

static void free_explain(explain *x)
{
    if (x->device.queue) {
        clFinish(x->device.queue);
    } /* after a failure commands may still use the buffers */
    if (x->results) clReleaseMemObject(x->results);
    if (x->filtered) clReleaseMemObject(x->filtered);
    if (x->mem) clReleaseMemObject(x->mem);
    cli_device_close(&x->device);
    free(x->probs);
    free(x->masked);
    cli_logits_free(&x->logits);
}

/* ---- JSON ---- */

static json_t *json_ids(const stage *s)
{
    json_t *ids = json_array();

    for (size_t i = 0; i < s->kept; i++) {
        if (!cli_json_append(ids, json_integer((json_int_t)s->tokens[i].id))) {
            json_decref(ids);
            return NULL;
        }
    }
    return ids;
}

static json_t *json_probs(const stage *s)
{
    json_t *probs = json_array();

    for (size_t i = 0; i < s->kept; i++) {
        if (!cli_json_append(probs, cli_json_number((double)s->tokens[i].prob))) {
            json_decref(probs);
            return NULL;
        }
    }
    return probs;
}

static json_t *json_words(const explain *x, const stage *s)
{
    json_t *words = json_array();

    for (size_t i = 0; i < s->kept; i++) {
        if (!cli_json_append(words, cli_word(&x->logits, (int32_t)s->tokens[i].id))) {
            json_decref(words);
            return NULL;
        }
    }
    return words;
}

static json_t *json_stage(const stage *s)
{
    if (s->kind == TEMPERATURE) {
        return json_pack("{s:s, s:I}", "name", stage_names[s->kind], "kept", (json_int_t)s->kept);
    }
    return json_pack("{s:s, s:I, s:o}", "name", stage_names[s->kind], "kept", (json_int_t)s->kept, "ids",
                     json_ids(s));
}

static json_t *json_final(const explain *x, const stage *s)
{
    if (!x->logits.words) { return json_pack("{s:o, s:o}", "ids", json_ids(s), "probs", json_probs(s)); }
    return json_pack("{s:o, s:o, s:o}", "ids", json_ids(s), "probs", json_probs(s), "words",
                     json_words(x, s));
}

static json_t *json_row(const explain *x, const explanation *e)
{
    json_t *stages = json_array();

    for (size_t i = 0; i < e->count; i++) {
        if (!cli_json_append(stages, json_stage(&e->stages[i]))) {
            json_decref(stages);
            return NULL;
        }
    }
    json_t *row = json_pack("{s:I, s:s, s:i, s:o, s:o, s:i, s:o}", "row", (json_int_t)e->row, "status",
                            clsample_row_status_name(e->drawn.status), "greedy", (int)e->greedy.token,
                            "stages", stages, "final", json_final(x, &e->stages[e->count - 1]), "token",
                            (int)e->drawn.token, "logprob", cli_json_number((double)e->drawn.logprob));
    if (row && x->logits.words &&
        json_object_set_new(row, "word", cli_word(&x->logits, e->drawn.token)) != 0) {
        json_decref(row);
        row = NULL;
    }
    return row;
}

/* ---- Text ---- */

/* Best first: the larger logit, then the smaller id. */
static int compare_tokens(const void *a, const void *b)
{
    const kept_token *x = a, *y = b;

    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static void print_token(const explain *x, const kept_token *t)
{
    const int length = (int)(t->prob * BAR_WIDTH + 0.5f);
    const bool word = t->id < json_array_size(x->logits.words);

    printf("  %8" PRIu32, t->id);
    printf(fabsf(t->logit) < 1e5f ? " %10.4f" : " %10.3e", (double)t->logit);
    printf(" %8.4f%s", (double)t->prob, length || word ? "  " : "");
    for (int i = 0; i < length; i++)
        putchar('#');
    if (word) printf("%*s", BAR_WIDTH - length, "");
    cli_print_word(stdout, &x->logits, (int32_t)t->id);
    putchar('\n');
}

static void print_heading(const stage *s, size_t before)
{
    const clsample_params *p = &s->params;

    switch (s->kind) {
    case TEMPERATURE:
        if (is_greedy(p)) {
            printf("greedy");
        } else {
            printf("temperature %g", (double)p->temperature);
        }
        break;
    case MIN_P: printf("min-p %g", (double)p->min_p); break;
    case TOP_K: printf("top-k %" PRIu32, p->top_k); break;
    case TOP_P: printf("top-p %g", (double)p->top_p); break;
    }
    printf(": %zu of %zu tokens\n", s->kept, before);
    if (s->kept) printf("  %8s %10s %8s\n", "id", "logit", "prob");
}

/* `before` is the number of tokens that reached the stage. */
static int print_stage(cli *c, const explain *x, const stage *s, size_t before)
{
    kept_token *best = calloc(s->kept ? s->kept : 1, sizeof *best);

    if (!best) return cli_fail_memory(c);
    for (size_t i = 0; i < s->kept; i++)
        best[i] = s->tokens[i];
    qsort(best, s->kept, sizeof *best, compare_tokens);
    print_heading(s, before);
    for (size_t i = 0; i < s->kept && i < SHOWN; i++)
        print_token(x, &best[i]);
    if (s->kept > SHOWN) printf("  %8s %zu more\n", "...", s->kept - SHOWN);
    putchar('\n');
    free(best);
    return CLI_DONE;
}

static void print_outcome(const explain *x, const explanation *e)
{
    if (e->drawn.token == CLSAMPLE_NO_TOKEN) {
        printf("no token: every logit is masked");
    } else {
        printf("token %" PRId32, e->drawn.token);
        cli_print_word(stdout, &x->logits, e->drawn.token);
        printf(", greedy %" PRId32, e->greedy.token);
        cli_print_word(stdout, &x->logits, e->greedy.token);
    }
    if (e->drawn.status == CLSAMPLE_ROW_NAN_IGNORED) printf("; NaN logits count as -inf");
    printf("\n");
}

static int print_row(cli *c, const explain *x, const explanation *e)
{
    size_t before = x->logits.vocab;
    int code = CLI_DONE;

    if (x->logits.rows > 1) printf("---- row %" PRIu32 " ----\n", e->row);
    for (size_t i = 0; i < e->count && code == CLI_DONE; i++) {
        code = print_stage(c, x, &e->stages[i], before);
        before = e->stages[i].kept;
    }
    print_outcome(x, e);
    return code;
}

/* ---- All rows ---- */

/* `rows` is the array to add to, or NULL for text. */
static int explain_rows(cli *c, const explain *x, json_t *rows)
{
    int code = CLI_DONE;

    for (uint32_t row = 0; row < x->logits.rows && code == CLI_DONE; row++) {
        explanation e = { .count = 0 };
        code = explain_row(c, x, row, &e);
        if (code == CLI_DONE && rows) {
            code = cli_json_append(rows, json_row(x, &e)) ? CLI_DONE : cli_fail_memory(c);
        } else if (code == CLI_DONE) {
            if (row > 0) putchar('\n');
            code = print_row(c, x, &e);
        }
        free_explanation(&e);
    }
    return code;
}

static int explain_json(cli *c, const explain *x)
{
    json_t *rows = json_array();
    const int code = rows ? explain_rows(c, x, rows) : cli_fail_memory(c);

    if (code != CLI_DONE) {
        json_decref(rows);
        return code;
    }
    return cli_result(c, json_pack("{s:o, s:s, s:o}", "device", cli_json_device(x->device.info), "rules",
                                   cli_rules_name(x->params.rules), "rows", rows));
}

int cmd_explain(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "(--logits X,X,... | --logits-file F) [options]",
        .purpose =
            "Show what each filter keeps of a row of logits and the probabilities after it, in the order in\n"
            "which the rules apply them, and the token that is drawn. A full bar is probability 1.",
    };
    explain x = { .params = CLSAMPLE_PARAMS_INIT };
    cli_input in = CLI_INPUT_INIT;
    const char *device = NULL;

    cli_add_input(&o, &in);
    cli_add_sampling(&o, &x.params);
    cli_add_device(&o, &device);
    cli_add_common(&o, c);
    int code = cli_parse(c, &o, argc, argv);
    if (code != CLI_GO) return code;
    code = cli_logits_load(c, &in, &x.logits);
    if (code != CLI_DONE) return code;
    code = cli_device_open(c, device, &x.device);
    if (code == CLI_DONE) code = prepare(c, &x);
    if (code == CLI_DONE) code = c->json ? explain_json(c, &x) : explain_rows(c, &x, NULL);
    free_explain(&x);
    return code;
}
