/* TLS over non-blocking sockets: TLS 1.2 and newer, a certificate that can be read again, buffers
 * released while a connection is idle. One thread. */
#ifndef ANNAL_SERVER_TLS_H
#define ANNAL_SERVER_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls;
struct tls_stream;

/* NULL with *problem (a new string) if certificate chain or key can't be read or don't match. */
struct tls *tls_new(const char *certificate, const char *key, char **problem);
/* When the certificate ends, in seconds since the Unix epoch; 0 if that can't be told. */
int64_t tls_expiry(const struct tls *tls);
/* Reads files, the same or others, for connections that come; on failure all stays as it was. */
bool tls_reload(struct tls *tls, const char *certificate, const char *key, char **problem);
void tls_free(struct tls *tls); /* accepts NULL; streams live on */

/* The server's side of a new stream over fd, which stays the caller's. NULL: no memory. */
struct tls_stream *tls_stream_new(struct tls *tls, int fd);
void tls_stream_free(struct tls_stream *stream); /* accepts NULL */

enum tls_result {
    TLS_DONE,       /* something was read or written; the handshake is complete */
    TLS_WANT_READ,  /* call again when the socket can be read */
    TLS_WANT_WRITE, /* ... written */
    TLS_CLOSED,     /* the peer has ended the stream */
    TLS_FAILED,     /* see tls_problem() */
};

enum tls_result tls_handshake(struct tls_stream *stream);
enum tls_result tls_read(struct tls_stream *stream, void *out, size_t size, size_t *length);
/* Writes some of it. After TLS_WANT_*, the next call's data begins with the same octets. */
enum tls_result tls_write(struct tls_stream *stream, const void *data, size_t size, size_t *length);
/* Tells the peer that no more will be sent; does not wait for its answer. */
void tls_shut_down(struct tls_stream *stream);

/* What failed last, for the log; "" if nothing; borrowed until the next call. */
const char *tls_problem(const struct tls_stream *stream);
/* "TLSv1.3", a constant. */
const char *tls_version(const struct tls_stream *stream);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", new string. */
char *tls_description(const struct tls_stream *stream);

#endif
