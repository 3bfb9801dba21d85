#include "store/account.h"

#include <string.h>

#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/spool_private.h"
#include "store/internal/store_private.h"

int account_open(struct account **out, struct store *store, const struct host *host,
                 const char *user, const char *path, const char *cache, struct store_error *error)
{
    struct account *account = g_new0(struct account, 1);
    int rc;

    account->references = 1;
    account->store = store;
    account->host = host;
    account->user = g_strdup(user);
    account->path = g_strdup(path);
    account->cache = g_strdup(cache);
    account->mailboxes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    account->remembered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    account->list_version = 1;
    pending_init(&account->pending);
    rc = objects_open(&account->objects, path, host, error);
    if (rc == 0) {
        rc = refs_open(&account->refs, path, host, error);
    }
    if (rc < 0) {
        account->store = NULL;
        account_unref(account);
        return rc;
    }
    refs_set_turn(account->refs, &store->turn);
    *out = account;
    return 0;
}

struct account *account_ref(struct account *account)
{
    account->references++;
    return account;
}

static void drop_kept(struct account *account, guint left)
{
    while (account->kept.length > left) {
        mailbox_unref(g_queue_pop_tail(&account->kept));
    }
}

/* So that delivery to a mailbox that nobody has open does not load it each time. */
static void keep(struct account *account, struct mailbox *mailbox)
{
    account->kept_used = true;
    if (g_queue_peek_head(&account->kept) == mailbox) {
        return;
    }
    mailbox_ref(mailbox);
    if (g_queue_remove(&account->kept, mailbox)) {
        mailbox->references--;
    }
    g_queue_push_head(&account->kept, mailbox);
    drop_kept(account, ACCOUNT_KEPT_MAX);
}

void account_rest(struct account *account)
{
    if (!account->kept_used) {
        drop_kept(account, 0);
    }
    account->kept_used = false;
}

void account_unref(struct account *account)
{
    if (account == NULL) {
        return;
    }
    /* Mailboxes hold the account: those that are only kept must not do so for ever. */
    if (account->references == account->kept.length + 1) {
        drop_kept(account, 0);
    }
    if (--account->references > 0) {
        return;
    }
    if (account->store != NULL) {
        store_forget_account(account->store, account);
    }
    pending_release(&account->pending);
    refs_close(account->refs);
    objects_close(account->objects);
    derived_close(account->derived);
    g_hash_table_unref(account->mailboxes);
    g_hash_table_unref(account->remembered);
    g_clear_pointer(&account->names, g_ptr_array_unref);
    account_state_free(account->state);
    g_free(account->user);
    g_free(account->path);
    g_free(account->cache);
    g_free(account);
}

const char *account_user(const struct account *account)
{
    return account->user;
}

const char *account_path(const struct account *account)
{
    return account->path;
}

int account_spool(struct account *account, uint64_t size, struct spool **out,
                  struct store_error *error)
{
    struct spooler *spooler = journaling_spooler(account->store);
    int rc = objects_spool(account->objects, size, out, error);

    if (rc == 0 && spooler != NULL && spool_is_pack(*out)) {
        spool_use(*out, spooler);
    }
    return rc;
}

uint64_t account_list_version(const struct account *account)
{
    return account->list_version;
}

int account_name(char **canonical, char **ref, const char *name, struct store_error *error)
{
    g_autofree char *branch = NULL;
    int rc = branch_name_encode(&branch, name, error);

    if (rc < 0) {
        return rc;
    }
    *canonical = branch_name_of_encoding(branch);
    *ref = g_strconcat(HEADS_PREFIX, branch, NULL);
    return 0;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int account_names(struct account *account, GPtrArray **out, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    struct store_error ignored;
    int rc = refs_list(account->refs, HEADS_PREFIX, &refs, error);

    if (rc < 0) {
        return rc;
    }
    *out = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < refs->len; i++) {
        const struct ref_entry *entry = g_ptr_array_index(refs, i);
        char *name;

        if (branch_name_decode(&name, entry->name + strlen(HEADS_PREFIX), &ignored) == 0) {
            g_ptr_array_add(*out, name);
        }
    }
    g_ptr_array_sort(*out, compare_strings);
    return 0;
}

