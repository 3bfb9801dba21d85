/* What the subcommands share: their common options, their way to speak to the admin. */
#ifndef ANNAL_SERVER_ADMIN_H
#define ANNAL_SERVER_ADMIN_H

#include <stdbool.h>

#include "server/config.h"
#include "server/users.h"
#include "store/store.h"

/* Read when no other is named. */
#ifdef ANNAL_CONFIG_PATH
#define ADMIN_CONFIG_PATH ANNAL_CONFIG_PATH
#else
#define ADMIN_CONFIG_PATH "/etc/annal/annal.conf"
#endif

enum { ADMIN_DONE = 0, ADMIN_FAILED = 1, ADMIN_USAGE = 2 };

/* "annal: ..." on stderr; made harmless as log_clean() does. */
void admin_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "annal: WHAT: CODE: DETAIL" on stderr, likewise: what the store could not do with something.
 * Returns false. */
bool admin_fail(const char *what, const struct store_error *error);

/* Reads the configuration: the file at path, or ADMIN_CONFIG_PATH if path is NULL and there is
 * one; then data (may be NULL) over it; resolves it. config is initialised here; release it also
 * after false, with *problem, a new string. */
bool admin_load_config(struct config *config, const char *path, const char *data, char **problem);

/* The same for a command that begins: tells of problems. Root becomes the data directory's owner
 * (privilege.h). config is initialised here; release it also
 * after false, when the problem has been told. */
bool admin_read_config(struct config *config, const char *path, const char *data);

/* The configured password file; NULL when the problem has been told. */
struct users *admin_open_users(const struct config *config);

/* The configured store; NULL when the problem has been told, also that its directory is missing. */
struct store *admin_open_store(const struct config *config);
/* The same for what may be the first to use the directory: makes it. */
struct store *admin_make_store(const struct config *config);

/* Who changes something: this program, run by the admin, now. */
struct origin admin_origin(const char *command);

/* The path of a user's repository; a new string. */
char *admin_repository(const struct config *config, const char *user);

/* The users that have a repository, ascending, a new array; NULL when the problem has been told. */
GPtrArray *admin_repository_users(const struct config *config);

/* Does its work for each of these users (NULL-terminated, names that can be none's are told), or,
 * with all, for each that has a repository: for every one, also after a failure, which it has told.
 * True if all of it was good.
 */
typedef bool (*admin_work)(const struct config *config, const char *user, void *data);
bool admin_for_users(const struct config *config, char **users, bool all, admin_work work,
                     void *data);

/* The password typed twice on the terminal, or the first line of stdin with from_stdin; a new
 * string for admin_free_password(). NULL when the problem has been told. */
char *admin_ask_password(bool from_stdin);
void admin_free_password(char *password); /* wipes it; accepts NULL */

/* Tells what went wrong in users_add() and the like; frees problem. Returns the exit status. */
int admin_users_status(enum users_result result, const char *user, char *problem);

#endif
