/* References of one repository: loose and packed, moved by compare-and-swap under git's own
 * lock files (NAME.lock, O_EXCL). Names are full ("refs/heads/INBOX").
 */
#ifndef ANNAL_STORE_INTERNAL_REFS_H
#define ANNAL_STORE_INTERNAL_REFS_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/object_id.h"

struct refs;

/* Opening finishes a multi-reference commit that a crash interrupted (see refs_commit()). */
int refs_open(struct refs **out, const char *path, const struct host *host,
              struct store_error *error);
void refs_close(struct refs *refs); /* accepts NULL */

/* While *turn (borrowed; 0: never) stays the same, refs_read() believes what it saw of a loose
 * reference. At first it looks each time. */
void refs_set_turn(struct refs *refs, const uint64_t *turn);

/* STORE_NOT_FOUND when there is no such reference; STORE_CORRUPT when it is not 40 digits. Sees
 * what others wrote: a stat (loose file, then packed-refs) decides whether to read again. */
int refs_read(struct refs *refs, const char *name, struct object_id *out,
              struct store_error *error);

struct ref_entry {
    char *name; /* full */
    struct object_id id;
};
/* All references below prefix ("refs/heads/"), sorted by name, loose ones over packed ones. A
 * new array of struct ref_entry * with a free function set. Unreadable ones are left out. */
int refs_list(struct refs *refs, const char *prefix, GPtrArray **out, struct store_error *error);

struct ref_update {
    const char *name;
    struct object_id before; /* zero: must not exist */
    struct object_id after;  /* zero: delete */
};

/* Moves all of these references or none. STORE_CONFLICT if one is not at its before value or its
 * lock is held by somebody for longer than a short wait. Several updates are made one step by a
 * durable transaction file in the repository that refs_open() completes after a crash. On return
 * 0 every update is visible; it is durable after refs_sync() (integrity never depends on that). */
int refs_commit(struct refs *refs, const struct ref_update *updates, size_t count,
                struct store_error *error);
/* The same for one reference that exists and goes on existing, but durable only by what the caller
 * does: for whoever can move it again after a crash, and try again soon when it is locked. */
int refs_commit_lazily(struct refs *refs, const struct ref_update *update,
                       struct store_error *error);
/* Gives this value to a reference whose file says none (STORE_CORRUPT), in one step: at no moment
 * is there no file. STORE_CONFLICT when it has a value by now. */
int refs_mend(struct refs *refs, const char *name, const struct object_id *id,
              struct store_error *error);
int refs_sync(struct refs *refs, struct store_error *error);

/* True if anything below refs/ or packed-refs may have changed since the last call, by anyone
 * but ourselves. A few stats. */
bool refs_changed_outside(struct refs *refs);

#endif
