#include "store/internal/errand.h"

#include <assert.h>
#include <glib.h>
#include <pthread.h>

#include "store/internal/pack.h"
#include "store/processor.h"

struct errand {
    struct errands *errands;
    int (*run)(void *data, struct store_error *error);
    void *data;
    bool done;
    int result;
    struct store_error error;
};

struct errands {
    pthread_t thread;
    pthread_mutex_t mutex; /* of all that follows and of what errands hold */
    pthread_cond_t posted;
    pthread_cond_t ended;
    GQueue waiting; /* struct errand *, borrowed */
    bool busy;      /* one is being run */
    bool stop;
};

static void *work(void *data)
{
    struct errands *errands = data;

    /* Who started it may be bound. */
    processor_unbind(0);
    pthread_mutex_lock(&errands->mutex);
    while (!errands->stop) {
        struct errand *errand = g_queue_pop_head(&errands->waiting);

        if (errand == NULL) {
            pthread_cond_wait(&errands->posted, &errands->mutex);
            continue;
        }
        errands->busy = true;
        pthread_mutex_unlock(&errands->mutex);
        int result = errand->run(errand->data, &errand->error);
        pthread_mutex_lock(&errands->mutex);
        errands->busy = false;
        errand->result = result;
        errand->done = true;
        pthread_cond_signal(&errands->ended);
    }
    pthread_mutex_unlock(&errands->mutex);
    return NULL;
}

int errands_new(struct errands **out, struct store_error *error)
{
    struct errands *errands = g_new0(struct errands, 1);

    pthread_mutex_init(&errands->mutex, NULL);
    pthread_cond_init(&errands->posted, NULL);
    pthread_cond_init(&errands->ended, NULL);
    g_queue_init(&errands->waiting);
    int number = pthread_create(&errands->thread, NULL, work, errands);

    if (number != 0) {
        pthread_cond_destroy(&errands->ended);
        pthread_cond_destroy(&errands->posted);
        pthread_mutex_destroy(&errands->mutex);
        g_free(errands);
        return host_fail(error, -number, "starting a thread");
    }
    *out = errands;
    return 0;
}

void errands_free(struct errands *errands)
{
    if (errands == NULL) {
        return;
    }
    pthread_mutex_lock(&errands->mutex);
    assert(g_queue_is_empty(&errands->waiting));
    errands->stop = true;
    pthread_cond_signal(&errands->posted);
    pthread_mutex_unlock(&errands->mutex);
    pthread_join(errands->thread, NULL);
    pthread_cond_destroy(&errands->ended);
    pthread_cond_destroy(&errands->posted);
    pthread_mutex_destroy(&errands->mutex);
    g_free(errands);
}

struct errand *errand_post(struct errands *errands,
                           int (*run)(void *data, struct store_error *error), void *data)
{
    struct errand *errand = g_new0(struct errand, 1);

    errand->errands = errands;
    errand->run = run;
    errand->data = data;
    pthread_mutex_lock(&errands->mutex);
    g_queue_push_tail(&errands->waiting, errand);
    pthread_cond_signal(&errands->posted);
    pthread_mutex_unlock(&errands->mutex);
    return errand;
}

bool errands_are_idle(struct errands *errands)
{
    pthread_mutex_lock(&errands->mutex);
    bool idle = !errands->busy && g_queue_is_empty(&errands->waiting);

    pthread_mutex_unlock(&errands->mutex);
    return idle;
}

bool errand_is_done(struct errand *errand)
{
    pthread_mutex_lock(&errand->errands->mutex);
    bool done = errand->done;

    pthread_mutex_unlock(&errand->errands->mutex);
    return done;
}

int errand_wait(struct errand *errand, struct store_error *error)
{
    struct errands *errands = errand->errands;

    pthread_mutex_lock(&errands->mutex);
    while (!errand->done) {
        pthread_cond_wait(&errands->ended, &errands->mutex);
    }
    pthread_mutex_unlock(&errands->mutex);
    int result = errand->result;

    if (result < 0) {
        *error = errand->error;
    }
    g_free(errand);
    return result;
}
