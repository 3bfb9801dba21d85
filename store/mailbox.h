/* One mailbox: a branch, its newest snapshot and the operations on it.
 *
 * Each operation is atomic and one commit: on failure the mailbox is as it was. A change is in
 * mailbox_snapshot() at once, and survives power loss when store_sync() has returned 0: whoever
 * acknowledges it to a client does so only after that. All calls block on the disk and belong to
 * the thread of the account.
 */
#ifndef ANNAL_STORE_MAILBOX_H
#define ANNAL_STORE_MAILBOX_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/message_stream.h"
#include "store/snapshot.h"
#include "store/spool.h"

enum {
    STORE_APPEND_MAX = 1000,              /* messages in one mailbox_append() */
    MESSAGE_SIZE_MAX = 256 * 1024 * 1024, /* octets; the server's own limit is lower */
};

/* Who changes something, and how: it becomes the commit's author date and trailers. Text from
 * the network may stand here: the store makes control characters harmless. */
struct origin {
    const char *client;  /* e.g. "Thunderbird 128.4 (192.0.2.7)"; NULL: left out */
    const char *session; /* session id, as in the logs; NULL: left out */
    const char *command; /* e.g. "UID STORE" */
    int64_t time;        /* microseconds since the Unix epoch */
    /* Of a message that was delivered: the envelope's sender ("" is the null sender) and the id by
     * which it is told when it comes again (delivered.h). NULL: left out. */
    const char *sender;
    const char *delivery;
};

struct mailbox;

struct mailbox *mailbox_ref(struct mailbox *mailbox);
void mailbox_unref(struct mailbox *mailbox); /* accepts NULL */

const char *mailbox_name(const struct mailbox *mailbox); /* UTF-8; follows a RENAME */
/* What past_open() gave: its name is for people, its snapshot stays, it can only be read and copied
 * from. */
bool mailbox_is_past(const struct mailbox *mailbox);
/* The branch is gone (deleted here or from outside), or account_losses() has changed: the last
 * snapshot stays readable, every change fails with STORE_NOT_FOUND. */
bool mailbox_is_deleted(const struct mailbox *mailbox);

/* The newest state known; borrowed until the next call on this mailbox's account. */
const struct snapshot *mailbox_snapshot(const struct mailbox *mailbox);

/* Notices what others (stock git, another process) did to the branch: a stat when nothing
 * changed. STORE_CORRUPT when the branch now holds something that is no mailbox: the last good
 * snapshot stays, and changes are refused until it is mended. */
int mailbox_refresh(struct mailbox *mailbox, struct store_error *error);

/* \Recent (RFC 3501 2.3.2): messages with a UID from this on have not been shown as recent to
 * any session. A session that SELECTs takes them: returns the first UID it may show as recent
 * and moves the mark to UIDNEXT. Kept in memory only. */
uint32_t mailbox_recent_from(const struct mailbox *mailbox);
uint32_t mailbox_take_recent(struct mailbox *mailbox);

struct append {
    struct spool *spool;         /* complete; borrowed */
    const char *const *keywords; /* NULL-terminated; may be NULL */
    uint8_t flags;               /* enum message_flag */
    int64_t internal_date;       /* seconds since the epoch */
    int16_t zone;                /* minutes east of UTC */
    bool binary;                 /* NUL octets are allowed (literal8, RFC 3516) */
    uint32_t uid;                /* 0: the next one; else at least UIDNEXT, and ascending */
};

/* Appends all of the messages or none. *first_uid gets the first one's UID; the others follow
 * on without a gap unless uid says otherwise (STORE_EXISTS where it is below UIDNEXT). A UID is
 * given only where another server's are taken over. STORE_BAD_MESSAGE (NUL, a keyword that is no
 * atom, a date outside the years 1 to 9999), STORE_TOO_BIG, STORE_LIMIT (keywords, UIDs used up,
 * count not 1 to STORE_APPEND_MAX). This and every other change may fail with STORE_CONFLICT when a
 * reference stays locked. */
int mailbox_append(struct mailbox *mailbox, const struct append *messages, size_t count,
                   const struct origin *origin, uint32_t *first_uid, struct store_error *error);

/* Several mailboxes of one account in one step: all that is appended or nothing. */
struct intake {
    struct mailbox *mailbox; /* each at most once */
    const struct append *messages;
    size_t count;      /* at most STORE_APPEND_MAX; may be 0 */
    uint32_t uid_next; /* what UIDNEXT is to be at least, after the messages */
};
/* Fails as mailbox_append(). A mailbox that nothing would change for has no commit. */
int mailbox_take_in(const struct intake *intakes, size_t count, const struct origin *origin,
                    struct store_error *error);

