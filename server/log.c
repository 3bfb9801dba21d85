#include "server/log.h"

#include <glib.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_LINE_MAX = 2048,
    LOG_QUOTE_MAX = 200, /* octets of a value that are kept */
};

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
};

static struct {
    atomic_bool syslog;
    atomic_bool debug;
} sink;

void log_open_stderr(bool debug)
{
    sink.syslog = false;
    sink.debug = debug;
}

void log_open_syslog(const char *program, bool debug)
{
    openlog(program, LOG_PID | LOG_NDELAY, LOG_MAIL);
    sink.syslog = true;
    sink.debug = debug;
}

/* Control characters, and invisible ones that turn the direction of the text around them or hide
 * in it. */
static bool is_harmful(gunichar c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200b || c == 0x200e ||
           c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

void log_clean(char *text)
{
    char *p = text;

    while (*p != '\0') {
        gunichar c = g_utf8_get_char_validated(p, -1);

        if (c == (gunichar)-1 || c == (gunichar)-2) {
            *p++ = '?';
            continue;
        }
        char *next = g_utf8_next_char(p);

        if (is_harmful(c))
            memset(p, '?', (size_t)(next - p));
        p = next;
    }
}

static size_t write_time(char *line, size_t size)
{
    struct timespec now;
    struct tm utc;
    char date[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    return (size_t)snprintf(line, size, "time=%s.%03ldZ ", date, now.tv_nsec / 1000000);
}

__attribute__((format(printf, 4, 0))) static size_t append(char *line, size_t length, size_t size,
                                                           const char *format, va_list arguments)
{
    int written = vsnprintf(line + length, size - length, format, arguments);

    if (written < 0)
        return length;
    return MIN(length + (size_t)written, size - 1);
}

void log_line(enum log_level level, const char *session, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    size_t length = 0;
    va_list arguments;

    if (level == LOG_LEVEL_DEBUG && !sink.debug)
        return;
    if (!sink.syslog)
        length = write_time(line, sizeof line);
    length +=
        (size_t)snprintf(line + length, sizeof line - length, "level=%s ", levels[level].name);
    if (session != NULL)
        length += (size_t)snprintf(line + length, sizeof line - length, "session=%.32s ", session);
    va_start(arguments, format);
    length = append(line, length, sizeof line - 1, format, arguments);
    va_end(arguments);
    log_clean(line);
    if (sink.syslog) {
        syslog(levels[level].priority, "%s", line);
        return;
    }
    line[length] = '\n';
    if (write(STDERR_FILENO, line, length + 1) < 0)
        return; /* there is nobody left to tell */
}

static bool needs_quotes(const char *value)
{
    return *value == '\0' || strpbrk(value, " =\"\\") != NULL;
}

char *log_quote(const char *value)
{
    GString *out = g_string_new(NULL);
    const char *end = value + strnlen(value, LOG_QUOTE_MAX);
    bool cut = *end != '\0';
    bool quotes = needs_quotes(value);
    const char *p = value;

    if (quotes)
        g_string_append_c(out, '"');
    while (p < end) {
        gunichar c = g_utf8_get_char_validated(p, end - p);

        if (c == (gunichar)-2 && cut)
            break; /* the cut goes through a character */
        if (c == (gunichar)-1 || c == (gunichar)-2 || is_harmful(c)) {
            g_string_append_printf(out, "\\x%02x", (unsigned char)*p++);
            continue;
        }
        if (c == '"' || c == '\\')
            g_string_append_c(out, '\\');
        g_string_append_unichar(out, c);
        p = g_utf8_next_char(p);
    }
    if (cut)
        g_string_append(out, "...");
    if (quotes)
        g_string_append_c(out, '"');
    return g_string_free(out, FALSE);
}
