/* Somebody moved a branch in git while changes of ours, already acknowledged, were on their way to
 * it. Both are kept: what the other did since the last state that both know is done again on top
 * of ours, under IMAP's promises (fresh UIDs, a higher MODSEQ), in a commit with both as parents.
 * Where the branch has another UIDVALIDITY by now (takeover.c) it is the other way round: what we
 * did is done again on top of the other's.
 */
#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/purge_record.h"
#include "store/internal/snapshot_load.h"

struct merge {
    const struct snapshot *ours; /* on top of which the commit comes */
    const struct snapshot *theirs;
    struct snapshot_builder *builder;
    GArray *arrived; /* struct message */
    bool purged;     /* theirs is what a purge has made of the state that both know */
    bool renewed;    /* ours is what stands in git, with another UIDVALIDITY, and theirs is ours */
};

static uint64_t apply_bits(uint64_t ours, uint64_t before, uint64_t after)
{
    return (ours & ~(before & ~after)) | (after & ~before);
}

/* Theirs was loaded so that the keywords of ours have the same bits; it may have more. One too many
 * for the mailbox is left out. */
static uint64_t map_keywords(struct merge *merge, uint64_t bits)
{
    size_t known = snapshot_keyword_count(merge->ours);
    uint64_t out = 0;

    for (size_t i = 0; bits != 0; i++, bits >>= 1) {
        struct store_error ignored;
        size_t index = i;

        if ((bits & 1) != 0 && (i < known || snapshot_builder_keyword(
                                                 merge->builder, snapshot_keyword(merge->theirs, i),
                                                 &index, &ignored) == 0)) {
            out |= UINT64_C(1) << index;
        }
    }
    return out;
}

static bool have(const struct merge *merge, const struct message *message, struct message *own)
{
    return snapshot_builder_find(merge->builder, message->uid, own) &&
           object_id_equal(&own->blob, &message->blob);
}

static void take_over(const struct message *before, const struct message *after, size_t index,
                      void *data)
{
    struct merge *merge = data;
    bool same = before != NULL && after != NULL && object_id_equal(&before->blob, &after->blob);
    struct message own;

    (void)index;
    if (same && have(merge, after, &own)) {
        uint8_t flags = (uint8_t)apply_bits(own.flags, before->flags, after->flags);
        uint64_t keywords = apply_bits(own.keywords, map_keywords(merge, before->keywords),
                                       map_keywords(merge, after->keywords));

        if (flags != own.flags || keywords != own.keywords) {
            snapshot_builder_set_flags(merge->builder, own.uid, flags, keywords);
        }
    }
    if (same) {
        return;
    }
    if (before != NULL && have(merge, before, &own)) {
        snapshot_builder_remove(merge->builder, own.uid);
    }
    if (after != NULL && !have(merge, after, &own)) {
        g_array_append_val(merge->arrived, *after);
    }
}

static int add_arrived(struct merge *merge, struct store_error *error)
{
    if (snapshot_builder_room(merge->builder) < merge->arrived->len) {
        return store_error_set(error, STORE_LIMIT, "the mailbox has no UIDs left");
    }
    for (guint i = 0; i < merge->arrived->len; i++) {
        struct message message = g_array_index(merge->arrived, struct message, i);

        message.keywords = map_keywords(merge, message.keywords);
        snapshot_builder_append(merge->builder, &message);
    }
    return 0;
}

/* Without base there is no telling what they did: then it stays in the history only. */
static int build(struct merge *merge, const struct snapshot *base, struct store_error *error)
{
    const struct snapshot *theirs = merge->theirs;

    if (theirs == NULL || base == NULL) {
        return 0;
    }
    /* Under another UIDVALIDITY it means nothing how far UIDs had come. */
    if (!merge->renewed) {
        merge->builder->uid_next = MAX(merge->builder->uid_next, theirs->uid_next);
    }
    merge->builder->modseq =
        MAX(merge->ours->highest_modseq, theirs->highest_modseq) + (merge->purged ? 2 : 1);
    snapshot_walk_both(base, theirs, take_over, merge);
    return add_arrived(merge, error);
}

static int commit(struct account *account, const char *ref, const struct merge *merge,
                  const struct object_id *ours, const struct object_id *outside,
                  struct store_error *error)
{
    struct origin origin = {.time = account->host->now(account->host->data)};
    struct transaction transaction;
    struct snapshot *after;
    int rc = transaction_begin(&transaction, account, &origin, error);

