/* What scripts can't see of the message commands: how often the host is asked, how they give way,
 * and what becomes of a message that can't be read. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/limits.h"
#include "protocol/mime.h"
#include "protocol/structure.h"
#include "tests/gated_host.h"
#include "tests/session_memory.h"
#include "tests/store_fixture.h"

static struct memory_server server;
static unsigned structures;
static unsigned texts;

static void setup(void)
{
    memory_server_init(&server);
    structures = 0;
    texts = 0;
}

static void teardown(void)
{
    memory_server_release(&server);
}

/* Runs a script given as text; fails the test with what went wrong. */
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

/* The same with messages whose header is so long that the host is asked to parse them. */
static void run_unusual(const char *text)
{
    GString *script = g_string_new(text);
    GString *field = g_string_new("\nX-Long: yes");

    while (field->len < LIMIT_SMALL_MIME_HEADER_SIZE) {
        g_string_append(field, "\n and so on and so on and so on and so on and so on and so on");
    }
    g_string_append(field, "\nFrom: a@");
    g_string_replace(script, "\nFrom: a@", field->str, 0);
    run(script->str);
    g_string_free(field, TRUE);
    g_string_free(script, TRUE);
}

#define MESSAGE(NAME, SUBJECT, BODY) \
    "message " NAME "\nFrom: a@example.org\nSubject: " SUBJECT "\n\n" BODY "\n.\n"
#define SELECT_INBOX "A: s SELECT INBOX\nA> s OK $ANY\n"

static GBytes *counted_structure(void *data, const uint8_t *message, size_t length, bool *final)
{
    (void)data;
    structures++;
    *final = true;
    return mime_structure(message, length);
}

static GBytes *hurried_structure(void *data, const uint8_t *message, size_t length, bool *final)
{
    (void)data;
    structures++;
    *final = false;
    return structure_plain(message, length);
}

static GBytes *broken_structure(void *data, const uint8_t *message, size_t length, bool *final)
{
    (void)data;
    (void)message;
    (void)length;
    structures++;
    *final = true;
    return g_bytes_new_static("no record", 9);
}

static GBytes *counted_text(void *data, const uint8_t *message, size_t length, bool header,
                            bool body)
{
    (void)data;
    texts++;
    return mime_text(message, length, header, body, 1024 * 1024);
}

static GBytes *no_text(void *data, const uint8_t *message, size_t length, bool header, bool body)
{
    (void)data;
    (void)message;
    (void)length;
    (void)header;
    (void)body;
    texts++;
    return NULL;
}

/* Spoils the stored object that holds the needle at its beginning. */
static void spoil(const char *needle)
{
    char *directory = g_strdup_printf("%s/mail/alice.git/objects/pack", server.directory);
    GDir *dir = g_dir_open(directory, 0, NULL);
    unsigned spoiled = 0;

    ck_assert_ptr_nonnull(dir);
    for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
        char *path = g_build_filename(directory, name, NULL);
        char *data = NULL;
        gsize length = 0;

        if (g_str_has_suffix(name, ".pack") && g_file_get_contents(path, &data, &length, NULL)) {
            char *found = memmem(data, length, needle, strlen(needle));

            if (found != NULL) {
                memset(found - 7, 0xff, 7); /* the head of the zlib stream */
                ck_assert(g_file_set_contents(path, data, (gssize)length, NULL));
                spoiled++;
            }
        }
        g_free(data);
        g_free(path);
    }
    ck_assert_uint_ge(spoiled, 1);
    g_dir_close(dir);
    g_free(directory);
}

START_TEST(structure_is_made_once_and_kept)
{
    server.host.structure = counted_structure;
    run_unusual(
        MESSAGE("m", "s", "b") "login A alice\nappend A INBOX m\n" SELECT_INBOX
                               "A: 1 FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[1])\n"
                               "A> 1 OK $ANY\n"
                               "A: 2 COPY 1 Trash\nA> 2 OK $ANY\n"
                               "A: 3 SEARCH OR SUBJECT s FROM x\nA< * SEARCH 1\nA< 3 OK $ANY\n");
    ck_assert_uint_eq(structures, 1);
    run("login A alice\nA: s SELECT Trash\nA> s OK $ANY\n"
        "A: 1 FETCH 1 BODY\nA> 1 OK $ANY\n");
    ck_assert_uint_eq(structures, 1);
}
END_TEST

