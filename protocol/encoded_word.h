/* Encoded-words (RFC 2047) in unfolded header values. */
#ifndef ANNAL_PROTOCOL_ENCODED_WORD_H
#define ANNAL_PROTOCOL_ENCODED_WORD_H

#include <glib.h>
#include <stddef.h>

/* Appends text with its encoded-words decoded: valid UTF-8 always. Adjacent words of one charset
 * are joined before the charset is converted, each with its own padding; a word of an unknown
 * charset stays as it is. Words are found anywhere, also where RFC 2047 5 forbids them. Linear. */
void encoded_words_decode(GString *out, const char *text, size_t length);

#endif
