#include "server/import_target.h"

#include <stdlib.h>
#include <string.h>

#include "server/admin.h"
#include "server/import_keywords.h"
#include "server/import_known.h"
#include "server/import_uses.h"
#include "server/message_summary.h"

enum {
    BATCH_MESSAGES = 500,            /* waiting at most, in all mailboxes together */
    BATCH_OCTETS = 16 * 1024 * 1024, /* or fewer, when they are large */
    DISPLACED_MAX = 1000,            /* messages of a mailbox; they wait in memory */
};

struct pending {
    struct spool *spool;
    GPtrArray *keywords; /* char *, then NULL */
    int64_t date;
    uint32_t uid;
    int16_t zone;
    uint8_t flags;
};

/* A mailbox of the account. */
struct place {
    char *name;
    struct mailbox *mailbox;    /* NULL: the account can't have one of this name */
    struct import_known *known; /* what it had when it was entered; NULL: nothing */
    struct import_keywords *keywords;
    GArray *batch;         /* struct pending */
    GArray *displaced;     /* the same: others took their UIDs meanwhile; they come last */
    uint32_t uid_validity; /* kept; 0: UIDs are fresh */
    uint32_t uid_next;     /* of the source, to be reached before fresh UIDs are given */
    bool fresh_started;
};

struct import_target {
    struct store *store;
    struct account *account;
    const struct import_target_options *options;
    void (*complain)(const char *text);
    GHashTable *places;    /* relative name -> struct place */
    GHashTable *entered;   /* char *: names in the account that were entered or used */
    GPtrArray *subscribed; /* char *: relative names */
    struct place *current;
    struct import_counts counts;
    unsigned waiting;
    size_t waiting_octets;
};

static void pending_clear(void *data)
{
    struct pending *pending = data;

    spool_free(pending->spool);
    g_ptr_array_unref(pending->keywords);
}

static void place_free(void *data)
{
    struct place *place = data;

    g_array_unref(place->batch);
    g_array_unref(place->displaced);
    import_keywords_free(place->keywords);
    import_known_free(place->known);
    mailbox_unref(place->mailbox);
    g_free(place->name);
    g_free(place);
}

static bool fail(struct import_target *target, const char *what, const struct store_error *error)
{
    char *text = g_strdup_printf("%s: %s: %s", what, store_code_name(error->code), error->detail);

    target->complain(text);
    g_free(text);
    return false;
}

static void __attribute__((format(printf, 2, 3)))
tell(struct import_target *target, const char *format, ...)
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
    target->places = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, place_free);
    target->entered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    target->subscribed = g_ptr_array_new_with_free_func(g_free);
    return target;
}

void import_target_free(struct import_target *target)
{
    if (target == NULL)
        return;
    g_hash_table_unref(target->places);
    g_hash_table_unref(target->entered);
    g_ptr_array_unref(target->subscribed);
    g_free(target);
}

/* --- batches --- */

/* The batch as mailbox_append() wants it; without keywords when the mailbox has no room for more.
 */
static int append_batch(struct import_target *target, const struct place *place, bool keywords,
                        struct store_error *error)
{
    struct append *appends = g_new0(struct append, place->batch->len);
    struct origin origin = admin_origin(target->options->command);
    uint32_t first_uid;
    int result;

    for (unsigned i = 0; i < place->batch->len; i++) {
        const struct pending *pending = &g_array_index(place->batch, struct pending, i);

        appends[i] = (struct append){
            .spool = pending->spool,
            .keywords = keywords ? (const char *const *)pending->keywords->pdata : NULL,
            .flags = pending->flags,
            .internal_date = pending->date,
            .zone = pending->zone,
            .binary = true,
            .uid = pending->uid,
        };
    }
    result = mailbox_append(place->mailbox, appends, place->batch->len, &origin, &first_uid, error);
    for (unsigned i = 0; i < place->batch->len && result == 0; i++)
        message_summary_delivered(target->account, appends[i].spool);
    g_free(appends);
    return result;
}

static GArray *batch_new(void)
{
    GArray *batch = g_array_new(FALSE, FALSE, sizeof(struct pending));

    g_array_set_clear_func(batch, pending_clear);
    return batch;
}

/* Somebody else has taken UIDs of the batch since it was begun. */
static void displace_taken(struct place *place)
{
    uint32_t next = snapshot_uid_next(mailbox_snapshot(place->mailbox));
    GArray *batch = place->batch;

    place->batch = batch_new();
    for (unsigned i = 0; i < batch->len; i++) {
        struct pending pending = g_array_index(batch, struct pending, i);
        bool taken = pending.uid != 0 && pending.uid < next;

        pending.uid = taken ? 0 : pending.uid;
        g_array_append_val(taken ? place->displaced : place->batch, pending);
    }
    g_array_set_clear_func(batch, NULL);
    g_array_unref(batch);
}

