#include "server/link.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct link_queue {
    pthread_mutex_t lock;
    GPtrArray *links; /* owned; NULL when empty */
    int fd;
};

struct link {
    atomic_uint references;
    char *id;
    char *peer;
    char *penalty_key;
    bool tls;
    bool starttls;
    bool cleartext_login;
    bool trusted;
    struct card *card;
    void *connection;
    struct link_queue *event_loop;
    void *member;
    bool over;

    pthread_mutex_t lock; /* guards all that follows */
    struct link_queue *worker;
    bool at_worker;     /* queued there */
    bool at_event_loop; /* queued there */

    GByteArray *input; /* NULL when empty */
    bool wants_room;
    bool end;
    bool gone;
    bool shut_down;
    bool kicked;
    bool tls_started;
    bool compressed;
    enum link_login login;
    char *user;

    GQueue output; /* GBytes */
    size_t output_octets;
    size_t unsent; /* with output_octets */
    bool resume;
    enum link_after after;

    bool wants_loan;
    struct transport *lent; /* on its way to the worker */
    enum link_return returned;
};

/* --- the queue --- */

struct link_queue *link_queue_new(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return NULL;
    struct link_queue *queue = g_new0(struct link_queue, 1);

    pthread_mutex_init(&queue->lock, NULL);
    queue->fd = fd;
    return queue;
}

void link_queue_free(struct link_queue *queue)
{
    if (queue == NULL)
        return;
    if (queue->links != NULL)
        g_ptr_array_unref(queue->links);
    close(queue->fd);
    pthread_mutex_destroy(&queue->lock);
    g_free(queue);
}

int link_queue_fd(const struct link_queue *queue)
{
    return queue->fd;
}

void link_queue_wake(struct link_queue *queue)
{
    /* It can only fail when the counter is full, and then the descriptor is readable anyway. */
    (void)!eventfd_write(queue->fd, 1);
}

static void link_drop(void *link)
{
    link_unref(link);
}

/* Takes the reference. Returns the queue if it has to be woken, else NULL. */
static struct link_queue *push(struct link_queue *queue, struct link *link)
{
    pthread_mutex_lock(&queue->lock);
    bool first = queue->links == NULL;

    if (first)
        queue->links = g_ptr_array_new_with_free_func(link_drop);
    g_ptr_array_add(queue->links, link);
    pthread_mutex_unlock(&queue->lock);
    return first ? queue : NULL;
}

GPtrArray *link_queue_take(struct link_queue *queue)
{
    eventfd_t value;

    /* Before the links: one that comes between leaves the descriptor readable. */
    (void)!eventfd_read(queue->fd, &value);
    pthread_mutex_lock(&queue->lock);
    GPtrArray *links = queue->links;

    queue->links = NULL;
    pthread_mutex_unlock(&queue->lock);
    return links;
}

/* --- the link --- */

struct link *link_new(const struct link_settings *settings)
{
    struct link *link = g_new0(struct link, 1);

    link->references = 1;
    link->id = g_strdup(settings->id);
    link->peer = g_strdup(settings->peer);
    link->penalty_key = g_strdup(settings->penalty_key);
    link->tls = settings->tls;
    link->starttls = settings->starttls;
    link->cleartext_login = settings->cleartext_login;
    link->trusted = settings->trusted;
    link->card = card_new();
    link->connection = settings->connection;
    link->event_loop = settings->event_loop;
    pthread_mutex_init(&link->lock, NULL);
    g_queue_init(&link->output);
    return link;
}

struct link *link_ref(struct link *link)
{
    link->references++;
    return link;
}

static void piece_drop(void *piece)
{
    g_bytes_unref(piece);
}

static void drop_input(struct link *link)
{
    if (link->input == NULL)
        return;
    /* A password may have been in it. */
    explicit_bzero(link->input->data, link->input->len);
    g_byte_array_unref(link->input);
    link->input = NULL;
}

void link_unref(struct link *link)
{
    if (link == NULL || --link->references > 0)
        return;
    assert(link->member == NULL);
    g_queue_clear_full(&link->output, piece_drop);
    drop_input(link);
    pthread_mutex_destroy(&link->lock);
    card_free(link->card);
    g_free(link->user);
    g_free(link->id);
    g_free(link->peer);
    g_free(link->penalty_key);
    g_free(link);
}

const char *link_id(const struct link *link)
{
    return link->id;
}

const char *link_peer(const struct link *link)
{
    return link->peer;
}

