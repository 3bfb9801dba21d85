#include "tests/socket_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/deflate.h"

enum { BUFFER = 16 * 1024 };

enum moved { MOVED_SOME, MOVED_NOTHING, MOVED_END };

static bool wait_for(const struct socket_client *client, short events, int timeout)
{
    struct pollfd pollfd = {.fd = client->fd, .events = events};

    return poll(&pollfd, 1, timeout) > 0;
}

static enum moved moved_tls(struct socket_client *client, int result)
{
    if (result == 1)
        return MOVED_SOME;
    int reason = SSL_get_error(client->ssl, result);

    ERR_clear_error();
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return MOVED_NOTHING;
    return MOVED_END;
}

static enum moved moved(ssize_t result, size_t *length)
{
    *length = result > 0 ? (size_t)result : 0;
    if (result > 0)
        return MOVED_SOME;
    return result < 0 && (errno == EAGAIN || errno == EINTR) ? MOVED_NOTHING : MOVED_END;
}

static enum moved write_some(struct socket_client *client, const void *octets, size_t length,
                             size_t *written)
{
    *written = 0;
    if (client->ssl != NULL)
        return moved_tls(client, SSL_write_ex(client->ssl, octets, length, written));
    return moved(send(client->fd, octets, length, MSG_NOSIGNAL), written);
}

static enum moved read_some(struct socket_client *client, void *octets, size_t size, size_t *length)
{
    *length = 0;
    if (client->ssl != NULL)
        return moved_tls(client, SSL_read_ex(client->ssl, octets, size, length));
    return moved(recv(client->fd, octets, size, 0), length);
}

static void expand(struct socket_client *client, const uint8_t *octets, size_t length)
{
    uint8_t buffer[BUFFER];
    size_t got;

    do {
        size_t taken = length;

        got = sizeof buffer;
        if (deflate_expand(client->deflate, octets, &taken, buffer, &got) == DEFLATE_BAD)
            abort();
        g_byte_array_append(client->input, buffer, (guint)got);
        octets += taken;
        length -= taken;
    } while (length > 0 || got == sizeof buffer);
}

/* Reads all there is. */
static void fill(struct socket_client *client)
{
    uint8_t buffer[BUFFER];
    size_t length;
    enum moved result = MOVED_SOME;

    while (result == MOVED_SOME && !client->ended) {
        result = read_some(client, buffer, sizeof buffer, &length);
        if (client->deflate != NULL)
            expand(client, buffer, length);
        else
            g_byte_array_append(client->input, buffer, (guint)length);
        client->ended = result == MOVED_END;
    }
}

bool socket_client_open(struct socket_client *client, uint16_t port, bool tls)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const int on = 1;

    *client = (struct socket_client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    client->input = g_byte_array_new();
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        socket_client_close(client);
        return false;
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return !tls || socket_client_start_tls(client);
}

bool socket_client_start_tls(struct socket_client *client)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int result;

    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    client->ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(client->ssl, client->fd);
    const struct timeval timeout = {.tv_sec = SOCKET_CLIENT_TIMEOUT / 1000};

    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    result = SSL_connect(client->ssl);
    ERR_clear_error();
    return result == 1;
}

void socket_client_compress(struct socket_client *client)
{
    client->deflate = deflate_new();
}

void socket_client_close(struct socket_client *client)
{
    if (client->fd < 0 || client->input == NULL)
        return;
    if (client->ssl != NULL && SSL_is_init_finished(client->ssl) && !client->ended)
        SSL_shutdown(client->ssl);
    ERR_clear_error();
    SSL_free(client->ssl);
    deflate_free(client->deflate);
    g_byte_array_unref(client->input);
    close(client->fd);
    *client = (struct socket_client){.fd = -1};
}

void socket_client_abort(struct socket_client *client)
{
    const struct linger reset = {.l_onoff = 1};

    if (client->fd < 0 || client->input == NULL)
        return;
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client->ended = true;
    socket_client_close(client);
}

