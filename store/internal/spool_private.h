/* Between a spool and the batch that it belongs to. */
#ifndef ANNAL_STORE_INTERNAL_SPOOL_PRIVATE_H
#define ANNAL_STORE_INTERNAL_SPOOL_PRIVATE_H

#include "store/spool.h"

/* False: the message is in memory, whole, and spool_head() gives it. */
bool spool_is_pack(const struct spool *spool);

/* Makes the complete pack durable and visible, with a .keep. Done once: asked for again it only
 * looks whether the pack is still there. STORE_NO_SPACE, STORE_IO: nothing is left that git would
 * see, and the spool can only be freed. */
int spool_publish(struct spool *spool, struct store_error *error);

/* The published pack's name, as pack_writer_name(); NULL before. Borrowed. */
const char *spool_pack_name(const struct spool *spool);

#endif
