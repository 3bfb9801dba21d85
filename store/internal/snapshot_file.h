/* A snapshot as a file that is mapped, so that a mailbox opens without reading its trees.
 *
 * Derived state: deletable at any time, keyed by commit, never synced. What a CRC does not vouch
 * for is not believed: a bad head or table of directories makes the file no file, a bad table of
 * leaves or a bad leaf is read from git (snapshot_layout.h says what vouches for what). The file is
 * replaced, never altered, so that a mapping of it stays good; whoever truncates it in place while
 * it is mapped ends the process (SIGBUS).
 *
 *   snapshot_map.c   reading
 *   snapshot_file.c  writing, and loading a commit with the file's help
 */
#ifndef ANNAL_STORE_INTERNAL_SNAPSHOT_FILE_H
#define ANNAL_STORE_INTERNAL_SNAPSHOT_FILE_H

#include <stdbool.h>

#include "store/internal/objects.h"
#include "store/internal/snapshot_private.h"

/* A mapped file and the nodes that stand in it. */
struct snapshot_map *snapshot_map_ref(struct snapshot_map *map);
void snapshot_map_unref(struct snapshot_map *map);
/* A file is mapped when a leaf is first looked for; until then it is open. This maps it now, and
 * lets the descriptor go. */
void snapshot_map_settle(struct snapshot_map *map);
/* Whether there is more than one reference. */
bool snapshot_map_is_shared(const struct snapshot_map *map);
/* Sets checked: finds the leaf's octets good, or gets others from git, or makes it lost. */
void snapshot_map_check(const struct leaf *leaf);
/* Sets children: makes the leaves of a directory from the file, or of git's, or lost ones. */
void snapshot_map_fill(const struct inner *inner);
/* Of a directory with an unseen message, whose leaves are not made: the index of the first. */
size_t snapshot_map_first_unseen(const struct inner *inner);

/* The snapshot of the file's commit, whichever that is: O(directories of leaves); no leaf is looked
 * at, and the file is not yet mapped. False if there is no good file; a bad one is removed. objects
 * is borrowed for as long as the snapshot or anything made from it lives. */
bool snapshot_file_read(struct snapshot **out, const char *path, struct objects *objects);

/* Of the file at path, without reading more than its head; false if there is none. */
struct snapshot_file_status {
    struct object_id commit;
    uint64_t length; /* octets */
    int64_t time;    /* of its making, seconds since the epoch */
};
bool snapshot_file_status(struct snapshot_file_status *out, const char *path);

/* Replaces the file. The snapshot has a commit. False, and the file as it was, where that fails or
 * a leaf can't be read. Writes to `path` and a `~` and digits first. */
bool snapshot_file_save(const char *path, const struct snapshot *snapshot);

/* snapshot_load() without a known state, helped by the file: exactly the same result. */
int snapshot_file_load(struct snapshot **out, const char *path, struct objects *objects,
                       const struct object_id *commit, struct store_error *error);

#endif
