#include "server/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { MAPPED_BITS = 96, BITS_MAX = 128 };

static const unsigned char mapped_prefix[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff};

/* One to three digits, no zero in front. */
static bool parse_bits(unsigned *out, const char *text, unsigned max)
{
    size_t length = strlen(text);

    *out = 0;
    if (length == 0 || length > 3 || (length > 1 && *text == '0'))
        return false;
    for (; *text != '\0'; text++) {
        if (!g_ascii_isdigit(*text))
            return false;
        *out = *out * 10 + (unsigned)(*text - '0');
    }
    return *out <= max;
}

static bool parse_address(struct network *out, const char *text, bool *mapped)
{
    memcpy(out->octets, mapped_prefix, sizeof mapped_prefix);
    *mapped = inet_pton(AF_INET, text, out->octets + sizeof mapped_prefix) == 1;
    return *mapped || inet_pton(AF_INET6, text, out->octets) == 1;
}

static bool bit(const unsigned char *octets, unsigned number)
{
    return (octets[number / 8] & 0x80 >> number % 8) != 0;
}

bool network_parse(struct network *out, const char *text)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN];
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    bool mapped;

    if (length >= sizeof address)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (!parse_address(out, address, &mapped))
        return false;
    out->bits = mapped ? BITS_MAX - MAPPED_BITS : BITS_MAX;
    if (slash != NULL && !parse_bits(&out->bits, slash + 1, out->bits))
        return false;
    out->bits += mapped ? MAPPED_BITS : 0;
    for (unsigned i = out->bits; i < BITS_MAX; i++) {
        if (bit(out->octets, i))
            return false;
    }
    return true;
}

bool network_contains(const struct network *network, const unsigned char *octets)
{
    unsigned whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    unsigned char mask = (unsigned char)(0xff00 >> rest);

    return memcmp(network->octets, octets, whole) == 0 &&
           (rest == 0 || ((network->octets[whole] ^ octets[whole]) & mask) == 0);
}

bool networks_contain(const GArray *networks, const unsigned char *octets)
{
    for (guint i = 0; i < networks->len; i++) {
        if (network_contains(&g_array_index(networks, struct network, i), octets))
            return true;
    }
    return false;
}
