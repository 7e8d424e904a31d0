/* SPDX-License-Identifier: Apache-2.0 */
/* clsample generate: a text goes on, or is answered, by a model on the device. */
#include "generate_run.h"
#include "model/chat.h"
#include "model_error.h"
#include "sampling.h"
#include "terminal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TOKENS 128u       /* by default */
#define MAX_LENGTH (1u << 20) /* of what may be asked for */
#define EXIT_INTERRUPTED 130  /* as shells have it: 128 + SIGINT */

/* ---- Prompt and model ---- */

static int read_prompt(cli *c, generate *g)
{
    const bool standard = !g->prompt_file || strcmp(g->prompt_file, "-") == 0;
    const char *name = standard ? "standard input" : g->prompt_file;
    FILE *file = standard ? stdin : fopen(g->prompt_file, "rb");

    if (!file) return cli_fail_input(c, "%s: cannot be opened: %s", name, strerror(errno));
    g->text = (char *)cli_read_bytes(file, TOKENIZER_MAX_TEXT + 1, &g->length);
    const bool broken = ferror(file);
    const int error = errno;
    if (!standard) fclose(file);
    if (!g->text) return cli_fail_memory(c);
    return broken ? cli_fail_input(c, "%s: cannot be read: %s", name, strerror(error)) : CLI_DONE;
}

static int take_prompt(cli *c, generate *g)
{
    if (g->prompt && g->prompt_file)
        return cli_fail_usage(c, "both of --prompt and --prompt-file given; allowed is one of them");
    if (!g->prompt && !g->prompt_file && isatty(STDIN_FILENO))
        return cli_fail_usage(c, "no prompt given; --prompt, --prompt-file or standard input has it");
    if (!g->prompt) return read_prompt(c, g);
    g->text = strdup(g->prompt);
    g->length = strlen(g->prompt);
    return g->text ? CLI_DONE : cli_fail_memory(c);
}

/* What says that a text is over. */
static bool find_ends(generate *g)
{
    const int32_t size = tokenizer_size(g->tokenizer);

    for (int32_t id = 0; id < size; id++) {
        if (!tokenizer_is_end(g->tokenizer, id)) continue;
        if (g->ends.count == g->ends.room) {
            const size_t room = 2 * g->ends.room + 8;
            int32_t *list = realloc(g->ends.list, room * sizeof *list);
            if (!list) return model_fail_memory(&g->error);
            g->ends.list = list;
            g->ends.room = room;
        }
        g->ends.list[g->ends.count++] = id;
    }
    return true;
}

static bool encode_prompt(generate *g)
{
    const unsigned flags = TOKENIZER_START | (g->special ? TOKENIZER_SPECIAL : 0u);

    if (g->chat) return chat_encode(g->file, g->tokenizer, g->text, g->length, &g->prompt_ids, &g->error);
    return tokenizer_encode(g->tokenizer, g->text, g->length, flags, &g->prompt_ids, &g->error);
}

/* How long a text may be: what was asked for, as far as the model goes. */
static int fit_context(cli *c, generate *g)
{
    uint32_t most = g->context;

    if (most == 0 && !gguf_get_u32(g->file, "llama.context_length", &most, &g->error))
        return cli_fail_model(c, &g->error);
    if (g->prompt_ids.count == 0) return cli_fail_usage(c, "the prompt is empty; a token at least is wanted");
    if (g->prompt_ids.count >= most)
        return cli_fail_usage(c,
                              "the prompt has %zu tokens; with --context %" PRIu32 " at most %" PRIu32
                              " leave room for one more",
                              g->prompt_ids.count, most, most - 1);
    const uint32_t prompt = (uint32_t)g->prompt_ids.count;
    g->stride = g->max_tokens < most - prompt ? prompt + g->max_tokens : most;
    return CLI_DONE;
}

static int open_texts(cli *c, generate *g)
{
    const size_t tokens = (size_t)g->samples * g->stride;

    g->ids = calloc(tokens, sizeof *g->ids);
    g->logprobs = calloc(tokens, sizeof *g->logprobs);
    g->lengths = calloc(g->samples, sizeof *g->lengths);
    g->finish = calloc(g->samples, sizeof *g->finish);
    g->nan_tokens = calloc(g->samples, sizeof *g->nan_tokens);
    g->streams = calloc(g->samples, sizeof *g->streams);
    if (!g->ids || !g->logprobs || !g->lengths || !g->finish || !g->nan_tokens || !g->streams)
        return cli_fail_memory(c);
    for (uint32_t i = 0; i < g->samples; i++)
        g->streams[i].stops = &g->stops;
    if (g->samples == 1 && !c->json) g->streams[0].to = stdout;
    return CLI_DONE;
}

