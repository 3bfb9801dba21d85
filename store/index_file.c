#include "store/internal/index_file.h"

#include <string.h>

#include "store/internal/properties.h"
#include "store/internal/text.h"

enum {
    DATE_LENGTH = 24, /* 2026-11-17T10:00:00+0100 */
    NUMBER_MAX = 20,  /* digits */
    /* Of a line, at most: */
    LINE_LENGTH = 3 * (NUMBER_MAX + 1) + DATE_LENGTH + 1, /* without flags */
    FLAGS_LENGTH = sizeof(" \\Seen \\Answered \\Flagged \\Deleted \\Draft") - 1,
};

static const int64_t DATE_MIN = -62135596800; /* 0001-01-01T00:00:00 */
static const int64_t DATE_MAX = 253402300799; /* 9999-12-31T23:59:59 */
/* Days from 0000-03-01, where years with a leap day at their end begin, to 1970-01-01. */
static const int64_t EPOCH_DAYS = 719468;

static const struct {
    const char *name;
    uint8_t bit;
} FLAGS[] = {
    {"\\Seen", MESSAGE_SEEN},       {"\\Answered", MESSAGE_ANSWERED},
    {"\\Flagged", MESSAGE_FLAGGED}, {"\\Deleted", MESSAGE_DELETED},
    {"\\Draft", MESSAGE_DRAFT},
};

const char *message_flag_name(unsigned position, uint8_t *bit)
{
    g_assert(position < G_N_ELEMENTS(FLAGS));
    *bit = FLAGS[position].bit;
    return FLAGS[position].name;
}

bool index_date_valid(int64_t seconds, int zone)
{
    int64_t local;

    if (zone < -INDEX_ZONE_MAX || zone > INDEX_ZONE_MAX || seconds < DATE_MIN - 86400 * 8 ||
        seconds > DATE_MAX + 86400 * 8) {
        return false;
    }
    local = seconds + zone * 60;
    return local >= DATE_MIN && local <= DATE_MAX;
}

