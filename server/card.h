/* What the admin is told of a session while it lives: its worker writes it, the event loop reads
 * it. */
#ifndef ANNAL_SERVER_CARD_H
#define ANNAL_SERVER_CARD_H

#include "server/session.h"

struct card;

struct card *card_new(void);
void card_free(struct card *card); /* accepts NULL */

/* The worker's, for the time being. Cheap when nothing has changed. */
void card_show(struct card *card, const struct session_summary *summary);

/* Where there is no session to show: just that. */
void card_set_activity(struct card *card, enum session_activity activity);

/* [any thread] A constant string such as "TLSv1.3"; NULL: none yet. */
void card_set_tls(struct card *card, const char *version);
const char *card_tls(const struct card *card);

/* [any thread] When something was received last, in seconds since the Unix epoch; 0: never. */
void card_touch(struct card *card, int64_t seconds);
int64_t card_touched(const struct card *card);

/* [any thread] A copy, to be cleared. */
struct card_copy {
    enum session_activity activity;
    char *user;    /* NULL before login */
    char *client;  /* NULL before the first card_show() */
    char *mailbox; /* NULL: none selected */
};
void card_read(struct card *card, struct card_copy *out);
void card_copy_clear(struct card_copy *copy);
/* Only that. */
enum session_activity card_activity(const struct card *card);

#endif
