/* annal purge USER MAILBOX: forgets messages for good */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/admin_observer.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/control.h"
#include "server/interrupt.h"
#include "server/log.h"
#include "server/stand.h"
#include "store/purge.h"

static const char USAGE[] =
    "usage: annal purge USER MAILBOX --uid SET [--reason TEXT] [--dry-run] [--yes]\n"
    "                   [--data DIR] [--config FILE]\n"
    "Takes messages out of an account for good: out of every mailbox that has a copy, all of the\n"
    "history, packs, caches and journals. There is no way back. The mailbox may be a deleted one,\n"
    "the messages may have been expunged. A server may be running. Backups, clones and other\n"
    "accounts are not touched; annal restore leaves out what was purged, as long as the account\n"
    "is there. An interrupt ends it without harm.\n"
    "  --uid SET      UIDs: 7, 3,5 or 10:20\n"
    "  --reason TEXT  for the record that stays: git log refs/annal/purged\n"
    "  --dry-run      only says what would go\n"
    "  --yes          does not ask\n";

enum {
    RANGES_MAX = 1000,
    STAND_POLL = 5 * 1000, /* microseconds between two looks at a server */
    STAND_TRIES = 4000,
    START_POLL = 50 * 1000, /* microseconds that one has to start or to stop */
    START_TRIES = 400,
};

struct purge_options {
    const char *config_path;
    const char *data;
    const char *reason;
    GArray *uids; /* struct uid_range */
    bool dry_run;
    bool yes;
};

/* --- UIDs --- */

static bool parse_uid(uint32_t *out, const char **at)
{
    uint64_t value = 0;

    if (!g_ascii_isdigit(**at))
        return false;
    for (; g_ascii_isdigit(**at); (*at)++) {
        value = value * 10 + (uint64_t)(**at - '0');
        if (value > UINT32_MAX)
            return false;
    }
    *out = (uint32_t)value;
    return value > 0;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct uid_range *left = a;
    const struct uid_range *right = b;

    return left->first < right->first ? -1 : left->first > right->first;
}

/* Ascending and disjoint. */
static void merge_ranges(GArray *ranges)
{
    guint kept = 0;

    g_array_sort(ranges, compare_ranges);
    for (guint i = 1; i < ranges->len; i++) {
        struct uid_range *last = &g_array_index(ranges, struct uid_range, kept);
        struct uid_range next = g_array_index(ranges, struct uid_range, i);

        if (next.first <= last->last)
            last->last = MAX(last->last, next.last);
        else
            g_array_index(ranges, struct uid_range, ++kept) = next;
    }
    g_array_set_size(ranges, kept + 1);
}

static bool parse_uids(GArray *out, const char *text)
{
    const char *at = text;

    g_array_set_size(out, 0);
    for (;;) {
        struct uid_range range;

        if (!parse_uid(&range.first, &at))
            return false;
        range.last = range.first;
        if (*at == ':') {
            at++;
            if (!parse_uid(&range.last, &at))
                return false;
        }
        if (range.last < range.first)
            range = (struct uid_range){range.last, range.first};
        g_array_append_val(out, range);
        if (*at == '\0' || out->len > RANGES_MAX)
            break;
        if (*at++ != ',')
            return false;
    }
    merge_ranges(out);
    return out->len <= RANGES_MAX;
}

/* --- with or without a server --- */

struct standing {
    const struct config *config;
    const char *user;
    char *lease_path;
    int lease;
    struct store *store;
    struct store_journals *journals;
};

/* The fields of the server's answer: a new vector. NULL: STORE_NOT_FOUND where no server answers,
 * which may be about to start or to stop, or STORE_IO. */
static char **ask(const struct standing *standing, const char *user, struct store_error *error)
{
    const char *words[] = {"stand", user, NULL};
    char *request = control_request(words);
    GPtrArray *lines = NULL;
    char *problem = NULL;
    char **fields = NULL;
    enum control_result result = control_ask(standing->config->control, request, &lines, &problem);

    if (result == CONTROL_DONE && lines->len > 0)
        fields = control_fields(g_ptr_array_index(lines, 0));
    else if (result == CONTROL_ABSENT)
        store_error_set(error, STORE_NOT_FOUND,
                        "a server has the journals, but none answers at %s; try again when it has "
                        "started or stopped",
                        standing->config->control);
    else
        store_error_set(error, STORE_IO, "asking the server: %s",
                        problem != NULL ? problem : "an empty answer");
    if (lines != NULL)
        g_ptr_array_unref(lines);
    g_free(problem);
    g_free(request);
    return fields;
}

