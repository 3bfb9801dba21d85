#include "server/quota_users.h"

#include "server/config.h"
#include "server/log.h"

static void find_limits(void *data, const char *user, struct quota_limits *out)
{
    const struct quota_users *quotas = data;
    char *field = users_field(quotas->users, user);

    *out = quotas->limits;
    /* A file in the form of passwd(5) has other things there. */
    if (field != NULL && g_str_has_prefix(field, "quota") && !quota_limits_parse(out, field)) {
        char *quoted = log_quote(user);

        log_line(LOG_LEVEL_WARNING, NULL, "event=quota-unreadable user=%s", quoted);
        g_free(quoted);
    }
    g_free(field);
}

void quota_users_init(struct quota_users *out, struct users *users, const struct config *config)
{
    *out = (struct quota_users){
        .users = users,
        .limits =
            {
                .octets = config->quota_octets,
                .messages = config->quota_messages,
                .count_history = config->quota_count_history,
            },
        .source = {.limits = find_limits, .data = out},
    };
}
