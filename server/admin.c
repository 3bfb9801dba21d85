#include "server/admin.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"
#include "server/privilege.h"
#include "server/program.h"
#include "server/progress.h"

void admin_complain(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    log_clean(text);
    progress_pause_shown();
    fprintf(stderr, "annal: %s\n", text);
    g_free(text);
}

bool admin_fail(const char *what, const struct store_error *error)
{
    admin_complain("%s: %s: %s", what, store_code_name(error->code), error->detail);
    return false;
}

bool admin_load_config(struct config *config, const char *path, const char *data, char **problem)
{
    config_init(config);
    if (path == NULL && access(ADMIN_CONFIG_PATH, F_OK) == 0)
        path = ADMIN_CONFIG_PATH;
    if (path != NULL && !config_read(config, path, problem))
        return false;
    if (data != NULL) {
        g_free(config->data);
        config->data = g_strdup(data);
    }
    config_resolve(config);
    return true;
}

bool admin_read_config(struct config *config, const char *path, const char *data)
{
    char *problem = NULL;

    if (admin_load_config(config, path, data, &problem) &&
        privilege_become_owner(config->data, &problem))
        return true;
    admin_complain("%s", problem);
    g_free(problem);
    return false;
}

struct users *admin_open_users(const struct config *config)
{
    char *problem = NULL;
    struct users *users = users_open(config->users, &problem);

    if (users == NULL)
        admin_complain("%s", problem);
    g_free(problem);
    return users;
}

struct store *admin_open_store(const struct config *config)
{
    if (access(config->data, F_OK) != 0 && errno == ENOENT) {
        admin_complain("%s: there is no such data directory: is --data or --config right?",
                       config->data);
        return NULL;
    }
    return admin_make_store(config);
}

struct store *admin_make_store(const struct config *config)
{
    struct store_error error = {0};
    struct store *store = NULL;

    if (store_open(&store, config->data, host_system(), &error) != 0) {
        admin_fail(config->data, &error);
        return NULL;
    }
    program_tell_store(store);
    return store;
}

struct origin admin_origin(const char *command)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (struct origin){
        .client = "annal (admin)",
        .command = command,
        .time = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
    };
}

char *admin_repository(const struct config *config, const char *user)
{
    return g_strdup_printf("%s/mail/%s.git", config->data, user);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *admin_repository_users(const struct config *config)
{
    static const char suffix[] = ".git";
    char *path = g_strdup_printf("%s/mail", config->data);
    DIR *directory = opendir(path);
    GPtrArray *names = NULL;
    struct dirent *found;

    if (directory == NULL)
        admin_complain("%s can't be read", path);
    else
        names = g_ptr_array_new_with_free_func(g_free);
    while (directory != NULL && (found = readdir(directory)) != NULL) {
        size_t length = strlen(found->d_name);
        size_t stem = length > strlen(suffix) ? length - strlen(suffix) : 0;
        char *name = g_strndup(found->d_name, stem);

        if (stem > 0 && strcmp(found->d_name + stem, suffix) == 0 && store_user_name_valid(name))
            g_ptr_array_add(names, g_steal_pointer(&name));
        g_free(name);
    }
    if (directory != NULL)
        closedir(directory);
    if (names != NULL)
        g_ptr_array_sort(names, compare_names);
    g_free(path);
    return names;
}

static bool work_for(const struct config *config, const char *user, admin_work work, void *data)
{
    if (store_user_name_valid(user))
        return work(config, user, data);
    admin_users_status(USERS_BAD_NAME, user, NULL);
    return false;
}

bool admin_for_users(const struct config *config, char **users, bool all, admin_work work,
                     void *data)
{
    GPtrArray *names = all ? admin_repository_users(config) : NULL;
    bool good = !all || names != NULL;

    for (unsigned i = 0; names != NULL && i < names->len; i++)
        good = work_for(config, g_ptr_array_index(names, i), work, data) && good;
    for (; !all && *users != NULL; users++)
        good = work_for(config, *users, work, data) && good;
    if (names != NULL)
        g_ptr_array_unref(names);
    return good;
}

/* One line of a stream without its end; NULL at the end of the stream, or if it is too long. */
static char *read_line(FILE *stream)
{
    char line[USERS_PASSWORD_MAX + 3];
    char *copy = NULL;
    size_t length;

    if (fgets(line, sizeof(line), stream) != NULL) {
        length = strcspn(line, "\r\n");
        if (length <= USERS_PASSWORD_MAX)
            copy = g_strndup(line, length);
    }
    explicit_bzero(line, sizeof(line));
    return copy;
}

static char *ask_once(FILE *terminal, const char *prompt)
{
    struct termios before;
    struct termios quiet;
    char *line;

    if (tcgetattr(fileno(terminal), &before) != 0)
        return NULL;
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    /* First, as what is typed before is thrown away. */
    tcsetattr(fileno(terminal), TCSAFLUSH, &quiet);
    dprintf(fileno(terminal), "%s", prompt);
    line = read_line(terminal);
    tcsetattr(fileno(terminal), TCSAFLUSH, &before);
    dprintf(fileno(terminal), "\n");
    return line;
}

static char *ask_terminal(void)
{
    FILE *terminal = fopen("/dev/tty", "r+e");
    char *first = NULL;
    char *second = NULL;

    if (terminal == NULL) {
        admin_complain("no terminal to ask for a password: use --password-stdin");
        return NULL;
    }
    first = ask_once(terminal, "Password: ");
    if (first != NULL)
        second = ask_once(terminal, "Again: ");
    fclose(terminal);
    if (first != NULL && second != NULL && strcmp(first, second) == 0) {
        admin_free_password(second);
        return first;
    }
    admin_complain("the passwords differ or can't be read");
    admin_free_password(first);
    admin_free_password(second);
    return NULL;
}

char *admin_ask_password(bool from_stdin)
{
    char *password;

    if (!from_stdin)
        return ask_terminal();
    password = read_line(stdin);
    if (password == NULL)
        admin_complain("no password on stdin, or one longer than %d octets", USERS_PASSWORD_MAX);
    return password;
}

void admin_free_password(char *password)
{
    if (password != NULL)
        explicit_bzero(password, strlen(password));
    g_free(password);
}

int admin_users_status(enum users_result result, const char *user, char *problem)
{
    switch (result) {
    case USERS_OK:
        break;
    case USERS_TAKEN:
        admin_complain("user %s exists", user);
        break;
    case USERS_MISSING:
        admin_complain("there is no user %s", user);
        break;
    case USERS_BAD_NAME:
        admin_complain("%s can't be a user's name", user);
        break;
    case USERS_BAD_PASSWORD:
        admin_complain("a password has 1 to %d octets", USERS_PASSWORD_MAX);
        break;
    case USERS_FAILED:
        admin_complain("%s", problem != NULL ? problem : "the password file can't be changed");
        break;
    }
    g_free(problem);
    return result == USERS_OK ? ADMIN_DONE : ADMIN_FAILED;
}
