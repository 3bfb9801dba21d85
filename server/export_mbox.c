#include "server/export_mbox.h"

#include <string.h>
#include <time.h>

#include "protocol/header.h"

enum { SENDER_MAX = 320 }; /* octets */

/* A message on its way. */
struct mbox_writer {
    FILE *stream;
    const struct snapshot *snapshot;
    const struct message *message;
    bool uids;
    bool first; /* of the file */
};

void export_mbox_from(GString *out, const char *sender, int64_t date)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)date;
    struct tm tm = {0};

    gmtime_r(&seconds, &tm);
    g_string_append_printf(out, "From %s %s %s %2d %02d:%02d:%02d %d\n", sender, days[tm.tm_wday],
                           months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                           tm.tm_year + 1900);
}

static bool field_is(const struct header_field *field, const char *name)
{
    return field->name_length == strlen(name) &&
           g_ascii_strncasecmp(field->name, name, field->name_length) == 0;
}

static bool is_own_field(const struct header_field *field)
{
    static const char *const names[] = {"Content-Length", "Status",   "X-IMAP", "X-IMAPbase",
                                        "X-Keywords",     "X-Status", "X-UID"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (field_is(field, names[i]))
            return true;
    return false;
}

/* The address of a Return-Path, if it is one that a From_ line can have; else MAILER-DAEMON. */
static char *sender_of(const char *value, size_t length)
{
    GString *text = g_string_new(NULL);
    char *sender = NULL;
    char *start;
    size_t size;

    header_unfold(text, value, length);
    start = strchr(text->str, '<');
    start = start != NULL ? start + 1 : text->str;
    size = strcspn(start, ">");
    if (size > 0 && size <= SENDER_MAX) {
        sender = g_strndup(start, size);
        for (const char *at = sender; sender != NULL && *at != '\0'; at++)
            if (*at <= ' ' || *at > '~')
                g_clear_pointer(&sender, g_free);
    }
    g_string_free(text, TRUE);
    return sender;
}

/* A line with its quoting, LF at its end. */
static void write_line(FILE *stream, const char *line, size_t length)
{
    size_t quotes = 0;

    while (quotes < length && line[quotes] == '>')
        quotes++;
    if (length - quotes >= 5 && memcmp(line + quotes, "From ", 5) == 0)
        fputc('>', stream);
    if (length >= 2 && line[length - 1] == '\n' && line[length - 2] == '\r') {
        fwrite(line, 1, length - 2, stream);
        fputc('\n', stream);
    } else {
        fwrite(line, 1, length, stream);
    }
}

static void write_lines(FILE *stream, const char *data, size_t length)
{
    while (length > 0) {
        const char *newline = memchr(data, '\n', length);
        size_t size = newline != NULL ? (size_t)(newline - data) + 1 : length;

        write_line(stream, data, size);
        data += size;
        length -= size;
    }
}

static void write_status(const struct mbox_writer *writer)
{
    const struct message *message = writer->message;
    FILE *stream = writer->stream;
    bool keywords = false;

    if (writer->uids && writer->first) {
        fprintf(stream, "X-IMAPbase: %u %010u", snapshot_uid_validity(writer->snapshot),
                snapshot_uid_next(writer->snapshot) - 1);
        for (size_t i = 0; i < snapshot_keyword_count(writer->snapshot); i++)
            fprintf(stream, " %s", snapshot_keyword(writer->snapshot, i));
        fputc('\n', stream);
    }
    if (writer->uids)
        fprintf(stream, "X-UID: %u\n", message->uid);
    fprintf(stream, "Status: %sO\n", (message->flags & MESSAGE_SEEN) != 0 ? "R" : "");
    if ((message->flags & (MESSAGE_ANSWERED | MESSAGE_DELETED | MESSAGE_DRAFT | MESSAGE_FLAGGED)) !=
        0)
        fprintf(stream, "X-Status: %s%s%s%s\n", (message->flags & MESSAGE_ANSWERED) != 0 ? "A" : "",
                (message->flags & MESSAGE_DELETED) != 0 ? "D" : "",
                (message->flags & MESSAGE_FLAGGED) != 0 ? "F" : "",
                (message->flags & MESSAGE_DRAFT) != 0 ? "T" : "");
    for (size_t i = 0; i < snapshot_keyword_count(writer->snapshot); i++) {
        if ((message->keywords & UINT64_C(1) << i) == 0)
            continue;
        fprintf(stream, "%s%s",
                keywords ? " " : "X-Keywords: ", snapshot_keyword(writer->snapshot, i));
        keywords = true;
    }
    if (keywords)
        fputc('\n', stream);
}

static void write_from(const struct mbox_writer *writer, const uint8_t *octets, size_t block)
{
    GString *from = g_string_new(NULL);
    struct header_field field;
    size_t position = 0;
    char *sender = NULL;

    while (sender == NULL && header_next(octets, block, &position, &field))
        if (field_is(&field, "Return-Path"))
            sender = sender_of(field.value, field.value_length);
    export_mbox_from(from, sender != NULL ? sender : "MAILER-DAEMON",
                     writer->message->internal_date);
    fwrite(from->str, 1, from->len, writer->stream);
    g_free(sender);
    g_string_free(from, TRUE);
}

static void write_message(const struct mbox_writer *writer, const uint8_t *octets, size_t length)
{
    size_t block = header_block_length(octets, length);
    struct header_field field;
    size_t position = 0;
    size_t end = 0; /* of the fields */

    write_from(writer, octets, block);
    while (header_next(octets, block, &position, &field)) {
        if (!is_own_field(&field))
            write_lines(writer->stream, (const char *)octets + field.start,
                        field.end - field.start);
        end = field.end;
    }
    if (end > 0 && octets[end - 1] != '\n')
        fputc('\n', writer->stream);
    write_status(writer);
    if (end == block)
        fputc('\n', writer->stream);
    write_lines(writer->stream, (const char *)octets + end, length - end);
    if (length > end && octets[length - 1] != '\n')
        fputc('\n', writer->stream);
    fputc('\n', writer->stream);
}

static bool export_message(struct export_job *job, struct mailbox *mailbox,
                           const struct mbox_writer *writer)
{
    struct message_bytes bytes = {0};
    struct store_error error = {0};

    if (mailbox_read(mailbox, &writer->message->blob, &bytes, &error) != 0) {
        export_tell(job, "%s, UID %u: %s: %s", mailbox_name(mailbox), writer->message->uid,
                    store_code_name(error.code), error.detail);
        return false;
    }
    write_message(writer, bytes.data, bytes.length);
    message_bytes_release(&bytes);
    export_count(job, writer->message, true);
    return true;
}

bool export_mbox(struct export_job *job, const char *path, struct mailbox *mailbox, bool uids)
{
    struct export_file *file = export_open(job, path);
    struct snapshot *snapshot;
    bool done = file != NULL;

    if (file == NULL)
        return false;
    snapshot = snapshot_ref(mailbox_snapshot(mailbox));
    for (size_t i = 0; done && i < snapshot_count(snapshot); i++) {
        struct message message = snapshot_message(snapshot, i);
        struct mbox_writer writer = {
            .stream = export_stream(file),
            .snapshot = snapshot,
            .message = &message,
            .uids = uids,
            .first = i == 0,
        };

        done = !job->stopped() && export_message(job, mailbox, &writer) &&
               ferror(export_stream(file)) == 0;
    }
    if (ferror(export_stream(file)) != 0)
        export_fail(job, path);
    done = export_close(job, file, done);
    job->counts.mailboxes += done;
    snapshot_unref(snapshot);
    return done;
}
