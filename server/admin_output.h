/* What subcommands print for people and for programs. */
#ifndef ANNAL_SERVER_ADMIN_OUTPUT_H
#define ANNAL_SERVER_ADMIN_OUTPUT_H

#include <stdint.h>

/* A line on stdout, made harmless as log_clean() does; the line's end is added. */
void admin_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A JSON string with its quotes, all of it ASCII, whatever the text holds (json_text()); "null" for
 * NULL. A new string. */
char *admin_json_string(const char *text);

#endif
