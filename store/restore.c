#include "store/restore.h"

#include <string.h>

#include "store/internal/restore_private.h"

/* --- what has to be done --- */

void restore_plan_init(struct restore_plan *plan, const struct snapshot *then,
                       const struct snapshot *now)
{
    *plan = (struct restore_plan){
        .then = then,
        .now = now,
        .missing = g_array_new(FALSE, FALSE, sizeof(struct message)),
        .extra = g_array_new(FALSE, FALSE, sizeof(struct message)),
        .kept = g_array_new(FALSE, FALSE, sizeof(struct restore_pair)),
    };
}

void restore_plan_release(struct restore_plan *plan)
{
    g_array_unref(plan->missing);
    g_array_unref(plan->extra);
    g_array_unref(plan->kept);
}

/* Everything of a message that never changes but its UID. */
static bool same_message(const struct message *a, const struct message *b)
{
    return object_id_equal(&a->blob, &b->blob) && a->internal_date == b->internal_date &&
           a->zone == b->zone && a->size == b->size;
}

static void look_at(const struct message *then, const struct message *now, size_t index, void *data)
{
    struct restore_plan *plan = data;

    (void)index;
    if (then != NULL && now != NULL && same_message(then, now)) {
        struct restore_pair pair = {*then, now->uid, now->flags, now->keywords};

        g_array_append_val(plan->kept, pair);
        return;
    }
    if (then != NULL) {
        g_array_append_val(plan->missing, *then);
    }
    if (now != NULL) {
        g_array_append_val(plan->extra, *now);
    }
}

/* The UIDs of two different mailboxes have nothing to do with each other. */
static void look_at_all(struct restore_plan *plan)
{
    for (size_t i = 0; i < snapshot_count(plan->then); i++) {
        struct message message = snapshot_message(plan->then, i);

        look_at(&message, NULL, 0, plan);
    }
    for (size_t i = 0; i < snapshot_count(plan->now); i++) {
        struct message message = snapshot_message(plan->now, i);

        look_at(NULL, &message, 0, plan);
    }
}

static guint message_hash(const void *key)
{
    return object_id_hash(&((const struct message *)key)->blob);
}

static gboolean message_equal(const void *a, const void *b)
{
    return same_message(a, b);
}

/* What is missing under its UID may be there under another, under which it came back earlier. */
static void match_by_content(struct restore_plan *plan)
{
    g_autoptr(GHashTable) extra =
        g_hash_table_new_full(message_hash, message_equal, NULL, (GDestroyNotify)g_queue_free);
    g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL);
    guint left = 0;

    for (guint i = 0; i < plan->extra->len; i++) {
        struct message *message = &g_array_index(plan->extra, struct message, i);
        GQueue *same = g_hash_table_lookup(extra, message);

        if (same == NULL) {
            same = g_queue_new();
            g_hash_table_insert(extra, message, same);
        }
        g_queue_push_tail(same, message);
    }
    for (guint i = 0; i < plan->missing->len; i++) {
        struct message message = g_array_index(plan->missing, struct message, i);
        GQueue *same = g_hash_table_lookup(extra, &message);
        const struct message *other = same != NULL ? g_queue_pop_head(same) : NULL;

        if (other == NULL) {
            g_array_index(plan->missing, struct message, left++) = message;
        } else {
            struct restore_pair pair = {message, other->uid, other->flags, other->keywords};

            g_array_append_val(plan->kept, pair);
            g_hash_table_add(taken, GUINT_TO_POINTER(other->uid));
        }
    }
    g_array_set_size(plan->missing, left);
    left = 0;
    for (guint i = 0; i < plan->extra->len; i++) {
        struct message message = g_array_index(plan->extra, struct message, i);

        if (!g_hash_table_contains(taken, GUINT_TO_POINTER(message.uid))) {
            g_array_index(plan->extra, struct message, left++) = message;
        }
    }
    g_array_set_size(plan->extra, left);
}

void restore_plan_make(struct restore_plan *plan, bool keep_new)
{
    bool same = plan->then->uid_validity == plan->now->uid_validity &&
                strcmp(plan->then->mailbox_id, plan->now->mailbox_id) == 0;

    if (same) {
        snapshot_walk_both(plan->then, plan->now, look_at, plan);
    } else {
        look_at_all(plan);
    }
    match_by_content(plan);
    if (keep_new) {
        g_array_set_size(plan->extra, 0);
    }
}

/* --- doing it --- */

/* Bits of then's keywords as bits of the builder's. */
struct keyword_map {
    const struct snapshot *then;
    struct snapshot_builder *builder;
    uint64_t known;
    uint8_t bit[MAILBOX_KEYWORDS_MAX];
};

