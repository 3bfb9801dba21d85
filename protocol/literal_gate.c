#include "protocol/literal_gate.h"

static const struct argument *top_argument(const struct lexer *lexer, uint32_t position)
{
    uint32_t index = 0;

    while (position > 0 && index < lexer->tree.nodes->len) {
        index = argument_at(&lexer->tree, index)->skip;
        position--;
    }
    return index < lexer->tree.nodes->len ? argument_at(&lexer->tree, index) : NULL;
}

static bool at_top(const struct lexer *lexer, uint32_t first, uint32_t last)
{
    return lexer->depth == 0 && lexer->top_level >= first && lexer->top_level <= last;
}

/* LIST [(options)] reference pattern|(patterns) */
static bool list_allows(const struct lexer *lexer)
{
    const struct argument *first = top_argument(lexer, 0);
    uint32_t reference = first != NULL && first->kind == ARGUMENT_LIST ? 1 : 0;

    if (lexer->depth == 0)
        return lexer->top_level == reference || lexer->top_level == reference + 1;
    return lexer->depth == 1 && lexer->top_level == reference + 2;
}

/* A name of a header field: [HEADER.FIELDS (name */
static bool fetch_allows(const struct lexer *lexer)
{
    return lexer->depth >= 2 && lexer->bracket_depth == 1 &&
           argument_at(&lexer->tree, lexer->open[lexer->depth - 2])->kind == ARGUMENT_BRACKET;
}

/* SEARCH [RETURN (options)] CHARSET charset */
static bool is_search_charset(const struct lexer *lexer)
{
    const struct argument *first = top_argument(lexer, 0);
    uint32_t charset = argument_is_word(&lexer->tree, first, "RETURN") ? 2 : 0;

    return at_top(lexer, charset + 1, charset + 1) &&
           argument_is_word(&lexer->tree, top_argument(lexer, charset), "CHARSET");
}

/* SORT [RETURN (options)] (criteria) charset */
static bool is_sort_charset(const struct lexer *lexer)
{
    const struct argument *first = top_argument(lexer, 0);
    uint32_t charset = argument_is_word(&lexer->tree, first, "RETURN") ? 3 : 1;

    return at_top(lexer, charset, charset);
}

/* THREAD algorithm charset */
static bool is_thread_charset(const struct lexer *lexer)
{
    return at_top(lexer, 1, 1);
}

/* The argument of a key, or after HEADER and a name. */
static bool search_allows(const struct lexer *lexer)
{
    static const char *const keys[] = {"BCC",    "BODY", "CC",      "FROM",
                                       "HEADER", "TEXT", "SUBJECT", "TO"};
    uint32_t count = lexer->tree.nodes->len;

    if (lexer->place != LEXER_AFTER_SPACE || count == 0)
        return false;
    if (is_search_charset(lexer))
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (argument_is_word(&lexer->tree, argument_at(&lexer->tree, count - 1), keys[i]))
            return true;
    }
    return count > 1 &&
           argument_is_word(&lexer->tree, argument_at(&lexer->tree, count - 2), "HEADER");
}

static enum literal_gate append_gate(const struct lexer *lexer)
{
    if (lexer->depth == 0 && lexer->top_level == 0)
        return lexer->literal.binary ? LITERAL_GATE_REFUSED : LITERAL_GATE_STRING;
    if (lexer->depth == 0)
        return LITERAL_GATE_MESSAGE;
    /* UTF8 (~{n}) */
    if (lexer->depth == 1 && lexer->literal.binary && lexer->top_level > 1 &&
        lexer->open[0] == lexer->tree.nodes->len - 1)
        return LITERAL_GATE_MESSAGE;
    return LITERAL_GATE_REFUSED;
}

static bool string_allowed(enum command_kind kind, const struct lexer *lexer)
{
    switch (kind) {
    case COMMAND_UNKNOWN:
    case COMMAND_CAPABILITY:
    case COMMAND_NOOP:
    case COMMAND_LOGOUT:
    case COMMAND_STARTTLS:
    case COMMAND_AUTHENTICATE:
    case COMMAND_ENABLE:
    case COMMAND_COMPRESS:
    case COMMAND_NAMESPACE:
    case COMMAND_APPEND:
    case COMMAND_IDLE:
    case COMMAND_CHECK:
    case COMMAND_CLOSE:
    case COMMAND_UNSELECT:
    case COMMAND_EXPUNGE:
    case COMMAND_STORE:
    case COMMAND_COUNT:
        return false;
    case COMMAND_ID:
        return lexer->depth == 1 && lexer->top_level == 1;
    case COMMAND_SELECT:
    case COMMAND_EXAMINE:
    case COMMAND_CREATE:
    case COMMAND_DELETE:
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
    case COMMAND_STATUS:
    case COMMAND_GETQUOTA:
    case COMMAND_GETQUOTAROOT:
    case COMMAND_SETQUOTA:
        return at_top(lexer, 0, 0);
    case COMMAND_LOGIN:
    case COMMAND_RENAME:
    case COMMAND_LSUB:
        return at_top(lexer, 0, 1);
    case COMMAND_COPY:
    case COMMAND_MOVE:
        return at_top(lexer, 1, 1);
    case COMMAND_LIST:
        return list_allows(lexer);
    case COMMAND_SEARCH:
        return search_allows(lexer);
    case COMMAND_SORT:
        return is_sort_charset(lexer) || search_allows(lexer);
    case COMMAND_THREAD:
        return is_thread_charset(lexer) || search_allows(lexer);
    case COMMAND_FETCH:
        return fetch_allows(lexer);
    }
    return false;
}

enum literal_gate literal_gate(enum command_kind kind, const struct lexer *lexer)
{
    if (kind == COMMAND_APPEND)
        return append_gate(lexer);
    if (lexer->literal.binary)
        return LITERAL_GATE_REFUSED;
    return string_allowed(kind, lexer) ? LITERAL_GATE_STRING : LITERAL_GATE_REFUSED;
}