START_TEST(structure_of_small_messages_is_made_without_the_host)
{
    server.host.structure = counted_structure;
    run(MESSAGE("m", "s", "b") "login A alice\nappend A INBOX m\n" SELECT_INBOX
                               "A: 1 FETCH 1 (ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[1])\n"
                               "A> 1 OK $ANY\n"
                               "A: 2 SEARCH SUBJECT s\nA< * SEARCH 1\nA< 2 OK $ANY\n");
    ck_assert_uint_eq(structures, 0);
}
END_TEST

/* What was made when a message came in, or later, is all that ENVELOPE and SEARCH look at. */
START_TEST(summaries_answer_for_messages_that_are_gone)
{
    run("message a\nX-Spoiled: a\nSubject: one\n\nneedle\n.\n"
        "login A alice\nappend A INBOX a\n");
    spoil("X-Spoiled: a");
    run("login A alice\n" SELECT_INBOX "A: 1 FETCH 1 (ENVELOPE BODYSTRUCTURE)\n"
        "A< * 1 FETCH (ENVELOPE (NIL \"one\" NIL NIL NIL NIL NIL NIL NIL NIL) BODYSTRUCTURE $ANY\n"
        "A< 1 OK $ANY\n"
        "A: 2 SEARCH SUBJECT ONE\nA< * SEARCH 1\nA< 2 OK Search $ANY\n");
}
END_TEST

START_TEST(structure_is_not_asked_for_what_is_plain)
{
    server.host.structure = counted_structure;
    run(MESSAGE("m", "s", "b") "login A alice\nappend A INBOX m\n" SELECT_INBOX
                               "A: 1 FETCH 1 (FULL BODY[])\nA> 1 BAD $ANY\n"
                               "A: 2 FETCH 1 (FLAGS UID INTERNALDATE RFC822.SIZE MODSEQ RFC822 "
                               "BODY[HEADER] BODY[TEXT] BODY[HEADER.FIELDS (Subject)])\n"
                               "A> 2 OK $ANY\n"
                               "A: 3 SEARCH HEADER X-None \"\"\nA> 3 OK $ANY\n");
    ck_assert_uint_eq(structures, 0);
}
END_TEST

START_TEST(provisional_structure_is_not_kept_and_search_reads_the_header)
{
    server.host.structure = hurried_structure;
    run_unusual(MESSAGE(
        "m", "=?utf-8?q?J=C3=BCrgen?=", "b") "login A alice\nappend A INBOX m\n" SELECT_INBOX
                                             "A: 1 FETCH 1 BODY[1]\n"
                                             "A> 1 OK $ANY\n"
                                             "A: 2 SEARCH CHARSET UTF-8 SUBJECT \"jürgen\""
                                             " FROM a@example.org\n"
                                             "A< * SEARCH 1\nA< 2 OK $ANY\n");
    ck_assert_uint_eq(structures, 2);
    server.host.structure = counted_structure;
    run("login A alice\n" SELECT_INBOX "A: 1 FETCH 1 ENVELOPE\n"
        "A< * 1 FETCH (ENVELOPE (NIL \"=?utf-8?q?J=C3=BCrgen?=\" $ANY\nA< 1 OK $ANY\n");
    ck_assert_uint_eq(structures, 3);
}
END_TEST

START_TEST(nonsense_from_the_host_is_a_plain_structure)
{
    server.host.structure = broken_structure;
    run_unusual(
        MESSAGE("m", "s", "b") "login A alice\nappend A INBOX m\n" SELECT_INBOX
                               "A: 1 FETCH 1 (BODY BODY.PEEK[1])\n"
                               "A< * 1 FETCH (BODY ($ANY) BODY[1] {3}\nA< b\nA< )\nA< 1 OK $ANY\n"
                               "A: 2 FETCH 1 BODY\nA> 2 OK $ANY\n");
    ck_assert_uint_eq(structures, 2);
}
END_TEST

/* A charset that takes more than a look. */
#define UTF_7 "s\nContent-Type: text/plain; charset=utf-7"

START_TEST(text_is_decoded_once_a_message)
{
    static const struct {
        const char *keys;
        const char *found;
        unsigned texts;
    } cases[] = {
        {"OR OR BODY alpha BODY beta BODY gamma", " 1 2", 2},
        {"OR OR TEXT zero TEXT alpha TEXT beta", " 1 2", 2},
        {"NOT BODY zero NOT TEXT nothing", " 1 2", 2},
        {"UNSEEN 1 BODY beta", "", 1},
        {"SEEN BODY alpha", "", 0},
        {"OR ALL BODY alpha", " 1 2", 0},
        {"SUBJECT nothing TEXT alpha", "", 0},
    };

    server.host.text = counted_text;
    run(MESSAGE("one", UTF_7, "alpha") MESSAGE("two", UTF_7, "beta") "login A alice\n"
                                                                     "append A INBOX one\n"
                                                                     "append A INBOX two\n");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *script = g_strdup_printf("login A alice\n" SELECT_INBOX
                                       "A: 1 SEARCH %s\nA< * SEARCH%s\nA< 1 OK $ANY\n",
                                       cases[i].keys, cases[i].found);

        texts = 0;
        run(script);
        ck_assert_msg(texts == cases[i].texts, "%s: %u", cases[i].keys, texts);
        g_free(script);
    }
}
END_TEST

