/* SPDX-License-Identifier: Apache-2.0 */
/* The command's options as its commands make and read them: no table or text that is cut without a word.
 * Needs no device. */
#include "sampling.h"

#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY 1000

static char names[MANY][128];
static uint32_t values[MANY];

/* MANY options --number-0 N, --number-1 N, ..., the last one's name longer than a line of the help. */
static void add_many(cli_options *o, cli *c)
{
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], i < MANY - 1 ? "number-%zu" : "number-%0100zu", i);
        values[i] = 0;
        cli_add(o, (cli_option){ .kind = CLI_U32,
                                 .name = names[i],
                                 .value = "N",
                                 .target = &values[i],
                                 .max = 10,
                                 .help = "a number" });
    }
    cli_add_common(o, c);
}

START_TEST(as_many_options_as_are_added)
{
    char last[140];
    cli c = { .command = "test" };
    cli_options o = { .usage = "", .purpose = "" };
    char *argv[] = { (char[]){ "test" },
                     (char[]){ "--number-0" },
                     (char[]){ "3" },
                     (char[]){ "--number-500=5" },
                     last,
                     (char[]){ "9" },
                     NULL };

    add_many(&o, &c);
    snprintf(last, sizeof last, "--%s", names[MANY - 1]);
    ck_assert_msg(cli_parse(&c, &o, 6, argv) == CLI_GO, "%s", c.message);
    ck_assert_uint_eq(values[0], 3);
    ck_assert_uint_eq(values[500], 5);
    ck_assert_uint_eq(values[MANY - 1], 9);
}
END_TEST

START_TEST(help_has_them_all)
{
    cli c = { .command = "test", .json = true };
    cli_options o = { .usage = "", .purpose = "" };
    char *argv[] = { (char[]){ "test" }, (char[]){ "--help" }, NULL };

    add_many(&o, &c);
    ck_assert_int_eq(cli_parse(&c, &o, 2, argv), CLI_DONE);
    const char *help = json_string_value(json_object_get(c.result, "help"));
    ck_assert_ptr_nonnull(help);
    for (size_t i = 0; i < MANY; i++) {
        char line[140];
        snprintf(line, sizeof line, "  --%.120s N ", names[i]);
        ck_assert_msg(strstr(help, line) != NULL, "the help lacks%s", line);
    }
    json_decref(c.result);
}
END_TEST

START_TEST(what_is_cut_says_so)
{
    cli c = { .command = "test" };
    char *text = test_alloc(2 * CLI_MESSAGE), small[8];

    memset(text, 'x', 2 * CLI_MESSAGE - 1);
    text[2 * CLI_MESSAGE - 1] = 0;
    ck_assert_int_eq(cli_fail_input(&c, "%s", text), CLI_FAILED);
    ck_assert_uint_eq(strlen(c.message), CLI_MESSAGE - 1);
    ck_assert_str_eq(c.message + CLI_MESSAGE - 5, "x...");
    cli_mark_cut(small, sizeof small, snprintf(small, sizeof small, "1234567"));
    ck_assert_str_eq(small, "1234567");
    memcpy(small, "1234567", sizeof small); /* as snprintf() leaves eight characters */
    cli_mark_cut(small, sizeof small, 8);
    ck_assert_str_eq(small, "1234...");
    free(text);
}
END_TEST

/* Decimal fractions of floats may have more than a hundred digits. */
START_TEST(long_numbers)
{
    char number[400];
    float value = 0;

    snprintf(number, sizeof number, "%.149f,7", 0x1p-149);
    const size_t length = strcspn(number, ",");
    ck_assert(cli_parse_float(number, length, true, &value));
    ck_assert_float_eq(value, 0x1p-149f);
    ck_assert(
        cli_parse_float("0.1000000000000000055511151231257827021181583404541015625 ", 57, true, &value));
    ck_assert_float_eq(value, 0.1f);
    ck_assert(!cli_parse_float("", 0, true, &value));
    ck_assert(!cli_parse_float("infinity1", 9, true, &value));
    ck_assert(cli_parse_float("-inf,", 4, true, &value) && value == -INFINITY);
    ck_assert(!cli_parse_float("0x1", 3, true, &value));
}
END_TEST

/* ---- Samplers ---- */

/* What "test --NAME VALUE ..." makes of `p`. */
static int parse_sampling(cli *c, clsample_params *p, size_t n, const char *const *words)
{
    cli_options o = { .usage = "", .purpose = "" };
    char **argv = test_alloc((n + 2) * sizeof *argv);

    *c = (cli){ .command = "test" };
    *p = (clsample_params)CLSAMPLE_PARAMS_INIT;
    argv[0] = (char[]){ "test" };
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    argv[n + 1] = NULL;
    cli_add_sampling(&o, p);
    const int code = cli_parse(c, &o, (int)n + 1, argv);
    free(argv);
    return code;
}
#define PARSE(c, p, ...)                                                                    \
    parse_sampling((c), (p), sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), \
                   (const char *const[]){ __VA_ARGS__ })

