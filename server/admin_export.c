/* annal export USER: mailboxes as a Maildir or as mbox files, as they are or as they were */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/admin.h"
#include "server/admin_moment.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/export_maildir.h"
#include "server/export_mbox.h"
#include "server/interrupt.h"
#include "server/progress.h"
#include "store/past.h"

static const char USAGE[] =
    "usage: annal export USER [MAILBOX...] (--maildir DIR | --mbox FILE|DIR) [options]\n"
    "Writes the user's mailboxes, or those named, as files that other programs read. Nothing in "
    "the\n"
    "account changes; a server may be running.\n"
    "  --maildir DIR      octets, flags, keywords, dates, UIDs and subscriptions as Dovecot has\n"
    "                     them in a Maildir. The same command again writes what is new\n"
    "  --layout LAYOUT    of its folders: maildir++ (the default) or fs\n"
    "  --mbox FILE|DIR    mboxrd: a file if one mailbox is named and there is no such directory,\n"
    "                     else a file for each mailbox, NAME.mbox\n"
    "  --uids             UIDs in an mbox, too (X-IMAPbase, X-UID)\n"
    "  --at TIME          mailboxes as they were, those that are gone now among them\n"
    "  --progress MODE    auto (a line on a terminal), plain (lines now and then), none\n"
    "  --data DIR, --config FILE\n" ADMIN_MOMENT_FORMS;

struct export_options {
    const char *config;
    const char *data;
    const char *user;
    const char *maildir;
    const char *mbox;
    const char *at;
    enum folder_layout layout;
    enum progress_mode progress;
    bool uids;
    char **names; /* that are wanted */
    int count;    /* 0: all */
};

/* A mailbox to be written. */
struct wanted {
    char *name;
    struct mailbox *mailbox;
};

static void complain(const char *text)
{
    admin_complain("%s", text);
}

static void on_progress(void *data, uint64_t messages)
{
    progress_update(data, messages);
}

static void wanted_free(void *data)
{
    struct wanted *wanted = data;

    mailbox_unref(wanted->mailbox);
    g_free(wanted->name);
    g_free(wanted);
}

/* --- which mailboxes --- */

static bool want(GPtrArray *mailboxes, struct account *account, const char *name,
                 const struct moment *moment)
{
    struct wanted *wanted = g_new0(struct wanted, 1);
    struct store_error error = {0};
    int result = moment != NULL ? past_open(account, name, moment, &wanted->mailbox, NULL, &error)
                                : account_open_mailbox(account, name, &wanted->mailbox, &error);

    wanted->name = g_strdup(g_ascii_strcasecmp(name, "INBOX") == 0 ? "INBOX" : name);
    g_ptr_array_add(mailboxes, wanted);
    return result == 0 || admin_fail(name, &error);
}

static bool want_all_now(GPtrArray *mailboxes, struct account *account)
{
    struct store_error error = {0};
    GPtrArray *list = NULL;
    bool done = account_list(account, &list, &error) == 0 || admin_fail("mailboxes", &error);

    for (unsigned i = 0; done && i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);

        if (entry->exists)
            done = want(mailboxes, account, entry->name, NULL);
    }
    if (list != NULL)
        g_ptr_array_unref(list);
    return done;
}

static bool want_all_past(GPtrArray *mailboxes, struct account *account,
                          const struct moment *moment)
{
    struct store_error error = {0};
    GPtrArray *list = NULL;
    bool done =
        past_list(account, moment, &list, NULL, &error) == 0 || admin_fail("mailboxes", &error);

    for (unsigned i = 0; done && i < list->len; i++) {
        const struct past_state *state = g_ptr_array_index(list, i);

        done = want(mailboxes, account, state->name, moment);
    }
    if (list != NULL)
        g_ptr_array_unref(list);
    return done;
}

static bool find_mailboxes(GPtrArray *mailboxes, struct account *account,
                           const struct export_options *options)
{
    struct moment moment;
    bool done = true;

    if (options->at != NULL && !admin_moment_argument(&moment, "--at", options->at, true))
        return false;
    for (int i = 0; done && i < options->count; i++)
        done = want(mailboxes, account, options->names[i], options->at != NULL ? &moment : NULL);
    if (options->count > 0)
        return done;
    return options->at != NULL ? want_all_past(mailboxes, account, &moment)
                               : want_all_now(mailboxes, account);
}

static GPtrArray *find_subscriptions(struct account *account)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    struct store_error error = {0};
    GPtrArray *list = NULL;

    if (account_list(account, &list, &error) != 0) {
        admin_fail("subscriptions", &error);
        return names;
    }
    for (unsigned i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);

        if (entry->subscribed)
            g_ptr_array_add(names, g_strdup(entry->name));
    }
    g_ptr_array_unref(list);
    return names;
}

/* --- writing --- */

static bool write_maildir(struct export_job *job, const GPtrArray *mailboxes,
                          struct account *account, const struct export_options *options)
{
    GPtrArray *subscriptions;
    bool done = export_maildir_begin(job, options->maildir);

