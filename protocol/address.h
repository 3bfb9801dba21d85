/* Address lists of message headers (RFC 5322 3.4 and 4.4, and what people really send), as
 * ENVELOPE wants them. */
#ifndef ANNAL_PROTOCOL_ADDRESS_H
#define ANNAL_PROTOCOL_ADDRESS_H

#include <stddef.h>

#include "protocol/structure_tree.h"

/* Parses an unfolded list and appends what it finds to structure->addresses, at most limit
 * elements. Quoting is removed, encoded-words stay. A comment serves as the name of an address
 * that has no other. A mailbox without "@" has an empty host, for NIL would make it a group.
 * Iterative; linear. */
struct structure_span address_list_parse(struct structure *structure, const char *text,
                                         size_t length, size_t limit);

#endif
