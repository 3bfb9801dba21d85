#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/index_file.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

static void reopen(void)
{
    mailbox_unref(inbox);
    mail_fixture_reopen(&fixture);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void assert_octets(const struct mailbox *mailbox, uint32_t uid, const void *data,
                          size_t length)
{
    struct message_bytes bytes;
    struct store_error error;
    struct message message = message_of(mailbox, uid);

    ck_assert_uint_eq(message.uid, uid);
    ck_assert_uint_eq(message.size, length);
    ck_assert_int_eq(mailbox_read(inbox, &message.blob, &bytes, &error), 0);
    ck_assert_uint_eq(bytes.length, length);
    ck_assert_int_eq(memcmp(bytes.data, data, length), 0);
    message_bytes_release(&bytes);
}

/* --- reading --- */

enum { LARGE = 900 * 1000 };

/* Octets that git compresses a little. */
static uint8_t *large_message(void)
{
    uint8_t *message = malloc(LARGE);
    uint32_t state = 3;

    for (size_t i = 0; i < LARGE; i++) {
        state = state * 1103515245 + 12345;
        message[i] = (uint8_t)('0' + (state >> 16) % 40);
    }
    return message;
}

static struct message_stream *open_stream(uint32_t uid)
{
    struct message message = message_of(inbox, uid);
    struct message_stream *stream;
    struct store_error error;

    ck_assert_int_eq(mailbox_open_message(inbox, &message.blob, &stream, &error), 0);
    return stream;
}

/* Reads pieces of at most step octets until the end or a failure. */
static int read_in_pieces(struct message_stream *stream, const uint8_t *message, size_t step)
{
    struct store_error error;

    for (uint64_t at = 0; at < LARGE;) {
        GBytes *piece;
        gsize size;
        int rc = message_stream_read(stream, at, step, &piece, &error);

        if (rc < 0) {
            return rc;
        }
        const void *data = g_bytes_get_data(piece, &size);
        ck_assert_uint_ge(size, 1);
        ck_assert_uint_le(size, step);
        ck_assert_int_eq(memcmp(data, message + at, size), 0);
        g_bytes_unref(piece);
        at += size;
    }
    return 0;
}

static void check_gather(struct message_stream *stream, const uint8_t *message)
{
    uint32_t state = 11;

    for (unsigned i = 0; i < 30; i++) {
        state = state * 1103515245 + 12345;
        uint64_t offset = (state >> 4) % LARGE;
        uint64_t length = (state >> 7) % (LARGE - offset + 1);
        struct store_error error;
        GBytes *all;
        gsize size;

        ck_assert_int_eq(message_stream_gather(stream, offset, length, &all, &error), 0);
        const void *data = g_bytes_get_data(all, &size);
        ck_assert_uint_eq(size, length);
        ck_assert(length == 0 || memcmp(data, message + offset, length) == 0);
        g_bytes_unref(all);
    }
}

/* _i: 0 stored, 1 compressed by git */
START_TEST(test_mailbox__reads_a_large_message_in_pieces)
{
    uint8_t *message = large_message();
    uint32_t uid;
    struct store_error error;

    ck_assert_int_eq(try_append(&fixture, inbox, message, LARGE, MESSAGE_SEEN, NULL, &uid, &error),
                     0);
    if (_i > 0) {
        const char *path = account_path(fixture.account);

        ck_assert(GIT(path, "-c", "pack.compression=9", "repack", "-q", "-a", "-d", "-F"));
    }
    reopen();
    struct message_stream *stream = open_stream(uid);
    ck_assert_uint_eq(message_stream_length(stream), LARGE);
    ck_assert_int_eq(read_in_pieces(stream, message, 65536), 0);
    ck_assert_int_eq(read_in_pieces(stream, message, 7001), 0);
    check_gather(stream, message);
    struct message_stream *same = message_stream_ref(stream);
    message_stream_unref(stream);
    ck_assert_int_eq(read_in_pieces(same, message, 1000000), 0);
    message_stream_unref(same);
    free(message);
}
END_TEST

/* Changes an octet in the middle of each pack of more than half a megabyte. */
static void damage_packs(void)
{
    g_autofree char *directory = g_strconcat(account_path(fixture.account), "/objects/pack", NULL);
    GDir *dir = g_dir_open(directory, 0, NULL);
    unsigned damaged = 0;

    ck_assert_ptr_nonnull(dir);
    for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        g_autofree char *data = NULL;
        gsize length = 0;

        if (!g_str_has_suffix(name, ".pack") || !g_file_get_contents(path, &data, &length, NULL) ||
            length < 500000) {
            continue;
        }
        data[length / 2] ^= 1;
        ck_assert(g_file_set_contents(path, data, (gssize)length, NULL));
        damaged++;
    }
    g_dir_close(dir);
    ck_assert_uint_ge(damaged, 1);
}

