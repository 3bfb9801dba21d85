#include "store/internal/purge_record.h"

#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/text.h"
#include "store/internal/tree.h"

static void table_free(void *data)
{
    g_hash_table_unref(data);
}

static bool take_id(struct text *line, struct object_id *out)
{
    char hex[OBJECT_ID_HEX + 1] = "";

    if (line->end - line->at < OBJECT_ID_HEX) {
        return false;
    }
    memcpy(hex, line->at, OBJECT_ID_HEX);
    line->at += OBJECT_ID_HEX;
    return object_id_parse(out, hex);
}

/* What is read: either may be NULL. */
struct sink {
    GHashTable *table;
    struct id_set *blobs;
};

/* "branch REF OLD NEW" or "commit OLD NEW": the ids are what the line ends with. */
static bool take_line(const struct sink *sink, struct text line)
{
    enum { BOTH = 2 * OBJECT_ID_HEX + 1 };
    struct object_id from, to;

    if (text_word(&line, "blob ")) {
        if (!take_id(&line, &from) || line.at != line.end) {
            return false;
        }
        if (sink->blobs != NULL) {
            id_set_add(sink->blobs, &from);
        }
        return true;
    }
    if (line.end - line.at < BOTH) {
        return false;
    }
    line.at = line.end - BOTH;
    if (!take_id(&line, &from) || !text_octet(&line, ' ') || !take_id(&line, &to)) {
        return false;
    }
    if (sink->table != NULL) {
        g_hash_table_replace(sink->table, g_memdup2(&from, sizeof(from)),
                             g_memdup2(&to, sizeof(to)));
    }
    return true;
}

static int read_file(const struct sink *sink, struct objects *objects, const struct object_id *blob,
                     struct store_error *error)
{
    struct object_data data;
    struct text line;
    int rc = objects_read(objects, blob, OBJECT_BLOB, &data, error);

    if (rc < 0) {
        return rc;
    }
    struct text text = {(const char *)data.data, (const char *)data.data + data.length};
    bool good = text_line(&text, &line) && text_word(&line, "format 1") && line.at == line.end;
    while (good && text_line(&text, &line)) {
        good = take_line(sink, line);
    }
    object_data_release(&data);
    return good ? 0 : store_error_set(error, STORE_CORRUPT, "a malformed record of a purge");
}

/* The record of one commit, and its parent. */
static int read_record(const struct sink *sink, struct object_id *id, struct objects *objects,
                       struct store_error *error)
{
    struct object_id file = {{0}};
    struct object_data data;
    struct commit commit;
    struct tree_entry entry;
    int rc = objects_read(objects, id, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    object_data_release(&data);
    if (rc == 0) {
        rc = objects_read(objects, &commit.tree, OBJECT_TREE, &data, error);
    }
    if (rc < 0) {
        return rc;
    }
    struct tree_reader reader = {data.data, data.data + data.length};
    while (tree_next(&reader, &entry) == TREE_ENTRY) {
        if (strcmp(entry.name, "purged") == 0) {
            file = entry.id;
        }
    }
    object_data_release(&data);
    *id = commit.parent;
    return read_file(sink, objects, &file, error);
}

int purge_records_read(GPtrArray **out, struct objects *objects, struct refs *refs,
                       struct store_error *error)
{
    GPtrArray *tables = g_ptr_array_new_with_free_func(table_free);
    struct object_id id;
    int rc = refs_read(refs, PURGED_REF, &id, error);

    if (rc == STORE_NOT_FOUND) {
        *out = tables;
        return 0;
    }
    while (rc == 0 && !object_id_is_zero(&id)) {
        GHashTable *table =
            g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, g_free);

        g_ptr_array_insert(tables, 0, table);
        rc = read_record(&(struct sink){.table = table}, &id, objects, error);
    }
    if (rc < 0) {
        g_ptr_array_unref(tables);
        return rc;
    }
    *out = tables;
    return 0;
}

int purge_blobs_read(struct id_set *out, struct objects *objects, struct refs *refs,
                     struct store_error *error)
{
    struct object_id id;
    int rc = refs_read(refs, PURGED_REF, &id, error);

    if (rc == STORE_NOT_FOUND) {
        return 0;
    }
    while (rc == 0 && !object_id_is_zero(&id)) {
        rc = read_record(&(struct sink){.blobs = out}, &id, objects, error);
    }
    return rc;
}

bool purge_records_follow(const GPtrArray *records, struct object_id *id)
{
    bool moved = false;

    for (guint i = 0; i < records->len; i++) {
        const struct object_id *to = g_hash_table_lookup(records->pdata[i], id);

        if (to != NULL) {
            *id = *to;
            moved = true;
        }
    }
    return moved;
}
