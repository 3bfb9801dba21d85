/* What tests of the store share: a directory of their own, and stock git. */
#ifndef ANNAL_TESTS_STORE_FIXTURE_H
#define ANNAL_TESTS_STORE_FIXTURE_H

#include <stdbool.h>

#include "store/host.h"

/* A new directory for this process's files; aborts if there is none. For fixture_remove(). */
char *fixture_directory(void);
/* Removes the directory with all in it and frees the name; accepts NULL. */
void fixture_remove(char *directory);

/* directory/name, for free(). */
char *fixture_path(const char *directory, const char *name);

/* The system's host, which makes nothing durable: for tests of many changes. */
struct host fixture_host_without_syncs(void);

/* Makes an empty bare repository with stock git. */
void fixture_make_repository(const char *path);

/* Runs git in that directory with the arguments (NULL-terminated), without any configuration but
 * the repository's, and its output thrown away unless it fails. True if it exits with 0. */
bool git_run(const char *directory, const char *const *arguments);
#define GIT(directory, ...) git_run(directory, (const char *const[]){__VA_ARGS__, NULL})

/* The same, with what it prints; NULL if it fails. For free(). */
char *git_output(const char *directory, const char *const *arguments);
#define GIT_OUTPUT(directory, ...) git_output(directory, (const char *const[]){__VA_ARGS__, NULL})

/* Alters the last octet of a file that nobody has mapped. */
void fixture_damage_end(const char *path);

/* The repository loses the object that git knows by this name; all others become loose ones. */
void fixture_lose_object(const char *repository, const char *name);

#endif
