#include "server/delivery_desk.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "server/log.h"

struct posted {
    struct delivery *delivery;
    void (*done)(void *data);
    void *data;
};

struct asked {
    struct delivery_question *question;
    void (*done)(void *data);
    void *data;
};

/* An account that stays open. */
struct open_account {
    struct account *account;
    int64_t used; /* by the clock of delivery_desk_rest() */
};

struct delivery_desk {
    struct delivery_context context;
    pthread_mutex_t lock;
    GArray *posted; /* struct posted, guarded by the lock, as what follows */
    GArray *asked;  /* struct asked */

    GArray *running;      /* struct posted */
    GPtrArray *users;     /* const char *, of running */
    GHashTable *accounts; /* user (the account's) to struct open_account */
    int64_t now;
};

static void open_account_free(void *data)
{
    struct open_account *open = data;

    account_unref(open->account);
    g_free(open);
}

/* When it is settled: what was stored is durable then. */
static void log_results(const struct delivery *delivery)
{
    static const char *const names[DELIVERY_RESULT_COUNT] = {
        [DELIVERY_OPEN] = "failed",           [DELIVERY_DONE] = "stored",
        [DELIVERY_AGAIN] = "stored-before",   [DELIVERY_NO_USER] = "no-user",
        [DELIVERY_NO_MAILBOX] = "no-mailbox", [DELIVERY_OVER_QUOTA] = "over-quota",
        [DELIVERY_TOO_BIG] = "too-big",       [DELIVERY_NO_SPACE] = "no-space",
        [DELIVERY_TROUBLE] = "failed",
    };
    const struct mail *mail = delivery->mail;
    char *user = log_quote(delivery->user);
    char *sender = log_quote(mail->sender);

    for (guint i = 0; i < delivery->recipients->len; i++) {
        const struct delivery_recipient *recipient =
            &g_array_index(delivery->recipients, struct delivery_recipient, i);
        char *address = log_quote(recipient->address);

        log_line(LOG_LEVEL_INFO, mail->session,
                 "event=delivery user=%s to=%s from=%s octets=%" G_GUINT64_FORMAT " result=%s",
                 user, address, sender, stash_size(mail->stash), names[recipient->result]);
        g_free(address);
    }
    g_free(user);
    g_free(sender);
}

static void settle_all(const GArray *list, bool durable)
{
    for (guint i = 0; i < list->len; i++) {
        const struct posted *posted = &g_array_index(list, struct posted, i);

        if (!durable)
            delivery_fail(posted->delivery, DELIVERY_TROUBLE);
        log_results(posted->delivery);
        posted->done(posted->data);
    }
}

struct delivery_desk *delivery_desk_new(const struct delivery_settings *settings)
{
    struct delivery_desk *desk = g_new0(struct delivery_desk, 1);

    desk->context = (struct delivery_context){settings, delivery_memory_new()};
    pthread_mutex_init(&desk->lock, NULL);
    desk->posted = g_array_new(FALSE, FALSE, sizeof(struct posted));
    desk->asked = g_array_new(FALSE, FALSE, sizeof(struct asked));
    desk->running = g_array_new(FALSE, FALSE, sizeof(struct posted));
    desk->users = g_ptr_array_new();
    desk->accounts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, open_account_free);
    return desk;
}

void delivery_desk_free(struct delivery_desk *desk)
{
    if (desk == NULL)
        return;
    settle_all(desk->running, false);
    settle_all(desk->posted, false);
    for (guint i = 0; i < desk->asked->len; i++) {
        const struct asked *asked = &g_array_index(desk->asked, struct asked, i);

        asked->done(asked->data);
    }
    g_hash_table_unref(desk->accounts);
    delivery_memory_free(desk->context.memory);
    g_ptr_array_unref(desk->users);
    g_array_unref(desk->running);
    g_array_unref(desk->posted);
    g_array_unref(desk->asked);
    pthread_mutex_destroy(&desk->lock);
    g_free(desk);
}

void delivery_desk_post(struct delivery_desk *desk, struct delivery *delivery,
                        void (*done)(void *data), void *data)
{
    struct posted posted = {delivery, done, data};

    pthread_mutex_lock(&desk->lock);
    g_array_append_val(desk->posted, posted);
    pthread_mutex_unlock(&desk->lock);
}

void delivery_desk_ask(struct delivery_desk *desk, struct delivery_question *question,
                       void (*done)(void *data), void *data)
{
    struct asked asked = {question, done, data};

    pthread_mutex_lock(&desk->lock);
    g_array_append_val(desk->asked, asked);
    pthread_mutex_unlock(&desk->lock);
}

/* --- accounts --- */

static void drop_oldest(struct delivery_desk *desk)
{
    const struct open_account *oldest = NULL;
    GHashTableIter iter;
    void *value;

    g_hash_table_iter_init(&iter, desk->accounts);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct open_account *open = value;

        if (oldest == NULL || open->used < oldest->used)
            oldest = open;
    }
    if (oldest != NULL)
        g_hash_table_remove(desk->accounts, account_user(oldest->account));
}

void delivery_desk_rest(struct delivery_desk *desk, int64_t now)
{
    GHashTableIter iter;
    void *value;

    desk->now = now;
    g_hash_table_iter_init(&iter, desk->accounts);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct open_account *open = value;

        if (open->used > now || now - open->used > DELIVERY_DESK_REST * G_USEC_PER_SEC)
            g_hash_table_iter_remove(&iter);
    }
}

