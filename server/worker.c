/* A turn never waits for a client: what a session can't do now it does in a later turn. */
#include "server/worker.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"
#include "server/member.h"
#include "server/metrics.h"
#include "server/program.h"
#include "server/ref_watch.h"
#include "server/transport.h"
#include "store/processor.h"
#include "store/store.h"

enum {
    EVENTS_AT_ONCE = 256,
    TICK = 1000 * 1000, /* microseconds between looks at clocks and outside changes */
    MAINTAIN_EVERY = 5 * 1000 * 1000,
    TROUBLE_EVERY = 60 * 1000 * 1000,
    QUIET = 10 * 1000, /* without news for so long, a worker has nothing else to do */
    LOGIN_ATTEMPTS = 3,
    SCRATCH_IN_USE = 4096, /* octets at its start that no command waits for the memory of */
    GATHER_MAX = 1000,     /* microseconds of a turn in which others may join it before its sync */
};

static const char shut_down_text[] = "The server is stopping";
static const char kicked_text[] = "The administrator has ended this session";

/* --- a turn --- */

static void set_unsent(struct member *member, size_t octets)
{
    member->unsent = octets;
    session_output_unsent(member->session, octets);
}

static void take_news(struct member *member, const struct link_news *news)
{
    set_unsent(member, news->unsent);
    if (news->tls_started) {
        session_tls_started(member->session);
        member->status = SESSION_WAITING;
    }
    if (news->compressed) {
        session_compressed(member->session);
        member->status = SESSION_WAITING;
    }
    if (news->shut_down)
        session_shut_down(member->session, shut_down_text);
    if (news->kicked)
        session_shut_down(member->session, kicked_text);
    if (news->lent != NULL)
        loan_take(&member->loan, member->link, news->lent, member->worker->epoll, member,
                  member->worker->scratch);
    member->end = news->end;
    member_make_runnable(member);
}

static void receive(struct worker *worker, struct link *link)
{
    struct link_news news;

    /* Queued here before it moved: the other worker has it too. */
    if (link_assigned(link) != worker->queue)
        return;
    link_receive(link, &news);
    struct member *member = link_member(link);

    if (member == NULL && !link_is_over(link) && !news.gone)
        member = member_new(worker, link);
    else if (member != NULL && member->worker == NULL)
        member_enter(worker, member);
    /* What has been stepped in this turn is synced, and told to others, before it goes. */
    if (member != NULL && news.gone && member->is_touched)
        member->status = SESSION_CLOSED;
    else if (member != NULL && news.gone)
        member_free(member);
    else if (member != NULL && member_take_login(member, &news))
        take_news(member, &news);
    g_free(news.user);
}

static bool is_handing_over(const struct member *member)
{
    return member->status == SESSION_STARTTLS || member->status == SESSION_COMPRESS;
}

static void feed(struct member *member)
{
    size_t room = session_input_room(member->session);

    if (room == 0 || is_handing_over(member))
        return;
    GByteArray *input = link_take_input(member->link, room);

    /* What came before it was lent comes first. */
    if (input == NULL && member->loan.transport != NULL)
        input = loan_read(&member->loan, member->link, room);
    if (input != NULL)
        session_input_take(member->session, input);
}

static void tell(struct member *member)
{
    session_notify(member->session);
    if (!session_is_idling(member->session))
        member_make_runnable(member);
}

static void step(struct member *member)
{
    feed(member);
    if (!is_handing_over(member))
        member->status = session_step(member->session);
    if (session_is_idling(member->session))
        tell(member);
    if (session_is_storing(member->session) && !member->is_storing) {
        member->is_storing = true;
        g_ptr_array_add(member->worker->storing, member);
    }
    member_show(member);
    member_touch(member);
}