const char *link_penalty_key(const struct link *link)
{
    return link->penalty_key;
}

bool link_is_tls(const struct link *link)
{
    return link->tls;
}

bool link_offers_starttls(const struct link *link)
{
    return link->starttls;
}

bool link_allows_cleartext_login(const struct link *link)
{
    return link->cleartext_login;
}

bool link_is_trusted(const struct link *link)
{
    return link->trusted;
}

struct card *link_card(const struct link *link)
{
    return link->card;
}

void *link_connection(const struct link *link)
{
    return link->connection;
}

void link_forget_connection(struct link *link)
{
    link->connection = NULL;
}

/* With the lock held. These two return the queue to wake, for unlock(). */
static struct link_queue *tell_worker(struct link *link)
{
    if (link->at_worker || link->worker == NULL)
        return NULL;
    link->at_worker = true;
    return push(link->worker, link_ref(link));
}

static struct link_queue *tell_event_loop(struct link *link)
{
    if (link->at_event_loop)
        return NULL;
    link->at_event_loop = true;
    return push(link->event_loop, link_ref(link));
}

/* Whoever is woken wants the lock at once. */
static void unlock(struct link *link, struct link_queue *woken)
{
    pthread_mutex_unlock(&link->lock);
    if (woken != NULL)
        link_queue_wake(woken);
}

/* --- the connection's side --- */

static size_t held(const struct link *link)
{
    return link->input != NULL ? link->input->len : 0;
}

size_t link_room(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    size_t room = SESSION_INPUT_MAX - held(link);

    link->wants_room = room == 0;
    pthread_mutex_unlock(&link->lock);
    return room;
}

void link_send(struct link *link, const void *data, size_t length)
{
    pthread_mutex_lock(&link->lock);
    if (link->input == NULL)
        link->input = g_byte_array_sized_new((guint)length);
    assert(link->input->len + length <= SESSION_INPUT_MAX);
    g_byte_array_append(link->input, data, (guint)length);
    unlock(link, tell_worker(link));
}

static void mark(struct link *link, bool *which)
{
    pthread_mutex_lock(&link->lock);
    *which = true;
    unlock(link, tell_worker(link));
}

void link_send_end(struct link *link)
{
    mark(link, &link->end);
}

void link_send_gone(struct link *link)
{
    mark(link, &link->gone);
}

void link_send_shut_down(struct link *link)
{
    mark(link, &link->shut_down);
}

void link_send_kicked(struct link *link)
{
    mark(link, &link->kicked);
}

void link_send_tls_started(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    drop_input(link);
    link->tls_started = true;
    unlock(link, tell_worker(link));
}

void link_send_compressed(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    drop_input(link);
    link->compressed = true;
    unlock(link, tell_worker(link));
}

void link_report_unsent(struct link *link, size_t octets)
{
    pthread_mutex_lock(&link->lock);
    link->unsent = link->output_octets + octets;
    bool resume = link->resume && link->unsent < LINK_RESUME_BELOW;

    if (resume)
        link->resume = false;
    unlock(link, resume ? tell_worker(link) : NULL);
}

static void move_pieces(GQueue *to, GQueue *from)
{
    GList *node;

    while ((node = g_queue_pop_head_link(from)) != NULL)
        g_queue_push_tail_link(to, node);
}

enum link_after link_collect(struct link *link, GQueue *out)
{
    pthread_mutex_lock(&link->lock);
    enum link_after after = link->after;

    link->at_event_loop = false;
    link->after = LINK_AFTER_NOTHING;
    link->output_octets = 0;
    move_pieces(out, &link->output);
    pthread_mutex_unlock(&link->lock);
    return after;
}

/* --- the worker's side --- */

void link_assign(struct link *link, struct link_queue *worker)
{
    pthread_mutex_lock(&link->lock);
    link->worker = worker;
    /* It may still be queued for the one before, which will find it is no longer its own. */
    link->at_worker = true;
    unlock(link, push(worker, link_ref(link)));
}

struct link_queue *link_assigned(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    struct link_queue *worker = link->worker;

    pthread_mutex_unlock(&link->lock);
    return worker;
}

void link_post_login(struct link *link, enum link_login login, const char *user)
{
    pthread_mutex_lock(&link->lock);
    link->login = login;
    g_free(link->user);
    link->user = g_strdup(user);
    unlock(link, tell_worker(link));
}

void link_wake(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    unlock(link, tell_worker(link));
}

static bool has_output(const struct link *link)
{
    return link->output_octets > 0 || link->after != LINK_AFTER_NOTHING;
}

