/* A mailbox's history, newest first, in the words of its commits. */
#ifndef ANNAL_STORE_HISTORY_H
#define ANNAL_STORE_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/object_id.h"

struct history_entry {
    struct object_id commit;
    int64_t time;        /* seconds since the epoch */
    int zone;            /* minutes east of UTC */
    const char *subject; /* printable UTF-8, one line */
    const char *client;  /* trailer, or "" */
    const char *command; /* trailer, or "" */
    const char *session; /* trailer, or "" */
};

/* Return non-zero to stop. Text is valid during the call only. */
typedef int (*history_visit)(const struct history_entry *entry, void *data);

/* Walks the branch of a mailbox (UTF-8 name) in the repository at path, first parents only, at
 * most limit entries (0: all). STORE_NOT_FOUND, STORE_BAD_NAME. */
int history_walk(const char *path, const char *mailbox, size_t limit, history_visit visit,
                 void *data, struct store_error *error);

#endif
