#include <check.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/internal/objects.h"
#include "store/internal/spool_private.h"
#include "tests/faulty_host.h"
#include "tests/gated_host.h"
#include "tests/store_fixture.h"

static char *directory;
static char *repository;
static char *packs;

static void setup(void)
{
    directory = fixture_directory();
    repository = fixture_path(directory, "r.git");
    fixture_make_repository(repository);
    packs = fixture_path(repository, "objects/pack");
}

static void teardown(void)
{
    free(packs);
    free(repository);
    fixture_remove(directory);
}

static uint8_t *make_message(size_t length, int start)
{
    uint8_t *message = malloc(length + 1);

    for (size_t i = 0; i < length; i++) {
        message[i] = (uint8_t)(1 + (i * 31 + (size_t)start) % 255);
    }
    return message;
}

static unsigned count_in(const char *where, const char *suffix)
{
    GDir *dir = g_dir_open(where, 0, NULL);
    unsigned count = 0;

    ck_assert_ptr_nonnull(dir);
    for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
        count += g_str_has_suffix(name, suffix);
    }
    g_dir_close(dir);
    return count;
}

static unsigned count_files(const char *suffix)
{
    return count_in(packs, suffix);
}

static unsigned count_temporary(void)
{
    return count_in(repository, ".tmp") + count_files(".tmp");
}

static struct spool *write_spool(const uint8_t *message, size_t length, size_t step)
{
    struct spool *spool;
    struct store_error error;

    ck_assert_int_eq(spool_new(&spool, packs, repository, host_system(), length, &error), 0);
    for (size_t at = 0; at < length; at += step) {
        ck_assert(!spool_complete(spool));
        size_t piece = length - at < step ? length - at : step;
        ck_assert_int_eq(spool_write(spool, message + at, piece, &error), 0);
    }
    return spool;
}

/* The octets as the repository has them once the spool is published. */
static void check_published(struct spool *spool, const uint8_t *message, size_t length)
{
    struct objects *objects;
    struct object_data data;
    struct store_error error;

    ck_assert_ptr_null(spool_pack_name(spool));
    ck_assert_int_eq(spool_publish(spool, &error), 0);
    ck_assert_ptr_nonnull(spool_pack_name(spool));
    ck_assert_int_eq(spool_publish(spool, &error), 0);
    ck_assert_int_eq(objects_open(&objects, repository, host_system(), &error), 0);
    ck_assert_int_eq(objects_read(objects, spool_id(spool), OBJECT_BLOB, &data, &error), 0);
    ck_assert_uint_eq(data.length, length);
    ck_assert_int_eq(memcmp(data.data, message, length), 0);
    object_data_release(&data);
    objects_close(objects);
}

static void check_spool(const uint8_t *message, size_t length, size_t step)
{
    struct spool *spool = write_spool(message, length, step);
    struct object_id id;
    size_t head;

    ck_assert(spool_complete(spool));
    ck_assert_uint_eq(spool_size(spool), length);
    const uint8_t *data = spool_head(spool, &head);
    ck_assert_uint_eq(head, length > SPOOL_MEMORY_MAX ? SPOOL_HEAD_MAX : length);
    ck_assert_int_eq(memcmp(data, message, head), 0);
    objects_hash(OBJECT_BLOB, message, length, &id);
    ck_assert(object_id_equal(spool_id(spool), &id));
    ck_assert_int_eq(spool_has_nul(spool), memchr(message, 0, length) != NULL);
    ck_assert_int_eq(spool_is_pack(spool), length > SPOOL_MEMORY_MAX);
    if (spool_is_pack(spool)) {
        check_published(spool, message, length);
    }
    spool_free(spool);
    ck_assert_uint_eq(count_temporary(), 0);
}

