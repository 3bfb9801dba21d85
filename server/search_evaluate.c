#include "server/search_evaluate.h"

#include "protocol/datetime.h"
#include "protocol/text_match.h"
#include "server/search_source.h"

enum { SEARCH_MANY = 64 };

/* A key made ready. */
struct search_leaf {
    GArray *ranges;           /* SEQUENCE, UID: resolved */
    uint64_t keywords;        /* KEYWORD: its bit, or none */
    struct object_id blob;    /* EMAILID; zero: of no message */
    struct text_match *match; /* HEADER, BODY, TEXT */
    size_t field;             /* HEADER, SENT*: its place in the source */
};

struct search {
    struct session *session;
    const struct search_key *keys;
    size_t count;
    struct search_program *program;
    struct search_leaf *leaves;
    struct search_source source;
    int64_t now; /* seconds */
    bool has_body;
    bool has_modseq;
    size_t failures;

    size_t first;        /* of the messages judged at once */
    size_t many;         /* their count */
    size_t many_decoded; /* of them in block */
    const uint8_t *flags;
    struct message block[SEARCH_MANY];

    size_t index; /* of the message at hand */
    struct message message;
};

static enum search_cost key_cost(const struct search_key *key)
{
    switch (key->kind) {
    case SEARCH_AND:
    case SEARCH_OR:
    case SEARCH_NOT:
    case SEARCH_ALL:
    case SEARCH_SEQUENCE:
    case SEARCH_UID:
    case SEARCH_FLAG:
    case SEARCH_RECENT:
    case SEARCH_NEW:
    case SEARCH_KEYWORD:
    case SEARCH_EMAILID:
    case SEARCH_THREADID:
    case SEARCH_BEFORE:
    case SEARCH_ON:
    case SEARCH_SINCE:
    case SEARCH_LARGER:
    case SEARCH_SMALLER:
    case SEARCH_OLDER:
    case SEARCH_YOUNGER:
    case SEARCH_MODSEQ:
    case SEARCH_KEY_COUNT:
        return SEARCH_COST_SNAPSHOT;
    case SEARCH_HEADER:
        return search_source_keeps(key->header) ? SEARCH_COST_SUMMARY : SEARCH_COST_HEADER;
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE:
        return SEARCH_COST_SUMMARY;
    case SEARCH_BODY:
    case SEARCH_TEXT:
        return SEARCH_COST_TEXT;
    }
    return SEARCH_COST_SNAPSHOT;
}

static void prepare_leaf(struct search *search, const struct search_key *key,
                         struct search_leaf *leaf)
{
    const struct snapshot *view = search->session->view;
    size_t keyword;

    if (key->kind == SEARCH_KEYWORD) {
        if (snapshot_keyword_find(view, key->text, &keyword)) {
            leaf->keywords = UINT64_C(1) << keyword;
        }
    } else if (key->kind == SEARCH_EMAILID) {
        session_parse_email_id(&leaf->blob, key->text);
    } else if (key->kind == SEARCH_HEADER) {
        leaf->field = search_source_use(&search->source, key->header);
        leaf->match = text_match_new(key->text, key->text_length);
    } else if (key->kind == SEARCH_BODY || key->kind == SEARCH_TEXT) {
        search->has_body |= key->kind == SEARCH_BODY;
        leaf->match = text_match_new(key->text, key->text_length);
    } else if (key->kind == SEARCH_SENTBEFORE || key->kind == SEARCH_SENTON ||
               key->kind == SEARCH_SENTSINCE) {
        leaf->field = search_source_use(&search->source, "date");
    } else if (key->kind == SEARCH_MODSEQ) {
        search->has_modseq = true;
    }
}

