/* annal import USER (mbox|maildir) PATH: brings mail in, with its dates and flags */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/commands.h"
#include "server/import_maildir.h"
#include "server/import_mbox.h"
#include "server/message_summary.h"

static const char USAGE[] =
    "usage: annal import USER (mbox|maildir) PATH [--mailbox NAME] [--keep-bytes]\n"
    "                    [--data DIR] [--config FILE]\n"
    "Adds the messages of an mbox file, or of a Maildir with its subfolders, to the user's mail:\n"
    "to INBOX, or to NAME (UTF-8, '/' between levels; made if need be), subfolders below it.\n"
    "Dates, flags and keywords are kept. Bare LF line ends become CRLF, as mail has them on the\n"
    "wire; --keep-bytes stores the octets as they are. A server may be running.\n";

enum {
    BATCH_MESSAGES = 200,            /* one commit a batch */
    BATCH_OCTETS = 16 * 1024 * 1024, /* or fewer, when they are large */
    PROGRESS_EVERY = 100,            /* milliseconds between two lines on a terminal */
};

struct pending {
    struct spool *spool;
    GPtrArray *keywords; /* char *, then NULL */
    uint8_t flags;
    int64_t date;
    int16_t zone;
};

struct import {
    struct store *store;
    struct account *account;
    const char *root; /* the mailbox that the source's root goes to */
    bool keep_bytes;
    bool terminal;
    char *mailbox_name; /* where the batch belongs; NULL: none yet */
    struct mailbox *mailbox;
    GArray *batch; /* struct pending */
    size_t batch_octets;
    uint64_t messages;
    uint64_t octets;
    unsigned mailboxes;
    unsigned skipped;
    int64_t shown; /* monotonic milliseconds */
};

static void pending_clear(void *data)
{
    struct pending *pending = data;

    spool_free(pending->spool);
    g_ptr_array_unref(pending->keywords);
}

static bool fail(const char *what, const struct store_error *error)
{
    admin_complain("%s: %s: %s", what, store_code_name(error->code), error->detail);
    return false;
}

static void show_progress(struct import *import, bool last)
{
    struct timespec now;
    int64_t milliseconds;

    if (!import->terminal)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    milliseconds = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (!last && milliseconds - import->shown < PROGRESS_EVERY)
        return;
    import->shown = milliseconds;
    fprintf(stderr, "\r%" G_GUINT64_FORMAT " messages, %.1f MB\033[K%s", import->messages,
            (double)import->octets / 1e6, last ? "\n" : "");
}

/* The batch as mailbox_append() wants it; without keywords when the mailbox has no room for more.
 */
static int append_batch(struct import *import, bool keywords, struct store_error *error)
{
    struct append *appends = g_new0(struct append, import->batch->len);
    struct origin origin = admin_origin("import");
    uint32_t first_uid;
    int result;

    for (unsigned i = 0; i < import->batch->len; i++) {
        const struct pending *pending = &g_array_index(import->batch, struct pending, i);

        appends[i] = (struct append){
            .spool = pending->spool,
            .keywords = keywords ? (const char *const *)pending->keywords->pdata : NULL,
            .flags = pending->flags,
            .internal_date = pending->date,
            .zone = pending->zone,
            .binary = true,
        };
    }
    result =
        mailbox_append(import->mailbox, appends, import->batch->len, &origin, &first_uid, error);
    for (unsigned i = 0; i < import->batch->len && result == 0; i++)
        message_summary_delivered(import->account, appends[i].spool);
    g_free(appends);
    return result;
}

static bool flush_batch(struct import *import)
{
    struct store_error error = {0};
    int result;

    if (import->batch->len == 0)
        return true;
    result = append_batch(import, true, &error);
    if (result == STORE_LIMIT) {
        result = append_batch(import, false, &error);
        if (result == 0)
            admin_complain("%s: too many keywords: those of %u messages are left out",
                           import->mailbox_name, import->batch->len);
    }
    if (result == 0)
        result = store_sync(import->store, &error);
    if (result != 0)
        return fail(import->mailbox_name, &error);
    import->messages += import->batch->len;
    import->octets += import->batch_octets;
    g_array_set_size(import->batch, 0);
    import->batch_octets = 0;
    show_progress(import, false);
    return true;
}

/* Ends the batch of the mailbox before and opens the next one. */
static bool enter_mailbox(void *data, const char *relative)
{
    struct import *import = data;
    struct store_error error = {0};
    struct origin origin = admin_origin("import");
    char *name;
    int result;

    if (!flush_batch(import))
        return false;
    if (*relative == '\0')
        name = g_strdup(import->root);
    else if (strcmp(import->root, "INBOX") == 0)
        name = g_strdup(relative);
    else
        name = g_strdup_printf("%s/%s", import->root, relative);
    mailbox_unref(import->mailbox);
    import->mailbox = NULL;
    g_free(import->mailbox_name);
    import->mailbox_name = name;
    result = account_open_mailbox(import->account, name, &import->mailbox, &error);
    if (result == STORE_NOT_FOUND) {
        result = account_create_mailbox(import->account, name, SPECIAL_USE_NONE, &origin, &error);
        if (result == 0)
            result = account_open_mailbox(import->account, name, &import->mailbox, &error);
    }
    if (result != 0)
        return fail(name, &error);
    import->mailboxes++;
    return true;
}

