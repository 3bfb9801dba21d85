/* Runs a fuzz target over its seed corpus as an ordinary test: each file of the directories given,
 * its truncations, and deterministic mutations of it.
 *
 * To search for new inputs, build the same target with clang's libFuzzer instead of this file:
 *
 *     clang -std=gnu17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         -o fuzz tests/fuzz_parser.c tests/parser_trace.c $(ls protocol/[a-z]*.c | grep -v mime) \
 *         $(pkg-config --cflags --libs glib-2.0)
 *     ./fuzz -max_total_time=60 tests/corpus/parser
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz.h"

enum {
    REPLAY_FILE_MAX = 1024 * 1024,
    REPLAY_TRUNCATIONS = 512, /* at most, spread over the file */
    REPLAY_MUTATIONS = 256,
    REPLAY_FEW = 48, /* of each, for a target that is slow */
};

static int truncations = REPLAY_TRUNCATIONS;
static int mutations = REPLAY_MUTATIONS;

/* A copy of exactly that size, so that a sanitizer sees a read beyond its end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void run_mutations(uint8_t *data, size_t size)
{
    static const uint8_t nasty[] = {0, '\r', '\n', '"', '\\', '(', ')', '{', '}', '*', 0x80, 0xff};
    uint32_t state = 2463534242u ^ (uint32_t)size;

    for (int i = 0; size > 0 && i < mutations; i++) {
        size_t at = next_random(&state) % size;
        uint8_t before = data[at];

        if (i % 2 == 0)
            data[at] ^= (uint8_t)(1u << (next_random(&state) % 8));
        else
            data[at] = nasty[next_random(&state) % sizeof nasty];
        run(data, size);
        data[at] = before;
    }
}

static void replay_file(const char *path)
{
    uint8_t *data = malloc(REPLAY_FILE_MAX);
    FILE *file = fopen(path, "rb");
    size_t size, step;

    if (data == NULL || file == NULL) {
        fprintf(stderr, "%s: can't be read\n", path);
        exit(EXIT_FAILURE);
    }
    size = fread(data, 1, REPLAY_FILE_MAX, file);
    fclose(file);
    run(data, size);
    step = size / (size_t)truncations + 1;
    for (size_t length = 0; length < size; length += step)
        run(data, length);
    run_mutations(data, size);
    free(data);
}

static size_t replay_directory(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    char path[4096];
    size_t count = 0;

    if (dir == NULL) {
        fprintf(stderr, "%s: can't be opened\n", directory);
        exit(EXIT_FAILURE);
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        replay_file(path);
        count++;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;

    if (argc > 1 && strcmp(argv[1], "--few") == 0)
        truncations = mutations = REPLAY_FEW;
    for (int i = truncations == REPLAY_FEW ? 2 : 1; i < argc; i++)
        count += replay_directory(argv[i]);
    if (count == 0) {
        fprintf(stderr, "no corpus\n");
        return EXIT_FAILURE;
    }
    printf("%zu files replayed\n", count);
    return EXIT_SUCCESS;
}
