/* annal gc USER...: puts repositories in order */
#include <getopt.h>
#include <stdio.h>
#include <time.h>

#include "server/admin.h"
#include "server/admin_observer.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/interrupt.h"
#include "store/collect.h"
#include "store/retention.h"

static const char USAGE[] =
    "usage: annal gc (USER... | --all) [--history] [--now] [--compress] [--data DIR]\n"
    "                [--config FILE]\n"
    "Merges an account's packs into one, drops what nothing has referred to for two weeks, packs\n"
    "references, removes what crashes left. A server may be running.\n"
    "  --history   first lets go, and drops at once, the history that is older than the\n"
    "              configuration's history_keep: a server does the same by itself, in time\n"
    "  --now       drops what is older than ten minutes, and frees the space of old packs at once\n"
    "              instead of later: whoever is cloning may have to begin anew\n"
    "  --compress  deflates the messages: takes time, and a little more to read them\n";

static const char *size_text(char text[32], uint64_t octets)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    double number = (double)octets / 1000;
    size_t unit = 0;

    for (; number >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        number /= 1000;
    snprintf(text, 32, "%.1f %s", number, units[unit]);
    return text;
}

static void print_result(const char *user, const struct collect_result *result)
{
    char before[32];
    char after[32];

    printf("%s: %zu packs, %s", user, result->packs_before,
           size_text(before, result->octets_before));
    printf("; now %zu, %s\n", result->packs_after, size_text(after, result->octets_after));
    if (result->loose > 0)
        printf("%s: %zu objects were in files of their own\n", user, result->loose);
    if (result->dropped > 0)
        printf("%s: dropped %zu objects that nothing refers to\n", user, result->dropped);
    if (result->references > 0)
        printf("%s: packed %zu references\n", user, result->references);
    if (result->kept > 0)
        printf("%s: left %zu packs alone that somebody protects (a server, its newest)\n", user,
               result->kept);
    if (result->unusable > 0)
        printf("%s: left %zu packs alone that can't be copied; see annal verify\n", user,
               result->unusable);
    if (result->octets_waiting > 0)
        printf("%s: %s of old packs wait for whoever may be cloning; they go in ten minutes, or at "
               "the next gc\n",
               user, size_text(before, result->octets_waiting));
    if (result->incomplete)
        printf("%s: something that is referred to is missing, so nothing was dropped; "
               "see annal verify\n",
               user);
}

static void print_cut(const char *user, const struct retention_result *result)
{
    char day[32] = "";
    time_t oldest = (time_t)result->oldest;
    struct tm fields;

    if (result->held) {
        printf("%s: is on hold, so all of its history stays; see annal hold\n", user);
        return;
    }
    if (result->kept == 0) {
        printf("%s: keeps all of its history, as the configuration says\n", user);
        return;
    }
    if (gmtime_r(&oldest, &fields) != NULL)
        strftime(day, sizeof(day), "%Y-%m-%d", &fields);
    printf("%s: keeps %zu changes since %s", user, result->kept, day);
    if (result->cuts > 0)
        printf("; let go what was before");
    if (result->deleted > 0)
        printf("; forgot %zu deleted mailboxes", result->deleted);
    putchar('\n');
}

static bool cut_history(const struct config *config, const char *user, const char *repository)
{
    struct retention_policy *policy = config_retention(config);
    struct retention_result result;
    struct store_error error = {0};
    int code = retention_cut(repository, host_system(), policy, &result, &error);

    retention_policy_free(policy);
    if (code != 0)
        admin_fail(user, &error);
    else
        print_cut(user, &result);
    return code == 0;
}

static bool collect(const struct config *config, const char *user, void *options)
{
    struct admin_observer *observer;
    struct collect_settings settings = *(const struct collect_settings *)options;
    struct collect_result result;
    struct store_error error = {0};
    char *repository;
    int code;

    if (interrupted())
        return false;
    admin_settle(config, user);
    repository = admin_repository(config, user);
    if (settings.history && !cut_history(config, user, repository)) {
        g_free(repository);
        return false;
    }
    observer = admin_observer_new(user);
    settings.observer = admin_observer_of(observer);
    code = collect_repository(repository, host_system(), &settings, &result, &error);
    g_free(repository);
    admin_observer_free(observer);
    if (code != 0 && interrupted()) {
        admin_complain("%s: interrupted; its packs are as they were", user);
        return false;
    }
    if (code != 0) {
        admin_fail(user, &error);
        return false;
    }
    print_result(user, &result);
    return true;
}

static bool replay(const struct config *config)
{
    struct store *store = admin_open_store(config);

    store_close(store);
    return store != NULL;
}

int command_gc(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'}, {"data", required_argument, NULL, 'd'},
        {"all", no_argument, NULL, 'a'},          {"history", no_argument, NULL, 'H'},
        {"now", no_argument, NULL, 'n'},          {"compress", no_argument, NULL, 'z'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct collect_settings settings = {.settle_seconds = COLLECT_SETTLE_SECONDS};
    const char *config_path = NULL;
    const char *data = NULL;
    bool all = false;
    struct config config;
    int status;
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:aHnzh", long_options, NULL)) != -1) {
        if (letter == 'c')
            config_path = optarg;
        else if (letter == 'd')
            data = optarg;
        else if (letter == 'a')
            all = true;
        else if (letter == 'H')
            settings.history = true;
        else if (letter == 'n')
            settings.now = true;
        else if (letter == 'z')
            settings.compress = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (all == (optind < argc)) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    /* A journal that a crash left may have what nothing in git refers to yet. */
    status = admin_read_config(&config, config_path, data) && replay(&config) ? ADMIN_DONE
                                                                              : ADMIN_FAILED;
    if (status == ADMIN_DONE && !admin_for_users(&config, argv + optind, all, collect, &settings))
        status = ADMIN_FAILED;
    config_release(&config);
    return status;
}
