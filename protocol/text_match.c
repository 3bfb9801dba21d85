#include "protocol/text_match.h"

#include <stdint.h>
#include <string.h>

enum {
    CHUNK = 8 * 1024, /* octets folded at a time */
    BROKEN = 0xff,    /* stands for an octet that is no part of a character */
};

struct text_match {
    GString *needle; /* folded */
    bool impossible; /* the needle is no text */
};

/* Octets below 0x80 at the start of text. */
static size_t ascii_length(const char *text, size_t length)
{
    size_t i = 0;
    for (uint64_t octets; length - i >= sizeof octets; i += sizeof octets) {
        memcpy(&octets, text + i, sizeof octets);
        if ((octets & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    while (i < length && (unsigned char)text[i] < 0x80) {
        i++;
    }
    return i;
}

/* The title case of ASCII is upper case and decomposes no further. Without a branch, so that the
 * compiler makes it many octets at a time. */
static void fold_ascii(GString *out, const char *text, size_t length)
{
    size_t start = out->len;
    g_string_set_size(out, start + length);
    unsigned char *to = (unsigned char *)out->str + start;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        to[i] = (unsigned char)(c - ((unsigned char)(c - 'a') < 26 ? 'a' - 'A' : 0));
    }
}

/* i;unicode-casemap (RFC 5051 2): title case, then fully decomposed. Octets of the character at
 * text, or of what is none. */
static size_t fold_character(GString *out, const char *text, size_t length)
{
    gunichar pieces[G_UNICHAR_MAX_DECOMPOSITION_LENGTH];
    gunichar c = g_utf8_get_char_validated(text, (gssize)length);
    if (c == (gunichar)-1 || c == (gunichar)-2) {
        g_string_append_c(out, (char)BROKEN);
        return 1;
    }
    size_t count = g_unichar_fully_decompose(g_unichar_totitle(c), TRUE, pieces,
                                             G_UNICHAR_MAX_DECOMPOSITION_LENGTH);
    for (size_t i = 0; i < count; i++) {
        g_string_append_unichar(out, pieces[i]);
    }
    return g_utf8_skip[(unsigned char)*text];
}

void text_fold(GString *out, const char *text, size_t length)
{
    while (length > 0) {
        size_t ascii = ascii_length(text, length);
        size_t done = ascii;
        if (ascii > 0) {
            fold_ascii(out, text, ascii);
        } else {
            done = fold_character(out, text, length);
        }
        text += done;
        length -= done;
    }
}

struct text_match *text_match_new(const char *needle, size_t length)
{
    struct text_match *match = g_new0(struct text_match, 1);
    match->needle = g_string_new(NULL);
    text_fold(match->needle, needle, length);
    match->impossible = memchr(match->needle->str, BROKEN, match->needle->len) != NULL;
    return match;
}

void text_match_free(struct text_match *match)
{
    if (match != NULL) {
        g_string_free(match->needle, TRUE);
        g_free(match);
    }
}

bool text_match_find_folded(const struct text_match *match, const char *folded, size_t length)
{
    return !match->impossible &&
           (match->needle->len == 0 ||
            (length > 0 && memmem(folded, length, match->needle->str, match->needle->len) != NULL));
}

/* How much of the text is folded next: at most CHUNK octets, no character cut. */
static size_t chunk_length(const char *text, size_t length)
{
    if (length <= CHUNK) {
        return length;
    }
    for (size_t end = CHUNK; end > CHUNK - 4; end--) {
        if (((unsigned char)text[end] & 0xc0) != 0x80) {
            return end;
        }
    }
    return CHUNK; /* amid octets that are no character */
}

bool text_match_find(const struct text_match *match, const char *haystack, size_t length)
{
    if (match->impossible || match->needle->len == 0) {
        return !match->impossible;
    }
    /* At the front what the chunks before had at their end: a match may begin there. */
    GString *folded = g_string_sized_new(MIN(length, CHUNK) + 2 * match->needle->len);
    bool found = false;
    while (length > 0 && !found) {
        size_t chunk = chunk_length(haystack, length);
        text_fold(folded, haystack, chunk);
        found = text_match_find_folded(match, folded->str, folded->len);
        if (folded->len >= match->needle->len) {
            g_string_erase(folded, 0, (gssize)(folded->len - match->needle->len + 1));
        }
        haystack += chunk;
        length -= chunk;
    }
    g_string_free(folded, TRUE);
    return found;
}
