#include "tests/gated_host.h"

#include <glib.h>

enum { PATIENCE_MSEC = 20 * 1000 };

static int wait_and_fsync(void *data, int fd)
{
    struct gated_host *gated = data;

    pthread_mutex_lock(&gated->mutex);
    while (!gated->is_open) {
        pthread_cond_wait(&gated->opened, &gated->mutex);
    }
    pthread_mutex_unlock(&gated->mutex);
    return gated->under->fsync(gated->under->data, fd);
}

void gated_host_init(struct gated_host *gated, const struct host *under)
{
    *gated = (struct gated_host){.host = *under, .under = under, .is_open = true};
    pthread_mutex_init(&gated->mutex, NULL);
    pthread_cond_init(&gated->opened, NULL);
    gated->host.data = gated; /* the functions of those that it is put upon need none */
    gated->host.fsync = wait_and_fsync;
}

static void move_gate(struct gated_host *gated, bool open)
{
    pthread_mutex_lock(&gated->mutex);
    gated->is_open = open;
    pthread_cond_broadcast(&gated->opened);
    pthread_mutex_unlock(&gated->mutex);
}

void gated_host_shut(struct gated_host *gated)
{
    move_gate(gated, false);
}

void gated_host_open(struct gated_host *gated)
{
    move_gate(gated, true);
}

void gated_host_release(struct gated_host *gated)
{
    pthread_cond_destroy(&gated->opened);
    pthread_mutex_destroy(&gated->mutex);
}

void gated_host_wake(void *data)
{
    struct gated_host *gated = data;

    atomic_fetch_add(&gated->woken, 1);
}

bool gated_host_is_woken(const struct gated_host *gated, unsigned times)
{
    for (unsigned i = 0; i < PATIENCE_MSEC && atomic_load(&gated->woken) < times; i++) {
        g_usleep(1000);
    }
    return atomic_load(&gated->woken) >= times;
}