/* --- the list --- */

static bool is_inbox(const char *name)
{
    return strncmp(name, "INBOX", 5) == 0 && (name[5] == '\0' || name[5] == '/');
}

int account_compare_names(const char *x, const char *y)
{
    if (is_inbox(x) != is_inbox(y)) {
        return is_inbox(x) ? -1 : 1;
    }
    while (*x != '\0' && *x == *y) {
        x++;
        y++;
    }
    if (*x == *y || *x == '\0' || *y == '\0') {
        return (*x != '\0') - (*y != '\0');
    }
    if (*x == '/' || *y == '/') {
        return *x == '/' ? -1 : 1;
    }
    return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
}

static int compare_entries(const void *a, const void *b)
{
    return account_compare_names((*(const struct mailbox_entry *const *)a)->name,
                                 (*(const struct mailbox_entry *const *)b)->name);
}

static void mailbox_entry_free(void *data)
{
    struct mailbox_entry *entry = data;

    g_free(entry->name);
    g_free(entry);
}

static void add_entry(GPtrArray *list, const struct account_state *state, const char *name,
                      bool exists)
{
    struct mailbox_entry *entry = g_new0(struct mailbox_entry, 1);
    guint position;

    entry->name = g_strdup(name);
    entry->exists = exists;
    entry->subscribed = account_state_find_subscription(state, name, &position);
    entry->special_use = exists ? account_state_use_of(state, name) : SPECIAL_USE_NONE;
    g_ptr_array_add(list, entry);
}

/* For reading, the last good state will do where the present one can't be read. */
static int readable_state(struct account *account, struct store_error *error)
{
    int rc = account_state_refresh(account, error);

    if (rc != STORE_CORRUPT && rc != STORE_UNSUPPORTED) {
        return rc;
    }
    if (account->state == NULL) {
        account->state = account_state_new();
    }
    return 0;
}

/* Remembers which names there are; a new version where they differ from the last time. */
static int refresh_names(struct account *account, struct store_error *error)
{
    g_autoptr(GPtrArray) names = NULL;
    bool same = account->names != NULL;
    int rc = account_names(account, &names, error);

    if (rc < 0) {
        return rc;
    }
    same = same && account->names->len == names->len;
    for (guint i = 0; same && i < names->len; i++) {
        same = strcmp(account->names->pdata[i], names->pdata[i]) == 0;
    }
    if (!same) {
        if (account->names != NULL) {
            account->list_version++;
            g_ptr_array_unref(account->names);
        }
        account->names = g_steal_pointer(&names);
    }
    return 0;
}

static bool names_contain(const GPtrArray *names, const char *name)
{
    return bsearch(&name, names->pdata, names->len, sizeof(names->pdata[0]), compare_strings) !=
           NULL;
}

int account_list(struct account *account, GPtrArray **out, struct store_error *error)
{
    const GPtrArray *subscriptions;
    int rc = readable_state(account, error);

    if (rc == 0) {
        rc = refresh_names(account, error);
    }
    if (rc < 0) {
        return rc;
    }
    *out = g_ptr_array_new_with_free_func(mailbox_entry_free);
    for (guint i = 0; i < account->names->len; i++) {
        add_entry(*out, account->state, account->names->pdata[i], true);
    }
    subscriptions = account->state->subscriptions;
    for (guint i = 0; i < subscriptions->len; i++) {
        if (account->names->len == 0 || !names_contain(account->names, subscriptions->pdata[i])) {
            add_entry(*out, account->state, subscriptions->pdata[i], false);
        }
    }
    g_ptr_array_sort(*out, compare_entries);
    return 0;
}

