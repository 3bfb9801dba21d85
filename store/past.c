#include "store/past.h"

#include <string.h>
#include <sys/stat.h>

#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/commit.h"
#include "store/internal/shallow.h"
#include "store/internal/snapshot_cache.h"
#include "store/internal/snapshot_load.h"
#include "store/internal/text.h"
#include "store/internal/timeline.h"

enum {
    BAD_STATES_MAX = 100, /* commits on end that are no mailbox, before opening gives up */
    SHORT_ID = 12,        /* digits */
};

void past_state_clear(struct past_state *state)
{
    g_free(state->name);
    g_free(state->ref);
    memset(state, 0, sizeof(*state));
}

static void past_state_free(void *data)
{
    past_state_clear(data);
    g_free(data);
}

/* --- chains of commits --- */

/* A branch, or what is left of a deleted one. */
struct chain {
    char *ref;
    char *name; /* the mailbox's, now or when it was deleted */
    struct object_id tip;
    bool deleted;
    uint64_t number; /* by which deleted ones of a name are told apart: the UIDVALIDITY */
};

static void chain_free(void *data)
{
    struct chain *chain = data;

    g_free(chain->ref);
    g_free(chain->name);
    g_free(chain);
}

static void add_chain(GPtrArray *chains, const char *ref, char *name, const struct object_id *tip)
{
    struct chain *chain = g_new0(struct chain, 1);
    const char *number = strrchr(ref, '/') + 1;

    chain->ref = g_strdup(ref);
    chain->name = name;
    chain->tip = *tip;
    chain->deleted = g_str_has_prefix(ref, DELETED_PREFIX);
    chain->number = chain->deleted ? g_ascii_strtoull(number, NULL, 10) : 0;
    g_ptr_array_add(chains, chain);
}

static int add_branches(GPtrArray *chains, struct account *account, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    struct store_error ignored;
    int rc = refs_list(account->refs, HEADS_PREFIX, &refs, error);

    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *entry = g_ptr_array_index(refs, i);
        struct object_id tip;
        char *name;

        if (branch_name_decode(&name, entry->name + strlen(HEADS_PREFIX), &ignored) < 0) {
            continue;
        }
        if (pending_tip(account, entry->name, &tip, &ignored) == 0) {
            add_chain(chains, entry->name, name, &tip);
        } else {
            g_free(name);
        }
    }
    return rc;
}

static int add_deleted(GPtrArray *chains, struct account *account, struct store_error *error)
{
    g_autoptr(GPtrArray) refs = NULL;
    struct store_error ignored;
    int rc = refs_list(account->refs, DELETED_PREFIX, &refs, error);

    for (guint i = 0; rc == 0 && i < refs->len; i++) {
        const struct ref_entry *entry = g_ptr_array_index(refs, i);
        const char *branch = entry->name + strlen(DELETED_PREFIX);
        const char *slash = strchr(branch, '/');
        g_autofree char *encoded = g_strndup(branch, slash != NULL ? (gsize)(slash - branch) : 0);
        char *name;

        if (slash != NULL && branch_name_decode(&name, encoded, &ignored) == 0) {
            add_chain(chains, entry->name, name, &entry->id);
        }
    }
    return rc;
}

/* Living ones before deleted ones, of those the last one first. */
static int compare_chains(const void *a, const void *b)
{
    const struct chain *x = *(const struct chain *const *)a;
    const struct chain *y = *(const struct chain *const *)b;

    if (x->deleted != y->deleted) {
        return x->deleted ? 1 : -1;
    }
    if (x->number != y->number) {
        return x->number > y->number ? -1 : 1;
    }
    return strcmp(x->ref, y->ref);
}

static int list_chains(GPtrArray **out, struct account *account, struct store_error *error)
{
    int rc;

    *out = g_ptr_array_new_with_free_func(chain_free);
    rc = add_branches(*out, account, error);
    if (rc == 0) {
        rc = add_deleted(*out, account, error);
    }
    g_ptr_array_sort(*out, compare_chains);
    if (rc < 0) {
        g_clear_pointer(out, g_ptr_array_unref);
    }
    return rc;
}

/* --- their histories in brief --- */

