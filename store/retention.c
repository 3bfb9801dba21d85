#include "store/retention.h"

#include <glib.h>
#include <string.h>

#include "store/hold.h"
#include "store/internal/account_private.h"
#include "store/internal/branch_name.h"
#include "store/internal/commit.h"
#include "store/internal/shallow.h"
#include "store/internal/text.h"

enum { MICROSECONDS = 1000000 };

/* --- the policy --- */

struct rule {
    char *mailbox; /* in its one form */
    int64_t seconds;
};

struct retention_policy {
    int64_t seconds;
    GArray *rules;
};

static void rule_clear(void *data)
{
    g_free(((struct rule *)data)->mailbox);
}

struct retention_policy *retention_policy_new(int64_t seconds)
{
    struct retention_policy *policy = g_new0(struct retention_policy, 1);

    policy->seconds = seconds;
    policy->rules = g_array_new(FALSE, FALSE, sizeof(struct rule));
    g_array_set_clear_func(policy->rules, rule_clear);
    return policy;
}

void retention_policy_free(struct retention_policy *policy)
{
    if (policy != NULL) {
        g_array_unref(policy->rules);
        g_free(policy);
    }
}

int retention_policy_add(struct retention_policy *policy, const char *mailbox, int64_t seconds,
                         struct store_error *error)
{
    g_autofree char *ref = NULL;
    struct rule rule = {.seconds = seconds};
    int rc = account_name(&rule.mailbox, &ref, mailbox, error);

    if (rc == 0) {
        g_array_append_val(policy->rules, rule);
    }
    return rc;
}

/* The mailbox itself, or one that it is below of. */
static bool covers(const char *rule, const char *mailbox)
{
    size_t length = strlen(rule);

    return strncmp(rule, mailbox, length) == 0 &&
           (mailbox[length] == '\0' || mailbox[length] == '/');
}

int64_t retention_policy_of(const struct retention_policy *policy, const char *mailbox)
{
    int64_t seconds = policy->seconds;
    size_t longest = 0;

    for (guint i = 0; i < policy->rules->len; i++) {
        const struct rule *rule = &g_array_index(policy->rules, struct rule, i);

        if (strlen(rule->mailbox) >= longest && covers(rule->mailbox, mailbox)) {
            longest = strlen(rule->mailbox);
            seconds = rule->seconds;
        }
    }
    return seconds;
}

int64_t retention_policy_longest(const struct retention_policy *policy)
{
    int64_t longest = policy->seconds;

    for (guint i = 0; i < policy->rules->len && longest != RETENTION_FOREVER; i++) {
        int64_t seconds = g_array_index(policy->rules, struct rule, i).seconds;

        longest = seconds == RETENTION_FOREVER ? seconds : MAX(longest, seconds);
    }
    return longest;
}

bool retention_policy_any(const struct retention_policy *policy)
{
    bool any = policy->seconds != RETENTION_FOREVER;

    for (guint i = 0; i < policy->rules->len; i++) {
        any = any || g_array_index(policy->rules, struct rule, i).seconds != RETENTION_FOREVER;
    }
    return any;
}

/* --- where the boundary is to be --- */

/* A reference, and the second before which its history may go: INT64_MIN keeps all of it. */
struct line {
    const struct ref_entry *ref;
    int64_t cutoff;
    bool forget; /* a deleted mailbox whose time is over */
};

struct cut {
    const struct host *host;
    const char *path;
    const struct retention_policy *policy;
    struct retention_result *result;
    struct objects *objects;
    struct refs *refs;
    int64_t now;
    GPtrArray *entries;   /* struct ref_entry */
    GArray *lines;        /* struct line, the longest history first */
    struct id_set before; /* the boundary as it was */
    struct id_set seen;
    GArray *boundary; /* struct object_id: as it is to be */
    GArray *retired;  /* struct retired_root */
};