/* Gathers the ranges of sets that are tested together, then resolves each once. */
static void prepare_sets(struct search *search)
{
    const struct snapshot *view = search->session->view;
    size_t count = snapshot_count(view);
    uint32_t last_uid = count == 0 ? 0 : snapshot_message(view, count - 1).uid;

    for (size_t i = 0; i < search->count; i++) {
        const struct search_key *key = &search->keys[i];

        if (key->kind != SEARCH_SEQUENCE && key->kind != SEARCH_UID) {
            continue;
        }
        struct search_leaf *leaf = &search->leaves[search_program_joined(search->program, i)];
        if (leaf->ranges == NULL) {
            leaf->ranges = g_array_new(FALSE, FALSE, sizeof(struct sequence_range));
        }
        GArray *ranges = key->set.saved ? session_saved(search->session) : key->set.ranges;
        g_array_append_vals(leaf->ranges, ranges->data, ranges->len);
    }
    for (size_t i = 0; i < search->count; i++) {
        struct search_leaf *leaf = &search->leaves[i];

        if (leaf->ranges != NULL) {
            struct sequence_set set = {.ranges = leaf->ranges};
            uint32_t largest = search->keys[i].kind == SEARCH_UID ? last_uid : (uint32_t)count;

            leaf->ranges = sequence_set_resolve(&set, largest);
            g_array_unref(set.ranges);
        }
    }
}

struct search *search_new(struct session *session, const struct search_arguments *arguments)
{
    struct search *search = g_new0(struct search, 1);

    search->session = session;
    search->keys = (const struct search_key *)(void *)arguments->program->data;
    search->count = arguments->program->len;
    search->now = session->host->now(session->host->data) / 1000000;
    search->program = search_program_new(search->keys, search->count, key_cost);
    search->leaves = g_new0(struct search_leaf, search->count);
    search_source_init(&search->source, session);
    for (size_t i = 0; i < search->count; i++) {
        prepare_leaf(search, &search->keys[i], &search->leaves[i]);
    }
    prepare_sets(search);
    return search;
}

void search_free(struct search *search)
{
    if (search == NULL) {
        return;
    }
    for (size_t i = 0; i < search->count; i++) {
        g_clear_pointer(&search->leaves[i].ranges, g_array_unref);
        text_match_free(search->leaves[i].match);
    }
    g_free(search->leaves);
    search_program_free(search->program);
    search_source_release(&search->source);
    g_free(search);
}

static bool test_header(struct search *search, const struct search_leaf *leaf)
{
    struct summary_text value = search_source_field(&search->source, leaf->field);

    return value.data != NULL && text_match_find_folded(leaf->match, value.data, value.length);
}

/* False for a message without a date that can be understood, whatever is asked. */
static bool test_sent(struct search *search, const struct search_key *key,
                      const struct search_leaf *leaf)
{
    int32_t day;

    if (!search_source_sent(&search->source, leaf->field, &day)) {
        return false;
    }
    return key->kind == SEARCH_SENTBEFORE ? day < key->day
           : key->kind == SEARCH_SENTON   ? day == key->day
                                          : day >= key->day;
}

static bool test_text(struct search *search, const struct search_leaf *leaf, enum search_text which)
{
    GBytes *text = search_source_text(&search->source, which);
    size_t length;

    if (text == NULL) {
        return false;
    }
    const char *data = g_bytes_get_data(text, &length);
    return text_match_find(leaf->match, length > 0 ? data : "", length);
}

static bool test_snapshot(const struct search *search, const struct message *message,
                          const struct search_key *key, const struct search_leaf *leaf)
{
    switch (key->kind) {
    case SEARCH_ALL:
        return true;
    case SEARCH_SEQUENCE:
        return sequence_ranges_contain(leaf->ranges, (uint32_t)search->index + 1);
    case SEARCH_UID:
        return sequence_ranges_contain(leaf->ranges, message->uid);
    case SEARCH_FLAG:
        return (message->flags & key->number) != 0;
    case SEARCH_RECENT:
        return session_is_recent(search->session, message);
    case SEARCH_NEW:
        return session_is_recent(search->session, message) && (message->flags & MESSAGE_SEEN) == 0;
    case SEARCH_KEYWORD:
        return (message->keywords & leaf->keywords) != 0;
    case SEARCH_EMAILID:
        return object_id_equal(&message->blob, &leaf->blob);
    case SEARCH_THREADID:
        return false;
    case SEARCH_BEFORE:
        return date_of(message->internal_date, message->zone) < key->day;
    case SEARCH_ON:
        return date_of(message->internal_date, message->zone) == key->day;
    case SEARCH_SINCE:
        return date_of(message->internal_date, message->zone) >= key->day;
    case SEARCH_LARGER:
        return message->size > key->number;
    case SEARCH_SMALLER:
        return message->size < key->number;
    case SEARCH_OLDER:
        return message->internal_date <= search->now - (int64_t)key->number;
    case SEARCH_YOUNGER:
        return message->internal_date >= search->now - (int64_t)key->number;
    case SEARCH_MODSEQ:
        return message->modseq >= key->number;
    case SEARCH_AND:
    case SEARCH_OR:
    case SEARCH_NOT:
    case SEARCH_HEADER:
    case SEARCH_BODY:
    case SEARCH_TEXT:
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE:
    case SEARCH_KEY_COUNT:
        break;
    }
    return false;
}

