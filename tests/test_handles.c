/* SPDX-License-Identifier: Apache-2.0 */
/* Handles that do not belong together: the device, queue, buffer or event of another OpenCL context of the
 * same device, or of another platform, in every public call that takes one. A driver that gets such a
 * handle may crash. */
#include "common.h"

#include <stdio.h>
#include <string.h>

enum { MOST_PLATFORMS = 8, VOCAB = 300 };

/* What an application has of one platform, or of one context. */
typedef struct objects {
    char name[128];
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_mem logits, results, masked, image;
    cl_event event; /* a user event that is complete */
} objects;

static objects all[MOST_PLATFORMS + 1]; /* the last is a second context of the tested device */
static size_t n_all;
static objects *own; /* that of the tested device */

static void make_image(objects *o)
{
    const cl_image_format format = { CL_R, CL_FLOAT };
    const cl_image_desc shape = { .image_type = CL_MEM_OBJECT_IMAGE2D,
                                  .image_width = 64,
                                  .image_height = 64 };
    cl_int error = CL_SUCCESS;

    o->image = clCreateImage(o->context, CL_MEM_READ_WRITE, &format, &shape, NULL, &error);
    if (error != CL_SUCCESS) o->image = NULL; /* not every device has them */
}

static bool make_objects(objects *o, cl_device_id device)
{
    static float x[VOCAB];
    cl_int error = CL_SUCCESS;

    o->device = device;
    o->context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    if (error == CL_SUCCESS) o->queue = clCreateCommandQueue(o->context, device, 0, &error);
    if (error == CL_SUCCESS)
        o->logits = clCreateBuffer(o->context, CL_MEM_COPY_HOST_PTR, sizeof x, x, &error);
    if (error == CL_SUCCESS) o->results = clCreateBuffer(o->context, CL_MEM_READ_WRITE, 256, NULL, &error);
    if (error == CL_SUCCESS)
        o->masked = clCreateBuffer(o->context, CL_MEM_READ_WRITE, sizeof x, NULL, &error);
    if (error == CL_SUCCESS) o->event = clCreateUserEvent(o->context, &error);
    if (error == CL_SUCCESS) error = clSetUserEventStatus(o->event, CL_COMPLETE);
    if (error != CL_SUCCESS) return false;
    make_image(o);
    return true;
}

static void release_objects(objects *o)
{
    if (o->image) ck_cl(clReleaseMemObject(o->image));
    ck_cl(clReleaseMemObject(o->logits));
    ck_cl(clReleaseMemObject(o->results));
    ck_cl(clReleaseMemObject(o->masked));
    ck_cl(clReleaseEvent(o->event));
    ck_cl(clReleaseCommandQueue(o->queue));
    ck_cl(clReleaseContext(o->context));
}

static void make_all(void)
{
    cl_platform_id platforms[MOST_PLATFORMS];
    cl_uint n = 0;

    ck_cl(clGetPlatformIDs(MOST_PLATFORMS, platforms, &n));
    for (cl_uint i = 0; i < n && i < MOST_PLATFORMS; i++) {
        objects *o = &all[n_all];
        cl_device_id device = NULL;

        clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof o->name, o->name, NULL);
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL) != CL_SUCCESS) continue;
        if (strstr(dev.name, o->name)) device = dev.id;
        ck_assert_msg(make_objects(o, device), "%s: objects", o->name);
        if (device == dev.id) own = o;
        n_all++;
    }
    ck_assert_ptr_nonnull(own);
    snprintf(all[n_all].name, sizeof all[n_all].name, "a second context");
    ck_assert(make_objects(&all[n_all++], dev.id));
    for (size_t i = 0; i < n_all; i++)
        printf("handles of: %s\n", all[i].name);
}

static void release_all(void)
{
    for (size_t i = 0; i < n_all; i++)
        release_objects(&all[i]);
}

static void check(clsample_status st, const char *call, const objects *other, const char *says)
{
    ck_assert_msg(st == CLSAMPLE_E_ARGUMENT && strstr(clsample_last_error()->message, says),
                  "%s with a handle of %s: %s: %s", call, other->name, clsample_status_name(st),
                  clsample_last_error()->message);
}

/* A step with every handle right. */
typedef struct step {
    clsample_ctx *ctx;
    cl_command_queue queue;
    clsample_logits in;
    clsample_output out;
    cl_mem masked;
    cl_event event;
} step;

static step good_step(clsample_ctx *ctx)
{
    step s = { .ctx = ctx, .queue = own->queue, .masked = own->masked, .event = own->event };

    s.in = logits_of(own->logits, CLSAMPLE_F32, 1, VOCAB);
    s.out = (clsample_output)CLSAMPLE_OUTPUT_INIT;
    s.out.results = own->results;
    return s;
}

static clsample_status enqueue(const step *s)
{
    return clsample_enqueue(s->ctx, s->queue, NULL, 1, &s->in, &s->out, 1, &s->event, NULL);
}

static clsample_status filter(const step *s)
{
    return clsample_enqueue_filter(s->ctx, s->queue, NULL, 1, &s->in, CLSAMPLE_PROBABILITIES, s->masked, 0, 1,
                                   &s->event, NULL);
}

static clsample_status record_and_replay(const step *s)
{
    clsample_recording *r = NULL;
    clsample_status st = clsample_record(s->ctx, s->queue, NULL, 1, &s->in, &s->out, &r);

    if (st == CLSAMPLE_OK) st = clsample_replay(r, 1, &s->event, NULL);
    ck_cl(clFinish(own->queue));
    clsample_recording_free(r);
    return st;
}