static int map_keywords(struct keyword_map *map, uint64_t bits, uint64_t *out,
                        struct store_error *error)
{
    *out = 0;
    for (size_t i = 0; bits != 0; i++, bits >>= 1) {
        uint64_t bit = UINT64_C(1) << i;

        if ((bits & 1) == 0) {
            continue;
        }
        if ((map->known & bit) == 0) {
            size_t index;
            int rc = snapshot_builder_keyword(map->builder, snapshot_keyword(map->then, i), &index,
                                              error);

            if (rc < 0) {
                return rc;
            }
            map->known |= bit;
            map->bit[i] = (uint8_t)index;
        }
        *out |= UINT64_C(1) << map->bit[i];
    }
    return 0;
}

static int set_flags(struct keyword_map *map, const struct restore_pair *pair,
                     struct restore_counts *counts, struct store_error *error)
{
    uint64_t keywords;
    int rc = map_keywords(map, pair->then.keywords, &keywords, error);

    if (rc == 0 && (keywords != pair->keywords || pair->then.flags != pair->flags)) {
        snapshot_builder_set_flags(map->builder, pair->uid, pair->then.flags, keywords);
        counts->changed++;
    }
    return rc;
}

int restore_check_blob(struct objects *objects, const struct message *message,
                       struct store_error *error)
{
    char hex[OBJECT_ID_HEX + 1];

    if (objects_exist(objects, &message->blob)) {
        return 0;
    }
    object_id_format(&message->blob, hex);
    return store_error_set(error, STORE_CORRUPT,
                           "message %s (uid %" G_GUINT32_FORMAT
                           " then) is no longer in the repository",
                           hex, message->uid);
}

static int bring_back(struct keyword_map *map, struct objects *objects,
                      const struct message *missing, struct store_error *error)
{
    struct message message = *missing;
    int rc = restore_check_blob(objects, missing, error);

    if (rc == 0 && snapshot_builder_room(map->builder) == 0) {
        rc = store_error_set(error, STORE_LIMIT, "the mailbox has no UIDs left");
    }
    if (rc == 0) {
        rc = map_keywords(map, missing->keywords, &message.keywords, error);
    }
    if (rc == 0) {
        snapshot_builder_append(map->builder, &message);
    }
    return rc;
}

int restore_plan_apply(const struct restore_plan *plan, struct snapshot_builder *builder,
                       struct objects *objects, struct restore_counts *counts,
                       struct store_error *error)
{
    struct keyword_map map = {.then = plan->then, .builder = builder};
    int rc = 0;

    *counts = (struct restore_counts){.returned = plan->missing->len, .removed = plan->extra->len};
    for (guint i = 0; rc == 0 && i < plan->kept->len; i++) {
        rc = set_flags(&map, &g_array_index(plan->kept, struct restore_pair, i), counts, error);
    }
    for (guint i = 0; i < plan->extra->len; i++) {
        snapshot_builder_remove(builder, g_array_index(plan->extra, struct message, i).uid);
    }
    for (guint i = 0; rc == 0 && i < plan->missing->len; i++) {
        rc = bring_back(&map, objects, &g_array_index(plan->missing, struct message, i), error);
    }
    return rc;
}

bool restore_counts_any(const struct restore_counts *counts)
{
    return counts->returned > 0 || counts->removed > 0 || counts->changed > 0;
}

void restore_subject_counts(GString *subject, const struct restore_counts *counts)
{
    g_string_append_printf(subject, " (%zu came back, %zu removed, %zu other flags)",
                           counts->returned, counts->removed, counts->changed);
}

/* --- a mailbox --- */

struct mailbox_task {
    struct mailbox *mailbox;
    const struct snapshot *then;
    const struct restore_options *options;
    struct restore_counts *counts;
};

static int commit_builder(struct mailbox *mailbox, struct snapshot_builder *builder,
                          const struct origin *origin, const char *subject,
                          struct store_error *error)
{
    struct transaction transaction;
    int rc = transaction_begin(&transaction, mailbox->account, origin, error);

    if (rc == 0) {
        rc = transaction_keep(&transaction, mailbox->snapshot, builder, error);
    }
    if (rc == 0) {
        rc = transaction_change(&transaction, mailbox, builder, subject, error);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    return rc;
}

static int mailbox_attempt(void *data, struct store_error *error)
{
    struct mailbox_task *task = data;
    struct snapshot_builder *builder;
    struct restore_plan plan;
    int rc = mailbox_prepare(task->mailbox, error);

    if (rc < 0) {
        return rc;
    }
    builder = snapshot_builder_new(task->mailbox->snapshot);
    restore_plan_init(&plan, task->then, task->mailbox->snapshot);
    restore_plan_make(&plan, task->options->keep_new);
    rc = restore_plan_apply(&plan, builder, task->mailbox->account->objects, task->counts, error);
    restore_plan_release(&plan);
    if (rc == 0 && !task->options->dry_run && restore_counts_any(task->counts)) {
        g_autoptr(GString) subject = g_string_new("RESTORE ");

        g_string_append(subject, task->options->what);
        restore_subject_counts(subject, task->counts);
        rc = commit_builder(task->mailbox, builder, task->options->origin, subject->str, error);
    }
    snapshot_builder_free(builder);
    return rc;
}

int restore_mailbox(struct mailbox *mailbox, const struct snapshot *then,
                    const struct restore_options *options, struct restore_counts *counts,
                    struct store_error *error)
{
    struct mailbox_task task = {mailbox, then, options, counts};

