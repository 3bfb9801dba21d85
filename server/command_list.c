/* LIST with all of RFC 5258, 5819 and 6154, and LSUB (RFC 3501 6.3.8, 6.3.9).
 *
 * The account's names become an array of nodes in the order of the listing, with a node for each
 * superior that is no mailbox. Each node knows whether mailboxes and subscribed names lie below
 * it; then one pass decides node by node, and yields between them.
 */
#include <string.h>

#include "protocol/mailbox_name.h"
#include "protocol/response.h"
#include "server/past_listing.h"
#include "server/past_name.h"
#include "server/session_private.h"

/* A pattern with more octets that stand for themselves than a name can have matches nothing; with
 * repeated wildcards removed there is at most one wildcard between two of them. */
enum { PATTERN_MAX = 2 * MAILBOX_NAME_MAX + 1 };

struct node {
    char *name;
    bool exists;
    bool subscribed;
    enum special_use special_use;
    bool has_children;       /* a mailbox is below it */
    bool selected_below;     /* a name that the selection options choose is below it */
    bool hidden_below;       /* such a name, and no pattern matches it */
    struct node *superior;   /* NULL at the top */
    struct object_id commit; /* of the past, where it is known: what the name opens; else zero */
};

struct listing {
    GPtrArray *nodes;    /* struct node * */
    GPtrArray *patterns; /* char * */
    guint surveyed;      /* nodes whose superiors know of them */
    guint next;          /* of nodes, to be listed */
    bool any_percent;
    struct past_listing *past; /* NULL: no more of it */
    bool in_past;              /* nodes are the past's, of one moment */
};

static void node_free(gpointer data)
{
    struct node *node = data;
    g_free(node->name);
    g_free(node);
}

static void listing_free(void *data)
{
    struct listing *listing = data;
    if (listing->nodes != NULL)
        g_ptr_array_unref(listing->nodes);
    g_ptr_array_unref(listing->patterns);
    past_listing_free(listing->past);
    g_free(listing);
}

/* --- nodes --- */

/* The node of a name, made if there is none, after its superiors. */
static struct node *find_node(GPtrArray *nodes, GHashTable *by_name, const char *name)
{
    struct node *superior = NULL;
    for (const char *end = name; end != NULL;) {
        end = strchr(end == name ? name : end + 1, '/');
        char *level = end == NULL ? g_strdup(name) : g_strndup(name, (size_t)(end - name));
        struct node *node = g_hash_table_lookup(by_name, level);
        if (node == NULL) {
            node = g_new0(struct node, 1);
            node->name = level;
            node->superior = superior;
            g_ptr_array_add(nodes, node);
            g_hash_table_insert(by_name, node->name, node);
        } else {
            g_free(level);
        }
        superior = node;
    }
    return superior;
}

static void mark_superiors(const struct node *node)
{
    for (struct node *above = node->superior; above != NULL; above = above->superior)
        above->has_children = above->has_children || node->exists;
}

static GPtrArray *make_nodes(const GPtrArray *entries)
{
    GPtrArray *nodes = g_ptr_array_new_with_free_func(node_free);
    GHashTable *by_name = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < entries->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(entries, i);
        struct node *node = find_node(nodes, by_name, entry->name);
        node->exists = entry->exists;
        node->subscribed = entry->subscribed;
        node->special_use = entry->special_use;
        mark_superiors(node);
    }
    g_hash_table_unref(by_name);
    return nodes;
}

/* --- patterns --- */

/* A run of wildcards matches what its strongest one matches. */
static char *simplify_pattern(const char *reference, const char *pattern)
{
    GString *out = g_string_new(NULL);
    for (const char *part = reference; part != NULL; part = part == pattern ? NULL : pattern) {
        for (const char *c = part; *c != '\0'; c++) {
            char last = out->len == 0 ? '\0' : out->str[out->len - 1];
            if ((*c == '*' || *c == '%') && last == '*')
                continue;
            if (*c == '%' && last == '%')
                continue;
            if (*c == '*' && last == '%')
                out->str[out->len - 1] = '*';
            else
                g_string_append_c(out, *c);
        }
    }
    return g_string_free(out, FALSE);
}

