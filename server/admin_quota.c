/* annal quota USER: what an account holds and may hold */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "server/admin.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/json.h"
#include "server/quota_users.h"
#include "store/usage.h"

static const char USAGE[] =
    "usage: annal quota USER [--mib N] [--messages N] [--default] [--json] [--data DIR]\n"
    "                   [--config FILE]\n"
    "Shows how much the user's account holds and may hold. --mib and --messages set limits for "
    "this\n"
    "user (0: none), which stand in the password file and hold at once, --default takes them away\n"
    "again.\n";

struct quota_options {
    const char *config;
    const char *data;
    const char *mib;
    const char *messages;
    bool reset;
    bool json;
};

/* The user's field of the password file, with what is to be changed. */
static char *new_field(const struct quota_options *options, const char *old)
{
    GString *field = g_string_new(NULL);
    struct quota_limits limits = {0};
    bool has_mib = old != NULL && strstr(old, "quota_mib=") != NULL;
    bool has_messages = old != NULL && strstr(old, "quota_messages=") != NULL;

    if (options->reset || old == NULL || !quota_limits_parse(&limits, old))
        has_mib = has_messages = false;
    if (options->mib != NULL)
        g_string_append_printf(field, "quota_mib=%s", options->mib);
    else if (has_mib)
        g_string_append_printf(field, "quota_mib=%" G_GUINT64_FORMAT, limits.octets >> 20);
    if (field->len > 0 && (options->messages != NULL || has_messages))
        g_string_append_c(field, ',');
    if (options->messages != NULL)
        g_string_append_printf(field, "quota_messages=%s", options->messages);
    else if (has_messages)
        g_string_append_printf(field, "quota_messages=%" G_GUINT64_FORMAT, limits.messages);
    return g_string_free(field, FALSE);
}

static int set_limits(const struct quota_options *options, struct users *users, const char *user)
{
    struct quota_limits checked = {0};
    char *old = users_field(users, user);
    char *field;
    char *problem = NULL;
    int status = ADMIN_FAILED;

    if (old != NULL && !g_str_has_prefix(old, "quota")) {
        admin_complain("%s has something else behind the hash in the password file", user);
        g_free(old);
        return ADMIN_FAILED;
    }
    field = new_field(options, old);
    if (quota_limits_parse(&checked, field))
        status = admin_users_status(users_set_field(users, user, field, &problem), user, problem);
    else
        admin_complain("a limit is a number, at most 17592186044415 MiB or 4294967295 messages");
    g_free(old);
    g_free(field);
    return status;
}

static void print_json(const char *user, const struct account_usage *usage,
                       const struct quota_limits *limits)
{
    struct json json = {.out = g_string_new(NULL)};

    json_begin_object(&json, NULL);
    json_text(&json, "user", user);
    json_number(&json, "octets", (int64_t)usage->octets);
    json_number(&json, "octets_limit", (int64_t)limits->octets);
    json_number(&json, "messages", (int64_t)usage->messages);
    json_number(&json, "messages_limit", (int64_t)limits->messages);
    json_bool(&json, "history_counts", limits->count_history);
    json_end_object(&json);
    puts(json.out->str);
    g_string_free(json.out, TRUE);
}

static void print_text(const struct account_usage *usage, const struct quota_limits *limits)
{
    printf("%.1f MiB of ", (double)usage->octets / (1 << 20));
    if (limits->octets > 0)
        printf("%.1f MiB", (double)limits->octets / (1 << 20));
    else
        printf("any number");
    printf(limits->count_history ? " (with history), " : ", ");
    if (limits->messages > 0)
        printf("%" G_GUINT64_FORMAT " messages of %" G_GUINT64_FORMAT "\n", usage->messages,
               limits->messages);
    else
        printf("%" G_GUINT64_FORMAT " messages of any number\n", usage->messages);
}

static int show(const struct quota_options *options, const struct config *config,
                struct users *users, const char *user)
{
    struct store *store = admin_open_store(config);
    struct account *account = NULL;
    struct account_usage usage = {0};
    struct store_error error = {STORE_OK, ""};
    struct quota_users quotas;
    struct quota_limits limits;
    int status = ADMIN_FAILED;

    if (store == NULL)
        return ADMIN_FAILED;
    quota_users_init(&quotas, users, config);
    quota_limits_of(&quotas.source, user, &limits);
    admin_settle(config, user);
    if (store_open_account(store, user, &account, &error) != 0 ||
        account_usage(account, limits.count_history, &usage, &error) != 0) {
        admin_fail(user, &error);
    } else {
        status = ADMIN_DONE;
        if (options->json)
            print_json(user, &usage, &limits);
        else
            print_text(&usage, &limits);
    }
    account_unref(account);
    store_close(store);
    return fflush(stdout) == 0 ? status : ADMIN_FAILED;
}

static int run(const struct quota_options *options, const char *user)
{
    bool sets = options->mib != NULL || options->messages != NULL || options->reset;
    struct config config;
    struct users *users = NULL;
    int status = ADMIN_FAILED;

    if (admin_read_config(&config, options->config, options->data))
        users = admin_open_users(&config);
    if (users != NULL) {
        status = sets ? set_limits(options, users, user) : ADMIN_DONE;
        if (status == ADMIN_DONE)
            status = show(options, &config, users, user);
    }
    users_free(users);
    config_release(&config);
    return status;
}

int command_quota(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'}, {"data", required_argument, NULL, 'd'},
        {"mib", required_argument, NULL, 'm'},    {"messages", required_argument, NULL, 'n'},
        {"default", no_argument, NULL, 'D'},      {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct quota_options options = {0};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'c')
            options.config = optarg;
        else if (letter == 'd')
            options.data = optarg;
        else if (letter == 'm')
            options.mib = optarg;
        else if (letter == 'n')
            options.messages = optarg;
        else if (letter == 'D')
            options.reset = true;
        else if (letter == 'j')
            options.json = true;
        else {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
        }
    }
    if (argc - optind == 1)
        return run(&options, argv[optind]);
    fputs(USAGE, stderr);
    return ADMIN_USAGE;
}
