/* Writing JSON (RFC 8259): one value, piece by piece, without spaces or line ends. All of it is
 * ASCII, so that no text in it can harm a terminal. */
#ifndef ANNAL_SERVER_JSON_H
#define ANNAL_SERVER_JSON_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct json {
    GString *out; /* borrowed; appended to */
    bool comma;   /* another element stands before the next one. Begins false */
};

/* key: of a member of an object; NULL in an array and at the top. */
void json_begin_object(struct json *json, const char *key);
void json_end_object(struct json *json);
void json_begin_array(struct json *json, const char *key);
void json_end_array(struct json *json);

/* text is UTF-8; octets that are not become U+FFFD. NULL: null. */
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, int64_t number);
void json_bool(struct json *json, const char *key, bool value);

/* Seconds since the epoch as "2026-11-17T10:00:00Z" (RFC 3339). */
void json_time(struct json *json, const char *key, int64_t seconds);

#endif
