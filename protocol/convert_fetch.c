/* FETCH (RFC 3501 6.4.5, 9; RFC 3516 4.2; RFC 7162 3.1.4). */
#include "protocol/convert.h"

#include <string.h>

#include "protocol/limits.h"

enum macro { MACRO_FAST, MACRO_ALL, MACRO_FULL };

/* In the macros' order: each has the items of the one before and more. */
static const struct {
    enum fetch_item_kind kind;
    enum macro since;
} macro_items[] = {
    {FETCH_FLAGS, MACRO_FAST},   {FETCH_INTERNALDATE, MACRO_FAST}, {FETCH_RFC822_SIZE, MACRO_FAST},
    {FETCH_ENVELOPE, MACRO_ALL}, {FETCH_BODY, MACRO_FULL},
};

static struct fetch_item *add_item(struct conversion *conversion, enum fetch_item_kind kind)
{
    GArray *items = conversion->command->fetch.items;
    struct fetch_item *item;

    g_array_set_size(items, items->len + 1);
    item = &g_array_index(items, struct fetch_item, items->len - 1);
    item->kind = kind;
    return item;
}

/* --- duplicates --- */

static void append_key(GString *key, const struct fetch_item *item)
{
    g_string_append_printf(key, "%d %d %d %d %d %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
                           (int)item->kind, item->peek, (int)item->text, (int)item->fields,
                           item->partial, item->offset, item->length);
    for (size_t i = 0; i < item->part_count; i++)
        g_string_append_printf(key, ".%" G_GUINT32_FORMAT, item->parts[i]);
    for (size_t i = 0; item->names != NULL && i < item->names->len; i++) {
        const char *name = g_ptr_array_index(item->names, i);

        g_string_append_printf(key, " %" G_GSIZE_FORMAT ":%s", strlen(name), name);
    }
}

static void drop_item(GArray *items, size_t index)
{
    struct fetch_item *item = &g_array_index(items, struct fetch_item, index);

    g_free(item->parts);
    for (size_t i = 0; item->names != NULL && i < item->names->len; i++)
        g_free(g_ptr_array_index(item->names, i));
    if (item->names != NULL)
        g_ptr_array_free(item->names, TRUE);
    g_array_remove_index(items, (guint)index);
}

static void drop_duplicates(GArray *items)
{
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (size_t i = 0; i < items->len;) {
        GString *key = g_string_new(NULL);

        append_key(key, &g_array_index(items, struct fetch_item, i));
        if (g_hash_table_add(seen, g_string_free(key, FALSE)))
            i++;
        else
            drop_item(items, i);
    }
    g_hash_table_destroy(seen);
}

/* --- sections --- */

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static bool convert_names(struct conversion *conversion, struct argument_cursor *cursor,
                          struct fetch_item *item)
{
    struct argument_cursor elements;
    const char *text;
    size_t length;

    if (!convert_take_list(conversion, cursor, &elements))
        return false;
    item->names = g_ptr_array_new();
    do {
        if (item->names->len == LIMIT_HEADER_NAMES)
            return convert_too_big(conversion, "Too many header names");
        if (!convert_take_astring(conversion, &elements, &text, &length))
            return false;
        g_ptr_array_add(item->names, g_strndup(text, length));
    } while (argument_peek(&elements) != NULL);
    return true;
}

/* section-part = nz-number *("." nz-number); *text is moved to what follows the last dot. */
static bool convert_parts(struct conversion *conversion, const char **text, struct fetch_item *item)
{
    uint32_t parts[LIMIT_SECTION_DEPTH];
    uint64_t number;

    while (g_ascii_isdigit(**text)) {
        size_t digits = strspn(*text, "0123456789");

        if (item->part_count == LIMIT_SECTION_DEPTH)
            return convert_too_big(conversion, "Too many numbers in a section");
        if (!convert_number(*text, digits, UINT32_MAX, &number) || number == 0)
            return convert_fail(conversion, "A section's number is not possible");
        parts[item->part_count++] = (uint32_t)number;
        *text += digits;
        if (**text == '.' && (*text)[1] != '\0')
            (*text)++;
        else if (**text != '\0')
            return convert_fail(conversion, "Unknown section");
    }
    item->parts = g_memdup2(parts, item->part_count * sizeof parts[0]);
    return true;
}

/* section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"; section-text is
 * that or "MIME", which needs a number before it. */
