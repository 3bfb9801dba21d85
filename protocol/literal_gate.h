/* Where a literal may stand, decided when it is announced: from the kind of command and the
 * arguments so far. Internal to the parser. */
#ifndef ANNAL_PROTOCOL_LITERAL_GATE_H
#define ANNAL_PROTOCOL_LITERAL_GATE_H

#include "protocol/command.h"
#include "protocol/lexer.h"

enum literal_gate {
    LITERAL_GATE_REFUSED,
    LITERAL_GATE_STRING,  /* small, kept as an argument */
    LITERAL_GATE_MESSAGE, /* of an APPEND; its options are not checked yet */
};

/* After LEXER_LITERAL. Never refuses what the grammar allows; what it lets through may still turn
 * out wrong when the command is converted. */
enum literal_gate literal_gate(enum command_kind kind, const struct lexer *lexer);

#endif
