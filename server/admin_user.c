/* annal user add|passwd|list|del */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/admin.h"
#include "server/commands.h"

static const char USAGE[] =
    "usage: annal user add NAME [--password-stdin]     make a user and the repository\n"
    "       annal user passwd NAME [--password-stdin]  set another password\n"
    "       annal user list\n"
    "       annal user del NAME                        no more logins; the mail stays\n"
    "options: --data DIR, --config FILE\n";

struct user_options {
    const char *config;
    const char *data;
    bool password_stdin;
};

/* The repository is made with the user, so that mail can be imported before the first login. */
static int make_account(const struct config *config, const char *user)
{
    struct store *store = admin_make_store(config);
    struct origin origin = admin_origin("user add");
    struct store_error error = {0};
    int result;

    if (store == NULL)
        return ADMIN_FAILED;
    result = store_create_account(store, user, &origin, &error);
    if (result == 0)
        result = store_sync(store, &error);
    store_close(store);
    if (result == 0 || result == STORE_EXISTS)
        return ADMIN_DONE;
    admin_fail(user, &error);
    return ADMIN_FAILED;
}

static int add(const struct config *config, struct users *users, const char *user,
               const char *password)
{
    char *problem = NULL;
    enum users_result result;
    int status;

    if (!store_user_name_valid(user))
        return admin_users_status(USERS_BAD_NAME, user, NULL);
    if (users_exists(users, user))
        return admin_users_status(USERS_TAKEN, user, NULL);
    status = make_account(config, user);
    if (status != ADMIN_DONE)
        return status;
    result = users_add(users, user, password, &problem);
    return admin_users_status(result, user, problem);
}

static int change(const struct config *config, struct users *users, const char *verb,
                  const char *user, bool password_stdin)
{
    char *password = admin_ask_password(password_stdin);
    char *problem = NULL;
    enum users_result result;
    int status = ADMIN_FAILED;

    if (password == NULL)
        return ADMIN_FAILED;
    if (strcmp(verb, "add") == 0) {
        status = add(config, users, user, password);
    } else {
        result = users_set_password(users, user, password, &problem);
        status = admin_users_status(result, user, problem);
    }
    admin_free_password(password);
    return status;
}

static int list(struct users *users)
{
    GPtrArray *names = users_list(users);

    for (unsigned i = 0; i < names->len; i++)
        printf("%s\n", (const char *)g_ptr_array_index(names, i));
    g_ptr_array_unref(names);
    return fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}

static int delete_user(const struct config *config, struct users *users, const char *user)
{
    char *problem = NULL;
    enum users_result result = users_delete(users, user, &problem);
    int status = admin_users_status(result, user, problem);

    if (status == ADMIN_DONE) {
        char *repository = admin_repository(config, user);

        printf("%s can no longer log in; the mail stays in %s\n", user, repository);
        g_free(repository);
    }
    return status;
}

static int run(const struct user_options *options, const char *verb, const char *user)
{
    struct config config;
    struct users *users = NULL;
    int status = ADMIN_FAILED;

    if (admin_read_config(&config, options->config, options->data))
        users = admin_open_users(&config);
    if (users == NULL)
        status = ADMIN_FAILED;
    else if (strcmp(verb, "list") == 0)
        status = list(users);
    else if (strcmp(verb, "del") == 0)
        status = delete_user(&config, users, user);
    else
        status = change(&config, users, verb, user, options->password_stdin);
    users_free(users);
    config_release(&config);
    return status;
}

int command_user(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"password-stdin", no_argument, NULL, 'p'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    static const char *const verbs[] = {"add", "passwd", "del", "list"};
    struct user_options options = {0};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'c')
            options.config = optarg;
        else if (letter == 'd')
            options.data = optarg;
        else if (letter == 'p')
            options.password_stdin = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(verbs) && optind < argc; i++) {
        int wanted = strcmp(verbs[i], "list") == 0 ? 1 : 2;

        if (strcmp(verbs[i], argv[optind]) == 0 && argc - optind == wanted)
            return run(&options, argv[optind], wanted == 2 ? argv[optind + 1] : NULL);
    }
    fputs(USAGE, stderr);
    return ADMIN_USAGE;
}
