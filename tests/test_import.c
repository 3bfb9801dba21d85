#include <check.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "server/import_maildir.h"
#include "server/import_mbox.h"
#include "store/snapshot.h"

/* Everything that was handed on, as text: one line a message. */
struct record {
    GString *text;
    unsigned messages;
    unsigned stop_after; /* 0: never */
};

static bool on_mailbox(void *data, const char *mailbox)
{
    struct record *record = data;

    g_string_append_printf(record->text, "[%s]", mailbox);
    return true;
}

static bool on_message(void *data, const struct import_message *message)
{
    struct record *record = data;

    g_string_append_c(record->text, '<');
    g_string_append_len(record->text, message->data, (gssize)message->length);
    g_string_append_printf(record->text, "|%x|%" G_GINT64_FORMAT "%+d", message->flags,
                           message->date, message->zone);
    for (unsigned i = 0; message->keywords != NULL && i + 1 < message->keywords->len; i++)
        g_string_append_printf(record->text, "|%s",
                               (const char *)g_ptr_array_index(message->keywords, i));
    g_string_append_c(record->text, '>');
    record->messages++;
    return record->stop_after == 0 || record->messages < record->stop_after;
}

static void on_skipped(void *data, const char *what)
{
    struct record *record = data;

    (void)what;
    g_string_append(record->text, "{skipped}");
}

static struct import_sink sink_of(struct record *record)
{
    return (struct import_sink){
        .data = record, .mailbox = on_mailbox, .message = on_message, .skipped = on_skipped};
}

