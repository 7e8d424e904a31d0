/* SPDX-License-Identifier: Apache-2.0 */
/* clsample draw: tokens for each row of logits, at steps step, step + 1, ... */
#include "cli.h"
#include "sampling.h"

#include <inttypes.h>
#include <stdlib.h>

#define MAX_DRAWS 1000000u
#define QUEUED 1024u /* draws enqueued before the host waits: bounds what the driver has to remember */

typedef struct draw {
    cli_logits logits;
    clsample_params params;
    uint32_t draws;
    cli_device device;
    clsample_result *results; /* [draws, rows]; owned */
} draw;

/* Enqueue all draws; draw i goes to slot i of `results`. */
static int enqueue_draws(cli *c, const draw *d, cl_mem logits, cl_mem results)
{
    clsample_params params = d->params;
    clsample_logits in = CLSAMPLE_LOGITS_INIT;
    clsample_output out = CLSAMPLE_OUTPUT_INIT;

    in.mem = logits;
    in.dtype = d->logits.dtype;
    in.rows = d->logits.rows;
    in.vocab = d->logits.vocab;
    out.results = results;
    for (uint32_t i = 0; i < d->draws; i++) {
        params.step = d->params.step + i;
        out.results_offset = (size_t)i * in.rows * sizeof(clsample_result);
        if (clsample_enqueue(d->device.ctx, d->device.queue, &params, 1, &in, &out, 0, NULL, NULL) !=
            CLSAMPLE_OK) {
            return cli_fail_library(c);
        }
        if (i % QUEUED == QUEUED - 1) {
            const cl_int error = clFinish(d->device.queue);
            if (error != CL_SUCCESS) return cli_fail_opencl(c, error, "clFinish");
        }
    }
    return CLI_DONE;
}

static int run_draws(cli *c, draw *d)
{
    const size_t logit_bytes = (size_t)d->logits.rows * d->logits.vocab * cli_dtype_size(d->logits.dtype);
    const size_t bytes = (size_t)d->draws * d->logits.rows * sizeof(clsample_result);
    cl_int error = CL_SUCCESS;
    cl_mem results = NULL;
    int code = CLI_FAILED;

    cl_mem logits = cli_upload(c, &d->device, d->logits.data, logit_bytes, "clCreateBuffer logits");
    if (!logits) goto cleanup;
    results = clCreateBuffer(d->device.context, CL_MEM_READ_WRITE, bytes, NULL, &error);
    if (error != CL_SUCCESS) {
        code = cli_fail_opencl(c, error, "clCreateBuffer results");
        goto cleanup;
    }
    code = enqueue_draws(c, d, logits, results);
    if (code != CLI_DONE) goto cleanup;
    error = clEnqueueReadBuffer(d->device.queue, results, CL_TRUE, 0, bytes, d->results, 0, NULL, NULL);
    if (error != CL_SUCCESS) code = cli_fail_opencl(c, error, "clEnqueueReadBuffer results");
cleanup:
    clFinish(d->device.queue); /* after a failure earlier commands may still use the buffers */
    if (results) clReleaseMemObject(results);
    if (logits) clReleaseMemObject(logits);
    return code;
}

static const clsample_result *result_at(const draw *d, uint32_t row, uint32_t i)
{
    return &d->results[(size_t)i * d->logits.rows + row];
}

/* ---- JSON ---- */

static json_t *json_row(const draw *d, uint32_t row)
{
    const clsample_result *first = result_at(d, row, 0);
    json_t *tokens = json_array();
    json_t *logprobs = json_array();
    json_t *words = json_array();
    bool ok = tokens && logprobs && words;

    for (uint32_t i = 0; i < d->draws && ok; i++) {
        const clsample_result *r = result_at(d, row, i);
        ok = cli_json_append(tokens, json_integer(r->token)) &&
             cli_json_append(logprobs, cli_json_number((double)r->logprob)) &&
             cli_json_append(words, cli_token_text(&d->logits, r->token));
    }
    json_t *object = json_pack("{s:I, s:s, s:o, s:o, s:I}", "row", (json_int_t)d->logits.first_row + row,
                               "status", clsample_row_status_name(first->status), "tokens", tokens,
                               "logprobs", logprobs, "kept", (json_int_t)first->kept);
    if (d->logits.texts && ok && object) ok = json_object_set(object, "words", words) == 0;
    json_decref(words);
    if (!ok) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static int give_json(cli *c, const draw *d)
{
    json_t *rows = json_array();

    for (uint32_t row = 0; row < d->logits.rows; row++) {
        if (!cli_json_append(rows, json_row(d, row))) {
            json_decref(rows);
            return cli_fail_memory(c);
        }
    }
    return cli_result(c, json_pack("{s:o, s:s, s:o}", "device", cli_json_device(d->device.info), "rules",
                                   cli_rules_name(d->params.rules), "rows", rows));
}

/* ---- Text ---- */

static void print_row(const draw *d, uint32_t row)
{
    const clsample_result *first = result_at(d, row, 0);

    printf("row %" PRIu32 ":", d->logits.first_row + row);
    for (uint32_t i = 0; i < d->draws; i++) {
        const clsample_result *r = result_at(d, row, i);
        printf("%s %" PRId32, i ? "," : "", r->token);
        cli_print_token_text(stdout, &d->logits, r->token);
    }
    if (first->status != CLSAMPLE_ROW_OK) printf("  status %s", clsample_row_status_name(first->status));
    printf("  kept %" PRIu32, first->kept);
    for (uint32_t i = 0; i < d->draws; i++) {
        printf("%s%.4f", i ? ", " : "  logprob ", (double)result_at(d, row, i)->logprob);
    }
    putchar('\n');
}

static int give_text(const draw *d)
{
    for (uint32_t row = 0; row < d->logits.rows; row++)
        print_row(d, row);
    return CLI_DONE;
}

int cmd_draw(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "(--logits X,X,... | --logits-file F) [options]",
        .purpose =
            "Draw tokens for each row of logits. The same logits, options and seed give the same tokens on\n"
            "every device.",
    };
    draw d = { .params = CLSAMPLE_PARAMS_INIT, .draws = 1 };
    cli_input in = CLI_INPUT_INIT;
    const char *device = NULL;

    cli_add_input(&o, &in);
    cli_add_sampling(&o, &d.params);
    cli_add(&o, (cli_option){ .kind = CLI_U32,
                              .name = "draws",
                              .value = "N",
                              .target = &d.draws,
                              .min = 1,
                              .max = MAX_DRAWS,
                              .help = "tokens for each row, at steps step, step + 1, ... (1)" });
    cli_add_device(&o, &device);
    cli_add_common(&o, c);
    int code = cli_parse(c, &o, argc, argv);
    if (code != CLI_GO) return code;
    code = cli_logits_load(c, &in, &d.logits);
    if (code != CLI_DONE) return code;
    d.params.stream = d.logits.first_row;
    d.results = calloc((size_t)d.draws * d.logits.rows, sizeof *d.results);
    code = d.results ? cli_device_open(c, device, &d.device) : cli_fail_memory(c);
    if (code == CLI_DONE) code = run_draws(c, &d);
    if (code == CLI_DONE) code = c->json ? give_json(c, &d) : give_text(&d);
    cli_device_close(&d.device);
    free(d.results);
    cli_logits_free(&d.logits);
    return code;
}
