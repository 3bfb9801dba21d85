/* What tests of mailboxes and accounts share: a store with an account of "alice" in a directory of
 * its own, short forms of the operations, and the checks that every test ends with. Whatever must
 * not fail aborts the test.
 */
#ifndef ANNAL_TESTS_MAIL_FIXTURE_H
#define ANNAL_TESTS_MAIL_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct mail_fixture {
    char *directory; /* the data directory */
    char *path;      /* of alice's repository */
    const struct host *host;
    struct store *store;
    struct account *account;
    struct origin origin;
};

/* host NULL: the system's. */
void mail_fixture_init(struct mail_fixture *fixture, const struct host *host);
/* Checks the repository (verify, git fsck --strict), closes and removes all. */
void mail_fixture_release(struct mail_fixture *fixture);
/* Closes and opens store and account again, as a new process would. */
void mail_fixture_reopen(struct mail_fixture *fixture);
void mail_fixture_open(struct mail_fixture *fixture);
/* The same with a journal, on that host. */
void mail_fixture_open_with_journal(struct mail_fixture *fixture, const struct host *host,
                                    const struct store_journal *settings);
void mail_fixture_close(struct mail_fixture *fixture);
/* Closes and removes all without a look at it. */
void mail_fixture_discard(struct mail_fixture *fixture);

/* Verify and git fsck --strict find nothing. */
void check_repository(const char *path);
/* How many findings verify has; their texts go to finding (may be NULL), a line each, as far as
 * they fit. */
size_t count_findings(const char *path, char *finding, size_t size);

struct mailbox *open_mailbox(struct mail_fixture *fixture, const char *name);

struct spool *spool_of(struct account *account, const void *data, size_t length);
/* Returns the store's result. flags: enum message_flag; keyword may be NULL. */
int try_append(struct mail_fixture *fixture, struct mailbox *mailbox, const void *data,
               size_t length, uint8_t flags, const char *keyword, uint32_t *uid,
               struct store_error *error);
/* Appends text, returns its UID. */
uint32_t append_text(struct mail_fixture *fixture, struct mailbox *mailbox, const char *text);
/* Appends so many small messages "Subject: N". */
void append_many(struct mail_fixture *fixture, struct mailbox *mailbox, size_t count);

/* STORE of one UID. */
int flag(struct mail_fixture *fixture, struct mailbox *mailbox, uint32_t uid, enum flag_mode mode,
         uint8_t flags, const char *keyword);
int expunge(struct mail_fixture *fixture, struct mailbox *mailbox, uint32_t uid);

/* The message with this UID in the newest snapshot. */
bool has_message(const struct mailbox *mailbox, uint32_t uid);
/* It must be there. */
struct message message_of(const struct mailbox *mailbox, uint32_t uid);

/* The whole state of an account as text: every mailbox with its messages, flags, octets' ids,
 * subscriptions and special uses; not what differs from run to run. For g_free(). */
char *describe_account(struct mail_fixture *fixture);

#endif
