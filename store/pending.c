#include "store/internal/pending.h"

#include <assert.h>
#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/errand.h"
#include "store/internal/journal_versions.h"
#include "store/internal/journaling.h"
#include "store/internal/snapshot_load.h"

enum {
    MOVE_TRIES = 10,   /* for a branch that somebody else moves at the same time */
    LARGE_FRACTION = 4 /* a change above this part of the journal goes past it */
};

struct pending_ref {
    struct object_id git;    /* where the branch stands in git, as far as we know */
    struct object_id packed; /* where it is to be once the pack under way is there; or zero */
    struct object_id ours;   /* where it is to be */
};

/* A pack on its way. */
struct packing {
    struct object_batch *batch;
    struct errand *errand; /* NULL: it could not be written */
    char *name;            /* of the pack; only the thread's until the errand is done */
    uint64_t next;         /* the journal's frame of the first change that comes after it */
    int64_t begun;         /* host.now() */
};

static void batch_free(void *data)
{
    object_batch_free(data);
}

static int make_pack(void *data, struct store_error *error)
{
    struct packing *packing = data;

    return object_batch_pack(packing->batch, false, &packing->name, error);
}

/* Waits for the pack, or tries again to write one that could not be written: the same objects, for
 * a replay makes this pack of them. Afterwards, unless that fails, none is on its way. */
static int wait_for_pack(struct pending_changes *pending, struct store_error *error)
{
    struct packing *packing = pending->packing;

    if (packing == NULL) {
        return 0;
    }
    int rc = packing->errand != NULL ? errand_wait(g_steal_pointer(&packing->errand), error)
                                     : make_pack(packing, error);

    if (rc == 0) {
        object_batch_packed(packing->batch, packing->name);
        g_ptr_array_add(pending->packed, packing->batch);
        g_clear_pointer(&pending->packing, g_free);
    }
    return rc;
}

static void drop_pack(struct pending_changes *pending)
{
    struct packing *packing = g_steal_pointer(&pending->packing);
    struct store_error ignored;

    if (packing == NULL) {
        return;
    }
    if (packing->errand != NULL && errand_wait(packing->errand, &ignored) == 0) {
        object_batch_packed(packing->batch, packing->name);
    }
    object_batch_free(packing->batch);
    g_free(packing);
}

void pending_init(struct pending_changes *pending)
{
    pending->refs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    pending->packed = g_ptr_array_new_with_free_func(batch_free);
}

void pending_release(struct pending_changes *pending)
{
    if (pending->refs == NULL) {
        return;
    }
    drop_pack(pending);
    g_hash_table_unref(pending->refs);
    g_ptr_array_unref(pending->packed);
    object_batch_free(pending->batch);
    pending_forget_versions(pending);
    memset(pending, 0, sizeof(*pending));
}

void pending_forget_versions(struct pending_changes *pending)
{
    journal_versions_free(pending->versions);
    pending->versions = NULL;
}

bool pending_any(const struct account *account)
{
    return account->pending.batch != NULL || account->pending.packing != NULL ||
           account->pending.packed->len > 0 || account->pending.merging != NULL ||
           g_hash_table_size(account->pending.refs) > 0;
}

static void put_ref(struct account *account, const char *name, const struct object_id *git,
                    const struct object_id *ours)
{
    struct pending_ref *ref = g_new(struct pending_ref, 1);

    *ref = (struct pending_ref){.git = *git, .ours = *ours};
    g_hash_table_replace(account->pending.refs, g_strdup(name), ref);
}

void pending_restore(struct account *account, const char *ref, const struct object_id *base,
                     const struct object_id *ours)
{
    put_ref(account, ref, base, ours);
}

/* --- packs --- */

/* Objects that are in no pack become one. Git's objects are in the journal before. */
static int write_pack(struct account *account, bool durable, struct store_error *error)
{
    struct pending_changes *pending = &account->pending;
    int rc = journaling_settle(account->store, error);

    if (rc == 0) {
        rc = wait_for_pack(pending, error);
    }
    if (rc < 0 || pending->batch == NULL) {
        return rc;
    }
    rc = object_batch_write(pending->batch, durable, error);
    if (rc == 0) {
        journaling_note_packed(account->store, account);
        g_ptr_array_add(pending->packed, pending->batch);
        pending->batch = NULL;
        pending->size = 0;
    }
    return rc;
}

