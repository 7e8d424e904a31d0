/* SPDX-License-Identifier: Apache-2.0 */
#include "sampling.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define QUOTED 80 /* characters of a wrong element that a message shows */

static const char *const rules_names[] = { "seed", "transformers", "vllm", "llama.cpp", NULL };

const char *cli_rules_name(uint32_t rules)
{
    return rules <= CLSAMPLE_RULES_LLAMA_CPP ? rules_names[rules] : "unknown";
}

/* ---- Fields ---- */

static uint32_t word_at(const clsample_params *p, size_t offset)
{
    uint32_t word;
    memcpy(&word, (const unsigned char *)p + offset, sizeof word);
    return word;
}

double sampling_value(const clsample_params *p, const clsample_sampler_entry *e)
{
    const uint32_t word = e->count_offset ? 0 : word_at(p, e->offset);
    float number;

    memcpy(&number, &word, sizeof number);
    return e->type == CLSAMPLE_TYPE_UINT32 ? (double)word : (double)number;
}

uint32_t sampling_count(const clsample_params *p, const clsample_sampler_entry *e)
{
    return e->count_offset ? word_at(p, e->count_offset) : 0;
}

bool sampling_is_set(const clsample_params *p, const clsample_sampler_entry *e)
{
    return e->count_offset ? sampling_count(p, e) > 0 : sampling_value(p, e) != e->standard;
}

static void copy_field(clsample_params *to, const clsample_params *from, size_t offset, size_t size)
{
    memcpy((unsigned char *)to + offset, (const unsigned char *)from + offset, size);
}

void sampling_copy(clsample_params *to, const clsample_params *from, const clsample_sampler_entry *e)
{
    copy_field(to, from, e->offset, e->count_offset ? sizeof(void *) : sizeof(uint32_t));
    if (e->count_offset) copy_field(to, from, e->count_offset, sizeof(uint32_t));
    if (e->kind == CLSAMPLE_KIND_SCALE) to->flags = from->flags;
}

/* ---- The order ---- */

bool sampling_is_greedy(const clsample_params *p)
{
    return p->flags & CLSAMPLE_GREEDY || p->temperature == 0.0f;
}

static const clsample_sampler_entry *find_number(uint32_t sampler)
{
    const clsample_sampler_entry *e;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        if (e->sampler == sampler) return e;
    return NULL;
}

static const clsample_sampler_entry *find_place(uint32_t rules, size_t place)
{
    const clsample_sampler_entry *e;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        if (e->place[rules] == place) return e;
    return NULL;
}

/* Each at most once, and only if it is on. */
static size_t append(const clsample_params *p, const clsample_sampler_entry *e,
                     const clsample_sampler_entry **list, size_t count)
{
    if (!e || !clsample_sampler_is_on(p, e->sampler)) return count;
    for (size_t i = 0; i < count; i++)
        if (list[i] == e) return count;
    list[count] = e;
    return count + 1;
}

size_t sampling_list(const clsample_params *p, const clsample_sampler_entry *list[SAMPLING_MOST])
{
    const bool own = p->order[0] != 0;
    const clsample_sampler_entry *e;
    size_t count = 0;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        if (e->kind == CLSAMPLE_KIND_EDIT) count = append(p, e, list, count);
    for (size_t i = 0; own && i < CLSAMPLE_MAX_ORDER && p->order[i]; i++)
        count = append(p, find_number(p->order[i]), list, count);
    for (size_t i = 1; !own && p->rules <= CLSAMPLE_RULES_LLAMA_CPP && i <= SAMPLING_MOST; i++)
        count = append(p, find_place(p->rules, i), list, count);
    /* An order may leave it out where it is 1. */
    return append(p, find_number(CLSAMPLE_SAMPLER_TEMPERATURE), list, count);
}

void sampling_print(FILE *to, const clsample_params *p, const clsample_sampler_entry *e)
{
    if (e->kind == CLSAMPLE_KIND_SCALE && sampling_is_greedy(p))
        fputs("greedy", to);
    else if (e->count_offset)
        fprintf(to, "%s of %" PRIu32, e->option, sampling_count(p, e));
    else
        fprintf(to, "%s %.*g", e->option, e->type == CLSAMPLE_TYPE_UINT32 ? 10 : 6, sampling_value(p, e));
}

