#include "store/internal/journal_record.h"

#include <string.h>

#include "store/internal/refs_private.h"
#include "store/store.h"

/* --- writing --- */

static void put(GByteArray *out, uint64_t value, unsigned octets)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < octets; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    g_byte_array_append(out, bytes, octets);
}

static void put_id(GByteArray *out, const struct object_id *id)
{
    g_byte_array_append(out, id->bytes, OBJECT_ID_SIZE);
}

static void put_update(GByteArray *out, const struct ref_update *update)
{
    size_t length = strlen(update->name);

    put(out, length, 2);
    g_byte_array_append(out, (const guint8 *)update->name, (guint)length);
    put_id(out, &update->before);
    put_id(out, &update->after);
}

void record_encode(GByteArray *out, enum record_kind kind, const char *user,
                   const struct ref_update *updates, size_t count, const GArray *objects)
{
    size_t length = strlen(user);
    guint object_count = objects != NULL ? objects->len : 0;

    put(out, kind, 1);
    put(out, length, 1);
    g_byte_array_append(out, (const guint8 *)user, (guint)length);
    if (kind != RECORD_CHANGE) {
        return;
    }
    put(out, count, 2);
    for (size_t i = 0; i < count; i++) {
        put_update(out, &updates[i]);
    }
    put(out, object_count, 4);
    for (guint i = 0; i < object_count; i++) {
        const struct record_object *object = &g_array_index(objects, struct record_object, i);

        put(out, object->type | (object->is_delta ? (unsigned)RECORD_DELTA : 0), 1);
        put(out, object->length, 4);
        if (object->is_delta) {
            put_id(out, &object->base);
        }
    }
}

/* --- reading --- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct reader *reader, size_t length)
{
    const uint8_t *bytes = reader->at;

    if (reader->bad || length > reader->left) {
        reader->bad = true;
        return NULL;
    }
    reader->at += length;
    reader->left -= length;
    return bytes;
}

static uint64_t take_number(struct reader *reader, unsigned octets)
{
    const uint8_t *bytes = take(reader, octets);
    uint64_t value = 0;

    for (unsigned i = 0; bytes != NULL && i < octets; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static char *take_text(struct reader *reader, size_t length)
{
    const uint8_t *bytes = take(reader, length);

    if (bytes == NULL || memchr(bytes, '\0', length) != NULL) {
        reader->bad = true;
        return NULL;
    }
    return g_strndup((const char *)bytes, length);
}

static struct object_id take_id(struct reader *reader)
{
    const uint8_t *bytes = take(reader, OBJECT_ID_SIZE);
    struct object_id id = {{0}};

    if (bytes != NULL) {
        memcpy(id.bytes, bytes, OBJECT_ID_SIZE);
    }
    return id;
}

static void take_updates(struct reader *reader, GArray *updates)
{
    size_t count = (size_t)take_number(reader, 2);

    for (size_t i = 0; i < count && !reader->bad; i++) {
        size_t length = (size_t)take_number(reader, 2);
        char *name = take_text(reader, length);
        struct ref_update update = {.name = name};

        update.before = take_id(reader);
        update.after = take_id(reader);
        if (name == NULL || !ref_name_valid(name, length)) {
            reader->bad = true;
            g_free(name);
            return;
        }
        g_array_append_val(updates, update);
    }
}

static bool type_valid(uint64_t type)
{
    return type == OBJECT_COMMIT || type == OBJECT_TREE || type == OBJECT_BLOB;
}

static void take_objects(struct reader *reader, GArray *objects)
{
    uint64_t count = take_number(reader, 4);

    /* Their headers come first: so the number is bounded by what is there. */
    for (uint64_t i = 0; i < count && !reader->bad; i++) {
        uint64_t type = take_number(reader, 1);
        struct record_object object = {.length = (size_t)take_number(reader, 4)};

        object.is_delta = (type & RECORD_DELTA) != 0;
        if (object.is_delta) {
            object.base = take_id(reader);
        }
        type &= (unsigned)~RECORD_DELTA;
        reader->bad = reader->bad || !type_valid(type);
        object.type = (enum object_type)type;
        g_array_append_val(objects, object);
    }
    for (guint i = 0; i < objects->len && !reader->bad; i++) {
        struct record_object *object = &g_array_index(objects, struct record_object, i);

        object->data = take(reader, object->length);
    }
}

static void update_clear(void *data)
{
    g_free((char *)(uintptr_t)((struct ref_update *)data)->name);
}

void record_release(struct record *record)
{
    g_free(record->user);
    g_array_unref(record->updates);
    g_array_unref(record->objects);
}

int record_decode(struct record *out, const void *data, size_t length, struct store_error *error)
{
    struct reader reader = {.at = data, .left = length};
    uint64_t kind = take_number(&reader, 1);

    *out = (struct record){
        .kind = (enum record_kind)kind,
        .updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update)),
        .objects = g_array_new(FALSE, FALSE, sizeof(struct record_object)),
    };
    g_array_set_clear_func(out->updates, update_clear);
    out->user = take_text(&reader, (size_t)take_number(&reader, 1));
    if (kind == RECORD_CHANGE) {
        take_updates(&reader, out->updates);
        take_objects(&reader, out->objects);
    }
    if (reader.bad || reader.left > 0 || kind < RECORD_CHANGE || kind > RECORD_DONE ||
        !store_user_name_valid(out->user)) {
        record_release(out);
        return store_error_set(error, STORE_CORRUPT, "a journal's record is malformed");
    }
    return 0;
}
