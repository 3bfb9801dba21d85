/* The store alone, without sessions and sockets, against what stores of other kinds do plainly
 * (plain_writers.h) and against what the disk allows: `meson test -C build --benchmark`.
 *
 * N writers of the store are N operations, each on another user's mailbox, and one store_sync():
 * what a worker of the server does in a turn. "acknowledged" ends with the last of these: the
 * rate that the writers see. "store", with which the others are compared, includes turning all of
 * it into git and making that durable, too, although they would not wait for it. The others have a
 * thread for each writer. All take turns, on the disk below TMPDIR or /var/tmp, in directories made
 * for each run and removed at the very end; figures are medians.
 */
#include <assert.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "plain_writers.h"
#include "store/store.h"

enum {
    MESSAGE_SIZE = 4096,
    SEEDED = 100,      /* messages of each mailbox whose flags change */
    SELECTED = 100000, /* messages of the mailbox that is opened */
    SEED_BATCH = 500,
    ROUNDS_MAX = 25,
};

static const unsigned WRITERS[] = {1, 8, 64};
enum { WRITERS_COUNT = sizeof WRITERS / sizeof *WRITERS };

enum column {
    COLUMN_STORE,
    COLUMN_ACKNOWLEDGED,
    COLUMN_MAILDIR,
    COLUMN_MDBOX,
    COLUMN_DISK,
    COLUMN_COUNT,
};

static const char *const COLUMN_NAMES[] = {"store", "acknowledged", "Maildir-like", "mdbox-like",
                                           "disk"};
static_assert(sizeof COLUMN_NAMES / sizeof *COLUMN_NAMES == COLUMN_COUNT, "a name for each");

struct row {
    char *name;
    bool rate; /* operations a second; else milliseconds */
    double samples[COLUMN_COUNT][ROUNDS_MAX];
    unsigned count[COLUMN_COUNT];
};

struct bench {
    const char *directory;
    double seconds; /* of a run */
    unsigned rounds;
    GPtrArray *rows;
    unsigned made; /* directories */
    struct store_error error;
};

static void must(const struct bench *bench, bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "store-bench: %s: %s\n", what, bench->error.detail);
    exit(1);
}

static char *fresh_path(struct bench *bench)
{
    return g_strdup_printf("%s/%u", bench->directory, bench->made++);
}

/* --- the store --- */

/* A data directory with as many users as there are writers, and their INBOXes. */
struct mail {
    struct store *store;
    unsigned users;
    struct account *accounts[PLAIN_WRITERS_MAX];
    struct mailbox *inboxes[PLAIN_WRITERS_MAX];
    uint64_t serial;
};

static struct origin origin_now(const char *command)
{
    return (struct origin){
        .client = "store-bench",
        .command = command,
        .time = (int64_t)time(NULL) * 1000000,
    };
}

static void open_mail(struct bench *bench, struct mail *mail, const char *path, unsigned users)
{
    const struct store_journal journal = {.background = true};
    struct origin origin = origin_now("CREATE");
    char user[16];

    *mail = (struct mail){.users = users};
    must(bench, store_open(&mail->store, path, host_system(), &bench->error) == STORE_OK, path);
    must(bench, store_open_journal(mail->store, &journal, &bench->error) == STORE_OK, "journal");
    for (unsigned i = 0; i < users; i++) {
        snprintf(user, sizeof user, "u%u", i);
        int result = store_open_account(mail->store, user, &mail->accounts[i], &bench->error);

        if (result == STORE_NOT_FOUND) {
            result = store_create_account(mail->store, user, &origin, &bench->error);
            must(bench, result == STORE_OK, "making an account");
            result = store_open_account(mail->store, user, &mail->accounts[i], &bench->error);
        }
        must(bench, result == STORE_OK, "opening an account");
        result = account_open_mailbox(mail->accounts[i], "INBOX", &mail->inboxes[i], &bench->error);
        must(bench, result == STORE_OK, "opening a mailbox");
    }
}

