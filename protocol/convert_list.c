/* LIST with RFC 5258, 5819 and 6154; LSUB; STATUS. */
#include "protocol/convert.h"

#include <string.h>

#include "protocol/limits.h"
#include "protocol/mailbox_name.h"

struct option {
    const char *name;
    uint32_t bit;
};

/* 0 if it is none of them. */
static uint32_t option_bit(const struct option *options, size_t count,
                           const struct argument_tree *tree, const struct argument *argument)
{
    for (size_t i = 0; i < count; i++) {
        if (argument_is_word(tree, argument, options[i].name))
            return options[i].bit;
    }
    return 0;
}

bool convert_take_status_items(struct conversion *conversion, struct argument_cursor *cursor,
                               uint32_t *out)
{
    static const struct option items[] = {
        {"MESSAGES", STATUS_MESSAGES},
        {"RECENT", STATUS_RECENT},
        {"UIDNEXT", STATUS_UIDNEXT},
        {"UIDVALIDITY", STATUS_UIDVALIDITY},
        {"UNSEEN", STATUS_UNSEEN},
        {"DELETED", STATUS_DELETED},
        {"SIZE", STATUS_SIZE},
        {"HIGHESTMODSEQ", STATUS_HIGHESTMODSEQ},
        {"APPENDLIMIT", STATUS_APPENDLIMIT},
        {"MAILBOXID", STATUS_MAILBOXID},
        {"DELETED-STORAGE", STATUS_DELETED_STORAGE},
    };
    struct argument_cursor elements;
    const struct argument *argument;

    if (!convert_take_list(conversion, cursor, &elements))
        return false;
    if (argument_peek(&elements) == NULL)
        return convert_fail(conversion, "The list of STATUS items is empty");
    while ((argument = argument_next(&elements)) != NULL) {
        uint32_t bit = option_bit(items, G_N_ELEMENTS(items), elements.tree, argument);

        if (bit == 0)
            return convert_fail(conversion, "Unknown STATUS item");
        *out |= bit;
    }
    return true;
}

/* status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" */
bool convert_status(struct conversion *conversion)
{
    struct command *command = conversion->command;

    return convert_take_mailbox(conversion, &conversion->cursor, &command->status.mailbox) &&
           convert_take_status_items(conversion, &conversion->cursor, &command->status.items) &&
           convert_end(conversion, &conversion->cursor);
}

/* list-select-opts = "(" [*(list-select-opt SP) ...] ")". RECURSIVEMATCH says something only beside
 * an option that selects (RFC 5258 3.1). */
static bool convert_select_options(struct conversion *conversion)
{
    static const struct option options[] = {
        {"SUBSCRIBED", LIST_SELECT_SUBSCRIBED},
        {"REMOTE", LIST_SELECT_REMOTE},
        {"RECURSIVEMATCH", LIST_SELECT_RECURSIVEMATCH},
        {"SPECIAL-USE", LIST_SELECT_SPECIAL_USE},
    };
    struct list_arguments *list = &conversion->command->list;
    struct argument_cursor elements;
    const struct argument *argument;

    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    list->extended = true;
    while ((argument = argument_next(&elements)) != NULL) {
        uint32_t bit = option_bit(options, G_N_ELEMENTS(options), elements.tree, argument);

        if (bit == 0)
            return convert_fail(conversion, "Unknown LIST selection option");
        list->select |= bit;
    }
    if ((list->select & LIST_SELECT_RECURSIVEMATCH) != 0 &&
        (list->select & (LIST_SELECT_SUBSCRIBED | LIST_SELECT_SPECIAL_USE)) == 0)
        return convert_fail(conversion, "RECURSIVEMATCH needs another selection option");
    return true;
}

