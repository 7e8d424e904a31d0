/* SPDX-License-Identifier: Apache-2.0 */
/* clsample: from a language model's logits to the next token, on any OpenCL device.
 *
 *     clsample_ctx *ctx = NULL;
 *     clsample_params p = CLSAMPLE_PARAMS_INIT;
 *     clsample_logits in = CLSAMPLE_LOGITS_INIT;
 *     clsample_output out = CLSAMPLE_OUTPUT_INIT;
 *
 *     clsample_create(context, device, NULL, &ctx);       the application's own context and device
 *     p.temperature = 0.8f; p.top_k = 50; p.seed = 7;
 *     in.mem = logits; in.rows = 1; in.vocab = in.stride = 49152;
 *     out.tokens = tokens;                                an int32 a row, in a buffer
 *     clsample_enqueue(ctx, queue, &p, 1, &in, &out, 0, NULL, NULL);
 *
 * The promise: the same logits, parameters and seed give the same token, log-probability bits and count on
 * every device, driver, work-group size and batch. docs/design.md says how it is kept.
 *
 * The parts of this header, each of which can be included alone:
 *     clsample/status.h    the version, status codes, the last error
 *     clsample/device.h    options, devices, contexts, tuning
 *     clsample/samplers.h  samplers and their parameters
 *     clsample/sampling.h  logits in, tokens out: enqueued, blocking, recorded; filters alone
 *     clsample/generate.h  whole texts
 *
 * Threads: use a clsample_ctx or a clsample_devices from one thread at a time; different ones may be used by
 * different threads at the same time, on the same device too.
 *
 * Versions: structs begin with their size, set by their _INIT macro, and fields are only ever appended; the
 * library takes a shorter struct (missing fields get their defaults) and refuses a longer one in which a byte
 * that it does not know is set. Status values never change.
 */
#ifndef CLSAMPLE_H
#define CLSAMPLE_H

#include "clsample/device.h"
#include "clsample/generate.h"
#include "clsample/samplers.h"
#include "clsample/sampling.h"
#include "clsample/status.h"

#endif
