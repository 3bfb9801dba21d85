/* Mailbox names as branch names and back: the encoding of FORMAT.md. */
#ifndef ANNAL_STORE_INTERNAL_BRANCH_NAME_H
#define ANNAL_STORE_INTERNAL_BRANCH_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "store/error.h"

/* Encodes a valid UTF-8 mailbox name ("Sent Items" -> "Sent_Items"). *out is a new string to
 * g_free(). INBOX in any case, alone or as the first level, becomes INBOX. STORE_BAD_NAME: empty,
 * empty level, not UTF-8, control characters (C0, DEL, C1, U+2028, U+2029), too deep
 * (MAILBOX_DEPTH_MAX), too long (MAILBOX_NAME_MAX). */
int branch_name_encode(char **out, const char *mailbox, struct store_error *error);

/* The mailbox of what branch_name_encode() has made. A new string. */
char *branch_name_of_encoding(const char *branch);

/* The inverse; only exact results of branch_name_encode() are accepted (STORE_BAD_NAME). */
int branch_name_decode(char **out, const char *branch, struct store_error *error);

#endif
