#include "server/admin_moment.h"

#include <glib.h>
#include <string.h>
#include <time.h>

#include "server/admin.h"

enum { SECONDS_A_DAY = 24 * 60 * 60 };

static const struct {
    const char *name;
    int64_t seconds;
} units[] = {
    {"second", 1},
    {"minute", 60},
    {"hour", 60 * 60},
    {"day", SECONDS_A_DAY},
    {"week", 7 * SECONDS_A_DAY},
    {"month", INT64_C(30) * SECONDS_A_DAY},
    {"year", INT64_C(365) * SECONDS_A_DAY},
};

static bool take_unit(const char **text, int64_t *seconds)
{
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
        if (g_str_has_prefix(*text, units[i].name)) {
            *text += strlen(units[i].name);
            *text += **text == 's';
            *seconds = units[i].seconds;
            return true;
        }
    return false;
}

/* "2 days ago", also "2.days.ago". */
static bool parse_ago(struct moment *out, const char *text, int64_t now)
{
    int64_t number = 0;
    int64_t unit;

    if (!g_ascii_isdigit(*text))
        return false;
    for (; g_ascii_isdigit(*text); text++) {
        number = number * 10 + (*text - '0');
        if (number > now)
            return false;
    }
    if (*text != ' ' && *text != '.')
        return false;
    text++;
    if (!take_unit(&text, &unit) || (strcmp(text, " ago") != 0 && strcmp(text, ".ago") != 0) ||
        number > now / unit)
        return false;
    *out = (struct moment){.first = now - number * unit, .last = now - number * unit};
    return true;
}

/* A date and a time of day, with what may be left out put in. */
static bool parse_loose(struct moment *out, const char *text)
{
    const char *time = text + MOMENT_DAY_LENGTH + 1;
    char full[40];
    size_t length;

    if (strlen(text) < MOMENT_DAY_LENGTH + 6 || strlen(text) > MOMENT_DAY_LENGTH + 16 ||
        (time[-1] != ' ' && time[-1] != 'T'))
        return false;
    length = strspn(time, "0123456789:");
    if (length != 5 && length != 8)
        return false;
    g_snprintf(full, sizeof(full), "%.*sT%.*s%s%s", MOMENT_DAY_LENGTH, text, (int)length, time,
               length == 5 ? ":00" : "",
               time[length] == '\0' ? "Z" : time + length + (time[length] == ' '));
    return moment_parse(out, full);
}

bool admin_moment_parse(struct moment *out, const char *text, int64_t now)
{
    int32_t day = (int32_t)(now / SECONDS_A_DAY);

    if (strcmp(text, "now") == 0)
        *out = (struct moment){.first = now, .last = now};
    else if (strcmp(text, "today") == 0)
        *out = moment_of_day(day);
    else if (strcmp(text, "yesterday") == 0)
        *out = moment_of_day(day - 1);
    else
        return moment_parse(out, text) || parse_loose(out, text) || parse_ago(out, text, now);
    return true;
}

bool admin_moment_argument(struct moment *out, const char *option, const char *text,
                           bool commit_too)
{
    if (!admin_moment_parse(out, text, (int64_t)time(NULL))) {
        admin_complain("%s: %s is no time; see --help for the forms", option, text);
        return false;
    }
    if (!commit_too && out->commit[0] != '\0') {
        admin_complain("%s: %s is a commit; a time is wanted", option, text);
        return false;
    }
    return true;
}
