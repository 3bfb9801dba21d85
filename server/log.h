/* The log sink: lines of key=value pairs to stderr or syslog. The one global of the program.
 * Control characters never get through, nor invisible ones that alter how the text around them is
 * shown. Thread-safe; one write a line. */
#ifndef ANNAL_SERVER_LOG_H
#define ANNAL_SERVER_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

void log_open_stderr(bool debug);
void log_open_syslog(const char *program, bool debug);

/* session: an id or NULL. The formatted text is made of key=value pairs; values from the network go
 * through log_quote(). */
void log_line(enum log_level level, const char *session, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Replaces each octet of such characters, and of what is no UTF-8, by '?' in place. */
void log_clean(char *text);

/* A value made harmless: printable, in double quotes if it has spaces; cut at 200 octets. New
 * string. */
char *log_quote(const char *value);

#endif