    return transaction_retry(mailbox_attempt, &task, error);
}

/* --- what was expunged --- */

static void lost_message_free(void *data)
{
    struct lost_message *lost = data;

    g_ptr_array_unref(lost->keywords);
    g_free(lost->command);
    g_free(lost);
}

struct lost_search {
    const struct lost_filter *filter;
    GPtrArray *found;
    GHashTable *returned;        /* struct object_id -> how many came in later */
    const struct snapshot *then; /* before the commit that is looked at */
    GArray *gone;                /* struct message: in that commit */
    struct object_id commit;
    int64_t time;
    char *command;
    uint64_t looked; /* commits */
    uint64_t total;  /* of them; 0: nobody wants to know */
};

static void count_returned(GHashTable *returned, const struct object_id *blob, int change)
{
    int count = GPOINTER_TO_INT(g_hash_table_lookup(returned, blob)) + change;

    g_hash_table_replace(returned, g_memdup2(blob, sizeof(*blob)), GINT_TO_POINTER(count));
}

static void note_difference(const struct message *then, const struct message *after, size_t index,
                            void *data)
{
    struct lost_search *search = data;

    (void)index;
    if (then != NULL && after != NULL && object_id_equal(&then->blob, &after->blob)) {
        return;
    }
    if (then != NULL) {
        g_array_append_val(search->gone, *then);
    }
    if (after != NULL) {
        count_returned(search->returned, &after->blob, 1);
    }
}

static bool is_move(const char *command)
{
    return g_ascii_strcasecmp(command, "MOVE") == 0 ||
           g_ascii_strcasecmp(command, "UID MOVE") == 0 ||
           g_ascii_strcasecmp(command, "RENAME") == 0;
}

static void add_lost(struct lost_search *search, const struct message *message)
{
    struct lost_message *lost = g_new0(struct lost_message, 1);

    lost->message = *message;
    lost->commit = search->commit;
    lost->time = search->time;
    lost->command = g_strdup(search->command);
    lost->keywords = keywords_new();
    for (size_t i = 0; i < snapshot_keyword_count(search->then); i++) {
        if ((message->keywords >> i & 1) != 0) {
            g_ptr_array_add(lost->keywords, g_strdup(snapshot_keyword(search->then, i)));
        }
    }
    g_ptr_array_add(search->found, lost);
}

static void take_gone(struct lost_search *search)
{
    bool wanted = search->filter->moved || !is_move(search->command);

    for (guint i = 0; i < search->gone->len; i++) {
        const struct message *message = &g_array_index(search->gone, struct message, i);
        bool back = GPOINTER_TO_INT(g_hash_table_lookup(search->returned, &message->blob)) > 0;

        if (back) {
            count_returned(search->returned, &message->blob, -1);
        } else if (wanted) {
            add_lost(search, message);
        }
    }
    g_array_set_size(search->gone, 0);
}

static int read_commit(struct lost_search *search, struct objects *objects,
                       struct object_id *parent, struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    int rc = objects_read(objects, &search->commit, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    if (rc == 0) {
        g_free(search->command);
        search->command = restore_trailer(&commit, "Command: ");
        search->time = commit.time;
        *parent = commit.parent;
    }
    object_data_release(&data);
    return rc;
}

/* Reading the commits alone takes a tenth of the time. */
static int count_history(struct lost_search *search, const struct mailbox *mailbox,
                         struct store_error *error)
{
    struct object_id id = mailbox->snapshot->commit;
    const struct observer *observer = search->filter->observer;
    /* Each change raises it by one. */
    uint64_t about = snapshot_highest_modseq(mailbox->snapshot);
    uint64_t count = 0;
    int rc = 0;

    while (rc == 0 && !object_id_is_zero(&id)) {
        struct store_error ended;

        search->commit = id;
        if (read_commit(search, mailbox->account->objects, &id, &ended) < 0 ||
            search->time < search->filter->since) {
            break;
        }
        count++;
        rc = observer_tell(observer, OBSERVER_CHANGES, count, MAX(count, about), error);
    }
    search->total = count;
    return rc;
}

/* One commit after the other, until the history ends: at its beginning, at a boundary, or where it
 * is no longer that of a mailbox. */
static int search_history(struct lost_search *search, struct mailbox *mailbox,
                          struct store_error *error)
{
    struct objects *objects = mailbox->account->objects;
    struct snapshot *after = snapshot_ref(mailbox->snapshot);
    int rc = 0;

    while (rc == 0) {
        struct store_error ended;
        struct snapshot *before;
        struct object_id parent;
        bool moved;

        search->commit = after->commit;
        rc = read_commit(search, objects, &parent, error);
        if (rc < 0 || object_id_is_zero(&parent) || search->time < search->filter->since ||
            snapshot_load(&before, &moved, objects, &parent, after, &ended) < 0) {
            break;
        }
        search->then = before;
        snapshot_walk_both(before, after, note_difference, search);
        take_gone(search);
        snapshot_unref(after);
        after = before;
        search->looked++;
        rc = observer_tell(search->filter->observer, OBSERVER_SEARCH, search->looked,
                           MAX(search->looked, search->total), error);
    }
    snapshot_unref(after);
    return rc;
}

static int compare_lost(const void *a, const void *b)
{
    const struct lost_message *x = *(const struct lost_message *const *)a;
    const struct lost_message *y = *(const struct lost_message *const *)b;

    return (x->message.uid > y->message.uid) - (x->message.uid < y->message.uid);
}

int restore_find_lost(struct mailbox *mailbox, const struct lost_filter *filter, GPtrArray **out,
                      struct store_error *error)
{
    struct lost_search search = {
        .filter = filter,
        .found = g_ptr_array_new_with_free_func(lost_message_free),
        .returned = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL),
        .gone = g_array_new(FALSE, FALSE, sizeof(struct message)),
    };
    int rc = mailbox_prepare(mailbox, error);

    if (rc == 0 && filter->observer != NULL) {
        rc = count_history(&search, mailbox, error);
    }
    if (rc == 0) {
        rc = search_history(&search, mailbox, error);
    }
    g_hash_table_unref(search.returned);
    g_array_unref(search.gone);
    g_free(search.command);
    if (rc < 0) {
        g_ptr_array_unref(search.found);
        return rc;
    }
    g_ptr_array_sort(search.found, compare_lost);
    *out = search.found;
    return 0;
}

struct lost_task {
    struct mailbox *mailbox;
    const GPtrArray *lost;
    const struct origin *origin;
    uint32_t *first_uid;
};

static int append_lost(struct snapshot_builder *builder, struct objects *objects,
                       const struct lost_message *lost, struct store_error *error)
{
    struct message message = lost->message;
    int rc = restore_check_blob(objects, &message, error);

    message.flags &= (uint8_t)~MESSAGE_DELETED;
    message.keywords = 0;
    for (guint i = 0; rc == 0 && i < lost->keywords->len; i++) {
        size_t index;

        rc = snapshot_builder_keyword(builder, lost->keywords->pdata[i], &index, error);
        message.keywords |= rc == 0 ? UINT64_C(1) << index : 0;
    }
    if (rc == 0) {
        snapshot_builder_append(builder, &message);
    }
    return rc;
}

static int lost_attempt(void *data, struct store_error *error)
{
    struct lost_task *task = data;
    g_autoptr(GString) subject = g_string_new(NULL);
    struct snapshot_builder *builder;
    int rc = mailbox_prepare(task->mailbox, error);

    if (rc < 0) {
        return rc;
    }
    builder = snapshot_builder_new(task->mailbox->snapshot);
    *task->first_uid = builder->uid_next;
    if (snapshot_builder_room(builder) < task->lost->len) {
        rc = store_error_set(error, STORE_LIMIT, "the mailbox has no UIDs left");
    }
    for (guint i = 0; rc == 0 && i < task->lost->len; i++) {
        rc = append_lost(builder, task->mailbox->account->objects, task->lost->pdata[i], error);
    }
    if (rc == 0) {
        g_string_printf(subject, "UNDELETE %u messages as uid %" G_GUINT32_FORMAT, task->lost->len,
                        *task->first_uid);
        if (task->lost->len > 1) {
            g_string_append_printf(subject, ":%" G_GUINT32_FORMAT,
                                   *task->first_uid + task->lost->len - 1);
        }
        rc = commit_builder(task->mailbox, builder, task->origin, subject->str, error);
    }
    snapshot_builder_free(builder);
    return rc;
}

int restore_lost(struct mailbox *mailbox, const GPtrArray *lost, const struct origin *origin,
                 uint32_t *first_uid, struct store_error *error)
{
    struct lost_task task = {mailbox, lost, origin, first_uid};

    g_assert(lost->len > 0);
    return transaction_retry(lost_attempt, &task, error);
}
