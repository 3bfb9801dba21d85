#include "server/card.h"

#include <pthread.h>
#include <stdatomic.h>

struct card {
    _Atomic(const char *) tls;
    atomic_uint activity;
    atomic_int_least64_t touched;
    pthread_mutex_t lock; /* of the strings; their writer reads them without */
    char *user;
    char *client;
    char *mailbox;
};

struct card *card_new(void)
{
    struct card *card = g_new0(struct card, 1);

    atomic_init(&card->activity, SESSION_LOGGING_IN);
    pthread_mutex_init(&card->lock, NULL);
    return card;
}

void card_free(struct card *card)
{
    if (card == NULL)
        return;
    pthread_mutex_destroy(&card->lock);
    g_free(card->user);
    g_free(card->client);
    g_free(card->mailbox);
    g_free(card);
}

static void set(struct card *card, char **text, const char *to)
{
    if (g_strcmp0(*text, to) == 0)
        return;
    char *before = *text;
    char *copy = g_strdup(to);

    pthread_mutex_lock(&card->lock);
    *text = copy;
    pthread_mutex_unlock(&card->lock);
    g_free(before);
}

void card_show(struct card *card, const struct session_summary *summary)
{
    set(card, &card->user, summary->user);
    set(card, &card->client, summary->client);
    set(card, &card->mailbox, summary->mailbox);
    atomic_store_explicit(&card->activity, summary->activity, memory_order_relaxed);
}

void card_set_activity(struct card *card, enum session_activity activity)
{
    atomic_store_explicit(&card->activity, activity, memory_order_relaxed);
}

void card_set_tls(struct card *card, const char *version)
{
    atomic_store_explicit(&card->tls, version, memory_order_relaxed);
}

const char *card_tls(const struct card *card)
{
    return atomic_load_explicit(&card->tls, memory_order_relaxed);
}

void card_touch(struct card *card, int64_t seconds)
{
    atomic_store_explicit(&card->touched, seconds, memory_order_relaxed);
}

int64_t card_touched(const struct card *card)
{
    return atomic_load_explicit(&card->touched, memory_order_relaxed);
}

enum session_activity card_activity(const struct card *card)
{
    return atomic_load_explicit(&card->activity, memory_order_relaxed);
}

void card_read(struct card *card, struct card_copy *out)
{
    out->activity = card_activity(card);
    pthread_mutex_lock(&card->lock);
    out->user = g_strdup(card->user);
    out->client = g_strdup(card->client);
    out->mailbox = g_strdup(card->mailbox);
    pthread_mutex_unlock(&card->lock);
}

void card_copy_clear(struct card_copy *copy)
{
    g_free(copy->user);
    g_free(copy->client);
    g_free(copy->mailbox);
    *copy = (struct card_copy){0};
}
