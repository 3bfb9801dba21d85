#include "plain_writers.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    RECORD = 64, /* octets of a log's record */
    BLOCK = 4096,
    RING = 32 * 1024 * 1024, /* octets of the file that is overwritten */
    NAME_SIZE = 64,
};

/* What all writers of a run have in common. */
struct writing {
    enum plain_kind kind;
    enum plain_work work;
    unsigned writers;
    const void *message;
    size_t length;
    double seconds;
};

struct writer {
    const struct writing *writing;
    pthread_barrier_t *start;
    char *path;
    int directory, file, log;
    uint64_t done;
    double until;
};

double plain_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void plain_fail(const char *what)
{
    fprintf(stderr, "store-bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void must(bool good, const char *what)
{
    if (!good)
        plain_fail(what);
}

static void write_all(int fd, const void *bytes, size_t length)
{
    must(write(fd, bytes, length) == (ssize_t)length, "write");
}

static int open_in(const char *path, const char *name, int flags)
{
    char *full = g_build_filename(path, name, NULL);
    int fd = open(full, flags | O_CLOEXEC, 0600);

    must(fd >= 0, full);
    g_free(full);
    return fd;
}

static void make_directory(const char *path, const char *name)
{
    char *full = g_build_filename(path, name, NULL);

    must(mkdir(full, 0700) == 0, full);
    g_free(full);
}

/* --- one operation --- */

static void deliver_file(const struct writer *writer, uint64_t number, bool durable)
{
    const struct writing *writing = writer->writing;
    char from[NAME_SIZE], to[NAME_SIZE];
    int fd;

    snprintf(from, sizeof from, "tmp/%" PRIu64, number);
    snprintf(to, sizeof to, "cur/%" PRIu64 ":2,", number);
    fd = openat(writer->directory, from, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    must(fd >= 0, from);
    if (writing != NULL)
        write_all(fd, writing->message, writing->length);
    must(!durable || fsync(fd) == 0, "fsync");
    close(fd);
    must(renameat(writer->directory, from, writer->directory, to) == 0, to);
    must(!durable || fsync(writer->file) == 0, "fsync of a directory");
}

static void rename_file(const struct writer *writer, uint64_t number)
{
    char plain[NAME_SIZE], flagged[NAME_SIZE];
    uint64_t message = number % PLAIN_MESSAGES;
    bool set = number / PLAIN_MESSAGES % 2 == 0;

    snprintf(plain, sizeof plain, "cur/%" PRIu64 ":2,", message);
    snprintf(flagged, sizeof flagged, "cur/%" PRIu64 ":2,F", message);
    must(renameat(writer->directory, set ? plain : flagged, writer->directory,
                  set ? flagged : plain) == 0,
         "rename");
    must(fsync(writer->file) == 0, "fsync of a directory");
}

static void append_record(const struct writer *writer, uint64_t number, bool durable)
{
    char record[RECORD] = {0};

    memcpy(record, &number, sizeof number);
    write_all(writer->log, record, sizeof record);
    must(!durable || fdatasync(writer->log) == 0, "fdatasync");
}

static void append_message(const struct writer *writer, uint64_t number)
{
    write_all(writer->file, writer->writing->message, writer->writing->length);
    must(fdatasync(writer->file) == 0, "fdatasync");
    append_record(writer, number, true);
}

/* Those of all writers at once. */
static void overwrite(const struct writer *writer, uint64_t number)
{
    static const char block[PLAIN_WRITERS_MAX * BLOCK];
    size_t length = (size_t)writer->writing->writers * BLOCK;
    off_t at = (off_t)(number / writer->writing->writers % (RING / length) * length);

    must(pwrite(writer->file, block, length, at) == (ssize_t)length, "pwrite");
    must(fdatasync(writer->file) == 0, "fdatasync");
}

static uint64_t operate(const struct writer *writer, uint64_t number)
{
    bool append = writer->writing->work == PLAIN_APPEND;

    switch (writer->writing->kind) {
    case PLAIN_MAILDIR:
        if (append)
            deliver_file(writer, number, true);
        else
            rename_file(writer, number);
        return 1;
    case PLAIN_MDBOX:
        if (append)
            append_message(writer, number);
        else
            append_record(writer, number, true);
        return 1;
    case PLAIN_DISK:
        overwrite(writer, number);
        return writer->writing->writers;
    }
    return 0;
}

/* --- writers --- */

static void fill_ring(int fd)
{
    char *bytes = g_malloc0(RING);

    write_all(fd, bytes, RING);
    must(fsync(fd) == 0, "fsync");
    g_free(bytes);
}

static void open_writer(struct writer *writer, enum plain_kind kind)
{
    must(mkdir(writer->path, 0700) == 0, writer->path);
    writer->directory = open(writer->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(writer->directory >= 0, writer->path);
    writer->log = -1;
    switch (kind) {
    case PLAIN_MAILDIR:
        make_directory(writer->path, "tmp");
        make_directory(writer->path, "cur");
        writer->file = open_in(writer->path, "cur", O_RDONLY | O_DIRECTORY);
        return;
    case PLAIN_MDBOX:
        writer->file = open_in(writer->path, "m.1", O_CREAT | O_WRONLY | O_APPEND);
        writer->log = open_in(writer->path, "log", O_CREAT | O_WRONLY | O_APPEND);
        return;
    case PLAIN_DISK:
        writer->file = open_in(writer->path, "ring", O_CREAT | O_WRONLY);
        fill_ring(writer->file);
        return;
    }
}

static void close_writer(struct writer *writer)
{
    close(writer->directory);
    close(writer->file);
    if (writer->log >= 0)
        close(writer->log);
    g_free(writer->path);
}

static void *write_on(void *data)
{
    struct writer *writer = data;
    double end;

    pthread_barrier_wait(writer->start);
    end = plain_now() + writer->writing->seconds;
    while (plain_now() < end)
        writer->done += operate(writer, writer->done);
    writer->until = plain_now();
    return NULL;
}

static double run_threads(struct writer *writers, unsigned count)
{
    pthread_barrier_t barrier;
    pthread_t threads[PLAIN_WRITERS_MAX];
    uint64_t done = 0;
    double start, end = 0;

    must(pthread_barrier_init(&barrier, NULL, count + 1) == 0, "barrier");
    for (unsigned i = 0; i < count; i++) {
        writers[i].start = &barrier;
        must(pthread_create(&threads[i], NULL, write_on, &writers[i]) == 0, "thread");
    }
    pthread_barrier_wait(&barrier);
    start = plain_now();
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        done += writers[i].done;
        end = MAX(end, writers[i].until);
    }
    pthread_barrier_destroy(&barrier);
    return (double)done / (end - start);
}

double plain_run(enum plain_kind kind, enum plain_work work, const char *directory,
                 unsigned writers, double seconds, const void *message, size_t length)
{
    struct writing writing = {
        .kind = kind,
        .work = work,
        .writers = writers,
        .message = message,
        .length = length,
        .seconds = seconds,
    };
    struct writer all[PLAIN_WRITERS_MAX] = {0};
    unsigned threads = kind == PLAIN_DISK ? 1 : writers;
    double rate;

    assert(writers > 0 && writers <= PLAIN_WRITERS_MAX);
    must(mkdir(directory, 0700) == 0, directory);
    for (unsigned i = 0; i < threads; i++) {
        all[i].writing = &writing;
        all[i].path = g_strdup_printf("%s/%u", directory, i);
        open_writer(&all[i], kind);
        for (uint64_t number = 0;
             kind == PLAIN_MAILDIR && work == PLAIN_FLAG && number < PLAIN_MESSAGES; number++)
            deliver_file(&all[i], number, false);
    }
    sync();
    rate = run_threads(all, threads);
    for (unsigned i = 0; i < threads; i++)
        close_writer(&all[i]);
    return rate;
}

/* --- opening a mailbox --- */

void plain_fill(enum plain_kind kind, const char *directory, unsigned messages)
{
    struct writer writer = {.path = g_strdup(directory)};

    assert(kind != PLAIN_DISK);
    open_writer(&writer, kind);
    for (uint64_t number = 0; number < messages; number++) {
        if (kind == PLAIN_MAILDIR)
            deliver_file(&writer, number, false);
        else
            append_record(&writer, number, false);
    }
    close_writer(&writer);
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void list_files(const char *directory, GArray *numbers)
{
    char *path = g_build_filename(directory, "cur", NULL);
    DIR *stream = opendir(path);
    const struct dirent *entry;

    must(stream != NULL, path);
    while ((entry = readdir(stream)) != NULL) {
        uint64_t number = strtoull(entry->d_name, NULL, 10);

        if (entry->d_name[0] != '.')
            g_array_append_val(numbers, number);
    }
    closedir(stream);
    g_free(path);
    qsort(numbers->data, numbers->len, sizeof(uint64_t), compare_numbers);
}

static void read_log(const char *directory, GArray *numbers)
{
    char buffer[RECORD * 1024];
    int fd = open_in(directory, "log", O_RDONLY);
    ssize_t count;

    while ((count = read(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t at = 0; at + RECORD <= count; at += RECORD)
            g_array_append_vals(numbers, buffer + at, 1);
    }
    must(count == 0, "read");
    close(fd);
}

double plain_select(enum plain_kind kind, const char *directory, unsigned messages)
{
    GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    double start = plain_now(), took;

    assert(kind != PLAIN_DISK);
    if (kind == PLAIN_MAILDIR)
        list_files(directory, numbers);
    else
        read_log(directory, numbers);
    took = plain_now() - start;
    if (numbers->len != messages) {
        errno = ENODATA;
        plain_fail(directory);
    }
    g_array_unref(numbers);
    return took;
}
