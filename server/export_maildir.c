#include "server/export_maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/dovecot_files.h"
#include "server/import_maildir.h"

/* One folder being written. */
struct writing {
    struct export_job *job;
    struct mailbox *mailbox;
    const struct snapshot *snapshot;
    char *path;
    GHashTable *there; /* char * (file name up to its first ',') -> char * (all of it), in cur */
    uint64_t letters[DOVECOT_KEYWORDS]; /* the keyword's bit, or 0 */
    struct export_file *uidlist;
};

/* What a file needs to be given its last name. */
struct message_file {
    FILE *stream;
    uint64_t virtual_size; /* with CRLF for each LF */
    char last;
};

/* --- the directory --- */

static bool is_empty_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *found;
    bool empty = true;

    while (directory != NULL && empty && (found = readdir(directory)) != NULL)
        empty = strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0;
    if (directory != NULL)
        closedir(directory);
    return empty;
}

bool export_maildir_begin(const struct export_job *job, const char *directory)
{
    char *mark = g_strdup_printf("%s/" IMPORT_MAILDIR_EXACT, directory);
    struct export_file *file = NULL;
    bool done = true;

    if (access(mark, F_OK) != 0) {
        done = is_empty_directory(directory);
        if (!done)
            export_tell(job, "%s: neither empty nor made by an earlier export", directory);
        done = done && export_make_directory(job, directory);
        file = done ? export_open(job, mark) : NULL;
        done = file != NULL;
        if (done)
            fputs("Files below hold the exact octets of messages.\n", export_stream(file));
        done = done && export_close(job, file, true);
    }
    g_free(mark);
    return done;
}

static bool make_folder(const struct export_job *job, const char *path)
{
    static const char *const parts[] = {"cur", "new", "tmp"};
    bool done = true;

    for (size_t i = 0; done && i < G_N_ELEMENTS(parts); i++) {
        char *part = g_strdup_printf("%s/%s", path, parts[i]);

        done = export_make_directory(job, part);
        g_free(part);
    }
    return done;
}

/* --- names --- */

/* What a message's file is called whatever its flags are; for g_free(). */
static char *base_name(const struct snapshot *snapshot, const struct message *message)
{
    return g_strdup_printf("%" G_GINT64_FORMAT ".V%uU%u.annal", MAX(message->internal_date, 0),
                           snapshot_uid_validity(snapshot), message->uid);
}

/* Flags in the order of their letters, as Maildir demands. */
static void append_flags(GString *name, const struct writing *writing,
                         const struct message *message)
{
    static const struct {
        char letter;
        uint8_t flag;
    } letters[] = {
        {'D', MESSAGE_DRAFT}, {'F', MESSAGE_FLAGGED}, {'R', MESSAGE_ANSWERED},
        {'S', MESSAGE_SEEN},  {'T', MESSAGE_DELETED},
    };

    g_string_append(name, ":2,");
    for (size_t i = 0; i < G_N_ELEMENTS(letters); i++)
        if ((message->flags & letters[i].flag) != 0)
            g_string_append_c(name, letters[i].letter);
    for (int i = 0; i < DOVECOT_KEYWORDS; i++)
        if ((message->keywords & writing->letters[i]) != 0)
            g_string_append_c(name, (char)('a' + i));
}

/* --- what is there --- */

static void read_there(struct writing *writing)
{
    char *path = g_strdup_printf("%s/cur", writing->path);
    DIR *directory = opendir(path);
    const struct dirent *found;

    writing->there = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    while (directory != NULL && (found = readdir(directory)) != NULL) {
        const char *comma = strchr(found->d_name, ',');

        if (comma != NULL)
            g_hash_table_replace(writing->there,
                                 g_strndup(found->d_name, (gsize)(comma - found->d_name)),
                                 g_strdup(found->d_name));
    }
    if (directory != NULL)
        closedir(directory);
    g_free(path);
}