START_TEST(test_mailbox__never_reads_a_damaged_message_to_its_end)
{
    uint8_t *message = large_message();
    uint32_t uid;
    struct store_error error;

    ck_assert_int_eq(try_append(&fixture, inbox, message, LARGE, MESSAGE_SEEN, NULL, &uid, &error),
                     0);
    if (_i == 1) {
        const char *path = account_path(fixture.account);

        ck_assert(GIT(path, "-c", "pack.compression=9", "repack", "-q", "-a", "-d", "-F"));
    }
    damage_packs();
    reopen();
    struct message_stream *stream = open_stream(uid);
    for (uint64_t at = 0; at < LARGE;) {
        GBytes *piece;
        int rc = message_stream_read(stream, at, 65536, &piece, &error);

        if (rc < 0) {
            ck_assert_int_eq(rc, STORE_CORRUPT);
            break;
        }
        at += g_bytes_get_size(piece);
        g_bytes_unref(piece);
        ck_assert_uint_lt(at, LARGE);
    }
    message_stream_unref(stream);
    damage_packs(); /* and so they are as they were */
    free(message);
}
END_TEST

/* --- append --- */

START_TEST(test_mailbox__keeps_octets_exactly)
{
    static const char *const messages[] = {
        "",
        "Subject: a\r\n\r\nbody\r\n",
        "Subject: a\n\nbare line feeds\n",
        "Subject: a\r\rbare carriage returns\r",
        "no final newline",
        "8 bit: \377\376\303\251\200",
        "\r\n",
    };
    struct store_error error;
    uint32_t uid;

    for (int again = 0; again < 2; again++) {
        for (uint32_t i = 0; i < G_N_ELEMENTS(messages); i++) {
            size_t length = strlen(messages[i]);

            if (again == 0) {
                ck_assert_int_eq(
                    try_append(&fixture, inbox, messages[i], length, 0, NULL, &uid, &error), 0);
                ck_assert_uint_eq(uid, i + 1);
            }
            assert_octets(inbox, i + 1, messages[i], length);
        }
        reopen();
    }
}
END_TEST

START_TEST(test_mailbox__keeps_fifty_megabytes)
{
    size_t length = 50 * 1024 * 1024 + 7;
    uint8_t *data = g_malloc(length);
    struct store_error error;
    uint32_t uid;
    uint64_t x = 1;

    for (size_t i = 0; i < length; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        data[i] = (uint8_t)(x >> 56 == 0 ? 1 : x >> 56);
    }
    ck_assert_int_eq(try_append(&fixture, inbox, data, length, 0, NULL, &uid, &error), 0);
    assert_octets(inbox, uid, data, length);
    reopen();
    assert_octets(inbox, uid, data, length);
    g_free(data);
}
END_TEST

START_TEST(test_mailbox__takes_nul_only_in_binary)
{
    static const char message[] = "Subject: a\r\n\r\nx\0y";
    struct spool *spool = spool_of(fixture.account, message, sizeof(message) - 1);
    struct append append = {.spool = spool};
    struct store_error error;
    uint32_t uid;

    ck_assert_int_eq(mailbox_append(inbox, &append, 1, &fixture.origin, &uid, &error),
                     STORE_BAD_MESSAGE);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 0);
    append.binary = true;
    ck_assert_int_eq(mailbox_append(inbox, &append, 1, &fixture.origin, &uid, &error), 0);
    assert_octets(inbox, uid, message, sizeof(message) - 1);
    spool_free(spool);
}
END_TEST

