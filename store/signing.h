/* Signed checkpoints: at times, a tag that names all heads of an account, signed with an SSH key as
 * git does it, so that `git verify-tag` (gpg.format=ssh) and checkpoints_verify() can tell later
 * whether the history up to then is still the same.
 *
 *   refs/annal/checkpoints/NUMBER    from 1 on
 *
 * The tag's message:
 *
 *   Checkpoint NUMBER of USER
 *
 *   previous ID                      the tag before; 40 zeros in the first one
 *   from NUMBER                      the oldest checkpoint that is kept; without this line: 1
 *   head REF ID                      every reference but the checkpoints themselves, by name
 *
 * and then the signature. The tagged object is a blob with the same lines: nothing of the history
 * is kept by it that would otherwise go.
 *
 * Checkpoints go with the history that they are about. Of those older than what an account keeps
 * only the newest stays, and never fewer than CHECKPOINTS_MIN in all: the references of the rest
 * are removed in the step that adds a new one, which says so (from). So nobody without the key can
 * take the oldest ones away.
 */
#ifndef ANNAL_STORE_SIGNING_H
#define ANNAL_STORE_SIGNING_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/host.h"
#include "store/observer.h"

enum {
    SIGNING_HOURS_DEFAULT = 24,
    SIGNING_HOURS_MAX = 24 * 366,
    CHECKPOINT_SIZE_MAX = 16 * 1024 * 1024, /* octets of a tag */
    CHECKPOINTS_MIN = 10,
};

/* A key is constant once it is loaded: any thread may use it. */
struct signing_key;
/* A private Ed25519 key without a pass phrase, as `ssh-keygen -t ed25519 -N ''` makes it, that
 * nobody else may read. STORE_NOT_FOUND, STORE_FORBIDDEN, STORE_UNSUPPORTED, STORE_CORRUPT,
 * STORE_IO. */
int signing_key_load(struct signing_key **out, const char *path, struct store_error *error);
void signing_key_free(struct signing_key *key); /* accepts NULL */
/* The public key's line, a new string. */
char *signing_key_public(const struct signing_key *key);

/* Signs the heads of the repository at path, unless they are those of the last checkpoint, or that
 * is younger than so many seconds (after). Removes checkpoints older than keep seconds (what the
 * mailbox that keeps its past the longest does: retention_policy_longest()), unless the account is
 * on hold. *made tells. Durable on return. Others may do the same meanwhile; STORE_CONFLICT
 * when they keep on doing so. STORE_CORRUPT, STORE_NO_SPACE, STORE_IO. */
int checkpoint_make(const char *path, const struct host *host, const struct signing_key *key,
                    const char *user, int64_t after, int64_t keep, bool *made,
                    struct store_error *error);

struct checkpoint_report {
    size_t checkpoints;
    uint64_t from; /* the number of the oldest; those before went with their history */
    size_t heads;  /* that are still in the history, as they were */
    size_t purged; /* whose history a purge has written anew: its record says what they are now */
    size_t before; /* older than what retention keeps: nothing can be said of them */
    int64_t first; /* second of the oldest checkpoint, and of the newest; 0: none */
    int64_t last;
};

typedef void (*checkpoint_finding)(const char *finding, void *data);

/* Checks all checkpoints: each signed by one of these keys (char *: lines of public keys), each
 * naming the one before, none missing from the one on that the last says they begin with, and each
 * head in the history of today: itself an ancestor of a reference, or what a purge put in its
 * place, or older than the boundary. *findings gets the number of what is wrong, told line by line.
 * That the objects are whole is for verify_repository(). observer (may be NULL) is told of changes
 * and checkpoints: STORE_CONFLICT when he gives up. STORE_NOT_FOUND, STORE_CORRUPT, STORE_IO. */
int checkpoints_verify(const char *path, const GPtrArray *keys, checkpoint_finding report,
                       void *data, const struct observer *observer, struct checkpoint_report *out,
                       size_t *findings, struct store_error *error);

#endif
