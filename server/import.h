/* What the importers find, and how it is handed on. */
#ifndef ANNAL_SERVER_IMPORT_H
#define ANNAL_SERVER_IMPORT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Octets of one message: the store's MESSAGE_SIZE_MAX; larger ones are skipped and told of. */
enum { IMPORT_MESSAGE_MAX = 256 * 1024 * 1024 };

struct import_message {
    const char *mailbox; /* UTF-8, relative to the import's root; "" is the root itself */
    const char *data;    /* the octets as they stand in the source, unquoted */
    size_t length;
    uint8_t flags;       /* enum message_flag of the store */
    GPtrArray *keywords; /* char *, then NULL; may be NULL */
    int64_t date;        /* seconds since the epoch */
    int16_t zone;        /* minutes east of UTC */
};

/* Where what is found goes. data is passed back. */
struct import_sink {
    void *data;
    /* The mailbox exists in the source, though perhaps without messages. */
    bool (*mailbox)(void *data, const char *mailbox);
    /* Everything in message is valid during the call only. False stops the import. */
    bool (*message)(void *data, const struct import_message *message);
    /* Something was left out: one line of text. */
    void (*skipped)(void *data, const char *what);
};

/* Appends data to out with each bare LF made CRLF; CRLF and a lone CR stay as they are. */
void import_crlf(GString *out, const char *data, size_t length);

#endif
