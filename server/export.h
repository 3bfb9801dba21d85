/* Mailboxes of an account written as files: what the forms of an export share. */
#ifndef ANNAL_SERVER_EXPORT_H
#define ANNAL_SERVER_EXPORT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "store/account.h"

struct export_counts {
    uint64_t messages; /* written */
    uint64_t octets;
    uint64_t there; /* written by an earlier run */
    unsigned mailboxes;
};

struct export_job {
    void (*progress)(void *data, uint64_t messages); /* done of all */
    void (*complain)(const char *text);              /* about what is not as in the mailbox */
    bool (*stopped)(void);                           /* the admin wants it to end */
    void *data;                                      /* of progress */
    struct export_counts counts;
};

void export_tell(const struct export_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same with errno's text after it; returns false. */
bool export_fail(const struct export_job *job, const char *path);

/* Hands a message's octets to take, piece by piece. False: told, or take returned false. */
bool export_read(const struct export_job *job, struct mailbox *mailbox,
                 const struct message *message,
                 bool (*take)(void *data, const char *octets, size_t length), void *data);

/* A message was written, or was there. */
void export_count(struct export_job *job, const struct message *message, bool written);

/* Makes a directory and those above it, with mode 0700. */
bool export_make_directory(const struct export_job *job, const char *path);

/* A file that is there as a whole or not: written under another name in its directory, renamed by
 * export_close() when all went well (and removed when good is false). NULL or false: told. */
struct export_file;
struct export_file *export_open(const struct export_job *job, const char *path);
FILE *export_stream(struct export_file *file);
bool export_close(const struct export_job *job, struct export_file *file, bool good);

#endif
