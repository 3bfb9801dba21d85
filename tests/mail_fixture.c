#include "tests/mail_fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/verify.h"
#include "tests/store_fixture.h"

void mail_fixture_open_with_journal(struct mail_fixture *fixture, const struct host *host,
                                    const struct store_journal *settings)
{
    struct store_error error;
    int rc = store_open(&fixture->store, fixture->directory, host, &error);

    if (rc == 0 && settings != NULL) {
        rc = store_open_journal(fixture->store, settings, &error);
    }
    if (rc == 0) {
        rc = store_open_account(fixture->store, "alice", &fixture->account, &error);
    }
    if (rc < 0) {
        ck_abort_msg("opening: %s", error.detail);
    }
}

void mail_fixture_open(struct mail_fixture *fixture)
{
    mail_fixture_open_with_journal(fixture, fixture->host, NULL);
}

void mail_fixture_close(struct mail_fixture *fixture)
{
    account_unref(fixture->account);
    store_close(fixture->store);
    fixture->account = NULL;
    fixture->store = NULL;
}

void mail_fixture_reopen(struct mail_fixture *fixture)
{
    mail_fixture_close(fixture);
    mail_fixture_open(fixture);
}

void mail_fixture_init(struct mail_fixture *fixture, const struct host *host)
{
    struct store_error error;
    struct store *store;

    *fixture = (struct mail_fixture){
        .directory = fixture_directory(),
        .host = host != NULL ? host : host_system(),
        .origin = {.client = "test client",
                   .session = "s1",
                   .command = "TEST",
                   .time = INT64_C(1795000000000000)},
    };
    fixture->path = fixture_path(fixture->directory, "mail/alice.git");
    if (store_open(&store, fixture->directory, host_system(), &error) < 0 ||
        store_create_account(store, "alice", &fixture->origin, &error) < 0) {
        ck_abort_msg("creating: %s", error.detail);
    }
    store_close(store);
    mail_fixture_open(fixture);
}

void mail_fixture_discard(struct mail_fixture *fixture)
{
    mail_fixture_close(fixture);
    fixture_remove(fixture->directory);
    free(fixture->path);
}

void mail_fixture_release(struct mail_fixture *fixture)
{
    mail_fixture_close(fixture);
    check_repository(fixture->path);
    fixture_remove(fixture->directory);
    free(fixture->path);
}

struct finding_text {
    char *text;
    size_t size;
};

static void keep_finding(const char *finding, void *data)
{
    struct finding_text *out = data;

    if (out->text != NULL) {
        size_t used = strlen(out->text);

        snprintf(out->text + used, out->size - used, "%s\n", finding);
    }
}

size_t count_findings(const char *path, char *finding, size_t size)
{
    struct finding_text text = {finding, size};
    struct store_error error;
    size_t findings = 0;

    if (finding != NULL) {
        *finding = '\0';
    }
    if (verify_repository(path, keep_finding, &text, &findings, &error) < 0) {
        ck_abort_msg("verify: %s", error.detail);
    }
    return findings;
}

void check_repository(const char *path)
{
    char finding[512] = "";

    ck_assert_msg(count_findings(path, finding, sizeof(finding)) == 0, "verify: %s", finding);
    ck_assert(GIT(path, "fsck", "--strict", "--full", "--no-dangling"));
}

struct mailbox *open_mailbox(struct mail_fixture *fixture, const char *name)
{
    struct store_error error;
    struct mailbox *mailbox;

    if (account_open_mailbox(fixture->account, name, &mailbox, &error) < 0) {
        ck_abort_msg("opening %s: %s", name, error.detail);
    }
    return mailbox;
}

struct spool *spool_of(struct account *account, const void *data, size_t length)
{
    struct store_error error;
    struct spool *spool;

    if (account_spool(account, length, &spool, &error) < 0 ||
        spool_write(spool, data, length, &error) < 0) {
        ck_abort_msg("spool: %s", error.detail);
    }
    return spool;
}

int try_append(struct mail_fixture *fixture, struct mailbox *mailbox, const void *data,
               size_t length, uint8_t flags, const char *keyword, uint32_t *uid,
               struct store_error *error)
{
    struct spool *spool = spool_of(fixture->account, data, length);
    const char *keywords[] = {keyword, NULL};
    struct append append = {.spool = spool,
                            .keywords = keywords,
                            .flags = flags,
                            .internal_date = 1794906000,
                            .zone = 60};
    int rc = mailbox_append(mailbox, &append, 1, &fixture->origin, uid, error);

