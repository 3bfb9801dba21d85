/* Content-Transfer-Encodings (RFC 2045 6), undone piece by piece.
 *
 * What is malformed is decoded as far as it makes sense and never refused: base64 goes over what is
 * no digit, ends at the first "=" and drops bits that make no octet; in quoted-printable a "=" that
 * begins nothing stands for itself, as do octets that should have been encoded.
 */
#ifndef ANNAL_PROTOCOL_TRANSFER_ENCODING_H
#define ANNAL_PROTOCOL_TRANSFER_ENCODING_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum transfer_encoding {
    TRANSFER_IDENTITY, /* 7bit, 8bit, binary, and where none is named */
    TRANSFER_QUOTED_PRINTABLE,
    TRANSFER_BASE64,
    TRANSFER_UNKNOWN,
};

/* name: as it stands in the field, in any case; NULL: there is none. */
enum transfer_encoding transfer_encoding_parse(const char *name, size_t length);

/* Blanks at the end of a line of quoted-printable are no part of it; after so many (a legal line
 * has 76 octets) they are taken for text. */
enum { TRANSFER_PENDING_MAX = 1024 };

struct transfer_decoder {
    enum transfer_encoding encoding;
    bool lines;    /* a LF without its CR gets one */
    bool after_cr; /* the last octet put out */
    bool ended;    /* base64 after "=" */
    uint32_t bits; /* base64: of digits that make no octet yet */
    unsigned bit_count;
    size_t pending_length; /* quoted-printable: "=", blanks, CR that wait for what follows */
    char pending[TRANSFER_PENDING_MAX];
};

/* lines: the octets are lines of text, which end with CRLF whatever they were stored with; not for
 * base64, whose octets are exact, and ignored there. TRANSFER_UNKNOWN is decoded as identity. */
void transfer_decoder_init(struct transfer_decoder *decoder, enum transfer_encoding encoding,
                           bool lines);
/* Appends what the next octets decode to: at most twice as many and TRANSFER_PENDING_MAX more. */
void transfer_decode(struct transfer_decoder *decoder, GByteArray *out, const uint8_t *data,
                     size_t length);
/* Appends what was waiting for more. */
void transfer_decode_end(struct transfer_decoder *decoder, GByteArray *out);

#endif
