/* SPDX-License-Identifier: Apache-2.0 */
/* Texts as `clsample generate` shows them: UTF-8 in pieces, and the texts that end them. Needs no device. */
#define _XOPEN_SOURCE 700 /* posix_openpt and its kin */
#include "text_stream.h"

#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PIECES 4

static const struct {
    const char *what;
    const char *stops[PIECES], *pieces[PIECES];
    const char *early; /* shown before the end */
    const char *want;
    bool stopped;
    int n_early; /* pieces in which stops do not count */
} known[] = {
    { "no stops", { NULL }, { "ab", "c" }, "abc", "abc", false, 0 },
    { "a stop in one piece", { "b" }, { "abc", "d" }, "a", "a", true, 0 },
    { "a stop in two", { "bc" }, { "ab", "cd" }, "a", "a", true, 0 },
    { "a stop that does not come", { "bcd" }, { "ab", "c" }, "a", "abc", false, 0 },
    { "a beginning that turns out wrong", { "bcd" }, { "ab", "cx" }, "abcx", "abcx", false, 0 },
    { "a beginning inside a beginning", { "aab" }, { "aa", "a", "b" }, "a", "a", true, 0 },
    { "the first that is complete wins", { "abcd", "b" }, { "abcd" }, "a", "a", true, 0 },
    { "at the very beginning", { "a" }, { "a" }, "", "", true, 0 },
    { "a character in two pieces", { NULL }, { "x\xC3", "\xA9" }, "x\xC3\xA9", "x\xC3\xA9", false, 0 },
    { "half a character at the end", { NULL }, { "x\xC3" }, "x", "x\xEF\xBF\xBD", false, 0 },
    { "an escape sequence in a pipe", { NULL }, { "x\x1B", "[2J" }, "x\x1B[2J", "x\x1B[2J", false, 0 },
    { "a stop of two bytes", { "\xC3\xA9" }, { "x\xC3", "\xA9y" }, "x", "x", true, 0 },
    { "a stop that came too early", { "b" }, { "ab", "cb", "d" }, "abc", "abc", true, 1 },
    { "early to the end", { "b" }, { "ab" }, "ab", "ab", false, 1 },
    { "a stop that begins early", { "bc" }, { "ab", "c" }, "a", "a", true, 1 },
    { "one too early begins another", { "bb" }, { "abb", "b" }, "ab", "ab", true, 1 },
    { "half a character, too early", { "\xEF\xBF\xBD" }, { "x\xC3" }, "x", "x\xEF\xBF\xBD", false, 1 },
};

static char *shown;
static size_t shown_size;

static void set_stops(cli_list *list, const char *const *stops)
{
    for (list->count = 0; list->count < PIECES && stops[list->count]; list->count++)
        list->text[list->count] = stops[list->count];
}

static bool is_shown(const char *want)
{
    return shown_size == strlen(want) && memcmp(shown, want, shown_size) == 0;
}

START_TEST(known_texts)
{
    cli_list stops;
    text_stream s = { .to = open_memstream(&shown, &shown_size), .stops = &stops };

    ck_assert_ptr_nonnull(s.to);
    set_stops(&stops, known[_i].stops);
    for (int i = 0; i < PIECES && known[_i].pieces[i]; i++) {
        s.early = i < known[_i].n_early;
        text_stream_push(&s, known[_i].pieces[i], strlen(known[_i].pieces[i]));
    }
    fflush(s.to);
    ck_assert_msg(is_shown(known[_i].early), "%s: early \"%s\"", known[_i].what, shown);
    text_stream_end(&s);
    fflush(s.to);
    ck_assert_msg(is_shown(known[_i].want), "%s: \"%s\"", known[_i].what, shown);
    ck_assert(s.stopped == known[_i].stopped && !s.failed);
    ck_assert(s.length == shown_size && memcmp(s.text, shown, shown_size) == 0);
    fclose(s.to);
    free(shown);
    text_stream_free(&s);
}
END_TEST

/* Where `stop` first is in the text with its end past `from` bytes; the text's length if it is not. */
static size_t find_stop(const char *text, const char *stop, size_t from)
{
    for (const char *at = text; (at = strstr(at, stop)) != NULL; at++) {
        if ((size_t)(at - text) + strlen(stop) > from) return (size_t)(at - text);
    }
    return strlen(text);
}

