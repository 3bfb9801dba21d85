/* SEARCH (RFC 3501 6.4.4, 4731, 5032, 7162), SORT and THREAD (RFC 5256): a program in prefix order,
 * made without recursion. */
#include "protocol/convert.h"

#include <string.h>

#include "protocol/charset.h"
#include "protocol/datetime.h"
#include "protocol/limits.h"

enum key_argument {
    KEY_ARGUMENT_NONE,
    KEY_ARGUMENT_TEXT,
    KEY_ARGUMENT_HEADER, /* a name, then text */
    KEY_ARGUMENT_DAY,
    KEY_ARGUMENT_NUMBER,
    KEY_ARGUMENT_POSITIVE,
    KEY_ARGUMENT_SET,
    KEY_ARGUMENT_KEYWORD,
    KEY_ARGUMENT_OBJECT,
    KEY_ARGUMENT_MODSEQ,
};

/* Flags in the order of response_system_flags. */
enum { ANSWERED = 1 << 0, FLAGGED = 1 << 1, DELETED = 1 << 2, SEEN = 1 << 3, DRAFT = 1 << 4 };

struct key_spec {
    const char *name;
    enum search_key_kind kind;
    enum key_argument argument;
    bool negated; /* stands for NOT of the kind */
    uint8_t flag;
    const char *header;
};

static const struct key_spec key_specs[] = {
    {"ALL", SEARCH_ALL, KEY_ARGUMENT_NONE, false, 0, NULL},
    {"ANSWERED", SEARCH_FLAG, KEY_ARGUMENT_NONE, false, ANSWERED, NULL},
    {"BCC", SEARCH_HEADER, KEY_ARGUMENT_TEXT, false, 0, "Bcc"},
    {"BEFORE", SEARCH_BEFORE, KEY_ARGUMENT_DAY, false, 0, NULL},
    {"BODY", SEARCH_BODY, KEY_ARGUMENT_TEXT, false, 0, NULL},
    {"CC", SEARCH_HEADER, KEY_ARGUMENT_TEXT, false, 0, "Cc"},
    {"DELETED", SEARCH_FLAG, KEY_ARGUMENT_NONE, false, DELETED, NULL},
    {"DRAFT", SEARCH_FLAG, KEY_ARGUMENT_NONE, false, DRAFT, NULL},
    {"EMAILID", SEARCH_EMAILID, KEY_ARGUMENT_OBJECT, false, 0, NULL},
    {"FLAGGED", SEARCH_FLAG, KEY_ARGUMENT_NONE, false, FLAGGED, NULL},
    {"FROM", SEARCH_HEADER, KEY_ARGUMENT_TEXT, false, 0, "From"},
    {"HEADER", SEARCH_HEADER, KEY_ARGUMENT_HEADER, false, 0, NULL},
    {"KEYWORD", SEARCH_KEYWORD, KEY_ARGUMENT_KEYWORD, false, 0, NULL},
    {"LARGER", SEARCH_LARGER, KEY_ARGUMENT_NUMBER, false, 0, NULL},
    {"MODSEQ", SEARCH_MODSEQ, KEY_ARGUMENT_MODSEQ, false, 0, NULL},
    {"NEW", SEARCH_NEW, KEY_ARGUMENT_NONE, false, 0, NULL},
    {"OLD", SEARCH_RECENT, KEY_ARGUMENT_NONE, true, 0, NULL},
    {"OLDER", SEARCH_OLDER, KEY_ARGUMENT_POSITIVE, false, 0, NULL},
    {"ON", SEARCH_ON, KEY_ARGUMENT_DAY, false, 0, NULL},
    {"RECENT", SEARCH_RECENT, KEY_ARGUMENT_NONE, false, 0, NULL},
    {"SEEN", SEARCH_FLAG, KEY_ARGUMENT_NONE, false, SEEN, NULL},
    {"SENTBEFORE", SEARCH_SENTBEFORE, KEY_ARGUMENT_DAY, false, 0, NULL},
    {"SENTON", SEARCH_SENTON, KEY_ARGUMENT_DAY, false, 0, NULL},
    {"SENTSINCE", SEARCH_SENTSINCE, KEY_ARGUMENT_DAY, false, 0, NULL},
    {"SINCE", SEARCH_SINCE, KEY_ARGUMENT_DAY, false, 0, NULL},
    {"SMALLER", SEARCH_SMALLER, KEY_ARGUMENT_NUMBER, false, 0, NULL},
    {"SUBJECT", SEARCH_HEADER, KEY_ARGUMENT_TEXT, false, 0, "Subject"},
    {"TEXT", SEARCH_TEXT, KEY_ARGUMENT_TEXT, false, 0, NULL},
    {"THREADID", SEARCH_THREADID, KEY_ARGUMENT_OBJECT, false, 0, NULL},
    {"TO", SEARCH_HEADER, KEY_ARGUMENT_TEXT, false, 0, "To"},
    {"UID", SEARCH_UID, KEY_ARGUMENT_SET, false, 0, NULL},
    {"UNANSWERED", SEARCH_FLAG, KEY_ARGUMENT_NONE, true, ANSWERED, NULL},
    {"UNDELETED", SEARCH_FLAG, KEY_ARGUMENT_NONE, true, DELETED, NULL},
    {"UNDRAFT", SEARCH_FLAG, KEY_ARGUMENT_NONE, true, DRAFT, NULL},
    {"UNFLAGGED", SEARCH_FLAG, KEY_ARGUMENT_NONE, true, FLAGGED, NULL},
    {"UNKEYWORD", SEARCH_KEYWORD, KEY_ARGUMENT_KEYWORD, true, 0, NULL},
    {"UNSEEN", SEARCH_FLAG, KEY_ARGUMENT_NONE, true, SEEN, NULL},
    {"YOUNGER", SEARCH_YOUNGER, KEY_ARGUMENT_POSITIVE, false, 0, NULL},
};

