#include "server/import_known.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t octets; /* the blob id's first ones */
    int64_t date;
    uint32_t index; /* in the snapshot */
};

struct import_known {
    struct snapshot *snapshot;
    uint8_t *taken;        /* by index in the snapshot */
    struct entry *entries; /* ascending, one a message; NULL until needed */
};

struct import_known *import_known_new(const struct snapshot *snapshot)
{
    struct import_known *known = g_new0(struct import_known, 1);

    known->snapshot = snapshot_ref(snapshot);
    known->taken = g_malloc0(snapshot_count(snapshot) + 1);
    return known;
}

void import_known_free(struct import_known *known)
{
    if (known == NULL)
        return;
    snapshot_unref(known->snapshot);
    g_free(known->taken);
    g_free(known->entries);
    g_free(known);
}

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

bool import_known_take(struct import_known *known, const struct object_id *blob, int64_t date)
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
        if (known->taken[entry->index] == 0 && object_id_equal(&message.blob, blob)) {
            known->taken[entry->index] = 1;
            return true;
        }
    }
    return false;
}

enum import_known_uid import_known_uid(struct import_known *known, uint32_t uid, int64_t date)
{
    size_t index;

    if (known == NULL || uid >= snapshot_uid_next(known->snapshot))
        return IMPORT_KNOWN_ABOVE;
    if (!snapshot_find(known->snapshot, uid, &index))
        return IMPORT_KNOWN_GONE;
    if (snapshot_message(known->snapshot, index).internal_date != date)
        return IMPORT_KNOWN_OTHER;
    known->taken[index] = 1;
    return IMPORT_KNOWN_SAME;
}
