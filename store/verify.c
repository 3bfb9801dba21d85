#include "store/verify.h"

#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/checkpoint.h"
#include "store/internal/commit.h"
#include "store/internal/findings.h"
#include "store/internal/shallow.h"
#include "store/internal/snapshot_load.h"
#include "store/internal/text.h"
#include "store/internal/tree.h"

struct verifier {
    struct objects *objects;
    struct refs *refs;
    struct findings findings;
    GHashTable *sizes;   /* struct object_id * -> size + 1 of every blob looked at; 1 for others */
    GHashTable *checked; /* struct directory *: trees whose rules were checked under that number */
    GHashTable *mailboxes;  /* mailbox id -> branch */
    uint32_t uid_validity;  /* the highest of any mailbox */
    struct id_set boundary; /* commits whose parents need not be there */
    const struct observer *observer;
    uint64_t expected; /* objects, about */
    uint64_t commits;  /* seen as objects */
    uint64_t changes;  /* of them, whose states were looked at */
};

/* --- git's integrity: everything reachable is there and hashes to its name --- */

struct pending {
    struct object_id id;
    enum object_type type;
};

static void push(struct verifier *verifier, GArray *stack, const struct object_id *id,
                 enum object_type type)
{
    struct pending pending = {*id, type};

    if (!g_hash_table_contains(verifier->sizes, id)) {
        g_array_append_val(stack, pending);
    }
}

/* Every parent, where the history does not end here, and the tree. */
static void push_commit(struct verifier *verifier, GArray *stack, const struct object_id *commit,
                        const struct object_data *data)
{
    struct text text = {(const char *)data->data, (const char *)data->data + data->length};
    struct text line;
    bool ends = id_set_has(&verifier->boundary, commit);

    while (text_line(&text, &line) && line.at < line.end) {
        enum object_type type = text_word(&line, "tree ") ? OBJECT_TREE : OBJECT_COMMIT;
        char hex[OBJECT_ID_HEX + 1] = "";
        struct object_id id;

        if ((type == OBJECT_COMMIT && (!text_word(&line, "parent ") || ends)) ||
            line.end - line.at != OBJECT_ID_HEX) {
            continue;
        }
        memcpy(hex, line.at, OBJECT_ID_HEX);
        if (object_id_parse(&id, hex)) {
            push(verifier, stack, &id, type);
        }
    }
}

static void push_tree(struct verifier *verifier, GArray *stack, const struct object_id *tree,
                      const struct object_data *data)
{
    struct tree_reader reader = {data->data, data->data + data->length};
    struct tree_entry entry;
    enum tree_result result;

    while ((result = tree_next(&reader, &entry)) == TREE_ENTRY) {
        push(verifier, stack, &entry.id, entry.directory ? OBJECT_TREE : OBJECT_BLOB);
    }
    if (result == TREE_BAD) {
        char hex[OBJECT_ID_HEX + 1];

        object_id_format(tree, hex);
        findings_add(&verifier->findings, "tree %s is malformed or has an entry of an unknown mode",
                     hex);
    }
}

static void check_object(struct verifier *verifier, GArray *stack, const struct pending *pending)
{
    struct object_data data;
    struct object_id id;
    struct store_error error;
    char hex[OBJECT_ID_HEX + 1];
    size_t size = 0;

    if (g_hash_table_contains(verifier->sizes, &pending->id)) {
        return;
    }
    object_id_format(&pending->id, hex);
    if (objects_read(verifier->objects, &pending->id, pending->type, &data, &error) < 0) {
        findings_add(&verifier->findings, "object %s: %s", hex, error.detail);
    } else {
        objects_hash(pending->type, data.data, data.length, &id);
        if (!object_id_equal(&id, &pending->id)) {
            findings_add(&verifier->findings, "object %s does not hash to its name", hex);
        }
        size = pending->type == OBJECT_BLOB ? data.length : 0;
        if (pending->type == OBJECT_COMMIT) {
            verifier->commits++;
            push_commit(verifier, stack, &pending->id, &data);
        } else if (pending->type == OBJECT_TREE) {
            push_tree(verifier, stack, &pending->id, &data);
        }
        object_data_release(&data);
    }
    g_hash_table_insert(verifier->sizes, g_memdup2(&pending->id, sizeof(pending->id)),
                        GSIZE_TO_POINTER(size + 1));
}

