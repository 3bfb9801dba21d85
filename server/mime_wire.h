/* Between the server and a process that parses messages: fixed headers over a stream socket, both
 * ends on one machine and of one build. Each request gets one reply, in order. */
#ifndef ANNAL_SERVER_MIME_WIRE_H
#define ANNAL_SERVER_MIME_WIRE_H

#include <stdint.h>

enum {
    MIME_WIRE_FD = 3,                       /* the worker's end */
    MIME_WIRE_INLINE_MAX = 64 * 1024,       /* a longer message comes as a memory file */
    MIME_TEXT_MAX = 16 * 1024 * 1024,       /* octets of searchable text of one message */
    MIME_WIRE_REPLY_MAX = 64 * 1024 * 1024, /* nothing longer is believed */
};

enum mime_wire_operation { MIME_WIRE_STRUCTURE = 1, MIME_WIRE_TEXT = 2 };

enum {
    MIME_WIRE_HEADER = 1 << 0, /* of a text: header fields are wanted */
    MIME_WIRE_BODY = 1 << 1,
};

/* length octets of message follow, unless a descriptor came with the request. */
struct mime_wire_request {
    uint32_t operation;
    uint32_t flags;
    uint64_t length;
};

/* length octets of result follow. */
struct mime_wire_reply {
    uint64_t length;
};

#endif