static void close_mail(struct mail *mail)
{
    for (unsigned i = 0; i < mail->users; i++) {
        mailbox_unref(mail->inboxes[i]);
        account_unref(mail->accounts[i]);
    }
    store_close(mail->store);
}

/* The end of a worker's turn. */
static void end_turn(struct bench *bench, const struct mail *mail)
{
    must(bench, store_sync(mail->store, &bench->error) == STORE_OK, "sync");
    store_work(mail->store, false);
}

/* All that was put off. */
static void flush_mail(struct bench *bench, const struct mail *mail)
{
    must(bench, store_flush(mail->store, &bench->error) == STORE_OK, "flush");
}

/* No two messages are equal. */
static void make_message(char *bytes, size_t size, uint64_t serial)
{
    int head = snprintf(bytes, size, "Subject: message %" PRIu64 "\r\n\r\n", serial);

    for (size_t i = (size_t)head; i < size; i++)
        bytes[i] = "the river falls and the bridge will be closed on Monday "[i % 56];
}

static struct spool *spool_message(struct bench *bench, struct mail *mail, size_t size)
{
    char bytes[MESSAGE_SIZE];
    struct spool *spool;

    make_message(bytes, size, ++mail->serial);
    must(bench,
         spool_new(&spool, account_path(mail->accounts[0]), account_path(mail->accounts[0]),
                   host_system(), size, &bench->error) == STORE_OK &&
             spool_write(spool, bytes, size, &bench->error) == STORE_OK,
         "spool");
    return spool;
}

static void append(struct bench *bench, struct mail *mail, unsigned user, unsigned messages,
                   size_t size)
{
    struct append appends[SEED_BATCH];
    struct origin origin = origin_now("APPEND");
    uint32_t uid;

    for (unsigned i = 0; i < messages; i++) {
        appends[i] = (struct append){.spool = spool_message(bench, mail, size)};
    }
    must(bench,
         mailbox_append(mail->inboxes[user], appends, messages, &origin, &uid, &bench->error) ==
             STORE_OK,
         "append");
    for (unsigned i = 0; i < messages; i++)
        spool_free(appends[i].spool);
}

static void flag(struct bench *bench, struct mail *mail, unsigned user, uint64_t number)
{
    struct flag_change change = {
        .mode = number / SEEDED % 2 == 0 ? FLAG_MODE_ADD : FLAG_MODE_REMOVE,
        .flags = MESSAGE_FLAGGED,
        .unchanged_since = UINT64_MAX,
    };
    struct origin origin = origin_now("STORE");
    uint32_t uid = (uint32_t)(number % SEEDED) + 1;

    must(bench,
         mailbox_store_flags(mail->inboxes[user], &uid, 1, &change, &origin, NULL, &bench->error) ==
             STORE_OK,
         "store");
}

/* Operations a second, durable, with all that they cost; *acknowledged: until the last sync. */
static double run_store(struct bench *bench, enum plain_work work, unsigned writers,
                        double *acknowledged)
{
    char *path = fresh_path(bench);
    struct mail mail;
    uint64_t turns = 0;
    double start, took;

    open_mail(bench, &mail, path, writers);
    for (unsigned user = 0; user < writers && work == PLAIN_FLAG; user++)
        append(bench, &mail, user, SEEDED, MESSAGE_SIZE);
    flush_mail(bench, &mail);
    sync();
    start = plain_now();
    do {
        for (unsigned user = 0; user < writers; user++) {
            if (work == PLAIN_APPEND)
                append(bench, &mail, user, 1, MESSAGE_SIZE);
            else
                flag(bench, &mail, user, turns);
        }
        end_turn(bench, &mail);
        turns++;
        took = plain_now() - start;
    } while (took < bench->seconds);
    *acknowledged = (double)(turns * writers) / took;
    flush_mail(bench, &mail);
    took = plain_now() - start;
    close_mail(&mail);
    g_free(path);
    return (double)(turns * writers) / took;
}

/* --- rows --- */

static struct row *add_row(struct bench *bench, bool rate, char *name_take)
{
    struct row *row = g_new0(struct row, 1);

