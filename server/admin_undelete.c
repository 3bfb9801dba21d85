/* annal undelete USER [MAILBOX]: messages that were expunged */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "protocol/sequence_set.h"
#include "protocol/text_match.h"
#include "server/admin.h"
#include "server/admin_account.h"
#include "server/admin_moment.h"
#include "server/admin_observer.h"
#include "server/admin_output.h"
#include "server/commands.h"
#include "server/headline.h"
#include "server/interrupt.h"
#include "server/json.h"
#include "store/restore.h"

static const char USAGE[] =
    "usage: annal undelete USER [MAILBOX] [--since TIME] [--from TEXT] [--subject TEXT]\n"
    "                      [--uid SET] [--moved] [--dry-run] [--json]\n"
    "Brings expunged messages back, with their flags (but \\Deleted), keywords and dates, as new\n"
    "messages of the mailbox they were in (of all mailboxes where none is named). Those that were\n"
    "brought back before, or came in again, are left out. A server may be running.\n"
    "  --since TIME    only what was expunged then or later\n"
    "  --from TEXT     only messages whose sender contains that; --subject alike\n"
    "  --uid SET       only messages that had these UIDs, e.g. 3,7:9\n"
    "  --moved         also what was moved to another mailbox, or is in one now\n"
    "  --dry-run       only list them\n"
    "A deleted mailbox comes back with \"annal restore\". Options: --data DIR, --config FILE\n"
    "\n" ADMIN_MOMENT_FORMS;

struct undelete_options {
    const char *config;
    const char *data;
    const char *since;
    const char *uids;
    struct text_match *from;    /* NULL: any */
    struct text_match *subject; /* the same */
    bool moved;
    bool dry_run;
    bool json;
};

struct undelete {
    const struct undelete_options *options;
    struct account *account;
    struct lost_filter filter;
    GArray *uids;         /* struct sequence_range, resolved; NULL: any */
    GHashTable *present;  /* struct object_id -> struct presence */
    GPtrArray *mailboxes; /* struct lost_mailbox * */
    struct json json;
    size_t count; /* of messages, of all mailboxes */
};

/* --- which --- */

static bool matches(const struct text_match *match, const char *text)
{
    return match == NULL || text_match_find(match, text, strlen(text));
}

static void read_headline(struct headline *out, struct mailbox *mailbox,
                          const struct object_id *blob)
{
    struct store_error ignored;
    struct message_bytes bytes;

    memset(out, 0, sizeof(*out));
    if (mailbox_read(mailbox, blob, &bytes, &ignored) != 0)
        return;
    headline_read(out, bytes.data, bytes.length);
    message_bytes_release(&bytes);
}

/* Where messages with the same octets are now. */
struct presence {
    struct object_id blob;
    char *mailbox; /* one of them */
    bool several;
};

/* What one mailbox has lost. */
struct lost_mailbox {
    struct mailbox *mailbox;
    GPtrArray *lost; /* struct lost_message * */
};

static void presence_free(void *data)
{
    struct presence *presence = data;

    g_free(presence->mailbox);
    g_free(presence);
}

static void lost_mailbox_free(void *data)
{
    struct lost_mailbox *entry = data;

    if (entry->lost != NULL)
        g_ptr_array_unref(entry->lost);
    mailbox_unref(entry->mailbox);
    g_free(entry);
}

static void note_presence(GHashTable *present, const struct mailbox *mailbox)
{
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);

    for (size_t i = 0; i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);
        struct presence *presence = g_hash_table_lookup(present, &message.blob);

        if (presence == NULL) {
            presence = g_new0(struct presence, 1);
            presence->blob = message.blob;
            presence->mailbox = g_strdup(mailbox_name(mailbox));
            g_hash_table_insert(present, &presence->blob, presence);
        } else if (strcmp(presence->mailbox, mailbox_name(mailbox)) != 0) {
            presence->several = true;
        }
    }
}

/* A program that knows no MOVE copies and expunges: nothing is lost by that. */
static bool is_elsewhere(const struct undelete *undelete, const struct mailbox *mailbox,
                         const struct lost_message *lost)
{
    const struct presence *presence = g_hash_table_lookup(undelete->present, &lost->message.blob);

    return presence != NULL &&
           (presence->several || strcmp(presence->mailbox, mailbox_name(mailbox)) != 0);
}

