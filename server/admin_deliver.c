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
    "between levels), or where the recipient's extension says (lmtp_detail). FLAG is \\Seen,\n"
    "\\Flagged, \\Answered, \\Draft or a keyword. Unless they are given, the sender is $SENDER or\n"
    "whoever runs this, the recipient $RECIPIENT or USER. A From_ line in front is left out, bare "
    "LF\n"
    "line ends become CRLF; --keep-bytes stores the octets as they are. A server may be running.\n"
    "Ends with 0 when the message is on the disk; otherwise as sysexits.h has it, which a mail\n"
    "transfer agent understands: 75 try again, 67 no such user, 73 no such mailbox or no room, 65 "
    "too\n"
    "big, 64 wrong usage.\n";

enum { FLAGS_MAX = 32 };

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

/* One line with its end, if it has one. */
static bool add_line(struct deliver *deliver, const char *line, size_t length)
{
    bool bare = length > 0 && line[length - 1] == '\n' && (length < 2 || line[length - 2] != '\r');

    if (!bare || deliver->keep_bytes)
        return add(deliver, line, length);
    return add(deliver, line, length - 1) && add(deliver, "\r\n", 2);
}

static bool read_message(struct deliver *deliver)
{
    bool good = true;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    for (bool first = true; good && (length = getline(&line, &room, stdin)) > 0; first = false) {
        bool is_envelope = first && !deliver->keep_bytes && g_str_has_prefix(line, "From ");

        if (!is_envelope)
            good = add_line(deliver, line, (size_t)length);
    }
    free(line);
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
    admin_complain("%s: %s: %s", what, store_code_name(error->code), error->detail);
    return EX_TEMPFAIL;
}

/* EX_OK with the caller's *out, or the exit status. */
static int open_account(const struct deliver *deliver, struct store *store, struct users *users,
                        struct account **out)
{
    struct store_error error = {STORE_OK, ""};
    struct origin origin = admin_origin("deliver");
    int code;

    admin_settle(&deliver->config, deliver->user);
    code = store_open_account(store, deliver->user, out, &error);
    if (code == 0)
        return EX_OK;
    if (code == STORE_NOT_FOUND && !users_exists(users, deliver->user)) {
        admin_complain("there is no user %s", deliver->user);
        return EX_NOUSER;
    }
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

    if (error.code == STORE_OK && store_sync(store, &error) != 0)
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

static int deliver_message(struct deliver *deliver)
{
    struct users *users = admin_open_users(&deliver->config);
    struct store *store = users != NULL ? admin_open_store(&deliver->config) : NULL;
    struct account *account = NULL;
    int status = store != NULL ? open_account(deliver, store, users, &account) : EX_TEMPFAIL;

    if (status == EX_OK) {
        struct mail *mail = make_mail(deliver);

        status = run(deliver, store, account, users, mail);
        mail_unref(mail);
    }
    account_unref(account);
    store_close(store);
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
