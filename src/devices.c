/* SPDX-License-Identifier: Apache-2.0 */
/* The list of devices: what the ICD loader offers, ranked, checked, chosen. A driver that fails costs its own
 * entry and nothing else: every error becomes a reason in the list. */
#include "context.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kinds of devices, by the speed to be expected of them, in the order of preference. */
enum { KIND_GPU, KIND_ACCELERATOR, KIND_CPU, KIND_RASTERIZER, KIND_OTHER };

typedef struct entry {
    clsample_device_info info;
    cl_device_type type; /* all the bits that the driver sets: a device may be several things */
    int kind;
    bool checked;            /* its outcome is in the info; never run twice */
    cls_abilities abilities; /* what the check found out, if it passed */
} entry;

struct clsample_devices {
    entry *entries;
    size_t count, room;
    clsample_options options;
    char *cache_dir; /* what options.cache_dir points to */
};

/* ---- Text ---- */

/* Copy as much as fits. */
static void copy_text(char *to, size_t size, const char *from)
{
    const size_t length = CLS_MIN(strlen(from), size - 1);

    memcpy(to, from, length);
    to[length] = '\0';
}

/* Whether `text` contains `part`, in ASCII without regard to case. */
static bool contains(const char *text, const char *part)
{
    const size_t length = strlen(part);

    for (; strlen(text) >= length; text++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == length) return true;
    }
    return false;
}

/* Equal but for case. */
static bool same(const char *a, const char *b)
{
    return strlen(a) == strlen(b) && contains(a, b);
}

/* "P:D" or "P:-": digits, a colon, digits or a minus sign. */
static bool is_place(const char *selector)
{
    const char digits[] = "0123456789";
    const size_t platform = strspn(selector, digits);
    const char *device = selector + platform + 1;

    if (platform == 0 || selector[platform] != ':') return false;
    const size_t length = strspn(device, digits);
    return strcmp(device, "-") == 0 || (length > 0 && device[length] == '\0');
}

/* ---- Entries ---- */

/* A new entry, all 0, at the end; NULL without memory. It stays where it is until the next one is added. */
static entry *add_entry(clsample_devices *list)
{
    if (list->count == list->room) {
        const size_t room = list->room > 0 ? 2 * list->room : 8;
        entry *entries = realloc(list->entries, room * sizeof *entries);
        if (!entries) return NULL;
        list->entries = entries;
        list->room = room;
    }
    entry *e = &list->entries[list->count++];
    memset(e, 0, sizeof *e);
    return e;
}

/* The reason is the caller's message, cut to fit. */
static void refuse(clsample_device_info *info, const char *reason)
{
    info->usable = 0;
    copy_text(info->reason, sizeof info->reason, reason);
}

/* "" stays where the driver gives none. */
static void name_platform(clsample_device_info *info, cl_platform_id platform)
{
    size_t size = 0;

    if (clGetPlatformInfo(platform, CL_PLATFORM_NAME, 0, NULL, &size) != CL_SUCCESS || size == 0) return;
    char *name = calloc(size + 1, 1);
    if (name && clGetPlatformInfo(platform, CL_PLATFORM_NAME, size, name, NULL) == CL_SUCCESS)
        copy_text(info->platform, sizeof info->platform, name);
    free(name);
}

/* Numbers for the list: 0 where the driver gives none. Those that the library depends on are checked, with
 * the error told, by cls_device_usable. */
