/* mbox files and Dovecot's small files: the first octet says which. */
#include <glib.h>
#include <string.h>

#include "server/dovecot_files.h"
#include "server/import_mbox.h"
#include "tests/fuzz.h"

static size_t total;
static uint64_t done;

static void on_total(void *data, uint64_t octets, enum import_unit unit)
{
    (void)data;
    (void)octets;
    (void)unit;
}

static void on_progress(void *data, uint64_t octets)
{
    (void)data;
    g_assert_cmpuint(octets, >=, done);
    g_assert_cmpuint(octets, <=, total);
    done = octets;
}

static bool on_mailbox(void *data, const struct import_mailbox *mailbox)
{
    (void)data;
    g_assert_true(mailbox->uid_validity == 0 || mailbox->uid_next > 0);
    return true;
}

/* Each kind of answer; UIDs ascend. */
static enum import_wish on_wish(void *data, const struct import_message *message)
{
    uint32_t *last = data;

    g_assert_cmpuint(message->uid, >, *last);
    *last = message->uid;
    return (enum import_wish)(message->uid % 3);
}

static bool on_message(void *data, const struct import_message *message)
{
    (void)data;
    g_assert_cmpuint(message->length, <=, total);
    g_assert_null(g_ptr_array_index(message->keywords, message->keywords->len - 1));
    g_assert_true(g_utf8_validate(message->mailbox, -1, NULL));
    return true;
}

static void on_text(void *data, const char *text)
{
    (void)data;
    g_assert_nonnull(text);
}

static void read_mbox(uint8_t how, const char *text, size_t length)
{
    struct import_mbox_options options = {
        .quoting = (enum import_mbox_quoting)(how % 3),
        .labels = (how & 4) != 0,
        .map = {.keywords = (how & 8) != 0},
    };
    uint32_t last = 0;
    struct import_sink sink = {
        .data = &last,
        .total = on_total,
        .progress = on_progress,
        .mailbox = on_mailbox,
        .wish = on_wish,
        .message = on_message,
        .subscribed = on_text,
        .skipped = on_text,
    };
    char *problem = NULL;

    total = length;
    done = 0;
    if (import_mbox_part("", text, length, 0, 0, &options, &sink, &problem))
        g_assert_cmpuint(done, ==, length);
    else
        g_assert_nonnull(problem);
    g_free(problem);
}

static void read_small_files(const char *text, size_t length)
{
    char *letters[DOVECOT_KEYWORDS] = {NULL};
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    struct uidlist list;
    char *problem = NULL;

    if (uidlist_parse(&list, text, length, &problem))
        g_assert_true(list.uid_validity > 0 && list.uid_next > 0);
    else
        g_assert_nonnull(problem);
    uidlist_release(&list);
    g_free(problem);
    dovecot_keywords_parse(letters, text, length);
    for (size_t i = 0; i < DOVECOT_KEYWORDS; i++)
        g_free(letters[i]);
    dovecot_subscriptions_parse(names, text, length, '.');
    g_ptr_array_unref(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'U')
        read_small_files((const char *)data + 1, size - 1);
    else
        read_mbox(data[0], (const char *)data + 1, size - 1);
    return 0;
}