START_TEST(mbox_messages)
{
    static const struct {
        const char *name;
        const char *mbox;
        const char *expected; /* NULL: refused */
    } cases[] = {
        {"empty", "", "[]"},
        {"no mbox", "Subject: x\n\ny\n", NULL},
        {"one", "From a Thu Feb  4 05:06:07 2021\nSubject: x\n\ny\n",
         "[]<Subject: x\n\ny\n|0|1612415167+0>"},
        {"separating line is not the message's",
         "From a Thu Feb  4 05:06:07 2021\nS: x\n\ny\n\nFrom b Thu Feb  4 05:06:08 2021\nS: z\n\n"
         "w\n\n",
         "[]<S: x\n\ny\n|0|1612415167+0><S: z\n\nw\n|0|1612415168+0>"},
        {"an own empty line stays", "From a Thu Feb  4 05:06:07 2021\nS: x\n\ny\n\n\n",
         "[]<S: x\n\ny\n\n|0|1612415167+0>"},
        {"From inside a paragraph is text",
         "From a Thu Feb  4 05:06:07 2021\nS: x\n\nhe said\nFrom now on\n",
         "[]<S: x\n\nhe said\nFrom now on\n|0|1612415167+0>"},
        {"unquotes one level",
         "From a Thu Feb  4 05:06:07 2021\nS: x\n\n>From y\n>>From z\n >From w\n>Fromage\n",
         "[]<S: x\n\nFrom y\n>From z\n >From w\n>Fromage\n|0|1612415167+0>"},
        {"CRLF", "From a Thu Feb  4 05:06:07 2021\r\nS: x\r\n\r\ny\r\n\r\nFrom b\r\nS: z\r\n",
         "[]<S: x\r\n\r\ny\r\n|0|1612415167+0><S: z\r\n|0|7+0>"},
        {"no final newline", "From a Thu Feb  4 05:06:07 2021\nS: x\n\ny",
         "[]<S: x\n\ny|0|1612415167+0>"},
        {"no line end at all", "From a", "[]<|0|7+0>"},
        {"status", "From a\nStatus: RO\nX-Status: AFTD\nDate: Thu, 4 Feb 2021 05:06:07 +0100\n\n",
         "[]<Status: RO\nX-Status: AFTD\nDate: Thu, 4 Feb 2021 05:06:07 +0100\n"
         "|1f|1612411567+60>"},
        {"keywords", "From a\nX-Keywords: one, two\n  $three\n\nb\n",
         "[]<X-Keywords: one, two\n  $three\n\nb\n|0|7+0|one|two|$three>"},
        {"status in the body is text", "From a\nS: x\n\nStatus: R\n",
         "[]<S: x\n\nStatus: R\n|0|7+0>"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct record record = {.text = g_string_new(NULL)};
        struct import_sink sink = sink_of(&record);
        char *problem = NULL;
        bool done = import_mbox(cases[i].mbox, strlen(cases[i].mbox), 7, &sink, &problem);

        ck_assert_msg(done == (cases[i].expected != NULL), "%s: %s", cases[i].name, problem);
        ck_assert(done == (problem == NULL));
        if (done)
            ck_assert_msg(strcmp(record.text->str, cases[i].expected) == 0, "%s: %s", cases[i].name,
                          record.text->str);
        g_free(problem);
        g_string_free(record.text, TRUE);
    }
}
END_TEST

START_TEST(mbox_cut_anywhere_never_reads_beyond)
{
    static const char mbox[] = "From a Thu Feb  4 05:06:07 2021\nStatus: R\nX-Keywords: k\n\n"
                               ">From x\n\nFrom b\nDate: Thu, 4 Feb 2021 05:06:07 +0100\n\ny\n\n";

    for (size_t length = 0; length < sizeof(mbox); length++) {
        struct record record = {.text = g_string_new(NULL)};
        struct import_sink sink = sink_of(&record);
        char *copy = g_memdup2(mbox, MAX(length, 1));
        char *problem = NULL;
        bool done = import_mbox(copy, length, 7, &sink, &problem);

        ck_assert(done == (length == 0 || length >= 5));
        g_free(problem);
        g_free(copy);
        g_string_free(record.text, TRUE);
    }
}
END_TEST

START_TEST(mbox_stops_when_the_sink_says_so)
{
    static const char mbox[] = "From a\nS: x\n\n\nFrom b\nS: y\n\n\nFrom c\nS: z\n";
    struct record record = {.text = g_string_new(NULL), .stop_after = 2};
    struct import_sink sink = sink_of(&record);
    char *problem = NULL;

    ck_assert(!import_mbox(mbox, strlen(mbox), 7, &sink, &problem));
    ck_assert_ptr_null(problem);
    ck_assert_uint_eq(record.messages, 2);
    g_string_free(record.text, TRUE);
}
END_TEST

START_TEST(mbox_dates)
{
    static const struct {
        const char *line;
        int64_t seconds; /* -1: none */
        int zone;
    } cases[] = {
        {"From joe@example.org Thu Feb  4 05:06:07 2021", 1612415167, 0},
        {"From joe@example.org  Thu Feb 04 05:06:07 2021", 1612415167, 0},
        {"From joe@example.org Thu Feb  4 06:06:07 2021 +0100", 1612415167, 60},
        {"From joe@example.org Thu Feb  4 06:06:07 +0100 2021", 1612415167, 60},
        {"From joe@example.org Thu Feb  4 05:06:07 UTC 2021", 1612415167, 0},
        {"From Joe of the Farm Thu Feb  4 05:06:07 2021", 1612415167, 0},
        {"From - Thu Feb  4 05:06 2021", 1612415160, 0},
        {"From joe@example.org Thu Feb 31 05:06:07 2021", -1, 0},
        {"From joe@example.org", -1, 0},
        {"From ", -1, 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        int64_t seconds = -1;
        int16_t zone = 0;
        bool found = import_mbox_date(&seconds, &zone, cases[i].line, strlen(cases[i].line));

        ck_assert_msg(found == (cases[i].seconds >= 0), "%s", cases[i].line);
        if (found) {
            ck_assert_msg(seconds == cases[i].seconds, "%s", cases[i].line);
            ck_assert_int_eq(zone, cases[i].zone);
        }
    }
}
END_TEST

START_TEST(crlf_touches_bare_line_feeds_only)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"", ""},         {"a", "a"},           {"a\n", "a\r\n"},         {"\n", "\r\n"},
        {"\r\n", "\r\n"}, {"\n\n", "\r\n\r\n"}, {"\r\n\n", "\r\n\r\n"},   {"a\rb", "a\rb"},
        {"\r", "\r"},     {"a\r", "a\r"},       {"a\r\r\nb", "a\r\r\nb"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GString *out = g_string_new(NULL);

        import_crlf(out, cases[i].in, strlen(cases[i].in));
        ck_assert_str_eq(out->str, cases[i].out);
        g_string_free(out, TRUE);
    }
}
END_TEST

