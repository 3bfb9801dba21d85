#include "store/processor.h"

#include <sched.h>
#include <stdbool.h>
#include <unistd.h>

/* The main thread is bound to none. */
static bool find_allowed(cpu_set_t *allowed)
{
    return sched_getaffinity(getpid(), sizeof(*allowed), allowed) == 0;
}

void processor_bind(unsigned index)
{
    cpu_set_t allowed, own;
    unsigned found = 0;

    if (!find_allowed(&allowed)) {
        return;
    }
    CPU_ZERO(&own);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &allowed) && found++ == index) {
            CPU_SET(i, &own);
        }
    }
    /* An empty set is refused. */
    sched_setaffinity(0, sizeof(own), &own);
}

void processor_unbind(pid_t thread)
{
    cpu_set_t allowed;

    if (find_allowed(&allowed)) {
        sched_setaffinity(thread, sizeof(allowed), &allowed);
    }
}
