/* STORE, and APPEND message by message: the commands that bring flags. */
#include "protocol/convert.h"

#include "protocol/datetime.h"
#include "protocol/limits.h"

/* store-modifiers = "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")" */
static bool convert_store_modifiers(struct conversion *conversion)
{
    struct store_arguments *store = &conversion->command->store;
    struct argument_cursor elements;

    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    if (!argument_is_word(elements.tree, argument_next(&elements), "UNCHANGEDSINCE"))
        return convert_fail(conversion, "Unknown STORE modifier");
    store->has_unchanged_since = true;
    return convert_take_number(conversion, &elements, INT64_MAX, &store->unchanged_since) &&
           convert_end(conversion, &elements);
}

/* ["+" / "-"] "FLAGS" [".SILENT"] */
static bool convert_store_mode(struct conversion *conversion)
{
    static const struct {
        const char *name;
        enum store_mode mode;
        bool silent;
    } modes[] = {
        {"FLAGS", STORE_MODE_REPLACE, false}, {"FLAGS.SILENT", STORE_MODE_REPLACE, true},
        {"+FLAGS", STORE_MODE_ADD, false},    {"+FLAGS.SILENT", STORE_MODE_ADD, true},
        {"-FLAGS", STORE_MODE_REMOVE, false}, {"-FLAGS.SILENT", STORE_MODE_REMOVE, true},
    };
    struct store_arguments *store = &conversion->command->store;
    const struct argument *argument = argument_next(&conversion->cursor);

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (argument_is_word(conversion->cursor.tree, argument, modes[i].name)) {
            store->mode = modes[i].mode;
            store->silent = modes[i].silent;
            return true;
        }
    }
    return convert_fail(conversion, "STORE needs FLAGS, +FLAGS or -FLAGS");
}

/* store-att-flags = ... SP (flag-list / (flag *(SP flag))) */
bool convert_store(struct conversion *conversion)
{
    struct store_arguments *store = &conversion->command->store;
    struct argument_cursor *cursor = &conversion->cursor;
    struct argument_cursor flags;
    const struct argument *argument;

    if (!convert_take_set(conversion, cursor, &store->set))
        return false;
    argument = argument_peek(cursor);
    if (argument != NULL && argument->kind == ARGUMENT_LIST && !convert_store_modifiers(conversion))
        return false;
    if (!convert_store_mode(conversion))
        return false;
    argument = argument_peek(cursor);
    if (argument == NULL)
        return convert_fail(conversion, "Flags are missing");
    if (argument->kind != ARGUMENT_LIST)
        return convert_flags(conversion, cursor, &store->flags);
    return convert_take_list(conversion, cursor, &flags) &&
           convert_flags(conversion, &flags, &store->flags) && convert_end(conversion, cursor);
}

/* --- APPEND --- */

/* date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE */
static bool take_date(struct conversion *conversion, struct argument_cursor *cursor,
                      struct append_message *message)
{
    const struct argument *argument = argument_next(cursor);

    if (argument->kind != ARGUMENT_QUOTED ||
        !datetime_parse(&message->date, &message->zone, argument_text(cursor->tree, argument),
                        argument->length))
        return convert_fail(conversion, "A date and time is expected");
    message->has_date = true;
    return true;
}

/* [SP flag-list] [SP date-time], up to the cursor's end */
static bool convert_message_options(struct conversion *conversion, struct argument_cursor *cursor,
                                    struct append_message *message)
{
    const struct argument *argument = argument_peek(cursor);
    struct argument_cursor flags;

    if (argument != NULL && argument->kind == ARGUMENT_LIST) {
        if (!convert_take_list(conversion, cursor, &flags) ||
            !convert_flags(conversion, &flags, &message->flags))
            return false;
        argument = argument_peek(cursor);
    }
    if (argument != NULL && !take_date(conversion, cursor, message))
        return false;
    return convert_end(conversion, cursor);
}

/* append-data-ext of RFC 6855: "UTF8" SP "(" literal8 ")". The list is still open. */
static bool cut_utf8_prefix(struct conversion *conversion, struct argument_cursor *cursor,
                            bool binary)
{
    const struct argument_tree *tree = cursor->tree;

    if (!binary || cursor->end < cursor->next + 2 ||
        argument_at(tree, cursor->end - 1)->kind != ARGUMENT_LIST ||
        !argument_is_word(tree, argument_at(tree, cursor->end - 2), "UTF8"))
        return convert_fail(conversion, "A literal can't stand here");
    if (!conversion->utf8)
        return convert_fail(conversion, "UTF8=ACCEPT is not enabled");
    cursor->end -= 2;
    return true;
}

/* Steps over the messages that have been read; a UTF8 message must be alone in its list. */
static bool skip_messages(struct conversion *conversion, struct argument_cursor *cursor)
{
    const struct argument_tree *tree = cursor->tree;
    uint32_t after = cursor->next;

    for (uint32_t i = tree->nodes->len; i > cursor->next && after == cursor->next; i--) {
        if (argument_at(tree, i - 1)->kind == ARGUMENT_MESSAGE)
            after = i;
    }
    if (after > cursor->next && after >= 2) {
        const struct argument *before = argument_at(tree, after - 2);

        if (before->kind == ARGUMENT_LIST && before->skip > after)
            return convert_fail(conversion, "Only one literal can stand in UTF8 ()");
    }
    cursor->next = after;
    return true;
}

bool convert_append_message(struct conversion *conversion, uint64_t size, bool binary,
                            bool inside_list)
{
    struct append_arguments *append = &conversion->command->append;
    struct argument_cursor cursor = conversion->cursor;
    struct append_message *message;

    if (append->mailbox == NULL) {
        if (!convert_take_mailbox(conversion, &cursor, &append->mailbox))
            return false;
        append->messages = g_array_new(FALSE, TRUE, sizeof(struct append_message));
    } else if (!skip_messages(conversion, &cursor)) {
        return false;
    }
    if (append->messages->len == LIMIT_APPEND_MESSAGES)
        return convert_too_big(conversion, "Too many messages in one APPEND");
    if (inside_list && !cut_utf8_prefix(conversion, &cursor, binary))
        return false;
    g_array_set_size(append->messages, append->messages->len + 1);
    message = &g_array_index(append->messages, struct append_message, append->messages->len - 1);
    message->size = size;
    message->binary = binary;
    message->utf8 = inside_list;
    return convert_message_options(conversion, &cursor, message);
}

bool convert_append_end(struct conversion *conversion)
{
    struct append_arguments *append = &conversion->command->append;
    struct argument_cursor cursor = conversion->cursor;

    if (append->messages == NULL)
        return convert_fail(conversion, "APPEND needs a mailbox and a message literal");
    return skip_messages(conversion, &cursor) && convert_end(conversion, &cursor);
}
