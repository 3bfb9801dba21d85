/* annal verify USER...: checks repositories */
#include <getopt.h>
#include <stdio.h>

#include "server/admin.h"
#include "server/commands.h"
#include "store/hold.h"
#include "store/verify.h"

static const char USAGE[] = "usage: annal verify (USER... | --all) [--data DIR] [--config FILE]\n"
                            "Checks git's integrity and Annal's own rules; prints what is wrong. A "
                            "server may be running.\n";

static void print_hold(const char *user, const char *repository)
{
    struct store_error ignored;
    bool held;

    if (hold_read(&held, repository, host_system(), &ignored) == 0 && held)
        printf("%s: on hold: nothing of its past goes\n", user);
}

static void print_finding(const char *finding, void *data)
{
    const char *user = data;

    printf("%s: %s\n", user, finding);
}

static bool verify(const struct config *config, const char *user)
{
    struct store_error error = {0};
    size_t findings = 0;
    char *repository;
    bool good = false;

    if (!store_user_name_valid(user)) {
        admin_complain("%s can't be a user's name", user);
        return false;
    }
    repository = admin_repository(config, user);
    if (verify_repository(repository, print_finding, (void *)user, &findings, &error) != 0)
        admin_complain("%s: %s: %s", user, store_code_name(error.code), error.detail);
    else if (findings > 0)
        printf("%s: %zu findings\n", user, findings);
    else {
        printf("%s: good\n", user);
        good = true;
    }
    print_hold(user, repository);
    g_free(repository);
    return good;
}

static int verify_all(const struct config *config)
{
    GPtrArray *names = admin_repository_users(config);
    bool good = names != NULL;

    for (unsigned i = 0; names != NULL && i < names->len; i++)
        good = verify(config, g_ptr_array_index(names, i)) && good;
    if (names != NULL)
        g_ptr_array_unref(names);
    return good ? ADMIN_DONE : ADMIN_FAILED;
}

int command_verify(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"all", no_argument, NULL, 'a'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    const char *config_path = NULL;
    const char *data = NULL;
    bool all = false;
    struct config config;
    int status;
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:ah", long_options, NULL)) != -1) {
        if (letter == 'c')
            config_path = optarg;
        else if (letter == 'd')
            data = optarg;
        else if (letter == 'a')
            all = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (all == (optind < argc)) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    status = admin_read_config(&config, config_path, data) ? ADMIN_DONE : ADMIN_FAILED;
    if (status == ADMIN_DONE && all)
        status = verify_all(&config);
    else if (status == ADMIN_DONE)
        for (int i = optind; i < argc; i++)
            if (!verify(&config, argv[i]))
                status = ADMIN_FAILED;
    config_release(&config);
    return status;
}
