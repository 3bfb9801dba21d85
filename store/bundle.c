#include "store/bundle.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/account_private.h"
#include "store/internal/checkpoint.h"
#include "store/internal/purge_record.h"
#include "store/internal/refs_private.h"
#include "store/internal/text.h"

static const char SIGNATURE[] = "# v2 git bundle\n";
static const char SIGNATURE_ANY[] = "# v";

enum { READ_PIECE = 64 * 1024 };

static void reference_free(void *data)
{
    struct follow_reference *reference = data;

    g_free(reference->name);
    g_free(reference);
}

void bundle_init(struct bundle *bundle)
{
    bundle->prerequisites = g_array_new(FALSE, FALSE, sizeof(struct object_id));
    bundle->references = g_ptr_array_new_with_free_func(reference_free);
    bundle->length = 0;
}

void bundle_release(struct bundle *bundle)
{
    g_clear_pointer(&bundle->prerequisites, g_array_unref);
    g_clear_pointer(&bundle->references, g_ptr_array_unref);
}

/* --- writing --- */

void bundle_encode(GString *out, const struct bundle *bundle)
{
    char hex[OBJECT_ID_HEX + 1];

    g_string_append(out, SIGNATURE);
    for (guint i = 0; i < bundle->prerequisites->len; i++) {
        object_id_format(&g_array_index(bundle->prerequisites, struct object_id, i), hex);
        g_string_append_printf(out, "-%s\n", hex);
    }
    for (guint i = 0; i < bundle->references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(bundle->references, i);

        object_id_format(&reference->id, hex);
        g_string_append_printf(out, "%s %s\n", hex, reference->name);
    }
    g_string_append_c(out, '\n');
}

/* --- reading --- */

static bool take_id(struct text *line, struct object_id *out)
{
    char hex[OBJECT_ID_HEX + 1] = "";

    if (line->end - line->at < OBJECT_ID_HEX) {
        return false;
    }
    memcpy(hex, line->at, OBJECT_ID_HEX);
    line->at += OBJECT_ID_HEX;
    return object_id_parse(out, hex);
}

static bool name_valid(const struct text *name)
{
    size_t length = (size_t)(name->end - name->at);

    return (length == strlen("HEAD") && memcmp(name->at, "HEAD", length) == 0) ||
           ref_name_valid(name->at, length);
}

/* A prerequisite may have a comment behind it. */
static bool take_line(struct bundle *out, struct text *line)
{
    struct object_id id;

    if (text_octet(line, '-')) {
        bool good = take_id(line, &id) && (line->at == line->end || *line->at == ' ');

        if (good) {
            g_array_append_val(out->prerequisites, id);
        }
        return good;
    }
    if (!take_id(line, &id) || !text_octet(line, ' ') || !name_valid(line)) {
        return false;
    }
    struct follow_reference *reference = g_new(struct follow_reference, 1);
    reference->name = g_strndup(line->at, (size_t)(line->end - line->at));
    reference->id = id;
    g_ptr_array_add(out->references, reference);
    return true;
}

int bundle_decode(struct bundle *out, const void *data, size_t length, struct store_error *error)
{
    struct text text = {data, (const char *)data + length};
    struct text line;

    if (length < strlen(SIGNATURE) || memcmp(data, SIGNATURE, strlen(SIGNATURE)) != 0) {
        bool other = length >= strlen(SIGNATURE_ANY) &&
                     memcmp(data, SIGNATURE_ANY, strlen(SIGNATURE_ANY)) == 0;

        return other ? store_error_set(error, STORE_UNSUPPORTED, "a bundle of another version")
                     : store_error_set(error, STORE_CORRUPT, "not a git bundle");
    }
    text.at += strlen(SIGNATURE);
    while (text_line(&text, &line)) {
        if (line.at == line.end) {
            out->length = (size_t)(text.at - (const char *)data);
            return 0;
        }
        if (!take_line(out, &line)) {
            return store_error_set(error, STORE_CORRUPT, "the bundle's head is malformed");
        }
        if (out->prerequisites->len > BUNDLE_REFERENCES_MAX ||
            out->references->len > BUNDLE_REFERENCES_MAX) {
            return store_error_set(error, STORE_LIMIT, "the bundle has too many references");
        }
    }
    return store_error_set(error, STORE_CORRUPT, "the bundle ends within its head");
}

