/* Inside message_stream.c and mailbox.c: how a stream begins. */
#ifndef ANNAL_STORE_INTERNAL_MESSAGE_STREAM_PRIVATE_H
#define ANNAL_STORE_INTERNAL_MESSAGE_STREAM_PRIVATE_H

#include "store/internal/objects.h"
#include "store/message_stream.h"

/* STORE_NOT_FOUND, STORE_CORRUPT, STORE_NO_MEMORY, STORE_IO, as objects_read(). The caller owns
 * *out. */
int message_stream_open(struct message_stream **out, struct objects *objects,
                        const struct object_id *blob, struct store_error *error);

#endif
