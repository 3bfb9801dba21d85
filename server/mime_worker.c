/* The confined process that parses messages for mime_pool.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/mime.h"
#include "server/commands.h"
#include "server/confine.h"
#include "server/mime_wire.h"
#include "store/memory.h"

enum {
    REQUEST_SECONDS = 5,          /* of processor time for one message */
    TRIM_BEYOND = 8 * 1024 * 1024 /* octets of a message after which memory is given back */
};

/* False at the end of the stream: the server is gone. */
static bool read_all(void *out, size_t length)
{
    size_t done = 0;

    while (done < length) {
        ssize_t got = recv(MIME_WIRE_FD, (char *)out + done, length - done, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool write_all(const void *data, size_t length, int flags)
{
    size_t done = 0;

    while (done < length) {
        ssize_t sent =
            send(MIME_WIRE_FD, (const char *)data + done, length - done, MSG_NOSIGNAL | flags);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        done += (size_t)sent;
    }
    return true;
}

/* Reads a request's header; *file is the descriptor that came with it, or -1. */
static bool read_request(struct mime_wire_request *request, int *file)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = request, .iov_len = sizeof *request};
    struct msghdr header = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t got;

    do {
        got = recvmsg(MIME_WIRE_FD, &header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof *request)
        return false;
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

    *file = -1;
    if (rights != NULL && rights->cmsg_type == SCM_RIGHTS)
        memcpy(file, CMSG_DATA(rights), sizeof *file);
    return true;
}

static void limit_processor_time(void)
{
    struct rusage used;
    struct rlimit time;

    if (getrusage(RUSAGE_SELF, &used) != 0 || getrlimit(RLIMIT_CPU, &time) != 0)
        return;
    time.rlim_cur = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1 + REQUEST_SECONDS);
    setrlimit(RLIMIT_CPU, &time);
}

static GBytes *parse(const struct mime_wire_request *request, const uint8_t *message)
{
    if (request->operation == MIME_WIRE_STRUCTURE)
        return mime_structure(message, request->length);
    return mime_text(message, request->length, (request->flags & MIME_WIRE_HEADER) != 0,
                     (request->flags & MIME_WIRE_BODY) != 0, MIME_TEXT_MAX);
}

static bool answer(const struct mime_wire_request *request, const uint8_t *message)
{
    limit_processor_time();
    GBytes *result = parse(request, message);
    struct mime_wire_reply reply = {.length = g_bytes_get_size(result)};
    bool sent = write_all(&reply, sizeof reply, reply.length > 0 ? MSG_MORE : 0) &&
                write_all(g_bytes_get_data(result, NULL), reply.length, 0);

    g_bytes_unref(result);
    if (request->length > TRIM_BEYOND)
        memory_give_back();
    return sent;
}

static bool serve_file(const struct mime_wire_request *request, int file)
{
    /* Private: gmime may take it for its own memory. */
    void *message = mmap(NULL, request->length, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);

    close(file);
    if (message == MAP_FAILED)
        return false;
    bool sent = answer(request, message);

    munmap(message, request->length);
    return sent;
}

static bool serve(void)
{
    static uint8_t buffer[MIME_WIRE_INLINE_MAX];
    struct mime_wire_request request;
    int file;

    if (!read_request(&request, &file))
        return false;
    if (file >= 0)
        return serve_file(&request, file);
    if (request.length > sizeof buffer || !read_all(buffer, request.length))
        return false;
    return answer(&request, buffer);
}

int command_mime_worker(int argc, char **argv)
{
    (void)argv;
    if (argc != 1)
        return 2;
    /* Whatever else is open belongs to the server. */
    close_range(MIME_WIRE_FD + 1, ~0U, 0);
    mime_init();
    if (!confine_self()) {
        perror("mime-worker");
        return 1;
    }
    while (serve())
        ;
    return 0;
}
