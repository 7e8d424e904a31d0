/* SPDX-License-Identifier: Apache-2.0 */
/* Wrong arguments: each gives its status and a message that names the argument and what is allowed, writes
 * nothing, and leaves *event NULL. */
#include "common.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, VOCAB = 70, STRIDE = 72, OUT_BYTES = 4096 };

/* The arguments of a call, good ones to begin with. */
typedef struct call {
    clsample_ctx *ctx;
    cl_command_queue queue;
    clsample_params params[ROWS];
    uint32_t n_params;
    clsample_logits logits;
    const clsample_logits *logits_at;
    clsample_output output;
    const clsample_output *output_at;
    cl_mem out; /* of the filter call */
    size_t out_offset;
    int what;
    cl_uint n_wait;
    const cl_event *wait_list;
} call;

/* Made once: buffers that fit the shape exactly, or not at all. */
static struct {
    cl_mem logits, big, tokens, results, masked, small, foreign;
    cl_context context; /* another one, on the same device */
    cl_command_queue queue;
    cl_event event;
} made;

static void make_objects(void)
{
    cl_int error = CL_SUCCESS;
    float x[ROWS * STRIDE];

    row_random(x, COUNT(x), SHAPE_NORMAL, 1);
    made.logits = dev_upload(x, ((ROWS - 1) * STRIDE + VOCAB) * sizeof *x);
    made.big = dev_buffer(OUT_BYTES);
    made.tokens = dev_buffer(OUT_BYTES);
    made.results = dev_buffer(OUT_BYTES);
    made.masked = dev_buffer(OUT_BYTES);
    made.small = dev_buffer(4);
    made.context = clCreateContext(NULL, 1, &dev.id, NULL, NULL, &error);
    ck_cl(error);
    made.queue = clCreateCommandQueue(made.context, dev.id, 0, &error);
    ck_cl(error);
    made.foreign = clCreateBuffer(made.context, CL_MEM_READ_WRITE, OUT_BYTES, NULL, &error);
    ck_cl(error);
    made.event = clCreateUserEvent(dev.context, &error);
    ck_cl(error);
    ck_cl(clSetUserEventStatus(made.event, CL_COMPLETE));
}

static void release_objects(void)
{
    clReleaseMemObject(made.logits);
    clReleaseMemObject(made.big);
    clReleaseMemObject(made.tokens);
    clReleaseMemObject(made.results);
    clReleaseMemObject(made.masked);
    clReleaseMemObject(made.small);
    clReleaseMemObject(made.foreign);
    clReleaseEvent(made.event);
    clReleaseCommandQueue(made.queue);
    clReleaseContext(made.context);
}

static void good_call(call *c)
{
    *c = (call){ .ctx = dev.ctx, .queue = dev.queue, .n_params = ROWS };
    for (int i = 0; i < ROWS; i++)
        c->params[i] = params_default();
    c->logits = logits_of(made.logits, CLSAMPLE_F32, ROWS, VOCAB);
    c->logits.stride = STRIDE;
    c->output = (clsample_output)CLSAMPLE_OUTPUT_INIT;
    c->output.tokens = made.tokens;
    c->output.results = made.results;
    c->out = made.masked;
    c->logits_at = &c->logits;
    c->output_at = &c->output;
}

static clsample_status run_enqueue(const call *c, cl_event *event)
{
    return clsample_enqueue(c->ctx, c->queue, c->params, c->n_params, c->logits_at, c->output_at, c->n_wait,
                            c->wait_list, event);
}

static clsample_status run_filter(const call *c, cl_event *event)
{
    return clsample_enqueue_filter(c->ctx, c->queue, c->params, c->n_params, c->logits_at,
                                   (clsample_filter_output)c->what, c->out, c->out_offset, c->n_wait,
                                   c->wait_list, event);
}

/* ---- Ways to spoil it ---- */

#define BOTH 3u
#define DRAW 1u
#define FILTER 2u

/* clang-format off */
typedef enum spoil {
    NULL_CTX, NULL_QUEUE, FOREIGN_QUEUE, NULL_LOGITS, NULL_MEM, FOREIGN_MEM, DTYPE, ROWS_ZERO, VOCAB_IS,
    STRIDE_IS, LOGITS_SIZE, LOGITS_OFFSET, SMALL_LOGITS, SMALL_FALLBACK, FALLBACK_OFFSET,
    FOREIGN_FALLBACK, N_PARAMS, PARAMS_SIZE, FLAGS, TEMPERATURE, MIN_P, TOP_P, RULES, LAST_TEMPERATURE,
    LAST_SIZE, TYPICAL_P, TOP_N_SIGMA, ORDER, ORDER_TWICE, LEFT_OUT, LEFT_OUT_GREEDY, N_BIAS, N_BANNED,
    BIAS_ID, BIAS_ADD, BANNED_ID, GREEDY_BANNED_ID, LAST_BANNED_ID,
    NULL_OUTPUT, NO_OUTPUT, OUTPUT_SIZE, OUTPUT_RESERVED, SMALL_TOKENS, SMALL_RESULTS,
    TOKENS_OFFSET, RESULTS_OFFSET, TOKENS_FAR, RESULTS_FAR, FOREIGN_TOKENS, FOREIGN_RESULTS,
    TOKENS_OVER_LOGITS, RESULTS_OVER_LOGITS, WHAT, NULL_OUT, SMALL_OUT, OUT_OFFSET, OUT_FAR, FOREIGN_OUT,
    OUT_OVER_LOGITS, WAIT_WITHOUT_LIST, LIST_WITHOUT_COUNT
} spoil;
/* clang-format on */

