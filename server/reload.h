/* What of a changed configuration a running server takes over. */
#ifndef ANNAL_SERVER_RELOAD_H
#define ANNAL_SERVER_RELOAD_H

#include "server/config.h"

/* Moves what can change at run time from fresh into config. Each option that differs is logged: as
 * new, or as kept until the next start. Both are resolved and checked (config_check()). */
void reload_take(struct config *config, struct config *fresh);

#endif
