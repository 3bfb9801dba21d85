/* What vanished from a mailbox since a MODSEQ: the difference between its state then, found in its
 * history, and now.
 */
#include <string.h>
#include <sys/stat.h>

#include "store/internal/account_private.h"
#include "store/internal/lineage.h"
#include "store/internal/snapshot_load.h"
#include "store/internal/waypoints.h"

enum { STEPS_MAX = 2048 }; /* commits that one call reads; the next one goes on from there */

/* --- the states at a MODSEQ --- */

/* A walk from the newest commit down, and the waypoints on the way. */
struct search {
    struct lineage lineage;
    struct waypoints known;
    GArray *passed; /* struct waypoint, MODSEQs descending: before a known one was come upon */
    GArray *below;  /* the same: below the first of the known */
    bool joined;    /* the walk has come upon a known one */
    guint join;     /* which that was */
    bool ended;     /* the walk came to the end of what can be known */
    bool tired;     /* or to the end of its steps */
    size_t steps;   /* left */
};

static const struct waypoint *waypoint_at(const GArray *list, guint index)
{
    return &g_array_index(list, struct waypoint, index);
}

static void note(GArray *list, const struct ancestor *top, uint64_t apart)
{
    struct waypoint waypoint = {.modseq = top->modseq, .commit = top->commit};

    if (list->len == 0 || waypoint_at(list, list->len - 1)->modseq >= top->modseq + apart) {
        g_array_append_val(list, waypoint);
    }
}

static void note_below(struct search *search, const struct ancestor *top, uint64_t apart)
{
    if (waypoint_at(search->known.list, 0)->modseq >= top->modseq + apart) {
        note(search->below, top, apart);
    }
}

/* Goes on from the lowest waypoint above since. */
static int follow(struct search *search, uint64_t since, struct store_error *error)
{
    guint wanted = waypoints_above(&search->known, since);
    const struct waypoint *to;
    int rc;

    if (wanted >= search->join) {
        return 0;
    }
    to = waypoint_at(search->known.list, wanted);
    rc = lineage_jump(&search->lineage, &to->commit, to->modseq, error);
    if (rc == STORE_NOT_FOUND) {
        /* The table is nonsense. */
        g_array_set_size(search->known.list, 0);
        search->known.ends = false;
        search->joined = false;
        note(search->passed, lineage_top(&search->lineage), WAYPOINTS_EVERY);
        return 0;
    }
    return rc;
}

/* The walk stands at a single commit, above since. */
static int pass(struct search *search, uint64_t since, struct store_error *error)
{
    const struct ancestor *top = lineage_top(&search->lineage);

    if (search->joined) {
        note_below(search, top, WAYPOINTS_EVERY);
        return 0;
    }
    if (!waypoints_find(&search->known, &top->commit, top->modseq, &search->join)) {
        note(search->passed, top, WAYPOINTS_EVERY);
        return 0;
    }
    search->joined = true;
    return follow(search, since, error);
}

static bool is_at_end(const struct search *search)
{
    return search->joined && search->known.ends &&
           lineage_top(&search->lineage)->modseq <= waypoint_at(search->known.list, 0)->modseq;
}

/* Walks until all that stand abreast are at or below since. STORE_NOT_FOUND: that can't be. */
static int walk_to(struct search *search, uint64_t since, struct store_error *error)
{
    struct ancestor last = *lineage_top(&search->lineage);
    int rc = 0;

    while (rc == 0 && lineage_top(&search->lineage)->modseq > since) {
        if (lineage_is_alone(&search->lineage)) {
            rc = pass(search, since, error);
            last = *lineage_top(&search->lineage);
        }
        search->tired = search->steps == 0;
        if (rc == 0 && (is_at_end(search) || search->tired)) {
            return store_error_set(error, STORE_NOT_FOUND, "the history does not reach back");
        }
        if (rc == 0) {
            search->steps--;
            rc = lineage_step(&search->lineage, error);
        }
    }
    if (rc == STORE_NOT_FOUND) {
        search->ended = true;
        if (search->joined) {
            note_below(search, &last, 1);
        } else {
            note(search->passed, &last, 1);
        }
    }
    return rc;
}

