/* Substring search as SEARCH wants it: case disregarded over all of Unicode. */
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
