/* SPDX-License-Identifier: Apache-2.0 */
/* The program of README.md, as it stands there: it compiles without a warning, ends with 0, and prints on
 * every device what README.md says that it prints. */
#include "common.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "readme_output.h" /* like the program made from README.md by readme.cmake */

/* The program's main(), renamed when it is compiled. */
int readme_main(void);

/* Run the program and take what it prints to standard output, at most size - 1 bytes. */
static int run_program(char *text, size_t size)
{
    FILE *file = tmpfile();

    ck_assert_ptr_nonnull(file);
    fflush(stdout);
    const int saved = dup(STDOUT_FILENO);
    ck_assert_int_ge(saved, 0);
    ck_assert_int_ge(dup2(fileno(file), STDOUT_FILENO), 0);
    const int code = readme_main();
    fflush(stdout);
    ck_assert_int_ge(dup2(saved, STDOUT_FILENO), 0);
    close(saved);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
    return code;
}

START_TEST(program_prints_what_the_readme_says)
{
    char text[4096];

    ck_assert_int_eq(run_program(text, sizeof text), 0);
    ck_assert_str_eq(text, readme_output);
}
END_TEST

static Suite *make(void)
{
    Suite *s = suite_create("readme");
    TCase *program = tcase_create("program");

    tcase_add_test(program, program_prints_what_the_readme_says);
    suite_add_tcase(s, program);
    return s;
}

int main(void)
{
    return test_main(make);
}
