/* SPDX-License-Identifier: Apache-2.0 */
/* The run of clsample generate: the model behind clsample_generate, texts as they come, Ctrl-C, clocks. */
#include "generate_run.h"
#include "model_error.h"
#include "terminal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define PART 128u    /* tokens of a prompt between two looks at the clock: what CLBlast takes at a time */
#define WARM 4u      /* steps before sampling is measured */
#define MEASURED 16u /* ... and those over which it is */

enum { STEP_DONE = 0, STEP_INTERRUPTED = 1, STEP_FAILED = 2 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* A second Ctrl-C ends the process as usual. */
static void catch_interrupts(bool on)
{
    struct sigaction action = { .sa_handler = on ? on_interrupt : SIG_DFL, .sa_flags = (int)SA_RESETHAND };

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- The model ---- */

typedef struct run {
    cli *c;
    generate *g;
    bool progress;
    bool prompt_done;
    uint32_t *lengths, *fresh; /* [samples]: a part of the prompt */
} run;

static int fail_opencl(generate *g, cl_int code, const char *call)
{
    (void)model_fail(&g->error, "%s failed with OpenCL error %d", call, (int)code);
    return STEP_FAILED;
}

static int enqueue(generate *g, const clsample_model_step *s, const uint32_t *lengths, const uint32_t *fresh,
                   cl_mem logits)
{
    const llama_step step = { .ids = s->ids,
                              .stride = s->stride,
                              .lengths = lengths,
                              .fresh = fresh,
                              .logits = logits,
                              .n_wait = s->n_wait,
                              .wait_list = s->wait_list,
                              .event = s->event };

    return llama_enqueue(g->llama, &step, &g->error) ? STEP_DONE : STEP_FAILED;
}

/* The prompt comes in parts, so that progress can be shown and Ctrl-C be heard. They are those that the model
 * makes of it anyway, so it counts as one step. */
static int enqueue_prompt(run *r, const clsample_model_step *s)
{
    generate *g = r->g;
    const uint32_t length = s->lengths[0];
    int code = STEP_DONE;

    for (uint32_t done = 0; code == STEP_DONE && done < length;) {
        const uint32_t n = length - done < PART ? length - done : PART;
        done += n;
        for (uint32_t i = 0; i < s->rows; i++) {
            r->lengths[i] = done;
            r->fresh[i] = n;
        }
        code = enqueue(g, s, r->lengths, r->fresh, done == length ? s->logits : NULL);
        const cl_int error = clFinish(s->queue);
        if (code == STEP_DONE && error != CL_SUCCESS) code = fail_opencl(g, error, "clFinish");
        if (r->progress) fprintf(stderr, "\rprompt: %" PRIu32 " of %" PRIu32 " tokens", done, length);
        if (code == STEP_DONE && interrupted) code = STEP_INTERRUPTED;
    }
    if (r->progress) fprintf(stderr, "\r%40s\r", "");
    if (g->echo && g->streams[0].to) {
        terminal_write(stdout, g->text, g->length);
        fflush(stdout);
    }
    g->prompt_end = now();
    return code;
}

static int run_model(void *user, const clsample_model_step *s)
{
    run *r = user;

    if (r->prompt_done) return enqueue(r->g, s, s->lengths, s->fresh, s->logits);
    r->prompt_done = true;
    r->g->begin = now();
    const cl_int error = clRetainMemObject(s->logits); /* for the measurement afterwards */
    if (error != CL_SUCCESS) return fail_opencl(r->g, error, "clRetainMemObject");
    r->g->logits = s->logits;
    return enqueue_prompt(r, s);
}

static clsample_next take_token(void *user, const clsample_token *t)
{
    generate *g = ((run *)user)->g;
    text_stream *s = &g->streams[t->row];

    /* As the library has it for stop sequences: with the last of min_tokens they begin to count. */
    s->early = t->position + 1 - g->prompt_ids.count < g->min_tokens;
    g->last_token = now();
    g->nan_tokens[t->row] += t->status == CLSAMPLE_ROW_NAN_IGNORED;
    if (!tokenizer_is_control(g->tokenizer, t->token)) {
        const gguf_string bytes = tokenizer_bytes(g->tokenizer, t->token);
        text_stream_push(s, bytes.text, bytes.length);
    }
    if (interrupted || s->failed || ferror(stdout)) return CLSAMPLE_CANCEL;
    return s->stopped ? CLSAMPLE_STOP_ROW : CLSAMPLE_CONTINUE;
}

/* ---- The loop ---- */

static clsample_generation what_to_generate(const generate *g)
{
    clsample_generation what = CLSAMPLE_GENERATION_INIT;

    what.flags = g->eager ? CLSAMPLE_EAGER : 0;
    what.vocab = llama_vocab(g->llama);
    what.prompts = 1;
    what.ids = g->prompt_ids.list;
    what.ids_stride = (uint32_t)g->prompt_ids.count;
    what.samples = g->samples;
    what.params = &g->params;
    what.max_length = g->stride;
    return what;
}

static int run_plainly(void *user, const clsample_model_step *s)
{
    return enqueue(user, s, s->lengths, s->fresh, s->logits);
}

/* Drivers compile when a kernel is first enqueued, some for seconds: two steps from the prompt's first token,
 * so that neither prompt nor text are timed with that. What fails here fails again, and is told then. */
static void warm_up(generate *g)
{
    const uint32_t one = 1;
    const clsample_texts texts = CLSAMPLE_TEXTS_INIT;
    clsample_generation what = what_to_generate(g);

    what.model = run_plainly;
    what.model_user = g;
    what.lengths = &one;
    what.max_new_tokens = 2;
    (void)clsample_generate(g->device.ctx, g->device.queue, &what, &texts);
}

static int run_loop(cli *c, generate *g, run *r)
{
    clsample_generation what = what_to_generate(g);
    clsample_texts texts = CLSAMPLE_TEXTS_INIT;

    what.model = run_model;
    what.model_user = what.token_user = r;
    what.token = take_token;
    what.max_new_tokens = g->max_tokens;
    what.min_tokens = g->min_tokens;
    what.n_eos = (uint32_t)g->ends.count;
    what.eos = g->ends.list;
    texts.stride = g->stride;
    texts.ids = g->ids;
    texts.logprobs = g->logprobs;
    texts.lengths = g->lengths;
    texts.finish = g->finish;
    const clsample_status status = clsample_generate(g->device.ctx, g->device.queue, &what, &texts);
    g->interrupted = interrupted;
    for (uint32_t i = 0; i < g->samples; i++)
        text_stream_end(&g->streams[i]);
    if (status == CLSAMPLE_OK || (status == CLSAMPLE_E_MODEL && g->interrupted)) return CLI_DONE;
    return status == CLSAMPLE_E_MODEL ? cli_fail_model(c, &g->error) : cli_fail_library(c);
}

/* ---- How long a step takes beside the model ---- */

typedef struct idle {
    const generate *g;
    uint32_t steps;
    double begin;
} idle;

/* A model that has the last step's logits always, and takes no time. */
static int run_idle(void *user, const clsample_model_step *s)
{
    idle *i = user;
    const size_t size = (size_t)s->rows * s->vocab * sizeof(cl_float);
    cl_int error = CL_SUCCESS;

    if (i->steps == 0)
        error = clEnqueueCopyBuffer(s->queue, i->g->logits, s->logits, 0, 0, size, 0, NULL, NULL);
    if (i->steps == WARM) {
        error = clFinish(s->queue);
        i->begin = now();
    }
    i->steps++;
    return error == CL_SUCCESS ? 0 : 1;
}

/* The same loop once more, without the model and without an end of text. What fails here costs a figure. */
static void measure_sampling(generate *g)
{
    clsample_generation what = what_to_generate(g);
    const clsample_texts texts = CLSAMPLE_TEXTS_INIT;
    idle i = { .g = g };

    what.model = run_idle;
    what.model_user = &i;
    what.max_length = 0;
    what.max_new_tokens = WARM + MEASURED;
    if (clsample_generate(g->device.ctx, g->device.queue, &what, &texts) == CLSAMPLE_OK && i.steps > WARM)
        g->sampling = (now() - i.begin) / (i.steps - WARM);
}

int generate_run(cli *c, generate *g)
{
    run r = { .c = c, .g = g, .progress = !c->json && terminal_moves(stderr) };

    r.lengths = calloc(g->samples, sizeof *r.lengths);
    r.fresh = calloc(g->samples, sizeof *r.fresh);
    int code = r.lengths && r.fresh ? CLI_DONE : cli_fail_memory(c);
    catch_interrupts(true);
    if (code == CLI_DONE) {
        if (r.progress) fprintf(stderr, "compiling ...");
        warm_up(g);
        code = run_loop(c, g, &r);
    }
    for (uint32_t i = 0; code == CLI_DONE && i < g->samples; i++)
        if (g->streams[i].failed) code = cli_fail_memory(c);
    if (code == CLI_DONE && !g->interrupted && g->logits) measure_sampling(g);
    catch_interrupts(false);
    free(r.lengths);
    free(r.fresh);
    return code;
}

/* ---- Figures ---- */

uint64_t generate_count(const generate *g)
{
    uint64_t tokens = 0;

    for (uint32_t i = 0; i < g->samples; i++)
        tokens += g->lengths[i] - (g->prompt_ids.count < g->lengths[i] ? g->prompt_ids.count : g->lengths[i]);
    return tokens;
}

uint64_t generate_nan_count(const generate *g)
{
    uint64_t tokens = 0;

    for (uint32_t i = 0; i < g->samples; i++)
        tokens += g->nan_tokens[i];
    return tokens;
}

double generate_speed(const generate *g)
{
    const uint64_t tokens = generate_count(g);

    if (tokens <= g->samples || g->last_token <= g->prompt_end) return 0;
    return (double)(tokens - g->samples) / (g->last_token - g->prompt_end);
}

/* A step makes a token of each text that has not ended; the longest tells how many steps there were. */
double generate_share(const generate *g)
{
    uint32_t longest = 0;

    for (uint32_t i = 0; i < g->samples; i++)
        longest = g->lengths[i] > longest ? g->lengths[i] : longest;
    const double steps = (double)longest - (double)g->prompt_ids.count - 1;
    if (g->sampling <= 0 || steps < 1 || g->last_token <= g->prompt_end) return -1;
    const double share = g->sampling * steps / (g->last_token - g->prompt_end);
    return share < 1 ? share : 1;
}

const char *generate_finish(const generate *g, uint32_t sample)
{
    return g->streams[sample].stopped ? "stop" : clsample_finish_name(g->finish[sample]);
}