START_TEST(test_mailbox__keeps_flags_keywords_and_date)
{
    struct store_error error;
    uint32_t uid;
    struct message message;
    size_t keyword;

    ck_assert_int_eq(
        try_append(&fixture, inbox, "x", 1, MESSAGE_SEEN | MESSAGE_DRAFT, "$MDNSent", &uid, &error),
        0);
    for (int again = 0; again < 2; again++) {
        message = message_of(inbox, uid);
        ck_assert_uint_eq(message.flags, MESSAGE_SEEN | MESSAGE_DRAFT);
        ck_assert(snapshot_keyword_find(mailbox_snapshot(inbox), "$mdnsent", &keyword));
        ck_assert_uint_eq(message.keywords, UINT64_C(1) << keyword);
        ck_assert_int_eq(message.internal_date, 1794906000);
        ck_assert_int_eq(message.zone, 60);
        ck_assert_uint_eq(message.modseq, 2);
        reopen();
    }
}
END_TEST

START_TEST(test_mailbox__appends_many_at_once_or_none)
{
    struct append appends[3] = {0};
    struct store_error error;
    uint32_t first = 99;
    g_autofree char *count = NULL;

    append_many(&fixture, inbox, 300);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 300);
    ck_assert_uint_eq(snapshot_highest_modseq(mailbox_snapshot(inbox)), 2);
    for (size_t i = 0; i < 3; i++) {
        appends[i].spool = spool_of(fixture.account, i == 2 ? "\0" : "x", 1);
    }
    ck_assert_int_eq(mailbox_append(inbox, appends, 3, &fixture.origin, &first, &error),
                     STORE_BAD_MESSAGE);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 300);
    ck_assert_uint_eq(first, 99);
    appends[2].internal_date = INT64_MAX;
    appends[2].binary = true;
    ck_assert_int_eq(mailbox_append(inbox, appends, 3, &fixture.origin, &first, &error),
                     STORE_BAD_MESSAGE);
    appends[2].internal_date = 0;
    ck_assert_int_eq(mailbox_append(inbox, appends, 3, &fixture.origin, &first, &error), 0);
    ck_assert_uint_eq(first, 301);
    ck_assert_int_eq(mailbox_append(inbox, appends, 0, &fixture.origin, &first, &error),
                     STORE_LIMIT);
    ck_assert_int_eq(
        mailbox_append(inbox, appends, STORE_APPEND_MAX + 1, &fixture.origin, &first, &error),
        STORE_LIMIT);
    for (size_t i = 0; i < 3; i++) {
        spool_free(appends[i].spool);
    }
    count = GIT_OUTPUT(fixture.path, "rev-list", "--count", "INBOX");
    ck_assert_str_eq(count, "3\n");
}
END_TEST

START_TEST(test_mailbox__equal_messages_share_one_blob_but_no_flags)
{
    uint32_t a = append_text(&fixture, inbox, "same");
    uint32_t b = append_text(&fixture, inbox, "same");

    ck_assert_uint_ne(a, b);
    struct message first = message_of(inbox, a), second = message_of(inbox, b);

    ck_assert(object_id_equal(&first.blob, &second.blob));
    ck_assert_int_eq(flag(&fixture, inbox, a, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    ck_assert_uint_eq(message_of(inbox, a).flags, MESSAGE_SEEN);
    ck_assert_uint_eq(message_of(inbox, b).flags, 0);
}
END_TEST

/* --- flags --- */

START_TEST(test_mailbox__changes_flags_in_three_ways)
{
    static const struct {
        enum flag_mode mode;
        uint8_t flags;
        const char *keyword;
        uint8_t result;
        bool has_a, has_b;
    } steps[] = {
        {FLAG_MODE_ADD, MESSAGE_SEEN, "a", MESSAGE_SEEN, true, false},
        {FLAG_MODE_ADD, MESSAGE_FLAGGED, "b", MESSAGE_SEEN | MESSAGE_FLAGGED, true, true},
        {FLAG_MODE_REMOVE, MESSAGE_SEEN, "A", MESSAGE_FLAGGED, false, true},
        {FLAG_MODE_REMOVE, 0, "unknown", MESSAGE_FLAGGED, false, true},
        {FLAG_MODE_REPLACE, MESSAGE_ANSWERED, "a", MESSAGE_ANSWERED, true, false},
        {FLAG_MODE_REPLACE, 0, NULL, 0, false, false},
    };
    uint32_t uid = append_text(&fixture, inbox, "x");

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        struct message message;
        size_t a = 0, b = 0;
        bool knows_b;

        ck_assert_int_eq(
            flag(&fixture, inbox, uid, steps[i].mode, steps[i].flags, steps[i].keyword), 0);
        reopen();
        message = message_of(inbox, uid);
        ck_assert_uint_eq(message.flags, steps[i].result);
        ck_assert(snapshot_keyword_find(mailbox_snapshot(inbox), "a", &a));
        knows_b = snapshot_keyword_find(mailbox_snapshot(inbox), "b", &b);
        ck_assert(((message.keywords >> a & 1) != 0) == steps[i].has_a);
        ck_assert((knows_b && (message.keywords >> b & 1) != 0) == steps[i].has_b);
    }
    ck_assert_uint_eq(snapshot_keyword_count(mailbox_snapshot(inbox)), 2);
}
END_TEST

START_TEST(test_mailbox__makes_no_commit_for_no_change)
{
    uint32_t uid = append_text(&fixture, inbox, "x");
    struct object_id before;
    struct store_error error;
    uint32_t missing = 77;

    ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    before = *snapshot_commit(mailbox_snapshot(inbox));
    ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    ck_assert_int_eq(flag(&fixture, inbox, missing, FLAG_MODE_ADD, MESSAGE_SEEN, "new"), 0);
    ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_REMOVE, MESSAGE_DRAFT, "new"), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, missing), 0);
    ck_assert_int_eq(mailbox_expunge(inbox, &uid, 1, true, &fixture.origin, &error), 0);
    ck_assert(object_id_equal(&before, snapshot_commit(mailbox_snapshot(inbox))));
    ck_assert_uint_eq(snapshot_keyword_count(mailbox_snapshot(inbox)), 0);
}
END_TEST

