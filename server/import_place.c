#include "server/import_place.h"

#include <stdlib.h>
#include <string.h>

#include "server/admin.h"

struct origin import_origin(const char *command)
{
    struct origin origin = admin_origin(command);

    origin.client = "annal import";
    return origin;
}

/* Messages that are to get the same flags. */
struct import_follow {
    GArray *uids;
    GPtrArray *keywords; /* char *, then NULL */
    uint8_t flags;
};

static void follow_free(void *data)
{
    struct import_follow *follow = data;

    g_array_unref(follow->uids);
    g_ptr_array_unref(follow->keywords);
    g_free(follow);
}

void import_pending_clear(void *data)
{
    struct import_pending *pending = data;

    spool_free(pending->spool);
    g_ptr_array_unref(pending->keywords);
}

static GArray *batch_new(void)
{
    GArray *batch = g_array_new(FALSE, FALSE, sizeof(struct import_pending));

    g_array_set_clear_func(batch, import_pending_clear);
    return batch;
}

struct import_place *import_place_new(char *name)
{
    struct import_place *place = g_new0(struct import_place, 1);

    place->name = name;
    place->kept = batch_new();
    place->fresh = batch_new();
    place->follow = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, follow_free);
    return place;
}

void import_place_free(void *data)
{
    struct import_place *place = data;

    g_array_unref(place->kept);
    g_array_unref(place->fresh);
    g_hash_table_unref(place->follow);
    import_keywords_free(place->keywords);
    import_known_free(place->known);
    mailbox_unref(place->mailbox);
    g_free(place->name);
    g_free(place);
}

/* --- flags --- */

static int compare_keywords(const void *a, const void *b)
{
    return g_ascii_strcasecmp(*(char *const *)a, *(char *const *)b);
}

/* The same text for the same flags, whatever order and case keywords are in. */
static char *flags_text(uint8_t flags, const GPtrArray *keywords)
{
    GPtrArray *sorted = g_ptr_array_new();
    GString *text = g_string_new(NULL);
    char *lower;

    for (unsigned i = 0; i < keywords->len; i++)
        if (keywords->pdata[i] != NULL)
            g_ptr_array_add(sorted, keywords->pdata[i]);
    g_ptr_array_sort(sorted, compare_keywords);
    g_string_printf(text, "%u", flags);
    for (unsigned i = 0; i < sorted->len; i++)
        g_string_append_printf(text, " %s", (const char *)sorted->pdata[i]);
    g_ptr_array_unref(sorted);
    lower = g_ascii_strdown(text->str, -1);
    g_string_free(text, TRUE);
    return lower;
}

static char *text_of(const struct snapshot *snapshot, const struct message *message)
{
    GPtrArray *keywords = g_ptr_array_new();
    char *text;

    for (size_t i = 0; i < snapshot_keyword_count(snapshot); i++)
        if ((message->keywords >> i & 1) != 0)
            g_ptr_array_add(keywords, (char *)(uintptr_t)snapshot_keyword(snapshot, i));
    text = flags_text(message->flags, keywords);
    g_ptr_array_unref(keywords);
    return text;
}

static struct import_follow *follow_new(uint8_t flags, const GPtrArray *keywords)
{
    struct import_follow *follow = g_new0(struct import_follow, 1);

    follow->flags = flags;
    follow->uids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    follow->keywords = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; i < keywords->len; i++)
        if (keywords->pdata[i] != NULL)
            g_ptr_array_add(follow->keywords, g_strdup(keywords->pdata[i]));
    g_ptr_array_add(follow->keywords, NULL);
    return follow;
}

void import_place_follow(struct import_place *place, size_t index, uint8_t flags,
                         const GPtrArray *keywords, struct import_place_counts *counts)
{
    const struct snapshot *snapshot = import_known_snapshot(place->known);
    struct message message = snapshot_message(snapshot, index);
    char *wanted = flags_text(flags, keywords);
    char *has = text_of(snapshot, &message);
    struct import_follow *follow;

    if (strcmp(wanted, has) != 0 && import_known_untouched(place->known, index)) {
        follow = g_hash_table_lookup(place->follow, wanted);
        if (follow == NULL) {
            follow = follow_new(flags, keywords);
            g_hash_table_insert(place->follow, g_strdup(wanted), follow);
        }
        g_array_append_val(follow->uids, message.uid);
    } else if (strcmp(wanted, has) != 0) {
        counts->changed++;
    }
    g_free(wanted);
    g_free(has);
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int set_flags(const struct import_place *place, struct import_follow *follow,
                     struct import_place_counts *counts, struct store_error *error)
{
    struct flag_change change = {
        .mode = FLAG_MODE_REPLACE,
        .flags = follow->flags,
        .keywords = (const char *const *)follow->keywords->pdata,
        .unchanged_since = snapshot_highest_modseq(import_known_snapshot(place->known)),
    };
    struct origin origin = import_origin(IMPORT_COMMAND);
    GArray *unchanged = NULL;
    int result;

    g_array_sort(follow->uids, compare_uids);
    result = mailbox_store_flags(place->mailbox, (const uint32_t *)(void *)follow->uids->data,
                                 follow->uids->len, &change, &origin, &unchanged, error);
    if (result != 0)
        return result;
    counts->flags += follow->uids->len - unchanged->len;
    counts->changed += unchanged->len;
    g_array_unref(unchanged);
    return 0;
}

/* --- what is gone --- */

/* Those that nobody has changed meanwhile. */
static void keep_unchanged(const struct import_place *place, GArray *uids)
{
    const struct snapshot *now = mailbox_snapshot(place->mailbox);
    uint64_t since = snapshot_highest_modseq(import_known_snapshot(place->known));
    unsigned count = 0;

    for (unsigned i = 0; i < uids->len; i++) {
        uint32_t uid = g_array_index(uids, uint32_t, i);
        size_t index;

        if (snapshot_find(now, uid, &index) && snapshot_message(now, index).modseq <= since)
            g_array_index(uids, uint32_t, count++) = uid;
    }
    g_array_set_size(uids, count);
}

static int remove_gone(struct import_place *place, bool remove, struct import_place_counts *counts,
                       struct store_error *error)
{
    struct origin origin = import_origin(IMPORT_COMMAND);
    GArray *uids = import_known_left(place->known);
    int result = 0;

    if (remove && uids->len > 0)
        result = mailbox_refresh(place->mailbox, error);
    if (remove && result == 0 && uids->len > 0) {
        keep_unchanged(place, uids);
        result = mailbox_expunge(place->mailbox, (const uint32_t *)(void *)uids->data, uids->len,
                                 false, &origin, error);
    }
    if (result == 0)
        *(remove ? &counts->removed : &counts->gone) += uids->len;
    g_array_unref(uids);
    return result;
}

int import_place_catch_up(struct import_place *place, bool remove,
                          struct import_place_counts *counts, struct store_error *error)
{
    GHashTableIter groups;
    void *follow;
    int result = 0;

    if (place->known == NULL)
        return 0;
    g_hash_table_iter_init(&groups, place->follow);
    while (result == 0 && g_hash_table_iter_next(&groups, NULL, &follow))
        result = set_flags(place, follow, counts, error);
    g_hash_table_remove_all(place->follow);
    /* Without the source's UIDs there is no telling whether it is this source that had a message.
     */
    if (result == 0 && place->uid_validity != 0 && !place->incomplete)
        result = remove_gone(place, remove, counts, error);
    return result;
}
