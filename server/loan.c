#include "server/loan.h"

#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "server/card.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/transport.h"

void loan_take(struct loan *loan, struct link *link, struct transport *transport, int epoll,
               void *owner, uint8_t *scratch)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = owner};

    *loan = (struct loan){.transport = transport, .epoll = epoll, .readable = true};
    transport->scratch = scratch;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, transport->fd, &event) == 0)
        return;
    link_want_loan(link, false);
    loan->how = LINK_RETURN_OPEN;
}

void loan_notice(struct loan *loan, uint32_t events)
{
    loan->readable = true;
    loan->hung_up = loan->hung_up || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
}

/* A plain socket that gave less than it was asked for is empty. */
static bool has_more(const struct loan *loan, enum transport_result result, bool full)
{
    const struct transport *transport = loan->transport;

    if (result != TRANSPORT_DONE)
        return false;
    return full || loan->hung_up || transport->tls != NULL || transport->deflate != NULL;
}

static void lose(struct loan *loan, const struct link *link)
{
    char *quoted = log_quote(transport_problem(loan->transport));

    log_line(LOG_LEVEL_INFO, link_id(link), "event=connection-lost reason=%s", quoted);
    g_free(quoted);
    loan->how = LINK_RETURN_LOST;
}

GByteArray *loan_read(struct loan *loan, struct link *link, size_t max)
{
    struct transport *transport = loan->transport;
    size_t asked = MIN(max, TRANSPORT_SCRATCH);
    GByteArray *input = NULL;
    size_t length;

    if (!loan->readable || loan->how != LINK_RETURN_NOT)
        return NULL;
    enum transport_result result = transport_read(transport, asked, &length);

    if (length > 0) {
        metrics_count(METRIC_RECEIVED, length);
        card_touch(link_card(link), time(NULL));
        input = g_byte_array_sized_new((guint)length);
        g_byte_array_append(input, transport->scratch, (guint)length);
        explicit_bzero(transport->scratch, length);
        loan->silent = true;
    }
    loan->readable = has_more(loan, result, length == asked);
    if (result == TRANSPORT_END)
        loan->how = LINK_RETURN_END;
    else if (result == TRANSPORT_FAILED)
        lose(loan, link);
    else if (transport->wants_write)
        loan->how = LINK_RETURN_OPEN;
    return input;
}

static size_t send_some(struct loan *loan)
{
    struct transport *transport = loan->transport;
    size_t waiting = transport_unsent(transport);
    enum transport_result result = TRANSPORT_AGAIN;

    if (waiting > 0 && waiting <= LOAN_WRITE_MAX)
        result = transport_write(transport);
    if (result == TRANSPORT_FAILED || result == TRANSPORT_END)
        loan->how = LINK_RETURN_LOST;
    size_t left = transport_unsent(transport);

    if (left < waiting) {
        metrics_count(METRIC_SENT, waiting - left);
        loan->silent = false;
    }
    return left;
}

bool loan_write(struct loan *loan, struct link *link, GQueue *pieces, enum link_after after,
                bool resume, size_t *unsent)
{
    struct transport *transport = loan->transport;
    GBytes *piece;

    while ((piece = g_queue_pop_head(pieces)) != NULL)
        transport_add(transport, piece);
    *unsent = send_some(loan);
    if (loan->how == LINK_RETURN_NOT &&
        (*unsent > 0 || after != LINK_AFTER_NOTHING || transport->wants_write))
        loan->how = LINK_RETURN_OPEN;
    if (loan->how == LINK_RETURN_NOT) {
        if (loan->silent)
            transport_acknowledge_soon(transport);
        loan->silent = false;
        return true;
    }
    epoll_ctl(loan->epoll, EPOLL_CTL_DEL, transport->fd, NULL);
    loan->transport = NULL;
    link_give_back(link, loan->how, after, *unsent, resume);
    return false;
}
