#include "server/transport.h"

#include <errno.h>
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/deflate.h"

enum {
    PIECE_COPIED = 4 * 1024, /* a shorter piece is copied, not referred to */
    READS_AWAY = 16,         /* at a time */
    WRITES_AT_ONCE = 64,     /* records; then others have their turn */
};

void transport_init(struct transport *transport, int fd, uint8_t *scratch)
{
    *transport = (struct transport){
        .fd = fd,
        .scratch = scratch,
        .plain = evbuffer_new(),
        .wire = evbuffer_new(),
    };
}

void transport_release(struct transport *transport)
{
    if (transport->tls != NULL)
        tls_shut_down(transport->tls);
    tls_stream_free(transport->tls);
    close(transport->fd);
    deflate_free(transport->deflate);
    g_free(transport->raw);
    evbuffer_free(transport->plain);
    evbuffer_free(transport->wire);
}

bool transport_start_tls(struct transport *transport, struct tls *tls)
{
    transport->tls = tls_stream_new(tls, transport->fd);
    return transport->tls != NULL;
}

/* --- the socket, with and without TLS --- */

static enum transport_result from_tls(struct transport *transport, enum tls_result result)
{
    switch (result) {
    case TLS_DONE:
        return TRANSPORT_DONE;
    case TLS_WANT_WRITE:
        transport->wants_write = true;
        return TRANSPORT_AGAIN;
    case TLS_WANT_READ:
        return TRANSPORT_AGAIN;
    case TLS_CLOSED:
        return TRANSPORT_END;
    case TLS_FAILED:
        break;
    }
    return TRANSPORT_FAILED;
}

static enum transport_result read_socket(struct transport *transport, void *out, size_t size,
                                         size_t *length)
{
    *length = 0;
    if (transport->tls != NULL)
        return from_tls(transport, tls_read(transport->tls, out, size, length));
    ssize_t got = recv(transport->fd, out, size, 0);

    if (got == 0)
        return TRANSPORT_END;
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? TRANSPORT_AGAIN : TRANSPORT_FAILED;
    *length = (size_t)got;
    return TRANSPORT_DONE;
}

/* Some octets from the front of the wire, and how many: as they lie there if they are enough for
 * a good record, else collected in the scratch. */
static const void *front(struct transport *transport, size_t *length)
{
    size_t waiting = MIN(evbuffer_get_length(transport->wire), TRANSPORT_RECORD);
    size_t together = MIN(evbuffer_get_contiguous_space(transport->wire), TRANSPORT_RECORD);

    if (together >= TRANSPORT_RECORD / 2 || together == waiting) {
        *length = together;
        return evbuffer_pullup(transport->wire, (ev_ssize_t)together);
    }
    *length = waiting;
    evbuffer_copyout(transport->wire, transport->scratch, waiting);
    return transport->scratch;
}

static enum transport_result write_socket(struct transport *transport)
{
    size_t length;
    size_t written;

    if (transport->tls == NULL) {
        if (evbuffer_write(transport->wire, transport->fd) > 0)
            return TRANSPORT_DONE;
        return errno == EAGAIN || errno == EINTR ? TRANSPORT_AGAIN : TRANSPORT_FAILED;
    }
    const void *data = front(transport, &length);
    enum transport_result result =
        from_tls(transport, tls_write(transport->tls, data, length, &written));

    evbuffer_drain(transport->wire, written);
    return result;
}

/* --- output --- */

static void piece_sent(const void *data, size_t length, void *piece)
{
    (void)data;
    (void)length;
    g_bytes_unref(piece);
}

void transport_add(struct transport *transport, GBytes *piece)
{
    struct evbuffer *to = transport->plain;
    size_t length;
    const void *data = g_bytes_get_data(piece, &length);

    if (length > PIECE_COPIED && evbuffer_add_reference(to, data, length, piece_sent, piece) == 0)
        return;
    evbuffer_add(to, data, length);
    g_bytes_unref(piece);
}

