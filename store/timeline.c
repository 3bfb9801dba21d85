#include "store/internal/timeline.h"

#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/text.h"

enum {
    SECONDS_A_DAY = 24 * 60 * 60,
    DAY_MAX = 2932896, /* 9999-12-31 */
};

static const char RENAME_WORDS[] = "RENAME mailbox ";
static const char DELETE_WORDS[] = "DELETE mailbox ";
static const char TO_WORD[] = " to ";
static const char CUT[] = "...";

static struct stretch *stretch_at(const struct timeline *timeline, guint index)
{
    return &g_array_index(timeline->stretches, struct stretch, index);
}

void timeline_init(struct timeline *timeline)
{
    memset(timeline, 0, sizeof(*timeline));
    timeline->stretches = g_array_new(FALSE, TRUE, sizeof(struct stretch));
    timeline->names = g_ptr_array_new_with_free_func(g_free);
    timeline->days = g_array_new(FALSE, FALSE, sizeof(int32_t));
    g_ptr_array_add(timeline->names, g_strdup(""));
}

void timeline_release(struct timeline *timeline)
{
    g_clear_pointer(&timeline->stretches, g_array_unref);
    g_clear_pointer(&timeline->names, g_ptr_array_unref);
    g_clear_pointer(&timeline->days, g_array_unref);
}

/* --- what a commit says --- */

/* A commit as far as it matters here. */
struct event {
    struct object_id parent; /* zero if there is none */
    int64_t date;
    char *renamed_from; /* the name it had before, or NULL */
    char *deleted;      /* the name under which it was deleted, or NULL */
};

static void event_clear(struct event *event)
{
    g_clear_pointer(&event->renamed_from, g_free);
    g_clear_pointer(&event->deleted, g_free);
}

static char *harmless(const char *text)
{
    GString *out = g_string_new(NULL);

    text_append_harmless(out, text, strlen(text), strlen(text));
    return g_string_free(out, FALSE);
}

/* Where "A to NAME" has its " to ", NAME being this one; it may be cut. NULL: nowhere. */
static const char *find_to(const char *words, size_t length, const char *name)
{
    bool cut = length > strlen(CUT) && g_str_has_suffix(words, CUT) &&
               strlen(RENAME_WORDS) + length > COMMIT_SUBJECT_MAX;

    for (const char *at = strstr(words, TO_WORD); at != NULL; at = strstr(at + 1, TO_WORD)) {
        const char *rest = at + strlen(TO_WORD);
        size_t left = strlen(rest);

        if (strcmp(rest, name) == 0 ||
            (cut && strncmp(rest, name, left - MIN(left, strlen(CUT))) == 0)) {
            return at;
        }
    }
    return NULL;
}

static void read_subject(struct event *event, const struct commit *commit, const char *name)
{
    const char *newline = memchr(commit->message, '\n', commit->message_length);
    size_t length = newline != NULL ? (size_t)(newline - commit->message) : commit->message_length;
    g_autofree char *subject = NULL;

    if (length > COMMIT_SUBJECT_MAX + strlen(CUT) ||
        memchr(commit->message, '\0', length) != NULL) {
        return;
    }
    subject = g_strndup(commit->message, length);
    if (g_str_has_prefix(subject, DELETE_WORDS)) {
        event->deleted = harmless(subject + strlen(DELETE_WORDS));
    } else if (g_str_has_prefix(subject, RENAME_WORDS)) {
        const char *words = subject + strlen(RENAME_WORDS);
        g_autofree char *shown = harmless(name);
        const char *to = find_to(words, strlen(words), shown);

        if (to != NULL && to > words) {
            g_autofree char *from = g_strndup(words, (gsize)(to - words));

            event->renamed_from = harmless(from);
        }
    }
}

/* name: what the mailbox is called after this commit. STORE_NOT_FOUND, STORE_CORRUPT. */
static int read_event(struct event *out, struct objects *objects, const struct object_id *id,
                      const char *name, struct store_error *error)
{
    struct object_data data;
    struct commit commit;
    int rc = objects_read(objects, id, OBJECT_COMMIT, &data, error);

    memset(out, 0, sizeof(*out));
    if (rc < 0) {
        return rc;
    }
    rc = commit_decode(&commit, data.data, data.length, error);
    if (rc == 0) {
        out->parent = commit.parent;
        out->date = commit.committed;
        read_subject(out, &commit, name);
    }
    object_data_release(&data);
    return rc;
}

/* --- reading down --- */

