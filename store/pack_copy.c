#include "store/internal/pack_copy.h"

#include <assert.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "store/internal/checksum.h"
#include "store/internal/pack.h"
#include "store/internal/pack_index.h"

enum {
    HEADER = 12,
    TRAILER = OBJECT_ID_SIZE,
    NUMBER_MAX = 10, /* octets of a size or of the way to a base */
    TYPE_OFS_DELTA = 6,
    TYPE_REF_DELTA = 7,
    SAVED_PART = 16,
    COMPRESS_LEVEL = 6,
    COMPRESS_MIN = 128, /* octets of an entry */
    COMPRESS_BLOCK = 64 * 1024,
    NO_ENTRY = UINT32_MAX,
};

enum entry_state { ENTRY_WAITING, ENTRY_UNWANTED, ENTRY_DUPLICATE, ENTRY_VISITED, ENTRY_WRITTEN };

struct entry {
    uint64_t offset;   /* in its pack */
    uint64_t written;  /* in the new one */
    uint32_t source;   /* index */
    uint32_t position; /* in its pack's index */
    uint16_t depth;
    uint8_t state; /* enum entry_state */
    bool whole;    /* its base does not come along */
};

struct source {
    char *name;
    struct file_map pack;
    struct pack_index index;
    uint32_t first; /* of its entries, which are in the order of their offsets */
};

/* An entry taken apart. */
struct form {
    const uint8_t *data;
    size_t length;
    size_t payload; /* where the zlib stream begins */
    uint64_t size;
    unsigned type;
    uint32_t base; /* entry; NO_ENTRY: whole */
};

struct pack_copy {
    const char *directory;
    const char *scratch;
    const struct host *host;
    pack_copy_wanted wanted;
    void *wanted_data;
    pack_copy_wanted never; /* NULL: there is nothing of that kind */
    pack_copy_read read;
    void *never_data;
    bool compress;
    GArray *sources; /* struct source */
    GArray *entries; /* struct entry */
    GArray *stack;   /* uint32_t: entries that wait for their base */
    uint32_t *table; /* hash of ids -> entry, NO_ENTRY where empty */
    uint32_t mask;
    uint32_t objects; /* to be copied */
    uint32_t next;    /* entry */
    uint64_t offset;  /* octets written */
    struct pack_writer *writer;
    const char *culprit;
    char name[PACK_NAME_LENGTH + 1];
};

static void source_clear(void *data)
{
    struct source *source = data;

    file_map_close(&source->pack);
    pack_index_close(&source->index);
    g_free(source->name);
}

struct pack_copy *pack_copy_new(const char *directory, const char *scratch, const struct host *host)
{
    struct pack_copy *copy = g_new0(struct pack_copy, 1);

    copy->directory = directory;
    copy->scratch = scratch;
    copy->host = host;
    copy->sources = g_array_new(FALSE, TRUE, sizeof(struct source));
    copy->entries = g_array_new(FALSE, FALSE, sizeof(struct entry));
    copy->stack = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    g_array_set_clear_func(copy->sources, source_clear);
    return copy;
}

void pack_copy_free(struct pack_copy *copy)
{
    if (copy == NULL) {
        return;
    }
    pack_writer_free(copy->writer);
    g_array_free(copy->sources, TRUE);
    g_array_free(copy->entries, TRUE);
    g_array_free(copy->stack, TRUE);
    free(copy->table);
    g_free(copy);
}

void pack_copy_only(struct pack_copy *copy, pack_copy_wanted wanted, void *data)
{
    copy->wanted = wanted;
    copy->wanted_data = data;
}

void pack_copy_never(struct pack_copy *copy, pack_copy_wanted never, pack_copy_read read,
                     void *data)
{
    copy->never = never;
    copy->read = read;
    copy->never_data = data;
}

void pack_copy_compress(struct pack_copy *copy)
{
    copy->compress = true;
}

uint32_t pack_copy_objects(const struct pack_copy *copy)
{
    return copy->table != NULL ? copy->objects : copy->entries->len;
}

const char *pack_copy_name(const struct pack_copy *copy)
{
    return copy->name;
}

uint64_t pack_copy_written(const struct pack_copy *copy)
{
    return copy->offset;
}

