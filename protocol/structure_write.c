/* ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 7.4.2 and 9). The tree is walked along its links:
 * no depth of it costs stack. */
#include <string.h>

#include "protocol/response.h"
#include "protocol/structure_tree.h"

struct writer {
    const struct structure *structure;
    GString *out;
    bool utf8;
    bool extended;
};

static void write_text(struct writer *writer, struct structure_text text)
{
    response_nstring(writer->out, text.data, text.length, writer->utf8);
}

static void write_space(struct writer *writer)
{
    g_string_append_c(writer->out, ' ');
}

/* "(" 1*address ")" / nil; address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")" */
static void write_addresses(struct writer *writer, struct structure_span span)
{
    if (span.count == 0) {
        g_string_append(writer->out, "NIL");
        return;
    }
    g_string_append_c(writer->out, '(');
    for (uint32_t i = 0; i < span.count; i++) {
        const struct structure_address *address =
            &g_array_index(writer->structure->addresses, struct structure_address, span.first + i);
        g_string_append_c(writer->out, '(');
        write_text(writer, address->name);
        write_space(writer);
        write_text(writer, address->route);
        write_space(writer);
        write_text(writer, address->mailbox);
        write_space(writer);
        write_text(writer, address->host);
        g_string_append_c(writer->out, ')');
    }
    g_string_append_c(writer->out, ')');
}

static void write_envelope(struct writer *writer, uint32_t part)
{
    const struct structure_message *message =
        &g_array_index(writer->structure->messages, struct structure_message,
                       structure_part(writer->structure, part)->message);
    g_string_append_c(writer->out, '(');
    for (int field = 0; field < ENVELOPE_FIELD_COUNT; field++) {
        if (field > 0) {
            write_space(writer);
        }
        struct structure_span span = message->addresses[field];
        if (field < ENVELOPE_FROM || field > ENVELOPE_BCC) {
            write_text(writer, message->fields[field]);
        } else if (span.count == 0 && (field == ENVELOPE_SENDER || field == ENVELOPE_REPLY_TO)) {
            write_addresses(writer, message->addresses[ENVELOPE_FROM]);
        } else {
            write_addresses(writer, span);
        }
    }
    g_string_append_c(writer->out, ')');
}

static bool has_type(const struct structure_part *part, const char *prefix)
{
    return g_ascii_strncasecmp(part->type.data, prefix, strlen(prefix)) == 0;
}

/* charset, or one of its forms by RFC 2231 */
static bool is_charset(struct structure_text name)
{
    return name.length >= 7 && g_ascii_strncasecmp(name.data, "charset", 7) == 0 &&
           (name.length == 7 || name.data[7] == '*');
}

/* body-fld-param = "(" string SP string *(SP string SP string) ")" / nil. A text part whose
 * charset is not named has the one of RFC 2045 5.2: clients are used to being told. */
static void write_parameters(struct writer *writer, struct structure_span span, bool want_charset)
{
    for (uint32_t i = 0; i < span.count; i++) {
        const struct structure_parameter *parameter = &g_array_index(
            writer->structure->parameters, struct structure_parameter, span.first + i);
        g_string_append_c(writer->out, i == 0 ? '(' : ' ');
        response_string(writer->out, parameter->name.data, parameter->name.length, writer->utf8);
        write_space(writer);
        response_string(writer->out, parameter->value.data, parameter->value.length, writer->utf8);
        want_charset = want_charset && !is_charset(parameter->name);
    }
    if (want_charset) {
        g_string_append(writer->out, span.count == 0 ? "(" : " ");
        g_string_append(writer->out, "\"charset\" \"us-ascii\"");
    }
    g_string_append(writer->out, span.count > 0 || want_charset ? ")" : "NIL");
}

/* body-fld-dsp SP body-fld-lang SP body-fld-loc */
static void write_extension(struct writer *writer, const struct structure_part *part)
{
    if (part->disposition.data == NULL) {
        g_string_append(writer->out, " NIL ");
    } else {
        g_string_append(writer->out, " (");
        write_text(writer, part->disposition);
        write_space(writer);
        write_parameters(writer, part->disposition_parameters, false);
        g_string_append(writer->out, ") ");
    }
    for (uint32_t i = 0; i < part->languages.count; i++) {
        g_string_append_c(writer->out, i == 0 ? '(' : ' ');
        write_text(writer, g_array_index(writer->structure->languages, struct structure_text,
                                         part->languages.first + i));
    }
    g_string_append(writer->out, part->languages.count > 0 ? ") " : "NIL ");
    write_text(writer, part->location);
}