static int check_reachable(struct verifier *verifier, const GPtrArray *refs,
                           struct store_error *error)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct pending));
    int rc = 0;

    for (guint i = 0; i < refs->len; i++) {
        const struct ref_entry *ref = g_ptr_array_index(refs, i);

        push(verifier, stack, &ref->id, OBJECT_COMMIT);
        while (rc == 0 && stack->len > 0) {
            struct pending pending = g_array_index(stack, struct pending, stack->len - 1);

            g_array_set_size(stack, stack->len - 1);
            check_object(verifier, stack, &pending);
            rc = observer_tell(verifier->observer, OBSERVER_OBJECTS,
                               g_hash_table_size(verifier->sizes), verifier->expected, error);
        }
    }
    return rc;
}

/* --- our own rules --- */

static guint checked_hash(const void *key)
{
    const struct directory *directory = key;

    return object_id_hash(&directory->tree) ^ directory->number;
}

static gboolean checked_equal(const void *a, const void *b)
{
    const struct directory *x = a;
    const struct directory *y = b;

    return x->number == y->number && object_id_equal(&x->tree, &y->tree);
}

/* True the first time. */
static bool mark_checked(struct verifier *verifier, const struct directory *directory)
{
    return g_hash_table_add(verifier->checked, g_memdup2(directory, sizeof(*directory)));
}

static void check_message(struct verifier *verifier, const char *where,
                          const struct properties *properties, const struct message *message)
{
    size_t size = GPOINTER_TO_SIZE(g_hash_table_lookup(verifier->sizes, &message->blob));

    if (message->uid >= properties->uid_next) {
        findings_add(&verifier->findings, "%s: UID %" G_GUINT32_FORMAT " is not below UIDNEXT",
                     where, message->uid);
    }
    if (message->modseq > properties->highest_modseq) {
        findings_add(&verifier->findings,
                     "%s: the MODSEQ of UID %" G_GUINT32_FORMAT " is above HIGHESTMODSEQ", where,
                     message->uid);
    }
    if (size != (size_t)message->size + 1) {
        findings_add(&verifier->findings,
                     "%s: UID %" G_GUINT32_FORMAT " has another size than its line says", where,
                     message->uid);
    }
}

static void check_leaf(struct verifier *verifier, const char *where,
                       const struct properties *properties, const struct directory *directory)
{
    struct message messages[LEAF_MESSAGES];
    struct store_error error;
    size_t count;

    if (leaf_load(messages, &count, verifier->objects, &directory->tree, directory->number,
                  properties->keywords, &error) < 0) {
        findings_add(&verifier->findings, "%s: %s", where, error.detail);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        check_message(verifier, where, properties, &messages[i]);
    }
}

/* All trees below these, down to the leaves, that were not checked before. */
static void check_directories(struct verifier *verifier, const char *where,
                              const struct properties *properties, const GArray *top)
{
    g_autoptr(GArray) level = g_array_copy((GArray *)(uintptr_t)top);
    struct store_error error;

    for (int depth = 0; depth <= DIRECTORY_LEVELS; depth++) {
        g_autoptr(GArray) below = g_array_new(FALSE, FALSE, sizeof(struct directory));

        for (guint i = 0; i < level->len; i++) {
            const struct directory *directory = &g_array_index(level, struct directory, i);

            if (!mark_checked(verifier, directory)) {
                continue;
            }
            if (depth == DIRECTORY_LEVELS) {
                check_leaf(verifier, where, properties, directory);
            } else if (directory_load(below, verifier->objects, directory, &error) < 0) {
                findings_add(&verifier->findings, "%s: %s", where, error.detail);
            }
        }
        g_array_unref(level);
        level = g_steal_pointer(&below);
    }
}

/* What a branch's chain must not exceed, from its tip to the past. */
struct bounds {
    uint32_t uid_next;
    uint64_t highest_modseq;
};

/* Commits that others made carry no trailers of ours. What is wrong in one that is not the tip was
 * mended by a later one. */
static bool is_ours(const struct commit *commit)
{
    return memmem(commit->message, commit->message_length, "\nUser: ", 7) != NULL;
}