    row->name = name_take;
    row->rate = rate;
    g_ptr_array_add(bench->rows, row);
    return row;
}

static void add_sample(struct row *row, enum column column, double value)
{
    row->samples[column][row->count[column]++] = value;
}

static double run_plain(struct bench *bench, enum column column, enum plain_work work,
                        unsigned writers)
{
    static const enum plain_kind kinds[] = {
        [COLUMN_MAILDIR] = PLAIN_MAILDIR,
        [COLUMN_MDBOX] = PLAIN_MDBOX,
        [COLUMN_DISK] = PLAIN_DISK,
    };
    char message[MESSAGE_SIZE];
    char *path = fresh_path(bench);
    double rate;

    make_message(message, sizeof message, 0);
    rate = plain_run(kinds[column], work, path, writers, bench->seconds, message, sizeof message);
    g_free(path);
    return rate;
}

static void measure_writing(struct bench *bench, enum plain_work work, unsigned writers)
{
    struct row *row =
        add_row(bench, true,
                g_strdup_printf("%s, %u writer%s, durable",
                                work == PLAIN_APPEND ? "append 4 kB" : "change a flag", writers,
                                writers == 1 ? "" : "s"));

    for (unsigned round = 0; round < bench->rounds; round++) {
        for (unsigned i = 0; i < COLUMN_COUNT; i++) {
            enum column column = (enum column)((round + i) % COLUMN_COUNT);
            double acknowledged;

            if (column == COLUMN_STORE) {
                add_sample(row, column, run_store(bench, work, writers, &acknowledged));
                add_sample(row, COLUMN_ACKNOWLEDGED, acknowledged);
            } else if (column != COLUMN_ACKNOWLEDGED) {
                add_sample(row, column, run_plain(bench, column, work, writers));
            }
        }
    }
}

static double select_store(struct bench *bench, const char *path)
{
    struct mail mail;
    double start = plain_now(), took;

    open_mail(bench, &mail, path, 1);
    took = plain_now() - start;
    must(bench, snapshot_count(mailbox_snapshot(mail.inboxes[0])) == SELECTED, "count");
    close_mail(&mail);
    return took;
}

static void fill_store(struct bench *bench, const char *path)
{
    struct mail mail;

    open_mail(bench, &mail, path, 1);
    for (unsigned done = 0; done < SELECTED; done += SEED_BATCH)
        append(bench, &mail, 0, SEED_BATCH, 200);
    flush_mail(bench, &mail);
    close_mail(&mail);
}

static void measure_select(struct bench *bench)
{
    struct row *row =
        add_row(bench, false, g_strdup_printf("open a mailbox of %u messages", SELECTED));
    char *store = fresh_path(bench), *maildir = fresh_path(bench), *mdbox = fresh_path(bench);

    fill_store(bench, store);
    plain_fill(PLAIN_MAILDIR, maildir, SELECTED);
    plain_fill(PLAIN_MDBOX, mdbox, SELECTED);
    for (unsigned round = 0; round < bench->rounds; round++) {
        add_sample(row, COLUMN_STORE, 1000 * select_store(bench, store));
        add_sample(row, COLUMN_MAILDIR, 1000 * plain_select(PLAIN_MAILDIR, maildir, SELECTED));
        add_sample(row, COLUMN_MDBOX, 1000 * plain_select(PLAIN_MDBOX, mdbox, SELECTED));
    }
    g_free(store);
    g_free(maildir);
    g_free(mdbox);
}

/* --- the report --- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* 0 where there are no samples. */
static double median(struct row *row, enum column column)
{
    unsigned count = row->count[column];

    if (count == 0)
        return 0;
    qsort(row->samples[column], count, sizeof(double), compare);
    return (row->samples[column][(count - 1) / 2] + row->samples[column][count / 2]) / 2;
}

/* How many times better the store is; 0 if there is nothing to compare with. */
static double ratio(struct row *row, enum column column)
{
    double store = median(row, COLUMN_STORE), other = median(row, column);

    if (store <= 0 || other <= 0)
        return 0;
    return row->rate ? store / other : other / store;
}

