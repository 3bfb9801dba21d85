#include "server/authenticator.h"

#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "server/metrics.h"
#include "server/penalty.h"

struct check {
    struct link *link;
    char *user;
    char *password;
};

struct authenticator {
    struct users *users;
    pthread_t threads[AUTHENTICATOR_THREADS];
    unsigned started;
    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t changed;
    bool stopped;
    GQueue waiting; /* struct check *, in the order they came */
    struct penalty *penalty;
};

static int64_t monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void check_free(void *data)
{
    struct check *check = data;

    explicit_bzero(check->password, strlen(check->password));
    g_free(check->password);
    g_free(check->user);
    link_unref(check->link);
    g_free(check);
}

/* Takes the first check that may be tried now; else *next is when to look again. */
static struct check *take_due(struct authenticator *authenticator, int64_t *next)
{
    int64_t now = monotonic();
    GList *following;

    *next = INT64_MAX;
    for (GList *node = authenticator->waiting.head; node != NULL; node = following) {
        struct check *check = node->data;

        following = node->next;
        if (link_is_gone(check->link)) {
            g_queue_delete_link(&authenticator->waiting, node);
            check_free(check);
            continue;
        }
        int64_t until = now;

        if (!link_is_trusted(check->link))
            until = penalty_until(authenticator->penalty, link_penalty_key(check->link),
                                  check->user, now);

        if (until <= now) {
            g_queue_delete_link(&authenticator->waiting, node);
            return check;
        }
        *next = MIN(*next, until);
    }
    return NULL;
}

static void wait_until(struct authenticator *authenticator, int64_t time)
{
    struct timespec until = {.tv_sec = time / 1000000, .tv_nsec = time % 1000000 * 1000};

    if (time == INT64_MAX)
        pthread_cond_wait(&authenticator->changed, &authenticator->lock);
    else
        pthread_cond_timedwait(&authenticator->changed, &authenticator->lock, &until);
}

/* With the lock held, which is let go while the hash is computed. */
static void run(struct authenticator *authenticator, struct check *check)
{
    pthread_mutex_unlock(&authenticator->lock);
    int64_t begun = monotonic();
    bool good = users_check(authenticator->users, check->user, check->password);

    metrics_time(METRIC_TIME_PASSWORD, monotonic() - begun);
    pthread_mutex_lock(&authenticator->lock);
    if (!link_is_trusted(check->link))
        (good ? penalty_success : penalty_failure)(
            authenticator->penalty, link_penalty_key(check->link), check->user, monotonic());
    link_post_login(check->link, good ? LINK_LOGIN_OK : LINK_LOGIN_FAILED, check->user);
    check_free(check);
}

static void *work(void *data)
{
    struct authenticator *authenticator = data;
    int64_t next;

    pthread_mutex_lock(&authenticator->lock);
    while (!authenticator->stopped) {
        struct check *check = take_due(authenticator, &next);

        if (check != NULL)
            run(authenticator, check);
        else
            wait_until(authenticator, next);
    }
    pthread_mutex_unlock(&authenticator->lock);
    return NULL;
}

struct authenticator *authenticator_new(struct users *users, char **problem)
{
    struct authenticator *authenticator = g_new0(struct authenticator, 1);
    pthread_condattr_t attributes;

    authenticator->users = users;
    authenticator->penalty = penalty_new();
    g_queue_init(&authenticator->waiting);
    pthread_mutex_init(&authenticator->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&authenticator->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    for (unsigned i = 0; i < AUTHENTICATOR_THREADS; i++) {
        int result = pthread_create(&authenticator->threads[i], NULL, work, authenticator);

        if (result != 0) {
            *problem = g_strdup_printf("thread: %s", g_strerror(result));
            authenticator_free(authenticator);
            return NULL;
        }
        authenticator->started++;
    }
    return authenticator;
}

void authenticator_set_delays(struct authenticator *authenticator, int64_t first, int64_t max)
{
    pthread_mutex_lock(&authenticator->lock);
    penalty_set_delays(authenticator->penalty, first, max);
    pthread_mutex_unlock(&authenticator->lock);
}

void authenticator_stop(struct authenticator *authenticator)
{
    pthread_mutex_lock(&authenticator->lock);
    authenticator->stopped = true;
    pthread_cond_broadcast(&authenticator->changed);
    pthread_mutex_unlock(&authenticator->lock);
    for (unsigned i = 0; i < authenticator->started; i++)
        pthread_join(authenticator->threads[i], NULL);
    authenticator->started = 0;
}

void authenticator_free(struct authenticator *authenticator)
{
    if (authenticator == NULL)
        return;
    authenticator_stop(authenticator);
    g_queue_clear_full(&authenticator->waiting, check_free);
    penalty_free(authenticator->penalty);
    pthread_cond_destroy(&authenticator->changed);
    pthread_mutex_destroy(&authenticator->lock);
    g_free(authenticator);
}

bool authenticator_submit(struct authenticator *authenticator, struct link *link, const char *user,
                          const char *password)
{
    pthread_mutex_lock(&authenticator->lock);
    bool room = authenticator->waiting.length < AUTHENTICATOR_QUEUE_MAX;

    if (room) {
        struct check *check = g_new0(struct check, 1);

        check->link = link_ref(link);
        check->user = g_strdup(user);
        check->password = g_strdup(password);
        g_queue_push_tail(&authenticator->waiting, check);
        pthread_cond_signal(&authenticator->changed);
    }
    pthread_mutex_unlock(&authenticator->lock);
    return room;
}
