/* annal backup USER FILE: an account as a git bundle */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/admin_observer.h"
#include "server/admin_output.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/git_program.h"
#include "server/interrupt.h"
#include "store/bundle.h"
#include "store/follow.h"

static const char USAGE[] =
    "usage: annal backup USER FILE [--incremental | --since BUNDLE] [--replace] [--json]\n"
    "       annal backup (USER | --all) DIRECTORY [--incremental] [--json]\n"
    "Writes all of an account (mailboxes, history, deleted mailboxes) as a git bundle: as it is "
    "at\n"
    "one moment, with everything that a running server has acknowledged before.\n"
    "  --incremental   only what is new since the last backup that is in the same directory\n"
    "  --since BUNDLE  only what is new since that one\n"
    "  --replace       FILE may exist\n"
    "In a DIRECTORY the file is called USER-TIME.bundle. \"annal restore\" reads them; options:\n"
    "--data DIR, --config FILE\n";

struct backup_options {
    const char *config;
    const char *data;
    const char *since;
    bool incremental;
    bool replace;
    bool all;
    bool json;
};

/* --- earlier bundles --- */

struct earlier {
    char *path;
    struct timespec time;
    struct bundle bundle;
    bool whole; /* it and those that it builds on are there */
};

static void earlier_free(void *data)
{
    struct earlier *earlier = data;

    bundle_release(&earlier->bundle);
    g_free(earlier->path);
    g_free(earlier);
}

static bool read_bundle(struct bundle *out, struct timespec *time, const char *path,
                        struct store_error *error)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);

    if (!good)
        store_error_set(error, STORE_IO, "%s", fd < 0 ? strerror(errno) : "no file");
    else
        *time = status.st_mtim;
    good = good && bundle_read(out, fd, error) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static bool brings(const struct earlier *earlier, const struct object_id *id)
{
    for (guint i = 0; i < earlier->bundle.references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(earlier->bundle.references, i);

        if (object_id_equal(&reference->id, id))
            return true;
    }
    return false;
}

/* Whether what it needs is brought by one that can be restored itself. */
static bool has_all(const GPtrArray *found, const struct earlier *earlier)
{
    const GArray *wanted = earlier->bundle.prerequisites;

    for (guint i = 0; i < wanted->len; i++) {
        bool brought = false;

        for (guint k = 0; k < found->len && !brought; k++) {
            const struct earlier *other = g_ptr_array_index(found, k);

            brought = other->whole && brings(other, &g_array_index(wanted, struct object_id, i));
        }
        if (!brought)
            return false;
    }
    return true;
}

static void mark_whole(const GPtrArray *found)
{
    bool more = true;

    while (more) {
        more = false;
        for (guint i = 0; i < found->len; i++) {
            struct earlier *earlier = g_ptr_array_index(found, i);

            if (!earlier->whole && has_all(found, earlier)) {
                earlier->whole = true;
                more = true;
            }
        }
    }
}

/* Every bundle in the directory; what is none is passed over. */
static GPtrArray *find_bundles(const char *directory)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(earlier_free);
    DIR *entries = opendir(directory);
    const struct dirent *entry;

    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        struct earlier *earlier = g_new0(struct earlier, 1);
        struct store_error ignored;

        earlier->path = g_strdup_printf("%s/%s", directory, entry->d_name);
        bundle_init(&earlier->bundle);
        if (g_str_has_suffix(entry->d_name, ".bundle") &&
            read_bundle(&earlier->bundle, &earlier->time, earlier->path, &ignored))
            g_ptr_array_add(found, earlier);
        else
            earlier_free(earlier);
    }
    if (entries != NULL)
        closedir(entries);
    mark_whole(found);
    return found;
}

/* Of those of one moment the one whose name is last. */
static bool is_newer(const struct earlier *a, const struct earlier *b)
{
    if (b == NULL || a->time.tv_sec != b->time.tv_sec)
        return b == NULL || a->time.tv_sec > b->time.tv_sec;
    return a->time.tv_nsec > b->time.tv_nsec ||
           (a->time.tv_nsec == b->time.tv_nsec && strcmp(a->path, b->path) > 0);
}

/* Builds on the newest backup of this account in the directory that can be restored from there.
 * False if there is none. */