/* False if there are too many. */
static bool add_day(struct timeline *timeline, int64_t date)
{
    int64_t day = date / SECONDS_A_DAY;
    int32_t value = (int32_t)day;
    guint low = 0, high = timeline->days->len;

    if (date < 0 || day > DAY_MAX) {
        return true;
    }
    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (g_array_index(timeline->days, int32_t, middle) < value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < timeline->days->len && g_array_index(timeline->days, int32_t, low) == value) {
        return true;
    }
    if (timeline->days->len == TIMELINE_DAYS_MAX) {
        return false;
    }
    g_array_insert_val(timeline->days, low, value);
    return true;
}

static const char *name_at(const struct timeline *timeline, uint32_t index)
{
    return g_ptr_array_index(timeline->names, index);
}

/* False if there are too many. */
static bool add_name(struct timeline *timeline, const char *name, uint32_t *index)
{
    for (guint i = 1; i < timeline->names->len; i++) {
        if (strcmp(name_at(timeline, i), name) == 0) {
            *index = i;
            return true;
        }
    }
    if (timeline->names->len > TIMELINE_NAMES_MAX || strlen(name) > TIMELINE_NAME_MAX) {
        return false;
    }
    *index = timeline->names->len;
    g_ptr_array_add(timeline->names, g_strdup(name));
    return true;
}

static void add_commit(struct timeline *timeline, int64_t date, uint32_t name)
{
    GArray *stretches = timeline->stretches;
    struct stretch *last = stretches->len > 0 ? stretch_at(timeline, stretches->len - 1) : NULL;

    if (last != NULL && last->name == name && last->count < TIMELINE_EVERY) {
        last->earliest = MIN(last->earliest, date);
        last->count++;
    } else {
        struct stretch stretch = {
            .earliest = date, .newest = timeline->next, .count = 1, .name = name};

        g_array_append_val(stretches, stretch);
    }
}

/* Lengthens runs until there are few enough of them. */
static void join_stretches(struct timeline *timeline)
{
    GArray *list = timeline->stretches;

    for (uint32_t every = TIMELINE_EVERY; every < G_MAXUINT32 / 4; every *= 2) {
        guint kept = 0;

        for (guint i = 1; i < list->len; i++) {
            struct stretch *to = stretch_at(timeline, kept);
            const struct stretch *from = stretch_at(timeline, i);

            if (to->name == from->name && from->count < every && to->count <= every - from->count) {
                to->count += from->count;
                to->earliest = MIN(to->earliest, from->earliest);
            } else {
                *stretch_at(timeline, ++kept) = *from;
            }
        }
        g_array_set_size(list, MIN(list->len, kept + 1));
        if (list->len <= TIMELINE_MAX) {
            return;
        }
    }
    g_array_set_size(list, TIMELINE_MAX);
    memset(&timeline->next, 0, sizeof(timeline->next));
}

static bool take_event(struct timeline *timeline, const struct event *event)
{
    g_autofree char *shown = NULL;

    if (event->deleted == NULL) {
        add_commit(timeline, event->date, timeline->name);
        return event->renamed_from == NULL ||
               add_name(timeline, event->renamed_from, &timeline->name);
    }
    add_commit(timeline, event->date, TIMELINE_GONE);
    shown = harmless(name_at(timeline, timeline->name));
    return strcmp(shown, event->deleted) == 0 ||
           add_name(timeline, event->deleted, &timeline->name);
}

/* The commit that is next. Whatever can't be had ends the history; that the disk fails does not. */
static int read_next(struct timeline *timeline, struct timeline_reader *reader, int64_t *date,
                     struct store_error *error)
{
    struct event event;
    int rc = read_event(&event, reader->objects, &timeline->next, name_at(timeline, timeline->name),
                        error);
    bool known;

    reader->steps--;

    if (rc < 0) {
        bool ends = rc == STORE_NOT_FOUND || rc == STORE_CORRUPT;

        if (ends) {
            memset(&timeline->next, 0, sizeof(timeline->next));
        }
        return ends ? 0 : rc;
    }
    *date = event.date;
    timeline->oldest = timeline->next;
    known = add_day(timeline, event.date) && take_event(timeline, &event) &&
            (reader->ends == NULL || !id_set_has(reader->ends, &timeline->next));
    timeline->next = event.parent;
    if (!known) {
        memset(&timeline->next, 0, sizeof(timeline->next));
    }
    timeline->read++;
    event_clear(&event);
    return 0;
}

bool timeline_reaches(const struct timeline *timeline, int64_t since)
{
    if (object_id_is_zero(&timeline->next)) {
        return true;
    }
    for (guint i = 0; i < timeline->stretches->len; i++) {
        if (stretch_at(timeline, i)->earliest <= since) {
            return true;
        }
    }
    return false;
}

static int read_down(struct timeline *timeline, struct timeline_reader *reader, int64_t since,
                     struct store_error *error)
{
    bool reaches = timeline_reaches(timeline, since);
    int rc = 0;