static bool is_wanted(const struct undelete *undelete, struct mailbox *mailbox,
                      const struct lost_message *lost)
{
    const struct undelete_options *options = undelete->options;
    struct headline headline;
    bool wanted =
        (undelete->uids == NULL || sequence_ranges_contain(undelete->uids, lost->message.uid)) &&
        (options->moved || !is_elsewhere(undelete, mailbox, lost));

    if (!wanted || (options->from == NULL && options->subject == NULL))
        return wanted;
    read_headline(&headline, mailbox, &lost->message.blob);
    wanted = headline.from != NULL && matches(options->from, headline.from) &&
             matches(options->subject, headline.subject);
    headline_release(&headline);
    return wanted;
}

/* Messages are read where their senders or subjects count. */
static int choose(const struct undelete *undelete, struct mailbox *mailbox, GPtrArray *lost,
                  struct store_error *error)
{
    guint all = lost->len;
    int rc = 0;

    for (guint i = all; rc == 0 && i > 0; i--) {
        if (!is_wanted(undelete, mailbox, g_ptr_array_index(lost, i - 1)))
            g_ptr_array_remove_index(lost, i - 1);
        rc = observer_tell(undelete->filter.observer, OBSERVER_OBJECTS, all - i + 1, all, error);
    }
    return rc;
}

/* --- telling --- */

static void tell_message(struct undelete *undelete, struct mailbox *mailbox,
                         const struct lost_message *lost)
{
    time_t seconds = (time_t)lost->time;
    struct headline headline;
    char when[32] = "?";
    struct tm tm;

    read_headline(&headline, mailbox, &lost->message.blob);
    if (undelete->options->json) {
        json_begin_object(&undelete->json, NULL);
        json_number(&undelete->json, "uid", lost->message.uid);
        json_time(&undelete->json, "expunged", lost->time);
        json_text(&undelete->json, "command", lost->command);
        json_text(&undelete->json, "from", headline.from);
        json_text(&undelete->json, "subject", headline.subject);
        json_number(&undelete->json, "size", lost->message.size);
        json_end_object(&undelete->json);
    } else {
        if (gmtime_r(&seconds, &tm) != NULL)
            strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        admin_print("  uid %" PRIu32 ", gone %s%s%s: %s, %s", lost->message.uid, when,
                    lost->command[0] != '\0' ? " by " : "", lost->command,
                    headline.from != NULL ? headline.from : "?",
                    headline.subject != NULL ? headline.subject : "?");
    }
    headline_release(&headline);
}

static void tell_mailbox(struct undelete *undelete, struct mailbox *mailbox, const GPtrArray *lost,
                         uint32_t first)
{
    const char *name = mailbox_name(mailbox);
    struct json *json = &undelete->json;

    if (undelete->options->json) {
        json_begin_object(json, NULL);
        json_text(json, "mailbox", name);
        if (first > 0)
            json_number(json, "first_uid", first);
        json_begin_array(json, "messages");
    } else if (first > 0) {
        admin_print("%s: %u messages are back as uid %" PRIu32 ":%" PRIu32, name, lost->len, first,
                    first + lost->len - 1);
    } else {
        admin_print("%s: %u messages would come back", name, lost->len);
    }
    for (guint i = 0; i < lost->len && !interrupted(); i++)
        tell_message(undelete, mailbox, g_ptr_array_index(lost, i));
    if (undelete->options->json) {
        json_end_array(json);
        json_end_object(json);
    }
}

/* --- doing it --- */

static bool complain(const struct undelete *undelete, const char *name,
                     const struct store_error *error)
{
    if (interrupted())
        admin_complain("%s: interrupted; %s", account_user(undelete->account),
                       undelete->count == 0 || undelete->options->dry_run
                           ? "nothing came back"
                           : "what came back stays, the same command does the rest");
    else if (error->code == STORE_NOT_FOUND)
        admin_complain("there is no mailbox %s; a deleted one comes back with: annal restore %s %s",
                       name, account_user(undelete->account), name);
    else
        admin_fail(name, error);
    return false;
}

/* Opens all mailboxes, notes what they have, and makes those that are wanted (NULL: all) ready to
 * be searched. */
