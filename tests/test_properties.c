#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/account_file.h"
#include "store/internal/properties.h"
#include "store/snapshot.h"

static const char GOOD[] = "format 1\n"
                           "mailboxid Mabc_-9\n"
                           "uidvalidity 1795344000\n"
                           "uidnext 12007\n"
                           "highestmodseq 345\n"
                           "keywords $Forwarded Junk\n";

static int decode(struct properties *out, const char *text, size_t length)
{
    struct store_error error;
    char *exact = g_memdup2(text, length);
    int rc = properties_decode(out, exact, length, &error);

    g_free(exact);
    return rc;
}

START_TEST(test_properties__round_trip)
{
    struct properties properties;
    g_autoptr(GString) text = g_string_new(NULL);

    ck_assert_int_eq(decode(&properties, GOOD, strlen(GOOD)), 0);
    ck_assert_str_eq(properties.mailbox_id, "Mabc_-9");
    ck_assert_uint_eq(properties.uid_validity, 1795344000);
    ck_assert_uint_eq(properties.uid_next, 12007);
    ck_assert_uint_eq(properties.highest_modseq, 345);
    ck_assert_uint_eq(properties.keywords->len, 2);
    properties_encode(text, &properties);
    ck_assert_str_eq(text->str, GOOD);
    properties_release(&properties);
}
END_TEST

START_TEST(test_properties__keywords_may_be_absent)
{
    static const char text[] = "format 1\nmailboxid M\nuidvalidity 1\nuidnext 1\nhighestmodseq 1\n";
    struct properties properties;
    g_autoptr(GString) again = g_string_new(NULL);

    ck_assert_int_eq(decode(&properties, text, strlen(text)), 0);
    properties_encode(again, &properties);
    ck_assert_str_eq(again->str, text);
    properties_release(&properties);
}
END_TEST

START_TEST(test_properties__refuse_what_is_malformed)
{
#define HEAD "format 1\nmailboxid M\nuidvalidity 1\nuidnext 1\nhighestmodseq 1\n"
    static const char *const bad[] = {
        "format 0\n",
        "format one\n",
        "mailboxid M\nuidvalidity 1\nuidnext 1\nhighestmodseq 1\n",
        "format 1\nmailboxid \nuidvalidity 1\nuidnext 1\nhighestmodseq 1\n",
        "format 1\nmailboxid M.\nuidvalidity 1\nuidnext 1\nhighestmodseq 1\n",
        "format 1\nmailboxid M\nuidvalidity 0\nuidnext 1\nhighestmodseq 1\n",
        "format 1\nmailboxid M\nuidvalidity 4294967296\nuidnext 1\nhighestmodseq 1\n",
        "format 1\nmailboxid M\nuidvalidity 1\nuidnext 0\nhighestmodseq 1\n",
        "format 1\nmailboxid M\nuidvalidity 1\nuidnext 1\nhighestmodseq 0\n",
        "format 1\nmailboxid M\nuidvalidity 1\nuidnext 1\nhighestmodseq 9223372036854775808\n",
        "format 1\nmailboxid M\nuidnext 1\nuidvalidity 1\nhighestmodseq 1\n",
        HEAD "more 1\n",
        HEAD "keywords\n",
        HEAD "keywords \n",
        HEAD "keywords a  b\n",
        HEAD "keywords a A\n",
        HEAD "keywords a\\b\n",
        HEAD "keywords \\Seen\n",
        HEAD "keywords a(b\n",
        HEAD "keywords a\nkeywords b\n",
        HEAD "\n",
    };
    struct properties properties;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        ck_assert_msg(decode(&properties, bad[i], strlen(bad[i])) == STORE_CORRUPT, "accepted: %s",
                      bad[i]);
        properties_release(&properties);
    }
#undef HEAD
}
END_TEST