START_TEST(plain_text_is_searched_without_the_host)
{
    server.host.text = counted_text;
    run(MESSAGE("m", "s\nContent-Transfer-Encoding: quoted-printable", "al=\nph=61=20x")
            MESSAGE("n", "s\nContent-Transfer-Encoding: base64", "YWxwaGEgeA==")
                MESSAGE("o", "s", "alpha x") "login A alice\nappend A INBOX m\n"
                                             "append A INBOX n\nappend A INBOX o\n" SELECT_INBOX
                                             "A: 1 SEARCH BODY \"ALPHA X\"\nA< * SEARCH 1 2 3\n"
                                             "A< 1 OK $ANY\n"
                                             "A: 2 SEARCH TEXT beta\nA< * SEARCH\n"
                                             "A< 2 OK $ANY\n");
    ck_assert_uint_eq(texts, 0);
}
END_TEST

START_TEST(without_decoded_text_the_octets_are_searched)
{
    server.host.text = no_text;
    run(MESSAGE("m", UTF_7, "alpha") "login A alice\nappend A INBOX m\n" SELECT_INBOX
                                     "A: 1 SEARCH BODY ALPHA\nA< * SEARCH 1\nA< 1 OK $ANY\n"
                                     "A: 2 SEARCH TEXT beta\nA< * SEARCH\nA< 2 OK $ANY\n");
    ck_assert_uint_eq(texts, 2);
}
END_TEST

/* A clock so fast that every slice is over after a message or two. */
static int64_t hasty_now(void *data)
{
    struct memory_server *hasty = data;

    return hasty->now += SESSION_SLICE / 3;
}

static const char *const sliced[] = {
    "condstore",      "copy", "expunge",     "fetch_expunged", "fetch_items", "fetch_seen",
    "fetch_sections", "move", "search_keys", "search_text",    "store"};

START_TEST(a_command_in_slices_answers_the_same)
{
    char *path = g_strdup_printf("%s/%s.imap", SCRIPT_DIRECTORY, sliced[_i]);
    struct script_transport transport = memory_server_transport(&server);
    GString *report = g_string_new(NULL);

    server.host.now = hasty_now;
    server.settings.login_timeout = INT64_MAX / 4;
    server.settings.idle_timeout = INT64_MAX / 4;
    enum script_result result = script_run(path, &transport, report);
    ck_assert_msg(result == SCRIPT_PASSED, "%s: %s", path, report->str);
    g_string_free(report, TRUE);
    g_free(path);
}
END_TEST

static void send_line(unsigned client, const char *text)
{
    struct script_transport transport = memory_server_transport(&server);

    ck_assert(transport.send(transport.data, client, text, strlen(text)));
    ck_assert(transport.send(transport.data, client, "\r\n", 2));
}

/* Everything that has come, as text. */
static char *received(unsigned client)
{
    struct script_transport transport = memory_server_transport(&server);
    GByteArray *in = g_byte_array_new();

    transport.receive(transport.data, client, in, false);
    g_byte_array_append(in, (const uint8_t *)"", 1);
    return (char *)g_byte_array_free(in, FALSE);
}

static void open_and_login(unsigned client)
{
    struct script_transport transport = memory_server_transport(&server);

    ck_assert(transport.open(transport.data, client, true));
    send_line(client, "l LOGIN alice alice");
    send_line(client, "s SELECT INBOX");
    g_free(received(client));
}

enum { BIG = 150 * 1000, BIG_COUNT = 8 };

