#include <inttypes.h>
#include <string.h>

#include "store/internal/checkpoint.h"
#include "store/internal/commit.h"
#include "store/internal/findings.h"
#include "store/internal/objects.h"
#include "store/internal/purge_record.h"
#include "store/internal/reachable.h"
#include "store/internal/refs.h"
#include "store/internal/shallow.h"
#include "store/internal/ssh_key.h"
#include "store/internal/text.h"
#include "store/signing.h"

struct verifier {
    const GPtrArray *keys;
    struct findings findings;
    struct checkpoint_report *out;
    struct objects *objects;
    struct refs *refs;
    struct id_set boundary;
    struct id_set history; /* all commits that references reach; other objects that they name */
    int64_t boundary_time; /* of the youngest commit of the boundary; INT64_MIN: none */
    GPtrArray *purges;     /* GHashTable *: object_id -> object_id, oldest first */
    const struct observer *observer; /* may be NULL */
};

/* --- the history of today --- */

/* What is no commit is there as well. */
static int walk(struct verifier *verifier, const struct object_id *tip, struct store_error *error)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    int rc = 0;

    g_array_append_val(stack, *tip);
    while (rc == 0 && stack->len > 0) {
        struct object_id id = g_array_index(stack, struct object_id, stack->len - 1);
        struct object_data data;
        struct commit commit;
        struct store_error ignored;

        g_array_set_size(stack, stack->len - 1);
        if (!id_set_add(&verifier->history, &id) ||
            objects_read(verifier->objects, &id, OBJECT_COMMIT, &data, &ignored) < 0) {
            continue;
        }
        if (commit_decode(&commit, data.data, data.length, &ignored) == 0) {
            if (id_set_has(&verifier->boundary, &id)) {
                verifier->boundary_time = MAX(verifier->boundary_time, commit.time);
            } else {
                commit_append_parents(stack, data.data, data.length);
            }
        }
        object_data_release(&data);
        rc = observer_tell(verifier->observer, OBSERVER_CHANGES, verifier->history.count, 0, error);
    }
    return rc;
}

static int walk_all(struct verifier *verifier, const char *path, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    int rc = shallow_read(&verifier->boundary, path, error);

    if (rc == 0) {
        rc = refs_list(verifier->refs, "refs/", &refs, error);
    }
    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *ref = refs->pdata[i];

        if (!g_str_has_prefix(ref->name, CHECKPOINTS_PREFIX)) {
            rc = walk(verifier, &ref->id, error);
        }
    }
    return rc;
}

/* --- one checkpoint --- */

static bool is_known(const struct verifier *verifier, const struct ssh_public_key *signer)
{
    for (guint i = 0; i < verifier->keys->len; i++) {
        struct ssh_public_key key;

        if (ssh_public_key_parse(&key, verifier->keys->pdata[i]) &&
            memcmp(&key, signer, sizeof(key)) == 0) {
            return true;
        }
    }
    return false;
}

static void check_signature(struct verifier *verifier, const struct checkpoint *checkpoint)
{
    struct ssh_public_key signer;
    struct object_id id;

    tag_hash(checkpoint->text, checkpoint->length, &id);
    if (!object_id_equal(&id, &checkpoint->id)) {
        findings_add(&verifier->findings, "checkpoint %" PRIu64 " does not hash to its name",
                     checkpoint->number);
    } else if (!ssh_signature_verify(&signer, checkpoint->text, checkpoint->signed_length,
                                     checkpoint->text + checkpoint->signed_length,
                                     checkpoint->length - checkpoint->signed_length)) {
        findings_add(&verifier->findings, "checkpoint %" PRIu64 " has no good signature",
                     checkpoint->number);
    } else if (!is_known(verifier, &signer)) {
        findings_add(&verifier->findings, "checkpoint %" PRIu64 " is signed by another key",
                     checkpoint->number);
    }
}

