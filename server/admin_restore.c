/* annal restore USER: back to a moment, or from backups */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/admin.h"
#include "server/admin_account.h"
#include "server/admin_moment.h"
#include "server/admin_observer.h"
#include "server/admin_output.h"
#include "server/commands.h"
#include "server/interrupt.h"
#include "server/json.h"
#include "server/unpack.h"
#include "store/collect.h"
#include "store/restore.h"

static const char USAGE[] =
    "usage: annal restore USER MAILBOX [--at TIME]     one mailbox, or one that was deleted\n"
    "       annal restore USER --at TIME               the whole account\n"
    "       annal restore USER --from BACKUP...        an account that does not exist (any more)\n"
    "       annal restore USER [MAILBOX] --from BACKUP... [--at TIME] [--replace]\n"
    "Makes mailboxes what they were: messages that went come back as new ones, those that came\n"
    "since go, flags are as then. Nothing is lost: what is undone stays in the history. A mailbox\n"
    "that was renamed gets its name back, a deleted one comes back with its history. A server may\n"
    "be running. An interrupt ends it without harm; the same command does the rest.\n"
    "  --at TIME       how it was then; without it, how the backup has it, or, for a mailbox that\n"
    "                  was deleted, how it was in the end\n"
    "  --from BACKUP   from bundles of \"annal backup\": a full one, and all increments on it\n"
    "  --replace       with --from: the whole of an account that exists\n"
    "  --as NAME       one mailbox: into a new one of that name; all else stays\n"
    "  --children      one mailbox: those below it, too\n"
    "  --keep-new      messages and mailboxes that came since stay\n"
    "  --exact         a new account: octet for octet the backup. Only if the server was stopped\n"
    "                  before the backup; else UIDs that clients have seen would be given again\n"
    "  --dry-run       only tell what would be done; --json: as a JSON array of texts\n"
    "Options: --data DIR, --config FILE\n"
    "\n" ADMIN_MOMENT_FORMS;

struct restore_arguments {
    const char *config;
    const char *data;
    const char *user;
    const char *mailbox; /* NULL: all */
    const char *at;
    const char *as;
    GPtrArray *from; /* const char * */
    bool replace;
    bool children;
    bool keep_new;
    bool exact;
    bool dry_run;
    bool as_json;
    const struct observer *observer;
};

/* data: struct json, or NULL for people. */
static void tell(const char *line, void *data)
{
    if (data != NULL)
        json_text(data, NULL, line);
    else
        admin_print("%s", line);
}

static void tell_finding(const char *line, void *data)
{
    const char *user = data;

    admin_complain("%s: %s", user, line);
}

/* --- an account that exists --- */

static bool tell_unchanged(const char *user)
{
    admin_complain("%s: interrupted; its mailboxes are as they were", user);
    return false;
}

static bool restore_existing(const struct restore_arguments *arguments, struct account *account,
                             struct account *source, struct json *json)
{
    struct moment moment = {.first = INT64_MAX, .last = INT64_MAX};
    struct origin origin = admin_origin("restore");
    struct restore_options options = {.origin = &origin,
                                      .what = "from a backup",
                                      .keep_new = arguments->keep_new,
                                      .dry_run = arguments->dry_run,
                                      .observer = arguments->observer};
    char *what = g_strdup_printf("to %s", arguments->at != NULL ? arguments->at : "its end");
    struct store_error error = {0};
    int rc;

    if (source == account)
        options.what = what;
    if (arguments->at != NULL && !admin_moment_argument(&moment, "--at", arguments->at, true)) {
        g_free(what);
        return false;
    }
    if (arguments->mailbox == NULL || arguments->children)
        rc = restore_tree(account, source, arguments->mailbox, &moment, &options, tell, json,
                          &error);
    else if (source == account && arguments->at == NULL)
        rc = restore_deleted(account, arguments->mailbox, arguments->as, &options, tell, json,
                             &error);
    else
        rc = restore_one(account, source, arguments->mailbox, &moment, arguments->as, &options,
                         tell, json, &error);
    g_free(what);
    if (rc == 0)
        return true;
    if (interrupted() && arguments->dry_run)
        return tell_unchanged(arguments->user);
    if (interrupted()) {
        admin_complain("%s: interrupted; what was restored so far stays, the same command does the "
                       "rest",
                       arguments->user);
        return false;
    }
    if (rc == STORE_EXISTS)
        admin_complain("--as NAME restores it under another name");
    return admin_fail(arguments->mailbox != NULL ? arguments->mailbox : arguments->user, &error);
}

