#include <check.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/delta.h"

enum { LEAF_LINES = 100 };

static struct delta_encoder encoder;
static GByteArray *delta;
static GRand *source;

static void setup(void)
{
    encoder = (struct delta_encoder){NULL, 0};
    delta = g_byte_array_new();
    source = g_rand_new_with_seed(20261122);
}

static void teardown(void)
{
    delta_encoder_release(&encoder);
    g_byte_array_free(delta, TRUE);
    g_rand_free(source);
}

/* Encodes, applies, compares; the delta's length. A block of exactly the size shows a sanitizer
 * what goes beyond. */
static size_t round_trip(const void *base, size_t base_length, const void *data, size_t length)
{
    uint64_t sizes[2];
    size_t used;
    uint8_t *out = malloc(length > 0 ? length : 1);

    ck_assert(delta_encode(&encoder, base, base_length, data, length, SIZE_MAX / 2, delta));
    ck_assert(delta_sizes(delta->data, delta->len, &sizes[0], &sizes[1], &used));
    ck_assert_uint_eq(sizes[0], base_length);
    ck_assert_uint_eq(sizes[1], length);
    ck_assert(delta_apply(base, base_length, delta->data, delta->len, out, length));
    ck_assert(length == 0 || memcmp(out, data, length) == 0);
    free(out);
    return delta->len;
}

static size_t round_trip_text(const GString *base, const GString *data)
{
    return round_trip(base->str, base->len, data->str, data->len);
}

static void append_line(GString *out, unsigned uid, unsigned modseq, const char *flags)
{
    g_string_append_printf(out, "%u %u %u+0000 %u%s\n", uid, modseq, 1700000000 + uid * 977,
                           uid * 7919 % 9000 + 500, flags);
}

/* An index file as the store writes them. */
static GString *make_leaf(unsigned changed_from, unsigned changed_to, const char *flags)
{
    GString *out = g_string_new(NULL);

    for (unsigned i = 0; i < LEAF_LINES; i++) {
        bool changed = i >= changed_from && i < changed_to;

        append_line(out, 12000 + i, changed ? 47911 : 47000 + i, changed ? flags : "");
    }
    return out;
}

static GByteArray *make_tree(unsigned changed)
{
    GByteArray *out = g_byte_array_new();

    for (unsigned i = 0; i < LEAF_LINES; i++) {
        char name[16];
        uint32_t id[5];
        GRand *ids = g_rand_new_with_seed(i == changed ? 999 : i);

        int length = snprintf(name, sizeof(name), "100644 %02u", i);
        for (int j = 0; j < 5; j++) {
            id[j] = g_rand_int(ids);
        }
        g_byte_array_append(out, (const uint8_t *)name, (guint)length + 1);
        g_byte_array_append(out, (const uint8_t *)id, sizeof(id));
        g_rand_free(ids);
    }
    return out;
}

START_TEST(test_delta__of_metadata_is_small)
{
    GString *leaf = make_leaf(0, 0, "");
    GString *one = make_leaf(40, 41, " \\Seen");
    GString *some = make_leaf(10, 30, " \\Seen");
    GString *all = make_leaf(0, LEAF_LINES, " \\Seen");
    GString *more = g_string_new(leaf->str);
    GByteArray *tree = make_tree(LEAF_LINES);
    GByteArray *changed = make_tree(17);

    append_line(more, 12100, 48000, "");
    ck_assert_uint_le(round_trip_text(leaf, one), 40);
    ck_assert_uint_le(round_trip_text(one, leaf), 40);
    ck_assert_uint_le(round_trip_text(leaf, some), 20 * 25);
    ck_assert_uint_le(round_trip_text(leaf, all), all->len * 6 / 10);
    ck_assert_uint_le(round_trip_text(all, leaf), leaf->len * 6 / 10);
    ck_assert_uint_le(round_trip_text(leaf, more), 55);
    ck_assert_uint_le(round_trip_text(leaf, leaf), 10);
    ck_assert_uint_le(round_trip(tree->data, tree->len, changed->data, changed->len), 40);
    g_string_free(leaf, TRUE);
    g_string_free(one, TRUE);
    g_string_free(some, TRUE);
    g_string_free(all, TRUE);
    g_string_free(more, TRUE);
    g_byte_array_free(tree, TRUE);
    g_byte_array_free(changed, TRUE);
}
END_TEST

static GByteArray *random_octets(size_t length, unsigned alphabet)
{
    GByteArray *out = g_byte_array_sized_new((guint)length);

    for (size_t i = 0; i < length; i++) {
        uint8_t octet = (uint8_t)g_rand_int_range(source, 0, (gint32)alphabet);

        g_byte_array_append(out, &octet, 1);
    }
    return out;
}

/* Pieces of base in any order, with noise between. */
static GByteArray *shuffle(const GByteArray *base, int pieces)
{
    GByteArray *out = g_byte_array_new();

    for (int i = 0; i < pieces; i++) {
        guint from = (guint)g_rand_int_range(source, 0, (gint32)base->len + 1);
        guint length = (guint)g_rand_int_range(source, 0, (gint32)(base->len - from) + 1);
        uint8_t noise = (uint8_t)g_rand_int(source);

        g_byte_array_append(out, base->data + from, MIN(length, 70000));
        if (i % 2 == 0) {
            g_byte_array_append(out, &noise, 1);
        }
    }
    return out;
}

START_TEST(test_delta__makes_the_same_again)
{
    static const size_t lengths[] = {0,  1,   2,   7,    8,    9,     15,    16,    17,
                                     63, 127, 128, 1000, 5000, 65535, 65536, 65537, 200000};

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        for (int round = 0; round < 40; round++) {
            GByteArray *base = random_octets(lengths[i], round % 3 == 0 ? 2 : 256);
            GByteArray *data = shuffle(base, round % 9);

            round_trip(base->data, base->len, data->data, data->len);
            round_trip(data->data, data->len, base->data, base->len);
            g_byte_array_free(base, TRUE);
            g_byte_array_free(data, TRUE);
        }
    }
}
END_TEST

