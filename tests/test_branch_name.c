#include <check.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/account.h"
#include "store/internal/branch_name.h"
#include "store/internal/git.h"
#include "tests/store_fixture.h"

enum { RANDOM_NAMES = 20000, CHECKED_BY_GIT = 300 };

static const struct {
    const char *mailbox;
    const char *branch;
} pairs[] = {
    {"INBOX", "INBOX"},
    {"inbox", "INBOX"},
    {"iNbOx/Sub", "INBOX.Sub"},
    {"inboxes", "inboxes"},
    {"Sent Items", "Sent_Items"},
    {"A/B", "A.B"},
    {"a.b", "a%2Eb"},
    {"a_b", "a%5Fb"},
    {"100%", "100%25"},
    {"~^:?*[\\", "%7E%5E%3A%3F%2A%5B%5C"},
    {"lock", "%6Cock"},
    {"a/lock", "a.%6Cock"},
    {"lock/a", "lock.a"},
    {"clock", "clock"},
    {"a.lock", "a%2Elock"},
    {"-x", "%2Dx"},
    {"x/-x", "x.-x"},
    {"@", "%40"},
    {"@{", "%40{"},
    {"a@{b}", "a%40{b}"},
    {"a@b", "a@b"},
    {"HEAD", "%48EAD"},
    {"HEAD/x", "HEAD.x"},
    {"..", "%2E%2E"},
    {".hidden", "%2Ehidden"},
    {" ", "_"},
    {"Entwürfe/Größe", "Entwürfe.Größe"},
    {"日本語", "日本語"},
    {"refs/heads/x", "refs.heads.x"},
    {"\"quoted\"", "\"quoted\""},
    {"$(rm -rf)", "$(rm_-rf)"},
    {"!", "!"},
    {"&", "&"},
};

START_TEST(test_branch_name__encodes_as_the_format_says)
{
    struct store_error error;

    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        char *branch = NULL;

        ck_assert_int_eq(branch_name_encode(&branch, pairs[i].mailbox, &error), 0);
        ck_assert_str_eq(branch, pairs[i].branch);
        g_free(branch);
    }
}
END_TEST

START_TEST(test_branch_name__refuses_what_is_no_mailbox_name)
{
    static const char *const bad[] = {
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "\x01",
        "a\tb",
        "a\nb",
        "\x7f",
        "\xff",
        "\xc3",
        "\xc0\xaf",
        "a\x80",
        "\xc2\x85",
        "\u2028",
        "\u2029",
        "\xed\xa0\x80",
        "\xf5\x80\x80\x80",
        "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct store_error error;
        char *branch = NULL;

        ck_assert_msg(branch_name_encode(&branch, bad[i], &error) == STORE_BAD_NAME, "%zu", i);
        ck_assert_ptr_null(branch);
    }
}
END_TEST

