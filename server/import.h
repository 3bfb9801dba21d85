/* What the importers find, and how it is handed on. */
#ifndef ANNAL_SERVER_IMPORT_H
#define ANNAL_SERVER_IMPORT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Octets of one message: the store's MESSAGE_SIZE_MAX; larger ones are skipped and told of. */
enum { IMPORT_MESSAGE_MAX = 256 * 1024 * 1024 };

struct import_mailbox {
    const char *name;      /* UTF-8, relative to the import's root; "" is the root itself */
    uint32_t uid_validity; /* that it has in the source; 0: unknown, and the next, too */
    uint32_t uid_next;
    bool uids_lost; /* messages have UIDs in the source, but these, or some, can't be read */
};

struct import_message {
    const char *mailbox; /* UTF-8, relative to the import's root; "" is the root itself */
    const char *data;    /* the octets as they stand in the source, unquoted */
    size_t length;
    uint32_t uid;        /* that it has in the source; 0: none */
    uint8_t flags;       /* enum message_flag of the store */
    bool exact;          /* octets are to be kept whatever line ends they have */
    GPtrArray *keywords; /* char *, then NULL; may be NULL */
    int64_t date;        /* seconds since the epoch */
    int16_t zone;        /* minutes east of UTC */
};

enum import_unit { IMPORT_MESSAGES, IMPORT_OCTETS };

enum import_wish {
    IMPORT_WANTED,
    IMPORT_THERE, /* an earlier run brought it in */
    IMPORT_LATER, /* its UID is not to be had: offer it again without one, after all that have one
                   */
};

/* Where what is found goes. data is passed back. False stops the import. */
struct import_sink {
    void *data;
    /* How much there is, as far as can be told; and what is done of it. */
    void (*total)(void *data, uint64_t total, enum import_unit unit);
    void (*progress)(void *data, uint64_t done);
    /* The mailbox exists in the source, though perhaps without messages. Those that follow are of
     * this mailbox unless they come under names that were never entered. */
    bool (*mailbox)(void *data, const struct import_mailbox *mailbox);
    /* Asked before a message of the mailbox that was entered, with a UID, is read: data and length
     * are not set. */
    enum import_wish (*wish)(void *data, const struct import_message *message);
    /* Messages with UIDs come first, ascending. Everything in message is valid during the call
     * only. */
    bool (*message)(void *data, const struct import_message *message);
    /* The user has subscribed to the mailbox in the source. */
    void (*subscribed)(void *data, const char *mailbox);
    /* Something was left out: one line of text. */
    void (*skipped)(void *data, const char *what);
    /* Something may be missing, but need not: the same. May be NULL. */
    void (*doubtful)(void *data, const char *what);
};

/* Appends data to out with each bare LF made CRLF; CRLF and a lone CR stay as they are. */
void import_crlf(GString *out, const char *data, size_t length);

/* All of a file of at most limit octets, and a NUL after it; the caller frees *data with free().
 * status may be NULL. False with errno (EFBIG: too large, EINVAL: no regular file). Does not follow
 * a symbolic link. */
bool import_read_file(char **data, size_t *length, const char *path, size_t limit,
                      struct stat *status);

/* The date and zone that can be stored for a message that is said to have these: years 1 to 9999
 * and less than a day from UTC, else 1970 in UTC. */
int64_t import_date(int64_t date, int16_t zone);
int16_t import_zone(int64_t date, int16_t zone);

/* Tells the sink "PATH: WHY". */
void import_skip(const struct import_sink *sink, const char *path, const char *why);

#endif
