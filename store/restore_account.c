/* Mailboxes with their names, and whole accounts. */
#include <string.h>

#include "store/internal/restore_private.h"

enum { OTHER_NAMES_MAX = 1000 };

struct work {
    struct account *account;
    struct account *source;
    const struct moment *moment;
    const struct restore_options *options;
    bool displace; /* whoever has a name that is needed gets another one */
    restore_report report;
    void *data;
    bool again;      /* not the first time: what is as it should be is not told */
    unsigned *moved; /* counts mailboxes that got another name */
};

enum { ROUNDS_MAX = 40 }; /* of a tree: more than names have levels */

static void tell(const struct work *work, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct work *work, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    work->report(line, work->data);
}

static void tell_counts(const struct work *work, const char *name,
                        const struct restore_counts *counts)
{
    if (restore_counts_any(counts)) {
        tell(work, "%s: %zu messages come back, %zu go, %zu have other flags", name,
             counts->returned, counts->removed, counts->changed);
    } else if (!work->again) {
        tell(work, "%s: nothing to do", name);
    }
}

/* --- one mailbox --- */

/* A mailbox of then. */
struct past_mailbox {
    struct past_state state;
    struct mailbox *mailbox; /* to be read only */
    const struct snapshot *then;
};

static void past_mailbox_clear(struct past_mailbox *past)
{
    past_state_clear(&past->state);
    g_clear_pointer(&past->mailbox, mailbox_unref);
}

static int past_mailbox_open(struct past_mailbox *past, const struct work *work, const char *name,
                             struct store_error *error)
{
    int rc;

    memset(past, 0, sizeof(*past));
    rc = past_find(work->source, name, work->moment, &past->state, NULL, error);
    if (rc == 0) {
        rc = past_open(work->source, name, work->moment, &past->mailbox, NULL, error);
    }
    if (rc == 0) {
        past->then = mailbox_snapshot(past->mailbox);
    }
    return rc;
}

static int restore_into(const struct work *work, const char *name, const struct snapshot *then,
                        struct store_error *error)
{
    struct restore_counts counts = {0};
    struct mailbox *mailbox;
    int rc = account_open_mailbox(work->account, name, &mailbox, error);

    if (rc < 0) {
        return rc;
    }
    rc = restore_mailbox(mailbox, then, work->options, &counts, error);
    mailbox_unref(mailbox);
    if (rc == 0) {
        tell_counts(work, name, &counts);
    }
    return rc;
}

static int extend_boundary(struct account *account, const struct object_id *tip,
                           const struct observer *observer, struct store_error *error)
{
    g_autoptr(GArray) tips = g_array_new(FALSE, FALSE, sizeof(struct object_id));

    g_array_append_val(tips, *tip);
    return restore_extend_boundary(account->path, account->objects, tips, observer, error);
}

/* What is not in the account any more, or never was: then it is in the source. */
static int restore_chain(const struct work *work, const char *name, const struct past_mailbox *past,
                         const struct restore_place *place, struct store_error *error)
{
    struct restore_counts counts = {0};
    struct object_id tip = place->tip;
    int rc = 0;

    if (place->grave == NULL) {
        rc = pending_tip(work->source, past->state.ref, &tip, error);
        if (rc == 0 && !work->options->dry_run) {
            rc = extend_boundary(work->account, &tip, work->options->observer, error);
        }
    }
    if (rc == 0) {
        rc = restore_branch(work->account, name, &tip, place->grave, past->then, work->options,
                            &counts, error);
    }
    if (rc == 0) {
        tell(work, "%s: was deleted, comes back with %zu messages", name,
             snapshot_count(past->then));
    }
    return rc;
}

static int restore_as(const struct work *work, const char *as, const struct past_mailbox *past,
                      const struct restore_place *place, struct store_error *error)
{
    int rc;

    if (place->name == NULL) {
        return restore_chain(work, as, past, place, error);
    }
    if (work->options->dry_run) {
        tell(work, "%s: %zu messages", as, snapshot_count(past->then));
        return account_mailbox_exists(work->account, as)
                   ? store_error_set(error, STORE_EXISTS, "%s exists", as)
                   : 0;
    }
    rc = account_create_mailbox(work->account, as, SPECIAL_USE_NONE, work->options->origin, error);
    return rc < 0 ? rc : restore_into(work, as, past->then, error);
}

static bool is_at_or_below(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);

    return strncmp(name, prefix, length) == 0 && (name[length] == '\0' || name[length] == '/');
}

/* Gives whoever has the name another one: *other, a new string. */
static int step_aside(const struct work *work, const char *name, char **other,
                      struct store_error *error)
{
    int rc = STORE_EXISTS;

