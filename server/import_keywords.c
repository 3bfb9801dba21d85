#include "server/import_keywords.h"

#include <stdbool.h>
#include <string.h>

struct import_keywords {
    GHashTable *names; /* char *, in lower case */
    bool told;         /* of one that was left out */
};

struct import_keywords *import_keywords_new(const struct snapshot *snapshot)
{
    struct import_keywords *keywords = g_new0(struct import_keywords, 1);

    keywords->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (size_t i = 0; snapshot != NULL && i < snapshot_keyword_count(snapshot); i++)
        g_hash_table_add(keywords->names, g_ascii_strdown(snapshot_keyword(snapshot, i), -1));
    return keywords;
}

void import_keywords_free(struct import_keywords *keywords)
{
    if (keywords == NULL)
        return;
    g_hash_table_unref(keywords->names);
    g_free(keywords);
}

/* Whether IMAP can show it: an atom (RFC 3501 9, flag-keyword). */
static bool is_atom(const char *keyword)
{
    size_t length = strlen(keyword);

    if (length == 0 || length > KEYWORD_LENGTH_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if (keyword[i] <= ' ' || keyword[i] > '~' || strchr("(){%*\"\\]", keyword[i]) != NULL)
            return false;
    return true;
}

static bool fits(struct import_keywords *keywords, const char *keyword)
{
    char *lower = g_ascii_strdown(keyword, -1);

    if (g_hash_table_contains(keywords->names, lower) ||
        g_hash_table_size(keywords->names) >= MAILBOX_KEYWORDS_MAX) {
        bool known = g_hash_table_contains(keywords->names, lower);

        g_free(lower);
        return known;
    }
    g_hash_table_add(keywords->names, lower);
    return true;
}

static bool is_among(const GPtrArray *chosen, const char *keyword)
{
    for (unsigned i = 0; i < chosen->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(chosen, i), keyword) == 0)
            return true;
    return false;
}

GPtrArray *import_keywords_choose(struct import_keywords *keywords, const GPtrArray *wanted,
                                  const char **left_out)
{
    GPtrArray *chosen = g_ptr_array_new_with_free_func(g_free);

    *left_out = NULL;
    for (unsigned i = 0; wanted != NULL && i < wanted->len; i++) {
        const char *keyword = g_ptr_array_index(wanted, i);

        if (keyword == NULL || !is_atom(keyword) || is_among(chosen, keyword))
            continue;
        if (fits(keywords, keyword)) {
            g_ptr_array_add(chosen, g_strdup(keyword));
        } else if (!keywords->told) {
            keywords->told = true;
            *left_out = keyword;
        }
    }
    g_ptr_array_add(chosen, NULL);
    return chosen;
}
