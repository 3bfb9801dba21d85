/* A message of the selected mailbox while a command looks at it: its octets and its structure are
 * got at the first need and at most once. A large message is not read as a whole to be sent. And
 * what the message commands have in common.
 *
 * Not for the edge. Blocking: the store is read, and the host is asked to parse.
 */
#ifndef ANNAL_SERVER_SESSION_MESSAGE_H
#define ANNAL_SERVER_SESSION_MESSAGE_H

#include "protocol/summary.h"
#include "server/session_private.h"

struct session_message {
    struct session *session;
    struct message message;        /* a copy: it survives a change of the view */
    GBytes *octets;                /* NULL until read */
    struct message_stream *stream; /* of a large message, once opened */
    GByteArray *record;            /* of the summary */
    struct summary summary;
    bool has_summary;
    bool provisional;            /* made in a hurry, it may say less than there is */
    struct structure *structure; /* NULL until needed beyond the summary */
};

/* session is borrowed. */
void session_message_init(struct session_message *message, struct session *session);
void session_message_release(struct session_message *message);

/* Turns to another message; forgets the last one's octets, summary and structure. */
void session_message_set(struct session_message *message, const struct message *of);

/* Reads the octets if that has not been done. Fails as mailbox_read() does. They are borrowed until
 * the next set or release; message->octets may be referenced for longer. */
int session_message_octets(struct session_message *message, const uint8_t **data, size_t *length,
                           struct store_error *error);

enum { SESSION_MESSAGE_WHOLE_MAX = 64 * 1024 }; /* octets; a larger message is a stream */

/* Makes the message ready to be sent: its octets are read, or its stream is opened. Fails as
 * mailbox_open_message() does. */
int session_message_open(struct session_message *message, struct store_error *error);
/* Its length; only when open. */
uint64_t session_message_length(const struct session_message *message);
/* Gives back the octets of a large message that is read as a stream. */
void session_message_drop_octets(struct session_message *message);

/* Gets the summary: the kept one, or a new one, made here or for unusual messages by the host,
 * which is then kept (unless message->provisional is true). Fails only when the octets are needed
 * and can't be read. Borrowed until the next set or release. */
int session_message_summary(struct session_message *message, const struct summary **out,
                            struct store_error *error);
/* The structure, from the summary; without the message's own envelope where the summary has that
 * for everybody. */
int session_message_structure(struct session_message *message, const struct structure **out,
                              struct store_error *error);

/* A message's EMAILID (RFC 8474): by its octets, so that a copy has the same one. *out is zero if
 * the text is no such id. */
void session_write_email_id(GString *out, const struct message *message);
void session_parse_email_id(struct object_id *out, const char *text);

/* The UIDs (a new array of uint32_t) of messages of the view, given by their indexes. */
GArray *session_message_uids(const struct session *session, const GArray *indexes);

/* True if the mailbox has lost any of these UIDs: another session expunged them. */
bool session_messages_gone(const struct session *session, const GArray *uids);

/* The tagged BAD for a sequence number that does not exist. */
enum run_status session_finish_bad_set(struct session *session, struct run *run);

#endif
