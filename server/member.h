/* Inside the workers: worker.c runs the turns, member.c keeps the sessions.
 *
 * A session's member is in exactly one worker's members, or on its way in a queue after
 * member_take_login(). Only the worker that a link is assigned to touches its member.
 */
#ifndef ANNAL_SERVER_MEMBER_H
#define ANNAL_SERVER_MEMBER_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/delivery_desk.h"
#include "server/loan.h"
#include "server/session.h"
#include "server/worker.h"

/* struct worker_figures, for other threads. */
struct worker_public {
    atomic_int_least64_t turn;
    atomic_uint_least64_t journal_size;
    atomic_uint_least64_t journal_used;
    atomic_uint waiting;
    atomic_int_least64_t waiting_since;
    atomic_int_least64_t checkpoint;
    atomic_int trouble;
    atomic_uint users;
    atomic_uint accounts;
    atomic_uint packs;
};

struct worker {
    struct workers *all;
    struct link_queue *queue;
    bool queue_noticed; /* it has something */
    int epoll;          /* of the queue, the watch, and sockets that are lent */
    uint8_t *scratch;   /* for these */
    struct store *store;
    struct delivery_desk *desk;
    pthread_t thread;
    bool started;
    atomic_bool stopped;
    atomic_uint turns;
    unsigned turns_seen; /* these two belong to workers_alive() */
    bool was_asked;

    GPtrArray *members;  /* struct member *, owned */
    GPtrArray *runnable; /* struct member *, to step */
    GPtrArray *touched;  /* struct member *, that may have output in this turn */
    GPtrArray *storing;  /* struct member *, that wait for the disk */
    GHashTable *users;   /* name to GPtrArray of struct member *, logged in */
    int64_t next_tick;
    int64_t next_work;    /* of the store */
    int64_t last_news;    /* when there was something to do */
    int64_t last_trouble; /* when a trouble of the store was logged */
    int64_t next_maintain;
    struct ref_watch *watch; /* of the accounts of users; NULL: only ticks notice */
    bool watch_noticed;      /* something can be read of it */
    struct worker_public public;
};

/* Of sessions; never changed once it is in use. */
struct session_rules {
    struct session_settings settings[4]; /* by what a link may do */
    unsigned connections_per_user;
};

struct workers {
    struct workers_settings settings;
    struct session_rules *_Atomic rules; /* those in force */
    GPtrArray *all_rules;                /* owned: sessions may have older ones */
    atomic_uint next;                    /* for links that come */
    struct stand *stand;
    struct settling *settling;
    struct worker *workers;
};

/* One session and what the worker knows of it. */
struct member {
    struct worker *worker;
    struct link *link;
    struct loan loan;
    struct session *session;
    struct session_host host;
    enum session_status status;
    guint index; /* in members */
    bool is_runnable;
    bool is_touched;
    bool is_storing;
    bool checking; /* a password, elsewhere */
    bool high;     /* stopped because its output was high */
    bool told;     /* the connection knows of the change of transport */
    size_t unsent; /* as the session was told */
    bool end;      /* no more input will come */
    char *user;    /* of users; NULL before login */
};

/* Microseconds since the Unix epoch. */
int64_t member_now(void *data);

/* The worker of a user's account. */
struct worker *member_worker_of(struct workers *all, const char *user);

/* A new session for the link, in the worker. */
struct member *member_new(struct worker *worker, struct link *link);
/* The session is over; the connection, if there still is one, has been told. */
void member_free(struct member *member);
/* A member that has moved here from another worker. */
void member_enter(struct worker *worker, struct member *member);

/* A turn steps it, this one or the next; this one delivers its output. */
void member_make_runnable(struct member *member);
void member_touch(struct member *member);

/* Brings the link's card up to date. */
void member_show(struct member *member);

/* The result of a password check, if there is one in the news. False if the member has moved away
 * to the worker of its user, with all that was news. */
bool member_take_login(struct member *member, const struct link_news *news);

#endif
