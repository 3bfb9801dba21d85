/* annal serve: the server */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/certificate.h"
#include "server/commands.h"
#include "server/log.h"
#include "server/server.h"

static const char USAGE[] =
    "usage: annal serve [options]\n"
    "  --config FILE         instead of " ADMIN_CONFIG_PATH "\n"
    "  --check-config        say whether the configuration is good, and leave\n"
    "These override the configuration file:\n"
    "  --data DIR            the data directory\n"
    "  --imaps ADDRESS:PORT  listen with TLS; may be repeated; replaces the file's list\n"
    "  --imap ADDRESS:PORT   listen in the clear, with STARTTLS; likewise\n"
    "  --certificate FILE    PEM chain\n"
    "  --private-key FILE    its key\n"
    "  --users FILE          the password file\n"
    "  --cleartext-login     allow logins without TLS from loopback addresses\n"
    "  --syslog              log to syslog instead of stderr\n"
    "  --debug               log more\n";

struct serve_options {
    const char *config;
    const char *data;
    const char *certificate;
    const char *private_key;
    const char *users;
    GPtrArray *imaps; /* const char * */
    GPtrArray *imap;
    bool check_config;
    bool cleartext_login;
    bool syslog;
    bool debug;
    bool help;
};

static bool parse_options(struct serve_options *options, int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"check-config", no_argument, NULL, 'C'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"imaps", required_argument, NULL, 'S'},
                                                 {"imap", required_argument, NULL, 'I'},
                                                 {"certificate", required_argument, NULL, 'e'},
                                                 {"private-key", required_argument, NULL, 'k'},
                                                 {"users", required_argument, NULL, 'u'},
                                                 {"cleartext-login", no_argument, NULL, 'l'},
                                                 {"syslog", no_argument, NULL, 's'},
                                                 {"debug", no_argument, NULL, 'D'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        switch (letter) {
        case 'c':
            options->config = optarg;
            break;
        case 'C':
            options->check_config = true;
            break;
        case 'd':
            options->data = optarg;
            break;
        case 'S':
            g_ptr_array_add(options->imaps, optarg);
            break;
        case 'I':
            g_ptr_array_add(options->imap, optarg);
            break;
        case 'e':
            options->certificate = optarg;
            break;
        case 'k':
            options->private_key = optarg;
            break;
        case 'u':
            options->users = optarg;
            break;
        case 'l':
            options->cleartext_login = true;
            break;
        case 's':
            options->syslog = true;
            break;
        case 'D':
            options->debug = true;
            break;
        case 'h':
            options->help = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

static void override(char **value, const char *option)
{
    if (option == NULL)
        return;
    g_free(*value);
    *value = g_strdup(option);
}

static bool override_listens(GArray *listens, const GPtrArray *options, char **problem)
{
    if (options->len > 0)
        g_array_set_size(listens, 0);
    for (unsigned i = 0; i < options->len; i++) {
        const char *text = g_ptr_array_index(options, i);

        if (!config_add_listen(listens, text)) {
            *problem = g_strdup_printf("'%s' is no ADDRESS:PORT", text);
            return false;
        }
    }
    return true;
}

/* The options of the command line over what was read. */
static bool apply_options(struct config *config, const struct serve_options *options,
                          char **problem)
{
    override(&config->certificate, options->certificate);
    override(&config->private_key, options->private_key);
    override(&config->users, options->users);
    if (!override_listens(config->imaps, options->imaps, problem) ||
        !override_listens(config->imap, options->imap, problem))
        return false;
    config->cleartext_login = config->cleartext_login || options->cleartext_login;
    config->log_debug = config->log_debug || options->debug;
    if (options->syslog)
        config->log_target = CONFIG_LOG_SYSLOG;
    return config_check(config, problem);
}

static bool read_configuration(struct config *config, const struct serve_options *options)
{
    char *problem = NULL;

    if (!admin_read_config(config, options->config, options->data))
        return false;
    if (apply_options(config, options, &problem))
        return true;
    admin_complain("%s", problem);
    g_free(problem);
    return false;
}

static bool reread_configuration(struct config *out, char **problem, void *data)
{
    const struct serve_options *options = data;

    return admin_load_config(out, options->config, options->data, problem) &&
           apply_options(out, options, problem);
}

/* The first start makes what the default paths lack. */
static bool provide_certificate(const struct config *config)
{
    char *problem = NULL;

    if (!config_certificate_is_default(config) || access(config->certificate, F_OK) == 0)
        return true;
    if (!certificate_generate(config->certificate, config->private_key, &problem)) {
        log_line(LOG_LEVEL_ERROR, NULL, "event=certificate-failed problem=\"%s\"", problem);
        g_free(problem);
        return false;
    }
    log_line(LOG_LEVEL_WARNING, NULL, "event=certificate-made path=%s kind=self-signed",
             config->certificate);
    return true;
}

static bool provide_data_directory(const struct config *config)
{
    struct store *store = admin_make_store(config);

    store_close(store);
    return store != NULL;
}

static int serve(struct serve_options *options)
{
    struct config config;
    int status = ADMIN_FAILED;

    if (read_configuration(&config, options)) {
        if (options->check_config) {
            puts("the configuration is good");
            status = ADMIN_DONE;
        } else {
            config_open_log(&config);
            if (provide_data_directory(&config) && provide_certificate(&config))
                status = server_run(&config, &(struct server_hooks){.reread = reread_configuration,
                                                                    .data = options});
        }
    }
    config_release(&config);
    return status;
}

int command_serve(int argc, char **argv)
{
    struct serve_options options = {.imaps = g_ptr_array_new(), .imap = g_ptr_array_new()};
    int status;

    if (!parse_options(&options, argc, argv)) {
        fputs(USAGE, stderr);
        status = ADMIN_USAGE;
    } else if (options.help) {
        fputs(USAGE, stdout);
        status = ADMIN_DONE;
    } else {
        status = serve(&options);
    }
    g_ptr_array_unref(options.imaps);
    g_ptr_array_unref(options.imap);
    return status;
}
