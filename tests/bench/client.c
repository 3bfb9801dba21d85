#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024 };

struct client {
    const struct client_handler *handler;
    void *data;
    int socket;
    SSL *ssl;
    struct event *readable, *writable;
    GString *out;
    size_t sent;
    bool broken;
    struct answer_reader reader;
};

static uint64_t received_octets;

uint64_t client_received(void)
{
    return received_octets;
}

GString *client_out(struct client *client)
{
    return client->out;
}

static void break_off(struct client *client, const char *why)
{
    if (client->broken)
        return;
    client->broken = true;
    event_del(client->readable);
    event_del(client->writable);
    client->handler->broken(why, client->data);
}

/* What a call on the socket did: octets, 0 for "later", -1 for the end. */
static ssize_t outcome(struct client *client, ssize_t result)
{
    if (result > 0)
        return result;
    if (client->ssl != NULL) {
        int error = SSL_get_error(client->ssl, (int)result);

        if (error == SSL_ERROR_WANT_READ)
            return 0;
        if (error == SSL_ERROR_WANT_WRITE) {
            event_add(client->writable, NULL);
            return 0;
        }
        return -1;
    }
    return result < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN) ? 0 : -1;
}

static ssize_t receive(struct client *client, char *buffer)
{
    if (client->ssl != NULL)
        return outcome(client, SSL_read(client->ssl, buffer, READ_SIZE));
    return outcome(client, recv(client->socket, buffer, READ_SIZE, 0));
}

static ssize_t transmit(struct client *client, const char *bytes, size_t length)
{
    if (client->ssl != NULL)
        return outcome(client, SSL_write(client->ssl, bytes, (int)length));
    return outcome(client, send(client->socket, bytes, length, MSG_NOSIGNAL));
}

void client_flush(struct client *client)
{
    while (!client->broken && client->sent < client->out->len) {
        ssize_t count =
            transmit(client, client->out->str + client->sent, client->out->len - client->sent);

        if (count < 0) {
            break_off(client, "the server closed the connection");
            return;
        }
        if (count == 0) {
            if (client->ssl == NULL)
                event_add(client->writable, NULL);
            return;
        }
        client->sent += (size_t)count;
    }
    g_string_truncate(client->out, 0);
    client->sent = 0;
}

static void on_readable(evutil_socket_t socket, short what, void *data)
{
    static char buffer[READ_SIZE];
    struct client *client = data;
    ssize_t count;

    (void)socket, (void)what;
    while ((count = receive(client, buffer)) > 0) {
        received_octets += (uint64_t)count;
        answer_feed(&client->reader, buffer, (size_t)count, client->handler->answer, client->data);
        /* A short read has emptied the socket; TLS may hold more than the socket shows. */
        if (client->broken || (client->ssl == NULL && count < READ_SIZE))
            break;
    }
    if (count < 0)
        break_off(client, "the server closed the connection");
    else
        client_flush(client);
}

static void on_writable(evutil_socket_t socket, short what, void *data)
{
    struct client *client = data;
    int error = 0;
    socklen_t length = sizeof error;

    (void)what;
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error != 0) {
        break_off(client, strerror(error));
        return;
    }
    if (client->ssl != NULL && !SSL_is_init_finished(client->ssl))
        on_readable(socket, 0, client); /* drives the handshake */
    else
        client_flush(client);
}

static void begin_connect(struct client *client, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* A refusal shows when the socket becomes writable. */
    (void)!connect(client->socket, (struct sockaddr *)&address, sizeof address);
}

struct client *client_new(struct event_base *base, unsigned port, SSL_CTX *tls,
                          const struct client_handler *handler, void *data)
{
    struct client *client = g_new0(struct client, 1);

    client->handler = handler;
    client->data = data;
    client->out = g_string_new(NULL);
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->socket < 0)
        g_error("no socket: %s", strerror(errno));
    begin_connect(client, port);
    if (tls != NULL) {
        client->ssl = SSL_new(tls);
        SSL_set_fd(client->ssl, client->socket);
        SSL_set_connect_state(client->ssl);
    }
    client->readable = event_new(base, client->socket, EV_READ | EV_PERSIST, on_readable, client);
    client->writable = event_new(base, client->socket, EV_WRITE, on_writable, client);
    event_add(client->readable, NULL);
    event_add(client->writable, NULL);
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    event_free(client->readable);
    event_free(client->writable);
    if (client->ssl != NULL)
        SSL_free(client->ssl);
    close(client->socket);
    g_string_free(client->out, TRUE);
    g_free(client);
}
