#include "server/import_labels.h"

#include <string.h>

#include "protocol/header.h"
#include "store/account.h"

enum { LABEL_NAME_MAX = 150 }; /* octets of one that becomes a mailbox or a keyword */

/* --- reading --- */

static bool parts_labels(char c, bool spaces)
{
    return c == ',' || (spaces && (c == ' ' || c == '\t'));
}

static void add_label(GPtrArray *labels, GString *label)
{
    char *stripped = g_strstrip(label->str);

    if (*stripped != '\0' && labels->len < IMPORT_LABELS_MAX)
        g_ptr_array_add(labels, g_strdup(stripped));
    g_string_truncate(label, 0);
}

void import_labels_parse(GPtrArray *labels, const char *value, size_t length, bool spaces)
{
    GString *text = g_string_new(NULL);
    GString *label = g_string_new(NULL);
    bool quoted = false;

    header_decode(text, value, length);
    for (size_t i = 0; i < text->len; i++) {
        char c = text->str[i];

        if (c == '"')
            quoted = !quoted;
        else if (c == '\\' && quoted && i + 1 < text->len)
            g_string_append_c(label, text->str[++i]);
        else if (!quoted && parts_labels(c, spaces))
            add_label(labels, label);
        else
            g_string_append_c(label, c);
    }
    add_label(labels, label);
    g_string_free(label, TRUE);
    g_string_free(text, TRUE);
}

/* --- what they mean --- */

enum meaning {
    MEANING_OWN, /* a user's label */
    MEANING_TRASH,
    MEANING_JUNK,
    MEANING_DRAFTS,
    MEANING_SENT,
    MEANING_INBOX,
    MEANING_ARCHIVE,
    MEANING_UNREAD,
    MEANING_STARRED,
    MEANING_IMPORTANT,
    MEANING_NOTHING,
};

static const char *const MAILBOXES[] = {
    [MEANING_TRASH] = "Trash", [MEANING_JUNK] = "Junk", [MEANING_DRAFTS] = "Drafts",
    [MEANING_SENT] = "Sent",   [MEANING_INBOX] = "",    [MEANING_ARCHIVE] = "Archive",
};

static const struct {
    const char *label;
    enum meaning meaning;
} GMAIL[] = {
    /* English; also after a backslash, as in X-GM-LABELS */
    {"Inbox", MEANING_INBOX},
    {"Sent", MEANING_SENT},
    {"Draft", MEANING_DRAFTS},
    {"Drafts", MEANING_DRAFTS},
    {"Trash", MEANING_TRASH},
    {"Spam", MEANING_JUNK},
    {"Junk", MEANING_JUNK},
    {"Archived", MEANING_ARCHIVE},
    {"All Mail", MEANING_ARCHIVE},
    {"Unread", MEANING_UNREAD},
    {"Starred", MEANING_STARRED},
    {"Important", MEANING_IMPORTANT},
    {"Opened", MEANING_NOTHING},
    {"Muted", MEANING_NOTHING},
    {"Snoozed", MEANING_NOTHING},
    {"Scheduled", MEANING_NOTHING},
    /* German */
    {"Posteingang", MEANING_INBOX},
    {"Gesendet", MEANING_SENT},
    {"Entwürfe", MEANING_DRAFTS},
    {"Papierkorb", MEANING_TRASH},
    {"Archiviert", MEANING_ARCHIVE},
    {"Ungelesen", MEANING_UNREAD},
    {"Markiert", MEANING_STARRED},
    {"Wichtig", MEANING_IMPORTANT},
    {"Geöffnet", MEANING_NOTHING},
    /* French */
    {"Boîte de réception", MEANING_INBOX},
    {"Messages envoyés", MEANING_SENT},
    {"Brouillons", MEANING_DRAFTS},
    {"Corbeille", MEANING_TRASH},
    {"Messages archivés", MEANING_ARCHIVE},
    {"Non lus", MEANING_UNREAD},
    {"Suivis", MEANING_STARRED},
    {"Ouvert", MEANING_NOTHING},
    /* Spanish */
    {"Recibidos", MEANING_INBOX},
    {"Enviados", MEANING_SENT},
    {"Borradores", MEANING_DRAFTS},
    {"Papelera", MEANING_TRASH},
    {"Archivados", MEANING_ARCHIVE},
    {"No leídos", MEANING_UNREAD},
    {"Destacados", MEANING_STARRED},
    {"Importante", MEANING_IMPORTANT},
    {"Abiertos", MEANING_NOTHING},
};

static bool find_gmail(enum meaning *out, const char *label)
{
    for (size_t i = 0; i < G_N_ELEMENTS(GMAIL); i++) {
        if (g_ascii_strcasecmp(GMAIL[i].label, label) == 0) {
            *out = GMAIL[i].meaning;
            return true;
        }
    }
    return false;
}

/* Its tabs: "Category Promotions" and the like are sorted by Gmail, not by the user. */
static bool is_category(const char *label)
{
    static const char *const starts[] = {"Category ", "Kategorie ", "Catégorie ", "Categoría "};

    for (size_t i = 0; i < G_N_ELEMENTS(starts); i++)
        if (g_str_has_prefix(label, starts[i]))
            return true;
    return false;
}

