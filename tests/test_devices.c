/* SPDX-License-Identifier: Apache-2.0 */
/* The list of devices as this machine has them. What drivers do wrong is in test_bad_drivers.c. */
#include "common.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static clsample_devices *list;

static void open_list(void)
{
    const clsample_options options = test_options();
    ck_ok(clsample_devices_open(&options, &list));
}

static void close_list(void)
{
    clsample_devices_close(list);
    list = NULL;
}

/* The entry of the device under test, whose platform and name a fresh list must have again. */
static size_t own_entry(void)
{
    for (size_t i = 0; i < clsample_devices_count(list); i++) {
        if (clsample_devices_info(list, i)->device_id == dev.id) return i;
    }
    ck_abort_msg("%s is not listed", dev.name);
    return 0;
}

START_TEST(infos_are_consistent)
{
    static const char *const types[] = { "gpu", "cpu", "accelerator", "custom", "none" };
    const size_t count = clsample_devices_count(list);

    ck_assert_uint_ge(count, 1);
    ck_assert_ptr_null(clsample_devices_info(list, count));
    for (size_t i = 0; i < count; i++) {
        const clsample_device_info *info = clsample_devices_info(list, i);
        size_t known = 0;
        for (size_t k = 0; k < COUNT(types); k++)
            known += strcmp(info->type, types[k]) == 0;
        ck_assert_uint_eq(known, 1);
        ck_assert_ptr_nonnull(strchr(info->selector, ':'));
        ck_assert_ptr_nonnull(info->platform_id);
        ck_assert_int_eq(info->usable, info->reason[0] == '\0');
        ck_assert_int_eq(info->usable, info->rank > 0);
        ck_assert_str_eq(info->self_check, "not run");
        ck_assert_int_eq(info->is_default, 0);
        if (!info->usable) continue;
        ck_assert_ptr_nonnull(info->device_id);
        ck_assert_uint_ge(info->compute_units, 1);
        ck_assert_uint_ge(info->local_memory, 32768);
        ck_assert_uint_ge(info->global_memory, info->max_allocation);
        ck_assert_uint_ge(info->max_work_group, 1);
        ck_assert(strncmp(info->opencl, "OpenCL ", 7) == 0);
        ck_assert(strncmp(info->opencl_c, "OpenCL C ", 9) == 0);
    }
}
END_TEST

/* The usable entries have the ranks 1 to n, each once; simulators come last. */
START_TEST(ranks_are_an_order)
{
    const size_t count = clsample_devices_count(list);
    size_t usable = 0, found = 0;
    int simulator = 0;

    for (size_t i = 0; i < count; i++)
        usable += clsample_devices_info(list, i)->usable != 0;
    for (size_t rank = 1; rank <= usable; rank++) {
        for (size_t i = 0; i < count; i++) {
            const clsample_device_info *info = clsample_devices_info(list, i);
            if (info->rank != rank) continue;
            found++;
            ck_assert_int_ge(info->simulator, simulator);
            simulator = info->simulator;
        }
    }
    ck_assert_uint_eq(found, usable);
}
END_TEST

START_TEST(check_passes)
{
    const size_t own = own_entry();
    const clsample_device_info *info = clsample_devices_info(list, own);

    for (int i = 0; i < 2; i++) {
        ck_ok(clsample_devices_check(list, own));
        ck_assert_str_eq(info->self_check, "passed");
        ck_assert_int_eq(info->usable, 1);
        ck_assert_str_eq(info->reason, "");
        ck_assert_int_eq(info->is_default, 0);
    }
}
END_TEST

START_TEST(check_skipped)
{
    clsample_options options = test_options();

    close_list();
    options.flags = CLSAMPLE_NO_SELF_CHECK;
    ck_ok(clsample_devices_open(&options, &list));
    ck_ok(clsample_devices_check(list, own_entry()));
    ck_assert_str_eq(clsample_devices_info(list, own_entry())->self_check, "not run");
}
END_TEST

/* ---- Selection ---- */

static void selects_own(const char *selector)
{
    size_t index = 99;

    ck_ok(clsample_devices_select(list, selector, &index));
    ck_assert_msg(index == own_entry(), "\"%s\" gave %s", selector,
                  clsample_devices_info(list, index)->selector);
    ck_assert_str_eq(clsample_devices_info(list, index)->self_check, "passed");
}

START_TEST(select_by_place)
{
    selects_own(clsample_devices_info(list, own_entry())->selector);
}
END_TEST

/* "platform / device", in the other case. Devices of equal names are not told apart by it. */
START_TEST(select_by_name)
{
    const clsample_device_info *own = clsample_devices_info(list, own_entry());
    char name[300];
    size_t same = 0, index = 0;

    snprintf(name, sizeof name, "%s / %s", own->platform, own->name);
    for (char *c = name; *c; c++)
        *c = (char)(islower((unsigned char)*c) ? toupper(*c) : tolower(*c));
    for (size_t i = 0; i < clsample_devices_count(list); i++) {
        const clsample_device_info *info = clsample_devices_info(list, i);
        same += strcmp(info->platform, own->platform) == 0 && strcmp(info->name, own->name) == 0;
    }
    if (same == 1)
        selects_own(name);
    else
        ck_ok(clsample_devices_select(list, name, &index));
}
END_TEST

