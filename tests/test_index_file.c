#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/internal/index_file.h"
#include "store/internal/properties.h"

static GPtrArray *two_keywords(void)
{
    GPtrArray *keywords = keywords_new();

    g_ptr_array_add(keywords, g_strdup("$Forwarded"));
    g_ptr_array_add(keywords, g_strdup("Junk"));
    return keywords;
}

START_TEST(test_index_file__writes_the_documented_line)
{
    g_autoptr(GPtrArray) keywords = two_keywords();
    g_autoptr(GString) out = g_string_new(NULL);
    struct message messages[] = {
        {.uid = 12006,
         .modseq = 345,
         .internal_date = 1794906000,
         .zone = 60,
         .size = 4096,
         .flags = MESSAGE_FLAGGED | MESSAGE_SEEN,
         .keywords = 1},
        {.uid = 12007, .modseq = INT64_MAX, .internal_date = 0, .zone = -330, .size = UINT32_MAX},
    };

    index_file_encode(out, messages, 2, keywords);
    ck_assert_str_eq(out->str,
                     "12006 345 2026-11-17T10:00:00+0100 4096 \\Seen \\Flagged $Forwarded\n"
                     "12007 9223372036854775807 1969-12-31T18:30:00-0530 4294967295\n");
}
END_TEST

static bool same(const struct message *a, const struct message *b)
{
    return a->uid == b->uid && a->modseq == b->modseq && a->keywords == b->keywords &&
           a->internal_date == b->internal_date && a->zone == b->zone && a->size == b->size &&
           a->flags == b->flags;
}

START_TEST(test_index_file__round_trips_any_messages)
{
    g_autoptr(GPtrArray) keywords = keywords_new();
    unsigned seed = 1;

    for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        g_ptr_array_add(keywords, g_strdup_printf("k%d", i));
    }
    for (int round = 0; round < 200; round++) {
        g_autoptr(GString) text = g_string_new(NULL);
        struct message in[LEAF_MESSAGES] = {0}, out[LEAF_MESSAGES];
        struct store_error error;
        uint32_t number = (uint32_t)rand_r(&seed) % 42949672;
        size_t count = 0, read;

        for (uint32_t i = 1; i < LEAF_MESSAGES; i++) {
            if (rand_r(&seed) % 3 > 0) {
                continue;
            }
            in[count].uid = number * 100 + i;
            in[count].modseq = (uint64_t)rand_r(&seed) * (uint64_t)rand_r(&seed) + 1;
            in[count].internal_date = ((int64_t)rand_r(&seed) - RAND_MAX / 4) * 100;
            in[count].zone = (int16_t)(rand_r(&seed) % (2 * INDEX_ZONE_MAX + 1) - INDEX_ZONE_MAX);
            in[count].size = (uint32_t)rand_r(&seed);
            in[count].flags = (uint8_t)(rand_r(&seed) & MESSAGE_FLAGS_ALL);
            in[count].keywords = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 34);
            ck_assert(index_date_valid(in[count].internal_date, in[count].zone));
            count++;
        }
        index_file_encode(text, in, count, keywords);
        if (count == 0) {
            continue;
        }
        ck_assert_int_eq(
            index_file_decode(out, &read, text->str, text->len, number, keywords, &error), 0);
        ck_assert_uint_eq(read, count);
        for (size_t i = 0; i < count; i++) {
            ck_assert(same(&in[i], &out[i]));
        }
    }
}
END_TEST

/* The C library's calendar is the oracle. */
START_TEST(test_index_file__writes_dates_as_the_calendar_has_them)
{
    g_autoptr(GPtrArray) keywords = keywords_new();

    for (int64_t day = -719162; day <= 2932896; day += 13) {
        struct message message = {
            .uid = 1, .modseq = 1, .internal_date = day * 86400 + day % 86400};
        g_autoptr(GString) text = g_string_new(NULL);
        char expected[64];
        time_t seconds;
        struct tm broken;

        if (!index_date_valid(message.internal_date, 0)) {
            continue;
        }
        seconds = (time_t)message.internal_date;
        gmtime_r(&seconds, &broken);
        snprintf(expected, sizeof(expected), "1 1 %04d-%02d-%02dT%02d:%02d:%02d+0000 0\n",
                 broken.tm_year + 1900, broken.tm_mon + 1, broken.tm_mday, broken.tm_hour,
                 broken.tm_min, broken.tm_sec);
        index_file_encode(text, &message, 1, keywords);
        ck_assert_str_eq(text->str, expected);
    }
}
END_TEST

