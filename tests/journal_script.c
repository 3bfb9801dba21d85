#include "tests/journal_script.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

enum { LATER = 1000, STEP_MICROSECONDS = 1000 };

static const int64_t first_time = INT64_C(1795000000000000);

const char *const machine_users[MACHINE_USERS] = {"alice", "bob"};
const char *const machine_mailboxes[MACHINE_MAILBOXES] = {"INBOX", "Archive", "A", "B", "A/x"};

/* --- states --- */

static char *list_text(struct account *account, GPtrArray **list)
{
    struct store_error error;
    GString *text = g_string_new(NULL);

    if (account_list(account, list, &error) < 0) {
        ck_abort_msg("list: %s", error.detail);
    }
    for (guint i = 0; i < (*list)->len; i++) {
        const struct mailbox_entry *entry = (*list)->pdata[i];

        if (entry->subscribed) {
            g_string_append_printf(text, "%s ", entry->name);
        }
    }
    return g_string_free(text, FALSE);
}

static char *tip_text(struct account *account, const char *name)
{
    struct store_error error;
    struct mailbox *mailbox;
    char id[OBJECT_ID_HEX + 1];

    if (account_open_mailbox(account, name, &mailbox, &error) < 0 ||
        mailbox_refresh(mailbox, &error) < 0) {
        ck_abort_msg("opening %s of %s: %s", name, account_user(account), error.detail);
    }
    object_id_format(snapshot_commit(mailbox_snapshot(mailbox)), id);
    mailbox_unref(mailbox);
    return g_strdup(id);
}

GHashTable *machine_state(struct account *const *accounts)
{
    GHashTable *state = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    for (unsigned u = 0; u < MACHINE_USERS; u++) {
        const char *user = machine_users[u];
        g_autoptr(GPtrArray) list = NULL;

        g_hash_table_insert(state, g_strdup(user), list_text(accounts[u], &list));
        for (guint i = 0; i < list->len; i++) {
            const struct mailbox_entry *entry = list->pdata[i];

            if (entry->exists) {
                g_hash_table_insert(state, g_strdup_printf("%s/%s", user, entry->name),
                                    tip_text(accounts[u], entry->name));
            }
        }
    }
    return state;
}

void machine_check_equal(GHashTable *expected, GHashTable *found, const char *what)
{
    GHashTableIter iterator;
    void *name;
    void *value;

    g_hash_table_iter_init(&iterator, expected);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        const char *other = g_hash_table_lookup(found, name);

        ck_assert_msg(g_strcmp0(value, other) == 0, "%s: %s is %s, not %s", what, (char *)name,
                      other, (char *)value);
    }
    ck_assert_msg(g_hash_table_size(expected) == g_hash_table_size(found), "%s: more mailboxes",
                  what);
}

static void note_state(struct machine *machine)
{
    g_ptr_array_add(machine->states, machine_state(machine->accounts));
}

/* --- opening --- */

void machine_open(struct machine *machine)
{
    struct store_error error;
    const struct host *host = power_host_table(machine->power);
    int rc = store_open(&machine->store, machine->directory, host, &error);

    if (rc == 0) {
        rc = store_open_journal(machine->store, &machine->settings, &error);
    }
    for (unsigned u = 0; u < MACHINE_USERS && rc == 0; u++) {
        rc = store_open_account(machine->store, machine_users[u], &machine->accounts[u], &error);
    }
    if (rc < 0) {
        ck_abort_msg("opening: %s", error.detail);
    }
}

void machine_close(struct machine *machine)
{
    for (unsigned u = 0; u < MACHINE_USERS; u++) {
        account_unref(machine->accounts[u]);
        machine->accounts[u] = NULL;
    }
    store_close(machine->store);
    machine->store = NULL;
}

