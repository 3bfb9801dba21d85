#include "server/delivery.h"

#include <string.h>

#include "server/message_summary.h"
#include "store/delivered.h"

enum {
    KEYWORDS_FOR_SENDERS = MAILBOX_KEYWORDS_MAX / 2, /* that details may use up */
};

/* --- the message --- */

static bool is_stamped(const struct stash *stash)
{
    static const char field[] = "Received:";
    size_t length;
    const uint8_t *head = stash_head(stash, &length);

    return length >= strlen(field) &&
           g_ascii_strncasecmp((const char *)head, field, strlen(field)) == 0;
}

struct mail *mail_new(const char *sender, struct stash *stash, const struct delivered_sum *sum)
{
    struct mail *mail = g_new0(struct mail, 1);

    mail->references = 1;
    mail->sender = g_strdup(sender);
    mail->stash = stash;
    mail->has_id = is_stamped(stash);
    if (mail->has_id)
        delivered_sum_id(sum, sender, &mail->id);
    return mail;
}

struct mail *mail_ref(struct mail *mail)
{
    mail->references++;
    return mail;
}

void mail_unref(struct mail *mail)
{
    if (mail == NULL || --mail->references > 0)
        return;
    stash_free(mail->stash);
    g_free(mail->sender);
    g_free(mail->received);
    g_free(mail->client);
    g_free(mail->session);
    g_free(mail);
}

/* --- deliveries --- */

static void recipient_clear(void *data)
{
    struct delivery_recipient *recipient = data;

    g_free(recipient->address);
    g_free(recipient->detail);
}

struct delivery *delivery_new(struct mail *mail, const char *user)
{
    struct delivery *delivery = g_new0(struct delivery, 1);

    delivery->mail = mail_ref(mail);
    delivery->user = g_strdup(user);
    delivery->recipients = g_array_new(FALSE, TRUE, sizeof(struct delivery_recipient));
    g_array_set_clear_func(delivery->recipients, recipient_clear);
    return delivery;
}

void delivery_free(struct delivery *delivery)
{
    if (delivery == NULL)
        return;
    mail_unref(delivery->mail);
    g_free(delivery->user);
    g_array_unref(delivery->recipients);
    g_free(delivery);
}

void delivery_add(struct delivery *delivery, const char *address, const char *detail)
{
    struct delivery_recipient recipient = {g_strdup(address), g_strdup(detail), DELIVERY_OPEN};

    g_array_append_val(delivery->recipients, recipient);
}

static struct delivery_recipient *recipient_at(const struct delivery *delivery, guint index)
{
    return &g_array_index(delivery->recipients, struct delivery_recipient, index);
}

void delivery_fail(struct delivery *delivery, enum delivery_result result)
{
    for (guint i = 0; i < delivery->recipients->len; i++)
        recipient_at(delivery, i)->result = result;
}

enum delivery_result delivery_result_of(enum store_code code)
{
    switch (code) {
    case STORE_OK:
        return DELIVERY_DONE;
    case STORE_NOT_FOUND:
    case STORE_BAD_NAME:
        return DELIVERY_NO_MAILBOX;
    case STORE_TOO_BIG:
        return DELIVERY_TOO_BIG;
    case STORE_NO_SPACE:
        return DELIVERY_NO_SPACE;
    case STORE_EXISTS:
    case STORE_FORBIDDEN:
    case STORE_HAS_CHILDREN:
    case STORE_LIMIT:
    case STORE_BAD_MESSAGE:
    case STORE_CONFLICT:
    case STORE_CORRUPT:
    case STORE_UNSUPPORTED:
    case STORE_NO_MEMORY:
    case STORE_IO:
        break;
    }
    return DELIVERY_TROUBLE;
}

/* --- the object --- */

struct spooling {
    struct spool *spool;
    struct store_error *error;
};

static bool spool_piece(void *data, const void *octets, size_t length)
{
    struct spooling *spooling = data;

    return spool_write(spooling->spool, octets, length, spooling->error) == 0;
}

static GString *trace_lines(const struct delivery *delivery)
{
    GString *lines = g_string_new(NULL);

    g_string_append_printf(lines, "Return-Path: <%s>\r\n", delivery->mail->sender);
    for (guint i = 0; i < delivery->recipients->len; i++) {
        const char *address = recipient_at(delivery, i)->address;
        bool told = *address == '\0';

        for (guint j = 0; j < i && !told; j++)
            told = strcmp(recipient_at(delivery, j)->address, address) == 0;
        if (!told)
            g_string_append_printf(lines, "Delivered-To: %s\r\n", address);
    }
    if (delivery->mail->received != NULL)
        g_string_append(lines, delivery->mail->received);
    return lines;
}

