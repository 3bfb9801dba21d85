#include "tests/parser_trace.h"

#include <string.h>

#include "protocol/datetime.h"

static void add_set(GString *out, const struct sequence_set *set)
{
    g_string_append_c(out, ' ');
    if (set->saved)
        g_string_append_c(out, '$');
    for (size_t i = 0; set->ranges != NULL && i < set->ranges->len; i++) {
        struct sequence_range range = g_array_index(set->ranges, struct sequence_range, i);

        g_string_append_printf(out, "%s%u:%u", i > 0 ? "," : "", range.low, range.high);
    }
}

static void add_string(GString *out, const char *name, const char *text)
{
    if (text == NULL)
        g_string_append_printf(out, " %s=NIL", name);
    else
        g_string_append_printf(out, " %s=\"%s\"", name, text);
}

static void add_strings(GString *out, const char *name, const GPtrArray *strings)
{
    if (strings == NULL)
        return;
    g_string_append_printf(out, " %s=[", name);
    for (size_t i = 0; i < strings->len; i++)
        g_string_append_printf(out, "%s%s", i > 0 ? "|" : "",
                               (const char *)g_ptr_array_index(strings, i));
    g_string_append_c(out, ']');
}

static void add_flags(GString *out, const struct command_flags *flags)
{
    g_string_append_printf(out, " flags=%x", flags->system);
    add_strings(out, "keywords", flags->keywords);
}

static void add_append_message(GString *out, const struct append_message *message)
{
    g_string_append_printf(out, " (size=%" G_GUINT64_FORMAT, message->size);
    add_flags(out, &message->flags);
    if (message->has_date) {
        g_string_append(out, " date=");
        datetime_format(out, message->date, message->zone);
    }
    g_string_append_printf(out, "%s%s)", message->binary ? " binary" : "",
                           message->utf8 ? " utf8" : "");
}

static void add_append(GString *out, const struct append_arguments *append)
{
    add_string(out, "mailbox", append->mailbox);
    for (size_t i = 0; append->messages != NULL && i < append->messages->len; i++)
        add_append_message(out, &g_array_index(append->messages, struct append_message, i));
}

static void add_item(GString *out, const struct fetch_item *item)
{
    static const char *const names[] = {
        "UID",           "FLAGS",       "INTERNALDATE", "SIZE",       "ENVELOPE", "BODY",
        "BODYSTRUCTURE", "MODSEQ",      "EMAILID",      "THREADID",   "SECTION",  "RFC822",
        "RFC822.HEADER", "RFC822.TEXT", "BINARY",       "BINARY.SIZE"};
    static const char *const texts[] = {"", "HEADER", "TEXT", "MIME"};
    static const char *const fields[] = {"", ".FIELDS", ".NOT"};

    g_string_append_printf(out, " %s%s", names[item->kind], item->peek ? ".PEEK" : "");
    if (item->kind != FETCH_SECTION && item->kind != FETCH_BINARY &&
        item->kind != FETCH_BINARY_SIZE)
        return;
    g_string_append_c(out, '[');
    for (size_t i = 0; i < item->part_count; i++)
        g_string_append_printf(out, "%u.", item->parts[i]);
    g_string_append_printf(out, "%s%s", texts[item->text], fields[item->fields]);
    add_strings(out, "names", item->names);
    g_string_append_c(out, ']');
    if (item->partial)
        g_string_append_printf(out, "<%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT ">", item->offset,
                               item->length);
}

/* A NUL is shown as "\0". */
static void add_octets(GString *out, const GString *octets)
{
    for (size_t i = 0; i < octets->len; i++) {
        if (octets->str[i] == '\0')
            g_string_append(out, "\\0");
        else
            g_string_append_c(out, octets->str[i]);
    }
}

static void add_fetch(GString *out, const struct fetch_arguments *fetch)
{
    add_set(out, &fetch->set);
    for (size_t i = 0; i < fetch->items->len; i++)
        add_item(out, &g_array_index(fetch->items, struct fetch_item, i));
    if (fetch->has_changed_since)
        g_string_append_printf(out, " since=%" G_GUINT64_FORMAT, fetch->changed_since);
    g_string_append(out, fetch->vanished ? " vanished" : "");
}

static void add_store(GString *out, const struct store_arguments *store)
{
    static const char *const modes[] = {"REPLACE", "ADD", "REMOVE"};

    add_set(out, &store->set);
    g_string_append_printf(out, " %s%s", modes[store->mode], store->silent ? ".SILENT" : "");
    if (store->has_unchanged_since)
        g_string_append_printf(out, " since=%" G_GUINT64_FORMAT, store->unchanged_since);
    add_flags(out, &store->flags);
}

