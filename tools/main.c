/* SPDX-License-Identifier: Apache-2.0 */
/* The clsample command: looks its first argument up in the table of commands. */
#include "cli.h"

#include <string.h>

static const struct command {
    const char *name;
    int (*run)(cli *c, int argc, char **argv);
    const char *help;
} commands[] = {
    { "devices", cmd_devices, "list the OpenCL devices, check each, and say which one is used" },
    { "draw", cmd_draw, "draw tokens for each row of logits" },
    { "explain", cmd_explain, "show what each filter keeps of a row, and the probabilities after it" },
    { "generate", cmd_generate, "continue a text, or answer it, with a model on the device" },
    { "tokenize", cmd_tokenize, "show the tokens that a model reads a text as" },
    { "bench", cmd_bench, "time the pipeline beside one read of the same logits" },
    { "tune", cmd_tune, "measure which way of using a device is fastest, and store it" },
};
#define COMMANDS (sizeof commands / sizeof *commands)

static const char usage[] = "usage: clsample COMMAND [options]";

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) return &commands[i];
    }
    return NULL;
}

/* "devices, draw, ..." for messages. */
static const char *command_names(char *text, size_t size)
{
    size_t used = 0;

    text[0] = 0;
    for (size_t i = 0; i < COMMANDS && used < size; i++) {
        const int n = snprintf(text + used, size - used, "%s%s", i ? ", " : "", commands[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
    cli_mark_cut(text, size, (int)used);
    return text;
}

static int show_version(cli *c)
{
    if (c->json) { return cli_result(c, json_pack("{s:s}", "version", clsample_version())); }
    printf("clsample %s\n", clsample_version());
    return CLI_DONE;
}

static int json_help(cli *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < COMMANDS; i++) {
        json_t *entry = json_pack("{s:s, s:s}", "name", commands[i].name, "help", commands[i].help);
        if (!cli_json_append(list, entry)) {
            json_decref(list);
            return cli_fail_memory(c);
        }
    }
    return cli_result(c, json_pack("{s:s, s:o}", "usage", usage, "commands", list));
}

static int show_help(cli *c)
{
    if (c->json) return json_help(c);
    printf("%s\n\nFrom a language model's logits to the next token, the same on every OpenCL device.\n\n",
           usage);
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-12s %s\n", commands[i].name, commands[i].help);
    printf("\n  clsample COMMAND --help   the command's options\n"
           "  clsample --version        the version of the library\n\n"
           "Every command takes --json: one JSON object on standard output, also when it fails.\n"
           "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no usable device.\n");
    return CLI_DONE;
}

/* Failures before the options are read are to be JSON too, if --json is among them. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) return true;
    }
    return false;
}

static int dispatch(cli *c, int argc, char **argv)
{
    char names[256];
    int first = 1;

    while (first < argc && strcmp(argv[first], "--json") == 0)
        first++;
    if (first >= argc) {
        return cli_fail_usage(c, "no command given; allowed are %s, and --help says more",
                              command_names(names, sizeof names));
    }
    const char *name = argv[first];
    const struct command *command = find_command(name);
    if (command) {
        c->command = command->name;
        return command->run(c, argc - first, argv + first);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return show_help(c);
    if (strcmp(name, "--version") == 0) return show_version(c);
    return cli_fail_usage(c, "unknown %s \"%s\"; allowed are %s, and --help says more",
                          name[0] == '-' ? "option" : "command", name, command_names(names, sizeof names));
}

int main(int argc, char **argv)
{
    cli c = { .command = "", .json = wants_json(argc, argv) };

    return cli_finish(&c, dispatch(&c, argc, argv));
}
