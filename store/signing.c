#include "store/signing.h"

#include <inttypes.h>
#include <string.h>

#include "store/hold.h"
#include "store/internal/checkpoint.h"
#include "store/internal/objects.h"
#include "store/internal/refs.h"
#include "store/internal/ssh_key.h"
#include "store/internal/text.h"
#include "store/retention.h"

enum { MICROSECONDS = 1000000, NAME_MAX_OCTETS = 200, CONFLICTS_MAX = 10 };

struct signing_key {
    struct ssh_key *key;
};

int signing_key_load(struct signing_key **out, const char *path, struct store_error *error)
{
    struct ssh_key *key;
    int rc = ssh_key_load(&key, path, error);

    if (rc == 0) {
        *out = g_new0(struct signing_key, 1);
        (*out)->key = key;
    }
    return rc;
}

void signing_key_free(struct signing_key *key)
{
    if (key != NULL) {
        ssh_key_free(key->key);
        g_free(key);
    }
}

char *signing_key_public(const struct signing_key *key)
{
    return ssh_public_key_format(ssh_key_public(key->key));
}

/* A new string. */
static char *checkpoint_ref(uint64_t number)
{
    return g_strdup_printf("%s%" PRIu64, CHECKPOINTS_PREFIX, number);
}

/* What is signed of an account: its references. */
static int append_heads(GString *out, struct refs *refs, struct store_error *error)
{
    g_autoptr(GPtrArray) list = NULL;
    int rc = refs_list(refs, "refs/", &list, error);

    for (guint i = 0; rc == 0 && i < list->len; i++) {
        const struct ref_entry *ref = list->pdata[i];
        char hex[OBJECT_ID_HEX + 1];

        if (!g_str_has_prefix(ref->name, CHECKPOINTS_PREFIX)) {
            object_id_format(&ref->id, hex);
            g_string_append_printf(out, "head %s %s\n", ref->name, hex);
        }
    }
    return rc;
}

static bool same_heads(const struct checkpoint *last, const GString *heads)
{
    return memmem(last->text, last->signed_length, heads->str, heads->len) != NULL &&
           g_str_has_suffix(heads->str, "\n") && last->signed_length >= heads->len &&
           memcmp(last->text + last->signed_length - heads->len, heads->str, heads->len) == 0;
}

static int sign(GString *tag, const GString *blob, const struct signing_key *key, const char *user,
                uint64_t number, int64_t now, struct store_error *error)
{
    g_autoptr(GString) name = g_string_new(NULL);
    struct object_id id;
    char hex[OBJECT_ID_HEX + 1];

    text_append_harmless(name, user, strlen(user), NAME_MAX_OCTETS);
    objects_hash(OBJECT_BLOB, blob->str, blob->len, &id);
    object_id_format(&id, hex);
    g_string_append_printf(tag,
                           "object %s\ntype blob\ntag checkpoint-%" PRIu64
                           "\ntagger annal <annal@localhost> %" PRId64
                           " +0000\n\nCheckpoint %" PRIu64 " of %s\n\n%s",
                           hex, number, now, number, name->str, blob->str);
    return ssh_key_sign(key->key, tag->str, tag->len, tag, error);
}

struct maker {
    const char *path;
    const struct host *host;
    const struct signing_key *key;
    const char *user;
    int64_t keep;
    int64_t now;
    struct refs *refs;
};

static void add_removal(GArray *updates, const struct checkpoint *checkpoint)
{
    struct ref_update update = {.name = checkpoint_ref(checkpoint->number),
                                .before = checkpoint->id};

    g_array_append_val(updates, update);
}

