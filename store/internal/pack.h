/* Writes a git pack and its index: version 2 of both, every object whole and stored (zlib level
 * 0), so that a message stands in the file as it is.
 *
 *   pack_writer_open -> pack_writer_add... -> pack_writer_finish -> pack_writer_free
 *
 * Until pack_writer_finish() the pack has a name that neither git nor its `prune` knows; then the
 * pack is renamed and the index last, so that nobody sees one without the other.
 */
#ifndef ANNAL_STORE_INTERNAL_PACK_H
#define ANNAL_STORE_INTERNAL_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/internal/objects.h"
#include "store/object_id.h"

struct pack_writer;

/* For exactly count objects in directory (".../objects/pack"); both borrowed until free. */
int pack_writer_open(struct pack_writer **out, const char *directory, const struct host *host,
                     uint32_t count, struct store_error *error);

int pack_writer_add(struct pack_writer *writer, const struct object_id *id, enum object_type type,
                    const void *data, size_t length, struct store_error *error);

/* Takes over an entry of another pack octet for octet; crc is its CRC-32. */
int pack_writer_add_raw(struct pack_writer *writer, const struct object_id *id, const void *entry,
                        size_t length, uint32_t crc, struct store_error *error);

enum {
    PACK_KEEP = 1 << 0,    /* also pack-NAME.keep, before the pack */
    PACK_DURABLE = 1 << 1, /* pack, index and their names survive power loss on return */
};

/* Makes the pack visible as pack-NAME.{pack,idx}. On failure nothing is left behind that git would
 * see. */
int pack_writer_finish(struct pack_writer *writer, unsigned flags, struct store_error *error);

/* NAME: 40 digits, the pack's checksum. Only after pack_writer_finish(); borrowed. */
const char *pack_writer_name(const struct pack_writer *writer);

/* Accepts NULL; takes the temporary file of an unfinished pack away. */
void pack_writer_free(struct pack_writer *writer);

/* What our .keep files hold; and the beginning and end of our temporary names. */
#define PACK_KEEP_TEXT   "annal\n"
#define PACK_TEMP_PREFIX "annal-"
#define PACK_TEMP_SUFFIX ".tmp"

/* STORE_NO_SPACE or STORE_IO from a negative errno of the host table. */
int host_fail(struct store_error *error, int result, const char *what);

#endif