START_TEST(a_client_that_does_not_read_stops_the_fetch_and_nobody_else)
{
    char *script = g_strdup_printf("message m\nSubject: big\n\n$REPEAT(%d,x)\n.\n"
                                   "login A alice\n"
                                   "append A INBOX m\nappend A INBOX m\nappend A INBOX m\n"
                                   "append A INBOX m\nappend A INBOX m\nappend A INBOX m\n"
                                   "append A INBOX m\nappend A INBOX m\n",
                                   BIG);

    run(script);
    g_free(script);
    open_and_login(0);
    open_and_login(1);
    server.clients[0].stalled = true;
    send_line(0, "f FETCH 1:* (UID BODY.PEEK[] BODY.PEEK[TEXT])");
    ck_assert_uint_le(session_output_waiting(server.clients[0].session),
                      SESSION_OUTPUT_HIGH + MESSAGE_STREAM_PIECE_MAX + 1000);
    send_line(1, "n FETCH 1:* UID");
    char *other = received(1);
    ck_assert_ptr_nonnull(strstr(other, "n OK "));
    g_free(other);
    server.clients[0].stalled = false;
    char *all = received(0);
    unsigned count = 0;
    for (const char *at = all; (at = strstr(at, " FETCH (UID ")) != NULL; at++) {
        count++;
    }
    ck_assert_uint_eq(count, BIG_COUNT);
    ck_assert_ptr_nonnull(strstr(all, "\r\nf OK "));
    ck_assert_uint_gt(strlen(all), 2 * BIG_COUNT * BIG);
    g_free(all);
}
END_TEST

START_TEST(an_unreadable_message_costs_itself_alone)
{
    run("message a\nX-First: a\nSubject: same\n\nneedle\n.\n"
        "message b\nX-Spoiled: b\nSubject: same\n\nneedle\n.\n"
        "message c\nX-Third: c\nSubject: same\n\nneedle\n.\n"
        "login A alice\nappend A INBOX a\nappend A INBOX b\nappend A INBOX c\n");
    spoil("X-Spoiled: b");
    run("login A alice\n" SELECT_INBOX "A: 1 FETCH 1:3 BODY.PEEK[TEXT]\n"
        "A< * 1 FETCH (BODY[TEXT] {8}\nA< needle\nA< )\n"
        "A< * 3 FETCH (BODY[TEXT] {8}\nA< needle\nA< )\n"
        "A< 1 NO [$ANY] $ANY\n"
        "A: 2 UID FETCH 2 (FLAGS BODY.PEEK[HEADER])\n"
        "A< * 2 FETCH (UID 2 FLAGS ())\n"
        "A< 2 NO [$ANY] $ANY\n"
        "A: 3 UID FETCH 1:3 FLAGS\nA> 3 OK $ANY\n"
        "A: 4 SEARCH BODY needle\nA< * SEARCH 1 3\nA< 4 OK [CORRUPTION] $ANY\n"
        "A: 5 SEARCH NOT HEADER X-Any other\nA< * SEARCH 1 3\nA< 5 OK [CORRUPTION] $ANY\n"
        "A: 6 SEARCH OR ALL BODY needle\nA< * SEARCH 1 2 3\nA< 6 OK Search $ANY\n");
}
END_TEST

static void close_all(void)
{
    struct script_transport transport = memory_server_transport(&server);

    for (unsigned client = 0; client < SCRIPT_CLIENTS; client++) {
        transport.close(transport.data, client);
    }
}

enum { MANY = 500 }; /* a mailbox of so many has a snapshot file */

static void damage_last(void)
{
    struct store_error error = {STORE_OK, ""};
    g_autofree char *file = g_strdup_printf("%s/cache/alice/snapshots/INBOX", server.directory);
    g_autofree char *repository = g_strdup_printf("%s/mail/alice.git", server.directory);

    store_close(server.store);
    fixture_damage_end(file);
    fixture_lose_object(repository, "INBOX:00/00/00/05");
    ck_assert_int_eq(store_open(&server.store, server.directory, &server.disk, &error), 0);
}

/* A mailbox whose last message is neither in its file nor in git. */
static void lose_last(void)
{
    GString *script = g_string_new("message m\nSubject: s\n\nb\n.\nlogin A alice\n");

    for (int i = 0; i < MANY; i++) {
        g_string_append(script, "append A INBOX m\n");
    }
    run(script->str);
    g_string_free(script, TRUE);
    close_all();
    damage_last();
}

/* Who sees it is told nothing that may not be so, nor is anybody else. */
START_TEST(messages_lost_in_both_places_end_the_session)
{
    lose_last();
    open_and_login(0);
    open_and_login(1);
    server.clients[0].stalled = true;
    send_line(0, "1 FETCH 1,499 UID");
    send_line(0, "2 FETCH 1,500 UID");
    server.clients[0].stalled = false;
    g_autofree char *before = received(0);
    ck_assert_str_eq(before, "* 1 FETCH (UID 1)\r\n* 499 FETCH (UID 499)\r\n"
                             "1 OK Fetch completed\r\n");
    ck_assert_int_eq(server.clients[0].status, SESSION_CLOSED);
    send_line(1, "1 FETCH 1 UID");
    g_autofree char *other = received(1);
    ck_assert_str_eq(other, "");
    ck_assert_int_eq(server.clients[1].status, SESSION_CLOSED);
    ck_assert_ptr_nonnull(strstr(g_ptr_array_index(server.log, server.log->len - 1), "broken-off"));
    run("login A alice\nA: 1 SELECT INBOX\nA< 1 NO [CORRUPTION] $ANY\n"
        "A: 2 STATUS INBOX (MESSAGES)\nA< 2 NO [CORRUPTION] $ANY\n"
        "A: 3 SELECT Trash\nA> 3 OK $ANY\n");
}
END_TEST

