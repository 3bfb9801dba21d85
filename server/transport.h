/* A non-blocking socket's octets, through TLS and compression once they have begun. What is
 * written waits here in order; nothing blocks.
 *
 *     plain --compress--> wire --TLS--> socket        without compression plain stays empty
 */
#ifndef ANNAL_SERVER_TRANSPORT_H
#define ANNAL_SERVER_TRANSPORT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/tls.h"

struct deflate;
struct evbuffer;

enum {
    TRANSPORT_SCRATCH = 64 * 1024,   /* octets read at a time */
    TRANSPORT_RECORD = 16 * 1024,    /* octets of a TLS record */
    TRANSPORT_WIRE_HIGH = 64 * 1024, /* compressed octets not yet sent; no more is made beyond */
    TRANSPORT_RAW_MAX = 4 * 1024,    /* compressed octets read and not yet expanded */
};

/* For the functions here, and for reading. */
struct transport {
    int fd;
    uint8_t *scratch; /* TRANSPORT_SCRATCH octets, shared with others; valid within a call */
    struct tls_stream *tls;
    bool wants_write; /* TLS must write before it can go on; the caller clears it */
    struct deflate *deflate;
    struct evbuffer *plain;
    struct evbuffer *wire;
    uint8_t *raw; /* compressed input; NULL without compression */
    size_t raw_start;
    size_t raw_length;
    bool more; /* there may be expanded octets without new input */
};

enum transport_result {
    TRANSPORT_DONE,  /* something was done; there may be more to do */
    TRANSPORT_AGAIN, /* the socket is not ready */
    TRANSPORT_END,   /* the peer has ended its stream */
    TRANSPORT_FAILED,
};

/* Takes fd, borrows scratch. */
void transport_init(struct transport *transport, int fd, uint8_t *scratch);
/* Ends TLS if that goes at once, and closes the socket. */
void transport_release(struct transport *transport);

/* Begin on what comes from now on; false if there is no memory. What was added before is sent
 * without compression; before TLS begins everything must be sent. */
bool transport_start_tls(struct transport *transport, struct tls *tls);
bool transport_start_compression(struct transport *transport);
enum transport_result transport_handshake(struct transport *transport);

/* Adds a piece of output: takes the reference. */
void transport_add(struct transport *transport, GBytes *piece);
/* Octets added and not yet sent. */
size_t transport_unsent(const struct transport *transport);
/* Sends as much as the socket takes, and a bounded amount: TRANSPORT_DONE when all is sent,
 * TRANSPORT_AGAIN if it should be called again when the socket can be written. */
enum transport_result transport_write(struct transport *transport);

/* Reads at most size octets (at most TRANSPORT_SCRATCH) into the scratch; also TRANSPORT_DONE may
 * have read none. */
enum transport_result transport_read(struct transport *transport, size_t size, size_t *length);
/* A client that sends a literal and its line end apart waits, by Nagle's rule, for our
 * acknowledgement in between: without this call at each reading the kernel holds it back for
 * 40 ms, since it forgets the option as it sees fit. */
void transport_acknowledge_soon(const struct transport *transport);
/* Reads what the socket has, a bounded amount, and forgets it. False at the end. */
bool transport_read_away(struct transport *transport);
/* No more will be sent; the peer's end is still awaited. */
void transport_end(struct transport *transport);

/* Why it failed, for the log; borrowed until the next call. */
const char *transport_problem(const struct transport *transport);

#endif
