#include "server/import_known.h"

#include <stdlib.h>
#include <string.h>

#include "store/restore.h"

struct entry {
    uint64_t octets; /* the blob id's first ones */
    int64_t date;
    uint32_t index; /* in the snapshot */
};

/* What is known of a message of the snapshot. */
enum mark {
    MARK_TAKEN = 1 << 0,
    MARK_IMPORTED = 1 << 1,  /* it arrived by an import, under the source's UID */
    MARK_UNTOUCHED = 1 << 2, /* an import changed it last */
    MARK_UNKNOWN = 1 << 3,   /* how it arrived is not in the history (any more) */
};

struct import_known {
    struct mailbox *mailbox;
    struct snapshot *snapshot;
    struct history *history;
    const struct observer *observer;
    bool given_up;
    uint8_t *marks;           /* enum mark, by index in the snapshot */
    struct entry *entries;    /* ascending, one a message; NULL until needed */
    bool origins_read;        /* all marks but MARK_TAKEN are set */
    GHashTable *deleted_uids; /* by GUINT_TO_POINTER(); NULL until needed */
    GHashTable *deleted;      /* char *"BLOB DATE" -> how many, by GUINT_TO_POINTER() */
    bool cut;                 /* what was deleted is not all known; set with deleted */
};

struct import_known *import_known_new(struct mailbox *mailbox, struct history *history,
                                      const struct observer *observer)
{
    struct import_known *known = g_new0(struct import_known, 1);

    known->mailbox = mailbox_ref(mailbox);
    known->snapshot = snapshot_ref(mailbox_snapshot(mailbox));
    known->history = history;
    known->observer = observer;
    known->marks = g_malloc0(snapshot_count(known->snapshot) + 1);
    return known;
}

void import_known_free(struct import_known *known)
{
    if (known == NULL)
        return;
    if (known->deleted != NULL) {
        g_hash_table_unref(known->deleted);
        g_hash_table_unref(known->deleted_uids);
    }
    snapshot_unref(known->snapshot);
    mailbox_unref(known->mailbox);
    g_free(known->marks);
    g_free(known->entries);
    g_free(known);
}

bool import_known_given_up(const struct import_known *known)
{
    return known != NULL && known->given_up;
}

const struct snapshot *import_known_snapshot(const struct import_known *known)
{
    return known->snapshot;
}

/* --- by octets --- */