START_TEST(test_mailbox__leaves_alone_what_changed_since)
{
    uint32_t uids[] = {1, 2, 3, 4};
    struct flag_change change = {FLAG_MODE_ADD, MESSAGE_FLAGGED, NULL, 2};
    struct store_error error;
    GArray *unchanged = NULL;

    append_many(&fixture, inbox, 3); /* MODSEQ 2 */
    ck_assert_int_eq(flag(&fixture, inbox, 2, FLAG_MODE_ADD, MESSAGE_SEEN, NULL), 0);
    ck_assert_int_eq(
        mailbox_store_flags(inbox, uids, 4, &change, &fixture.origin, &unchanged, &error), 0);
    ck_assert_uint_eq(unchanged->len, 1);
    ck_assert_uint_eq(g_array_index(unchanged, uint32_t, 0), 2);
    g_array_unref(unchanged);
    ck_assert_uint_eq(message_of(inbox, 1).flags, MESSAGE_FLAGGED);
    ck_assert_uint_eq(message_of(inbox, 2).flags, MESSAGE_SEEN);
    ck_assert_uint_eq(message_of(inbox, 2).modseq, 3);
    ck_assert_uint_eq(message_of(inbox, 3).modseq, 4);
    change.unchanged_since = 0;
    ck_assert_int_eq(
        mailbox_store_flags(inbox, uids, 4, &change, &fixture.origin, &unchanged, &error), 0);
    ck_assert_uint_eq(unchanged->len, 3);
    g_array_unref(unchanged);
}
END_TEST

START_TEST(test_mailbox__limits_keywords_before_anything_changes)
{
    uint32_t uid = append_text(&fixture, inbox, "x");
    const char *keywords[MAILBOX_KEYWORDS_MAX + 2] = {0};
    struct flag_change change = {FLAG_MODE_ADD, MESSAGE_SEEN, keywords, UINT64_MAX};
    struct store_error error;
    g_autofree char *long_keyword = g_strnfill(KEYWORD_LENGTH_MAX + 1, 'k');

    for (int i = 0; i <= MAILBOX_KEYWORDS_MAX; i++) {
        keywords[i] = g_strdup_printf("k%d", i);
    }
    ck_assert_int_eq(mailbox_store_flags(inbox, &uid, 1, &change, &fixture.origin, NULL, &error),
                     STORE_LIMIT);
    ck_assert_uint_eq(message_of(inbox, uid).flags, 0);
    ck_assert_uint_eq(snapshot_keyword_count(mailbox_snapshot(inbox)), 0);
    ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_ADD, 0, long_keyword), STORE_LIMIT);
    ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_ADD, 0, "a b"), STORE_BAD_MESSAGE);
    g_free((char *)(uintptr_t)keywords[MAILBOX_KEYWORDS_MAX]);
    keywords[MAILBOX_KEYWORDS_MAX] = NULL;
    ck_assert_int_eq(mailbox_store_flags(inbox, &uid, 1, &change, &fixture.origin, NULL, &error),
                     0);
    ck_assert_uint_eq(message_of(inbox, uid).keywords, UINT64_MAX);
    reopen();
    ck_assert_uint_eq(message_of(inbox, uid).keywords, UINT64_MAX);
    for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        g_free((char *)(uintptr_t)keywords[i]);
    }
}
END_TEST