    *other = NULL;
    for (unsigned i = 1; rc == STORE_EXISTS && i <= OTHER_NAMES_MAX; i++) {
        g_free(*other);
        *other = g_strdup_printf("%s (since, %u)", name, i);
        rc = account_rename_mailbox(work->account, name, *other, work->options->origin, error);
    }
    ++*work->moved;
    return rc;
}

static int displace(const struct work *work, const char *name, struct store_error *error)
{
    g_autofree char *other = NULL;
    int rc = work->options->dry_run ? 0 : step_aside(work, name, &other, error);

    if (rc == 0 && other != NULL) {
        tell(work, "%s: another mailbox had this name, it is called %s now", name, other);
    }
    return rc;
}

/* Makes the name free, or says that it is not. */
static int make_free(const struct work *work, const char *name, struct store_error *error)
{
    if (!account_mailbox_exists(work->account, name)) {
        return 0;
    }
    if (work->displace) {
        return displace(work, name, error);
    }
    return store_error_set(error, STORE_EXISTS, "another mailbox is called %s now", name);
}

static int give_name_back(const struct work *work, const char *name, const char *now,
                          const struct snapshot *then, struct store_error *error)
{
    g_autofree char *aside = NULL;
    int rc = 0;

    tell(work, "%s: is called %s now, gets its name back", name, now);
    if (work->options->dry_run) {
        return restore_into(work, now, then, error);
    }
    /* No mailbox can go below itself. */
    if (is_at_or_below(name, now)) {
        rc = step_aside(work, now, &aside, error);
        now = aside;
    }
    if (rc == 0) {
        rc = account_rename_mailbox(work->account, now, name, work->options->origin, error);
    }
    ++*work->moved;
    return rc < 0 ? rc : restore_into(work, name, then, error);
}

/* It exists under another name than then. */
static int restore_renamed(const struct work *work, const char *name,
                           const struct restore_place *place, const struct snapshot *then,
                           struct store_error *error)
{
    struct restore_place moved = {0};
    const char *now = place->name;
    int rc = make_free(work, name, error);

    /* Whoever had the name took along what was below. */
    if (rc == 0 && !account_mailbox_exists(work->account, now)) {
        rc = restore_locate(work->account, snapshot_mailbox_id(then), NULL, &moved, error);
        now = moved.name;
    }
    if (rc == 0) {
        rc = now != NULL
                 ? give_name_back(work, name, now, then, error)
                 : store_error_set(error, STORE_CONFLICT, "%s was deleted just now", place->name);
    }
    restore_place_clear(&moved);
    return rc;
}

static int restore_to_place(const struct work *work, const char *name,
                            const struct past_mailbox *past, const struct restore_place *place,
                            struct store_error *error)
{
    int rc;

    /* INBOX has one name for ever: another mailbox may be in its place, yet it is INBOX. */
    if (strcmp(name, "INBOX") == 0 && (place->name == NULL || strcmp(place->name, name) != 0)) {
        return restore_into(work, name, past->then, error);
    }
    if (place->name != NULL && strcmp(place->name, name) == 0) {
        return restore_into(work, name, past->then, error);
    }
    if (place->name != NULL && strcmp(place->name, "INBOX") != 0) {
        return restore_renamed(work, name, place, past->then, error);
    }
    rc = make_free(work, name, error);
    if (rc == 0 && place->name == NULL) {
        rc = restore_chain(work, name, past, place, error);
    } else if (rc == 0) {
        rc = restore_as(work, name, past, place, error);
    }
    return rc;
}

static int restore_named(const struct work *work, const char *name, const char *as,
                         struct store_error *error)
{
    struct restore_place place = {0};
    struct past_mailbox past;
    int rc = past_mailbox_open(&past, work, name, error);

    if (rc == 0) {
        rc = restore_locate(work->account, snapshot_mailbox_id(past.then), past.state.name, &place,
                            error);
    }
    if (rc == 0) {
        rc = as != NULL ? restore_as(work, as, &past, &place, error)
                        : restore_to_place(work, past.state.name, &past, &place, error);
    }
    restore_place_clear(&place);
    past_mailbox_clear(&past);
    return rc;
}

int restore_one(struct account *account, struct account *source, const char *name,
                const struct moment *moment, const char *as, const struct restore_options *options,
                restore_report report, void *data, struct store_error *error)
{
    unsigned moved = 0;
    struct work work = {account, source, moment, options, false, report, data, false, &moved};

    return restore_named(&work, name, as, error);
}

/* --- the last that was deleted --- */

static int find_grave(struct account *account, const char *ref, char **grave, struct object_id *tip,
                      struct store_error *error)
{
    g_autofree char *prefix = g_strconcat(DELETED_PREFIX, ref + strlen(HEADS_PREFIX), "/", NULL);
    g_autoptr(GPtrArray) refs = NULL;
    uint64_t last = 0;
    int rc = refs_list(account->refs, prefix, &refs, error);