static void spoil_input(call *c, spoil how, double value)
{
    switch (how) {
    case NULL_CTX: c->ctx = NULL; break;
    case NULL_QUEUE: c->queue = NULL; break;
    case FOREIGN_QUEUE: c->queue = made.queue; break;
    case NULL_LOGITS: c->logits_at = NULL; break;
    case NULL_MEM: c->logits.mem = NULL; break;
    case FOREIGN_MEM: c->logits.mem = made.foreign; break;
    case DTYPE: c->logits.dtype = (uint32_t)value; break;
    case ROWS_ZERO: c->logits.rows = 0; break;
    case VOCAB_IS: c->logits.vocab = (uint32_t)value; break;
    case STRIDE_IS: c->logits.stride = value < 0.0 ? SIZE_MAX / 4 : (size_t)value; break;
    case LOGITS_SIZE: c->logits.size = (uint32_t)value; break;
    case LOGITS_OFFSET: c->logits.offset = (size_t)value; break;
    case SMALL_LOGITS: c->logits.mem = made.small; break;
    case SMALL_FALLBACK: c->logits.fallback = made.small; break;
    case FALLBACK_OFFSET:
        c->logits.fallback = made.big;
        c->logits.fallback_offset = (size_t)value;
        break;
    case FOREIGN_FALLBACK: c->logits.fallback = made.foreign; break;
    case WAIT_WITHOUT_LIST: c->n_wait = 1; break;
    case LIST_WITHOUT_COUNT: c->wait_list = &made.event; break;
    default: break;
    }
}

static void spoil_params(call *c, spoil how, double value)
{
    switch (how) {
    case N_PARAMS: c->n_params = (uint32_t)value; break;
    case PARAMS_SIZE: c->params[0].size = (uint32_t)value; break;
    case FLAGS: c->params[0].flags = (uint32_t)value; break;
    case TEMPERATURE: c->params[0].temperature = (float)value; break;
    case MIN_P: c->params[0].min_p = (float)value; break;
    case TOP_P: c->params[0].top_p = (float)value; break;
    case RULES: c->params[0].rules = (uint32_t)value; break;
    case LAST_TEMPERATURE: c->params[ROWS - 1].temperature = (float)value; break;
    case LAST_SIZE: c->params[ROWS - 1].size += 4; break;
    default: break;
    }
}

static void spoil_program(call *c, spoil how, double value)
{
    static const clsample_bias good = { 1, 1.0f };
    static clsample_bias bias[2];
    static int32_t banned[2];
    clsample_params *p = &c->params[how == LAST_BANNED_ID ? ROWS - 1 : 0];

    bias[0] = bias[1] = good;
    banned[0] = banned[1] = VOCAB - 1;
    switch (how) {
    case TYPICAL_P: p->typical_p = (float)value; break;
    case TOP_N_SIGMA: p->top_n_sigma = (float)value; break;
    case ORDER: p->order[0] = (uint8_t)value; break;
    case ORDER_TWICE: p->order[0] = p->order[1] = CLSAMPLE_SAMPLER_TOP_K; break;
    case LEFT_OUT_GREEDY: p->flags = CLSAMPLE_GREEDY; /* fall through */
    case LEFT_OUT:
        p->order[0] = CLSAMPLE_SAMPLER_TOP_P;
        p->top_k = 4;
        break;
    case N_BIAS: p->n_bias = (uint32_t)value; break; /* and NULL */
    case N_BANNED: p->n_banned = (uint32_t)value; break;
    case BIAS_ID: bias[1].id = (int32_t)value; break;
    case BIAS_ADD: bias[1].add = (float)value; break;
    case GREEDY_BANNED_ID: p->temperature = 0.0f; /* fall through */
    case BANNED_ID:
    case LAST_BANNED_ID: banned[1] = (int32_t)value; break;
    default: return;
    }
    if (how < BIAS_ID || how > LAST_BANNED_ID) return;
    p->bias = bias;
    p->banned = banned;
    p->n_bias = p->n_banned = 2;
}