    for (unsigned i = 0; done && i < mailboxes->len; i++) {
        const struct wanted *wanted = g_ptr_array_index(mailboxes, i);

        done = export_maildir_mailbox(job, options->maildir, options->layout, wanted->mailbox,
                                      wanted->name);
    }
    if (!done)
        return false;
    subscriptions = find_subscriptions(account);
    done = export_maildir_end(job, options->maildir, options->layout, subscriptions);
    g_ptr_array_unref(subscriptions);
    return done;
}

static bool write_mbox_below(struct export_job *job, const struct wanted *wanted,
                             const struct export_options *options)
{
    char *name = folder_name_path(wanted->name, FOLDER_FS);
    char *path = g_strdup_printf("%s/%s.mbox", options->mbox, name);
    char *directory = g_path_get_dirname(path);
    bool done = export_make_directory(job, directory) &&
                export_mbox(job, path, wanted->mailbox, options->uids);

    g_free(directory);
    g_free(path);
    g_free(name);
    return done;
}

static bool write_mbox(struct export_job *job, const GPtrArray *mailboxes,
                       const struct export_options *options)
{
    struct stat status;
    bool directory =
        options->count != 1 || (stat(options->mbox, &status) == 0 && S_ISDIR(status.st_mode));
    bool done = true;

    if (!directory) {
        const struct wanted *wanted = g_ptr_array_index(mailboxes, 0);

        return export_mbox(job, options->mbox, wanted->mailbox, options->uids);
    }
    for (unsigned i = 0; done && i < mailboxes->len; i++)
        done = write_mbox_below(job, g_ptr_array_index(mailboxes, i), options);
    return done;
}

static bool write_mailboxes(const GPtrArray *mailboxes, struct account *account,
                            const struct export_options *options)
{
    struct progress *progress = progress_new(stderr, options->progress, "export", "messages");
    struct export_job job = {
        .progress = on_progress, .complain = complain, .stopped = interrupted, .data = progress};
    uint64_t total = 0;
    bool done;

    for (unsigned i = 0; i < mailboxes->len; i++) {
        const struct wanted *wanted = g_ptr_array_index(mailboxes, i);

        total += snapshot_count(mailbox_snapshot(wanted->mailbox));
    }
    progress_total(progress, total, "messages");
    done = options->maildir != NULL ? write_maildir(&job, mailboxes, account, options)
                                    : write_mbox(&job, mailboxes, options);
    progress_free(progress);
    printf("%" G_GUINT64_FORMAT " messages, %" G_GUINT64_FORMAT
           " octets of %u mailboxes; %" G_GUINT64_FORMAT " there already\n",
           job.counts.messages, job.counts.octets, job.counts.mailboxes, job.counts.there);
    if (interrupted())
        admin_complain("interrupted; the same command goes on");
    return done;
}

static bool export_account(struct store *store, const struct config *config,
                           const struct export_options *options)
{
    GPtrArray *mailboxes = g_ptr_array_new_with_free_func(wanted_free);
    struct store_error error = {0};
    struct account *account = NULL;
    bool done = store_open_account(store, options->user, &account, &error) == 0 ||
                admin_fail(options->user, &error);

    if (done)
        admin_settle(config, options->user);
    done = done && find_mailboxes(mailboxes, account, options) &&
           write_mailboxes(mailboxes, account, options);
    g_ptr_array_unref(mailboxes);
    account_unref(account);
    return done;
}

static int run(const struct export_options *options)
{
    struct config config;
    struct store *store = NULL;
    bool done = admin_read_config(&config, options->config, options->data);

    if (done)
        store = admin_open_store(&config);
    interrupt_catch();
    done = store != NULL && export_account(store, &config, options);
    store_close(store);
    config_release(&config);
    return done && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}

/* False: no such option, or not such a value. */
static bool take_option(struct export_options *options, int letter, const char *value)
{
    switch (letter) {
    case 'c':
        options->config = value;
        return true;
    case 'd':
        options->data = value;
        return true;
    case 'M':
        options->maildir = value;
        return *value != '\0';
    case 'm':
        options->mbox = value;
        return *value != '\0';
    case 'a':
        options->at = value;
        return true;
    case 'l':
        return folder_layout_parse(&options->layout, value);
    case 'p':
        return progress_mode_parse(&options->progress, value);
    case 'u':
        options->uids = true;
        return true;
    default:
        return false;
    }
}

int command_export(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},  {"data", required_argument, NULL, 'd'},
        {"maildir", required_argument, NULL, 'M'}, {"mbox", required_argument, NULL, 'm'},
        {"at", required_argument, NULL, 'a'},      {"layout", required_argument, NULL, 'l'},
        {"uids", no_argument, NULL, 'u'},          {"progress", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct export_options options = {0};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1)
        if (!take_option(&options, letter, optarg))
            break;
    if (letter != -1 || argc <= optind || (options.maildir == NULL) == (options.mbox == NULL)) {
        fputs(USAGE, letter == 'h' ? stdout : stderr);
        return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
    }
    options.user = argv[optind];
    options.names = argv + optind + 1;
    options.count = argc - optind - 1;
    return run(&options);
}
