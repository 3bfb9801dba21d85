#include "protocol/mailbox_name.h"

#include <stdint.h>
#include <string.h>

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int base64_value(char c)
{
    const char *found = c == '\0' ? NULL : strchr(base64_alphabet, c);
    return found == NULL ? -1 : (int)(found - base64_alphabet);
}

static bool is_printable_ascii(gunichar c)
{
    return c >= 0x20 && c <= 0x7e;
}

static bool is_control(gunichar c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f);
}

/* Between '&' and '-': UTF-16BE in base64 without padding. */
struct shift {
    uint32_t bits;
    int bit_count;
    gunichar high; /* a high surrogate that waits for its low one, or 0 */
    bool any;
};

static bool shift_take_unit(struct shift *shift, GString *out, gunichar unit)
{
    shift->any = true;
    if (shift->high != 0) {
        if (unit < 0xdc00 || unit > 0xdfff) {
            return false;
        }
        g_string_append_unichar(out, 0x10000 + ((shift->high - 0xd800) << 10) + (unit - 0xdc00));
        shift->high = 0;
        return true;
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        shift->high = unit;
        return true;
    }
    /* Printable ASCII stands for itself only, so that a name has one form. */
    if ((unit >= 0xdc00 && unit <= 0xdfff) || is_printable_ascii(unit)) {
        return false;
    }
    g_string_append_unichar(out, unit);
    return true;
}

/* From just after '&' to the closing '-', which *position is left at. */
static bool decode_shift(GString *out, const char *wire, size_t length, size_t *position)
{
    struct shift shift = {0};
    for (; *position < length && wire[*position] != '-'; (*position)++) {
        int value = base64_value(wire[*position]);
        if (value < 0) {
            return false;
        }
        shift.bits = (shift.bits << 6) | (uint32_t)value;
        shift.bit_count += 6;
        if (shift.bit_count >= 16) {
            shift.bit_count -= 16;
            gunichar unit = (shift.bits >> shift.bit_count) & 0xffff;
            if (!shift_take_unit(&shift, out, unit)) {
                return false;
            }
        }
        shift.bits &= (1u << shift.bit_count) - 1;
    }
    /* What is left over is less than a digit of padding, all zero. */
    return *position < length && shift.any && shift.high == 0 && shift.bits == 0 &&
           shift.bit_count < 6;
}

static bool decode_utf7(GString *out, const char *wire, size_t length)
{
    size_t shift_end = SIZE_MAX; /* just after the '-' of the last shift */
    for (size_t i = 0; i < length; i++) {
        if (wire[i] != '&') {
            g_string_append_c(out, wire[i]);
            continue;
        }
        if (i + 1 < length && wire[i + 1] == '-') {
            g_string_append_c(out, '&');
            i++;
            continue;
        }
        if (i == shift_end) {
            return false; /* two shifts in a row are one */
        }
        i++;
        if (!decode_shift(out, wire, length, &i)) {
            return false;
        }
        shift_end = i + 1;
    }
    return true;
}

static bool is_clean_utf8(const GString *text)
{
    if (!g_utf8_validate(text->str, (gssize)text->len, NULL)) {
        return false;
    }
    for (const char *p = text->str; *p != '\0'; p = g_utf8_next_char(p)) {
        if (is_control(g_utf8_get_char(p))) {
            return false;
        }
    }
    return strlen(text->str) == text->len;
}

bool mailbox_pattern_decode(char **out, const char *wire, size_t length, bool utf8)
{
    GString *text = g_string_new(NULL);
    bool valid = true;
    if (utf8) {
        g_string_append_len(text, wire, (gssize)length);
    } else {
        valid = decode_utf7(text, wire, length);
    }
    if (!valid || !is_clean_utf8(text)) {
        g_string_free(text, TRUE);
        return false;
    }
    *out = g_string_free(text, FALSE);
    return true;
}

/* Whether the first level is INBOX, in any case. */
static bool is_inbox(const char *name)
{
    return g_ascii_strncasecmp(name, "INBOX", 5) == 0 && (name[5] == '\0' || name[5] == '/');
}

bool mailbox_name_decode(char **out, const char *wire, size_t length, bool utf8)
{
    if (!mailbox_pattern_decode(out, wire, length, utf8)) {
        return false;
    }
    if (is_inbox(*out)) {
        memcpy(*out, "INBOX", 5);
    }
    return true;
}