/* The keywords' line is optional, so a file that ends before it is whole. */
START_TEST(test_properties__refuse_every_truncation_inside_a_line)
{
    for (size_t length = 0; length < strlen(GOOD); length++) {
        struct properties properties;
        int rc = decode(&properties, GOOD, length);

        properties_release(&properties);
        ck_assert_int_eq(
            rc, strcmp(GOOD + length, "keywords $Forwarded Junk\n") == 0 ? 0 : STORE_CORRUPT);
    }
}
END_TEST

START_TEST(test_properties__refuse_a_newer_format)
{
    struct properties properties;

    ck_assert_int_eq(decode(&properties, "format 2\nanything\n", 18), STORE_UNSUPPORTED);
    properties_release(&properties);
}
END_TEST

START_TEST(test_properties__hold_as_many_keywords_as_a_mailbox_has)
{
    g_autoptr(GString) text =
        g_string_new("format 1\nmailboxid M\nuidvalidity 1\nuidnext 1\nhighestmodseq 1\nkeywords");
    struct properties properties;

    for (int i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        g_string_append_printf(text, " %0*d", KEYWORD_LENGTH_MAX, i);
    }
    g_string_append_c(text, '\n');
    ck_assert_int_eq(decode(&properties, text->str, text->len), 0);
    ck_assert_uint_eq(properties.keywords->len, MAILBOX_KEYWORDS_MAX);
    properties_release(&properties);
    g_string_truncate(text, text->len - 1);
    g_string_append(text, " more\n");
    ck_assert_int_eq(decode(&properties, text->str, text->len), STORE_CORRUPT);
    properties_release(&properties);
}
END_TEST

START_TEST(test_properties__know_valid_keywords)
{
    g_autofree char *longest = g_strnfill(KEYWORD_LENGTH_MAX, 'k');

    ck_assert(keyword_valid("$Forwarded", 10));
    ck_assert(keyword_valid("NonJunk", 7));
    ck_assert(keyword_valid("a/b:c~!#&'+,-.;<=>?@[^_`|}", 26));
    ck_assert(keyword_valid(longest, KEYWORD_LENGTH_MAX));
    for (int c = 0; c < 256; c++) {
        char keyword[2] = {'k', (char)c};

        if (c <= ' ' || c >= 0x7f || memchr("(){%*\"\\]", c, 8) != NULL) {
            ck_assert_msg(!keyword_valid(keyword, 2), "octet %d", c);
        } else {
            ck_assert_msg(keyword_valid(keyword, 2), "octet %d", c);
        }
    }
    ck_assert(!keyword_valid("", 0));
}
END_TEST

START_TEST(test_account_files__round_trip)
{
    static const char account[] = "format 1\nuidvalidity 77\n";
    static const char subscriptions[] = "Archive\nINBOX\nLists/caf\303\251 bar\n";
    static const char uses[] = "\\Drafts Drafts\n\\Trash Deleted Items\n";
    struct account_state *state = account_state_new();
    struct account_state *copy;
    struct store_error error;
    g_autoptr(GString) text = g_string_new(NULL);
    guint position;

    ck_assert_int_eq(account_file_decode(state, account, strlen(account), &error), 0);
    ck_assert_int_eq(subscriptions_file_decode(state, subscriptions, strlen(subscriptions), &error),
                     0);
    ck_assert_int_eq(special_use_file_decode(state, uses, strlen(uses), &error), 0);
    ck_assert_uint_eq(state->uid_validity, 77);
    ck_assert(account_state_find_subscription(state, "INBOX", &position));
    ck_assert(!account_state_find_subscription(state, "Inbox2", &position));
    ck_assert_uint_eq(position, 2);
    ck_assert_int_eq(account_state_use_of(state, "Deleted Items"), SPECIAL_USE_TRASH);
    ck_assert_int_eq(account_state_use_of(state, "INBOX"), SPECIAL_USE_NONE);
    copy = account_state_copy(state);
    account_state_free(state);
    account_file_encode(text, copy);
    ck_assert_str_eq(text->str, account);
    g_string_truncate(text, 0);
    subscriptions_file_encode(text, copy);
    ck_assert_str_eq(text->str, subscriptions);
    g_string_truncate(text, 0);
    special_use_file_encode(text, copy);
    ck_assert_str_eq(text->str, uses);
    account_state_free(copy);
}
END_TEST