/* --- a branch that somebody else moved --- */

/* The branch is gone, or another mailbox now: what was on its way to it is kept where a deleted
 * mailbox's history is. */
static int bury(struct account *account, const char *ref, const struct object_id *ours,
                struct store_error *error)
{
    struct snapshot *snapshot;
    bool moved;
    int rc = snapshot_load(&snapshot, &moved, account->objects, ours, NULL, error);

    if (rc < 0) {
        return rc;
    }
    g_autofree char *grave = account_grave(account, ref, snapshot_uid_validity(snapshot), ours);
    struct ref_update update = {.name = grave, .after = *ours};
    struct object_id there;

    snapshot_unref(snapshot);
    if (refs_read(account->refs, grave, &there, error) == 0) {
        return 0;
    }
    rc = write_pack(account, true, error);
    if (rc == 0) {
        rc = refs_commit(account->refs, &update, 1, error);
    }
    if (rc == 0) {
        store_mark_changed(account->store, account);
    }
    return rc;
}

/* Git's value is not the one that ours follows. outside: NULL when the branch is gone. */
static int settle(struct account *account, const char *name, const struct object_id *outside,
                  struct store_error *error)
{
    const struct pending_ref *known = g_hash_table_lookup(account->pending.refs, name);
    struct pending_ref ref = *known;
    bool other = outside == NULL;
    int rc = 0;

    if (outside != NULL && object_id_equal(outside, &ref.ours)) {
        g_hash_table_remove(account->pending.refs, name);
        return 0;
    }
    if (outside != NULL) {
        struct ref_update merging = {name, ref.git, ref.ours};

        g_hash_table_remove(account->pending.refs, name);
        account->pending.merging = &merging;
        rc = mailbox_merge(account, name, &ref.git, &ref.ours, outside, &other, error);
        account->pending.merging = NULL;
        /* Also what a pack under way brings: that is not in git before the branch has moved. */
        if (rc < 0 || other) {
            g_hash_table_replace(account->pending.refs, g_strdup(name),
                                 g_memdup2(&ref, sizeof(ref)));
        }
    }
    if (rc == 0 && other) {
        rc = bury(account, name, &ref.ours, error);
        if (rc == 0) {
            g_hash_table_remove(account->pending.refs, name);
        }
    }
    return rc;
}

static int look_at(struct account *account, const char *name, struct object_id *tip,
                   struct store_error *error)
{
    int found = refs_read(account->refs, name, tip, error);
    const struct pending_ref *ref = g_hash_table_lookup(account->pending.refs, name);

    if (ref == NULL || (found < 0 && found != STORE_NOT_FOUND)) {
        return found;
    }
    if (found == 0 && object_id_equal(tip, &ref->git)) {
        *tip = ref->ours;
        return 0;
    }
    int rc = settle(account, name, found == 0 ? tip : NULL, error);

    return rc < 0 ? rc : store_error_set(error, STORE_CONFLICT, "%s has moved", name);
}

int pending_tip(struct account *account, const char *ref, struct object_id *tip,
                struct store_error *error)
{
    int rc = look_at(account, ref, tip, error);

    /* What was there is settled now; what is there next is one look away. */
    for (unsigned i = 1; rc == STORE_CONFLICT && i < MOVE_TRIES; i++) {
        rc = look_at(account, ref, tip, error);
    }
    return rc;
}

/* --- into the journal --- */

static bool is_ordinary(const struct ref_update *update)
{
    return g_str_has_prefix(update->name, HEADS_PREFIX) && !object_id_is_zero(&update->before) &&
           !object_id_is_zero(&update->after);
}

bool pending_accepts(const struct account *account, const struct object_batch *batch,
                     const struct ref_update *updates, size_t count)
{
    size_t max = journaling_record_max(account->store);
    bool ordinary = count > 0 && max > 0;

    for (size_t i = 0; i < count && ordinary; i++) {
        ordinary = is_ordinary(&updates[i]);
    }
    return ordinary && object_batch_size(batch) < max / LARGE_FRACTION;
}