/* What is known between two calls. */
struct past_progress {
    GPtrArray *chains; /* struct chain *; NULL: not listed yet */
    guint next;        /* of the chains, to be looked at */
    GPtrArray *states; /* struct past_state *, of each chain before; no name: there was none */
    GHashTable *days;  /* those of each chain before */
    struct timeline timeline; /* of the chain under way, if it is */
    bool under_way;
};

void past_progress_free(struct past_progress *progress)
{
    if (progress == NULL) {
        return;
    }
    g_clear_pointer(&progress->chains, g_ptr_array_unref);
    g_clear_pointer(&progress->states, g_ptr_array_unref);
    g_clear_pointer(&progress->days, g_hash_table_unref);
    if (progress->under_way) {
        timeline_release(&progress->timeline);
    }
    g_free(progress);
}

struct reading {
    struct account *account;
    struct timeline_reader reader;
    struct id_set ends;
    int64_t boundary; /* as struct timeline has it */
    struct past_progress *progress;
    bool unfinished; /* there are no steps left, but more to do */
};

/* Whatever is written to the file makes it another one: it is replaced, never altered. */
static int64_t boundary_of(const struct account *account)
{
    g_autofree char *path = g_strconcat(account->path, "/shallow", NULL);
    struct stat status;

    if (stat(path, &status) < 0) {
        return 0;
    }
    return (int64_t)(((uint64_t)status.st_mtim.tv_sec * 1000000000 +
                      (uint64_t)status.st_mtim.tv_nsec) ^
                     ((uint64_t)status.st_ino << 40) ^ (uint64_t)status.st_size) |
           1;
}

/* To be ended also after a failure. */
static int reading_begin(struct reading *reading, struct account *account,
                         struct past_progress **progress, struct store_error *error)
{
    reading->account = account;
    reading->reader.objects = account->objects;
    reading->reader.steps = progress != NULL ? PAST_STEPS : SIZE_MAX;
    reading->reader.ends = NULL;
    reading->boundary = boundary_of(account);
    reading->progress = progress != NULL ? g_steal_pointer(progress) : NULL;
    reading->unfinished = false;
    id_set_init(&reading->ends);
    if (reading->progress == NULL) {
        reading->progress = g_new0(struct past_progress, 1);
    }
    if (reading->boundary == 0) {
        return 0;
    }
    reading->reader.ends = &reading->ends;
    return shallow_read(&reading->ends, account->path, error);
}

/* Keeps what is known if there is more to do. */
static void reading_end(struct reading *reading, struct past_progress **progress)
{
    id_set_release(&reading->ends);
    if (progress != NULL && reading->unfinished) {
        *progress = reading->progress;
    } else {
        past_progress_free(reading->progress);
    }
}

/* Where the brief history of the mailbox is kept; NULL if its tip is no mailbox. */
static char *timeline_path(const struct account *account, const struct object_id *tip)
{
    struct properties properties;
    struct store_error ignored;
    char *path = NULL;

    if (properties_load(&properties, account->objects, tip, &ignored) == 0) {
        path = g_strconcat(account->cache, "/timelines/", properties.mailbox_id, NULL);
    }
    properties_release(&properties);
    return path;
}

static void save(struct timeline *timeline, const struct account *account, const char *path)
{
    g_autofree char *directory = g_strconcat(account->cache, "/timelines", NULL);
    g_autofree char *users = g_path_get_dirname(account->cache);

    if (path == NULL || timeline->read < TIMELINE_SAVE) {
        return;
    }
    mkdir(users, 0700);
    mkdir(account->cache, 0700);
    mkdir(directory, 0700);
    timeline_save(timeline, path);
}

/* Brings the timeline of the chain under way so far that it reaches since, or there are no steps
 * left. */
static int go_on(struct reading *reading, const struct chain *chain, int64_t since,
                 struct store_error *error)
{
    struct past_progress *progress = reading->progress;
    struct timeline *timeline = &progress->timeline;
    g_autofree char *path = timeline_path(reading->account, &chain->tip);
    int rc;