START_TEST(test_spool__keeps_every_octet_in_memory_and_in_a_pack)
{
    static const size_t lengths[] = {0,
                                     1,
                                     2,
                                     4096,
                                     SPOOL_MEMORY_MAX - 1,
                                     SPOOL_MEMORY_MAX,
                                     SPOOL_MEMORY_MAX + 1,
                                     3 * SPOOL_MEMORY_MAX + 17};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t *message = make_message(lengths[i], (int)i);

        check_spool(message, lengths[i], 65536);
        check_spool(message, lengths[i], 8191);
        check_spool(message, lengths[i], lengths[i] + 1);
        free(message);
    }
    ck_assert(GIT(repository, "fsck", "--strict"));
}
END_TEST

START_TEST(test_spool__is_the_same_at_every_split)
{
    uint8_t *message = make_message(300, 5);

    for (size_t step = 1; step <= 300; step++) {
        check_spool(message, 300, step);
    }
    free(message);
}
END_TEST

START_TEST(test_spool__sees_a_nul_anywhere)
{
    uint8_t *message = make_message(600000, 5);

    for (size_t at = 0; at < 600000; at += 99999) {
        uint8_t before = message[at];

        message[at] = 0;
        check_spool(message, 600000, 4096);
        message[at] = before;
    }
    check_spool(message, 600000, 4096);
    free(message);
}
END_TEST

START_TEST(test_spool__has_the_id_that_git_gives)
{
    struct spool *spool;
    struct store_error error;
    char hex[OBJECT_ID_HEX + 1];

    ck_assert_int_eq(spool_new(&spool, packs, repository, host_system(), 6, &error), 0);
    ck_assert_int_eq(spool_write(spool, "hello\n", 6, &error), 0);
    object_id_format(spool_id(spool), hex);
    ck_assert_str_eq(hex, "ce013625030ba8dba906f756967f9e9ca394464a");
    spool_free(spool);
}
END_TEST

START_TEST(test_spool__leaves_no_file_behind_and_fails_without_a_directory)
{
    struct spool *spool = NULL;
    struct store_error error;
    char *missing = fixture_path(directory, "missing");
    uint8_t *message = make_message(SPOOL_MEMORY_MAX + 1, 3);

    ck_assert_int_eq(
        spool_new(&spool, packs, repository, host_system(), SPOOL_MEMORY_MAX + 1, &error), 0);
    ck_assert_uint_eq(count_temporary(), 1);
    /* A clone of the path links whatever it finds there, and fails when it grows. */
    ck_assert_uint_eq(count_files(".tmp"), 0);
    spool_free(spool);
    ck_assert_uint_eq(count_temporary(), 0);
    spool_free(write_spool(message, SPOOL_MEMORY_MAX + 1, 100000));
    ck_assert_uint_eq(count_temporary() + count_files(".pack") + count_files(".keep"), 0);
    ck_assert_int_eq(
        spool_new(&spool, missing, missing, host_system(), SPOOL_MEMORY_MAX + 1, &error), STORE_IO);
    ck_assert_int_eq(spool_new(&spool, missing, missing, host_system(), SPOOL_MEMORY_MAX, &error),
                     0);
    spool_free(spool);
    spool_free(NULL);
    free(message);
    free(missing);
}
END_TEST

START_TEST(test_spool__tells_that_its_pack_is_gone)
{
    uint8_t *message = make_message(SPOOL_MEMORY_MAX + 1, 3);
    struct spool *spool = write_spool(message, SPOOL_MEMORY_MAX + 1, 100000);
    struct store_error error;

    ck_assert_int_eq(spool_publish(spool, &error), 0);
    char *name = g_strdup_printf("%s/pack-%s.idx", packs, spool_pack_name(spool));
    ck_assert_int_eq(unlink(name), 0);
    ck_assert_int_eq(spool_publish(spool, &error), STORE_IO);
    spool_free(spool);
    g_free(name);
    free(message);
}
END_TEST

/* A large message of which nothing has come as yet. */
static struct spool *other_spool(struct spooler *spooler)
{
    struct store_error error;
    struct spool *spool;

    ck_assert_int_eq(
        spool_new(&spool, packs, repository, host_system(), SPOOL_MEMORY_MAX + 1, &error), 0);
    spool_use(spool, spooler);
    return spool;
}

