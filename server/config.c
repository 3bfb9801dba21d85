#include "server/config.h"

#include <arpa/inet.h>
#include <confuse.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/certificate.h"
#include "server/delivery.h"
#include "server/log.h"
#include "server/network.h"
#include "server/penalty.h"
#include "store/cache_budget.h"
#include "store/retention.h"
#include "store/signing.h"
#include "store/store.h"

enum {
    DEFAULT_APPEND_LIMIT_MIB = 64,
    DEFAULT_IDLE_MINUTES = 30,
    DEFAULT_LOGIN_SECONDS = 60,
    DEFAULT_CONNECTIONS = 20000,
    DEFAULT_CONNECTIONS_PER_USER = 50,
    DEFAULT_CONNECTIONS_PER_ADDRESS = 100,
    DEFAULT_JOURNAL_MIB = 64,
    DEFAULT_DISK_FREE_MIN_MIB = 256,
    DEFAULT_LOGIN_DELAY = PENALTY_FIRST / 1000,
    DEFAULT_LOGIN_DELAY_MAX = PENALTY_MAX / 1000000,
    NETWORKS_MAX = 256,
    JOURNAL_MIB_MAX = STORE_JOURNAL_SIZE_MAX / (1024 * 1024),
    APPEND_LIMIT_MIB_MAX = 256, /* MESSAGE_SIZE_MAX of the store */
    WORKERS_MAX = 64,
    COMPRESS_DAYS_MAX = 36500,
    LISTENERS_MAX = 32,
    QUOTA_MIB_MAX = INT_MAX,
    DEFAULT_LMTP_MODE = 0660,
    DEFAULT_LMTP_CONNECTIONS = 200,
    SOCKET_PATH_MAX = 107, /* octets; unix(7) */
    IDLE_EXIT_MAX = 7 * 86400,
    CONFIG_FILE_MAX = 1024 * 1024,
};

#define CACHE_BUDGET_MAX (1L << 40) /* octets */

static const char DEFAULT_DATA[] = "/var/lib/annal";
static const char DEFAULT_IMAPS[] = "127.0.0.1:993";

/* libconfuse's error callback takes no data: the file being read, and where its problem goes. */
static _Thread_local struct reading {
    const char *path;
    char **problem;
} reading;

static void listen_clear(void *data)
{
    struct config_listen *listen = data;

    g_free(listen->address);
}

static GArray *listens_new(void)
{
    GArray *listens = g_array_new(FALSE, FALSE, sizeof(struct config_listen));

    g_array_set_clear_func(listens, listen_clear);
    return listens;
}

void config_init(struct config *config)
{
    *config = (struct config){
        .data = g_strdup(DEFAULT_DATA),
        .imaps = listens_new(),
        .imap = listens_new(),
        .metrics = listens_new(),
        .trusted = g_array_new(FALSE, FALSE, sizeof(struct network)),
        .login_delay = DEFAULT_LOGIN_DELAY,
        .login_delay_max = DEFAULT_LOGIN_DELAY_MAX,
        .disk_free_min_mib = DEFAULT_DISK_FREE_MIN_MIB,
        .append_limit = (uint64_t)DEFAULT_APPEND_LIMIT_MIB * 1024 * 1024,
        .journal_size = (uint64_t)DEFAULT_JOURNAL_MIB * 1024 * 1024,
        .cache_budget = CACHE_BUDGET_DEFAULT,
        .history_days = RETENTION_DAYS_DEFAULT,
        .history_of = g_ptr_array_new_with_free_func(g_free),
        .signing_hours = SIGNING_HOURS_DEFAULT,
        .idle_minutes = DEFAULT_IDLE_MINUTES,
        .login_seconds = DEFAULT_LOGIN_SECONDS,
        .connections = DEFAULT_CONNECTIONS,
        .connections_per_user = DEFAULT_CONNECTIONS_PER_USER,
        .connections_per_address = DEFAULT_CONNECTIONS_PER_ADDRESS,
        .log_target = CONFIG_LOG_STDERR,
        .lmtp = listens_new(),
        .lmtp_mode = DEFAULT_LMTP_MODE,
        .lmtp_connections = DEFAULT_LMTP_CONNECTIONS,
        .lmtp_delimiter = '+',
        .lmtp_detail = DELIVERY_DETAIL_MAILBOX,
    };
    config_add_listen(config->imaps, DEFAULT_IMAPS);
}

