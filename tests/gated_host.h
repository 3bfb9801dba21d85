/* A host whose fsync() waits at a gate, and what store_set_wake() takes.
 *
 *   struct gated_host gated;
 *   gated_host_init(&gated, host_system());
 *   gated_host_shut(&gated);
 *   ...use &gated.host, gated_host_wake and &gated; gated_host_open(&gated)...
 *   gated_host_release(&gated);
 *
 * Threads may share it.
 */
#ifndef ANNAL_TESTS_GATED_HOST_H
#define ANNAL_TESTS_GATED_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "store/host.h"

struct gated_host {
    struct host host;
    const struct host *under; /* borrowed; its data is the one that is used */
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    bool is_open;
    atomic_uint woken; /* how often gated_host_wake() was called */
};

/* The gate is open. */
void gated_host_init(struct gated_host *gated, const struct host *under);
void gated_host_shut(struct gated_host *gated);
void gated_host_open(struct gated_host *gated);
void gated_host_release(struct gated_host *gated);

void gated_host_wake(void *gated);
/* Waits, some seconds at most, until it was called so often; false: it was not. */
bool gated_host_is_woken(const struct gated_host *gated, unsigned times);

#endif