START_TEST(messages_lost_in_both_places_end_an_idling_session)
{
    struct store_error error = {STORE_OK, ""};
    struct account *account = NULL;
    struct mailbox *mailbox = NULL;

    lose_last();
    open_and_login(0);
    send_line(0, "i IDLE");
    g_autofree char *idling = received(0);
    ck_assert_str_eq(idling, "+ idling\r\n");
    ck_assert_int_eq(store_open_account(server.store, "alice", &account, &error), 0);
    ck_assert_int_eq(account_open_mailbox(account, "INBOX", &mailbox, &error), 0);
    snapshot_message(mailbox_snapshot(mailbox), MANY - 1);
    session_notify(server.clients[0].session);
    ck_assert(!session_is_idling(server.clients[0].session));
    mailbox_unref(mailbox);
    account_unref(account);
    g_autofree char *nothing = received(0);
    ck_assert_str_eq(nothing, "");
    ck_assert_int_eq(server.clients[0].status, SESSION_CLOSED);
}
END_TEST

/* --- large messages --- */

enum { LARGE = 700 * 1000, LARGE_HEADER = 70 * 1000 };

/* A header that does not fit in one piece, with lines that begin with CR, and a body without any
 * repetition. */
static GByteArray *large_message(void)
{
    GByteArray *message = g_byte_array_new();
    uint32_t state = 1;

    g_byte_array_append(message, (const uint8_t *)"X-Large: yes\r\n", 14);
    while (message->len < LARGE_HEADER) {
        char field[80];
        int length = snprintf(field, sizeof(field), "X-Field-%u: \rvalue\n\r\t%u\r\n", message->len,
                              message->len);

        g_byte_array_append(message, (const uint8_t *)field, (guint)length);
    }
    g_byte_array_append(message, (const uint8_t *)"\r\n", 2);
    while (message->len < LARGE) {
        state = state * 1103515245 + 12345;
        uint8_t octet = (uint8_t)(1 + (state >> 16) % 255);

        g_byte_array_append(message, &octet, 1);
    }
    return message;
}

static void append_octets(unsigned client, const GByteArray *message)
{
    struct script_transport transport = memory_server_transport(&server);
    char *line = g_strdup_printf("a APPEND INBOX {%u+}", message->len);

    send_line(client, line);
    ck_assert(transport.send(transport.data, client, message->data, message->len));
    send_line(client, "");
    char *answer = received(client);
    ck_assert_msg(strstr(answer, "a OK ") != NULL, "%s", answer);
    g_free(answer);
    g_free(line);
}

/* Everything that has come. */
static GByteArray *received_octets(unsigned client)
{
    struct script_transport transport = memory_server_transport(&server);
    GByteArray *in = g_byte_array_new();

    transport.receive(transport.data, client, in, false);
    return in;
}

/* The answer to a FETCH of one item is exactly these octets. */
static void check_item(const char *item, const char *name, const uint8_t *octets, size_t length)
{
    GByteArray *wanted = g_byte_array_new();
    char *head = length > 0 ? g_strdup_printf("* 1 FETCH (%s {%zu}\r\n", name, length)
                            : g_strdup_printf("* 1 FETCH (%s \"\"", name);
    static const char tail[] = ")\r\nf OK Fetch completed\r\n";
    char *line = g_strdup_printf("f FETCH 1 %s", item);

    g_byte_array_append(wanted, (const uint8_t *)head, (guint)strlen(head));
    g_byte_array_append(wanted, octets, (guint)length);
    g_byte_array_append(wanted, (const uint8_t *)tail, sizeof(tail) - 1);
    send_line(0, line);
    GByteArray *got = received_octets(0);
    ck_assert_msg(got->len == wanted->len && memcmp(got->data, wanted->data, got->len) == 0, "%s",
                  line);
    g_byte_array_unref(got);
    g_byte_array_unref(wanted);
    g_free(head);
    g_free(line);
}

static void open_with_large(GByteArray *message)
{
    run("login A alice\n");
    open_and_login(0);
    append_octets(0, message);
}