void config_release(struct config *config)
{
    g_free(config->file);
    g_free(config->data);
    g_free(config->certificate);
    g_free(config->private_key);
    g_free(config->signing_key);
    g_free(config->users);
    if (config->history_of != NULL)
        g_ptr_array_unref(config->history_of);
    if (config->imaps != NULL)
        g_array_unref(config->imaps);
    if (config->imap != NULL)
        g_array_unref(config->imap);
    if (config->lmtp != NULL)
        g_array_unref(config->lmtp);
    g_free(config->lmtp_group);
    g_free(config->hostname);
    if (config->metrics != NULL)
        g_array_unref(config->metrics);
    if (config->trusted != NULL)
        g_array_unref(config->trusted);
    g_free(config->control);
    *config = (struct config){0};
}

static bool parse_port(uint16_t *out, const char *text)
{
    unsigned long port = 0;

    if (*text == '\0' || strlen(text) > 5)
        return false;
    for (; *text != '\0'; text++) {
        if (!g_ascii_isdigit(*text))
            return false;
        port = port * 10 + (unsigned long)(*text - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

static bool is_address(const char *text, int family)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(family, text, address) == 1;
}

bool config_add_listen(GArray *listens, const char *text)
{
    struct config_listen listen = {0};
    const char *port = strrchr(text, ':');
    size_t length = strlen(text);

    if (port == NULL) {
        listen.address = g_strdup("127.0.0.1");
        port = text;
    } else if (text[0] == '[' && port > text + 1 && port[-1] == ']') {
        listen.address = g_strndup(text + 1, (size_t)(port - text) - 2);
        port++;
    } else {
        listen.address = g_strndup(text, (size_t)(port - text));
        port++;
    }
    if (length > 0 && parse_port(&listen.port, port) &&
        is_address(listen.address, text[0] == '[' ? AF_INET6 : AF_INET) &&
        listens->len < LISTENERS_MAX) {
        g_array_append_val(listens, listen);
        return true;
    }
    g_free(listen.address);
    return false;
}

/* Delivery asks for no password, so it is for this machine alone. */
static bool is_loopback(const char *address)
{
    return g_str_has_prefix(address, "127.") || strcmp(address, "::1") == 0;
}

bool config_add_lmtp(GArray *listens, const char *text)
{
    struct config_listen listen = {0};
    bool good;

    if (text[0] != '/') {
        good = config_add_listen(listens, text);
        if (good &&
            !is_loopback(g_array_index(listens, struct config_listen, listens->len - 1).address)) {
            g_array_set_size(listens, listens->len - 1);
            good = false;
        }
        return good;
    }
    if (strlen(text) > SOCKET_PATH_MAX || listens->len >= LISTENERS_MAX)
        return false;
    listen.address = g_strdup(text);
    g_array_append_val(listens, listen);
    return true;
}

static void reading_error(cfg_t *cfg, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void reading_error(cfg_t *cfg, const char *format, va_list arguments)
{
    char *text;

    if (reading.problem == NULL || *reading.problem != NULL)
        return;
    text = g_strdup_vprintf(format, arguments);
    *reading.problem = g_strdup_printf("%s:%d: %s", reading.path, cfg->line, text);
    g_free(text);
}

/* A number's name in the file and its bounds. */
struct number_option {
    const char *name;
    long low;
    long high;
};

static const struct number_option number_options[] = {
    {"workers", 0, WORKERS_MAX},
    {"mime_workers", 0, WORKERS_MAX},
    {"append_limit_mib", 1, APPEND_LIMIT_MIB_MAX},
    {"journal_mib", 1, JOURNAL_MIB_MAX},
    {"cache_budget", CACHE_BUDGET_MIN, CACHE_BUDGET_MAX},
    {"cold_compression_days", 0, COMPRESS_DAYS_MAX},
    {"signing_hours", 1, SIGNING_HOURS_MAX},
    {"idle_minutes", 30, 24 * 60},
    {"login_seconds", 5, 3600},
    {"disk_free_min_mib", 0, INT_MAX},
    {"login_delay_ms", 0, 10000},
    {"login_delay_max_seconds", 1, 60},
    {"idle_exit", 0, IDLE_EXIT_MAX},
    {"connections", 1, 1000000},
    {"connections_per_user", 1, 1000000},
    {"connections_per_address", 1, 1000000},
    {"lmtp_connections", 1, 1000000},
    {"quota_mib", 0, QUOTA_MIB_MAX},
    {"quota_messages", 0, INT_MAX},
};

static int validate_number(cfg_t *cfg, cfg_opt_t *opt)
{
    long value = cfg_opt_getnint(opt, 0);

    for (size_t i = 0; i < G_N_ELEMENTS(number_options); i++) {
        const struct number_option *number = &number_options[i];

        if (strcmp(number->name, cfg_opt_name(opt)) != 0)
            continue;
        if (value < number->low || value > number->high) {
            cfg_error(cfg, "%s must be %ld to %ld", number->name, number->low, number->high);
            return -1;
        }
    }
    return 0;
}

static int validate_listen(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    GArray *scratch = listens_new();
    bool good = config_add_listen(scratch, text);

    g_array_unref(scratch);
    if (!good)
        cfg_error(cfg, "%s: '%s' is no ADDRESS:PORT", cfg_opt_name(opt), text);
    return good ? 0 : -1;
}

static int validate_lmtp(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    GArray *scratch = listens_new();
    bool good = config_add_lmtp(scratch, text);

    g_array_unref(scratch);
    if (!good)
        cfg_error(cfg,
                  "lmtp: '%s' is neither a loopback ADDRESS:PORT nor the path of a socket of at "
                  "most %d octets (delivery asks for no password)",
                  text, SOCKET_PATH_MAX);
    return good ? 0 : -1;
}

/* Octal digits; at least the server itself can use the socket. */
static bool parse_mode(const char *text, unsigned *out)
{
    unsigned mode = 0;

    if (*text == '\0' || strlen(text) > 4)
        return false;
    for (; *text >= '0' && *text <= '7'; text++)
        mode = mode * 8 + (unsigned)(*text - '0');
    *out = mode;
    return *text == '\0' && mode <= 0777;
}

static int validate_mode(cfg_t *cfg, cfg_opt_t *opt)
{
    unsigned mode;

    if (parse_mode(cfg_opt_getnstr(opt, 0), &mode))
        return 0;
    cfg_error(cfg, "%s must be octal digits such as \"0660\"", cfg_opt_name(opt));
    return -1;
}

static bool is_delimiter(const char *text)
{
    return text[0] == '\0' || (text[1] == '\0' && g_ascii_ispunct(text[0]) && text[0] != '@');
}

static int validate_delimiter(cfg_t *cfg, cfg_opt_t *opt)
{
    if (is_delimiter(cfg_opt_getnstr(opt, 0)))
        return 0;
    cfg_error(cfg, "%s must be empty or one punctuation character", cfg_opt_name(opt));
    return -1;
}

static const char *const detail_names[] = {
    [DELIVERY_DETAIL_MAILBOX] = "mailbox",
    [DELIVERY_DETAIL_KEYWORD] = "keyword",
    [DELIVERY_DETAIL_IGNORE] = "ignore",
};

static bool parse_detail(const char *text, unsigned *out)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(detail_names); i++) {
        if (strcmp(text, detail_names[i]) != 0)
            continue;
        *out = i;
        return true;
    }
    return false;
}

static int validate_detail(cfg_t *cfg, cfg_opt_t *opt)
{
    unsigned detail;

    if (parse_detail(cfg_opt_getnstr(opt, 0), &detail))
        return 0;
    cfg_error(cfg, "%s must be 'mailbox', 'keyword' or 'ignore'", cfg_opt_name(opt));
    return -1;
}

/* Days, or "forever", which is the same as 0. */
static bool parse_days(unsigned *out, const char *text)
{
    char *end;
    unsigned long days;

    *out = 0;
    if (strcmp(text, "forever") == 0)
        return true;
    if (!g_ascii_isdigit(*text))
        return false;
    days = strtoul(text, &end, 10);
    *out = (unsigned)MIN(days, (unsigned long)RETENTION_DAYS_MAX);
    return *end == '\0' && days <= RETENTION_DAYS_MAX;
}

/* "MAILBOX=DAYS" as a rule of the policy. */
static bool add_history_rule(struct retention_policy *policy, const char *text)
{
    const char *equals = strrchr(text, '=');
    struct store_error ignored;
    unsigned days;

    if (equals == NULL || !parse_days(&days, equals + 1))
        return false;
    g_autofree char *mailbox = g_strndup(text, (gsize)(equals - text));
    return retention_policy_add(policy, mailbox, days * INT64_C(86400), &ignored) == 0;
}

struct retention_policy *config_retention(const struct config *config)
{
    struct retention_policy *policy = retention_policy_new(config->history_days * INT64_C(86400));

    for (guint i = 0; i < config->history_of->len; i++)
        add_history_rule(policy, g_ptr_array_index(config->history_of, i));
    return policy;
}

static int validate_history(cfg_t *cfg, cfg_opt_t *opt)
{
    unsigned days;

    if (parse_days(&days, cfg_opt_getnstr(opt, 0)))
        return 0;
    cfg_error(cfg, "%s must be a number of days up to %d, or 'forever'", cfg_opt_name(opt),
              RETENTION_DAYS_MAX);
    return -1;
}

static int validate_history_of(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    struct retention_policy *scratch = retention_policy_new(RETENTION_FOREVER);
    bool good = add_history_rule(scratch, text);

    retention_policy_free(scratch);
    if (!good)
        cfg_error(cfg, "%s: '%s' is no MAILBOX=DAYS or MAILBOX=forever", cfg_opt_name(opt), text);
    return good ? 0 : -1;
}

/* Nobody is asked for a password: they are for this machine alone. */
static int validate_metrics(cfg_t *cfg, cfg_opt_t *opt)
{
    GArray *scratch = listens_new();
    bool good = config_add_listen(scratch, cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1)) &&
                is_loopback(g_array_index(scratch, struct config_listen, 0).address);

    g_array_unref(scratch);
    if (!good)
        cfg_error(cfg, "%s must be PORT, or ADDRESS:PORT with a loopback address",
                  cfg_opt_name(opt));
    return good ? 0 : -1;
}

