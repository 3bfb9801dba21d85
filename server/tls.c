#include "server/tls.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

enum { PROBLEM_MAX = 160 };

struct tls {
    SSL_CTX *context;
};

struct tls_stream {
    SSL *ssl;
    bool broken; /* after a fatal error nothing may be sent, not even the end */
    char problem[PROBLEM_MAX];
};

/* Takes the oldest error off OpenSSL's queue, and empties it. */
static void take_error(char *out, size_t size)
{
    unsigned long code = ERR_get_error();

    if (code != 0)
        ERR_error_string_n(code, out, size);
    else if (errno != 0)
        g_strlcpy(out, g_strerror(errno), size);
    else
        g_strlcpy(out, "connection lost", size);
    ERR_clear_error();
}

/* RFC 7301: a client that offers protocols must offer "imap", so that it can't be made to talk to
 * us as to another service. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                           const unsigned char *in, unsigned in_length, void *data)
{
    static const unsigned char ours[] = "\x04imap";
    unsigned char *chosen;

    (void)ssl;
    (void)data;
    if (SSL_select_next_proto(&chosen, out_length, ours, sizeof ours - 1, in, in_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool load(SSL_CTX *context, const char *certificate, const char *key)
{
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_check_private_key(context) == 1;
}

static SSL_CTX *context_new(const char *certificate, const char *key, char **problem)
{
    char reason[PROBLEM_MAX];

    ERR_clear_error();
    errno = 0;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL || !load(context, certificate, key)) {
        take_error(reason, sizeof reason);
        *problem = g_strdup_printf("%s, %s: %s", certificate, key, reason);
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Tickets carry a resumption; a cache here would cost memory for each session. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

struct tls *tls_new(const char *certificate, const char *key, char **problem)
{
    SSL_CTX *context = context_new(certificate, key, problem);

    if (context == NULL)
        return NULL;
    struct tls *tls = g_new0(struct tls, 1);

    tls->context = context;
    return tls;
}

bool tls_reload(struct tls *tls, const char *certificate, const char *key, char **problem)
{
    SSL_CTX *context = context_new(certificate, key, problem);

    if (context == NULL)
        return false;
    SSL_CTX_free(tls->context);
    tls->context = context;
    return true;
}

int64_t tls_expiry(const struct tls *tls)
{
    const X509 *certificate = SSL_CTX_get0_certificate(tls->context);
    struct tm tm;

    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
        return 0;
    return timegm(&tm);
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    g_free(tls);
}

struct tls_stream *tls_stream_new(struct tls *tls, int fd)
{
    SSL *ssl = SSL_new(tls->context);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_accept_state(ssl);
    struct tls_stream *stream = g_new0(struct tls_stream, 1);

    stream->ssl = ssl;
    return stream;
}

void tls_stream_free(struct tls_stream *stream)
{
    if (stream == NULL)
        return;
    SSL_free(stream->ssl);
    g_free(stream);
}

static void prepare(struct tls_stream *stream)
{
    ERR_clear_error();
    errno = 0;
    stream->problem[0] = '\0';
}

static enum tls_result finish(struct tls_stream *stream, int result)
{
    if (result == 1)
        return TLS_DONE;
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        stream->broken = true;
        take_error(stream->problem, sizeof stream->problem);
        return TLS_FAILED;
    }
}

enum tls_result tls_handshake(struct tls_stream *stream)
{
    prepare(stream);
    return finish(stream, SSL_do_handshake(stream->ssl));
}

enum tls_result tls_read(struct tls_stream *stream, void *out, size_t size, size_t *length)
{
    prepare(stream);
    *length = 0;
    return finish(stream, SSL_read_ex(stream->ssl, out, size, length));
}

enum tls_result tls_write(struct tls_stream *stream, const void *data, size_t size, size_t *length)
{
    prepare(stream);
    *length = 0;
    return finish(stream, SSL_write_ex(stream->ssl, data, size, length));
}

void tls_shut_down(struct tls_stream *stream)
{
    if (stream->broken || !SSL_is_init_finished(stream->ssl))
        return;
    prepare(stream);
    if (SSL_shutdown(stream->ssl) < 0)
        ERR_clear_error();
}

const char *tls_problem(const struct tls_stream *stream)
{
    return stream->problem;
}

const char *tls_version(const struct tls_stream *stream)
{
    return SSL_get_version(stream->ssl);
}

char *tls_description(const struct tls_stream *stream)
{
    return g_strdup_printf("%s %s", SSL_get_version(stream->ssl), SSL_get_cipher(stream->ssl));
}
