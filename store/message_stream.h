/* A stored message, read piece by piece, so that one of any size can be sent without being held in
 * memory. Where the store keeps the octets as they are, a piece refers to them; otherwise they are
 * expanded as they are asked for.
 *
 * Belongs to the thread of the account; the pieces belong to whoever has them, and outlive stream,
 * account and pack. Blocks on the disk.
 */
#ifndef ANNAL_STORE_MESSAGE_STREAM_H
#define ANNAL_STORE_MESSAGE_STREAM_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct message_stream;

struct message_stream *message_stream_ref(struct message_stream *stream);
void message_stream_unref(struct message_stream *stream); /* accepts NULL */

/* Octets in all. */
uint64_t message_stream_length(const struct message_stream *stream);

enum { MESSAGE_STREAM_PIECE_MAX = 64 * 1024 }; /* octets */

/* A piece that begins at offset (less than the length): at least one octet, at most max and at most
 * MESSAGE_STREAM_PIECE_MAX; a new reference. Cheapest where the last call ended. STORE_CORRUPT (at
 * the latest with the last octet), STORE_IO, STORE_NO_MEMORY, STORE_NOT_FOUND. */
int message_stream_read(struct message_stream *stream, uint64_t offset, uint64_t max, GBytes **out,
                        struct store_error *error);

/* All octets from offset to offset + length (which is there) as one: a new reference. Memory of
 * that size is taken unless it is one piece. Fails as message_stream_read() does. */
int message_stream_gather(struct message_stream *stream, uint64_t offset, uint64_t length,
                          GBytes **out, struct store_error *error);

#endif
