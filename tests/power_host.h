/* The host as a machine that loses power: keeps what a directory's disk has for sure beside what
 * was only written, and makes directories such as a power cut may leave.
 *
 *   struct power_host *power = power_host_new(directory);    all that is there now is durable
 *   ...use power_host_table(power) on that directory...
 *   power_host_cut(power, copy, POWER_TORN, &random);        the same directory after a cut
 *   power_host_free(power);
 *
 * A file's octets become durable by fsync() or fdatasync(), names by fsync_directory() on their
 * directory, everything by syncfs(). Nothing here waits for a disk. The clock stands still and the
 * random octets are always the same ones. Whatever is written past the table (caches, the lists of
 * locks) is on no disk; what is below cache/ is copied as it is unless the cut is POWER_LOST.
 */
#ifndef ANNAL_TESTS_POWER_HOST_H
#define ANNAL_TESTS_POWER_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "store/host.h"

enum { POWER_BLOCK = 4096 };

enum power_cut {
    POWER_LOST,    /* nothing but what is durable */
    POWER_WRITTEN, /* everything: only the process came to its end */
    POWER_TORN,    /* any of the blocks, lengths and names that were not synced; a name without
                    * its file's octets, too */
};

struct power_host;

struct power_host *power_host_new(const char *directory);
void power_host_free(struct power_host *power);

const struct host *power_host_table(struct power_host *power);

/* Called before each call that changes something, with its number, from 1. */
typedef void (*power_watch)(void *data, unsigned call);
void power_host_watch(struct power_host *power, power_watch watch, void *data);

/* Microseconds since the Unix epoch; at first an hour ago. */
int64_t power_host_time(const struct power_host *power);
void power_host_wait(struct power_host *power, int64_t microseconds);

/* Makes the directory to, which must not exist, as a cut now may leave it. */
void power_host_cut(struct power_host *power, const char *to, enum power_cut cut, uint32_t *random);

/* A file as it was last written, though it may be gone; NULL when there never was one. path is
 * relative to the directory. */
const void *power_host_content(struct power_host *power, const char *path, size_t *length);

/* A xorshift generator; the state is not 0. */
uint32_t power_random(uint32_t *state);

#endif
