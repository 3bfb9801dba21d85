/* The account that an import goes to.
 *
 * Messages are committed in batches, over many mailboxes at once and durable; whatever ends the
 * import, batches are there or not, and the same import again goes on: a message that a mailbox has
 * already, by its UID where UIDs are kept, else by its octets and date, is not added a second time
 * (as often as the source has it), nor is one that was deleted there or moved away.
 *
 * An import follows what changed in the source since the one before: a message that only imports
 * have changed gets the flags that it has in the source. One that the source does not have any more
 * is removed if that is asked for, if only imports have changed it and it came under the source's
 * UID, and if all of its mailbox could be read. What arrived in other ways is never touched. All of
 * that is read from the history.
 */
#ifndef ANNAL_SERVER_IMPORT_TARGET_H
#define ANNAL_SERVER_IMPORT_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "server/import.h"
#include "server/import_place.h"
#include "store/observer.h"
#include "store/store.h"

enum import_uids {
    IMPORT_UIDS_KEEP,    /* where the mailbox can take them over; else told */
    IMPORT_UIDS_REQUIRE, /* the import stops where it can't */
    IMPORT_UIDS_FRESH,
};

struct import_target_options {
    const char *root; /* the mailbox that the source's root goes to */
    enum import_uids uids;
    bool keep_bytes;  /* else bare LF line ends become CRLF */
    bool duplicates;  /* add also what is there already or was deleted */
    bool delete_gone; /* remove what is gone in the source; else it is counted */
    /* Is told of changes of the history that is read; may be NULL. Where he gives up the import
     * ends before the message that it was read for. */
    const struct observer *observer;
};

struct import_counts {
    uint64_t messages; /* added */
    uint64_t octets;
    uint64_t there;   /* not added again */
    uint64_t deleted; /* not added again, as they were deleted or moved here */
    struct import_place_counts place;
    unsigned mailboxes;
    unsigned skipped;
};

struct import_target;

/* Everything is borrowed, options too. complain gets each line about something that did not go as
 * in the source. */
struct import_target *import_target_new(struct store *store, struct account *account,
                                        const struct import_target_options *options,
                                        void (*complain)(const char *text));
/* What is not committed is dropped. Accepts NULL. */
void import_target_free(struct import_target *target);

/* The callbacks of struct import_sink of these names. False: told by complain. */
bool import_target_mailbox(struct import_target *target, const struct import_mailbox *mailbox);
enum import_wish import_target_wish(struct import_target *target,
                                    const struct import_message *message);
bool import_target_message(struct import_target *target, const struct import_message *message);
void import_target_subscribed(struct import_target *target, const char *mailbox);

/* Commits what is waiting. */
bool import_target_flush(struct import_target *target);
/* The same at the end: UIDNEXT, subscriptions, and special uses where the root is INBOX. */
bool import_target_finish(struct import_target *target);

const struct import_counts *import_target_counts(const struct import_target *target);
/* Something of the source was left out, of the mailbox that was entered last if there is one. */
void import_target_skipped(struct import_target *target);

#endif