void sampling_print_all(FILE *to, const clsample_params *p, const char *separator)
{
    const clsample_sampler_entry *list[SAMPLING_MOST];
    const size_t count = sampling_list(p, list);

    for (size_t i = 0; i < count; i++) {
        if (i > 0) fputs(separator, to);
        sampling_print(to, p, list[i]);
    }
}

/* ---- Options that take a list ---- */

typedef struct element {
    const char *text;
    size_t length;
} element;

/* What stands before the next separator, without blanks around it; *rest is NULL after the last one. */
static element next_element(const char **rest, const char *separators)
{
    const char *text = *rest + strspn(*rest, " ");
    const size_t whole = strcspn(text, separators);
    element e = { text, whole };

    *rest = text[whole] ? text + whole + 1 : NULL;
    while (e.length > 0 && text[e.length - 1] == ' ')
        e.length--;
    return e;
}

static int refuse(cli *c, const cli_option *o, element e, const char *allowed)
{
    const int length = (int)(e.length < QUOTED ? e.length : QUOTED);

    return cli_fail_usage(c, "--%s \"%.*s\": allowed is %s", o->name, length, e.text, allowed);
}

/* A list has room for the next power of two of elements. NULL: out of memory. */
static void *make_room(cli *c, const void *list, uint32_t count, size_t size)
{
    if (count == 0 || (count & (count - 1)) == 0)
        return cli_keep(c, list, (count ? 2 * (size_t)count : 1) * size);
    return (void *)(uintptr_t)list;
}

/* The vocabulary is known to the library alone. */
static bool read_id(element e, int32_t *id)
{
    int64_t number = 0;

    for (size_t i = 0; i < e.length; i++) {
        if (e.text[i] < '0' || e.text[i] > '9') return false;
        number = 10 * number + (e.text[i] - '0');
        if (number > INT32_MAX) return false;
    }
    *id = (int32_t)number;
    return e.length > 0;
}

static int read_ids(cli *c, const cli_option *o, const char *text)
{
    clsample_params *p = o->target;

    while (text) {
        const element e = next_element(&text, ",");
        int32_t id = 0;
        if (!read_id(e, &id)) return refuse(c, o, e, "the id of a token, from 0 to 2147483647");
        int32_t *list = make_room(c, p->banned, p->n_banned, sizeof *list);
        if (!list) return cli_fail_memory(c);
        list[p->n_banned++] = id;
        p->banned = list;
    }
    return CLI_GO;
}

/* ID+B, ID-B or ID-inf. */
static bool read_one_bias(element e, clsample_bias *bias)
{
    element id = { e.text, 0 };

    while (id.length < e.length && e.text[id.length] != '+' && e.text[id.length] != '-')
        id.length++;
    const char *sign = e.text + id.length;
    const size_t length = e.length - id.length;
    if (!read_id(id, &bias->id) || length < 2 || sign[1] == '+' || sign[1] == '-') return false;
    return cli_parse_float(sign, length, true, &bias->add) && (bias->add < INFINITY);
}

static int read_biases(cli *c, const cli_option *o, const char *text)
{
    clsample_params *p = o->target;

    while (text) {
        const element e = next_element(&text, ",");
        clsample_bias bias = { 0, 0.0f };
        if (!read_one_bias(e, &bias))
            return refuse(c, o, e, "ID+B, ID-B or ID-inf, such as 15043+1.5, with commas between them");
        clsample_bias *list = make_room(c, p->bias, p->n_bias, sizeof *list);
        if (!list) return cli_fail_memory(c);
        list[p->n_bias++] = bias;
        p->bias = list;
    }
    return CLI_GO;
}

/* With - and _ alike, since options have the one and fields the other. */
static bool is_name(element e, const char *name)
{
    if (e.length == 0 || e.length != strlen(name)) return false;
    for (size_t i = 0; i < e.length; i++)
        if (e.text[i] != name[i] && !(strchr("-_", e.text[i]) && strchr("-_", name[i]))) return false;
    return true;
}

