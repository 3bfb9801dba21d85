/* git's commit objects: written in our own form (FORMAT.md, "Commits"), read in any form. */
#ifndef ANNAL_STORE_INTERNAL_COMMIT_H
#define ANNAL_STORE_INTERNAL_COMMIT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/internal/objects.h"
#include "store/internal/text.h"
#include "store/mailbox.h"
#include "store/object_id.h"

enum {
    COMMIT_SUBJECT_MAX = 300, /* octets */
    COMMIT_TRAILER_MAX = 200, /* octets of a trailer's value */
};

/* Appends a commit object's content. parent: NULL for a first one; other: a second parent, or NULL.
 * subject and origin may hold anything: they are cut and made harmless here. */
void commit_encode(GString *out, const struct object_id *tree, const struct object_id *parent,
                   const struct object_id *other, const char *user, const struct origin *origin,
                   const char *subject);

/* Encodes a commit and adds it to the batch. */
int commit_add(struct object_batch *batch, const struct object_id *tree,
               const struct object_id *parent, const struct object_id *other, const char *user,
               const struct origin *origin, const char *subject, struct object_id *id,
               struct store_error *error);

struct commit {
    struct object_id tree;
    struct object_id parent; /* the first; zero if there is none */
    int64_t time;            /* the author's, seconds since the epoch; 0 where unreadable */
    int zone;                /* minutes east of UTC */
    int64_t committed;       /* the committer's time, likewise: git's --before and --after */
    const char *message;     /* borrowed from data */
    size_t message_length;
};

/* STORE_CORRUPT if tree or a parent can't be read. */
int commit_decode(struct commit *out, const void *data, size_t length, struct store_error *error);

/* The id in a line of a commit's or tag's header, behind this word ("parent "); false for any other
 * line. */
bool commit_line_id(struct text line, const char *word, struct object_id *out);
/* Appends the parents (struct object_id) of a commit, in their order, without those that can't be
 * read: commit_decode() tells of them. */
void commit_append_parents(GArray *out, const void *data, size_t length);

/* Appends "3,5:7", for many UIDs cut with their number. uids ascend. */
void subject_append_uids(GString *out, const uint32_t *uids, size_t count);

/* Appends the value of the Subject field of a message's header, unfolded and harmless; nothing if
 * there is none near the start. */
void subject_append_from_message(GString *out, const uint8_t *message, size_t length);

#endif
