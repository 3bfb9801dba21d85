#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/snapshot_file.h"
#include "store/internal/snapshot_layout.h"
#include "store/internal/snapshot_load.h"
#include "tests/snapshot_fixture.h"
#include "tests/store_fixture.h"

static char *path;

static void set_up(void)
{
    snapshot_set_up();
    path = fixture_path(snapshots.directory, "file");
}

static void tear_down(void)
{
    snapshot_tear_down();
    free(path);
}

static struct snapshot *read_file(void)
{
    struct snapshot *out = NULL;

    ck_assert(snapshot_file_read(&out, path, snapshots.objects));
    return out;
}

static bool no_file(void)
{
    struct snapshot *out;

    return !snapshot_file_read(&out, path, snapshots.objects) && access(path, F_OK) < 0;
}

static struct snapshot *load_with_file(const struct object_id *commit)
{
    struct snapshot *out = NULL;
    struct store_error error;

    ck_assert_int_eq(snapshot_file_load(&out, path, snapshots.objects, commit, &error), 0);
    return out;
}

static GByteArray *get_contents(void)
{
    char *data;
    gsize length;

    ck_assert(g_file_get_contents(path, &data, &length, NULL));
    return g_byte_array_new_take((guint8 *)data, length);
}

static void put_contents(const uint8_t *data, size_t length)
{
    ck_assert(g_file_set_contents(path, (const char *)data, (gssize)length, NULL));
}

/* A few leaves apart, two of which have keywords. */
static struct snapshot *sparse_mailbox(void)
{
    struct snapshot_builder *builder = new_mailbox();
    struct store_error error;
    size_t index;

    ck_assert_int_eq(snapshot_builder_keyword(builder, "$Forwarded", &index, &error), 0);
    ck_assert_int_eq(snapshot_builder_keyword(builder, "later", &index, &error), 0);
    for (uint32_t i = 0; i < 30; i++) {
        struct message message = some_message(i);

        if (i % 10 == 0) {
            builder->uid_next += 12345 * i;
        }
        message.keywords = i % 3;
        snapshot_builder_append(builder, &message);
    }
    return write_version(builder);
}

/* Directories of leaves below a node, of those that have made theirs. */
static unsigned count_made(const struct inner *inner)
{
    unsigned made = 0;

    if (inner->node.depth == LEAF_DEPTH - 1) {
        return inner->children != NULL;
    }
    for (uint32_t i = 0; i < inner->child_count; i++) {
        made += count_made(node_inner(inner_children(inner)[i].node));
    }
    return made;
}

/* So many directories of leaves that what describes them takes more than a page. */
static struct snapshot *wide_mailbox(void)
{
    struct snapshot_builder *builder = new_mailbox();

    for (uint32_t i = 0; i < 70; i++) {
        struct message message = some_message(i);

        builder->uid_next += 12345;
        snapshot_builder_append(builder, &message);
    }
    return write_version(builder);
}

START_TEST(test_snapshot_file__holds_a_whole_snapshot)
{
    static const uint32_t counts[] = {0, 1, 99, 100, 101, 12345};

    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        struct snapshot *made = mailbox_of(counts[i]);
        struct snapshot *read;

        ck_assert(snapshot_file_save(path, made));
        read = read_file();
        ck_assert_uint_eq(read->unsaved, 0);
        assert_equal(made, read);
        snapshot_unref(made);
        snapshot_unref(read);
    }
    struct snapshot *wide = wide_mailbox();
    struct snapshot *read;

    ck_assert(snapshot_file_save(path, wide));
    read = read_file();
    ck_assert_uint_eq(count_made(read->root), 0);
    assert_equal(wide, read);
    snapshot_unref(wide);
    snapshot_unref(read);
}
END_TEST

