/* Substring search as SEARCH wants it: case disregarded over all of Unicode.
 *
 * Characters compare as in i;unicode-casemap (RFC 5051): by title case, fully decomposed, so that
 * composed and decomposed accents, full-width and ordinary letters are equal. Foldings to more
 * than one letter are not made: sharp s is not "ss".
 */
#ifndef ANNAL_PROTOCOL_TEXT_MATCH_H
#define ANNAL_PROTOCOL_TEXT_MATCH_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

struct text_match; /* a prepared needle */

/* needle: valid UTF-8, may be empty (then everything matches). */
struct text_match *text_match_new(const char *needle, size_t length);
void text_match_free(struct text_match *match); /* accepts NULL */

/* True if the needle occurs in haystack (valid UTF-8; other octets match nothing). Linear. */
bool text_match_find(const struct text_match *match, const char *haystack, size_t length);

#endif
