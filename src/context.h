/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLS_CONTEXT_H
#define CLS_CONTEXT_H

#include "internal.h"

#define CLS_DTYPES 3u

/* One dtype's kernels, compiled when that dtype is first used; `mask` when a filter is first run alone. */
typedef struct cls_kernels {
    cl_kernel summary, pick, mask;
} cls_kernels;

/* Memory for a batch, grown when a larger shape comes. */
typedef struct cls_scratch {
    cl_mem block, cut;
    size_t blocks, rows; /* capacities: blocks of all rows together, rows */
} cls_scratch;

/* Per-row plans on their way to the device. In use until `done`, which may be NULL, is complete. */
typedef struct cls_staging {
    struct cls_staging *next;
    cls_plan_row *host;
    cl_mem mem;
    uint32_t rows; /* capacity */
    cl_event done;
} cls_staging;

struct clsample_ctx {
    cl_context context;
    cl_device_id device;
    char *cache_dir; /* NULL: no cache */
    bool vectors;    /* the device's compiler maps vector types to registers: the kernels' CLS_VECTORS */
    uint32_t block_group,
        row_group;       /* work-items a group, for kernels over blocks or tokens, and over rows */
    uint32_t loop_limit; /* iterations after which the driver ends a work-item's loops; UINT32_MAX = none */
    cls_kernels kernels[CLS_DTYPES];
    cls_scratch scratch;
    cls_staging *staging;
    cl_event last; /* of the call before: the next one waits for it, since they share the scratch */
    cl_command_queue last_queue;

    /* clsample_sample's own */
    cl_command_queue queue;
    cl_mem host_logits, host_results;
    size_t host_logits_size;
    uint32_t host_rows;
};

/* Can this device choose a token from `blocks` blocks? E_DEVICE if its driver would end a loop too early. */
clsample_status cls_check_loops(const clsample_ctx *ctx, uint32_t blocks);
/* Compile what a dtype needs and is not there yet. */
clsample_status cls_need_kernels(clsample_ctx *ctx, uint32_t dtype, bool mask);
/* Make room for `rows` rows of `blocks` blocks each. */
clsample_status cls_need_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t blocks);
/* A staging area that no command uses, with room for `rows` plans. */
clsample_status cls_need_staging(clsample_ctx *ctx, uint32_t rows, cls_staging **out);
/* Make room for the blocking call. */
clsample_status cls_need_host(clsample_ctx *ctx, size_t logits_size, uint32_t rows);

/* ---- enqueue.c, for sample.c ---- */

/* Copy and check what does not hang on a buffer; stride 0 becomes vocab. *bytes takes the extent of all
 * rows. */
clsample_status cls_check_logits(const clsample_logits *from, clsample_logits *to, size_t *bytes);

#endif
