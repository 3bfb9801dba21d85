#include "server/penalty.h"

#include <glib.h>
#include <stdbool.h>

/* Keys: "a<address>", "u<user>", and "g<address> <user>" for a pair that is known to be good. */
struct entry {
    char *key;
    unsigned failures;
    int64_t since; /* of the last failure, or the last forgiveness */
    GList node;    /* in order of last use */
};

struct penalty {
    GHashTable *entries;
    GQueue used; /* oldest first */
    int64_t first;
    int64_t max;
};

static void entry_free(void *data)
{
    struct entry *entry = data;

    g_free(entry->key);
    g_free(entry);
}

struct penalty *penalty_new(void)
{
    struct penalty *penalty = g_new0(struct penalty, 1);

    penalty->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    g_queue_init(&penalty->used);
    penalty_set_delays(penalty, PENALTY_FIRST, PENALTY_MAX);
    return penalty;
}

void penalty_set_delays(struct penalty *penalty, int64_t first, int64_t max)
{
    penalty->first = first;
    penalty->max = max;
}

void penalty_free(struct penalty *penalty)
{
    if (penalty == NULL)
        return;
    g_hash_table_unref(penalty->entries);
    g_free(penalty);
}

static void forget(struct penalty *penalty, struct entry *entry)
{
    g_queue_unlink(&penalty->used, &entry->node);
    g_hash_table_remove(penalty->entries, entry->key);
}

/* Takes the key. */
static struct entry *obtain(struct penalty *penalty, char *key)
{
    struct entry *entry = g_hash_table_lookup(penalty->entries, key);

    if (entry != NULL) {
        g_free(key);
        g_queue_unlink(&penalty->used, &entry->node);
    } else {
        if (penalty->used.length >= PENALTY_ENTRIES_MAX)
            forget(penalty, penalty->used.head->data);
        entry = g_new0(struct entry, 1);
        entry->key = key;
        entry->node.data = entry;
        g_hash_table_insert(penalty->entries, entry->key, entry);
    }
    g_queue_push_tail_link(&penalty->used, &entry->node);
    return entry;
}

static struct entry *find(struct penalty *penalty, char *key)
{
    struct entry *entry = g_hash_table_lookup(penalty->entries, key);

    g_free(key);
    return entry;
}

static char *pair_key(const char *address, const char *user)
{
    return g_strdup_printf("g%s %s", address, user);
}

static void forgive(struct entry *entry, int64_t now)
{
    int64_t steps = (now - entry->since) / PENALTY_DECAY;

    if (steps <= 0)
        return;
    entry->failures -= (unsigned)MIN((int64_t)entry->failures, steps);
    entry->since += steps * PENALTY_DECAY;
}

static int64_t delay_of(const struct penalty *penalty, unsigned failures)
{
    int64_t delay = penalty->first;

    if (failures == 0)
        return 0;
    while (--failures > 0 && delay < penalty->max)
        delay *= 2;
    return MIN(delay, penalty->max);
}

static int64_t until(struct penalty *penalty, char *key, int64_t now)
{
    struct entry *entry = find(penalty, key);

    if (entry == NULL)
        return now;
    forgive(entry, now);
    return MAX(now, entry->since + delay_of(penalty, entry->failures));
}

int64_t penalty_until(struct penalty *penalty, const char *address, const char *user, int64_t now)
{
    int64_t time = until(penalty, g_strconcat("a", address, NULL), now);

    if (find(penalty, pair_key(address, user)) == NULL)
        time = MAX(time, until(penalty, g_strconcat("u", user, NULL), now));
    return MIN(time, now + penalty->max);
}

static void fail(struct penalty *penalty, char *key, int64_t now)
{
    struct entry *entry = obtain(penalty, key);

    forgive(entry, now);
    entry->failures = MIN(entry->failures + 1, 16);
    entry->since = now;
}

void penalty_failure(struct penalty *penalty, const char *address, const char *user, int64_t now)
{
    fail(penalty, g_strconcat("a", address, NULL), now);
    fail(penalty, g_strconcat("u", user, NULL), now);
}

void penalty_success(struct penalty *penalty, const char *address, const char *user, int64_t now)
{
    struct entry *entry = find(penalty, g_strconcat("a", address, NULL));

    /* An address that knows one password may still be guessing others. */
    if (entry != NULL && entry->failures > 0)
        entry->failures--;
    entry = find(penalty, g_strconcat("u", user, NULL));
    if (entry != NULL)
        forget(penalty, entry);
    obtain(penalty, pair_key(address, user))->since = now;
}

size_t penalty_entries(const struct penalty *penalty)
{
    return penalty->used.length;
}