static void make_accounts(const char *directory)
{
    struct origin origin = {
        .client = "test", .session = "s0", .command = "TEST", .time = first_time};
    struct store_error error;
    struct store *store;
    int rc = store_open(&store, directory, host_system(), &error);

    for (unsigned u = 0; u < MACHINE_USERS && rc == 0; u++) {
        rc = store_create_account(store, machine_users[u], &origin, &error);
    }
    if (rc < 0) {
        ck_abort_msg("making accounts: %s", error.detail);
    }
    store_close(store);
}

static void state_free(void *state)
{
    g_hash_table_unref(state);
}

void machine_init(struct machine *machine, const struct store_journal *settings, uint32_t seed)
{
    *machine = (struct machine){
        .home = fixture_directory(),
        .settings = *settings,
        .states = g_ptr_array_new_with_free_func(state_free),
        .random = seed,
        .time = first_time,
    };
    machine->directory = fixture_path(machine->home, "data");
    make_accounts(machine->directory);
    machine->power = power_host_new(machine->directory);
    machine_open(machine);
    note_state(machine);
    for (unsigned u = 0; u < MACHINE_USERS; u++) {
        for (unsigned i = 0; i < 4; i++) {
            machine_step(machine, &(struct step){STEP_APPEND, u, i / 2, 0, 100 + i});
        }
    }
    machine_step(machine, &(struct step){STEP_FLUSH, 0, 0, 0, 0});
}

void machine_release(struct machine *machine)
{
    machine_close(machine);
    machine_check_directory(machine, machine->directory, true);
    g_ptr_array_unref(machine->states);
    power_host_free(machine->power);
    free(machine->directory);
    fixture_remove(machine->home);
}

/* --- steps --- */

struct step machine_random_step(struct machine *machine)
{
    static const unsigned sizes[] = {0, 1, 500, 4000, 30000, 100000, 1000000};
    static const enum step_kind kinds[] = {
        STEP_APPEND, STEP_APPEND,  STEP_APPEND,    STEP_APPEND, STEP_FLAG, STEP_FLAG, STEP_FLAG,
        STEP_FLAG,   STEP_EXPUNGE, STEP_COPY,      STEP_COPY,   STEP_MOVE, STEP_MOVE, STEP_CREATE,
        STEP_RENAME, STEP_DELETE,  STEP_SUBSCRIBE, STEP_SYNC,   STEP_SYNC, STEP_SYNC, STEP_WORK,
        STEP_WORK,   STEP_WORK,    STEP_FLUSH,     STEP_LOGIN,
    };
    struct step step = {
        .kind = kinds[power_random(&machine->random) % G_N_ELEMENTS(kinds)],
        .user = power_random(&machine->random) % MACHINE_USERS,
        .from = power_random(&machine->random) % MACHINE_MAILBOXES,
        .to = power_random(&machine->random) % MACHINE_MAILBOXES,
        .n = power_random(&machine->random) % 200,
    };

    if (power_random(&machine->random) % 2 == 0) {
        step.from = 0;
    }
    if (step.kind == STEP_APPEND) {
        unsigned size = power_random(&machine->random) % (G_N_ELEMENTS(sizes) + 4);

        step.n = size < G_N_ELEMENTS(sizes) ? sizes[size] : sizes[2];
    } else if (step.kind == STEP_WORK && step.n % 8 == 0) {
        step.n = 6000; /* a checkpoint is due */
    }
    return step;
}

static struct origin next_origin(struct machine *machine)
{
    machine->time += STEP_MICROSECONDS;
    return (struct origin){
        .client = "test client", .session = "s1", .command = "TEST", .time = machine->time};
}

