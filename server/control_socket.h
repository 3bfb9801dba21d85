/* Both ends of the control socket, and what its lines are made of. */
#ifndef ANNAL_SERVER_CONTROL_SOCKET_H
#define ANNAL_SERVER_CONTROL_SOCKET_H

#include <glib.h>

/* A listening socket with this name, non-blocking; -1 with *problem (a new string), also if
 * somebody listens there. */
int control_listen(const char *path, char **problem);
/* A connected, blocking socket; -1 with errno. */
int control_connect(const char *path);

/* Appends a field. */
void control_escape(GString *out, const char *field);

#endif