/* What is left of a change whose objects are packed, for a journal that must forget the rest. */
void pending_updates(const struct account *account, GArray *out)
{
    GHashTableIter iterator;
    void *name;
    void *value;

    g_hash_table_iter_init(&iterator, account->pending.refs);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        const struct pending_ref *ref = value;
        struct ref_update update = {name, ref->git, ref->ours};

        g_array_append_val(out, update);
    }
    if (account->pending.merging != NULL) {
        g_array_append_val(out, *account->pending.merging);
    }
}

static int check_before(const struct account *account, const struct ref_update *updates,
                        size_t count, struct store_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct pending_ref *ref = g_hash_table_lookup(account->pending.refs, updates[i].name);

        if (ref != NULL && !object_id_equal(&ref->ours, &updates[i].before)) {
            return store_error_set(error, STORE_CONFLICT, "%s has moved", updates[i].name);
        }
    }
    return 0;
}

int pending_add(struct account *account, struct object_batch *batch,
                const struct ref_update *updates, size_t count, bool relaxed,
                struct store_error *error)
{
    struct pending_changes *pending = &account->pending;
    uint64_t size = object_batch_size(batch);
    int rc = object_batch_own(batch, error);

    /* Making room may merge what others did to a branch, so the check comes after it. */
    if (rc == 0) {
        rc = journaling_make_room(account->store, size, error);
    }
    if (rc == 0) {
        rc = check_before(account, updates, count, error);
    }
    if (rc == 0) {
        rc = journaling_append(account->store, account, batch, updates, count, relaxed, error);
    }
    if (rc == 0 && pending->batch == NULL) {
        rc = object_batch_new(&pending->batch, account->objects, error);
    }
    if (rc < 0) {
        return rc;
    }
    pending->size += size;
    object_batch_take(pending->batch, batch);
    for (size_t i = 0; i < count; i++) {
        struct pending_ref *ref = g_hash_table_lookup(pending->refs, updates[i].name);

        if (ref != NULL) {
            ref->ours = updates[i].after;
        } else {
            put_ref(account, updates[i].name, &updates[i].before, &updates[i].after);
        }
    }
    return 0;
}

/* --- into git --- */

static int move_ref(struct account *account, const char *name, struct store_error *error)
{
    struct object_id ours;
    int rc = pending_tip(account, name, &ours, error);
    const struct pending_ref *ref = g_hash_table_lookup(account->pending.refs, name);

    if (ref == NULL) {
        return rc == STORE_NOT_FOUND ? 0 : rc;
    }
    /* Merging has made new objects. */
    if (rc == 0) {
        rc = write_pack(account, false, error);
    }
    if (rc == 0) {
        rc = refs_commit_lazily(account->refs, &(struct ref_update){name, ref->git, ref->ours},
                                error);
    }
    if (rc == 0) {
        g_hash_table_remove(account->pending.refs, name);
    }
    return rc;
}

/* Otherwise it is only that somebody holds the lock. */
static bool has_moved(struct account *account, const char *name)
{
    const struct pending_ref *ref = g_hash_table_lookup(account->pending.refs, name);
    struct store_error ignored;
    struct object_id now;

    return ref == NULL || refs_read(account->refs, name, &now, &ignored) < 0 ||
           !object_id_equal(&now, &ref->git);
}

/* Copies: moving one takes it away. */
static GPtrArray *ref_names(const struct account *account)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iterator;
    void *name;

    g_hash_table_iter_init(&iterator, account->pending.refs);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        g_ptr_array_add(names, g_strdup(name));
    }
    return names;
}

static int move_refs(struct account *account, struct store_error *error)
{
    g_autoptr(GPtrArray) names = ref_names(account);
    struct store_error one;
    int rc = 0;

    /* One that can't be moved does not stop the others. */
    for (guint i = 0; i < names->len; i++) {
        int moved = move_ref(account, names->pdata[i], &one);

        for (unsigned t = 1;
             t < MOVE_TRIES && moved == STORE_CONFLICT && has_moved(account, names->pdata[i]);
             t++) {
            moved = move_ref(account, names->pdata[i], &one);
        }
        if (moved < 0) {
            *error = one;
            rc = moved;
        }
    }
    return rc;
}