static const clsample_sampler_entry *find_name(element name)
{
    const clsample_sampler_entry *e;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++) {
        if (e->kind == CLSAMPLE_KIND_EDIT) continue;
        if (is_name(name, e->name) || is_name(name, e->option) || is_name(name, e->alias)) return e;
    }
    return NULL;
}

static int refuse_name(cli *c, const cli_option *o, element name)
{
    const clsample_sampler_entry *e;
    char names[512] = "", allowed[600];
    size_t used = 0;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)) && used < sizeof names; i++) {
        if (e->kind == CLSAMPLE_KIND_EDIT) continue;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s, ", e->option);
    }
    cli_mark_cut(names, sizeof names, (int)used);
    snprintf(allowed, sizeof allowed, "one of %seach once and with ; or , between them", names);
    return refuse(c, o, name, allowed);
}

static int read_order(cli *c, const cli_option *o, const char *text)
{
    clsample_params *p = o->target;
    size_t count = 0;

    memset(p->order, 0, sizeof p->order);
    while (text) {
        const element name = next_element(&text, ";,");
        const clsample_sampler_entry *e = find_name(name);
        if (!e || count == CLSAMPLE_MAX_ORDER || memchr(p->order, (int)e->sampler, sizeof p->order))
            return refuse_name(c, o, name);
        p->order[count++] = (uint8_t)e->sampler;
    }
    return CLI_GO;
}

/* ---- All options ---- */

static void add_sampler(cli_options *o, clsample_params *p, const clsample_sampler_entry *e)
{
    static const cli_kind kinds[] = { [CLSAMPLE_TYPE_FLOAT] = CLI_FLOAT,
                                      [CLSAMPLE_TYPE_UINT32] = CLI_U32,
                                      [CLSAMPLE_TYPE_BIAS] = CLI_READ,
                                      [CLSAMPLE_TYPE_IDS] = CLI_READ };
    void *field = (unsigned char *)p + e->offset;
    cli_option option = { .kind = kinds[e->type],
                          .name = e->option,
                          .alias = e->alias,
                          .value = e->value,
                          .help = e->help,
                          .min = e->least,
                          .max = e->most,
                          .above = e->above != 0 };

    option.target = e->count_offset ? p : field;
    option.read = e->type == CLSAMPLE_TYPE_BIAS ? read_biases : read_ids;
    if (!e->count_offset) option.standard = &e->standard;
    cli_add(o, option);
}

void cli_add_sampling(cli_options *o, clsample_params *p)
{
    const clsample_sampler_entry *e;

    cli_add_heading(o, "Sampling (defaults in parentheses)");
    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++)
        add_sampler(o, p, e);
    cli_add(o, (cli_option){ .kind = CLI_READ,
                             .name = "order",
                             .alias = "samplers",
                             .value = "NAMES",
                             .target = p,
                             .read = read_order,
                             .help = "an order of your own instead of that of --rules, such as\n"
                                     "\"top-k;typical;temperature\"; biases and bans come first" });
    cli_add(o, (cli_option){ .kind = CLI_BIT,
                             .name = "greedy",
                             .target = &p->flags,
                             .bit = CLSAMPLE_GREEDY,
                             .help = "take the largest logit, as with --temperature 0" });
    cli_add(o, (cli_option){ .kind = CLI_U64,
                             .name = "seed",
                             .value = "N",
                             .target = &p->seed,
                             .help = "of the random numbers (0)" });
    cli_add(o, (cli_option){ .kind = CLI_U64,
                             .name = "step",
                             .value = "N",
                             .target = &p->step,
                             .help = "number of the first token within its text (0)" });
    cli_add(o,
            (cli_option){ .kind = CLI_CHOICE,
                          .name = "rules",
                          .value = "NAME",
                          .target = &p->rules,
                          .choices = rules_names,
                          .help = "whose order of filters: seed, transformers, vllm or llama.cpp (seed)" });
}