/* The mailbox of a branch, "NAME" or "NAME/UIDVALIDITY"; NULL: of none. */
static char *mailbox_of(const char *ref)
{
    g_autofree char *branch = NULL;
    struct store_error ignored;
    char *name = NULL;

    if (g_str_has_prefix(ref, HEADS_PREFIX)) {
        branch = g_strdup(ref + strlen(HEADS_PREFIX));
    } else if (g_str_has_prefix(ref, DELETED_PREFIX)) {
        char *slash;

        branch = g_strdup(ref + strlen(DELETED_PREFIX));
        slash = strrchr(branch, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
    }
    return branch != NULL && branch_name_decode(&name, branch, &ignored) == 0 ? name : NULL;
}

static int64_t cutoff_of(const struct cut *cut, const char *ref)
{
    g_autofree char *mailbox = mailbox_of(ref);
    int64_t seconds = RETENTION_FOREVER;

    if (mailbox != NULL) {
        seconds = retention_policy_of(cut->policy, mailbox);
    } else if (strcmp(ref, ACCOUNT_REF) == 0) {
        seconds = cut->policy->seconds;
    }
    return seconds == RETENTION_FOREVER ? INT64_MIN : cut->now - seconds;
}

/* What a commit says about itself. */
struct look {
    GArray *parents; /* struct object_id */
    int64_t time;
    bool ours;
};

static int look_at(struct look *out, const struct cut *cut, const struct object_id *id,
                   struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    int rc = objects_read(cut->objects, id, OBJECT_COMMIT, &data, error);

    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    if (rc == 0) {
        g_array_set_size(out->parents, 0);
        commit_append_parents(out->parents, data.data, data.length);
        out->time = commit.time;
        out->ours = memmem(commit.message, commit.message_length, "\nUser: ", 7) != NULL;
    }
    object_data_release(&data);
    return rc;
}

static bool is_old(const struct look *look, int64_t cutoff)
{
    return look->ours && look->time < cutoff;
}

/* One commit of a line's history: it ends here, or its parents come next. */
static int pass(struct cut *cut, const struct line *line, const struct object_id *id,
                struct look *look, GArray *stack, struct store_error *error)
{
    int rc = look_at(look, cut, id, error);
    bool ended = id_set_has(&cut->before, id);

    if (rc < 0) {
        return rc == STORE_NOT_FOUND ? store_error_set(error, STORE_CORRUPT,
                                                       "a commit of %s is missing", line->ref->name)
                                     : rc;
    }
    cut->result->kept++;
    if (cut->result->oldest == 0 || look->time < cut->result->oldest) {
        cut->result->oldest = look->time;
    }
    if (look->parents->len == 0) {
        return 0;
    }
    if (!ended && !is_old(look, line->cutoff)) {
        g_array_append_vals(stack, look->parents->data, look->parents->len);
        return 0;
    }
    g_array_append_val(cut->boundary, *id);
    for (guint i = 0; !ended && i < look->parents->len; i++) {
        struct retired_root root = {cut->now, g_array_index(look->parents, struct object_id, i)};

        g_array_append_val(cut->retired, root);
    }
    cut->result->cuts += !ended;
    return 0;
}

static int walk_line(struct cut *cut, const struct line *line, struct look *look,
                     struct store_error *error)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    int rc = 0;

    g_array_append_val(stack, line->ref->id);
    while (rc == 0 && stack->len > 0) {
        struct object_id id = g_array_index(stack, struct object_id, stack->len - 1);

        g_array_set_size(stack, stack->len - 1);
        if (id_set_add(&cut->seen, &id)) {
            rc = pass(cut, line, &id, look, stack, error);
        }
    }
    return rc;
}

/* A tag, or whatever else may be referred to: no history of ours. *peeled: the commit behind it. */
static bool is_commit(struct cut *cut, const struct object_id *id)
{
    struct object_data data;
    struct store_error ignored;

    if (objects_read(cut->objects, id, OBJECT_COMMIT, &data, &ignored) < 0) {
        return false;
    }
    object_data_release(&data);
    return true;
}

/* What a foreign reference reaches through a tag: every commit of it counts. */
static int walk_foreign(struct cut *cut, const struct line *line, struct look *look,
                        struct store_error *error)
{
    struct id_set reached;
    g_autoptr(GArray) roots = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    int rc = 0;

    if (is_commit(cut, &line->ref->id)) {
        return walk_line(cut, line, look, error);
    }
    id_set_init(&reached);
    g_array_append_val(roots, line->ref->id);
    rc = reachable_add_from(&reached, &cut->seen, cut->path, roots, NULL, NULL, error);
    for (size_t i = 0; rc == 0 && i <= reached.mask; i++) {
        struct ref_entry entry = {line->ref->name, reached.slots[i]};
        struct line commit = {&entry, INT64_MIN, false};

        if (!object_id_is_zero(&entry.id) && is_commit(cut, &entry.id)) {
            rc = walk_line(cut, &commit, look, error);
        }
    }
    id_set_release(&reached);
    return rc;
}

static int compare_lines(const void *a, const void *b)
{
    const struct line *left = a;
    const struct line *right = b;

    return left->cutoff < right->cutoff ? -1 : left->cutoff > right->cutoff;
}

static int list_lines(struct cut *cut, struct look *look, struct store_error *error)
{
    int rc = refs_list(cut->refs, "refs/", &cut->entries, error);

    for (guint i = 0; rc == 0 && i < cut->entries->len; i++) {
        struct line line = {.ref = cut->entries->pdata[i]};

        line.cutoff = cutoff_of(cut, line.ref->name);
        if (g_str_has_prefix(line.ref->name, DELETED_PREFIX)) {
            rc = look_at(look, cut, &line.ref->id, error);
            line.forget = rc == 0 && is_old(look, line.cutoff);
        }
        g_array_append_val(cut->lines, line);
    }
    g_array_sort(cut->lines, compare_lines);
    return rc;
}

static void forget_line(struct cut *cut, const struct line *line)
{
    struct retired_root root = {cut->now, line->ref->id};

    g_array_append_val(cut->retired, root);
    cut->result->deleted++;
}