    *grave = NULL;
    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *entry = g_ptr_array_index(refs, i);
        uint64_t number = g_ascii_strtoull(entry->name + strlen(prefix), NULL, 10);

        if (*grave == NULL || number >= last) {
            g_free(*grave);
            *grave = g_strdup(entry->name);
            *tip = entry->id;
            last = number;
        }
    }
    return rc == 0 && *grave == NULL
               ? store_error_set(error, STORE_NOT_FOUND, "no deleted mailbox of that name is kept")
               : rc;
}

int restore_deleted(struct account *account, const char *name, const char *as,
                    const struct restore_options *options, restore_report report, void *data,
                    struct store_error *error)
{
    unsigned moved = 0;
    struct work work = {account, account, NULL, options, false, report, data, false, &moved};
    g_autofree char *canonical = NULL;
    g_autofree char *grave = NULL;
    g_autofree char *ref = NULL;
    struct restore_counts counts = {0};
    struct snapshot *then = NULL;
    struct object_id tip;
    int rc = account_name(&canonical, &ref, name, error);

    if (rc == 0) {
        rc = find_grave(account, ref, &grave, &tip, error);
    }
    if (rc == 0) {
        rc = past_snapshot(account, &tip, &then, error);
    }
    if (rc == 0) {
        rc = restore_branch(account, as != NULL ? as : canonical, &tip, grave, then, options,
                            &counts, error);
    }
    if (rc == 0) {
        tell(&work, "%s: was deleted, comes back with %zu messages", as != NULL ? as : canonical,
             snapshot_count(then));
    }
    snapshot_unref(then);
    return rc;
}

/* --- what did not exist then --- */

/* The ids of mailboxes of then. */
static int find_ids(const struct work *work, const GPtrArray *states, GHashTable *ids,
                    struct store_error *error)
{
    for (guint i = 0; i < states->len; i++) {
        const struct past_state *state = g_ptr_array_index(states, i);
        struct properties properties;
        struct store_error ignored;

        /* A state that is no mailbox has a good one before it, which the next step finds. */
        if (restore_properties(&properties, work->source->objects, &state->commit, &ignored) == 0) {
            g_hash_table_add(ids, g_strdup(properties.mailbox_id));
        } else {
            struct mailbox *mailbox;
            int rc = past_open(work->source, state->name, work->moment, &mailbox, NULL, error);

            if (rc < 0) {
                properties_release(&properties);
                return rc;
            }
            g_hash_table_add(ids, g_strdup(snapshot_mailbox_id(mailbox_snapshot(mailbox))));
            mailbox_unref(mailbox);
        }
        properties_release(&properties);
    }
    return 0;
}

static int delete_if_new(const struct work *work, const char *name, GHashTable *ids,
                         struct store_error *error)
{
    struct mailbox *mailbox;
    bool known;
    int rc = account_open_mailbox(work->account, name, &mailbox, error);

    if (rc < 0) {
        return rc;
    }
    known = g_hash_table_contains(ids, snapshot_mailbox_id(mailbox_snapshot(mailbox)));
    mailbox_unref(mailbox);
    if (known || strcmp(name, "INBOX") == 0) {
        return 0;
    }
    tell(work, "%s: did not exist then, is deleted (its history stays)", name);
    return work->options->dry_run
               ? 0
               : account_delete_mailbox(work->account, name, work->options->origin, error);
}

static int delete_new(const struct work *work, const GPtrArray *states, struct store_error *error)
{
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) names = NULL;
    int rc = find_ids(work, states, ids, error);

    if (rc == 0) {
        rc = account_names(work->account, &names, error);
    }
    /* The names ascend: children first. */
    for (guint i = names != NULL ? names->len : 0; rc == 0 && i > 0; i--) {
        rc = delete_if_new(work, names->pdata[i - 1], ids, error);
    }
    return rc;
}

/* --- subscriptions and special uses --- */

static int resolve_time(const struct work *work, int64_t *time, struct store_error *error)
{
    struct past_state state = {0};
    int rc = 0;

    *time = work->moment->last;
    if (work->moment->commit[0] != '\0') {
        rc = past_find(work->source, NULL, work->moment, &state, NULL, error);
        *time = state.time;
    }
    past_state_clear(&state);
    return rc;
}

/* The account's state at a time; NULL where there is none. */
static int find_state(const struct work *work, int64_t time, struct account_state **out,
                      struct store_error *error)
{
    struct objects *objects = work->source->objects;
    struct object_id at;
    int rc = refs_read(work->source->refs, ACCOUNT_REF, &at, error);

