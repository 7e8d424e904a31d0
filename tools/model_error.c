/* SPDX-License-Identifier: Apache-2.0 */
#include "model_error.h"

int cli_fail_model(cli *c, const model_error *error)
{
    return error->out_of_memory ? cli_fail_memory(c) : cli_fail_input(c, "%s", error->message);
}
