#include "protocol/mime_parse.h"

#include <string.h>

#include "protocol/address.h"
#include "protocol/header.h"
#include "protocol/limits.h"
#include "protocol/mime_fields.h"

enum { BOUNDARY_MAX = 256 }; /* RFC 2046 5.1.1 allows 70 */

const struct mime_bounds mime_bounds_all = {
    .size = LIMIT_MIME_SIZE,
    .header_size = LIMIT_MIME_HEADER_SIZE,
    .header_fields = LIMIT_MIME_HEADER_FIELDS,
    .parts = LIMIT_MIME_PARTS,
};

const struct mime_bounds mime_bounds_small = {
    .size = LIMIT_SMALL_MIME_SIZE,
    .header_size = LIMIT_SMALL_MIME_HEADER_SIZE,
    .header_fields = LIMIT_SMALL_MIME_HEADER_FIELDS,
    .parts = LIMIT_SMALL_MIME_PARTS,
};

/* A part whose end is not found yet. */
struct frame {
    uint32_t part;
    struct structure_text boundary; /* data is NULL if no delimiter line belongs to it (any more) */
    uint32_t hash;                  /* of the boundary */
    uint64_t newlines;              /* before its body */
};

struct scanner {
    const uint8_t *message;
    size_t length;
    bool flat;
    const struct mime_bounds *bounds;
    size_t position;   /* start of the next line */
    uint64_t newlines; /* before position */
    struct structure *structure;
    GArray *frames; /* struct frame, from the message to the innermost part */
    size_t header_fields;
    size_t header_octets;
    GString *value; /* of the field at hand, unfolded */
};

struct line {
    size_t start;
    size_t end; /* just past its line end */
};

static bool next_line(struct scanner *scanner, struct line *line)
{
    if (scanner->position == scanner->length) {
        return false;
    }
    const uint8_t *start = scanner->message + scanner->position;
    const uint8_t *newline = memchr(start, '\n', scanner->length - scanner->position);
    line->start = scanner->position;
    line->end = newline == NULL ? scanner->length : (size_t)(newline - scanner->message) + 1;
    scanner->position = line->end;
    scanner->newlines += newline != NULL;
    return true;
}

static void unread_line(struct scanner *scanner, const struct line *line)
{
    scanner->newlines -= scanner->message[line->end - 1] == '\n';
    scanner->position = line->start;
}

/* Offset where the line ends before the position, its line end left out. */
static size_t without_line_end(const struct scanner *scanner, size_t position)
{
    if (position > 0 && scanner->message[position - 1] == '\n') {
        position--;
        if (position > 0 && scanner->message[position - 1] == '\r') {
            position--;
        }
    }
    return position;
}

static struct frame *frame_at(const struct scanner *scanner, uint32_t index)
{
    return &g_array_index(scanner->frames, struct frame, index);
}

/* Goes on from the hash of what stands before (FNV-1a). */
static uint32_t hash_text(uint32_t hash, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (uint8_t)text[i]) * 16777619u;
    }
    return hash;
}

/* The innermost part with that boundary. A line of hyphens is compared with the boundaries of
 * a hundred parts at worst, and there may be millions of such lines: hence the hash. */
static bool find_boundary(const struct scanner *scanner, const char *text, size_t length,
                          uint32_t hash, uint32_t *frame)
{
    for (uint32_t i = scanner->frames->len; i-- > 0;) {
        const struct frame *candidate = frame_at(scanner, i);
        if (candidate->hash == hash && candidate->boundary.data != NULL &&
            candidate->boundary.length == length &&
            memcmp(text, candidate->boundary.data, length) == 0) {
            *frame = i;
            return true;
        }
    }
    return false;
}

/* delimiter := CRLF "--" boundary; close-delimiter := delimiter "--"; then transport-padding. The
 * whole line must match, not just its beginning, so that a boundary that is the beginning of
 * another one is not taken for it; the innermost part wins. */
