/* The names of mailboxes of the past: "History/MOMENT/MAILBOX", and "History/COMMIT" for the
 * mailbox of a commit, where MOMENT is what store/moment.h reads.
 *
 * They can be read and copied from, never changed. A mailbox of the present that has such a name
 * (made by other means, or before there were these) goes first: it is what its name means. IMAP
 * makes no new ones.
 */
#ifndef ANNAL_SERVER_PAST_NAME_H
#define ANNAL_SERVER_PAST_NAME_H

#include "server/session_private.h"
#include "store/past.h"

#define PAST_ROOT "History"

enum past_place {
    PAST_PLACE_NONE,    /* not below History */
    PAST_PLACE_ROOT,    /* History itself */
    PAST_PLACE_BAD,     /* below it, and no moment */
    PAST_PLACE_MOMENT,  /* History/MOMENT */
    PAST_PLACE_MAILBOX, /* History/MOMENT/MAILBOX */
};

struct past_name {
    enum past_place place;
    struct moment moment; /* MOMENT, MAILBOX */
    const char *mailbox;  /* MAILBOX: part of the name that was parsed, borrowed */
};

/* By the name alone. */
void past_name_parse(struct past_name *out, const char *name);

/* The name is below History, and no mailbox of the present has it. */
bool past_name_is_past(struct session *session, const char *name);

/* Opens a mailbox of the present or the past. progress: as past.h has it; while there is some,
 * nothing is open yet (*out is NULL). STORE_NOT_FOUND also for what has no mailbox to be opened or
 * lies in the future. */
int past_name_open(struct session *session, const char *name, struct mailbox **out,
                   struct past_progress **progress, struct store_error *error);

/* The same of a state that is known by its commit. */
int past_name_open_commit(struct session *session, const struct object_id *commit,
                          struct mailbox **out, struct store_error *error);

/* The NO of a command to read a name that past_name_open() did not find: says why, if the name is
 * one of the past. Else as session_fail(). */
enum run_status past_name_not_found(struct session *session, struct run *run, const char *name,
                                    const struct store_error *error);

/* The NO of a command that would change, make or subscribe to such a name. */
enum run_status past_name_refuse(struct session *session, struct run *run, const char *name);

/* Appends the MAILBOXID (RFC 8474) of what the name has opened: another one than that of the
 * mailbox of the present. */
void past_name_write_id(GString *out, const char *name, const struct mailbox *mailbox);

/* Whether the moment has not begun. */
bool past_name_is_future(const struct session *session, const struct moment *moment);

#endif
