#include "store/internal/journaling.h"

#include <fcntl.h>

#include "store/internal/account_private.h"
#include "store/internal/errand.h"
#include "store/internal/journal_versions.h"
#include "store/internal/objects_private.h"
#include "store/internal/pack.h"
#include "store/internal/spool_private.h"
#include "store/internal/store_private.h"

struct journaling {
    struct store *store;
    struct journal *journal;
    struct store_journal settings;
    const struct host *host;
    int file_system;       /* a descriptor on it */
    GPtrArray *accounts;   /* struct account *, referenced: with pending changes */
    bool urgent;           /* something was appended that must not wait */
    int64_t relaxed_since; /* host.now() of the first that may; 0: none */
    struct delta_encoder encoder;
    uint64_t forgotten;         /* the last frame that was let go */
    GHashTable *frames;         /* char *user -> uint64_t *: the last one about the account */
    uint64_t target;            /* the last frame that the checkpoint under way covers */
    int64_t last;               /* host.now() of the last checkpoint */
    struct store_error trouble; /* of what is done between turns; code 0: none */
    struct errands *packs;      /* where packs are made; NULL: between turns, as all else is */
    struct errands *syncs;      /* the same for checkpoints' syncs */
    struct spooler spooler;
    bool is_draining;          /* a checkpoint waits until git has all before target */
    struct errand *checkpoint; /* the sync of the one under way; NULL: none */
};

/* --- appending --- */

static int64_t now_of(const struct journaling *journaling)
{
    return journaling->host->now(journaling->host->data);
}

size_t journaling_record_max(const struct store *store)
{
    return store->journaling != NULL ? journal_record_max(store->journaling->journal) : 0;
}

bool journaling_holds(const struct store *store, const struct account *account)
{
    return store->journaling != NULL &&
           g_hash_table_contains(store->journaling->frames, account->user);
}

/* What the journal gets of a batch: versions of metadata as deltas of the one before. The objects
 * keep these deltas: their pack, which may hold the same, needs them later. Only versions that the
 * journal will have for at least as long are built upon: those after the checkpoint that is under
 * way. */
static GArray *encode_objects(struct journaling *journaling, struct account *account,
                              const struct object_batch *batch)
{
    uint64_t frame = journal_written(journaling->journal) + 1;
    GArray *out = g_array_new(FALSE, FALSE, sizeof(struct record_object));
    struct pending_changes *changes = &account->pending;

    if (changes->versions != NULL &&
        journal_versions_count(changes->versions) >= JOURNAL_VERSIONS_MAX) {
        pending_forget_versions(changes);
    }
    if (changes->versions == NULL) {
        changes->versions = journal_versions_new();
    }
    for (guint i = 0; i < batch->order->len; i++) {
        struct pending *pending = g_ptr_array_index(batch->order, i);
        const struct pending *before =
            journal_versions_before(changes->versions, pending, journaling->target);
        struct record_object object = {
            .type = pending->type, .data = pending->data, .length = pending->length};
        g_autoptr(GByteArray) delta = g_byte_array_new();

        g_clear_pointer(&pending->delta, g_byte_array_unref);
        if (before != NULL &&
            delta_encode(&journaling->encoder, before->data, before->length, pending->data,
                         pending->length, pending->length / 2, delta)) {
            object.is_delta = true;
            object.base = before->id;
            object.data = delta->data;
            object.length = delta->len;
            pending->delta = g_steal_pointer(&delta);
            pending->delta_base = before->id;
        }
        g_array_append_val(out, object);
        journal_versions_note(changes->versions, pending, frame);
    }
    return out;
}

static int append_record(struct journaling *journaling, enum record_kind kind,
                         struct account *account, const GArray *objects,
                         const struct ref_update *updates, size_t update_count,
                         struct store_error *error)
{
    guint count = objects != NULL ? objects->len : 0;
    GByteArray *head = g_byte_array_new();
    struct journal_piece *pieces = g_new(struct journal_piece, count + 1);

