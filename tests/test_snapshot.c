#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/snapshot_fixture.h"

static size_t count_leaves(struct node *node)
{
    size_t count = node->depth == LEAF_DEPTH;

    for (uint32_t i = 0; node->depth < LEAF_DEPTH && i < node_inner(node)->child_count; i++) {
        count += count_leaves(inner_children(node_inner(node))[i].node);
    }
    return count;
}

/* Leaves that stand in both. */
static size_t count_shared(struct node *a, struct node *b)
{
    size_t count = 0;

    if (a == b) {
        return count_leaves(a);
    }
    for (uint32_t i = 0; a->depth < LEAF_DEPTH && i < node_inner(a)->child_count; i++) {
        struct node *child = inner_children(node_inner(a))[i].node;
        struct node *other = inner_child(node_inner(b), child->number);

        count += other != NULL ? count_shared(child, other) : 0;
    }
    return count;
}

START_TEST(test_snapshot__finds_messages_by_index_and_uid)
{
    struct snapshot *all = mailbox_of(1000);
    struct snapshot_builder *builder = snapshot_builder_new(all);
    struct snapshot *odd;
    size_t index;

    for (uint32_t uid = 2; uid <= 1000; uid += 2) {
        snapshot_builder_remove(builder, uid);
    }
    odd = write_version(builder);
    ck_assert_uint_eq(snapshot_count(odd), 500);
    for (uint32_t uid = 1; uid <= 1000; uid++) {
        ck_assert_uint_eq(snapshot_lower_bound(odd, uid), uid / 2);
        ck_assert(snapshot_find(odd, uid, &index) == (uid % 2 == 1));
    }
    ck_assert_uint_eq(snapshot_lower_bound(odd, 0), 0);
    ck_assert_uint_eq(snapshot_lower_bound(odd, UINT32_MAX), 500);
    for (size_t i = 0; i < 500; i++) {
        ck_assert_uint_eq(snapshot_message(odd, i).uid, 2 * i + 1);
    }
    snapshot_unref(odd);
    snapshot_unref(all);
}
END_TEST

START_TEST(test_snapshot__shares_untouched_leaves)
{
    struct snapshot *before = mailbox_of(1000);
    struct snapshot_builder *builder = snapshot_builder_new(before);
    struct snapshot *after;

    snapshot_builder_set_flags(builder, 555, MESSAGE_FLAGGED, 0);
    after = write_version(builder);
    ck_assert_uint_eq(count_leaves(&after->root->node), 11);
    ck_assert_uint_eq(count_shared(&before->root->node, &after->root->node), 10);
    ck_assert_uint_eq(snapshot_message(before, 554).flags, 554 & MESSAGE_SEEN);
    ck_assert_uint_eq(snapshot_message(after, 554).flags, MESSAGE_FLAGGED);
    ck_assert_uint_eq(snapshot_message(after, 554).modseq, 2);
    snapshot_unref(before);
    snapshot_unref(after);
}
END_TEST

static size_t count_nodes(struct node *node)
{
    size_t count = 1;

    for (uint32_t i = 0; node->depth < LEAF_DEPTH && i < node_inner(node)->child_count; i++) {
        count += count_nodes(inner_children(node_inner(node))[i].node);
    }
    return count;
}

/* Nodes of after that before does not have. */
static size_t count_fresh(struct node *before, struct node *after)
{
    size_t count = 1;

    if (before == after) {
        return 0;
    }
    for (uint32_t i = 0; after->depth < LEAF_DEPTH && i < node_inner(after)->child_count; i++) {
        struct node *child = inner_children(node_inner(after))[i].node;
        struct node *old = before != NULL ? inner_child(node_inner(before), child->number) : NULL;

        count += count_fresh(old, child);
    }
    return count;
}

/* Leaves with a message each, so that the tree is that of a mailbox a hundred times as large. */
static struct snapshot *mailbox_of_leaves(uint32_t count)
{
    struct snapshot_builder *builder = new_mailbox();
    struct message message = some_message(1);

    for (uint32_t i = 0; i < count; i++) {
        builder->uid_next = i * LEAF_MESSAGES + 1;
        snapshot_builder_append(builder, &message);
    }
    return write_version(builder);
}

