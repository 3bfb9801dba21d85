/* Inside the session: its state, and what the command files share. Only session*.c and the
 * command files of the core include this.
 *
 * session.c        the state machine, input, greeting, time-outs
 * session_output.c output, the end of a command, errors of the store as responses
 * session_sync.c   the one place that tells of EXISTS, EXPUNGE, FETCH flags
 * resync.c         what a client of QRESYNC missed while it was away
 * past_name.c      names of mailboxes of the past
 * past_listing.c   their lists
 * command_table.c  which command may run when, and what it does to sequence numbers
 * command_*.c      the commands by family
 *
 * A command function is called when its command may run here: the table has been asked for the
 * state and, for commands that change messages, whether the mailbox is open for writing. It
 * writes untagged responses to session_out(), then returns session_finish() or session_fail(),
 * or RUN_AGAIN whenever session_should_yield() says so, having kept its place in run->state.
 */
#ifndef ANNAL_SERVER_SESSION_PRIVATE_H
#define ANNAL_SERVER_SESSION_PRIVATE_H

#include "protocol/command.h"
#include "protocol/parser.h"
#include "protocol/structure.h"
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
    RUN_WAIT,  /* waits for input or for an event (authentication, DONE, the disk): called again
                  then, and perhaps before */
};

/* A command under way. Its function may keep what it needs in state. */
struct run {
    struct command *command;
    const struct command_spec *spec;
    void *state;
    void (*state_free)(void *state);
    int64_t begun;   /* host time of its begin */
    int64_t started; /* host time of the present slice */
    bool logged;     /* its failure has a log line of its own */
};

struct command_spec {
    const char *name;
    unsigned states;         /* mask of enum session_state in which it is allowed */
    enum sync_mode sync;     /* of the plain form */
    enum sync_mode uid_sync; /* of the UID form */
    bool changes;            /* refused in a mailbox opened by EXAMINE */
    enum run_status (*run)(struct session *session, struct run *run);
};

const struct command_spec *command_spec(enum command_kind kind);
/* What to say to a verb that is not offered: a hint for well-known extensions, else NULL. */
const char *command_unknown_hint(const char *verb);

/* The answer to host.authenticate, kept until the session's next step. */
enum login_answer { LOGIN_NONE, LOGIN_PENDING, LOGIN_GOOD, LOGIN_BAD };

/* A change of the transport that waits for the edge. */
enum handover { HANDOVER_NONE, HANDOVER_STARTTLS, HANDOVER_COMPRESS };

/* A literal that is produced as the client reads; stream NULL: none. Until it is done nothing else
 * may be put out, so neither the running command nor a BYE gets its turn. */
struct literal {
    struct message_stream *stream;
    uint64_t at;
    uint64_t left;                    /* octets that are still to be put out */
    uint32_t uid;                     /* of the message, for the log */
    struct transfer_decoder *decoder; /* what is put out is decoded; NULL: it is not */
    uint64_t end;                     /* of what is decoded */
    uint64_t skip;                    /* decoded octets that are dropped first */
};

/* One session. Blank lines part what is set at different times of its life. */
struct session {
    const struct session_settings *settings;
    const struct session_host *host;
    char *id;
    char *peer;
    char *client;   /* for commits: "name version (peer)" after an ID, else the peer */
    bool sent_away; /* by a BYE that the client did not ask for */
    bool tls;
    bool compressed;
    enum session_state state;

    struct parser *parser;
    GByteArray *input;   /* NULL: empty */
    size_t input_parsed; /* octets of input already used */
    struct run run;      /* run.command NULL: none */
    enum run_status ran; /* what run's function returned last */
    int64_t slice;       /* host time at which the present step began */
    enum handover handover;

    GQueue output;        /* GBytes */
    GString *out;         /* being written; becomes a piece; NULL: empty */
    size_t output_octets; /* in output, not in out */
    struct literal literal;
    size_t unsent;

    int64_t created; /* host times */
    int64_t active;  /* when the client last did something */
    uint64_t octets_in;
    uint64_t octets_out;
    uint64_t commands;
    unsigned bad_in_a_row;
    unsigned failed_logins;
    char *farewell; /* session_shut_down()'s text, until it is said */
    bool idling;
    bool storing; /* an APPEND waits for the disk: session_can_go_on() */

    enum login_answer login;
    struct store *login_store;
    char *login_user; /* as tried, then as the host names it */
    char *login_reason;

