#include "store/internal/lineage.h"

#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/snapshot_load.h"
#include "store/internal/text.h"

static struct ancestor *abreast_at(const struct lineage *lineage, guint index)
{
    return &g_array_index(lineage->abreast, struct ancestor, index);
}

static guint top_index(const struct lineage *lineage)
{
    guint top = 0;

    for (guint i = 1; i < lineage->abreast->len; i++) {
        if (abreast_at(lineage, i)->modseq > abreast_at(lineage, top)->modseq) {
            top = i;
        }
    }
    return top;
}

/* What can't be had as a mailbox of ours ends the history; that the disk fails does not. */
static int ends_or_fails(int rc, struct store_error *error)
{
    if (rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED) {
        error->code = STORE_NOT_FOUND;
        return STORE_NOT_FOUND;
    }
    return rc;
}

static int read_parents(struct ancestor *out, const struct object_data *data,
                        struct object_id *tree, struct store_error *error)
{
    struct text text = {(const char *)data->data, (const char *)data->data + data->length};
    char hex[OBJECT_ID_HEX + 1] = "";
    struct commit commit;
    struct text line;
    int rc = commit_decode(&commit, data->data, data->length, error);

    if (rc < 0) {
        return rc;
    }
    *tree = commit.tree;
    out->parent_count = 0;
    while (text_line(&text, &line) && line.at < line.end) {
        if (!text_word(&line, "parent ")) {
            continue;
        }
        if (out->parent_count == LINEAGE_PARENTS_MAX) {
            return store_error_set(error, STORE_NOT_FOUND, "a commit with too many parents");
        }
        memcpy(hex, line.at, OBJECT_ID_HEX);
        if (!object_id_parse(&out->parents[out->parent_count++], hex)) {
            return store_error_set(error, STORE_CORRUPT, "a commit with a malformed parent");
        }
    }
    return 0;
}

static int read_ancestor(struct ancestor *out, const struct lineage *lineage,
                         const struct object_id *commit, struct store_error *error)
{
    g_autoptr(GArray) directories = NULL;
    struct properties properties = {0};
    struct object_data data;
    struct object_id tree;
    int rc = objects_read(lineage->objects, commit, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return ends_or_fails(rc, error);
    }
    memset(out, 0, sizeof(*out));
    out->commit = *commit;
    rc = read_parents(out, &data, &tree, error);
    object_data_release(&data);
    if (rc == 0) {
        rc = root_load(&properties, &directories, lineage->objects, &tree, error);
        out->modseq = properties.highest_modseq;
        if (rc == 0 && (properties.uid_validity != lineage->uid_validity ||
                        strcmp(properties.mailbox_id, lineage->mailbox_id) != 0)) {
            rc = store_error_set(error, STORE_NOT_FOUND, "the history is another mailbox's there");
        }
        properties_release(&properties);
    }
    return ends_or_fails(rc, error);
}

int lineage_jump(struct lineage *lineage, const struct object_id *commit, uint64_t modseq,
                 struct store_error *error)
{
    struct ancestor ancestor;
    int rc = read_ancestor(&ancestor, lineage, commit, error);

    if (rc == 0 && ancestor.modseq != modseq) {
        rc = store_error_set(error, STORE_NOT_FOUND, "a commit has another MODSEQ");
    }
    if (rc == 0) {
        g_array_set_size(lineage->abreast, 0);
        g_array_append_val(lineage->abreast, ancestor);
    }
    return rc;
}

int lineage_begin(struct lineage *lineage, struct objects *objects, const struct snapshot *snapshot,
                  struct store_error *error)
{
    memset(lineage, 0, sizeof(*lineage));
    lineage->objects = objects;
    g_strlcpy(lineage->mailbox_id, snapshot_mailbox_id(snapshot), sizeof(lineage->mailbox_id));
    lineage->uid_validity = snapshot_uid_validity(snapshot);
    lineage->abreast = g_array_new(FALSE, FALSE, sizeof(struct ancestor));
    return lineage_jump(lineage, snapshot_commit(snapshot), snapshot_highest_modseq(snapshot),
                        error);
}

void lineage_release(struct lineage *lineage)
{
    g_clear_pointer(&lineage->abreast, g_array_unref);
}

const struct ancestor *lineage_top(const struct lineage *lineage)
{
    return abreast_at(lineage, top_index(lineage));
}

bool lineage_is_alone(const struct lineage *lineage)
{
    return lineage->abreast->len == 1;
}

static bool stands_abreast(const struct lineage *lineage, const struct object_id *commit)
{
    for (guint i = 0; i < lineage->abreast->len; i++) {
        if (object_id_equal(&abreast_at(lineage, i)->commit, commit)) {
            return true;
        }
    }
    return false;
}

int lineage_step(struct lineage *lineage, struct store_error *error)
{
    guint index = top_index(lineage);
    struct ancestor child = *abreast_at(lineage, index);
    struct ancestor parents[LINEAGE_PARENTS_MAX];
    uint64_t highest = 0;

    for (uint32_t i = 0; i < child.parent_count; i++) {
        int rc = read_ancestor(&parents[i], lineage, &child.parents[i], error);

        if (rc < 0) {
            return rc;
        }
        highest = MAX(highest, parents[i].modseq);
    }
    if (child.parent_count == 0 || child.modseq != highest + 1) {
        lineage->gap = child.parent_count > 0 && child.modseq > highest + 1;
        return store_error_set(error, STORE_NOT_FOUND, "the history is not without a gap");
    }
    g_array_remove_index_fast(lineage->abreast, index);
    for (uint32_t i = 0; i < child.parent_count; i++) {
        if (!stands_abreast(lineage, &parents[i].commit)) {
            g_array_append_val(lineage->abreast, parents[i]);
        }
    }
    if (lineage->abreast->len > LINEAGE_ABREAST_MAX) {
        return store_error_set(error, STORE_NOT_FOUND, "the history has too many branches");
    }
    return 0;
}

bool lineage_leads(struct objects *objects, const struct snapshot *later,
                   const struct snapshot *earlier, size_t limit)
{
    struct lineage lineage;
    struct store_error error;
    int rc = lineage_begin(&lineage, objects, later, &error);
    bool found;

    while (rc == 0 && lineage_top(&lineage)->modseq > snapshot_highest_modseq(earlier)) {
        rc = limit-- > 0 ? lineage_step(&lineage, &error) : STORE_NOT_FOUND;
    }
    found = rc == 0 ? stands_abreast(&lineage, snapshot_commit(earlier)) : lineage.gap;
    lineage_release(&lineage);
    return found;
}
