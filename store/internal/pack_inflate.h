/* A large object that is compressed in a pack, but no delta, expanded piece by piece in bounded
 * memory (about 44 kB beside the piece).
 *
 *   pack_inflate_open -> pack_inflate_next... -> pack_inflate_free
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_INFLATE_H
#define ANNAL_STORE_INTERNAL_PACK_INFLATE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/pack_file.h"

struct pack_inflate;

/* NULL if the object is a delta, has no octets, or its entry can't be understood: pack_file_read()
 * then tells. References the pack. */
struct pack_inflate *pack_inflate_open(struct pack_file *pack, uint32_t position);
void pack_inflate_free(struct pack_inflate *object); /* accepts NULL */

uint64_t pack_inflate_length(const struct pack_inflate *object);
enum object_type pack_inflate_type(const struct pack_inflate *object);

/* max octets (at least one) from offset on, all within the length, for g_bytes_unref(). Going on
 * where the last call ended is cheap; anything else expands from the start. STORE_CORRUPT, in place
 * of the last piece at the latest: all of the object is hashed on the way; STORE_NO_MEMORY. */
int pack_inflate_next(struct pack_inflate *object, uint64_t offset, size_t max, GBytes **out,
                      struct store_error *error);

#endif
