/* The host as background work uses it: what is written goes to the disk bit by bit, so that no
 * fsync at the end makes everybody else wait. Calls are passed on to the host below. */
#ifndef ANNAL_STORE_INTERNAL_GENTLE_HOST_H
#define ANNAL_STORE_INTERNAL_GENTLE_HOST_H

#include <stdint.h>

#include "store/host.h"

enum { GENTLE_SYNC_EVERY = 8 * 1024 * 1024 }; /* octets written between two fdatasync() */

struct gentle_host {
    struct host host;
    const struct host *below;
    uint64_t written;  /* octets in all */
    uint64_t unsynced; /* of them, since the last fdatasync() */
};

/* below is borrowed. The gentle host belongs to one thread and must not move. */
void gentle_host_init(struct gentle_host *gentle, const struct host *below);

#endif