    while (rc == 0 && !reaches && reader->steps > 0) {
        int64_t date = INT64_MAX;

        rc = read_next(timeline, reader, &date, error);
        reaches = date <= since || object_id_is_zero(&timeline->next);
    }
    if (timeline->stretches->len > TIMELINE_MAX) {
        join_stretches(timeline);
    }
    return rc;
}

/* --- what came since it was last read --- */

static void begin_at(struct timeline *timeline, const struct object_id *tip, const char *name)
{
    timeline_release(timeline);
    timeline_init(timeline);
    timeline->next = *tip;
    if (!add_name(timeline, name, &timeline->name)) {
        memset(&timeline->next, 0, sizeof(timeline->next));
    }
}

/* The mailbox is called so at its newest known commit. */
static bool is_called(const struct timeline *timeline, const char *name)
{
    uint32_t known = stretch_at(timeline, 0)->name;

    return known == TIMELINE_GONE || strcmp(name_at(timeline, known), name) == 0;
}

/* Puts what is known below what was read above it. False if something becomes too much. */
static bool put_below(struct timeline *above, const struct timeline *known)
{
    g_autofree uint32_t *places = g_new0(uint32_t, known->names->len);

    for (guint i = 1; i < known->names->len; i++) {
        if (!add_name(above, name_at(known, i), &places[i])) {
            return false;
        }
    }
    for (guint i = 0; i < known->stretches->len; i++) {
        struct stretch stretch = *stretch_at(known, i);

        stretch.name = places[stretch.name];
        g_array_append_val(above->stretches, stretch);
    }
    for (guint i = 0; i < known->days->len; i++) {
        if (!add_day(above, (int64_t)g_array_index(known->days, int32_t, i) * SECONDS_A_DAY)) {
            return false;
        }
    }
    above->next = known->next;
    above->oldest = known->oldest;
    above->name = places[known->name];
    join_stretches(above);
    return true;
}

static int catch_up(struct timeline *timeline, struct timeline_reader *reader,
                    const struct object_id *tip, const char *name, struct store_error *error)
{
    struct timeline known = *timeline;
    const struct object_id *seam = &stretch_at(&known, 0)->newest;
    int64_t date;
    int rc = 0;

    timeline_init(timeline);
    begin_at(timeline, tip, name);
    while (rc == 0 && reader->steps > 0 && !object_id_is_zero(&timeline->next) &&
           !object_id_equal(&timeline->next, seam)) {
        rc = read_next(timeline, reader, &date, error);
    }
    if (rc == 0 && object_id_equal(&timeline->next, seam) &&
        is_called(&known, name_at(timeline, timeline->name))) {
        if (!put_below(timeline, &known)) {
            begin_at(timeline, tip, name);
        }
    }
    timeline_release(&known);
    return rc;
}

int timeline_read(struct timeline *timeline, struct timeline_reader *reader,
                  const struct object_id *tip, const char *name, int64_t since,
                  struct store_error *error)
{
    int rc = 0;

    if (timeline->stretches->len == 0) {
        begin_at(timeline, tip, name);
    } else if (!object_id_equal(&stretch_at(timeline, 0)->newest, tip)) {
        rc = catch_up(timeline, reader, tip, name, error);
    } else if (!is_called(timeline, name)) {
        begin_at(timeline, tip, name);
    }
    return rc < 0 ? rc : read_down(timeline, reader, since, error);
}

/* --- finding --- */

int timeline_find(const struct timeline *timeline, struct timeline_reader *reader, int64_t time,
                  struct object_id *commit, int64_t *date, const char **name,
                  struct store_error *error)
{
    const struct stretch *stretch = NULL;
    struct object_id next;

    for (guint i = 0; i < timeline->stretches->len && stretch == NULL; i++) {
        if (stretch_at(timeline, i)->earliest <= time) {
            stretch = stretch_at(timeline, i);
        }
    }
    if (stretch == NULL) {
        return store_error_set(error, STORE_NOT_FOUND, "the history begins after that moment");
    }
    next = stretch->newest;
    for (uint32_t i = 0; i < stretch->count && !object_id_is_zero(&next); i++) {
        struct event event;
        int rc = read_event(&event, reader->objects, &next, "", error);

        if (rc < 0) {
            return rc;
        }
        reader->steps -= reader->steps > 0;
        event_clear(&event);
        if (event.date <= time) {
            *commit = next;
            *date = event.date;
            *name = stretch->name == TIMELINE_GONE ? NULL : name_at(timeline, stretch->name);
            return 0;
        }
        next = event.parent;
    }
    return store_error_set(error, STORE_NOT_FOUND, "the history is another one");
}
