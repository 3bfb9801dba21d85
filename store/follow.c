#include "store/follow.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/internal/account_private.h"
#include "store/internal/commit.h"
#include "store/internal/journal_peek.h"
#include "store/internal/store_private.h"

enum {
    LOOK_EVERY_MSEC = 10,
    PEEK_EVERY_LOOKS = 10,
    ANCESTORS_MAX = 10000, /* commits between a branch's tip and one that the journal names */
};

/* The changes that a journal has for one reference. */
struct course {
    GHashTable *stops; /* struct object_id -> change, where it was and was to be */
    guint last;
};

static void course_free(void *data)
{
    struct course *course = data;

    g_hash_table_unref(course->stops);
    g_free(course);
}

static void course_add(struct course *course, const struct object_id *id, guint change)
{
    g_hash_table_insert(course->stops, g_memdup2(id, sizeof(*id)), GUINT_TO_POINTER(change));
}

/* char *reference -> struct course */
static GHashTable *find_courses(const GArray *moves)
{
    GHashTable *courses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, course_free);

    for (guint i = 0; i < moves->len; i++) {
        const struct peeked_move *move = &g_array_index(moves, struct peeked_move, i);
        struct course *course = g_hash_table_lookup(courses, move->update.name);

        if (course == NULL) {
            course = g_new0(struct course, 1);
            course->stops =
                g_hash_table_new_full(object_id_hash, object_id_equal_keys, g_free, NULL);
            g_hash_table_insert(courses, g_strdup(move->update.name), course);
            course_add(course, &move->update.before, 0);
        }
        course_add(course, &move->update.after, move->change);
        course->last = move->change;
    }
    return courses;
}

/* Zero where there is none or it can't be read. */
static struct object_id parent_of(struct objects *objects, const struct object_id *id)
{
    struct commit commit = {.time = 0};
    struct object_data data;
    struct store_error ignored;

    if (objects_read(objects, id, OBJECT_COMMIT, &data, &ignored) == 0) {
        if (commit_decode(&commit, data.data, data.length, &ignored) < 0) {
            memset(&commit.parent, 0, sizeof(commit.parent));
        }
        object_data_release(&data);
    }
    return commit.parent;
}

/* The last change that the commit is or comes after; 0: none of them. What a server merges with
 * others' work stays the first parent of that. */
static guint reached(struct objects *objects, const struct course *course,
                     const struct object_id *commit)
{
    struct object_id at = *commit;

    for (unsigned i = 0; i < ANCESTORS_MAX && !object_id_is_zero(&at); i++) {
        void *change;

        if (g_hash_table_lookup_extended(course->stops, &at, NULL, &change)) {
            return GPOINTER_TO_UINT(change);
        }
        at = parent_of(objects, &at);
    }
    return 0;
}

static guint reached_by_git(struct account *account, const char *name, const struct course *course)
{
    struct store_error ignored;
    struct object_id tip;

    if (refs_read(account->refs, name, &tip, &ignored) < 0) {
        return 0;
    }
    return reached(account->objects, course, &tip);
}

/* --- patience --- */

static int64_t monotonic_msec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void pause_between_looks(void)
{
    struct timespec pause = {.tv_nsec = LOOK_EVERY_MSEC * 1000 * 1000};

    nanosleep(&pause, NULL);
}

static int peek(GArray **moves, const struct account *account, struct store_error *error)
{
    return journal_peek(moves, account->store->journal, account->user, error);
}

int follow_find(bool *out, const char *directory, const char *user, struct store_error *error)
{
    g_autofree char *journals = g_strconcat(directory, "/journal", NULL);
    g_autoptr(GArray) moves = NULL;

    *out = false;
    if (access(journals, F_OK) < 0 && errno == ENOENT) {
        return 0;
    }
    int rc = journal_peek(&moves, journals, user, error);

    *out = rc == 0 && moves->len > 0;
    return rc;
}

/* --- until git has followed --- */

static void drop_reached(struct account *account, GHashTable *courses)
{
    GHashTableIter iterator;
    void *name;
    void *value;

    g_hash_table_iter_init(&iterator, courses);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        const struct course *course = value;

        if (reached_by_git(account, name, course) == course->last) {
            g_hash_table_iter_remove(&iterator);
        }
    }
}

/* A branch that was moved to elsewhere or deleted never gets there: but then the journal forgets
 * the change as soon as its server has seen to it. */
static int drop_forgotten(struct account *account, GHashTable *courses, struct store_error *error)
{
    g_autoptr(GArray) moves = NULL;
    g_autoptr(GHashTable) now = NULL;
    GHashTableIter iterator;
    void *name;
    void *value;
    int rc = peek(&moves, account, error);

    if (rc < 0) {
        return rc;
    }
    now = find_courses(moves);
    g_hash_table_iter_init(&iterator, courses);
    while (g_hash_table_iter_next(&iterator, &name, &value)) {
        const struct course *course = value;
        const struct course *left = g_hash_table_lookup(now, name);
        bool held = false;
        GHashTableIter stops;
        void *id;
        void *change;

        g_hash_table_iter_init(&stops, course->stops);
        while (left != NULL && !held && g_hash_table_iter_next(&stops, &id, &change)) {
            held =
                GPOINTER_TO_UINT(change) == course->last && g_hash_table_contains(left->stops, id);
        }
        if (!held) {
            g_hash_table_iter_remove(&iterator);
        }
    }
    return 0;
}