START_TEST(test_branch_name__bounds_length_and_depth)
{
    struct store_error error;
    char *branch = NULL;
    char plain[MAILBOX_NAME_MAX + 2];
    char dots[MAILBOX_NAME_MAX / 3 + 2];

    memset(plain, 'x', sizeof(plain));
    plain[MAILBOX_NAME_MAX] = '\0';
    ck_assert_int_eq(branch_name_encode(&branch, plain, &error), 0);
    g_clear_pointer(&branch, g_free);
    plain[MAILBOX_NAME_MAX] = 'x';
    plain[MAILBOX_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(branch_name_encode(&branch, plain, &error), STORE_BAD_NAME);

    memset(dots, '.', sizeof(dots));
    dots[MAILBOX_NAME_MAX / 3] = '\0';
    ck_assert_int_eq(branch_name_encode(&branch, dots, &error), 0);
    g_clear_pointer(&branch, g_free);
    dots[MAILBOX_NAME_MAX / 3] = '.';
    dots[MAILBOX_NAME_MAX / 3 + 1] = '\0';
    ck_assert_int_eq(branch_name_encode(&branch, dots, &error), STORE_BAD_NAME);

    ck_assert_int_eq(branch_name_encode(&branch, "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", &error), 0);
    g_free(branch);
}
END_TEST

START_TEST(test_branch_name__decodes_only_its_own_encoding)
{
    static const char *const foreign[] = {
        "",      ".",       "a.",   ".a",     "a..b", "a b",   "a/b", "%61", "%5f",    "%2e",
        "%",     "%4",      "%zz",  "%00",    "%0A",  "a%2Fb", "a~b", "-x",  "@",      "HEAD",
        "inbox", "Inbox.a", "lock", "a.lock", "%FF",  "a%20b", "a:b", "x%",  "%2Dx%2", "%7f",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++) {
        struct store_error error;
        char *mailbox = NULL;

        ck_assert_msg(branch_name_decode(&mailbox, foreign[i], &error) == STORE_BAD_NAME, "%s",
                      foreign[i]);
        ck_assert_ptr_null(mailbox);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        struct store_error error;
        char *mailbox = NULL;

        ck_assert_int_eq(branch_name_decode(&mailbox, pairs[i].branch, &error), 0);
        if (g_ascii_strncasecmp(pairs[i].mailbox, "inbox", 5) != 0) {
            ck_assert_str_eq(mailbox, pairs[i].mailbox);
        }
        g_free(mailbox);
    }
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* A name of up to twelve characters, rich in those that the encoding treats apart. */
static char *random_name(uint32_t *state)
{
    static const char *const pieces[] = {
        "lock",  "HEAD",       "@{", "@",     "-",  ".",  "..", "INBOX", "_",  " ",
        "%",     "%2E",        "~",  "^",     ":",  "?",  "*",  "[",     "\\", "é",
        "日",    "\U0001F4E7", "a",  "B",     "9",  "{",  "}",  "'",     "\"", "$",
        ".lock", "\u200b",     "/x", "/lock", "/-", "/.", "/ "};
    GString *name = g_string_new(NULL);
    size_t count = 1 + next_random(state) % 8;

    for (size_t i = 0; i < count; i++) {
        if (next_random(state) % 4 == 0) {
            gunichar c;

            do {
                c = 0xa0 + next_random(state) % 0xd000;
            } while (c == 0x2028 || c == 0x2029);
            g_string_append_unichar(name, c);
        } else {
            g_string_append(name, pieces[next_random(state) % G_N_ELEMENTS(pieces)]);
        }
    }
    if (name->str[0] == '/') {
        g_string_erase(name, 0, 1);
    }
    return g_string_free(name, FALSE);
}

/* INBOX has one spelling. */
static char *normal_form(const char *name)
{
    if (g_ascii_strncasecmp(name, "INBOX", 5) == 0 && (name[5] == '\0' || name[5] == '/')) {
        return g_strconcat("INBOX", name + 5, NULL);
    }
    return g_strdup(name);
}

static void check_git_accepts(const char *branch, bool ask_git)
{
    char *full = g_strconcat("refs/heads/", branch, NULL);
    int valid = 0;

    ck_assert_int_eq(git_reference_name_is_valid(&valid, full), 0);
    ck_assert_msg(valid == 1, "libgit2 refuses %s", branch);
    if (ask_git) {
        ck_assert_msg(GIT("/", "check-ref-format", full), "git refuses %s", branch);
        ck_assert_msg(GIT("/", "check-ref-format", "--branch", branch), "git refuses %s", branch);
    }
    g_free(full);
}

START_TEST(test_branch_name__round_trips_any_utf8_and_git_accepts_it)
{
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    uint32_t state = 20240601;
    int tried = 0;

    libgit2_start();
    while (tried < RANDOM_NAMES) {
        struct store_error error;
        char *name = random_name(&state);
        char *normal = normal_form(name);
        char *branch = NULL;
        char *back = NULL;

        ck_assert_msg(branch_name_encode(&branch, name, &error) == 0, "%s: %s", name, error.detail);
        ck_assert_int_eq(branch_name_decode(&back, branch, &error), 0);
        g_autofree char *plain = branch_name_of_encoding(branch);
        ck_assert_str_eq(plain, back);
        ck_assert_str_eq(back, normal);
        check_git_accepts(branch, tried < CHECKED_BY_GIT);
        const char *other = g_hash_table_lookup(seen, branch);
        ck_assert_msg(other == NULL || strcmp(other, normal) == 0, "%s and %s are both %s", name,
                      other, branch);
        g_hash_table_replace(seen, branch, normal);
        g_free(back);
        g_free(name);
        tried++;
    }
    ck_assert_uint_gt(g_hash_table_size(seen), RANDOM_NAMES / 2);
    g_hash_table_destroy(seen);
}
END_TEST

START_TEST(test_branch_name__is_accepted_by_git_for_each_octet)
{
    libgit2_start();
    for (int c = 0x20; c < 0x7f; c++) {
        struct store_error error;
        const char names[3][4] = {{(char)c}, {'a', (char)c}, {(char)c, 'a'}};

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
            char *branch = NULL;

            if (c == '/') {
                continue;
            }
            ck_assert_int_eq(branch_name_encode(&branch, names[i], &error), 0);
            check_git_accepts(branch, true);
            g_free(branch);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("branch_name");
    TCase *tests = tcase_create("branch_name");

    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, test_branch_name__encodes_as_the_format_says);
    tcase_add_test(tests, test_branch_name__refuses_what_is_no_mailbox_name);
    tcase_add_test(tests, test_branch_name__bounds_length_and_depth);
    tcase_add_test(tests, test_branch_name__decodes_only_its_own_encoding);
    tcase_add_test(tests, test_branch_name__round_trips_any_utf8_and_git_accepts_it);
    tcase_add_test(tests, test_branch_name__is_accepted_by_git_for_each_octet);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
