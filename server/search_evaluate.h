/* Judging messages by a SEARCH program (RFC 3501 6.4.4): the keys made ready once for the command,
 * and for each message what the keys look at, got at the first need and at most once.
 *
 * Blocking, by message: the store is read and the host is asked for structure and text.
 */
#ifndef ANNAL_SERVER_SEARCH_EVALUATE_H
#define ANNAL_SERVER_SEARCH_EVALUATE_H

#include "server/search_program.h"
#include "server/session_private.h"

struct search;

/* For the session's present view. The arguments are borrowed and outlive it. */
struct search *search_new(struct session *session, const struct search_arguments *arguments);
void search_free(struct search *search); /* accepts NULL */

/* Whether the message at this index of the view matches. One that can't be read, though the answer
 * hangs on it, does not match; it is logged and counted. */
bool search_matches(struct search *search, size_t index);

/* The same of messages from this index on, of which there is one at least, where search_cost() is
 * SEARCH_COST_SNAPSHOT: as many as are easily judged at once, at most 64. Sets a bit for each that
 * matches, the lowest for the first; returns how many were judged. */
size_t search_matches_many(struct search *search, size_t index, uint64_t *matches);

enum search_cost search_cost(const struct search *search);
size_t search_failures(const struct search *search);
bool search_has_modseq(const struct search *search); /* a MODSEQ key was used */

#endif
