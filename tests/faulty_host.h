/* The host with faults: counts the store's calls and makes chosen ones fail.
 *
 *   struct faulty_host faulty;
 *   faulty_host_init(&faulty);
 *   faulty.fail_at = 3; ...use &faulty.host...
 *
 * Threads may share it. Calls count from 1; now() is not one. A close that fails has closed, a
 * write that fails has written a part, anything else that fails has done nothing.
 */
#ifndef ANNAL_TESTS_FAULTY_HOST_H
#define ANNAL_TESTS_FAULTY_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/host.h"

struct faulty_host {
    struct host host;
    atomic_uint calls;   /* so far */
    unsigned fail_at;    /* this call fails; 0: none */
    bool stop;           /* ... and every later one, as if the machine had stopped there */
    int number;          /* the errno: EIO at first */
    atomic_bool failed;  /* a call has failed */
    int64_t time_offset; /* microseconds added to now() */
};

void faulty_host_init(struct faulty_host *faulty);

/* Counts anew, with a fault at this call. */
void faulty_host_arm(struct faulty_host *faulty, unsigned fail_at, bool stop, int number);

#endif
