#include "server/import_uses.h"

#include "server/import_place.h"

/* What mailboxes for a use are called by other servers and programs. */
static const struct {
    const char *name;
    enum special_use use;
} USUAL_NAMES[] = {
    {"Archives", SPECIAL_USE_ARCHIVE},    {"Draft", SPECIAL_USE_DRAFTS},
    {"Spam", SPECIAL_USE_JUNK},           {"Junk E-mail", SPECIAL_USE_JUNK},
    {"Junk Email", SPECIAL_USE_JUNK},     {"Bulk Mail", SPECIAL_USE_JUNK},
    {"Sent Messages", SPECIAL_USE_SENT},  {"Sent Items", SPECIAL_USE_SENT},
    {"Sent Mail", SPECIAL_USE_SENT},      {"Deleted Messages", SPECIAL_USE_TRASH},
    {"Deleted Items", SPECIAL_USE_TRASH},
};

/* Whether the mailbox was made with the account and never used, here or by the source. */
static bool never_used(struct account *account, GHashTable *entered, const char *name)
{
    struct store_error error = {0};
    struct mailbox *mailbox;
    bool never;

    if (g_hash_table_contains(entered, name) ||
        account_open_mailbox(account, name, &mailbox, &error) != 0)
        return false;
    never = snapshot_uid_next(mailbox_snapshot(mailbox)) == 1;
    mailbox_unref(mailbox);
    return never;
}

static const char *holder_of(const GPtrArray *list, enum special_use use)
{
    for (unsigned i = 0; i < list->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(list, i);

        if (entry->special_use == use)
            return entry->name;
    }
    return NULL;
}

static int give(struct account *account, const char *name, enum special_use use,
                const char *command, void (*tell)(const char *text), struct store_error *error)
{
    struct origin origin = import_origin(command);
    int result = account_set_special_use(account, name, use, &origin, error);

    if (result == 0) {
        char *text = g_strdup_printf("%s is for %s now", name, special_use_name(use));

        tell(text);
        g_free(text);
    }
    return result;
}

int import_uses_set(struct account *account, GHashTable *entered, const char *command,
                    void (*tell)(const char *text), struct store_error *error)
{
    bool given[SPECIAL_USE_COUNT] = {false};
    GPtrArray *list = NULL;
    int result = account_list(account, &list, error);

    for (size_t i = 0; result == 0 && i < G_N_ELEMENTS(USUAL_NAMES); i++) {
        enum special_use use = USUAL_NAMES[i].use;
        const char *holder = holder_of(list, use);

        if (given[use] || !g_hash_table_contains(entered, USUAL_NAMES[i].name) ||
            (holder != NULL && !never_used(account, entered, holder)))
            continue;
        given[use] = true;
        result = give(account, USUAL_NAMES[i].name, use, command, tell, error);
    }
    if (list != NULL)
        g_ptr_array_unref(list);
    return result;
}
