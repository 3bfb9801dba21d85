/* A message on its way in: held in memory up to SPOOL_MEMORY_MAX. A larger one is written as the
 * git pack that it is going to be, under a temporary name that git does not see, so that nothing is
 * copied when it becomes part of the repository. Bytes are kept exactly. Not shared between
 * threads; to be freed before the store that it is for is closed.
 */
#ifndef ANNAL_STORE_SPOOL_H
#define ANNAL_STORE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/object_id.h"

enum {
    SPOOL_MEMORY_MAX = 512 * 1024, /* octets */
    SPOOL_HEAD_MAX = 16 * 1024,    /* octets of a larger message that stay in memory */
};

struct spool;

/* A spool for exactly size octets (git hashes the length first). directory is the repository's
 * directory of packs, scratch as for pack_writer_open(); they are used only when size >
 * SPOOL_MEMORY_MAX. scratch and host are borrowed. May fail with STORE_NO_MEMORY, STORE_IO,
 * STORE_NO_SPACE. The caller owns *out. */
int spool_new(struct spool **out, const char *directory, const char *scratch,
              const struct host *host, uint64_t size, struct store_error *error);
/* Accepts NULL. What did not become part of the repository is removed. */
void spool_free(struct spool *spool);

/* Appends octets; never more in all than the announced size (asserted). Blocks on the disk. After a
 * failure, perhaps of octets that came before, the spool can only be freed. A spool that is silent
 * for PACK_LEFTOVER_SECONDS may lose its file to the tidying up after crashes, and fail at the end.
 */
int spool_write(struct spool *spool, const void *bytes, size_t length, struct store_error *error);

/* True once every announced octet has been written. */
bool spool_complete(const struct spool *spool);

/* False: a complete spool waits for the disk, in another thread, and what it is for had better do
 * something else until store_set_wake()'s function is called; whoever goes on all the same waits.
 * Where no other large message is on its way into the store nothing is gained by that: true. */
bool spool_is_ready(struct spool *spool);

/* True if a NUL octet was written. */
bool spool_has_nul(const struct spool *spool);

/* As announced. */
uint64_t spool_size(const struct spool *spool);

/* The message's first octets: all of them up to SPOOL_MEMORY_MAX, SPOOL_HEAD_MAX of a larger one.
 * Only when complete; valid until spool_free(). */
const uint8_t *spool_head(const struct spool *spool, size_t *length);

/* The blob's id. Only when complete. */
const struct object_id *spool_id(const struct spool *spool);

#endif
