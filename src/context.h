/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLS_CONTEXT_H
#define CLS_CONTEXT_H

#include "events.h"
#include "tuning.h"

#define CLS_DTYPES 3u

/* One dtype's kernels, each compiled when it is first used: those for plans without extras and with. */
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

/* The edits of the rows of a batch, in a buffer that was made for them and never changes. What it was made
 * from is kept, so that the same again takes no command. */
typedef struct cls_edits {
    cl_mem mem;       /* NULL: none */
    uint32_t vocab;   /* that ids were checked for */
    uint32_t sets;    /* of params ... */
    uint32_t *counts; /* [2 * sets]: n_bias and n_banned of each */
    uint32_t *first; /* [2, sets + 1]: where each set's edits begin in the list, and the same with held ids */
    uint32_t until;  /* new tokens from which nothing is held any more; 0: nothing is */
    clsample_bias *bias; /* all sets', one after the other */
    int32_t *banned;     /* likewise */
} cls_edits;

/* Per-row plans on their way to the device. In use until `done`, which may be NULL, is complete. */
typedef struct cls_staging {
    struct cls_staging *next;
    cls_plan_row *host; /* goes with `mem` */
    cl_mem mem;
    uint32_t rows; /* capacity */
    cl_event done;
} cls_staging;

/* What recorded rows continue: texts, and what they must not draw yet. */
typedef struct cls_history {
    const cls_row_state *states; /* [rows]: lengths, limits and ends; steps are those of the params */
    cl_mem ids;                  /* int32 [rows, stride], borrowed */
    uint32_t stride;
    const int32_t *held; /* [n_held] ids that are banned before a row has `until` new tokens */
    uint32_t n_held, until;
} cls_history;

struct clsample_ctx {
    cl_context context;
    cl_device_id device;
    char *cache_dir; /* NULL: no cache */
    cls_tuning tuning;
    cls_abilities abilities;
    cls_kernels kernels[CLS_DTYPES][2];
    cl_kernel finish; /* clsample_generate's, compiled when it is first used */
    cls_scratch scratch;
    cls_planned planned; /* of the last call with one set of params for all rows */
    cls_edits edits;
    cl_mem extras; /* see CLS_EXTRAS_SIZE */
    size_t extras_size;
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

/* ---- context.c ---- */

/* clsample_create after its arguments were checked; without the self-check if it is `known` what that would
 * find out. */
clsample_status cls_make_context(cl_context context, cl_device_id device, const clsample_options *options,
                                 const cls_abilities *known, clsample_ctx **out);

/* ---- kernels.c ---- */

/* Compile what logits of this dtype and vocab need and is not there yet: E_DEVICE if the driver would end a
 * loop over them too early. */
clsample_status cls_need_kernels(clsample_ctx *ctx, const clsample_logits *shape, bool extras, bool mask);
clsample_status cls_need_text_kernels(clsample_ctx *ctx);
void cls_free_kernels(clsample_ctx *ctx);

/* ---- edits.c ---- */

/* Check the edits of n sets of params and make *e theirs. `held` NULL: none are. On failure it is empty. */
clsample_status cls_need_edits(clsample_ctx *ctx, const clsample_params *sets, uint32_t n, uint32_t vocab,
                               const cls_history *held, cls_edits *e);
/* Say in a plan of this set where its edits are. */
void cls_place_edits(const cls_edits *e, uint32_t set, cls_plan_row *plan);
/* Let a row whose state has those of its plan begin with the held ids banned, if there are any. */
void cls_hold_edits(const cls_edits *e, uint32_t set, cls_row_state *state);
void cls_free_edits(cls_edits *e);

/* ---- memory.c ---- */

/* Make room for a batch in the context's scratch, or in one of its own. */
clsample_status cls_need_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab);
clsample_status cls_make_scratch(clsample_ctx *ctx, uint32_t rows, uint32_t vocab, cls_scratch *scratch);
clsample_status cls_make_arrived(clsample_ctx *ctx, cl_mem *arrived);
/* The same for what kernels with extras need. */
clsample_status cls_need_extras(clsample_ctx *ctx, uint32_t rows, uint32_t vocab);
clsample_status cls_make_extras(clsample_ctx *ctx, uint32_t rows, uint32_t vocab, cl_mem *extras);
/* How many tiles of a batch are worked on at a time, each in a window. */
uint32_t cls_windows(const cls_tuning *tuning, uint32_t rows);
/* A staging area that no command uses, with room for `rows` plans. */
clsample_status cls_need_staging(clsample_ctx *ctx, uint32_t rows, cls_staging **out);
/* Take one out of use for good; commands that read it still may. */
void cls_give_up_staging(clsample_ctx *ctx, cls_staging *staging);
/* Make room for the blocking call. */
clsample_status cls_need_host(clsample_ctx *ctx, size_t logits_size, uint32_t rows);
void cls_free_memory(clsample_ctx *ctx);

#endif
