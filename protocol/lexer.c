#include "protocol/lexer.h"

#include <string.h>

void lexer_init(struct lexer *lexer)
{
    *lexer = (struct lexer){0};
    lexer->tree.nodes = g_array_new(FALSE, FALSE, sizeof(struct argument));
}

void lexer_release(struct lexer *lexer)
{
    g_array_free(lexer->tree.nodes, TRUE);
    secret_buffer_release(&lexer->tree.text);
}

void lexer_clear(struct lexer *lexer)
{
    struct argument_tree tree = lexer->tree;

    enum { NODES_KEPT = 256 };
    if (tree.nodes->len > NODES_KEPT) {
        g_array_free(tree.nodes, TRUE);
        tree.nodes = g_array_new(FALSE, FALSE, sizeof(struct argument));
    }
    g_array_set_size(tree.nodes, 0);
    secret_buffer_clear(&tree.text);
    *lexer = (struct lexer){.tree = tree};
}

static bool fail(struct lexer *lexer, const char *error)
{
    lexer->error = error;
    return false;
}

static bool fail_too_big(struct lexer *lexer, const char *error)
{
    lexer->too_big = true;
    return fail(lexer, error);
}

/* --- the tree --- */

static bool begin_node(struct lexer *lexer, enum argument_kind kind)
{
    struct argument argument = {
        .kind = kind,
        .attached = lexer->place == LEXER_AFTER_ELEMENT,
        .skip = lexer->tree.nodes->len + 1,
        .offset = (uint32_t)lexer->tree.text.length,
    };

    if (lexer->tree.nodes->len == LIMIT_LIST)
        return fail_too_big(lexer, "Too many arguments");
    if (lexer->depth == 0 && !argument.attached)
        lexer->top_level++;
    lexer->last = lexer->tree.nodes->len;
    g_array_append_val(lexer->tree.nodes, argument);
    return true;
}

static void end_text(struct lexer *lexer)
{
    struct argument *argument = argument_at(&lexer->tree, lexer->last);

    argument->length = (uint32_t)(lexer->tree.text.length - argument->offset);
    secret_buffer_append(&lexer->tree.text, "", 1);
    lexer->place = LEXER_AFTER_ELEMENT;
}

static bool open_list(struct lexer *lexer, enum argument_kind kind)
{
    if (lexer->depth == LIMIT_NESTING)
        return fail_too_big(lexer, "Too many parentheses inside each other");
    if (!begin_node(lexer, kind))
        return false;
    lexer->open[lexer->depth++] = lexer->last;
    lexer->bracket_depth += kind == ARGUMENT_BRACKET;
    lexer->place = LEXER_AFTER_OPEN;
    return true;
}

static bool top_is_bracket(const struct lexer *lexer)
{
    return lexer->depth > 0 &&
           argument_at(&lexer->tree, lexer->open[lexer->depth - 1])->kind == ARGUMENT_BRACKET;
}

static bool close_list(struct lexer *lexer, enum argument_kind kind)
{
    if (lexer->depth == 0 || top_is_bracket(lexer) != (kind == ARGUMENT_BRACKET))
        return fail(lexer, "A closing parenthesis without its opening one");
    if (lexer->place == LEXER_AFTER_SPACE)
        return fail(lexer, "A space before a closing parenthesis");
    lexer->last = lexer->open[--lexer->depth];
    lexer->bracket_depth -= kind == ARGUMENT_BRACKET;
    argument_at(&lexer->tree, lexer->last)->skip = lexer->tree.nodes->len;
    lexer->place = LEXER_AFTER_ELEMENT;
    return true;
}

/* --- elements; each starts at *position and moves it past --- */

static bool is_atom_char(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && c != '(' && c != ')' && c != '{' && c != '"';
}

