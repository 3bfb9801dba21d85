/* The history of one mailbox in brief: which of its commits was the newest at a time, under which
 * name, and on which days there were any.
 *
 * A stretch is a run of commits, each the first parent of the one before it, with one name. Runs of
 * TIMELINE_EVERY commits (longer where there would be more than TIMELINE_MAX) are told by their
 * newest commit and their earliest date: so whoever looks for a time reads no more commits than one
 * run has. Below the last stretch the history may go on unread.
 *
 * Derived state, one small file a mailbox: deletable at any time, never synced. A file that is not
 * whole or does not begin at a commit of the chain is no file.
 */
#ifndef ANNAL_STORE_INTERNAL_TIMELINE_H
#define ANNAL_STORE_INTERNAL_TIMELINE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/reachable.h"
#include "store/object_id.h"

enum {
    TIMELINE_EVERY = 64,
    TIMELINE_MAX = 16 * 1024,
    TIMELINE_NAMES_MAX = 1000,     /* of one mailbox; what was before is not known */
    TIMELINE_NAME_MAX = 1024,      /* octets */
    TIMELINE_DAYS_MAX = 16 * 1024, /* the same */
    TIMELINE_SAVE = 16,            /* commits read, from which a file is worth it */
    TIMELINE_FILES_DAYS = 100,     /* without being written, after which a file may be removed */
    TIMELINE_GONE = 0,             /* name of a stretch: a deleted mailbox */
};

struct stretch {
    int64_t earliest; /* date of its commits, seconds since the epoch */
    struct object_id newest;
    uint32_t count;  /* commits */
    uint32_t name;   /* index in names; TIMELINE_GONE */
    uint32_t unused; /* 0 */
};

struct timeline {
    GArray *stretches;       /* struct stretch, the newest first */
    GPtrArray *names;        /* char *; the first is not used */
    GArray *days;            /* int32_t since 1970-01-01, ascending, each once */
    struct object_id next;   /* where the unread begins; zero: nothing more is known */
    uint32_t name;           /* which it has there */
    struct object_id oldest; /* read */
    int64_t boundary;        /* what the history's end (git's shallow file) was known by; 0: none */
    size_t read;             /* commits since it was loaded */
};

void timeline_init(struct timeline *timeline);
void timeline_release(struct timeline *timeline);

/* Brings it up to a tip, whose mailbox has this name, and reads on until a commit that is not after
 * since (INT64_MIN: to the end), never beyond one of ends (NULL: none). Takes one from steps for
 * each commit read; with none left, or at the end, it is as far as it came: timeline_reaches()
 * tells. */
struct timeline_reader {
    struct objects *objects;
    const struct id_set *ends;
    size_t steps;
};
int timeline_read(struct timeline *timeline, struct timeline_reader *reader,
                  const struct object_id *tip, const char *name, int64_t since,
                  struct store_error *error);
bool timeline_reaches(const struct timeline *timeline, int64_t since);

/* The newest commit that is not after time. name: NULL if the mailbox was deleted then; borrowed.
 * Takes steps, but never waits for want of them. STORE_NOT_FOUND. */
int timeline_find(const struct timeline *timeline, struct timeline_reader *reader, int64_t time,
                  struct object_id *commit, int64_t *date, const char **name,
                  struct store_error *error);

/* --- timeline_file.c --- */

/* Always fills *out (release it); empty without a good file. path may be NULL: there is none. */
void timeline_load(struct timeline *out, const char *path);
/* Replaces the file. A first one in its directory, which exists, makes old ones be removed. Nothing
 * is lost but time if that fails. */
void timeline_save(struct timeline *timeline, const char *path);

/* The file's octets, and back. */
void timeline_encode(GByteArray *out, const struct timeline *timeline);
bool timeline_decode(struct timeline *out, const uint8_t *bytes, size_t length);

#endif