static void take_patterns(struct listing *listing, const struct list_arguments *arguments)
{
    for (guint i = 0; i < arguments->patterns->len; i++) {
        const char *pattern = g_ptr_array_index(arguments->patterns, i);
        if (*pattern == '\0')
            continue;
        char *simple = simplify_pattern(arguments->reference, pattern);
        if (strlen(simple) > PATTERN_MAX) {
            g_free(simple);
            continue;
        }
        listing->any_percent = listing->any_percent || strchr(simple, '%') != NULL;
        g_ptr_array_add(listing->patterns, simple);
    }
}

static bool matches(const struct listing *listing, const char *name)
{
    if (listing->in_past)
        return past_listing_matches(listing->past, name);
    for (guint i = 0; i < listing->patterns->len; i++) {
        if (mailbox_pattern_match(g_ptr_array_index(listing->patterns, i), name))
            return true;
    }
    return false;
}

/* --- which names, and what is said of them --- */

static bool is_selected(const struct node *node, uint32_t select)
{
    if ((select & LIST_SELECT_SUBSCRIBED) != 0 && !node->subscribed)
        return false;
    if ((select & LIST_SELECT_SPECIAL_USE) != 0 && node->special_use == SPECIAL_USE_NONE)
        return false;
    if ((select & (LIST_SELECT_SUBSCRIBED | LIST_SELECT_SPECIAL_USE)) == 0)
        return node->exists || node->has_children;
    return true;
}

/* What superiors have to know before the first of them is listed. */
static void survey_node(const struct listing *listing, const struct node *node, uint32_t select)
{
    if (node->superior == NULL || !is_selected(node, select))
        return;
    bool hidden = !matches(listing, node->name);
    for (struct node *above = node->superior; above != NULL; above = above->superior) {
        above->selected_below = true;
        above->hidden_below = above->hidden_below || hidden;
    }
}

static void append_attribute(GString *out, const char *attribute)
{
    if (out->str[out->len - 1] != '(')
        g_string_append_c(out, ' ');
    g_string_append(out, attribute);
}

static void write_name(GString *out, const char *name, bool utf8)
{
    g_string_append(out, ") \"/\" ");
    response_mailbox(out, name, utf8);
}

static void write_list(struct session *session, const struct node *node,
                       const struct list_arguments *arguments, bool below)
{
    GString *out = session_out(session);
    g_string_append(out, "* LIST (");
    if (!node->exists) {
        if (!arguments->extended)
            append_attribute(out, "\\Noselect");
        append_attribute(out, "\\NonExistent");
    }
    append_attribute(out, node->has_children ? "\\HasChildren" : "\\HasNoChildren");
    bool tell_subscribed = (arguments->select & LIST_SELECT_SUBSCRIBED) != 0 ||
                           (arguments->returns & LIST_RETURN_SUBSCRIBED) != 0;
    if (tell_subscribed && node->subscribed)
        append_attribute(out, "\\Subscribed");
    if (node->special_use != SPECIAL_USE_NONE)
        append_attribute(out, special_use_name(node->special_use));
    write_name(out, node->name, session->utf8);
    if (below) {
        bool both = (arguments->select & LIST_SELECT_SUBSCRIBED) != 0 &&
                    (arguments->select & LIST_SELECT_SPECIAL_USE) != 0;
        g_string_append(out, " (\"CHILDINFO\" (");
        if ((arguments->select & LIST_SELECT_SUBSCRIBED) != 0)
            g_string_append(out, "\"SUBSCRIBED\"");
        if ((arguments->select & LIST_SELECT_SPECIAL_USE) != 0)
            g_string_append_printf(out, "%s\"SPECIAL-USE\"", both ? " " : "");
        g_string_append(out, "))");
    }
    g_string_append(out, "\r\n");
}

