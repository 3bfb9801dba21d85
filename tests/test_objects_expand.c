#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/objects.h"
#include "tests/mail_fixture.h"
#include "tests/store_fixture.h"

static struct mail_fixture fixture;
static struct mailbox *inbox;
static struct store_error error;

static void set_up(void)
{
    mail_fixture_init(&fixture, NULL);
    inbox = open_mailbox(&fixture, "INBOX");
}

static void tear_down(void)
{
    mailbox_unref(inbox);
    mail_fixture_release(&fixture);
}

/* Four digits, which several objects of many share. */
START_TEST(test_objects_expand__knows_what_is_ambiguous)
{
    struct objects *objects;
    unsigned ambiguous = 0;

    for (int i = 0; i < 60; i++) {
        g_autofree char *text = g_strdup_printf("%d", i);

        append_text(&fixture, inbox, text);
    }
    g_autofree char *list =
        GIT_OUTPUT(fixture.path, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)");
    g_auto(GStrv) lines = g_strsplit(g_strchomp(list), "\n", -1);
    g_autoptr(GHashTable) counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    ck_assert_int_eq(objects_open(&objects, fixture.path, host_system(), &error), 0);
    for (char **line = lines; *line != NULL; line++) {
        char *digits = g_strndup(*line, 4);
        guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, digits));

        g_hash_table_replace(counts, digits, GUINT_TO_POINTER(count + 1));
    }
    for (char **line = lines; *line != NULL; line++) {
        g_autofree char *digits = g_strndup(*line, 4);
        bool alone = GPOINTER_TO_UINT(g_hash_table_lookup(counts, digits)) == 1;
        struct object_id id;
        char hex[OBJECT_ID_HEX + 1];
        int rc = objects_expand(objects, digits, &id, &error);

        ck_assert_int_eq(rc, alone ? 0 : STORE_NOT_FOUND);
        if (alone) {
            object_id_format(&id, hex);
            ck_assert_str_eq(hex, *line);
        } else {
            ck_assert(strstr(error.detail, "more than one") != NULL);
            ambiguous++;
        }
    }
    ck_assert_uint_gt(ambiguous, 0);
    objects_close(objects);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("objects_expand");
    TCase *cases = tcase_create("objects_expand");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_objects_expand__knows_what_is_ambiguous);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
