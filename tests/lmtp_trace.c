#include "tests/lmtp_trace.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/lmtp.h"

static const char *const verbs[LMTP_VERB_COUNT] = {
    "LHLO", "HELLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "HELP", "QUIT", "?",
};
static const char *const problems[] = {
    "", " long-line", " bad-line", " bad-syntax", " bad-path", " bad-parameter", " bad-value",
};

static void write_octets(GString *out, const uint8_t *octets, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (octets[i] == '\r')
            g_string_append(out, "\\r");
        else if (octets[i] == '\n')
            g_string_append(out, "\\n");
        else if (octets[i] < ' ' || octets[i] > '~')
            g_string_append_printf(out, "\\%02x", octets[i]);
        else
            g_string_append_c(out, (char)octets[i]);
    }
}

static void write_command(GString *out, const struct lmtp_command *command)
{
    g_string_append_printf(out, "%s%s", verbs[command->verb], problems[command->problem]);
    if (command->problem == LMTP_GOOD) {
        if (command->text != NULL)
            g_string_append_printf(out, " <%s>", command->text);
        if (command->local != NULL)
            g_string_append_printf(out, " local=%s", command->local);
        if (command->host != NULL)
            g_string_append_printf(out, " host=%s", command->host);
        if (command->is_utf8)
            g_string_append(out, " utf8");
        if (command->has_size || command->verb == LMTP_BDAT)
            g_string_append_printf(out, " size=%" G_GUINT64_FORMAT, command->size);
        if (command->smtputf8)
            g_string_append(out, " smtputf8");
        if (command->last)
            g_string_append(out, " last");
    }
    g_string_append_c(out, '\n');
}

static void take_command(struct lmtp_parser *parser, GString *out)
{
    const struct lmtp_command *command = lmtp_parser_command(parser);
    bool good = command->problem == LMTP_GOOD;

    /* Nothing that goes into a header line may end it. */
    for (const char *c = command->text; good && c != NULL && *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            abort();
    write_command(out, command);
    if (good && command->verb == LMTP_DATA)
        lmtp_parser_data(parser);
    if (good && command->verb == LMTP_BDAT)
        lmtp_parser_chunk(parser, command->size);
}

static void feed(struct lmtp_parser *parser, GString *out, GString *message, const uint8_t *input,
                 size_t length)
{
    enum lmtp_parsed parsed;
    size_t at = 0;

    do {
        size_t used;
        size_t octets;

        parsed = lmtp_parser_parse(parser, input + at, length - at, &used);
        at += used;
        if (parsed == LMTP_COMMAND)
            take_command(parser, out);
        if (parsed == LMTP_OCTETS) {
            const uint8_t *data = lmtp_parser_octets(parser, &octets);

            write_octets(message, data, octets);
        }
        if (parsed == LMTP_END) {
            g_string_append_printf(out, "[%s]\n", message->str);
            g_string_truncate(message, 0);
        }
    } while (parsed != LMTP_MORE);
    if (at != length)
        abort();
}

char *lmtp_trace(const void *input, size_t length, size_t split, size_t chunk)
{
    struct lmtp_parser *parser = lmtp_parser_new();
    GString *message = g_string_new(NULL);
    GString *out = g_string_new(NULL);

    for (size_t at = 0; at < length;) {
        size_t step = at == 0 && split > 0 ? split : chunk > 0 ? chunk : length;
        /* A copy of its own, so that a sanitizer sees what is kept too long. */
        uint8_t *piece = malloc(MIN(step, length - at));

        step = MIN(step, length - at);
        if (piece == NULL)
            abort();
        memcpy(piece, (const uint8_t *)input + at, step);
        feed(parser, out, message, piece, step);
        free(piece);
        at += step;
    }
    g_string_append_printf(out, "%s%s", message->str, message->len > 0 ? "...\n" : "");
    g_string_free(message, TRUE);
    lmtp_parser_free(parser);
    return g_string_free(out, FALSE);
}
