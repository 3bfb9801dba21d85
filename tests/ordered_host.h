/* The host as a machine that may lose power: keeps account of what the store wrote and did not
 * sync, and complains of an order in which a power cut would lose what is relied on.
 *
 *   struct ordered_host ordered;
 *   ordered_host_init(&ordered);
 *   ...use &ordered.host, then store_sync()...
 *   ordered_host_check(&ordered);    nothing is left that a power cut would take
 *   ordered_host_release(&ordered);
 *
 * Lock files, the list of locks and marks for git may be lost, and so may what is derived: they are
 * left out.
 */
#ifndef ANNAL_TESTS_ORDERED_HOST_H
#define ANNAL_TESTS_ORDERED_HOST_H

#include <glib.h>
#include <stdbool.h>

#include "store/host.h"

struct ordered_host {
    struct host host;
    GHashTable *files;   /* int descriptor -> char *path, while open */
    GHashTable *written; /* char *path: files with octets that were not synced */
    GHashTable *named;   /* char *path: directories with names that were not synced */
    bool unrecorded;     /* a transaction's file has no name that is synced */
    unsigned moved;      /* references that were moved */
};

void ordered_host_init(struct ordered_host *ordered);
void ordered_host_release(struct ordered_host *ordered);
void ordered_host_check(const struct ordered_host *ordered);

#endif
