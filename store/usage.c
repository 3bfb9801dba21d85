#include "store/usage.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "store/internal/account_private.h"
#include "store/internal/store_private.h"
#include "store/internal/usage_table.h"

enum {
    USAGE_WALK_EVERY = 1000 * 1000, /* microseconds between looks at all branches */
    USAGE_USERS_MAX = 10000,        /* of whom sums are kept */
};

/* One mailbox's sums at a commit. */
struct sums {
    struct object_id commit;
    uint64_t messages;
    uint64_t octets;
};

/* One account's. The sum is kept up by usage_note() between two walks over all branches, which find
 * what others did. */
struct user_usage {
    GHashTable *mailboxes;    /* name to struct sums */
    struct account_usage sum; /* of them */
    bool stale;               /* there are others */
    uint64_t list_version;    /* the account's, at the last walk */
    int64_t walked;           /* host.now(); 0: never */
    uint64_t repository;      /* octets of packs */
    int64_t measured;         /* host.now(); 0: never */
};

static void user_usage_free(void *data)
{
    struct user_usage *usage = data;

    g_hash_table_unref(usage->mailboxes);
    g_free(usage);
}

GHashTable *usage_table_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, user_usage_free);
}

static GHashTable *sums_table_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static struct user_usage *usage_of(const struct account *account)
{
    GHashTable *all = account->store->usage;
    struct user_usage *usage = g_hash_table_lookup(all, account->user);

    if (usage == NULL) {
        if (g_hash_table_size(all) >= USAGE_USERS_MAX) {
            g_hash_table_remove_all(all);
        }
        usage = g_new0(struct user_usage, 1);
        usage->mailboxes = sums_table_new();
        g_hash_table_insert(all, g_strdup(account->user), usage);
    }
    return usage;
}

static bool is_due(int64_t now, int64_t last)
{
    return last == 0 || now < last || now - last >= USAGE_WALK_EVERY;
}

static void take_sums(struct sums *sums, const struct snapshot *snapshot)
{
    sums->commit = *snapshot_commit(snapshot);
    sums->messages = snapshot_count(snapshot);
    sums->octets = snapshot_size(snapshot);
}

/* The sums of a mailbox that nobody has open. */
static void load_sums(struct account *account, const char *name, const char *ref, struct sums *sums)
{
    struct mailbox *mailbox = NULL;
    struct store_error ignored;

    if (mailbox_open(&mailbox, account, name, ref, &ignored) == 0) {
        take_sums(sums, mailbox_snapshot(mailbox));
        mailbox_unref(mailbox);
    }
}

static void look_at(struct account *account, const char *name, struct sums *sums)
{
    const struct mailbox *open = g_hash_table_lookup(account->mailboxes, name);
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct store_error ignored;
    struct object_id tip;

    if (open != NULL && !open->deleted) {
        take_sums(sums, open->snapshot);
    } else if (account_name(&canonical, &ref, name, &ignored) < 0 ||
               pending_tip(account, ref, &tip, &ignored) < 0) {
        memset(sums, 0, sizeof(*sums));
    } else if (!object_id_equal(&tip, &sums->commit)) {
        memset(sums, 0, sizeof(*sums));
        load_sums(account, name, ref, sums);
    }
}

static int walk(struct account *account, struct user_usage *usage, int64_t now,
                struct store_error *error)
{
    GHashTable *before = usage->mailboxes;
    struct account_usage sum = {0, 0};
    GPtrArray *names;
    int rc = account_names(account, &names, error);

    if (rc < 0) {
        return rc;
    }
    usage->mailboxes = sums_table_new();
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        const struct sums *known = g_hash_table_lookup(before, name);
        struct sums *sums = g_new0(struct sums, 1);

        if (known != NULL) {
            *sums = *known;
        }
        look_at(account, name, sums);
        sum.messages += sums->messages;
        sum.octets += sums->octets;
        g_hash_table_replace(usage->mailboxes, g_strdup(name), sums);
    }
    g_hash_table_unref(before);
    g_ptr_array_unref(names);
    usage->sum = sum;
    usage->stale = false;
    usage->list_version = account->list_version;
    usage->walked = now;
    return 0;
}

void usage_note(const struct mailbox *mailbox)
{
    const struct account *account = mailbox->account;
    struct user_usage *usage = g_hash_table_lookup(account->store->usage, account->user);
    struct sums *sums = usage != NULL ? g_hash_table_lookup(usage->mailboxes, mailbox->name) : NULL;

    if (usage == NULL || mailbox->past) {
        return;
    }
    if (sums == NULL) {
        usage->stale = true;
        return;
    }
    usage->sum.messages -= sums->messages;
    usage->sum.octets -= sums->octets;
    take_sums(sums, mailbox->snapshot);
    usage->sum.messages += sums->messages;
    usage->sum.octets += sums->octets;
}

void usage_note_names(const struct account *account)
{
    struct user_usage *usage = g_hash_table_lookup(account->store->usage, account->user);

    if (usage != NULL) {
        usage->stale = true;
    }
}

static uint64_t measure_packs(const struct account *account)
{
    g_autofree char *path = g_strconcat(account->path, "/objects/pack", NULL);
    DIR *directory = opendir(path);
    const struct dirent *entry;
    uint64_t octets = 0;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        struct stat status;

        if (g_str_has_suffix(entry->d_name, ".pack") &&
            fstatat(dirfd(directory), entry->d_name, &status, 0) == 0) {
            octets += (uint64_t)status.st_size;
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return octets;
}

int account_usage(struct account *account, bool history, struct account_usage *out,
                  struct store_error *error)
{
    struct user_usage *usage = usage_of(account);
    int64_t now = account->host->now(account->host->data);

    if (usage->stale || usage->list_version != account->list_version ||
        is_due(now, usage->walked)) {
        int rc = walk(account, usage, now, error);

        if (rc < 0) {
            return rc;
        }
    }
    *out = usage->sum;
    if (history) {
        if (is_due(now, usage->measured)) {
            usage->repository = measure_packs(account);
            usage->measured = now;
        }
        out->octets = usage->repository;
    }
    return 0;
}

uint64_t snapshot_deleted_size(const struct snapshot *snapshot)
{
    uint64_t octets = 0;

    if (snapshot_deleted(snapshot) == 0) {
        return 0;
    }
    for (size_t at = 0; at < snapshot_count(snapshot);) {
        size_t count;
        const uint8_t *flags = snapshot_flags(snapshot, at, &count);

        for (size_t i = 0; i < count; i++) {
            if ((flags[i] & MESSAGE_DELETED) != 0) {
                octets += snapshot_message(snapshot, at + i).size;
            }
        }
        at += count;
    }
    return octets;
}
