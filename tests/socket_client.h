/* A mail client's socket for tests: TLS, compression, and never a call without an end. */
#ifndef ANNAL_TESTS_SOCKET_CLIENT_H
#define ANNAL_TESTS_SOCKET_CLIENT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SOCKET_CLIENT_TIMEOUT = 20000 }; /* milliseconds; slow machines with sanitizers are slow */

struct deflate;
struct ssl_st;

struct socket_client {
    int fd; /* -1: not connected */
    struct ssl_st *ssl;
    struct deflate *deflate;
    GByteArray *input; /* received and not yet asked for */
    bool ended;        /* the server has hung up */
};

/* Connects to a port of 127.0.0.1; the members need not be set before. False if refused. */
bool socket_client_open(struct socket_client *client, uint16_t port, bool tls);
bool socket_client_start_tls(struct socket_client *client);
void socket_client_compress(struct socket_client *client);
/* Both accept a client that is not connected. Abort: without a word, by a reset. */
void socket_client_close(struct socket_client *client);
void socket_client_abort(struct socket_client *client);

/* Sends all, reading meanwhile what comes. False if it can't be done. */
bool socket_client_send(struct socket_client *client, const void *octets, size_t length);
/* As much as goes without the server reading more; does not read. */
size_t socket_client_push(struct socket_client *client, const void *octets, size_t length);

/* Appends what has come to in; with a timeout in milliseconds, waits for the first octet. False
 * when the server has hung up and there is nothing left. */
bool socket_client_receive(struct socket_client *client, GByteArray *in, int timeout);

/* The next line without CRLF: a new string; NULL at the end or after SOCKET_CLIENT_TIMEOUT. */
char *socket_client_line(struct socket_client *client);
/* Sends text and CRLF, and reads up to the line that begins with tag and a space: all of it, a new
 * string; NULL at the end or after SOCKET_CLIENT_TIMEOUT. */
char *socket_client_command(struct socket_client *client, const char *tag, const char *text);

#endif
