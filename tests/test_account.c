#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct store_error error;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
}

static void tear_down(void)
{
    mail_fixture_release(&fixture);
}

static int create(const char *name)
{
    return account_create_mailbox(fixture.account, name, SPECIAL_USE_NONE, &fixture.origin, &error);
}

static int remove_mailbox(const char *name)
{
    return account_delete_mailbox(fixture.account, name, &fixture.origin, &error);
}

static int rename_mailbox(const char *from, const char *to)
{
    return account_rename_mailbox(fixture.account, from, to, &fixture.origin, &error);
}

static bool exists(const char *name)
{
    return account_mailbox_exists(fixture.account, name);
}

/* "INBOX Archive\Archive ..." with * for subscribed and ? for absent names. */
static char *listing(void)
{
    g_autoptr(GPtrArray) list = NULL;
    GString *out = g_string_new(NULL);

    ck_assert_int_eq(account_list(fixture.account, &list, &error), 0);
    for (guint i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);

        g_string_append_printf(out, "%s%s%s%s%s", i > 0 ? " " : "", entry->name,
                               special_use_name(entry->special_use), entry->subscribed ? "*" : "",
                               entry->exists ? "" : "?");
    }
    return g_string_free(out, FALSE);
}

static void assert_listing(const char *expected)
{
    g_autofree char *text = listing();

    ck_assert_str_eq(text, expected);
}

#define FIRST "INBOX Archive\\Archive Drafts\\Drafts Junk\\Junk Sent\\Sent Trash\\Trash"

START_TEST(test_store__makes_an_account_with_its_first_mailboxes)
{
    g_autofree char *config = GIT_OUTPUT(fixture.path, "config", "--list", "--local");
    g_autofree char *head = GIT_OUTPUT(fixture.path, "symbolic-ref", "HEAD");
    struct stat status;

    assert_listing(FIRST);
    ck_assert_ptr_nonnull(strstr(config, "receive.denynonfastforwards=true"));
    ck_assert_ptr_nonnull(strstr(config, "receive.denydeletes=true"));
    ck_assert_ptr_nonnull(strstr(config, "gc.auto=0"));
    ck_assert_ptr_nonnull(strstr(config, "core.bare=true"));
    ck_assert_ptr_nonnull(strstr(config, "core.logallrefupdates=false"));
    ck_assert_str_eq(head, "refs/heads/INBOX\n");
    ck_assert_str_eq(account_user(fixture.account), "alice");
    ck_assert_str_eq(account_path(fixture.account), fixture.path);
    ck_assert_int_eq(stat(fixture.path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 077, 0);
}
END_TEST

START_TEST(test_store__refuses_users_twice_missing_or_misnamed)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        ".git",
        "-x",
        "a/b",
        "../alice",
        "a\nb",
        "\377",
        "a\302\233b",     /* C1 */
        "a\342\200\256b", /* right-to-left override */
        "a\342\200\250b", /* line separator */
    };
    struct account *account;
    g_autofree char *longest = g_strnfill(USER_NAME_MAX, 'u');
    g_autofree char *longer = g_strnfill(USER_NAME_MAX + 1, 'u');

    ck_assert_int_eq(store_create_account(fixture.store, "alice", &fixture.origin, &error),
                     STORE_EXISTS);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        ck_assert(!store_user_name_valid(bad[i]));
        ck_assert_int_eq(store_create_account(fixture.store, bad[i], &fixture.origin, &error),
                         STORE_BAD_NAME);
        ck_assert_int_eq(store_open_account(fixture.store, bad[i], &account, &error),
                         STORE_NOT_FOUND);
    }
    ck_assert_int_eq(store_open_account(fixture.store, "bob", &account, &error), STORE_NOT_FOUND);
    ck_assert(store_user_name_valid(longest));
    ck_assert(!store_user_name_valid(longer));
    ck_assert(store_user_name_valid("J\303\274rgen@example.org"));
    ck_assert_int_eq(store_create_account(fixture.store, "J\303\274rgen O'Neil@example.org",
                                          &fixture.origin, &error),
                     0);
    ck_assert_int_eq(
        store_open_account(fixture.store, "J\303\274rgen O'Neil@example.org", &account, &error), 0);
    check_repository(account_path(account));
    account_unref(account);
}
END_TEST

