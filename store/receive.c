#include "store/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/branch_name.h"
#include "store/internal/commit.h"
#include "store/internal/pack.h"
#include "store/internal/restore_private.h"
#include "store/internal/text.h"

enum {
    COMMITS_MAX = 100 * 1000, /* of one push that are looked at, and of the history below it */
    PARENTS_MAX = 64,
};

struct check {
    struct objects *objects;
    const struct snapshot *known; /* NULL: a new mailbox */
    GHashTable *returned;         /* UID -> struct message *: below UIDNEXT, and were not there */
    int rc;                       /* of the first that is wrong */
    struct store_error *error;
};

/* --- messages --- */

static void check_size(struct check *check, const struct message *message)
{
    struct object_data data;
    struct store_error own;
    int rc = objects_read(check->objects, &message->blob, OBJECT_BLOB, &data, &own);

    if (rc < 0) {
        check->rc = store_error_set(check->error, STORE_CORRUPT,
                                    "the octets of uid %" G_GUINT32_FORMAT " are not there: %s",
                                    message->uid, own.detail);
        return;
    }
    if (data.length != message->size) {
        check->rc = store_error_set(check->error, STORE_CORRUPT,
                                    "uid %" G_GUINT32_FORMAT
                                    " has %zu octets, its line says %" G_GUINT32_FORMAT,
                                    message->uid, data.length, message->size);
    }
    object_data_release(&data);
}

static void look_at(const struct message *known, const struct message *pushed, size_t index,
                    void *data)
{
    struct check *check = data;

    (void)index;
    if (check->rc != 0 || pushed == NULL) {
        return;
    }
    if (known != NULL && !object_id_equal(&known->blob, &pushed->blob)) {
        check->rc = store_error_set(check->error, STORE_FORBIDDEN,
                                    "uid %" G_GUINT32_FORMAT
                                    " names another message than before: add it under a new UID",
                                    pushed->uid);
        return;
    }
    if (known == NULL && pushed->uid < check->known->uid_next) {
        g_hash_table_insert(check->returned, GUINT_TO_POINTER(pushed->uid),
                            g_memdup2(pushed, sizeof(*pushed)));
    }
    if (known == NULL || known->size != pushed->size) {
        check_size(check, pushed);
    }
}

/* --- commits --- */

/* The commit's parents; at most PARENTS_MAX. */
static int read_parents(struct objects *objects, const struct object_id *id, GArray *out,
                        struct store_error *error)
{
    struct object_data data;
    int rc = objects_read(objects, id, OBJECT_COMMIT, &data, error);

    g_array_set_size(out, 0);
    if (rc < 0) {
        return rc;
    }
    commit_append_parents(out, data.data, data.length);
    g_array_set_size(out, MIN(out->len, PARENTS_MAX));
    object_data_release(&data);
    return 0;
}

/* Whether later is built on earlier; *alone: the first parents lead there. */
static int find_ancestor(struct objects *objects, const struct object_id *later,
                         const struct object_id *earlier, bool *found, bool *alone,
                         struct store_error *error)
{
    g_autoptr(GHashTable) seen =
        g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);
    g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    struct object_id first = *later;
    int rc = 0;

    *found = *alone = false;
    for (unsigned i = 0; rc == 0 && i < COMMITS_MAX && !*found; i++) {
        *found = *alone = object_id_equal(&first, earlier);
        if (!*found) {
            rc = read_parents(objects, &first, parents, error);
        }
        if (!*found && (rc < 0 || parents->len == 0)) {
            break;
        }
        for (guint k = 1; !*found && k < parents->len; k++) {
            g_array_append_val(stack, g_array_index(parents, struct object_id, k));
        }
        if (!*found) {
            first = g_array_index(parents, struct object_id, 0);
        }
    }
    for (unsigned i = 0; rc == 0 && !*found && stack->len > 0 && i < COMMITS_MAX; i++) {
        struct object_id at = g_array_index(stack, struct object_id, stack->len - 1);

        g_array_set_size(stack, stack->len - 1);
        *found = object_id_equal(&at, earlier);
        if (!*found && g_hash_table_add(seen, g_memdup2(&at, sizeof(at)))) {
            rc = read_parents(objects, &at, parents, error);
            g_array_append_vals(stack, parents->data, parents->len);
        }
    }
    return rc;
}

