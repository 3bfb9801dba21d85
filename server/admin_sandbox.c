/* annal sandbox: a throw-away server for tests */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/certificate.h"
#include "server/commands.h"
#include "server/log.h"
#include "server/server.h"

static const char USAGE[] =
    "usage: annal sandbox [--data DIR] [--user NAME:PASSWORD]... [--imap PORT] [--imaps PORT]\n"
    "                     [--lmtp PORT|PATH]... [--config FILE] [--pid-file FILE] [--debug]\n"
    "Serves on free loopback ports (or those given) and prints one line of JSON once it accepts:\n"
    "{\"imap\": PORT, \"imaps\": PORT, \"lmtp\": PORT, \"metrics\": PORT, \"data\": DIR,\n"
    " \"certificate\": FILE, \"pid\": N, \"repositories\": {\"NAME\": DIR}}\n"
    "Users are alice:alice and bob:bob unless given; logins need no TLS. With --data it keeps and\n"
    "reopens DIR; otherwise its own directory (below TMPDIR) is removed at exit. --config is read\n"
    "for all but addresses and DIR. Ends on SIGTERM or SIGINT. Passwords are hashed cheaply: not "
    "for real mail.\n";

/* A login of a test should cost no noticeable time. */
enum {
    SANDBOX_HASH_COST = 1,
    SANDBOX_WALK_DESCRIPTORS = 32,
    SANDBOX_JOURNAL = 8 * 1024 * 1024, /* octets; made anew at each start */
};

struct sandbox {
    const char *data;     /* as given; NULL: its own */
    GPtrArray *logins;    /* const char *, "NAME:PASSWORD" */
    const char *imap;     /* port */
    const char *imaps;    /* port */
    GPtrArray *lmtp;      /* const char *, ports and paths; none: a free port */
    const char *options;  /* configuration file, or NULL */
    const char *pid_file; /* or NULL */
    bool debug;
    bool help;
    struct config config;
};