START_TEST(test_store__refuses_a_repository_it_does_not_know)
{
    struct account *account;
    g_autofree char *path = fixture_path(fixture.directory, "mail/sha.git");

    ck_assert(GIT("/", "init", "-q", "--bare", "--object-format=sha256", path));
    ck_assert_int_eq(store_open_account(fixture.store, "sha", &account, &error), STORE_UNSUPPORTED);
}
END_TEST

START_TEST(test_account__creates_mailboxes)
{
    g_autofree char *branches = NULL;
    struct mailbox *mailbox;

    ck_assert_int_eq(create("Sent Items"), 0);
    ck_assert_int_eq(create("A/B/"), 0);
    ck_assert_int_eq(create("A/B"), STORE_EXISTS);
    ck_assert_int_eq(create("inbox"), STORE_EXISTS);
    ck_assert_int_eq(create("Inbox/x"), 0);
    ck_assert_int_eq(create("INBOX/x"), STORE_EXISTS);
    ck_assert_int_eq(account_subscribe(fixture.account, "inbox/x", true, &fixture.origin, &error),
                     0);
    mailbox = open_mailbox(&fixture, "iNBOX/x");
    ck_assert_str_eq(mailbox_name(mailbox), "INBOX/x");
    mailbox_unref(mailbox);
    assert_listing("INBOX INBOX/x* A/B Archive\\Archive Drafts\\Drafts Junk\\Junk Sent\\Sent "
                   "Sent Items Trash\\Trash");
    ck_assert_int_eq(remove_mailbox("inbox/x"), 0);
    ck_assert_int_eq(create(""), STORE_BAD_NAME);
    ck_assert_int_eq(create("a//b"), STORE_BAD_NAME);
    ck_assert_int_eq(create("/a"), STORE_BAD_NAME);
    ck_assert_int_eq(create("a\nb"), STORE_BAD_NAME);
    ck_assert(!exists("A"));
    ck_assert(exists("A/B"));
    ck_assert_int_eq(account_open_mailbox(fixture.account, "A", &mailbox, &error), STORE_NOT_FOUND);
    mailbox = open_mailbox(&fixture, "A/B");
    ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(mailbox)), 1);
    ck_assert_uint_eq(snapshot_highest_modseq(mailbox_snapshot(mailbox)), 1);
    ck_assert_uint_eq(mailbox_recent_from(mailbox), 1);
    mailbox_unref(mailbox);
    branches = GIT_OUTPUT(fixture.path, "branch", "--format=%(refname:short)");
    ck_assert_str_eq(branches, "A.B\nArchive\nDrafts\nINBOX\nJunk\nSent\nSent_Items\nTrash\n");
}
END_TEST

START_TEST(test_account__lists_children_after_their_parents)
{
    ck_assert_int_eq(create("a b"), 0);
    ck_assert_int_eq(create("a/c"), 0);
    ck_assert_int_eq(create("a"), 0);
    ck_assert_int_eq(create("INBOX/x"), 0);
    ck_assert_int_eq(create("ABC"), 0);
    ck_assert_int_eq(account_subscribe(fixture.account, "a/d", true, &fixture.origin, &error), 0);
    ck_assert_int_eq(account_subscribe(fixture.account, "iNbOx", true, &fixture.origin, &error), 0);
    assert_listing("INBOX* INBOX/x ABC Archive\\Archive Drafts\\Drafts Junk\\Junk Sent\\Sent "
                   "Trash\\Trash a a/c a/d*? a b");
}
END_TEST

