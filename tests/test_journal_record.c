/* What a store writes into its journal, and what it accepts from there. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/journal_record.h"

static struct store_error error;

static struct object_id id_of(uint8_t octet)
{
    struct object_id id;

    memset(id.bytes, octet, sizeof(id.bytes));
    return id;
}

/* Two references, and an object of each type, one of them a delta, one empty. */
static const char first_content[] = "tree";
static const char second_content[] = "blob\0with\nanything";

static void add_object(GArray *objects, enum object_type type, const char *data, size_t length,
                       bool is_delta)
{
    struct record_object object = {
        .type = type, .data = (const uint8_t *)data, .length = length, .is_delta = is_delta};

    if (is_delta) {
        object.base = id_of(0x77);
    }
    g_array_append_val(objects, object);
}

static GByteArray *encode(enum record_kind kind, const char *user)
{
    struct ref_update updates[] = {{"refs/heads/INBOX", id_of(1), id_of(2)},
                                   {"refs/heads/A.x", id_of(3), id_of(4)}};
    g_autoptr(GArray) objects = g_array_new(FALSE, FALSE, sizeof(struct record_object));
    GByteArray *out = g_byte_array_new();

    add_object(objects, OBJECT_TREE, first_content, sizeof(first_content), false);
    add_object(objects, OBJECT_COMMIT, "", 0, false);
    add_object(objects, OBJECT_BLOB, second_content, sizeof(second_content), true);
    record_encode(out, kind, user, updates, 2, objects);
    for (guint i = 0; kind == RECORD_CHANGE && i < objects->len; i++) {
        const struct record_object *object = &g_array_index(objects, struct record_object, i);

        g_byte_array_append(out, object->data, (guint)object->length);
    }
    return out;
}

static void check_object(const struct record *record, guint i, enum object_type type,
                         const char *data, size_t length, bool is_delta)
{
    const struct record_object *object = &g_array_index(record->objects, struct record_object, i);
    struct object_id base = id_of(0x77);

    ck_assert_int_eq((int)object->type, (int)type);
    ck_assert_uint_eq(object->length, length);
    ck_assert_int_eq(memcmp(object->data, data, length), 0);
    ck_assert_int_eq(object->is_delta, is_delta);
    ck_assert(!is_delta || object_id_equal(&object->base, &base));
}

START_TEST(test_journal_record__round_trips_a_change)
{
    g_autoptr(GByteArray) bytes = encode(RECORD_CHANGE, "j\xc3\xb6rg@example.org");
    struct object_id last = id_of(4);
    struct record record;

    ck_assert_int_eq(record_decode(&record, bytes->data, bytes->len, &error), 0);
    ck_assert_int_eq((int)record.kind, RECORD_CHANGE);
    ck_assert_str_eq(record.user, "j\xc3\xb6rg@example.org");
    ck_assert_uint_eq(record.updates->len, 2);
    const struct ref_update *update = &g_array_index(record.updates, struct ref_update, 1);
    ck_assert_str_eq(update->name, "refs/heads/A.x");
    ck_assert(object_id_equal(&update->after, &last));
    ck_assert_uint_eq(record.objects->len, 3);
    check_object(&record, 0, OBJECT_TREE, first_content, sizeof(first_content), false);
    check_object(&record, 1, OBJECT_COMMIT, "", 0, false);
    check_object(&record, 2, OBJECT_BLOB, second_content, sizeof(second_content), true);
    record_release(&record);
}
END_TEST

START_TEST(test_journal_record__round_trips_notes)
{
    const enum record_kind kinds[] = {RECORD_PACKED, RECORD_DONE};
    g_autoptr(GByteArray) bytes = encode(kinds[_i], "alice");
    struct record record;

    ck_assert_uint_eq(bytes->len, 2 + strlen("alice"));
    ck_assert_int_eq(record_decode(&record, bytes->data, bytes->len, &error), 0);
    ck_assert_int_eq((int)record.kind, (int)kinds[_i]);
    ck_assert_uint_eq(record.updates->len, 0);
    ck_assert_uint_eq(record.objects->len, 0);
    record_release(&record);
}
END_TEST