static int append_message(struct machine *machine, struct mailbox *mailbox, unsigned user,
                          unsigned length)
{
    struct origin origin = next_origin(machine);
    struct store_error error;
    char *text = malloc(length + 32);
    uint32_t uid;

    snprintf(text, 32, "Subject: %u\r\n\r\n", machine->messages++);
    for (size_t i = strlen(text); i < length; i++) {
        text[i] = "abcdefghijklmnopqrstuvwxyz\r\n"[(i + machine->messages) % 28];
    }
    struct spool *spool = spool_of(machine->accounts[user], text, length);
    struct append append = {.spool = spool, .internal_date = 1794906000};
    int rc = mailbox_append(mailbox, &append, 1, &origin, &uid, &error);
    if (rc < 0) {
        ck_abort_msg("append of %u: %s", length, error.detail);
    }
    spool_free(spool);
    free(text);
    return rc;
}

/* UIDs of about n of the mailbox's messages. */
static GArray *choose_uids(const struct mailbox *mailbox, unsigned n)
{
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);
    GArray *uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    unsigned every = 1 + n % 3;

    for (size_t i = n % every; i < snapshot_count(snapshot); i += every) {
        uint32_t uid = snapshot_message(snapshot, i).uid;

        g_array_append_val(uids, uid);
    }
    return uids;
}

static int change_flags(struct machine *machine, struct mailbox *mailbox, const GArray *uids,
                        unsigned n)
{
    const char *keywords[] = {n % 5 == 0 ? "$Odd" : NULL, NULL};
    struct flag_change change = {n % 2 == 0 ? FLAG_MODE_ADD : FLAG_MODE_REPLACE,
                                 (uint8_t)(n & MESSAGE_FLAGS_ALL), keywords, UINT64_MAX};
    struct origin origin = next_origin(machine);
    struct store_error error;

    return mailbox_store_flags(mailbox, (const uint32_t *)(const void *)uids->data, uids->len,
                               &change, &origin, NULL, &error);
}

static int copy(struct machine *machine, struct mailbox *mailbox, const GArray *uids,
                const struct step *step)
{
    struct origin origin = next_origin(machine);
    struct store_error error;
    struct mailbox *to;
    struct uid_pairs pairs;
    const uint32_t *first = (const uint32_t *)(const void *)uids->data;

    if (account_open_mailbox(machine->accounts[step->user], machine_mailboxes[step->to], &to,
                             &error) < 0) {
        return 0;
    }
    int rc = (step->kind == STEP_COPY ? mailbox_copy : mailbox_move)(mailbox, first, uids->len, to,
                                                                     &origin, &pairs, &error);
    uid_pairs_release(&pairs);
    mailbox_unref(to);
    return rc;
}

static int change_messages(struct machine *machine, const struct step *step)
{
    struct store_error error;
    struct mailbox *mailbox;

    if (account_open_mailbox(machine->accounts[step->user], machine_mailboxes[step->from], &mailbox,
                             &error) < 0) {
        return 0;
    }
    g_autoptr(GArray) uids = choose_uids(mailbox, step->n);
    int rc = 0;
    if (step->kind == STEP_APPEND) {
        rc = append_message(machine, mailbox, step->user, step->n);
    } else if (step->kind == STEP_FLAG) {
        rc = change_flags(machine, mailbox, uids, step->n);
    } else if (step->kind == STEP_EXPUNGE) {
        struct origin origin = next_origin(machine);

        rc = mailbox_expunge(mailbox, (const uint32_t *)(const void *)uids->data, MIN(uids->len, 2),
                             false, &origin, &error);
    } else {
        rc = copy(machine, mailbox, uids, step);
    }
    mailbox_unref(mailbox);
    return rc;
}

static void change_account(struct machine *machine, const struct step *step)
{
    struct account *account = machine->accounts[step->user];
    struct origin origin = next_origin(machine);
    const char *from = machine_mailboxes[step->from];
    const char *to = machine_mailboxes[step->to];
    struct store_error error = {.code = STORE_OK};

    /* What is there already, or is not, is refused. */
    if (step->kind == STEP_CREATE) {
        account_create_mailbox(account, to, SPECIAL_USE_NONE, &origin, &error);
    } else if (step->kind == STEP_RENAME) {
        account_rename_mailbox(account, from, to, &origin, &error);
    } else if (step->kind == STEP_DELETE) {
        account_delete_mailbox(account, to, &origin, &error);
    } else {
        account_subscribe(account, to, step->n % 2 == 0, &origin, &error);
    }
}