static bool parse_options(struct sandbox *sandbox, int argc, char **argv)
{
    static const struct option long_options[] = {
        {"data", required_argument, NULL, 'd'},     {"user", required_argument, NULL, 'u'},
        {"imap", required_argument, NULL, 'I'},     {"imaps", required_argument, NULL, 'S'},
        {"pid-file", required_argument, NULL, 'p'}, {"debug", no_argument, NULL, 'D'},
        {"lmtp", required_argument, NULL, 'L'},     {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "d:h", long_options, NULL)) != -1) {
        switch (letter) {
        case 'd':
            sandbox->data = optarg;
            break;
        case 'u':
            g_ptr_array_add(sandbox->logins, optarg);
            break;
        case 'I':
            sandbox->imap = optarg;
            break;
        case 'S':
            sandbox->imaps = optarg;
            break;
        case 'L':
            g_ptr_array_add(sandbox->lmtp, optarg);
            break;
        case 'c':
            sandbox->options = optarg;
            break;
        case 'p':
            sandbox->pid_file = optarg;
            break;
        case 'D':
            sandbox->debug = true;
            break;
        case 'h':
            sandbox->help = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

/* --- its directory --- */

/* A new directory below TMPDIR; NULL when the problem has been told. */
static char *make_own_directory(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = g_strdup_printf("%s/annal-sandbox-XXXXXX",
                                 parent != NULL && *parent != '\0' ? parent : "/tmp");

    if (mkdtemp(path) != NULL)
        return path;
    admin_complain("%s: %s", path, strerror(errno));
    g_free(path);
    return NULL;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    remove(path);
    return 0;
}

static void remove_directory(const char *path)
{
    nftw(path, remove_entry, SANDBOX_WALK_DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}

/* --- its users --- */

static bool provide_user(struct users *users, const char *login, bool keep_password)
{
    const char *colon = strchr(login, ':');
    char *user = colon != NULL ? g_strndup(login, (size_t)(colon - login)) : NULL;
    char *problem = NULL;
    enum users_result result = USERS_BAD_NAME;

    if (user != NULL && store_user_name_valid(user)) {
        if (!users_exists(users, user))
            result = users_add(users, user, colon + 1, &problem);
        else if (keep_password)
            result = USERS_OK;
        else
            result = users_set_password(users, user, colon + 1, &problem);
    }
    admin_users_status(result, user != NULL ? user : login, problem);
    g_free(user);
    return result == USERS_OK;
}

static bool provide_users(const struct sandbox *sandbox, struct users *users)
{
    users_set_cost(users, SANDBOX_HASH_COST);
    for (unsigned i = 0; i < sandbox->logins->len; i++)
        if (!provide_user(users, g_ptr_array_index(sandbox->logins, i), false))
            return false;
    return sandbox->logins->len > 0 ||
           (provide_user(users, "alice:alice", true) && provide_user(users, "bob:bob", true));
}

/* Repositories exist before the first login, so that a test can look at them at once. */
static bool provide_repositories(const struct config *config, struct users *users)
{
    struct store *store = admin_make_store(config);
    GPtrArray *names = users_list(users);
    struct origin origin = admin_origin("sandbox");
    struct store_error error = {0};
    int result = store != NULL ? 0 : STORE_IO;

    for (unsigned i = 0; result == 0 && i < names->len; i++) {
        result = store_create_account(store, g_ptr_array_index(names, i), &origin, &error);
        if (result == STORE_EXISTS)
            result = 0;
    }
    if (result == 0)
        result = store_sync(store, &error);
    if (result != 0 && store != NULL)
        admin_complain("repositories: %s: %s", store_code_name(error.code), error.detail);
    g_ptr_array_unref(names);
    store_close(store);
    return result == 0;
}

static bool provide_certificate(const struct config *config)
{
    char *problem = NULL;

    if (access(config->certificate, F_OK) == 0 ||
        certificate_generate(config->certificate, config->private_key, &problem))
        return true;
    admin_complain("%s", problem);
    g_free(problem);
    return false;
}

/* --- what it prints --- */

static void append_json(GString *out, const char *text)
{
    g_string_append_c(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            g_string_append_c(out, '\\');
        if (g_ascii_iscntrl(*text))
            g_string_append_printf(out, "\\u%04x", (unsigned char)*text);
        else
            g_string_append_c(out, *text);
    }
    g_string_append_c(out, '"');
}

static unsigned first_port(const GArray *listens)
{
    return listens->len > 0 ? g_array_index(listens, struct config_listen, 0).port : 0;
}

static void append_repositories(GString *out, const struct config *config)
{
    struct users *users = admin_open_users(config);
    GPtrArray *names = users != NULL ? users_list(users) : g_ptr_array_new();

    for (unsigned i = 0; i < names->len; i++) {
        char *repository = admin_repository(config, g_ptr_array_index(names, i));

        g_string_append(out, i > 0 ? ", " : "");
        append_json(out, g_ptr_array_index(names, i));
        g_string_append(out, ": ");
        append_json(out, repository);
        g_free(repository);
    }
    g_ptr_array_unref(names);
    users_free(users);
}

static bool write_pid_file(const char *path)
{
    FILE *file = fopen(path, "we");
    bool done;

    if (file == NULL)
        return false;
    done = fprintf(file, "%ld\n", (long)getpid()) > 0;
    return fclose(file) == 0 && done;
}

static void announce(const struct server_ready *ready, void *data)
{
    const struct sandbox *sandbox = data;
    GString *line = g_string_new(NULL);

    g_string_append_printf(
        line, "{\"imap\": %u, \"imaps\": %u, \"lmtp\": %u, \"metrics\": %u, \"data\": ",
        first_port(ready->imap), first_port(ready->imaps), first_port(ready->lmtp),
        (unsigned)ready->metrics);
    append_json(line, sandbox->config.data);
    g_string_append(line, ", \"certificate\": ");
    append_json(line, sandbox->config.certificate);
    g_string_append_printf(line, ", \"pid\": %ld, \"repositories\": {", (long)getpid());
    append_repositories(line, &sandbox->config);
    g_string_append(line, "}}");
    if (sandbox->pid_file != NULL && !write_pid_file(sandbox->pid_file))
        admin_complain("%s can't be written", sandbox->pid_file);
    puts(line->str);
    fflush(stdout);
    g_string_free(line, TRUE);
}

/* --- */

static bool set_port(GArray *listens, const char *port)
{
    g_array_set_size(listens, 0);
    if (strchr(port, ':') == NULL && config_add_listen(listens, port))
        return true;
    admin_complain("'%s' is no port", port);
    return false;
}

static bool set_lmtp(GArray *listens, const GPtrArray *wanted)
{
    g_array_set_size(listens, 0);
    if (wanted->len == 0)
        return config_add_lmtp(listens, "0");
    for (unsigned i = 0; i < wanted->len; i++) {
        const char *text = g_ptr_array_index(wanted, i);

        if (!config_add_lmtp(listens, text)) {
            admin_complain("'%s' is neither a port nor the path of a socket", text);
            return false;
        }
    }
    return true;
}

static bool read_options(struct sandbox *sandbox)
{
    char *problem = NULL;

    if (sandbox->options == NULL || config_read(&sandbox->config, sandbox->options, &problem))
        return true;
    admin_complain("%s", problem);
    g_free(problem);
    return false;
}

static bool configure(struct sandbox *sandbox, const char *data)
{
    struct config *config = &sandbox->config;

    config_init(config);
    config->cleartext_login = true;
    config->log_debug = sandbox->debug;
    /* Enough for tests; they should not use all of a machine. */
    config->workers = 2;
    config->mime_workers = 2;
    config->journal_size = SANDBOX_JOURNAL;
    config->connections_per_user = 1000;
    config->connections_per_address = 1000;
    if (!read_options(sandbox))
        return false;
    g_free(config->data);
    config->data = g_strdup(data);
    config_resolve(config);
    g_array_set_size(config->metrics, 0);
    config_add_listen(config->metrics, "0");
    return set_port(config->imap, sandbox->imap) && set_port(config->imaps, sandbox->imaps) &&
           set_lmtp(config->lmtp, sandbox->lmtp);
}

static int serve(struct sandbox *sandbox)
{
    struct config *config = &sandbox->config;
    struct users *users = NULL;
    char *problem = NULL;
    struct store *store;
    bool ready;

    log_open_stderr(sandbox->debug);
    store = admin_make_store(config);
    if (store == NULL)
        return ADMIN_FAILED;
    store_close(store);
    users = admin_open_users(config);
    ready = users != NULL && provide_users(sandbox, users) && provide_repositories(config, users) &&
            provide_certificate(config);
    users_free(users);
    if (!ready)
        return ADMIN_FAILED;
    if (!config_check(config, &problem)) {
        admin_complain("%s", problem);
        g_free(problem);
        return ADMIN_FAILED;
    }
    return server_run(config, &(struct server_hooks){.ready = announce, .data = sandbox});
}

static int run(struct sandbox *sandbox)
{
    char *own = sandbox->data == NULL ? make_own_directory() : NULL;
    const char *data = own != NULL ? own : sandbox->data;
    int status = ADMIN_FAILED;

    if (data == NULL)
        return ADMIN_FAILED;
    if (configure(sandbox, data))
        status = serve(sandbox);
    if (own != NULL)
        remove_directory(own);
    if (sandbox->pid_file != NULL)
        unlink(sandbox->pid_file);
    config_release(&sandbox->config);
    g_free(own);
    return status;
}

int command_sandbox(int argc, char **argv)
{
    struct sandbox sandbox = {
        .logins = g_ptr_array_new(), .lmtp = g_ptr_array_new(), .imap = "0", .imaps = "0"};
    int status;

    if (!parse_options(&sandbox, argc, argv)) {
        fputs(USAGE, stderr);
        status = ADMIN_USAGE;
    } else if (sandbox.help) {
        fputs(USAGE, stdout);
        status = ADMIN_DONE;
    } else {
        status = run(&sandbox);
    }
    g_ptr_array_unref(sandbox.logins);
    g_ptr_array_unref(sandbox.lmtp);
    return status;
}