    record_encode(head, kind, account->user, updates, update_count, objects);
    pieces[0] = (struct journal_piece){head->data, head->len};
    for (guint i = 0; i < count; i++) {
        const struct record_object *object = &g_array_index(objects, struct record_object, i);

        pieces[i + 1] = (struct journal_piece){object->data, object->length};
    }
    int rc = journal_append(journaling->journal, pieces, count + 1, error);

    g_free(pieces);
    g_byte_array_unref(head);
    /* A note alone is nothing that a replay would need. */
    if (rc == 0 && kind != RECORD_PACKED) {
        uint64_t frame = journal_written(journaling->journal) + 1;

        g_hash_table_replace(journaling->frames, g_strdup(account->user),
                             g_memdup2(&frame, sizeof(frame)));
    }
    return rc;
}

static int append(struct journaling *journaling, enum record_kind kind, struct account *account,
                  const struct object_batch *batch, const struct ref_update *updates, size_t count,
                  struct store_error *error)
{
    g_autoptr(GArray) objects = batch != NULL ? encode_objects(journaling, account, batch) : NULL;
    int rc = append_record(journaling, kind, account, objects, updates, count, error);

    if (rc < 0) {
        pending_forget_versions(&account->pending);
    }
    return rc;
}

static int append_note(struct journaling *journaling, enum record_kind kind,
                       struct account *account, struct store_error *error)
{
    return append(journaling, kind, account, NULL, NULL, 0, error);
}

void journaling_note_packed(struct store *store, struct account *account)
{
    struct store_error ignored;

    /* JOURNAL_RESERVE has room for it. */
    if (store->journaling != NULL) {
        append_note(store->journaling, RECORD_PACKED, account, &ignored);
    }
}

static void mark(struct journaling *journaling, bool relaxed)
{
    if (!relaxed || journaling->settings.relaxed == 0) {
        journaling->urgent = true;
    } else if (journaling->relaxed_since == 0) {
        journaling->relaxed_since = now_of(journaling);
    }
}

static void remember_account(struct journaling *journaling, struct account *account)
{
    if (!g_ptr_array_find(journaling->accounts, account, NULL)) {
        account->pending.since = now_of(journaling);
        account->pending.behind = account->pending.since;
        account->pending.oldest = journal_written(journaling->journal) + 1;
        g_ptr_array_add(journaling->accounts, account_ref(account));
    }
}

int journaling_append(struct store *store, struct account *account,
                      const struct object_batch *batch, const struct ref_update *updates,
                      size_t count, bool relaxed, struct store_error *error)
{
    struct journaling *journaling = store->journaling;
    int rc = append(journaling, RECORD_CHANGE, account, batch, updates, count, error);

    if (rc == STORE_LIMIT) {
        return store_error_set(error, STORE_NO_SPACE, "the journal is full");
    }
    if (rc == 0) {
        mark(journaling, relaxed);
        remember_account(journaling, account);
    }
    return rc;
}

/* --- making durable --- */

static int sync_now(struct journaling *journaling, struct store_error *error)
{
    if (!journaling->urgent && journaling->relaxed_since == 0) {
        return 0;
    }
    /* What the changes follow may have gone past the journal. */
    int rc = store_sync_references(journaling->store, error);
    if (rc == 0) {
        rc = journal_sync(journaling->journal, error);
    }
    if (rc == 0) {
        journaling->urgent = false;
        journaling->relaxed_since = 0;
    }
    return rc;
}

static bool relaxed_is_over(const struct journaling *journaling, int64_t now)
{
    return journaling->relaxed_since != 0 &&
           (now < journaling->relaxed_since ||
            now - journaling->relaxed_since >= journaling->settings.relaxed);
}

bool journaling_is_sync_due(const struct journaling *journaling)
{
    return journaling->urgent || relaxed_is_over(journaling, now_of(journaling));
}

int journaling_sync(struct journaling *journaling, struct store_error *error)
{
    return journaling_is_sync_due(journaling) ? sync_now(journaling, error) : 0;
}

int journaling_settle(struct store *store, struct store_error *error)
{
    return store->journaling != NULL ? sync_now(store->journaling, error) : 0;
}

/* --- into git --- */

