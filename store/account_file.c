#include "store/internal/account_file.h"

#include <string.h>

#include "store/internal/branch_name.h"
#include "store/internal/properties.h"
#include "store/internal/text.h"

static const char *const USE_NAMES[SPECIAL_USE_COUNT] = {"",       "\\Archive", "\\Drafts",
                                                         "\\Junk", "\\Sent",    "\\Trash"};

const char *special_use_name(enum special_use use)
{
    g_assert(use < SPECIAL_USE_COUNT);
    return USE_NAMES[use];
}

bool special_use_parse(enum special_use *out, const char *name)
{
    for (int i = SPECIAL_USE_NONE + 1; i < SPECIAL_USE_COUNT; i++) {
        if (g_ascii_strcasecmp(USE_NAMES[i], name) == 0) {
            *out = (enum special_use)i;
            return true;
        }
    }
    return false;
}

struct account_state *account_state_new(void)
{
    struct account_state *state = g_new0(struct account_state, 1);

    state->subscriptions = g_ptr_array_new_with_free_func(g_free);
    return state;
}

struct account_state *account_state_copy(const struct account_state *state)
{
    struct account_state *copy = account_state_new();

    copy->uid_validity = state->uid_validity;
    for (guint i = 0; i < state->subscriptions->len; i++) {
        g_ptr_array_add(copy->subscriptions, g_strdup(state->subscriptions->pdata[i]));
    }
    for (int i = 0; i < SPECIAL_USE_COUNT; i++) {
        copy->special_use[i] = g_strdup(state->special_use[i]);
    }
    return copy;
}

void account_state_free(struct account_state *state)
{
    if (state == NULL) {
        return;
    }
    for (int i = 0; i < SPECIAL_USE_COUNT; i++) {
        g_free(state->special_use[i]);
    }
    g_ptr_array_unref(state->subscriptions);
    g_free(state);
}

bool account_state_find_subscription(const struct account_state *state, const char *name,
                                     guint *position)
{
    guint low = 0, high = state->subscriptions->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (strcmp(state->subscriptions->pdata[middle], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *position = low;
    return low < state->subscriptions->len && strcmp(state->subscriptions->pdata[low], name) == 0;
}

enum special_use account_state_use_of(const struct account_state *state, const char *name)
{
    for (int i = SPECIAL_USE_NONE + 1; i < SPECIAL_USE_COUNT; i++) {
        if (state->special_use[i] != NULL && strcmp(state->special_use[i], name) == 0) {
            return (enum special_use)i;
        }
    }
    return SPECIAL_USE_NONE;
}

int account_file_decode(struct account_state *state, const void *data, size_t length,
                        struct store_error *error)
{
    struct text text = {data, (const char *)data + length};
    uint64_t format, uid_validity;

    if (length == 0 || length > ACCOUNT_FILE_MAX || !text_word(&text, "format ") ||
        !text_number(&text, UINT32_MAX, &format) || !text_octet(&text, '\n') || format == 0) {
        return store_error_set(error, STORE_CORRUPT, "account file without a format");
    }
    if (format != STORE_FORMAT) {
        return store_error_set(error, STORE_UNSUPPORTED, "account format %u", (unsigned)format);
    }
    if (!text_word(&text, "uidvalidity ") || !text_number(&text, UINT32_MAX, &uid_validity) ||
        !text_octet(&text, '\n') || text.at != text.end) {
        return store_error_set(error, STORE_CORRUPT, "malformed account file");
    }
    state->uid_validity = (uint32_t)uid_validity;
    return 0;
}

/* A mailbox name in its one valid form; NULL otherwise. */
static char *take_name(const struct text *line)
{
    g_autofree char *name = g_strndup(line->at, (gsize)(line->end - line->at));
    g_autofree char *branch = NULL;
    g_autofree char *canonical = NULL;
    struct store_error ignored;

    if (strlen(name) != (size_t)(line->end - line->at) ||
        branch_name_encode(&branch, name, &ignored) < 0 ||
        branch_name_decode(&canonical, branch, &ignored) < 0 || strcmp(name, canonical) != 0) {
        return NULL;
    }
    return g_steal_pointer(&name);
}

int subscriptions_file_decode(struct account_state *state, const void *data, size_t length,
                              struct store_error *error)
{
    struct text text = {data, (const char *)data + length};
    struct text line;

    g_ptr_array_set_size(state->subscriptions, 0);
    while (length <= ACCOUNT_FILE_MAX && text.at < text.end) {
        guint count = state->subscriptions->len;
        char *name = NULL;

        if (count < ACCOUNT_SUBSCRIPTIONS_MAX && text_line(&text, &line)) {
            name = take_name(&line);
        }
        if (name == NULL ||
            (count > 0 && strcmp(state->subscriptions->pdata[count - 1], name) >= 0)) {
            g_free(name);
            return store_error_set(error, STORE_CORRUPT, "malformed subscriptions, line %u",
                                   count + 1);
        }
        g_ptr_array_add(state->subscriptions, name);
    }
    if (length > ACCOUNT_FILE_MAX) {
        return store_error_set(error, STORE_CORRUPT, "subscriptions of %zu octets", length);
    }
    return 0;
}

/* use SP name: uses in the order of their enum, each at most once. */
static bool take_use(struct account_state *state, struct text *line, int *last)
{
    for (int i = *last + 1; i < SPECIAL_USE_COUNT; i++) {
        if (text_word(line, USE_NAMES[i])) {
            if (!text_octet(line, ' ')) {
                return false;
            }
            *last = i;
            state->special_use[i] = take_name(line);
            return state->special_use[i] != NULL;
        }
    }
    return false;
}

int special_use_file_decode(struct account_state *state, const void *data, size_t length,
                            struct store_error *error)
{
    struct text text = {data, (const char *)data + length};
    struct text line;
    int last = SPECIAL_USE_NONE;

    for (int i = 0; i < SPECIAL_USE_COUNT; i++) {
        g_clear_pointer(&state->special_use[i], g_free);
    }
    while (text.at < text.end) {
        if (length > ACCOUNT_FILE_MAX || !text_line(&text, &line) ||
            !take_use(state, &line, &last)) {
            return store_error_set(error, STORE_CORRUPT, "malformed special uses");
        }
    }
    return 0;
}

void account_file_encode(GString *out, const struct account_state *state)
{
    g_string_append_printf(out, "format %d\nuidvalidity %" G_GUINT32_FORMAT "\n", STORE_FORMAT,
                           state->uid_validity);
}

void subscriptions_file_encode(GString *out, const struct account_state *state)
{
    for (guint i = 0; i < state->subscriptions->len; i++) {
        g_string_append(out, state->subscriptions->pdata[i]);
        g_string_append_c(out, '\n');
    }
}

void special_use_file_encode(GString *out, const struct account_state *state)
{
    for (int i = SPECIAL_USE_NONE + 1; i < SPECIAL_USE_COUNT; i++) {
        if (state->special_use[i] != NULL) {
            g_string_append_printf(out, "%s %s\n", USE_NAMES[i], state->special_use[i]);
        }
    }
}
