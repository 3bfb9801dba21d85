#include <string.h>

#include "store/internal/objects_private.h"

struct expansion {
    const char *digits;
    struct object_id *out;
    bool found;
    bool ambiguous;
};

static void consider(struct expansion *expansion, const struct object_id *id)
{
    if (!expansion->found) {
        expansion->found = true;
        *expansion->out = *id;
    } else if (!object_id_equal(expansion->out, id)) {
        expansion->ambiguous = true;
    }
}

static void expand_batches(struct expansion *expansion, const struct objects *objects)
{
    for (guint i = 0; i < objects->batches->len; i++) {
        const struct object_batch *batch = objects->batches->pdata[i];

        for (guint j = 0; j < batch->order->len; j++) {
            const struct pending *pending = batch->order->pdata[j];
            char hex[OBJECT_ID_HEX + 1];

            object_id_format(&pending->id, hex);
            if (g_str_has_prefix(hex, expansion->digits)) {
                consider(expansion, &pending->id);
            }
        }
    }
}

static int expand_odb(struct expansion *expansion, const struct objects *objects,
                      struct store_error *error)
{
    size_t length = strlen(expansion->digits);
    git_odb *odb = NULL;
    git_oid wanted, full;
    int result = git_oid_fromstrn(&wanted, expansion->digits, length);

    if (result == 0) {
        result = git_odb_open(&odb, objects->directory);
    }
    if (result == 0) {
        result = git_odb_exists_prefix(&full, odb, &wanted, length);
    }
    git_odb_free(odb);
    if (result == 0) {
        struct object_id id;

        memcpy(id.bytes, full.id, sizeof(id.bytes));
        consider(expansion, &id);
    } else if (result == GIT_EAMBIGUOUS) {
        expansion->ambiguous = true;
    } else if (result != GIT_ENOTFOUND) {
        return libgit2_fail(error, result, "object database");
    }
    return 0;
}

int objects_expand(struct objects *objects, const char *digits, struct object_id *out,
                   struct store_error *error)
{
    struct expansion expansion = {.digits = digits, .out = out};
    int rc;

    expand_batches(&expansion, objects);
    rc = expand_odb(&expansion, objects, error);
    if (rc < 0) {
        return rc;
    }
    if (expansion.ambiguous) {
        return store_error_set(error, STORE_NOT_FOUND, "more than one object begins with %s",
                               digits);
    }
    return expansion.found ? 0 : store_error_set(error, STORE_NOT_FOUND, "no object %s", digits);
}
