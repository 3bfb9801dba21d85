/* From the argument tree to the typed command. Internal to the parser.
 *
 * Each command family has a file; a function converts all arguments of one kind straight into
 * the command, whose command_free() cleans up what a failure leaves. False: error is set.
 */
#ifndef ANNAL_PROTOCOL_CONVERT_H
#define ANNAL_PROTOCOL_CONVERT_H

#include "protocol/argument.h"
#include "protocol/command.h"

struct conversion {
    struct argument_cursor cursor; /* the top level */
    struct command *command;
    bool utf8;       /* after UTF8=ACCEPT or in IMAP4rev2 */
    bool no_charset; /* SEARCH must not name one (RFC 6855 3) */
    const char *error;
    bool too_big;
    bool bad_name; /* the syntax is right, but no mailbox can have this name */
};

/* By kind: a function for every kind but COMMAND_UNKNOWN and COMMAND_APPEND. */
bool convert_command(struct conversion *conversion);

bool convert_list(struct conversion *conversion);
bool convert_lsub(struct conversion *conversion);
bool convert_status(struct conversion *conversion);
bool convert_fetch(struct conversion *conversion);
bool convert_search(struct conversion *conversion);
bool convert_sort(struct conversion *conversion);
bool convert_thread(struct conversion *conversion);
bool convert_store(struct conversion *conversion);

/* --- APPEND, which is converted piece by piece --- */

/* A literal is announced where a message may stand: types what leads to it (the mailbox with the
 * first one) and adds the message. inside_list: within the parenthesis of UTF8 (~{n}), which is
 * the last node. */
bool convert_append_message(struct conversion *conversion, uint64_t size, bool binary,
                            bool inside_list);
/* Where the line ends. */
bool convert_append_end(struct conversion *conversion);

/* --- pieces --- */

bool convert_fail(struct conversion *conversion, const char *error);
bool convert_too_big(struct conversion *conversion, const char *error);
bool convert_bad_name(struct conversion *conversion);
/* Nothing may be left. */
bool convert_end(struct conversion *conversion, const struct argument_cursor *cursor);

/* The next argument as a list's elements. */
bool convert_take_list(struct conversion *conversion, struct argument_cursor *cursor,
                       struct argument_cursor *elements);
/* An atom without list-wildcards, resp-specials and "\" (RFC 3501 atom); borrowed. */
bool convert_take_atom(struct conversion *conversion, struct argument_cursor *cursor,
                       const char **text, size_t *length);
/* astring; borrowed, NUL-terminated. */
bool convert_take_astring(struct conversion *conversion, struct argument_cursor *cursor,
                          const char **text, size_t *length);
/* A number of at most max, in digits only. */
bool convert_take_number(struct conversion *conversion, struct argument_cursor *cursor,
                         uint64_t max, uint64_t *out);
bool convert_take_set(struct conversion *conversion, struct argument_cursor *cursor,
                      struct sequence_set *out);
/* A mailbox name: new, decoded. */
bool convert_take_mailbox(struct conversion *conversion, struct argument_cursor *cursor,
                          char **out);
/* All flags up to the cursor's end. */
bool convert_flags(struct conversion *conversion, struct argument_cursor *cursor,
                   struct command_flags *out);
/* status-att list: the next argument. */
bool convert_take_status_items(struct conversion *conversion, struct argument_cursor *cursor,
                               uint32_t *out);

bool convert_is_atom(const char *text, size_t length);
/* Digits only, no overflow beyond max. */
bool convert_number(const char *text, size_t length, uint64_t max, uint64_t *out);

#endif
