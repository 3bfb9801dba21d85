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
    char mailbox[64];    /* entered last */
    uint64_t total;
    uint64_t done;
    uint32_t there_below; /* these UIDs are there already */
    uint32_t put_off;     /* this one can't be had */
};

static void on_total(void *data, uint64_t total, enum import_unit unit)
{
    struct record *record = data;

    (void)unit;
    record->total = total;
}

static void on_progress(void *data, uint64_t done)
{
    struct record *record = data;

    ck_assert_uint_ge(done, record->done);
    record->done = done;
}

static bool on_mailbox(void *data, const struct import_mailbox *mailbox)
{
    struct record *record = data;

    g_strlcpy(record->mailbox, mailbox->name, sizeof(record->mailbox));
    g_string_append_printf(record->text, "[%s", mailbox->name);
    if (mailbox->uid_validity != 0)
        g_string_append_printf(record->text, " %u/%u", mailbox->uid_validity, mailbox->uid_next);
    g_string_append_c(record->text, ']');
    return true;
}

static enum import_wish on_wish(void *data, const struct import_message *message)
{
    const struct record *record = data;

    ck_assert_int_ge(message->date, 0);
    ck_assert_ptr_nonnull(message->keywords);
    return message->uid == record->put_off      ? IMPORT_LATER
           : message->uid < record->there_below ? IMPORT_THERE
                                                : IMPORT_WANTED;
}

static void on_subscribed(void *data, const char *mailbox)
{
    struct record *record = data;

    g_string_append_printf(record->text, "+%s", mailbox);
}

static bool on_message(void *data, const struct import_message *message)
{
    struct record *record = data;

    g_string_append_c(record->text, '<');
    if (message->uid != 0)
        g_string_append_printf(record->text, "%u:", message->uid);
    if (strcmp(message->mailbox, record->mailbox) != 0 || message->exact)
        g_string_append_printf(record->text, "@%s%s ", message->mailbox, message->exact ? "!" : "");
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
        .data = record,
        .total = on_total,
        .progress = on_progress,
        .mailbox = on_mailbox,
        .wish = on_wish,
        .message = on_message,
        .subscribed = on_subscribed,
        .skipped = on_skipped,
    };
}

static const struct import_mbox_options options;

