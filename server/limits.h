/* How many connections there are: in all and by address. One thread. */
#ifndef ANNAL_SERVER_LIMITS_H
#define ANNAL_SERVER_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/network.h"

struct sockaddr;

enum {
    ADDRESS_KEY_SIZE = 8,  /* IPv4 address, or the first 64 bits of an IPv6 one */
    ADDRESS_TEXT_MAX = 64, /* with the terminating NUL */
};

/* Whom a connection counts for. IPv4-mapped IPv6 addresses are IPv4. */
struct address {
    unsigned char key[ADDRESS_KEY_SIZE];
    unsigned char octets[NETWORK_OCTETS]; /* as in struct network; zeros: neither IPv4 nor IPv6 */
    bool trusted;                         /* exempt from per_address; set by the caller */
    bool loopback;
    char text[ADDRESS_TEXT_MAX]; /* without the port */
};

void address_read(struct address *out, const struct sockaddr *from);

struct limits;

struct limits *limits_new(unsigned in_all, unsigned per_address);
void limits_free(struct limits *limits); /* accepts NULL */

enum limits_result { LIMITS_OK, LIMITS_FULL, LIMITS_ADDRESS_FULL };

/* Connections that are there stay, even above a limit. */
void limits_set(struct limits *limits, unsigned in_all, unsigned per_address);

/* Counts one connection unless that would pass a limit. */
enum limits_result limits_enter(struct limits *limits, const struct address *address);
/* Uncounts one that was LIMITS_OK. */
void limits_leave(struct limits *limits, const struct address *address);
size_t limits_count(const struct limits *limits);

#endif
