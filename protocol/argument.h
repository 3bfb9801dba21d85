/* The arguments of a command as a generic tree, between lexer and conversion. Internal to the
 * parser.
 *
 * One array in prefix order: a list's elements follow it, and skip is the index just past all of
 * them. No pointers, no recursion.
 */
#ifndef ANNAL_PROTOCOL_ARGUMENT_H
#define ANNAL_PROTOCOL_ARGUMENT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/secret_buffer.h"

enum argument_kind {
    ARGUMENT_ATOM, /* any run of printable characters that means nothing to the lexer */
    ARGUMENT_QUOTED,
    ARGUMENT_LITERAL,
    ARGUMENT_LIST,
    ARGUMENT_BRACKET, /* [...] of a FETCH section, attached to its atom */
    ARGUMENT_MESSAGE, /* where a message literal of APPEND stood */
};

struct argument {
    enum argument_kind kind;
    bool attached; /* stands against the argument before, without a space */
    uint32_t skip;
    uint32_t offset; /* of its text, which ends with a NUL that length does not count */
    uint32_t length;
};

struct argument_tree {
    GArray *nodes; /* struct argument */
    struct secret_buffer text;
};

static inline struct argument *argument_at(const struct argument_tree *tree, uint32_t index)
{
    return &g_array_index(tree->nodes, struct argument, index);
}

static inline const char *argument_text(const struct argument_tree *tree,
                                        const struct argument *argument)
{
    return tree->text.data + argument->offset;
}

/* A place among the siblings of one list. */
struct argument_cursor {
    const struct argument_tree *tree;
    uint32_t next;
    uint32_t end;
};

/* NULL at the end. */
const struct argument *argument_peek(const struct argument_cursor *cursor);
const struct argument *argument_next(struct argument_cursor *cursor);
/* The elements of a list or bracket that argument_next() or argument_peek() returned. */
struct argument_cursor argument_elements(const struct argument_cursor *cursor,
                                         const struct argument *list);

bool argument_is_string(const struct argument *argument); /* atom, quoted or literal */
/* An atom that is this word, in any case. argument may be NULL. */
bool argument_is_word(const struct argument_tree *tree, const struct argument *argument,
                      const char *word);

#endif