static void spoil_output(call *c, spoil how, double value)
{
    clsample_output *o = &c->output;

    switch (how) {
    case NULL_OUTPUT: c->output_at = NULL; break;
    case NO_OUTPUT: o->tokens = o->results = NULL; break;
    case OUTPUT_SIZE: o->size = (uint32_t)value; break;
    case OUTPUT_RESERVED: o->reserved = (uint32_t)value; break;
    case SMALL_TOKENS: o->tokens = made.small; break;
    case SMALL_RESULTS: o->results = made.small; break;
    case TOKENS_OFFSET: o->tokens_offset = (size_t)value; break;
    case RESULTS_OFFSET: o->results_offset = (size_t)value; break;
    case TOKENS_FAR: o->tokens_offset = OUT_BYTES - 4 * ROWS + 4; break;
    case RESULTS_FAR: o->results_offset = OUT_BYTES - 16 * ROWS + 16; break;
    case FOREIGN_TOKENS: o->tokens = made.foreign; break;
    case FOREIGN_RESULTS: o->results = made.foreign; break;
    case TOKENS_OVER_LOGITS: o->tokens = made.logits; break;
    case RESULTS_OVER_LOGITS: o->results = made.logits; break;
    case WHAT: c->what = (int)value; break;
    case NULL_OUT: c->out = NULL; break;
    case SMALL_OUT: c->out = made.small; break;
    case OUT_OFFSET: c->out_offset = (size_t)value; break;
    case OUT_FAR: c->out_offset = OUT_BYTES - 4 * ROWS * VOCAB + 4; break;
    case FOREIGN_OUT: c->out = made.foreign; break;
    case OUT_OVER_LOGITS: c->out = made.logits; break;
    default: break;
    }
}