/* Those for whom the disk is done; after receive_all(), which takes the signal for it. */
static void resume(struct worker *worker)
{
    for (guint i = worker->storing->len; i > 0; i--) {
        struct member *member = g_ptr_array_index(worker->storing, i - 1);

        if (session_is_storing(member->session) && !session_can_go_on(member->session))
            continue;
        member->is_storing = false;
        g_ptr_array_remove_index_fast(worker->storing, i - 1);
        member_make_runnable(member);
    }
}

static void step_all(struct worker *worker)
{
    GPtrArray *now = worker->runnable;

    worker->runnable = g_ptr_array_new();
    for (guint i = 0; i < now->len; i++) {
        struct member *member = g_ptr_array_index(now, i);

        member->is_runnable = false;
    }
    for (guint i = 0; i < now->len; i++)
        step(g_ptr_array_index(now, i));
    g_ptr_array_unref(now);
}

static bool is_too_late_to_join(int64_t begun)
{
    int64_t age = member_now(NULL) - begun;

    /* The clock may have been set back. */
    return age < 0 || age >= GATHER_MAX;
}

/* Those that have had no part yet in the turn that was begun then; true if there was one. */
static bool step_others(struct worker *worker, int64_t begun)
{
    GPtrArray *now = worker->runnable;
    bool any = false;

    worker->runnable = g_ptr_array_new();
    for (guint i = 0; i < now->len; i++) {
        struct member *member = g_ptr_array_index(now, i);

        if (member->is_touched || is_too_late_to_join(begun)) {
            g_ptr_array_add(worker->runnable, member);
            continue;
        }
        member->is_runnable = false;
        step(member);
        any = true;
    }
    g_ptr_array_unref(now);
    return any;
}

/* Tells those that idle. */
static void notify(const GPtrArray *members)
{
    for (guint i = 0; i < members->len; i++) {
        struct member *member = g_ptr_array_index(members, i);

        if (!session_is_idling(member->session))
            continue;
        tell(member);
        member_touch(member);
    }
}

/* A session that was stepped may have changed its account. */
static void notify_others(struct worker *worker)
{
    GHashTable *told = g_hash_table_new(NULL, NULL);
    guint stepped = worker->touched->len;

    for (guint i = 0; i < stepped; i++) {
        const struct member *member = g_ptr_array_index(worker->touched, i);
        GPtrArray *members =
            member->user != NULL ? g_hash_table_lookup(worker->users, member->user) : NULL;

        if (members != NULL && members->len > 1 && g_hash_table_add(told, members))
            notify(members);
    }
    g_hash_table_unref(told);
}

/* Mail for accounts of this worker; true if there was any. */
static bool take_mail(struct worker *worker)
{
    const GPtrArray *users = delivery_desk_users(worker->desk);
    bool left = false;
    bool any = delivery_desk_run(worker->desk, worker->store, member_now(NULL), &left);

    for (guint i = 0; i < users->len; i++) {
        const GPtrArray *members = g_hash_table_lookup(worker->users, g_ptr_array_index(users, i));

        if (members != NULL)
            notify(members);
    }
    if (left)
        link_queue_wake(worker->queue);
    return any;
}

/* False: nothing of this turn may be acknowledged. */
static bool sync_store(struct worker *worker, bool mail)
{
    struct store_error error;

    if (worker->touched->len == 0 && !mail)
        return true;
    uint64_t written = store_written(worker->store);
    int64_t begun = member_now(NULL);
    int result = store_sync(worker->store, &error);

    if (store_written(worker->store) != written)
        metrics_time(METRIC_TIME_SYNC, member_now(NULL) - begun);
    if (result == STORE_OK)
        return true;
    metrics_count(METRIC_SYNC_FAILED, 1);
    char *detail = log_quote(error.detail);

    log_line(LOG_LEVEL_ERROR, NULL, "event=sync-failed code=\"%s\" reason=%s",
             store_code_name(error.code), detail);
    g_free(detail);
    for (guint i = 0; i < worker->touched->len; i++) {
        struct member *member = g_ptr_array_index(worker->touched, i);

        if (session_user(member->session) == NULL)
            continue;
        session_abort(member->session);
        member->status = SESSION_CLOSED;
    }
    return false;
}