static int open_model(cli *c, generate *g)
{
    char cache[4096];
    llama_options options = { .rows = g->samples, .context = g->stride };

    if (clsample_default_cache_dir(cache, sizeof cache) == CLSAMPLE_OK && cache[0]) options.cache_dir = cache;
    if (llama_open(g->file, g->device.context, g->device.info->device_id, g->device.queue, &options,
                   &g->llama, &g->error))
        return CLI_DONE;
    return cli_fail_model(c, &g->error);
}

/* What is wrong with the model's file, the prompt or the options shows before a device is looked for. */
static int run_command(cli *c, generate *g)
{
    int code = take_prompt(c, g);

    if (code == CLI_DONE &&
        !(gguf_open(g->model, &g->file, &g->error) && tokenizer_open(g->file, &g->tokenizer, &g->error) &&
          find_ends(g) && encode_prompt(g)))
        code = cli_fail_model(c, &g->error);
    if (code == CLI_DONE) code = fit_context(c, g);
    if (code == CLI_DONE) code = open_texts(c, g);
    if (code == CLI_DONE) code = cli_device_open(c, g->selector, &g->device);
    if (code == CLI_DONE) code = open_model(c, g);
    if (code == CLI_DONE) code = generate_run(c, g);
    return code;
}

static void close_all(generate *g)
{
    if (g->logits) clReleaseMemObject(g->logits);
    llama_close(g->llama);
    cli_device_close(&g->device);
    for (uint32_t i = 0; g->streams && i < g->samples; i++)
        text_stream_free(&g->streams[i]);
    free(g->streams);
    free(g->text);
    free(g->ids);
    free(g->logprobs);
    free(g->lengths);
    free(g->finish);
    free(g->nan_tokens);
    tokenizer_ids_free(&g->prompt_ids);
    tokenizer_ids_free(&g->ends);
    tokenizer_close(g->tokenizer);
    gguf_close(g->file);
}

/* ---- The result ---- */

static json_t *json_ids(const int32_t *ids, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < count; i++) {
        if (cli_json_append(array, json_integer(ids[i]))) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *json_logprobs(const float *logprobs, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; array && i < count; i++) {
        if (cli_json_append(array, cli_json_number((double)logprobs[i]))) continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

/* One text. */
static json_t *json_sample(const generate *g, uint32_t i)
{
    const size_t prompt = g->prompt_ids.count, count = g->lengths[i] > prompt ? g->lengths[i] - prompt : 0;
    const size_t first = (size_t)i * g->stride + prompt;
    const text_stream *s = &g->streams[i];

    return json_pack("{s:o, s:o, s:o, s:s, s:I}", "ids", json_ids(g->ids + first, count), "logprobs",
                     json_logprobs(g->logprobs + first, count), "text",
                     json_stringn(s->text ? s->text : "", s->length), "finish", generate_finish(g, i),
                     "nan_tokens", (json_int_t)g->nan_tokens[i]);
}

static json_t *json_or_null(double number, bool known)
{
    return known ? cli_json_number(number) : json_null();
}

static bool add_samples(const generate *g, json_t *object)
{
    json_t *samples = json_array();

    for (uint32_t i = 0; i < g->samples; i++) {
        if (cli_json_append(samples, json_sample(g, i))) continue;
        json_decref(samples);
        return false;
    }
    return json_object_set_new(object, "samples", samples) == 0;
}

/* The first text's fields stand at the top, as if there were only one. */
static int give_json(cli *c, const generate *g)
{
    const double speed = generate_speed(g), share = generate_share(g);
    const double prompt = g->prompt_end - g->begin;
    json_t *object = json_sample(g, 0);
    json_t *rest =
        json_pack("{s:o, s:o, s:s, s:o, s:o, s:o}", "device", cli_json_device(g->device.info), "prompt_ids",
                  json_ids(g->prompt_ids.list, g->prompt_ids.count), "form", g->eager ? "eager" : "resident",
                  "tokens_per_second", json_or_null(speed, speed > 0), "sampling_share",
                  json_or_null(share, share >= 0), "prompt_tokens_per_second",
                  json_or_null((double)(g->samples * g->prompt_ids.count) / prompt, prompt > 0));
    bool ok = object && rest && json_object_update(object, rest) == 0;

    if (ok && g->samples > 1) ok = add_samples(g, object);
    json_decref(rest);
    if (ok) return cli_result(c, object);
    json_decref(object);
    return cli_fail_memory(c);
}

/* The sampler goes on without them, but a model that is whole has none. */
static void warn_of_nan(const generate *g)
{
    static const char advice[] = "look for a damaged model file, or try another --device";
    const uint64_t tokens = generate_nan_count(g);
    uint32_t ended = 0;

    for (uint32_t i = 0; i < g->samples; i++)
        ended += g->finish[i] == CLSAMPLE_FINISH_NO_TOKEN;
    if (tokens > 0)
        fprintf(stderr,
                "clsample generate: NaN logits in %" PRIu64 " of %" PRIu64
                " tokens, which were drawn from the other logits; %s\n",
                tokens, generate_count(g), advice);
    if (ended > 0)
        fprintf(stderr,
                "clsample generate: %" PRIu32 " of %" PRIu32 " texts ended because every logit was NaN; %s\n",
                ended, g->samples, advice);
}

static void print_figures(const generate *g)
{
    const double speed = generate_speed(g), share = generate_share(g);

    fprintf(stderr, "%" PRIu64 " tokens, %s", generate_count(g), generate_finish(g, 0));
    if (speed > 0) fprintf(stderr, "; %.1f tokens/s", speed);
    if (share >= 0) fprintf(stderr, ", %.1f %% of the time sampling", 100 * share);
    fprintf(stderr, "; prompt of %zu tokens in %.0f ms\n", g->prompt_ids.count,
            1e3 * (g->prompt_end - g->begin));
}

/* A single text has been shown already. */
static int give_text(const generate *g)
{
    for (uint32_t i = 0; i < g->samples; i++) {
        const text_stream *s = &g->streams[i];
        if (g->samples > 1) {
            printf("%ssample %" PRIu32 ", %s:\n", i ? "\n" : "", i, generate_finish(g, i));
            if (g->echo) terminal_write(stdout, g->text, g->length);
            if (s->length > 0) terminal_write(stdout, s->text, s->length);
        }
        if (s->length == 0 || s->text[s->length - 1] != '\n') putchar('\n');
    }
    fflush(stdout);
    print_figures(g);
    return CLI_DONE;
}

/* ---- Options ---- */

static void add_text_options(cli_options *o, generate *g)
{
    cli_add_heading(o, "Model and prompt");
    cli_add_model(o, &g->model);
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "prompt",
                             .value = "TEXT",
                             .target = (void *)&g->prompt,
                             .help = "the text to go on from" });
    cli_add(o, (cli_option){ .kind = CLI_TEXT,
                             .name = "prompt-file",
                             .value = "F",
                             .target = (void *)&g->prompt_file,
                             .help = "a file that has it; - and nothing given are standard input" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "chat",
                             .target = &g->chat,
                             .help = "the prompt is a user's turn in the model's own chat template" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "special",
                             .target = &g->special,
                             .help = "<|im_end|> and the like in the prompt are the tokens of that name" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "echo",
                             .target = &g->echo,
                             .help = "show the prompt before the text" });
}