/* One option with one value that is refused, whose message has `quoted` in it. */
static void refused(const char *option, const char *value, const char *quoted)
{
    char text[128];
    clsample_params p;
    cli c;

    snprintf(text, sizeof text, "\"%s\": allowed is ", quoted);
    ck_assert_msg(PARSE(&c, &p, option, value) == CLI_USAGE, "%s %s is taken", option, value);
    ck_assert_msg(strstr(c.message, text) != NULL, "%s %s: %s", option, value, c.message);
    cli_finish(&c, CLI_DONE);
}

/* Each number of the list: its field, its two names, its ends and what lies beyond them. */
START_TEST(samplers_by_their_list)
{
    const clsample_sampler_entry *e;
    clsample_params p;
    cli c;

    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++) {
        const char *const both[] = { e->option, e->alias };
        for (size_t n = 0; n < COUNT(both) && !e->count_offset; n++) {
            char option[64];
            if (!both[n][0]) continue;
            snprintf(option, sizeof option, "--%s", both[n]);
            ck_assert_msg(PARSE(&c, &p, option, e->most < 2 ? "0.75" : "3") == CLI_GO, "%s", c.message);
            ck_assert_double_eq(sampling_value(&p, e), e->most < 2 ? 0.75 : 3);
            ck_assert(sampling_is_set(&p, e));
            ck_assert_int_eq(PARSE(&c, &p, option, e->most < 2 ? "1" : "1e3x"),
                             e->most < 2 ? CLI_GO : CLI_USAGE);
            ck_assert_int_eq(PARSE(&c, &p, option, "0"), e->above ? CLI_USAGE : CLI_GO);
            ck_assert_int_eq(PARSE(&c, &p, option, "-1"), e->least < 0 ? CLI_GO : CLI_USAGE);
            ck_assert_int_eq(PARSE(&c, &p, option, "1e39"), CLI_USAGE);
            ck_assert_int_eq(PARSE(&c, &p, option, "nan"), CLI_USAGE);
            ck_assert_int_eq(PARSE(&c, &p, option, ""), CLI_USAGE);
        }
        ck_assert_int_eq(PARSE(&c, &p, "--seed", "1"), CLI_GO);
        ck_assert(!sampling_is_set(&p, e));
    }
}
END_TEST

START_TEST(lists_add_up)
{
    clsample_params p;
    cli c;

    ck_assert_msg(PARSE(&c, &p, "--logit-bias", "7+1.5, 7-2 ,29-inf", "--ban", "3", "--logit-bias=0+1e-60",
                        "--ban", "2147483647,3,0") == CLI_GO,
                  "%s", c.message);
    ck_assert_uint_eq(p.n_bias, 4);
    ck_assert(p.bias[0].id == 7 && p.bias[0].add == 1.5f);
    ck_assert(p.bias[1].id == 7 && p.bias[1].add == -2.0f);
    ck_assert(p.bias[2].id == 29 && p.bias[2].add == -INFINITY);
    ck_assert(p.bias[3].id == 0 && p.bias[3].add == 0x1p-126f); /* never 0 unless it says so */
    ck_assert_uint_eq(p.n_banned, 4);
    ck_assert(p.banned[0] == 3 && p.banned[1] == INT32_MAX && p.banned[2] == 3 && p.banned[3] == 0);
    ck_assert_int_eq(cli_finish(&c, CLI_DONE), CLI_DONE);
}
END_TEST

/* As many as a command line has, one by one and all at once. */
START_TEST(long_lists)
{
    static char one[MANY * 8];
    const char *words[2 * MANY];
    clsample_params p;
    size_t used = 0;
    cli c;

    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "%zu-1", i);
        words[2 * i] = "--logit-bias";
        words[2 * i + 1] = names[i];
        used += (size_t)snprintf(one + used, sizeof one - used, "%s%zu", i ? "," : "", i);
    }
    ck_assert_msg(parse_sampling(&c, &p, 2 * MANY, words) == CLI_GO, "%s", c.message);
    ck_assert_uint_eq(p.n_bias, MANY);
    for (int32_t i = 0; i < MANY; i++)
        ck_assert(p.bias[i].id == i && p.bias[i].add == -1.0f);
    cli_finish(&c, CLI_DONE);
    ck_assert_msg(PARSE(&c, &p, "--ban", one) == CLI_GO, "%s", c.message);
    ck_assert_uint_eq(p.n_banned, MANY);
    for (int32_t i = 0; i < MANY; i++)
        ck_assert_int_eq(p.banned[i], i);
    cli_finish(&c, CLI_DONE);
}
END_TEST

