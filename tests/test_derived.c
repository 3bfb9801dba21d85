#include <check.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal/derived.h"
#include "tests/store_fixture.h"

static char *directory;
static char *file;
static struct derived *derived;

static void setup(void)
{
    directory = fixture_directory();
    file = fixture_path(directory, "derived");
    derived = derived_open(directory);
}

static void teardown(void)
{
    derived_close(derived);
    free(file);
    fixture_remove(directory);
}

static void reopen(void)
{
    derived_close(derived);
    derived = derived_open(directory);
}

static struct object_id blob(unsigned number)
{
    struct object_id id = {{0}};

    memcpy(id.bytes + 16, &number, sizeof(number));
    id.bytes[0] = (uint8_t)(number * 7);
    return id;
}

static bool has(unsigned number, const char *kind, const char *expected)
{
    struct object_id id = blob(number);
    GBytes *value = NULL;

    if (!derived_get(derived, &id, kind, &value)) {
        return false;
    }
    gsize length;
    const void *data = g_bytes_get_data(value, &length);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert(length == 0 || memcmp(data, expected, length) == 0);
    g_bytes_unref(value);
    return true;
}

static void put(unsigned number, const char *kind, const char *value)
{
    struct object_id id = blob(number);

    derived_put(derived, &id, kind, value, strlen(value));
}

START_TEST(test_derived__gives_back_what_was_put_and_nothing_else)
{
    put(1, "structure.1", "one");
    put(1, "structure.2", "other");
    put(2, "structure.1", "");
    for (int again = 0; again < 2; again++) {
        ck_assert(has(1, "structure.1", "one"));
        ck_assert(has(1, "structure.2", "other"));
        ck_assert(has(2, "structure.1", ""));
        ck_assert(!has(2, "structure.2", ""));
        ck_assert(!has(3, "structure.1", ""));
        ck_assert(!has(1, "structure.", ""));
        reopen();
    }
    put(1, "structure.1", "newer");
    ck_assert(has(1, "structure.1", "newer"));
    reopen();
    ck_assert(has(1, "structure.1", "newer"));
}
END_TEST

START_TEST(test_derived__holds_very_many)
{
    enum { COUNT = 20000 };

    for (unsigned i = 0; i < COUNT; i++) {
        char value[32];

        snprintf(value, sizeof(value), "value %u", i);
        put(i, i % 2 == 0 ? "even" : "odd", value);
    }
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < COUNT; i++) {
            char value[32];

            snprintf(value, sizeof(value), "value %u", i);
            ck_assert(has(i, i % 2 == 0 ? "even" : "odd", value));
            ck_assert(!has(i, i % 2 == 0 ? "odd" : "even", value));
        }
        reopen();
    }
}
END_TEST

START_TEST(test_derived__bounds_values_and_kinds)
{
    struct object_id id = blob(1);
    char *large = calloc(1, DERIVED_VALUE_MAX + 1);
    char kind[DERIVED_KIND_MAX + 2];
    GBytes *value;

    memset(kind, 'k', sizeof(kind));
    kind[DERIVED_KIND_MAX + 1] = '\0';
    derived_put(derived, &id, "large", large, DERIVED_VALUE_MAX + 1);
    ck_assert(!derived_get(derived, &id, "large", &value));
    derived_put(derived, &id, kind, large, 1);
    ck_assert(!derived_get(derived, &id, kind, &value));
    derived_put(derived, &id, "", large, 1);
    ck_assert(!derived_get(derived, &id, "", &value));
    kind[DERIVED_KIND_MAX] = '\0';
    derived_put(derived, &id, kind, large, DERIVED_VALUE_MAX);
    reopen();
    ck_assert(derived_get(derived, &id, kind, &value));
    ck_assert_uint_eq(g_bytes_get_size(value), DERIVED_VALUE_MAX);
    g_bytes_unref(value);
    free(large);
}
END_TEST

START_TEST(test_derived__begins_anew_when_the_file_is_full)
{
    char *large = calloc(1, DERIVED_VALUE_MAX);
    unsigned count = DERIVED_MEMORY_MAX / DERIVED_VALUE_MAX + 3;
    struct derived *second = derived_open(directory);
    GBytes *value;

    put(0, "k", "in the file");
    for (unsigned i = 0; i < count; i++) {
        struct object_id id = blob(i);

        large[0] = (char)i;
        derived_put(second, &id, "large", large, DERIVED_VALUE_MAX);
        ck_assert(derived_get(second, &id, "large", &value));
        ck_assert_int_eq(((const char *)g_bytes_get_data(value, NULL))[0], (char)i);
        g_bytes_unref(value);
    }
    struct object_id first = blob(0);
    ck_assert(!derived_get(second, &first, "large", &value));
    derived_close(second);
    ck_assert(has(0, "k", "in the file"));
    ck_assert(!has(0, "large", ""));
    free(large);
}
END_TEST

