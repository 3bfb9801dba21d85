/* What a parser makes of bytes, as text: for tests that compare. */
#ifndef ANNAL_TESTS_PARSER_TRACE_H
#define ANNAL_TESTS_PARSER_TRACE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "protocol/command.h"
#include "protocol/parser.h"

/* A typed command on one line, every field that is set. Appends. */
void command_trace(GString *out, const struct command *command);

struct trace_settings {
    bool before_login;
    bool utf8;
    bool rev2;
    bool refuse_messages;
    size_t chunk; /* octets fed at once; 0: all */
    size_t split; /* with chunk 0: the first piece has so many octets; 0: no split */
};

/* Feeds the input and writes a line for each event; the octets of a message stand in one line.
 * The literals stand in the input whether they are synchronising or not. New string. */
char *parser_trace(const struct trace_settings *settings, const char *input, size_t length);

#endif
