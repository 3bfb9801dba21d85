#include "store/purge.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/hold.h"
#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/checkpoint.h"
#include "store/internal/commit.h"
#include "store/internal/gc_lock.h"
#include "store/internal/purge_find.h"
#include "store/internal/purge_record.h"
#include "store/internal/repository.h"
#include "store/internal/rewrite.h"
#include "store/internal/shallow.h"
#include "store/internal/snapshot_load.h"
#include "store/internal/text.h"
#include "store/internal/tree.h"

enum { MOVE_TRIES = 10, MICROSECONDS = 1000000 };

struct purge {
    const char *path;
    const char *cache;
    const struct host *host;
    const struct purge_request *request;
    struct purge_result *result;
    struct objects *objects;
    struct refs *refs;
    struct id_set blobs;
    GPtrArray *words; /* char *: subjects of the messages */
    struct rewrite *rewrite;
    GArray *updates;    /* struct ref_update, with names in strings */
    GPtrArray *strings; /* char * */
    GString *record;    /* the file of refs/annal/purged */
};

static void place_free(void *data)
{
    struct purge_place *place = data;

    g_free(place->ref);
    g_free(place->mailbox);
    g_free(place);
}

void purge_result_release(struct purge_result *result)
{
    g_clear_pointer(&result->places, g_ptr_array_unref);
}

/* --- what it can be done to --- */

static int check(const struct purge *purge, struct store_error *error)
{
    g_autofree char *head = g_strdup_printf("%s/HEAD", purge->path);
    g_autofree char *alternates = g_strdup_printf("%s/objects/info/alternates", purge->path);
    char word[6] = "";
    FILE *file = fopen(head, "re");

    if (file != NULL) {
        if (fread(word, 1, sizeof(word) - 1, file) != sizeof(word) - 1) {
            word[0] = '\0';
        }
        fclose(file);
    }
    if (hold_is_set(purge->refs)) {
        return store_error_set(error, STORE_FORBIDDEN, "the account is on hold");
    }
    if (strcmp(word, "ref: ") != 0) {
        return store_error_set(error, STORE_UNSUPPORTED, "HEAD is not a branch");
    }
    if (access(alternates, F_OK) == 0) {
        return store_error_set(error, STORE_UNSUPPORTED,
                               "the repository borrows objects from another");
    }
    return 0;
}

/* --- what moves --- */

static void add_update(struct purge *purge, const char *ref, const struct object_id *before,
                       const struct object_id *after)
{
    struct ref_update update = {g_strdup(ref), *before, *after};

    g_ptr_array_add(purge->strings, (char *)(uintptr_t)update.name);
    g_array_append_val(purge->updates, update);
}

static void add_to_record(struct purge *purge, const char *word, const char *name,
                          const struct object_id *before, const struct object_id *after)
{
    char from[OBJECT_ID_HEX + 1];
    char to[OBJECT_ID_HEX + 1];

    object_id_format(before, from);
    object_id_format(after, to);
    g_string_append_printf(purge->record, "%s%s%s %s %s\n", word, name != NULL ? " " : "",
                           name != NULL ? name : "", from, to);
}

/* The mailbox of a branch, or of what is left of a deleted one; NULL: of none. */
static char *mailbox_of(const char *ref, bool *deleted)
{
    g_autofree char *branch = NULL;
    struct store_error ignored;
    char *name = NULL;
    char *slash;

    *deleted = g_str_has_prefix(ref, DELETED_PREFIX);
    if (!*deleted && !g_str_has_prefix(ref, HEADS_PREFIX)) {
        return NULL;
    }
    branch = g_strdup(ref + strlen(*deleted ? DELETED_PREFIX : HEADS_PREFIX));
    slash = *deleted ? strrchr(branch, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
    }
    return branch_name_decode(&name, branch, &ignored) == 0 ? name : NULL;
}