static void write_type(struct writer *writer, const struct structure_part *part)
{
    const char *slash = strchr(part->type.data, '/');
    response_string(writer->out, part->type.data, (size_t)(slash - part->type.data), writer->utf8);
    write_space(writer);
    response_string(writer->out, slash + 1, strlen(slash + 1), writer->utf8);
}

/* media and body-fields: what every part but a multipart begins with */
static void write_fields(struct writer *writer, const struct structure_part *part)
{
    write_type(writer, part);
    write_space(writer);
    write_parameters(writer, part->parameters, has_type(part, "text/"));
    write_space(writer);
    write_text(writer, part->id);
    write_space(writer);
    write_text(writer, part->description);
    write_space(writer);
    if (part->encoding.data == NULL) {
        g_string_append(writer->out, "\"7bit\"");
    } else {
        write_text(writer, part->encoding);
    }
    write_space(writer);
    response_number(writer->out, part->body.length);
}

static void write_lines(struct writer *writer, const struct structure_part *part)
{
    write_space(writer);
    response_number(writer->out, part->lines);
}

/* body-ext-1part */
static void write_single_extension(struct writer *writer, const struct structure_part *part)
{
    if (writer->extended) {
        write_space(writer);
        write_text(writer, part->md5);
        write_extension(writer, part);
    }
}

/* message/global is shown as body-type-basic: media-message of RFC 3501 is message/rfc822 alone,
 * and a client of that grammar takes an envelope anywhere else for broken. */
static bool shows_children(const struct structure_part *part)
{
    return part->kind == STRUCTURE_MULTIPART ||
           (part->kind == STRUCTURE_MESSAGE && !has_type(part, "message/global"));
}

static void begin_part(struct writer *writer, uint32_t index)
{
    const struct structure_part *part = structure_part(writer->structure, index);
    g_string_append_c(writer->out, '(');
    if (part->kind == STRUCTURE_MULTIPART) {
        return;
    }
    write_fields(writer, part);
    if (shows_children(part)) {
        write_space(writer);
        write_envelope(writer, part->first_child);
        write_space(writer);
    }
}

static void end_part(struct writer *writer, uint32_t index)
{
    const struct structure_part *part = structure_part(writer->structure, index);
    if (part->kind == STRUCTURE_MULTIPART) {
        const char *subtype = strchr(part->type.data, '/') + 1;
        write_space(writer);
        response_string(writer->out, subtype, strlen(subtype), writer->utf8);
        if (writer->extended) {
            write_space(writer);
            write_parameters(writer, part->parameters, false);
            write_extension(writer, part);
        }
    } else {
        if (shows_children(part) || (part->kind == STRUCTURE_LEAF && has_type(part, "text/"))) {
            write_lines(writer, part);
        }
        write_single_extension(writer, part);
    }
    g_string_append_c(writer->out, ')');
}

void structure_body(const struct structure *structure, GString *out, bool utf8, bool extended)
{
    struct writer writer = {structure, out, utf8, extended};
    uint32_t at = 0;
    begin_part(&writer, at);
    for (;;) {
        const struct structure_part *part = structure_part(structure, at);
        if (shows_children(part)) {
            at = part->first_child;
            begin_part(&writer, at);
            continue;
        }
        end_part(&writer, at);
        while (at != 0 && structure_part(structure, at)->next_sibling == 0) {
            at = structure_part(structure, at)->parent;
            end_part(&writer, at);
        }
        if (at == 0) {
            return;
        }
        at = structure_part(structure, at)->next_sibling;
        begin_part(&writer, at);
    }
}

void structure_envelope(const struct structure *structure, GString *out, bool utf8)
{
    struct writer writer = {structure, out, utf8, false};
    write_envelope(&writer, 0);
}