/* --- expunge --- */

START_TEST(test_mailbox__expunges_and_never_reuses_a_uid)
{
    uint32_t uids[] = {1, 2, 3, 9};
    struct store_error error;
    uint64_t modseq;

    append_many(&fixture, inbox, 3);
    ck_assert_int_eq(flag(&fixture, inbox, 3, FLAG_MODE_ADD, MESSAGE_DELETED, NULL), 0);
    modseq = snapshot_highest_modseq(mailbox_snapshot(inbox));
    ck_assert_int_eq(mailbox_expunge(inbox, uids, 4, true, &fixture.origin, &error), 0);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2);
    ck_assert(!has_message(inbox, 3));
    ck_assert_uint_gt(snapshot_highest_modseq(mailbox_snapshot(inbox)), modseq);
    reopen();
    ck_assert_int_eq(mailbox_expunge(inbox, uids, 4, false, &fixture.origin, &error), 0);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 0);
    ck_assert_uint_eq(append_text(&fixture, inbox, "x"), 4);
    reopen();
    ck_assert_uint_eq(append_text(&fixture, inbox, "y"), 5);
}
END_TEST

START_TEST(test_mailbox__serves_an_old_snapshot_after_an_expunge)
{
    uint32_t uid = append_text(&fixture, inbox, "keep me");
    struct snapshot *told = snapshot_ref(mailbox_snapshot(inbox));
    struct message message = snapshot_message(told, 0);
    struct message_bytes bytes;
    struct store_error error;

    ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
    ck_assert_uint_eq(snapshot_count(told), 1);
    ck_assert_int_eq(mailbox_read(inbox, &message.blob, &bytes, &error), 0);
    ck_assert_uint_eq(bytes.length, 7);
    message_bytes_release(&bytes);
    snapshot_unref(told);
}
END_TEST

/* --- copy and move --- */

START_TEST(test_mailbox__a_copy_outlives_its_original)
{
    struct mailbox *archive = open_mailbox(&fixture, "Archive");
    struct store_error error;
    struct uid_pairs pairs;
    uint32_t uid, wanted[2];
    size_t index;

    /* The keyword is another bit there. */
    ck_assert_int_eq(try_append(&fixture, archive, "already there", 13, 0, "$Other", &uid, &error),
                     0);
    ck_assert_int_eq(
        try_append(&fixture, inbox, "octets", 6, MESSAGE_FLAGGED, "$Work", &uid, &error), 0);
    wanted[0] = uid;
    wanted[1] = 999;
    ck_assert_int_eq(mailbox_copy(inbox, wanted, 2, archive, &fixture.origin, &pairs, &error), 0);
    ck_assert_uint_eq(pairs.from->len, 1);
    ck_assert_uint_eq(g_array_index(pairs.from, uint32_t, 0), uid);
    ck_assert_uint_eq(g_array_index(pairs.to, uint32_t, 0), 2);
    uid_pairs_release(&pairs);
    ck_assert_int_eq(flag(&fixture, inbox, uid, FLAG_MODE_REPLACE, MESSAGE_SEEN, NULL), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, uid), 0);
    mailbox_unref(archive);
    reopen();
    archive = open_mailbox(&fixture, "Archive");
    ck_assert_uint_eq(message_of(archive, 2).flags, MESSAGE_FLAGGED);
    ck_assert(snapshot_keyword_find(mailbox_snapshot(archive), "$Work", &index));
    ck_assert_uint_eq(message_of(archive, 2).keywords, UINT64_C(1) << index);
    ck_assert_int_eq(message_of(archive, 2).internal_date, 1794906000);
    ck_assert_int_eq(message_of(archive, 2).zone, 60);
    assert_octets(archive, 2, "octets", 6);
    mailbox_unref(archive);
}
END_TEST

