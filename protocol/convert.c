/* The table of conversions, and the commands whose arguments are short. */
#include "protocol/convert.h"

#include <assert.h>

#include "protocol/limits.h"

static bool convert_nothing(struct conversion *conversion)
{
    if (argument_peek(&conversion->cursor) != NULL)
        return convert_fail(conversion, "This command takes no arguments");
    return true;
}

/* authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] */
static bool convert_authenticate(struct conversion *conversion)
{
    struct command *command = conversion->command;
    const char *text;
    size_t length;

    if (!convert_take_atom(conversion, &conversion->cursor, &text, &length))
        return false;
    command->authenticate.mechanism = g_ascii_strup(text, (gssize)length);
    if (argument_peek(&conversion->cursor) == NULL)
        return true;
    if (!convert_take_atom(conversion, &conversion->cursor, &text, &length))
        return false;
    command->authenticate.initial = g_strndup(text, length);
    return convert_end(conversion, &conversion->cursor);
}

/* login = "LOGIN" SP userid SP password */
static bool convert_login(struct conversion *conversion)
{
    struct command *command = conversion->command;
    const char *text;
    size_t length;

    if (!convert_take_astring(conversion, &conversion->cursor, &text, &length))
        return false;
    command->login.user = g_strndup(text, length);
    if (!convert_take_astring(conversion, &conversion->cursor, &text, &length))
        return false;
    command->login.password = g_strndup(text, length);
    return convert_end(conversion, &conversion->cursor);
}

/* enable = "ENABLE" 1*(SP capability) */
static bool convert_enable(struct conversion *conversion)
{
    const char *text;
    size_t length;

    conversion->command->enable = g_ptr_array_new();
    do {
        if (!convert_take_atom(conversion, &conversion->cursor, &text, &length))
            return false;
        g_ptr_array_add(conversion->command->enable, g_ascii_strup(text, (gssize)length));
    } while (argument_peek(&conversion->cursor) != NULL);
    return true;
}

/* compress = "COMPRESS" SP algorithm */
static bool convert_compress(struct conversion *conversion)
{
    const char *text;
    size_t length;

    if (!convert_take_atom(conversion, &conversion->cursor, &text, &length))
        return false;
    conversion->command->compress = g_ascii_strup(text, (gssize)length);
    return convert_end(conversion, &conversion->cursor);
}

/* string SPACE nstring */
static bool convert_id_field(struct conversion *conversion, struct argument_cursor *cursor,
                             struct id_field *field)
{
    const char *text;
    size_t length;

    if (!convert_take_astring(conversion, cursor, &text, &length))
        return false;
    if (length > LIMIT_ID_FIELD)
        return convert_too_big(conversion, "A field of ID has too long a name");
    field->name = g_strndup(text, length);
    if (argument_is_word(cursor->tree, argument_peek(cursor), "NIL")) {
        argument_next(cursor);
        return true;
    }
    if (!convert_take_astring(conversion, cursor, &text, &length))
        return false;
    if (length > LIMIT_ID_VALUE)
        return convert_too_big(conversion, "A field of ID has too long a value");
    field->value = g_strndup(text, length);
    return true;
}

/* id_params_list = "(" *(string SPACE nstring) ")" / nil */
static bool convert_id(struct conversion *conversion)
{
    struct command *command = conversion->command;
    struct argument_cursor elements;

    if (argument_is_word(conversion->cursor.tree, argument_peek(&conversion->cursor), "NIL")) {
        argument_next(&conversion->cursor);
        return convert_end(conversion, &conversion->cursor);
    }
    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    command->id = g_array_new(FALSE, TRUE, sizeof(struct id_field));
    while (argument_peek(&elements) != NULL) {
        if (command->id->len == LIMIT_ID_FIELDS)
            return convert_too_big(conversion, "ID has too many fields");
        g_array_set_size(command->id, command->id->len + 1);
        if (!convert_id_field(conversion, &elements,
                              &g_array_index(command->id, struct id_field, command->id->len - 1)))
            return false;
    }
    return convert_end(conversion, &conversion->cursor);
}

/* sequence-set without "*" */
static bool convert_take_known(struct conversion *conversion, struct argument_cursor *cursor,
                               struct sequence_set *out)
{
    if (!convert_take_set(conversion, cursor, out))
        return false;
    if (out->saved)
        return convert_fail(conversion, "A set of message numbers is expected");
    for (guint i = 0; i < out->ranges->len; i++) {
        struct sequence_range range = g_array_index(out->ranges, struct sequence_range, i);

        if (range.low == 0 || range.high == 0)
            return convert_fail(conversion, "A set without * is expected");
    }
    return true;
}

