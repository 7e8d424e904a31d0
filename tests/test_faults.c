/* SPDX-License-Identifier: Apache-2.0 */
/* Every call of OpenCL and every allocation in every public function fails once, and in some functions a
 * second one after it: the library says so, or does without; nothing crashes or hangs; what it holds
 * afterwards is what it held before; and the next call gives the right tokens. The library's files are
 * compiled once more for this (faults.h); at the end the sites that were visited are printed, and one that
 * was not is a failure. */
#include "common.h"
#include "fault_sweep.h"
#include "model.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 3, VOCAB = 1500, LENGTH = 12, MOST = 4000 /* calls of one attempt */ };

/* What an attempt works with. */
typedef struct scene {
    clsample_ctx *ctx;
    clsample_options options;
    cl_command_queue queues[2]; /* in turns, if there are two */
    unsigned turn;
    clsample_params params[ROWS];
    uint32_t n_params;
    clsample_bias bias[ROWS][2];
    int32_t banned[ROWS];
    bool changing; /* the biases are others in each call */
    clsample_logits in;
    clsample_output out;
    cl_mem masked;
    float kept[ROWS * VOCAB]; /* what the filter must give */
    cl_event ready[20];       /* a user event that is complete, over and over */
    clsample_recording *recording;
    uint64_t step; /* of the recording's next repetition */
    int before[FAULT_KINDS];
    int32_t text[ROWS - 1][LENGTH]; /* what is generated, once that is known */
    bool text_is_known;
    const char *wrong; /* what an attempt that went well got wrong */
} scene;

/* One use of the public interface. It gives back all that it takes, and checks its outcome if it went
 * well. */
typedef clsample_status (*attempt)(scene *s);

static float x[2][ROWS * VOCAB]; /* logits, and fallback */
static cl_mem mem[2];
static cl_mem results_mem, masked_mem;

static void make_rows(void)
{
    for (uint32_t r = 0; r < ROWS; r++)
        for (int k = 0; k < 2; k++)
            row_random(x[k] + r * VOCAB, VOCAB, SHAPE_NORMAL, r + 10u * (unsigned)k);
    for (uint32_t i = 0; i < VOCAB; i++)
        x[0][VOCAB + i] = -INFINITY; /* row 1 has no token of its own */
    for (int k = 0; k < 2; k++)
        mem[k] = dev_upload(x[k], sizeof x[k]);
    results_mem = dev_buffer(ROWS * sizeof(clsample_result));
    masked_mem = dev_buffer(sizeof x[0]);
}

static void release_rows(void)
{
    clReleaseMemObject(mem[0]);
    clReleaseMemObject(mem[1]);
    clReleaseMemObject(results_mem);
    clReleaseMemObject(masked_mem);
}

/* ---- What must come out ---- */

static clsample_params row_params(const scene *s, uint32_t r, uint64_t step)
{
    clsample_params p = s->params[s->n_params > 1 ? r : 0];

    if (s->n_params == 1) p.stream += r;
    p.step = step;
    return p;
}

static void check_results(scene *s, uint64_t step)
{
    clsample_result got[ROWS];

    dev_download(results_mem, 0, got, sizeof got);
    for (uint32_t r = 0; r < ROWS; r++) {
        const clsample_params p = row_params(s, r, step);
        const float *fallback = s->in.fallback ? x[1] + r * VOCAB : NULL;
        const clsample_result want = model_draw_fallback(x[0] + r * VOCAB, fallback, VOCAB, &p);
        if (memcmp(&got[r], &want, sizeof want) != 0) s->wrong = "a row differs from the model";
    }
    dev_poison(results_mem, sizeof got);
}

/* ---- Attempts ---- */

static void settle(const scene *s)
{
    for (int i = 0; i < 2; i++)
        if (s->queues[i]) ck_cl(clFinish(s->queues[i]));
}

static cl_command_queue next_queue(scene *s)
{
    return s->queues[s->queues[1] ? s->turn++ % 2 : 0];
}

/* Others than in the call before, where the scene wants that. */
static void change_biases(scene *s)
{
    for (uint32_t r = 0; s->changing && r < ROWS; r++)
        s->bias[r][0].add = s->bias[r][0].add > 0.0f ? -0.25f : 4.0f;
}

