/* COMPRESS=DEFLATE (RFC 4978): raw deflate both ways, over buffers of the caller. */
#ifndef ANNAL_SERVER_DEFLATE_H
#define ANNAL_SERVER_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

struct deflate;

enum { DEFLATE_OUT_MIN = 7 }; /* with less, zlib would repeat its flush markers */

/* About 110 KiB: a small window and tables for what we send, the full window for what we get.
 * NULL if there is no memory. */
struct deflate *deflate_new(void);
void deflate_free(struct deflate *codec); /* accepts NULL */

/* Compresses from in to out: on return *in_length octets were taken and *out_length written.
 * With flush, all that was taken so far can be read by the peer once the call has taken all its
 * input and left room in out; otherwise it is called again. out has room for at least
 * DEFLATE_OUT_MIN octets. */
void deflate_compress(struct deflate *codec, const void *in, size_t *in_length, void *out,
                      size_t *out_length, bool flush);

enum deflate_result {
    DEFLATE_OK,
    DEFLATE_END, /* the peer has ended its stream */
    DEFLATE_BAD, /* no deflate data */
};

/* Expands from in to out, never more than *out_length octets; lengths as above. When out is full
 * there may be more to come even without new input. */
enum deflate_result deflate_expand(struct deflate *codec, const void *in, size_t *in_length,
                                   void *out, size_t *out_length);

#endif