    if (!progress->under_way) {
        timeline_load(timeline, path);
        progress->under_way = true;
    }
    /* Of a history that was cut off since, what was known is not to be had any more. */
    if (timeline->stretches->len > 0 &&
        (timeline->boundary != reading->boundary ||
         !objects_exist(reading->account->objects, &timeline->oldest))) {
        timeline_release(timeline);
        timeline_init(timeline);
    }
    rc = timeline_read(timeline, &reading->reader, &chain->tip, chain->name, since, error);
    if (rc == 0) {
        timeline->boundary = reading->boundary;
        save(timeline, reading->account, path);
        reading->unfinished = !timeline_reaches(timeline, since);
    }
    return rc;
}

/* Fills *out, to be released in any case; only what reaches since, otherwise reading->unfinished.
 */
static int read_chain(struct timeline *out, struct reading *reading, const struct chain *chain,
                      int64_t since, struct store_error *error)
{
    struct past_progress *progress = reading->progress;
    int rc = 0;

    timeline_init(out);
    if (reading->reader.steps < PAST_LOOK) {
        reading->unfinished = true;
        return 0;
    }
    reading->reader.steps -= PAST_LOOK;
    rc = go_on(reading, chain, since, error);
    if (rc < 0 || !reading->unfinished) {
        timeline_release(out);
        *out = progress->timeline;
        progress->under_way = false;
    }
    return rc;
}

/* Where the chain stood. STORE_NOT_FOUND: nowhere, or deleted. */
static int find_in_chain(struct past_state *out, struct reading *reading, const struct chain *chain,
                         int64_t time, struct store_error *error)
{
    struct timeline timeline;
    const char *name;
    int rc = read_chain(&timeline, reading, chain, time, error);

    memset(out, 0, sizeof(*out));
    if (rc == 0 && !reading->unfinished) {
        rc = timeline_find(&timeline, &reading->reader, time, &out->commit, &out->time, &name,
                           error);
        if (rc == 0 && name == NULL) {
            rc = store_error_set(error, STORE_NOT_FOUND, "the mailbox was deleted by then");
        }
        if (rc == 0) {
            out->name = g_strdup(name);
            out->ref = g_strdup(chain->ref);
        }
    }
    timeline_release(&timeline);
    return rc;
}

static void keep_up(struct account *account, struct mailbox *mailbox)
{
    struct chain chain = {
        .ref = mailbox->ref, .name = mailbox->name, .tip = mailbox->snapshot->commit};
    struct past_progress *progress = NULL;
    struct store_error ignored;
    struct timeline timeline;
    struct reading reading;

    if (reading_begin(&reading, account, &progress, &ignored) == 0) {
        read_chain(&timeline, &reading, &chain, INT64_MIN, &ignored);
        timeline_release(&timeline);
    }
    reading_end(&reading, &progress);
    if (progress == NULL) {
        mailbox->noted = mailbox->snapshot->highest_modseq;
    }
    past_progress_free(progress);
}

void past_keep_up(struct account *account)
{
    GHashTableIter iterator;
    void *value;

    g_hash_table_iter_init(&iterator, account->mailboxes);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        struct mailbox *mailbox = value;
        uint64_t highest = mailbox->snapshot->highest_modseq;

        if (highest < mailbox->noted || highest - mailbox->noted >= PAST_KEEP_UP) {
            keep_up(account, mailbox);
        }
    }
}

/* --- finding --- */

/* What a commit says of a name is made harmless. */
static bool is_name(const char *known, const char *wanted)
{
    g_autoptr(GString) harmless = g_string_new(NULL);

    text_append_harmless(harmless, wanted, strlen(wanted), strlen(wanted));
    return strcmp(known, wanted) == 0 || strcmp(known, harmless->str) == 0;
}

static int try_chain(struct past_state *out, struct reading *reading, const struct chain *chain,
                     const char *name, int64_t time, struct store_error *error)
{
    int rc = find_in_chain(out, reading, chain, time, error);

    if (rc == 0 && !reading->unfinished && !is_name(out->name, name)) {
        past_state_clear(out);
        rc = store_error_set(error, STORE_NOT_FOUND, "the mailbox had another name then");
    }
    return rc;
}

