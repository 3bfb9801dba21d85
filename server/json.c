#include "server/json.h"

#include <time.h>

static void append_quoted(GString *out, const char *text)
{
    g_string_append_c(out, '"');
    while (*text != '\0') {
        gunichar c = g_utf8_get_char_validated(text, -1);
        bool bad = c == (gunichar)-1 || c == (gunichar)-2;

        if (bad)
            c = 0xfffd;
        if (c == '"' || c == '\\')
            g_string_append_c(out, '\\');
        if (c >= 0x20 && c < 0x7f)
            g_string_append_c(out, (char)c);
        else if (c < 0x10000)
            g_string_append_printf(out, "\\u%04x", c);
        else
            g_string_append_printf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                                   0xdc00 + ((c - 0x10000) & 0x3ff));
        text = bad ? text + 1 : g_utf8_next_char(text);
    }
    g_string_append_c(out, '"');
}

static void begin(struct json *json, const char *key)
{
    if (json->comma)
        g_string_append_c(json->out, ',');
    if (key != NULL) {
        append_quoted(json->out, key);
        g_string_append_c(json->out, ':');
    }
    json->comma = true;
}

static void open_bracket(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    g_string_append_c(json->out, bracket);
    json->comma = false;
}

static void close_bracket(struct json *json, char bracket)
{
    g_string_append_c(json->out, bracket);
    json->comma = true;
}

void json_begin_object(struct json *json, const char *key)
{
    open_bracket(json, key, '{');
}

void json_end_object(struct json *json)
{
    close_bracket(json, '}');
}

void json_begin_array(struct json *json, const char *key)
{
    open_bracket(json, key, '[');
}

void json_end_array(struct json *json)
{
    close_bracket(json, ']');
}

void json_text(struct json *json, const char *key, const char *text)
{
    begin(json, key);
    if (text == NULL)
        g_string_append(json->out, "null");
    else
        append_quoted(json->out, text);
}

void json_number(struct json *json, const char *key, int64_t number)
{
    begin(json, key);
    g_string_append_printf(json->out, "%" G_GINT64_FORMAT, number);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin(json, key);
    g_string_append(json->out, value ? "true" : "false");
}

void json_time(struct json *json, const char *key, int64_t seconds)
{
    time_t time = (time_t)seconds;
    char text[40] = "";
    struct tm utc;

    if (gmtime_r(&time, &utc) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        json_text(json, key, NULL);
    else
        json_text(json, key, text);
}
