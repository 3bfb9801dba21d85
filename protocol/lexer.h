/* The pieces of a command's argument lines, made into a tree. Internal to the parser.
 *
 * A command's arguments are one or more segments: what stands between the verb, its literals and
 * the line's end. A segment is lexed when it is whole; the lexer keeps its place (open lists) from
 * one to the next.
 *
 *     lexer_segment() -> LEXER_LITERAL -> lexer_literal_begin(), _data(), _end() -> lexer_segment()
 *                                      -> lexer_message()                        ->
 *                     -> LEXER_END
 */
#ifndef ANNAL_PROTOCOL_LEXER_H
#define ANNAL_PROTOCOL_LEXER_H

#include "protocol/argument.h"
#include "protocol/limits.h"

enum lexer_place {
    LEXER_AFTER_ELEMENT, /* a space or a closing parenthesis may follow; also where it starts */
    LEXER_AFTER_SPACE,
    LEXER_AFTER_OPEN,
};

struct lexer_literal {
    uint64_t size;
    bool synchronising;
    bool binary; /* ~{n} */
};

struct lexer {
    struct argument_tree tree;
    enum lexer_place place;
    uint32_t open[LIMIT_NESTING]; /* indexes of the lists that are open */
    size_t depth;
    uint32_t top_level; /* arguments begun outside any list */
    uint32_t last;      /* index of the element that LEXER_AFTER_ELEMENT stands after */
    bool brackets;      /* FETCH: "[" opens a section */
    bool utf8; /* octets from 0x80 on in a quoted string must be UTF-8 (RFC 6855 3, RFC 9051 4.3) */
    size_t bracket_depth;
    struct lexer_literal literal; /* after LEXER_LITERAL */
    const char *error;            /* after LEXER_BAD */
    bool too_big;
};

enum lexer_result { LEXER_END, LEXER_LITERAL, LEXER_BAD };

void lexer_init(struct lexer *lexer);
void lexer_release(struct lexer *lexer);
void lexer_clear(struct lexer *lexer); /* for the next command; wipes */

/* A segment without its line end. Holds no NUL. */
enum lexer_result lexer_segment(struct lexer *lexer, const char *text, size_t length);

void lexer_literal_begin(struct lexer *lexer);
void lexer_literal_data(struct lexer *lexer, const void *data, size_t length);
void lexer_literal_end(struct lexer *lexer);
/* Puts an ARGUMENT_MESSAGE in the literal's place. */
void lexer_message(struct lexer *lexer);

/* What the end of a line announces, whatever stands before: for lines that are skipped. text is
 * the line's tail of at least LEXER_TAIL octets, or all of it. */
enum { LEXER_TAIL = 32 };
enum lexer_tail {
    LEXER_TAIL_NONE,
    LEXER_TAIL_SYNCHRONISING,
    LEXER_TAIL_NON_SYNCHRONISING,
    LEXER_TAIL_UNFOLLOWABLE, /* non-synchronising, of no possible size */
};
enum lexer_tail lexer_tail(const char *text, size_t length, uint64_t *size);

#endif
