#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/object_id.h"

#define DIGITS "0123456789abcdef0123456789abcdef01234567"

START_TEST(test_object_id__formats_what_it_parses)
{
    struct object_id id;
    char text[OBJECT_ID_HEX + 1];

    ck_assert(object_id_parse(&id, DIGITS));
    ck_assert_uint_eq(id.bytes[0], 0x01);
    ck_assert_uint_eq(id.bytes[7], 0xef);
    ck_assert_uint_eq(id.bytes[19], 0x67);
    object_id_format(&id, text);
    ck_assert_str_eq(text, DIGITS);
}
END_TEST

START_TEST(test_object_id__takes_upper_case_digits)
{
    struct object_id lower;
    struct object_id upper;

    ck_assert(object_id_parse(&lower, DIGITS));
    ck_assert(object_id_parse(&upper, "0123456789ABCDEF0123456789ABCDEF01234567"));
    ck_assert(object_id_equal(&lower, &upper));
}
END_TEST

START_TEST(test_object_id__refuses_all_but_forty_digits)
{
    static const char *const bad[] = {"",
                                      "0",
                                      "0123456789abcdef0123456789abcdef0123456",
                                      DIGITS "8",
                                      DIGITS " ",
                                      "g123456789abcdef0123456789abcdef01234567",
                                      "0123456789abcdef0123456789abcdef0123456x",
                                      " 123456789abcdef0123456789abcdef01234567",
                                      "+0123456789abcdef0123456789abcdef0123456"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct object_id id = {{7}};

        ck_assert_msg(!object_id_parse(&id, bad[i]), "%s", bad[i]);
        ck_assert_uint_eq(id.bytes[0], 7);
    }
}
END_TEST

START_TEST(test_object_id__compares_every_octet)
{
    struct object_id a = {{0}};

    ck_assert(object_id_is_zero(&a));
    for (int i = 0; i < OBJECT_ID_SIZE; i++) {
        struct object_id b = {{0}};

        b.bytes[i] = 1;
        ck_assert(!object_id_equal(&a, &b));
        ck_assert(!object_id_is_zero(&b));
        ck_assert(!object_id_equal_keys(&a, &b));
    }
    ck_assert(object_id_equal_keys(&a, &a));
    ck_assert_uint_eq(object_id_hash(&a), object_id_hash(&(struct object_id){{0}}));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("object_id");
    TCase *tests = tcase_create("object_id");

    tcase_add_test(tests, test_object_id__formats_what_it_parses);
    tcase_add_test(tests, test_object_id__takes_upper_case_digits);
    tcase_add_test(tests, test_object_id__refuses_all_but_forty_digits);
    tcase_add_test(tests, test_object_id__compares_every_octet);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