/* Wait for a command and give its event back. */
static void await(cl_event event)
{
    ck_cl(clWaitForEvents(1, &event));
    fault_gave(FAULT_EVENT, event);
    ck_cl(clReleaseEvent(event));
}

static clsample_status enqueue(scene *s)
{
    cl_event done = NULL;

    change_biases(s);
    const clsample_status st = clsample_enqueue(s->ctx, next_queue(s), s->params, s->n_params, &s->in,
                                                &s->out, COUNT(s->ready), s->ready, &done);
    if ((st == CLSAMPLE_OK) != (done != NULL)) s->wrong = "an event without success, or none with it";
    if (st != CLSAMPLE_OK) return st;
    await(done);
    check_results(s, 0);
    return st;
}

/* Without an event an in-order queue is asked for none, so that the next queue has to. */
static clsample_status enqueue_quietly(scene *s)
{
    const cl_command_queue queue = next_queue(s);
    const clsample_status st =
        clsample_enqueue(s->ctx, queue, s->params, s->n_params, &s->in, &s->out, 0, NULL, NULL);

    if (st != CLSAMPLE_OK) return st;
    ck_cl(clFinish(queue));
    check_results(s, 0);
    return st;
}

static clsample_status filter(scene *s)
{
    static float got[ROWS * VOCAB];
    cl_event done = NULL;
    const clsample_status st =
        clsample_enqueue_filter(s->ctx, next_queue(s), s->params, s->n_params, &s->in, CLSAMPLE_MASKED_LOGITS,
                                s->masked, 0, 1, s->ready, &done);

    if (st != CLSAMPLE_OK) return st;
    await(done);
    dev_download(masked_mem, 0, got, sizeof got);
    if (memcmp(got, s->kept, sizeof got) != 0) s->wrong = "the filter's output differs";
    return st;
}

static clsample_status replay(scene *s)
{
    cl_event done = NULL;
    const clsample_status st = clsample_replay(s->recording, COUNT(s->ready), s->ready, &done);

    if (st != CLSAMPLE_OK) return st; /* which is no step */
    await(done);
    check_results(s, s->step++);
    return st;
}

/* Two calls, the first of which waits while the second is enqueued. */
static clsample_status two_pending(scene *s)
{
    cl_int error = CL_SUCCESS;
    const cl_event gate = clCreateUserEvent(dev.context, &error);
    const cl_command_queue queue[2] = { next_queue(s), next_queue(s) };
    uint64_t step = 0;
    clsample_status st = CLSAMPLE_OK;

    ck_cl(error);
    for (int i = 0; i < 2 && st == CLSAMPLE_OK; i++) {
        const cl_uint n = i ? COUNT(s->ready) : 1;
        const cl_event *list = i ? s->ready : &gate;
        if (!s->recording) change_biases(s);
        st = s->recording
                 ? clsample_replay(s->recording, n, list, NULL)
                 : clsample_enqueue(s->ctx, queue[i], s->params, s->n_params, &s->in, &s->out, n, list, NULL);
        if (st == CLSAMPLE_OK && s->recording) step = s->step++;
    }
    ck_cl(clSetUserEventStatus(gate, CL_COMPLETE));
    settle(s);
    ck_cl(clReleaseEvent(gate));
    if (st == CLSAMPLE_OK) check_results(s, step);
    return st;
}

static void drop_recording(scene *s)
{
    clsample_recording_free(s->recording);
    s->recording = NULL;
}

static clsample_status record_with(scene *s, cl_command_queue queue)
{
    s->step = 0;
    return clsample_record(s->ctx, queue, s->params, s->n_params, &s->in, &s->out, &s->recording);
}

static clsample_status record(scene *s)
{
    clsample_status st = record_with(s, s->queues[0]);

    for (int i = 0; st == CLSAMPLE_OK && i < 2; i++)
        st = clsample_replay(s->recording, 0, NULL, NULL);
    ck_cl(clFinish(s->queues[0]));
    drop_recording(s);
    if (st == CLSAMPLE_OK) check_results(s, 1);
    return st;
}

