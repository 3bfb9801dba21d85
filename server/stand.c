#include "server/stand.h"

#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MICROSECONDS = 2000 };

struct stand {
    atomic_uint request; /* rises with each */
    pthread_mutex_t mutex;
    /* Under the mutex: */
    enum stand_state state;
    char *user;
    char *problem;
    unsigned owner;
    unsigned left; /* workers that have not done it */
    bool waits;    /* the owner has not gone on */
    int64_t since; /* seconds: when the state was set */
    /* Each the worker's own: */
    unsigned *seen;
    unsigned workers;
    char *data;
};

struct stand *stand_new(unsigned workers, const char *data)
{
    struct stand *stand = g_new0(struct stand, 1);

    stand->workers = workers;
    stand->seen = g_new0(unsigned, workers);
    stand->data = g_strdup(data);
    pthread_mutex_init(&stand->mutex, NULL);
    return stand;
}

void stand_free(struct stand *stand)
{
    if (stand == NULL)
        return;
    pthread_mutex_destroy(&stand->mutex);
    g_free(stand->user);
    g_free(stand->problem);
    g_free(stand->seen);
    g_free(stand->data);
    g_free(stand);
}

static int64_t seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void set_state(struct stand *stand, enum stand_state state)
{
    stand->state = state;
    stand->since = seconds();
}

bool stand_ask(struct stand *stand, const char *user, unsigned owner)
{
    bool accepted;

    pthread_mutex_lock(&stand->mutex);
    accepted = store_user_name_valid(user) && stand->left == 0 && !stand->waits;
    if (accepted) {
        g_free(stand->user);
        g_clear_pointer(&stand->problem, g_free);
        stand->user = g_strdup(user);
        stand->owner = owner;
        stand->left = stand->workers;
        stand->waits = true;
        set_state(stand, STAND_WAITING);
        stand->request++;
    }
    pthread_mutex_unlock(&stand->mutex);
    return accepted;
}

enum stand_state stand_state(struct stand *stand, char **problem)
{
    pthread_mutex_lock(&stand->mutex);
    enum stand_state state = stand->state;

    *problem = state == STAND_FAILED ? g_strdup(stand->problem) : NULL;
    pthread_mutex_unlock(&stand->mutex);
    return state;
}

/* Whether the other still has its time. */
static bool may_take_longer(struct stand *stand)
{
    pthread_mutex_lock(&stand->mutex);
    bool longer = (stand->state == STAND_WAITING || stand->state == STAND_STANDING) &&
                  seconds() < stand->since + STAND_SECONDS;
    pthread_mutex_unlock(&stand->mutex);
    return longer;
}

/* Until the other has let go of the lock. */
static void wait_for_lease(struct stand *stand, const char *user)
{
    char *path = g_strdup_printf("%s/mail/%s.git/annal-lease", stand->data, user);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    while (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && may_take_longer(stand))
        g_usleep(POLL_MICROSECONDS);
    if (fd >= 0)
        close(fd);
    g_free(path);
}

/* One worker is done; the last one makes it known. */
static void note(struct stand *stand, int result, const struct store_error *error)
{
    pthread_mutex_lock(&stand->mutex);
    if (result != STORE_OK && stand->problem == NULL)
        stand->problem = g_strdup(error->detail);
    if (--stand->left == 0)
        set_state(stand, stand->problem != NULL ? STAND_FAILED
                         : stand->waits         ? STAND_STANDING
                                                : STAND_NONE);
    pthread_mutex_unlock(&stand->mutex);
}

void stand_turn(struct stand *stand, unsigned worker, struct store *store)
{
    struct store_error error;

    if (stand->request == stand->seen[worker])
        return;
    pthread_mutex_lock(&stand->mutex);
    char *user = g_strdup(stand->user);
    bool owner = stand->owner == worker;

    stand->seen[worker] = stand->request;
    pthread_mutex_unlock(&stand->mutex);
    note(stand, store_stand(store, user, &error), &error);
    if (owner) {
        wait_for_lease(stand, user);
        pthread_mutex_lock(&stand->mutex);
        stand->waits = false;
        if (stand->state == STAND_STANDING)
            set_state(stand, STAND_NONE);
        pthread_mutex_unlock(&stand->mutex);
    }
    g_free(user);
}