/* RFC 5819 2: a mailbox whose status can't be had has just its LIST line. */
static void write_status(struct session *session, const struct node *node, uint32_t items)
{
    struct store_error error = {STORE_OK, ""};
    struct mailbox *mailbox = NULL;
    int code;
    if (object_id_is_zero(&node->commit))
        code = past_name_open(session, node->name, &mailbox, NULL, &error);
    else
        code = past_name_open_commit(session, &node->commit, &mailbox, &error);
    if (code == STORE_OK)
        session_write_status_of(session, node->name, mailbox, items);
    else
        session_log(session, SESSION_LOG_WARNING, "event=status detail=\"%s\"", error.detail);
    mailbox_unref(mailbox);
}

static void list_node(struct session *session, const struct listing *listing,
                      const struct node *node, const struct list_arguments *arguments)
{
    if (!matches(listing, node->name))
        return;
    bool recursive = (arguments->select & LIST_SELECT_RECURSIVEMATCH) != 0;
    bool below = recursive && node->selected_below;
    /* RFC 5258 3.5: no name just for what is listed itself. */
    bool needed = below && node->hidden_below;
    if (!needed && !is_selected(node, arguments->select))
        return;
    write_list(session, node, arguments, below);
    if ((arguments->returns & LIST_RETURN_STATUS) != 0 && node->exists)
        write_status(session, node, arguments->status);
}

/* A superior that is not subscribed itself is told of, as \Noselect, only for a "%" that keeps
 * what is below it from matching. */
static void lsub_node(struct session *session, const struct listing *listing,
                      const struct node *node)
{
    bool superior = !node->subscribed && node->hidden_below && listing->any_percent;
    if ((!node->subscribed && !superior) || !matches(listing, node->name))
        return;
    GString *out = session_out(session);
    g_string_append(out, "* LSUB (");
    if (superior)
        append_attribute(out, "\\Noselect");
    write_name(out, node->name, session->utf8);
    g_string_append(out, "\r\n");
}

/* --- for SELECT --- */

static void append_attributes_of(GString *out, const GPtrArray *entries, const char *name)
{
    const struct mailbox_entry *found = NULL;
    bool has_children = false;
    size_t length = strlen(name);
    for (guint i = 0; i < entries->len; i++) {
        const struct mailbox_entry *entry = g_ptr_array_index(entries, i);
        if (strcmp(entry->name, name) == 0)
            found = entry;
        else if (entry->exists && strncmp(entry->name, name, length) == 0)
            has_children = has_children || entry->name[length] == '/';
    }
    if (found == NULL)
        return;
    append_attribute(out, has_children ? "\\HasChildren" : "\\HasNoChildren");
    if (found->special_use != SPECIAL_USE_NONE)
        append_attribute(out, special_use_name(found->special_use));
}

void session_write_list_of(struct session *session, const char *name, bool present)
{
    GString *out = session_out(session);
    GPtrArray *entries = NULL;
    struct store_error error;
    g_string_append(out, "* LIST (");
    if (present && account_list(session->account, &entries, &error) == STORE_OK) {
        append_attributes_of(out, entries, name);
        g_ptr_array_unref(entries);
    }
    write_name(out, name, session->utf8);
    g_string_append(out, "\r\n");
}

/* --- the command --- */

static bool asks_for_delimiter(const struct list_arguments *arguments)
{
    const char *pattern = g_ptr_array_index(arguments->patterns, 0);
    return !arguments->extended && arguments->patterns->len == 1 && *pattern == '\0';
}

static bool recursion_is_alone(const struct list_arguments *arguments)
{
    return (arguments->select & LIST_SELECT_RECURSIVEMATCH) != 0 &&
           (arguments->select & (LIST_SELECT_SUBSCRIBED | LIST_SELECT_SPECIAL_USE)) == 0;
}

/* Subscriptions and special uses are of the present only. */
static bool may_ask_for_past(const struct command *command)
{
    return command->kind != COMMAND_LSUB &&
           (command->list.select & (LIST_SELECT_SUBSCRIBED | LIST_SELECT_SPECIAL_USE)) == 0;
}

