/* Which deliveries mailboxes have had of late: those of this process as they are made, those from
 * before from the mailbox's history, when its first message comes. One thread.
 *
 * So a message that comes again because its answer was lost is known, also after a crash, as long
 * as it comes within DELIVERY_MEMORY_DAYS and the delivery is among the mailbox's newest
 * DELIVERED_COMMITS_MAX changes, or was this process's and among its newest. */
#ifndef ANNAL_SERVER_DELIVERY_MEMORY_H
#define ANNAL_SERVER_DELIVERY_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

enum {
    DELIVERY_MEMORY_DAYS = 5,     /* as long as a mail transfer agent tries */
    DELIVERY_MEMORY_MAX = 100000, /* ids, about 6 MB; then the mailboxes not used longest go */
};

struct delivery_memory;

struct delivery_memory *delivery_memory_new(void);
void delivery_memory_free(struct delivery_memory *memory); /* accepts NULL */

/* now: seconds. A history that can't be read knows nothing: better twice than never. */
bool delivery_memory_has(struct delivery_memory *memory, const char *user, struct mailbox *mailbox,
                         const struct object_id *id, int64_t now);
/* After delivery_memory_has() for the same mailbox. */
void delivery_memory_add(struct delivery_memory *memory, const char *user, struct mailbox *mailbox,
                         const struct object_id *id);
/* What was added since the last call is not to be relied on: it did not become durable. */
void delivery_memory_doubt(struct delivery_memory *memory);
void delivery_memory_trust(struct delivery_memory *memory);

#endif
