/* Sessions that look back: what they are shown is what was told then, on histories at random; a
 * name that somebody has already stays his; a long history keeps nobody waiting. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/past.h"
#include "tests/session_memory.h"

enum { CLIENT = 0, STEPS = 120 };

static struct memory_server server;
static struct script_transport transport;
static unsigned seed;

static void set_up(void)
{
    memory_server_init(&server);
    transport = memory_server_transport(&server);
}

static void tear_down(void)
{
    GString *report = g_string_new(NULL);

    ck_assert_msg(memory_server_verify(&server, report), "%s", report->str);
    g_string_free(report, TRUE);
    memory_server_release(&server);
}

static unsigned chance(unsigned count)
{
    return (unsigned)rand_r(&seed) % count;
}

static void run(const char *text)
{
    char *path = g_strdup_printf("%s/script.imap", server.directory);
    GString *report = g_string_new(NULL);

    ck_assert(g_file_set_contents(path, text, -1, NULL));
    enum script_result result = script_run(path, &transport, report);
    ck_assert_msg(result == SCRIPT_PASSED, "%s", report->str);
    g_string_free(report, TRUE);
    remove(path);
    g_free(path);
}

/* All that comes up to and without the tagged response, which is status. For g_free(). */
static char *say(const char *command, const char *status)
{
    g_autofree char *line = g_strdup_printf("t %s\r\n", command);
    g_autofree char *end = g_strdup_printf("t %s", status);
    GByteArray *in = g_byte_array_new();
    char *text, *tagged;

    ck_assert(transport.send(transport.data, CLIENT, line, strlen(line)));
    do {
        ck_assert(transport.receive(transport.data, CLIENT, in, true));
        text = g_strndup((const char *)in->data, in->len);
        tagged = g_str_has_prefix(text, "t ") ? text : strstr(text, "\r\nt ");
        if (tagged == NULL || !g_str_has_suffix(text, "\r\n")) {
            g_clear_pointer(&text, g_free);
        }
    } while (text == NULL);
    g_byte_array_unref(in);
    tagged += tagged == text ? 0 : 2;
    ck_assert_msg(g_str_has_prefix(tagged, end), "%s: %s", command, text);
    *tagged = '\0';
    return text;
}

static void log_in(void)
{
    GByteArray *in = g_byte_array_new();

    ck_assert(transport.open(transport.data, CLIENT, true));
    ck_assert(transport.receive(transport.data, CLIENT, in, true));
    g_byte_array_unref(in);
    g_free(say("LOGIN alice alice", "OK"));
    g_free(say("ENABLE CONDSTORE", "OK"));
}

/* Without what is of one session, or of one name, only. */
static char *without_recent(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
    GString *out = g_string_new(NULL);

    for (char **line = lines; *line != NULL; line++) {
        if (!g_str_has_suffix(*line, " RECENT") && strstr(*line, "[MAILBOXID ") == NULL) {
            g_string_append_printf(out, "%s\n", *line);
        }
    }
    g_string_replace(out, " \\Recent", "", 0);
    g_string_replace(out, "\\Recent", "", 0);
    return g_string_free(out, FALSE);
}

/* All that a client can be told of a mailbox. */
static char *read_mailbox(const char *name)
{
    g_autofree char *examine = g_strdup_printf("EXAMINE \"%s\"", name);
    g_autofree char *opened = say(examine, "OK [READ-ONLY]");
    g_autofree char *fetched =
        say("UID FETCH 1:* (FLAGS MODSEQ INTERNALDATE RFC822.SIZE ENVELOPE BODY.PEEK[])", "OK");
    g_autofree char *found = say("UID SEARCH RETURN (ALL) UNSEEN", "OK");
    g_autofree char *all = g_strconcat(opened, fetched, found, NULL);

    g_free(say("UNSELECT", "OK"));
    return without_recent(all);
}

static void change_inbox(unsigned number)
{
    static const char *const FLAGS[] = {"\\Seen", "\\Flagged", "\\Deleted", "$Junk", "Work"};
    const char *flag = FLAGS[chance(G_N_ELEMENTS(FLAGS))];
    g_autofree char *command = NULL;

    g_free(say("SELECT INBOX", "OK"));
    switch (chance(6)) {
    case 0:
    case 1:
        command = g_strdup_printf("APPEND INBOX (%s) {14+}\r\nSubject: %05u", flag, number);
        break;
    case 2:
        command = g_strdup("EXPUNGE");
        break;
    default:
        command = g_strdup_printf("UID STORE %u %cFLAGS (%s)", 1 + chance(number + 1),
                                  chance(2) == 0 ? '+' : '-', flag);
        break;
    }
    g_free(say(command, "OK"));
    g_free(say("UNSELECT", "OK"));
}