START_TEST(test_snapshot__a_change_makes_one_path_whatever_the_size)
{
    static const uint32_t leaves[] = {10, 1000, 10000};

    for (size_t i = 0; i < G_N_ELEMENTS(leaves); i++) {
        struct snapshot *before = mailbox_of_leaves(leaves[i]);
        struct message message = some_message(2);

        for (int kind = 0; kind < 3; kind++) {
            struct snapshot_builder *builder = snapshot_builder_new(before);
            struct object_batch *batch;
            struct store_error error;
            struct snapshot *after;
            struct object_id root;

            switch (kind) {
            case 0:
                snapshot_builder_append(builder, &message);
                break;
            case 1:
                snapshot_builder_set_flags(builder, leaves[i] / 2 * LEAF_MESSAGES + 1, 1, 0);
                break;
            default:
                snapshot_builder_remove(builder, leaves[i] / 2 * LEAF_MESSAGES + 1);
                break;
            }
            ck_assert_int_eq(object_batch_new(&batch, snapshots.objects, &error), 0);
            ck_assert_int_eq(snapshot_builder_write(builder, batch, &after, &root, &error), 0);
            /* Trees of 100 entries at most, of 30 octets each, at every depth; an index. */
            ck_assert_uint_le(object_batch_size(batch), 5 * 100 * 30 + 400);
            ck_assert_uint_eq(count_fresh(&before->root->node, &after->root->node),
                              kind == 2 ? LEAF_DEPTH : LEAF_DEPTH + 1);
            ck_assert_uint_ge(count_nodes(&after->root->node), leaves[i]);
            object_batch_free(batch);
            snapshot_builder_free(builder);
            snapshot_unref(after);
        }
        snapshot_unref(before);
    }
}
END_TEST

START_TEST(test_snapshot__loads_what_was_written)
{
    struct snapshot *first = mailbox_of(2345);
    struct snapshot *loaded = load(first, NULL);
    struct snapshot_builder *builder = snapshot_builder_new(first);
    struct snapshot *second, *again;
    struct store_error error;
    size_t index;

    assert_equal(first, loaded);
    snapshot_unref(loaded);
    for (uint32_t uid = 1000; uid < 1200; uid++) {
        snapshot_builder_remove(builder, uid);
    }
    ck_assert_int_eq(snapshot_builder_keyword(builder, "$Junk", &index, &error), 0);
    snapshot_builder_set_flags(builder, 7, MESSAGE_SEEN, UINT64_C(1) << index);
    second = write_version(builder);
    loaded = load(second, NULL);
    assert_equal(second, loaded);
    again = load(second, first);
    assert_equal(second, again);
    ck_assert_uint_eq(count_shared(&first->root->node, &again->root->node),
                      count_leaves(&again->root->node) - 1);
    snapshot_unref(again);
    snapshot_unref(loaded);
    snapshot_unref(second);
    snapshot_unref(first);
}
END_TEST

START_TEST(test_snapshot__an_emptied_mailbox_has_no_trees)
{
    struct snapshot *first = mailbox_of(150);
    struct snapshot_builder *builder = snapshot_builder_new(first);
    struct snapshot *empty, *loaded;

    for (uint32_t uid = 1; uid <= 150; uid++) {
        snapshot_builder_remove(builder, uid);
    }
    empty = write_version(builder);
    ck_assert_uint_eq(snapshot_count(empty), 0);
    ck_assert_uint_eq(empty->root->child_count, 0);
    ck_assert_uint_eq(snapshot_uid_next(empty), 151);
    loaded = load(empty, first);
    assert_equal(empty, loaded);
    snapshot_unref(loaded);
    snapshot_unref(empty);
    snapshot_unref(first);
}
END_TEST