static const struct {
    unsigned calls;
    spoil how;
    double value;
    clsample_status status;
    const char *name, *allowed; /* both stand in the message; NULL: nothing more to say */
} wrong[] = {
    { BOTH, NULL_CTX, 0, CLSAMPLE_E_ARGUMENT, "ctx", "clsample_create" },
    { BOTH, NULL_QUEUE, 0, CLSAMPLE_E_ARGUMENT, "queue", "NULL" },
    { BOTH, FOREIGN_QUEUE, 0, CLSAMPLE_E_ARGUMENT, "queue", "context" },
    { BOTH, NULL_LOGITS, 0, CLSAMPLE_E_ARGUMENT, "logits", "NULL" },
    { BOTH, NULL_MEM, 0, CLSAMPLE_E_ARGUMENT, "logits.mem", "NULL" },
    { BOTH, FOREIGN_MEM, 0, CLSAMPLE_E_ARGUMENT, "logits.mem", "context" },
    { BOTH, DTYPE, 3, CLSAMPLE_E_ARGUMENT, "dtype is 3", "2" },
    { BOTH, ROWS_ZERO, 0, CLSAMPLE_E_ARGUMENT, "rows is 0", "1" },
    { BOTH, VOCAB_IS, 0, CLSAMPLE_E_ARGUMENT, "vocab is 0", "1048576" },
    { BOTH, VOCAB_IS, 1048577, CLSAMPLE_E_ARGUMENT, "vocab is 1048577", "1048576" },
    { BOTH, STRIDE_IS, 69, CLSAMPLE_E_ARGUMENT, "stride is 69", "70" },
    { BOTH, STRIDE_IS, -1, CLSAMPLE_E_ARGUMENT, "stride", NULL },
    { BOTH, LOGITS_SIZE, 0, CLSAMPLE_E_ARGUMENT, "logits.size is 0", "_INIT" },
    { BOTH, LOGITS_OFFSET, 4, CLSAMPLE_E_BUFFER, "logits.mem", "offset 4" },
    { BOTH, LOGITS_OFFSET, 2, CLSAMPLE_E_BUFFER, "logits", "multiple of 4" },
    { BOTH, LOGITS_OFFSET, 4000000, CLSAMPLE_E_BUFFER, "logits.mem", "offset 4000000" },
    { BOTH, STRIDE_IS, 73, CLSAMPLE_E_BUFFER, "logits.mem", "needs 864" },
    { BOTH, SMALL_LOGITS, 0, CLSAMPLE_E_BUFFER, "holds 4 bytes", "needs 856" },
    { BOTH, SMALL_FALLBACK, 0, CLSAMPLE_E_BUFFER, "logits.fallback", "needs 856" },
    { BOTH, FALLBACK_OFFSET, 6, CLSAMPLE_E_BUFFER, "fallback", "multiple of 4" },
    { BOTH, FALLBACK_OFFSET, OUT_BYTES - 4, CLSAMPLE_E_BUFFER, "fallback", "needs 856" },
    { BOTH, FOREIGN_FALLBACK, 0, CLSAMPLE_E_ARGUMENT, "logits.fallback", "context" },
    { BOTH, N_PARAMS, 0, CLSAMPLE_E_ARGUMENT, "n_params is 0", "3" },
    { BOTH, N_PARAMS, 2, CLSAMPLE_E_ARGUMENT, "n_params is 2", "3" },
    { BOTH, N_PARAMS, 4, CLSAMPLE_E_ARGUMENT, "n_params is 4", "3" },
    { BOTH, PARAMS_SIZE, 0, CLSAMPLE_E_ARGUMENT, "params.size is 0", "_INIT" },
    { BOTH, PARAMS_SIZE, 1e6, CLSAMPLE_E_ARGUMENT, "params.size is 1000000", "_INIT" },
    { BOTH, FLAGS, 2, CLSAMPLE_E_VERSION, "flags is 0x2", "GREEDY" },
    { BOTH, FLAGS, 0x80000001, CLSAMPLE_E_VERSION, "flags is 0x80000001", "GREEDY" },
    { BOTH, TEMPERATURE, -0.5, CLSAMPLE_E_ARGUMENT, "temperature is -0.5", "at least 0" },
    { BOTH, TEMPERATURE, -1e-45, CLSAMPLE_E_ARGUMENT, "temperature is -1", "at least 0" },
    { BOTH, TEMPERATURE, (double)NAN, CLSAMPLE_E_ARGUMENT, "temperature is ", "finite" },
    { BOTH, TEMPERATURE, (double)INFINITY, CLSAMPLE_E_ARGUMENT, "temperature is inf", "finite" },
    { BOTH, MIN_P, -0.1, CLSAMPLE_E_ARGUMENT, "min_p is -0.1", "0" },
    { BOTH, MIN_P, 1.1, CLSAMPLE_E_ARGUMENT, "min_p is 1.1", "1" },
    { BOTH, MIN_P, (double)NAN, CLSAMPLE_E_ARGUMENT, "min_p is ", "1" },
    { BOTH, TOP_P, 0, CLSAMPLE_E_ARGUMENT, "top_p is 0", "at most 1" },
    { BOTH, TOP_P, -1, CLSAMPLE_E_ARGUMENT, "top_p is -1", "at most 1" },
    { BOTH, TOP_P, 1.1, CLSAMPLE_E_ARGUMENT, "top_p is 1.1", "at most 1" },
    { BOTH, TOP_P, (double)NAN, CLSAMPLE_E_ARGUMENT, "top_p is ", "at most 1" },
    { BOTH, RULES, 4, CLSAMPLE_E_ARGUMENT, "rules is 4", "3" },
    { BOTH, LAST_TEMPERATURE, -1, CLSAMPLE_E_ARGUMENT, "params[2].temperature is -1", "at least 0" },
    { BOTH, LAST_SIZE, 0, CLSAMPLE_E_ARGUMENT, "params[2].size", "params[0].size" },
    { BOTH, TYPICAL_P, 0, CLSAMPLE_E_ARGUMENT, "params[0].typical_p is 0", "at most 1" },
    { BOTH, TYPICAL_P, 1.1, CLSAMPLE_E_ARGUMENT, "typical_p is 1.1", "at most 1" },
    { BOTH, TYPICAL_P, (double)NAN, CLSAMPLE_E_ARGUMENT, "typical_p is ", "at most 1" },
    { BOTH, TOP_N_SIGMA, (double)NAN, CLSAMPLE_E_ARGUMENT, "params[0].top_n_sigma is ", "finite" },
    { BOTH, TOP_N_SIGMA, (double)INFINITY, CLSAMPLE_E_ARGUMENT, "top_n_sigma is inf", "finite" },
    { BOTH, TOP_N_SIGMA, -(double)INFINITY, CLSAMPLE_E_ARGUMENT, "top_n_sigma is -inf", "finite" },
    { BOTH, ORDER, 9, CLSAMPLE_E_ARGUMENT, "params[0].order[0] is 9", "clsample_sampler" },
    { BOTH, ORDER, 255, CLSAMPLE_E_ARGUMENT, "order[0] is 255", "clsample_sampler" },
    { BOTH, ORDER, CLSAMPLE_SAMPLER_BIAS, CLSAMPLE_E_ARGUMENT, "order[0] is 7", "no edit" },
    { BOTH, ORDER_TWICE, 0, CLSAMPLE_E_ARGUMENT, "order names top_k twice", "once" },
    { BOTH, LEFT_OUT, 0, CLSAMPLE_E_ARGUMENT, "order leaves out top_k", "turn it off" },
    { BOTH, LEFT_OUT_GREEDY, 0, CLSAMPLE_E_ARGUMENT, "order leaves out top_k", "turn it off" },
    { BOTH, N_BIAS, 1, CLSAMPLE_E_ARGUMENT, "params[0].bias is NULL", "1 elements" },
    { BOTH, N_BIAS, UINT32_MAX, CLSAMPLE_E_ARGUMENT, "params[0].bias is NULL", "4294967295 elements" },
    { BOTH, N_BANNED, 2, CLSAMPLE_E_ARGUMENT, "params[0].banned is NULL", "2 elements" },
    { BOTH, BIAS_ID, -1, CLSAMPLE_E_ARGUMENT, "params[0].bias[1].id is -1", "0 to 69" },
    { BOTH, BIAS_ID, VOCAB, CLSAMPLE_E_ARGUMENT, "bias[1].id is 70", "0 to 69" },
    { BOTH, BIAS_ADD, (double)NAN, CLSAMPLE_E_ARGUMENT, "bias[1].add is ", "finite" },
    { BOTH, BIAS_ADD, (double)INFINITY, CLSAMPLE_E_ARGUMENT, "bias[1].add is inf", "finite" },
    { BOTH, BANNED_ID, -1, CLSAMPLE_E_ARGUMENT, "params[0].banned[1] is -1", "0 to 69" },
    { BOTH, GREEDY_BANNED_ID, VOCAB, CLSAMPLE_E_ARGUMENT, "banned[1] is 70", "0 to 69" },
    { BOTH, LAST_BANNED_ID, VOCAB, CLSAMPLE_E_ARGUMENT, "params[2].banned[1] is 70", "0 to 69" },
    { BOTH, WAIT_WITHOUT_LIST, 0, CLSAMPLE_E_ARGUMENT, "n_wait is 1", "wait_list" },
    { BOTH, LIST_WITHOUT_COUNT, 0, CLSAMPLE_E_ARGUMENT, "n_wait is 0", "wait_list" },
    { DRAW, NULL_OUTPUT, 0, CLSAMPLE_E_ARGUMENT, "output", "NULL" },
    { DRAW, NO_OUTPUT, 0, CLSAMPLE_E_ARGUMENT, "output.tokens", "output.results" },
    { DRAW, OUTPUT_SIZE, 8, CLSAMPLE_E_ARGUMENT, "output.size is 8", "_INIT" },
    { DRAW, OUTPUT_RESERVED, 1, CLSAMPLE_E_VERSION, "reserved is 1", "0" },
    { DRAW, SMALL_TOKENS, 0, CLSAMPLE_E_BUFFER, "output.tokens", "needs 12" },
    { DRAW, SMALL_RESULTS, 0, CLSAMPLE_E_BUFFER, "output.results", "needs 48" },
    { DRAW, TOKENS_OFFSET, 6, CLSAMPLE_E_BUFFER, "output.tokens", "multiple of 4" },
    { DRAW, RESULTS_OFFSET, 8, CLSAMPLE_E_BUFFER, "output.results", "multiple of 16" },
    { DRAW, TOKENS_FAR, 0, CLSAMPLE_E_BUFFER, "output.tokens", "needs 12" },
    { DRAW, RESULTS_FAR, 0, CLSAMPLE_E_BUFFER, "output.results", "needs 48" },
    { DRAW, FOREIGN_TOKENS, 0, CLSAMPLE_E_ARGUMENT, "output.tokens", "context" },
    { DRAW, FOREIGN_RESULTS, 0, CLSAMPLE_E_ARGUMENT, "output.results", "context" },
    { DRAW, TOKENS_OVER_LOGITS, 0, CLSAMPLE_E_ARGUMENT, "output.tokens", "overlap" },
    { DRAW, RESULTS_OVER_LOGITS, 0, CLSAMPLE_E_ARGUMENT, "output.results", "overlap" },
    { FILTER, WHAT, 2, CLSAMPLE_E_ARGUMENT, "what is 2", "1" },
    { FILTER, WHAT, -1, CLSAMPLE_E_ARGUMENT, "what is -1", "1" },
    { FILTER, NULL_OUT, 0, CLSAMPLE_E_ARGUMENT, "out", "NULL" },
    { FILTER, SMALL_OUT, 0, CLSAMPLE_E_BUFFER, "out holds 4 bytes", "needs 840" },
    { FILTER, OUT_OFFSET, 2, CLSAMPLE_E_BUFFER, "out", "multiple of 4" },
    { FILTER, OUT_FAR, 0, CLSAMPLE_E_BUFFER, "out", "needs 840" },
    { FILTER, FOREIGN_OUT, 0, CLSAMPLE_E_ARGUMENT, "out", "context" },
    { FILTER, OUT_OVER_LOGITS, 0, CLSAMPLE_E_ARGUMENT, "out", NULL },
};