/* Whatever fails, there is the whole pack or nothing. */
START_TEST(test_spool__survives_every_failure)
{
    enum { LENGTH = SPOOL_MEMORY_MAX + 70000 };
    uint8_t *message = make_message(LENGTH, 9);
    struct gated_host gated;
    struct spooler spooler = {0}; /* one: several would leave each other no processor */
    struct spool *other = NULL;
    bool done = false;

    gated_host_init(&gated, host_system());
    if (_i > 0) {
        other = other_spool(&spooler);
    }
    if (_i == 2) {
        spooler.wake = gated_host_wake;
        spooler.wake_data = &gated;
    }

    for (unsigned k = 1; !done; k++) {
        struct faulty_host faulty;
        struct spool *spool = NULL;
        struct store_error error;

        faulty_host_init(&faulty);
        faulty_host_arm(&faulty, k, false, k % 2 == 0 ? ENOSPC : EIO);
        int result = spool_new(&spool, packs, repository, &faulty.host, LENGTH, &error);

        if (result == 0 && _i > 0) {
            spool_use(spool, &spooler);
        }
        if (result == 0) {
            result = spool_write(spool, message, LENGTH, &error);
        }
        if (result == 0 && _i == 2) {
            spool_is_ready(spool);
        }
        if (result == 0) {
            result = spool_publish(spool, &error);
        }
        done = !faulty.failed;
        ck_assert_int_eq(result, done ? 0 : k % 2 == 0 ? STORE_NO_SPACE : STORE_IO);
        ck_assert_uint_eq(count_files(".idx"), done);
        ck_assert_uint_eq(count_files(".pack"), done);
        spool_free(spool);
        ck_assert_uint_le(k, 100);
    }
    ck_assert_int_eq(spooler.errands != NULL, _i > 0 && g_get_num_processors() > 1);
    ck_assert_int_eq(spooler.syncs != NULL, _i == 2);
    spool_free(other);
    spooler_release(&spooler);
    gated_host_release(&gated);
    free(message);
}
END_TEST

static char *make_pack(const uint8_t *message, size_t length, size_t piece, struct spooler *spooler)
{
    struct store_error error;
    struct spool *spool;

    ck_assert_int_eq(spool_new(&spool, packs, repository, host_system(), length, &error), 0);
    if (spooler != NULL) {
        spool_use(spool, spooler);
    }
    for (size_t at = 0; at < length; at += piece) {
        ck_assert_int_eq(spool_write(spool, message + at, MIN(piece, length - at), &error), 0);
    }
    ck_assert_int_eq(spool_publish(spool, &error), 0);
    char *name = g_strdup(spool_pack_name(spool));
    spool_free(spool);
    return name;
}

START_TEST(test_spool__makes_the_same_pack_in_another_thread)
{
    enum { LENGTH = 3 * 1000 * 1000 };
    static const size_t pieces[] = {1000, 65536, 128 * 1024, 700 * 1000, LENGTH};
    uint8_t *message = make_message(LENGTH, 5);
    struct spooler spooler = {0};
    struct spool *other = other_spool(&spooler);
    char *expected = make_pack(message, LENGTH, LENGTH, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        char *name = make_pack(message, LENGTH, pieces[i], &spooler);

        ck_assert_str_eq(name, expected);
        g_free(name);
    }
    ck_assert_int_eq(spooler.errands != NULL, g_get_num_processors() > 1);
    ck_assert(GIT(repository, "fsck", "--strict", "--full"));
    spool_free(other);
    spooler_release(&spooler);
    g_free(expected);
    free(message);
}
END_TEST

