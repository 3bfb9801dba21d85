/* A connection's life:
 *
 *     HANDSHAKE ----> OPEN --STARTTLS--> FLUSHING --all sent--> HANDSHAKE
 *         |            |
 *         |            +--session closed--> CLOSING --all sent--> LINGERING --> DEAD
 *         +--refused (no session)---------> CLOSING
 *
 * and from everywhere DEAD: the peer is gone, TLS failed, or the time for the state is over.
 * pump() does what can be done now and derives the events to wait for from the state.
 *
 *     plain --compress--> wire --TLS--> socket        without compression plain stays empty
 */
#include "server/connection.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/deflate.h"
#include "server/log.h"
#include "server/session.h"

enum {
    SCRATCH = 16 * 1024,     /* a TLS record */
    PIECE_COPIED = 4 * 1024, /* a shorter piece is copied, not referred to */
    READS_AT_ONCE = 16,      /* then others have their turn */
    ID_MAX = 32,
};

enum connection_state {
    CONNECTION_HANDSHAKE,
    CONNECTION_OPEN,
    CONNECTION_FLUSHING,
    CONNECTION_CLOSING,
    CONNECTION_LINGERING,
    CONNECTION_DEAD,
};

struct connections {
    struct connections_settings settings;
    struct link_queue *queue;
    struct event queue_event;
    GQueue all; /* struct connection */
    unsigned refusals;
    bool shutting_down;
    char run[8];      /* in every id: tells this run of the server from others */
    uint64_t counter; /* in ids */
    uint8_t scratch[SCRATCH];
};

struct connection {
    struct connections *of;
    GList node;
    enum connection_state state;
    int fd;
    struct event read_event;
    struct event write_event;
    struct event timer;
    struct address address;
    struct link *link; /* NULL: refused */
    char id[ID_MAX];
    struct tls_stream *tls;
    bool wants_write; /* TLS must write before it can read on */
    struct deflate *deflate;
    struct evbuffer *plain;
    struct evbuffer *wire;
    uint8_t *raw; /* compressed input, CONNECTION_RAW_MAX octets; NULL without compression */
    size_t raw_start;
    size_t raw_length;
    bool more;   /* there may be expanded octets without new input */
    bool paused; /* did not read all there was */
    bool ended;  /* the peer sends no more */
};

static void set_state(struct connection *connection, enum connection_state state)
{
    enum connection_state from = connection->state;

    assert(from != CONNECTION_DEAD);
    assert(state != CONNECTION_OPEN || from == CONNECTION_HANDSHAKE || from == CONNECTION_OPEN);
    assert(state != CONNECTION_FLUSHING || from == CONNECTION_OPEN);
    assert(state != CONNECTION_LINGERING || from == CONNECTION_CLOSING);
    (void)from;
    connection->state = state;
}

static void arm(struct connection *connection, unsigned seconds)
{
    const struct timeval time = {.tv_sec = seconds};

    event_add(&connection->timer, &time);
}

static size_t unsent(const struct connection *connection)
{
    return evbuffer_get_length(connection->plain) + evbuffer_get_length(connection->wire);
}

static void fail(struct connection *connection, const char *event, const char *reason)
{
    char *quoted = log_quote(reason);

    log_line(LOG_LEVEL_INFO, connection->id, "event=%s reason=%s", event, quoted);
    g_free(quoted);
    set_state(connection, CONNECTION_DEAD);
}

/* --- the socket, with and without TLS --- */

enum io { IO_DONE, IO_AGAIN, IO_END, IO_FAILED };

static enum io tls_to_io(struct connection *connection, enum tls_result result)
{
    switch (result) {
    case TLS_DONE:
        return IO_DONE;
    case TLS_WANT_WRITE:
        connection->wants_write = true;
        return IO_AGAIN;
    case TLS_WANT_READ:
        return IO_AGAIN;
    case TLS_CLOSED:
        return IO_END;
    case TLS_FAILED:
        break;
    }
    return IO_FAILED;
}

