#include "server/reload.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "server/log.h"
#include "server/network.h"

enum kind {
    KIND_STRING,
    KIND_UNSIGNED,
    KIND_OCTETS,
    KIND_BOOL,
    KIND_TARGET,
    KIND_LISTENS,
    KIND_NETWORKS,
    KIND_STRINGS,
};

#define OPTION(name, member, kind, live)                  \
    {                                                     \
        name, offsetof(struct config, member), kind, live \
    }

static const struct option {
    const char *name;
    size_t offset;
    enum kind kind;
    bool live;
} options[] = {
    OPTION("data", data, KIND_STRING, false),
    OPTION("imaps", imaps, KIND_LISTENS, false),
    OPTION("imap", imap, KIND_LISTENS, false),
    OPTION("metrics_listen", metrics, KIND_LISTENS, false),
    OPTION("control", control, KIND_STRING, false),
    OPTION("disk_free_min_mib", disk_free_min_mib, KIND_UNSIGNED, true),
    OPTION("trusted", trusted, KIND_NETWORKS, true),
    OPTION("trusted_cleartext_login", trusted_cleartext_login, KIND_BOOL, true),
    OPTION("login_delay_ms", login_delay, KIND_UNSIGNED, true),
    OPTION("login_delay_max_seconds", login_delay_max, KIND_UNSIGNED, true),
    OPTION("certificate", certificate, KIND_STRING, true),
    OPTION("private_key", private_key, KIND_STRING, true),
    OPTION("users", users, KIND_STRING, false),
    OPTION("cleartext_login", cleartext_login, KIND_BOOL, true),
    OPTION("workers", workers, KIND_UNSIGNED, false),
    OPTION("mime_workers", mime_workers, KIND_UNSIGNED, false),
    OPTION("append_limit_mib", append_limit, KIND_OCTETS, true),
    OPTION("journal_mib", journal_size, KIND_OCTETS, false),
    OPTION("cache_budget", cache_budget, KIND_OCTETS, false),
    OPTION("flags_sync", relaxed_flags, KIND_BOOL, false),
    OPTION("cold_compression_days", compress_days, KIND_UNSIGNED, false),
    OPTION("history_keep", history_days, KIND_UNSIGNED, false),
    OPTION("history_keep_of", history_of, KIND_STRINGS, false),
    OPTION("signing_key", signing_key, KIND_STRING, false),
    OPTION("signing_hours", signing_hours, KIND_UNSIGNED, false),
    OPTION("idle_minutes", idle_minutes, KIND_UNSIGNED, true),
    OPTION("login_seconds", login_seconds, KIND_UNSIGNED, true),
    OPTION("idle_exit", idle_exit, KIND_UNSIGNED, true),
    OPTION("connections", connections, KIND_UNSIGNED, true),
    OPTION("connections_per_user", connections_per_user, KIND_UNSIGNED, true),
    OPTION("connections_per_address", connections_per_address, KIND_UNSIGNED, true),
    OPTION("hostname", hostname, KIND_STRING, false),
    OPTION("lmtp", lmtp, KIND_LISTENS, false),
    OPTION("lmtp_mode", lmtp_mode, KIND_UNSIGNED, false),
    OPTION("lmtp_group", lmtp_group, KIND_STRING, false),
    OPTION("lmtp_connections", lmtp_connections, KIND_UNSIGNED, false),
    OPTION("lmtp_recipient_delimiter", lmtp_delimiter, KIND_UNSIGNED, false),
    OPTION("lmtp_detail", lmtp_detail, KIND_UNSIGNED, false),
    OPTION("quota_mib", quota_octets, KIND_OCTETS, false),
    OPTION("quota_messages", quota_messages, KIND_UNSIGNED, false),
    OPTION("quota_count_history", quota_count_history, KIND_BOOL, false),
    OPTION("quota_reply", quota_final, KIND_BOOL, false),
    OPTION("log", log_target, KIND_TARGET, true),
    OPTION("log_debug", log_debug, KIND_BOOL, true),
};

static size_t size_of(enum kind kind)
{
    switch (kind) {
    case KIND_STRING:
        return sizeof(char *);
    case KIND_UNSIGNED:
        return sizeof(unsigned);
    case KIND_OCTETS:
        return sizeof(uint64_t);
    case KIND_BOOL:
        return sizeof(bool);
    case KIND_TARGET:
        return sizeof(enum config_log_target);
    case KIND_LISTENS:
    case KIND_NETWORKS:
        return sizeof(GArray *);
    case KIND_STRINGS:
        return sizeof(GPtrArray *);
    }
    return 0;
}

static bool listens_differ(const GArray *a, const GArray *b)
{
    bool differ = a->len != b->len;

    for (guint i = 0; i < a->len && !differ; i++) {
        const struct config_listen *one = &g_array_index(a, struct config_listen, i);
        const struct config_listen *other = &g_array_index(b, struct config_listen, i);

        differ = one->port != other->port || strcmp(one->address, other->address) != 0;
    }
    return differ;
}

static bool networks_differ(const GArray *a, const GArray *b)
{
    return a->len != b->len ||
           (a->len > 0 && memcmp(a->data, b->data, a->len * sizeof(struct network)) != 0);
}

static bool strings_differ(const GPtrArray *a, const GPtrArray *b)
{
    bool differ = a->len != b->len;

    for (guint i = 0; i < a->len && !differ; i++)
        differ = strcmp(g_ptr_array_index(a, i), g_ptr_array_index(b, i)) != 0;
    return differ;
}

static bool differ(const struct option *option, const void *a, const void *b)
{
    if (option->kind == KIND_STRING)
        return g_strcmp0(*(char *const *)a, *(char *const *)b) != 0;
    if (option->kind == KIND_LISTENS)
        return listens_differ(*(GArray *const *)a, *(GArray *const *)b);
    if (option->kind == KIND_NETWORKS)
        return networks_differ(*(GArray *const *)a, *(GArray *const *)b);
    if (option->kind == KIND_STRINGS)
        return strings_differ(*(GPtrArray *const *)a, *(GPtrArray *const *)b);
    return memcmp(a, b, size_of(option->kind)) != 0;
}

/* The old value goes with fresh. */
static void swap(const struct option *option, void *a, void *b)
{
    unsigned char kept[sizeof(uint64_t)];
    size_t size = size_of(option->kind);

    memcpy(kept, a, size);
    memcpy(a, b, size);
    memcpy(b, kept, size);
}

void reload_take(struct config *config, struct config *fresh)
{
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        const struct option *option = &options[i];
        void *old = (char *)config + option->offset;
        void *new = (char *)fresh + option->offset;

        if (!differ(option, old, new))
            continue;
        if (option->live) {
            swap(option, old, new);
            log_line(LOG_LEVEL_INFO, NULL, "event=reload option=%s value=new", option->name);
        } else {
            log_line(LOG_LEVEL_WARNING, NULL,
                     "event=reload option=%s value=kept reason=\"it needs a restart\"",
                     option->name);
        }
    }
}
