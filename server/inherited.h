/* Listening sockets that were handed over at the start, as socket activation does it
 * (sd_listen_fds(3)): descriptors from 3 on, with names. */
#ifndef ANNAL_SERVER_INHERITED_H
#define ANNAL_SERVER_INHERITED_H

#include <stdbool.h>

struct inherited;

/* Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES and takes them out of the environment. The
 * sockets become non-blocking and closed on exec. False with *problem (a new string) if one is no
 * listening stream socket; *out is NULL if none was handed over. Only at the start of the process:
 * before a descriptor is opened and a thread starts. */
bool inherited_new(struct inherited **out, char **problem);
/* Closes what nobody has taken; accepts NULL. */
void inherited_free(struct inherited *inherited);

/* The next socket of this name, now the caller's; -1: there is no more. Accepts NULL. */
int inherited_take(struct inherited *inherited, const char *name);

/* Whether there is one of this name to take. Accepts NULL. */
bool inherited_has(const struct inherited *inherited, const char *name);

/* The name of a socket that nobody has taken, borrowed; NULL: all are taken. Accepts NULL. */
const char *inherited_left(const struct inherited *inherited);

#endif
