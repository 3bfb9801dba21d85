/* Bringing the objects of bundles into a repository, with `git index-pack`. */
#ifndef ANNAL_SERVER_UNPACK_H
#define ANNAL_SERVER_UNPACK_H

#include <glib.h>
#include <stdbool.h>

#include "store/bundle.h"

struct unpacked {
    struct bundle last; /* the one that builds on all others */
    GPtrArray *keeps;   /* char *: .keep files that protect the packs until something refers to
                           what is in them */
};

/* Unpacks these files (char *, in any order: each needs what it builds on to be among them, or in
 * the repository at path). Of several that nothing builds on the last one named is the last. False
 * when the problem has been told; unpacked_release() in any case. */
bool unpack_bundles(struct unpacked *out, const char *path, const GPtrArray *files);
/* Also removes the .keep files. */
void unpacked_release(struct unpacked *unpacked);

#endif
