#include <stdlib.h>
#include <string.h>

#include "server/import_target_private.h"
#include "server/import_uses.h"

enum {
    BATCH_MESSAGES = 500,            /* waiting at most, in all mailboxes together */
    BATCH_OCTETS = 16 * 1024 * 1024, /* or fewer, when they are large */
    BATCH_PLACES = 250,              /* mailboxes in one step */
    BATCH_KNOWN = 200 * 1000,        /* messages that these have already */
};

bool import_target_fail(struct import_target *target, const char *what,
                        const struct store_error *error)
{
    char *text = g_strdup_printf("%s: %s: %s", what, store_code_name(error->code), error->detail);

    target->complain(text);
    g_free(text);
    return false;
}

void import_target_tell(struct import_target *target, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    target->complain(text);
    g_free(text);
}

struct import_target *import_target_new(struct store *store, struct account *account,
                                        const struct import_target_options *options,
                                        void (*complain)(const char *text))
{
    struct import_target *target = g_new0(struct import_target, 1);

    target->store = store;
    target->account = account;
    target->options = options;
    target->complain = complain;
    target->places = g_ptr_array_new_with_free_func(import_place_free);
    target->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    target->entered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    target->subscribed = g_ptr_array_new_with_free_func(g_free);
    return target;
}

void import_target_free(struct import_target *target)
{
    if (target == NULL)
        return;
    g_hash_table_unref(target->by_name);
    g_ptr_array_unref(target->places);
    history_close(target->history);
    g_hash_table_unref(target->entered);
    g_ptr_array_unref(target->subscribed);
    g_free(target);
}

/* --- mailboxes --- */

/* The name in the account of a name in the source. */
static char *place_name(const struct import_target *target, const char *relative)
{
    const char *root = target->options->root;

    if (*relative == '\0')
        return g_strdup(root);
    if (strcmp(root, "INBOX") == 0)
        return g_strdup(relative);
    return g_strdup_printf("%s/%s", root, relative);
}

static struct history *history_of(struct import_target *target)
{
    struct store_error error;

    if (target->history == NULL)
        history_open(&target->history, account_path(target->account), &error);
    return target->history;
}

/* A mailbox that exists. */
static bool look_at(struct import_target *target, struct import_place *place)
{
    const struct snapshot *snapshot;

    if (!import_target_take_over(target, place))
        return false;
    snapshot = mailbox_snapshot(place->mailbox);
    place->keywords = import_keywords_new(snapshot);
    if (snapshot_uid_next(snapshot) > 1)
        place->known =
            import_known_new(place->mailbox, history_of(target), target->options->observer);
    target->known += snapshot_count(snapshot);
    return true;
}

static struct import_place *open_place(struct import_target *target,
                                       const struct import_mailbox *mailbox)
{
    struct import_place *place = import_place_new(place_name(target, mailbox->name));
    struct store_error error = {0};
    int result = account_open_mailbox(target->account, place->name, &place->mailbox, &error);

    if (target->options->uids != IMPORT_UIDS_FRESH) {
        place->uid_validity = mailbox->uid_validity;
        place->uid_next = mailbox->uid_next;
    }
    if (mailbox->uids_lost && target->options->uids == IMPORT_UIDS_REQUIRE) {
        import_target_tell(target, "%s: its list of UIDs is damaged; nothing was imported into it",
                           place->name);
        import_place_free(place);
        return NULL;
    }
    place->kept_done = place->uid_validity == 0;
    place->left_out = result == STORE_BAD_NAME;
    if (place->left_out)
        import_target_tell(target, "%s is left out: %s", place->name, error.detail);
    else if (result == STORE_NOT_FOUND)
        place->keywords = import_keywords_new(NULL);
    else if (result != 0 ? !import_target_fail(target, place->name, &error)
                         : !look_at(target, place)) {
        import_place_free(place);
        return NULL;
    }
    g_ptr_array_add(target->places, place);
    g_hash_table_replace(target->by_name, g_strdup(mailbox->name), place);
    return place;
}