static bool flush_place(struct import_target *target, struct place *place)
{
    struct store_error error = {0};
    int result;

    if (place->batch->len == 0)
        return true;
    result = append_batch(target, place, true, &error);
    if (result == STORE_EXISTS) {
        displace_taken(place);
        tell(target, "%s: mail arrived during the import, some messages get new UIDs", place->name);
        if (place->displaced->len > DISPLACED_MAX) {
            tell(target, "%s: too much mail arrives; import again when less does", place->name);
            return false;
        }
        result = place->batch->len > 0 ? append_batch(target, place, true, &error) : 0;
    }
    if (result == STORE_LIMIT) {
        result = append_batch(target, place, false, &error);
        if (result == 0)
            tell(target, "%s: too many keywords: those of %u messages are left out", place->name,
                 place->batch->len);
    }
    if (result != 0)
        return fail(target, place->name, &error);
    target->counts.messages += place->batch->len;
    for (unsigned i = 0; i < place->batch->len; i++)
        target->counts.octets += spool_size(g_array_index(place->batch, struct pending, i).spool);
    g_array_set_size(place->batch, 0);
    return true;
}

bool import_target_flush(struct import_target *target)
{
    struct store_error error = {0};
    GHashTableIter places;
    void *place;

    if (target->waiting == 0)
        return true;
    g_hash_table_iter_init(&places, target->places);
    while (g_hash_table_iter_next(&places, NULL, &place))
        if (!flush_place(target, place))
            return false;
    target->waiting = 0;
    target->waiting_octets = 0;
    return store_sync(target->store, &error) == 0 ? true : fail(target, "the store", &error);
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

static int open_or_create(struct import_target *target, const char *name, struct mailbox **out,
                          struct store_error *error)
{
    struct origin origin = admin_origin(target->options->command);
    int result = account_open_mailbox(target->account, name, out, error);

    if (result == STORE_NOT_FOUND) {
        result = account_create_mailbox(target->account, name, SPECIAL_USE_NONE, &origin, error);
        if (result == 0)
            result = account_open_mailbox(target->account, name, out, error);
    }
    return result;
}

/* Whether the mailbox goes on with the source's UIDVALIDITY. */
static bool take_over(struct import_target *target, struct place *place,
                      const struct import_mailbox *mailbox)
{
    struct origin origin = admin_origin(target->options->command);
    struct store_error error = {0};
    int result;

    if (mailbox->uid_validity == 0 || target->options->uids == IMPORT_UIDS_FRESH)
        return true;
    result = mailbox_take_over(place->mailbox, mailbox->uid_validity, 0, &origin, &error);
    if (result == 0) {
        place->uid_validity = mailbox->uid_validity;
        place->uid_next = mailbox->uid_next;
        return true;
    }
    if (result != STORE_FORBIDDEN && result != STORE_EXISTS && result != STORE_LIMIT)
        return fail(target, place->name, &error);
    tell(target, "%s: its UIDs (UIDVALIDITY %u) can't be kept: %s; %s", place->name,
         mailbox->uid_validity, error.detail,
         target->options->uids == IMPORT_UIDS_REQUIRE
             ? "nothing was imported into it"
             : "messages get new UIDs, clients will download them again");
    return target->options->uids != IMPORT_UIDS_REQUIRE;
}

static struct place *open_place(struct import_target *target, const struct import_mailbox *mailbox)
{
    struct place *place = g_new0(struct place, 1);
    struct store_error error = {0};
    int result;

    place->name = place_name(target, mailbox->name);
    place->batch = batch_new();
    place->displaced = batch_new();
    result = open_or_create(target, place->name, &place->mailbox, &error);
    if (result == STORE_BAD_NAME) {
        tell(target, "%s is left out: %s", place->name, error.detail);
        g_hash_table_replace(target->places, g_strdup(mailbox->name), place);
        return place;
    }
    if (result != 0) {
        fail(target, place->name, &error);
        place_free(place);
        return NULL;
    }
    if (!take_over(target, place, mailbox)) {
        place_free(place);
        return NULL;
    }
    place->keywords = import_keywords_new(mailbox_snapshot(place->mailbox));
    if (snapshot_uid_next(mailbox_snapshot(place->mailbox)) > 1)
        place->known = import_known_new(mailbox_snapshot(place->mailbox));
    if (g_hash_table_add(target->entered, g_strdup(mailbox_name(place->mailbox))))
        target->counts.mailboxes++;
    g_hash_table_replace(target->places, g_strdup(mailbox->name), place);
    return place;
}

/* UIDNEXT as in the source, which clients may know; then whatever is to get a fresh UID. */
static bool reach_uid_next(struct import_target *target, struct place *place)
{
    struct origin origin = admin_origin(target->options->command);
    struct store_error error = {0};
    GArray *batch;

    place->fresh_started = true;
    if (place->uid_validity == 0)
        return true;
    if (!flush_place(target, place))
        return false;
    if (mailbox_take_over(place->mailbox, place->uid_validity, place->uid_next, &origin, &error) !=
        0)
        return fail(target, place->name, &error);
    batch = place->batch;
    place->batch = place->displaced;
    place->displaced = batch;
    target->waiting += place->batch->len;
    return true;
}

static bool leave(struct import_target *target)
{
    struct place *place = target->current;

    if (place != NULL && !place->fresh_started && !reach_uid_next(target, place))
        return false;
    target->current = NULL;
    return true;
}

bool import_target_mailbox(struct import_target *target, const struct import_mailbox *mailbox)
{
    if (!leave(target) || !import_target_flush(target))
        return false;
    g_hash_table_remove_all(target->places);
    target->current = open_place(target, mailbox);
    return target->current != NULL;
}

enum import_wish import_target_wish(struct import_target *target, uint32_t uid, int64_t date)
{
    struct place *place = target->current;

    if (place == NULL || place->uid_validity == 0 || uid == 0)
        return IMPORT_WANTED;
    switch (import_known_uid(place->known, uid, import_date(date, 0))) {
    case IMPORT_KNOWN_ABOVE:
        return IMPORT_WANTED;
    case IMPORT_KNOWN_OTHER:
        return IMPORT_LATER;
    case IMPORT_KNOWN_SAME:
    case IMPORT_KNOWN_GONE:
        if (target->options->duplicates)
            return IMPORT_LATER;
        break;
    }
    target->counts.there++;
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
        return fail(target, "message", &error);
    target->counts.skipped++;
    tell(target, "skipped a message of %zu octets", length);
    return true;
}

static struct place *place_of(struct import_target *target, const char *name)
{
    struct import_mailbox mailbox = {.name = name};
    struct place *place = g_hash_table_lookup(target->places, name);

    return place != NULL ? place : open_place(target, &mailbox);
}

static GPtrArray *choose_keywords(struct import_target *target, struct place *place,
                                  const GPtrArray *keywords)
{
    const char *left_out;
    GPtrArray *chosen = import_keywords_choose(place->keywords, keywords, &left_out);

    if (left_out != NULL)
        tell(target, "%s: a mailbox has at most %d keywords: %s and others after it are left out",
             place->name, MAILBOX_KEYWORDS_MAX, left_out);
    return chosen;
}

static bool wait_for_batch(struct import_target *target, struct place *place,
                           const struct import_message *message, struct spool *spool)
{
    struct pending pending = {
        .spool = spool,
        .keywords = choose_keywords(target, place, message->keywords),
        .flags = message->flags,
        .date = import_date(message->date, message->zone),
        .zone = import_zone(message->date, message->zone),
        .uid = place->uid_validity != 0 ? message->uid : 0,
    };

    g_array_append_val(place->batch, pending);
    target->waiting++;
    target->waiting_octets += spool_size(spool);
    if (target->waiting >= BATCH_MESSAGES || target->waiting_octets >= BATCH_OCTETS)
        return import_target_flush(target);
    return true;
}

bool import_target_message(struct import_target *target, const struct import_message *message)
{
    struct place *place = place_of(target, message->mailbox);
    struct spool *spool;

    if (place == NULL)
        return false;
    if (place->mailbox == NULL) {
        target->counts.skipped++;
        return true;
    }
    if (!spool_octets(target, message, &spool))
        return false;
    if (spool == NULL)
        return true;
    if ((message->uid == 0 || place->uid_validity == 0) && !target->options->duplicates &&
        import_known_take(place->known, spool_id(spool),
                          import_date(message->date, message->zone))) {
        spool_free(spool);
        target->counts.there++;
        return true;
    }
    if (message->uid == 0 && !place->fresh_started && !reach_uid_next(target, place)) {
        spool_free(spool);
        return false;
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
    struct origin origin = admin_origin(target->options->command);

    for (unsigned i = 0; i < target->subscribed->len; i++) {
        const char *name = g_ptr_array_index(target->subscribed, i);
        struct store_error error = {0};
        int result = account_subscribe(target->account, name, true, &origin, &error);

        if (result == STORE_BAD_NAME || result == STORE_LIMIT)
            tell(target, "the subscription of %s is left out: %s", name, error.detail);
        else if (result != 0)
            return fail(target, name, &error);
    }
    return true;
}

bool import_target_finish(struct import_target *target)
{
    struct store_error error = {0};

    if (!leave(target) || !import_target_flush(target) || !subscribe(target))
        return false;
    if (strcmp(target->options->root, "INBOX") == 0 &&
        import_uses_set(target->account, target->entered, target->options->command,
                        target->complain, &error) != 0)
        return fail(target, "special uses", &error);
    return store_sync(target->store, &error) == 0 ? true : fail(target, "the store", &error);
}

const struct import_counts *import_target_counts(const struct import_target *target)
{
    return &target->counts;
}

void import_target_skipped(struct import_target *target)
{
    target->counts.skipped++;
}
