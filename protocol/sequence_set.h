/* sequence-set (RFC 9051 9): a set of message sequence numbers or UIDs, with "*". */
#ifndef ANNAL_PROTOCOL_SEQUENCE_SET_H
#define ANNAL_PROTOCOL_SEQUENCE_SET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One range as written; 0 stands for "*". low and high may be in any order. */
struct sequence_range {
    uint32_t low;
    uint32_t high;
};

/* ranges: GArray of struct sequence_range, as written. Or "$" (RFC 5182), when saved is true. */
struct sequence_set {
    GArray *ranges;
    bool saved;
};

/* Parses the whole of text. Numbers are 1 to 4294967295; overflow, 0 and anything else is false.
 * "$" is accepted only with allow_saved. At most LIMIT_LIST ranges. */
bool sequence_set_parse(struct sequence_set *out, const char *text, size_t length,
                        bool allow_saved);
void sequence_set_release(struct sequence_set *set);

/* Resolves "*" to largest, sorts, joins overlapping and adjacent ranges: a new GArray of struct
 * sequence_range with low <= high, ascending and disjoint. largest 0 (an empty mailbox): "*"
 * alone and ranges of it vanish. Near linear in the number of ranges. */
GArray *sequence_set_resolve(const struct sequence_set *set, uint32_t largest);

/* Membership in a resolved set, by binary search. */
bool sequence_ranges_contain(const GArray *ranges, uint32_t number);

/* Writes ascending numbers (uint32_t) as a compact set: 1:3,7,9:12. Appends to out. Nothing is
 * written for none. */
void sequence_set_format(GString *out, const uint32_t *numbers, size_t count);

#endif
