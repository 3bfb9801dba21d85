#include "server/quota_board.h"

#include <glib.h>
#include <pthread.h>
#include <time.h>

struct sum {
    struct account_usage usage;
    int64_t noted;
};

struct quota_board {
    int64_t (*now)(void);
    pthread_mutex_t lock;
    GHashTable *sums; /* user to struct sum, both owned */
};

static int64_t monotonic_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000) + time.tv_nsec / 1000;
}

struct quota_board *quota_board_new(int64_t (*now)(void))
{
    struct quota_board *board = g_new0(struct quota_board, 1);

    board->now = now != NULL ? now : monotonic_now;
    pthread_mutex_init(&board->lock, NULL);
    board->sums = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return board;
}

void quota_board_free(struct quota_board *board)
{
    if (board == NULL)
        return;
    g_hash_table_unref(board->sums);
    pthread_mutex_destroy(&board->lock);
    g_free(board);
}

void quota_board_note(struct quota_board *board, const char *user,
                      const struct account_usage *usage)
{
    int64_t now = board->now();

    pthread_mutex_lock(&board->lock);
    struct sum *sum = g_hash_table_lookup(board->sums, user);

    if (sum == NULL) {
        if (g_hash_table_size(board->sums) >= QUOTA_BOARD_USERS)
            g_hash_table_remove_all(board->sums);
        sum = g_new0(struct sum, 1);
        g_hash_table_insert(board->sums, g_strdup(user), sum);
    }
    *sum = (struct sum){*usage, now};
    pthread_mutex_unlock(&board->lock);
}

bool quota_board_find(struct quota_board *board, const char *user, struct account_usage *out)
{
    int64_t now = board->now();

    pthread_mutex_lock(&board->lock);
    const struct sum *sum = g_hash_table_lookup(board->sums, user);
    bool found = sum != NULL && now - sum->noted < QUOTA_BOARD_REST * INT64_C(1000000);

    if (found)
        *out = sum->usage;
    pthread_mutex_unlock(&board->lock);
    return found;
}