/* Each commit between them is a mailbox. */
static int check_between(struct objects *objects, const struct snapshot *last,
                         const struct object_id *before, struct store_error *error)
{
    struct snapshot *later = snapshot_ref(last);
    g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < COMMITS_MAX; i++) {
        struct snapshot *earlier;
        bool moved;

        rc = read_parents(objects, &later->commit, parents, error);
        if (rc < 0 || parents->len == 0 ||
            object_id_equal(&g_array_index(parents, struct object_id, 0), before)) {
            break;
        }
        rc = snapshot_load(&earlier, &moved, objects, &g_array_index(parents, struct object_id, 0),
                           later, error);
        if (rc == 0 && moved) {
            snapshot_unref(earlier);
            rc = snapshot_load(&earlier, &moved, objects,
                               &g_array_index(parents, struct object_id, 0), NULL, error);
        }
        if (rc == 0) {
            snapshot_unref(later);
            later = earlier;
        }
    }
    snapshot_unref(later);
    return rc;
}

/* --- UIDs that were used --- */

static void look_at_past(const struct message *past, const struct message *later, size_t index,
                         void *data)
{
    struct check *check = data;
    const struct message *pushed;

    (void)index;
    (void)later;
    pushed =
        past == NULL ? NULL : g_hash_table_lookup(check->returned, GUINT_TO_POINTER(past->uid));
    if (pushed == NULL) {
        return;
    }
    if (!object_id_equal(&pushed->blob, &past->blob) && check->rc == 0) {
        check->rc = store_error_set(check->error, STORE_FORBIDDEN,
                                    "uid %" G_GUINT32_FORMAT
                                    " was that of another message: add it under a new UID",
                                    past->uid);
    }
    g_hash_table_remove(check->returned, GUINT_TO_POINTER(past->uid));
}

/* A message that comes back under its own UID gets a new one; no other may have taken it. */
static void check_returned(struct check *check)
{
    struct snapshot *later = snapshot_ref(check->known);
    g_autoptr(GArray) parents = g_array_new(FALSE, FALSE, sizeof(struct object_id));

    for (unsigned i = 0;
         i < COMMITS_MAX && check->rc == 0 && g_hash_table_size(check->returned) > 0; i++) {
        struct store_error ended;
        struct snapshot *earlier;
        bool moved;

        if (read_parents(check->objects, &later->commit, parents, &ended) < 0 ||
            parents->len == 0 ||
            snapshot_load(&earlier, &moved, check->objects,
                          &g_array_index(parents, struct object_id, 0), later, &ended) < 0) {
            break;
        }
        snapshot_walk_both(earlier, later, look_at_past, check);
        snapshot_unref(later);
        later = earlier;
    }
    snapshot_unref(later);
}

/* --- a mailbox --- */

static int check_sizes(struct objects *objects, const struct snapshot *pushed,
                       struct store_error *error)
{
    struct check check = {.objects = objects, .error = error};

    for (size_t i = 0; check.rc == 0 && i < snapshot_count(pushed); i++) {
        struct message message = snapshot_message(pushed, i);

        check_size(&check, &message);
    }
    return check.rc;
}

/* What a commit shares with a known one is read with that one's keywords: it may lack some of its
 * own. */
static int check_alone(struct objects *objects, const struct object_id *commit,
                       struct store_error *error)
{
    struct snapshot *snapshot;
    bool moved;
    int rc = snapshot_load(&snapshot, &moved, objects, commit, NULL, error);

    if (rc == 0) {
        snapshot_unref(snapshot);
    }
    return rc;
}

