/* A whole LMTP conversation, whose answers may not depend on how its octets come: the first one
 * says how they are cut. Deliveries are done at once. */
#include <stdlib.h>
#include <string.h>

#include "server/lmtp_session.h"
#include "tests/fuzz.h"

static int64_t now(void *data)
{
    (void)data;
    return 1;
}

static enum lmtp_user find_user(void *data, const char *name)
{
    (void)data;
    return name[0] == 'a' ? LMTP_USER_KNOWN : LMTP_USER_UNKNOWN;
}

struct talk {
    uint64_t octets; /* of what was delivered, mixed */
    bool asked;      /* for room, without an answer yet */
    bool full;       /* that answer */
};

static void deliver(void *data, struct lmtp_session *session, GPtrArray *deliveries)
{
    struct talk *talk = data;

    for (guint i = 0; i < deliveries->len; i++) {
        struct delivery *delivery = g_ptr_array_index(deliveries, i);

        talk->octets = talk->octets * 31 + stash_size(delivery->mail->stash);
        delivery_fail(delivery, delivery->user[1] == 'b' ? DELIVERY_AGAIN : DELIVERY_DONE);
    }
    lmtp_session_delivered(session, deliveries);
    g_ptr_array_unref(deliveries);
}

/* Answered at once, or by whoever steps the session. */
static enum lmtp_room find_room(void *data, struct lmtp_session *session, const char *user,
                                uint64_t octets)
{
    struct talk *talk = data;

    (void)session;
    talk->full = user[1] == 'c';
    talk->asked = talk->full || octets % 3 == 0;
    return talk->asked ? LMTP_ROOM_ASKED : LMTP_ROOM_GOOD;
}

static void write_log(void *data, const char *id, const char *event, const char *address)
{
    (void)data;
    (void)id;
    if (strpbrk(event, " \r\n") != NULL || strpbrk(address, "\r\n") != NULL)
        abort();
}

static void take(struct lmtp_session *session, GString *out)
{
    GBytes *said = lmtp_session_output(session);
    gsize length;

    if (said == NULL)
        return;
    const char *text = g_bytes_get_data(said, &length);

    g_string_append_len(out, text, (gssize)length);
    g_bytes_unref(said);
}

static char *talk(const uint8_t *data, size_t size, size_t chunk)
{
    static const struct lmtp_settings settings = {.hostname = "mx",
                                                  .directory = "/nonexistent",
                                                  .message_limit = 500,
                                                  .idle_timeout = 1000,
                                                  .delimiter = '+'};
    struct talk state = {0};
    struct lmtp_host host = {&state, now, find_user, find_room, deliver, write_log};
    struct lmtp_session *session = lmtp_session_new(&settings, &host, "id", "peer");
    GString *out = g_string_new(NULL);

    for (size_t at = 0; at < size;) {
        size_t step = MIN(MIN(chunk, size - at), lmtp_session_room(session));

        if (step == 0)
            break;
        lmtp_session_input(session, data + at, step);
        while (lmtp_session_step(session) == LMTP_STATUS_BUSY && state.asked) {
            state.asked = false;
            lmtp_session_room_told(session, state.full);
        }
        take(session, out);
        at += step;
    }
    g_string_append_printf(out, "%" G_GUINT64_FORMAT, state.octets);
    lmtp_session_free(session);
    return g_string_free(out, FALSE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *whole = talk(data + 1, size - 1, SIZE_MAX);
    char *pieces = talk(data + 1, size - 1, (data[0] & 0x3f) + 1u);

    if (strcmp(whole, pieces) != 0)
        abort();
    g_free(whole);
    g_free(pieces);
    return 0;
}
