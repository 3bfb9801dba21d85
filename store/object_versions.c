#include "store/internal/object_versions.h"

#include <assert.h>
#include <string.h>

enum { KEY_LENGTH = 64 };

static_assert((int)KEY_LENGTH <= (int)PACK_DELTA_MIN, "what is shorter is never a delta");
static_assert(KEY_LENGTH % sizeof(uint64_t) == 0, "the hash takes whole words");

/* The newest version of each object so far. */
struct object_versions {
    GHashTable *newest; /* struct pending, compared by type and beginning */
};

bool object_has_versions(const struct pending *pending)
{
    static const char properties[] = "format ";

    if (pending->length < KEY_LENGTH) {
        return false;
    }
    return pending->type != OBJECT_BLOB || (*pending->data >= '0' && *pending->data <= '9') ||
           memcmp(pending->data, properties, strlen(properties)) == 0;
}

/* A commit's first line is another one each time. */
static size_t key_length(const struct pending *pending)
{
    return pending->type == OBJECT_COMMIT ? 0 : KEY_LENGTH;
}

/* FNV-1a, eight octets at a time: what is hashed most of all. */
unsigned object_version_hash(const void *key)
{
    const struct pending *pending = key;
    size_t length = key_length(pending);
    uint64_t value = UINT64_C(14695981039346656037) ^ (uint64_t)pending->type;

    for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
        uint64_t octets;

        memcpy(&octets, pending->data + i, sizeof(octets));
        value = (value ^ octets) * UINT64_C(1099511628211);
        value ^= value >> 32;
    }
    return (unsigned)value;
}

int object_version_equal(const void *a, const void *b)
{
    const struct pending *left = a;
    const struct pending *right = b;

    return left->type == right->type && memcmp(left->data, right->data, key_length(left)) == 0;
}

struct object_versions *object_versions_new(void)
{
    struct object_versions *versions = g_new(struct object_versions, 1);

    versions->newest = g_hash_table_new(object_version_hash, object_version_equal);
    return versions;
}

void object_versions_free(struct object_versions *versions)
{
    if (versions != NULL) {
        g_hash_table_destroy(versions->newest);
        g_free(versions);
    }
}

int object_versions_add(struct object_versions *versions, struct pack_writer *writer,
                        struct pending *pending, struct store_error *error)
{
    struct pending *before = NULL;

    if (object_has_versions(pending)) {
        before = g_hash_table_lookup(versions->newest, pending);
        g_hash_table_replace(versions->newest, pending, pending);
    }
    if (before != NULL) {
        before->is_old = true;
    }
    if (before == NULL) {
        return pack_writer_add(writer, &pending->id, pending->type, pending->data, pending->length,
                               error);
    }
    struct pack_version version = {
        .id = pending->id,
        .type = pending->type,
        .data = pending->data,
        .length = pending->length,
        .base_id = before->id,
        .base_data = before->data,
        .base_length = before->length,
    };
    if (pending->delta != NULL && object_id_equal(&pending->delta_base, &before->id)) {
        version.delta = pending->delta;
    }
    return pack_writer_add_version(writer, &version, error);
}