static enum io read_socket(struct connection *connection, void *out, size_t size, size_t *length)
{
    *length = 0;
    if (connection->tls != NULL)
        return tls_to_io(connection, tls_read(connection->tls, out, size, length));
    ssize_t got = recv(connection->fd, out, size, 0);

    if (got == 0)
        return IO_END;
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAILED;
    *length = (size_t)got;
    return IO_DONE;
}

/* Some octets from the front of the wire, and how many: as they lie there if they are enough for
 * a good record, else collected in the scratch. */
static const void *front(struct connection *connection, size_t *length)
{
    size_t waiting = MIN(evbuffer_get_length(connection->wire), SCRATCH);
    size_t together = MIN(evbuffer_get_contiguous_space(connection->wire), SCRATCH);

    if (together >= SCRATCH / 2 || together == waiting) {
        *length = together;
        return evbuffer_pullup(connection->wire, (ev_ssize_t)together);
    }
    *length = waiting;
    evbuffer_copyout(connection->wire, connection->of->scratch, waiting);
    return connection->of->scratch;
}

static enum io write_socket(struct connection *connection)
{
    size_t length;
    size_t written;

    if (connection->tls == NULL) {
        if (evbuffer_write(connection->wire, connection->fd) > 0)
            return IO_DONE;
        return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAILED;
    }
    const void *data = front(connection, &length);
    enum io result = tls_to_io(connection, tls_write(connection->tls, data, length, &written));

    evbuffer_drain(connection->wire, written);
    return result;
}

/* --- output --- */

static void piece_sent(const void *data, size_t length, void *piece)
{
    (void)data;
    (void)length;
    g_bytes_unref(piece);
}

/* Takes the piece. */
static void add_piece(struct evbuffer *to, GBytes *piece)
{
    size_t length;
    const void *data = g_bytes_get_data(piece, &length);

    if (length > PIECE_COPIED && evbuffer_add_reference(to, data, length, piece_sent, piece) == 0)
        return;
    evbuffer_add(to, data, length);
    g_bytes_unref(piece);
}

/* One round of compression; everything is flushed when plain is empty. */
static void compress_some(struct connection *connection)
{
    struct evbuffer_iovec in = {.iov_base = NULL, .iov_len = 0};

    evbuffer_peek(connection->plain, SCRATCH, NULL, &in, 1);
    size_t taken = MIN(in.iov_len, SCRATCH);
    bool flush = taken == evbuffer_get_length(connection->plain);
    size_t length;

    do {
        size_t rest = taken;

        length = SCRATCH;
        deflate_compress(connection->deflate, in.iov_base, &rest, connection->of->scratch, &length,
                         flush);
        evbuffer_add(connection->wire, connection->of->scratch, length);
        evbuffer_drain(connection->plain, rest);
        taken -= rest;
        in.iov_base = (uint8_t *)in.iov_base + rest;
    } while (length == SCRATCH);
}

static void fill_wire(struct connection *connection)
{
    if (connection->deflate == NULL) {
        evbuffer_add_buffer(connection->wire, connection->plain);
        return;
    }
    while (evbuffer_get_length(connection->plain) > 0 &&
           evbuffer_get_length(connection->wire) < CONNECTION_WIRE_HIGH)
        compress_some(connection);
}

static unsigned stall_seconds(const struct connection *connection)
{
    return connection->state == CONNECTION_CLOSING ? CONNECTION_CLOSE_SECONDS
                                                   : CONNECTION_STALL_SECONDS;
}

static void write_some(struct connection *connection)
{
    size_t before = unsent(connection);
    enum io result = IO_DONE;

    if (before == 0)
        return;
    while (result == IO_DONE) {
        fill_wire(connection);
        if (evbuffer_get_length(connection->wire) == 0)
            break;
        result = write_socket(connection);
    }
    if (result == IO_FAILED || result == IO_END) {
        set_state(connection, CONNECTION_DEAD);
        return;
    }
    size_t left = unsent(connection);

    if (left == 0)
        event_del(&connection->timer);
    else if (left != before || !event_pending(&connection->timer, EV_TIMEOUT, NULL))
        arm(connection, stall_seconds(connection));
    if (left != before && connection->link != NULL)
        link_report_unsent(connection->link, left);
}