/* --- mailboxes --- */

bool account_mailbox_exists(struct account *account, const char *name)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    const struct mailbox *open;
    struct store_error ignored;
    struct object_id tip;

    if (account_name(&canonical, &ref, name, &ignored) < 0) {
        return false;
    }
    /* Whoever goes on to use it looks again. */
    open = g_hash_table_lookup(account->mailboxes, canonical);
    return (open != NULL && !open->deleted) || refs_read(account->refs, ref, &tip, &ignored) == 0;
}

/* INBOX is always there (RFC 3501 5.1), whatever was done to its branch. */
static int restore_inbox(struct account *account, struct store_error *error)
{
    struct origin origin = {.time = account->host->now(account->host->data)};
    int rc = account_create_mailbox(account, "INBOX", SPECIAL_USE_NONE, &origin, error);

    return rc == STORE_EXISTS ? 0 : rc;
}

int account_open_mailbox(struct account *account, const char *name, struct mailbox **out,
                         struct store_error *error)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct mailbox *open;
    int rc = account_name(&canonical, &ref, name, error);

    if (rc < 0) {
        return rc;
    }
    open = g_hash_table_lookup(account->mailboxes, canonical);
    if (open != NULL) {
        rc = mailbox_refresh(open, error);
        if (rc < 0) {
            return rc;
        }
        if (!open->deleted) {
            *out = mailbox_ref(open);
            keep(account, open);
            return 0;
        }
    }
    rc = mailbox_open(out, account, canonical, ref, error);
    if (rc == STORE_NOT_FOUND && strcmp(canonical, "INBOX") == 0) {
        rc = restore_inbox(account, error);
        if (rc == 0) {
            rc = mailbox_open(out, account, canonical, ref, error);
        }
    }
    if (rc == 0) {
        keep(account, *out);
    }
    return rc;
}

unsigned account_losses(const struct account *account)
{
    return objects_losses(account->objects);
}

int account_refresh(struct account *account, bool *changed, struct store_error *error)
{
    g_autoptr(GPtrArray) open = NULL;
    uint64_t version = account->list_version;
    GHashTableIter iterator;
    void *value;
    int rc;

    *changed = false;
    if (account->names != NULL && !refs_changed_outside(account->refs)) {
        return 0;
    }
    rc = readable_state(account, error);
    if (rc == 0) {
        rc = refresh_names(account, error);
    }
    *changed = account->list_version != version;
    /* Refreshing may take mailboxes out of the table. */
    open = g_ptr_array_new_with_free_func((GDestroyNotify)mailbox_unref);
    g_hash_table_iter_init(&iterator, account->mailboxes);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        g_ptr_array_add(open, mailbox_ref(value));
    }
    for (guint i = 0; i < open->len; i++) {
        struct mailbox *mailbox = g_ptr_array_index(open, i);
        struct object_id before = mailbox->snapshot->commit;
        struct store_error own;
        int result = mailbox_refresh(mailbox, &own);

        /* What is wrong with one mailbox is told to those who use it. */
        *changed = *changed || result < 0 || mailbox->deleted ||
                   !object_id_equal(&before, &mailbox->snapshot->commit);
    }
    return rc;
}

/* --- derived --- */

static struct derived *derived(struct account *account)
{
    if (account->derived == NULL) {
        account->derived = derived_open(account->cache);
        derived_share(account->derived, account->store->budget);
    }
    return account->derived;
}

bool account_derived_get(struct account *account, const struct object_id *blob, const char *kind,
                         GByteArray *value)
{
    return derived_get(derived(account), blob, kind, value);
}

bool account_derived_has(struct account *account, const struct object_id *blob, const char *kind)
{
    return derived_has(derived(account), blob, kind);
}

void account_derived_put(struct account *account, const struct object_id *blob, const char *kind,
                         const void *value, size_t length)
{
    derived_put(derived(account), blob, kind, value, length);
}
