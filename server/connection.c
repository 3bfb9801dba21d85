/* A connection's life:
 *
 *     HANDSHAKE ----> OPEN --STARTTLS--> FLUSHING --all sent--> HANDSHAKE
 *         |            |
 *         |            +--session closed--> CLOSING --all sent--> LINGERING --> DEAD
 *         +--refused (no session)---------> CLOSING
 *
 * and from everywhere DEAD: the peer is gone, TLS failed, or the time for the state is over.
 * pump() does what can be done now and derives the events to wait for from the state. A connection
 * in OPEN that is at rest is lent to its session's worker, if that wants it (link.h).
 */
#include "server/connection.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/log.h"
#include "server/metrics.h"
#include "server/session.h"
#include "server/transport.h"

enum {
    READS_AT_ONCE = 16, /* then others have their turn */
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
    uint8_t scratch[TRANSPORT_SCRATCH];
};

struct connection {
    struct connections *of;
    GList node;
    enum connection_state state;
    struct event read_event;
    struct event write_event;
    struct event timer;
    struct address address;
    struct limits *limits; /* that it counts for */
    struct link *link;     /* NULL: refused */
    char id[ID_MAX];
    struct transport transport;
    bool paused; /* did not read all there was */
    bool ended;  /* the peer sends no more */
    bool kicked; /* the timer runs until it is cut off */
    bool lent;   /* the transport, to the worker: hands off */
    bool cut;    /* while it was lent: to be dropped when it comes back */
    int64_t since;
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

static int64_t seconds_now(const struct connections *connections)
{
    struct timeval now;

    event_base_gettimeofday_cached(connections->settings.base, &now);
    return now.tv_sec;
}

static void arm(struct connection *connection, unsigned seconds)
{
    const struct timeval time = {.tv_sec = seconds};

    event_add(&connection->timer, &time);
}

static size_t unsent(const struct connection *connection)
{
    return transport_unsent(&connection->transport);
}

static void fail(struct connection *connection, const char *event, const char *reason)
{
    char *quoted = log_quote(reason);

    log_line(LOG_LEVEL_INFO, connection->id, "event=%s reason=%s", event, quoted);
    g_free(quoted);
    set_state(connection, CONNECTION_DEAD);
}

/* --- output --- */

static unsigned stall_seconds(const struct connection *connection)
{
    return connection->state == CONNECTION_CLOSING ? CONNECTION_CLOSE_SECONDS
                                                   : CONNECTION_STALL_SECONDS;
}

static void write_some(struct connection *connection)
{
    size_t before = unsent(connection);

    if (before == 0)
        return;
    enum transport_result result = transport_write(&connection->transport);

    if (result == TRANSPORT_FAILED || result == TRANSPORT_END) {
        set_state(connection, CONNECTION_DEAD);
        return;
    }
    size_t left = unsent(connection);

    metrics_count(METRIC_SENT, before - left);
    if (connection->kicked)
        return;
    if (left == 0)
        event_del(&connection->timer);
    else if (left != before || !event_pending(&connection->timer, EV_TIMEOUT, NULL))
        arm(connection, stall_seconds(connection));
    if (left != before && connection->link != NULL)
        link_report_unsent(connection->link, left);
}

/* --- input --- */

/* False when there is no more to read now. */
static bool read_once(struct connection *connection)
{
    size_t room = link_room(connection->link);
    size_t length;

    connection->paused = room == 0 || unsent(connection) >= SESSION_OUTPUT_HIGH;
    if (connection->paused)
        return false;
    enum transport_result result =
        transport_read(&connection->transport, MIN(room, TRANSPORT_SCRATCH), &length);

    if (length > 0) {
        metrics_count(METRIC_RECEIVED, length);
        card_touch(link_card(connection->link), seconds_now(connection->of));
        link_send(connection->link, connection->of->scratch, length);
        explicit_bzero(connection->of->scratch, length);
    }
    switch (result) {
    case TRANSPORT_DONE:
        return true;
    case TRANSPORT_AGAIN:
        return false;
    case TRANSPORT_END:
        connection->ended = true;
        link_send_end(connection->link);
        return false;
    case TRANSPORT_FAILED:
        break;
    }
    fail(connection, "connection-lost", transport_problem(&connection->transport));
    return false;
}

static void read_some(struct connection *connection)
{
    unsigned reads = 0;

    transport_acknowledge_soon(&connection->transport);
    while (!connection->ended && read_once(connection)) {
        if (++reads < READS_AT_ONCE)
            continue;
        /* TLS or the expander may hold octets that the socket does not show. */
        event_active(&connection->read_event, EV_READ, 0);
        return;
    }
}

/* --- changes of the transport --- */

static void begin_tls(struct connection *connection)
{
    if (!transport_start_tls(&connection->transport, connection->of->settings.tls)) {
        fail(connection, "tls-failed", "out of memory");
        return;
    }
    set_state(connection, CONNECTION_HANDSHAKE);
    arm(connection, CONNECTION_HANDSHAKE_SECONDS);
}

static void shake_hands(struct connection *connection)
{
    switch (transport_handshake(&connection->transport)) {
    case TRANSPORT_DONE:
        break;
    case TRANSPORT_AGAIN:
        return;
    case TRANSPORT_END:
    case TRANSPORT_FAILED:
        metrics_count(METRIC_TLS_FAILED, 1);
        fail(connection, "tls-failed", transport_problem(&connection->transport));
        return;
    }
    metrics_count(METRIC_TLS_OK, 1);
    char *description = tls_description(connection->transport.tls);

    log_line(LOG_LEVEL_DEBUG, connection->id, "event=tls version=\"%s\"", description);
    g_free(description);
    if (!connection->kicked)
        event_del(&connection->timer);
    if (connection->link == NULL) {
        set_state(connection, CONNECTION_CLOSING);
        return;
    }
    card_set_tls(link_card(connection->link), tls_version(connection->transport.tls));
    set_state(connection, CONNECTION_OPEN);
    connection->paused = true; /* what came with the handshake's end is in TLS's buffer */
    if (!link_is_tls(connection->link))
        link_send_tls_started(connection->link);
}

static void begin_compression(struct connection *connection)
{
    if (!transport_start_compression(&connection->transport)) {
        fail(connection, "compress-failed", "out of memory");
        return;
    }
    link_send_compressed(connection->link);
}

/* The answer to STARTTLS is the last thing sent in the clear, and nothing that came before it
 * may count as sent under TLS. */
static void before_tls(struct connection *connection)
{
    if (connection->transport.tls != NULL || connection->transport.deflate != NULL) {
        fail(connection, "tls-failed", "out of order");
        return;
    }
    if (!transport_read_away(&connection->transport))
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
        transport_add(&connection->transport, piece);
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
    transport_end(&connection->transport);
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
    transport_release(&connection->transport);
    if (connection->link != NULL) {
        link_forget_connection(connection->link);
        if (!connection->lent)
            link_send_gone(connection->link);
        link_unref(connection->link);
        limits_leave(connection->limits, &connection->address);
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
    bool writes = connection->transport.wants_write;

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

static void lend(struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN || connection->paused || connection->ended ||
        connection->kicked || connection->of->shutting_down || connection->transport.wants_write ||
        unsent(connection) > 0 || connection->link == NULL || !link_wants_loan(connection->link))
        return;
    /* From its being lent on, it is the other's. */
    event_del(&connection->read_event);
    event_del(&connection->write_event);
    connection->lent = link_lend(connection->link, &connection->transport);
    if (!connection->lent)
        update_events(connection);
}

static void take_back(struct connection *connection)
{
    enum link_return how = link_take_back(connection->link);

    if (how == LINK_RETURN_NOT)
        return;
    connection->lent = false;
    connection->transport.scratch = connection->of->scratch;
    connection->paused = true; /* nobody watched */
    if (how == LINK_RETURN_LOST || connection->cut) {
        set_state(connection, CONNECTION_DEAD);
    } else if (how == LINK_RETURN_END) {
        connection->ended = true;
        link_send_end(connection->link);
    }
}

static void advance(struct connection *connection, bool readable)
{
    connection->transport.wants_write = false;
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
    if (connection->state == CONNECTION_LINGERING && !transport_read_away(&connection->transport))
        set_state(connection, CONNECTION_DEAD);
}

static void pump(struct connection *connection, bool readable)
{
    if (connection->state != CONNECTION_DEAD)
        advance(connection, readable);
    if (connection->state == CONNECTION_DEAD) {
        destroy(connection);
    } else {
        update_events(connection);
        lend(connection);
    }
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
                 connection->state == CONNECTION_HANDSHAKE ? "handshake"
                 : connection->kicked                      ? "kick"
                                                           : "write");
    if (connection->lent) {
        connection->cut = true;
        shutdown(connection->transport.fd, SHUT_RDWR);
        return;
    }
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
        take_back(connection);
        if (connection->lent)
            continue;
        if (connection->state != CONNECTION_DEAD)
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
    GList *next;

    if (connections == NULL)
        return;
    connections->shutting_down = false;
    for (GList *node = connections->all.head; node != NULL; node = next) {
        struct connection *connection = node->data;

        next = node->next;
        if (!connection->lent)
            destroy(connection);
    }
}

void connections_free(struct connections *connections)
{
    if (connections == NULL)
        return;
    while (connections->all.length > 0)
        destroy(connections->all.head->data);
    event_del(&connections->queue_event);
    link_queue_free(connections->queue);
    g_free(connections);
}

static struct connection *connection_new(struct connections *of, int fd,
                                         const struct address *address)
{
    struct connection *connection = g_new0(struct connection, 1);

    connection->of = of;
    connection->address = *address;
    connection->state = CONNECTION_OPEN;
    connection->since = seconds_now(of);
    transport_init(&connection->transport, fd, of->scratch);
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
                   enum limits_result reason, const char *text)
{
    log_line(LOG_LEVEL_WARNING, NULL, "event=refused peer=%s limit=%s", address->text,
             reason == LIMITS_FULL ? "all" : "address");
    metrics_count(reason == LIMITS_FULL ? METRIC_REFUSED_ALL : METRIC_REFUSED_ADDRESS, 1);
    if (of->refusals >= CONNECTION_REFUSALS_MAX) {
        close(fd);
        return;
    }
    of->refusals++;
    struct connection *connection = connection_new(of, fd, address);

