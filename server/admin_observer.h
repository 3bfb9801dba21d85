/* What an admin sees of the store's long work: a bar on the terminal; and how he ends it without
 * harm: interrupt.h. */
#ifndef ANNAL_SERVER_ADMIN_OBSERVER_H
#define ANNAL_SERVER_ADMIN_OBSERVER_H

#include "store/observer.h"

struct admin_observer;

/* From now on SIGINT and SIGTERM are an interrupt. subject: what the bar is about, e.g. the user;
 * copied. */
struct admin_observer *admin_observer_new(const char *subject);
void admin_observer_free(struct admin_observer *observer); /* wipes the bar; accepts NULL */

/* For the store; borrowed. */
const struct observer *admin_observer_of(struct admin_observer *observer);
/* Before something else is written to the terminal: wipes the bar, which is drawn again later. */
void admin_observer_pause(struct admin_observer *observer);

#endif
