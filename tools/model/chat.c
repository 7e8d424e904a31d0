/* SPDX-License-Identifier: Apache-2.0 */
#include "chat.h"

#include <stdlib.h>
#include <string.h>

/* The known templates without blanks and newlines, in which files differ; between the first two is the system
 * message. */
static const char system_head[] = "{%formessageinmessages%}{%ifloop.firstandmessages[0]['role']!='system'%}"
                                  "{{'<|im_start|>system";
static const char system_tail[] = "<|im_end|>'}}{%endif%}";
static const char turns[] =
    "{{'<|im_start|>'+message['role']+''+message['content']+'<|im_end|>'+''}}{%endfor%}"
    "{%ifadd_generation_prompt%}{{'<|im_start|>assistant'}}{%endif%}";
static const char loop[] = "{%formessageinmessages%}";

/* The template with "\n" as a newline, ended by a 0; `plain` takes it without blanks and newlines. */
static char *unescape(gguf_string from, char *plain)
{
    char *text = malloc(from.length + 1);
    size_t n = 0, k = 0;

    for (size_t i = 0; text && i < from.length; i++) {
        const bool newline = from.text[i] == '\\' && i + 1 < from.length && from.text[i + 1] == 'n';
        i += newline;
        text[n] = newline ? '\n' : from.text[i];
        if (text[n] != ' ' && text[n] != '\n') plain[k++] = text[n];
        n++;
    }
    if (text) text[n] = 0;
    plain[k] = 0;
    return text;
}

/* Is it head, anything, and then the tail? */
static bool encloses(const char *text, const char *head, const char *tail)
{
    const size_t length = strlen(text), before = strlen(head), after = strlen(tail);

    return length >= before + after && strncmp(text, head, before) == 0 &&
           strcmp(text + length - after, tail) == 0;
}

/* What the template says as the system, as a part of it; NULL if it is not known. An empty one stands for
 * none. */
static bool find_system(const char *text, const char *plain, gguf_string *system)
{
    static const char begin[] = "<|im_start|>system\n", end[] = "<|im_end|>";
    char tail[sizeof system_tail + sizeof turns];

    *system = (gguf_string){ NULL, 0 };
    if (strncmp(plain, loop, sizeof loop - 1) == 0 && strcmp(plain + sizeof loop - 1, turns) == 0)
        return true;
    memcpy(tail, system_tail, sizeof system_tail - 1);
    memcpy(tail + sizeof system_tail - 1, turns, sizeof turns);
    if (!encloses(plain, system_head, tail)) return false;
    const char *at = strstr(text, begin);
    if (!at) return false;
    system->text = at + sizeof begin - 1;
    const char *stop = strstr(system->text, end);
    if (!stop) return false;
    system->length = (size_t)(stop - system->text);
    /* What would need more of Jinja than this knows. */
    return !memchr(system->text, '\'', system->length) && !memchr(system->text, '\\', system->length);
}

static bool append(const tokenizer *t, const char *text, size_t length, unsigned flags, tokenizer_ids *ids,
                   model_error *error)
{
    return tokenizer_encode(t, text, length, flags, ids, error);
}

static bool append_marks(const tokenizer *t, const char *marks, tokenizer_ids *ids, model_error *error)
{
    return append(t, marks, strlen(marks), TOKENIZER_SPECIAL, ids, error);
}

/* The template's marks must be tokens of the vocabulary, not text that spells them. */
static bool check_marks(const tokenizer *t, model_error *error)
{
    static const char marks[] = "<|im_start|><|im_end|>";
    tokenizer_ids ids = { 0 };
    bool ok = append_marks(t, marks, &ids, error);

    if (ok && (ids.count != 2 || !tokenizer_is_control(t, ids.list[0])))
        ok = model_fail(error,
                        "the model's chat template has <|im_start|> and <|im_end|>, which are no control "
                        "tokens of its vocabulary");
    tokenizer_ids_free(&ids);
    return ok;
}

static bool encode(const tokenizer *t, gguf_string system, gguf_string turn, tokenizer_ids *ids,
                   model_error *error)
{
    if (!check_marks(t, error)) return false;
    if (system.length > 0 && !(append_marks(t, "<|im_start|>system\n", ids, error) &&
                               append(t, system.text, system.length, 0, ids, error) &&
                               append_marks(t, "<|im_end|>\n", ids, error)))
        return false;
    return append_marks(t, "<|im_start|>user\n", ids, error) &&
           append(t, turn.text, turn.length, 0, ids, error) &&
           append_marks(t, "<|im_end|>\n<|im_start|>assistant\n", ids, error);
}

bool chat_encode(const gguf *file, const tokenizer *t, const char *text, size_t length, tokenizer_ids *ids,
                 model_error *error)
{
    static const char key[] = "tokenizer.chat_template";
    gguf_string template = { NULL, 0 }, system;
    bool ok = false;

    if (!gguf_has(file, key))
        return model_fail(error, "%s: there is no %s; without one --chat cannot be", gguf_path(file), key);
    if (!gguf_get_string(file, key, &template, error)) return false;
    char *plain = malloc(template.length + 1);
    char *whole = plain ? unescape(template, plain) : NULL;
    if (!whole)
        (void)model_fail_memory(error);
    else if (!find_system(whole, plain, &system))
        (void)model_fail(error,
                         "%s: its %s is not known; --chat knows ChatML, with or without a system message",
                         gguf_path(file), key);
    else
        ok = encode(t, system, (gguf_string){ text, length }, ids, error);
    free(whole);
    free(plain);
    return ok;
}