/* A type gives a device of that type or nothing. A device may have several; info.type is the first of gpu,
 * accelerator, cpu. */
START_TEST(select_by_type)
{
    static const struct {
        const char *selector;
        cl_device_type type;
    } cases[] = {
        { "gpu", CL_DEVICE_TYPE_GPU },
        { "CPU", CL_DEVICE_TYPE_CPU },
        { "accelerator", CL_DEVICE_TYPE_ACCELERATOR },
    };
    cl_device_type type = 0, own = 0;
    size_t index = 0;

    ck_cl(clGetDeviceInfo(dev.id, CL_DEVICE_TYPE, sizeof own, &own, NULL));
    for (size_t i = 0; i < COUNT(cases); i++) {
        const clsample_status st = clsample_devices_select(list, cases[i].selector, &index);
        if (st != CLSAMPLE_OK) {
            ck_assert_int_eq(st, CLSAMPLE_E_NO_DEVICE);
            ck_assert((own & cases[i].type) == 0);
            continue;
        }
        const cl_device_id id = clsample_devices_info(list, index)->device_id;
        ck_cl(clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, NULL));
        ck_assert(type & cases[i].type);
    }
}
END_TEST

/* NULL gives the best that passes and marks it, and only it. */
START_TEST(select_best)
{
    size_t index = 0;

    for (int i = 0; i < 2; i++) {
        ck_ok(clsample_devices_select(list, NULL, &index));
        ck_assert_uint_eq(clsample_devices_info(list, index)->rank, 1);
        for (size_t k = 0; k < clsample_devices_count(list); k++)
            ck_assert_int_eq(clsample_devices_info(list, k)->is_default, k == index);
    }
    ck_ok(clsample_devices_select(list, clsample_devices_info(list, own_entry())->selector, &index));
    ck_assert_int_eq(clsample_devices_info(list, index)->is_default,
                     clsample_devices_info(list, index)->rank == 1);
}
END_TEST

static const char *const unmatched[] = { "no such device", "99:0", "0:99", "0:-", "gpus" };

/* The message has a line for every entry, and nothing was tried. */
START_TEST(select_nothing)
{
    const char *message = clsample_last_error()->message;
    size_t index = 99;

    ck_assert_int_eq(clsample_devices_select(list, unmatched[_i], &index), CLSAMPLE_E_NO_DEVICE);
    ck_assert_uint_eq(index, 99);
    ck_assert_int_eq(clsample_last_error()->status, CLSAMPLE_E_NO_DEVICE);
    ck_assert_ptr_nonnull(strstr(message, unmatched[_i]));
    for (size_t i = 0; i < clsample_devices_count(list); i++) {
        const clsample_device_info *info = clsample_devices_info(list, i);
        char line[32];
        snprintf(line, sizeof line, "\n  %s ", info->selector);
        ck_assert_msg(strstr(message, line) != NULL, "%s is missing: %s", info->selector, message);
        ck_assert_str_eq(info->self_check, "not run");
    }
    ck_assert_ptr_nonnull(strstr(message, ": not selected"));
}
END_TEST

/* ---- Arguments ---- */

START_TEST(null_arguments)
{
    size_t index = 0;

    ck_assert_int_eq(clsample_devices_open(NULL, NULL), CLSAMPLE_E_ARGUMENT);
    ck_assert_uint_eq(clsample_devices_count(NULL), 0);
    ck_assert_ptr_null(clsample_devices_info(NULL, 0));
    clsample_devices_close(NULL);
    ck_assert_int_eq(clsample_devices_check(NULL, 0), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_devices_check(list, clsample_devices_count(list)), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_devices_select(NULL, NULL, &index), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_devices_select(list, NULL, NULL), CLSAMPLE_E_ARGUMENT);
    ck_assert_int_eq(clsample_devices_select(list, "", &index), CLSAMPLE_E_ARGUMENT);
}
END_TEST

static const struct {
    const char *what;
    clsample_options options;
    clsample_status want;
} bad[] = {
    { "size 0", { .size = 0 }, CLSAMPLE_E_ARGUMENT },
    { "unknown flag", { .size = sizeof(clsample_options), .flags = 64 }, CLSAMPLE_E_VERSION },
    { "reserved", { .size = sizeof(clsample_options), .reserved = 1 }, CLSAMPLE_E_VERSION },
    { "group no power of two", { .size = sizeof(clsample_options), .work_group = 48 }, CLSAMPLE_E_ARGUMENT },
    { "group too large", { .size = sizeof(clsample_options), .work_group = 512 }, CLSAMPLE_E_ARGUMENT },
};

START_TEST(bad_options)
{
    clsample_devices *none = list;
    const clsample_status st = clsample_devices_open(&bad[_i].options, &none);

    ck_assert_msg(st == bad[_i].want, "%s: %s", bad[_i].what, clsample_status_name(st));
    ck_assert_ptr_null(none);
    ck_assert_int_eq(clsample_last_error()->status, bad[_i].want);
}
END_TEST