static void add_key(GString *out, const struct search_key *key, size_t index)
{
    static const char *const names[] = {
        "AND",    "OR",      "NOT",     "ALL",     "SEQUENCE",   "UID",    "FLAG",
        "RECENT", "NEW",     "KEYWORD", "EMAILID", "THREADID",   "HEADER", "BODY",
        "TEXT",   "BEFORE",  "ON",      "SINCE",   "SENTBEFORE", "SENTON", "SENTSINCE",
        "LARGER", "SMALLER", "OLDER",   "YOUNGER", "MODSEQ"};

    g_string_append_printf(out, " %s", names[key->kind]);
    if (key->skip != index + 1)
        g_string_append_printf(out, ">%u", key->skip);
    if (key->set.ranges != NULL || key->set.saved)
        add_set(out, &key->set);
    if (key->header != NULL)
        g_string_append_printf(out, " <%s>", key->header);
    if (key->text != NULL)
        g_string_append_printf(out, " \"%s\"/%" G_GSIZE_FORMAT, key->text, key->text_length);
    if (key->kind >= SEARCH_BEFORE && key->kind <= SEARCH_SENTSINCE)
        g_string_append_printf(out, " day=%d", key->day);
    if (key->kind == SEARCH_FLAG)
        g_string_append_printf(out, " %x", (unsigned)key->number);
    if (key->kind >= SEARCH_LARGER)
        g_string_append_printf(out, " %" G_GUINT64_FORMAT, key->number);
}

static void add_search(GString *out, const struct search_arguments *search)
{
    if (search->extended)
        g_string_append_printf(out, " return=%x", search->returns);
    if (search->bad_charset)
        g_string_append(out, " bad-charset");
    for (size_t i = 0; search->sort != NULL && i < search->sort->len; i++) {
        struct sort_criterion by = g_array_index(search->sort, struct sort_criterion, i);

        g_string_append_printf(out, " %sby=%d", by.reverse ? "-" : "", (int)by.key);
    }
    for (size_t i = 0; i < search->program->len; i++)
        add_key(out, &g_array_index(search->program, struct search_key, i), i);
}

static void add_list(GString *out, const struct list_arguments *list)
{
    if (list->extended)
        g_string_append_printf(out, " extended select=%x return=%x status=%x", list->select,
                               list->returns, list->status);
    add_string(out, "reference", list->reference);
    add_strings(out, "patterns", list->patterns);
}

static void add_id(GString *out, const GArray *fields)
{
    if (fields == NULL)
        g_string_append(out, " NIL");
    for (size_t i = 0; fields != NULL && i < fields->len; i++) {
        const struct id_field *field = &g_array_index(fields, struct id_field, i);

        add_string(out, field->name, field->value);
    }
}

static void add_select(GString *out, const struct select_arguments *select)
{
    const struct qresync_arguments *qresync = &select->qresync;

    add_string(out, "mailbox", select->mailbox);
    g_string_append(out, select->condstore ? " condstore" : "");
    if (!select->has_qresync)
        return;
    g_string_append_printf(out, " qresync=%u,%" G_GUINT64_FORMAT, qresync->uid_validity,
                           qresync->modseq);
    if (qresync->known.ranges != NULL)
        add_set(out, &qresync->known);
    if (qresync->match_numbers.ranges != NULL) {
        g_string_append(out, " (");
        add_set(out, &qresync->match_numbers);
        add_set(out, &qresync->match_uids);
        g_string_append_c(out, ')');
    }
}

static void add_create(GString *out, const struct command *command)
{
    add_string(out, "mailbox", command->create.mailbox);
    if (command->create.special_use != NULL)
        add_string(out, "use", command->create.special_use);
    if (command->create.many_uses)
        g_string_append(out, " many");
}

static void add_arguments(GString *out, const struct command *command)
{
    switch (command->kind) {
    case COMMAND_ID:
        add_id(out, command->id);
        break;
    case COMMAND_AUTHENTICATE:
        add_string(out, "mechanism", command->authenticate.mechanism);
        add_string(out, "initial", command->authenticate.initial);
        break;
    case COMMAND_LOGIN:
        add_string(out, "user", command->login.user);
        add_string(out, "password", command->login.password);
        break;
    case COMMAND_ENABLE:
        add_strings(out, "enable", command->enable);
        break;
    case COMMAND_COMPRESS:
        add_string(out, "algorithm", command->compress);
        break;
    case COMMAND_SELECT:
    case COMMAND_EXAMINE:
        add_select(out, &command->select);
        break;
    case COMMAND_CREATE:
        add_create(out, command);
        break;
    case COMMAND_RENAME:
        add_string(out, "from", command->rename.from);
        add_string(out, "to", command->rename.to);
        break;
    case COMMAND_DELETE:
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
    case COMMAND_GETQUOTAROOT:
        add_string(out, "mailbox", command->mailbox);
        break;
    case COMMAND_GETQUOTA:
    case COMMAND_SETQUOTA:
        add_string(out, "root", command->quota_root);
        break;
    case COMMAND_LIST:
    case COMMAND_LSUB:
        add_list(out, &command->list);
        break;
    case COMMAND_STATUS:
        add_string(out, "mailbox", command->status.mailbox);
        g_string_append_printf(out, " items=%x", command->status.items);
        break;
    case COMMAND_APPEND:
        add_append(out, &command->append);
        break;
    case COMMAND_EXPUNGE:
        if (command->uid)
            add_set(out, &command->expunge.set);
        break;
    case COMMAND_SEARCH:
    case COMMAND_SORT:
    case COMMAND_THREAD:
        if (command->kind == COMMAND_THREAD)
            g_string_append_printf(out, " algorithm=%d", (int)command->search.thread);
        add_search(out, &command->search);
        break;
    case COMMAND_FETCH:
        add_fetch(out, &command->fetch);
        break;
    case COMMAND_STORE:
        add_store(out, &command->store);
        break;
    case COMMAND_COPY:
    case COMMAND_MOVE:
        add_set(out, &command->copy.set);
        add_string(out, "mailbox", command->copy.mailbox);
        break;
    case COMMAND_UNKNOWN:
        g_string_append(out, " unknown");
        break;
    case COMMAND_CAPABILITY:
    case COMMAND_NOOP:
    case COMMAND_LOGOUT:
    case COMMAND_STARTTLS:
    case COMMAND_NAMESPACE:
    case COMMAND_IDLE:
    case COMMAND_CHECK:
    case COMMAND_CLOSE:
    case COMMAND_UNSELECT:
    case COMMAND_COUNT:
        break;
    }
}

