/* What a client of QRESYNC (RFC 7162 3.2) missed while it was away: for SELECT with QRESYNC and for
 * UID FETCH with VANISHED. */
#ifndef ANNAL_SERVER_RESYNC_H
#define ANNAL_SERVER_RESYNC_H

#include "server/session_private.h"

struct resync;

/* Finds what vanished from the view since a MODSEQ, among the UIDs known (NULL: all) above match,
 * up to which the client knows what there is. The view stays as it is until resync_free(). */
int resync_begin(struct resync **out, struct session *session, const struct sequence_set *known,
                 uint32_t match, uint64_t since, struct store_error *error);
void resync_free(struct resync *resync); /* accepts NULL */

/* Writes VANISHED (EARLIER) responses. False: to be called again in the next slice. */
bool resync_tell_vanished(struct resync *resync, const struct run *run);
/* Then: a FETCH response with the flags of each known message that has changed since. */
bool resync_tell_flags(struct resync *resync, const struct run *run);

/* The highest UID of the pairs of message numbers and UIDs that is right in the view; 0: none. */
uint32_t resync_match(const struct session *session, const struct sequence_set *numbers,
                      const struct sequence_set *uids);

#endif
