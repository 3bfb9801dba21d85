/* Octets that come in without their number being known before: in memory, and from
 * STASH_MEMORY_MAX on in a file without a name. Once complete a stash does not change, and any
 * thread may read it.
 */
#ifndef ANNAL_SERVER_STASH_H
#define ANNAL_SERVER_STASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STASH_MEMORY_MAX = 256 * 1024 }; /* octets */

struct stash;

/* directory is borrowed: where the file goes. */
struct stash *stash_new(const char *directory);
void stash_free(struct stash *stash); /* accepts NULL */

/* False with errno: no room, or no memory; the stash can then only be freed. */
bool stash_add(struct stash *stash, const void *octets, size_t length);
uint64_t stash_size(const struct stash *stash);
/* The first octets, at most STASH_MEMORY_MAX; all of them if there are no more. */
const uint8_t *stash_head(const struct stash *stash, size_t *length);

/* Gives all octets to take, piece by piece, until it returns false. False as well when they can't
 * be read (errno). */
typedef bool (*stash_take)(void *data, const void *octets, size_t length);
bool stash_read(const struct stash *stash, stash_take take, void *data);

#endif