static void check_note(clsample_status got, clsample_status want, const char *name, const char *allowed)
{
    const clsample_error *e = clsample_last_error();

    ck_assert_msg(got == want, "%s instead of %s (%s); last message: %s", clsample_status_name(got),
                  clsample_status_name(want), name, e->message);
    ck_assert_int_eq(e->status, want);
    ck_assert_msg(strstr(e->message, name) != NULL, "no \"%s\" in: %s", name, e->message);
    ck_assert_msg(!allowed || strstr(e->message, allowed), "no \"%s\" in: %s", allowed ? allowed : "",
                  e->message);
    ck_assert((want == CLSAMPLE_E_OPENCL) == (e->cl_error != CL_SUCCESS));
    ck_assert((want == CLSAMPLE_E_OPENCL) == (e->cl_call[0] != '\0'));
}

static void check_untouched(cl_mem mem)
{
    unsigned char bytes[OUT_BYTES];

    dev_download(mem, 0, bytes, sizeof bytes);
    ck_assert(is_poison(bytes, sizeof bytes));
}

/* Run a call that must fail. `event` begins as something that is not NULL. */
static void check_failure(const call *c, bool filter, clsample_status want, const char *name,
                          const char *allowed)
{
    cl_event event = made.event;

    dev_poison(made.tokens, OUT_BYTES);
    dev_poison(made.results, OUT_BYTES);
    dev_poison(made.masked, OUT_BYTES);
    const clsample_status got = filter ? run_filter(c, &event) : run_enqueue(c, &event);
    check_note(got, want, name, allowed);
    ck_assert_ptr_null(event);
    ck_cl(clFinish(dev.queue));
    check_untouched(made.tokens);
    check_untouched(made.results);
    check_untouched(made.masked);
}

START_TEST(wrong_argument)
{
    for (unsigned which = DRAW; which <= FILTER; which++) {
        call c;

        if (!(wrong[_i].calls & which)) { continue; }
        good_call(&c);
        spoil_input(&c, wrong[_i].how, wrong[_i].value);
        spoil_params(&c, wrong[_i].how, wrong[_i].value);
        spoil_program(&c, wrong[_i].how, wrong[_i].value);
        spoil_output(&c, wrong[_i].how, wrong[_i].value);
        check_failure(&c, which == FILTER, wrong[_i].status, wrong[_i].name, wrong[_i].allowed);
    }
}
END_TEST

