/* SPDX-License-Identifier: Apache-2.0 */
/* The command's options as its commands make and read them: no table or text that is cut without a word.
 * Needs no device. */
#include "cli.h"

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

static Suite *suite(void)
{
    Suite *s = suite_create("options");
    TCase *t = tcase_create("options");

    tcase_add_test(t, as_many_options_as_are_added);
    tcase_add_test(t, help_has_them_all);
    tcase_add_test(t, what_is_cut_says_so);
    tcase_add_test(t, long_numbers);
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