START_TEST(a_large_message_comes_in_pieces_octet_for_octet)
{
    GByteArray *message = large_message();
    const uint8_t *data = message->data;
    size_t header = 0;
    uint32_t state = 7;

    while (memcmp(data + header, "\r\n\r\n", 4) != 0) {
        header++;
    }
    header += 4;
    open_with_large(message);
    check_item("BODY.PEEK[]", "BODY[]", data, LARGE);
    check_item("BODY.PEEK[HEADER]", "BODY[HEADER]", data, header);
    check_item("BODY.PEEK[TEXT]", "BODY[TEXT]", data + header, LARGE - header);
    check_item("RFC822.HEADER", "RFC822.HEADER", data, header);
    check_item("BODY.PEEK[1]", "BODY[1]", data + header, LARGE - header);
    check_item("BODY.PEEK[HEADER.FIELDS (X-Large)]", "BODY[HEADER.FIELDS (X-Large)]",
               (const uint8_t *)"X-Large: yes\r\n\r\n", 16);
    check_item("BODY.PEEK[]<700000.1>", "BODY[]<700000>", NULL, 0);
    check_item("BODY.PEEK[]<699999.10>", "BODY[]<699999>", data + LARGE - 1, 1);
    for (unsigned i = 0; i < 60; i++) {
        state = state * 1103515245 + 12345;
        size_t offset = (state >> 4) % LARGE;
        size_t length = MIN((state >> 8) % (i % 2 == 0 ? 200 : LARGE) + 1, LARGE - offset);
        char *item = g_strdup_printf("BODY.PEEK[]<%zu.%zu>", offset, length);
        char *name = g_strdup_printf("BODY[]<%zu>", offset);

        check_item(item, name, data + offset, length);
        g_free(item);
        g_free(name);
    }
    g_byte_array_unref(message);
}
END_TEST

/* alice's store anew, with a journal and threads, on that host. */
static void begin_gated(struct gated_host *gated)
{
    const struct store_journal journal = {.size = STORE_JOURNAL_SIZE_MIN, .background = true};
    struct store_error error = {STORE_OK, ""};

    run("login A alice\n");
    close_all();
    gated_host_init(gated, &server.disk);
    store_close(server.store);
    ck_assert_int_eq(store_open(&server.store, server.directory, &gated->host, &error), 0);
    ck_assert_int_eq(store_open_journal(server.store, &journal, &error), 0);
    store_set_wake(server.store, gated_host_wake, gated);
}

static void end_gated(struct gated_host *gated)
{
    close_all();
    store_close(server.store);
    server.store = NULL;
    gated_host_release(gated);
}

static bool is_waiting(unsigned client)
{
    const struct session *session = server.clients[client].session;

    return session_is_storing(session) && !session_can_go_on(session);
}

/* While the disk is at work on a large message its session waits, also to be shut down, and nobody
 * else. */
START_TEST(a_large_append_waits_for_the_disk_alone)
{
    struct script_transport transport = memory_server_transport(&server);
    GByteArray *message = large_message();
    struct gated_host gated;

    begin_gated(&gated);
    open_and_login(0);
    open_and_login(1);
    open_and_login(2);
    gated_host_shut(&gated);
    g_autofree char *line = g_strdup_printf("a APPEND INBOX {%u+}", message->len);
    send_line(2, line); /* and no more */
    send_line(0, line);
    ck_assert(transport.send(transport.data, 0, message->data, message->len));
    ck_assert(!session_is_storing(server.clients[0].session));
    send_line(0, "");
    send_line(0, "b NOOP");
    ck_assert(is_waiting(0));
    send_line(1, "n STATUS INBOX (MESSAGES)");
    g_autofree char *other = received(1);
    ck_assert_str_eq(other, "* STATUS INBOX (MESSAGES 0)\r\nn OK Status told\r\n");
    g_autofree char *early = received(0);
    ck_assert_str_eq(early, "");
    if (_i == 1) {
        session_shut_down(server.clients[0].session, "stopping");
    }
    gated_host_open(&gated);
    if (_i == 2) {
        transport.close(transport.data, 0);
    }
    ck_assert(gated_host_is_woken(&gated, 1));
    if (_i < 2) {
        ck_assert(session_can_go_on(server.clients[0].session));
        g_autofree char *answer = received(0);
        ck_assert_ptr_nonnull(strstr(answer, "* 1 EXISTS\r\n"));
        ck_assert_ptr_nonnull(strstr(answer, "\r\na OK [APPENDUID "));
        ck_assert_ptr_nonnull(strstr(answer, _i == 0 ? "b OK " : "\r\n* BYE stopping\r\n"));
        ck_assert(!session_is_storing(server.clients[0].session));
    }
    send_line(1, "n STATUS INBOX (MESSAGES)");
    g_autofree char *after = received(1);
    ck_assert_ptr_nonnull(strstr(after, _i < 2 ? "(MESSAGES 1)" : "(MESSAGES 0)"));
    end_gated(&gated);
    g_byte_array_unref(message);
}
END_TEST

