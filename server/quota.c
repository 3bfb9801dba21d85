#include "server/quota.h"

#include <string.h>

#include "store/usage.h"

void quota_limits_of(const struct quota_source *source, const char *user, struct quota_limits *out)
{
    *out = (struct quota_limits){0};
    if (source != NULL && source->limits != NULL)
        source->limits(source->data, user, out);
}

static bool parse_number(const char *text, size_t length, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (length == 0 || length > 15)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isdigit(text[i]))
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return value <= max;
}

static bool parse_pair(struct quota_limits *limits, const char *text, size_t length)
{
    static const char mib[] = "quota_mib=";
    static const char messages[] = "quota_messages=";
    uint64_t value;

    if (length > strlen(mib) && strncmp(text, mib, strlen(mib)) == 0) {
        if (!parse_number(text + strlen(mib), length - strlen(mib), UINT64_MAX >> 20, &value))
            return false;
        limits->octets = value << 20;
        return true;
    }
    if (length > strlen(messages) && strncmp(text, messages, strlen(messages)) == 0)
        return parse_number(text + strlen(messages), length - strlen(messages), UINT32_MAX,
                            &limits->messages);
    return false;
}

bool quota_limits_parse(struct quota_limits *limits, const char *text)
{
    struct quota_limits read = *limits;

    while (*text != '\0') {
        size_t length = strcspn(text, ",");

        if (!parse_pair(&read, text, length))
            return false;
        text += length + (text[length] == ',' ? 1 : 0);
    }
    *limits = read;
    return true;
}

bool quota_limits_any(const struct quota_limits *limits)
{
    return limits->octets > 0 || limits->messages > 0;
}

static bool is_within(const struct quota_limits *limits, const struct account_usage *usage)
{
    return (limits->octets == 0 || usage->octets <= limits->octets) &&
           (limits->messages == 0 || usage->messages <= limits->messages);
}

static bool admits(const struct quota_source *source, struct account *account, uint64_t messages,
                   uint64_t octets, bool comes)
{
    struct quota_limits limits;
    struct account_usage before;
    struct store_error error;

    quota_limits_of(source, account_user(account), &limits);
    if (!quota_limits_any(&limits) ||
        account_usage(account, limits.count_history, &before, &error) != 0)
        return true;
    struct account_usage after = {before.messages + messages, before.octets + octets};
    bool good = is_within(&limits, &after);

    if (source->board != NULL)
        quota_board_note(source->board, account_user(account), good && comes ? &after : &before);
    return good;
}

bool quota_admits(const struct quota_source *source, struct account *account, uint64_t messages,
                  uint64_t octets)
{
    return admits(source, account, messages, octets, true);
}

bool quota_would_admit(const struct quota_source *source, struct account *account,
                       uint64_t messages, uint64_t octets)
{
    return admits(source, account, messages, octets, false);
}

bool quota_has_room(const struct quota_source *source, const char *user, uint64_t messages,
                    uint64_t octets)
{
    struct quota_limits limits;
    struct account_usage usage;

    quota_limits_of(source, user, &limits);
    if (!quota_limits_any(&limits))
        return true;
    if (source->board == NULL || !quota_board_find(source->board, user, &usage))
        return false;
    usage.messages += messages;
    usage.octets += octets;
    return is_within(&limits, &usage);
}
