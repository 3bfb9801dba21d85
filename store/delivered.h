/* Telling a delivery that comes again from one that is new.
 *
 * Whoever delivers and gets no answer delivers again. What it delivers is octet for octet the same,
 * so a sum over the octets and the sender is an id: it stands in the commit of the delivery
 * (trailer Delivery), durable with the message itself, and can be looked for there later.
 */
#ifndef ANNAL_STORE_DELIVERED_H
#define ANNAL_STORE_DELIVERED_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/mailbox.h"
#include "store/object_id.h"

enum { DELIVERED_COMMITS_MAX = 5000 }; /* that delivered_walk() reads */

struct delivered_sum;

struct delivered_sum *delivered_sum_new(void);
void delivered_sum_free(struct delivered_sum *sum); /* accepts NULL */
void delivered_sum_add(struct delivered_sum *sum, const void *octets, size_t length);
/* The id of what was added, from this sender. */
void delivered_sum_id(const struct delivered_sum *sum, const char *sender, struct object_id *out);

typedef void (*delivered_visit)(void *data, const struct object_id *id, int64_t time);

/* The deliveries in a mailbox's newest commits, newest first, back to the time since (seconds) and
 * at most DELIVERED_COMMITS_MAX commits. Where the history ends, or can't be read, so do they. */
int delivered_walk(struct mailbox *mailbox, int64_t since, delivered_visit visit, void *data,
                   struct store_error *error);

#endif