/* The caller owns *out. */
static int make_spool(struct spool **out, const struct delivery *delivery, struct account *account,
                      struct store_error *error)
{
    const struct stash *stash = delivery->mail->stash;
    GString *lines = trace_lines(delivery);
    struct spooling spooling = {NULL, error};
    int code = account_spool(account, lines->len + stash_size(stash), &spooling.spool, error);

    if (code == 0)
        code = spool_write(spooling.spool, lines->str, lines->len, error);
    if (code == 0) {
        error->code = STORE_OK;
        if (!stash_read(stash, spool_piece, &spooling))
            code = error->code != STORE_OK
                       ? (int)error->code
                       : store_error_set(error, STORE_IO, "a message can't be read back");
    }
    g_string_free(lines, TRUE);
    if (code == 0)
        *out = spooling.spool;
    else
        spool_free(spooling.spool);
    return code;
}

/* --- where it goes --- */

struct target {
    char *mailbox;
    char *keyword; /* NULL: none */
};

static void target_release(struct target *target)
{
    g_free(target->mailbox);
    g_free(target->keyword);
}

/* One delivery under way. */
struct delivering {
    const struct delivery *delivery;
    struct account *account;
    const struct delivery_context *context;
    struct target *targets; /* of each recipient */
    GPtrArray *mailboxes;   /* account_list(); NULL: not needed yet */
    struct spool *spool;    /* NULL: not needed yet */
    struct store_error *error;
};

static bool same_folded(const char *a, const char *b)
{
    char *x = g_utf8_casefold(a, -1);
    char *y = g_utf8_casefold(b, -1);
    bool same = strcmp(x, y) == 0;

    g_free(x);
    g_free(y);
    return same;
}

/* Strangers put nothing among what the user wrote. */
static bool may_receive(const struct mailbox_entry *entry)
{
    return entry->exists && entry->special_use != SPECIAL_USE_SENT &&
           entry->special_use != SPECIAL_USE_DRAFTS;
}

/* The name as the account has it, exactly or in other case; NULL: no mailbox that may receive. */
static char *find_mailbox(const GPtrArray *list, const char *name)
{
    const char *found = NULL;

    for (guint i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);

        if (strcmp(entry->name, name) == 0)
            return may_receive(entry) ? g_strdup(name) : NULL;
        if (found == NULL && may_receive(entry) && same_folded(entry->name, name))
            found = entry->name;
    }
    return g_strdup(found);
}

static char *detail_mailbox(struct delivering *run, const char *detail)
{
    struct store_error error;
    char *found;

    if (run->mailboxes == NULL && account_list(run->account, &run->mailboxes, &error) != 0)
        return NULL;
    found = find_mailbox(run->mailboxes, detail);
    if (found == NULL) {
        char *below = g_strdup_printf("INBOX/%s", detail);

        found = find_mailbox(run->mailboxes, below);
        g_free(below);
    }
    return found;
}

bool delivery_is_keyword(const char *text)
{
    size_t length = strlen(text);

    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || strchr("(){%*\"\\]", *c) != NULL)
            return false;
    return length > 0 && length <= KEYWORD_LENGTH_MAX;
}

static struct target find_target(struct delivering *run, const char *detail)
{
    const struct delivery *delivery = run->delivery;
    struct target target = {NULL, NULL};

    if (delivery->mailbox != NULL) {
        target.mailbox = g_strdup(delivery->mailbox);
        return target;
    }
    if (detail != NULL && *detail != '\0') {
        switch (run->context->settings->detail) {
        case DELIVERY_DETAIL_MAILBOX:
            target.mailbox = detail_mailbox(run, detail);
            break;
        case DELIVERY_DETAIL_KEYWORD:
            target.keyword = delivery_is_keyword(detail) ? g_strdup(detail) : NULL;
            break;
        case DELIVERY_DETAIL_IGNORE:
            break;
        }
    }
    if (target.mailbox == NULL)
        target.mailbox = g_strdup("INBOX");
    return target;
}

/* --- appending --- */

static struct origin origin_of(const struct mail *mail, const char *id)
{
    return (struct origin){
        .client = mail->client,
        .session = mail->session,
        .command = mail->command,
        .time = mail->time,
        .sender = mail->sender,
        .delivery = mail->has_id ? id : NULL,
    };
}

/* --- what is done there --- */

static bool has_keyword(const GPtrArray *keywords, const char *keyword)
{
    for (guint i = 0; i < keywords->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(keywords, i), keyword) == 0)
            return true;
    return false;
}

/* What recipients name. A mailbox keeps its keywords for life, and there is room for
 * MAILBOX_KEYWORDS_MAX: senders can't take all of it. */
