#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/mailbox_name.h"

struct name_case {
    const char *wire;
    const char *name;
};

static const struct name_case round_trips[] = {
    {"INBOX", "INBOX"},
    {"Sent Items", "Sent Items"},
    {"", ""},
    {"Tom &- Jerry", "Tom & Jerry"},
    {"&-&-", "&&"},
    {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
    {"p&AOQA5A-", "p\xc3\xa4\xc3\xa4"},
    {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
     "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
    {"&2D3eAA-", "\xf0\x9f\x98\x80"},
    {"&AOQ-&-&AOQ-", "\xc3\xa4&\xc3\xa4"},
    {"a&AOQ-", "a\xc3\xa4"},
};

START_TEST(test_mailbox_name__round_trips)
{
    const struct name_case *c = &round_trips[_i];
    char *name = NULL;
    ck_assert(mailbox_name_decode(&name, c->wire, strlen(c->wire), false));
    ck_assert_str_eq(name, c->name);
    GString *wire = g_string_new("x");
    mailbox_name_encode(wire, name, false);
    ck_assert_str_eq(wire->str + 1, c->wire);
    g_string_assign(wire, "");
    mailbox_name_encode(wire, name, true);
    ck_assert_str_eq(wire->str, c->name);
    g_string_free(wire, TRUE);
    g_free(name);
}
END_TEST

static const char *const malformed[] = {
    "&",          "a&AOQ",                 /* no end of the shift */
    "&AOQ-&AOQ-",                          /* two shifts where one would do */
    "&AGE-",                               /* an ASCII letter in base64 */
    "&ACY-",                               /* '&' in base64 */
    "&AOR-",                               /* padding bits not zero */
    "&AOQA-",                              /* half a unit */
    "&AOQAA-",    "&A-",          "&2D0-", /* a lone high surrogate */
    "&3gA-",                               /* a lone low one */
    "&2D0A5A-",                            /* a high surrogate before something else */
    "&AO=-",                               /* not the alphabet */
    "&AAo-",                               /* a line feed in base64 */
    "&AH8-",                               /* DEL */
    "&AIU-",                               /* a C1 control */
    "&AAA-",                               /* NUL */
    "a\tb",       "a\x7f",        "a\xc3", /* broken UTF-8 */
    "\xc0\xaf",   "\xed\xa0\x80",
};

START_TEST(test_mailbox_name__refuses_what_is_malformed)
{
    char *name = NULL;
    ck_assert(!mailbox_name_decode(&name, malformed[_i], strlen(malformed[_i]), false));
    ck_assert_ptr_null(name);
}
END_TEST

START_TEST(test_mailbox_name__refuses_nul)
{
    char *name = NULL;
    ck_assert(!mailbox_name_decode(&name, "a\0b", 3, false));
    ck_assert(!mailbox_name_decode(&name, "a\0", 2, true));
}
END_TEST

START_TEST(test_mailbox_name__takes_raw_utf8)
{
    char *name = NULL;
    ck_assert(mailbox_name_decode(&name, "\xc3\xa4", 2, false));
    ck_assert_str_eq(name, "\xc3\xa4");
    g_free(name);
    ck_assert(mailbox_name_decode(&name, "&AOQ-\xc3\xa4", 7, true));
    ck_assert_str_eq(name, "&AOQ-\xc3\xa4");
    g_free(name);
    name = NULL;
    ck_assert(!mailbox_name_decode(&name, "\xc3", 1, true));
}
END_TEST

static const struct name_case inboxes[] = {
    {"inbox", "INBOX"},     {"InBoX/a/inbox", "INBOX/a/inbox"},
    {"inboxes", "inboxes"}, {"a/inbox", "a/inbox"},
    {"inbox/", "INBOX/"},
};

START_TEST(test_mailbox_name__writes_inbox_in_upper_case)
{
    char *name = NULL;
    ck_assert(mailbox_name_decode(&name, inboxes[_i].wire, strlen(inboxes[_i].wire), false));
    ck_assert_str_eq(name, inboxes[_i].name);
    g_free(name);
}
END_TEST

START_TEST(test_mailbox_name__round_trips_any_utf8)
{
    GString *text = g_string_new(NULL);
    GString *wire = g_string_new(NULL);
    uint32_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        g_string_truncate(text, 0);
        for (int i = 0; i < round % 12; i++) {
            seed = seed * 1664525 + 1013904223;
            gunichar c = (seed >> 8) % (seed & 0x80 ? 0x7f : seed & 0x40 ? 0x800 : 0x110000);
            if (c >= 0x20 && !(c >= 0x7f && c < 0xa0) && !(c >= 0xd800 && c < 0xe000)) {
                g_string_append_unichar(text, c);
            }
        }
        g_string_truncate(wire, 0);
        mailbox_name_encode(wire, text->str, false);
        char *name = NULL;
        ck_assert_msg(mailbox_pattern_decode(&name, wire->str, wire->len, false), "%s", wire->str);
        ck_assert_str_eq(name, text->str);
        for (size_t i = 0; i < wire->len; i++) {
            ck_assert(wire->str[i] >= ' ' && wire->str[i] < 0x7f);
        }
        g_free(name);
    }
    g_string_free(text, TRUE);
    g_string_free(wire, TRUE);
}
END_TEST

static const struct {
    const char *pattern;
    const char *name;
    bool matches;
} patterns[] = {
    {"*", "a/b/c", true},
    {"%", "a", true},
    {"%", "a/b", false},
    {"%/%", "a/b", true},
    {"%/%", "a", false},
    {"", "", true},
    {"", "a", false},
    {"*", "", true},
    {"a", "a", true},
    {"a", "A", false},
    {"a*", "a", true},
    {"a%", "a", true},
    {"*b", "aab", true},
    {"*b", "aabc", false},
    {"a*b*c", "a/b/b/xc", true},
    {"%3/%4", "test3/test4", true},
    {"%t*4", "test3/test4", true},
    {"%t*4", "x/test4", false},
    {"*/%", "a/b/c", true},
    {"*%", "a/b", true},
    {"%*", "a/b", true},
    {"%%%", "abc", true},
    {"%%%", "a/c", false},
    {"*a%b", "a/ab/axb", true},
    {"*a%b", "axb/c", false},
    {"%a%/b*", "xxaxx/bcd", true},
    {"inbox", "INBOX", true},
    {"InB%", "INBOX", true},
    {"inbox/%", "INBOX/a", true},
    {"inbox/A", "INBOX/a", false},
    {"inbox", "INBOXES", false},
    {"*ox", "INBOX", true},
    {"\xc3\xa4%", "\xc3\xa4\xc3\xb6", true},
    {"a/", "a", false},
    {"a/%", "a/", true},
};

START_TEST(test_mailbox_pattern__matches)
{
    ck_assert_int_eq(mailbox_pattern_match(patterns[_i].pattern, patterns[_i].name),
                     patterns[_i].matches);
}
END_TEST

/* The definition, exponential. */
static bool naive_match(const char *pattern, const char *name)
{
    if (*pattern == '\0') {
        return *name == '\0';
    }
    if (*pattern == '*' || *pattern == '%') {
        if (naive_match(pattern + 1, name)) {
            return true;
        }
        return *name != '\0' && (*pattern == '*' || *name != '/') && naive_match(pattern, name + 1);
    }
    return *pattern == *name && naive_match(pattern + 1, name + 1);
}

START_TEST(test_mailbox_pattern__agrees_with_the_definition)
{
    uint32_t seed = 3;
    for (int round = 0; round < 200000; round++) {
        char pattern[9] = "";
        char name[9] = "";
        for (int i = 0; i < 8; i++) {
            seed = seed * 1664525 + 1013904223;
            pattern[i] = "ab/*%*%"[(seed >> 16) % 7];
            name[i] = "aab/"[(seed >> 24) % 4];
        }
        pattern[round % 9] = '\0';
        name[round / 9 % 9] = '\0';
        ck_assert_msg(mailbox_pattern_match(pattern, name) == naive_match(pattern, name), "%s %s",
                      pattern, name);
    }
}
END_TEST

START_TEST(test_mailbox_pattern__is_never_exponential)
{
    GString *pattern = g_string_new(NULL);
    GString *name = g_string_new(NULL);
    for (int i = 0; i < 1000; i++) {
        g_string_append(pattern, i % 2 ? "a*" : "a%");
        g_string_append(name, "aa");
    }
    g_string_append(pattern, "b");
    for (int i = 0; i < 10; i++) {
        ck_assert(!mailbox_pattern_match(pattern->str, name->str));
    }
    g_string_free(pattern, TRUE);
    g_string_free(name, TRUE);
}
END_TEST

START_TEST(test_mailbox_pattern__decodes_and_keeps_wildcards)
{
    char *pattern = NULL;
    ck_assert(mailbox_pattern_decode(&pattern, "inbox/&AOQ-%*", 13, false));
    ck_assert_str_eq(pattern, "inbox/\xc3\xa4%*");
    g_free(pattern);
    pattern = NULL;
    ck_assert(!mailbox_pattern_decode(&pattern, "&AOQ*", 5, false));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mailbox_name");
    TCase *tc = tcase_create("mailbox_name");
    tcase_add_loop_test(tc, test_mailbox_name__round_trips, 0, G_N_ELEMENTS(round_trips));
    tcase_add_loop_test(tc, test_mailbox_name__refuses_what_is_malformed, 0,
                        G_N_ELEMENTS(malformed));
    tcase_add_test(tc, test_mailbox_name__refuses_nul);
    tcase_add_test(tc, test_mailbox_name__takes_raw_utf8);
    tcase_add_loop_test(tc, test_mailbox_name__writes_inbox_in_upper_case, 0,
                        G_N_ELEMENTS(inboxes));
    tcase_add_test(tc, test_mailbox_name__round_trips_any_utf8);
    tcase_add_loop_test(tc, test_mailbox_pattern__matches, 0, G_N_ELEMENTS(patterns));
    tcase_add_test(tc, test_mailbox_pattern__agrees_with_the_definition);
    tcase_add_test(tc, test_mailbox_pattern__is_never_exponential);
    tcase_add_test(tc, test_mailbox_pattern__decodes_and_keeps_wildcards);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