/* The list keeps the folder's name, not the caller's memory. */
START_TEST(cache_dir_is_copied)
{
    clsample_options options = test_options();
    const char *folder = options.cache_dir ? options.cache_dir : "";
    char *own = test_alloc(strlen(folder) + 1);

    close_list();
    memcpy(own, folder, strlen(folder) + 1);
    options.cache_dir = own;
    ck_ok(clsample_devices_open(&options, &list));
    memset(own, '?', strlen(own));
    free(own);
    ck_ok(clsample_devices_check(list, own_entry()));
}
END_TEST

/* ---- A context from the list ---- */

/* The linker puts these between library and loader: they count what is compiled, and can make a context that
 * has no devices. */
cl_int __real_clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices, const char *options,
                             void(CL_CALLBACK *notify)(cl_program, void *), void *user);
cl_int __wrap_clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices, const char *options,
                             void(CL_CALLBACK *notify)(cl_program, void *), void *user);
cl_int __real_clGetContextInfo(cl_context context, cl_context_info what, size_t room, void *value,
                               size_t *size);
cl_int __wrap_clGetContextInfo(cl_context context, cl_context_info what, size_t room, void *value,
                               size_t *size);
static int builds;
static bool without_devices;

cl_int __wrap_clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices, const char *options,
                             void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    builds++;
    return __real_clBuildProgram(program, n, devices, options, notify, user);
}

cl_int __wrap_clGetContextInfo(cl_context context, cl_context_info what, size_t room, void *value,
                               size_t *size)
{
    if (!without_devices || what != CL_CONTEXT_DEVICES)
        return __real_clGetContextInfo(context, what, room, value, size);
    if (size) *size = 0;
    return CL_SUCCESS;
}

/* It works as one that clsample_create makes, without a second self-check. */
START_TEST(create_is_no_second_check)
{
    static const float host[] = { 1.0f, 3.0f, 2.0f };
    clsample_options made_tuning = CLSAMPLE_OPTIONS_INIT, tuning = CLSAMPLE_OPTIONS_INIT;
    clsample_params params = CLSAMPLE_PARAMS_INIT;
    clsample_logits logits = CLSAMPLE_LOGITS_INIT;
    clsample_result result = { 0 };
    clsample_ctx *ctx = NULL;

    ck_ok(clsample_devices_check(list, own_entry()));
    builds = 0;
    ck_ok(clsample_devices_create(list, own_entry(), dev.context, &ctx));
    ck_assert_int_eq(builds, 0);
    ck_ok(clsample_get_tuning(ctx, &made_tuning));
    ck_ok(clsample_get_tuning(dev.ctx, &tuning));
    ck_assert_mem_eq(&made_tuning, &tuning, sizeof tuning);
    params.temperature = 0.0f;
    logits.rows = 1;
    logits.vocab = COUNT(host);
    ck_ok(clsample_sample(ctx, &params, 1, &logits, host, &result));
    ck_assert_int_eq(result.token, 1);
    clsample_destroy(ctx);
}
END_TEST

/* Without a check before, it runs one, and the list shows it. */
START_TEST(create_checks)
{
    clsample_ctx *ctx = NULL;

    builds = 0;
    ck_ok(clsample_devices_create(list, own_entry(), dev.context, &ctx));
    ck_assert_int_eq(builds, 1);
    ck_assert_str_eq(clsample_devices_info(list, own_entry())->self_check, "passed");
    clsample_destroy(ctx);
}
END_TEST

START_TEST(create_needs_its_device)
{
    clsample_ctx *ctx = dev.ctx;

    without_devices = true;
    const clsample_status st = clsample_devices_create(list, own_entry(), dev.context, &ctx);
    without_devices = false;
    ck_assert_int_eq(st, CLSAMPLE_E_ARGUMENT);
    ck_assert_ptr_null(ctx);
    ck_assert_ptr_nonnull(strstr(clsample_last_error()->message, "context does not have device"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("devices");
    TCase *t = tcase_create("devices");

    tcase_add_checked_fixture(t, open_list, close_list);
    tcase_add_test(t, infos_are_consistent);
    tcase_add_test(t, ranks_are_an_order);
    tcase_add_test(t, check_passes);
    tcase_add_test(t, check_skipped);
    tcase_add_test(t, select_by_place);
    tcase_add_test(t, select_by_name);
    tcase_add_test(t, select_by_type);
    tcase_add_test(t, select_best);
    tcase_add_loop_test(t, select_nothing, 0, (int)COUNT(unmatched));
    tcase_add_test(t, null_arguments);
    tcase_add_loop_test(t, bad_options, 0, (int)COUNT(bad));
    tcase_add_test(t, cache_dir_is_copied);
    tcase_add_test(t, create_is_no_second_check);
    tcase_add_test(t, create_checks);
    tcase_add_test(t, create_needs_its_device);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return test_main(suite);
}
