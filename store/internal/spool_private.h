/* Between a spool and the batch that it belongs to. */
#ifndef ANNAL_STORE_INTERNAL_SPOOL_PRIVATE_H
#define ANNAL_STORE_INTERNAL_SPOOL_PRIVATE_H

#include <glib.h>

#include "store/spool.h"

/* The threads that a store has for its large messages. One sums up and writes their octets while
 * the store's own takes more of them. Where so many stores had large messages lately that it has no
 * processor of its own, it would only take turns with them: then each message is written where it
 * comes. (Into one mailbox it wins 19 % of 470 messages of 1 MB a second; with as many stores at
 * work as there are processors it costs 7 %.)
 *
 * The other waits for the disk while the store's own takes what else is on its way: into one
 * mailbox that wins 20 % and more of 330 messages of 1 MB a second, with four stores at work 5 to
 * 10 %.
 *
 * A single message, beside which there is nothing to do, has neither: the first would make it 5 to
 * 10 % later, the second 10 %. */
struct spooler {
    struct errands *errands;  /* they sum up and write; NULL: none has been needed */
    unsigned spools;          /* that use this */
    unsigned number;          /* of this one in the process; 0: none yet */
    GQueue fresh;             /* its last packs, for SPOOLER_CACHED_MAX octets */
    uint64_t octets;          /* of these */
    struct errands *syncs;    /* they wait for the disk; NULL: none has been needed */
    void (*wake)(void *data); /* store_set_wake(); NULL: packs wait for the disk where they come */
    void *wake_data;
};

/* The kernel's cache keeps what the spooler wrote last, which somebody may be about to read. What
 * is older is let go: large messages would leave room for little else, and below a hypervisor fresh
 * memory is dear (4.5 instead of 7.0 ms of processor time for 1 MB). */
#define SPOOLER_CACHED_MAX ((uint64_t)32 * 1024 * 1024)

/* The spool is one of this store's, from its beginning to its end. Borrowed until spool_free(). */
void spool_use(struct spool *spool, struct spooler *spooler);

/* Ends the threads. No spool uses it any more. */
void spooler_release(struct spooler *spooler);

/* False: the message is in memory, whole, and spool_head() gives it. */
bool spool_is_pack(const struct spool *spool);

/* Makes the complete pack durable and visible, with a .keep. Done once: asked for again it only
 * looks whether the pack is still there. STORE_NO_SPACE, STORE_IO: nothing is left that git would
 * see, and the spool can only be freed. */
int spool_publish(struct spool *spool, struct store_error *error);

/* The published pack's name, as pack_writer_name(); NULL before. Borrowed. */
const char *spool_pack_name(const struct spool *spool);

#endif