static cl_uint query_uint(cl_device_id device, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static uint64_t query_ulong(cl_device_id device, cl_device_info what)
{
    cl_ulong value = 0; /* also the type of the bit fields */
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static size_t query_size(cl_device_id device, cl_device_info what)
{
    size_t value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

/* A device may be several things; Oclgrind says that it is all. */
static const char *type_name(cl_device_type type)
{
    if (type & CL_DEVICE_TYPE_GPU) return "gpu";
    if (type & CL_DEVICE_TYPE_ACCELERATOR) return "accelerator";
    if (type & CL_DEVICE_TYPE_CPU) return "cpu";
    return type & CL_DEVICE_TYPE_CUSTOM ? "custom" : "none";
}

/* Software rasterizers run on the CPU whatever they call themselves, slower than a CPU's own driver. */
static int kind_of(const char *name, cl_device_type type)
{
    static const char *const rasterizers[] = { "llvmpipe", "softpipe", "SwiftShader" };

    for (size_t i = 0; i < CLS_COUNT(rasterizers); i++) {
        if (contains(name, rasterizers[i])) return KIND_RASTERIZER;
    }
    if (type & CL_DEVICE_TYPE_GPU) return KIND_GPU;
    if (type & CL_DEVICE_TYPE_ACCELERATOR) return KIND_ACCELERATOR;
    return type & CL_DEVICE_TYPE_CPU ? KIND_CPU : KIND_OTHER;
}

/* Asks, but makes nothing on the device. */
static void describe_device(entry *e, cl_device_id device)
{
    clsample_device_info *info = &e->info;
    const uint64_t fp = query_ulong(device, CL_DEVICE_SINGLE_FP_CONFIG);

    info->device_id = device;
    cls_device_string(device, CL_DEVICE_NAME, info->name, sizeof info->name);
    cls_device_string(device, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    cls_device_string(device, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    cls_device_string(device, CL_DEVICE_VERSION, info->opencl, sizeof info->opencl);
    cls_device_string(device, CL_DEVICE_OPENCL_C_VERSION, info->opencl_c, sizeof info->opencl_c);
    e->type = query_ulong(device, CL_DEVICE_TYPE);
    copy_text(info->type, sizeof info->type, type_name(e->type));
    info->compute_units = query_uint(device, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->local_memory = query_ulong(device, CL_DEVICE_LOCAL_MEM_SIZE);
    info->global_memory = query_ulong(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_allocation = query_ulong(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->max_work_group = query_size(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info->fp16 = cls_device_has(device, "cl_khr_fp16");
    info->denormals = (fp & CL_FP_DENORM) != 0;
    info->fma = (fp & CL_FP_FMA) != 0;
    info->simulator = contains(info->platform, "oclgrind") || contains(info->name, "oclgrind");
    e->kind = kind_of(info->name, e->type);
    info->usable = cls_device_usable(device) == CLSAMPLE_OK;
    if (!info->usable) refuse(info, clsample_last_error()->message);
}

/* ---- Listing ---- */

static clsample_status fail_memory(void)
{
    return cls_fail(CLSAMPLE_E_MEMORY, "no memory for the list of devices");
}

/* An entry with all that does not come from a device; `device` is its place in the platform, or "-". */
static entry *add_place(clsample_devices *list, cl_platform_id platform, cl_uint place, const char *device)
{
    entry *e = add_entry(list);

    if (!e) return NULL;
    e->info.platform_id = platform;
    name_platform(&e->info, platform);
    snprintf(e->info.selector, sizeof e->info.selector, "%u:%s", (unsigned)place, device);
    copy_text(e->info.type, sizeof e->info.type, "none");
    copy_text(e->info.self_check, sizeof e->info.self_check, "not run");
    return e;
}

/* The entry of a platform that has no devices to list. */
static clsample_status add_refusal(clsample_devices *list, cl_platform_id platform, cl_uint place,
                                   cl_int error)
{
    entry *e = add_place(list, platform, place, "-");

    if (!e) return fail_memory();
    e->kind = KIND_OTHER;
    if (error == CL_SUCCESS || error == CL_DEVICE_NOT_FOUND)
        refuse(&e->info, "the platform has no devices");
    else
        snprintf(e->info.reason, sizeof e->info.reason, "clGetDeviceIDs failed: %s (%d)",
                 cls_cl_error_name(error), (int)error);
    return CLSAMPLE_OK;
}

/* Whether the platform whose entries begin at `from` has given this device already. */
static bool is_listed(const clsample_devices *list, size_t from, cl_device_id device)
{
    for (size_t i = from; i < list->count; i++) {
        if (list->entries[i].info.device_id == device) return true;
    }
    return false;
}

/* Append the devices of one type; those from entry `from` on are this platform's. *error is the driver's. */
static clsample_status add_devices(clsample_devices *list, cl_platform_id platform, cl_uint place,
                                   size_t from, cl_device_type type, cl_int *error)
{
    clsample_status st = CLSAMPLE_OK;
    cl_uint n = 0, got = 0;
    char number[12];

    *error = clGetDeviceIDs(platform, type, 0, NULL, &n);
    if (*error != CL_SUCCESS || n == 0) return CLSAMPLE_OK;
    cl_device_id *devices = calloc(n, sizeof *devices);
    if (!devices) return fail_memory();
    *error = clGetDeviceIDs(platform, type, n, devices, &got);
    if (*error != CL_SUCCESS) got = 0;
    for (cl_uint i = 0; i < CLS_MIN(n, got); i++) {
        if (!devices[i] || is_listed(list, from, devices[i])) continue;
        snprintf(number, sizeof number, "%u", (unsigned)(list->count - from));
        entry *e = add_place(list, platform, place, number);
        if (!e) CLS_TRY(fail_memory());
        describe_device(e, devices[i]);
    }
cleanup:
    free(devices);
    return st;
}

static clsample_status add_platform(clsample_devices *list, cl_platform_id platform, cl_uint place)
{
    const size_t from = list->count;
    clsample_status st = CLSAMPLE_OK;
    cl_int error = CL_SUCCESS, ignored = CL_SUCCESS;

    st = add_devices(list, platform, place, from, CL_DEVICE_TYPE_ALL, &error);
    if (st != CLSAMPLE_OK) return st;
    /* "All" leaves out custom devices, with some drivers; and some give every device for every type. */
    st = add_devices(list, platform, place, from, CL_DEVICE_TYPE_CUSTOM, &ignored);
    if (st != CLSAMPLE_OK || list->count > from) return st;
    return add_refusal(list, platform, place, error);
}

static clsample_status add_platforms(clsample_devices *list)
{
    clsample_status st = CLSAMPLE_OK;
    cl_uint n = 0, got = 0;

    /* Without a platform the loader gives CL_PLATFORM_NOT_FOUND_KHR; any failure makes an empty list. */
    if (clGetPlatformIDs(0, NULL, &n) != CL_SUCCESS || n == 0) return CLSAMPLE_OK;
    cl_platform_id *platforms = calloc(n, sizeof *platforms);
    if (!platforms) return fail_memory();
    if (clGetPlatformIDs(n, platforms, &got) != CL_SUCCESS) got = 0;
    for (cl_uint i = 0; i < CLS_MIN(n, got); i++)
        CLS_TRY(add_platform(list, platforms[i], i));
cleanup:
    free(platforms);
    return st;
}

/* ---- Ranks ---- */

/* Whether `a`, listed before `b` or not, is the better of two usable entries. */
static bool is_better(const entry *a, const entry *b)
{
    if (a->info.simulator != b->info.simulator) return b->info.simulator;
    if (a->kind != b->kind) return a->kind < b->kind;
    if (a->info.compute_units != b->info.compute_units) return a->info.compute_units > b->info.compute_units;
    return a < b;
}

/* An entry's rank is one more than the number of better ones; lists are short. */
static void rank(clsample_devices *list)
{
    for (size_t i = 0; i < list->count; i++) {
        entry *e = &list->entries[i];
        e->info.rank = e->info.usable ? 1 : 0;
        for (size_t k = 0; e->info.usable && k < list->count; k++) {
            const entry *other = &list->entries[k];
            if (other != e && other->info.usable && is_better(other, e)) e->info.rank++;
        }
    }
}

/* ---- Open, close, look ---- */

/* What clsample_create would refuse is refused here, since it says nothing about any device. */
static clsample_status copy_options(clsample_devices *list, const clsample_options *options)
{
    const clsample_status st = cls_check_options(options, &list->options);

    if (st != CLSAMPLE_OK) return st;
    if (!list->options.cache_dir) return CLSAMPLE_OK;
    const size_t size = strlen(list->options.cache_dir) + 1;
    list->cache_dir = malloc(size);
    if (!list->cache_dir) return cls_fail(CLSAMPLE_E_MEMORY, "no memory for options.cache_dir");
    memcpy(list->cache_dir, list->options.cache_dir, size);
    list->options.cache_dir = list->cache_dir;
    return CLSAMPLE_OK;
}

clsample_status clsample_devices_open(const clsample_options *options, clsample_devices **list)
{
    const clsample_error saved = *clsample_last_error();
    clsample_status st = CLSAMPLE_OK;

    if (!list) return cls_fail(CLSAMPLE_E_ARGUMENT, "list is NULL");
    *list = NULL;
    clsample_devices *made = calloc(1, sizeof *made);
    if (!made) return fail_memory();
    CLS_TRY(copy_options(made, options));
    CLS_TRY(add_platforms(made));
    rank(made);
    cls_restore_error(&saved);
    *list = made;
    made = NULL; /* the caller owns it now */
cleanup:
    clsample_devices_close(made);
    return st;
}

void clsample_devices_close(clsample_devices *list)
{
    if (!list) return;
    free(list->entries);
    free(list->cache_dir);
    free(list);
}

size_t clsample_devices_count(const clsample_devices *list)
{
    return list ? list->count : 0;
}

const clsample_device_info *clsample_devices_info(const clsample_devices *list, size_t index)
{
    return list && index < list->count ? &list->entries[index].info : NULL;
}

/* ---- Checks ---- */

/* Make what an application would make on the device, and throw it away. */
static clsample_status try_device(const clsample_devices *list, entry *e)
{
    const cl_context_properties properties[] = { CL_CONTEXT_PLATFORM,
                                                 (cl_context_properties)e->info.platform_id, 0 };
    clsample_status st = CLSAMPLE_OK;
    clsample_ctx *ctx = NULL;
    cl_int error = CL_SUCCESS;

    cl_context context = clCreateContext(properties, 1, &e->info.device_id, NULL, NULL, &error);
    CLS_CL(error, "clCreateContext");
    CLS_TRY(cls_make_context(context, e->info.device_id, &list->options, NULL, &ctx));
    e->abilities = ctx->abilities;
cleanup:
    clsample_destroy(ctx);
    if (context) clReleaseContext(context);
    return st;
}

/* clsample_devices_check for an entry of the list; a failure is noted for the caller as its own, which leaves
 * out a compiler's log but not the line of it that the reason quotes. */
static clsample_status check_entry(clsample_devices *list, entry *e)
{
    clsample_device_info *info = &e->info;
    const bool skipped = (list->options.flags & CLSAMPLE_NO_SELF_CHECK) != 0;

    if (info->usable && !e->checked) {
        const clsample_status st = try_device(list, e);
        if (st == CLSAMPLE_E_MEMORY) return st; /* says nothing about the device */
        if (st != CLSAMPLE_OK) refuse(info, clsample_last_error()->message);
        if (!skipped && (st == CLSAMPLE_OK || st == CLSAMPLE_E_DEVICE))
            copy_text(info->self_check, sizeof info->self_check, st == CLSAMPLE_OK ? "passed" : "failed");
        e->checked = true;
        rank(list);
    }
    return info->usable ? CLSAMPLE_OK
                        : cls_fail(CLSAMPLE_E_DEVICE, "device %s: %s", info->selector, info->reason);
}

static clsample_status find_entry(clsample_devices *list, size_t index, entry **e)
{
    if (!list) return cls_fail(CLSAMPLE_E_ARGUMENT, "list is NULL");
    if (index >= list->count)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "index is %zu, the list has %zu entries", index, list->count);
    *e = &list->entries[index];
    return CLSAMPLE_OK;
}

clsample_status clsample_devices_check(clsample_devices *list, size_t index)
{
    entry *e = NULL;
    const clsample_status st = find_entry(list, index, &e);

    return st == CLSAMPLE_OK ? check_entry(list, e) : st;
}

clsample_status clsample_devices_create(clsample_devices *list, size_t index, cl_context context,
                                        clsample_ctx **ctx)
{
    clsample_status st = CLSAMPLE_OK;
    entry *e = NULL;
    bool has = false;

    if (!ctx) return cls_fail(CLSAMPLE_E_ARGUMENT, "ctx is NULL; it must point to where the context goes");
    *ctx = NULL;
    if (!context) return cls_fail(CLSAMPLE_E_ARGUMENT, "context is NULL; it must be an OpenCL context");
    if ((st = find_entry(list, index, &e)) != CLSAMPLE_OK) return st;
    if ((st = check_entry(list, e)) != CLSAMPLE_OK) return st;
    if ((st = cls_is_device_of(context, e->info.device_id, &has)) != CLSAMPLE_OK) return st;
    if (!has)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "context does not have device %s, %s / %s", e->info.selector,
                        e->info.platform, e->info.name);
    return cls_make_context(context, e->info.device_id, &list->options, &e->abilities, ctx);
}

/* ---- Choice ---- */

/* NULL matches all. A place or a type is never taken as a part of a name, so a typo cannot match another
 * device. */
static bool matches(const entry *e, const char *selector)
{
    char full[sizeof e->info.platform + sizeof e->info.name + 4];

    if (!selector) return true;
    if (is_place(selector)) return strcmp(selector, e->info.selector) == 0;
    if (same(selector, "gpu")) return (e->type & CL_DEVICE_TYPE_GPU) != 0;
    if (same(selector, "cpu")) return (e->type & CL_DEVICE_TYPE_CPU) != 0;
    if (same(selector, "accelerator")) return (e->type & CL_DEVICE_TYPE_ACCELERATOR) != 0;
    snprintf(full, sizeof full, "%s / %s", e->info.platform, e->info.name);
    return contains(full, selector);
}

/* The best usable entry that matches, NULL if there is none. */
static entry *best_match(clsample_devices *list, const char *selector)
{
    entry *best = NULL;

    for (size_t i = 0; i < list->count; i++) {
        entry *e = &list->entries[i];
        if (e->info.usable && matches(e, selector) && (!best || e->info.rank < best->info.rank)) best = e;
    }
    return best;
}

/* What there is and why it was not taken: every entry gets a line, cut to its share of the message. */
static clsample_status fail_select(const clsample_devices *list, const char *selector)
{
    char message[sizeof clsample_last_error()->message];
    const size_t room = sizeof message;
    size_t at = 0;

    if (list->count == 0)
        return cls_fail(CLSAMPLE_E_NO_DEVICE, "no OpenCL platform is installed: the ICD loader lists none");
    if (selector)
        snprintf(message, room, "no usable device matches \"%.100s\":", selector);
    else
        snprintf(message, room, "no usable device:");
    at = strlen(message);
    for (size_t i = 0; i < list->count; i++) {
        const clsample_device_info *info = &list->entries[i].info;
        const size_t share = (room - at) / (list->count - i);
        const char *why = info->reason[0] ? info->reason : "not selected";
        snprintf(message + at, share, "\n  %s %.40s / %.60s: %s", info->selector, info->platform, info->name,
                 why);
        at += strlen(message + at);
    }
    return cls_fail(CLSAMPLE_E_NO_DEVICE, "%s", message);
}

/* Marks one entry, or none if `chosen` is NULL. */
static void set_default(clsample_devices *list, const entry *chosen)
{
    for (size_t i = 0; i < list->count; i++)
        list->entries[i].info.is_default = &list->entries[i] == chosen;
}

clsample_status clsample_devices_select(clsample_devices *list, const char *selector, size_t *index)
{
    const clsample_error saved = *clsample_last_error();
    entry *e = NULL;

    if (!list) return cls_fail(CLSAMPLE_E_ARGUMENT, "list is NULL");
    if (!index) return cls_fail(CLSAMPLE_E_ARGUMENT, "index is NULL");
    if (selector && !selector[0])
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "selector is \"\", allowed are NULL, P:D, cpu, gpu, accelerator or a part of a name");
    while ((e = best_match(list, selector)) != NULL) { /* ends: a device that fails is no longer usable */
        const clsample_status st = check_entry(list, e);
        if (st == CLSAMPLE_OK) break;
        if (st != CLSAMPLE_E_DEVICE) return st;
    }
    if (!selector) set_default(list, e);
    if (!e) return fail_select(list, selector);
    cls_restore_error(&saved);
    *index = (size_t)(e - list->entries);
    return CLSAMPLE_OK;
}