static int check_existing(struct objects *objects, const struct object_id *before,
                          const struct object_id *after, struct store_error *error)
{
    struct check check = {.objects = objects, .error = error};
    struct store_error unreadable;
    struct snapshot *known = NULL;
    struct snapshot *pushed = NULL;
    bool moved;
    bool found;
    bool alone;
    int rc = find_ancestor(objects, after, before, &found, &alone, error);

    if (rc == 0 && !found) {
        rc = store_error_set(error, STORE_FORBIDDEN,
                             "it is not built on what is there now: fetch that first");
    }
    /* What is no mailbox can only be mended. */
    if (rc == 0 && snapshot_load(&known, &moved, objects, before, NULL, &unreadable) < 0) {
        known = NULL;
    }
    if (rc == 0) {
        rc = snapshot_load(&pushed, &moved, objects, after, known, error);
    }
    if (rc == 0 && moved) {
        rc = check_alone(objects, after, error);
    }
    if (rc == 0 && known == NULL) {
        rc = check_sizes(objects, pushed, error);
    }
    if (rc == 0 && known != NULL && alone) {
        rc = check_between(objects, pushed, before, error);
    }
    if (rc == 0 && known != NULL &&
        (known->uid_validity != pushed->uid_validity ||
         strcmp(known->mailbox_id, pushed->mailbox_id) != 0)) {
        rc = store_error_set(error, STORE_FORBIDDEN,
                             "mailboxid and uidvalidity must stay as they are");
    }
    if (rc == 0 && known != NULL) {
        check.known = known;
        check.returned = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        snapshot_walk_both(known, pushed, look_at, &check);
        check_returned(&check);
        g_hash_table_unref(check.returned);
        rc = check.rc;
    }
    snapshot_unref(pushed);
    snapshot_unref(known);
    return rc;
}

static int check_id(struct objects *objects, const char *path, const char *reference,
                    const struct snapshot *pushed, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    struct refs *all;
    int rc = refs_open(&all, path, host_system(), error);

    if (rc < 0) {
        return rc;
    }
    rc = refs_list(all, HEADS_PREFIX, &refs, error);
    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *entry = g_ptr_array_index(refs, i);
        struct properties properties;
        struct store_error ignored;

        if (strcmp(entry->name, reference) != 0 &&
            restore_properties(&properties, objects, &entry->id, &ignored) == 0) {
            if (strcmp(properties.mailbox_id, pushed->mailbox_id) == 0) {
                rc = store_error_set(error, STORE_FORBIDDEN,
                                     "it has the mailboxid of %s: a copy needs one of its own",
                                     entry->name);
            }
            properties_release(&properties);
        }
    }
    refs_close(all);
    return rc;
}

static int check_new(struct objects *objects, const char *path, const char *reference,
                     const struct object_id *after, struct store_error *error)
{
    struct snapshot *pushed;
    bool moved;
    int rc = snapshot_load(&pushed, &moved, objects, after, NULL, error);

    if (rc < 0) {
        return rc;
    }
    rc = check_id(objects, path, reference, pushed, error);
    if (rc == 0) {
        rc = check_sizes(objects, pushed, error);
    }
    snapshot_unref(pushed);
    return rc;
}

static int check_account(struct objects *objects, const struct object_id *before,
                         const struct object_id *after, struct store_error *error)
{
    struct account_state *known = NULL;
    struct account_state *pushed = NULL;
    int rc = account_state_load(&pushed, objects, after, error);

    if (rc == 0 && !object_id_is_zero(before)) {
        rc = account_state_load(&known, objects, before, error);
    }
    if (rc == 0 && known != NULL && pushed->uid_validity < known->uid_validity) {
        rc = store_error_set(error, STORE_FORBIDDEN, "uidvalidity must not fall");
    }
    account_state_free(pushed);
    account_state_free(known);
    return rc;
}

static int check_in(struct objects *objects, const char *path, const char *reference,
                    const struct object_id *before, const struct object_id *after,
                    struct store_error *error)
{
    g_autofree char *name = NULL;

    if (strcmp(reference, ACCOUNT_REF) == 0) {
        return check_account(objects, before, after, error);
    }
    if (branch_name_decode(&name, reference + strlen(HEADS_PREFIX), error) < 0) {
        return store_error_set(error, STORE_FORBIDDEN, "no mailbox can be called that");
    }
    return object_id_is_zero(before) ? check_new(objects, path, reference, after, error)
                                     : check_existing(objects, before, after, error);
}

int receive_check(const char *path, const char *reference, const struct object_id *before,
                  const struct object_id *after, struct store_error *error)
{
    bool ours =
        g_str_has_prefix(reference, "refs/annal/") || g_str_has_prefix(reference, DELETED_PREFIX);
    struct objects *objects;
    int rc;

    if (!ours && !g_str_has_prefix(reference, HEADS_PREFIX)) {
        return 0;
    }
    if (ours && strcmp(reference, ACCOUNT_REF) != 0) {
        return store_error_set(error, STORE_FORBIDDEN, "only Annal itself moves this");
    }
    if (object_id_is_zero(after)) {
        return store_error_set(error, STORE_FORBIDDEN,
                               "a push deletes no mailbox: a mail program does");
    }
    rc = objects_open(&objects, path, host_system(), error);
    if (rc == 0) {
        rc = check_in(objects, path, reference, before, after, error);
        objects_close(objects);
    }
    return rc;
}

