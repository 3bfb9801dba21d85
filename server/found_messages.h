/* What SORT and THREAD begin with: the messages of the view that match, found and then looked at
 * one by one, in slices that give way to others.
 */
#ifndef ANNAL_SERVER_FOUND_MESSAGES_H
#define ANNAL_SERVER_FOUND_MESSAGES_H

#include "server/search_evaluate.h"
#include "server/session_message.h"

struct found_messages {
    struct search *search;
    size_t position;  /* next message of the view to be found */
    size_t unchecked; /* messages since the clock was asked */
    GArray *indexes;  /* uint32_t, in the view, ascending */
    uint64_t highest_modseq;
    struct session_message message; /* the one that is looked at */
    size_t failures;                /* messages that could not be read for that */
};

/* With a MODSEQ key CONDSTORE is enabled. */
void found_messages_init(struct found_messages *found, struct session *session, struct run *run);
void found_messages_release(struct found_messages *found);

/* False: to be called again. */
bool found_messages_search(struct found_messages *found, struct session *session,
                           const struct run *run);
/* To be called after so many messages; dear: they were read. True when it is time to give way. */
bool found_messages_check(struct found_messages *found, struct session *session,
                          const struct run *run, size_t messages, bool dear);

/* Turns to the message at this place of indexes. */
void found_messages_set(struct found_messages *found, struct session *session, uint32_t place);
/* The summary of the one turned to; NULL if it can't be had, which is logged and counted. */
const struct summary *found_messages_summary(struct found_messages *found, struct session *session);
/* Logs and counts that the one turned to can't be read. */
void found_messages_fail(struct found_messages *found, struct session *session,
                         const struct store_error *error);

/* The number to be told of the one at this place of indexes. */
uint32_t found_messages_number(const struct found_messages *found, const struct session *session,
                               const struct run *run, uint32_t place);
/* When it was sent (RFC 5256 2.2); summary may be NULL. */
int64_t found_messages_sent(const struct message *message, const struct summary *summary);

/* All messages that could not be read. */
size_t found_messages_failures(const struct found_messages *found);

#endif