START_TEST(test_snapshot__uids_reach_the_last_one)
{
    struct snapshot_builder *builder = new_mailbox();
    struct snapshot *snapshot, *loaded;
    struct message message = some_message(1);

    builder->uid_next = MESSAGE_UID_MAX - 150;
    ck_assert_uint_eq(snapshot_builder_room(builder), 151);
    while (snapshot_builder_room(builder) > 0) {
        snapshot_builder_append(builder, &message);
    }
    snapshot = write_version(builder);
    ck_assert_uint_eq(snapshot_uid_next(snapshot), UINT32_MAX);
    ck_assert_uint_eq(snapshot_message(snapshot, 150).uid, UINT32_MAX - 1);
    loaded = load(snapshot, NULL);
    assert_equal(snapshot, loaded);
    snapshot_unref(loaded);
    snapshot_unref(snapshot);
}
END_TEST

START_TEST(test_snapshot__crosses_every_level_of_directories)
{
    static const uint32_t starts[] = {99, 9999, 999999, 99999999, 3999999999};

    for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
        struct snapshot_builder *builder = new_mailbox();
        struct snapshot *snapshot, *loaded;
        struct message message = some_message(1);

        builder->uid_next = starts[i];
        snapshot_builder_append(builder, &message);
        snapshot_builder_append(builder, &message);
        snapshot = write_version(builder);
        ck_assert_uint_eq(count_leaves(&snapshot->root->node), 2);
        loaded = load(snapshot, NULL);
        assert_equal(snapshot, loaded);
        snapshot_unref(loaded);
        builder = snapshot_builder_new(snapshot);
        snapshot_builder_remove(builder, starts[i]);
        snapshot_unref(snapshot);
        snapshot = write_version(builder);
        loaded = load(snapshot, NULL);
        assert_equal(snapshot, loaded);
        snapshot_unref(loaded);
        snapshot_unref(snapshot);
    }
}
END_TEST

START_TEST(test_snapshot__limits_keywords)
{
    struct snapshot_builder *builder = new_mailbox();
    struct store_error error;
    size_t index;

    for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        g_autofree char *keyword = g_strdup_printf("Key%d", i);

        ck_assert_int_eq(snapshot_builder_keyword(builder, keyword, &index, &error), 0);
        ck_assert_uint_eq(index, (size_t)i);
    }
    ck_assert_int_eq(snapshot_builder_keyword(builder, "kEY7", &index, &error), 0);
    ck_assert_uint_eq(index, 7);
    ck_assert_int_eq(snapshot_builder_keyword(builder, "Key64", &index, &error), STORE_LIMIT);
    ck_assert_int_eq(snapshot_builder_keyword(builder, "not one", &index, &error),
                     STORE_BAD_MESSAGE);
    snapshot_builder_free(builder);
}
END_TEST

/* --- differences, against a plain model --- */

static void check_difference(const struct snapshot *before, const struct snapshot *after)
{
    struct snapshot_changes changes;
    size_t expunged = 0, changed = 0, added = 0, index;

    snapshot_compare(&changes, before, after);
    for (size_t i = 0; i < snapshot_count(before); i++) {
        if (!snapshot_find(after, snapshot_message(before, i).uid, &index)) {
            ck_assert_uint_lt(expunged, changes.expunged->len);
            ck_assert_uint_eq(g_array_index(changes.expunged, uint32_t, expunged++),
                              snapshot_message(before, i).uid);
        }
    }
    for (size_t i = 0; i < snapshot_count(after); i++) {
        struct message message = snapshot_message(after, i);

        if (!snapshot_find(before, message.uid, &index)) {
            added++;
            ck_assert_uint_ge(i, snapshot_count(after) - changes.added);
        } else if (snapshot_message(before, index).modseq != message.modseq) {
            ck_assert_uint_lt(changed, changes.changed->len);
            ck_assert_uint_eq(g_array_index(changes.changed, size_t, changed++), i);
        }
    }
    ck_assert_uint_eq(changes.expunged->len, expunged);
    ck_assert_uint_eq(changes.changed->len, changed);
    ck_assert_uint_eq(changes.added, added);
    snapshot_changes_release(&changes);
}

/* The kept view has newest's messages and those of told, nothing else, in order; telling of the
 * expunges later leads to newest. */