/* A node whose children are still being read. */
struct frame {
    uint32_t node;
    uint32_t wanted; /* children still to come; FRAME_LIST: as many as there are */
    uint32_t outer;  /* of a list: the end of the arguments around it */
};
enum { FRAME_LIST = UINT32_MAX };

struct builder {
    struct conversion *conversion;
    struct argument_cursor cursor; /* within the innermost open list */
    GArray *program;
    GArray *frames;
    const char *charset; /* that texts are in, borrowed; NULL: UTF-8 */
};

static bool add_key(struct builder *builder, enum search_key_kind kind)
{
    struct search_key key = {.kind = kind, .skip = builder->program->len + 1};

    /* The node of the whole program is no key. */
    if (builder->program->len == LIMIT_SEARCH_KEYS + 1)
        return convert_too_big(builder->conversion, "Too many search keys");
    g_array_append_val(builder->program, key);
    return true;
}

static struct search_key *last_key(struct builder *builder)
{
    return &g_array_index(builder->program, struct search_key, builder->program->len - 1);
}

static void push_frame(struct builder *builder, uint32_t wanted)
{
    struct frame frame = {builder->program->len - 1, wanted, builder->cursor.end};

    g_array_append_val(builder->frames, frame);
}

static void child_is_complete(struct builder *builder)
{
    struct frame *frame;

    if (builder->frames->len == 0)
        return;
    frame = &g_array_index(builder->frames, struct frame, builder->frames->len - 1);
    if (frame->wanted != FRAME_LIST)
        frame->wanted--;
}

/* --- keys without keys below them --- */

