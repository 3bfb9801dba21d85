/* SEARCH finds what a plain look at each message finds, on mailboxes and with keys at random. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/session_memory.h"

enum { MESSAGES = 230, SEARCHES = 400, DEPTH = 4 };

static const char *const words[] = {"alpha", "Beta", "gamma", "j\xc3\xbcrgen", "one two"};
static const char *const flags[] = {"ANSWERED", "FLAGGED", "DELETED", "SEEN", "DRAFT"};

struct mail {
    unsigned uid;
    unsigned size;
    unsigned flags;
    bool keyword;
    unsigned subject; /* of words */
    unsigned from;
    unsigned body;
    unsigned day; /* of January 2024 in its Date field; 0: none */
};

static struct memory_server server;
static struct mail mails[MESSAGES];
static size_t count;
static uint32_t seed;

static unsigned below(unsigned end)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 12) % end;
}

static void run(const char *text)
{
    char *path = g_strdup_printf("%s/script.imap", server.directory);
    struct script_transport transport = memory_server_transport(&server);
    GString *report = g_string_new(NULL);

    ck_assert(g_file_set_contents(path, text, -1, NULL));
    enum script_result result = script_run(path, &transport, report);
    ck_assert_msg(result == SCRIPT_PASSED, "%s", report->str);
    g_string_free(report, TRUE);
    remove(path);
    g_free(path);
}

/* Appends a field or a line with its line end, which counts two octets on the way. */
static void add_line(GString *script, struct mail *mail, const char *name, const char *value)
{
    mail->size += (unsigned)(strlen(name) + strlen(value) + 2);
    g_string_append_printf(script, "%s%s\n", name, value);
}

static void add_message(GString *script, struct mail *mail, unsigned number)
{
    char date[40];

    *mail = (struct mail){.uid = number + 1,
                          .flags = below(32),
                          .keyword = below(3) == 0,
                          .subject = below(G_N_ELEMENTS(words)),
                          .from = below(G_N_ELEMENTS(words)),
                          .body = below(G_N_ELEMENTS(words)),
                          .day = below(4) == 0 ? 0 : 1 + below(28)};
    snprintf(date, sizeof(date), "%u Jan 2024 12:00:00 +0000", mail->day);
    g_string_append(script, "message m\n");
    add_line(script, mail, "Subject: ", words[mail->subject]);
    add_line(script, mail, "From: ", words[mail->from]);
    if (mail->day != 0) {
        add_line(script, mail, "Date: ", date);
    }
    add_line(script, mail, "X-Word: ", words[mail->body]);
    add_line(script, mail, "", "");
    add_line(script, mail, "", words[mail->body]);
    for (unsigned i = below(5); i > 0; i--) {
        add_line(script, mail, "", "some more text that is found by nobody");
    }
    g_string_append(script, ".\nappend A INBOX m (\\Seen");
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if ((mail->flags >> i & 1) != 0) {
            g_string_append_printf(script, " \\%s", flags[i]);
        }
    }
    mail->flags |= 1 << 3;
    g_string_append(script, mail->keyword ? " word)\n" : ")\n");
}

/* Some messages go, so that UIDs and numbers differ, and some become unseen. */
static void make_mailbox(void)
{
    GString *script = g_string_new("login A alice\n");
    size_t kept = 0;

    for (unsigned i = 0; i < MESSAGES; i++) {
        add_message(script, &mails[i], i);
    }
    g_string_append(script, "A: s SELECT INBOX\nA> s OK $ANY\n");
    for (unsigned i = 0; i < MESSAGES; i++) {
        if (i % 5 == 2) {
            g_string_append_printf(
                script, "A: t UID STORE %u -FLAGS.SILENT (\\Seen)\nA> t OK $ANY\n", i + 1);
            mails[i].flags &= ~(1u << 3);
        }
    }
    g_string_append(script, "A: u UID STORE 1:* -FLAGS.SILENT (\\Deleted)\nA> u OK $ANY\n"
                            "A: v UID STORE 20:31,150 +FLAGS.SILENT (\\Deleted)\nA> v OK $ANY\n"
                            "A: w EXPUNGE\nA> w OK $ANY\n");
    for (unsigned i = 0; i < MESSAGES; i++) {
        mails[i].flags &= ~(1u << 2);
        if (!((i + 1 >= 20 && i + 1 <= 31) || i + 1 == 150)) {
            mails[kept++] = mails[i];
        }
    }
    count = kept;
    run(script->str);
    g_string_free(script, TRUE);
}

