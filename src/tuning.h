/* SPDX-License-Identifier: Apache-2.0 */
/* How a device is used best: chosen by its family, measured and stored, or forced. */
#ifndef CLS_TUNING_H
#define CLS_TUNING_H

#include "internal.h"

/* How the kernels are built and launched. Nothing here changes a result. */
typedef struct cls_tuning {
    bool vectors;          /* the form for CPUs: the device's compiler maps vector types to registers */
    uint32_t lanes;        /* with it, CLS_LANES: logits in a vector */
    uint32_t groups;       /* with it, the groups that share the rows of a batch */
    uint32_t vector_group; /* with it, work-items a group, of which the first does all */
    bool one_launch;       /* with it, that the last of a row's groups chooses */
    uint32_t work_group;   /* without it, work-items a group */
    bool pocl;             /* the driver is PoCL */
    bool cpu;              /* CLS_KEEP_CALLS: large functions are not put where they are called */
    bool command_buffers;  /* for recorded jobs */
    bool no_candidates;    /* CLS_CANDIDATES_OFF: every cut is looked for in the row itself */
} cls_tuning;

/* Copy the caller's options, which may be NULL, and check what does not hang on a device. */
clsample_status cls_check_options(const clsample_options *options, clsample_options *out);
/* Work out the tuning for checked options: what they leave open comes from what is stored in their cache_dir
 * for this device, and then from its family. */
clsample_status cls_choose_tuning(cl_device_id device, const clsample_options *options, cls_tuning *tuning);

#endif