/* One look at how far the server is. 1: it is not there yet. */
static int look_at_server(const struct standing *standing, bool *asked, struct store_error *error)
{
    char **fields = ask(standing, *asked ? NULL : standing->user, error);
    int rc = 1;

    if (fields == NULL)
        return error->code;
    if (fields[0] == NULL)
        rc = store_error_set(error, STORE_IO, "asking the server: an empty answer");
    else if (strcmp(fields[0], "waiting") == 0)
        *asked = true;
    else if (*asked && strcmp(fields[0], "standing") == 0)
        rc = 0;
    else if (*asked)
        rc = store_error_set(error, STORE_CONFLICT, "the server can't stand still: %s",
                             fields[1] != NULL ? fields[1] : fields[0]);
    g_strfreev(fields);
    return rc;
}

static int stand_server(const struct standing *standing, struct store_error *error)
{
    bool asked = false;
    int rc = 1;

    for (int i = 0; rc == 1 && i < STAND_TRIES; i++) {
        if (i > 0)
            g_usleep(STAND_POLL);
        rc = look_at_server(standing, &asked, error);
    }
    if (rc == 1)
        return store_error_set(error, STORE_CONFLICT, "the server does not come to a rest");
    /* The server waits no longer than twice as long: better an end than a late change. */
    if (rc == 0)
        alarm(STAND_OTHER_SECONDS);
    return rc;
}

static int take_lease(struct standing *standing, struct store_error *error)
{
    standing->lease = open(standing->lease_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (standing->lease < 0 || flock(standing->lease, LOCK_EX | LOCK_NB) != 0)
        return store_error_set(error, STORE_CONFLICT, "somebody else purges here");
    return 0;
}

/* One attempt. STORE_NOT_FOUND: somebody has a journal, and no server answers. */
static int try_to_stand(struct standing *standing, struct store_error *error)
{
    int rc = store_wipe_journals(standing->store, &standing->journals, error);

    if (rc == STORE_CONFLICT && standing->journals != NULL)
        rc = stand_server(standing, error);
    return rc;
}

/* All the journals are ours meanwhile, or a server stands still: no other one starts. One that is
 * about to must get them before it can answer. */
static int stand(void *data, struct store_error *error)
{
    struct standing *standing = data;
    int rc = take_lease(standing, error);

    if (rc == 0)
        rc = try_to_stand(standing, error);
    for (int i = 0; rc == STORE_NOT_FOUND && i < START_TRIES; i++) {
        store_release_journals(standing->journals);
        standing->journals = NULL;
        g_usleep(START_POLL);
        rc = try_to_stand(standing, error);
    }
    return rc == STORE_NOT_FOUND ? STORE_CONFLICT : rc;
}

static void go_on(void *data)
{
    struct standing *standing = data;

    alarm(0);
    store_release_journals(standing->journals);
    standing->journals = NULL;
    if (standing->lease >= 0) {
        unlink(standing->lease_path);
        close(standing->lease);
        standing->lease = -1;
    }
}

/* --- the command --- */

static void print_place(const struct purge_place *place)
{
    char *name = g_strdup(place->mailbox != NULL ? place->mailbox : place->ref);

    log_clean(name);
    if (place->mailbox == NULL)
        printf("  %s\n", name);
    else if (place->deleted)
        printf("  %s, which was deleted\n", name);
    else if (place->now > 0)
        printf("  %s: %zu now, and the history\n", name, place->now);
    else
        printf("  %s: the history\n", name);
    g_free(name);
}

static void print_result(const struct purge_result *result, bool dry_run)
{
    printf("%s %zu %s; %zu changes of the history %s written anew. From:\n",
           dry_run ? "would purge" : "purged", result->messages,
           result->messages == 1 ? "message" : "messages", result->commits,
           dry_run ? "would be" : "were");
    for (guint i = 0; i < result->places->len; i++)
        print_place(g_ptr_array_index(result->places, i));
}

static int finish(const char *user, int code, const struct purge_result *result,
                  const struct purge_options *options, const struct store_error *error)
{
    if (code != 0) {
        if (interrupted())
            admin_complain("%s: interrupted", user);
        else
            admin_complain("%s: %s", user, error->detail);
        if (code == STORE_FORBIDDEN)
            admin_complain("annal hold %s --release ends the hold", user);
        if (result->moved)
            admin_complain("no mailbox and no history has it any more, but packs on the disk still "
                           "do: run annal gc %s to finish it",
                           user);
        else
            admin_complain("nothing was purged");
        return ADMIN_FAILED;
    }
    print_result(result, options->dry_run);
    if (!options->dry_run)
        printf("Backups and clones that were made before still have it. annal restore leaves it "
               "out while\n%s has an account here; make a new full backup, then remove the old "
               "ones.\n",
               user);
    if (result->collected.protected > 0) {
        admin_complain("it is still in packs that somebody protects with a .keep file: remove that "
                       "and run annal gc %s",
                       user);
        return ADMIN_FAILED;
    }
    return ADMIN_DONE;
}

static int purge(const struct config *config, const char *user, const char *mailbox,
                 const struct purge_options *options)
{
    struct origin origin = admin_origin("annal purge");
    char *repository = admin_repository(config, user);
    char *cache = g_strdup_printf("%s/cache/%s", config->data, user);
    struct standing standing = {.config = config, .user = user, .lease = -1};
    struct purge_request request = {.user = user,
                                    .mailbox = mailbox,
                                    .uids = (const struct uid_range *)(void *)options->uids->data,
                                    .count = options->uids->len,
                                    .origin = &origin,
                                    .reason = options->reason,
                                    .dry_run = options->dry_run,
                                    .settle_seconds = COLLECT_SETTLE_SECONDS,
                                    .stand = stand,
                                    .go_on = go_on,
                                    .data = &standing};
    struct store_error error = {0};
    struct purge_result result = {0};
    int status = ADMIN_FAILED;

    standing.lease_path = g_strdup_printf("%s/annal-lease", repository);
    standing.store = admin_open_store(config);
    if (standing.store != NULL) {
        admin_settle(config, user);
        struct admin_observer *observer = admin_observer_new(user);

        request.observer = admin_observer_of(observer);
        int code = purge_run(repository, cache, host_system(), &request, &result, &error);

        admin_observer_free(observer);
        status = finish(user, code, &result, options, &error);
        purge_result_release(&result);
    }
    store_close(standing.store);
    g_free(standing.lease_path);
    g_free(repository);
    g_free(cache);
    return status;
}

static bool is_meant(const char *user, const char *mailbox)
{
    char answer[8] = "";

    if (!isatty(STDIN_FILENO))
        return true;
    char *name = g_strdup(mailbox);
    log_clean(name);
    printf("Purge messages of %s in %s for good? Type yes: ", user, name);
    g_free(name);
    fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) != NULL && strcmp(answer, "yes\n") == 0;
}

