/* What others did to a branch while we knew an earlier state of it. IMAP's promises hold whatever
 * happened: UIDs ascend and never name another message, UIDNEXT and MODSEQs never fall. A commit
 * that keeps them is served as it is; on top of any other comes a commit that restores them.
 */
#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/lineage.h"
#include "store/internal/snapshot_load.h"

enum { LINEAGE_LOOK_MAX = 4096 }; /* commits between a known state and what others made of it */

struct findings {
    const struct snapshot *known;
    GArray *renumber; /* UIDs of loaded that must not stand under them */
    GArray *touch;    /* UIDs of loaded that changed without a higher MODSEQ */
    bool differs;
    bool follows; /* known is in the history of loaded, without a gap in the MODSEQs between */
};

static void look_at(const struct message *known, const struct message *loaded, size_t index,
                    void *data)
{
    struct findings *findings = data;

    (void)index;
    if (loaded == NULL) {
        findings->differs = true;
        return;
    }
    if (known == NULL || !object_id_equal(&known->blob, &loaded->blob)) {
        findings->differs = true;
        if (loaded->uid < findings->known->uid_next) {
            g_array_append_val(findings->renumber, loaded->uid);
        } else if (loaded->modseq <= findings->known->highest_modseq) {
            g_array_append_val(findings->touch, loaded->uid);
        }
        return;
    }
    if (known->modseq == loaded->modseq && known->flags == loaded->flags &&
        known->keywords == loaded->keywords && known->size == loaded->size &&
        known->internal_date == loaded->internal_date && known->zone == loaded->zone) {
        return;
    }
    findings->differs = true;
    if (loaded->modseq <= findings->known->highest_modseq) {
        g_array_append_val(findings->touch, loaded->uid);
    }
}

/* The state that restores the promises. Where known is not in its history the MODSEQs have a gap,
 * so that nobody takes that history for what clients were told. */
static struct snapshot_builder *mend(const struct findings *findings, const struct snapshot *loaded)
{
    const struct snapshot *known = findings->known;
    struct snapshot_builder *builder = snapshot_builder_new(loaded);

    builder->uid_next = MAX(known->uid_next, loaded->uid_next);
    builder->modseq =
        MAX(known->highest_modseq, loaded->highest_modseq) + (findings->follows ? 1 : 2);
    for (guint i = 0; i < findings->touch->len; i++) {
        snapshot_builder_touch(builder, g_array_index(findings->touch, uint32_t, i));
    }
    for (guint i = 0; i < findings->renumber->len; i++) {
        uint32_t uid = g_array_index(findings->renumber, uint32_t, i);
        struct message message;
        bool found = snapshot_builder_find(builder, uid, &message);

        g_assert(found);
        snapshot_builder_remove(builder, uid);
        snapshot_builder_append(builder, &message);
    }
    return builder;
}

static int commit_mended(struct mailbox *mailbox, const struct snapshot *loaded,
                         const struct findings *findings, struct store_error *error)
{
    struct account *account = mailbox->account;
    struct origin origin = {.time = account->host->now(account->host->data)};
    struct snapshot_builder *builder;
    struct snapshot *after;
    struct transaction transaction;
    int rc = transaction_begin(&transaction, account, &origin, error);

    if (rc < 0) {
        transaction_end(&transaction);
        return rc;
    }
    builder = mend(findings, loaded);
    rc = transaction_write(&transaction, builder, &loaded->commit,
                           "RECONCILE a change from outside", &after, error);
    if (rc == 0) {
        transaction_move(&transaction, mailbox->ref, &loaded->commit, &after->commit);
        rc = transaction_commit(&transaction, error);
        if (rc == 0) {
            mailbox_adopt(mailbox, after);
        } else {
            snapshot_unref(after);
        }
    }
    transaction_end(&transaction);
    snapshot_builder_free(builder);
    return rc;
}

static bool keeps_promises(const struct findings *findings, const struct snapshot *loaded,
                           bool keywords_moved)
{
    const struct snapshot *known = findings->known;

    return findings->renumber->len == 0 && findings->touch->len == 0 && !keywords_moved &&
           findings->follows && loaded->uid_next >= known->uid_next &&
           (loaded->highest_modseq > known->highest_modseq ||
            (loaded->highest_modseq == known->highest_modseq && !findings->differs));
}

static int room_to_mend(const struct findings *findings, const struct snapshot *loaded,
                        struct store_error *error)
{
    uint32_t next = MAX(findings->known->uid_next, loaded->uid_next);

    if (findings->renumber->len > (uint64_t)MESSAGE_UID_MAX + 1 - next) {
        return store_error_set(error, STORE_CORRUPT,
                               "a change from outside needs more UIDs than are left");
    }
    return 0;
}

/* Whoever opens the mailbox next finds what is there now. */
static int let_go(struct mailbox *mailbox)
{
    mailbox_remember(mailbox);
    mailbox_detach(mailbox);
    return 0;
}

int mailbox_reconcile(struct mailbox *mailbox, const struct object_id *tip,
                      struct store_error *error)
{
    struct findings findings = {.known = mailbox->snapshot};
    struct snapshot *loaded;
    bool keywords_moved;
    int rc = snapshot_load(&loaded, &keywords_moved, mailbox->account->objects, tip,
                           mailbox->snapshot, error);

    if (rc < 0) {
        return rc;
    }
    if (loaded->uid_validity != findings.known->uid_validity ||
        strcmp(loaded->mailbox_id, findings.known->mailbox_id) != 0) {
        snapshot_unref(loaded);
        return let_go(mailbox);
    }
    findings.renumber = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    findings.touch = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    snapshot_walk_both(findings.known, loaded, look_at, &findings);
    findings.follows =
        lineage_leads(mailbox->account->objects, loaded, findings.known, LINEAGE_LOOK_MAX);
    if (mailbox->losses != account_losses(mailbox->account)) {
        /* What was known is made up in part: it says nothing of what became of it. */
        snapshot_unref(loaded);
        rc = let_go(mailbox);
    } else if (keeps_promises(&findings, loaded, keywords_moved)) {
        mailbox_adopt(mailbox, loaded);
    } else {
        rc = room_to_mend(&findings, loaded, error);
        if (rc == 0) {
            rc = commit_mended(mailbox, loaded, &findings, error);
        }
        snapshot_unref(loaded);
    }
    g_array_unref(findings.renumber);
    g_array_unref(findings.touch);
    return rc;
}
