/* Somebody who waits for work that takes long: is told how far it is, and may give it up. */
#ifndef ANNAL_STORE_OBSERVER_H
#define ANNAL_STORE_OBSERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"

/* What is counted meanwhile. */
enum observer_stage {
    OBSERVER_SEARCH,      /* changes of the history, for a message */
    OBSERVER_REWRITE,     /* changes of the history, written anew */
    OBSERVER_OBJECTS,     /* objects that are looked at */
    OBSERVER_CHANGES,     /* changes of the history that are looked at */
    OBSERVER_COPY,        /* octets */
    OBSERVER_WRITE,       /* objects that are written */
    OBSERVER_UNPACK,      /* octets of what is unpacked; objects, where git tells it */
    OBSERVER_DELTAS,      /* deltas that are resolved */
    OBSERVER_CHECKPOINTS, /* signed ones that are looked at */
    OBSERVER_MAILBOXES,   /* mailboxes that are made what they shall be */
    OBSERVER_STAGE_COUNT
};

struct observer {
    /* Called often. total is about how much there is, 0 while that is not known; a stage may begin
     * anew. NULL: nobody asks. */
    void (*progress)(enum observer_stage stage, uint64_t done, uint64_t total, void *data);
    /* Asked at the same times: false gives up. NULL: never. */
    bool (*go_on)(void *data);
    void *data;
};

/* Tells an observer, who may be NULL. STORE_CONFLICT ("given up") where he gives up. */
int observer_tell(const struct observer *observer, enum observer_stage stage, uint64_t done,
                  uint64_t total, struct store_error *error);

/* False when he gives up; NULL never does. */
bool observer_goes_on(const struct observer *observer);

/* About how many objects the repository at path has: those of its packs. */
uint64_t observer_objects(const char *path);
/* About how many octets they take. */
uint64_t observer_octets(const char *path);

#endif