/* The keywords that messages have, by letter; and the file that says so. */
static bool write_keywords(struct writing *writing)
{
    char *path = g_strdup_printf("%s/dovecot-keywords", writing->path);
    struct export_file *file = export_open(writing->job, path);
    uint64_t used = 0;
    size_t letter = 0;

    for (size_t i = 0; i < snapshot_count(writing->snapshot); i++)
        used |= snapshot_message(writing->snapshot, i).keywords;
    for (size_t i = 0; file != NULL && i < snapshot_keyword_count(writing->snapshot); i++) {
        const char *keyword = snapshot_keyword(writing->snapshot, i);

        if ((used & UINT64_C(1) << i) == 0)
            continue;
        if (letter == DOVECOT_KEYWORDS) {
            export_tell(writing->job, "%s: keyword %s is left out: a Maildir has %d",
                        mailbox_name(writing->mailbox), keyword, DOVECOT_KEYWORDS);
            continue;
        }
        writing->letters[letter] = UINT64_C(1) << i;
        fprintf(export_stream(file), "%zu %s\n", letter, keyword);
        letter++;
    }
    g_free(path);
    return file != NULL && export_close(writing->job, file, true);
}

/* --- messages --- */

static bool take_octets(void *data, const char *octets, size_t length)
{
    struct message_file *file = data;

    for (const char *at = octets; (at = memchr(at, '\n', length - (size_t)(at - octets))) != NULL;
         at++)
        file->virtual_size += (at > octets ? at[-1] : file->last) != '\r';
    file->virtual_size += length;
    file->last = octets[length - 1];
    return fwrite(octets, 1, length, file->stream) == length;
}

/* Writes the message to a file in tmp; *virtual_size: with CRLF for each LF. */
static bool write_file(const struct writing *writing, const struct message *message,
                       const char *path, uint64_t *virtual_size)
{
    struct timespec times[2] = {{.tv_sec = message->internal_date},
                                {.tv_sec = message->internal_date}};
    struct message_file file = {.stream = fopen(path, "we")};
    bool done;

    if (file.stream == NULL)
        return export_fail(writing->job, path);
    done = export_read(writing->job, writing->mailbox, message, take_octets, &file);
    if (fflush(file.stream) != 0 || ferror(file.stream) != 0 ||
        futimens(fileno(file.stream), times) != 0)
        done = export_fail(writing->job, path);
    if (fclose(file.stream) != 0 && done)
        done = export_fail(writing->job, path);
    *virtual_size = file.virtual_size;
    if (!done)
        unlink(path);
    return done;
}

static bool write_message(const struct writing *writing, const struct message *message,
                          GString *name)
{
    char *unfinished = g_strdup_printf("%s/tmp/%s", writing->path, name->str);
    uint64_t virtual_size = 0;
    bool done = write_file(writing, message, unfinished, &virtual_size);

    g_string_append_printf(name, ",S=%u,W=%" G_GUINT64_FORMAT, message->size, virtual_size);
    if (message->zone != 0)
        g_string_append_printf(name, "," IMPORT_MAILDIR_ZONE "%c%02d%02d",
                               message->zone < 0 ? '-' : '+', abs(message->zone) / 60,
                               abs(message->zone) % 60);
    if (done) {
        GString *last = g_string_new(name->str);
        char *path;

        append_flags(last, writing, message);
        path = g_strdup_printf("%s/cur/%s", writing->path, last->str);
        done = rename(unfinished, path) == 0 ? true : export_fail(writing->job, path);
        g_free(path);
        g_string_free(last, TRUE);
    }
    g_free(unfinished);
    return done;
}

/* Gives a file of an earlier export the flags of today. */
static bool rename_there(const struct writing *writing, const struct message *message,
                         const char *there, GString *name)
{
    GString *wanted;
    bool done = true;

    g_string_assign(name, there);
    g_string_truncate(name, strcspn(there, ":"));
    wanted = g_string_new(name->str);
    append_flags(wanted, writing, message);
    if (strcmp(wanted->str, there) != 0) {
        char *before = g_strdup_printf("%s/cur/%s", writing->path, there);
        char *after = g_strdup_printf("%s/cur/%s", writing->path, wanted->str);

        done = rename(before, after) == 0 ? true : export_fail(writing->job, before);
        g_free(before);
        g_free(after);
    }
    g_string_free(wanted, TRUE);
    return done;
}