static void check_state(struct verifier *verifier, const char *where, const struct commit *commit,
                        bool tip, struct bounds *bounds)
{
    g_autoptr(GArray) top = NULL;
    struct properties properties;
    struct store_error error;
    bool ours = is_ours(commit);

    if (root_load(&properties, &top, verifier->objects, &commit->tree, &error) < 0) {
        if (ours || tip) {
            findings_add(&verifier->findings, "%s: %s", where, error.detail);
        }
        properties_release(&properties);
        return;
    }
    if (properties.uid_next > bounds->uid_next ||
        properties.highest_modseq > bounds->highest_modseq) {
        findings_add(&verifier->findings, "%s: UIDNEXT or HIGHESTMODSEQ falls in a later commit",
                     where);
    }
    if (ours || tip) {
        bounds->uid_next = properties.uid_next;
        bounds->highest_modseq = properties.highest_modseq;
        check_directories(verifier, where, &properties, top);
    }
    properties_release(&properties);
}

static int read_commit(struct verifier *verifier, const struct object_id *id,
                       struct object_data *data, struct commit *commit)
{
    struct store_error error;
    int rc = objects_read(verifier->objects, id, OBJECT_COMMIT, data, &error);

    if (rc < 0) {
        return rc; /* reported already: it is not reachable */
    }
    rc = commit_decode(commit, data->data, data->length, &error);
    if (rc < 0) {
        char hex[OBJECT_ID_HEX + 1];

        object_id_format(id, hex);
        findings_add(&verifier->findings, "commit %s: %s", hex, error.detail);
        object_data_release(data);
    }
    return rc;
}

static int check_chain(struct verifier *verifier, const char *branch, const struct object_id *tip,
                       struct store_error *error)
{
    struct bounds bounds = {UINT32_MAX, MODSEQ_MAX};
    struct object_id next = *tip;
    bool first = true;
    int rc = 0;

    while (rc == 0 && !object_id_is_zero(&next)) {
        struct object_data data;
        struct commit commit;
        char hex[OBJECT_ID_HEX + 1];
        g_autofree char *where = NULL;

        if (read_commit(verifier, &next, &data, &commit) < 0) {
            return 0;
        }
        object_id_format(&next, hex);
        where = g_strdup_printf("%s at %.10s", branch, hex);
        check_state(verifier, where, &commit, first, &bounds);
        if (id_set_has(&verifier->boundary, &next)) {
            memset(&commit.parent, 0, sizeof(commit.parent));
        }
        next = commit.parent;
        first = false;
        object_data_release(&data);
        rc = observer_tell(verifier->observer, OBSERVER_CHANGES, ++verifier->changes,
                           verifier->commits, error);
    }
    return rc;
}

/* What holds for a mailbox as a whole; whether it can be read at all. */
static void check_tip(struct verifier *verifier, const char *branch, const struct object_id *tip,
                      bool live)
{
    struct snapshot *snapshot;
    struct store_error error;
    const char *other;
    bool moved;

    if (snapshot_load(&snapshot, &moved, verifier->objects, tip, NULL, &error) < 0) {
        findings_add(&verifier->findings, "%s: %s", branch, error.detail);
        return;
    }
    verifier->uid_validity = MAX(verifier->uid_validity, snapshot->uid_validity);
    other = g_hash_table_lookup(verifier->mailboxes, snapshot->mailbox_id);
    if (live && other != NULL) {
        findings_add(&verifier->findings, "%s has the same mailbox id as %s", branch, other);
    } else if (live) {
        g_hash_table_insert(verifier->mailboxes, g_strdup(snapshot->mailbox_id), g_strdup(branch));
    }
    snapshot_unref(snapshot);
}

/* "NAME", or "NAME/UIDVALIDITY" and perhaps "-NUMBER" of a deleted one. */
static bool branch_valid(const char *branch, bool live)
{
    g_autofree char *name = NULL;
    g_autofree char *encoded = g_strdup(branch);
    char *slash = strrchr(encoded, '/');
    struct store_error ignored;

    if (!live) {
        if (slash == NULL || strspn(slash + 1, "0123456789-") != strlen(slash + 1)) {
            return false;
        }
        *slash = '\0';
    }
    return branch_name_decode(&name, encoded, &ignored) == 0;
}

