/* A client that knows its mailbox by QRESYNC alone, loses its connection at any moment, and must
 * always come out with the same messages and flags as one that reads everything again. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/response.h"
#include "store/internal/repository.h"
#include "tests/session_memory.h"

enum {
    CLIENT = 0, /* the one under test */
    OTHER = 1,
    UIDS = 4096,
    ABSENT = 0xff,
};

static struct memory_server server;
static struct script_transport transport;
static unsigned seed;

/* What the client keeps while it is away. */
static uint8_t flags[UIDS]; /* of each UID, enum message_flag, or ABSENT */
static uint32_t uid_validity;
static uint32_t next; /* all UIDs below are known */
static uint64_t highest;

/* What it knows while it is connected. */
static bool connected;
static uint64_t exists;
static uint64_t seen_modseq; /* the highest since the last tagged response */
static uint64_t code_modseq; /* of HIGHESTMODSEQ since then; 0: none */
static unsigned tag;

static void setup(void)
{
    memory_server_init(&server);
    transport = memory_server_transport(&server);
    memset(flags, ABSENT, sizeof(flags));
    uid_validity = 0;
    next = 1;
    connected = false;
}

static void teardown(void)
{
    memory_server_release(&server);
}

static unsigned chance(unsigned count)
{
    return (unsigned)rand_r(&seed) % count;
}

/* --- the client's knowledge --- */

static void forget(uint32_t first, uint32_t last, bool earlier)
{
    for (uint32_t uid = first; uid <= last; uid++) {
        ck_assert_uint_lt(uid, UIDS);
        ck_assert_msg(earlier || flags[uid] != ABSENT || uid >= next, "UID %u vanished twice", uid);
        exists -= !earlier;
        flags[uid] = ABSENT;
    }
}

static void read_vanished(const char *set, bool earlier)
{
    while (*set != '\0') {
        char *end;
        uint32_t first = (uint32_t)strtoul(set, &end, 10);
        uint32_t last = *end == ':' ? (uint32_t)strtoul(end + 1, &end, 10) : first;

        ck_assert(first > 0 && first <= last);
        forget(first, last, earlier);
        ck_assert(*end == ',' || *end == '\0');
        set = end + (*end == ',');
    }
}

static uint64_t known_below(uint32_t uid)
{
    uint64_t count = 0;

    for (uint32_t i = 1; i < uid; i++) {
        count += flags[i] != ABSENT;
    }
    return count;
}

static void read_fetch(const char *line, uint64_t number)
{
    const char *uid_at = strstr(line, "UID ");
    const char *modseq_at = strstr(line, "MODSEQ (");
    const char *flags_at = strstr(line, "FLAGS (");

    ck_assert_ptr_nonnull(uid_at);
    uint32_t uid = (uint32_t)strtoul(uid_at + 4, NULL, 10);
    ck_assert_uint_lt(uid, UIDS);
    ck_assert_uint_le(number, exists);
    if (uid < next) {
        ck_assert_msg(flags[uid] != ABSENT, "UID %u has gone", uid);
        ck_assert_uint_eq(number, known_below(uid) + 1);
    }
    if (modseq_at != NULL) {
        seen_modseq = MAX(seen_modseq, strtoull(modseq_at + 8, NULL, 10));
    }
    if (flags_at != NULL &&
        (uid < next || uid == next || flags[uid] != ABSENT || known_below(UIDS) + 1 >= number)) {
        flags[uid] = 0;
        for (unsigned i = 0; i < G_N_ELEMENTS(response_system_flags); i++) {
            flags[uid] |= strstr(flags_at, response_system_flags[i]) != NULL ? 1u << i : 0;
        }
    }
}

static void read_line(const char *line)
{
    const char *code = strstr(line, "[HIGHESTMODSEQ ");
    char *end;
    uint64_t number = g_str_has_prefix(line, "* ") ? strtoull(line + 2, &end, 10) : 0;

    if (code != NULL) {
        code_modseq = strtoull(code + 15, NULL, 10);
    }
    if ((code = strstr(line, "[UIDVALIDITY ")) != NULL) {
        ck_assert(uid_validity == 0 || uid_validity == strtoul(code + 13, NULL, 10));
        uid_validity = (uint32_t)strtoul(code + 13, NULL, 10);
    }
    ck_assert_msg(strstr(line, "EXPUNGE") == NULL || *line != '*', "%s", line);
    if (g_str_has_prefix(line, "* VANISHED (EARLIER) ")) {
        read_vanished(line + 21, true);
    } else if (g_str_has_prefix(line, "* VANISHED ")) {
        read_vanished(line + 11, false);
    } else if (number > 0 && g_str_has_prefix(end, " FETCH ")) {
        read_fetch(line, number);
    } else if (g_str_has_prefix(line, "* ") && g_str_has_suffix(line, " EXISTS")) {
        exists = number;
    }
}

static void read_tagged(const char *line)
{
    ck_assert_msg(strstr(line, " BAD ") == NULL, "%s", line);
    if (code_modseq != 0) {
        highest = code_modseq;
    } else {
        highest = MAX(highest, seen_modseq);
    }
    seen_modseq = code_modseq = 0;
}

/* --- conversations --- */

static char **say(unsigned client, const char *text)
{
    GByteArray *in = g_byte_array_new();
    g_autofree char *line = g_strdup_printf("%s\r\n", text);

    ck_assert(transport.send(transport.data, client, line, strlen(line)));
    transport.receive(transport.data, client, in, true);
    g_byte_array_append(in, (const uint8_t *)"", 1);
    char **lines = g_strsplit((const char *)in->data, "\r\n", -1);
    g_byte_array_unref(in);
    return lines;
}

static void hang_up(void)
{
    transport.close(transport.data, CLIENT);
    connected = false;
    seen_modseq = code_modseq = 0;
}