struct told {
    char *name; /* in the past */
    char *text;
};

static void clear_told(void *data)
{
    struct told *told = data;

    g_free(told->name);
    g_free(told->text);
}

static char *name_of_now(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_from_unix_utc(server.now / G_USEC_PER_SEC);

    return g_date_time_format(now, "History/%Y-%m-%dT%H:%M:%SZ/INBOX");
}

START_TEST(test_session_past__shows_what_was_told_then)
{
    g_autoptr(GArray) states = g_array_new(FALSE, FALSE, sizeof(struct told));

    seed = (unsigned)_i + 1;
    g_array_set_clear_func(states, clear_told);
    log_in();
    for (unsigned i = 0; i < STEPS; i++) {
        struct told told;

        change_inbox(i);
        if (chance(3) == 0) {
            continue;
        }
        told.name = name_of_now();
        told.text = read_mailbox("INBOX");
        g_array_append_val(states, told);
        server.now += (1 + chance(3)) * G_USEC_PER_SEC;
    }
    ck_assert_uint_gt(states->len, STEPS / 2);
    for (int turn = 0; turn < 2; turn++) {
        for (guint i = 0; i < states->len; i++) {
            const struct told *told = &g_array_index(states, struct told, i);
            g_autofree char *text = read_mailbox(told->name);

            ck_assert_str_eq(text, told->text);
        }
    }
}
END_TEST

/* Made by other means: IMAP refuses to. */
static void make_mailbox(const char *name)
{
    struct origin origin = {.command = "TEST", .time = server.now};
    struct store_error error;
    struct account *account;

    ck_assert_int_eq(store_open_account(server.store, "alice", &account, &error), 0);
    ck_assert_int_eq(account_create_mailbox(account, name, SPECIAL_USE_NONE, &origin, &error), 0);
    account_unref(account);
}

START_TEST(test_session_past__leaves_a_mailbox_of_that_name_alone)
{
    run("login B alice\nclose B\n");
    make_mailbox("History");
    make_mailbox("History/Rome");
    make_mailbox("History/2024-03-01/INBOX");
    run("message one\nSubject: one\n\n1\n.\n"
        "login A alice\n"
        "append A History one\n"
        "append A History/2024-03-01/INBOX one\n"
        "A: a1 SELECT History\nA> a1 OK [READ-WRITE] $ANY\n"
        "A: a2 STORE 1 +FLAGS (\\Seen)\nA> a2 OK $ANY\n"
        "A: a3 COPY 1 History/Rome\nA< a3 OK [COPYUID $ANY\n"
        "A: a4 SELECT History/2024-03-01/INBOX\nA> * 1 EXISTS\nA> a4 OK [READ-WRITE] $ANY\n"
        "A: a5 UNSELECT\nA< a5 OK $ANY\n"
        "A: a6 SUBSCRIBE History/Rome\nA< a6 OK $ANY\n"
        "A: a7 LIST \"\" History*\n"
        "A< * LIST (\\HasChildren) \"/\" History\n"
        "A< * LIST (\\Noselect \\NonExistent \\HasChildren) \"/\" History/2024-03-01\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/2024-03-01/INBOX\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/Rome\n"
        "A< a7 OK $ANY\n"
        /* The past is still there beside it; what has a name already is listed once. */
        "A: a8 LIST \"\" History/2024-03-01/%\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/2024-03-01/INBOX\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/2024-03-01/Archive\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/2024-03-01/Drafts\n"
        "A< * LIST (\\HasChildren) \"/\" History/2024-03-01/History\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/2024-03-01/Junk\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/2024-03-01/Sent\n"
        "A< * LIST (\\HasNoChildren) \"/\" History/2024-03-01/Trash\n"
        "A< a8 OK $ANY\n"
        "A: a9 STATUS History/2024-03-01T12:00:00Z/History/Rome (MESSAGES)\n"
        "A< * STATUS History/2024-03-01T12:00:00Z/History/Rome (MESSAGES 1)\nA< a9 OK $ANY\n"
        "A: b1 CREATE History/Athens\nA< b1 NO [CANNOT] $ANY\n"
        "A: b2 RENAME History Antiquity\nA< b2 OK $ANY\n"
        "A: b3 LIST \"\" Antiquity/%\n"
        "A< * LIST (\\Noselect \\NonExistent \\HasChildren) \"/\" Antiquity/2024-03-01\n"
        "A< * LIST (\\HasNoChildren) \"/\" Antiquity/Rome\nA< b3 OK $ANY\n"
        "A: b4 SELECT History\nA< b4 NO [NONEXISTENT] $ANY\n"
        "A: b5 SELECT History/2024-03-01T11:00:00Z/Archive\nA< b5 NO [NONEXISTENT] $ANY\n"
        "A: b6 SELECT History/2024-03-01/INBOX\nA> * 0 EXISTS\nA> b6 OK [READ-ONLY] $ANY\n");
}
END_TEST

