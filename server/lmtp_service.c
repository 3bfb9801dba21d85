#include "server/lmtp_service.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "server/link.h"
#include "server/log.h"
#include "server/metrics.h"

enum { TICK = 1000 * 1000 }; /* microseconds between looks at the clock */

struct lmtp_service {
    struct lmtp_service_settings settings;
    struct link_queue *queue;
    GPtrArray *clients; /* struct client *, owned */
    int64_t next_tick;
    pthread_t thread;
    bool started;
    atomic_bool stopped;
};

/* A message on its way through the workers; the last one of those that hold it frees it. */
struct transaction {
    atomic_uint references;
    atomic_uint open; /* deliveries without a result */
    GPtrArray *deliveries;
    struct link *link;
    int64_t begun;
};

/* A question on its way through a worker; whoever of the two that hold it is last frees it. */
struct question {
    atomic_uint references;
    atomic_bool answered;
    struct delivery_question asked;
    struct link *link;
};

/* One session. */
struct client {
    struct lmtp_service *service;
    struct link *link;
    struct lmtp_session *session;
    struct lmtp_host host;
    struct transaction *transaction; /* NULL: none */
    struct question *question;       /* NULL: none */
    guint index;                     /* in clients */
    bool end;                        /* no more input will come */
    enum lmtp_status status;
};

