/* What the service manager is told: the datagrams of sd_notify(3). */
#ifndef ANNAL_SERVER_NOTIFY_H
#define ANNAL_SERVER_NOTIFY_H

#include <stdint.h>

struct notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment, so
 * that no child takes them for its own. NULL if nobody wants to be told. Only before the first
 * thread starts. */
struct notify *notify_new(void);
void notify_free(struct notify *notify); /* accepts NULL */

/* Sends one or more lines, "READY=1\nSTATUS=...": one datagram; waits at most some seconds for room
 * in the manager's queue. What can't be sent is lost. Accepts NULL and does nothing. Any thread. */
void notify_tell(const struct notify *notify, const char *lines);

/* "RELOADING=1" with the time, which must be followed by "READY=1". Accepts NULL. */
void notify_tell_reloading(const struct notify *notify);

/* Microseconds within which WATCHDOG=1 is expected each time; 0: not at all. Accepts NULL. */
int64_t notify_watchdog(const struct notify *notify);

#endif