static void log_in_again(struct machine *machine, unsigned user)
{
    struct store_error error;

    account_unref(machine->accounts[user]);
    if (store_open_account(machine->store, machine_users[user], &machine->accounts[user], &error) <
        0) {
        ck_abort_msg("opening %s: %s", machine_users[user], error.detail);
    }
}

static void sync_all(struct machine *machine, bool flush)
{
    struct store_error error;
    int rc = flush ? store_flush(machine->store, &error) : store_sync(machine->store, &error);

    if (rc < 0) {
        ck_abort_msg("sync: %s", error.detail);
    }
    machine->acknowledged = machine->states->len - 1;
}

void machine_step(struct machine *machine, const struct step *step)
{
    int rc = 0;

    switch (step->kind) {
    case STEP_APPEND:
    case STEP_FLAG:
    case STEP_EXPUNGE:
    case STEP_COPY:
    case STEP_MOVE:
        rc = change_messages(machine, step);
        break;
    case STEP_CREATE:
    case STEP_RENAME:
    case STEP_DELETE:
    case STEP_SUBSCRIBE:
        change_account(machine, step);
        break;
    case STEP_SYNC:
    case STEP_FLUSH:
        sync_all(machine, step->kind == STEP_FLUSH);
        return;
    case STEP_WORK:
        power_host_wait(machine->power, (int64_t)step->n * 1000);
        store_work(machine->store, step->n % 2 == 0);
        return;
    case STEP_LOGIN:
        log_in_again(machine, step->user);
        return;
    case STEP_REOPEN:
        machine_close(machine);
        machine_open(machine);
        break;
    case STEP_KINDS:
        break;
    }
    ck_assert_int_eq(rc, 0);
    note_state(machine);
    if (step->kind == STEP_REOPEN) {
        machine_check_equal(machine->states->pdata[machine->states->len - 2],
                            machine->states->pdata[machine->states->len - 1], "opened again");
    }
}

/* --- after a cut --- */

char *machine_copy_name(struct machine *machine)
{
    return g_strdup_printf("%s/copy%u", machine->home, machine->copies++);
}

static int no_sync(void *data, int fd)
{
    (void)data;
    (void)fd;
    return 0;
}

static int no_directory_sync(void *data, const char *path)
{
    (void)data;
    (void)path;
    return 0;
}

static int64_t later(void *data)
{
    (void)data;
    return host_system()->now(NULL) + (int64_t)LATER * 1000000;
}

const struct host *machine_later(void)
{
    static struct host host;

    host = *host_system();
    host.fsync = no_sync;
    host.fdatasync = no_sync;
    host.syncfs = no_sync;
    host.fsync_directory = no_directory_sync;
    host.now = later;
    return &host;
}

GHashTable *machine_recover(const char *directory, const struct host *host)
{
    struct account *accounts[MACHINE_USERS];
    struct store_error error;
    struct store *store;
    int rc = store_open(&store, directory, host, &error);

    for (unsigned u = 0; u < MACHINE_USERS && rc == 0; u++) {
        rc = store_open_account(store, machine_users[u], &accounts[u], &error);
    }
    if (rc < 0) {
        ck_abort_msg("recovering %s: %s", directory, error.detail);
    }
    GHashTable *state = machine_state(accounts);
    for (unsigned u = 0; u < MACHINE_USERS; u++) {
        account_unref(accounts[u]);
    }
    store_close(store);
    return state;
}

static const char *value_at(const struct machine *machine, guint state, const char *name)
{
    return g_hash_table_lookup(machine->states->pdata[state], name);
}

static void add_names(GHashTable *names, GHashTable *state)
{
    GHashTableIter iterator;
    void *name;

    g_hash_table_iter_init(&iterator, state);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        g_hash_table_add(names, name);
    }
}

