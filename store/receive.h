/* What others push into an account's repository: refused where it would break a mailbox, and set
 * right by a commit on top where it only asks for what IMAP does not allow (FORMAT.md, "Changes
 * from outside"). Both are done by git's hooks, which a repository has; one that lacks them is safe
 * all the same, as a server refuses bad states and sets right what it finds.
 */
#ifndef ANNAL_STORE_RECEIVE_H
#define ANNAL_STORE_RECEIVE_H

#include "store/account.h"
#include "store/error.h"
#include "store/host.h"
#include "store/object_id.h"

/* Whether the reference of the repository at path may move from before (zero: it is new) to after,
 * whose objects are there: git's `update` hook. STORE_FORBIDDEN, STORE_CORRUPT and others with the
 * reason, for people. */
int receive_check(const char *path, const char *reference, const struct object_id *before,
                  const struct object_id *after, struct store_error *error);

/* After the move: makes of a mailbox what clients that knew it at before may be told, unless it is
 * that already. References that are no mailbox are left alone. */
int receive_settle(struct account *account, const char *reference, const struct object_id *before,
                   struct store_error *error);

/* Writes the hooks `update` and `post-receive` into the repository at path, which run this program
 * (absolute; "annal receive-check"). Hooks that somebody else wrote stay; ours are written only if
 * they differ. A program whose name a shell could misread is left out. */
int receive_install(const char *path, const char *program, const struct host *host,
                    struct store_error *error);

#endif