START_TEST(test_derived__works_without_a_directory)
{
    char *path = fixture_path(file, "below/a/file");

    derived_close(derived);
    FILE *plain = fopen(file, "w");
    fclose(plain);
    derived = derived_open(path);
    ck_assert_ptr_nonnull(derived);
    put(1, "k", "in memory");
    ck_assert(has(1, "k", "in memory"));
    free(path);
    path = fixture_path(directory, "made/for/it");
    derived_close(derived);
    derived = derived_open(path);
    put(1, "k", "in a file");
    derived_close(derived);
    derived = derived_open(path);
    ck_assert(has(1, "k", "in a file"));
    free(path);
    derived_close(NULL);
}
END_TEST

static char *read_file(size_t *length)
{
    FILE *stream = fopen(file, "rb");
    char *text = malloc(1 << 20);

    ck_assert_ptr_nonnull(stream);
    *length = fread(text, 1, 1 << 20, stream);
    fclose(stream);
    return text;
}

static void write_file(const char *text, size_t length)
{
    FILE *stream = fopen(file, "wb");

    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(text, 1, length, stream), length);
    fclose(stream);
}

/* Those of three records that are there have the right value; how many there are. */
static int count_right(void)
{
    return has(1, "structure.1", "value one") + has(2, "structure.1", "value two") +
           has(3, "structure.1", "value three");
}

static char *make_three(size_t *length)
{
    put(1, "structure.1", "value one");
    put(2, "structure.1", "value two");
    put(3, "structure.1", "value three");
    derived_close(derived);
    derived = NULL;
    return read_file(length);
}

START_TEST(test_derived__cut_at_any_octet_keeps_what_is_whole)
{
    size_t length;
    char *text = make_three(&length);
    int before = 0;

    for (size_t cut = 0; cut <= length; cut++) {
        write_file(text, cut);
        derived = derived_open(directory);
        int count = count_right();
        ck_assert_int_ge(count, before);
        before = count;
        put(4, "structure.1", "put after the cut");
        ck_assert(has(4, "structure.1", "put after the cut"));
        reopen();
        ck_assert(has(4, "structure.1", "put after the cut"));
        ck_assert_int_eq(count_right(), count);
        derived_close(derived);
        derived = NULL;
    }
    ck_assert_int_eq(before, 3);
    free(text);
}
END_TEST

START_TEST(test_derived__with_any_bit_wrong_gives_no_wrong_value)
{
    size_t length;
    char *text = make_three(&length);

    for (size_t bit = 0; bit < 8 * length; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        write_file(text, length);
        derived = derived_open(directory);
        ck_assert_int_lt(count_right(), 3);
        put(1, "structure.1", "value one");
        put(2, "structure.1", "value two");
        put(3, "structure.1", "value three");
        ck_assert_int_eq(count_right(), 3);
        derived_close(derived);
        derived = NULL;
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    free(text);
}
END_TEST

START_TEST(test_derived__lives_on_when_the_file_is_deleted_or_cut_meanwhile)
{
    put(1, "k", "one");
    ck_assert_int_eq(truncate(file, 20), 0);
    ck_assert(!has(1, "k", "one"));
    put(1, "k", "one");
    ck_assert(has(1, "k", "one"));
    ck_assert_int_eq(unlink(file), 0);
    put(2, "k", "two");
    ck_assert(has(2, "k", "two"));
    reopen();
    ck_assert(!has(2, "k", "two"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("derived");
    TCase *tests = tcase_create("derived");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, test_derived__gives_back_what_was_put_and_nothing_else);
    tcase_add_test(tests, test_derived__holds_very_many);
    tcase_add_test(tests, test_derived__bounds_values_and_kinds);
    tcase_add_test(tests, test_derived__begins_anew_when_the_file_is_full);
    tcase_add_test(tests, test_derived__works_without_a_directory);
    tcase_add_test(tests, test_derived__cut_at_any_octet_keeps_what_is_whole);
    tcase_add_test(tests, test_derived__with_any_bit_wrong_gives_no_wrong_value);
    tcase_add_test(tests, test_derived__lives_on_when_the_file_is_deleted_or_cut_meanwhile);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