/* Adds a list that descends to one that ascends; returns how many were apart enough. */
static guint append_reversed(GArray *out, const GArray *list, uint64_t apart)
{
    guint before = out->len;

    for (guint i = list->len; i-- > 0;) {
        const struct waypoint *next = waypoint_at(list, i);

        if (out->len == 0 || next->modseq >= waypoint_at(out, out->len - 1)->modseq + apart) {
            g_array_append_vals(out, next, 1);
        }
    }
    return out->len - before;
}

/* Adds what was learned to the table. True if it is another one now. What an old state taught is of
 * use only where it joins. */
static bool learn(struct search *search, uint64_t highest)
{
    struct waypoints *known = &search->known;
    GArray *list = g_array_new(FALSE, TRUE, sizeof(struct waypoint));
    bool newer = waypoints_above(known, highest - 1) == known->list->len;
    bool changed = false;

    if (search->joined) {
        guint kept = newer ? search->join + 1 : known->list->len;

        changed = append_reversed(list, search->below, 1) > 0 || kept < known->list->len ||
                  (search->ended && !known->ends);
        g_array_append_vals(list, known->list->data, kept);
        known->ends = known->ends || search->ended;
        changed = (newer && append_reversed(list, search->passed, WAYPOINTS_EVERY) > 0) || changed;
    } else if (newer && (search->passed->len > 1 || search->ended)) {
        append_reversed(list, search->passed, WAYPOINTS_EVERY);
        known->ends = search->ended;
        changed = true;
    }
    if (changed) {
        g_array_unref(known->list);
        known->list = list;
    } else {
        g_array_unref(list);
    }
    return changed;
}

/* So that the table grows instead of being begun anew. */
static void walk_to_known(struct search *search, uint64_t highest)
{
    const GArray *list = search->known.list;
    struct store_error ignored;

    if (list->len > 0 && !search->joined && !search->ended &&
        waypoint_at(list, list->len - 1)->modseq < highest) {
        walk_to(search, waypoint_at(list, list->len - 1)->modseq - 1, &ignored);
    }
}

static char *table_path(const struct account *account, const struct snapshot *snapshot, bool make)
{
    g_autofree char *directory = g_strconcat(account->cache, "/waypoints", NULL);

    if (make) {
        g_autofree char *users = g_path_get_dirname(account->cache);

        mkdir(users, 0700);
        mkdir(account->cache, 0700);
        mkdir(directory, 0700);
    }
    return g_strconcat(directory, "/", snapshot_mailbox_id(snapshot), NULL);
}

/* Appends the commits (struct object_id) that were the mailbox at since: of a history that was
 * never merged just one. STORE_NOT_FOUND: that is not known, unless *again. */
static int find_states(GArray *out, bool *again, struct account *account,
                       const struct snapshot *now, uint64_t since, struct store_error *error)
{
    g_autofree char *path = table_path(account, now, false);
    struct search search = {.steps = STEPS_MAX};
    bool tired;
    int rc = lineage_begin(&search.lineage, account->objects, now, error);

    *again = false;
    if (rc < 0) {
        lineage_release(&search.lineage);
        return rc;
    }
    waypoints_load(&search.known, path, now);
    search.passed = g_array_new(FALSE, TRUE, sizeof(struct waypoint));
    search.below = g_array_new(FALSE, TRUE, sizeof(struct waypoint));
    rc = walk_to(&search, since, error);
    for (guint i = 0; rc == 0 && i < search.lineage.abreast->len; i++) {
        g_array_append_val(out, g_array_index(search.lineage.abreast, struct ancestor, i).commit);
    }
    tired = rc == STORE_NOT_FOUND && search.tired;
    walk_to_known(&search, snapshot_highest_modseq(now));
    if (learn(&search, snapshot_highest_modseq(now))) {
        g_free(path);
        path = table_path(account, now, true);
        waypoints_save(&search.known, path, now);
        *again = tired;
    }
    g_array_unref(search.passed);
    g_array_unref(search.below);
    waypoints_release(&search.known);
    lineage_release(&search.lineage);
    return rc;
}