START_TEST(test_index_file__knows_which_dates_fit)
{
    static const struct {
        int64_t seconds;
        int zone;
        bool fits;
    } cases[] = {
        {-62135596800, 0, true},
        {-62135596801, 0, false},
        {-62135596800, -1, false},
        {-62135596801, 1, true},
        {253402300799, 0, true},
        {253402300800, 0, false},
        {253402300799, 1, false},
        {253402300800, -1, true},
        {0, INDEX_ZONE_MAX, true},
        {0, INDEX_ZONE_MAX + 1, false},
        {0, -INDEX_ZONE_MAX, true},
        {0, -INDEX_ZONE_MAX - 1, false},
        {INT64_MAX, INDEX_ZONE_MAX, false},
        {INT64_MIN, -INDEX_ZONE_MAX, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        ck_assert_msg(index_date_valid(cases[i].seconds, cases[i].zone) == cases[i].fits,
                      "case %zu", i);
    }
}
END_TEST

static int decode(const char *text, size_t length)
{
    g_autoptr(GPtrArray) keywords = two_keywords();
    struct message out[LEAF_MESSAGES];
    struct store_error error;
    size_t count;
    /* A copy of exactly that length, so that a sanitizer sees a read beyond. */
    char *exact = g_memdup2(text, length);
    int rc = index_file_decode(out, &count, exact, length, 120, keywords, &error);

    g_free(exact);
    return rc;
}

START_TEST(test_index_file__refuses_malformed_lines)
{
    static const char *const bad[] = {
        "12006",
        "12006 1 2026-11-17T10:00:00+0100 4096",                  /* no newline */
        "012006 1 2026-11-17T10:00:00+0100 4096\n",               /* leading zero */
        "12100 1 2026-11-17T10:00:00+0100 4096\n",                /* of another leaf */
        "0 1 2026-11-17T10:00:00+0100 4096\n",                    /* no UID */
        "4294967295 1 2026-11-17T10:00:00+0100 4096\n",           /* UID too big */
        "18446744073709563622 1 2026-11-17T10:00:00+0100 4096\n", /* wraps to 12006 */
        "12006 0 2026-11-17T10:00:00+0100 4096\n",                /* no MODSEQ */
        "12006 9223372036854775808 2026-11-17T10:00:00+0100 4096\n",
        "12006 1 2026-11-17T10:00:00+0100 4294967296\n",
        "12006 1 2026-11-17T10:00:00+0100 -1\n",
        "12006 1 2026-11-17T10:00:00+0100 \n",
        "12006  1 2026-11-17T10:00:00+0100 4096\n",
        "12006 1 2026-11-17T10:00:00+0100 4096 \n",
        "12006 1 2026-11-17T10:00:00+0100 4096  \\Seen\n",
        "12006 1 2026-11-17T10:00:00+0100 4096 \\seen\n",
        "12006 1 2026-11-17T10:00:00+0100 4096 \\Recent\n",
        "12006 1 2026-11-17T10:00:00+0100 4096 \\Seen \\Seen\n",
        "12006 1 2026-11-17T10:00:00+0100 4096 Junk junk\n",
        "12006 1 2026-11-17T10:00:00+0100 4096 unknown\n",
        "12006 1 2026-11-17T10:00:00+0100 4096\r\n",
        "12006 1 2026-13-17T10:00:00+0100 4096\n",
        "12006 1 2026-00-17T10:00:00+0100 4096\n",
        "12006 1 2026-02-29T10:00:00+0100 4096\n",
        "12006 1 1900-02-29T10:00:00+0100 4096\n",
        "12006 1 2026-04-31T10:00:00+0100 4096\n",
        "12006 1 2026-11-00T10:00:00+0100 4096\n",
        "12006 1 0000-11-17T10:00:00+0100 4096\n",
        "12006 1 2026-11-17T24:00:00+0100 4096\n",
        "12006 1 2026-11-17T10:60:00+0100 4096\n",
        "12006 1 2026-11-17T10:00:60+0100 4096\n",
        "12006 1 2026-11-17T10:00:00+0160 4096\n",
        "12006 1 2026-11-17T10:00:00-0000 4096\n",
        "12006 1 2026-11-17T10:00:00 0100 4096\n",
        "12006 1 2026-11-17 10:00:00+0100 4096\n",
        "\n",
        "12006 1 2026-11-17T10:00:00+0100 1\n12006 1 2026-11-17T10:00:00+0100 1\n",
        "12007 1 2026-11-17T10:00:00+0100 1\n12006 1 2026-11-17T10:00:00+0100 1\n",
        "12006 1 2026-11-17T10:00:00+0100 1\n\n",
    };
    static const char good[] = "12006 1 2024-02-29T10:00:00+0100 0 junk \\Draft \\Seen\n";
    static const char nul[] = "12006 1 2026-11-17T10:00:00+0100 4096 Junk\0\n";

    ck_assert_int_eq(decode("", 0), STORE_CORRUPT);
    ck_assert_int_eq(decode(nul, sizeof(nul) - 1), STORE_CORRUPT);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        ck_assert_msg(decode(bad[i], strlen(bad[i])) == STORE_CORRUPT, "accepted: %s", bad[i]);
    }
    ck_assert_int_eq(decode(good, strlen(good)), 0);
}
END_TEST

START_TEST(test_index_file__refuses_every_truncation)
{
    static const char text[] = "12006 345 2026-11-17T10:00:00+0100 4096 \\Seen $Forwarded\n";

    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        ck_assert_int_eq(decode(text, length), STORE_CORRUPT);
    }
    ck_assert_int_eq(decode(text, sizeof(text) - 1), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("index_file");
    TCase *cases = tcase_create("index_file");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_index_file__writes_the_documented_line);
    tcase_add_test(cases, test_index_file__round_trips_any_messages);
    tcase_add_test(cases, test_index_file__writes_dates_as_the_calendar_has_them);
    tcase_add_test(cases, test_index_file__knows_which_dates_fit);
    tcase_add_test(cases, test_index_file__refuses_malformed_lines);
    tcase_add_test(cases, test_index_file__refuses_every_truncation);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