START_TEST(test_snapshot_file__holds_the_last_uids)
{
    struct snapshot_builder *builder = new_mailbox();
    struct message message = some_message(1);
    struct snapshot *made, *read;

    snapshot_builder_append(builder, &message);
    builder->uid_next = MESSAGE_UID_MAX - 250;
    while (snapshot_builder_room(builder) > 0) {
        snapshot_builder_append(builder, &message);
    }
    made = write_version(builder);
    ck_assert(snapshot_file_save(path, made));
    read = read_file();
    assert_equal(made, read);
    ck_assert_uint_eq(snapshot_message(read, 251).uid, MESSAGE_UID_MAX);
    snapshot_unref(made);
    snapshot_unref(read);
}
END_TEST

/* What a client was told, what it is told now, and both together, of a file or not. */
START_TEST(test_snapshot_file__is_compared_like_any_other)
{
    struct snapshot *now = sparse_mailbox();
    unsigned seed = 5;

    for (int i = 0; i < 60; i++) {
        struct snapshot_builder *builder;
        struct snapshot_changes expected, found;
        struct snapshot *told, *next, *both, *merged;

        ck_assert(snapshot_file_save(path, now));
        told = read_file();
        builder = snapshot_builder_new(i % 2 == 0 ? told : now);
        random_change(builder, &seed);
        next = write_version(builder);
        snapshot_compare(&expected, now, next);
        snapshot_compare(&found, told, next);
        ck_assert_uint_eq(found.added, expected.added);
        ck_assert_uint_eq(found.expunged->len, expected.expunged->len);
        ck_assert_uint_eq(found.changed->len, expected.changed->len);
        for (guint k = 0; k < found.changed->len; k++) {
            ck_assert_uint_eq(g_array_index(found.changed, size_t, k),
                              g_array_index(expected.changed, size_t, k));
        }
        both = snapshot_keep_expunged(now, next);
        merged = snapshot_keep_expunged(told, next);
        ck_assert_uint_eq(snapshot_count(both), snapshot_count(next) + found.expunged->len);
        assert_equal(both, merged);
        snapshot_changes_release(&expected);
        snapshot_changes_release(&found);
        snapshot_unref(both);
        snapshot_unref(merged);
        snapshot_unref(told);
        snapshot_unref(now);
        now = next;
    }
    snapshot_unref(now);
}
END_TEST

/* What is asked of a file's snapshot that nothing was asked of before. */
static void look(const struct snapshot *snapshot, unsigned question, uint32_t number, size_t *out)
{
    switch (question) {
    case 0:
        *out = snapshot_message(snapshot, number - 1).uid;
        break;
    case 1:
        *out = snapshot_lower_bound(snapshot, number);
        break;
    case 2:
        ck_assert(snapshot_find(snapshot, number, out));
        break;
    default:
        *out = 0;
        ck_assert(snapshot_first_unseen(snapshot, out));
    }
}

START_TEST(test_snapshot_file__makes_leaves_where_they_are_looked_for)
{
    static const uint32_t numbers[] = {1, 9999, 10000, 10001, 23456, 34567};
    struct snapshot *made = mailbox_of(34567);

    ck_assert(snapshot_file_save(path, made));
    for (size_t i = 0; i < G_N_ELEMENTS(numbers) * 4; i++) {
        struct snapshot *read = read_file();
        size_t expected, found;

        ck_assert_uint_eq(count_made(read->root), 0);
        ck_assert_uint_eq(snapshot_count(read), 34567);
        ck_assert_uint_eq(snapshot_unseen(read), snapshot_unseen(made));
        ck_assert_uint_eq(snapshot_size(read), snapshot_size(made));
        look(made, i % 4, numbers[i / 4], &expected);
        look(read, i % 4, numbers[i / 4], &found);
        ck_assert_uint_eq(found, expected);
        ck_assert_uint_eq(count_made(read->root), i % 4 != 3);
        assert_equal(made, read);
        ck_assert_uint_eq(count_made(read->root), 4);
        snapshot_unref(read);
    }
    snapshot_unref(made);
}
END_TEST

