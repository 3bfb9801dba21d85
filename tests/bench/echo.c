/* annal-bench-echo: what a server that does nothing would cost. Takes the commands of annal-bench
 * and annal-bench-lmtp and says at once that they are done; looks at no more of them than is needed
 * to find their ends, and keeps nothing. One thread, one epoll, on 127.0.0.1.
 *
 *   annal-bench-echo --port PORT --lmtp-port PORT
 *
 * No other server answers the same generator sooner on the same machine, so its answers are the
 * bound for all of them: what they do beside is added to that. Lines and literals are as the
 * generators make them (an answer may be wrong for anybody else's). */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <glib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    HEAD = 32, /* octets kept of a line's beginning: a tag, or an LMTP command */
    TAIL = 24, /* octets kept of its end: "{18446744073709551615+}" CR */
    EVENTS = 256,
};

enum kind { KIND_IMAP, KIND_LMTP };

struct peer {
    int socket;
    bool listens;
    enum kind kind;
    uint64_t literal;   /* octets of it still to come */
    bool continued;     /* this line goes on after a literal */
    bool in_message;    /* LMTP: after DATA */
    unsigned end_found; /* LMTP: octets of CRLF.CRLF seen */
    char head[HEAD];
    size_t head_length;
    char tail[TAIL];
    size_t tail_length;
};

static void keep(struct peer *peer, const char *bytes, size_t length)
{
    size_t head = MIN(length, HEAD - peer->head_length);
    size_t tail = MIN(length, TAIL);
    size_t old = MIN(peer->tail_length, TAIL - tail);

    memcpy(peer->head + peer->head_length, bytes, head);
    peer->head_length += head;
    memmove(peer->tail, peer->tail + peer->tail_length - old, old);
    memcpy(peer->tail + old, bytes + length - tail, tail);
    peer->tail_length = old + tail;
}

/* The length of the literal that the line announces at its end, if it does. */
static bool announces_literal(const struct peer *peer, uint64_t *length)
{
    char text[TAIL + 1];
    const char *brace;

    memcpy(text, peer->tail, peer->tail_length);
    text[peer->tail_length] = '\0';
    brace = strrchr(text, '{');
    if (brace == NULL || !g_str_has_suffix(text, "+}\r"))
        return false;
    *length = g_ascii_strtoull(brace + 1, NULL, 10);
    return true;
}

static void answer_imap(struct peer *peer, GString *out)
{
    const char *space = memchr(peer->head, ' ', peer->head_length);

    if (announces_literal(peer, &peer->literal)) {
        peer->continued = true;
        return;
    }
    peer->continued = false;
    g_string_append_len(out, peer->head, space != NULL ? space - peer->head : 0);
    g_string_append(out, " OK\r\n");
}

static void answer_lmtp(struct peer *peer, GString *out)
{
    peer->in_message = peer->head_length >= 4 && memcmp(peer->head, "DATA", 4) == 0;
    peer->end_found = 2;
    g_string_append(out, peer->in_message ? "354 go\r\n" : "250 ok\r\n");
}

/* Returns how many octets of the message these begin with. */
static size_t skip_message(struct peer *peer, const char *bytes, size_t length, GString *out)
{
    static const char end[] = "\r\n.\r\n";

    for (size_t i = 0; i < length; i++) {
        if (peer->end_found == 0) {
            const char *next = memchr(bytes + i, '\r', length - i);

            if (next == NULL)
                return length;
            i = (size_t)(next - bytes);
        }
        if (bytes[i] == end[peer->end_found])
            peer->end_found++;
        else
            peer->end_found = bytes[i] == '\r';
        if (peer->end_found == sizeof end - 1) {
            peer->in_message = false;
            g_string_append(out, "250 ok\r\n");
            return i + 1;
        }
    }
    return length;
}

static size_t take_line(struct peer *peer, const char *bytes, size_t length, GString *out)
{
    const char *newline = memchr(bytes, '\n', length);

    keep(peer, bytes, newline != NULL ? (size_t)(newline - bytes) : length);
    if (newline == NULL)
        return length;
    if (peer->kind == KIND_LMTP)
        answer_lmtp(peer, out);
    else
        answer_imap(peer, out);
    if (!peer->continued)
        peer->head_length = 0;
    peer->tail_length = 0;
    return (size_t)(newline + 1 - bytes);
}

static void take(struct peer *peer, const char *bytes, size_t length, GString *out)
{
    while (length > 0) {
        size_t taken = (size_t)MIN(peer->literal, length);

        peer->literal -= taken;
        if (taken == 0)
            taken = peer->in_message ? skip_message(peer, bytes, length, out)
                                     : take_line(peer, bytes, length, out);
        bytes += taken;
        length -= taken;
    }
}

/* --- sockets --- */

static void fail(const char *what)
{
    fprintf(stderr, "annal-bench-echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Its answers are short and its clients wait for them: they always fit. */
static bool say(const struct peer *peer, const char *text, size_t length)
{
    return send(peer->socket, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void add(int epoll, struct peer *peer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, peer->socket, &event) != 0)
        fail("epoll");
}

static void listen_at(int epoll, unsigned port, enum kind kind)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct peer *peer = g_new0(struct peer, 1);
    int on = 1;

    peer->kind = kind;
    peer->listens = true;
    peer->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(peer->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(peer->socket, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(peer->socket, 1024) != 0)
        fail("no port");
    add(epoll, peer);
}

static void accept_one(int epoll, const struct peer *listener)
{
    static const char imap[] = "* OK echo\r\n", lmtp[] = "220 echo\r\n";
    struct peer *peer = g_new0(struct peer, 1);
    int on = 1;

    peer->kind = listener->kind;
    peer->socket = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (peer->socket < 0) {
        g_free(peer);
        return;
    }
    setsockopt(peer->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    say(peer, peer->kind == KIND_IMAP ? imap : lmtp, strlen(peer->kind == KIND_IMAP ? imap : lmtp));
    add(epoll, peer);
}

static void serve(struct peer *peer, GString *out)
{
    static char buffer[READ_SIZE];
    ssize_t count = recv(peer->socket, buffer, sizeof buffer, 0);

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    g_string_truncate(out, 0);
    if (count > 0)
        take(peer, buffer, (size_t)count, out);
    if (count <= 0 || (out->len > 0 && !say(peer, out->str, out->len))) {
        close(peer->socket);
        g_free(peer);
    }
}

static bool parse(int argc, char **argv, unsigned long ports[2])
{
    static const struct option options[] = {{"port", required_argument, NULL, 0},
                                            {"lmtp-port", required_argument, NULL, 1},
                                            {NULL, 0, NULL, 0}};
    int which;

    while ((which = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (which > 1)
            return false;
        ports[which] = strtoul(optarg, NULL, 10);
    }
    return optind == argc && ports[0] - 1 < 65535 && ports[1] - 1 < 65535;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    unsigned long ports[2] = {0, 0};
    GString *out = g_string_new(NULL);
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (!parse(argc, argv, ports)) {
        fputs("usage: annal-bench-echo --port PORT --lmtp-port PORT\n", stderr);
        return 2;
    }
    listen_at(epoll, (unsigned)ports[0], KIND_IMAP);
    listen_at(epoll, (unsigned)ports[1], KIND_LMTP);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;

            if (peer->listens)
                accept_one(epoll, peer);
            else
                serve(peer, out);
        }
    }
}