void command_trace(GString *out, const struct command *command)
{
    g_string_append_printf(out, "%s %s", command->tag, command->verb);
    add_arguments(out, command);
}

struct tracer {
    const struct trace_settings *settings;
    struct parser *parser;
    GString *out;
    GString *message;
};

static void trace_begin(struct tracer *tracer)
{
    const GArray *messages = parser_message(tracer->parser)->append.messages;

    g_string_append(tracer->out, "BEGIN");
    add_append_message(tracer->out,
                       &g_array_index(messages, struct append_message, messages->len - 1));
    g_string_append(tracer->out,
                    parser_message_synchronising(tracer->parser) ? " synchronising\n" : "\n");
    g_string_truncate(tracer->message, 0);
    if (tracer->settings->refuse_messages)
        parser_message_refuse(tracer->parser);
    else
        parser_message_accept(tracer->parser);
}

static void trace_data(struct tracer *tracer)
{
    const uint8_t *data;
    size_t length;

    parser_message_data(tracer->parser, &data, &length);
    g_string_append_len(tracer->message, (const char *)data, (gssize)length);
}

static void trace_error(struct tracer *tracer, const char *event)
{
    const struct parser_error *error = parser_error(tracer->parser);

    g_string_append_printf(tracer->out, "%s%s %s %s\n", event,
                           error->too_big    ? "(too big)"
                           : error->bad_name ? "(no)"
                                             : "",
                           error->tag, error->text);
}

static void trace_event(struct tracer *tracer, enum parser_event event)
{
    struct command *command;

    switch (event) {
    case PARSER_MORE:
        break;
    case PARSER_COMMAND:
        command = parser_take_command(tracer->parser);
        command_trace(tracer->out, command);
        g_string_append_c(tracer->out, '\n');
        command_free(command);
        break;
    case PARSER_CONTINUE:
        g_string_append(tracer->out, "CONTINUE\n");
        break;
    case PARSER_MESSAGE_BEGIN:
        trace_begin(tracer);
        break;
    case PARSER_MESSAGE_DATA:
        trace_data(tracer);
        break;
    case PARSER_MESSAGE_END:
        g_string_append(tracer->out, "END \"");
        add_octets(tracer->out, tracer->message);
        g_string_append(tracer->out, "\"\n");
        break;
    case PARSER_BAD:
        trace_error(tracer, "BAD");
        break;
    case PARSER_FATAL:
        trace_error(tracer, "FATAL");
        break;
    }
}

/* False after PARSER_FATAL. The copy lets a sanitizer see reads beyond the piece. */
static bool trace_piece(struct tracer *tracer, const char *input, size_t length)
{
    uint8_t *copy = g_memdup2(input, length);
    size_t position = 0;
    enum parser_event event;

    do {
        size_t used;

        event = parser_feed(tracer->parser, copy == NULL ? NULL : copy + position,
                            length - position, &used);
        position += used;
        trace_event(tracer, event);
    } while (event != PARSER_MORE && event != PARSER_FATAL);
    g_assert(event == PARSER_FATAL || position == length);
    g_free(copy);
    return event != PARSER_FATAL;
}

char *parser_trace(const struct trace_settings *settings, const char *input, size_t length)
{
    struct tracer tracer = {.settings = settings,
                            .parser = parser_new(),
                            .out = g_string_new(NULL),
                            .message = g_string_new(NULL)};
    size_t position = 0;
    size_t piece = settings->split;

    parser_set_authenticated(tracer.parser, !settings->before_login);
    parser_set_utf8(tracer.parser, settings->utf8);
    parser_set_rev2(tracer.parser, settings->rev2);
    if (settings->chunk > 0)
        piece = settings->chunk;
    while (position < length) {
        if (piece == 0 || piece > length - position)
            piece = length - position;
        if (!trace_piece(&tracer, input + position, piece))
            break;
        position += piece;
        piece = settings->chunk;
    }
    parser_free(tracer.parser);
    g_string_free(tracer.message, TRUE);
    return g_string_free(tracer.out, FALSE);
}
