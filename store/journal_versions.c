#include "store/internal/journal_versions.h"

#include "store/internal/object_versions.h"

struct version {
    struct pending object; /* first: what the tables compare */
    uint64_t frame;
};

struct journal_versions {
    GHashTable *newest; /* struct version, owned, by type and beginning */
    GHashTable *by_id;  /* struct object_id of a version -> it */
};

static void version_free(void *data)
{
    struct version *version = data;

    g_bytes_unref(version->object.owned);
    g_free(version);
}

struct journal_versions *journal_versions_new(void)
{
    struct journal_versions *versions = g_new(struct journal_versions, 1);

    versions->newest =
        g_hash_table_new_full(object_version_hash, object_version_equal, version_free, NULL);
    versions->by_id = g_hash_table_new(object_id_hash, object_id_equal_keys);
    return versions;
}

void journal_versions_free(struct journal_versions *versions)
{
    if (versions != NULL) {
        g_hash_table_unref(versions->by_id);
        g_hash_table_unref(versions->newest);
        g_free(versions);
    }
}

size_t journal_versions_count(const struct journal_versions *versions)
{
    return g_hash_table_size(versions->newest);
}

const struct pending *journal_versions_before(const struct journal_versions *versions,
                                              const struct pending *object, uint64_t after)
{
    const struct version *version;

    if (!object_has_versions(object)) {
        return NULL;
    }
    version = g_hash_table_lookup(versions->newest, object);
    return version != NULL && version->frame > after ? &version->object : NULL;
}

void journal_versions_note(struct journal_versions *versions, const struct pending *object,
                           uint64_t frame)
{
    struct version *version;
    void *old;

    if (!object_has_versions(object)) {
        return;
    }
    if (g_hash_table_lookup_extended(versions->newest, object, &old, NULL)) {
        g_hash_table_remove(versions->by_id, &((struct version *)old)->object.id);
    }
    version = g_new(struct version, 1);
    version->object = *object;
    version->object.owned = g_bytes_ref(object->owned);
    version->object.delta = NULL;
    version->frame = frame;
    g_hash_table_replace(versions->newest, version, version);
    g_hash_table_replace(versions->by_id, &version->object.id, version);
}

const struct pending *journal_versions_find(const struct journal_versions *versions,
                                            const struct object_id *id)
{
    const struct version *version = g_hash_table_lookup(versions->by_id, id);

    return version != NULL ? &version->object : NULL;
}