START_TEST(test_mailbox__copies_within_itself)
{
    struct store_error error;
    struct uid_pairs pairs;
    uint32_t uids[] = {1, 2};

    append_many(&fixture, inbox, 2);
    ck_assert_int_eq(mailbox_copy(inbox, uids, 2, inbox, &fixture.origin, &pairs, &error), 0);
    ck_assert_uint_eq(g_array_index(pairs.to, uint32_t, 1), 4);
    uid_pairs_release(&pairs);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 4);
    ck_assert_int_eq(mailbox_move(inbox, uids, 2, inbox, &fixture.origin, &pairs, &error), 0);
    ck_assert_uint_eq(g_array_index(pairs.to, uint32_t, 0), 5);
    uid_pairs_release(&pairs);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 4);
    ck_assert(!has_message(inbox, 1));
    ck_assert(has_message(inbox, 6));
}
END_TEST

START_TEST(test_mailbox__moves_in_one_step)
{
    struct mailbox *trash = open_mailbox(&fixture, "Trash");
    struct store_error error;
    struct uid_pairs pairs;
    uint32_t uids[] = {2, 3, 50};
    g_autofree char *log = NULL;

    append_many(&fixture, inbox, 4);
    ck_assert_int_eq(mailbox_move(inbox, uids, 3, trash, &fixture.origin, &pairs, &error), 0);
    ck_assert_uint_eq(pairs.from->len, 2);
    uid_pairs_release(&pairs);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 2);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(trash)), 2);
    ck_assert_int_eq(mailbox_move(inbox, uids, 3, trash, &fixture.origin, &pairs, &error), 0);
    ck_assert_uint_eq(pairs.from->len, 0);
    uid_pairs_release(&pairs);
    log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "-1", "Trash");
    ck_assert_str_eq(log, "MOVE uid 1:2 from INBOX\n");
    g_free(log);
    log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "-1", "INBOX");
    ck_assert_str_eq(log, "MOVE uid 2:3 to Trash\n");
    mailbox_unref(trash);
}
END_TEST

START_TEST(test_mailbox__a_copy_over_the_keyword_limit_changes_nothing)
{
    struct mailbox *archive = open_mailbox(&fixture, "Archive");
    struct store_error error;
    struct uid_pairs pairs;
    uint32_t uid;

    append_text(&fixture, archive, "x");
    for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        g_autofree char *keyword = g_strdup_printf("k%d", i);

        ck_assert_int_eq(flag(&fixture, archive, 1, FLAG_MODE_ADD, 0, keyword), 0);
    }
    ck_assert_int_eq(try_append(&fixture, inbox, "y", 1, 0, "other", &uid, &error), 0);
    ck_assert_int_eq(mailbox_move(inbox, &uid, 1, archive, &fixture.origin, &pairs, &error),
                     STORE_LIMIT);
    ck_assert_uint_eq(pairs.from->len, 0);
    uid_pairs_release(&pairs);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 1);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(archive)), 1);
    mailbox_unref(archive);
}
END_TEST

/* --- the rest --- */

START_TEST(test_mailbox__shows_a_message_as_recent_once)
{
    struct mailbox *again;

    append_many(&fixture, inbox, 3);
    ck_assert_uint_eq(mailbox_recent_from(inbox), 1);
    ck_assert_uint_eq(mailbox_take_recent(inbox), 1);
    ck_assert_uint_eq(mailbox_recent_from(inbox), 4);
    append_text(&fixture, inbox, "x");
    mailbox_unref(inbox);
    again = open_mailbox(&fixture, "INBOX");
    ck_assert_uint_eq(mailbox_take_recent(again), 4);
    ck_assert_uint_eq(mailbox_take_recent(again), 5);
    inbox = again;
}
END_TEST

START_TEST(test_mailbox__one_object_for_all_opens)
{
    struct mailbox *same = open_mailbox(&fixture, "inbox");

    ck_assert_ptr_eq(same, inbox);
    ck_assert_str_eq(mailbox_name(same), "INBOX");
    mailbox_unref(same);
}
END_TEST

