/* LMTP's commands (RFC 2033; the grammar is that of RFC 5321 4.1) and the octets of messages, from
 * bytes that may come in any pieces. Pure and iterative; all that is kept is the line under way.
 *
 * A line ends at CRLF alone: one with a bare CR or LF or a NUL in it is refused as a whole. So does
 * a message: DATA ends at CRLF.CRLF and at nothing that resembles it (RFC 5321 4.1.1.4), a bare CR
 * or LF is an octet like any other.
 *
 *     lmtp_parser_parse() -> LMTP_COMMAND -> the caller answers -> after 354: lmtp_parser_data()
 *                                                             -> after BDAT: lmtp_parser_chunk()
 *                         -> LMTP_OCTETS ... -> LMTP_END
 */
#ifndef ANNAL_PROTOCOL_LMTP_H
#define ANNAL_PROTOCOL_LMTP_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LMTP_LINE_MAX = 2048,  /* octets of a command with its CRLF; RFC 5321 4.5.3.1.4 with room */
    LMTP_LOCAL_MAX = 256,  /* octets before the '@'; twice and four times what RFC 5321 4.5.3.1 */
    LMTP_PATH_MAX = 1024,  /* demands, so that no address of UTF-8 is too long */
    LMTP_DOMAIN_MAX = 255, /* octets */
};

enum lmtp_verb {
    LMTP_LHLO,
    LMTP_HELLO, /* HELO and EHLO, which LMTP refuses (RFC 2033 4.1) */
    LMTP_MAIL,
    LMTP_RCPT,
    LMTP_DATA,
    LMTP_BDAT,
    LMTP_RSET,
    LMTP_NOOP,
    LMTP_VRFY,
    LMTP_HELP,
    LMTP_QUIT,
    LMTP_UNKNOWN,
    LMTP_VERB_COUNT,
};

enum lmtp_problem {
    LMTP_GOOD,
    LMTP_LONG_LINE,
    LMTP_BAD_LINE,      /* a bare CR or LF, a NUL */
    LMTP_BAD_SYNTAX,    /* arguments where there should be none, none where there should be */
    LMTP_BAD_PATH,      /* no address */
    LMTP_BAD_PARAMETER, /* one that is not known, or comes twice */
    LMTP_BAD_VALUE,     /* of a known one */
};

struct lmtp_command {
    enum lmtp_verb verb;
    enum lmtp_problem problem;
    char *text;       /* LHLO: the client's name; MAIL and RCPT: the address without "<>" and source
                         route, as given ("" is the null sender); UTF-8 without controls */
    char *local;      /* of an address, without its quoting */
    const char *host; /* the part of text behind the last '@'; NULL: none */
    bool is_utf8;     /* the address has octets above 127 */
    bool has_size;    /* MAIL: SIZE (RFC 1870) */
    uint64_t size;    /* that, or BDAT's chunk-size; UINT64_MAX for anything larger */
    bool smtputf8;    /* MAIL: SMTPUTF8 (RFC 6531) */
    bool last;        /* BDAT: LAST */
};

enum lmtp_parsed {
    LMTP_MORE,    /* all input is used */
    LMTP_COMMAND, /* lmtp_parser_command() */
    LMTP_OCTETS,  /* lmtp_parser_octets() */
    LMTP_END,     /* of the message, or of the chunk */
};

struct lmtp_parser;

struct lmtp_parser *lmtp_parser_new(void);
void lmtp_parser_free(struct lmtp_parser *parser); /* accepts NULL */

/* Parses until there is something to tell; *used octets of the input are done with. */
enum lmtp_parsed lmtp_parser_parse(struct lmtp_parser *parser, const uint8_t *input, size_t length,
                                   size_t *used);
/* Valid until the next call. */
const struct lmtp_command *lmtp_parser_command(const struct lmtp_parser *parser);
/* Octets of the message, without the dots that transparency added: within the last input, or
 * constant. */
const uint8_t *lmtp_parser_octets(const struct lmtp_parser *parser, size_t *length);

/* What follows the command is a message up to its CRLF.CRLF, or size octets. */
void lmtp_parser_data(struct lmtp_parser *parser);
void lmtp_parser_chunk(struct lmtp_parser *parser, uint64_t size);

#endif