/* *mailbox: what MEANING_OWN stands for. */
static enum meaning meaning_of(const struct import_label_map *map, const char *label,
                               const char **mailbox)
{
    const char *own = map->own != NULL ? g_hash_table_lookup(map->own, label) : NULL;
    enum meaning meaning;

    *mailbox = own != NULL ? own : label;
    if (own != NULL && *own == '\0')
        return MEANING_NOTHING;
    if (own != NULL && *own != '\\')
        return MEANING_OWN;
    if (own != NULL)
        label = own;
    if (find_gmail(&meaning, *label == '\\' ? label + 1 : label))
        return meaning;
    return is_category(label) ? MEANING_NOTHING : MEANING_OWN;
}

bool import_label_map_add(struct import_label_map *map, const char *text)
{
    const char *equals = strchr(text, '=');
    enum meaning meaning;

    if (equals == NULL || equals == text || !g_utf8_validate(text, -1, NULL) ||
        (equals[1] == '\\' && !find_gmail(&meaning, equals + 2)))
        return false;
    if (map->own == NULL)
        map->own = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_replace(map->own, g_strndup(text, (size_t)(equals - text)), g_strdup(equals + 1));
    return true;
}

void import_label_map_release(struct import_label_map *map)
{
    g_clear_pointer(&map->own, g_hash_table_unref);
}

/* --- to mailboxes and keywords --- */

static void add_once(GPtrArray *names, const char *name)
{
    for (unsigned i = 0; i < names->len; i++)
        if (strcmp(g_ptr_array_index(names, i), name) == 0)
            return;
    g_ptr_array_add(names, g_strdup(name));
}

static void cut_utf8(GString *text)
{
    const char *end;

    if (text->len > LABEL_NAME_MAX) {
        g_string_truncate(text, LABEL_NAME_MAX);
        if (!g_utf8_validate(text->str, (gssize)text->len, &end))
            g_string_truncate(text, (gsize)(end - text->str));
    }
}

/* A label as a mailbox's name: no empty levels, no more than there may be, no control characters.
 */
static char *mailbox_of(const char *label)
{
    GString *name = g_string_new(NULL);
    unsigned levels = 1;

    for (const char *at = label; *at != '\0'; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);

        if (c == '/') {
            if (name->len == 0 || name->str[name->len - 1] == '/')
                continue;
            c = levels < MAILBOX_DEPTH_MAX ? '/' : '-';
            levels++;
        }
        g_string_append_unichar(name, g_unichar_iscntrl(c) ? '?' : c);
    }
    cut_utf8(name);
    while (name->len > 0 && name->str[name->len - 1] == '/')
        g_string_truncate(name, name->len - 1);
    if (name->len == 0)
        g_string_append_c(name, '-');
    if (g_ascii_strcasecmp(name->str, "INBOX") == 0)
        g_string_truncate(name, 0);
    return g_string_free(name, FALSE);
}

/* A label as a keyword: what an atom can't hold is '_', other than ASCII is kept as hexadecimal. */
static char *keyword_of(const char *label)
{
    GString *keyword = g_string_new(NULL);

    for (const char *at = label; *at != '\0' && keyword->len + 3 < KEYWORD_LENGTH_MAX; at++) {
        unsigned char c = (unsigned char)*at;

        if (c >= 0x80)
            g_string_append_printf(keyword, "=%02X", c);
        else if (c <= ' ' || c > '~' || strchr("(){%*\"\\]", c) != NULL)
            g_string_append_c(keyword, '_');
        else
            g_string_append_c(keyword, (char)c);
    }
    return g_string_free(keyword, FALSE);
}

static void add_own(struct import_labelled *out, const struct import_label_map *map,
                    const char *label)
{
    char *name = map->keywords ? keyword_of(label) : mailbox_of(label);

    add_once(map->keywords ? out->keywords : out->mailboxes, name);
    g_free(name);
}

static void apply(struct import_labelled *out, const struct import_label_map *map,
                  enum meaning meaning, const char *mailbox, enum meaning *best)
{
    switch (meaning) {
    case MEANING_OWN:
        add_own(out, map, mailbox);
        break;
    case MEANING_DRAFTS:
        out->flags |= MESSAGE_DRAFT;
        G_GNUC_FALLTHROUGH;
    case MEANING_TRASH:
    case MEANING_JUNK:
    case MEANING_SENT:
    case MEANING_INBOX:
        *best = MIN(*best, meaning);
        if (!map->keywords)
            add_once(out->mailboxes, MAILBOXES[meaning]);
        break;
    case MEANING_UNREAD:
        out->flags &= (uint8_t)~MESSAGE_SEEN;
        break;
    case MEANING_STARRED:
        out->flags |= MESSAGE_FLAGGED;
        break;
    case MEANING_IMPORTANT:
        add_once(out->keywords, "$Important");
        break;
    case MEANING_ARCHIVE:
    case MEANING_NOTHING:
        break;
    }
}

void import_labels_apply(struct import_labelled *out, const struct import_label_map *map,
                         const GPtrArray *labels)
{
    enum meaning best = MEANING_ARCHIVE;

    out->mailboxes = g_ptr_array_new_with_free_func(g_free);
    out->keywords = g_ptr_array_new_with_free_func(g_free);
    out->flags = MESSAGE_SEEN;
    for (unsigned i = 0; i < labels->len; i++) {
        const char *mailbox;
        enum meaning meaning = meaning_of(map, g_ptr_array_index(labels, i), &mailbox);

        apply(out, map, meaning, mailbox, &best);
    }
    if (out->mailboxes->len == 0)
        add_once(out->mailboxes, MAILBOXES[best]);
}

void import_labelled_release(struct import_labelled *labelled)
{
    g_ptr_array_unref(labelled->mailboxes);
    g_ptr_array_unref(labelled->keywords);
}