/* Takes the accounts off the list that have nothing pending any more. */
static void forget_accounts(struct journaling *journaling)
{
    for (guint i = journaling->accounts->len; i > 0; i--) {
        struct account *account = g_ptr_array_index(journaling->accounts, i - 1);

        if (!pending_any(account)) {
            pending_forget_versions(&account->pending);
            g_ptr_array_remove_index(journaling->accounts, i - 1);
            account_unref(account);
        }
    }
}

static int64_t age_allowed(const struct journaling *journaling, const struct account *account,
                           bool idle)
{
    if (idle) {
        return MATERIALIZE_SOON;
    }
    return journaling->accounts->len <= LIGHT_ACCOUNTS && account->pending.size <= LIGHT_SIZE
               ? MATERIALIZE_LIGHT
               : MATERIALIZE_LATE;
}

static bool is_due(const struct journaling *journaling, const struct account *account, int64_t now,
                   bool idle)
{
    int64_t allowed = age_allowed(journaling, account, idle);
    int64_t age = now - account->pending.since;
    int64_t wait = account->pending.not_before - now;

    if (wait > 0 && wait <= MATERIALIZE_AGAIN) {
        return false;
    }
    return age < 0 || age >= allowed || account->pending.size >= PENDING_SIZE_MAX;
}

static int materialize_one(struct journaling *journaling, struct account *account,
                           struct store_error *error)
{
    int rc = pending_materialize(account, error);

    account->pending.since = now_of(journaling);
    account->pending.not_before = rc < 0 ? account->pending.since + MATERIALIZE_AGAIN : 0;
    return rc;
}

/* Lets another thread make the pack. Whoever gets changes faster than that waits for it. */
static int begin_one(struct journaling *journaling, struct account *account,
                     struct store_error *error)
{
    if (pending_is_packing(account) && account->pending.size < 2 * PENDING_SIZE_MAX) {
        return 0;
    }
    if (!pending_can_begin(account)) {
        return materialize_one(journaling, account, error);
    }
    account->pending.since = now_of(journaling);
    return pending_begin(account, journaling->packs, error);
}

/* Those that are due; all of them: with a time at the end of all days. Those left when the slice
 * (microseconds) is over are still due. */
static int materialize(struct journaling *journaling, int64_t now, bool idle, int64_t slice,
                       struct store_error *error)
{
    bool beside = journaling->packs != NULL && !idle && slice < INT64_MAX;
    struct store_error one;
    int rc = 0;

    for (guint i = 0; i < journaling->accounts->len; i++) {
        struct account *account = g_ptr_array_index(journaling->accounts, i);

        if (!is_due(journaling, account, now, idle)) {
            continue;
        }
        int result = beside ? begin_one(journaling, account, &one)
                            : materialize_one(journaling, account, &one);

        if (result < 0) {
            *error = one;
            rc = result;
        }
        if (now_of(journaling) - now >= slice) {
            break;
        }
    }
    forget_accounts(journaling);
    return rc;
}

/* Goes on with those whose packs are there. */
static int finish_packed(struct journaling *journaling, int64_t now, int64_t slice,
                         struct store_error *error)
{
    struct store_error one;
    int rc = 0;

    for (guint i = 0; i < journaling->accounts->len; i++) {
        struct account *account = g_ptr_array_index(journaling->accounts, i);

        if (!pending_is_packed(account)) {
            continue;
        }
        /* What others did to a branch is merged with all that there is. */
        int result =
            pending_finish(account, &one) < 0 ? materialize_one(journaling, account, &one) : 0;

        if (result < 0) {
            *error = one;
            rc = result;
        }
        if (now_of(journaling) - now >= slice) {
            break;
        }
    }
    return rc;
}

int journaling_materialize(struct store *store, struct account *account, struct store_error *error)
{
    struct journaling *journaling = store->journaling;

    if (journaling == NULL || !pending_any(account)) {
        return 0;
    }
    int rc = materialize_one(journaling, account, error);

    forget_accounts(journaling);
    return rc;
}

/* --- checkpoints --- */

