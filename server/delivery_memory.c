#include "server/delivery_memory.h"

#include <glib.h>
#include <string.h>

#include "store/delivered.h"

/* One mailbox's. */
struct known {
    GHashTable *ids; /* struct object_id, owned */
    uint64_t used;
};

struct delivery_memory {
    GHashTable *mailboxes; /* "user/mailbox id" to struct known */
    GPtrArray *fresh;      /* char *: keys of mailboxes with ids that are not durable yet */
    size_t count;          /* ids in all */
    uint64_t clock;        /* counts uses */
};

static guint id_hash(gconstpointer id)
{
    guint hash;

    memcpy(&hash, ((const struct object_id *)id)->bytes, sizeof hash);
    return hash;
}

static gboolean id_equal(gconstpointer a, gconstpointer b)
{
    return object_id_equal(a, b);
}

static void known_free(void *data)
{
    struct known *known = data;

    g_hash_table_unref(known->ids);
    g_free(known);
}

struct delivery_memory *delivery_memory_new(void)
{
    struct delivery_memory *memory = g_new0(struct delivery_memory, 1);

    memory->mailboxes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
    memory->fresh = g_ptr_array_new_with_free_func(g_free);
    return memory;
}

void delivery_memory_free(struct delivery_memory *memory)
{
    if (memory == NULL)
        return;
    g_hash_table_unref(memory->mailboxes);
    g_ptr_array_unref(memory->fresh);
    g_free(memory);
}

static void remember(struct delivery_memory *memory, struct known *known,
                     const struct object_id *id)
{
    if (g_hash_table_add(known->ids, g_memdup2(id, sizeof *id)))
        memory->count++;
}

static void forget(struct delivery_memory *memory, const char *key)
{
    const struct known *known = g_hash_table_lookup(memory->mailboxes, key);

    if (known == NULL)
        return;
    memory->count -= g_hash_table_size(known->ids);
    g_hash_table_remove(memory->mailboxes, key);
}

/* Makes room by what was not used for longest, but for the one in use. */
static void make_room(struct delivery_memory *memory, const struct known *in_use)
{
    while (memory->count > DELIVERY_MEMORY_MAX) {
        const struct known *oldest = NULL;
        const char *oldest_key = NULL;
        GHashTableIter iter;
        void *key;
        void *value;

        g_hash_table_iter_init(&iter, memory->mailboxes);
        while (g_hash_table_iter_next(&iter, &key, &value)) {
            const struct known *known = value;

            if (known != in_use && (oldest == NULL || known->used < oldest->used)) {
                oldest = known;
                oldest_key = key;
            }
        }
        if (oldest == NULL)
            return;
        forget(memory, oldest_key);
    }
}

struct walk {
    struct delivery_memory *memory;
    struct known *known;
};

static void on_delivery(void *data, const struct object_id *id, int64_t time)
{
    const struct walk *walk = data;

    (void)time;
    remember(walk->memory, walk->known, id);
}

static char *key_of(const char *user, const struct mailbox *mailbox)
{
    return g_strdup_printf("%s/%s", user, snapshot_mailbox_id(mailbox_snapshot(mailbox)));
}

bool delivery_memory_has(struct delivery_memory *memory, const char *user, struct mailbox *mailbox,
                         const struct object_id *id, int64_t now)
{
    char *key = key_of(user, mailbox);
    struct known *known = g_hash_table_lookup(memory->mailboxes, key);

    if (known == NULL) {
        struct store_error error;

        known = g_new0(struct known, 1);
        known->ids = g_hash_table_new_full(id_hash, id_equal, g_free, NULL);
        g_hash_table_insert(memory->mailboxes, g_strdup(key), known);
        struct walk walk = {memory, known};

        (void)delivered_walk(mailbox, now - DELIVERY_MEMORY_DAYS * INT64_C(86400), on_delivery,
                             &walk, &error);
        make_room(memory, known);
    }
    known->used = ++memory->clock;
    g_free(key);
    return g_hash_table_contains(known->ids, id);
}

void delivery_memory_add(struct delivery_memory *memory, const char *user, struct mailbox *mailbox,
                         const struct object_id *id)
{
    char *key = key_of(user, mailbox);
    struct known *known = g_hash_table_lookup(memory->mailboxes, key);

    if (known != NULL) {
        /* A mailbox that fills the memory alone begins anew. */
        if (g_hash_table_size(known->ids) >= DELIVERY_MEMORY_MAX) {
            memory->count -= g_hash_table_size(known->ids);
            g_hash_table_remove_all(known->ids);
        }
        remember(memory, known, id);
        make_room(memory, known);
    }
    g_ptr_array_add(memory->fresh, key);
}

void delivery_memory_doubt(struct delivery_memory *memory)
{
    for (guint i = 0; i < memory->fresh->len; i++)
        forget(memory, g_ptr_array_index(memory->fresh, i));
    delivery_memory_trust(memory);
}

void delivery_memory_trust(struct delivery_memory *memory)
{
    g_ptr_array_set_size(memory->fresh, 0);
}
