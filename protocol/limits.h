/* Every limit on what a peer can make the protocol code do, in one place. */
#ifndef ANNAL_PROTOCOL_LIMITS_H
#define ANNAL_PROTOCOL_LIMITS_H

enum {
    LIMIT_TAG = 64,                      /* octets of a tag */
    LIMIT_LINE = 1024 * 1024,            /* octets of a command without its literals; ids of 100,000
                                            scattered messages fit */
    LIMIT_LINE_BEFORE_LOGIN = 40 * 1024, /* the largest ID (RFC 2971 3.3) has 32 kB */
    LIMIT_LITERAL = 64 * 1024,           /* octets of one literal that is no message */
    LIMIT_LITERALS = 128 * 1024,         /* their sum in one command */
    LIMIT_LITERAL_BEFORE_LOGIN = 1024,
    LIMIT_NESTING = 64,  /* parentheses inside each other */
    LIMIT_LIST = 100000, /* elements of one command, all lists together */
    LIMIT_SEARCH_KEYS = 20000,
    LIMIT_SORT_CRITERIA = 20,
    LIMIT_MESSAGE_ID = 998,       /* octets of a Message ID, in its plain form, for THREAD */
    LIMIT_REFERENCES = 500,       /* Message IDs of one References field that THREAD looks at */
    LIMIT_OBJECT_ID = 255,        /* RFC 8474 */
    LIMIT_FLAGS = 200,            /* flags in one list of them */
    LIMIT_APPEND_MESSAGES = 1000, /* of one APPEND */
    LIMIT_ID_FIELDS = 30,         /* RFC 2971 3.3 */
    LIMIT_ID_FIELD = 30,
    LIMIT_ID_VALUE = 1024,
    LIMIT_LIST_PATTERNS = 100,
    LIMIT_FETCH_ITEMS = 500,
    LIMIT_HEADER_NAMES = 500,  /* in one BODY[HEADER.FIELDS ...] */
    LIMIT_SECTION_DEPTH = 100, /* numbers of one section */

    LIMIT_MIME_SIZE = 256 * 1024 * 1024, /* octets that are parsed at all */
    LIMIT_MIME_DEPTH = 100,
    LIMIT_MIME_PARTS = 10000,
    LIMIT_MIME_HEADER_FIELDS = 10000,         /* of the whole message */
    LIMIT_MIME_HEADER_SIZE = 4 * 1024 * 1024, /* octets of all header blocks */
    LIMIT_ENVELOPE_ADDRESSES = 20000,

    /* Of messages that are parsed without a process of their own (mime_parse.h). */
    LIMIT_SMALL_MIME_SIZE = 1024 * 1024,
    LIMIT_SMALL_MIME_PARTS = 100,
    LIMIT_SMALL_MIME_HEADER_FIELDS = 1000,
    LIMIT_SMALL_MIME_HEADER_SIZE = 64 * 1024,
};

#endif
