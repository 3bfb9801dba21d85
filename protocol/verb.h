/* The names of commands. Internal to the parser. */
#ifndef ANNAL_PROTOCOL_VERB_H
#define ANNAL_PROTOCOL_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/command.h"

/* In any case; COMMAND_UNKNOWN if there is none of this name, or none with UID before it. */
enum command_kind verb_kind(const char *text, size_t length, bool uid);

#endif