START_TEST(test_account__counts_versions_of_the_list)
{
    uint64_t version = account_list_version(fixture.account);

    assert_listing(FIRST);
    ck_assert_uint_eq(account_list_version(fixture.account), version);
    ck_assert_int_eq(create("x"), 0);
    ck_assert_uint_gt(account_list_version(fixture.account), version);
    version = account_list_version(fixture.account);
    ck_assert_int_eq(account_subscribe(fixture.account, "x", true, &fixture.origin, &error), 0);
    ck_assert_uint_gt(account_list_version(fixture.account), version);
    version = account_list_version(fixture.account);
    ck_assert_int_eq(account_subscribe(fixture.account, "x", true, &fixture.origin, &error), 0);
    ck_assert_uint_eq(account_list_version(fixture.account), version);
    ck_assert_int_eq(rename_mailbox("x", "y"), 0);
    ck_assert_uint_gt(account_list_version(fixture.account), version);
    version = account_list_version(fixture.account);
    ck_assert_int_eq(remove_mailbox("y"), 0);
    ck_assert_uint_gt(account_list_version(fixture.account), version);
}
END_TEST

START_TEST(test_account__uidvalidity_rises)
{
    uint32_t last = 0;

    for (int i = 0; i < 5; i++) {
        struct mailbox *mailbox;

        ck_assert_int_eq(create("again"), 0);
        mailbox = open_mailbox(&fixture, "again");
        ck_assert_uint_gt(snapshot_uid_validity(mailbox_snapshot(mailbox)), last);
        last = snapshot_uid_validity(mailbox_snapshot(mailbox));
        mailbox_unref(mailbox);
        ck_assert_int_eq(remove_mailbox("again"), 0);
        mail_fixture_reopen(&fixture);
    }
}
END_TEST

/* --- delete --- */

START_TEST(test_account__keeps_what_it_deletes)
{
    struct mailbox *mailbox;
    g_autofree char *refs = NULL;
    g_autofree char *subject = NULL;
    uint32_t uid;

    ck_assert_int_eq(create("a b"), 0);
    mailbox = open_mailbox(&fixture, "a b");
    append_text(&fixture, mailbox, "precious");
    ck_assert_int_eq(remove_mailbox("a b"), 0);
    ck_assert(!exists("a b"));
    ck_assert(mailbox_is_deleted(mailbox));
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(mailbox)), 1);
    ck_assert_int_eq(try_append(&fixture, mailbox, "x", 1, 0, NULL, &uid, &error), STORE_NOT_FOUND);
    ck_assert_int_eq(mailbox_refresh(mailbox, &error), 0);
    mailbox_unref(mailbox);
    refs = GIT_OUTPUT(fixture.path, "for-each-ref", "--format=%(refname)", "refs/deleted");
    ck_assert(g_str_has_prefix(refs, "refs/deleted/a_b/"));
    g_strstrip(refs);
    subject = GIT_OUTPUT(fixture.path, "log", "--format=%s", refs);
    ck_assert_str_eq(subject, "DELETE mailbox a b\nAPPEND uid 1\nCREATE mailbox a b\n");
}
END_TEST

START_TEST(test_account__delete_has_its_rules)
{
    ck_assert_int_eq(create("A/B"), 0);
    ck_assert_int_eq(remove_mailbox("INBOX"), STORE_FORBIDDEN);
    ck_assert_int_eq(remove_mailbox("inbox"), STORE_FORBIDDEN);
    ck_assert_int_eq(remove_mailbox("nothing"), STORE_NOT_FOUND);
    ck_assert_int_eq(remove_mailbox("A"), STORE_HAS_CHILDREN);
    ck_assert_int_eq(create("A"), 0);
    ck_assert_int_eq(account_subscribe(fixture.account, "A", true, &fixture.origin, &error), 0);
    ck_assert_int_eq(remove_mailbox("A"), 0);
    ck_assert(exists("A/B"));
    ck_assert_int_eq(remove_mailbox("Trash"), 0);
    assert_listing("INBOX A*? A/B Archive\\Archive Drafts\\Drafts Junk\\Junk Sent\\Sent");
}
END_TEST