const char *pack_copy_culprit(const struct pack_copy *copy)
{
    return copy->culprit;
}

static struct entry *entry_at(const struct pack_copy *copy, uint32_t index)
{
    return &g_array_index(copy->entries, struct entry, index);
}

static struct source *source_of(const struct pack_copy *copy, const struct entry *entry)
{
    return &g_array_index(copy->sources, struct source, entry->source);
}

static const struct object_id *id_of(const struct pack_copy *copy, const struct entry *entry)
{
    return pack_index_id(&source_of(copy, entry)->index, entry->position);
}

/* ---- gathering ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;

    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* The new source's entries; false where an offset can't be. */
static bool add_entries(struct pack_copy *copy, const struct source *source, uint32_t number)
{
    uint32_t count = source->index.count;
    uint64_t end = source->pack.length - TRAILER;

    for (uint32_t i = 0; i < count; i++) {
        struct entry entry = {.offset = pack_index_offset(&source->index, i),
                              .source = number,
                              .position = i,
                              .state = ENTRY_WAITING};

        if (entry.offset < HEADER || entry.offset >= end) {
            return false;
        }
        g_array_append_val(copy->entries, entry);
    }
    if (count == 0) {
        return end == HEADER;
    }
    qsort(entry_at(copy, source->first), count, sizeof(struct entry), compare_entries);
    for (uint32_t i = source->first + 1; i < copy->entries->len; i++) {
        if (entry_at(copy, i)->offset == entry_at(copy, i - 1)->offset) {
            return false;
        }
    }
    return entry_at(copy, source->first)->offset == HEADER;
}

/* 'first' of it is set. */
static bool source_open(const struct pack_copy *copy, struct source *source)
{
    if (!file_map_open(&source->pack, copy->directory, source->name, ".pack") ||
        !pack_index_open(&source->index, copy->directory, source->name)) {
        return false;
    }
    const struct file_map *pack = &source->pack;
    return pack->length >= HEADER + TRAILER && memcmp(pack->data, "PACK\0\0\0\2", 8) == 0 &&
           get_be32(pack->data + 8) == source->index.count &&
           memcmp(pack->data + pack->length - TRAILER,
                  source->index.map.data + source->index.map.length - 2 * (size_t)TRAILER,
                  TRAILER) == 0;
}

int pack_copy_add(struct pack_copy *copy, const char *name, struct store_error *error)
{
    struct source source = {.name = g_strdup(name), .first = copy->entries->len};

    assert(copy->table == NULL);
    if (!source_open(copy, &source)) {
        source_clear(&source);
        return store_error_set(error, STORE_CORRUPT, "%s: malformed", name);
    }
    if ((uint64_t)copy->entries->len + source.index.count > PACK_COPY_OBJECTS_MAX) {
        source_clear(&source);
        return store_error_set(error, STORE_LIMIT, "%s: too many objects", name);
    }
    if (!add_entries(copy, &source, copy->sources->len)) {
        g_array_set_size(copy->entries, source.first);
        source_clear(&source);
        return store_error_set(error, STORE_CORRUPT, "%s: malformed index", name);
    }
    g_array_append_val(copy->sources, source);
    return 0;
}

/* ---- finding entries ---- */

/* The place of an id in the table: its entry's, or the empty one where it belongs. */
static uint32_t *slot_of(const struct pack_copy *copy, const struct object_id *id)
{
    uint32_t at = object_id_hash(id) & copy->mask;

    while (copy->table[at] != NO_ENTRY &&
           !object_id_equal(id_of(copy, entry_at(copy, copy->table[at])), id)) {
        at = (at + 1) & copy->mask;
    }
    return &copy->table[at];
}

static bool is_never(const struct pack_copy *copy, const struct entry *entry)
{
    return copy->never != NULL && copy->never(id_of(copy, entry), copy->never_data);
}

