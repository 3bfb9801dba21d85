/* annal log USER MAILBOX: a mailbox's history for people */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/admin.h"
#include "server/commands.h"
#include "store/history.h"

static const char USAGE[] =
    "usage: annal log USER MAILBOX [--limit N] [--data DIR] [--config FILE]\n"
    "Shows who changed what and when, newest first. MAILBOX is UTF-8 with '/' between levels.\n";

static void print_entry(const struct history_entry *entry)
{
    time_t shifted = (time_t)(entry->time + (int64_t)entry->zone * 60);
    char when[32] = "?";
    char commit[OBJECT_ID_HEX + 1];
    int zone = abs(entry->zone);
    struct tm tm;

    if (gmtime_r(&shifted, &tm) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    object_id_format(&entry->commit, commit);
    printf("%.12s  %s %c%02d%02d  %s\n", commit, when, entry->zone < 0 ? '-' : '+', zone / 60,
           zone % 60, entry->subject);
    if (entry->client[0] != '\0' || entry->session[0] != '\0')
        printf("%14s%s%s%s%s\n", "", entry->client[0] != '\0' ? "by " : "", entry->client,
               entry->session[0] != '\0' ? " in session " : "", entry->session);
}

static int print_all(struct history *history, const char *mailbox, size_t limit,
                     struct store_error *error)
{
    struct history_walk *walk = history_walk_new(history);
    GPtrArray *branches = NULL;
    struct history_entry entry;
    bool more;
    int result = history_find(history, mailbox, &branches, error);

    if (result == 0)
        result = history_walk_add(walk, g_ptr_array_index(branches, 0), true, error);
    for (size_t i = 0; result == 0 && (limit == 0 || i < limit) && !ferror(stdout); i++) {
        result = history_next(walk, &entry, &more, error);
        if (result < 0 || !more)
            break;
        print_entry(&entry);
    }
    history_walk_free(walk);
    if (branches != NULL)
        g_ptr_array_unref(branches);
    return result;
}

static int show(const char *config_path, const char *data, const char *user, const char *mailbox,
                size_t limit)
{
    struct store_error error = {0};
    struct history *history = NULL;
    struct config config;
    char *repository;
    int result;

    if (!admin_read_config(&config, config_path, data) || !store_user_name_valid(user)) {
        config_release(&config);
        return ADMIN_FAILED;
    }
    repository = admin_repository(&config, user);
    result = history_open(&history, repository, &error);
    if (result == 0)
        result = print_all(history, mailbox, limit, &error);
    history_close(history);
    if (result < 0)
        admin_complain("%s: %s: %s", mailbox, store_code_name(error.code), error.detail);
    g_free(repository);
    config_release(&config);
    return result < 0 || fflush(stdout) != 0 ? ADMIN_FAILED : ADMIN_DONE;
}

int command_log(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"limit", required_argument, NULL, 'l'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    const char *config = NULL;
    const char *data = NULL;
    size_t limit = 0;
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:l:h", long_options, NULL)) != -1) {
        if (letter == 'c')
            config = optarg;
        else if (letter == 'd')
            data = optarg;
        else if (letter == 'l' && optarg[0] != '\0' &&
                 strspn(optarg, "0123456789") == strlen(optarg))
            limit = strtoul(optarg, NULL, 10);
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (argc - optind != 2) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    return show(config, data, argv[optind], argv[optind + 1], limit);
}