    struct store *store;
    char *user;
    struct account *account;
    unsigned losses; /* account_losses() at the login */
    bool utf8;       /* ENABLE UTF8=ACCEPT or IMAP4rev2 */
    bool rev2;       /* ENABLE IMAP4rev2: what RFC 9051 took out is not said unasked */
    bool condstore;  /* ENABLE CONDSTORE or a CONDSTORE enabling command (RFC 7162 3.1) */
    bool qresync;    /* ENABLE QRESYNC: VANISHED in place of EXPUNGE */

    struct mailbox *mailbox; /* NULL: none selected */
    struct snapshot *view;   /* what the client has been told of */
    bool read_only;          /* EXAMINE */
    bool held;               /* the view has messages that were expunged, to be told of later */
    bool modseq_due;         /* HIGHESTMODSEQ belongs into the next tagged response (QRESYNC) */
    uint64_t told_modseq;    /* every change up to this one has been told */
    GArray *recent;          /* struct sequence_range of UIDs, ascending: \Recent here */
    GArray *saved;           /* the same: "$" (RFC 5182); NULL: empty */
    size_t keywords_told;    /* of the mailbox, in the last FLAGS response */
};

/* --- session.c --- */

/* The one setter of session->state: asserts that the step from the present state is legal. */
void session_set_state(struct session *session, enum session_state state);
/* Ends the conversation: "* BYE [code] text" (code may be NULL), then SESSION_CLOSED. */
void session_bye(struct session *session, const char *code, const char *text);
/* Octets promised to the client can't be had: nothing that could still be said would be understood.
 * Ends the conversation without a word; the command under way returns RUN_AGAIN. */
void session_break(struct session *session, uint32_t uid, const struct store_error *error);
/* For commands that read lines of their own (AUTHENTICATE, IDLE): true with the next line of
 * input, valid until the next call, and with *too_long as soon as it passes limit: *line is then
 * not set, and what is left of it is skipped. */
bool session_read_line(struct session *session, size_t limit, const char **line, bool *too_long);
/* Forgets all input not yet parsed (STARTTLS). */
void session_drop_input(struct session *session);
/* --- session_output.c --- */

/* The buffer to append response lines to. */
GString *session_out(struct session *session);
/* Appends a piece without copying it: takes the reference. */
void session_out_take(struct session *session, GBytes *piece);
/* Puts out length octets of the stream from offset on, all within the stream, as a literal's
 * content: as much as the output takes at once, the rest in later steps. session_should_yield() is
 * true until it is done, and the command gives way before it writes on. A failure breaks the
 * session off. */
void session_out_stream(struct session *session, struct message_stream *stream, uint32_t uid,
                        uint64_t offset, uint64_t length);
/* The same of content that is decoded on the way: length octets of it from offset on, which it has;
 * length is not 0. */
void session_out_decoded(struct session *session, struct message_stream *stream, uint32_t uid,
                         const struct structure_content *content, uint64_t offset, uint64_t length);
/* Gives up what is left of the literal. */
void session_drop_literal(struct session *session);
/* Goes on with the literal until it is done or the output is high. */
void session_pump(struct session *session);
/* "TAG OK text", after session_sync() in the command's mode. code: without brackets, or NULL.
 * status: "OK", "NO", "BAD". Always RUN_DONE. */
enum run_status session_finish(struct session *session, struct run *run, const char *status,
                               const char *code, const char *text);
/* As session_finish(), for a failed store call: the right NO with its response code of RFC 5530
 * (and TRYCREATE where destination is true and it is missing); logs the detail. */
enum run_status session_fail(struct session *session, struct run *run,
                             const struct store_error *error, bool destination);
/* Takes back what was put out after this many octets waited. */
void session_output_cut(struct session *session, size_t waiting);
/* As much waits, here and at the edge, as may: SESSION_OUTPUT_HIGH. */
bool session_output_is_high(const struct session *session);
/* True when a running command should give way: slice over, output high, or a literal under way. */
bool session_should_yield(const struct session *session, const struct run *run);
/* One line of key=value pairs. */
void session_log(const struct session *session, enum session_log_level level, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));
/* Who and how, for a commit. The strings are borrowed from session and command. */
void session_origin(const struct session *session, const struct run *run, struct origin *out);
/* Appends the list of capabilities that hold now, without brackets. */
void session_write_capabilities(const struct session *session, GString *out);

/* --- session_sync.c --- */

/* Brings the client up to date: emits EXISTS, RECENT, EXPUNGE, FETCH (FLAGS ...) as mode allows
 * and advances the view. Called by session_finish() before the tagged line. */
