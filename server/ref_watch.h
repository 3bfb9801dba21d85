/* Noticing at once that somebody else moved a branch of an account in use: stock git, or another
 * part of Annal. An inotify descriptor for a worker's accounts. Only a hint, as it may be lost:
 * whoever uses it looks at the references now and then all the same.
 *
 * Belongs to one thread.
 */
#ifndef ANNAL_SERVER_REF_WATCH_H
#define ANNAL_SERVER_REF_WATCH_H

#include <glib.h>

struct ref_watch;

/* NULL where the system has no more of these. All others accept that. */
struct ref_watch *ref_watch_new(void);
void ref_watch_free(struct ref_watch *watch);

/* Readable when something was noticed; -1: never. */
int ref_watch_fd(const struct ref_watch *watch);

/* From begin to end keep() names each account that is to be watched, with its repository's path;
 * those that were watched and are not named are no longer. */
void ref_watch_begin(struct ref_watch *watch);
void ref_watch_keep(struct ref_watch *watch, const char *user, const char *path);
void ref_watch_end(struct ref_watch *watch);

/* The users (char *, borrowed until the next call of any of these) whose branches may have moved
 * since the last call, each once: a new array. Never blocks. */
GPtrArray *ref_watch_take(struct ref_watch *watch);

#endif
