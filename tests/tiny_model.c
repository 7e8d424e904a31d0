/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_model.h"

#include <stdbool.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BLANK "\xC4\xA0" /* how GPT-2's alphabet writes a blank: U+0120 */

/* As the file has them. The merges are the words' own, in the order of their ranks. */
static const char *const words[] = { "he", "ll",        "hell",        "hello",     BLANK "w", "or",
                                     "ld", BLANK "wor", BLANK "world", BLANK BLANK, "world" };
static const char *const merges[] = { "h e", "l l", "he ll",      "hell o",       BLANK " w",
                                      "o r", "l d", BLANK "w or", BLANK "wor ld", BLANK " " BLANK };
static const char *const specials[] = { "<|start|>", "<|end|>", "<|end|>>", "<|im_end|>", "[[x]]" };

/* Visible characters of Latin-1 stand for themselves, the other bytes are U+0100 and the following. */
static unsigned code_of(unsigned byte)
{
    unsigned next = 0x100;

    for (unsigned b = 0; b < byte; b++)
        next += !((b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD));
    const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    return visible ? byte : next;
}

static void put_byte_token(gguf_writer *w, unsigned byte)
{
    const unsigned code = code_of(byte);
    char text[3] = { 0 };

    text[0] = (char)(code < 0x80 ? code : 0xC0 | code >> 6);
    if (code >= 0x80) text[1] = (char)(0x80 | (code & 0x3F));
    gw_string(w, text);
}

static void put_types(gguf_writer *w)
{
    gw_array(w, "tokenizer.ggml.token_type", GW_I32, TINY_VOCAB);
    for (unsigned id = 0; id < TINY_VOCAB; id++)
        gw_u32(w, id == TINY_USER ? 4 : id >= TINY_START ? 3 : 1);
}

/* ChatML with a system message; the vocabulary has no <|im_start|>. */
static const char chatml[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

void tiny_put_tokenizer(gguf_writer *w, const char *pre)
{
    gw_key_string(w, "tokenizer.ggml.model", "gpt2");
    gw_key_string(w, "tokenizer.ggml.pre", pre);
    gw_array(w, "tokenizer.ggml.tokens", GW_STRING, TINY_VOCAB);
    for (unsigned byte = 0; byte < 256; byte++)
        put_byte_token(w, byte);
    for (size_t i = 0; i < COUNT(words); i++)
        gw_string(w, words[i]);
    for (size_t i = 0; i < COUNT(specials); i++)
        gw_string(w, specials[i]);
    put_types(w);
    gw_array(w, "tokenizer.ggml.merges", GW_STRING, COUNT(merges));
    for (size_t i = 0; i < COUNT(merges); i++)
        gw_string(w, merges[i]);
    gw_key_u32(w, "tokenizer.ggml.bos_token_id", TINY_START);
    gw_key_u32(w, "tokenizer.ggml.eos_token_id", TINY_END);
    gw_key_bool(w, "tokenizer.ggml.add_bos_token", 0);
    gw_key_string(w, "tokenizer.chat_template", chatml);
}

gguf_writer tiny_tokenizer_file(const char *pre)
{
    gguf_writer w = { 0 };

    gw_header(&w, 3, 0, TINY_TOKENIZER_KEYS);
    tiny_put_tokenizer(&w, pre);
    return w;
}
