/* One connection to the server, with or without TLS, on a libevent loop. */
#ifndef ANNAL_TESTS_BENCH_CLIENT_H
#define ANNAL_TESTS_BENCH_CLIENT_H

#include <event2/event.h>
#include <glib.h>
#include <openssl/ssl.h>
#include <stdint.h>

#include "answer.h"

struct client;

struct client_handler {
    answer_found answer; /* must not free the client */
    /* The connection ended, or never began; called once. The client may not be freed in it. */
    void (*broken)(const char *why, void *data);
};

/* Begins to connect to 127.0.0.1. tls may be NULL. Never NULL; trouble is told by broken, later. */
struct client *client_new(struct event_base *base, unsigned port, SSL_CTX *tls,
                          const struct client_handler *handler, void *data);
void client_free(struct client *client); /* accepts NULL; closes without farewell */

/* The octets not yet sent: append to it, then client_flush(). */
GString *client_out(struct client *client);
void client_flush(struct client *client);

/* Octets received by all clients so far. */
uint64_t client_received(void);

#endif