/* Whether IMAP can show it: an atom (RFC 3501 9, flag-keyword). */
static bool keyword_is_atom(const char *keyword)
{
    size_t length = strlen(keyword);

    if (length == 0 || length > KEYWORD_LENGTH_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if (keyword[i] <= ' ' || keyword[i] > '~' || strchr("(){%*\"\\]", keyword[i]) != NULL)
            return false;
    return true;
}

static GPtrArray *copy_keywords(const GPtrArray *keywords)
{
    GPtrArray *copy = g_ptr_array_new_with_free_func(g_free);

    for (unsigned i = 0; keywords != NULL && i < keywords->len; i++) {
        const char *keyword = g_ptr_array_index(keywords, i);
        bool seen = false;

        for (unsigned j = 0; keyword != NULL && j < copy->len; j++)
            seen = seen || g_ascii_strcasecmp(g_ptr_array_index(copy, j), keyword) == 0;
        if (keyword != NULL && !seen && keyword_is_atom(keyword))
            g_ptr_array_add(copy, g_strdup(keyword));
    }
    g_ptr_array_add(copy, NULL);
    return copy;
}

static bool take_message(void *data, const struct import_message *message)
{
    struct import *import = data;
    struct store_error error = {0};
    GString *converted = NULL;
    const char *octets = message->data;
    size_t length = message->length;
    struct spool *spool = NULL;
    struct pending pending;
    int result;

    if (!import->keep_bytes) {
        converted = g_string_sized_new(length + length / 32 + 1);
        import_crlf(converted, octets, length);
        octets = converted->str;
        length = converted->len;
    }
    result = account_spool(import->account, length, &spool, &error);
    if (result == 0)
        result = spool_write(spool, octets, length, &error);
    if (converted != NULL)
        g_string_free(converted, TRUE);
    if (result != 0) {
        spool_free(spool);
        return fail("message", &error);
    }
    pending = (struct pending){
        .spool = spool,
        .keywords = copy_keywords(message->keywords),
        .flags = message->flags,
        .date = message->date,
        .zone = message->zone,
    };
    g_array_append_val(import->batch, pending);
    import->batch_octets += length;
    if (import->batch->len >= BATCH_MESSAGES || import->batch_octets >= BATCH_OCTETS)
        return flush_batch(import);
    return true;
}

static void tell_skipped(void *data, const char *what)
{
    struct import *import = data;

    import->skipped++;
    admin_complain("skipped %s", what);
}

static bool read_mbox(const char *path, const struct import_sink *sink, char **problem)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    char *data = NULL;
    bool done;

    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        *problem = g_strdup_printf("%s: %s", path, fd < 0 ? strerror(errno) : "not a file");
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (status.st_size > 0)
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED) {
        *problem = g_strdup_printf("%s: %s", path, strerror(errno));
        return false;
    }
    done = import_mbox(data, (size_t)status.st_size, status.st_mtim.tv_sec, sink, problem);
    if (data != NULL)
        munmap(data, (size_t)status.st_size);
    return done;
}

static bool run_import(struct import *import, const char *format, const char *path)
{
    struct import_sink sink = {
        .data = import,
        .mailbox = enter_mailbox,
        .message = take_message,
        .skipped = tell_skipped,
    };
    char *problem = NULL;
    bool done = strcmp(format, "mbox") == 0 ? read_mbox(path, &sink, &problem)
                                            : import_maildir(path, &sink, &problem);

    done = done && flush_batch(import);
    show_progress(import, true);
    if (problem != NULL)
        admin_complain("%s", problem);
    g_free(problem);
    printf("%" G_GUINT64_FORMAT " messages, %" G_GUINT64_FORMAT
           " octets into %u mailboxes; %u skipped\n",
           import->messages, import->octets, import->mailboxes, import->skipped);
    return done;
}

/* The user's account, made if only the password file knows the user. */
static bool open_account(struct import *import, const struct config *config, const char *user)
{
    struct store_error error = {0};
    struct origin origin = admin_origin("import");
    int result = store_open_account(import->store, user, &import->account, &error);

    if (result == STORE_NOT_FOUND) {
        struct users *users = admin_open_users(config);

        if (users != NULL && users_exists(users, user)) {
            result = store_create_account(import->store, user, &origin, &error);
            if (result == 0)
                result = store_open_account(import->store, user, &import->account, &error);
        }
        users_free(users);
    }
    return result == 0 ? true : fail(user, &error);
}

struct import_options {
    const char *config;
    const char *data;
    const char *mailbox;
    bool keep_bytes;
};

static int import_into(const struct import_options *options, const char *user, const char *format,
                       const char *path)
{
    struct import import = {
        .root = options->mailbox != NULL ? options->mailbox : "INBOX",
        .keep_bytes = options->keep_bytes,
        .terminal = isatty(STDERR_FILENO) == 1,
        .batch = g_array_new(FALSE, FALSE, sizeof(struct pending)),
    };
    struct config config;
    bool done = admin_read_config(&config, options->config, options->data);

    g_array_set_clear_func(import.batch, pending_clear);
    if (done)
        import.store = admin_open_store(&config);
    done = import.store != NULL && open_account(&import, &config, user) &&
           run_import(&import, format, path);
    g_array_unref(import.batch);
    mailbox_unref(import.mailbox);
    account_unref(import.account);
    store_close(import.store);
    g_free(import.mailbox_name);
    config_release(&config);
    return done && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}

int command_import(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},  {"data", required_argument, NULL, 'd'},
        {"mailbox", required_argument, NULL, 'm'}, {"keep-bytes", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct import_options options = {0};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:m:kh", long_options, NULL)) != -1) {
        if (letter == 'c')
            options.config = optarg;
        else if (letter == 'd')
            options.data = optarg;
        else if (letter == 'm')
            options.mailbox = optarg;
        else if (letter == 'k')
            options.keep_bytes = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (argc - optind != 3 ||
        (strcmp(argv[optind + 1], "mbox") != 0 && strcmp(argv[optind + 1], "maildir") != 0)) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    return import_into(&options, argv[optind], argv[optind + 1], argv[optind + 2]);
}
