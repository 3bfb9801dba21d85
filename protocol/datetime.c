#include "protocol/datetime.h"

#include <string.h>

enum { SECONDS_A_DAY = 86400, LAST_YEAR = 9999 };

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct civil {
    int year;
    int month; /* 1 to 12 */
    int day;
    int hour;
    int minute;
    int second; /* 60: a leap second, counted as the next second */
};

/* Days since 1970-01-01 in the proleptic Gregorian calendar, years from 0. The year is counted
 * from March, so that the leap day is its last. */
static int32_t days_from_civil(int year, int month, int day)
{
    int shifted = month <= 2 ? year - 1 : year;
    int era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int year_of_era = shifted - era * 400;
    int day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(struct civil *out, int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int day_of_era = (int)(shifted - era * 146097);
    int year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int march_month = (5 * day_of_year + 2) / 153;

    out->day = day_of_year - (153 * march_month + 2) / 5 + 1;
    out->month = march_month < 10 ? march_month + 3 : march_month - 9;
    out->year = (int)(year_of_era + era * 400) + (out->month <= 2);
}

static int days_of_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static bool date_is_possible(const struct civil *civil)
{
    return civil->year >= 0 && civil->year <= LAST_YEAR && civil->month >= 1 &&
           civil->month <= 12 && civil->day >= 1 &&
           civil->day <= days_of_month(civil->year, civil->month);
}

static bool time_is_possible(const struct civil *civil)
{
    return civil->hour <= 23 && civil->minute <= 59 && civil->second <= 60;
}

static int64_t seconds_from_civil(const struct civil *civil, int zone)
{
    int64_t days = days_from_civil(civil->year, civil->month, civil->day);

    return days * SECONDS_A_DAY + civil->hour * 3600 + civil->minute * 60 + civil->second -
           (int64_t)zone * 60;
}

/* 0 if it is none. */
static int month_from_name(const char *text, size_t length)
{
    if (length != 3)
        return 0;
    for (int i = 0; i < 12; i++) {
        if (g_ascii_strncasecmp(text, month_names[i], 3) == 0)
            return i + 1;
    }
    return 0;
}

/* --- RFC 3501 --- */

struct reader {
    const char *text;
    size_t length;
    size_t position;
};

static bool read_char(struct reader *reader, char expected)
{
    if (reader->position == reader->length || reader->text[reader->position] != expected)
        return false;
    reader->position++;
    return true;
}

/* Between least and most digits, as many as there are. */
static bool read_digits(struct reader *reader, size_t least, size_t most, int *out)
{
    size_t start = reader->position;

    *out = 0;
    while (reader->position < reader->length && reader->position - start < most &&
           g_ascii_isdigit(reader->text[reader->position]))
        *out = *out * 10 + (reader->text[reader->position++] - '0');
    return reader->position - start >= least;
}

/* date-day "-" date-month "-" date-year */
static bool read_date(struct reader *reader, struct civil *out)
{
    if (!read_digits(reader, 1, 2, &out->day) || !read_char(reader, '-') ||
        reader->length - reader->position < 3)
        return false;
    out->month = month_from_name(reader->text + reader->position, 3);
    reader->position += 3;
    return read_char(reader, '-') && read_digits(reader, 4, 4, &out->year) && date_is_possible(out);
}

/* time = 2DIGIT ":" 2DIGIT ":" 2DIGIT */
static bool read_time(struct reader *reader, struct civil *out)
{
    return read_digits(reader, 2, 2, &out->hour) && read_char(reader, ':') &&
           read_digits(reader, 2, 2, &out->minute) && read_char(reader, ':') &&
           read_digits(reader, 2, 2, &out->second) && time_is_possible(out);
}

/* zone = ("+" / "-") 4DIGIT */
static bool read_zone(struct reader *reader, int16_t *out)
{
    bool west = false;
    int digits;

    if (!read_char(reader, '+')) {
        if (!read_char(reader, '-'))
            return false;
        west = true;
    }
    if (!read_digits(reader, 4, 4, &digits) || digits / 100 > 23 || digits % 100 > 59)
        return false;
    *out = (int16_t)(digits / 100 * 60 + digits % 100);
    if (west)
        *out = (int16_t) - *out;
    return true;
}

bool datetime_parse(int64_t *seconds, int16_t *zone, const char *text, size_t length)
{
    struct reader reader = {text, length, 0};
    struct civil civil = {0};

    read_char(&reader, ' ');
    if (!read_date(&reader, &civil) || !read_char(&reader, ' ') || !read_time(&reader, &civil) ||
        !read_char(&reader, ' ') || !read_zone(&reader, zone) || reader.position != length)
        return false;
    *seconds = seconds_from_civil(&civil, *zone);
    return true;
}

static int64_t floor_days(int64_t seconds)
{
    return seconds / SECONDS_A_DAY - (seconds % SECONDS_A_DAY < 0);
}

void datetime_format(GString *out, int64_t seconds, int16_t zone)
{
    const int64_t first = (int64_t)days_from_civil(0, 1, 1) * SECONDS_A_DAY;
    const int64_t last = (int64_t)(days_from_civil(LAST_YEAR, 12, 31) + 1) * SECONDS_A_DAY - 1;
    int minutes = MIN(ABS((int)zone), 23 * 60 + 59);
    struct civil civil;
    int64_t local;
    int of_day;

    /* Four digits must do for the year. */
    local = CLAMP(seconds, first - SECONDS_A_DAY, last + SECONDS_A_DAY) + (int64_t)zone * 60;
    local = CLAMP(local, first, last);
    civil_from_days(&civil, floor_days(local));
    of_day = (int)(local - floor_days(local) * SECONDS_A_DAY);
    g_string_append_printf(out, "%2d-%s-%04d %02d:%02d:%02d %c%02d%02d", civil.day,
                           month_names[civil.month - 1], civil.year, of_day / 3600,
                           of_day / 60 % 60, of_day % 60, zone < 0 ? '-' : '+', minutes / 60,
                           minutes % 60);
}

bool date_parse(int32_t *day, const char *text, size_t length)
{
    struct reader reader = {text, length, 0};
    struct civil civil = {0};

    if (!read_date(&reader, &civil) || reader.position != length)
        return false;
    *day = days_from_civil(civil.year, civil.month, civil.day);
    return true;
}

int32_t date_of(int64_t seconds, int16_t zone)
{
    const int64_t edge = (int64_t)INT32_MAX * SECONDS_A_DAY;

    return (int32_t)floor_days(CLAMP(seconds, -edge + SECONDS_A_DAY * 2, edge - SECONDS_A_DAY * 2) +
                               (int64_t)zone * 60);
}

/* --- RFC 5322 --- */

/* Folding white space and comments, which nest; an unclosed comment runs to the end. */
static void skip_cfws(struct reader *reader)
{
    size_t depth = 0;

    for (; reader->position < reader->length; reader->position++) {
        char c = reader->text[reader->position];

        if (c == '(') {
            depth++;
        } else if (depth > 0) {
            if (c == ')')
                depth--;
            else if (c == '\\' && reader->position + 1 < reader->length)
                reader->position++;
        } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            return;
        }
    }
}

