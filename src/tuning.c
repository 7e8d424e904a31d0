/* SPDX-License-Identifier: Apache-2.0 */
#include "context.h"

#include <stdlib.h>
#include <string.h>

#define CLS_WORK_GROUP_MIN 8u
#define CLS_WORK_GROUP_MAX 256u
#define CLS_GROUPS_MAX 4096u

/* ---- Families: the first that fits a device says how it is used ---- */

/* What a device must be; 0 and NULL fit all. */
typedef struct cls_family {
    const char *platform; /* begins with that */
    cl_device_type type;
    cl_uint vendor_id; /* PCI's */
    cl_uint width;     /* at least so many floats in a native vector */
    cls_tuning tuning; /* `groups` is for each compute unit */
} cls_family;

/* A CPU device runs a group's items one after another on one core: a single one that works on vectors is
 * best, in twice as many groups as cores, so that a core that is busy otherwise does less. A driver that
 * reports a width of 1 makes vectors of neighbouring items itself. GPUs want many items. How these were
 * chosen is in docs/design.md; GPUs go by what their compilers say of registers. */
#define CLS_CPU_VECTORS(n) \
    .vectors = true, .lanes = (n), .groups = 2, .vector_group = 1, .one_launch = true, .work_group = 256
#define CLS_GPU_GROUPS(n) \
    .vectors = false, .lanes = 4, .groups = 4, .vector_group = 1, .one_launch = true, .work_group = (n)
static const cls_family families[] = {
    /* llvmpipe loses the results of groups that are smaller than its vectors. */
    { .platform = "rusticl",
      .type = CL_DEVICE_TYPE_CPU,
      .tuning = { .lanes = 4, .groups = 2, .vector_group = 8, .one_launch = true, .work_group = 256 } },
    { .type = CL_DEVICE_TYPE_CPU, .width = 16, .tuning = { CLS_CPU_VECTORS(16) } },
    { .type = CL_DEVICE_TYPE_CPU, .width = 8, .tuning = { CLS_CPU_VECTORS(8) } },
    { .type = CL_DEVICE_TYPE_CPU, .width = 2, .tuning = { CLS_CPU_VECTORS(4) } },
    { .platform = "Oclgrind", .tuning = { CLS_GPU_GROUPS(64) } }, /* interprets every instruction */
    { .vendor_id = 0x8086, .tuning = { CLS_GPU_GROUPS(256) } },   /* Intel */
    { .vendor_id = 0x1002, .tuning = { CLS_GPU_GROUPS(256) } },   /* AMD */
    { .vendor_id = 0x10de, .tuning = { CLS_GPU_GROUPS(256) } },   /* NVIDIA */
    { .tuning = { CLS_GPU_GROUPS(128) } },
};

/* What of a device counts for the choice. */
typedef struct cls_device_kind {
    char platform[64];
    uint64_t type, vendor_id, width, largest, units;
    bool pocl;
} cls_device_kind;

static clsample_status describe(cl_device_id device, cls_device_kind *k)
{
    const struct {
        cl_device_info what;
        const char *name;
        uint64_t *value;
    } ask[] = {
        { CL_DEVICE_TYPE, "CL_DEVICE_TYPE", &k->type },
        { CL_DEVICE_VENDOR_ID, "CL_DEVICE_VENDOR_ID", &k->vendor_id },
        { CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, "CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT", &k->width },
        { CL_DEVICE_MAX_WORK_GROUP_SIZE, "CL_DEVICE_MAX_WORK_GROUP_SIZE", &k->largest },
        { CL_DEVICE_MAX_COMPUTE_UNITS, "CL_DEVICE_MAX_COMPUTE_UNITS", &k->units },
    };
    const cl_device_type kinds = CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR;
    cl_platform_id platform = NULL;

    for (size_t i = 0; i < CLS_COUNT(ask); i++) {
        const clsample_status st = cls_device_uint(device, ask[i].what, ask[i].name, ask[i].value);
        if (st != CLSAMPLE_OK) return st;
    }
    k->type &= kinds; /* without the mark of a default device */
    memset(k->platform, 0, sizeof k->platform);
    char name[256] = "";
    if (clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL) == CL_SUCCESS &&
        platform && clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name, name, NULL) == CL_SUCCESS)
        memcpy(k->platform, name, sizeof k->platform - 1);
    return cls_is_pocl(device, &k->pocl);
}

static const cls_tuning *family_of(const cls_device_kind *k)
{
    const cls_family *f = families;

    /* The last fits all. */
    while ((f->platform && strncmp(k->platform, f->platform, strlen(f->platform)) != 0) ||
           (f->type && f->type != k->type) || (f->vendor_id && f->vendor_id != k->vendor_id) ||
           f->width > k->width)
        f++;
    return &f->tuning;
}

/* ---- Options ---- */