/* Now and then the connection is lost within the answer. */
static void run_command(const char *text)
{
    if (!connected) {
        return;
    }
    g_autofree char *tagged = g_strdup_printf("%u %s", ++tag, text);
    g_autofree char *prefix = g_strdup_printf("%u ", tag);
    g_auto(GStrv) lines = say(CLIENT, tagged);
    guint count = g_strv_length(lines);
    guint heard = chance(12) == 0 ? chance(count) : count;

    for (guint i = 0; i < heard; i++) {
        read_line(lines[i]);
        if (g_str_has_prefix(lines[i], prefix)) {
            read_tagged(lines[i]);
        }
    }
    if (heard < count) {
        hang_up();
    }
}

G_GNUC_PRINTF(1, 2) static void command(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    run_command(text);
}

static void by_other(const char *text)
{
    g_auto(GStrv) lines = say(OTHER, text);

    ck_assert_ptr_nonnull(lines[0]);
}

static void fetch_new(void)
{
    while (connected && known_below(UIDS) < exists) {
        command("UID FETCH %u:* (FLAGS)", next);
    }
    for (uint32_t uid = next; uid < UIDS; uid++) {
        next = flags[uid] != ABSENT ? uid + 1 : next;
    }
}

static void connect_again(void)
{
    transport.open(transport.data, CLIENT, true);
    g_strfreev(say(CLIENT, "x LOGIN alice alice"));
    connected = true;
    seen_modseq = code_modseq = 0;
    command("ENABLE QRESYNC");
    if (uid_validity == 0) {
        command("SELECT INBOX");
    } else if (chance(2) == 0 || next == 1) {
        command("SELECT INBOX (QRESYNC (%u %" G_GUINT64_FORMAT "))", uid_validity, highest);
    } else {
        command("SELECT INBOX (QRESYNC (%u %" G_GUINT64_FORMAT " 1:%u))", uid_validity, highest,
                next - 1);
    }
    fetch_new();
}

/* --- what happens --- */

static unsigned appended;

static void append_one(void)
{
    by_other("a APPEND INBOX {12+}\r\nSubject: x\r\n");
    appended++;
}

static void change_by_other(void)
{
    g_autofree char *text = NULL;
    unsigned uid = 1 + chance(appended + 1);

    switch (chance(6)) {
    case 0:
    case 1:
        append_one();
        return;
    case 2:
        text = g_strdup_printf("a UID STORE %u +FLAGS (\\Deleted)", uid);
        break;
    case 3:
        text = g_strdup_printf("a UID STORE %u:%u %cFLAGS (%s)", uid, uid + chance(3),
                               chance(2) == 0 ? '+' : '-', response_system_flags[chance(5)]);
        break;
    case 4:
        text = g_strdup_printf("a UID MOVE %u Trash", uid);
        break;
    default:
        text = g_strdup("a EXPUNGE");
    }
    by_other(text);
}

static void act(void)
{
    uint64_t number = exists > 0 ? 1 + chance((unsigned)exists) : 0;

    switch (number == 0 ? 0 : chance(9)) {
    case 0:
        command("NOOP");
        break;
    case 1:
        command("STORE %u +FLAGS (\\Seen)", (unsigned)number);
        break;
    case 2:
        command("UID STORE %u +FLAGS (\\Deleted)", 1 + chance(next));
        break;
    case 3:
        command("FETCH %u (UID FLAGS MODSEQ)", (unsigned)number);
        break;
    case 4:
        command("EXPUNGE");
        break;
    case 5:
        command("UID SEARCH %u", (unsigned)number);
        break;
    case 6:
        command("MOVE %u Archive", (unsigned)number);
        break;
    case 7:
        command("SEARCH SEEN");
        break;
    default:
        command("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %" G_GUINT64_FORMAT " VANISHED)", highest);
    }
    fetch_new();
}

static void compare_to_truth(void)
{
    struct account *account = session_account(server.clients[OTHER].session);
    struct mailbox *mailbox;
    struct store_error error;
    size_t index;

    ck_assert_int_eq(account_open_mailbox(account, "INBOX", &mailbox, &error), 0);
    const struct snapshot *now = mailbox_snapshot(mailbox);
    for (uint32_t uid = 1; uid < UIDS; uid++) {
        if (snapshot_find(now, uid, &index)) {
            ck_assert_msg(flags[uid] == snapshot_message(now, index).flags, "UID %u is %x, not %x",
                          uid, flags[uid], snapshot_message(now, index).flags);
        } else {
            ck_assert_msg(flags[uid] == ABSENT, "UID %u is gone", uid);
        }
    }
    mailbox_unref(mailbox);
}

static void lose_the_table(void)
{
    g_autofree char *path = g_strconcat(server.directory, "/cache", NULL);

    repository_remove(path);
}

START_TEST(session_qresync__is_as_good_as_reading_all_again)
{
    seed = (unsigned)_i + 1;
    appended = 0;
    transport.open(transport.data, OTHER, true);
    by_other("x LOGIN alice alice");
    by_other("y SELECT INBOX");
    for (unsigned i = 0; i < 400; i++) {
        if (chance(3) > 0) {
            change_by_other();
        } else if (connected) {
            act();
        }
        if (connected && chance(25) == 0) {
            hang_up();
        }
        if (!connected && chance(8) == 0) {
            if (chance(8) == 0) {
                lose_the_table();
            }
            connect_again();
            if (connected) {
                compare_to_truth();
            }
        }
        if (connected && chance(10) == 0) {
            command("NOOP");
            fetch_new();
            if (connected) {
                compare_to_truth();
            }
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session_qresync");
    TCase *tests = tcase_create("session_qresync");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, session_qresync__is_as_good_as_reading_all_again, 0, 12);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
