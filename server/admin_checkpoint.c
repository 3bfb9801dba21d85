/* annal checkpoint USER...: signs what there is now */
#include <getopt.h>
#include <stdio.h>

#include "server/admin.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "store/retention.h"
#include "store/signing.h"

static const char USAGE[] =
    "usage: annal checkpoint (USER... | --all) [--data DIR] [--config FILE]\n"
    "Signs the heads of accounts with the configuration's signing_key, unless nothing has changed\n"
    "since the last checkpoint. A server does so by itself every signing_hours. annal verify, or\n"
    "git verify-tag refs/annal/checkpoints/NUMBER, checks it.\n";

struct signer {
    struct signing_key *key;
    int64_t keep; /* seconds */
};

static bool sign(const struct config *config, const char *user, void *data)
{
    const struct signer *signer = data;
    struct store_error error = {0};
    char *repository;
    bool made;

    admin_settle(config, user);
    repository = admin_repository(config, user);
    int code = STORE_CONFLICT;

    /* A server may be signing at the same moment. */
    for (unsigned tries = 0; code == STORE_CONFLICT && tries < 3; tries++)
        code = checkpoint_make(repository, host_system(), signer->key, user, 0, signer->keep, &made,
                               &error);
    g_free(repository);
    if (code != 0)
        admin_fail(user, &error);
    else
        printf("%s: %s\n", user, made ? "signed" : "nothing has changed since the last checkpoint");
    return code == 0;
}

static bool run(const struct config *config, char **users, bool all)
{
    struct signer signer;
    struct retention_policy *policy;
    struct store_error error;
    bool good;

    if (config->signing_key == NULL) {
        admin_complain("there is no signing_key in the configuration: ssh-keygen -t ed25519 -N '' "
                       "makes one");
        return false;
    }
    if (signing_key_load(&signer.key, config->signing_key, &error) != 0) {
        admin_complain("signing_key: %s", error.detail);
        return false;
    }
    policy = config_retention(config);
    signer.keep = retention_policy_longest(policy);
    retention_policy_free(policy);
    good = admin_for_users(config, users, all, sign, &signer);
    signing_key_free(signer.key);
    return good;
}

int command_checkpoint(int argc, char **argv)
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
    bool good = admin_read_config(&config, config_path, data) && run(&config, argv + optind, all);
    config_release(&config);
    return good ? ADMIN_DONE : ADMIN_FAILED;
}