static enum link_after after_of(const struct member *member)
{
    switch (member->status) {
    case SESSION_STARTTLS:
        return LINK_AFTER_STARTTLS;
    case SESSION_COMPRESS:
        return LINK_AFTER_COMPRESS;
    case SESSION_CLOSED:
        return LINK_AFTER_CLOSE;
    case SESSION_WAITING:
    case SESSION_RUNNABLE:
        break;
    }
    return LINK_AFTER_NOTHING;
}

/* The peer has sent all it will, and all of that is answered. */
static bool is_finished(const struct member *member)
{
    return member->end && member->status == SESSION_WAITING && !member->checking && !member->high &&
           !member->is_runnable && !member->is_storing;
}

/* The octets unsent. */
static size_t send_pieces(struct member *member, GQueue *pieces, enum link_after after,
                          bool *has_input)
{
    struct loan *loan = &member->loan;
    size_t unsent;

    if (loan->transport == NULL)
        return link_deliver(member->link, pieces, after, member->high, has_input);
    *has_input =
        loan_write(loan, member->link, pieces, after, member->high, &unsent) && loan->readable;
    return unsent;
}

/* Hands over the output and decides when the session has its next turn. */
static void deliver(struct member *member)
{
    GQueue pieces = G_QUEUE_INIT;
    enum link_after after = member->told ? LINK_AFTER_NOTHING : after_of(member);
    size_t room = session_input_room(member->session);
    bool has_input;
    GBytes *piece;

    member->told = is_handing_over(member);
    member->high = session_output_waiting(member->session) + member->unsent >= SESSION_OUTPUT_HIGH;
    while ((piece = session_output_take(member->session)) != NULL)
        g_queue_push_tail(&pieces, piece);
    set_unsent(member, send_pieces(member, &pieces, after, &has_input));
    if (member->high && member->unsent < LINK_RESUME_BELOW)
        member_make_runnable(member);
    else if (member->status == SESSION_RUNNABLE || (has_input && room > 0 && !member->told))
        member_make_runnable(member);
}

static void deliver_all(struct worker *worker)
{
    GPtrArray *now = worker->touched;

    worker->touched = g_ptr_array_new();
    for (guint i = 0; i < now->len; i++) {
        struct member *member = g_ptr_array_index(now, i);

        member->is_touched = false;
        deliver(member);
        if (is_finished(member)) {
            member->status = SESSION_CLOSED;
            deliver(member);
        }
        if (member->status == SESSION_CLOSED)
            member_free(member);
    }
    g_ptr_array_unref(now);
}

/* --- the clock --- */

/* The account of a user that has logged in, by any of the sessions that has it open. */
static struct account *account_of(const GPtrArray *members)
{
    struct account *account = NULL;

    for (guint i = 0; i < members->len && account == NULL; i++) {
        const struct member *member = g_ptr_array_index(members, i);

        account = session_account(member->session);
    }
    return account;
}

/* A failure shows, with its reason, in the next command that needs the mailbox. */
static void refresh_account(struct account *account, GPtrArray *members)
{
    struct store_error error;
    bool changed = false;

    if (account_refresh(account, &changed, &error) == STORE_OK && changed)
        notify(members);
}

static void refresh_accounts(struct worker *worker)
{
    GHashTableIter iter;
    void *user;
    void *members;

    ref_watch_begin(worker->watch);
    g_hash_table_iter_init(&iter, worker->users);
    while (g_hash_table_iter_next(&iter, &user, &members)) {
        struct account *account = account_of(members);

        if (account != NULL) {
            ref_watch_keep(worker->watch, user, account_path(account));
            refresh_account(account, members);
        }
    }
    ref_watch_end(worker->watch);
}

