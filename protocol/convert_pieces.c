#include "protocol/convert.h"

#include <string.h>

#include "protocol/limits.h"
#include "protocol/mailbox_name.h"

bool convert_fail(struct conversion *conversion, const char *error)
{
    conversion->error = error;
    return false;
}

bool convert_too_big(struct conversion *conversion, const char *error)
{
    conversion->too_big = true;
    return convert_fail(conversion, error);
}

bool convert_bad_name(struct conversion *conversion)
{
    conversion->bad_name = true;
    return convert_fail(conversion, "Mailbox name is not valid modified UTF-7");
}

bool convert_end(struct conversion *conversion, const struct argument_cursor *cursor)
{
    if (argument_peek(cursor) != NULL)
        return convert_fail(conversion, "Too many arguments");
    return true;
}

/* Atoms of the lexer hold no space, control, parenthesis, "{" or quote. */
static bool holds_any(const char *text, size_t length, const char *characters)
{
    return strcspn(text, characters) < length;
}

static bool is_seven_bit(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] >= 0x80)
            return false;
    }
    return true;
}

bool convert_is_atom(const char *text, size_t length)
{
    return length > 0 && !holds_any(text, length, "%*\\]") && is_seven_bit(text, length);
}

bool convert_number(const char *text, size_t length, uint64_t max, uint64_t *out)
{
    uint64_t number = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned)(text[i] - '0');

        if (!g_ascii_isdigit(text[i]) || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = number;
    return length > 0;
}

bool convert_take_list(struct conversion *conversion, struct argument_cursor *cursor,
                       struct argument_cursor *elements)
{
    const struct argument *argument = argument_next(cursor);

    if (argument == NULL || argument->kind != ARGUMENT_LIST)
        return convert_fail(conversion, "A parenthesised list is expected");
    *elements = argument_elements(cursor, argument);
    return true;
}

bool convert_take_atom(struct conversion *conversion, struct argument_cursor *cursor,
                       const char **text, size_t *length)
{
    const struct argument *argument = argument_next(cursor);

    if (argument == NULL)
        return convert_fail(conversion, "An argument is missing");
    *text = argument_text(cursor->tree, argument);
    *length = argument->length;
    if (argument->kind != ARGUMENT_ATOM || !convert_is_atom(*text, *length))
        return convert_fail(conversion, "An atom is expected");
    return true;
}

bool convert_take_astring(struct conversion *conversion, struct argument_cursor *cursor,
                          const char **text, size_t *length)
{
    const struct argument *argument = argument_next(cursor);

    if (argument == NULL)
        return convert_fail(conversion, "An argument is missing");
    if (!argument_is_string(argument))
        return convert_fail(conversion, "A string is expected");
    *text = argument_text(cursor->tree, argument);
    *length = argument->length;
    if (argument->kind == ARGUMENT_ATOM && holds_any(*text, *length, "%*\\"))
        return convert_fail(conversion, "This string must be quoted");
    return true;
}

bool convert_take_number(struct conversion *conversion, struct argument_cursor *cursor,
                         uint64_t max, uint64_t *out)
{
    const struct argument *argument = argument_next(cursor);

    if (argument == NULL || argument->kind != ARGUMENT_ATOM ||
        !convert_number(argument_text(cursor->tree, argument), argument->length, max, out))
        return convert_fail(conversion, "A number is expected, not too large");
    return true;
}

bool convert_take_set(struct conversion *conversion, struct argument_cursor *cursor,
                      struct sequence_set *out)
{
    const struct argument *argument = argument_next(cursor);

    if (argument == NULL || argument->kind != ARGUMENT_ATOM ||
        !sequence_set_parse(out, argument_text(cursor->tree, argument), argument->length, true))
        return convert_fail(conversion, "A set of message numbers is expected");
    return true;
}

bool convert_take_mailbox(struct conversion *conversion, struct argument_cursor *cursor, char **out)
{
    const char *text;
    size_t length;

    if (!convert_take_astring(conversion, cursor, &text, &length))
        return false;
    if (!mailbox_name_decode(out, text, length, conversion->utf8))
        return convert_bad_name(conversion);
    return true;
}

/* --- flags --- */

static bool has_keyword(const GPtrArray *keywords, const char *keyword)
{
    for (size_t i = 0; i < keywords->len; i++) {
        if (g_ascii_strcasecmp(g_ptr_array_index(keywords, i), keyword) == 0)
            return true;
    }
    return false;
}

static bool add_system_flag(struct conversion *conversion, struct command_flags *flags,
                            const char *name)
{
    static const char *const names[] = {"Answered", "Flagged", "Deleted", "Seen", "Draft"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_ascii_strcasecmp(name, names[i]) == 0) {
            flags->system |= (uint8_t)(1u << i);
            return true;
        }
    }
    if (g_ascii_strcasecmp(name, "Recent") == 0)
        return true;
    return convert_fail(conversion, "Unknown system flag");
}

/* flag = "\Answered" / ... / flag-keyword */
static bool add_flag(struct conversion *conversion, struct command_flags *flags, const char *text,
                     size_t length)
{
    if (text[0] == '\\')
        return add_system_flag(conversion, flags, text + 1);
    if (!convert_is_atom(text, length))
        return convert_fail(conversion, "A keyword must be an atom");
    if (flags->keywords == NULL)
        flags->keywords = g_ptr_array_new();
    if (!has_keyword(flags->keywords, text))
        g_ptr_array_add(flags->keywords, g_strndup(text, length));
    return true;
}

bool convert_flags(struct conversion *conversion, struct argument_cursor *cursor,
                   struct command_flags *out)
{
    const struct argument *argument;
    size_t count = 0;

    while ((argument = argument_next(cursor)) != NULL) {
        if (argument->kind != ARGUMENT_ATOM)
            return convert_fail(conversion, "A flag is expected");
        if (++count > LIMIT_FLAGS)
            return convert_too_big(conversion, "Too many flags");
        if (!add_flag(conversion, out, argument_text(cursor->tree, argument), argument->length))
            return false;
    }
    return true;
}
