/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLS_CONTEXT_H
#define CLS_CONTEXT_H

#include "tuning.h"

#define CLS_DTYPES 3u

/* One dtype's kernels, each compiled when it is first used. */
typedef struct cls_kernels {
    cl_kernel step;            /* the form for CPUs */
    cl_kernel summary, choice; /* the form for GPUs */
    cl_kernel mask;
} cls_kernels;

/* Memory for a batch, CLS_ROW_SCRATCH for each row: grown when a larger shape comes, unless the application
 * gave it. */
typedef struct cls_scratch {
    cl_mem mem;
    size_t offset, size; /* bytes */
    bool borrowed;
} cls_scratch;

/* Per-row plans on their way to the device. In use until `done`, which may be NULL, is complete. */
typedef struct cls_staging {
    struct cls_staging *next;
    cls_plan_row *host; /* goes with `mem` */
    cl_mem mem;
    uint32_t rows; /* capacity */
    cl_event done;
} cls_staging;

/* The events of the commands of a call, in their order, where they are asked for. Those before the last
 * serve nobody any more, but are kept until the next call: PoCL 3.1 uses an event in the middle of a chain
 * that fails after it was given back. */
#define CLS_EVENTS_MAX 8u
typedef struct cls_events {
    cl_event event[CLS_EVENTS_MAX];
    cl_uint n;
} cls_events;

/* What a call must follow, since it shares memory with the call before. */
typedef struct cls_previous {
    cls_events events; /* of that call; none: nothing to follow ... */
    bool unknown;      /* ... or everything on its queue, since an in-order queue is asked for no event */
} cls_previous;

struct clsample_ctx {
    cl_context context;
    cl_device_id device;
    char *cache_dir; /* NULL: no cache */
    cls_tuning tuning;
    cls_abilities abilities;
    cls_kernels kernels[CLS_DTYPES];
    cl_kernel ban, append; /* clsample_generate's, compiled when they are first used */
    cls_scratch scratch;
    cl_mem arrived; /* a zero for each group that tuning.groups allows */
    cls_staging *staging;
    /* The call before, for which the next one waits, since they share the scratch. */
    cls_previous previous;
    cl_command_queue last_queue;
    bool last_in_order;

    /* clsample_sample's own */
    cl_command_queue queue;
    cl_mem host_logits, host_results;
    size_t host_logits_size;
    uint32_t host_rows;
};

/* clsample_create after its arguments were checked; without the self-check if it is `known` what that would
 * find out. */
clsample_status cls_make_context(cl_context context, cl_device_id device, const clsample_options *options,
                                 const cls_abilities *known, clsample_ctx **out);
/* Can this device choose a token of so many? E_DEVICE if its driver would end a loop too early. */
clsample_status cls_check_loops(const clsample_ctx *ctx, uint32_t vocab);
/* Compile what a dtype needs and is not there yet. */
clsample_status cls_need_kernels(clsample_ctx *ctx, uint32_t dtype, bool mask);
clsample_status cls_need_text_kernels(clsample_ctx *ctx);
void cls_release_events(cls_events *events);

/* ---- memory.c ---- */

/* Make room for a batch in the context's scratch, or in one of its own. */
clsample_status cls_need_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab);
clsample_status cls_make_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab, cls_scratch *scratch);
clsample_status cls_make_arrived(clsample_ctx *ctx, cl_mem *arrived);
/* A staging area that no command uses, with room for `rows` plans. */
clsample_status cls_need_staging(clsample_ctx *ctx, uint32_t rows, cls_staging **out);
/* Take one out of use for good; commands that read it still may. */
void cls_give_up_staging(clsample_ctx *ctx, cls_staging *staging);
/* Make room for the blocking call. */
clsample_status cls_need_host(clsample_ctx *ctx, size_t logits_size, uint32_t rows);
void cls_free_memory(clsample_ctx *ctx);

/* ---- arguments.c ---- */

/* Is a buffer of this context, has the offset that multiple, and does it hold `need` bytes from there on? */
clsample_status cls_check_mem(const clsample_ctx *ctx, cl_mem mem, size_t offset, size_t align, size_t need,
                              const char *name);

/* Copy and check what does not hang on a buffer; stride 0 becomes vocab. *bytes takes the extent of all
 * rows. */
clsample_status cls_check_logits(const clsample_logits *from, clsample_logits *to, size_t *bytes);

#endif