    *out = NULL;
    if (rc == STORE_NOT_FOUND) {
        return 0;
    }
    while (rc == 0 && !object_id_is_zero(&at)) {
        struct object_data data;
        struct commit commit = {.time = INT64_MAX};

        rc = objects_read(objects, &at, OBJECT_COMMIT, &data, error);
        if (rc < 0) {
            return rc == STORE_NOT_FOUND ? 0 : rc;
        }
        rc = commit_decode(&commit, data.data, data.length, error);
        object_data_release(&data);
        if (rc == 0 && commit.time <= time) {
            return account_state_load(out, objects, &at, error);
        }
        at = commit.parent;
    }
    return rc;
}

static int restore_subscriptions(const struct work *work, const struct account_state *then,
                                 struct store_error *error)
{
    g_autoptr(GPtrArray) now = g_ptr_array_new_with_free_func(g_free);
    const struct origin *origin = work->options->origin;
    guint position;
    int rc = 0;

    for (guint i = 0; i < work->account->state->subscriptions->len; i++) {
        g_ptr_array_add(now, g_strdup(work->account->state->subscriptions->pdata[i]));
    }
    for (guint i = 0; rc == 0 && i < now->len && !work->options->keep_new; i++) {
        if (!account_state_find_subscription(then, now->pdata[i], &position)) {
            rc = account_subscribe(work->account, now->pdata[i], false, origin, error);
        }
    }
    for (guint i = 0; rc == 0 && i < then->subscriptions->len; i++) {
        rc = account_subscribe(work->account, then->subscriptions->pdata[i], true, origin, error);
    }
    return rc;
}

static int restore_uses(const struct work *work, const struct account_state *then,
                        struct store_error *error)
{
    int rc = 0;

    for (int i = SPECIAL_USE_NONE + 1; rc == 0 && i < SPECIAL_USE_COUNT; i++) {
        const char *before = then->special_use[i];
        g_autofree char *now = g_strdup(work->account->state->special_use[i]);

        if (g_strcmp0(before, now) == 0) {
            continue;
        }
        if (before != NULL && account_mailbox_exists(work->account, before)) {
            rc = account_set_special_use(work->account, before, (enum special_use)i,
                                         work->options->origin, error);
        } else if (before == NULL && now != NULL && !work->options->keep_new &&
                   account_mailbox_exists(work->account, now)) {
            rc = account_set_special_use(work->account, now, SPECIAL_USE_NONE,
                                         work->options->origin, error);
        }
    }
    return rc;
}

static int restore_state(const struct work *work, struct store_error *error)
{
    struct account_state *then = NULL;
    int64_t time;
    int rc = resolve_time(work, &time, error);

    if (rc == 0) {
        rc = find_state(work, time, &then, error);
    }
    if (rc == 0 && then != NULL) {
        rc = account_state_refresh(work->account, error);
        if (rc == 0) {
            rc = restore_subscriptions(work, then, error);
        }
        if (rc == 0) {
            rc = restore_uses(work, then, error);
        }
    }
    account_state_free(then);
    return rc;
}

/* --- all --- */

/* Superiors come before what is below them, and take it along where they are renamed. */
static int restore_states(const struct work *work, const GPtrArray *states, const char *prefix,
                          unsigned *found, struct store_error *error)
{
    int rc = 0;

    for (guint i = 0; rc == 0 && i < states->len; i++) {
        const struct past_state *state = g_ptr_array_index(states, i);

        rc = observer_tell(work->options->observer, OBSERVER_MAILBOXES, i, states->len, error);
        if (rc == 0 && (prefix == NULL || is_at_or_below(state->name, prefix))) {
            rc = restore_named(work, state->name, NULL, error);
            ++*found;
        }
    }
    return rc;
}

int restore_tree(struct account *account, struct account *source, const char *prefix,
                 const struct moment *moment, const struct restore_options *options,
                 restore_report report, void *data, struct store_error *error)
{
    unsigned moved = 0;
    struct work work = {account, source, moment, options, true, report, data, false, &moved};
    g_autoptr(GPtrArray) states = NULL;
    unsigned found = 0;
    int rc = past_list(source, moment, &states, NULL, error);

    if (rc == 0 && prefix == NULL && !options->keep_new && states->len > 0) {
        rc = delete_new(&work, states, error);
    }
    if (rc == 0) {
        rc = restore_states(&work, states, prefix, &found, error);
    }
    /* Whoever was renamed took along what is below, also what had its name already. */
    for (unsigned i = 1; rc == 0 && moved > 0 && i < ROUNDS_MAX; i++) {
        work.again = true;
        moved = 0;
        rc = restore_states(&work, states, prefix, &found, error);
    }
    if (rc == 0 && found == 0) {
        rc = store_error_set(error, STORE_NOT_FOUND, "there was no mailbox then%s%s",
                             prefix != NULL ? ": " : "", prefix != NULL ? prefix : "");
    }
    if (rc == 0 && prefix == NULL && !options->dry_run) {
        rc = restore_state(&work, error);
    }
    return rc;
}
