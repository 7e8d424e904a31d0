/* SPDX-License-Identifier: Apache-2.0 */
/* The model's forward pass on a device, on small models with random weights of every type, against the
 * textbook in double: both forms of the kernels, with and without CLBlast, batches of rows that are at
 * different places. */
#include "session.h"
#include "tiny_model.h"

#include "model/llama.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The largest difference of a logit, all of which are about as large as 1. Each is a sum of some hundred
 * products in float32 (2^-24 each), and so is what goes into them, a dozen times over: 100 * 12 * 2^-24 =
 * 7e-5 if all errors had the same sign. */
#define TOLERANCE 7e-5
#define ROWS 4u /* most tests' own: kernels are compiled for a number of rows, up to 4 */

static const tiny_shape shapes[] = {
    { .name = "all types, grouped heads",
      .layers = 2,
      .dim = 64,
      .heads = 4,
      .kv_heads = 2,
      .head = 16,
      .ff = 64,
      .vocab = 61,
      .context = 300,
      .rope = 16,
      .base = 10000.0f,
      .types = { 0, 8, 2, 3, 1, 30 } },
    { .name = "one key head, part of it turned, divisors, scaled positions, one matrix at both ends",
      .layers = 2,
      .dim = 96,
      .heads = 6,
      .kv_heads = 1,
      .head = 32,
      .ff = 160,
      .vocab = 290,
      .context = 300,
      .rope = 20,
      .base = 500.0f,
      .scaling = 2.0f,
      .tied = true,
      .factors = true,
      .types = { 8, 3, 2, 3, 3, 8 } },
    { .name = "float32, one matrix at both ends, positions scaled as in older files",
      .layers = 1,
      .dim = 32,
      .heads = 2,
      .kv_heads = 2,
      .head = 16,
      .ff = 32,
      .vocab = 273,
      .context = 300,
      .rope = 16,
      .base = 10000.0f,
      .scaling = 4.0f,
      .old_key = true,
      .tied = true,
      .types = { 0, 0, 0, 0, 0, 0 } },
};

static const struct setting {
    llama_form form;
    uint32_t gemm_from;
} settings[] = {
    { LLAMA_FORM_VECTORS, LLAMA_NO_GEMM },
    { LLAMA_FORM_GROUPS, LLAMA_NO_GEMM },
    { LLAMA_FORM_VECTORS, 2 },
    { LLAMA_FORM_GROUPS, 2 },
};

static model_error error;

/* ---- A model at work ---- */

static test_rng rng;

static session open_session(const tiny_model *tiny, const llama_options *options)
{
    gguf *file = NULL;

    ck_assert_msg(gguf_open_memory(tiny->file.bytes, tiny->file.size, "tiny.gguf", &file, &error), "%s",
                  error.message);
    const session s = session_open(file, options);
    ck_assert_uint_eq(s.vocab, tiny->shape->vocab);
    ck_assert_uint_eq(s.rows, options->rows);
    rng.state = 77;
    return s;
}

/* `count` more random tokens for a row. */
static void append(session *s, uint32_t row, uint32_t count)
{
    s->fresh[row] = count;
    for (uint32_t i = 0; i < count; i++)
        s->host_ids[row * s->stride + s->lengths[row]++] = (int32_t)rng_below(&rng, s->vocab);
}

static void begin_anew(session *s, uint32_t row, uint32_t count)
{
    s->lengths[row] = 0;
    append(s, row, count);
}

/* Rows with new tokens have the textbook's logits, the others none. Returns the largest difference. */
static double check_step(const session *s, const tiny_model *tiny, const char *what)
{
    const uint32_t vocab = s->vocab;
    double *want = test_alloc(vocab * sizeof *want), worst = 0;

    for (uint32_t r = 0; r < s->rows; r++) {
        const float *got = session_logits(s, r);
        if (s->fresh[r] == 0) {
            ck_assert_msg(session_is_unwritten(got, vocab * sizeof *got),
                          "%s: row %u was left out, but written", what, r);
            continue;
        }
        tiny_model_logits(tiny, s->host_ids + r * s->stride, s->lengths[r], want);
        for (uint32_t i = 0; i < vocab; i++) {
            const double off = fabs((double)got[i] - want[i]);
            REQUIRE(off <= TOLERANCE, "%s: %s, row %u of %u tokens: logit %u is %g instead of %g",
                    tiny->shape->name, what, r, s->lengths[r], i, (double)got[i], want[i]);
            worst = fmax(worst, off);
        }
    }
    free(want);
    return worst;
}

/* Slow devices and simulators have no time for CLBlast's kernels, which are not ours to check, nor for every
 * shape and setting, since each is compiled anew. */
