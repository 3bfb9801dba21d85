#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/cache_budget.h"
#include "store/internal/object_cache.h"
#include "tests/mail_fixture.h"

enum { LIMIT = 1024 * 1024, OBJECT = 10000, THREADS = 4, CHANGES = 100000 };

static struct object_id numbered(unsigned number)
{
    struct object_id id = {0};

    memcpy(id.bytes, &number, sizeof(number));
    return id;
}

static void put_objects(struct object_cache *cache, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct object_id id = numbered(i);
        GBytes *content = g_bytes_new_take(g_malloc0(OBJECT), OBJECT);

        object_cache_put(cache, &id, OBJECT_BLOB, content);
        g_bytes_unref(content);
    }
}

static bool has(struct object_cache *cache, unsigned number)
{
    struct object_id id = numbered(number);
    enum object_type type;
    GBytes *content;

    return object_cache_get(cache, &id, &type, &content);
}

START_TEST(caches_share_one_budget)
{
    struct cache_budget *budget = cache_budget_new(LIMIT);
    struct object_cache *first = object_cache_new();
    struct object_cache *second = object_cache_new();

    object_cache_share(first, budget);
    put_objects(second, 30);
    object_cache_share(second, budget);
    ck_assert_uint_eq(cache_budget_used(budget), object_cache_size(second));
    put_objects(first, 500);
    ck_assert_uint_le(cache_budget_used(budget), LIMIT);
    ck_assert_uint_gt(cache_budget_used(budget), LIMIT - 2 * OBJECT);
    ck_assert_uint_eq(cache_budget_used(budget),
                      object_cache_size(first) + object_cache_size(second));
    ck_assert(cache_budget_is_short(budget) && !cache_budget_is_over(budget));
    ck_assert(has(first, 499) && !has(first, 0) && has(second, 0));
    object_cache_clear(second);
    ck_assert_uint_eq(object_cache_size(second), 0);
    ck_assert(!has(second, 0));
    ck_assert_uint_eq(cache_budget_used(budget), object_cache_size(first));
    object_cache_free(first);
    object_cache_free(second);
    ck_assert_uint_eq(cache_budget_used(budget), 0);
    cache_budget_free(budget);
}
END_TEST

START_TEST(a_cache_keeps_one_object_when_others_have_taken_all)
{
    struct cache_budget *budget = cache_budget_new(LIMIT);
    struct object_cache *cache = object_cache_new();

    object_cache_share(cache, budget);
    cache_budget_change(budget, 2 * LIMIT);
    put_objects(cache, 3);
    ck_assert(has(cache, 2) && !has(cache, 1) && !has(cache, 0));
    object_cache_free(cache);
    ck_assert_uint_eq(cache_budget_used(budget), 2 * LIMIT);
    cache_budget_free(budget);
}
END_TEST

START_TEST(rounds_since_the_last_use_are_counted)
{
    struct object_cache *cache = object_cache_new();

    put_objects(cache, 1);
    object_cache_count_round(cache);
    object_cache_count_round(cache);
    ck_assert_uint_eq(object_cache_idle(cache), 2);
    ck_assert(has(cache, 0));
    ck_assert_uint_eq(object_cache_idle(cache), 0);
    object_cache_free(cache);
}
END_TEST

static void *change_often(void *data)
{
    for (int i = 1; i <= CHANGES; i++) {
        cache_budget_change(data, i);
        cache_budget_change(data, -i);
    }
    return NULL;
}

START_TEST(threads_change_it_together)
{
    struct cache_budget *budget = cache_budget_new(LIMIT);
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, change_often, budget), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(cache_budget_used(budget), 0);
    cache_budget_free(budget);
}
END_TEST

/* An account that is used again and again; what it has cached. */
static uint64_t cached_by_use(struct mail_fixture *fixture, struct cache_budget *budget)
{
    struct mailbox *inbox = open_mailbox(fixture, "INBOX");

    append_many(fixture, inbox, 100);
    mailbox_unref(inbox);
    return cache_budget_used(budget);
}

START_TEST(what_an_account_does_not_use_is_given_back)
{
    struct cache_budget *budget = cache_budget_new(LIMIT);
    struct mail_fixture fixture;

    mail_fixture_init(&fixture, NULL);
    account_unref(fixture.account);
    fixture.account = NULL;
    store_set_cache_budget(fixture.store, budget);
    struct store_error error;
    ck_assert_int_eq(store_open_account(fixture.store, "alice", &fixture.account, &error), 0);
    ck_assert_uint_gt(cached_by_use(&fixture, budget), 1000);
    for (unsigned i = 1; i < CACHE_IDLE_ROUNDS; i++) {
        store_maintain(fixture.store);
    }
    ck_assert_uint_gt(cache_budget_used(budget), 1000);
    store_maintain(fixture.store);
    ck_assert_uint_eq(cache_budget_used(budget), 0);
    ck_assert_uint_gt(cached_by_use(&fixture, budget), 1000);
    cache_budget_change(budget, LIMIT);
    store_maintain(fixture.store);
    ck_assert_uint_eq(cache_budget_used(budget), LIMIT);
    mail_fixture_release(&fixture);
    cache_budget_free(budget);
}
END_TEST

START_TEST(test_cache_budget__counts_lookups_that_caches_tell_now_and_then)
{
    struct cache_budget *shared = cache_budget_new(CACHE_BUDGET_MIN);
    struct cache_lookups lookups = {0};

    for (int i = 0; i < CACHE_LOOKUPS_KEPT - 1; i++)
        cache_lookups_note(&lookups, shared, CACHE_DERIVED, i % 4 != 0);
    ck_assert_uint_eq(cache_budget_hits(shared, CACHE_DERIVED), 0);
    cache_lookups_note(&lookups, shared, CACHE_DERIVED, true);
    ck_assert_uint_eq(cache_budget_hits(shared, CACHE_DERIVED), CACHE_LOOKUPS_KEPT / 4 * 3);
    ck_assert_uint_eq(cache_budget_misses(shared, CACHE_DERIVED), CACHE_LOOKUPS_KEPT / 4);
    ck_assert_uint_eq(cache_budget_misses(shared, CACHE_OBJECTS), 0);
    cache_lookups_note(&lookups, shared, CACHE_DERIVED, false);
    cache_lookups_tell(&lookups, shared, CACHE_DERIVED);
    cache_lookups_tell(&lookups, shared, CACHE_DERIVED);
    ck_assert_uint_eq(cache_budget_misses(shared, CACHE_DERIVED), CACHE_LOOKUPS_KEPT / 4 + 1);
    cache_lookups_note(&lookups, NULL, CACHE_DERIVED, false);
    cache_lookups_tell(&lookups, NULL, CACHE_DERIVED);
    ck_assert_uint_eq(cache_budget_hits(NULL, CACHE_DERIVED), 0);
    cache_budget_free(shared);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache_budget");
    TCase *tests = tcase_create("cache_budget");

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, caches_share_one_budget);
    tcase_add_test(tests, test_cache_budget__counts_lookups_that_caches_tell_now_and_then);
    tcase_add_test(tests, a_cache_keeps_one_object_when_others_have_taken_all);
    tcase_add_test(tests, rounds_since_the_last_use_are_counted);
    tcase_add_test(tests, threads_change_it_together);
    tcase_add_test(tests, what_an_account_does_not_use_is_given_back);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
