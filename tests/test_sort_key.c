#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/sort_key.h"

static const struct {
    const char *subject;
    const char *base;
} subjects[] = {
    {"", ""},
    {"plain", "plain"},
    {"  two \t words  ", "two words"},
    {"Re: x", "x"},
    {"RE : x", "x"},
    {"re:x", "x"},
    {"Fw: x", "x"},
    {"FWD: x", "x"},
    {"Re: Fwd: re: x", "x"},
    {"Re[2]: x", "x"},
    {"Re [2] : x", "x"},
    {"Re [2] [3]: x", "Re [2] [3]: x"},
    {"Reply: x", "Reply: x"},
    {"Re x", "Re x"},
    {"[list] x", "x"},
    {"[list] [sub] x", "x"},
    {"[list] Re: x", "x"},
    {"Re: [list] x", "x"},
    {"[list]", "[list]"},
    {"Re: [list]", "[list]"},
    {"[a] [b]", "[b]"},
    {"[open x", "[open x"},
    {"[a [b] x", "[a [b] x"},
    {"x (fwd)", "x"},
    {"x (FWD) (fwd) ", "x"},
    {"(fwd)", ""},
    {"Re:", ""},
    {"Re: Re:", ""},
    {"[fwd: x]", "x"},
    {"[Fwd: Re: x (fwd)] ", "x"},
    {"[fwd: [fwd: x]]", "x"},
    {"Re: [fwd: Re: [l] x]", "x"},
    {"[fwd: x", "[fwd: x"},
    {"first\nRe: second", "first"},
    {"\nsecond", ""},
    {"RE: A\xcc\x88"
     "B",
     "A\xcc\x88"
     "B"},
};

START_TEST(test_sort_key__takes_what_replies_add_from_a_subject)
{
    GString *out = g_string_new("<");

    sort_key_subject(out, subjects[_i].subject, strlen(subjects[_i].subject));
    ck_assert_str_eq(out->str + 1, subjects[_i].base);
    g_string_free(out, TRUE);
}
END_TEST

static const struct {
    const char *subject;
    bool replies;
} replies[] = {
    {"", false},
    {"x", false},
    {"Re: x", true},
    {"FW: x", true},
    {"[list] fwd [1]: x", true},
    {"[list] x", false},
    {"[re: x", false},
    {"Re x", false},
    {"x (fwd)", true},
    {"x (FWD) ", true},
    {"x (fwd) y", false},
    {"[Fwd: x]", true},
    {"[list] [fwd: x]", true},
    {"[fwd: x", false},
    {" x ", false},
    {"Re:", true},
    {"first\nRe: second", false},
};

START_TEST(test_sort_key__knows_a_reply_by_its_subject)
{
    GString *out = g_string_new(NULL);
    const char *subject = replies[_i].subject;

    ck_assert(sort_key_subject_replies(out, subject, strlen(subject)) == replies[_i].replies);
    g_string_free(out, TRUE);
}
END_TEST

START_TEST(test_sort_key__is_quick_with_any_subject)
{
    static const char *const pieces[] = {"[a]", "re:", "[fwd:", "(fwd)", " ", "[", "re [b]"};

    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        GString *subject = g_string_new(NULL);
        GString *out = g_string_new(NULL);

        for (int j = 0; j < 200000; j++)
            g_string_append(subject, pieces[i]);
        sort_key_subject(out, subject->str, subject->len);
        ck_assert_uint_le(out->len, SORT_KEY_MAX);
        g_string_free(out, TRUE);
        g_string_free(subject, TRUE);
    }
}
END_TEST

#define ENVELOPE                                                                                  \
    "(\"Mon, 01 Jan 2024 10:00:00 +0100\" {3}\r\n(\") ((\"=?utf-8?q?J=C3=BCrg?= \\\"x\\\"\" NIL " \
    "\"ju\" \"example.org\")(NIL NIL \"other\" \"b\")) NIL ((\"a)\" NIL \"b\" \"c\")) "           \
    "((NIL NIL \"Group\" NIL)(NIL NIL \"m\" \"n\")) ((NIL NIL {1}\r\n\"\r\"h\")) NIL NIL "        \
    "\"<1@x>\")"

