/* Beside a live server: what it has acknowledged is in git a moment later, and until then in its
 * journal, which anybody may read. For whoever wants to see all of an account, not only what git
 * has by chance.
 */
#ifndef ANNAL_STORE_FOLLOW_H
#define ANNAL_STORE_FOLLOW_H

#include <glib.h>
#include <stdbool.h>

#include "store/account.h"
#include "store/error.h"
#include "store/object_id.h"

enum { FOLLOW_SECONDS = 60 }; /* usual patience */

/* Whether a journal in the data directory (store.h) has changes to that user's account that it does
 * not know to be durable in git: only then can there be something to wait for, or to replay. Reads
 * only, blocks. Errors as store_open() has them. */
int follow_find(bool *out, const char *directory, const char *user, struct store_error *error);

/* Returns when git has every change to the account that was in a journal when it was called. At
 * once where there is none; usually within 200 ms. STORE_CONFLICT when git has not followed after
 * so many seconds. Blocks. */
int follow_journal(struct account *account, unsigned seconds, struct store_error *error);

struct follow_reference {
    char *name; /* full */
    struct object_id id;
};

/* After that, all references of the account as they stood together at one moment: a change of
 * several mailboxes is in all of them or in none. A new array of struct follow_reference * with a
 * free function set, ascending by name. STORE_CONFLICT when there was no such moment within so many
 * seconds. Blocks. */
int follow_moment(struct account *account, unsigned seconds, GPtrArray **out,
                  struct store_error *error);

/* One look, without any patience: the same array, or NULL if the references do not stand together
 * just now. */
int follow_look(struct account *account, GPtrArray **out, struct store_error *error);

#endif