static int make_table(struct pack_copy *copy, struct store_error *error)
{
    uint32_t size = 16;

    while (size < copy->entries->len * 2) {
        size *= 2;
    }
    copy->table = malloc(size * sizeof(*copy->table));
    if (copy->table == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "merging packs");
    }
    memset(copy->table, 0xff, size * sizeof(*copy->table));
    copy->mask = size - 1;
    for (uint32_t i = 0; i < copy->entries->len; i++) {
        struct entry *entry = entry_at(copy, i);
        const struct object_id *id = id_of(copy, entry);
        uint32_t *slot = slot_of(copy, id);

        if (*slot != NO_ENTRY) {
            entry->state = ENTRY_DUPLICATE;
        } else {
            *slot = i;
            if ((copy->wanted != NULL && !copy->wanted(id, copy->wanted_data)) ||
                is_never(copy, entry)) {
                entry->state = ENTRY_UNWANTED;
            }
        }
    }
    return 0;
}

/* The entry that will stand for the one at this offset of a pack; NO_ENTRY if none begins there. */
static uint32_t find_offset(const struct pack_copy *copy, const struct source *source,
                            uint64_t offset)
{
    uint32_t low = source->first;
    uint32_t high = low + source->index.count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct entry *entry = entry_at(copy, middle);

        if (entry->offset == offset) {
            return entry->state == ENTRY_DUPLICATE ? *slot_of(copy, id_of(copy, entry)) : middle;
        }
        if (entry->offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NO_ENTRY;
}

static int blame(struct pack_copy *copy, const struct entry *entry, const char *what,
                 struct store_error *error)
{
    copy->culprit = source_of(copy, entry)->name;
    return store_error_set(error, STORE_CORRUPT, "%s: %s", copy->culprit, what);
}

/* gitformat-pack(5), "OFS_DELTA": the way back to the base. False where it ends too early. */
static bool read_way(const struct form *form, size_t *at, uint64_t *way)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < NUMBER_MAX - 1 && *at < form->length; i++) {
        uint8_t byte = form->data[(*at)++];

        value = value << 7 | (byte & 0x7f);
        if ((byte & 0x80) == 0) {
            *way = value;
            return true;
        }
        value++;
    }
    return false;
}

static bool read_base(const struct pack_copy *copy, const struct entry *entry, struct form *form)
{
    const struct source *source = source_of(copy, entry);
    uint64_t way;

    if (form->type == TYPE_OFS_DELTA) {
        if (!read_way(form, &form->payload, &way) || way == 0 || way > entry->offset) {
            return false;
        }
        form->base = find_offset(copy, source, entry->offset - way);
    } else if (form->type == TYPE_REF_DELTA) {
        if (form->length - form->payload < OBJECT_ID_SIZE) {
            return false;
        }
        form->base =
            *slot_of(copy, (const struct object_id *)(const void *)(form->data + form->payload));
        form->payload += OBJECT_ID_SIZE;
    } else {
        return form->type >= 1 && form->type <= 4;
    }
    return form->base != NO_ENTRY;
}

static int read_form(struct pack_copy *copy, uint32_t index, struct form *out,
                     struct store_error *error)
{
    const struct entry *entry = entry_at(copy, index);
    const struct source *source = source_of(copy, entry);
    uint64_t end = index + 1 < source->first + source->index.count
                       ? entry_at(copy, index + 1)->offset
                       : source->pack.length - TRAILER;
    unsigned shift = 4;
    uint8_t byte;

    *out = (struct form){.data = source->pack.data + entry->offset,
                         .length = (size_t)(end - entry->offset),
                         .base = NO_ENTRY};
    byte = out->data[out->payload++];
    out->type = byte >> 4 & 7;
    out->size = byte & 15;
    while ((byte & 0x80) != 0 && out->payload < out->length && out->payload < NUMBER_MAX) {
        byte = out->data[out->payload++];
        out->size |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    }
    if ((byte & 0x80) != 0 || !read_base(copy, entry, out)) {
        return blame(copy, entry, "malformed entry", error);
    }
    return 0;
}

/* Whatever the deltas of wanted objects stand on is wanted, too. */
static int want_bases(struct pack_copy *copy, struct store_error *error)
{
    for (uint32_t i = 0; i < copy->entries->len; i++) {
        uint32_t index = i;

        if (entry_at(copy, i)->state != ENTRY_WAITING) {
            continue;
        }
        while (index != NO_ENTRY) {
            struct form form;
            int result = read_form(copy, index, &form, error);

            if (result < 0) {
                return result;
            }
            if (form.base != NO_ENTRY && is_never(copy, entry_at(copy, form.base))) {
                entry_at(copy, index)->whole = true;
                form.base = NO_ENTRY;
            }
            index = form.base;
            if (index != NO_ENTRY && entry_at(copy, index)->state == ENTRY_UNWANTED) {
                entry_at(copy, index)->state = ENTRY_WAITING;
            } else {
                index = NO_ENTRY;
            }
        }
    }
    return 0;
}