    transport_add(&connection->transport, g_bytes_new_static(text, strlen(text)));
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
        .cleartext_login = (cleartext_login && connection->address.loopback) ||
                           (connection->address.trusted && of->settings.trusted_cleartext_login),
        .trusted = connection->address.trusted,
        .connection = connection,
        .event_loop = of->queue,
    });
}

void connections_set_trusted(struct connections *connections, const GArray *trusted,
                             bool cleartext_login)
{
    connections->settings.trusted = trusted;
    connections->settings.trusted_cleartext_login = cleartext_login;
}

void connections_open(struct connections *connections, int fd, const struct sockaddr *peer,
                      bool tls, bool cleartext_login)
{
    struct address address;
    const int on = 1;

    address_read(&address, peer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    address.trusted = networks_contain(connections->settings.trusted, address.octets);
    enum limits_result result = limits_enter(connections->settings.limits, &address);

    if (result != LIMITS_OK) {
        refuse(connections, fd, &address, tls, result,
               "* BYE [UNAVAILABLE] Too many connections\r\n");
        return;
    }
    struct connection *connection = connection_new(connections, fd, &address);

    metrics_count(METRIC_CONNECTIONS, 1);
    log_line(LOG_LEVEL_INFO, connection->id, "event=connect peer=%s tls=%s", address.text,
             tls ? "yes" : "no");
    connection->limits = connections->settings.limits;
    if (tls)
        begin_tls(connection);
    start_session(connection, tls, cleartext_login);
    workers_add(connections->settings.workers, connection->link);
    pump(connection, true);
}

void connections_open_lmtp(struct connections *connections, int fd, const struct sockaddr *peer)
{
    struct limits *limits = connections->settings.lmtp_limits;
    struct address address;
    const int on = 1;

    address_read(&address, peer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    enum limits_result result = limits_enter(limits, &address);

    if (result != LIMITS_OK) {
        refuse(connections, fd, &address, false, result, "421 4.3.2 Too many connections\r\n");
        return;
    }
    struct connection *connection = connection_new(connections, fd, &address);

    log_line(LOG_LEVEL_DEBUG, connection->id, "event=connect peer=%s lmtp=yes", address.text);
    connection->limits = limits;
    start_session(connection, false, false);
    card_set_activity(link_card(connection->link), SESSION_DELIVERING);
    metrics_count(METRIC_DELIVERY_CONNECTIONS, 1);
    lmtp_service_add(connections->settings.lmtp, connection->link);
    pump(connection, true);
}

unsigned connections_count(const struct connections *connections)
{
    return connections->all.length;
}

uint64_t connections_opened(const struct connections *connections)
{
    return connections->counter;
}

void connections_visit(const struct connections *connections,
                       void (*visit)(const struct connection_info *info, void *data), void *data)
{
    for (const GList *node = connections->all.head; node != NULL; node = node->next) {
        const struct connection *connection = node->data;
        struct card_copy card;

        if (connection->link == NULL)
            continue;
        card_read(link_card(connection->link), &card);
        visit(
            &(struct connection_info){
                .id = connection->id,
                .address = connection->address.text,
                .tls = card_tls(link_card(connection->link)),
                .compressed = connection->transport.deflate != NULL,
                .activity = card.activity,
                .user = card.user,
                .client = card.client,
                .mailbox = card.mailbox,
                .since = connection->since,
                .active = MAX(connection->since, card_touched(link_card(connection->link))),
            },
            data);
        card_copy_clear(&card);
    }
}

void connections_tally(const struct connections *connections,
                       unsigned out[SESSION_ACTIVITY_COUNT][2])
{
    memset(out, 0, SESSION_ACTIVITY_COUNT * sizeof *out);
    for (const GList *node = connections->all.head; node != NULL; node = node->next) {
        const struct connection *connection = node->data;

        if (connection->link != NULL)
            out[card_activity(link_card(connection->link))]
               [card_tls(link_card(connection->link)) != NULL]++;
    }
}

static bool is_meant(const struct connection *connection, const char *id, const char *user)
{
    struct card_copy card;

    if (connection->link == NULL || connection->kicked)
        return false;
    card_read(link_card(connection->link), &card);
    bool meant = (id != NULL && strcmp(id, connection->id) == 0) ||
                 (user != NULL && g_strcmp0(user, card.user) == 0);

    card_copy_clear(&card);
    return meant;
}

unsigned connections_kick(struct connections *connections, const char *id, const char *user)
{
    unsigned kicked = 0;

    for (GList *node = connections->all.head; node != NULL; node = node->next) {
        struct connection *connection = node->data;

        if (!is_meant(connection, id, user))
            continue;
        log_line(LOG_LEVEL_INFO, connection->id, "event=kicked");
        link_send_kicked(connection->link);
        connection->kicked = true;
        arm(connection, CONNECTION_KICK_SECONDS);
        kicked++;
    }
    metrics_count(METRIC_KICKED, kicked);
    return kicked;
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