/* One round of compression; everything is flushed when plain is empty. */
static void compress_some(struct transport *transport)
{
    struct evbuffer_iovec in = {.iov_base = NULL, .iov_len = 0};

    evbuffer_peek(transport->plain, TRANSPORT_SCRATCH, NULL, &in, 1);
    size_t taken = MIN(in.iov_len, TRANSPORT_SCRATCH);
    bool flush = taken == evbuffer_get_length(transport->plain);
    size_t length;

    do {
        size_t rest = taken;

        length = TRANSPORT_SCRATCH;
        deflate_compress(transport->deflate, in.iov_base, &rest, transport->scratch, &length,
                         flush);
        evbuffer_add(transport->wire, transport->scratch, length);
        evbuffer_drain(transport->plain, rest);
        taken -= rest;
        in.iov_base = (uint8_t *)in.iov_base + rest;
    } while (length == TRANSPORT_SCRATCH);
}

static void fill_wire(struct transport *transport)
{
    if (transport->deflate == NULL) {
        evbuffer_add_buffer(transport->wire, transport->plain);
        return;
    }
    while (evbuffer_get_length(transport->plain) > 0 &&
           evbuffer_get_length(transport->wire) < TRANSPORT_WIRE_HIGH)
        compress_some(transport);
}

bool transport_start_compression(struct transport *transport)
{
    fill_wire(transport);
    transport->deflate = deflate_new();
    transport->raw = g_try_malloc(TRANSPORT_RAW_MAX);
    return transport->deflate != NULL && transport->raw != NULL;
}

enum transport_result transport_handshake(struct transport *transport)
{
    return from_tls(transport, tls_handshake(transport->tls));
}

size_t transport_unsent(const struct transport *transport)
{
    return evbuffer_get_length(transport->plain) + evbuffer_get_length(transport->wire);
}

enum transport_result transport_write(struct transport *transport)
{
    enum transport_result result = TRANSPORT_DONE;

    for (unsigned i = 0; i < WRITES_AT_ONCE && result == TRANSPORT_DONE; i++) {
        fill_wire(transport);
        if (evbuffer_get_length(transport->wire) == 0)
            return TRANSPORT_DONE;
        result = write_socket(transport);
    }
    return result == TRANSPORT_DONE ? TRANSPORT_AGAIN : result;
}

/* --- input --- */

enum transport_result transport_read(struct transport *transport, size_t size, size_t *length)
{
    if (transport->deflate == NULL)
        return read_socket(transport, transport->scratch, size, length);
    *length = 0;
    if (transport->raw_length == 0 && !transport->more) {
        transport->raw_start = 0;
        enum transport_result result =
            read_socket(transport, transport->raw, TRANSPORT_RAW_MAX, &transport->raw_length);

        if (result != TRANSPORT_DONE)
            return result;
    }
    size_t taken = transport->raw_length;

    *length = size;
    enum deflate_result result =
        deflate_expand(transport->deflate, transport->raw + transport->raw_start, &taken,
                       transport->scratch, length);

    transport->raw_start += taken;
    transport->raw_length -= taken;
    transport->more = *length == size;
    switch (result) {
    case DEFLATE_OK:
        return TRANSPORT_DONE;
    case DEFLATE_END:
        return TRANSPORT_END;
    case DEFLATE_BAD:
        break;
    }
    return TRANSPORT_FAILED;
}

void transport_acknowledge_soon(const struct transport *transport)
{
    const int on = 1;

    setsockopt(transport->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

bool transport_read_away(struct transport *transport)
{
    for (unsigned i = 0; i < READS_AWAY; i++) {
        ssize_t got = recv(transport->fd, transport->scratch, TRANSPORT_SCRATCH, 0);

        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (got < 0)
            break;
    }
    return true;
}

void transport_end(struct transport *transport)
{
    if (transport->tls != NULL)
        tls_shut_down(transport->tls);
    shutdown(transport->fd, SHUT_WR);
}

const char *transport_problem(const struct transport *transport)
{
    if (transport->tls != NULL && *tls_problem(transport->tls) != '\0')
        return tls_problem(transport->tls);
    return transport->deflate != NULL ? "bad compressed data" : g_strerror(errno);
}
