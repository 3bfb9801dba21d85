/* Processes that parse those of strangers' messages that may cost much (the others are parsed where
 * they are wanted, see protocol/mime_parse.h), so that a message can cost its own ENVELOPE and
 * nothing else. Calls block until there is a free process and it has answered, or its time is over;
 * any number of threads may call. */
#ifndef ANNAL_SERVER_MIME_POOL_H
#define ANNAL_SERVER_MIME_POOL_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mime_pool;

struct mime_pool_settings {
    const char *program;     /* run as: program argument, with an empty environment */
    const char *argument;    /* its one argument, e.g. "mime-worker" */
    unsigned processes;      /* at least 1 */
    int64_t request_timeout; /* microseconds for one message; then the process is killed */
    int64_t wait_timeout;    /* microseconds for a free process */
};

enum {
    MIME_POOL_REQUEST_TIMEOUT = 10 * 1000 * 1000,
    MIME_POOL_WAIT_TIMEOUT = 30 * 1000 * 1000,
};

/* Starts the processes. NULL with *problem (a new string) if the first can't be started. */
struct mime_pool *mime_pool_new(const struct mime_pool_settings *settings, char **problem);
/* No call may be running. */
void mime_pool_free(struct mime_pool *pool); /* accepts NULL */
/* From now on every call, also one that is running, fails at once. */
void mime_pool_stop(struct mime_pool *pool);

/* A message's structure record; never NULL. A message that uses up a process's processor time, or
 * that costs two processes in a row, gets structure_plain() with *final true; if there was no
 * process or no answer in time, *final is false. */
GBytes *mime_pool_structure(struct mime_pool *pool, const uint8_t *message, size_t length,
                            bool *final);
/* Its searchable text; NULL if it can't be had. */
GBytes *mime_pool_text(struct mime_pool *pool, const uint8_t *message, size_t length, bool header,
                       bool body);

#endif