/* Takes the text over. */
static bool keep_text(struct builder *builder, GString *text, char **out, size_t *out_length)
{
    bool good = builder->charset == NULL ? g_utf8_validate(text->str, (gssize)text->len, NULL)
                                         : strstr(text->str, CHARSET_REPLACEMENT) == NULL;

    if (!good) {
        g_string_free(text, TRUE);
        return convert_fail(builder->conversion, "The search text is not valid in its charset");
    }
    if (out_length != NULL)
        *out_length = text->len;
    *out = g_string_free(text, FALSE);
    return true;
}

static bool take_text(struct builder *builder, char **out, size_t *out_length)
{
    GString *decoded;
    const char *text;
    size_t length;

    if (!convert_take_astring(builder->conversion, &builder->cursor, &text, &length))
        return false;
    decoded = g_string_new(NULL);
    if (builder->conversion->command->search.bad_charset)
        length = 0; /* the answer is NO: what the octets mean is not known */
    if (builder->charset != NULL)
        charset_append(decoded, builder->charset, strlen(builder->charset), text, length);
    else
        g_string_append_len(decoded, text, (gssize)length);
    return keep_text(builder, decoded, out, out_length);
}

/* date = date-text / DQUOTE date-text DQUOTE */
static bool take_day(struct builder *builder, int32_t *out)
{
    const struct argument *argument = argument_next(&builder->cursor);

    if (argument == NULL ||
        (argument->kind != ARGUMENT_ATOM && argument->kind != ARGUMENT_QUOTED) ||
        !date_parse(out, argument_text(builder->cursor.tree, argument), argument->length))
        return convert_fail(builder->conversion, "A date is expected");
    return true;
}

/* search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer;
 * search-modseq-ext = SP entry-name SP ("priv" / "shared" / "all") */
static bool take_modseq(struct builder *builder, uint64_t *out)
{
    static const char prefix[] = "/flags/";
    const struct argument_tree *tree = builder->cursor.tree;
    const struct argument *entry = argument_peek(&builder->cursor);

    if (entry != NULL && entry->kind == ARGUMENT_QUOTED) {
        const struct argument *type;

        argument_next(&builder->cursor);
        type = argument_next(&builder->cursor);
        if (entry->length < sizeof prefix ||
            g_ascii_strncasecmp(argument_text(tree, entry), prefix, sizeof prefix - 1) != 0 ||
            (!argument_is_word(tree, type, "priv") && !argument_is_word(tree, type, "shared") &&
             !argument_is_word(tree, type, "all")))
            return convert_fail(builder->conversion, "Unknown entry of MODSEQ");
    }
    return convert_take_number(builder->conversion, &builder->cursor, INT64_MAX, out);
}

static bool take_keyword(struct builder *builder, struct search_key *key)
{
    const char *text;

    if (!convert_take_atom(builder->conversion, &builder->cursor, &text, &key->text_length))
        return false;
    key->text = g_strndup(text, key->text_length);
    return true;
}

/* objectid = 1*255(ALPHA / DIGIT / "_" / "-") */
static bool take_object(struct builder *builder, struct search_key *key)
{
    if (!take_keyword(builder, key))
        return false;
    for (size_t i = 0; i < key->text_length; i++) {
        if (!g_ascii_isalnum(key->text[i]) && key->text[i] != '_' && key->text[i] != '-')
            return convert_fail(builder->conversion, "An object's id is expected");
    }
    return key->text_length <= LIMIT_OBJECT_ID ||
           convert_fail(builder->conversion, "An object's id is expected");
}

static bool take_positive(struct builder *builder, uint64_t *out)
{
    if (!convert_take_number(builder->conversion, &builder->cursor, UINT32_MAX, out))
        return false;
    if (*out == 0)
        return convert_fail(builder->conversion, "A number above 0 is expected");
    return true;
}

