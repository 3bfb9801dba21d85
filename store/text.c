#include "store/internal/text.h"

#include <string.h>

bool text_number(struct text *text, uint64_t max, uint64_t *out)
{
    const char *start = text->at;
    uint64_t value = 0;

    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
        unsigned digit = (unsigned)(*text->at - '0');

        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
        text->at++;
    }
    if (text->at == start || value > max || (*start == '0' && text->at - start > 1)) {
        return false;
    }
    *out = value;
    return true;
}

bool text_octet(struct text *text, char octet)
{
    if (text->at == text->end || *text->at != octet) {
        return false;
    }
    text->at++;
    return true;
}

bool text_line(struct text *text, struct text *line)
{
    size_t left = (size_t)(text->end - text->at);
    const char *newline = left > 0 ? memchr(text->at, '\n', left) : NULL;

    if (newline == NULL) {
        return false;
    }
    line->at = text->at;
    line->end = newline;
    text->at = newline + 1;
    return true;
}

bool text_word(struct text *text, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) {
        return false;
    }
    text->at += length;
    return true;
}

/* Characters that alter how a terminal or a browser shows the text around them. */
static bool is_harmful(gunichar c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200b || c == 0x200e ||
           c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

/* The octets of the character at text, 1 for a bad octet; *good tells whether it may stand. */
static size_t next_character(const char *text, size_t length, bool *good)
{
    gunichar c;

    if ((unsigned char)*text < 0x80) {
        *good = !is_harmful((gunichar)*text);
        return 1;
    }
    c = g_utf8_get_char_validated(text, (gssize)MIN(length, 6));
    if (c == (gunichar)-1 || c == (gunichar)-2) {
        *good = false;
        return 1;
    }
    *good = !is_harmful(c);
    return (size_t)(g_utf8_next_char(text) - text);
}

void text_append_harmless(GString *out, const char *text, size_t length, size_t max)
{
    size_t used = 0;
    bool good;

    for (size_t i = 0; i < length;) {
        size_t octets = next_character(text + i, length - i, &good);
        size_t adds = good ? octets : 1;

        if (used + adds > max) {
            g_string_append(out, "...");
            return;
        }
        if (good) {
            g_string_append_len(out, text + i, (gssize)octets);
        } else {
            g_string_append_c(out, '?');
        }
        used += adds;
        i += octets;
    }
}

bool text_is_harmless(const char *text, size_t length)
{
    bool good = true;

    for (size_t i = 0; i < length && good;) {
        i += next_character(text + i, length - i, &good);
    }
    return good;
}