static int plan(struct cut *cut, struct store_error *error)
{
    struct look look = {.parents = g_array_new(FALSE, FALSE, sizeof(struct object_id))};
    int rc = shallow_read(&cut->before, cut->path, error);

    if (rc == 0) {
        rc = list_lines(cut, &look, error);
    }
    for (guint i = 0; rc == 0 && i < cut->lines->len; i++) {
        const struct line *line = &g_array_index(cut->lines, struct line, i);

        if (line->forget) {
            forget_line(cut, line);
        } else if (line->cutoff == INT64_MIN) {
            rc = walk_foreign(cut, line, &look, error);
        } else {
            rc = walk_line(cut, line, &look, error);
        }
    }
    g_array_unref(look.parents);
    return rc;
}

/* What was a boundary and is not reached any more stays one while it is there: its parents may be
 * gone. */
static void keep_old_ends(struct cut *cut)
{
    for (size_t i = 0; i <= cut->before.mask; i++) {
        const struct object_id *id = &cut->before.slots[i];

        if (!object_id_is_zero(id) && !id_set_has(&cut->seen, id) &&
            objects_exist(cut->objects, id)) {
            g_array_append_val(cut->boundary, *id);
        }
    }
}

/* --- moving it --- */

static int remove_deleted(struct cut *cut, struct store_error *error)
{
    g_autoptr(GArray) updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update));

    for (guint i = 0; i < cut->lines->len; i++) {
        const struct line *line = &g_array_index(cut->lines, struct line, i);
        struct ref_update update = {.name = line->ref->name, .before = line->ref->id};

        if (line->forget) {
            g_array_append_val(updates, update);
        }
    }
    int rc = refs_commit(cut->refs, (const struct ref_update *)(void *)updates->data, updates->len,
                         error);

    return rc < 0 ? rc : refs_sync(cut->refs, error);
}

static bool same_boundary(const struct cut *cut)
{
    bool same = cut->boundary->len == cut->before.count;

    for (guint i = 0; same && i < cut->boundary->len; i++) {
        same = id_set_has(&cut->before, &g_array_index(cut->boundary, struct object_id, i));
    }
    return same;
}

/* In an order in which every step may be the last: what is let go is noted first. */
static int move(struct cut *cut, struct shallow_lock *lock, struct store_error *error)
{
    g_autoptr(GArray) roots = g_array_new(FALSE, FALSE, sizeof(struct retired_root));
    int rc = 0;

    if (cut->retired->len > 0) {
        rc = retired_read(roots, cut->path, error);
        if (rc == 0) {
            g_array_append_vals(roots, cut->retired->data, cut->retired->len);
            rc = retired_replace(lock, roots, error);
        }
    }
    if (rc == 0 && !same_boundary(cut)) {
        rc = shallow_replace(lock, cut->boundary, error);
    }
    if (rc == 0 && cut->result->deleted > 0) {
        rc = remove_deleted(cut, error);
    }
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, OBJECT_ID_SIZE);
}

static int cut_locked(struct cut *cut, struct shallow_lock *lock, struct store_error *error)
{
    int rc = 0;

    if (hold_is_set(cut->refs)) {
        cut->result->held = true;
        return 0;
    }
    if (!retention_policy_any(cut->policy)) {
        return 0;
    }
    rc = plan(cut, error);
    if (rc == 0) {
        keep_old_ends(cut);
        g_array_sort(cut->boundary, compare_ids);
        rc = move(cut, lock, error);
    }
    return rc;
}

/* A purge that was not finished has waited for long enough. */
static int64_t waiting_since(const char *path)
{
    struct store_error ignored;
    struct id_set purged;

    id_set_init(&purged);
    int64_t since =
        purged_read(&purged, path, &ignored) == 0 && purged.count > 0 ? 0 : retired_since(path);
    id_set_release(&purged);
    return since;
}

static void release(struct cut *cut)
{
    refs_close(cut->refs);
    objects_close(cut->objects);
    g_clear_pointer(&cut->entries, g_ptr_array_unref);
    g_array_unref(cut->lines);
    g_array_unref(cut->boundary);
    g_array_unref(cut->retired);
    id_set_release(&cut->before);
    id_set_release(&cut->seen);
}

int retention_cut(const char *path, const struct host *host, const struct retention_policy *policy,
                  struct retention_result *result, struct store_error *error)
{
    struct cut cut = {.host = host, .path = path, .policy = policy, .result = result};
    struct shallow_lock lock;
    int rc = objects_open(&cut.objects, path, host, error);

    *result = (struct retention_result){.waiting = INT64_MAX};
    cut.now = host->now(host->data) / MICROSECONDS;
    cut.lines = g_array_new(FALSE, FALSE, sizeof(struct line));
    cut.boundary = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    cut.retired = g_array_new(FALSE, FALSE, sizeof(struct retired_root));
    id_set_init(&cut.before);
    id_set_init(&cut.seen);
    if (rc == 0) {
        rc = refs_open(&cut.refs, path, host, error);
    }
    if (rc == 0) {
        rc = shallow_lock(&lock, path, host, error);
    }
    if (rc == 0) {
        rc = cut_locked(&cut, &lock, error);
        shallow_unlock(&lock);
        result->waiting = waiting_since(path);
    }
    release(&cut);
    return rc;
}
