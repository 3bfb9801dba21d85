/* A message's parts as arrays, and the record they are kept as. Internal to structure and mime.
 *
 * The record, version 1: octets "ANST", version (one octet), then numbers and strings. A number
 * is a LEB128 of at most ten octets. A string is a number, 0 for none, else its length plus one
 * and its octets. A list is a number and that many elements.
 *
 *     message length, count of parts, and for each part:
 *         kind, index of its parent (0 for the first), header start and length,
 *         body start and length, lines of the body,
 *         type (with '/' and final NUL), encoding, id, description, md5, disposition, location,
 *         list of parameters (name, value), the same of the disposition, list of languages,
 *         and where the part is a message's (the first, or a child of STRUCTURE_MESSAGE):
 *             the ten fields of the envelope, raw (addresses: of the first part only),
 *             for From, Sender, Reply-To, To, Cc, Bcc a list of addresses
 *             (name, route, mailbox, host)
 *
 * A parent comes before its children, siblings are in order. Nothing follows. Any other version
 * is malformed to this reader: the record is made again.
 */
#ifndef ANNAL_PROTOCOL_STRUCTURE_TREE_H
#define ANNAL_PROTOCOL_STRUCTURE_TREE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/structure.h"

struct structure_text {
    const char *data; /* NULL: absent; not NUL-terminated */
    size_t length;
};

/* Some neighbours in one of the arrays. */
struct structure_span {
    uint32_t first;
    uint32_t count;
};

struct structure_parameter {
    struct structure_text name;
    struct structure_text value;
};

/* As ENVELOPE has them (RFC 3501 7.4.2): a group begins with host NIL and its name as mailbox,
 * and ends with all NIL. */
struct structure_address {
    struct structure_text name;
    struct structure_text route;
    struct structure_text mailbox;
    struct structure_text host;
};

struct structure_message {
    struct structure_text fields[ENVELOPE_FIELD_COUNT];
    struct structure_span addresses[ENVELOPE_FIELD_COUNT]; /* ENVELOPE_FROM to ENVELOPE_BCC */
};

enum structure_kind {
    STRUCTURE_LEAF,
    STRUCTURE_MULTIPART, /* has children */
    STRUCTURE_MESSAGE,   /* message/rfc822 or message/global: one child, the message in it */
    STRUCTURE_KIND_COUNT,
};

/* 0 is the message itself, which is nobody's child, so 0 stands for none in links. */
struct structure_part {
    enum structure_kind kind;
    uint32_t parent;
    uint32_t first_child;
    uint32_t last_child;
    uint32_t next_sibling;
    uint32_t depth;
    uint32_t message; /* index in messages, if structure_is_message() */
    struct octet_range header;
    struct octet_range body;
    uint64_t lines;
    struct structure_text type; /* "text/plain", and a NUL after its length */
    struct structure_text encoding;
    struct structure_text id;
    struct structure_text description;
    struct structure_text md5;
    struct structure_text disposition;
    struct structure_text location;
    struct structure_span parameters;
    struct structure_span disposition_parameters;
    struct structure_span languages;
};

struct structure {
    GArray *parts;         /* struct structure_part */
    GArray *parameters;    /* struct structure_parameter */
    GArray *languages;     /* struct structure_text */
    GArray *messages;      /* struct structure_message */
    GArray *addresses;     /* struct structure_address */
    GBytes *record;        /* holds the strings of a decoded structure */
    GStringChunk *strings; /* holds those of one that is being made */
};

/* An empty structure to fill. */
struct structure *structure_new(void);

/* A copy of text that lives as long as the structure, with a NUL after it. */
struct structure_text structure_keep(struct structure *structure, const char *text, size_t length);

/* Adds a part below parent (for the first: 0) and links it. Its index. Pointers into parts end. */
uint32_t structure_add_part(struct structure *structure, uint32_t parent, enum structure_kind kind);

struct structure_part *structure_part(const struct structure *structure, uint32_t index);

/* Whether the part is a whole message, with an envelope. */
bool structure_is_message(const struct structure *structure, uint32_t index);

/* structure_plain() before it is encoded. */
struct structure *structure_plain_tree(const uint8_t *message, size_t length);

/* The record of a complete structure, about a message of that length. */
GBytes *structure_encode(const struct structure *structure, uint64_t message_length);
/* The same, but the message itself has no envelope (those of attached messages stay). */
GBytes *structure_encode_parts(const struct structure *structure, uint64_t message_length);

#endif
