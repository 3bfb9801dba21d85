/* Subscriptions and special uses. */
#include <string.h>

#include "store/internal/account_private.h"

struct option_task {
    struct account *account;
    const struct origin *origin;
    const char *name;
    bool subscribed;
    enum special_use use;
};

static int commit_state(const struct option_task *task, struct account_state *state,
                        const char *subject, struct store_error *error)
{
    struct transaction transaction;
    int rc = transaction_begin(&transaction, task->account, task->origin, error);

    if (rc == 0) {
        rc = transaction_set_state(&transaction, state, subject, error);
    } else {
        account_state_free(state);
    }
    if (rc == 0) {
        rc = transaction_commit(&transaction, error);
    }
    transaction_end(&transaction);
    return rc;
}

static int subscribe_attempt(void *data, struct store_error *error)
{
    const struct option_task *task = data;
    g_autofree char *subject = NULL;
    struct account_state *state;
    guint position;
    int rc = account_state_refresh(task->account, error);

    if (rc < 0) {
        return rc;
    }
    if (account_state_find_subscription(task->account->state, task->name, &position) ==
        task->subscribed) {
        return 0;
    }
    if (task->subscribed && task->account->state->subscriptions->len >= ACCOUNT_SUBSCRIPTIONS_MAX) {
        return store_error_set(error, STORE_LIMIT, "the account has %d subscriptions",
                               ACCOUNT_SUBSCRIPTIONS_MAX);
    }
    state = account_state_copy(task->account->state);
    if (task->subscribed) {
        g_ptr_array_insert(state->subscriptions, (gint)position, g_strdup(task->name));
    } else {
        g_ptr_array_remove_index(state->subscriptions, position);
    }
    subject = g_strconcat(task->subscribed ? "SUBSCRIBE " : "UNSUBSCRIBE ", task->name, NULL);
    return commit_state(task, state, subject, error);
}

int account_subscribe(struct account *account, const char *name, bool subscribed,
                      const struct origin *origin, struct store_error *error)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct option_task task = {.account = account, .origin = origin, .subscribed = subscribed};
    int rc = account_name(&canonical, &ref, name, error);

    if (rc < 0) {
        return rc;
    }
    task.name = canonical;
    return transaction_retry(subscribe_attempt, &task, error);
}

static int special_use_attempt(void *data, struct store_error *error)
{
    const struct option_task *task = data;
    g_autofree char *subject = NULL;
    struct account_state *state;
    bool holds;
    int rc = account_state_refresh(task->account, error);

    if (rc < 0) {
        return rc;
    }
    if (!account_mailbox_exists(task->account, task->name)) {
        return store_error_set(error, STORE_NOT_FOUND, "no such mailbox");
    }
    holds = account_state_use_of(task->account->state, task->name) == task->use;
    if (holds) {
        return 0;
    }
    state = account_state_copy(task->account->state);
    for (int i = 0; i < SPECIAL_USE_COUNT; i++) {
        if (i == (int)task->use || g_strcmp0(state->special_use[i], task->name) == 0) {
            g_clear_pointer(&state->special_use[i], g_free);
        }
    }
    if (task->use != SPECIAL_USE_NONE) {
        state->special_use[task->use] = g_strdup(task->name);
    }
    subject = g_strdup_printf("SPECIAL-USE %s of %s",
                              task->use == SPECIAL_USE_NONE ? "none" : special_use_name(task->use),
                              task->name);
    return commit_state(task, state, subject, error);
}

int account_set_special_use(struct account *account, const char *name, enum special_use use,
                            const struct origin *origin, struct store_error *error)
{
    g_autofree char *canonical = NULL;
    g_autofree char *ref = NULL;
    struct option_task task = {.account = account, .origin = origin, .use = use};
    int rc = account_name(&canonical, &ref, name, error);

    if (rc < 0) {
        return rc;
    }
    task.name = canonical;
    return transaction_retry(special_use_attempt, &task, error);
}
