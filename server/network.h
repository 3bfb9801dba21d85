/* Networks: "192.0.2.0/24", "2001:db8::/32", or a single address. */
#ifndef ANNAL_SERVER_NETWORK_H
#define ANNAL_SERVER_NETWORK_H

#include <glib.h>
#include <stdbool.h>

enum { NETWORK_OCTETS = 16 };

/* IPv4 addresses are IPv6 ones below ::ffff:0:0/96. */
struct network {
    unsigned char octets[NETWORK_OCTETS];
    unsigned bits; /* of the prefix, 0 to 128 */
};

/* False for what is no network: also where bits beyond the prefix are set, which is a slip of the
 * pen. */
bool network_parse(struct network *out, const char *text);

bool network_contains(const struct network *network, const unsigned char *octets);

/* Whether one of them (struct network) does. */
bool networks_contain(const GArray *networks, const unsigned char *octets);

#endif