static bool follow_newest(struct bundle *bundle, struct account *account, const char *directory,
                          char **base)
{
    GPtrArray *found = find_bundles(directory);
    const struct earlier *newest = NULL;

    for (guint i = 0; i < found->len; i++) {
        const struct earlier *earlier = g_ptr_array_index(found, i);
        struct bundle probe;

        bundle_init(&probe);
        if (earlier->whole && bundle_find(&earlier->bundle, "refs/annal/account") != NULL &&
            is_newer(earlier, newest) && bundle_follow(&probe, account, &earlier->bundle))
            newest = earlier;
        bundle_release(&probe);
    }
    if (newest != NULL) {
        bundle_follow(bundle, account, &newest->bundle);
        *base = g_strdup(newest->path);
    }
    g_ptr_array_unref(found);
    return newest != NULL;
}

static bool follow_named(struct bundle *bundle, struct account *account, const char *path)
{
    struct store_error error = {0};
    struct timespec time;
    struct bundle earlier;
    bool good;

    bundle_init(&earlier);
    good = read_bundle(&earlier, &time, path, &error);
    if (!good)
        admin_complain("%s: %s", path, error.detail);
    else if (!bundle_follow(bundle, account, &earlier)) {
        admin_complain("%s: not a backup of this account, or one from before a purge, or one whose "
                       "history it no longer has; make a full backup",
                       path);
        good = false;
    }
    bundle_release(&earlier);
    return good;
}

/* --- writing --- */

/* What pack-objects reads: the tips wanted, and those that are there already. */
static int revisions(const struct bundle *bundle)
{
    GString *text = g_string_new(NULL);
    char hex[OBJECT_ID_HEX + 1];
    int fd = memfd_create("annal-revisions", MFD_CLOEXEC);

    for (guint i = 0; i < bundle->references->len; i++) {
        const struct follow_reference *reference = g_ptr_array_index(bundle->references, i);

        object_id_format(&reference->id, hex);
        g_string_append_printf(text, "%s\n", hex);
    }
    for (guint i = 0; i < bundle->prerequisites->len; i++) {
        object_id_format(&g_array_index(bundle->prerequisites, struct object_id, i), hex);
        g_string_append_printf(text, "^%s\n", hex);
    }
    if (fd >= 0 &&
        (host_system()->write(NULL, fd, text->str, text->len) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        fd = -1;
    }
    g_string_free(text, TRUE);
    return fd;
}

/* What tells how far a bundle is. */
struct writing {
    const struct observer *observer;
    int fd;
    uint64_t objects; /* about how many there will be; 0: that is not known */
    uint64_t octets;  /* the same */
};

/* git writes where our descriptor is. */
static void on_progress(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    const struct writing *writing = data;
    const struct observer *observer = writing->observer;
    off_t at =
        stage == OBSERVER_WRITE && writing->octets > 0 ? lseek(writing->fd, 0, SEEK_CUR) : -1;

    if (at >= 0) {
        stage = OBSERVER_COPY;
        done = (uint64_t)at;
        total = MAX(writing->octets, done);
    } else if (stage == OBSERVER_OBJECTS && total == 0 && writing->objects > 0) {
        total = MAX(writing->objects, done);
    }
    observer->progress(stage, done, total, observer->data);
}

static bool on_go_on(void *data)
{
    const struct writing *writing = data;

    return observer_goes_on(writing->observer);
}

/* Objects are copied as they stand in the repository's packs; no deltas are looked for, which would
 * take long and find little between messages. */
static bool write_pack(const char *repository, const struct bundle *bundle, int fd,
                       const struct observer *observer)
{
    const char *arguments[] = {"pack-objects",        "--revs",     "--stdout",   "--thin",
                               "--delta-base-offset", "--window=0", "--progress", NULL};
    struct writing writing = {.observer = observer, .fd = fd};
    struct observer own = {.progress = on_progress, .go_on = on_go_on, .data = &writing};
    struct git_program program = {.path = repository,
                                  .arguments = arguments,
                                  .input = revisions(bundle),
                                  .output = fd,
                                  .observer = &own};
    bool good;

    if (bundle->prerequisites->len == 0) {
        writing.objects = observer_objects(repository);
        writing.octets = observer_octets(repository);
    }
    good = program.input >= 0 && git_program_run(&program) == 0;
    if (program.input >= 0)
        close(program.input);
    if (!good && !interrupted())
        admin_complain("git could not pack the account");
    return good;
}

static bool write_bundle(const char *repository, const struct bundle *bundle, int fd,
                         const struct observer *observer)
{
    GString *head = g_string_new(NULL);
    int written;

    bundle_encode(head, bundle);
    written = host_system()->write(NULL, fd, head->str, head->len);
    g_string_free(head, TRUE);
    if (written < 0) {
        admin_complain("writing: %s", strerror(-written));
        return false;
    }
    if (!write_pack(repository, bundle, fd, observer))
        return false;
    if (fsync(fd) != 0) {
        admin_complain("writing: %s", strerror(errno));
        return false;
    }
    return !interrupted();
}

/* A file without a name, of which nothing is left whatever happens, where the file system has such
 * files; else one that has the temporary name. */
static int open_nameless(const char *directory, const char *temporary, bool *named)
{
    /* It gets its name by /proc. */
    int fd = access("/proc/self/fd", X_OK) == 0
                 ? open(directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)
                 : -1;

    *named = fd < 0;
    return *named ? open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : fd;
}

static bool give_name(int fd, const char *name)
{
    char *self = g_strdup_printf("/proc/self/fd/%d", fd);
    bool good = linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;

    g_free(self);
    return good;
}

static bool put_in_place(int fd, const char *temporary, bool *named, const char *path, bool replace)
{
    if (!*named && !replace)
        return give_name(fd, path);
    *named = *named || give_name(fd, temporary);
    return *named &&
           (replace ? rename(temporary, path)
                    : renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE)) == 0;
}