static bool read_mbox(const char *data, size_t length, const struct import_mbox_options *how,
                      const struct import_sink *sink, char **problem)
{
    return import_mbox_part("", data, length, 7, 0, how, sink, problem);
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
        {"From at the beginning of a paragraph is text, too",
         "From a Thu Feb  4 05:06:07 2021\nS: x\n\nhe said\n\nFrom now on, no\nmore, it ends\n\n"
         "From b Thu Feb  4 05:06:07 2021\n\nno header\n",
         "[]<S: x\n\nhe said\n\nFrom now on, no\nmore, it ends\n|0|1612415167+0>"
         "<\nno header\n|0|1612415167+0>"},
        {"CRLF", "From a Thu Feb  4 05:06:07 2021\r\nS: x\r\n\r\ny\r\n\r\nFrom b\r\nS: z\r\n",
         "[]<S: x\r\n\r\ny\r\n|0|1612415167+0><S: z\r\n|0|7+0>"},
        {"no final newline", "From a Thu Feb  4 05:06:07 2021\nS: x\n\ny",
         "[]<S: x\n\ny|0|1612415167+0>"},
        {"no line end at all", "From a", "[]<|0|7+0>"},
        {"status", "From a\nStatus: RO\nX-Status: AFTD\nDate: Thu, 4 Feb 2021 05:06:07 +0100\n\n",
         "[]<Date: Thu, 4 Feb 2021 05:06:07 +0100\n|1f|1612411567+60>"},
        {"keywords", "From a\nA: b\nX-Keywords: one, two\n  $three\nC: d\n\nb\n",
         "[]<A: b\nC: d\n\nb\n|0|7+0|one|two|$three>"},
        {"a quoted line before and after the mbox's own fields",
         "From a\n>From x\nStatus: R\n>>From y\n\nb\n", "[]<From x\n>From y\n\nb\n|8|7+0>"},
        {"content length leads over From",
         "From a\nContent-Length: 21\nS: x\n\n>From y\n\nFrom z\nabc\n\n\nFrom b\nS: z\n\n",
         "[]<S: x\n\n>From y\n\nFrom z\nabc\n\n|0|7+0><S: z\n|0|7+0>"},
        {"content length to the end", "From a\nContent-Length: 8\n\n\nFrom z\n",
         "[]<\n\nFrom z\n|0|7+0>"},
        {"content length that leads nowhere", "From a\nContent-Length: 3\n\nabcdef\n\nFrom b\n\n",
         "[]<\nabcdef\n|0|7+0><|0|7+0>"},
        {"content length beyond the end", "From a\nContent-Length: 9999999999999\n\nab\n",
         "[]<\nab\n|0|7+0>"},
        {"UIDs",
         "From a\nX-IMAPbase: 1234567890 0000000012 $Junk\nX-UID: 5\nX-Keywords: $Junk\n\n1\n\n"
         "From a\nX-UID: 7\nStatus: RO\n\n2\n\nFrom a\nX-UID: 12\n\n3\n",
         "[ 1234567890/13]<5:\n1\n|0|7+0|$Junk><7:\n2\n|8|7+0><12:\n3\n|0|7+0>"},
        {"UIDs that are none come last, without",
         "From a\nX-IMAPbase: 1234567890 12\n\n1\n\nFrom a\nX-UID: 7\n\n2\n\n"
         "From a\nX-UID: 7\n\n3\n\nFrom a\nX-UID: 13\n\n4\n\nFrom a\nX-UID: 9\n\n5\n",
         "[ 1234567890/13]<7:\n2\n|0|7+0><9:\n5\n|0|7+0><\n1\n|0|7+0><\n3\n|0|7+0><\n4\n|0|7+0>"},
        {"UIDs without a UIDVALIDITY mean nothing", "From a\nX-UID: 7\n\n2\n", "[]<\n2\n|0|7+0>"},
        {"folder internal data is no message",
         "From MAILER-DAEMON Thu Feb  4 05:06:07 2021\nSubject: DON'T DELETE THIS MESSAGE -- "
         "FOLDER "
         "INTERNAL DATA\nX-IMAP: 1234567890 0000000001\nStatus: RO\n\nThis text.\n\n"
         "From a\nX-UID: 1\n\n1\n",
         "[ 1234567890/2]<1:\n1\n|0|7+0>"},
        {"bad bases", "From a\nX-IMAPbase: 99999999999 5\nX-UID: 1\n\n1\n", "[]<\n1\n|0|7+0>"},
        {"Thunderbird",
         "From - a\nX-Mozilla-Status: 1007\nX-Mozilla-Status2: 00000000\nX-Mozilla-Keys: $label1 "
         "junk              \nS: x\n\n1\n\nFrom - b\nX-Mozilla-Status: 0009\nS: y\n\n2\n\n"
         "From - c\nX-Mozilla-Status: 0000\n\n3\n",
         "[]<S: x\n\n1\n|b|7+0|$Forwarded|$label1|junk><\n3\n|0|7+0>"},
        {"status in the body is text", "From a\nS: x\n\nStatus: R\n",
         "[]<S: x\n\nStatus: R\n|0|7+0>"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct record record = {.text = g_string_new(NULL)};
        struct import_sink sink = sink_of(&record);
        char *problem = NULL;
        bool done = read_mbox(cases[i].mbox, strlen(cases[i].mbox), &options, &sink, &problem);

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
    static const char mbox[] = "From a Thu Feb  4 05:06:07 2021\nStatus: R\nX-Keywords: k\n"
                               "X-IMAPbase: 12 34 a\nX-UID: 5\nContent-Length: 8\n\n"
                               ">From x\n\nFrom b\nDate: Thu, 4 Feb 2021 05:06:07 +0100\n\ny\n\n";

    for (size_t length = 0; length < sizeof(mbox); length++) {
        struct record record = {.text = g_string_new(NULL)};
        struct import_sink sink = sink_of(&record);
        char *copy = g_memdup2(mbox, MAX(length, 1));
        char *problem = NULL;
        bool done = read_mbox(copy, length, &options, &sink, &problem);

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

    ck_assert(!read_mbox(mbox, strlen(mbox), &options, &sink, &problem));
    ck_assert_ptr_null(problem);
    ck_assert_uint_eq(record.messages, 2);
    g_string_free(record.text, TRUE);
}
END_TEST

START_TEST(mbox_quoting)
{
    static const char mbox[] = "From a\nS: x\n\n>From 1\n>>From 2\nFrom 3\n";
    static const char *const expected[] = {
        [IMPORT_MBOX_RD] = "[]<S: x\n\nFrom 1\n>From 2\nFrom 3\n|0|7+0>",
        [IMPORT_MBOX_O] = "[]<S: x\n\nFrom 1\n>>From 2\nFrom 3\n|0|7+0>",
        [IMPORT_MBOX_UNQUOTED] = "[]<S: x\n\n>From 1\n>>From 2\nFrom 3\n|0|7+0>",
    };

    for (int i = 0; i < 3; i++) {
        struct record record = {.text = g_string_new(NULL)};
        struct import_sink sink = sink_of(&record);
        struct import_mbox_options how = {.quoting = (enum import_mbox_quoting)i};
        char *problem = NULL;

        ck_assert(read_mbox(mbox, strlen(mbox), &how, &sink, &problem));
        ck_assert_str_eq(record.text->str, expected[i]);
        g_string_free(record.text, TRUE);
    }
}
END_TEST

START_TEST(mbox_keeps_its_own_fields_when_asked)
{
    static const char mbox[] = "From a\nStatus: R\nX-UID: 3\n\nb\n";
    struct record record = {.text = g_string_new(NULL)};
    struct import_sink sink = sink_of(&record);
    struct import_mbox_options how = {.keep_bytes = true};
    char *problem = NULL;

    ck_assert(read_mbox(mbox, strlen(mbox), &how, &sink, &problem));
    ck_assert_str_eq(record.text->str, "[]<Status: R\nX-UID: 3\n\nb\n|8|7+0>");
    g_string_free(record.text, TRUE);
}
END_TEST

START_TEST(mbox_resumes_by_uids)
{
    static const char mbox[] =
        "From a\nX-IMAPbase: 9 12\nX-UID: 1\n\n1\n\nFrom a\nX-UID: 2\n\n2\n\n"
        "From a\nX-UID: 3\n\n3\n\nFrom a\nX-UID: 4\n\n4\n";
    struct record record = {.text = g_string_new(NULL), .there_below = 3, .put_off = 3};
    struct import_sink sink = sink_of(&record);
    char *problem = NULL;

    ck_assert(read_mbox(mbox, strlen(mbox), &options, &sink, &problem));
    ck_assert_str_eq(record.text->str, "[ 9/13]<4:\n4\n|0|7+0><\n3\n|0|7+0>");
    g_string_free(record.text, TRUE);
}
END_TEST

START_TEST(takeout_goes_to_the_mailboxes_of_labels)
{
    static const char mbox[] =
        "From 1@xxx Thu Feb 04 05:06:07 +0000 2021\nX-GM-THRID: 1\n"
        "X-Gmail-Labels: =?UTF-8?Q?Work,Gr=C3=BC=C3=9Fe,Unread?=\nSubject: a\n\na\n\n"
        "From 2@xxx Thu Feb 04 05:06:08 +0000 2021\nX-Gmail-Labels: Starred,Opened\n\nb\n\n"
        "From 3@xxx Thu Feb 04 05:06:09 +0000 2021\nX-Gmail-Labels: Inbox,Sent,\"a, b\"\n\nc\n";
    static const char *const expected[] = {
        "<@Work Subject: a\n\na\n|0|1612415167+0><@Gr\xc3\xbc\xc3\x9f"
        "e Subject: a\n\na\n"
        "|0|1612415167+0><@Archive \nb\n|a|1612415168+0><\nc\n|8|1612415169+0>"
        "<@Sent \nc\n|8|1612415169+0><@a, b \nc\n|8|1612415169+0>",
        "<@Archive Subject: a\n\na\n|0|1612415167+0|Gr=C3=BC=C3=9F"
        "e|Work>"
        "<@Archive \nb\n|a|1612415168+0><@Sent \nc\n|8|1612415169+0|a,_b>",
    };

    for (int i = 0; i < 2; i++) {
        struct record record = {.text = g_string_new(NULL)};
        struct import_sink sink = sink_of(&record);
        struct import_mbox_options how = {.labels = true, .map = {.keywords = i == 1}};
        char *problem = NULL;

        ck_assert(read_mbox(mbox, strlen(mbox), &how, &sink, &problem));
        ck_assert_str_eq(record.text->str, expected[i]);
        ck_assert_uint_eq(record.done, strlen(mbox));
        g_string_free(record.text, TRUE);
    }
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

static const char *const maildir_directories[] = {"cur",          "new",
                                                  "tmp",          ".A",
                                                  ".A/cur",       ".A/new",
                                                  ".A.B&AOk-",    ".A.B&AOk-/cur",
                                                  ".no",          "Dir",
                                                  "Dir/x.y",      "Dir/x.y/cur",
                                                  ".dot\\2ename", ".dot\\2ename/cur",
                                                  ".bad&",        ".bad&/cur"};

static const struct {
    const char *name;
    const char *text;
    time_t time;
} maildir_files[] = {
    {"cur/200.a.host:2,FRS", "two\n", 20},
    {"cur/100.a.host,S=3:2,", "one", 10},
    {"new/150.b.host", "", 15},
    {"tmp/1.x", "never", 1},
    {"dovecot-uidlist", "3 V1275660208 N9 Gx\n4 :200.a.host\n6 W3 S2 :100.a.host,S=3:2,S\n", 0},
    {"subscriptions", "V\t2\n\nA\nA\tB&AOk-\nINBOX\nINBOX\tDir\tx.y\n&\n", 0},
    {".A/dovecot-keywords", "0 work\n1 $Label1\nbad\n", 0},
    {".A/cur/9.c.host:2,DPTab", "three\r\n", 30},
    {".A.B&AOk-/cur/1.d:2,z", "four", 40},
    {".A.B&AOk-/cur/2.gz", "\x1f\x8b\x08", 40},
    {".A.B&AOk-/dovecot-uidlist", "3 V7 N9\n4 :a\n4 :b\n", 0},
    {"Dir/x.y/cur/5", "five", 50},
    {".dot\\2ename/cur/6", "six", 60},
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
    ck_assert_str_eq(record.text->str,
                     "{skipped}[ 1275660208/9]<4:two\n|b|20+0><6:one|0|10+0><|0|15+0>"
                     "[A]<three\r\n|14|30+0|$Forwarded|work|$Label1>"
                     "[A/B\xc3\xa9 7/9]{skipped}<four|0|40+0>{skipped}"
                     "[dot.name]<six|0|60+0>[Dir/x.y]<five|0|50+0>"
                     "+A+A/B\xc3\xa9++Dir/x.y{skipped}");
    ck_assert_uint_eq(record.total, 8);
    ck_assert_uint_eq(record.done, 8);
    g_string_free(record.text, TRUE);
}
END_TEST

START_TEST(maildir_resumes_by_uids_and_knows_its_own_exports)
{
    struct record record = {.text = g_string_new(NULL), .there_below = 5, .put_off = 6};
    struct import_sink sink = sink_of(&record);
    char *mark = g_strdup_printf("%s/" IMPORT_MAILDIR_EXACT, maildir);
    char *problem = NULL;
    FILE *file;

    fill_maildir();
    file = fopen(mark, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    record.stop_after = 2;
    ck_assert(!import_maildir(maildir, &sink, &problem));
    ck_assert_ptr_null(problem);
    ck_assert_str_eq(record.text->str, "{skipped}[ 1275660208/9]<@! |0|15+0><@! one|0|10+0>");
    unlink(mark);
    g_free(mark);
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
    tcase_add_test(mbox, mbox_quoting);
    tcase_add_test(mbox, mbox_keeps_its_own_fields_when_asked);
    tcase_add_test(mbox, mbox_resumes_by_uids);
    tcase_add_test(mbox, takeout_goes_to_the_mailboxes_of_labels);
    tcase_add_test(mbox, mbox_dates);
    tcase_add_test(mbox, crlf_touches_bare_line_feeds_only);
    suite_add_tcase(suite, mbox);
    tcase_add_checked_fixture(directory, maildir_setup, maildir_teardown);
    tcase_add_test(directory, maildir_folders_flags_dates_and_order);
    tcase_add_test(directory, maildir_resumes_by_uids_and_knows_its_own_exports);
    tcase_add_test(directory, a_directory_without_cur_is_no_maildir);
    suite_add_tcase(suite, directory);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
