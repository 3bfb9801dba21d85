/* annal import USER (maildir|mbox|takeout) PATH: brings mail in, with its dates, flags and UIDs */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/import_maildir.h"
#include "server/import_mbox.h"
#include "server/import_target.h"
#include "server/interrupt.h"
#include "server/progress.h"

static const char USAGE[] =
    "usage: annal import USER (maildir|mbox|takeout) PATH [options]\n"
    "Adds the messages of a Maildir with its subfolders, of an mbox file or a directory of them, "
    "or\n"
    "of an mbox from Gmail Takeout to the user's mail. Dates, flags, keywords and subscriptions "
    "are\n"
    "kept, and UIDs where the source has them (Dovecot's and Courier's Maildir, Dovecot's mbox) "
    "and\n"
    "the mailbox was never used. Interrupted, it goes on where it was when it is started again. A\n"
    "server may be running. The same import again, later, adds what is new in the source, and\n"
    "gives messages the flags that they have there unless somebody changed them here; what was\n"
    "deleted here does not come again.\n"
    "  --mailbox NAME      puts all into NAME (UTF-8, '/' between levels; made if need be) and\n"
    "                      below it, in place of INBOX\n"
    "  --uids keep         where possible (the default), else new ones, and says so\n"
    "  --uids require      stops at a mailbox whose UIDs can't be kept\n"
    "  --uids fresh        gives new UIDs to all\n"
    "  --keep-bytes        octets as they are; else bare LF line ends become CRLF, as mail has\n"
    "                      them on the wire, and an mbox's own fields (Status, ...) go\n"
    "  --duplicates        adds also what is there already with the same octets and date, or was\n"
    "                      deleted since\n"
    "  --delete-gone       when it is not the first import: removes messages that came with their\n"
    "                      UIDs from this source, are gone there and were not changed here\n"
    "  --quoting MODE      of \"From \" in an mbox: mboxrd (the default), mboxo or none\n"
    "  --labels mailboxes  of Takeout: a message is in the mailbox of each of its labels "
    "(default)\n"
    "  --labels keywords   it is in one mailbox, its own labels become keywords\n"
    "  --label NAME=WHAT   a label is the mailbox WHAT, or what Gmail calls WHAT in English if it\n"
    "                      begins with a backslash: --label Ungelesen=\\\\Unread; empty: nothing\n"
    "  --progress MODE     auto (a line on a terminal), plain (lines now and then), none\n"
    "  --data DIR, --config FILE\n";

/* One that is running; there is one import in a process. */
struct import {
    struct import_target *target;
    struct progress *progress;
    struct observer observer; /* while history is read */
    bool reading;             /* it is told of */
    uint64_t total;
    const char *unit;
};

static void complain(const char *text)
{
    admin_complain("%s", text);
}

/* --- the sink --- */

static void on_total(void *data, uint64_t total, enum import_unit unit)
{
    struct import *import = data;

    import->total = total;
    import->unit = unit == IMPORT_MESSAGES ? "messages" : NULL;
    progress_total(import->progress, total, import->unit);
}

static void on_progress(void *data, uint64_t done)
{
    struct import *import = data;

    if (import->reading) {
        import->reading = false;
        progress_stage(import->progress, "import", import->unit);
        progress_total(import->progress, import->total, import->unit);
    }
    progress_update(import->progress, done);
}

/* What was there before is read from the history, which may be long. */
static void on_history(enum observer_stage stage, uint64_t done, uint64_t total, void *data)
{
    struct import *import = data;

    (void)stage;
    if (!import->reading) {
        import->reading = true;
        progress_stage(import->progress, "import: reading the history", "changes");
    }
    progress_total(import->progress, total, "changes");
    progress_update(import->progress, done);
}

static bool on_go_on(void *data)
{
    (void)data;
    return !interrupted();
}

static bool on_mailbox(void *data, const struct import_mailbox *mailbox)
{
    struct import *import = data;

    return !interrupted() && import_target_mailbox(import->target, mailbox);
}

static enum import_wish on_wish(void *data, const struct import_message *message)
{
    struct import *import = data;

    return import_target_wish(import->target, message);
}

static bool on_message(void *data, const struct import_message *message)
{
    struct import *import = data;

    return !interrupted() && import_target_message(import->target, message);
}

static void on_subscribed(void *data, const char *mailbox)
{
    struct import *import = data;

    import_target_subscribed(import->target, mailbox);
}

static void on_skipped(void *data, const char *what)
{
    struct import *import = data;
    char *text = g_strdup_printf("skipped %s", what);

    import_target_skipped(import->target);
    complain(text);
    g_free(text);
}

static void on_doubtful(void *data, const char *what)
{
    (void)data;
    complain(what);
}

/* --- the command --- */

struct import_options {
    const char *config;
    const char *data;
    const char *user;
    const char *path;
    bool maildir;
    enum progress_mode progress;
    struct import_target_options target;
    struct import_mbox_options mbox;
};

static void print_count(const char *what, uint64_t count)
{
    if (count > 0)
        printf("%s: %" G_GUINT64_FORMAT "\n", what, count);
}

static void print_counts(const struct import_counts *counts)
{
    printf("%" G_GUINT64_FORMAT " messages, %" G_GUINT64_FORMAT
           " octets into %u mailboxes; %" G_GUINT64_FORMAT " there already, %u skipped\n",
           counts->messages, counts->octets, counts->mailboxes, counts->there, counts->skipped);
    print_count("got the flags that they have in the source now", counts->place.flags);
    print_count("flags were changed here since, left as they are", counts->place.changed);
    print_count("deleted or moved here since, left out", counts->deleted);
    print_count("gone in the source, removed", counts->place.removed);
    print_count("gone in the source, left (--delete-gone removes them)", counts->place.gone);
}