static void one_message(void *data, const char *user, struct quota_limits *out)
{
    (void)data;
    (void)user;
    out->messages = 1;
}

/* Two wait for the disk, and there is room for one. */
START_TEST(a_large_append_that_waited_may_be_refused)
{
    struct script_transport transport = memory_server_transport(&server);
    GByteArray *message = large_message();
    struct gated_host gated;
    unsigned accepted = 0;

    begin_gated(&gated);
    server.host.quota.limits = one_message;
    g_autofree char *line = g_strdup_printf("a APPEND INBOX {%u+}", message->len);
    open_and_login(0);
    open_and_login(1);
    gated_host_shut(&gated);
    send_line(0, line);
    send_line(1, line);
    for (unsigned client = 0; client < 2; client++) {
        ck_assert(transport.send(transport.data, client, message->data, message->len));
    }
    for (unsigned client = 0; client < 2; client++) {
        send_line(client, "");
        ck_assert(is_waiting(client));
    }
    gated_host_open(&gated);
    ck_assert(gated_host_is_woken(&gated, 2));
    for (unsigned client = 0; client < 2; client++) {
        g_autofree char *answer = received(client);

        accepted += strstr(answer, "a OK [APPENDUID ") != NULL;
        ck_assert_int_eq(strstr(answer, "a OK ") == NULL,
                         strstr(answer, "a NO [OVERQUOTA] ") != NULL);
        ck_assert(!session_is_storing(server.clients[client].session));
    }
    ck_assert_uint_eq(accepted, 1);
    end_gated(&gated);
    g_byte_array_unref(message);
}
END_TEST

START_TEST(nothing_is_said_within_a_literal)
{
    GByteArray *message = large_message();

    open_with_large(message);
    server.clients[0].stalled = true;
    send_line(0, "f FETCH 1 BODY.PEEK[]");
    if (_i == 0) {
        server.now += server.settings.idle_timeout;
    } else if (_i == 1) {
        session_abort(server.clients[0].session);
    }
    memory_server_turn(&server);
    if (_i == 2) {
        session_shut_down(server.clients[0].session, "stopping");
    }
    server.clients[0].stalled = false;
    GByteArray *got = received_octets(0);
    ck_assert_int_eq(server.clients[0].status, SESSION_CLOSED);
    const uint8_t *begin = got->len > 0 ? memmem(got->data, got->len, "}\r\n", 3) : NULL;
    if (_i == 1) {
        ck_assert_ptr_null(begin);
        ck_assert_uint_eq(got->len, 0);
    } else if (_i == 0) {
        size_t rest = got->len - (size_t)(begin + 3 - got->data);

        ck_assert_uint_lt(rest, LARGE);
        ck_assert_int_eq(memcmp(begin + 3, message->data, rest), 0);
    } else {
        static const char tail[] = ")\r\nf OK Fetch completed\r\n* BYE stopping\r\n";

        ck_assert_int_eq(memcmp(begin + 3, message->data, LARGE), 0);
        ck_assert_int_eq(memcmp(begin + 3 + LARGE, tail, sizeof(tail) - 1), 0);
    }
    g_byte_array_unref(got);
    g_byte_array_unref(message);
}
END_TEST

/* A message whose one part is these octets in base64. */
static GByteArray *encoded_message(const GByteArray *content)
{
    static const char header[] = "Content-Type: image/png\r\n"
                                 "Content-Transfer-Encoding: base64\r\n\r\n";
    GByteArray *message = g_byte_array_new();
    char *text = g_base64_encode(content->data, content->len);
    size_t length = strlen(text);

    g_byte_array_append(message, (const uint8_t *)header, sizeof(header) - 1);
    for (size_t at = 0; at < length; at += 76) {
        g_byte_array_append(message, (const uint8_t *)text + at, (guint)MIN(76, length - at));
        g_byte_array_append(message, (const uint8_t *)"\r\n", 2);
    }
    g_free(text);
    return message;
}