/* Those whose branches somebody may have moved just now. */
static void refresh_noticed(struct worker *worker)
{
    GPtrArray *users;

    if (!worker->watch_noticed)
        return;
    worker->watch_noticed = false;
    users = ref_watch_take(worker->watch);
    for (guint i = 0; i < users->len; i++) {
        GPtrArray *members = g_hash_table_lookup(worker->users, users->pdata[i]);
        struct account *account = members != NULL ? account_of(members) : NULL;

        if (account != NULL)
            refresh_account(account, members);
    }
    g_ptr_array_unref(users);
}

static void tick(struct worker *worker, bool idle)
{
    int64_t now = member_now(NULL);

    if (now < worker->next_tick && worker->next_tick - now <= TICK)
        return;
    worker->next_tick = now + TICK;
    for (guint i = 0; i < worker->members->len; i++) {
        struct member *member = g_ptr_array_index(worker->members, i);

        if (session_deadline(member->session) <= now)
            member_make_runnable(member);
    }
    refresh_accounts(worker);
    delivery_desk_rest(worker->desk, now);
    atomic_store_explicit(&worker->public.packs, store_packs(worker->store), memory_order_relaxed);
    if (idle && now >= worker->next_maintain) {
        store_maintain(worker->store);
        worker->next_maintain = now + MAINTAIN_EVERY;
    }
}

/* Milliseconds that there is nothing to do for, as poll(2) has it. */
static int time_to_wait(const struct worker *worker)
{
    if (worker->runnable->len > 0)
        return 0;
    int64_t next = MAX(worker->next_work, worker->last_news + QUIET);

    if (worker->members->len > 0 || delivery_desk_is_used(worker->desk))
        next = MIN(next, worker->next_tick);
    else if (worker->next_work == INT64_MAX)
        return -1;
    int64_t left = next - member_now(NULL);

    /* The clock may have been set back. */
    return (int)(CLAMP(left, 0, TICK) / 1000) + 1;
}

/* Takes note of who has news, after so many milliseconds at the latest, as poll(2) has them. */
static void wait_for_news(struct worker *worker, int timeout)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int ready;

    while ((ready = epoll_wait(worker->epoll, events, EVENTS_AT_ONCE, timeout)) < 0 &&
           errno == EINTR)
        ;
    for (int i = 0; i < ready; i++) {
        void *owner = events[i].data.ptr;

        if (owner == worker->queue) {
            worker->queue_noticed = true;
        } else if (owner == worker->watch) {
            worker->watch_noticed = true;
        } else {
            loan_notice(&((struct member *)owner)->loan, events[i].events);
            member_make_runnable(owner);
        }
    }
}

/* Clients have their answers all the same, as long as the journal has room. */
static void tell_of_trouble(struct worker *worker, int64_t now)
{
    const struct store_error *trouble = store_trouble(worker->store);

    if (trouble == NULL ||
        (now >= worker->last_trouble && now < worker->last_trouble + TROUBLE_EVERY))
        return;
    char *detail = log_quote(trouble->detail);

    log_line(LOG_LEVEL_ERROR, NULL, "event=store-behind code=\"%s\" reason=%s",
             store_code_name(trouble->code), detail);
    g_free(detail);
    worker->last_trouble = now;
}

/* What other threads may know. */
static void publish(struct worker *worker)
{
    struct worker_public *public = &worker->public;
    struct store_figures figures;

    store_figures(worker->store, &figures);
    atomic_store_explicit(&public->journal_size, figures.journal_size, memory_order_relaxed);
    atomic_store_explicit(&public->journal_used, figures.journal_used, memory_order_relaxed);
    atomic_store_explicit(&public->waiting, figures.waiting, memory_order_relaxed);
    atomic_store_explicit(&public->waiting_since, figures.waiting_since, memory_order_relaxed);
    atomic_store_explicit(&public->checkpoint, figures.checkpoint, memory_order_relaxed);
    atomic_store_explicit(&public->trouble, figures.trouble, memory_order_relaxed);
    atomic_store_explicit(&public->accounts, figures.accounts, memory_order_relaxed);
    atomic_store_explicit(&public->users, g_hash_table_size(worker->users), memory_order_relaxed);
}

