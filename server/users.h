/* The password file: one line a user, "name:hash" or "name:hash:field", hashes by crypt(5)
 * (yescrypt). Read again when it changes. Safe to call from several threads.
 */
#ifndef ANNAL_SERVER_USERS_H
#define ANNAL_SERVER_USERS_H

#include <glib.h>
#include <stdbool.h>

enum {
    USERS_NAME_MAX = 128,     /* octets */
    USERS_PASSWORD_MAX = 511, /* octets; crypt(5) takes no more */
    USERS_FILE_MAX = 64 * 1024 * 1024,
};

struct users;

/* A file that does not exist is an empty one. NULL with *problem (a new string, with file and line)
 * if it can't be read or is malformed. */
struct users *users_open(const char *path, char **problem);
void users_free(struct users *users); /* accepts NULL */

/* True if the password is the user's. Takes as long for an unknown user as for a wrong password,
 * and compares in constant time. Blocks for tens of milliseconds (the hash). A file that became
 * unreadable or malformed keeps the last good state. */
bool users_check(struct users *users, const char *user, const char *password);

/* The cost of hashes made from now on, 1 to 11 as in crypt(5); 0 is the library's choice. */
void users_set_cost(struct users *users, unsigned long cost);

bool users_exists(struct users *users, const char *user);
/* What stands behind the hash in the user's line: "quota_mib=500,quota_messages=1000"
 * (quota_limits_parse()); a new string, NULL if there is nothing. */
char *users_field(struct users *users, const char *user);
/* New array of char *, sorted. */
GPtrArray *users_list(struct users *users);

enum users_result {
    USERS_OK,
    USERS_TAKEN,
    USERS_MISSING,
    USERS_BAD_NAME,
    USERS_BAD_PASSWORD,
    USERS_FAILED
};

/* A name: 1 to USERS_NAME_MAX octets without ':' or control characters, not beginning with '#'. A
 * password: 1 to USERS_PASSWORD_MAX octets. Change the file, other lines and comments kept: under a
 * lock, through a new file that is fsynced and renamed over the old one. On USERS_FAILED *problem
 * is a new string. */
enum users_result users_add(struct users *users, const char *user, const char *password,
                            char **problem);
enum users_result users_set_password(struct users *users, const char *user, const char *password,
                                     char **problem);
enum users_result users_delete(struct users *users, const char *user, char **problem);
/* field: without ':' and control characters (USERS_FAILED); "" takes it away. */
enum users_result users_set_field(struct users *users, const char *user, const char *field,
                                  char **problem);

#endif