static int64_t now(void *data)
{
    struct timespec time;

    (void)data;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

/* --- transactions --- */

static void transaction_unref(struct transaction *transaction)
{
    if (transaction == NULL || --transaction->references > 0)
        return;
    g_ptr_array_unref(transaction->deliveries);
    link_unref(transaction->link);
    g_free(transaction);
}

/* A worker's thread. */
static void on_delivered(void *data)
{
    struct transaction *transaction = data;

    if (--transaction->open == 0)
        link_wake(transaction->link);
    transaction_unref(transaction);
}

static void deliver(void *data, struct lmtp_session *session, GPtrArray *deliveries)
{
    struct client *client = data;
    struct transaction *transaction = g_new0(struct transaction, 1);

    (void)session;
    assert(client->transaction == NULL);
    transaction->references = 1 + deliveries->len;
    transaction->open = deliveries->len;
    transaction->deliveries = deliveries;
    transaction->link = link_ref(client->link);
    transaction->begun = now(NULL);
    client->transaction = transaction;
    for (guint i = 0; i < deliveries->len; i++)
        workers_deliver(client->service->settings.workers, g_ptr_array_index(deliveries, i),
                        on_delivered, transaction);
}

static enum lmtp_user find_user(void *data, const char *name)
{
    const struct client *client = data;

    if (users_exists(client->service->settings.users, name))
        return LMTP_USER_KNOWN;
    metrics_count(METRIC_DELIVERY_REJECTED, 1);
    return LMTP_USER_UNKNOWN;
}

static void write_log(void *data, const char *session_id, const char *event, const char *address)
{
    char *quoted = log_quote(address);

    (void)data;
    log_line(LOG_LEVEL_INFO, session_id, "event=%s to=%s", event, quoted);
    g_free(quoted);
}

/* --- questions --- */

static void question_unref(struct question *question)
{
    if (question == NULL || --question->references > 0)
        return;
    g_free(question->asked.user);
    link_unref(question->link);
    g_free(question);
}

/* A worker's thread. */
static void on_answered(void *data)
{
    struct question *question = data;

    question->answered = true;
    link_wake(question->link);
    question_unref(question);
}

/* What is known without the account lets most mail pass; that an account is full only its worker
 * can say. */
static enum lmtp_room find_room(void *data, struct lmtp_session *session, const char *user,
                                uint64_t octets)
{
    struct client *client = data;
    const struct lmtp_service_settings *settings = &client->service->settings;

    (void)session;
    assert(client->question == NULL);
    if (quota_has_room(&settings->quota, user, 1, octets))
        return LMTP_ROOM_GOOD;
    struct question *question = g_new0(struct question, 1);

    question->references = 2;
    question->asked = (struct delivery_question){.user = g_strdup(user), .octets = octets};
    question->link = link_ref(client->link);
    client->question = question;
    workers_ask(settings->workers, &question->asked, on_answered, question);
    return LMTP_ROOM_ASKED;
}

static void take_answer(struct client *client)
{
    struct question *question = client->question;

    if (question == NULL || !question->answered)
        return;
    client->question = NULL;
    if (question->asked.full)
        metrics_count(client->service->settings.session.over_quota_is_final
                          ? METRIC_DELIVERY_REJECTED
                          : METRIC_DELIVERY_DEFERRED,
                      1);
    lmtp_session_room_told(client->session, question->asked.full);
    question_unref(question);
}

/* --- clients --- */

static struct client *client_new(struct lmtp_service *service, struct link *link)
{
    struct client *client = g_new0(struct client, 1);

    client->service = service;
    client->link = link_ref(link);
    client->host = (struct lmtp_host){
        .data = client,
        .now = now,
        .user = find_user,
        .room = find_room,
        .deliver = deliver,
        .log = write_log,
    };
    client->session =
        lmtp_session_new(&service->settings.session, &client->host, link_id(link), link_peer(link));
    client->index = service->clients->len;
    g_ptr_array_add(service->clients, client);
    link_set_member(link, client);
    return client;
}

static void client_free(struct client *client)
{
    GPtrArray *clients = client->service->clients;

    assert(g_ptr_array_index(clients, client->index) == client);
    g_ptr_array_remove_index_fast(clients, client->index);
    if (client->index < clients->len) {
        struct client *moved = g_ptr_array_index(clients, client->index);

        moved->index = client->index;
    }
    transaction_unref(client->transaction);
    question_unref(client->question);
    lmtp_session_free(client->session);
    link_set_over(client->link);
    link_unref(client->link);
    g_free(client);
}

static void count_result(const struct client *client, const struct delivery *delivery,
                         enum delivery_result result)
{
    enum metric metric = METRIC_DELIVERY_DEFERRED;

    if (result == DELIVERY_DONE || result == DELIVERY_AGAIN) {
        metric = METRIC_DELIVERY_ACCEPTED;
        metrics_count(METRIC_DELIVERY_OCTETS, stash_size(delivery->mail->stash));
    } else if (result == DELIVERY_NO_USER || result == DELIVERY_NO_MAILBOX ||
               result == DELIVERY_TOO_BIG ||
               (result == DELIVERY_OVER_QUOTA &&
                client->service->settings.session.over_quota_is_final)) {
        metric = METRIC_DELIVERY_REJECTED;
    }
    metrics_count(metric, 1);
}

static void count_results(const struct client *client, const struct transaction *transaction)
{
    for (guint i = 0; i < transaction->deliveries->len; i++) {
        const struct delivery *delivery = g_ptr_array_index(transaction->deliveries, i);

        for (guint j = 0; j < delivery->recipients->len; j++)
            count_result(client, delivery,
                         g_array_index(delivery->recipients, struct delivery_recipient, j).result);
    }
    metrics_time(METRIC_TIME_DELIVERY, now(NULL) - transaction->begun);
}

static void take_results(struct client *client)
{
    struct transaction *transaction = client->transaction;

    if (transaction == NULL || transaction->open > 0)
        return;
    client->transaction = NULL;
    count_results(client, transaction);
    lmtp_session_delivered(client->session, transaction->deliveries);
    transaction_unref(transaction);
}

static void feed(struct client *client)
{
    size_t room = lmtp_session_room(client->session);
    GByteArray *input = room > 0 ? link_take_input(client->link, room) : NULL;

    if (input == NULL)
        return;
    lmtp_session_input(client->session, input->data, input->len);
    g_byte_array_unref(input);
}

/* Hands over what the session says; true if there is input that it can take. */
static bool send_output(struct client *client)
{
    GQueue pieces = G_QUEUE_INIT;
    GBytes *said = lmtp_session_output(client->session);
    bool closed = client->status == LMTP_STATUS_CLOSED;
    bool has_input;

    if (said != NULL)
        g_queue_push_tail(&pieces, said);
    link_deliver(client->link, &pieces, closed ? LINK_AFTER_CLOSE : LINK_AFTER_NOTHING, false,
                 &has_input);
    return has_input && lmtp_session_room(client->session) > 0;
}

/* Until there is no more to do now; the client may be gone then. */
static void step(struct client *client)
{
    bool again;

    do {
        take_answer(client);
        take_results(client);
        feed(client);
        client->status = lmtp_session_step(client->session);
        again = send_output(client);
    } while (again && client->status == LMTP_STATUS_WAITING);
    if (client->status == LMTP_STATUS_CLOSED)
        client_free(client);
    else if (client->end && client->status == LMTP_STATUS_WAITING) {
        client->status = LMTP_STATUS_CLOSED;
        send_output(client);
        client_free(client);
    }
}

static void receive(struct lmtp_service *service, struct link *link)
{
    struct link_news news;
    struct client *client = link_member(link);

    link_receive(link, &news);
    g_free(news.user);
    if (client == NULL && !link_is_over(link) && !news.gone)
        client = client_new(service, link);
    if (client == NULL)
        return;
    if (news.gone) {
        client_free(client);
        return;
    }
    client->end = news.end;
    if (news.shut_down || news.kicked)
        lmtp_session_shut_down(client->session);
    step(client);
}

/* --- the thread --- */

static void tick(struct lmtp_service *service)
{
    int64_t time = now(NULL);

    if (time < service->next_tick && service->next_tick - time <= TICK)
        return;
    service->next_tick = time + TICK;
    for (guint i = service->clients->len; i-- > 0;) {
        struct client *client = g_ptr_array_index(service->clients, i);

        if (lmtp_session_deadline(client->session) <= time)
            step(client);
    }
}

static void wait_for_news(const struct lmtp_service *service)
{
    struct pollfd pollfd = {.fd = link_queue_fd(service->queue), .events = POLLIN};

    while (poll(&pollfd, 1, service->clients->len > 0 ? TICK / 1000 : -1) < 0 && errno == EINTR)
        ;
}

static void *work(void *data)
{
    struct lmtp_service *service = data;

    while (!service->stopped) {
        wait_for_news(service);
        GPtrArray *links = link_queue_take(service->queue);

        for (guint i = 0; links != NULL && i < links->len; i++)
            receive(service, g_ptr_array_index(links, i));
        if (links != NULL)
            g_ptr_array_unref(links);
        tick(service);
    }
    while (service->clients->len > 0)
        client_free(g_ptr_array_index(service->clients, 0));
    return NULL;
}

struct lmtp_service *lmtp_service_new(const struct lmtp_service_settings *settings, char **problem)
{
    struct lmtp_service *service = g_new0(struct lmtp_service, 1);
    int result;

    service->settings = *settings;
    service->clients = g_ptr_array_new();
    service->queue = link_queue_new();
    if (service->queue == NULL) {
        *problem = g_strdup_printf("eventfd: %s", g_strerror(errno));
        lmtp_service_free(service);
        return NULL;
    }
    result = pthread_create(&service->thread, NULL, work, service);
    service->started = result == 0;
    if (!service->started) {
        *problem = g_strdup_printf("thread: %s", g_strerror(result));
        lmtp_service_free(service);
        return NULL;
    }
    return service;
}

void lmtp_service_add(struct lmtp_service *service, struct link *link)
{
    link_assign(link, service->queue);
}

void lmtp_service_stop(struct lmtp_service *service)
{
    if (service == NULL || !service->started)
        return;
    service->stopped = true;
    link_queue_wake(service->queue);
    pthread_join(service->thread, NULL);
    service->started = false;
}

void lmtp_service_free(struct lmtp_service *service)
{
    if (service == NULL)
        return;
    lmtp_service_stop(service);
    link_queue_free(service->queue);
    g_ptr_array_unref(service->clients);
    g_free(service);
}
