#include "store/internal/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "store/internal/git.h"
#include "store/internal/objects.h"
#include "store/internal/pack.h"
#include "store/internal/sha1.h"
#include "store/internal/text.h"
#include "store/signing.h"

static void head_clear(void *data)
{
    g_free(((struct checkpoint_head *)data)->ref);
}

static void checkpoint_free(void *data)
{
    struct checkpoint *checkpoint = data;

    g_free(checkpoint->text);
    g_array_unref(checkpoint->heads);
    g_free(checkpoint);
}

/* --- writing --- */

void tag_hash(const char *text, size_t length, struct object_id *out)
{
    struct sha1 sha1;
    char header[40];
    int header_length = snprintf(header, sizeof(header), "tag %zu", length);

    sha1_init(&sha1);
    sha1_update(&sha1, header, (size_t)header_length + 1);
    sha1_update(&sha1, text, length);
    sha1_sum(&sha1, out->bytes);
}

int tag_write(const char *path, const struct host *host, const char *text, size_t length,
              const GString *blob, struct object_id *out, char **keep, struct store_error *error)
{
    g_autofree char *directory = g_strdup_printf("%s/objects/pack", path);
    struct pack_writer *writer = NULL;
    int rc = pack_writer_open(&writer, directory, path, host, blob != NULL ? 2 : 1, error);

    tag_hash(text, length, out);
    if (rc == 0 && blob != NULL) {
        struct object_id id;

        objects_hash(OBJECT_BLOB, blob->str, blob->len, &id);
        rc = pack_writer_add(writer, &id, OBJECT_BLOB, blob->str, blob->len, error);
    }
    if (rc == 0) {
        /* The writer takes git's numbers of types, of which a tag's is one more than ours. */
        rc = pack_writer_add(writer, out, (enum object_type)GIT_OBJECT_TAG, text, length, error);
    }
    if (rc == 0) {
        rc = pack_writer_finish(writer, PACK_KEEP | PACK_DURABLE, error);
    }
    *keep =
        rc == 0 ? g_strdup_printf("%s/pack-%s.keep", directory, pack_writer_name(writer)) : NULL;
    pack_writer_free(writer);
    return rc;
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

/* "head REF ID" without the first word. */
static bool take_head(struct checkpoint *checkpoint, struct text line)
{
    const char *space = memchr(line.at, ' ', (size_t)(line.end - line.at));
    struct checkpoint_head head;

    if (space == NULL) {
        return false;
    }
    struct text id = {space + 1, line.end};
    if (!take_id(&id, &head.id) || id.at != id.end) {
        return false;
    }
    head.ref = g_strndup(line.at, (gsize)(space - line.at));
    g_array_append_val(checkpoint->heads, head);
    return true;
}

/* "tagger NAME <ADDRESS> SECONDS +0000" */
static void take_time(struct checkpoint *checkpoint, struct text line)
{
    const char *close = memrchr(line.at, '>', (size_t)(line.end - line.at));
    uint64_t seconds;

    if (close != NULL) {
        line.at = close + 1;
        if (text_octet(&line, ' ') && text_number(&line, INT64_MAX, &seconds)) {
            checkpoint->time = (int64_t)seconds;
        }
    }
}

static bool take_lines(struct checkpoint *checkpoint)
{
    struct text text = {checkpoint->text, checkpoint->text + checkpoint->signed_length};
    struct text line;
    bool good = true;
    bool previous = false;

    while (good && text_line(&text, &line)) {
        struct text rest = line;

        if (text_word(&rest, "head ")) {
            good = take_head(checkpoint, rest);
        } else if (rest = line, text_word(&rest, "previous ")) {
            good = !previous && take_id(&rest, &checkpoint->previous) && rest.at == rest.end;
            previous = true;
        } else if (rest = line, text_word(&rest, "from ")) {
            good = text_number(&rest, INT64_MAX, &checkpoint->from) && rest.at == rest.end;
        } else if (rest = line, text_word(&rest, "tagger ")) {
            take_time(checkpoint, rest);
        }
    }
    return good && previous;
}

static int read_checkpoint(struct checkpoint **out, git_odb *odb, const struct ref_entry *ref,
                           struct store_error *error)
{
    struct checkpoint *checkpoint = g_new0(struct checkpoint, 1);
    const char *digits = ref->name + strlen(CHECKPOINTS_PREFIX);
    struct text number = {digits, digits + strlen(digits)};
    git_odb_object *object = NULL;
    git_oid oid;

    checkpoint->heads = g_array_new(FALSE, FALSE, sizeof(struct checkpoint_head));
    g_array_set_clear_func(checkpoint->heads, head_clear);
    checkpoint->id = ref->id;
    checkpoint->from = 1;
    git_oid_fromraw(&oid, ref->id.bytes);
    bool good = text_number(&number, INT64_MAX, &checkpoint->number) && number.at == number.end &&
                git_odb_read(&object, odb, &oid) == 0 &&
                git_odb_object_type(object) == GIT_OBJECT_TAG &&
                git_odb_object_size(object) <= CHECKPOINT_SIZE_MAX;
    if (good) {
        checkpoint->length = git_odb_object_size(object);
        checkpoint->text = g_strndup(git_odb_object_data(object), checkpoint->length);
        const char *signature = strstr(checkpoint->text, "-----BEGIN SSH SIGNATURE-----");
        checkpoint->signed_length =
            signature != NULL ? (size_t)(signature - checkpoint->text) : checkpoint->length;
        good = take_lines(checkpoint);
    }
    git_odb_object_free(object);
    if (!good) {
        checkpoint_free(checkpoint);
        return store_error_set(error, STORE_CORRUPT, "%s is no checkpoint", ref->name);
    }
    *out = checkpoint;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    const struct checkpoint *left = *(const struct checkpoint *const *)a;
    const struct checkpoint *right = *(const struct checkpoint *const *)b;

    return left->number < right->number ? -1 : left->number > right->number;
}

static uint64_t number_of(const struct ref_entry *ref)
{
    const char *digits = ref->name + strlen(CHECKPOINTS_PREFIX);
    struct text number = {digits, digits + strlen(digits)};
    uint64_t value;

    return text_number(&number, INT64_MAX, &value) && number.at == number.end ? value : 0;
}

/* Leaves the one with the highest number. */
static void keep_last(GPtrArray *refs)
{
    while (refs->len > 1) {
        g_ptr_array_remove_index(refs, number_of(refs->pdata[0]) > number_of(refs->pdata[1]));
    }
}

int checkpoints_list(GPtrArray **out, const char *path, struct refs *refs, bool last,
                     struct store_error *error)
{
    g_autofree char *objects = g_strdup_printf("%s/objects", path);
    g_autoptr(GPtrArray) found = NULL;
    git_odb *odb = NULL;
    int rc = refs_list(refs, CHECKPOINTS_PREFIX, &found, error);

    libgit2_start();
    *out = g_ptr_array_new_with_free_func(checkpoint_free);
    if (rc == 0 && last) {
        keep_last(found);
    }
    if (rc == 0 && git_odb_open(&odb, objects) < 0) {
        rc = libgit2_fail(error, -1, "object database");
    }
    for (guint i = 0; rc == 0 && i < found->len; i++) {
        struct checkpoint *checkpoint = NULL;

        rc = read_checkpoint(&checkpoint, odb, found->pdata[i], error);
        if (rc == 0) {
            g_ptr_array_add(*out, checkpoint);
        }
    }
    g_ptr_array_sort(*out, compare_numbers);
    git_odb_free(odb);
    if (rc < 0) {
        g_clear_pointer(out, g_ptr_array_unref);
    }
    return rc;
}
