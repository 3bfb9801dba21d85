#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "store/internal/packed_leaf.h"

enum { NUMBER = 120 };

static void assert_same(const struct message *a, const struct message *b)
{
    ck_assert_int_eq(memcmp(a->blob.bytes, b->blob.bytes, OBJECT_ID_SIZE), 0);
    ck_assert_uint_eq(a->uid, b->uid);
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_uint_eq(a->modseq, b->modseq);
    ck_assert_uint_eq(a->keywords, b->keywords);
    ck_assert_int_eq(a->internal_date, b->internal_date);
    ck_assert_int_eq(a->zone, b->zone);
    ck_assert_uint_eq(a->flags, b->flags);
}

static void assert_round_trip(const struct message *messages, size_t count)
{
    uint8_t packed[PACKED_LEAF_MAX];
    struct message decoded[LEAF_MESSAGES];
    size_t length = packed_leaf_encode(packed, messages, count);
    uint32_t number = messages[0].uid / LEAF_MESSAGES;

    ck_assert_uint_le(length, PACKED_LEAF_MAX);
    ck_assert(packed_leaf_valid(packed, length, count, MAILBOX_KEYWORDS_MAX));
    ck_assert_uint_eq(packed_leaf_decode(decoded, packed, number), count);
    for (size_t i = 0; i < count; i++) {
        assert_same(&messages[i], &decoded[i]);
    }
}

static uint64_t random_bits(unsigned *seed)
{
    uint64_t bits = 0;

    for (int i = 0; i < 5; i++) {
        bits = bits << 15 ^ (uint64_t)rand_r(seed);
    }
    return bits >> rand_r(seed) % 64;
}

/* Some of its values are the greatest or least there are. */
static struct message random_message(uint32_t uid, unsigned *seed)
{
    struct message message = {
        .uid = uid,
        .size = (uint32_t)random_bits(seed),
        .modseq = random_bits(seed) >> 1,
        .keywords = rand_r(seed) % 2 == 0 ? random_bits(seed) : 0,
        .internal_date = (int64_t)(random_bits(seed) >> 26) - INT64_C(62135596800),
        .zone = (int16_t)(rand_r(seed) % (2 * INDEX_ZONE_MAX + 1) - INDEX_ZONE_MAX),
        .flags = (uint8_t)rand_r(seed) & MESSAGE_FLAGS_ALL,
    };

    for (size_t i = 0; i < OBJECT_ID_SIZE; i++) {
        message.blob.bytes[i] = (uint8_t)rand_r(seed);
    }
    return message;
}

START_TEST(test_packed_leaf__round_trips_random_messages)
{
    unsigned seed = 11;

    for (int round = 0; round < 300; round++) {
        struct message messages[LEAF_MESSAGES];
        struct message pattern = random_message(0, &seed);
        unsigned different = (unsigned)rand_r(&seed);
        size_t count = 0;

        for (uint32_t pair = 0; pair < LEAF_MESSAGES; pair++) {
            struct message message = random_message(NUMBER * LEAF_MESSAGES + pair, &seed);

            if (rand_r(&seed) % 3 == 0 && (pair < LEAF_MESSAGES - 1 || count > 0)) {
                continue;
            }
            message.size = (different & 1) != 0 ? message.size : pattern.size;
            message.modseq = (different & 2) != 0 ? message.modseq : pattern.modseq;
            message.keywords = (different & 4) != 0 ? message.keywords : pattern.keywords;
            message.zone = (different & 8) != 0 ? message.zone : pattern.zone;
            message.internal_date =
                (different & 16) != 0 ? message.internal_date : pattern.internal_date;
            messages[count++] = message;
        }
        assert_round_trip(messages, count);
    }
}
END_TEST

static bool is_same(const struct message *a, const struct message *b)
{
    return memcmp(a->blob.bytes, b->blob.bytes, OBJECT_ID_SIZE) == 0 && a->size == b->size &&
           a->modseq == b->modseq && a->keywords == b->keywords &&
           a->internal_date == b->internal_date && a->zone == b->zone && a->flags == b->flags;
}

/* Changes one value of a message, mostly a little. */
static void alter(struct message *message, unsigned *seed)
{
    switch (rand_r(seed) % 6) {
    case 0:
        message->flags ^= MESSAGE_SEEN;
        break;
    case 1:
        message->modseq++;
        break;
    case 2:
        message->keywords ^= 2;
        break;
    case 3:
        message->size ^= 1;
        break;
    case 4:
        message->internal_date++;
        break;
    default:
        message->blob.bytes[rand_r(seed) % OBJECT_ID_SIZE] ^= 1;
        break;
    }
}

START_TEST(test_packed_leaf__compares_without_decoding)
{
    unsigned seed = 12;
    unsigned compared = 0;

    for (int round = 0; round < 500; round++) {
        struct message before[LEAF_MESSAGES], after[LEAF_MESSAGES];
        uint8_t a[PACKED_LEAF_MAX], b[PACKED_LEAF_MAX];
        bool differs[LEAF_MESSAGES];
        size_t count = 0;

        for (uint32_t pair = 0; pair < LEAF_MESSAGES; pair += 1 + (uint32_t)rand_r(&seed) % 3) {
            before[count++] = random_message(NUMBER * LEAF_MESSAGES + pair, &seed);
        }
        memcpy(after, before, sizeof(after));
        for (int changes = rand_r(&seed) % 4; changes > 0; changes--) {
            alter(&after[(size_t)rand_r(&seed) % count], &seed);
        }
        packed_leaf_encode(a, before, count);
        packed_leaf_encode(b, after, count);
        if (!packed_leaf_compare(a, b, differs)) {
            continue;
        }
        compared++;
        for (size_t i = 0; i < count; i++) {
            ck_assert(differs[i] == !is_same(&before[i], &after[i]));
        }
    }
    ck_assert_uint_gt(compared, 100);
}
END_TEST