bool config_hostname_valid(const char *name)
{
    size_t length = strlen(name);

    for (const char *c = name; *c != '\0'; c++)
        if (!g_ascii_isalnum(*c) && strchr(".-_[]:", *c) == NULL)
            return false;
    return length > 0 && length <= HOST_NAME_MAX;
}

static int validate_hostname(cfg_t *cfg, cfg_opt_t *opt)
{
    if (config_hostname_valid(cfg_opt_getnstr(opt, 0)))
        return 0;
    cfg_error(cfg, "hostname must be a name such as mail.example.org");
    return -1;
}

static int validate_quota_reply(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *text = cfg_opt_getnstr(opt, 0);

    if (strcmp(text, "temporary") == 0 || strcmp(text, "permanent") == 0)
        return 0;
    cfg_error(cfg, "quota_reply must be 'temporary' or 'permanent'");
    return -1;
}

static int validate_trusted(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    struct network network;
    bool good = network_parse(&network, text);

    if (!good)
        cfg_error(cfg,
                  "%s: '%s' is no network such as 192.0.2.0/24 or 2001:db8::/32 (bits beyond the "
                  "prefix must be 0)",
                  cfg_opt_name(opt), text);
    else if (cfg_opt_size(opt) > NETWORKS_MAX)
        cfg_error(cfg, "%s: at most %d networks", cfg_opt_name(opt), NETWORKS_MAX);
    return good && cfg_opt_size(opt) <= NETWORKS_MAX ? 0 : -1;
}

