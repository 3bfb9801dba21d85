/* A record, numbers big-endian:
 *
 *      0   8  checksum of all that follows
 *      8   4  length of the value, at most DERIVED_VALUE_MAX
 *     12   1  length of the kind, 1 to DERIVED_KIND_MAX
 *     13   3  0
 *     16  20  blob id
 *     36      kind, value
 *
 * Of several records with one blob id and kind the last one counts. A record whose checksum is
 * wrong does not exist.
 */
#include "store/internal/derived.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/cache_budget.h"
#include "store/internal/derived_file.h"

enum {
    RECORD_HEAD = 36,
    SLOTS_FIRST = 1024,
};

static_assert(RECORD_HEAD + DERIVED_KIND_MAX + DERIVED_VALUE_MAX <= DERIVED_RECORD_MAX, "fits");

/* Open addressing: the place of a record in the table is the upper part of its hash, so that the
 * table can grow without a look at the records. */
struct slot {
    uint32_t hash;
    uint32_t offset; /* of the record in the file; 0: free */
};

struct derived {
    struct derived_file file;
    struct slot *slots; /* NULL: to be made when it is first needed */
    size_t slot_count;
    size_t used;
    bool asked; /* since it rested last */
    struct cache_lookups lookups;
    struct cache_budget *budget; /* borrowed; NULL: none */
};

/* A record as it lies in memory. */
struct record {
    const uint8_t *bytes;
    size_t kind_length;
    size_t value_length;
    size_t size;
};

static bool kind_valid(const char *kind)
{
    size_t length = strlen(kind);

    return length > 0 && length <= DERIVED_KIND_MAX;
}

static uint32_t key_hash(const struct object_id *blob, const void *kind, size_t kind_length)
{
    uint64_t hash;

    memcpy(&hash, blob->bytes, sizeof(hash));
    return (uint32_t)((hash ^ derived_checksum(kind, kind_length)) * UINT64_C(0x9e3779b97f4a7c15) >>
                      32);
}

/* The head of the record at offset; its kind is there, its value and checksum are not looked at. */
static bool view_head(struct derived *derived, uint32_t offset, struct record *out)
{
    const uint8_t *bytes = derived_file_view(&derived->file, offset, RECORD_HEAD);

    if (bytes == NULL) {
        return false;
    }
    out->value_length = derived_get32(bytes + 8);
    out->kind_length = bytes[12];
    out->size = RECORD_HEAD + out->kind_length + out->value_length;
    if (out->kind_length == 0 || out->kind_length > DERIVED_KIND_MAX ||
        out->value_length > DERIVED_VALUE_MAX) {
        return false;
    }
    out->bytes = derived_file_view(&derived->file, offset, RECORD_HEAD + out->kind_length);
    return out->bytes != NULL;
}

static bool is_of(const struct record *record, const struct object_id *blob, const void *kind,
                  size_t kind_length)
{
    return memcmp(record->bytes + 16, blob->bytes, OBJECT_ID_SIZE) == 0 &&
           record->kind_length == kind_length &&
           memcmp(record->bytes + RECORD_HEAD, kind, kind_length) == 0;
}

/* --- the index --- */

static size_t first_place(const struct derived *derived, uint32_t hash)
{
    return (size_t)((uint64_t)hash * derived->slot_count >> 32);
}

static size_t next_place(const struct derived *derived, size_t at)
{
    return at + 1 < derived->slot_count ? at + 1 : 0;
}

/* The key's slot, or the free one where it belongs. */
static struct slot *find_slot(struct derived *derived, uint32_t hash, const struct object_id *blob,
                              const void *kind, size_t kind_length)
{
    for (size_t at = first_place(derived, hash);; at = next_place(derived, at)) {
        struct slot *slot = &derived->slots[at];
        struct record record;

        if (slot->offset == 0 || (slot->hash == hash && view_head(derived, slot->offset, &record) &&
                                  is_of(&record, blob, kind, kind_length))) {
            return slot;
        }
    }
}

static void forget_index(struct derived *derived)
{
    free(derived->slots);
    derived->slots = NULL;
    derived->slot_count = 0;
    derived->used = 0;
}

static void place(struct derived *derived, struct slot slot)
{
    size_t at = first_place(derived, slot.hash);

    while (derived->slots[at].offset != 0) {
        at = next_place(derived, at);
    }
    derived->slots[at] = slot;
}

/* Makes room for one more. */
static bool make_room(struct derived *derived)
{
    struct derived bigger = *derived;

    if (derived->used + 1 < derived->slot_count / 5 * 4) {
        return true;
    }
    bigger.slot_count = derived->slot_count == 0 ? SLOTS_FIRST : derived->slot_count / 2 * 3;
    bigger.slots = calloc(bigger.slot_count, sizeof(struct slot));
    if (bigger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < derived->slot_count; i++) {
        if (derived->slots[i].offset != 0) {
            place(&bigger, derived->slots[i]);
        }
    }
    free(derived->slots);
    *derived = bigger;
    return true;
}

static bool index_record(struct derived *derived, uint32_t hash, const struct object_id *blob,
                         const void *kind, size_t kind_length, uint64_t offset)
{
    if (!make_room(derived)) {
        return false;
    }
    struct slot *slot = find_slot(derived, hash, blob, kind, kind_length);
    derived->used += slot->offset == 0;
    *slot = (struct slot){hash, (uint32_t)offset};
    return true;
}