static bool convert_section_text(struct conversion *conversion, struct argument_cursor *cursor,
                                 const char *text, struct fetch_item *item)
{
    static const struct {
        const char *name;
        enum section_text text;
        enum section_fields fields;
    } texts[] = {
        {"", SECTION_TEXT_NONE, SECTION_FIELDS_ALL},
        {"HEADER", SECTION_TEXT_HEADER, SECTION_FIELDS_ALL},
        {"HEADER.FIELDS", SECTION_TEXT_HEADER, SECTION_FIELDS_ONLY},
        {"HEADER.FIELDS.NOT", SECTION_TEXT_HEADER, SECTION_FIELDS_NOT},
        {"TEXT", SECTION_TEXT_TEXT, SECTION_FIELDS_ALL},
        {"MIME", SECTION_TEXT_MIME, SECTION_FIELDS_ALL},
    };
    size_t i = 0;

    while (i < G_N_ELEMENTS(texts) && g_ascii_strcasecmp(text, texts[i].name) != 0)
        i++;
    if (i == G_N_ELEMENTS(texts))
        return convert_fail(conversion, "Unknown section");
    if (texts[i].text == SECTION_TEXT_MIME && item->part_count == 0)
        return convert_fail(conversion, "MIME needs a part number");
    item->text = texts[i].text;
    item->fields = texts[i].fields;
    if (item->fields != SECTION_FIELDS_ALL && !convert_names(conversion, cursor, item))
        return false;
    return convert_end(conversion, cursor);
}

/* section = "[" [section-spec] "]" */
static bool convert_section(struct conversion *conversion, struct argument_cursor *cursor,
                            struct fetch_item *item)
{
    const struct argument *bracket = argument_next(cursor);
    struct argument_cursor elements = argument_elements(cursor, bracket);
    const struct argument *spec = argument_next(&elements);
    const char *text;

    if (spec == NULL)
        return true;
    if (spec->kind != ARGUMENT_ATOM)
        return convert_fail(conversion, "Unknown section");
    text = argument_text(elements.tree, spec);
    return convert_parts(conversion, &text, item) &&
           convert_section_text(conversion, &elements, text, item);
}

/* "<" number "." nz-number ">" */
static bool convert_partial(struct conversion *conversion, struct argument_cursor *cursor,
                            struct fetch_item *item)
{
    const struct argument *argument = argument_next(cursor);
    const char *text = argument_text(cursor->tree, argument) + 1;
    const char *dot = strchr(text, '.');
    size_t length = argument->length - 1;

    if (dot == NULL || length == 0 || text[length - 1] != '>' ||
        !convert_number(text, (size_t)(dot - text), INT64_MAX, &item->offset) ||
        !convert_number(dot + 1, length - (size_t)(dot - text) - 2, INT64_MAX, &item->length) ||
        item->length == 0)
        return convert_fail(conversion, "A partial must be <offset.length>");
    item->partial = true;
    return true;
}

static bool is_attached(const struct argument *argument, enum argument_kind kind)
{
    return argument != NULL && argument->attached && argument->kind == kind;
}

/* "BODY" [".PEEK"] section ["<" partial ">"] */
static bool convert_body(struct conversion *conversion, struct argument_cursor *cursor, bool peek)
{
    struct fetch_item *item = add_item(conversion, FETCH_SECTION);

    item->peek = peek;
    if (!convert_section(conversion, cursor, item))
        return false;
    if (is_attached(argument_peek(cursor), ARGUMENT_ATOM))
        return convert_partial(conversion, cursor, item);
    return true;
}

/* "BINARY" [".PEEK"] section-binary ["<" partial ">"] / "BINARY.SIZE" section-binary (RFC 3516 7);
 * section-binary = "[" [section-part] "]" */
static bool convert_binary(struct conversion *conversion, struct argument_cursor *cursor,
                           enum fetch_item_kind kind, bool peek)
{
    struct fetch_item *item = add_item(conversion, kind);

    item->peek = peek;
    if (!convert_section(conversion, cursor, item))
        return false;
    if (item->text != SECTION_TEXT_NONE)
        return convert_fail(conversion, "A section of BINARY has numbers only");
    if (kind == FETCH_BINARY && is_attached(argument_peek(cursor), ARGUMENT_ATOM))
        return convert_partial(conversion, cursor, item);
    return true;
}

/* An item with a section. */
static bool convert_sectioned(struct conversion *conversion, struct argument_cursor *cursor,
                              const struct argument *argument)
{
    if (argument_is_word(cursor->tree, argument, "BODY"))
        return convert_body(conversion, cursor, false);
    if (argument_is_word(cursor->tree, argument, "BODY.PEEK"))
        return convert_body(conversion, cursor, true);
    if (argument_is_word(cursor->tree, argument, "BINARY"))
        return convert_binary(conversion, cursor, FETCH_BINARY, false);
    if (argument_is_word(cursor->tree, argument, "BINARY.PEEK"))
        return convert_binary(conversion, cursor, FETCH_BINARY, true);
    if (argument_is_word(cursor->tree, argument, "BINARY.SIZE"))
        return convert_binary(conversion, cursor, FETCH_BINARY_SIZE, true);
    return convert_fail(conversion, "Unknown FETCH item");
}