START_TEST(test_account_files__refuse_what_is_malformed)
{
    static const struct {
        int (*decode)(struct account_state *, const void *, size_t, struct store_error *);
        const char *text;
        int result;
    } cases[] = {
        {account_file_decode, "", STORE_CORRUPT},
        {account_file_decode, "format 2\n", STORE_UNSUPPORTED},
        {account_file_decode, "format 1\n", STORE_CORRUPT},
        {account_file_decode, "format 1\nuidvalidity 1\nmore\n", STORE_CORRUPT},
        {account_file_decode, "format 1\nuidvalidity 4294967296\n", STORE_CORRUPT},
        {subscriptions_file_decode, "", 0},
        {subscriptions_file_decode, "b\na\n", STORE_CORRUPT},
        {subscriptions_file_decode, "a\na\n", STORE_CORRUPT},
        {subscriptions_file_decode, "a", STORE_CORRUPT},
        {subscriptions_file_decode, "\n", STORE_CORRUPT},
        {subscriptions_file_decode, "inbox\n", STORE_CORRUPT},
        {subscriptions_file_decode, "inbox/x\n", STORE_CORRUPT},
        {subscriptions_file_decode, "a//b\n", STORE_CORRUPT},
        {subscriptions_file_decode, "\377\n", STORE_CORRUPT},
        {special_use_file_decode, "", 0},
        {special_use_file_decode, "\\All x\n", STORE_CORRUPT},
        {special_use_file_decode, "\\Sent\n", STORE_CORRUPT},
        {special_use_file_decode, "\\Sent \n", STORE_CORRUPT},
        {special_use_file_decode, "\\Sent a\n\\Sent b\n", STORE_CORRUPT},
        {special_use_file_decode, "\\Trash a\n\\Sent b\n", STORE_CORRUPT},
        {special_use_file_decode, "Sent a\n", STORE_CORRUPT},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct account_state *state = account_state_new();
        struct store_error error;
        size_t length = strlen(cases[i].text);

        ck_assert_msg(cases[i].decode(state, cases[i].text, length, &error) == cases[i].result,
                      "case %zu: %s", i, cases[i].text);
        account_state_free(state);
    }
}
END_TEST

START_TEST(test_special_use__has_names)
{
    enum special_use use;

    for (int i = SPECIAL_USE_NONE + 1; i < SPECIAL_USE_COUNT; i++) {
        g_autofree char *lower = g_ascii_strdown(special_use_name((enum special_use)i), -1);

        ck_assert(special_use_parse(&use, lower));
        ck_assert_int_eq(use, i);
    }
    ck_assert_str_eq(special_use_name(SPECIAL_USE_NONE), "");
    ck_assert(!special_use_parse(&use, ""));
    ck_assert(!special_use_parse(&use, "Sent"));
    ck_assert(!special_use_parse(&use, "\\All"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("properties");
    TCase *cases = tcase_create("properties");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_properties__round_trip);
    tcase_add_test(cases, test_properties__keywords_may_be_absent);
    tcase_add_test(cases, test_properties__refuse_what_is_malformed);
    tcase_add_test(cases, test_properties__refuse_every_truncation_inside_a_line);
    tcase_add_test(cases, test_properties__refuse_a_newer_format);
    tcase_add_test(cases, test_properties__hold_as_many_keywords_as_a_mailbox_has);
    tcase_add_test(cases, test_properties__know_valid_keywords);
    tcase_add_test(cases, test_account_files__round_trip);
    tcase_add_test(cases, test_account_files__refuse_what_is_malformed);
    tcase_add_test(cases, test_special_use__has_names);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
