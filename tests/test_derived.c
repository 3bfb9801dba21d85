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
    GByteArray *value = g_byte_array_new();
    bool found = derived_get(derived, &id, kind, value);

    if (found) {
        ck_assert_uint_eq(value->len, strlen(expected));
        ck_assert(value->len == 0 || memcmp(value->data, expected, value->len) == 0);
    }
    g_byte_array_unref(value);
    return found;
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
    GByteArray *value = g_byte_array_new();

    memset(kind, 'k', sizeof(kind));
    kind[DERIVED_KIND_MAX + 1] = '\0';
    derived_put(derived, &id, "large", large, DERIVED_VALUE_MAX + 1);
    ck_assert(!derived_get(derived, &id, "large", value));
    derived_put(derived, &id, kind, large, 1);
    ck_assert(!derived_get(derived, &id, kind, value));
    derived_put(derived, &id, "", large, 1);
    ck_assert(!derived_get(derived, &id, "", value));
    kind[DERIVED_KIND_MAX] = '\0';
    derived_put(derived, &id, kind, large, DERIVED_VALUE_MAX);
    reopen();
    ck_assert(derived_get(derived, &id, kind, value));
    ck_assert_uint_eq(value->len, DERIVED_VALUE_MAX);
    g_byte_array_unref(value);
    free(large);
}
END_TEST

START_TEST(test_derived__begins_anew_when_the_file_is_full)
{
    char *large = calloc(1, DERIVED_VALUE_MAX);
    unsigned count = DERIVED_MEMORY_MAX / DERIVED_VALUE_MAX + 3;
    struct derived *second = derived_open(directory);
    GByteArray *value = g_byte_array_new();

    put(0, "k", "in the file");
    for (unsigned i = 0; i < count; i++) {
        struct object_id id = blob(i);

        large[0] = (char)i;
        derived_put(second, &id, "large", large, DERIVED_VALUE_MAX);
        ck_assert(derived_get(second, &id, "large", value));
        ck_assert_int_eq((char)value->data[0], (char)i);
    }
    struct object_id first = blob(0);
    ck_assert(!derived_get(second, &first, "large", value));
    derived_close(second);
    ck_assert(has(0, "k", "in the file"));
    ck_assert(!has(0, "large", ""));
    g_byte_array_unref(value);
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
    derived_rest(derived); /* a batch of two, a batch of one */
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
    derived_rest(derived);
    ck_assert(has(1, "k", "one"));
    derived_rest(derived);
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

/* Nothing is lost when it rests, whether or not the index is forgotten. */
START_TEST(test_derived__remembers_when_it_has_rested)
{
    for (unsigned i = 0; i < 3000; i++) {
        put(i, "k", i % 2 == 0 ? "even" : "odd");
        for (unsigned rest = 0; rest < i % 5; rest++) {
            derived_rest(derived);
        }
        ck_assert(has(i / 2, "k", i / 2 % 2 == 0 ? "even" : "odd"));
        ck_assert(!has(i + 1, "k", ""));
    }
    put(7, "k", "newer");
    derived_rest(derived);
    derived_rest(derived);
    ck_assert(has(7, "k", "newer"));
    struct object_id id = blob(7);
    ck_assert(derived_has(derived, &id, "k"));
    ck_assert(!derived_has(derived, &id, "l"));
    derived_rest(NULL);
}
END_TEST

/* Keys whose hashes are alike are told apart, whether they wait or are written. */
START_TEST(test_derived__tells_keys_of_one_hash_apart)
{
    struct object_id ids[3] = {{{1}}, {{1}}, {{1}}};
    GByteArray *value = g_byte_array_new();

    for (unsigned i = 0; i < 3; i++) {
        ids[i].bytes[19] = (uint8_t)i; /* not part of the hash */
        derived_put(derived, &ids[i], "k", &i, sizeof(i));
        derived_put(derived, &ids[i], "k", &i, sizeof(i));
    }
    for (int again = 0; again < 3; again++) {
        for (unsigned i = 0; i < 3; i++) {
            ck_assert(derived_get(derived, &ids[i], "k", value));
            ck_assert_mem_eq(value->data, &i, sizeof(i));
        }
        reopen();
    }
    g_byte_array_unref(value);
}
END_TEST

/* Values of every size about that of the buffers, read in any order. */
START_TEST(test_derived__reads_values_of_any_size_in_any_order)
{
    enum { COUNT = 400 };
    uint8_t *bytes = malloc(300 * 1024);
    GByteArray *value = g_byte_array_new();
    uint32_t seed = 5;

    for (unsigned i = 0; i < 300 * 1024; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        struct object_id id = blob(i);
        derived_put(derived, &id, "k", bytes + i, i % 40 == 0 ? 250 * 1024 : i * 11 % 5000);
    }
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < 4 * COUNT; i++) {
            seed = seed * 1664525 + 1013904223;
            unsigned at = i < COUNT ? i : i < 2 * COUNT ? 2 * COUNT - 1 - i : (seed >> 8) % COUNT;
            struct object_id id = blob(at);
            ck_assert(derived_get(derived, &id, "k", value));
            ck_assert_uint_eq(value->len, at % 40 == 0 ? 250 * 1024 : at * 11 % 5000);
            ck_assert(value->len == 0 || memcmp(value->data, bytes + at, value->len) == 0);
        }
        reopen();
    }
    g_byte_array_unref(value);
    free(bytes);
}
END_TEST

/* Who only puts does not look at what is there; what is put after a torn batch may be lost. */
START_TEST(test_derived__keeps_what_is_put_by_those_who_never_ask)
{
    size_t length;
    char *text = make_three(&length);

    for (unsigned i = 4; i < 10; i++) {
        derived = derived_open(directory);
        put(i, "k", "unasked");
        derived_rest(derived);
        put(i + 100, "k", "unasked");
        struct object_id id = blob(i);
        ck_assert(!derived_has(derived, &id, "k"));
        derived_close(derived);
    }
    derived = derived_open(directory);
    put(200, "k", "waits");
    ck_assert(has(200, "k", "waits"));
    ck_assert_int_eq(count_right(), 3);
    for (unsigned i = 4; i < 10; i++) {
        ck_assert(has(i, "k", "unasked"));
        ck_assert(has(i + 100, "k", "unasked"));
    }
    derived_close(derived);
    for (size_t cut = 0; cut <= length; cut++) {
        write_file(text, cut);
        derived = derived_open(directory);
        put(4, "k", "unasked");
        reopen();
        count_right();
        put(4, "k", "asked");
        ck_assert(has(4, "k", "asked"));
        reopen();
        ck_assert(has(4, "k", "asked"));
        derived_close(derived);
    }
    derived = NULL;
    free(text);
}
END_TEST

START_TEST(test_derived__begins_anew_after_another_version)
{
    size_t length;
    char *text = make_three(&length);

    text[14] = '1';
    write_file(text, length);
    derived = derived_open(directory);
    ck_assert_int_eq(count_right(), 0);
    put(1, "structure.1", "value one");
    reopen();
    ck_assert_int_eq(count_right(), 1);
    free(text);
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
    tcase_add_test(tests, test_derived__remembers_when_it_has_rested);
    tcase_add_test(tests, test_derived__tells_keys_of_one_hash_apart);
    tcase_add_test(tests, test_derived__reads_values_of_any_size_in_any_order);
    tcase_add_test(tests, test_derived__keeps_what_is_put_by_those_who_never_ask);
    tcase_add_test(tests, test_derived__begins_anew_after_another_version);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