static void encode_unit(GString *out, uint32_t *bits, int *bit_count, gunichar unit)
{
    *bits = (*bits << 16) | unit;
    *bit_count += 16;
    while (*bit_count >= 6) {
        *bit_count -= 6;
        g_string_append_c(out, base64_alphabet[(*bits >> *bit_count) & 0x3f]);
    }
    *bits &= (1u << *bit_count) - 1;
}

/* Writes one shift for the run of characters at text; returns the run's end. */
static const char *encode_shift(GString *out, const char *text)
{
    uint32_t bits = 0;
    int bit_count = 0;
    g_string_append_c(out, '&');
    while (*text != '\0' && !is_printable_ascii((unsigned char)*text)) {
        gunichar c = g_utf8_get_char_validated(text, -1);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            c = 0xfffd;
            text++;
        } else {
            text = g_utf8_next_char(text);
        }
        if (c >= 0x10000) {
            encode_unit(out, &bits, &bit_count, 0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        encode_unit(out, &bits, &bit_count, c);
    }
    if (bit_count > 0) {
        g_string_append_c(out, base64_alphabet[(bits << (6 - bit_count)) & 0x3f]);
    }
    g_string_append_c(out, '-');
    return text;
}

void mailbox_name_encode(GString *out, const char *name, bool utf8)
{
    if (utf8) {
        g_string_append(out, name);
        return;
    }
    while (*name != '\0') {
        if (*name == '&') {
            g_string_append(out, "&-");
            name++;
        } else if (is_printable_ascii((unsigned char)*name)) {
            g_string_append_c(out, *name++);
        } else {
            name = encode_shift(out, name);
        }
    }
}

static bool is_wildcard(char c)
{
    return c == '*' || c == '%';
}

/* A run of wildcards is one: '*' if it has one, else '%'. */
static char *collapse_wildcards(const char *pattern, size_t *length)
{
    char *out = g_malloc(strlen(pattern) + 1);
    size_t n = 0;
    for (; *pattern != '\0'; pattern++) {
        if (n > 0 && is_wildcard(*pattern) && is_wildcard(out[n - 1])) {
            out[n - 1] = *pattern == '*' ? '*' : out[n - 1];
        } else {
            out[n++] = *pattern;
        }
    }
    out[n] = '\0';
    *length = n;
    return out;
}

/* One step of the matching automaton: active[j] says whether pattern[0..j) can match the name so
 * far. Octets are enough: neither wildcard is part of a longer UTF-8 character. */
static bool match_step(uint8_t *active, const char *pattern, size_t last, char c, bool fold)
{
    bool alive = false;
    uint8_t carry = 0; /* whether state j + 1 is reached from j; found when j is looked at */
    for (size_t j = 0; j <= last; j++) {
        uint8_t here = active[j];
        bool wild = is_wildcard(pattern[j]);
        bool stays = here && (pattern[j] == '*' || (pattern[j] == '%' && c != '/'));
        bool equal = pattern[j] == c || (fold && g_ascii_toupper(pattern[j]) == g_ascii_toupper(c));
        active[j] = stays || carry;
        carry = here && !wild && pattern[j] != '\0' && equal;
        /* A wildcard may match nothing. */
        if (active[j] && wild) {
            carry = 1;
        }
        alive = alive || active[j];
    }
    return alive;
}

bool mailbox_pattern_match(const char *pattern, const char *name)
{
    size_t pattern_length;
    size_t name_length = strlen(name);
    char *states = collapse_wildcards(pattern, &pattern_length);
    bool matches = false;
    /* At most every second octet of the pattern is a wildcard, all others consume the name. */
    if (pattern_length <= 2 * name_length + 1) {
        uint8_t *active = g_malloc0(pattern_length + 2);
        bool inbox = is_inbox(name);
        bool alive = true;
        active[0] = 1;
        active[1] = is_wildcard(states[0]);
        for (size_t i = 0; alive && i < name_length; i++) {
            alive = match_step(active, states, pattern_length, name[i], inbox && i < 5);
        }
        matches = active[pattern_length];
        g_free(active);
    }
    g_free(states);
    return matches;
}