/* --- a long history --- */

static void make_history(unsigned commits)
{
    static const struct store_journal settings = {.size = STORE_JOURNAL_SIZE_MIN};
    struct origin origin = {.command = "TEST", .time = server.now};
    uint32_t uid = 1;
    struct store_error error;
    struct account *account;
    struct mailbox *mailbox;

    ck_assert_int_eq(store_open_journal(server.store, &settings, &error), 0);
    run("message one\nSubject: one\n\n1\n.\nlogin A alice\nappend A INBOX one\n");
    ck_assert_int_eq(store_open_account(server.store, "alice", &account, &error), 0);
    ck_assert_int_eq(account_open_mailbox(account, "INBOX", &mailbox, &error), 0);
    for (unsigned i = 0; i < commits; i++) {
        struct flag_change change = {.mode = (i & 1) == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE,
                                     .flags = MESSAGE_FLAGGED,
                                     .unchanged_since = UINT64_MAX};

        server.now += G_USEC_PER_SEC;
        origin.time = server.now;
        ck_assert_int_eq(mailbox_store_flags(mailbox, &uid, 1, &change, &origin, NULL, &error), 0);
        if (i % 100 == 0) {
            store_work(server.store, true);
        }
    }
    ck_assert_int_eq(store_flush(server.store, &error), 0);
    mailbox_unref(mailbox);
    account_unref(account);
}

/* How often the session gave way before it had the answer, which is its last line. */
static unsigned slices_of(const char *command, const char *wanted)
{
    struct memory_client *client = &server.clients[CLIENT];
    g_autoptr(GString) answer = g_string_new(NULL);
    unsigned slices = 0;
    GBytes *piece;

    session_input(client->session, command, strlen(command));
    for (; session_step(client->session) == SESSION_RUNNABLE; slices++) {
        ck_assert_uint_lt(slices, 1000);
    }
    while ((piece = session_output_take(client->session)) != NULL) {
        g_string_append_len(answer, g_bytes_get_data(piece, NULL), (gssize)g_bytes_get_size(piece));
        g_bytes_unref(piece);
    }
    ck_assert_msg(strstr(answer->str, wanted) != NULL, "%s", answer->str);
    return slices;
}

START_TEST(test_session_past__reads_a_long_history_in_slices)
{
    static const char SELECT[] = "s SELECT History/2024-03-01T12:00:30Z/INBOX\r\n";
    static const char STATUS[] = "s STATUS History/2024-03-01T11:00:00Z/Missing (MESSAGES)\r\n";
    static const char LIST[] = "s LIST \"\" History/%\r\n";

    make_history(3 * PAST_STEPS);
    log_in();
    ck_assert_uint_eq(slices_of(SELECT, "s OK [READ-ONLY]"), 2);
    ck_assert_uint_eq(slices_of(SELECT, "s OK [READ-ONLY]"), 0);
    ck_assert_uint_le(slices_of(LIST, "s OK"), 1);
    ck_assert_uint_eq(slices_of(STATUS, "s NO [NONEXISTENT]"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session_past");
    TCase *cases = tcase_create("past");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, test_session_past__shows_what_was_told_then, 0, 3);
    tcase_add_test(cases, test_session_past__leaves_a_mailbox_of_that_name_alone);
    tcase_add_test(cases, test_session_past__reads_a_long_history_in_slices);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