static void leave_all(struct import_target *target)
{
    for (unsigned i = 0; i < target->places->len; i++) {
        struct import_place *place = g_ptr_array_index(target->places, i);

        place->kept_done = place->left = true;
    }
    g_hash_table_remove_all(target->by_name);
    target->current = NULL;
}

bool import_target_mailbox(struct import_target *target, const struct import_mailbox *mailbox)
{
    leave_all(target);
    if ((target->places->len >= BATCH_PLACES || target->known >= BATCH_KNOWN) &&
        !import_target_flush(target))
        return false;
    target->current = open_place(target, mailbox);
    return target->current != NULL;
}

/* The keywords that the message can have here. */
static GPtrArray *choose_keywords(struct import_target *target, struct import_place *place,
                                  const GPtrArray *keywords)
{
    const char *left_out;
    GPtrArray *chosen = import_keywords_choose(place->keywords, keywords, &left_out);

    if (left_out != NULL)
        import_target_tell(
            target, "%s: a mailbox has at most %d keywords: %s and others after it are left out",
            place->name, MAILBOX_KEYWORDS_MAX, left_out);
    return chosen;
}

/* The source has a message that the mailbox has, too. */
static void note_there(struct import_target *target, struct import_place *place, size_t index,
                       const struct import_message *message)
{
    GPtrArray *keywords = choose_keywords(target, place, message->keywords);

    import_place_follow(place, index, message->flags & MESSAGE_FLAGS_ALL, keywords,
                        &target->counts.place);
    g_ptr_array_unref(keywords);
    target->counts.there++;
}

enum import_wish import_target_wish(struct import_target *target,
                                    const struct import_message *message)
{
    struct import_place *place = target->current;
    size_t index;

    if (place == NULL || place->uid_validity == 0 || message->uid == 0)
        return IMPORT_WANTED;
    switch (import_known_uid(place->known, message->uid, import_date(message->date, message->zone),
                             &index)) {
    case IMPORT_KNOWN_ABOVE:
        return IMPORT_WANTED;
    case IMPORT_KNOWN_OTHER:
    case IMPORT_KNOWN_NEVER:
        return IMPORT_LATER;
    case IMPORT_KNOWN_SAME:
        if (target->options->duplicates)
            return IMPORT_LATER;
        note_there(target, place, index, message);
        break;
    case IMPORT_KNOWN_GONE:
        if (target->options->duplicates)
            return IMPORT_LATER;
        target->counts.deleted++;
        break;
    }
    return IMPORT_THERE;
}

/* --- messages --- */

/* *out NULL: it is too large, and told. */
static bool spool_octets(struct import_target *target, const struct import_message *message,
                         struct spool **out)
{
    struct store_error error = {0};
    GString *converted = NULL;
    const char *octets = message->data;
    size_t length = message->length;
    int result;

    if (!message->exact && !target->options->keep_bytes) {
        converted = g_string_sized_new(length + length / 32 + 1);
        import_crlf(converted, octets, length);
        octets = converted->str;
        length = converted->len;
    }
    *out = NULL;
    result = length > MESSAGE_SIZE_MAX
                 ? store_error_set(&error, STORE_TOO_BIG, "%zu octets", length)
                 : account_spool(target->account, length, out, &error);
    if (result == 0)
        result = spool_write(*out, octets, length, &error);
    if (converted != NULL)
        g_string_free(converted, TRUE);
    if (result == 0)
        return true;
    spool_free(*out);
    *out = NULL;
    if (result != STORE_TOO_BIG)
        return import_target_fail(target, "message", &error);
    import_target_skipped(target);
    import_target_tell(target, "skipped a message of %zu octets", length);
    return true;
}