#define CLS_FORM_FLAGS (CLSAMPLE_FORCE_VECTORS | CLSAMPLE_FORCE_GROUPS)
#define CLS_TUNING_FLAGS (CLS_FORM_FLAGS | CLSAMPLE_FORCE_TWO_LAUNCHES)
#define CLS_KNOWN_FLAGS \
    (CLS_TUNING_FLAGS | CLSAMPLE_NO_SELF_CHECK | CLSAMPLE_FORCE_ROW_SEARCH | CLSAMPLE_FORCE_COMMAND_BUFFERS)

static clsample_status check_sizes(const clsample_options *o)
{
    if (o->work_group && (o->work_group < CLS_WORK_GROUP_MIN || o->work_group > CLS_WORK_GROUP_MAX ||
                          (o->work_group & (o->work_group - 1))))
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "options.work_group is %u; it must be 0 (by device) or a power of two from %u to %u",
                        (unsigned)o->work_group, CLS_WORK_GROUP_MIN, CLS_WORK_GROUP_MAX);
    if (o->lanes && o->lanes != 4 && o->lanes != 8 && o->lanes != 16)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.lanes is %u; it must be 0 (by device), 4, 8 or 16",
                        (unsigned)o->lanes);
    if (o->groups > CLS_GROUPS_MAX)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.groups is %u; it must be 0 (by device) or 1 to %u",
                        (unsigned)o->groups, CLS_GROUPS_MAX);
    return CLSAMPLE_OK;
}

clsample_status cls_check_options(const clsample_options *options, clsample_options *out)
{
    *out = (clsample_options)CLSAMPLE_OPTIONS_INIT;
    if (!options) return CLSAMPLE_OK;
    const clsample_status st = cls_copy_struct(out, sizeof *out, CLS_OPTIONS_SIZE_1, options, "options");
    if (st != CLSAMPLE_OK) return st;
    if (out->flags & ~CLS_KNOWN_FLAGS || out->reserved)
        return cls_fail(CLSAMPLE_E_VERSION,
                        "options.flags is 0x%x and options.reserved is %u; this library knows only the bits "
                        "0x%x and 0",
                        (unsigned)out->flags, (unsigned)out->reserved, CLS_KNOWN_FLAGS);
    if ((out->flags & CLS_FORM_FLAGS) == CLS_FORM_FLAGS)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "options.flags is 0x%x; of FORCE_VECTORS and FORCE_GROUPS at most one may be set",
                        (unsigned)out->flags);
    return check_sizes(out);
}

/* ---- What was stored for a device ---- */

enum { FLAGS, WORK_GROUP, LANES, GROUPS, WORDS };
#define CLS_TUNING_SUFFIX ".tuning"

static void make_key(cl_device_id device, char key[CLS_HASH_DIGITS + sizeof CLS_TUNING_SUFFIX])
{
    cls_hash h;

    cls_hash_begin(&h);
    cls_hash_device(&h, device);
    cls_hash_end(&h, key);
    memcpy(key + CLS_HASH_DIGITS, CLS_TUNING_SUFFIX, sizeof CLS_TUNING_SUFFIX);
}

/* A word of either is 4 bytes, little-endian. */
static void write_words(const clsample_options *o, unsigned char bytes[4 * WORDS])
{
    const uint32_t words[WORDS] = {
        [FLAGS] = o->flags, [WORK_GROUP] = o->work_group, [LANES] = o->lanes, [GROUPS] = o->groups
    };

    for (size_t i = 0; i < sizeof words; i++)
        bytes[i] = (unsigned char)(words[i / 4] >> 8 * (i % 4));
}

static clsample_options read_words(const unsigned char bytes[4 * WORDS])
{
    clsample_options o = CLSAMPLE_OPTIONS_INIT;
    uint32_t words[WORDS] = { 0 };

    for (size_t i = 0; i < sizeof words; i++)
        words[i / 4] |= (uint32_t)bytes[i] << 8 * (i % 4);
    o.flags = words[FLAGS];
    o.work_group = words[WORK_GROUP];
    o.lanes = words[LANES];
    o.groups = words[GROUPS];
    return o;
}

/* Nothing, if nothing is stored or it is not what this library would have written. */
static clsample_options load_tuning(cl_device_id device, const char *dir)
{
    char key[CLS_HASH_DIGITS + sizeof CLS_TUNING_SUFFIX];
    const clsample_options nothing = CLSAMPLE_OPTIONS_INIT;
    const clsample_error saved = *clsample_last_error();
    clsample_options loaded, checked;
    size_t size = 0;

    if (!dir || !dir[0]) return nothing;
    make_key(device, key);
    unsigned char *bytes = cls_cache_load(dir, key, &size);
    loaded = bytes && size == 4 * WORDS ? read_words(bytes) : nothing;
    free(bytes);
    if (!(loaded.flags & ~CLS_TUNING_FLAGS) && cls_check_options(&loaded, &checked) == CLSAMPLE_OK)
        return checked;
    cls_restore_error(&saved);
    return nothing;
}