static bool test_key(void *data, size_t at)
{
    struct search *search = data;
    const struct search_key *key = &search->keys[at];
    const struct search_leaf *leaf = &search->leaves[at];

    if (key->kind == SEARCH_HEADER) {
        return test_header(search, leaf);
    }
    if (key->kind == SEARCH_SENTBEFORE || key->kind == SEARCH_SENTON ||
        key->kind == SEARCH_SENTSINCE) {
        return test_sent(search, key, leaf);
    }
    if (key->kind == SEARCH_BODY) {
        return test_text(search, leaf, SEARCH_TEXT_BODY_ONLY);
    }
    if (key->kind == SEARCH_TEXT) {
        /* With BODY keys about, the body's text is at hand or will be: only the header is new. */
        return search->has_body ? test_text(search, leaf, SEARCH_TEXT_HEADER_ONLY) ||
                                      test_text(search, leaf, SEARCH_TEXT_BODY_ONLY)
                                : test_text(search, leaf, SEARCH_TEXT_ALL);
    }
    return test_snapshot(search, &search->message, key, leaf);
}

bool search_matches(struct search *search, size_t index)
{
    bool matches;

    search->index = index;
    search->message = snapshot_message(search->session->view, index);
    search_source_set(&search->source, &search->message);
    matches = search_program_run(search->program, test_key, search);
    if (search_source_failed(&search->source)) {
        search->failures++;
        return false;
    }
    return matches;
}

/* Bits of the messages that have one of these flags: without a branch, so that the compiler makes
 * it many at a time. */
static uint64_t test_flags(const struct search *search, uint64_t wanted)
{
    uint64_t held = 0;

    for (size_t i = 0; i < search->many; i++) {
        held |= (uint64_t)((search->flags[i] & wanted) != 0) << i;
    }
    return held;
}

static uint64_t test_many(void *data, size_t at, uint64_t messages)
{
    struct search *search = data;
    const struct search_key *key = &search->keys[at];
    uint64_t held = 0;

    if (key->kind == SEARCH_ALL) {
        return messages;
    }
    if (key->kind == SEARCH_FLAG) {
        return messages & test_flags(search, key->number);
    }
    for (; search->many_decoded < search->many; search->many_decoded++) {
        search->block[search->many_decoded] =
            snapshot_message(search->session->view, search->first + search->many_decoded);
    }
    for (uint64_t left = messages; left != 0; left &= left - 1) {
        size_t i = (size_t)__builtin_ctzll(left);

        search->index = search->first + i;
        held |= (uint64_t)test_snapshot(search, &search->block[i], key, &search->leaves[at]) << i;
    }
    return held;
}

size_t search_matches_many(struct search *search, size_t index, uint64_t *matches)
{
    size_t count;

    search->flags = snapshot_flags(search->session->view, index, &count);
    search->first = index;
    search->many = MIN(count, SEARCH_MANY);
    search->many_decoded = 0;
    *matches = search_program_run_many(search->program, UINT64_MAX >> (SEARCH_MANY - search->many),
                                       test_many, search);
    return search->many;
}

enum search_cost search_cost(const struct search *search)
{
    return search_program_cost(search->program);
}

size_t search_failures(const struct search *search)
{
    return search->failures;
}

bool search_has_modseq(const struct search *search)
{
    return search->has_modseq;
}
