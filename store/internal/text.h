/* Small text helpers of the store's codecs: strict decimal numbers, and text from outside made
 * harmless for terminals and logs.
 */
#ifndef ANNAL_STORE_INTERNAL_TEXT_H
#define ANNAL_STORE_INTERNAL_TEXT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A cursor over octets that are not NUL-terminated. */
struct text {
    const char *at;
    const char *end;
};

/* Takes decimal digits without leading zeros ("0" itself is right), at most max; false leaves the
 * cursor anywhere. */
bool text_number(struct text *text, uint64_t max, uint64_t *out);

/* Takes exactly this octet. */
bool text_octet(struct text *text, char octet);

/* Takes everything up to (not including) the line's end, and the newline; false without one. */
bool text_line(struct text *text, struct text *line);

/* Takes exactly this word. */
bool text_word(struct text *text, const char *word);

/* Appends text made harmless: what is no UTF-8, control characters and invisible direction or
 * format characters become '?'. At most max octets, "..." at the end where it was cut. */
void text_append_harmless(GString *out, const char *text, size_t length, size_t max);

/* The same test on one string: true if nothing in it would be replaced. */
bool text_is_harmless(const char *text, size_t length);

#endif
