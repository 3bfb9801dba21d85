/* annal deliver USER: a message from standard input, for a mail transfer agent's pipe */
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "server/admin.h"
#include "server/admin_settle.h"
#include "server/commands.h"
#include "server/delivery.h"
#include "server/quota_users.h"
#include "store/delivered.h"

static const char USAGE[] =
    "usage: annal deliver USER [--mailbox NAME] [--flag FLAG]... [--sender ADDRESS]\n"
    "                     [--recipient ADDRESS] [--keep-bytes] [--data DIR] [--config FILE]\n"
    "Stores the message on standard input in the user's mail: in INBOX, or in NAME (UTF-8, '/'\n"
    "between levels), or where the recipient's extension says (lmtp_detail). USER is found as by\n"
    "LMTP: alice@example.org is the user of that name, or else alice. FLAG is \\Seen, \\Flagged,\n"
    "\\Answered, \\Draft or a keyword. Unless they are given, the sender is $SENDER or whoever "
    "runs\n"
    "this, the recipient $RECIPIENT or USER. A From_ line in front is left out, bare LF line ends\n"
    "become CRLF; --keep-bytes stores the octets as they are. A server may be running.\n"
    "Ends with 0 when the message is on the disk; otherwise as sysexits.h has it, which a mail\n"
    "transfer agent understands: 75 try again, 67 no such user, 73 no such mailbox or no room for\n"
    "good, 65 too big, 64 wrong usage.\n";

enum {
    FLAGS_MAX = 32,
    PIECE = 64 * 1024, /* octets read at a time */
};

struct deliver {
    const char *config_path;
    const char *data;
    const char *user;
    const char *mailbox;
    const char *sender;
    const char *recipient;
    bool keep_bytes;
    uint8_t flags;
    const char *keywords[FLAGS_MAX + 1];
    size_t keyword_count;

    struct config config;
    struct stash *stash;
    struct delivered_sum *sum;
    bool too_big;
};

/* --- the message --- */

static bool add(struct deliver *deliver, const char *octets, size_t length)
{
    if (stash_size(deliver->stash) + length > deliver->config.append_limit) {
        deliver->too_big = true;
        return false;
    }
    delivered_sum_add(deliver->sum, octets, length);
    return stash_add(deliver->stash, octets, length);
}

/* Adds octets, a CR before each LF that has none; *cr: the octet before them is a CR, kept. */
static bool add_lines(struct deliver *deliver, const char *octets, size_t length, bool *cr)
{
    while (length > 0) {
        const char *lf = memchr(octets, '\n', length);
        size_t line = lf != NULL ? (size_t)(lf - octets) : length;
        bool bare = lf != NULL && !(line > 0 ? octets[line - 1] == '\r' : *cr);

        if (!add(deliver, octets, line) ||
            (lf != NULL && !add(deliver, bare ? "\r\n" : "\n", bare ? 2 : 1)))
            return false;
        *cr = lf == NULL && octets[line - 1] == '\r';
        octets += line + (lf != NULL ? 1 : 0);
        length -= line + (lf != NULL ? 1 : 0);
    }
    return true;
}

/* What stands before the message: a From_ line, which is left out, or its first octets. */
static bool read_beginning(struct deliver *deliver, bool *cr)
{
    static const char from[] = "From ";
    char first[sizeof from - 1];
    size_t got = fread(first, 1, sizeof first, stdin);
    int octet;

    if (got < sizeof first || memcmp(first, from, sizeof first) != 0)
        return add_lines(deliver, first, got, cr);
    do
        octet = getc(stdin);
    while (octet != EOF && octet != '\n');
    return true;
}

/* In pieces: a line may be of any length. */
static bool read_message(struct deliver *deliver)
{
    char *piece = g_malloc(PIECE);
    bool cr = false;
    bool good = deliver->keep_bytes || read_beginning(deliver, &cr);
    size_t got;

    while (good && (got = fread(piece, 1, PIECE, stdin)) > 0)
        good = deliver->keep_bytes ? add(deliver, piece, got) : add_lines(deliver, piece, got, &cr);
    g_free(piece);
    return good && !ferror(stdin);
}

/* --- the delivery --- */