/* As index_record(), for a record in the file: it is looked at only if another has its hash. */
static bool index_entry(struct derived *derived, uint32_t hash, uint32_t offset)
{
    uint8_t key[OBJECT_ID_SIZE + DERIVED_KIND_MAX];
    struct object_id blob;
    struct record record;

    if (!make_room(derived)) {
        return false;
    }
    for (size_t at = first_place(derived, hash);; at = next_place(derived, at)) {
        struct slot *slot = &derived->slots[at];

        if (slot->offset == 0) {
            *slot = (struct slot){hash, offset};
            derived->used++;
            return true;
        }
        if (slot->hash == hash) {
            break;
        }
    }
    if (!view_head(derived, offset, &record)) {
        return true;
    }
    memcpy(blob.bytes, record.bytes + 16, OBJECT_ID_SIZE);
    memcpy(key, record.bytes + RECORD_HEAD, record.kind_length);
    return index_record(derived, hash, &blob, key, record.kind_length, offset);
}

static bool index_any(void *data, uint32_t hash, uint32_t offset)
{
    return index_entry(data, hash, offset);
}

/* Makes the index, unless it is there; false if there is nothing to work with. */
static bool ready(struct derived *derived)
{
    derived->asked = true;
    if (derived->slots == NULL && make_room(derived) &&
        !derived_file_scan(&derived->file, index_any, derived)) {
        forget_index(derived);
    }
    return derived->slots != NULL && derived->file.fd >= 0;
}

struct derived *derived_open(const char *directory)
{
    struct derived *derived = g_new0(struct derived, 1);

    derived_file_open(&derived->file, directory);
    return derived;
}

void derived_close(struct derived *derived)
{
    if (derived == NULL) {
        return;
    }
    cache_lookups_tell(&derived->lookups, derived->budget, CACHE_DERIVED);
    derived_file_close(&derived->file);
    free(derived->slots);
    g_free(derived);
}

void derived_share(struct derived *derived, struct cache_budget *budget)
{
    derived->budget = budget;
}

void derived_rest(struct derived *derived)
{
    if (derived == NULL) {
        return;
    }
    cache_lookups_tell(&derived->lookups, derived->budget, CACHE_DERIVED);
    derived_file_rest(&derived->file);
    if (!derived->asked) {
        forget_index(derived);
    }
    derived->asked = false;
}

/* --- values --- */

static const struct slot *find(struct derived *derived, const struct object_id *blob,
                               const char *kind)
{
    size_t kind_length = strlen(kind);

    if (!kind_valid(kind) || !ready(derived)) {
        return NULL;
    }
    const struct slot *slot =
        find_slot(derived, key_hash(blob, kind, kind_length), blob, kind, kind_length);
    return slot->offset == 0 ? NULL : slot;
}

bool derived_has(struct derived *derived, const struct object_id *blob, const char *kind)
{
    return derived->slots != NULL && find(derived, blob, kind) != NULL;
}

static bool look_up(struct derived *derived, const struct object_id *blob, const char *kind,
                    GByteArray *value)
{
    const struct slot *slot = find(derived, blob, kind);
    struct record record;

    if (slot == NULL || !view_head(derived, slot->offset, &record)) {
        return false;
    }
    const uint8_t *bytes = derived_file_view(&derived->file, slot->offset, record.size);
    if (bytes == NULL || derived_checksum(bytes + 8, record.size - 8) != derived_get64(bytes)) {
        return false;
    }
    g_byte_array_set_size(value, (guint)record.value_length);
    if (record.value_length > 0) {
        memcpy(value->data, bytes + RECORD_HEAD + record.kind_length, record.value_length);
    }
    return true;
}

bool derived_get(struct derived *derived, const struct object_id *blob, const char *kind,
                 GByteArray *value)
{
    bool found = look_up(derived, blob, kind, value);

    cache_lookups_note(&derived->lookups, derived->budget, CACHE_DERIVED, found);
    return found;
}

static void fill_record(uint8_t *record, const struct object_id *blob, const char *kind,
                        const void *value, size_t length)
{
    size_t kind_length = strlen(kind);

    derived_put32(record + 8, (uint32_t)length);
    record[12] = (uint8_t)kind_length;
    memset(record + 13, 0, 3);
    memcpy(record + 16, blob->bytes, OBJECT_ID_SIZE);
    memcpy(record + RECORD_HEAD, kind, kind_length);
    if (length > 0) {
        memcpy(record + RECORD_HEAD + kind_length, value, length);
    }
    derived_put64(record, derived_checksum(record + 8, RECORD_HEAD - 8 + kind_length + length));
}

void derived_put(struct derived *derived, const struct object_id *blob, const char *kind,
                 const void *value, size_t length)
{
    if (!kind_valid(kind) || length > DERIVED_VALUE_MAX || !derived_file_prepare(&derived->file)) {
        return;
    }
    size_t kind_length = strlen(kind);
    size_t size = RECORD_HEAD + kind_length + length;
    uint32_t hash = key_hash(blob, kind, kind_length);
    uint8_t *record;
    if (!derived_file_has_room(&derived->file, size)) {
        forget_index(derived);
        if (!derived_file_clear(&derived->file)) {
            return;
        }
    }
    uint32_t offset = derived_file_add(&derived->file, hash, size, &record);
    fill_record(record, blob, kind, value, length);
    if (derived->slots != NULL) {
        index_record(derived, hash, blob, kind, kind_length, offset);
    }
    derived_file_added(&derived->file);
}