/* --- input --- */

/* Octets for the session: at most size, which is at most SCRATCH. */
static enum io read_plain(struct connection *connection, size_t size, size_t *length)
{
    if (connection->deflate == NULL)
        return read_socket(connection, connection->of->scratch, size, length);
    *length = 0;
    if (connection->raw_length == 0 && !connection->more) {
        connection->raw_start = 0;
        enum io result =
            read_socket(connection, connection->raw, CONNECTION_RAW_MAX, &connection->raw_length);

        if (result != IO_DONE)
            return result;
    }
    size_t taken = connection->raw_length;

    *length = size;
    enum deflate_result result =
        deflate_expand(connection->deflate, connection->raw + connection->raw_start, &taken,
                       connection->of->scratch, length);

    connection->raw_start += taken;
    connection->raw_length -= taken;
    connection->more = *length == size;
    switch (result) {
    case DEFLATE_OK:
        return IO_DONE;
    case DEFLATE_END:
        return IO_END;
    case DEFLATE_BAD:
        break;
    }
    return IO_FAILED;
}

static const char *read_problem(const struct connection *connection)
{
    if (connection->tls != NULL && *tls_problem(connection->tls) != '\0')
        return tls_problem(connection->tls);
    return connection->deflate != NULL ? "bad compressed data" : g_strerror(errno);
}

/* False when there is no more to read now. */
static bool read_once(struct connection *connection)
{
    size_t room = link_room(connection->link);
    size_t length;

    connection->paused = room == 0 || unsent(connection) >= SESSION_OUTPUT_HIGH;
    if (connection->paused)
        return false;
    enum io result = read_plain(connection, MIN(room, SCRATCH), &length);

    if (length > 0) {
        link_send(connection->link, connection->of->scratch, length);
        explicit_bzero(connection->of->scratch, length);
    }
    switch (result) {
    case IO_DONE:
        return true;
    case IO_AGAIN:
        return false;
    case IO_END:
        connection->ended = true;
        link_send_end(connection->link);
        return false;
    case IO_FAILED:
        break;
    }
    fail(connection, "connection-lost", read_problem(connection));
    return false;
}

/* A client that sends a literal and its line end apart waits, by Nagle's rule, for our
 * acknowledgement in between: without this the kernel holds it back for 40 ms. The kernel forgets
 * the option as it sees fit. */
