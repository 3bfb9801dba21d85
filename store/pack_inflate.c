#include "store/internal/pack_inflate.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#include "store/internal/pack_file_private.h"
#include "store/internal/sha1.h"

enum {
    SKIP_PIECE = 64 * 1024,
    INPUT_MAX = 1024 * 1024 * 1024, /* octets that zlib is given at a time */
};

struct pack_inflate {
    struct pack_file *pack;
    struct object_id id;
    enum object_type type;
    uint64_t length;
    size_t begin; /* of the zlib stream in the pack */
    z_stream stream;
    bool ready;
    size_t at;        /* in the pack: what zlib gets next */
    uint64_t reached; /* octets expanded since the start */
    struct sha1 sha1; /* of them */
};

static bool parse_header(struct pack_inflate *object, size_t at)
{
    const struct pack_file *pack = object->pack;
    unsigned shift = 4;

    if (at < PACK_HEADER || at >= pack->end) {
        return false;
    }
    uint8_t byte = pack->pack[at++];
    unsigned type = byte >> 4 & 7;
    object->length = byte & 15;
    for (; (byte & 0x80) != 0; shift += 7) {
        if (at >= pack->end || shift > 64 - 7) {
            return false;
        }
        byte = pack->pack[at++];
        object->length |= (uint64_t)(byte & 0x7f) << shift;
    }
    object->begin = at;
    object->type = (enum object_type)type;
    return object->length > 0 &&
           (type == OBJECT_COMMIT || type == OBJECT_TREE || type == OBJECT_BLOB);
}

static bool restart(struct pack_inflate *object)
{
    int result = object->ready ? inflateReset(&object->stream) : inflateInit(&object->stream);

    object->ready = object->ready || result == Z_OK;
    object->at = object->begin;
    object->stream.avail_in = 0;
    object->reached = 0;
    objects_hash_begin(&object->sha1, object->type, object->length);
    return result == Z_OK;
}

struct pack_inflate *pack_inflate_open(struct pack_file *pack, uint32_t position)
{
    struct pack_inflate *object = g_new0(struct pack_inflate, 1);
    size_t entry;

    object->pack = pack_file_ref(pack);
    object->id = *pack_file_id(pack, position);
    if (!pack_file_offset(pack, position, &entry) || !parse_header(object, entry) ||
        !restart(object)) {
        g_clear_pointer(&object, pack_inflate_free);
    }
    return object;
}

void pack_inflate_free(struct pack_inflate *object)
{
    if (object == NULL) {
        return;
    }
    if (object->ready) {
        inflateEnd(&object->stream);
    }
    pack_file_unref(object->pack);
    g_free(object);
}

uint64_t pack_inflate_length(const struct pack_inflate *object)
{
    return object->length;
}

enum object_type pack_inflate_type(const struct pack_inflate *object)
{
    return object->type;
}

/* Expands exactly length octets; with the last ones of the object the stream has to end. */
static bool expand(struct pack_inflate *object, uint8_t *out, size_t length)
{
    z_stream *stream = &object->stream;
    bool last = object->reached + length == object->length;
    int result = Z_OK;

    stream->next_out = out;
    stream->avail_out = (uInt)length;
    while (result == Z_OK && (stream->avail_out > 0 || last)) {
        if (stream->avail_in == 0) {
            size_t some = MIN(object->pack->end - object->at, (size_t)INPUT_MAX);

            stream->next_in = (z_const Bytef *)object->pack->pack + object->at;
            stream->avail_in = (uInt)some;
            object->at += some;
        }
        /* Z_BUF_ERROR: the pack is at its end, or the stream goes on behind the object's. */
        result = inflate(stream, Z_NO_FLUSH);
    }
    if (stream->avail_out > 0 || (last ? result != Z_STREAM_END : result != Z_OK)) {
        return false;
    }
    sha1_update(&object->sha1, out, length);
    object->reached += length;
    return true;
}

static bool is_itself(const struct pack_inflate *object)
{
    struct object_id id;

    sha1_sum(&object->sha1, id.bytes);
    return object_id_equal(&id, &object->id);
}

static int damaged(struct store_error *error)
{
    return store_error_set(error, STORE_CORRUPT, "pack: a compressed object is damaged");
}

/* Expands up to offset, for nobody. */
static bool skip_to(struct pack_inflate *object, uint64_t offset, uint8_t *scratch, size_t size)
{
    while (object->reached < offset) {
        if (!expand(object, scratch, (size_t)MIN(offset - object->reached, size))) {
            return false;
        }
    }
    return true;
}

int pack_inflate_next(struct pack_inflate *object, uint64_t offset, size_t max, GBytes **out,
                      struct store_error *error)
{
    assert(max > 0 && offset < object->length && max <= object->length - offset);
    size_t size = MAX(max, (size_t)SKIP_PIECE);
    uint8_t *piece = offset == object->reached ? g_try_malloc(max) : g_try_malloc(size);

    if (piece == NULL) {
        return store_error_set(error, STORE_NO_MEMORY, "a piece of %zu octets", max);
    }
    bool good = (offset >= object->reached || restart(object)) &&
                skip_to(object, offset, piece, size) && expand(object, piece, max) &&
                (object->reached < object->length || is_itself(object));
    if (!good) {
        /* What comes next begins anew. */
        object->reached = object->length;
        g_free(piece);
        return damaged(error);
    }
    *out = g_bytes_new_take(piece, max);
    return 0;
}
