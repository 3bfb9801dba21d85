/* The object database of one repository: reading, and writing many objects as one pack.
 *
 * Together with refs.h this is the engine seam: paths and descriptors stay below it.
 * Objects are written "stored" (zlib level 0) by our own pack writer; reading goes through an
 * in-memory cache of recent small objects, our own pack reader, then libgit2.
 */
#ifndef ANNAL_STORE_INTERNAL_OBJECTS_H
#define ANNAL_STORE_INTERNAL_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/object_id.h"

enum object_type { OBJECT_COMMIT = 1, OBJECT_TREE = 2, OBJECT_BLOB = 3 }; /* git's numbers */

struct objects;

/* path: the bare repository's directory. Refuses SHA-256 repositories (STORE_UNSUPPORTED). Host
 * is borrowed. The caller owns *out. */
int objects_open(struct objects **out, const char *path, const struct host *host,
                 struct store_error *error);
void objects_close(struct objects *objects); /* accepts NULL */

/* An object's content, owned by the caller. */
struct object_data {
    const uint8_t *data;
    size_t length;
    void *owner;
};
void object_data_release(struct object_data *data);

/* STORE_NOT_FOUND, STORE_CORRUPT (also: another type), STORE_NO_MEMORY, STORE_IO. Finds packs
 * that others made since. */
int objects_read(struct objects *objects, const struct object_id *id, enum object_type type,
                 struct object_data *out, struct store_error *error);
bool objects_exist(struct objects *objects, const struct object_id *id);
/* The one object whose name begins with these hexadecimal digits (at least 4, lower case).
 * STORE_NOT_FOUND: there is none, or more than one (the error's detail says which). */
int objects_expand(struct objects *objects, const char *digits, struct object_id *out,
                   struct store_error *error);

/* For a large object that is stored whole in a pack, pack_file.h: read piece by piece without a
 * copy. False for any other, and for one of a batch that isn't written: objects_read() tells. */
struct pack_slices;
bool objects_slices(struct objects *objects, const struct object_id *id, struct pack_slices *out);
/* The same for one that is compressed, pack_inflate.h; NULL for any other. */
struct pack_inflate;
struct pack_inflate *objects_inflate(struct objects *objects, const struct object_id *id);

/* Once a minute: closes packs that nothing was read of meanwhile. objects_maintain() calls it. */
void objects_rest(struct objects *objects);
/* What was taken off the disk can't be read any more. */
void objects_forget(struct objects *objects);
/* Gives back at once what reading much has mapped; it is mapped again when it is needed. */
void objects_let_go(struct objects *objects);

/* What a file of derived state had lost is not here either: whatever was made of the file may say
 * what never was. objects_losses() counts them. */
void objects_note_loss(struct objects *objects);
unsigned objects_losses(const struct objects *objects);

/* git's hash of "type length NUL data". */
void objects_hash(enum object_type type, const void *data, size_t length, struct object_id *out);
/* Begins the sum that becomes the id with the last of length octets. */
struct sha1;
void objects_hash_begin(struct sha1 *sha1, enum object_type type, uint64_t length);

enum { OBJECT_DEDUPLICATE_MIN = 64 * 1024 };

/* A set of new objects that becomes one pack. An object is in a batch only once; one of at least
 * OBJECT_DEDUPLICATE_MIN octets that the database holds already is not written again (for smaller
 * ones looking, safely beside a `git gc`, costs more than writing; merging packs drops the second
 * copy). Objects of the batch can be read through objects_read() before it is written. Call
 * order: new, add..., write (at most once with success), free. */
struct object_batch;
int object_batch_new(struct object_batch **out, struct objects *objects, struct store_error *error);
/* From now on objects that the database holds already are written again all the same. */
void object_batch_repeat(struct object_batch *batch);
int object_batch_add(struct object_batch *batch, enum object_type type, const void *data,
                     size_t length, struct object_id *id, struct store_error *error);
/* A blob that stands in the database, of which a new commit takes a message out of the past: it is
 * written again where a gc or retention might be dropping it just now. STORE_NOT_FOUND also for one
 * that a purge takes out. */
int object_batch_keep(struct object_batch *batch, const struct object_id *id,
                      struct store_error *error);
/* A large blob whose id is known (a spool's); data is borrowed until write or free. */
int object_batch_add_blob(struct object_batch *batch, const struct object_id *id, const void *data,
                          size_t length, struct store_error *error);
/* spool_new() for a blob that will be added to a batch of this database. */
struct spool;
int objects_spool(struct objects *objects, uint64_t size, struct spool **out,
                  struct store_error *error);
/* A complete spool's message: a small one is borrowed as by object_batch_add_blob(), a large one is
 * a pack already, which object_batch_publish_spools() makes part of the repository. Borrowed until
 * then or free. */
int object_batch_add_spool(struct object_batch *batch, struct spool *spool,
                           struct store_error *error);
/* Makes the packs of large spools visible and durable, each with a .keep that stays as long as that
 * of the batch's own pack; before anything that refers to them is durable. They are no part of what
 * object_batch_write() writes. STORE_NO_SPACE, STORE_IO. */
int object_batch_publish_spools(struct object_batch *batch, struct store_error *error);
/* Octets of all objects' content, spools that are packs left out. */
uint64_t object_batch_size(const struct object_batch *batch);
/* Copies what is borrowed, so that the batch depends on nobody. STORE_NO_MEMORY. */
int object_batch_own(struct object_batch *batch, struct store_error *error);
/* Moves all objects of from, which owns them (object_batch_own()) and has published its spools, to
 * the end of batch. */
void object_batch_take(struct object_batch *batch, struct object_batch *from);
/* Writes pack and index, visible to stock git on return; durable, too (fsync of both files and of
 * the directory), or else durable only by what the caller does. Protected by a .keep file until (a
 * little after) object_batch_free(), which callers call after the references are moved. Nothing
 * that git would see is left behind on failure, and the objects are still in the batch: it may be
 * tried again. An empty batch writes nothing. The same objects in the same order make the same
 * pack, octet for octet. STORE_NO_SPACE, STORE_IO. */
int object_batch_write(struct object_batch *batch, bool durable, struct store_error *error);
/* The two halves of it. The first may be done in another thread, while the batch does not change:
 * it writes the files. *name is the pack's (the second half takes it), NULL if there is none. */
int object_batch_pack(const struct object_batch *batch, bool durable, char **name,
                      struct store_error *error);
void object_batch_packed(struct object_batch *batch, char *name);
void object_batch_free(struct object_batch *batch); /* accepts NULL */

/* Merges small packs geometrically when there are many, and unlinks packs merged away once they
 * are older than a grace. A bounded amount of work a call. */
void objects_maintain(struct objects *objects);

#endif
