/* Snapshots made against a real object database, so that each can be loaded again. */
#ifndef ANNAL_TESTS_SNAPSHOT_FIXTURE_H
#define ANNAL_TESTS_SNAPSHOT_FIXTURE_H

#include "store/internal/objects.h"
#include "store/internal/snapshot_private.h"

extern struct snapshot_fixture {
    char *directory;
    struct objects *objects;
} snapshots;

void snapshot_set_up(void);
void snapshot_tear_down(void);

struct snapshot_builder *new_mailbox(void);
struct message some_message(uint32_t i);
/* A mailbox with so many of them. */
struct snapshot *mailbox_of(uint32_t count);
/* Writes the builder and frees it; the snapshot has a commit. */
struct snapshot *write_version(struct snapshot_builder *builder);
/* Up to eight appends, removals and changes of flags. */
void random_change(struct snapshot_builder *builder, unsigned *seed);

/* From git; known may be NULL. */
struct snapshot *load(const struct snapshot *snapshot, const struct snapshot *known);
/* In all: nodes, totals, messages. */
void assert_equal(const struct snapshot *a, const struct snapshot *b);

#endif