static int validate_log(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *text = cfg_opt_getnstr(opt, 0);

    if (strcmp(text, "stderr") == 0 || strcmp(text, "syslog") == 0)
        return 0;
    cfg_error(cfg, "log must be 'stderr' or 'syslog'");
    return -1;
}

static int validate_flags_sync(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *text = cfg_opt_getnstr(opt, 0);

    if (strcmp(text, "always") == 0 || strcmp(text, "relaxed") == 0)
        return 0;
    cfg_error(cfg, "flags_sync must be 'always' or 'relaxed'");
    return -1;
}

/* No path is empty. */
static int validate_path(cfg_t *cfg, cfg_opt_t *opt)
{
    if (*cfg_opt_getnstr(opt, 0) != '\0')
        return 0;
    cfg_error(cfg, "%s must not be empty", cfg_opt_name(opt));
    return -1;
}

static void take_string(char **out, cfg_t *cfg, const char *name)
{
    const char *value = cfg_getstr(cfg, name);

    if (cfg_size(cfg, name) == 0 || value == NULL)
        return;
    g_free(*out);
    *out = g_strdup(value);
}

static void take_number(unsigned *out, cfg_t *cfg, const char *name)
{
    if (cfg_size(cfg, name) > 0)
        *out = (unsigned)cfg_getint(cfg, name);
}