/* Up to the empty line, and what happened to be read behind it. */
static int read_head(GByteArray *head, int fd, struct store_error *error)
{
    bool ended = false;

    while (!ended && head->len < BUNDLE_HEAD_MAX) {
        guint before = head->len;
        guint from = before > 0 ? before - 1 : 0;

        g_byte_array_set_size(head, before + READ_PIECE);
        ssize_t got = pread(fd, head->data + before, READ_PIECE, before);
        if (got < 0 && errno == EINTR) {
            got = 0;
            g_byte_array_set_size(head, before);
            continue;
        }
        if (got < 0) {
            return store_error_set(error, STORE_IO, "reading a bundle: %s", g_strerror(errno));
        }
        g_byte_array_set_size(head, before + (guint)got);
        ended = got == 0 ||
                (head->len >= strlen(SIGNATURE) &&
                 memcmp(head->data, SIGNATURE, strlen(SIGNATURE)) != 0) ||
                memmem(head->data + from, head->len - from, "\n\n", 2) != NULL;
    }
    return 0;
}

int bundle_read(struct bundle *out, int fd, struct store_error *error)
{
    g_autoptr(GByteArray) head = g_byte_array_new();
    int rc = read_head(head, fd, error);

    if (rc == 0) {
        rc = bundle_decode(out, head->data, head->len, error);
    }
    if (rc == 0 && lseek(fd, (off_t)out->length, SEEK_SET) < 0) {
        rc = store_error_set(error, STORE_IO, "reading a bundle: %s", g_strerror(errno));
    }
    return rc;
}

/* --- what it says --- */

const struct follow_reference *bundle_find(const struct bundle *bundle, const char *reference)
{
    for (guint i = 0; i < bundle->references->len; i++) {
        const struct follow_reference *found = g_ptr_array_index(bundle->references, i);

        if (strcmp(found->name, reference) == 0) {
            return found;
        }
    }
    return NULL;
}

static bool is_commit(struct objects *objects, const struct object_id *id)
{
    struct store_error ignored;
    struct object_data data;

    if (objects_read(objects, id, OBJECT_COMMIT, &data, &ignored) < 0) {
        return false;
    }
    object_data_release(&data);
    return true;
}

/* Whether the account's messages were purged when they were for the bundle, and not again: what
 * was taken out since is not to be built upon. */
static bool same_purges(struct account *account, const struct bundle *earlier)
{
    const struct follow_reference *then = bundle_find(earlier, PURGED_REF);
    struct object_id now;
    struct store_error ignored;
    int rc = refs_read(account->refs, PURGED_REF, &now, &ignored);

    return then != NULL ? rc == 0 && object_id_equal(&now, &then->id) : rc == STORE_NOT_FOUND;
}

bool bundle_follow(struct bundle *bundle, struct account *account, const struct bundle *earlier)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(object_id_hash, object_id_equal_keys);

    if (!same_purges(account, earlier)) {
        return false;
    }
    for (guint i = 0; i < earlier->references->len; i++) {
        struct follow_reference *reference = g_ptr_array_index(earlier->references, i);

        if (!g_hash_table_add(seen, &reference->id)) {
            continue;
        }
        if (is_commit(account->objects, &reference->id)) {
            g_array_append_val(bundle->prerequisites, reference->id);
        } else if (!g_str_has_prefix(reference->name, CHECKPOINTS_PREFIX) &&
                   !objects_exist(account->objects, &reference->id)) {
            return false; /* old checkpoints go in their time */
        }
    }
    return bundle->prerequisites->len > 0;
}