int follow_journal(struct account *account, unsigned seconds, struct store_error *error)
{
    int64_t limit = monotonic_msec() + seconds * INT64_C(1000);
    g_autoptr(GArray) moves = NULL;
    g_autoptr(GHashTable) courses = NULL;
    int rc = peek(&moves, account, error);

    if (rc < 0) {
        return rc;
    }
    courses = find_courses(moves);
    drop_reached(account, courses);
    for (unsigned i = 1; rc == 0 && g_hash_table_size(courses) > 0; i++) {
        if (monotonic_msec() > limit) {
            return store_error_set(error, STORE_CONFLICT,
                                   "the server has changes that git did not get within %u seconds",
                                   seconds);
        }
        pause_between_looks();
        drop_reached(account, courses);
        if (i % PEEK_EVERY_LOOKS == 0) {
            rc = drop_forgotten(account, courses, error);
        }
    }
    return rc;
}

/* --- one moment --- */

static bool same_references(const GPtrArray *a, const GPtrArray *b)
{
    if (a->len != b->len) {
        return false;
    }
    for (guint i = 0; i < a->len; i++) {
        const struct ref_entry *x = g_ptr_array_index(a, i);
        const struct ref_entry *y = g_ptr_array_index(b, i);

        if (strcmp(x->name, y->name) != 0 || !object_id_equal(&x->id, &y->id)) {
            return false;
        }
    }
    return true;
}

/* Reference -> change that it has reached. */
static GHashTable *find_reached(struct account *account, const GPtrArray *refs, GHashTable *courses)
{
    GHashTable *out = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < refs->len; i++) {
        const struct ref_entry *ref = g_ptr_array_index(refs, i);
        const struct course *course = g_hash_table_lookup(courses, ref->name);

        if (course != NULL) {
            guint change = reached(account->objects, course, &ref->id);

            g_hash_table_insert(out, ref->name, GUINT_TO_POINTER(change));
        }
    }
    return out;
}

/* Whether each change is in all of the references that it moves, or in none. A journal's references
 * move one after the other. */
static bool is_whole(struct account *account, const GPtrArray *refs, const GArray *moves)
{
    g_autoptr(GHashTable) courses = find_courses(moves);
    g_autoptr(GHashTable) at = find_reached(account, refs, courses);
    bool there = false;

    for (guint i = 0; i < moves->len; i++) {
        const struct peeked_move *move = &g_array_index(moves, struct peeked_move, i);
        bool continues =
            i > 0 && g_array_index(moves, struct peeked_move, i - 1).change == move->change;
        bool now = GPOINTER_TO_UINT(g_hash_table_lookup(at, move->update.name)) >= move->change;

        if (continues && now != there) {
            return false;
        }
        there = now;
    }
    return true;
}

static void reference_free(void *data)
{
    struct follow_reference *reference = data;

    g_free(reference->name);
    g_free(reference);
}

static GPtrArray *take_references(const GPtrArray *refs)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(reference_free);

    for (guint i = 0; i < refs->len; i++) {
        const struct ref_entry *ref = g_ptr_array_index(refs, i);
        struct follow_reference *reference = g_new(struct follow_reference, 1);

        reference->name = g_strdup(ref->name);
        reference->id = ref->id;
        g_ptr_array_add(out, reference);
    }
    return out;
}

/* References that are the same before and after a look at the journal were so all the while; a
 * change that git has half of is still in the journal. */
int follow_look(struct account *account, GPtrArray **out, struct store_error *error)
{
    g_autoptr(GPtrArray) before = NULL;
    g_autoptr(GPtrArray) after = NULL;
    g_autoptr(GArray) moves = NULL;
    int rc = refs_list(account->refs, "refs/", &before, error);

    *out = NULL;
    if (rc == 0) {
        rc = peek(&moves, account, error);
    }
    if (rc == 0) {
        rc = refs_list(account->refs, "refs/", &after, error);
    }
    if (rc == 0 && same_references(before, after) && is_whole(account, after, moves)) {
        *out = take_references(after);
    }
    return rc;
}

int follow_moment(struct account *account, unsigned seconds, GPtrArray **out,
                  struct store_error *error)
{
    int64_t limit = monotonic_msec() + seconds * INT64_C(1000);
    int rc = follow_journal(account, seconds, error);

    *out = NULL;
    while (rc == 0 && *out == NULL) {
        rc = follow_look(account, out, error);
        if (rc == 0 && *out == NULL && monotonic_msec() > limit) {
            return store_error_set(error, STORE_CONFLICT,
                                   "the account did not hold still within %u seconds", seconds);
        }
        if (rc == 0 && *out == NULL) {
            pause_between_looks();
        }
    }
    return rc;
}