START_TEST(test_snapshot_file__knows_the_first_unseen_message)
{
    static const uint32_t seen[] = {1, 99, 150, 10005, 10250};
    struct snapshot *now = mailbox_of(10250);
    uint32_t uid = 1;

    for (size_t i = 0; i < G_N_ELEMENTS(seen); i++) {
        struct snapshot_builder *builder = snapshot_builder_new(now);
        struct snapshot *read;
        size_t index;

        while (uid <= seen[i]) {
            snapshot_builder_set_flags(builder, uid++, MESSAGE_SEEN, 0);
        }
        for (uint32_t next = uid; next < uid + 3 && next <= 10250; next++) {
            snapshot_builder_set_flags(builder, next, 0, 0);
        }
        snapshot_unref(now);
        now = write_version(builder);
        ck_assert(snapshot_file_save(path, now));
        read = read_file();
        ck_assert_int_eq(snapshot_first_unseen(read, &index), uid <= 10250);
        if (uid <= 10250) {
            ck_assert_uint_eq(index, uid - 1);
            ck_assert_uint_eq(count_made(read->root), 0);
            ck_assert_uint_eq(snapshot_message(read, index).uid, uid);
            ck_assert(snapshot_first_unseen(read, &index));
            ck_assert_uint_eq(index, uid - 1);
        }
        snapshot_unref(read);
    }
    snapshot_unref(now);
}
END_TEST

START_TEST(test_snapshot_file__keeps_up_with_random_changes)
{
    struct snapshot *now = sparse_mailbox();
    unsigned seed = 3;

    for (int i = 0; i < 150; i++) {
        struct snapshot_builder *builder = snapshot_builder_new(now);
        struct snapshot *next, *plain, *helped, *again;

        random_change(builder, &seed);
        next = write_version(builder);
        plain = load(next, NULL);
        assert_equal(next, plain);
        helped = load_with_file(&next->commit);
        assert_equal(plain, helped);
        if (i % 3 != 0) {
            ck_assert(snapshot_file_save(path, i % 2 == 0 ? helped : next));
            again = load_with_file(&now->commit);
            assert_equal(now, again);
            snapshot_unref(again);
            again = load_with_file(&next->commit);
            assert_equal(plain, again);
            /* The next round goes on from nodes of a map. */
            snapshot_unref(next);
            next = again;
        }
        snapshot_unref(helped);
        snapshot_unref(plain);
        snapshot_unref(now);
        now = next;
    }
    snapshot_unref(now);
}
END_TEST

START_TEST(test_snapshot_file__a_map_outlives_its_file_and_its_snapshot)
{
    struct snapshot *made = mailbox_of(2345);
    struct snapshot *mapped, *after;
    struct snapshot_builder *builder;

    ck_assert(snapshot_file_save(path, made));
    mapped = read_file();
    unlink(path);
    builder = snapshot_builder_new(mapped);
    snapshot_builder_set_flags(builder, 1234, MESSAGE_FLAGGED, 0);
    snapshot_unref(mapped);
    after = write_version(builder);
    mapped = load(after, NULL);
    assert_equal(mapped, after);
    snapshot_unref(mapped);
    snapshot_unref(after);
    snapshot_unref(made);
}
END_TEST

START_TEST(test_snapshot_file__a_file_cut_before_it_is_mapped_is_not_looked_at)
{
    struct snapshot *made = mailbox_of(2345);
    struct snapshot *read;

    for (off_t length = 0; length < 30000; length += 10000) {
        ck_assert(snapshot_file_save(path, made));
        read = read_file();
        ck_assert_int_eq(truncate(path, length), 0);
        assert_equal(made, read);
        ck_assert(access(path, F_OK) < 0);
        snapshot_unref(read);
    }
    snapshot_unref(made);
}
END_TEST

START_TEST(test_snapshot_file__other_keywords_make_no_difference)
{
    struct snapshot *first = sparse_mailbox();
    struct snapshot_builder *builder = new_mailbox();
    struct message message = some_message(1);
    struct store_error error;
    struct snapshot *second, *plain, *helped;
    size_t index;

    ck_assert_int_eq(snapshot_builder_keyword(builder, "later", &index, &error), 0);
    message.keywords = 1;
    snapshot_builder_append(builder, &message);
    second = write_version(builder);
    ck_assert(snapshot_file_save(path, first));
    plain = load(second, NULL);
    helped = load_with_file(&second->commit);
    assert_equal(plain, helped);
    snapshot_unref(helped);
    snapshot_unref(plain);
    snapshot_unref(second);
    snapshot_unref(first);
}
END_TEST