/* --- Maildir --- */

static char maildir[64];

static void maildir_setup(void)
{
    snprintf(maildir, sizeof(maildir), "%s", "/tmp/test-import-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(maildir));
}

static const char *const maildir_directories[] = {
    "cur", "new", "tmp", ".A", ".A/cur", ".A/new", ".A.B&AOk-", ".A.B&AOk-/cur", ".no"};

static const struct {
    const char *name;
    const char *text;
    time_t time;
} maildir_files[] = {
    {"cur/200.a.host:2,FRS", "two\n", 20},
    {"cur/100.a.host:2,", "one", 10},
    {"new/150.b.host", "", 15},
    {"tmp/1.x", "never", 1},
    {".A/dovecot-keywords", "0 work\n1 $Label1\nbad\n", 0},
    {".A/cur/9.c.host:2,DPTab", "three\r\n", 30},
    {".A.B&AOk-/cur/1.d:2,z", "four", 40},
};

static void maildir_teardown(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(maildir_files); i++) {
        char *name = g_strdup_printf("%s/%s", maildir, maildir_files[i].name);

        unlink(name);
        g_free(name);
    }
    for (size_t i = G_N_ELEMENTS(maildir_directories); i > 0; i--) {
        char *name = g_strdup_printf("%s/%s", maildir, maildir_directories[i - 1]);

        rmdir(name);
        g_free(name);
    }
    rmdir(maildir);
}

static void fill_maildir(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(maildir_directories); i++) {
        char *name = g_strdup_printf("%s/%s", maildir, maildir_directories[i]);

        ck_assert_int_eq(mkdir(name, 0700), 0);
        g_free(name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(maildir_files); i++) {
        char *name = g_strdup_printf("%s/%s", maildir, maildir_files[i].name);
        struct utimbuf times = {maildir_files[i].time, maildir_files[i].time};
        FILE *file = fopen(name, "w");

        ck_assert_ptr_nonnull(file);
        fputs(maildir_files[i].text, file);
        fclose(file);
        ck_assert_int_eq(utime(name, &times), 0);
        g_free(name);
    }
}

START_TEST(maildir_folders_flags_dates_and_order)
{
    struct record record = {.text = g_string_new(NULL)};
    struct import_sink sink = sink_of(&record);
    char *problem = NULL;

    fill_maildir();
    ck_assert_msg(import_maildir(maildir, &sink, &problem), "%s", problem);
    ck_assert_str_eq(record.text->str, "[]<one|0|10+0><|0|15+0><two\n|b|20+0>"
                                       "[A]<three\r\n|14|30+0|$Forwarded|work|$Label1>"
                                       "[A/B\xc3\xa9]<four|0|40+0>");
    g_string_free(record.text, TRUE);
}
END_TEST

START_TEST(a_directory_without_cur_is_no_maildir)
{
    struct record record = {.text = g_string_new(NULL)};
    struct import_sink sink = sink_of(&record);
    char *problem = NULL;

    ck_assert(!import_maildir(maildir, &sink, &problem));
    ck_assert_ptr_nonnull(strstr(problem, "not a Maildir"));
    ck_assert_str_eq(record.text->str, "");
    g_free(problem);
    g_string_free(record.text, TRUE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("import");
    TCase *mbox = tcase_create("mbox");
    TCase *directory = tcase_create("maildir");
    SRunner *runner;
    int failed;

    tcase_add_test(mbox, mbox_messages);
    tcase_add_test(mbox, mbox_cut_anywhere_never_reads_beyond);
    tcase_add_test(mbox, mbox_stops_when_the_sink_says_so);
    tcase_add_test(mbox, mbox_dates);
    tcase_add_test(mbox, crlf_touches_bare_line_feeds_only);
    suite_add_tcase(suite, mbox);
    tcase_add_checked_fixture(directory, maildir_setup, maildir_teardown);
    tcase_add_test(directory, maildir_folders_flags_dates_and_order);
    tcase_add_test(directory, a_directory_without_cur_is_no_maildir);
    suite_add_tcase(suite, directory);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