/* UIDs under which the newest state has them; nothing where it is no mailbox. */
static GArray *uids_now(const struct purge *purge, const struct object_id *tip)
{
    GArray *uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    struct snapshot *snapshot;
    struct store_error ignored;
    bool moved;

    if (snapshot_load(&snapshot, &moved, purge->objects, tip, NULL, &ignored) < 0) {
        return uids;
    }
    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);

        if (id_set_has(&purge->blobs, &message.blob)) {
            g_array_append_val(uids, message.uid);
        }
    }
    snapshot_unref(snapshot);
    return uids;
}

static int read_commit_tree(const struct purge *purge, const struct object_id *id,
                            struct object_id *tree, struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    int rc = objects_read(purge->objects, id, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    *tree = commit.tree;
    object_data_release(&data);
    return rc;
}

/* The root tree with another file of properties. */
static int replace_properties(struct purge *purge, const struct object_id *tree,
                              const struct properties *properties, struct object_id *out,
                              struct store_error *error)
{
    g_autoptr(GByteArray) root = g_byte_array_new();
    g_autoptr(GString) text = g_string_new(NULL);
    struct object_batch *batch = rewrite_batch(purge->rewrite);
    struct object_data data;
    struct object_id file;
    struct tree_entry entry;
    int rc = objects_read(purge->objects, tree, OBJECT_TREE, &data, error);

    if (rc < 0) {
        return rc;
    }
    properties_encode(text, properties);
    rc = object_batch_add(batch, OBJECT_BLOB, text->str, text->len, &file, error);
    struct tree_reader reader = {data.data, data.data + data.length};
    while (rc == 0 && tree_next(&reader, &entry) == TREE_ENTRY) {
        tree_append(root, entry.name, entry.directory,
                    strcmp(entry.name, "mailbox") == 0 ? &file : &entry.id);
    }
    if (rc == 0) {
        rc = object_batch_add(batch, OBJECT_TREE, root->data, root->len, out, error);
    }
    object_data_release(&data);
    return rc;
}

/* The commit that tells of it, on top of a mailbox's new history. What is no mailbox of ours gets
 * none: then *tip stays. */
static int add_tombstone(struct purge *purge, const GArray *uids, struct object_id *tip,
                         struct store_error *error)
{
    const struct purge_request *request = purge->request;
    g_autoptr(GString) subject = g_string_new("PURGE ");
    g_autoptr(GArray) directories = NULL;
    struct properties properties = {0};
    struct store_error ignored;
    struct object_id parent = *tip;
    struct object_id tree;
    int rc = read_commit_tree(purge, &parent, &tree, error);

    if (rc < 0) {
        return rc;
    }
    if (root_load(&properties, &directories, purge->objects, &tree, &ignored) < 0) {
        properties_release(&properties);
        return 0;
    }
    if (uids->len > 0) {
        g_string_append(subject, "uid ");
        subject_append_uids(subject, (const uint32_t *)(const void *)uids->data, uids->len);
    } else {
        g_string_append(subject, "from the history");
    }
    /* By more than one: nobody may take the history below for what clients were told. */
    properties.highest_modseq += 2;
    rc = replace_properties(purge, &tree, &properties, &tree, error);
    if (rc == 0) {
        rc = commit_add(rewrite_batch(purge->rewrite), &tree, &parent, NULL, request->user,
                        request->origin, subject->str, tip, error);
    }
    properties_release(&properties);
    return rc;
}

static int plan_ref(struct purge *purge, const struct ref_entry *ref, struct store_error *error)
{
    struct purge_place *place;
    struct object_id after;
    int rc = rewrite_object(purge->rewrite, &ref->id, &after, error);

    if (rc < 0 || object_id_equal(&after, &ref->id)) {
        return rc;
    }
    place = g_new0(struct purge_place, 1);
    place->ref = g_strdup(ref->name);
    place->mailbox = mailbox_of(ref->name, &place->deleted);
    g_ptr_array_add(purge->result->places, place);
    g_autoptr(GArray) uids = uids_now(purge, &ref->id);
    place->now = uids->len;
    if (purge->request->dry_run) {
        return 0;
    }
    if (place->mailbox != NULL && !place->deleted && !object_id_is_zero(&after)) {
        rc = add_tombstone(purge, uids, &after, error);
    }
    if (rc == 0) {
        add_update(purge, ref->name, &ref->id, &after);
        add_to_record(purge, "branch", ref->name, &ref->id, &after);
    }
    return rc;
}

/* As things stand now: what has to move, and to where. */
static int plan(struct purge *purge, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    int rc = refs_list(purge->refs, "refs/", &refs, error);

    g_ptr_array_set_size(purge->result->places, 0);
    g_array_set_size(purge->updates, 0);
    g_ptr_array_set_size(purge->strings, 0);
    g_string_assign(purge->record, "format 1\n");
    for (size_t i = 0; i <= purge->blobs.mask; i++) {
        char hex[OBJECT_ID_HEX + 1];

        if (!object_id_is_zero(&purge->blobs.slots[i])) {
            object_id_format(&purge->blobs.slots[i], hex);
            g_string_append_printf(purge->record, "blob %s\n", hex);
        }
    }
    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        rc = plan_ref(purge, refs->pdata[i], error);
    }
    purge->result->commits = rewrite_count(purge->rewrite);
    return rc;
}

