/* Bringing the objects of bundles into a repository, with `git index-pack`. */
#ifndef ANNAL_SERVER_UNPACK_H
#define ANNAL_SERVER_UNPACK_H

#include <glib.h>
#include <stdbool.h>

#include "store/bundle.h"
#include "store/observer.h"

struct unpacked {
    struct bundle last; /* the one that builds on all others */
    GPtrArray *keeps;   /* char *: .keep files (COLLECT_RESTORE_KEEP) that protect the packs until
                           something refers to what is in them */
    GArray *locks;      /* int: descriptors that have them locked */
};

/* Unpacks these files (char *, in any order: each needs what it builds on to be among them, or in
 * the repository at path). Of several that nothing builds on the last one named is the last. A pack
 * comes among the repository's when it is whole; what a file brought stays when a later one fails,
 * and goes at a gc, as nothing refers to it. False when the problem has been told, or the observer
 * (who is told OBSERVER_UNPACK, OBSERVER_DELTAS) gives up; unpacked_release() in any case. */
bool unpack_bundles(struct unpacked *out, const char *path, const GPtrArray *files,
                    const struct observer *observer);
/* The repository is there now. */
void unpacked_move(struct unpacked *unpacked, const char *path);
/* Also removes the .keep files. */
void unpacked_release(struct unpacked *unpacked);

#endif
