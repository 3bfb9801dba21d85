#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/commit.h"
#include "store/internal/text.h"
#include "store/internal/tree.h"

START_TEST(test_text__is_made_harmless)
{
    static const struct {
        const char *in;
        size_t max;
        const char *out;
    } cases[] = {
        {"plain text", 100, "plain text"},
        {"caf\303\251 \360\237\230\200", 100, "caf\303\251 \360\237\230\200"},
        {"a\033[31mb\r\nc\td", 100, "a?[31mb??c?d"},
        {"\177\302\205\302\233x", 100, "???x"},               /* DEL, NEL, CSI */
        {"a\342\200\256b\342\201\246c", 100, "a?b?c"},        /* RLO, LRI */
        {"\342\200\250\342\200\251\357\273\277", 100, "???"}, /* LS, PS, BOM */
        {"bad \377\376 \303", 100, "bad ?? ?"},
        {"\355\240\200", 100, "???"}, /* a surrogate */
        {"caf\303\251", 4, "caf..."},
        {"abcdef", 6, "abcdef"},
        {"abcdefg", 6, "abcdef..."},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) out = g_string_new(NULL);

        text_append_harmless(out, cases[i].in, strlen(cases[i].in), cases[i].max);
        ck_assert_str_eq(out->str, cases[i].out);
        ck_assert(text_is_harmless(out->str, out->len));
    }
}
END_TEST

START_TEST(test_commit__is_what_git_expects)
{
    struct object_id tree, parent;
    struct origin origin = {.client = "Mutt 2 (192.0.2.1)",
                            .session = "s7",
                            .command = "UID STORE",
                            .time = INT64_C(1795000000999999)};
    g_autoptr(GString) out = g_string_new(NULL);

    memset(&tree, 0x11, sizeof(tree));
    memset(&parent, 0x22, sizeof(parent));
    commit_encode(out, &tree, &parent, NULL, "alice", &origin, "STORE uid 1 +\\Seen");
    ck_assert_str_eq(out->str, "tree 1111111111111111111111111111111111111111\n"
                               "parent 2222222222222222222222222222222222222222\n"
                               "author alice <alice@localhost> 1795000000 +0000\n"
                               "committer alice <alice@localhost> 1795000000 +0000\n"
                               "\n"
                               "STORE uid 1 +\\Seen\n"
                               "\n"
                               "User: alice\n"
                               "Client: Mutt 2 (192.0.2.1)\n"
                               "Session: s7\n"
                               "Command: UID STORE\n");
}
END_TEST

START_TEST(test_commit__can_not_be_forged_from_outside)
{
    struct object_id tree = {0};
    struct origin origin = {
        .client = "x\nUser: bob\n\ntree", .session = "\033]0;title\a", .command = "", .time = -5};
    g_autoptr(GString) out = g_string_new(NULL);

    commit_encode(out, &tree, NULL, NULL, "al<i>ce@example.org", &origin,
                  "a\nparent b\n\nUser: bob");
    ck_assert_str_eq(out->str, "tree 0000000000000000000000000000000000000000\n"
                               "author al_i_ce@example.org <al_i_ce@example.org> 0 +0000\n"
                               "committer al_i_ce@example.org <al_i_ce@example.org> 0 +0000\n"
                               "\n"
                               "a?parent b??User: bob\n"
                               "\n"
                               "User: al<i>ce@example.org\n"
                               "Client: x?User: bob??tree\n"
                               "Session: ?]0;title?\n");
}
END_TEST

START_TEST(test_commit__decodes_its_own_and_others)
{
    static const char text[] = "tree 1111111111111111111111111111111111111111\n"
                               "parent 2222222222222222222222222222222222222222\n"
                               "parent 3333333333333333333333333333333333333333\n"
                               "author A > B <a@b> 1700000000 -0330\n"
                               "committer C <c@d> 1 +0000\n"
                               "gpgsig -----BEGIN\n x\n"
                               "\n"
                               "Merge\n";
    struct commit commit;
    struct store_error error;
    size_t length = strlen(text);

    ck_assert_int_eq(commit_decode(&commit, text, length, &error), 0);
    ck_assert_uint_eq(commit.tree.bytes[0], 0x11);
    ck_assert_uint_eq(commit.parent.bytes[19], 0x22);
    ck_assert_int_eq(commit.time, 1700000000);
    ck_assert_int_eq(commit.zone, -210);
    ck_assert_uint_eq(commit.message_length, 6);
    ck_assert_int_eq(commit_decode(&commit, text, 40, &error), STORE_CORRUPT);
    ck_assert_int_eq(commit_decode(&commit, text, 0, &error), STORE_CORRUPT);
    ck_assert_int_eq(commit_decode(&commit, text + 46, length - 46, &error), STORE_CORRUPT);
    for (size_t i = 0; i < length; i++) {
        char *exact = g_memdup2(text, i);

        commit_decode(&commit, exact, i, &error);
        g_free(exact);
    }
}
END_TEST