/* fetch-att */
static bool convert_item(struct conversion *conversion, struct argument_cursor *cursor)
{
    static const struct {
        const char *name;
        enum fetch_item_kind kind;
    } items[] = {
        {"UID", FETCH_UID},
        {"FLAGS", FETCH_FLAGS},
        {"INTERNALDATE", FETCH_INTERNALDATE},
        {"RFC822.SIZE", FETCH_RFC822_SIZE},
        {"ENVELOPE", FETCH_ENVELOPE},
        {"BODY", FETCH_BODY},
        {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE},
        {"MODSEQ", FETCH_MODSEQ},
        {"EMAILID", FETCH_EMAILID},
        {"THREADID", FETCH_THREADID},
        {"RFC822", FETCH_RFC822},
        {"RFC822.HEADER", FETCH_RFC822_HEADER},
        {"RFC822.TEXT", FETCH_RFC822_TEXT},
    };
    const struct argument *argument = argument_next(cursor);

    if (conversion->command->fetch.items->len == LIMIT_FETCH_ITEMS)
        return convert_too_big(conversion, "Too many FETCH items");
    if (is_attached(argument_peek(cursor), ARGUMENT_BRACKET))
        return convert_sectioned(conversion, cursor, argument);
    for (size_t i = 0; i < G_N_ELEMENTS(items); i++) {
        if (argument_is_word(cursor->tree, argument, items[i].name)) {
            add_item(conversion, items[i].kind);
            return true;
        }
    }
    return convert_fail(conversion, "Unknown FETCH item");
}

static bool convert_macro(struct conversion *conversion, const struct argument *argument)
{
    static const char *const names[] = {"FAST", "ALL", "FULL"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!argument_is_word(conversion->cursor.tree, argument, names[i]))
            continue;
        for (size_t j = 0; j < G_N_ELEMENTS(macro_items); j++) {
            if (macro_items[j].since <= (enum macro)i)
                add_item(conversion, macro_items[j].kind);
        }
        return true;
    }
    return false;
}

/* "ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")" */
static bool convert_items(struct conversion *conversion)
{
    const struct argument *argument = argument_peek(&conversion->cursor);
    struct argument_cursor elements;

    conversion->command->fetch.items = g_array_new(FALSE, TRUE, sizeof(struct fetch_item));
    if (argument == NULL)
        return convert_fail(conversion, "FETCH items are missing");
    if (convert_macro(conversion, argument)) {
        argument_next(&conversion->cursor);
        return true;
    }
    if (argument->kind != ARGUMENT_LIST)
        return convert_item(conversion, &conversion->cursor);
    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    if (argument_peek(&elements) == NULL)
        return convert_fail(conversion, "The list of FETCH items is empty");
    while (argument_peek(&elements) != NULL) {
        if (!convert_item(conversion, &elements))
            return false;
    }
    return true;
}

/* fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")"
 * fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED" */
static bool convert_modifiers(struct conversion *conversion)
{
    struct fetch_arguments *fetch = &conversion->command->fetch;
    struct argument_cursor elements;

    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    do {
        const struct argument *argument = argument_next(&elements);

        if (argument_is_word(elements.tree, argument, "VANISHED")) {
            fetch->vanished = true;
            continue;
        }
        if (!argument_is_word(elements.tree, argument, "CHANGEDSINCE"))
            return convert_fail(conversion, "Unknown FETCH modifier");
        if (!convert_take_number(conversion, &elements, INT64_MAX, &fetch->changed_since))
            return false;
        fetch->has_changed_since = true;
    } while (argument_peek(&elements) != NULL);
    if (fetch->vanished && !(conversion->command->uid && fetch->has_changed_since))
        return convert_fail(conversion, "VANISHED belongs to UID FETCH with CHANGEDSINCE");
    return true;
}

/* fetch = "FETCH" SP sequence-set SP items [fetch-modifiers] */
bool convert_fetch(struct conversion *conversion)
{
    struct fetch_arguments *fetch = &conversion->command->fetch;

    if (!convert_take_set(conversion, &conversion->cursor, &fetch->set))
        return false;
    if (is_attached(argument_peek(&conversion->cursor), ARGUMENT_BRACKET))
        return convert_fail(conversion, "A set of message numbers is expected");
    if (!convert_items(conversion))
        return false;
    if (argument_peek(&conversion->cursor) != NULL && !convert_modifiers(conversion))
        return false;
    drop_duplicates(fetch->items);
    return convert_end(conversion, &conversion->cursor);
}