/* Chains that end with the name are likelier to have had it: they come first. */
static int search_chains(struct past_state *out, struct reading *reading, const char *name,
                         int64_t time, struct store_error *error)
{
    struct past_progress *progress = reading->progress;
    guint count = progress->chains->len;

    for (; progress->next < 2 * count; progress->next++) {
        const struct chain *chain = g_ptr_array_index(progress->chains, progress->next % count);
        bool likely = progress->next < count;

        if ((strcmp(chain->name, name) == 0) == likely) {
            int rc = try_chain(out, reading, chain, name, time, error);

            if (rc != STORE_NOT_FOUND) {
                return rc;
            }
        }
    }
    return store_error_set(error, STORE_NOT_FOUND, "no mailbox had that name then");
}

/* In the mailbox that has the name now. */
static int find_in_own(struct past_state *out, struct reading *reading, const char *name,
                       const char *ref, int64_t time, struct store_error *error)
{
    struct chain own = {.ref = (char *)ref, .name = (char *)name};
    int rc = pending_tip(reading->account, ref, &own.tip, error);

    return rc == 0 ? try_chain(out, reading, &own, name, time, error) : rc;
}

static int find_at(struct past_state *out, struct reading *reading, const char *name, int64_t time,
                   struct store_error *error)
{
    struct past_progress *progress = reading->progress;
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    int rc = account_name(&canonical, &ref, name, error);

    if (rc == 0 && progress->chains == NULL) {
        rc = find_in_own(out, reading, canonical, ref, time, error);
        if (rc == STORE_NOT_FOUND) {
            rc = list_chains(&progress->chains, reading->account, error);
        }
    }
    if (rc == 0 && progress->chains != NULL) {
        rc = search_chains(out, reading, canonical, time, error);
    }
    if (rc == 0 && out->name != NULL) {
        g_free(out->name);
        out->name = g_steal_pointer(&canonical);
    }
    return rc;
}

/* --- the moment of a commit --- */

/* A commit that an id or the beginning of one means. */
struct meant {
    struct object_id commit;
    int64_t time;
    char mailbox_id[MAILBOX_ID_MAX + 1];
    uint32_t uid_validity;
};

static int find_commit(struct meant *out, struct account *account, const char *digits,
                       struct store_error *error)
{
    struct properties properties;
    struct object_data data;
    struct commit decoded;
    int rc = 0;

    if (!object_id_parse(&out->commit, digits)) {
        rc = objects_expand(account->objects, digits, &out->commit, error);
    }
    if (rc == 0) {
        rc = objects_read(account->objects, &out->commit, OBJECT_COMMIT, &data, error);
    }
    if (rc < 0) {
        return rc == STORE_CORRUPT ? store_error_set(error, STORE_NOT_FOUND, "no commit") : rc;
    }
    rc = commit_decode(&decoded, data.data, data.length, error);
    out->time = decoded.committed;
    object_data_release(&data);
    if (rc == 0) {
        rc = properties_load(&properties, account->objects, &out->commit, error);
        memcpy(out->mailbox_id, properties.mailbox_id, sizeof(out->mailbox_id));
        out->uid_validity = properties.uid_validity;
        properties_release(&properties);
    }
    return rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED
               ? store_error_set(error, STORE_NOT_FOUND, "the commit is no mailbox's")
               : rc;
}

/* Several commits may have one date: the one that was meant stands in for another one of its
 * mailbox. */
static void prefer(struct past_state *state, struct account *account, const struct meant *meant)
{
    struct properties properties;
    struct store_error ignored;

    if (properties_load(&properties, account->objects, &state->commit, &ignored) == 0 &&
        strcmp(properties.mailbox_id, meant->mailbox_id) == 0 &&
        properties.uid_validity == meant->uid_validity) {
        state->commit = meant->commit;
        state->time = meant->time;
    }
    properties_release(&properties);
}

int past_find(struct account *account, const char *name, const struct moment *moment,
              struct past_state *out, struct past_progress **progress, struct store_error *error)
{
    struct reading reading;
    struct meant meant;
    int64_t time = moment->last;
    int rc = 0;

    memset(out, 0, sizeof(*out));
    if (moment->commit[0] != '\0') {
        rc = find_commit(&meant, account, moment->commit, error);
        time = meant.time;
    }
    if (rc == 0 && name == NULL) {
        g_assert(moment->commit[0] != '\0');
        out->commit = meant.commit;
        out->time = meant.time;
        return 0;
    }
    if (rc == 0) {
        rc = reading_begin(&reading, account, progress, error);
        if (rc == 0) {
            rc = find_at(out, &reading, name, time, error);
        }
        reading_end(&reading, progress);
    } else if (progress != NULL) {
        g_clear_pointer(progress, past_progress_free);
    }
    if (rc == 0 && out->name != NULL && moment->commit[0] != '\0') {
        prefer(out, account, &meant);
    }
    return rc;
}

