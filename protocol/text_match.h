/* Substring search as SEARCH wants it: case disregarded over all of Unicode.
 *
 * Characters compare as in i;unicode-casemap (RFC 5051): by title case, fully decomposed, so that
 * composed and decomposed accents, full-width and ordinary letters are equal. Foldings to more
 * than one letter are not made: sharp s is not "ss".
 *
 * Both texts are folded, then octets are compared; a text that is searched again and again may be
 * kept folded.
 */
#ifndef ANNAL_PROTOCOL_TEXT_MATCH_H
#define ANNAL_PROTOCOL_TEXT_MATCH_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

struct text_match; /* a prepared needle */

/* needle: valid UTF-8 (otherwise nothing matches), may be empty (then everything does). */
struct text_match *text_match_new(const char *needle, size_t length);
void text_match_free(struct text_match *match); /* accepts NULL */

/* True if the needle occurs in haystack (valid UTF-8; other octets match nothing). Linear; memory
 * does not grow with the haystack. */
bool text_match_find(const struct text_match *match, const char *haystack, size_t length);

/* Appends text as it is compared: UTF-8, an octet that is no part of a character as 0xff. */
void text_fold(GString *out, const char *text, size_t length);
/* As text_match_find(), in what text_fold() made. */
bool text_match_find_folded(const struct text_match *match, const char *folded, size_t length);

#endif
