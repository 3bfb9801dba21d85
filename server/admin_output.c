#include "server/admin_output.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>

#include "server/json.h"
#include "server/log.h"
#include "server/progress.h"

void admin_print(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    log_clean(text);
    progress_pause_shown();
    puts(text);
    g_free(text);
}

char *admin_json_string(const char *text)
{
    struct json json = {.out = g_string_new(NULL)};

    json_text(&json, NULL, text);
    return g_string_free(json.out, FALSE);
}