/* --- lists --- */

static int moment_time(int64_t *out, struct account *account, const struct moment *moment,
                       struct store_error *error)
{
    struct meant meant;
    int rc = 0;

    *out = moment->last;
    if (moment->commit[0] != '\0') {
        rc = find_commit(&meant, account, moment->commit, error);
        *out = meant.time;
    }
    return rc;
}

static int compare_states(const void *a, const void *b)
{
    return account_compare_names((*(const struct past_state *const *)a)->name,
                                 (*(const struct past_state *const *)b)->name);
}

static void enter_state(GHashTable *states, struct past_state *state)
{
    struct past_state *kept = NULL;

    if (state->name != NULL && !g_hash_table_contains(states, state->name)) {
        kept = g_new(struct past_state, 1);
        *kept = *state;
        memset(state, 0, sizeof(*state));
        g_hash_table_insert(states, kept->name, kept);
    }
}

static int look_at_chains(struct reading *reading, int64_t time, struct store_error *error)
{
    struct past_progress *progress = reading->progress;
    int rc = 0;

    if (progress->chains == NULL) {
        progress->states = g_ptr_array_new_with_free_func(past_state_free);
        rc = list_chains(&progress->chains, reading->account, error);
    }
    while (rc == 0 && progress->next < progress->chains->len) {
        const struct chain *chain = g_ptr_array_index(progress->chains, progress->next);
        struct past_state state;

        rc = find_in_chain(&state, reading, chain, time, error);
        if (reading->unfinished) {
            return 0;
        }
        if (rc == 0 || rc == STORE_NOT_FOUND) {
            g_ptr_array_add(progress->states, g_memdup2(&state, sizeof(state)));
            progress->next++;
            rc = 0;
        }
    }
    return rc;
}

/* The chains that have a name now have the first right to it. */
static void choose_states(GHashTable *chosen, const struct past_progress *progress)
{
    for (guint i = 0; i < progress->states->len; i++) {
        const struct chain *chain = g_ptr_array_index(progress->chains, i);
        struct past_state *state = g_ptr_array_index(progress->states, i);

        if (state->name != NULL && is_name(state->name, chain->name)) {
            enter_state(chosen, state);
        }
    }
    for (guint i = 0; i < progress->states->len; i++) {
        enter_state(chosen, g_ptr_array_index(progress->states, i));
    }
}

static GPtrArray *sorted_states(const struct past_progress *progress)
{
    g_autoptr(GHashTable) chosen =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, past_state_free);
    GPtrArray *states = g_ptr_array_new_with_free_func(past_state_free);
    GHashTableIter iterator;
    void *state;

    choose_states(chosen, progress);
    g_hash_table_iter_init(&iterator, chosen);
    while (g_hash_table_iter_next(&iterator, NULL, &state)) {
        g_hash_table_iter_steal(&iterator);
        g_ptr_array_add(states, state);
    }
    g_ptr_array_sort(states, compare_states);
    return states;
}

int past_list(struct account *account, const struct moment *moment, GPtrArray **out,
              struct past_progress **progress, struct store_error *error)
{
    struct reading reading;
    int64_t time;
    int rc = reading_begin(&reading, account, progress, error);

    *out = NULL;
    if (rc == 0) {
        rc = moment_time(&time, account, moment, error);
    }
    if (rc == 0) {
        rc = look_at_chains(&reading, time, error);
    }
    if (rc == 0 && !reading.unfinished) {
        *out = sorted_states(reading.progress);
    }
    reading_end(&reading, progress);
    return rc;
}

static void add_days(GHashTable *set, const GArray *days)
{
    for (guint i = 0; i < days->len; i++) {
        g_hash_table_add(set, GINT_TO_POINTER(g_array_index(days, int32_t, i)));
    }
}

static int compare_days(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return x < y ? -1 : x > y;
}