int pack_copy_begin(struct pack_copy *copy, struct store_error *error)
{
    int result = make_table(copy, error);

    if (result == 0 && (copy->wanted != NULL || copy->never != NULL)) {
        result = want_bases(copy, error);
    }
    for (uint32_t i = 0; i < copy->entries->len && result == 0; i++) {
        copy->objects += entry_at(copy, i)->state == ENTRY_WAITING;
    }
    if (result == 0) {
        result = pack_writer_open(&copy->writer, copy->directory, copy->scratch, copy->host,
                                  copy->objects, error);
    }
    copy->offset = HEADER;
    return result;
}

/* ---- copying ---- */

/* Deflates a zlib stream's content into out, which has room for max octets. 0: it does not fit, or
 * the stream is not right. */
static size_t deflate_again(const struct form *form, uint8_t *out, size_t max)
{
    uint8_t *block = g_malloc(COMPRESS_BLOCK);
    z_stream in = {.next_in = (uint8_t *)(uintptr_t)form->data + form->payload,
                   .avail_in = (uInt)(form->length - form->payload)};
    z_stream to = {.next_out = out, .avail_out = (uInt)max};
    size_t used = 0;
    int read = Z_OK;
    int wrote = Z_OK;

    if (inflateInit(&in) == Z_OK && deflateInit(&to, COMPRESS_LEVEL) == Z_OK) {
        while (read == Z_OK && wrote == Z_OK) {
            in.next_out = block;
            in.avail_out = COMPRESS_BLOCK;
            read = inflate(&in, Z_NO_FLUSH);
            to.next_in = block;
            to.avail_in = COMPRESS_BLOCK - in.avail_out;
            if (read == Z_OK || read == Z_STREAM_END) {
                wrote = deflate(&to, read == Z_STREAM_END ? Z_FINISH : Z_NO_FLUSH);
            }
            if (to.avail_in > 0) {
                wrote = Z_BUF_ERROR;
            }
        }
        if (read == Z_STREAM_END && wrote == Z_STREAM_END && in.total_out == form->size &&
            in.avail_in == 0) {
            used = max - to.avail_out;
        }
    }
    inflateEnd(&in);
    deflateEnd(&to);
    g_free(block);
    return used;
}

/* The entry's beginning as it will be. */
static size_t format_header(const struct pack_copy *copy, const struct form *form,
                            uint8_t out[2 * NUMBER_MAX])
{
    unsigned type = form->base != NO_ENTRY ? TYPE_OFS_DELTA : form->type;
    uint64_t size = form->size;
    size_t used = 0;
    uint8_t byte = (uint8_t)(type << 4 | (size & 15));

    for (size >>= 4; size > 0; size >>= 7) {
        out[used++] = byte | 0x80;
        byte = size & 0x7f;
    }
    out[used++] = byte;
    if (form->base != NO_ENTRY) {
        uint64_t way = copy->offset - entry_at(copy, form->base)->written;
        uint8_t digits[NUMBER_MAX];
        size_t first = NUMBER_MAX;

        digits[--first] = way & 0x7f;
        while ((way >>= 7) > 0) {
            digits[--first] = 0x80 | (--way & 0x7f);
        }
        memcpy(out + used, digits + first, NUMBER_MAX - first);
        used += NUMBER_MAX - first;
    }
    return used;
}

/* Writes an entry with another beginning, and with its stream deflated where that is wanted. */
static int write_changed(struct pack_copy *copy, const struct entry *entry, const struct form *form,
                         struct store_error *error)
{
    uint8_t header[2 * NUMBER_MAX];
    size_t head = format_header(copy, form, header);
    size_t payload = form->length - form->payload;
    uint8_t *text = malloc(head + payload);
    size_t used = 0;

