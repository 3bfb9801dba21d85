#include "server/export.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/message_stream.h"

void export_tell(const struct export_job *job, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    job->complain(text);
    g_free(text);
}

bool export_fail(const struct export_job *job, const char *path)
{
    export_tell(job, "%s: %s", path, strerror(errno));
    return false;
}

bool export_read(const struct export_job *job, struct mailbox *mailbox,
                 const struct message *message,
                 bool (*take)(void *data, const char *octets, size_t length), void *data)
{
    struct message_stream *stream = NULL;
    struct store_error error = {0};
    int result = mailbox_open_message(mailbox, &message->blob, &stream, &error);
    uint64_t length = result == 0 ? message_stream_length(stream) : 0;
    uint64_t offset = 0;
    bool done = true;

    while (result == 0 && done && offset < length) {
        GBytes *piece = NULL;
        gsize size;

        result = message_stream_read(stream, offset, length - offset, &piece, &error);
        if (result == 0) {
            const char *octets = g_bytes_get_data(piece, &size);

            done = take(data, octets, size);
            offset += size;
            g_bytes_unref(piece);
        }
    }
    message_stream_unref(stream);
    if (result != 0)
        export_tell(job, "%s, UID %u: %s: %s", mailbox_name(mailbox), message->uid,
                    store_code_name(error.code), error.detail);
    return result == 0 && done;
}

void export_count(struct export_job *job, const struct message *message, bool written)
{
    if (written) {
        job->counts.messages++;
        job->counts.octets += message->size;
    } else {
        job->counts.there++;
    }
    job->progress(job->data, job->counts.messages + job->counts.there);
}

bool export_make_directory(const struct export_job *job, const char *path)
{
    char *copy = g_strdup(path);
    bool done = true;

    for (char *slash = strchr(copy + 1, '/'); slash != NULL && done;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        done = mkdir(copy, 0700) == 0 || errno == EEXIST;
        *slash = '/';
    }
    done = done && (mkdir(copy, 0700) == 0 || errno == EEXIST);
    g_free(copy);
    return done ? true : export_fail(job, path);
}

struct export_file {
    char *path;
    char *unfinished;
    FILE *stream;
};

static void file_free(struct export_file *file)
{
    g_free(file->path);
    g_free(file->unfinished);
    g_free(file);
}

struct export_file *export_open(const struct export_job *job, const char *path)
{
    struct export_file *file = g_new0(struct export_file, 1);
    int fd;

    file->path = g_strdup(path);
    file->unfinished = g_strdup_printf("%s.unfinished", path);
    fd = open(file->unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    file->stream = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file->stream != NULL)
        return file;
    export_fail(job, file->unfinished);
    if (fd >= 0)
        close(fd);
    file_free(file);
    return NULL;
}

FILE *export_stream(struct export_file *file)
{
    return file->stream;
}

bool export_close(const struct export_job *job, struct export_file *file, bool good)
{
    bool written =
        fflush(file->stream) == 0 && ferror(file->stream) == 0 && fsync(fileno(file->stream)) == 0;

    written = fclose(file->stream) == 0 && written;
    if (good && written && rename(file->unfinished, file->path) != 0)
        written = false;
    if (good && !written)
        export_fail(job, file->path);
    if (!good || !written)
        unlink(file->unfinished);
    file_free(file);
    return good && written;
}