typedef clsample_status (*run_step)(const step *s);

/* One handle of a good step is another's. */
static void check_step(clsample_ctx *ctx, run_step run, const char *call, const objects *o)
{
    step s = good_step(ctx);

    s.queue = o->queue;
    check(run(&s), call, o, "queue belongs to another OpenCL context");
    s = good_step(ctx);
    s.in.mem = o->logits;
    check(run(&s), call, o, "logits.mem is a buffer of another OpenCL context");
    s = good_step(ctx);
    s.in.fallback = o->logits;
    check(run(&s), call, o, "logits.fallback is a buffer of another OpenCL context");
    s = good_step(ctx);
    s.event = o->event;
    check(run(&s), call, o, "wait_list[0] is an event of another OpenCL context");
    s = good_step(ctx);
    ck_ok(run(&s));
    if (run == filter) {
        s.masked = o->masked;
        check(run(&s), call, o, "out is a buffer of another OpenCL context");
        return;
    }
    s.out.results = o->results;
    check(run(&s), call, o, "output.results is a buffer of another OpenCL context");
    s.out.tokens = o->results;
    s.out.results = own->results;
    check(run(&s), call, o, "output.tokens is a buffer of another OpenCL context");
}

START_TEST(steps)
{
    for (size_t i = 0; i < n_all; i++) {
        if (&all[i] == own) continue;
        const clsample_options options = test_options();
        clsample_ctx *ctx = NULL;

        ck_ok(clsample_create(own->context, own->device, &options, &ctx));
        check_step(ctx, enqueue, "clsample_enqueue", &all[i]);
        check_step(ctx, filter, "clsample_enqueue_filter", &all[i]);
        check_step(ctx, record_and_replay, "clsample_record", &all[i]);
        check(clsample_set_scratch(ctx, all[i].results, 0, 16), "clsample_set_scratch", &all[i],
              "scratch is a buffer of another OpenCL context");
        clsample_destroy(ctx);
    }
    ck_cl(clFinish(own->queue));
}
END_TEST

/* Where a buffer is wanted an image is none. */
START_TEST(images)
{
    step s = good_step(NULL);

    if (!own->image) return;
    const clsample_options options = test_options();
    ck_ok(clsample_create(own->context, own->device, &options, &s.ctx));
    s.in.mem = own->image;
    check(enqueue(&s), "clsample_enqueue", own, "logits.mem is an image");
    clsample_destroy(s.ctx);
}
END_TEST

/* A context made on every pair. */
START_TEST(contexts)
{
    clsample_devices *list = NULL;
    clsample_ctx *ctx = NULL;

    ck_ok(clsample_devices_open(NULL, &list));
    for (size_t i = 0; i < n_all; i++) {
        for (size_t k = 0; k < n_all; k++) {
            if (all[i].device == all[k].device) continue;
            check(clsample_create(all[i].context, all[k].device, NULL, &ctx), "clsample_create", &all[k],
                  "device is none of the context's");
            ck_assert_ptr_null(ctx);
        }
    }
    for (size_t k = 0; k < clsample_devices_count(list); k++) {
        const cl_device_id device = clsample_devices_info(list, k)->device_id;
        if (device != own->device) continue;
        for (size_t i = 0; i < n_all; i++)
            if (all[i].device != device)
                check(clsample_devices_create(list, k, all[i].context, &ctx), "clsample_devices_create",
                      &all[i], "context does not have device");
    }
    clsample_devices_close(list);
}
END_TEST

static int model(void *user, const clsample_model_step *asked)
{
    const objects *o = user;

    if (asked->event) {
        ck_cl(clRetainEvent(o->event));
        *asked->event = o->event;
    }
    return 0;
}

/* The queue, and the event that a model hands back. */
START_TEST(texts)
{
    static const int32_t prompt = 1;
    clsample_generation g = CLSAMPLE_GENERATION_INIT;
    const clsample_texts none = CLSAMPLE_TEXTS_INIT;
    const clsample_options options = test_options();
    clsample_ctx *ctx = NULL;
    cl_int error = CL_SUCCESS;
    cl_command_queue queue =
        clCreateCommandQueue(own->context, own->device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &error);

    g.model = model;
    g.vocab = VOCAB;
    g.prompts = 1;
    g.ids = &prompt;
    g.ids_stride = 1;
    ck_ok(clsample_create(own->context, own->device, &options, &ctx));
    for (size_t i = 0; i < n_all; i++) {
        g.model_user = &all[i];
        if (&all[i] == own) continue;
        check(clsample_generate(ctx, all[i].queue, &g, &none), "clsample_generate", &all[i],
              "queue belongs to another OpenCL context");
        if (error != CL_SUCCESS) continue; /* the device need not have such queues */
        ck_assert_int_eq(clsample_generate(ctx, queue, &g, &none), CLSAMPLE_E_MODEL);
        ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "event of another OpenCL context"));
    }
    clsample_destroy(ctx);
    if (error == CL_SUCCESS) ck_cl(clReleaseCommandQueue(queue));
}
END_TEST

static Suite *handles_suite(void)
{
    Suite *suite = suite_create("handles");
    TCase *t = tcase_create("handles");

    tcase_set_timeout(t, 0); /* ctest has one */
    tcase_add_unchecked_fixture(t, make_all, release_all);
    tcase_add_test(t, contexts);
    tcase_add_test(t, steps);
    tcase_add_test(t, images);
    tcase_add_test(t, texts);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return test_main(handles_suite);
}