START_TEST(test_journal_record__refuses_every_other_length)
{
    const enum record_kind kinds[] = {RECORD_CHANGE, RECORD_PACKED, RECORD_DONE};
    g_autoptr(GByteArray) bytes = encode(kinds[_i], "alice");
    guint whole = bytes->len;
    struct record record;

    g_byte_array_append(bytes, (const guint8 *)"x", 1);
    for (guint length = 0; length <= bytes->len; length++) {
        g_autofree uint8_t *exact = g_memdup2(bytes->data, length);
        int expected = length == whole ? 0 : STORE_CORRUPT;

        ck_assert_int_eq(record_decode(&record, exact, length, &error), expected);
        if (expected == 0) {
            record_release(&record);
        }
    }
}
END_TEST

#define IDS                \
    "11111111111111111111" \
    "22222222222222222222"

static const struct {
    const char *name;
    const char *octets;
    size_t length;
} malformed[] = {
#define BAD(name, octets)                \
    {                                    \
        name, octets, sizeof(octets) - 1 \
    }
    BAD("nothing", ""),
    BAD("kind 0", "\0\1a"),
    BAD("kind 4", "\4\1a"),
    BAD("kind 255", "\377\1a"),
    BAD("no user", "\2\0"),
    BAD("a user with a slash", "\2\3a/b"),
    BAD("a hidden user", "\2\2.a"),
    BAD("a user with NUL", "\2\3a\0b"),
    BAD("a user that is no UTF-8", "\2\2a\377"),
    BAD("a reference outside of refs", "\1\1a\1\0\4\0HEAD" IDS "\0\0\0\0"),
    BAD("a reference that leads out", "\1\1a\1\0\17\0refs/heads/../x" IDS "\0\0\0\0"),
    BAD("a reference with NUL", "\1\1a\1\0\16\0refs/heads/a\0b" IDS "\0\0\0\0"),
    BAD("a reference without a name", "\1\1a\1\0\0\0" IDS "\0\0\0\0"),
    BAD("many references and none there", "\1\1a\377\377"),
    BAD("many objects and none there", "\1\1a\0\0\377\377\377\377"),
    BAD("an object of type 0", "\1\1a\0\0\1\0\0\0\0\0\0\0\0"),
    BAD("an object of type 4", "\1\1a\0\0\1\0\0\0\4\0\0\0\0"),
    BAD("a delta of type 0", "\1\1a\0\0\1\0\0\0\200\0\0\0\0"
                             "11111111111111111111"),
    BAD("a delta without a base", "\1\1a\0\0\1\0\0\0\203\0\0\0\0"),
    BAD("an object that is too long", "\1\1a\0\0\1\0\0\0\3\377\377\377\377x"),
    BAD("two that are too long together", "\1\1a\0\0\2\0\0\0\3\1\0\0\0\3\1\0\0\0x"),
#undef BAD
};

START_TEST(test_journal_record__refuses_what_is_malformed)
{
    g_autofree uint8_t *exact = g_memdup2(malformed[_i].octets, malformed[_i].length);
    struct record record;

    ck_assert_msg(record_decode(&record, exact, malformed[_i].length, &error) == STORE_CORRUPT,
                  "%s", malformed[_i].name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("journal_record");
    TCase *tests = tcase_create("record");

    tcase_add_test(tests, test_journal_record__round_trips_a_change);
    tcase_add_loop_test(tests, test_journal_record__round_trips_notes, 0, 2);
    tcase_add_loop_test(tests, test_journal_record__refuses_every_other_length, 0, 3);
    tcase_add_loop_test(tests, test_journal_record__refuses_what_is_malformed, 0,
                        G_N_ELEMENTS(malformed));
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