static GArray *sorted_days(GHashTable *set)
{
    GArray *days = g_array_new(FALSE, FALSE, sizeof(int32_t));
    GHashTableIter iterator;
    void *day;

    g_hash_table_iter_init(&iterator, set);
    while (g_hash_table_iter_next(&iterator, &day, NULL)) {
        int32_t value = GPOINTER_TO_INT(day);

        g_array_append_val(days, value);
    }
    g_array_sort(days, compare_days);
    return days;
}

static int read_days(struct reading *reading, struct store_error *error)
{
    struct past_progress *progress = reading->progress;
    int rc = 0;

    if (progress->chains == NULL) {
        progress->days = g_hash_table_new(NULL, NULL);
        rc = list_chains(&progress->chains, reading->account, error);
    }
    while (rc == 0 && !reading->unfinished && progress->next < progress->chains->len) {
        const struct chain *chain = g_ptr_array_index(progress->chains, progress->next);
        struct timeline timeline;

        rc = read_chain(&timeline, reading, chain, INT64_MIN, error);
        add_days(progress->days, timeline.days);
        timeline_release(&timeline);
        progress->next += reading->unfinished ? 0 : 1;
    }
    return rc;
}

int past_days(struct account *account, GArray **out, struct past_progress **progress,
              struct store_error *error)
{
    struct reading reading;
    int rc = reading_begin(&reading, account, progress, error);

    *out = NULL;
    if (rc == 0) {
        rc = read_days(&reading, error);
    }
    if (rc == 0 && !reading.unfinished) {
        *out = sorted_days(reading.progress->days);
    }
    reading_end(&reading, progress);
    return rc;
}

/* --- opening --- */

int past_snapshot(struct account *account, const struct object_id *commit, struct snapshot **out,
                  struct store_error *error)
{
    return snapshot_cache_load_past(out, account, NULL, commit, error);
}

static int first_parent(struct object_id *commit, struct objects *objects,
                        struct store_error *error)
{
    struct object_data data;
    struct commit decoded;
    int rc = objects_read(objects, commit, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&decoded, data.data, data.length, error);
    *commit = decoded.parent;
    object_data_release(&data);
    return rc;
}

/* The state's, or that of the last good one before it; the state follows. */
static int load_good(struct snapshot **out, struct account *account, struct past_state *state,
                     struct store_error *error)
{
    struct object_id commit = state->commit;

    for (int i = 0; i < BAD_STATES_MAX && !object_id_is_zero(&commit); i++) {
        struct store_error ignored;
        int rc = snapshot_cache_load_past(out, account, state->ref, &commit, error);

        if (rc != STORE_CORRUPT && rc != STORE_UNSUPPORTED) {
            state->commit = commit;
            return rc;
        }
        rc = first_parent(&commit, account->objects, &ignored);
        if (rc < 0) {
            break;
        }
    }
    return error->code;
}

static char *name_for_people(const struct past_state *state)
{
    char hex[OBJECT_ID_HEX + 1];
    char day[MOMENT_DAY_LENGTH + 1];
    int64_t days = CLAMP(state->time / (24 * 60 * 60), 0, 2932896);

    object_id_format(&state->commit, hex);
    moment_format_day(day, (int32_t)days);
    return g_strdup_printf("%s at %s (%.*s)", state->name != NULL ? state->name : "a mailbox", day,
                           SHORT_ID, hex);
}

int past_open(struct account *account, const char *name, const struct moment *moment,
              struct mailbox **out, struct past_progress **progress, struct store_error *error)
{
    struct past_state state;
    struct snapshot *snapshot;
    struct mailbox *mailbox;
    int rc = past_find(account, name, moment, &state, progress, error);

    if (rc == 0 && progress != NULL && *progress != NULL) {
        return 0;
    }
    if (rc == 0) {
        rc = load_good(&snapshot, account, &state, error);
    }
    if (rc < 0) {
        past_state_clear(&state);
        return rc;
    }
    mailbox = g_new0(struct mailbox, 1);
    mailbox->references = 1;
    mailbox->account = account_ref(account);
    mailbox->past = true;
    mailbox->name = name_for_people(&state);
    mailbox->ref = g_steal_pointer(&state.ref);
    mailbox->snapshot = snapshot;
    mailbox->recent_from = snapshot_uid_next(snapshot);
    past_state_clear(&state);
    *out = mailbox;
    return 0;
}
