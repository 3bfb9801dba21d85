/* How a store uses its journal: appending, the turn's sync, turning what is pending into git, and
 * checkpoints.
 *
 * Between two turns there is no time for a pack of many changes: where the settings say so, another
 * thread makes it, and the references move in a turn after it. Who needs all of it in git, or has
 * nothing else to do, makes packs himself.
 *
 * A checkpoint makes git durable as a whole (syncfs), in a thread of its own where the settings
 * say so, and then lets the journal's tail move on.
 */
#ifndef ANNAL_STORE_INTERNAL_JOURNALING_H
#define ANNAL_STORE_INTERNAL_JOURNALING_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/internal/journal.h"
#include "store/internal/journal_record.h"
#include "store/store.h"

struct spooler;

enum {
    MATERIALIZE_SOON = 15 * 1000,   /* microseconds pending, when there is nothing else to do */
    MATERIALIZE_LIGHT = 150 * 1000, /* the same otherwise, for few accounts with little, */
    MATERIALIZE_LATE = 500 * 1000,  /* and for others */
    LIGHT_ACCOUNTS = 4,
    LIGHT_SIZE = 1024 * 1024,        /* octets of objects */
    MATERIALIZE_SLICE = 4 * 1000,    /* of a turn, about */
    MATERIALIZE_AGAIN = 1000 * 1000, /* after a failure: a lock that stays, a full disk */
    CHECKPOINT_EVERY = 5 * 1000 * 1000,
    DRAIN_MAX = 1000 * 1000,     /* that a checkpoint waits for packs made beside it */
    CHECKPOINT_FRACTION = 3,     /* one at the latest when this part of the ring is taken */
    JOURNAL_RESERVE = 64 * 1024, /* octets that changes leave for notes */
};

struct account;
struct journaling;

/* Takes the journal, also on failure. */
int journaling_new(struct journaling **out, struct store *store, struct journal *journal,
                   const struct store_journal *settings, struct store_error *error);
/* Everything into git, durable, where that can be done; the journal keeps the rest. */
void journaling_free(struct journaling *journaling);

/* What a single record may hold; 0 without a journal. */
size_t journaling_record_max(const struct store *store);

/* Makes room for a change of this many octets: what is pending may become git's on the way.
 * STORE_NO_SPACE when git can't take it. */
int journaling_make_room(struct store *store, uint64_t size, struct store_error *error);
/* Appends a change. The store keeps the account until that is in git. STORE_NO_SPACE. */
int journaling_append(struct store *store, struct account *account,
                      const struct object_batch *batch, const struct ref_update *updates,
                      size_t count, bool relaxed, struct store_error *error);
/* Notes that the account's objects so far become a pack, or have done so. */
void journaling_note_packed(struct store *store, struct account *account);
/* Before anything becomes git's: whatever was appended is in the journal. */
int journaling_settle(struct store *store, struct store_error *error);
/* Whether a replay would find records of the account. */
bool journaling_holds(const struct store *store, const struct account *account);
/* Of the store's large messages, which are over when it closes; NULL: it works in one thread. */
struct spooler *journaling_spooler(const struct store *store);
/* Makes the account's changes git's, as journaling_work() does when they are due: durable only
 * with the next checkpoint, in the journal until then. STORE_CONFLICT as pending_materialize() has
 * it. */
int journaling_materialize(struct store *store, struct account *account, struct store_error *error);
/* Makes the account's changes durable in git, and the journal forget them. */
int journaling_flush(struct store *store, struct account *account, struct store_error *error);

bool journaling_is_sync_due(const struct journaling *journaling);
int journaling_sync(struct journaling *journaling, struct store_error *error);
/* Everything into git, durable, and the journal empty. */
int journaling_checkpoint(struct journaling *journaling, struct store_error *error);
/* The same, and overwrites what went through it. */
int journaling_wipe(struct journaling *journaling, struct store_error *error);
const struct store_error *journaling_trouble(const struct journaling *journaling);
/* The journal's last frame. */
uint64_t journaling_written(const struct journaling *journaling);
/* Sets all but accounts. */
void journaling_figures(const struct journaling *journaling, struct store_figures *out);
int64_t journaling_work(struct journaling *journaling, bool idle);

#endif