static const struct {
    const char *envelope;
    enum envelope_field list;
    bool display;
    const char *key;
} addresses[] = {
    {ENVELOPE, ENVELOPE_FROM, false, "JU"},
    {ENVELOPE, ENVELOPE_FROM, true, "JU\xcc\x88RG \"X\""},
    {ENVELOPE, ENVELOPE_SENDER, false, ""},
    {ENVELOPE, ENVELOPE_REPLY_TO, true, "A)"},
    {ENVELOPE, ENVELOPE_TO, false, "GROUP"},
    {ENVELOPE, ENVELOPE_TO, true, "GROUP"},
    {ENVELOPE, ENVELOPE_BCC, false, ""},
    {"(NIL NIL ((\"\" NIL \"u\" \"Host\")) NIL NIL NIL NIL NIL NIL NIL)", ENVELOPE_FROM, true,
     "U@HOST"},
    {"(NIL NIL ((NIL NIL \"u\" \"Host\")) NIL NIL NIL NIL NIL NIL NIL)", ENVELOPE_FROM, false, "U"},
    {"", ENVELOPE_FROM, false, ""},
    {"(NIL NIL ((NIL NIL \"u", ENVELOPE_FROM, false, ""},
    {"(NIL {99}\r\nx", ENVELOPE_FROM, false, ""},
};

START_TEST(test_sort_key__is_the_first_address)
{
    struct summary_text envelope = {addresses[_i].envelope, strlen(addresses[_i].envelope)};
    GString *out = g_string_new(NULL);

    sort_key_address(out, envelope, addresses[_i].list, addresses[_i].display);
    ck_assert_str_eq(out->str, addresses[_i].key);
    g_string_free(out, TRUE);
}
END_TEST

/* Cut anywhere, it is read as far as it goes and no further. */
START_TEST(test_sort_key__reads_no_further_than_there_is)
{
    for (size_t length = 0; length <= strlen(ENVELOPE); length++) {
        char *cut = g_memdup2(ENVELOPE, length + 1);
        struct summary_text envelope = {cut, length};
        GString *out = g_string_new(NULL);
        int64_t seconds;

        for (enum envelope_field list = ENVELOPE_FROM; list <= ENVELOPE_BCC; list++)
            sort_key_address(out, envelope, list, true);
        sort_key_date(&seconds, envelope);
        g_string_free(out, TRUE);
        g_free(cut);
    }
}
END_TEST

static const struct {
    const char *envelope;
    bool known;
    int64_t seconds;
} dates[] = {
    {ENVELOPE, true, 1704099600},
    {"({31}\r\nMon, 01 Jan 2024 10:00:00 -0100 NIL)", true, 1704106800},
    {"(NIL NIL)", false, 0},
    {"(\"garbage\" NIL)", false, 0},
    {"", false, 0},
};

START_TEST(test_sort_key__is_the_date_in_its_zone)
{
    struct summary_text envelope = {dates[_i].envelope, strlen(dates[_i].envelope)};
    int64_t seconds = 0;

    ck_assert(sort_key_date(&seconds, envelope) == dates[_i].known);
    ck_assert(!dates[_i].known || seconds == dates[_i].seconds);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sort_key");
    TCase *cases = tcase_create("sort_key");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(cases, test_sort_key__takes_what_replies_add_from_a_subject, 0,
                        G_N_ELEMENTS(subjects));
    tcase_add_loop_test(cases, test_sort_key__knows_a_reply_by_its_subject, 0,
                        G_N_ELEMENTS(replies));
    tcase_add_test(cases, test_sort_key__is_quick_with_any_subject);
    tcase_add_loop_test(cases, test_sort_key__is_the_first_address, 0, G_N_ELEMENTS(addresses));
    tcase_add_test(cases, test_sort_key__reads_no_further_than_there_is);
    tcase_add_loop_test(cases, test_sort_key__is_the_date_in_its_zone, 0, G_N_ELEMENTS(dates));
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