static clsample_status sample(scene *s)
{
    clsample_result got[ROWS];
    const clsample_status st = clsample_sample(s->ctx, s->params, s->n_params, &s->in, x[0], got);

    for (uint32_t r = 0; st == CLSAMPLE_OK && r < ROWS; r++) {
        const clsample_params p = row_params(s, r, 0);
        const clsample_result want = model_draw(x[0] + r * VOCAB, VOCAB, &p);
        if (memcmp(&got[r], &want, sizeof want) != 0) s->wrong = "a row differs from the model";
    }
    return st;
}

/* Logits that hang on the step alone. */
static int model(void *user, const clsample_model_step *step)
{
    const size_t size = (size_t)step->rows * step->vocab * sizeof(float);

    (void)user;
    if (clEnqueueWriteBuffer(step->queue, step->logits, CL_FALSE, 0, size, x[step->lengths[0] % 2 ? 1 : 0],
                             step->n_wait, step->wait_list, step->event) != CL_SUCCESS)
        return 1;
    if (step->event) fault_hold(FAULT_EVENT, *step->event); /* the library's now */
    return 0;
}

static clsample_status generate(scene *s)
{
    static const int32_t prompts[ROWS - 1][2] = { { 1, 2 }, { 3, 9 } }, eos = 9;
    clsample_generation g = CLSAMPLE_GENERATION_INIT;
    clsample_texts texts = CLSAMPLE_TEXTS_INIT;
    int32_t got[ROWS - 1][LENGTH];

    g.model = model;
    g.vocab = VOCAB;
    g.prompts = ROWS - 1; /* of which the second ends before it begins */
    g.ids = prompts[0];
    g.ids_stride = 2;
    g.max_length = LENGTH;
    g.min_tokens = 2;
    g.n_eos = 1;
    g.eos = &eos;
    g.check_every = 3;
    g.params = s->params;
    texts.ids = got[0];
    texts.stride = LENGTH;
    const clsample_status st = clsample_generate(s->ctx, s->queues[0], &g, &texts);
    if (st != CLSAMPLE_OK) return st;
    if (!s->text_is_known) memcpy(s->text, got, sizeof got);
    s->text_is_known = true;
    if (memcmp(s->text, got, sizeof got) != 0) s->wrong = "another text";
    return st;
}

/* A context of its own on the kernels of the cache: what a first call makes, with scratch of the
 * application. */
static clsample_status first_calls(scene *s)
{
    const size_t size = clsample_scratch_size(ROWS, VOCAB);
    static scene own; /* large */
    clsample_options told = CLSAMPLE_OPTIONS_INIT;
    const cl_mem scratch = dev_buffer(size);

    own = *s;
    own.ctx = NULL;
    clsample_status st = clsample_create(dev.context, dev.id, &s->options, &own.ctx);
    if ((st == CLSAMPLE_OK) != (own.ctx != NULL)) s->wrong = "a context without success, or none with it";
    if (st == CLSAMPLE_OK) st = clsample_prepare(own.ctx, own.params, own.n_params, &own.in);
    if (st == CLSAMPLE_OK) st = enqueue(&own);
    if (st == CLSAMPLE_OK) st = clsample_set_scratch(own.ctx, scratch, 0, size);
    if (st == CLSAMPLE_OK) st = filter(&own);
    if (st == CLSAMPLE_OK) st = clsample_set_scratch(own.ctx, NULL, 0, 0);
    if (st == CLSAMPLE_OK) st = sample(&own);
    if (st == CLSAMPLE_OK) st = generate(&own);
    if (st == CLSAMPLE_OK) st = clsample_get_tuning(own.ctx, &told);
    ck_cl(clFinish(own.queues[0]));
    clsample_destroy(own.ctx);
    ck_cl(clReleaseMemObject(scratch));
    s->wrong = own.wrong ? own.wrong : s->wrong;
    return st;
}

/* The list of devices, and a context from it. What fails for one device may leave another to be chosen. */
static clsample_status list_devices(scene *s)
{
    clsample_devices *list = NULL;
    clsample_ctx *ctx = NULL;
    size_t index = 0;
    clsample_status st = clsample_devices_open(&s->options, &list);

    if (st == CLSAMPLE_OK) st = clsample_devices_select(list, NULL, &index);
    if (st == CLSAMPLE_OK && clsample_devices_info(list, index)->device_id == dev.id)
        st = clsample_devices_create(list, index, dev.context, &ctx);
    clsample_destroy(ctx);
    clsample_devices_close(list);
    return st;
}

