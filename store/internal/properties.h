/* The file `mailbox` at the root of a mailbox's tree: its properties. FORMAT.md, "Properties". */
#ifndef ANNAL_STORE_INTERNAL_PROPERTIES_H
#define ANNAL_STORE_INTERNAL_PROPERTIES_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

enum {
    STORE_FORMAT = 1,               /* of mailboxes and of the account's files */
    MAILBOX_ID_MAX = 64,            /* octets */
    PROPERTIES_FILE_MAX = 16 * 1024 /* octets; MAILBOX_KEYWORDS_MAX keywords fit */
};

#define MODSEQ_MAX ((uint64_t)INT64_MAX) /* RFC 7162: 63 bits */

struct properties {
    char mailbox_id[MAILBOX_ID_MAX + 1];
    uint32_t uid_validity;
    uint32_t uid_next;
    uint64_t highest_modseq;
    GPtrArray *keywords; /* char *, in the order of their bits; owned */
};

/* A new empty array for keywords, with its free function. */
GPtrArray *keywords_new(void);
/* Compares without regard to ASCII case. */
bool keywords_find(const GPtrArray *keywords, const char *keyword, size_t length, size_t *index);
/* 1 to KEYWORD_LENGTH_MAX octets of an IMAP atom, not beginning with a backslash. */
bool keyword_valid(const char *keyword, size_t length);

/* *out is to be released also after a failure. STORE_CORRUPT, STORE_UNSUPPORTED (newer format). */
int properties_decode(struct properties *out, const void *data, size_t length,
                      struct store_error *error);
void properties_release(struct properties *properties);

void properties_encode(GString *out, const struct properties *properties);

/* True for what RFC 8474 allows as an object id, up to MAILBOX_ID_MAX octets. */
bool mailbox_id_valid(const char *id, size_t length);

#endif
