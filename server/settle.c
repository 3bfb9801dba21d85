#include "server/settle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct settle {
    atomic_uint references;
    char *user;
    int fd;
    char *problem; /* constant from done on */
    atomic_bool done;
};

struct settling {
    pthread_mutex_t mutex;
    unsigned workers;
    atomic_bool *asked; /* each worker's: its queue is not empty */
    GQueue *queues;     /* under the mutex: of struct settle *, referenced; one for each worker */
};

struct settling *settling_new(unsigned workers)
{
    struct settling *settling = g_new0(struct settling, 1);

    pthread_mutex_init(&settling->mutex, NULL);
    settling->workers = workers;
    settling->asked = g_new0(atomic_bool, workers);
    settling->queues = g_new0(GQueue, workers);
    for (unsigned i = 0; i < workers; i++)
        g_queue_init(&settling->queues[i]);
    return settling;
}

static void drop(void *settle)
{
    settle_unref(settle);
}

void settling_free(struct settling *settling)
{
    if (settling == NULL)
        return;
    for (unsigned i = 0; i < settling->workers; i++)
        g_queue_clear_full(&settling->queues[i], drop);
    pthread_mutex_destroy(&settling->mutex);
    g_free(settling->queues);
    g_free(settling->asked);
    g_free(settling);
}

/* --- who asks --- */

struct settle *settling_ask(struct settling *settling, const char *user, unsigned worker)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return NULL;
    struct settle *settle = g_new0(struct settle, 1);

    settle->references = 2;
    settle->user = g_strdup(user);
    settle->fd = fd;
    pthread_mutex_lock(&settling->mutex);
    g_queue_push_tail(&settling->queues[worker], settle);
    settling->asked[worker] = true;
    pthread_mutex_unlock(&settling->mutex);
    return settle;
}

void settle_unref(struct settle *settle)
{
    if (settle == NULL || --settle->references > 0)
        return;
    close(settle->fd);
    g_free(settle->user);
    g_free(settle->problem);
    g_free(settle);
}

int settle_fd(const struct settle *settle)
{
    return settle->fd;
}

bool settle_done(const struct settle *settle, const char **problem)
{
    bool done = settle->done;

    *problem = done ? settle->problem : NULL;
    return done;
}

/* --- the worker --- */

/* What is left of the queue is seen to in the same turn: a request is a matter of milliseconds. */
static struct settle *take(struct settling *settling, unsigned worker)
{
    pthread_mutex_lock(&settling->mutex);
    struct settle *settle = g_queue_pop_head(&settling->queues[worker]);

    settling->asked[worker] = settle != NULL;
    pthread_mutex_unlock(&settling->mutex);
    return settle;
}

void settling_turn(struct settling *settling, unsigned worker, struct store *store)
{
    struct store_error error;
    struct settle *settle;

    while (settling->asked[worker] && (settle = take(settling, worker)) != NULL) {
        if (store_settle(store, settle->user, &error) != STORE_OK)
            settle->problem = g_strdup(error.detail);
        settle->done = true;
        eventfd_write(settle->fd, 1);
        settle_unref(settle);
    }
}
