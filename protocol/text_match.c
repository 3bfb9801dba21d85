#include "protocol/text_match.h"

#include <stdint.h>
#include <string.h>

/* Knuth-Morris-Pratt over folded characters: each octet of the haystack is looked at once and
 * nothing of it is copied. */
struct text_match {
    gunichar *needle;
    uint32_t *border; /* border[i]: longest proper border of needle[0..i] */
    size_t length;
    gunichar ascii[128]; /* the fold of ASCII, which needs no more than one character */
};

/* i;unicode-casemap (RFC 5051 2): title case, then fully decomposed. */
static size_t fold(gunichar c, gunichar folded[G_UNICHAR_MAX_DECOMPOSITION_LENGTH])
{
    return g_unichar_fully_decompose(g_unichar_totitle(c), TRUE, folded,
                                     G_UNICHAR_MAX_DECOMPOSITION_LENGTH);
}

/* The character at *text, which moves past it; false (one octet further) if it is none. */
static bool next_character(const char **text, const char *end, gunichar *out)
{
    *out = g_utf8_get_char_validated(*text, end - *text);
    if (*out == (gunichar)-1 || *out == (gunichar)-2) {
        (*text)++;
        return false;
    }
    *text += **text == '\0' ? 1 : g_utf8_skip[(unsigned char)**text];
    return true;
}

static void fill_borders(struct text_match *match)
{
    size_t k = 0;
    for (size_t i = 1; i < match->length; i++) {
        while (k > 0 && match->needle[i] != match->needle[k]) {
            k = match->border[k - 1];
        }
        if (match->needle[i] == match->needle[k]) {
            k++;
        }
        match->border[i] = (uint32_t)k;
    }
}

struct text_match *text_match_new(const char *needle, size_t length)
{
    struct text_match *match = g_new0(struct text_match, 1);
    GArray *folded = g_array_new(FALSE, FALSE, sizeof(gunichar));
    gunichar pieces[G_UNICHAR_MAX_DECOMPOSITION_LENGTH];
    const char *end = needle + length;
    while (needle < end) {
        gunichar c;
        if (!next_character(&needle, end, &c)) {
            c = 0xffffffff; /* equal to no folded character */
        }
        g_array_append_vals(folded, pieces, (guint)fold(c, pieces));
    }
    for (gunichar c = 0; c < G_N_ELEMENTS(match->ascii); c++) {
        match->ascii[c] = g_unichar_totitle(c);
    }
    match->length = folded->len;
    match->needle = (gunichar *)(void *)g_array_free(folded, FALSE);
    match->border = g_new0(uint32_t, match->length + 1);
    fill_borders(match);
    return match;
}

void text_match_free(struct text_match *match)
{
    if (match != NULL) {
        g_free(match->needle);
        g_free(match->border);
        g_free(match);
    }
}

/* How much of the needle is matched after one more character. */
static inline size_t step(const struct text_match *match, size_t matched, gunichar c)
{
    while (matched > 0 && match->needle[matched] != c) {
        matched = match->border[matched - 1];
    }
    return match->needle[matched] == c ? matched + 1 : 0;
}

bool text_match_find(const struct text_match *match, const char *haystack, size_t length)
{
    const char *end = haystack + length;
    size_t matched = 0;
    while (matched < match->length && haystack < end) {
        unsigned char octet = (unsigned char)*haystack;
        gunichar c;
        if (octet < 0x80) {
            matched = step(match, matched, match->ascii[octet]);
            haystack++;
        } else if (!next_character(&haystack, end, &c)) {
            matched = 0;
        } else {
            gunichar pieces[G_UNICHAR_MAX_DECOMPOSITION_LENGTH];
            size_t count = fold(c, pieces);
            for (size_t i = 0; i < count && matched < match->length; i++) {
                matched = step(match, matched, pieces[i]);
            }
        }
    }
    return matched == match->length;
}