static void add_named(const struct delivering *run, const struct mailbox *mailbox, guint first,
                      GPtrArray *keywords)
{
    const struct snapshot *snapshot = mailbox_snapshot(mailbox);
    size_t count = snapshot_keyword_count(snapshot);

    for (guint i = first; i < run->delivery->recipients->len; i++) {
        const struct target *target = &run->targets[i];
        size_t index;

        if (target->keyword == NULL || strcmp(target->mailbox, run->targets[first].mailbox) != 0 ||
            has_keyword(keywords, target->keyword))
            continue;
        if (!snapshot_keyword_find(snapshot, target->keyword, &index)) {
            if (count >= KEYWORDS_FOR_SENDERS)
                continue;
            count++;
        }
        g_ptr_array_add(keywords, target->keyword);
    }
}

static enum delivery_result append_to(const struct delivering *run, struct mailbox *mailbox,
                                      guint first, struct store_error *error)
{
    const struct delivery *delivery = run->delivery;
    const struct mail *mail = delivery->mail;
    GPtrArray *keywords = g_ptr_array_new();
    char id[OBJECT_ID_HEX + 1];
    struct origin origin = origin_of(mail, id);
    uint32_t uid;

    for (size_t i = 0; delivery->keywords != NULL && delivery->keywords[i] != NULL; i++)
        g_ptr_array_add(keywords, (gpointer)delivery->keywords[i]);
    add_named(run, mailbox, first, keywords);
    g_ptr_array_add(keywords, NULL);
    struct append append = {
        .spool = run->spool,
        .keywords = (const char *const *)keywords->pdata,
        .flags = delivery->flags,
        .internal_date = mail->time / G_USEC_PER_SEC,
        .binary = true,
    };

    object_id_format(&mail->id, id);
    int code = mailbox_append(mailbox, &append, 1, &origin, &uid, error);

    g_ptr_array_unref(keywords);
    return delivery_result_of((enum store_code)code);
}

/* What is there already takes no room. */
static enum delivery_result deliver_into(struct delivering *run, struct mailbox *mailbox,
                                         guint first, struct store_error *error)
{
    const struct delivery *delivery = run->delivery;
    const struct mail *mail = delivery->mail;
    struct delivery_memory *memory = mail->has_id ? run->context->memory : NULL;
    int code = 0;

    if (memory != NULL && delivery_memory_has(memory, delivery->user, mailbox, &mail->id,
                                              mail->time / G_USEC_PER_SEC))
        return DELIVERY_AGAIN;
    if (!quota_admits(&run->context->settings->quota, run->account, 1, stash_size(mail->stash)))
        return DELIVERY_OVER_QUOTA;
    if (run->spool == NULL)
        code = make_spool(&run->spool, delivery, run->account, error);
    if (code != 0)
        return delivery_result_of((enum store_code)code);
    enum delivery_result result = append_to(run, mailbox, first, error);

    if (memory != NULL && result == DELIVERY_DONE)
        delivery_memory_add(memory, delivery->user, mailbox, &mail->id);
    return result;
}

/* Delivers for the recipient, and for those after it that name the same mailbox. */
static enum delivery_result deliver_for(struct delivering *run, guint first)
{
    struct mailbox *mailbox = NULL;
    struct store_error error = {STORE_OK, ""};
    int code = account_open_mailbox(run->account, run->targets[first].mailbox, &mailbox, &error);
    enum delivery_result result = delivery_result_of((enum store_code)code);

    if (code == 0)
        result = deliver_into(run, mailbox, first, &error);
    mailbox_unref(mailbox);
    /* What the store tried again is no failure. */
    if (result != DELIVERY_DONE && result != DELIVERY_AGAIN && error.code != STORE_OK)
        *run->error = error;
    return result;
}

/* The result for a mailbox that another recipient had before; DELIVERY_OPEN: none had. */
static enum delivery_result result_before(const struct delivering *run, guint index)
{
    for (guint i = 0; i < index; i++)
        if (strcmp(run->targets[i].mailbox, run->targets[index].mailbox) == 0)
            return recipient_at(run->delivery, i)->result;
    return DELIVERY_OPEN;
}

void delivery_run(struct delivery *delivery, struct account *account,
                  const struct delivery_context *context, struct store_error *error)
{
    guint count = delivery->recipients->len;
    struct target *targets = g_new0(struct target, count);
    struct delivering run = {delivery, account, context, targets, NULL, NULL, error};
    bool stored = false;

    for (guint i = 0; i < count; i++)
        targets[i] = find_target(&run, recipient_at(delivery, i)->detail);
    for (guint i = 0; i < count; i++) {
        struct delivery_recipient *recipient = recipient_at(delivery, i);

        recipient->result = result_before(&run, i);
        if (recipient->result == DELIVERY_OPEN)
            recipient->result = deliver_for(&run, i);
        stored = stored || recipient->result == DELIVERY_DONE;
    }
    if (stored)
        message_summary_delivered(account, run.spool);
    for (guint i = 0; i < count; i++)
        target_release(&targets[i]);
    g_free(targets);
    g_clear_pointer(&run.mailboxes, g_ptr_array_unref);
    spool_free(run.spool);
}