/* --- the record --- */

static char *record_subject(const struct purge *purge)
{
    const struct purge_request *request = purge->request;
    GString *subject = g_string_new(NULL);

    g_string_printf(subject, "PURGE %zu %s of %s", purge->result->messages,
                    purge->result->messages == 1 ? "message" : "messages", request->mailbox);
    for (size_t i = 0; i < request->count; i++) {
        g_string_append_printf(subject, "%s%" G_GUINT32_FORMAT, i > 0 ? "," : " uid ",
                               request->uids[i].first);
        if (request->uids[i].last > request->uids[i].first) {
            g_string_append_printf(subject, ":%" G_GUINT32_FORMAT, request->uids[i].last);
        }
    }
    if (request->reason != NULL && *request->reason != '\0') {
        g_string_append(subject, ": ");
        text_append_harmless(subject, request->reason, strlen(request->reason), PURGE_REASON_MAX);
    }
    return g_string_free(subject, FALSE);
}

static void record_heads(struct purge *purge, const GPtrArray *checkpoints, const GPtrArray *before)
{
    struct id_set done;

    id_set_init(&done);
    for (guint i = 0; i < checkpoints->len; i++) {
        const struct checkpoint *checkpoint = checkpoints->pdata[i];

        for (guint j = 0; j < checkpoint->heads->len; j++) {
            struct object_id id = g_array_index(checkpoint->heads, struct checkpoint_head, j).id;
            struct object_id to;

            purge_records_follow(before, &id);
            if (id_set_add(&done, &id) && rewrite_find(purge->rewrite, &id, &to) &&
                !object_id_equal(&id, &to)) {
                add_to_record(purge, "commit", NULL, &id, &to);
            }
        }
    }
    id_set_release(&done);
}

/* What checkpoints name and was written anew (perhaps not for the first time): so that they go on
 * proving what they can. */
static int record_checkpoints(struct purge *purge, struct store_error *error)
{
    g_autoptr(GPtrArray) checkpoints = NULL;
    g_autoptr(GPtrArray) before = NULL;
    int rc = checkpoints_list(&checkpoints, purge->path, purge->refs, false, error);

    if (rc == 0) {
        rc = purge_records_read(&before, purge->objects, purge->refs, error);
    }
    if (rc == 0) {
        record_heads(purge, checkpoints, before);
    }
    /* What can't be read proves nothing any more: no reason to keep the message. */
    return rc == STORE_CORRUPT ? 0 : rc;
}