START_TEST(test_subject__shortens_lists_of_uids)
{
    static const uint32_t some[] = {3, 5, 6, 7, 9, 4294967294};
    uint32_t odd[500];
    g_autoptr(GString) out = g_string_new(NULL);

    subject_append_uids(out, some, 6);
    ck_assert_str_eq(out->str, "3,5:7,9,4294967294");
    for (uint32_t i = 0; i < 500; i++) {
        odd[i] = 2 * i + 1;
    }
    g_string_truncate(out, 0);
    subject_append_uids(out, odd, 500);
    ck_assert_uint_lt(out->len, 100);
    ck_assert(g_str_has_prefix(out->str, "1,3,5,7,9,11,"));
    ck_assert(g_str_has_suffix(out->str, ",... (500 messages)"));
}
END_TEST

START_TEST(test_subject__comes_from_the_message)
{
    static const struct {
        const char *message;
        const char *subject;
    } cases[] = {
        {"From: a\r\nSubject: Re: lunch?\r\n\r\nSubject: no\r\n", "Re: lunch?"},
        {"SUBJECT:x\n\n", "x"},
        {"Subject: one\r\n two\r\n\tthree\r\nTo: b\r\n\r\n", "one two three"},
        {"From: a\r\n\r\nSubject: in the body\r\n", ""},
        {"", ""},
        {"Subject:", ""},
        {"Subject", ""},
        {"X-Subject: a\n\n", ""},
        {"From: a\n Subject: folded\n\n", ""},
        {"Subject: \033[2Jboo\n\n", "?[2Jboo"},
        {"Subject: \342\200\256evil\n\n", "?evil"},
        {"Subject: no end", "no end"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GString) out = g_string_new(NULL);
        size_t length = strlen(cases[i].message);
        uint8_t *exact = g_memdup2(cases[i].message, length);

        subject_append_from_message(out, exact, length);
        g_free(exact);
        ck_assert_str_eq(out->str, cases[i].subject);
    }
}
END_TEST

START_TEST(test_tree__reads_what_it_wrote_and_refuses_the_rest)
{
    g_autoptr(GByteArray) tree = g_byte_array_new();
    struct object_id id;
    struct tree_entry entry;

    memset(&id, 0xab, sizeof(id));
    tree_append(tree, "00", true, &id);
    tree_append(tree, "mailbox", false, &id);
    for (guint length = 0; length <= tree->len; length++) {
        uint8_t *exact = g_memdup2(tree->data, length);
        struct tree_reader reader = {exact, exact + length};
        enum tree_result result;
        int entries = 0;

        while ((result = tree_next(&reader, &entry)) == TREE_ENTRY) {
            ck_assert(object_id_equal(&entry.id, &id));
            ck_assert(entry.directory == (entries == 0));
            entries++;
        }
        ck_assert_int_eq(result,
                         length == 0 || length == 29 || length == tree->len ? TREE_END : TREE_BAD);
        g_free(exact);
    }
    for (size_t i = 0; i < 4; i++) {
        static const char *const modes[] = {"100755 a", "120000 a", "160000 a", "100644 "};
        uint8_t raw[64] = {0};
        struct tree_reader reader = {raw, raw + strlen(modes[i]) + 1 + OBJECT_ID_SIZE};

        memcpy(raw, modes[i], strlen(modes[i]));
        ck_assert_int_eq(tree_next(&reader, &entry), TREE_BAD);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("commit");
    TCase *cases = tcase_create("commit");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_text__is_made_harmless);
    tcase_add_test(cases, test_commit__is_what_git_expects);
    tcase_add_test(cases, test_commit__can_not_be_forged_from_outside);
    tcase_add_test(cases, test_commit__decodes_its_own_and_others);
    tcase_add_test(cases, test_subject__shortens_lists_of_uids);
    tcase_add_test(cases, test_subject__comes_from_the_message);
    tcase_add_test(cases, test_tree__reads_what_it_wrote_and_refuses_the_rest);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
