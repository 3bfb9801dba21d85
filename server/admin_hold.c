/* annal hold USER: nothing of an account's past goes until it is released */
#include <getopt.h>
#include <stdio.h>

#include "server/admin.h"
#include "server/commands.h"
#include "store/hold.h"

static const char USAGE[] =
    "usage: annal hold USER [--reason TEXT] [--data DIR] [--config FILE]\n"
    "       annal hold USER --release [--reason TEXT]\n"
    "       annal hold USER --show\n"
    "Puts an account on hold: neither retention nor annal purge removes anything of its past "
    "until\n"
    "the hold is released. Each hold and release stays on record: git log refs/annal/holds.\n"
    "  --reason TEXT  for the record\n"
    "  --release      ends the hold\n"
    "  --show         only says whether there is one; exits with 0 if there is, else with 1\n";

struct hold_options {
    const char *config_path;
    const char *data;
    const char *reason;
    bool release;
    bool show;
};

static int fail(const char *user, const struct store_error *error)
{
    admin_complain("%s: %s", user, error->detail);
    return ADMIN_FAILED;
}

static int show(const char *user, const char *repository)
{
    struct store_error error = {0};
    bool held;

    if (hold_read(&held, repository, host_system(), &error) != 0)
        return fail(user, &error);
    printf("%s: %s\n", user, held ? "on hold" : "not on hold");
    return held ? ADMIN_DONE : ADMIN_FAILED;
}

static int change(const char *user, const char *repository, const struct hold_options *options)
{
    struct origin origin = admin_origin("annal hold");
    struct store_error error = {0};

    if (hold_change(repository, host_system(), !options->release, user, &origin, options->reason,
                    &error) != 0)
        return fail(user, &error);
    printf("%s: %s\n", user, options->release ? "the hold is released" : "on hold");
    return ADMIN_DONE;
}

static int run(const char *user, const struct hold_options *options)
{
    struct config config;
    char *repository;
    int status = ADMIN_FAILED;

    if (!store_user_name_valid(user)) {
        admin_complain("%s can't be a user's name", user);
        return ADMIN_FAILED;
    }
    if (admin_read_config(&config, options->config_path, options->data)) {
        repository = admin_repository(&config, user);
        status = options->show ? show(user, repository) : change(user, repository, options);
        g_free(repository);
    }
    config_release(&config);
    return status;
}

int command_hold(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"reason", required_argument, NULL, 'r'},
                                                 {"release", no_argument, NULL, 'R'},
                                                 {"show", no_argument, NULL, 's'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    struct hold_options options = {0};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:r:Rsh", long_options, NULL)) != -1) {
        if (letter == 'c')
            options.config_path = optarg;
        else if (letter == 'd')
            options.data = optarg;
        else if (letter == 'r')
            options.reason = optarg;
        else if (letter == 'R')
            options.release = true;
        else if (letter == 's')
            options.show = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (optind + 1 != argc || (options.release && options.show)) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    return run(argv[optind], &options);
}
