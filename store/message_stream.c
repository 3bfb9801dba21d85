#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "store/internal/message_stream_private.h"
#include "store/internal/pack_file.h"
#include "store/internal/pack_inflate.h"

/* Slices of the pack where the blob is stored whole; else, where it is large, what is expanded of
 * it by and by; else all of it. */
struct message_stream {
    unsigned references;
    uint64_t length;
    bool sliced;
    struct pack_slices slices;
    struct pack_inflate *inflate; /* or NULL */
    struct object_data whole;
};

static int open_blob(struct message_stream *stream, struct objects *objects,
                     const struct object_id *blob, struct store_error *error)
{
    if (objects_slices(objects, blob, &stream->slices)) {
        /* Then objects_read() tells that it is no blob. */
        stream->sliced = stream->slices.type == OBJECT_BLOB;
        if (stream->sliced) {
            stream->length = stream->slices.length;
            return 0;
        }
        pack_slices_release(&stream->slices);
    }
    stream->inflate = objects_inflate(objects, blob);
    if (stream->inflate != NULL && pack_inflate_type(stream->inflate) == OBJECT_BLOB &&
        pack_inflate_length(stream->inflate) > MESSAGE_STREAM_PIECE_MAX) {
        GBytes *first;

        stream->length = pack_inflate_length(stream->inflate);
        /* Damage that shows at once is told at once. */
        int begun = pack_inflate_next(stream->inflate, 0, 1, &first, error);

        if (begun == 0) {
            g_bytes_unref(first);
            return 0;
        }
    }
    g_clear_pointer(&stream->inflate, pack_inflate_free);
    int rc = objects_read(objects, blob, OBJECT_BLOB, &stream->whole, error);

    stream->length = stream->whole.length;
    return rc;
}

int message_stream_open(struct message_stream **out, struct objects *objects,
                        const struct object_id *blob, struct store_error *error)
{
    struct message_stream *stream = g_new0(struct message_stream, 1);
    int rc = open_blob(stream, objects, blob, error);

    if (rc < 0) {
        g_free(stream);
        return rc;
    }
    stream->references = 1;
    *out = stream;
    return 0;
}

struct message_stream *message_stream_ref(struct message_stream *stream)
{
    stream->references++;
    return stream;
}

void message_stream_unref(struct message_stream *stream)
{
    if (stream == NULL || --stream->references > 0) {
        return;
    }
    if (stream->sliced) {
        pack_slices_release(&stream->slices);
    } else if (stream->inflate != NULL) {
        pack_inflate_free(stream->inflate);
    } else {
        object_data_release(&stream->whole);
    }
    g_free(stream);
}

uint64_t message_stream_length(const struct message_stream *stream)
{
    return stream->length;
}

int message_stream_read(struct message_stream *stream, uint64_t offset, uint64_t max, GBytes **out,
                        struct store_error *error)
{
    assert(offset < stream->length && max > 0);
    uint64_t length = MIN(MIN(max, MESSAGE_STREAM_PIECE_MAX), stream->length - offset);

    if (stream->sliced) {
        return pack_slices_next(&stream->slices, offset, (size_t)length, out, error);
    }
    if (stream->inflate != NULL) {
        return pack_inflate_next(stream->inflate, offset, (size_t)length, out, error);
    }
    *out = g_bytes_new_from_bytes(stream->whole.owner, (gsize)offset, (gsize)length);
    return 0;
}

int message_stream_gather(struct message_stream *stream, uint64_t offset, uint64_t length,
                          GBytes **out, struct store_error *error)
{
    assert(offset <= stream->length && length <= stream->length - offset);
    uint8_t *all;

    *out = NULL;
    if (length == 0) {
        *out = g_bytes_new_static("", 0);
        return 0;
    }
    int rc = message_stream_read(stream, offset, length, out, error);
    if (rc < 0 || g_bytes_get_size(*out) == length) {
        return rc;
    }
    all = g_try_malloc((gsize)length);
    if (all == NULL) {
        rc = store_error_set(error, STORE_NO_MEMORY, "%" G_GUINT64_FORMAT " octets of a message",
                             length);
    }
    for (uint64_t at = 0; rc == 0 && at < length;) {
        gsize size;
        const void *data = g_bytes_get_data(*out, &size);

        memcpy(all + at, data, size);
        g_clear_pointer(out, g_bytes_unref);
        at += size;
        if (at < length) {
            rc = message_stream_read(stream, offset + at, length - at, out, error);
        }
    }
    g_clear_pointer(out, g_bytes_unref);
    if (rc < 0) {
        g_free(all);
        return rc;
    }
    *out = g_bytes_new_take(all, (gsize)length);
    return 0;
}