/* What backups brought of messages that were purged after they were made. */
static bool drop_purged(const struct restore_arguments *arguments, const char *path)
{
    const char *user = arguments->user;
    struct store_error error = {0};

    if (restore_drop_purged(path, host_system(), COLLECT_SETTLE_SECONDS, arguments->observer,
                            &error) == 0)
        return true;
    admin_complain("%s: the backup has messages that were purged since, and their octets could not "
                   "be taken off the disk again (%s): run annal gc %s",
                   user, error.detail, user);
    return false;
}

static bool restore_from_view(const struct restore_arguments *arguments, struct account *account,
                              struct json *json)
{
    struct store_error error = {0};
    struct restore_view *view = NULL;
    struct unpacked unpacked;
    bool good;

    if (restore_expect_purged(account_path(account), host_system(), &error) != 0)
        return admin_fail(arguments->user, &error);
    good = unpack_bundles(&unpacked, account_path(account), arguments->from, arguments->observer);
    if (interrupted())
        good = tell_unchanged(arguments->user);
    if (good && restore_open_view(account, &unpacked.last, arguments->observer, &view, &error) != 0)
        good =
            interrupted() ? tell_unchanged(arguments->user) : admin_fail(arguments->user, &error);
    if (good)
        good = restore_existing(arguments, account, restore_view_account(view), json);
    restore_close_view(view);
    unpacked_release(&unpacked);
    return good;
}

static bool restore_account_that_exists(const struct restore_arguments *arguments,
                                        struct admin_account *opened, struct json *json)
{
    bool good = admin_account_follow(opened, arguments->user);

    if (good && arguments->from->len == 0)
        good = restore_existing(arguments, opened->account, opened->account, json);
    else if (good && arguments->mailbox == NULL && !arguments->replace) {
        admin_complain("%s has an account: --replace makes it what the backup has (what is there "
                       "now stays in its history), or name one mailbox",
                       arguments->user);
        good = false;
    } else if (good)
        good = restore_from_view(arguments, opened->account, json);
    good = good && admin_account_sync(opened);
    if (opened->account != NULL && arguments->from->len > 0)
        good = drop_purged(arguments, account_path(opened->account)) && good;
    return good;
}

/* --- one that does not --- */

static void tell_of_password(const struct config *config, const char *user, struct json *json)
{
    char *line = g_strdup_printf("%s has no password yet: annal user add %s", user, user);
    struct users *users = admin_open_users(config);

    if (users != NULL && !users_exists(users, user))
        tell(line, json);
    users_free(users);
    g_free(line);
}

static bool finish_new(const struct restore_arguments *arguments, struct store *store,
                       struct restore_begun *begun, const struct bundle *bundle)
{
    struct origin origin = admin_origin("restore");
    struct store_error error = {0};
    char *user = g_strdup(arguments->user);
    int rc = restore_finish_account(store, user, begun, bundle, arguments->exact, &origin,
                                    tell_finding, user, arguments->observer, &error);

    g_free(user);
    if (rc != 0 && !interrupted())
        admin_fail(arguments->user, &error);
    return rc == 0;
}

static void tell_of_new(const char *user, const struct bundle *bundle, struct json *json)
{
    char *line = g_strdup_printf("%s: restored, %u references", user, bundle->references->len);

    tell(line, json);
    g_free(line);
}

/* The repository, whole and in its place; false when the problem has been told. */
static bool make_new(const struct restore_arguments *arguments, struct admin_account *opened,
                     const char *repository, struct json *json)
{
    struct store_error error = {0};
    struct restore_begun begun;
    struct unpacked unpacked;
    bool done = false;

    if (restore_begin_account(opened->store, arguments->user, &begun, &error) != 0)
        return admin_fail(arguments->user, &error);
    if (!unpack_bundles(&unpacked, begun.path, arguments->from, arguments->observer))
        restore_abandon(&begun);
    else
        done = finish_new(arguments, opened->store, &begun, &unpacked.last);
    if (done) {
        unpacked_move(&unpacked, repository);
        tell_of_new(arguments->user, &unpacked.last, json);
    }
    unpacked_release(&unpacked);
    return done;
}

static bool restore_new(const struct restore_arguments *arguments, struct admin_account *opened,
                        const char *repository, struct json *json)
{
    if (arguments->mailbox != NULL || arguments->at != NULL || arguments->dry_run) {
        admin_complain("%s has no account: restore all of it first, without --at", arguments->user);
        return false;
    }
    if (!make_new(arguments, opened, repository, json)) {
        if (interrupted())
            admin_complain("%s: interrupted; there is no account yet, nothing is left of it",
                           arguments->user);
        return false;
    }
    tell_of_password(&opened->config, arguments->user, json);
    return drop_purged(arguments, repository);
}

