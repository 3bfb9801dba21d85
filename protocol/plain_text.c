#include "protocol/plain_text.h"

#include <string.h>

#include "protocol/base64.h"
#include "protocol/charset.h"
#include "protocol/header.h"
#include "protocol/mime_fields.h"
#include "protocol/structure_tree.h"

static bool is_token(struct structure_text text, const char *token)
{
    return text.length == strlen(token) && g_ascii_strncasecmp(text.data, token, text.length) == 0;
}

static void append_header(GString *out, const uint8_t *block, size_t length)
{
    struct header_field field;
    size_t position = 0;
    while (header_next(block, length, &position, &field)) {
        charset_append_valid(out, field.name, field.name_length);
        g_string_append(out, field.name_length > 0 ? ": " : "");
        header_decode(out, field.value, field.value_length);
        g_string_append_c(out, '\n');
    }
}

/* --- transfer encodings --- */

/* quoted-printable (RFC 2045 6.7): "=" hex hex is an octet, "=" at the end of a line joins it with
 * the next. Anything else after "=" is a fault. */
static bool append_quoted_printable(GString *out, const char *text, size_t length)
{
    const char *end = text + length;
    while (text < end) {
        const char *sign = memchr(text, '=', (size_t)(end - text));
        size_t left = sign == NULL ? 0 : (size_t)(end - sign) - 1;
        g_string_append_len(out, text, sign == NULL ? end - text : sign - text);
        if (sign == NULL) {
            break;
        }
        if (left >= 2 && g_ascii_isxdigit(sign[1]) && g_ascii_isxdigit(sign[2])) {
            g_string_append_c(
                out, (char)(g_ascii_xdigit_value(sign[1]) * 16 + g_ascii_xdigit_value(sign[2])));
            text = sign + 3;
        } else if (left >= 1 && sign[1] == '\n') {
            text = sign + 2;
        } else if (left >= 2 && sign[1] == '\r' && sign[2] == '\n') {
            text = sign + 3;
        } else {
            return false;
        }
    }
    return true;
}

/* base64 (RFC 2045 6.8), line ends between its digits. Other octets, padding before the end and a
 * group that is not whole are faults. */
static bool append_base64(GString *out, const char *text, size_t length)
{
    uint32_t bits = 0;
    unsigned digits = 0;
    unsigned padding = 0;
    for (size_t i = 0; i < length; i++) {
        int value = base64_value(text[i]);
        if (text[i] == '\r' || text[i] == '\n') {
            continue;
        }
        if (text[i] == '=') {
            padding++;
            continue;
        }
        if (value < 0 || padding > 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        if (++digits % 4 == 0) {
            const char octets[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
            g_string_append_len(out, octets, 3);
        }
    }
    if (digits % 4 == 1 || (digits + padding) % 4 != 0 || padding > 2) {
        return false;
    }
    if (digits % 4 >= 2) {
        bits <<= 6 * (4 - digits % 4);
        const char octets[2] = {(char)(bits >> 16), (char)(bits >> 8)};
        g_string_append_len(out, octets, digits % 4 - 1);
    }
    return true;
}

static bool append_decoded(GString *out, struct structure_text encoding, const char *text,
                           size_t length)
{
    if (encoding.data == NULL || is_token(encoding, "7bit") || is_token(encoding, "8bit") ||
        is_token(encoding, "binary")) {
        g_string_append_len(out, text, (gssize)length);
        return true;
    }
    if (is_token(encoding, "quoted-printable")) {
        return append_quoted_printable(out, text, length);
    }
    return is_token(encoding, "base64") && append_base64(out, text, length);
}

/* --- charsets --- */

enum charset_kind {
    CHARSET_UTF_8,
    CHARSET_LIKE_ASCII, /* has ASCII in its place */
    CHARSET_OTHER,
};

static enum charset_kind charset_of(const struct structure *structure,
                                    const struct structure_part *part)
{
    static const char *const like_ascii[] = {"iso-8859-", "windows-125", "koi8-"};
    char name[CHARSET_NAME_MAX];
    g_autoptr(GString) charset = g_string_new(NULL);
    if (!mime_fields_parameter(charset, structure, part->parameters, "charset")) {
        return CHARSET_UTF_8;
    }
    if (!charset_name(name, charset->str, charset->len)) {
        return CHARSET_OTHER;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(like_ascii); i++) {
        if (g_str_has_prefix(name, like_ascii[i])) {
            return CHARSET_LIKE_ASCII;
        }
    }
    return strcmp(name, "utf-8") == 0 ? CHARSET_UTF_8 : CHARSET_OTHER;
}

static bool is_ascii(const char *text, size_t length)
{
    size_t i = 0;
    for (uint64_t octets; length - i >= sizeof octets; i += sizeof octets) {
        memcpy(&octets, text + i, sizeof octets);
        if ((octets & UINT64_C(0x8080808080808080)) != 0) {
            return false;
        }
    }
    while (i < length && (unsigned char)text[i] < 0x80) {
        i++;
    }
    return i == length;
}

static bool append_body(GString *out, const uint8_t *message, const struct structure *structure,
                        const struct structure_part *part)
{
    enum charset_kind charset = charset_of(structure, part);
    size_t start = out->len;
    if (charset == CHARSET_OTHER ||
        !append_decoded(out, part->encoding, (const char *)message + part->body.start,
                        part->body.length)) {
        return false;
    }
    const char *text = out->str + start;
    size_t length = out->len - start;
    bool good = memchr(text, '\0', length) == NULL &&
                (is_ascii(text, length) ||
                 (charset == CHARSET_UTF_8 && g_utf8_validate_len(text, length, NULL)));
    g_string_append_c(out, '\n');
    return good;
}

static bool is_within(struct octet_range range, size_t length)
{
    return range.start <= length && range.length <= length - range.start;
}

bool plain_text(GString *out, const uint8_t *message, size_t length,
                const struct structure *structure, bool header, bool body)
{
    for (uint32_t i = 0; i < structure->parts->len; i++) {
        const struct structure_part *part = structure_part(structure, i);
        bool attached = i > 0 && structure_is_message(structure, i);
        bool text =
            part->kind == STRUCTURE_LEAF && g_ascii_strncasecmp(part->type.data, "text/", 5) == 0;
        if (!is_within(part->header, length) || !is_within(part->body, length)) {
            return false;
        }
        if (header || (body && attached)) {
            append_header(out, message + part->header.start, part->header.length);
        }
        if (body && text && !append_body(out, message, structure, part)) {
            return false;
        }
    }
    return true;
}
