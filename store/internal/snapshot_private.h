/* Inside snapshots, and the builder of the next version. */
#ifndef ANNAL_STORE_INTERNAL_SNAPSHOT_PRIVATE_H
#define ANNAL_STORE_INTERNAL_SNAPSHOT_PRIVATE_H

#include <glib.h>

#include "store/internal/index_file.h"
#include "store/internal/objects.h"
#include "store/internal/properties.h"
#include "store/internal/snapshot_node.h"
#include "store/snapshot.h"

struct snapshot {
    unsigned references;
    char mailbox_id[MAILBOX_ID_MAX + 1];
    uint32_t uid_validity;
    uint32_t uid_next;
    uint64_t highest_modseq;
    struct object_id commit; /* zero while it has none */
    GPtrArray *keywords;     /* shared between versions, never changed */
    struct inner *root;      /* its totals are the mailbox's */
    size_t unsaved;          /* leaves (or other changes) that are in no snapshot file */
    const struct leaf *near; /* the leaf looked at last, or NULL */
    size_t near_start;       /* index of its first message */
};

/* Takes the reference. The caller fills in the rest. */
struct snapshot *snapshot_new(struct inner *root);

/* Walks two snapshots side by side, skipping what they share: called for each message that is in
 * only one of them (the other NULL) or whose copies differ, and maybe for some others whose copies
 * are not in the same leaf object. after_index is the index in after, of b or of where it would
 * stand. a and b are valid during the call. */
typedef void (*snapshot_walk)(const struct message *a, const struct message *b, size_t after_index,
                              void *data);
void snapshot_walk_both(const struct snapshot *before, const struct snapshot *after,
                        snapshot_walk visit, void *data);

/* --- the next version --- */

/* The leaf that is being changed, unpacked. */
struct draft {
    bool open;
    uint32_t number;
    size_t count;
    struct message messages[LEAF_MESSAGES];
};

struct snapshot_builder {
    const struct snapshot *before; /* NULL: a new mailbox */
    char mailbox_id[MAILBOX_ID_MAX + 1];
    uint32_t uid_validity;
    uint32_t uid_next;
    uint64_t modseq; /* of the commit to be; every changed message gets it */
    GPtrArray *keywords;
    bool keywords_own;
    bool damaged;       /* took what can't be read: not to be written */
    struct inner *root; /* nodes whose tree is zero are the builder's alone, with room for
                           NODE_CHILDREN_MAX children; some may be empty until written */
    size_t written;     /* leaves */
    struct draft draft; /* in place of what root has */
};

/* The builder for what comes after before (NULL: an empty new mailbox, whose id and uid_validity
 * the caller sets), with the next modseq. */
struct snapshot_builder *snapshot_builder_new(const struct snapshot *before);
void snapshot_builder_free(struct snapshot_builder *builder); /* accepts NULL */

/* Appends a message under the next UID and returns that; the builder sets uid and modseq. The
 * caller has checked snapshot_builder_room(). */
uint32_t snapshot_builder_append(struct snapshot_builder *builder, const struct message *message);
/* How many UIDs are left. */
size_t snapshot_builder_room(const struct snapshot_builder *builder);

bool snapshot_builder_find(const struct snapshot_builder *builder, uint32_t uid,
                           struct message *out);
/* The message, which must be there, gets the builder's modseq. */
void snapshot_builder_touch(struct snapshot_builder *builder, uint32_t uid);
/* The same, and these flags in place of its own. */
void snapshot_builder_set_flags(struct snapshot_builder *builder, uint32_t uid, uint8_t flags,
                                uint64_t keywords);
void snapshot_builder_remove(struct snapshot_builder *builder, uint32_t uid);

/* The bit of a valid keyword, added if new. STORE_LIMIT. */
int snapshot_builder_keyword(struct snapshot_builder *builder, const char *keyword, size_t *index,
                             struct store_error *error);

/* Adds the changed objects to the batch; *root is the root tree. *out is the new version, without
 * a commit as yet; the builder is used up (but still to be freed). STORE_CORRUPT if it holds a
 * message that could not be read, or changes a directory whose leaves could not. */
int snapshot_builder_write(struct snapshot_builder *builder, struct object_batch *batch,
                           struct snapshot **out, struct object_id *root,
                           struct store_error *error);

#endif