/* list-mailbox = 1*list-char / string: as astring, but wildcards need no quotes */
static bool take_pattern(struct conversion *conversion, struct argument_cursor *cursor, char **out)
{
    const struct argument *argument = argument_next(cursor);
    const char *text;

    if (argument == NULL)
        return convert_fail(conversion, "An argument is missing");
    if (!argument_is_string(argument))
        return convert_fail(conversion, "A mailbox pattern is expected");
    text = argument_text(cursor->tree, argument);
    if (argument->kind == ARGUMENT_ATOM && strchr(text, '\\') != NULL)
        return convert_fail(conversion, "This string must be quoted");
    if (mailbox_pattern_decode(out, text, argument->length, conversion->utf8))
        return true;
    /* Asking for what can't be is no error: the octets stand for themselves. */
    if (!g_utf8_validate(text, (gssize)argument->length, NULL))
        return convert_bad_name(conversion);
    *out = g_strndup(text, argument->length);
    return true;
}

static bool add_pattern(struct conversion *conversion, struct argument_cursor *cursor)
{
    GPtrArray *patterns = conversion->command->list.patterns;
    char *pattern;

    if (patterns->len == LIMIT_LIST_PATTERNS)
        return convert_too_big(conversion, "Too many mailbox patterns");
    if (!take_pattern(conversion, cursor, &pattern))
        return false;
    g_ptr_array_add(patterns, pattern);
    return true;
}

/* mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")" */
static bool convert_patterns(struct conversion *conversion)
{
    struct list_arguments *list = &conversion->command->list;
    const struct argument *argument = argument_peek(&conversion->cursor);
    struct argument_cursor elements;

    list->patterns = g_ptr_array_new();
    if (argument == NULL || argument->kind != ARGUMENT_LIST)
        return add_pattern(conversion, &conversion->cursor);
    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    list->extended = true;
    do {
        if (!add_pattern(conversion, &elements))
            return false;
    } while (argument_peek(&elements) != NULL);
    return true;
}

/* list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")" */
static bool convert_return_options(struct conversion *conversion)
{
    static const struct option options[] = {
        {"SUBSCRIBED", LIST_RETURN_SUBSCRIBED},
        {"CHILDREN", LIST_RETURN_CHILDREN},
        {"SPECIAL-USE", LIST_RETURN_SPECIAL_USE},
        {"STATUS", LIST_RETURN_STATUS},
    };
    struct list_arguments *list = &conversion->command->list;
    struct argument_cursor elements;
    const struct argument *argument = argument_next(&conversion->cursor);

    if (!argument_is_word(conversion->cursor.tree, argument, "RETURN"))
        return convert_fail(conversion, "Only RETURN can follow the mailbox patterns");
    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    list->extended = true;
    while ((argument = argument_next(&elements)) != NULL) {
        uint32_t bit = option_bit(options, G_N_ELEMENTS(options), elements.tree, argument);

        if (bit == 0)
            return convert_fail(conversion, "Unknown LIST return option");
        list->returns |= bit;
        if (bit == LIST_RETURN_STATUS &&
            !convert_take_status_items(conversion, &elements, &list->status))
            return false;
    }
    return true;
}

/* list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts] */
bool convert_list(struct conversion *conversion)
{
    const struct argument *first = argument_peek(&conversion->cursor);

    if (first != NULL && first->kind == ARGUMENT_LIST && !convert_select_options(conversion))
        return false;
    if (!take_pattern(conversion, &conversion->cursor, &conversion->command->list.reference) ||
        !convert_patterns(conversion))
        return false;
    if (argument_peek(&conversion->cursor) != NULL && !convert_return_options(conversion))
        return false;
    return convert_end(conversion, &conversion->cursor);
}

/* lsub = "LSUB" SP mailbox SP list-mailbox */
bool convert_lsub(struct conversion *conversion)
{
    struct list_arguments *list = &conversion->command->list;

    list->patterns = g_ptr_array_new();
    return take_pattern(conversion, &conversion->cursor, &list->reference) &&
           add_pattern(conversion, &conversion->cursor) &&
           convert_end(conversion, &conversion->cursor);
}