    spool_free(spool);
    return rc;
}

uint32_t append_text(struct mail_fixture *fixture, struct mailbox *mailbox, const char *text)
{
    struct store_error error;
    uint32_t uid = 0;

    if (try_append(fixture, mailbox, text, strlen(text), 0, NULL, &uid, &error) < 0) {
        ck_abort_msg("append: %s", error.detail);
    }
    return uid;
}

void append_many(struct mail_fixture *fixture, struct mailbox *mailbox, size_t count)
{
    static struct append appends[STORE_APPEND_MAX];
    struct store_error error;
    uint32_t first;

    for (size_t i = 0; i < count; i++) {
        char text[64];
        int length = snprintf(text, sizeof(text), "Subject: %zu\r\n\r\nbody\r\n", i);

        appends[i] = (struct append){.spool = spool_of(fixture->account, text, (size_t)length),
                                     .internal_date = 1794906000 + (int64_t)i};
    }
    if (mailbox_append(mailbox, appends, count, &fixture->origin, &first, &error) < 0) {
        ck_abort_msg("append: %s", error.detail);
    }
    for (size_t i = 0; i < count; i++) {
        spool_free(appends[i].spool);
    }
}

int flag(struct mail_fixture *fixture, struct mailbox *mailbox, uint32_t uid, enum flag_mode mode,
         uint8_t flags, const char *keyword)
{
    const char *keywords[] = {keyword, NULL};
    struct flag_change change = {mode, flags, keywords, UINT64_MAX};
    struct store_error error;

    return mailbox_store_flags(mailbox, &uid, 1, &change, &fixture->origin, NULL, &error);
}

int expunge(struct mail_fixture *fixture, struct mailbox *mailbox, uint32_t uid)
{
    struct store_error error;

    return mailbox_expunge(mailbox, &uid, 1, false, &fixture->origin, &error);
}

bool has_message(const struct mailbox *mailbox, uint32_t uid)
{
    size_t index;

    return snapshot_find(mailbox_snapshot(mailbox), uid, &index);
}

struct message message_of(const struct mailbox *mailbox, uint32_t uid)
{
    size_t index = 0;

    ck_assert(snapshot_find(mailbox_snapshot(mailbox), uid, &index));
    return snapshot_message(mailbox_snapshot(mailbox), index);
}

static void describe_mailbox(struct mail_fixture *fixture, const char *name, GString *out)
{
    struct mailbox *mailbox = open_mailbox(fixture, name);
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);

    g_string_append_printf(out, " next %u\n", snapshot_uid_next(snapshot));
    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);
        struct store_error error;
        struct message_bytes bytes;
        char id[OBJECT_ID_HEX + 1];

        object_id_format(&message.blob, id);
        g_string_append_printf(out, "  %u %s %u %u %lld %d", message.uid, id, message.size,
                               message.flags, (long long)message.internal_date, message.zone);
        for (size_t k = 0; k < snapshot_keyword_count(snapshot); k++) {
            if ((message.keywords >> k & 1) != 0) {
                g_string_append_printf(out, " %s", snapshot_keyword(snapshot, k));
            }
        }
        g_string_append_c(out, '\n');
        ck_assert_int_eq(mailbox_read(mailbox, &message.blob, &bytes, &error), 0);
        ck_assert_uint_eq(bytes.length, message.size);
        message_bytes_release(&bytes);
    }
    mailbox_unref(mailbox);
}

char *describe_account(struct mail_fixture *fixture)
{
    g_autoptr(GPtrArray) list = NULL;
    struct store_error error;
    GString *out = g_string_new(NULL);

    if (account_list(fixture->account, &list, &error) < 0) {
        ck_abort_msg("list: %s", error.detail);
    }
    for (guint i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);

        g_string_append_printf(out, "%s%s%s %s", entry->name, entry->exists ? "" : " absent",
                               entry->subscribed ? " subscribed" : "",
                               special_use_name(entry->special_use));
        if (entry->exists) {
            describe_mailbox(fixture, entry->name, out);
        } else {
            g_string_append_c(out, '\n');
        }
    }
    return g_string_free(out, FALSE);
}
