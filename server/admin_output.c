#include "server/admin_output.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>

#include "server/log.h"

void admin_print(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    log_clean(text);
    puts(text);
    g_free(text);
}

char *admin_json_string(const char *text)
{
    GString *out = g_string_new("\"");
    char *valid;

    if (text == NULL) {
        g_string_assign(out, "null");
        return g_string_free(out, FALSE);
    }
    valid = g_utf8_make_valid(text, -1);
    for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        /* DEL and C1 controls mean something to a terminal. */
        if (c == '"' || c == '\\')
            g_string_append_printf(out, "\\%c", (char)c);
        else if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
            g_string_append_printf(out, "\\u%04x", c);
        else
            g_string_append_unichar(out, c);
    }
    g_string_append_c(out, '"');
    g_free(valid);
    return g_string_free(out, FALSE);
}