/* The same arguments unspoiled, at the limits of what is allowed. */
START_TEST(good_arguments)
{
    static const clsample_bias bias[] = { { 0, 1.0f }, { VOCAB - 1, -INFINITY } };
    static const int32_t banned[] = { VOCAB - 1, 0, 0 };
    call c;
    cl_event event = NULL;

    good_call(&c);
    c.n_wait = 1;
    c.wait_list = &made.event;
    c.params[0].temperature = 0.0f;
    c.params[1].top_p = 1e-45f;
    c.params[2].min_p = 1.0f;
    c.params[1].typical_p = 1e-45f;
    c.params[2].top_n_sigma = -FLT_MAX;
    c.params[0].bias = bias;
    c.params[0].n_bias = COUNT(bias);
    c.params[1].bias = bias; /* of which none counts */
    c.params[2].banned = banned;
    c.params[2].n_banned = COUNT(banned);
    c.output.tokens_offset = OUT_BYTES - 4 * ROWS;
    c.output.results_offset = OUT_BYTES - 16 * ROWS;
    c.out_offset = OUT_BYTES - 4 * ROWS * VOCAB;
    for (int filter = 0; filter < 2; filter++) {
        ck_ok(filter ? run_filter(&c, &event) : run_enqueue(&c, &event));
        ck_assert_ptr_nonnull(event);
        ck_cl(clWaitForEvents(1, &event));
        ck_cl(clReleaseEvent(event));
    }
    c.output.tokens = NULL;
    ck_ok(run_enqueue(&c, NULL));
    c.output.tokens = made.tokens;
    c.output.results = NULL;
    ck_ok(run_enqueue(&c, NULL));
    ck_cl(clFinish(dev.queue));
}
END_TEST

/* A success leaves the note of the last failure alone. */
START_TEST(success_keeps_the_note)
{
    call c;
    clsample_error before;

    good_call(&c);
    c.params[0].top_p = 7.0f;
    ck_assert_int_eq(run_enqueue(&c, NULL), CLSAMPLE_E_ARGUMENT);
    before = *clsample_last_error();
    c.params[0].top_p = 1.0f;
    ck_ok(run_enqueue(&c, NULL));
    ck_assert_mem_eq(&before, clsample_last_error(), sizeof before);
    ck_cl(clFinish(dev.queue));
}
END_TEST

/* ---- Structs of other versions ---- */

/* What a newer program passes: more bytes than this library knows, zero or set. */
START_TEST(longer_structs)
{
    struct {
        clsample_params p;
        unsigned char more[8];
    } params[ROWS];
    struct {
        clsample_logits l;
        unsigned char more[8];
    } logits;
    struct {
        clsample_output o;
        unsigned char more[8];
    } output;
    unsigned char *const end[3] = { params[ROWS - 1].more, logits.more, output.more };
    static const char *const name[3] = { "params", "logits", "output" };
    cl_event event = made.event;
    call c;

    good_call(&c);
    memset(params, 0, sizeof params);
    memset(&logits, 0, sizeof logits);
    memset(&output, 0, sizeof output);
    for (int i = 0; i < ROWS; i++) {
        params[i].p = c.params[i];
        params[i].p.size = (uint32_t)sizeof params[i];
    }
    logits.l = c.logits;
    logits.l.size = (uint32_t)sizeof logits;
    output.o = c.output;
    output.o.size = (uint32_t)sizeof output;
    ck_ok(clsample_enqueue(dev.ctx, dev.queue, &params[0].p, ROWS, &logits.l, &output.o, 0, NULL, NULL));
    for (int i = 0; i < 3; i++) {
        end[i][7] = 1;
        check_note(
            clsample_enqueue(dev.ctx, dev.queue, &params[0].p, ROWS, &logits.l, &output.o, 0, NULL, &event),
            CLSAMPLE_E_VERSION, name[i], "knows");
        ck_assert_ptr_null(event);
        end[i][7] = 0;
    }
    ck_cl(clFinish(dev.queue));
}
END_TEST

/* ---- OpenCL's own failures ---- */

/* More memory than any device has: the driver refuses the buffer before `host` is read. */
START_TEST(opencl_failure)
{
    static const float x[ROWS * STRIDE];
    clsample_result results[ROWS];
    call c;

    good_call(&c);
    memset(results, POISON, sizeof results);
    c.logits.stride = (size_t)1 << 50;
    check_note(clsample_sample(dev.ctx, c.params, ROWS, &c.logits, x, results), CLSAMPLE_E_OPENCL,
               "clCreateBuffer", "CL_");
    ck_assert(is_poison(results, sizeof results));
    /* The context is as good as before. */
    c.logits.stride = STRIDE;
    ck_ok(clsample_sample(dev.ctx, c.params, ROWS, &c.logits, x, results));
    ck_assert_uint_eq(results[0].kept, VOCAB);
}
END_TEST

/* An event of another OpenCL context in the wait list, and one that is NULL: the call says so before a driver
 * sees it. */