/* After the clients have their answers. */
static void work_on_store(struct worker *worker, bool news)
{
    int64_t now = member_now(NULL);

    if (news || now < worker->last_news)
        worker->last_news = now;
    worker->next_work = store_work(worker->store, now - worker->last_news >= QUIET);
    tell_of_trouble(worker, now);
    publish(worker);
}

static void set_turn(struct worker *worker, int64_t begun)
{
    atomic_store_explicit(&worker->public.turn, begun, memory_order_relaxed);
}

static unsigned index_of(const struct worker *worker)
{
    return (unsigned)(worker - worker->all->workers);
}

/* True if there was any. */
static bool receive_all(struct worker *worker)
{
    GPtrArray *links = worker->queue_noticed ? link_queue_take(worker->queue) : NULL;

    worker->queue_noticed = false;
    if (links == NULL)
        return false;
    for (guint i = 0; i < links->len; i++)
        receive(worker, g_ptr_array_index(links, i));
    g_ptr_array_unref(links);
    return true;
}

/* Who has sent something since the turn began shares its sync, and would wait for all of it
 * otherwise. True if there was somebody. */
static bool gather(struct worker *worker, int64_t begun)
{
    bool more = true;
    bool any = false;

    while (more && store_is_sync_due(worker->store) && !is_too_late_to_join(begun)) {
        wait_for_news(worker, 0);
        store_turn(worker->store, worker->watch_noticed);
        receive_all(worker);
        resume(worker);
        more = step_others(worker, begun);
        any = any || more;
    }
    return any;
}

static void turn(struct worker *worker)
{
    int64_t begun = member_now(NULL);

    set_turn(worker, begun);
    store_turn(worker->store, worker->watch_noticed);
    bool received = receive_all(worker);

    resume(worker);
    bool idle = !received && worker->runnable->len == 0;

    refresh_noticed(worker);
    tick(worker, idle);
    step_all(worker);
    bool gathered = gather(worker, begun);
    bool mail = take_mail(worker);

    notify_others(worker);
    delivery_desk_settle(worker->desk, sync_store(worker, mail));
    deliver_all(worker);
    work_on_store(worker, !idle || gathered || mail);
    settling_turn(worker->all->settling, index_of(worker), worker->store);
    stand_turn(worker->all->stand, index_of(worker), worker->store);
    set_turn(worker, 0);
}

static void *work(void *data)
{
    struct worker *worker = data;

    /* The kernel would have two of them share a processor for a while and leave another idle. */
    if (worker->all->settings.bound)
        processor_bind(index_of(worker));
    while (!worker->stopped) {
        wait_for_news(worker, time_to_wait(worker));
        turn(worker);
        worker->turns++;
    }
    while (worker->members->len > 0)
        member_free(g_ptr_array_index(worker->members, 0));
    return NULL;
}

/* --- all workers --- */

void workers_set_limits(struct workers *workers, const struct workers_limits *limits)
{
    struct session_rules *rules = g_new0(struct session_rules, 1);

    for (size_t i = 0; i < G_N_ELEMENTS(rules->settings); i++) {
        rules->settings[i] = (struct session_settings){
            .append_limit = limits->append_limit,
            .offer_starttls = i % 2 != 0,
            .allow_cleartext_login = i / 2 != 0,
            .idle_timeout = limits->idle_timeout,
            .login_timeout = limits->login_timeout,
            .login_attempts = LOGIN_ATTEMPTS,
        };
    }
    rules->connections_per_user = limits->connections_per_user;
    g_ptr_array_add(workers->all_rules, rules);
    workers->rules = rules;
}

static void drop_members(void *members)
{
    g_ptr_array_unref(members);
}

static bool watch_fd(const struct worker *worker, int fd, void *owner)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = owner};

    return fd < 0 || epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* [any thread] */
