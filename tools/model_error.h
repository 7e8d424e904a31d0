/* SPDX-License-Identifier: Apache-2.0 */
/* How a command ends where the model runner failed. */
#ifndef MODEL_ERROR_H
#define MODEL_ERROR_H

#include "cli.h"
#include "model/gguf.h"

/* Note what it could not read or do, and return the exit code. */
int cli_fail_model(cli *c, const model_error *error);

#endif