START_TEST(wrong_event)
{
    cl_int error = CL_SUCCESS;
    cl_event other = _i ? clCreateUserEvent(made.context, &error) : NULL;
    call c;

    ck_cl(error);
    if (other) ck_cl(clSetUserEventStatus(other, CL_COMPLETE));
    good_call(&c);
    c.n_wait = 1;
    c.wait_list = &other;
    for (int filter = 0; filter < 2; filter++)
        check_failure(&c, filter, CLSAMPLE_E_ARGUMENT, "wait_list[0]",
                      _i ? "another OpenCL context" : "NULL");
    if (other) ck_cl(clReleaseEvent(other));
    good_call(&c);
    ck_ok(run_enqueue(&c, NULL));
    ck_cl(clFinish(dev.queue));
}
END_TEST

/* ---- The other calls ---- */

START_TEST(wrong_create)
{
    static const struct {
        clsample_options options;
        clsample_status status;
        const char *name, *allowed;
    } bad[] = {
        { { .size = sizeof(clsample_options), .work_group = 3 },
          CLSAMPLE_E_ARGUMENT,
          "work_group is 3",
          "power of two" },
        { { .size = sizeof(clsample_options), .work_group = 4 },
          CLSAMPLE_E_ARGUMENT,
          "work_group is 4",
          "8" },
        { { .size = sizeof(clsample_options), .work_group = 512 },
          CLSAMPLE_E_ARGUMENT,
          "work_group is 512",
          "256" },
        { { .size = sizeof(clsample_options), .lanes = 5 }, CLSAMPLE_E_ARGUMENT, "lanes is 5", "16" },
        { { .size = sizeof(clsample_options), .groups = 5000 },
          CLSAMPLE_E_ARGUMENT,
          "groups is 5000",
          "4096" },
        { { .size = sizeof(clsample_options), .flags = CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_GROUPS },
          CLSAMPLE_E_ARGUMENT,
          "flags is 0x6",
          "at most one" },
        { { .size = sizeof(clsample_options), .flags = 64 }, CLSAMPLE_E_VERSION, "flags is 0x40", "0x3f" },
        { { .size = sizeof(clsample_options), .reserved = 9 }, CLSAMPLE_E_VERSION, "reserved is 9", "0" },
        { { .size = 4 }, CLSAMPLE_E_ARGUMENT, "options.size is 4", "_INIT" },
    };
    clsample_ctx *ctx = dev.ctx;

    for (size_t i = 0; i < COUNT(bad); i++) {
        ctx = dev.ctx;
        check_note(clsample_create(dev.context, dev.id, &bad[i].options, &ctx), bad[i].status, bad[i].name,
                   bad[i].allowed);
        ck_assert_ptr_null(ctx);
    }
    check_note(clsample_create(NULL, dev.id, NULL, &ctx), CLSAMPLE_E_ARGUMENT, "context", "NULL");
    check_note(clsample_create(dev.context, NULL, NULL, &ctx), CLSAMPLE_E_ARGUMENT, "device", "NULL");
    check_note(clsample_create(dev.context, dev.id, NULL, NULL), CLSAMPLE_E_ARGUMENT, "ctx", "NULL");
    clsample_destroy(NULL);
}
END_TEST

/* The blocking call writes its results only if all went well. */
START_TEST(wrong_sample)
{
    static const float x[ROWS * STRIDE];
    clsample_result results[ROWS];
    call c;

    good_call(&c);
    memset(results, POISON, sizeof results);
    check_note(clsample_sample(NULL, c.params, ROWS, &c.logits, x, results), CLSAMPLE_E_ARGUMENT, "ctx",
               NULL);
    check_note(clsample_sample(dev.ctx, c.params, ROWS, NULL, x, results), CLSAMPLE_E_ARGUMENT, "logits",
               "NULL");
    check_note(clsample_sample(dev.ctx, c.params, ROWS, &c.logits, NULL, results), CLSAMPLE_E_ARGUMENT,
               "host", "NULL");
    check_note(clsample_sample(dev.ctx, c.params, ROWS, &c.logits, x, NULL), CLSAMPLE_E_ARGUMENT, "results",
               "NULL");
    check_note(clsample_sample(dev.ctx, c.params, 2, &c.logits, x, results), CLSAMPLE_E_ARGUMENT,
               "n_params is 2", "3");
    c.logits.dtype = 7;
    check_note(clsample_sample(dev.ctx, c.params, ROWS, &c.logits, x, results), CLSAMPLE_E_ARGUMENT,
               "dtype is 7", "2");
    good_call(&c);
    c.params[1].top_p = 0.0f;
    check_note(clsample_sample(dev.ctx, c.params, ROWS, &c.logits, x, results), CLSAMPLE_E_ARGUMENT,
               "params[1].top_p is 0", "at most 1");
    ck_assert(is_poison(results, sizeof results));
}
END_TEST