    /* Behind ours is the history that must be forgotten: it is left, with a gap in the MODSEQs. */
    if (rc == 0) {
        transaction.other = merge->purged ? NULL : merge->renewed ? ours : outside;
        rc = transaction_write(&transaction, merge->builder,
                               merge->purged || merge->renewed ? outside : ours,
                               "RECONCILE a change from outside", &after, error);
    }
    if (rc == 0) {
        transaction_move(&transaction, ref, outside, &after->commit);
        snapshot_unref(after);
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    return rc;
}

/* Whether a purge has moved the branch from base. */
static bool was_purged(struct account *account, const struct object_id *base)
{
    g_autoptr(GPtrArray) records = NULL;
    struct object_id id = *base;
    struct store_error ignored;

    return purge_records_read(&records, account->objects, account->refs, &ignored) == 0 &&
           purge_records_follow(records, &id);
}

static bool is_unreadable(int rc)
{
    return rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED || rc == STORE_NOT_FOUND;
}

/* What can't be read as a mailbox is no reason to lose ours: *out is NULL then. */
static int load(struct snapshot **out, struct account *account, const struct object_id *commit,
                const struct snapshot *known, struct store_error *error)
{
    bool moved;
    int rc = snapshot_load(out, &moved, account->objects, commit, known, error);

    if (is_unreadable(rc)) {
        *out = NULL;
        return 0;
    }
    return rc;
}

static bool is_other(const struct snapshot *ours, const struct snapshot *theirs)
{
    return theirs != NULL && strcmp(theirs->mailbox_id, ours->mailbox_id) != 0;
}

static bool is_renewed(const struct snapshot *ours, const struct snapshot *theirs)
{
    return theirs != NULL && theirs->uid_validity != ours->uid_validity;
}

/* Loads all three: the keywords of the one that the commit comes on top of keep their places. */
static int load_all(struct snapshot **own, struct snapshot **theirs, struct snapshot **before,
                    struct account *account, const struct object_id *base,
                    const struct object_id *ours, const struct object_id *outside,
                    struct store_error *error)
{
    bool moved;
    int rc = snapshot_load(own, &moved, account->objects, ours, NULL, error);

    if (rc == 0) {
        rc = load(theirs, account, outside, *own, error);
    }
    if (rc < 0 || !is_renewed(*own, *theirs)) {
        return rc < 0 ? rc : load(before, account, base, *own, error);
    }
    g_clear_pointer(theirs, snapshot_unref);
    rc = snapshot_load(theirs, &moved, account->objects, outside, NULL, error);
    g_clear_pointer(own, snapshot_unref);
    if (rc == 0) {
        rc = snapshot_load(own, &moved, account->objects, ours, *theirs, error);
    }
    return rc < 0 ? rc : load(before, account, base, *theirs, error);
}

static int merge_states(struct account *account, const char *ref, struct merge *merge,
                        const struct snapshot *before, const struct object_id *ours,
                        const struct object_id *outside, struct store_error *error)
{
    int rc;

    merge->builder = snapshot_builder_new(merge->ours);
    merge->arrived = g_array_new(FALSE, FALSE, sizeof(struct message));
    rc = build(merge, before, error);
    if (rc == 0) {
        rc = commit(account, ref, merge, ours, outside, error);
    }
    g_array_unref(merge->arrived);
    snapshot_builder_free(merge->builder);
    return rc;
}

int mailbox_merge(struct account *account, const char *ref, const struct object_id *base,
                  const struct object_id *ours, const struct object_id *outside, bool *other,
                  struct store_error *error)
{
    struct snapshot *own = NULL;
    struct snapshot *before = NULL;
    struct snapshot *theirs = NULL;
    int rc = load_all(&own, &theirs, &before, account, base, ours, outside, error);

    *other = rc == 0 && (is_other(own, theirs) || (is_renewed(own, theirs) && before == NULL));
    if (rc == 0 && !*other) {
        struct merge merge = {.ours = own, .theirs = theirs, .renewed = is_renewed(own, theirs)};

        if (merge.renewed) {
            merge.ours = theirs;
            merge.theirs = own;
        } else {
            merge.purged = theirs != NULL && before != NULL && was_purged(account, base);
        }
        rc = merge_states(account, ref, &merge, before, ours, outside, error);
    }
    snapshot_unref(before);
    snapshot_unref(theirs);
    snapshot_unref(own);
    return rc;
}
