/* One user's account: a bare git repository whose branches are the mailboxes.
 *
 * Mailbox names are UTF-8 with '/' between levels, INBOX in upper case (RFC 3501 5.1: the caller
 * may give any case). An account belongs to one thread.
 */
#ifndef ANNAL_STORE_ACCOUNT_H
#define ANNAL_STORE_ACCOUNT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/mailbox.h"

enum {
    MAILBOX_NAME_MAX = 200, /* octets of a name's encoding as a branch (a path component) */
    MAILBOX_DEPTH_MAX = 16, /* levels */
    ACCOUNT_MAILBOXES_MAX = 10000,
    ACCOUNT_SUBSCRIPTIONS_MAX = 10000,
};

struct account;

struct account *account_ref(struct account *account);
void account_unref(struct account *account); /* accepts NULL; the last one closes it */
const char *account_user(const struct account *account);
const char *account_path(const struct account *account); /* of the repository, absolute */

/* RFC 6154. At most one mailbox has each. */
enum special_use {
    SPECIAL_USE_NONE,
    SPECIAL_USE_ARCHIVE,
    SPECIAL_USE_DRAFTS,
    SPECIAL_USE_JUNK,
    SPECIAL_USE_SENT,
    SPECIAL_USE_TRASH,
    SPECIAL_USE_COUNT,
};

struct mailbox_entry {
    char *name;  /* UTF-8 */
    bool exists; /* false: only a superior of others, or only subscribed */
    bool subscribed;
    enum special_use special_use;
};

/* Every mailbox and every subscribed name, sorted by name with '/' before all other octets (so
 * that children follow their parent); INBOX first. A new array of struct mailbox_entry * with a
 * free function set. Superiors that do not exist are not in it. Notices outside changes. Where
 * subscriptions and special uses can't be read, the last ones that could be stand in. */
int account_list(struct account *account, GPtrArray **out, struct store_error *error);

/* Goes up by one with every change to the set of mailboxes, names, subscriptions, uses. */
uint64_t account_list_version(const struct account *account);

/* STORE_NOT_FOUND, STORE_BAD_NAME, STORE_CORRUPT, STORE_UNSUPPORTED. All opens of one mailbox share
 * one object. INBOX is made anew where somebody took its branch away. */
int account_open_mailbox(struct account *account, const char *name, struct mailbox **out,
                         struct store_error *error);
/* How often a part of a mailbox was in neither of its two places: its snapshot file was damaged
 * there, and git lacks it, too. What was said of any message since may be made up: whoever sees
 * another number than when it began has nothing more to say. Mailboxes opened from then on are read
 * from git. */
unsigned account_losses(const struct account *account);
bool account_mailbox_exists(struct account *account, const char *name);

/* Creates a mailbox (a trailing '/' is dropped; superiors need not exist and are not made).
 * STORE_EXISTS, STORE_BAD_NAME, STORE_LIMIT. With a special use that another mailbox has:
 * STORE_FORBIDDEN. */
int account_create_mailbox(struct account *account, const char *name, enum special_use use,
                           const struct origin *origin, struct store_error *error);

/* One of many that are made in one step. */
struct new_mailbox {
    const char *name;
    uint32_t uid_validity; /* that it had on another server (mailbox_take_over()); 0: a new one */
    bool taken_over; /* out: it has that one; else a new one, as another mailbox has or had it */
};
/* Creates all of them or none. STORE_EXISTS if one of them exists or two are the same;
 * STORE_BAD_NAME, STORE_LIMIT. */
int account_create_mailboxes(struct account *account, struct new_mailbox *mailboxes, size_t count,
                             const struct origin *origin, struct store_error *error);

/* RFC 3501 6.3.4. The tip is kept under refs/deleted/. Children stay. STORE_FORBIDDEN for INBOX,
 * STORE_HAS_CHILDREN for a superior that is no mailbox, STORE_NOT_FOUND. The subscription stays,
 * a special use goes. */
int account_delete_mailbox(struct account *account, const char *name, const struct origin *origin,
                           struct store_error *error);

/* RFC 3501 6.3.5: children are renamed too, all together or none; the commit chain is kept.
 * Renaming INBOX moves its messages to a new mailbox and leaves INBOX empty, its children stay.
 * STORE_EXISTS, STORE_NOT_FOUND, STORE_BAD_NAME, STORE_FORBIDDEN (below itself), STORE_LIMIT. */
int account_rename_mailbox(struct account *account, const char *from, const char *to,
                           const struct origin *origin, struct store_error *error);

/* Any valid name may be subscribed, whether or not the mailbox exists. Idempotent. */
int account_subscribe(struct account *account, const char *name, bool subscribed,
                      const struct origin *origin, struct store_error *error);

/* Gives an existing mailbox a special use (or none); taken from whichever had it. */
int account_set_special_use(struct account *account, const char *name, enum special_use use,
                            const struct origin *origin, struct store_error *error);

const char *special_use_name(enum special_use use);              /* "\\Drafts"; "" for none */
bool special_use_parse(enum special_use *out, const char *name); /* any case, with backslash */

/* For a message of size octets that will be appended to a mailbox of this account: spool_new(). */
int account_spool(struct account *account, uint64_t size, struct spool **out,
                  struct store_error *error);

/* Notices outside changes to any branch of the account: cheap when nothing changed. True in
 * *changed if a mailbox that is open, or the list, is not what it was. */
int account_refresh(struct account *account, bool *changed, struct store_error *error);

/* Results kept under a blob's id, on disk beside the repository: derived, bounded, deletable at
 * any time. kind names what it is and its format version, e.g. "summary.1". A miss or a broken
 * cache is false. value is set to what was put. */
bool account_derived_get(struct account *account, const struct object_id *blob, const char *kind,
                         GByteArray *value);
/* Whether there is one, as far as is known from what was asked and put before. */
bool account_derived_has(struct account *account, const struct object_id *blob, const char *kind);
void account_derived_put(struct account *account, const struct object_id *blob, const char *kind,
                         const void *value, size_t length);

#endif