static bool find_delimiter(const struct scanner *scanner, const struct line *line, uint32_t *frame,
                           bool *closing)
{
    const char *text = (const char *)scanner->message + line->start;
    size_t length = line->end - line->start;
    if (length < 3 || text[0] != '-' || text[1] != '-') {
        return false;
    }
    text += 2;
    length -= 2;
    while (length > 0 && g_ascii_isspace(text[length - 1])) {
        length--;
    }
    if (length == 0 || length > BOUNDARY_MAX + 2) {
        return false;
    }
    bool dashes = length > 2 && text[length - 1] == '-' && text[length - 2] == '-';
    uint32_t bare = hash_text(0, text, dashes ? length - 2 : length);
    uint32_t closed = 0;
    bool opens =
        find_boundary(scanner, text, length, dashes ? hash_text(bare, "--", 2) : bare, frame);
    *closing = dashes && find_boundary(scanner, text, length - 2, bare, &closed) &&
               (!opens || closed > *frame);
    *frame = *closing ? closed : *frame;
    return opens || *closing;
}

/* The parts above that many frames end here: at a delimiter line, or at the message's end. */
static void close_frames(struct scanner *scanner, uint32_t remaining, size_t end, uint64_t newlines)
{
    while (scanner->frames->len > remaining) {
        const struct frame *frame = frame_at(scanner, scanner->frames->len - 1);
        struct structure_part *part = structure_part(scanner->structure, frame->part);
        if (end > part->body.start) {
            part->body.length = end - part->body.start;
            part->lines = newlines - frame->newlines;
        }
        g_array_set_size(scanner->frames, scanner->frames->len - 1);
    }
}

static void close_at_delimiter(struct scanner *scanner, uint32_t remaining, const struct line *line)
{
    size_t end = without_line_end(scanner, line->start);
    uint64_t newlines = scanner->newlines - (scanner->message[line->end - 1] == '\n');
    close_frames(scanner, remaining, end, newlines - (end < line->start));
}

static bool is_named(const struct header_field *field, const char *name)
{
    return field->name_length == strlen(name) &&
           g_ascii_strncasecmp(field->name, name, field->name_length) == 0;
}

static const struct {
    const char *name;
    size_t member;
} text_fields[] = {
    {"Content-ID", G_STRUCT_OFFSET(struct structure_part, id)},
    {"Content-Description", G_STRUCT_OFFSET(struct structure_part, description)},
    {"Content-MD5", G_STRUCT_OFFSET(struct structure_part, md5)},
    {"Content-Location", G_STRUCT_OFFSET(struct structure_part, location)},
};

/* The first field of a name counts. */
static void take_mime_field(struct scanner *scanner, struct structure_part *part,
                            const struct header_field *field)
{
    struct structure *structure = scanner->structure;
    const GString *value = scanner->value;
    if (is_named(field, "Content-Type") && part->type.data == NULL) {
        mime_fields_type(structure, part, value->str, value->len);
    } else if (is_named(field, "Content-Transfer-Encoding") && part->encoding.data == NULL) {
        mime_fields_encoding(structure, part, value->str, value->len);
    } else if (is_named(field, "Content-Disposition") && part->disposition.data == NULL) {
        mime_fields_disposition(structure, part, value->str, value->len);
    } else if (is_named(field, "Content-Language") && part->languages.count == 0) {
        mime_fields_language(structure, part, value->str, value->len);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(text_fields); i++) {
        struct structure_text *text = G_STRUCT_MEMBER_P(part, text_fields[i].member);
        if (is_named(field, text_fields[i].name) && text->data == NULL) {
            *text = structure_keep(structure, value->str, value->len);
        }
    }
}

static const char *const envelope_names[ENVELOPE_FIELD_COUNT] = {
    [ENVELOPE_DATE] = "Date",
    [ENVELOPE_SUBJECT] = "Subject",
    [ENVELOPE_FROM] = "From",
    [ENVELOPE_SENDER] = "Sender",
    [ENVELOPE_REPLY_TO] = "Reply-To",
    [ENVELOPE_TO] = "To",
    [ENVELOPE_CC] = "Cc",
    [ENVELOPE_BCC] = "Bcc",
    [ENVELOPE_IN_REPLY_TO] = "In-Reply-To",
    [ENVELOPE_MESSAGE_ID] = "Message-ID",
};

static bool is_address_field(int field)
{
    return field >= ENVELOPE_FROM && field <= ENVELOPE_BCC;
}