static clsample_status store(scene *s)
{
    clsample_options o = CLSAMPLE_OPTIONS_INIT;

    o.cache_dir = s->options.cache_dir;
    o.groups = 5;
    clsample_status st = clsample_store_tuning(dev.id, &o);
    o.groups = 0;
    const clsample_status again = clsample_store_tuning(dev.id, &o);
    return st == CLSAMPLE_OK ? again : st;
}

/* Empty a folder of files. */
static void clear_folder(const char *folder)
{
    DIR *dir = opendir(folder);

    if (!dir) return;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        remove(path); /* which leaves . and .. */
    }
    closedir(dir);
}

/* The program of the self-check from its source, into a cache, and out of it, as drivers other than PoCL have
 * it. */
static clsample_status compile(scene *s)
{
    char folder[256];
    clsample_options o = s->options;
    clsample_status st = CLSAMPLE_OK;

    test_make_folder(folder, sizeof folder);
    o.cache_dir = folder;
    fault_hide(true, false);
    for (int i = 0; st == CLSAMPLE_OK && i < 2; i++) {
        clsample_ctx *ctx = NULL;
        st = clsample_create(dev.context, dev.id, &o, &ctx);
        clsample_destroy(ctx);
    }
    fault_hide(false, false);
    clear_folder(folder);
    ck_assert_int_eq(rmdir(folder), 0);
    return st;
}

/* ---- Sweeps ---- */

/* Does the library hold what it held? A driver may give memory back a little after a command. */
static bool holds(const int *before, int seconds)
{
    const struct timespec a_little = { .tv_nsec = 10000000 };
    int now[FAULT_KINDS];

    for (int i = 0; i <= 100 * seconds; i++) {
        fault_count(now);
        if (memcmp(before, now, sizeof now) == 0) return true;
        if (i < 100 * seconds) nanosleep(&a_little, NULL);
    }
    return false;
}

static void check_held(const int *before, const char *what, unsigned n)
{
    static const char *const names[] = { "contexts", "queues", "programs",        "kernels",
                                         "buffers",  "events", "command buffers", "allocations" };
    int now[FAULT_KINDS];

    if (holds(before, 2)) return;
    fault_count(now);
    for (int i = 0; i < FAULT_KINDS; i++)
        ck_assert_msg(before[i] == now[i], "%s, call %u, %s: %d %s before, %d after", what, n, fault_name(),
                      before[i], names[i], now[i]);
}

/* After a failure the same goes well. */
static void try_again(scene *s, attempt try, const char *what, const fault_plan *plan, const int *before)
{
    const clsample_status next = try(s);

    ck_assert_msg(next == CLSAMPLE_OK, "after %s, call %u, %s: %s: %s", what, plan->first, fault_name(),
                  clsample_status_name(next), clsample_last_error()->message);
    ck_assert_msg(!s->wrong, "after %s, call %u, %s, failed: %s", what, plan->first, fault_name(), s->wrong);
    settle(s);
    /* A call may keep more events until the next one, if it had more to wait for. */
    if (!holds(before, 0)) ck_ok(try(s));
    settle(s);
}

/* A call of the attempt fails, and then perhaps another. Was there one? */
static bool fails_once(scene *s, attempt try, const char *what, const fault_plan *plan)
{
    int before[FAULT_KINDS];

    fault_count(before);
    fault_arm(plan);
    const clsample_status st = try(s);
    const unsigned fired = fault_disarm();
    ck_assert_msg(!s->wrong, "%s, call %u, %s, fails: %s", what, plan->first, fault_name(), s->wrong);
    ck_assert_msg(fired > 0 || st == CLSAMPLE_OK, "%s: %s: %s", what, clsample_status_name(st),
                  clsample_last_error()->message);
    ck_assert_msg(st == CLSAMPLE_OK || clsample_last_error()->message[0], "%s, call %u, %s: no message", what,
                  plan->first, fault_name());
    settle(s);
    if (plan->retries == 0 || plan->first % plan->retries == 0) try_again(s, try, what, plan, before);
    check_held(before, what, plan->first);
    return fired > 0;
}