/* --- the difference --- */

struct gone {
    GArray *uids;  /* uint32_t: of then, not there now */
    uint32_t next; /* UIDNEXT then, the lowest of all states */
};

static void add_gone(const struct message *then, const struct message *now, size_t index,
                     void *data)
{
    struct gone *gone = data;

    (void)index;
    if (now == NULL) {
        g_array_append_val(gone->uids, then->uid);
    }
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

static void add_range(GArray *ranges, uint32_t first, uint32_t last)
{
    struct uid_range range = {first, last};

    if (first > last) {
        return;
    }
    if (ranges->len > 0) {
        struct uid_range *before = &g_array_index(ranges, struct uid_range, ranges->len - 1);

        if (first <= before->last || first - before->last == 1) {
            before->last = MAX(before->last, last);
            return;
        }
    }
    g_array_append_val(ranges, range);
}

/* Every UID from first up to UIDNEXT that no message has. */
static void add_absent(GArray *ranges, const struct snapshot *now, uint32_t first)
{
    size_t count = snapshot_count(now);

    for (size_t i = snapshot_lower_bound(now, first); i < count; i++) {
        uint32_t uid = snapshot_message(now, i).uid;

        add_range(ranges, first, uid - 1);
        first = uid + 1;
    }
    add_range(ranges, first, snapshot_uid_next(now) - 1);
}

static int load_gone(struct gone *gone, struct account *account, const struct snapshot *now,
                     const struct object_id *commit, struct store_error *error)
{
    struct snapshot *then;
    bool moved;
    int rc = snapshot_load(&then, &moved, account->objects, commit, now, error);

    if (rc == 0) {
        snapshot_walk_both(then, now, add_gone, gone);
        gone->next = MIN(gone->next, snapshot_uid_next(then));
        snapshot_unref(then);
    }
    return rc;
}

/* What can't be read of the past is no reason to fail. */
static int load_states(struct gone *gone, struct account *account, const struct snapshot *now,
                       uint64_t since, enum vanished *answer, struct store_error *error)
{
    g_autoptr(GArray) states = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    bool again = false;
    int rc = find_states(states, &again, account, now, since, error);

    for (guint i = 0; rc == 0 && i < states->len; i++) {
        rc = load_gone(gone, account, now, &g_array_index(states, struct object_id, i), error);
    }
    *answer = rc == 0 ? VANISHED_EXACT : again ? VANISHED_UNFINISHED : VANISHED_MORE;
    return rc == STORE_NOT_FOUND || rc == STORE_CORRUPT || rc == STORE_UNSUPPORTED ? 0 : rc;
}

int mailbox_vanished(struct mailbox *mailbox, const struct snapshot *now, uint64_t since,
                     GArray **ranges, enum vanished *answer, struct store_error *error)
{
    struct gone gone = {.next = snapshot_uid_next(now)};
    uint64_t highest = snapshot_highest_modseq(now);
    int rc = 0;

    *ranges = g_array_new(FALSE, FALSE, sizeof(struct uid_range));
    *answer = since == highest ? VANISHED_EXACT : VANISHED_MORE;
    if (since == highest) {
        return 0;
    }
    gone.uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    if (since < highest) {
        rc = load_states(&gone, mailbox->account, now, since, answer, error);
    }
    if (rc == 0 && *answer == VANISHED_EXACT) {
        g_array_sort(gone.uids, compare_uids);
        for (guint i = 0; i < gone.uids->len; i++) {
            uint32_t uid = g_array_index(gone.uids, uint32_t, i);

            if (uid < gone.next) {
                add_range(*ranges, uid, uid);
            }
        }
        add_absent(*ranges, now, gone.next);
    } else if (rc == 0) {
        add_absent(*ranges, now, 1);
    }
    g_array_unref(gone.uids);
    if (rc < 0) {
        g_clear_pointer(ranges, g_array_unref);
    }
    return rc;
}
