#include "server/mime_pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/structure.h"
#include "server/log.h"
#include "server/mime_wire.h"
#include "store/processor.h"

struct process {
    pid_t pid; /* 0: not running; changed under the pool's lock */
    int fd;
};

struct mime_pool {
    char *program;
    char *argument;
    int64_t request_timeout;
    int64_t wait_timeout;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    bool stopped;
    struct process *processes;
    unsigned count;
    GQueue free; /* struct process *, running or not */
};

static int64_t monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* --- starting and ending processes --- */

static int spawn(const struct mime_pool *pool, int fd, pid_t *pid)
{
    char *const arguments[] = {pool->program, pool->argument, NULL};
    char *const environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fd, MIME_WIRE_FD);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* A group of its own: a terminal's ^C is for the server alone. */
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    int result = posix_spawn(pid, pool->program, &actions, &attributes, arguments, environment);

    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

static bool process_start(struct mime_pool *pool, struct process *process)
{
    int fds[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return false;
    int result = spawn(pool, fds[1], &pid);

    close(fds[1]);
    if (result != 0) {
        close(fds[0]);
        errno = result;
        return false;
    }
    /* Whoever needs another one may be bound. */
    processor_unbind(pid);
    process->fd = fds[0];
    pthread_mutex_lock(&pool->lock);
    process->pid = pid;
    if (pool->stopped)
        kill(pid, SIGKILL);
    pthread_mutex_unlock(&pool->lock);
    return true;
}

/* Kills it and returns its wait status. */
static int process_end(struct mime_pool *pool, struct process *process)
{
    pid_t pid = process->pid;
    int status = 0;

    if (pid == 0)
        return 0;
    pthread_mutex_lock(&pool->lock);
    process->pid = 0;
    pthread_mutex_unlock(&pool->lock);
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(process->fd);
    process->fd = -1;
    return status;
}

struct mime_pool *mime_pool_new(const struct mime_pool_settings *settings, char **problem)
{
    struct mime_pool *pool = g_new0(struct mime_pool, 1);
    pthread_condattr_t attributes;

    assert(settings->processes > 0);
    pool->program = g_strdup(settings->program);
    pool->argument = g_strdup(settings->argument);
    pool->request_timeout = settings->request_timeout;
    pool->wait_timeout = settings->wait_timeout;
    pool->count = settings->processes;
    pool->processes = g_new0(struct process, pool->count);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &attributes);
    pthread_condattr_destroy(&attributes);
    g_queue_init(&pool->free);
    for (unsigned i = 0; i < pool->count; i++) {
        struct process *process = &pool->processes[i];

        if (!process_start(pool, process)) {
            *problem = g_strdup_printf("%s: %s", pool->program, g_strerror(errno));
            mime_pool_free(pool);
            return NULL;
        }
        g_queue_push_tail(&pool->free, process);
    }
    return pool;
}

void mime_pool_free(struct mime_pool *pool)
{
    if (pool == NULL)
        return;
    for (unsigned i = 0; i < pool->count; i++)
        process_end(pool, &pool->processes[i]);
    g_queue_clear(&pool->free);
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
    g_free(pool->processes);
    g_free(pool->program);
    g_free(pool->argument);
    g_free(pool);
}

void mime_pool_stop(struct mime_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopped = true;
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->processes[i].pid != 0)
            kill(pool->processes[i].pid, SIGKILL);
    }
    pthread_cond_broadcast(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

static struct process *acquire(struct mime_pool *pool)
{
    int64_t deadline = monotonic() + pool->wait_timeout;
    struct timespec until = {.tv_sec = deadline / 1000000, .tv_nsec = deadline % 1000000 * 1000};
    struct process *process = NULL;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stopped && pool->free.length == 0) {
        if (pthread_cond_timedwait(&pool->freed, &pool->lock, &until) == ETIMEDOUT)
            break;
    }
    /* The one used last is the warmest. */
    if (!pool->stopped)
        process = g_queue_pop_head(&pool->free);
    pthread_mutex_unlock(&pool->lock);
    return process;
}

static void release(struct mime_pool *pool, struct process *process)
{
    pthread_mutex_lock(&pool->lock);
    g_queue_push_head(&pool->free, process);
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

/* --- one request --- */

enum exchange {
    EXCHANGE_OK,
    EXCHANGE_DIED,
    EXCHANGE_SPENT,   /* killed for its processor time */
    EXCHANGE_TIMEOUT, /* no answer in time */
    EXCHANGE_NONE,    /* no process, no memory */
};

/* False when the deadline has passed. */
static bool wait_for(int fd, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - monotonic();
        struct pollfd pollfd = {.fd = fd, .events = events};

        if (left <= 0)
            return false;
        int result = poll(&pollfd, 1, (int)(left / 1000) + 1);

        if (result > 0)
            return true;
        if (result < 0 && errno != EINTR)
            return false;
    }
}

/* A memory file with the message; -1 if there is no memory. */
static int memory_file(const uint8_t *message, size_t length)
{
    int fd = memfd_create("message", MFD_CLOEXEC);
    size_t done = 0;

    if (fd < 0)
        return -1;
    while (done < length) {
        ssize_t written = write(fd, message + done, length - done);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)written;
    }
    return fd;
}