/* How many numbers the set names; 0: it does not ascend. */
static uint64_t count_ascending(const struct sequence_set *set)
{
    uint64_t count = 0;
    uint32_t last = 0;

    for (guint i = 0; i < set->ranges->len; i++) {
        struct sequence_range range = g_array_index(set->ranges, struct sequence_range, i);

        if (range.low <= last || range.high < range.low)
            return 0;
        count += (uint64_t)range.high - range.low + 1;
        last = range.high;
    }
    return count;
}

/* seq-match-data = "(" known-sequence-set SP known-uid-set ")" */
static bool convert_match(struct conversion *conversion, struct argument_cursor *cursor,
                          struct qresync_arguments *qresync)
{
    struct argument_cursor elements;
    uint64_t count;

    if (!convert_take_list(conversion, cursor, &elements) ||
        !convert_take_known(conversion, &elements, &qresync->match_numbers) ||
        !convert_take_known(conversion, &elements, &qresync->match_uids) ||
        !convert_end(conversion, &elements))
        return false;
    count = count_ascending(&qresync->match_numbers);
    if (count == 0 || count != count_ascending(&qresync->match_uids))
        return convert_fail(conversion, "Numbers and UIDs must ascend and be equally many");
    return true;
}

/* "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")" */
static bool convert_qresync(struct conversion *conversion, struct argument_cursor *cursor)
{
    struct select_arguments *select = &conversion->command->select;
    struct qresync_arguments *qresync = &select->qresync;
    struct argument_cursor elements;
    const struct argument *argument;
    uint64_t uid_validity;

    if (select->has_qresync)
        return convert_fail(conversion, "QRESYNC is given twice");
    select->has_qresync = true;
    if (!convert_take_list(conversion, cursor, &elements) ||
        !convert_take_number(conversion, &elements, UINT32_MAX, &uid_validity) ||
        !convert_take_number(conversion, &elements, INT64_MAX, &qresync->modseq))
        return false;
    if (uid_validity == 0 || qresync->modseq == 0)
        return convert_fail(conversion, "UIDVALIDITY and mod-sequence are at least 1");
    qresync->uid_validity = (uint32_t)uid_validity;
    argument = argument_peek(&elements);
    if (argument != NULL && argument->kind != ARGUMENT_LIST &&
        !convert_take_known(conversion, &elements, &qresync->known))
        return false;
    if (argument_peek(&elements) != NULL && !convert_match(conversion, &elements, qresync))
        return false;
    return convert_end(conversion, &elements);
}

/* select-params = SP "(" select-param *(SP select-param) ")" */
static bool convert_select(struct conversion *conversion)
{
    struct select_arguments *select = &conversion->command->select;
    struct argument_cursor elements;
    const struct argument *argument;

    if (!convert_take_mailbox(conversion, &conversion->cursor, &select->mailbox))
        return false;
    if (argument_peek(&conversion->cursor) == NULL)
        return true;
    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    if (argument_peek(&elements) == NULL)
        return convert_fail(conversion, "The list of parameters is empty");
    while ((argument = argument_next(&elements)) != NULL) {
        if (argument_is_word(elements.tree, argument, "CONDSTORE"))
            select->condstore = true;
        else if (!argument_is_word(elements.tree, argument, "QRESYNC"))
            return convert_fail(conversion, "Unknown parameter");
        else if (!convert_qresync(conversion, &elements))
            return false;
    }
    return convert_end(conversion, &conversion->cursor);
}

/* "USE" SP "(" [use-attr *(SP use-attr)] ")"; use-attr = "\" atom */
static bool convert_uses(struct conversion *conversion, struct argument_cursor *cursor)
{
    struct command *command = conversion->command;
    struct argument_cursor uses;
    const struct argument *argument;

    if (!convert_take_list(conversion, cursor, &uses))
        return false;
    while ((argument = argument_next(&uses)) != NULL) {
        const char *text = argument_text(uses.tree, argument);

        if (argument->kind != ARGUMENT_ATOM || text[0] != '\\' ||
            !convert_is_atom(text + 1, argument->length - 1))
            return convert_fail(conversion, "A special use is expected");
        if (command->create.special_use == NULL)
            command->create.special_use = g_strndup(text, argument->length);
        else
            command->create.many_uses = true;
    }
    return true;
}

/* create = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"] */
static bool convert_create(struct conversion *conversion)
{
    struct argument_cursor elements;

    if (!convert_take_mailbox(conversion, &conversion->cursor,
                              &conversion->command->create.mailbox))
        return false;
    if (argument_peek(&conversion->cursor) == NULL)
        return true;
    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    if (!argument_is_word(elements.tree, argument_next(&elements), "USE"))
        return convert_fail(conversion, "Unknown parameter");
    return convert_uses(conversion, &elements) && convert_end(conversion, &elements) &&
           convert_end(conversion, &conversion->cursor);
}