/* Who asks has other work while the disk is at it, and gets the same pack. */
START_TEST(test_spool__waits_for_the_disk_in_another_thread)
{
    enum { LENGTH = SPOOL_MEMORY_MAX + 70000 };
    uint8_t *message = make_message(LENGTH, 5);
    char *expected = make_pack(message, LENGTH, LENGTH, NULL);
    struct gated_host gated;
    struct spooler spooler = {.wake = gated_host_wake, .wake_data = &gated};
    struct store_error error;
    struct spool *spool, *other;

    gated_host_init(&gated, host_system());
    gated_host_shut(&gated);
    other = other_spool(&spooler);
    ck_assert_int_eq(spool_new(&spool, packs, repository, &gated.host, LENGTH, &error), 0);
    spool_use(spool, &spooler);
    ck_assert_int_eq(spool_write(spool, message, LENGTH, &error), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert(!spool_is_ready(spool));
    }
    ck_assert_uint_eq(gated.woken, 0);
    gated_host_open(&gated);
    ck_assert(gated_host_is_woken(&gated, 1));
    ck_assert(spool_is_ready(spool));
    if (_i == 0) {
        ck_assert_int_eq(spool_publish(spool, &error), 0);
        ck_assert_str_eq(spool_pack_name(spool), expected);
        ck_assert(spool_is_ready(spool));
    }
    spool_free(spool);
    spool_free(other);
    ck_assert_uint_eq(gated.woken, 1);
    ck_assert_uint_eq(count_temporary(), 0);
    spooler_release(&spooler);
    gated_host_release(&gated);
    g_free(expected);
    free(message);
}
END_TEST

static void no_wake(void *data)
{
    (void)data;
}

/* Nobody waits to be woken, or there is no other large message. */
START_TEST(test_spool__is_ready_where_there_is_no_other_work)
{
    enum { LENGTH = SPOOL_MEMORY_MAX + 1 };
    uint8_t *message = make_message(LENGTH, 5);
    struct spooler spooler = {.wake = _i == 0 ? no_wake : NULL};
    struct spool *small = write_spool(message, 100, 100);
    struct spool *large = write_spool(message, LENGTH, LENGTH);
    struct spool *other = NULL;

    ck_assert(spool_is_ready(small));
    ck_assert(spool_is_ready(large));
    spool_use(large, &spooler);
    ck_assert_ptr_null(spooler.errands);
    if (_i == 1) {
        other = other_spool(&spooler);
    }
    ck_assert(spool_is_ready(large));
    ck_assert_ptr_null(spooler.syncs);
    spool_free(other);
    spool_free(small);
    spool_free(large);
    spooler_release(&spooler);
    free(message);
}
END_TEST

