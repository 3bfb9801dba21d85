/* Structured MIME header fields (RFC 2045, 2183, 3282): parameters just as they stand, in their
 * order, because that is what BODYSTRUCTURE shows. gmime would decode, join and reorder them. */
#ifndef ANNAL_PROTOCOL_MIME_FIELDS_H
#define ANNAL_PROTOCOL_MIME_FIELDS_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "protocol/structure_tree.h"

/* All take an unfolded value and keep what they find in the structure. */

/* Content-Type. False if there is no type and subtype: then nothing is set. */
bool mime_fields_type(struct structure *structure, struct structure_part *part, const char *value,
                      size_t length);
void mime_fields_disposition(struct structure *structure, struct structure_part *part,
                             const char *value, size_t length);
void mime_fields_language(struct structure *structure, struct structure_part *part,
                          const char *value, size_t length);
/* Content-Transfer-Encoding: the first token, or none. */
void mime_fields_encoding(struct structure *structure, struct structure_part *part,
                          const char *value, size_t length);

/* A parameter's value, whether it stands as name, name* or in pieces name*0, name*1* and so on
 * (RFC 2231); percent signs and charset of the extended forms are decoded and dropped. Appends to
 * out; false if there is none. */
bool mime_fields_parameter(GString *out, const struct structure *structure,
                           struct structure_span span, const char *name);

#endif
