/* A message on its way in: held in memory up to SPOOL_MEMORY_MAX, beyond that in an unlinked
 * temporary file. Bytes are kept exactly. Not shared between threads.
 */
#ifndef ANNAL_STORE_SPOOL_H
#define ANNAL_STORE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/object_id.h"

enum { SPOOL_MEMORY_MAX = 512 * 1024 }; /* bytes */

struct spool;

/* A spool for exactly size bytes (git hashes the length first). directory is where a temporary
 * file may be made; it is used only when size > SPOOL_MEMORY_MAX. May fail with STORE_NO_MEMORY,
 * STORE_IO, STORE_NO_SPACE. The caller owns *out. */
int spool_new(struct spool **out, const char *directory, uint64_t size, struct store_error *error);
void spool_free(struct spool *spool); /* accepts NULL */

/* Appends bytes; never more in all than the announced size (asserted). Blocks on the disk. */
int spool_write(struct spool *spool, const void *bytes, size_t length, struct store_error *error);

/* True once every announced byte has been written. */
bool spool_complete(const struct spool *spool);

/* True if a NUL octet was written. */
bool spool_has_nul(const struct spool *spool);

/* The whole message and its blob id. Only when complete; valid until spool_free(). */
int spool_data(struct spool *spool, const uint8_t **data, size_t *length,
               struct store_error *error);
const struct object_id *spool_id(struct spool *spool);

#endif