/* As many as have a processor to themselves get a thread. */
START_TEST(test_spool__leaves_the_processors_to_stores_that_need_them)
{
    struct spooler spoolers[8] = {0};
    int64_t begin = g_get_monotonic_time();

    for (unsigned i = 0; i < G_N_ELEMENTS(spoolers); i++) {
        struct spool *spool = other_spool(&spoolers[i]);

        spool_free(other_spool(&spoolers[i]));
        spool_free(spool);
        /* What was longer ago does not count: this machine may be slow. */
        if (g_get_monotonic_time() - begin < 100 * 1000) {
            ck_assert_int_eq(spoolers[i].errands != NULL, (i + 1) * 2 <= g_get_num_processors());
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(spoolers); i++) {
        spooler_release(&spoolers[i]);
    }
}
END_TEST

START_TEST(test_spool__may_be_given_up_while_another_thread_has_a_part)
{
    enum { LENGTH = 3 * 1000 * 1000 };
    uint8_t *message = make_message(LENGTH, 5);
    struct spooler spooler = {0};
    struct store_error error;

    for (int round = 0; round < 50; round++) {
        struct spool *spools[4];

        for (size_t i = 0; i < G_N_ELEMENTS(spools); i++) {
            ck_assert_int_eq(
                spool_new(&spools[i], packs, repository, host_system(), LENGTH, &error), 0);
            spool_use(spools[i], &spooler);
            ck_assert_int_eq(spool_write(spools[i], message, 300 * 1000 + round, &error), 0);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(spools); i++) {
            spool_free(spools[i]);
        }
    }
    ck_assert_int_eq(spooler.errands != NULL, g_get_num_processors() > 1);
    spooler_release(&spooler);
    ck_assert_uint_eq(count_in(repository, ".tmp"), 0);
    free(message);
}
END_TEST

/* How far a file is on its way to the disk. */
static void note_behind(void *data, int fd, uint64_t offset, size_t length)
{
    uint64_t *behind = data;

    (void)fd;
    ck_assert_uint_eq(offset, *behind);
    ck_assert_uint_gt(length, 0);
    *behind += length;
}

START_TEST(test_spool__lets_the_disk_begin_while_the_message_comes)
{
    enum { LENGTH = 2 * 1024 * 1024 };
    struct host host = *host_system();
    uint64_t behind = 0;
    uint8_t *message = make_message(LENGTH, 1);
    struct store_error error;
    struct spool *spool;

    host.data = &behind; /* the system's functions need none */
    host.write_behind = note_behind;
    ck_assert_int_eq(spool_new(&spool, packs, repository, &host, LENGTH, &error), 0);
    ck_assert_int_eq(spool_write(spool, message, LENGTH / 2, &error), 0);
    ck_assert_uint_gt(behind, LENGTH / 4);
    ck_assert_int_eq(spool_write(spool, message + LENGTH / 2, LENGTH / 2, &error), 0);
    ck_assert_uint_gt(behind, LENGTH);
    spool_free(spool);
    free(message);
}
END_TEST

static void note_forget(void *data, const char *path)
{
    g_ptr_array_add(data, g_strdup(path));
}

START_TEST(test_spool__lets_the_cache_go_of_all_but_the_last_packs)
{
    enum { LENGTH = 2 * 1024 * 1024, COUNT = 20 };
    const unsigned kept = SPOOLER_CACHED_MAX / LENGTH;
    struct host host = *host_system();
    GPtrArray *forgotten = g_ptr_array_new_with_free_func(g_free);
    struct spooler spooler = {0};
    struct store_error error;
    char *paths[COUNT];

    host.data = forgotten; /* the system's functions need none */
    host.forget = note_forget;
    for (unsigned i = 0; i < COUNT; i++) {
        uint8_t *message = make_message(LENGTH, (int)i);
        struct spool *spool;

        ck_assert_int_eq(spool_new(&spool, packs, repository, &host, LENGTH, &error), 0);
        spool_use(spool, &spooler);
        ck_assert_int_eq(spool_write(spool, message, LENGTH, &error), 0);
        ck_assert_int_eq(spool_publish(spool, &error), 0);
        paths[i] = g_strdup_printf("%s/pack-%s.pack", packs, spool_pack_name(spool));
        spool_free(spool);
        free(message);
        ck_assert_uint_eq(forgotten->len, i < kept ? 0 : i + 1 - kept);
    }
    for (guint i = 0; i < forgotten->len; i++) {
        ck_assert_str_eq(forgotten->pdata[i], paths[i]);
        host_system()->forget(NULL, paths[i]);
    }
    host_system()->forget(NULL, "/nowhere");
    spooler_release(&spooler);
    g_ptr_array_free(forgotten, TRUE);
    for (unsigned i = 0; i < COUNT; i++) {
        g_free(paths[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spool");
    TCase *tests = tcase_create("spool");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_spool__keeps_every_octet_in_memory_and_in_a_pack);
    tcase_add_test(tests, test_spool__is_the_same_at_every_split);
    tcase_add_test(tests, test_spool__sees_a_nul_anywhere);
    tcase_add_test(tests, test_spool__has_the_id_that_git_gives);
    tcase_add_test(tests, test_spool__leaves_no_file_behind_and_fails_without_a_directory);
    tcase_add_test(tests, test_spool__tells_that_its_pack_is_gone);
    tcase_add_loop_test(tests, test_spool__survives_every_failure, 0, 3);
    tcase_add_test(tests, test_spool__makes_the_same_pack_in_another_thread);
    tcase_add_loop_test(tests, test_spool__waits_for_the_disk_in_another_thread, 0, 2);
    tcase_add_loop_test(tests, test_spool__is_ready_where_there_is_no_other_work, 0, 2);
    tcase_add_test(tests, test_spool__leaves_the_processors_to_stores_that_need_them);
    tcase_add_test(tests, test_spool__may_be_given_up_while_another_thread_has_a_part);
    tcase_add_test(tests, test_spool__lets_the_disk_begin_while_the_message_comes);
    tcase_add_test(tests, test_spool__lets_the_cache_go_of_all_but_the_last_packs);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
