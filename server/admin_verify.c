/* annal verify USER...: checks repositories */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/admin.h"
#include "server/admin_observer.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/interrupt.h"
#include "store/hold.h"
#include "store/signing.h"
#include "store/verify.h"

static const char USAGE[] =
    "usage: annal verify (USER... | --all) [--signatures [--key FILE]...] [--data DIR]\n"
    "                    [--config FILE]\n"
    "Checks git's integrity and Annal's own rules; prints what is wrong. A server may be running.\n"
    "  --signatures  checks the signed checkpoints, too\n"
    "  --key FILE    trusts the public keys in this file (id_ed25519.pub, or git's allowed\n"
    "                signers); without it the one of the configuration's signing_key\n";

enum { KEY_FILE_MAX = 1024 * 1024 };

static void print_hold(const char *user, const char *repository)
{
    struct store_error ignored;
    bool held;

    if (hold_read(&held, repository, host_system(), &ignored) == 0 && held)
        printf("%s: on hold: nothing of its past goes\n", user);
}

struct finding_place {
    const char *user;
    struct admin_observer *observer;
};

static void print_finding(const char *finding, void *data)
{
    const struct finding_place *place = data;

    admin_observer_pause(place->observer);
    printf("%s: %s\n", place->user, finding);
}

/* --- signatures --- */

static bool read_keys(GPtrArray *out, const char *path)
{
    char *text = g_malloc(KEY_FILE_MAX + 1);
    FILE *file = fopen(path, "re");
    size_t length = file != NULL ? fread(text, 1, KEY_FILE_MAX, file) : 0;
    char **lines;

    if (file == NULL)
        admin_complain("%s: %s", path, strerror(errno));
    else
        fclose(file);
    text[length] = '\0';
    lines = g_strsplit(text, "\n", -1);
    for (size_t i = 0; lines[i] != NULL; i++)
        if (lines[i][0] != '#' && strstr(lines[i], "ssh-ed25519 ") != NULL)
            g_ptr_array_add(out, g_strdup(lines[i]));
    g_strfreev(lines);
    g_free(text);
    return file != NULL;
}

/* Those that were named, or the public half of the server's own. */
static bool find_keys(GPtrArray *keys, const struct config *config)
{
    struct signing_key *key = NULL;
    struct store_error error;

    if (keys->len > 0)
        return true;
    if (config->signing_key == NULL) {
        admin_complain("there is no signing_key in the configuration: name a public key by --key");
        return false;
    }
    if (signing_key_load(&key, config->signing_key, &error) != 0) {
        admin_complain("signing_key: %s", error.detail);
        return false;
    }
    g_ptr_array_add(keys, signing_key_public(key));
    signing_key_free(key);
    return true;
}

static void format_time(char out[32], int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm fields;

    *out = '\0';
    if (gmtime_r(&time, &fields) != NULL)
        strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &fields);
}

static void print_checkpoints(const char *user, const struct checkpoint_report *report)
{
    char day[32];
    char first_day[32];

    if (report->checkpoints == 0) {
        printf("%s: there are no checkpoints\n", user);
        return;
    }
    format_time(day, report->last);
    format_time(first_day, report->first);
    printf("%s: %zu checkpoints, the last one of %s; %zu heads are in the history", user,
           report->checkpoints, day, report->heads);
    if (report->from > 1)
        printf("; the chain begins at checkpoint %" G_GUINT64_FORMAT " of %s, those before it went "
               "with their history",
               report->from, first_day);
    if (report->purged > 0)
        printf("; %zu were written anew by a purge", report->purged);
    if (report->before > 0)
        printf("; %zu are older than what is kept", report->before);
    putchar('\n');
}

static bool verify_signatures(const char *user, const char *repository, const GPtrArray *keys)
{
    struct finding_place place = {.user = user, .observer = admin_observer_new(user)};
    struct checkpoint_report report;
    struct store_error error = {0};
    size_t findings = 0;
    int code = checkpoints_verify(repository, keys, print_finding, &place,
                                  admin_observer_of(place.observer), &report, &findings, &error);

    admin_observer_free(place.observer);
    if (code != 0 && interrupted()) {
        admin_complain("%s: interrupted; %zu findings so far in the signatures", user, findings);
        return false;
    }
    if (code != 0)
        return admin_fail(user, &error);
    print_checkpoints(user, &report);
    if (findings > 0)
        printf("%s: %zu findings in the signatures\n", user, findings);
    return findings == 0;
}

/* --- an account --- */

/* keys: NULL without --signatures. */
static bool verify(const struct config *config, const char *user, void *keys)
{
    struct finding_place place = {.user = user};
    struct store_error error = {0};
    size_t findings = 0;
    char *repository;
    bool good = false;
    int code;

    if (interrupted())
        return false;
    admin_settle(config, user);
    repository = admin_repository(config, user);
    place.observer = admin_observer_new(user);
    code = verify_observed(repository, print_finding, &place, admin_observer_of(place.observer),
                           &findings, &error);
    admin_observer_free(place.observer);
    if (code != 0 && interrupted())
        admin_complain("%s: interrupted; %zu findings so far", user, findings);
    else if (code != 0)
        admin_fail(user, &error);
    else if (findings > 0)
        printf("%s: %zu findings\n", user, findings);
    else {
        printf("%s: good\n", user);
        good = true;
    }
    /* Interrupted from here on, that one tells so. */
    if (keys != NULL && (code == 0 || !interrupted()))
        good = verify_signatures(user, repository, keys) && good;
    print_hold(user, repository);
    g_free(repository);
    return good;
}

int command_verify(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"all", no_argument, NULL, 'a'},
                                                 {"signatures", no_argument, NULL, 's'},
                                                 {"key", required_argument, NULL, 'k'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    const char *config_path = NULL;
    const char *data = NULL;
    GPtrArray *keys = g_ptr_array_new_with_free_func(g_free);
    GPtrArray *trusted = NULL;
    bool all = false;
    bool signatures = false;
    bool readable = true;
    struct config config;
    int status;
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:ask:h", long_options, NULL)) != -1) {
        if (letter == 'c')
            config_path = optarg;
        else if (letter == 'd')
            data = optarg;
        else if (letter == 'a')
            all = true;
        else if (letter == 's')
            signatures = true;
        else if (letter == 'k')
            readable = read_keys(keys, optarg) && readable;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            g_ptr_array_unref(keys);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (all == (optind < argc)) {
        fputs(USAGE, stderr);
        g_ptr_array_unref(keys);
        return ADMIN_USAGE;
    }
    status = admin_read_config(&config, config_path, data) ? ADMIN_DONE : ADMIN_FAILED;
    if (status == ADMIN_DONE && signatures) {
        status = readable && find_keys(keys, &config) ? ADMIN_DONE : ADMIN_FAILED;
        trusted = keys;
    }
    if (status == ADMIN_DONE && !admin_for_users(&config, argv + optind, all, verify, trusted))
        status = ADMIN_FAILED;
    config_release(&config);
    g_ptr_array_unref(keys);
    return status;
}