void session_sync(struct session *session, enum sync_mode mode);
/* Moves the view to the mailbox's newest snapshot after the session's own STORE without telling of
 * the flags of the UIDs in told (ascending uint32_t), which the command itself reports or silences.
 */
void session_sync_quiet(struct session *session, const uint32_t *told, size_t count,
                        enum sync_mode mode);
/* Writes "(\Seen kw \Recent)" (without \Recent in IMAP4rev2) for a message of the view. */
void session_write_flags(struct session *session, GString *out, const struct snapshot *snapshot,
                         const struct message *message);
bool session_is_recent(const struct session *session, const struct message *message);
/* Emits untagged FLAGS and PERMANENTFLAGS if the mailbox has keywords not told of yet. */
void session_tell_keywords(struct session *session, const struct snapshot *snapshot);
/* "* n FETCH (...)" with the flags of the message at index, UID (CONDSTORE, IMAP4rev2) and
 * MODSEQ (CONDSTORE). */
void session_write_fetch(struct session *session, const struct snapshot *snapshot, size_t index);
/* The result that a SEARCH saved: UIDs, some of which may be gone. Borrowed until the next save. */
GArray *session_saved(struct session *session);
/* Saves UIDs, ascending. */
void session_save(struct session *session, const uint32_t *uids, size_t count);
/* The messages of a set in the view: a new GArray of uint32_t indexes, ascending. With uid,
 * missing UIDs are skipped; without, a number beyond the last message makes it NULL: BAD. */
GArray *session_resolve(struct session *session, const struct sequence_set *set, bool uid);
/* Leaves the mailbox, if one is selected: back to the authenticated state. */
void session_unselect(struct session *session);
/* For every CONDSTORE enabling command (RFC 7162 3.1): from now on FETCH responses carry MODSEQ
 * (and UID). The first one in a selected mailbox tells HIGHESTMODSEQ. */
void session_enable_condstore(struct session *session);
/* The untagged lines that SELECT and a change of keywords share: FLAGS and PERMANENTFLAGS. */
void session_write_mailbox_flags(struct session *session, const struct snapshot *snapshot);
/* The MODSEQ that a client which knows all that it was told of may keep (RFC 7162 3.2): below the
 * view's while expunges are held back. */
uint64_t session_told_modseq(const struct session *session);
/* EXISTS of the view, and RECENT before IMAP4rev2. */
void session_write_exists(struct session *session);
/* Messages with a UID in [first, end) become \Recent in this session. */
void session_add_recent(struct session *session, uint32_t first, uint32_t end);

/* --- command_mailbox.c --- */

/* "* STATUS name (items)": 0 or the store's error. progress: as store/past.h has it; while there is
 * some, nothing is written yet. NULL: it may take as long as it does. */
struct past_progress;
int session_write_status(struct session *session, const char *name, uint32_t items,
                         struct past_progress **progress, struct store_error *error);
/* The same of a mailbox that is open under that name. */
void session_write_status_of(struct session *session, const char *name, struct mailbox *mailbox,
                             uint32_t items);

/* --- command_list.c --- */

/* The "* LIST" that SELECT tells in IMAP4rev2 (RFC 9051 6.3.2), of an open mailbox, with the
 * attributes that LIST has. present: its name is one of the present. */
void session_write_list_of(struct session *session, const char *name, bool present);

/* --- command_quota.c --- */

/* Whether the account may not take so many messages with so many octets more. */
bool session_is_over_quota(struct session *session, uint64_t messages, uint64_t octets);
/* Whether the account has any limit: without, there is no need to count. */
bool session_has_quota(const struct session *session);

/* --- command_append.c: what comes before the whole APPEND is parsed --- */

void append_message_begin(struct session *session);
void append_message_data(struct session *session);
void append_message_end(struct session *session);
/* False: the disk is still at work on what its messages need. */
bool append_is_ready(const struct command *command);
void append_message_free(void *message); /* what hangs on append_message.message */

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
enum run_status run_sort(struct session *session, struct run *run);
enum run_status run_thread(struct session *session, struct run *run);
enum run_status run_fetch(struct session *session, struct run *run);
enum run_status run_store(struct session *session, struct run *run);
enum run_status run_copy(struct session *session, struct run *run); /* and MOVE */
enum run_status run_getquota(struct session *session, struct run *run);
enum run_status run_getquotaroot(struct session *session, struct run *run);
enum run_status run_setquota(struct session *session, struct run *run);

#endif