/* Whoever is asked to deliver to a user knows that there is one. */
static int open_or_create(struct account **out, struct store *store, const struct mail *mail,
                          const char *user, struct store_error *error)
{
    struct origin origin = {
        .client = mail->client,
        .session = mail->session,
        .command = mail->command,
        .time = mail->time,
    };
    int code = store_open_account(store, user, out, error);

    if (code != STORE_NOT_FOUND)
        return code;
    code = store_create_account(store, user, &origin, error);
    return code == 0 || code == STORE_EXISTS ? store_open_account(store, user, out, error) : code;
}

/* NULL: it isn't open. */
static struct account *find_open(const struct delivery_desk *desk, const char *user)
{
    struct open_account *open = g_hash_table_lookup(desk->accounts, user);

    if (open == NULL)
        return NULL;
    open->used = desk->now;
    return open->account;
}

/* Takes the account. */
static void keep_open(struct delivery_desk *desk, struct account *account)
{
    struct open_account *open = g_new0(struct open_account, 1);

    if (g_hash_table_size(desk->accounts) >= DELIVERY_DESK_ACCOUNTS)
        drop_oldest(desk);
    open->account = account;
    open->used = desk->now;
    g_hash_table_insert(desk->accounts, (gpointer)account_user(account), open);
}

/* Borrowed; NULL with *error. */
static struct account *find_account(struct delivery_desk *desk, struct store *store,
                                    const struct delivery *delivery, struct store_error *error)
{
    struct account *account = find_open(desk, delivery->user);

    if (account == NULL &&
        open_or_create(&account, store, delivery->mail, delivery->user, error) == 0)
        keep_open(desk, account);
    return account;
}

/* --- questions --- */

static void answer(struct delivery_desk *desk, struct store *store,
                   struct delivery_question *question)
{
    struct account *account = find_open(desk, question->user);
    struct store_error error;

    if (account == NULL && store_open_account(store, question->user, &account, &error) == 0)
        keep_open(desk, account);
    question->full = account != NULL && !quota_would_admit(&desk->context.settings->quota, account,
                                                           1, question->octets);
}

/* True: there are more. */
static bool answer_all(struct delivery_desk *desk, struct store *store)
{
    struct asked asked[DELIVERY_DESK_QUESTIONS];

    pthread_mutex_lock(&desk->lock);
    guint count = MIN(desk->asked->len, DELIVERY_DESK_QUESTIONS);

    if (count > 0) {
        memcpy(asked, desk->asked->data, count * sizeof *asked);
        g_array_remove_range(desk->asked, 0, count);
    }
    bool left = desk->asked->len > 0;

    pthread_mutex_unlock(&desk->lock);
    for (guint i = 0; i < count; i++) {
        answer(desk, store, asked[i].question);
        asked[i].done(asked[i].data);
    }
    return left;
}

/* --- the work --- */

static void log_failure(const struct delivery *delivery, const struct store_error *error)
{
    char *user = log_quote(delivery->user);
    char *detail = log_quote(error->detail);

    log_line(LOG_LEVEL_ERROR, delivery->mail->session,
             "event=delivery-failed user=%s code=\"%s\" reason=%s", user,
             store_code_name(error->code), detail);
    g_free(user);
    g_free(detail);
}

static void run(struct delivery_desk *desk, struct store *store, struct delivery *delivery)
{
    struct store_error error = {STORE_OK, ""};
    struct account *account = find_account(desk, store, delivery, &error);

    if (account != NULL)
        delivery_run(delivery, account, &desk->context, &error);
    else
        delivery_fail(delivery, DELIVERY_TROUBLE);
    if (error.code != STORE_OK)
        log_failure(delivery, &error);
    g_ptr_array_add(desk->users, delivery->user);
}

/* At least one, if there is one. */
static guint count_for_a_turn(const GArray *posted)
{
    uint64_t octets = 0;
    guint count = 0;

    while (count < posted->len && count < DELIVERY_DESK_AT_ONCE && octets < DELIVERY_DESK_OCTETS) {
        octets += stash_size(g_array_index(posted, struct posted, count).delivery->mail->stash);
        count++;
    }
    return count;
}

/* Moves the first ones from posted to running. */
static bool take(struct delivery_desk *desk)
{
    pthread_mutex_lock(&desk->lock);
    guint count = count_for_a_turn(desk->posted);

    if (count > 0) {
        g_array_append_vals(desk->running, desk->posted->data, count);
        g_array_remove_range(desk->posted, 0, count);
    }
    bool left = desk->posted->len > 0;

    pthread_mutex_unlock(&desk->lock);
    return left;
}

bool delivery_desk_run(struct delivery_desk *desk, struct store *store, int64_t now, bool *left)
{
    desk->now = now;
    assert(desk->running->len == 0);
    bool unanswered = answer_all(desk, store);

    *left = take(desk) || unanswered;
    for (guint i = 0; i < desk->running->len; i++)
        run(desk, store, g_array_index(desk->running, struct posted, i).delivery);
    return desk->running->len > 0;
}

bool delivery_desk_is_used(const struct delivery_desk *desk)
{
    return g_hash_table_size(desk->accounts) > 0;
}

const GPtrArray *delivery_desk_users(const struct delivery_desk *desk)
{
    return desk->users;
}

void delivery_desk_settle(struct delivery_desk *desk, bool durable)
{
    if (durable)
        delivery_memory_trust(desk->context.memory);
    else
        delivery_memory_doubt(desk->context.memory);
    settle_all(desk->running, durable);
    g_array_set_size(desk->running, 0);
    g_ptr_array_set_size(desk->users, 0);
}