/* References that can't be moved now are said again, so that the journal may forget all before. */
static int say_again(struct journaling *journaling, struct store_error *error)
{
    for (guint i = 0; i < journaling->accounts->len; i++) {
        struct account *account = g_ptr_array_index(journaling->accounts, i);
        g_autoptr(GArray) updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update));

        if (pending_has_objects(account)) {
            return store_error_set(error, STORE_NO_SPACE, "objects of %s are in no pack",
                                   account->user);
        }
        pending_updates(account, updates);
        int rc =
            append(journaling, RECORD_CHANGE, account, NULL,
                   (const struct ref_update *)(const void *)updates->data, updates->len, error);
        if (rc < 0) {
            return rc;
        }
        journaling->urgent = true;
        account->pending.oldest = journal_written(journaling->journal) + 1;
    }
    return sync_now(journaling, error);
}

/* Everything up to target is in git, if not yet durable. */
static int prepare(struct journaling *journaling, struct store_error *error)
{
    int rc = sync_now(journaling, error);

    if (rc == 0) {
        /* What stays behind is said again; what it was stopped by shows there. */
        materialize(journaling, INT64_MAX, false, INT64_MAX, error);
        journaling->target = journal_written(journaling->journal);
        rc = say_again(journaling, error);
    }
    return rc;
}

static gboolean is_forgotten(void *user, void *frame, void *forgotten)
{
    (void)user;
    return *(const uint64_t *)frame <= *(const uint64_t *)forgotten;
}

/* synced: what the sync of the file system has come to. */
static int finish(struct journaling *journaling, int synced, struct store_error *error)
{
    journaling->last = now_of(journaling);
    int rc =
        synced == 0 ? journal_checkpoint(journaling->journal, journaling->target, error) : synced;
    if (rc == 0) {
        journaling->forgotten = journaling->target;
        g_hash_table_foreach_remove(journaling->frames, is_forgotten, &journaling->forgotten);
    }
    return rc;
}

static int sync_file_system(void *data, struct store_error *error)
{
    const struct journaling *journaling = data;
    int result = journaling->host->syncfs(journaling->host->data, journaling->file_system);

    return result < 0 ? host_fail(error, result, "syncing the file system") : 0;
}

/* Finishes the checkpoint under way, if its sync is over or wait says so. */
static int collect(struct journaling *journaling, bool wait, struct store_error *error)
{
    if (journaling->checkpoint == NULL || (!wait && !errand_is_done(journaling->checkpoint))) {
        return 0;
    }
    int rc = errand_wait(g_steal_pointer(&journaling->checkpoint), error);

    return finish(journaling, rc, error);
}

int journaling_checkpoint(struct journaling *journaling, struct store_error *error)
{
    struct store_error ignored;

    collect(journaling, true, &ignored);
    journaling->is_draining = false;
    int rc = prepare(journaling, error);
    return rc < 0 ? rc : finish(journaling, sync_file_system(journaling, error), error);
}

int journaling_wipe(struct journaling *journaling, struct store_error *error)
{
    int rc = journaling_checkpoint(journaling, error);

    return rc == 0 ? journal_wipe(journaling->journal, error) : rc;
}

static void sync_beside(struct journaling *journaling)
{
    journaling->is_draining = false;
    journaling->checkpoint = errand_post(journaling->syncs, sync_file_system, journaling);
}

/* Lets packs be made of what the checkpoint covers, and goes on when all of them are there. Who
 * can't be waited for holds it up no longer than DRAIN_MAX. */
static int drain(struct journaling *journaling, int64_t now, struct store_error *error)
{
    int64_t age = now - journaling->last;
    bool left = false;
    int rc = 0;

    for (guint i = 0; i < journaling->accounts->len && rc == 0; i++) {
        struct account *account = g_ptr_array_index(journaling->accounts, i);

        if (account->pending.oldest <= journaling->target && pending_any(account)) {
            left = true;
            rc = pending_is_packing(account) ? 0 : begin_one(journaling, account, error);
        }
    }
    if (left && (rc < 0 || age < 0 || age >= DRAIN_MAX)) {
        rc = prepare(journaling, error);
        left = false;
    }
    if (rc == 0 && !left) {
        sync_beside(journaling);
    }
    journaling->is_draining = rc == 0 && left;
    return rc;
}