static bool convert_rename(struct conversion *conversion)
{
    struct command *command = conversion->command;

    return convert_take_mailbox(conversion, &conversion->cursor, &command->rename.from) &&
           convert_take_mailbox(conversion, &conversion->cursor, &command->rename.to) &&
           convert_end(conversion, &conversion->cursor);
}

static bool convert_mailbox(struct conversion *conversion)
{
    return convert_take_mailbox(conversion, &conversion->cursor, &conversion->command->mailbox) &&
           convert_end(conversion, &conversion->cursor);
}

static bool convert_expunge(struct conversion *conversion)
{
    if (!conversion->command->uid)
        return convert_nothing(conversion);
    return convert_take_set(conversion, &conversion->cursor, &conversion->command->expunge.set) &&
           convert_end(conversion, &conversion->cursor);
}

static bool convert_copy(struct conversion *conversion)
{
    struct command *command = conversion->command;

    return convert_take_set(conversion, &conversion->cursor, &command->copy.set) &&
           convert_take_mailbox(conversion, &conversion->cursor, &command->copy.mailbox) &&
           convert_end(conversion, &conversion->cursor);
}

static bool convert_quota_root(struct conversion *conversion)
{
    const char *text;
    size_t length;

    if (!convert_take_astring(conversion, &conversion->cursor, &text, &length))
        return false;
    conversion->command->quota_root = g_strndup(text, length);
    return true;
}

static bool convert_getquota(struct conversion *conversion)
{
    return convert_quota_root(conversion) && convert_end(conversion, &conversion->cursor);
}

/* setquota = "SETQUOTA" SP quota-root-name SP "(" [atom SP number *(SP atom SP number)] ")" */
static bool convert_setquota(struct conversion *conversion)
{
    struct argument_cursor elements;
    const char *text;
    size_t length;
    uint64_t limit;

    if (!convert_quota_root(conversion) ||
        !convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    while (argument_peek(&elements) != NULL) {
        if (!convert_take_atom(conversion, &elements, &text, &length) ||
            !convert_take_number(conversion, &elements, INT64_MAX, &limit))
            return false;
    }
    return convert_end(conversion, &conversion->cursor);
}

bool convert_command(struct conversion *conversion)
{
    static bool (*const functions[])(struct conversion *) = {
        [COMMAND_CAPABILITY] = convert_nothing,
        [COMMAND_NOOP] = convert_nothing,
        [COMMAND_LOGOUT] = convert_nothing,
        [COMMAND_ID] = convert_id,
        [COMMAND_STARTTLS] = convert_nothing,
        [COMMAND_AUTHENTICATE] = convert_authenticate,
        [COMMAND_LOGIN] = convert_login,
        [COMMAND_ENABLE] = convert_enable,
        [COMMAND_COMPRESS] = convert_compress,
        [COMMAND_NAMESPACE] = convert_nothing,
        [COMMAND_SELECT] = convert_select,
        [COMMAND_EXAMINE] = convert_select,
        [COMMAND_CREATE] = convert_create,
        [COMMAND_DELETE] = convert_mailbox,
        [COMMAND_RENAME] = convert_rename,
        [COMMAND_SUBSCRIBE] = convert_mailbox,
        [COMMAND_UNSUBSCRIBE] = convert_mailbox,
        [COMMAND_LIST] = convert_list,
        [COMMAND_LSUB] = convert_lsub,
        [COMMAND_STATUS] = convert_status,
        [COMMAND_APPEND] = convert_append_end,
        [COMMAND_IDLE] = convert_nothing,
        [COMMAND_CHECK] = convert_nothing,
        [COMMAND_CLOSE] = convert_nothing,
        [COMMAND_UNSELECT] = convert_nothing,
        [COMMAND_EXPUNGE] = convert_expunge,
        [COMMAND_SEARCH] = convert_search,
        [COMMAND_SORT] = convert_sort,
        [COMMAND_THREAD] = convert_thread,
        [COMMAND_FETCH] = convert_fetch,
        [COMMAND_STORE] = convert_store,
        [COMMAND_COPY] = convert_copy,
        [COMMAND_MOVE] = convert_copy,
        [COMMAND_GETQUOTA] = convert_getquota,
        [COMMAND_GETQUOTAROOT] = convert_mailbox,
        [COMMAND_SETQUOTA] = convert_setquota,
    };
    static_assert(G_N_ELEMENTS(functions) == COMMAND_COUNT, "a conversion for each command");

    return functions[conversion->command->kind](conversion);
}