/* The first field of a name counts, but address fields that are repeated make one list. */
static void take_envelope_field(struct scanner *scanner, GString *values[ENVELOPE_FIELD_COUNT],
                                const struct header_field *field)
{
    for (int i = 0; i < ENVELOPE_FIELD_COUNT; i++) {
        if (!is_named(field, envelope_names[i])) {
            continue;
        }
        if (values[i] == NULL) {
            values[i] = g_string_new_len(scanner->value->str, (gssize)scanner->value->len);
        } else if (is_address_field(i)) {
            g_string_append(values[i], ", ");
            g_string_append_len(values[i], scanner->value->str, (gssize)scanner->value->len);
        }
    }
}

static void keep_envelope(struct scanner *scanner, uint32_t part,
                          GString *values[ENVELOPE_FIELD_COUNT])
{
    struct structure *structure = scanner->structure;
    struct structure_message *message = &g_array_index(
        structure->messages, struct structure_message, structure_part(structure, part)->message);
    for (int i = 0; i < ENVELOPE_FIELD_COUNT; i++) {
        if (values[i] == NULL) {
            continue;
        }
        if (!is_address_field(i) || part == 0) {
            message->fields[i] = structure_keep(structure, values[i]->str, values[i]->len);
        }
        if (is_address_field(i)) {
            message->addresses[i] =
                address_list_parse(structure, values[i]->str, values[i]->len,
                                   LIMIT_ENVELOPE_ADDRESSES - structure->addresses->len);
        }
        g_string_free(values[i], TRUE);
    }
}

/* Reads the fields of the part's header block; false beyond a limit. */
static bool take_header(struct scanner *scanner, uint32_t index)
{
    struct structure_part *part = structure_part(scanner->structure, index);
    bool is_message = structure_is_message(scanner->structure, index);
    const uint8_t *block = scanner->message + part->header.start;
    GString *values[ENVELOPE_FIELD_COUNT] = {NULL};
    struct header_field field;
    size_t position = 0;
    scanner->header_octets += part->header.length;
    if (scanner->header_octets > scanner->bounds->header_size) {
        return false;
    }
    while (header_next(block, part->header.length, &position, &field) &&
           ++scanner->header_fields <= scanner->bounds->header_fields) {
        g_string_truncate(scanner->value, 0);
        header_unfold(scanner->value, field.value, field.value_length);
        take_mime_field(scanner, part, &field);
        if (is_message) {
            take_envelope_field(scanner, values, &field);
        }
    }
    keep_envelope(scanner, index, values);
    return scanner->header_fields <= scanner->bounds->header_fields;
}

static bool has_type(const struct structure_part *part, const char *type)
{
    return g_ascii_strcasecmp(part->type.data, type) == 0;
}

static void set_type(struct scanner *scanner, struct structure_part *part, const char *type)
{
    part->type = structure_keep(scanner->structure, type, strlen(type));
    part->parameters.count = 0;
}

static bool is_multipart(const struct structure_part *part)
{
    return g_ascii_strncasecmp(part->type.data, "multipart/", 10) == 0;
}

/* What the part is (RFC 2045 5.2: text/plain unless it says otherwise; RFC 2046 5.1.5: a message
 * in a digest). A multipart without a boundary can't be one, so it is text. */
static void classify(struct scanner *scanner, uint32_t index, struct frame *frame)
{
    struct structure *structure = scanner->structure;
    struct structure_part *part = structure_part(structure, index);
    const struct structure_part *above = structure_part(structure, part->parent);
    bool in_digest = index != 0 && has_type(above, "multipart/digest");
    if (part->type.data == NULL) {
        set_type(scanner, part, in_digest ? "message/rfc822" : "text/plain");
    }
    if (is_multipart(part)) {
        g_autoptr(GString) boundary = g_string_new(NULL);
        mime_fields_parameter(boundary, structure, part->parameters, "boundary");
        g_string_truncate(boundary, strlen(g_strchomp(boundary->str)));
        if (boundary->len == 0 || boundary->len > BOUNDARY_MAX) {
            set_type(scanner, part, "text/plain");
            return;
        }
        frame->boundary = structure_keep(structure, boundary->str, boundary->len);
        frame->hash = hash_text(0, boundary->str, boundary->len);
        part->kind = STRUCTURE_MULTIPART;
    } else if (has_type(part, "message/rfc822") || has_type(part, "message/global")) {
        part->kind = STRUCTURE_MESSAGE;
    }
    if (part->kind != STRUCTURE_LEAF && (scanner->flat || part->depth >= LIMIT_MIME_DEPTH)) {
        set_type(scanner, part, "application/octet-stream");
        frame->boundary.data = NULL;
        part->kind = STRUCTURE_LEAF;
    }
}