START_TEST(a_large_part_is_decoded_octet_for_octet)
{
    GByteArray *content = large_message();
    GByteArray *message = encoded_message(content);
    uint32_t state = 5;

    open_with_large(message);
    check_item("BINARY.PEEK[1]", "BINARY[1]", content->data, LARGE);
    check_item("BINARY.PEEK[]", "BINARY[]", message->data, message->len);
    check_item("BINARY.PEEK[1]<700000.1>", "BINARY[1]<700000>", NULL, 0);
    check_item("BINARY.PEEK[1]<699999.9223372036854775807>", "BINARY[1]<699999>",
               content->data + LARGE - 1, 1);
    for (unsigned i = 0; i < 60; i++) {
        state = state * 1103515245 + 12345;
        size_t offset = (state >> 4) % LARGE;
        size_t length = MIN((state >> 8) % (i % 2 == 0 ? 200 : LARGE) + 1, LARGE - offset);
        char *item = g_strdup_printf("BINARY.PEEK[1]<%zu.%zu>", offset, length);
        char *name = g_strdup_printf("BINARY[1]<%zu>", offset);

        check_item(item, name, content->data + offset, length);
        g_free(item);
        g_free(name);
    }
    g_byte_array_unref(message);
    g_byte_array_unref(content);
}
END_TEST

START_TEST(a_decoded_literal_ends_or_is_broken_off)
{
    GByteArray *content = large_message();
    GByteArray *message = encoded_message(content);

    open_with_large(message);
    server.clients[0].stalled = true;
    send_line(0, "f FETCH 1 BINARY.PEEK[1]");
    if (_i == 0) {
        session_abort(server.clients[0].session);
    }
    memory_server_turn(&server);
    if (_i == 1) {
        session_shut_down(server.clients[0].session, "stopping");
    }
    server.clients[0].stalled = false;
    GByteArray *got = received_octets(0);
    ck_assert_int_eq(server.clients[0].status, SESSION_CLOSED);
    if (_i == 0) {
        ck_assert_uint_eq(got->len, 0);
    } else {
        static const char tail[] = ")\r\nf OK Fetch completed\r\n* BYE stopping\r\n";
        const uint8_t *begin = memmem(got->data, got->len, "}\r\n", 3);

        ck_assert_int_eq(memcmp(begin + 3, content->data, LARGE), 0);
        ck_assert_int_eq(memcmp(begin + 3 + LARGE, tail, sizeof(tail) - 1), 0);
    }
    g_byte_array_unref(got);
    g_byte_array_unref(message);
    g_byte_array_unref(content);
}
END_TEST

START_TEST(a_large_message_that_is_damaged_is_refused)
{
    GByteArray *message = large_message();

    open_with_large(message);
    spoil("X-Large: yes");
    run("login A alice\n" SELECT_INBOX "A: 1 FETCH 1 (UID BODY.PEEK[])\n"
        "A< * 1 FETCH (UID 1)\nA< 1 NO [$ANY] $ANY\n"
        "A: 2 NOOP\nA> 2 OK $ANY\n");
    g_byte_array_unref(message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session_messages");
    TCase *tests = tcase_create("messages");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, structure_is_made_once_and_kept);
    tcase_add_test(tests, structure_of_small_messages_is_made_without_the_host);
    tcase_add_test(tests, summaries_answer_for_messages_that_are_gone);
    tcase_add_test(tests, structure_is_not_asked_for_what_is_plain);
    tcase_add_test(tests, provisional_structure_is_not_kept_and_search_reads_the_header);
    tcase_add_test(tests, nonsense_from_the_host_is_a_plain_structure);
    tcase_add_test(tests, text_is_decoded_once_a_message);
    tcase_add_test(tests, plain_text_is_searched_without_the_host);
    tcase_add_test(tests, without_decoded_text_the_octets_are_searched);
    tcase_add_loop_test(tests, a_command_in_slices_answers_the_same, 0, G_N_ELEMENTS(sliced));
    tcase_add_test(tests, a_client_that_does_not_read_stops_the_fetch_and_nobody_else);
    tcase_add_test(tests, an_unreadable_message_costs_itself_alone);
    tcase_add_test(tests, messages_lost_in_both_places_end_the_session);
    tcase_add_test(tests, messages_lost_in_both_places_end_an_idling_session);
    tcase_add_test(tests, a_large_message_comes_in_pieces_octet_for_octet);
    tcase_add_loop_test(tests, a_large_append_waits_for_the_disk_alone, 0, 3);
    tcase_add_test(tests, a_large_append_that_waited_may_be_refused);
    tcase_add_loop_test(tests, nothing_is_said_within_a_literal, 0, 3);
    tcase_add_test(tests, a_large_part_is_decoded_octet_for_octet);
    tcase_add_loop_test(tests, a_decoded_literal_ends_or_is_broken_off, 0, 2);
    tcase_add_test(tests, a_large_message_that_is_damaged_is_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
