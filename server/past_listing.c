#include "server/past_listing.h"

#include <string.h>

#include "protocol/mailbox_name.h"
#include "server/past_name.h"
#include "store/past.h"

/* A moment whose names are to be told. */
struct place {
    char *name; /* History/MOMENT */
    bool below; /* and what is below it */
};

struct past_listing {
    GPtrArray *patterns; /* char *, borrowed: those that ask for the past */
    GPtrArray *places;   /* struct place * */
    GPtrArray *daily;    /* char *: patterns of a day, below which something is asked for */
    bool root;           /* the root is asked for, and not told yet */
    bool days;           /* days are asked for, and not among the places yet */
    guint next;          /* of the places */
    struct past_progress *progress; /* with the days or the next place */
};

static void place_free(void *data)
{
    struct place *place = data;

    g_free(place->name);
    g_free(place);
}

static void past_entry_free(void *data)
{
    struct past_entry *entry = data;

    g_free(entry->name);
    g_free(entry);
}

void past_listing_free(struct past_listing *listing)
{
    if (listing == NULL) {
        return;
    }
    g_ptr_array_unref(listing->patterns);
    g_ptr_array_unref(listing->places);
    g_ptr_array_unref(listing->daily);
    past_progress_free(listing->progress);
    g_free(listing);
}

/* --- what is asked for --- */

static bool has_wildcard(const char *text)
{
    return strpbrk(text, "*%") != NULL;
}

static void add_place(struct past_listing *listing, const char *name, bool below)
{
    struct place *place;

    for (guint i = 0; i < listing->places->len; i++) {
        place = g_ptr_array_index(listing->places, i);
        if (strcmp(place->name, name) == 0) {
            place->below = place->below || below;
            return;
        }
    }
    place = g_new0(struct place, 1);
    place->name = g_strdup(name);
    place->below = below;
    g_ptr_array_add(listing->places, place);
}

static void take_pattern(struct past_listing *listing, char *pattern)
{
    size_t root = strlen(PAST_ROOT);

    if (strncmp(pattern, PAST_ROOT, root) != 0 || (pattern[root] != '\0' && pattern[root] != '/')) {
        return;
    }
    g_ptr_array_add(listing->patterns, pattern);
    if (pattern[root] == '\0') {
        listing->root = true;
        return;
    }
    size_t length = root + 1 + strcspn(pattern + root + 1, "/");
    bool below = pattern[length] == '/';
    char *moment = g_strndup(pattern, length);
    if (!has_wildcard(moment)) {
        add_place(listing, moment, below);
    } else {
        listing->days = true;
        if (below && strchr(moment, '*') == NULL) {
            g_ptr_array_add(listing->daily, moment);
            return;
        }
    }
    g_free(moment);
}

struct past_listing *past_listing_new(const GPtrArray *patterns)
{
    struct past_listing *listing = g_new0(struct past_listing, 1);

    listing->patterns = g_ptr_array_new();
    listing->places = g_ptr_array_new_with_free_func(place_free);
    listing->daily = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < patterns->len; i++) {
        take_pattern(listing, g_ptr_array_index(patterns, i));
    }
    if (listing->patterns->len == 0) {
        past_listing_free(listing);
        return NULL;
    }
    return listing;
}

static bool any_matches(const GPtrArray *patterns, const char *name)
{
    for (guint i = 0; i < patterns->len; i++) {
        if (mailbox_pattern_match(g_ptr_array_index(patterns, i), name)) {
            return true;
        }
    }
    return false;
}

bool past_listing_matches(const struct past_listing *listing, const char *name)
{
    return any_matches(listing->patterns, name);
}

/* --- what there is --- */

static struct past_entry *add_entry(GPtrArray *entries, char *name, bool exists, bool has_children)
{
    struct past_entry *entry = g_new0(struct past_entry, 1);

    entry->name = name;
    entry->exists = exists;
    entry->has_children = has_children;
    g_ptr_array_add(entries, entry);
    return entry;
}

/* Only days that are asked for become places. */
static int find_days(struct past_listing *listing, struct session *session,
                     struct store_error *error)
{
    GArray *days = NULL;
    int code = past_days(session->account, &days, &listing->progress, error);

    if (code != STORE_OK || listing->progress != NULL) {
        return code;
    }
    for (guint i = 0; i < days->len; i++) {
        char text[MOMENT_DAY_LENGTH + 1];

        moment_format_day(text, g_array_index(days, int32_t, i));
        char *name = g_strconcat(PAST_ROOT "/", text, NULL);
        bool below = any_matches(listing->daily, name);
        if (below || past_listing_matches(listing, name)) {
            struct place *place = g_new0(struct place, 1);

            place->name = g_steal_pointer(&name);
            place->below = below;
            g_ptr_array_add(listing->places, place);
        }
        g_free(name);
    }
    g_array_unref(days);
    listing->days = false;
    return STORE_OK;
}

/* The moment itself, and what was then if that is asked for. An empty list: nothing was. */
static void add_states(GPtrArray *entries, const struct place *place, const GPtrArray *states,
                       bool is_commit)
{
    if (states->len > 0) {
        add_entry(entries, g_strdup(place->name), is_commit, true);
    }
    for (guint i = 0; place->below && i < states->len; i++) {
        const struct past_state *state = g_ptr_array_index(states, i);

        add_entry(entries, g_strconcat(place->name, "/", state->name, NULL), true, false)->commit =
            state->commit;
    }
}

static int list_place(struct past_listing *listing, struct session *session, GPtrArray *entries,
                      struct store_error *error)
{
    const struct place *place = g_ptr_array_index(listing->places, listing->next);
    struct past_name past;
    GPtrArray *states = NULL;

    past_name_parse(&past, place->name);
    if (past.place != PAST_PLACE_MOMENT || past_name_is_future(session, &past.moment)) {
        return STORE_OK;
    }
    int code = past_list(session->account, &past.moment, &states, &listing->progress, error);
    if (code == STORE_NOT_FOUND) {
        return STORE_OK;
    }
    if (code == STORE_OK && listing->progress == NULL) {
        add_states(entries, place, states, past.moment.commit[0] != '\0');
        g_ptr_array_unref(states);
    }
    return code;
}

int past_listing_next(struct past_listing *listing, struct session *session, GPtrArray **entries,
                      bool *again, struct store_error *error)
{
    int code = STORE_OK;

    *entries = NULL;
    if (listing->days) {
        code = find_days(listing, session, error);
    }
    *again = listing->progress != NULL && listing->days;
    if (code != STORE_OK || *again || (!listing->root && listing->next == listing->places->len)) {
        return code;
    }
    *entries = g_ptr_array_new_with_free_func(past_entry_free);
    if (listing->root) {
        add_entry(*entries, g_strdup(PAST_ROOT), false, true);
        listing->root = false;
        return STORE_OK;
    }
    code = list_place(listing, session, *entries, error);
    *again = listing->progress != NULL;
    if (code != STORE_OK || *again) {
        g_clear_pointer(entries, g_ptr_array_unref);
        return code;
    }
    listing->next++;
    return STORE_OK;
}