/* It has its name when it is whole and durable, not before. */
static bool write_file(const char *repository, const struct bundle *bundle, const char *path,
                       bool replace, const struct observer *observer)
{
    char *temporary = g_strdup_printf("%s.tmp-%ld", path, (long)getpid());
    char *directory = g_path_get_dirname(path);
    bool named;
    int fd = open_nameless(directory, temporary, &named);
    bool good = fd >= 0 && write_bundle(repository, bundle, fd, observer);

    if (fd < 0)
        admin_complain("%s: %s", temporary, strerror(errno));
    if (good) {
        int problem = put_in_place(fd, temporary, &named, path, replace)
                          ? -host_system()->fsync_directory(NULL, directory)
                          : errno;

        good = problem == 0;
        if (!good)
            admin_complain("%s: %s", path, strerror(problem));
    }
    if (!good && fd >= 0 && named)
        unlink(temporary);
    if (fd >= 0)
        close(fd);
    g_free(directory);
    g_free(temporary);
    return good;
}

/* --- one account --- */

static void take_references(struct bundle *bundle, const GPtrArray *references)
{
    for (guint i = 0; i < references->len; i++) {
        const struct follow_reference *from = g_ptr_array_index(references, i);
        struct follow_reference *to = g_new(struct follow_reference, 1);

        to->name = g_strdup(from->name);
        to->id = from->id;
        g_ptr_array_add(bundle->references, to);
        /* So that `git clone FILE` knows what to check out. */
        if (strcmp(from->name, "refs/heads/INBOX") == 0) {
            struct follow_reference *head = g_new(struct follow_reference, 1);

            head->name = g_strdup("HEAD");
            head->id = from->id;
            g_ptr_array_add(bundle->references, head);
        }
    }
}

static void tell(const struct backup_options *options, const char *user, const char *path,
                 const struct bundle *bundle, const char *base)
{
    struct stat status = {0};

    if (stat(path, &status) != 0)
        status.st_size = 0;
    if (options->json) {
        char *file = admin_json_string(path);
        char *on = admin_json_string(base);
        char *name = admin_json_string(user);

        printf("{\"user\": %s, \"file\": %s, \"base\": %s, \"references\": %u, \"octets\": %jd}\n",
               name, file, on, bundle->references->len, (intmax_t)status.st_size);
        g_free(name);
        g_free(on);
        g_free(file);
    } else if (base != NULL)
        admin_print("%s: what is new since %s is in %s (%jd octets)", user, base, path,
                    (intmax_t)status.st_size);
    else
        admin_print("%s: all of it is in %s (%jd octets)", user, path, (intmax_t)status.st_size);
}

static bool choose_base(struct bundle *bundle, struct account *account,
                        const struct backup_options *options, const char *path, char **base)
{
    if (options->since != NULL) {
        *base = g_strdup(options->since);
        return follow_named(bundle, account, options->since);
    }
    if (options->incremental) {
        char *directory = g_path_get_dirname(path);

        if (!follow_newest(bundle, account, directory, base) && !options->json)
            admin_print("%s: no earlier backup in %s to build on: a full one",
                        account_user(account), directory);
        g_free(directory);
    }
    return true;
}

static bool write_observed(struct account *account, const struct bundle *bundle, const char *path,
                           bool replace)
{
    struct admin_observer *observer = admin_observer_new(account_user(account));
    bool good =
        write_file(account_path(account), bundle, path, replace, admin_observer_of(observer));

    admin_observer_free(observer);
    if (!good && interrupted())
        admin_complain("%s: interrupted; no backup was written", account_user(account));
    return good;
}

