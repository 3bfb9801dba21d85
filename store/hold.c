#include "store/hold.h"

#include <glib.h>
#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/objects.h"
#include "store/internal/refs.h"
#include "store/internal/text.h"
#include "store/internal/tree.h"

#define HOLD_REF  "refs/annal/hold"
#define HOLDS_REF "refs/annal/holds"

bool hold_is_set(struct refs *refs)
{
    struct object_id id;
    struct store_error ignored;

    return refs_read(refs, HOLD_REF, &id, &ignored) != STORE_NOT_FOUND;
}

int hold_read(bool *held, const char *path, const struct host *host, struct store_error *error)
{
    struct refs *refs = NULL;
    int rc = refs_open(&refs, path, host, error);

    *held = rc < 0 || hold_is_set(refs);
    refs_close(refs);
    return rc;
}

/* The tree says in one file what is so now. */
static int add_tree(struct object_batch *batch, bool held, struct object_id *out,
                    struct store_error *error)
{
    g_autofree char *text = g_strdup_printf("format 1\nheld %s\n", held ? "yes" : "no");
    g_autoptr(GByteArray) tree = g_byte_array_new();
    struct object_id file;
    int rc = object_batch_add(batch, OBJECT_BLOB, text, strlen(text), &file, error);

    if (rc == 0) {
        tree_append(tree, "hold", false, &file);
        rc = object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, out, error);
    }
    return rc;
}

/* What references have to say now; zero for one that is not there. */
static int read_ref(struct refs *refs, const char *name, struct object_id *out,
                    struct store_error *error)
{
    int rc = refs_read(refs, name, out, error);

    if (rc == STORE_NOT_FOUND) {
        *out = (struct object_id){{0}};
        return 0;
    }
    return rc;
}

static int change(struct refs *refs, struct object_batch *batch, bool held, const char *user,
                  const struct origin *origin, const char *subject, struct store_error *error)
{
    struct ref_update updates[] = {{.name = HOLD_REF}, {.name = HOLDS_REF}};
    struct object_id tree;
    int rc = read_ref(refs, HOLD_REF, &updates[0].before, error);

    if (rc == 0) {
        rc = read_ref(refs, HOLDS_REF, &updates[1].before, error);
    }
    if (rc == 0 && object_id_is_zero(&updates[0].before) != held) {
        rc = store_error_set(error, STORE_EXISTS,
                             held ? "the account is on hold already" : "there is no hold");
    }
    if (rc == 0) {
        rc = add_tree(batch, held, &tree, error);
    }
    if (rc == 0) {
        const struct object_id *parent =
            object_id_is_zero(&updates[1].before) ? NULL : &updates[1].before;

        rc =
            commit_add(batch, &tree, parent, NULL, user, origin, subject, &updates[1].after, error);
    }
    if (rc == 0 && held) {
        updates[0].after = updates[1].after;
    }
    if (rc == 0) {
        rc = object_batch_write(batch, true, error);
    }
    if (rc == 0) {
        rc = refs_commit(refs, updates, G_N_ELEMENTS(updates), error);
    }
    return rc == 0 ? refs_sync(refs, error) : rc;
}

int hold_change(const char *path, const struct host *host, bool held, const char *user,
                const struct origin *origin, const char *reason, struct store_error *error)
{
    g_autoptr(GString) subject = g_string_new(held ? "HOLD" : "RELEASE the hold");
    struct object_batch *batch = NULL;
    struct objects *objects = NULL;
    struct refs *refs = NULL;
    int rc = objects_open(&objects, path, host, error);

    if (reason != NULL && *reason != '\0') {
        g_string_append(subject, ": ");
        text_append_harmless(subject, reason, strlen(reason), HOLD_REASON_MAX);
    }
    if (rc == 0) {
        rc = refs_open(&refs, path, host, error);
    }
    if (rc == 0) {
        rc = object_batch_new(&batch, objects, error);
    }
    if (rc == 0) {
        rc = change(refs, batch, held, user, origin, subject->str, error);
    }
    object_batch_free(batch);
    refs_close(refs);
    objects_close(objects);
    return rc;
}
