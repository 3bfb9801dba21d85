#include "server/limits.h"

#include <arpa/inet.h>
#include <assert.h>
#include <glib.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

struct limits {
    unsigned in_all;
    unsigned per_address;
    size_t count;
    GHashTable *addresses; /* uint64_t key (owned) to count */
};

static void read_ipv4(struct address *out, const struct in_addr *from)
{
    memcpy(out->key, from, sizeof *from);
    /* Apart from the IPv6 prefix ::/64. */
    memset(out->key + sizeof *from, 0xff, ADDRESS_KEY_SIZE - sizeof *from);
    out->loopback = ntohl(from->s_addr) >> 24 == 127;
    out->octets[10] = 0xff;
    out->octets[11] = 0xff;
    memcpy(out->octets + 12, from, sizeof *from);
    inet_ntop(AF_INET, from, out->text, sizeof out->text);
}

static void read_ipv6(struct address *out, const struct in6_addr *from)
{
    struct in_addr mapped;

    if (IN6_IS_ADDR_V4MAPPED(from)) {
        memcpy(&mapped, from->s6_addr + 12, sizeof mapped);
        read_ipv4(out, &mapped);
        return;
    }
    memcpy(out->key, from->s6_addr, ADDRESS_KEY_SIZE);
    memcpy(out->octets, from->s6_addr, NETWORK_OCTETS);
    out->loopback = IN6_IS_ADDR_LOOPBACK(from);
    inet_ntop(AF_INET6, from, out->text, sizeof out->text);
}

void address_read(struct address *out, const struct sockaddr *from)
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;

    *out = (struct address){.text = "unknown"};
    if (from->sa_family == AF_INET) {
        memcpy(&ipv4, from, sizeof ipv4);
        read_ipv4(out, &ipv4.sin_addr);
    } else if (from->sa_family == AF_INET6) {
        memcpy(&ipv6, from, sizeof ipv6);
        read_ipv6(out, &ipv6.sin6_addr);
    } else if (from->sa_family == AF_UNIX) {
        *out = (struct address){.loopback = true, .text = "local"};
    }
}

static uint64_t key_of(const struct address *address)
{
    uint64_t key;

    static_assert(sizeof key == ADDRESS_KEY_SIZE, "the key is a number");
    memcpy(&key, address->key, sizeof key);
    return key;
}

struct limits *limits_new(unsigned in_all, unsigned per_address)
{
    struct limits *limits = g_new0(struct limits, 1);

    limits->in_all = in_all;
    limits->per_address = per_address;
    limits->addresses = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    return limits;
}

void limits_free(struct limits *limits)
{
    if (limits == NULL)
        return;
    g_hash_table_unref(limits->addresses);
    g_free(limits);
}

void limits_set(struct limits *limits, unsigned in_all, unsigned per_address)
{
    limits->in_all = in_all;
    limits->per_address = per_address;
}

enum limits_result limits_enter(struct limits *limits, const struct address *address)
{
    uint64_t key = key_of(address);
    guint here = GPOINTER_TO_UINT(g_hash_table_lookup(limits->addresses, &key));

    if (limits->count >= limits->in_all)
        return LIMITS_FULL;
    if (here >= limits->per_address && !address->trusted)
        return LIMITS_ADDRESS_FULL;
    limits->count++;
    g_hash_table_replace(limits->addresses, g_memdup2(&key, sizeof key),
                         GUINT_TO_POINTER(here + 1));
    return LIMITS_OK;
}

void limits_leave(struct limits *limits, const struct address *address)
{
    uint64_t key = key_of(address);
    guint here = GPOINTER_TO_UINT(g_hash_table_lookup(limits->addresses, &key));

    assert(here > 0 && limits->count > 0);
    limits->count--;
    if (here == 1)
        g_hash_table_remove(limits->addresses, &key);
    else
        g_hash_table_replace(limits->addresses, g_memdup2(&key, sizeof key),
                             GUINT_TO_POINTER(here - 1));
}

size_t limits_count(const struct limits *limits)
{
    return limits->count;
}
