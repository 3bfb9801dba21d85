/* What the tests of structures share. */
#ifndef ANNAL_TESTS_MIME_HELPER_H
#define ANNAL_TESTS_MIME_HELPER_H

#include <check.h>
#include <glib.h>
#include <string.h>

#include "protocol/mime.h"
#include "protocol/structure.h"

/* Text with its line ends made CRLF. */
static inline GString *with_crlf(const char *text)
{
    GString *out = g_string_new(NULL);
    for (; *text != '\0'; text++) {
        g_string_append(out, *text == '\n' ? "\r" : "");
        g_string_append_c(out, *text);
    }
    return out;
}

static inline struct structure *parse_message(const GString *message)
{
    GBytes *record = mime_structure((const uint8_t *)message->str, message->len);
    struct structure *structure = structure_decode(record, message->len);
    ck_assert_ptr_nonnull(structure);
    g_bytes_unref(record);
    return structure;
}

/* The octets of "1.2.MIME" or "", "HEADER", ...; NULL if there is no such section. */
static inline char *find_section(const struct structure *structure, const GString *message,
                                 const char *section)
{
    static const char *const names[] = {"", "HEADER", "TEXT", "MIME"};
    uint32_t parts[200];
    size_t count = 0;
    while (g_ascii_isdigit(*section) && count < G_N_ELEMENTS(parts)) {
        char *end;
        parts[count++] = (uint32_t)g_ascii_strtoull(section, &end, 10);
        section = *end == '.' ? end + 1 : end;
    }
    struct octet_range range;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(section, names[i]) == 0 &&
            structure_section(structure, parts, count, (enum section_text)i, &range)) {
            ck_assert_uint_le(range.start, message->len);
            ck_assert_uint_le(range.length, message->len - range.start);
            return g_strndup(message->str + range.start, range.length);
        }
    }
    return NULL;
}

#endif