static void print_table(const GPtrArray *rows)
{
    printf("%-34s %-5s", "operation", "unit");
    for (enum column column = 0; column < COLUMN_COUNT; column++)
        printf(" %13s", COLUMN_NAMES[column]);
    printf("   store to Maildir-like, mdbox-like, disk\n");
    for (guint i = 0; i < rows->len; i++) {
        struct row *row = g_ptr_array_index(rows, i);

        printf("%-34s %-5s", row->name, row->rate ? "1/s" : "ms");
        for (enum column column = 0; column < COLUMN_COUNT; column++) {
            if (row->count[column] == 0)
                printf(" %13s", "-");
            else
                printf(" %13.*f", row->rate ? 0 : 2, median(row, column));
        }
        printf("   %.2f, %.2f", ratio(row, COLUMN_MAILDIR), ratio(row, COLUMN_MDBOX));
        if (row->count[COLUMN_DISK] > 0)
            printf(", %.2f", ratio(row, COLUMN_DISK));
        printf("\n");
    }
}

static void write_json(const GPtrArray *rows, FILE *file)
{
    const char *separator = "";

    fprintf(file, "{\"rows\": [");
    for (guint i = 0; i < rows->len; i++) {
        struct row *row = g_ptr_array_index(rows, i);

        for (enum column column = COLUMN_MAILDIR; column < COLUMN_COUNT; column++) {
            if (row->count[column] == 0)
                continue;
            fprintf(file,
                    "%s\n {\"name\": \"%s, against %s\", \"annal\": %.4f, \"peer\": %.4f, "
                    "\"unit\": \"%s\", \"ratio\": %.4f, \"target\": null}",
                    separator, row->name, COLUMN_NAMES[column], median(row, COLUMN_STORE),
                    median(row, column), row->rate ? "operations/s" : "ms", ratio(row, column));
            separator = ",";
        }
    }
    fprintf(file, "\n]}\n");
}

/* --- the run --- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)kind, (void)where;
    return remove(path);
}

static void measure(struct bench *bench)
{
    for (size_t i = 0; i < WRITERS_COUNT; i++)
        measure_writing(bench, PLAIN_APPEND, WRITERS[i]);
    for (size_t i = 0; i < WRITERS_COUNT; i++)
        measure_writing(bench, PLAIN_FLAG, WRITERS[i]);
    measure_select(bench);
}

static bool take_options(struct bench *bench, const char **json, int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'},
        {"json", required_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            bench->seconds = g_ascii_strtod(optarg, NULL);
        else if (option == 'r')
            bench->rounds = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'j')
            *json = optarg;
        else
            return false;
    }
    return optind == argc && bench->seconds > 0 && bench->rounds > 0 && bench->rounds <= ROUNDS_MAX;
}

static void free_row(void *data)
{
    struct row *row = data;

    g_free(row->name);
    g_free(row);
}

int main(int argc, char **argv)
{
    struct bench bench = {.seconds = 0.5, .rounds = 3};
    const char *base = getenv("TMPDIR"), *json = NULL;
    char *directory;

    if (!take_options(&bench, &json, argc, argv)) {
        fprintf(stderr, "usage: store-bench [--seconds S] [--rounds N] [--json FILE]\n");
        return 2;
    }
    directory = g_strdup_printf("%s/store-bench-XXXXXX", base != NULL ? base : "/var/tmp");
    if (mkdtemp(directory) == NULL)
        plain_fail(directory);
    bench.directory = directory;
    bench.rows = g_ptr_array_new_with_free_func(free_row);
    measure(&bench);
    print_table(bench.rows);
    if (json != NULL) {
        FILE *file = fopen(json, "w");

        if (file == NULL)
            plain_fail(json);
        write_json(bench.rows, file);
        fclose(file);
    }
    nftw(directory, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    g_ptr_array_unref(bench.rows);
    g_free(directory);
    return 0;
}