static int start_checkpoint(struct journaling *journaling, struct store_error *error)
{
    int rc = journaling->syncs == NULL ? journaling_checkpoint(journaling, error)
                                       : sync_now(journaling, error);

    journaling->last = now_of(journaling);
    if (rc == 0 && journaling->syncs != NULL) {
        journaling->target = journal_written(journaling->journal);
        rc = drain(journaling, journaling->last, error);
    }
    return rc;
}

/* Whether a replay would find a frame that was not let go. */
static bool holds_anything(const struct journaling *journaling)
{
    return journal_written(journaling->journal) > journaling->forgotten;
}

static bool is_checkpoint_due(const struct journaling *journaling, int64_t now)
{
    int64_t age = now - journaling->last;
    bool full = journal_used(journaling->journal) >
                journal_room(journaling->journal) / (CHECKPOINT_FRACTION - 1);

    /* One that has just failed, on a full disk perhaps, is not tried with every turn. */
    return holds_anything(journaling) &&
           (age < 0 || age >= CHECKPOINT_EVERY ||
            (full && (journaling->trouble.code == STORE_OK || age >= MATERIALIZE_AGAIN)));
}

int journaling_make_room(struct store *store, uint64_t size, struct store_error *error)
{
    struct journaling *journaling = store->journaling;
    struct journal *journal = journaling->journal;
    uint64_t wanted = size + JOURNAL_RESERVE;
    int rc = 0;

    if (journal_room(journal) < wanted + journal_waiting(journal)) {
        rc = collect(journaling, true, error);
    }
    if (rc == 0 && journal_room(journal) < wanted + journal_waiting(journal)) {
        rc = journaling_checkpoint(journaling, error);
    }
    if (rc == 0 && journal_room(journal) < wanted + journal_waiting(journal)) {
        rc = store_error_set(error, STORE_NO_SPACE, "the journal is full");
    }
    return rc;
}

int journaling_flush(struct store *store, struct account *account, struct store_error *error)
{
    struct journaling *journaling = store->journaling;
    int rc = pending_materialize(account, error);

    if (rc == 0 && journaling != NULL && journaling_holds(store, account)) {
        rc = sync_file_system(journaling, error);
        if (rc == 0) {
            rc = append_note(journaling, RECORD_DONE, account, error);
        }
        if (rc == 0) {
            rc = journal_sync(journaling->journal, error);
        }
        if (rc == 0) {
            g_hash_table_remove(journaling->frames, account->user);
        }
    }
    if (rc == 0 && journaling != NULL) {
        forget_accounts(journaling);
    }
    return rc;
}

/* --- what is due --- */

static int64_t next_time(struct journaling *journaling)
{
    int64_t next = INT64_MAX;

    for (guint i = 0; i < journaling->accounts->len; i++) {
        const struct account *account = g_ptr_array_index(journaling->accounts, i);

        next =
            MIN(next, MAX(account->pending.since + MATERIALIZE_SOON, account->pending.not_before));
    }
    if (journaling->relaxed_since != 0) {
        next = MIN(next, journaling->relaxed_since + journaling->settings.relaxed);
    }
    if (holds_anything(journaling)) {
        /* The thread wakes nobody: its end is looked for. */
        next = MIN(next, journaling->checkpoint != NULL || journaling->is_draining
                             ? now_of(journaling) + MATERIALIZE_SOON
                             : journaling->last + CHECKPOINT_EVERY);
    }
    return next;
}

static bool is_trouble_left(const struct journaling *journaling)
{
    for (guint i = 0; i < journaling->accounts->len; i++) {
        const struct account *account = g_ptr_array_index(journaling->accounts, i);

        if (account->pending.not_before != 0) {
            return true;
        }
    }
    return false;
}