START_TEST(test_account__a_new_mailbox_of_an_old_name_is_another)
{
    struct mailbox *old, *fresh;

    ck_assert_int_eq(create("x"), 0);
    old = open_mailbox(&fixture, "x");
    append_text(&fixture, old, "old");
    ck_assert_int_eq(remove_mailbox("x"), 0);
    ck_assert_int_eq(create("x"), 0);
    fresh = open_mailbox(&fixture, "x");
    ck_assert_ptr_ne(old, fresh);
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(fresh)), 0);
    ck_assert_str_ne(snapshot_mailbox_id(mailbox_snapshot(fresh)),
                     snapshot_mailbox_id(mailbox_snapshot(old)));
    mailbox_unref(old);
    append_text(&fixture, fresh, "new");
    mailbox_unref(fresh);
    fresh = open_mailbox(&fixture, "x");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(fresh)), 1);
    mailbox_unref(fresh);
}
END_TEST

/* --- rename --- */

START_TEST(test_account__renames_with_children_and_history)
{
    struct mailbox *child;
    g_autofree char *log = NULL;
    g_autofree char *id = NULL;

    ck_assert_int_eq(create("A"), 0);
    ck_assert_int_eq(create("A/B"), 0);
    ck_assert_int_eq(create("A/B/C"), 0);
    ck_assert_int_eq(create("AB"), 0);
    child = open_mailbox(&fixture, "A/B");
    append_text(&fixture, child, "Subject: s\n\n");
    id = g_strdup(snapshot_mailbox_id(mailbox_snapshot(child)));
    ck_assert_int_eq(rename_mailbox("A", "Z/Y"), 0);
    ck_assert_str_eq(mailbox_name(child), "Z/Y/B");
    ck_assert(!mailbox_is_deleted(child));
    append_text(&fixture, child, "after");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(child)), 2);
    ck_assert_str_eq(snapshot_mailbox_id(mailbox_snapshot(child)), id);
    assert_listing("INBOX AB Archive\\Archive Drafts\\Drafts Junk\\Junk Sent\\Sent Trash\\Trash "
                   "Z/Y Z/Y/B Z/Y/B/C");
    log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "Z.Y.B");
    ck_assert_str_eq(log, "APPEND uid 2\nRENAME mailbox A/B to Z/Y/B\nAPPEND uid 1: s\n"
                          "CREATE mailbox A/B\n");
    mailbox_unref(child);
}
END_TEST

START_TEST(test_account__rename_has_its_rules)
{
    g_autofree char *deep = g_strnfill(MAILBOX_NAME_MAX - 4, 'd');
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    ck_assert_int_eq(create("A"), 0);
    ck_assert_int_eq(create("A/long child"), 0);
    ck_assert_int_eq(create("B"), 0);
    ck_assert_int_eq(create("C/long child"), 0);
    before = listing();
    ck_assert_int_eq(rename_mailbox("A", "B"), STORE_EXISTS);
    ck_assert_int_eq(rename_mailbox("A", "A"), STORE_EXISTS);
    ck_assert_int_eq(rename_mailbox("A", "INBOX"), STORE_EXISTS);
    ck_assert_int_eq(rename_mailbox("A", "A/x"), STORE_FORBIDDEN);
    ck_assert_int_eq(rename_mailbox("A", "C"), STORE_EXISTS);    /* a child's new name is taken */
    ck_assert_int_eq(rename_mailbox("A", deep), STORE_BAD_NAME); /* a child's would be too long */
    ck_assert_int_eq(rename_mailbox("A", "x//y"), STORE_BAD_NAME);
    ck_assert_int_eq(rename_mailbox("nothing", "x"), STORE_NOT_FOUND);
    after = listing();
    ck_assert_str_eq(before, after);
    ck_assert_int_eq(rename_mailbox("C", "D"), 0); /* only children */
    ck_assert(exists("D/long child"));
    ck_assert_int_eq(rename_mailbox("D/long child", "D"), 0);
    ck_assert(exists("D"));
}
END_TEST