static bool take_key_argument(struct builder *builder, const struct key_spec *spec)
{
    struct search_key *key = last_key(builder);

    key->number = spec->flag;
    key->header = g_strdup(spec->header);
    switch (spec->argument) {
    case KEY_ARGUMENT_NONE:
        return true;
    case KEY_ARGUMENT_TEXT:
        return take_text(builder, &key->text, &key->text_length);
    case KEY_ARGUMENT_HEADER:
        return take_text(builder, &key->header, NULL) &&
               take_text(builder, &key->text, &key->text_length);
    case KEY_ARGUMENT_DAY:
        return take_day(builder, &key->day);
    case KEY_ARGUMENT_NUMBER:
        return convert_take_number(builder->conversion, &builder->cursor, INT64_MAX, &key->number);
    case KEY_ARGUMENT_POSITIVE:
        return take_positive(builder, &key->number);
    case KEY_ARGUMENT_SET:
        return convert_take_set(builder->conversion, &builder->cursor, &key->set);
    case KEY_ARGUMENT_KEYWORD:
        return take_keyword(builder, key);
    case KEY_ARGUMENT_OBJECT:
        return take_object(builder, key);
    case KEY_ARGUMENT_MODSEQ:
        return take_modseq(builder, &key->number);
    }
    return false;
}

static bool convert_spec(struct builder *builder, const struct key_spec *spec)
{
    if (spec->negated) {
        if (!add_key(builder, SEARCH_NOT))
            return false;
        last_key(builder)->skip++;
    }
    if (!add_key(builder, spec->kind) || !take_key_argument(builder, spec))
        return false;
    child_is_complete(builder);
    return true;
}

/* --- the walk --- */

static bool open_list(struct builder *builder, const struct argument *list)
{
    struct argument_cursor elements = argument_elements(&builder->cursor, list);

    if (argument_peek(&elements) == NULL)
        return convert_fail(builder->conversion, "A list of search keys is empty");
    if (!add_key(builder, SEARCH_AND))
        return false;
    push_frame(builder, FRAME_LIST);
    builder->cursor = elements;
    return true;
}

static bool open_operator(struct builder *builder, enum search_key_kind kind)
{
    if (!add_key(builder, kind))
        return false;
    push_frame(builder, kind == SEARCH_OR ? 2 : 1);
    return true;
}

static bool convert_sequence(struct builder *builder, const struct argument *argument)
{
    struct search_key *key;

    if (!add_key(builder, SEARCH_SEQUENCE))
        return false;
    key = last_key(builder);
    if (!sequence_set_parse(&key->set, argument_text(builder->cursor.tree, argument),
                            argument->length, true))
        return convert_fail(builder->conversion, "A set of message numbers is expected");
    if (key->set.saved)
        key->kind = SEARCH_UID;
    child_is_complete(builder);
    return true;
}

/* search-key */
static bool convert_key(struct builder *builder)
{
    const struct argument_tree *tree = builder->cursor.tree;
    const struct argument *argument = argument_peek(&builder->cursor);
    const char *text;

    if (argument == NULL)
        return convert_fail(builder->conversion, "A search key is missing");
    if (argument->kind == ARGUMENT_LIST)
        return open_list(builder, argument);
    argument_next(&builder->cursor);
    if (argument->kind != ARGUMENT_ATOM)
        return convert_fail(builder->conversion, "A search key is expected");
    text = argument_text(tree, argument);
    if (g_ascii_isdigit(text[0]) || text[0] == '*' || text[0] == '$')
        return convert_sequence(builder, argument);
    if (argument_is_word(tree, argument, "NOT"))
        return open_operator(builder, SEARCH_NOT);
    if (argument_is_word(tree, argument, "OR"))
        return open_operator(builder, SEARCH_OR);
    for (size_t i = 0; i < G_N_ELEMENTS(key_specs); i++) {
        if (argument_is_word(tree, argument, key_specs[i].name))
            return convert_spec(builder, &key_specs[i]);
    }
    return convert_fail(builder->conversion, "Unknown search key");
}