int pending_materialize(struct account *account, struct store_error *error)
{
    int rc = write_pack(account, false, error);

    if (rc == 0) {
        rc = move_refs(account, error);
    }
    if (rc == 0) {
        g_ptr_array_set_size(account->pending.packed, 0);
    }
    return rc;
}

/* --- into git, while changes go on --- */

bool pending_is_packing(const struct account *account)
{
    const struct packing *packing = account->pending.packing;

    return packing != NULL && packing->errand != NULL;
}

bool pending_is_packed(const struct account *account)
{
    return pending_is_packing(account) && errand_is_done(account->pending.packing->errand);
}

bool pending_has_objects(const struct account *account)
{
    return account->pending.batch != NULL || account->pending.packing != NULL;
}

bool pending_can_begin(const struct account *account)
{
    return account->pending.batch != NULL && account->pending.packing == NULL;
}

int pending_begin(struct account *account, struct errands *errands, struct store_error *error)
{
    struct pending_changes *pending = &account->pending;
    GHashTableIter iterator;
    void *value;
    int rc = journaling_settle(account->store, error);

    assert(pending_can_begin(account));
    if (rc < 0) {
        return rc;
    }
    struct packing *packing = g_new0(struct packing, 1);

    packing->batch = g_steal_pointer(&pending->batch);
    packing->next = store_written(account->store) + 1;
    packing->begun = account->host->now(account->host->data);
    pending->size = 0;
    pending->packing = packing;
    g_hash_table_iter_init(&iterator, pending->refs);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        struct pending_ref *ref = value;

        ref->packed = ref->ours;
    }
    /* A replay makes the same packs, whether this one will have been written or not. */
    journaling_note_packed(account->store, account);
    packing->errand = errand_post(errands, make_pack, packing);
    return 0;
}

/* A reference that was merged meanwhile is not on its way any more. */
static int move_packed(struct account *account, const char *name, struct store_error *error)
{
    struct pending_ref *ref = g_hash_table_lookup(account->pending.refs, name);
    int rc = 0;

    if (object_id_is_zero(&ref->packed)) {
        return 0;
    }
    if (!object_id_equal(&ref->git, &ref->packed)) {
        rc = refs_commit_lazily(account->refs, &(struct ref_update){name, ref->git, ref->packed},
                                error);
    }
    if (rc == 0) {
        ref->git = ref->packed;
        memset(&ref->packed, 0, sizeof(ref->packed));
        if (object_id_equal(&ref->git, &ref->ours)) {
            g_hash_table_remove(account->pending.refs, name);
        }
    }
    return rc;
}

int pending_finish(struct account *account, struct store_error *error)
{
    g_autoptr(GPtrArray) names = ref_names(account);
    uint64_t next = account->pending.packing->next;
    int64_t begun = account->pending.packing->begun;
    int rc = wait_for_pack(&account->pending, error);

    for (guint i = 0; i < names->len && rc == 0; i++) {
        rc = move_packed(account, names->pdata[i], error);
    }
    if (rc == 0) {
        g_ptr_array_set_size(account->pending.packed, 0);
        account->pending.not_before = 0;
        account->pending.oldest = next;
        account->pending.behind = begun;
    }
    return rc;
}

/* --- past the journal --- */

static bool depends(const struct account *account, const struct ref_update *update)
{
    return g_hash_table_contains(account->pending.refs, update->name) ||
           (g_str_has_prefix(update->name, HEADS_PREFIX) && !object_id_is_zero(&update->before) &&
            journaling_holds(account->store, account));
}

int pending_yield(struct account *account, const struct ref_update *updates, size_t count,
                  struct store_error *error)
{
    /* A merge comes after ours, so git needs ours with it; the journal may say ours until it is
     * forgotten. */
    if (account->pending.merging != NULL) {
        return write_pack(account, false, error);
    }
    for (size_t i = 0; i < count; i++) {
        if (depends(account, &updates[i])) {
            return journaling_flush(account->store, account, error);
        }
    }
    return 0;
}
