/* The file packed-refs: where git gathers references that rarely change. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/pack.h"
#include "store/internal/refs_private.h"

GHashTable *packed_refs_parse(const char *text, size_t length)
{
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    while (length > 0) {
        const char *end = memchr(text, '\n', length);
        size_t line = end != NULL ? (size_t)(end - text) : length;
        char hex[OBJECT_ID_HEX + 1] = "";
        struct object_id id;

        if (line > OBJECT_ID_HEX + 1 && text[OBJECT_ID_HEX] == ' ' &&
            ref_name_valid(text + OBJECT_ID_HEX + 1, line - OBJECT_ID_HEX - 1)) {
            memcpy(hex, text, OBJECT_ID_HEX);
            if (object_id_parse(&id, hex)) {
                g_hash_table_insert(table,
                                    g_strndup(text + OBJECT_ID_HEX + 1, line - OBJECT_ID_HEX - 1),
                                    g_memdup2(&id, sizeof(id)));
            }
        }
        line += end != NULL;
        text += line;
        length -= line;
    }
    return table;
}

/* The whole of packed-refs; NULL in *out when there is none. */
static int read_packed_file(struct refs *refs, GBytes **out, struct ref_stamp *stamp, bool *settled,
                            struct store_error *error)
{
    struct stat status;
    char *path = ref_path(refs, "packed-refs", "");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int number = errno;
    int result = 0;

    g_free(path);
    *out = NULL;
    *stamp = (struct ref_stamp){0};
    *settled = false;
    if (fd < 0) {
        return number == ENOENT ? 0 : host_fail(error, -number, "packed-refs");
    }
    if (fstat(fd, &status) < 0) {
        result = host_fail(error, -errno, "packed-refs");
    } else if (status.st_size > PACKED_REFS_MAX) {
        result = store_error_set(error, STORE_CORRUPT, "packed-refs is too big");
    } else {
        size_t length = 0;
        size_t size = (size_t)status.st_size;
        char *text = g_malloc(size + 1);
        ssize_t got = 1;

        *stamp = ref_stamp_of(&status);
        *settled = ref_stamp_settled(refs, stamp);
        while (length < size && got > 0) {
            got = read(fd, text + length, size - length);
            length += got > 0 ? (size_t)got : 0;
        }
        *out = g_bytes_new_take(text, length);
        result = got < 0 ? host_fail(error, -errno, "packed-refs") : 0;
    }
    close(fd);
    return result;
}

static bool same_text(GBytes *a, GBytes *b)
{
    return a == NULL || b == NULL ? a == b : g_bytes_equal(a, b);
}

static void take_packed_text(struct refs *refs, GBytes *text)
{
    gsize length = 0;
    const char *data = text != NULL ? g_bytes_get_data(text, &length) : NULL;

    if (refs->packed_text != NULL) {
        g_bytes_unref(refs->packed_text);
    }
    refs->packed_text = text;
    g_hash_table_destroy(refs->packed);
    refs->packed = packed_refs_parse(data, length);
}

int refs_load_packed(struct refs *refs, bool ours, struct store_error *error)
{
    struct stat status;
    struct ref_stamp stamp = {0};
    bool settled;
    GBytes *text;
    char *path = ref_path(refs, "packed-refs", "");
    bool exists = stat(path, &status) == 0;

    g_free(path);
    if (exists) {
        stamp = ref_stamp_of(&status);
    }
    if (exists == (refs->packed_text != NULL) && (!exists || refs->packed_settled) &&
        ref_stamp_equal(&stamp, &refs->packed_stamp)) {
        return 0;
    }
    int result = read_packed_file(refs, &text, &stamp, &settled, error);
    if (result < 0) {
        if (text != NULL) {
            g_bytes_unref(text);
        }
        return result;
    }
    refs->packed_stamp = stamp;
    refs->packed_settled = settled;
    if (same_text(text, refs->packed_text)) {
        if (text != NULL) {
            g_bytes_unref(text);
        }
        return 0;
    }
    refs->outside = refs->outside || !ours;
    take_packed_text(refs, text);
    return 0;
}
