#include "server/admin_account.h"

#include "server/admin.h"
#include "server/admin_settle.h"
#include "store/follow.h"

bool admin_account_open(struct admin_account *opened, const char *config, const char *data,
                        const char *user)
{
    *opened = (struct admin_account){.store = NULL};
    if (!admin_read_config(&opened->config, config, data))
        return false;
    opened->store =
        user != NULL ? admin_open_store(&opened->config) : admin_make_store(&opened->config);
    return opened->store != NULL && (user == NULL || admin_account_follow(opened, user));
}

bool admin_account_follow(struct admin_account *opened, const char *user)
{
    struct store_error error = {0};
    int rc = store_open_account(opened->store, user, &opened->account, &error);

    if (rc == 0)
        rc = admin_settle_within(&opened->config, user, FOLLOW_SECONDS, &error);
    if (rc != 0)
        admin_fail(user, &error);
    return rc == 0;
}

bool admin_account_sync(struct admin_account *opened)
{
    struct store_error error = {0};

    if (store_sync(opened->store, &error) == 0)
        return true;
    admin_complain("%s: %s", store_code_name(error.code), error.detail);
    return false;
}

void admin_account_close(struct admin_account *opened)
{
    account_unref(opened->account);
    store_close(opened->store);
    config_release(&opened->config);
    *opened = (struct admin_account){.store = NULL};
}
