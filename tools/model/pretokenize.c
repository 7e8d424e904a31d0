/* SPDX-License-Identifier: Apache-2.0 */
#include "pretokenize.h"

#include "unicode.h"

#include <string.h>

/* What a rule may look at: the words it cuts end where this ends. */
typedef struct stretch {
    const unsigned char *text;
    size_t length;
} stretch;

static unicode_char char_at(const stretch *s, size_t at)
{
    return unicode_first(s->text + at, s->length - at);
}

/* Where the characters of one class that begin at `at` end, after `max` of them at the latest. */
static size_t run_end(const stretch *s, size_t at, unicode_class class, size_t max)
{
    for (; max > 0; max--) {
        const unicode_char c = char_at(s, at);
        if (c.class != class) break;
        at += c.length;
    }
    return at;
}

static bool is_newline(unicode_char c)
{
    return c.code == '\r' || c.code == '\n';
}

/* 's|'t|'re|'ve|'m|'ll|'d; 0 if none is at the beginning. */
static size_t contraction(const stretch *s, bool any_case)
{
    static const char *const endings[] = { "s", "t", "re", "ve", "m", "ll", "d" };

    if (s->length < 2 || s->text[0] != '\'') return 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t n = strlen(endings[i]);
        size_t same = 0;
        while (same < n && same + 1 < s->length &&
               (s->text[same + 1] | (any_case ? 0x20 : 0)) == (unsigned char)endings[i][same])
            same++;
        if (same == n) return 1 + n;
    }
    return 0;
}

/* \s+(?!\S)|\s+: all white space, but for the last character if a word follows, which may want it. */
static size_t spaces(const stretch *s)
{
    size_t last = 0;
    size_t end = 0;

    for (unicode_char c = char_at(s, 0); c.class == UNICODE_SPACE; c = char_at(s, end)) {
        last = end;
        end += c.length;
    }
    return end == s->length || last == 0 ? end : last;
}

static size_t word_gpt2(const stretch *s)
{
    const size_t short_form = contraction(s, false);
    const size_t start = s->text[0] == ' ';
    const unicode_class class = char_at(s, start).class;

    if (short_form > 0) return short_form;
    if (class == UNICODE_SPACE || class == UNICODE_END) return spaces(s);
    return run_end(s, start, class, SIZE_MAX);
}

/* \s*[\r\n]+: white space to its last newline; 0 if there is none. */
static size_t lines(const stretch *s)
{
    size_t end = 0;
    size_t after_newline = 0;

    for (unicode_char c = char_at(s, 0); c.class == UNICODE_SPACE; c = char_at(s, end)) {
        end += c.length;
        if (is_newline(c)) after_newline = end;
    }
    return after_newline;
}

static size_t word_llama_bpe(const stretch *s)
{
    const size_t short_form = contraction(s, true);
    const unicode_char first = char_at(s, 0);
    const unicode_char second = char_at(s, first.length);

    if (short_form > 0) return short_form;
    if (first.class == UNICODE_LETTER) return run_end(s, 0, UNICODE_LETTER, SIZE_MAX);
    if (second.class == UNICODE_LETTER && first.class != UNICODE_NUMBER && !is_newline(first)) {
        return run_end(s, first.length, UNICODE_LETTER, SIZE_MAX);
    }
    if (first.class == UNICODE_NUMBER) return run_end(s, 0, UNICODE_NUMBER, 3);
    if (first.class == UNICODE_OTHER || (first.code == ' ' && second.class == UNICODE_OTHER)) {
        size_t end = run_end(s, first.code == ' ', UNICODE_OTHER, SIZE_MAX);
        while (is_newline(char_at(s, end)))
            end++;
        return end;
    }
    const size_t to_newline = lines(s);
    return to_newline > 0 ? to_newline : spaces(s);
}

/* The end of the number at `at`, or of what is no number. */
static size_t stretch_end(const stretch *s, size_t at)
{
    unicode_char c = char_at(s, at);

    if (c.class == UNICODE_NUMBER) return at + c.length;
    for (; c.class != UNICODE_NUMBER && c.class != UNICODE_END; c = char_at(s, at))
        at += c.length;
    return at;
}

bool pretokenize_next(pretokenizer *p, const unsigned char **word, size_t *length)
{
    const stretch all = { p->text, p->length };

    if (p->at == p->length) return false;
    if (p->at == p->stretch_end) {
        p->stretch_end = p->rule == PRETOKENIZE_SMOLLM ? stretch_end(&all, p->at) : p->length;
    }
    const stretch rest = { p->text + p->at, p->stretch_end - p->at };
    *word = rest.text;
    *length = p->rule == PRETOKENIZE_LLAMA_BPE ? word_llama_bpe(&rest) : word_gpt2(&rest);
    p->at += *length;
    return true;
}