static const fault_plan all;

/* Each call of the attempt fails that `plan` lets; with `pairs` also twice, the second time 1 to so many
 * calls later. */
static void sweep(scene *s, attempt try, const char *what, fault_plan plan, unsigned pairs)
{
    const unsigned stride = 4 / test_scaled("calls of four that fail", 4, 1, 1);

    ck_ok(try(s)); /* compiles, and makes room */
    ck_ok(try(s));
    settle(s);
    for (plan.second = 0; plan.second <= pairs; plan.second++) {
        plan.first = 1;
        while (plan.first < MOST && fails_once(s, try, what, &plan))
            plan.first += stride;
        ck_assert_msg(plan.first > 1 && plan.first < MOST, "%s: %u calls", what, plan.first);
    }
}

enum { OUT_OF_ORDER = 1, TWO_LAUNCHES = 2, FALLBACK = 4, OWN_PARAMS = 8, TWO_QUEUES = 16, CONFIGS = 32 };
enum { EDITS = 32 }; /* and all that needs kernels of its own */

static void add_edits(scene *s)
{
    for (uint32_t r = 0; r < ROWS; r++) {
        clsample_params *p = &s->params[r];
        s->bias[r][0] = (clsample_bias){ 700, 4.0f };
        s->bias[r][1] = (clsample_bias){ 3 + (int32_t)r, -INFINITY };
        s->banned[r] = 1499;
        p->bias = s->bias[r];
        p->n_bias = 1 + r % 2;
        p->banned = &s->banned[r];
        p->n_banned = 1;
        p->typical_p = 0.9f;
        p->top_n_sigma = 2.0f;
    }
}

/* A context and a call as the bits of `config` say; false if the device has no such queue. */
static bool open_scene(scene *s, int config)
{
    cl_int error = CL_SUCCESS;

    *s = (scene){ .options = test_options(), .masked = masked_mem };
    s->queues[0] = dev_make_queue(config & OUT_OF_ORDER);
    if (!s->queues[0]) return false;
    s->queues[1] = config & TWO_QUEUES ? dev_make_queue(config & OUT_OF_ORDER) : NULL;
    s->options.groups = 8;
    if (config & TWO_LAUNCHES) s->options.flags = CLSAMPLE_FORCE_TWO_LAUNCHES;
    s->options.flags |= CLSAMPLE_FORCE_COMMAND_BUFFERS;
    s->n_params = config & OWN_PARAMS ? ROWS : 1;
    for (uint32_t r = 0; r < ROWS; r++) {
        s->params[r] = params_of(0.8f, 0.01f, 40, 0.95f, CLSAMPLE_RULES_SEED);
        s->params[r].seed = 7;
        s->params[r].stream = r;
    }
    if (config & EDITS) add_edits(s);
    s->in = logits_of(mem[0], CLSAMPLE_F32, ROWS, VOCAB);
    if (config & FALLBACK) s->in.fallback = mem[1];
    s->out = (clsample_output)CLSAMPLE_OUTPUT_INIT;
    s->out.results = results_mem;
    s->ready[0] = clCreateUserEvent(dev.context, &error);
    ck_cl(error);
    ck_cl(clSetUserEventStatus(s->ready[0], CL_COMPLETE));
    for (size_t i = 1; i < COUNT(s->ready); i++)
        s->ready[i] = s->ready[0];
    dev_filter(s->params, s->n_params, &s->in, CLSAMPLE_MASKED_LOGITS, s->kept);
    fault_count(s->before);
    ck_ok(clsample_create(dev.context, dev.id, &s->options, &s->ctx));
    return true;
}

static void close_scene(scene *s)
{
    clsample_destroy(s->ctx);
    check_held(s->before, "the end", 0);
    ck_cl(clReleaseEvent(s->ready[0]));
    for (int i = 0; i < 2; i++)
        if (s->queues[i]) ck_cl(clReleaseCommandQueue(s->queues[i]));
}

