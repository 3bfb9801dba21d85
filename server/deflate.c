#include "server/deflate.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

enum {
    COMPRESS_LEVEL = 6,
    COMPRESS_WINDOW_BITS = 13, /* (1 << 15) octets in zlib; the peer's window is at least that */
    COMPRESS_MEMORY_LEVEL = 6, /* (1 << 15) octets */
    EXPAND_WINDOW_BITS = 15,   /* the peer may use all that the format allows */
};

struct deflate {
    z_stream compress;
    z_stream expand;
    bool compress_ready;
    bool expand_ready;
};

struct deflate *deflate_new(void)
{
    struct deflate *codec = calloc(1, sizeof *codec);

    if (codec == NULL)
        return NULL;
    /* Negative window bits: raw deflate, without a zlib header. */
    codec->compress_ready =
        deflateInit2(&codec->compress, COMPRESS_LEVEL, Z_DEFLATED, -COMPRESS_WINDOW_BITS,
                     COMPRESS_MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
    codec->expand_ready = inflateInit2(&codec->expand, -EXPAND_WINDOW_BITS) == Z_OK;
    if (!codec->compress_ready || !codec->expand_ready) {
        deflate_free(codec);
        return NULL;
    }
    return codec;
}

void deflate_free(struct deflate *codec)
{
    if (codec == NULL)
        return;
    if (codec->compress_ready)
        deflateEnd(&codec->compress);
    if (codec->expand_ready)
        inflateEnd(&codec->expand);
    free(codec);
}

static void set_buffers(z_stream *stream, const void *in, size_t in_length, void *out,
                        size_t out_length)
{
    assert(in_length <= UINT32_MAX && out_length <= UINT32_MAX);
    stream->next_in = (z_const Bytef *)in;
    stream->avail_in = (uInt)in_length;
    stream->next_out = out;
    stream->avail_out = (uInt)out_length;
}

void deflate_compress(struct deflate *codec, const void *in, size_t *in_length, void *out,
                      size_t *out_length, bool flush)
{
    z_stream *stream = &codec->compress;

    assert(*out_length >= DEFLATE_OUT_MIN);
    set_buffers(stream, in, *in_length, out, *out_length);
    /* Z_BUF_ERROR only says that there was nothing to do. */
    int result = deflate(stream, flush ? Z_SYNC_FLUSH : Z_NO_FLUSH);

    assert(result == Z_OK || result == Z_BUF_ERROR);
    (void)result;
    *in_length -= stream->avail_in;
    *out_length -= stream->avail_out;
}

enum deflate_result deflate_expand(struct deflate *codec, const void *in, size_t *in_length,
                                   void *out, size_t *out_length)
{
    z_stream *stream = &codec->expand;

    set_buffers(stream, in, *in_length, out, *out_length);
    int result = inflate(stream, Z_SYNC_FLUSH);

    *in_length -= stream->avail_in;
    *out_length -= stream->avail_out;
    if (result == Z_STREAM_END)
        return DEFLATE_END;
    return result == Z_OK || result == Z_BUF_ERROR ? DEFLATE_OK : DEFLATE_BAD;
}