static void wake(void *queue)
{
    link_queue_wake(queue);
}

/* Those of more workers than there are now. */
static void remove_journals(struct worker *worker)
{
    struct store_error error;

    if (store_remove_journals(worker->store, &error) == STORE_OK)
        return;
    char *quoted = log_quote(error.detail);

    log_line(LOG_LEVEL_WARNING, NULL, "event=journals-stay problem=%s", quoted);
    g_free(quoted);
}

static bool worker_start(struct workers *all, struct worker *worker, char **problem)
{
    struct store_error error;

    worker->all = all;
    worker->members = g_ptr_array_new();
    worker->runnable = g_ptr_array_new();
    worker->touched = g_ptr_array_new();
    worker->storing = g_ptr_array_new();
    worker->users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, drop_members);
    worker->desk = delivery_desk_new(&all->settings.delivery);
    worker->watch = ref_watch_new();
    worker->queue = link_queue_new();
    worker->scratch = g_malloc(TRANSPORT_SCRATCH);
    memset(worker->scratch, 0, SCRATCH_IN_USE);
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (worker->queue == NULL || worker->epoll < 0 ||
        !watch_fd(worker, link_queue_fd(worker->queue), worker->queue) ||
        !watch_fd(worker, ref_watch_fd(worker->watch), worker->watch)) {
        *problem = g_strdup_printf("epoll: %s", g_strerror(errno));
        return false;
    }
    if (store_open(&worker->store, all->settings.data, host_system(), &error) != STORE_OK) {
        *problem = g_strdup_printf("%s: %s", all->settings.data, error.detail);
        return false;
    }
    if (store_open_journal(worker->store, &all->settings.journal, &error) != STORE_OK) {
        *problem = g_strdup_printf("%s: journal: %s", all->settings.data, error.detail);
        return false;
    }
    if (index_of(worker) + 1 == all->settings.count)
        remove_journals(worker);
    program_tell_store(worker->store);
    store_set_wake(worker->store, wake, worker->queue);
    store_set_maintenance(worker->store, all->settings.maintenance);
    store_set_cache_budget(worker->store, all->settings.budget);
    worker->next_work = INT64_MAX;
    int result = pthread_create(&worker->thread, NULL, work, worker);

    if (result != 0)
        *problem = g_strdup_printf("thread: %s", g_strerror(result));
    worker->started = result == 0;
    return worker->started;
}

static void worker_stop(struct worker *worker)
{
    if (!worker->started)
        return;
    worker->stopped = true;
    link_queue_wake(worker->queue);
    pthread_join(worker->thread, NULL);
}

/* A session that was on its way to this worker when it stopped. */
static void drop_arrivals(struct worker *worker)
{
    GPtrArray *links = worker->queue != NULL ? link_queue_take(worker->queue) : NULL;

    for (guint i = 0; links != NULL && i < links->len; i++) {
        struct member *member = link_member(g_ptr_array_index(links, i));

        if (member == NULL)
            continue;
        member_enter(worker, member);
        member_free(member);
    }
    if (links != NULL)
        g_ptr_array_unref(links);
}

static void worker_release(struct worker *worker)
{
    if (worker->members == NULL)
        return;
    drop_arrivals(worker);
    if (worker->epoll >= 0)
        close(worker->epoll);
    g_free(worker->scratch);
    link_queue_free(worker->queue);
    ref_watch_free(worker->watch);
    delivery_desk_free(worker->desk);
    store_close(worker->store);
    g_hash_table_unref(worker->users);
    g_ptr_array_unref(worker->members);
    g_ptr_array_unref(worker->runnable);
    g_ptr_array_unref(worker->touched);
    g_ptr_array_unref(worker->storing);
}

struct workers *workers_new(const struct workers_settings *settings, char **problem)
{
    struct workers *all = g_new0(struct workers, 1);