/* The innermost node has all its children. */
static void close_frame(struct builder *builder)
{
    struct frame frame = g_array_index(builder->frames, struct frame, builder->frames->len - 1);

    g_array_set_size(builder->frames, builder->frames->len - 1);
    g_array_index(builder->program, struct search_key, frame.node).skip = builder->program->len;
    if (frame.wanted == FRAME_LIST) {
        builder->cursor.next = builder->cursor.end;
        builder->cursor.end = frame.outer;
    }
    child_is_complete(builder);
}

static bool convert_program(struct builder *builder)
{
    if (argument_peek(&builder->cursor) == NULL)
        return convert_fail(builder->conversion, "SEARCH needs a search key");
    add_key(builder, SEARCH_AND);
    push_frame(builder, FRAME_LIST);
    while (builder->frames->len > 0) {
        const struct frame *frame =
            &g_array_index(builder->frames, struct frame, builder->frames->len - 1);
        bool is_list = frame->wanted == FRAME_LIST;

        if (frame->wanted == 0 || (is_list && argument_peek(&builder->cursor) == NULL))
            close_frame(builder);
        else if (!convert_key(builder))
            return false;
    }
    return true;
}

/* --- what stands before the keys --- */

/* search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"; "SAVE"
 * of RFC 5182 */
static bool convert_return(struct conversion *conversion)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } options[] = {{"MIN", SEARCH_RETURN_MIN},
                   {"MAX", SEARCH_RETURN_MAX},
                   {"ALL", SEARCH_RETURN_ALL},
                   {"COUNT", SEARCH_RETURN_COUNT},
                   {"SAVE", SEARCH_RETURN_SAVE}};
    struct search_arguments *search = &conversion->command->search;
    struct argument_cursor elements;
    const struct argument *argument;

    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    search->extended = true;
    while ((argument = argument_next(&elements)) != NULL) {
        size_t i = 0;

        while (i < G_N_ELEMENTS(options) &&
               !argument_is_word(elements.tree, argument, options[i].name))
            i++;
        if (i == G_N_ELEMENTS(options))
            return convert_fail(conversion, "Unknown SEARCH return option");
        search->returns |= options[i].bit;
    }
    if (search->returns == 0)
        search->returns = SEARCH_RETURN_ALL;
    return true;
}

static bool is_known(const char *charset, size_t length)
{
    GString *nothing = g_string_new(NULL);
    bool known = charset_append(nothing, charset, length, "", 0);

    g_string_free(nothing, TRUE);
    return known;
}

/* charset. Texts that say they are US-ASCII are often UTF-8. */
static bool convert_charset(struct builder *builder)
{
    struct conversion *conversion = builder->conversion;
    const char *text;
    size_t length;

    if (!convert_take_astring(conversion, &conversion->cursor, &text, &length))
        return false;
    if (g_ascii_strcasecmp(text, "UTF-8") == 0 || g_ascii_strcasecmp(text, "US-ASCII") == 0)
        return true;
    conversion->command->search.bad_charset = !is_known(text, length);
    builder->charset = conversion->command->search.bad_charset ? NULL : text;
    return true;
}

static bool convert_keys(struct builder *builder)
{
    bool good;

    builder->cursor = builder->conversion->cursor;
    builder->program = g_array_new(FALSE, FALSE, sizeof(struct search_key));
    builder->conversion->command->search.program = builder->program;
    builder->frames = g_array_new(FALSE, FALSE, sizeof(struct frame));
    good = convert_program(builder);
    g_array_free(builder->frames, TRUE);
    return good;
}

static bool convert_options(struct conversion *conversion)
{
    struct argument_cursor *cursor = &conversion->cursor;

    if (!argument_is_word(cursor->tree, argument_peek(cursor), "RETURN"))
        return true;
    argument_next(cursor);
    return convert_return(conversion);
}