static int add_record(struct purge *purge, struct store_error *error)
{
    g_autofree char *subject = record_subject(purge);
    g_autoptr(GByteArray) tree = g_byte_array_new();
    struct object_batch *batch = rewrite_batch(purge->rewrite);
    struct object_id before = {{0}};
    struct object_id file, id, after;
    int rc = refs_read(purge->refs, PURGED_REF, &before, error);

    if (rc < 0 && rc != STORE_NOT_FOUND) {
        return rc;
    }
    rc = object_batch_add(batch, OBJECT_BLOB, purge->record->str, purge->record->len, &file, error);
    if (rc == 0) {
        tree_append(tree, "purged", false, &file);
        rc = object_batch_add(batch, OBJECT_TREE, tree->data, tree->len, &id, error);
    }
    if (rc == 0) {
        rc = commit_add(batch, &id, object_id_is_zero(&before) ? NULL : &before, NULL,
                        purge->request->user, purge->request->origin, subject, &after, error);
    }
    if (rc == 0) {
        add_update(purge, PURGED_REF, &before, &after);
    }
    return rc;
}

/* --- the step itself --- */

/* New commits may have parents that the old boundary cut off. */
static int extend_boundary(const struct purge *purge, struct store_error *error)
{
    const GArray *added = rewrite_boundary(purge->rewrite);
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    struct shallow_lock lock;
    struct id_set all;
    int rc;

    if (added->len == 0) {
        return 0;
    }
    rc = shallow_lock(&lock, purge->path, purge->host, error);
    if (rc < 0) {
        return rc;
    }
    id_set_init(&all);
    rc = shallow_read(&all, purge->path, error);
    for (guint i = 0; i < added->len; i++) {
        id_set_add(&all, &g_array_index(added, struct object_id, i));
    }
    for (size_t i = 0; i <= all.mask; i++) {
        if (!object_id_is_zero(&all.slots[i])) {
            g_array_append_val(ids, all.slots[i]);
        }
    }
    if (rc == 0) {
        rc = shallow_replace(&lock, ids, error);
    }
    id_set_release(&all);
    shallow_unlock(&lock);
    return rc;
}

/* Earlier ones may be waiting for their collection. */
static int note_blobs(struct purge *purge, struct store_error *error)
{
    struct id_set all;
    int rc;

    id_set_init(&all);
    rc = purged_read(&all, purge->path, error);
    for (size_t i = 0; i <= purge->blobs.mask; i++) {
        id_set_add(&all, &purge->blobs.slots[i]);
    }
    if (rc == 0) {
        rc = purged_replace(&all, purge->path, purge->host, error);
    }
    id_set_release(&all);
    return rc;
}

static int move_once(struct purge *purge, struct store_error *error)
{
    /* Since it was looked at much time may have gone. */
    int rc = hold_is_set(purge->refs)
                 ? store_error_set(error, STORE_FORBIDDEN, "the account is on hold")
                 : plan(purge, error);

    if (rc == 0) {
        rc = record_checkpoints(purge, error);
    }
    if (rc == 0) {
        rc = add_record(purge, error);
    }
    if (rc == 0) {
        rc = rewrite_flush(purge->rewrite, error);
    }
    if (rc == 0) {
        rc = extend_boundary(purge, error);
    }
    if (rc == 0) {
        rc = note_blobs(purge, error);
    }
    if (rc == 0) {
        rc = refs_commit(purge->refs, (const struct ref_update *)(void *)purge->updates->data,
                         purge->updates->len, error);
    }
    return rc == 0 ? refs_sync(purge->refs, error) : rc;
}

/* Reflogs would keep the old history alive, caches hold pieces of messages. */
static void remove_derived(const struct purge *purge)
{
    g_autofree char *logs = g_strdup_printf("%s/logs", purge->path);

    repository_remove(logs);
    if (purge->cache != NULL) {
        repository_remove(purge->cache);
    }
}

static int move(struct purge *purge, struct store_error *error)
{
    const struct purge_request *request = purge->request;
    int rc = request->stand != NULL ? request->stand(request->data, error) : 0;

    if (rc == 0) {
        rc = move_once(purge, error);
    }
    for (unsigned i = 1; rc == STORE_CONFLICT && i < MOVE_TRIES; i++) {
        rc = move_once(purge, error);
    }
    if (rc == 0) {
        purge->result->moved = true;
        remove_derived(purge);
    }
    if (request->go_on != NULL) {
        request->go_on(request->data);
    }
    return rc;
}