static void check_kept(const struct snapshot *told, const struct snapshot *newest)
{
    struct snapshot *kept = snapshot_keep_expunged(told, newest);
    struct snapshot_changes to_kept, to_newest, all;
    size_t index;

    snapshot_compare(&to_kept, told, kept);
    snapshot_compare(&to_newest, kept, newest);
    snapshot_compare(&all, told, newest);
    ck_assert_uint_eq(to_kept.expunged->len, 0);
    ck_assert_uint_eq(to_kept.added, all.added);
    ck_assert_uint_eq(to_kept.changed->len, all.changed->len);
    ck_assert_uint_eq(to_newest.added, 0);
    ck_assert_uint_eq(to_newest.changed->len, 0);
    ck_assert_uint_eq(to_newest.expunged->len, all.expunged->len);
    ck_assert(all.expunged->len > 0 || kept == newest);
    for (size_t i = 0; i < snapshot_count(told); i++) {
        ck_assert(snapshot_find(kept, snapshot_message(told, i).uid, &index));
    }
    for (size_t i = 1; i < snapshot_count(kept); i++) {
        ck_assert_uint_lt(snapshot_message(kept, i - 1).uid, snapshot_message(kept, i).uid);
    }
    ck_assert_uint_eq(kept->uid_next, newest->uid_next);
    snapshot_changes_release(&to_kept);
    snapshot_changes_release(&to_newest);
    snapshot_changes_release(&all);
    snapshot_unref(kept);
}

START_TEST(test_snapshot__compares_as_a_plain_search_does)
{
    enum { VERSIONS = 60 };
    struct snapshot *versions[VERSIONS];
    unsigned seed = 7;

    versions[0] = mailbox_of(350);
    for (int i = 1; i < VERSIONS; i++) {
        struct snapshot_builder *builder = snapshot_builder_new(versions[i - 1]);

        random_change(builder, &seed);
        versions[i] = write_version(builder);
    }
    for (int i = 0; i < VERSIONS; i++) {
        for (int k = i; k < VERSIONS; k += 1 + k % 5) {
            check_difference(versions[i], versions[k]);
            check_kept(versions[i], versions[k]);
        }
    }
    for (int i = 0; i < VERSIONS; i++) {
        snapshot_unref(versions[i]);
    }
}
END_TEST

START_TEST(test_snapshot__knows_its_first_unseen)
{
    struct snapshot_builder *builder = new_mailbox();
    struct message seen = some_message(0);
    struct message unseen = seen;
    struct snapshot *snapshot;
    size_t index;

    seen.flags = MESSAGE_SEEN;
    unseen.flags = 0;
    for (int i = 0; i < 250; i++) {
        snapshot_builder_append(builder, i == 233 || i == 240 ? &unseen : &seen);
    }
    snapshot = write_version(builder);
    ck_assert_uint_eq(snapshot_unseen(snapshot), 2);
    ck_assert(snapshot_first_unseen(snapshot, &index));
    ck_assert_uint_eq(index, 233);
    builder = snapshot_builder_new(snapshot);
    snapshot_unref(snapshot);
    snapshot_builder_set_flags(builder, 234, MESSAGE_SEEN, 0);
    snapshot_builder_set_flags(builder, 241, MESSAGE_SEEN, 0);
    snapshot = write_version(builder);
    ck_assert(!snapshot_first_unseen(snapshot, &index));
    snapshot_unref(snapshot);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapshot");
    TCase *cases = tcase_create("snapshot");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, snapshot_set_up, snapshot_tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_snapshot__finds_messages_by_index_and_uid);
    tcase_add_test(cases, test_snapshot__shares_untouched_leaves);
    tcase_add_test(cases, test_snapshot__a_change_makes_one_path_whatever_the_size);
    tcase_add_test(cases, test_snapshot__loads_what_was_written);
    tcase_add_test(cases, test_snapshot__an_emptied_mailbox_has_no_trees);
    tcase_add_test(cases, test_snapshot__uids_reach_the_last_one);
    tcase_add_test(cases, test_snapshot__crosses_every_level_of_directories);
    tcase_add_test(cases, test_snapshot__limits_keywords);
    tcase_add_test(cases, test_snapshot__compares_as_a_plain_search_does);
    tcase_add_test(cases, test_snapshot__knows_its_first_unseen);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