    if (text == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "an entry of %zu octets", payload);
    }
    memcpy(text, header, head);
    if (copy->compress && payload >= COMPRESS_MIN && payload <= UINT32_MAX) {
        used = deflate_again(form, text + head, payload - payload / SAVED_PART);
    }
    if (used == 0) {
        memcpy(text + head, form->data + form->payload, payload);
        used = payload;
    }
    int result = pack_writer_add_raw(copy->writer, id_of(copy, entry), text, head + used,
                                     crc32_of(text, head + used), error);
    copy->offset += head + used;
    free(text);
    return result;
}

/* As if it had never been a delta. */
static int write_whole(struct pack_copy *copy, struct entry *entry, struct store_error *error)
{
    enum object_type type;
    GBytes *content = NULL;
    gsize length;
    int result = copy->read(id_of(copy, entry), &type, &content, copy->never_data, error);

    if (result < 0) {
        return result;
    }
    const void *data = g_bytes_get_data(content, &length);
    entry->depth = 0;
    entry->written = copy->offset;
    entry->state = ENTRY_WRITTEN;
    result = pack_writer_add(copy->writer, id_of(copy, entry), type, data, length, error);
    copy->offset = pack_writer_offset(copy->writer);
    g_bytes_unref(content);
    return result;
}

static int write_entry(struct pack_copy *copy, struct entry *entry, const struct form *form,
                       struct store_error *error)
{
    uint32_t crc = pack_index_crc(&source_of(copy, entry)->index, entry->position);
    int result;

    if (crc32_of(form->data, form->length) != crc) {
        return blame(copy, entry, "wrong checksum", error);
    }
    entry->depth = form->base != NO_ENTRY ? entry_at(copy, form->base)->depth + 1 : 0;
    if (entry->depth > PACK_COPY_DEPTH_MAX) {
        return blame(copy, entry, "too long a chain of deltas", error);
    }
    entry->written = copy->offset;
    if (form->base != NO_ENTRY || copy->compress) {
        result = write_changed(copy, entry, form, error);
    } else {
        result = pack_writer_add_raw(copy->writer, id_of(copy, entry), form->data, form->length,
                                     crc, error);
        copy->offset += form->length;
    }
    entry->state = ENTRY_WRITTEN;
    return result;
}

/* Writes the entry on top of the stack, or puts the base on top that has to come first. */
static int copy_top(struct pack_copy *copy, struct store_error *error)
{
    uint32_t index = g_array_index(copy->stack, uint32_t, copy->stack->len - 1);
    struct entry *entry = entry_at(copy, index);
    struct form form;
    int result = read_form(copy, index, &form, error);

    if (result < 0) {
        return result;
    }
    if (!entry->whole && form.base != NO_ENTRY &&
        entry_at(copy, form.base)->state != ENTRY_WRITTEN) {
        if (entry->state == ENTRY_VISITED || copy->stack->len > PACK_COPY_DEPTH_MAX) {
            return blame(copy, entry, "deltas in a circle, or too many", error);
        }
        entry->state = ENTRY_VISITED;
        g_array_append_val(copy->stack, form.base);
        return 0;
    }
    g_array_set_size(copy->stack, copy->stack->len - 1);
    return entry->whole ? write_whole(copy, entry, error) : write_entry(copy, entry, &form, error);
}

static int copy_entry(struct pack_copy *copy, uint32_t index, struct store_error *error)
{
    int result = 0;

    g_array_append_val(copy->stack, index);
    while (copy->stack->len > 0 && result == 0) {
        result = copy_top(copy, error);
    }
    return result;
}

int pack_copy_step(struct pack_copy *copy, size_t octets, struct store_error *error)
{
    uint64_t until = copy->offset + octets;

    while (copy->next < copy->entries->len && copy->offset < until) {
        uint32_t index = copy->next++;

        if (entry_at(copy, index)->state == ENTRY_WAITING) {
            int result = copy_entry(copy, index, error);

            if (result < 0) {
                return result;
            }
        }
    }
    if (copy->next < copy->entries->len) {
        return 1;
    }
    int result = pack_writer_finish(copy->writer, PACK_DURABLE, error);
    if (result == 0) {
        snprintf(copy->name, sizeof(copy->name), "pack-%s", pack_writer_name(copy->writer));
        copy->offset += TRAILER;
    }
    return result;
}