static int drop(struct purge *purge, struct store_error *error)
{
    struct collect_settings settings = {.locked = true,
                                        .settle_seconds = purge->request->settle_seconds,
                                        .observer = purge->request->observer};

    bool held = false;
    int rc =
        collect_repository(purge->path, purge->host, &settings, &purge->result->collected, error);

    if (rc == 0) {
        rc = hold_read(&held, purge->path, purge->host, error);
    }
    return rc == 0 && held
               ? store_error_set(error, STORE_FORBIDDEN, "the account was put on hold meanwhile")
               : rc;
}

/* Until now somebody may have read the messages out of packs that are gone, and put pieces into
 * caches. */
static int forget(struct purge *purge, struct store_error *error)
{
    const struct purge_request *request = purge->request;
    int rc = request->stand != NULL ? request->stand(request->data, error) : 0;

    if (rc == 0) {
        remove_derived(purge);
    }
    if (request->go_on != NULL) {
        request->go_on(request->data);
    }
    return rc;
}

static int run(struct purge *purge, struct store_error *error)
{
    const struct purge_request *request = purge->request;
    uint64_t total = 0;
    int rc = check(purge, error);

    if (rc == 0 && request->observer != NULL) {
        rc = purge_count_commits(&total, purge->path, purge->objects, purge->refs, error);
    }
    if (rc == 0) {
        rc = purge_find(&purge->blobs, purge->words, purge->path, purge->objects, purge->refs,
                        request->mailbox, request->uids, request->count, request->observer, total,
                        error);
    }
    purge->result->messages = purge->blobs.count;
    if (rc == 0) {
        rc = rewrite_new(&purge->rewrite, purge->path, purge->objects, &purge->blobs, purge->words,
                         request->dry_run, error);
    }
    /* What takes long is done before anybody has to wait. */
    if (rc == 0) {
        rewrite_observe(purge->rewrite, request->observer, total);
        rc = plan(purge, error);
    }
    if (rc == 0 && !request->dry_run) {
        rc = rewrite_flush(purge->rewrite, error);
    }
    if (rc == 0) {
        rewrite_observe(purge->rewrite, NULL, 0);
    }
    return rc == 0 && !request->dry_run ? move(purge, error) : rc;
}

static void purge_close(struct purge *purge)
{
    rewrite_free(purge->rewrite);
    refs_close(purge->refs);
    objects_close(purge->objects);
    purge->rewrite = NULL;
    purge->refs = NULL;
    purge->objects = NULL;
}

int purge_run(const char *path, const char *cache, const struct host *host,
              const struct purge_request *request, struct purge_result *result,
              struct store_error *error)
{
    struct purge purge = {
        .path = path, .cache = cache, .host = host, .request = request, .result = result};
    int rc = objects_open(&purge.objects, path, host, error);

    *result = (struct purge_result){.places = g_ptr_array_new_with_free_func(place_free)};
    purge.words = g_ptr_array_new_with_free_func(g_free);
    purge.strings = g_ptr_array_new_with_free_func(g_free);
    purge.updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update));
    purge.record = g_string_new(NULL);
    id_set_init(&purge.blobs);
    if (rc == 0) {
        rc = refs_open(&purge.refs, path, host, error);
    }
    if (rc == 0) {
        rc = gc_lock(path, host, error);
    }
    if (rc == 0) {
        rc = run(&purge, error);
        /* Its packs are protected for as long as it is open. */
        purge_close(&purge);
        if (rc == 0 && !request->dry_run) {
            struct store_error one;

            rc = drop(&purge, error);
            if (forget(&purge, &one) < 0 && rc == 0) {
                *error = one;
                rc = one.code;
            }
        }
        gc_unlock(path, host);
    }
    purge_close(&purge);
    g_ptr_array_unref(purge.words);
    g_ptr_array_unref(purge.strings);
    g_array_unref(purge.updates);
    g_string_free(purge.record, TRUE);
    id_set_release(&purge.blobs);
    return rc;
}