static int status_of(const struct deliver *deliver, enum delivery_result result)
{
    switch (result) {
    case DELIVERY_DONE:
    case DELIVERY_AGAIN:
        return EX_OK;
    case DELIVERY_NO_USER:
        return EX_NOUSER;
    case DELIVERY_NO_MAILBOX:
        return EX_CANTCREAT;
    case DELIVERY_OVER_QUOTA:
        return deliver->config.quota_final ? EX_CANTCREAT : EX_TEMPFAIL;
    case DELIVERY_TOO_BIG:
        return EX_DATAERR;
    case DELIVERY_OPEN:
    case DELIVERY_NO_SPACE:
    case DELIVERY_TROUBLE:
    case DELIVERY_RESULT_COUNT:
        break;
    }
    return EX_TEMPFAIL;
}

static int fail(const char *what, const struct store_error *error)
{
    admin_fail(what, error);
    return EX_TEMPFAIL;
}

/* The user of this name, or with it in lower case; a new string, NULL if there is none. */
static char *find_name(struct users *users, const char *name)
{
    char *lower = g_ascii_strdown(name, -1);

    if (users_exists(users, name)) {
        g_free(lower);
        return g_strdup(name);
    }
    if (!users_exists(users, lower))
        g_clear_pointer(&lower, g_free);
    return lower;
}

/* As LMTP finds the user of an address: local@domain, or else local. */
static char *find_user(struct users *users, const char *name)
{
    const char *at = strrchr(name, '@');
    char *user = find_name(users, name);

    if (user == NULL && at != NULL) {
        char *local = g_strndup(name, (size_t)(at - name));

        user = find_name(users, local);
        g_free(local);
    }
    return user;
}

/* EX_OK with the caller's *out, or the exit status. */
static int open_account(const struct deliver *deliver, struct store *store, struct account **out)
{
    struct store_error error = {STORE_OK, ""};
    struct origin origin = admin_origin("deliver");
    int code;

    admin_settle(&deliver->config, deliver->user);
    code = store_open_account(store, deliver->user, out, &error);
    if (code == STORE_NOT_FOUND) {
        code = store_create_account(store, deliver->user, &origin, &error);
        if (code == 0 || code == STORE_EXISTS)
            code = store_open_account(store, deliver->user, out, &error);
    }
    return code == 0 ? EX_OK : fail(deliver->user, &error);
}

/* What stands behind the delimiter in the recipient's local part; a new string or NULL. */
static char *detail_of(const struct deliver *deliver)
{
    char delimiter = (char)deliver->config.lmtp_delimiter;
    const char *end = strrchr(deliver->recipient, '@');
    const char *split = delimiter != '\0' ? strchr(deliver->recipient, delimiter) : NULL;

    if (end == NULL)
        end = deliver->recipient + strlen(deliver->recipient);
    return split != NULL && split < end ? g_strndup(split + 1, (size_t)(end - split) - 1) : NULL;
}

static int run(const struct deliver *deliver, struct store *store, struct account *account,
               struct users *users, struct mail *mail)
{
    struct quota_users quotas;

    quota_users_init(&quotas, users, &deliver->config);
    const struct delivery_settings settings = {
        .detail = (enum delivery_detail)deliver->config.lmtp_detail,
        .quota = quotas.source,
    };
    struct delivery_context context = {&settings, delivery_memory_new()};
    struct delivery *delivery = delivery_new(mail, deliver->user);
    struct store_error error = {STORE_OK, ""};
    char *detail = detail_of(deliver);

    delivery->mailbox = deliver->mailbox;
    delivery->flags = deliver->flags;
    delivery->keywords = deliver->keywords;
    delivery_add(delivery, deliver->recipient, detail);
    delivery_run(delivery, account, &context, &error);
    enum delivery_result result =
        g_array_index(delivery->recipients, struct delivery_recipient, 0).result;

    if (status_of(deliver, result) == EX_OK && store_sync(store, &error) != 0)
        result = DELIVERY_TROUBLE;
    if (error.code != STORE_OK)
        fail(deliver->user, &error);
    else if (result == DELIVERY_OVER_QUOTA)
        admin_complain("%s: the mailbox is full", deliver->user);
    g_free(detail);
    delivery_free(delivery);
    delivery_memory_free(context.memory);
    return status_of(deliver, result);
}

static struct mail *make_mail(struct deliver *deliver)
{
    struct mail *mail = mail_new(deliver->sender, g_steal_pointer(&deliver->stash), deliver->sum);
    struct origin origin = admin_origin("deliver");

    mail->client = g_strdup("annal deliver");
    mail->command = "deliver";
    mail->time = origin.time;
    return mail;
}