static bool run_import(struct import *import, const struct import_options *options)
{
    struct import_sink sink = {
        .data = import,
        .total = on_total,
        .progress = on_progress,
        .mailbox = on_mailbox,
        .wish = on_wish,
        .message = on_message,
        .subscribed = on_subscribed,
        .skipped = on_skipped,
        .doubtful = on_doubtful,
    };
    char *problem = NULL;
    bool done = options->maildir ? import_maildir(options->path, &sink, &problem)
                                 : import_mbox(options->path, &options->mbox, &sink, &problem);

    if (interrupted())
        done = import_target_flush(import->target) && false;
    else
        done = done && import_target_finish(import->target);
    if (problem != NULL)
        complain(problem);
    g_free(problem);
    return done;
}

/* The user's account, made if only the password file knows the user. */
static struct account *open_account(struct store *store, const struct config *config,
                                    const char *user)
{
    struct store_error error = {0};
    struct origin origin = import_origin(IMPORT_COMMAND);
    struct account *account = NULL;
    int result;

    admin_settle(config, user);
    result = store_open_account(store, user, &account, &error);
    if (result == STORE_NOT_FOUND) {
        struct users *users = admin_open_users(config);

        if (users != NULL && users_exists(users, user)) {
            result = store_create_account(store, user, &origin, &error);
            if (result == 0)
                result = store_open_account(store, user, &account, &error);
        }
        users_free(users);
    }
    if (result != 0)
        admin_complain("%s: %s: %s", user, store_code_name(error.code), error.detail);
    return account;
}

static bool import_into(struct store *store, struct account *account,
                        const struct import_options *options)
{
    struct import import = {
        .progress = progress_new(stderr, options->progress, "import", "messages"),
        .observer = {.progress = on_history, .go_on = on_go_on, .data = &import},
    };
    struct import_target_options target = options->target;
    bool done;

    target.observer = &import.observer;
    import.target = import_target_new(store, account, &target, complain);
    done = run_import(&import, options);
    progress_free(import.progress);
    print_counts(import_target_counts(import.target));
    if (interrupted())
        admin_complain("interrupted; what was imported is kept, the same command goes on");
    import_target_free(import.target);
    return done;
}

static int import_user(const struct import_options *options)
{
    struct config config;
    struct store *store = NULL;
    struct account *account = NULL;
    bool done = admin_read_config(&config, options->config, options->data);

    if (done)
        store = admin_open_store(&config);
    if (store != NULL)
        account = open_account(store, &config, options->user);
    interrupt_catch();
    done = account != NULL && import_into(store, account, options);
    account_unref(account);
    store_close(store);
    config_release(&config);
    return done && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}

static bool parse_uids(enum import_uids *out, const char *text)
{
    static const char *const names[] = {"keep", "require", "fresh"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum import_uids)i;
            return true;
        }
    }
    return false;
}

static bool parse_quoting(enum import_mbox_quoting *out, const char *text)
{
    static const char *const names[] = {"mboxrd", "mboxo", "none"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum import_mbox_quoting)i;
            return true;
        }
    }
    return false;
}

/* False: no such option, or not such a value. */
static bool take_option(struct import_options *options, int letter, const char *value)
{
    switch (letter) {
    case 'c':
        options->config = value;
        return true;
    case 'd':
        options->data = value;
        return true;
    case 'm':
        options->target.root = value;
        return true;
    case 'k':
        options->target.keep_bytes = options->mbox.keep_bytes = true;
        return true;
    case 'D':
        options->target.duplicates = true;
        return true;
    case 'g':
        options->target.delete_gone = true;
        return true;
    case 'u':
        return parse_uids(&options->target.uids, value);
    case 'p':
        return progress_mode_parse(&options->progress, value);
    case 'q':
        return parse_quoting(&options->mbox.quoting, value);
    case 'l':
        options->mbox.map.keywords = strcmp(value, "keywords") == 0;
        return options->mbox.map.keywords || strcmp(value, "mailboxes") == 0;
    case 'L':
        return import_label_map_add(&options->mbox.map, value);
    default:
        return false;
    }
}

static bool take_format(struct import_options *options, const char *format)
{
    options->maildir = strcmp(format, "maildir") == 0;
    options->mbox.labels = strcmp(format, "takeout") == 0;
    return options->maildir || options->mbox.labels || strcmp(format, "mbox") == 0;
}

int command_import(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"mailbox", required_argument, NULL, 'm'},
                                                 {"keep-bytes", no_argument, NULL, 'k'},
                                                 {"duplicates", no_argument, NULL, 'D'},
                                                 {"delete-gone", no_argument, NULL, 'g'},
                                                 {"uids", required_argument, NULL, 'u'},
                                                 {"progress", required_argument, NULL, 'p'},
                                                 {"quoting", required_argument, NULL, 'q'},
                                                 {"labels", required_argument, NULL, 'l'},
                                                 {"label", required_argument, NULL, 'L'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    struct import_options options = {.target = {.root = "INBOX"}};
    int letter;

    int status = ADMIN_USAGE;

    while ((letter = getopt_long(argc, argv, "c:d:m:kh", long_options, NULL)) != -1)
        if (!take_option(&options, letter, optarg))
            break;
    if (letter == -1 && argc - optind == 3 && take_format(&options, argv[optind + 1])) {
        options.user = argv[optind];
        options.path = argv[optind + 2];
        status = import_user(&options);
    } else {
        fputs(USAGE, letter == 'h' ? stdout : stderr);
        status = letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
    }
    import_label_map_release(&options.mbox.map);
    return status;
}
