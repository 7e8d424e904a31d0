/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the library's list of samplers for tests/test_sampler_options: one JSON object. */
#include "clsample.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static json_t *describe(const clsample_sampler_entry *e)
{
    json_t *off = e->count_offset || isnan(e->off) ? json_null() : json_real(e->off);
    json_t *places = json_array();

    for (size_t i = 0; i < sizeof e->place; i++)
        json_array_append_new(places, json_integer(e->place[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:o, s:o}", "name", e->name, "option",
                     e->option, "alias", e->alias, "value", e->value, "range", e->range, "help", e->help,
                     "list", e->count_offset != 0, "edit", e->kind == CLSAMPLE_KIND_EDIT, "off", off,
                     "places", places);
}

int main(void)
{
    const clsample_sampler_entry *e;
    json_t *list = json_array();

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        json_array_append_new(list, describe(e));
    json_t *object = json_pack("{s:o}", "samplers", list);
    const int failed = !object || json_dumpf(object, stdout, 0) != 0;
    json_decref(object);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
