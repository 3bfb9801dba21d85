#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/objects.h"
#include "store/spool.h"
#include "tests/store_fixture.h"

static char *directory;

static void setup(void)
{
    directory = fixture_directory();
}

static void teardown(void)
{
    fixture_remove(directory);
}

static uint8_t *make_message(size_t length, int start)
{
    uint8_t *message = malloc(length + 1);

    for (size_t i = 0; i < length; i++) {
        message[i] = (uint8_t)(1 + (i * 31 + (size_t)start) % 255);
    }
    return message;
}

static void check_spool(const uint8_t *message, size_t length, size_t step)
{
    struct spool *spool;
    struct store_error error;
    const uint8_t *data;
    size_t got;
    struct object_id id;

    ck_assert_int_eq(spool_new(&spool, directory, length, &error), 0);
    for (size_t at = 0; at < length; at += step) {
        ck_assert(!spool_complete(spool));
        size_t piece = length - at < step ? length - at : step;
        ck_assert_int_eq(spool_write(spool, message + at, piece, &error), 0);
    }
    ck_assert(spool_complete(spool));
    ck_assert_int_eq(spool_data(spool, &data, &got, &error), 0);
    ck_assert_uint_eq(got, length);
    ck_assert_int_eq(memcmp(data, message, length), 0);
    objects_hash(OBJECT_BLOB, message, length, &id);
    ck_assert(object_id_equal(spool_id(spool), &id));
    ck_assert(object_id_equal(spool_id(spool), &id));
    ck_assert_int_eq(spool_has_nul(spool), memchr(message, 0, length) != NULL);
    spool_free(spool);
}

START_TEST(test_spool__keeps_every_octet_in_memory_and_in_a_file)
{
    static const size_t lengths[] = {0,
                                     1,
                                     2,
                                     4096,
                                     SPOOL_MEMORY_MAX - 1,
                                     SPOOL_MEMORY_MAX,
                                     SPOOL_MEMORY_MAX + 1,
                                     3 * SPOOL_MEMORY_MAX + 17};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t *message = make_message(lengths[i], (int)i);

        check_spool(message, lengths[i], 65536);
        check_spool(message, lengths[i], 8191);
        check_spool(message, lengths[i], lengths[i] + 1);
        free(message);
    }
}
END_TEST

START_TEST(test_spool__is_the_same_at_every_split)
{
    uint8_t *message = make_message(300, 5);

    for (size_t step = 1; step <= 300; step++) {
        check_spool(message, 300, step);
    }
    free(message);
}
END_TEST

START_TEST(test_spool__sees_a_nul_anywhere)
{
    uint8_t *message = make_message(600000, 5);

    for (size_t at = 0; at < 600000; at += 99999) {
        uint8_t before = message[at];

        message[at] = 0;
        check_spool(message, 600000, 4096);
        message[at] = before;
    }
    check_spool(message, 600000, 4096);
    free(message);
}
END_TEST

START_TEST(test_spool__has_the_id_that_git_gives)
{
    struct spool *spool;
    struct store_error error;
    char hex[OBJECT_ID_HEX + 1];

    ck_assert_int_eq(spool_new(&spool, directory, 6, &error), 0);
    ck_assert_int_eq(spool_write(spool, "hello\n", 6, &error), 0);
    object_id_format(spool_id(spool), hex);
    ck_assert_str_eq(hex, "ce013625030ba8dba906f756967f9e9ca394464a");
    spool_free(spool);
}
END_TEST

START_TEST(test_spool__leaves_no_file_behind_and_fails_without_a_directory)
{
    struct spool *spool = NULL;
    struct store_error error;
    char *missing = fixture_path(directory, "missing");

    ck_assert_int_eq(spool_new(&spool, directory, SPOOL_MEMORY_MAX + 1, &error), 0);
    ck_assert_int_eq(rmdir(directory), 0);
    spool_free(spool);
    ck_assert_int_eq(spool_new(&spool, missing, SPOOL_MEMORY_MAX + 1, &error), STORE_IO);
    ck_assert_int_eq(spool_new(&spool, missing, SPOOL_MEMORY_MAX, &error), 0);
    spool_free(spool);
    spool_free(NULL);
    free(missing);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spool");
    TCase *tests = tcase_create("spool");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_spool__keeps_every_octet_in_memory_and_in_a_file);
    tcase_add_test(tests, test_spool__is_the_same_at_every_split);
    tcase_add_test(tests, test_spool__sees_a_nul_anywhere);
    tcase_add_test(tests, test_spool__has_the_id_that_git_gives);
    tcase_add_test(tests, test_spool__leaves_no_file_behind_and_fails_without_a_directory);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