static int deliver_to_user(struct deliver *deliver, struct users *users)
{
    struct store *store = admin_open_store(&deliver->config);
    struct account *account = NULL;
    int status = store != NULL ? open_account(deliver, store, &account) : EX_TEMPFAIL;

    if (status == EX_OK) {
        struct mail *mail = make_mail(deliver);

        status = run(deliver, store, account, users, mail);
        mail_unref(mail);
    }
    account_unref(account);
    store_close(store);
    return status;
}

static int deliver_message(struct deliver *deliver)
{
    struct users *users = admin_open_users(&deliver->config);
    char *user = users != NULL ? find_user(users, deliver->user) : NULL;
    int status = EX_TEMPFAIL;

    if (user != NULL) {
        deliver->user = user;
        status = deliver_to_user(deliver, users);
    } else if (users != NULL) {
        admin_complain("there is no user %s", deliver->user);
        status = EX_NOUSER;
    }
    g_free(user);
    users_free(users);
    return status;
}

/* --- the command --- */

static bool take_flag(struct deliver *deliver, const char *text)
{
    static const struct {
        const char *name;
        uint8_t flag;
    } flags[] = {
        {"\\Seen", MESSAGE_SEEN},
        {"\\Flagged", MESSAGE_FLAGGED},
        {"\\Answered", MESSAGE_ANSWERED},
        {"\\Draft", MESSAGE_DRAFT},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (g_ascii_strcasecmp(text, flags[i].name) == 0) {
            deliver->flags |= flags[i].flag;
            return true;
        }
    }
    if (!delivery_is_keyword(text) || deliver->keyword_count == FLAGS_MAX) {
        admin_complain("'%s' is no flag", text);
        return false;
    }
    deliver->keywords[deliver->keyword_count++] = text;
    return true;
}

static bool is_line(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            return false;
    return true;
}

/* What was not given, and what can't stand in a header line. */
static bool complete(struct deliver *deliver)
{
    const struct passwd *self = getpwuid(getuid());

    if (deliver->sender == NULL)
        deliver->sender = getenv("SENDER");
    if (deliver->sender == NULL)
        deliver->sender = self != NULL ? self->pw_name : "";
    if (deliver->recipient == NULL)
        deliver->recipient = getenv("RECIPIENT");
    if (deliver->recipient == NULL || *deliver->recipient == '\0')
        deliver->recipient = deliver->user;
    if (is_line(deliver->sender) && is_line(deliver->recipient))
        return true;
    admin_complain("an address has no control characters");
    return false;
}

/* -1: go on; else the exit status. */
static int parse_options(struct deliver *deliver, int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"mailbox", required_argument, NULL, 'm'},
                                                 {"flag", required_argument, NULL, 'F'},
                                                 {"sender", required_argument, NULL, 'f'},
                                                 {"recipient", required_argument, NULL, 'r'},
                                                 {"keep-bytes", no_argument, NULL, 'k'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "c:d:m:F:f:r:kh", long_options, NULL)) != -1) {
        if (letter == 'c')
            deliver->config_path = optarg;
        else if (letter == 'd')
            deliver->data = optarg;
        else if (letter == 'm')
            deliver->mailbox = optarg;
        else if (letter == 'F' && !take_flag(deliver, optarg))
            return EX_USAGE;
        else if (letter == 'f')
            deliver->sender = optarg;
        else if (letter == 'r')
            deliver->recipient = optarg;
        else if (letter == 'k')
            deliver->keep_bytes = true;
        else if (letter != 'F') {
            fputs(USAGE, letter == 'h' ? stdout : stderr);
            return letter == 'h' ? EX_OK : EX_USAGE;
        }
    }
    if (argc - optind != 1) {
        fputs(USAGE, stderr);
        return EX_USAGE;
    }
    deliver->user = argv[optind];
    return complete(deliver) ? -1 : EX_USAGE;
}

int command_deliver(int argc, char **argv)
{
    struct deliver deliver = {0};
    int status = parse_options(&deliver, argc, argv);

    if (status >= 0)
        return status;
    deliver.sum = delivered_sum_new();
    status = EX_TEMPFAIL;
    if (admin_read_config(&deliver.config, deliver.config_path, deliver.data)) {
        deliver.stash = stash_new(deliver.config.data);
        if (read_message(&deliver)) {
            status = deliver_message(&deliver);
        } else if (deliver.too_big) {
            admin_complain("the message is too big (append_limit_mib)");
            status = EX_DATAERR;
        } else {
            admin_complain("the message can't be read and kept: %s", strerror(errno));
        }
    }
    stash_free(deliver.stash);
    delivered_sum_free(deliver.sum);
    config_release(&deliver.config);
    return status;
}
