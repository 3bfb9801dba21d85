#include "protocol/response.h"

#include <string.h>

#include "protocol/mailbox_name.h"

enum { QUOTED_MAX = 1000 }; /* RFC 2683 3.4.2: some clients have small buffers for a line */

const char *const response_system_flags[5] = {"\\Answered", "\\Flagged", "\\Deleted", "\\Seen",
                                              "\\Draft"};

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE; TEXT-CHAR = <any CHAR except CR and LF> */
static bool can_be_quoted(const char *data, size_t length, bool utf8)
{
    bool eight_bit = false;
    if (length > QUOTED_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '\r' || c == '\n' || c == '\0') {
            return false;
        }
        eight_bit = eight_bit || c >= 0x80;
    }
    return !eight_bit || (utf8 && g_utf8_validate(data, (gssize)length, NULL));
}

static void append_quoted(GString *out, const char *data, size_t length)
{
    g_string_append_c(out, '"');
    for (size_t i = 0; i < length; i++) {
        if (data[i] == '"' || data[i] == '\\') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, data[i]);
    }
    g_string_append_c(out, '"');
}

static void append_literal(GString *out, const char *data, size_t length)
{
    response_literal_header(out, length);
    size_t start = out->len;
    g_string_append_len(out, data, (gssize)length);
    for (size_t i = start; i < out->len; i++) {
        if (out->str[i] == '\0') {
            out->str[i] = (char)0x80;
        }
    }
}

void response_string(GString *out, const char *data, size_t length, bool utf8)
{
    if (can_be_quoted(data, length, utf8)) {
        append_quoted(out, data, length);
    } else {
        append_literal(out, data, length);
    }
}

void response_nstring(GString *out, const char *data, size_t length, bool utf8)
{
    if (data == NULL) {
        g_string_append(out, "NIL");
    } else {
        response_string(out, data, length, utf8);
    }
}

/* ASTRING-CHAR = ATOM-CHAR / resp-specials */
static bool is_astring_char(char c)
{
    return c > ' ' && c < 0x7f && strchr("(){%*\"\\", c) == NULL;
}

static bool can_be_atom(const char *data, size_t length)
{
    if (length == 0 || length > QUOTED_MAX ||
        (length == 3 && g_ascii_strncasecmp(data, "NIL", 3) == 0)) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_astring_char(data[i])) {
            return false;
        }
    }
    return true;
}

void response_astring(GString *out, const char *data, size_t length, bool utf8)
{
    if (can_be_atom(data, length)) {
        g_string_append_len(out, data, (gssize)length);
    } else {
        response_string(out, data, length, utf8);
    }
}

void response_mailbox(GString *out, const char *name, bool utf8)
{
    GString *wire = g_string_new(NULL);
    mailbox_name_encode(wire, name, utf8);
    response_astring(out, wire->str, wire->len, utf8);
    g_string_free(wire, TRUE);
}

void response_text(GString *out, const char *text, bool utf8)
{
    if (*text == '\0') {
        g_string_append_c(out, '-');
        return;
    }
    while (*text != '\0') {
        gunichar c = g_utf8_get_char_validated(text, -1);
        bool valid = c != (gunichar)-1 && c != (gunichar)-2;
        if (valid && c >= ' ' && c < 0x7f) {
            g_string_append_c(out, (char)c);
        } else if (valid && c >= 0xa0 && utf8) {
            g_string_append_unichar(out, c);
        } else {
            g_string_append_c(out, '?');
        }
        text = valid ? g_utf8_next_char(text) : text + 1;
    }
}

void response_literal_header(GString *out, uint64_t length)
{
    g_string_append_c(out, '{');
    response_number(out, length);
    g_string_append(out, "}\r\n");
}

char *response_digits(char *to, uint64_t number)
{
    char digits[RESPONSE_NUMBER_MAX];
    size_t start = sizeof digits;
    do {
        digits[--start] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memcpy(to, digits + start, sizeof digits - start);
    return to + (sizeof digits - start);
}

void response_number(GString *out, uint64_t number)
{
    char digits[RESPONSE_NUMBER_MAX];
    g_string_append_len(out, digits, response_digits(digits, number) - digits);
}
