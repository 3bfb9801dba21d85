/* What LIST tells of the past: never more than was asked for by name, so that no client comes upon
 * it by a "*".
 *
 *   "History"                 the root
 *   "History/%"               the days on which something changed; the same with a "*"
 *   "History/2026-11-17/%"    that moment's mailboxes, also for a time or a commit
 *   "History/%/INBOX"         those of each day; but a "*" in place of the day does not go below it
 */
#ifndef ANNAL_SERVER_PAST_LISTING_H
#define ANNAL_SERVER_PAST_LISTING_H

#include "server/session_private.h"
#include "store/object_id.h"

struct past_listing;

/* patterns: char *, with repeated wildcards removed; borrowed. NULL: none asks for the past. */
struct past_listing *past_listing_new(const GPtrArray *patterns);
void past_listing_free(struct past_listing *listing); /* accepts NULL */

/* A name, and whether it can be opened; what is below it need not be known to be there. */
struct past_entry {
    char *name;
    bool exists;
    bool has_children;
    struct object_id commit; /* the state that the name opens; zero: not known */
};

/* The next names: *entries becomes a new array of struct past_entry *, with a free function, in the
 * order of account_list(); NULL at the end. *again: nothing yet, to be called again in the next
 * slice. */
int past_listing_next(struct past_listing *listing, struct session *session, GPtrArray **entries,
                      bool *again, struct store_error *error);
/* The name is asked for. */
bool past_listing_matches(const struct past_listing *listing, const char *name);

#endif