/* A header block ends at its empty line, at a delimiter line or with the message. */
static void scan_header(struct scanner *scanner, struct structure_part *part)
{
    struct line line;
    uint32_t frame;
    bool closing;
    part->header.start = scanner->position;
    while (next_line(scanner, &line)) {
        if (find_delimiter(scanner, &line, &frame, &closing)) {
            unread_line(scanner, &line);
            break;
        }
        if (without_line_end(scanner, line.end) == line.start) {
            break;
        }
    }
    part->header.length = scanner->position - part->header.start;
    part->body.start = scanner->position;
}

/* Only an identity encoding lets a message be read where it stands. */
static bool has_plain_octets(const struct structure_part *part)
{
    static const char *const identities[] = {"7bit", "8bit", "binary"};
    if (part->encoding.data == NULL) {
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(identities); i++) {
        if (g_ascii_strcasecmp(part->encoding.data, identities[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Begins a part below parent at the position, and while it is a message, the message in it. */
static bool open_part(struct scanner *scanner, uint32_t parent)
{
    for (;;) {
        if (scanner->structure->parts->len >= scanner->bounds->parts) {
            return false;
        }
        uint32_t index = structure_add_part(scanner->structure, parent, STRUCTURE_LEAF);
        struct structure_part *part = structure_part(scanner->structure, index);
        struct frame frame = {.part = index};
        scan_header(scanner, part);
        if (!take_header(scanner, index)) {
            return false;
        }
        classify(scanner, index, &frame);
        frame.newlines = scanner->newlines;
        g_array_append_val(scanner->frames, frame);
        if (part->kind != STRUCTURE_MESSAGE || !has_plain_octets(part)) {
            return true;
        }
        parent = index;
    }
}

static bool scan(struct scanner *scanner)
{
    struct line line;
    uint32_t frame;
    bool closing;
    if (!open_part(scanner, 0)) {
        return false;
    }
    while (next_line(scanner, &line)) {
        if (!find_delimiter(scanner, &line, &frame, &closing)) {
            continue;
        }
        close_at_delimiter(scanner, frame + 1, &line);
        if (closing) {
            frame_at(scanner, frame)->boundary.data = NULL;
        } else if (!open_part(scanner, frame_at(scanner, frame)->part)) {
            return false;
        }
    }
    close_frames(scanner, 0, scanner->length, scanner->newlines);
    return true;
}

/* IMAP has no multipart without parts, nor a message without a body. An empty text stands for the
 * parts that a multipart lacks; a message that is encoded is shown as a text so encoded. */
static bool fill_in_children(struct scanner *scanner)
{
    struct structure *structure = scanner->structure;
    for (uint32_t i = 0, count = structure->parts->len; i < count; i++) {
        const struct structure_part *part = structure_part(structure, i);
        struct octet_range body = part->body;
        if (part->kind == STRUCTURE_LEAF || part->first_child != 0) {
            continue;
        }
        if (structure->parts->len >= scanner->bounds->parts) {
            return false;
        }
        uint32_t index = structure_add_part(structure, i, STRUCTURE_LEAF);
        struct structure_part *child = structure_part(structure, index);
        part = structure_part(structure, i);
        set_type(scanner, child, "text/plain");
        child->header.start = body.start;
        child->body = body;
        child->lines = part->lines;
        child->encoding = part->encoding;
        if (part->kind == STRUCTURE_MULTIPART) {
            child->body = (struct octet_range){body.start + body.length, 0};
            child->lines = 0;
            child->encoding = (struct structure_text){0};
        }
    }
    return true;
}

struct structure *mime_parse(const uint8_t *message, size_t length, bool flat,
                             const struct mime_bounds *bounds)
{
    struct scanner scanner = {
        .message = message,
        .length = length,
        .flat = flat,
        .bounds = bounds,
        .structure = structure_new(),
        .frames = g_array_new(FALSE, FALSE, sizeof(struct frame)),
        .value = g_string_new(NULL),
    };
    bool done = length <= bounds->size && scan(&scanner) && fill_in_children(&scanner);
    g_array_free(scanner.frames, TRUE);
    g_string_free(scanner.value, TRUE);
    if (!done) {
        structure_free(scanner.structure);
        return NULL;
    }
    return scanner.structure;
}