START_TEST(test_account__a_special_use_follows_a_rename)
{
    ck_assert_int_eq(rename_mailbox("Trash", "Deleted Items"), 0);
    assert_listing("INBOX Archive\\Archive Deleted Items\\Trash Drafts\\Drafts Junk\\Junk "
                   "Sent\\Sent");
}
END_TEST

START_TEST(test_account__renaming_inbox_moves_its_messages)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");
    struct mailbox *old;
    g_autofree char *log = NULL;
    uint32_t next;

    ck_assert_int_eq(create("INBOX/child"), 0);
    append_many(&fixture, inbox, 150);
    ck_assert_int_eq(flag(&fixture, inbox, 3, FLAG_MODE_ADD, MESSAGE_FLAGGED, "$K"), 0);
    next = snapshot_uid_next(mailbox_snapshot(inbox));
    ck_assert_int_eq(rename_mailbox("INBOX", "Old"), 0);
    ck_assert(!mailbox_is_deleted(inbox));
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(inbox)), 0);
    ck_assert_uint_eq(snapshot_uid_next(mailbox_snapshot(inbox)), next);
    old = open_mailbox(&fixture, "Old");
    ck_assert_uint_eq(snapshot_count(mailbox_snapshot(old)), 150);
    ck_assert_uint_eq(message_of(old, 3).flags, MESSAGE_FLAGGED);
    ck_assert_str_ne(snapshot_mailbox_id(mailbox_snapshot(old)),
                     snapshot_mailbox_id(mailbox_snapshot(inbox)));
    ck_assert_uint_ne(snapshot_uid_validity(mailbox_snapshot(old)),
                      snapshot_uid_validity(mailbox_snapshot(inbox)));
    ck_assert(exists("INBOX/child"));
    ck_assert_int_eq(rename_mailbox("INBOX", "Old"), STORE_EXISTS);
    ck_assert_int_eq(rename_mailbox("INBOX", "INBOX/below"), 0);
    append_text(&fixture, inbox, "x");
    append_text(&fixture, old, "x");
    log = GIT_OUTPUT(fixture.path, "log", "--format=%s", "-3", "Old");
    ck_assert_str_eq(log,
                     "APPEND uid 151\nRENAME mailbox INBOX to Old\nSTORE uid 3 +\\Flagged +$K\n");
    mailbox_unref(old);
    mailbox_unref(inbox);
}
END_TEST

/* --- subscriptions and special uses --- */

START_TEST(test_account__subscriptions_last)
{
    ck_assert_int_eq(account_subscribe(fixture.account, "Sent", true, &fixture.origin, &error), 0);
    ck_assert_int_eq(account_subscribe(fixture.account, "no/such", true, &fixture.origin, &error),
                     0);
    ck_assert_int_eq(account_subscribe(fixture.account, "a//b", true, &fixture.origin, &error),
                     STORE_BAD_NAME);
    mail_fixture_reopen(&fixture);
    assert_listing("INBOX Archive\\Archive Drafts\\Drafts Junk\\Junk Sent\\Sent* Trash\\Trash "
                   "no/such*?");
    ck_assert_int_eq(account_subscribe(fixture.account, "no/such", false, &fixture.origin, &error),
                     0);
    ck_assert_int_eq(account_subscribe(fixture.account, "no/such", false, &fixture.origin, &error),
                     0);
    ck_assert_int_eq(account_subscribe(fixture.account, "Sent", false, &fixture.origin, &error), 0);
    mail_fixture_reopen(&fixture);
    assert_listing(FIRST);
}
END_TEST