int64_t journaling_work(struct journaling *journaling, bool idle)
{
    struct store_error error = {.code = STORE_OK};
    int64_t now = now_of(journaling);
    bool tried = false;
    int rc = collect(journaling, false, &error);

    if (rc == 0 && relaxed_is_over(journaling, now)) {
        rc = sync_now(journaling, &error);
        tried = true;
    }
    if (rc == 0 && journaling->accounts->len > 0) {
        rc = finish_packed(journaling, now, MATERIALIZE_SLICE, &error);
        tried = true;
    }
    if (rc == 0 && journaling->accounts->len > 0) {
        rc = materialize(journaling, now, idle, MATERIALIZE_SLICE, &error);
    }
    if (journaling->is_draining ||
        (is_checkpoint_due(journaling, now) && journaling->checkpoint == NULL)) {
        int result = journaling->is_draining ? drain(journaling, now, &error)
                                             : start_checkpoint(journaling, &error);

        rc = rc < 0 ? rc : result;
        tried = true;
    }
    if (rc < 0) {
        journaling->trouble = error;
    } else if (tried && !is_trouble_left(journaling)) {
        journaling->trouble.code = STORE_OK;
    }
    return next_time(journaling);
}

const struct store_error *journaling_trouble(const struct journaling *journaling)
{
    return journaling->trouble.code != STORE_OK ? &journaling->trouble : NULL;
}

uint64_t journaling_written(const struct journaling *journaling)
{
    return journal_written(journaling->journal);
}

void journaling_figures(const struct journaling *journaling, struct store_figures *out)
{
    out->journal_size = journal_size(journaling->journal);
    out->journal_used = journal_used(journaling->journal);
    out->waiting = journaling->accounts->len;
    out->waiting_since = 0;
    for (guint i = 0; i < journaling->accounts->len; i++) {
        const struct account *account = g_ptr_array_index(journaling->accounts, i);

        if (out->waiting_since == 0 || account->pending.behind < out->waiting_since) {
            out->waiting_since = account->pending.behind;
        }
    }
    out->checkpoint = journaling->last;
    out->trouble = journaling->trouble.code;
}

/* --- beginning and end --- */

static int start_threads(struct journaling *journaling, struct store_error *error)
{
    int rc = errands_new(&journaling->syncs, error);

    return rc == 0 ? errands_new(&journaling->packs, error) : rc;
}

struct spooler *journaling_spooler(const struct store *store)
{
    struct journaling *journaling = store->journaling;

    return journaling != NULL && journaling->settings.background ? &journaling->spooler : NULL;
}

int journaling_new(struct journaling **out, struct store *store, struct journal *journal,
                   const struct store_journal *settings, struct store_error *error)
{
    struct journaling *journaling = g_new0(struct journaling, 1);
    const struct host *host = store->host;
    int rc;

    journaling->store = store;
    journaling->journal = journal;
    journaling->settings = *settings;
    journaling->host = host;
    journaling->accounts = g_ptr_array_new();
    journaling->frames = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    journaling->forgotten = journal_written(journal);
    journaling->last = now_of(journaling);
    journaling->file_system = host->open(host->data, store->mail, O_RDONLY | O_DIRECTORY, 0);
    rc = journaling->file_system < 0
             ? host_fail(error, journaling->file_system, "opening the mail directory")
             : 0;
    if (rc == 0 && settings->background) {
        rc = start_threads(journaling, error);
    }
    if (rc < 0) {
        journaling_free(journaling);
        return rc;
    }
    *out = journaling;
    return 0;
}

void journaling_free(struct journaling *journaling)
{
    const struct host *host;
    struct store_error ignored;

    if (journaling == NULL) {
        return;
    }
    host = journaling->host;
    /* Also what could have waited. */
    sync_now(journaling, &ignored);
    if (journaling->file_system >= 0 && holds_anything(journaling)) {
        journaling_checkpoint(journaling, &ignored);
    }
    while (journaling->accounts->len > 0) {
        struct account *account =
            g_ptr_array_steal_index(journaling->accounts, journaling->accounts->len - 1);

        pending_release(&account->pending);
        pending_init(&account->pending);
        account_unref(account);
    }
    collect(journaling, true, &ignored);
    errands_free(journaling->packs);
    errands_free(journaling->syncs);
    spooler_release(&journaling->spooler);
    if (journaling->file_system >= 0) {
        host->close(host->data, journaling->file_system);
    }
    journal_close(journaling->journal);
    g_ptr_array_unref(journaling->accounts);
    g_hash_table_unref(journaling->frames);
    delta_encoder_release(&journaling->encoder);
    g_free(journaling);
}