static void take_bool(bool *out, cfg_t *cfg, const char *name)
{
    if (cfg_size(cfg, name) > 0)
        *out = cfg_getbool(cfg, name) == cfg_true;
}

/* A list that stands in the file replaces the default, an empty one too. */
static void take_listens(GArray *listens, cfg_t *cfg, const char *name)
{
    cfg_opt_t *opt = cfg_getopt(cfg, name);

    if ((opt->flags & CFGF_MODIFIED) == 0)
        return;
    g_array_set_size(listens, 0);
    for (unsigned i = 0; i < cfg_opt_size(opt); i++)
        config_add_listen(listens, cfg_opt_getnstr(opt, i));
}

static void take_lmtp(struct config *config, cfg_t *cfg)
{
    cfg_opt_t *opt = cfg_getopt(cfg, "lmtp");

    if ((opt->flags & CFGF_MODIFIED) != 0) {
        g_array_set_size(config->lmtp, 0);
        for (unsigned i = 0; i < cfg_opt_size(opt); i++)
            config_add_lmtp(config->lmtp, cfg_opt_getnstr(opt, i));
    }
    take_string(&config->hostname, cfg, "hostname");
    take_string(&config->lmtp_group, cfg, "lmtp_group");
    take_number(&config->lmtp_connections, cfg, "lmtp_connections");
    if (cfg_size(cfg, "lmtp_mode") > 0)
        parse_mode(cfg_getstr(cfg, "lmtp_mode"), &config->lmtp_mode);
    if (cfg_size(cfg, "lmtp_recipient_delimiter") > 0)
        config->lmtp_delimiter = (unsigned char)cfg_getstr(cfg, "lmtp_recipient_delimiter")[0];
    if (cfg_size(cfg, "lmtp_detail") > 0)
        parse_detail(cfg_getstr(cfg, "lmtp_detail"), &config->lmtp_detail);
}

static void take_history(struct config *config, cfg_t *cfg)
{
    if (cfg_size(cfg, "history_keep") > 0 && cfg_getstr(cfg, "history_keep") != NULL)
        parse_days(&config->history_days, cfg_getstr(cfg, "history_keep"));
    if ((cfg_getopt(cfg, "history_keep_of")->flags & CFGF_MODIFIED) == 0)
        return;
    g_ptr_array_set_size(config->history_of, 0);
    for (unsigned i = 0; i < cfg_size(cfg, "history_keep_of"); i++)
        g_ptr_array_add(config->history_of, g_strdup(cfg_getnstr(cfg, "history_keep_of", i)));
}

static void take_quota(struct config *config, cfg_t *cfg)
{
    unsigned mib = 0;

    take_number(&mib, cfg, "quota_mib");
    if (mib > 0)
        config->quota_octets = (uint64_t)mib * 1024 * 1024;
    take_number(&config->quota_messages, cfg, "quota_messages");
    take_bool(&config->quota_count_history, cfg, "quota_count_history");
    if (cfg_size(cfg, "quota_reply") > 0)
        config->quota_final = strcmp(cfg_getstr(cfg, "quota_reply"), "permanent") == 0;
}

static void take_trusted(GArray *networks, cfg_t *cfg)
{
    cfg_opt_t *opt = cfg_getopt(cfg, "trusted");
    struct network network;

    if ((opt->flags & CFGF_MODIFIED) == 0)
        return;
    g_array_set_size(networks, 0);
    for (unsigned i = 0; i < cfg_opt_size(opt); i++) {
        if (network_parse(&network, cfg_opt_getnstr(opt, i)))
            g_array_append_val(networks, network);
    }
}

