#include "server/folder_name.h"

#include <string.h>

#include "protocol/mailbox_name.h"

bool folder_layout_parse(enum folder_layout *out, const char *text)
{
    *out = strcmp(text, "fs") == 0 ? FOLDER_FS : FOLDER_MAILDIRPP;
    return *out == FOLDER_FS || strcmp(text, "maildir++") == 0;
}

static void append_escaped(GString *path, char c)
{
    g_string_append_printf(path, "\\%02x", (unsigned char)c);
}

/* Whether the level would be another thing than a folder's directory: a part of a Maildir, or one
 * of the files beside them. */
static bool is_special_level(const char *level, size_t length)
{
    static const char *const own[] = {"cur", "new", "tmp", "subscriptions", "annal-export"};
    static const char *const begin[] = {".", "~", "dovecot-", "dovecot."};

    for (size_t i = 0; i < G_N_ELEMENTS(begin); i++)
        if (length >= strlen(begin[i]) && memcmp(level, begin[i], strlen(begin[i])) == 0)
            return true;
    for (size_t i = 0; i < G_N_ELEMENTS(own); i++)
        if (length == strlen(own[i]) && memcmp(level, own[i], length) == 0)
            return true;
    return false;
}

/* One level, without slashes. */
static void append_level(GString *path, const char *level, size_t length, enum folder_layout layout)
{
    static const char ending[] = ".sbd";
    size_t i = 0;

    if (layout == FOLDER_FS && is_special_level(level, length))
        append_escaped(path, level[i++]);
    for (; i < length; i++) {
        bool ends = length - i == strlen(ending) && memcmp(level + i, ending, length - i) == 0;

        if (level[i] == '\\' || (level[i] == '.' && (layout == FOLDER_MAILDIRPP || ends)))
            append_escaped(path, level[i]);
        else
            g_string_append_c(path, level[i]);
    }
}

char *folder_name_path(const char *mailbox, enum folder_layout layout)
{
    GString *wire = g_string_new(NULL);
    GString *path = g_string_new(layout == FOLDER_MAILDIRPP ? "." : NULL);

    mailbox_name_encode(wire, mailbox, false);
    for (const char *level = wire->str; level != NULL;) {
        const char *slash = strchr(level, '/');

        append_level(path, level, slash != NULL ? (size_t)(slash - level) : strlen(level), layout);
        if (slash != NULL)
            g_string_append_c(path, layout == FOLDER_MAILDIRPP ? '.' : '/');
        level = slash != NULL ? slash + 1 : NULL;
    }
    g_string_free(wire, TRUE);
    return g_string_free(path, FALSE);
}

char *folder_name_below(const char *parent, const char *entry)
{
    bool dots = entry[0] == '.';
    GString *wire = g_string_new(parent);

    if (*parent != '\0')
        g_string_append_c(wire, '/');
    for (const char *at = dots ? entry + 1 : entry; *at != '\0'; at++) {
        if (*at == '.' && dots) {
            g_string_append_c(wire, '/');
        } else if (*at == '\\' && g_ascii_isxdigit(at[1]) && g_ascii_isxdigit(at[2])) {
            g_string_append_c(
                wire, (char)(g_ascii_xdigit_value(at[1]) * 16 + g_ascii_xdigit_value(at[2])));
            at += 2;
        } else {
            g_string_append_c(wire, *at);
        }
    }
    return g_string_free(wire, FALSE);
}
