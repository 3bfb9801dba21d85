/* Octets of any charset to valid UTF-8. What can't be converted becomes U+FFFD. */
#ifndef ANNAL_PROTOCOL_CHARSET_H
#define ANNAL_PROTOCOL_CHARSET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define CHARSET_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Octets that ought to be UTF-8; NUL counts as broken. Appends to out. Linear. */
void charset_append_valid(GString *out, const char *data, size_t length);

/* charset: as named in a message, at most length octets and not to be trusted. False (nothing is
 * appended) if nobody here knows it. */
bool charset_append(GString *out, const char *charset, size_t charset_length, const char *data,
                    size_t length);

/* The name under which iconv knows a charset that a message names; false if the name is none
 * that may be given to it. name: at least CHARSET_NAME_MAX octets. */
enum { CHARSET_NAME_MAX = 64 };
bool charset_name(char name[CHARSET_NAME_MAX], const char *charset, size_t length);

#endif