static bool is_left_out(const struct setting *setting, const tiny_shape *shape)
{
    if (test_scaled("settings", COUNT(settings), 1, 1) <= (size_t)(setting - settings)) return true;
    return test_scaled("shapes", COUNT(shapes), 1, 1) < COUNT(shapes) && shape != &shapes[0];
}

/* ---- Tests ---- */

/* Where ctest preloads poison_memory.c, it is at work: what nobody has written is not zero. */
START_TEST(unwritten_memory)
{
    const char *preloaded = getenv("LD_PRELOAD");
    unsigned char bytes[256];

    if (!preloaded || !strstr(preloaded, "poison_memory")) {
        printf("left out: nothing is preloaded that spoils memory\n");
        return;
    }
    cl_mem mem = dev_buffer(sizeof bytes);
    dev_download(mem, 0, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        ck_assert_uint_eq(bytes[i], 0xFF);
    ck_cl(clReleaseMemObject(mem));
}
END_TEST

/* Rows of different lengths; then some of them go on, one is left out, one begins anew. */
START_TEST(like_the_textbook)
{
    const struct setting *setting = &settings[_i % (int)COUNT(settings)];
    const tiny_shape *shape = &shapes[_i / (int)COUNT(settings)];
    const llama_options options = { .rows = ROWS, .form = setting->form, .gemm_from = setting->gemm_from };
    double worst = 0;

    if (is_left_out(setting, shape)) return;
    tiny_model tiny = tiny_model_make(shape, 1000u + (uint64_t)_i);
    session s = open_session(&tiny, &options);
    append(&s, 0, 5), append(&s, 1, 1), append(&s, 2, test_scaled("tokens of a prompt", 40, 40, 8));
    session_run(&s);
    worst = fmax(worst, check_step(&s, &tiny, "the prompts"));
    append(&s, 0, 1), append(&s, 1, 0), append(&s, 2, 1);
    session_run(&s);
    worst = fmax(worst, check_step(&s, &tiny, "one more each"));
    append(&s, 0, 1), append(&s, 1, 3), begin_anew(&s, 2, 2);
    session_run(&s);
    worst = fmax(worst, check_step(&s, &tiny, "a new text"));
    append(&s, 0, 1), append(&s, 1, 1), append(&s, 2, 1);
    session_run(&s);
    worst = fmax(worst, check_step(&s, &tiny, "after the new text"));
    printf("%s, %s, %s: off by at most %.2g\n", shape->name, llama_form_name(s.model),
           setting->gemm_from == LLAMA_NO_GEMM ? "own kernels" : "CLBlast", worst);
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

/* All tokens of a context: one by one, in one step, and after going back. */
START_TEST(one_by_one)
{
    const struct setting *setting = &settings[_i];
    const llama_options options = { .rows = ROWS, .form = setting->form, .gemm_from = setting->gemm_from };
    const uint32_t all = test_scaled("tokens of a text", 70, 40, 18);

    if (is_left_out(setting, &shapes[0])) return;
    tiny_model tiny = tiny_model_make(&shapes[0], 7);
    session s = open_session(&tiny, &options);
    append(&s, 0, test_scaled("tokens one by one", 70, 40, 3) < all ? 15 : 1);
    while (s.lengths[0] <= all) {
        session_run(&s);
        if (s.lengths[0] % 16 < 2 || s.lengths[0] == all) check_step(&s, &tiny, "one by one");
        if (s.lengths[0] == all) break;
        append(&s, 0, 1);
    }
    s.fresh[0] = all; /* the same tokens again */
    session_run(&s);
    check_step(&s, &tiny, "in one step");
    s.lengths[0] = 10; /* back to a shorter text, which goes on otherwise */
    append(&s, 0, 4);
    session_run(&s);
    check_step(&s, &tiny, "gone back");
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

/* Prompts of several chunks, which end with a whole one, with a few tokens, and with one. */
START_TEST(long_prompts)
{
    static const uint32_t lengths[ROWS] = { 256, 290, 257, 100 };
    const struct setting *setting = &settings[_i];
    const llama_options options = { .rows = ROWS, .form = setting->form, .gemm_from = setting->gemm_from };

    if (test_scaled("long prompts", 4, 0, 0) == 0) return;
    tiny_model tiny = tiny_model_make(&shapes[0], 16);
    session s = open_session(&tiny, &options);
    for (uint32_t r = 0; r < ROWS; r++)
        append(&s, r, lengths[r]);
    session_run(&s);
    check_step(&s, &tiny, "long prompts");
    for (uint32_t r = 0; r < ROWS; r++)
        append(&s, r, 1);
    session_run(&s);
    check_step(&s, &tiny, "after long prompts");
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

/* A row's logits are the same bits, whichever rows are beside it. */
START_TEST(neighbours_do_not_matter)
{
    const struct setting *setting = &settings[_i];
    const llama_options alone = { .rows = 1, .form = setting->form, .gemm_from = setting->gemm_from };
    llama_options together = alone;
    const uint32_t steps = test_scaled("steps of rows alone and together", 4, 0, 0);

    /* A model of one row has kernels of its own, which have to be compiled. */
    if (is_left_out(setting, &shapes[0]) || steps < 4) return;
    together.rows = 5;
    tiny_model tiny = tiny_model_make(&shapes[0], 8);
    session a = open_session(&tiny, &alone), b = open_session(&tiny, &together);
    for (uint32_t i = 0; i <= steps; i++) {
        for (uint32_t r = 0; r < 5; r++)
            append(&b, r, i == 0 ? 1 + 4 * r : 1);
        memcpy(a.host_ids, b.host_ids + 3 * b.stride, a.stride * sizeof *a.host_ids);
        a.lengths[0] = b.lengths[3];
        a.fresh[0] = b.fresh[3];
        session_run(&a);
        session_run(&b);
        ck_assert_msg(memcmp(session_logits(&a, 0), session_logits(&b, 3), shapes[0].vocab * sizeof(float)) ==
                          0,
                      "step %u", i);
    }
    session_close(&a);
    session_close(&b);
    tiny_model_free(&tiny);
}
END_TEST

/* More rows and tokens than one batch of columns has. */
START_TEST(many_rows)
{
    const uint32_t rows = test_scaled("rows", 21, 21, 6);
    const llama_options options = { .rows = rows,
                                    .form = _i ? LLAMA_FORM_GROUPS : LLAMA_FORM_VECTORS,
                                    .gemm_from = LLAMA_NO_GEMM };
    tiny_model tiny = tiny_model_make(&shapes[0], 9);
    session s = open_session(&tiny, &options);

    for (uint32_t r = 0; r < rows; r++)
        append(&s, r, 1 + r % 7);
    session_run(&s);
    check_step(&s, &tiny, "many prompts");
    for (uint32_t r = 0; r < rows; r++)
        append(&s, r, r % 5 != 2);
    session_run(&s);
    check_step(&s, &tiny, "many rows");
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

/* Ids that are none count as 0, and nothing is read outside of the embedding. */
START_TEST(strange_ids)
{
    static const int32_t strange[] = { -1, INT32_MIN, INT32_MAX, 300 };
    const llama_options options = { .rows = ROWS };
    tiny_model tiny = tiny_model_make(&shapes[0], 10);
    session s = open_session(&tiny, &options);

    append(&s, 0, 4);
    memcpy(s.host_ids, strange, sizeof strange);
    session_run(&s);
    memset(s.host_ids, 0, sizeof strange); /* for the textbook */
    check_step(&s, &tiny, "strange ids");
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

/* The ids come from a command that is not done when the step is enqueued; the step's event waits for all. */
START_TEST(waits_and_events)
{
    const llama_options options = { .rows = ROWS };
    cl_int code = CL_SUCCESS;
    cl_event gate = clCreateUserEvent(dev.context, &code), written = NULL, done = NULL;
    tiny_model tiny = tiny_model_make(&shapes[0], 11);
    session s = open_session(&tiny, &options);

    ck_cl(code);
    cl_command_queue other = clCreateCommandQueue(dev.context, dev.id, 0, &code);
    ck_cl(code);
    append(&s, 0, 6);
    session_spoil(&s);
    ck_cl(clEnqueueWriteBuffer(other, s.ids, CL_FALSE, SESSION_GUARD, s.stride * sizeof(int32_t), s.host_ids,
                               1, &gate, &written));
    llama_step step = session_step(&s);
    step.n_wait = 1;
    step.wait_list = &written;
    step.event = &done;
    ck_assert_msg(llama_enqueue(s.model, &step, &error), "%s", error.message);
    ck_assert_ptr_nonnull(done);
    if (dev.speed != SPEED_SIMULATED) ck_cl(clFlush(dev.queue)); /* where it would wait for the gate */
    ck_cl(clSetUserEventStatus(gate, CL_COMPLETE));
    ck_cl(clFinish(other));
    ck_cl(clWaitForEvents(1, &done));
    dev_download(s.logits, SESSION_GUARD, s.host_logits, ROWS * shapes[0].vocab * sizeof(float));
    check_step(&s, &tiny, "ids that came late");
    ck_cl(clReleaseEvent(gate));
    ck_cl(clReleaseEvent(written));
    ck_cl(clReleaseEvent(done));
    ck_cl(clReleaseCommandQueue(other));
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

/* The first weight of a tensor becomes NaN, by itself or by its block's scale. */
static void spoil_weight(tiny_model *tiny, const char *name)
{
    gguf *file = NULL;
    const gguf_tensor *t = NULL;

    ck_assert(gguf_open_memory(tiny->file.bytes, tiny->file.size, "tiny.gguf", &file, &error));
    ck_assert_msg(gguf_get_tensor(file, name, &t, &error), "%s", error.message);
    unsigned char *at = tiny->file.bytes + ((const unsigned char *)t->data - tiny->file.bytes);
    const size_t last = gguf_block_bytes(t->type) == 4 ? 3 : 1; /* the byte with the sign */
    at[last] = t->type == GGUF_F32 || t->type == GGUF_BF16 ? 0x7F : 0x7E;
    at[last - 1] = 0xC0;
    gguf_close(file);
}

/* A damaged weight shows as NaN among the logits, whatever its type, and not as a number. */
START_TEST(nan_weights)
{
    static const char *const names[] = { "output.weight",          "blk.0.attn_q.weight",
                                         "blk.0.attn_k.weight",    "blk.0.attn_v.weight",
                                         "blk.0.ffn_gate.weight",  "blk.0.ffn_up.weight",
                                         "blk.1.attn_norm.weight", "blk.0.attn_output.weight" };
    const struct setting *setting = &settings[_i];
    const llama_options options = { .rows = ROWS, .form = setting->form, .gemm_from = setting->gemm_from };

    if (is_left_out(setting, &shapes[0])) return;
    for (size_t i = 0; i < COUNT(names); i++) {
        tiny_model tiny = tiny_model_make(&shapes[0], 18);
        spoil_weight(&tiny, names[i]);
        session s = open_session(&tiny, &options);
        append(&s, 0, 5);
        session_run(&s);
        const float first = session_logits(&s, 0)[0];
        ck_assert_msg(isnan(first) && !session_is_unwritten(&first, sizeof first), "%s: logit 0 is %g",
                      names[i], (double)first);
        session_close(&s);
        tiny_model_free(&tiny);
    }
}
END_TEST

/* Without a buffer for logits only keys and values are worked out. */
START_TEST(without_logits)
{
    const llama_options options = { .rows = ROWS };
    tiny_model tiny = tiny_model_make(&shapes[0], 12);
    session s = open_session(&tiny, &options);
    llama_step step = session_step(&s);

    append(&s, 0, 6);
    ck_cl(clEnqueueWriteBuffer(dev.queue, s.ids, CL_TRUE, SESSION_GUARD, s.stride * sizeof(int32_t),
                               s.host_ids, 0, NULL, NULL));
    step.logits = NULL;
    ck_assert_msg(llama_enqueue(s.model, &step, &error), "%s", error.message);
    append(&s, 0, 2);
    session_run(&s);
    check_step(&s, &tiny, "the rest of the prompt");
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

START_TEST(sizes)
{
    const llama_options options = { .rows = ROWS, .context = 290 };
    tiny_model tiny = tiny_model_make(&shapes[0], 13);
    session s = open_session(&tiny, &options);

    ck_assert_uint_eq(llama_context(s.model), 290);
    ck_assert_uint_ge(llama_device_bytes(s.model), llama_weight_bytes(s.model));
    /* As in the file but for the rounding of matrices to 16 rows. */
    ck_assert_uint_ge(llama_weight_bytes(s.model), tiny.file.size / 2);
    ck_assert_uint_le(llama_weight_bytes(s.model), tiny.file.size);
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

/* ---- What is refused, and what is left ---- */

static void refuses_options(const tiny_model *tiny, cl_command_queue queue, llama_options options,
                            const char *part)
{
    gguf *file = NULL;
    llama *model = NULL;

    ck_assert(gguf_open_memory(tiny->file.bytes, tiny->file.size, "tiny.gguf", &file, &error));
    ck_assert_msg(!llama_open(file, dev.context, dev.id, queue, &options, &model, &error), "not refused: %s",
                  part);
    ck_assert_msg(!model && strstr(error.message, part) != NULL, "\"%s\" lacks \"%s\"", error.message, part);
    gguf_close(file);
}

static cl_uint references(void)
{
    cl_uint count = 0;

    ck_cl(clFinish(dev.queue));
    ck_cl(clGetContextInfo(dev.context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL));
    return count;
}

/* Some drivers let go of a command's objects a little after the command has ended. */
static void wait_for_references(cl_uint wanted)
{
    const struct timespec moment = { 0, 10000000 };

    for (int i = 0; i < 500 && references() != wanted; i++)
        (void)nanosleep(&moment, NULL);
    ck_assert_uint_eq(references(), wanted);
}

/* Each OpenCL object holds its context: none is left of a model that was closed, or could not be opened. */
START_TEST(gives_all_back)
{
    const llama_options options = { .rows = ROWS };
    tiny_model tiny = tiny_model_make(&shapes[0], 17);
    const cl_uint before = references();

    session s = open_session(&tiny, &options);
    append(&s, 0, 3);
    session_run(&s);
    ck_assert_uint_gt(references(), before);
    session_close(&s);
    wait_for_references(before);
    refuses_options(&tiny, dev.queue, (llama_options){ .rows = 1025 }, "1025 rows");
    wait_for_references(before);
    tiny_model_free(&tiny);
}
END_TEST

static void refuses_step(const session *s, const llama_step *step, const char *part)
{
    cl_event event = (cl_event)s; /* anything but NULL */
    llama_step copy = *step;

    copy.event = &event;
    ck_assert_msg(!llama_enqueue(s->model, &copy, &error), "not refused: %s", part);
    ck_assert_msg(strstr(error.message, part) != NULL, "\"%s\" lacks \"%s\"", error.message, part);
    ck_assert_ptr_null(event);
}

START_TEST(wrong_steps)
{
    const llama_options options = { .rows = ROWS };
    tiny_model tiny = tiny_model_make(&shapes[0], 14);
    session s = open_session(&tiny, &options);
    llama_step step = session_step(&s);

    s.lengths[1] = 301, s.fresh[1] = 301;
    refuses_step(&s, &step, "row 1 has 301 tokens; up to 300 are allowed");
    s.lengths[1] = 3, s.fresh[1] = 4;
    refuses_step(&s, &step, "row 1 has 3 tokens, 4 of them new");
    s.fresh[1] = 2;
    refuses_step(&s, &step, "row 1 has 3 tokens, 2 of them new, but the model knows only 0 of the others");
    s.fresh[1] = 3;
    step.stride = 2;
    refuses_step(&s, &step, "row 1 has 3 tokens; up to 2 are allowed");
    step.stride = s.stride + 1000;
    refuses_step(&s, &step, "the buffer of the ids has ");
    step.stride = s.stride;
    step.ids_offset = 2;
    refuses_step(&s, &step, "from 2, a multiple of 4, on are wanted");
    step.ids_offset = SESSION_GUARD;
    step.logits_offset = 3 * SESSION_GUARD;
    refuses_step(&s, &step, "the buffer of the logits has ");
    session_close(&s);
    tiny_model_free(&tiny);
}
END_TEST

START_TEST(wrong_options)
{
    cl_int code = CL_SUCCESS;
    tiny_model tiny = tiny_model_make(&shapes[0], 15);
    cl_command_queue queue =
        clCreateCommandQueue(dev.context, dev.id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);

    refuses_options(&tiny, dev.queue, (llama_options){ .rows = 1025 },
                    "a model of 1025 rows; up to 1024 are allowed");
    refuses_options(&tiny, dev.queue, (llama_options){ .context = 301 },
                    "tiny.gguf: a context of 301 tokens; the model allows up to 300");
    if (code == CL_SUCCESS) {
        refuses_options(&tiny, queue, (llama_options){ 0 }, "the queue is out-of-order");
        ck_cl(clReleaseCommandQueue(queue));
    }
    llama_close(NULL);
    tiny_model_free(&tiny);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("llama");
    TCase *t = tcase_create("llama");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_test(t, unwritten_memory);
    tcase_add_loop_test(t, like_the_textbook, 0, (int)(COUNT(shapes) * COUNT(settings)));
    tcase_add_loop_test(t, one_by_one, 0, (int)COUNT(settings));
    tcase_add_loop_test(t, long_prompts, 0, (int)COUNT(settings));
    tcase_add_loop_test(t, neighbours_do_not_matter, 0, (int)COUNT(settings));
    tcase_add_loop_test(t, many_rows, 0, (int)test_scaled("forms of many_rows", 2, 1, 2));
    tcase_add_test(t, strange_ids);
    tcase_add_test(t, waits_and_events);
    tcase_add_loop_test(t, nan_weights, 0, (int)COUNT(settings));
    tcase_add_test(t, without_logits);
    tcase_add_test(t, sizes);
    tcase_add_test(t, gives_all_back);
    tcase_add_test(t, wrong_steps);
    tcase_add_test(t, wrong_options);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return test_main(suite);
}