START_TEST(test_mailbox__history_reads_as_it_should)
{
    uint32_t uid;
    struct store_error error;
    g_autofree char *log = NULL;
    g_autofree char *diff = NULL;

    fixture.origin.client = "evil\nUser: root\033[0m";
    append_text(&fixture, inbox, "Subject: Re:\r\n lunch?\r\n\r\nx");
    ck_assert_int_eq(try_append(&fixture, inbox, "no header", 9, MESSAGE_SEEN, "$W", &uid, &error),
                     0);
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_ADD, MESSAGE_SEEN, "$F"), 0);
    ck_assert_int_eq(flag(&fixture, inbox, 1, FLAG_MODE_REPLACE, 0, NULL), 0);
    ck_assert_int_eq(expunge(&fixture, inbox, 2), 0);
    log = GIT_OUTPUT(fixture.path, "log", "--reverse", "--format=%s|%an|%ae|%at", "INBOX");
    ck_assert_str_eq(log, "CREATE mailbox INBOX|alice|alice@localhost|1795000000\n"
                          "APPEND uid 1: Re: lunch?|alice|alice@localhost|1795000000\n"
                          "APPEND uid 2|alice|alice@localhost|1795000000\n"
                          "STORE uid 1 +\\Seen +$F|alice|alice@localhost|1795000000\n"
                          "STORE uid 1 =|alice|alice@localhost|1795000000\n"
                          "EXPUNGE uid 2|alice|alice@localhost|1795000000\n");
    g_free(log);
    log = GIT_OUTPUT(fixture.path, "log", "-1", "--format=%(trailers)", "INBOX");
    ck_assert_str_eq(log,
                     "User: alice\nClient: evil?User: root?[0m\nSession: s1\nCommand: TEST\n\n");
    diff = GIT_OUTPUT(fixture.path, "diff", "--numstat", "INBOX~3", "INBOX~2", "--",
                      "00/00/00/00/index");
    ck_assert_str_eq(diff, "1\t1\t00/00/00/00/index\n");
}
END_TEST

START_TEST(test_mailbox__is_readable_by_stock_git)
{
    g_autofree char *text = NULL;
    g_autofree char *clone = fixture_path(fixture.directory, "clone");

    append_many(&fixture, inbox, 250);
    text = GIT_OUTPUT(fixture.path, "show", "INBOX:00/00/00/02/07");
    ck_assert_str_eq(text, "Subject: 206\r\n\r\nbody\r\n");
    ck_assert(GIT("/", "clone", "-q", "--no-local", fixture.path, clone));
    g_free(text);
    text = GIT_OUTPUT(clone, "rev-parse", "origin/INBOX");
    ck_assert_uint_eq(strlen(text), 41);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mailbox");
    TCase *cases = tcase_create("mailbox");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 100);
    tcase_add_test(cases, test_mailbox__keeps_octets_exactly);
    tcase_add_test(cases, test_mailbox__keeps_fifty_megabytes);
    tcase_add_test(cases, test_mailbox__takes_nul_only_in_binary);
    tcase_add_test(cases, test_mailbox__keeps_flags_keywords_and_date);
    tcase_add_test(cases, test_mailbox__appends_many_at_once_or_none);
    tcase_add_test(cases, test_mailbox__equal_messages_share_one_blob_but_no_flags);
    tcase_add_test(cases, test_mailbox__changes_flags_in_three_ways);
    tcase_add_test(cases, test_mailbox__makes_no_commit_for_no_change);
    tcase_add_test(cases, test_mailbox__leaves_alone_what_changed_since);
    tcase_add_test(cases, test_mailbox__limits_keywords_before_anything_changes);
    tcase_add_test(cases, test_mailbox__expunges_and_never_reuses_a_uid);
    tcase_add_test(cases, test_mailbox__serves_an_old_snapshot_after_an_expunge);
    tcase_add_test(cases, test_mailbox__a_copy_outlives_its_original);
    tcase_add_test(cases, test_mailbox__copies_within_itself);
    tcase_add_test(cases, test_mailbox__moves_in_one_step);
    tcase_add_test(cases, test_mailbox__a_copy_over_the_keyword_limit_changes_nothing);
    tcase_add_test(cases, test_mailbox__shows_a_message_as_recent_once);
    tcase_add_loop_test(cases, test_mailbox__reads_a_large_message_in_pieces, 0, 2);
    tcase_add_loop_test(cases, test_mailbox__never_reads_a_damaged_message_to_its_end, 0, 2);
    tcase_add_test(cases, test_mailbox__one_object_for_all_opens);
    tcase_add_test(cases, test_mailbox__history_reads_as_it_should);
    tcase_add_test(cases, test_mailbox__is_readable_by_stock_git);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