static void set_blocking(struct socket_client *client, bool blocking)
{
    int flags = fcntl(client->fd, F_GETFL);

    fcntl(client->fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

static bool send_raw(struct socket_client *client, const uint8_t *octets, size_t length)
{
    while (length > 0) {
        size_t written;

        switch (write_some(client, octets, length, &written)) {
        case MOVED_SOME:
            octets += written;
            length -= written;
            break;
        case MOVED_NOTHING:
            if (!wait_for(client, POLLIN | POLLOUT, SOCKET_CLIENT_TIMEOUT))
                return false;
            fill(client);
            break;
        case MOVED_END:
            return false;
        }
    }
    return true;
}

bool socket_client_send(struct socket_client *client, const void *octets, size_t length)
{
    uint8_t buffer[BUFFER];
    const uint8_t *in = octets;
    size_t got;
    bool sent = true;

    set_blocking(client, false);
    if (client->deflate == NULL) {
        sent = send_raw(client, octets, length);
    } else {
        do {
            size_t taken = length;

            got = sizeof buffer;
            deflate_compress(client->deflate, in, &taken, buffer, &got, true);
            sent = send_raw(client, buffer, got);
            in += taken;
            length -= taken;
        } while (sent && (length > 0 || got == sizeof buffer));
    }
    set_blocking(client, true);
    return sent;
}

size_t socket_client_push(struct socket_client *client, const void *octets, size_t length)
{
    size_t done = 0;
    size_t written;

    set_blocking(client, false);
    /* The server may be busy reading: it has had enough when it does not go on for a while. */
    while (done < length) {
        if (write_some(client, (const uint8_t *)octets + done, length - done, &written) ==
            MOVED_SOME)
            done += written;
        else if (!wait_for(client, POLLOUT, 300))
            break;
    }
    set_blocking(client, true);
    return done;
}

bool socket_client_receive(struct socket_client *client, GByteArray *in, int timeout)
{
    int64_t until = g_get_monotonic_time() + timeout * INT64_C(1000);
    int64_t left = timeout;

    set_blocking(client, false);
    fill(client);
    /* What TLS has to say for itself is no input. */
    while (client->input->len == 0 && !client->ended && left > 0) {
        if (wait_for(client, POLLIN, (int)left))
            fill(client);
        left = (until - g_get_monotonic_time()) / 1000;
    }
    set_blocking(client, true);
    bool any = client->input->len > 0;

    g_byte_array_append(in, client->input->data, client->input->len);
    g_byte_array_set_size(client->input, 0);
    return any || !client->ended;
}

char *socket_client_line(struct socket_client *client)
{
    GByteArray *in = g_byte_array_new();
    const uint8_t *end = NULL;
    char *line = NULL;
    int left = SOCKET_CLIENT_TIMEOUT;

    while (end == NULL && left > 0) {
        guint before = in->len;
        bool more = socket_client_receive(client, in, 100);

        end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
        if (!more && end == NULL)
            break;
        left -= in->len == before ? 100 : 0;
    }
    if (end != NULL) {
        size_t length = (size_t)(end - in->data);

        g_byte_array_append(client->input, end + 1, (guint)(in->len - length - 1));
        line = g_strndup((const char *)in->data, length);
        g_strchomp(line);
    }
    g_byte_array_unref(in);
    return line;
}

char *socket_client_command(struct socket_client *client, const char *tag, const char *text)
{
    GString *answer = g_string_new(NULL);
    size_t tag_length = strlen(tag);
    char *sent = g_strconcat(text, "\r\n", NULL);
    bool done = !socket_client_send(client, sent, strlen(sent));
    bool tagged = false;

    g_free(sent);
    while (!done && !tagged) {
        char *line = socket_client_line(client);

        done = line == NULL;
        if (line != NULL) {
            g_string_append_printf(answer, "%s\n", line);
            tagged = strncmp(line, tag, tag_length) == 0 && line[tag_length] == ' ';
        }
        g_free(line);
    }
    return g_string_free(answer, !tagged);
}