static int run(struct restore_arguments *arguments)
{
    struct json array = {.out = g_string_new(NULL)};
    struct json *json = arguments->as_json ? &array : NULL;
    struct admin_account opened;
    struct stat status;
    char *repository = NULL;
    bool good = admin_account_open(&opened, arguments->config, arguments->data, NULL);
    struct admin_observer *observer = admin_observer_new(arguments->user);

    arguments->observer = admin_observer_of(observer);
    if (json != NULL)
        json_begin_array(json, NULL);
    if (good && !store_user_name_valid(arguments->user)) {
        admin_complain("%s can't be a user's name", arguments->user);
        good = false;
    }
    if (good)
        repository = admin_repository(&opened.config, arguments->user);
    if (good && arguments->from->len > 0 && stat(repository, &status) != 0)
        good = restore_new(arguments, &opened, repository, json);
    else if (good)
        good = restore_account_that_exists(arguments, &opened, json);
    admin_observer_free(observer);
    if (json != NULL) {
        json_end_array(json);
        puts(array.out->str);
    }
    g_string_free(array.out, TRUE);
    g_free(repository);
    admin_account_close(&opened);
    return good && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}

/* --- arguments --- */

static bool is_consistent(const struct restore_arguments *arguments)
{
    bool from = arguments->from->len > 0;

    if (arguments->user == NULL || (!from && arguments->mailbox == NULL && arguments->at == NULL))
        return false;
    if ((arguments->as != NULL || arguments->children) && arguments->mailbox == NULL)
        return false;
    if (arguments->as != NULL && arguments->children)
        return false;
    if (arguments->children && !from && arguments->at == NULL)
        return false;
    return from || (!arguments->replace && !arguments->exact);
}

/* Words that follow --from are backups, too, until the next option. */
static bool take_word(struct restore_arguments *arguments, const char *word, bool after_from)
{
    if (after_from)
        g_ptr_array_add(arguments->from, (char *)(uintptr_t)word);
    else if (arguments->user == NULL)
        arguments->user = word;
    else if (arguments->mailbox == NULL)
        arguments->mailbox = word;
    else
        return false;
    return true;
}

static const struct option LONG_OPTIONS[] = {{"config", required_argument, NULL, 'c'},
                                             {"data", required_argument, NULL, 'd'},
                                             {"at", required_argument, NULL, 't'},
                                             {"as", required_argument, NULL, 's'},
                                             {"from", required_argument, NULL, 'f'},
                                             {"replace", no_argument, NULL, 'r'},
                                             {"children", no_argument, NULL, 'n'},
                                             {"keep-new", no_argument, NULL, 'k'},
                                             {"exact", no_argument, NULL, 'x'},
                                             {"json", no_argument, NULL, 'j'},
                                             {"dry-run", no_argument, NULL, 'y'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

/* ADMIN_DONE: help was asked for; ADMIN_USAGE; -1: all is well. */
static int read_arguments(struct restore_arguments *arguments, int argc, char **argv)
{
    bool after_from = false;
    int letter;

    /* "-": words come in their order, as letter 1. */
    while ((letter = getopt_long(argc, argv, "-c:d:h", LONG_OPTIONS, NULL)) != -1) {
        if (letter == 1) {
            if (!take_word(arguments, optarg, after_from))
                return ADMIN_USAGE;
            continue;
        }
        after_from = letter == 'f';
        if (letter == 'c')
            arguments->config = optarg;
        else if (letter == 'd')
            arguments->data = optarg;
        else if (letter == 't')
            arguments->at = optarg;
        else if (letter == 's')
            arguments->as = optarg;
        else if (letter == 'f')
            g_ptr_array_add(arguments->from, optarg);
        else if (letter == 'r')
            arguments->replace = true;
        else if (letter == 'n')
            arguments->children = true;
        else if (letter == 'k')
            arguments->keep_new = true;
        else if (letter == 'x')
            arguments->exact = true;
        else if (letter == 'y')
            arguments->dry_run = true;
        else if (letter == 'j')
            arguments->as_json = true;
        else
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
    }
    for (; optind < argc; optind++)
        if (!take_word(arguments, argv[optind], false))
            return ADMIN_USAGE;
    return is_consistent(arguments) ? -1 : ADMIN_USAGE;
}

int command_restore(int argc, char **argv)
{
    struct restore_arguments arguments = {.from = g_ptr_array_new()};
    int status = read_arguments(&arguments, argc, argv);

    if (status >= 0)
        fputs(USAGE, status == ADMIN_DONE ? stdout : stderr);
    else
        status = run(&arguments);
    g_ptr_array_unref(arguments.from);
    return status;
}
