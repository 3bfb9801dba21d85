/* Bytes to typed commands: resumable at any byte, iterative, bounded by limits.h.
 *
 * The parser does no I/O and never answers: it says what it met and the session decides.
 *
 *     loop: parser_feed() -> event; handle; until PARSER_MORE
 *
 * A literal of an APPEND's message is not kept: its octets are handed out as they come, for a
 * spool. Every other literal is small and kept. A literal that can't stand where it is
 * announced ("NOOP {3}", "APPEND INBOX (\Seen {3}") is PARSER_BAD at once.
 */
#ifndef ANNAL_PROTOCOL_PARSER_H
#define ANNAL_PROTOCOL_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/command.h"

struct parser;

struct parser *parser_new(void);
void parser_free(struct parser *parser); /* accepts NULL */

/* Larger limits after login; UTF-8 in quoted strings and mailbox names after UTF8=ACCEPT. */
void parser_set_authenticated(struct parser *parser, bool authenticated);
void parser_set_utf8(struct parser *parser, bool utf8);
/* The same after ENABLE IMAP4rev2, where SEARCH may still name a charset (RFC 9051 6.4.4). */
void parser_set_rev2(struct parser *parser, bool rev2);

enum parser_event {
    PARSER_MORE,     /* all input is used; nothing to say */
    PARSER_COMMAND,  /* parser_take_command() */
    PARSER_CONTINUE, /* a synchronising literal (kept, small) is announced and legal: answer "+ " */
    PARSER_MESSAGE_BEGIN, /* an APPEND's message literal: see parser_message(); the session now
                             calls parser_message_accept() or parser_message_refuse() */
    PARSER_MESSAGE_DATA,  /* octets of an accepted message: parser_message_data() */
    PARSER_MESSAGE_END,   /* that message has all its octets */
    PARSER_BAD,   /* a syntax error: parser_error(). The rest of the line, and the octets of its
                     non-synchronising literals, are skipped before the next command. Comes during a
                     message too (a NUL in it): what was accepted of the APPEND is released */
    PARSER_FATAL, /* an error after which the stream can't be followed (an endless line): answer
                     BYE and close */
};

/* Takes input until something is to be said. *used is how many octets were taken. Call it until it
 * answers PARSER_MORE, also when no input is left: an event may come without any. Between
 * PARSER_MESSAGE_BEGIN and the session's decision it takes nothing. */
enum parser_event parser_feed(struct parser *parser, const uint8_t *data, size_t length,
                              size_t *used);

/* After PARSER_COMMAND: the caller owns it. Taken before the next feed, or lost. */
struct command *parser_take_command(struct parser *parser);

/* After PARSER_BAD or PARSER_FATAL: the tag ("*" if there was none to be read), a text for the
 * client, printable ASCII, and whether it is a limit (NO [LIMIT] or BAD [TOOBIG] instead of BAD).
 * Valid until the next feed. */
struct parser_error {
    const char *tag;
    const char *text;
    bool too_big;
    bool bad_name; /* well-formed, but no mailbox can have this name: NO, not BAD */
};
const struct parser_error *parser_error(const struct parser *parser);

/* During an APPEND: the command so far (tag, mailbox, messages; the last message's flags, date
 * and size are set). Borrowed. append_message.message may be set by the caller; what happens to it
 * when the command is freed or fails is said by parser_set_message_free(). */
struct command *parser_message(struct parser *parser);
void parser_set_message_free(struct parser *parser, void (*release)(void *message));
/* Whether the announced literal is synchronising: then the session answers "+ " on accepting. */
bool parser_message_synchronising(const struct parser *parser);
void parser_message_accept(struct parser *parser);
/* The session has answered (or will answer) the command with NO: no PARSER_COMMAND comes for it. A
 * synchronising literal is not sent by the client; the octets of others are skipped, with the
 * rest of the command and its further literals. May also be called after an accept, up to and
 * including PARSER_MESSAGE_END. */
void parser_message_refuse(struct parser *parser);
void parser_message_data(const struct parser *parser, const uint8_t **data, size_t *length);

/* Between commands, for AUTHENTICATE, IDLE and the like: the next line is not a command. Returns
 * true with a whole line (without its end) in *line, valid until the next call; false when more
 * input is needed, or with *too_long when it passes limit: the rest of that line is skipped by the
 * next feed of either kind. A NUL stands as "?" in it. *used as in parser_feed(). */
bool parser_feed_line(struct parser *parser, const uint8_t *data, size_t length, size_t limit,
                      size_t *used, const char **line, bool *too_long);

/* Forgets a half-read line (STARTTLS). */
void parser_reset(struct parser *parser);

#endif