static int check_branches(struct verifier *verifier, const char *prefix, bool live,
                          struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    int rc = refs_list(verifier->refs, prefix, &refs, error);

    if (rc == 0) {
        rc = check_reachable(verifier, refs, error);
    }
    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *ref = g_ptr_array_index(refs, i);
        const char *branch = ref->name + strlen(prefix);

        if (!branch_valid(branch, live)) {
            findings_add(&verifier->findings, "branch %s: not the encoding of a mailbox name",
                         branch);
            continue;
        }
        check_tip(verifier, ref->name, &ref->id, live);
        rc = check_chain(verifier, ref->name, &ref->id, error);
    }
    return rc;
}

/* They are tags; what they sign is for checkpoints_verify(). */
static void check_checkpoints(struct verifier *verifier, const char *path)
{
    g_autoptr(GPtrArray) all = NULL;
    struct store_error error;

    if (checkpoints_list(&all, path, verifier->refs, false, &error) < 0) {
        findings_add(&verifier->findings, "%s", error.detail);
        return;
    }
    for (guint i = 0; i < all->len; i++) {
        const struct checkpoint *checkpoint = all->pdata[i];
        struct object_id id;

        tag_hash(checkpoint->text, checkpoint->length, &id);
        if (!object_id_equal(&id, &checkpoint->id)) {
            findings_add(&verifier->findings, "a checkpoint does not hash to its name");
        }
    }
}

static int check_account(struct verifier *verifier, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    struct account_state *state;
    struct store_error detail;
    struct object_id tip;
    int rc = refs_list(verifier->refs, "refs/annal/", &refs, error);

    if (rc < 0) {
        return rc;
    }
    for (guint i = refs->len; i-- > 0;) {
        const struct ref_entry *ref = refs->pdata[i];

        if (g_str_has_prefix(ref->name, CHECKPOINTS_PREFIX)) {
            g_ptr_array_remove_index(refs, i);
        }
    }
    rc = check_reachable(verifier, refs, error);
    if (rc < 0) {
        return rc;
    }
    rc = refs_read(verifier->refs, ACCOUNT_REF, &tip, &detail);
    if (rc == 0) {
        rc = account_state_load(&state, verifier->objects, &tip, &detail);
    }
    if (rc < 0) {
        findings_add(&verifier->findings, "%s: %s", ACCOUNT_REF, detail.detail);
        return 0;
    }
    if (state->uid_validity < verifier->uid_validity) {
        findings_add(&verifier->findings, "a mailbox has a UIDVALIDITY above the account's last");
    }
    account_state_free(state);
    return 0;
}

static int check_all(struct verifier *verifier, const char *path, struct store_error *error)
{
    int rc = objects_open(&verifier->objects, path, host_system(), error);

    if (rc == 0) {
        rc = refs_open(&verifier->refs, path, host_system(), error);
    }
    if (rc == 0) {
        rc = shallow_read(&verifier->boundary, path, error);
    }
    if (rc == 0) {
        rc = check_branches(verifier, HEADS_PREFIX, true, error);
    }
    if (rc == 0) {
        rc = check_branches(verifier, DELETED_PREFIX, false, error);
    }
    if (rc == 0) {
        check_checkpoints(verifier, path);
        rc = check_account(verifier, error);
    }
    return rc;
}

int verify_observed(const char *path, verify_report report, void *data,
                    const struct observer *observer, size_t *findings, struct store_error *error)
{
    struct verifier verifier = {.findings = {report, data, 0}, .observer = observer};
    int rc;

    verifier.sizes = g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);
    verifier.checked = g_hash_table_new_full(checked_hash, checked_equal, g_free, NULL);
    verifier.mailboxes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    id_set_init(&verifier.boundary);
    verifier.expected = observer != NULL ? observer_objects(path) : 0;
    rc = check_all(&verifier, path, error);
    *findings = verifier.findings.count;
    refs_close(verifier.refs);
    objects_close(verifier.objects);
    g_hash_table_unref(verifier.sizes);
    g_hash_table_unref(verifier.checked);
    g_hash_table_unref(verifier.mailboxes);
    id_set_release(&verifier.boundary);
    return rc;
}

int verify_repository(const char *path, verify_report report, void *data, size_t *findings,
                      struct store_error *error)
{
    return verify_observed(path, report, data, NULL, findings, error);
}