START_TEST(steps)
{
    static scene s;

    if (!open_scene(&s, _i)) return;
    sweep(&s, enqueue, "enqueue", all, _i == CONFIGS - 1 ? 9 : 0);
    sweep(&s, enqueue_quietly, "enqueue without an event", all, 0);
    sweep(&s, filter, "filter", all, 0);
    if (!(_i & TWO_QUEUES)) {
        sweep(&s, record, "record", all, 0);
        ck_ok(record_with(&s, s.queues[0]));
        sweep(&s, replay, "replay", all, 2);
        sweep(&s, two_pending, "replay behind another", all, 0);
        drop_recording(&s);
        fault_hide(false, true);
        ck_ok(record_with(&s, s.queues[0]));
        fault_hide(false, false);
        sweep(&s, replay, "replay, once at a time", all, 0);
        drop_recording(&s);
    }
    sweep(&s, two_pending, "enqueue behind another", all, 0);
    close_scene(&s);
}
END_TEST

static const int edited[] = { EDITS | OUT_OF_ORDER | TWO_LAUNCHES, EDITS | FALLBACK | OWN_PARAMS,
                              EDITS | TWO_QUEUES, EDITS | (CONFIGS - 1) };

START_TEST(edits)
{
    clsample_bias first[ROWS][2];
    static scene s;

    if (!open_scene(&s, edited[_i])) return;
    sweep(&s, filter, "filter with edits", all, 0);
    memcpy(first, s.bias, sizeof first);
    s.changing = true;
    sweep(&s, enqueue, "enqueue with edits", all, 0);
    sweep(&s, two_pending, "enqueue behind one with other edits", all, 0);
    if (!(edited[_i] & TWO_QUEUES)) {
        sweep(&s, record, "record with edits", all, 0);
        s.changing = false;
        memcpy(s.bias, first, sizeof first); /* which the filter's output is of */
        sweep(&s, generate, "generate with edits", (fault_plan){ .visits = 1 }, 0);
        sweep(&s, first_calls, "create and prepare",
              (fault_plan){ .visits = 1, .file = "src/edits.c", .retries = 8 }, 3);
    }
    close_scene(&s);
}
END_TEST

START_TEST(blocking_calls)
{
    static scene s;

    ck_assert(open_scene(&s, OWN_PARAMS));
    sweep(&s, sample, "sample", all, 0);
    sweep(&s, store, "store_tuning", all, 0);
    sweep(&s, list_devices, "devices", (fault_plan){ .visits = 3 }, 0);
    /* Each time with a context of its own: a failure leaves nothing to the next one. */
    sweep(&s, first_calls, "create", (fault_plan){ .visits = 1, .retries = 8 }, 0);
    sweep(&s, compile, "compile", (fault_plan){ .file = "src/program.c" }, 0);
    sweep(&s, compile, "failed build", (fault_plan){ .call = "clBuildProgram" }, 4);
    close_scene(&s);
}
END_TEST

START_TEST(texts)
{
    static scene s;

    if (!open_scene(&s, _i ? OUT_OF_ORDER : 0)) return;
    sweep(&s, generate, "generate", all, 0);
    if (_i) sweep(&s, generate, "generate", (fault_plan){ .visits = 2 }, 26);
    close_scene(&s);
}
END_TEST

/* ---- The sites ---- */

START_TEST(every_site)
{
    fault_site *sites[1000];
    const size_t n = fault_list(sites, COUNT(sites));
    unsigned missing = 0;

    if (dev.speed != SPEED_FULL) return; /* some were left out */
    ck_assert_msg(n > 0 && n <= COUNT(sites), "%zu sites", n);
    for (size_t i = 0; i < n; i++) {
        const fault_site *at = sites[i];
        printf("%s:%d %s: %u visits, %u failures\n", fault_file(at), at->line, at->call, at->visits,
               at->failures);
        missing += at->failures == 0;
    }
    ck_assert_msg(missing == 0, "%u of %zu sites never failed", missing, n);
}
END_TEST

static Suite *faults_suite(void)
{
    Suite *suite = suite_create("faults");
    TCase *t = tcase_create("faults");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_unchecked_fixture(t, make_rows, release_rows);
    tcase_add_loop_test(t, steps, 0, CONFIGS);
    tcase_add_loop_test(t, edits, 0, (int)COUNT(edited));
    tcase_add_test(t, blocking_calls);
    tcase_add_loop_test(t, texts, 0, 2);
    tcase_add_test(t, every_site); /* the last */
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(faults_suite);
}
