/* The state of a mailbox at one commit: immutable, reference-counted, shared by all sessions.
 *
 * Snapshots belong to the thread of their account and are released before it. Messages stand in
 * ascending UID order; the index of a message, 0 to snapshot_count() - 1, is its IMAP sequence
 * number less one. Leaves of 100 messages and the directories above them are shared between
 * versions, so a difference costs what has changed. A message takes about 30 octets.
 */
#ifndef ANNAL_STORE_SNAPSHOT_H
#define ANNAL_STORE_SNAPSHOT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/object_id.h"

/* System flags of RFC 3501 2.3.2. \Recent is not among them: it is a session's, never stored. */
enum message_flag {
    MESSAGE_ANSWERED = 1 << 0,
    MESSAGE_FLAGGED = 1 << 1,
    MESSAGE_DELETED = 1 << 2,
    MESSAGE_SEEN = 1 << 3,
    MESSAGE_DRAFT = 1 << 4,
};

enum {
    MESSAGE_FLAGS_ALL = 0x1f,
    MAILBOX_KEYWORDS_MAX = 64, /* keywords a mailbox; they keep their place for its life */
    KEYWORD_LENGTH_MAX = 100,  /* octets */
};

struct message {
    struct object_id blob; /* the exact octets; also EMAILID */
    uint32_t uid;
    uint32_t size;         /* octets */
    uint64_t modseq;       /* of the commit that last changed it; at least 1 */
    uint64_t keywords;     /* bit i: snapshot_keyword(i) is set */
    int64_t internal_date; /* seconds since the Unix epoch */
    int16_t zone;          /* minutes east of UTC, as given with the date */
    uint8_t flags;         /* enum message_flag */
};

struct snapshot;

struct snapshot *snapshot_ref(const struct snapshot *snapshot);
void snapshot_unref(const struct snapshot *snapshot); /* accepts NULL */

uint32_t snapshot_uid_validity(const struct snapshot *snapshot);
uint32_t snapshot_uid_next(const struct snapshot *snapshot);
uint64_t snapshot_highest_modseq(const struct snapshot *snapshot);
const char *snapshot_mailbox_id(const struct snapshot *snapshot); /* RFC 8474; stable for life */
const struct object_id *snapshot_commit(const struct snapshot *snapshot);

size_t snapshot_count(const struct snapshot *snapshot);

/* index < snapshot_count() (asserted). Fastest for indexes that ascend. A message whose leaf in a
 * snapshot file turned out bad and is not in git either has a zero blob id and is made up: then
 * account_losses() has changed. */
struct message snapshot_message(const struct snapshot *snapshot, size_t index);

/* The flags (enum message_flag) of messages from this index on, an octet each: *count of them, at
 * least one. Borrowed while a reference is held. */
const uint8_t *snapshot_flags(const struct snapshot *snapshot, size_t index, size_t *count);

/* The index of the first message whose UID is at least uid; snapshot_count() if there is none. */
size_t snapshot_lower_bound(const struct snapshot *snapshot, uint32_t uid);
/* Its exact message. Fastest for UIDs that ascend. */
bool snapshot_find(const struct snapshot *snapshot, uint32_t uid, size_t *index);

size_t snapshot_keyword_count(const struct snapshot *snapshot);
const char *snapshot_keyword(const struct snapshot *snapshot, size_t index);
/* Keywords compare without regard to ASCII case. */
bool snapshot_keyword_find(const struct snapshot *snapshot, const char *keyword, size_t *index);

/* Counts, kept with the snapshot: no walk over all messages. */
size_t snapshot_unseen(const struct snapshot *snapshot);
size_t snapshot_deleted(const struct snapshot *snapshot);
uint64_t snapshot_size(const struct snapshot *snapshot); /* sum of sizes, octets */
bool snapshot_first_unseen(const struct snapshot *snapshot, size_t *index);

/* What leads from one snapshot of a mailbox to a newer one. */
struct snapshot_changes {
    GArray *expunged; /* uint32_t UIDs in before but not in after, ascending */
    GArray *changed;  /* size_t indexes in after: flags or modseq differ from before, ascending */
    size_t added;     /* messages at the end of after that before did not have */
};

/* Fills *out (release with snapshot_changes_release()). Every UID new in after is greater than
 * any UID of before unless the mailbox was altered from outside in a way that kept UIDs rising:
 * then, too, added counts exactly the new messages and they are the last ones. */
void snapshot_compare(struct snapshot_changes *out, const struct snapshot *before,
                      const struct snapshot *after);
void snapshot_changes_release(struct snapshot_changes *changes);

/* newest, plus every message of told that newest no longer has: the view of a session that may
 * not be told of an EXPUNGE yet (RFC 3501 7.4.1). Returns an owned reference, which may be
 * newest itself. Comparing it to newest later yields the expunges. */
struct snapshot *snapshot_keep_expunged(const struct snapshot *told, const struct snapshot *newest);

#endif
