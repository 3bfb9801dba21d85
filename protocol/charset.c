#include "protocol/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <string.h>

/* Names that iconv does not know, or takes for less than what senders mean by them. */
static const char *const aliases[][2] = {
    {"ansi_x3.4-1968", "utf-8"},
    {"ascii", "utf-8"},
    {"gb2312", "gb18030"},
    {"ks_c_5601-1987", "cp949"},
    {"shift_jis", "cp932"},
    {"unicode-1-1-utf-7", "utf-7"},
    {"unicode-1-1-utf-8", "utf-8"},
    {"us-ascii", "utf-8"},
    {"utf8", "utf-8"},
    {"x-gbk", "gbk"},
    {"x-sjis", "cp932"},
    {"x-unknown", "utf-8"},
    {"iso-8859-8-i", "iso-8859-8"},
};

void charset_append_valid(GString *out, const char *data, size_t length)
{
    const char *end = data + length;
    while (data < end) {
        const char *broken;
        bool valid = g_utf8_validate_len(data, (gsize)(end - data), &broken);
        g_string_append_len(out, data, broken - data);
        if (valid) {
            return;
        }
        g_string_append(out, CHARSET_REPLACEMENT);
        data = broken + 1;
    }
}

bool charset_name(char name[CHARSET_NAME_MAX], const char *charset, size_t length)
{
    if (length == 0 || length >= CHARSET_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        /* Above all no slash: iconv would read options from it. */
        if (!g_ascii_isalnum(charset[i]) && (charset[i] == '\0' || !strchr("-_.:+", charset[i]))) {
            return false;
        }
        name[i] = g_ascii_tolower(charset[i]);
    }
    name[length] = '\0';
    for (size_t i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (strcmp(name, aliases[i][0]) == 0) {
            g_strlcpy(name, aliases[i][1], CHARSET_NAME_MAX);
        }
    }
    return true;
}

static void convert(GString *out, iconv_t converter, char *data, size_t length)
{
    char buffer[4096];
    bool flushing = false;
    for (;;) {
        char *to = buffer;
        size_t room = sizeof buffer;
        size_t result = flushing ? iconv(converter, NULL, NULL, &to, &room)
                                 : iconv(converter, &data, &length, &to, &room);
        int error = result == (size_t)-1 ? errno : 0;
        charset_append_valid(out, buffer, sizeof buffer - room);
        if (error == 0 && flushing) {
            return;
        }
        if (error == EILSEQ && length > 0) {
            g_string_append(out, CHARSET_REPLACEMENT);
            data++;
            length--;
        } else if (error == EINVAL && length > 0) {
            g_string_append(out, CHARSET_REPLACEMENT);
            length = 0;
        } else if (error != 0 && error != E2BIG) {
            return;
        }
        flushing = length == 0;
    }
}

bool charset_append(GString *out, const char *charset, size_t charset_length, const char *data,
                    size_t length)
{
    char name[CHARSET_NAME_MAX];
    if (!charset_name(name, charset, charset_length)) {
        return false;
    }
    if (strcmp(name, "utf-8") == 0) {
        charset_append_valid(out, data, length);
        return true;
    }
    iconv_t converter = iconv_open("UTF-8", name);
    if (converter == (iconv_t)-1) {
        return false;
    }
    convert(out, converter, (char *)(uintptr_t)data, length);
    iconv_close(converter);
    return true;
}
