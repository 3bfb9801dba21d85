/* What a mailbox has before an import into it, and what it had: so that nothing comes in twice,
 * what was deleted here stays deleted, and what an earlier import brought in is told from the rest.
 */
#ifndef ANNAL_SERVER_IMPORT_KNOWN_H
#define ANNAL_SERVER_IMPORT_KNOWN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/history.h"
#include "store/mailbox.h"
#include "store/observer.h"

/* What commits of imports have as their command; the second one where the messages that it brings
 * have the UIDs of the source. */
#define IMPORT_COMMAND      "import"
#define IMPORT_COMMAND_UIDS "import, UIDs kept"

struct import_known;

/* Keeps a reference to the mailbox and its snapshot, and about 32 octets a message. history: of the
 * account; borrowed, read when first needed; NULL: it can't be read. observer (may be NULL) is told
 * of changes while that is read, OBSERVER_CHANGES, OBSERVER_SEARCH. */
struct import_known *import_known_new(struct mailbox *mailbox, struct history *history,
                                      const struct observer *observer);
void import_known_free(struct import_known *known); /* accepts NULL */

/* Whether the observer has given up: not all is known, nothing is to be added. known may be NULL.
 */
bool import_known_given_up(const struct import_known *known);

const struct snapshot *import_known_snapshot(const struct import_known *known);

/* Of all below, known may be NULL: a mailbox that has and had nothing. */

/* Whether there is a message of these octets and this date that was not taken yet: takes it.
 * *index: in the snapshot. */
bool import_known_take(struct import_known *known, const struct object_id *blob, int64_t date,
                       size_t *index);
/* Whether such a message was here and was deleted or moved away: takes that. */
bool import_known_deleted(struct import_known *known, const struct object_id *blob, int64_t date);

enum import_known_uid {
    IMPORT_KNOWN_ABOVE, /* not below UIDNEXT */
    IMPORT_KNOWN_SAME,  /* the message of the source: takes it */
    IMPORT_KNOWN_OTHER, /* another message has the UID */
    IMPORT_KNOWN_GONE,  /* it was here and was deleted or moved away, as far as can be told */
    IMPORT_KNOWN_NEVER, /* below UIDNEXT, and never given */
};
/* Of a mailbox that has the source's UIDVALIDITY. Where the history does not reach back to the
 * message's arrival its date decides. */
enum import_known_uid import_known_uid(struct import_known *known, uint32_t uid, int64_t date,
                                       size_t *index);

/* Whether only imports have changed the message. */
bool import_known_untouched(struct import_known *known, size_t index);

/* The UIDs of messages that an import brought in under the source's UIDs, that nothing but imports
 * changed, and that were not taken: a new array of uint32_t, ascending. */
GArray *import_known_left(struct import_known *known);

#endif