static struct import_place *place_of(struct import_target *target, const char *name)
{
    struct import_mailbox mailbox = {.name = name};
    struct import_place *place = g_hash_table_lookup(target->by_name, name);

    return place != NULL ? place : open_place(target, &mailbox);
}

static bool wait_for_batch(struct import_target *target, struct import_place *place,
                           const struct import_message *message, struct spool *spool)
{
    struct import_pending pending = {
        .spool = spool,
        .keywords = choose_keywords(target, place, message->keywords),
        .flags = message->flags,
        .date = import_date(message->date, message->zone),
        .zone = import_zone(message->date, message->zone),
        .uid = place->uid_validity != 0 ? message->uid : 0,
    };

    place->kept_done = place->kept_done || pending.uid == 0;
    g_array_append_val(*(pending.uid != 0 ? &place->kept : &place->fresh), pending);
    target->waiting++;
    target->waiting_octets += spool_size(spool);
    if (target->waiting >= BATCH_MESSAGES || target->waiting_octets >= BATCH_OCTETS)
        return import_target_flush(target);
    return true;
}

/* Whether the mailbox has or had the message, as far as octets and date tell. */
static bool is_there(struct import_target *target, struct import_place *place,
                     const struct import_message *message, const struct spool *spool)
{
    int64_t date = import_date(message->date, message->zone);
    size_t index;

    if ((message->uid != 0 && place->uid_validity != 0) || target->options->duplicates)
        return false;
    if (import_known_take(place->known, spool_id(spool), date, &index)) {
        note_there(target, place, index, message);
        return true;
    }
    if (import_known_deleted(place->known, spool_id(spool), date)) {
        target->counts.deleted++;
        return true;
    }
    return false;
}

bool import_target_message(struct import_target *target, const struct import_message *message)
{
    struct import_place *place = place_of(target, message->mailbox);
    struct spool *spool;

    if (place == NULL)
        return false;
    if (place->left_out) {
        target->counts.skipped++;
        return true;
    }
    if (!spool_octets(target, message, &spool))
        return false;
    if (spool == NULL)
        return true;
    if (is_there(target, place, message, spool) || import_known_given_up(place->known)) {
        spool_free(spool);
        return !import_known_given_up(place->known);
    }
    return wait_for_batch(target, place, message, spool);
}

/* --- the end --- */

void import_target_subscribed(struct import_target *target, const char *mailbox)
{
    if (target->subscribed->len < ACCOUNT_SUBSCRIPTIONS_MAX)
        g_ptr_array_add(target->subscribed, place_name(target, mailbox));
}

static bool subscribe(struct import_target *target)
{
    struct origin origin = import_origin(IMPORT_COMMAND);

    for (unsigned i = 0; i < target->subscribed->len; i++) {
        const char *name = g_ptr_array_index(target->subscribed, i);
        struct store_error error = {0};
        int result = account_subscribe(target->account, name, true, &origin, &error);

        if (result == STORE_BAD_NAME || result == STORE_LIMIT)
            import_target_tell(target, "the subscription of %s is left out: %s", name,
                               error.detail);
        else if (result != 0)
            return import_target_fail(target, name, &error);
    }
    return true;
}

bool import_target_finish(struct import_target *target)
{
    struct store_error error = {0};

    leave_all(target);
    if (!import_target_flush(target) || !subscribe(target))
        return false;
    if (strcmp(target->options->root, "INBOX") == 0 &&
        import_uses_set(target->account, target->entered, IMPORT_COMMAND, target->complain,
                        &error) != 0)
        return import_target_fail(target, "special uses", &error);
    return store_sync(target->store, &error) == 0 ? true
                                                  : import_target_fail(target, "the store", &error);
}

const struct import_counts *import_target_counts(const struct import_target *target)
{
    return &target->counts;
}

void import_target_skipped(struct import_target *target)
{
    target->counts.skipped++;
    if (target->current != NULL)
        target->current->incomplete = true;
}