static size_t read_word(struct reader *reader, const char **out)
{
    size_t start;

    skip_cfws(reader);
    start = reader->position;
    while (reader->position < reader->length && g_ascii_isalpha(reader->text[reader->position]))
        reader->position++;
    *out = reader->text + start;
    return reader->position - start;
}

static bool read_number(struct reader *reader, size_t most, int *out)
{
    size_t start;

    skip_cfws(reader);
    start = reader->position;
    return read_digits(reader, 1, most, out) && reader->position > start &&
           (reader->position == reader->length || !g_ascii_isdigit(reader->text[reader->position]));
}

/* White space, or the "-" that some write between the pieces of a date. */
static void skip_date_separator(struct reader *reader)
{
    skip_cfws(reader);
    read_char(reader, '-');
}

/* year = 4*DIGIT; obs-year = 2*DIGIT (RFC 5322 4.3) */
static bool read_year(struct reader *reader, int *out)
{
    size_t start, digits;

    skip_cfws(reader);
    start = reader->position;
    if (!read_number(reader, 4, out))
        return false;
    digits = reader->position - start;
    if (digits == 2)
        *out += *out < 50 ? 2000 : 1900;
    else if (digits == 3)
        *out += 1900;
    return digits >= 2;
}

/* [day-name ","] day month year */
static bool read_message_date(struct reader *reader, struct civil *out)
{
    const char *word;
    size_t length;

    if (read_word(reader, &word) > 0) {
        skip_cfws(reader);
        read_char(reader, ',');
    }
    if (!read_number(reader, 2, &out->day))
        return false;
    skip_date_separator(reader);
    length = read_word(reader, &word);
    /* Some write the whole month's name. */
    out->month = length >= 3 ? month_from_name(word, 3) : 0;
    skip_date_separator(reader);
    return out->month != 0 && read_year(reader, &out->year) && date_is_possible(out);
}

/* hour ":" minute [":" second]; a time that is no time leaves midnight. */
static void read_message_time(struct reader *reader, struct civil *out)
{
    struct civil time = {0};
    bool good;

    good = read_number(reader, 2, &time.hour);
    skip_cfws(reader);
    good = good && read_char(reader, ':') && read_number(reader, 2, &time.minute);
    skip_cfws(reader);
    if (good && read_char(reader, ':'))
        good = read_number(reader, 2, &time.second);
    if (good && time_is_possible(&time)) {
        out->hour = time.hour;
        out->minute = time.minute;
        out->second = time.second;
    }
}

/* zone / obs-zone; what is unknown counts as -0000 (RFC 5322 4.3). */
static int16_t read_message_zone(struct reader *reader)
{
    static const struct {
        char name[4];
        int16_t hours;
    } zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
                 {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
    const char *word;
    size_t length;
    int16_t zone;

    skip_cfws(reader);
    if (read_zone(reader, &zone))
        return zone;
    length = read_word(reader, &word);
    for (size_t i = 0; length == 3 && i < G_N_ELEMENTS(zones); i++) {
        if (g_ascii_strncasecmp(word, zones[i].name, 3) == 0)
            return (int16_t)(zones[i].hours * 60);
    }
    return 0;
}

bool datetime_parse_rfc5322(int64_t *seconds, int16_t *zone, const char *text, size_t length)
{
    struct reader reader = {text, length, 0};
    struct civil civil = {0};

    if (!read_message_date(&reader, &civil))
        return false;
    read_message_time(&reader, &civil);
    *zone = read_message_zone(&reader);
    *seconds = seconds_from_civil(&civil, *zone);
    return true;
}