static void acknowledge_soon(const struct connection *connection)
{
    const int on = 1;

    setsockopt(connection->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static void read_some(struct connection *connection)
{
    unsigned reads = 0;

    acknowledge_soon(connection);
    while (!connection->ended && read_once(connection)) {
        if (++reads < READS_AT_ONCE)
            continue;
        /* TLS or the expander may hold octets that the socket does not show. */
        event_active(&connection->read_event, EV_READ, 0);
        return;
    }
}

/* Reads and forgets. False at the end. */
static bool read_away(struct connection *connection)
{
    for (unsigned i = 0; i < READS_AT_ONCE; i++) {
        ssize_t got = recv(connection->fd, connection->of->scratch, SCRATCH, 0);

        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (got < 0)
            break;
    }
    return true;
}

/* --- changes of the transport --- */

static void begin_tls(struct connection *connection)
{
    connection->tls = tls_stream_new(connection->of->settings.tls, connection->fd);
    if (connection->tls == NULL) {
        fail(connection, "tls-failed", "out of memory");
        return;
    }
    set_state(connection, CONNECTION_HANDSHAKE);
    arm(connection, CONNECTION_HANDSHAKE_SECONDS);
}

static void shake_hands(struct connection *connection)
{
    switch (tls_handshake(connection->tls)) {
    case TLS_DONE:
        break;
    case TLS_WANT_READ:
        return;
    case TLS_WANT_WRITE:
        connection->wants_write = true;
        return;
    case TLS_CLOSED:
    case TLS_FAILED:
        fail(connection, "tls-failed", tls_problem(connection->tls));
        return;
    }
    char *description = tls_description(connection->tls);

    log_line(LOG_LEVEL_DEBUG, connection->id, "event=tls version=\"%s\"", description);
    g_free(description);
    event_del(&connection->timer);
    if (connection->link == NULL) {
        set_state(connection, CONNECTION_CLOSING);
        return;
    }
    set_state(connection, CONNECTION_OPEN);
    connection->paused = true; /* what came with the handshake's end is in TLS's buffer */
    if (!link_is_tls(connection->link))
        link_send_tls_started(connection->link);
}

static void begin_compression(struct connection *connection)
{
    /* What was written before goes out as it is. */
    fill_wire(connection);
    connection->deflate = deflate_new();
    connection->raw = g_try_malloc(CONNECTION_RAW_MAX);
    if (connection->deflate == NULL || connection->raw == NULL) {
        fail(connection, "compress-failed", "out of memory");
        return;
    }
    link_send_compressed(connection->link);
}

/* The answer to STARTTLS is the last thing sent in the clear, and nothing that came before it
 * may count as sent under TLS. */
static void before_tls(struct connection *connection)
{
    if (connection->tls != NULL || connection->deflate != NULL) {
        fail(connection, "tls-failed", "out of order");
        return;
    }
    if (!read_away(connection))
        set_state(connection, CONNECTION_DEAD);
    else
        set_state(connection, CONNECTION_FLUSHING);
}

static void collect(struct connection *connection)
{
    GQueue pieces = G_QUEUE_INIT;
    enum link_after after = link_collect(connection->link, &pieces);
    GBytes *piece;

    while ((piece = g_queue_pop_head(&pieces)) != NULL)
        add_piece(connection->plain, piece);
    switch (after) {
    case LINK_AFTER_NOTHING:
        break;
    case LINK_AFTER_STARTTLS:
        before_tls(connection);
        break;
    case LINK_AFTER_COMPRESS:
        begin_compression(connection);
        break;
    case LINK_AFTER_CLOSE:
        set_state(connection, CONNECTION_CLOSING);
        break;
    }
}

/* Everything is sent. Closing at once could make the peer lose the last of it, if there is input
 * that was not read. */
static void begin_lingering(struct connection *connection)
{
    if (connection->tls != NULL)
        tls_shut_down(connection->tls);
    shutdown(connection->fd, SHUT_WR);
    set_state(connection, CONNECTION_LINGERING);
    arm(connection, CONNECTION_LINGER_SECONDS);
}

/* --- the pump --- */

static void destroy(struct connection *connection)
{
    struct connections *of = connection->of;

    event_del(&connection->read_event);
    event_del(&connection->write_event);
    event_del(&connection->timer);
    if (connection->tls != NULL)
        tls_shut_down(connection->tls);
    tls_stream_free(connection->tls);
    close(connection->fd);
    deflate_free(connection->deflate);
    g_free(connection->raw);
    evbuffer_free(connection->plain);
    evbuffer_free(connection->wire);
    if (connection->link != NULL) {
        link_forget_connection(connection->link);
        link_send_gone(connection->link);
        link_unref(connection->link);
        limits_leave(of->settings.limits, &connection->address);
    } else {
        of->refusals--;
    }
    g_queue_unlink(&of->all, &connection->node);
    g_free(connection);
    if (of->shutting_down && of->all.length == 0)
        of->settings.empty(of->settings.data);
}

static void want(struct event *event, bool wanted)
{
    if (wanted)
        event_add(event, NULL);
    else
        event_del(event);
}

static void update_events(struct connection *connection)
{
    bool reads = false;
    bool writes = connection->wants_write;

    switch (connection->state) {
    case CONNECTION_HANDSHAKE:
        reads = !writes;
        break;
    case CONNECTION_OPEN:
        reads = !connection->paused && !connection->ended;
        writes = writes || unsent(connection) > 0;
        break;
    case CONNECTION_FLUSHING:
    case CONNECTION_CLOSING:
        writes = writes || unsent(connection) > 0;
        break;
    case CONNECTION_LINGERING:
        reads = true;
        break;
    case CONNECTION_DEAD:
        break;
    }
    want(&connection->read_event, reads);
    want(&connection->write_event, writes);
}

static void advance(struct connection *connection, bool readable)
{
    connection->wants_write = false;
    if (connection->state == CONNECTION_HANDSHAKE)
        shake_hands(connection);
    if (connection->state == CONNECTION_OPEN || connection->state == CONNECTION_FLUSHING ||
        connection->state == CONNECTION_CLOSING)
        write_some(connection);
    if (connection->state == CONNECTION_OPEN && (readable || connection->paused))
        read_some(connection);
    if (connection->state == CONNECTION_FLUSHING && unsent(connection) == 0)
        begin_tls(connection);
    if (connection->state == CONNECTION_CLOSING && unsent(connection) == 0)
        begin_lingering(connection);
    if (connection->state == CONNECTION_LINGERING && !read_away(connection))
        set_state(connection, CONNECTION_DEAD);
}

static void pump(struct connection *connection, bool readable)
{
    if (connection->state != CONNECTION_DEAD)
        advance(connection, readable);
    if (connection->state == CONNECTION_DEAD)
        destroy(connection);
    else
        update_events(connection);
}

static void on_socket(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    pump(data, (events & EV_READ) != 0);
}

static void on_timer(evutil_socket_t fd, short events, void *data)
{
    struct connection *connection = data;

    (void)fd;
    (void)events;
    if (connection->state != CONNECTION_LINGERING)
        log_line(LOG_LEVEL_INFO, connection->id, "event=timeout at=%s",
                 connection->state == CONNECTION_HANDSHAKE ? "handshake" : "write");
    set_state(connection, CONNECTION_DEAD);
    destroy(connection);
}

static void on_queue(evutil_socket_t fd, short events, void *data)
{
    struct connections *connections = data;
    GPtrArray *links = link_queue_take(connections->queue);

    (void)fd;
    (void)events;
    for (guint i = 0; links != NULL && i < links->len; i++) {
        struct connection *connection = link_connection(g_ptr_array_index(links, i));

        if (connection == NULL)
            continue;
        collect(connection);
        pump(connection, false);
    }
    if (links != NULL)
        g_ptr_array_unref(links);
}

/* --- opening --- */

static void write_base32(char *out, size_t size, uint64_t value)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    char reversed[16];
    size_t length = 0;

    do {
        reversed[length++] = digits[value % 32];
        value /= 32;
    } while (value > 0);
    for (size_t i = 0; i < length && i + 1 < size; i++)
        out[i] = reversed[length - 1 - i];
    out[MIN(length, size - 1)] = '\0';
}

static void write_id(struct connections *connections, char *out)
{
    char number[16];

    write_base32(number, sizeof number, connections->counter++);
    snprintf(out, ID_MAX, "%s-%s", connections->run, number);
}

struct connections *connections_new(const struct connections_settings *settings, char **problem)
{
    struct link_queue *queue = link_queue_new();
    uint32_t run;

    if (queue == NULL) {
        *problem = g_strdup_printf("eventfd: %s", g_strerror(errno));
        return NULL;
    }
    struct connections *connections = g_new0(struct connections, 1);

    connections->settings = *settings;
    connections->queue = queue;
    g_queue_init(&connections->all);
    if (getrandom(&run, sizeof run, 0) != (ssize_t)sizeof run)
        run = (uint32_t)getpid();
    write_base32(connections->run, sizeof connections->run, run);
    event_assign(&connections->queue_event, settings->base, link_queue_fd(queue),
                 EV_READ | EV_PERSIST, on_queue, connections);
    event_add(&connections->queue_event, NULL);
    return connections;
}

void connections_close(struct connections *connections)
{
    if (connections == NULL)
        return;
    connections->shutting_down = false;
    while (connections->all.length > 0)
        destroy(connections->all.head->data);
}

void connections_free(struct connections *connections)
{
    if (connections == NULL)
        return;
    connections_close(connections);
    event_del(&connections->queue_event);
    link_queue_free(connections->queue);
    g_free(connections);
}

static struct connection *connection_new(struct connections *of, int fd,
                                         const struct address *address)
{
    struct connection *connection = g_new0(struct connection, 1);

    connection->of = of;
    connection->fd = fd;
    connection->address = *address;
    connection->state = CONNECTION_OPEN;
    connection->plain = evbuffer_new();
    connection->wire = evbuffer_new();
    connection->node.data = connection;
    g_queue_push_tail_link(&of->all, &connection->node);
    write_id(of, connection->id);
    event_assign(&connection->read_event, of->settings.base, fd, EV_READ | EV_PERSIST, on_socket,
                 connection);
    event_assign(&connection->write_event, of->settings.base, fd, EV_WRITE | EV_PERSIST, on_socket,
                 connection);
    evtimer_assign(&connection->timer, of->settings.base, on_timer, connection);
    return connection;
}

static void refuse(struct connections *of, int fd, const struct address *address, bool tls,
                   enum limits_result reason)
{
    static const char text[] = "* BYE [UNAVAILABLE] Too many connections\r\n";

    log_line(LOG_LEVEL_WARNING, NULL, "event=refused peer=%s limit=%s", address->text,
             reason == LIMITS_FULL ? "all" : "address");
    if (of->refusals >= CONNECTION_REFUSALS_MAX) {
        close(fd);
        return;
    }
    of->refusals++;
    struct connection *connection = connection_new(of, fd, address);

    evbuffer_add(connection->plain, text, sizeof text - 1);
    set_state(connection, CONNECTION_CLOSING);
    if (tls)
        begin_tls(connection);
    pump(connection, false);
}

static void start_session(struct connection *connection, bool tls, bool cleartext_login)
{
    struct connections *of = connection->of;
    char key[2 * ADDRESS_KEY_SIZE + 1];

    for (size_t i = 0; i < ADDRESS_KEY_SIZE; i++)
        snprintf(key + 2 * i, 3, "%02x", connection->address.key[i]);
    connection->link = link_new(&(struct link_settings){
        .id = connection->id,
        .peer = connection->address.text,
        .penalty_key = key,
        .tls = tls,
        .starttls = !tls && of->settings.tls != NULL,
        .cleartext_login = cleartext_login && connection->address.loopback,
        .connection = connection,
        .event_loop = of->queue,
    });
    workers_add(of->settings.workers, connection->link);
}

void connections_open(struct connections *connections, int fd, const struct sockaddr *peer,
                      bool tls, bool cleartext_login)
{
    struct address address;
    const int on = 1;

    address_read(&address, peer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    enum limits_result result = limits_enter(connections->settings.limits, &address);

    if (result != LIMITS_OK) {
        refuse(connections, fd, &address, tls, result);
        return;
    }
    struct connection *connection = connection_new(connections, fd, &address);

    log_line(LOG_LEVEL_INFO, connection->id, "event=connect peer=%s tls=%s", address.text,
             tls ? "yes" : "no");
    if (tls)
        begin_tls(connection);
    start_session(connection, tls, cleartext_login);
    pump(connection, true);
}

void connections_shut_down(struct connections *connections)
{
    GList *next;

    connections->shutting_down = true;
    if (connections->all.length == 0) {
        connections->settings.empty(connections->settings.data);
        return;
    }
    for (GList *node = connections->all.head; node != NULL; node = next) {
        struct connection *connection = node->data;

        next = node->next;
        if (connection->link == NULL || connection->state == CONNECTION_HANDSHAKE ||
            connection->state == CONNECTION_FLUSHING)
            destroy(connection);
        else
            link_send_shut_down(connection->link);
    }
}
