/* Forgetting messages for good: out of every state of every mailbox of an account, and off the
 * disk.
 *
 * A message is its octets: wherever the account has the same ones (a copy in another mailbox, a
 * deleted mailbox, a tag's history), they go. All commits from the first that held one are written
 * anew without it (internal/rewrite.h), so their ids change; everything else in them stays, and
 * clients see an expunge. Each mailbox whose history changed gets a commit PURGE on top, with a gap
 * in the MODSEQs: what clients knew before is answered with all there is (FORMAT.md). All
 * references move in one step, with refs/annal/purged, whose newest commit says what was purged,
 * when and by whom, and which commits stand for which.
 *
 *   1. the history without the messages is written beside the old one; takes long, disturbs nobody
 *   2. stand(): nobody changes the account any more; what came meanwhile is done, too; the blobs
 *      are noted in annal-purge, the references move, caches go; go_on()
 *   3. the collection drops the old history: all packs are written anew
 *   4. stand(): caches go once more; go_on()
 *
 * A crash before the end of 2 leaves everything as it was; after it, 3 is finished by the next
 * collection of any kind. What else has copies (clones, backups, free blocks of the disk) is out of
 * reach.
 */
#ifndef ANNAL_STORE_PURGE_H
#define ANNAL_STORE_PURGE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "store/collect.h"
#include "store/error.h"
#include "store/host.h"
#include "store/mailbox.h"
#include "store/observer.h"

enum { PURGE_REASON_MAX = 200 }; /* octets; longer ones are cut */

struct purge_request {
    const char *user;
    const char *mailbox;          /* UTF-8; also one that was deleted */
    const struct uid_range *uids; /* ascending and disjoint; also of messages that were expunged */
    size_t count;
    const struct origin *origin;
    const char *reason;      /* for the record, or NULL */
    bool dry_run;            /* only says what would go */
    unsigned settle_seconds; /* struct collect_settings */
    /* Makes whoever serves the account stand still: all its changes are in git, no pack is
     * protected, no journal holds what went through it. Until go_on(), which is called whenever
     * stand() was. */
    int (*stand)(void *data, struct store_error *error);
    void (*go_on)(void *data);
    void *data;
    const struct observer *observer; /* may be NULL; not asked during step 2 */
};

/* A reference that held one of the messages. */
struct purge_place {
    char *ref;
    char *mailbox; /* its name; NULL: it is none */
    bool deleted;  /* a deleted mailbox */
    size_t now;    /* messages of its newest state */
};

struct purge_result {
    size_t messages;   /* different ones */
    GPtrArray *places; /* struct purge_place *, by reference */
    size_t commits;    /* written anew */
    bool moved; /* also after a failure: the history is without them, 3 and 4 are to be done */
    struct collect_result collected;
};
void purge_result_release(struct purge_result *result);

/* path: the repository; cache: its directory of derived state. *result is to be released in any
 * case. STORE_NOT_FOUND: no such message, nor was there one; STORE_FORBIDDEN: the account is on
 * hold (also where that began after 2: result->moved); STORE_CONFLICT: a gc is running, somebody
 * moved a reference again and again, or the observer gives up; STORE_UNSUPPORTED: the repository
 * borrows objects from another, or HEAD is no branch; STORE_CORRUPT, STORE_NO_SPACE, STORE_IO.
 * Blocks for long. */
int purge_run(const char *path, const char *cache, const struct host *host,
              const struct purge_request *request, struct purge_result *result,
              struct store_error *error);

#endif
