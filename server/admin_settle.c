#include "server/admin_settle.h"

#include <unistd.h>

#include "server/admin.h"
#include "server/control.h"
#include "store/follow.h"

enum { RELAXED_SECONDS = 2 };

static enum control_result ask(const struct config *config, const char *user)
{
    const char *words[] = {"settle", user, NULL};
    char *request = control_request(words);
    GPtrArray *lines = NULL;
    char *problem = NULL;
    enum control_result result = control_ask(config->control, request, &lines, &problem);

    if (lines != NULL)
        g_ptr_array_unref(lines);
    g_free(problem);
    g_free(request);
    return result;
}

/* Opening the store replays the journals that nobody has. */
static int wait_for_git(const struct config *config, const char *user, unsigned seconds,
                        struct store_error *error)
{
    struct store *store = NULL;
    struct account *account = NULL;
    bool any;
    int rc = follow_find(&any, config->data, user, error);

    if (rc == 0 && !any)
        return 0;
    rc = store_open(&store, config->data, host_system(), error);
    if (rc == 0)
        rc = store_open_account(store, user, &account, error);
    if (rc == 0)
        rc = follow_journal(account, seconds, error);
    account_unref(account);
    store_close(store);
    return rc;
}

int admin_settle_within(const struct config *config, const char *user, unsigned seconds,
                        struct store_error *error)
{
    enum control_result answer = store_user_name_valid(user) ? ask(config, user) : CONTROL_DONE;

    if (answer == CONTROL_DONE)
        return 0;
    if (answer != CONTROL_ABSENT && config->relaxed_flags)
        sleep(RELAXED_SECONDS);
    return wait_for_git(config, user, seconds, error);
}

bool admin_settle(const struct config *config, const char *user)
{
    struct store_error error = {0};

    if (admin_settle_within(config, user, ADMIN_SETTLE_SECONDS, &error) == 0)
        return true;
    admin_complain("%s: what clients did last may be missing here, it is not all in git: %s", user,
                   error.detail);
    return false;
}