static bool open_mailboxes(struct undelete *undelete, const char *wanted)
{
    struct store_error error = {0};
    GPtrArray *list;
    bool good = true;

    if (account_list(undelete->account, &list, &error) != 0)
        return complain(undelete, account_user(undelete->account), &error);
    for (guint i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);
        struct lost_mailbox *opened;
        struct mailbox *mailbox;

        if (!entry->exists)
            continue;
        if (account_open_mailbox(undelete->account, entry->name, &mailbox, &error) != 0) {
            good = complain(undelete, entry->name, &error);
            continue;
        }
        note_presence(undelete->present, mailbox);
        if (wanted == NULL) {
            opened = g_new0(struct lost_mailbox, 1);
            opened->mailbox = mailbox;
            g_ptr_array_add(undelete->mailboxes, opened);
        } else {
            mailbox_unref(mailbox);
        }
    }
    g_ptr_array_unref(list);
    return good;
}

static bool open_mailbox(struct undelete *undelete, const char *name)
{
    struct lost_mailbox *opened = g_new0(struct lost_mailbox, 1);
    struct store_error error = {0};

    if (account_open_mailbox(undelete->account, name, &opened->mailbox, &error) != 0) {
        g_free(opened);
        return complain(undelete, name, &error);
    }
    g_ptr_array_add(undelete->mailboxes, opened);
    return true;
}

static bool search(struct undelete *undelete)
{
    struct store_error error = {0};

    for (guint i = 0; i < undelete->mailboxes->len; i++) {
        struct lost_mailbox *entry = g_ptr_array_index(undelete->mailboxes, i);

        if (restore_find_lost(entry->mailbox, &undelete->filter, &entry->lost, &error) != 0 ||
            choose(undelete, entry->mailbox, entry->lost, &error) != 0)
            return complain(undelete, mailbox_name(entry->mailbox), &error);
    }
    return true;
}

/* From where a message went last. */
struct last_place {
    struct object_id blob;
    int64_t time;
    guint mailbox; /* its index */
};

static void drop_others(struct lost_mailbox *entry, guint index, GHashTable *last)
{
    for (guint i = entry->lost->len; i > 0; i--) {
        const struct lost_message *lost = g_ptr_array_index(entry->lost, i - 1);
        const struct last_place *place = g_hash_table_lookup(last, &lost->message.blob);

        if (place->mailbox != index)
            g_ptr_array_remove_index(entry->lost, i - 1);
    }
}

/* What went through several mailboxes (INBOX, then Trash) comes back to the last one. */
static void leave_to_the_last(struct undelete *undelete)
{
    GHashTable *last = g_hash_table_new_full(object_id_hash, object_id_equal_keys, NULL, g_free);

    for (guint i = 0; i < undelete->mailboxes->len; i++) {
        const struct lost_mailbox *entry = g_ptr_array_index(undelete->mailboxes, i);

        for (guint k = 0; k < entry->lost->len; k++) {
            const struct lost_message *lost = g_ptr_array_index(entry->lost, k);
            struct last_place *place = g_hash_table_lookup(last, &lost->message.blob);

            if (place == NULL) {
                place = g_new0(struct last_place, 1);
                place->blob = lost->message.blob;
                place->time = INT64_MIN;
                g_hash_table_insert(last, &place->blob, place);
            }
            if (lost->time >= place->time) {
                place->time = lost->time;
                place->mailbox = i;
            }
        }
    }
    for (guint i = 0; i < undelete->mailboxes->len; i++)
        drop_others(g_ptr_array_index(undelete->mailboxes, i), i, last);
    g_hash_table_unref(last);
}

static bool go_on(const struct undelete *undelete, guint done)
{
    struct store_error error = {0};

    return observer_tell(undelete->filter.observer, OBSERVER_MAILBOXES, done,
                         undelete->mailboxes->len, &error) == 0 ||
           complain(undelete, account_user(undelete->account), &error);
}

static bool bring_back(struct undelete *undelete)
{
    struct origin origin = admin_origin("undelete");
    struct store_error error = {0};

    for (guint i = 0; i < undelete->mailboxes->len; i++) {
        struct lost_mailbox *entry = g_ptr_array_index(undelete->mailboxes, i);
        uint32_t first = 0;

        if (entry->lost->len == 0)
            continue;
        if (!go_on(undelete, i))
            return false;
        if (!undelete->options->dry_run &&
            restore_lost(entry->mailbox, entry->lost, &origin, &first, &error) != 0)
            return complain(undelete, mailbox_name(entry->mailbox), &error);
        undelete->count += entry->lost->len;
        tell_mailbox(undelete, entry->mailbox, entry->lost, first);
    }
    return go_on(undelete, undelete->mailboxes->len);
}

