/* annal receive-check: what git's hooks run when somebody pushes into a repository */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/commands.h"
#include "store/receive.h"

static const char USAGE[] =
    "usage: annal receive-check REFERENCE OLD NEW    git's \"update\" hook: may it move?\n"
    "       annal receive-check --done               git's \"post-receive\" hook\n"
    "To be run by git, in a repository.\n";

enum { LINE_MAX_OCTETS = 2 * OBJECT_ID_HEX + 1100 };

static int check(const char *path, const char *reference, const char *old, const char *new)
{
    struct store_error error = {0};
    struct object_id before;
    struct object_id after;

    if (!object_id_parse(&before, old) || !object_id_parse(&after, new)) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    if (receive_check(path, reference, &before, &after, &error) == 0)
        return ADMIN_DONE;
    admin_complain("%s: %s", reference, error.detail);
    return ADMIN_FAILED;
}

/* DATA/mail/USER.git */
static bool split_path(const char *path, char **data, char **user)
{
    char *name = g_path_get_basename(path);
    char *mail = g_path_get_dirname(path);
    char *last = g_path_get_basename(mail);
    bool good = g_str_has_suffix(name, ".git") && strcmp(last, "mail") == 0;

    if (good) {
        *data = g_path_get_dirname(mail);
        *user = g_strndup(name, strlen(name) - strlen(".git"));
    }
    g_free(last);
    g_free(mail);
    g_free(name);
    return good;
}

static void settle_line(struct account *account, char *line)
{
    struct store_error error = {0};
    struct object_id before;
    char *after = strchr(line, ' ');
    char *reference = after != NULL ? strchr(after + 1, ' ') : NULL;

    if (reference == NULL)
        return;
    *after = '\0';
    reference[strcspn(reference, "\n")] = '\0';
    if (object_id_parse(&before, line) &&
        receive_settle(account, reference + 1, &before, &error) != 0)
        admin_complain("%s: %s", reference + 1, error.detail);
}

/* What can't be done here is done by the server. */
static void settle(const char *data, const char *user)
{
    char line[LINE_MAX_OCTETS];
    struct store_error error = {0};
    struct account *account = NULL;
    struct store *store = NULL;

    if (store_open(&store, data, host_system(), &error) == 0 &&
        store_open_account(store, user, &account, &error) == 0) {
        while (fgets(line, sizeof(line), stdin) != NULL)
            settle_line(account, line);
        if (store_sync(store, &error) != 0)
            admin_complain("%s", error.detail);
    }
    account_unref(account);
    store_close(store);
}

int command_receive_check(int argc, char **argv)
{
    char path[PATH_MAX];
    const char *place = getenv("GIT_DIR");
    char *data = NULL;
    char *user = NULL;
    int status = ADMIN_DONE;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(USAGE, stdout);
        return ADMIN_DONE;
    }
    if (realpath(place != NULL ? place : ".", path) == NULL) {
        admin_complain("no repository here");
        return ADMIN_FAILED;
    }
    if (argc == 4)
        return check(path, argv[1], argv[2], argv[3]);
    if (argc != 2 || strcmp(argv[1], "--done") != 0) {
        fputs(USAGE, stderr);
        return ADMIN_USAGE;
    }
    if (split_path(path, &data, &user))
        settle(data, user);
    g_free(user);
    g_free(data);
    return status;
}