/* Writes a key and sets which messages it holds for. */
static void make_key(GString *out, bool holds[MESSAGES], unsigned depth)
{
    bool other[MESSAGES];
    unsigned kind = below(depth == 0 ? 10 : 14);
    unsigned a = below(G_N_ELEMENTS(words));
    unsigned low = 1 + below(MESSAGES);
    unsigned high = low + below(40);
    size_t from = out->len;

    switch (kind) {
    case 0:
        g_string_append_printf(out, "%s", flags[a]);
        break;
    case 1:
        g_string_append_printf(out, "UN%s", flags[a]);
        break;
    case 2:
        g_string_append(out, a % 2 == 0 ? "KEYWORD word" : "UNKEYWORD word");
        break;
    case 3:
        g_string_append_printf(out, "UID %u:%u,7", low, high);
        break;
    case 4:
        low = 1 + below((unsigned)count);
        high = MIN(high, (unsigned)count);
        g_string_append_printf(out, "%u:%u", low, high);
        break;
    case 5:
        g_string_append_printf(out, "%s %u", a % 2 == 0 ? "LARGER" : "SMALLER", 60 + low);
        break;
    case 6:
        g_string_append_printf(out, "SUBJECT \"%s\"", words[a]);
        break;
    case 7:
        g_string_append_printf(out, "FROM \"%s\"", words[a]);
        break;
    case 8:
        g_string_append_printf(out, "%s \"%s\"", low % 2 == 0 ? "BODY" : "HEADER X-Word", words[a]);
        break;
    case 9:
        g_string_append_printf(out, "%s %u-Jan-2024", a % 2 == 0 ? "SENTBEFORE" : "SENTSINCE",
                               1 + low % 28);
        break;
    case 10:
        g_string_append(out, "NOT ");
        make_key(out, other, depth - 1);
        break;
    case 11:
        g_string_append(out, "OR ");
        make_key(out, holds, depth - 1);
        g_string_append_c(out, ' ');
        make_key(out, other, depth - 1);
        break;
    default:
        g_string_append_c(out, '(');
        make_key(out, holds, depth - 1);
        g_string_append_c(out, ' ');
        make_key(out, other, depth - 1);
        g_string_append_c(out, ')');
        break;
    }
    for (size_t i = 0; i < count; i++) {
        const struct mail *mail = &mails[i];
        unsigned number = (unsigned)i + 1;
        bool flag = (mail->flags >> a & 1) != 0;
        unsigned day = 1 + low % 28;

        holds[i] = kind == 0   ? flag
                   : kind == 1 ? !flag
                   : kind == 2 ? mail->keyword == (a % 2 == 0)
                   : kind == 3 ? (mail->uid >= low && mail->uid <= high) || mail->uid == 7
                   : kind == 4 ? number >= MIN(low, high) && number <= MAX(low, high)
                   : kind == 5 ? (a % 2 == 0 ? mail->size > 60 + low : mail->size < 60 + low)
                   : kind == 6 ? mail->subject == a
                   : kind == 7 ? mail->from == a
                   : kind == 8 ? mail->body == a
                   : kind == 9 ? mail->day != 0 && (a % 2 == 0 ? mail->day < day : mail->day >= day)
                   : kind == 10 ? !other[i]
                   : kind == 11 ? holds[i] || other[i]
                                : holds[i] && other[i];
    }
    ck_assert_uint_gt(out->len, from);
}

START_TEST(search_finds_what_a_plain_look_finds)
{
    bool holds[MESSAGES];
    GString *script = g_string_new(NULL);

    seed = (uint32_t)_i + 1;
    memory_server_init(&server);
    make_mailbox();
    g_string_append(script, "login A alice\nA: s SELECT INBOX\nA> s OK $ANY\n");
    for (int i = 0; i < SEARCHES; i++) {
        bool uid = below(2) == 0;
        size_t found = 0;

        g_string_append(script,
                        uid ? "A: x UID SEARCH CHARSET UTF-8 " : "A: x SEARCH CHARSET UTF-8 ");
        make_key(script, holds, below(DEPTH));
        g_string_append(script, "\nA< * SEARCH");
        for (size_t k = 0; k < count; k++) {
            if (holds[k]) {
                g_string_append_printf(script, " %u", uid ? mails[k].uid : (unsigned)k + 1);
                found++;
            }
        }
        g_string_append(script, "\nA< x OK Search $ANY\n");
        ck_assert_uint_le(found, count);
    }
    run(script->str);
    g_string_free(script, TRUE);
    memory_server_release(&server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session_search");
    TCase *tests = tcase_create("search");

    tcase_set_timeout(tests, 200);
    tcase_add_loop_test(tests, search_finds_what_a_plain_look_finds, 0, 4);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