static void put_digits(char *out, unsigned digits, unsigned value)
{
    while (digits-- > 0) {
        out[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Returns what follows. */
static char *put_number(char *out, uint64_t value)
{
    char digits[NUMBER_MAX];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(out, digits + at, sizeof(digits) - at);
    return out + (sizeof(digits) - at);
}

/* Calendar arithmetic on years that begin in March: the leap day is then a year's last. */
static void put_day(char *out, int64_t days)
{
    unsigned rest = (unsigned)(days % 146097);
    unsigned century = MIN(rest / 36524, 3);
    unsigned year = (unsigned)(days / 146097) * 400 + century * 100;
    unsigned month;

    rest -= century * 36524;
    year += rest / 1461 * 4;
    rest %= 1461;
    year += MIN(rest / 365, 3);
    rest -= MIN(rest / 365, 3) * 365;
    month = (5 * rest + 2) / 153;
    put_digits(out + 8, 2, rest - (153 * month + 2) / 5 + 1);
    if (month >= 10) {
        year++;
    }
    put_digits(out + 5, 2, month < 10 ? month + 3 : month - 9);
    put_digits(out, 4, year);
}

static void put_date(char out[DATE_LENGTH], int64_t seconds, int zone)
{
    int64_t local = seconds + zone * 60 + EPOCH_DAYS * 86400;
    unsigned rest = (unsigned)(local % 86400);
    unsigned minutes = (unsigned)ABS(zone);

    memcpy(out, "yyyy-mm-ddThh:mm:ss+zzzz", DATE_LENGTH);
    put_day(out, local / 86400);
    put_digits(out + 11, 2, rest / 3600);
    put_digits(out + 14, 2, rest / 60 % 60);
    put_digits(out + 17, 2, rest % 60);
    out[19] = zone < 0 ? '-' : '+';
    put_digits(out + 20, 2, minutes / 60);
    put_digits(out + 22, 2, minutes % 60);
}

static char *put_text(char *out, const char *text)
{
    size_t length = strlen(text);

    memcpy(out, text, length);
    return out + length;
}

/* The octets that the flags and these keywords take in a line. */
static size_t flags_length(uint64_t keywords, const GPtrArray *names)
{
    size_t length = FLAGS_LENGTH;

    for (guint i = 0; keywords != 0; i++, keywords >>= 1) {
        if ((keywords & 1) != 0) {
            length += 1 + strlen(g_ptr_array_index(names, i));
        }
    }
    return length;
}

static char *put_flags(char *out, const struct message *message, const GPtrArray *keywords)
{
    uint64_t left = message->keywords;

    for (size_t i = 0; i < G_N_ELEMENTS(FLAGS); i++) {
        if ((message->flags & FLAGS[i].bit) != 0) {
            *out++ = ' ';
            out = put_text(out, FLAGS[i].name);
        }
    }
    for (guint i = 0; left != 0; i++, left >>= 1) {
        if ((left & 1) != 0) {
            *out++ = ' ';
            out = put_text(out, g_ptr_array_index(keywords, i));
        }
    }
    return out;
}

void index_file_encode(GString *out, const struct message *messages, size_t count,
                       const GPtrArray *keywords)
{
    char date[DATE_LENGTH];

    for (size_t i = 0; i < count; i++) {
        const struct message *message = &messages[i];
        const struct message *before = i > 0 ? message - 1 : NULL;
        size_t start = out->len;

        g_string_set_size(out, start + LINE_LENGTH + flags_length(message->keywords, keywords));
        char *at = put_number(out->str + start, message->uid);

        /* Neighbours often came in the same second. */
        if (before == NULL || before->internal_date != message->internal_date ||
            before->zone != message->zone) {
            put_date(date, message->internal_date, message->zone);
        }
        *at++ = ' ';
        at = put_number(at, message->modseq);
        *at++ = ' ';
        memcpy(at, date, DATE_LENGTH);
        at += DATE_LENGTH;
        *at++ = ' ';
        at = put_number(at, message->size);
        at = put_flags(at, message, keywords);
        *at++ = '\n';
        g_string_truncate(out, (gsize)(at - out->str));
    }
}

/* Exactly so many digits. */
static bool take_digits(struct text *text, unsigned digits, unsigned max, unsigned *out)
{
    unsigned value = 0;

    if ((size_t)(text->end - text->at) < digits) {
        return false;
    }
    for (unsigned i = 0; i < digits; i++, text->at++) {
        if (*text->at < '0' || *text->at > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(*text->at - '0');
    }
    *out = value;
    return value <= max;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

static bool take_day(struct text *text, int64_t *days)
{
    unsigned year, month, day;

    if (!take_digits(text, 4, 9999, &year) || !text_octet(text, '-') ||
        !take_digits(text, 2, 12, &month) || !text_octet(text, '-') ||
        !take_digits(text, 2, 31, &day) || year == 0 || month == 0 || day == 0 ||
        day > days_in_month(year, month)) {
        return false;
    }
    if (month < 3) {
        year--;
        month += 12;
    }
    *days = (int64_t)(365 * year + year / 4 - year / 100 + year / 400) +
            (153 * (month - 3) + 2) / 5 + day - 1 - EPOCH_DAYS;
    return true;
}

static bool take_date(struct text *text, int64_t *seconds, int16_t *zone)
{
    unsigned hour, minute, second, zone_hours, zone_minutes;
    int64_t days;
    bool west;

    if (!take_day(text, &days) || !text_octet(text, 'T') || !take_digits(text, 2, 23, &hour) ||
        !text_octet(text, ':') || !take_digits(text, 2, 59, &minute) || !text_octet(text, ':') ||
        !take_digits(text, 2, 59, &second)) {
        return false;
    }
    west = text->at < text->end && *text->at == '-';
    if ((!west && !text_octet(text, '+')) || (west && !text_octet(text, '-')) ||
        !take_digits(text, 2, 99, &zone_hours) || !take_digits(text, 2, 59, &zone_minutes) ||
        (west && zone_hours == 0 && zone_minutes == 0)) {
        return false;
    }
    *zone = (int16_t)(zone_hours * 60 + zone_minutes);
    if (west) {
        *zone = (int16_t) - *zone;
    }
    *seconds = days * 86400 + hour * 3600 + minute * 60 + second - *zone * 60;
    return true;
}

static bool add_flag(struct message *message, const char *name, size_t length,
                     const GPtrArray *keywords)
{
    size_t index;

    for (size_t i = 0; name[0] == '\\' && i < G_N_ELEMENTS(FLAGS); i++) {
        if (strlen(FLAGS[i].name) == length && memcmp(FLAGS[i].name, name, length) == 0) {
            bool fresh = (message->flags & FLAGS[i].bit) == 0;

            message->flags |= FLAGS[i].bit;
            return fresh;
        }
    }
    if (!keywords_find(keywords, name, length, &index) ||
        (message->keywords & (UINT64_C(1) << index)) != 0) {
        return false;
    }
    message->keywords |= UINT64_C(1) << index;
    return true;
}

static bool take_flags(struct text *line, struct message *message, const GPtrArray *keywords)
{
    while (line->at < line->end) {
        const char *start;

        if (!text_octet(line, ' ')) {
            return false;
        }
        start = line->at;
        while (line->at < line->end && *line->at != ' ') {
            line->at++;
        }
        if (line->at == start || !add_flag(message, start, (size_t)(line->at - start), keywords)) {
            return false;
        }
    }
    return true;
}

static bool take_message(struct text *line, struct message *out, const GPtrArray *keywords)
{
    uint64_t uid, size;

    memset(out, 0, sizeof(*out));
    if (!text_number(line, MESSAGE_UID_MAX, &uid) || uid == 0 || !text_octet(line, ' ') ||
        !text_number(line, MODSEQ_MAX, &out->modseq) || out->modseq == 0 ||
        !text_octet(line, ' ') || !take_date(line, &out->internal_date, &out->zone) ||
        !text_octet(line, ' ') || !text_number(line, UINT32_MAX, &size)) {
        return false;
    }
    out->uid = (uint32_t)uid;
    out->size = (uint32_t)size;
    return take_flags(line, out, keywords);
}

int index_file_decode(struct message out[LEAF_MESSAGES], size_t *count, const void *data,
                      size_t length, uint32_t number, const GPtrArray *keywords,
                      struct store_error *error)
{
    struct text text = {data, (const char *)data + length};

    *count = 0;
    if (length == 0 || length > INDEX_FILE_MAX) {
        return store_error_set(error, STORE_CORRUPT, "index of %zu octets", length);
    }
    while (text.at < text.end) {
        struct text line;
        struct message *message = &out[*count];

        if (*count == LEAF_MESSAGES || !text_line(&text, &line) ||
            !take_message(&line, message, keywords) || message->uid / LEAF_MESSAGES != number ||
            (*count > 0 && message->uid <= message[-1].uid)) {
            return store_error_set(error, STORE_CORRUPT,
                                   "malformed index of leaf %" G_GUINT32_FORMAT ", line %zu",
                                   number, *count + 1);
        }
        ++*count;
    }
    return 0;
}