    assert(settings->count > 0);
    all->settings = *settings;
    all->workers = g_new0(struct worker, settings->count);
    all->all_rules = g_ptr_array_new_with_free_func(g_free);
    all->stand = stand_new(settings->count, settings->data);
    all->settling = settling_new(settings->count);
    workers_set_limits(all, &settings->limits);
    for (unsigned i = 0; i < settings->count; i++) {
        if (!worker_start(all, &all->workers[i], problem)) {
            workers_free(all);
            return NULL;
        }
    }
    return all;
}

void workers_add(struct workers *workers, struct link *link)
{
    unsigned next = workers->next++ % workers->settings.count;

    link_assign(link, workers->workers[next].queue);
}

void workers_deliver(struct workers *workers, struct delivery *delivery, void (*done)(void *data),
                     void *data)
{
    struct worker *worker = member_worker_of(workers, delivery->user);

    delivery_desk_post(worker->desk, delivery, done, data);
    link_queue_wake(worker->queue);
}

void workers_ask(struct workers *workers, struct delivery_question *question,
                 void (*done)(void *data), void *data)
{
    struct worker *worker = member_worker_of(workers, question->user);

    delivery_desk_ask(worker->desk, question, done, data);
    link_queue_wake(worker->queue);
}

bool workers_alive(struct workers *workers)
{
    bool alive = true;

    for (unsigned i = 0; i < workers->settings.count; i++) {
        struct worker *worker = &workers->workers[i];
        unsigned turns = worker->turns;

        alive = alive && (turns != worker->turns_seen || !worker->was_asked);
        worker->turns_seen = turns;
        worker->was_asked = true;
        link_queue_wake(worker->queue);
    }
    return alive;
}

bool workers_stand(struct workers *workers, const char *user)
{
    if (!stand_ask(workers->stand, user, index_of(member_worker_of(workers, user))))
        return false;
    for (unsigned i = 0; i < workers->settings.count; i++)
        link_queue_wake(workers->workers[i].queue);
    return true;
}

struct stand *workers_standing(struct workers *workers)
{
    return workers->stand;
}

struct settle *workers_settle(struct workers *workers, const char *user)
{
    struct worker *worker = member_worker_of(workers, user);
    struct settle *settle = settling_ask(workers->settling, user, index_of(worker));

    link_queue_wake(worker->queue);
    return settle;
}

unsigned workers_count(const struct workers *workers)
{
    return workers->settings.count;
}

void workers_figures(const struct workers *workers, unsigned index, struct worker_figures *out)
{
    const struct worker_public *public = &workers->workers[index].public;

    *out = (struct worker_figures){
        .turn = atomic_load_explicit(&public->turn, memory_order_relaxed),
        .journal_size = atomic_load_explicit(&public->journal_size, memory_order_relaxed),
        .journal_used = atomic_load_explicit(&public->journal_used, memory_order_relaxed),
        .waiting = atomic_load_explicit(&public->waiting, memory_order_relaxed),
        .waiting_since = atomic_load_explicit(&public->waiting_since, memory_order_relaxed),
        .checkpoint = atomic_load_explicit(&public->checkpoint, memory_order_relaxed),
        .trouble = atomic_load_explicit(&public->trouble, memory_order_relaxed),
        .users = atomic_load_explicit(&public->users, memory_order_relaxed),
        .accounts = atomic_load_explicit(&public->accounts, memory_order_relaxed),
        .packs = atomic_load_explicit(&public->packs, memory_order_relaxed),
    };
}

void workers_free(struct workers *workers)
{
    if (workers == NULL)
        return;
    /* First all threads: a session may be on its way between two of them. */
    for (unsigned i = 0; i < workers->settings.count; i++)
        worker_stop(&workers->workers[i]);
    for (unsigned i = 0; i < workers->settings.count; i++)
        worker_release(&workers->workers[i]);
    settling_free(workers->settling);
    stand_free(workers->stand);
    g_ptr_array_unref(workers->all_rules);
    g_free(workers->workers);
    g_free(workers);
}