static bool lex_atom(struct lexer *lexer, const char *text, size_t length, size_t *position)
{
    bool stop_open = lexer->brackets && lexer->bracket_depth == 0;
    bool stop_close = top_is_bracket(lexer);
    size_t start = *position;

    while (*position < length && is_atom_char(text[*position]) &&
           !(stop_open && text[*position] == '[') && !(stop_close && text[*position] == ']'))
        (*position)++;
    if (*position == start)
        return fail(lexer, "A character that can't stand here");
    if (!begin_node(lexer, ARGUMENT_ATOM))
        return false;
    secret_buffer_append(&lexer->tree.text, text + start, *position - start);
    end_text(lexer);
    return true;
}

static bool is_utf8_since(const struct lexer *lexer, size_t offset)
{
    size_t length = lexer->tree.text.length - offset;

    return length == 0 || g_utf8_validate(lexer->tree.text.data + offset, (gssize)length, NULL);
}

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE; only DQUOTE and "\" are escaped */
static bool lex_quoted(struct lexer *lexer, const char *text, size_t length, size_t *position)
{
    if (!begin_node(lexer, ARGUMENT_QUOTED))
        return false;
    (*position)++;
    for (;;) {
        const char *start = text + *position;
        size_t plain = 0;

        while (*position + plain < length && start[plain] != '"' && start[plain] != '\\' &&
               start[plain] != '\r')
            plain++;
        secret_buffer_append(&lexer->tree.text, start, plain);
        *position += plain;
        if (*position == length || text[*position] == '\r')
            return fail(lexer, "A quoted string is not closed");
        if (text[(*position)++] == '"')
            break;
        if (*position == length || (text[*position] != '"' && text[*position] != '\\'))
            return fail(lexer, "Only \\ and the quote can follow \\ in a quoted string");
        secret_buffer_append(&lexer->tree.text, text + (*position)++, 1);
    }
    if (lexer->utf8 && !is_utf8_since(lexer, argument_at(&lexer->tree, lexer->last)->offset))
        return fail(lexer, "A quoted string must be UTF-8");
    end_text(lexer);
    return true;
}

/* literal = "{" number64 ["+"] "}"; literal8 = "~" literal. Nothing may follow in the segment. */
static bool lex_literal(struct lexer *lexer, const char *text, size_t length, size_t *position)
{
    struct lexer_literal literal = {.synchronising = true};
    size_t digits;

    if (text[*position] == '~') {
        literal.binary = true;
        (*position)++;
    }
    digits = ++(*position);
    while (*position < length && g_ascii_isdigit(text[*position])) {
        unsigned digit = (unsigned)(text[*position] - '0');

        if (literal.size > ((uint64_t)INT64_MAX - digit) / 10)
            return fail_too_big(lexer, "The size of a literal is no possible number");
        literal.size = literal.size * 10 + digit;
        (*position)++;
    }
    if (*position > digits && *position < length && text[*position] == '+') {
        literal.synchronising = false;
        (*position)++;
    }
    if (*position == digits || *position + 1 != length || text[*position] != '}')
        return fail(lexer, "A literal must be announced as {number} at the end of a line");
    (*position)++;
    if (lexer->tree.nodes->len == LIMIT_LIST)
        return fail_too_big(lexer, "Too many arguments");
    lexer->literal = literal;
    return true;
}

static bool lex_space(struct lexer *lexer, size_t *position)
{
    if (lexer->place != LEXER_AFTER_ELEMENT)
        return fail(lexer, "A space too many");
    lexer->place = LEXER_AFTER_SPACE;
    (*position)++;
    return true;
}

/* What stands against the element before it: the section of a FETCH item, then its partial. */
static bool lex_attached(struct lexer *lexer, const char *text, size_t length, size_t *position)
{
    enum argument_kind before = ARGUMENT_LIST;

    if (lexer->tree.nodes->len > 0)
        before = argument_at(&lexer->tree, lexer->last)->kind;
    if (lexer->brackets && lexer->bracket_depth == 0 && text[*position] == '[' &&
        before == ARGUMENT_ATOM) {
        (*position)++;
        return open_list(lexer, ARGUMENT_BRACKET);
    }
    if (text[*position] == '<' && before == ARGUMENT_BRACKET)
        return lex_atom(lexer, text, length, position);
    return fail(lexer, "A space is missing");
}

