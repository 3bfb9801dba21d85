/* What of a changed configuration a running server takes over. */
#ifndef ANNAL_SERVER_RELOAD_H
#define ANNAL_SERVER_RELOAD_H

#include <stdbool.h>

#include "server/config.h"

/* Moves what can change at run time from fresh into config. Each option that differs is logged: as
 * new, or as kept until the next start. Both are resolved and checked (config_check()). */
void reload_take(struct config *config, struct config *fresh);

/* Whether the option, by its name in the file, is known here; then *live tells whether it can
 * change at run time. */
bool reload_knows(const char *name, bool *live);

#endif
