/* SIGINT, SIGTERM and SIGHUP (the terminal is gone; unless that is ignored) for a long task that
 * ends well: at the first one it stops where it does no harm, at the second one of its kind the
 * process ends at once. */
#ifndef ANNAL_SERVER_INTERRUPT_H
#define ANNAL_SERVER_INTERRUPT_H

#include <stdbool.h>

void interrupt_catch(void); /* from now on, for the process */
bool interrupted(void);     /* there was one */

#endif