/* Sends the header, and with it either the descriptor or the first octets of the message. */
static ssize_t send_start(int fd, const struct mime_wire_request *request, const uint8_t *message,
                          int file)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec parts[2] = {
        {.iov_base = (void *)request, .iov_len = sizeof *request},
        {.iov_base = (void *)message, .iov_len = file < 0 ? request->length : 0},
    };
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};

    if (file >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof file);
        memcpy(CMSG_DATA(rights), &file, sizeof file);
    }
    return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static enum exchange send_request(int fd, const struct mime_wire_request *request,
                                  const uint8_t *message, int file, int64_t deadline)
{
    ssize_t sent = send_start(fd, request, message, file);

    /* The socket is empty between requests: the header always goes whole. */
    if (sent < (ssize_t)sizeof *request)
        return EXCHANGE_DIED;
    size_t done = (size_t)sent - sizeof *request;

    while (file < 0 && done < request->length) {
        if (!wait_for(fd, POLLOUT, deadline))
            return EXCHANGE_TIMEOUT;
        sent = send(fd, message + done, request->length - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return EXCHANGE_DIED;
        done += sent > 0 ? (size_t)sent : 0;
    }
    return EXCHANGE_OK;
}

static enum exchange receive(int fd, void *out, size_t length, int64_t deadline)
{
    size_t done = 0;

    while (done < length) {
        if (!wait_for(fd, POLLIN, deadline))
            return EXCHANGE_TIMEOUT;
        ssize_t got = recv(fd, (char *)out + done, length - done, MSG_DONTWAIT);

        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return EXCHANGE_DIED;
        done += got > 0 ? (size_t)got : 0;
    }
    return EXCHANGE_OK;
}

static enum exchange receive_reply(int fd, GBytes **out, int64_t deadline)
{
    struct mime_wire_reply reply;
    enum exchange result = receive(fd, &reply, sizeof reply, deadline);

    if (result != EXCHANGE_OK)
        return result;
    if (reply.length > MIME_WIRE_REPLY_MAX)
        return EXCHANGE_DIED;
    uint8_t *bytes = g_try_malloc(reply.length + 1);

    if (bytes == NULL)
        return EXCHANGE_NONE;
    result = receive(fd, bytes, reply.length, deadline);
    if (result == EXCHANGE_OK)
        *out = g_bytes_new_take(bytes, reply.length);
    else
        g_free(bytes);
    return result;
}

/* One attempt with one process, which is ended unless it answered. */
static enum exchange attempt(struct mime_pool *pool, struct process *process,
                             const struct mime_wire_request *request, const uint8_t *message,
                             GBytes **out)
{
    int64_t deadline = monotonic() + pool->request_timeout;
    int file = -1;

    if (process->pid == 0 && !process_start(pool, process))
        return EXCHANGE_NONE;
    if (request->length > MIME_WIRE_INLINE_MAX) {
        file = memory_file(message, request->length);
        if (file < 0)
            return EXCHANGE_NONE;
    }
    enum exchange result = send_request(process->fd, request, message, file, deadline);

    if (file >= 0)
        close(file);
    if (result == EXCHANGE_OK)
        result = receive_reply(process->fd, out, deadline);
    if (result == EXCHANGE_OK)
        return result;
    int status = process_end(pool, process);

    if (result == EXCHANGE_DIED && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        result = EXCHANGE_SPENT;
    log_line(LOG_LEVEL_WARNING, NULL,
             "event=mime-failed reason=%s status=%d octets=%" G_GUINT64_FORMAT,
             result == EXCHANGE_TIMEOUT ? "timeout"
             : result == EXCHANGE_SPENT ? "cpu"
                                        : "died",
             status, request->length);
    return result;
}

static enum exchange exchange(struct mime_pool *pool, const struct mime_wire_request *request,
                              const uint8_t *message, GBytes **out)
{
    struct process *process = acquire(pool);

    if (process == NULL)
        return EXCHANGE_NONE;
    enum exchange result = attempt(pool, process, request, message, out);

    /* It may have been dying already: a fresh process tells. */
    if (result == EXCHANGE_DIED)
        result = attempt(pool, process, request, message, out);
    release(pool, process);
    return result;
}

static bool is_stopped(struct mime_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool stopped = pool->stopped;

    pthread_mutex_unlock(&pool->lock);
    return stopped;
}

GBytes *mime_pool_structure(struct mime_pool *pool, const uint8_t *message, size_t length,
                            bool *final)
{
    struct mime_wire_request request = {.operation = MIME_WIRE_STRUCTURE, .length = length};
    GBytes *record = NULL;
    enum exchange result = exchange(pool, &request, message, &record);

    *final = result == EXCHANGE_OK ||
             ((result == EXCHANGE_DIED || result == EXCHANGE_SPENT) && !is_stopped(pool));
    return record != NULL ? record : structure_plain(message, length);
}

GBytes *mime_pool_text(struct mime_pool *pool, const uint8_t *message, size_t length, bool header,
                       bool body)
{
    struct mime_wire_request request = {
        .operation = MIME_WIRE_TEXT,
        .flags = (header ? MIME_WIRE_HEADER : 0) | (body ? MIME_WIRE_BODY : 0),
        .length = length,
    };
    GBytes *text = NULL;

    exchange(pool, &request, message, &text);
    return text;
}