static void take_values(struct config *config, cfg_t *cfg)
{
    unsigned append_limit_mib = 0;
    unsigned journal_mib = 0;

    take_string(&config->data, cfg, "data");
    take_string(&config->certificate, cfg, "certificate");
    take_string(&config->private_key, cfg, "private_key");
    take_string(&config->users, cfg, "users");
    take_listens(config->imaps, cfg, "imaps");
    take_listens(config->imap, cfg, "imap");
    take_lmtp(config, cfg);
    take_quota(config, cfg);
    take_listens(config->metrics, cfg, "metrics_listen");
    take_string(&config->control, cfg, "control");
    take_number(&config->disk_free_min_mib, cfg, "disk_free_min_mib");
    take_trusted(config->trusted, cfg);
    take_bool(&config->trusted_cleartext_login, cfg, "trusted_cleartext_login");
    take_number(&config->login_delay, cfg, "login_delay_ms");
    take_number(&config->login_delay_max, cfg, "login_delay_max_seconds");
    take_bool(&config->cleartext_login, cfg, "cleartext_login");
    take_bool(&config->log_debug, cfg, "log_debug");
    take_number(&config->workers, cfg, "workers");
    take_number(&config->mime_workers, cfg, "mime_workers");
    take_number(&append_limit_mib, cfg, "append_limit_mib");
    if (append_limit_mib > 0)
        config->append_limit = (uint64_t)append_limit_mib * 1024 * 1024;
    take_number(&journal_mib, cfg, "journal_mib");
    if (journal_mib > 0)
        config->journal_size = (uint64_t)journal_mib * 1024 * 1024;
    if (cfg_size(cfg, "flags_sync") > 0 && cfg_getstr(cfg, "flags_sync") != NULL)
        config->relaxed_flags = strcmp(cfg_getstr(cfg, "flags_sync"), "relaxed") == 0;
    if (cfg_size(cfg, "cache_budget") > 0)
        config->cache_budget = (uint64_t)cfg_getint(cfg, "cache_budget");
    take_number(&config->compress_days, cfg, "cold_compression_days");
    take_history(config, cfg);
    take_string(&config->signing_key, cfg, "signing_key");
    take_number(&config->signing_hours, cfg, "signing_hours");
    take_number(&config->idle_minutes, cfg, "idle_minutes");
    take_number(&config->login_seconds, cfg, "login_seconds");
    take_number(&config->idle_exit, cfg, "idle_exit");
    take_number(&config->connections, cfg, "connections");
    take_number(&config->connections_per_user, cfg, "connections_per_user");
    take_number(&config->connections_per_address, cfg, "connections_per_address");
    if (cfg_size(cfg, "log") > 0 && cfg_getstr(cfg, "log") != NULL)
        config->log_target =
            strcmp(cfg_getstr(cfg, "log"), "syslog") == 0 ? CONFIG_LOG_SYSLOG : CONFIG_LOG_STDERR;
}

/* Blanks comments but for their line ends. libconfuse 3.3 understands them but miscounts the lines
 * they take, and problems are to be found by their line. */
static void blank_comments(char *text)
{
    char quote = '\0';
    char before = '\n';

    for (char *c = text; *c != '\0'; before = *c++) {
        bool starts_token = g_ascii_isspace(before) || strchr("={},", before) != NULL;

        if (quote != '\0' && *c == '\\' && c[1] != '\0')
            c++;
        else if (quote != '\0')
            quote = *c == quote ? '\0' : quote;
        else if (*c == '"' || *c == '\'')
            quote = *c;
        else if (*c == '#' || (*c == '/' && c[1] == '/' && starts_token)) {
            while (c[1] != '\0' && c[1] != '\n')
                *c++ = ' ';
            *c = ' ';
        } else if (*c == '/' && c[1] == '*' && starts_token) {
            const char *end = strstr(c + 2, "*/");

            if (end == NULL)
                return; /* libconfuse says so */
            for (; c < end + 1; c++)
                *c = *c == '\n' ? '\n' : ' ';
            *c = ' ';
        }
    }
}

