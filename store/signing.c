#include "store/signing.h"

#include <inttypes.h>
#include <string.h>

#include "store/internal/checkpoint.h"
#include "store/internal/objects.h"
#include "store/internal/refs.h"
#include "store/internal/ssh_key.h"
#include "store/internal/text.h"

enum { MICROSECONDS = 1000000, NAME_MAX_OCTETS = 200 };

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
    struct refs *refs;
};

static int make(const struct maker *maker, const struct checkpoint *last, const GString *heads,
                int64_t now, struct store_error *error)
{
    uint64_t number = last != NULL ? last->number + 1 : 1;
    g_autofree char *ref = g_strdup_printf("%s%" PRIu64, CHECKPOINTS_PREFIX, number);
    g_autoptr(GString) blob = g_string_new("previous ");
    g_autoptr(GString) tag = g_string_new(NULL);
    g_autofree char *keep = NULL;
    struct ref_update update = {.name = ref};
    const struct object_id none = {{0}};
    char hex[OBJECT_ID_HEX + 1];

    object_id_format(last != NULL ? &last->id : &none, hex);
    g_string_append_printf(blob, "%s\n%s", hex, heads->str);
    int rc = sign(tag, blob, maker->key, maker->user, number, now, error);
    if (rc == 0) {
        rc = tag_write(maker->path, maker->host, tag->str, tag->len, blob, &update.after, &keep,
                       error);
    }
    if (rc == 0) {
        rc = refs_commit(maker->refs, &update, 1, error);
    }
    if (keep != NULL) {
        maker->host->unlink(maker->host->data, keep);
    }
    return rc == 0 ? refs_sync(maker->refs, error) : rc;
}

int checkpoint_make(const char *path, const struct host *host, const struct signing_key *key,
                    const char *user, int64_t after, bool *made, struct store_error *error)
{
    struct maker maker = {.path = path, .host = host, .key = key, .user = user};
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(GString) heads = g_string_new(NULL);
    const struct checkpoint *last = NULL;
    int64_t now = host->now(host->data) / MICROSECONDS;
    int rc = refs_open(&maker.refs, path, host, error);

    *made = false;
    if (rc == 0) {
        rc = checkpoints_list(&all, path, maker.refs, true, error);
    }
    if (rc == 0) {
        rc = append_heads(heads, maker.refs, error);
    }
    if (rc == 0 && all->len > 0) {
        last = all->pdata[all->len - 1];
    }
    if (rc == 0 && (last == NULL || (now - last->time >= after && !same_heads(last, heads)))) {
        rc = make(&maker, last, heads, now, error);
        *made = rc == 0;
    }
    refs_close(maker.refs);
    return rc;
}