/* Whatever octet is wrong: no file, or the right messages all the same. */
START_TEST(test_snapshot_file__a_wrong_octet_is_never_believed)
{
    struct snapshot *made = sparse_mailbox();
    g_autoptr(GByteArray) good = NULL;
    size_t refused = 0, mended = 0;

    ck_assert(snapshot_file_save(path, made));
    good = get_contents();
    for (guint i = 0; i < good->len; i++) {
        struct snapshot *read;

        good->data[i] ^= (uint8_t)(1 << i % 8);
        put_contents(good->data, good->len);
        if (snapshot_file_read(&read, path, snapshots.objects)) {
            assert_equal(made, read);
            ck_assert_msg(access(path, F_OK) < 0, "octet %u", i);
            snapshot_unref(read);
            mended++;
        } else {
            ck_assert(access(path, F_OK) < 0);
            refused++;
        }
        good->data[i] ^= (uint8_t)(1 << i % 8);
    }
    ck_assert_uint_gt(refused, 200);
    ck_assert_uint_gt(mended, 30 * 22);
    snapshot_unref(made);
}
END_TEST

/* One message more; false if that is refused. */
static bool write_more(const struct snapshot *snapshot, uint32_t uid, struct objects *objects,
                       struct object_id *root)
{
    struct snapshot_builder *builder = snapshot_builder_new(snapshot);
    struct message message = some_message(1);
    struct snapshot *out = NULL;
    struct object_batch *batch;
    struct store_error error;
    int rc;

    builder->uid_next = uid;
    snapshot_builder_append(builder, &message);
    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    rc = snapshot_builder_write(builder, batch, &out, root, &error);
    ck_assert(rc == 0 || rc == STORE_CORRUPT);
    object_batch_free(batch);
    snapshot_builder_free(builder);
    snapshot_unref(out);
    return rc == 0;
}

/* Whatever octet is wrong where git can't help: what is written all the same is right. */
START_TEST(test_snapshot_file__a_wrong_octet_is_never_written)
{
    struct snapshot *made = sparse_mailbox();
    g_autoptr(GByteArray) good = NULL;
    g_autofree char *empty = fixture_path(snapshots.directory, "empty.git");
    uint32_t uid = made->uid_next + (_i == 0 ? 0 : LEAF_MESSAGES);
    struct object_id expected, root;
    struct objects *objects;
    struct store_error error;
    size_t written = 0, refused = 0;

    fixture_make_repository(empty);
    ck_assert_int_eq(objects_open(&objects, empty, host_system(), &error), 0);
    ck_assert(write_more(made, uid, objects, &expected));
    ck_assert(snapshot_file_save(path, made));
    good = get_contents();
    for (guint i = 0; i < good->len; i++) {
        struct snapshot *read;
        size_t index;

        good->data[i] ^= (uint8_t)(1 << i % 8);
        put_contents(good->data, good->len);
        if (snapshot_file_read(&read, path, objects)) {
            ck_assert_uint_eq(snapshot_count(read), snapshot_count(made));
            ck_assert(snapshot_first_unseen(read, &index));
            for (size_t k = 0; i % 2 == 0 && k < snapshot_count(read); k++) {
                struct message message = snapshot_message(read, k);

                ck_assert(snapshot_find(read, message.uid, &index));
                ck_assert_uint_eq(index, k);
            }
            if (write_more(read, uid, objects, &root)) {
                ck_assert_msg(object_id_equal(&root, &expected), "octet %u", i);
                written++;
            } else {
                refused++;
            }
            snapshot_unref(read);
        }
        good->data[i] ^= (uint8_t)(1 << i % 8);
    }
    ck_assert_uint_gt(written, 0);
    ck_assert_uint_gt(refused, 0);
    snapshot_unref(made);
    objects_close(objects);
}
END_TEST