/* Adds the removal of those that are not needed beside a new one; *from is the oldest that is. */
static int remove_old(const struct maker *maker, const struct checkpoint *last, GArray *updates,
                      uint64_t *from, struct store_error *error)
{
    g_autoptr(GPtrArray) all = NULL;
    guint first = 0;

    *from = last != NULL ? last->from : 1;
    if (last == NULL || maker->keep == RETENTION_FOREVER || hold_is_set(maker->refs)) {
        return 0;
    }
    int rc = checkpoints_list(&all, maker->path, maker->refs, false, error);
    if (rc < 0) {
        return rc;
    }
    /* The newest of those that are old enough is what the rest follows. */
    while (all->len - first + 1 > CHECKPOINTS_MIN &&
           ((const struct checkpoint *)all->pdata[first + 1])->time <= maker->now - maker->keep) {
        add_removal(updates, all->pdata[first++]);
    }
    /* What somebody else has taken away is to be missed. */
    if (first > 0) {
        *from = MAX(*from, ((const struct checkpoint *)all->pdata[first])->number);
    }
    return 0;
}

static void update_clear(void *data)
{
    g_free((char *)(uintptr_t)((struct ref_update *)data)->name);
}

static int make(const struct maker *maker, const struct checkpoint *last, const GString *heads,
                struct store_error *error)
{
    uint64_t number = last != NULL ? last->number + 1 : 1;
    g_autoptr(GArray) updates = g_array_new(FALSE, FALSE, sizeof(struct ref_update));
    g_autoptr(GString) blob = g_string_new("previous ");
    g_autoptr(GString) tag = g_string_new(NULL);
    g_autofree char *keep = NULL;
    const struct object_id none = {{0}};
    struct object_id id;
    uint64_t from;
    char hex[OBJECT_ID_HEX + 1];

    g_array_set_clear_func(updates, update_clear);
    int rc = remove_old(maker, last, updates, &from, error);
    object_id_format(last != NULL ? &last->id : &none, hex);
    g_string_append_printf(blob, "%s\n", hex);
    if (rc == 0 && from > 1) {
        g_string_append_printf(blob, "from %" PRIu64 "\n", from);
    }
    g_string_append(blob, heads->str);
    if (rc == 0) {
        rc = sign(tag, blob, maker->key, maker->user, number, maker->now, error);
    }
    if (rc == 0) {
        rc = tag_write(maker->path, maker->host, tag->str, tag->len, blob, &id, &keep, error);
    }
    if (rc == 0) {
        struct ref_update update = {.name = checkpoint_ref(number), .after = id};

        g_array_append_val(updates, update);
        rc = refs_commit(maker->refs, (const struct ref_update *)(void *)updates->data,
                         updates->len, error);
    }
    if (keep != NULL) {
        maker->host->unlink(maker->host->data, keep);
    }
    return rc == 0 ? refs_sync(maker->refs, error) : rc;
}

/* STORE_CONFLICT: somebody else made one meanwhile. */
static int make_if_due(const struct maker *maker, int64_t after, bool *made,
                       struct store_error *error)
{
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(GString) heads = g_string_new(NULL);
    const struct checkpoint *last = NULL;
    int rc = checkpoints_list(&all, maker->path, maker->refs, true, error);

    if (rc == 0) {
        rc = append_heads(heads, maker->refs, error);
    }
    if (rc == 0 && all->len > 0) {
        last = all->pdata[all->len - 1];
    }
    if (rc == 0 &&
        (last == NULL || (maker->now - last->time >= after && !same_heads(last, heads)))) {
        rc = make(maker, last, heads, error);
        *made = rc == 0;
    }
    return rc;
}

int checkpoint_make(const char *path, const struct host *host, const struct signing_key *key,
                    const char *user, int64_t after, int64_t keep, bool *made,
                    struct store_error *error)
{
    struct maker maker = {.path = path,
                          .host = host,
                          .key = key,
                          .user = user,
                          .keep = keep,
                          .now = host->now(host->data) / MICROSECONDS};
    int rc = refs_open(&maker.refs, path, host, error);

    *made = false;
    if (rc == 0) {
        rc = make_if_due(&maker, after, made, error);
    }
    for (unsigned i = 0; rc == STORE_CONFLICT && i < CONFLICTS_MAX; i++) {
        rc = make_if_due(&maker, after, made, error);
    }
    refs_close(maker.refs);
    return rc;
}
