#include "store/moment.h"

#include <glib.h>
#include <string.h>

enum { SECONDS_A_DAY = 24 * 60 * 60, MINUTES_MAX = 59, ZONE_HOURS_MAX = 23 };

/* Exactly so many digits, at least min and at most max. */
static bool take_digits(const char **text, unsigned digits, unsigned min, unsigned max,
                        unsigned *out)
{
    unsigned value = 0;

    for (unsigned i = 0; i < digits; i++, (*text)++) {
        if (!g_ascii_isdigit(**text)) {
            return false;
        }
        value = value * 10 + (unsigned)(**text - '0');
    }
    *out = value;
    return value >= min && value <= max;
}

static bool take(const char **text, char octet)
{
    if (**text != octet) {
        return false;
    }
    (*text)++;
    return true;
}

static bool is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year) ? 1u : 0u);
}

/* Before the first of January, since 1970. */
static int32_t days_before_year(unsigned year)
{
    unsigned before = year - 1;

    return (int32_t)(365 * (year - 1970) + (before / 4 - before / 100 + before / 400) -
                     (1969 / 4 - 1969 / 100 + 1969 / 400));
}

static bool take_day(const char **text, int32_t *day)
{
    unsigned year, month, of_month;

    if (!take_digits(text, 4, 1970, 9999, &year) || !take(text, '-') ||
        !take_digits(text, 2, 1, 12, &month) || !take(text, '-') ||
        !take_digits(text, 2, 1, days_in_month(year, month), &of_month)) {
        return false;
    }
    *day = days_before_year(year) + (int32_t)of_month - 1;
    for (unsigned i = 1; i < month; i++) {
        *day += (int32_t)days_in_month(year, i);
    }
    return true;
}

/* In seconds east of UTC. */
static bool take_zone(const char **text, int64_t *zone)
{
    unsigned hours, minutes;
    int64_t sign = **text == '-' ? -1 : 1;

    *zone = 0;
    if (take(text, 'Z')) {
        return true;
    }
    if ((!take(text, '+') && !take(text, '-')) ||
        !take_digits(text, 2, 0, ZONE_HOURS_MAX, &hours)) {
        return false;
    }
    take(text, ':');
    if (!take_digits(text, 2, 0, MINUTES_MAX, &minutes)) {
        return false;
    }
    *zone = sign * (int64_t)(hours * 3600 + minutes * 60);
    return true;
}

static bool take_time(const char **text, int64_t *seconds)
{
    unsigned hour, minute, second;

    if (!take_digits(text, 2, 0, 23, &hour) || !take(text, ':') ||
        !take_digits(text, 2, 0, 59, &minute) || !take(text, ':') ||
        !take_digits(text, 2, 0, 59, &second)) {
        return false;
    }
    *seconds = hour * 3600 + minute * 60 + second;
    return true;
}

static bool parse_commit(struct moment *out, const char *text)
{
    size_t length = strlen(text);

    if (length < MOMENT_COMMIT_MIN || length > OBJECT_ID_HEX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isxdigit(text[i])) {
            return false;
        }
        out->commit[i] = g_ascii_tolower(text[i]);
    }
    out->commit[length] = '\0';
    return true;
}

bool moment_parse(struct moment *out, const char *text)
{
    int64_t seconds, zone;
    int32_t day;

    memset(out, 0, sizeof(*out));
    if (parse_commit(out, text)) {
        return true;
    }
    memset(out, 0, sizeof(*out));
    if (!take_day(&text, &day)) {
        return false;
    }
    if (*text == '\0') {
        *out = moment_of_day(day);
        return true;
    }
    if (!take(&text, 'T') || !take_time(&text, &seconds) || !take_zone(&text, &zone)) {
        return false;
    }
    out->first = (int64_t)day * SECONDS_A_DAY + seconds - zone;
    out->last = out->first;
    return *text == '\0' && out->first >= 0;
}

struct moment moment_of_day(int32_t day)
{
    return (struct moment){.first = (int64_t)day * SECONDS_A_DAY,
                           .last = ((int64_t)day + 1) * SECONDS_A_DAY - 1};
}

void moment_format_day(char out[MOMENT_DAY_LENGTH + 1], int32_t day)
{
    unsigned year = 1970 + (unsigned)day / 366;
    unsigned month = 1;
    unsigned rest;

    while (year < 9999 && days_before_year(year + 1) <= day) {
        year++;
    }
    rest = (unsigned)(day - days_before_year(year));
    while (month < 12 && rest >= days_in_month(year, month)) {
        rest -= days_in_month(year, month++);
    }
    g_snprintf(out, MOMENT_DAY_LENGTH + 1, "%04u-%02u-%02u", year % 10000, month, (rest + 1) % 100);
}