/* --- afterwards --- */

int receive_settle(struct account *account, const char *reference, const struct object_id *before,
                   struct store_error *error)
{
    g_autofree char *name = NULL;
    struct mailbox *mailbox;
    struct store_error ignored;
    int rc;

    if (object_id_is_zero(before) || !g_str_has_prefix(reference, HEADS_PREFIX) ||
        branch_name_decode(&name, reference + strlen(HEADS_PREFIX), &ignored) < 0) {
        return 0;
    }
    if (g_hash_table_lookup(account->mailboxes, name) == NULL) {
        struct remembered *remembered = g_new0(struct remembered, 1);

        remembered->commit = *before;
        g_hash_table_replace(account->remembered, g_strdup(name), remembered);
    }
    rc = account_open_mailbox(account, name, &mailbox, error);
    if (rc == 0) {
        mailbox_unref(mailbox);
    }
    return rc;
}

/* --- hooks --- */

static const char MARK[] = "# Written by Annal, which replaces it as long as this line is here.\n";

static const struct {
    const char *name;
    const char *arguments;
    const char *otherwise; /* when the program is gone */
} HOOKS[] = {
    {"update", "receive-check \"$1\" \"$2\" \"$3\"",
     "{ echo 'annal is not found, so the push is not checked and not taken' >&2; exit 1; }"},
    {"post-receive", "receive-check --done", "exit 0"},
};

static char *hook_text(size_t hook, const char *program)
{
    return g_strdup_printf(
        "#!/bin/sh\n%sannal='%s'\n[ -x \"$annal\" ] || annal=$(command -v annal) "
        "||\n    %s\nexec \"$annal\" %s\n",
        MARK, program, HOOKS[hook].otherwise, HOOKS[hook].arguments);
}

/* What is there: NULL if nothing is. */
static char *read_hook(const char *path)
{
    enum { HOOK_MAX = 8192 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[HOOK_MAX];
    ssize_t length;

    if (fd < 0) {
        return NULL;
    }
    length = read(fd, text, sizeof(text));
    close(fd);
    return g_strndup(text, length > 0 ? (gsize)length : 0);
}

static int write_hook(const char *directory, const char *name, const char *text,
                      const struct host *host)
{
    g_autofree char *path = g_strconcat(directory, "/", name, NULL);
    g_autofree char *temporary = g_strdup_printf("%s.annal-%ld", path, (long)getpid());
    int fd = host->open(host->data, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    int rc = fd;

    if (fd >= 0) {
        int closed;

        rc = host->write(host->data, fd, text, strlen(text));
        closed = host->close(host->data, fd);
        rc = rc < 0 ? rc : closed;
    }
    if (rc == 0) {
        rc = host->rename(host->data, temporary, path);
    }
    if (rc < 0) {
        host->unlink(host->data, temporary);
    }
    return rc;
}

int receive_install(const char *path, const char *program, const struct host *host,
                    struct store_error *error)
{
    g_autofree char *directory = g_strconcat(path, "/hooks", NULL);
    int rc = 0;

    if (program[0] != '/' || strchr(program, '\'') != NULL || strchr(program, '\n') != NULL) {
        return 0;
    }
    for (size_t i = 0; rc == 0 && i < G_N_ELEMENTS(HOOKS); i++) {
        g_autofree char *file = g_strconcat(directory, "/", HOOKS[i].name, NULL);
        g_autofree char *there = read_hook(file);
        g_autofree char *text = hook_text(i, program);

        if (there != NULL && (strcmp(there, text) == 0 || strstr(there, MARK) == NULL)) {
            continue;
        }
        rc = host->mkdir(host->data, directory, 0700);
        if (rc == 0 || rc == -EEXIST) {
            rc = write_hook(directory, HOOKS[i].name, text, host);
        }
    }
    return rc < 0 ? host_fail(error, rc, "writing git's hooks") : 0;
}
