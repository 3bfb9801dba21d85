#include "protocol/command.h"

#include <string.h>

static void free_strings(GPtrArray *strings)
{
    for (size_t i = 0; strings != NULL && i < strings->len; i++)
        g_free(g_ptr_array_index(strings, i));
    if (strings != NULL)
        g_ptr_array_free(strings, TRUE);
}

static void free_array(GArray *array)
{
    if (array != NULL)
        g_array_free(array, TRUE);
}

static void free_secret(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    g_free(secret);
}

static void free_id(GArray *fields)
{
    for (size_t i = 0; fields != NULL && i < fields->len; i++) {
        struct id_field *field = &g_array_index(fields, struct id_field, i);

        g_free(field->name);
        g_free(field->value);
    }
    free_array(fields);
}

static void release_append(struct append_arguments *append)
{
    for (size_t i = 0; append->messages != NULL && i < append->messages->len; i++) {
        struct append_message *message = &g_array_index(append->messages, struct append_message, i);

        free_strings(message->flags.keywords);
        if (message->message != NULL && append->message_free != NULL)
            append->message_free(message->message);
    }
    free_array(append->messages);
    g_free(append->mailbox);
}

static void release_select(struct select_arguments *select)
{
    sequence_set_release(&select->qresync.known);
    sequence_set_release(&select->qresync.match_numbers);
    sequence_set_release(&select->qresync.match_uids);
    g_free(select->mailbox);
}

static void release_fetch(struct fetch_arguments *fetch)
{
    for (size_t i = 0; fetch->items != NULL && i < fetch->items->len; i++) {
        struct fetch_item *item = &g_array_index(fetch->items, struct fetch_item, i);

        g_free(item->parts);
        free_strings(item->names);
    }
    free_array(fetch->items);
    sequence_set_release(&fetch->set);
}

static void free_program(GArray *program)
{
    for (size_t i = 0; program != NULL && i < program->len; i++) {
        struct search_key *key = &g_array_index(program, struct search_key, i);

        g_free(key->header);
        g_free(key->text);
        sequence_set_release(&key->set);
    }
    free_array(program);
}

static void release_list(struct list_arguments *list)
{
    g_free(list->reference);
    free_strings(list->patterns);
}

static void release_arguments(struct command *command)
{
    switch (command->kind) {
    case COMMAND_UNKNOWN:
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
    case COMMAND_ID:
        free_id(command->id);
        break;
    case COMMAND_AUTHENTICATE:
        g_free(command->authenticate.mechanism);
        free_secret(command->authenticate.initial);
        break;
    case COMMAND_LOGIN:
        g_free(command->login.user);
        free_secret(command->login.password);
        break;
    case COMMAND_ENABLE:
        free_strings(command->enable);
        break;
    case COMMAND_COMPRESS:
        g_free(command->compress);
        break;
    case COMMAND_SELECT:
    case COMMAND_EXAMINE:
        release_select(&command->select);
        break;
    case COMMAND_CREATE:
        g_free(command->create.mailbox);
        g_free(command->create.special_use);
        break;
    case COMMAND_RENAME:
        g_free(command->rename.from);
        g_free(command->rename.to);
        break;
    case COMMAND_DELETE:
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE:
    case COMMAND_GETQUOTAROOT:
        g_free(command->mailbox);
        break;
    case COMMAND_GETQUOTA:
    case COMMAND_SETQUOTA:
        g_free(command->quota_root);
        break;
    case COMMAND_LIST:
    case COMMAND_LSUB:
        release_list(&command->list);
        break;
    case COMMAND_STATUS:
        g_free(command->status.mailbox);
        break;
    case COMMAND_APPEND:
        release_append(&command->append);
        break;
    case COMMAND_EXPUNGE:
        sequence_set_release(&command->expunge.set);
        break;
    case COMMAND_SEARCH:
    case COMMAND_SORT:
    case COMMAND_THREAD:
        free_program(command->search.program);
        free_array(command->search.sort);
        break;
    case COMMAND_FETCH:
        release_fetch(&command->fetch);
        break;
    case COMMAND_STORE:
        sequence_set_release(&command->store.set);
        free_strings(command->store.flags.keywords);
        break;
    case COMMAND_COPY:
    case COMMAND_MOVE:
        sequence_set_release(&command->copy.set);
        g_free(command->copy.mailbox);
        break;
    }
}

void command_free(struct command *command)
{
    if (command == NULL)
        return;
    release_arguments(command);
    g_free(command->tag);
    g_free(command->verb);
    g_free(command);
}
