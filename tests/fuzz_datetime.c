/* Dates: what is accepted formats to something that parses to the same moment. */
#include <stdlib.h>

#include "protocol/datetime.h"
#include "tests/fuzz.h"

static void check_round_trip(int64_t seconds, int16_t zone)
{
    GString *text = g_string_new(NULL);
    int64_t seconds_again;
    int16_t zone_again;

    datetime_format(text, seconds, zone);
    if (text->len != DATETIME_LENGTH ||
        !datetime_parse(&seconds_again, &zone_again, text->str, text->len) || zone_again != zone)
        abort();
    if (seconds_again != seconds)
        abort();
    g_string_free(text, TRUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    int64_t seconds;
    int16_t zone;
    int32_t day;

    if (datetime_parse(&seconds, &zone, text, size))
        check_round_trip(seconds, zone);
    if (datetime_parse_rfc5322(&seconds, &zone, text, size))
        check_round_trip(seconds, zone);
    if (date_parse(&day, text, size) && date_of((int64_t)day * 86400, 0) != day)
        abort();
    return 0;
}