static int set_use(const char *name, enum special_use use)
{
    return account_set_special_use(fixture.account, name, use, &fixture.origin, &error);
}

START_TEST(test_account__a_special_use_has_one_mailbox)
{
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Bin", SPECIAL_USE_TRASH, &fixture.origin, &error),
        STORE_FORBIDDEN);
    ck_assert(!exists("Bin"));
    ck_assert_int_eq(set_use("Bin", SPECIAL_USE_TRASH), STORE_NOT_FOUND);
    ck_assert_int_eq(create("Bin"), 0);
    ck_assert_int_eq(set_use("Bin", SPECIAL_USE_TRASH), 0);
    ck_assert_int_eq(set_use("Drafts", SPECIAL_USE_NONE), 0);
    mail_fixture_reopen(&fixture);
    assert_listing("INBOX Archive\\Archive Bin\\Trash Drafts Junk\\Junk Sent\\Sent Trash");
    ck_assert_int_eq(remove_mailbox("Bin"), 0);
    ck_assert_int_eq(
        account_create_mailbox(fixture.account, "Bin", SPECIAL_USE_TRASH, &fixture.origin, &error),
        0);
    assert_listing("INBOX Archive\\Archive Bin\\Trash Drafts Junk\\Junk Sent\\Sent Trash");
}
END_TEST

START_TEST(test_account__keeps_derived_results)
{
    struct object_id id = {{1, 2, 3}};
    GByteArray *value = g_byte_array_new();

    ck_assert(!account_derived_get(fixture.account, &id, "x.1", value));
    ck_assert(!account_derived_has(fixture.account, &id, "x.1"));
    account_derived_put(fixture.account, &id, "x.1", "hello", 5);
    store_maintain(fixture.store);
    mail_fixture_reopen(&fixture);
    ck_assert(account_derived_get(fixture.account, &id, "x.1", value));
    ck_assert(account_derived_has(fixture.account, &id, "x.1"));
    ck_assert_uint_eq(value->len, 5);
    g_byte_array_unref(value);
}
END_TEST

START_TEST(test_account__stays_open_until_its_changes_are_durable)
{
    struct mailbox *inbox = open_mailbox(&fixture, "INBOX");

    append_text(&fixture, inbox, "x");
    mailbox_unref(inbox);
    account_unref(fixture.account);
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    ck_assert_int_eq(store_sync(fixture.store, &error), 0);
    store_maintain(fixture.store);
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    store_maintain(fixture.store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("account");
    TCase *cases = tcase_create("account");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, test_store__makes_an_account_with_its_first_mailboxes);
    tcase_add_test(cases, test_store__refuses_users_twice_missing_or_misnamed);
    tcase_add_test(cases, test_store__refuses_a_repository_it_does_not_know);
    tcase_add_test(cases, test_account__creates_mailboxes);
    tcase_add_test(cases, test_account__lists_children_after_their_parents);
    tcase_add_test(cases, test_account__counts_versions_of_the_list);
    tcase_add_test(cases, test_account__uidvalidity_rises);
    tcase_add_test(cases, test_account__keeps_what_it_deletes);
    tcase_add_test(cases, test_account__delete_has_its_rules);
    tcase_add_test(cases, test_account__a_new_mailbox_of_an_old_name_is_another);
    tcase_add_test(cases, test_account__renames_with_children_and_history);
    tcase_add_test(cases, test_account__rename_has_its_rules);
    tcase_add_test(cases, test_account__a_special_use_follows_a_rename);
    tcase_add_test(cases, test_account__renaming_inbox_moves_its_messages);
    tcase_add_test(cases, test_account__subscriptions_last);
    tcase_add_test(cases, test_account__a_special_use_has_one_mailbox);
    tcase_add_test(cases, test_account__keeps_derived_results);
    tcase_add_test(cases, test_account__stays_open_until_its_changes_are_durable);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
