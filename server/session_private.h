/* Inside the session: its state, and what the command files share. Only session*.c and the
 * command files of the core include this.
 *
 * session.c        the state machine, input and output, greeting, time-outs
 * session_sync.c   the one place that tells of EXISTS, EXPUNGE, FETCH flags
 * command_table.c  which command may run when, and what it does to sequence numbers
 * command_*.c      the commands by family
 */
#ifndef ANNAL_SERVER_SESSION_PRIVATE_H
#define ANNAL_SERVER_SESSION_PRIVATE_H

#include "protocol/command.h"
#include "protocol/parser.h"
#include "server/session.h"

/* RFC 3501 3, as a mask for the command table. */
enum session_state {
    SESSION_STATE_NOT_AUTHENTICATED = 1 << 0,
    SESSION_STATE_AUTHENTICATED = 1 << 1,
    SESSION_STATE_SELECTED = 1 << 2,
    SESSION_STATE_LOGOUT = 1 << 3,
};

/* What untagged responses may tell of at a command's end (RFC 3501 5.5, 7.4.1). */
enum sync_mode {
    SYNC_NONE,       /* nothing: no mailbox, or it is being left */
    SYNC_NO_EXPUNGE, /* FETCH, STORE, SEARCH (not their UID forms): numbers must not move */
    SYNC_FULL,
};

enum run_status {
    RUN_DONE,  /* the tagged response is written */
    RUN_AGAIN, /* the slice is over or the output high: call again with the same run */
    RUN_WAIT, /* waits for input or for an event (authentication, DONE); the session goes on then */
};

/* A command under way. Its function may keep what it needs in state. */
struct run {
    struct command *command;
    const struct command_spec *spec;
    void *state;
    void (*state_free)(void *state);
    int64_t started; /* host time of the present slice */
};

struct command_spec {
    const char *name;
    unsigned states;         /* mask of enum session_state in which it is allowed */
    enum sync_mode sync;     /* of the plain form */
    enum sync_mode uid_sync; /* of the UID form */
    enum run_status (*run)(struct session *session, struct run *run);
};

const struct command_spec *command_spec(enum command_kind kind);

/* One session. Fields above the blank lines are set in the order of its life. */
struct session {
    const struct session_settings *settings;
    const struct session_host *host;
    char *id;
    char *peer;
    char *client; /* name and version from ID, made printable, or NULL */
    bool tls;
    bool compressed;
    enum session_state state;

    struct parser *parser;
    GByteArray *input; /* not yet parsed */
    struct run run;    /* run.command NULL: none */

    GQueue output;        /* GBytes */
    GString *out;         /* being written; becomes a piece */
    size_t output_octets; /* in output, not in out */
    size_t unsent;

    struct store *store;
    char *user;
    struct account *account;
    bool utf8;      /* ENABLE UTF8=ACCEPT */
    bool condstore; /* ENABLE CONDSTORE or a CONDSTORE enabling command (RFC 7162 3.1) */

    struct mailbox *mailbox; /* NULL: none selected */
    struct snapshot *view;   /* what the client has been told of */
    bool read_only;          /* EXAMINE */
    uint32_t recent_from;    /* messages with a UID of at least this are \Recent here */
    size_t keywords_told;    /* of the mailbox, in the last FLAGS response */

    struct session_private *private; /* session.c's own */
};

/* --- session.c: output --- */

/* The buffer to append response lines to. */
GString *session_out(struct session *session);
/* Appends a piece without copying it: takes the reference. */
void session_out_take(struct session *session, GBytes *piece);
/* "TAG OK text". code: without brackets, or NULL. status: "OK", "NO", "BAD". */
enum run_status session_finish(struct session *session, struct run *run, const char *status,
                               const char *code, const char *text);
/* As session_finish(), for a failed store call: the right NO with its response code of RFC 5530
 * (and TRYCREATE where destination is true and it is missing); logs the detail. */
enum run_status session_fail(struct session *session, struct run *run,
                             const struct store_error *error, bool destination);
/* True when a running command should give way: slice over, or output high. */
bool session_should_yield(const struct session *session, const struct run *run);
void session_log(const struct session *session, enum session_log_level level, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));
/* Who and how, for a commit. The strings are borrowed from session and command. */
void session_origin(const struct session *session, const struct run *run, struct origin *out);

/* --- session_sync.c --- */

/* Brings the client up to date: emits EXISTS, RECENT, EXPUNGE, FETCH (FLAGS ...) as mode allows
 * and advances the view. Called by session_finish() before the tagged line. */
void session_sync(struct session *session, enum sync_mode mode);
/* Moves the view to the mailbox's newest snapshot after the session's own STORE without telling of
 * the flags of the UIDs in told (ascending uint32_t), which the command itself reports or silences.
 */
void session_sync_quiet(struct session *session, const uint32_t *told, size_t count,
                        enum sync_mode mode);
/* Writes "(\Seen kw \Recent)" for a message of the view. */
void session_write_flags(struct session *session, GString *out, const struct snapshot *snapshot,
                         const struct message *message);
bool session_is_recent(const struct session *session, const struct message *message);
/* Emits untagged FLAGS and PERMANENTFLAGS if the mailbox has keywords not told of yet. */
void session_tell_keywords(struct session *session, const struct snapshot *snapshot);
/* The messages of a set in the view: a new GArray of uint32_t indexes, ascending. With uid,
 * missing UIDs are skipped; without, a number beyond the last message makes it NULL: BAD. */
GArray *session_resolve(struct session *session, const struct sequence_set *set, bool uid);
void session_unselect(struct session *session);

/* --- command_*.c: the functions of the command table --- */

enum run_status run_capability(struct session *session, struct run *run);
enum run_status run_noop(struct session *session, struct run *run); /* NOOP and CHECK */
enum run_status run_logout(struct session *session, struct run *run);
enum run_status run_id(struct session *session, struct run *run);
enum run_status run_starttls(struct session *session, struct run *run);
enum run_status run_authenticate(struct session *session, struct run *run);
enum run_status run_login(struct session *session, struct run *run);
enum run_status run_enable(struct session *session, struct run *run);
enum run_status run_compress(struct session *session, struct run *run);
enum run_status run_namespace(struct session *session, struct run *run);
enum run_status run_select(struct session *session, struct run *run); /* and EXAMINE */
enum run_status run_create(struct session *session, struct run *run);
enum run_status run_delete(struct session *session, struct run *run);
enum run_status run_rename(struct session *session, struct run *run);
enum run_status run_subscribe(struct session *session, struct run *run); /* and UNSUBSCRIBE */
enum run_status run_list(struct session *session, struct run *run);      /* and LSUB */
enum run_status run_status(struct session *session, struct run *run);
enum run_status run_append(struct session *session, struct run *run);
enum run_status run_idle(struct session *session, struct run *run);
enum run_status run_close(struct session *session, struct run *run); /* and UNSELECT */
enum run_status run_expunge(struct session *session, struct run *run);
enum run_status run_search(struct session *session, struct run *run);
enum run_status run_fetch(struct session *session, struct run *run);
enum run_status run_store(struct session *session, struct run *run);
enum run_status run_copy(struct session *session, struct run *run); /* and MOVE */

#endif