static bool is_at(const struct machine *machine, GHashTable *state, const char *name, guint first,
                  guint end)
{
    const char *value = g_hash_table_lookup(state, name);

    for (guint i = first; i < end; i++) {
        if (g_strcmp0(value, value_at(machine, i, name)) == 0) {
            return true;
        }
    }
    return false;
}

/* Whatever step i changed is changed, or none of it. */
static void check_whole(const struct machine *machine, GHashTable *state, GHashTable *names,
                        guint acknowledged, guint i, const char *what)
{
    GHashTableIter iterator;
    void *name;
    const char *done = NULL;
    const char *undone = NULL;

    g_hash_table_iter_init(&iterator, names);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        if (g_strcmp0(value_at(machine, i, name), value_at(machine, i - 1, name)) == 0) {
            continue;
        }
        if (!is_at(machine, state, name, acknowledged, i)) {
            done = name;
        } else if (!is_at(machine, state, name, i, machine->states->len)) {
            undone = name;
        }
    }
    ck_assert_msg(done == NULL || undone == NULL, "%s: step %u is half done: %s, but not %s", what,
                  i, done, undone);
}

void machine_check_state(const struct machine *machine, GHashTable *state, guint acknowledged,
                         const char *what)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iterator;
    void *name;

    add_names(names, state);
    for (guint i = acknowledged; i < machine->states->len; i++) {
        add_names(names, machine->states->pdata[i]);
    }
    g_hash_table_iter_init(&iterator, names);
    while (g_hash_table_iter_next(&iterator, &name, NULL)) {
        ck_assert_msg(is_at(machine, state, name, acknowledged, machine->states->len),
                      "%s: %s is %s, acknowledged (%u) was %s, last (%u) %s", what, (char *)name,
                      (char *)g_hash_table_lookup(state, name), acknowledged,
                      value_at(machine, acknowledged, name), machine->states->len - 1,
                      value_at(machine, machine->states->len - 1, name));
    }
    for (guint i = acknowledged + 1; i < machine->states->len; i++) {
        check_whole(machine, state, names, acknowledged, i, what);
    }
}

static void check_packs(const struct machine *machine, const char *directory, const char *user)
{
    g_autofree char *short_path = g_strdup_printf("mail/%s.git/objects/pack", user);
    g_autofree char *path = g_strconcat(directory, "/", short_path, NULL);
    DIR *handle = opendir(path);
    const struct dirent *entry;

    ck_assert_ptr_nonnull(handle);
    while ((entry = readdir(handle)) != NULL) {
        g_autofree char *name = g_strconcat(short_path, "/", entry->d_name, NULL);
        g_autofree char *copy = g_strconcat(path, "/", entry->d_name, NULL);
        g_autofree char *content = NULL;
        gsize length;
        size_t expected;
        const void *once = power_host_content(machine->power, name, &expected);

        if (once == NULL || (!g_str_has_suffix(entry->d_name, ".pack") &&
                             !g_str_has_suffix(entry->d_name, ".idx"))) {
            continue;
        }
        ck_assert(g_file_get_contents(copy, &content, &length, NULL));
        ck_assert_msg(length == expected && (length == 0 || memcmp(content, once, length) == 0),
                      "%s is not what it was", copy);
    }
    closedir(handle);
}

void machine_check_directory(const struct machine *machine, const char *directory, bool fsck)
{
    for (unsigned u = 0; u < MACHINE_USERS; u++) {
        g_autofree char *path = g_strdup_printf("%s/mail/%s.git", directory, machine_users[u]);
        char finding[512] = "";

        ck_assert_msg(count_findings(path, finding, sizeof(finding)) == 0, "%s: verify: %s", path,
                      finding);
        ck_assert(!fsck || GIT(path, "fsck", "--strict", "--full", "--no-dangling"));
        check_packs(machine, directory, machine_users[u]);
    }
}