clsample_status clsample_store_tuning(cl_device_id device, const clsample_options *options)
{
    char key[CLS_HASH_DIGITS + sizeof CLS_TUNING_SUFFIX];
    unsigned char bytes[4 * WORDS];
    clsample_options o;
    clsample_status st = CLSAMPLE_OK;

    if (!device) return cls_fail(CLSAMPLE_E_ARGUMENT, "device is NULL; it must be an OpenCL device");
    if ((st = cls_check_options(options, &o)) != CLSAMPLE_OK) return st;
    if (!o.cache_dir || !o.cache_dir[0])
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "options.cache_dir is %s; it must be the folder where the tuning goes",
                        o.cache_dir ? "\"\"" : "NULL");
    if (o.flags & ~CLS_TUNING_FLAGS)
        return cls_fail(
            CLSAMPLE_E_ARGUMENT,
            "options.flags is 0x%x; only FORCE_VECTORS, FORCE_GROUPS and FORCE_TWO_LAUNCHES can be "
            "stored",
            (unsigned)o.flags);
    make_key(device, key);
    cls_cache_drop(o.cache_dir, key);
    if (!o.flags && !o.work_group && !o.lanes && !o.groups) return CLSAMPLE_OK;
    write_words(&o, bytes);
    cls_cache_store(o.cache_dir, key, bytes, sizeof bytes);
    const clsample_options loaded = load_tuning(device, o.cache_dir);
    if (loaded.flags != o.flags || loaded.work_group != o.work_group || loaded.lanes != o.lanes ||
        loaded.groups != o.groups)
        return cls_fail(CLSAMPLE_E_ARGUMENT,
                        "options.cache_dir is \"%.300s\"; it must be a folder of yours that nobody else can "
                        "write to",
                        o.cache_dir);
    return CLSAMPLE_OK;
}

/* ---- The choice ---- */

static uint32_t first_of(uint32_t a, uint32_t b, uint32_t c)
{
    return a ? a : b ? b : c;
}

clsample_status cls_choose_tuning(cl_device_id device, const clsample_options *options, cls_tuning *t)
{
    const clsample_options stored = load_tuning(device, options->cache_dir);
    cls_device_kind kind;
    const clsample_status st = describe(device, &kind);

    if (st != CLSAMPLE_OK) return st;
    if (options->work_group > kind.largest)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.work_group is %u; this device takes at most %llu",
                        (unsigned)options->work_group, (unsigned long long)kind.largest);
    const uint32_t flags = options->flags & CLS_FORM_FLAGS ? options->flags : options->flags | stored.flags;
    *t = *family_of(&kind);
    t->pocl = kind.pocl;
    t->cpu = kind.type == CL_DEVICE_TYPE_CPU;
    if (flags & CLS_FORM_FLAGS) t->vectors = flags & CLSAMPLE_FORCE_VECTORS;
    t->lanes = first_of(options->lanes, stored.lanes, t->lanes);
    t->groups = first_of(options->groups, stored.groups,
                         (uint32_t)CLS_MIN(t->groups * CLS_MAX(kind.units, 1u), CLS_GROUPS_MAX));
    if (flags & CLSAMPLE_FORCE_TWO_LAUNCHES) t->one_launch = false;
    t->work_group = first_of(options->work_group, stored.work_group, t->work_group);
    while (t->work_group > kind.largest && t->work_group > CLS_WORK_GROUP_MIN)
        t->work_group /= 2;
    t->no_candidates = options->flags & CLSAMPLE_FORCE_ROW_SEARCH;
    t->command_buffers = !t->cpu || options->flags & CLSAMPLE_FORCE_COMMAND_BUFFERS;
    return CLSAMPLE_OK;
}

clsample_status clsample_get_tuning(const clsample_ctx *ctx, clsample_options *options)
{
    if (!ctx || !options)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "%s is NULL; it must %s", ctx ? "options" : "ctx",
                        ctx ? "point to where the tuning goes" : "come from clsample_create");
    const cls_tuning *t = &ctx->tuning;
    uint32_t size; /* the caller's struct may be of another version, so not by its type */
    memcpy(&size, options, sizeof size);
    if (size < CLS_OPTIONS_SIZE_1)
        return cls_fail(CLSAMPLE_E_ARGUMENT, "options.size is %u; it must be set by CLSAMPLE_OPTIONS_INIT",
                        (unsigned)size);
    clsample_options told = { .size = size,
                              .flags = t->vectors ? CLSAMPLE_FORCE_VECTORS : CLSAMPLE_FORCE_GROUPS,
                              .work_group = t->work_group,
                              .lanes = t->lanes,
                              .groups = t->groups };
    if (t->vectors && !t->one_launch) told.flags |= CLSAMPLE_FORCE_TWO_LAUNCHES;
    memcpy(options, &told, CLS_MIN(size, sizeof told));
    return CLSAMPLE_OK;
}