/* Buffers are not looked at, all else is. */
START_TEST(wrong_prepare)
{
    static const int32_t banned[] = { VOCAB };
    call c;

    good_call(&c);
    c.logits.mem = NULL;
    ck_ok(clsample_prepare(dev.ctx, c.params, ROWS, &c.logits));
    ck_ok(clsample_prepare(dev.ctx, c.params, 1, &c.logits));
    ck_ok(clsample_prepare(dev.ctx, NULL, 7, &c.logits));
    check_note(clsample_prepare(NULL, c.params, ROWS, &c.logits), CLSAMPLE_E_ARGUMENT, "ctx",
               "clsample_create");
    check_note(clsample_prepare(dev.ctx, c.params, ROWS, NULL), CLSAMPLE_E_ARGUMENT, "logits", "NULL");
    check_note(clsample_prepare(dev.ctx, c.params, 2, &c.logits), CLSAMPLE_E_ARGUMENT, "n_params is 2", "3");
    c.params[2].top_p = 0.0f;
    check_note(clsample_prepare(dev.ctx, c.params, ROWS, &c.logits), CLSAMPLE_E_ARGUMENT,
               "params[2].top_p is 0", "at most 1");
    c.params[2].top_p = 1.0f;
    c.params[2].banned = banned;
    c.params[2].n_banned = 1;
    check_note(clsample_prepare(dev.ctx, c.params, ROWS, &c.logits), CLSAMPLE_E_ARGUMENT,
               "params[2].banned[0] is 70", "0 to 69");
    good_call(&c);
    c.logits.dtype = 3;
    check_note(clsample_prepare(dev.ctx, NULL, 1, &c.logits), CLSAMPLE_E_ARGUMENT, "dtype is 3", "2");
    good_call(&c);
    c.logits.rows = 0;
    check_note(clsample_prepare(dev.ctx, NULL, 1, &c.logits), CLSAMPLE_E_ARGUMENT, "rows is 0", "1");
}
END_TEST

START_TEST(wrong_devices)
{
    const clsample_options options = test_options();
    clsample_options unknown = options;
    clsample_devices *list = NULL;
    clsample_ctx *ctx = NULL;
    size_t index = 0, n = 0;
    char folder[2];

    unknown.flags = 64;
    check_note(clsample_devices_open(&options, NULL), CLSAMPLE_E_ARGUMENT, "list", "NULL");
    check_note(clsample_devices_open(&unknown, &list), CLSAMPLE_E_VERSION, "flags is 0x40", "0x3f");
    ck_assert_ptr_null(list);
    ck_ok(clsample_devices_open(&options, &list));
    n = clsample_devices_count(list);
    ck_assert_uint_ge(n, 1);
    ck_assert_ptr_null(clsample_devices_info(list, n));
    ck_assert_ptr_null(clsample_devices_info(NULL, 0));
    ck_assert_uint_eq(clsample_devices_count(NULL), 0);
    check_note(clsample_devices_check(NULL, 0), CLSAMPLE_E_ARGUMENT, "list", "NULL");
    check_note(clsample_devices_check(list, n), CLSAMPLE_E_ARGUMENT, "index", "entries");
    check_note(clsample_devices_select(NULL, NULL, &index), CLSAMPLE_E_ARGUMENT, "list", "NULL");
    check_note(clsample_devices_select(list, NULL, NULL), CLSAMPLE_E_ARGUMENT, "index", "NULL");
    check_note(clsample_devices_select(list, "", &index), CLSAMPLE_E_ARGUMENT, "selector", "cpu");
    check_note(clsample_devices_select(list, "no such device", &index), CLSAMPLE_E_NO_DEVICE,
               "no such device", NULL);
    ctx = dev.ctx;
    check_note(clsample_devices_create(NULL, 0, dev.context, &ctx), CLSAMPLE_E_ARGUMENT, "list", "NULL");
    ck_assert_ptr_null(ctx);
    check_note(clsample_devices_create(list, n, dev.context, &ctx), CLSAMPLE_E_ARGUMENT, "index", "entries");
    check_note(clsample_devices_create(list, 0, NULL, &ctx), CLSAMPLE_E_ARGUMENT, "context", "NULL");
    check_note(clsample_devices_create(list, 0, dev.context, NULL), CLSAMPLE_E_ARGUMENT, "ctx", "NULL");
    clsample_devices_close(list);
    clsample_devices_close(NULL);
    check_note(clsample_default_cache_dir(NULL, 4), CLSAMPLE_E_ARGUMENT, "dir", "NULL");
    ck_assert_int_eq(clsample_default_cache_dir(folder, 0), CLSAMPLE_E_BUFFER);
}
END_TEST

static Suite *make(void)
{
    Suite *s = suite_create("args");
    TCase *calls = tcase_create("calls");

    tcase_add_unchecked_fixture(calls, make_objects, release_objects);
    tcase_add_test(calls, good_arguments);
    tcase_add_loop_test(calls, wrong_argument, 0, (int)COUNT(wrong));
    tcase_add_test(calls, success_keeps_the_note);
    tcase_add_test(calls, longer_structs);
    tcase_add_test(calls, opencl_failure);
    tcase_add_loop_test(calls, wrong_event, 0, 2);
    tcase_add_test(calls, wrong_create);
    tcase_add_test(calls, wrong_sample);
    tcase_add_test(calls, wrong_prepare);
    tcase_add_test(calls, wrong_devices);
    suite_add_tcase(s, calls);
    return s;
}

int main(void)
{
    return test_main(make);
}
