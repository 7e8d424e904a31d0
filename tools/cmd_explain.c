/* SPDX-License-Identifier: Apache-2.0 */
/* clsample explain: what each sampler keeps of a row of logits, and the probabilities after it. */
#include "explain.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define SHOWN 10     /* tokens or changed logits listed for a stage in text */
#define BAR_WIDTH 32 /* characters for probability 1 */

/* ---- JSON ---- */

static json_t *json_ids(const explain_stage *s)
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

static json_t *json_probs(const explain_stage *s)
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

static json_t *json_words(const explain *x, const explain_stage *s)
{
    json_t *words = json_array();

    for (size_t i = 0; i < s->kept; i++) {
        if (!cli_json_append(words, cli_token_text(&x->logits, (int32_t)s->tokens[i].id))) {
            json_decref(words);
            return NULL;
        }
    }
    return words;
}

static json_t *json_changed(const explain_stage *s)
{
    json_t *changed = json_array();

    for (size_t i = 0; i < s->n_changed; i++) {
        const explain_change *x = &s->changed[i];
        if (!cli_json_append(changed,
                             json_pack("[I, o]", (json_int_t)x->id, cli_json_number((double)x->after)))) {
            json_decref(changed);
            return NULL;
        }
    }
    return changed;
}

/* What keeps all that is not masked says so by its number alone. */
static json_t *json_stage(const explain_stage *s)
{
    json_t *object = json_pack("{s:s, s:I}", "name", s->sampler->name, "kept", (json_int_t)s->kept);
    bool ok = object != NULL;

    if (ok && s->sampler->kind == CLSAMPLE_KIND_EDIT)
        ok = json_object_set_new(object, "changed", json_changed(s)) == 0;
    else if (ok && s->sampler->kind != CLSAMPLE_KIND_SCALE)
        ok = json_object_set_new(object, "ids", json_ids(s)) == 0;
    if (ok) return object;
    json_decref(object);
    return NULL;
}

static json_t *json_final(const explain *x, const explain_stage *s)
{
    if (!x->logits.texts) { return json_pack("{s:o, s:o}", "ids", json_ids(s), "probs", json_probs(s)); }
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
    if (row && x->logits.texts &&
        json_object_set_new(row, "word", cli_token_text(&x->logits, e->drawn.token)) != 0) {
        json_decref(row);
        row = NULL;
    }
    return row;
}

/* ---- Text ---- */

/* Best first: the larger logit, then the smaller id. */
static int compare_tokens(const void *a, const void *b)
{
    const explain_token *x = a, *y = b;

    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static void print_logit(float logit)
{
    printf(fabsf(logit) < 1e5f ? "%10.4f" : "%10.3e", (double)logit);
}

static void print_token(const explain *x, const explain_token *t)
{
    const int length = (int)(t->prob * BAR_WIDTH + 0.5f);
    const bool word = t->id < json_array_size(x->logits.texts);

    printf("  %8" PRIu32 " ", t->id);
    print_logit(t->logit);
    printf(" %8.4f%s", (double)t->prob, length || word ? "  " : "");
    for (int i = 0; i < length; i++)
        putchar('#');
    if (word) printf("%*s", BAR_WIDTH - length, "");
    cli_print_token_text(stdout, &x->logits, (int32_t)t->id);
    putchar('\n');
}

static void print_heading(const explain_stage *s, size_t before)
{
    sampling_print(stdout, &s->params, s->sampler);
    printf(": %zu of %zu tokens\n", s->kept, before);
}

/* The changed logits of an edit, in the order of ids. */
static void print_changes(const explain *x, const explain_stage *s)
{
    if (s->n_changed) printf("  %8s %10s %10s\n", "id", "logit", "before");
    for (size_t i = 0; i < s->n_changed && i < SHOWN; i++) {
        const explain_change *change = &s->changed[i];
        printf("  %8" PRIu32 " ", change->id);
        print_logit(change->after);
        putchar(' ');
        print_logit(change->before);
        cli_print_token_text(stdout, &x->logits, (int32_t)change->id);
        putchar('\n');
    }
    if (s->n_changed > SHOWN) printf("  %8s %zu more\n", "...", s->n_changed - SHOWN);
}

/* The best tokens that are left. */
static int print_tokens(cli *c, const explain *x, const explain_stage *s)
{
    explain_token *best = calloc(s->kept ? s->kept : 1, sizeof *best);

    if (!best) return cli_fail_memory(c);
    for (size_t i = 0; i < s->kept; i++)
        best[i] = s->tokens[i];
    qsort(best, s->kept, sizeof *best, compare_tokens);
    if (s->kept) printf("  %8s %10s %8s\n", "id", "logit", "prob");
    for (size_t i = 0; i < s->kept && i < SHOWN; i++)
        print_token(x, &best[i]);
    if (s->kept > SHOWN) printf("  %8s %zu more\n", "...", s->kept - SHOWN);
    free(best);
    return CLI_DONE;
}

/* `before` is the number of tokens that reached the stage. */
static int print_stage(cli *c, const explain *x, const explain_stage *s, size_t before)
{
    int code = CLI_DONE;

    print_heading(s, before);
    if (s->sampler->kind == CLSAMPLE_KIND_EDIT)
        print_changes(x, s);
    else
        code = print_tokens(c, x, s);
    putchar('\n');
    return code;
}

static void print_outcome(const explain *x, const explanation *e)
{
    if (e->drawn.token == CLSAMPLE_NO_TOKEN) {
        printf("no token: every logit is masked");
    } else {
        printf("token %" PRId32, e->drawn.token);
        cli_print_token_text(stdout, &x->logits, e->drawn.token);
        printf(", greedy %" PRId32, e->greedy.token);
        cli_print_token_text(stdout, &x->logits, e->greedy.token);
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
        code = explain_run(c, x, row, &e);
        if (code == CLI_DONE && rows) {
            code = cli_json_append(rows, json_row(x, &e)) ? CLI_DONE : cli_fail_memory(c);
        } else if (code == CLI_DONE) {
            if (row > 0) putchar('\n');
            code = print_row(c, x, &e);
        }
        explanation_free(&e);
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
    return cli_result(c, json_pack("{s:o, s:s, s:o}", "device", cli_json_device(x->device->info), "rules",
                                   cli_rules_name(x->params.rules), "rows", rows));
}

int cmd_explain(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "(--logits X,X,... | --logits-file F) [options]",
        .purpose = "Show what each sampler keeps of a row of logits and the probabilities after it, in the "
                   "order in\n"
                   "which the rules apply them, and the token that is drawn. A full bar is probability 1.",
    };
    cli_device device = { .list = NULL };
    explain x = { .params = CLSAMPLE_PARAMS_INIT, .device = &device };
    cli_input in = CLI_INPUT_INIT;
    const char *selector = NULL;

    cli_add_input(&o, &in);
    cli_add_sampling(&o, &x.params);
    cli_add_device(&o, &selector);
    cli_add_common(&o, c);
    int code = cli_parse(c, &o, argc, argv);
    if (code != CLI_GO) return code;
    code = cli_logits_load(c, &in, &x.logits);
    if (code != CLI_DONE) return code;
    code = cli_device_open(c, selector, &device);
    if (code == CLI_DONE) code = explain_load(c, &x);
    if (code == CLI_DONE) code = c->json ? explain_json(c, &x) : explain_rows(c, &x, NULL);
    explain_free(&x);
    cli_device_close(&device);
    cli_logits_free(&x.logits);
    return code;
}
