/* The host as a machine that loses power: keeps what one file's blocks were before each write that
 * was not synced, so that a test can take any mixture of them for what the disk has.
 *
 *   struct lossy_host lossy;
 *   lossy_host_init(&lossy);
 *   ...use &lossy.host, on one file written with pwrite() at whole blocks...
 *   lossy_host_cut(&lossy, path, &random);    every block as before, between, after or torn
 *   lossy_host_release(&lossy);
 *
 * Nothing here waits for a disk.
 */
#ifndef ANNAL_TESTS_LOSSY_HOST_H
#define ANNAL_TESTS_LOSSY_HOST_H

#include <glib.h>
#include <stdint.h>

#include "store/host.h"

enum { LOSSY_BLOCK = 4096 };

struct lossy_host {
    struct host host;
    GArray *versions;     /* struct lossy_version: in the order of writing */
    unsigned fail_writes; /* so many to come fail in the middle */
    unsigned fail_syncs;  /* so many to come fail, and leave open what is on the disk */
};

void lossy_host_init(struct lossy_host *lossy);
void lossy_host_release(struct lossy_host *lossy);

/* Gives each block that was not synced one of its versions, or the beginning of one and the rest of
 * another; nobody has the file open. */
void lossy_host_cut(struct lossy_host *lossy, const char *path, uint32_t *random);

/* A xorshift generator; the state is not 0. */
uint32_t lossy_random(uint32_t *state);

#endif