/* from: the oldest one that has to be there. Which one was before it is not to be seen any more. */
static void check_order(struct verifier *verifier, const struct checkpoint *checkpoint,
                        const struct checkpoint *before, uint64_t from)
{
    const struct object_id none = {{0}};
    uint64_t number = before != NULL ? before->number + 1 : MIN(from, checkpoint->number);
    bool begins = before == NULL && number > 1;

    if (checkpoint->number != number) {
        findings_add(&verifier->findings, "checkpoint %" PRIu64 " is missing", number);
    } else if (!begins &&
               !object_id_equal(&checkpoint->previous, before != NULL ? &before->id : &none)) {
        findings_add(&verifier->findings, "checkpoint %" PRIu64 " does not follow the one before",
                     checkpoint->number);
    }
}

static void check_head(struct verifier *verifier, const struct checkpoint *checkpoint,
                       const struct checkpoint_head *head)
{
    struct object_id id = head->id;
    char hex[OBJECT_ID_HEX + 1];

    if (id_set_has(&verifier->history, &id)) {
        verifier->out->heads++;
    } else if (purge_records_follow(verifier->purges, &id) &&
               (object_id_is_zero(&id) || id_set_has(&verifier->history, &id))) {
        verifier->out->purged++;
    } else if (checkpoint->time <= verifier->boundary_time) {
        verifier->out->before++;
    } else {
        object_id_format(&head->id, hex);
        findings_add(&verifier->findings,
                     "checkpoint %" PRIu64 ": %s was at %.12s, which is not in the history",
                     checkpoint->number, head->ref, hex);
    }
}

static int check_all(struct verifier *verifier, const char *path, struct store_error *error)
{
    g_autoptr(GPtrArray) all = NULL;
    int rc = checkpoints_list(&all, path, verifier->refs, false, error);

    if (rc == 0) {
        rc = walk_all(verifier, path, error);
    }
    if (rc == 0) {
        rc = purge_records_read(&verifier->purges, verifier->objects, verifier->refs, error);
    }
    for (guint i = 0; rc == 0 && i < all->len; i++) {
        const struct checkpoint *checkpoint = all->pdata[i];

        check_signature(verifier, checkpoint);
        check_order(verifier, checkpoint, i > 0 ? all->pdata[i - 1] : NULL,
                    ((const struct checkpoint *)all->pdata[all->len - 1])->from);
        for (guint j = 0; j < checkpoint->heads->len; j++) {
            check_head(verifier, checkpoint,
                       &g_array_index(checkpoint->heads, struct checkpoint_head, j));
        }
        if (i == 0) {
            verifier->out->first = checkpoint->time;
            verifier->out->from = checkpoint->number;
        }
        verifier->out->last = checkpoint->time;
        verifier->out->checkpoints++;
        rc = observer_tell(verifier->observer, OBSERVER_CHECKPOINTS, i + 1, all->len, error);
    }
    return rc;
}

int checkpoints_verify(const char *path, const GPtrArray *keys, checkpoint_finding report,
                       void *data, const struct observer *observer, struct checkpoint_report *out,
                       size_t *findings, struct store_error *error)
{
    struct verifier verifier = {.keys = keys,
                                .findings = {report, data, 0},
                                .out = out,
                                .boundary_time = INT64_MIN,
                                .observer = observer};
    int rc = objects_open(&verifier.objects, path, host_system(), error);

    *out = (struct checkpoint_report){.checkpoints = 0};
    id_set_init(&verifier.boundary);
    id_set_init(&verifier.history);
    if (rc == 0) {
        rc = refs_open(&verifier.refs, path, host_system(), error);
    }
    if (rc == 0) {
        rc = check_all(&verifier, path, error);
    }
    *findings = verifier.findings.count;
    if (verifier.purges != NULL) {
        g_ptr_array_unref(verifier.purges);
    }
    refs_close(verifier.refs);
    objects_close(verifier.objects);
    id_set_release(&verifier.boundary);
    id_set_release(&verifier.history);
    return rc;
}
