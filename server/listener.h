/* The sockets that connections come from. One thread. */
#ifndef ANNAL_SERVER_LISTENER_H
#define ANNAL_SERVER_LISTENER_H

#include <stdbool.h>

#include "server/config.h"
#include "server/connection.h"

struct listener;

/* Binds and listens; an IPv6 address takes IPv6 alone. An address that begins with '/' is the path
 * of a Unix socket: a socket that nobody listens to any more is replaced, and listener_free()
 * removes it. listen->port 0 becomes the port it got. Connections go to connections_open(). NULL
 * with *problem (a new string). */
struct listener *listener_new(struct event_base *base, struct connections *connections,
                              struct config_listen *listen, bool tls, bool cleartext_login,
                              char **problem);
/* The same over a socket that listens already; takes fd, whatever happens. *listen becomes what it
 * is bound to; its address is borrowed until the listener is freed. */
struct listener *listener_adopt(struct event_base *base, struct connections *connections, int fd,
                                struct config_listen *listen, bool tls, bool cleartext_login,
                                char **problem);
/* For connections that come. */
void listener_set_cleartext_login(struct listener *listener, bool cleartext_login);
/* From now on its connections go to connections_open_lmtp(). */
void listener_set_lmtp(struct listener *listener);
void listener_free(struct listener *listener); /* accepts NULL */

#endif