static int begin_listing(struct session *session, struct run *run, struct store_error *error)
{
    GPtrArray *entries = NULL;
    int code = account_list(session->account, &entries, error);
    if (code != STORE_OK)
        return code;
    struct listing *listing = g_new0(struct listing, 1);
    listing->nodes = make_nodes(entries);
    listing->patterns = g_ptr_array_new_with_free_func(g_free);
    take_patterns(listing, &run->command->list);
    if (may_ask_for_past(run->command))
        listing->past = past_listing_new(listing->patterns);
    g_ptr_array_unref(entries);
    run->state = listing;
    run->state_free = listing_free;
    return STORE_OK;
}

/* The nodes of the next moment in place of those that are listed. *again: in the next slice. */
static int take_past(struct session *session, struct listing *listing, bool *again,
                     struct store_error *error)
{
    GPtrArray *entries = NULL;
    int code = past_listing_next(listing->past, session, &entries, again, error);
    if (code != STORE_OK || *again)
        return code;
    if (entries == NULL) {
        g_clear_pointer(&listing->past, past_listing_free);
        return STORE_OK;
    }
    GHashTable *by_name = g_hash_table_new(g_str_hash, g_str_equal);
    g_ptr_array_set_size(listing->nodes, 0);
    for (guint i = 0; i < entries->len; i++) {
        const struct past_entry *entry = g_ptr_array_index(entries, i);
        struct node *node = find_node(listing->nodes, by_name, entry->name);
        node->exists = entry->exists;
        node->has_children = node->has_children || entry->has_children;
        node->commit = entry->commit;
        mark_superiors(node);
    }
    /* The root is listed by itself. */
    listing->next = listing->nodes->len > 1 ? 1 : 0;
    listing->in_past = true;
    g_hash_table_unref(by_name);
    g_ptr_array_unref(entries);
    return STORE_OK;
}

/* False: to go on in the next slice. */
static bool list_nodes(struct session *session, struct run *run, struct listing *listing)
{
    bool lsub = run->command->kind == COMMAND_LSUB;
    while (listing->next < listing->nodes->len) {
        if (session_should_yield(session, run))
            return false;
        const struct node *node = g_ptr_array_index(listing->nodes, listing->next++);
        /* A mailbox of the present has been listed. */
        if (listing->in_past && account_mailbox_exists(session->account, node->name))
            continue;
        if (lsub)
            lsub_node(session, listing, node);
        else
            list_node(session, listing, node, &run->command->list);
    }
    return true;
}

/* The present, then each moment that is asked for. */
static enum run_status list_all(struct session *session, struct run *run, struct listing *listing)
{
    while (list_nodes(session, run, listing)) {
        struct store_error error = {STORE_OK, ""};
        bool again = false;
        if (listing->past == NULL)
            return session_finish(session, run, "OK", NULL, "Listed");
        if (take_past(session, listing, &again, &error) != 0)
            return session_fail(session, run, &error, false);
        if (again)
            return RUN_AGAIN;
    }
    return RUN_AGAIN;
}

enum run_status run_list(struct session *session, struct run *run)
{
    const struct list_arguments *arguments = &run->command->list;
    bool lsub = run->command->kind == COMMAND_LSUB;
    if (asks_for_delimiter(arguments)) {
        g_string_append_printf(session_out(session), "* %s (\\Noselect) \"/\" \"\"\r\n",
                               lsub ? "LSUB" : "LIST");
        return session_finish(session, run, "OK", NULL, "Listed");
    }
    if (recursion_is_alone(arguments))
        return session_finish(session, run, "BAD", NULL, "RECURSIVEMATCH needs another option");
    struct store_error error = {STORE_OK, ""};
    if (run->state == NULL && begin_listing(session, run, &error) != 0)
        return session_fail(session, run, &error, false);
    struct listing *listing = run->state;
    uint32_t survey = lsub ? LIST_SELECT_SUBSCRIBED : arguments->select;
    bool surveys = lsub || (survey & LIST_SELECT_RECURSIVEMATCH) != 0;
    while (surveys && listing->surveyed < listing->nodes->len) {
        if (session_should_yield(session, run))
            return RUN_AGAIN;
        survey_node(listing, g_ptr_array_index(listing->nodes, listing->surveyed++), survey);
    }
    return list_all(session, run, listing);
}