static bool back_up(struct account *account, const struct backup_options *options, const char *path)
{
    struct store_error error = {0};
    GPtrArray *references = NULL;
    struct bundle bundle;
    char *base = NULL;
    bool good;

    bundle_init(&bundle);
    good = choose_base(&bundle, account, options, path, &base);
    if (good && follow_moment(account, FOLLOW_SECONDS, &references, &error) != 0) {
        admin_fail(account_user(account), &error);
        good = false;
    }
    if (good) {
        take_references(&bundle, references);
        g_ptr_array_unref(references);
        good = write_observed(account, &bundle, path, options->replace);
    }
    if (good)
        tell(options, account_user(account), path, &bundle, base);
    bundle_release(&bundle);
    g_free(base);
    return good;
}

/* A free name, by which an account's backups stand in their order. */
static char *path_in(const char *directory, const char *user)
{
    char *path = NULL;
    struct stat status;

    do {
        char when[32];
        struct timespec now;
        struct tm tm;

        clock_gettime(CLOCK_REALTIME, &now);
        strftime(when, sizeof(when), "%Y%m%dT%H%M%S", gmtime_r(&now.tv_sec, &tm));
        g_free(path);
        path = g_strdup_printf("%s/%s-%s.%06ldZ.bundle", directory, user, when, now.tv_nsec / 1000);
    } while (lstat(path, &status) == 0);
    return path;
}

static bool back_up_user(struct store *store, const struct config *config, const char *user,
                         const struct backup_options *options, const char *target)
{
    struct store_error error = {0};
    struct account *account = NULL;
    struct stat status;
    bool directory = stat(target, &status) == 0 && S_ISDIR(status.st_mode);
    char *path = directory ? path_in(target, user) : g_strdup(target);
    bool good = false;

    if (!options->replace && lstat(path, &status) == 0)
        admin_complain("%s exists: name another file, or --replace", path);
    else if (store_open_account(store, user, &account, &error) != 0)
        admin_fail(user, &error);
    else {
        admin_settle(config, user);
        good = back_up(account, options, path);
    }
    account_unref(account);
    g_free(path);
    return good;
}

static int back_up_all(struct store *store, const struct config *config,
                       const struct backup_options *options, const char *target)
{
    GPtrArray *users = admin_repository_users(config);
    bool good = users != NULL;
    guint done = 0;

    for (guint i = 0; users != NULL && i < users->len && !interrupted(); i++, done++)
        good = back_up_user(store, config, g_ptr_array_index(users, i), options, target) && good;
    if (users != NULL && done < users->len) {
        admin_complain("interrupted; no backup was made of %u accounts", users->len - done);
        good = false;
    }
    if (users != NULL)
        g_ptr_array_unref(users);
    return good ? ADMIN_DONE : ADMIN_FAILED;
}

static int run(const struct backup_options *options, const char *user, const char *target)
{
    struct store *store = NULL;
    struct stat status;
    struct config config;
    int result = ADMIN_FAILED;

    if (admin_read_config(&config, options->config, options->data))
        store = admin_open_store(&config);
    if (store != NULL && options->all && (stat(target, &status) != 0 || !S_ISDIR(status.st_mode)))
        admin_complain("%s: --all needs a directory", target);
    else if (store != NULL && options->all)
        result = back_up_all(store, &config, options, target);
    else if (store != NULL && back_up_user(store, &config, user, options, target))
        result = ADMIN_DONE;
    store_close(store);
    config_release(&config);
    return result == ADMIN_DONE && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}

int command_backup(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"since", required_argument, NULL, 's'},
                                                 {"incremental", no_argument, NULL, 'i'},
                                                 {"replace", no_argument, NULL, 'r'},
                                                 {"all", no_argument, NULL, 'a'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    struct backup_options options = {0};
    bool good = true;
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'c')
            options.config = optarg;
        else if (letter == 'd')
            options.data = optarg;
        else if (letter == 's')
            options.since = optarg;
        else if (letter == 'i')
            options.incremental = true;
        else if (letter == 'r')
            options.replace = true;
        else if (letter == 'a')
            options.all = true;
        else if (letter == 'j')
            options.json = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    /* An increment in the place of what it builds on would be worth nothing. */
    good = argc - optind == (options.all ? 1 : 2) && !(options.since != NULL && options.all) &&
           !(options.since != NULL && options.incremental) &&
           !(options.replace && (options.since != NULL || options.incremental));
    if (!good) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    return run(&options, options.all ? NULL : argv[optind], argv[argc - 1]);
}