START_TEST(test_packed_leaf__tells_leaves_that_are_not_alike)
{
    unsigned seed = 13;
    struct message messages[2] = {random_message(NUMBER * LEAF_MESSAGES + 4, &seed),
                                  random_message(NUMBER * LEAF_MESSAGES + 7, &seed)};
    uint8_t a[PACKED_LEAF_MAX], b[PACKED_LEAF_MAX];
    bool differs[LEAF_MESSAGES];

    packed_leaf_encode(a, messages, 2);
    packed_leaf_encode(b, messages, 1);
    ck_assert(!packed_leaf_compare(a, b, differs));
    messages[1].uid++;
    packed_leaf_encode(b, messages, 2);
    ck_assert(!packed_leaf_compare(a, b, differs));
}
END_TEST

START_TEST(test_packed_leaf__holds_the_extremes)
{
    struct message messages[LEAF_MESSAGES];
    uint8_t packed[PACKED_LEAF_MAX];

    for (uint32_t i = 0; i < LEAF_MESSAGES; i++) {
        bool odd = i % 2 == 1;

        messages[i] = (struct message){.uid = 4294967200 + i,
                                       .size = odd ? UINT32_MAX : 0,
                                       .modseq = odd ? (uint64_t)INT64_MAX : 1,
                                       .keywords = odd ? UINT64_MAX : 0,
                                       .internal_date = odd ? 253402300799 : -62135596800,
                                       .zone = odd ? INDEX_ZONE_MAX : -INDEX_ZONE_MAX,
                                       .flags = odd ? MESSAGE_FLAGS_ALL : 0};
    }
    assert_round_trip(messages, MESSAGE_UID_MAX % LEAF_MESSAGES);
    ck_assert_uint_eq(packed_leaf_encode(packed, messages, 1), PACKED_LEAF_HEAD + 2 + 20);
}
END_TEST

START_TEST(test_packed_leaf__finds_by_uid_and_the_first_unseen)
{
    struct message messages[50];
    uint8_t packed[PACKED_LEAF_MAX];

    memset(messages, 0, sizeof(messages));
    for (uint32_t i = 0; i < 50; i++) {
        messages[i].uid = 2 * i + 1;
        messages[i].flags = i == 31 || i == 40 ? 0 : MESSAGE_SEEN;
    }
    packed_leaf_encode(packed, messages, 50);
    for (unsigned pair = 0; pair < LEAF_MESSAGES; pair++) {
        ck_assert_uint_eq(packed_leaf_lower_bound(packed, pair), pair / 2);
    }
    ck_assert_uint_eq(packed_leaf_pair(packed, 3), 7);
    ck_assert_uint_eq(packed_leaf_first_unseen(packed), 31);
    packed_leaf_encode(packed, messages, 31);
    ck_assert_uint_eq(packed_leaf_first_unseen(packed), 31);
}
END_TEST

START_TEST(test_packed_leaf__is_valid_in_one_form_only)
{
    static const struct {
        size_t at;
        uint8_t value;
    } faults[] = {
        {0, 0},   {0, 2},     {0, 4},  {0, 101},             /* count */
        {1, 3},   {1, 8},     {2, 5},  {2, 16},   {3, 4},    /* widths */
        {4, 255}, {5, 6},     {5, 16}, {24, 100}, {24, 255}, /* UIDs */
        {25, 1},  {27, 0x20},                                /* a UID that falls, a flag */
    };
    struct message messages[3];
    uint8_t packed[PACKED_LEAF_MAX];
    size_t length;

    memset(messages, 0, sizeof(messages));
    for (uint32_t i = 0; i < 3; i++) {
        messages[i].uid = i + 1;
        messages[i].size = 1000 * i;
        messages[i].keywords = i;
    }
    length = packed_leaf_encode(packed, messages, 3);
    ck_assert(packed_leaf_valid(packed, length, 3, 2));
    ck_assert(!packed_leaf_valid(packed, length, 3, 1));
    ck_assert(!packed_leaf_valid(packed, length, 2, 2));
    for (size_t cut = 0; cut < length; cut++) {
        ck_assert(!packed_leaf_valid(packed, cut, 3, 2));
    }
    ck_assert(!packed_leaf_valid(packed, length + 1, 3, 2));
    for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
        uint8_t was = packed[faults[i].at];

        packed[faults[i].at] = faults[i].value;
        ck_assert_msg(!packed_leaf_valid(packed, length, 3, 2), "fault %zu", i);
        packed[faults[i].at] = was;
    }
    ck_assert(packed_leaf_valid(packed, length, 3, 2));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("packed_leaf");
    TCase *cases = tcase_create("packed_leaf");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(cases, test_packed_leaf__round_trips_random_messages);
    tcase_add_test(cases, test_packed_leaf__compares_without_decoding);
    tcase_add_test(cases, test_packed_leaf__tells_leaves_that_are_not_alike);
    tcase_add_test(cases, test_packed_leaf__holds_the_extremes);
    tcase_add_test(cases, test_packed_leaf__finds_by_uid_and_the_first_unseen);
    tcase_add_test(cases, test_packed_leaf__is_valid_in_one_form_only);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
