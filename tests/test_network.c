#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/network.h"

static const struct {
    const char *text;
    bool good;
} forms[] = {
    {"192.0.2.0/24", true},
    {"192.0.2.7", true},
    {"192.0.2.7/32", true},
    {"0.0.0.0/0", true},
    {"10.0.0.0/8", true},
    {"2001:db8::/32", true},
    {"::1", true},
    {"::/0", true},
    {"::ffff:192.0.2.0/120", true},
    {"fe80::/10", true},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", true},
    {"", false},
    {"/", false},
    {"/8", false},
    {"192.0.2.0/", false},
    {"192.0.2.0/33", false},
    {"192.0.2.0/024", false},
    {"192.0.2.0/+8", false},
    {"192.0.2.0/ 8", false},
    {"192.0.2.0/8 ", false},
    {"192.0.2.0/24/24", false},
    {"192.0.2.0/-1", false},
    {"192.0.2.0/1000", false},
    {"192.0.2.0/4294967320", false},
    {"192.0.2.1/24", false},
    {"192.0.2.128/24", false},
    {"192.0.2", false},
    {"192.0.2.256", false},
    {"192.0.2.0 ", false},
    {"localhost", false},
    {"2001:db8::/129", false},
    {"2001:db8::1/64", false},
    {"2001:db8::1%eth0", false},
    {"[::1]", false},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
};

START_TEST(test_network__takes_what_is_one_and_nothing_else)
{
    struct network network;

    ck_assert_msg(network_parse(&network, forms[_i].text) == forms[_i].good, "%s", forms[_i].text);
}
END_TEST

static const struct {
    const char *network;
    const char *address;
    bool inside;
} pairs[] = {
    {"192.0.2.0/24", "192.0.2.0", true},
    {"192.0.2.0/24", "192.0.2.255", true},
    {"192.0.2.0/24", "192.0.3.0", false},
    {"192.0.2.0/24", "192.0.1.255", false},
    {"192.0.2.0/23", "192.0.3.255", true},
    {"192.0.2.0/31", "192.0.2.1", true},
    {"192.0.2.0/31", "192.0.2.2", false},
    {"192.0.2.7", "192.0.2.7", true},
    {"192.0.2.7", "192.0.2.6", false},
    {"128.0.0.0/1", "127.255.255.255", false},
    {"128.0.0.0/1", "255.0.0.1", true},
    {"0.0.0.0/0", "203.0.113.9", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "203.0.113.9", true},
    {"::/0", "2001:db8::1", true},
    {"2001:db8::/32", "2001:db8:ffff::1", true},
    {"2001:db8::/32", "2001:db9::", false},
    {"2001:db8::/33", "2001:db8:8000::", false},
    {"2001:db8::/33", "2001:db8:7fff::", true},
    {"::1", "::1", true},
    {"::1", "::2", false},
    {"::1", "0.0.0.1", false},
    {"::ffff:192.0.2.0/120", "192.0.2.9", true},
};

static GArray *networks_of(const char *text)
{
    GArray *networks = g_array_new(FALSE, FALSE, sizeof(struct network));
    struct network network;

    ck_assert_msg(network_parse(&network, text), "%s", text);
    g_array_append_val(networks, network);
    return networks;
}

START_TEST(test_network__contains_what_shares_its_prefix)
{
    GArray *networks = networks_of(pairs[_i].network);
    GArray *address = networks_of(pairs[_i].address);
    const unsigned char *octets = g_array_index(address, struct network, 0).octets;

    ck_assert_msg(networks_contain(networks, octets) == pairs[_i].inside, "%s %s",
                  pairs[_i].network, pairs[_i].address);
    g_array_unref(networks);
    g_array_unref(address);
}
END_TEST

START_TEST(test_network__none_contains_nothing)
{
    GArray *networks = g_array_new(FALSE, FALSE, sizeof(struct network));
    const unsigned char zeros[NETWORK_OCTETS] = {0};

    ck_assert(!networks_contain(networks, zeros));
    g_array_unref(networks);
}
END_TEST

/* As a socket that takes both tells of them. */
START_TEST(test_network__knows_an_address_however_the_system_tells_it)
{
    GArray *networks = networks_of("192.0.2.0/24");
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000207)};
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
    struct sockaddr_in6 other = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct address address;

    memcpy(mapped.sin6_addr.s6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\7", 16);
    address_read(&address, (const struct sockaddr *)&ipv4);
    ck_assert(networks_contain(networks, address.octets));
    address_read(&address, (const struct sockaddr *)&mapped);
    ck_assert(networks_contain(networks, address.octets));
    address_read(&address, (const struct sockaddr *)&other);
    ck_assert(!networks_contain(networks, address.octets));
    g_array_unref(networks);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("network");
    TCase *cases = tcase_create("network");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_add_loop_test(cases, test_network__takes_what_is_one_and_nothing_else, 0,
                        (int)G_N_ELEMENTS(forms));
    tcase_add_loop_test(cases, test_network__contains_what_shares_its_prefix, 0,
                        (int)G_N_ELEMENTS(pairs));
    tcase_add_test(cases, test_network__none_contains_nothing);
    tcase_add_test(cases, test_network__knows_an_address_however_the_system_tells_it);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