static bool export_message(struct writing *writing, const struct message *message)
{
    char *base = base_name(writing->snapshot, message);
    char *there = NULL;
    char *key = NULL;
    GString *name = g_string_new(base);
    bool known =
        g_hash_table_steal_extended(writing->there, base, (gpointer *)&key, (gpointer *)&there);
    bool done =
        known ? rename_there(writing, message, there, name) : write_message(writing, message, name);

    if (done)
        fprintf(export_stream(writing->uidlist), "%u :%s\n", message->uid, name->str);
    if (done)
        export_count(writing->job, message, !known);
    g_string_free(name, TRUE);
    g_free(there);
    g_free(key);
    g_free(base);
    return done;
}

static bool export_messages(struct writing *writing)
{
    const char *id = snapshot_mailbox_id(writing->snapshot);
    char *path = g_strdup_printf("%s/dovecot-uidlist", writing->path);
    bool done = true;

    writing->uidlist = export_open(writing->job, path);
    g_free(path);
    if (writing->uidlist == NULL)
        return false;
    fprintf(export_stream(writing->uidlist), "3 V%u N%u", snapshot_uid_validity(writing->snapshot),
            snapshot_uid_next(writing->snapshot));
    if (strlen(id) == 33 && strspn(id + 1, "0123456789abcdef") == 32)
        fprintf(export_stream(writing->uidlist), " G%s", id + 1);
    fputc('\n', export_stream(writing->uidlist));
    for (size_t i = 0; done && i < snapshot_count(writing->snapshot); i++) {
        struct message message = snapshot_message(writing->snapshot, i);

        done = !writing->job->stopped() && export_message(writing, &message);
    }
    return export_close(writing->job, writing->uidlist, done);
}

/* Files of an earlier export whose messages the mailbox has no more. */
static void tell_left(const struct writing *writing)
{
    GHashTableIter names;
    void *base;
    unsigned left = 0;

    g_hash_table_iter_init(&names, writing->there);
    while (g_hash_table_iter_next(&names, &base, NULL))
        left += g_str_has_suffix(base, ".annal");
    if (left > 0)
        export_tell(writing->job,
                    "%s: %u files of an earlier export are not in the mailbox any more",
                    writing->path, left);
}

bool export_maildir_mailbox(struct export_job *job, const char *directory,
                            enum folder_layout layout, struct mailbox *mailbox, const char *name)
{
    struct writing writing = {
        .job = job, .mailbox = mailbox, .snapshot = snapshot_ref(mailbox_snapshot(mailbox))};
    char *folder = folder_name_path(name, layout);
    bool done;

    writing.path = strcmp(name, "INBOX") == 0 ? g_strdup(directory)
                                              : g_strdup_printf("%s/%s", directory, folder);
    done = make_folder(job, writing.path) && write_keywords(&writing);
    if (done) {
        read_there(&writing);
        done = export_messages(&writing);
        if (done)
            tell_left(&writing);
        g_hash_table_unref(writing.there);
    }
    job->counts.mailboxes += done;
    snapshot_unref((struct snapshot *)(uintptr_t)writing.snapshot);
    g_free(writing.path);
    g_free(folder);
    return done;
}

bool export_maildir_end(const struct export_job *job, const char *directory,
                        enum folder_layout layout, const GPtrArray *subscriptions)
{
    char *path = g_strdup_printf("%s/subscriptions", directory);
    struct export_file *file = export_open(job, path);
    int fd;
    bool done;

    for (unsigned i = 0; file != NULL && i < subscriptions->len; i++) {
        char *name = folder_name_path(g_ptr_array_index(subscriptions, i), layout);

        fprintf(export_stream(file), "%s\n", layout == FOLDER_MAILDIRPP ? name + 1 : name);
        g_free(name);
    }
    done = file != NULL && export_close(job, file, true);
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) != 0)
        done = export_fail(job, directory);
    if (fd >= 0)
        close(fd);
    g_free(path);
    return done;
}