START_TEST(test_snapshot_file__a_cut_or_longer_file_is_none)
{
    struct snapshot *made = sparse_mailbox();
    g_autoptr(GByteArray) good = NULL;

    ck_assert(no_file());
    ck_assert(snapshot_file_save(path, made));
    good = get_contents();
    for (guint length = 0; length < good->len; length++) {
        put_contents(good->data, length);
        ck_assert_msg(no_file(), "%u octets", length);
    }
    g_byte_array_append(good, (const uint8_t *)"", 1);
    put_contents(good->data, good->len);
    ck_assert(no_file());
    snapshot_unref(made);
}
END_TEST

START_TEST(test_snapshot_file__what_is_no_file_is_none)
{
    struct snapshot *out;
    struct snapshot_file_status status;

    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert(!snapshot_file_read(&out, path, snapshots.objects));
    ck_assert(!snapshot_file_status(&status, path));
    rmdir(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert(!snapshot_file_read(&out, path, snapshots.objects));
    unlink(path);
    ck_assert_int_eq(symlink("/etc/passwd", path), 0);
    ck_assert(!snapshot_file_read(&out, path, snapshots.objects));
    unlink(path);
}
END_TEST

/* Neither the file nor git has a leaf: nothing can be said of it, and nothing written. */
START_TEST(test_snapshot_file__a_lost_leaf_is_never_written)
{
    struct snapshot *made = mailbox_of(250);
    struct snapshot *read;
    struct snapshot_builder *builder;
    g_autoptr(GByteArray) contents = NULL;
    g_autofree char *empty = fixture_path(snapshots.directory, "empty.git");
    struct objects *objects;
    struct object_batch *batch;
    struct store_error error;
    struct object_id root;
    struct message message;

    fixture_make_repository(empty);
    ck_assert_int_eq(objects_open(&objects, empty, host_system(), &error), 0);
    ck_assert(snapshot_file_save(path, made));
    contents = get_contents();
    contents->data[contents->len - 1] ^= 1;
    put_contents(contents->data, contents->len);
    ck_assert(snapshot_file_read(&read, path, objects));
    ck_assert_uint_eq(snapshot_message(read, 0).uid, 1);
    message = snapshot_message(read, 249);
    ck_assert(object_id_is_zero(&message.blob));
    ck_assert(!snapshot_file_save(path, read));
    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    for (int copy = 0; copy < 2; copy++) {
        struct snapshot *out;

        builder = snapshot_builder_new(copy != 0 ? made : read);
        if (copy != 0) {
            snapshot_builder_append(builder, &message);
        } else {
            snapshot_builder_set_flags(builder, 200, MESSAGE_SEEN, 0);
        }
        ck_assert_int_eq(snapshot_builder_write(builder, batch, &out, &root, &error),
                         STORE_CORRUPT);
        snapshot_builder_free(builder);
    }
    object_batch_free(batch);
    snapshot_unref(read);
    snapshot_unref(made);
    objects_close(objects);
}
END_TEST

/* Neither the file nor git has the leaves of a directory; the next one is good. */
START_TEST(test_snapshot_file__a_lost_directory_is_never_written)
{
    struct snapshot *made = mailbox_of(10250);
    struct snapshot *read;
    struct layout_head head;
    g_autoptr(GByteArray) contents = NULL;
    g_autofree char *empty = fixture_path(snapshots.directory, "empty.git");
    struct objects *objects;
    struct store_error error;
    size_t index = 1;

    fixture_make_repository(empty);
    ck_assert_int_eq(objects_open(&objects, empty, host_system(), &error), 0);
    ck_assert(snapshot_file_save(path, made));
    contents = get_contents();
    memcpy(&head, contents->data, sizeof(head));
    contents->data[sizeof(head) + head.properties_length + 2 * sizeof(struct layout_group) +
                   2 * sizeof(struct layout_inner) + 7] ^= 1;
    put_contents(contents->data, contents->len);
    ck_assert(snapshot_file_read(&read, path, objects));
    ck_assert_uint_eq(snapshot_count(read), 10250);
    ck_assert(snapshot_first_unseen(read, &index));
    ck_assert_uint_eq(index, 0);
    for (uint32_t i = 0; i < 10250; i++) {
        struct message message = snapshot_message(read, i);

        ck_assert_uint_eq(message.uid, i + 1);
        ck_assert_int_eq(object_id_is_zero(&message.blob), i < 9999);
    }
    ck_assert(access(path, F_OK) < 0);
    ck_assert(!snapshot_file_save(path, read));
    snapshot_unref(read);
    snapshot_unref(made);
    objects_close(objects);
}
END_TEST

/* The first leaf's entry of the file is not what was written. */
static void damage_first_leaf(void)
{
    g_autoptr(GByteArray) contents = get_contents();
    struct layout_head head;

    memcpy(&head, contents->data, sizeof(head));
    contents->data[sizeof(head) + head.properties_length +
                   head.counts[GROUP_DEPTH - 1] * sizeof(struct layout_group) +
                   (head.counts[0] + head.counts[1]) * sizeof(struct layout_inner) + 7] ^= 1;
    put_contents(contents->data, contents->len);
}

/* The first UID, how many messages, and the first UID of what stands for them. */
static const uint32_t lost_places[][3] = {
    {1, 1, 1},    {1, 99, 1},    {1, 500, 1},    {77, 500, 1},       {100, 300, 100},
    {1, 9999, 1}, {101, 300, 1}, {5000, 250, 1}, {10000, 77, 10000}, {12345, 700, 10000},
};

START_TEST(test_snapshot_file__what_stands_for_lost_messages_is_below_uidnext)
{
    g_autofree char *empty = fixture_path(snapshots.directory, "empty.git");
    const uint32_t *place = lost_places[_i];
    struct snapshot_builder *builder = new_mailbox();
    struct snapshot *made, *read;
    struct objects *objects;
    struct store_error error;
    uint32_t last = 0;

    builder->uid_next = place[0];
    for (uint32_t i = 0; i < place[1]; i++) {
        struct message message = some_message(i);

        snapshot_builder_append(builder, &message);
    }
    made = write_version(builder);
    fixture_make_repository(empty);
    ck_assert_int_eq(objects_open(&objects, empty, host_system(), &error), 0);
    ck_assert(snapshot_file_save(path, made));
    damage_first_leaf();
    ck_assert(snapshot_file_read(&read, path, objects));
    ck_assert_uint_eq(snapshot_message(read, 0).uid, place[2]);
    for (uint32_t i = 0; i < place[1]; i++) {
        struct message message = snapshot_message(read, i);

        ck_assert(object_id_is_zero(&message.blob));
        ck_assert_uint_gt(message.uid, last);
        last = message.uid;
    }
    ck_assert_uint_lt(last, snapshot_uid_next(read));
    snapshot_unref(read);
    snapshot_unref(made);
    objects_close(objects);
}
END_TEST

/* The same where another leaf comes next: the directory is not written with what is left of it. */
START_TEST(test_snapshot_file__nothing_is_added_to_a_lost_directory)
{
    struct snapshot_builder *builder = new_mailbox();
    struct snapshot *made, *read, *out;
    g_autofree char *empty = fixture_path(snapshots.directory, "empty.git");
    struct message message = some_message(1);
    struct objects *objects;
    struct object_batch *batch;
    struct store_error error;
    struct object_id root;

    builder->uid_next = 5000;
    for (uint32_t i = 0; i < 250; i++) {
        snapshot_builder_append(builder, &message);
    }
    made = write_version(builder);
    fixture_make_repository(empty);
    ck_assert_int_eq(objects_open(&objects, empty, host_system(), &error), 0);
    ck_assert(snapshot_file_save(path, made));
    damage_first_leaf();
    ck_assert(snapshot_file_read(&read, path, objects));
    ck_assert_int_eq(object_batch_new(&batch, objects, &error), 0);
    builder = snapshot_builder_new(read);
    /* Made now, or when the message comes. */
    if (_i == 0) {
        snapshot_message(read, 0);
    }
    snapshot_builder_append(builder, &message);
    ck_assert_int_eq(snapshot_builder_write(builder, batch, &out, &root, &error), STORE_CORRUPT);
    snapshot_builder_free(builder);
    /* In another directory there is no harm. */
    builder = snapshot_builder_new(read);
    builder->uid_next = 10000;
    snapshot_builder_append(builder, &message);
    ck_assert_int_eq(snapshot_builder_write(builder, batch, &out, &root, &error), 0);
    snapshot_builder_free(builder);
    snapshot_unref(out);
    object_batch_free(batch);
    snapshot_unref(read);
    snapshot_unref(made);
    objects_close(objects);
}
END_TEST

START_TEST(test_snapshot_file__says_of_which_commit_it_is)
{
    struct snapshot *made = mailbox_of(150);
    struct snapshot_file_status status;
    struct stat stat_of;

    ck_assert(!snapshot_file_status(&status, path));
    ck_assert(snapshot_file_save(path, made));
    ck_assert_int_eq(stat(path, &stat_of), 0);
    ck_assert(snapshot_file_status(&status, path));
    ck_assert(object_id_equal(&status.commit, &made->commit));
    ck_assert_uint_eq(status.length, (uint64_t)stat_of.st_size);
    ck_assert_int_eq(status.time, stat_of.st_mtime);
    ck_assert_uint_eq(stat_of.st_mode & 0777, 0600);
    snapshot_unref(made);
}
END_TEST

START_TEST(test_snapshot_file__cannot_be_saved_where_there_is_no_directory)
{
    struct snapshot *made = mailbox_of(1);
    g_autofree char *nowhere = g_strconcat(path, "/below/file", NULL);

    ck_assert(!snapshot_file_save(nowhere, made));
    snapshot_unref(made);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapshot_file");
    TCase *cases = tcase_create("snapshot_file");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, test_snapshot_file__holds_a_whole_snapshot);
    tcase_add_test(cases, test_snapshot_file__holds_the_last_uids);
    tcase_add_test(cases, test_snapshot_file__is_compared_like_any_other);
    tcase_add_test(cases, test_snapshot_file__makes_leaves_where_they_are_looked_for);
    tcase_add_test(cases, test_snapshot_file__knows_the_first_unseen_message);
    tcase_add_test(cases, test_snapshot_file__keeps_up_with_random_changes);
    tcase_add_test(cases, test_snapshot_file__a_map_outlives_its_file_and_its_snapshot);
    tcase_add_test(cases, test_snapshot_file__a_file_cut_before_it_is_mapped_is_not_looked_at);
    tcase_add_test(cases, test_snapshot_file__other_keywords_make_no_difference);
    tcase_add_test(cases, test_snapshot_file__a_wrong_octet_is_never_believed);
    tcase_add_loop_test(cases, test_snapshot_file__a_wrong_octet_is_never_written, 0, 2);
    tcase_add_test(cases, test_snapshot_file__a_cut_or_longer_file_is_none);
    tcase_add_test(cases, test_snapshot_file__what_is_no_file_is_none);
    tcase_add_test(cases, test_snapshot_file__a_lost_leaf_is_never_written);
    tcase_add_test(cases, test_snapshot_file__a_lost_directory_is_never_written);
    tcase_add_loop_test(cases, test_snapshot_file__what_stands_for_lost_messages_is_below_uidnext,
                        0, G_N_ELEMENTS(lost_places));
    tcase_add_loop_test(cases, test_snapshot_file__nothing_is_added_to_a_lost_directory, 0, 2);
    tcase_add_test(cases, test_snapshot_file__says_of_which_commit_it_is);
    tcase_add_test(cases, test_snapshot_file__cannot_be_saved_where_there_is_no_directory);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