static void add_length_options(cli_options *o, generate *g)
{
    cli_add_heading(o, "Length (defaults in parentheses)");
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "max-tokens",
                             .value = "N",
                             .target = &g->max_tokens,
                             .min = 1,
                             .max = MAX_LENGTH,
                             .help = "tokens to generate at most (128)" });
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "min-tokens",
                             .value = "N",
                             .target = &g->min_tokens,
                             .max = MAX_LENGTH,
                             .help = "neither the model nor --stop ends the text before so many (0)" });
    cli_add(o, (cli_option){ .kind = CLI_LIST,
                             .name = "stop",
                             .value = "TEXT",
                             .target = &g->stops,
                             .help = "end before this text; may be given several times" });
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "samples",
                             .value = "N",
                             .target = &g->samples,
                             .min = 1,
                             .max = LLAMA_MAX_ROWS,
                             .help = "texts for the prompt, all at once (1)" });
    cli_add(o, (cli_option){ .kind = CLI_U32,
                             .name = "context",
                             .value = "N",
                             .target = &g->context,
                             .min = 2,
                             .max = MAX_LENGTH,
                             .help = "tokens of prompt and text together at most (the model's own)" });
    cli_add(o, (cli_option){ .kind = CLI_SWITCH,
                             .name = "eager",
                             .target = &g->eager,
                             .help = "look at each token before the next step is enqueued" });
}

int cmd_generate(cli *c, int argc, char **argv)
{
    cli_options o = {
        .usage = "--model F.gguf --prompt TEXT [options]",
        .purpose =
            "Let a model go on from a text, or answer it (--chat). The text appears as it is generated;\n"
            "Ctrl-C ends it where it is. For the same logits the same options and seed give the same text\n"
            "on every device.",
    };
    generate g = { .params = CLSAMPLE_PARAMS_INIT, .max_tokens = MAX_TOKENS, .samples = 1 };

    add_text_options(&o, &g);
    add_length_options(&o, &g);
    cli_add_sampling(&o, &g.params);
    cli_add_device(&o, &g.selector);
    cli_add_common(&o, c);
    int code = cli_parse(c, &o, argc, argv);
    if (code != CLI_GO) return code;
    if (!g.model) return cli_fail_usage(c, "no model given; --model F.gguf is wanted");
    code = run_command(c, &g);
    if (code == CLI_DONE) warn_of_nan(&g);
    if (code == CLI_DONE) code = c->json ? give_json(c, &g) : give_text(&g);
    if (code == CLI_DONE && g.interrupted)
        code = cli_fail(c, EXIT_INTERRUPTED, "E_INTERRUPTED", "interrupted");
    close_all(&g);
    return code;
}