/* Two letters make many beginnings: the text is cut before the stop that is complete first, in whatever
 * pieces it comes and however many of them are too early, and what is shown is never taken back. */
START_TEST(random_texts)
{
    test_rng r = { 700u + (uint64_t)_i };
    const size_t early = rng_below(&r, 2) ? rng_below(&r, 20) : 0; /* bytes */
    char text[41], stop[2][5];
    size_t want = 40, end = 41;
    cli_list stops = { { stop[0], stop[1] }, 2 };
    text_stream s = { .stops = &stops };
    size_t at = 0;

    for (size_t i = 0; i < 2; i++) {
        const size_t length = 1 + rng_below(&r, 4);
        for (size_t k = 0; k < length; k++)
            stop[i][k] = "ab"[rng_below(&r, 2)];
        stop[i][length] = 0;
    }
    for (size_t i = 0; i < 40; i++)
        text[i] = "aabc"[rng_below(&r, 4)];
    text[40] = 0;
    for (size_t i = 0; i < 2; i++) {
        const size_t begin = find_stop(text, stop[i], early), after = begin + strlen(stop[i]);
        if (begin < 40 && (after < end || (after == end && begin < want))) {
            want = begin;
            end = after;
        }
    }
    while (at < 40) {
        const size_t n = rng_below(&r, 5), left = (at < early ? early : 40) - at;
        s.early = at < early;
        text_stream_push(&s, text + at, n < left ? n : left);
        at += n < left ? n : left;
        ck_assert_uint_le(s.shown, want);
    }
    text_stream_end(&s);
    ck_assert_msg(s.length == want && s.shown == want && memcmp(s.text, text, want) == 0,
                  "%s, before %s or %s: %zu bytes", text, stop[0], stop[1], s.length);
    text_stream_free(&s);
}
END_TEST

/* What a terminal shows of `pieces`; `room` bytes of it at most. */
static void show_on_terminal(const char *const *pieces, char *out, size_t room)
{
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    const cli_list stops = { .count = 0 };
    text_stream s = { .stops = &stops };
    struct termios mode;
    size_t got = 0;

    ck_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    ck_assert(slave >= 0 && tcgetattr(slave, &mode) == 0);
    mode.c_oflag &= ~(tcflag_t)OPOST; /* else it makes two characters of a newline */
    ck_assert_int_eq(tcsetattr(slave, TCSANOW, &mode), 0);
    s.to = fdopen(slave, "w");
    for (int i = 0; i < PIECES && pieces[i]; i++)
        text_stream_push(&s, pieces[i], strlen(pieces[i]));
    text_stream_end(&s);
    fputc('.', s.to);
    fflush(s.to);
    do {
        const ssize_t n = read(master, out + got, room - 1 - got);
        ck_assert_int_gt(n, 0);
        got += (size_t)n;
    } while (out[got - 1] != '.');
    out[got - 1] = 0;
    fclose(s.to);
    close(master);
    text_stream_free(&s);
}

/* A model may write what a terminal would obey; in a pipe it stays, see known_texts. */
START_TEST(terminals)
{
    static const struct {
        const char *pieces[PIECES], *want;
    } shown_as[] = {
        { { "a\nb\tc \xC3\xA9" }, "a\nb\tc \xC3\xA9" },
        { { "a\x1B[31mb" }, "a\\x1b[31mb" },
        { { "a\x1B", "[2J" }, "a\\x1b[2J" },
        { { "\x07\b\f\r\v\x7F\x01" }, "\\a\\b\\f\\r\\v\\x7f\\x01" },
        { { "a\xC2", "\x9B"
                     "1m" },
          "a\\u009b1m" },
        { { "a\x9B"
            "1m" },
          "a\xEF\xBF\xBD"
          "1m" },
        { { "\xC2\xA0 \xE2\x9B\x84" }, "\xC2\xA0 \xE2\x9B\x84" },
    };
    char out[100];

    ck_assert_int_lt(_i, (int)COUNT(shown_as));
    show_on_terminal(shown_as[_i].pieces, out, sizeof out);
    ck_assert_str_eq(out, shown_as[_i].want);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("text_stream");
    TCase *t = tcase_create("text_stream");

    tcase_add_loop_test(t, known_texts, 0, (int)COUNT(known));
    tcase_add_loop_test(t, random_texts, 0, 300);
    tcase_add_loop_test(t, terminals, 0, 7);
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
