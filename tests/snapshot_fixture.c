#include "tests/snapshot_fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/snapshot_load.h"
#include "tests/store_fixture.h"

struct snapshot_fixture snapshots;

void snapshot_set_up(void)
{
    struct store_error error;
    char *path;

    snapshots.directory = fixture_directory();
    path = fixture_path(snapshots.directory, "r.git");
    fixture_make_repository(path);
    ck_assert_int_eq(objects_open(&snapshots.objects, path, host_system(), &error), 0);
    free(path);
}

void snapshot_tear_down(void)
{
    objects_close(snapshots.objects);
    fixture_remove(snapshots.directory);
}

struct snapshot *write_version(struct snapshot_builder *builder)
{
    struct origin origin = {.time = 0};
    struct object_batch *batch;
    struct store_error error;
    struct snapshot *out = NULL;
    struct object_id root;

    ck_assert_int_eq(object_batch_new(&batch, snapshots.objects, &error), 0);
    ck_assert_int_eq(snapshot_builder_write(builder, batch, &out, &root, &error), 0);
    ck_assert_int_eq(
        commit_add(batch, &root, NULL, NULL, "alice", &origin, "x", &out->commit, &error), 0);
    ck_assert_int_eq(object_batch_write(batch, true, &error), 0);
    object_batch_free(batch);
    snapshot_builder_free(builder);
    return out;
}

struct snapshot_builder *new_mailbox(void)
{
    struct snapshot_builder *builder = snapshot_builder_new(NULL);

    g_strlcpy(builder->mailbox_id, "M1", sizeof(builder->mailbox_id));
    builder->uid_validity = 1;
    return builder;
}

struct message some_message(uint32_t i)
{
    struct message message = {.size = i, .internal_date = i, .flags = (uint8_t)(i & MESSAGE_SEEN)};
    char text[32];
    int length = snprintf(text, sizeof(text), "message %u", i);

    objects_hash(OBJECT_BLOB, text, (size_t)length, &message.blob);
    return message;
}

struct snapshot *mailbox_of(uint32_t count)
{
    struct snapshot_builder *builder = new_mailbox();

    for (uint32_t i = 0; i < count; i++) {
        struct message message = some_message(i);

        snapshot_builder_append(builder, &message);
    }
    return write_version(builder);
}

static void assert_same_message(const struct message *a, const struct message *b)
{
    ck_assert(object_id_equal(&a->blob, &b->blob));
    ck_assert_uint_eq(a->uid, b->uid);
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_uint_eq(a->modseq, b->modseq);
    ck_assert_uint_eq(a->keywords, b->keywords);
    ck_assert_int_eq(a->internal_date, b->internal_date);
    ck_assert_int_eq(a->zone, b->zone);
    ck_assert_uint_eq(a->flags, b->flags);
}

static void assert_same_nodes(struct node *a, struct node *b)
{
    ck_assert_uint_eq(a->depth, b->depth);
    ck_assert_uint_eq(a->number, b->number);
    ck_assert_uint_eq(a->count, b->count);
    ck_assert_uint_eq(a->unseen, b->unseen);
    ck_assert_uint_eq(a->deleted, b->deleted);
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_uint_eq(a->modseq_max, b->modseq_max);
    ck_assert(object_id_equal(&a->tree, &b->tree));
    if (a->depth < LEAF_DEPTH) {
        const struct inner *x = node_inner(a), *y = node_inner(b);

        ck_assert_uint_eq(x->child_count, y->child_count);
        for (uint32_t i = 0; i < x->child_count; i++) {
            const struct child *one = &inner_children(x)[i], *other = &inner_children(y)[i];

            ck_assert_uint_eq(one->number, other->number);
            ck_assert_uint_eq(one->start, other->start);
            assert_same_nodes(one->node, other->node);
        }
    }
}

void assert_equal(const struct snapshot *a, const struct snapshot *b)
{
    ck_assert_str_eq(a->mailbox_id, b->mailbox_id);
    ck_assert_uint_eq(a->uid_validity, b->uid_validity);
    ck_assert_uint_eq(a->uid_next, b->uid_next);
    ck_assert_uint_eq(a->highest_modseq, b->highest_modseq);
    ck_assert(object_id_equal(&a->commit, &b->commit));
    ck_assert_uint_eq(a->keywords->len, b->keywords->len);
    for (guint i = 0; i < a->keywords->len; i++) {
        ck_assert_str_eq(a->keywords->pdata[i], b->keywords->pdata[i]);
    }
    assert_same_nodes(&a->root->node, &b->root->node);
    for (size_t i = 0; i < snapshot_count(a); i++) {
        struct message x = snapshot_message(a, i), y = snapshot_message(b, i);

        assert_same_message(&x, &y);
    }
}

struct snapshot *load(const struct snapshot *snapshot, const struct snapshot *known)
{
    struct snapshot *loaded = NULL;
    struct store_error error;
    bool moved;

    ck_assert_msg(
        snapshot_load(&loaded, &moved, snapshots.objects, &snapshot->commit, known, &error) == 0,
        "%s", error.detail);
    ck_assert(!moved);
    return loaded;
}

void random_change(struct snapshot_builder *builder, unsigned *seed)
{
    for (int i = rand_r(seed) % 8; i >= 0; i--) {
        uint32_t uid = (uint32_t)rand_r(seed) % builder->uid_next;
        struct message message = some_message(uid);

        switch (rand_r(seed) % 3) {
        case 0:
            snapshot_builder_append(builder, &message);
            break;
        case 1:
            if (snapshot_builder_find(builder, uid, &message)) {
                snapshot_builder_remove(builder, uid);
            }
            break;
        default:
            if (snapshot_builder_find(builder, uid, &message)) {
                snapshot_builder_set_flags(builder, uid, message.flags ^ MESSAGE_DELETED,
                                           message.keywords);
            }
            break;
        }
    }
}