static bool undelete_wanted(struct undelete *undelete, const char *mailbox)
{
    bool good;

    undelete->present =
        g_hash_table_new_full(object_id_hash, object_id_equal_keys, NULL, presence_free);
    undelete->mailboxes = g_ptr_array_new_with_free_func(lost_mailbox_free);
    good =
        open_mailboxes(undelete, mailbox) && (mailbox == NULL || open_mailbox(undelete, mailbox));
    good = good && search(undelete);
    if (good && mailbox == NULL)
        leave_to_the_last(undelete);
    good = good && bring_back(undelete);
    g_ptr_array_unref(undelete->mailboxes);
    g_hash_table_unref(undelete->present);
    return good;
}

static bool run(struct undelete *undelete, const char *user, const char *mailbox)
{
    const struct undelete_options *options = undelete->options;
    GString *text = g_string_new(NULL);
    struct admin_account opened;
    bool good = admin_account_open(&opened, options->config, options->data, user);
    struct admin_observer *observer = admin_observer_new(user);

    undelete->filter.observer = admin_observer_of(observer);
    undelete->account = opened.account;
    undelete->json.out = text;
    if (options->json)
        json_begin_array(&undelete->json, NULL);
    if (good)
        good = undelete_wanted(undelete, mailbox);
    admin_observer_free(observer);
    if (options->json) {
        json_end_array(&undelete->json);
        puts(text->str);
    } else if (good && undelete->count == 0) {
        puts("nothing was expunged that matches");
    }
    if (opened.account != NULL)
        good = admin_account_sync(&opened) && good;
    admin_account_close(&opened);
    g_string_free(text, TRUE);
    return good;
}

static int start(const struct undelete_options *options, const char *user, const char *mailbox)
{
    struct undelete undelete = {.options = options, .filter.since = INT64_MIN};
    struct sequence_set set;
    struct moment since;
    bool good;

    undelete.filter.moved = options->moved;
    if (options->since != NULL) {
        if (!admin_moment_argument(&since, "--since", options->since, false))
            return ADMIN_USAGE;
        undelete.filter.since = since.first;
    }
    if (options->uids != NULL) {
        if (!sequence_set_parse(&set, options->uids, strlen(options->uids), false)) {
            admin_complain("--uid: %s is no set of UIDs such as 3,7:9", options->uids);
            return ADMIN_USAGE;
        }
        undelete.uids = sequence_set_resolve(&set, UINT32_MAX);
        sequence_set_release(&set);
    }
    good = run(&undelete, user, mailbox);
    if (undelete.uids != NULL)
        g_array_unref(undelete.uids);
    return good && fflush(stdout) == 0 ? ADMIN_DONE : ADMIN_FAILED;
}

static void set_match(struct text_match **match, const char *text)
{
    text_match_free(*match);
    *match = text_match_new(text, strlen(text));
}

int command_undelete(int argc, char **argv)
{
    static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
                                                 {"data", required_argument, NULL, 'd'},
                                                 {"since", required_argument, NULL, 's'},
                                                 {"from", required_argument, NULL, 'f'},
                                                 {"subject", required_argument, NULL, 'u'},
                                                 {"uid", required_argument, NULL, 'n'},
                                                 {"moved", no_argument, NULL, 'm'},
                                                 {"dry-run", no_argument, NULL, 'r'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    struct undelete_options options = {0};
    int status = -1;
    int letter;

    while (status < 0 && (letter = getopt_long(argc, argv, "c:d:h", long_options, NULL)) != -1) {
        if (letter == 'c')
            options.config = optarg;
        else if (letter == 'd')
            options.data = optarg;
        else if (letter == 's')
            options.since = optarg;
        else if (letter == 'f')
            set_match(&options.from, optarg);
        else if (letter == 'u')
            set_match(&options.subject, optarg);
        else if (letter == 'n')
            options.uids = optarg;
        else if (letter == 'm')
            options.moved = true;
        else if (letter == 'r')
            options.dry_run = true;
        else if (letter == 'j')
            options.json = true;
        else
            status = letter == 'h' ? ADMIN_DONE : ADMIN_USAGE;
    }
    if (status < 0 && argc - optind != 1 && argc - optind != 2)
        status = ADMIN_USAGE;
    if (status >= 0)
        fputs(USAGE, status == ADMIN_DONE ? stdout : stderr);
    else
        status = start(&options, argv[optind], argc - optind == 2 ? argv[optind + 1] : NULL);
    text_match_free(options.from);
    text_match_free(options.subject);
    return status;
}