static bool lex_one(struct lexer *lexer, const char *text, size_t length, size_t *position)
{
    switch (text[*position]) {
    case ' ':
        return lex_space(lexer, position);
    case ')':
        (*position)++;
        return close_list(lexer, ARGUMENT_LIST);
    case ']':
        if (!top_is_bracket(lexer))
            break;
        (*position)++;
        return close_list(lexer, ARGUMENT_BRACKET);
    default:
        break;
    }
    if (lexer->place == LEXER_AFTER_ELEMENT)
        return lex_attached(lexer, text, length, position);
    if (text[*position] == '(') {
        (*position)++;
        return open_list(lexer, ARGUMENT_LIST);
    }
    if (text[*position] == '"')
        return lex_quoted(lexer, text, length, position);
    return lex_atom(lexer, text, length, position);
}

static bool starts_literal(const struct lexer *lexer, const char *text, size_t length,
                           size_t position)
{
    if (lexer->place == LEXER_AFTER_ELEMENT)
        return false;
    return text[position] == '{' ||
           (text[position] == '~' && position + 1 < length && text[position + 1] == '{');
}

enum lexer_result lexer_segment(struct lexer *lexer, const char *text, size_t length)
{
    size_t position = 0;

    while (position < length) {
        if (starts_literal(lexer, text, length, position))
            return lex_literal(lexer, text, length, &position) ? LEXER_LITERAL : LEXER_BAD;
        if (!lex_one(lexer, text, length, &position))
            return LEXER_BAD;
    }
    if (lexer->depth > 0) {
        lexer->error = "A closing parenthesis is missing";
        return LEXER_BAD;
    }
    return LEXER_END;
}

void lexer_literal_begin(struct lexer *lexer)
{
    struct argument argument = {
        .kind = ARGUMENT_LITERAL,
        .skip = lexer->tree.nodes->len + 1,
        .offset = (uint32_t)lexer->tree.text.length,
    };

    lexer->top_level += lexer->depth == 0;
    lexer->last = lexer->tree.nodes->len;
    g_array_append_val(lexer->tree.nodes, argument);
}

void lexer_literal_data(struct lexer *lexer, const void *data, size_t length)
{
    secret_buffer_append(&lexer->tree.text, data, length);
}

void lexer_literal_end(struct lexer *lexer)
{
    end_text(lexer);
}

void lexer_message(struct lexer *lexer)
{
    lexer_literal_begin(lexer);
    argument_at(&lexer->tree, lexer->last)->kind = ARGUMENT_MESSAGE;
    lexer_literal_end(lexer);
}

enum lexer_tail lexer_tail(const char *text, size_t length, uint64_t *size)
{
    size_t end, start;

    *size = 0;
    if (length < 2 || text[length - 1] != '}')
        return LEXER_TAIL_NONE;
    end = length - 1;
    if (text[end - 1] == '+')
        end--;
    start = end;
    while (start > 0 && g_ascii_isdigit(text[start - 1]))
        start--;
    if (start == end)
        return LEXER_TAIL_NONE;
    /* Digits all the way: a number whose start is no longer known, or no announcement at all. */
    if (start == 0 ? length < LEXER_TAIL : text[start - 1] != '{')
        return LEXER_TAIL_NONE;
    if (end == length - 1)
        return LEXER_TAIL_SYNCHRONISING;
    for (size_t i = start; i < end; i++) {
        unsigned digit = (unsigned)(text[i] - '0');

        if (start == 0 || *size > ((uint64_t)INT64_MAX - digit) / 10)
            return LEXER_TAIL_UNFOLLOWABLE;
        *size = *size * 10 + digit;
    }
    return LEXER_TAIL_NON_SYNCHRONISING;
}
