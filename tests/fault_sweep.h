/* SPDX-License-Identifier: Apache-2.0 */
/* How a test makes the sites of faults.h fail. */
#ifndef CLSAMPLE_TESTS_FAULT_SWEEP_H
#define CLSAMPLE_TESTS_FAULT_SWEEP_H

#include "faults.h"

/* Which visits fail. */
typedef struct fault_plan {
    unsigned first;   /* the one with this number, from 1 on; 0 = none */
    unsigned second;  /* and so many after it; 0 = none */
    unsigned visits;  /* of one site only so many count; 0 = all */
    const char *file; /* of the first failure; NULL = any */
    const char *call; /* likewise */
    unsigned retries; /* after each failure of a number that this divides the same must go well; 0 = all */
} fault_plan;

/* From now on visits count. */
void fault_arm(const fault_plan *plan);
/* Visits no longer count. How many failed? */
unsigned fault_disarm(void);
/* The call that failed last, and where it stands. */
const char *fault_name(void);
/* A site's file, from src/ on. */
const char *fault_file(const fault_site *site);
/* What the library holds now. */
void fault_count(int counts[FAULT_KINDS]);
/* Let PoCL pass for another driver, which has its programs from the library's cache; let command buffers be
 * such as cannot be enqueued again before they have ended. */
void fault_hide(bool pocl, bool simultaneous_use);
/* All sites in the order of files and lines; returns how many there are, which may be more than `room`: then
 * nothing is written. */
size_t fault_list(fault_site **sites, size_t room);

#endif