/* Gives an empty mailbox the UIDVALIDITY that it had on another server, and raises UIDNEXT to
 * uid_next if it is lower; HIGHESTMODSEQ becomes higher than any that clients know from there. Does
 * nothing where both are so already; UIDNEXT alone may be raised at any time. STORE_FORBIDDEN:
 * there are messages, or there were and the UIDVALIDITY would fall. STORE_EXISTS: another mailbox
 * of the account has it (one that never had a message gets a new one instead), or a deleted one of
 * this name had it. STORE_LIMIT: too high a number.
 * Other processes see another mailbox in the place of this one; what they have acknowledged in the
 * old one and not yet written comes into it, under fresh UIDs. */
int mailbox_take_over(struct mailbox *mailbox, uint32_t uid_validity, uint32_t uid_next,
                      const struct origin *origin, struct store_error *error);

enum flag_mode { FLAG_MODE_REPLACE, FLAG_MODE_ADD, FLAG_MODE_REMOVE };

struct flag_change {
    enum flag_mode mode;
    uint8_t flags;
    const char *const *keywords; /* NULL-terminated; may be NULL */
    /* RFC 7162 3.1.3: a message whose modseq is greater is left alone. UINT64_MAX: no test. */
    uint64_t unchanged_since;
};

/* Changes the flags of the messages with these UIDs (ascending, unique); a UID that is not there
 * is skipped. A message that already has the wanted flags keeps its modseq; if none changes
 * there is no commit. *unchanged (may be NULL) gets the UIDs that failed unchanged_since: a new
 * array of uint32_t that the caller owns. */
int mailbox_store_flags(struct mailbox *mailbox, const uint32_t *uids, size_t count,
                        const struct flag_change *change, const struct origin *origin,
                        GArray **unchanged, struct store_error *error);

/* Removes those of these UIDs (ascending, unique) that are there; with only_deleted just those
 * that have \Deleted. No commit if there is nothing to remove. */
int mailbox_expunge(struct mailbox *mailbox, const uint32_t *uids, size_t count, bool only_deleted,
                    const struct origin *origin, struct store_error *error);

/* UIDs of what was copied or moved; position i of one belongs to position i of the other. */
struct uid_pairs {
    GArray *from; /* uint32_t, ascending */
    GArray *to;   /* uint32_t, ascending */
};
void uid_pairs_release(struct uid_pairs *pairs);

/* Copies the messages with these UIDs (ascending, unique; missing ones are skipped) with their
 * flags, keywords and internal dates to another mailbox of the same account, which may be the
 * same mailbox. *pairs is filled (release it even when empty). Move also removes them from the
 * source in the same step: both mailboxes change together or not at all. */
int mailbox_copy(struct mailbox *from, const uint32_t *uids, size_t count, struct mailbox *to,
                 const struct origin *origin, struct uid_pairs *pairs, struct store_error *error);
int mailbox_move(struct mailbox *from, const uint32_t *uids, size_t count, struct mailbox *to,
                 const struct origin *origin, struct uid_pairs *pairs, struct store_error *error);

struct uid_range {
    uint32_t first;
    uint32_t last; /* at least first */
};

enum vanished {
    VANISHED_EXACT,
    VANISHED_MORE,       /* the UIDs told are all below UIDNEXT that are not there */
    VANISHED_UNFINISHED, /* the same, but call again: the next call finds more of the history read
                          */
};

/* The UIDs that a client which knew the mailbox at the MODSEQ since may have and that are not in
 * now (a state of this mailbox, not necessarily the newest), for VANISHED of RFC 7162: those that
 * were there at since, and those that came later and went again, which count as expunged since,
 * too. A new array of struct uid_range, ascending, neither overlapping nor touching, all below
 * UIDNEXT.
 *
 * Taken from the history, at any age. Where that can't tell (it was cut off or set back by others,
 * or since is above HIGHESTMODSEQ) they are more than need be, as the RFC allows, never less. One
 * call reads at most some thousand commits, a few milliseconds' work, and then the trees that
 * differ. */
int mailbox_vanished(struct mailbox *mailbox, const struct snapshot *now, uint64_t since,
                     GArray **ranges, enum vanished *answer, struct store_error *error);

/* A message's exact octets. Owned by the caller; released with message_bytes_release(). */
struct message_bytes {
    const uint8_t *data;
    size_t length;
    void *owner;
};

/* Any blob of the account's repository, also one that was expunged meanwhile. STORE_NOT_FOUND,
 * STORE_CORRUPT, STORE_NO_MEMORY, STORE_IO. */
int mailbox_read(struct mailbox *mailbox, const struct object_id *blob, struct message_bytes *out,
                 struct store_error *error);
void message_bytes_release(struct message_bytes *bytes);

/* The same blob, to be read piece by piece. What can be known to be missing or damaged without
 * reading all of it fails here. The caller owns *out. */
int mailbox_open_message(struct mailbox *mailbox, const struct object_id *blob,
                         struct message_stream **out, struct store_error *error);

#endif