START_TEST(test_delta__is_the_same_whatever_was_encoded_before)
{
    GByteArray *base = random_octets(5000, 4);
    GByteArray *data = shuffle(base, 20);
    GByteArray *other = random_octets(60000, 4);
    struct delta_encoder fresh = {NULL, 0};
    GByteArray *second = g_byte_array_new();

    round_trip(other->data, other->len, base->data, base->len);
    round_trip(base->data, base->len, data->data, data->len);
    ck_assert(delta_encode(&fresh, base->data, base->len, data->data, data->len, 1 << 20, second));
    ck_assert_uint_eq(second->len, delta->len);
    ck_assert_int_eq(memcmp(second->data, delta->data, delta->len), 0);
    delta_encoder_release(&fresh);
    g_byte_array_free(base, TRUE);
    g_byte_array_free(data, TRUE);
    g_byte_array_free(other, TRUE);
    g_byte_array_free(second, TRUE);
}
END_TEST

START_TEST(test_delta__keeps_to_its_limits)
{
    GByteArray *base = random_octets(1000, 256);
    GByteArray *data = random_octets(1000, 256);
    uint8_t *large = calloc(1, DELTA_INPUT_MAX + 1);

    ck_assert(!delta_encode(&encoder, base->data, base->len, data->data, data->len, 666, delta));
    ck_assert(delta_encode(&encoder, base->data, base->len, data->data, data->len, 1100, delta));
    size_t length = delta->len;
    ck_assert(
        !delta_encode(&encoder, base->data, base->len, data->data, data->len, length - 1, delta));
    ck_assert(delta_encode(&encoder, base->data, base->len, data->data, data->len, length, delta));
    ck_assert(delta_encode(&encoder, large, DELTA_INPUT_MAX, large, DELTA_INPUT_MAX, 999, delta));
    ck_assert(!delta_encode(&encoder, large, DELTA_INPUT_MAX + 1, large, 10, 9999, delta));
    ck_assert(!delta_encode(&encoder, large, 10, large, DELTA_INPUT_MAX + 1, 9999, delta));
    free(large);
    g_byte_array_free(base, TRUE);
    g_byte_array_free(data, TRUE);
}
END_TEST

START_TEST(test_delta__that_is_damaged_is_refused)
{
    static const uint8_t base[] = "0123456789abcdef";
    uint8_t out[32];
    static const struct {
        const char *delta;
        size_t delta_length;
        size_t length;
        bool good;
    } cases[] = {
        {"\x10\x03\x03xyz", 6, 3, true},
        {"\x10\x03\x90\x03", 4, 3, true},
        {"\x10\x03\x91\x0d\x03", 5, 3, true},
        {"\x10\x03\x91\x0e\x03", 5, 3, false}, /* copies from beyond the base */
        {"\x10\x03\x91\xff\x03", 5, 3, false},
        {"\x10\x03\x9f\xff\xff\xff\xff\x03", 8, 3, false},
        {"\x10\x03\x80", 3, 3, false},     /* 65536 octets of 16 */
        {"\x10\x03\x90\x04", 4, 3, false}, /* makes too much, ... */
        {"\x10\x03\x90\x02", 4, 3, false}, /* ... too little, ... */
        {"\x10\x03", 2, 3, false},         /* ... nothing */
        {"\x10\x03\x03xy", 5, 3, false},   /* cut */
        {"\x10\x03\x91\x0d", 4, 3, false},
        {"\x10\x83", 2, 3, false},
        {"\x90", 1, 3, false},
        {"", 0, 3, false},
        {"\x10\x03\x00\x03xyz", 7, 3, false}, /* a reserved code */
        {"\x0f\x03\x03xyz", 6, 3, false},     /* of another base */
        {"\x10\x04\x03xyz", 6, 3, false},     /* of another length */
        {"\x90\x80\x80\x80\x80\x80\x80\x80\x80\x02\x03\x03xyz", 15, 3, false}, /* 2^64 and more */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        ck_assert_msg(delta_apply(base, 16, (const uint8_t *)cases[i].delta, cases[i].delta_length,
                                  out, cases[i].length) == cases[i].good,
                      "case %zu", i);
    }
}
END_TEST

START_TEST(test_delta__with_wild_octets_stays_within_bounds)
{
    for (int round = 0; round < 200000; round++) {
        uint8_t *base = g_malloc(40);
        uint8_t *bytes = g_malloc(24);
        uint8_t *out = g_malloc(60);

        memset(base, 'b', 40);
        for (int i = 0; i < 24; i++) {
            bytes[i] = (uint8_t)(g_rand_int(source) & (i % 3 == 0 ? 0xff : 0x3f));
        }
        bytes[0] = 40;
        bytes[1] = 60;
        delta_apply(base, 40, bytes, (size_t)g_rand_int_range(source, 0, 25), out, 60);
        g_free(base);
        g_free(bytes);
        g_free(out);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("delta");
    TCase *tcase = tcase_create("delta");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_delta__of_metadata_is_small);
    tcase_add_test(tcase, test_delta__makes_the_same_again);
    tcase_add_test(tcase, test_delta__is_the_same_whatever_was_encoded_before);
    tcase_add_test(tcase, test_delta__keeps_to_its_limits);
    tcase_add_test(tcase, test_delta__that_is_damaged_is_refused);
    tcase_add_test(tcase, test_delta__with_wild_octets_stays_within_bounds);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
