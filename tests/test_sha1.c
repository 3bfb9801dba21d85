#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/sha1.h"

enum { OCTETS = 70000 };

static uint8_t *octets;

static void setup(void)
{
    GRand *random = g_rand_new_with_seed(1);

    octets = g_malloc(OCTETS);
    for (size_t i = 0; i < OCTETS; i++) {
        octets[i] = (uint8_t)g_rand_int(random);
    }
    g_rand_free(random);
}

static void teardown(void)
{
    g_free(octets);
}

/* GLib's, which is another one. */
static void check_sum(const struct sha1 *sha1, const uint8_t *bytes, size_t length)
{
    GChecksum *checksum = g_checksum_new(G_CHECKSUM_SHA1);
    uint8_t expected[OBJECT_ID_SIZE];
    uint8_t sum[OBJECT_ID_SIZE];
    gsize size = sizeof(expected);

    g_checksum_update(checksum, bytes, (gssize)length);
    g_checksum_get_digest(checksum, expected, &size);
    g_checksum_free(checksum);
    sha1_sum(sha1, sum);
    ck_assert_mem_eq(sum, expected, sizeof(sum));
}

START_TEST(test_sha1__sums_up_as_others_do)
{
    struct sha1 sha1;

    sha1_init(&sha1);
    check_sum(&sha1, octets, 0);
    sha1_update(&sha1, octets, 3);
    check_sum(&sha1, octets, 3);
    sha1_update(&sha1, octets + 3, OCTETS - 3);
    check_sum(&sha1, octets, OCTETS);
    check_sum(&sha1, octets, OCTETS);
}
END_TEST

static const size_t lengths[] = {0, 1, 55, 56, 63, 64, 65, 127, 128, 129, 4096, 65535};

/* Two sums that went different ways before, of octets at different places in memory. */
START_TEST(test_sha1__two_at_once_are_each_as_if_alone)
{
    for (size_t before = 0; before < 130; before++) {
        for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
            size_t a_length = lengths[(size_t)_i];
            size_t b_length = lengths[i];
            size_t b_before = (before * 37 + i) % 200;
            const uint8_t *b_octets = octets + 1 + before % 16;
            struct sha1 a;
            struct sha1 b;

            sha1_init(&a);
            sha1_init(&b);
            sha1_update(&a, octets, before);
            sha1_update(&b, b_octets, b_before);
            sha1_update_two(&a, octets + before, a_length, &b, b_octets + b_before, b_length);
            check_sum(&a, octets, before + a_length);
            check_sum(&b, b_octets, b_before + b_length);
        }
    }
}
END_TEST

/* The bits are counted in two words of 32. */
START_TEST(test_sha1__two_at_once_count_past_a_word)
{
    enum { PIECE = 64 * 1024, PIECES = 512 * 16 - 1 };
    struct sha1 alone;
    uint8_t expected[OBJECT_ID_SIZE];
    uint8_t sum[OBJECT_ID_SIZE];

    sha1_init(&alone);
    for (int i = 0; i < PIECES; i++) {
        sha1_update(&alone, octets, PIECE);
    }
    struct sha1 a = alone;
    struct sha1 b = alone;
    sha1_update_two(&a, octets, PIECE, &b, octets, PIECE);
    sha1_update_two(&a, octets, PIECE, &b, octets, PIECE);
    sha1_update(&alone, octets, PIECE);
    sha1_update(&alone, octets, PIECE);
    sha1_sum(&alone, expected);
    sha1_sum(&a, sum);
    ck_assert_mem_eq(sum, expected, sizeof(sum));
    sha1_sum(&b, sum);
    ck_assert_mem_eq(sum, expected, sizeof(sum));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sha1");
    TCase *tcase = tcase_create("sha1");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_sha1__sums_up_as_others_do);
    tcase_add_loop_test(tcase, test_sha1__two_at_once_are_each_as_if_alone, 0,
                        (int)G_N_ELEMENTS(lengths));
    tcase_add_test(tcase, test_sha1__two_at_once_count_past_a_word);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