bool link_is_gone(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    bool gone = link->gone;

    pthread_mutex_unlock(&link->lock);
    return gone;
}

void link_receive(struct link *link, struct link_news *news)
{
    pthread_mutex_lock(&link->lock);
    *news = (struct link_news){
        .end = link->end,
        .gone = link->gone,
        .shut_down = link->shut_down,
        .kicked = link->kicked,
        .tls_started = link->tls_started,
        .compressed = link->compressed,
        .login = link->login,
        .user = g_steal_pointer(&link->user),
        .unsent = link->unsent,
        .has_input = link->input != NULL,
    };
    /* Else the connection takes it back, for that output comes first. */
    if (!has_output(link))
        news->lent = g_steal_pointer(&link->lent);
    link->at_worker = false;
    link->shut_down = false;
    link->kicked = false;
    link->tls_started = false;
    link->compressed = false;
    link->login = LINK_LOGIN_NONE;
    pthread_mutex_unlock(&link->lock);
}

static GByteArray *take_front(struct link *link, size_t length)
{
    GByteArray *front = g_byte_array_sized_new((guint)length);

    g_byte_array_append(front, link->input->data, (guint)length);
    g_byte_array_remove_range(link->input, 0, (guint)length);
    return front;
}

GByteArray *link_take_input(struct link *link, size_t max)
{
    struct link_queue *woken = NULL;
    GByteArray *input = NULL;

    pthread_mutex_lock(&link->lock);
    if (held(link) > max && max > 0)
        input = take_front(link, max);
    else if (max > 0)
        input = g_steal_pointer(&link->input);
    if (input != NULL && link->wants_room) {
        link->wants_room = false;
        woken = tell_event_loop(link);
    }
    unlock(link, woken);
    return input;
}

static size_t count(const GQueue *pieces)
{
    size_t octets = 0;

    for (const GList *node = pieces->head; node != NULL; node = node->next)
        octets += g_bytes_get_size(node->data);
    return octets;
}

size_t link_deliver(struct link *link, GQueue *pieces, enum link_after after, bool resume,
                    bool *has_input)
{
    size_t octets = count(pieces);
    struct link_queue *woken = NULL;

    pthread_mutex_lock(&link->lock);
    move_pieces(&link->output, pieces);
    link->output_octets += octets;
    link->unsent += octets;
    link->resume = resume && link->unsent >= LINK_RESUME_BELOW;
    if (after != LINK_AFTER_NOTHING)
        link->after = after;
    if (octets > 0 || after != LINK_AFTER_NOTHING)
        woken = tell_event_loop(link);
    size_t unsent = link->unsent;

    *has_input = held(link) > 0;
    unlock(link, woken);
    return unsent;
}

/* --- the loan --- */

void link_want_loan(struct link *link, bool wanted)
{
    pthread_mutex_lock(&link->lock);
    link->wants_loan = wanted;
    pthread_mutex_unlock(&link->lock);
}

bool link_wants_loan(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    bool wanted = link->wants_loan && !has_output(link);

    pthread_mutex_unlock(&link->lock);
    return wanted;
}

bool link_lend(struct link *link, struct transport *transport)
{
    struct link_queue *woken = NULL;

    pthread_mutex_lock(&link->lock);
    bool lent = !has_output(link);

    if (lent) {
        link->lent = transport;
        woken = tell_worker(link);
    }
    unlock(link, woken);
    return lent;
}

void link_give_back(struct link *link, enum link_return how, enum link_after after, size_t unsent,
                    bool resume)
{
    pthread_mutex_lock(&link->lock);
    link->returned = how;
    link->after = after;
    link->unsent = unsent;
    link->resume = resume && unsent >= LINK_RESUME_BELOW;
    unlock(link, tell_event_loop(link));
}

enum link_return link_take_back(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    enum link_return how = link->returned;

    /* What comes from now on is told again: while it is lent nothing is collected. */
    link->at_event_loop = false;
    link->returned = LINK_RETURN_NOT;
    if (link->lent != NULL && has_output(link)) {
        link->lent = NULL;
        how = LINK_RETURN_OPEN;
    }
    pthread_mutex_unlock(&link->lock);
    return how;
}

void link_set_member(struct link *link, void *member)
{
    link->member = member;
}

void *link_member(const struct link *link)
{
    return link->member;
}

void link_set_over(struct link *link)
{
    link->member = NULL;
    link->over = true;
}

bool link_is_over(const struct link *link)
{
    return link->over;
}
