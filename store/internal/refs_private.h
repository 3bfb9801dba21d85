/* What the files of the references share.
 *
 * refs.c             what is on the disk, and who changed it
 * packed_refs.c      packed-refs
 * refs_commit.c      moving references, recovery
 * ref_transaction.c  the text of the transaction file
 * ref_locks.c        lock files, and whose they are after a crash
 *
 * Files in the repository beside git's own:
 *   annal-transaction       present while several references move (refs_commit.c)
 *   annal-packed-refs       packed-refs as it will be (refs_commit.c)
 *   annal-locks.XXXXXXXX    one for each open struct refs that has ever committed (ref_locks.c)
 */
#ifndef ANNAL_STORE_INTERNAL_REFS_PRIVATE_H
#define ANNAL_STORE_INTERNAL_REFS_PRIVATE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "store/internal/refs.h"

enum {
    REF_NAME_MAX = 1024,                    /* octets */
    PACKED_REFS_MAX = 64 * 1024 * 1024,     /* octets of packed-refs */
    REF_TRANSACTION_MAX = 16 * 1024 * 1024, /* octets of annal-transaction */
    REF_LOCK_WAIT_MSEC = 1000,              /* for somebody else's lock */
    REF_LOCK_LAZY_MSEC = 100,               /* the same when it can be tried again */
    REF_LOCK_STALE_SECONDS = 600,           /* nobody holds a lock for so long */
};

/* Tells one state of a file or directory from another, but for changes within one tick of the
 * file system's clock: what was looked at so soon after its mtime is never trusted ("settled"). */
struct ref_stamp {
    int64_t mtime; /* nanoseconds */
    uint64_t inode;
    int64_t size;
};

/* Locks this process holds, or could not remove. */
struct ref_lock {
    char *name; /* relative to the repository, without ".lock" */
    uint64_t inode;
};

struct refs {
    const struct host *host;
    char *path;              /* the repository */
    GHashTable *loose;       /* char *name -> struct loose_ref */
    GHashTable *directories; /* char *name ("refs/heads") -> struct ref_directory */
    GHashTable *packed;      /* char *name -> struct object_id */
    GBytes *packed_text;     /* of packed-refs as last read; NULL: no file */
    struct ref_stamp packed_stamp;
    bool packed_settled;
    bool outside;         /* somebody else changed something, not reported yet */
    GHashTable *dirty;    /* char *path: directories to fsync */
    GPtrArray *locks;     /* struct ref_lock, owned */
    char *locks_path;     /* of annal-locks.XXXXXXXX; NULL: none yet */
    int locks_fd;         /* -1: none yet */
    const uint64_t *turn; /* refs_set_turn(); NULL: none */
    uint64_t doubted;     /* the turn in which a commit began: look again, it may have failed */
    bool lazy;            /* refs_commit_lazily() is under way */
    GArray *interrupted;  /* struct ref_change: must be taken back first; NULL: none */
};

/* A struct ref_update with room for its name. */
struct ref_change {
    char *name;
    struct object_id before;
    struct object_id after;
};
GArray *ref_changes_new(void);
void ref_changes_add(GArray *changes, const char *name, size_t name_length,
                     const struct object_id *before, const struct object_id *after);

struct ref_stamp ref_stamp_of(const struct stat *status);
bool ref_stamp_equal(const struct ref_stamp *a, const struct ref_stamp *b);
/* Whether a later change must show in the stamp. To be asked before the content is read. */
bool ref_stamp_settled(const struct refs *refs, const struct ref_stamp *stamp);
char *ref_path(const struct refs *refs, const char *name, const char *suffix);

/* Without the last component and its slash; for g_free(). */
char *ref_parent(const char *path);

/* "refs/..." of which git and the file system can make one file. */
bool ref_name_valid(const char *name, size_t length);

/* The value now, whatever is remembered: zero when there is none. STORE_CORRUPT, STORE_IO. */
int ref_current(struct refs *refs, const char *name, struct object_id *out,
                struct store_error *error);

/* Reads packed-refs again if it may have changed. ours: a change is not somebody else's. */
int refs_load_packed(struct refs *refs, bool ours, struct store_error *error);

/* 0: nothing is believed. */
uint64_t refs_turn(const struct refs *refs);

/* We ourselves wrote (or, with a zero id, deleted) the loose file. settled: the stamp is trusted at
 * once, since who moves the reference next compares it with the file itself. */
void refs_note_own(struct refs *refs, const char *name, const struct object_id *id,
                   const struct ref_stamp *stamp, bool settled);

void refs_mark_dirty(struct refs *refs, const char *directory);
/* The directory of the file at path, whose name has changed. */
void refs_mark_parent_dirty(struct refs *refs, const char *path);

/* ref_locks.c: NAME.lock by O_EXCL, with its directories. *fd gets a descriptor to write the new
 * content to. STORE_CONFLICT when somebody else has it, or a reference stands in the way. */
int ref_lock_take(struct refs *refs, const char *name, int *fd, struct store_error *error);
/* The lock file has become the reference. */
void ref_lock_renamed(struct refs *refs, const char *name);
/* Removes the lock file; tried again before the next commit if it fails. */
void ref_lock_drop(struct refs *refs, const char *name);
void ref_locks_retry(struct refs *refs);
/* Removes the locks of processes that crashed. */
void ref_locks_clean(struct refs *refs);
void ref_locks_close(struct refs *refs);

/* refs_commit.c: finishes what a crash interrupted, or takes back what we could not finish. */
int refs_recover(struct refs *refs, struct store_error *error);
int refs_settle(struct refs *refs, struct store_error *error);

GString *ref_transaction_text(const struct ref_update *updates, size_t count);
/* Parses a transaction file; NULL unless it is whole. */
GArray *ref_transaction_parse(const char *text, size_t length);
/* Parses packed-refs into name -> struct object_id; lines that are none are left out. */
GHashTable *packed_refs_parse(const char *text, size_t length);

#endif