START_TEST(wrong_elements_are_quoted)
{
    static const char *const biases[] = {
        "7",     "7+",     "+1",   "7+x",  "7+-1",  "7-+1", "7+inf",
        "7-nan", "7+1e39", "-7+1", "7 +1", "7+0x1", "7=1",  "2147483648+1"
    };
    static const char *const ids[] = { "x",  "-1", "+1", "1.0", "1e3", "2147483648", "99999999999999999999",
                                       "1 2" };
    char list[64];

    for (size_t i = 0; i < COUNT(biases); i++) {
        snprintf(list, sizeof list, "0+1,%s,1+1", biases[i]);
        refused("--logit-bias", list, biases[i]);
    }
    for (size_t i = 0; i < COUNT(ids); i++) {
        snprintf(list, sizeof list, "0, %s ,1", ids[i]);
        refused("--ban", list, ids[i]);
    }
    refused("--logit-bias", "", "");
    refused("--logit-bias", "1+1,", "");
    refused("--ban", "", "");
    refused("--ban", ",1", "");
}
END_TEST

static void check_order(const char *text, size_t n, const uint8_t *want)
{
    clsample_params p;
    cli c;

    ck_assert_msg(PARSE(&c, &p, "--order", "min-p", "--samplers", text) == CLI_GO, "%s: %s", text, c.message);
    ck_assert_msg(memcmp(p.order, want, n) == 0, "%s is another order", text);
    for (size_t i = n; i < CLSAMPLE_MAX_ORDER; i++)
        ck_assert_uint_eq(p.order[i], 0); /* nothing is left of the one before */
}

START_TEST(orders)
{
    static const uint8_t four[] = { CLSAMPLE_SAMPLER_TOP_N_SIGMA, CLSAMPLE_SAMPLER_TOP_K,
                                    CLSAMPLE_SAMPLER_TYPICAL_P, CLSAMPLE_SAMPLER_TEMPERATURE };
    const clsample_sampler_entry *e;

    check_order("top_n_sigma;top_k;typical_p;temperature", 4, four);
    check_order("top-n-sigma,top-k,typical,temp", 4, four);
    check_order(" top-nsigma ; top-k, typical-p;temp", 4, four);
    for (uint32_t i = 0; (e = clsample_sampler_info(i)); i++) {
        const uint8_t number = (uint8_t)e->sampler;
        char twice[128];
        if (e->kind == CLSAMPLE_KIND_EDIT) {
            refused("--order", e->name, e->name);
            continue;
        }
        check_order(e->name, 1, &number);
        check_order(e->option, 1, &number);
        snprintf(twice, sizeof twice, "%s;%s", e->name, e->option);
        refused("--order", twice, e->option);
    }
    refused("--order", "", "");
    refused("--order", "top_k;", "");
    refused("--order", "top_k;;top_p", "");
    refused("--order", "kypmt", "kypmt");
    refused("--order", "Top_k", "Top_k");
}
END_TEST

/* The names of those that are on, as they work one after another. */
static void check_list(const clsample_params *p, const char *want)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(memory);
    sampling_print_all(memory, p, "; ");
    ck_assert_int_eq(fclose(memory), 0);
    ck_assert_str_eq(text, want);
    free(text);
}

START_TEST(what_is_on)
{
    clsample_params p;
    cli c;

    PARSE(&c, &p, "--seed", "3");
    check_list(&p, "temperature 1");
    PARSE(&c, &p, "--top-k", "4294967294", "--min-p", "0.05", "--temp", "0.8", "--top-nsigma", "-1",
          "--typical", "0.9");
    check_list(&p, "temperature 0.8; min-p 0.05; top-k 4294967294; typical 0.9");
    p.rules = CLSAMPLE_RULES_LLAMA_CPP;
    check_list(&p, "top-k 4294967294; typical 0.9; min-p 0.05; temperature 0.8");
    p.flags = CLSAMPLE_GREEDY;
    check_list(&p, "greedy");
    PARSE(&c, &p, "--ban", "1,2", "--logit-bias", "3+1", "--top-k", "5", "--order", "top-k");
    check_list(&p, "logit-bias of 1; ban of 2; top-k 5; temperature 1");
    p.temperature = 0;
    check_list(&p, "logit-bias of 1; ban of 2; greedy");
    cli_finish(&c, CLI_DONE);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("options");
    TCase *t = tcase_create("options");

    tcase_add_test(t, as_many_options_as_are_added);
    tcase_add_test(t, help_has_them_all);
    tcase_add_test(t, what_is_cut_says_so);
    tcase_add_test(t, long_numbers);
    tcase_add_test(t, samplers_by_their_list);
    tcase_add_test(t, lists_add_up);
    tcase_add_test(t, long_lists);
    tcase_add_test(t, wrong_elements_are_quoted);
    tcase_add_test(t, orders);
    tcase_add_test(t, what_is_on);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());

    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