static uint64_t first_octets(const struct object_id *id)
{
    uint64_t octets;

    memcpy(&octets, id, sizeof(octets));
    return octets;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;

    if (x->octets != y->octets)
        return x->octets < y->octets ? -1 : 1;
    if (x->date != y->date)
        return x->date < y->date ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void sort_entries(struct import_known *known)
{
    size_t count = snapshot_count(known->snapshot);

    known->entries = g_new(struct entry, count + 1);
    for (size_t i = 0; i < count; i++) {
        struct message message = snapshot_message(known->snapshot, i);

        known->entries[i] =
            (struct entry){first_octets(&message.blob), message.internal_date, (uint32_t)i};
    }
    qsort(known->entries, count, sizeof(struct entry), compare_entries);
}

/* The first entry that is not below wanted. */
static size_t lower_bound(const struct import_known *known, const struct entry *wanted)
{
    size_t low = 0;
    size_t high = snapshot_count(known->snapshot);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_entries(&known->entries[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool import_known_take(struct import_known *known, const struct object_id *blob, int64_t date,
                       size_t *index)
{
    struct entry wanted = {.octets = first_octets(blob), .date = date};
    size_t count;

    if (known == NULL)
        return false;
    if (known->entries == NULL)
        sort_entries(known);
    count = snapshot_count(known->snapshot);
    for (size_t i = lower_bound(known, &wanted); i < count; i++) {
        const struct entry *entry = &known->entries[i];
        struct message message;

        if (entry->octets != wanted.octets || entry->date != date)
            return false;
        message = snapshot_message(known->snapshot, entry->index);
        if ((known->marks[entry->index] & MARK_TAKEN) == 0 &&
            object_id_equal(&message.blob, blob)) {
            known->marks[entry->index] |= MARK_TAKEN;
            *index = entry->index;
            return true;
        }
    }
    return false;
}

/* --- what was deleted --- */

static char *message_key(const struct object_id *blob, int64_t date)
{
    char id[OBJECT_ID_HEX + 1];

    object_id_format(blob, id);
    return g_strdup_printf("%s %" G_GINT64_FORMAT, id, date);
}

/* Whether the history begins later than the mailbox. */
static bool is_cut(struct import_known *known)
{
    struct history_entry entry = {.parent_count = 1};
    struct object_id commit = *snapshot_commit(known->snapshot);
    /* Each change raises it by one. */
    uint64_t about = snapshot_highest_modseq(known->snapshot);
    struct store_error error;
    uint64_t count = 0;

    while (known->history != NULL && entry.parent_count > 0) {
        count++;
        if (history_entry_read(known->history, &commit, &entry, &error) != 0 ||
            observer_tell(known->observer, OBSERVER_CHANGES, count, MAX(count, about), &error) != 0)
            return true;
        if (entry.parent_count > 0)
            commit = entry.parents[0];
    }
    return known->history == NULL || entry.cut;
}

/* What was not read to its end because of the observer is told from what can't be read. */
static void note_given_up(struct import_known *known)
{
    known->given_up = known->given_up || !observer_goes_on(known->observer);
}

static void read_deleted(struct import_known *known)
{
    const struct lost_filter all = {.since = INT64_MIN, .moved = true, .observer = known->observer};
    struct store_error error = {0};
    GPtrArray *lost = NULL;

    if (known->deleted != NULL)
        return;
    known->deleted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    known->deleted_uids = g_hash_table_new(NULL, NULL);
    known->cut = is_cut(known) || restore_find_lost(known->mailbox, &all, &lost, &error) != 0;
    if (known->cut)
        note_given_up(known);
    for (unsigned i = 0; lost != NULL && i < lost->len; i++) {
        const struct lost_message *one = g_ptr_array_index(lost, i);
        char *key;
        unsigned count;

        /* It was gone in the source, and comes again when it is there again. */
        if (strcmp(one->command, IMPORT_COMMAND) == 0)
            continue;
        key = message_key(&one->message.blob, one->message.internal_date);
        count = GPOINTER_TO_UINT(g_hash_table_lookup(known->deleted, key));
        g_hash_table_replace(known->deleted, key, GUINT_TO_POINTER(count + 1));
        g_hash_table_add(known->deleted_uids, GUINT_TO_POINTER(one->message.uid));
    }
    if (lost != NULL)
        g_ptr_array_unref(lost);
}

bool import_known_deleted(struct import_known *known, const struct object_id *blob, int64_t date)
{
    char *key;
    unsigned count;

    if (known == NULL)
        return false;
    read_deleted(known);
    key = message_key(blob, date);
    count = GPOINTER_TO_UINT(g_hash_table_lookup(known->deleted, key));
    if (count > 1)
        g_hash_table_replace(known->deleted, g_strdup(key), GUINT_TO_POINTER(count - 1));
    else if (count == 1)
        g_hash_table_remove(known->deleted, key);
    g_free(key);
    return count > 0;
}

/* --- where messages came from --- */

struct origins {
    struct import_known *known;
    struct object_id commit[2]; /* looked at last: of arrivals, of changes */
    bool import[2];
};

/* Whether the commit has the command, or any that an import has. */
static bool is_by(struct origins *origins, unsigned which, const struct object_id *commit,
                  const char *command)
{
    struct history_entry entry;
    struct store_error error;

    if (!object_id_equal(&origins->commit[which], commit)) {
        origins->commit[which] = *commit;
        origins->import[which] =
            history_entry_read(origins->known->history, commit, &entry, &error) == 0 &&
            (strcmp(entry.command, IMPORT_COMMAND_UIDS) == 0 ||
             (command == NULL && strcmp(entry.command, IMPORT_COMMAND) == 0));
    }
    return origins->import[which];
}

static int mark_one(const struct history_blame *blame, void *data)
{
    struct origins *origins = data;
    struct import_known *known = origins->known;
    size_t index;

    if (!snapshot_find(known->snapshot, blame->message->uid, &index))
        return 0;
    if (blame->arrived_before)
        known->marks[index] |= MARK_UNKNOWN;
    else if (is_by(origins, 0, &blame->arrived, IMPORT_COMMAND_UIDS))
        known->marks[index] |= MARK_IMPORTED;
    if (!blame->changed_before && is_by(origins, 1, &blame->changed, NULL))
        known->marks[index] |= MARK_UNTOUCHED;
    return 0;
}

static void read_origins(struct import_known *known)
{
    struct origins origins = {.known = known};
    struct store_error error;

    if (known->origins_read)
        return;
    known->origins_read = true;
    if (known->history != NULL &&
        history_blame(known->history, snapshot_commit(known->snapshot), NULL, mark_one, &origins,
                      known->observer, &error) == 0)
        return;
    note_given_up(known);
    for (size_t i = 0; i < snapshot_count(known->snapshot); i++)
        known->marks[i] = (uint8_t)((known->marks[i] & MARK_TAKEN) | MARK_UNKNOWN);
}

enum import_known_uid import_known_uid(struct import_known *known, uint32_t uid, int64_t date,
                                       size_t *index)
{
    if (known == NULL || uid >= snapshot_uid_next(known->snapshot))
        return IMPORT_KNOWN_ABOVE;
    if (!snapshot_find(known->snapshot, uid, index)) {
        read_deleted(known);
        return known->cut || g_hash_table_contains(known->deleted_uids, GUINT_TO_POINTER(uid))
                   ? IMPORT_KNOWN_GONE
                   : IMPORT_KNOWN_NEVER;
    }
    read_origins(known);
    if ((known->marks[*index] & MARK_IMPORTED) == 0 &&
        ((known->marks[*index] & MARK_UNKNOWN) == 0 ||
         snapshot_message(known->snapshot, *index).internal_date != date))
        return IMPORT_KNOWN_OTHER;
    known->marks[*index] |= MARK_TAKEN;
    return IMPORT_KNOWN_SAME;
}

bool import_known_untouched(struct import_known *known, size_t index)
{
    read_origins(known);
    return (known->marks[index] & MARK_UNTOUCHED) != 0;
}

GArray *import_known_left(struct import_known *known)
{
    GArray *uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    const uint8_t wanted = MARK_IMPORTED | MARK_UNTOUCHED;
    size_t count = known != NULL ? snapshot_count(known->snapshot) : 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t uid;

        if ((known->marks[i] & MARK_TAKEN) != 0)
            continue;
        read_origins(known);
        uid = snapshot_message(known->snapshot, i).uid;
        if ((known->marks[i] & wanted) == wanted)
            g_array_append_val(uids, uid);
    }
    return uids;
}