/* The whole file without comments; a new string, or NULL with *problem. */
static char *read_text(const char *path, char **problem)
{
    FILE *file = fopen(path, "re");
    GString *text = g_string_new(NULL);
    char chunk[4096];
    size_t got;

    while (file != NULL && text->len <= CONFIG_FILE_MAX &&
           (got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        g_string_append_len(text, chunk, (gssize)got);
    if (file == NULL || ferror(file))
        *problem = g_strdup_printf("%s: %s", path, strerror(errno));
    else if (text->len > CONFIG_FILE_MAX || memchr(text->str, '\0', text->len) != NULL)
        *problem = g_strdup_printf("%s: is no configuration file", path);
    if (file != NULL)
        fclose(file);
    if (*problem == NULL)
        blank_comments(text->str);
    return g_string_free(text, *problem != NULL);
}

bool config_read(struct config *config, const char *path, char **problem)
{
    cfg_opt_t options[] = {
        CFG_STR("data", NULL, CFGF_NODEFAULT),
        CFG_STR_LIST("imaps", NULL, CFGF_NODEFAULT),
        CFG_STR_LIST("imap", NULL, CFGF_NODEFAULT),
        CFG_STR_LIST("metrics_listen", NULL, CFGF_NODEFAULT),
        CFG_STR("control", NULL, CFGF_NODEFAULT),
        CFG_INT("disk_free_min_mib", 0, CFGF_NODEFAULT),
        CFG_STR_LIST("trusted", NULL, CFGF_NODEFAULT),
        CFG_BOOL("trusted_cleartext_login", cfg_false, CFGF_NODEFAULT),
        CFG_INT("login_delay_ms", 0, CFGF_NODEFAULT),
        CFG_INT("login_delay_max_seconds", 0, CFGF_NODEFAULT),
        CFG_STR("certificate", NULL, CFGF_NODEFAULT),
        CFG_STR("private_key", NULL, CFGF_NODEFAULT),
        CFG_STR("users", NULL, CFGF_NODEFAULT),
        CFG_BOOL("cleartext_login", cfg_false, CFGF_NODEFAULT),
        CFG_INT("workers", 0, CFGF_NODEFAULT),
        CFG_INT("mime_workers", 0, CFGF_NODEFAULT),
        CFG_INT("append_limit_mib", 0, CFGF_NODEFAULT),
        CFG_INT("journal_mib", 0, CFGF_NODEFAULT),
        CFG_INT("cache_budget", 0, CFGF_NODEFAULT),
        CFG_STR("flags_sync", NULL, CFGF_NODEFAULT),
        CFG_INT("cold_compression_days", 0, CFGF_NODEFAULT),
        CFG_STR("history_keep", NULL, CFGF_NODEFAULT),
        CFG_STR_LIST("history_keep_of", NULL, CFGF_NODEFAULT),
        CFG_STR("signing_key", NULL, CFGF_NODEFAULT),
        CFG_INT("signing_hours", 0, CFGF_NODEFAULT),
        CFG_INT("idle_minutes", 0, CFGF_NODEFAULT),
        CFG_INT("login_seconds", 0, CFGF_NODEFAULT),
        CFG_INT("idle_exit", 0, CFGF_NODEFAULT),
        CFG_INT("connections", 0, CFGF_NODEFAULT),
        CFG_INT("connections_per_user", 0, CFGF_NODEFAULT),
        CFG_INT("connections_per_address", 0, CFGF_NODEFAULT),
        CFG_STR("log", NULL, CFGF_NODEFAULT),
        CFG_BOOL("log_debug", cfg_false, CFGF_NODEFAULT),
        CFG_STR("hostname", NULL, CFGF_NODEFAULT),
        CFG_STR_LIST("lmtp", NULL, CFGF_NODEFAULT),
        CFG_STR("lmtp_mode", NULL, CFGF_NODEFAULT),
        CFG_STR("lmtp_group", NULL, CFGF_NODEFAULT),
        CFG_INT("lmtp_connections", 0, CFGF_NODEFAULT),
        CFG_STR("lmtp_recipient_delimiter", NULL, CFGF_NODEFAULT),
        CFG_STR("lmtp_detail", NULL, CFGF_NODEFAULT),
        CFG_INT("quota_mib", 0, CFGF_NODEFAULT),
        CFG_INT("quota_messages", 0, CFGF_NODEFAULT),
        CFG_BOOL("quota_count_history", cfg_false, CFGF_NODEFAULT),
        CFG_STR("quota_reply", NULL, CFGF_NODEFAULT),
        CFG_END(),
    };
    cfg_t *cfg;
    char *text;
    int result;

    *problem = NULL;
    text = read_text(path, problem);
    if (text == NULL)
        return false;
    g_free(config->file);
    config->file = g_strdup(path);
    cfg = cfg_init(options, CFGF_NONE);
    if (cfg == NULL)
        abort();
    reading = (struct reading){path, problem};
    cfg_set_error_function(cfg, reading_error);
    for (size_t i = 0; i < G_N_ELEMENTS(number_options); i++)
        cfg_set_validate_func(cfg, number_options[i].name, validate_number);
    cfg_set_validate_func(cfg, "imaps", validate_listen);
    cfg_set_validate_func(cfg, "imap", validate_listen);
    cfg_set_validate_func(cfg, "history_keep", validate_history);
    cfg_set_validate_func(cfg, "history_keep_of", validate_history_of);
    cfg_set_validate_func(cfg, "metrics_listen", validate_metrics);
    cfg_set_validate_func(cfg, "control", validate_path);
    cfg_set_validate_func(cfg, "trusted", validate_trusted);
    cfg_set_validate_func(cfg, "log", validate_log);
    cfg_set_validate_func(cfg, "flags_sync", validate_flags_sync);
    cfg_set_validate_func(cfg, "lmtp", validate_lmtp);
    cfg_set_validate_func(cfg, "lmtp_mode", validate_mode);
    cfg_set_validate_func(cfg, "lmtp_recipient_delimiter", validate_delimiter);
    cfg_set_validate_func(cfg, "lmtp_detail", validate_detail);
    cfg_set_validate_func(cfg, "quota_reply", validate_quota_reply);
    cfg_set_validate_func(cfg, "hostname", validate_hostname);
    cfg_set_validate_func(cfg, "lmtp_group", validate_path);
    cfg_set_validate_func(cfg, "data", validate_path);
    cfg_set_validate_func(cfg, "certificate", validate_path);
    cfg_set_validate_func(cfg, "private_key", validate_path);
    cfg_set_validate_func(cfg, "signing_key", validate_path);
    cfg_set_validate_func(cfg, "users", validate_path);
    result = cfg_parse_buf(cfg, text);
    reading = (struct reading){0};
    g_free(text);
    if (result != CFG_SUCCESS && *problem == NULL)
        *problem = g_strdup_printf("%s: can't be parsed", path);
    if (result == CFG_SUCCESS && *problem == NULL)
        take_values(config, cfg);
    cfg_free(cfg);
    return *problem == NULL;
}

static void make_absolute(char **path)
{
    char directory[PATH_MAX];
    char *absolute;

    if (*path == NULL || **path == '/' || getcwd(directory, sizeof(directory)) == NULL)
        return;
    absolute = g_strdup_printf("%s/%s", directory, *path);
    g_free(*path);
    *path = absolute;
}

void config_resolve(struct config *config)
{
    make_absolute(&config->data);
    if (config->certificate == NULL && config->private_key == NULL) {
        config->certificate = g_strdup_printf("%s/tls/certificate.pem", config->data);
        config->private_key = g_strdup_printf("%s/tls/key.pem", config->data);
    }
    if (config->users == NULL)
        config->users = g_strdup_printf("%s/users", config->data);
    if (config->control == NULL)
        config->control = g_strdup_printf("%s/control", config->data);
    make_absolute(&config->control);
    make_absolute(&config->certificate);
    make_absolute(&config->private_key);
    make_absolute(&config->users);
    make_absolute(&config->signing_key);
}

bool config_certificate_is_default(const struct config *config)
{
    char *expected = g_strdup_printf("%s/tls/certificate.pem", config->data);
    bool is_default = config->certificate != NULL && strcmp(expected, config->certificate) == 0;

    g_free(expected);
    return is_default;
}

void config_open_log(const struct config *config)
{
    if (config->log_target == CONFIG_LOG_SYSLOG)
        log_open_syslog("annal", config->log_debug);
    else
        log_open_stderr(config->log_debug);
}

bool config_check(struct config *config, char **problem)
{
    *problem = NULL;
    config_resolve(config);
    if (config->imaps->len + config->imap->len == 0)
        *problem = g_strdup("nothing to listen on: set imaps or imap");
    else if (config->certificate == NULL || config->private_key == NULL)
        *problem = g_strdup("certificate and private_key must be set together");
    else if (config->append_limit < 1 ||
             config->append_limit > (uint64_t)APPEND_LIMIT_MIB_MAX * 1024 * 1024)
        *problem = g_strdup("append limit out of range");
    else if (config->workers > WORKERS_MAX || config->mime_workers > WORKERS_MAX)
        *problem = g_strdup_printf("at most %d workers", WORKERS_MAX);
    else if (config->idle_minutes < 30)
        *problem = g_strdup("idle_minutes must be at least 30 (RFC 3501 5.4)");
    else if (config->connections == 0 || config->connections_per_user == 0 ||
             config->connections_per_address == 0 || config->login_seconds == 0)
        *problem = g_strdup("limits must not be 0");
    else if (!(config_certificate_is_default(config) && access(config->certificate, F_OK) != 0 &&
               access(config->private_key, F_OK) != 0))
        certificate_check(config->certificate, config->private_key, problem);
    if (*problem != NULL && config->file != NULL) {
        char *named = g_strdup_printf("%s: %s", config->file, *problem);

        g_free(*problem);
        *problem = named;
    }
    return *problem == NULL;
}
