/* The thread that has the LMTP sessions. It parses, keeps messages until they are complete and asks
 * the workers of the recipients whether there is room, and to deliver; it never touches an account.
 *
 *     connection --link--> lmtp_service --workers_deliver()--> workers --> lmtp_service --> link
 */
#ifndef ANNAL_SERVER_LMTP_SERVICE_H
#define ANNAL_SERVER_LMTP_SERVICE_H

#include "server/lmtp_session.h"
#include "server/users.h"
#include "server/worker.h"

struct lmtp_service;

struct lmtp_service_settings {
    struct lmtp_settings session; /* its strings are borrowed */
    struct workers *workers;      /* borrowed */
    struct users *users;          /* borrowed */
    struct quota_source quota;
};

/* Starts the thread. NULL with *problem (a new string). */
struct lmtp_service *lmtp_service_new(const struct lmtp_service_settings *settings, char **problem);
/* [any] A new connection; its greeting comes back as output. */
void lmtp_service_add(struct lmtp_service *service, struct link *link);
/* Ends the thread and all sessions without a word; what is being delivered is delivered. Accepts
 * NULL. Before the workers end; lmtp_service_free() after them. */
void lmtp_service_stop(struct lmtp_service *service);
void lmtp_service_free(struct lmtp_service *service); /* accepts NULL */

#endif