static int run(char **words, const struct purge_options *options)
{
    struct config config;
    int status = ADMIN_FAILED;

    if (!store_user_name_valid(words[0])) {
        admin_complain("%s can't be a user's name", words[0]);
        return ADMIN_FAILED;
    }
    if (!options->dry_run && !options->yes && !is_meant(words[0], words[1])) {
        admin_complain("nothing was done");
        return ADMIN_FAILED;
    }
    if (admin_read_config(&config, options->config_path, options->data))
        status = purge(&config, words[0], words[1], options);
    config_release(&config);
    return status;
}

int command_purge(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'}, {"data", required_argument, NULL, 'd'},
        {"uid", required_argument, NULL, 'u'},    {"reason", required_argument, NULL, 'r'},
        {"dry-run", no_argument, NULL, 'n'},      {"yes", no_argument, NULL, 'y'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct purge_options options = {.uids = g_array_new(FALSE, FALSE, sizeof(struct uid_range))};
    int status = -1;
    bool good = false;
    int letter;

    while (status < 0 &&
           (letter = getopt_long(argc, argv, "c:d:u:r:nyh", long_options, NULL)) != -1) {
        if (letter == 'c')
            options.config_path = optarg;
        else if (letter == 'd')
            options.data = optarg;
        else if (letter == 'u')
            good = parse_uids(options.uids, optarg);
        else if (letter == 'r')
            options.reason = optarg;
        else if (letter == 'n')
            options.dry_run = true;
        else if (letter == 'y')
            options.yes = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            status = letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (status < 0 && (optind + 2 != argc || !good)) {
        fputs(USAGE, stderr);
        status = ADMIN_USAGE;
    }
    if (status < 0)
        status = run(argv + optind, &options);
    g_array_unref(options.uids);
    return status;
}