/* search = "SEARCH" [search-return-opts] [SP "CHARSET" SP charset] 1*(SP search-key) */
bool convert_search(struct conversion *conversion)
{
    struct argument_cursor *cursor = &conversion->cursor;
    struct builder builder = {.conversion = conversion};

    if (!convert_options(conversion))
        return false;
    if (argument_is_word(cursor->tree, argument_peek(cursor), "CHARSET")) {
        argument_next(cursor);
        if (conversion->no_charset)
            return convert_fail(conversion, "CHARSET can't be given after UTF8=ACCEPT");
        if (!convert_charset(&builder))
            return false;
    }
    return convert_keys(&builder);
}

/* --- SORT --- */

/* sort-criterion = ["REVERSE" SP] sort-key */
static bool convert_criterion(struct conversion *conversion, struct argument_cursor *elements)
{
    static const struct {
        const char *name;
        enum sort_key key;
    } keys[] = {{"ARRIVAL", SORT_ARRIVAL},
                {"CC", SORT_CC},
                {"DATE", SORT_DATE},
                {"FROM", SORT_FROM},
                {"SIZE", SORT_SIZE},
                {"SUBJECT", SORT_SUBJECT},
                {"TO", SORT_TO},
                {"DISPLAYFROM", SORT_DISPLAYFROM},
                {"DISPLAYTO", SORT_DISPLAYTO}};
    const struct argument *argument = argument_next(elements);
    struct sort_criterion criterion = {.reverse =
                                           argument_is_word(elements->tree, argument, "REVERSE")};
    size_t i = 0;

    if (criterion.reverse)
        argument = argument_next(elements);
    while (i < G_N_ELEMENTS(keys) && !argument_is_word(elements->tree, argument, keys[i].name))
        i++;
    if (i == G_N_ELEMENTS(keys))
        return convert_fail(conversion, "Unknown SORT criterion");
    criterion.key = keys[i].key;
    g_array_append_val(conversion->command->search.sort, criterion);
    return true;
}

/* sort-criteria = "(" sort-criterion *(SP sort-criterion) ")" */
static bool convert_criteria(struct conversion *conversion)
{
    struct argument_cursor elements;

    if (!convert_take_list(conversion, &conversion->cursor, &elements))
        return false;
    if (argument_peek(&elements) == NULL)
        return convert_fail(conversion, "The list of SORT criteria is empty");
    conversion->command->search.sort = g_array_new(FALSE, FALSE, sizeof(struct sort_criterion));
    while (argument_peek(&elements) != NULL) {
        if (conversion->command->search.sort->len == LIMIT_SORT_CRITERIA)
            return convert_too_big(conversion, "Too many SORT criteria");
        if (!convert_criterion(conversion, &elements))
            return false;
    }
    return true;
}

/* sort = "SORT" [search-return-opts] SP sort-criteria SP charset 1*(SP search-key) */
bool convert_sort(struct conversion *conversion)
{
    struct builder builder = {.conversion = conversion};

    return convert_options(conversion) && convert_criteria(conversion) &&
           convert_charset(&builder) && convert_keys(&builder);
}

/* --- THREAD --- */

/* thread = "THREAD" SP thread-alg SP charset 1*(SP search-key) */
bool convert_thread(struct conversion *conversion)
{
    static const char *const algorithms[] = {
        [THREAD_ORDEREDSUBJECT] = "ORDEREDSUBJECT", [THREAD_REFERENCES] = "REFERENCES"};
    struct argument_cursor *cursor = &conversion->cursor;
    const struct argument *argument = argument_next(cursor);
    struct builder builder = {.conversion = conversion};
    size_t i = 0;

    if (argument == NULL)
        return convert_fail(conversion, "An argument is missing");
    while (i < G_N_ELEMENTS(algorithms) && !argument_is_word(cursor->tree, argument, algorithms[i]))
        i++;
    if (i == G_N_ELEMENTS(algorithms))
        return convert_fail(conversion, "Unknown THREAD algorithm");
    conversion->command->search.thread = (enum thread_algorithm)i;
    return convert_charset(&builder) && convert_keys(&builder);
}
